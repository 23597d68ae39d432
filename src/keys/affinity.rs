//! What stays with its key: conversations for a while, resources for as long as they are remembered.

use super::KeyName;
use crate::clock::Time;

/// Conversations and resources and their keys; bounded, expiring. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Affinity;

impl Affinity {
    /// The key that served the last turn of a conversation, where that was less than ten minutes ago.
    #[must_use]
    pub fn conversation(&self, _conversation: u64, _now: Time) -> Option<KeyName> {
        None
    }

    /// Notes that `key` served a turn of a conversation.
    pub fn keep(&self, _conversation: u64, _key: &KeyName, _now: Time) {}

    /// The key that made a resource.
    #[must_use]
    pub fn owner(&self, _resource: &str) -> Option<KeyName> {
        None
    }

    /// Notes that `key` made a resource.
    pub fn own(&self, _resource: &str, _key: &KeyName, _now: Time) {}
}
