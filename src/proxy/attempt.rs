//! The loop of attempts: lease a key, send, and either answer or try once more.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::body::RequestBody;
use super::headers::for_upstream;
use super::owned::another_account_may_have_it;
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::keys::KeyName;
use crate::keys::need::{Bind, Class, Need, Tried};
use crate::keys::pool::{KeyPool, Lease};
use crate::ledger::{Ledger, OpenEntry, Opening, Outcome, Previous};
use crate::upstream::{Answer, Connection, Head, SendError, Upstream};

/// A request as it is to be sent, whichever key serves it.
#[derive(Debug)]
pub(super) struct Demand<'a> {
    pub(super) method: &'a Method,
    /// Path and query on upstream.
    pub(super) target: &'a str,
    /// As the caller sent them.
    pub(super) headers: &'a HeaderMap,
    pub(super) access_token: &'a [u8],
    pub(super) inference: bool,
    /// Which of a key's quotas it draws on.
    pub(super) class: Class,
    /// The conversation it is a turn of.
    pub(super) conversation: Option<u64>,
    /// Whether that had an earlier turn, so that its key is worth keeping.
    pub(super) continues: bool,
    /// The key whose resource it asks for.
    pub(super) owner: Option<KeyName>,
    /// Whether it reads a resource whose owner is not known, so that other accounts may be asked for it.
    pub(super) asks_around: bool,
    pub(super) caller: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) path: Arc<str>,
}

/// An answer with what is to be settled at its end.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) lease: Lease,
    pub(super) entry: OpenEntry,
}

/// What an attempt needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tools<'a> {
    pub(super) keys: &'a KeyPool,
    pub(super) ledger: &'a Ledger,
    pub(super) upstream: &'a Upstream,
    pub(super) clock: &'a Clock,
}

/// Sends `demand` with the key that was used least, and once more with the same key when a kept-alive
/// connection turns out to be dead before any byte of an answer.
pub(super) async fn run(
    tools: &Tools<'_>,
    demand: &Demand<'_>,
    body: &mut RequestBody,
) -> Result<Answered, Refusal> {
    let bind = demand.owner.as_ref().map_or(Bind::Free, Bind::Only);
    let mut tried = Tried::default();
    let need = Need { model: &demand.model, class: demand.class, bind, tried: &tried };
    let mut lease = tools.keys.lease(&need, tools.clock.now()).map_err(|_| Refusal::NoKeys)?;
    let request = tools.ledger.next_request();
    // What can be sent only once must not meet a connection that may be dead.
    let mut connection = if body.is_whole() { Connection::Any } else { Connection::Fresh };
    let mut number = 1;
    let mut previous = None;
    loop {
        let outgoing = body.outgoing().ok_or(Refusal::BodyBroken)?;
        let at = tools.clock.now();
        let mut entry = tools.ledger.entry(Opening {
            request,
            number,
            at,
            previous: previous.take(),
            caller: Arc::clone(&demand.caller),
            key: lease.key().name().shared(),
            model: Arc::clone(&demand.model),
            path: Arc::clone(&demand.path),
        });
        let headers = for_upstream(demand.headers, demand.access_token, lease.key(), demand.inference);
        let head = Head { method: demand.method, target: demand.target, headers };
        match tools.upstream.send(head, outgoing, connection).await {
            // Whoever made it knows it; the others say that there is none.
            Ok(answer) if another_account_may_have_it(demand.asks_around, answer.status, number) => {
                tried.account(&lease);
                let need = Need { model: &demand.model, class: demand.class, bind, tried: &tried };
                let Ok(next) = tools.keys.lease(&need, tools.clock.now()) else {
                    return Ok(Answered { answer, lease, entry });
                };
                entry.report.status = Some(answer.status.as_u16());
                entry.finish(Outcome::Failed);
                previous = Some(Previous { key: lease.key().name().shared(), at });
                number += 1;
                lease = next;
            }
            Ok(answer) => return Ok(Answered { answer, lease, entry }),
            Err(SendError::Stale) if connection == Connection::Any => {
                entry.finish(Outcome::Failed);
                tracing::debug!("sent again on a fresh connection: request {request}");
                lease.count_again(tools.clock.now());
                connection = Connection::Fresh;
                number += 1;
                previous = Some(Previous { key: lease.key().name().shared(), at });
            }
            // The caller broke its own upload off.
            Err(SendError::RequestBody) => {
                entry.finish(Outcome::Cancelled);
                return Err(Refusal::BodyBroken);
            }
            Err(error) => {
                entry.finish(Outcome::Failed);
                tracing::warn!(key = %lease.key().name(), "request {request} failed: {error}");
                return Err(Refusal::from(&error));
            }
        }
    }
}
