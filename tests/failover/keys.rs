//! A key's or an account's fault: the next key, at once, and each bad one only once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hermux::clock::Clock;

use super::{
    BUSY, CAP, DOWN, FREE_MINUTE, NO_CREDITS, REFUSED, attempts, bad_first, chat, fails_first, start,
};
use crate::support::hermux::{answer, secret, write_private};
use crate::support::{Hermux, Request, Setup, TOKEN, Upstream, eventually, samples};

const UNIDENTIFIED: (u16, &str) = (429, r#"{"error":{"code":429,"message":"Rate limit exceeded"}}"#);

#[test]
fn what_another_key_cures_the_caller_never_sees() {
    for error in [REFUSED, NO_CREDITS, CAP, FREE_MINUTE, UNIDENTIFIED] {
        let upstream = fails_first(2, error);
        let hermux = start(&upstream, 3);
        let answer = hermux.ask(&chat());
        assert_eq!((answer.status(), answer.body.as_slice()), (200, samples::CHAT.as_bytes()), "{error:?}");
        assert_eq!((attempts(&answer), upstream.requests()), (3, 3), "{error:?}");
        let sum = hermux.stats_when("three attempts in the ledger", |sum| sum.attempts == 3);
        assert_eq!(sum.requests, 1);
    }
}

#[test]
fn the_key_that_answered_is_named_and_no_other() {
    let upstream = Upstream::start();
    let hermux = start(&upstream, 2);
    let (mut connection, refused) = hermux.open(&chat(), &upstream);
    let bad = refused.key().to_owned();
    refused.json(REFUSED.0, REFUSED.1);
    let good = upstream.next();
    assert_ne!(good.key(), bad);
    let name = if good.key() == secret(1) { "key-1" } else { "key-2" };
    good.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).key_name(), name);
}

#[test]
fn the_body_is_replayed_byte_for_byte() {
    let large = format!(r#"{{"model":"acme/small","input":"{}"}}"#, "x\u{e9}".repeat(2_000_000));
    for body in ["{}", "", " {not json \u{0}", &large] {
        let upstream = Upstream::start();
        let hermux = start(&upstream, 2);
        let request = Request::post("/v1/chat/completions", body).header("X-Else", "1");
        let mut connection = hermux.send(&request);
        let mut first = upstream.next();
        assert!(first.body() == body.as_bytes());
        let head = first.head.clone();
        first.wire.send(format!(
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{}",
            REFUSED.1.len(),
            REFUSED.1
        ));
        first.keep();
        let mut second = upstream.next();
        assert!(second.body() == body.as_bytes());
        assert_eq!(second.head.start, head.start);
        let but_key = |headers: &[(String, String)]| {
            headers.iter().filter(|(name, _)| name != "authorization").cloned().collect::<Vec<_>>()
        };
        assert_eq!(but_key(&second.head.headers), but_key(&head.headers));
        second.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        second.keep();
        assert_eq!(answer(&mut connection).status(), 200);
    }
}

#[test]
fn a_bad_key_is_met_once_and_its_401_is_never_the_callers() {
    for (error, hidden) in
        [(REFUSED, "User not found"), (CAP, "Key limit exceeded"), (NO_CREDITS, "Add more")]
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keys = Arc::clone(&seen);
        let upstream = Upstream::answering(move |exchange| {
            keys.lock().unwrap().push(exchange.key().to_owned());
            exchange.json(error.0, error.1);
        });
        let hermux = start(&upstream, 4);
        let answer = hermux.ask(&chat());
        assert!([402, 403].contains(&answer.status()), "{}", answer.status());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("hermux: no key can serve this request"), "{message}");
        assert!(!message.contains(hidden), "{message}");
        assert!(!answer.head.has("x-token-name"));
        let seen = seen.lock().unwrap();
        assert_eq!((seen.len(), attempts(&answer)), (4, 4));
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 4, "a key was met twice");
    }
}

#[test]
fn a_fault_that_rests_nothing_of_what_the_request_needs_is_met_once_by_each_key() {
    const IN_FLIGHT: (u16, &str) = (
        402,
        r#"{"error":{"code":402,"message":"This request would exceed your available credits given your current in-flight requests.","metadata":{"reason":"in_flight_budget_exhausted","limit_source":"openrouter_in_flight_budget"}}}"#,
    );
    let free = Request::post("/v1/chat/completions", r#"{"model":"acme/small:free"}"#);
    for (request, error, status) in [
        // A router or a preset may lead to a free model whatever its name.
        (Request::chat(false), FREE_MINUTE, 429),
        (Request::get("/v1/models"), FREE_MINUTE, 429),
        (Request::get("/v1/models"), NO_CREDITS, 402),
        (free, IN_FLIGHT, 429),
    ] {
        for wait in ["0", "5s"] {
            let upstream = fails_first(30, error);
            let hermux = start(&upstream, 3);
            let answer = hermux.ask(&request.clone().header("X-HERMUX-Max-Wait", wait));
            assert_eq!((answer.status(), attempts(&answer)), (status, 3), "{error:?}");
            assert_eq!(upstream.requests(), 3, "a key was met twice: {error:?}");
            assert_eq!(answer.head.has("retry-after"), status == 429);
        }
    }
    // No more than so many, where every other request would go the same long way.
    let upstream = fails_first(usize::MAX, FREE_MINUTE);
    let answer = start(&upstream, 20).ask(&chat());
    assert_eq!((answer.status(), attempts(&answer), upstream.requests()), (429, 8, 8));
    assert!(answer.head.has("retry-after"));
}

#[test]
fn a_rate_limit_of_all_keys_that_nothing_identifies_is_met_once_by_each_and_passed_on() {
    for wait in ["0", "5s"] {
        let upstream = fails_first(30, UNIDENTIFIED);
        let hermux = start(&upstream, 3);
        let answer = hermux.ask(&Request::chat(false).header("X-HERMUX-Max-Wait", wait));
        assert_eq!((answer.status(), answer.body.as_slice()), (429, UNIDENTIFIED.1.as_bytes()));
        assert_eq!((attempts(&answer), upstream.requests()), (3, 3));
    }
}

#[test]
fn a_callers_own_error_is_passed_on_at_once() {
    for error in [
        (400, r#"{"error":{"code":400,"message":"acme/fake-1.0 is not a valid model ID"}}"#),
        (413, r#"{"error":{"code":413,"message":"Request payload too large"}}"#),
        (422, r#"{"error":{"code":422,"message":"Unprocessable"}}"#),
        (404, r#"{"error":{"code":404,"message":"No endpoints found for acme/none."}}"#),
        (
            403,
            r#"{"error":{"code":403,"message":"Flagged","metadata":{"reasons":["x"],"flagged_input":"y"}}}"#,
        ),
        BUSY,
    ] {
        let upstream = fails_first(1, error);
        let hermux = start(&upstream, 3);
        let answer = hermux.ask(&chat());
        assert_eq!((answer.status(), answer.body.as_slice()), (error.0, error.1.as_bytes()));
        assert_eq!((attempts(&answer), upstream.requests()), (1, 1), "{error:?}");
        answer.key_name();
    }
}

#[test]
fn what_says_nothing_certain_of_a_key_is_tried_on_a_few_and_passed_on() {
    let policy = (404, r#"{"error":{"code":404,"message":"No endpoints found matching your data policy"}}"#);
    let upstream = fails_first(usize::MAX, policy);
    let hermux = start(&upstream, 20);
    let answer = hermux.ask(&chat());
    assert_eq!((answer.status(), answer.body.as_slice()), (404, policy.1.as_bytes()));
    assert_eq!((attempts(&answer), upstream.requests()), (8, 8));
}

#[test]
fn what_can_be_sent_only_once_is_sent_once() {
    for (error, status) in [(REFUSED, 429), (DOWN, 502)] {
        let upstream = fails_first(1, error);
        let hermux = Setup::new(&upstream).keys(3).flag("--replay-size", "100").start();
        let answer = hermux.ask(&chat().body("x".repeat(1_000)));
        assert_eq!(answer.status(), status);
        assert_eq!(attempts(&answer), 1);
        assert_eq!(upstream.requests(), 1);
        assert_eq!(answer.head.header("retry-after"), (status == 429).then_some("1"));
    }
}

#[test]
fn each_answer_says_how_many_attempts_it_took() {
    let upstream = bad_first(0, |_| ());
    let hermux = start(&upstream, 1);
    assert_eq!(attempts(&hermux.ask(&Request::chat(true))), 1);
    assert_eq!(attempts(&hermux.ask(&Request::get("/v1/models"))), 1);
    let refusal = hermux.ask(&Request::get("/nowhere"));
    assert!(!refusal.head.has("x-hermux-attempts"), "there was none");
}

#[test]
fn a_wish_to_wait_stays_here_and_a_bad_one_is_refused() {
    let upstream = Upstream::start();
    let hermux = start(&upstream, 1);
    for wish in ["soon", "11m", "-1s", ""] {
        let answer = hermux.ask(&Request::chat(false).header("X-HERMUX-Max-Wait", wish));
        assert_eq!(answer.status(), 400, "{wish}");
    }
    let request = Request::chat(false).header("X-HERMUX-Max-Wait", "10m").header("x-hermux-any", "1");
    let (mut connection, mut exchange) = hermux.open(&request, &upstream);
    assert!(!exchange.head.has("x-hermux-max-wait") && !exchange.head.has("x-hermux-any"));
    exchange.body();
    exchange.wire.send("HTTP/1.1 200 OK\r\nx-hermux-attempts: 99\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(attempts(&answer(&mut connection)), 1);
}

#[test]
fn exhausted_keys_say_when_the_first_is_back() {
    let upstream = fails_first(usize::MAX, FREE_MINUTE);
    let hermux = start(&upstream, 2);
    let free = r#"{"model":"acme/small:free","messages":[{"role":"user","content":"hi"}]}"#;
    for (path, kind) in [("/v1/chat/completions", "code"), ("/v1/messages", "type")] {
        let answer = hermux.ask(&Request::post(path, free).header("X-HERMUX-Max-Wait", "0"));
        assert_eq!(answer.status(), 429);
        let after: u64 = answer.head.header("retry-after").expect("it says when").parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        let error = &answer.json()["error"];
        assert!(!error[kind].is_null(), "{error}");
        assert!(error["message"].as_str().unwrap().contains("free requests of this minute"), "{error}");
    }
    assert_eq!(upstream.requests(), 2, "nothing hopeless is tried");
}

#[test]
fn an_endpoint_that_refuses_each_key_has_none_of_them_rest() {
    let wants_another = (401, r#"{"error":{"code":401,"message":"A valid management key is required"}}"#);
    for error in [REFUSED, wants_another] {
        let upstream = Upstream::answering(move |exchange| {
            if exchange.head.start.contains("/odd") {
                exchange.json(error.0, error.1);
            } else {
                exchange.json(200, samples::CHAT);
            }
        });
        let hermux = start(&upstream, 3);
        for _ in 0..2 {
            let answer = hermux.ask(&Request::get("/v1/odd").header("X-HERMUX-Max-Wait", "0"));
            assert_eq!((answer.status(), attempts(&answer)), (403, 3), "{error:?}");
        }
        assert_eq!(hermux.ask(&chat()).status(), 200, "{error:?}");
    }
}

#[test]
fn a_key_that_is_refused_where_another_is_not_rests_whatever_was_asked_for() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.key() == secret(2) {
            exchange.json(200, samples::CHAT);
        } else {
            exchange.json(REFUSED.0, REFUSED.1);
        }
    });
    let hermux = start(&upstream, 3);
    for _ in 0..6 {
        assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "key-2");
    }
    assert!(upstream.requests() <= 6 + 2, "{}", upstream.requests());
}

#[test]
fn an_error_that_passes_slowly_keeps_no_other_request_from_the_new_window() {
    let upstream = Upstream::start();
    let hermux = start(&upstream, 1);
    let free = Request::post("/v1/chat/completions", r#"{"model":"acme/small:free"}"#);
    let (_first, exchange) = hermux.open(&free, &upstream);
    let soon = r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{"headers":{"X-RateLimit-Reset":"1"}}}}"#;
    exchange.json(429, soon);
    // The first of the new window goes alone, and is the caller's own mistake.
    let mut bad = upstream.next();
    bad.body();
    bad.wire.send("HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 200000\r\n\r\n");
    bad.wire.send(format!(r#"{{"error":{{"code":400,"message":"{}"#, "x".repeat(100_000)));
    let (mut connection, second) = hermux.open(&free, &upstream);
    second.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
    drop(bad);
}

/// An upstream that answers well but for the model `acme/bad`, which meets `error` whatever the key.
fn one_model_is_out((status, body): (u16, &'static str)) -> Upstream {
    Upstream::answering(move |mut exchange| {
        if exchange.text().contains("acme/bad") {
            exchange.json(status, body);
        } else {
            exchange.json(200, samples::CHAT);
        }
    })
}

fn ask_for(hermux: &Hermux, model: &str) -> u16 {
    let request = Request::post("/v1/chat/completions", &format!(r#"{{"model":"{model}","messages":[]}}"#));
    hermux.ask(&request.header("X-HERMUX-Max-Wait", "0")).status()
}

#[test]
fn an_idle_key_that_may_not_serve_a_request_hides_no_outage() {
    let upstream = one_model_is_out(UNIDENTIFIED);
    let by_models = Setup::new(&upstream);
    let columns = format!("name,token,models\na,{},\nb,{},\nc,{},z/*\n", secret(1), secret(2), secret(3));
    write_private(&by_models.tokens(), &columns);
    let by_caller = Setup::new(&upstream).keys(3);
    write_private(&by_caller.allow(), &format!("{TOKEN} # tester keys=key-1,key-2\n"));
    for setup in [by_models, by_caller] {
        let hermux = setup.start();
        for _ in 0..3 {
            assert_eq!(ask_for(&hermux, "acme/bad"), 429);
            assert_eq!(ask_for(&hermux, "acme/good"), 200, "a model is out, and no key rests for it");
        }
    }
}

#[test]
fn as_many_keys_as_a_request_tries_are_enough_for_an_outage() {
    let upstream = one_model_is_out(UNIDENTIFIED);
    let hermux = start(&upstream, 12);
    assert_eq!((ask_for(&hermux, "acme/bad"), upstream.requests()), (429, 8));
    let resting = || {
        let setup = hermux.setup();
        let list = setup.command().args(["keys", "list", "--json", "--data-dir"]).arg(setup.data()).output();
        String::from_utf8(list.unwrap().stdout).unwrap().matches("unidentified").count()
    };
    assert_eq!(resting(), 0, "it is no fault of theirs");
    for _ in 0..20 {
        assert_eq!(ask_for(&hermux, "acme/bad"), 429);
        assert_eq!(ask_for(&hermux, "acme/good"), 200);
    }
    let burned = upstream.requests() - 20;
    assert!(burned <= 5 * 8, "the model counts as down after five: {burned}");
    assert_eq!(resting(), 0);
}

#[test]
fn what_needs_a_person_is_no_return() {
    const DAILY: (u16, &str) =
        (403, r#"{"error":{"message":"Key limit exceeded (daily limit)","code":403}}"#);
    let upstream = Upstream::answering(|exchange| {
        let (status, body) = if exchange.key() == secret(1) { REFUSED } else { DAILY };
        exchange.json(status, body);
    });
    let hermux = start(&upstream, 2);
    for _ in 0..2 {
        let answer = hermux.ask(&chat());
        let now = Clock::system().now();
        let to_midnight = now.day().next().start().since(now).as_secs();
        let after: u64 = answer.head.header("retry-after").expect("it says when").parse().unwrap();
        assert!(after.abs_diff(to_midnight) <= 5, "{after} is not the end of the day, {to_midnight}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("the first is back in {after} s")), "{message}");
        assert!(message.contains("refused by OpenRouter"), "{message}");
    }
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn who_finds_the_waiting_room_full_is_told_so() {
    let upstream = Upstream::answering(|mut exchange| {
        exchange.body();
        let body = r#"{"error":{"code":402,"message":"This request would exceed your available credits given your current in-flight requests.","metadata":{"limit_source":"openrouter_in_flight_budget"}}}"#;
        let length = body.len();
        exchange.wire.send(format!(
            "HTTP/1.1 402 Held\r\ncontent-type: application/json\r\nretry-after: 40\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        exchange.keep();
    });
    let hermux = start(&upstream, 1);
    let waits: Vec<_> = (0..100).map(|_| hermux.send(&Request::chat(false))).collect();
    eventually("all of them wait", || {
        let setup = hermux.setup();
        let list = setup.command().args(["keys", "list", "--json", "--data-dir"]).arg(setup.data()).output();
        let list: serde_json::Value = serde_json::from_slice(&list.unwrap().stdout).unwrap();
        (list["server"]["waiting"] == 100).then_some(())
    });
    let answer = hermux.ask(&Request::chat(false));
    assert_eq!(answer.status(), 429);
    let after: u64 = answer.head.header("retry-after").expect("it says when").parse().unwrap();
    assert!((1..=40).contains(&after), "{after}");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("hermux: 100 requests of this caller wait already"), "{message}");
    drop(waits);
}

#[test]
fn the_router_over_free_models_draws_on_the_free_requests() {
    let upstream = fails_first(usize::MAX, FREE_MINUTE);
    let hermux = start(&upstream, 2);
    for _ in 0..3 {
        assert_eq!(ask_for(&hermux, "openrouter/free"), 429);
        assert_eq!(ask_for(&hermux, "acme/small:free"), 429);
    }
    assert_eq!(upstream.requests(), 2, "each account's windows are met once");
}
