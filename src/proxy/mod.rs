//! The request path: from a caller's request to the answer that passes back.

mod account;
mod allowance;
mod attempt;
mod body;
mod budget;
pub mod cors;
mod failover;
mod headers;
mod hold;
mod local;
mod names;
mod owned;
mod refusal;
pub mod room;
mod route;
mod tap;
pub mod trouble;

use std::borrow::Cow;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;

use self::attempt::{Answered, Demand};
use self::body::{Keep, Kept, RequestBody};
use self::budget::Budget;
use self::cors::Cors;
use self::headers::Marks;
use self::names::Names;
use self::owned::Site;
use self::refusal::{Refusal, Refused};
use self::room::Room;
use self::route::{Own, Route};
use self::tap::{LogLine, Tap};
use self::trouble::{Trouble, Troubles};
use crate::access::allowance::Allowance;
use crate::access::{Access, Denied};
use crate::clock::Clock;
use crate::keys::KeyName;
use crate::keys::affinity::Affinity;
use crate::keys::breaker::Breakers;
use crate::keys::need::{Class, Runs};
use crate::keys::pool::KeyPool;
use crate::keys::state::Fact;
use crate::ledger::{self, Ledger};
use crate::openrouter::dialect::error_body;
use crate::openrouter::request::{self, Around, Wanted};
use crate::openrouter::resource;
use crate::openrouter::usage::Usage;
use crate::upstream::Upstream;

pub use self::tap::ProxyBody;

/// The target of the lines that tell of each request; `--access-log` shows them.
pub const REQUEST: &str = "hermux::request";
/// How a request ended that upstream did not answer.
const REFUSED: &str = "refused";

/// Bodies of other than inference requests are kept up to this size, bytes; larger ones are streamed.
const KEPT_OF_OTHERS: usize = 64 << 10;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Who is let in; replaced as a whole when the file changes.
    pub access: ArcSwap<Access>,
    /// The keys.
    pub keys: KeyPool,
    /// What stays with its key.
    pub affinity: Affinity,
    /// The models that are down.
    pub breakers: Breakers,
    /// Where requests wait for a key or a model.
    pub room: Room,
    /// The account.
    pub ledger: Ledger,
    /// The time.
    pub clock: Clock,
    /// What was configured.
    pub settings: Settings,
    /// Held while what is to be remembered moves to the ledger, so that of two facts about one thing the later is noted last.
    pub remembering: Mutex<()>,
    /// What went wrong lately.
    pub troubles: Troubles,
    /// What all requests share of what is bounded.
    pub bounds: Bounds,
    /// Whether `GET /ready` answers 200: true while requests are served, false from the stop signal on.
    pub ready: AtomicBool,
}

/// What is bounded over all requests.
#[derive(Debug, Default)]
pub struct Bounds {
    kept: Kept,
    retries: Budget,
}

/// The configured part of the request path.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What stands before `/v1` on upstream: `/api`.
    pub base: String,
    /// Whether callers who come by TCP speak TLS.
    pub tls: bool,
    /// Let everybody in, provided that Host and Origin are local.
    pub no_auth: bool,
    /// How much of an inference request's body is kept so that it can be read and sent again, bytes.
    pub replay_bytes: usize,
    /// The same over all requests, bytes.
    pub replay_total: usize,
    /// How long a caller's body may pause.
    pub body_timeout: Duration,
    /// The longest request target, bytes.
    pub max_uri_bytes: usize,
    /// How long a request may wait for a key that rests; zero never waits.
    pub max_wait: Duration,
    /// How long an answer is held while nothing but comments and blank lines came of its body.
    pub commit_after: Duration,
    /// Whether a conversation stays with its account.
    pub affinity: bool,
    /// The pages that may use hermux from a browser; `None` where none may.
    pub cors: Option<Cors>,
}

impl Shared {
    /// Has the ledger remember what changed in the pool; cheap when nothing did. To be called after a fault, so that it is
    /// on disk 100 ms after it happened; what nobody calls it for follows within a moment.
    pub fn remember(&self) {
        // Nothing is done under the lock that could be left half done.
        let _turn = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        let note = |Fact { kind, id, value }: Fact| self.ledger.note(kind, &id, value);
        loop {
            let changed = self.keys.take_facts();
            if changed.is_empty() {
                break;
            }
            changed.into_iter().for_each(note);
        }
        self.affinity.take_facts().into_iter().for_each(note);
        self.keys.tell_of_accounts(self.clock.now());
    }
}

/// One worker's request path. Clones share it; it stays on its thread.
#[derive(Clone, Debug)]
pub struct Proxy(Rc<Worker>);

/// What one worker's requests share.
#[derive(Debug)]
struct Worker {
    shared: Arc<Shared>,
    upstream: Upstream,
    names: Names,
}

/// Who is asking, once let in.
struct Caller<'h> {
    name: Arc<str>,
    access_token: &'h [u8],
    /// What it may use; none where nothing bounds it.
    allowance: Option<Arc<Allowance>>,
}

/// What an answer tells of usage, as the ledger books it.
#[must_use]
pub fn booked(usage: &Usage) -> ledger::Usage {
    let Usage {
        prompt_tokens,
        completion_tokens,
        reasoning_tokens,
        cached_tokens,
        cache_write_tokens,
        cost,
        upstream_cost,
    } = *usage;
    ledger::Usage {
        prompt_tokens,
        completion_tokens,
        reasoning_tokens,
        cached_tokens,
        cache_write_tokens,
        cost,
        upstream_cost,
    }
}

/// Whether a request for `path`, below the API's mount, counts as one of a model, as the ledger names its path.
#[must_use]
pub fn runs_model(path: &str) -> bool {
    route::is_inference(path)
}

impl Proxy {
    /// A worker's request path to `upstream`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, upstream: Upstream) -> Self {
        Self(Rc::new(Worker { shared, upstream, names: Names::default() }))
    }

    /// Answers one request.
    pub fn handle<B>(
        self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<ProxyBody>, Infallible>>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        // Taken apart before the future begins, which then holds each part once.
        let (mut parts, body) = request.into_parts();
        async move {
            let worker = self.0;
            let cors = worker.shared.settings.cors.as_ref();
            if let Some(answer) = cors.and_then(|cors| cors.preflight(&parts)) {
                return Ok(answer);
            }
            let mut answer = match worker.probe(&parts) {
                Some(answer) => answer,
                None => worker.relay(&parts, body).await.unwrap_or_else(|refused| {
                    if !refused.told {
                        let (refusal, path) = (&refused.refusal, route::brief(parts.uri.path()));
                        let status = refusal.status().as_u16();
                        worker.shared.troubles.refused(status, || worker.trouble(refusal, None));
                        tracing::debug!(
                            target: REQUEST,
                            method = %parts.method,
                            %path,
                            status,
                            outcome = REFUSED,
                            attempts = 0,
                            "refused: {}",
                            refusal.message(),
                        );
                    }
                    refused.into_response(route::dialect_of(&parts.uri))
                }),
            };
            if let Some(cors) = cors {
                cors.mark(&parts.headers, answer.headers_mut());
            }
            worker.upstream.spare(std::mem::take(&mut parts.headers));
            Ok(answer)
        }
    }
}

impl Worker {
    async fn relay<B>(self: &Rc<Self>, parts: &Parts, body: B) -> Result<Response<ProxyBody>, Refused>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        let Shared { settings, bounds, .. } = &*self.shared;
        let marks = Marks::of(&parts.headers);
        if marks.framing_is_odd() {
            return Err(Refusal::BadRequest("the request's framing is ambiguous").into());
        }
        let route = match route::of(&parts.method, &parts.uri, parts.version, settings.max_uri_bytes) {
            // What may not be used by anybody is told only to those who may use the rest.
            Err(Refusal::ManagementOnly) => {
                return Err(self.admit(parts).err().unwrap_or(Refusal::ManagementOnly).into());
            }
            route => route?,
        };
        let Caller { name, access_token, allowance } = self.admit(parts)?;
        if headers::is_in_query(parts.uri.query(), access_token) {
            return Err(Refusal::BadRequest("the access token belongs in a header, not in the query").into());
        }
        let max_wait = marks.max_wait(settings.max_wait)?;

        let sees_some = match &allowance {
            Some(allowance) => allowance::admit(allowance, &parts.method, &route, self.shared.clock.now())?,
            None => false,
        };
        if let Some(own) = route.own {
            return Box::pin(self.own_answer(own, parts, name, access_token, allowance.as_deref())).await;
        }

        let most =
            if route.inference { settings.replay_bytes } else { KEPT_OF_OTHERS.min(settings.replay_bytes) };
        let keep = Keep { most, total: settings.replay_total, kept: &bounds.kept };
        let mut body = RequestBody::take(body, keep, settings.body_timeout, access_token).await?;
        let wanted = if route.inference {
            request::read(body.beginning(), &Around { caller: &name, session: marks.session })
        } else {
            Wanted::default()
        };
        let owner = self.owner(&route, body.beginning(), &wanted);
        let bounded = allowance.as_ref().filter(|_| route.inference);
        let now = || self.shared.clock.now();
        let charge = bounded.map(|own| allowance::charge(own, &parts.headers, &body, now())).transpose()?;
        // An answer that is to be read here must not come compressed.
        let is_read = sees_some || (route.makes.is_some() && !route.inference);
        let plain = is_read.then(|| owned::wanting_plain(&parts.headers, sees_some));
        let others = self.others(&route, parts, &body, &wanted);
        let target = target(&settings.base, &route, &parts.uri);
        let demand = Demand {
            method: &parts.method,
            target: &target,
            headers: plain.as_ref().unwrap_or(&parts.headers),
            names_others: marks.names_others,
            access_token,
            inference: route.inference,
            class: class_of(&route, &wanted),
            runs: self.runs(&route, parts, others.as_deref()),
            conversation: wanted.conversation.filter(|_| settings.affinity),
            continues: wanted.continues,
            asks_around: owner.is_none() && owned::may_ask_around(&parts.method, &route),
            owner,
            keys: allowance.as_ref().and_then(|allowance| allowance.terms.keys.as_ref()),
            charge: charge.as_ref(),
            max_wait,
            caller: name,
            model: self.model_of(&wanted, access_token),
            path: route::name(route.path),
        };
        let log =
            tracing::enabled!(target: REQUEST, tracing::Level::DEBUG).then(|| Box::new(LogLine::of(&demand)));
        let answered = match attempt::run(self, &demand, &mut body).await {
            Ok(answered) => answered,
            Err(refused) => return Err(self.told(refused, &demand, log)),
        };
        self.remember(&route, &demand, &answered);
        let attempts = answered.attempts;
        let asked = (demand.caller, demand.model);
        let (mut tap, status, mut headers) = Tap::new(Rc::clone(self), answered, &route, asked, log);
        headers::for_caller(&mut headers, tap.key(), attempts);
        tap.charge = charge;
        tap.begin();
        let telling = route.makes.filter(|kind| owned::is_to_be_read(kind, status, &headers));
        let body = if tap.hides_what_it_says() {
            // A key in it could not be found, so it stays here.
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            tap.withhold();
            let message = "hermux: upstream's error came encoded and was withheld";
            ProxyBody::from(error_body(route.dialect, status.as_u16(), message))
        } else if let Some(kind) = telling {
            let maker = tap.key().name().clone();
            // Boxed, so that other requests do not carry its size.
            Box::pin(self.read(ProxyBody::Tapped(tap), kind, &maker, parts, &mut headers)).await
        } else if let Some(allowance) = allowance.as_ref().filter(|_| sees_some) {
            let body = ProxyBody::Tapped(tap);
            let terms = &allowance.terms;
            Box::pin(allowance::only_allowed(terms, body, status, &mut headers, &parts.method)).await?
        } else {
            ProxyBody::Tapped(tap)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Tells of a request that was let in and got no answer of upstream's.
    #[cold]
    fn told(&self, refused: Refused, demand: &Demand<'_>, log: Option<Box<LogLine>>) -> Refused {
        let status = refused.refusal.status().as_u16();
        self.shared.troubles.refused(status, || self.trouble(&refused.refusal, Some(demand)));
        if let Some(log) = log {
            log.refused(status, refused.attempts, &refused.refusal.message());
        }
        Refused { told: true, ..refused }
    }

    fn trouble(&self, refusal: &Refusal, demand: Option<&Demand<'_>>) -> Trouble {
        Trouble {
            at: self.shared.clock.now(),
            key: None,
            caller: demand.map(|demand| Arc::clone(&demand.caller)),
            model: demand.map(|demand| Arc::clone(&demand.model)),
            what: refusal.message().trim_start_matches("hermux: ").to_owned(),
            status: Some(refusal.status().as_u16()),
        }
    }

    /// Which models a request may run besides the one it names first; none where that can't be told, or no key asks for it.
    fn others(
        &self,
        route: &Route<'_>,
        parts: &Parts,
        body: &RequestBody,
        wanted: &Wanted,
    ) -> Option<Vec<String>> {
        let is_asked_for = route.inference && self.shared.keys.is_restricted();
        is_asked_for.then(|| allowance::others(&parts.headers, body, wanted.model.as_deref())).flatten()
    }

    fn runs<'a>(&self, route: &Route<'_>, parts: &Parts, others: Option<&'a [String]>) -> Runs<'a> {
        let may_run_unseen =
            || self.shared.keys.is_restricted() && allowance::may_run_unseen(&parts.method, route);
        match others {
            Some(others) => Runs::Named(others),
            None if route.inference || may_run_unseen() => Runs::Unseen,
            None => Runs::Nothing,
        }
    }

    /// The name of the model, as it may be told; clients put access tokens and keys there as well.
    fn model_of(&self, wanted: &Wanted, access_token: &[u8]) -> Arc<str> {
        let is_secret = |name: &str| {
            route::looks_secret(name)
                || (!name.is_empty() && name.as_bytes() == access_token)
                || self.shared.access.load().knows(name)
        };
        self.names.of(wanted.model.as_deref().unwrap_or_default(), is_secret)
    }

    /// The key that made what the request asks for, or what its body names. One whose row is gone counts for nobody: it
    /// may have another name now.
    fn owner(&self, route: &Route<'_>, body: &[u8], wanted: &Wanted) -> Option<KeyName> {
        let Shared { affinity, keys, .. } = &*self.shared;
        let owner = |resource: &str| affinity.owner(resource).filter(|owner| keys.has_account_of(owner));
        if let Some(resource) = &route.resource {
            return owner(resource);
        }
        if body.is_empty() || !affinity.knows_resources() {
            return None;
        }
        resource::named_in(body, wanted.model.as_deref()).iter().find_map(|resource| owner(resource))
    }

    /// Notes which key has a resource that was asked for.
    fn remember(&self, route: &Route<'_>, demand: &Demand<'_>, answered: &Answered) {
        if !demand.asks_around || !answered.reply.status.is_success() {
            return;
        }
        if let Some(resource) = route.resource.as_deref() {
            let Shared { affinity, clock, .. } = &*self.shared;
            affinity.own(resource, answered.holder.key().name(), clock.now());
        }
    }

    /// Reads an answer that tells of a resource of `kind`, which `maker` made, before it passes.
    async fn read(
        &self,
        body: ProxyBody,
        kind: &str,
        maker: &KeyName,
        parts: &Parts,
        headers: &mut HeaderMap,
    ) -> ProxyBody {
        let Shared { affinity, clock, settings, .. } = &*self.shared;
        let upstream = self.upstream.authority();
        let (host, scheme) = (owned::host_of(parts), owned::scheme_of(parts, settings.tls));
        let site = Site { upstream: &upstream, base: &settings.base, host, scheme };
        owned::read(body, headers, kind, &site, |id| affinity.own(id, maker, clock.now())).await
    }

    /// Answers for the pool, as far as the caller may use it.
    async fn own_answer(
        &self,
        own: Own,
        parts: &Parts,
        caller: Arc<str>,
        access_token: &[u8],
        allowance: Option<&Allowance>,
    ) -> Result<Response<ProxyBody>, Refused> {
        let line = tracing::enabled!(target: REQUEST, tracing::Level::DEBUG)
            .then(|| LogLine::new(&parts.method, &caller, &"".into(), route::brief(parts.uri.path()).into()));
        match self.told_here(own, parts, caller, access_token, allowance).await {
            Ok(answer) => {
                if let Some(line) = line {
                    line.answered_here(answer.status().as_u16());
                }
                Ok(answer)
            }
            Err(refusal) => {
                let status = refusal.status().as_u16();
                self.shared.troubles.refused(status, || self.trouble(&refusal, None));
                if let Some(line) = line {
                    line.refused(status, 0, &refusal.message());
                }
                Err(Refused { told: true, ..refusal.into() })
            }
        }
    }

    async fn told_here(
        &self,
        own: Own,
        parts: &Parts,
        caller: Arc<str>,
        access_token: &[u8],
        allowance: Option<&Allowance>,
    ) -> Result<Response<ProxyBody>, Refusal> {
        let now = self.shared.clock.now();
        match (own, allowance.and_then(|own| Some((own, own.terms.daily_cost?)))) {
            (Own::Key, _) => return Ok(account::key_answer(&self.shared.keys.state(now), allowance, now)),
            (Own::Credits, Some((allowance, most))) => {
                return Ok(account::budget_answer(most, allowance, now));
            }
            (Own::Credits, None) => {}
        }
        let target = format!("{}/v1/credits", self.shared.settings.base);
        let keys = allowance.and_then(|allowance| allowance.terms.keys.as_ref());
        let asked = account::Asked { caller, access_token, headers: &parts.headers, keys, target: &target };
        account::credits(&self.shared, &self.upstream, &asked).await
    }

    /// Lets a caller in, or says why not.
    fn admit<'h>(&self, parts: &'h Parts) -> Result<Caller<'h>, Refusal> {
        let Settings { no_auth, cors, .. } = &self.shared.settings;
        if *no_auth {
            let is_local = local::is_local(parts, cors.as_ref());
            return is_local
                .then(|| Caller { name: Arc::from("anonymous"), access_token: b"", allowance: None })
                .ok_or(Refusal::NotLocal);
        }
        let access = self.shared.access.load();
        let admitted = access.check(&parts.headers).map_err(Refusal::Unauthorized)?;
        let allowance = admitted.caller.allowance.clone();
        if allowance.as_ref().is_some_and(|allowance| allowance.terms.has_expired(self.shared.clock.now())) {
            return Err(Refusal::Unauthorized(Denied::Expired));
        }
        Ok(Caller { name: Arc::clone(&admitted.caller.name), access_token: admitted.token, allowance })
    }

    /// The two paths that need no access token and say no more than yes or no.
    fn probe(&self, parts: &Parts) -> Option<Response<ProxyBody>> {
        let is_well = match parts.uri.path() {
            "/health" => true,
            "/ready" => self.shared.ready.load(Ordering::Relaxed),
            _ => return None,
        };
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return None;
        }
        let (status, text) =
            if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") };
        let mut response = Response::new(ProxyBody::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Some(response)
    }
}

/// Which of a key's quotas a request draws on.
fn class_of(route: &Route<'_>, wanted: &Wanted) -> Class {
    match wanted.free {
        _ if !route.inference => Class::Other,
        true => Class::Free,
        false => Class::Paid,
    }
}

/// Path and query on upstream: the base and the mount are ours, the rest is as the caller wrote it. Mostly the caller wrote
/// all of it as upstream knows it.
fn target<'a>(base: &str, route: &Route<'_>, uri: &'a Uri) -> Cow<'a, str> {
    let mount = route.mount.as_str();
    let below = uri.path().strip_prefix(base).and_then(|path| path.strip_prefix(mount));
    if let Some(asked) = uri.path_and_query().filter(|_| below == Some(route.path)) {
        return Cow::Borrowed(asked.as_str());
    }
    let query = uri.query();
    let query_length = query.map_or(0, |query| query.len() + 1);
    let mut target = String::with_capacity(base.len() + mount.len() + route.path.len() + query_length);
    target.push_str(base);
    target.push_str(mount);
    target.push_str(route.path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Cow::Owned(target)
}
