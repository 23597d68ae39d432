//! What a simulator is to play: its accounts, keys and models, how fast it speaks, what goes wrong.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use crate::clock::{Clock, Time};

/// Nano-dollars in a dollar.
const USD: i64 = 1_000_000_000;

/// All that a [`Simulator`](super::Simulator) is to play.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The accounts and their keys.
    pub accounts: Vec<Account>,
    /// The models on offer.
    pub models: Vec<Model>,
    /// How fast answers come.
    pub pace: Pace,
    /// What goes wrong, looked through in order for each request.
    pub faults: Vec<Fault>,
    /// Headers that every answer carries besides `OpenRouter`'s own.
    pub headers: Vec<(String, String)>,
    /// The time of day that windows and limits follow.
    pub clock: Clock,
    /// By how many milliseconds the simulator's clock is ahead of `clock`.
    pub clock_offset_ms: i64,
    /// How long after its end a generation is still unknown to `GET /generation`.
    pub generation_delay: Duration,
    /// Whether a chat stream's usage stands on the chunk with `finish_reason` instead of on one of its own;
    /// both are seen live.
    pub usage_with_finish: bool,
    /// Whether `GET /credits` answers keys that are not management keys.
    pub open_credits: bool,
    /// How long after a request to a free model `GET /key` counts it.
    pub key_lag: Duration,
    /// What stands before `/api/v1` in the URLs of videos; nothing makes them relative. Both occur in
    /// `OpenRouter`'s documentation.
    pub url_origin: String,
    /// What it does in another way than it usually does.
    pub quirks: Vec<Quirk>,
    /// How many bytes of each request's body are remembered.
    pub keep_body: usize,
    /// How many attempts are remembered, besides those that wait for their answer; the oldest are forgotten first.
    pub keep_attempts: usize,
}

impl Default for Scenario {
    /// Three accounts of one key each, `ann`, `ben` and `cay`, with 100 dollars each, at full speed.
    fn default() -> Self {
        Self::with_keys(&["ann", "ben", "cay"])
    }
}

impl Scenario {
    /// One account with 100 dollars for each of the keys `names`.
    #[must_use]
    pub fn with_keys(names: &[&str]) -> Self {
        Self {
            accounts: names.iter().map(|name| Account::new(name).key(Key::new(name))).collect(),
            models: Model::samples(),
            pace: Pace::default(),
            faults: Vec::new(),
            headers: Vec::new(),
            clock: Clock::system(),
            clock_offset_ms: 0,
            generation_delay: Duration::ZERO,
            usage_with_finish: false,
            open_credits: false,
            key_lag: Duration::ZERO,
            url_origin: "https://openrouter.ai".to_owned(),
            quirks: Vec::new(),
            keep_body: 1 << 20,
            keep_attempts: 100_000,
        }
    }

    /// The same with one more fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The same with one more quirk.
    #[must_use]
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    /// All keys, account by account.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.accounts.iter().flat_map(|account| &account.keys)
    }
}

/// Something that `OpenRouter` was seen to do in two ways, or that its documentation leaves open: the rarer way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// `GET /key` tells no more than it did in 2025.
    ShortKey,
    /// A generation or another resource is known to the key that made it alone, not to all keys of its account.
    OwnedByKey,
    /// A spent cap of a key is a 402, as newer documentation has it, instead of the 403 seen live.
    CapsAre402,
    /// A stream is refused as its first event, under status 200, as was seen in 2025.
    DenialsInside,
}

/// An account; credits and the quota of free models belong to it.
#[derive(Clone, Debug)]
pub struct Account {
    /// `user_…`, made from the name given.
    pub id: String,
    /// `org_…`, where the account is an organization's.
    pub organization: Option<String>,
    /// Credits ever bought, nano-dollars.
    pub credits: i64,
    /// Requests to `:free` models in a whole minute (20: `OpenRouter` docs, Limits page).
    pub free_per_minute: u32,
    /// Requests to `:free` models in a UTC day; `None` follows the credits bought: 50, or 1000 from 9 dollars on
    /// (the Limits page says 10).
    pub free_per_day: Option<u32>,
    /// Requests to `:free` models already counted today when the simulator starts.
    pub free_used: u32,
    /// What paid requests in flight may reserve together, nano-dollars; `None` bounds nothing (`OpenRouter` docs,
    /// Limits page: newer accounts and those with little credit).
    pub in_flight_budget: Option<i64>,
    /// Its keys.
    pub keys: Vec<Key>,
}

impl Account {
    /// An account with 100 dollars and no keys yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: format!("user_{name}"),
            organization: None,
            credits: 100 * USD,
            free_per_minute: 20,
            free_per_day: None,
            free_used: 0,
            in_flight_budget: None,
            keys: Vec::new(),
        }
    }

    /// The same with one more key.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// The same with `nano` nano-dollars of credits ever bought.
    #[must_use]
    pub fn credits(mut self, nano: i64) -> Self {
        self.credits = nano;
        self
    }

    /// The same with `left` requests to `:free` models left today.
    #[must_use]
    pub fn free_left(mut self, left: u32) -> Self {
        self.free_used = self.daily_free().saturating_sub(left);
        self
    }

    /// How many requests to `:free` models a UTC day allows.
    #[must_use]
    pub fn daily_free(&self) -> u32 {
        let by_credits = if self.credits >= 9 * USD { 1000 } else { 50 };
        self.free_per_day.unwrap_or(by_credits)
    }
}

/// A key as `OpenRouter` knows it.
#[derive(Clone)]
pub struct Key {
    /// What tests call it; it never travels.
    pub name: String,
    /// `sk-or-v1-…`, made from the name so that it stands nowhere in the sources.
    pub secret: String,
    /// Its spending cap, nano-dollars.
    pub limit: Option<i64>,
    /// When the cap starts afresh.
    pub limit_reset: Option<Reset>,
    /// Switched off by its owner: 401.
    pub disabled: bool,
    /// A management key: it may ask for credits and keys, but not for inference.
    pub management: bool,
    /// From then on it is unknown: 401.
    pub expires: Option<Time>,
}

/// When a key's cap starts afresh, in UTC; weeks start on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At midnight.
    Daily,
    /// On Monday.
    Weekly,
    /// On the first of the month.
    Monthly,
}

impl Key {
    /// A key without limits.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let digest = Sha256::digest(format!("hermux simulator key {name}"));
        Self {
            name: name.to_owned(),
            secret: format!("sk-or-v1-{}", super::hex(&digest)),
            limit: None,
            limit_reset: None,
            disabled: false,
            management: false,
            expires: None,
        }
    }

    /// The same with a spending cap of `nano` nano-dollars, in all or for each `reset`.
    #[must_use]
    pub fn limit(mut self, nano: i64, reset: Option<Reset>) -> Self {
        self.limit = Some(nano);
        self.limit_reset = reset;
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A model; one whose id ends in `:free` costs nothing and counts against the account's quota.
#[derive(Clone, Debug)]
pub struct Model {
    /// `author/slug` or `author/slug:variant`.
    pub id: String,
    /// The provider that is said to have answered.
    pub provider: String,
    /// The price of a token read, nano-dollars.
    pub prompt_price: i64,
    /// The price of a token written, nano-dollars.
    pub completion_price: i64,
    /// The price of a token read that the account's last turn of the same conversation made warm, nano-dollars;
    /// `None` caches nothing.
    pub cached_price: Option<i64>,
    /// The longest context, tokens.
    pub context: u64,
    /// The longest answer, tokens; also what a request without `max_tokens` reserves.
    pub max_output: u64,
    /// How many tokens an answer is drawn out to; `None` leaves it at what it has to say.
    pub answer_tokens: Option<usize>,
    /// Whether it makes embeddings instead of text.
    pub embedding: bool,
}

impl Model {
    /// A model that costs `prompt_price` and `completion_price` nano-dollars a token.
    #[must_use]
    pub fn new(id: &str, provider: &str, prompt_price: i64, completion_price: i64) -> Self {
        Self {
            id: id.to_owned(),
            provider: provider.to_owned(),
            prompt_price,
            completion_price,
            cached_price: None,
            context: 128_000,
            max_output: 16_384,
            answer_tokens: None,
            embedding: false,
        }
    }

    /// The models of the default scenario.
    #[must_use]
    pub fn samples() -> Vec<Self> {
        vec![
            Self::new("openai/gpt-4o-mini", "OpenAI", 150, 600),
            Self::new("anthropic/claude-sonnet-4.5", "Anthropic", 3_000, 15_000),
            Self::new("deepseek/deepseek-chat", "DeepSeek", 270, 1_100),
            Self::new("deepseek/deepseek-chat:free", "DeepSeek", 0, 0),
            Self::new("meta-llama/llama-3.3-70b-instruct:free", "Together", 0, 0),
            Self { embedding: true, ..Self::new("openai/text-embedding-3-small", "OpenAI", 20, 0) },
        ]
    }

    /// Whether it is one of the free models.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.id.ends_with(":free")
    }
}

/// How fast answers come; the default is at once.
#[derive(Clone, Debug)]
pub struct Pace {
    /// From the end of the request to the head of the answer.
    pub head: Duration,
    /// From the head to the first token.
    pub first_token: Duration,
    /// Between two tokens.
    pub token: Duration,
    /// While nothing else comes, a sign of life this often: `: OPENROUTER PROCESSING` in streams, blank lines
    /// before JSON.
    pub keep_alive: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            head: Duration::ZERO,
            first_token: Duration::ZERO,
            token: Duration::ZERO,
            keep_alive: Duration::from_millis(500),
        }
    }
}

impl Pace {
    /// A pace of `tokens` tokens a second, at least one.
    #[must_use]
    pub fn tokens_per_second(tokens: u32) -> Self {
        Self { token: Duration::from_secs(1) / tokens.max(1), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Key, Scenario};

    #[test]
    fn debug_of_a_scenario_shows_no_key() {
        let scenario = Scenario::default();
        let shown = format!("{scenario:?}");
        assert!(shown.contains("ann") && !shown.contains("sk-or"), "{shown}");
    }

    #[test]
    fn keys_have_openrouters_form() {
        let key = Key::new("ann");
        assert_eq!(key.secret.len(), "sk-or-v1-".len() + 64);
        assert_ne!(key.secret, Key::new("ben").secret);
    }

    #[test]
    fn nine_dollars_unlock_a_thousand_free_requests() {
        assert_eq!(Account::new("a").credits(8_999_999_999).daily_free(), 50);
        assert_eq!(Account::new("a").credits(9_000_000_000).daily_free(), 1000);
    }
}
