//! `config path` and `config show`.

use serde_json::{Value, json};

use crate::{Place, code, out, terminal, told};

fn shown(place: &Place, words: &str) -> Value {
    let output = place.run(words);
    assert_eq!((code(&output), told(&output)), (0, ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap()
}

#[test]
fn every_file_is_told_with_why_it_is_this_one() {
    let place = Place::new();
    place.write_config("allow = \"mine.txt\"\n");
    place.write("tokens.csv", "name,token\n");
    let files = shown(&place, "config path --json --data-dir data")["files"].take();
    let names: Vec<_> = files.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["config", "tokens", "allow", "data_dir"]);
    let at = |path: &std::path::Path| path.display().to_string();
    let config = place.config_file();
    assert_eq!(
        files[0],
        json!({"name": "config", "path": at(&config), "exists": true, "why": "in the user's configuration directory"})
    );
    assert_eq!(
        (&files[1]["exists"], &files[1]["why"]),
        (&json!(true), &json!("found in the working directory"))
    );
    assert_eq!(files[2]["path"], at(&config.with_file_name("mine.txt")));
    assert_eq!(
        (&files[2]["exists"], &files[2]["why"]),
        (&json!(false), &json!(format!("named by {}:1", at(&config))))
    );
    assert_eq!(files[3]["why"], "named by --data-dir");
    assert!(files[3]["path"].as_str().unwrap().starts_with('/'), "{files}");
}

#[test]
fn files_that_are_not_there_say_where_they_would_be_made() {
    let place = Place::new();
    let files = shown(&place, "config path --json")["files"].take();
    let why: Vec<_> = files.as_array().unwrap().iter().map(|file| file["why"].as_str().unwrap()).collect();
    let here = "in the working directory, where it would be made";
    assert_eq!(why, ["in the user's configuration directory", here, here, "the user's data directory"]);
    place.write("allow.txt", "");
    let files = shown(&place, "config path --json")["files"].take();
    assert_eq!(named(&files, "tokens")["why"], "beside allow.txt, where it would be made");
    let text = place.run("config path --config nowhere.toml");
    assert_eq!((code(&text), told(&text)), (2, "error: --config: no such file: nowhere.toml\n"));
    assert!(out(&text).contains("named by --config"), "{}", out(&text));
}

#[test]
fn every_value_is_told_with_its_source_the_strongest_one() {
    let place = Place::new();
    place.write_config("# mine\nport = 1\ngrace = \"1s\"\nidle_timeout = 7\n");
    let output = place
        .command("config show --json --port 3")
        .env("HERMUX_PORT", "2")
        .env("HERMUX_GRACE", "2s")
        .output()
        .unwrap();
    assert_eq!((code(&output), told(&output)), (0, ""));
    let settings = serde_json::from_slice::<Value>(&output.stdout).unwrap()["settings"].take();
    assert_eq!(settings.as_array().unwrap().len(), hermux::config::SETTINGS.len());
    let from = format!("{}:4", place.config_file().display());
    for (name, value, default, source, from) in [
        ("port", json!("3"), json!("3333"), "flag", json!("--port")),
        ("grace", json!("2s"), json!("30s"), "variable", json!("HERMUX_GRACE")),
        ("idle_timeout", json!("7"), json!("300s"), "file", json!(from)),
        ("header_timeout", json!("15s"), json!("15s"), "default", Value::Null),
        ("tokens", json!("tokens.csv"), Value::Null, "default", Value::Null),
        ("ca_file", Value::Null, Value::Null, "default", Value::Null),
    ] {
        let wanted =
            json!({"name": name, "value": value, "default": default, "source": source, "from": from});
        assert_eq!(*named(&settings, name), wanted);
    }
}

#[test]
fn passwords_keys_and_access_tokens_are_not_shown_even_where_they_are_out_of_place() {
    let place = Place::new();
    for (words, secret) in [
        ("--upstream-proxy http://ann:geheim@proxy:8080", "geheim"),
        ("--upstream https://ann:ge/he@im@example.org/api/v1", "im@"),
        ("--tokens sk-or-v1-geheim", "geheim"),
        ("--workers hmx_geheim", "geheim"),
    ] {
        let output = place.run(&format!("config show {words}"));
        assert_eq!(code(&output), 2, "{words}");
        let said = format!("{}{}", out(&output), told(&output));
        assert!(!said.contains(secret), "{said}");
    }
    let output = place.run("config show --upstream-proxy http://ann:geheim@proxy:8080");
    let line = out(&output).lines().find(|line| line.starts_with("upstream_proxy"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    assert_eq!(words, ["upstream_proxy", "http://***@proxy:8080", "--upstream-proxy"]);
}

#[test]
fn an_unknown_key_is_told_with_a_near_match_and_what_is_good_is_shown_all_the_same() {
    let place = Place::new();
    place.write_config("prot = 8080\ngrace = \"2m\"\n");
    let output = place.run("config show");
    let file = place.config_file();
    assert_eq!(
        (code(&output), told(&output)),
        (2, &*format!("error: {}:1: no such key: prot\nhint: did you mean port\n", file.display()))
    );
    assert!(out(&output).contains("2m "), "{}", out(&output));
}

#[test]
fn a_table_is_no_wider_than_the_terminal_and_whole_in_a_pipe() {
    let place = Place::new();
    let Some(narrow) = terminal::typed(&place, &[], "hermux config path", None) else { return };
    assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
    assert!(narrow.contains("tokens.csv"), "{narrow}");
    let piped = place.run("config path");
    assert!(out(&piped).lines().any(|line| line.chars().count() > 60), "{}", out(&piped));
}
