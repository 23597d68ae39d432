//! `hermux keys explain`: for each key whether it would be chosen for a model now, and why.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use super::words::{self, NOTHING};
use super::{Files, known};
use crate::cli::KeysExplainArgs;
use crate::clock::Time;
use crate::control;
use crate::control::client;
use crate::keys::need::Why;
use crate::keys::state::Verdict;

/// Writes what the running server, else the files say of each key to `out`; exit 1 when no key would serve.
pub(super) fn run(
    args: &KeysExplainArgs,
    files: Files<'_>,
    now: Time,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let model = args.model.trim();
    let verdicts = if let Some((server, verdicts)) = client::verdicts(files.data_dir, model)? {
        known::warn_of_other_file(&server, files.tokens, told)?;
        verdicts
    } else {
        let keys = known::keys(files, told)?.into_iter().filter_map(|(_, key)| key).collect();
        let (pool, _) = known::pool(files, keys, now)?;
        control::explain(&pool, model, now)
    };
    let text = if args.json { json(model, &verdicts)? } else { table(&verdicts, now) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let served = verdicts.iter().any(|verdict| verdict.place.is_some());
    Ok(if served { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Serialize)]
struct Explained<'a> {
    model: &'a str,
    keys: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    place: Option<usize>,
    why: Option<String>,
    reason: Option<&'static str>,
    until: Option<String>,
}

fn json(model: &str, verdicts: &[Verdict]) -> serde_json::Result<String> {
    let row = |verdict| {
        let Verdict { name, place, why, until_ms }: &Verdict = verdict;
        Row {
            name,
            place: *place,
            why: why.map(words::word),
            reason: why.map(Why::words),
            until: until_ms.and_then(words::rfc3339),
        }
    };
    let keys = verdicts.iter().map(row).collect();
    Ok(serde_json::to_string(&Explained { model, keys })? + "\n")
}

fn table(verdicts: &[Verdict], now: Time) -> String {
    if verdicts.is_empty() {
        return "no keys\nhint: add one with: hermux keys add NAME\n".to_owned();
    }
    let mut table = words::table(["place", "name", "now"]);
    for verdict in verdicts {
        let place = verdict.place.map_or(NOTHING.to_owned(), |place| place.to_string());
        table.add_row([place, verdict.name.clone(), said(verdict, now)]);
    }
    words::lines(table, 0..0)
}

fn said(verdict: &Verdict, now: Time) -> String {
    match (verdict.place, verdict.why, verdict.until_ms) {
        (Some(1), _, _) => "would be chosen".to_owned(),
        (Some(_), _, _) => "could serve".to_owned(),
        (None, Some(why), Some(until)) => words::resting(why.words(), until, now),
        (None, Some(why), None) => format!("can't serve: {}", why.words()),
        (None, None, _) => "can't serve".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{json, table};
    use crate::clock::Time;
    use crate::keys::need::Why;
    use crate::keys::state::Verdict;

    const NOW: Time = Time(1_700_000_000_000);

    fn verdicts() -> Vec<Verdict> {
        let verdict =
            |name: &str, place, why, until_ms| Verdict { name: name.to_owned(), place, why, until_ms };
        vec![
            verdict("ann", Some(2), None, None),
            verdict("benjamin", Some(1), None, None),
            verdict("cay", None, Some(Why::FreeMinute), Some(NOW.0 + 30_000)),
            verdict("dot", None, Some(Why::Disabled), None),
        ]
    }

    #[test]
    fn json_has_its_exact_shape() {
        assert_eq!(
            json("a/b:free", &verdicts()).unwrap(),
            "{\"model\":\"a/b:free\",\"keys\":[\
             {\"name\":\"ann\",\"place\":2,\"why\":null,\"reason\":null,\"until\":null},\
             {\"name\":\"benjamin\",\"place\":1,\"why\":null,\"reason\":null,\"until\":null},\
             {\"name\":\"cay\",\"place\":null,\"why\":\"free_minute\",\
             \"reason\":\"its account's free requests of this minute are used up\",\"until\":\"2023-11-14T22:13:50Z\"},\
             {\"name\":\"dot\",\"place\":null,\"why\":\"disabled\",\"reason\":\"it is switched off in tokens.csv\",\
             \"until\":null}]}\n"
        );
    }

    #[test]
    fn each_key_has_its_place_or_its_reason() {
        let expected = [
            "place  name      now",
            "2      ann       could serve",
            "1      benjamin  would be chosen",
            "-      cay       resting until 22:13 UTC (in 30 s): its account's free requests of this minute are used up",
            "-      dot       can't serve: it is switched off in tokens.csv",
            "",
        ];
        assert_eq!(table(&verdicts(), NOW), expected.join("\n"));
        assert!(table(&[], NOW).ends_with("hint: add one with: hermux keys add NAME\n"));
    }
}
