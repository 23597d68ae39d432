//! What a video's answer tells callers to follow leads to hermux, so that no access token reaches upstream.

use crate::support::{End, Exchange, Request, Setup, Upstream};

const STATE: &str = r#"{"id":"job-1", "polling_url":"https://openrouter.ai/api/v1/videos/job-1",
 "status":"completed","unsigned_urls": ["https://openrouter.ai/api/v1/videos/job-1/content?index=0","/api/v1/videos/job-1/content?index=1"],
 "urls":["https://cdn.example/signed"],"generation_id":"gen-vid-1"}"#;

fn seen_at(host: &str) -> String {
    STATE.replace("https://openrouter.ai", &format!("http://{host}"))
}

fn ask(hermux: &crate::Hermux) -> [Request; 2] {
    let host = hermux.address().to_string();
    [Request::post("/v1/videos", r#"{"model":"acme/film"}"#), Request::get("/v1/videos/job-1")]
        .map(|request| request.without("host").header("Host", &host))
}

#[test]
fn addresses_on_upstreams_host_become_the_callers_own_and_nothing_else_changes() {
    let upstream = Upstream::answering(|exchange: Exchange| {
        assert_eq!(exchange.head.header("accept-encoding"), Some("identity"));
        let status = if exchange.head.method() == "POST" { 202 } else { 200 };
        exchange.json(status, STATE);
    });
    let hermux = Setup::new(&upstream).start();
    for request in ask(&hermux) {
        let answer = hermux.ask(&request.header("Accept-Encoding", "gzip, br"));
        let seen = seen_at(&hermux.address().to_string());
        assert_eq!(String::from_utf8_lossy(&answer.body), seen);
        assert_eq!(answer.head.all("content-length"), [seen.len().to_string()]);
        assert_eq!(answer.key_name(), "key-1");
    }
}

#[test]
fn addresses_on_the_upstream_that_was_named_are_changed_too_also_in_a_chunked_answer() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    for request in ask(&hermux) {
        let (mut connection, mut exchange) = hermux.open(&request, &upstream);
        exchange.body();
        let state = STATE.replace("https://openrouter.ai", &format!("http://{}", upstream.address()));
        exchange.wire.send(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        for piece in state.as_bytes().chunks(50) {
            exchange.wire.send_chunk(piece);
        }
        exchange.wire.send_last_chunk();
        let answer = crate::support::hermux::answer(&mut connection);
        let seen = seen_at(&hermux.address().to_string());
        assert_eq!(
            (answer.end, String::from_utf8_lossy(&answer.body).as_ref()),
            (End::Complete, seen.as_str())
        );
        exchange.keep();
    }
}

#[test]
fn addresses_are_changed_whatever_text_the_answer_says_it_is() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    for kind in ["content-type: text/plain; charset=utf-8\r\n", "Content-Type: application/vnd.api+JSON\r\n"]
    {
        for request in ask(&hermux) {
            let (mut connection, mut exchange) = hermux.open(&request, &upstream);
            exchange.body();
            let length = STATE.len();
            exchange.wire.send(format!("HTTP/1.1 200 OK\r\n{kind}content-length: {length}\r\n\r\n{STATE}"));
            let answer = crate::support::hermux::answer(&mut connection);
            let seen = seen_at(&hermux.address().to_string());
            assert_eq!(String::from_utf8_lossy(&answer.body), seen, "{kind}");
            exchange.keep();
        }
    }
}

#[test]
fn an_answer_that_breaks_off_stays_broken() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    for request in ask(&hermux) {
        let (mut connection, mut exchange) = hermux.open(&request, &upstream);
        exchange.body();
        exchange.wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            STATE.len(),
            &STATE[..STATE.len() / 2],
        ));
        exchange.wire.cut_fin();
        let answer = crate::support::hermux::answer(&mut connection);
        assert_ne!(answer.end, End::Complete);
    }
}

#[test]
fn errors_and_the_video_itself_pass_untouched() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let [make, poll] = ask(&hermux);
    for (request, head, body) in [
        (make, "400 Bad\r\ncontent-type: application/json", STATE),
        (poll, "200 OK\r\ncontent-type: video/mp4", STATE),
    ] {
        let (mut connection, mut exchange) = hermux.open(&request, &upstream);
        exchange.body();
        exchange.wire.send(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        let answer = crate::support::hermux::answer(&mut connection);
        assert_eq!(String::from_utf8_lossy(&answer.body), body);
        exchange.keep();
    }
}
