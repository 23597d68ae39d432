//! Completions: the scripts that shells load, and the answers that hermux gives them at each TAB.
//!
//! The scripts hold no commands: they ask the binary, which so completes exactly what it understands, the names in
//! `tokens.csv` and `allow.txt` included. Nushell alone has no such protocol; its script lists the commands, and
//! asks for the names.

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::Command;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use clap_complete_nushell::Nushell;

use crate::cli::{self, Shell};
use crate::config::Config;

/// The variable by which a script says that it wants an answer, and for which shell.
const VARIABLE: &str = "_HERMUX_COMPLETE";

/// The value of it by which the script of nushell, which knows the commands itself, asks for names alone.
const NAMES: &str = "names";

type Candidates = fn() -> Vec<CompletionCandidate>;

/// The arguments that are names: the subcommand, the argument's id (`None`: the first that is no flag), and the names.
/// What does not exist is passed over.
const NAMED: &[(&[&str], Option<&str>, Candidates)] = &[
    (&["keys", "check"], None, keys),
    (&["keys", "disable"], None, keys),
    (&["keys", "enable"], None, keys),
    (&["keys", "remove"], None, keys),
    (&["keys", "rename"], None, keys),
    (&["keys", "reset"], None, keys),
    (&["allow", "gen"], Some("keys"), keys),
    (&["allow", "revoke"], None, callers),
    (&["stats"], Some("key"), keys),
    (&["stats"], Some("caller"), callers),
];

/// Answers a shell that asks for completions; false where none does.
#[must_use]
pub fn answered() -> bool {
    if std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == NAMES) {
        let words: Vec<OsString> =
            std::env::args_os().skip(1).skip_while(|word| word != "--").skip(1).collect();
        // A shell that is gone needs no answer.
        let _ = io::stdout().write_all(names(&words).as_bytes());
        return true;
    }
    let asked = CompleteEnv::with_factory(command).var(VARIABLE).bin("hermux").completer("hermux");
    // An error in the middle of somebody's command line would help nobody.
    asked.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// What makes `shell` complete, to be loaded by it.
#[must_use]
pub fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let register = |completer: &dyn EnvCompleter, script: &mut Vec<u8>| {
        // A write to memory does not fail.
        let _ = completer.write_registration(VARIABLE, "hermux", "hermux", "hermux", script);
    };
    match shell {
        Shell::Bash => register(&Bash, &mut script),
        Shell::Zsh => {
            register(&Zsh, &mut script);
            // Where zsh loads the file at the first TAB, as packages have it, that TAB is to be answered too.
            script.extend_from_slice(
                b"if [[ $funcstack[1] == _hermux ]]; then\n    _clap_dynamic_completer_hermux \"$@\"\nfi\n",
            );
        }
        Shell::Fish => register(&Fish, &mut script),
        Shell::Powershell => register(&Powershell, &mut script),
        Shell::Elvish => register(&Elvish, &mut script),
        Shell::Nushell => {
            let mut command = cli::command().disable_help_subcommand(true);
            clap_complete::generate(Nushell, &mut command, "hermux", &mut script);
            script = with_names(&String::from_utf8_lossy(&script)).into_bytes();
        }
    }
    script
}

/// The command line, its arguments that are names told to complete so.
fn command() -> Command {
    let mut command = cli::command();
    for (path, id, names) in NAMED {
        if argument(&command, path, *id).is_some() {
            command = with_candidates(command, path, *id, *names);
        }
    }
    command
}

/// The id of the argument that is meant, where there is such a one.
fn argument(command: &Command, path: &[&str], id: Option<&str>) -> Option<String> {
    let sub = path.iter().try_fold(command, |command, name| command.find_subcommand(name))?;
    let argument = match id {
        Some(id) => sub.get_arguments().find(|argument| argument.get_id() == id),
        None => sub.get_positionals().next(),
    };
    argument.map(|argument| argument.get_id().to_string())
}

fn with_candidates(command: Command, path: &[&str], id: Option<&str>, names: Candidates) -> Command {
    if let [first, rest @ ..] = path {
        return command.mut_subcommand(first, |sub| with_candidates(sub, rest, id, names));
    }
    match argument(&command, &[], id) {
        Some(id) => command.mut_arg(id, |argument| argument.add(ArgValueCandidates::new(names))),
        None => command,
    }
}

/// The names of the keys in the `tokens.csv` that the words typed so far would use.
///
/// The file is read leniently, for names alone: what is wrong with a row, or where its key lives, is of no interest here.
fn keys() -> Vec<CompletionCandidate> {
    let Some(config) = config() else { return Vec::new() };
    let Ok(mut reader) = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(&config.tokens)
    else {
        return Vec::new();
    };
    let column = reader
        .headers()
        .ok()
        .and_then(|header| header.iter().position(|name| name.eq_ignore_ascii_case("name")));
    let Some(column) = column else { return Vec::new() };
    let names = reader.records().filter_map(|row| row.ok()?.get(column).map(str::to_owned));
    candidates(names)
}

/// The same of the callers in `allow.txt`.
fn callers() -> Vec<CompletionCandidate> {
    let Some(text) = config().and_then(|config| std::fs::read_to_string(config.allow).ok()) else {
        return Vec::new();
    };
    candidates(text.lines().filter_map(caller))
}

/// The caller's name on a line of `allow.txt`: `name=…`, else the comment behind a token without attributes.
fn caller(line: &str) -> Option<String> {
    let (token, rest) = line.trim().split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    let named = match rest.strip_prefix('#') {
        Some(comment) => comment.trim(),
        None => rest.split("name=").nth(1).unwrap_or_default(),
    };
    let name = match named.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None if rest.starts_with('#') => Some(named),
        None => named.split_whitespace().next(),
    };
    name.filter(|_| !token.starts_with('#')).map(str::to_owned)
}

/// A key or token that stands where a name belongs is not shown.
fn candidates(names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let names =
        names.filter(|name| !name.is_empty() && !name.contains("sk-or-") && !name.starts_with("hmx_"));
    names.map(CompletionCandidate::new).collect()
}

/// The configuration that the words typed so far come to, where it is good.
fn config() -> Option<Config> {
    let typed = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let typed: Vec<String> = typed.filter_map(|word| word.into_string().ok()).collect();
    Config::load(&places(&typed)).ok()
}

/// The flags among `words` that say where files are; the line may be unfinished, so clap can't parse it.
fn places(words: &[String]) -> Vec<(&'static str, String)> {
    const PLACES: [(&str, &str); 4] =
        [("--tokens", "tokens"), ("--allow", "allow"), ("--data-dir", "data_dir"), ("--config", "config")];
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None if word == "-t" => ("--tokens", None),
            None => (word.as_str(), None),
        };
        let Some((_, setting)) = PLACES.iter().find(|(known, _)| *known == flag) else { continue };
        let value = value.map(str::to_owned).or_else(|| words.next().cloned());
        // Shells hand the tilde on as it was typed.
        let value = value.map(|value| match (value.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest).display().to_string(),
            _ => value,
        });
        found.extend(value.filter(|value| !value.is_empty()).map(|value| (*setting, value)));
    }
    found
}

/// The names that the last of `words` may become, one a line.
fn names(words: &[OsString]) -> String {
    let mut command = command();
    let last = words.len().saturating_sub(1);
    let found = clap_complete::engine::complete(&mut command, words.to_vec(), last, None).unwrap_or_default();
    let values = found.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned());
    values.filter(|value| !value.starts_with('-')).fold(String::new(), |text, value| text + &value + "\n")
}

/// The script of nushell with a completer at each argument that is a name.
fn with_names(script: &str) -> String {
    const COMPLETER: &str = "  # The names of keys and callers, which hermux knows.
  def \"nu-complete hermux names\" [context: string] {
    with-env { _HERMUX_COMPLETE: names } { ^hermux -- ...($context | split row --regex '\\s+') | lines }
  }
";
    let command = cli::command();
    let named: Vec<(String, String)> = NAMED
        .iter()
        .filter_map(|(path, id, _)| {
            let place = format!("  export extern \"hermux {}\" [", path.join(" "));
            Some((place, argument(&command, path, *id)?))
        })
        .collect();
    let mut text = String::new();
    let mut inside = Vec::new();
    for line in script.lines() {
        if line.starts_with("  export extern") {
            inside = named.iter().filter(|(place, _)| line == place).map(|(_, id)| id).collect();
        }
        let word = line.trim_start().split([':', '?', '(', ' ']).next().unwrap_or_default();
        let word = word.trim_start_matches("...").trim_start_matches("--").replace('-', "_");
        if inside.iter().any(|id| **id == word) && line.contains(": string") {
            text.push_str(&line.replacen(": string", ": string@\"nu-complete hermux names\"", 1));
        } else {
            text.push_str(line);
        }
        text.push('\n');
        if line.starts_with("module ") {
            text.push_str(COMPLETER);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{NAMED, argument, caller, command, places};

    #[test]
    fn every_name_that_is_to_be_typed_completes() {
        // `add` and `gen` make new names, and what `explain` takes is a model.
        let others = ["keys add", "allow gen", "keys explain"];
        for group in ["keys", "allow"] {
            for sub in command().find_subcommand(group).unwrap().get_subcommands() {
                let path = [group, sub.get_name()];
                let known = NAMED.iter().any(|(named, id, _)| *named == path && id.is_none());
                assert!(
                    sub.get_positionals().next().is_none() || known || others.contains(&&*path.join(" ")),
                    "say in NAMED what completes `hermux {}`",
                    path.join(" ")
                );
            }
        }
        assert_eq!(argument(&command(), &["keys", "reset"], None).as_deref(), Some("name"));
    }

    #[test]
    fn callers_are_found_in_every_form_of_a_line() {
        let cases = [
            ("hmx_abc # ci", Some("ci")),
            ("hmx_abc # the build server", Some("the build server")),
            ("hmx_abc", None),
            ("sha256:abc name=ci rpm=3 # of the team", Some("ci")),
            ("sha256:abc rpm=3 name=\"build server\" # of the team", Some("build server")),
            ("# a comment", None),
            ("", None),
        ];
        for (line, wanted) in cases {
            assert_eq!(caller(line).as_deref(), wanted, "{line}");
        }
    }

    #[test]
    fn the_places_that_were_typed_are_found_however_they_are_written() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found = places(&words("hermux -t a --allow=b keys --config c reset --data-dir"));
        assert_eq!(
            found,
            [("tokens", "a".to_owned()), ("allow", "b".to_owned()), ("config", "c".to_owned())]
        );
    }
}
