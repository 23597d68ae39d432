//! The same on a real terminal: what is asked, what is shown, and what is not.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use hermux::simulator::{Fault, Scenario, Then};

use crate::support::{PATIENCE, Setup};
use crate::{KEYS, csv, place, secret, text};

/// `hermux keys …` on a terminal of its own, made by `script` of util-linux.
struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Arc<(Mutex<String>, Condvar)>,
    device: String,
}

impl Terminal {
    /// None where there is no `script`.
    fn open(setup: &Setup, arguments: &str) -> Option<Self> {
        if Command::new("script").arg("--version").output().is_err() {
            println!("passed over, since there is no `script` here");
            return None;
        }
        let line = format!(
            "tty; '{}' keys {arguments} --tokens '{}' --data-dir '{}'; echo \"exit $?.\"",
            env!("CARGO_BIN_EXE_hermux"),
            setup.tokens().display(),
            setup.data().display()
        );
        let hermux = setup.command();
        let mut script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env_clear()
            .envs(hermux.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs([("SHELL", "/bin/sh"), ("TERM", "xterm"), ("PATH", "/usr/bin:/bin")])
            .current_dir(setup.directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = script.stdin.take().unwrap();
        let mut shown = script.stdout.take().unwrap();
        let screen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let filling = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(count) = shown.read(&mut piece)
                && count > 0
            {
                bytes.extend_from_slice(&piece[..count]);
                *filling.0.lock().unwrap() = String::from_utf8_lossy(&bytes).into_owned();
                filling.1.notify_all();
            }
        });
        let terminal = Self { script, keyboard, screen, device: String::new() };
        let device = terminal.wait_for("\r\n").lines().next().unwrap().trim().to_owned();
        Some(Self { device, ..terminal })
    }

    /// All that was shown, once `wanted` is part of it.
    fn wait_for(&self, wanted: &str) -> String {
        let begin = Instant::now();
        let mut screen = self.screen.0.lock().unwrap();
        while !screen.contains(wanted) {
            let left = PATIENCE.checked_sub(begin.elapsed());
            let left = left.unwrap_or_else(|| panic!("`{wanted}` was never shown: {screen}"));
            screen = self.screen.1.wait_timeout(screen, left).unwrap().0;
        }
        screen.clone()
    }

    /// Types `line` once the terminal does not echo: what is typed before would be thrown away.
    fn type_hidden(&mut self, line: &str) {
        crate::support::eventually("the terminal stops to echo", || {
            let stty = Command::new("stty").args(["-a", "-F", &self.device]).output().unwrap();
            String::from_utf8_lossy(&stty.stdout).contains("-echo ").then_some(())
        });
        self.type_line(line);
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// All that was shown, once the command has ended, and its exit code.
    fn end(mut self) -> (String, String) {
        let shown = self.wait_for(".\r\n");
        self.script.wait().unwrap();
        for name in KEYS {
            assert!(!shown.contains(&secret(name)[..20]), "a key was shown");
        }
        let (shown, code) = shown.rsplit_once("exit ").unwrap();
        (shown.to_owned(), code.trim().trim_end_matches('.').to_owned())
    }
}

#[test]
fn add_asks_for_the_name_and_hides_the_key() {
    let (_simulator, setup) = place(Scenario::default(), &csv(&["ben"]));
    let Some(mut terminal) = Terminal::open(&setup, "add") else { return };
    terminal.wait_for("Name of the key");
    terminal.type_line("ann");
    terminal.wait_for("OpenRouter key for ann (not shown)");
    terminal.type_hidden(&secret("ann"));
    let (shown, code) = terminal.end();
    assert_eq!(code, "0", "{shown}");
    assert!(
        shown.contains("tier paid, no limit, account user_ann") && shown.contains("added `ann`"),
        "{shown}"
    );
    assert_eq!(text(&setup), csv(&["ben", "ann"]));
}

#[test]
fn add_refuses_a_name_that_is_there_before_it_asks_for_the_key() {
    let (_simulator, setup) = place(Scenario::default(), &csv(&["ben"]));
    let Some(mut terminal) = Terminal::open(&setup, "add") else { return };
    terminal.wait_for("Name of the key");
    terminal.type_line("ben");
    let (shown, code) = terminal.end();
    assert_eq!(code, "2", "{shown}");
    assert!(
        shown.contains("the name stands on line 2 already: ben") && !shown.contains("not shown"),
        "{shown}"
    );
}

#[test]
fn add_asks_for_no_key_with_a_key_on_the_screen() {
    let (_simulator, setup) = place(Scenario::default(), &csv(&["ben"]));
    let Some(mut terminal) = Terminal::open(&setup, "add") else { return };
    terminal.wait_for("Name of the key");
    terminal.type_line("sk-or-v1-12");
    let (shown, code) = terminal.end();
    assert_eq!(code, "2", "{shown}");
    assert!(shown.contains("the name looks like a key") && !shown.contains("not shown"), "{shown}");
}

#[test]
fn remove_asks_and_does_what_it_is_told() {
    for (answer, code, after) in [
        ("y", "0", csv(&["ben"])),
        ("Yes", "0", csv(&["ben"])),
        ("n", "1", csv(&KEYS[..2])),
        ("", "1", csv(&KEYS[..2])),
    ] {
        let (_simulator, setup) = place(Scenario::default(), &csv(&KEYS[..2]));
        let Some(mut terminal) = Terminal::open(&setup, "remove ann") else { return };
        terminal.wait_for("remove `ann` from");
        terminal.type_line(answer);
        let (shown, ended) = terminal.end();
        assert_eq!((ended.as_str(), text(&setup)), (code, after), "{answer}: {shown}");
        assert_eq!(shown.contains("nothing was removed"), code == "1", "{shown}");
    }
}

#[test]
fn check_shows_how_far_it_is_and_takes_that_back() {
    let slow = Fault::new(Then::Stall).on_path("/api/v1/key").with_key("cay").once();
    let (simulator, setup) = place(Scenario::default().fault(slow), &csv(&KEYS));
    let Some(terminal) = Terminal::open(&setup, "check --timeout 1h") else { return };
    let shown = terminal.wait_for("asking OpenRouter [#############-------] 2/3");
    assert!(shown.contains("\rasking OpenRouter [--------------------] 0/3"), "{shown}");
    simulator.drop_connections(hermux::simulator::Close::Rst);
    let (shown, code) = terminal.end();
    assert_eq!(code, "3", "{shown}");
    let (_, table) = shown.split_once("[####################] 3/3\r\u{1b}[K").unwrap();
    assert!(table.starts_with("name  valid  tier") && table.contains("ann   yes    paid"), "{table}");
}
