//! What `--help` says of every command, as snapshots (`INSTA_UPDATE=always cargo test --test help` takes them anew), and what
//! all commands have in common.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

use std::io::Read;
use std::process::{Command, Output, Stdio};

/// The commands as words, `[]` for hermux alone.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for sub in command.get_subcommands() {
            below(sub, &[words, &[sub.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    below(&hermux::cli::command(), &[], &mut all);
    all
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermux"));
    command.env_clear().env("HOME", "/nonexistent");
    command
}

fn run(words: &[&str]) -> Output {
    command().args(words).output().unwrap()
}

fn help(words: &[String], flag: &str) -> String {
    let output = command().args(words).arg(flag).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_as_it_was_looked_over() {
    for words in commands() {
        let name =
            ["hermux"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
        insta::assert_snapshot!(name, help(&words, "--help"));
    }
}

#[test]
fn every_help_has_examples_and_fits_into_a_terminal() {
    for words in commands() {
        for flag in ["-h", "--help"] {
            let help = help(&words, flag);
            assert!(
                help.contains("\nExamples:\n  hermux ") || help.contains("\nExamples:\n  $EDITOR"),
                "{words:?}: {help}"
            );
            let long = help.lines().find(|line| line.chars().count() > 120);
            assert_eq!(long, None, "{words:?}");
        }
    }
}

#[test]
fn every_command_stands_in_a_group_and_exit_codes_are_told() {
    let help = help(&[], "--help");
    for words in commands().iter().filter(|words| words.len() == 1) {
        let line = format!("\n  {:<11}  ", words[0]);
        assert_eq!(help.matches(&line).count(), 1, "say in GROUPS of src/cli.rs where it stands: {words:?}");
    }
    for group in ["Serve:", "Keys and access tokens:", "See what happens:", "Set up:"] {
        assert!(help.contains(&format!("\n{group}\n  ")), "{help}");
    }
    assert!(help.contains("Exit codes: 0 done, 1 the thing asked about is not well"), "{help}");
}

#[test]
fn a_slip_of_the_finger_is_answered_with_what_may_have_been_meant() {
    for (words, meant) in [
        (&["serv"][..], "'serve'"),
        (&["kyes", "list"], "'keys'"),
        (&["keys", "lst"], "'list'"),
        (&["config", "chek"], "'check'"),
        (&["serve", "--prot", "1"], "'--port'"),
        (&["completions", "bsh"], "'bash'"),
        (&["stats", "--colr", "never"], "'--color'"),
    ] {
        let output = run(words);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(told.contains("similar") && told.contains(meant), "{words:?}: {told}");
    }
}

#[test]
fn a_secret_typed_as_an_argument_is_not_said_again() {
    let key = format!("sk-or-v1-{}", "0123456789abcdef".repeat(4));
    let token = format!("hmx_{}", "A1b2C3d4".repeat(6));
    for secret in [key, token] {
        for words in [
            &["keys", "add", &secret][..],
            &["keys", "add", "ann", &secret],
            &["keys", "add", &format!("--from-env={secret}")],
            &["keys", "remove", &secret, "--yes"],
            &["allow", "revoke", &secret, "--yes"],
            &["allow", "check", &secret],
            &["allow", "gen", &secret],
            &[&secret],
        ] {
            let output = run(words);
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
            assert!(!told.contains(&secret[..12]), "a secret was repeated");
            assert!(told.contains("typed as an argument") && told.contains("\nhint: "), "{told}");
        }
    }
}

/// Whoever went away does not want to know, and it is no failure: `hermux … | head -1`.
#[test]
fn a_reader_that_went_away_is_met_with_silence() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    std::fs::write(at.join("tokens.csv"), "name,token\nann,sk-or-v1-a\n").unwrap();
    for words in [
        "--help",
        "help serve",
        "--version",
        "stats",
        "stats --json",
        "keys list",
        "keys list --json",
        "keys explain some/model",
        "allow gen ci",
        "config path",
        "config path --json",
        "config show",
        "config show --json",
        "completions bash",
        "completions nushell",
    ] {
        let mut child = command()
            .env("HOME", at)
            .current_dir(at)
            .args(words.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        let code = child.wait().unwrap().code();
        assert!(!told.contains("error") && !told.contains("panicked"), "{words}: {told}");
        assert!(code == Some(0), "{words}: {code:?} {told}");
    }
}
