//! `hermux keys add --from-file` and `--from-env`: many keys at once.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use zeroize::Zeroizing;

use super::add::{Newcomers, ODD};
use super::check::Progress;
use super::{Files, edit, known, words};
use crate::cli::KeysAddArgs;
use crate::clock::Clock;
use crate::commands::Usage;
use crate::commands::ask::{Said, ask_all};
use crate::config::Config;
use crate::keys::KeyName;
use crate::keys::file::{self, Problem};
use crate::keys::reference::Value;
use crate::secret::Secret;
use crate::textfile;

/// A key, or a reference to one, with its name where it has one.
pub(super) type Found = (Option<KeyName>, Secret);

/// What `--from-file` or `--from-env` gives; none where neither was given.
pub(super) fn found(args: &KeysAddArgs) -> anyhow::Result<Option<Vec<Found>>> {
    let (found, place) = match (&args.from_file, &args.from_env) {
        (Some(path), _) => (in_file(path)?, path.clone()),
        (None, Some(prefix)) => {
            let prefix = format!("{}_", prefix.trim_end_matches('_'));
            (in_variables(std::env::vars_os(), &prefix)?, format!("variables that begin with {prefix}"))
        }
        (None, None) => return Ok(None),
    };
    if found.is_empty() {
        return Err(Usage(format!("no keys in: {place}")).into());
    }
    Ok(Some(found))
}

/// Adds those of `found` that can be added, and tells of each what became of it; exit 1 where one was not.
pub(super) fn add(
    found: Vec<Found>,
    check: Option<Duration>,
    files: Files<'_>,
    config: &Config,
    clock: &Clock,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let rows = known::rows(files.tokens)?;
    let taken = rows.iter().map(|row| &row.name).chain(found.iter().filter_map(|(name, _)| name.as_ref()));
    let taken: HashSet<_> = taken.map(ToString::to_string).collect();
    let mut numbers = (1..).map(|number| format!("key-{number}")).filter(|name| !taken.contains(name));
    let all = found.len();

    let mut newcomers = Newcomers::new(rows, files);
    let (mut new, mut keys) = (Vec::new(), Vec::new());
    for (name, token) in found {
        let name = match name {
            Some(name) => name,
            None => edit::parse(&numbers.next().unwrap_or_default())?,
        };
        match newcomers.key(&name, &token) {
            Err(problem) => writeln!(told, "not added: `{name}`, since {}", reason(&problem))?,
            Ok(key) => {
                if file::is_odd(&key) {
                    writeln!(told, "warning: {ODD}: {name}")?;
                }
                new.push((name, token));
                keys.push(key);
            }
        }
    }
    let said = match check {
        None => keys.iter().map(|_| None).collect::<Vec<_>>(),
        Some(patience) => {
            let mut progress = Progress::on_terminal(told, keys.len());
            let said = ask_all(config, &keys, patience, clock, |count| progress.show(count))?;
            progress.clear();
            said.into_iter().map(Some).collect()
        }
    };
    let (now, mut added) = (clock.now(), Vec::new());
    for ((name, token), said) in new.into_iter().zip(said) {
        match said {
            Some(Err(why)) => writeln!(told, "warning: OpenRouter could not be asked about `{name}`: {why}")?,
            Some(Ok(said)) => {
                if let Some(why) = said.unfit(now) {
                    writeln!(told, "not added: `{name}`, since {why}")?;
                    continue;
                }
                if let Said::Info(info) = said {
                    writeln!(told, "OpenRouter knows `{name}`: {}", words::about(&info, now))?;
                }
            }
            None => {}
        }
        added.push((name, token));
    }
    if !added.is_empty() {
        file::add_all(files.tokens, &added)?;
    }
    let (count, path) = (added.len(), files.tokens.display());
    writeln!(told, "added {count} of {all} keys to {path}")?;
    Ok(if count == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why a key can't be added; those that came before it stand on no line yet.
fn reason(problem: &Problem) -> String {
    match problem {
        Problem::NameTwice { first: 0, .. } => "the name was given before".to_owned(),
        Problem::KeyTwice { first: 0, other, .. } => format!("it is the same key as `{other}`"),
        problem => problem.to_string(),
    }
}

fn in_file(path: &str) -> anyhow::Result<Vec<Found>> {
    if path == "-" {
        let mut text = Zeroizing::new(String::new());
        let read = io::stdin().lock().read_to_string(&mut text);
        read.map_err(|error| Usage(format!("can't read the keys from standard input: {error}")))?;
        return in_text(Path::new("standard input"), &text);
    }
    let path = Path::new(path);
    let text = textfile::read(path)?.ok_or_else(|| Usage(format!("no such file: {}", path.display())))?;
    in_text(path, text.as_str())
}

/// The keys in a text: lines `key`, `NAME=key` or `NAME,key`; or the columns name and token.
fn in_text(path: &Path, text: &str) -> anyhow::Result<Vec<Found>> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let is_header = |line: &str| {
        let columns: Vec<_> =
            line.split(',').map(|column| column.trim().trim_matches('"').to_ascii_lowercase()).collect();
        ["name", "token"].iter().all(|wanted| columns.iter().any(|column| column == wanted))
    };
    if lines.clone().next().is_some_and(|(_, line)| is_header(line)) {
        let rows = file::rows(path, text)?;
        return Ok(rows.into_iter().map(|row| (Some(row.name), row.value.written())).collect());
    }
    let found = |(at, line)| {
        let (name, token) = parts(line);
        let wrong = |why| Usage(format!("{}:{}: {why}", path.display(), at + 1));
        let name = name.map(|name| KeyName::parse(name).map_err(|why| wrong(why.to_string()))).transpose()?;
        if token.is_empty() {
            return Err(wrong("no key behind the name".to_owned()).into());
        }
        Ok((name, Secret::new(token.to_owned())))
    };
    lines.map(found).collect()
}

/// The name and the key of a line.
fn parts(line: &str) -> (Option<&str>, &str) {
    if matches!(Value::parse(line), Ok(Value::Reference(_))) {
        return (None, line);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, token)) = line.split_once('=').or_else(|| line.split_once(',')) else {
        return (None, line);
    };
    let token = token.trim();
    let bare = ['"', '\''].iter().find_map(|&quote| token.strip_prefix(quote)?.strip_suffix(quote));
    (Some(name.trim()), bare.unwrap_or(token).trim())
}

/// The keys in the variables whose names begin with `prefix`, by name; what follows it in small letters is the key's name.
fn in_variables(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    prefix: &str,
) -> Result<Vec<Found>, Usage> {
    let mut found = Vec::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else { continue };
        let Some(name) = variable.strip_prefix(prefix).filter(|name| !name.is_empty()) else { continue };
        let name = edit::parse(&name.to_ascii_lowercase())?;
        let token = value.into_string().map_err(|_| Usage(format!("not text: {variable}")))?;
        if !token.trim().is_empty() {
            found.push((Some(name), Secret::new(token.trim().to_owned())));
        }
    }
    found.sort_by(|(name, _), (other, _)| name.cmp(other));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Found, in_text, in_variables};

    fn shown(found: Vec<Found>) -> Vec<String> {
        let shown = |(name, key): Found| {
            format!("{} {}", name.map_or("-".to_owned(), |name| name.to_string()), key.expose())
        };
        found.into_iter().map(shown).collect()
    }

    fn read(text: &str) -> Result<Vec<String>, String> {
        in_text(Path::new("keys.txt"), text).map(shown).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_a_file_is_read() {
        for (text, expected) in [
            ("k1\n\n# mine\r\nk2\r\n", &["- k1", "- k2"][..]),
            ("ANN=k1\nexport ben = \"k2\"\ncay='k3'\n", &["ANN k1", "ben k2", "cay k3"]),
            ("ann,k1\nben,k2", &["ann k1", "ben k2"]),
            ("note,Token,name\nx,k1,ann\n", &["ann k1"]),
            ("cmd:pass --a=b\nann=env:A\n", &["- cmd:pass --a=b", "ann env:A"]),
            ("\n", &[]),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_told_with_its_number_and_no_key() {
        assert_eq!(read("ann=k1\n\nben=\n"), Err("keys.txt:3: no key behind the name".into()));
        assert_eq!(read("=geheim"), Err("keys.txt:1: the name is empty".into()));
        let broken = read("name,token\nann\n").unwrap_err();
        assert!(broken.starts_with("keys.txt:2: 1 fields where"), "{broken}");
    }

    #[test]
    fn what_follows_the_prefix_names_the_key() {
        let variables = [("OR_BEN", "k2"), ("OR_", "x"), ("OR_ANN_1", " k1 "), ("ORX", "x"), ("OR_CAY", "")];
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        assert_eq!(shown(in_variables(variables, "OR_").unwrap()), ["ann_1 k1", "ben k2"]);
    }
}
