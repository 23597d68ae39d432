//! Heads: writes a request's, reads an answer's.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Head;
use crate::http1::{Fields, Framing, MAX_HEADERS, Spare, write_field};

/// Bytes of an answer's head, interim answers before it included. Larger ones are refused.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// What a request's head says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Nothing,
    Length(u64),
    Chunked,
}

/// Writes a request's head, `host_line` being the part between the target and the first header.
pub(super) fn write<'a, H>(out: &mut Vec<u8>, head: Head<'a, H>, host_line: &[u8], body: Announced)
where
    H: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    debug_assert!(head.target.bytes().all(|b| b > b' ' && b != 0x7f), "a target has no blanks");
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_bytes());
    out.extend_from_slice(host_line);
    for (name, value) in head.headers {
        write_field(out, name, value);
    }
    match body {
        Announced::Nothing => {}
        Announced::Length(length) => {
            write_field(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        Announced::Chunked => write_field(out, b"transfer-encoding", b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
}

/// What stands at the start of an answer's bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// Not yet all of a head.
    Part,
    /// An interim answer (1xx) of so many bytes.
    Interim(usize),
    /// The head of the answer.
    Answer(AnswerHead),
}

#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection may serve another request.
    pub(super) keep_alive: bool,
    /// What was read behind the head.
    pub(super) rest: Bytes,
}

/// Reads the head of an answer, to a HEAD request where `bodiless`. The values of the headers and the rest are parts of
/// `input`.
pub(super) fn read(spare: &mut Spare, input: &Bytes, bodiless: bool) -> Result<Found, &'static str> {
    // httparse reads over empty lines; an answer on a connection of ours has none before it.
    if input.first().is_some_and(|&first| first != b'H') {
        return Err("it does not start with a status line");
    }
    let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut slots,
    );
    let used = match parsed {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => return Ok(Found::Part),
        Ok(httparse::Status::Partial) => return Err("its head is too long"),
        Err(error) => return Err(name_fault(error)),
    };
    let (Some(code), Some(version)) = (response.code, response.version) else {
        return Err("its status line is broken");
    };
    let status = StatusCode::from_u16(code).map_err(|_| "its status is not a number from 100 to 999")?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols, which nobody asked for");
    }
    if used > MAX_HEAD {
        return Err("its head is too long");
    }
    if status.is_informational() {
        return Ok(Found::Interim(used));
    }

    let mut headers = spare.map(response.headers.len());
    let mut fields = Fields::new(version);
    for header in response.headers.iter() {
        let name = spare.name(header.name.as_bytes()).map_err(|_| "a header's name is broken")?;
        if fields.take(&name, header.value)? {
            let at = header.value.as_ptr().addr() - input.as_ptr().addr();
            let value = HeaderValue::from_maybe_shared(input.slice(at..at + header.value.len()))
                .map_err(|_| "a header's value is broken")?;
            headers.append(name, value);
        }
    }
    let framing = framing_of(&fields, status, bodiless)?;
    Ok(Found::Answer(AnswerHead {
        status,
        headers,
        framing,
        keep_alive: fields.keep_alive(),
        rest: input.slice(used..),
    }))
}

fn name_fault(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name is broken",
        httparse::Error::HeaderValue => "a header's value is broken",
        httparse::Error::NewLine => "a line of its head does not end as it should",
        httparse::Error::TooManyHeaders => "it has too many headers",
        httparse::Error::Version => "its HTTP version is neither 1.0 nor 1.1",
        _ => "its status line is broken",
    }
}

/// How the end of an answer with these fields is told.
fn framing_of(fields: &Fields, status: StatusCode, bodiless: bool) -> Result<Framing, &'static str> {
    let chunked = fields.is_chunked()?;
    if bodiless || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Length(0));
    }
    Ok(match fields.told_length() {
        Some(length) => Framing::Length(length),
        None if chunked => Framing::Chunked,
        None => Framing::UntilClose,
    })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::super::Head;
    use bytes::Bytes;

    use super::{Announced, AnswerHead, Found, MAX_HEAD, write};
    use super::{Framing, Spare};

    fn read(input: &[u8], bodiless: bool) -> Result<Found, &'static str> {
        super::read(&mut Spare::default(), &Bytes::copy_from_slice(input), bodiless)
    }

    fn answer(input: &str) -> AnswerHead {
        match read(input.as_bytes(), false) {
            Ok(Found::Answer(head)) => head,
            other => panic!("{input:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_head_goes_out_verbatim() {
        let mut out = Vec::new();
        let headers = [(&b"authorization"[..], &b"Bearer k"[..]), (b"X-Odd", b"\xff")];
        let head = Head { method: &Method::POST, target: "/api/v1/x?y=%2F", headers: headers.into_iter() };
        write(&mut out, head, b" HTTP/1.1\r\nhost: a\r\n", Announced::Length(12));
        assert_eq!(
            out,
            b"POST /api/v1/x?y=%2F HTTP/1.1\r\nhost: a\r\nauthorization: Bearer k\r\nX-Odd: \xff\r\ncontent-length: 12\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_is_read_with_what_follows_it() {
        let head = answer(
            "HTTP/1.1 200 OK\r\nContent-Length:  5 \r\nset-cookie: a\r\nSet-Cookie: b\r\nempty:\r\n\r\nhello",
        );
        assert_eq!(head.status, 200);
        assert_eq!(head.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(head.headers["empty"], "");
        assert_eq!(head.framing, Framing::Length(5));
        assert_eq!(head.rest, "hello");
        assert!(head.keep_alive);
    }

    #[test]
    fn the_framing_of_an_answer_follows_its_head() {
        let framing = |fields: &str| answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).framing;
        assert_eq!(framing(""), Framing::UntilClose);
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
        assert_eq!(framing("content-length: 7\r\ncontent-length: 07\r\n"), Framing::Length(7));
        assert_eq!(answer("HTTP/1.1 204 \r\ncontent-length: 7\r\n\r\n").framing, Framing::Length(0));
        assert_eq!(answer("HTTP/1.1 304\r\ntransfer-encoding: chunked\r\n\r\n").framing, Framing::Length(0));
        let Ok(Found::Answer(head)) = read(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", true) else {
            panic!()
        };
        assert_eq!(head.framing, Framing::Length(0));
        assert_eq!(head.headers["content-length"], "7");
    }

    #[test]
    fn a_repeated_length_is_passed_on_once() {
        let head = answer("HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 7\r\n\r\n");
        assert_eq!(head.headers.get_all("content-length").iter().count(), 1);
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        let keeps = |start: &str| answer(&format!("{start}\r\n\r\n")).keep_alive;
        assert!(keeps("HTTP/1.1 200 OK"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nconnection: x, Close"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nconnection: close"));
        assert!(!keeps("HTTP/1.0 200 OK"));
        assert!(keeps("HTTP/1.0 200 OK\r\nconnection: Keep-Alive"));
    }

    #[test]
    fn interim_answers_are_told_apart() {
        assert!(matches!(
            read(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP", false),
            Ok(Found::Interim(37))
        ));
    }

    #[test]
    fn answers_that_can_be_read_in_two_ways_are_refused() {
        for bad in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
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
            let input = format!("HTTP/1.1 200 OK\r\n{bad}\r\n");
            assert!(read(input.as_bytes(), false).is_err(), "{bad:?}");
            assert!(read(input.as_bytes(), true).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_status_line_is_refused_at_once() {
        for bad in [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "220 smtp ready\r\n",
            "<html>",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(read(bad.as_bytes(), false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_fields() {
        let many = |n| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(n));
        assert!(read(many(100).as_bytes(), false).is_ok());
        assert!(read(many(101).as_bytes(), false).is_err());
        let long = |n| format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(n));
        assert!(matches!(read(long(MAX_HEAD / 2).as_bytes(), false), Ok(Found::Part)));
        assert!(read(long(MAX_HEAD).as_bytes(), false).is_err());
        assert!(read(format!("{}\r\n\r\n", long(MAX_HEAD)).as_bytes(), false).is_err());
    }

    proptest! {
        #[test]
        fn a_head_is_found_only_when_it_is_whole(
            fields in prop::collection::vec(("[A-Za-z-]{1,12}", "[!-~][ -~]{0,20}[!-~]"), 0..10),
        ) {
            let mut input = "HTTP/1.1 200 Fine thing\r\n".to_owned();
            for (name, value) in &fields {
                input.extend(["x-", name, ": ", value, "\r\n"]);
            }
            input.push_str("\r\n");
            for cut in 0..input.len() {
                prop_assert!(matches!(read(&input.as_bytes()[..cut], false), Ok(Found::Part)), "cut at {}", cut);
            }
            let head = answer(&input);
            prop_assert_eq!(head.headers.len(), fields.len());
            for (name, value) in &fields {
                let name = format!("x-{name}");
                prop_assert!(head.headers.get_all(&name).iter().any(|v| v.as_bytes() == value.as_bytes()));
            }
        }

        #[test]
        fn noise_never_panics(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut line = b"HTTP/1.1 200 OK\r\n".to_vec();
            line.extend_from_slice(&input);
            let _ = read(&input, false);
            let _ = read(&line, false);
        }
    }
}
