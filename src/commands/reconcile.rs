//! Whether the ledger agrees with what `GET /key` tells of each key: equal, missed here, or spent outside hermux.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::clock::Time;
use crate::keys::Key;
use crate::ledger::query::{self, By, QueryError, Question, Value};
use crate::openrouter::account::{KeyInfo, Period};

/// The kind of note that tells since when a key is known; a key that changed its secret begins anew.
pub(super) const SEEN: &str = "seen";

/// The periods that are compared, the shortest first.
pub(super) const PERIODS: [Period; 3] = [Period::Daily, Period::Weekly, Period::Monthly];

/// By how much two equal amounts may differ, nano-dollars: a millionth of a dollar, since upstream adds up in floating point,
/// and half a nano-dollar an attempt, which is what rounding each cost may take.
const TOLERANCE: i64 = 1_000;

/// How long it may take until `GET /key` has added up what an answer cost, milliseconds; generous, since it is not documented.
const ADDED_UP: i64 = 3_600_000;

/// What an attempt whose cost is not known may have cost at most: so many times the dearest one of its model, and no less than
/// this, nano-dollars.
const DEARER: i64 = 4;
const DEAR: i64 = 100_000_000;

/// The same where no attempt of its model told its cost.
const DEAR_ALIKE: i64 = 1_000_000_000;

/// How two accounts of one key compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They agree.
    Equal,
    /// More was billed than counted, by no more than the attempts may have cost whose cost the ledger does not have.
    Missed,
    /// More was billed than counted, and nothing here explains it: somebody else may have the key.
    Outside,
    /// Less was billed than counted: upstream may not have added up everything yet.
    Behind,
    /// Less was billed than counted, though there was time to add it up.
    Less,
    /// No period lies wholly in the time in which hermux has known the key.
    TooEarly,
    /// Upstream does not say.
    Untold,
}

impl Verdict {
    /// The word for it in tables and JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Missed => "missed here",
            Self::Outside => "spent outside hermux",
            Self::Behind => "not told yet",
            Self::Less => "less billed than counted",
            Self::TooEarly => "too early to tell",
            Self::Untold => "not told",
        }
    }

    /// Whether a person should look.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Missed | Self::Outside | Self::Less)
    }
}

/// What is known of a key in one period that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// What the ledger counted, nano-dollars.
    pub(super) cost: i64,
    /// Of that, what is so old that upstream has added it up; only where less than `cost` was told.
    pub(super) settled: i64,
    /// How many attempts that was.
    pub(super) attempts: u64,
    /// Attempts whose cost is not known, or not yet.
    pub(super) missing: u64,
    /// What those may have cost at most, nano-dollars; only where more than `cost` was told.
    pub(super) unknown: i64,
}

impl Counted {
    /// How `told` compares with it, and by how much more that is.
    fn beside(&self, told: i64) -> (Verdict, i64) {
        let difference = told.saturating_sub(self.cost);
        let rounding = i64::try_from(self.attempts / 2).unwrap_or(i64::MAX);
        let slack = TOLERANCE.saturating_add(rounding);
        let verdict = match difference {
            _ if difference.saturating_abs() <= slack => Verdict::Equal,
            ..0 if told.saturating_add(slack) < self.settled => Verdict::Less,
            ..0 => Verdict::Behind,
            _ if difference <= self.unknown.saturating_add(slack) => Verdict::Missed,
            _ => Verdict::Outside,
        };
        (verdict, difference)
    }
}

/// One key's two accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) key: String,
    /// By [`PERIODS`]: what upstream told, nano-dollars.
    pub(super) told: [Option<i64>; 3],
    /// By [`PERIODS`].
    pub(super) counted: [Counted; 3],
    pub(super) verdict: Verdict,
    /// The period that the verdict is about, and by how much more was told than counted, nano-dollars. Where it is too early
    /// to tell, today, if more was told.
    pub(super) period: Option<Period>,
    pub(super) difference: i64,
}

/// Compares what upstream `told` of a key at `now` with what was `counted`; `known` is since when hermux knows the key and
/// counts.
///
/// The verdict is that of the period which began first of those that hermux saw from their beginning: what crosses a
/// midnight is in both accounts of it.
pub(super) fn compare(
    key: &str,
    told: &KeyInfo,
    counted: [Counted; 3],
    known: Time,
    now: Time,
) -> Comparison {
    let told = [told.usage_daily, told.usage_weekly, told.usage_monthly];
    let seen = (0..PERIODS.len()).filter(|&at| known <= PERIODS[at].start(now));
    let longest = seen.filter(|&at| told[at].is_some()).min_by_key(|&at| PERIODS[at].start(now));
    let (verdict, period, difference) = match longest.and_then(|at| Some((at, told[at]?))) {
        Some((at, told)) => {
            let (verdict, difference) = counted[at].beside(told);
            (verdict, Some(PERIODS[at]), difference)
        }
        None if told.iter().all(Option::is_none) => (Verdict::Untold, None, 0),
        None => match told[0].map(|told| counted[0].beside(told)) {
            Some((Verdict::Missed | Verdict::Outside, more)) => (Verdict::TooEarly, Some(PERIODS[0]), more),
            _ => (Verdict::TooEarly, None, 0),
        },
    };
    Comparison { key: key.to_owned(), told, counted, verdict, period, difference }
}

/// Since when keys are known, as notes tell.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<String, String>);

impl Seen {
    pub(super) fn new(notes: Vec<(String, String)>) -> Self {
        Self(notes.into_iter().collect())
    }

    /// Since when the key is known with its present secret.
    pub(super) fn since(&self, key: &Key) -> Option<Time> {
        let (at, print) = self.0.get(key.name().as_str())?.split_once(' ')?;
        (print == fingerprint(key)).then(|| at.parse().ok().map(Time))?
    }

    /// Puts down that the key is known since `now`; what to note of it.
    pub(super) fn add(&mut self, key: &Key, now: Time) -> String {
        let value = format!("{} {}", now.0, fingerprint(key));
        self.0.insert(key.name().as_str().to_owned(), value.clone());
        value
    }
}

/// Tells one secret from another, and nothing of either: a part of the digest of what has 256 random bits.
fn fingerprint(key: &Key) -> String {
    Sha256::digest(key.expose())
        .iter()
        .take(6)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What the ledger in a directory says, for comparisons of many keys.
#[derive(Debug)]
pub(super) struct Books {
    directory: PathBuf,
    counted: [HashMap<String, Use>; 3],
    queued: HashMap<String, HashMap<String, u64>>,
    used: HashMap<String, Time>,
    since: Option<Time>,
    now: Time,
}

/// What was counted of a key.
#[derive(Debug, Default)]
struct Use {
    cost: i64,
    attempts: u64,
    /// By model, attempts whose cost is never known.
    unsettled: HashMap<String, u64>,
}

impl Books {
    /// Reads what was counted at `now` of `keys`, of all where there are none.
    pub(super) fn read(directory: &Path, keys: &[String], now: Time) -> Result<Self, QueryError> {
        let since = query::since(directory)?;
        let period = |period: Period| -> Result<_, QueryError> {
            let question = Question {
                by: vec![By::Key, By::Model],
                since: Some(period.start(now)),
                keys: keys.to_vec(),
                ..Question::default()
            };
            let mut used: HashMap<String, Use> = HashMap::new();
            for group in query::figures(directory, &question)? {
                let Ok([Value::Name(key), Value::Name(model)]) = <[_; 2]>::try_from(group.is) else {
                    continue;
                };
                let (used, figures) = (used.entry(key).or_default(), group.figures);
                used.cost = used.cost.saturating_add(figures.cost);
                used.attempts += figures.attempts;
                if figures.unsettled > 0 {
                    used.unsettled.insert(model, figures.unsettled);
                }
            }
            Ok(used)
        };
        let before = Time(Period::Monthly.start(now).0.saturating_sub(31 * 86_400_000));
        Ok(Self {
            directory: directory.to_owned(),
            counted: [period(PERIODS[0])?, period(PERIODS[1])?, period(PERIODS[2])?],
            queued: query::queued_by_key(directory)?,
            used: if keys.is_empty() { query::first_used(directory, before)? } else { HashMap::new() },
            since,
            now,
        })
    }

    /// Compares them with what upstream `told` of `key`, which is known since `seen`, else since it was used first.
    pub(super) fn compare(
        &self,
        key: &Key,
        told: &KeyInfo,
        seen: Option<Time>,
    ) -> Result<Comparison, QueryError> {
        let name = key.name().as_str();
        let counted = |at: usize, told: Option<i64>| self.counted(name, at, told);
        let counted =
            [counted(0, told.usage_daily)?, counted(1, told.usage_weekly)?, counted(2, told.usage_monthly)?];
        let known = seen.or_else(|| self.used.get(name).copied()).unwrap_or(self.now);
        let known = known.max(self.since.unwrap_or(self.now));
        Ok(compare(name, told, counted, known, self.now))
    }

    /// What was counted of the key in a period, with what is needed to weigh it against what was `told`.
    fn counted(&self, key: &str, period: usize, told: Option<i64>) -> Result<Counted, QueryError> {
        let (unused, none) = (Use::default(), HashMap::new());
        let used = self.counted[period].get(key).unwrap_or(&unused);
        let queued = self.queued.get(key).unwrap_or(&none);
        let missing = used.unsettled.iter().chain(queued);
        let mut counted = Counted {
            cost: used.cost,
            attempts: used.attempts,
            missing: missing.clone().map(|(_, attempts)| attempts).sum(),
            ..Counted::default()
        };
        match told.unwrap_or(counted.cost).cmp(&counted.cost) {
            Ordering::Greater if counted.missing > 0 => {
                let dearest = query::dearest(&self.directory)?;
                counted.unknown = missing.fold(0, |sum: i64, (model, attempts)| {
                    let attempts = i64::try_from(*attempts).unwrap_or(i64::MAX);
                    sum.saturating_add(most(&dearest, model).saturating_mul(attempts))
                });
            }
            Ordering::Less => {
                let question = Question {
                    since: Some(PERIODS[period].start(self.now)),
                    // Hours that are only touched count whole.
                    until: Some(Time((self.now.0 - ADDED_UP).div_euclid(3_600_000) * 3_600_000)),
                    keys: vec![key.to_owned()],
                    ..Question::default()
                };
                let old = query::figures(&self.directory, &question)?;
                counted.settled = old.iter().map(|group| group.figures.cost).sum();
            }
            _ => {}
        }
        Ok(counted)
    }
}

/// What an attempt of `model` may have cost at most, when the dearest ones of each model are known; nano-dollars.
fn most(dearest: &HashMap<String, i64>, model: &str) -> i64 {
    let (dearest, least) = match dearest.get(model) {
        Some(dearest) => (*dearest, DEAR),
        None => (dearest.values().copied().max().unwrap_or(0), DEAR_ALIKE),
    };
    dearest.saturating_mul(DEARER).max(least)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Counted, Seen, Verdict, compare, most};
    use crate::clock::Time;
    use crate::keys::{Key, KeyName};
    use crate::openrouter::account::{KeyInfo, Period};
    use crate::secret::Secret;

    /// 2026-11-25T12:00:00Z, a Wednesday: the week began on the 23rd.
    const NOW: Time = Time(1_795_608_000_000);
    const DAY: i64 = 86_400_000;
    const USD: i64 = 1_000_000_000;

    fn told(daily: i64, weekly: i64, monthly: i64) -> KeyInfo {
        KeyInfo {
            usage_daily: Some(daily),
            usage_weekly: Some(weekly),
            usage_monthly: Some(monthly),
            ..KeyInfo::default()
        }
    }

    fn counted(costs: [i64; 3]) -> [Counted; 3] {
        costs.map(|cost| Counted { cost, attempts: 10, ..Counted::default() })
    }

    fn verdict(told: &KeyInfo, counted: [Counted; 3], known: i64) -> (Verdict, Option<Period>, i64) {
        let comparison = compare("a", told, counted, Time(known), NOW);
        (comparison.verdict, comparison.period, comparison.difference)
    }

    #[test]
    fn accounts_that_agree_are_equal_also_where_floats_are_not() {
        let month = Some(Period::Monthly);
        assert_eq!(
            verdict(&told(USD, 2 * USD, 3 * USD), counted([USD, 2 * USD, 3 * USD]), 0),
            (Verdict::Equal, month, 0)
        );
        assert_eq!(verdict(&told(0, 0, 900), counted([0; 3]), 0), (Verdict::Equal, month, 900));
        assert_eq!(verdict(&told(0, 0, -900), counted([0; 3]), 0).0, Verdict::Equal);
        // An answer that began before midnight and was billed after it.
        assert_eq!(verdict(&told(USD, USD, USD), counted([0, USD, USD]), 0).0, Verdict::Equal);
    }

    #[test]
    fn more_billed_than_counted_was_spent_outside_unless_something_is_missing_here() {
        let costs = [0, 0, USD];
        let (verdict_, period, amount) = verdict(&told(0, 0, 3 * USD), counted(costs), 0);
        assert_eq!((verdict_, period, amount), (Verdict::Outside, Some(Period::Monthly), 2 * USD));
        let missing = || counted(costs).map(|counted| Counted { missing: 1, unknown: 2 * USD, ..counted });
        assert_eq!(verdict(&told(0, 0, 3 * USD), missing(), 0).0, Verdict::Missed);
        let outside = verdict(&told(0, 0, 4 * USD), missing(), 0);
        assert_eq!(
            outside,
            (Verdict::Outside, Some(Period::Monthly), 3 * USD),
            "one attempt does not cost that"
        );
        assert_eq!(verdict(&told(0, 0, 0), counted(costs), 0).0, Verdict::Behind);
    }

    #[test]
    fn less_billed_than_counted_is_told_once_there_was_time_to_add_it_up() {
        let of = |settled| counted([0, 0, 5 * USD]).map(|counted| Counted { settled, ..counted });
        assert_eq!(verdict(&told(0, 0, 4 * USD), of(4 * USD), 0).0, Verdict::Behind);
        let less = verdict(&told(0, 0, 4 * USD), of(5 * USD), 0);
        assert_eq!(less, (Verdict::Less, Some(Period::Monthly), -USD));
    }

    #[test]
    fn an_attempt_may_cost_some_times_the_dearest_of_its_model() {
        let dearest = [("dear".to_owned(), USD), ("cheap".to_owned(), 1)].into();
        assert_eq!(most(&dearest, "dear"), 4 * USD);
        assert_eq!(most(&dearest, "cheap"), USD / 10);
        assert_eq!(most(&dearest, "another"), 4 * USD);
        assert_eq!(most(&HashMap::new(), "another"), USD);
    }

    #[test]
    fn what_was_spent_before_hermux_knew_the_key_does_not_alarm() {
        let info = told(USD, 5 * USD, 9 * USD);
        let counted = || counted([USD, USD, USD]);
        let today = NOW.0 - NOW.0 % DAY;
        assert_eq!(verdict(&info, counted(), NOW.0), (Verdict::TooEarly, None, 0));
        assert_eq!(verdict(&info, counted(), today + 1).0, Verdict::TooEarly);
        let more = verdict(&told(11 * USD, 11 * USD, 11 * USD), counted(), today + 1);
        assert_eq!(
            more,
            (Verdict::TooEarly, Some(Period::Daily), 10 * USD),
            "what is known of today is told"
        );
        assert_eq!(verdict(&info, counted(), today), (Verdict::Equal, Some(Period::Daily), 0));
        assert_eq!(
            verdict(&info, counted(), today - 2 * DAY),
            (Verdict::Outside, Some(Period::Weekly), 4 * USD)
        );
        assert_eq!(
            verdict(&info, counted(), today - 24 * DAY),
            (Verdict::Outside, Some(Period::Monthly), 8 * USD)
        );
        assert_eq!(verdict(&KeyInfo::default(), counted(), 0).0, Verdict::Untold);
    }

    #[test]
    fn a_key_with_another_secret_is_known_anew() {
        let key =
            |secret: &str| Key::new(KeyName::parse("a").unwrap(), &Secret::new(format!("sk-or-v1-{secret}")));
        let mut seen = Seen::default();
        let value = seen.add(&key("one"), Time(5));
        assert!(!value.contains("one"), "{value}");
        let read = Seen::new(vec![("a".to_owned(), value)]);
        assert_eq!((read.since(&key("one")), read.since(&key("two"))), (Some(Time(5)), None));
    }
}
