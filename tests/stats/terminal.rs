//! The same on a real terminal, made by `script` of util-linux: as wide as it is, with colors, and again and again.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::november;

/// `hermux stats …` on a terminal of so many columns; none where there is no `script`.
fn start(home: &Path, columns: u16, words: &str, term: &str) -> Option<Child> {
    if Command::new("script").arg("--version").output().is_err() {
        println!("passed over, since there is no `script` here");
        return None;
    }
    let binary = env!("CARGO_BIN_EXE_hermux");
    let line = format!("stty cols {columns} rows 12; exec '{binary}' stats --data-dir data {words}");
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env_clear().current_dir(home);
    script.envs([("HOME", home), ("SHELL", Path::new("/bin/sh")), ("TERM", Path::new(term))]);
    script.env("PATH", std::env::var_os("PATH").unwrap());
    Some(script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
}

/// What it showed, and its exit code.
fn shown(home: &Path, columns: u16, words: &str) -> Option<(String, i32)> {
    let mut script = start(home, columns, words, "xterm")?;
    let mut text = String::new();
    script.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    Some((text.replace("\r\n", "\n"), script.wait().unwrap().code().unwrap()))
}

const ALL: &str = "--since 2026-11-01 --until 2026-11-03";

#[test]
fn tables_fit_the_terminal() {
    let home = november();
    for columns in [80, 140, 30] {
        for by in ["key", "hour,model"] {
            let words = format!("{ALL} --by {by} --color never");
            let Some((text, code)) = shown(home.path(), columns, &words) else { return };
            assert_eq!(code, 0, "{text}");
            insta::assert_snapshot!(format!("{columns}-columns-by-{}", by.replace(',', "-")), text);
            let lines = text.lines().skip(2);
            let longest = lines.map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= columns.into(), "{longest} of {columns}: {text}");
        }
    }
}

#[test]
fn errors_are_red_on_a_terminal_and_nowhere_else() {
    let home = november();
    let Some((text, _)) = shown(home.path(), 140, ALL) else { return };
    assert!(text.contains("\u{1b}[38;5;9m") || text.contains("\u{1b}[31m"), "{text:?}");
    // The numbers still stand below each other.
    let bare = |line: &str| {
        let mut parts = line.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
    };
    let (plain, _) = shown(home.path(), 140, &format!("{ALL} --color never")).unwrap();
    let uncolored = text.lines().map(|line| bare(line).trim_end().to_owned() + "\n").collect::<String>();
    assert_eq!(uncolored, plain);
}

#[test]
fn watching_shows_it_anew_in_place_until_it_is_told_to_end() {
    let home = november();
    let Some(mut script) = start(home.path(), 140, &format!("{ALL} --watch 1"), "xterm") else { return };
    let mut seen = Vec::new();
    let mut out = script.stdout.take().unwrap();
    let mut piece = [0; 512];
    // Three times from the upper left corner, and the screen emptied once.
    while seen.windows(3).filter(|three| three == b"\x1b[H").count() < 3 {
        let read = out.read(&mut piece).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&seen);
    assert_eq!(text.matches("\u{1b}[2J").count(), 1);
    assert!(text.contains("total") && text.contains("2026-11-01 to 2026-11-03 (UTC)\u{1b}[K"), "{text:?}");
    // As a person does: Ctrl-C.
    std::io::Write::write_all(&mut script.stdin.take().unwrap(), b"\x03").unwrap();
    let _ = out.read_to_end(&mut seen);
    assert_eq!(script.wait().unwrap().code(), Some(130));
}

#[test]
fn watching_is_refused_where_nothing_can_be_shown_in_place() {
    let home = november();
    let Some(mut script) = start(home.path(), 80, "--watch", "dumb") else { return };
    let mut text = String::new();
    script.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.starts_with("error: --watch goes with a terminal only\r\n"), "{text:?}");
    assert_eq!(script.wait().unwrap().code(), Some(2));
}
