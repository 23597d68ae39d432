//! `completions/` and `man/` are what the command line says; `HERMUX_GENERATE=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says so by its panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hermux::cli::Shell;

#[path = "generated/manual.rs"]
mod manual;

const CURE: &str = "HERMUX_GENERATE=1 cargo test --test generated";

/// File name and content.
type Files = BTreeMap<String, Vec<u8>>;

#[test]
fn completions_are_those_of_the_command_line() {
    let files = [
        ("hermux.bash", Shell::Bash),
        ("_hermux", Shell::Zsh),
        ("hermux.fish", Shell::Fish),
        ("_hermux.ps1", Shell::Powershell),
        ("hermux.elv", Shell::Elvish),
        ("hermux.nu", Shell::Nushell),
    ];
    let files = files.map(|(name, shell)| (name.to_owned(), hermux::commands::completion(shell)));
    compare("completions", &Files::from(files));
}

#[test]
fn man_pages_are_those_of_the_command_line() {
    compare("man", &manual::all());
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
