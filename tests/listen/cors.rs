//! Pages in a browser: a preflight, then the request, as the Fetch standard has it.

use crate::chat;
use crate::support::hermux::Answer;
use crate::support::{Hermux, Request, Setup, Upstream, samples};

const APP: &str = "https://app.example";

/// What a browser asks before it sends a chat completion of a page of `origin`.
fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/api/v1/chat/completions")
        .without("authorization")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type")
}

/// Whether a browser would let a page of `origin` go on after the preflight, and read an answer.
fn grants(answer: &Answer, origin: &str) -> bool {
    let allowed = answer.head.header("access-control-allow-origin");
    allowed.is_some_and(|allowed| allowed == "*" || allowed == origin)
}

fn from_app(request: Request) -> Request {
    request.header("Origin", APP)
}

#[test]
fn a_page_of_a_listed_origin_asks_and_reads_the_answer() {
    let upstream = Upstream::answering(|mut exchange| {
        let body = exchange.body();
        assert!(!body.is_empty());
        exchange.wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\naccess-control-allow-origin: *\r\n\
             access-control-allow-credentials: true\r\nx-generation-id: gen-1\r\n\r\n{}",
            samples::CHAT.len(),
            samples::CHAT
        ));
    });
    let listed = format!("http://localhost:5173, {APP}");
    for origins in [APP, "*", &listed] {
        let hermux = Setup::new(&upstream).flag("--cors", origins).start();
        let asked = hermux.ask(&preflight(APP));
        assert_eq!(asked.status(), 204);
        assert!(grants(&asked, APP), "{origins}");
        assert!(asked.head.header("access-control-allow-methods").unwrap().contains("POST"));
        assert_eq!(asked.head.header("access-control-allow-headers"), Some("authorization,content-type"));
        assert!(asked.head.has("access-control-max-age"));

        let answer = hermux.ask(&from_app(Request::chat(false)));
        assert_eq!((answer.status(), answer.body.as_slice()), (200, samples::CHAT.as_bytes()));
        assert!(grants(&answer, APP), "{origins}");
        assert!(!answer.head.has("access-control-allow-credentials"), "upstream speaks of its own pages");
        let exposed = answer.head.header("access-control-expose-headers").unwrap();
        for name in ["X-TOKEN-NAME", "X-HERMUX-ATTEMPTS", "X-Generation-Id", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        let varies = answer.head.all("vary").contains(&"Origin");
        assert_eq!(varies, origins != "*");
    }
}

#[test]
fn a_page_can_read_a_refusal_too() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).flag("--cors", APP).flag("--cors", "null").start();
    let stranger = Request::chat(false).without("authorization").header("Authorization", "Bearer wrong");
    for (request, status) in [
        (stranger, 401),
        (Request::get("/nowhere"), 404),
        (Request::get("/v1/keys"), 403),
        (Request::get("/health"), 200),
    ] {
        let answer = hermux.ask(&from_app(request.clone()));
        assert_eq!(answer.status(), status);
        assert!(grants(&answer, APP));
        let other = hermux.ask(&request.header("Origin", "null"));
        assert!(grants(&other, "null"), "each flag adds to the list");
    }
}

#[test]
fn a_page_of_another_origin_is_told_nothing() {
    let upstream = Upstream::answering(chat);
    let hermux = Setup::new(&upstream).flag("--cors", APP).start();
    let evil = "https://app.example.evil";
    let asked = hermux.ask(&preflight(evil));
    assert_eq!(asked.status(), 403);
    assert!(!grants(&asked, evil));
    let answer = hermux.ask(&Request::chat(false).header("Origin", evil));
    assert!(!grants(&answer, evil), "its browser keeps the answer from it");
    assert!(answer.head.all("vary").contains(&"Origin"));
}

#[test]
fn without_the_flag_nothing_is_answered_for_pages() {
    let upstream = Upstream::answering(|mut exchange| {
        exchange.body();
        exchange
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\naccess-control-allow-origin: *\r\n\r\n{}");
    });
    let hermux = Hermux::start(&upstream);
    let asked = hermux.ask(&preflight(APP));
    assert_eq!(asked.status(), 401);
    assert!(!asked.head.has("access-control-allow-origin"));
    let answer = hermux.ask(&from_app(Request::chat(false)));
    assert_eq!(answer.head.header("access-control-allow-origin"), Some("*"), "as it came");
    assert!(!answer.head.has("access-control-expose-headers"));
}

#[test]
fn without_access_tokens_only_listed_pages_get_in() {
    let upstream = Upstream::answering(chat);
    let hermux = Setup::new(&upstream).switch("--no-auth").flag("--cors", APP).start();
    let ask = |host: &str, origin: &str| {
        let request = Request::chat(false).without("authorization").without("host");
        hermux.ask(&request.header("Host", host).header("Origin", origin)).status()
    };
    assert_eq!(ask("localhost", APP), 200);
    assert_eq!(ask("localhost", "https://evil.example"), 403, "a plain POST needs no preflight");
    assert_eq!(ask("evil.example", APP), 403, "a name that was bound to this address");
    assert_eq!(ask("localhost", "null"), 403);
    for any in ["*", "null", &format!("{APP},null")] {
        let (status, said) = Setup::new(&upstream).switch("--no-auth").flag("--cors", any).start_in_vain();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("--no-auth: only with a list of origins"), "{said}");
    }
}

#[test]
fn what_is_no_origin_is_refused_at_the_start() {
    let setup = || Setup::url("http://127.0.0.1:9/api/v1");
    for wrong in ["app.example", "https://app.example/", "https://app.example/page", "https://", ","] {
        let (status, said) = setup().flag("--cors", wrong).start_in_vain();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: --cors: "), "{said}");
    }
}
