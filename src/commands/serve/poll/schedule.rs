//! When to ask about which key: given the time, pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Time;
use crate::keys::need::Why;
use crate::keys::state::Glance;
use crate::keys::{Key, KeyName};

/// How often to ask about a key that was used today, and about another one; a tenth more or less.
const IN_USE: Duration = Duration::from_secs(15 * 60);
const AT_REST: Duration = Duration::from_secs(24 * 3_600);

/// How long before the end of a rest to ask whether it is over: then no request has to find out.
const AHEAD: Duration = Duration::from_secs(2);

/// The shortest time between two answers about one key, whatever speaks for asking.
const SHORTEST: Duration = Duration::from_secs(60);

/// After how long to ask again where there was no answer, doubling up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// The keys, and when to ask about each.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    rows: Vec<Row>,
    places: HashMap<KeyName, usize>,
}

/// What is known of one key.
#[derive(Debug)]
struct Row {
    key: Key,
    /// Whether an answer is awaited.
    asking: bool,
    /// When the last answer came.
    answered: Option<Time>,
    /// Before then it is left alone, since there was no answer.
    not_before: Option<Time>,
    failures: u32,
    /// Attempts today, when it was last looked at.
    used: u64,
    /// When the first of its rests ends of which `GET /key` may tell.
    rest: Option<Time>,
    refused: bool,
    cap: Cap,
    /// Around a thousand, so that keys which were asked about together do not stay together.
    spread: u32,
}

/// Whether a key's cap is spent, as the pool says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cap {
    NotSpent,
    /// It is, and `GET /key` may tell when that ends.
    News,
    /// It is, and that was asked.
    Asked,
}

impl Schedule {
    /// Takes over the keys of the file. A key that was there before keeps what is known of it, unless its secret changed.
    pub(super) fn replace(&mut self, keys: Vec<Key>) {
        let mut old: HashMap<KeyName, Row> =
            self.rows.drain(..).map(|row| (row.key.name().clone(), row)).collect();
        for key in keys.into_iter().filter(|key| key.terms().enabled) {
            let known = old.remove(key.name()).filter(|row| row.key.expose() == key.expose());
            self.rows.push(known.unwrap_or_else(|| Row::new(key)));
        }
        self.places = self.rows.iter().enumerate().map(|(at, row)| (row.key.name().clone(), at)).collect();
    }

    /// Looks at what the pool says of the keys.
    pub(super) fn look(&mut self, keys: Vec<Glance>) {
        for Glance { name, used_today, rests } in keys {
            let Some(row) = self.row(&name) else { continue };
            let is_capped = rests.iter().any(|(why, _)| matches!(why, Why::Cap | Why::CapForGood));
            row.used = used_today;
            row.rest = rests.iter().filter_map(|(_, until)| *until).min();
            row.refused = rests.iter().any(|(why, _)| *why == Why::Refused);
            row.cap = match row.cap {
                _ if !is_capped => Cap::NotSpent,
                Cap::NotSpent => Cap::News,
                same => same,
            };
        }
    }

    /// The key that it is most urgent to ask about now; an answer or a failure is to be told of it.
    pub(super) fn next(&mut self, now: Time) -> Option<Key> {
        let due = |row: &Row| (!row.asking).then(|| row.due()).filter(|(_, at)| *at <= now);
        let rows = self.rows.iter().enumerate();
        let (_, place) = rows.filter_map(|(place, row)| Some((due(row)?, place))).min()?;
        let row = &mut self.rows[place];
        row.asking = true;
        if row.cap == Cap::News {
            row.cap = Cap::Asked;
        }
        Some(row.key.clone())
    }

    /// Whether the key is still the one in its row.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.places.get(key.name()).is_some_and(|&place| self.rows[place].key.expose() == key.expose())
    }

    /// When the first of the keys is due that no answer is awaited about.
    pub(super) fn first(&self) -> Option<Time> {
        self.rows.iter().filter(|row| !row.asking).map(|row| row.due().1).min()
    }

    /// There was an answer about the key.
    pub(super) fn answered(&mut self, name: &KeyName, now: Time) {
        if let Some(row) = self.row(name) {
            row.asking = false;
            row.answered = Some(now);
            row.not_before = None;
            row.failures = 0;
            row.spread = spread();
        }
    }

    /// There was none.
    pub(super) fn failed(&mut self, name: &KeyName, now: Time) {
        if let Some(row) = self.row(name) {
            let (first, longest) = AGAIN;
            let pause = first.saturating_mul(1 << row.failures.min(16)).min(longest);
            row.asking = false;
            row.not_before = Some(now.after(row.scaled(pause)));
            row.failures += 1;
            row.spread = spread();
        }
    }

    fn row(&mut self, name: &KeyName) -> Option<&mut Row> {
        self.places.get(name).map(|&place| &mut self.rows[place])
    }
}

impl Row {
    fn new(key: Key) -> Self {
        Self {
            key,
            asking: false,
            answered: None,
            not_before: None,
            failures: 0,
            used: 0,
            rest: None,
            refused: false,
            cap: Cap::NotSpent,
            spread: spread(),
        }
    }

    /// How urgent it is, the lower the more, and when it is due.
    fn due(&self) -> (u8, Time) {
        let (urgency, at) = match self.answered {
            None => (if self.used > 0 { 1 } else { 3 }, Time(i64::MIN)),
            Some(answered) => {
                let least = answered.after(SHORTEST);
                let every = if self.used > 0 { IN_USE } else { AT_REST };
                // A key that is refused stays so at least until its rest ends.
                let regular = Some(answered.after(self.scaled(every)))
                    .filter(|_| !(self.refused && self.rest.is_some()))
                    .map(|at| (2, at));
                let ahead = i64::try_from(AHEAD.as_millis()).unwrap_or(0);
                let rest = self.rest.map(|end| (0, Time(end.0.saturating_sub(ahead)).max(least)));
                let capped = (self.cap == Cap::News).then_some((0, least));
                let first = [regular, rest, capped].into_iter().flatten().min_by_key(|(_, at)| *at);
                first.unwrap_or((2, Time(i64::MAX)))
            }
        };
        (urgency, self.not_before.map_or(at, |not_before| at.max(not_before)))
    }

    fn scaled(&self, duration: Duration) -> Duration {
        duration * self.spread / 1_000
    }
}

fn spread() -> u32 {
    rand::random_range(900..=1_100)
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use crate::clock::Time;
    use crate::keys::need::Why;
    use crate::keys::state::Glance;
    use crate::keys::{Key, KeyName, Terms};
    use crate::secret::Secret;

    const NOON: Time = Time(1_700_000_000_000);
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn name(name: &str) -> KeyName {
        KeyName::parse(name).unwrap()
    }

    fn key(text: &str) -> Key {
        Key::new(name(text), &Secret::new(format!("sk-or-v1-{text}")))
    }

    fn schedule(names: &[&str]) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.replace(names.iter().copied().map(key).collect());
        schedule
    }

    fn used(text: &str, used_today: u64) -> Glance {
        Glance { name: name(text), used_today, rests: Vec::new() }
    }

    fn resting(name: &str, why: Why, until: Time) -> Glance {
        Glance { rests: vec![(why, Some(until))], ..used(name, 1) }
    }

    fn look(schedule: &mut Schedule, keys: Vec<Glance>) {
        schedule.look(keys);
    }

    fn next(schedule: &mut Schedule, at: Time) -> Option<String> {
        schedule.next(at).map(|key| key.name().to_string())
    }

    /// The minutes, of `range` after noon, in which the key is asked about; each time there is an answer.
    fn minutes(schedule: &mut Schedule, range: std::ops::Range<i64>) -> Vec<i64> {
        let ask = |minute: &i64| {
            let now = Time(NOON.0 + minute * MINUTE);
            let due = schedule.next(now);
            due.map(|key| schedule.answered(key.name(), now)).is_some()
        };
        range.filter(ask).collect()
    }

    #[test]
    fn each_key_is_asked_about_once_those_in_use_first() {
        let mut schedule = schedule(&["a", "b", "c"]);
        look(&mut schedule, vec![used("a", 0), used("b", 3), used("gone", 9)]);
        let order: Vec<_> = (0..4).map(|_| next(&mut schedule, NOON)).collect();
        assert_eq!(order, [Some("b".to_owned()), Some("a".to_owned()), Some("c".to_owned()), None]);
    }

    #[test]
    fn a_key_in_use_is_asked_about_every_quarter_of_an_hour_and_another_daily() {
        let mut busy = schedule(&["a"]);
        look(&mut busy, vec![used("a", 1)]);
        let asked = minutes(&mut busy, 0..60);
        assert!((4..=5).contains(&asked.len()) && asked[0] == 0, "{asked:?}");
        assert!(asked.windows(2).all(|pair| (13..=17).contains(&(pair[1] - pair[0]))), "{asked:?}");
        let asked = minutes(&mut schedule(&["a"]), 0..3 * 24 * 60);
        assert!((3..=4).contains(&asked.len()), "{asked:?}");
    }

    #[test]
    fn a_key_that_rests_is_asked_about_just_before_its_rest_ends() {
        for why in [Why::Refused, Why::Cap, Why::CapForGood, Why::NoCredits] {
            let mut schedule = schedule(&["a"]);
            assert_eq!(minutes(&mut schedule, 0..1), [0]);
            let end = Time(NOON.0 + 8 * HOUR);
            look(&mut schedule, vec![resting("a", why, end)]);
            if why == Why::Refused {
                assert_eq!(minutes(&mut schedule, 1..8 * 60), [0; 0], "nothing new before its end");
            } else {
                let asked = minutes(&mut schedule, 1..8 * 60);
                assert!(asked.len() > 20, "as often as others: {asked:?}");
            }
            schedule.answered(&name("a"), Time(end.0 - 5 * MINUTE));
            assert_eq!(next(&mut schedule, Time(end.0 - 2_001)), None, "{why:?}");
            assert_eq!(next(&mut schedule, Time(end.0 - 2_000)).as_deref(), Some("a"), "{why:?}");
        }
    }

    #[test]
    fn a_cap_that_turns_out_to_be_spent_is_asked_about_once() {
        for why in [Why::Cap, Why::CapForGood] {
            let mut schedule = schedule(&["a"]);
            assert_eq!(minutes(&mut schedule, 0..1), [0]);
            for _ in 0..3 {
                look(&mut schedule, vec![resting("a", why, Time(NOON.0 + 8 * HOUR))]);
            }
            assert_eq!(minutes(&mut schedule, 1..10), [1]);
            look(&mut schedule, vec![resting("a", why, Time(NOON.0 + 8 * HOUR))]);
            assert_eq!(minutes(&mut schedule, 10..13), [0; 0], "the same rest");
            look(&mut schedule, vec![used("a", 1)]);
            look(&mut schedule, vec![resting("a", why, Time(NOON.0 + 8 * HOUR))]);
            assert_eq!(minutes(&mut schedule, 13..14), [13], "another one");
        }
    }

    #[test]
    fn without_an_answer_it_waits_twice_as_long_each_time_and_others_go_first() {
        let mut schedule = schedule(&["a", "b"]);
        look(&mut schedule, vec![used("a", 1)]);
        let mut now = NOON;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let failed = now;
            assert_eq!(next(&mut schedule, now).as_deref(), Some("a"));
            schedule.failed(&name("a"), now);
            let early = Time(now.0 + 30_000);
            if let Some(other) = next(&mut schedule, early) {
                assert_eq!(other, "b");
                schedule.answered(&name("b"), early);
            }
            while schedule.next(now).is_none_or(|key| key.name().as_str() != "a") {
                now = Time(now.0 + 1_000);
            }
            schedule.row(&name("a")).unwrap().asking = false;
            pauses.push((now.0 - failed.0) / 1_000);
        }
        for (pause, seconds) in pauses.iter().zip([60, 120, 240, 480, 900, 900, 900]) {
            assert!((seconds * 9 / 10..=seconds * 11 / 10 + 1).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn a_reload_asks_about_new_keys_and_changed_ones_alone() {
        let mut schedule = schedule(&["a", "b", "c"]);
        assert_eq!(minutes(&mut schedule, 0..3), [0, 1, 2]);
        let changed = Key::new(name("b"), &Secret::new("sk-or-v1-other".to_owned()));
        let off = key("e").with_terms(Terms { enabled: false, ..Terms::default() });
        let old = key("b");
        assert!(schedule.has(&old));
        schedule.replace(vec![key("a"), changed.clone(), key("d"), off]);
        assert!(
            schedule.has(&changed) && !schedule.has(&old),
            "what is asked about the old one is not the new one's"
        );
        let now = Time(NOON.0 + 3 * MINUTE);
        let asked: Vec<_> = (0..3).map(|_| next(&mut schedule, now)).collect();
        assert_eq!(asked, [Some("b".to_owned()), Some("d".to_owned()), None]);
        schedule.answered(&name("c"), now);
        schedule.failed(&name("c"), now);
    }
}
