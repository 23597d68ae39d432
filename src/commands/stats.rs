//! `hermux stats`: what was used, by key or what else is asked for, as a table, as JSON or as CSV.

mod asked;
mod free;
mod lines;
mod reconcile;
mod table;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use self::asked::Asked;
use self::free::{Free, Known};
use crate::cli::StatsArgs;
use crate::clock::{Clock, Time};
use crate::commands::terminal;
use crate::config::Config;
use crate::control::client;
use crate::ledger::query::{self, By, Figures, Group, QueryError, Question, Value};

/// Writes what was used by the ledger in the data directory to `out`, also while a server writes there. A reader that went
/// away is no error.
pub(super) fn run(
    args: &StatsArgs,
    config: &Config,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if args.reconcile {
        return reconcile::run(args.json, config, clock, out, told);
    }
    let colored = terminal::colors_on_stdout();
    if args.watch.is_none() && unwritten(config) {
        writeln!(told, "warning: {UNWRITTEN}")?;
    }
    let done = match args.watch {
        Some(seconds) => watch::run(seconds, out, |width| shown(args, config, clock, Some(width), colored)),
        None => shown(args, config, clock, terminal::width().map(usize::from), colored).and_then(|text| {
            out.write_all(text.as_bytes())?;
            Ok(out.flush()?)
        }),
    };
    match done {
        Err(error) if !super::is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What is written now, for a terminal of so many columns or for a file.
fn shown(
    args: &StatsArgs,
    config: &Config,
    clock: &Clock,
    width: Option<usize>,
    colored: bool,
) -> anyhow::Result<String> {
    let now = clock.now();
    let asked = Asked::new(args, now)?;
    let known = if asked.needs_known(args.json) { Known::find(config, now) } else { Known::default() };
    let by_groups = asked.grouped(&asked.by, &known.accounts);
    let mut questions = vec![by_groups, asked.grouped(&[], &known.accounts)];
    if args.json {
        questions.extend(lines::PARTS.map(|by| asked.grouped(&[by], &known.accounts)));
    }
    let mut answers = query::answers(&config.data_dir, &questions)?.into_iter();
    let groups = answers.next().unwrap_or_default();
    let total =
        answers.next().and_then(|mut total| total.pop()).map(|total| total.figures).unwrap_or_default();
    let queued = query::queued(&config.data_dir, &asked.question)?;
    let found = Found { asked, known, groups, total, queued };
    if args.json {
        let parts: Vec<_> = answers.collect();
        return Ok(lines::json(&found, &parts, !args.by.is_empty())?);
    }
    if args.csv {
        return lines::csv(&found);
    }
    if found.groups.is_empty() {
        return Ok(nothing(&found, config, now)?);
    }
    let mut text = format!("{}\n\n{}", found.asked.title(now), table::table(&found, width, colored));
    if args.watch.is_some() && unwritten(config) {
        text.extend(["\n", UNWRITTEN, "\n"]);
    }
    Ok(text)
}

/// What is said where the ledger is behind the server.
const UNWRITTEN: &str = "the server can't write the ledger now, so what was used lately is not in it yet";

/// Whether a server runs that cannot write the ledger.
fn unwritten(config: &Config) -> bool {
    client::state(&config.data_dir).is_ok_and(|state| state.is_some_and(|(_, state)| state.unwritten))
}

/// What was found.
struct Found {
    asked: Asked,
    known: Known,
    groups: Vec<Group>,
    total: Figures,
    /// Attempts whose cost is still to be fetched.
    queued: u64,
}

impl Found {
    /// Whether groups by `by` have a share of today's free requests each.
    fn has_quota(&self, by: &[By]) -> bool {
        self.asked.is_today && matches!(by, [By::Key | By::Account])
    }

    /// What the account of `group`, one by `by`, has used up of today's free requests, where that is known.
    fn free(&self, by: &[By], group: &Group) -> Option<Free> {
        match group.is.as_slice() {
            [Value::Name(name)] if self.has_quota(by) && by == [By::Key] => self.known.of_key(name),
            [Value::Name(name)] if self.has_quota(by) => self.known.of_account(name),
            _ => None,
        }
    }
}

/// What to do where nothing was found.
fn nothing(found: &Found, config: &Config, now: Time) -> Result<String, QueryError> {
    let title = found.asked.title(now);
    let data = config.data_dir.display();
    let all = query::answers(&config.data_dir, &[Question { by: vec![By::Day], ..Question::default() }])?;
    let days = || all.iter().flatten().filter_map(|group| group.is.first());
    let (Some(Value::Day(first)), Some(Value::Day(last))) = (days().next(), days().next_back()) else {
        let hint = match client::state(&config.data_dir) {
            Ok(Some((server, _))) => {
                format!("the proxy runs and has seen no request yet: {}", server.address)
            }
            _ => "start the proxy with: hermux serve".to_owned(),
        };
        return Ok(format!("nothing was used yet, by the ledger in {data}\nhint: {hint}\n"));
    };
    let hint = if found.asked.is_plain {
        format!("it was last used on {last}; show that day with: hermux stats --since {last}")
    } else {
        format!("it was used from {first} to {last}; show all with: hermux stats --since {first}")
    };
    Ok(format!("nothing was used, {title}, by the ledger in {data}\nhint: {hint}\n"))
}

/// `name`, chosen by a caller perhaps, as a terminal takes it.
fn clean(name: &str) -> String {
    name.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// How many decimals `cost`, in nano-dollars, needs.
pub(super) fn decimals(cost: i64) -> usize {
    let fraction = format!("{:09}", cost.unsigned_abs() % 1_000_000_000);
    fraction.trim_end_matches('0').len()
}

/// `cost`, in nano-dollars, as exact dollars with at least `least` decimals.
pub(super) fn dollars(cost: i64, least: usize) -> String {
    let sign = if cost < 0 { "-" } else { "" };
    let whole = cost.unsigned_abs() / 1_000_000_000;
    let fraction = format!("{:09}", cost.unsigned_abs() % 1_000_000_000);
    match decimals(cost).max(least).min(9) {
        0 => format!("{sign}{whole}"),
        digits => format!("{sign}{whole}.{}", &fraction[..digits]),
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, dollars};

    #[test]
    fn costs_are_exact_to_the_nano_dollar() {
        let cases = [
            (0, "0"),
            (1, "0.000000001"),
            (114_000, "0.000114"),
            (1_000_000_000, "1"),
            (12_340_000_000, "12.34"),
            (-1, "-0.000000001"),
            (i64::MAX, "9223372036.854775807"),
        ];
        for (cost, text) in cases {
            assert_eq!(dollars(cost, 0), text);
        }
        assert_eq!(dollars(0, 2), "0.00");
        assert_eq!(dollars(500_000_000, 2), "0.50");
    }

    #[test]
    fn a_name_does_nothing_to_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
