//! Callers: one request on a connection of its own, and what came back, whatever it was.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than any request may wait in any scenario.
const PATIENCE: Duration = Duration::from_secs(300);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    body: String,
    /// `X-HERMUX-Max-Wait`, seconds.
    max_wait: Option<u64>,
}

impl Ask {
    /// A chat completion of one user message.
    pub(crate) fn chat(model: &str, text: &str) -> Self {
        let message = serde_json::json!({ "role": "user", "content": text });
        Self::messages(model, &[message])
    }

    /// A chat completion of these messages.
    pub(crate) fn messages(model: &str, messages: &[Value]) -> Self {
        // A small answer reserves little, so that no account is too poor for it.
        let body = serde_json::json!({ "model": model, "max_tokens": 64, "messages": messages });
        Self {
            method: "POST",
            path: "/api/v1/chat/completions".to_owned(),
            body: body.to_string(),
            max_wait: None,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: String::new(), max_wait: None }
    }

    /// The same as a stream.
    pub(crate) fn stream(mut self) -> Self {
        self.body = self.body.replacen('{', r#"{"stream":true,"#, 1);
        self
    }

    /// The same, waiting so many seconds at most for a key.
    pub(crate) fn max_wait(mut self, seconds: u64) -> Self {
        self.max_wait = Some(seconds);
        self
    }

    /// Sends it with the access token or key `token`, and reads the answer to its end.
    pub(crate) fn send(&self, address: SocketAddr, token: &str) -> Answer {
        let since = Instant::now();
        let mut answer = self.exchange(address, token, since).unwrap_or_default();
        answer.ended = since.elapsed();
        answer
    }

    fn exchange(&self, address: SocketAddr, token: &str, since: Instant) -> io::Result<Answer> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let Self { method, path, body, .. } = self;
        let wait =
            self.max_wait.map(|seconds| format!("X-HERMUX-Max-Wait: {seconds}\r\n")).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{wait}\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes())?;
        let (mut bytes, mut some, mut waited) = (Vec::new(), [0; 16 << 10], None);
        loop {
            match socket.read(&mut some) {
                // What came before a reset still tells something.
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    waited.get_or_insert_with(|| since.elapsed());
                    bytes.extend_from_slice(&some[..count]);
                }
            }
        }
        Ok(Answer { waited: waited.unwrap_or_default(), ..Answer::parse(&bytes) })
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// None where no head came.
    pub(crate) status: Option<u16>,
    headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// Whether the body came to the end that its framing announced.
    whole: bool,
    /// Until the first byte.
    pub(crate) waited: Duration,
    /// Until the last one.
    pub(crate) ended: Duration,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let Some(at) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Self::default() };
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let rest = &bytes[at + 4..];
        let (body, whole) =
            match headers.get("content-length").and_then(|length| length.parse::<usize>().ok()) {
                Some(length) => (rest.to_vec(), rest.len() == length),
                None if headers.contains_key("transfer-encoding") => unchunked(rest),
                None => (rest.to_vec(), true),
            };
        let body = String::from_utf8_lossy(&body).into_owned();
        Self { status, headers, body, whole, ..Self::default() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The name of the key that answered.
    pub(crate) fn key(&self) -> Option<&str> {
        self.header("x-token-name")
    }

    /// Whether it is a whole answer of a model, or whatever was asked for.
    pub(crate) fn served(&self) -> bool {
        self.status == Some(200) && self.whole && !self.body.contains(r#""error":{"#)
    }

    /// How it failed, for a tally: its status, `no answer`, or a 200 that was cut or held an error.
    pub(crate) fn failure(&self) -> String {
        match self.status {
            None => "no answer".to_owned(),
            Some(200) if !self.whole => "200 cut".to_owned(),
            Some(200) => "200 with an error".to_owned(),
            Some(status) => status.to_string(),
        }
    }

    /// A 429 of hermux itself that says when to come back: `Retry-After` in whole seconds, at least one.
    pub(crate) fn is_honest_refusal(&self) -> bool {
        self.status == Some(429) && self.retry_after().is_some_and(|seconds| seconds > 0)
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.parse().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A chunked body without its framing, and whether its last chunk came.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..at]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else { break };
        if size == 0 {
            return (body, true);
        }
        let end = (at + 2 + size).min(rest.len());
        body.extend_from_slice(&rest[at + 2..end]);
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    (body, false)
}
