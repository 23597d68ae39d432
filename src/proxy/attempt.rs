//! One attempt: lease a key, send, and see whether what comes back is an answer to pass on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::Worker;
use super::allowance::Charge;
use super::body::RequestBody;
use super::failover;
use super::headers::for_upstream;
use super::hold::{Begun, Form, Looking, Looks};
use super::refusal::Refused;
use super::room::Granted;
use crate::clock::Time;
use crate::keys::breaker::Probe;
use crate::keys::need::{Bind, Class, Need, Runs, Tried};
use crate::keys::pool::Lease;
use crate::keys::{Key, KeyName};
use crate::ledger::{OpenEntry, Opening, Previous};
use crate::upstream::{Answer, Connection, Head, SendError};

/// A request as it is to be sent, whichever key serves it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Demand<'a> {
    pub(super) method: &'a Method,
    /// Path and query on upstream.
    pub(super) target: &'a str,
    /// As the caller sent them.
    pub(super) headers: &'a HeaderMap,
    /// What [`Marks`](super::headers::Marks) say of them.
    pub(super) names_others: bool,
    pub(super) access_token: &'a [u8],
    pub(super) inference: bool,
    /// Which of a key's quotas it draws on.
    pub(super) class: Class,
    /// Which models it runs besides [`model`](Self::model).
    pub(super) runs: Runs<'a>,
    /// The conversation it is a turn of.
    pub(super) conversation: Option<u64>,
    /// Whether that had an earlier turn, so that its key is worth keeping.
    pub(super) continues: bool,
    /// The key whose resource it asks for.
    pub(super) owner: Option<KeyName>,
    /// Whether it reads a resource whose owner is not known, so that other accounts may be asked for it.
    pub(super) asks_around: bool,
    /// The names of the keys that its caller may use; none for any.
    pub(super) keys: Option<&'a Arc<[Box<str>]>>,
    /// What it takes of what its caller may use; none where nothing is counted.
    pub(super) charge: Option<&'a Charge>,
    /// How long it may wait for a key that rests.
    pub(super) max_wait: Duration,
    pub(super) caller: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) path: Arc<str>,
}

impl Demand<'_> {
    /// What it needs of a key, when it would like `prefer` and `tried` is out of the question.
    pub(super) fn need<'n>(&'n self, prefer: Option<&'n KeyName>, tried: &'n Tried) -> Need<'n> {
        let bind = match (&self.owner, prefer) {
            (Some(owner), _) => Bind::Only(owner),
            (None, Some(prefer)) => Bind::Prefer(prefer),
            (None, None) => Bind::Free,
        };
        Need { model: &self.model, runs: self.runs, class: self.class, bind, keys: self.keys, tried }
    }

    /// Whether it runs a model that is known by name, and so may be down.
    pub(super) fn runs_model(&self) -> bool {
        self.inference && !self.model.is_empty()
    }

    /// The key that served its conversation last.
    fn prefers(&self, worker: &Worker, now: Time) -> Option<KeyName> {
        let conversation = self.conversation.filter(|_| self.continues)?;
        worker.shared.affinity.conversation(conversation, now)
    }
}

/// What upstream says.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Begun,
    pub(super) form: Form,
}

/// An answer with what is to be settled at its end. Boxed, since it passes through many hands.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) holder: Holder,
    pub(super) entry: OpenEntry,
    /// How many attempts there were.
    pub(super) attempts: u32,
    /// Whether it is an error, whatever its status.
    pub(super) failed: bool,
}

/// The key that answered.
#[derive(Debug)]
pub(super) enum Holder {
    /// It is lent until the answer has passed.
    Lease(Lease),
    /// It went back: its error is passed on, since nothing better came after it.
    Returned(Box<Key>),
}

impl Holder {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Lease(lease) => lease.key(),
            Self::Returned(key) => key,
        }
    }
}

/// Which attempt it is.
#[derive(Debug)]
pub(super) struct Leave {
    /// The request, as the ledger numbers it.
    pub(super) request: u64,
    /// 1 for its first attempt.
    pub(super) number: u32,
    pub(super) at: Time,
    /// How long the request waited for a key just before it.
    pub(super) waited: Duration,
    pub(super) previous: Option<Previous>,
    pub(super) connection: Connection,
}

/// An attempt that brought no answer, or one that looks like an error.
#[derive(Debug)]
pub(super) struct Fallen {
    pub(super) lease: Lease,
    pub(super) probe: Option<Probe>,
    pub(super) entry: OpenEntry,
    pub(super) at: Time,
    /// What looks like an error, or why there is nothing.
    pub(super) brought: Result<Reply, SendError>,
}

/// Answers `demand`: with the first attempt if that goes well, as mostly, else with whatever it takes.
pub(super) async fn run(
    worker: &Worker,
    demand: &Demand<'_>,
    body: &mut RequestBody,
) -> Result<Box<Answered>, Refused> {
    let request = worker.shared.ledger.next_request();
    let now = worker.shared.clock.now();
    let prefer = demand.prefers(worker, now);
    let mut patience = demand.max_wait;
    let tried = Tried::default();
    let need = demand.need(prefer.as_ref(), &tried);
    let first = match worker.shared.room.enter(&demand.caller, &need, &mut patience, now).await {
        Ok(granted) => {
            let at = if patience == demand.max_wait { now } else { worker.shared.clock.now() };
            // What can be sent only once must not meet a connection that may be dead.
            let connection = if body.is_whole() { Connection::Any } else { Connection::Fresh };
            let waited = demand.max_wait.saturating_sub(patience);
            let leave = Leave { request, number: 1, at, waited, previous: None, connection };
            match attempt(worker, demand, body, granted, leave).await {
                Ok(answered) => return Ok(answered),
                Err(fallen) => Ok(fallen),
            }
        }
        Err(gave_up) => Err(gave_up),
    };
    // Boxed, so that requests that go well do not carry its size.
    Box::pin(failover::go_on(worker, demand, body, request, (prefer, patience), first)).await
}

/// Sends `demand` once.
///
/// No `async fn`, which would hold each argument twice.
pub(super) fn attempt<'a>(
    worker: &'a Worker,
    demand: &'a Demand<'_>,
    body: &'a mut RequestBody,
    granted: Granted,
    leave: Leave,
) -> impl Future<Output = Result<Box<Answered>, Box<Fallen>>> {
    let Granted { lease, probe } = granted;
    let Leave { request, number, at, waited, previous, connection } = leave;
    tracing::debug!(key = %lease.key().name(), "request {request} goes out, attempt {number}");
    if let Some(charge) = demand.charge {
        charge.leaves();
    }
    let entry = worker.shared.ledger.entry(Opening {
        request,
        number,
        at,
        inference: demand.inference,
        waited,
        previous,
        caller: Arc::clone(&demand.caller),
        key: lease.key().name().shared(),
        model: Arc::clone(&demand.model),
        path: Arc::clone(&demand.path),
    });
    async move {
        let sent = async {
            let outgoing = body.outgoing().ok_or(SendError::RequestBody)?;
            let headers = for_upstream(
                demand.headers,
                demand.names_others,
                demand.access_token,
                lease.key(),
                demand.inference,
            );
            let head = Head { method: demand.method, target: demand.target, headers };
            let mut sending = pin!(worker.upstream.send(head, outgoing, connection));
            // The first look takes place where the answer arrives: mostly it is the last one, too.
            poll_fn(|cx| sending.as_mut().poll(cx).map_ok(|answer| Arrived::new(demand, answer, cx))).await
        };
        let unclear = match sent.await {
            Ok(Arrived { reply, looks: Looks::Good, .. }) => {
                return Ok(well(worker, demand, Granted { lease, probe }, entry, reply, number));
            }
            Ok(Arrived { reply, looks: Looks::Bad, .. }) => {
                return Err(Box::new(Fallen { lease, probe, entry, at, brought: Ok(reply) }));
            }
            Err(error) => return Err(Box::new(Fallen { lease, probe, entry, at, brought: Err(error) })),
            // Boxed, so that answers that are clear at once do not carry its size.
            Ok(Arrived { mut reply, looking, .. }) => Box::pin(async move {
                let looks = reply.body.hold(looking, worker.shared.settings.commit_after).await;
                if matches!(looks, Looks::Bad | Looks::BadSoFar) {
                    return Err(Box::new(Fallen { lease, probe, entry, at, brought: Ok(reply) }));
                }
                Ok(well(worker, demand, Granted { lease, probe }, entry, reply, number))
            }),
        };
        unclear.await
    }
}

/// The answer to pass on, with the news that a key and a model answered well.
pub(super) fn well(
    worker: &Worker,
    demand: &Demand<'_>,
    granted: Granted,
    mut entry: OpenEntry,
    reply: Reply,
    attempts: u32,
) -> Box<Answered> {
    let Granted { lease, probe } = granted;
    let shared = &*worker.shared;
    let now = shared.clock.now();
    lease.answered(now);
    match probe {
        Some(probe) => probe.answered(),
        None => shared.breakers.answered(&demand.model),
    }
    let name = lease.key().name();
    match demand.conversation {
        Some(conversation) if demand.continues => shared.affinity.keep(conversation, name, now),
        Some(conversation) => shared.affinity.begin(conversation, name, now),
        None => {}
    }
    entry.report.generation = generation(&reply.headers);
    if let Some(generation) = &entry.report.generation {
        shared.affinity.own_generation(generation, name);
    }
    Box::new(Answered { reply, holder: Holder::Lease(lease), entry, attempts, failed: false })
}

/// An answer that has just come.
#[derive(Debug)]
struct Arrived {
    reply: Reply,
    looks: Looks,
    looking: Looking,
}

impl Arrived {
    fn new(demand: &Demand<'_>, answer: Answer, cx: &mut Context<'_>) -> Self {
        let Answer { status, headers, body } = answer;
        let form = Form::of(&headers);
        let mut reply = Reply { status, headers, body: Begun::new(body), form };
        let mut looking = Looking::new(form);
        let looks = match status.as_u16() {
            400.. => Looks::Bad,
            200 if demand.inference => reply.body.look(&mut looking, cx),
            _ => Looks::Good,
        };
        Self { reply, looks, looking }
    }
}

/// Names the generation that an answer is (`OpenRouter` docs, Streaming).
const X_GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");

/// The generation's id, where the head of an answer tells it (`OpenRouter` docs, Streaming).
pub(super) fn generation(headers: &HeaderMap) -> Option<Box<str>> {
    headers.get(X_GENERATION_ID)?.to_str().ok().map(Box::from)
}
