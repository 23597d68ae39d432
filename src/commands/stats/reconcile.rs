//! `hermux stats --reconcile`: the ledger beside what `GET /key` tells, key by key.

use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use serde_json::value::RawValue;

use super::dollars;
use crate::clock::Clock;
use crate::commands::ask::{PATIENCE, Said, ask_all};
use crate::commands::reconcile::{Books, Comparison, PERIODS, SEEN, Seen, Verdict};
use crate::commands::serve::poll::check::{early, leak, less};
use crate::commands::table;
use crate::commands::terminal;
use crate::config::Config;
use crate::keys::file;
use crate::keys::reference::Commands;
use crate::ledger::query::{self, QueryError};

/// Compares each key that is switched on and writes what came of it to `out`, warnings to `told`. Exit code 1 where costs were
/// missed or spent outside, 3 where a key's account could not be found out.
pub(super) fn run(
    json: bool,
    config: &Config,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut keys = file::load(&config.tokens, Commands::allowed_if(config.allow_commands))?.keys;
    keys.retain(|key| key.terms().enabled);
    let answers = ask_all(config, &keys, PATIENCE, clock, |_| ())?.into_iter().map(|said| match said? {
        Said::Info(info) => Ok(info),
        Said::Refused => Err("the key is refused".to_owned()),
    });
    let seen = Seen::new(query::notes(&config.data_dir, SEEN)?);
    let books = Books::read(&config.data_dir, &[], clock.now())?;
    let rows: Vec<Row> = keys
        .iter()
        .zip(answers)
        .map(|(key, answer)| {
            Ok(Row {
                key: key.name().as_str().to_owned(),
                found: match answer {
                    Ok(info) => Ok(books.compare(key, &info, seen.since(key))?),
                    Err(problem) => Err(problem),
                },
            })
        })
        .collect::<Result<_, QueryError>>()?;
    let text = if json { as_json(&rows)? } else { as_table(&rows) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    for row in &rows {
        match &row.found {
            Ok(found) => match found.verdict {
                Verdict::Outside => writeln!(told, "warning: {}", leak(found))?,
                Verdict::Less => writeln!(told, "warning: {}", less(found))?,
                Verdict::TooEarly if found.period.is_some() => writeln!(told, "note: {}", early(found))?,
                _ => {}
            },
            Err(problem) => writeln!(told, "warning: GET /key told nothing of {}: {problem}", row.key)?,
        }
    }
    let bad = rows.iter().any(|row| row.found.as_ref().is_ok_and(|found| found.verdict.is_bad()));
    let unknown = rows.iter().any(|row| row.found.is_err());
    Ok(ExitCode::from(if bad {
        1
    } else if unknown {
        3
    } else {
        0
    }))
}

/// One key and what came of the comparison, or why there is none.
struct Row {
    key: String,
    found: Result<Comparison, String>,
}

fn as_table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no key is switched on\nhint: add one with: hermux keys add\n".to_owned();
    }
    let width = terminal::width();
    let whole = whole_table(rows);
    if width.is_none_or(|width| table::width(&whole) <= usize::from(width) + 1) {
        return table::bare_lines(&whole);
    }
    narrow_table(rows, usize::from(width.unwrap_or(u16::MAX)))
}

/// What stands where a key's account could not be found out.
const NO_ANSWER: &str = "no answer";

fn told_text(told: Option<i64>) -> String {
    told.map_or_else(|| "-".to_owned(), |told| dollars(told, 2))
}

/// A line a key with the one period that its verdict is about, for a terminal of so many columns that has no room for all of
/// them: numbers stay whole, and names are cut.
fn narrow_table(rows: &[Row], width: usize) -> String {
    let header = ["key", "verdict", "difference USD", "counted USD", "told USD"];
    let cells = |row: &Row| -> [String; 5] {
        let Ok(found) = &row.found else {
            return [row.key.clone(), NO_ANSWER.to_owned(), String::new(), String::new(), String::new()];
        };
        let at = PERIODS.iter().position(|period| Some(*period) == found.period);
        let period = ["today", "this week", "this month"];
        let verdict = match at {
            Some(at) => format!("{} {}", found.verdict.as_str(), period[at]),
            None => found.verdict.as_str().to_owned(),
        };
        let difference = at.map_or_else(String::new, |_| dollars(found.difference, 2));
        let shown = at.unwrap_or(0);
        let counted = dollars(found.counted[shown].cost, 2);
        [row.key.clone(), verdict, difference, counted, told_text(found.told[shown])]
    };
    let mut cells: Vec<_> = rows.iter().map(cells).collect();
    let widest = |column: usize, of: fn(&str) -> usize| {
        cells.iter().map(|row| of(&row[column])).chain([of(header[column])]).max().unwrap_or(0)
    };
    let letters = |text: &str| text.chars().count();
    let word = |text: &str| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
    let others = 2 * 4 + widest(1, word) + (2..5).map(|column| widest(column, letters)).sum::<usize>();
    let room = width.saturating_sub(others).max(8);
    for row in &mut cells {
        if let Some((end, _)) = row[0].char_indices().nth(room) {
            row[0].truncate(end);
            row[0].pop();
            row[0].push('…');
        }
    }
    let mut table = table::table(header);
    table.add_rows(cells);
    right_from(&mut table, 2);
    // The blanks before the first column and behind the last are not shown.
    table::fit_into(&mut table, u16::try_from(width + 2).ok());
    table::bare_lines(&table)
}

/// Has the columns from `first` on stand on the right.
fn right_from(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// A line a key with all periods.
fn whole_table(rows: &[Row]) -> Table {
    let mut table = table::table([
        "key",
        "verdict",
        "difference USD",
        "today USD",
        "told",
        "week USD",
        "told",
        "month USD",
        "told",
    ]);
    for row in rows {
        let Ok(found) = &row.found else {
            table.add_row([row.key.as_str(), NO_ANSWER]);
            continue;
        };
        let mut cells = vec![row.key.clone(), found.verdict.as_str().to_owned()];
        cells.push(found.period.map_or_else(String::new, |_| dollars(found.difference, 2)));
        for (counted, told) in found.counted.iter().zip(found.told) {
            cells.push(dollars(counted.cost, 2));
            cells.push(told_text(told));
        }
        table.add_row(cells);
    }
    right_from(&mut table, 2);
    table
}

#[derive(Serialize)]
struct Keys {
    keys: Vec<JsonRow>,
}

#[derive(Serialize)]
struct JsonRow {
    name: String,
    verdict: &'static str,
    /// By how much more upstream told than the ledger counted; null where nothing can be said.
    difference_usd: Option<Box<RawValue>>,
    day: Pair,
    week: Pair,
    month: Pair,
}

#[derive(Serialize)]
struct Pair {
    counted_usd: Box<RawValue>,
    told_usd: Option<Box<RawValue>>,
    missing: u64,
}

fn as_json(rows: &[Row]) -> serde_json::Result<String> {
    let usd = |cost: i64| RawValue::from_string(dollars(cost, 0));
    let row = |row: &Row| {
        let found = row.found.as_ref().ok();
        let pair = |at: usize| -> serde_json::Result<Pair> {
            let counted = found.map(|found| found.counted[at].clone()).unwrap_or_default();
            let told_usd = found.and_then(|found| found.told[at]).map(usd).transpose()?;
            Ok(Pair { counted_usd: usd(counted.cost)?, told_usd, missing: counted.missing })
        };
        Ok(JsonRow {
            name: row.key.clone(),
            verdict: found.map_or(NO_ANSWER, |found| found.verdict.as_str()),
            difference_usd: found
                .filter(|found| found.period.is_some())
                .map(|found| usd(found.difference))
                .transpose()?,
            day: pair(0)?,
            week: pair(1)?,
            month: pair(2)?,
        })
    };
    let keys = rows.iter().map(row).collect::<serde_json::Result<_>>()?;
    Ok(serde_json::to_string(&Keys { keys })? + "\n")
}

#[cfg(test)]
mod tests {
    use super::{Row, narrow_table};
    use crate::commands::reconcile::{Comparison, Counted, Verdict};
    use crate::openrouter::account::Period;

    #[test]
    fn in_a_narrow_terminal_numbers_stay_whole() {
        let dear = 1_000_028_247_863_691;
        let row = |key: &str, verdict, period| Row {
            key: key.to_owned(),
            found: Ok(Comparison {
                key: key.to_owned(),
                told: [Some(dear); 3],
                counted: [(); 3].map(|()| Counted { cost: dear - 1, ..Counted::default() }),
                verdict,
                period,
                difference: 1_000_000_000_000_001,
            }),
        };
        let rows = [
            row("key-00-long-name-of-a-team", Verdict::Outside, Some(Period::Monthly)),
            row("b", Verdict::TooEarly, None),
            Row { key: "c".to_owned(), found: Err("the key is refused".to_owned()) },
        ];
        for width in [80, 100] {
            let text = narrow_table(&rows, width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            for whole in ["1000028.247863691", "1000028.24786369 ", "1000000.000000001", "difference USD"] {
                assert!(text.contains(whole), "{whole} is not in:\n{text}");
            }
        }
        insta::assert_snapshot!(narrow_table(&rows, 80));
    }
}
