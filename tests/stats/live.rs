//! `hermux stats` beside a running server, and without it: what it knows of accounts and their free requests.

use hermux::simulator::{Key, Scenario, Simulator};
use serde_json::Value;

use super::support::hermux::write_private;
use super::support::{Request, Setup, eventually};

fn json(setup: &Setup) -> Value {
    let mut command = setup.command();
    command.args(["stats", "--json", "--data-dir"]).arg(setup.data()).arg("--tokens").arg(setup.tokens());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn table(setup: &Setup, by: &str) -> String {
    let mut command = setup.command();
    command.args(["stats", "--by", by, "--data-dir"]).arg(setup.data()).arg("--tokens").arg(setup.tokens());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn the_free_quota_of_today_is_told_by_the_server_and_from_what_it_noted() {
    let mut scenario = Scenario::with_keys(&["a"]);
    scenario.accounts[0].credits = 0;
    let simulator = Simulator::start(scenario).unwrap();
    let setup = Setup::url(&simulator.url()).polling();
    write_private(&setup.tokens(), &format!("name,token\na,{}\n", Key::new("a").secret));
    let hermux = setup.start();
    let chat = Request::post(
        "/v1/chat/completions",
        r#"{"model":"deepseek/deepseek-chat:free","messages":[{"role":"user","content":"hello"}]}"#,
    );
    assert_eq!(hermux.ask(&chat).status(), 200);
    let told = |setup: &Setup| {
        let json = json(setup);
        let key = json["keys"].get(0)?;
        Some((key["free_day_used"].as_u64()?, key["free_day_limit"].as_u64()?)).filter(|(used, _)| *used > 0)
    };
    let live = eventually("the server tells it", || told(hermux.setup()));
    assert_eq!(live, (1, 50));
    for by in ["key", "account"] {
        let text = table(hermux.setup(), by);
        assert!(text.contains("free quota") && text.contains(" 2%"), "{by}: {text}");
    }
    let setup = hermux.stop();
    assert_eq!(told(&setup), Some(live), "and the ledger's notes do without it");
}

#[test]
fn a_ledger_that_cannot_be_written_and_one_that_waits_for_requests_are_told_apart_from_no_use() {
    let simulator = Simulator::start(Scenario::with_keys(&["a"])).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &format!("name,token\na,{}\n", Key::new("a").secret));
    let hermux = setup.start();
    let stats = || {
        let mut command = hermux.setup().command();
        command.args(["stats", "--data-dir"]).arg(hermux.setup().data());
        let output = command.output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [shown, said] = stats();
    assert!(
        shown.contains("hint: the proxy runs and has seen no request yet: ") && said.is_empty(),
        "{shown}{said}"
    );

    let other = rusqlite::Connection::open(hermux.setup().data().join("ledger.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let chat = Request::post(
        "/v1/chat/completions",
        r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}"#,
    );
    assert_eq!(hermux.ask(&chat).status(), 200);
    eventually("it says that the ledger is behind", || {
        stats()[1].starts_with("warning: the server can't write the ledger now").then_some(())
    });
    other.execute_batch("ROLLBACK").unwrap();
    hermux.stats_when("it is on disk", |sum| sum.requests == 1);
    eventually("nothing is behind", || stats()[1].is_empty().then_some(()));
}

#[test]
fn what_is_not_known_of_a_quota_is_not_guessed() {
    let simulator = Simulator::start(Scenario::with_keys(&["a"])).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &format!("name,token\na,{}\n", Key::new("a").secret));
    let hermux = setup.start();
    let chat = Request::post(
        "/v1/chat/completions",
        r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}"#,
    );
    assert_eq!(hermux.ask(&chat).status(), 200);
    hermux.stats_when("it is on disk", |sum| sum.requests == 1);
    assert_eq!(json(hermux.setup())["keys"][0]["free_day_limit"], Value::Null);
    let text = table(hermux.setup(), "key");
    let row = text.lines().find(|line| line.starts_with("a ")).unwrap();
    assert!(row.trim_end().ends_with(" -"), "{text}");
}
