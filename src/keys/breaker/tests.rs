//! The breaker against a table of what happens to a model, and against outages.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Admission, Breakers, MODELS, Probe};
use crate::clock::Time;

const M: &str = "maker/model:free";
const START: i64 = 1_700_000_000_000;

fn at(ms: i64) -> Time {
    Time(START + ms)
}

/// One thing that happens; times in milliseconds from the start.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many attempts leave, for requests that can wait.
    Leave(usize, i64),
    /// So many leave, for requests that can't.
    LeaveAtOnce(usize, i64),
    /// The attempt that left first of those still out fails, with what upstream says.
    Fails(i64, Option<i64>),
    /// The one that left latest fails.
    LatestFails(i64, Option<i64>),
    /// It answers.
    Answers,
    /// It ends without a result.
    Ends,
    /// The next asks, and is held until then.
    Held(i64, i64),
    /// The next asks for a request that can't wait, and is held until then.
    HeldAtOnce(i64, i64),
}
use Step::{Answers, Ends, Fails, Held, HeldAtOnce, LatestFails, Leave, LeaveAtOnce};

/// An attempt that is out.
struct Out(Option<Probe>);

impl Out {
    fn answered(self, breakers: &Breakers) {
        match self.0 {
            Some(probe) => probe.answered(),
            None => breakers.answered(M),
        }
    }

    fn failed(self, breakers: &Breakers, until: Option<i64>, now: i64) {
        let until = until.map(at);
        match self.0 {
            Some(probe) => probe.failed(until, at(now)),
            None => breakers.failed(M, until, at(now)),
        }
    }
}

fn play(name: &str, is_proven: bool, steps: &[Step]) {
    let breakers = Breakers::default();
    if is_proven {
        prove(&breakers, 0);
    }
    let mut out: Vec<Out> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let what = format!("{name}, step {index}: {step:?}\n{breakers:?}");
        let mut leave = |count, admit: &dyn Fn() -> Admission| {
            for _ in 0..count {
                match admit() {
                    Admission::Go(probe) => out.push(Out(probe)),
                    Admission::Wait(until) => panic!("held until {}: {what}", until.0 - START),
                }
            }
        };
        match *step {
            Leave(count, now) => leave(count, &|| breakers.admit_patiently(M, at(now))),
            LeaveAtOnce(count, now) => leave(count, &|| breakers.admit(M, at(now))),
            Fails(now, until) => out.remove(0).failed(&breakers, until, now),
            LatestFails(now, until) => out.pop().unwrap().failed(&breakers, until, now),
            Answers => out.remove(0).answered(&breakers),
            Ends => drop(out.remove(0)),
            Held(now, until) => assert_held(&breakers.admit_patiently(M, at(now)), until, &what),
            HeldAtOnce(now, until) => assert_held(&breakers.admit(M, at(now)), until, &what),
        }
    }
}

fn assert_held(admission: &Admission, until: i64, what: &str) {
    let Admission::Wait(held) = admission else { panic!("not held: {what}") };
    assert_eq!(held.0 - START, until, "{what}");
}

/// Lets the model prove itself.
fn prove(breakers: &Breakers, now: i64) {
    for _ in 0..16 {
        let Admission::Go(probe) = breakers.admit_patiently(M, at(now)) else { panic!("held") };
        Out(probe).answered(breakers);
    }
    assert!(matches!(breakers.admit(M, at(now)), Admission::Go(None)), "not proved");
}

/// Lets it fail until its breaker opens.
fn take_down(breakers: &Breakers, model: &str) {
    while let Admission::Go(probe) = breakers.admit(model, at(0)) {
        match probe {
            Some(probe) => probe.failed(None, at(0)),
            None => breakers.failed(model, None, at(0)),
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_model_is_held_as_long_as_the_table_says() {
    // A proven model that went down at 0: the first failure begins the watch, five more open the breaker.
    const WATCHED: [Step; 2] = [Leave(1, 0), Fails(0, None)];
    const FOUR: [Step; 5] = [Leave(5, 0), Fails(0, None), Fails(0, None), Fails(0, None), Fails(0, None)];
    let watched = |steps: &[Step]| [&WATCHED[..], steps].concat();
    let after_four = |steps: &[Step]| [&WATCHED[..], &FOUR[..], steps].concat();
    let after_down = |steps: &[Step]| [&WATCHED[..], &FOUR[..], &[Fails(0, None)], steps].concat();
    let table: &[(&str, bool, Vec<Step>)] = &[
        ("one failure stops nobody", true, watched(&[Leave(50, 1)])),
        ("four failures in a row stop nobody", true, after_four(&[Leave(50, 1)])),
        ("five do", true, after_down(&[HeldAtOnce(1, 2000), Held(1, 2000)])),
        (
            "five with an answer in between don't",
            true,
            after_four(&[Leave(1, 0), Answers, Fails(0, None), Leave(9, 0)]),
        ),
        (
            "those that were under way when the first came back don't, while others of them are answered",
            true,
            vec![
                Leave(8, 0),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Answers,
                Fails(0, None),
                Fails(0, None),
                Leave(9, 0),
            ],
        ),
        (
            "where none is, they let two leave at a time, whose failures open it",
            true,
            vec![
                Leave(6, 0),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Fails(0, None),
                Leave(2, 0),
                Held(0, 2000),
                Fails(0, None),
                Fails(0, None),
                HeldAtOnce(0, 2000),
            ],
        ),
        (
            "two that say when to come back do, until then",
            true,
            watched(&[Leave(2, 0), Fails(0, Some(40_000)), Fails(0, Some(40_000)), HeldAtOnce(0, 40_000)]),
        ),
        (
            "what they say is believed up to 15 minutes",
            true,
            watched(&[Leave(2, 0), Fails(0, Some(1)), Fails(0, Some(86_400_000)), HeldAtOnce(0, 900_000)]),
        ),
        (
            "and from one second on",
            true,
            watched(&[Leave(2, 0), Fails(0, Some(1)), Fails(0, Some(1)), HeldAtOnce(0, 1000)]),
        ),
        (
            "an answer to what left before the failures does not outweigh later ones",
            true,
            vec![
                Leave(21, 0),
                Fails(0, None), // from here on, attempts are guarded
                Leave(5, 1),
                LatestFails(2, None),
                Answers,
                LatestFails(3, None),
                Answers,
                LatestFails(4, None),
                Answers,
                LatestFails(5, None),
                Answers,
                LatestFails(6, None),
                HeldAtOnce(6, 2006),
            ],
        ),
        (
            "five quick failures of a hundred don't, while the answers are under way",
            true,
            vec![
                Leave(1, 0),
                Fails(0, None),
                Leave(100, 1),
                LatestFails(2, None),
                LatestFails(3, None),
                LatestFails(4, None),
                LatestFails(5, None),
                LatestFails(6, None),
                Leave(1, 7),
                Answers,
                Leave(50, 8),
            ],
        ),
        ("nine at once are too many for a model that is new", false, vec![Leave(8, 0), Held(10, 2000)]),
        (
            "but not for those who can't wait, and only for a while",
            false,
            vec![Leave(8, 0), LeaveAtOnce(1, 10), Leave(100, 2000)],
        ),
        ("an answer lets another leave", false, vec![Leave(8, 0), Answers, Leave(1, 0), Held(1, 2000)]),
        ("the end of one does so, too", false, vec![Leave(8, 0), Ends, Leave(1, 0), Held(1, 2000)]),
        (
            "a new model that fails gets two at a time",
            false,
            vec![Leave(1, 0), Fails(5, None), Leave(2, 10), Held(20, 2010), Leave(1, 2010), Held(2011, 4010)],
        ),
        (
            "probes leave one at a time, after 2, 4, 8, 15 and 15 seconds",
            true,
            after_down(&[
                HeldAtOnce(1999, 2000),
                Leave(1, 2000),
                HeldAtOnce(2001, 3001),
                Fails(2500, None),
                HeldAtOnce(2500, 6500),
                LeaveAtOnce(1, 6500),
                Fails(6500, None),
                HeldAtOnce(6500, 14_500),
                Leave(1, 14_500),
                Fails(14_500, None),
                Held(14_500, 29_500),
                Leave(1, 29_500),
                Fails(29_500, None),
                Held(29_500, 44_500),
            ]),
        ),
        (
            "a probe may be told when to come back",
            true,
            after_down(&[Leave(1, 2000), Fails(2000, Some(62_000)), Held(2000, 62_000)]),
        ),
        (
            "a probe without a result leaves its place to the next",
            true,
            after_down(&[Leave(1, 2000), Ends, Leave(1, 2000), Held(2000, 3000)]),
        ),
        (
            "a probe that hangs is not waited for",
            true,
            after_down(&[Leave(1, 2000), Held(16_999, 17_999), Leave(1, 17_000), Answers, Leave(1, 17_001)]),
        ),
        (
            "an answer closes it, and the model has to prove itself again",
            true,
            after_down(&[Leave(1, 2000), Answers, Leave(8, 2001), Held(2002, 4001)]),
        ),
        (
            "an answer to what left before the trouble does not close it",
            true,
            vec![
                Leave(2, 0),
                LatestFails(0, None),
                Leave(5, 0),
                LatestFails(0, None),
                LatestFails(0, None),
                LatestFails(0, None),
                LatestFails(0, None),
                LatestFails(0, None),
                Answers,
                HeldAtOnce(1, 2000),
            ],
        ),
        (
            "one to what left since does",
            true,
            after_four(&[Leave(1, 0), Fails(0, None), HeldAtOnce(0, 2000), Answers, Leave(1, 0)]),
        ),
        (
            "the clock turned back does not hold it for long",
            true,
            after_down(&[Leave(1, -3_600_000), Held(-3_600_000, -3_599_000)]),
        ),
        ("the clock turned on does not hold it at all", true, after_down(&[Leave(1, 3_600_000)])),
        (
            "a request that read the clock a little earlier is held like the others",
            true,
            after_down(&[HeldAtOnce(-20, 2000)]),
        ),
    ];
    for (name, is_proven, steps) in table {
        play(name, *is_proven, steps);
    }
}

#[test]
fn an_outage_of_20_s_costs_20_callers_that_start_together_11_attempts() {
    let breakers = Breakers::default();
    let (mut burned, mut served) = (0, None);
    // Each attempt takes 300 ms to fail. All the callers ask at each moment.
    let mut out: Vec<(i64, Probe)> = Vec::new();
    for now in (0..40_000).step_by(50) {
        for (left, probe) in std::mem::take(&mut out) {
            if now - left < 300 {
                out.push((left, probe));
            } else if left < 20_000 {
                probe.failed(None, at(now));
            } else {
                probe.answered();
                served.get_or_insert(now);
            }
        }
        for _ in out.len()..20 {
            if let Admission::Go(probe) = breakers.admit_patiently(M, at(now)) {
                burned += usize::from(now < 20_000);
                out.push((now, probe.unwrap()));
            }
        }
        if served.is_some() {
            break;
        }
    }
    assert_eq!(burned, 11);
    assert!(served.is_some_and(|at| at < 31_000), "{served:?}");
}

#[test]
fn a_flaky_model_is_hardly_ever_held() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    let breakers = Breakers::default();
    prove(&breakers, 0);
    // 50 at a time; failures (7 %) come after 20 ms, answers after up to two seconds.
    let mut out: BTreeMap<(i64, usize), (bool, Option<Probe>)> = BTreeMap::new();
    let (mut held, mut left) = (0, 0);
    for now in 0..60_000_i64 {
        while let Some(entry) = out.first_entry().filter(|entry| entry.key().0 <= now) {
            let (is_good, probe) = entry.remove();
            let ended = Out(probe);
            if is_good { ended.answered(&breakers) } else { ended.failed(&breakers, None, now) }
        }
        while out.len() < 50 {
            let Admission::Go(probe) = breakers.admit_patiently(M, at(now)) else {
                held += 1;
                break;
            };
            left += 1;
            let is_good = rng.random_range(0..100) >= 7;
            let lasts = if is_good { rng.random_range(500..2000) } else { 20 };
            out.insert((now + lasts, left), (is_good, probe));
        }
    }
    assert!(left > 2000, "{left}");
    assert_eq!(held, 0);
}

#[test]
fn a_model_that_is_down_holds_no_other() {
    let breakers = Breakers::default();
    prove(&breakers, 0);
    take_down(&breakers, M);
    assert!(matches!(breakers.admit(M, at(0)), Admission::Wait(_)));
    assert_eq!(breakers.down_until(M, at(0)), Some(at(2000)));
    assert_eq!(breakers.down_until(M, at(2000)), None);
    assert_eq!(breakers.down_until("other/model", at(0)), None);
    assert!(matches!(breakers.admit("other/model", at(0)), Admission::Go(_)));
    assert!(matches!(breakers.admit("", at(0)), Admission::Go(None)));
}

#[test]
fn a_model_that_nobody_asks_for_is_forgotten() {
    let breakers = Breakers::default();
    prove(&breakers, 0);
    breakers.failed(M, None, at(0));
    take_down(&breakers, "down/model");
    drop(breakers.admit("other/model", at(59_000)));
    assert!(breakers.0.lock().watched.contains_key(M));
    drop(breakers.admit("other/model", at(70_000)));
    assert!(!breakers.0.lock().watched.contains_key(M));
    drop(breakers.admit("other/model", at(902_000 + 10_000)));
    assert_eq!(breakers.0.lock().watched.len(), 0);
}

#[test]
fn names_that_callers_invent_take_bounded_room() {
    let breakers = Breakers::default();
    let mut probes = Vec::new();
    for number in 0..MODELS + 100 {
        probes.push(breakers.admit(&format!("invented/{number}"), at(0)));
    }
    assert_eq!(breakers.0.lock().watched.len(), MODELS);
    // Once they ended without a result, nothing is left of them.
    drop(probes);
    assert_eq!(breakers.0.lock().watched.len(), 0);
}

#[tokio::test]
async fn a_report_rouses_who_waits() {
    let breakers = Breakers::default();
    take_down(&breakers, M);
    let Admission::Go(Some(probe)) = breakers.admit(M, at(2000)) else { panic!("held") };
    // What was reported so far.
    breakers.returned().notified().await;
    probe.unused();
    let Admission::Go(Some(probe)) = breakers.admit(M, at(2000)) else { panic!("held") };
    let roused = breakers.returned().notified();
    tokio::pin!(roused);
    assert!(!roused.as_mut().enable(), "roused by what was not used");
    probe.answered();
    tokio::time::timeout(Duration::from_secs(10), roused).await.unwrap();
}
