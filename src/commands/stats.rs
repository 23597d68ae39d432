//! `hermux stats`: what each key was used for today, as a table or as JSON.

mod reconcile;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::StatsArgs;
use crate::clock::{Clock, Day};
use crate::config::Config;
use crate::ledger::query::{self, KeyUse};

/// Writes today's use (UTC) of each key in the ledger of `data_dir` to `out`, also while a server writes there. A reader
/// that went away is no error.
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
    today(args, &config.data_dir, clock, out)
}

fn today(args: &StatsArgs, data_dir: &Path, clock: &Clock, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let day = clock.now().day();
    let keys = query::keys_on(data_dir, day)?;
    let text = if args.json { json(&keys)? } else { table(&keys, day, data_dir) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[derive(Serialize)]
struct Keys<'a> {
    keys: Vec<KeyRow<'a>>,
}

#[derive(Serialize)]
struct KeyRow<'a> {
    name: &'a str,
    requests: u64,
    attempts: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Written digit by digit: a float would not be exact.
    cost_usd: Box<RawValue>,
}

fn json<'a>(keys: &'a [KeyUse]) -> serde_json::Result<String> {
    let row = |key: &'a KeyUse| {
        Ok(KeyRow {
            name: &key.name,
            requests: key.requests,
            attempts: key.attempts,
            prompt_tokens: key.prompt_tokens,
            completion_tokens: key.completion_tokens,
            cost_usd: RawValue::from_string(dollars(key.cost, 0))?,
        })
    };
    let keys = keys.iter().map(row).collect::<serde_json::Result<_>>()?;
    Ok(serde_json::to_string(&Keys { keys })? + "\n")
}

fn table(keys: &[KeyUse], day: Day, data_dir: &Path) -> String {
    if keys.is_empty() {
        return format!(
            "nothing was used today, {day} (UTC), by the ledger in {}\nhint: start the proxy with: hermux serve\n",
            data_dir.display()
        );
    }
    // As many decimals as the finest cost needs, in every row: exact, and the points stand below each other.
    let decimals = keys.iter().map(|key| decimals(key.cost)).fold(2, usize::max);
    let mut total = KeyUse { name: "total".to_owned(), ..KeyUse::default() };
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(["key", "requests", "attempts", "prompt", "completion", "cost USD"]);
    for key in keys {
        table.add_row(cells(key, decimals));
        total.requests += key.requests;
        total.attempts += key.attempts;
        total.prompt_tokens += key.prompt_tokens;
        total.completion_tokens += key.completion_tokens;
        total.cost = total.cost.saturating_add(key.cost);
    }
    table.add_row(cells(&total, decimals));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("today, {day} (UTC)\n\n");
    super::table::fit(&mut table);
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim());
    }
    text
}

fn cells(key: &KeyUse, decimals: usize) -> [String; 6] {
    [
        key.name.clone(),
        key.requests.to_string(),
        key.attempts.to_string(),
        key.prompt_tokens.to_string(),
        key.completion_tokens.to_string(),
        dollars(key.cost, decimals),
    ]
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
    use std::io::{self, Write};
    use std::sync::Arc;
    use std::time::Duration;

    use super::{dollars, today};
    use crate::cli::StatsArgs;
    use crate::clock::{Clock, Day};
    use crate::ledger::{Ledger, Opening, Outcome};

    fn clock() -> Clock {
        Clock::fixed(Day(20_000).start())
    }

    fn used(directory: &std::path::Path, key: &str, cost: i64, times: u32) {
        let ledger = Ledger::open(directory, clock()).unwrap();
        for _ in 0..times {
            let mut entry = ledger.entry(Opening {
                request: ledger.next_request(),
                number: 1,
                at: clock().now(),
                caller: Arc::from("caller"),
                key: Arc::from(key),
                model: Arc::from("model"),
                path: Arc::from("/chat/completions"),
                inference: true,
                waited: Duration::ZERO,
                previous: None,
            });
            entry.report.usage.prompt_tokens = Some(22);
            entry.report.usage.completion_tokens = Some(7);
            entry.report.usage.cost = Some(cost);
            entry.finish(Outcome::Complete);
        }
        assert!(ledger.close(Duration::from_secs(60)));
    }

    fn stats(directory: &std::path::Path, json: bool) -> String {
        let mut out = Vec::new();
        today(&StatsArgs { json, reconcile: false }, directory, &clock(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

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
    fn json_has_its_exact_shape() {
        let directory = tempfile::tempdir().unwrap();
        used(directory.path(), "beta", 1, 3);
        used(directory.path(), "alpha", 114_000, 1);
        assert_eq!(
            stats(directory.path(), true),
            "{\"keys\":[\
             {\"name\":\"alpha\",\"requests\":1,\"attempts\":1,\"prompt_tokens\":22,\"completion_tokens\":7,\
             \"cost_usd\":0.000114},\
             {\"name\":\"beta\",\"requests\":3,\"attempts\":3,\"prompt_tokens\":66,\"completion_tokens\":21,\
             \"cost_usd\":0.000000003}]}\n"
        );
    }

    #[test]
    fn the_table_lines_up_and_adds_up() {
        let directory = tempfile::tempdir().unwrap();
        used(directory.path(), "a-long-name", 114_000, 12);
        used(directory.path(), "b", 2_000_000_000, 1);
        let text = stats(directory.path(), false);
        let expected = [
            "today, 2024-10-04 (UTC)",
            "",
            "key          requests  attempts  prompt  completion  cost USD",
            "a-long-name        12        12     264          84  0.001368",
            "b                   1         1      22           7  2.000000",
            "total              13        13     286          91  2.001368",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn without_a_ledger_it_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert!(stats(&missing, false).ends_with("hint: start the proxy with: hermux serve\n"));
        assert_eq!(stats(&missing, true), "{\"keys\":[]}\n");
        assert!(!missing.exists(), "asking creates nothing");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let directory = tempfile::tempdir().unwrap();
        assert!(
            today(&StatsArgs { json: false, reconcile: false }, directory.path(), &clock(), &mut Gone)
                .is_ok()
        );
    }
}
