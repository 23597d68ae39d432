//! What was learned of the keys, after a restart: nobody asks and no request finds out again.

use std::thread;
use std::time::Duration;

use hermux::simulator::{Account, Attempt, Key, Scenario};

use crate::poll::{rows, scene, wait_for};
use crate::support::hermux::write_private;
use crate::support::{Hermux, Request};

fn chat(hermux: &Hermux) -> u16 {
    let body = r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    hermux.ask(&Request::post("/v1/chat/completions", body)).status()
}

fn is_inference(attempt: &Attempt) -> bool {
    attempt.path().ends_with("/chat/completions")
}

#[test]
fn a_key_that_was_refused_before_a_kill_is_not_tried_after_it() {
    let (simulator, setup) = scene(&["a", "b"], |scenario| scenario);
    simulator.change_key("a", |key| key.disabled = true);
    let hermux = setup.polling().variable("HERMUX_LOG", "hermux=debug").start();
    hermux.wait_for_line("GET /key refused it");
    wait_for(&simulator, 2);
    // Time is what this tests.
    thread::sleep(Duration::from_millis(100));
    let hermux = hermux.polls_next(false).kill_and_restart();
    for _ in 0..20 {
        assert_eq!(chat(&hermux), 200);
    }
    let tried = simulator.attempts().into_iter().filter(is_inference);
    assert_eq!(tried.filter(|attempt| attempt.key.as_deref() == Some("a")).count(), 0);
}

#[test]
fn keys_in_use_are_asked_about_first_also_after_a_restart() {
    let names = ["k0", "k1", "k2", "k3", "k4", "k5"];
    let (simulator, setup) = scene(&names, |scenario| scenario);
    write_private(&setup.tokens(), &rows(&["k4"]));
    let hermux = setup.start();
    assert_eq!(chat(&hermux), 200);
    hermux.stats_when("the attempt is written", |sum| sum.attempts == 1);
    write_private(&hermux.setup().tokens(), &rows(&names));
    let hermux = hermux.polls_next(true).stop_and_restart();
    let asked = wait_for(&simulator, 2);
    assert_eq!(asked[0].key.as_deref(), Some("k4"));
    assert_eq!(asked[1].key.as_deref(), Some("k0"));
    drop(hermux);
}

#[test]
fn keys_that_share_an_account_are_named_once() {
    let shared = |scenario: Scenario| {
        let both = Account::new("both").key(Key::new("a")).key(Key::new("b"));
        Scenario { accounts: vec![both, Account::new("c").key(Key::new("c"))], ..scenario }
    };
    let (simulator, setup) = scene(&["a", "b", "c"], shared);
    let hermux = setup.polling().start();
    wait_for(&simulator, 3);
    let line = hermux.wait_for_line("one account");
    assert!(line.contains('a') && line.contains('b'), "{line}");
}
