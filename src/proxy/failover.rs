//! What follows an attempt that went wrong: whose fault it is, what rests, and which key is next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::sleep;

use super::attempt::{Answered, Demand, Fallen, Holder, Leave, Reply, attempt, well};
use super::body::RequestBody;
use super::hold::{Form, first_data};
use super::owned::another_account_may_have_it;
use super::refusal::{Refusal, Refused};
use super::room::{Blocked, GaveUp, Granted};
use super::trouble::Trouble;
use super::{Shared, Worker};
use crate::clock::Time;
use crate::keys::KeyName;
use crate::keys::breaker::Probe;
use crate::keys::need::{Class, Exhausted, Rest, Tried, Why};
use crate::keys::pool::Lease;
use crate::ledger::{OpenEntry, Outcome, Previous};
use crate::openrouter::fault::{Another, Fault, Kind, Whose, classify, classify_event};
use crate::upstream::{Connection, SendError};

/// How long the beginning of an error may take to come.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// How often one request may fail at the provider, the edge or the connection.
const MOST_FAILURES: u32 = 3;

/// For so long a request waits until upstream says to ask again, where no more than one attempt is to be had.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// For so long a request that may wait does not take a model's failure for the last word: requests that left together fail
/// together, and the next failures tell whether the model is down.
const VERDICT: Duration = Duration::from_secs(1);

/// For so long a request that has one attempt left lets others find out whether a model is up, and how soon it looks again.
const OTHERS_FIRST: Duration = Duration::from_millis(500);
const BRIEF: Duration = Duration::from_millis(50);

/// How many keys one request tries after faults that say nothing certain about a key: those let nothing rest, or
/// not for sure, so that every other request would go the same long way.
const MOST_GUESSES: u32 = 8;

/// The kind of a fault where there is no answer at all.
const NO_ANSWER: &str = "no answer";

/// Goes on with a request whose `first` attempt went wrong, or could not leave.
pub(super) async fn go_on(
    worker: &Worker,
    demand: &Demand<'_>,
    body: &mut RequestBody,
    request: u64,
    (prefer, patience): (Option<KeyName>, Duration),
    first: Result<Box<Fallen>, GaveUp>,
) -> Result<Box<Answered>, Refused> {
    let can_repeat = body.is_whole();
    let mut failover = Failover {
        worker,
        demand,
        request,
        prefer,
        can_repeat,
        attempts: 0,
        previous: None,
        tried: Tried::default(),
        unfit: Tried::default(),
        met: BTreeSet::new(),
        unidentified: 0,
        failures: 0,
        guesses: 0,
        blamed: None,
        doubted: Vec::new(),
        repeated_answer: false,
        repeated_silence: false,
        patience,
        kept: None,
        refusal: None,
    };
    let mut next = match first {
        Ok(fallen) => failover.after(*fallen).await,
        Err(gave_up) => {
            failover.give_up(&gave_up);
            Next::End
        }
    };
    loop {
        let patience = failover.patience;
        let (granted, connection) = match next {
            Next::Answer(answered) => return Ok(answered),
            Next::End => return failover.end(),
            Next::Same(granted) => (Some(granted), Connection::Fresh),
            Next::Key => (failover.enter(None).await, Connection::Any),
            Next::Later(avoid, pause) => {
                sleep(pause + Duration::from_millis(rand::random_range(100..=400))).await;
                (failover.enter(Some(&avoid)).await, Connection::Fresh)
            }
            Next::WhenUp => (failover.when_up().await, Connection::Fresh),
        };
        let Some(granted) = granted else { return failover.end() };
        let leave = Leave {
            request,
            number: failover.attempts + 1,
            at: worker.shared.clock.now(),
            waited: patience.saturating_sub(failover.patience),
            previous: failover.previous.take(),
            // What can be sent only once must not meet a connection that may be dead.
            connection: if can_repeat { connection } else { Connection::Fresh },
        };
        next = match attempt(worker, demand, body, granted, leave).await {
            Ok(answered) => {
                failover.believe_refusals();
                return Ok(answered);
            }
            Err(fallen) => failover.after(*fallen).await,
        };
    }
}

/// What is to be done next.
enum Next {
    /// Pass this on.
    Answer(Box<Answered>),
    /// Pass on the last error.
    End,
    /// The same key once more, on a fresh connection.
    Same(Granted),
    /// The next key, at once.
    Key,
    /// One more attempt so much and a moment later, on another key where there is one.
    Later(Tried, Duration),
    /// One more attempt when the model is up again.
    WhenUp,
}

/// What one request went through.
struct Failover<'a, 'd> {
    worker: &'a Worker,
    demand: &'a Demand<'d>,
    request: u64,
    prefer: Option<KeyName>,
    can_repeat: bool,
    attempts: u32,
    previous: Option<Previous>,
    /// What met a fault that another key may cure.
    tried: Tried,
    /// Of that, what does not rest, and so will be lent again.
    unfit: Tried,
    /// The keys tried since the request last waited.
    met: BTreeSet<KeyName>,
    /// How many of them met a 429 that nothing identifies.
    unidentified: usize,
    failures: u32,
    guesses: u32,
    /// What the last fault was that lets a key or an account rest, but nothing that this request needs of it.
    blamed: Option<(Why, Option<Time>)>,
    /// The keys refused where no model runs: an endpoint that refuses each key must not have all of them rest.
    doubted: Vec<KeyName>,
    /// Whether it was sent again after a provider's or the edge's failure.
    repeated_answer: bool,
    /// Whether it was sent again after no answer at all.
    repeated_silence: bool,
    /// How long it may still wait.
    patience: Duration,
    /// The last error of upstream's that the caller may see.
    kept: Option<Box<Answered>>,
    /// Why there is no answer, where there is no such error.
    refusal: Option<Refusal>,
}

impl Failover<'_, '_> {
    fn now(&self) -> Time {
        self.worker.shared.clock.now()
    }

    /// Takes in how an attempt went wrong.
    async fn after(&mut self, fallen: Fallen) -> Next {
        self.attempts += 1;
        let status = fallen.brought.as_ref().ok().map(|reply| reply.status.as_u16());
        let previous = Previous { key: fallen.lease.key().name().shared(), at: fallen.at, status };
        self.previous = Some(previous);
        let Fallen { lease, probe, entry, brought, .. } = fallen;
        match brought {
            Ok(reply) => self.after_reply(lease, probe, entry, reply).await,
            Err(error) => self.after_nothing(Granted { lease, probe }, entry, &error),
        }
    }

    fn after_nothing(&mut self, granted: Granted, mut entry: OpenEntry, error: &SendError) -> Next {
        let (key, request) = (granted.lease.key().name(), self.request);
        if matches!(error, SendError::RequestBody) {
            // The caller broke its own upload off.
            entry.finish(Outcome::Cancelled);
            self.refusal = Some(Refusal::BodyBroken);
            return Next::End;
        }
        entry.finish(Outcome::Failed);
        self.failures += 1;
        if matches!(error, SendError::Stale) && self.can_repeat && self.failures < MOST_FAILURES {
            tracing::debug!(%key, "sent again on a fresh connection: request {request}");
            granted.lease.count_again(self.now());
            // Whatever waits for it waits on.
            return Next::Same(granted);
        }
        self.note(NO_ANSWER, &granted.lease, error.to_string(), None);
        self.refusal = Some(Refusal::from(error));
        // Only where no byte of an answer was seen, and not after a long wait.
        let may = matches!(error, SendError::Resolve | SendError::Connect | SendError::Closed);
        if may && !self.repeated_silence && self.may_repeat() {
            self.repeated_silence = true;
            tracing::debug!(%key, "request {request} is sent again in a moment, since {error}");
            return Next::Later(self.without(&granted.lease), Duration::ZERO);
        }
        tracing::warn!(%key, "request {request} failed: {error}");
        Next::End
    }

    async fn after_reply(
        &mut self,
        lease: Lease,
        probe: Option<Probe>,
        mut entry: OpenEntry,
        mut reply: Reply,
    ) -> Next {
        let status = reply.status;
        if self.can_repeat && another_account_may_have_it(self.demand.asks_around, status, self.attempts) {
            // Whoever made it knows it; the others say that there is none.
            for tried in [&mut self.tried, &mut self.unfit] {
                tried.account(&lease);
            }
            self.keep(&lease, entry, reply);
            self.believe_refusals();
            return Next::Key;
        }
        let fault = if status.as_u16() >= 400 {
            reply.body.read_on(ERROR_PATIENCE).await;
            let read = if reply.form == Form::Encoded { &[] } else { reply.body.read() };
            classify(status, &reply.headers, read, self.now())
        } else if reply.form == Form::Events {
            classify_event(&first_data(reply.body.read()), self.now())
        } else {
            classify_event(reply.body.read(), self.now())
        };
        let attempts = self.attempts;
        if status.as_u16() < 500
            && fault.as_ref().is_none_or(|fault| rest_after(fault) != Some(Rest::Refused))
        {
            self.believe_refusals();
        }
        let Some(fault) = fault else {
            return Next::Answer(well(
                self.worker,
                self.demand,
                Granted { lease, probe },
                entry,
                reply,
                attempts,
            ));
        };
        entry.report.code = Some(fault.status).filter(|_| status.as_u16() < 400);
        let next = self.learn(&fault, &lease, probe);
        let is_callers = !matches!(fault.whose, Whose::Key | Whose::Account | Whose::FreeModels);
        if let Next::End = next
            && is_callers
        {
            self.tell(&lease, &fault, "passed on");
            // However slowly it passes, nobody waits for what the key was lent to find out.
            let holder = Holder::Returned(Box::new(lease.key().clone()));
            let answered = Answered { reply, holder, entry, attempts, failed: true };
            return Next::Answer(Box::new(answered));
        }
        self.tell(
            &lease,
            &fault,
            match next {
                Next::Key => "the next key",
                Next::Later(..) => "once more in a moment",
                Next::WhenUp => "once more when the model is up again",
                _ => "no further attempt",
            },
        );
        if is_callers {
            self.keep(&lease, entry, reply);
        } else {
            entry.report.status = Some(status.as_u16());
            entry.finish(Outcome::Failed);
            if !self.can_repeat {
                self.refusal = Some(Refusal::SentOnce);
            } else if matches!(next, Next::End) {
                let tried = vec![(Why::Tried, self.met.len())];
                self.refuse(Exhausted::for_good(tried));
            }
        }
        next
    }

    /// Keeps an error to be passed on where nothing better comes after it.
    fn keep(&mut self, lease: &Lease, mut entry: OpenEntry, reply: Reply) {
        entry.report.status = Some(reply.status.as_u16());
        entry.finish(Outcome::Failed);
        // The lease must not wait for what comes of the others.
        let holder = Holder::Returned(Box::new(lease.key().clone()));
        let kept = Answered { reply, holder, entry, attempts: self.attempts, failed: true };
        self.kept = Some(Box::new(kept));
    }

    fn tell(&self, lease: &Lease, fault: &Fault, next: &str) {
        tracing::debug!(
            key = %lease.key().name(),
            "request {}, attempt {}: {} ({}): {next}",
            self.request,
            self.attempts,
            fault.kind,
            fault.status,
        );
    }

    /// Notes among the last errors that an attempt met a fault of this `kind`.
    fn note(&self, kind: &'static str, lease: &Lease, what: String, status: Option<u16>) {
        let (caller, model) = (Arc::clone(&self.demand.caller), Arc::clone(&self.demand.model));
        let (caller, model) = (Some(caller), Some(model));
        let trouble = Trouble { at: self.now(), key: None, caller, model, what, status };
        self.worker.shared.troubles.met(kind, lease.key().name().shared(), trouble);
    }

    /// Lets rest what is at fault, and finds out what may help.
    fn learn(&mut self, fault: &Fault, lease: &Lease, probe: Option<Probe>) -> Next {
        let now = self.now();
        self.note(fault.kind.words(), lease, fault.kind.words().to_owned(), Some(fault.status));
        if let Some(user) = &fault.user_id {
            lease.belongs_to(user, now);
        }
        let rest = rest_after(fault);
        let is_doubtful = rest == Some(Rest::Refused) && self.demand.class == Class::Other;
        if is_doubtful {
            self.doubted.push(lease.key().name().clone());
        }
        if let Some(rest) = rest.filter(|_| !is_doubtful) {
            lease.bench(rest, now);
        }
        let is_outage = fault.kind == Kind::Unidentified && self.is_outage(lease, now);
        self.worker.shared.remember();
        let is_models = fault.whose == Whose::Model && !fault.byok && self.demand.runs_model();
        match probe {
            _ if !is_models && !is_outage => {}
            Some(probe) => probe.failed(fault.until, now),
            None => self.worker.shared.breakers.failed(&self.demand.model, fault.until, now),
        }
        if matches!(fault.whose, Whose::Model | Whose::Edge) || is_outage {
            self.failures += 1;
        }
        if is_outage && self.can_repeat && self.failures < MOST_FAILURES {
            // No key rests, and each would meet it again.
            return Next::WhenUp;
        }
        let another = fault.another_key_helps();
        if another != Another::No {
            if !self.can_repeat {
                return Next::End;
            }
            self.met.insert(lease.key().name().clone());
            // A router's name does not tell that its model is free, and no quota is known for what runs none: then what
            // rests is nothing of what this request needs, and the key would be lent to it again.
            let rests = rest.is_some() && lease.rests(now);
            self.blamed = rest.filter(|_| !rests).map(|rest| blame(rest, now)).or(self.blamed);
            for tried in [Some(&mut self.tried), (!rests).then_some(&mut self.unfit)].into_iter().flatten() {
                match another {
                    Another::Account => tried.account(lease),
                    _ => tried.key(lease),
                }
            }
            let is_unidentified = fault.kind == Kind::Unidentified;
            self.unidentified += usize::from(is_unidentified);
            self.guesses += u32::from(!rests || is_unidentified);
            if self.guesses < MOST_GUESSES && self.failures < MOST_FAILURES {
                return Next::Key;
            }
            self.suspect_outage();
            return Next::End;
        }
        let pause = fault.until.map_or(Duration::ZERO, |until| until.since(now));
        let is_soon = pause <= self.patience.min(LONGEST_PAUSE);
        if fault.retry_same_route_once() && is_soon && !self.repeated_answer && self.may_repeat() {
            self.repeated_answer = true;
            self.patience -= pause;
            return Next::Later(self.without(lease), pause);
        }
        // Who cannot wait as long as upstream says need not wait to hear that the model is down.
        if is_models && self.can_repeat && self.failures < MOST_FAILURES && pause <= self.patience {
            return Next::WhenUp;
        }
        Next::End
    }

    /// Whether the 429 that the key of `lease` just met, and that nothing identifies, is no fault of keys: all that could
    /// serve met it within seconds, or as many in a row as one request tries. Then none of them rests for it.
    fn is_outage(&self, lease: &Lease, now: Time) -> bool {
        let (shared, nothing) = (&self.worker.shared, Tried::default());
        if shared.keys.is_outage(&self.demand.need(None, &nothing), now) {
            return true;
        }
        let is_outage = self.guesses + 1 >= MOST_GUESSES && self.unidentified == self.guesses as usize;
        if is_outage {
            shared.keys.acquit(&self.without(lease), self.demand.class, now);
        }
        is_outage
    }

    /// Another key was not refused, so those that were are at fault themselves.
    fn believe_refusals(&mut self) {
        if self.doubted.is_empty() {
            return;
        }
        let (shared, now) = (&self.worker.shared, self.now());
        for key in self.doubted.drain(..) {
            shared.keys.learn_refused(&key, now);
        }
        shared.remember();
    }

    /// What all keys met alike is no fault of theirs.
    fn suspect_outage(&self) {
        if self.unidentified > 1 && self.unidentified == self.met.len() && self.demand.runs_model() {
            self.worker.shared.breakers.failed(&self.demand.model, None, self.now());
        }
    }

    /// Whether the request may be sent once more after a failure that no key is to blame for.
    fn may_repeat(&self) -> bool {
        let is_harmless = self.demand.inference
            || [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE]
                .contains(self.demand.method);
        self.can_repeat
            && is_harmless
            && self.failures < MOST_FAILURES
            && self.worker.shared.bounds.retries.take(self.request, self.now())
    }

    /// What was tried, and this key.
    fn without(&self, lease: &Lease) -> Tried {
        let mut tried = self.tried.clone();
        tried.key(lease);
        tried
    }

    /// Leave for the next attempt, if need be after a wait; `avoid` where there is another.
    async fn enter(&mut self, avoid: Option<&Tried>) -> Option<Granted> {
        if let Some(avoid) = avoid
            && let Ok(granted) = self.enter_at_once(avoid).await
        {
            return Some(granted);
        }
        if let Ok(granted) = self.enter_at_once(&self.tried).await {
            return Some(granted);
        }
        // What rests needs no excluding: so the pool tells when the first of it is back.
        if !self.met.is_empty() {
            self.suspect_outage();
            if let Ok(granted) = self.enter_at_once(&self.unfit).await {
                return Some(granted);
            }
        }
        self.wait().await
    }

    /// Leave without a wait, for a key that was not `tried`; a key is met only once between two waits.
    async fn enter_at_once(&self, tried: &Tried) -> Result<Granted, GaveUp> {
        let Demand { caller, .. } = self.demand;
        let need = self.demand.need(self.prefer.as_ref(), tried);
        let mut patience = Duration::ZERO;
        let granted = self.worker.shared.room.enter(caller, &need, &mut patience, self.now()).await?;
        if !self.met.contains(granted.lease.key().name()) {
            return Ok(granted);
        }
        granted.lease.unused();
        let why = vec![(Why::Tried, self.met.len())];
        Err(GaveUp::TooLate(Blocked::Keys(Exhausted::for_good(why))))
    }

    /// Goes on when the model is up again; ends where it is not known to be down, nor soon after.
    async fn when_up(&mut self) -> Option<Granted> {
        let is_down =
            |this: &Self| this.worker.shared.breakers.down_until(&this.demand.model, this.now()).is_some();
        if !is_down(self) {
            let moment = VERDICT.min(self.patience);
            sleep(moment).await;
            self.patience -= moment;
            if !is_down(self) {
                return None;
            }
        }
        if self.failures + 1 == MOST_FAILURES {
            self.let_others_probe().await;
        }
        self.wait().await
    }

    /// Keeps a request's last attempt from finding out whether the model is up, unless nobody else does.
    async fn let_others_probe(&mut self) {
        let mut may_probe = false;
        while !self.patience.is_zero() {
            let now = self.now();
            let down_until = self.worker.shared.breakers.down_until(&self.demand.model, now);
            if down_until.is_none() && may_probe {
                break;
            }
            // Where the next probe may leave, somebody else has a moment to make it.
            may_probe = down_until.is_none();
            let moment = down_until.map_or(OTHERS_FIRST, |until| until.since(now).clamp(BRIEF, OTHERS_FIRST));
            let moment = moment.min(self.patience);
            sleep(moment).await;
            self.patience -= moment;
        }
    }

    /// Waits for leave, where the request may still wait; else notes why it ends. What was tried and rests by now is not
    /// excluded from what it waits for.
    async fn wait(&mut self) -> Option<Granted> {
        let now = self.now();
        let need = self.demand.need(self.prefer.as_ref(), &self.unfit);
        let room = &self.worker.shared.room;
        match room.enter(&self.demand.caller, &need, &mut self.patience, now).await {
            Ok(granted) => {
                self.met.clear();
                self.unidentified = 0;
                self.tried = self.unfit.clone();
                Some(granted)
            }
            Err(gave_up) => {
                self.give_up(&gave_up);
                None
            }
        }
    }

    fn give_up(&mut self, gave_up: &GaveUp) {
        if let GaveUp::Full(full, why) = gave_up {
            self.refusal = Some(Refusal::full(*full, why, self.now()));
            return;
        }
        match gave_up.why() {
            Blocked::Keys(exhausted) => self.refuse(exhausted.clone()),
            Blocked::Model(until) => self.refusal = Some(Refusal::model_down(*until, self.now())),
        }
    }

    /// Notes that no key is left; of those that were tried it is known why.
    fn refuse(&mut self, mut exhausted: Exhausted) {
        if let Some((blamed, until)) = self.blamed
            && let Some(tried) = exhausted.why.iter_mut().find(|(why, _)| *why == Why::Tried)
        {
            tried.0 = blamed;
            exhausted.until = exhausted.until.into_iter().chain(until).min();
            exhausted.back = exhausted.back.into_iter().chain(until).min();
        }
        self.refusal = Some(Refusal::exhausted(exhausted, self.now()));
    }

    /// The last error of upstream's, else why there is none.
    fn end(self) -> Result<Box<Answered>, Refused> {
        let attempts = self.attempts;
        match self.kept {
            Some(mut kept) => {
                kept.attempts = attempts;
                Ok(kept)
            }
            None => {
                Err(Refused { refusal: self.refusal.unwrap_or(Refusal::SentOnce), attempts, told: false })
            }
        }
    }
}

/// Lets rest what is at fault by an error that came too late to try another key.
pub(super) fn learn_late(
    shared: &Shared,
    lease: &Lease,
    (caller, model): &(Arc<str>, Arc<str>),
    error: &[u8],
) -> Option<u16> {
    let now = shared.clock.now();
    let fault = classify_event(error, now)?;
    let kind = fault.kind.words();
    let (what, status) = (kind.to_owned(), Some(fault.status));
    let (caller, model) = (Some(Arc::clone(caller)), Some(Arc::clone(model)));
    let trouble = Trouble { at: now, key: None, caller, model, what, status };
    shared.troubles.met(kind, lease.key().name().shared(), trouble);
    tracing::debug!(key = %lease.key().name(), "an error came late: {} ({})", fault.kind, fault.status);
    if let Some(rest) = rest_after(&fault) {
        lease.bench(rest, now);
        if matches!(rest, Rest::Unidentified(_)) {
            // Whether the model is down is for those to tell who can still wait for it.
            let _ = lease.ends_in_outage(now);
        }
        shared.remember();
    }
    Some(fault.status)
}

/// What is to rest after a fault; none where nothing is to, or where it is no matter of keys.
fn rest_after(fault: &Fault) -> Option<Rest> {
    let until = fault.until;
    match fault.kind {
        Kind::KeyRefused | Kind::ManagementKey => Some(Rest::Refused),
        Kind::KeyCap(_) => Some(Rest::Cap(until)),
        Kind::NoCredits => Some(Rest::NoCredits),
        Kind::InFlight => Some(Rest::InFlight(until)),
        Kind::FreePerMinute { limit } => Some(Rest::FreeMinute { until, limit }),
        Kind::FreePerDay { limit } => Some(Rest::FreeDay { until, limit }),
        Kind::Unidentified => Some(Rest::Unidentified(until)),
        Kind::TooDear(_)
        | Kind::ProviderBusy
        | Kind::ProviderDown
        | Kind::ProviderRefused
        | Kind::Blocked
        | Kind::Forbidden
        | Kind::DataPolicy
        | Kind::ManagementOnly
        | Kind::UnknownModel
        | Kind::BadRequest
        | Kind::Edge => None,
    }
}

/// What keeps a key from serving after a fault, and until when.
fn blame(rest: Rest, now: Time) -> (Why, Option<Time>) {
    match rest {
        Rest::Refused => (Why::Refused, None),
        Rest::Cap(None) => (Why::CapForGood, None),
        Rest::Cap(until) => (Why::Cap, until),
        Rest::NoCredits => (Why::NoCredits, None),
        // Without a hint it is a matter of moments.
        Rest::InFlight(until) => (Why::InFlight, until.or(Some(now))),
        Rest::FreeMinute { until, .. } => (Why::FreeMinute, until.or(Some(now))),
        Rest::FreeDay { until, .. } => (Why::FreeDay, until.or(Some(now))),
        Rest::Unidentified(until) => (Why::Unidentified, until.or(Some(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::rest_after;
    use crate::clock::Time;
    use crate::keys::need::Rest;
    use crate::openrouter::fault::{Budget, Fault, Kind, Resets, Whose};

    #[test]
    fn exactly_what_is_at_fault_rests() {
        let until = Some(Time(7));
        let limit = Some(20);
        for (kind, rest) in [
            (Kind::KeyRefused, Some(Rest::Refused)),
            (Kind::ManagementKey, Some(Rest::Refused)),
            (Kind::KeyCap(Resets::Never), Some(Rest::Cap(until))),
            (Kind::NoCredits, Some(Rest::NoCredits)),
            (Kind::InFlight, Some(Rest::InFlight(until))),
            (Kind::FreePerMinute { limit }, Some(Rest::FreeMinute { until, limit })),
            (Kind::FreePerDay { limit }, Some(Rest::FreeDay { until, limit })),
            (Kind::Unidentified, Some(Rest::Unidentified(until))),
            (Kind::TooDear(Budget::Account), None),
            (Kind::TooDear(Budget::Key), None),
            (Kind::ProviderBusy, None),
            (Kind::ProviderDown, None),
            (Kind::ProviderRefused, None),
            (Kind::Blocked, None),
            (Kind::Forbidden, None),
            (Kind::DataPolicy, None),
            (Kind::ManagementOnly, None),
            (Kind::UnknownModel, None),
            (Kind::BadRequest, None),
            (Kind::Edge, None),
        ] {
            let fault = Fault { whose: Whose::Request, kind, until, status: 400, byok: false, user_id: None };
            assert_eq!(rest_after(&fault), rest, "{kind:?}");
        }
    }
}
