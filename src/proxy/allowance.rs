//! What an access token's terms mean for a request: which models it may name, what it counts, what it is shown.

use std::cell::Cell;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use super::body::RequestBody;
use super::owned::can_be_read;
use super::refusal::Refusal;
use super::route::{self, Route};
use super::tap::ProxyBody;
use crate::access::Terms;
use crate::access::allowance::Allowance;
use crate::clock::Time;
use crate::keys::need::matches;
use crate::openrouter::catalogue::{self, Shows};

/// The largest list of models that is read to be taken apart, bytes. `OpenRouter`'s whole list is about a tenth of it.
const LARGEST_LIST: usize = 16 << 20;

/// The longest name of a model that a refusal repeats, bytes.
const LONGEST_TOLD: usize = 128;

/// A request that counts for its caller. Unless an attempt leaves, it is given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    allowance: Arc<Allowance>,
    at: Time,
    left: Cell<bool>,
}

impl Charge {
    /// An attempt leaves, so that it counts whatever becomes of it.
    pub(super) fn leaves(&self) {
        self.left.set(true);
    }

    /// Adds what it cost, nano-dollars.
    pub(super) fn costs(&self, cost: i64) {
        self.allowance.spend(cost, self.at);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.left.get() {
            self.allowance.give_back(self.at);
        }
    }
}

/// What a caller whose use is bounded may change besides: first segments, and the one path that only counts. Anything else
/// may run models, as batches do, or come to do so.
const RUNS_NONE: [&str; 5] = ["/files", "/containers", "/presets", "/vault", "/messages/count_tokens"];

/// Refuses, before its body is read, what the body can't change: a request for which nothing is left, one that may run what
/// is not seen here, and one for a model that its caller may not use. Tells whether the answer is a list of models, of which
/// the caller may see some only.
pub(super) fn admit(
    allowance: &Allowance,
    method: &Method,
    route: &Route<'_>,
    now: Time,
) -> Result<bool, Refusal> {
    let terms = &allowance.terms;
    if route.inference {
        return allowance.look(now).map(|()| false).map_err(|over| Refusal::over(over, now));
    }
    if terms.models.is_empty() && !terms.bounds_use() {
        return Ok(false);
    }
    // However it is spelled.
    let path = route::plainly(route.path);
    if ![Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(method) {
        let is_below = |known: &str| {
            path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // A preset names the models that it runs, so whoever makes one chooses them.
        let chooses = !terms.models.is_empty() && is_below("/presets");
        let runs_none = !chooses && RUNS_NONE.iter().any(|known| is_below(known));
        return runs_none.then_some(false).ok_or(Refusal::Unseen);
    }
    if terms.models.is_empty() {
        return Ok(false);
    }
    match catalogue::shown(&path) {
        None => Ok(false),
        Some(Shows::List) => Ok(true),
        Some(Shows::Model(model)) => may_use(terms, &model).map(|()| false),
        Some(Shows::Count) => Err(Refusal::ModelsUnclear("those are not counted; GET /models lists them")),
    }
}

/// Counts a request of inference once it is known what it runs.
pub(super) fn charge(
    allowance: &Arc<Allowance>,
    headers: &HeaderMap,
    body: &RequestBody,
    now: Time,
) -> Result<Charge, Refusal> {
    may_run(&allowance.terms, headers, body.is_whole().then(|| body.beginning()))?;
    allowance.take(now).map_err(|over| Refusal::over(over, now))?;
    Ok(Charge { allowance: Arc::clone(allowance), at: now, left: Cell::new(false) })
}

/// Refuses a request of inference that runs, or may run, a model that its caller may not use. `body` is all of it, or none
/// where it is too large to be kept.
fn may_run(terms: &Terms, headers: &HeaderMap, body: Option<&[u8]>) -> Result<(), Refusal> {
    if terms.models.is_empty() {
        return Ok(());
    }
    if !is_said_to_be_json(headers) {
        return Err(UNREADABLE);
    }
    let body = body.ok_or(Refusal::ModelsUnclear("the request is too large to find its models in it"))?;
    let models = catalogue::models_of(body).ok_or(UNREADABLE)?;
    if models.is_empty() {
        return Err(Refusal::ModelsUnclear("the request names none"));
    }
    models.iter().try_for_each(|model| may_use(terms, model))
}

const UNREADABLE: Refusal = Refusal::ModelsUnclear(
    "those of the request can't be read; send them in a JSON object, as application/json, not encoded",
);

/// Whether nobody takes the body for something else than JSON: the same bytes may be a form too, with another model in it
/// (`OpenRouter` API reference: transcriptions come as forms as well).
fn is_said_to_be_json(headers: &HeaderMap) -> bool {
    let is_json = |value: &HeaderValue| {
        let kind = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"application/json")
    };
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    headers.get_all(CONTENT_TYPE).iter().all(is_json)
        && headers.get_all(CONTENT_ENCODING).iter().all(is_plain)
}

fn may_use(terms: &Terms, model: &str) -> Result<(), Refusal> {
    if is_among(terms, model) {
        return Ok(());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@~*".contains(&byte);
    let is_fit = model.len() <= LONGEST_TOLD && model.bytes().all(is_plain) && !route::looks_secret(model);
    Err(Refusal::ModelNotAllowed(is_fit.then(|| model.into())))
}

fn is_among(terms: &Terms, model: &str) -> bool {
    terms.models.is_empty() || terms.models.iter().any(|pattern| matches(pattern, model))
}

/// A list of models without those that the caller may not use. Errors pass; what is not understood is refused.
pub(super) async fn only_allowed(
    terms: &Terms,
    mut body: ProxyBody,
    status: StatusCode,
    headers: &mut HeaderMap,
    method: &Method,
) -> Result<ProxyBody, Refusal> {
    const UNCLEAR: Refusal = Refusal::ModelsUnclear("upstream's list can't be taken apart in this form");
    if !status.is_success() {
        return Ok(body);
    }
    // They belong to the list that is not shown.
    for name in [CONTENT_LENGTH, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
    if *method == Method::HEAD {
        return Ok(body);
    }
    if status != StatusCode::OK || !can_be_read(status, headers) {
        return Err(UNCLEAR);
    }
    let mut list = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| UNCLEAR)?.into_data() else { continue };
        if list.len() + data.len() > LARGEST_LIST {
            return Err(UNCLEAR);
        }
        list.extend_from_slice(&data);
    }
    let kept = catalogue::only(&list, |model| is_among(terms, model)).ok_or(UNCLEAR)?;
    Ok(ProxyBody::from(Bytes::from(kept)))
}
