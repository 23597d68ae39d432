//! What an error answer means: whose fault it is, of what kind, and until when.

use std::fmt;
use std::sync::LazyLock;

use http::{HeaderMap, StatusCode};
use memchr::memmem::{self, Finder};

use crate::clock::Time;

use super::account::Period;
use super::json::Scanner;
use said::{ErrorSaid, Said};

mod cause;
mod said;
#[cfg(test)]
mod tests;
mod until;

/// What an error answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is at fault, and so should rest.
    pub whose: Whose,
    /// What happened.
    pub kind: Kind,
    /// When its cause ends, as the answer tells or its kind implies; at least one second ahead. A hint beyond the
    /// next UTC midnight is believed for [`Kind::KeyCap`] only. None where a person ends it, or nobody knows.
    pub until: Option<Time>,
    /// The HTTP status, or the one that the error inside a 200 names; 500 where it names none.
    pub status: u16,
    /// Whether the account's own provider key was used: then a provider's fault is met by this account alone.
    pub byok: bool,
    /// `user_id` beside the error: names the account (`OpenRouter` API reference, error responses).
    pub user_id: Option<String>,
}

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The key alone.
    Key,
    /// The account that owns the key.
    Account,
    /// All the `:free` models of the account, while its paid ones go on.
    FreeModels,
    /// The model, or the provider behind it.
    Model,
    /// This request: nothing should rest.
    Request,
    /// What stands before `OpenRouter`: nothing of ours.
    Edge,
    /// A 429 that nothing identifies.
    Unknown,
}

/// What happened, as far apart as it is to be treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The key is unknown, deleted, expired or switched off. A management key used for inference was seen live
    /// to be answered the same.
    KeyRefused,
    /// The answer says that the key is a management key, which serves no inference.
    ManagementKey,
    /// The key has spent its cap.
    KeyCap(Resets),
    /// The account has no credits; below zero its free models are refused too (`OpenRouter` docs, Limits page).
    NoCredits,
    /// More than what is left pays for; a smaller request may pass.
    TooDear(Budget),
    /// Requests in flight hold what is left of the account's credits.
    InFlight,
    /// The account's requests to free models in this minute are used up.
    FreePerMinute {
        /// How many there may be, where the answer tells.
        limit: Option<u32>,
    },
    /// The account's requests to free models in this UTC day are used up.
    FreePerDay {
        /// How many there may be, where the answer tells.
        limit: Option<u32>,
    },
    /// A provider's rate limit, or all providers of a model at capacity.
    ProviderBusy,
    /// A provider or `OpenRouter` itself failed or timed out.
    ProviderDown,
    /// A provider refused, for other reasons than its load.
    ProviderRefused,
    /// Moderation, a guardrail or the region.
    Blocked,
    /// A 403 that nothing identifies, such as a budget of the workspace.
    Forbidden,
    /// The account's privacy settings leave no provider for this model.
    DataPolicy,
    /// An endpoint that wants a management key.
    ManagementOnly,
    /// No such model, or none that anybody serves.
    UnknownModel,
    /// Any other fault of the request.
    BadRequest,
    /// A page or a text instead of `OpenRouter`'s JSON, mostly from Cloudflare.
    Edge,
    /// A 429 that nothing identifies.
    Unidentified,
}

/// When a key's cap is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resets {
    /// At the end of each such period.
    Every(Period),
    /// Not by itself: it is a cap of all time.
    Never,
    /// The answer does not say; `GET /key` may.
    Untold,
}

/// What a request was too dear for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// The account's credits.
    Account,
    /// The key's cap.
    Key,
}

/// Which other key may serve the same request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Another {
    /// None: it would meet the same.
    No,
    /// Any other key.
    Key,
    /// A key of another account.
    Account,
}

impl Fault {
    fn new(kind: Kind, status: u16, said: &Said, headers: &HeaderMap, now: Time) -> Self {
        let error = said.error();
        Self {
            whose: kind.whose(),
            kind: kind.with_limit(error, headers),
            until: until::until(kind, error, headers, now),
            status,
            byok: error.is_byok.is_true(),
            user_id: said.user_id.text().filter(|id| id.len() <= LONGEST_ID).map(str::to_owned),
        }
    }

    /// Which other key may serve the same request now.
    #[must_use]
    pub fn another_key_helps(&self) -> Another {
        match self.kind {
            Kind::KeyRefused
            | Kind::ManagementKey
            | Kind::KeyCap(_)
            | Kind::TooDear(Budget::Key)
            | Kind::Unidentified => Another::Key,
            Kind::NoCredits
            | Kind::TooDear(Budget::Account)
            | Kind::InFlight
            | Kind::FreePerMinute { .. }
            | Kind::FreePerDay { .. }
            | Kind::Forbidden
            | Kind::DataPolicy => Another::Account,
            Kind::ProviderBusy | Kind::ProviderDown | Kind::ProviderRefused if self.byok => Another::Account,
            Kind::ProviderBusy
            | Kind::ProviderDown
            | Kind::ProviderRefused
            | Kind::Blocked
            | Kind::ManagementOnly
            | Kind::UnknownModel
            | Kind::BadRequest
            | Kind::Edge => Another::No,
        }
    }

    /// Whether the same way may serve the same request a moment later, though not before
    /// [`until`](Self::until): after a provider's or the edge's failure, once, before the first byte.
    #[must_use]
    pub fn retry_same_route_once(&self) -> bool {
        match self.kind {
            Kind::ProviderDown => true,
            // Below 500 it is a block of our address, or a page of its own.
            Kind::Edge => self.status == 408 || self.status >= 500,
            _ => false,
        }
    }
}

/// The longest id that is kept, bytes; `user_…` has about 32.
const LONGEST_ID: usize = 128;

impl Kind {
    fn whose(self) -> Whose {
        match self {
            Self::KeyRefused | Self::ManagementKey | Self::KeyCap(_) => Whose::Key,
            Self::NoCredits | Self::InFlight => Whose::Account,
            Self::FreePerMinute { .. } | Self::FreePerDay { .. } => Whose::FreeModels,
            Self::ProviderBusy | Self::ProviderDown => Whose::Model,
            Self::TooDear(_)
            | Self::ProviderRefused
            | Self::Blocked
            | Self::Forbidden
            | Self::DataPolicy
            | Self::ManagementOnly
            | Self::UnknownModel
            | Self::BadRequest => Whose::Request,
            Self::Edge => Whose::Edge,
            Self::Unidentified => Whose::Unknown,
        }
    }

    /// Adds to the kinds that have one the limit that the answer tells.
    fn with_limit(self, error: &ErrorSaid, headers: &HeaderMap) -> Self {
        let header = || headers.get("x-ratelimit-limit")?.to_str().ok()?.trim().parse().ok();
        let limit = || error.limit.whole().or_else(header).and_then(|limit| u32::try_from(limit).ok());
        match self {
            Self::FreePerMinute { .. } => Self::FreePerMinute { limit: limit() },
            Self::FreePerDay { .. } => Self::FreePerDay { limit: limit() },
            other => other,
        }
    }
}

impl Kind {
    /// What it is called in logs and metrics.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::KeyRefused => "key refused",
            Self::ManagementKey => "management key",
            Self::KeyCap(_) => "key cap spent",
            Self::NoCredits => "account out of credits",
            Self::TooDear(_) => "request too dear",
            Self::InFlight => "credits held by requests in flight",
            Self::FreePerMinute { .. } => "free requests of this minute used up",
            Self::FreePerDay { .. } => "free requests of this day used up",
            Self::ProviderBusy => "provider at its limit",
            Self::ProviderDown => "provider down",
            Self::ProviderRefused => "provider refused",
            Self::Blocked => "request blocked",
            Self::Forbidden => "request forbidden",
            Self::DataPolicy => "no provider within the account's data policy",
            Self::ManagementOnly => "management key needed",
            Self::UnknownModel => "no such model",
            Self::BadRequest => "bad request",
            Self::Edge => "answer of the edge",
            Self::Unidentified => "unidentified rate limit",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Says what is wrong with an answer; none where its status is below 400.
///
/// Of `body` at most the first 64 KiB are read. It may be empty, cut off, or anything at all.
#[must_use]
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Time) -> Option<Fault> {
    let status = status.as_u16();
    if status < 400 {
        return None;
    }
    let head = said::head(body);
    let said = Said::read(head);
    let kind = match head.first() {
        // OpenRouter always answers with JSON, Cloudflare with a page, a line of text, or nothing.
        Some(b'{' | b'[' | b'"') => cause::kind(status, &said),
        Some(_) => Kind::Edge,
        None if status >= 500 => Kind::Edge,
        None => cause::kind(status, &said),
    };
    Some(Fault::new(kind, status, &said, headers, now))
}

/// Whether `json`, a JSON object or its beginning, tells of an error: its first member `error` is an object, and not null.
/// An answer whose bytes have no such name costs one search.
#[must_use]
pub fn has_error(json: &[u8]) -> bool {
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
    let mut is_there = false;
    if NAME.find(json).is_some() {
        Scanner::new(json).object(|scanner, name| {
            if name != b"error" {
                return scanner.skip();
            }
            is_there = scanner.peek()? == b'{';
            // What stands behind it changes nothing.
            None
        });
    }
    is_there
}

/// Says what is wrong inside an answer with status 200: `data` is its JSON body, or the data of the first event
/// of its stream, in any dialect. None where it tells of no error.
///
/// Of `data` at most the first 64 KiB are read.
#[must_use]
pub fn classify_event(data: &[u8], now: Time) -> Option<Fault> {
    // Most answers tell of none, and need no parsing.
    let head = said::head(data);
    if memmem::find(head, b"error\"").is_none() && memmem::find(head, b"response.failed").is_none() {
        return None;
    }
    let said = Said::read(head);
    if !said.fails() {
        return None;
    }
    let named = cause::status_named(&said);
    let status = named.unwrap_or_else(|| cause::status_meant(&said));
    let kind = match cause::kind(status, &said) {
        // OpenRouter refuses a key, and an account without credits, before a stream begins; inside one a word
        // such as `authentication` also stands for a provider's refusal (OpenRouter docs, Errors page).
        Kind::KeyRefused | Kind::NoCredits if named.is_none() && !cause::identified(&said) => {
            Kind::ProviderRefused
        }
        kind => kind,
    };
    Some(Fault::new(kind, status, &said, &HeaderMap::new(), now))
}
