//! What an earlier process knew: handed from the ledger to the pool and to affinity.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::access::Access;
use crate::access::allowance::UsedUp;
use crate::clock::Time;
use crate::keys::Key;
use crate::keys::affinity::Affinity;
use crate::keys::need::Used;
use crate::keys::pool::KeyPool;
use crate::ledger::{CallerUse, Ledger, UsedToday};
use crate::proxy::{self, Shared};

/// How many generations are looked up for the keys that made them.
const GENERATIONS: u32 = 100_000;

/// How long the ledger may take to write what happened until now.
const FLUSH: Duration = Duration::from_secs(1);

/// The pool of `keys`, knowing what they were used for today and what of it rests.
pub(super) fn pool(keys: Vec<Key>, ledger: &Ledger, now: Time) -> KeyPool {
    let used: HashMap<_, _> =
        ledger.used_at(now).into_iter().map(|(name, used)| (name, plain(used))).collect();
    let pool = KeyPool::resume(keys, &used, now);
    pool.restore(&facts(ledger, &["account", "key"]), now);
    pool
}

/// What callers of `access` used until now, where their use is bounded and was not counted `before` a change of the file.
pub(super) fn callers(access: &mut Access, before: Option<&Access>, ledger: &Ledger, now: Time) {
    let new = match before {
        Some(before) => access.go_on_from(before),
        None => access.counted().cloned().collect(),
    };
    if new.is_empty() {
        return;
    }
    // What is under way to the disk is read back with the rest; if that takes too long, without.
    let _ = ledger.flush(FLUSH);
    let mut used = ledger.callers_at(now, proxy::runs_model);
    for name in new {
        if let Some(CallerUse { requests, cost, minute, .. }) = used.remove(&*name) {
            access.restore(&name, &UsedUp { requests, cost, minute }, now);
        }
    }
}

/// What stays with its key, as far as it was noted.
pub(super) fn affinity(ledger: &Ledger, now: Time) -> Affinity {
    let affinity = Affinity::default();
    affinity.restore(&facts(ledger, &["resource"]), now);
    affinity
}

/// Tells affinity which key made which generation, in a thread of its own: many take a while to read, and whoever asks for
/// one before it is told is served all the same, if later.
pub(super) fn generations(shared: Arc<Shared>) {
    let thread = thread::Builder::new().name("recall".to_owned());
    let spawned =
        thread.spawn(move || shared.affinity.restore_generations(shared.ledger.generations(GENERATIONS)));
    if let Err(error) = spawned {
        tracing::warn!("which key made which generation is not remembered, a thread cannot start: {error}");
    }
}

/// Kind, id and value of what was noted of these kinds, the oldest of each first.
fn facts(ledger: &Ledger, kinds: &[&str]) -> Vec<(String, String, String)> {
    let of_kind = |kind: &&str| {
        let kind = (*kind).to_owned();
        ledger.notes(&kind).into_iter().map(move |(id, value)| (kind.clone(), id, value))
    };
    kinds.iter().flat_map(of_kind).collect()
}

/// What the ledger tells of a key, as the pool takes it.
pub(in crate::commands) fn plain(used: UsedToday) -> Used {
    let UsedToday { attempts, free_today, free_minute, cost } = used;
    Used { attempts, free_today, free_minute, cost }
}
