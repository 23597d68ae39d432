//! Where in a stream of server-sent events one stands, and whether the stream told its own end.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::{self, Finder};

use super::dialect::Dialect;

/// How many of the last bytes are kept: no fewer than are looked for, `data: [DONE]` and its blank line included.
const TAIL: usize = 32;

/// The longest of the marks looked for, bytes: `"type" : "response.incomplete"`.
const LONGEST: usize = 30;

/// Follows a stream of server-sent events.
///
/// It cannot fail and holds 32 bytes, so that each slice costs two searches and no more. None of the marks it
/// looks for can stand inside a text of the answer, where quotes are escaped.
#[derive(Clone, Debug)]
pub struct Events {
    tail: [u8; TAIL],
    dialect: Dialect,
    content: bool,
    finished: bool,
    failed: bool,
    /// What the first error says; nothing of a stream without one is kept.
    error: Option<Box<Told>>,
}

/// The JSON of an event that tells of an error, as far as it came.
#[derive(Clone, Debug)]
struct Told {
    json: Vec<u8>,
    /// Whether its line is over, or enough of it is here.
    is_over: bool,
}

/// So much of an error is kept, bytes; the known ones stay below 4 KiB.
const LONGEST_ERROR: usize = 8 << 10;

impl Events {
    /// A stream in `dialect` of which nothing was sent, which is a boundary.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { tail: [b'\n'; TAIL], dialect, content: false, finished: false, failed: false, error: None }
    }

    /// The form in which errors are told.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Takes the next bytes of the stream, however they were cut.
    pub fn feed(&mut self, bytes: &[u8]) {
        // No mark has a line end in it, so behind one nothing is left over.
        if self.tail[TAIL - 1] != b'\n' {
            let head = &bytes[..bytes.len().min(LONGEST - 1)];
            let mut seam = [0; 2 * (LONGEST - 1)];
            seam[..LONGEST - 1].copy_from_slice(&self.tail[TAIL - (LONGEST - 1)..]);
            seam[LONGEST - 1..][..head.len()].copy_from_slice(head);
            self.look(&seam[..LONGEST - 1 + head.len()]);
        }
        self.look(bytes);
        if self.failed {
            self.keep(bytes);
        }
        if let Some(last) = bytes.last_chunk::<TAIL>() {
            self.tail = *last;
        } else {
            self.tail.copy_within(bytes.len().., 0);
            self.tail[TAIL - bytes.len()..].copy_from_slice(bytes);
        }
    }

    /// Whether an event may begin here: nothing was sent yet, or a blank line just ended. A line ends with LF,
    /// CRLF or CR (WHATWG HTML, "Parsing an event stream"), so the last three bytes tell.
    #[must_use]
    pub fn at_event_boundary(&self) -> bool {
        let ends_line = |byte| byte == b'\n' || byte == b'\r';
        match self.tail[TAIL - 3..] {
            [before, b'\r', b'\n'] => ends_line(before),
            [.., before, last] => ends_line(before) && ends_line(last),
            _ => false,
        }
    }

    /// Whether an event told of an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The data of the first event that told of an error, for [`classify_event`](super::fault::classify_event). Where the
    /// event's beginning had passed when it told, it is the `error` alone; empty where that had passed, too.
    #[must_use]
    pub fn error(&self) -> Option<&[u8]> {
        self.error.as_ref().map(|told| &told.json[..])
    }

    /// Keeps what the error says.
    #[cold]
    fn keep(&mut self, bytes: &[u8]) {
        if let Some(told) = &mut self.error {
            return told.more(bytes);
        }
        let joined = [&self.tail[..], bytes].concat();
        let mut lines = joined.split_inclusive(|byte| matches!(byte, b'\n' | b'\r'));
        let tells = |line: &&[u8]| {
            let mut alone = Self::new(self.dialect);
            alone.look(line);
            alone.failed
        };
        let line = lines.find(tells).unwrap_or_default();
        let mut told = Told { json: Vec::new(), is_over: false };
        let is_object = |at: &usize| value(&line[at + b"\"error\"".len()..], b'{').is_some();
        if let Some(data) = line.strip_prefix(b"data:") {
            told.more(data);
        } else if let Some(at) = memmem::find_iter(line, b"\"error\"").find(is_object) {
            told.json.push(b'{');
            told.more(&line[at..]);
        }
        self.error = Some(Box::new(told));
    }

    /// Whether the last event of a stream came: whoever leaves behind it misses nothing.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        memmem::find(&self.tail, b"[DONE]").is_some()
    }

    /// Whether a stream that ends here was cut: it showed content in its dialect, but neither a reason to finish
    /// nor an error nor its last event (`OpenRouter` docs, Streaming; Anthropic docs, Streaming messages). Of
    /// a stream in another form nothing is known, so it is not.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.content && !self.finished && !self.failed && !self.has_ended()
    }

    /// Looks for all marks in a piece of the stream.
    fn look(&mut self, bytes: &[u8]) {
        static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
        static REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"_reason\""));
        static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"choices\""));
        static MESSAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"message_"));
        static BLOCK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"content_block_"));
        static RESPONSE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"response."));

        for at in all(&ERROR, bytes) {
            // Chunks of chats have no type.
            self.failed |= is_error(&bytes[..at], &bytes[at + ERROR.needle().len()..])
                || (self.dialect != Dialect::Chat && is_type(&bytes[..at]));
        }
        match self.dialect {
            Dialect::Chat => {
                for at in REASON.find_iter(bytes) {
                    if let Some(reason) = value(&bytes[at + REASON.needle().len()..], b'"') {
                        self.finished = true;
                        // A provider's error behind the first token (OpenRouter docs, Streaming).
                        self.failed |= reason.starts_with(b"error\"");
                    }
                }
                self.content = self.content
                    || all(&CHOICES, bytes).any(|at| {
                        let choices = value(&bytes[at + CHOICES.needle().len()..], b'[');
                        choices.is_some_and(|choices| blank(choices).starts_with(b"{"))
                    });
            }
            Dialect::Messages => {
                for at in MESSAGE.find_iter(bytes).filter(|at| is_type(&bytes[..*at])) {
                    let kind = &bytes[at + MESSAGE.needle().len()..];
                    self.finished |= kind.starts_with(b"stop\"") || kind.starts_with(b"delta\"");
                }
                self.content = self.content || BLOCK.find_iter(bytes).any(|at| is_type(&bytes[..at]));
            }
            Dialect::Responses => {
                for at in RESPONSE.find_iter(bytes).filter(|at| is_type(&bytes[..*at])) {
                    let kind = &bytes[at + RESPONSE.needle().len()..];
                    self.content |= kind.starts_with(b"output");
                    self.finished |= kind.starts_with(b"completed\"") || kind.starts_with(b"incomplete\"");
                    self.failed |= kind.starts_with(b"failed\"") || kind.starts_with(b"error\"");
                }
            }
        }
    }
}

impl Told {
    fn more(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        let end = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
        let room = LONGEST_ERROR - self.json.len();
        self.json.extend_from_slice(&bytes[..end.min(room)]);
        self.is_over = end < bytes.len() || self.json.len() == LONGEST_ERROR;
    }
}

/// Where `name`, which stands in quotes, begins in `bytes`; the quote that ends one may begin the next.
fn all(name: &Finder<'_>, bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + name.find(bytes.get(from..)?)?;
        from = at + name.needle().len() - 1;
        Some(at)
    })
}

/// Whether a `"error"` between these bytes is an error, and the first thing an event says: `data: {"error":{`.
fn is_error(before: &[u8], after: &[u8]) -> bool {
    let opened = blank_end(before).strip_suffix(b"{");
    opened.is_some_and(|before| blank_end(before).ends_with(b"data:")) && value(after, b'{').is_some()
}

/// Whether what follows `before` is the type of something: `"type":`.
fn is_type(before: &[u8]) -> bool {
    let colon = blank_end(before).strip_suffix(b":");
    colon.is_some_and(|before| blank_end(before).ends_with(b"\"type\""))
}

/// What follows the first byte of a value, where `after` goes on with a colon and that byte.
fn value(after: &[u8], first: u8) -> Option<&[u8]> {
    let value = blank(blank(after).strip_prefix(b":")?);
    (value.first() == Some(&first)).then(|| &value[1..])
}

/// `bytes` without a blank at their beginning. More than one is nobody's way to write JSON, and would make the marks endless.
fn blank(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b" ").unwrap_or(bytes)
}

/// `bytes` without a blank at their end.
fn blank_end(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b" ").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dialect::{Dialect, Stream, error_event};
    use super::Events;

    const CHAT: &[&str] = &[
        ": OPENROUTER PROCESSING\n\n",
        "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null,\"native_finish_reason\":null}]}\n\n",
        "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"error\"},\"finish_reason\":null}]}\r\n\r\n",
        "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"error\\\":{\"},\"finish_reason\": null}]}\n\n",
        "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"gen-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"cost\":0.1}}\n\n",
        "data: [DONE]\n\n",
    ];
    const MESSAGES: &[&str] = &[
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"stop_reason\":null}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"error message_stop\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ];
    const RESPONSES: &[&str] = &[
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\"}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"response.failed\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
        "data: [DONE]\n\n",
    ];

    /// Each dialect's stream, with the events from which on it shows content and from which on it is finished.
    const STREAMS: [(Dialect, &[&str], usize, usize); 3] = [
        (Dialect::Chat, CHAT, 2, 5),
        (Dialect::Messages, MESSAGES, 3, 5),
        (Dialect::Responses, RESPONSES, 2, 4),
    ];

    fn fed<'a>(dialect: Dialect, pieces: impl IntoIterator<Item = &'a [u8]>) -> Events {
        let mut events = Events::new(dialect);
        pieces.into_iter().for_each(|piece| events.feed(piece));
        events
    }

    fn verdict(events: &Events) -> (bool, bool, bool) {
        (events.is_cut(), events.has_failed(), events.at_event_boundary())
    }

    #[test]
    fn a_stream_is_cut_between_its_first_content_and_its_end() {
        for (dialect, stream, content, finish) in STREAMS {
            for sent in 0..=stream.len() {
                let events = fed(dialect, stream[..sent].iter().map(|event| event.as_bytes()));
                let cut = (content..finish).contains(&sent);
                assert_eq!(verdict(&events), (cut, false, true), "{dialect:?} after {sent} events");
            }
        }
    }

    #[test]
    fn done_alone_is_an_end() {
        for done in ["data: [DONE]\n\n", "data:[DONE]", "data: [DONE]\r\n\r\n: bye\n\n"] {
            let events = fed(Dialect::Chat, [CHAT[1].as_bytes(), done.as_bytes()]);
            assert!(!events.is_cut(), "{done:?}");
        }
    }

    #[test]
    fn an_error_is_an_end_and_a_failure() {
        let ours = |dialect| {
            String::from_utf8(error_event(dialect, 502, "cut", &Stream::default()).to_vec()).unwrap()
        };
        let (chat, messages, responses) =
            (ours(Dialect::Chat), ours(Dialect::Messages), ours(Dialect::Responses));
        for (dialect, begin, error) in [
            (Dialect::Chat, CHAT[1], chat.as_str()),
            (
                Dialect::Chat,
                CHAT[1],
                "data: {\"error\":{\"message\":\"Rate limit exceeded\",\"code\":429},\"user_id\":\"u\"}\n\n",
            ),
            (Dialect::Chat, CHAT[1], "data:{ \"error\": {\"code\":502}}\n\n"),
            (Dialect::Messages, MESSAGES[3], messages.as_str()),
            (Dialect::Responses, RESPONSES[1], responses.as_str()),
            (Dialect::Responses, RESPONSES[1], "data: {\"type\":\"response.failed\",\"response\":{}}\n\n"),
        ] {
            let stream = format!("{begin}{error}");
            for at in 0..=stream.len() {
                let (left, right) = stream.as_bytes().split_at(at);
                assert_eq!(verdict(&fed(dialect, [left, right])), (false, true, true), "{error} at {at}");
            }
        }
    }

    #[test]
    fn what_an_error_says_is_kept_however_it_was_cut() {
        let late = r#"{"id":"gen-1","provider":"Acme","error":{"code":"server_error","message":"x"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#;
        for (dialect, error) in [
            (Dialect::Chat, r#"{"error":{"code":429,"message":"Rate limit exceeded"},"user_id":"u"}"#),
            (Dialect::Chat, late),
            (Dialect::Messages, r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#),
            (
                Dialect::Responses,
                r#"{"type":"response.failed","response":{"error":{"code":"server_error"}}}"#,
            ),
        ] {
            let event = format!("event: x\ndata: {error}\n\ndata: [DONE]\n\n");
            let parsed = |told: &[u8]| serde_json::from_slice::<serde_json::Value>(told);
            let whole = parsed(error.as_bytes()).unwrap();
            for at in 0..=event.len() {
                let (left, right) = event.as_bytes().split_at(at);
                let events = fed(dialect, [left, right]);
                let told = events.error().expect("it told");
                // Of an event that told behind its beginning the error is enough; else nothing is invented.
                if let Ok(told) = parsed(told) {
                    assert!(told == whole || told["error"].is_object(), "{told} at {at}");
                } else {
                    assert!(told.is_empty() || told.starts_with(b"{\"error\""), "{told:?} at {at}");
                }
            }
            assert_eq!(parsed(fed(dialect, [event.as_bytes()]).error().unwrap()).unwrap(), whole);
            assert!(fed(dialect, [CHAT.concat().as_bytes()]).error().is_none());
        }
        let mut long = Events::new(Dialect::Chat);
        long.feed(b"data: {\"error\":{\"message\":\"");
        (0..9).for_each(|_| long.feed(&[b'x'; 4_000]));
        assert_eq!(long.error().unwrap().len(), super::LONGEST_ERROR);
    }

    #[test]
    fn an_unknown_form_is_never_judged() {
        for stream in [
            "",
            "data: {}\n\n",
            "data: {\"type\":\"image_generation.partial_image\",\"b64\":\"xx\"}\n\n",
            "data: {\"choices\":[]}\n\n",
            "plain text",
        ] {
            for dialect in [Dialect::Chat, Dialect::Messages, Dialect::Responses] {
                let events = fed(dialect, [stream.as_bytes()]);
                assert!(!events.is_cut() && !events.has_failed(), "{stream}");
            }
        }
    }

    /// Reads `bytes` line by line: whether the last line is complete and blank.
    fn boundary(bytes: &[u8]) -> bool {
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
        for (stream, expected) in [
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
            assert_eq!(fed(Dialect::Chat, [stream.as_bytes()]).at_event_boundary(), expected, "{stream:?}");
            assert_eq!(boundary(stream.as_bytes()), expected, "{stream:?}");
        }
    }

    /// Marks and near misses.
    fn marks() -> impl Strategy<Value = String> {
        const MARKS: &[&str] = &[
            "data: ",
            "data:",
            "{",
            "\"error\"",
            ":",
            " ",
            "\"type\"",
            "\"choices\"",
            "choices\"",
            "[",
            "null",
            "\n\n",
            "\r\n",
            "\"finish_reason\"",
            "\"stop\"",
            "\"message_stop\"",
            "\"message_\"",
            "\"content_block_",
            "\"response.",
            "output",
            "failed\"",
            "incomplete\"",
            "[DONE]",
            "x",
        ];
        prop::collection::vec(prop::sample::select(MARKS), 0..24).prop_map(|marks| marks.concat())
    }

    proptest! {
        #[test]
        fn every_cut_gives_the_same_verdict(
            stream in 0..3_usize,
            events in 0..8_usize,
            inside in 0..400_usize,
            cuts in prop::collection::vec(0..1_000_usize, 0..6),
        ) {
            let (dialect, all, ..) = STREAMS[stream];
            let whole = all[..events.min(all.len())].concat();
            let whole = &whole.as_bytes()[..whole.len() - inside.min(whole.len())];
            let expected = verdict(&fed(dialect, [whole]));
            for at in 0..=whole.len() {
                prop_assert_eq!(verdict(&fed(dialect, [&whole[..at], &whole[at..]])), expected, "at {}", at);
            }
            prop_assert_eq!(verdict(&fed(dialect, whole.chunks(1))), expected);
            let mut at: Vec<_> = cuts.iter().map(|cut| cut % (whole.len() + 1)).chain([0, whole.len()]).collect();
            at.sort_unstable();
            prop_assert_eq!(verdict(&fed(dialect, at.windows(2).map(|cut| &whole[cut[0]..cut[1]]))), expected);
        }

        #[test]
        fn every_cut_of_any_marks_gives_the_same_verdict(stream in marks(), size in 1..40_usize) {
            for dialect in [Dialect::Chat, Dialect::Messages, Dialect::Responses] {
                let expected = verdict(&fed(dialect, [stream.as_bytes()]));
                prop_assert_eq!(verdict(&fed(dialect, stream.as_bytes().chunks(size))), expected, "{:?}", dialect);
                prop_assert_eq!(expected.2, boundary(stream.as_bytes()));
            }
        }

        #[test]
        fn every_cut_gives_the_boundary_that_reading_line_by_line_gives(
            slices in prop::collection::vec("[a\r\n]{0,5}", 0..12),
        ) {
            let mut events = Events::new(Dialect::Chat);
            let mut sent = Vec::new();
            for slice in &slices {
                events.feed(slice.as_bytes());
                sent.extend_from_slice(slice.as_bytes());
                prop_assert_eq!(events.at_event_boundary(), boundary(&sent), "{:?}", slices);
            }
        }
    }
}
