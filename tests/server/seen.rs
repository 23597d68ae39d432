//! What a server has its service read, and the judgement on two servers that were given the same bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Debug;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;

use crate::script::{self, Said};

/// The fields of a head or of trailers, in their order.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// A request as the service got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) headers: Fields,
    /// The length of the body, where that was known ahead.
    pub(crate) length: Option<u64>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

/// How its body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It did not, or it broke.
    Cut,
    Whole(Option<Fields>),
}

impl Seen {
    pub(crate) fn is_whole(&self) -> bool {
        self.end != End::Cut
    }

    /// Its head, but for the fields that our server takes for itself: what frames the body, and a `Connection` that names no
    /// other field.
    fn head(&self) -> (&Method, &Uri, Version, Fields, Option<u64>) {
        let is_ours = |name: &str, value: &[u8]| match name {
            "content-length" | "transfer-encoding" => true,
            "connection" => value.split(|&byte| byte == b',').all(|option| {
                let option = option.trim_ascii();
                option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
            }),
            _ => false,
        };
        let headers = self.headers.iter().filter(|(name, value)| !is_ours(name, value));
        let mut headers: Fields = headers.cloned().collect();
        // A map keeps the order of fields of one name alone.
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        (&self.method, &self.target, self.version, headers, self.length)
    }

    /// Whether both were read alike.
    fn is_as(&self, other: &Self) -> bool {
        self.head() == other.head() && self.body == other.body && self.end == other.end
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| &value[..])
    }
}

/// What came of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) seen: Vec<Seen>,
    pub(crate) said: Said,
}

fn fields(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// Reads a request to its end, noting what there is as it comes. An answer of its own tells a body that broke.
async fn read<B>(
    request: Request<B>,
    log: Rc<RefCell<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Debug,
{
    let (head, mut body) = request.into_parts();
    let at = log.borrow().len();
    log.borrow_mut().push(Seen {
        method: head.method,
        target: head.uri,
        version: head.version,
        headers: fields(&head.headers),
        length: body.size_hint().exact(),
        body: Vec::new(),
        end: End::Cut,
    });
    let mut trailers = None;
    let mut answer = Response::new(Full::default());
    loop {
        let is_end = body.is_end_stream();
        let frame = body.frame().await;
        assert!(!is_end || frame.is_none(), "a body at its end has no {frame:?}");
        match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
            Some(Ok(Ok(data))) => log.borrow_mut()[at].body.extend_from_slice(&data),
            Some(Ok(Err(frame))) => trailers = frame.into_trailers().ok().as_ref().map(fields),
            Some(Err(_)) => {
                *answer.status_mut() = StatusCode::BAD_REQUEST;
                return Ok(answer);
            }
            None => {
                log.borrow_mut()[at].end = End::Whole(trailers);
                return Ok(answer);
            }
        }
    }
}

/// What our server reads of these pieces, writing up to `room` bytes at once.
pub(crate) fn ours(pieces: Vec<Vec<u8>>, room: usize) -> Talk {
    let log = Rc::new(RefCell::default());
    let seen = Rc::clone(&log);
    let said = script::ours(pieces, room, service_fn(move |request| read(request, Rc::clone(&log))));
    let seen = seen.take();
    Talk { seen, said }
}

/// What hyper's reads of them.
pub(crate) fn hypers(pieces: Vec<Vec<u8>>) -> Talk {
    let log = Rc::new(RefCell::default());
    let seen = Rc::clone(&log);
    let said = script::hypers(pieces, service_fn(move |request| read(request, Rc::clone(&log))));
    let seen = seen.take();
    Talk { seen, said }
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) closes: bool,
}

/// The answers to the requests, interim ones left out. Their bodies have a length, where there are some.
pub(crate) fn answers(said: &Said) -> Vec<Answered> {
    let text = String::from_utf8(said.bytes.clone()).expect("our answers are ASCII");
    let mut answers = Vec::new();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let (head, behind) = rest.split_once("\r\n\r\n").expect("what is said is whole");
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        // That of an answer to HEAD would be of a body that is not there; the service here has none.
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        rest = behind.get(length..).expect("what is said is whole");
        if status != 100 {
            answers.push(Answered { status, closes: head.contains("\r\nconnection: close") });
        }
    }
    answers
}

/// Whether these read the same. What is no request yet may be refused or waited for, by how much of it came at once; so
/// that one answer may be missing.
pub(crate) fn are_alike(one: &Talk, other: &Talk) -> bool {
    let [mine, others] = [one, other].map(|talk| answers(&talk.said)[..talk.seen.len()].to_vec());
    let are_seen = one.seen.len() == other.seen.len();
    are_seen && one.seen.iter().zip(&other.seen).all(|(one, other)| one.is_as(other)) && mine == others
}

/// Judges what our server and hyper's read of `stream`: of what hyper refuses nothing may be served, and what both serve
/// they must read alike. What we refuse and hyper serves must have one of the reasons here.
pub(crate) fn judge(stream: &[u8], ours: &Talk, hypers: &Talk) -> Result<(), String> {
    let answered = answers(&ours.said);
    let by_hyper = answers(&hypers.said);
    match answered[..].split_at_checked(ours.seen.len()) {
        None => return Err("a request has no answer".to_owned()),
        Some((_, [])) => {}
        Some((_, [refusal])) if (400..500).contains(&refusal.status) && refusal.closes => {}
        Some((_, others)) => return Err(format!("these answer nothing: {others:?}")),
    }
    let mut hyper = hypers.seen.iter().enumerate();
    for (nth, ours) in ours.seen.iter().enumerate() {
        let Some((_, hyper)) = hyper.next() else {
            if is_too_long_for_hyper(ours) {
                return Ok(());
            }
            return Err(format!("request {nth} is served: {ours:?}"));
        };
        if ours.head() != hyper.head() {
            return Err(format!("the head of request {nth}: {:?} but {:?}", ours.head(), hyper.head()));
        }
        match (&ours.end, &hyper.end) {
            // What follows depends on whether the connection stays.
            (End::Whole(_), _) if ours.is_as(hyper) && has_odd_connection(hyper) => return Ok(()),
            (End::Whole(_), _) if ours.is_as(hyper) => continue,
            (End::Cut, End::Cut) => {}
            // Its framing is ours to be strict about (RFC 9112 section 7.1 has no room for any of this).
            (End::Cut, End::Whole(_))
                if hyper.all("transfer-encoding").next().is_some() && has_odd_chunks(stream) => {}
            _ => return Err(format!("the body of request {nth}: {ours:?} but {hyper:?}")),
        }
        if !hyper.body.starts_with(&ours.body) {
            return Err(format!("the data of request {nth}: {ours:?} but {hyper:?}"));
        }
        if answered.len() > nth + 1 {
            return Err(format!("something is answered behind request {nth}, which broke"));
        }
        return Ok(());
    }
    match hyper.next() {
        Some((nth, hyper)) if !is_refused_on_purpose(stream, hyper, by_hyper.get(nth)) => {
            Err(format!("request {nth} is refused: {hyper:?}"))
        }
        Some(_) if answered.len() == ours.seen.len() => Err("it is refused without a word".to_owned()),
        _ => Ok(()),
    }
}

/// Whether `Connection` names something that is no ASCII. hyper then takes nothing of that line, while for us `close` and
/// `keep-alive` beside it stay what they are (RFC 9112 section 9.3 asks only whether they are present).
fn has_odd_connection(seen: &Seen) -> bool {
    seen.all("connection").any(|value| !value.is_ascii())
}

/// hyper keeps the two largest lengths for itself, and refuses them; there will never be that much.
fn is_too_long_for_hyper(ours: &Seen) -> bool {
    ours.length >= Some(u64::MAX - 1) && !ours.is_whole()
}

/// Whether a request that hyper served as `hyper` is one that we refuse for its framing.
fn is_refused_on_purpose(stream: &[u8], hyper: &Seen, answer: Option<&Answered>) -> bool {
    let mut codings = hyper.all("transfer-encoding");
    let Some(coding) = codings.next() else { return false };
    // Other codings, and more than one, whether in one line or in several: hyper hands on what the last one, `chunked`, leaves,
    // which is no request's body as anybody meant it (RFC 9112 section 6.1 would have 501).
    let is_coded = !coding.eq_ignore_ascii_case(b"chunked") || codings.next().is_some();
    // A length besides a coding, which may be refused (RFC 9112 section 6.1). hyper forgets the length and closes behind
    // the answer, by which it is known here.
    let has_length = stream.to_ascii_lowercase().windows(14).any(|name| name == b"content-length");
    is_coded || (has_length && answer.is_none_or(|answer| answer.closes))
}

/// Whether there may be chunks that hyper reads and we do not: control characters in extensions, LF for CRLF in trailers,
/// and more digits than a size can have.
fn has_odd_chunks(stream: &[u8]) -> bool {
    let is_control = |byte: u8| byte.is_ascii_control() && !b"\r\n\t".contains(&byte);
    stream.iter().any(|&byte| is_control(byte))
        || stream.iter().enumerate().any(|(at, &byte)| byte == b'\n' && !stream[..at].ends_with(b"\r"))
        || stream.windows(17).any(|run| run.iter().all(u8::is_ascii_hexdigit))
}
