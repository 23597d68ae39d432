//! The header fields that say where a message and its connection end.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};

/// What a head's `Content-Length`, `Transfer-Encoding` and `Connection` say. Whatever could be read in two ways is an error
/// (RFC 9112 section 6).
#[derive(Debug)]
pub(crate) struct Fields {
    /// The minor version: HTTP/1.0 or HTTP/1.1.
    version: u8,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    stay: bool,
}

impl Fields {
    pub(crate) fn new(version: u8) -> Self {
        Self { version, length: None, chunked: false, close: false, stay: false }
    }

    /// Takes one field in. Says whether it is to be kept: of a length told twice alike, one is, and of `Connection` what
    /// names other headers.
    pub(crate) fn take(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, &'static str> {
        if *name == CONTENT_LENGTH {
            return self.length(value);
        }
        if *name == TRANSFER_ENCODING {
            self.transfer(value)?;
        } else if *name == CONNECTION {
            return Ok(self.connection(value));
        }
        Ok(true)
    }

    fn length(&mut self, value: &[u8]) -> Result<bool, &'static str> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = if digits { std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()) } else { None };
        match (length, self.length) {
            (None, _) => Err("its content-length is not a number"),
            (Some(length), Some(before)) if length != before => Err("it has two lengths"),
            (Some(length), before) => {
                self.length = Some(length);
                Ok(before.is_none())
            }
        }
    }

    fn transfer(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err("its transfer coding is not chunked alone");
        }
        if self.version == 0 {
            return Err("it is HTTP/1.0 with a transfer coding");
        }
        self.chunked = true;
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> bool {
        let mut names_others = false;
        for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.stay = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else {
                names_others = true;
            }
        }
        names_others
    }

    /// The length of the body, where that is told.
    pub(crate) fn told_length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the body comes in chunks. It cannot have a length besides.
    pub(crate) fn is_chunked(&self) -> Result<bool, &'static str> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err("it has a length and a transfer coding"),
            (chunked, _) => Ok(chunked),
        }
    }

    /// Whether the connection may serve another exchange.
    pub(crate) fn keep_alive(&self) -> bool {
        !self.close && (self.version == 1 || self.stay)
    }
}
