//! Turns in the waiting room: a caller with many requests and another with one.

use std::io;
use std::time::{Duration, Instant};

use hermux::clock::Clock;
use hermux::simulator::{Fault, Scenario, Simulator, Then, errors};

use super::{FREE, PAID, Size, account, away_from_midnight};
use crate::caller::{Answer, Ask};
use crate::report::Report;
use crate::rig::Rig;

/// How many requests of the busy caller wait.
const WAITING: usize = 100;

/// After this long all that was sent waits.
const SETTLED: Duration = Duration::from_secs(1);

pub(super) fn fair(size: Size) -> io::Result<Report> {
    match size {
        Size::Full => by_the_minute(),
        Size::Quick => by_the_second(),
    }
}

/// Three accounts whose free minute is used up: the room empties at 60 a minute, the first attempt of each account
/// alone.
fn by_the_minute() -> io::Result<Report> {
    away_from_midnight(Duration::from_secs(240));
    // They bought credits, so that their day has room for all.
    let accounts = ["ann", "ben", "cay"].map(account).into();
    let rig = Rig::start(Scenario { accounts, ..Scenario::default() }, &[("HERMUX_MAX_WAIT", "150s")])?;
    rig.settle(3);
    // All of it within one minute.
    let into_the_minute = Clock::system().now().0.rem_euclid(60_000);
    if into_the_minute > 40_000 {
        std::thread::sleep(Duration::from_millis(u64::try_from(60_100 - into_the_minute).unwrap_or(0)));
    }
    let used: Vec<_> = (0..60).map(|number| (2, Ask::chat(FREE, &format!("used {number}")))).collect();
    let mut answers = rig.ask_all(&used);
    answers.extend(contend(&rig, FREE));
    let before = before_the_single(&rig.simulator);
    // The first of each window go alone, and upstream may see neighbours in another order.
    let bar = 5;
    Ok(Report::of(60 + WAITING + 1, &answers).seen(&rig).all_served().bar(
        before.is_some_and(|count| count <= bar),
        format!("at most {bar} of the other's went first: {before:?}"),
    ))
}

/// One account whose credits are held by requests in flight for three seconds; then all that wait may go.
fn by_the_second() -> io::Result<Report> {
    let clock = Clock::system();
    let scenario = Scenario { accounts: vec![account("ann")], ..Scenario::default() };
    let rig = Rig::start(scenario, &[("HERMUX_WORKERS", "1")])?;
    let now = clock.now();
    let held = Fault::new(Then::Deny(errors::in_flight_budget(4))).on_model(PAID);
    rig.simulator.add_fault(held.between(now, now.after(Duration::from_secs(4))));
    let answers = std::thread::scope(|scope| {
        let opener = scope.spawn(|| rig.ask(2, &Ask::chat(PAID, "opener")));
        rig.simulator.wait_for(|attempts| attempts.iter().any(|attempt| attempt.cause.is_some()), SETTLED);
        let mut answers = contend(&rig, PAID);
        answers.push(opener.join().unwrap_or_default());
        answers
    });
    let before = before_the_single(&rig.simulator);
    // All go at the same moment over connections of their own, and upstream sees neighbours in another order.
    let bar = 10;
    Ok(Report::of(WAITING + 2, &answers).seen(&rig).all_served().bar(
        before.is_some_and(|count| count <= bar),
        format!("at most {bar} of the other's went first: {before:?}"),
    ))
}

/// The busy caller's requests, and once they wait the single one.
fn contend(rig: &Rig, model: &str) -> Vec<Answer> {
    let since = Instant::now();
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..WAITING)
            .map(|number| {
                let ask = Ask::chat(model, &format!("busy {number}"));
                scope.spawn(move || rig.ask(0, &ask))
            })
            .collect();
        std::thread::sleep(SETTLED.saturating_sub(since.elapsed()));
        let single = rig.ask(1, &Ask::chat(model, "single"));
        let mut answers = vec![single];
        answers.extend(busy.into_iter().map(|thread| thread.join().unwrap_or_default()));
        answers
    })
}

/// How many of the busy caller's requests were answered upstream before the single one arrived.
fn before_the_single(simulator: &Simulator) -> Option<usize> {
    let attempts = simulator.attempts();
    let says = |attempt: &hermux::simulator::Attempt, what: &str| {
        attempt.status == Some(200) && memchr::memmem::find(&attempt.body, what.as_bytes()).is_some()
    };
    let single = attempts.iter().position(|attempt| says(attempt, "single"))?;
    Some(attempts[..single].iter().filter(|attempt| says(attempt, "busy ")).count())
}
