//! HTTP/1.1's heads as a server meets them: reads a request's, writes an answer's.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use crate::http1::{Fields, Framing, MAX_HEADERS, Spare, write_field};

/// The longest target that is read at all, bytes; `Uri` holds no longer one.
const MAX_TARGET: usize = 65_534;

/// What stands at the start of a connection's bytes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Found {
    /// Not yet all of a head.
    Part,
    /// The head of a request.
    Request(RequestHead),
}

/// A request's head, and what it says of what follows.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Whether the caller would have another request after this one.
    pub(super) keep_alive: bool,
    /// Whether the caller waits for leave to send the body.
    pub(super) expects: bool,
    /// What was read behind the head.
    pub(super) rest: Bytes,
}

/// Why a head is none; the status says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) StatusCode);

impl Malformed {
    const BAD: Self = Self(StatusCode::BAD_REQUEST);
    const TOO_LARGE: Self = Self(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    const TARGET: Self = Self(StatusCode::URI_TOO_LONG);

    /// What is wrong, in a sentence.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::TOO_LARGE => "the head of the request is too large, or has more than 100 fields",
            Self::TARGET => "the target of the request is too long",
            _ => "this is no HTTP request, or one that could be read in two ways",
        }
    }
}

/// Reads the head of a request of at most `most` bytes. The values of the headers, the target and the rest are parts of
/// `input`.
pub(super) fn read(spare: &mut Spare, input: &Bytes, most: usize) -> Result<Found, Malformed> {
    let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let used = match request.parse_with_uninit_headers(input, &mut slots) {
        Ok(httparse::Status::Complete(used)) if used <= most => used,
        Ok(httparse::Status::Partial) if input.len() < most => return Ok(Found::Part),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TOO_LARGE),
        Err(_) => return Err(Malformed::BAD),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Malformed::BAD);
    };
    if target.len() > MAX_TARGET {
        return Err(Malformed::TARGET);
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed::BAD)?;

    let shared = |part: &[u8]| {
        let at = part.as_ptr().addr() - input.as_ptr().addr();
        input.slice(at..at + part.len())
    };
    let uri = Uri::from_maybe_shared(shared(target.as_bytes())).map_err(|_| Malformed::BAD)?;
    let mut headers = spare.map(request.headers.len());
    let mut fields = Fields::new(version);
    let mut expects = false;
    for header in request.headers.iter() {
        let name = spare.name(header.name.as_bytes()).map_err(|_| Malformed::BAD)?;
        let is_kept = fields.take(&name, header.value).map_err(|_| Malformed::BAD)?;
        // Of the framing the body itself knows.
        if is_kept && name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            expects |= name == EXPECT && header.value.eq_ignore_ascii_case(b"100-continue");
            let value = HeaderValue::from_maybe_shared(shared(header.value)).map_err(|_| Malformed::BAD)?;
            headers.append(name, value);
        }
    }
    let framing = if fields.is_chunked().map_err(|_| Malformed::BAD)? {
        Framing::Chunked
    } else {
        Framing::Length(fields.told_length().unwrap_or(0))
    };
    // What follows a CONNECT is meant for a tunnel.
    let keep_alive = fields.keep_alive() && method != Method::CONNECT;
    let mut read = Request::new(());
    *read.method_mut() = method;
    *read.uri_mut() = uri;
    *read.version_mut() = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    *read.headers_mut() = headers;
    Ok(Found::Request(RequestHead {
        request: read,
        framing,
        keep_alive,
        // An HTTP/1.0 caller knows no interim answers (RFC 9110 section 10.1.1).
        expects: expects && version != 0,
        rest: input.slice(used..),
    }))
}

/// Whether bytes that go on with a head may hold its end.
pub(super) fn may_end(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| matches!(&bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// What an answer's head says besides its status and the service's headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says {
    /// That of the request.
    pub(super) version: Version,
    /// How the end of the body is told; `None` where nothing is to be said about it.
    pub(super) framing: Option<Framing>,
    /// Whether the connection stays.
    pub(super) keep_alive: bool,
}

/// Writes an answer's head. Framing and connection are the server's to say; a `date` is added where there is none.
pub(super) fn write(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    says: Says,
    date: impl FnOnce(&mut Vec<u8>),
) {
    let is_old = says.version == Version::HTTP_10;
    if status == StatusCode::OK && !is_old {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(if is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        // Some readers insist on a reason.
        out.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let mut has_date = false;
    for (name, value) in headers {
        let is_ours = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION;
        if is_ours || (*name == TRAILER && says.framing != Some(Framing::Chunked)) {
            continue;
        }
        has_date |= *name == DATE;
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    match says.framing {
        Some(Framing::Length(length)) => {
            write_field(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        Some(Framing::Chunked) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(Framing::UntilClose) | None => {}
    }
    match says.keep_alive {
        true if is_old => out.extend_from_slice(b"connection: keep-alive\r\n"),
        false if !is_old => out.extend_from_slice(b"connection: close\r\n"),
        _ => {}
    }
    if !has_date {
        out.extend_from_slice(b"date: ");
        date(out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
