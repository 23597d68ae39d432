//! Who is let in, who is refused, and that a refusal costs neither a byte of the body nor a call upstream.

mod support;

use support::hermux::{answer, write_private};
use support::{Hermux, Request, Setup, TOKEN, Upstream, samples};

fn models(exchange: support::Exchange) {
    exchange.json(200, samples::MODELS);
}

/// A request for the models with these credentials and no others.
fn with(credentials: &[(&str, &str)]) -> Request {
    let bare = Request::get("/v1/models").without("authorization");
    credentials.iter().fold(bare, |request, (name, value)| request.header(name, value))
}

#[test]
fn the_access_token_is_taken_in_each_place_a_client_puts_it() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    for (name, value) in [
        ("Authorization", format!("Bearer {TOKEN}")),
        ("authorization", format!("bearer {TOKEN}")),
        ("AUTHORIZATION", format!("BEARER {TOKEN}")),
        ("Authorization", format!("bEaReR {TOKEN}")),
        ("Authorization", TOKEN.to_owned()),
        ("x-api-key", TOKEN.to_owned()),
        ("X-Api-Key", TOKEN.to_owned()),
    ] {
        assert_eq!(hermux.ask(&with(&[(name, &value)])).status(), 200, "{name}");
    }
}

#[test]
fn everything_else_is_refused_and_stays_here() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    let bearer = format!("Bearer {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    let shorter = format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]);
    let upper = format!("Bearer {}", TOKEN.to_uppercase());
    let basic = format!("Basic {TOKEN}");
    let key = format!("Bearer {}", support::hermux::secret(1));
    let refused: &[&[(&str, &str)]] = &[
        &[],
        &[("Authorization", "")],
        &[("Authorization", "Bearer")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", &longer)],
        &[("Authorization", &shorter)],
        &[("Authorization", &upper)],
        &[("Authorization", &basic)],
        &[("Authorization", &key)],
        &[("Authorization", "Bearer # tester")],
        &[("Authorization", "Bearer tester")],
        &[("x-api-key", "")],
        &[("x-api-key", "wrong")],
        // Two credentials of a kind are two readings, also when both are right.
        &[("Authorization", &bearer), ("Authorization", &bearer)],
        &[("Authorization", &bearer), ("Authorization", "Bearer wrong")],
        &[("Authorization", "Bearer wrong"), ("Authorization", &bearer)],
        &[("x-api-key", TOKEN), ("x-api-key", TOKEN)],
        // x-api-key counts only where there is no Authorization.
        &[("Authorization", "Bearer wrong"), ("x-api-key", TOKEN)],
        &[("Authorization", ""), ("x-api-key", TOKEN)],
        // Places that other systems read.
        &[("api-key", TOKEN)],
        &[("x-goog-api-key", TOKEN)],
        &[("Cookie", TOKEN)],
        &[("Proxy-Authorization", &bearer)],
    ];
    for credentials in refused {
        let answer = hermux.ask(&with(credentials));
        let names: Vec<&str> = credentials.iter().map(|(name, _)| *name).collect();
        assert_eq!(answer.status(), 401, "{names:?}: {}", support::show(&answer.body));
    }
    let in_query = Request::get(&format!("/v1/models?api_key={TOKEN}&key={TOKEN}")).without("authorization");
    assert_eq!(hermux.ask(&in_query).status(), 401);
}

#[test]
fn a_refusal_speaks_the_dialect_of_its_route() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    for target in ["/v1/chat/completions", "/api/v1/responses", "/v1/models", "/v1/embeddings"] {
        let answer = hermux.ask(&Request::post(target, "{}").without("authorization"));
        assert_eq!(answer.status(), 401);
        assert!(answer.head.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        assert_eq!(answer.head.header("content-type"), Some("application/json"));
        let json = answer.json();
        assert_eq!(json["error"]["code"], 401, "{target}: {json}");
        assert!(json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{target}: {json}");
    }
    for target in ["/v1/messages", "/api/v1/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens"]
    {
        let answer = hermux.ask(&Request::post(target, "{}").without("authorization"));
        assert_eq!(answer.status(), 401);
        assert!(answer.head.has("www-authenticate"));
        let json = answer.json();
        assert_eq!(json["type"], "error", "{target}: {json}");
        assert_eq!(json["error"]["type"], "authentication_error", "{target}: {json}");
        assert!(json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{target}: {json}");
    }
}

#[test]
fn a_refusal_comes_before_the_body_and_asks_for_none_of_it() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    let upload = Request::new("POST", "/v1/chat/completions").without("authorization");
    for (request, expects) in [
        (upload.clone().header("Content-Length", "1000000000"), false),
        (upload.clone().header("Transfer-Encoding", "chunked"), false),
        (upload.clone().header("Content-Length", "1000000000").header("Expect", "100-continue"), true),
        (
            upload
                .header("Content-Length", "5")
                .header("x-api-key", "wrong")
                .header("Expect", "100-continue"),
            true,
        ),
    ] {
        let mut connection = hermux.connect();
        connection.send(request.head());
        // Not one byte of the body was sent, and the first head that comes is the refusal, not 100.
        assert_eq!(connection.answer().status(), 401, "expects 100: {expects}");
    }
}

#[test]
fn a_caller_that_was_let_in_is_told_to_continue() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    let request = Request::chat(false).header("Expect", "100-continue");
    connection.send(request.head());
    assert_eq!(connection.answer().status(), 100);
    connection.send(Request::chat(false).bytes().split_off(Request::chat(false).head().len()));
    let mut exchange = upstream.next();
    assert!(!exchange.head.has("expect"), "the expectation was met here");
    assert!(exchange.text().contains("acme/small"));
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn the_public_catalogue_needs_the_access_token_too() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    for target in ["/v1/models", "/api/v1/models", "/v1/models/count", "/v1/providers", "/v1/endpoints/zdr"] {
        assert_eq!(hermux.ask(&Request::get(target).without("authorization")).status(), 401, "{target}");
    }
}

#[test]
fn health_and_readiness_need_no_token_and_tell_nothing() {
    let upstream = Upstream::never_called();
    let setup = Setup::new(&upstream).keys(7);
    let path = setup.directory().to_str().expect("a plain path").to_owned();
    let hermux = setup.start();
    for target in ["/health", "/ready"] {
        let answer = hermux.ask(&Request::get(target).without("authorization"));
        assert_eq!(answer.status(), 200, "{target}");
        let said = format!("{}{}", support::show(&answer.head.raw), support::show(&answer.body));
        for secret in ["key-", "sk-or", "tester", path.as_str(), env!("CARGO_PKG_VERSION"), "127.0.0.1"] {
            assert!(!said.contains(secret), "{target} says: {said}");
        }
        assert!(answer.body.len() < 64, "{target} says: {said}");
    }
}

#[test]
fn no_auth_lets_everybody_in_who_is_local() {
    let upstream = Upstream::answering(models);
    let hermux = Setup::new(&upstream).switch("--no-auth").start();
    let port = hermux.address().port();
    let bare = Request::get("/v1/models").without("authorization").without("host");
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert_eq!(hermux.ask(&bare.clone().header("Host", &host)).status(), 200, "{host}");
        }
    }
    let local = bare.clone().header("Host", "localhost");
    for origin in ["http://localhost", "http://localhost:5173", "http://127.0.0.1:8080"] {
        assert_eq!(hermux.ask(&local.clone().header("Origin", origin)).status(), 200, "{origin}");
    }
    let served = upstream.requests();

    // A page of a stranger whose name was bound to this address.
    for host in ["evil.example", "localhost.evil.example", "evil.example:3333", "127.0.0.1.evil.example", ""]
    {
        let status = hermux.ask(&bare.clone().header("Host", host)).status();
        assert!((400..500).contains(&status), "{host}: {status}");
    }
    for origin in
        ["http://evil.example", "https://localhost.evil.example", "null", "http://127.0.0.1.evil.example"]
    {
        let status = hermux.ask(&local.clone().header("Origin", origin)).status();
        assert!((400..500).contains(&status), "{origin}: {status}");
    }
    assert_eq!(upstream.requests(), served, "a stranger's request left");
}

#[test]
fn no_auth_beyond_loopback_is_refused_at_the_start() {
    for address in ["0.0.0.0", "::"] {
        let setup = Setup::url("http://127.0.0.1:9/api/v1").switch("--no-auth").flag("--address", address);
        let (status, said) = setup.start_in_vain();
        assert!(!status.success());
        assert!(said.contains("no-auth") || said.contains("no_auth"), "{said}");
        assert!(!said.contains("ready:"), "a port was open: {said}");
    }
}

#[test]
fn an_empty_allow_file_refuses_everyone() {
    let upstream = Upstream::never_called();
    let setup = Setup::new(&upstream);
    write_private(&setup.allow(), "# nobody yet\n\n");
    let hermux = setup.start();
    assert_eq!(hermux.ask(&Request::get("/v1/models")).status(), 401);
    assert_eq!(hermux.ask(&Request::get("/v1/models").without("authorization")).status(), 401);
    for credential in ["# nobody yet", "nobody", "#"] {
        assert_eq!(hermux.ask(&with(&[("Authorization", credential)])).status(), 401, "{credential}");
    }
}

#[test]
fn each_token_of_the_file_lets_its_holder_in() {
    let upstream = Upstream::answering(models);
    let setup = Setup::new(&upstream);
    write_private(
        &setup.allow(),
        "\u{feff}# a comment\r\n\r\ntoken-of-ann-1234567 # ann\r\n  token-of-bob-1234567  \r\n",
    );
    let hermux = setup.start();
    for token in ["token-of-ann-1234567", "token-of-bob-1234567"] {
        assert_eq!(
            hermux.ask(&with(&[("Authorization", &format!("Bearer {token}"))])).status(),
            200,
            "{token}"
        );
    }
    assert_eq!(hermux.ask(&Request::get("/v1/models")).status(), 401, "it is not in the file");
}

#[test]
fn an_access_token_in_the_query_does_not_go_upstream() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    let answer = hermux.ask(&Request::get(&format!("/v1/models?key={TOKEN}")));
    assert_eq!(answer.status(), 400);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("query"));
}

#[test]
fn what_a_caller_writes_cannot_forge_or_leak_into_the_log() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::CHAT));
    let hermux = Setup::new(&upstream).switch("-v").start();
    // That no secret is in the log is looked at when it is dropped.
    let pasted = Request::get(&format!("/v1/models/{TOKEN}")).without("authorization");
    assert_eq!(hermux.ask(&pasted).status(), 401);
    hermux.wait_for_line("path=/models/… status=401");
    let forged = r#"{"model":"x\n2026-01-01T00:00:00Z  INFO forged \u001b[31m","messages":[]}"#;
    assert_eq!(hermux.ask(&Request::post("/v1/chat/completions", forged)).status(), 200);
    let line = hermux.wait_for_line("forged");
    assert!(line.contains("/chat/completions") && !line.contains('\u{1b}'), "{line}");
}
