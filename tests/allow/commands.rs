//! `hermux allow` without a terminal: what is printed, what is written, and the exit codes.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use hermux::access::{Digest, file};
use serde_json::Value;

use super::support::hermux::write_private;
use super::support::{Request, Setup, TOKEN, Upstream, samples};
use super::{bounded, chat};

/// A directory without a server.
fn place() -> Setup {
    let setup = Setup::url("http://127.0.0.1:9/api/v1");
    fs::remove_file(setup.allow()).unwrap();
    setup
}

fn allow(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command();
    command.arg("allow").args(arguments).arg("--data-dir").arg(setup.data());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who does not read it may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn told(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn text(setup: &Setup) -> String {
    fs::read_to_string(setup.allow()).unwrap()
}

#[test]
fn gen_writes_the_digest_with_every_limit_that_was_typed() {
    let place = place();
    let made = allow(
        &place,
        &[
            "gen",
            "build server",
            "--expires=2030-12-31",
            "--models=openai/*,*:free",
            "--rpm=60",
            "--daily-requests=500",
            "--daily-cost=2.50",
            "--keys=key-1,lost",
        ],
        "",
    );
    assert_eq!(made.status.code(), Some(0), "{}", told(&made));
    let token = out(&made).strip_suffix('\n').unwrap();
    assert_eq!(
        text(&place),
        format!(
            "sha256:{} name=\"build server\" expires=2031-01-01T00:00:00Z models=openai/*,*:free rpm=60 \
             daily_requests=500 daily_cost=2.5 keys=key-1,lost\n",
            Digest::of(token.as_bytes())
        )
    );
    assert!(told(&made).contains("no such key in") && told(&made).contains(": lost"), "{}", told(&made));
    assert!(!told(&made).contains("hmx_") && !text(&place).contains(token));
}

#[test]
fn gen_makes_many_in_one_edit_plain_where_that_is_asked_for() {
    let place = place();
    let made = allow(&place, &["gen", "team", "--count", "3", "--plain"], "");
    let tokens: Vec<&str> = out(&made).lines().collect();
    let lines: Vec<String> =
        tokens.iter().zip(1..).map(|(token, number)| format!("{token} name=team-{number}\n")).collect();
    assert_eq!(text(&place), lines.concat());
    assert!(told(&made).contains("`team-1`, `team-2`, `team-3`"), "{}", told(&made));

    // One that is taken takes none.
    let before = text(&place);
    let again = allow(&place, &["gen", "team", "--count", "5"], "");
    assert_eq!((again.status.code(), out(&again)), (Some(2), ""));
    assert_eq!(text(&place), before);
    let unnamed = allow(&place, &["gen", "--count", "2"], "");
    assert_eq!(out(&unnamed).lines().count(), 2);
    assert_eq!(file::entries(&place.allow()).unwrap().len(), 5);
}

#[test]
fn gen_takes_a_duration_and_refuses_what_it_can_not_read() {
    let place = place();
    let clock = hermux::clock::Clock::system();
    let before = clock.now();
    assert!(allow(&place, &["gen", "ci", "--expires", "30d"], "").status.success());
    let ends = file::entries(&place.allow()).unwrap()[0].terms.expires.unwrap();
    let days = |from: hermux::clock::Time| ends.since(from).as_secs_f64() / 86_400.0;
    assert!((29.99..30.01).contains(&days(before)), "{}", days(before));
    let before = text(&place);
    for (arguments, said) in [
        (&["--expires", "soon"][..], "--expires: the value can't be read\nhint: "),
        (&["--expires", "30"], "--expires: the value can't be read\nhint: "),
        (&["--expires=-1d"], "--expires: the value can't be read\nhint: "),
        (&["--expires", "2020-01-01"], "--expires: the time is over already\nhint: "),
        (&["--rpm", "0"], "--rpm: the value can't be read\nhint: "),
        (&["--daily-requests", "many"], "--daily-requests: the value can't be read\nhint: "),
        (&["--daily-cost", "$5"], "--daily-cost: the value can't be read\nhint: "),
        (&["--models", ","], "--models: the value can't be read\nhint: "),
        (&["--keys", ""], "--keys: the value can't be read\nhint: "),
        (&["--count", "0"], ""),
    ] {
        let refused = allow(&place, &[&["gen", "x"], arguments].concat(), "");
        assert_eq!((refused.status.code(), out(&refused)), (Some(2), ""), "{arguments:?}");
        assert!(told(&refused).contains(said), "{arguments:?}: {}", told(&refused));
    }
    assert_eq!(text(&place), before);
}

#[test]
fn list_shows_every_line_with_its_use_and_no_token() {
    let upstream = Upstream::answering(chat);
    let setup = bounded(&upstream, "");
    let digest = Digest::of(b"some-hashed-token-0123");
    write_private(
        &setup.allow(),
        &format!(
            "{TOKEN} name=tester rpm=60 daily_cost=0.5 keys=key-1 # the tests\nsha256:{digest} name=old expires=2020-01-01\n\
             unused-token-0123456789\n"
        ),
    );
    let hermux = setup.start();
    for _ in 0..3 {
        assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
    }
    assert_eq!(hermux.ask(&Request::get("/v1/models")).status(), 200);
    hermux.stats_when("all are on disk", |sum| sum.requests == 4 && sum.completion_tokens == 12);

    let listed = allow(hermux.setup(), &["list", "--json"], "");
    assert_eq!(listed.status.code(), Some(0), "{}", told(&listed));
    let json: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let callers = json["callers"].as_array().unwrap();
    assert_eq!(callers.len(), 3);
    let first = &callers[0];
    assert_eq!(
        (&first["name"], &first["form"], &first["line"]),
        (&"tester".into(), &"plain".into(), &1.into())
    );
    assert_eq!(
        (&first["rpm"], &first["keys"][0], &first["expires"]),
        (&60.into(), &"key-1".into(), &Value::Null)
    );
    assert_eq!(first["requests_today"], 3, "the catalogue does not count");
    assert_eq!((&first["cost_today_usd"], &first["daily_cost_usd"]), (&0.000_063.into(), &0.5.into()));
    let last: jiff::Timestamp = first["last_used"].as_str().unwrap().parse().unwrap();
    assert!(hermux::clock::Clock::system().now().0 - last.as_millisecond() < 60_000);
    assert_eq!((&callers[1]["expired"], &callers[1]["id"]), (&true.into(), &digest.short().into()));
    assert_eq!((&callers[2]["requests_today"], &callers[2]["last_used"]), (&0.into(), &Value::Null));
    // Whatever is not limited is null.
    for limit in ["models", "rpm", "daily_requests", "daily_cost_usd", "keys", "expires"] {
        assert_eq!(callers[2][limit], Value::Null, "{limit}");
    }

    let table = allow(hermux.setup(), &["list"], "");
    for shown in [out(&table), out(&listed)] {
        assert!(
            !shown.contains(TOKEN) && !shown.contains("unused-token") && !shown.contains(&digest.to_string())
        );
    }
    let lines: Vec<&str> = out(&table).lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].contains("tester") && lines[1].contains("0.000063"), "{}", lines[1]);
    assert!(
        lines[1].contains("rpm=60 daily_cost=0.5 keys=key-1") && lines[1].contains(" UTC"),
        "{}",
        lines[1]
    );
    assert!(lines[2].contains("old") && lines[2].contains("expired 2020-01-02 00:00 UTC"), "{}", lines[2]);
}

#[test]
fn list_of_nobody_and_of_no_file_says_what_to_do() {
    let place = place();
    let missing = allow(&place, &["list"], "");
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        told(&missing).contains("no such file") && told(&missing).contains("hint: "),
        "{}",
        told(&missing)
    );
    write_private(&place.allow(), "# nobody\n");
    let empty = allow(&place, &["list"], "");
    assert_eq!(empty.status.code(), Some(0));
    assert!(out(&empty).contains("hint: make one with: hermux allow gen"), "{}", out(&empty));
    assert_eq!(out(&allow(&place, &["list", "--json"], "")), "{\"callers\":[]}\n");
    write_private(&place.allow(), "hx-geheim-and-more-letters rpn=5\n");
    let broken = allow(&place, &["list"], "");
    assert_eq!(broken.status.code(), Some(2));
    assert!(told(&broken).contains("allow.txt:1: no such attribute; did you mean rpm"), "{}", told(&broken));
    assert!(!told(&broken).contains("geheim"));
}

#[test]
fn revoke_removes_the_lines_of_the_caller_and_nothing_else() {
    let place = place();
    let lines = format!(
        "# ours\r\n{TOKEN} # ci\r\n\r\nsecond-token-0123456789 name=ci rpm=5\r\nthird-token-0123456789  # x"
    );
    write_private(&place.allow(), &lines);
    let unsure = allow(&place, &["revoke", "ci"], "y\n");
    assert_eq!(unsure.status.code(), Some(2));
    assert!(told(&unsure).contains("--yes"), "{}", told(&unsure));
    let unknown = allow(&place, &["revoke", "cli", "--yes"], "");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        told(&unknown).contains("no such caller") && told(&unknown).contains("hint: "),
        "{}",
        told(&unknown)
    );
    assert_eq!(text(&place), lines);

    // One of two tokens, by its id.
    let id = Digest::of(TOKEN.as_bytes()).short();
    let one = allow(&place, &["revoke", &id, "--yes"], "");
    assert_eq!(one.status.code(), Some(0), "{}", told(&one));
    assert_eq!(
        text(&place),
        "# ours\r\n\r\nsecond-token-0123456789 name=ci rpm=5\r\nthird-token-0123456789  # x"
    );
    let rest = allow(&place, &["revoke", "ci", "-y"], "");
    assert_eq!((rest.status.code(), out(&rest)), (Some(0), ""));
    assert!(told(&rest).contains("revoked `ci`: 1 line removed"), "{}", told(&rest));
    assert_eq!(text(&place), "# ours\r\n\r\nthird-token-0123456789  # x");
}

#[test]
fn check_says_which_line_a_token_is_and_whether_it_lets_in() {
    let place = place();
    let made = allow(&place, &["gen", "ci", "--rpm", "5"], "");
    let made = out(&made).trim();
    let lines = format!(
        "# ours\n{}old-token-0123456789 name=old expires=2020-01-01\nplain-token-0123456789\n",
        text(&place)
    );
    write_private(&place.allow(), &lines);
    let slip = format!("{}{}", &made[..20], made[20..].replace(&made[20..21], "-"));
    for (token, code, says) in [
        (format!("{made}\n"), 0, "valid: allow.txt:2: ci (rpm=5)"),
        (format!("  {made}\r\n"), 0, "valid: allow.txt:2: ci (rpm=5)"),
        ("plain-token-0123456789".to_owned(), 0, "(without limits)"),
        ("old-token-0123456789".to_owned(), 1, "expired: allow.txt:3: old (on 2020-01-02 00:00 UTC)"),
        ("some-other-token".to_owned(), 1, "unknown: it stands on no line of allow.txt"),
        (slip, 1, "mistyped: "),
    ] {
        let checked = allow(&place, &["check"], &token);
        assert_eq!(checked.status.code(), Some(code), "{says}: {}", told(&checked));
        assert!(out(&checked).contains(says), "{says}: {}", out(&checked));
        assert!(!out(&checked).contains(token.trim()) && !told(&checked).contains(token.trim()));
    }
    for input in ["", "\n", "one\ntwo\n", &"x".repeat(5000)] {
        let refused = allow(&place, &["check"], input);
        assert_eq!((refused.status.code(), out(&refused)), (Some(2), ""));
    }
}

#[test]
fn a_hashed_token_and_a_plain_one_let_in_alike() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::MODELS));
    let setup = bounded(&upstream, "");
    let tokens: Vec<String> = [&["gen", "a"][..], &["gen", "b", "--plain"]]
        .iter()
        .map(|arguments| out(&allow(&setup, arguments, "")).trim().to_owned())
        .collect();
    let hermux = setup.start();
    for token in tokens {
        let request = Request::get("/v1/models").without("authorization").header("x-api-key", &token);
        assert_eq!(hermux.ask(&request).status(), 200);
    }
}
