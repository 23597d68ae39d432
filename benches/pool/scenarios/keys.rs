//! Keys that can't serve, keys that come and go, and what a killed process remembers of them.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hermux::simulator::{Account, Attempt, Cause, Class, Key, Outcome, Pace, Scenario};

use super::{
    FREE, PAID, Size, account, away_from_a_turn, away_from_midnight, free_account, free_by_account,
    refused_for,
};
use crate::caller::{Answer, Ask};
use crate::report::{Report, listed};
use crate::rig::Rig;

fn switched_off(name: &str) -> Account {
    let key = Key { disabled: true, ..Key::new(name) };
    Account::new(name).key(key)
}

pub(super) fn mixed(_: Size) -> io::Result<Report> {
    away_from_midnight(Duration::from_secs(90));
    let bad = ["off-1", "off-2", "off-3", "poor-1", "poor-2", "capped"];
    let accounts = vec![
        Account::new("shared").key(Key::new("shared-1")).key(Key::new("shared-2")),
        account("ann"),
        account("ben"),
        switched_off("off-1"),
        switched_off("off-2"),
        switched_off("off-3"),
        free_account("poor-1"),
        free_account("poor-2"),
        Account::new("capped").key(Key::new("capped").limit(0, None)),
    ];
    let rig = Rig::start(Scenario { accounts, ..Scenario::default() }, &[])?;
    rig.settle(10);
    // Five accounts can serve free models, so 100 a minute; by keys it would look like 120.
    let asks: Vec<_> = (0..130)
        .map(|number| {
            let model = if number % 13 < 9 { FREE } else { PAID };
            (number % 4, Ask::chat(model, &format!("request {number}")))
        })
        .collect();
    let mut answers = Vec::new();
    // Few at a time: who is under way with a bad key before its first answer could not have known.
    for part in asks.chunks(6) {
        answers.extend(rig.ask_all(part));
    }
    let mut met = BTreeMap::new();
    for attempt in rig.simulator.attempts() {
        if let (Some(key), true) = (&attempt.key, attempt.cause.is_some() && attempt.class != Class::Other)
            && bad.contains(&key.as_str())
        {
            *met.entry(key.clone()).or_default() += 1;
        }
    }
    let refused = refused_for(&rig, Cause::FreeMinute);
    Ok(Report::of(asks.len(), &answers)
        .seen(&rig)
        .all_served()
        .bar(
            met.values().all(|count| *count <= 2),
            format!("each bad key met at most twice: {}", listed(&met)),
        )
        .bar(
            refused.values().all(|count| *count <= 1),
            format!("two keys of one account add no quota; 429s by account: {}", listed(&refused)),
        ))
}

/// The requests to free models that each account of `kill` has left.
const LEFT: u32 = 18;

pub(super) fn kill(_: Size) -> io::Result<Report> {
    away_from_midnight(Duration::from_secs(120));
    // Two minutes would allow more attempts at a time where the day's end is found out.
    away_from_a_turn(Duration::from_secs(20));
    let names = ["ann", "ben", "cay", "dee"];
    let mut accounts: Vec<Account> = names.iter().map(|name| free_account(name).free_left(LEFT)).collect();
    accounts.push(switched_off("off"));
    accounts.push(free_account("poor").free_left(0));
    accounts.push(account("rich").free_left(0));
    let pace = Pace { head: Duration::from_millis(300), ..Pace::default() };
    // Without asking, so that a fresh process knows only what it kept; without patience, so that it says what it
    // thinks.
    let settings = [("HERMUX_NO_POLL", "true"), ("HERMUX_MAX_WAIT", "0")];
    let mut rig = Rig::start(Scenario { accounts, pace, ..Scenario::default() }, &settings)?;

    // Every bad key is met, and time enough passes to remember it.
    let mut answers = load(&rig, 0..20, 6);
    std::thread::sleep(Duration::from_millis(200));
    let (during, killed) = std::thread::scope(|scope| {
        let address = rig.address();
        let loading: Vec<_> = (20..40)
            .map(|number| {
                let ask = Ask::chat(if number % 5 == 0 { PAID } else { FREE }, &format!("request {number}"));
                let delay = Duration::from_millis(30 * (number - 20));
                scope.spawn(move || {
                    std::thread::sleep(delay);
                    ask.send(address, &crate::rig::token_of(0))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(450));
        let killed = rig.kill_and_restart();
        let during: Vec<_> = loading.into_iter().map(|thread| thread.join().unwrap_or_default()).collect();
        (during, killed)
    });
    let first_after = killed?;
    let mut in_flight: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in rig.simulator.attempts().into_iter().filter(cut_short) {
        *in_flight.entry(attempt.account.unwrap_or_default()).or_default() += 1;
    }
    // Who asked while it was dead got no answer, and took nothing from anybody.
    let lost_paid = during.iter().enumerate().filter(|(at, answer)| at % 5 == 0 && !answer.served()).count();
    answers.extend(during.into_iter().filter(Answer::served));

    answers.extend(load(&rig, 40..60, 6));
    // The free attempts and the few paid ones that found out who has no credits: each use counts for the choice.
    let by_key = rig.upstream_by_key();
    let spread: BTreeMap<String, usize> =
        names.iter().map(|name| ((*name).to_owned(), by_key.get(*name).copied().unwrap_or(0))).collect();
    answers.extend(load(&rig, 60..140, 8));
    let counted = of_names(&free_by_account(&rig), &names);

    let open: usize = of_names(&in_flight, &names).values().sum();
    let (least, most) = extremes(&spread);
    let limit = usize::try_from(LEFT).unwrap_or_default();
    let over = |(account, count): (&String, &usize)| {
        *count > limit + 1 + in_flight.get(account).copied().unwrap_or(0)
    };
    let hopeless: BTreeMap<String, usize> =
        rig.simulator.wasted().into_iter().filter(|attempt| attempt.number >= first_after).fold(
            BTreeMap::new(),
            |mut counts, attempt| {
                *counts.entry(attempt.key.unwrap_or_default()).or_default() += 1;
                counts
            },
        );
    // 28 paid requests, and all that is left of the free ones.
    let best = names.len() * limit - open + 28 - lost_paid;
    let report = Report::of(best, &answers).seen(&rig);
    let served = report.served;
    Ok(report
        .bar(open > 0, format!("it was killed under load, requests in flight: {}", listed(&in_flight)))
        .bar(
            most <= least + 1 + open,
            format!("the spread holds, ±1 a key besides what was in flight: {}", listed(&spread)),
        )
        .bar(
            !counted.iter().any(over),
            format!("the limit of {LEFT} holds, ±1 besides what was in flight: {}", listed(&counted)),
        )
        .bar(
            served + names.len() >= best,
            format!("nothing is left over, ±1 a key: {served} of {best} served"),
        )
        .bar(hopeless.is_empty(), format!("no hopeless attempt after the restart: {}", listed(&hopeless))))
}

/// Whether the kill cut it short; what had been answered is no longer in flight.
fn cut_short(attempt: &Attempt) -> bool {
    attempt.class != Class::Other && attempt.outcome == Some(Outcome::CallerLeft)
}

/// The requests of these numbers, each fifth of them paid, so many at a time.
fn load(rig: &Rig, numbers: std::ops::Range<usize>, at_a_time: usize) -> Vec<Answer> {
    let asks: Vec<_> = numbers
        .map(|number| {
            let model = if number % 5 == 0 { PAID } else { FREE };
            (number % 4, Ask::chat(model, &format!("request {number}")))
        })
        .collect();
    asks.chunks(at_a_time).flat_map(|part| rig.ask_all(part)).collect()
}

/// The counts of the accounts of these names, with those that have none.
fn of_names(counts: &BTreeMap<String, usize>, names: &[&str]) -> BTreeMap<String, usize> {
    let account = |name: &&str| format!("user_{name}");
    names.iter().map(|name| (account(name), counts.get(&account(name)).copied().unwrap_or(0))).collect()
}

fn extremes(counts: &BTreeMap<String, usize>) -> (usize, usize) {
    let least = counts.values().min().copied().unwrap_or(0);
    (least, counts.values().max().copied().unwrap_or(0))
}

/// How soon a change of `tokens.csv` counts.
const SOON: Duration = Duration::from_secs(2);

pub(super) fn reload(_: Size) -> io::Result<Report> {
    let names = ["ann", "ben", "cay"];
    let accounts: Vec<Account> = names.iter().map(|name| account(name)).collect();
    let keys: Vec<Key> = accounts.iter().flat_map(|account| account.keys.clone()).collect();
    let rig = Rig::start(Scenario { accounts, ..Scenario::default() }, &[])?;
    rig.write_keys(&keys[..2])?;
    let mut answers = Vec::new();
    let mut until = |key: &str, present: bool| {
        let since = Instant::now();
        let mut last = Duration::ZERO;
        // A key in force is soon the least used one; one out of force must stay away for a while.
        let patience = if present { Duration::from_secs(10) } else { SOON + Duration::from_secs(1) };
        while since.elapsed() < patience {
            let answer = rig.ask(0, &Ask::chat(PAID, "whose turn"));
            let seen = answer.key() == Some(key);
            answers.push(answer);
            if seen && present {
                return since.elapsed();
            }
            if seen {
                last = since.elapsed();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if present { patience } else { last }
    };
    // The first change takes the third key away, which the start had brought.
    let away = until("cay", false);
    rig.write_keys(&keys)?;
    let added = until("cay", true);
    // It is still the least used one, so that each request would go to it.
    rig.write_keys(&keys[..2])?;
    let removed = until("cay", false);
    Ok(Report::of(answers.len(), &answers)
        .seen(&rig)
        .all_served()
        .bar(added <= SOON, format!("a key added counts within 2 s: {added:.2?}"))
        .bar(
            removed <= SOON && away <= SOON,
            format!("a key removed counts within 2 s: {away:.2?} and {removed:.2?}"),
        ))
}
