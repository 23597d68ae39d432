//! Where settings stand: `config.toml`, the variables `HERMUX_…`, the flags; read as raw text with its source.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use toml::de::{DeTable, DeValue};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{SETTINGS, Setting};

/// What every variable of hermux begins with.
pub(super) const PREFIX: &str = "HERMUX_";

/// What a process finds around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The user's configuration directory; `None` for who has no home.
    pub config_dir: Option<PathBuf>,
    /// The user's data directory; `None` for who has no home.
    pub data_dir: Option<PathBuf>,
    /// What relative paths are relative to.
    pub working_dir: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let user = ProjectDirs::from("", "", "hermux");
        Self {
            variables: std::env::vars_os().collect(),
            config_dir: user.as_ref().map(|user| user.config_dir().to_owned()),
            data_dir: user.as_ref().map(|user| user.data_dir().to_owned()),
            working_dir: PathBuf::from("."),
        }
    }

    /// The value of a variable that is set to something, or what is wrong with it.
    pub(super) fn variable(&self, name: &str) -> Option<Result<&str, String>> {
        let (_, value) = self.variables.iter().find(|(other, value)| other == name && !value.is_empty())?;
        Some(value.to_str().ok_or_else(|| format!("{name}: not UTF-8")))
    }
}

/// The raw text of a setting, and where it stands.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    pub(super) source: Source,
}

/// Where a value stands.
#[derive(Debug)]
pub(super) enum Source {
    Default,
    File { path: PathBuf, line: usize, key: String },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// All that is set, the weakest first.
pub(super) fn entries(
    flags: &[(&str, String)],
    around: &Surroundings,
    warnings: &mut Vec<String>,
    wrong: &mut Vec<String>,
) -> Vec<Entry> {
    let mut entries = defaults();
    match config_file(flags, around) {
        Ok(Some((path, text))) => file(&path, &text, &mut entries, wrong),
        Ok(None) => {}
        Err(problem) => wrong.push(problem),
    }
    variables(around, &mut entries, warnings, wrong);
    for (name, text) in flags.iter().filter(|(name, _)| *name != "config") {
        let setting = setting(name).expect("each flag has its setting");
        entries.push(Entry { setting, text: text.clone(), source: Source::Flag(setting.flag()) });
    }
    entries
}

fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

fn defaults() -> Vec<Entry> {
    let fixed = SETTINGS.iter().filter(|setting| !setting.default.is_empty());
    fixed
        .map(|setting| Entry { setting, text: setting.default.to_owned(), source: Source::Default })
        .collect()
}

/// Where `config.toml` is looked for, and who named the place where somebody did.
pub(super) fn config_path(
    flags: &[(&str, String)],
    around: &Surroundings,
) -> Result<Option<(PathBuf, Option<&'static str>)>, String> {
    let flag = flags.iter().find(|(name, _)| *name == "config").map(|(_, path)| ("--config", path.as_str()));
    let named = match (flag, around.variable("HERMUX_CONFIG").transpose()?) {
        (Some(flag), _) => Some(flag),
        (None, Some(path)) => Some(("HERMUX_CONFIG", path)),
        (None, None) => None,
    };
    Ok(match (named, &around.config_dir) {
        (Some((source, path)), _) => Some((PathBuf::from(path), Some(source))),
        (None, Some(folder)) => Some((folder.join("config.toml"), None)),
        (None, None) => None,
    })
}

/// Path and text of `config.toml`: the one that was named, else the user's where there is one.
fn config_file(flags: &[(&str, String)], around: &Surroundings) -> Result<Option<(PathBuf, String)>, String> {
    let Some((path, named)) = config_path(flags, around)? else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => {
            let source = named.map_or(String::new(), |source| format!("{source}: "));
            Err(match error.kind() {
                io::ErrorKind::NotFound => format!("{source}no such file: {}", path.display()),
                io::ErrorKind::InvalidData => format!("{source}not UTF-8: {}", path.display()),
                _ => format!("{source}can't read {}: {error}", path.display()),
            })
        }
    }
}

fn file(path: &Path, text: &str, entries: &mut Vec<Entry>, wrong: &mut Vec<String>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line_of = |at: usize| 1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..at]).count();
    let shown = path.display();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = line_of(error.span().map_or(0, |span| span.start.min(text.len())));
        wrong.push(format!("{shown}:{line}: {}", error.message().replace('\n', ", ")));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut keys: Vec<_> = table.get_ref().iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in keys {
        let line = line_of(key.span().start);
        let key = key.get_ref().as_ref();
        let Some(setting) = setting(key) else {
            let names = SETTINGS.iter().map(|setting| setting.name.to_owned());
            wrong.push(format!("{shown}:{line}: no such key: {key}{}", did_you_mean(key, names)));
            continue;
        };
        let text = match value.get_ref() {
            DeValue::String(text) if setting.is_path && !text.is_empty() => {
                folder.join(text.as_ref()).to_string_lossy().into_owned()
            }
            DeValue::String(text) => match text.strip_prefix("unix:") {
                Some(socket) if setting.name == "address" => {
                    format!("unix:{}", folder.join(socket).display())
                }
                _ => text.clone().into_owned(),
            },
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(switch) => switch.to_string(),
            other => {
                let kind = other.type_str();
                wrong.push(format!(
                    "{shown}:{line}: {key}: text, a whole number, true or false belong here: {kind}"
                ));
                continue;
            }
        };
        let source = Source::File { path: path.to_owned(), line, key: key.to_owned() };
        entries.push(Entry { setting, text, source });
    }
}

fn variables(
    around: &Surroundings,
    entries: &mut Vec<Entry>,
    warnings: &mut Vec<String>,
    wrong: &mut Vec<String>,
) {
    for setting in SETTINGS {
        let name = setting.variable();
        match around.variable(&name) {
            None => {}
            Some(Err(problem)) => wrong.push(problem),
            Some(Ok(_)) if setting.in_file_alone() => {
                let key = setting.name;
                wrong.push(format!("{name}: only config.toml can say this\nhint: write {key} into it"));
            }
            // Kubernetes sets this one for a service that is named hermux.
            Some(Ok(text)) if name == "HERMUX_PORT" && text.starts_with("tcp://") => {
                warnings.push(format!(
                    "{name} is not a port but a link of Kubernetes, and is passed over: {text}"
                ));
            }
            Some(Ok(text)) => {
                entries.push(Entry { setting, text: text.to_owned(), source: Source::Variable(name) });
            }
        }
    }
    // Not an error: other programs may have variables that begin so.
    let known = || {
        let settings = SETTINGS.iter().map(Setting::variable);
        settings.chain(["HERMUX_LOG".to_owned(), "HERMUX_CONFIG".to_owned()])
    };
    for (name, _) in &around.variables {
        if let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX))
            && !known().any(|other| other == name)
            && let Some(near) = nearest(name, known())
        {
            warnings.push(format!("no such variable: {name}; did you mean {near}"));
        }
    }
}

/// The filter of `HERMUX_LOG`, else of `RUST_LOG`.
pub(super) fn log_filter(around: &Surroundings) -> Result<Option<Targets>, String> {
    const HINT: &str = "hint: write a level such as debug, or levels by module such as info,hermux=debug";
    for name in ["HERMUX_LOG", "RUST_LOG"] {
        let Some(text) = around.variable(name).transpose()? else { continue };
        // To tracing a lone word is a module with all its lines, so that a misspelt level would silence the rest.
        let misspelt = |part: &str| {
            let part = part.trim();
            !part.contains('=') && !part.starts_with("hermux") && part.parse::<LevelFilter>().is_err()
        };
        return match text.parse() {
            Ok(filter) if name == "RUST_LOG" || !text.split(',').any(misspelt) => Ok(Some(filter)),
            _ => Err(format!("{name}: not a log filter: {text}\n{HINT}")),
        };
    }
    Ok(None)
}

fn did_you_mean(name: &str, known: impl Iterator<Item = String>) -> String {
    nearest(name, known).map_or(String::new(), |near| format!("\nhint: did you mean {near}"))
}

/// The one of `known` that a slip of the finger may have turned into `name`.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let name = plain(name);
    let near = known.map(|other| (distance(&name, &plain(&other)), other)).min()?;
    (near.0 <= (1 + name.trim_start_matches("hermux_").len() / 4).min(3)).then_some(near.1)
}

/// How many letters must be added, removed or changed to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
