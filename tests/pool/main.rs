//! The pool's scenarios that need no real minutes, as tests; `cargo bench --bench pool` plays all of them whole.
#![allow(dead_code, reason = "the rest belongs to the benchmark")]

#[path = "../../benches/pool/caller.rs"]
mod caller;
#[path = "../../benches/pool/report.rs"]
mod report;
#[path = "../../benches/pool/rig.rs"]
mod rig;
#[path = "../../benches/pool/scenarios/mod.rs"]
mod scenarios;

use std::time::Duration;

use scenarios::{ALL, Size};

/// Plays the scenario `name` in seconds; all its bars must be met.
fn play(name: &str) {
    let scene = ALL.iter().find(|scene| scene.name == name).expect("a scenario of that name");
    let report = (scene.play)(Size::Quick).expect("it can be played");
    let mut told = Vec::new();
    report
        .print(name, Duration::ZERO, &mut told)
        .and_then(|()| report.print_log(&mut told))
        .expect("a Vec takes it");
    assert!(report.passed(), "\n{}", String::from_utf8_lossy(&told));
}

#[test]
fn what_is_left_of_the_day_is_served_exactly() {
    play("day");
}

#[test]
fn a_single_request_waits_for_no_more_than_its_turn() {
    play("fair");
}

#[test]
fn what_some_key_can_serve_is_served_and_bad_keys_are_hardly_met() {
    play("mixed");
}

#[test]
fn a_model_that_is_down_burns_little_and_holds_up_nobody_else() {
    play("outage");
}

#[test]
fn answers_that_fail_now_and_then_are_mended() {
    play("flaky");
}

#[test]
fn a_killed_process_remembers_what_it_knew() {
    play("kill");
}

#[test]
fn conversations_stay_warm_and_generations_are_found() {
    play("affinity");
}

#[test]
fn service_resumes_with_the_day() {
    play("turn");
}

#[test]
fn keys_come_and_go_with_the_file() {
    play("reload");
}
