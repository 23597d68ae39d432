//! What was counted lasts over a restart and a changed file; what is revoked or over lets nobody in any more.

use hermux::clock::{Clock, Time};

use super::support::hermux::write_private;
use super::support::{Hermux, Request, TOKEN, Upstream, eventually};
use super::{bind, bounded, chat, said, wait_for};

/// Statuses of so many requests, one after the other.
fn statuses(hermux: &Hermux, request: &Request, count: usize) -> Vec<u16> {
    (0..count).map(|_| hermux.ask(request).status()).collect()
}

#[test]
fn each_count_survives_a_kill() {
    for attributes in ["rpm=3", "daily_requests=3", "daily_cost=0.00005"] {
        let upstream = Upstream::answering(chat);
        let hermux = bounded(&upstream, attributes).start();
        assert_eq!(statuses(&hermux, &Request::chat(false), 2), [200, 200], "{attributes}");
        hermux.stats_when("both are on disk with their usage", |sum| sum.completion_tokens == 8);
        let hermux = hermux.kill_and_restart();
        assert_eq!(statuses(&hermux, &Request::chat(false), 3), [200, 429, 429], "{attributes}");
    }
}

#[test]
fn requests_that_name_no_model_are_counted_over_a_restart_and_the_catalogue_is_not() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "daily_requests=3").start();
    let unnamed = Request::post("/v1/chat/completions", r#"{"messages":[]}"#);
    assert_eq!(statuses(&hermux, &Request::get("/v1/models"), 3), [200; 3]);
    assert_eq!(statuses(&hermux, &unnamed, 2), [200, 200]);
    let hermux = hermux.stop_and_restart();
    assert_eq!(statuses(&hermux, &unnamed, 2), [200, 429]);
}

#[test]
fn a_bound_that_comes_while_it_runs_counts_what_was_used_before() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "").start();
    assert_eq!(statuses(&hermux, &Request::chat(false), 3), [200; 3]);
    bind(hermux.setup(), "daily_requests=3");
    wait_for(&hermux, &Request::get("/v1/key"), 200);
    eventually("the bound is in force", || {
        let left = hermux.ask(&Request::get("/v1/key")).json();
        (left["data"]["free_model_daily_requests"]["remaining"] == 0).then_some(())
    });
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 429);
    // A bound that is changed goes on with the count.
    bind(hermux.setup(), "daily_requests=5");
    wait_for(&hermux, &Request::chat(false), 200);
    assert_eq!(statuses(&hermux, &Request::chat(false), 2), [200, 429]);
}

#[test]
fn a_token_is_refused_from_its_last_moment_on() {
    let upstream = Upstream::answering(chat);
    let ends = Time((Clock::system().now().0 / 1000 + 3) * 1000);
    let seconds = jiff::Timestamp::from_millisecond(ends.0).unwrap();
    let hermux = bounded(&upstream, &format!("expires={seconds}")).start();
    let first = hermux.ask(&Request::chat(false)).status();
    assert!(first == 200 || Clock::system().now() >= ends, "{first}");
    let refused = wait_for(&hermux, &Request::chat(false), 401);
    assert!(Clock::system().now() >= ends, "not a moment before");
    assert_eq!(said(&refused), "hermux: the access token has expired");
    assert!(refused.head.has("www-authenticate"));
    assert_eq!(hermux.ask(&Request::get("/v1/keys")).status(), 401, "nor is it told what is managed");
}

#[test]
fn a_revoked_token_is_refused_soon_and_what_streams_goes_on() {
    let upstream = Upstream::start();
    let setup = bounded(&upstream, "rpm=60");
    let other = "hx-another-access-token-0123456789";
    write_private(&setup.allow(), &format!("# ours\n{TOKEN} name=tester rpm=60\n{other} # other\n"));
    let hermux = setup.start();
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.begin_stream();
    exchange.wire.send_chunk("data: {\"choices\":[]}\n\n");
    assert_eq!(connection.answer().status(), 200);

    let revoke = hermux.setup().command().args(["allow", "revoke", "tester", "--yes"]).output().unwrap();
    assert!(revoke.status.success());
    let refused = wait_for(&hermux, &Request::get("/v1/key"), 401);
    assert_eq!(said(&refused), "hermux: the access token is not known here");
    let by_other = Request::get("/v1/key").without("authorization").header("x-api-key", other);
    assert_eq!(hermux.ask(&by_other).status(), 200);

    exchange.wire.send_chunk("data: [DONE]\n\n");
    exchange.wire.send_last_chunk();
    let (body, _) = connection.rest();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
}

#[test]
fn a_typo_is_told_from_a_token_that_is_not_known() {
    let upstream = Upstream::never_called();
    let hermux = bounded(&upstream, "").start();
    let made = hermux::access::generate();
    let made = made.expose();
    let ask = |token: &str| {
        let request = Request::get("/v1/key").without("authorization").header("x-api-key", token);
        let answer = hermux.ask(&request);
        assert_eq!(answer.status(), 401);
        said(&answer)
    };
    assert!(ask(made).contains("not known"));
    let wrong = if made.ends_with('x') { "y" } else { "x" };
    let slip = format!("{}{wrong}", &made[..made.len() - 1]);
    assert!(ask(&slip).contains("looks mistyped"));
    assert!(ask(&made[..40]).contains("looks mistyped"));
    assert!(ask("some-other-token").contains("not known"));
}
