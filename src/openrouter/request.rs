//! What a request asks for: its models, whether it wants a stream, which conversation it belongs to.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::quality::RandomState;

use super::json::{Scanner, Text};

/// The longest text, in bytes, that is taken for a model's name; the names of `OpenRouter` stay far below.
const LONGEST_MODEL: usize = 256;

/// So much of the beginning and of the end of a long text tells it from others, bytes.
const SAMPLE: usize = 1 << 10;

/// Claude Code opens its system prompt with a line that differs in every request.
const NONCE: &[u8] = b"x-anthropic-billing-header:";

/// What the JSON body of an inference request says; nothing where it is not JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `model`, as it stands in the body; at most 256 bytes, a longer text is no model's name.
    pub model: Option<String>,
    /// Whether it asks for a stream.
    pub stream: bool,
    /// Whether every model that `model` and `models` name is free: its id ends in `:free` (`OpenRouter` docs, Limits page), or it
    /// is the router over those, `openrouter/free`.
    pub free: bool,
    /// The conversation it is a turn of, as a hash that lasts as long as this process: `session_id`, the header
    /// `x-session-id` or `prompt_cache_key`, else the model with the first system and the first other message
    /// (`OpenRouter` docs, Prompt Caching page: provider sticky routing).
    pub conversation: Option<u64>,
    /// Whether an earlier turn may have left something in a provider's cache: there was one, or the
    /// conversation is named.
    pub continues: bool,
}

/// What is known of a request besides its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// Who asks; the conversations of two callers are never the same.
    pub caller: &'a str,
    /// The header `x-session-id`; `session_id` in the body weighs more.
    pub session: Option<&'a [u8]>,
}

/// Reads `body`, the whole body of a request or its beginning, of which nothing else is known.
#[must_use]
pub fn peek(body: &[u8]) -> Wanted {
    read(body, &Around::default())
}

/// Reads `body`, the whole body of a request or its beginning.
///
/// Of a field given twice the last one counts, as for other JSON parsers. Of a body that breaks off or
/// goes wrong, what stands before that place counts.
#[must_use]
pub fn read(body: &[u8], around: &Around<'_>) -> Wanted {
    let mut seen = Seen::default();
    // A body that is wrong is upstream's to refuse.
    let _ = seen.body(&mut Scanner::new(body));
    let named = |text: Text<'_>| !text.raw.is_empty();
    let session = seen.session.filter(|text| named(*text)).map(|text| text.raw);
    let session = session.or(around.session.filter(|session| !session.is_empty()));
    let model = seen.model.as_deref().unwrap_or_default();
    let conversation = match (session, seen.cache_key.filter(|text| named(*text))) {
        // A session's sandbox is the same for all its models (`OpenRouter` docs, Bash tool).
        (Some(session), _) => Some(hash(1, around, &[], session)),
        (None, Some(key)) => Some(hash(2, around, model.as_bytes(), key.raw)),
        (None, None) => seen.talk.opening().map(|opening| hash(3, around, model.as_bytes(), &opening)),
    };
    Wanted {
        stream: seen.stream,
        free: match seen.models {
            Models::None => is_free(model.as_bytes()),
            Models::Free => model.is_empty() || is_free(model.as_bytes()),
            Models::Paid => false,
        },
        conversation,
        continues: conversation.is_some()
            && (session.is_some() || seen.cache_key.is_some_and(named) || seen.talk.continues),
        model: seen.model,
    }
}

/// Whether a model is one of those that all draw on the account's free requests: those whose ids end in `:free` (`OpenRouter`
/// docs, Limits page), and the router that chooses among them (`OpenRouter`'s page of the model `openrouter/free`).
fn is_free(model: &[u8]) -> bool {
    model.ends_with(b":free") || model == b"openrouter/free"
}

/// Keyed anew in each process, so that nobody can make two conversations collide.
static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

fn hash(kind: u8, around: &Around<'_>, model: &[u8], rest: &[u8]) -> u64 {
    let mut hasher = KEYED.build_hasher();
    hasher.write_u8(kind);
    for part in [around.caller.as_bytes(), model, rest] {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

/// What was seen of a body so far.
#[derive(Default)]
struct Seen<'a> {
    model: Option<String>,
    models: Models,
    stream: bool,
    session: Option<Text<'a>>,
    cache_key: Option<Text<'a>>,
    talk: Talk,
}

/// What `models` names.
#[derive(Clone, Copy, Default)]
enum Models {
    #[default]
    None,
    Free,
    Paid,
}

impl<'a> Seen<'a> {
    /// The fields are taken over as they pass, so that a break behind them keeps them.
    fn body(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        scanner.object(|scanner, name| {
            match name {
                b"model" => {
                    let mut text = None;
                    scanner.text(&mut text)?;
                    self.model = text
                        .and_then(Text::decode)
                        .filter(|text| text.len() <= LONGEST_MODEL)
                        .map(Cow::into_owned);
                }
                b"models" => self.models = models(scanner)?,
                b"stream" => self.stream = scanner.value()? == b"true",
                b"session_id" => scanner.text(&mut self.session)?,
                b"prompt_cache_key" => scanner.text(&mut self.cache_key)?,
                b"system" | b"instructions" => self.talk.instructions = Some(content(scanner)?),
                b"messages" | b"input" => {
                    let instructions = self.talk.instructions;
                    self.talk = Talk { instructions, ..Talk::default() };
                    self.talk.messages(scanner)?;
                }
                _ => scanner.skip()?,
            }
            Some(())
        })
    }
}

fn models(scanner: &mut Scanner<'_>) -> Option<Models> {
    let mut models = Models::None;
    if scanner.peek()? != b'[' {
        scanner.skip()?;
        return Some(models);
    }
    scanner.array(|scanner| {
        let mut text = None;
        scanner.text(&mut text)?;
        let is_free = text.and_then(Text::plain).is_some_and(|text| is_free(&text));
        models = if is_free && !matches!(models, Models::Paid) { Models::Free } else { Models::Paid };
        Some(())
    })?;
    Some(models)
}

/// How a conversation opens, as hashes, and whether it goes on.
#[derive(Default)]
struct Talk {
    /// `system` or `instructions`, which stand beside the messages.
    instructions: Option<u64>,
    /// The first system or developer message before any other.
    system: Option<u64>,
    /// The first other message.
    first: Option<u64>,
    /// There is more than one of those others, or the first is the model's.
    continues: bool,
}

impl Talk {
    fn opening(&self) -> Option<[u8; 24]> {
        let mut opening = [0; 24];
        let parts = [self.instructions.unwrap_or(0), self.system.unwrap_or(0), self.first?];
        for (place, part) in opening.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_ne_bytes());
        }
        Some(opening)
    }

    fn messages(&mut self, scanner: &mut Scanner<'_>) -> Option<()> {
        match scanner.peek()? {
            b'[' => scanner.array(|scanner| self.message(scanner)),
            b'"' => {
                self.first = Some(content(scanner)?);
                Some(())
            }
            _ => scanner.skip(),
        }
    }

    fn message(&mut self, scanner: &mut Scanner<'_>) -> Option<()> {
        // Nothing more to learn.
        if self.continues || scanner.peek()? != b'{' {
            return scanner.skip();
        }
        let mut role = None;
        let mut said = None;
        scanner.object(|scanner, name| {
            match name {
                b"role" => scanner.text(&mut role)?,
                b"content" if self.first.is_none() => said = Some(content(scanner)?),
                _ => scanner.skip()?,
            }
            Some(())
        })?;
        let role = role.map_or(&b""[..], |role| role.raw);
        match (role, self.first) {
            // Where instructions come late, they must not make another conversation of it.
            (b"system" | b"developer", _) => {
                if self.first.is_none() && self.system.is_none() {
                    self.system = said;
                }
            }
            (_, None) => {
                self.first = Some(said.unwrap_or(0));
                self.continues = role == b"assistant";
            }
            (_, Some(_)) => self.continues = true,
        }
        Some(())
    }
}

/// The hash of what a message says: a text is the same alone and as the only part of a list, and where caches
/// are to break (`cache_control`), which moves from turn to turn, is no part of it.
fn content(scanner: &mut Scanner<'_>) -> Option<u64> {
    let mut hasher = KEYED.build_hasher();
    if scanner.peek()? == b'[' {
        scanner.array(|scanner| {
            if scanner.peek()? != b'{' {
                return part(&mut hasher, scanner);
            }
            scanner.object(|scanner, name| match name {
                b"type" | b"cache_control" => scanner.skip(),
                _ => part(&mut hasher, scanner),
            })
        })?;
    } else {
        part(&mut hasher, scanner)?;
    }
    Some(hasher.finish())
}

fn part(hasher: &mut impl Hasher, scanner: &mut Scanner<'_>) -> Option<()> {
    let mut said = match scanner.peek()? {
        b'"' => scanner.string()?.raw,
        _ => scanner.value()?,
    };
    if said.starts_with(NONCE) {
        let line = said.windows(2).position(|end| end == br"\n").map_or(said.len(), |end| end + 2);
        said = &said[line..];
        if said.is_empty() {
            return Some(());
        }
    }
    hasher.write_usize(said.len());
    if said.len() <= 2 * SAMPLE {
        hasher.write(said);
    } else {
        hasher.write(&said[..SAMPLE]);
        hasher.write(&said[said.len() - SAMPLE..]);
    }
    Some(())
}

#[cfg(test)]
mod tests;
