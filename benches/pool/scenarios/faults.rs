//! What providers do: a model that is down, and answers that fail now and then.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hermux::simulator::{Close, Fault, Pace, Scenario, Then, errors};

use super::{OTHER_PAID, PAID, Size};
use crate::caller::{Answer, Ask};
use crate::report::Report;
use crate::rig::Rig;

const KEYS: [&str; 6] = ["ann", "ben", "cay", "dee", "eve", "fay"];

/// How many attempts may be burned on a model that is down.
const BURNED: usize = 15;

pub(super) fn outage(size: Size) -> io::Result<Report> {
    let span = Duration::from_secs(if size == Size::Full { 20 } else { 5 });
    let (lead, tail) = (Duration::from_secs(2), Duration::from_secs(2));
    // Callers that pause longer than an answer takes, and not in step: what is under way when the model fails is burned
    // in any case.
    let pace = Pace { head: Duration::from_millis(20), ..Pace::default() };
    let rig = Rig::start(Scenario { pace, ..Scenario::with_keys(&KEYS) }, &[])?;
    let since = Instant::now();
    let end = lead + span + tail;
    let ask_on = |caller: usize, model: &str, pause: Duration| {
        let mut answers = Vec::new();
        while since.elapsed() < end {
            answers.push(rig.ask(caller, &Ask::chat(model, &format!("request {}", answers.len()))));
            std::thread::sleep(pause);
        }
        answers
    };
    let (concerned, others): (Vec<Answer>, Vec<Answer>) = std::thread::scope(|scope| {
        let ask_on = &ask_on;
        let callers: Vec<_> = (0..20)
            .map(|caller| {
                scope.spawn(move || ask_on(caller % 7, PAID, Duration::from_millis(300 + 10 * caller as u64)))
            })
            .collect();
        let other = scope.spawn(move || ask_on(7, OTHER_PAID, Duration::from_millis(200)));
        std::thread::sleep(lead);
        rig.simulator.fail_model(PAID, span, errors::provider_error("OpenAI"));
        let concerned = callers.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect();
        (concerned, other.join().unwrap_or_default())
    });
    let burned = rig.simulator.attempts().iter().filter(|attempt| attempt.status == Some(502)).count();
    let slowest = others.iter().map(|answer| answer.ended).max().unwrap_or_default();
    let longest = concerned.iter().map(|answer| answer.ended).max().unwrap_or_default();
    let served = others.iter().filter(|answer| answer.served()).count();
    Ok(Report::of(concerned.len() + others.len(), concerned.iter().chain(&others))
        .seen(&rig)
        .all_served()
        .bar((1..=BURNED).contains(&burned), format!("at most {BURNED} attempts burned: {burned}"))
        .bar(
            served == others.len() && slowest < Duration::from_secs(2),
            format!("the other model served throughout: {served} of {}, {slowest:.2?} at most", others.len()),
        )
        .bar(true, format!("the longest wait for the model that was down: {longest:.1?}")))
}

pub(super) fn flaky(size: Size) -> io::Result<Report> {
    let requests: usize = if size == Size::Full { 3_000 } else { 1_000 };
    let provider = |then, share, seed| Fault::new(then).of_the_provider().of_a_thousand(share, seed);
    let scenario = Scenario::with_keys(&KEYS)
        .fault(provider(Then::Deny(errors::provider_error("OpenAI")), 25, 1))
        .fault(provider(Then::Deny(errors::unavailable()), 26, 2))
        .fault(provider(Then::close(Close::Rst), 21, 3));
    let rig = Rig::start(scenario, &[])?;
    let callers = 8;
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let rig = &rig;
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                scope.spawn(move || {
                    let mine = (caller..requests).step_by(callers);
                    let ask = |number: usize| {
                        let ask = Ask::chat(PAID, &format!("request {number}"));
                        rig.ask(caller, &if number.is_multiple_of(2) { ask.stream() } else { ask })
                    };
                    mine.map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    let (mut errors, mut resets) = (0, 0);
    for attempt in rig.simulator.attempts().iter().filter(|attempt| attempt.model.is_some()) {
        let body: serde_json::Value = serde_json::from_slice(&attempt.body)?;
        *sent.entry(body["messages"][0]["content"].to_string()).or_default() += 1;
        errors += usize::from(attempt.status.is_some_and(|status| status >= 500));
        resets += usize::from(attempt.status.is_none());
    }
    let most = sent.values().max().copied().unwrap_or(0);
    let attempts: usize = sent.values().sum();
    let report = Report::of(requests, &answers).seen(&rig);
    let served = report.served;
    Ok(report
        .bar(served * 1_000 >= requests * 995, format!("at least 99.5 % served: {served} of {requests}"))
        .bar(most <= 3, format!("no request sent upstream more than three times: {most}"))
        .bar(true, format!("attempts: {attempts}, failed: {errors}, reset: {resets}")))
}
