//! Quota windows: the minute, the day, and their turns.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hermux::clock::{Clock, Day};
use hermux::simulator::{Account, Cause, Key, Reset, Scenario};

use super::{FREE, PAID, Size, account, away_from_midnight, free_account, free_by_account, refused_for};
use crate::caller::{Answer, Ask};
use crate::report::{Report, listed};
use crate::rig::{Rig, Turning};

pub(super) fn minute(size: Size) -> io::Result<Report> {
    minutes(size, 0)
}

/// Upstream's clock is behind: at the turn as hermux sees it, the old window still stands.
pub(super) fn skew(size: Size) -> io::Result<Report> {
    minutes(size, -800)
}

fn minutes(_: Size, clock_offset_ms: i64) -> io::Result<Report> {
    away_from_midnight(Duration::from_secs(180));
    let accounts = ["ann", "ben", "cay"].map(free_account).into();
    let scenario = Scenario { accounts, clock_offset_ms, ..Scenario::default() };
    let rig = Rig::start(scenario, &[("HERMUX_MAX_WAIT", "120s")])?;
    rig.settle(3);
    let answers = bursts(&rig, 5, 20, FREE);
    let mut by_window: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in rig.simulator.attempts() {
        if attempt.cause == Some(Cause::FreeMinute) {
            let window =
                format!("{} {}", attempt.account.unwrap_or_default(), attempt.at.0.div_euclid(60_000));
            *by_window.entry(window).or_default() += 1;
        }
    }
    let refused = refused_for(&rig, Cause::FreeMinute);
    let report = Report::of(100, &answers).seen(&rig).all_served();
    Ok(if clock_offset_ms == 0 {
        let holds = refused.values().all(|count| *count <= 1);
        report.bar(holds, format!("no 429 upstream after each account's first: {}", listed(&refused)))
    } else {
        let holds = by_window.values().all(|count| *count <= 1);
        report.bar(holds, format!("at most one 429 an account and window: {}", listed(&refused)))
    })
}

/// `count` bursts of `size` requests, a second apart, spread over four callers.
fn bursts(rig: &Rig, count: usize, size: usize, model: &str) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for burst in 0..count {
            if burst > 0 {
                std::thread::sleep(Duration::from_secs(1));
            }
            for number in 0..size {
                let ask = Ask::chat(model, &format!("burst {burst}, request {number}"));
                threads.push(scope.spawn(move || rig.ask(number % 4, &ask)));
            }
        }
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

pub(super) fn day(size: Size) -> io::Result<Report> {
    // In the quick one all that is left fits into one minute.
    let (left, offered, patience) = match size {
        Size::Full => ([12_u32, 20, 30, 40, 50], 200, 190),
        Size::Quick => ([4, 8, 12, 16, 20], 80, 60),
    };
    away_from_midnight(Duration::from_secs(patience + 60));
    let sum: u32 = left.iter().sum();
    let most = usize::try_from(sum).unwrap_or_default();
    let accounts: Vec<Account> = left
        .iter()
        .enumerate()
        .map(|(at, left)| free_account(&format!("key-{at}")).free_left(*left))
        .collect();
    let rig = Rig::start(
        Scenario { accounts, ..Scenario::default() },
        &[("HERMUX_MAX_WAIT", &format!("{patience}s"))],
    )?;
    rig.settle(5);
    let asks: Vec<_> =
        (0..offered).map(|number| (number % 8, Ask::chat(FREE, &format!("request {number}")))).collect();
    let answers = rig.ask_all(&asks);
    let honest = |answer: &&Answer| answer.is_honest_refusal();
    let refused = answers.iter().filter(|answer| !answer.served());
    let (all, told) = (refused.clone().count(), refused.filter(honest).count());

    // Whoever comes now is told at once that the day is over.
    let since = Instant::now();
    let late = rig.ask(0, &Ask::chat(FREE, "one more"));
    let at_once = since.elapsed() < Duration::from_secs(2);
    let now = Clock::system().now();
    let midnight = now.day().next().start().since(now).as_secs();
    let until_midnight = late.retry_after().is_some_and(|after| after.abs_diff(midnight) <= 65);
    let of_day = refused_for(&rig, Cause::FreeDay);
    let counted = free_by_account(&rig);
    Ok(Report::of(most, &answers)
        .seen(&rig)
        .all_served()
        .bar(told == all, format!("every refusal is a 429 with Retry-After: {told} of {all}"))
        .bar(
            late.is_honest_refusal() && at_once && until_midnight,
            format!(
                "afterwards a 429 at once, until midnight in {midnight} s: {}, Retry-After {:?}",
                late.failure(),
                late.retry_after()
            ),
        )
        .bar(
            of_day.values().all(|count| *count <= 1),
            format!("at most one 429 of the day an account: {}", listed(&of_day)),
        )
        .bar(true, format!("attempts by account: {}", listed(&counted))))
}

/// How long before midnight the clock of `turn` starts.
const BEFORE: Duration = Duration::from_secs(6);

/// Runs inside this process, on a clock that starts shortly before midnight.
pub(super) fn turn(_: Size) -> io::Result<Report> {
    // 2026-11-23, a Monday.
    let midnight = Day(20_780).start();
    let turning = Turning::from(hermux::clock::Time(midnight.0 - 6_000));
    let clock = turning.clock.clone();
    let used_up = |name| free_account(name).free_left(0);
    // A request costs more than such a cap, so that each of these keys serves one a day.
    let capped = |name: &str| {
        let keys = vec![Key::new(name).limit(100, Some(Reset::Daily))];
        Account { keys, ..account(name) }.free_left(0)
    };
    let accounts = vec![used_up("ann"), used_up("ben"), capped("cay"), capped("dee")];
    let scenario = Scenario { accounts, clock: clock.clone(), ..Scenario::default() };
    let rig = Rig::start_inside(scenario, &[("HERMUX_MAX_WAIT", "30s")])?;
    let now_or_never = |model: &str| Ask::chat(model, "now or never").max_wait(0);

    let first_paid = [PAID, PAID].map(|model| rig.ask(0, &now_or_never(model)));
    let exhausted: Vec<_> = [PAID, FREE, FREE].iter().map(|model| rig.ask(0, &now_or_never(model))).collect();
    let (waiting, resumed) = std::thread::scope(|scope| {
        let waiting: Vec<_> = [FREE, FREE, PAID]
            .iter()
            .map(|model| scope.spawn(|| rig.ask(1, &Ask::chat(model, "patience"))))
            .collect();
        // The clock runs as fast as the real one.
        std::thread::sleep(midnight.since(clock.now()));
        let resumed: Vec<_> =
            [FREE, PAID].iter().map(|model| until_served(&rig, &now_or_never(model))).collect();
        let waiting: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap_or_default()).collect();
        (waiting, resumed)
    });
    let bound = Duration::from_secs(2);
    let seconds = |took: &Option<Duration>| took.map_or_else(|| "never".to_owned(), |it| format!("{it:.2?}"));
    let told = exhausted.iter().filter(|answer| answer.is_honest_refusal()).count();
    Ok(Report::of(5, waiting.iter().chain(&first_paid))
        .seen(&rig)
        .all_served()
        .bar(told == 3, format!("before it every refusal is a 429 with Retry-After: {told} of 3"))
        .bar(
            resumed.iter().all(|took| took.is_some_and(|it| it <= bound)),
            format!(
                "service resumes within 2 s: free {}, paid {}",
                seconds(&resumed[0]),
                seconds(&resumed[1])
            ),
        )
        .bar(
            waiting.iter().all(|answer| answer.waited <= BEFORE + bound),
            "who was waiting is served within 2 s",
        ))
}

/// How long it takes until `ask`, repeated, is served; none where ten seconds are not enough.
fn until_served(rig: &Rig, ask: &Ask) -> Option<Duration> {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        if rig.ask(2, ask).served() {
            return Some(since.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}
