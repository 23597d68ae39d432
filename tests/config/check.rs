//! `config check`: what `serve` would say, without starting it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::{Place, code, out, told};

/// The state and the words of each check, by what is checked.
fn checks(place: &Place, words: &str) -> (i32, Vec<(String, String, String)>) {
    let output = place.run(&format!("config check --json {words}"));
    assert_eq!(told(&output), "");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], code(&output) == 0, "{json}");
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = json["checks"].as_array().unwrap().iter();
    (
        code(&output),
        checks.map(|check| (text(check, "check"), text(check, "state"), text(check, "said"))).collect(),
    )
}

fn bad(checks: &[(String, String, String)]) -> Vec<&str> {
    checks.iter().filter(|(_, state, _)| state == "bad").map(|(check, ..)| check.as_str()).collect()
}

#[test]
fn where_all_is_well_each_line_says_so_and_nothing_is_written() {
    let place = Place::furnished();
    let (code, checks) = checks(&place, "--port 0");
    let told: Vec<_> = checks.iter().map(|(check, state, _)| (check.as_str(), state.as_str())).collect();
    let all = ["config", "tokens.csv", "allow.txt", "certificates", "data", "address"];
    assert_eq!((code, told), (0, all.map(|check| (check, "ok")).to_vec()));
    assert!(!place.home.path().join("data").exists());
    assert_eq!(fs::read_dir(place.here.path()).unwrap().count(), 2);
    let text = place.run("config check --port 0");
    assert!(out(&text).contains("ok   tokens.csv    1 key: tokens.csv\n"), "{}", out(&text));
}

/// What is bad, and the exit code, are those of `serve` itself.
#[test]
fn what_is_bad_ends_as_serve_would() {
    type Spoil = fn(&Place);
    let cases: &[(&str, &str, Spoil)] = &[
        ("config", "--grace soon", |_| {}),
        ("config", "", |place| place.write_config("port = 1\nprot = 2\n")),
        ("tokens.csv", "", |place| fs::remove_file(place.path("tokens.csv")).unwrap()),
        ("tokens.csv", "", |place| place.write("tokens.csv", "name,token\nann\n")),
        ("allow.txt", "", |place| fs::remove_file(place.path("allow.txt")).unwrap()),
        ("allow.txt", "", |place| place.write("allow.txt", "one two three\n")),
        ("certificates", "--ca-file ca.pem", |place| place.write("ca.pem", "no certificate\n")),
        ("certificates", "--ca-file ca.pem --upstream http://127.0.0.1:9", |place| {
            place.write("ca.pem", "no certificate\n");
        }),
    ];
    for (what, words, spoil) in cases {
        let place = Place::furnished();
        spoil(&place);
        let (code, checks) = checks(&place, format!("--port 0 {words}").trim());
        assert_eq!(bad(&checks), [*what], "{words}: {checks:?}");
        assert_eq!(code, 2, "{checks:?}");
        let served = place.run(format!("serve --port 0 {words}").trim());
        assert_eq!(served.status.code(), Some(2), "{}", told(&served));
    }
}

#[test]
fn what_is_wrong_with_a_ca_file_names_where_the_file_is_named() {
    let place = Place::furnished();
    place.write("ca.pem", "no certificate\n");
    let by_flag = place.run("serve --port 0 --ca-file ca.pem");
    let by_flag = told(&by_flag);
    assert!(by_flag.contains("--ca-file: the CA file has no certificate: ca.pem"), "{by_flag}");
    place.write_config("ca_file = \"ca.pem\"\n");
    let by_file = place.run("serve --port 0");
    let by_file = told(&by_file);
    assert!(by_file.contains("config.toml:1: ca_file: the CA file cannot be read"), "{by_file}");
}

#[test]
fn a_ledger_that_is_none_or_that_somebody_has_is_told() {
    let place = Place::furnished();
    fs::create_dir(place.path("data")).unwrap();
    place.write("data/ledger.db", "no database, whatever it is called, of any form at all");
    let (code, odd) = checks(&place, "--port 0 --data-dir data");
    assert_eq!((code, bad(&odd)), (0, vec![]), "{odd:?}");
    assert!(
        odd.iter().any(|(check, state, _)| (check.as_str(), state.as_str()) == ("data", "odd")),
        "{odd:?}"
    );

    fs::remove_file(place.path("data/ledger.db")).unwrap();
    place.write("data/hermux.lock", "4711\n");
    let lock = fs::File::open(place.path("data/hermux.lock")).unwrap();
    lock.lock().unwrap();
    let (code, held) = checks(&place, "--port 0 --data-dir data");
    assert_eq!((code, bad(&held)), (2, vec!["data"]), "{held:?}");
    assert!(held.iter().any(|(_, _, said)| said.contains("in use by process 4711")), "{held:?}");
}

#[test]
fn a_hint_stands_below_what_it_belongs_to() {
    let place = Place::new();
    place.write_config("prot = 8080\n");
    let output = place.run("config check");
    let file = place.config_file();
    assert_eq!(
        (code(&output), out(&output)),
        (
            2,
            &*format!(
                "bad  config        {}:1: no such key: prot\n                   hint: did you mean port\n",
                file.display()
            )
        )
    );
}

#[test]
fn what_others_may_read_is_odd_but_not_bad() {
    let place = Place::furnished();
    fs::set_permissions(place.path("tokens.csv"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, checks) = checks(&place, "--port 0");
    let odd: Vec<_> = checks.iter().filter(|(_, state, _)| state == "odd").collect();
    assert_eq!((code, odd.len()), (0, 1), "{checks:?}");
    assert!(odd[0].2.contains("chmod 600 tokens.csv"), "{odd:?}");
}

#[test]
fn a_port_that_another_program_has_is_bad_with_1() {
    let place = Place::furnished();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, checks) = checks(&place, &format!("--port {}", other.local_addr().unwrap().port()));
    assert_eq!((code, bad(&checks)), (1, vec!["address"]), "{checks:?}");
}

#[test]
fn beside_the_running_server_all_is_well() {
    let place = Place::furnished();
    let mut server =
        place.command("serve --port 0 --no-poll --data-dir data").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
    let ready = log.find(|line| line.contains("ready: http://")).expect("the server starts");
    let port = ready.split("http://127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap();
    let (code, checks) = checks(&place, &format!("--data-dir data --port {port}"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(code, 0, "{checks:?}");
    assert!(
        checks.iter().any(|(_, _, said)| said.contains("the running server listens there")),
        "{checks:?}"
    );
    assert!(checks.iter().any(|(_, _, said)| said.contains("in use by the running server")), "{checks:?}");
}

#[test]
fn colors_are_where_they_are_wanted_alone() {
    let place = Place::furnished();
    let run = |words: &str, variables: &[(&str, &str)]| {
        let mut command = place.command(words);
        out(&command.envs(variables.iter().copied()).output().unwrap()).contains('\u{1b}')
    };
    assert!(!run("config check", &[]));
    assert!(run("config check --color always", &[("NO_COLOR", "1")]));
    assert!(run("config check", &[("CLICOLOR_FORCE", "1")]));
    assert!(!run("config check --color never", &[("CLICOLOR_FORCE", "1")]));
    assert!(run("--color=always --help", &[]) && !run("--help", &[]));
}
