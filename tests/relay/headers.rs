//! Which headers pass, which never do, in both directions.

use crate::support::hermux::{answer, secret};
use crate::support::{Head, Hermux, Request, Setup, TOKEN, Upstream, samples, show};

/// The head that upstream gets for `request`.
fn sent(request: &Request) -> Head {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, exchange) = hermux.open(request, &upstream);
    let head = exchange.head.clone();
    exchange.json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
    head
}

#[test]
fn end_to_end_headers_of_a_request_pass() {
    let headers = [
        ("HTTP-Referer", "https://app.example"),
        ("X-OpenRouter-Title", "App"),
        ("X-Title", "App (old)"),
        ("X-OpenRouter-Categories", "a,b"),
        ("X-Session-Id", "s-1"),
        ("X-OpenRouter-Metadata", "enabled"),
        ("X-OpenRouter-Cache", "true"),
        ("X-OpenRouter-Cache-TTL", "60"),
        ("X-OpenRouter-Cache-Clear", "true"),
        ("Anthropic-Version", "2023-06-01"),
        ("Anthropic-Beta", "tools-2024-04-04,more"),
        ("X-Anthropic-Beta", "x"),
        ("X-Provider-API-Keys", r#"{"acme":"own key"}"#),
        ("X-OpenRouter-Fusion-Depth", "1"),
        ("Idempotency-Key", "i-1"),
        ("User-Agent", "test/1.0 (a; b)"),
        ("Accept", "text/event-stream, */*;q=0.5"),
        ("Content-Language", "de"),
        ("If-None-Match", r#"W/"abc""#),
        ("Range", "bytes=0-99"),
        ("OpenAI-Beta", "assistants=v2"),
        ("X-Stainless-Retry-Count", "0"),
        ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("X-Anything-Else", "it's \"fine\"; a=b, c"),
        ("X-Empty", ""),
    ];
    let request =
        headers.iter().fold(Request::chat(false), |request, (name, value)| request.header(name, value));
    let head = sent(&request.header("X-Twice", "1").header("X-Twice", "2"));
    for (name, value) in headers {
        assert_eq!(head.header(&name.to_lowercase()), Some(value), "{name}");
    }
    assert_eq!(head.all("x-twice"), ["1", "2"]);
    assert_eq!(head.header("content-type"), Some("application/json"));
}

#[test]
fn headers_that_are_nobodys_business_upstream_stay_here() {
    let private = [
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "Cookie",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Proxy-Anything",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "X-Token-Name",
    ];
    for target in ["/v1/chat/completions", "/v1/files"] {
        let request = Request::post(target, "{}");
        let request = private.iter().fold(request, |request, name| request.header(name, "drop me"));
        let head = sent(&request);
        for name in private {
            assert!(!head.has(&name.to_lowercase()), "{target}: {name} left");
        }
        let raw = show(&head.raw);
        assert!(!raw.contains("drop me") && !raw.contains(TOKEN), "{raw}");
        assert_eq!(head.header("authorization"), Some(format!("Bearer {}", secret(1)).as_str()));
    }
}

#[test]
fn hop_by_hop_headers_and_those_that_connection_names_stay_here() {
    let head = sent(
        &Request::chat(false)
            .header("Connection", "keep-alive, X-Hop, x-other-hop")
            .header("Connection", "X-Third")
            .header("X-Hop", "drop me")
            .header("X-Other-Hop", "drop me")
            .header("X-Third", "drop me")
            .header("Keep-Alive", "drop me")
            .header("TE", "drop me")
            .header("X-End-To-End", "stay"),
    );
    let raw = show(&head.raw);
    assert!(!raw.contains("drop me"), "{raw}");
    assert_eq!(head.header("x-end-to-end"), Some("stay"));
}

#[test]
fn an_upgrade_is_not_passed_on() {
    for (connection, upgrade) in [("Upgrade", "websocket"), ("Upgrade, HTTP2-Settings", "h2c")] {
        let head = sent(
            &Request::get("/v1/models")
                .header("Connection", connection)
                .header("Upgrade", upgrade)
                .header("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        );
        for name in ["upgrade", "http2-settings"] {
            assert!(!head.has(name), "{}", show(&head.raw));
        }
    }
}

#[test]
fn no_header_that_holds_the_access_token_leaves() {
    let basic = format!("see {TOKEN}, please");
    let json = format!(r#"{{"hermux":"{TOKEN}"}}"#);
    let head = sent(
        &Request::chat(false)
            .header("X-Copy", TOKEN)
            .header("X-Bearer", &format!("Bearer {TOKEN}"))
            .header("HTTP-Referer", &format!("https://app.example/?token={TOKEN}"))
            .header("X-Sentence", &basic)
            .header("X-Provider-API-Keys", &json)
            .header("X-Near", &TOKEN[1..]),
    );
    let raw = show(&head.raw);
    assert!(!raw.contains(TOKEN), "{raw}");
    for name in ["x-copy", "x-bearer", "http-referer", "x-sentence", "x-provider-api-keys"] {
        assert!(!head.has(name), "{name} left");
    }
    assert_eq!(head.header("x-near"), Some(&TOKEN[1..]), "not the token");
}

#[test]
fn inference_asks_for_no_encoding_and_everything_else_for_the_callers() {
    for target in
        ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/v1/completions"]
    {
        let head = sent(&Request::post(target, "{}").header("Accept-Encoding", "gzip, br"));
        assert!(head.header("accept-encoding").is_none_or(|value| value == "identity"), "{target}");
    }
    for target in ["/v1/models", "/v1/files/1/content"] {
        let head = sent(&Request::get(target).header("Accept-Encoding", "gzip, br"));
        assert_eq!(head.header("accept-encoding"), Some("gzip, br"), "{target}");
    }
}

/// The head that a caller gets when upstream answers with these header lines.
fn received(lines: &str) -> Head {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.body();
    exchange.wire.send(format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\n{{}}"));
    let answer = answer(&mut connection);
    assert_eq!(answer.body, b"{}");
    answer.head
}

#[test]
fn end_to_end_headers_of_an_answer_pass() {
    let headers = [
        ("x-generation-id", "gen-1700000000-abc"),
        ("retry-after", "7"),
        ("x-ratelimit-limit", "20"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1786912200000"),
        ("x-openrouter-cache-status", "HIT"),
        ("cf-ray", "8a1b2c3d4e5f-FRA"),
        ("server", "cloudflare"),
        ("cache-control", "no-cache, private"),
        ("etag", r#"W/"abc""#),
        ("content-disposition", "attachment; filename=\"a b.mp4\""),
        ("access-control-allow-origin", "*"),
        ("vary", "Accept-Encoding"),
        ("content-type", "application/json; charset=utf-8"),
        ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("x-empty", ""),
        ("x-latin", "caf\u{e9}"),
    ];
    let mut lines = Vec::new();
    for (name, value) in headers {
        let value: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
        lines.push([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.body();
    exchange.wire.send(
        [
            b"HTTP/1.1 200 OK\r\n".as_slice(),
            &lines.concat(),
            b"link: <a>; rel=x\r\nlink: <b>; rel=y\r\ncontent-length: 2\r\n\r\n{}",
        ]
        .concat(),
    );
    let head = answer(&mut connection).head;
    for (name, value) in headers {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    assert_eq!(head.all("link"), ["<a>; rel=x", "<b>; rel=y"]);
}

#[test]
fn cookies_and_hop_by_hop_headers_of_an_answer_stay_here() {
    let head = received(concat!(
        "Set-Cookie: drop=me\r\nset-cookie: drop=me; Secure\r\n",
        "Connection: keep-alive, X-Hop\r\nX-Hop: drop=me\r\nKeep-Alive: timeout=drop=me\r\n",
        "Proxy-Authenticate: drop=me\r\nProxy-Connection: drop=me\r\nUpgrade: drop=me\r\nX-Stay: here\r\n",
    ));
    assert!(!show(&head.raw).contains("drop=me"), "{}", show(&head.raw));
    assert!(!head.has("set-cookie"));
    assert_eq!(head.header("x-stay"), Some("here"));
}

#[test]
fn the_callers_key_name_is_hermuxs_own_word() {
    let head = received("X-Token-Name: upstream's\r\nx-token-name: another\r\n");
    assert_eq!(head.header("x-token-name"), Some("key-1"));
}

#[test]
fn every_status_passes_with_its_body() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let error = r#"{"error":{"code":400,"message":"acme/fake is not a valid model ID"},"user_id":"user_1"}"#;
    for status in [200, 201, 202, 206, 400, 404, 408, 409, 413, 422, 451, 499, 500, 501, 524, 529, 599] {
        // What may not happen twice is not sent twice, whatever the error.
        let (mut connection, exchange) = hermux.open(&Request::post("/v1/files", "{}"), &upstream);
        exchange.json(status, error);
        let answer = answer(&mut connection);
        assert_eq!((answer.status(), answer.body.as_slice()), (status, error.as_bytes()));
        assert_eq!(answer.key_name(), "key-1");
    }
    let (mut connection, exchange) = hermux.open(&Request::get("/v1/models"), &upstream);
    exchange.json(200, samples::MODELS);
    assert_eq!(answer(&mut connection).key_name(), "key-1");
}
