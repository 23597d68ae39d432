//! What was typed behind `hermux stats`, as questions to the ledger.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::cli::{StatsArgs, StatsBy};
use crate::clock::{Day, Time};
use crate::commands::Usage;
use crate::ledger::query::{By, Question};

/// An hour, milliseconds: of sums, whole ones are read.
const HOUR: i64 = 3_600_000;

/// What is to be shown.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What to group by.
    pub(super) by: Vec<By>,
    /// What beside that is asked for, grouped by nothing yet.
    pub(super) question: Question,
    /// Whether it is of this whole day alone.
    pub(super) is_today: bool,
    /// Whether nothing was typed that restricts it to anything else than today.
    pub(super) is_plain: bool,
}

impl Asked {
    pub(super) fn new(args: &StatsArgs, now: Time) -> Result<Self, Usage> {
        let today = now.day();
        let until = args.until.as_deref().map(|text| moment("--until", text, now, true)).transpose()?;
        let since = match &args.since {
            Some(text) => Some(moment("--since", text, now, false)?),
            None if until.is_some() => None,
            None => Some(today.start()),
        };
        // As the ledger reads them: whole hours.
        let since = since.map(|since| Time(since.0.div_euclid(HOUR).saturating_mul(HOUR)));
        let until =
            until.map(|until| Time(until.0.saturating_add(HOUR - 1).div_euclid(HOUR).saturating_mul(HOUR)));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Usage("nothing lies between --since and --until: --until comes first".to_owned()));
        }
        let mut by = Vec::new();
        for wanted in &args.by {
            let wanted = plain(*wanted);
            if !by.contains(&wanted) {
                by.push(wanted);
            }
        }
        if by.is_empty() {
            by.push(By::Key);
        }
        let is_today =
            since == Some(today.start()) && until.is_none_or(|until| until >= today.next().start());
        let filters = [&args.key, &args.model, &args.caller];
        Ok(Self {
            by,
            question: Question {
                since,
                until,
                keys: args.key.clone(),
                models: args.model.clone(),
                callers: args.caller.clone(),
                ..Question::default()
            },
            is_today,
            is_plain: is_today && filters.iter().all(|filter| filter.is_empty()),
        })
    }

    /// Whether what is known of keys beside the ledger is wanted.
    pub(super) fn needs_known(&self, json: bool) -> bool {
        self.by.contains(&By::Account) || self.is_today && (json || self.by == [By::Key])
    }

    /// The question grouped by `by`, with the accounts of keys.
    pub(super) fn grouped(&self, by: &[By], accounts: &HashMap<String, String>) -> Question {
        Question { by: by.to_vec(), accounts: accounts.clone(), ..self.question.clone() }
    }

    /// Of when and what it is, for people.
    pub(super) fn title(&self, now: Time) -> String {
        let mut title = match (self.question.since, self.question.until) {
            _ if self.is_today => format!("today, {}", now.day()),
            (None, None) => "all".to_owned(),
            (Some(since), None) => format!("since {}", shown(since)),
            (None, Some(until)) => format!("until {}", last(until)),
            (Some(since), Some(until)) => match (shown(since), last(until)) {
                (first, last) if first == last => first,
                (first, last) => format!("{first} to {last}"),
            },
        };
        title.push_str(" (UTC)");
        let question = &self.question;
        let filters = [("key", &question.keys), ("model", &question.models), ("caller", &question.callers)];
        for (what, patterns) in filters {
            if !patterns.is_empty() {
                title.extend([", ", what, " ", &super::clean(&patterns.join(" or "))]);
            }
        }
        title
    }
}

fn plain(by: StatsBy) -> By {
    match by {
        StatsBy::Key => By::Key,
        StatsBy::Model => By::Model,
        StatsBy::Caller => By::Caller,
        StatsBy::Day => By::Day,
        StatsBy::Hour => By::Hour,
        StatsBy::Status => By::Status,
        StatsBy::Account => By::Account,
    }
}

fn is_midnight(at: Time) -> bool {
    at == at.day().start()
}

fn shown(at: Time) -> String {
    if is_midnight(at) { at.day().to_string() } else { minute(at) }
}

/// The end of a span: its last day, where it ends with one.
fn last(until: Time) -> String {
    if is_midnight(until) { Time(until.0 - 1).day().to_string() } else { minute(until) }
}

/// `2026-11-01 18:00`.
pub(super) fn minute(at: Time) -> String {
    let at = Timestamp::from_millisecond(at.0);
    at.map_or_else(|_| "a time unknown".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

/// The moment that `text` means; a day is its first moment, or its end where it is the last one.
fn moment(flag: &str, text: &str, now: Time, is_last: bool) -> Result<Time, Usage> {
    let of_day = |day: Day| if is_last { day.next().start() } else { day.start() };
    let known = match text {
        "today" => Some(of_day(now.day())),
        "yesterday" => Some(of_day(Day(now.day().0 - 1))),
        _ => day(text).map(of_day).or_else(|| ago(text, now)).or_else(|| {
            let at = text.parse::<Timestamp>().ok()?;
            Some(Time(at.as_millisecond()))
        }),
    };
    known.ok_or_else(|| {
        Usage(format!(
            "{flag} is no time: {}\nhint: write today, yesterday, 7d, 2026-11-01 or 2026-11-01T18:00:00Z",
            text.escape_debug()
        ))
    })
}

/// `2026-11-01`.
fn day(text: &str) -> Option<Day> {
    let is_date = text.len() == "2026-11-01".len() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date: Date = is_date.then(|| text.parse().ok())??;
    Some(Day((date - Date::constant(1970, 1, 1)).get_days()))
}

/// `7d`, `12h`: that long before `now`.
fn ago(text: &str, now: Time) -> Option<Time> {
    let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    let span: Span = begins_well.then(|| text.parse().ok())??;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let millis = i64::try_from(length.as_millis()).ok().filter(|millis| *millis >= 0)?;
    Some(Time(now.0.saturating_sub(millis)))
}

#[cfg(test)]
mod tests {
    use super::{Asked, HOUR, moment};
    use crate::cli::StatsArgs;
    use crate::clock::{Day, Time};

    /// 2024-10-04T12:30:00Z.
    const NOW: Time = Time(Day(20_000).0 as i64 * 24 * HOUR + 12 * HOUR + HOUR / 2);

    fn title(since: Option<&str>, until: Option<&str>) -> Result<String, String> {
        let [since, until] = [since, until].map(|text| text.map(str::to_owned));
        let asked = Asked::new(&StatsArgs { since, until, ..StatsArgs::default() }, NOW);
        asked.map(|asked| asked.title(NOW)).map_err(|error| error.to_string())
    }

    #[test]
    fn times_are_understood_in_every_form() {
        let midnight = Day(20_000).start().0;
        for (text, since, until) in [
            ("today", midnight, midnight + 24 * HOUR),
            ("yesterday", midnight - 24 * HOUR, midnight),
            ("2024-10-04", midnight, midnight + 24 * HOUR),
            ("2h", NOW.0 - 2 * HOUR, NOW.0 - 2 * HOUR),
            ("7d", NOW.0 - 7 * 24 * HOUR, NOW.0 - 7 * 24 * HOUR),
            ("2024-10-04T02:00:00+02:00", midnight, midnight),
        ] {
            let of = |is_last| moment("--since", text, NOW, is_last).unwrap().0;
            assert_eq!((of(false), of(true)), (since, until), "{text}");
        }
        for text in ["", "7", "tomorrow", "2024-13-01", "2024-10-04T02:00:00", "-7d", "2024-10-4", "x\u{1b}"]
        {
            let said = moment("--until", text, NOW, false).unwrap_err().to_string();
            assert!(
                said.starts_with("--until is no time: ") && said.contains("\nhint: write today,"),
                "{said}"
            );
            assert!(!said.contains('\u{1b}'));
        }
    }

    #[test]
    fn the_title_says_of_when_it_is() {
        for (since, until, expected) in [
            (None, None, "today, 2024-10-04 (UTC)"),
            (Some("today"), Some("today"), "today, 2024-10-04 (UTC)"),
            (Some("yesterday"), Some("yesterday"), "2024-10-03 (UTC)"),
            (Some("2024-09-01"), Some("2024-09-30"), "2024-09-01 to 2024-09-30 (UTC)"),
            (Some("2h"), None, "since 2024-10-04 10:00 (UTC)"),
            (Some("1d"), Some("2h"), "2024-10-03 12:00 to 2024-10-04 11:00 (UTC)"),
            (None, Some("yesterday"), "until 2024-10-03 (UTC)"),
        ] {
            assert_eq!(title(since, until).as_deref(), Ok(expected));
        }
        let said = title(Some("today"), Some("yesterday")).unwrap_err();
        assert_eq!(said, "nothing lies between --since and --until: --until comes first");
    }
}
