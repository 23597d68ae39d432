//! `hermux keys list`, `explain` and `reset`, with a running server and without.

use std::fs;

use hermux::simulator::{Fault, Then, errors};
use serde_json::{Value, json};

use crate::support::hermux::write_private;
use crate::support::{Setup, Upstream, eventually};
use crate::{KEYS, chat, code, each, keys, list, out, place, started, sum, told};

#[test]
fn list_shows_what_the_running_server_knows() {
    let (_simulator, hermux) = started();
    chat(&hermux, 6);
    let list = list(hermux.setup());
    assert_eq!(list["server"]["pid"], hermux.pid());
    assert_eq!(list["server"]["address"], hermux.address().to_string());
    assert_eq!(each(&list, "name"), KEYS);
    assert_eq!(each(&list, "used_today"), [2, 2, 2]);
    assert_eq!(each(&list, "state"), ["ok", "ok", "ok"]);
    assert!(each(&list, "key").iter().all(|key| key.as_str().unwrap().len() == "sk-or-v1-abc…890".len()));
}

#[test]
fn list_shows_the_same_without_a_server() {
    let (simulator, hermux) = started();
    chat(&hermux, 6);
    let setup = hermux.stop();
    let list = list(&setup);
    assert_eq!(list["server"], Value::Null);
    assert_eq!(each(&list, "name"), KEYS);
    assert_eq!(each(&list, "used_today"), [2, 2, 2]);
    let spent: i64 = simulator.usage().iter().map(|key| key.cost).sum();
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let spent = spent as f64 / 1e9;
    assert!(spent > 0.0 && (sum(&list, "cost_today_usd") - spent).abs() < 1e-12, "{list} {spent}");
}

#[test]
fn the_names_in_json_are_those_of_the_manual() {
    let (_simulator, hermux) = started();
    let list = list(hermux.setup());
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&list), ["keys", "server"]);
    let server = ["address", "in_flight", "pid", "started", "tokens", "version", "waiting"];
    assert_eq!(names(&list["server"]), server);
    let key = [
        "account",
        "cap_left_usd",
        "cost_today_usd",
        "expires",
        "free_day_left",
        "free_minute_left",
        "in_flight",
        "kept_in",
        "key",
        "name",
        "rests",
        "state",
        "used_today",
    ];
    assert_eq!(names(&list["keys"][0]), key);
    let help = keys(hermux.setup(), &["list", "--help"]);
    for name in key.iter().chain(&server) {
        assert!(out(&help).contains(name), "{name}");
    }
}

#[test]
fn the_table_has_a_row_a_key_and_no_key_in_full() {
    let (_simulator, hermux) = started();
    chat(&hermux, 3);
    let file = fs::read_to_string(hermux.setup().tokens()).unwrap();
    let hides_keys = |text: &str| {
        let mut secrets = file.lines().skip(1).map(|line| line.split_once(',').unwrap().1);
        assert!(secrets.all(|secret| !text.contains(&secret[..16])), "{text}");
    };
    let pid = hermux.pid();
    let output = keys(hermux.setup(), &["list"]);
    let heading = format!("now, by the server at {} (process {pid}, since ", hermux.address());
    assert!(out(&output).starts_with(&heading), "{}", out(&output));
    hides_keys(out(&output));
    let first = |text: &str| -> Vec<String> {
        text.lines().skip(2).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(first(out(&output)), ["name", "ann", "ben", "cay", "total"]);

    let setup = hermux.stop();
    let output = keys(&setup, &["list"]);
    assert!(out(&output).lines().next().unwrap().ends_with("; no server runs there"), "{}", out(&output));
    assert_eq!(first(out(&output)), ["name", "ann", "ben", "cay", "total"]);
    hides_keys(out(&output));
}

#[test]
fn keys_of_another_file_than_the_one_named_are_told_of() {
    let (_simulator, hermux) = started();
    let setup = hermux.setup();
    let other = setup.directory().join("other.csv");
    write_private(&other, &crate::support::hermux::tokens_csv([7]));
    for arguments in [&["list"][..], &["explain", "openai/gpt-4o-mini"], &["reset", "--all"]] {
        let mut command = setup.command();
        command.arg("keys").args(arguments).arg("--tokens").arg(&other).arg("--data-dir").arg(setup.data());
        let output = command.output().unwrap();
        let warning = format!(
            "warning: these are the keys of the running server, which reads them from: {}\n",
            setup.tokens().display()
        );
        assert!(told(&output).starts_with(&warning), "{}", told(&output));
        assert_eq!(code(&output), 0);
        assert!(!out(&output).contains("key-7"));
    }
}

#[test]
fn a_file_that_broke_meanwhile_leaves_the_servers_keys() {
    let (_simulator, hermux) = started();
    write_private(&hermux.setup().tokens(), "broken\n");
    let output = keys(hermux.setup(), &["list", "--json"]);
    assert_eq!(code(&output), 0);
    assert!(
        told(&output).starts_with("warning: the server goes on with the keys it has: "),
        "{}",
        told(&output)
    );
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(each(&list, "name"), KEYS);
    assert_eq!(each(&list, "key"), [&Value::Null; 3]);
}

#[test]
fn asking_makes_no_files_and_an_empty_pool_says_what_to_do() {
    let upstream = Upstream::never_called();
    let setup = Setup::new(&upstream);
    for arguments in [&["list"][..], &["list", "--json"], &["explain", "a/b"], &["reset", "--all"]] {
        assert_eq!(code(&keys(&setup, arguments)), 0, "{arguments:?}");
    }
    assert!(!setup.data().exists());

    write_private(&setup.tokens(), "name,token\n");
    let output = keys(&setup, &["list"]);
    assert_eq!(code(&output), 0);
    assert!(
        out(&output).ends_with("no keys\nhint: add one with: hermux keys add NAME\n"),
        "{}",
        out(&output)
    );
    assert_eq!(list(&setup), json!({"server": null, "keys": []}));
    assert_eq!(code(&keys(&setup, &["explain", "a/b"])), 2);

    fs::remove_file(setup.tokens()).unwrap();
    let output = keys(&setup, &["list"]);
    assert_eq!(code(&output), 2);
    assert!(told(&output).contains("\nhint: `hermux keys add NAME` makes it"), "{}", told(&output));
}

#[test]
fn reset_needs_one_key_that_there_is_or_all() {
    let (_simulator, hermux) = started();
    let check = |setup: &Setup| {
        for arguments in [&["reset"][..], &["reset", "ann", "--all"], &["reset", "ann", "ben"]] {
            assert_eq!(code(&keys(setup, arguments)), 2, "{arguments:?}");
        }
        let output = keys(setup, &["reset", "nobody"]);
        assert_eq!(code(&output), 2);
        assert_eq!(told(&output), "error: no such key: nobody\nhint: `hermux keys list` shows their names\n");
        let output = keys(setup, &["reset", "ann"]);
        assert_eq!((code(&output), told(&output)), (0, "nothing rested: ann\n"));
        let output = keys(setup, &["reset", "--all"]);
        assert_eq!((code(&output), told(&output)), (0, "nothing rested\n"));
    };
    check(hermux.setup());
    check(&hermux.stop());
}

/// The state of the key `name`.
fn of(list: &Value, name: &str) -> Value {
    let keys = list["keys"].as_array().unwrap();
    keys.iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("{name} is not in {list}")).clone()
}

/// A server that met a 401 with the key ann, once.
fn refused() -> (hermux::simulator::Simulator, crate::support::Hermux) {
    let (simulator, setup) = place("", "");
    let refusal = Then::answer(401, errors::user_not_found().body());
    simulator.add_fault(Fault::new(refusal).with_key("ann").once());
    // Nothing but a request is to meet it.
    let hermux = setup.start();
    chat(&hermux, 3);
    (simulator, hermux)
}

#[test]
fn reset_ends_a_rest_in_the_running_server() {
    let (_simulator, hermux) = refused();
    let setup = hermux.setup();
    let ann = of(&list(setup), "ann");
    assert_eq!(
        (&ann["rests"][0]["what"], &ann["rests"][0]["why"]),
        (&json!("all"), &json!("refused")),
        "{ann}"
    );
    assert_ne!(ann["state"], "ok");
    let explained = keys(setup, &["explain", "openai/gpt-4o-mini"]);
    assert_eq!(code(&explained), 0, "the others serve");
    assert!(out(&explained).contains("OpenRouter refuses it"), "{}", out(&explained));

    let output = keys(setup, &["reset", "ann"]);
    assert_eq!((code(&output), told(&output)), (0, "ended the cooldowns of 1 key\n"));
    let ann = of(&list(setup), "ann");
    assert_eq!((&ann["state"], &ann["rests"]), (&json!("ok"), &json!([])), "{ann}");
}

#[test]
fn reset_ends_a_rest_without_a_server_and_the_next_one_knows() {
    let (_simulator, hermux) = refused();
    let setup = hermux.stop();
    let ann = of(&list(&setup), "ann");
    assert_eq!(ann["rests"][0]["why"], "refused", "{ann}");
    let output = keys(&setup, &["reset", "--all"]);
    assert_eq!((code(&output), told(&output)), (0, "ended the cooldowns of 1 key\n"));
    assert_eq!(of(&list(&setup), "ann")["state"], "ok");
    let hermux = setup.start();
    assert_eq!(of(&list(hermux.setup()), "ann")["state"], "ok");
}

#[test]
fn reset_does_not_touch_the_files_of_a_server_that_cannot_be_asked() {
    let (_simulator, hermux) = started();
    fs::remove_file(hermux.setup().data().join("control.sock")).unwrap();
    let output = keys(hermux.setup(), &["reset", "--all"]);
    assert_eq!(code(&output), 2);
    let error = format!("error: the data directory is in use by process {}: ", hermux.pid());
    assert!(told(&output).starts_with(&error), "{}", told(&output));
}

#[test]
fn explain_gives_each_key_its_place_with_a_server_and_without() {
    let (_simulator, hermux) = started();
    // Each was used once, or twice: the one used least comes first.
    chat(&hermux, 5);
    let least = |list: &Value| {
        let keys = list["keys"].as_array().unwrap();
        keys.iter().find(|key| key["used_today"] == 1).unwrap()["name"].as_str().unwrap().to_owned()
    };
    let check = |setup: &Setup| {
        let output = keys(setup, &["explain", "openai/gpt-4o-mini", "--json"]);
        assert_eq!((code(&output), told(&output)), (0, ""));
        let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(explained["model"], "openai/gpt-4o-mini");
        assert_eq!(each(&explained, "name"), KEYS);
        let mut places: Vec<_> =
            each(&explained, "place").iter().map(|place| place.as_u64().unwrap()).collect();
        let first = places.iter().position(|place| *place == 1).unwrap();
        assert_eq!(KEYS[first], least(&list(setup)));
        places.sort_unstable();
        assert_eq!(places, [1, 2, 3]);
        assert_eq!(each(&explained, "why"), [&Value::Null; 3]);
    };
    check(hermux.setup());
    check(&hermux.stop());
}

#[test]
fn explain_ends_with_1_when_no_key_would_serve() {
    let (_simulator, setup) = place(",models", ",anthropic/*");
    let check = |setup: &Setup| {
        let output = keys(setup, &["explain", "openai/gpt-4o-mini"]);
        assert_eq!(code(&output), 1, "{}", out(&output));
        assert_eq!(
            out(&output).matches("its models in tokens.csv leave this one out").count(),
            3,
            "{}",
            out(&output)
        );
        assert_eq!(code(&keys(setup, &["explain", "anthropic/claude-sonnet-4"])), 0);
    };
    check(&setup);
    let hermux = setup.start();
    check(hermux.setup());
}

#[test]
fn a_key_that_is_switched_off_shows_as_disabled() {
    let (_simulator, setup) = place(",enabled", ",false");
    let keys_of = list(&setup);
    assert_eq!(each(&keys_of, "state"), ["disabled"; 3]);
    assert_eq!(of(&keys_of, "ann")["rests"][0]["why"], "disabled");
    let output = keys(&setup, &["explain", "openai/gpt-4o-mini"]);
    assert_eq!(code(&output), 1);
    assert!(out(&output).contains("can't serve: it is switched off in tokens.csv"), "{}", out(&output));
}

#[test]
fn a_request_under_way_shows() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let (connection, mut exchange) = hermux.open(&crate::support::Request::chat(true), &upstream);
    exchange.begin_stream();
    let shown = list(hermux.setup());
    assert_eq!((&shown["server"]["in_flight"], &shown["keys"][0]["in_flight"]), (&json!(1), &json!(1)));
    drop((connection, exchange));
    eventually("the lease returns", || (list(hermux.setup())["server"]["in_flight"] == 0).then_some(()));
}
