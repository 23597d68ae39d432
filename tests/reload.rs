//! `tokens.csv` and `allow.txt` are read again when they change, and nothing under way is disturbed by it.

mod support;

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::Duration;

use support::hermux::{answer, tokens_csv, write_private};
use support::{Exchange, Hermux, Request, Setup, TOKEN, Upstream, eventually, samples};

fn models(exchange: Exchange) {
    exchange.json(200, samples::MODELS);
}

fn status_of(hermux: &Hermux, token: &str) -> u16 {
    let bare = Request::get("/v1/models").without("authorization");
    hermux.ask(&bare.header("Authorization", &format!("Bearer {token}"))).status()
}

fn wait_for_status(hermux: &Hermux, token: &str, status: u16) {
    eventually(&format!("{status} after a change"), || (status_of(hermux, token) == status).then_some(()));
}

/// Waits until a request is served by the key of this name. The pool takes the least used one, so a new key comes first.
fn wait_for_key(hermux: &Hermux, name: &str) {
    eventually(&format!("{name} is used"), || {
        (hermux.ask(&Request::get("/v1/models")).key_name() == name).then_some(())
    });
}

/// Replaces a file as editors and deployments do: a new file beside it, renamed over it.
fn rename_over(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    write_private(&beside, text);
    fs::rename(&beside, path).expect("both are in one directory");
}

const OTHER: &str = "hx-another-access-token-0123456789";

#[test]
fn a_changed_allow_file_is_in_force_whichever_way_it_was_changed() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let allow = hermux.setup().allow();
    assert_eq!(status_of(&hermux, OTHER), 401);
    // Written in place.
    write_private(&allow, &format!("{TOKEN} # tester\n{OTHER}\n"));
    wait_for_status(&hermux, OTHER, 200);
    assert_eq!(status_of(&hermux, TOKEN), 200);
    // Renamed over.
    rename_over(&allow, &format!("{TOKEN} # tester\n"));
    wait_for_status(&hermux, OTHER, 401);
    rename_over(&allow, &format!("{OTHER}\n"));
    wait_for_status(&hermux, OTHER, 200);
    assert_eq!(status_of(&hermux, TOKEN), 401);
}

#[test]
fn a_changed_key_file_is_in_force_whichever_way_it_was_changed() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let tokens = hermux.setup().tokens();
    wait_for_key(&hermux, "key-1");
    write_private(&tokens, &tokens_csv([1, 2]));
    wait_for_key(&hermux, "key-2");
    rename_over(&tokens, &tokens_csv([3]));
    wait_for_key(&hermux, "key-3");
    // The others are out of the pool.
    for _ in 0..4 {
        assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "key-3");
    }
}

#[test]
fn a_key_keeps_its_use_over_a_change() {
    let upstream = Upstream::answering(models);
    let hermux = Setup::new(&upstream).keys(2).start();
    for _ in 0..6 {
        assert_eq!(hermux.ask(&Request::get("/v1/models")).status(), 200);
    }
    // At least three uses each, so that a new key serves three before one of them comes again.
    rename_over(&hermux.setup().tokens(), &tokens_csv([1, 2, 3]));
    wait_for_key(&hermux, "key-3");
    for _ in 0..2 {
        assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "key-3");
    }
}

#[test]
fn a_hangup_reads_what_nothing_else_shows_as_changed() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let allow = hermux.setup().allow();
    let modified = fs::metadata(&allow).and_then(|data| data.modified()).expect("the file has a time");
    // The same file, length and time: only its bytes differ.
    let flipped = TOKEN.replace('0', "9");
    write_private(&allow, &format!("{flipped} # tester\n"));
    let times = FileTimes::new().set_modified(modified);
    File::options()
        .write(true)
        .open(&allow)
        .and_then(|file| file.set_times(times))
        .expect("the file is ours");
    hermux.signal("HUP");
    wait_for_status(&hermux, &flipped, 200);
    assert_eq!(status_of(&hermux, TOKEN), 401);
    assert!(hermux.running());
}

#[test]
fn a_broken_allow_file_keeps_the_last_good_set_and_names_the_line() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let allow = hermux.setup().allow();
    write_private(&allow, &format!("{OTHER}\n\nanother-token-0123456789 trailing words\n"));
    let line = hermux.wait_for_line("allow.txt:3");
    assert!(!line.contains("another-token-0123456789") && !line.contains(OTHER), "a token in the log");
    assert_eq!((status_of(&hermux, TOKEN), status_of(&hermux, OTHER)), (200, 401));
    // Mended, it counts.
    write_private(&allow, &format!("{OTHER}\n"));
    wait_for_status(&hermux, OTHER, 200);
}

#[test]
fn a_broken_key_file_keeps_the_last_good_set_and_names_the_line() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let tokens = hermux.setup().tokens();
    // A name twice.
    write_private(&tokens, &format!("{}{}", tokens_csv([2, 3]), "key-2,sk-or-v1-00ff\n"));
    hermux.wait_for_line("tokens.csv:4");
    assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "key-1");
    rename_over(&tokens, "name,secret\nx,y\n");
    hermux.wait_for_line("tokens.csv:1");
    assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "key-1");
    rename_over(&tokens, &tokens_csv([2]));
    wait_for_key(&hermux, "key-2");
}

#[test]
fn an_emptied_key_file_keeps_the_last_good_set() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    write_private(&hermux.setup().tokens(), "");
    hermux.wait_for_line("tokens.csv");
    assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "key-1");
}

#[test]
fn an_emptied_allow_file_refuses_everyone() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    assert_eq!(status_of(&hermux, TOKEN), 200);
    write_private(&hermux.setup().allow(), "");
    wait_for_status(&hermux, TOKEN, 401);
    write_private(&hermux.setup().allow(), &format!("{TOKEN}\n"));
    wait_for_status(&hermux, TOKEN, 200);
}

#[test]
fn a_deleted_file_keeps_the_last_good_set_and_is_said() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    for (path, name) in [(hermux.setup().allow(), "allow.txt"), (hermux.setup().tokens(), "tokens.csv")] {
        fs::remove_file(&path).expect("it is there");
        hermux.wait_for_line(name);
        assert_eq!(status_of(&hermux, TOKEN), 200);
    }
    // When they come back, they count.
    write_private(&hermux.setup().allow(), &format!("{OTHER}\n"));
    wait_for_status(&hermux, OTHER, 200);
}

#[test]
fn what_is_under_way_is_not_disturbed() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut streaming, mut stream) = hermux.open(&Request::chat(true), &upstream);
    stream.begin_stream();
    streaming.answer();
    stream.wire.send_chunk("data: 1\n\n");
    assert_eq!(streaming.bytes(9), b"data: 1\n\n");
    let (mut waiting, held) = hermux.open(&Request::chat(false), &upstream);
    // Both the key and the access token of both requests go.
    rename_over(&hermux.setup().tokens(), &tokens_csv([2]));
    rename_over(&hermux.setup().allow(), &format!("{OTHER}\n"));
    eventually("the change is in force", || is_refused(&hermux).then_some(()));
    stream.wire.send_chunk("data: 2\n\n");
    assert_eq!(streaming.bytes(9), b"data: 2\n\n");
    stream.wire.send_last_chunk();
    assert_eq!(streaming.whole(), b"");
    held.json(200, samples::CHAT);
    let answer = answer(&mut waiting);
    assert_eq!((answer.status(), answer.key_name()), (200, "key-1"));
}

/// Whether the token is refused. The body never comes, so that a request that is let in does not reach upstream either.
fn is_refused(hermux: &Hermux) -> bool {
    let mut connection = hermux.connect();
    connection.send(Request::new("POST", "/v1/chat/completions").header("Content-Length", "1").head());
    connection.fill_within(Duration::from_millis(200)).is_some()
}
