//! The command line from outside: exit codes, what goes to stdout and stderr, where values come from.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says so by its panic")]

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use assert_cmd::Command;
use tempfile::TempDir;

const KEY: &str = "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// An empty working directory and an empty home, with nothing of the environment of this process.
struct Place {
    here: TempDir,
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { here: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    fn plain(&self) -> std::process::Command {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("hermux"));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("XDG_DATA_HOME", self.home.path().join("data"))
            .current_dir(self.here.path());
        command
    }

    fn hermux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from_std(self.plain());
        command.args(arguments);
        command
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.here.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.here.path().join(name), text).unwrap();
    }

    /// The user's configuration directory, made.
    fn config_dir(&self) -> std::path::PathBuf {
        let folder = self.home.path().join("config/hermux");
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn told(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn hermux_alone_prints_help_and_exits_with_2() {
    for arguments in [&[][..], &["keys"], &["allow"]] {
        let output = Place::new().hermux(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(out(&output).is_empty() && told(&output).contains("Usage: hermux"), "{}", told(&output));
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let place = Place::new();
    let output = place.hermux(&["--version"]).output().unwrap();
    assert_eq!(
        (output.status.code(), out(&output)),
        (Some(0), concat!("hermux ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    for arguments in [&["--help"][..], &["help", "serve"], &["keys", "add", "-h"]] {
        let output = place.hermux(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("Examples:\n"), "{}", out(&output));
    }
}

#[test]
fn short_help_leaves_out_what_is_rarely_set() {
    let place = Place::new();
    let help = |flag| out(&place.hermux(&["serve", flag]).output().unwrap()).to_owned();
    assert!(!help("-h").contains("--max-uri-size") && help("-h").contains("--port"));
    assert!(help("--help").contains("--max-uri-size"));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in
        [&["serf"][..], &["serve", "--prot", "1"], &["keys", "add"], &["keys", "add", "ann", KEY]]
    {
        assert_eq!(Place::new().hermux(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

/// Flag, variable and key of each setting, and what the help says of them, belong together.
#[test]
fn every_setting_has_its_flag_and_every_flag_its_setting() {
    let command = hermux::cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let flags: Vec<_> = command.get_arguments().chain(serve.get_arguments()).collect();
    for setting in hermux::config::SETTINGS.iter().filter(|setting| !setting.in_file_alone()) {
        let Some(flag) = flags.iter().find(|flag| flag.get_id() == setting.name) else {
            assert_eq!(setting.name, "verbosity", "the one that -v and -q make up");
            continue;
        };
        assert_eq!(flag.get_long().map(|long| format!("--{long}")), Some(setting.flag()));
        let help = flag.get_help().unwrap().to_string();
        assert!(help.contains(&format!("[env: {}", setting.variable())), "{help}");
        if !matches!(setting.default, "" | "false") {
            assert!(help.contains(&format!("[default: {}]", setting.default)), "{help}");
        }
    }
    for flag in flags {
        let id = flag.get_id().as_str();
        assert!(
            ["config", "verbose", "quiet", "color", "help", "version"].contains(&id)
                || hermux::config::SETTINGS.iter().any(|setting| setting.name == id),
            "{id}"
        );
    }
}

/// What is typed arrives under its own name.
#[test]
fn every_flag_is_handed_on_under_its_own_name() {
    use clap::Parser;
    let has_flag =
        |setting: &&hermux::config::Setting| setting.name != "verbosity" && !setting.in_file_alone();
    for setting in hermux::config::SETTINGS.iter().filter(has_flag) {
        let mut typed = vec!["hermux".to_owned(), "serve".to_owned(), setting.flag()];
        let is_switch = setting.default == "false";
        let value = if is_switch { "true" } else { "x" };
        if !is_switch {
            typed.push(value.to_owned());
        }
        let settings = hermux::cli::Cli::try_parse_from(typed).unwrap().settings();
        assert_eq!(settings, [(setting.name, value.to_owned())]);
    }
    let settings = |typed: &str| hermux::cli::Cli::try_parse_from(typed.split(' ')).unwrap().settings();
    assert_eq!(settings("hermux stats -vv -q"), [("verbosity", "1".to_owned())]);
    assert_eq!(settings("hermux -qq stats"), [("verbosity", "-2".to_owned())]);
    let short = settings("hermux serve -t a -a b -p c --config d");
    assert_eq!(
        short.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["tokens", "config", "address", "port"]
    );
}

#[test]
fn bad_values_are_told_with_their_sources_and_exit_code_2() {
    let place = Place::new();
    let file = place.config_dir().join("config.toml");
    fs::write(&file, "# mine\ngrace = \"later\"\n").unwrap();
    let output = place.hermux(&["serve", "--port", "99999"]).env("HERMUX_WORKERS", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let wanted = format!(
        "error: {}:2: grace: not a duration such as 30, 30s, 5m, 1h30m or 7d: later\n\
         error: HERMUX_WORKERS: not a number from 1 to 1024: 0\n\
         error: --port: not a port: 99999\n",
        file.display()
    );
    assert_eq!(told(&output), wanted);
}

#[test]
fn no_auth_beyond_loopback_exits_with_2_and_a_hint() {
    let output = Place::new().hermux(&["serve", "--no-auth", "-a", "0.0.0.0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).starts_with("error: --no-auth: only with a loopback address"), "{}", told(&output));
    assert!(told(&output).contains("\nhint: "), "{}", told(&output));
}

#[test]
fn a_key_is_added_from_standard_input() {
    let place = Place::new();
    let output = place
        .hermux(&["keys", "add", "ann", "--stdin", "--no-check"])
        .write_stdin(format!("  {KEY}\r\n"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((out(&output), told(&output)), ("", "added `ann` to tokens.csv\n"));
    assert_eq!(place.read("tokens.csv"), format!("name,token\nann,{KEY}\n"));
    assert_eq!(names(place.here.path()), ["tokens.csv"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(place.here.path().join("tokens.csv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn an_odd_key_is_added_with_a_warning_that_does_not_show_it() {
    let place = Place::new();
    let output = place
        .hermux(&["keys", "add", "ann", "--stdin", "--no-check"])
        .write_stdin("geheim\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(told(&output).starts_with("warning: "), "{}", told(&output));
    assert!(!told(&output).contains("geheim"), "{}", told(&output));
    assert_eq!(place.read("tokens.csv"), "name,token\nann,geheim\n");
}

#[test]
fn what_cannot_be_a_key_or_a_name_exits_with_2_and_writes_nothing() {
    let place = Place::new();
    let long = "k".repeat(5000);
    for (name, input) in [
        ("ann", ""),
        ("ann", " \n"),
        ("ann", "one\ntwo\n"),
        ("ann", "k\u{e4}y"),
        ("ann", &long),
        ("", KEY),
        (KEY, KEY),
        ("m\u{fc}ller", KEY),
    ] {
        let output = place
            .hermux(&["keys", "add", name, "--stdin", "--no-check"])
            .write_stdin(input)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?} {input:?}: {}", told(&output));
        assert!(told(&output).starts_with("error: "), "{}", told(&output));
        assert!(!told(&output).contains("sk-or"), "{}", told(&output));
    }
    assert!(names(place.here.path()).is_empty());
}

#[test]
fn a_repeated_name_or_key_is_refused_with_2() {
    let place = Place::new();
    let add = |name: &str, key: &str| {
        let output =
            place.hermux(&["keys", "add", name, "--stdin", "--no-check"]).write_stdin(key).output().unwrap();
        (output.status.code(), told(&output).to_owned())
    };
    assert_eq!(add("ann", KEY).0, Some(0));
    for (code, told) in [add("ann", "other"), add("bob", KEY)] {
        assert_eq!(code, Some(2));
        assert!(told.starts_with("error: tokens.csv: ") && told.contains("\nhint: "), "{told}");
        assert!(!told.contains("sk-or"), "{told}");
    }
}

#[test]
fn without_a_terminal_a_key_is_not_asked_for() {
    let place = Place::new();
    let output = place.hermux(&["keys", "add", "ann"]).write_stdin(KEY).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        told(&output),
        "error: no terminal to ask for the key\nhint: give it on standard input, with --stdin\n"
    );
    assert!(names(place.here.path()).is_empty());
}

#[test]
fn processes_that_add_at_once_lose_nothing() {
    let place = Place::new();
    let adding: Vec<_> = (0..12)
        .map(|n| {
            let mut command = place.plain();
            command.args(["keys", "add", &format!("key{n}"), "--stdin", "--no-check"]);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let key = format!("sk-or-v1-{n:064x}\n");
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), key.as_bytes()).unwrap();
            child
        })
        .collect();
    for child in adding {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    }
    let loaded = hermux::keys::file::load(
        &place.here.path().join("tokens.csv"),
        hermux::keys::reference::Commands::Refused,
    )
    .unwrap();
    assert_eq!(loaded.keys.len(), 12);
    assert_eq!(names(place.here.path()), ["tokens.csv"]);
}

/// On a real terminal, made by `script` of util-linux.
#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_the_key_is_asked_for_and_not_shown() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::Command;
    use std::time::{Duration, Instant};

    if Command::new("script").arg("--version").output().is_err() {
        println!("passed over, since there is no `script` here");
        return;
    }
    let place = Place::new();
    let binary = assert_cmd::cargo::cargo_bin!("hermux").display().to_string();
    let mut script = Command::new("script")
        .args(["-qec", &format!("tty; exec '{binary}' keys add ann --no-check"), "/dev/null"])
        .envs([("HOME", place.home.path()), ("SHELL", Path::new("/bin/sh"))])
        .current_dir(place.here.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut terminal = String::new();
    shown.read_line(&mut terminal).unwrap();

    // What is typed before the terminal stops to echo would be thrown away.
    let begin = Instant::now();
    loop {
        let stty = Command::new("stty").args(["-a", "-F", terminal.trim()]).output().unwrap();
        if out(&stty).contains("-echo ") {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "the key was never asked for: {}", out(&stty));
        std::thread::yield_now();
    }
    let mut keyboard = script.stdin.take().unwrap();
    writeln!(keyboard, "{KEY}").unwrap();
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    assert!(script.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("OpenRouter key for ann") && rest.contains("added `ann`"), "{rest}");
    assert!(!rest.contains("sk-or"), "{rest}");
    assert_eq!(place.read("tokens.csv"), format!("name,token\nann,{KEY}\n"));
}

#[test]
fn a_new_access_token_stands_alone_on_stdout_and_in_the_file() {
    let place = Place::new();
    let output = place.hermux(&["allow", "gen", "ci"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let token = out(&output).strip_suffix('\n').unwrap();
    assert!(token.starts_with("hmx_") && token.len() == 53 && !token.contains(char::is_whitespace));
    assert!(told(&output).contains("allow.txt") && told(&output).contains("`ci`"), "{}", told(&output));
    assert!(!told(&output).contains("hmx_"));
    let digest = |token: &str| hermux::access::Digest::of(token.trim().as_bytes());
    let line = format!("sha256:{} name=ci\n", digest(token));
    assert_eq!(place.read("allow.txt"), line);

    let unnamed = place.hermux(&["allow", "gen"]).output().unwrap();
    assert_eq!(place.read("allow.txt"), format!("{line}sha256:{}\n", digest(out(&unnamed))));
    assert_eq!(hermux::access::file::load(&place.here.path().join("allow.txt")).unwrap().access.len(), 2);

    let again = place.hermux(&["allow", "gen", "ci"]).output().unwrap();
    assert_eq!((again.status.code(), out(&again)), (Some(2), ""));
    assert!(
        told(&again).starts_with("error: allow.txt:1: the name is taken: ci\nhint: "),
        "{}",
        told(&again)
    );
}

#[test]
fn a_reader_that_left_is_no_error() {
    let place = Place::new();
    let mut child = place
        .plain()
        .args(["allow", "gen", "ci"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!told(&output).contains("error"), "{}", told(&output));
}

#[test]
fn a_file_that_cannot_be_written_is_told_with_its_cause() {
    let place = Place::new();
    let output = place.hermux(&["allow", "gen", "--allow", "no/such/allow.txt"]).output().unwrap();
    assert_eq!((output.status.code(), out(&output)), (Some(2), ""));
    assert!(told(&output).starts_with("error: can't write no/such/allow.txt: "), "{}", told(&output));
}

#[test]
fn files_are_found_here_then_in_the_configuration_directory_and_made_beside_each_other() {
    let place = Place::new();
    let there = place.config_dir();
    place.hermux(&["keys", "add", "ann", "--stdin", "--no-check"]).write_stdin(KEY).assert().success();
    assert_eq!(names(place.here.path()), ["tokens.csv"]);

    fs::rename(place.here.path().join("tokens.csv"), there.join("tokens.csv")).unwrap();
    place.hermux(&["allow", "gen"]).assert().success();
    assert!(names(place.here.path()).is_empty());
    assert!(there.join("allow.txt").exists());

    place.hermux(&["allow", "gen", "--allow", "mine.txt"]).assert().success();
    place.hermux(&["allow", "gen"]).env("HERMUX_ALLOW", "other.txt").assert().success();
    fs::write(there.join("config.toml"), "allow = \"third.txt\"").unwrap();
    place.hermux(&["allow", "gen"]).assert().success();
    assert!(place.read("mine.txt").starts_with("sha256:") && place.read("other.txt").starts_with("sha256:"));
    assert!(there.join("third.txt").exists());
}

#[test]
fn a_named_configuration_file_is_read() {
    let place = Place::new();
    place.write("c.toml", "allow = \"named.txt\"\n");
    place.hermux(&["--config", "c.toml", "allow", "gen"]).assert().success();
    assert!(place.read("named.txt").starts_with("sha256:"));
    let output = place.hermux(&["allow", "gen", "--config", "nowhere.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(told(&output), "error: --config: no such file: nowhere.toml\n");
}

#[test]
fn log_lines_have_no_colours_away_from_a_terminal_and_can_be_json() {
    let place = Place::new();
    let warned = |format| {
        let output =
            place.hermux(&["allow", "gen", "--log-format", format]).env("HERMUX_PROT", "1").output().unwrap();
        told(&output).lines().next().unwrap().to_owned()
    };
    let text = warned("text");
    assert!(text.contains("WARN") && text.contains("HERMUX_PROT") && !text.contains('\u{1b}'), "{text}");
    let json: serde_json::Value = serde_json::from_str(&warned("json")).unwrap();
    assert_eq!(json["level"], "WARN");
    assert!(json["message"].as_str().unwrap().contains("HERMUX_PROT"), "{json}");
    let output = place.hermux(&["allow", "gen", "-qq"]).env("HERMUX_PROT", "1").output().unwrap();
    assert!(!told(&output).contains("HERMUX_PROT"));
}

#[test]
fn a_bad_log_filter_exits_with_2_and_names_the_variable() {
    let output = Place::new().hermux(&["allow", "gen"]).env("HERMUX_LOG", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).starts_with("error: HERMUX_LOG: not a log filter: loud\nhint: "),
        "{}",
        told(&output)
    );
}
