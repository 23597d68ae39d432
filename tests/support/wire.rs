//! One end of an HTTP/1.1 connection that hides nothing: heads as raw bytes, bodies with the way they ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::{PATIENCE, show};

/// The head of a request or an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// Every byte, the empty line included.
    pub(crate) raw: Vec<u8>,
    /// `GET /v1/models HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub(crate) start: String,
    /// Names in lower case; values as they came, bytes beyond ASCII read as Latin-1.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Self {
        let text: String = raw.iter().copied().map(char::from).collect();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header: {line}"));
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Self { raw, start, headers }
    }

    /// The value of a header that stands there once; `None` where it is missing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands there {} times in\n{}", all.len(), show(&self.raw));
        all.first().copied()
    }

    /// The values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(have, _)| have == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether the header stands there.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("not an answer: {}", self.start))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request, path and query.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    fn framing(&self, otherwise: Framing) -> Framing {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            Framing::Size
        } else if let Some(length) = self.header("content-length") {
            Framing::Length(length.parse().unwrap_or_else(|_| panic!("not a length: {length}")))
        } else {
            otherwise
        }
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing says: all of its length, or the last chunk. A body without either is complete at FIN.
    Complete,
    /// The peer closed before that.
    Fin,
    /// The peer reset before that.
    Reset,
}

/// What is left of the body that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    UntilClose,
    /// Before a chunk's size.
    Size,
    /// Within a chunk.
    Chunk(u64),
    /// Before the line end behind a chunk.
    ChunkEnd,
    Trailers,
    Ended(End),
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// More bytes, now in the buffer.
    Bytes,
    /// The peer closed.
    Fin,
    /// The peer reset.
    Reset,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    framing: Framing,
    /// The trailer fields of the last body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Connection {
    /// Connects to `address`.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the address takes connections");
        Self::over(stream)
    }

    /// Takes over a connected stream.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket takes options");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket takes options");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket takes options");
        Self { stream, unread: Vec::new(), framing: Framing::Ended(End::Complete), trailers: Vec::new() }
    }

    /// The socket itself, for options.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// A second handle on the same connection that only writes.
    pub(crate) fn writer(&self) -> Self {
        Self::over(self.stream.try_clone().expect("a socket can be doubled"))
    }

    /// Writes all of `bytes`.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer takes the bytes");
    }

    /// Writes all of `bytes`, or tells that the peer is gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Writes `bytes` as one chunk of a chunked body.
    pub(crate) fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// Ends a chunked body.
    pub(crate) fn send_last_chunk(&mut self) {
        self.send("0\r\n\r\n");
    }

    /// Closes with FIN.
    pub(crate) fn cut_fin(self) {
        // A close with bytes unread would be a reset.
        self.stream.shutdown(Shutdown::Both).ok();
    }

    /// Ends the sending half with FIN and goes on reading.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Closes with RST.
    pub(crate) fn cut_reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket takes options");
    }

    /// Reads once. Fails the test when nothing comes for a long time.
    pub(crate) fn fill(&mut self) -> Got {
        self.fill_within(PATIENCE).unwrap_or_else(|| panic!("nothing came for {PATIENCE:?}"))
    }

    /// Reads once, or returns `None` when nothing comes for `patience`.
    pub(crate) fn fill_within(&mut self, patience: Duration) -> Option<Got> {
        self.stream.set_read_timeout(Some(patience)).expect("a TCP socket takes options");
        let mut buffer = vec![0; 256 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(0) => Some(Got::Fin),
                Ok(read) => {
                    self.unread.extend_from_slice(&buffer[..read]);
                    Some(Got::Bytes)
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => None,
                    ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                        Some(Got::Reset)
                    }
                    _ => panic!("the connection can't be read: {error}"),
                },
            };
        }
    }

    /// What has come and has not been taken yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Reads raw bytes until the peer closes or resets.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        while self.fill() == Got::Bytes {}
        std::mem::take(&mut self.unread)
    }

    /// Reads until the peer closes or resets, and drops what still comes.
    pub(crate) fn wait_closed(&mut self) {
        self.drain();
    }

    /// The next head, or how the connection ended without one.
    pub(crate) fn try_head(&mut self) -> Result<Head, Got> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                return Ok(Head::parse(self.unread.drain(..end + 4).collect()));
            }
            match self.fill() {
                Got::Bytes => {}
                ended => return Err(ended),
            }
        }
    }

    /// The head of the next request.
    pub(crate) fn try_request(&mut self) -> Result<Head, Got> {
        let head = self.try_head()?;
        self.begin_body(head.framing(Framing::Length(0)));
        Ok(head)
    }

    /// The head of the next answer to a request that was not HEAD; a body follows as its framing says.
    pub(crate) fn answer(&mut self) -> Head {
        let head = self.try_head().unwrap_or_else(|end| {
            panic!("the connection ended without an answer: {end:?}, after: {}", show(&self.unread))
        });
        let bodiless = matches!(head.status(), 100..=199 | 204 | 304);
        self.begin_body(if bodiless { Framing::Length(0) } else { head.framing(Framing::UntilClose) });
        head
    }

    /// The head of the answer to a HEAD request.
    pub(crate) fn answer_to_head(&mut self) -> Head {
        let head = self.answer();
        self.begin_body(Framing::Length(0));
        head
    }

    fn begin_body(&mut self, framing: Framing) {
        self.trailers.clear();
        self.framing = if framing == Framing::Length(0) { Framing::Ended(End::Complete) } else { framing };
    }

    /// The next bytes of the body without their framing, however many, or how it ended.
    pub(crate) fn piece(&mut self) -> Result<Vec<u8>, End> {
        loop {
            if let Some(piece) = self.decode()? {
                return Ok(piece);
            }
            match self.fill() {
                Got::Bytes => {}
                Got::Fin if self.framing == Framing::UntilClose => {
                    self.framing = Framing::Ended(End::Complete);
                }
                Got::Fin => self.framing = Framing::Ended(End::Fin),
                Got::Reset => self.framing = Framing::Ended(End::Reset),
            }
        }
    }

    /// The next `count` bytes of the body.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.bytes_at_least(count);
        assert_eq!(bytes.len(), count, "more came than was sent: {}", show(&bytes));
        bytes
    }

    /// At least the next `count` bytes of the body.
    pub(crate) fn bytes_at_least(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(
                self.piece().unwrap_or_else(|end| panic!("the body ended ({end:?}) after: {}", show(&bytes))),
            );
        }
        bytes
    }

    /// All that is left of the body, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        loop {
            match self.piece() {
                Ok(piece) => bytes.extend(piece),
                Err(end) => return (bytes, end),
            }
        }
    }

    /// All that is left of the body, which must end as its framing says.
    pub(crate) fn whole(&mut self) -> Vec<u8> {
        let (bytes, end) = self.rest();
        assert_eq!(end, End::Complete, "the body was cut after: {}", show(&bytes));
        bytes
    }

    fn decode(&mut self) -> Result<Option<Vec<u8>>, End> {
        loop {
            match self.framing {
                Framing::Ended(end) => return Err(end),
                Framing::Length(left) => {
                    return Ok(self.take(left).map(|(piece, left)| {
                        self.framing =
                            if left == 0 { Framing::Ended(End::Complete) } else { Framing::Length(left) };
                        piece
                    }));
                }
                Framing::Chunk(left) => {
                    return Ok(self.take(left).map(|(piece, left)| {
                        self.framing = if left == 0 { Framing::ChunkEnd } else { Framing::Chunk(left) };
                        piece
                    }));
                }
                Framing::UntilClose => return Ok(self.take(u64::MAX).map(|(piece, _)| piece)),
                Framing::Size => {
                    let Some(line) = self.line() else { return Ok(None) };
                    let size = line.split(';').next().unwrap_or_default();
                    let size = u64::from_str_radix(size, 16)
                        .unwrap_or_else(|_| panic!("not a chunk's size: {line}"));
                    self.framing = if size == 0 { Framing::Trailers } else { Framing::Chunk(size) };
                }
                Framing::ChunkEnd => {
                    let Some(line) = self.line() else { return Ok(None) };
                    assert!(line.is_empty(), "a chunk is longer than its size: {line}");
                    self.framing = Framing::Size;
                }
                Framing::Trailers => {
                    let Some(line) = self.line() else { return Ok(None) };
                    if line.is_empty() {
                        self.framing = Framing::Ended(End::Complete);
                    } else {
                        let (name, value) =
                            line.split_once(':').unwrap_or_else(|| panic!("not a trailer: {line}"));
                        self.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                    }
                }
            }
        }
    }

    /// Up to `most` of the bytes at hand, and how many of `most` are left.
    fn take(&mut self, most: u64) -> Option<(Vec<u8>, u64)> {
        if self.unread.is_empty() {
            return None;
        }
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.unread.len());
        Some((self.unread.drain(..count).collect(), most - count as u64))
    }

    fn line(&mut self) -> Option<String> {
        let end = find(&self.unread, b"\r\n")?;
        let line = self.unread.drain(..end + 2).take(end).map(char::from).collect();
        Some(line)
    }
}

/// Where `needle` first stands in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, needle)
}
