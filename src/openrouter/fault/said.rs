//! Takes an error body apart: every field optional, of any type, in any order, cut off anywhere.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What is read of a body at most, bytes; the known ones stay below 4 KiB.
const LONGEST: usize = 64 << 10;

/// What is read of `body`: its beginning, without the blank lines by which `OpenRouter` keeps a slow answer alive.
pub(super) fn head(body: &[u8]) -> &[u8] {
    let body = body.trim_ascii_start();
    &body[..body.len().min(LONGEST)]
}

/// What an error body says. Of a body that breaks off or goes wrong, what stands before that place counts.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// `type` of the body: an event's, or Anthropic's `error`.
    event: Field,
    /// Beside the error: names the account.
    pub(super) user_id: Field,
    /// On a chunk of a stream: the provider that was chosen.
    provider: Field,
    /// The typed code of the Responses dialect, in the body or in its `response`.
    error_type: Field,
    response_error_type: Field,
    /// By where they stand: [`BODY`], [`RESPONSE`], [`FLAT`].
    errors: [ErrorSaid; 3],
}

/// `error` of the body.
const BODY: usize = 0;
/// `error` of its `response`.
const RESPONSE: usize = 1;
/// The body's own `code` and `message`, as `OpenAI`'s `error` event has them.
const FLAT: usize = 2;

/// What an `error` object says.
#[derive(Debug, Default)]
pub(super) struct ErrorSaid {
    /// Whether it is there, and not null.
    there: bool,
    /// Whether it is an object.
    object: bool,
    pub(super) message: Field,
    pub(super) code: Field,
    /// Anthropic's `type`.
    pub(super) kind: Field,
    pub(super) http_status: Field,
    error_type: Field,
    metadata_error_type: Field,
    pub(super) limit_source: Field,
    pub(super) reason: Field,
    pub(super) provider_name: Field,
    pub(super) provider_code: Field,
    pub(super) is_byok: Field,
    /// What the provider answered, as text.
    pub(super) raw: Field,
    /// Why moderation flagged it.
    pub(super) reasons: Field,
    pub(super) flagged_input: Field,
    /// What a guardrail found.
    pub(super) patterns: Field,
    /// `X-RateLimit-Limit` of `metadata.headers`.
    pub(super) limit: Field,
    /// `X-RateLimit-Reset` of `metadata.headers`.
    pub(super) reset: Field,
    /// `Retry-After` of `metadata.headers`.
    pub(super) retry_after: Field,
    /// `availability.code`.
    pub(super) availability: Field,
    /// `availability.retryable`.
    pub(super) retryable: Field,
    /// `availability.retry_after`.
    pub(super) available_after: Field,
}

impl Said {
    /// Reads the [`head`] of a body.
    pub(super) fn read(head: &[u8]) -> Self {
        let mut said = Self::default();
        // An error leaves what was read before it, which may be enough.
        let _ = Target::Object(&mut said, Place::Body)
            .deserialize(&mut serde_json::Deserializer::from_slice(head));
        said
    }

    /// The error that the body is about.
    pub(super) fn error(&self) -> &ErrorSaid {
        let at = [BODY, RESPONSE].into_iter().find(|at| self.errors[*at].there).unwrap_or(FLAT);
        &self.errors[at]
    }

    /// Whether a body that came with status 200 tells of an error.
    pub(super) fn fails(&self) -> bool {
        self.errors.iter().any(|error| error.object)
            || matches!(self.event.text(), Some("error" | "response.error" | "response.failed"))
    }

    /// The words that stand for a status, the ones that tell most first (`OpenRouter` docs, Errors page:
    /// each dialect has its `error_type` in another place, and its own code may tell less).
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let error = self.error();
        [
            &error.metadata_error_type,
            &error.error_type,
            &self.error_type,
            &self.response_error_type,
            &error.kind,
            &error.code,
        ]
        .into_iter()
        .filter_map(Field::text)
    }

    /// Whether a provider is named or cited, so that the error is likely its own.
    pub(super) fn cites_provider(&self) -> bool {
        let error = self.error();
        [&error.provider_name, &error.raw, &self.provider].iter().any(|field| field.text().is_some())
            || error.provider_code.is_there()
            || ["Provider returned error", "All providers for "].iter().any(|start| error.says(start))
            || error.message.text().is_some_and(|message| message.contains("rate-limited upstream"))
    }

    fn slot(&mut self, place: Place, name: &str) -> Option<&mut Field> {
        Some(match (place, name) {
            (Place::Body, "type") => &mut self.event,
            (Place::Body, "user_id") => &mut self.user_id,
            (Place::Body, "provider") => &mut self.provider,
            (Place::Body, "error_type") => &mut self.error_type,
            (Place::Body, "message") => &mut self.errors[FLAT].message,
            (Place::Body, "code") => &mut self.errors[FLAT].code,
            (Place::Response, "error_type") => &mut self.response_error_type,
            (Place::Error(at), _) => return self.errors[at].field(name),
            (Place::Metadata(at), _) => return self.errors[at].metadata(name),
            (Place::Headers(at), _) => return self.errors[at].header(name),
            (Place::Availability(at), _) => return self.errors[at].availability(name),
            _ => return None,
        })
    }
}

impl ErrorSaid {
    /// Whether the message begins so.
    pub(super) fn says(&self, start: &str) -> bool {
        self.message.text().is_some_and(|message| message.starts_with(start))
    }

    fn field(&mut self, name: &str) -> Option<&mut Field> {
        Some(match name {
            "message" => &mut self.message,
            "code" => &mut self.code,
            "type" => &mut self.kind,
            "http_status" => &mut self.http_status,
            "error_type" => &mut self.error_type,
            _ => return None,
        })
    }

    fn metadata(&mut self, name: &str) -> Option<&mut Field> {
        Some(match name {
            "error_type" => &mut self.metadata_error_type,
            "limit_source" => &mut self.limit_source,
            "reason" => &mut self.reason,
            "provider_name" => &mut self.provider_name,
            "provider_code" => &mut self.provider_code,
            "is_byok" => &mut self.is_byok,
            "raw" => &mut self.raw,
            "reasons" => &mut self.reasons,
            "flagged_input" => &mut self.flagged_input,
            "patterns" => &mut self.patterns,
            _ => return None,
        })
    }

    fn header(&mut self, name: &str) -> Option<&mut Field> {
        let named = |wanted| name.eq_ignore_ascii_case(wanted);
        if named("x-ratelimit-limit") {
            Some(&mut self.limit)
        } else if named("x-ratelimit-reset") {
            Some(&mut self.reset)
        } else if named("retry-after") {
            Some(&mut self.retry_after)
        } else {
            None
        }
    }

    fn availability(&mut self, name: &str) -> Option<&mut Field> {
        Some(match name {
            "code" => &mut self.availability,
            "retryable" => &mut self.retryable,
            "retry_after" => &mut self.available_after,
            _ => return None,
        })
    }
}

/// One field of a body: nothing where it is absent or null.
#[derive(Debug, Default)]
pub(super) struct Field(Option<Value>);

#[derive(Debug)]
enum Value {
    Text(String),
    Number(f64),
    Flag(bool),
    /// An object or an array, of which only that it is there is told.
    Compound,
}

impl Field {
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The text, without blanks around it, where it is one and says something.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.0 {
            Some(Value::Text(text)) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The number, also where it stands in a text.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.0 {
            Some(Value::Number(number)) => Some(*number),
            Some(Value::Text(text)) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The whole number, also where it stands in a text.
    pub(super) fn whole(&self) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        self.number().filter(|number| number.fract() == 0.0).map(|number| number as i64)
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self.0, Some(Value::Flag(true)))
    }
}

/// The objects that are entered. Those of an error bear the error's place in [`Said::errors`].
#[derive(Clone, Copy)]
enum Place {
    Body,
    Response,
    Error(usize),
    Metadata(usize),
    Headers(usize),
    Availability(usize),
}

impl Place {
    fn enter(self, name: &str) -> Option<Self> {
        Some(match (self, name) {
            (Self::Body, "error") => Self::Error(BODY),
            (Self::Body, "response") => Self::Response,
            (Self::Response, "error") => Self::Error(RESPONSE),
            (Self::Error(at), "metadata") => Self::Metadata(at),
            (Self::Error(at), "availability") => Self::Availability(at),
            (Self::Metadata(at), "headers") => Self::Headers(at),
            _ => return None,
        })
    }
}

/// Where a value goes as it is read.
enum Target<'s> {
    Object(&'s mut Said, Place),
    Field(&'s mut Field),
}

impl Target<'_> {
    fn take(self, value: Value) {
        match self {
            Self::Field(field) => field.0 = Some(value),
            // Not OpenRouter's envelope, but a usual one: the error is its message.
            Self::Object(said, Place::Error(at)) => {
                said.errors[at].there = true;
                said.errors[at].message.0 = Some(value);
            }
            Self::Object(..) => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Target<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Target<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (said, place) = match self {
            Self::Object(said, place) => (said, place),
            Self::Field(field) => {
                field.0 = Some(Value::Compound);
                return IgnoredAny.visit_map(map).map(drop);
            }
        };
        if let Place::Error(at) = place {
            said.errors[at].there = true;
            said.errors[at].object = true;
        }
        while let Some(name) = map.next_key::<String>()? {
            if let Some(place) = place.enter(&name) {
                map.next_value_seed(Target::Object(said, place))?;
            } else if let Some(field) = said.slot(place, &name) {
                map.next_value_seed(Target::Field(field))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.take(Value::Compound);
        IgnoredAny.visit_seq(seq).map(drop)
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(Value::Text(text.to_owned()));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.take(Value::Number(number));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "times in milliseconds and statuses are exact in 53 bits")]
    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.take(Value::Number(number as f64));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "negative numbers are of no use here")]
    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.take(Value::Number(number as f64));
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        self.take(Value::Flag(flag));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
