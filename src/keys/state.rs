//! What the pool shows of itself, and what of it outlives the process; plain data.

use serde::{Deserialize, Serialize};

use super::KeyName;
use super::need::Why;
use crate::clock::Time;

/// One thing to be remembered across restarts; a later one with the same kind and id replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What kind of thing: `account`, `key`.
    pub kind: &'static str,
    /// The name of the key, or the id of the account.
    pub id: Box<str>,
    /// What is known of it, in a form of the pool's own; none to forget it.
    pub value: Option<String>,
}

/// The pool at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PoolState {
    /// The keys, in the file's order.
    pub keys: Vec<KeyState>,
}

/// One key at one moment. Times are milliseconds since 1970 (UTC).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeyState {
    /// Its name.
    pub name: String,
    /// A name for its account that tells no id: the keys of one account share it; none where it is not known.
    pub account: Option<String>,
    /// Attempts today.
    pub used_today: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Spent today, nano-dollars.
    pub cost_today: i64,
    /// Free requests of its account left in this minute; none where no limit is known.
    pub free_minute_left: Option<u64>,
    /// Free requests of its account left in this UTC day; none where no limit is known.
    pub free_day_left: Option<u64>,
    /// How many free requests its account has in a UTC day; none where that is not known.
    #[serde(default)]
    pub free_day_limit: Option<u64>,
    /// Left of its cap, nano-dollars; none where it has none or none is known.
    pub cap_left: Option<i64>,
    /// Whether its account never bought credits; none where that is not known.
    #[serde(default)]
    pub free_tier: Option<bool>,
    /// When it expires.
    pub expires_ms: Option<i64>,
    /// What rests, and until when; empty when nothing does.
    pub rests: Vec<RestState>,
}

/// As much of a key as is worth a look now and then; cheap, so that thousands of keys are looked at in a moment.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Its name.
    pub name: KeyName,
    /// Attempts today.
    pub used_today: u64,
    /// What of it rests that `GET /key` may tell the end of: refused, cap, credits; and until when, where that is known.
    pub rests: Vec<(Why, Option<Time>)>,
}

/// Something that rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestState {
    /// What rests: `free`, `paid`, `other` (requests that run no model) or `all`.
    pub what: String,
    /// The reason, a word such as `free_day`.
    pub why: String,
    /// Until when; none where it needs a person.
    pub until_ms: Option<i64>,
}

/// Whether a key would be chosen now, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The name of the key.
    pub name: String,
    /// Its place in the order of choice, from 1; none where it can't serve.
    pub place: Option<usize>,
    /// What keeps it from serving.
    pub why: Option<Why>,
    /// When that ends.
    pub until_ms: Option<i64>,
}
