//! Once a day for each key: whether the ledger agrees with what `GET /key` tells.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Day;
use crate::commands::reconcile::{Books, Comparison, Counted, PERIODS, SEEN, Seen, Verdict};
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
    /// The day on which it was told of a key that it is too early to tell.
    early: HashMap<String, Day>,
}

impl Check {
    /// Remembers since when the keys are known.
    pub(super) fn new(data_dir: PathBuf, shared: &Shared) -> Self {
        let seen = Seen::new(shared.ledger.notes(SEEN));
        let state = State { seen, done: HashMap::new(), suspect: HashMap::new(), early: HashMap::new() };
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
            let books = Books::read(&check.data_dir, std::slice::from_ref(&name), now);
            match books.and_then(|books| books.compare(&key, &info, Some(seen))) {
                Ok(comparison) => check.found(&comparison, now.day()),
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
            Verdict::Less => tracing::info!("{}", less(comparison)),
            // Looked at again with the next answer, as with the two below.
            Verdict::TooEarly => {
                if comparison.period.is_some() && state.early.insert(key.clone(), today) != Some(today) {
                    tracing::info!("{}", early(comparison));
                }
                return;
            }
            Verdict::Behind | Verdict::Untold => return,
            Verdict::Equal => {}
        }
        state.suspect.remove(key);
        state.done.insert(key.clone(), today);
    }
}

fn period(comparison: &Comparison) -> &'static str {
    match comparison.period {
        Some(Period::Daily) | None => "today",
        Some(Period::Weekly) => "this week",
        Some(Period::Monthly) => "this month",
    }
}

/// The warning that a key may have leaked, with the amount.
pub(in crate::commands) fn leak(comparison: &Comparison) -> String {
    let at = PERIODS.iter().position(|period| Some(*period) == comparison.period).unwrap_or(0);
    let Counted { missing, unknown, .. } = &comparison.counted[at];
    let mut amount = format!("{} USD", dollars(comparison.difference, 2));
    if *missing > 0 {
        let _ = write!(
            amount,
            ", of which attempts here that told no cost ({missing}) explain at most {} USD",
            dollars(*unknown, 2)
        );
    }
    format!(
        "the key {} may have leaked, since it spent outside hermux {} (UTC): {amount}\n\
         hint: if nobody else is meant to use it, disable it at OpenRouter and put a new one into its row",
        comparison.key,
        period(comparison),
    )
}

/// That less was billed than counted, with the amount.
pub(in crate::commands) fn less(comparison: &Comparison) -> String {
    format!(
        "the key {} was billed less than was counted here {} (UTC): {} USD",
        comparison.key,
        period(comparison),
        dollars(comparison.difference.saturating_neg(), 2),
    )
}

/// What can be said of a key that was not known all day, with the amount.
pub(in crate::commands) fn early(comparison: &Comparison) -> String {
    format!(
        "the key {} was billed more than was counted here {} (UTC), before hermux knew it or outside: {} USD",
        comparison.key,
        period(comparison),
        dollars(comparison.difference, 2),
    )
}
