//! Where each value of the configuration stands, for `hermux config`, which shows them and where they come from.

use std::path::{Path, PathBuf};

use super::layers::{Entry, Source, config_path};
use super::{Config, SETTINGS, Setting, Surroundings};

/// A configuration and how it came about.
#[derive(Debug)]
pub struct Resolved {
    /// As it is used; where something is wrong, as good as it can be.
    pub config: Config,
    /// One for each of [`SETTINGS`], in their order.
    pub values: Vec<Value>,
    /// `config.toml`, `tokens.csv`, `allow.txt` and the data directory.
    pub places: Vec<Place>,
    /// What is wrong, each with its source.
    pub wrong: Vec<String>,
}

/// What a setting is set to.
#[derive(Debug)]
pub struct Value {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value as one would write it, without secrets; `None` where nothing sets it and it has no default.
    pub text: Option<String>,
    /// Which layer it comes from: `default`, `file`, `variable` or `flag`.
    pub source: &'static str,
    /// Where in the layer it stands: file and line, variable, flag; `None` for a default.
    pub from: Option<String>,
}

/// A file or directory that hermux goes by.
#[derive(Debug)]
pub struct Place {
    /// `config`, or the setting that names it.
    pub name: &'static str,
    /// Where it is, absolute; `None` where there is no place for it.
    pub path: Option<PathBuf>,
    /// Whether something is there.
    pub exists: bool,
    /// Why it is this one.
    pub why: String,
}

impl Resolved {
    pub(super) fn new(
        config: Config,
        mut entries: Vec<Entry>,
        mut places: Vec<Place>,
        wrong: Vec<String>,
    ) -> Self {
        let mut values = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            // The strongest stands last.
            let last = entries.iter().rposition(|entry| entry.setting.name == setting.name);
            values.push(match last.map(|at| entries.remove(at)) {
                Some(Entry { text, source, .. }) => {
                    let (source, from) = origin(source);
                    Value { setting, text: Some(without_secrets(&text)), source, from }
                }
                None => Value { setting, text: found(&config, setting.name), source: "default", from: None },
            });
        }
        for place in &mut places {
            if let Some(value) = values.iter().find(|value| value.setting.name == place.name)
                && let Some(from) = &value.from
            {
                place.why = format!("named by {from}");
            }
        }
        Self { config, values, places, wrong }
    }
}

impl Place {
    pub(super) fn new(name: &'static str, path: &Path, around: &Surroundings, why: Option<String>) -> Self {
        let path = around.working_dir.join(path);
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { name, exists: path.exists(), path: Some(path), why: why.unwrap_or_default() }
    }

    pub(super) fn of_config_file(flags: &[(&str, String)], around: &Surroundings) -> Self {
        const NAME: &str = "config";
        match config_path(flags, around) {
            Ok(Some((path, named))) => {
                let why = match named {
                    Some(source) => format!("named by {source}"),
                    None => "in the user's configuration directory".to_owned(),
                };
                Self::new(NAME, &path, around, Some(why))
            }
            Ok(None) => {
                Self { name: NAME, path: None, exists: false, why: "there is no home to look in".to_owned() }
            }
            Err(problem) => Self { name: NAME, path: None, exists: false, why: problem },
        }
    }
}

fn origin(source: Source) -> (&'static str, Option<String>) {
    match source {
        Source::Default => ("default", None),
        Source::File { path, line, .. } => ("file", Some(format!("{}:{line}", path.display()))),
        Source::Variable(name) => ("variable", Some(name)),
        Source::Flag(name) => ("flag", Some(name)),
    }
}

/// What a default that is not always the same comes to here.
fn found(config: &Config, name: &str) -> Option<String> {
    let path = |path: &Path| Some(path.display().to_string());
    match name {
        "tokens" => path(&config.tokens),
        "allow" => path(&config.allow),
        "data_dir" => path(&config.data_dir),
        "workers" => Some(config.workers.to_string()),
        _ => None,
    }
}

/// `text` without what may be secret in it: the user and password of a URL, keys, access tokens.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    if ["sk-or-", "hmx_"].iter().any(|sign| text.contains(sign)) {
        return "(not shown)".to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password may hold a slash that somebody forgot to encode, so the last `@` counts.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => text.to_owned(),
    }
}
