//! Which paths leave for upstream, in which form, and which never do.

mod support;

use std::net::{TcpListener, ToSocketAddrs};

use support::hermux::answer;
use support::{Exchange, Hermux, Request, Setup, Upstream, samples};

/// Answers with the request's target, so that the test sees what upstream saw.
fn echo_target(exchange: Exchange) {
    let target = exchange.head.target().to_owned();
    exchange.json(200, &serde_json::json!({ "target": target }).to_string());
}

#[test]
fn every_mount_point_leads_to_its_own_path_upstream_and_the_query_stays_as_it_is() {
    let upstream = Upstream::answering(echo_target);
    let hermux = Hermux::start(&upstream);
    for (asked, sent) in [
        ("/api/v1/models", "/api/v1/models"),
        ("/v1/models", "/api/v1/models"),
        ("/api/alpha/decisions", "/api/alpha/decisions"),
        ("/api/beta/batches", "/api/beta/batches"),
        ("/v1/models?client_version=1.0", "/api/v1/models?client_version=1.0"),
        (
            "/v1/models?a=1&a=2&b=%20+%2B&c=..%2F..&d=//&e",
            "/api/v1/models?a=1&a=2&b=%20+%2B&c=..%2F..&d=//&e",
        ),
        ("/v1/models?", "/api/v1/models?"),
        ("/v1/messages?beta=true", "/api/v1/messages?beta=true"),
        ("/v1/generation?id=gen-1", "/api/v1/generation?id=gen-1"),
        ("/v1/something/not/known/yet", "/api/v1/something/not/known/yet"),
        // Percent-encoding is upstream's to read.
        ("/v1/models/google%2Fgemma", "/api/v1/models/google%2Fgemma"),
        ("/v1/models/acme/small%3Afree/endpoints", "/api/v1/models/acme/small%3Afree/endpoints"),
        ("/v1/models/acme/small:free/endpoints", "/api/v1/models/acme/small:free/endpoints"),
        ("/v1/files/a%20b%C3%A9%ff", "/api/v1/files/a%20b%C3%A9%ff"),
        ("/v1/files/...", "/api/v1/files/..."),
        ("/v1/files/.hidden", "/api/v1/files/.hidden"),
        ("/v1/files/a..b", "/api/v1/files/a..b"),
    ] {
        let answer = hermux.ask(&Request::get(asked));
        assert_eq!(answer.status(), 200, "{asked}");
        assert_eq!(answer.json()["target"], sent, "{asked}");
    }
}

#[test]
fn every_method_of_the_api_passes() {
    let upstream = Upstream::answering(|exchange| {
        let method = exchange.head.method().to_owned();
        exchange.json(200, &format!(r#"{{"method":"{method}"}}"#));
    });
    let hermux = Hermux::start(&upstream);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(hermux.ask(&Request::new(method, "/v1/files/1")).json()["method"], method);
    }
}

#[test]
fn whatever_is_no_path_of_the_api_never_leaves() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    for target in [
        "/",
        "/v1",
        "/api",
        "/v2/models",
        "/api/v2/models",
        "/api/gamma/x",
        "/models",
        "/chat/completions",
        "/api/v1models",
        "/v1x/models",
        "/API/V1/models",
        "/apiv1/models",
        "/favicon.ico",
        "/.env",
        "*",
        // Dot segments, at any depth of encoding, in the middle and at the end.
        "/v1/../keys",
        "/v1/./models",
        "/api/v1/../../admin",
        "/v1/models/..",
        "/v1/models/.",
        "/v1/%2e%2e/keys",
        "/v1/%2E%2E/keys",
        "/v1/.%2e/keys",
        "/v1/%2e./keys",
        "/v1/%2e/models",
        "/v1/%252e%252e/keys",
        "/v1/%25252e%25252e/keys",
        "/v1/%2525252e./keys",
        "/v1/a%2f..%2fkeys",
        "/v1/a%2F%2e%2e%2Fkeys",
        "/v1/a%252f..%252fkeys",
        "/v1/..%2fkeys",
        "/v1/a/..%2f",
        "/v1/..;/keys",
        "/v1/models/%2e%2e?x=1",
        // Backslashes, plain and encoded.
        "/v1/..\\keys",
        "/v1\\models",
        "/v1/a\\b",
        "/v1/a%5cb",
        "/v1/a%5Cb",
        "/v1/a%255cb",
        // Empty segments.
        "//v1/models",
        "/v1//models",
        "/api//v1/models",
        "/v1/models//x",
        "//evil.example/v1/models",
        "/v1/%2fmodels",
        "/v1/x%2f%2fy",
        "/v1/x%2f/y",
        "/v1/x%252F%252fy",
    ] {
        let answer = hermux.ask(&Request::get(target));
        assert!((400..500).contains(&answer.status()), "{target}: {}", answer.status());
    }
}

#[test]
fn only_origin_form_is_read_and_neither_connect_nor_trace() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    let own = format!("http://{}/v1/models", hermux.address());
    for (method, target) in [
        ("GET", "http://evil.example/v1/models"),
        ("GET", "https://openrouter.ai/api/v1/models"),
        ("GET", own.as_str()),
        ("GET", "@evil.example/v1/models"),
        ("GET", "evil.example/v1/models"),
        ("GET", "evil.example:443"),
        ("CONNECT", "evil.example:443"),
        ("CONNECT", "/v1/models"),
        ("TRACE", "/v1/models"),
        ("TRACK", "http://evil.example/"),
    ] {
        let mut connection = hermux.send(&Request::new(method, target));
        let status = connection.answer().status();
        assert!((400..600).contains(&status), "{method} {target}: {status}");
    }
}

#[test]
fn management_is_refused_with_a_sentence() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    for (method, path) in [
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("GET", "/keys/0123abcd"),
        ("PATCH", "/keys/0123abcd"),
        ("DELETE", "/keys/0123abcd"),
        ("GET", "/keys?offset=0"),
        ("GET", "/keys/"),
        ("POST", "/credits"),
        ("GET", "/credits/coinbase"),
        ("GET", "/activity"),
        ("GET", "/activity?date=2026-01-01"),
        ("GET", "/analytics/meta"),
        ("POST", "/analytics/query"),
        ("POST", "/generation/feedback"),
        ("POST", "/auth/keys"),
        ("POST", "/auth/keys/code"),
        ("GET", "/byok"),
        ("GET", "/guardrails"),
        ("GET", "/guardrails/1"),
        ("GET", "/workspaces"),
        ("GET", "/organization"),
        ("GET", "/organization/members"),
        ("GET", "/observability/x"),
        ("GET", "/scim/v2"),
        ("GET", "/external-users"),
        ("GET", "/private-endpoints"),
        // Upstream would decode these.
        ("GET", "/%6beys"),
        ("GET", "/k%65ys/0123abcd"),
        ("POST", "/auth%2fkeys"),
        ("GET", "/keys%2f0123"),
    ] {
        for mount in ["/v1", "/api/v1"] {
            let answer = hermux.ask(&Request::new(method, &format!("{mount}{path}")));
            assert_eq!(answer.status(), 403, "{method} {mount}{path}");
            let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains(' '), "{path} is refused without a sentence: {message}");
        }
    }
}

#[test]
fn a_path_that_only_begins_like_management_passes() {
    let upstream = Upstream::answering(echo_target);
    let hermux = Hermux::start(&upstream);
    for path in ["/key", "/auth/key", "/keysmith", "/generation?id=gen-1", "/models/keys", "/creditscore"] {
        assert_eq!(hermux.ask(&Request::get(&format!("/v1{path}"))).status(), 200, "{path}");
    }
}

#[test]
fn scheme_and_host_are_never_the_callers_choice() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let request = Request::get("/v1/models")
        .without("host")
        .header("Host", "evil.example")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "host=evil.example");
    let (mut connection, exchange) = hermux.open(&request, &upstream);
    assert_eq!(exchange.head.header("host"), Some(upstream.address().to_string().as_str()));
    assert!(!support::show(&exchange.head.raw).contains("evil"), "{}", support::show(&exchange.head.raw));
    exchange.json(200, samples::MODELS);
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn an_origin_without_a_path_means_the_api_below_it() {
    let upstream = Upstream::answering(echo_target);
    let origin = format!("http://{}", upstream.address());
    for url in [origin.clone(), format!("{origin}/"), format!("{origin}/api/v1"), format!("{origin}/api/v1/")]
    {
        let hermux = Setup::url(&url).start();
        assert_eq!(hermux.ask(&Request::get("/v1/models")).json()["target"], "/api/v1/models", "{url}");
        assert_eq!(
            hermux.ask(&Request::get("/api/beta/batches")).json()["target"],
            "/api/beta/batches",
            "{url}"
        );
    }
}

#[test]
fn a_redirect_is_passed_on_and_not_followed() {
    let elsewhere = Upstream::never_called();
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for status in [301, 302, 307, 308] {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
        exchange.body();
        let location = elsewhere.url();
        exchange
            .wire
            .send(format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
        let answer = answer(&mut connection);
        assert_eq!(answer.status(), status);
        assert_eq!(answer.head.header("location"), Some(location.as_str()));
        exchange.keep();
    }
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn proxy_variables_are_not_obeyed() {
    let other = Upstream::never_called();
    let upstream = Upstream::answering(echo_target);
    let proxy = format!("http://{}", other.address());
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let setup = names.iter().fold(Setup::new(&upstream), |setup, name| setup.variable(name, &proxy));
    assert_eq!(setup.start().ask(&Request::get("/v1/models")).status(), 200);
}

#[test]
fn an_upstream_proxy_is_used_when_it_is_named() {
    let proxy = Upstream::start();
    let hermux = Setup::url("http://upstream.invalid:8080/api/v1")
        .flag("--upstream-proxy", &format!("http://{}", proxy.address()))
        .start();
    let mut connection = hermux.send(&Request::get("/v1/models"));
    let mut tunnel = proxy.next();
    assert_eq!(tunnel.head.start, "CONNECT upstream.invalid:8080 HTTP/1.1");
    assert!(!tunnel.head.has("authorization"), "the proxy learns no key");
    tunnel.wire.send("HTTP/1.1 200 Connection established\r\n\r\n");
    let head = tunnel.wire.try_request().expect("the request goes through the tunnel");
    assert_eq!((head.target(), head.header("host")), ("/api/v1/models", Some("upstream.invalid:8080")));
    tunnel.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(answer(&mut connection).body, b"{}");
}

#[test]
fn each_address_of_a_name_is_tried() {
    // Upstream listens on one of the two addresses only; whichever comes first, the other must be tried.
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let port = listener.local_addr().expect("it is bound").port();
        let mut resolved = ("localhost", port).to_socket_addrs().expect("localhost has an address");
        if !resolved.any(|address| listener.local_addr().is_ok_and(|bound| bound == address)) {
            continue;
        }
        let _upstream = Upstream::on(listener).answer(echo_target);
        let hermux = Setup::url(&format!("http://localhost:{port}/api/v1")).start();
        assert_eq!(hermux.ask(&Request::get("/v1/models")).status(), 200, "{address}");
    }
}
