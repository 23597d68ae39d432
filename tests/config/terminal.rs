//! A real terminal, made by `script` of util-linux, with somebody at it.

use std::io::{BufRead, BufReader, Read, Write, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Place, out};

/// Runs `command` of a shell in `place` on a terminal of 60 columns, types `secret` when it is asked for without being
/// shown, and returns all that the terminal showed. `None`, said loudly, where there is no `script`.
pub(crate) fn typed(
    place: &Place,
    variables: &[(&str, String)],
    command: &str,
    secret: Option<&str>,
) -> Option<String> {
    if Command::new("script").arg("--version").output().is_err() {
        // Not by eprintln, which the test runner would keep to itself.
        let _ = writeln!(stderr(), "SKIPPED: there is no `script` here to make a terminal");
        return None;
    }
    let command = command.replace("hermux ", &format!("'{}' ", env!("CARGO_BIN_EXE_hermux")));
    let mut script = Command::new("script")
        .args(["-qec", &format!("tty; stty rows 24 cols 60; {command}"), "/dev/null"])
        .env_clear()
        .envs(place.variables())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .envs([("SHELL", "/bin/sh"), ("PATH", "/usr/bin:/bin"), ("TERM", "xterm")])
        .current_dir(place.here.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut terminal = String::new();
    shown.read_line(&mut terminal).unwrap();
    let mut keyboard = script.stdin.take().unwrap();
    if let Some(secret) = secret {
        // What is typed before the terminal stops to echo would be thrown away.
        let begin = Instant::now();
        loop {
            let stty = Command::new("stty").args(["-a", "-F", terminal.trim()]).output().unwrap();
            if out(&stty).contains("-echo ") {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "nothing was asked for: {}", out(&stty));
            std::thread::yield_now();
        }
        writeln!(keyboard, "{secret}").unwrap();
    }
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    let ended = script.wait().unwrap();
    assert!(ended.success(), "{rest}");
    Some(rest.replace("\r\n", "\n"))
}
