//! `hermux keys check`: asks `OpenRouter` about keys, and shows what it says as a table or as JSON.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::value::RawValue;

use super::words::{self, NOTHING};
use super::{Files, add, edit};
use crate::cli::KeysCheckArgs;
use crate::clock::{Clock, Time};
use crate::commands::ask::{Said, ask_all, told as meaning};
use crate::commands::stats::{decimals, dollars};
use crate::config::Config;
use crate::keys::file::{self, FileError, Row};
use crate::keys::need::Told;
use crate::openrouter::account::{KeyInfo, Period};

/// Writes what `OpenRouter` says of the keys to `out`; exit 1 where one is not valid, else 3 where it could not be asked.
pub(super) fn run(
    args: &KeysCheckArgs,
    files: Files<'_>,
    config: &Config,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let patience = add::patience(&args.timeout)?;
    let rows = chosen(&args.names, files, told)?;
    let found = file::resolve(files.tokens, &rows, files.commands);
    let keys: Vec<_> = found.iter().filter_map(|key| key.as_ref().ok().cloned()).collect();
    let mut progress = Progress::on_terminal(told, keys.len());
    let said = ask_all(config, &keys, patience, clock, |count| progress.show(count))?;
    progress.clear();

    let (now, mut said) = (clock.now(), said.into_iter());
    let checked: Vec<_> = rows
        .iter()
        .zip(found)
        .map(|(row, key)| Checked {
            name: row.name.to_string(),
            kept_in: row.value.place(),
            enabled: row.terms.enabled,
            answer: match key {
                Err(problem) => Answer::NoKey(problem.to_string()),
                Ok(_) => said.next().map_or(Answer::Unknown(String::new()), |said| Answer::of(said, now)),
            },
        })
        .collect();
    let text = if args.json { json(&checked, now)? } else { table(&checked, now) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let valid: Vec<_> = checked.iter().map(|key| key.answer.valid()).collect();
    Ok(match (valid.contains(&Some(false)), valid.contains(&None)) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// The rows of the keys that were named, else all.
fn chosen(names: &[String], files: Files<'_>, told: &mut dyn Write) -> anyhow::Result<Vec<Row>> {
    let file::Listed { mut rows, warnings } = file::list(files.tokens)?;
    for warning in warnings {
        writeln!(told, "warning: {warning}")?;
    }
    let names = names.iter().map(|name| edit::parse(name)).collect::<Result<Vec<_>, _>>()?;
    for name in &names {
        if !rows.iter().any(|row| row.name == *name) {
            return Err(FileError::NoSuchKey { path: files.tokens.to_owned(), name: name.clone() }.into());
        }
    }
    if !names.is_empty() {
        rows.retain(|row| names.contains(&row.name));
    }
    if rows.is_empty() {
        return Err(FileError::Empty(files.tokens.to_owned()).into());
    }
    Ok(rows)
}

/// How far it is, as a line on a terminal that goes when all is done; elsewhere nothing.
pub(super) struct Progress<'a> {
    terminal: Option<&'a mut dyn Write>,
    all: usize,
}

impl<'a> Progress<'a> {
    /// `told` writes to standard error.
    pub(super) fn on_terminal(told: &'a mut dyn Write, all: usize) -> Self {
        let moves = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let mut progress = Self { terminal: (moves && all > 0).then_some(told), all };
        progress.show(0);
        progress
    }

    /// `count` of all are done.
    pub(super) fn show(&mut self, count: usize) {
        const WIDTH: usize = 20;
        let all = self.all;
        let done = (WIDTH * count).checked_div(all).unwrap_or(WIDTH);
        let (bar, rest) = ("#".repeat(done), "-".repeat(WIDTH - done));
        self.write(&format!("\rasking OpenRouter [{bar}{rest}] {count}/{all}"));
    }

    /// Leaves the line as if nothing had been there.
    pub(super) fn clear(mut self) {
        self.write("\r\u{1b}[K");
    }

    fn write(&mut self, text: &str) {
        if let Some(terminal) = &mut self.terminal {
            // Who closed it does not want to see how far it is.
            let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
        }
    }
}

/// What came of one row.
#[derive(Debug)]
struct Checked {
    name: String,
    kept_in: String,
    enabled: bool,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Valid(Box<KeyInfo>),
    /// With what was told of it, where anything was.
    Invalid(Option<Box<KeyInfo>>, &'static str),
    /// The row gives no key.
    NoKey(String),
    /// `OpenRouter` could not be asked.
    Unknown(String),
}

impl Answer {
    fn of(said: Result<Said, String>, now: Time) -> Self {
        match said {
            Err(why) => Self::Unknown(why),
            Ok(said) => match (said.unfit(now), said) {
                (None, Said::Info(info)) => Self::Valid(info),
                (Some(why), Said::Info(info)) => Self::Invalid(Some(info), why),
                (why, Said::Refused) => Self::Invalid(None, why.unwrap_or_default()),
            },
        }
    }

    fn valid(&self) -> Option<bool> {
        match self {
            Self::Valid(_) => Some(true),
            Self::Invalid(..) | Self::NoKey(_) => Some(false),
            Self::Unknown(_) => None,
        }
    }

    fn info(&self) -> Option<&KeyInfo> {
        match self {
            Self::Valid(info) | Self::Invalid(Some(info), _) => Some(info),
            _ => None,
        }
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::Valid(_) => None,
            Self::Invalid(_, why) => Some((*why).to_owned()),
            Self::NoKey(why) => Some(why.clone()),
            Self::Unknown(why) => Some(format!("OpenRouter could not be asked: {why}")),
        }
    }
}

/// What was told of each key, in the pool's terms.
fn meanings(checked: &[Checked], now: Time) -> Vec<Told> {
    checked
        .iter()
        .map(|key| key.answer.info().map_or_else(Told::default, |info| meaning(info, now)))
        .collect()
}

/// The names of the other keys of the same account.
fn shared<'a>(at: usize, checked: &'a [Checked], told: &[Told]) -> Vec<&'a str> {
    let same = |other: &usize| *other != at && told[*other].account == told[at].account;
    let others = (0..checked.len()).filter(same).map(|other| checked[other].name.as_str());
    told[at].account.as_ref().map_or_else(Vec::new, |_| others.collect())
}

fn free_left(told: &Told) -> Option<u64> {
    Some(told.free_limit?.saturating_sub(told.free_used?))
}

#[derive(Serialize)]
struct Shown<'a> {
    keys: Vec<KeyRow<'a>>,
}

#[derive(Serialize)]
struct KeyRow<'a> {
    name: &'a str,
    kept_in: &'a str,
    enabled: bool,
    valid: Option<bool>,
    reason: Option<String>,
    label: Option<String>,
    tier: Option<&'static str>,
    free_day_left: Option<u64>,
    free_day_limit: Option<u64>,
    /// Written digit by digit: a float would not be exact.
    usage_usd: Option<Box<RawValue>>,
    limit_usd: Option<Box<RawValue>>,
    limit_left_usd: Option<Box<RawValue>>,
    limit_resets: Option<&'static str>,
    expires: Option<String>,
    account: Option<&'a str>,
    shared_with: Vec<&'a str>,
}

fn json(checked: &[Checked], now: Time) -> serde_json::Result<String> {
    let meanings = meanings(checked, now);
    let exact = |nanos: Option<i64>| nanos.map(|nanos| RawValue::from_string(dollars(nanos, 0))).transpose();
    let row = |at: usize| {
        let key = &checked[at];
        let told = &meanings[at];
        let info = key.answer.info().cloned().unwrap_or_default();
        Ok(KeyRow {
            name: &key.name,
            kept_in: &key.kept_in,
            enabled: key.enabled,
            valid: key.answer.valid(),
            reason: key.answer.reason(),
            label: info.label,
            tier: told.free_tier.map(words::tier),
            free_day_left: free_left(told),
            free_day_limit: told.free_limit,
            usage_usd: exact(info.usage)?,
            limit_usd: exact(info.limit)?,
            limit_left_usd: exact(told.cap_left)?,
            limit_resets: info.limit_reset.map(Period::name),
            expires: told.expires.and_then(|end| words::rfc3339(end.0)),
            account: told.account.as_deref(),
            shared_with: shared(at, checked, &meanings),
        })
    };
    let keys = (0..checked.len()).map(row).collect::<serde_json::Result<_>>()?;
    Ok(serde_json::to_string(&Shown { keys })? + "\n")
}

fn table(checked: &[Checked], now: Time) -> String {
    let told = meanings(checked, now);
    let usage = |key: &Checked| key.answer.info().and_then(|info| info.usage);
    // As many decimals as the finest amount needs, in every row: exact, and the points stand below each other.
    let of_usage = checked.iter().filter_map(usage).map(decimals).fold(2, usize::max);
    let of_left = told.iter().filter_map(|told| told.cap_left).map(decimals).fold(2, usize::max);
    let mut table = words::table([
        "name",
        "valid",
        "tier",
        "free left today",
        "usage USD",
        "limit left USD",
        "expires",
        "shared with",
        "note",
    ]);
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    for (at, key) in checked.iter().enumerate() {
        let Told { cap_left, expires, free_tier, .. } = told[at];
        let others = shared(at, checked, &told);
        let valid = match key.answer.valid() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        table.add_row([
            key.name.clone(),
            valid.to_owned(),
            or_nothing(free_tier.map(|free| words::tier(free).to_owned())),
            or_nothing(free_left(&told[at]).map(|left| left.to_string())),
            or_nothing(usage(key).map(|usage| dollars(usage, of_usage))),
            or_nothing(cap_left.map(|left| dollars(left, of_left))),
            or_nothing(expires.map(|end| words::until_text(end, now))),
            or_nothing((!others.is_empty()).then(|| others.join(", "))),
            note(key, &told[at]),
        ]);
    }
    words::lines(table, 3..6)
}

fn note(key: &Checked, told: &Told) -> String {
    let off = (!key.enabled).then(|| "disabled in tokens.csv".to_owned());
    let spent = told.cap_left.is_some_and(|left| left <= 0).then(|| "its limit is used up".to_owned());
    key.answer.reason().into_iter().chain(off).chain(spent).collect::<Vec<_>>().join("; ")
}
