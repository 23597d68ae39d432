//! What stays with its key: conversations for a while, resources for as long as they are remembered.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::{fast, quality};

use super::KeyName;
use super::state::Fact;
use crate::clock::Time;

/// How long a conversation may pause (`OpenRouter` docs, Prompt Caching page: provider sticky routing expires after ten
/// minutes).
const IDLE: Duration = Duration::from_secs(600);

/// The most conversations.
const CONVERSATIONS: usize = 100_000;

/// The most generations; their ids are kept as hashes.
const GENERATIONS: usize = 200_000;

/// The most other resources.
const RESOURCES: usize = 100_000;

/// The kind of the facts that are to be remembered.
const KIND: &str = "resource";

/// Conversations and resources and their keys; bounded, expiring. Clones share it.
///
/// Resources are told as `kind:id`, such as `file:or_file_…`.
#[derive(Clone, Debug, Default)]
pub struct Affinity(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    conversations: Mutex<Recent<(KeyName, Time)>>,
    generations: Mutex<Recent<KeyName>>,
    /// Keyed anew in each process, so that nobody can make two ids collide.
    keyed: quality::RandomState,
    resources: Mutex<Resources>,
    /// Whether there was ever a resource, so that who needs none takes no lock.
    any_resource: AtomicBool,
}

impl Affinity {
    /// The key that served the last turn of a conversation, where that was less than ten minutes ago.
    #[must_use]
    pub fn conversation(&self, conversation: u64, now: Time) -> Option<KeyName> {
        let conversations = lock(&self.0.conversations);
        conversations
            .get(conversation)
            .filter(|(_, last)| now.since(*last) < IDLE)
            .map(|(key, _)| key.clone())
    }

    /// Notes that `key` served a turn of a conversation.
    pub fn keep(&self, conversation: u64, key: &KeyName, now: Time) {
        let mut conversations = lock(&self.0.conversations);
        let forgotten = conversations.put(conversation, (key.clone(), now), CONVERSATIONS);
        // Dropped when nobody waits for it.
        drop(conversations);
        drop(forgotten);
    }

    /// Notes that `key` served the first turn of a conversation. One that opens like another under way does not take
    /// that one's key from it.
    pub fn begin(&self, conversation: u64, key: &KeyName, now: Time) {
        if self.conversation(conversation, now).is_none() {
            self.keep(conversation, key, now);
        }
    }

    /// The key that made a resource.
    #[must_use]
    pub fn owner(&self, resource: &str) -> Option<KeyName> {
        if let Some(id) = generation(resource) {
            return lock(&self.0.generations).get(self.0.keyed.hash_one(id)).cloned();
        }
        if !self.knows_resources() {
            return None;
        }
        lock(&self.0.resources).owners.get(resource).cloned()
    }

    /// Notes that `key` made a resource.
    pub fn own(&self, resource: &str, key: &KeyName, _now: Time) {
        if let Some(id) = generation(resource) {
            return self.own_generation(id, key);
        }
        self.0.any_resource.store(true, Ordering::Relaxed);
        lock(&self.0.resources).own(resource, key, true);
    }

    /// Notes that `key` made the generation `id`, `gen-…`. The ledger remembers it.
    pub fn own_generation(&self, id: &str, key: &KeyName) {
        let id = self.0.keyed.hash_one(id);
        let mut generations = lock(&self.0.generations);
        let forgotten = generations.put(id, key.clone(), GENERATIONS);
        drop(generations);
        drop(forgotten);
    }

    /// Whether there may be resources other than generations that have an owner.
    #[must_use]
    pub fn knows_resources(&self) -> bool {
        self.0.any_resource.load(Ordering::Relaxed)
    }

    /// What changed since the last call and is to be remembered: resources other than generations, each with the name
    /// of its key as value; cheap when nothing did.
    #[must_use]
    pub fn take_facts(&self) -> Vec<Fact> {
        if !self.knows_resources() {
            return Vec::new();
        }
        mem::take(&mut lock(&self.0.resources).changed).into()
    }

    /// Takes over what an earlier process remembered: kind, id and value of its facts, those of the resources first
    /// noted first. Facts of other kinds are left alone.
    pub fn restore(&self, facts: &[(String, String, String)], _now: Time) {
        let mut names = Names::default();
        let mut resources = lock(&self.0.resources);
        for (_, id, value) in facts.iter().filter(|(kind, ..)| kind == KIND) {
            if let Some(key) = names.find(value) {
                resources.own(id, &key, false);
                self.0.any_resource.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Takes over what the ledger knows of generations: the id and the name of the key, oldest first.
    pub fn restore_generations<I, K>(&self, made: impl IntoIterator<Item = (I, K)>)
    where
        I: AsRef<str>,
        K: AsRef<str>,
    {
        let mut names = Names::default();
        for (id, name) in made {
            if let Some(key) = names.find(name.as_ref()) {
                self.own_generation(id.as_ref(), &key);
            }
        }
    }
}

/// The id of a generation, told as `generation:gen-…` or just as `gen-…`.
fn generation(resource: &str) -> Option<&str> {
    resource.strip_prefix("generation:").or_else(|| resource.starts_with("gen-").then_some(resource))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By hashed id. Each request puts something in, so that the hash of the hash is a quick one.
type ById<V> = HashMap<u64, V, fast::RandomState>;

/// What was noted lately, by hashed id: at least the newest half of the most that there may be. When the younger map
/// is full it takes the place of the older, which is forgotten as a whole.
#[derive(Debug)]
struct Recent<V> {
    young: ById<V>,
    old: ById<V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: ById::default(), old: ById::default() }
    }
}

impl<V> Recent<V> {
    fn get(&self, id: u64) -> Option<&V> {
        self.young.get(&id).or_else(|| self.old.get(&id))
    }

    /// Notes `value`, keeping at most `most`; what is forgotten for that comes back.
    fn put(&mut self, id: u64, value: V, most: usize) -> Option<ById<V>> {
        let is_full = self.young.len() >= most / 2 && !self.young.contains_key(&id);
        let forgotten = is_full.then(|| mem::replace(&mut self.old, mem::take(&mut self.young)));
        self.young.insert(id, value);
        forgotten
    }
}

/// Resources and their keys; those noted first are forgotten first.
#[derive(Debug, Default)]
struct Resources {
    owners: HashMap<Arc<str>, KeyName>,
    /// In the order in which they were noted.
    order: VecDeque<Arc<str>>,
    /// What is to be remembered, and not taken yet.
    changed: VecDeque<Fact>,
}

impl Resources {
    fn own(&mut self, resource: &str, key: &KeyName, is_news: bool) {
        match self.owners.get_mut(resource) {
            Some(owner) if owner == key => return,
            Some(owner) => *owner = key.clone(),
            None => {
                let id: Arc<str> = resource.into();
                self.order.push_back(Arc::clone(&id));
                self.owners.insert(id, key.clone());
            }
        }
        if is_news {
            self.change(resource, Some(key));
        }
        if self.order.len() > RESOURCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.owners.remove(&oldest);
            self.change(&oldest, None);
        }
    }

    fn change(&mut self, resource: &str, key: Option<&KeyName>) {
        // Where nobody takes them, they must not pile up.
        if self.changed.len() >= RESOURCES {
            self.changed.pop_front();
        }
        let value = key.map(|key| key.as_str().to_owned());
        self.changed.push_back(Fact { kind: KIND, id: resource.into(), value });
    }
}

/// The names of keys, each held once however often it is read.
#[derive(Default)]
struct Names(HashMap<Box<str>, Option<KeyName>>);

impl Names {
    fn find(&mut self, name: &str) -> Option<KeyName> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let parsed = KeyName::parse(name).ok();
        self.0.insert(name.into(), parsed.clone());
        parsed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Affinity, CONVERSATIONS, GENERATIONS, RESOURCES};
    use crate::clock::Time;
    use crate::keys::KeyName;

    const NOON: Time = Time(1_700_000_000_000);

    fn key(name: &str) -> KeyName {
        KeyName::parse(name).unwrap()
    }

    fn later(seconds: u64) -> Time {
        NOON.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_conversation_stays_until_it_pauses_for_ten_minutes() {
        let affinity = Affinity::default();
        assert_eq!(affinity.conversation(1, NOON), None);
        affinity.keep(1, &key("a"), NOON);
        assert_eq!(affinity.conversation(1, later(599)), Some(key("a")));
        assert_eq!(affinity.conversation(1, later(600)), None);
        affinity.keep(1, &key("a"), later(599));
        assert_eq!(affinity.conversation(1, later(1_100)), Some(key("a")));
        affinity.keep(1, &key("b"), later(1_100));
        assert_eq!(affinity.conversation(1, later(1_100)), Some(key("b")));
        assert_eq!(affinity.conversation(2, later(1_100)), None);
    }

    #[test]
    fn one_that_opens_alike_does_not_take_a_conversations_key() {
        let affinity = Affinity::default();
        affinity.begin(1, &key("a"), NOON);
        affinity.begin(1, &key("b"), later(1));
        assert_eq!(affinity.conversation(1, later(1)), Some(key("a")));
        affinity.begin(1, &key("b"), later(700));
        assert_eq!(affinity.conversation(1, later(700)), Some(key("b")));
    }

    #[test]
    fn conversations_are_bounded_and_the_oldest_go() {
        let affinity = Affinity::default();
        let known = |affinity: &Affinity, range: std::ops::Range<usize>| {
            range.filter(|at| affinity.conversation(*at as u64, NOON).is_some()).count()
        };
        for at in 0..3 * CONVERSATIONS {
            affinity.keep(at as u64, &key("a"), NOON);
        }
        assert!(known(&affinity, 0..3 * CONVERSATIONS) <= CONVERSATIONS);
        let newest = 3 * CONVERSATIONS - CONVERSATIONS / 2;
        assert_eq!(known(&affinity, newest..3 * CONVERSATIONS), CONVERSATIONS / 2);
    }

    #[test]
    fn a_conversation_that_goes_on_outlives_those_that_came_after_it() {
        let affinity = Affinity::default();
        for at in 0..3 * CONVERSATIONS {
            affinity.keep(1 + at as u64, &key("a"), NOON);
            if at % 1_000 == 0 {
                affinity.keep(0, &key("b"), NOON);
            }
        }
        assert_eq!(affinity.conversation(0, NOON), Some(key("b")));
    }

    #[test]
    fn generations_and_resources_have_owners() {
        let affinity = Affinity::default();
        assert!(!affinity.knows_resources());
        affinity.own("generation:gen-1", &key("a"), NOON);
        affinity.own_generation("gen-2", &key("b"));
        assert!(!affinity.knows_resources(), "generations are asked for by their own path");
        affinity.own("file:or_file_1", &key("c"), NOON);
        assert!(affinity.knows_resources());
        for (resource, owner) in [
            ("generation:gen-1", Some("a")),
            ("generation:gen-2", Some("b")),
            ("gen-2", Some("b")),
            ("generation:gen-3", None),
            ("file:or_file_1", Some("c")),
            ("batch:or_file_1", None),
        ] {
            assert_eq!(affinity.owner(resource), owner.map(key), "{resource}");
        }
    }

    #[test]
    fn generations_are_bounded() {
        let affinity = Affinity::default();
        for at in 0..2 * GENERATIONS {
            affinity.own_generation(&format!("gen-{at}"), &key("a"));
        }
        let known =
            (0..2 * GENERATIONS).filter(|at| affinity.owner(&format!("generation:gen-{at}")).is_some());
        assert!((GENERATIONS / 2..=GENERATIONS).contains(&known.count()));
    }

    #[test]
    fn facts_tell_what_is_new_once() {
        let affinity = Affinity::default();
        assert!(affinity.take_facts().is_empty());
        affinity.own("file:1", &key("a"), NOON);
        affinity.own("file:1", &key("a"), NOON);
        affinity.own_generation("gen-1", &key("a"));
        affinity.own("file:1", &key("b"), NOON);
        let facts = affinity.take_facts();
        let told: Vec<_> =
            facts.iter().map(|fact| (fact.kind, &*fact.id, fact.value.as_deref().unwrap())).collect();
        assert_eq!(told, [("resource", "file:1", "a"), ("resource", "file:1", "b")]);
        assert!(affinity.take_facts().is_empty());
    }

    #[test]
    fn the_resource_noted_first_is_forgotten_also_on_disk() {
        let affinity = Affinity::default();
        for at in 0..RESOURCES {
            affinity.own(&format!("file:{at}"), &key("a"), NOON);
        }
        assert_eq!(affinity.take_facts().len(), RESOURCES);
        affinity.own("file:new", &key("b"), NOON);
        let facts = affinity.take_facts();
        let told: Vec<_> = facts.iter().map(|fact| (&*fact.id, fact.value.as_deref())).collect();
        assert_eq!(told, [("file:new", Some("b")), ("file:0", None)]);
        assert_eq!(affinity.owner("file:0"), None);
        assert_eq!(affinity.owner("file:1"), Some(key("a")));
    }

    #[test]
    fn what_was_remembered_comes_back_and_is_no_news() {
        let affinity = Affinity::default();
        let fact = |kind: &str, id: &str, value: &str| (kind.to_owned(), id.to_owned(), value.to_owned());
        affinity.restore(
            &[
                fact("resource", "file:1", "a"),
                fact("key", "file:2", "a"),
                fact("resource", "file:3", ""),
                fact("resource", "video:4", "b c"),
            ],
            NOON,
        );
        assert_eq!(affinity.owner("file:1"), Some(key("a")));
        assert_eq!(affinity.owner("file:2"), None);
        assert_eq!(affinity.owner("file:3"), None);
        assert_eq!(affinity.owner("video:4"), Some(key("b c")));
        assert!(affinity.take_facts().is_empty());
        affinity.restore_generations([("gen-1", "a"), ("gen-2", "a"), ("gen-1", "b"), ("gen-3", "")]);
        assert_eq!(affinity.owner("generation:gen-1"), Some(key("b")));
        assert_eq!(affinity.owner("generation:gen-2"), Some(key("a")));
        assert_eq!(affinity.owner("generation:gen-3"), None);
    }
}
