//! Files, batches and presets: who is asked for one that nobody is known to own.

use std::sync::{Arc, Mutex};

use crate::support::{Exchange, Request, Setup, Upstream};

const NOT_FOUND: &str = r#"{"error":{"code":404,"message":"Resource not found"}}"#;

/// An upstream that knows nothing, and the keys it was asked with.
fn knowing_nothing() -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let upstream = Upstream::answering(move |exchange: Exchange| {
        seen.lock().unwrap().push(exchange.key().to_owned());
        exchange.json(404, NOT_FOUND);
    });
    (upstream, asked)
}

#[test]
fn what_no_account_has_is_asked_for_ten_times_and_the_last_answer_stands() {
    for (keys, times) in [(3, 10), (12, 10)] {
        let (upstream, asked) = knowing_nothing();
        let hermux = Setup::new(&upstream).keys(keys).start();
        let answer = hermux.ask(&Request::get("/v1/files/or_file_1"));
        assert_eq!((answer.status(), answer.body.as_slice()), (404, NOT_FOUND.as_bytes()));
        let asked = asked.lock().unwrap();
        assert!(asked.len() <= times && asked.len() >= keys.min(times), "{} times", asked.len());
        let mut different = asked.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), keys.min(times));
    }
}

#[test]
fn only_reading_one_resource_asks_around() {
    for (method, target) in [
        ("DELETE", "/v1/files/or_file_1"),
        ("POST", "/v1/batches/b1/cancel"),
        ("GET", "/v1/files"),
        ("GET", "/v1/models/acme/none/endpoints"),
    ] {
        let (upstream, asked) = knowing_nothing();
        let hermux = Setup::new(&upstream).keys(3).start();
        assert_eq!(hermux.ask(&Request::new(method, target)).status(), 404, "{method} {target}");
        assert_eq!(asked.lock().unwrap().len(), 1, "{method} {target}");
    }
}

#[test]
fn an_answer_that_makes_a_resource_passes_as_it_came() {
    let made = "{ \"id\" : \"or_file_1\",\n \"filename\":\"a.txt\" }";
    let upstream = Upstream::answering(move |exchange: Exchange| exchange.json(200, made));
    let hermux = Setup::new(&upstream).start();
    for target in ["/v1/files", "/v1/batches", "/api/beta/batches", "/v1/presets/mine/chat/completions"] {
        let answer = hermux.ask(&Request::post(target, "{}"));
        assert_eq!((answer.status(), answer.body.as_slice()), (200, made.as_bytes()), "{target}");
        assert_eq!(answer.head.header("content-length"), Some(made.len().to_string().as_str()));
    }
}

#[test]
fn an_answer_too_large_to_be_read_whole_passes_as_it_came() {
    let made = format!(r#"{{"id":"or_file_1","more":"{}"}}"#, "x".repeat(3 << 20));
    let sent = made.clone();
    let upstream = Upstream::answering(move |exchange: Exchange| exchange.json(200, &sent));
    let answer = Setup::new(&upstream).start().ask(&Request::post("/v1/files", "{}"));
    assert_eq!(answer.status(), 200);
    assert!(answer.body == made.as_bytes(), "{} bytes of {}", answer.body.len(), made.len());
}

#[test]
fn a_resource_is_asked_for_with_the_key_that_made_it() {
    let upstream = Upstream::answering(|exchange: Exchange| {
        let id = exchange.key().get(60..).unwrap_or_default().to_owned();
        exchange.json(200, &format!(r#"{{"id":"or_file_{id}"}}"#));
    });
    let hermux = Setup::new(&upstream).keys(5).start();
    for _ in 0..10 {
        let made = hermux.ask(&Request::post("/v1/files", "{}"));
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let read = hermux.ask(&Request::get(&format!("/v1/files/{id}/content")));
        assert_eq!(read.key_name(), made.key_name());
        let used = format!(
            r#"{{"model":"acme/small","messages":[{{"role":"user","content":[{{"type":"file","file":{{"file_id":"{id}"}}}}]}}]}}"#
        );
        let used = hermux.ask(&Request::post("/v1/chat/completions", &used));
        assert_eq!(used.key_name(), made.key_name());
    }
}
