//! When the cause of a fault ends: what the answer hints, where it can be believed, else what its kind implies.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::fmt::rfc2822;

use crate::clock::Time;

use super::super::account::{Period, end_of_minute};
use super::said::{ErrorSaid, Field};
use super::{Kind, Resets};

/// The shortest rest: a reset that just passed may be a matter of two clocks.
const SHORTEST: Duration = Duration::from_secs(1);

/// Up to so much the two clocks may seem to differ because an answer takes its time and `Date` tells whole seconds,
/// milliseconds.
const SEEMING_MS: u64 = 2_000;

/// Clocks that differ by more are not believed to: then `Date` is none of a clock, milliseconds.
const MOST_MS: u64 = 86_400_000;

/// A turn of a window that passed this long ago at most may be a matter of two clocks where no `Date` tells of them,
/// milliseconds.
const JUST_NOW_MS: i64 = 15_000;

/// When what `kind` tells of ends; at least one second ahead. None where no time ends it, or none is known.
pub(super) fn until(kind: Kind, error: &ErrorSaid, headers: &HeaderMap, now: Time) -> Option<Time> {
    if !ends_by_itself(kind) {
        return None;
    }
    // Resets, minutes and days are those of OpenRouter's clock.
    let ahead = ahead(headers, now);
    let there = Time(now.0.saturating_add(ahead));
    until_there(kind, error, headers, there).map(|at| Time(at.0.saturating_sub(ahead)))
}

/// By how much upstream's clock is ahead of ours, as `Date` tells, milliseconds; none of it where that may only seem so.
fn ahead(headers: &HeaderMap, now: Time) -> i64 {
    let date = || date(headers.get(DATE)?.to_str().ok()?);
    let ahead = date().map_or(0, |date| date.0.saturating_sub(now.0));
    if (SEEMING_MS + 1..=MOST_MS).contains(&ahead.unsigned_abs()) { ahead } else { 0 }
}

/// The same, by one clock.
fn until_there(kind: Kind, error: &ErrorSaid, headers: &HeaderMap, now: Time) -> Option<Time> {
    // Nothing but a cap lasts longer than the UTC day: a later hint is a mistake or another's.
    let latest = if matches!(kind, Kind::KeyCap(_)) { Time(i64::MAX) } else { Period::Daily.end(now) };
    // A window that is used up has not turned; one that turned just now did so by another clock.
    let earliest = match kind {
        Kind::FreePerMinute { .. } | Kind::FreePerDay { .. } => Time(now.0.saturating_sub(JUST_NOW_MS)),
        _ => Time(i64::MIN),
    };
    hints(error, headers, now)
        .into_iter()
        .flatten()
        .find(|hint| (earliest..=latest).contains(hint))
        .or_else(|| implied(kind, now))
        .map(|at| at.max(now.after(SHORTEST)))
}

fn ends_by_itself(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::KeyCap(_)
            | Kind::InFlight
            | Kind::FreePerMinute { .. }
            | Kind::FreePerDay { .. }
            | Kind::ProviderBusy
            | Kind::ProviderDown
            | Kind::Edge
            | Kind::Unidentified
    )
}

/// What the answer hints, the most reliable first: `X-RateLimit-*` were seen live in the body without standing
/// in the head.
fn hints(error: &ErrorSaid, headers: &HeaderMap, now: Time) -> [Option<Time>; 5] {
    let field =
        |field: &Field| field.number().and_then(|number| moment(number, now)).or_else(|| date(field.text()?));
    let header = |name| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        text.parse().ok().and_then(|number| moment(number, now)).or_else(|| date(text))
    };
    [
        field(&error.reset),
        field(&error.retry_after),
        header("x-ratelimit-reset"),
        header(RETRY_AFTER.as_str()),
        field(&error.available_after),
    ]
}

/// What a kind implies without any hint; all in UTC (`OpenRouter` docs, Limits page; minutes as seen live).
fn implied(kind: Kind, now: Time) -> Option<Time> {
    match kind {
        Kind::FreePerMinute { .. } => Some(end_of_minute(now)),
        Kind::FreePerDay { .. } => Some(Period::Daily.end(now)),
        Kind::KeyCap(Resets::Every(period)) => Some(period.end(now)),
        _ => None,
    }
}

/// The moment a number means: milliseconds or seconds since 1970, or seconds from now, told apart by its size.
fn moment(number: f64, now: Time) -> Option<Time> {
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as do the sums of it")]
    let whole = |number: f64| number as i64;
    Some(if number > 1e11 {
        Time(whole(number))
    } else if number > 1e9 {
        Time(whole(number * 1e3))
    } else {
        Time(now.0.saturating_add(whole((number * 1e3).ceil())))
    })
}

/// The moment of an HTTP date, `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Time> {
    let at = rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    Some(Time(at.as_millisecond()))
}
