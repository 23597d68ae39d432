//! Requests as bytes: what the tests send, with the access token unless they take it away.

use super::hermux::TOKEN;

/// A request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request with Host and the access token.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let headers = vec![
            ("Host".to_owned(), "localhost".to_owned()),
            ("Authorization".to_owned(), format!("Bearer {TOKEN}")),
        ];
        Self { line: format!("{method} {target} HTTP/1.1"), headers, body: Vec::new() }
    }

    /// GET.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// POST of JSON.
    pub(crate) fn post(target: &str, json: &str) -> Self {
        Self::new("POST", target).header("Content-Type", "application/json").body(json)
    }

    /// A chat completion, whole or streamed.
    pub(crate) fn chat(stream: bool) -> Self {
        Self::post(
            "/v1/chat/completions",
            &format!(
                r#"{{"model":"acme/small","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
            ),
        )
    }

    /// One more header, behind the others.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self
    }

    /// Sends `body` with its Content-Length.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.without("content-length").header("Content-Length", &length)
    }

    /// The head alone.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Head and body.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head().as_slice(), &self.body].concat()
    }
}
