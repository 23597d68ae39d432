//! `hermux allow` on a real terminal, made by `script` of util-linux: what is asked, and that a token is not shown.
#![allow(clippy::print_stdout, reason = "a test that was passed over says so")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::hermux::write_private;
use super::support::{Setup, TOKEN, eventually};

/// Runs `hermux allow …` on a terminal where `typed` is answered once `asked` is shown, or once nothing typed is shown any
/// more where `asked` is none. Gives what the terminal showed and the exit code; none where there is no `script`.
fn on_a_terminal(setup: &Setup, arguments: &str, asked: Option<&str>, typed: &str) -> Option<(String, i32)> {
    if Command::new("script").arg("--version").output().is_err() {
        println!("passed over, since there is no `script` here");
        return None;
    }
    let binary = env!("CARGO_BIN_EXE_hermux");
    let mut script = Command::new("script")
        .args(["-qec", &format!("tty; exec '{binary}' allow {arguments}"), "/dev/null"])
        .envs([("HOME", setup.directory()), ("SHELL", Path::new("/bin/sh"))])
        .current_dir(setup.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut terminal = String::new();
    shown.read_line(&mut terminal).unwrap();
    let mut seen = Vec::new();
    if let Some(asked) = asked {
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(asked) {
            assert_eq!(shown.read(&mut byte).unwrap(), 1, "it ended: {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    } else {
        // What is typed before the terminal stops to echo would be thrown away.
        eventually("it is asked for", || {
            let stty = Command::new("stty").args(["-a", "-F", terminal.trim()]).output().unwrap();
            String::from_utf8_lossy(&stty.stdout).contains("-echo ").then_some(())
        });
    }
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    keyboard.flush().unwrap();
    shown.read_to_end(&mut seen).unwrap();
    let code = script.wait().unwrap().code().unwrap();
    Some((String::from_utf8_lossy(&seen).into_owned(), code))
}

#[test]
fn a_token_to_be_checked_is_asked_for_and_not_shown() {
    let setup = Setup::url("http://127.0.0.1:9/api/v1");
    let Some((shown, code)) = on_a_terminal(&setup, "check", None, &format!("{TOKEN}\n")) else { return };
    assert_eq!(code, 0, "{}", shown.replace(TOKEN, "(the access token)"));
    assert!(shown.contains("access token (not shown)") && shown.contains("valid: allow.txt:1: tester"));
    assert!(!shown.contains(TOKEN));
    let (shown, code) = on_a_terminal(&setup, "check", None, "another\n").unwrap();
    assert_eq!(code, 1);
    assert!(shown.contains("unknown: it stands on no line of allow.txt"), "{shown}");
}

#[test]
fn to_revoke_is_asked_about_and_only_a_yes_does_it() {
    let setup = Setup::url("http://127.0.0.1:9/api/v1");
    let lines = format!("{TOKEN} # ci\nother-token-0123456789 # other\nthird-token-0123456789 # ci\n");
    write_private(&setup.allow(), &lines);
    let question = "revoke `ci`, lines 1, 3 of allow.txt?";
    let Some((shown, code)) = on_a_terminal(&setup, "revoke ci", Some(question), "n\n") else { return };
    assert_eq!(code, 1);
    assert!(shown.contains("nothing was revoked"), "{shown}");
    assert_eq!(std::fs::read_to_string(setup.allow()).unwrap(), lines);
    let (shown, code) = on_a_terminal(&setup, "revoke ci", Some(question), "Yes\n").unwrap();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(std::fs::read_to_string(setup.allow()).unwrap(), "other-token-0123456789 # other\n");
}

#[test]
fn to_revoke_a_token_that_stands_there_twice_tells_of_both_lines() {
    let setup = Setup::url("http://127.0.0.1:9/api/v1");
    write_private(&setup.allow(), &format!("{TOKEN} # ann\nother-token-0123456789\n{TOKEN} # ben\n"));
    let question = "revoke `ben`, lines 1, 3 of allow.txt?";
    let Some((shown, code)) = on_a_terminal(&setup, "revoke ben", Some(question), "y\n") else { return };
    assert_eq!(code, 0, "{shown}");
    assert_eq!(std::fs::read_to_string(setup.allow()).unwrap(), "other-token-0123456789\n");
}

#[test]
fn a_list_is_no_wider_than_the_terminal_and_breaks_no_word() {
    let setup = Setup::url("http://127.0.0.1:9/api/v1");
    let limits = "models=openai/*,*:free rpm=20 daily_requests=5 daily_cost=0.25 keys=ann,bob";
    write_private(&setup.allow(), &format!("{TOKEN} name=build-server expires=2030-01-01 {limits}\n"));
    if Command::new("script").arg("--version").output().is_err() {
        println!("passed over, since there is no `script` here");
        return;
    }
    let line = format!("stty rows 24 cols 100; exec '{}' allow list", env!("CARGO_BIN_EXE_hermux"));
    let script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .envs([("HOME", setup.directory()), ("SHELL", Path::new("/bin/sh"))])
        .current_dir(setup.directory())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8(script.stdout).unwrap();
    let widest = shown.lines().map(|line| line.trim_end().chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 100), "{shown}");
    for word in ["build-server", "requests", "daily_requests=5", "keys=ann,bob"] {
        assert!(shown.contains(word), "{word} is not in one piece:\n{shown}");
    }
}
