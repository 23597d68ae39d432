//! `config init`, with nobody there and with a person at a terminal.

use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use hermux::simulator::{Scenario, Simulator};

use crate::{KEY, Place, code, out, terminal, told};

#[test]
fn without_a_terminal_it_writes_config_toml_alone_and_says_what_is_next() {
    let place = Place::new();
    let output = place.run("config init");
    let file = place.config_file();
    assert_eq!((code(&output), out(&output)), (0, ""));
    assert!(
        told(&output).starts_with(&format!("wrote {}\nhint: next, `hermux keys add NAME`", file.display()))
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(place.here.path()).unwrap().count(), 0);
    // As it is, it changes nothing.
    let defaults = place.run("config show --config /dev/null");
    assert_eq!(out(&place.run("config show")), out(&defaults));
}

#[test]
fn what_is_there_is_replaced_only_by_force() {
    let place = Place::new();
    place.write_config("prot = 1\n");
    let output = place.run("config init");
    let file = place.config_file();
    let wanted = format!("error: it is there already: {}\nhint: --force replaces it\n", file.display());
    assert_eq!((code(&output), told(&output)), (2, &*wanted));
    assert_eq!(fs::read_to_string(&file).unwrap(), "prot = 1\n");
    assert_eq!(code(&place.run("config init --force")), 0);
    assert!(fs::read_to_string(&file).unwrap().contains("\n#port = 3333\n"));
}

#[test]
fn elsewhere_it_names_the_other_files_so_that_they_are_found() {
    let place = Place::new();
    let output = place.run("config init --config etc/hermux/config.toml --data-dir state");
    assert_eq!(code(&output), 0, "{}", told(&output));
    assert!(told(&output).contains("`hermux --config etc/hermux/config.toml serve`"), "{}", told(&output));
    let text = place.read("etc/hermux/config.toml");
    assert!(
        text.contains("\ntokens = \"tokens.csv\"\n") && text.contains("\nallow = \"allow.txt\"\n"),
        "{text}"
    );
    assert!(text.contains(&format!("\ndata_dir = \"{}\"\n", place.path("state").display())), "{text}");
    let paths = place.run("config path --config etc/hermux/config.toml");
    assert!(
        out(&paths).contains(&place.path("etc/hermux/tokens.csv").display().to_string()),
        "{}",
        out(&paths)
    );
}

#[test]
fn on_a_terminal_it_asks_for_the_first_key_and_ends_with_a_curl_line_that_works() {
    let place = Place::new();
    let simulator = Simulator::start(Scenario::with_keys(&["ann"])).unwrap();
    let secret = simulator_key();
    // Given back at once; nobody else is likely to take it before the server does.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let variables = [("HERMUX_UPSTREAM", simulator.url()), ("HERMUX_PORT", port.to_string())];
    let Some(shown) = terminal::typed(&place, &variables, "hermux config init", Some(&secret)) else {
        return;
    };
    // The label that OpenRouter gives a key has six of its digits.
    assert!(shown.contains("OpenRouter key") && !shown.contains(&secret[..20]), "{shown}");
    let folder = place.config_file();
    let folder = folder.parent().unwrap();
    assert_eq!(
        fs::read_to_string(folder.join("tokens.csv")).unwrap(),
        format!("name,token\nfirst,{secret}\n")
    );
    assert!(fs::read_to_string(folder.join("allow.txt")).unwrap().contains("first"));

    let mut server = place.command("serve --no-poll");
    let mut server = server.envs(variables).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("ready: http://")));
    let curl = shown[shown.find("curl ").unwrap()..].to_owned();
    let answer = Command::new("sh").args(["-c", &format!("{} -sS", curl.trim_end())]).output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    if told(&answer).contains("not found") {
        let _ = writeln!(stderr(), "SKIPPED: there is no `curl` here");
        return;
    }
    assert!(out(&answer).contains("data: [DONE]"), "{curl}{}{}", out(&answer), told(&answer));
}

/// The key of the simulator, which it makes of the key's name.
fn simulator_key() -> String {
    Scenario::with_keys(&["ann"]).keys().next().unwrap().secret.clone()
}

#[test]
fn nothing_typed_skips_the_key_and_what_is_there_is_left_alone() {
    let place = Place::new();
    let Some(shown) = terminal::typed(&place, &[], "hermux config init", Some("")) else { return };
    assert!(shown.contains("\nhermux keys add first\nhermux serve\n"), "{shown}");
    let folder = place.config_file();
    let folder = folder.parent().unwrap();
    assert!(!folder.join("tokens.csv").exists() && folder.join("allow.txt").exists());

    let place = Place::furnished();
    let Some(shown) = terminal::typed(&place, &[], "hermux config init", None) else { return };
    assert!(shown.contains("there are keys already") && shown.contains("Bearer $ACCESS_TOKEN"), "{shown}");
    assert_eq!(place.read("tokens.csv"), format!("name,token\nann,{KEY}\n"));
}
