//! `hermux config path` and `config show`: files and values, and why they are these.

use std::io::{self, Write};

use serde::Serialize;

use crate::commands::table;
use crate::config::origin::Resolved;

/// What stands where there is no value.
const NOTHING: &str = "-";

#[derive(Serialize)]
struct Files {
    files: Vec<FileRow>,
}

#[derive(Serialize)]
struct FileRow {
    name: &'static str,
    path: Option<String>,
    exists: bool,
    why: String,
}

#[derive(Serialize)]
struct Settings {
    settings: Vec<SettingRow>,
}

#[derive(Serialize)]
struct SettingRow {
    name: &'static str,
    value: Option<String>,
    default: Option<&'static str>,
    source: &'static str,
    from: Option<String>,
}

/// Which files are used, and why.
pub(super) fn paths(resolved: &Resolved, json: bool, out: &mut dyn Write) -> io::Result<()> {
    let files = resolved.places.iter().map(|place| FileRow {
        name: place.name,
        path: place.path.as_ref().map(|path| path.display().to_string()),
        exists: place.exists,
        why: place.why.clone(),
    });
    let files: Vec<_> = files.collect();
    if json {
        return as_json(&Files { files }, out);
    }
    let mut table = table::table(["what", "path", "there", "why"]);
    for file in files {
        let what = match file.name {
            "config" => "config.toml",
            "tokens" => "tokens.csv",
            "allow" => "allow.txt",
            _ => "data",
        };
        let there = if file.exists { "yes" } else { "no" };
        table.add_row([what, file.path.as_deref().unwrap_or(NOTHING), there, &file.why]);
    }
    out.write_all(table::lines(table).as_bytes())
}

/// Every value, and where it stands.
pub(super) fn values(resolved: &Resolved, json: bool, out: &mut dyn Write) -> io::Result<()> {
    let settings = resolved.values.iter().map(|value| SettingRow {
        name: value.setting.name,
        value: value.text.clone(),
        default: (!value.setting.default.is_empty()).then_some(value.setting.default),
        source: value.source,
        from: value.from.clone(),
    });
    let settings: Vec<_> = settings.collect();
    if json {
        return as_json(&Settings { settings }, out);
    }
    let mut table = table::table(["key", "value", "from"]);
    for setting in settings {
        let value = setting.value.as_deref().unwrap_or(NOTHING);
        table.add_row([setting.name, value, setting.from.as_deref().unwrap_or("default")]);
    }
    out.write_all(table::lines(table).as_bytes())
}

fn as_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
