//! The committed completions and manual in the real shells and formatters; what is not installed is skipped, loudly.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Whether `program` is installed; says so loudly where it is not.
fn has(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        // Not by eprintln, which the test runner would keep to itself.
        let _ = writeln!(stderr(), "SKIPPED: there is no `{program}` here");
    }
    found
}

/// A working directory with keys and callers, and `hermux` on the path.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        // What is wrong with a row, or where its key lives, does not keep its name back.
        place.write(
            "tokens.csv",
            "name,token,weight\nann,sk-or-v1-a,\nteam-red,sk-or-v1-b,heavy\nsk-or-v1-c,x,\n",
        );
        place.write("other.csv", "token,name\nsk-or-v1-a,zoe\n");
        place.write("allow.txt", "hmx_a # ci\n");
        fs::create_dir(place.0.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hermux"), place.0.path().join("bin/hermux")).unwrap();
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// What `program` says, which must end well.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let bin = self.0.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path).env("HOME", self.0.path()).env("TERM", "dumb");
        let output = command.current_dir(self.0.path()).args(arguments).output().unwrap();
        said(&output)
    }
}

fn said(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{}: {told}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn completions(name: &str) -> String {
    format!("{REPOSITORY}/completions/{name}")
}

fn script(name: &str) -> String {
    format!("{REPOSITORY}/tests/shells/{name}")
}

/// A line that is typed, and what its last word may become.
const LINES: &[(&[&str], &[&str])] = &[
    (&["hermux", "con"], &["config"]),
    (&["hermux", "config", ""], &["path", "show", "init", "check", "help"]),
    (&["hermux", "completions", "z"], &["zsh"]),
    (&["hermux", "serve", "--first-byte"], &["--first-byte-timeout"]),
    (&["hermux", "keys", "reset", "te"], &["team-red"]),
    (&["hermux", "--tokens", "other.csv", "keys", "reset", "z"], &["zoe"]),
    (&["hermux", "keys", "reset", "--tokens", "other.csv", "z"], &["zoe"]),
    (&["hermux", "stats", "--key", "te"], &["team-red"]),
    (&["hermux", "stats", "--by", "mo"], &["model"]),
];

/// The words of `found` that are asked for: where a line ends in a new word, flags could follow too.
fn without_flags<'a>(found: impl Iterator<Item = &'a str>, line: &[&str]) -> Vec<&'a str> {
    let typed = line.last().unwrap();
    found.filter(|word| typed.starts_with('-') || !word.starts_with('-')).collect()
}

#[test]
fn bash_completes_commands_flags_and_names() {
    if !has("bash") {
        return;
    }
    let place = Place::new();
    for (line, wanted) in LINES {
        let (file, script) = (completions("hermux.bash"), script("drive.bash"));
        let mut arguments = vec!["--norc", script.as_str(), file.as_str()];
        arguments.extend(*line);
        let found = place.run("bash", &arguments);
        assert_eq!(without_flags(found.lines(), line), *wanted, "{line:?}");
    }
}

#[test]
fn zsh_completes_commands_flags_and_names() {
    if !has("zsh") {
        return;
    }
    let place = Place::new();
    let script = script("drive.zsh");
    for (line, wanted) in LINES.iter().filter(|(_, wanted)| wanted.len() == 1) {
        let typed = line.join(" ");
        let became = format!("{} {} ", line[..line.len() - 1].join(" "), wanted[0]);
        // As a package installs it: found by its name, loaded at the first TAB, which has to be answered too.
        assert_eq!(place.run("zsh", &["-f", &script, &completions(""), &typed]), format!("{became}\n"));
    }
    let loaded = place.run("zsh", &["-f", &script, &completions("_hermux"), "hermux keys reset te"]);
    assert_eq!(loaded, "hermux keys reset team-red \n");
}

#[test]
fn fish_completes_commands_flags_and_names() {
    if !has("fish") {
        return;
    }
    let place = Place::new();
    let ask = |line: &str| {
        let command = format!("source {}; complete -C '{line}'", completions("hermux.fish"));
        place.run("fish", &["--no-config", "-c", &command])
    };
    for (line, wanted) in LINES {
        let found = ask(&line.join(" "));
        let found = found.lines().map(|line| line.split('\t').next().unwrap());
        assert_eq!(without_flags(found, line), *wanted, "{line:?}");
    }
    assert_eq!(
        ask("hermux sta"),
        "stats\tShow requests, tokens, cost and latency by key, model, caller or time\n"
    );
}

#[test]
fn elvish_completes_commands_flags_and_names() {
    if !has("elvish") {
        return;
    }
    let place = Place::new();
    for (line, wanted) in LINES {
        // Its editor, where completers are registered, is there on a terminal alone.
        let last = if line.last() == Some(&"") { " ''" } else { "" };
        let code = format!(
            "var edit: = (ns [&completion:=(ns [&arg-completer=[&]])])\neval (slurp < {})\n\
             $edit:completion:arg-completer[hermux] {}{last}",
            completions("hermux.elv"),
            line.join(" "),
        );
        let found = place.run("elvish", &["-norc", "-c", &code]);
        assert_eq!(without_flags(found.lines(), line), *wanted, "{line:?}");
    }
}

#[test]
fn nushell_completes_commands_flags_and_names() {
    if !has("nu") {
        return;
    }
    let place = Place::new();
    // It knows of no flags before a subcommand.
    let known = |line: &[&str]| !line.last().unwrap().is_empty() && !line[1].starts_with('-');
    for (line, wanted) in LINES.iter().filter(|(line, _)| known(line)) {
        let text = format!("source {}\n{}", completions("hermux.nu"), line.join(" "));
        place.write("line.nu", &text);
        let length = text.len().to_string();
        let found = place.run("nu", &["--no-config-file", "--ide-complete", &length, "line.nu"]);
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        // It completes a subcommand with the words before it.
        let words = found["completions"].as_array().unwrap().iter();
        let words: Vec<_> =
            words.map(|word| word.as_str().unwrap().split(' ').next_back().unwrap()).collect();
        assert!(wanted.iter().all(|word| words.contains(word)), "{line:?}: {words:?}");
    }
}

/// A shell that is asked in the middle of a line has no use for errors, and no completions are an answer.
#[test]
fn what_cannot_be_completed_is_answered_with_nothing() {
    let place = Place::new();
    place.write("config.toml", "port = [");
    for words in [
        &["hermux", "--config", "config.toml", "keys", "reset", "a"][..],
        &["hermux", "--tokens", "nowhere.csv", "keys", "reset", "a"],
    ] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell", "names", "tcsh"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_hermux"));
            command.env_clear().env("HOME", place.0.path()).env("_HERMUX_COMPLETE", shell);
            command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
            let output = command.current_dir(place.0.path()).arg("--").args(words).output().unwrap();
            assert_eq!(said(&output), "", "{shell} {words:?}");
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(REPOSITORY).join("man");
    let pages: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.iter().any(|page| page.ends_with("hermux.5")) && pages.len() > 10, "{pages:?}");
    pages
}

#[test]
fn man_shows_every_page_without_a_warning() {
    if !has("man") || !has("groff") {
        return;
    }
    for page in pages() {
        let mut man = Command::new("man");
        man.env("MANWIDTH", "80").env("MANROFFSEQ", "").env("LC_ALL", "C.UTF-8").env("PAGER", "cat");
        let shown = said(&man.args(["--warnings", "-l"]).arg(&page).output().unwrap());
        assert!(shown.contains("NAME") && shown.contains("SEE ALSO"), "{}: {shown}", page.display());
    }
}

#[test]
fn mandoc_finds_no_fault_in_a_page() {
    if has("mandoc") {
        for page in pages() {
            let output =
                Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
            assert_eq!(said(&output), "");
        }
    }
}
