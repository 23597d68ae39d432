//! `hermux keys list`: each key's account, use today, what is left, and what rests, as a table or as JSON.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::value::RawValue;

use super::words::{self, NOTHING};
use super::{Files, known};
use crate::cli::KeysListArgs;
use crate::clock::Time;
use crate::commands::stats::{decimals, dollars};
use crate::control::client;
use crate::control::{About, State, Waiting};
use crate::keys::Key;
use crate::keys::file::{self, FileError, Row};
use crate::keys::reference::Commands;
use crate::keys::state::{KeyState, RestState};

/// Writes what is known of the keys to `out`: by the running server, else by the files, which are only read.
pub(super) fn run(
    args: &KeysListArgs,
    files: Files<'_>,
    now: Time,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let listed = match client::state(files.data_dir)? {
        Some((server, state)) => live(server, state, files, told)?,
        None => at_rest(files, now, told)?,
    };
    let text = if args.json { json(&listed)? } else { table(&listed, files, now) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What is shown.
#[derive(Debug, Default)]
struct Listed {
    server: Option<(About, u64, Waiting)>,
    keys: Vec<KeyState>,
    /// By name, what the file says; nothing for a key that stands in no file.
    kept: HashMap<String, Kept>,
}

/// A key as the file has it.
#[derive(Debug)]
struct Kept {
    /// The key as it may be shown; none where it is not known here.
    mask: Option<String>,
    /// Where it lives.
    place: String,
}

fn live(server: About, state: State, files: Files<'_>, told: &mut dyn Write) -> anyhow::Result<Listed> {
    known::warn_of_other_file(&server, files.tokens, told)?;
    // The server tells no secrets, so the file has to; without it the keys are only not shown. No command runs for that.
    let kept = match file::list(&server.tokens) {
        Ok(file::Listed { rows, .. }) => {
            let keys = file::resolve(&server.tokens, &rows, Commands::Refused);
            rows.iter().zip(keys).map(|(row, key)| kept(row, key.ok().as_ref())).collect()
        }
        Err(error) => {
            writeln!(told, "warning: the server goes on with the keys it has: {error}")?;
            HashMap::new()
        }
    };
    let State { in_flight, waiting, pool, .. } = state;
    Ok(Listed { server: Some((server, in_flight, waiting)), keys: pool.keys, kept })
}

fn at_rest(files: Files<'_>, now: Time, told: &mut dyn Write) -> anyhow::Result<Listed> {
    let rows = match known::keys(files, told) {
        Err(error) if matches!(error.downcast_ref(), Some(FileError::Empty(_))) => Vec::new(),
        rows => rows?,
    };
    let keys = rows.iter().filter_map(|(_, key)| key.clone()).collect();
    let (pool, used) = known::pool(files, keys, now)?;
    let used: HashMap<_, _> = used.iter().map(|key| (key.name.as_str(), key)).collect();
    let mut states = pool.state(now).keys.into_iter();
    let state = |(row, key): &(Row, Option<Key>)| {
        let known = if key.is_some() { states.next() } else { None };
        let used = used.get(row.name.as_str());
        let mut state = known.unwrap_or_else(|| KeyState {
            name: row.name.to_string(),
            used_today: used.map_or(0, |used| used.attempts),
            rests: vec![RestState {
                what: "all".to_owned(),
                why: "key_not_found".to_owned(),
                until_ms: None,
            }],
            ..KeyState::default()
        });
        state.cost_today = used.map_or(state.cost_today, |used| used.cost);
        state
    };
    let keys = rows.iter().map(state).collect();
    let kept = rows.iter().map(|(row, key)| kept(row, key.as_ref())).collect();
    Ok(Listed { server: None, keys, kept })
}

fn kept(row: &Row, key: Option<&Key>) -> (String, Kept) {
    let mask = key.map(|key| words::masked(key.expose()));
    (row.name.to_string(), Kept { mask, place: row.value.place() })
}

/// What a key can do now: `ok`, `resting` where something of it rests, `disabled` where all does until a person acts.
fn standing(key: &KeyState) -> &'static str {
    if key.rests.iter().any(|rest| rest.what == "all" && rest.until_ms.is_none()) {
        "disabled"
    } else if key.rests.is_empty() {
        "ok"
    } else {
        "resting"
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    server: Option<ServerRow<'a>>,
    keys: Vec<KeyRow<'a>>,
}

#[derive(Serialize)]
struct ServerRow<'a> {
    version: &'a str,
    pid: u32,
    started: Option<String>,
    address: &'a str,
    tokens: String,
    in_flight: u64,
    waiting: usize,
}

#[derive(Serialize)]
struct KeyRow<'a> {
    name: &'a str,
    key: Option<&'a str>,
    kept_in: Option<&'a str>,
    account: Option<&'a str>,
    state: &'static str,
    used_today: u64,
    in_flight: u32,
    free_minute_left: Option<u64>,
    free_day_left: Option<u64>,
    /// Written digit by digit: a float would not be exact.
    cap_left_usd: Option<Box<RawValue>>,
    cost_today_usd: Box<RawValue>,
    expires: Option<String>,
    rests: Vec<RestRow<'a>>,
}

#[derive(Serialize)]
struct RestRow<'a> {
    what: &'a str,
    why: &'a str,
    reason: String,
    until: Option<String>,
}

fn json(listed: &Listed) -> serde_json::Result<String> {
    let server = listed.server.as_ref().map(|(server, in_flight, waiting)| ServerRow {
        version: &server.version,
        pid: server.pid,
        started: words::rfc3339(server.started_ms),
        address: &server.address,
        tokens: server.tokens.display().to_string(),
        in_flight: *in_flight,
        waiting: waiting.requests,
    });
    let keys = listed.keys.iter().map(|key| key_row(key, &listed.kept));
    let keys = keys.collect::<serde_json::Result<_>>()?;
    Ok(serde_json::to_string(&Shown { server, keys })? + "\n")
}

fn key_row<'a>(key: &'a KeyState, kept: &'a HashMap<String, Kept>) -> serde_json::Result<KeyRow<'a>> {
    let kept = kept.get(&key.name);
    let exact = |nanos| RawValue::from_string(dollars(nanos, 0));
    let rests = key.rests.iter().map(|rest| RestRow {
        what: &rest.what,
        why: &rest.why,
        reason: words::reason(&rest.why),
        until: rest.until_ms.and_then(words::rfc3339),
    });
    Ok(KeyRow {
        name: &key.name,
        key: kept.and_then(|kept| kept.mask.as_deref()),
        kept_in: kept.map(|kept| kept.place.as_str()),
        account: key.account.as_deref(),
        state: standing(key),
        used_today: key.used_today,
        in_flight: key.in_flight,
        free_minute_left: key.free_minute_left,
        free_day_left: key.free_day_left,
        cap_left_usd: key.cap_left.map(exact).transpose()?,
        cost_today_usd: exact(key.cost_today)?,
        expires: key.expires_ms.and_then(words::rfc3339),
        rests: rests.collect(),
    })
}

fn table(listed: &Listed, files: Files<'_>, now: Time) -> String {
    let mut text = match &listed.server {
        Some((server, in_flight, waiting)) => format!(
            "now, by the server at {} (process {}, since {}): {in_flight} under way, {} waiting\n\n",
            server.address,
            server.pid,
            words::since_text(Time(server.started_ms), now.day()),
            waiting.requests,
        ),
        None => format!(
            "today, {} (UTC), by {} and the ledger in {}; no server runs there\n\n",
            now.day(),
            files.tokens.display(),
            files.data_dir.display()
        ),
    };
    if listed.keys.is_empty() {
        text.push_str("no keys\nhint: add one with: hermux keys add NAME\n");
        return text;
    }
    // As many decimals as the finest cost needs, in every row: exact, and the points stand below each other.
    let of_costs = listed.keys.iter().map(|key| decimals(key.cost_today)).fold(2, usize::max);
    let of_caps = listed.keys.iter().filter_map(|key| key.cap_left).map(decimals).fold(2, usize::max);
    let mut table = words::table([
        "name",
        "key",
        "kept in",
        "account",
        "used today",
        "free min/day",
        "cap left USD",
        "cost USD",
        "state",
    ]);
    let (mut used, mut cost) = (0, 0_i64);
    for key in &listed.keys {
        used += key.used_today;
        cost = cost.saturating_add(key.cost_today);
        let kept = listed.kept.get(&key.name);
        table.add_row([
            key.name.clone(),
            kept.and_then(|kept| kept.mask.as_deref()).unwrap_or(NOTHING).to_owned(),
            kept.map_or(NOTHING, |kept| &kept.place).to_owned(),
            key.account.as_deref().unwrap_or(NOTHING).to_owned(),
            key.used_today.to_string(),
            free_left(key),
            key.cap_left.map_or(NOTHING.to_owned(), |left| dollars(left, of_caps)),
            dollars(key.cost_today, of_costs),
            state(key, now),
        ]);
    }
    let blank = String::new;
    // Quotas are of accounts, which keys share: only use adds up.
    let cost = dollars(cost, of_costs);
    let (name, used) = ("total".to_owned(), used.to_string());
    table.add_row([name, blank(), blank(), blank(), used, blank(), blank(), cost, blank()]);
    let _ = write!(text, "{}", words::lines(table, 4..8));
    text
}

fn free_left(key: &KeyState) -> String {
    let shown = |left: Option<u64>| left.map_or(NOTHING.to_owned(), |left| left.to_string());
    match (key.free_minute_left, key.free_day_left) {
        (None, None) => NOTHING.to_owned(),
        (minute, day) => format!("{}/{}", shown(minute), shown(day)),
    }
}

fn state(key: &KeyState, now: Time) -> String {
    if key.rests.is_empty() {
        return "ok".to_owned();
    }
    key.rests.iter().map(|rest| words::rest(rest, now)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};

    use super::{Kept, Listed, json, table};
    use crate::clock::Time;
    use crate::commands::keys::Files;
    use crate::control::{About, Waiting};
    use crate::keys::reference::Commands;
    use crate::keys::state::{KeyState, RestState};

    /// 2023-11-14T22:13:20Z.
    const NOW: Time = Time(1_700_000_000_000);

    fn files() -> Files<'static> {
        Files { tokens: Path::new("tokens.csv"), data_dir: Path::new("/data"), commands: Commands::Refused }
    }

    fn server() -> (About, u64, Waiting) {
        let about = About {
            version: "1.2.3".to_owned(),
            pid: 77,
            started_ms: NOW.0 - 3_600_000,
            address: "127.0.0.1:3333".to_owned(),
            tokens: PathBuf::from("/keys/tokens.csv"),
        };
        (about, 3, Waiting { requests: 2, callers: 1 })
    }

    fn listed() -> Listed {
        let rest = |what: &str, why: &str, until_ms| RestState {
            what: what.to_owned(),
            why: why.to_owned(),
            until_ms,
        };
        let ann = KeyState {
            name: "ann".to_owned(),
            account: Some("account 1".to_owned()),
            used_today: 12,
            in_flight: 3,
            cost_today: 114_000,
            free_minute_left: Some(8),
            free_day_left: Some(38),
            cap_left: Some(2_500_000_000),
            expires_ms: Some(NOW.0),
            ..KeyState::default()
        };
        let ben = KeyState {
            name: "ben".to_owned(),
            used_today: 100,
            cost_today: 1_000_000_000,
            free_day_left: Some(0),
            rests: vec![
                rest("free", "free_day", Some(NOW.0 + 6_400_000)),
                rest("paid", "no_credits", Some(NOW.0 + 600_000)),
            ],
            ..KeyState::default()
        };
        let cay = KeyState {
            name: "cay".to_owned(),
            rests: vec![rest("all", "refused", None)],
            ..KeyState::default()
        };
        let here = Kept { mask: Some("sk-or-v1-abc…890".to_owned()), place: "file".to_owned() };
        let there = Kept { mask: None, place: "cmd:pass …".to_owned() };
        let kept = HashMap::from([("ann".to_owned(), here), ("ben".to_owned(), there)]);
        Listed { server: Some(server()), keys: vec![ann, ben, cay], kept }
    }

    #[test]
    fn json_has_its_exact_shape() {
        assert_eq!(
            json(&listed()).unwrap(),
            "{\"server\":{\"version\":\"1.2.3\",\"pid\":77,\"started\":\"2023-11-14T21:13:20Z\",\
             \"address\":\"127.0.0.1:3333\",\"tokens\":\"/keys/tokens.csv\",\"in_flight\":3,\"waiting\":2},\
             \"keys\":[\
             {\"name\":\"ann\",\"key\":\"sk-or-v1-abc…890\",\"kept_in\":\"file\",\"account\":\"account 1\",\"state\":\"ok\",\
             \"used_today\":12,\"in_flight\":3,\"free_minute_left\":8,\"free_day_left\":38,\"cap_left_usd\":2.5,\
             \"cost_today_usd\":0.000114,\"expires\":\"2023-11-14T22:13:20Z\",\"rests\":[]},\
             {\"name\":\"ben\",\"key\":null,\"kept_in\":\"cmd:pass …\",\"account\":null,\"state\":\"resting\",\
             \"used_today\":100,\"in_flight\":0,\"free_minute_left\":null,\"free_day_left\":0,\"cap_left_usd\":null,\
             \"cost_today_usd\":1,\"expires\":null,\"rests\":[\
             {\"what\":\"free\",\"why\":\"free_day\",\
             \"reason\":\"its account's free requests of this day (UTC) are used up\",\"until\":\"2023-11-15T00:00:00Z\"},\
             {\"what\":\"paid\",\"why\":\"no_credits\",\"reason\":\"its account has no credits\",\
             \"until\":\"2023-11-14T22:23:20Z\"}]},\
             {\"name\":\"cay\",\"key\":null,\"kept_in\":null,\"account\":null,\"state\":\"disabled\",\
             \"used_today\":0,\"in_flight\":0,\"free_minute_left\":null,\"free_day_left\":null,\"cap_left_usd\":null,\
             \"cost_today_usd\":0,\"expires\":null,\"rests\":[\
             {\"what\":\"all\",\"why\":\"refused\",\"reason\":\"OpenRouter refuses it\",\"until\":null}]}]}\n"
        );
        assert_eq!(json(&Listed::default()).unwrap(), "{\"server\":null,\"keys\":[]}\n");
    }

    #[test]
    fn the_table_lines_up_and_adds_up() {
        let text = table(&listed(), files(), NOW);
        let expected = [
            "now, by the server at 127.0.0.1:3333 (process 77, since 21:13 UTC): 3 under way, 2 waiting",
            "",
            "name   key               kept in     account    used today  free min/day  cap left USD  cost USD  state",
            "ann    sk-or-v1-abc…890  file        account 1          12          8/38          2.50  0.000114  ok",
            "ben    -                 cmd:pass …  -                 100           -/0             -  1.000000  \
             free models resting until 00:00 UTC (in 1 h 47 min): its account's free requests of this day (UTC) are used up",
            "                                                                                                  \
             paid models resting until 22:23 UTC (in 10 min): its account has no credits",
            "cay    -                 -           -                   0             -             -  0.000000  \
             disabled: OpenRouter refuses it",
            "total                                                  112                              1.000114",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn without_keys_it_says_what_to_do() {
        assert_eq!(
            table(&Listed::default(), files(), NOW),
            "today, 2023-11-14 (UTC), by tokens.csv and the ledger in /data; no server runs there\n\n\
             no keys\nhint: add one with: hermux keys add NAME\n"
        );
    }
}
