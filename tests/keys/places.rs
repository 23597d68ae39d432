//! Keys that live elsewhere: in variables, in files, with commands; for the server and for `keys list`.

use std::fs;
use std::time::Instant;

use hermux::simulator::Scenario;
use serde_json::Value;

use crate::support::hermux::write_private;
use crate::support::{Hermux, PATIENCE, Request, Setup};
use crate::{KEYS, csv, keys, place, secret};

/// A place where all of these are found, commands allowed or not.
fn elsewhere(commands: bool) -> (hermux::simulator::Simulator, Setup) {
    let (simulator, setup) = place(Scenario::default(), "");
    fs::create_dir(setup.directory().join("keys")).unwrap();
    write_private(&setup.directory().join("keys/ben"), &format!("{}\n", secret("ben")));
    let script = setup.directory().join("tell");
    fs::write(&script, format!("#!/bin/sh\ntest \"$1\" = 'the key' && echo {}; echo notes", secret("cay")))
        .unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let rows =
        format!("name,token\nann,env:ANN_KEY\nben,file:keys/ben\ncay,cmd:{} 'the key'\n", script.display());
    write_private(&setup.tokens(), &rows);
    let config = setup.directory().join("config.toml");
    fs::write(&config, format!("allow_commands = {commands}\n")).unwrap();
    let setup =
        setup.variable("ANN_KEY", &secret("ann")).variable("HERMUX_CONFIG", &config.display().to_string());
    (simulator, setup)
}

fn serve_names(hermux: &Hermux) -> Vec<String> {
    let body = r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let request = Request::post("/api/v1/chat/completions", body);
    let mut names: Vec<_> = (0..3).map(|_| hermux.ask(&request).key_name().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_server_uses_keys_from_everywhere_and_the_list_says_where_they_live() {
    let (_simulator, setup) = elsewhere(true);
    let program = setup.directory().join("tell").display().to_string();
    let check = |setup: &Setup, last: &Value| {
        let (code, out, told) = keys(setup, &["list", "--json"]);
        assert_eq!((code, told.as_str()), (0, ""));
        let list: Value = serde_json::from_str(&out).unwrap();
        let each = |field: &str| {
            list["keys"].as_array().unwrap().iter().map(|key| key[field].clone()).collect::<Vec<_>>()
        };
        assert_eq!(each("kept_in"), ["env:ANN_KEY", "file:keys/ben", &format!("cmd:{program} …")]);
        assert_eq!(each("key")[..2], ["ann", "ben"].map(|name| Value::from(masked(&secret(name)))));
        assert_eq!(each("key")[2], *last);
        assert_eq!(each("used_today"), [1, 1, 1]);
    };
    let hermux = setup.start();
    assert_eq!(serve_names(&hermux), KEYS);
    check(hermux.setup(), &Value::Null);
    let setup = hermux.stop();
    check(&setup, &Value::from(masked(&secret("cay"))));
    assert_eq!(keys(&setup, &["check"]).0, 0);
    assert_eq!(keys(&setup, &["explain", "openai/gpt-4o-mini"]).0, 0);
}

fn masked(key: &str) -> String {
    format!("{}…{}", &key[..12], &key[key.len() - 3..])
}

#[test]
fn a_command_runs_only_where_the_configuration_file_allows_it() {
    let (_simulator, setup) = elsewhere(false);
    let (status, told) = setup.start_in_vain();
    assert_eq!(status.code(), Some(2));
    let (path, program) = (setup.tokens(), setup.directory().join("tell"));
    let wanted = format!(
        "error: {}:4: no key for `cay`: config.toml does not allow commands: cmd:{} …\n\
         hint: write `allow_commands = true` into config.toml, or keep the key elsewhere",
        path.display(),
        program.display()
    );
    assert!(told.contains(&wanted), "{told}");
    let (status, told) = setup.variable("HERMUX_ALLOW_COMMANDS", "true").start_in_vain();
    assert_eq!(status.code(), Some(2));
    assert!(told.contains("error: HERMUX_ALLOW_COMMANDS: only config.toml can say this"), "{told}");
}

#[test]
fn what_gives_no_key_is_told_with_file_line_and_cure() {
    let (_simulator, setup) = place(Scenario::default(), "");
    for (token, told) in [
        ("env:NOT_SET", "the variable is not set: NOT_SET\nhint: set the variable"),
        ("env:NOT SET", "`env:` is followed by no name of a variable\nhint: "),
        ("file:none", "the file can't be read (No such file or directory (os error 2)): none\nhint: "),
        ("file:.", "the file can't be read (not a regular file): .\nhint: "),
        ("cmd:'x", "a quote in the command is never closed\nhint: "),
    ] {
        write_private(&setup.tokens(), &format!("name,token\n\nann,{token}\n"));
        let (status, said) = setup.start_in_vain();
        assert_eq!(status.code(), Some(2));
        let wanted = format!("error: {}:3: no key for `ann`: {told}", setup.tokens().display());
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn two_rows_that_turn_out_to_have_one_key_are_a_repeated_key() {
    let (_simulator, setup) = place(Scenario::default(), "");
    let setup = setup.variable("ONE", &secret("ann")).variable("TWO", &secret("ann"));
    for (first, second) in
        [("env:ONE", "env:TWO"), (secret("ann").as_str(), "env:TWO"), ("env:ONE", "env:ONE")]
    {
        write_private(&setup.tokens(), &format!("name,token\nann,{first}\nben,{second}\n"));
        let (status, said) = setup.start_in_vain();
        assert_eq!(status.code(), Some(2));
        assert!(said.contains(":3: the key of `ben` is the same as that of line 2: ann\nhint: "), "{said}");
    }
}

#[test]
fn a_reload_with_a_reference_that_fails_keeps_the_last_good_keys() {
    let (_simulator, setup) = elsewhere(true);
    let hermux = setup.start();
    write_private(&hermux.setup().directory().join("keys/ben"), "\n");
    hermux.signal("HUP");
    let line = hermux.wait_for_line("the last good keys stay in force");
    assert!(line.contains("tokens.csv:3: no key for `ben`: empty: file:keys/ben"), "{line}");
    assert_eq!(serve_names(&hermux), KEYS);
    // What it refers to may change without the file: a reload finds the new key.
    write_private(&hermux.setup().directory().join("keys/ben"), &secret("ben"));
    hermux.signal("HUP");
    hermux.wait_for_line("reloaded the keys, 3 in all");
    assert_eq!(serve_names(&hermux), KEYS);
}

#[test]
fn a_slow_command_holds_up_neither_requests_nor_the_stop() {
    let (_simulator, setup) = elsewhere(true);
    let began = setup.directory().join("began");
    let hermux = setup.start();
    let slow = format!(
        "name,token\nann,env:ANN_KEY\nben,\"cmd:sh -c 'echo > {}; exec sleep 60'\"\n",
        began.display()
    );
    write_private(&hermux.setup().tokens(), &slow);
    crate::support::eventually("the command runs", || began.exists().then_some(()));
    assert_eq!(serve_names(&hermux), KEYS);
    let stop = Instant::now();
    hermux.signal("TERM");
    assert!(hermux.wait().success());
    assert!(stop.elapsed() < PATIENCE / 4, "the stop waited for a command");
}

#[test]
fn a_key_that_is_not_found_here_is_listed_all_the_same_and_its_cooldowns_stay() {
    let (_simulator, setup) = elsewhere(true);
    let hermux = setup.start();
    assert_eq!(serve_names(&hermux), KEYS);
    let setup = hermux.stop();
    write_private(
        &setup.tokens(),
        &csv(&["ann"]).replace(&secret("ann"), "env:ELSEWHERE_SET").replace("ann", "cay"),
    );
    let (code, out, told) = keys(&setup, &["list"]);
    assert_eq!(code, 0);
    assert!(
        told.contains("tokens.csv:2: no key for `cay`: the variable is not set: ELSEWHERE_SET\nhint: "),
        "{told}"
    );
    let row = out.lines().find(|line| line.starts_with("cay")).unwrap();
    assert!(row.contains("env:ELSEWHERE_SET") && row.contains("disabled: key not found"), "{row}");
    let (code, _, told) = keys(&setup, &["reset", "cay"]);
    assert_eq!(code, 1);
    assert!(told.ends_with("error: the cooldowns of a key can't be ended without the key: cay\n"), "{told}");
    assert_eq!(keys(&setup, &["explain", "openai/gpt-4o-mini"]).0, 1);
}
