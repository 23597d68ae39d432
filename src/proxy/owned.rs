//! Answers about what an account owns: who made it is remembered, others are asked where nobody knows, and
//! addresses in them lead to hermux.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::route::Route;
use super::tap::ProxyBody;
use crate::openrouter::resource;
use crate::upstream::BodyError;

/// How many accounts are asked for a resource whose owner is not known.
pub(super) const MOST_ASKED: u32 = 10;

/// An answer that tells of a resource is read whole up to this size, bytes. Videos are told of in a few hundred.
const MOST_READ: usize = 1 << 20;

/// Only so much of it is searched for ids, bytes.
const MOST_SEARCHED: usize = 64 << 10;

/// Where the API stands whatever `--upstream` says, since answers name it (`OpenRouter` docs, Video Generation page).
const OPENROUTER: &str = "openrouter.ai";

/// Whether the request only reads a resource, so that one account after the other may be asked for it.
pub(super) fn may_ask_around(method: &Method, route: &Route<'_>) -> bool {
    route.resource.is_some() && (*method == Method::GET || *method == Method::HEAD)
}

/// Whether another account may have what this one does not know (404, "Resource not found"), `asked` accounts having
/// said so by now. The last of them is believed.
pub(super) fn another_account_may_have_it(may_ask_around: bool, status: StatusCode, asked: u32) -> bool {
    may_ask_around && status == StatusCode::NOT_FOUND && asked < MOST_ASKED
}

/// The headers of a request whose answer has to be read here: it asks for one that is not compressed, and `whole` for one
/// that comes whatever the caller has of it already.
pub(super) fn wanting_plain(headers: &HeaderMap, whole: bool) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if whole {
        for condition in [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE] {
            headers.remove(condition);
        }
    }
    headers
}

/// Whether an answer can be read: it went well and is JSON, not compressed.
pub(super) fn can_be_read(status: StatusCode, headers: &HeaderMap) -> bool {
    went_well_and_plain(status, headers) && media_type(headers).as_deref() == Some(b"application/json")
}

/// Whether an answer that tells of a resource of this `kind` is to be read. Of videos also what may be JSON for all that its
/// type says, since it may hold addresses that callers follow with their access token; what says no type may be the video.
pub(super) fn is_to_be_read(kind: &str, status: StatusCode, headers: &HeaderMap) -> bool {
    let may_be_json =
        || media_type(headers).is_some_and(|kind| kind.ends_with(b"+json") || kind.starts_with(b"text/"));
    can_be_read(status, headers) || (kind == "video" && went_well_and_plain(status, headers) && may_be_json())
}

/// The type of an answer's body without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
    Some(kind.trim_ascii().to_ascii_lowercase())
}

fn went_well_and_plain(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    status.is_success() && headers.get_all(CONTENT_ENCODING).iter().all(is_plain)
}

/// Where upstream's API stands, and where the caller sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    /// Upstream's host, and its port where that is not the scheme's own.
    pub(super) upstream: &'a str,
    /// What stands before `/v1` there: `/api`.
    pub(super) base: &'a str,
    /// The host and port that the caller used.
    pub(super) host: Option<&'a str>,
    /// The scheme that it used: `https` where TLS ends before hermux.
    pub(super) scheme: &'a str,
}

/// The host and port that a caller used, where they can stand in an address.
pub(super) fn host_of(parts: &Parts) -> Option<&str> {
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST)?.to_str().ok()?,
    };
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_fine)).then_some(host)
}

/// The scheme that a caller used: that of the socket, unless what stands before hermux says otherwise
/// (`X-Forwarded-Proto`). A caller who lies about it has its own access token to lose.
pub(super) fn scheme_of(parts: &Parts, tls: bool) -> &'static str {
    let said = parts.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let nearest_caller =
        said.and_then(|said| said.split(|&byte| byte == b',').next()).map(<[u8]>::trim_ascii);
    if nearest_caller.map_or(tls, |scheme| scheme.eq_ignore_ascii_case(b"https")) { "https" } else { "http" }
}

/// Reads the answer that tells of a resource of `kind`: gives each id in it to `own`, and makes addresses that are to
/// be followed with the caller's access token lead to hermux. Whatever is too large or breaks off passes as it came.
pub(super) async fn read(
    body: ProxyBody,
    headers: &mut HeaderMap,
    kind: &str,
    site: &Site<'_>,
    own: impl FnMut(&str),
) -> ProxyBody {
    let (whole, rest) = take_in(body).await;
    resource::made(kind, &whole[..whole.len().min(MOST_SEARCHED)]).iter().map(String::as_str).for_each(own);
    if let Some(rest) = rest {
        return ProxyBody::Resumed(Box::new(Resumed { first: whole, ..rest }));
    }
    match (kind == "video").then(|| with_own_addresses(&whole, site)).flatten() {
        Some(changed) => {
            headers.remove(CONTENT_LENGTH);
            ProxyBody::from(Bytes::from(changed))
        }
        None => ProxyBody::from(whole),
    }
}

/// Takes in a body; where that is not all of it, what follows comes back too.
async fn take_in(mut body: ProxyBody) -> (Bytes, Option<Resumed>) {
    let mut taken = BytesMut::new();
    let then = loop {
        if taken.len() > MOST_READ {
            break None;
        }
        match body.frame().await {
            None => return (taken.freeze(), None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => taken.extend_from_slice(&data),
                Err(trailers) => break Some(Ok(trailers)),
            },
            Some(Err(error)) => break Some(Err(error)),
        }
    };
    (taken.freeze(), Some(Resumed { first: Bytes::new(), then, rest: body }))
}

/// An answer of which the beginning was read before it goes on.
#[derive(Debug)]
pub struct Resumed {
    first: Bytes,
    then: Option<Result<Frame<Bytes>, BodyError>>,
    rest: ProxyBody,
}

impl Resumed {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        match self.then.take() {
            Some(then) => Poll::Ready(Some(then)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.then.is_none() && self.rest.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let here = self.first.len() as u64;
        match self.rest.size_hint().exact() {
            Some(rest) if self.then.is_none() => SizeHint::with_exact(here + rest),
            _ => SizeHint::default(),
        }
    }
}

/// `body` with the addresses on upstream's host that a caller is to follow with its access token changed to the
/// caller's own view of hermux; none where nothing changes. All else stays, byte for byte.
fn with_own_addresses(body: &[u8], site: &Site<'_>) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    let mut copied = 0;
    for place in resource::credentialed_urls(body) {
        let Ok(address) = serde_json::from_slice::<Cow<'_, str>>(&body[place.clone()]) else { continue };
        let Some(address) = own_address(&address, site) else { continue };
        let Ok(address) = serde_json::to_vec(&address) else { continue };
        let changed = changed.get_or_insert_with(|| Vec::with_capacity(body.len() + 64));
        changed.extend_from_slice(&body[copied..place.start]);
        changed.extend_from_slice(&address);
        copied = place.end;
    }
    if let Some(changed) = &mut changed {
        changed.extend_from_slice(&body[copied..]);
    }
    changed
}

/// What an address of upstream's is for the caller; none where it is another's or can stay. One that tells no host
/// goes on telling none.
fn own_address(address: &str, site: &Site<'_>) -> Option<String> {
    let (scheme, rest) = match address.split_once("//") {
        Some((scheme, rest)) if matches!(scheme, "" | "http:" | "https:") => (Some(scheme), rest),
        _ if address.starts_with('/') => (None, address),
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if scheme.is_some() && !is_upstreams(authority, site.upstream) {
        return None;
    }
    // The API stands below the same path here and there, unless upstream was told to stand elsewhere.
    let below = path.strip_prefix(site.base).filter(|below| below.starts_with("/v1/"));
    let path = below.map_or(Cow::Borrowed(path), |below| Cow::Owned(format!("/api{below}")));
    match (scheme, site.host) {
        (Some(""), Some(host)) => Some(format!("//{host}{path}")),
        (Some(_), Some(host)) => Some(format!("{}://{host}{path}", site.scheme)),
        // Without a host to name, the path alone leads back to whoever was asked.
        (Some(_), None) => Some(path.into_owned()),
        (None, _) => matches!(path, Cow::Owned(_)).then(|| path.into_owned()).filter(|path| path != address),
    }
}

fn is_upstreams(authority: &str, upstream: &str) -> bool {
    let authority = authority.to_ascii_lowercase();
    let host = authority.strip_suffix(":443").unwrap_or(&authority);
    let is_openrouter = host.strip_suffix(OPENROUTER).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    is_openrouter || host.eq_ignore_ascii_case(upstream) || authority.eq_ignore_ascii_case(upstream)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode, Uri, Version};
    use proptest::prelude::*;

    use super::{
        MOST_ASKED, Site, another_account_may_have_it, host_of, may_ask_around, own_address,
        with_own_addresses,
    };
    use crate::proxy::route;

    const SITE: Site<'static> =
        Site { upstream: "openrouter.ai", base: "/api", host: Some("box:3333"), scheme: "http" };

    #[test]
    fn only_reading_a_resource_asks_around_and_only_so_often() {
        let may = |method: Method, target: &str| {
            let uri: Uri = target.parse().unwrap();
            may_ask_around(&method, &route::of(&method, &uri, Version::HTTP_11, 9_999).unwrap())
        };
        assert!(may(Method::GET, "/v1/generation?id=gen-1"));
        assert!(may(Method::GET, "/v1/files/or_file_1/content"));
        assert!(!may(Method::DELETE, "/v1/files/or_file_1"));
        assert!(!may(Method::POST, "/v1/presets/mine/messages"));
        assert!(!may(Method::GET, "/v1/files"));
        let (found, lost) = (StatusCode::OK, StatusCode::NOT_FOUND);
        for (may, status, asked, again) in [
            (true, lost, 1, true),
            (true, lost, MOST_ASKED - 1, true),
            (true, lost, MOST_ASKED, false),
            (true, found, 1, false),
            (true, StatusCode::FORBIDDEN, 1, false),
            (false, lost, 1, false),
        ] {
            assert_eq!(another_account_may_have_it(may, status, asked), again, "{may} {status} {asked}");
        }
    }

    #[test]
    fn addresses_of_upstream_become_our_own_and_others_stay() {
        for (address, own) in [
            ("https://openrouter.ai/api/v1/videos/j", Some("http://box:3333/api/v1/videos/j")),
            ("https://OpenRouter.ai:443/api/v1/videos/j", Some("http://box:3333/api/v1/videos/j")),
            (
                "http://eu.openrouter.ai/api/v1/videos/j?index=0#x",
                Some("http://box:3333/api/v1/videos/j?index=0#x"),
            ),
            ("//openrouter.ai/api/v1/videos/j", Some("//box:3333/api/v1/videos/j")),
            ("https://openrouter.ai", Some("http://box:3333")),
            ("https://openrouter.ai?x", Some("http://box:3333?x")),
            ("/api/v1/videos/j", None),
            ("job-1", None),
            ("", None),
            ("https://cdn.example/api/v1/videos/j", None),
            ("https://openrouter.ai.evil.example/api/v1/videos/j", None),
            ("https://notopenrouter.ai/api/v1/videos/j", None),
            ("https://evil.example/https://openrouter.ai/x", None),
            ("https://user@openrouter.ai/x", None),
            ("data:text/plain,//openrouter.ai/x", None),
        ] {
            assert_eq!(own_address(address, &SITE).as_deref(), own, "{address}");
        }
    }

    #[test]
    fn addresses_follow_upstream_elsewhere_and_callers_without_a_host() {
        let site = Site { upstream: "127.0.0.1:99", base: "/or", host: Some("box"), scheme: "http" };
        for (address, own) in [
            ("http://127.0.0.1:99/or/v1/videos/j", Some("http://box/api/v1/videos/j")),
            ("https://openrouter.ai/api/v1/videos/j", Some("http://box/api/v1/videos/j")),
            ("/or/v1/videos/j", Some("/api/v1/videos/j")),
            ("/or/v10/x", None),
            ("http://127.0.0.1:98/or/v1/videos/j", None),
        ] {
            assert_eq!(own_address(address, &site).as_deref(), own, "{address}");
        }
        let address = "https://openrouter.ai/api/v1/videos/1";
        let site = Site { scheme: "https", ..SITE };
        assert_eq!(own_address(address, &site).as_deref(), Some("https://box:3333/api/v1/videos/1"));
        let site = Site { host: None, ..SITE };
        assert_eq!(own_address("https://openrouter.ai/api/v1/x", &site).as_deref(), Some("/api/v1/x"));
    }

    #[test]
    fn nothing_but_the_addresses_changes() {
        let body = r#"{ "id":"j", "polling_url" : "https:\/\/openrouter.ai\/api\/v1\/videos\/j",
            "urls":["https://openrouter.ai/signed"],"prompt":"\"polling_url\":\"https://openrouter.ai/x\"",
            "unsigned_urls":["https://openrouter.ai/api/v1/videos/j/content?index=0","https://cdn.example/v"] }"#;
        let own = r#"{ "id":"j", "polling_url" : "http://box:3333/api/v1/videos/j",
            "urls":["https://openrouter.ai/signed"],"prompt":"\"polling_url\":\"https://openrouter.ai/x\"",
            "unsigned_urls":["http://box:3333/api/v1/videos/j/content?index=0","https://cdn.example/v"] }"#;
        let changed = with_own_addresses(body.as_bytes(), &SITE).expect("it changes");
        assert_eq!(String::from_utf8(changed).unwrap(), own);
        assert_eq!(with_own_addresses(own.as_bytes(), &SITE), None);
        for odd in ["", "[]", r#"{"polling_url":"https://openrouter.ai/x"#, r#"{"polling_url":7}"#] {
            assert_eq!(with_own_addresses(odd.as_bytes(), &SITE), None, "{odd}");
        }
    }

    #[test]
    fn a_host_that_can_not_stand_in_an_address_is_none() {
        let host = |host: &str| {
            let (parts, ()) =
                http::Request::get("/v1/videos/j").header("host", host).body(()).unwrap().into_parts();
            host_of(&parts).map(str::to_owned)
        };
        for fine in ["localhost", "box:3333", "[::1]:80"] {
            assert_eq!(host(fine).as_deref(), Some(fine));
        }
        for odd in ["", "a/b", "user@box", "a\"b", "a b"] {
            assert_eq!(host(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_address_of_upstream_is_left(path in "[a-z0-9/?=&%]{0,20}", text in "\\PC{0,20}") {
            let url = format!("https://openrouter.ai/{path}");
            let body = serde_json::json!({"a": text, "polling_url": url, "unsigned_urls": [url, text]}).to_string();
            let changed = with_own_addresses(body.as_bytes(), &SITE).expect("it changes");
            let changed: serde_json::Value = serde_json::from_slice(&changed).unwrap();
            let own = format!("http://box:3333/{path}");
            prop_assert_eq!(changed, serde_json::json!({"a": text, "polling_url": own, "unsigned_urls": [own, text]}));
        }
    }
}
