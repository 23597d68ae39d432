//! Times, reasons and masked keys as a person reads them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use crate::clock::{Day, Time};
use crate::commands::ask::told;
use crate::commands::stats::dollars;
use crate::keys::need::{Told, Why};
use crate::keys::state::RestState;
use crate::openrouter::account::KeyInfo;

/// What stands where nothing is known, or nothing is limited.
pub(super) const NOTHING: &str = "-";

/// How many characters of a key are shown at either end.
const SHOWN: usize = 3;

/// The shortest rest behind the prefix of which some may be shown.
const LONG_ENOUGH: usize = 32;

/// `key` as it may be shown: `sk-or-v1-abc…890`, or `…` where it is not of that form.
pub(super) fn masked(key: &str) -> String {
    let prefix = "sk-or-v1-";
    match key.strip_prefix(prefix) {
        Some(rest) if rest.is_ascii() && rest.len() >= LONG_ENOUGH => {
            format!("{prefix}{}…{}", &rest[..SHOWN], &rest[rest.len() - SHOWN..])
        }
        _ => "…".to_owned(),
    }
}

/// The tier of an account: free where it never bought credits.
pub(super) fn tier(is_free: bool) -> &'static str {
    if is_free { "free" } else { "paid" }
}

/// What `OpenRouter` told of a key: its label, tier, limit and account.
pub(super) fn about(info: &KeyInfo, now: Time) -> String {
    let Told { account, cap_left, free_tier, .. } = told(info, now);
    let mut parts = Vec::new();
    parts.extend(info.label.as_ref().map(|label| format!("label {label}")));
    parts.extend(free_tier.map(|free| format!("tier {}", tier(free))));
    let each = info.limit_reset.map_or(String::new(), |period| format!(" {}", period.name()));
    let left = cap_left.map_or(String::new(), |left| format!(", {} USD left", dollars(left, 2)));
    parts.push(match info.limit {
        Some(limit) => format!("limit {} USD{each}{left}", dollars(limit, 2)),
        None => "no limit".to_owned(),
    });
    parts.extend(account.map(|account| format!("account {account}")));
    // From afar: nothing of it may move the cursor.
    parts.join(", ").chars().filter(|c| !c.is_control()).collect()
}

/// The sentence for the word of a reason; the word itself where it is a newer one.
pub(super) fn reason(word: &str) -> String {
    let known: StrDeserializer<'_, Error> = word.into_deserializer();
    Why::deserialize(known).map_or_else(|_| word.replace('_', " "), |why| why.words().to_owned())
}

/// The word of a reason, as it stands in JSON.
pub(super) fn word(why: Why) -> String {
    serde_json::to_value(why).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// What rests, until when and why: `free models resting until 12:34 UTC (in 5 min): …`.
pub(in crate::commands) fn rest(rest: &RestState, now: Time) -> String {
    let what = match rest.what.as_str() {
        "free" => "free models ",
        "paid" => "paid models ",
        "other" => "requests without a model ",
        _ => "",
    };
    let reason = reason(&rest.why);
    match rest.until_ms {
        Some(until) => format!("{what}{}", resting(&reason, until, now)),
        None => format!("{what}disabled: {reason}"),
    }
}

/// `resting until 12:34 UTC (in 5 min): …`.
pub(super) fn resting(reason: &str, until_ms: i64, now: Time) -> String {
    format!("resting until {}: {reason}", until_text(Time(until_ms), now))
}

/// `12:34 UTC (in 5 min)`, with the date where that is not within a day.
pub(in crate::commands) fn until_text(until: Time, now: Time) -> String {
    let wait = until.since(now).as_millis().div_ceil(1000);
    let time = match Timestamp::from_millisecond(until.0) {
        Ok(at) if wait < 86_400 => at.strftime("%H:%M").to_string(),
        Ok(at) => at.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => return "a time unknown".to_owned(),
    };
    let minutes = wait.div_ceil(60);
    let wait = match wait {
        0 => "now".to_owned(),
        1..60 => format!("in {wait} s"),
        60..3600 => format!("in {minutes} min"),
        3600..86_400 => match minutes % 60 {
            0 => format!("in {} h", minutes / 60),
            rest => format!("in {} h {rest} min", minutes / 60),
        },
        _ => match wait / 86_400 {
            1 => "in 1 day".to_owned(),
            days => format!("in {days} days"),
        },
    };
    format!("{time} UTC ({wait})")
}

/// `12:34 UTC`, with the date where that was on another day.
pub(super) fn since_text(at: Time, today: Day) -> String {
    let form = if at.day() == today { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    Timestamp::from_millisecond(at.0)
        .map_or_else(|_| "a time unknown".to_owned(), |at| at.strftime(form).to_string())
}

/// A moment as RFC 3339: `2026-11-22T12:34:56Z`.
pub(super) fn rfc3339(at_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(at_ms).ok().map(|at| at.to_string())
}

/// A table as hermux prints them: without lines and colors, as wide as its content, folded on a terminal that is narrower.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(header);
    table
}

/// The lines of `table`, its columns `numbers` lined up on the right.
pub(super) fn lines(mut table: Table, numbers: std::ops::Range<usize>) -> String {
    for column in table.column_iter_mut().skip(numbers.start).take(numbers.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    crate::commands::table::fit(&mut table);
    // Each cell has a blank before it, and those of the first column are not wanted.
    let bare = |line: &str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned();
    table.lines().fold(String::new(), |text, line| text + &bare(&line) + "\n")
}

#[cfg(test)]
mod tests {
    use super::{masked, reason, rest, rfc3339, since_text, word};
    use crate::clock::{Day, Time};
    use crate::keys::need::Why;
    use crate::keys::state::RestState;

    /// 2023-11-14T22:13:20Z.
    const NOW: Time = Time(1_700_000_000_000);

    #[test]
    fn of_a_key_three_characters_show_at_either_end_and_of_odd_ones_none() {
        let digits = "abc4567890abcdef0123456789abcdef0123456789abcdef0123456789abc890";
        assert_eq!(masked(&format!("sk-or-v1-{digits}")), "sk-or-v1-abc…890");
        for odd in [
            "",
            "sk-or-v1-",
            "sk-or-v1-abc890",
            "sk-proj-abcdef0123456789abcdef0123456789abcdef0123456789",
            "x",
        ] {
            assert_eq!(masked(odd), "…");
        }
    }

    #[test]
    fn every_reason_has_its_word_and_its_sentence() {
        assert_eq!(word(Why::FreeDay), "free_day");
        assert_eq!(reason("free_day"), Why::FreeDay.words());
        assert_eq!(reason("of_a_newer_server"), "of a newer server");
    }

    #[test]
    fn a_rest_says_what_until_when_and_why() {
        let shown = |what: &str, why: &str, until_ms: Option<i64>| {
            rest(&RestState { what: what.to_owned(), why: why.to_owned(), until_ms }, NOW)
        };
        let after = |seconds: i64| Some(NOW.0 + seconds * 1000);
        let end = "its account's free requests of this day (UTC) are used up";
        for (until, text) in [
            (after(-5), "22:13 UTC (now)"),
            (after(45), "22:14 UTC (in 45 s)"),
            (after(300), "22:18 UTC (in 5 min)"),
            (after(6400), "00:00 UTC (in 1 h 47 min)"),
            (after(7200), "00:13 UTC (in 2 h)"),
            (after(86_400), "2023-11-15 22:13 UTC (in 1 day)"),
            (after(3 * 86_400 + 60), "2023-11-17 22:14 UTC (in 3 days)"),
            (Some(i64::MAX), "a time unknown"),
        ] {
            assert_eq!(shown("free", "free_day", until), format!("free models resting until {text}: {end}"));
        }
        assert_eq!(shown("all", "refused", None), "disabled: OpenRouter refuses it");
        assert_eq!(shown("paid", "no_credits", None), "paid models disabled: its account has no credits");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(since_text(NOW, NOW.day()), "22:13 UTC");
        assert_eq!(since_text(NOW, Day(0)), "2023-11-14 22:13 UTC");
        assert_eq!(rfc3339(NOW.0).as_deref(), Some("2023-11-14T22:13:20Z"));
    }
}
