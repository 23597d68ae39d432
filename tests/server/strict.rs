//! A reader of answers that takes only what HTTP/1.1 says exactly (RFC 9112), and panics at whatever else it meets.

/// An answer as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) minor: u8,
    pub(crate) status: u16,
    /// Names as they came, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) end: End,
}

/// Where its body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Where the framing says.
    Whole,
    /// With the connection, as the framing says.
    Close,
    /// With the connection, too early.
    Cut,
}

impl Answer {
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// The one field of that name, if there is any.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut all = self.all(name);
        let one = all.next();
        assert_eq!(all.next(), None, "{name} is there twice");
        one
    }
}

/// Takes the line up to the next CRLF off the input, if it is whole.
fn line<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let line = input[..end].strip_suffix(b"\r").expect("a line ends in CRLF");
    assert!(!line.contains(&b'\r'), "a lone CR");
    *input = &input[end + 1..];
    Some(std::str::from_utf8(line).expect("a line is ASCII here"))
}

/// Takes fields and the empty line behind them off the input; nothing if that is not all there.
fn fields(input: &mut &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(input)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(": ").expect("a field is a name and a value");
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(is_name && value.trim() == value, "{line:?} is no field as we write them");
        fields.push((name.to_owned(), value.to_owned()));
    }
}

/// Takes up to so many bytes off the input.
fn take<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    taken
}

/// Reads the next answer of all that was said, to a HEAD where `is_head`.
pub(crate) fn answer(input: &mut &[u8], is_head: bool) -> Answer {
    let first = line(input).expect("a status line");
    let minor = match first.as_bytes() {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', _, _, _, b' ', _, ..] => {
            minor - b'0'
        }
        _ => panic!("{first:?} is no status line"),
    };
    let status = first[9..12].parse().expect("a status");
    let headers = fields(input).expect("a whole head");
    let mut answer =
        Answer { minor, status, headers, body: Vec::new(), trailers: Vec::new(), end: End::Whole };
    let length = answer.one("content-length").map(|length| length.parse::<usize>().expect("a length"));
    let coding = answer.one("transfer-encoding").map(str::to_owned);
    if status < 200 || status == 204 {
        assert_eq!((length, &coding), (None, &None), "{status} has no body to tell of");
        return answer;
    }
    if is_head || status == 304 {
        return answer;
    }
    match (coding.as_deref(), length) {
        (Some("chunked"), None) if minor == 1 => chunks(input, &mut answer),
        (None, Some(length)) => {
            answer.body = take(input, length).to_vec();
            answer.end = if answer.body.len() == length { End::Whole } else { End::Cut };
        }
        (None, None) => {
            assert!(minor == 0 || answer.one("connection") == Some("close"), "it would stay open");
            answer.body = std::mem::take(input).to_vec();
            answer.end = End::Close;
        }
        framing => panic!("{framing:?} in HTTP/1.{minor}"),
    }
    answer
}

fn chunks(input: &mut &[u8], answer: &mut Answer) {
    answer.end = End::Cut;
    while let Some(size) = line(input) {
        let length = usize::from_str_radix(size, 16).expect("a size");
        assert_eq!(format!("{length:x}"), size, "a size has one spelling here");
        if length == 0 {
            if let Some(trailers) = fields(input) {
                answer.trailers = trailers;
                answer.end = End::Whole;
            }
            return;
        }
        let data = take(input, length);
        answer.body.extend_from_slice(data);
        match take(input, 2) {
            b"\r\n" => {}
            b"\r" | b"" => return,
            other => panic!("a chunk is longer than {length}: {other:?}"),
        }
    }
}
