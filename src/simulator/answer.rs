//! One request from its head to the head of its answer: record, body, faults, then the answer itself.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::asked::{Asked, Dialect};
use super::body::{Charge, ScriptBody, Ticket};
use super::dialect::Said;
use super::errors::{Cause, Denial};
use super::fault::{Canned, Stage, Then};
use super::record::{Attempt, Class, credential};
use super::route;
use super::script::{COMMENT, End, Piece, Script};
use super::wire::Wire;
use crate::clock::Time;

/// The largest body that is kept whole while a request is answered, bytes.
const MAX_BODY: usize = 64 << 20;

/// An answer before faults have changed it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) script: Script,
    /// What a model said, where one did.
    pub(super) said: Option<Said>,
    pub(super) charge: Option<Charge>,
    /// What it tells of the key or its account.
    pub(super) cause: Option<Cause>,
}

impl Reply {
    pub(super) fn canned(canned: Canned) -> Self {
        Self {
            status: canned.status,
            headers: canned.headers,
            script: Script::whole(canned.body),
            said: None,
            charge: None,
            cause: None,
        }
    }

    pub(super) fn denial(denial: &Denial, dialect: Option<Dialect>) -> Self {
        let answer = denial.answer(dialect == Some(Dialect::Messages));
        Self { cause: denial.cause, ..Self::canned(answer) }
    }

    /// The same under status 200: as the only event of a stream, or as the body.
    pub(super) fn denial_inside(denial: &Denial, dialect: Option<Dialect>, stream: bool, id: String) -> Self {
        let mut reply = Self { status: 200, ..Self::denial(denial, dialect) };
        if let (true, Some(dialect)) = (stream, dialect) {
            reply.headers = vec![(CONTENT_TYPE.to_string(), "text/event-stream".to_owned())];
            reply.script.length = None;
            reply.script.pieces = [Piece::new(COMMENT), Said::refusal_event(dialect, denial)].into();
        }
        reply.headers.push(("x-generation-id".to_owned(), id));
        reply
    }
}

/// Answers one request.
pub(super) async fn serve(
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    request: Request<Incoming>,
) -> Result<Response<ScriptBody>, Infallible> {
    let (head, body) = request.into_parts();
    let number = arrive(&shared, &wire, &head);
    let mut ticket = Ticket::new(Arc::clone(&shared), wire, number);
    let mut then = strike(&shared, number, Stage::Head);
    let mut bytes = Bytes::new();
    if then.is_empty() {
        match receive(&shared, number, body).await {
            Some(Ok(whole)) => bytes = whole,
            Some(Err(denial)) => then = vec![Then::Deny(denial)],
            None => {
                ticket.leave();
                return pending().await;
            }
        }
        if then.is_empty() {
            then = strike(&shared, number, Stage::Whole);
        }
    }
    let pause = shared.with(|state, _| state.pace.head);
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    before_the_head(&then, &ticket).await;
    let dialect = Dialect::of(route::below_api(head.uri.path()).unwrap_or_default());
    let asked = Asked::read(&bytes).unwrap_or_default();
    let mut reply = if let Some(reply) = instead(&shared, &then, dialect, &asked) {
        reply
    } else {
        let real = route::answer(&shared, &head, &bytes);
        if then.is_empty() && real.charge.is_some() {
            then = strike(&shared, number, Stage::Provider);
            provided(&shared, real, &then, dialect, &asked, &ticket).await
        } else {
            real
        }
    };
    change(&mut reply, &then, dialect);
    Ok(respond(&shared, reply, &head.method, &mut ticket).map(|script| ScriptBody::new(script, ticket)))
}

/// What becomes of a request that was let through, when it meets `then` at the provider.
async fn provided(
    shared: &Shared,
    real: Reply,
    then: &[Then],
    dialect: Option<Dialect>,
    asked: &Asked,
    ticket: &Ticket,
) -> Reply {
    if then.iter().any(Then::replaces)
        && let Some(charge) = &real.charge
    {
        shared.with(|state, _| state.books.abandon(&charge.id));
    }
    before_the_head(then, ticket).await;
    instead(shared, then, dialect, asked).unwrap_or(real)
}

/// Writes down that a request is here.
fn arrive(shared: &Shared, wire: &Wire, head: &Parts) -> usize {
    let mut headers = head.headers.clone();
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"] {
        if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
            entry.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
    let secret = credential(&head.headers);
    let (known, at) = shared.with(|state, now| {
        let known = secret.and_then(|it| state.books.name(it));
        (known.map(|(key, account)| (key.to_owned(), account.to_owned())), now)
    });
    let (key, account) = known.unzip();
    shared.records.add(Attempt {
        number: 0,
        connection: wire.number,
        nth_on_connection: wire.next_request(),
        arrived: Instant::now(),
        at,
        method: head.method.clone(),
        target: head.uri.to_string(),
        key,
        account,
        class: Class::Other,
        headers,
        body: Bytes::new(),
        body_len: 0,
        body_sha256: None,
        body_complete: false,
        trailers: None,
        model: None,
        stream: false,
        status: None,
        cause: None,
        answered: None,
        generation: None,
        sent: 0,
        outcome: None,
        ended: None,
    })
}

fn strike(shared: &Shared, number: usize, stage: Stage) -> Vec<Then> {
    let Some(attempt) = shared.records.get(number) else { return Vec::new() };
    shared.with(|state, _| state.faults.strike(&attempt, stage))
}

/// Receives the body and writes down, as it comes, how much of it has arrived; nothing when it breaks off.
async fn receive(shared: &Shared, number: usize, mut body: Incoming) -> Option<Result<Bytes, Denial>> {
    let keep = shared.with(|state, _| state.keep_body);
    let mut whole = BytesMut::new();
    let mut fits = true;
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let data = match frame.ok()?.into_data() {
            Ok(data) => data,
            Err(other) => {
                let trailers = other.into_trailers().ok();
                shared.records.change(number, |attempt| attempt.trailers = trailers);
                continue;
            }
        };
        digest.update(&data);
        fits &= whole.len() + data.len() <= MAX_BODY;
        if fits {
            whole.extend_from_slice(&data);
        }
        shared.records.change(number, |attempt| attempt.body_len += data.len() as u64);
    }
    let whole = whole.freeze();
    let asked = Asked::read(&whole).unwrap_or_default();
    shared.records.change(number, |attempt| {
        attempt.body = whole.slice(..whole.len().min(keep));
        attempt.body_sha256 = Some(digest.finalize().into());
        attempt.body_complete = true;
        attempt.class = match &asked.model {
            None => Class::Other,
            Some(model) if model.ends_with(":free") => Class::Free,
            Some(_) => Class::Paid,
        };
        attempt.model = asked.model;
        attempt.stream = asked.stream;
    });
    Some(if fits { Ok(whole) } else { Err(Denial::new(413, "Request payload too large")) })
}

/// Does what comes before any answer: delays, silence, the bare connection.
async fn before_the_head(then: &[Then], ticket: &Ticket) {
    for then in then {
        match then {
            Then::DelayHead(duration) => tokio::time::sleep(*duration).await,
            Then::Stall => pending().await,
            Then::Wire(steps) => {
                ticket.wire.end(steps.clone());
                pending::<()>().await;
            }
            _ => {}
        }
    }
}

/// The answer that stands in for the real one, where there is one.
fn instead(shared: &Shared, then: &[Then], dialect: Option<Dialect>, asked: &Asked) -> Option<Reply> {
    then.iter().find_map(|then| match then {
        Then::Answer(canned) => Some(Reply::canned(canned.clone())),
        Then::Deny(denial) => Some(Reply::denial(denial, dialect)),
        Then::DenyInside(denial) => {
            let id = shared.next_generation();
            Some(Reply::denial_inside(denial, dialect, asked.stream, id))
        }
        Then::ErrorInside(json) => {
            let mut reply = Reply::canned(Canned::json(200, json.clone()));
            if asked.stream {
                let name = if dialect == Some(Dialect::Messages) { "event: error\n" } else { "" };
                reply.headers = vec![(CONTENT_TYPE.to_string(), "text/event-stream".to_owned())];
                reply.script.length = None;
                reply.script.pieces =
                    [Piece::new(COMMENT), Piece::event(format!("{name}data: {json}\n\n"))].into();
            }
            reply.headers.push(("x-generation-id".to_owned(), shared.next_generation()));
            Some(reply)
        }
        _ => None,
    })
}

/// Changes an answer as the faults say, in their order.
fn change(reply: &mut Reply, then: &[Then], dialect: Option<Dialect>) {
    for then in then {
        match then {
            Then::StallAfter(after) => reply.script.stop(*after, End::Stall),
            Then::Cut(after, how) => reply.script.stop(*after, End::Cut(*how)),
            Then::EndAfter(after) => reply.script.stop(*after, End::Clean),
            Then::ErrorAfter(after, denial) => {
                if let (Some(said), Some(dialect)) = (&reply.said, dialect) {
                    reply.script.stop(*after, End::Clean);
                    reply.script.pieces.push_back(said.error_event(dialect, denial));
                }
            }
            Then::Split(size) => reply.script.split(*size),
            Then::Header(name, value) => reply.headers.push((name.clone(), value.clone())),
            _ => {}
        }
    }
    if let Some(charge) = reply.charge.as_mut().filter(|charge| charge.streamed) {
        charge.planned = reply.script.pieces.iter().map(|piece| piece.tokens).sum();
    }
}

/// Puts the head together and writes down what it says.
fn respond(shared: &Shared, reply: Reply, method: &Method, ticket: &mut Ticket) -> Response<Script> {
    let Reply { status, headers, mut script, charge, cause, .. } = reply;
    if *method == Method::HEAD {
        script.pieces.clear();
        script.end = End::Clean;
    }
    let mut response = Response::new(script);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (more, now) = shared.with(|state, now| (state.headers.clone(), now));
    let own = [
        (DATE.as_str(), http_date(now)),
        ("server", "cloudflare".to_owned()),
        ("cf-ray", format!("{:016x}-SIM", ticket.number)),
        ("set-cookie", format!("__cf_bm={:x}; path=/; HttpOnly; Secure", ticket.number)),
        ("access-control-allow-origin", "*".to_owned()),
    ];
    let to = response.headers_mut();
    for (name, value) in own {
        append(to, name, &value);
    }
    for (name, value) in headers.iter().chain(&more) {
        append(to, name, value);
    }
    let generation = to.get("x-generation-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    shared.records.change(ticket.number, |attempt| {
        attempt.status = Some(status);
        attempt.cause = cause;
        attempt.answered = Some(Instant::now());
        attempt.generation = generation;
    });
    if let Some(charge) = charge {
        ticket.charge(charge);
    }
    response
}

/// Adds a header; one that can't be sent is a mistake of the scenario and stays away.
fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.append(name, value);
    }
}

fn http_date(now: Time) -> String {
    jiff::Timestamp::from_millisecond(now.0)
        .map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default()
}
