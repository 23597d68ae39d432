//! Whether the ledger agrees with what `GET /key` tells of each key: equal, missed here, or spent outside hermux.

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::clock::Time;
use crate::keys::Key;
use crate::ledger::query::{self, By, Figures, QueryError, Question, Value};
use crate::openrouter::account::{KeyInfo, Period};

/// The kind of note that tells since when a key is known; a key that changed its secret begins anew.
pub(super) const SEEN: &str = "seen";

/// The periods that are compared, the shortest first.
pub(super) const PERIODS: [Period; 3] = [Period::Daily, Period::Weekly, Period::Monthly];

/// By how much two equal amounts may differ, nano-dollars: a millionth of a dollar, since upstream adds up in floating point,
/// and half a nano-dollar an attempt, which is what rounding each cost may take.
const TOLERANCE: i64 = 1_000;

/// How two accounts of one key compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They agree.
    Equal,
    /// More was billed than counted, and the ledger knows of attempts whose cost it does not have.
    Missed,
    /// More was billed than counted, and nothing here explains it: somebody else may have the key.
    Outside,
    /// Less was billed than counted: upstream has not added up everything yet.
    Behind,
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
            Self::TooEarly => "too early to tell",
            Self::Untold => "not told",
        }
    }

    /// Whether a person should look.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Missed | Self::Outside)
    }
}

/// What is known of a key in one period that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// What the ledger counted, nano-dollars.
    pub(super) cost: i64,
    /// How many attempts that was.
    pub(super) attempts: u64,
    /// Attempts whose cost is not known, or not yet.
    pub(super) missing: u64,
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
    /// The period that the verdict is about, and by how much more was told than counted, nano-dollars.
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
    let (verdict, difference) = match longest.and_then(|at| Some((told[at]?, &counted[at]))) {
        None if told.iter().all(Option::is_none) => (Verdict::Untold, 0),
        None => (Verdict::TooEarly, 0),
        Some((told, counted)) => {
            let difference = told.saturating_sub(counted.cost);
            let rounding = i64::try_from(counted.attempts / 2).unwrap_or(i64::MAX);
            let verdict = if difference.saturating_abs() <= TOLERANCE.saturating_add(rounding) {
                Verdict::Equal
            } else if difference < 0 {
                Verdict::Behind
            } else if counted.missing > 0 {
                Verdict::Missed
            } else {
                Verdict::Outside
            };
            (verdict, difference)
        }
    };
    let period = longest.map(|at| PERIODS[at]);
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
    counted: [HashMap<String, Figures>; 3],
    queued: HashMap<String, u64>,
    used: HashMap<String, Time>,
    since: Option<Time>,
    now: Time,
}

impl Books {
    /// Reads what was counted at `now` of `keys`, of all where there are none.
    pub(super) fn read(directory: &Path, keys: &[String], now: Time) -> Result<Self, QueryError> {
        let since = query::since(directory)?;
        let period = |period: Period| -> Result<_, QueryError> {
            let question = Question {
                by: vec![By::Key],
                since: Some(period.start(now)),
                keys: keys.to_vec(),
                ..Question::default()
            };
            let groups = query::figures(directory, &question)?.into_iter();
            Ok(groups
                .filter_map(|group| match group.is.into_iter().next() {
                    Some(Value::Name(name)) => Some((name, group.figures)),
                    _ => None,
                })
                .collect())
        };
        let before = Time(Period::Monthly.start(now).0.saturating_sub(31 * 86_400_000));
        Ok(Self {
            counted: [period(PERIODS[0])?, period(PERIODS[1])?, period(PERIODS[2])?],
            queued: query::queued(directory)?,
            used: if keys.is_empty() { query::first_used(directory, before)? } else { HashMap::new() },
            since,
            now,
        })
    }

    /// Compares them with what upstream `told` of `key`, which is known since `seen`, else since it was used first.
    pub(super) fn compare(&self, key: &Key, told: &KeyInfo, seen: Option<Time>) -> Comparison {
        let name = key.name().as_str();
        let queued = self.queued.get(name).copied().unwrap_or(0);
        let counted = |at: usize| {
            let figures = self.counted[at].get(name);
            figures.map_or_else(Counted::default, |figures| Counted {
                cost: figures.cost,
                attempts: figures.attempts,
                missing: figures.unsettled + queued,
            })
        };
        let known = seen.or_else(|| self.used.get(name).copied()).unwrap_or(self.now);
        let known = known.max(self.since.unwrap_or(self.now));
        compare(name, told, [counted(0), counted(1), counted(2)], known, self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Seen, Verdict, compare};
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
        costs.map(|cost| Counted { cost, attempts: 10, missing: 0 })
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
        let missing = counted(costs).map(|counted| Counted { missing: 1, ..counted });
        assert_eq!(verdict(&told(0, 0, 3 * USD), missing, 0).0, Verdict::Missed);
        assert_eq!(verdict(&told(0, 0, 0), counted(costs), 0).0, Verdict::Behind);
    }

    #[test]
    fn what_was_spent_before_hermux_knew_the_key_does_not_alarm() {
        let info = told(USD, 5 * USD, 9 * USD);
        let counted = || counted([USD, USD, USD]);
        let today = NOW.0 - NOW.0 % DAY;
        assert_eq!(verdict(&info, counted(), NOW.0), (Verdict::TooEarly, None, 0));
        assert_eq!(verdict(&info, counted(), today + 1).0, Verdict::TooEarly);
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
