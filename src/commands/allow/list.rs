//! `hermux allow list`: each access token's caller, form, limits and use, as a table or as JSON; never the token.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use comfy_table::CellAlignment;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::access::Attribute;
use crate::access::file::{self, Entry};
use crate::cli::AllowListArgs;
use crate::clock::Time;
use crate::commands::stats::dollars;
use crate::commands::table;
use crate::ledger::query;
use crate::ledger::{CallerUse, LastUse};
use crate::proxy;

/// What stands where nothing is limited, or known.
const NOTHING: &str = "-";

/// Writes what stands in the file at `path`, and what the ledger in `data_dir` tells of it, to `out`.
pub(super) fn run(
    args: &AllowListArgs,
    path: &Path,
    data_dir: &Path,
    now: Time,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let entries = file::entries(path)?;
    let used = query::callers_at(data_dir, now, proxy::runs_model)?;
    let text = if args.json { json(&entries, &used, now)? } else { shown(&entries, &used, path, now) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Shown<'a> {
    callers: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    id: String,
    line: usize,
    form: &'static str,
    expires: Option<String>,
    expired: bool,
    models: Option<&'a [Box<str>]>,
    rpm: Option<u32>,
    daily_requests: Option<u64>,
    /// Written digit by digit: a float would not be exact.
    daily_cost_usd: Option<Box<RawValue>>,
    keys: Option<&'a [Box<str>]>,
    requests_today: u64,
    cost_today_usd: Box<RawValue>,
    last_used: Option<String>,
}

fn json(entries: &[Entry], used: &HashMap<Box<str>, CallerUse>, now: Time) -> serde_json::Result<String> {
    let exact = |nanos| RawValue::from_string(dollars(nanos, 0));
    let row = |entry: &'_ Entry| {
        let used = used.get(&*entry.caller).cloned().unwrap_or_default();
        Ok((entry.terms.daily_cost.map(exact).transpose()?, exact(used.cost)?, used))
    };
    let amounts = entries.iter().map(row).collect::<serde_json::Result<Vec<_>>>()?;
    let rows = entries.iter().zip(amounts).map(|(entry, (daily_cost_usd, cost_today_usd, used))| Row {
        name: &entry.caller,
        id: entry.digest.short(),
        line: entry.line,
        form: entry.form.word(),
        expires: entry.terms.get(Attribute::Expires),
        expired: entry.terms.has_expired(now),
        models: Some(&*entry.terms.models).filter(|models| !models.is_empty()),
        rpm: entry.terms.rpm,
        daily_requests: entry.terms.daily_requests,
        daily_cost_usd,
        keys: entry.terms.keys.as_deref(),
        requests_today: used.requests,
        cost_today_usd,
        last_used: used.last.map(|last| match last {
            LastUse::At(at) => rfc3339(at),
            LastUse::On(day) => day.to_string(),
        }),
    });
    Ok(serde_json::to_string(&Shown { callers: rows.collect() })? + "\n")
}

fn shown(entries: &[Entry], used: &HashMap<Box<str>, CallerUse>, path: &Path, now: Time) -> String {
    if entries.is_empty() {
        return format!(
            "no access tokens in {}\nhint: make one with: hermux allow gen NAME\n",
            path.display()
        );
    }
    let header = ["name", "id", "form", "requests today", "USD today", "last used", "expires", "limits"];
    let mut table = table::table(header);
    for entry in entries {
        let used = used.get(&*entry.caller).cloned().unwrap_or_default();
        let expires = match entry.terms.expires {
            None => NOTHING.to_owned(),
            Some(at) if entry.terms.has_expired(now) => format!("expired {}", moment(at)),
            Some(at) => moment(at),
        };
        let last = match used.last {
            None => NOTHING.to_owned(),
            Some(LastUse::At(at)) => moment(at),
            Some(LastUse::On(day)) => day.to_string(),
        };
        // It has a column of its own.
        let limits = crate::access::Terms { expires: None, ..entry.terms.clone() }.text();
        let limits = if limits.is_empty() { NOTHING.to_owned() } else { limits };
        table.add_row([
            entry.caller.to_string(),
            entry.digest.short(),
            entry.form.word().to_owned(),
            used.requests.to_string(),
            dollars(used.cost, 2),
            last,
            expires,
            limits,
        ]);
    }
    for column in table.column_iter_mut().skip(3).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table::lines(table)
}

/// `2026-11-22 10:31 UTC`.
pub(super) fn moment(at: Time) -> String {
    Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn rfc3339(at: Time) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}
