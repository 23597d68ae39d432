//! Takes the framing off a body: a push decoder that is right for every split of its input.

use std::mem;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::MAX_HEADERS;

/// Digits of a chunk's size, leading zeros included: what fits into 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions. They are read over.
const MAX_EXTENSION: usize = 4 * 1024;
/// Bytes of all trailers together.
const MAX_TRAILERS: usize = 16 * 1024;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length in bytes; 0 where there is no body at all.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Decodes one body. After [`Decoder::feed`] said that it is done or bad, it takes no more.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Bytes left of the body or of the chunk; the chunk's size while that is being read.
    left: u64,
    /// Digits or extension bytes seen of the line being read.
    seen: usize,
    /// The lines of the trailers as they came.
    lines: Vec<u8>,
    /// The trailers of a body that is done.
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    Size,
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Line,
    LineLf,
    LastLf,
    Done,
    Bad(&'static str),
}

/// What one call to [`Decoder::feed`] took: `used` bytes, of which `data` are the body's.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) used: usize,
    pub(crate) data: Range<usize>,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        let (state, left) = match framing {
            Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::Size, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        Self { state, left, seen: 0, lines: Vec::new(), trailers: None }
    }

    /// Takes bytes up to the end of the next run of data, or all where there is none.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Run {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Length | State::Data => {
                    let run = take(input, at, self.left);
                    self.left -= run.data.len() as u64;
                    if self.left == 0 {
                        self.state = if self.state == State::Length { State::Done } else { State::DataCr };
                    }
                    return run;
                }
                State::UntilClose => return take(input, at, u64::MAX),
                State::Done | State::Bad(_) => break,
                _ => self.state = self.step(byte),
            }
            at += 1;
        }
        Run { used: at, data: at..at }
    }

    /// The state after one byte of chunked framing.
    fn step(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.seen == usize::from(MAX_SIZE_DIGITS) {
                    return State::Bad("a chunk's size has too many digits");
                }
                self.seen += 1;
                self.left = self.left << 4 | u64::from(hex(byte));
                State::Size
            }
            (State::Size | State::Blank, b' ' | b'\t') | (State::Extension, b'\t' | b' '..=0x7e | 0x80..)
                if self.seen > 0 =>
            {
                self.seen += 1;
                if self.seen > MAX_EXTENSION {
                    return State::Bad("a chunk's extensions are too long");
                }
                if self.state == State::Extension { State::Extension } else { State::Blank }
            }
            (State::Size | State::Blank, b';') if self.seen > 0 => State::Extension,
            (State::Size | State::Blank | State::Extension, b'\r') if self.seen > 0 => State::SizeLf,
            (State::SizeLf, b'\n') => {
                self.seen = 0;
                if self.left == 0 { State::LineStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::LineStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => self.finish(),
            (State::LineStart | State::Line, _) if byte != b'\n' => {
                self.keep(byte, if byte == b'\r' { State::LineLf } else { State::Line })
            }
            (State::LineLf, b'\n') => self.keep(byte, State::LineStart),
            (State::LineStart | State::Line | State::LineLf | State::LastLf, _) => {
                State::Bad("a trailer's line does not end as it should")
            }
            (State::DataCr | State::DataLf, _) => State::Bad("a chunk is longer than its size"),
            _ => State::Bad("a chunk's size is not a number"),
        }
    }

    fn keep(&mut self, byte: u8, next: State) -> State {
        if self.lines.len() == MAX_TRAILERS {
            return State::Bad("the trailers are too long");
        }
        self.lines.push(byte);
        next
    }

    /// The state after the last line. Where its trailers are none the body is bad, whether or not anybody asks for them.
    fn finish(&mut self) -> State {
        if self.lines.is_empty() {
            return State::Done;
        }
        match parse_trailers(mem::take(&mut self.lines)) {
            Ok(trailers) => {
                self.trailers = Some(Box::new(trailers));
                State::Done
            }
            Err(fault) => State::Bad(fault),
        }
    }

    /// The connection ended in order. Says whether the body was whole.
    pub(crate) fn end(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.state == State::Done
    }

    /// The body is whole.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What is wrong with the body, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self.state {
            State::Bad(reason) => Some(reason),
            _ => None,
        }
    }

    /// Bytes of data still to come, where that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length => Some(self.left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Whether [`Decoder::take_trailers`] has something to give.
    pub(crate) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// The trailers of a body that is done, once.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }
}

/// The run of at most `most` bytes of data at `at`.
fn take(input: &[u8], at: usize, most: u64) -> Run {
    let end = usize::try_from(most).map_or(input.len(), |most| input.len().min(at.saturating_add(most)));
    Run { used: end, data: at..end }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn parse_trailers(mut lines: Vec<u8>) -> Result<HeaderMap, &'static str> {
    lines.extend_from_slice(b"\r\n");
    let lines = Bytes::from(lines);
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(&lines, &mut slots) else {
        return Err("the trailers are not header fields");
    };
    let mut trailers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| "a trailer's name")?;
        let value =
            HeaderValue::from_maybe_shared(lines.slice_ref(header.value)).map_err(|_| "a trailer's value")?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

/// Decodes all of `input` into one piece: by `share` where the data lies in one run, else by a copy.
/// Returns it with the number of bytes taken, which is less than all only after the end of the body.
pub(crate) fn gather(
    decoder: &mut Decoder,
    input: &[u8],
    share: impl FnOnce(Range<usize>) -> Bytes,
) -> (Option<Bytes>, usize) {
    let mut first: Option<Range<usize>> = None;
    let mut several: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let run = decoder.feed(&input[at..]);
        let data = at + run.data.start..at + run.data.end;
        at += run.used;
        if !data.is_empty() {
            match &first {
                None => first = Some(data),
                Some(first) => {
                    if several.is_empty() {
                        several.reserve_exact(input.len() - first.start);
                        several.extend_from_slice(&input[first.clone()]);
                    }
                    several.extend_from_slice(&input[data]);
                }
            }
        } else if decoder.is_done() || decoder.fault().is_some() {
            break;
        }
    }
    let data = if several.is_empty() { first.map(share) } else { Some(Bytes::from(several)) };
    (data, at)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::{Decoder, Framing, MAX_EXTENSION, MAX_TRAILERS, gather};

    /// Data, trailers or fault, bytes not taken.
    type Decoded = (Vec<u8>, Result<Option<HeaderMap>, &'static str>, usize);

    fn decode(framing: Framing, pieces: &[&[u8]]) -> Decoded {
        let mut decoder = Decoder::new(framing);
        let mut data = Vec::new();
        let mut over = 0;
        for piece in pieces {
            let (some, used) = gather(&mut decoder, piece, |run| Bytes::copy_from_slice(&piece[run]));
            data.extend_from_slice(&some.unwrap_or_default());
            over += piece.len() - used;
        }
        let trailers = match decoder.fault() {
            Some(fault) => Err(fault),
            None => Ok(decoder.take_trailers()),
        };
        (data, trailers, over)
    }

    fn chunked(input: &[u8]) -> Decoded {
        decode(Framing::Chunked, &[input])
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        let (data, trailers, over) =
            chunked(b"5;a=\"b\" ; c\r\nhello\r\n001 \t\r\n!\r\n0;x\r\nX-Sum: 7 \r\nx-sum: 8\r\n\r\nHTTP");
        assert_eq!(data, b"hello!");
        let trailers = trailers.unwrap().unwrap();
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["7", "8"]);
        assert_eq!(over, 4);
    }

    #[test]
    fn every_deviation_from_chunked_framing_is_a_fault() {
        for bad in [
            &b"\r\n"[..],
            b"5\nhello\r\n",
            b"5\rhello",
            b"5 5\r\nhello\r\n",
            b" 5\r\nhello",
            b";a\r\n",
            b"-5\r\n",
            b"0x5\r\n",
            b"5hello\r\n",
            b"5\r\nhello\n",
            b"5\r\nhellooo\r\n",
            b"5\r\nhello\r5",
            b"5;a\nb\r\n",
            b"5;a\0b\r\n",
            b"00000000000000005\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nname: value\n\r\n",
            b"0\r\nname: value\r\r\n",
            b"0\r\n\rx",
            b"0\r\n\n",
        ] {
            assert!(chunked(bad).1.is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn trailers_that_are_no_fields_are_a_fault() {
        for bad in [&b"0\r\n folded\r\n\r\n"[..], b"0\r\nname value\r\n\r\n", b"0\r\na: \0\r\n\r\n"] {
            assert!(chunked(bad).1.is_err(), "{}", bad.escape_ascii());
            let mut decoder = Decoder::new(Framing::Chunked);
            decoder.feed(bad);
            assert!(!decoder.is_done(), "nothing may follow {}", bad.escape_ascii());
        }
    }

    #[test]
    fn data_before_a_fault_is_given() {
        let (data, end, _) = chunked(b"2\r\nok\r\nzz\r\n");
        assert_eq!(data, b"ok");
        assert!(end.is_err());
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(MAX_EXTENSION));
        assert!(chunked(long.as_bytes()).1.is_err());
        let long = format!("0\r\na: {}\r\n\r\n", "t".repeat(MAX_TRAILERS));
        assert!(chunked(long.as_bytes()).1.is_err());
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert!(chunked(many.as_bytes()).1.is_err());
    }

    #[test]
    fn a_stream_of_many_short_extensions_is_not_cut() {
        let stream = format!("{}0\r\n\r\n", "1;extension=1\r\nx\r\n".repeat(5_000));
        let (data, end, over) = chunked(stream.as_bytes());
        assert_eq!((data.len(), end.unwrap(), over), (5_000, None, 0));
    }

    #[test]
    fn the_largest_chunk_size_is_read() {
        let mut decoder = Decoder::new(Framing::Chunked);
        decoder.feed(b"FFFFFFFFFFFFFFFF\r\n");
        assert_eq!(decoder.fault(), None);
        assert_eq!(decoder.left, u64::MAX);
    }

    #[test]
    fn only_a_body_until_close_ends_with_the_connection() {
        assert!(Decoder::new(Framing::UntilClose).end());
        assert!(Decoder::new(Framing::Length(0)).end());
        assert!(!Decoder::new(Framing::Length(1)).end());
        assert!(!Decoder::new(Framing::Chunked).end());
    }

    /// A body in chunks, now and then with extensions and trailers, and something behind it.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let chunk = (prop::collection::vec(any::<u8>(), 1..40), "(;[a-z]{0,6}(=[a-z0-9]{1,4})?)?");
        (prop::collection::vec(chunk, 0..8), "([A-Za-z]{1,8}: [ -~]{0,10}\r\n){0,3}", "[a-z]{0,4}").prop_map(
            |(chunks, trailers, behind)| {
                let mut out = Vec::new();
                for (data, extension) in chunks {
                    out.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
                    out.extend_from_slice(&data);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("0\r\n{trailers}\r\n{behind}").as_bytes());
                out
            },
        )
    }

    fn split<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn each_split_of_a_chunked_body_decodes_alike(
            input in message(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let whole = chunked(&input);
            prop_assert!(whole.1.is_ok());
            prop_assert_eq!(&decode(Framing::Chunked, &split(&input, &cuts)), &whole);
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            prop_assert_eq!(&decode(Framing::Chunked, &bytes), &whole);
        }

        #[test]
        fn each_split_of_noise_decodes_alike(
            input in "[0-9a-f;\r\n: x]{0,60}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let whole = chunked(input.as_bytes());
            prop_assert_eq!(decode(Framing::Chunked, &split(input.as_bytes(), &cuts)), whole);
        }

        #[test]
        fn each_split_of_a_body_with_a_length_decodes_alike(
            input in prop::collection::vec(any::<u8>(), 0..60),
            length in 0_u64..60,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let (data, _, over) = decode(Framing::Length(length), &split(&input, &cuts));
            let length = usize::try_from(length).unwrap().min(input.len());
            prop_assert_eq!(&data, &input[..length]);
            prop_assert_eq!(over, input.len() - length);
        }
    }
}
