//! The socket itself: whose it is, how long it lives, and what it bears.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use serde_json::Value;

use crate::support::{PATIENCE, Setup, Upstream};
use crate::{chat, code, each, keys, list, started, told};

fn path(setup: &Setup) -> PathBuf {
    setup.data().join("control.sock")
}

fn connect(setup: &Setup) -> UnixStream {
    let stream = UnixStream::connect(path(setup)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the server ends the connection.
fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // What was sent and not read makes the end a reset.
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn ask(setup: &Setup, line: &[u8]) -> Value {
    let mut stream = connect(setup);
    stream.write_all(line).unwrap();
    let answer = rest(&mut stream);
    assert_eq!(answer.iter().position(|byte| *byte == b'\n'), Some(answer.len() - 1), "one line");
    serde_json::from_slice(&answer).unwrap()
}

#[test]
fn it_is_its_owners_alone_and_goes_with_the_server() {
    let (_simulator, hermux) = started();
    let about = fs::symlink_metadata(path(hermux.setup())).unwrap();
    assert!(about.file_type().is_socket());
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let setup = hermux.stop();
    assert!(!path(&setup).exists());
}

#[test]
fn what_a_killed_server_left_is_no_server_and_the_next_one_replaces_it() {
    let (_simulator, hermux) = started();
    hermux.signal("KILL");
    hermux.wait();
    assert!(path(hermux.setup()).exists(), "it had no time to clean up");
    assert_eq!(list(hermux.setup())["server"], Value::Null);
    let again = hermux.restart();
    assert_eq!(list(again.setup())["server"]["pid"], again.pid());
}

#[test]
fn the_state_tells_who_serves_what() {
    let (_simulator, hermux) = started();
    let state = ask(hermux.setup(), b"{\"ask\":\"state\"}\n");
    let server = &state["server"];
    assert_eq!(server["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(server["pid"], hermux.pid());
    assert_eq!(server["address"], hermux.address().to_string());
    assert_eq!(server["tokens"], hermux.setup().tokens().to_str().unwrap());
    assert!(server["started_ms"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(state["state"]["in_flight"], 0);
    assert_eq!(state["state"]["waiting"]["requests"], 0);
    assert_eq!(each(&state["state"], "name"), ["ann", "ben", "cay"]);
}

#[test]
fn garbage_is_answered_and_hurts_nobody() {
    let (_simulator, hermux) = started();
    let long = vec![b'x'; 100_000];
    let deep = vec![b'['; 4_000];
    for line in [
        b"\n".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\0\n",
        b"{\"ask\":\"sing\"}\n",
        &deep,
        b"[]\n",
    ] {
        let mut stream = connect(hermux.setup());
        stream.write_all(line).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer: Value = serde_json::from_slice(&rest(&mut stream)).unwrap();
        assert!(answer["error"].as_str().unwrap().starts_with("not understood: "), "{answer}");
    }
    // The server may end the connection before all of it is sent.
    let mut stream = connect(hermux.setup());
    let _ = stream.write_all(&long);
    let answer: Value = serde_json::from_slice(&rest(&mut stream)).unwrap();
    assert_eq!(answer["error"], "the line is longer than 4096 bytes");
    drop(connect(hermux.setup()));

    assert_eq!(list(hermux.setup())["server"]["pid"], hermux.pid());
    chat(&hermux, 1);
}

#[test]
fn a_client_that_hangs_does_not_block_another_and_is_cut_off() {
    let (_simulator, hermux) = started();
    let mut hanging: Vec<_> = (0..7).map(|_| connect(hermux.setup())).collect();
    for stream in &mut hanging {
        stream.write_all(b"{\"ask\":").unwrap();
    }
    assert_eq!(list(hermux.setup())["server"]["pid"], hermux.pid());
    assert!(hanging[0].set_nonblocking(true).is_ok());
    let still = hanging[0].read(&mut [0]).unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock, "the other was answered while this one hung");
    hanging[0].set_nonblocking(false).unwrap();

    // One more than may be answered at once: the next one has to wait for the first to be cut off.
    hanging.push(connect(hermux.setup()));
    assert_eq!(list(hermux.setup())["server"]["pid"], hermux.pid());
    for mut stream in hanging {
        assert_eq!(rest(&mut stream), b"", "it is cut off without an answer");
    }
}

#[test]
fn where_the_path_is_too_long_the_proxy_serves_without_it() {
    let upstream = Upstream::never_called();
    let setup = Setup::new(&upstream);
    let deep = setup.directory().join("d".repeat(120));
    let hermux = setup.flag("--data-dir", deep.to_str().unwrap()).start();
    hermux.wait_for_line("no control socket, so `hermux keys` can't ask this server");
    let mut command = hermux.setup().command();
    command.args(["keys", "list", "--json", "--data-dir"]).arg(&deep);
    let output = command.output().unwrap();
    assert_eq!((code(&output), told(&output)), (0, ""));
    assert!(crate::out(&output).starts_with("{\"server\":null,"), "{}", crate::out(&output));
    assert_eq!(
        fs::read_dir(&deep)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() == "control.sock")
            .count(),
        0
    );
}

/// A server whose socket answers `answer` to whoever asks.
fn impostor(setup: &Setup, answer: &'static [u8]) {
    fs::create_dir_all(setup.data()).unwrap();
    let listener = UnixListener::bind(path(setup)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = [0; 4096];
            let _ = stream.read(&mut line);
            let _ = stream.write_all(answer);
        }
    });
}

#[test]
fn a_server_that_cannot_be_understood_is_exit_3() {
    let upstream = Upstream::never_called();
    let server = r#"{"server":{"version":"9","pid":1,"started_ms":0,"address":"","tokens":""},"#;
    for (answer, error) in [
        ("nonsense\n".to_owned(), "error: the running server's answer is not understood: "),
        (format!("{server}\"state\":7}}\n"), "error: the running server's answer is not understood: "),
        (format!("{server}\"explain\":7}}\n"), "error: the running server's answer is not understood: "),
        (
            format!("{server}\"error\":\"too tired\"}}\n"),
            "error: the running server does not answer: too tired\n",
        ),
        (String::new(), "error: can't ask the running server (it broke off): "),
        ("{\"server\":".to_owned(), "error: can't ask the running server (it broke off): "),
    ] {
        let setup = Setup::new(&upstream);
        impostor(&setup, answer.leak().as_bytes());
        for arguments in [&["list"][..], &["explain", "a/b"], &["reset", "--all"]] {
            let output = keys(&setup, arguments);
            assert_eq!(code(&output), 3, "{}", told(&output));
            assert!(told(&output).starts_with(error), "{}", told(&output));
        }
    }
}
