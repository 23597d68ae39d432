//! Finds `usage` in an answer as its bytes pass: JSON and SSE, bounded, never failing.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::json::Scanner;
use super::money::nano_dollars;

/// What an answer says was used; nothing where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: Option<u64>,
    /// Tokens written, reasoning included.
    pub completion_tokens: Option<u64>,
    /// Of the tokens written, those of reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Of the tokens read, those from a provider's cache.
    pub cached_tokens: Option<u64>,
    /// Of the tokens read, those that were written to a provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// The cost in nano-dollars (1e-9 USD), rounded half up from the decimal that stood there.
    pub cost: Option<i64>,
    /// What a provider took besides, in nano-dollars, where the account's own key with it was used.
    pub upstream_cost: Option<i64>,
}

/// The key searched for. A text inside the answer cannot hold it: there its quotes are escaped.
const KEY: &[u8] = b"\"usage\"";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

/// The longest `usage` object, bytes; the real ones stay below one kilobyte.
const LONGEST_OBJECT: usize = 8 << 10;

/// Watches one answer's body. It holds a few dozen bytes, and up to 8 KiB while a `usage` object passes.
#[derive(Debug, Default)]
pub struct UsageTap {
    state: State,
    usage: Usage,
    id: IdSearch,
}

#[derive(Debug)]
enum State {
    /// Looking for [`KEY`], of which so many bytes ended the slice before.
    Search(usize),
    /// Behind the key: blanks, the colon, then an object or something else.
    AfterKey,
    /// Inside the object.
    Object(Box<Object>),
}

impl Default for State {
    fn default() -> Self {
        Self::Search(0)
    }
}

impl UsageTap {
    /// A tap that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tap that leaves [`generation`](Self::generation) alone, for where the header
    /// `X-Generation-Id` told it already.
    #[must_use]
    pub fn without_generation() -> Self {
        Self { id: IdSearch::Over, ..Self::default() }
    }

    /// Looks at the next bytes of the body, however they were cut.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.id.feed(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Search(matched) => match search(rest, *matched) {
                    Ok(after) => {
                        self.state = State::AfterKey;
                        &rest[after..]
                    }
                    Err(now) => {
                        *matched = now;
                        return;
                    }
                },
                State::AfterKey => {
                    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':');
                    let at = rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len());
                    let rest = &rest[at..];
                    match rest.first() {
                        Some(b'{') => {
                            if let Some((found, length)) = whole_object(rest) {
                                self.usage.learn(&found);
                                self.state = State::Search(0);
                                &rest[length..]
                            } else {
                                self.state = State::Object(Box::default());
                                rest
                            }
                        }
                        Some(_) => {
                            self.state = State::Search(0);
                            rest
                        }
                        None => rest,
                    }
                }
                State::Object(object) => {
                    let (taken, over) = object.take(rest);
                    if over {
                        if let Some(found) = object.parse() {
                            self.usage.learn(&found);
                        }
                        self.state = State::Search(0);
                    }
                    &rest[taken..]
                }
            };
        }
    }

    /// What was found so far; the last `usage` wins, field by field.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// `id` of the answer's first object (`gen-…`), where it was seen within the first 4 KiB.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        match &self.id {
            IdSearch::Found(id) => Some(id),
            _ => None,
        }
    }
}

/// Searches `bytes`, before which `matched` bytes of the key stood: the position behind the key, or
/// how many bytes of it end `bytes`.
fn search(bytes: &[u8], matched: usize) -> Result<usize, usize> {
    // A quote begins the key and stands in it only once more, at its end: a mismatch never hides a
    // second beginning, so the number of matched bytes is all that a cut leaves behind.
    if matched > 0 {
        let wanted = &KEY[matched..];
        if bytes.starts_with(wanted) {
            return Ok(wanted.len());
        }
        if wanted.starts_with(bytes) {
            return Err(matched + bytes.len());
        }
    }
    if let Some(at) = FINDER.find(bytes) {
        return Ok(at + KEY.len());
    }
    // Most slices end in a blank line or a brace, which no beginning of the key does.
    if !matches!(bytes.last(), Some(b'"' | b'u' | b's' | b'a' | b'g' | b'e')) {
        return Err(0);
    }
    Err((1..KEY.len()).rev().find(|&length| bytes.ends_with(&KEY[..length])).unwrap_or(0))
}

/// Reads the object that begins `bytes`, where all of it is there, as it mostly is: what it says and its
/// length. What is cut, too long or not JSON is left to [`Object`].
fn whole_object(bytes: &[u8]) -> Option<(Usage, usize)> {
    let mut usage = Usage::default();
    let mut scanner = Scanner::new(&bytes[..bytes.len().min(LONGEST_OBJECT)]);
    scanner.object(|scanner, name| {
        usage.set(name, scanner.value()?);
        Some(())
    })?;
    Some((usage, scanner.at()))
}

/// A `usage` object on its way: its bytes so far.
#[derive(Debug, Default)]
struct Object {
    bytes: Vec<u8>,
    depth: u32,
    string: bool,
    escaped: bool,
}

impl Object {
    /// Takes what belongs to the object from the front of `bytes`: how many that were, and whether the
    /// object is over, because its braces balance or because it is too long.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let room = LONGEST_OBJECT - self.bytes.len();
        let seen = &bytes[..bytes.len().min(room)];
        for (at, &byte) in seen.iter().enumerate() {
            if self.string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.string = true,
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.bytes.extend_from_slice(&seen[..=at]);
                        return (at + 1, true);
                    }
                }
                _ => {}
            }
        }
        self.bytes.extend_from_slice(seen);
        (seen.len(), self.bytes.len() == LONGEST_OBJECT)
    }

    fn parse(&self) -> Option<Usage> {
        whole_object(&self.bytes).map(|(usage, _)| usage)
    }
}

impl Usage {
    /// Takes over each field that `later` has.
    fn learn(&mut self, later: &Self) {
        self.prompt_tokens = later.prompt_tokens.or(self.prompt_tokens);
        self.completion_tokens = later.completion_tokens.or(self.completion_tokens);
        self.reasoning_tokens = later.reasoning_tokens.or(self.reasoning_tokens);
        self.cached_tokens = later.cached_tokens.or(self.cached_tokens);
        self.cost = later.cost.or(self.cost);
    }

    /// Takes one field of a `usage` object (`OpenRouter` API reference: `ChatUsage`, `Usage` of
    /// Responses and of Messages). Fields that are unknown, null or of another type change nothing.
    fn set(&mut self, name: &[u8], raw: &[u8]) {
        match name {
            b"prompt_tokens" | b"input_tokens" => self.prompt_tokens = count(raw).or(self.prompt_tokens),
            b"completion_tokens" | b"output_tokens" => {
                self.completion_tokens = count(raw).or(self.completion_tokens);
            }
            b"reasoning_tokens" => self.reasoning_tokens = count(raw).or(self.reasoning_tokens),
            b"cached_tokens" | b"cache_read_input_tokens" => {
                self.cached_tokens = count(raw).or(self.cached_tokens);
            }
            b"prompt_tokens_details" | b"input_tokens_details" => {
                self.cached_tokens = detail(raw, b"cached_tokens").or(self.cached_tokens);
            }
            b"completion_tokens_details" | b"output_tokens_details" => {
                self.reasoning_tokens = detail(raw, b"reasoning_tokens").or(self.reasoning_tokens);
            }
            b"cost" => self.cost = cost(raw).or(self.cost),
            _ => {}
        }
    }
}

/// The member `wanted` of `prompt_tokens_details` and its like.
fn detail(json: &[u8], wanted: &[u8]) -> Option<u64> {
    let mut found = None;
    Scanner::new(json).object(|scanner, name| {
        let value = scanner.value()?;
        if name == wanted {
            found = count(value);
        }
        Some(())
    })?;
    found
}

/// A number of tokens; none where it is not a whole one, or more than a database holds.
fn count(json: &[u8]) -> Option<u64> {
    str::from_utf8(json).ok()?.parse().ok().filter(|&count| i64::try_from(count).is_ok())
}

/// No single answer costs a million dollars; more than that is a mistake, and its sums might overflow.
const DEAREST: i64 = 1_000_000_000_000_000;

/// What one answer cost, nano-dollars; none where it is not a number, negative, or absurdly large.
fn cost(json: &[u8]) -> Option<i64> {
    nano_dollars(str::from_utf8(json).ok()?).filter(|nanos| (0..=DEAREST).contains(nanos))
}

/// How far into the body the id may stand, bytes.
const ID_WITHIN: u16 = 4 << 10;
/// The longest id, bytes; `gen-<seconds>-<20 characters>` has 35.
const LONGEST_ID: usize = 128;

/// Looks for `"id":"gen-…"` byte by byte, in the first bytes only; mostly it is the very first field.
#[derive(Debug)]
enum IdSearch {
    Key { seen: u16, matched: u8 },
    AfterKey { seen: u16 },
    Value { seen: u16, id: String },
    Found(Box<str>),
    Over,
}

impl Default for IdSearch {
    fn default() -> Self {
        Self::Key { seen: 0, matched: 0 }
    }
}

impl IdSearch {
    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if matches!(self, Self::Found(_) | Self::Over) {
                return;
            }
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        const KEY: &[u8] = b"\"id\"";
        let begin = |seen| Self::Key { seen, matched: u8::from(byte == b'"') };
        let (Self::Key { seen, .. } | Self::AfterKey { seen } | Self::Value { seen, .. }) = self else {
            return;
        };
        *seen += 1;
        let seen = *seen;
        if seen > ID_WITHIN {
            *self = Self::Over;
            return;
        }
        match self {
            Self::Key { matched, .. } if KEY[usize::from(*matched)] == byte => {
                *matched += 1;
                if usize::from(*matched) == KEY.len() {
                    *self = Self::AfterKey { seen };
                }
            }
            Self::AfterKey { .. } => match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b':' => {}
                b'"' => *self = Self::Value { seen, id: String::with_capacity(48) },
                _ => *self = begin(seen),
            },
            Self::Value { id, .. } => match byte {
                b'"' if id.starts_with("gen-") => *self = Self::Found(std::mem::take(id).into_boxed_str()),
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' if id.len() < LONGEST_ID => {
                    id.push(char::from(byte));
                }
                _ => *self = begin(seen),
            },
            _ => *self = begin(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Usage, UsageTap, cost};

    const CHAT: &str = r#"data: {"id":"gen-1757000000-AbCdEfGhIjKlMnOpQrSt","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":300,"total_tokens":420,"prompt_tokens_details":{"cached_tokens":17,"cache_write_tokens":0,"audio_tokens":80,"video_tokens":0},"completion_tokens_details":{"reasoning_tokens":31,"audio_tokens":260},"cost":0.0007,"is_byok":false,"cost_details":{"upstream_inference_cost":null}}}

data: [DONE]

"#;
    const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":0}}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":22,"output_tokens":7,"cache_read_input_tokens":null,"cost":1.14e-4,"is_byok":false,"cost_details":{"upstream_inference_cost":0.000114}}}

"#;
    const RESPONSES: &str = r#"event: response.created
data: {"type":"response.created","response":{"id":"gen-2","usage":null}}

event: response.completed
data: {"type":"response.completed","response":{"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":30,"cost":"0.000000001"}}}

data: [DONE]

"#;

    fn used(
        prompt: u64,
        completion: u64,
        reasoning: Option<u64>,
        cached: Option<u64>,
        cost: Option<i64>,
    ) -> Usage {
        Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            reasoning_tokens: reasoning,
            cached_tokens: cached,
            cost,
            ..Usage::default()
        }
    }

    fn tapped(slices: &[&[u8]]) -> UsageTap {
        let mut tap = UsageTap::new();
        for slice in slices {
            tap.feed(slice);
        }
        tap
    }

    fn usage_of(body: &str) -> Usage {
        tapped(&[body.as_bytes()]).usage()
    }

    #[test]
    fn each_dialects_usage_is_found_however_the_stream_is_cut() {
        for (stream, usage, id) in [
            (
                CHAT,
                used(120, 300, Some(31), Some(17), Some(700_000)),
                Some("gen-1757000000-AbCdEfGhIjKlMnOpQrSt"),
            ),
            (MESSAGES, used(22, 7, None, Some(3), Some(114_000)), None),
            (RESPONSES, used(10, 20, Some(5), Some(4), Some(1)), Some("gen-2")),
        ] {
            let bytes = stream.as_bytes();
            for first in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(first);
                let tap = tapped(&[head, tail]);
                assert_eq!((tap.usage(), tap.generation()), (usage.clone(), id), "cut at {first}");
            }
            let tap = tapped(&bytes.chunks(1).collect::<Vec<_>>());
            assert_eq!((tap.usage(), tap.generation()), (usage, id));
        }
    }

    #[test]
    fn a_json_answer_with_leading_blank_lines_is_read() {
        let body = "\n\n   \n{ \"id\" : \"gen-3\",\n \"usage\" : \n { \"prompt_tokens\" : 1, \"completion_tokens\" : 2 }\n}";
        let tap = tapped(&[body.as_bytes()]);
        assert_eq!(tap.usage(), used(1, 2, None, None, None));
        assert_eq!(tap.generation(), Some("gen-3"));
    }

    #[test]
    fn the_last_usage_wins_field_by_field() {
        let body = r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.1}} {"usage":null}
            {"usage":{"prompt_tokens":2,"completion_tokens":null,"cost":null}}"#;
        assert_eq!(usage_of(body), used(2, 1, None, None, Some(100_000_000)));
    }

    #[test]
    fn a_field_of_another_type_spoils_no_other() {
        let body = r#"{"usage":{"prompt_tokens":"many","prompt_tokens":[1],"completion_tokens":5,"total_tokens":{},
            "prompt_tokens_details":7,"completion_tokens_details":{"reasoning_tokens":-1},"cached_tokens":1e3,"cost":true}}"#;
        assert_eq!(usage_of(body), Usage { completion_tokens: Some(5), ..Usage::default() });
    }

    #[test]
    fn text_that_speaks_of_usage_is_not_usage() {
        for body in [
            r#"{"content":"\"usage\":{\"prompt_tokens\":9}"}"#,
            r#"{"a":"usage","prompt_tokens":9}"#,
            r#"["usage",{"prompt_tokens":9}]"#,
            r#"{"usage":25.5,"data":{"prompt_tokens":9}}"#,
            r#"{"usage":[{"prompt_tokens":9}]}"#,
            r#"{"usages":{"prompt_tokens":9}}"#,
        ] {
            assert_eq!(usage_of(body), Usage::default(), "{body}");
        }
    }

    #[test]
    fn braces_and_quotes_in_strings_do_not_end_the_object() {
        let body = r#"{"usage":{"note":"}\"}{\\","prompt_tokens":1,"completion_tokens":2}}"#;
        assert_eq!(usage_of(body), used(1, 2, None, None, None));
    }

    #[test]
    fn an_endless_object_is_given_up_and_the_search_goes_on() {
        let mut tap = UsageTap::new();
        tap.feed(b"{\"usage\":{\"a\":\"");
        for _ in 0..1_000 {
            tap.feed(&[b'x'; 1_000]);
        }
        tap.feed(b"\"}} {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");
        assert_eq!(tap.usage(), used(1, 2, None, None, None));
    }

    #[test]
    fn an_idle_tap_is_small() {
        assert!(size_of::<UsageTap>() <= 192, "{}", size_of::<UsageTap>());
    }

    #[test]
    fn the_id_is_looked_for_in_the_first_bytes_only() {
        let late = format!("{}{}", " ".repeat(4_096), r#"{"id":"gen-late"}"#);
        assert_eq!(tapped(&[late.as_bytes()]).generation(), None);
        assert_eq!(
            tapped(&[br#"{"id":"chatcmpl-1","x":{"id":"gen-inner"}}"#]).generation(),
            Some("gen-inner")
        );
        assert_eq!(tapped(&[br#"{"idle":"gen-no","id":"gen no","id":7}"#]).generation(), None);
        let mut without = UsageTap::without_generation();
        without.feed(CHAT.as_bytes());
        assert_eq!(without.generation(), None);
        assert_eq!(without.usage().prompt_tokens, Some(120));
    }

    #[test]
    fn a_cost_is_neither_negative_nor_absurd() {
        for (text, nanos) in [
            ("0.0007", Some(700_000)),
            ("1000000", Some(1_000_000_000_000_000)),
            ("1000000.000000001", None),
            ("-0.1", None),
            ("null", None),
        ] {
            assert_eq!(cost(text.as_bytes()), nanos, "{text}");
        }
    }

    /// What an answer is made of, and what it is not.
    const PIECES: &[&[u8]] = &[
        b"\"usage\"",
        b":",
        b" ",
        b"{",
        b"}",
        b"\"",
        b"\\",
        b"\"prompt_tokens\"",
        b"7",
        b",",
        b"null",
        b"\"us",
        b"\n",
        b"\"id\":\"gen-",
        b"a",
        b"\xff",
        b"\"cost\":",
        b"1e-3",
    ];

    proptest! {
        #[test]
        fn any_usage_is_found_in_any_cut(
            prompt: u32, completion: u32, cached in prop::option::of(any::<u32>()),
            before in "\\PC{0,40}", after in "\\PC{0,40}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let body = serde_json::json!({
                "id": before.clone(),
                "choices": [{"delta": {"content": before}}],
                "usage": {"note": after, "prompt_tokens": prompt, "completion_tokens": completion,
                    "prompt_tokens_details": {"cached_tokens": cached}},
            });
            let text = format!("data: {body}\n\ndata: [DONE]\n\n");
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.sort_unstable();
            let mut tap = UsageTap::new();
            let mut from = 0;
            for to in at.into_iter().chain([text.len()]) {
                tap.feed(&text.as_bytes()[from..to]);
                from = to;
            }
            let expected = used(prompt.into(), completion.into(), None, cached.map(u64::from), None);
            prop_assert_eq!(tap.usage(), expected);
        }

        #[test]
        fn any_bytes_are_borne_and_cuts_change_nothing(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
        ) {
            let whole = pieces.concat();
            let once = tapped(&[&whole]);
            let byte_by_byte = tapped(&whole.chunks(1).collect::<Vec<_>>());
            prop_assert_eq!(once.usage(), byte_by_byte.usage());
            prop_assert_eq!(once.generation(), byte_by_byte.generation());
            let by_pieces = tapped(&pieces);
            prop_assert_eq!(once.usage(), by_pieces.usage());
        }
    }
}
