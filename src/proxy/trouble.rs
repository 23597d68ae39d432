//! What went wrong lately: the last errors for people, and how many there were of each kind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Time;

/// How many of the last errors are kept.
const LAST: usize = 100;

/// Names of models that are longer are not kept, bytes.
const LONGEST_MODEL: usize = 256;

/// Something that went wrong: an attempt that met a fault, or a request that hermux answered itself.
///
/// It holds names and fixed words alone: nothing that a caller or upstream wrote but the model's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When.
    pub at: Time,
    /// The name of the key; none where no attempt was made.
    pub key: Option<Arc<str>>,
    /// The name of the caller; none where it was not let in.
    pub caller: Option<Arc<str>>,
    /// The model asked for; none where the request names none.
    pub model: Option<Arc<str>>,
    /// What happened.
    pub what: String,
    /// The status that tells of it, where there is one.
    pub status: Option<u16>,
}

/// How many faults there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Attempts that met a fault, by its kind and the name of the key.
    pub faults: BTreeMap<(&'static str, Arc<str>), u64>,
    /// Requests that hermux answered with an error of its own, by its status.
    pub refused: BTreeMap<u16, u64>,
}

/// The last errors and their number. Nothing of it is touched by what goes well.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: VecDeque<Trouble>,
    counted: Counted,
}

impl Troubles {
    /// The last ones, the oldest first.
    #[must_use]
    pub fn last(&self) -> Vec<Trouble> {
        self.lock().last.iter().cloned().collect()
    }

    /// How many there were since the start.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.lock().counted.clone()
    }

    /// An attempt with `key` met a fault of this `kind`.
    pub(super) fn met(&self, kind: &'static str, key: Arc<str>, trouble: Trouble) {
        let mut inner = self.lock();
        *inner.counted.faults.entry((kind, Arc::clone(&key))).or_default() += 1;
        inner.keep(Trouble { key: Some(key), ..trouble });
    }

    /// A request was answered by hermux itself. Of those that were wrong from the start only the number is kept.
    pub(super) fn refused(&self, status: u16, trouble: impl FnOnce() -> Trouble) {
        let mut inner = self.lock();
        *inner.counted.refused.entry(status).or_default() += 1;
        if status == 429 || status >= 500 {
            inner.keep(trouble());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under the lock leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, mut trouble: Trouble) {
        // Callers write it, so nobody else bounds it.
        trouble.model.take_if(|model| model.is_empty() || model.len() > LONGEST_MODEL);
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(trouble);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LAST, Trouble, Troubles};
    use crate::clock::Time;

    fn trouble(at: i64) -> Trouble {
        Trouble {
            at: Time(at),
            key: None,
            caller: None,
            model: None,
            what: "it broke".to_owned(),
            status: None,
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let troubles = Troubles::default();
        for at in 0..250 {
            troubles.met("broken", Arc::from("ann"), trouble(at));
        }
        let last = troubles.last();
        assert_eq!((last.len(), last[0].at, last[LAST - 1].at), (LAST, Time(150), Time(249)));
        assert_eq!(last[0].key.as_deref(), Some("ann"));
        assert_eq!(troubles.counted().faults[&("broken", Arc::from("ann"))], 250);
    }

    #[test]
    fn whoever_knocks_without_a_token_pushes_nothing_out() {
        let troubles = Troubles::default();
        for status in [503, 401, 400, 429, 502] {
            troubles.refused(status, || trouble(status.into()));
        }
        assert_eq!(troubles.last().iter().map(|trouble| trouble.at.0).collect::<Vec<_>>(), [503, 429, 502]);
        assert_eq!(troubles.counted().refused.len(), 5);
    }
}
