//! Once a day for each key: whether the ledger agrees with what `GET /key` tells.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Day;
use crate::commands::reconcile::{Books, Comparison, SEEN, Seen, Verdict};
use crate::commands::stats::dollars;
use crate::keys::Key;
use crate::openrouter::account::{KeyInfo, Period};
use crate::proxy::Shared;

/// What the checks know; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Check {
    data_dir: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    seen: Seen,
    /// The day on which a key was last found to be well, or was warned of.
    done: HashMap<String, Day>,
    /// What looked as if it was spent outside when it was last looked at, nano-dollars.
    suspect: HashMap<String, i64>,
}

impl Check {
    /// Remembers since when the keys are known.
    pub(super) fn new(data_dir: PathBuf, shared: &Shared) -> Self {
        let seen = Seen::new(shared.ledger.notes(SEEN));
        let state = State { seen, done: HashMap::new(), suspect: HashMap::new() };
        Self { data_dir, state: Arc::new(Mutex::new(state)) }
    }

    /// Takes in what upstream told of `key`; what takes long is done beside.
    pub(super) fn told(&self, shared: &Shared, key: &Key, info: &KeyInfo) {
        let now = shared.clock.now();
        let name = key.name().as_str().to_owned();
        let seen = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(seen) = state.seen.since(key) else {
                let value = state.seen.add(key, now);
                shared.ledger.note(SEEN, &name, Some(value));
                return;
            };
            if state.done.get(&name) == Some(&now.day()) || !shared.ledger.is_writable() {
                return;
            }
            seen
        };
        let (check, key, info) = (self.clone(), key.clone(), info.clone());
        tokio::task::spawn_blocking(move || {
            match Books::read(&check.data_dir, std::slice::from_ref(&name), now) {
                Ok(books) => check.found(&books.compare(&key, &info, Some(seen)), now.day()),
                Err(error) => tracing::debug!("the ledger could not be compared with GET /key: {error}"),
            }
        });
    }

    fn found(&self, comparison: &Comparison, today: Day) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = &comparison.key;
        match comparison.verdict {
            Verdict::Outside => {
                // An answer that is passing just now may be billed and not be counted yet: then it is told next time.
                let passing = comparison.counted[0].attempts > 0;
                let before = state.suspect.insert(key.clone(), comparison.difference);
                if passing && before.is_none_or(|before| before > comparison.difference) {
                    return;
                }
                tracing::warn!("{}", leak(comparison));
            }
            Verdict::Missed => tracing::info!(
                %key,
                "the ledger lacks costs of answers that did not tell them: {} USD",
                dollars(comparison.difference, 2)
            ),
            // Looked at again with the next answer.
            Verdict::Behind | Verdict::TooEarly | Verdict::Untold => return,
            Verdict::Equal => {}
        }
        state.suspect.remove(key);
        state.done.insert(key.clone(), today);
    }
}

/// The warning that a key may have leaked, with the amount.
pub(in crate::commands) fn leak(comparison: &Comparison) -> String {
    let period = match comparison.period {
        Some(Period::Daily) | None => "today",
        Some(Period::Weekly) => "this week",
        Some(Period::Monthly) => "this month",
    };
    format!(
        "the key {} may have leaked, since it spent outside hermux {period} (UTC): {} USD\n\
         hint: if nobody else is meant to use it, disable it at OpenRouter and put a new one into its row",
        comparison.key,
        dollars(comparison.difference, 2),
    )
}
