//! `keys`: no other key serves the caller, whatever happens to its own.

use super::support::hermux::{answer, secret, write_private};
use super::support::{Exchange, Request, Setup, TOKEN, Upstream, eventually, samples};
use super::{bounded, chat, said};

const OTHER: &str = "hx-another-access-token-0123456789";

/// Three keys; the caller may use the second.
fn confined(upstream: &Upstream) -> Setup {
    bounded(upstream, "keys=key-2").keys(3)
}

#[test]
fn only_its_keys_serve_a_caller_and_all_serve_the_others() {
    let upstream = Upstream::answering(chat);
    let setup = confined(&upstream);
    write_private(&setup.allow(), &format!("{TOKEN} name=tester keys=key-2,key-3\n{OTHER} # other\n"));
    let hermux = setup.start();
    let of = |request: &Request| {
        let mut names: Vec<_> = (0..40).map(|_| hermux.ask(request).key_name().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(of(&Request::chat(false)), ["key-2", "key-3"]);
    assert_eq!(of(&Request::get("/v1/providers")), ["key-2", "key-3"]);
    let by_other = Request::chat(false).without("authorization").header("x-api-key", OTHER);
    assert_eq!(of(&by_other), ["key-1"], "which was used least until now");
    assert_eq!(of(&by_other), ["key-1", "key-2", "key-3"]);
    assert_eq!(hermux.ask(&Request::get("/v1/key")).json()["data"]["label"], "hermux (2 keys)");
}

#[test]
fn a_failure_of_its_key_is_not_made_up_for_by_another() {
    let upstream = Upstream::answering(|exchange| {
        assert_eq!(exchange.key(), secret(2));
        exchange.json(401, r#"{"error":{"code":401,"message":"User not found."}}"#);
    });
    let hermux = confined(&upstream).start();
    let refused = hermux.ask(&Request::chat(false));
    assert_eq!(refused.status(), 403);
    assert!(said(&refused).contains("2 keys: not for this access token"), "{}", said(&refused));
    assert_eq!(upstream.requests(), 1);
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 403);
    assert_eq!(upstream.requests(), 1, "the key is known to be refused");
}

#[test]
fn who_waits_for_its_key_holds_up_nobody_else() {
    // The second key meets a limit of its minute, once.
    let upstream = Upstream::answering(|exchange: Exchange| {
        if exchange.key() == secret(2) {
            exchange.json(429, r#"{"error":{"code":429,"message":"Slow down."}}"#);
        } else {
            exchange.json(200, samples::CHAT);
        }
    });
    let setup = confined(&upstream);
    write_private(&setup.allow(), &format!("{TOKEN} name=tester keys=key-2\n{OTHER} # other\n"));
    let hermux = setup.start();
    let waiting = hermux.send(&Request::chat(false));
    eventually("its key was tried", || (upstream.requests() == 1).then_some(()));
    let by_other = Request::chat(false).without("authorization").header("x-api-key", OTHER);
    for _ in 0..6 {
        assert_eq!(hermux.ask(&by_other.clone().header("X-HERMUX-Max-Wait", "0s")).status(), 200);
    }
    let refused = hermux.ask(&Request::chat(false).header("X-HERMUX-Max-Wait", "0s"));
    assert_eq!(refused.status(), 429);
    assert!(refused.head.has("retry-after") && said(&refused).contains("not for this access token"));
    drop(waiting);
}

#[test]
fn what_another_account_has_is_not_looked_for_there() {
    let upstream = Upstream::answering(|exchange| {
        let status = if exchange.key() == secret(1) { 200 } else { 404 };
        exchange.json(status, r#"{"error":{"code":404,"message":"Resource not found"}}"#);
    });
    let setup = confined(&upstream);
    write_private(&setup.allow(), &format!("{TOKEN} name=tester keys=key-2\n{OTHER} # other\n"));
    let hermux = setup.start();
    let look = Request::get("/v1/generation?id=gen-1700000000-abcdefghijklmnopqrst");
    assert_eq!(hermux.ask(&look).status(), 404);
    assert_eq!(upstream.requests(), 1);
    let by_other = look.clone().without("authorization").header("x-api-key", OTHER);
    assert_eq!(hermux.ask(&by_other).status(), 200);
    // Who has it is known by now, and is still not for this caller.
    assert_eq!(hermux.ask(&look).status(), 403);
}

#[test]
fn credits_are_asked_of_its_accounts_alone() {
    let upstream = Upstream::answering(|exchange| {
        assert_eq!(exchange.key(), secret(2));
        exchange.json(200, r#"{"data":{"total_credits":7,"total_usage":2}}"#);
    });
    let hermux = confined(&upstream).start();
    let credits = hermux.ask(&Request::get("/v1/credits")).json();
    assert_eq!(credits["data"]["total_credits"], 7.0);
}

#[test]
fn a_key_that_there_is_not_is_warned_of_and_serves_nobody() {
    let upstream = Upstream::never_called();
    let hermux = bounded(&upstream, "keys=lost").start();
    hermux.wait_for_line("no such key, so that it serves no caller: lost");
    let mut connection = hermux.send(&Request::chat(false));
    assert_eq!(answer(&mut connection).status(), 403);
}
