//! `hermux stats` for programs: one JSON object, or lines of CSV, under the same names.

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::free::Free;
use super::{Found, dollars};
use crate::clock::Time;
use crate::ledger::query::{By, Figures, Group, Value};

/// One figure.
#[derive(Clone, Copy, Debug)]
enum Figure {
    Count(u64),
    /// Not known.
    None,
    /// Nano-dollars, written digit by digit: a float would not be exact.
    Usd(i64),
}

/// The figures under their names, which are documented and stay.
fn figures(of: &Figures) -> [(&'static str, Figure); 14] {
    let percentile = |percent| {
        let found = of.first_byte.percentile(percent);
        found
            .map_or(Figure::None, |found| Figure::Count(u64::try_from(found.as_millis()).unwrap_or(u64::MAX)))
    };
    [
        ("requests", Figure::Count(of.requests)),
        ("attempts", Figure::Count(of.attempts)),
        ("prompt_tokens", Figure::Count(of.prompt_tokens)),
        ("completion_tokens", Figure::Count(of.completion_tokens)),
        ("cost_usd", Figure::Usd(of.cost)),
        ("errors", Figure::Count(of.errors)),
        ("waits", Figure::Count(of.waits)),
        ("unsettled", Figure::Count(of.unsettled)),
        ("reasoning_tokens", Figure::Count(of.reasoning_tokens)),
        ("cached_tokens", Figure::Count(of.cached_tokens)),
        ("cache_write_tokens", Figure::Count(of.cache_write_tokens)),
        ("upstream_cost_usd", Figure::Usd(of.upstream_cost)),
        ("first_byte_p50_ms", percentile(50)),
        ("first_byte_p95_ms", percentile(95)),
    ]
}

fn quota(free: Option<Free>) -> [(&'static str, Figure); 2] {
    let count = |of: fn(Free) -> u64| free.map_or(Figure::None, |free| Figure::Count(of(free)));
    [("free_day_used", count(|free| free.used)), ("free_day_limit", count(|free| free.limit))]
}

/// What a column of groups is called.
pub(super) fn name(by: By) -> &'static str {
    match by {
        By::Key => "key",
        By::Model => "model",
        By::Caller => "caller",
        By::Day => "day",
        By::Hour => "hour",
        By::Status => "status",
        By::Account => "account",
    }
}

/// What a group stands for; none for a status that there is not.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Name(name) => Some(name.clone()),
        Value::Day(day) => Some(day.to_string()),
        Value::Hour(hour) => rfc3339(*hour),
        Value::Status(status) => status.map(|status| status.to_string()),
    }
}

/// A moment as RFC 3339: `2026-11-22T12:00:00Z`.
fn rfc3339(at: Time) -> Option<String> {
    Timestamp::from_millisecond(at.0).ok().map(|at| at.to_string())
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => count.serialize(serializer),
            Self::None => serializer.serialize_none(),
            Self::Usd(nanos) => RawValue::from_string(dollars(*nanos, 0))
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    keys: Vec<Line<'a>>,
    models: Vec<Line<'a>>,
    callers: Vec<Line<'a>>,
    days: Vec<Line<'a>>,
    total: Line<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Line<'a>>>,
    since: Option<String>,
    until: Option<String>,
}

/// One line: what it stands for, then its figures.
struct Line<'a> {
    is: Vec<(&'static str, &'a Value)>,
    figures: &'a Figures,
    /// Where there is one, whether it is known or not.
    quota: Option<[(&'static str, Figure); 2]>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.is {
            match value {
                Value::Status(status) => map.serialize_entry(name, status)?,
                _ => map.serialize_entry(name, &text(value))?,
            }
        }
        for (name, figure) in figures(self.figures).into_iter().chain(self.quota.into_iter().flatten()) {
            map.serialize_entry(name, &figure)?;
        }
        map.end()
    }
}

/// The parts of the JSON object that are always there, in its order.
pub(super) const PARTS: [By; 4] = [By::Key, By::Model, By::Caller, By::Day];

/// The JSON object: `parts` are groups by [`PARTS`]; the groups of `found` where those were asked for.
pub(super) fn json(found: &Found, parts: &[Vec<Group>], grouped: bool) -> serde_json::Result<String> {
    let part = |at: usize| -> Vec<Line<'_>> {
        let groups = parts.get(at).map_or(&[][..], Vec::as_slice);
        let line = |group| line(found, group, &["name"], &[PARTS[at]]);
        groups.iter().map(line).collect()
    };
    let names: Vec<_> = found.asked.by.iter().copied().map(name).collect();
    let groups = || found.groups.iter().map(|group| line(found, group, &names, &found.asked.by)).collect();
    let at = |time: Option<Time>| time.and_then(rfc3339);
    let object = Object {
        keys: part(0),
        models: part(1),
        callers: part(2),
        days: part(3),
        total: Line { is: Vec::new(), figures: &found.total, quota: None },
        groups: grouped.then(groups),
        since: at(found.asked.question.since),
        until: at(found.asked.question.until),
    };
    Ok(serde_json::to_string(&object)? + "\n")
}

fn line<'a>(found: &Found, group: &'a Group, names: &[&'static str], by: &[By]) -> Line<'a> {
    // The columns stay, whatever is known.
    let has_quota = matches!(by, [By::Key | By::Account]);
    Line {
        is: names.iter().copied().zip(&group.is).collect(),
        figures: &group.figures,
        quota: has_quota.then(|| quota(found.free(by, group))),
    }
}

/// The groups as CSV, below their names.
pub(super) fn csv(found: &Found) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = figures(&found.total).into_iter().chain(quota(None));
    let names = found.asked.by.iter().copied().map(name);
    writer.write_record(names.chain(columns.map(|(name, _)| name)))?;
    for group in &found.groups {
        let is = group.is.iter().map(|value| text(value).unwrap_or_default());
        let figures = figures(&group.figures).into_iter().chain(quota(found.free(&found.asked.by, group)));
        let figures = figures.map(|(_, figure)| match figure {
            Figure::Count(count) => count.to_string(),
            Figure::None => String::new(),
            Figure::Usd(nanos) => dollars(nanos, 0),
        });
        writer.write_record(is.chain(figures))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
