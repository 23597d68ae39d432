//! `hermux demo` as a user meets it: the line to paste works, each request shows, and nothing stays behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn wait_for(lines: &Receiver<String>, what: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line came with: {what}"));
        if line.contains(what) {
            return line;
        }
    }
}

struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn last_word(line: &str) -> String {
    line.split_whitespace().last().expect("a line with words").to_owned()
}

impl Demo {
    fn start(home: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermux"));
        command.args(["demo", "--port", "0"]).args(args).env_clear().env("HOME", home).env("TMPDIR", home);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built"))
    }

    /// Ends it as Ctrl-C does; nothing may stay behind at `data`.
    fn interrupt(mut self, data: &str) {
        let ended = Command::new("kill")
            .args(["-s", "INT", &self.0.id().to_string()])
            .status()
            .expect("kill is installed");
        assert!(ended.success());
        assert!(self.0.wait().expect("it is our child").success());
        assert!(!Path::new(data).exists(), "{data}");
    }
}

#[test]
fn the_demo_serves_shows_and_cleans_up() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(home.path(), &[]);
    let out = lines(demo.0.stdout.take().unwrap());
    let log = lines(demo.0.stderr.take().unwrap());
    let url = last_word(&wait_for(&out, "URL"));
    let token = last_word(&wait_for(&out, "access token"));
    let data = wait_for(&out, "data ").split_whitespace().nth(1).unwrap().to_owned();
    assert!(Path::new(&data).is_dir(), "{data}");
    assert!(wait_for(&out, "curl -N").contains(&url));

    let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let body =
        r#"{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let mut connection = TcpStream::connect(authority).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        connection,
        "POST /api/v1/chat/completions HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nx-token-name: "), "{answer}");
    assert!(answer.contains("data: [DONE]"), "{answer}");
    let shown = wait_for(&log, "/chat/completions");
    assert!(shown.contains("status=200") && !shown.contains(&token), "{shown}");

    demo.interrupt(&data);
}

#[test]
fn a_scenario_makes_its_own_requests_and_shows_them() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(home.path(), &["--scenario", "limits"]);
    let out = lines(demo.0.stdout.take().unwrap());
    let data = wait_for(&out, "data ").split_whitespace().nth(1).unwrap().to_owned();
    wait_for(&out, "attempts");
    wait_for(&out, "  200  ");
    wait_for(&out, "deepseek/deepseek-chat:free");
    demo.interrupt(&data);
}

#[test]
fn while_the_model_of_the_outage_is_down_it_serves_nobody_and_then_those_who_waited() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(home.path(), &["--scenario", "outage"]);
    let out = lines(demo.0.stdout.take().unwrap());
    let data = wait_for(&out, "data ").split_whitespace().nth(1).unwrap().to_owned();
    wait_for(&out, "openai/gpt-4o-mini is down");
    let mut during = Vec::new();
    loop {
        let line = out.recv_timeout(PATIENCE).expect("the other model goes on");
        if line.contains("openai/gpt-4o-mini is up again") {
            break;
        }
        during.push(line);
    }
    let served = |lines: &[String], model: &str| {
        lines.iter().filter(|line| line.contains("  200  ") && line.ends_with(model)).count()
    };
    assert!(served(&during, "deepseek/deepseek-chat") >= 15, "{during:#?}");
    // One may have been answered just before, and be shown just behind.
    assert_eq!(served(&during[1..], "openai/gpt-4o-mini"), 0, "{during:#?}");
    wait_for(&out, "openai/gpt-4o-mini");
    demo.interrupt(&data);
}
