//! What stays with its key: conversations for a while, resources for as long as they are remembered.

use super::KeyName;
use super::state::Fact;
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

    /// What changed since the last call and is to be remembered: resources other than generations, each with the name
    /// of its key as value; cheap when nothing did.
    #[must_use]
    pub fn take_facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Takes over what an earlier process remembered: kind, id and value of its facts, those of the resources first
    /// noted first. Facts of other kinds are left alone.
    pub fn restore(&self, _facts: &[(String, String, String)], _now: Time) {}

    /// Takes over what the ledger knows of generations: the id and the name of the key, oldest first.
    pub fn restore_generations<I, K>(&self, _made: impl IntoIterator<Item = (I, K)>)
    where
        I: AsRef<str>,
        K: AsRef<str>,
    {
    }
}
