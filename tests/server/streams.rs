//! Streams of requests as callers send them, and what may become of them on their way.

use std::fmt::{self, Write};

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A request, and what is to be seen of it.
#[derive(Clone)]
pub(crate) struct Request {
    /// The empty lines ahead of it.
    pub(crate) lead: &'static str,
    pub(crate) line: String,
    /// Complete lines but for their ends.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Sent,
    pub(crate) line_end: &'static str,
}

/// Its body as it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    None,
    Length(Vec<u8>),
    /// Data with extensions, and the lines of the trailers.
    Chunks(Vec<(Vec<u8>, String)>, Vec<String>),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

impl Request {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{}{}{}", self.lead, self.line, self.line_end);
        for line in &self.headers {
            out.extend([line, self.line_end]);
        }
        match &self.body {
            Sent::None => {}
            Sent::Length(data) => write!(out, "Content-Length: {}{}", data.len(), self.line_end).unwrap(),
            Sent::Chunks(..) => out.extend(["Transfer-Encoding: chunked", self.line_end]),
        }
        out.push_str(self.line_end);
        let mut out = out.into_bytes();
        match &self.body {
            Sent::None => {}
            Sent::Length(data) => out.extend_from_slice(data),
            Sent::Chunks(chunks, trailers) => {
                for (data, extension) in chunks {
                    out.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                    out.extend_from_slice(data);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n");
                for trailer in trailers {
                    out.extend_from_slice(trailer.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    /// The data of its body.
    pub(crate) fn data(&self) -> Vec<u8> {
        match &self.body {
            Sent::None => Vec::new(),
            Sent::Length(data) => data.clone(),
            Sent::Chunks(chunks, _) => chunks.iter().flat_map(|(data, _)| data.clone()).collect(),
        }
    }

    /// Whether another may follow it on its connection.
    pub(crate) fn stays(&self) -> bool {
        let connection = |option: &str| {
            self.headers.iter().any(|line| {
                let line = line.to_ascii_lowercase();
                line.starts_with("connection:") && line.contains(option)
            })
        };
        !connection("close") && (self.line.ends_with("1.1") || connection("keep-alive"))
    }
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 1..40),
        // What is no body is a request.
        2 => Just(b"GET /smuggled HTTP/1.1\r\n\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 40..3_000),
    ]
}

/// A request that is as it should be, of a version that knows chunks where it has some.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let lead = prop_oneof![8 => Just(""), 1 => Just("\r\n"), 1 => Just("\n\r\n\n")];
    let method = prop_oneof![
        4 => select(vec!["GET", "POST", "HEAD"]).prop_map(str::to_owned),
        1 => select(vec!["PUT", "DELETE", "OPTIONS", "get", "M-SEARCH", "!#$%&'*+-.^_`|~9"]).prop_map(str::to_owned),
    ];
    let target = prop_oneof![
        4 => "/[a-z0-9%._~-]{0,8}(\\?[a-z=&]{0,6})?",
        1 => select(vec!["*", "/", "/\u{e4}", "http://a/b?c", "a:80", "//x//", "/?"]).prop_map(str::to_owned),
    ];
    let header = prop_oneof![
        4 => "X-[A-Za-z0-9]{1,5}: ?[!-~][ -~]{0,10}",
        1 => Just("Host: a".to_owned()),
        1 => Just("X-Empty:".to_owned()),
        1 => Just("X-Blank:\t \u{fc} \t".to_owned()),
        1 => Just("TE: trailers".to_owned()),
        1 => Just("Expect: 100-Continue".to_owned()),
        2 => select(vec!["close", "keep-alive", "Keep-Alive, x", "x ,\tClose", "upgrade"]).prop_map(|option| format!("Connection: {option}")),
    ];
    let headers = prop::collection::vec(header, 0..5);
    let extension =
        prop_oneof![3 => Just(""), 1 => select(vec![";a", ";a=b", " ; a=\"b;c\"", "\t", ";\u{e4}=1"])];
    let chunks = prop::collection::vec((data(), extension.prop_map(str::to_owned)), 0..4);
    let trailers = prop::collection::vec("X-[A-Za-z]{1,4}: [ -~]{0,6}", 0..3);
    let body = prop_oneof![
        3 => Just(Sent::None),
        1 => Just(Sent::Length(Vec::new())),
        3 => data().prop_map(Sent::Length),
        3 => (chunks, trailers).prop_map(|(chunks, trailers)| Sent::Chunks(chunks, trailers)),
    ];
    let line_end = prop_oneof![6 => Just("\r\n"), 1 => Just("\n")];
    (lead, method, target, any::<bool>(), headers, body, line_end).prop_map(
        |(lead, method, target, is_old, headers, body, line_end)| {
            let is_old = is_old && !matches!(body, Sent::Chunks(..));
            let line = format!("{method} {target} HTTP/1.{}", u8::from(!is_old));
            Request { lead, line, headers, body, line_end }
        },
    )
}

/// What becomes of one place in a stream.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Change(u8),
    Delete(usize),
    Insert(Vec<u8>),
    /// These many bytes stand twice.
    Double(usize),
    /// The line stands twice.
    DoubleLine,
    /// This line stands before the line.
    InsertLine(&'static str),
}

/// What is worth putting somewhere: where lines and fields end, and what says how long something is.
const LINES: &[&str] = &[
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: close, \u{e4}\r\n",
    "Connection: keep-alive, \u{e4}\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "Upgrade: x\r\n",
    "Trailer: content-length\r\n",
    " folded\r\n",
    "no colon\r\n",
    ": nameless\r\n",
    "0\r\n",
    "\r\n",
    "\n",
    "00000000000000005\r\n",
    "CONNECT a:80 HTTP/1.1\r\n\r\n",
    "GET /more HTTP/1.1\r\n\r\n",
];

pub(crate) fn mutation() -> impl Strategy<Value = (Index, Mutation)> {
    let odd = || select(b"\r\n \t:;,=0aZ\"\x00\x0b\x7f\xff+-".to_vec());
    let byte = || prop_oneof![2 => odd(), 1 => any::<u8>()];
    let mutation = prop_oneof![
        3 => byte().prop_map(Mutation::Change),
        2 => (1_usize..4).prop_map(Mutation::Delete),
        3 => prop::collection::vec(byte(), 1..3).prop_map(Mutation::Insert),
        1 => (1_usize..20).prop_map(Mutation::Double),
        2 => Just(Mutation::DoubleLine),
        4 => select(LINES).prop_map(Mutation::InsertLine),
    ];
    (any::<Index>(), mutation)
}

/// The stream after all of that.
pub(crate) fn mutated(mut stream: Vec<u8>, mutations: &[(Index, Mutation)]) -> Vec<u8> {
    for (at, mutation) in mutations {
        let at = at.index(stream.len() + 1);
        let line = stream[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (range, new) = match mutation {
            Mutation::Change(byte) => (at..(at + 1).min(stream.len()), vec![*byte]),
            Mutation::Delete(count) => (at..(at + count).min(stream.len()), Vec::new()),
            Mutation::Insert(bytes) => (at..at, bytes.clone()),
            Mutation::Double(count) => (at..at, stream[at..(at + count).min(stream.len())].to_vec()),
            Mutation::DoubleLine => {
                let end = stream[at..]
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .map_or(stream.len(), |end| at + end + 1);
                (line..line, stream[line..end].to_vec())
            }
            Mutation::InsertLine(text) => (line..line, text.as_bytes().to_vec()),
        };
        stream.splice(range, new);
    }
    stream
}

/// The stream in pieces.
pub(crate) fn split(stream: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect()
}
