//! What is stripped, swapped and added among the headers, in both directions.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, ALT_SVC, CONNECTION, CONTENT_LENGTH, HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use memchr::memmem;

use super::refusal::Refusal;
use crate::keys::Key;

/// Names the session that a request belongs to (`OpenRouter` API reference).
const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");

/// Names the key that answered.
pub(super) const X_TOKEN_NAME: HeaderName = HeaderName::from_static("x-token-name");

/// Tells how many attempts a request took.
pub(super) const X_HERMUX_ATTEMPTS: HeaderName = HeaderName::from_static("x-hermux-attempts");

/// How long a request may wait for a key that rests, as its caller wishes.
const X_HERMUX_MAX_WAIT: HeaderName = HeaderName::from_static("x-hermux-max-wait");

/// The longest wait that a caller may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What a request's headers say of how it is to be taken, found in one walk over them.
#[derive(Debug, Default)]
pub(super) struct Marks<'a> {
    /// Of `Content-Length`.
    lengths: u32,
    /// Whether `Connection` names headers besides the usual options.
    pub(super) names_others: bool,
    /// `x-session-id`, the first of them.
    pub(super) session: Option<&'a [u8]>,
    /// `X-HERMUX-Max-Wait`, and whether there is another one.
    max_wait: Option<&'a HeaderValue>,
    max_wait_again: bool,
}

impl<'a> Marks<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut marks = Self::default();
        for (name, value) in headers {
            if *name == CONTENT_LENGTH {
                marks.lengths += 1;
            } else if *name == CONNECTION {
                marks.names_others |= names_others(value);
            } else if *name == X_SESSION_ID {
                marks.session = marks.session.or(Some(value.as_bytes()));
            } else if *name == X_HERMUX_MAX_WAIT {
                marks.max_wait_again = marks.max_wait.replace(value).is_some();
            }
        }
        marks
    }

    /// Whether the framing of the request could be read in two ways: on HTTP/2, by its lengths. On HTTP/1.1 the server
    /// has seen to it, and hands on no framing.
    pub(super) fn framing_is_odd(&self) -> bool {
        self.lengths > 1
    }

    /// How long the request may wait for a key: what `X-HERMUX-Max-Wait` says, else `otherwise`. It takes `30`
    /// (seconds), `500ms`, `5m` and the like, up to ten minutes.
    pub(super) fn max_wait(&self, otherwise: Duration) -> Result<Duration, Refusal> {
        let Some(value) = self.max_wait else { return Ok(otherwise) };
        let length = value.to_str().ok().and_then(|text| duration(text.trim()));
        length.filter(|length| *length <= LONGEST_WAIT && !self.max_wait_again).ok_or(Refusal::BadRequest(
            "X-HERMUX-Max-Wait must be a duration such as 30, 30s or 5m, at most 10m",
        ))
    }
}

/// The headers of a caller's request that go upstream, as they are asked for one by one.
#[derive(Debug)]
pub(super) struct ForUpstream<'a> {
    headers: http::header::Iter<'a, HeaderValue>,
    /// What `Connection` names; rarely more than `keep-alive` or `close`, which are stripped anyway.
    named: Option<&'a HeaderMap>,
    access_token: &'a [u8],
    strip_accept_encoding: bool,
    extra: ExtraHeaders<'a>,
}

/// The headers hermux adds: the key, and on inference routes the wish for an answer it can read.
#[derive(Clone, Copy, Debug)]
struct ExtraHeaders<'a> {
    authorization: Option<&'a str>,
    identity: bool,
}

/// Picks what goes upstream: everything end-to-end but credentials, traces of the caller's network, and
/// whatever holds the access token; with the key in its place.
///
/// `names_others` is what [`Marks`] say of the headers.
pub(super) fn for_upstream<'a>(
    headers: &'a HeaderMap,
    names_others: bool,
    access_token: &'a [u8],
    key: &'a Key,
    inference: bool,
) -> ForUpstream<'a> {
    ForUpstream {
        headers: headers.iter(),
        named: names_others.then_some(headers),
        access_token,
        strip_accept_encoding: inference,
        extra: ExtraHeaders { authorization: Some(key.authorization()), identity: inference },
    }
}

impl<'a> Iterator for ForUpstream<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        for (name, value) in self.headers.by_ref() {
            if is_kept_from_upstream(name.as_str())
                || (self.strip_accept_encoding && name == ACCEPT_ENCODING)
                || self.named.is_some_and(|headers| connection_names(headers, name))
                || holds(value.as_bytes(), self.access_token)
            {
                continue;
            }
            return Some((name.as_str().as_bytes(), value.as_bytes()));
        }
        if let Some(authorization) = self.extra.authorization.take() {
            return Some((b"authorization", authorization.as_bytes()));
        }
        if std::mem::take(&mut self.extra.identity) {
            return Some((b"accept-encoding", b"identity"));
        }
        None
    }
}

/// Credentials, traces of the caller's network, framing, and what concerns one connection alone.
fn is_kept_from_upstream(name: &str) -> bool {
    match name {
        "authorization" | "x-api-key" | "api-key" | "x-goog-api-key" | "cookie" | "forwarded"
        | "x-real-ip" | "x-token-name" | "host" | "content-length" | "expect" => true,
        _ => {
            is_hop_by_hop(name)
                || name.starts_with("proxy-")
                || name.starts_with("x-forwarded-")
                || name.starts_with("x-hermux-")
        }
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Whether a `Connection` names headers besides the usual options.
fn names_others(connection: &HeaderValue) -> bool {
    let is = |option: &[u8]| connection.as_bytes().eq_ignore_ascii_case(option);
    !is(b"keep-alive") && !is(b"close")
}

fn connection_names(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    })
}

/// Whether a query holds the access token, which would so reach upstream and its logs.
pub(super) fn is_in_query(query: Option<&str>, access_token: &[u8]) -> bool {
    query.is_some_and(|query| holds(query.as_bytes(), access_token))
}

fn holds(value: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && value.len() >= needle.len() && memmem::find(value, needle).is_some()
}

/// Keeps from upstream, among a request's trailers, what is kept from it among its headers.
pub(super) fn clean_trailers_for_upstream(trailers: &mut HeaderMap, access_token: &[u8]) {
    remove_where(trailers, |name, value| {
        is_kept_from_upstream(name.as_str()) || holds(value.as_bytes(), access_token)
    });
}

/// Keeps from a caller, among an answer's trailers, what is kept from it among its headers.
pub(super) fn clean_trailers_for_caller(trailers: &mut HeaderMap, key: &Key) {
    remove_where(trailers, |name, _| is_kept_from_callers(name));
    redact_values(trailers, key);
}

fn remove_where(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName, &HeaderValue) -> bool) {
    let unwanted: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| is_unwanted(name, value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
}

fn is_kept_from_callers(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str())
        || name.as_str().starts_with("proxy-")
        || name.as_str().starts_with("x-hermux-")
        || *name == SET_COOKIE
        // Speaks of the origin that sent it, which for the caller is hermux.
        || *name == ALT_SVC
        || *name == X_TOKEN_NAME
}

/// Makes upstream's headers fit to be seen by a caller: no cookies, nothing that concerns one connection
/// alone, no trace of `key`; and says which key answered, and at which attempt.
pub(super) fn for_caller(headers: &mut HeaderMap, key: &Key, attempts: u32) {
    let options = headers.get_all(CONNECTION).iter().any(names_others).then(|| headers.clone());
    let is_named =
        |name: &HeaderName| options.as_ref().is_some_and(|options| connection_names(options, name));
    remove_where(headers, |name, _| is_kept_from_callers(name) || is_named(name));
    redact_values(headers, key);
    headers.insert(X_TOKEN_NAME, key.header_value());
    headers.insert(X_HERMUX_ATTEMPTS, number(attempts));
}

/// A number as a value; the usual ones cost no memory.
pub(super) fn number(number: u32) -> HeaderValue {
    match number {
        1 => HeaderValue::from_static("1"),
        2 => HeaderValue::from_static("2"),
        _ => HeaderValue::from(number),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let span = if bare { format!("{text}s").parse::<Span>() } else { text.parse::<Span>() };
    let length: SignedDuration = span.ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

fn redact_values(headers: &mut HeaderMap, key: &Key) {
    let secret = key.expose().as_bytes();
    for value in headers.values_mut().filter(|value| holds(value.as_bytes(), secret)) {
        let mut clean = value.as_bytes().to_vec();
        redact(&mut clean, secret);
        *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static("redacted"));
    }
}

/// Overwrites each `secret` in `bytes`; the length stays.
pub(super) fn redact(bytes: &mut [u8], secret: &[u8]) {
    let mut from = 0;
    while let Some(at) = memmem::find(&bytes[from..], secret) {
        bytes[from + at..from + at + secret.len()].fill(b'*');
        from += at + secret.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Marks, for_caller, for_upstream, redact};
    use crate::keys::{Key, KeyName};
    use crate::secret::Secret;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn key() -> Key {
        Key::new(KeyName::parse("ann").unwrap(), &Secret::new("sk-or-v1-secret".into()))
    }

    fn sent(lines: &[(&str, &str)], inference: bool) -> Vec<String> {
        let map = headers(lines);
        for_upstream(&map, Marks::of(&map).names_others, b"hmx_tok", &key(), inference)
            .map(|(name, value)| {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect()
    }

    #[test]
    fn credentials_and_the_callers_network_never_go_upstream() {
        let lines = [
            ("authorization", "Bearer hmx_tok"),
            ("x-api-key", "a"),
            ("api-key", "a"),
            ("x-goog-api-key", "a"),
            ("cookie", "a"),
            ("proxy-authorization", "a"),
            ("proxy-anything", "a"),
            ("forwarded", "a"),
            ("x-forwarded-for", "a"),
            ("x-forwarded-made-up", "a"),
            ("x-real-ip", "a"),
            ("x-token-name", "a"),
            ("x-hermux-max-wait", "5s"),
            ("x-hermux-anything", "a"),
            ("host", "a"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("keep-alive", "a"),
            ("connection", "close, X-Mine"),
            ("x-mine", "a"),
            ("x-echo", "see hmx_tok here"),
        ];
        assert_eq!(sent(&lines, false), ["authorization: Bearer sk-or-v1-secret"]);
    }

    #[test]
    fn everything_else_passes_in_order() {
        let lines = [
            ("http-referer", "https://a"),
            ("accept-encoding", "gzip"),
            ("x-two", "1"),
            ("x-two", "2"),
            ("anthropic-beta", "b"),
        ];
        let passed = sent(&lines, false);
        assert_eq!(
            &passed[..5],
            ["http-referer: https://a", "accept-encoding: gzip", "x-two: 1", "x-two: 2", "anthropic-beta: b"]
        );
        let inference = sent(&lines, true);
        assert!(!inference.contains(&"accept-encoding: gzip".to_owned()));
        assert!(inference.contains(&"accept-encoding: identity".to_owned()));
    }

    #[test]
    fn callers_see_no_cookie_and_no_key() {
        let mut map = headers(&[
            ("set-cookie", "a"),
            ("connection", "x-mine"),
            ("x-mine", "a"),
            ("x-token-name", "theirs"),
            ("x-hermux-attempts", "99"),
            ("x-hermux-else", "theirs"),
            ("x-echo", "<sk-or-v1-secret>"),
            ("x-generation-id", "gen-1"),
        ]);
        for_caller(&mut map, &key(), 12);
        assert_eq!(map.len(), 4);
        assert_eq!(map["x-token-name"], "ann");
        assert_eq!(map["x-hermux-attempts"], "12");
        assert_eq!(map["x-echo"], "<***************>");
        assert_eq!(map["x-generation-id"], "gen-1");
    }

    #[test]
    fn a_caller_may_say_how_long_it_waits() {
        let otherwise = Duration::from_secs(60);
        assert_eq!(Marks::of(&headers(&[])).max_wait(otherwise), Ok(otherwise));
        for (text, seconds) in [("0", 0), ("30", 30), (" 5m ", 300), ("10m", 600), ("1m 30s", 90)] {
            let headers = headers(&[("x-hermux-max-wait", text)]);
            assert_eq!(Marks::of(&headers).max_wait(otherwise), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-1s", "601", "11m", "1y", "99999999999999999999"] {
            assert!(
                Marks::of(&headers(&[("x-hermux-max-wait", text)])).max_wait(otherwise).is_err(),
                "{text}"
            );
        }
        let twice = headers(&[("x-hermux-max-wait", "1s"), ("x-hermux-max-wait", "1s")]);
        assert!(Marks::of(&twice).max_wait(otherwise).is_err());
    }

    #[test]
    fn a_framing_that_could_be_read_in_two_ways_is_odd() {
        let is_odd = |lines: &[(&str, &str)]| Marks::of(&headers(lines)).framing_is_odd();
        assert!(!is_odd(&[]));
        assert!(!is_odd(&[("content-length", "5")]));
        assert!(is_odd(&[("content-length", "5"), ("content-length", "5")]));
    }

    #[test]
    fn redacting_keeps_the_length() {
        let mut bytes = *b"..abab.ab";
        redact(&mut bytes, b"ab");
        assert_eq!(&bytes, b"..****.**");
    }
}
