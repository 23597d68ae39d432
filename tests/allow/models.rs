//! `models`: what a caller may not use is refused before anything leaves, and is not shown.

use super::support::{Exchange, Request, Upstream, samples};
use super::{bounded, chat, of, said};

#[test]
fn a_model_is_used_by_those_who_may_and_refused_to_others() {
    let upstream = Upstream::start();
    let hermux = bounded(&upstream, "models=acme/*,*:free").start();
    for model in ["acme/small", "acme/large:free", "other/large:free"] {
        let (mut connection, mut exchange) = hermux.open(&of(model), &upstream);
        assert_eq!(exchange.text(), format!(r#"{{"model":"{model}","messages":[]}}"#), "untouched");
        exchange.json(200, samples::CHAT);
        assert_eq!(connection.answer().status(), 200, "{model}");
    }
    for model in ["other/large", "xacme/small", "acme", "ACME/small", "openrouter/auto"] {
        let refused = hermux.ask(&of(model));
        assert_eq!(refused.status(), 403, "{model}");
        assert_eq!(said(&refused), format!("hermux: this access token may not use the model: {model}"));
    }
    assert_eq!(upstream.requests(), 3);
}

#[test]
fn a_model_is_found_wherever_a_request_names_it() {
    let upstream = Upstream::never_called();
    let hermux = bounded(&upstream, "models=acme/*").start();
    let large = format!(r#"{{"model":"acme/small","messages":[],"pad":"{}"}}"#, "x".repeat(40 << 10));
    for body in [
        r#"{"model":"acme/small","models":["acme/large","evil/large"]}"#,
        r#"{"models":["evil/large"]}"#,
        r#"{"model":"acme/small","model":"evil/large"}"#,
        r#"{"model":"evil/large","model":"acme/small"}"#,
        r#"{"mod\u0065l":"evil/large"}"#,
        r#"{"model":"acme/small@preset/mine"}"#,
        r#"{"model":"acme/small","preset":"mine"}"#,
        r#"{"model":"acme/small","plugins":[{"id":"fusion","analysis_models":["evil/large"]}]}"#,
        r#"{"model":"acme/small","tools":[{"type":"openrouter:subagent","parameters":{"model":"evil/large"}}]}"#,
        r#"{"messages":[]}"#,
        r#"{"model":null}"#,
        r#"{"model":"acme/small""#,
        r#"{"model":"acme/small"} {"model":"evil/large"}"#,
        "",
        "--part\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nacme/small\r\n--part--\r\n",
    ] {
        for path in ["/v1/chat/completions", "/api/v1/responses", "/v1/messages", "/v1/embeddings"] {
            let refused = hermux.ask(&Request::post(path, body));
            assert_eq!(refused.status(), 403, "{path} {body}");
        }
    }
    let hermux = hermux.stop().flag("--replay-size", "16KiB").start();
    let refused = hermux.ask(&Request::post("/v1/chat/completions", &large));
    assert_eq!(refused.status(), 403);
    assert!(said(&refused).contains("too large"), "{}", said(&refused));
}

#[test]
fn who_may_use_a_preset_does_not_choose_its_models() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "models=@preset/mine").start();
    let body = r#"{"model":"evil/large","messages":[]}"#;
    for path in
        ["/v1/presets/mine/chat/completions", "/v1/presets/mine/messages", "/v1/Presets/mine/responses"]
    {
        assert_eq!(hermux.ask(&Request::post(path, body)).status(), 403, "{path}");
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(hermux.ask(&of("@preset/mine")).status(), 200);
    assert_eq!(hermux.ask(&Request::get("/v1/presets/mine")).status(), 200);
    let hermux = bounded(&upstream, "rpm=60").start();
    assert_eq!(hermux.ask(&Request::post("/v1/presets/mine/messages", body)).status(), 200);
}

#[test]
fn what_may_be_read_as_a_form_too_names_no_model_for_certain() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "models=acme/*").start();
    // JSON to a lenient reader, and a form that asks for another model to who goes by the type.
    let both = "{\"model\":\"acme/small\",\"x\":\"\r\n--part\r\ncontent-disposition: form-data; name=model\r\n\r\n\
                evil/large\r\n--part--\r\n\"}";
    let ask = |headers: &[(&str, &str)], body: &str| {
        let request = Request::post("/v1/audio/transcriptions", body).without("content-type");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        hermux.ask(&request)
    };
    for headers in [
        &[("content-type", "multipart/form-data; boundary=part")][..],
        &[("content-type", "application/json"), ("content-type", "multipart/form-data; boundary=part")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-encoding", "deflate")],
    ] {
        let refused = ask(headers, both);
        assert_eq!(refused.status(), 403, "{headers:?}");
        assert!(said(&refused).contains("application/json"), "{}", said(&refused));
    }
    assert_eq!(upstream.requests(), 0);
    let plain = r#"{"model":"acme/small"}"#;
    for headers in
        [&[][..], &[("content-type", "Application/JSON ; charset=utf-8"), ("content-encoding", "identity")]]
    {
        assert_eq!(ask(headers, plain).status(), 200, "{headers:?}");
    }
}

#[test]
fn a_way_to_run_models_that_is_not_seen_through_is_closed() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "models=acme/*").start();
    let body = r#"{"model":"evil/large","messages":[]}"#;
    for path in [
        "/v1/chat/completions/",
        "/v1/chat/complet%69ons",
        "/v1/CHAT/completions",
        "/v1/batches",
        "/api/beta/batches",
        "/v1/messages/batches",
        "/v1/interns/x/run",
        "/v1/realtime",
    ] {
        assert_eq!(hermux.ask(&Request::post(path, body)).status(), 403, "{path}");
    }
    assert_eq!(upstream.requests(), 0);
    for path in ["/v1/messages/count_tokens", "/v1/files"] {
        assert_eq!(hermux.ask(&Request::post(path, body)).status(), 200, "{path}");
    }
    assert_eq!(hermux.ask(&Request::get("/v1/batches")).status(), 200);
}

const LIST: &str = r#"{ "data" : [{"id":"acme/small","name":"Small", "n":1.0}, {"id":"evil/large"},{"id":"evil/x:free"} ], "total_count": 3 }"#;
const KEPT: &str =
    r#"{ "data" : [{"id":"acme/small","name":"Small", "n":1.0},{"id":"evil/x:free"}], "total_count": 3 }"#;

fn list(exchange: Exchange) {
    assert!(!exchange.head.has("if-none-match") && !exchange.head.has("range"));
    assert_eq!(exchange.head.header("accept-encoding"), Some("identity"));
    answer(exchange, "200 OK", "content-type: application/json\r\netag: \"all\"\r\n", LIST);
}

fn answer(mut exchange: Exchange, status: &str, headers: &str, body: &str) {
    let length = body.len();
    exchange.body();
    exchange.wire.send(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"));
    exchange.keep();
}

#[test]
fn lists_of_models_show_what_the_caller_may_use() {
    let upstream = Upstream::answering(list);
    let hermux = bounded(&upstream, "models=acme/*,*:free").start();
    for path in
        ["/v1/models", "/api/v1/models/user?x=1", "/v1/embeddings/models", "/v1/endpoints/zdr", "/v1/Models/"]
    {
        let request = Request::get(path).header("If-None-Match", "\"all\"").header("Range", "bytes=0-9");
        let shown = hermux.ask(&request.header("Accept-Encoding", "gzip"));
        assert_eq!(
            (shown.status(), String::from_utf8(shown.body.clone()).unwrap().as_str()),
            (200, KEPT),
            "{path}"
        );
        assert!(!shown.head.has("etag"), "it names a list that was not shown");
    }
}

#[test]
fn one_model_is_shown_to_those_who_may_use_it_and_no_number_of_all() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, r#"{"data":{"id":"any"}}"#));
    let hermux = bounded(&upstream, "models=acme/*").start();
    for path in ["/v1/models/acme/small/endpoints", "/v1/model/acme/small", "/v1/models/acme%2Fsmall"] {
        assert_eq!(hermux.ask(&Request::get(path)).json()["data"]["id"], "any", "{path}");
    }
    let seen = upstream.requests();
    for path in [
        "/v1/models/evil/large/endpoints",
        "/v1/models/evil%2Flarge",
        "/v1/m%6fdels/evil/large",
        "/v1/images/models/evil/large/endpoints",
        "/v1/models/count",
    ] {
        assert_eq!(hermux.ask(&Request::get(path)).status(), 403, "{path}");
    }
    assert_eq!(upstream.requests(), seen);
}

#[test]
fn a_list_that_is_not_understood_is_refused() {
    for (headers, body) in [
        ("content-type: application/rss+xml\r\n", "<rss>evil/large</rss>"),
        ("content-type: application/json\r\ncontent-encoding: gzip\r\n", LIST),
        ("content-type: application/json\r\n", r#"{"data":{"evil/large":{}}}"#),
        ("content-type: application/json\r\n", r#"["evil/large"]"#),
        ("content-type: application/json\r\n", r#"{"data":[{"id":"acme/small"},{"name":"evil/large"}]}"#),
    ] {
        let upstream = Upstream::answering(move |exchange| answer(exchange, "200 OK", headers, body));
        let hermux = bounded(&upstream, "models=acme/*").start();
        let refused = hermux.ask(&Request::get("/v1/models"));
        assert_eq!(refused.status(), 403, "{body}");
        assert!(said(&refused).contains("upstream's list") && !said(&refused).contains("evil"));
    }
}

#[test]
fn errors_and_heads_pass_and_others_see_the_list_as_it_came() {
    let upstream = Upstream::answering(|exchange| match exchange.head.method() {
        "HEAD" => answer(exchange, "200 OK", "content-type: application/json\r\n", ""),
        _ => answer(
            exchange,
            "503 Busy",
            "content-type: application/json\r\n",
            r#"{"error":{"message":"busy"}}"#,
        ),
    });
    let hermux = bounded(&upstream, "models=acme/*").start();
    let busy = hermux.ask(&Request::get("/v1/models"));
    assert_eq!((busy.status(), said(&busy).as_str()), (503, "busy"));
    let mut connection = hermux.send(&Request::new("HEAD", "/v1/models"));
    assert_eq!(connection.answer_to_head().status(), 200);

    let upstream = Upstream::answering(|exchange| {
        answer(exchange, "200 OK", "content-type: application/json\r\netag: \"all\"\r\n", LIST);
    });
    let hermux = bounded(&upstream, "rpm=5").start();
    let shown = hermux.ask(&Request::get("/v1/models"));
    assert_eq!((shown.body.as_slice(), shown.head.header("etag")), (LIST.as_bytes(), Some("\"all\"")));
}
