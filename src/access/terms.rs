//! What the operator lets an access token do: the attributes of its line in `allow.txt`.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::clock::{Day, Time};

/// Bounds of one access token; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// `expires`: from then on it lets nobody in.
    pub expires: Option<Time>,
    /// `models`: patterns of the models that may be used, `*` standing for any text, as in `tokens.csv`; empty for all.
    pub models: Box<[Box<str>]>,
    /// `rpm`: requests of models within any 60 seconds, 1 to 100,000.
    pub rpm: Option<u32>,
    /// `daily_requests`: requests of models in a UTC day.
    pub daily_requests: Option<u64>,
    /// `daily_cost`: nano-dollars (1e-9 USD) in a UTC day.
    pub daily_cost: Option<i64>,
    /// `keys`: the names of the keys that may serve its requests; none for any.
    pub keys: Option<Arc<[Box<str>]>>,
}

/// The most that `rpm` can be: the moments of so many requests are remembered.
const HIGHEST_RATE: u32 = 100_000;

/// An attribute of a line, written as `name=value`; a value with blanks stands in double quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `name`: what the caller is called.
    Name,
    /// `expires`: a date, which is the last day (UTC), or a moment such as `2026-12-31T18:00:00Z`.
    Expires,
    /// `models`: patterns such as `openai/*`, several parted by commas or semicolons.
    Models,
    /// `rpm`: a whole number.
    Rpm,
    /// `daily_requests`: a whole number.
    DailyRequests,
    /// `daily_cost`: US dollars such as `5` or `0.25`, to the nano-dollar.
    DailyCost,
    /// `keys`: names of keys, several parted by commas.
    Keys,
}

impl Attribute {
    pub(super) const ALL: [Self; 7] = [
        Self::Name,
        Self::Expires,
        Self::Models,
        Self::Rpm,
        Self::DailyRequests,
        Self::DailyCost,
        Self::Keys,
    ];

    /// As it stands before the `=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Expires => "expires",
            Self::Models => "models",
            Self::Rpm => "rpm",
            Self::DailyRequests => "daily_requests",
            Self::DailyCost => "daily_cost",
            Self::Keys => "keys",
        }
    }

    /// What belongs behind the `=`, as a hint.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Name => "use 1 to 128 printable characters, in double quotes where there are blanks",
            Self::Expires => "write the last day (UTC), 2026-12-31, or a moment, 2026-12-31T18:00:00Z",
            Self::Models => "write patterns of models, such as models=openai/*,*:free",
            Self::Rpm => "write how many requests a minute may have, from 1 to 100000, such as rpm=60",
            Self::DailyRequests => "write how many requests a UTC day may have, such as daily_requests=500",
            Self::DailyCost => {
                "write US dollars above 0, such as daily_cost=5 or 0.25, with at most 9 digits behind the point"
            }
            Self::Keys => "write names of keys in tokens.csv, such as keys=ann,bob",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.word() == word)
    }

    /// The one that a slip of the finger may have turned into `word`.
    pub(super) fn near(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase().replace('-', "_");
        let near = Self::ALL.into_iter().map(|known| (distance(&word, known.word()), known));
        let (slips, known) = near.min_by_key(|(slips, _)| *slips)?;
        (slips <= known.word().len() / 3).then_some(known)
    }
}

/// How many letters must be added, removed or changed to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl Terms {
    /// Takes over a value; false where its text does not belong there. A name is nothing of these.
    pub fn set(&mut self, attribute: Attribute, text: &str) -> bool {
        let done = match attribute {
            Attribute::Name => None,
            Attribute::Expires => moment(text).map(|at| self.expires = Some(at)),
            Attribute::Models => models(text).map(|models| self.models = models),
            Attribute::Rpm => whole(text)
                .and_then(|rate| u32::try_from(rate).ok())
                .filter(|rate| (1..=HIGHEST_RATE).contains(rate))
                .map(|rate| self.rpm = Some(rate)),
            Attribute::DailyRequests => {
                whole(text).filter(|most| *most > 0).map(|most| self.daily_requests = Some(most))
            }
            Attribute::DailyCost => {
                dollars(text).filter(|most| *most > 0).map(|most| self.daily_cost = Some(most))
            }
            Attribute::Keys => keys(text).map(|keys| self.keys = Some(keys)),
        };
        done.is_some()
    }

    /// The value of an attribute as it is to be written; none where nothing is bounded.
    #[must_use]
    pub fn get(&self, attribute: Attribute) -> Option<String> {
        match attribute {
            Attribute::Name => None,
            Attribute::Expires => self.expires.map(rfc3339),
            Attribute::Models => (!self.models.is_empty()).then(|| self.models.join(",")),
            Attribute::Rpm => self.rpm.map(|rate| rate.to_string()),
            Attribute::DailyRequests => self.daily_requests.map(|most| most.to_string()),
            Attribute::DailyCost => self.daily_cost.map(in_dollars),
            Attribute::Keys => self.keys.as_ref().map(|keys| keys.join(",")),
        }
    }

    /// All that is bounded, as it stands in a line: `expires=… rpm=60`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for attribute in Attribute::ALL {
            if let Some(value) = self.get(attribute) {
                let blank = if text.is_empty() { "" } else { " " };
                // Writing to text can't fail.
                let _ = write!(text, "{blank}{}={}", attribute.word(), quoted(&value));
            }
        }
        text
    }

    /// Whether it lets nobody in any more.
    #[must_use]
    pub fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether what its caller uses is bounded, and so has to be counted.
    #[must_use]
    pub fn bounds_use(&self) -> bool {
        self.rpm.is_some() || self.daily_requests.is_some() || self.daily_cost.is_some()
    }
}

/// `value` as it can stand behind a `=`.
pub(super) fn quoted(value: &str) -> String {
    if !value.is_empty() && !value.contains([' ', '"', '\\', '#']) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn whole(text: &str) -> Option<u64> {
    // `parse` alone would let a plus sign in.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// US dollars in nano-dollars; none where that is not exact.
fn dollars(text: &str) -> Option<i64> {
    let (before, behind) = text.split_once('.').unwrap_or((text, "0"));
    if before.is_empty() || behind.is_empty() || behind.len() > 9 {
        return None;
    }
    whole(&format!("{before}{behind:0<9}")).and_then(|nanos| i64::try_from(nanos).ok())
}

fn in_dollars(nanos: i64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A moment, or the end of a day.
fn moment(text: &str) -> Option<Time> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Time(at.as_millisecond()));
    }
    let is_date = text.len() == "2026-12-31".len() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date = is_date.then(|| text.parse::<Date>().ok())??;
    let days = (date - Date::constant(1970, 1, 1)).get_days();
    Some(Day(days).next().start())
}

/// A moment as it stands in a line, to the second.
fn rfc3339(at: Time) -> String {
    Timestamp::from_second(at.0.div_euclid(1000)).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}

fn models(text: &str) -> Option<Box<[Box<str>]>> {
    let parts =
        text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty());
    let fine = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') && !part.contains("sk-or-")
    };
    let models: Box<[Box<str>]> = parts.map(|part| fine(part).then(|| part.into())).collect::<Option<_>>()?;
    // Nothing at all would be all of them.
    (!models.is_empty()).then_some(models)
}

fn keys(text: &str) -> Option<Arc<[Box<str>]>> {
    let fine = |name: &str| {
        matches!(name.len(), 1..=128)
            && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
            && !name.contains("sk-or-")
    };
    text.split(',').map(str::trim).map(|name| fine(name).then(|| name.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Attribute, Terms};
    use crate::clock::Time;

    fn set(attribute: Attribute, text: &str) -> Option<Terms> {
        let mut terms = Terms::default();
        terms.set(attribute, text).then_some(terms)
    }

    #[test]
    fn a_day_is_valid_to_its_end_and_a_moment_to_the_second() {
        for (text, ms) in [
            ("2026-12-31", Some(1_798_761_600_000)),
            ("2026-12-31T18:00:00Z", Some(1_798_740_000_000)),
            ("2026-12-31T19:00:00+01:00", Some(1_798_740_000_000)),
            ("1970-01-01", Some(86_400_000)),
            ("2026-13-01", None),
            ("2026-2-1", None),
            ("20261231", None),
            ("tomorrow", None),
            ("30d", None),
            ("", None),
        ] {
            assert_eq!(set(Attribute::Expires, text).and_then(|terms| terms.expires), ms.map(Time), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_strictly_and_none_of_them_is_zero() {
        for (text, rate) in [("60", Some(60)), ("100000", Some(100_000)), ("0", None), ("100001", None)] {
            assert_eq!(set(Attribute::Rpm, text).and_then(|terms| terms.rpm), rate, "{text}");
        }
        for bad in ["", "-1", "+1", "1.5", "1e3", "many", "99999999999999999999999", "0"] {
            assert_eq!(set(Attribute::DailyRequests, bad), None, "{bad}");
        }
        for (text, nanos) in [
            ("5", Some(5_000_000_000)),
            ("0.25", Some(250_000_000)),
            ("0.000000001", Some(1)),
            ("0", None),
            ("0.0", None),
            (".5", None),
            ("5.", None),
            ("$5", None),
            ("1.0000000001", None),
            ("99999999999", None),
        ] {
            assert_eq!(set(Attribute::DailyCost, text).and_then(|terms| terms.daily_cost), nanos, "{text}");
        }
    }

    #[test]
    fn lists_are_never_empty_and_hold_no_key() {
        let models = |text| set(Attribute::Models, text).map(|terms| terms.models.join(" "));
        assert_eq!(models("openai/*,*:free;x/y").as_deref(), Some("openai/* *:free x/y"));
        let keys = |text| set(Attribute::Keys, text).and_then(|terms| terms.keys).map(|keys| keys.join("+"));
        assert_eq!(keys("ann, team red").as_deref(), Some("ann+team red"));
        for bad in ["", " ", "sk-or-v1-12", "é"] {
            assert_eq!((models(bad), keys(bad)), (None, None), "{bad}");
        }
        assert_eq!((models(","), keys("a,,b")), (None, None));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut terms = Terms::default();
        for (attribute, text) in [
            (Attribute::Expires, "2026-12-31T18:00:00Z"),
            (Attribute::Models, "openai/*,*:free"),
            (Attribute::Rpm, "60"),
            (Attribute::DailyRequests, "500"),
            (Attribute::DailyCost, "0.25"),
            (Attribute::Keys, "ann,team red"),
        ] {
            assert!(terms.set(attribute, text));
            assert_eq!(terms.get(attribute).as_deref(), Some(text));
        }
        assert_eq!(
            terms.text(),
            "expires=2026-12-31T18:00:00Z models=openai/*,*:free rpm=60 daily_requests=500 daily_cost=0.25 \
             keys=\"ann,team red\""
        );
    }

    #[test]
    fn a_near_match_is_suggested_for_a_slip_and_for_nothing_else() {
        for (word, near) in [
            ("expire", Some(Attribute::Expires)),
            ("daily-request", Some(Attribute::DailyRequests)),
            ("Models", Some(Attribute::Models)),
            ("rpn", Some(Attribute::Rpm)),
            ("key", Some(Attribute::Keys)),
            ("hmx_geheim", None),
            ("weight", None),
            ("", None),
        ] {
            assert_eq!(Attribute::near(word), near, "{word}");
        }
    }
}
