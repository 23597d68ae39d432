//! `hermux top` on a real terminal, made by tmux: what it shows, what its keys do, and how it ends.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![cfg(all(unix, feature = "tui"))]

mod support;

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use hermux::simulator::{After, Close, Fault, Scenario, Simulator, Then, errors};
use support::hermux::write_private;
use support::{Hermux, Request, Setup, eventually};
use tempfile::TempDir;

/// A terminal of 120 columns and 34 lines with a shell in which `hermux top` runs; it ends with this.
struct Terminal {
    /// Its own: that of the server may be gone before it is to end.
    directory: TempDir,
}

impl Terminal {
    /// None, loudly, where there is no tmux.
    fn open(hermux: &Hermux) -> Option<Self> {
        Self::of(hermux.setup())
    }

    fn of(setup: &Setup) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            println!("SKIPPED: tmux is not installed, so nothing was seen of `hermux top`");
            return None;
        }
        let terminal = Self { directory: tempfile::tempdir().unwrap() };
        let line = format!(
            "stty -a > before; '{}' top --data-dir '{}'; echo \"ended with $?.\"; stty -a > after; \
             cmp before after && echo 'as it was.'; sleep 60",
            env!("CARGO_BIN_EXE_hermux"),
            setup.data().display()
        );
        let started = terminal
            .tmux()
            .args(["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "34", "-s", "top", &line])
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("SHELL", "/bin/sh"),
                ("LANG", "C.UTF-8"),
                ("HOME", "/nonexistent"),
            ])
            .current_dir(setup.directory())
            .status()
            .unwrap();
        assert!(started.success(), "tmux starts");
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.directory.path().join("tmux")).arg("-u");
        tmux
    }

    fn screen(&self) -> String {
        let output = self.tmux().args(["capture-pane", "-p", "-t", "top"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, keys: &[&str]) {
        assert!(self.tmux().args(["send-keys", "-t", "top"]).args(keys).status().unwrap().success());
    }

    /// The screen, once `is` it.
    fn see(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                last = self.screen();
                is(&last).then_some(())
            });
        }));
        assert!(seen.is_ok(), "{what} was not seen:\n{last}");
        last
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").stderr(Stdio::null()).status();
    }
}

/// A server before a simulator of three keys, `ann`, whom `OpenRouter` refuses, `ben` and `cay`.
fn started() -> (Simulator, Hermux) {
    let refused = Fault::new(Then::Deny(errors::user_not_found())).with_key("ann");
    let scenario = Scenario::with_keys(&["ann", "ben", "cay"]).fault(refused);
    let mut csv = "name,token\n".to_owned();
    for key in scenario.keys() {
        writeln!(csv, "{},{}", key.name, key.secret).unwrap();
    }
    let simulator = Simulator::start(scenario).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &csv);
    (simulator, setup.start())
}

fn ask(hermux: &Hermux, model: &str) -> u16 {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
    hermux.ask(&Request::post("/api/v1/chat/completions", &body)).status()
}

/// The line of the keys' table that begins with `name`.
fn row<'s>(screen: &'s str, name: &str) -> &'s str {
    screen.lines().find(|line| line.trim_start_matches(['│', ' ']).starts_with(name)).unwrap_or("")
}

/// How many `hermux top` run on the data of `setup`.
#[cfg(target_os = "linux")]
fn watching(setup: &Setup) -> usize {
    let data = setup.data().display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let words = |line: Vec<u8>| line.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>();
    lines
        .map(words)
        .filter(|words| {
            words.get(1).is_some_and(|word| word == b"top") && words.contains(&data.clone().into())
        })
        .count()
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_gone_ends_it() {
    let (_simulator, hermux) = started();
    let Some(terminal) = Terminal::open(&hermux) else { return };
    terminal.see("idle keys", |screen| row(screen, "ben").contains(" ok "));
    assert_eq!(watching(hermux.setup()), 1);
    drop(terminal);
    eventually("the end", || (watching(hermux.setup()) == 0).then_some(()));
}

#[test]
fn the_screen_shows_what_happens_and_obeys_its_keys() {
    let (_simulator, hermux) = started();
    let Some(terminal) = Terminal::open(&hermux) else { return };
    terminal.see("three idle keys", |screen| {
        ["ann", "ben", "cay"].iter().all(|key| row(screen, key).contains(" ok "))
    });

    for _ in 0..3 {
        assert_eq!(ask(&hermux, "openai/gpt-4o-mini"), 200);
    }
    let screen = terminal.see("the requests", |screen| screen.contains("since then 3 requests, 4 attempts"));
    assert!(screen.contains(" requests a minute: 3, at most 3 "), "{screen}");
    assert!(row(&screen, "ann").contains(" until "), "{screen}");
    assert!(screen.contains("ann 401 key refused, openai/gpt-4o-mini, asked by tester"), "{screen}");
    assert!(screen.contains("nobody waits"), "{screen}");

    terminal.press(&["?"]);
    terminal.see("the help", |screen| screen.contains("end the cooldowns of the chosen key and its account"));
    terminal.press(&["x", "/", "c", "a", "Enter"]);
    let screen = terminal.see("one key", |screen| screen.contains("keys: 1 of 3"));
    assert_eq!((row(&screen, "ann"), row(&screen, "ben")), ("", ""), "{screen}");
    terminal.press(&["Escape"]);
    terminal.see("all keys", |screen| screen.contains("keys: 3, as in tokens.csv"));
    terminal.press(&["s", "S"]);
    let screen = terminal.see("another order", |screen| screen.contains("sorted by name, turned round"));
    assert!(screen.find("cay ").unwrap() < screen.find("ben ").unwrap(), "{screen}");

    terminal.press(&["End", "r"]);
    terminal.see("the reset", |screen| screen.contains("ended the cooldowns of ann"));
    terminal.see("ann is back", |screen| row(screen, "ann").contains(" ok "));

    terminal.press(&["Space"]);
    terminal.see("a pause", |screen| screen.contains(" paused "));
    assert_eq!(ask(&hermux, "openai/gpt-4o-mini"), 200);
    assert!(terminal.screen().contains("since then 3 requests"), "nothing moves");
    terminal.press(&["Space"]);
    terminal.see("it goes on", |screen| screen.contains("since then 4 requests"));

    terminal.press(&["q"]);
    let screen = terminal.see("the end", |screen| screen.contains("as it was."));
    assert!(screen.contains("ended with 0.") && !screen.contains("in flight"), "{screen}");
}

#[test]
fn an_answer_that_broke_off_tells_who_asked_and_for_which_model() {
    let (simulator, hermux) = started();
    simulator.add_fault(Fault::new(Then::Cut(After::Events(2), Close::Rst)).with_key("ben"));
    simulator.add_fault(Fault::new(Then::Cut(After::Events(2), Close::Rst)).with_key("cay"));
    let Some(terminal) = Terminal::open(&hermux) else { return };
    terminal.tmux().args(["resize-window", "-t", "top", "-x", "240", "-y", "34"]).status().unwrap();
    let body = r#"{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let _ = hermux.ask(&Request::post("/api/v1/chat/completions", body));
    let all =
        |line: &str| line.contains("upstream") && line.contains(", openai/gpt-4o-mini, asked by tester");
    terminal.see("who and which", |screen| screen.lines().any(all));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let (_simulator, hermux) = started();
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let Some(terminal) = Terminal::open(&hermux) else { return };
        terminal.see("the keys", |screen| row(screen, "cay").contains(" ok "));
        let shell = terminal.tmux().args(["list-panes", "-F", "#{pane_pid}"]).output().unwrap();
        let shell = String::from_utf8(shell.stdout).unwrap();
        // The shell's child is the one that runs.
        let killed =
            Command::new("pkill").args(["-x", &format!("-{name}"), "-P", shell.trim(), "hermux"]).status();
        assert!(killed.unwrap().success(), "{name}");
        let screen = terminal.see("the end", |screen| screen.contains("as it was."));
        assert!(screen.contains(&format!("ended with {code}.")) && !screen.contains("in flight"), "{screen}");
    }
}

#[test]
fn a_server_that_ends_is_told_and_the_next_one_is_found() {
    let (_simulator, hermux) = started();
    let Some(terminal) = Terminal::open(&hermux) else { return };
    terminal.see("the keys", |screen| row(screen, "cay").contains(" ok "));
    let setup = hermux.stop();
    terminal.see("no server", |screen| screen.contains("the server has ended; waiting for the next one"));
    let next = setup.start();
    terminal.see("the next one", |screen| screen.contains(&format!("process {},", next.pid())));
}

#[test]
fn without_a_terminal_or_a_server_it_says_so() {
    let (_simulator, hermux) = started();
    let top =
        |setup: &Setup| setup.command().arg("top").arg("--data-dir").arg(setup.data()).output().unwrap();
    let output = top(hermux.setup());
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("error: `hermux top` needs a terminal\nhint: "), "{told}");

    let Some(terminal) = Terminal::open(&hermux) else { return };
    terminal.see("the keys", |screen| row(screen, "cay").contains(" ok "));
    terminal.press(&["q"]);
    terminal.see("the end", |screen| screen.contains("as it was."));
    drop(terminal);
    let setup = hermux.stop();
    let Some(terminal) = Terminal::of(&setup) else { return };
    let screen = terminal.see("the end", |screen| screen.contains("ended with 3."));
    assert!(screen.contains("error: no server runs with this data directory: "), "{screen}");
}
