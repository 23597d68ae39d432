//! `--metrics`: what Prometheus reads, on a listener of its own, and the dashboard that shows it; and the access log.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use hermux::simulator::{Fault, Scenario, Simulator, Then, errors};
use serde_json::Value;
use support::hermux::write_private;
use support::{Hermux, Request, Setup, eventually};

/// What a prompt says that nothing may tell again.
const PROMPT: &str = "the-secret-of-the-prompt";

/// A server with metrics before a simulator with the keys `ann`, whom `OpenRouter` refuses, and `ben`.
fn started(change: impl FnOnce(Setup) -> Setup) -> (Simulator, Hermux) {
    let refused = Fault::new(Then::Deny(errors::user_not_found())).with_key("ann");
    let scenario = Scenario::with_keys(&["ann", "ben"]).fault(refused);
    let rows: Vec<_> = scenario.keys().map(|key| format!("{},{}\n", key.name, key.secret)).collect();
    let simulator = Simulator::start(scenario).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &format!("name,token\n{}", rows.concat()));
    (simulator, change(setup).start())
}

fn ask(hermux: &Hermux) {
    let body =
        format!(r#"{{"model":"openai/gpt-4o-mini","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#);
    assert_eq!(hermux.ask(&Request::post("/api/v1/chat/completions", &body)).status(), 200);
}

/// Where the metrics are, as the log says.
fn place(hermux: &Hermux) -> String {
    let line = hermux.wait_for_line("metrics at http://");
    let (_, place) = line.split_once("http://").unwrap();
    place.split('/').next().unwrap().to_owned()
}

/// The answer to a request for `path`, head and body.
fn get(place: &str, method: &str, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(place).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {place}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The metrics once they have `line`.
fn metrics_with(place: &str, line: &str) -> String {
    eventually(line, || {
        let (_, text) = get(place, "GET", "/metrics", "*/*");
        text.lines().any(|other| other == line).then_some(text)
    })
}

#[test]
fn metrics_are_told_and_promtool_finds_nothing_amiss() {
    let (_simulator, hermux) = started(|setup| setup.flag("--metrics", "127.0.0.1:0"));
    let place = place(&hermux);
    ask(&hermux);
    ask(&hermux);
    let names = r#"caller="tester",model="openai/gpt-4o-mini""#;
    let text =
        metrics_with(&place, &format!(r#"hermux_attempts_total{{key="ben",{names},outcome="complete"}} 2"#));
    for line in [
        format!(r#"hermux_attempts_total{{key="ann",{names},outcome="failed"}} 1"#),
        r#"hermux_faults_total{key="ann",kind="key_refused"} 1"#.to_owned(),
        r#"hermux_key_used_today{key="ben"} 2"#.to_owned(),
        "hermux_in_flight{} 0".to_owned(),
        "hermux_waiting{} 0".to_owned(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
    }
    let rests = r#"hermux_key_rest_seconds{key="ann",what="all",why="refused"} "#;
    assert!(text.lines().any(|line| line.starts_with(rests)), "{text}");
    assert!(!text.contains("sk-or-") && !text.contains(PROMPT) && !text.contains(support::TOKEN), "{text}");

    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        println!("SKIPPED: promtool is not installed, so it did not look at the metrics");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.is_empty(), "{told}\n{text}");
}

#[test]
fn the_listener_is_for_metrics_alone_and_the_callers_port_has_none() {
    let (_simulator, hermux) = started(|setup| setup.variable("HERMUX_METRICS", "localhost:0"));
    let place = place(&hermux);
    let (head, text) = get(&place, "GET", "/metrics", "*/*");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(!text.contains("# EOF"));
    let (head, text) = get(&place, "GET", "/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1");
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0") && text.ends_with("# EOF\n"),
        "{head}"
    );
    assert!(get(&place, "GET", "/", "*/*").0.starts_with("HTTP/1.1 404 "));
    assert!(get(&place, "POST", "/metrics", "*/*").0.starts_with("HTTP/1.1 405 "));
    assert!(get(&place, "GET", "/api/v1/chat/completions", "*/*").0.starts_with("HTTP/1.1 404 "));
    assert_eq!(hermux.ask(&Request::get("/metrics")).status(), 404);
}

#[test]
fn an_address_that_is_taken_or_none_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (given, code, told) in [
        (address.as_str(), 1, "can't listen for those who ask for metrics"),
        ("9333", 2, "not an IP address and a port such as 127.0.0.1:9333: 9333"),
    ] {
        let setup = Setup::url("http://127.0.0.1:1").flag("--metrics", given);
        let (status, log) = setup.start_in_vain();
        assert_eq!(status.code(), Some(code), "{log}");
        assert!(log.contains(told), "{log}");
    }
}

#[test]
fn beyond_this_machine_there_is_a_warning() {
    let (_simulator, hermux) = started(|setup| setup.flag("--metrics", "0.0.0.0:0"));
    hermux.wait_for_line("metrics tell the names of keys, callers and models to everybody");
}

/// The names of metrics in `text`.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c)).filter(|word| word.starts_with("hermux_")).collect()
}

#[test]
fn the_dashboard_names_metrics_that_are_told_and_shows_them_all() {
    let (_simulator, hermux) = started(|setup| setup.flag("--metrics", "127.0.0.1:0"));
    ask(&hermux);
    let (_, text) = get(&place(&hermux), "GET", "/metrics", "*/*");
    let dashboard =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/grafana/hermux.json"));
    let dashboard = dashboard.unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let told: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let shown = names(&dashboard);
    let family = |name: &str| name.strip_suffix("_bucket").unwrap_or(name).to_owned();
    for name in &shown {
        assert!(told.contains(family(name).as_str()), "the dashboard names what there is not: {name}");
    }
    for name in told {
        assert!(shown.iter().any(|shown| family(shown) == name), "the dashboard does not show: {name}");
    }
}

#[test]
fn the_access_log_has_one_structured_line_a_request_without_prompts_or_secrets() {
    let (_simulator, hermux) =
        started(|setup| setup.switch("--access-log").flag("--log-format", "json").switch("-q"));
    ask(&hermux);
    assert_eq!(hermux.ask(&Request::post("/nowhere", "{}")).status(), 404);
    let line = hermux.wait_for_line("/nowhere");
    let refused: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&refused["status"], &refused["outcome"]), (&404.into(), &"refused".into()), "{line}");

    let lines: Vec<String> =
        hermux.lines().into_iter().filter(|line| line.contains(r#""target":"hermux::request""#)).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    for (field, value) in [
        ("caller", Value::from("tester")),
        ("key", "ben".into()),
        ("model", "openai/gpt-4o-mini".into()),
        ("method", "POST".into()),
        ("path", "/chat/completions".into()),
        ("status", 200.into()),
        ("outcome", "complete".into()),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    for field in [
        "attempts",
        "bytes",
        "first_byte_ms",
        "duration_ms",
        "prompt_tokens",
        "completion_tokens",
        "cost_nanodollars",
    ] {
        assert!(line[field].is_u64(), "{field}: {line}");
    }
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    let log = hermux.lines().concat();
    assert!(!log.contains(PROMPT) && !log.contains("sk-or-") && !log.contains(support::TOKEN), "{log}");
}

#[test]
fn every_request_has_a_line_and_all_paths_one_form() {
    let (_simulator, hermux) =
        started(|setup| setup.switch("--access-log").flag("--log-format", "json").switch("-q"));
    assert_eq!(hermux.ask(&Request::get("/api/v1/key")).status(), 200);
    assert_eq!(hermux.ask(&Request::get("/v1/credits")).status(), 403);
    let stranger = Request::post("/api/v1/chat/completions", "{}").without("authorization");
    assert_eq!(hermux.ask(&stranger).status(), 401);
    ask(&hermux);
    let line = |path: &str, outcome: &str| -> Value {
        let field = format!(r#""path":"{path}""#);
        let lines = || hermux.lines().into_iter().filter(|line| line.contains(&field));
        eventually(path, || {
            lines().find_map(|line| {
                serde_json::from_str(&line).ok().filter(|line: &Value| line["outcome"] == outcome)
            })
        })
    };
    for (path, outcome, method, status) in [
        ("/key", "complete", "GET", 200),
        ("/credits", "failed", "GET", 403),
        ("/chat/completions", "refused", "POST", 401),
        ("/chat/completions", "complete", "POST", 200),
    ] {
        let line = line(path, outcome);
        assert_eq!((&line["method"], &line["status"]), (&method.into(), &status.into()), "{line}");
    }
    assert!(!hermux.lines().concat().contains(r#""path":"/api"#));
}

#[test]
fn a_secret_in_the_place_of_the_models_name_is_told_nowhere() {
    const PLAIN: &str = "a-token-of-somebodys-own";
    let (_simulator, hermux) = started(|setup| {
        write_private(&setup.allow(), &format!("{} name=tester\n{PLAIN}\n", support::TOKEN));
        setup.switch("--access-log").switch("-v").flag("--metrics", "127.0.0.1:0")
    });
    let key = hermux::simulator::Key::new("ben").secret;
    for secret in [support::TOKEN, PLAIN, &key] {
        let body = format!(r#"{{"model":"{secret}","messages":[]}}"#);
        assert_eq!(hermux.ask(&Request::post("/v1/chat/completions", &body)).status(), 400);
    }
    let names = r#"caller="tester",model="{secret}",outcome="failed""#;
    let text = metrics_with(&place(&hermux), &format!(r#"hermux_attempts_total{{key="ben",{names}}} 3"#));
    let log = hermux.lines().concat();
    let data = hermux.setup().data();
    let mut command = hermux.setup().command();
    command.args(["stats", "--by", "model", "--data-dir"]).arg(&data);
    let stats = eventually("it is in the ledger", || {
        let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
        told.contains("{secret}").then_some(told)
    });
    let setup = hermux.stop();
    let ledger = std::fs::read(setup.data().join("ledger.db")).unwrap();
    for secret in [support::TOKEN, PLAIN, &key] {
        for (what, told) in [
            ("metrics", text.as_bytes()),
            ("log", log.as_bytes()),
            ("stats", stats.as_bytes()),
            ("ledger", &ledger),
        ] {
            let is_told = told.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_told, "told in: {what}");
        }
    }
}

#[test]
fn without_the_flag_there_is_no_line_a_request() {
    let (_simulator, hermux) = started(|setup| setup.flag("--log-format", "json"));
    ask(&hermux);
    hermux.signal("TERM");
    assert!(hermux.wait().success());
    let lines = hermux.lines();
    assert!(!lines.concat().contains("hermux::request"), "{lines:#?}");
}
