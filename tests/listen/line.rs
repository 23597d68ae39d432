//! One end of a connection of any kind, read as text.

use std::io::{self, ErrorKind, Read, Write};

use crate::support::{PATIENCE, show};

/// A connection, and what of it was read and not taken yet.
pub(crate) struct Line<S> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

impl<S: Read + Write> Line<S> {
    /// Over a stream whose reads end after [`PATIENCE`].
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Reads once; how many bytes came.
    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came for {PATIENCE:?} after: {}", show(&self.unread))
                }
                read => {
                    self.unread.extend_from_slice(&buffer[..*read.as_ref().unwrap_or(&0)]);
                    return read;
                }
            }
        }
    }

    /// All up to and with `pattern`.
    pub(crate) fn until(&mut self, pattern: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, pattern.as_bytes()) {
                let taken = self.unread.drain(..at + pattern.len()).collect();
                return String::from_utf8(taken).unwrap();
            }
            let read = self.fill().unwrap();
            assert!(read > 0, "it ended before {pattern:?}, after: {}", show(&self.unread));
        }
    }

    /// The next answer, which has a Content-Length: its head and its body.
    pub(crate) fn answer(&mut self) -> (String, String) {
        let head = self.until("\r\n\r\n");
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.fill().unwrap() > 0, "the body was cut: {}", show(&self.unread));
        }
        (head, String::from_utf8(self.unread.drain(..length).collect()).unwrap())
    }

    /// All that is left, and how it ended: well, or broken off.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let end = loop {
            match self.fill() {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        (std::mem::take(&mut self.unread), end)
    }
}

/// The value of a header that stands in `head` once.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| {
        let (have, value) = line.split_once(':')?;
        have.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let first = values.next();
    assert!(values.next().is_none(), "{name} stands there twice:\n{head}");
    first
}
