//! `completions/` and `man/` are what the command line says; `HERMUX_GENERATE=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says so by its panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

const CURE: &str = "HERMUX_GENERATE=1 cargo test --test generated";

/// File name and content.
type Files = BTreeMap<String, Vec<u8>>;

#[test]
fn completions_are_those_of_the_command_line() {
    let mut files = Files::new();
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
        let name = match shell {
            Shell::Bash => "hermux.bash",
            Shell::Elvish => "hermux.elv",
            Shell::Fish => "hermux.fish",
            Shell::PowerShell => "_hermux.ps1",
            _ => "_hermux",
        };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut hermux::cli::command(), "hermux", &mut text);
        files.insert(name.to_owned(), text);
    }
    compare("completions", &files);
}

#[test]
fn man_pages_are_those_of_the_command_line() {
    let mut command = hermux::cli::command().disable_help_subcommand(true);
    command.build();
    let mut files = Files::new();
    pages(&command, "hermux", &mut files);
    compare("man", &files);
}

/// One page for `command`, called `name`, and for each of its subcommands.
fn pages(command: &Command, name: &str, files: &mut Files) {
    for sub in command.get_subcommands() {
        pages(sub, &format!("{name}-{}", sub.get_name()), files);
    }
    let mut text = Vec::new();
    // Without a date: a page would differ each day.
    let version = concat!("hermux ", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).title(name).source(version).manual("hermux manual");
    page.render(&mut text).expect("a write to memory does not fail");
    files.insert(format!("{name}.1"), text);
}

/// Compares `files` with those in `folder`, or puts them there when asked to.
fn compare(folder: &str, files: &Files) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if std::env::var_os("HERMUX_GENERATE").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut stale: Vec<_> = files
        .iter()
        .filter(|(name, text)| fs::read(folder.join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| name.clone())
        .collect();
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !files.contains_key(&name) {
            stale.push(name);
        }
    }
    let folder = folder.display();
    assert!(stale.is_empty(), "not what the command line says, in {folder}: {stale:?}\nhint: run `{CURE}`");
}
