//! Finds `usage` in an answer as its bytes pass: JSON and SSE, bounded, never failing.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr2, memchr2_iter, memchr3};

use super::dialect::Dialect;
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

/// Where `usage` may stand (`OpenRouter` API reference): on an answer or a chunk itself, and in the one other object that
/// [`holder`] names. Anything deeper belongs to what was answered.
const USAGE: &[u8] = b"usage";

/// Where else it may stand: in the `message` that begins a stream of Messages, in the `response` of an event of Responses.
fn holder(dialect: Dialect) -> Option<&'static [u8]> {
    match dialect {
        Dialect::Chat => None,
        Dialect::Messages => Some(b"message"),
        Dialect::Responses => Some(b"response"),
    }
}

/// The longest of these names.
const LONGEST_NAME: usize = 8;

/// The key searched for where a slice of a stream is looked at as a whole.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));

/// The longest `usage` object, bytes; the real ones stay below one kilobyte.
const LONGEST_OBJECT: usize = 8 << 10;

/// Watches one answer's body. It holds a few dozen bytes, and up to 8 KiB while a `usage` object passes.
#[derive(Debug)]
pub struct UsageTap {
    form: Form,
    walk: Walk,
    usage: Usage,
    id: IdSearch,
    /// Whether the answer tells of a job.
    is_job: bool,
}

/// What kind of body it is, as its first byte that is not blank tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Unknown,
    /// One JSON text.
    Json,
    /// Server-sent events: each line of data is a JSON text.
    Events,
}

impl UsageTap {
    /// A tap on an answer in this dialect that has seen nothing.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let walk = Walk::new(dialect);
        let (form, usage, id) = (Form::default(), Usage::default(), IdSearch::default());
        Self { form, walk, usage, id, is_job: false }
    }

    /// A tap on the answer that tells of a job: its `id` is the job's, and the generation stands in `generation_id`
    /// (`OpenRouter` API reference, `POST /videos`).
    #[must_use]
    pub fn of_job(dialect: Dialect) -> Self {
        Self { is_job: true, ..Self::new(dialect) }
    }

    /// A tap that leaves [`generation`](Self::generation) alone, for where the header
    /// `X-Generation-Id` told it already.
    #[must_use]
    pub fn without_generation(dialect: Dialect) -> Self {
        Self { id: IdSearch::Over, ..Self::new(dialect) }
    }

    /// Looks at a body that came whole: the same as [`feed`](Self::feed), and quicker where the body is plain JSON.
    pub fn feed_whole(&mut self, body: &[u8]) {
        match top_level(body) {
            Some(found) => {
                self.id.feed(self.is_job, body);
                self.usage.learn(&found);
            }
            None => self.feed(body),
        }
    }

    /// Looks at the next bytes of the body, however they were cut.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.id.feed(self.is_job, bytes);
        let mut bytes = bytes;
        if self.form == Form::Unknown {
            bytes = bytes.trim_ascii_start();
            match bytes.first() {
                None => return,
                Some(b'{') => {
                    self.form = Form::Json;
                    self.walk.is_body = true;
                }
                Some(b'[') => {
                    self.form = Form::Json;
                    // What stands in a list is no answer itself.
                    self.walk.depth = 1;
                }
                Some(_) => {
                    self.form = Form::Events;
                    self.walk.begin_line();
                }
            }
        }
        if self.form == Form::Json {
            self.walk.over(bytes, &mut self.usage);
            return;
        }
        // Whole lines without the key say nothing: most slices end with a line and have none.
        let found = FINDER.find(bytes);
        let whole = match found {
            Some(found) => memchr2_iter(b'\n', b'\r', &bytes[..found]).next_back(),
            None => memchr::memrchr2(b'\n', b'\r', bytes),
        };
        if let Some(end) = whole {
            // What the slice before it left open ends here.
            let first = if self.walk.at == At::Line(0) { 0 } else { line_end(bytes) };
            self.line(&bytes[..first]);
            self.walk.begin_line();
            bytes = &bytes[end + 1..];
        }
        while !bytes.is_empty() {
            let end = line_end(bytes);
            let (line, rest) = bytes.split_at(end);
            self.line(line);
            if let Some(rest) = rest.get(1..) {
                self.walk.begin_line();
                bytes = rest;
            } else {
                return;
            }
        }
    }

    /// Looks at the next bytes of a line of a stream.
    fn line(&mut self, mut bytes: &[u8]) {
        const DATA: &[u8] = b"data:";
        while let (At::Line(matched), Some((first, rest))) = (&self.walk.at, bytes.split_first()) {
            self.walk.at = match DATA.get(usize::from(*matched)) {
                Some(wanted) if wanted == first && usize::from(*matched) + 1 == DATA.len() => At::Out,
                Some(wanted) if wanted == first => At::Line(matched + 1),
                // Another field or a comment.
                _ => At::Skip,
            };
            bytes = rest;
        }
        self.walk.over(bytes, &mut self.usage);
    }

    /// What was found so far; the last `usage` wins, field by field.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// `{"error":{…}}`, or its beginning, where an answer that is one JSON object has such a member; not where it came
    /// [whole](Self::feed_whole), which is for [`has_error`](super::fault::has_error) to see.
    #[must_use]
    pub fn error(&self) -> Option<Vec<u8>> {
        let error = match &self.walk.at {
            At::Object { object, name: Wanted::Error } => object,
            _ => self.walk.error.as_ref()?,
        };
        Some([b"{\"error\":", &error.bytes[..], b"}"].concat())
    }

    /// `id` of the answer's first object (`gen-…`), of a job `generation_id`, where it was seen within the first 4 KiB.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        match &self.id {
            IdSearch::Found(id) => Some(id),
            _ => None,
        }
    }
}

/// What a whole JSON object says at its top level, where nothing is needed to know that but what stands behind it: the
/// members that follow, then the end. None where a walk has to tell.
fn top_level(body: &[u8]) -> Option<Usage> {
    const KEY: usize = USAGE.len() + 2;
    let text = body.trim_ascii();
    if !text.starts_with(b"{") || !text.ends_with(b"}") {
        return None;
    }
    let Some(at) = FINDER.find(text) else { return Some(Usage::default()) };
    // What stands behind a backslash is the end of another name, or of a text.
    if !matches!(text[..at].trim_ascii_end().last(), Some(b'{' | b',')) {
        return None;
    }
    let behind = at + KEY;
    if FINDER.find(&text[behind..]).is_some() {
        return None;
    }
    let mut scanner = Scanner::from(text, behind);
    scanner.eat(b':')?;
    if scanner.peek()? != b'{' {
        return None;
    }
    let begin = scanner.at();
    let (usage, length) = whole_object(&text[begin..])?;
    let mut scanner = Scanner::from(text, begin + length);
    while scanner.peek()? == b',' {
        scanner.eat(b',')?;
        scanner.string()?;
        scanner.eat(b':')?;
        scanner.skip()?;
    }
    scanner.eat(b'}')?;
    (scanner.at() == text.len()).then_some(usage)
}

/// Where the first line of `bytes` ends, its line end not included.
fn line_end(bytes: &[u8]) -> usize {
    memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len())
}

/// A walk over one JSON text, of which nothing is kept but how deep it is and which name came last.
#[derive(Debug)]
struct Walk {
    at: At,
    /// How many objects are open.
    depth: u32,
    /// Whether the outermost object but one is the [`holder`].
    held: bool,
    /// Whose holder that is.
    dialect: Dialect,
    /// Whether the text is the body itself, so that it may tell of an error.
    is_body: bool,
    /// The `error` that it has.
    error: Option<Box<Object>>,
}

/// Where a walk stands.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// At the front of a line of a stream, of which so many bytes of `data:` came.
    Line(u8),
    /// In a line without data.
    Skip,
    /// Between strings.
    #[default]
    Out,
    /// In a string, behind a backslash where `escaped`; its beginning, where it may be a name that matters.
    Text { escaped: bool, name: Option<Name> },
    /// Behind a string that may be a name, and its colon where there was one.
    Named { name: Wanted, colon: bool },
    /// Inside a `usage` or an `error` object.
    Object { object: Box<Object>, name: Wanted },
}

/// The beginning of a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Name {
    bytes: [u8; LONGEST_NAME],
    length: u8,
}

/// A name that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Usage,
    Holder,
    Error,
}

impl Walk {
    fn new(dialect: Dialect) -> Self {
        Self { at: At::default(), depth: 0, held: false, dialect, is_body: false, error: None }
    }

    /// Begins anew, at the front of a line of a stream.
    fn begin_line(&mut self) {
        *self = Self { at: At::Line(0), ..Self::new(self.dialect) };
    }

    /// Looks at the next bytes.
    fn over(&mut self, mut bytes: &[u8], usage: &mut Usage) {
        while !bytes.is_empty() {
            bytes = match &mut self.at {
                At::Line(_) | At::Skip => return,
                At::Out => match memchr3(b'"', b'{', b'}', bytes) {
                    None => return,
                    Some(at) => {
                        match bytes[at] {
                            b'"' => {
                                let matters = self.depth == 1 || (self.depth == 2 && self.held);
                                let name = matters.then(Name::default);
                                self.at = At::Text { escaped: false, name };
                            }
                            b'{' => self.depth = self.depth.saturating_add(1),
                            _ => {
                                self.depth = self.depth.saturating_sub(1);
                                self.held &= self.depth >= 2;
                            }
                        }
                        &bytes[at + 1..]
                    }
                },
                At::Text { escaped: escaped @ true, .. } => {
                    *escaped = false;
                    &bytes[1..]
                }
                At::Text { escaped, name } => match memchr2(b'"', b'\\', bytes) {
                    None => {
                        *name = name.and_then(|name| name.longer(bytes));
                        return;
                    }
                    Some(at) if bytes[at] == b'\\' => {
                        *escaped = true;
                        *name = None;
                        &bytes[at + 1..]
                    }
                    Some(at) => {
                        let name =
                            name.and_then(|name| name.longer(&bytes[..at])?.wanted(self.depth, self.dialect));
                        let name = name.filter(|name| *name != Wanted::Error || self.is_body);
                        self.at = name.map_or(At::Out, |name| At::Named { name, colon: false });
                        &bytes[at + 1..]
                    }
                },
                At::Named { name, colon } => match bytes[0] {
                    b' ' | b'\t' | b'\r' | b'\n' => &bytes[1..],
                    b':' if !*colon => {
                        *colon = true;
                        &bytes[1..]
                    }
                    b'{' if *colon && *name == Wanted::Usage => {
                        if let Some((found, length)) = whole_object(bytes) {
                            usage.learn(&found);
                            self.at = At::Out;
                            &bytes[length..]
                        } else {
                            self.at = At::Object { object: Box::default(), name: Wanted::Usage };
                            bytes
                        }
                    }
                    b'{' if *colon && *name == Wanted::Error => {
                        self.at = At::Object { object: Box::default(), name: Wanted::Error };
                        bytes
                    }
                    b'{' if *colon => {
                        self.held = true;
                        self.at = At::Out;
                        bytes
                    }
                    _ => {
                        self.at = At::Out;
                        bytes
                    }
                },
                At::Object { object, name } => {
                    let (taken, over) = object.take(bytes);
                    if over {
                        let found = (*name == Wanted::Usage).then(|| object.parse()).flatten();
                        if let Some(found) = found {
                            usage.learn(&found);
                        }
                        self.after_object();
                    }
                    &bytes[taken..]
                }
            };
        }
    }

    /// Goes on behind a `usage` object; one that was too long ends amid itself, as deep as it is there.
    fn after_object(&mut self) {
        let At::Object { object, name } = std::mem::take(&mut self.at) else { return };
        if object.depth > 0 {
            self.depth = self.depth.saturating_add_signed(object.braces);
        }
        self.held &= self.depth >= 2;
        if object.string {
            self.at = At::Text { escaped: object.escaped, name: None };
        }
        if name == Wanted::Error {
            self.error = Some(object);
        }
    }
}

impl Name {
    /// The same with more bytes behind it; none where it is too long to matter.
    fn longer(mut self, more: &[u8]) -> Option<Self> {
        let from = usize::from(self.length);
        self.bytes.get_mut(from..from + more.len())?.copy_from_slice(more);
        self.length = u8::try_from(from + more.len()).ok()?;
        Some(self)
    }

    /// Which name it is where so many objects are open.
    fn wanted(self, depth: u32, dialect: Dialect) -> Option<Wanted> {
        let name = &self.bytes[..usize::from(self.length)];
        if name == USAGE {
            return Some(Wanted::Usage);
        }
        match name {
            _ if depth != 1 => None,
            b"error" => Some(Wanted::Error),
            name => (holder(dialect) == Some(name)).then_some(Wanted::Holder),
        }
    }
}

/// Reads the object that begins `bytes`, where all of it is there, as it mostly is: what it says and its
/// length. What is cut, too long or not JSON is left to [`Object`].
fn whole_object(bytes: &[u8]) -> Option<(Usage, usize)> {
    let mut usage = Usage::default();
    let mut scanner = Scanner::new(&bytes[..bytes.len().min(LONGEST_OBJECT)]);
    let mut is_byok = false;
    scanner.object(|scanner, name| {
        if name == b"is_byok" {
            is_byok = scanner.value()? == b"true";
            return Some(());
        }
        usage.field(name, scanner)
    })?;
    // Else it repeats the cost.
    usage.upstream_cost = usage.upstream_cost.filter(|_| is_byok);
    Some((usage, scanner.at()))
}

/// A `usage` object on its way: its bytes so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Object {
    bytes: Vec<u8>,
    /// How many objects and arrays are open in it, itself included; as the scanner counts them.
    depth: u32,
    /// How many objects are.
    braces: i32,
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
                b'{' | b'[' => {
                    self.depth += 1;
                    self.braces += i32::from(byte == b'{');
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    self.braces -= i32::from(byte == b'}');
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
        self.cache_write_tokens = later.cache_write_tokens.or(self.cache_write_tokens);
        self.cost = later.cost.or(self.cost);
        self.upstream_cost = later.upstream_cost.or(self.upstream_cost);
    }

    /// Takes one field of a `usage` object (`OpenRouter` API reference: `ChatUsage`, `Usage` of
    /// Responses and of Messages). Fields that are unknown, null or of another type change nothing.
    fn field(&mut self, name: &[u8], scanner: &mut Scanner<'_>) -> Option<()> {
        let is_nested = scanner.peek()? == b'{';
        match name {
            b"prompt_tokens" | b"input_tokens" => take(&mut self.prompt_tokens, scanner),
            b"completion_tokens" | b"output_tokens" => take(&mut self.completion_tokens, scanner),
            b"reasoning_tokens" => take(&mut self.reasoning_tokens, scanner),
            b"cached_tokens" | b"cache_read_input_tokens" => take(&mut self.cached_tokens, scanner),
            b"cache_creation_input_tokens" => take(&mut self.cache_write_tokens, scanner),
            b"cost" => {
                self.cost = cost(scanner.value()?).or(self.cost);
                Some(())
            }
            b"prompt_tokens_details" | b"input_tokens_details" if is_nested => {
                scanner.object(|scanner, name| match name {
                    b"cached_tokens" => take(&mut self.cached_tokens, scanner),
                    b"cache_write_tokens" => take(&mut self.cache_write_tokens, scanner),
                    _ => scanner.skip(),
                })
            }
            b"completion_tokens_details" | b"output_tokens_details" if is_nested => {
                scanner.object(|scanner, name| match name {
                    b"reasoning_tokens" => take(&mut self.reasoning_tokens, scanner),
                    _ => scanner.skip(),
                })
            }
            b"cost_details" if is_nested => scanner.object(|scanner, name| {
                let value = scanner.value()?;
                if name == b"upstream_inference_cost" {
                    self.upstream_cost = cost(value).or(self.upstream_cost);
                }
                Some(())
            }),
            _ => scanner.skip(),
        }
    }
}

/// Takes a number of tokens, where it is one.
fn take(into: &mut Option<u64>, scanner: &mut Scanner<'_>) -> Option<()> {
    *into = count(scanner.value()?).or(*into);
    Some(())
}

/// A number of tokens; none where it is not a whole one, or more than a database holds.
fn count(json: &[u8]) -> Option<u64> {
    let digit = |count: u64, byte: &u8| {
        byte.is_ascii_digit().then(|| count.checked_mul(10)?.checked_add(u64::from(byte - b'0'))).flatten()
    };
    let count = json.iter().try_fold(0, digit)?;
    (!json.is_empty() && i64::try_from(count).is_ok()).then_some(count)
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

/// Looks for `"id":"gen-…"`, or another field, byte by byte, in the first bytes only; mostly it is the very first field.
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
    fn feed(&mut self, is_job: bool, bytes: &[u8]) {
        let field: &[u8] = if is_job { b"\"generation_id\"" } else { b"\"id\"" };
        for &byte in bytes {
            if matches!(self, Self::Found(_) | Self::Over) {
                return;
            }
            self.step(field, byte);
        }
    }

    fn step(&mut self, field: &[u8], byte: u8) {
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
            Self::Key { matched, .. } if field[usize::from(*matched)] == byte => {
                *matched += 1;
                if usize::from(*matched) == field.len() {
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
