//! Models that are down: one probe at a time, the others wait.

use crate::clock::Time;

/// The models that are down. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Breakers;

/// Whether an attempt on a model may leave.
#[derive(Debug)]
pub enum Admission {
    /// It may. The probe of a model that is down reports through its guard; dropped without a report it counts for nothing.
    Go(Option<Probe>),
    /// The model is down; the next probe may leave then.
    Wait(Time),
}

/// The one attempt that finds out whether a model is up again.
#[derive(Debug)]
pub struct Probe;

impl Breakers {
    /// Asks whether an attempt on `model` may leave.
    #[must_use]
    pub fn admit(&self, _model: &str, _now: Time) -> Admission {
        Admission::Go(None)
    }

    /// Notes that `model` is down; `until` is when upstream says to ask again.
    pub fn failed(&self, _model: &str, _until: Option<Time>, _now: Time) {}

    /// Notes that `model` answered.
    pub fn answered(&self, _model: &str) {}
}
