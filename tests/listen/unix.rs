//! A Unix socket: its file, its permissions, and all that goes over it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chat;
use crate::line::{Line, header};
use crate::support::{Hermux, PATIENCE, Request, Setup, TOKEN, Upstream, eventually, samples};

/// A server on `callers.sock` in its own directory.
fn on_socket(setup: Setup) -> (Hermux, PathBuf) {
    let path = setup.directory().join("callers.sock");
    let hermux = setup.flag("--address", &format!("unix:{}", path.display())).start();
    (hermux, path)
}

fn connect(path: &Path) -> Line<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Line::over(stream)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn requests_and_streams_go_over_a_socket_that_only_its_owner_can_use() {
    let upstream = Upstream::start();
    let (hermux, path) = on_socket(Setup::new(&upstream));
    assert_eq!(mode(&path), 0o600);
    let mut caller = connect(&path);
    for _ in 0..2 {
        caller.send(Request::chat(false).bytes());
        upstream.next().json(200, samples::CHAT);
        let (head, body) = caller.answer();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(header(&head, "x-token-name"), Some("key-1"));
        assert_eq!(body, samples::CHAT);
    }
    caller.send(Request::chat(true).bytes());
    let mut exchange = upstream.next();
    exchange.begin_stream();
    exchange.wire.send_chunk("data: one\n\n");
    caller.until("data: one\n\n");
    exchange.wire.send_chunk("data: two\n\n");
    caller.until("data: two\n\n");
    // The caller leaves, and so the generation is cancelled.
    drop(caller);
    exchange.wire.wait_closed();
    hermux.stats_when("the cancelled stream", |sum| sum.attempts == 3);
    hermux.wait_for_line("to try it: curl --unix-socket ");
}

#[test]
fn who_may_connect_can_be_chosen() {
    let upstream = Upstream::never_called();
    let (_hermux, path) = on_socket(Setup::new(&upstream).flag("--socket-mode", "0660"));
    assert_eq!(mode(&path), 0o660);
    let (status, said) = Setup::new(&upstream).flag("--socket-mode", "rw").start_in_vain();
    assert_eq!((status.code(), said.starts_with("error: --socket-mode: ")), (Some(2), true), "{said}");
}

#[test]
fn its_permissions_may_stand_for_access_tokens() {
    let upstream = Upstream::answering(chat);
    let (_hermux, path) = on_socket(Setup::new(&upstream).switch("--no-auth"));
    let mut caller = connect(&path);
    caller.send(Request::chat(false).without("authorization").bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"));
}

#[test]
fn open_streams_finish_while_nobody_new_finds_the_socket() {
    let upstream = Upstream::start();
    let (hermux, path) = on_socket(Setup::new(&upstream));
    let mut caller = connect(&path);
    caller.send(Request::chat(true).bytes());
    let mut exchange = upstream.next();
    exchange.begin_stream();
    exchange.wire.send_chunk("data: one\n\n");
    caller.until("data: one\n\n");
    hermux.signal("TERM");
    eventually("the socket is gone", || (!path.exists()).then_some(()));
    exchange.wire.send_chunk("data: two\n\n");
    exchange.wire.send_last_chunk();
    caller.until("data: two\n\n\r\n0\r\n\r\n");
    assert_eq!(hermux.wait().code(), Some(0));
    assert!(caller.rest().1.is_ok());
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced() {
    let upstream = Upstream::answering(chat);
    let (hermux, path) = on_socket(Setup::new(&upstream));
    hermux.signal("KILL");
    hermux.wait();
    assert!(UnixStream::connect(&path).is_err() && path.exists(), "it was left behind");
    let hermux = hermux.restart();
    let mut caller = connect(&path);
    caller.send(Request::chat(false).bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"));

    // One that lives is not.
    let address = format!("unix:{}", path.display());
    let (status, said) = Setup::new(&upstream).flag("--address", &address).start_in_vain();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the socket is taken: ") && said.contains("callers.sock"), "{said}");
    caller.send(Request::chat(false).bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"), "and it was left alone");
    assert!(hermux.running());
}

#[test]
fn a_relative_path_in_the_configuration_is_beside_it() {
    let upstream = Upstream::never_called();
    let setup = Setup::new(&upstream);
    let folder = setup.directory().join("etc");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("config.toml");
    std::fs::write(&file, "address = \"unix:callers.sock\"\n").unwrap();
    let _hermux = setup.flag("--config", &file.display().to_string()).start();
    let mut caller = connect(&folder.join("callers.sock"));
    caller.send(Request::get("/health").bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"));
}

#[test]
fn curl_uses_it() {
    let upstream = Upstream::answering(chat);
    let (_hermux, path) = on_socket(Setup::new(&upstream));
    let curl = |more: &[&str]| {
        let key = format!("Authorization: Bearer {TOKEN}");
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--max-time", "20", "--unix-socket"])
            .arg(&path)
            .args(["-H", &key])
            .args(more);
        command.args(["-d", "{}", "http://localhost/api/v1/chat/completions"]).output()
    };
    let Ok(output) = curl(&[]) else { return }; // there is no curl here
    assert_eq!(String::from_utf8_lossy(&output.stdout), samples::CHAT);
    let output = curl(&["--http2-prior-knowledge"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), samples::CHAT);
}
