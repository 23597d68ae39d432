//! What answers did not tell is asked for: after cuts, leaves, kills, and of answers that have no place to tell it.

use std::thread;
use std::time::Duration;

use hermux::simulator::{After, Close, Fault, Pace, Scenario, Simulator, Then, errors};

use crate::support::hermux::write_private;
use crate::support::{Hermux, Request, TOKEN, eventually};
use crate::{asks, billed, by_key, counted, number, scene};

const DIALECTS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

/// So slow that a stream has to be left before its end.
fn slow(scenario: Scenario) -> Scenario {
    Scenario { pace: Pace { token: Duration::from_millis(30), ..Pace::default() }, ..scenario }
}

/// Waits until both books agree.
fn agree(hermux: &Hermux, simulator: &Simulator) {
    let data = hermux.setup().data();
    eventually("both books agree", || {
        let bill = billed(simulator);
        (!bill.is_empty() && counted(&data) == bill).then_some(())
    });
}

/// Begins a stream, sees its first event and leaves.
fn leave(hermux: &Hermux, path: &str) {
    let mut connection = hermux.send(&asks(path, true, "tell me more"));
    assert_eq!(connection.answer().status(), 200);
    connection.bytes_at_least(1);
    connection.cut_fin();
}

#[test]
fn a_caller_who_leaves_pays_what_was_billed() {
    let (simulator, setup) = scene(&["a"], slow);
    let hermux = setup.start();
    for path in DIALECTS {
        leave(&hermux, path);
    }
    agree(&hermux, &simulator);
    assert!(billed(&simulator)["a"].3 > 0);
    let asked = simulator.attempts().into_iter().filter(|attempt| attempt.path().ends_with("/generation"));
    for attempt in asked {
        assert_eq!(attempt.key.as_deref(), Some("a"), "with the key that made it");
    }
}

/// What the caller spent today, nano-dollars, as hermux tells it.
#[expect(clippy::cast_possible_truncation, reason = "a few cents are far from what a float holds exactly")]
fn spent(hermux: &Hermux) -> i64 {
    let usage = hermux.ask(&Request::get("/v1/key")).json()["data"]["usage"].to_string();
    (usage.parse::<f64>().unwrap() * 1e9).round() as i64
}

#[test]
fn a_caller_who_leaves_is_charged_what_is_told_late_once_and_also_after_a_kill() {
    for killed in [false, true] {
        let delay = Duration::from_secs(if killed { 3 } else { 0 });
        let (simulator, setup) =
            scene(&["a"], |scenario| Scenario { generation_delay: delay, ..slow(scenario) });
        write_private(&setup.allow(), &format!("{TOKEN} name=tester daily_cost=1\n"));
        let mut hermux = setup.start();
        leave(&hermux, DIALECTS[0]);
        if killed {
            let data = hermux.setup().data();
            let queued = "SELECT count(*) FROM settling";
            eventually("it is in the queue", || (number(&data, queued) == 1).then_some(()));
            assert_eq!(spent(&hermux), 0);
            hermux = hermux.kill_and_restart();
        }
        agree(&hermux, &simulator);
        let bill = billed(&simulator)["a"].3;
        assert!(bill > 0);
        eventually("it is charged", || (spent(&hermux) == bill).then_some(()));
        let hermux = hermux.polls_next(true).stop_and_restart();
        assert_eq!(spent(&hermux), bill, "who starts after that takes it over once");
        // One that says its cost itself comes on top.
        assert_eq!(hermux.ask(&asks(DIALECTS[0], false, "hello")).status(), 200);
        let both = billed(&simulator)["a"].3;
        assert!(both > bill);
        eventually("both are charged", || (spent(&hermux) == both).then_some(()));
    }
}

#[test]
fn a_bound_on_cost_holds_for_a_caller_who_always_leaves() {
    let (_simulator, setup) = scene(&["a"], slow);
    write_private(&setup.allow(), &format!("{TOKEN} name=tester daily_cost=0.000000001\n"));
    let hermux = setup.start();
    leave(&hermux, DIALECTS[0]);
    eventually("nothing is left to spend", || {
        (hermux.ask(&asks(DIALECTS[0], false, "hello")).status() == 429).then_some(())
    });
}

#[test]
fn a_cut_stream_pays_what_was_billed() {
    let cut = Fault::new(Then::Cut(After::Events(2), Close::Rst)).times(3);
    let (simulator, setup) = scene(&["a"], |scenario| scenario.fault(cut));
    let hermux = setup.start();
    for path in DIALECTS {
        let _ = hermux.ask(&asks(path, true, "hello"));
    }
    agree(&hermux, &simulator);
}

#[test]
fn an_answer_that_comes_encoded_pays_what_was_billed() {
    let coded = Fault::new(Then::Header("content-encoding".to_owned(), "br".to_owned())).once();
    let (simulator, setup) = scene(&["a"], |scenario| scenario.fault(coded));
    let hermux = setup.start();
    assert_eq!(hermux.ask(&asks(DIALECTS[0], false, "hello")).status(), 200);
    agree(&hermux, &simulator);
}

#[test]
fn a_video_pays_what_was_billed_though_the_body_alone_tells_its_generation() {
    // It is done, and its generation known, that much later.
    let job = |scenario| Scenario { generation_delay: Duration::from_secs(1), ..scenario };
    let (simulator, setup) = scene(&["a"], job);
    let hermux = setup.start();
    let video = Request::post("/v1/videos", r#"{"model":"openai/gpt-4o-mini","prompt":"a cat"}"#);
    let answer = hermux.ask(&video);
    assert_eq!((answer.status(), answer.head.header("x-generation-id")), (202, None));
    assert_eq!(answer.json()["status"], "pending");
    agree(&hermux, &simulator);
    assert!(billed(&simulator)["a"].3 > 0);
    // Who asks for it pays nothing more.
    let poll = format!("/v1/videos/{}", answer.json()["id"].as_str().unwrap());
    assert!(hermux.ask(&Request::get(&poll)).json()["usage"]["cost"].as_f64().unwrap() > 0.0);
    let data = hermux.setup().data();
    eventually("the question is on disk", || {
        (number(&data, "SELECT count(*) FROM entries") == 2).then_some(())
    });
    assert_eq!(counted(&data), billed(&simulator));
}

#[test]
fn a_generation_that_is_known_late_is_asked_for_again_also_after_a_kill() {
    let late = |scenario| Scenario { generation_delay: Duration::from_secs(3), ..slow(scenario) };
    let (simulator, setup) = scene(&["a"], late);
    let hermux = setup.start();
    leave(&hermux, DIALECTS[0]);
    let asked = simulator.wait_for(
        |attempts| attempts.iter().any(|attempt| attempt.path().ends_with("/generation")),
        crate::support::PATIENCE,
    );
    assert!(asked, "it was asked for");
    let hermux = hermux.kill_and_restart();
    agree(&hermux, &simulator);
    let data = hermux.setup().data();
    assert_eq!(number(&data, "SELECT count(*) FROM settling"), 0);
    assert_eq!(number(&data, "SELECT count(*) FROM entries WHERE settled = 1"), 1);
}

#[test]
fn what_was_open_when_the_process_died_is_settled_at_the_next_start() {
    let (simulator, setup) = scene(&["a", "b"], slow);
    let hermux = setup.start();
    let mut open: Vec<_> =
        (0..6).map(|_| hermux.send(&asks(DIALECTS[0], true, "a long story please"))).collect();
    for connection in &mut open {
        assert_eq!(connection.answer().status(), 200);
        connection.bytes_at_least(1);
    }
    let data = hermux.setup().data();
    eventually("their generations are on disk", || {
        (number(&data, "SELECT count(*) FROM entries WHERE outcome IS NULL AND generation IS NOT NULL") == 6)
            .then_some(())
    });
    let hermux = hermux.kill_and_restart();
    agree(&hermux, &simulator);
    assert_eq!(number(&data, "SELECT count(*) FROM entries WHERE outcome = 3 AND settled = 1"), 6);
}

#[test]
fn with_no_poll_nothing_is_asked_for_and_the_ledger_says_so() {
    let (simulator, setup) = scene(&["a"], slow);
    let hermux = setup.switch("--no-poll").start();
    leave(&hermux, DIALECTS[0]);
    let data = hermux.setup().data();
    eventually("it is put down as never known", || {
        (by_key(&data).get("a").is_some_and(|figures| figures.unsettled == 1)).then_some(())
    });
    let table = |by: &str| {
        let mut command = hermux.setup().command();
        command.args(["stats", "--by", by, "--data-dir"]).arg(&data);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for by in ["key", "model"] {
        let table = table(by);
        assert!(table.ends_with("\nwithout the cost of 1 attempt, which is never known\n"), "{table}");
    }
    // Past the first time at which it would be asked for.
    thread::sleep(Duration::from_millis(700));
    assert!(!simulator.attempts().iter().any(|attempt| attempt.path().ends_with("/generation")));
}

#[test]
fn an_error_under_status_200_is_a_failure_with_its_code() {
    let faults = |scenario: Scenario| {
        let scenario =
            scenario.fault(Fault::new(Then::ErrorAfter(After::Events(2), errors::plain(502))).once());
        scenario.fault(Fault::new(Then::DenyInside(errors::plain(429))).with_key("a").on_path("/messages"))
    };
    let (_simulator, setup) = scene(&["a"], faults);
    let hermux = setup.flag("--max-wait", "0").start();
    let data = hermux.setup().data();
    let mut told = 0;
    for (path, code) in [(DIALECTS[0], 502), (DIALECTS[1], 429)] {
        let _ = hermux.ask(&asks(path, true, "hello"));
        eventually("it failed with its code", || {
            let sql = "SELECT count(*) FROM entries WHERE outcome = 1 AND status = 200 AND code =";
            (number(&data, &format!("{sql} {code}")) > 0).then(|| told += 1)
        });
    }
    assert_eq!(told, 2);
}
