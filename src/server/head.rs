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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
    use proptest::prelude::*;

    use super::{Found, Framing, MAX_TARGET, Malformed, RequestHead, Says, Spare, may_end, write};

    /// The largest head of these tests, bytes.
    const MOST: usize = 8 << 10;

    fn read(input: &[u8]) -> Result<Found, Malformed> {
        super::read(&mut Spare::default(), &Bytes::copy_from_slice(input), MOST)
    }

    fn request(input: &str) -> RequestHead {
        match read(input.as_bytes()) {
            Ok(Found::Request(head)) => head,
            other => panic!("{input:?}: {other:?}"),
        }
    }

    /// The head of a POST with these lines.
    fn posted(lines: &str) -> RequestHead {
        request(&format!("POST / HTTP/1.1\r\n{lines}\r\n"))
    }

    fn refused(input: &str) -> u16 {
        match read(input.as_bytes()) {
            Err(Malformed(status)) => status.as_u16(),
            other => panic!("{input:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_with_what_follows_it() {
        let head = request(
            "\r\n\nPOST /a?b=%2F HTTP/1.1\nHost:a\r\nContent-Length:  5 \r\nx-a: \u{e4}\t\r\nX-A: 2\r\nempty:\r\n\r\nhello",
        );
        assert_eq!(*head.request.method(), Method::POST);
        assert_eq!(*head.request.uri(), "/a?b=%2F");
        assert_eq!(head.request.version(), Version::HTTP_11);
        let headers = head.request.headers();
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["\u{e4}", "2"]);
        assert_eq!((&headers["host"], &headers["empty"]), (&"a".parse().unwrap(), &"".parse().unwrap()));
        assert_eq!(head.framing, Framing::Length(5));
        assert_eq!(head.rest, "hello");
        assert!(head.keep_alive && !head.expects);
    }

    #[test]
    fn the_framing_of_a_request_follows_its_head() {
        assert_eq!(posted("").framing, Framing::Length(0));
        assert_eq!(posted("content-length: 0\r\n").framing, Framing::Length(0));
        assert_eq!(posted("content-length: 7\r\ncontent-length: 07\r\n").framing, Framing::Length(7));
        assert_eq!(posted("Transfer-Encoding: Chunked\r\n").framing, Framing::Chunked);
        // A method has no say in it.
        assert_eq!(request("HEAD / HTTP/1.0\r\ncontent-length: 7\r\n\r\n").framing, Framing::Length(7));
    }

    #[test]
    fn framing_and_a_plain_connection_are_not_handed_on() {
        for mine in [
            "content-length: 7",
            "content-length: 7\r\ncontent-length: 7",
            "transfer-encoding: chunked",
            "connection: Close",
        ] {
            assert!(posted(&format!("{mine}\r\n")).request.headers().is_empty(), "{mine}");
        }
        let named = posted("connection: x-mine, close\r\nx-mine: 1\r\n");
        assert_eq!(named.request.headers().len(), 2);
    }

    #[test]
    fn keep_alive_follows_version_method_and_connection() {
        let keeps = |start: &str| request(&format!("{start}\r\n\r\n")).keep_alive;
        assert!(keeps("GET / HTTP/1.1"));
        assert!(!keeps("GET / HTTP/1.1\r\nconnection: x, Close"));
        assert!(!keeps("GET / HTTP/1.1\r\nconnection: keep-alive\r\nconnection: close"));
        assert!(!keeps("GET / HTTP/1.0"));
        assert!(keeps("GET / HTTP/1.0\r\nconnection: Keep-Alive"));
        assert!(!keeps("CONNECT a:80 HTTP/1.1"));
    }

    #[test]
    fn only_a_caller_of_http_1_1_waits_for_leave() {
        let expects = |version: &str, value: &str| {
            request(&format!("POST / {version}\r\nexpect: {value}\r\n\r\n")).expects
        };
        assert!(expects("HTTP/1.1", "100-Continue"));
        assert!(!expects("HTTP/1.1", "200-ok"));
        assert!(!expects("HTTP/1.0", "100-continue"));
    }

    #[test]
    fn requests_that_can_be_read_in_two_ways_are_refused() {
        for bad in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length: -5\r\n",
            "content-length: 0x5\r\n",
            "content-length: 5 5\r\n",
            "content-length:\r\n",
            "content-length: 18446744073709551616\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding:\r\n",
            "transfer-encoding: \x0bchunked\r\n",
            "a: b\r\n c\r\n",
            " a: b\r\n",
            "a: b\0c\r\n",
            "a: b\rc\r\n",
            "a\0: b\r\n",
            "a : b\r\n",
            ": b\r\n",
            "a\r\n",
        ] {
            assert_eq!(refused(&format!("POST / HTTP/1.1\r\n{bad}\r\n")), 400, "{bad:?}");
        }
        assert_eq!(refused("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn what_is_no_request_line_is_refused_at_once() {
        for bad in [
            " GET / HTTP/1.1\r\n",
            "\rGET / HTTP/1.1\r\n",
            "GET\r\n",
            "GET /\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET / a HTTP/1.1\r\n",
            "GET / HTTP/1.2\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / http/1.1\r\n",
            "GET / HTTP/1.1 \r\n",
            "G(T / HTTP/1.1\r\n",
            "GET /\0 HTTP/1.1\r\n",
            "\x16\x03\x01\x02",
        ] {
            assert_eq!(refused(bad), 400, "{bad:?}");
        }
        // What a target may be is known once it is whole.
        for bad in ["GET a/b HTTP/1.1\r\n\r\n", "GET http:// HTTP/1.1\r\n\r\n", "GET /<> HTTP/1.1\r\n\r\n"] {
            assert_eq!(refused(bad), 400, "{bad:?}");
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_fields() {
        let many = |n| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(n));
        assert_eq!(request(&many(100)).request.headers().len(), 100);
        assert_eq!(refused(&many(101)), 431);
        let start = "GET / HTTP/1.1\r\na: ";
        let long = |length: usize| format!("{start}{}\r\n\r\n", "b".repeat(length - start.len() - 4));
        request(&long(MOST));
        assert_eq!(refused(&long(MOST + 1)), 431);
        // Whatever stands behind a head does not count.
        request(&(long(MOST) + "more"));
        let part = |length: usize| read(&long(MOST * 2).as_bytes()[..length]);
        assert!(matches!(part(MOST - 1), Ok(Found::Part)));
        assert!(matches!(part(MOST), Err(Malformed::TOO_LARGE)));
    }

    #[test]
    fn a_target_is_bounded_by_what_a_uri_holds() {
        let read = |length| {
            let input = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length - 1));
            super::read(&mut Spare::default(), &Bytes::copy_from_slice(input.as_bytes()), 2 * MAX_TARGET)
        };
        assert!(matches!(read(MAX_TARGET), Ok(Found::Request(_))));
        assert!(matches!(read(MAX_TARGET + 1), Err(Malformed::TARGET)));
    }

    /// The lines of an answer's head with these headers.
    fn written(status: StatusCode, headers: &HeaderMap, says: Says) -> Vec<String> {
        let mut out = Vec::new();
        write(&mut out, status, headers, says, |out| out.extend_from_slice(b"now"));
        let out = String::from_utf8(out).unwrap();
        out.strip_suffix("\r\n\r\n").unwrap().split("\r\n").map(str::to_owned).collect()
    }

    const SAYS: Says = Says { version: Version::HTTP_11, framing: None, keep_alive: true };

    #[test]
    fn a_status_line_has_the_version_of_the_request_and_a_reason() {
        let line = |status: u16, version| {
            let status = StatusCode::from_u16(status).unwrap();
            written(status, &HeaderMap::new(), Says { version, ..SAYS }).swap_remove(0)
        };
        assert_eq!(line(200, Version::HTTP_11), "HTTP/1.1 200 OK");
        assert_eq!(line(200, Version::HTTP_10), "HTTP/1.0 200 OK");
        assert_eq!(line(404, Version::HTTP_11), "HTTP/1.1 404 Not Found");
        assert_eq!(line(599, Version::HTTP_10), "HTTP/1.0 599 Unknown");
    }

    #[test]
    fn framing_and_connection_are_the_servers_to_say() {
        let theirs = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TRAILER, HeaderName::from_static("x-a")];
        let headers: HeaderMap =
            theirs.into_iter().map(|name| (name, HeaderValue::from_static("theirs"))).collect();
        let lines = |framing, version, keep_alive| {
            let mut lines = written(StatusCode::OK, &headers, Says { version, framing, keep_alive });
            assert_eq!(lines.pop().unwrap(), "date: now");
            lines.split_off(1)
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(lines(None, new, true), ["x-a: theirs"]);
        assert_eq!(lines(Some(Framing::Length(0)), new, true), ["x-a: theirs", "content-length: 0"]);
        let chunked = lines(Some(Framing::Chunked), new, false);
        assert_eq!(
            chunked,
            ["trailer: theirs", "x-a: theirs", "transfer-encoding: chunked", "connection: close"]
        );
        let length = lines(Some(Framing::Length(u64::MAX)), old, true);
        assert_eq!(length, ["x-a: theirs", "content-length: 18446744073709551615", "connection: keep-alive"]);
        assert_eq!(lines(Some(Framing::UntilClose), old, false), ["x-a: theirs"]);
    }

    #[test]
    fn an_answer_has_one_date() {
        let dates = |headers: &HeaderMap| {
            let mut lines = written(StatusCode::OK, headers, SAYS);
            lines.retain(|line| line.starts_with("date: "));
            lines
        };
        assert_eq!(dates(&HeaderMap::new()), ["date: now"]);
        assert_eq!(dates(&HeaderMap::from_iter([(DATE, HeaderValue::from_static("then"))])), ["date: then"]);
    }

    #[test]
    fn the_end_of_a_head_is_seen() {
        for (bytes, may) in [
            ("\r\n\r\n", true),
            ("\n\n", true),
            ("a\n\r\n", true),
            ("\r\n\r", false),
            ("\n", false),
            ("\ra", false),
        ] {
            assert_eq!(may_end(bytes.as_bytes()), may, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_head_is_found_only_when_it_is_whole(
            fields in prop::collection::vec(("[A-Za-z-]{1,12}", "[!-~][ -~]{0,20}[!-~]"), 0..10),
            end in prop_oneof![Just("\r\n"), Just("\n")],
        ) {
            let mut input = format!("\r\nPATCH /a?b HTTP/1.1{end}");
            for (name, value) in &fields {
                input.extend(["x-", name, ": ", value, end]);
            }
            input.push_str(end);
            for cut in 0..input.len() {
                prop_assert!(matches!(read(&input.as_bytes()[..cut]), Ok(Found::Part)), "cut at {}", cut);
            }
            // Only the last byte ends it, and it is seen where the three bytes before are looked at again.
            prop_assert!(may_end(&input.as_bytes()[input.len() - 4..]));
            let head = request(&input);
            prop_assert_eq!(head.request.headers().len(), fields.len());
            for (name, value) in &fields {
                let all = head.request.headers().get_all(format!("x-{name}"));
                prop_assert!(all.iter().any(|v| v.as_bytes() == value.as_bytes()));
            }
        }

        #[test]
        fn noise_never_panics(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&input);
            let _ = read(&[b"GET / HTTP/1.1\r\n", &input[..]].concat());
            let _ = read(&[b"GET ", &input[..], b" HTTP/1.1\r\n\r\n"].concat());
        }
    }
}
