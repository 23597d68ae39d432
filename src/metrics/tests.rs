//! What is told, in which form, and that it stays bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Faults, Metrics, SERIES, Sources};
use crate::clock::{Clock, Time};
use crate::keys::pool::KeyPool;
use crate::ledger::observe::{Attempt, Ended, Watch};
use crate::ledger::{Outcome, Report, Usage};

const NOW: Time = Time(1_700_000_000_000);

fn metrics() -> Metrics {
    Metrics::new(Sources {
        keys: KeyPool::new(Vec::new(), &HashMap::new(), NOW.day()),
        clock: Clock::fixed(NOW),
        started: NOW,
        waiting: Box::new(|| 3),
        faults: Box::new(|| Faults {
            met: vec![("answer broke off", Arc::from("ann"), 2)],
            refused: vec![(503, 4)],
        }),
    })
}

fn end(metrics: &Metrics, number: u32, [key, caller, model]: [&str; 3], outcome: Outcome) {
    let attempt = Attempt { number, key: Arc::from(key), caller: Arc::from(caller), model: Arc::from(model) };
    let usage = Usage {
        prompt_tokens: Some(10),
        completion_tokens: Some(5),
        cost: Some(1_500_000_000),
        ..Usage::default()
    };
    let first_byte = Some(Duration::from_millis(80));
    let report = Report { status: Some(200), bytes: 100, first_byte, usage, ..Report::default() };
    let duration = Duration::from_millis(700);
    metrics.ended(&Ended { attempt: &attempt, outcome, report: &report, duration });
}

#[test]
fn what_attempts_came_to_is_told_by_key_caller_and_model() {
    let metrics = metrics();
    end(&metrics, 1, ["ann", "ci", "a/b"], Outcome::Failed);
    end(&metrics, 2, ["ann", "ci", "a/b"], Outcome::Complete);
    end(&metrics, 1, ["ann", "ci", ""], Outcome::Complete);
    let text = metrics.text(false);
    let names = r#"key="ann",caller="ci",model="a/b""#;
    for line in [
        "# TYPE hermux_requests_total counter".to_owned(),
        format!("hermux_requests_total{{{names}}} 1"),
        format!("hermux_attempts_total{{{names},outcome=\"failed\"}} 1"),
        format!("hermux_attempts_total{{{names},outcome=\"complete\"}} 1"),
        format!("hermux_tokens_total{{{names},kind=\"prompt\"}} 20"),
        format!("hermux_tokens_total{{{names},kind=\"completion\"}} 10"),
        format!("hermux_cost_usd_total{{{names}}} 3.0"),
        format!("hermux_answer_bytes_total{{{names}}} 200"),
        format!("hermux_attempt_duration_seconds_bucket{{le=\"0.5\",{names}}} 0"),
        format!("hermux_attempt_duration_seconds_bucket{{le=\"1.0\",{names}}} 2"),
        format!("hermux_first_byte_seconds_bucket{{le=\"0.1\",{names}}} 2"),
        r#"hermux_requests_total{key="ann",caller="ci",model="none"} 1"#.to_owned(),
        r#"hermux_faults_total{key="ann",kind="answer_broke_off"} 2"#.to_owned(),
        r#"hermux_refused_total{status="503"} 4"#.to_owned(),
        "hermux_waiting{} 3".to_owned(),
        "hermux_start_time_seconds{} 1700000000.0".to_owned(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("# EOF") && metrics.text(true).ends_with("# EOF\n"));
}

#[test]
fn costs_add_up_to_the_nano_dollar() {
    let metrics = metrics();
    let names = ["ann", "ci", "a/b"].map(Arc::from);
    let mut nanos = 0_u64;
    for step in 0..2_000_u64 {
        // From a nano-dollar to thousands of dollars.
        let cost = 1_000_000 + (step % 17) * 114_000 + step * step * step % 1_000_003;
        metrics.families.handles(&names).cost.inc_by(cost);
        nanos += cost;
        let text = metrics.text(step % 2 == 0);
        let told = text.lines().find(|line| line.starts_with("hermux_cost_usd_total{")).unwrap();
        let (_, told) = told.rsplit_once(' ').unwrap();
        let exact = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
        let exact = exact.trim_end_matches('0');
        assert_eq!(told.trim_end_matches('0'), exact);
    }
}

#[test]
fn a_name_that_a_caller_made_up_breaks_no_line() {
    let metrics = metrics();
    end(&metrics, 1, ["ann", "ci", "a\"\n\\b"], Outcome::Complete);
    assert!(metrics.text(false).contains(r#"model="a\"\n\\b"} 1"#), "{}", metrics.text(false));
}

#[test]
fn callers_can_not_fill_the_memory_with_names() {
    let metrics = metrics();
    for model in 0..1_000 {
        end(&metrics, 1, ["ann", "ci", &format!("model-{model}")], Outcome::Complete);
    }
    let series = || metrics.known.lock().unwrap().series.len();
    assert_eq!(series(), 201, "200 models and the other ones");
    assert!(
        metrics.text(false).contains(r#"hermux_requests_total{key="ann",caller="ci",model="other"} 800"#)
    );
    for caller in 0..10_000 {
        end(&metrics, 1, ["ann", &format!("caller-{caller}"), "model-1"], Outcome::Complete);
    }
    assert!(series() <= SERIES * 3 + 1, "{}", series());
    let text = metrics.text(false);
    let counted =
        text.lines().filter_map(|line| line.strip_prefix("hermux_requests_total{")?.rsplit(' ').next());
    assert_eq!(counted.map(|count| count.parse::<u64>().unwrap()).sum::<u64>(), 11_000, "none is lost");
}
