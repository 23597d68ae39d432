//! Where in a stream of server-sent events one stands.

/// Follows a stream of server-sent events and tells whether it stands between two events.
///
/// A line ends with LF, CRLF or CR (WHATWG HTML, "Parsing an event stream"), an event with a blank line.
/// Only the last three bytes of a stream decide that, so each slice costs the same, however long it is.
#[derive(Clone, Copy, Debug)]
pub struct Boundary([u8; 3]);

impl Default for Boundary {
    fn default() -> Self {
        Self::new()
    }
}

impl Boundary {
    /// A stream of which nothing was sent, which is a boundary.
    #[must_use]
    pub fn new() -> Self {
        Self(*b"\n\n\n")
    }

    /// Takes the next bytes of the stream, however they were cut.
    pub fn feed(&mut self, bytes: &[u8]) {
        let [_, second, third] = self.0;
        match *bytes {
            [] => {}
            [a] => self.0 = [second, third, a],
            [a, b] => self.0 = [third, a, b],
            [.., a, b, c] => self.0 = [a, b, c],
        }
    }

    /// Whether an event may begin here: nothing was sent yet, or a blank line just ended.
    #[must_use]
    pub fn at_event_boundary(self) -> bool {
        let ends_line = |byte| byte == b'\n' || byte == b'\r';
        match self.0 {
            [before, b'\r', b'\n'] => ends_line(before),
            [_, before, last] => ends_line(before) && ends_line(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Boundary;

    /// Reads `bytes` line by line: whether the last line is complete and blank.
    fn reference(bytes: &[u8]) -> bool {
        let (mut length, mut blank, mut after_cr) = (0, true, false);
        for &byte in bytes {
            if byte == b'\n' && after_cr {
                after_cr = false;
                continue;
            }
            after_cr = byte == b'\r';
            if byte == b'\n' || byte == b'\r' {
                blank = length == 0;
                length = 0;
            } else {
                length += 1;
                blank = false;
            }
        }
        blank
    }

    #[test]
    fn blank_lines_of_every_kind_are_boundaries() {
        for (stream, boundary) in [
            ("", true),
            ("data: x\n\n", true),
            ("data: x\r\n\r\n", true),
            ("data: x\r\r", true),
            ("data: x\r\n\r", true),
            (": OPENROUTER PROCESSING\n\n", true),
            ("d", false),
            ("data: x\n", false),
            ("data: x\r\n", false),
            ("data: x\r", false),
            ("data: x\n\nd", false),
            ("data: x\n\nevent: y\n", false),
        ] {
            let mut whole = Boundary::new();
            whole.feed(stream.as_bytes());
            assert_eq!(whole.at_event_boundary(), boundary, "{stream:?}");
            assert_eq!(reference(stream.as_bytes()), boundary, "{stream:?}");
        }
    }

    proptest! {
        #[test]
        fn every_cut_gives_what_reading_line_by_line_gives(
            slices in prop::collection::vec("[a\r\n]{0,5}", 0..12),
        ) {
            let mut boundary = Boundary::new();
            let mut sent = Vec::new();
            for slice in &slices {
                boundary.feed(slice.as_bytes());
                sent.extend_from_slice(slice.as_bytes());
                prop_assert_eq!(boundary.at_event_boundary(), reference(&sent), "{:?}", slices);
            }
        }
    }
}
