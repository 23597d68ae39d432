//! `/key` and `/credits` tell of all accounts together, and of none alone.

use hermux::simulator::{Scenario, Simulator};
use serde_json::{Value, json};

use crate::support::{Exchange, Request, Setup, Upstream};
use crate::{askers, start};

#[test]
fn the_key_is_the_pools_and_no_key_of_it_is_asked() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).keys(3).start();
    for target in ["/v1/key", "/api/v1/key", "/v1/auth/key", "/api/v1/auth/key?x=1", "/v1/%6bey"] {
        let answer = hermux.ask(&Request::get(target));
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(answer.head.header("content-type"), Some("application/json"));
        let data = &answer.json()["data"];
        assert!(data["label"].as_str().unwrap().starts_with("hermux"), "{data}");
        for field in ["limit", "limit_remaining", "creator_user_id", "organization_id"] {
            assert_eq!(data[field], Value::Null, "{field}");
        }
        assert!(data["usage"].is_number() && data["is_free_tier"].is_boolean(), "{data}");
        assert!(!answer.json().to_string().contains("key-1"), "{data}");
    }
    let request = Request::get("/v1/key").without("authorization");
    assert_eq!(hermux.ask(&request).status(), 401, "only callers learn of the pool");
}

fn with_open_credits() -> Scenario {
    Scenario { open_credits: true, ..Scenario::default() }
}

#[test]
fn credits_are_the_sum_over_the_accounts() {
    let (simulator, hermux) = start(with_open_credits());
    let answer = hermux.ask(&Request::get("/v1/credits"));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json(), json!({"data": {"total_credits": 300.0, "total_usage": 0.0}}));
    let mut asked = askers(&simulator, "/api/v1/credits");
    asked.sort();
    assert_eq!(asked, ["ann", "ben", "cay"], "each account once");
}

#[test]
fn credits_that_no_key_may_see_are_openrouters_own_refusal() {
    let (_simulator, hermux) = start(Scenario::default());
    let answer = hermux.ask(&Request::get("/v1/credits"));
    assert_eq!(answer.status(), 403);
    let error = &answer.json()["error"];
    assert_eq!(error["message"], "Only management keys can perform this operation");
    assert!(["ann", "ben", "cay"].contains(&answer.key_name()));
}

#[test]
fn a_bad_keys_own_refusal_is_not_the_callers() {
    let upstream = Upstream::answering(|exchange: Exchange| {
        let status = if exchange.key().ends_with('1') { 401 } else { 200 };
        let body = r#"{"data":{"total_credits":10,"total_usage":2.5}}"#;
        exchange.json(status, if status == 200 { body } else { "{}" });
    });
    let hermux = Setup::new(&upstream).keys(2).start();
    let answer = hermux.ask(&Request::get("/v1/credits"));
    assert_eq!((answer.status(), &answer.json()["data"]["total_usage"]), (200, &json!(2.5)));
    let alone = Setup::new(&upstream).keys(1).start();
    assert_eq!(alone.ask(&Request::get("/v1/credits")).status(), 403);
}

#[test]
fn credits_without_upstream_say_what_failed() {
    let simulator = Simulator::start(Scenario::default()).unwrap();
    let url = simulator.url();
    drop(simulator);
    assert_eq!(Setup::url(&url).start().ask(&Request::get("/v1/credits")).status(), 502);
}
