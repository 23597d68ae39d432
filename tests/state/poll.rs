//! `GET /key`, asked in the background: how often, of whom, and that nothing waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hermux::simulator::{Account, Attempt, Fault, Key, Scenario, Simulator, Then};
use http::header::AUTHORIZATION;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::support::hermux::write_private;
use crate::support::{Hermux, PATIENCE, Request, Setup, Upstream};

/// A simulator with keys of these names, each of an account of its own, and hermux's files for it.
pub(crate) fn scene(names: &[&str], change: impl FnOnce(Scenario) -> Scenario) -> (Simulator, Setup) {
    let simulator = Simulator::start(change(Scenario::with_keys(names))).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &rows(names));
    (simulator, setup)
}

pub(crate) fn rows(names: &[&str]) -> String {
    let row = |name: &&str| format!("{name},{}\n", Key::new(name).secret);
    format!("name,token\n{}", names.iter().map(row).collect::<String>())
}

const NAMES: [&str; 12] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11"];

fn is_question(attempt: &Attempt) -> bool {
    attempt.path() == "/api/v1/key"
}

fn questions(attempts: &[Attempt]) -> Vec<&Attempt> {
    attempts.iter().filter(|attempt| is_question(attempt)).collect()
}

/// Waits until there were so many questions.
pub(crate) fn wait_for(simulator: &Simulator, count: usize) -> Vec<Attempt> {
    let enough = simulator.wait_for(|attempts| questions(attempts).len() >= count, PATIENCE);
    let attempts = simulator.attempts();
    assert!(enough, "{count} questions were to come, and these came: {}", questions(&attempts).len());
    attempts.into_iter().filter(is_question).collect()
}

fn models(hermux: &Hermux) {
    assert_eq!(hermux.ask(&Request::get("/v1/models")).status(), 200);
}

#[test]
fn each_key_is_asked_about_once_and_at_most_five_a_second() {
    let (simulator, setup) = scene(&NAMES, |scenario| scenario);
    let hermux = setup.polling().variable("HERMUX_LOG", "hermux=debug").start();
    let asked = wait_for(&simulator, NAMES.len());
    let mut names: Vec<_> = asked.iter().map(|attempt| attempt.key.clone().unwrap()).collect();
    names.sort();
    let mut expected = NAMES.map(str::to_owned);
    expected.sort();
    assert_eq!(names, expected, "each of them, with its own key");
    // 11 pauses of at least 200 ms; on the way here only the first can have lost time.
    let spread = asked[NAMES.len() - 1].arrived - asked[0].arrived;
    assert!(spread >= Duration::from_millis(1_800), "{spread:?}");
    for attempt in &asked {
        assert_eq!(attempt.method, http::Method::GET);
        assert!(attempt.headers["user-agent"].to_str().unwrap().starts_with("hermux/"));
        assert_eq!(attempt.headers.get_all(AUTHORIZATION).iter().count(), 1);
    }
    hermux.wait_for_line("GET /key told its limits");
    // That there is no further one: the thirteenth would have come with the next turn.
    let more = simulator.wait_for(|attempts| questions(attempts).len() > NAMES.len(), Duration::from_secs(1));
    assert!(!more, "nothing more is asked for a while");
}

#[test]
fn keys_of_one_account_are_warned_of_once_for_all_of_them() {
    let account = |scenario: Scenario| {
        let keys = NAMES.iter().fold(Account::new("one"), |account, name| account.key(Key::new(name)));
        Scenario { accounts: vec![keys], ..scenario }
    };
    let (simulator, setup) = scene(&NAMES, account);
    let hermux = setup.polling().start();
    wait_for(&simulator, NAMES.len());
    hermux.wait_for_line("these 12 keys are one account: they add no free quota: ");
    let warnings = hermux.lines().iter().filter(|line| line.contains("are one account")).count();
    assert_eq!(warnings, 1, "they were learned of one after the other");
}

#[test]
fn neither_readiness_nor_a_request_waits_for_an_answer_and_four_are_open_at_most() {
    let (simulator, setup) =
        scene(&NAMES, |scenario| scenario.fault(Fault::new(Then::Stall).on_path("/api/v1/key")));
    let start = Instant::now();
    let hermux = setup.polling().start();
    models(&hermux);
    wait_for(&simulator, 4);
    models(&hermux);
    assert!(start.elapsed() < Duration::from_secs(9), "an answer was waited for");
    // Long enough for four more.
    let more = simulator.wait_for(|attempts| questions(attempts).len() > 4, Duration::from_millis(1_300));
    assert!(!more, "a fifth question was open");
    let stop = Instant::now();
    hermux.signal("TERM");
    assert!(hermux.wait().success());
    assert!(stop.elapsed() < Duration::from_secs(5), "the stop waited for an answer");
}

#[test]
fn a_question_without_an_answer_is_given_up_after_ten_seconds() {
    let (simulator, setup) = scene(&NAMES[..5], |scenario| {
        scenario.fault(Fault::new(Then::Stall).on_path("/api/v1/key").times(4))
    });
    let _hermux = setup.polling().start();
    let asked = wait_for(&simulator, 5);
    let waited = asked[4].arrived - asked[0].arrived;
    assert!(waited >= Duration::from_millis(9_500), "{waited:?}");
}

#[test]
fn no_poll_asks_nothing() {
    for setup in
        [|setup: Setup| setup.switch("--no-poll"), |setup: Setup| setup.variable("HERMUX_NO_POLL", "true")]
    {
        let (simulator, files) = scene(&["a", "b"], |scenario| scenario);
        let hermux = setup(files.polling()).start();
        models(&hermux);
        write_private(&hermux.setup().tokens(), &rows(&["a", "b", "c"]));
        hermux.wait_for_line("reloaded the keys, 3 in all");
        // The first question comes at most half a second after the start.
        let asked = simulator.wait_for(|attempts| attempts.iter().any(is_question), Duration::from_secs(1));
        assert!(!asked);
    }
}

#[test]
fn a_reload_asks_about_the_new_key_alone() {
    let (simulator, setup) = scene(&["a", "b", "c"], |scenario| scenario);
    write_private(&setup.tokens(), &rows(&["a", "b"]));
    let hermux = setup.polling().start();
    wait_for(&simulator, 2);
    write_private(&hermux.setup().tokens(), &rows(&["a", "b", "c"]));
    let asked = wait_for(&simulator, 3);
    assert_eq!(asked[2].key.as_deref(), Some("c"));
}

#[test]
fn a_key_travels_to_nobody_else() {
    let stranger = Upstream::never_called();
    let elsewhere = format!("{}/key", stranger.url());
    let moved = Then::Answer(hermux::simulator::Canned {
        headers: vec![("location".to_owned(), elsewhere)],
        ..hermux::simulator::Canned::json(302, "{}")
    });
    let (simulator, setup) =
        scene(&["a"], |scenario| scenario.fault(Fault::new(moved).on_path("/api/v1/key")));
    let proxy = format!("http://{}", stranger.address());
    let hermux = setup
        .polling()
        .variable("HERMUX_LOG", "hermux=debug")
        .variable("HTTP_PROXY", &proxy)
        .variable("http_proxy", &proxy)
        .variable("ALL_PROXY", &proxy)
        .start();
    wait_for(&simulator, 1);
    hermux.wait_for_line("GET /key told nothing: status 302");
}

#[test]
fn what_is_no_answer_is_borne_and_told_at_debug_level() {
    for (fault, told) in [
        (Then::answer(500, r#"{"error":{"code":500,"message":"Internal Server Error"}}"#), "status 500"),
        (Then::answer(200, "[]"), "an answer that tells of no key"),
        (Then::answer(200, vec![b' '; 100_000]), "an answer too long"),
        (Then::answer(401, "<html>log in first</html>"), "status 401"),
        (Then::garbage("SSH-2.0-hello\r\n"), "error sending request"),
    ] {
        let (_simulator, setup) =
            scene(&["a"], |scenario| scenario.fault(Fault::new(fault).on_path("/api/v1/key")));
        let hermux = setup.polling().variable("HERMUX_LOG", "hermux=debug").start();
        hermux.wait_for_line(&format!("GET /key told nothing: {told}"));
        models(&hermux);
    }
}

#[test]
fn a_key_that_openrouter_refuses_is_noticed() {
    let (simulator, setup) = scene(&["a"], |scenario| scenario);
    simulator.change_key("a", |key| key.disabled = true);
    let hermux = setup.polling().variable("HERMUX_LOG", "hermux=debug").start();
    hermux.wait_for_line("GET /key refused it");
}

#[test]
fn it_asks_over_tls_with_the_authorities_that_were_named() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let simulator = Simulator::start_on(Scenario::with_keys(&["a"]), listener, Some(Arc::new(tls))).unwrap();
    let setup = || {
        let setup = Setup::url(&simulator.url());
        write_private(&setup.tokens(), &rows(&["a"]));
        setup.polling().variable("HERMUX_LOG", "hermux=debug")
    };
    let trusting = setup();
    let roots = trusting.directory().join("roots.pem");
    write_private(&roots, &issued.cert.pem());
    let trusting = trusting.flag("--ca-file", roots.to_str().unwrap()).start();
    trusting.wait_for_line("GET /key told its limits");
    setup().start().wait_for_line("GET /key told nothing: error sending request");
}

#[test]
fn it_asks_through_the_proxy_that_was_named() {
    let (simulator, setup) = scene(&["a"], |scenario| scenario);
    let proxy = Upstream::answering(|exchange| exchange.json(502, "{}"));
    let hermux = setup
        .polling()
        .flag("--upstream-proxy", &format!("http://{}", proxy.address()))
        .variable("HERMUX_LOG", "hermux=debug")
        .start();
    hermux.wait_for_line("GET /key told nothing: status 502");
    assert!(simulator.attempts().is_empty());
}
