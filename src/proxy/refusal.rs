//! Every answer hermux makes itself, in the dialect of the route.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use super::headers::{X_HERMUX_ATTEMPTS, number};
use super::room::{Blocked, Full, ROOM_FOR_ALL, ROOM_FOR_CALLER};
use crate::access::Denied;
use crate::access::allowance::{Bound, Over};
use crate::clock::Time;
use crate::keys::need::{Exhausted, Why};
use crate::openrouter::dialect::{Dialect, error_body};
use crate::upstream::SendError;

/// Why a request is not answered by upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a path of the API.
    NoSuchRoute,
    /// A path that only a management key may use.
    ManagementOnly,
    /// CONNECT or TRACE.
    Method,
    /// A request that could be read in two ways, or would mean another path upstream.
    BadRequest(&'static str),
    /// The target is longer than allowed.
    UriTooLong,
    /// No access token that is in force.
    Unauthorized(Denied),
    /// The caller may not use this model; its name, where it is fit to be told.
    ModelNotAllowed(Option<Box<str>>),
    /// Which models a request runs, or an answer shows, can't be told, and the caller may not use all of them.
    ModelsUnclear(&'static str),
    /// What the endpoint runs, and costs, can't be seen here, and the caller's use is bounded.
    Unseen,
    /// The caller used up what it may use: which bound, and how many seconds until there is more.
    Over(Bound, u64),
    /// With `--no-auth`: the request names a host or an origin that is not local.
    NotLocal,
    /// The caller's body stopped coming.
    BodyTimeout,
    /// The caller's body broke off; nobody may be there to read this.
    BodyBroken,
    /// No key can serve the request now.
    Exhausted {
        /// Whole seconds until the first key comes back; none where that needs a person.
        after: Option<u64>,
        /// What holds how many keys, most first.
        why: Vec<(Why, usize)>,
    },
    /// The model fails upstream, and is asked again in so many seconds.
    ModelDown(u64),
    /// As many wait already as may, for what comes back in so many seconds.
    Full(Full, u64),
    /// The key it went out with could not serve it, and it can't be sent again with another.
    SentOnce,
    /// Upstream gave no answer: whether it was too late, and a sentence.
    Upstream {
        /// 504 instead of 502.
        timeout: bool,
        /// What happened, without addresses and secrets.
        message: String,
    },
}

impl From<&SendError> for Refusal {
    fn from(error: &SendError) -> Self {
        let timeout = matches!(error, SendError::ConnectTimeout | SendError::FirstByteTimeout);
        Refusal::Upstream { timeout, message: error.to_string() }
    }
}

/// A refusal, and how many attempts were made before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) attempts: u32,
    /// Whether the log has it already.
    pub(super) told: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, attempts: 0, told: false }
    }
}

impl Refused {
    /// The answer itself.
    pub(super) fn into_response<B: From<Bytes>>(self, dialect: Dialect) -> Response<B> {
        let mut response = self.refusal.into_response(dialect);
        if self.attempts > 0 {
            response.headers_mut().insert(X_HERMUX_ATTEMPTS, number(self.attempts));
        }
        response
    }
}

/// Whole seconds from `now` to `until`, at least one.
fn seconds(until: Time, now: Time) -> u64 {
    until.since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}

impl Refusal {
    pub(super) fn exhausted(exhausted: Exhausted, now: Time) -> Self {
        // What is only probed now and then needs a person all the same.
        let Exhausted { back, why, .. } = exhausted;
        Self::Exhausted { after: back.map(|back| seconds(back, now)), why }
    }

    /// Because so many wait already.
    pub(super) fn full(full: Full, why: &Blocked, now: Time) -> Self {
        let back = match why {
            Blocked::Keys(exhausted) => exhausted.back.or(exhausted.until),
            Blocked::Model(until) => Some(*until),
        };
        Self::Full(full, back.map_or(1, |back| seconds(back, now)))
    }

    pub(super) fn model_down(until: Time, now: Time) -> Self {
        Self::ModelDown(seconds(until, now))
    }

    pub(super) fn over(over: Over, now: Time) -> Self {
        Self::Over(over.bound, seconds(over.until, now))
    }

    /// After how many seconds it is worth asking again, where that is known.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Exhausted { after, .. } => *after,
            Refusal::ModelDown(after) | Refusal::Over(_, after) | Refusal::Full(_, after) => Some(*after),
            Refusal::SentOnce => Some(1),
            _ => None,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::NoSuchRoute => StatusCode::NOT_FOUND,
            // Not 503: OpenRouter's own libraries would ask again for an hour.
            Refusal::Exhausted { after: Some(_), .. }
            | Refusal::ModelDown(_)
            | Refusal::Full(..)
            | Refusal::SentOnce
            | Refusal::Over(..) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Exhausted { after: None, why } if mostly(why) == Some(Why::NoCredits) => {
                StatusCode::PAYMENT_REQUIRED
            }
            // Not 401: the caller's access token is in order.
            Refusal::Exhausted { after: None, .. }
            | Refusal::ManagementOnly
            | Refusal::ModelNotAllowed(_)
            | Refusal::ModelsUnclear(_)
            | Refusal::Unseen
            | Refusal::NotLocal => StatusCode::FORBIDDEN,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::BadRequest(_) | Refusal::BodyBroken => StatusCode::BAD_REQUEST,
            Refusal::UriTooLong => StatusCode::URI_TOO_LONG,
            Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refusal::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::Upstream { timeout: false, .. } => StatusCode::BAD_GATEWAY,
            Refusal::Upstream { timeout: true, .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A sentence for the caller.
    pub(super) fn message(&self) -> String {
        match self {
            Refusal::NoSuchRoute => {
                "hermux: no such path; the API is at /api/v1, /v1, /api/alpha and /api/beta".to_owned()
            }
            Refusal::ManagementOnly => {
                "hermux: this endpoint manages keys and accounts and is not available through the proxy"
                    .to_owned()
            }
            Refusal::Method => "hermux: this method is not passed on".to_owned(),
            Refusal::BadRequest(why) => format!("hermux: {why}"),
            Refusal::UriTooLong => "hermux: the request target is too long".to_owned(),
            Refusal::Unauthorized(Denied::Missing) => {
                "hermux: no access token; send it as Authorization: Bearer or x-api-key".to_owned()
            }
            Refusal::Unauthorized(Denied::Ambiguous) => {
                "hermux: the access token is empty or given more than once".to_owned()
            }
            Refusal::Unauthorized(Denied::Unknown) => "hermux: the access token is not known here".to_owned(),
            Refusal::Unauthorized(Denied::Mistyped) => {
                "hermux: the access token looks mistyped; compare it with the one that was given to you".to_owned()
            }
            Refusal::Unauthorized(Denied::Expired) => "hermux: the access token has expired".to_owned(),
            Refusal::ModelNotAllowed(Some(model)) => {
                format!("hermux: this access token may not use the model: {model}")
            }
            Refusal::ModelNotAllowed(None) => {
                "hermux: this access token may not use the model that was asked for".to_owned()
            }
            Refusal::ModelsUnclear(why) => {
                format!("hermux: this access token may use some models only, and {why}")
            }
            Refusal::Unseen => {
                "hermux: this access token is bounded, and what this endpoint runs can't be seen here".to_owned()
            }
            Refusal::Over(bound, after) => {
                let what = match bound {
                    Bound::Rate => "requests of a minute (rpm)",
                    Bound::Requests => "requests of this UTC day (daily_requests)",
                    Bound::Cost => "dollars of this UTC day (daily_cost)",
                };
                format!("hermux: this access token has used up its {what}; the next is let in after {after} s")
            }
            Refusal::NotLocal => {
                "hermux: runs without access tokens, so Host and Origin must be local".to_owned()
            }
            Refusal::BodyTimeout => "hermux: the request's body did not come in time".to_owned(),
            Refusal::BodyBroken => "hermux: the request's body broke off".to_owned(),
            Refusal::Exhausted { why, .. } if why.is_empty() => {
                "hermux: there is no key to serve this request".to_owned()
            }
            Refusal::Exhausted { after: Some(after), why } => format!(
                "hermux: no key can serve this request now, the first is back in {after} s: {}",
                reasons(why)
            ),
            Refusal::Exhausted { after: None, why } => {
                format!("hermux: no key can serve this request, and waiting won't help: {}", reasons(why))
            }
            Refusal::ModelDown(after) => {
                format!("hermux: the model fails upstream and is asked again in {after} s")
            }
            Refusal::Full(full, after) => {
                let who = match full {
                    Full::OfAll => format!("{ROOM_FOR_ALL} requests wait"),
                    Full::OfCaller => format!("{ROOM_FOR_CALLER} requests of this caller wait"),
                };
                format!("hermux: {who} already, and no more may; what they wait for is back in {after} s at the earliest")
            }
            Refusal::SentOnce => {
                "hermux: the key that was chosen can't serve this request, which is too large to be kept and sent with \
                 another; send it again"
                    .to_owned()
            }
            Refusal::Upstream { message, .. } => format!("hermux: {message}"),
        }
    }

    /// The answer itself.
    pub(super) fn into_response<B: From<Bytes>>(self, dialect: Dialect) -> Response<B> {
        let status = self.status();
        let mut response = Response::new(B::from(error_body(dialect, status.as_u16(), &self.message())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after));
        }
        match self {
            Refusal::Unauthorized(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hermux\""));
            }
            Refusal::Method => {
                headers
                    .insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
            }
            // What follows on this connection may be the rest of what could not be read.
            Refusal::BadRequest(_) | Refusal::BodyTimeout | Refusal::BodyBroken => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// What holds most of the keys that may serve the request at all.
fn mostly(why: &[(Why, usize)]) -> Option<Why> {
    why.iter()
        .map(|(why, _)| *why)
        .find(|why| !matches!(why, Why::Bound | Why::Caller | Why::Tried | Why::Disabled | Why::Models))
}

/// What holds the keys: `2 keys: free requests of this minute used up; 1 key: out of credits`.
fn reasons(why: &[(Why, usize)]) -> String {
    let reasons: Vec<String> = why
        .iter()
        .map(|(why, keys)| format!("{keys} key{}: {}", if *keys == 1 { "" } else { "s" }, reason(*why)))
        .collect();
    reasons.join("; ")
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::FreeMinute => "free requests of this minute used up",
        Why::FreeDay => "free requests of this UTC day used up",
        Why::Probing => "its first free request of a new window is under way",
        Why::NoCredits => "out of credits",
        Why::InFlight => "credits held by requests in flight",
        Why::Cap | Why::CapForGood => "its cap is spent",
        Why::Refused => "refused by OpenRouter",
        Why::Expired => "expired",
        Why::Management => "a management key, which serves no inference",
        Why::Unidentified => "rests after a rate limit",
        Why::DailyRequests => "its requests of this UTC day are used up",
        Why::DailyCost => "what it may cost in this UTC day is spent",
        Why::Disabled => "switched off",
        Why::Models => "not meant for this model",
        Why::Tried => "tried and failed",
        Why::Caller => "not for this access token",
        Why::Bound => "of another account than the one that the request is bound to",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::{Refusal, Refused};
    use crate::clock::Time;
    use crate::keys::need::{Exhausted, Why};
    use crate::openrouter::dialect::Dialect;

    const NOW: Time = Time(1_700_000_000_000);

    fn exhausted(back: Option<i64>, why: &[(Why, usize)]) -> Refusal {
        // A probe that is due before it is no return.
        let back = back.map(|after| Time(NOW.0 + after));
        Refusal::exhausted(Exhausted { until: Some(NOW), back, why: why.to_vec() }, NOW)
    }

    #[test]
    fn exhausted_keys_say_when_the_first_is_back() {
        for (after, header) in
            [(-5, "1"), (0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (3_600_000, "3600")]
        {
            let refusal = exhausted(Some(after), &[(Why::FreeMinute, 2), (Why::NoCredits, 1)]);
            let message = refusal.message();
            let response =
                Refused { refusal, attempts: 3, told: false }.into_response::<Bytes>(Dialect::Messages);
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], header);
            assert_eq!(response.headers()["x-hermux-attempts"], "3");
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["type"], "error");
            assert_eq!(body["error"]["message"], message);
            assert!(message.contains(&format!("back in {header} s")), "{message}");
            assert!(message.ends_with("2 keys: free requests of this minute used up; 1 key: out of credits"));
        }
    }

    #[test]
    fn what_needs_a_person_is_402_or_403_without_a_time() {
        for (why, status) in [
            (&[(Why::NoCredits, 2), (Why::Refused, 1)][..], 402),
            (&[(Why::Bound, 7), (Why::NoCredits, 1)], 402),
            (&[(Why::Disabled, 5), (Why::Models, 4), (Why::NoCredits, 3)], 402),
            (&[(Why::Refused, 2), (Why::NoCredits, 1)], 403),
            (&[(Why::CapForGood, 1)], 403),
            (&[(Why::Expired, 1)], 403),
            (&[(Why::Disabled, 1)], 403),
            (&[(Why::Models, 1)], 403),
            (&[], 403),
        ] {
            let response = Refused::from(exhausted(None, why)).into_response::<Bytes>(Dialect::Chat);
            assert_eq!(response.status(), status, "{why:?}");
            assert!(!response.headers().contains_key("retry-after"));
            assert!(!response.headers().contains_key("x-hermux-attempts"));
        }
    }
}
