//! Every answer hermux makes itself, in the dialect of the route.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::access::Denied;
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
    /// With `--no-auth`: the request names a host or an origin that is not local.
    NotLocal,
    /// The caller's body stopped coming.
    BodyTimeout,
    /// The caller's body broke off; nobody may be there to read this.
    BodyBroken,
    /// There is no key at all.
    NoKeys,
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

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::NoSuchRoute => StatusCode::NOT_FOUND,
            Refusal::ManagementOnly | Refusal::NotLocal => StatusCode::FORBIDDEN,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::BadRequest(_) | Refusal::BodyBroken => StatusCode::BAD_REQUEST,
            Refusal::UriTooLong => StatusCode::URI_TOO_LONG,
            Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refusal::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
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
            Refusal::NotLocal => {
                "hermux: runs without access tokens, so Host and Origin must be local".to_owned()
            }
            Refusal::BodyTimeout => "hermux: the request's body did not come in time".to_owned(),
            Refusal::BodyBroken => "hermux: the request's body broke off".to_owned(),
            Refusal::NoKeys => "hermux: there is no key to serve this request".to_owned(),
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
