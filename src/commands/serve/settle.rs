//! Asks `GET /generation` what answers cost that did not say it themselves: cut, left by their callers, or without a body to
//! say it in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{Clock, Time};
use crate::commands::ask::Asker;
use crate::keys::Key;
use crate::ledger::{Found, Unsettled, Usage};
use crate::openrouter::generation::billed;
use crate::proxy::{Shared, booked};

/// How many questions may be open at once.
const OPEN: usize = 2;

/// How long after one try the next comes. The first comes half a second after the end: a generation is not known at once
/// (clients that ask for it wait as long).
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1_500),
    Duration::from_secs(8),
    Duration::from_secs(50),
    Duration::from_secs(9 * 60),
];

/// The same of videos behind those: what a job costs is known when it is done, so the last try comes a day after the first.
const PAUSES_OF_VIDEOS: [Duration; 4] = [
    Duration::from_secs(20 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(18 * 3_600),
];

/// How often the queue is looked at while something is due or new.
const LOOK: Duration = Duration::from_millis(100);

/// How many of the queue are read at a time.
const READ: u32 = 64;

/// What is needed to ask.
pub(super) struct Settle {
    asking: Asking,
    /// The keys of a changed file.
    reloads: UnboundedReceiver<Vec<Key>>,
}

/// What one question takes.
#[derive(Clone)]
struct Asking {
    keys: Arc<HashMap<String, Key>>,
    asker: Asker,
}

fn by_name(keys: Vec<Key>) -> Arc<HashMap<String, Key>> {
    Arc::new(keys.into_iter().map(|key| (key.name().as_str().to_owned(), key)).collect())
}

impl Settle {
    /// Prepares to ask with `keys`; asks nothing yet.
    pub(super) fn new(asker: Asker, keys: Vec<Key>, reloads: UnboundedReceiver<Vec<Key>>) -> Self {
        Self { asking: Asking { keys: by_name(keys), asker }, reloads }
    }

    /// Empties the queue for as long as it is polled.
    pub(super) async fn run(mut self, shared: Arc<Shared>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = JoinSet::new();
        let mut queue = Queue::default();
        loop {
            tokio::select! {
                Some(keys) = self.reloads.recv() => self.asking.keys = by_name(keys),
                Some(done) = open.join_next() => {
                    let Ok((entry, found)) = done else { continue };
                    charge(&shared, &entry, &found);
                    shared.ledger.settle(&entry, found);
                }
                _ = look.tick() => {}
            }
            if open.len() < OPEN {
                queue.look(&shared);
            }
            while open.len() < OPEN {
                let Some(entry) = queue.take(shared.clock.now()) else { break };
                open.spawn(self.asking.clone().ask(entry, shared.clock.clone()));
            }
        }
    }
}

/// Adds what an entry cost to what its caller spent. That was not counted before: only what has no cost is in the queue, and a
/// process that starts takes over what has one.
fn charge(shared: &Shared, entry: &Unsettled, found: &Found) {
    if let Found::Usage(usage) = found
        && let Some(cost @ 1..) = usage.cost
    {
        shared.access.load().spend(&entry.caller, cost, entry.at);
    }
}

impl Asking {
    /// Asks about one entry; with what became of it.
    async fn ask(self, entry: Unsettled, clock: Clock) -> (Unsettled, Found) {
        let billed = match self.keys.get(&entry.key) {
            Some(key) => ask(&self.asker, key, &entry).await,
            None => None,
        };
        // Of a video that is still being made it may say 0.
        let is_final =
            billed.as_ref().is_some_and(|usage| !is_video(&entry.generation) || usage.cost != Some(0));
        let found = match (billed, again(&entry.generation, entry.tries, clock.now())) {
            (Some(usage), next) if is_final || next == Found::Never => Found::Usage(Box::new(usage)),
            (_, next) => next,
        };
        (entry, found)
    }
}

/// What is known of the queue in the database.
#[derive(Debug, Default)]
struct Queue {
    /// How often something was put into it when it was read; none before the first time.
    news: Option<u64>,
    /// The first of it, the last first.
    first: Vec<Unsettled>,
    /// Whether there may be more behind `first`.
    more: bool,
    /// Tries that were taken, while the database may not know what came of them.
    taken: HashSet<(String, u32)>,
}

impl Queue {
    /// Reads it again where something new may be in it.
    fn look(&mut self, shared: &Shared) {
        let news = shared.ledger.unsettled_news();
        if self.news == Some(news) && !(self.more && self.first.is_empty()) {
            return;
        }
        self.news = Some(news);
        self.first = shared.ledger.unsettled(READ);
        self.more = self.first.len() == READ as usize;
        let waiting: HashSet<_> = self.first.iter().map(turn).collect();
        self.taken.retain(|turn| waiting.contains(turn));
        self.first.retain(|entry| !self.taken.contains(&turn(entry)));
        self.first.reverse();
    }

    /// The next that is due.
    fn take(&mut self, now: Time) -> Option<Unsettled> {
        let entry = self.first.pop_if(|entry| entry.due <= now)?;
        self.taken.insert(turn(&entry));
        Some(entry)
    }
}

/// A try of an entry.
fn turn(entry: &Unsettled) -> (String, u32) {
    (entry.generation.clone(), entry.tries)
}

/// What upstream billed for an entry; none where it does not say so, or not yet.
async fn ask(asker: &Asker, key: &Key, entry: &Unsettled) -> Option<Usage> {
    let told = match asker.get(&path(&entry.generation)?, key).await {
        Ok(answer) if answer.status.is_success() => billed(&answer.body),
        Ok(answer) => {
            tracing::debug!(key = %key.name(), "GET /generation told nothing: status {}", answer.status.as_u16());
            None
        }
        Err(problem) => {
            tracing::debug!(key = %key.name(), "GET /generation told nothing: {problem}");
            None
        }
    };
    told.as_ref().map(booked)
}

/// The question about a generation; none where its id is none that a URL takes as it is.
fn path(generation: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    generation.bytes().all(plain).then(|| format!("/generation?id={generation}"))
}

/// Whether it is that of a video (`OpenRouter` API reference: `gen-vid-…`).
fn is_video(generation: &str) -> bool {
    generation.starts_with("gen-vid-")
}

/// When to ask again about a generation, after so many tries before this one.
fn again(generation: &str, tries: u32, now: Time) -> Found {
    let more = if is_video(generation) { PAUSES_OF_VIDEOS.as_slice() } else { &[] };
    match PAUSES.iter().chain(more).nth(tries as usize) {
        Some(pause) => Found::Later { due: now.after(*pause), tries: tries + 1 },
        None => Found::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::{again, path};
    use crate::clock::Time;
    use crate::ledger::Found;

    /// When upstream is asked about a generation of which it tells nothing, milliseconds after its end.
    fn asked(generation: &str) -> Vec<i64> {
        let (mut at, mut tries, mut asked) = (Time(500), 0, vec![500]);
        while let Found::Later { due, tries: next } = again(generation, tries, at) {
            (at, tries) = (due, next);
            asked.push(due.0);
        }
        asked
    }

    #[test]
    fn upstream_is_asked_after_half_a_second_two_ten_a_minute_and_ten_minutes_and_of_videos_for_a_day() {
        let all = [500, 2_000, 10_000, 60_000, 600_000];
        assert_eq!(asked("gen-1"), all);
        let hours = [1_800_000, 3_600_000, 6 * 3_600_000, 24 * 3_600_000];
        assert_eq!(asked("gen-vid-1"), [all.as_slice(), &hours].concat());
    }

    #[test]
    fn an_id_cannot_change_the_question() {
        assert_eq!(path("gen-1_A.b").as_deref(), Some("/generation?id=gen-1_A.b"));
        for id in ["gen-1&x=y", "gen-1#", "gen 1", "gen-é", "../key"] {
            assert_eq!(path(id).filter(|_| !id.starts_with("..")), None, "{id}");
        }
    }
}
