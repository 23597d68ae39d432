//! Prometheus' view: what attempts came to, by key, caller and model, and the pool at the moment of asking.
//!
//! Attempts are taken in where their entries close, each with one look-up; where nobody asks for metrics there are none.

mod listener;
mod pool;
mod text;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::listener::Listener;
use crate::clock::{Clock, Time};
use crate::keys::pool::KeyPool;
use crate::ledger::Outcome;
use crate::ledger::observe::{Attempt, Ended, Watch};

/// Of so many models the names are told; callers choose them, so the others are [`OTHER`].
const MODELS: usize = 200;

/// So many combinations of key, caller and model are told apart; in further ones the model, then the caller, is [`OTHER`].
const SERIES: usize = 2_000;

/// What stands for what is not told apart.
const OTHER: &str = "other";

/// What stands for the model where a request names none.
const NONE: &str = "none";

/// Upper bounds of the whole time of an attempt, seconds.
const DURATIONS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Upper bounds of the time to the first byte, seconds.
const FIRST_BYTES: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// What is looked at when somebody asks.
pub struct Sources {
    /// The keys.
    pub keys: KeyPool,
    /// The time.
    pub clock: Clock,
    /// When the server started.
    pub started: Time,
    /// How many requests wait.
    pub waiting: Box<dyn Fn() -> usize + Send + Sync>,
    /// What went wrong so far.
    pub faults: Box<dyn Fn() -> Faults + Send + Sync>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// What went wrong since the start.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Attempts that met a fault: its kind, the name of the key, how many.
    pub met: Vec<(&'static str, Arc<str>, u64)>,
    /// Requests that hermux answered with an error of its own: its status, how many.
    pub refused: Vec<(u16, u64)>,
}

/// The metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    known: Mutex<Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Names {
    key: String,
    caller: String,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptNames {
    key: String,
    caller: String,
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenNames {
    key: String,
    caller: String,
    model: String,
    kind: &'static str,
}

type Times = Family<Names, Histogram, fn() -> Histogram>;

#[derive(Debug)]
struct Families {
    requests: Family<Names, Counter>,
    attempts: Family<AttemptNames, Counter>,
    tokens: Family<TokenNames, Counter>,
    /// Nano-dollars, since floats would not add up; [`text::with_dollars`] tells dollars.
    cost: Family<Names, Counter>,
    bytes: Family<Names, Counter>,
    duration: Times,
    first_byte: Times,
}

/// The handles of one combination of names, kept so that an attempt looks up nothing else.
#[derive(Debug)]
struct Handles {
    requests: Counter,
    complete: Counter,
    failed: Counter,
    cancelled: Counter,
    prompt: Counter,
    completion: Counter,
    reasoning: Counter,
    cached: Counter,
    cost: Counter,
    bytes: Counter,
    duration: Histogram,
    first_byte: Histogram,
}

/// The combinations met so far.
#[derive(Debug, Default)]
struct Known {
    series: HashMap<[Arc<str>; 3], Arc<Handles>, RandomState>,
    models: HashSet<Arc<str>>,
}

impl Metrics {
    /// Metrics that begin at zero.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let families = Families {
            requests: Family::default(),
            attempts: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            bytes: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            first_byte: Family::new_with_constructor(|| Histogram::new(FIRST_BYTES)),
        };
        let mut registry = Registry::with_prefix("hermux");
        registry.register(
            "requests",
            "Requests of which an attempt ended, by the key of the first",
            families.requests.clone(),
        );
        registry.register("attempts", "Attempts that ended, by outcome", families.attempts.clone());
        registry.register("tokens", "Tokens used, by kind", families.tokens.clone());
        registry.register("cost_usd", "US dollars spent, as answers told", families.cost.clone());
        registry.register("answer_bytes", "Bytes of answers' bodies", families.bytes.clone());
        registry.register(
            "attempt_duration_seconds",
            "From an attempt's leaving to the end of its answer",
            families.duration.clone(),
        );
        registry.register(
            "first_byte_seconds",
            "From an attempt's leaving to the first byte of the answer's body",
            families.first_byte.clone(),
        );
        registry.register_collector(Box::new(pool::Now(sources)));
        Self { registry, families, known: Mutex::default() }
    }

    /// All of it as text: in the form that Prometheus always took, or as `OpenMetrics`.
    #[must_use]
    pub fn text(&self, open: bool) -> String {
        let mut text = String::new();
        // A `String` takes all that is written to it.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        let text = text::with_dollars(&text, "hermux_cost_usd_total{");
        if open { text } else { text::classic(&text) }
    }

    fn handles(&self, attempt: &Attempt) -> Arc<Handles> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let names = [&attempt.key, &attempt.caller, &attempt.model].map(Arc::clone);
        if let Some(handles) = known.series.get(&names) {
            return Arc::clone(handles);
        }
        let [key, caller, model] = names;
        let (other, none) = (Arc::<str>::from(OTHER), Arc::<str>::from(NONE));
        let model = match &*model {
            "" => none,
            _ if known.models.contains(&model) => model,
            _ if known.models.len() < MODELS => {
                known.models.insert(Arc::clone(&model));
                model
            }
            _ => Arc::clone(&other),
        };
        // Each step is bounded by less that callers choose.
        let steps = [
            [Arc::clone(&key), Arc::clone(&caller), model],
            [Arc::clone(&key), caller, Arc::clone(&other)],
            [key, Arc::clone(&other), Arc::clone(&other)],
        ];
        for (names, room) in steps.into_iter().zip([SERIES, SERIES * 2, SERIES * 3]) {
            if known.series.contains_key(&names) || known.series.len() < room {
                return self.keep(&mut known, names);
            }
        }
        self.keep(&mut known, [Arc::clone(&other), Arc::clone(&other), other])
    }

    fn keep(&self, known: &mut Known, names: [Arc<str>; 3]) -> Arc<Handles> {
        let make = |names: &[Arc<str>; 3]| Arc::new(self.families.handles(names));
        let handles = known.series.entry(names).or_insert_with_key(make);
        Arc::clone(handles)
    }
}

impl Families {
    fn handles(&self, [key, caller, model]: &[Arc<str>; 3]) -> Handles {
        let (key, caller, model) = (key.to_string(), caller.to_string(), model.to_string());
        let names = Names { key: key.clone(), caller: caller.clone(), model: model.clone() };
        let attempts = |outcome: Outcome| {
            let (key, caller, model) = (key.clone(), caller.clone(), model.clone());
            let outcome = outcome.as_str();
            self.attempts.get_or_create(&AttemptNames { key, caller, model, outcome }).clone()
        };
        let tokens = |kind| {
            let (key, caller, model) = (key.clone(), caller.clone(), model.clone());
            self.tokens.get_or_create(&TokenNames { key, caller, model, kind }).clone()
        };
        Handles {
            requests: self.requests.get_or_create(&names).clone(),
            complete: attempts(Outcome::Complete),
            failed: attempts(Outcome::Failed),
            cancelled: attempts(Outcome::Cancelled),
            prompt: tokens("prompt"),
            completion: tokens("completion"),
            reasoning: tokens("reasoning"),
            cached: tokens("cached"),
            cost: self.cost.get_or_create(&names).clone(),
            bytes: self.bytes.get_or_create(&names).clone(),
            duration: self.duration.get_or_create(&names).clone(),
            first_byte: self.first_byte.get_or_create(&names).clone(),
        }
    }
}

impl Watch for Metrics {
    fn ended(&self, ended: &Ended<'_>) {
        let handles = self.handles(ended.attempt);
        let report = ended.report;
        if ended.attempt.number == 1 {
            handles.requests.inc();
        }
        match ended.outcome {
            Outcome::Complete => handles.complete.inc(),
            Outcome::Failed => handles.failed.inc(),
            Outcome::Cancelled => handles.cancelled.inc(),
        };
        handles.bytes.inc_by(report.bytes);
        let usage = &report.usage;
        for (counter, tokens) in [
            (&handles.prompt, usage.prompt_tokens),
            (&handles.completion, usage.completion_tokens),
            (&handles.reasoning, usage.reasoning_tokens),
            (&handles.cached, usage.cached_tokens),
        ] {
            if let Some(tokens @ 1..) = tokens {
                counter.inc_by(tokens);
            }
        }
        if let Some(cost @ 1..) = usage.cost {
            handles.cost.inc_by(cost.unsigned_abs());
        }
        handles.duration.observe(ended.duration.as_secs_f64());
        if let Some(first_byte) = report.first_byte {
            handles.first_byte.observe(first_byte.as_secs_f64());
        }
    }
}

/// Nano-dollars as dollars, of a gauge: what is left or spent at the moment.
#[expect(clippy::cast_precision_loss, reason = "it is below what a curve shows")]
fn dollars(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests;
