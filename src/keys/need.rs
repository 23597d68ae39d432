//! What a request needs of a key, what is learned of keys, and what it means that none can serve.

use std::sync::Arc;

use super::KeyName;
use crate::clock::Time;

/// Which of a key's quotas a request draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Runs models that end in `:free`, or the router over them, and no others.
    Free,
    /// Runs a model that is paid for.
    Paid,
    /// Runs no model: catalogues, files, polls.
    Other,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Free, Self::Paid, Self::Other];
}

/// What a request needs of a key.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The model asked for; empty where there is none.
    pub model: &'a str,
    /// What it runs besides.
    pub runs: Runs<'a>,
    /// Which quotas it draws on.
    pub class: Class,
    /// Which key it would like, or has to have.
    pub bind: Bind<'a>,
    /// The names of the keys that its caller may use; none for any.
    pub keys: Option<&'a Arc<[Box<str>]>>,
    /// What this request tried already.
    pub tried: &'a Tried,
}

/// Which models a request runs besides the one that it asks for, for keys that serve some models only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs<'a> {
    /// None: it is of a route that runs no model.
    Nothing,
    /// These, on which it may fall back, or which its plugins and tools use.
    Named(&'a [String]),
    /// It can't be seen, or nobody looked: so a key that serves some models only is not lent for it.
    Unseen,
}

/// Which key a request would like, or has to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bind<'a> {
    /// Any.
    #[default]
    Free,
    /// This one, else another of its account, else any: a conversation.
    Prefer(&'a KeyName),
    /// This one, else another of its account, else none: a resource.
    Only(&'a KeyName),
}

impl Need<'_> {
    /// Whether a key that serves the models of `patterns` alone serves this need: all that it may run is among them. What
    /// runs no model is anybody's; what leaves the choice of one to the account is not.
    pub(super) fn is_among(&self, patterns: &[Box<str>]) -> bool {
        let fits = |model: &str| patterns.iter().any(|pattern| matches(pattern, model));
        patterns.is_empty()
            || match self.runs {
                Runs::Nothing => true,
                Runs::Named([]) => fits(self.model) && !self.model.is_empty(),
                Runs::Named(others) => {
                    (self.model.is_empty() || fits(self.model)) && others.iter().all(|other| fits(other))
                }
                Runs::Unseen => false,
            }
    }

    /// Whether its caller may use the key of this name.
    pub(super) fn may_have(&self, key: &KeyName) -> bool {
        self.keys.is_none_or(|keys| keys.iter().any(|name| **name == *key.as_str()))
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any text, also for none.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((beginning, mut pattern)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(beginning) else { return false };
    // The first place for each part leaves most to those behind it, so none has to be tried twice.
    while let Some((part, rest)) = pattern.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
        pattern = rest;
    }
    text.ends_with(pattern)
}

/// Keys and accounts that one request will not be given again. They don't count for the moment at which a key comes
/// back either, so whoever waits for a key that it tried begins with a new one of these.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Slots of keys.
    pub(super) keys: Vec<usize>,
    /// Slots of keys whose whole accounts are meant.
    pub(super) accounts: Vec<usize>,
}

/// What is to rest after a fault, for the class of request that met it where nothing else is said. Times are moments at
/// which the rest ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The key is refused: until its row changes, or a rare probe (after 15 min, doubling) succeeds.
    Refused,
    /// The key's cap is spent; without a time like [`Rest::Refused`], but a probe each hour.
    Cap(Option<Time>),
    /// The account has no credits: its paid models, after a free request its free ones too; asked again after an hour.
    NoCredits,
    /// Requests in flight hold the account's credits.
    InFlight(Option<Time>),
    /// The account's free requests of this minute are used up.
    FreeMinute {
        /// The end of the window.
        until: Option<Time>,
        /// Its size, where it was told.
        limit: Option<u32>,
    },
    /// The account's free requests of this UTC day are used up.
    FreeDay {
        /// The end of the window.
        until: Option<Time>,
        /// Its size, where it was told.
        limit: Option<u32>,
    },
    /// A 429 that nothing identifies: the key for this class, for the hint or 10 s, doubling to 5 min.
    Unidentified(Option<Time>),
}

/// What `GET /key` told about a key, as plain data; each field may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its account: the organization, else the user who made it.
    pub account: Option<Box<str>>,
    /// What is left of its cap, nano-dollars; none where it has none.
    pub cap_left: Option<i64>,
    /// When its cap resets.
    pub cap_resets: Option<Time>,
    /// When it expires.
    pub expires: Option<Time>,
    /// The account never bought credits.
    pub free_tier: Option<bool>,
    /// Free requests of the account in this UTC day: how many there were.
    pub free_used: Option<u64>,
    /// Free requests of the account in a UTC day: how many there may be.
    pub free_limit: Option<u64>,
    /// It is a management key, which serves no inference.
    pub management: bool,
}

/// A question to `GET /key` about a key, so that its answer can be told from what came since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// When it was asked.
    pub asked: Time,
    /// What the key had spent by then since the pool began, nano-dollars.
    pub spent: i64,
}

/// What a key was used for before the pool began, as plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Attempts in this UTC day.
    pub attempts: u64,
    /// Attempts on free models in this UTC day.
    pub free_today: u64,
    /// Attempts on free models in this minute of the clock.
    pub free_minute: u64,
    /// Spent in this UTC day, nano-dollars.
    pub cost: i64,
}

/// That no key can serve a request now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// When the first key that could serve it comes back, or may be tried again; none where that needs a person.
    pub until: Option<Time>,
    /// When the first comes back that does not [need a person](Why::needs_person), as far as anybody knows.
    pub back: Option<Time>,
    /// What holds the keys, with their number; what holds most of them first. Empty when there are no keys.
    pub why: Vec<(Why, usize)>,
}

impl Exhausted {
    /// For these reasons, and time alone changes nothing.
    #[must_use]
    pub fn for_good(why: Vec<(Why, usize)>) -> Self {
        Self { until: None, back: None, why }
    }
}

/// What keeps a key from serving a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its account's free requests of this minute are used up.
    FreeMinute,
    /// Its account's free requests of this UTC day are used up.
    FreeDay,
    /// The first attempt of a new window is under way, and goes alone.
    Probing,
    /// Its account has no credits.
    NoCredits,
    /// Its account's credits are held by requests in flight.
    InFlight,
    /// Its cap is spent until it resets.
    Cap,
    /// Its cap is spent, and no reset of it is known.
    CapForGood,
    /// `OpenRouter` refuses it.
    Refused,
    /// It expired.
    Expired,
    /// It is a management key.
    Management,
    /// It met rate limits that nothing identifies.
    Unidentified,
    /// The operator's `daily_requests` are used up.
    DailyRequests,
    /// The operator's `daily_cost` is used up.
    DailyCost,
    /// The operator switched it off.
    Disabled,
    /// The operator's `models` leave this one out.
    Models,
    /// This request tried it already.
    Tried,
    /// The request has to have another account's.
    Bound,
    /// The caller's access token is not to use it.
    Caller,
}

impl Why {
    /// The word for it, `free_day`: the same as where it is serialized.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::FreeMinute => "free_minute",
            Self::FreeDay => "free_day",
            Self::Probing => "probing",
            Self::NoCredits => "no_credits",
            Self::InFlight => "in_flight",
            Self::Cap => "cap",
            Self::CapForGood => "cap_for_good",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Management => "management",
            Self::Unidentified => "unidentified",
            Self::DailyRequests => "daily_requests",
            Self::DailyCost => "daily_cost",
            Self::Disabled => "disabled",
            Self::Models => "models",
            Self::Tried => "tried",
            Self::Bound => "bound",
            Self::Caller => "caller",
        }
    }

    /// Whether it ends only when somebody does something, as far as a caller may wait for it.
    #[must_use]
    pub fn needs_person(self) -> bool {
        match self {
            Self::NoCredits
            | Self::CapForGood
            | Self::Refused
            | Self::Expired
            | Self::Management
            | Self::Disabled
            | Self::Models
            | Self::Tried
            | Self::Bound
            | Self::Caller => true,
            Self::FreeMinute
            | Self::FreeDay
            | Self::Cap
            | Self::Probing
            | Self::InFlight
            | Self::Unidentified
            | Self::DailyRequests
            | Self::DailyCost => false,
        }
    }

    /// The reason in words, to stand behind a colon.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::FreeMinute => "its account's free requests of this minute are used up",
            Self::FreeDay => "its account's free requests of this day (UTC) are used up",
            Self::Probing => "the first request of a new window goes alone, and is under way",
            Self::NoCredits => "its account has no credits",
            Self::InFlight => "requests in flight hold its account's credits",
            Self::Cap => "its cap is spent",
            Self::CapForGood => "its cap is spent, and no reset of it is known",
            Self::Refused => "OpenRouter refuses it",
            Self::Expired => "it expired",
            Self::Management => "it is a management key, which serves no inference",
            Self::Unidentified => "it met rate limits that nothing explains",
            Self::DailyRequests => "its daily_requests in tokens.csv are used up",
            Self::DailyCost => "its daily_cost in tokens.csv is used up",
            Self::Disabled => "it is switched off in tokens.csv",
            Self::Models => "its models in tokens.csv leave this one out",
            Self::Tried => "this request tried it already",
            Self::Bound => "this request has to have a key of another account",
            Self::Caller => "its caller's keys in allow.txt leave it out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Why, matches};

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b:free", false),
            ("a/b", "A/b", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a/*", "a/b", true),
            ("a/*", "b/a/b", false),
            ("*:free", "a/b:free", true),
            ("*:free", "a/b", false),
            ("a/*:free", "a/b:free", true),
            ("a/*:free", "a/:free", true),
            ("ab*ba", "aba", false),
            ("*ab*ab*", "xabyabz", true),
            ("*ab*ab*", "xabz", false),
            ("*ab*b", "aabb", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_word_is_the_serialized_one() {
        for why in [Why::FreeMinute, Why::NoCredits, Why::InFlight, Why::DailyRequests, Why::Bound] {
            assert_eq!(serde_json::to_value(why).unwrap(), why.word());
        }
    }
}
