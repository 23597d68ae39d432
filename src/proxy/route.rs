//! What a path is: inference (and in which dialect), a bound resource, what hermux answers itself, the rest of the
//! API, management, or outside.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use http::{Method, Uri, Version};

use super::refusal::Refusal;
use crate::openrouter::dialect::Dialect;
use crate::openrouter::resource::{self, Bound};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    /// The path below the mount, `/chat/completions`; as it came, percent-encoding included.
    pub(super) path: &'a str,
    /// What stands before it on upstream, below the API's base.
    pub(super) mount: Mount,
    /// Whether it runs a model, so that the answer tells tokens and cost.
    pub(super) inference: bool,
    /// The form in which errors are told.
    pub(super) dialect: Dialect,
    /// The resource it asks for, `kind:id`; only the account that made it knows it.
    pub(super) resource: Option<Cow<'a, str>>,
    /// The kind of resource that its JSON answer tells of: one was made, or a video is on its way.
    pub(super) makes: Option<&'static str>,
    /// What hermux answers itself, for the pool.
    pub(super) own: Option<Own>,
}

/// What hermux answers for the whole pool, since one key's answer would tell of its account alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// `GET /key` and its alias `/auth/key`.
    Key,
    /// `GET /credits`.
    Credits,
}

/// The parts of the API that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// `/api/v1`, and its alias `/v1`.
    V1,
    /// `/api/alpha`.
    Alpha,
    /// `/api/beta`.
    Beta,
}

impl Mount {
    /// The mount as upstream knows it, to be put behind its base.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Mount::V1 => "/v1",
            Mount::Alpha => "/alpha",
            Mount::Beta => "/beta",
        }
    }
}

const MOUNTS: [(&str, Mount); 4] =
    [("/api/v1", Mount::V1), ("/v1", Mount::V1), ("/api/alpha", Mount::Alpha), ("/api/beta", Mount::Beta)];

/// What only management keys may use (`OpenRouter`'s API reference, endpoints that demand a management
/// key), and what makes or exchanges credentials. First segments, below any mount.
const MANAGEMENT: [&str; 13] = [
    "keys",
    "activity",
    "analytics",
    "byok",
    "credits",
    "guardrails",
    "workspaces",
    "organization",
    "observability",
    "scim",
    "external-users",
    "private-endpoints",
    "oauth",
];

/// Management below a first segment that is otherwise open.
const MANAGEMENT_BELOW: [(&str, &str); 2] = [("auth", "keys"), ("generation", "feedback")];

/// Finds the route of a request, or why it must not leave.
pub(super) fn of<'a>(
    method: &Method,
    uri: &'a Uri,
    version: Version,
    max_uri_bytes: usize,
) -> Result<Route<'a>, Refusal> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(Refusal::Method);
    }
    // HTTP/2 carries scheme and authority beside the path; in HTTP/1 only the absolute form has them.
    if version < Version::HTTP_2 && (uri.scheme().is_some() || uri.authority().is_some()) {
        return Err(Refusal::BadRequest("the request target must be a path"));
    }
    let path = uri.path();
    if path.len() + uri.query().map_or(0, |query| query.len() + 1) > max_uri_bytes {
        return Err(Refusal::UriTooLong);
    }
    if let Some(route) = spelled_plainly(method, path, uri.query()) {
        return Ok(route);
    }
    let mut decoded = None;
    if path.contains('%') {
        decoded = Some(decode_wholly(path));
    }
    let plain = decoded.as_deref().unwrap_or(path.as_bytes());
    if path.contains("//") || is_devious(plain) {
        return Err(Refusal::BadRequest(
            "the path has empty or dot segments, backslashes or control characters",
        ));
    }
    let Some((below, mount)) = mounted(path) else { return Err(Refusal::NoSuchRoute) };
    // What upstream would read after decoding must not be management either.
    let below_plain = decoded.as_deref().map_or(below.as_bytes(), |plain| &plain[path.len() - below.len()..]);
    let own = own(method, mount, below, below_plain);
    if own.is_none() && is_management(below_plain) {
        return Err(Refusal::ManagementOnly);
    }
    let (inference, dialect) =
        kind(method, below).map_or((false, dialect_below(below)), |dialect| (true, dialect));
    let Bound { resource, makes } = resource::bound(below, uri.query());
    let makes = makes.filter(|kind| *method == Method::POST || (*method == Method::GET && is_polled(kind)));
    Ok(Route { path: below, mount, inference, dialect, resource, makes, own })
}

/// Whether what a GET tells of such a resource is read too: a video's state comes with the addresses of what was made.
fn is_polled(kind: &str) -> bool {
    kind == "video"
}

/// What of the key's and the account's own affairs is answered for the pool. However it is spelled, `/key` never
/// leaves with a key of the pool, whose account it would tell.
fn own(method: &Method, mount: Mount, below: &str, below_plain: &[u8]) -> Option<Own> {
    if *method == Method::GET && mount == Mount::V1 && below == "/credits" {
        return Some(Own::Credits);
    }
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    let mut segments = segments(below_plain);
    let is = |segment: Option<&[u8]>, name: &[u8]| {
        segment.is_some_and(|segment| segment.eq_ignore_ascii_case(name))
    };
    let mut first = segments.next();
    if is(first, b"auth") {
        first = segments.next();
    }
    (is(first, b"key") && segments.next().is_none()).then_some(Own::Key)
}

/// The dialect of a path for those refusals that come before a route is known.
pub(super) fn dialect_of(uri: &Uri) -> Dialect {
    let path = uri.path();
    dialect_below(MOUNTS.iter().find_map(|(prefix, _)| path.strip_prefix(prefix)).unwrap_or(path))
}

fn dialect_below(below: &str) -> Dialect {
    if first_segments(below, "messages") {
        Dialect::Messages
    } else if first_segments(below, "responses") {
        Dialect::Responses
    } else {
        Dialect::Chat
    }
}

fn first_segments(below: &str, name: &str) -> bool {
    below
        .strip_prefix('/')
        .and_then(|below| below.strip_prefix(name))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The paths that run a model, below any mount, with their dialects.
const INFERENCE: [(&str, Dialect); 12] = [
    ("/chat/completions", Dialect::Chat),
    ("/messages", Dialect::Messages),
    ("/responses", Dialect::Responses),
    ("/completions", Dialect::Chat),
    ("/embeddings", Dialect::Chat),
    ("/rerank", Dialect::Chat),
    ("/images", Dialect::Chat),
    ("/audio/speech", Dialect::Chat),
    ("/audio/transcriptions", Dialect::Chat),
    ("/videos", Dialect::Chat),
    ("/systemone", Dialect::Chat),
    ("/decisions", Dialect::Chat),
];

/// The dialect of a request that runs a model.
fn kind(method: &Method, below: &str) -> Option<Dialect> {
    let found = INFERENCE.iter().find(|(path, _)| *path == below).filter(|_| *method == Method::POST);
    found.map(|(_, dialect)| *dialect)
}

/// Splits a path into its mount and what stands below it.
fn mounted(path: &str) -> Option<(&str, Mount)> {
    MOUNTS.iter().find_map(|(prefix, mount)| {
        path.strip_prefix(prefix)
            .filter(|below| below.starts_with('/') && below.len() > 1)
            .map(|below| (below, *mount))
    })
}

/// The route of a request that runs a model, as nearly all do: a path spelled just like it needs none of the questions
/// that others have to answer.
fn spelled_plainly<'a>(method: &Method, path: &'a str, query: Option<&'a str>) -> Option<Route<'a>> {
    let (below, mount) = mounted(path)?;
    let dialect = kind(method, below)?;
    let Bound { resource, makes } = resource::bound(below, query);
    Some(Route { path: below, mount, inference: true, dialect, resource, makes, own: None })
}

/// Undoes percent-encoding until none is left, however often it was applied.
fn decode_wholly(path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    // Each byte may complete an escape, whose byte may complete another; each escape is undone once, so the
    // whole is linear.
    for byte in path.bytes() {
        bytes.push(byte);
        while let [.., b'%', high, low] = bytes[..]
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            bytes.truncate(bytes.len() - 3);
            bytes.push(high << 4 | low);
        }
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_devious(plain: &[u8]) -> bool {
    plain.iter().any(|&byte| byte == b'\\' || byte < b' ' || byte == 0x7f)
        || plain.split(|&byte| byte == b'/').any(|segment| {
            // Some servers cut path parameters off before they look at dots.
            let segment = segment.split(|&byte| byte == b';').next().unwrap_or(segment);
            segment == b"." || segment == b".."
        })
}

/// The segments of a path as a lenient server would read them.
fn segments(below: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_noise = |byte: &u8| matches!(byte, b';' | b'?' | b'#');
    below
        .split(|&byte| byte == b'/')
        .map(move |segment| segment.split(is_noise).next().unwrap_or(segment).trim_ascii())
        .filter(|segment| !segment.is_empty())
}

fn is_management(below: &[u8]) -> bool {
    let mut segments = segments(below);
    let first = segments.next().unwrap_or_default();
    let second = segments.next().unwrap_or_default();
    let is = |segment: &[u8], name: &str| segment.eq_ignore_ascii_case(name.as_bytes());
    MANAGEMENT.iter().any(|name| is(first, name))
        || MANAGEMENT_BELOW.iter().any(|(parent, child)| is(first, parent) && is(second, child))
}

/// `path`, below the mount, as the most lenient server would read it: decoded, in lower case, without what is noise.
pub(super) fn plainly(path: &str) -> String {
    let decoded = decode_wholly(path);
    let segments = segments(&decoded).map(|segment| String::from_utf8_lossy(segment).to_ascii_lowercase());
    segments.fold(String::with_capacity(path.len()), |plain, segment| plain + "/" + &segment)
}

/// Whether a POST to `path`, below the mount, runs a model.
pub(super) fn is_inference(path: &str) -> bool {
    kind(&Method::POST, path).is_some()
}

/// A name for the path in the ledger and the log. Those of the paths that run a model are made once.
pub(super) fn name(path: &str) -> Arc<str> {
    static NAMES: LazyLock<[Arc<str>; INFERENCE.len()]> =
        LazyLock::new(|| INFERENCE.map(|(path, _)| path.into()));
    match INFERENCE.iter().position(|(known, _)| *known == path) {
        Some(at) => Arc::clone(&NAMES[at]),
        None => label(path).into(),
    }
}

/// Whether `text` looks like an access token or a key that was pasted in the wrong place.
pub(super) fn looks_secret(text: &str) -> bool {
    text.contains("hmx_") || text.contains("sk-or-")
}

/// A name for the path: ids of resources are left out, so that names stay few,
/// and so is whatever looks like a key or an access token that was pasted there.
fn label(path: &str) -> String {
    const WITH_IDS: [&str; 7] = ["videos", "files", "batches", "containers", "presets", "interns", "vault"];
    let mut label = String::with_capacity(path.len().min(LONGEST_LABEL));
    let mut is_id = false;
    for segment in path.split('/').skip(1) {
        if label.len() + segment.len() > LONGEST_LABEL {
            label.push_str("/…");
            break;
        }
        label.push('/');
        label.push_str(match segment {
            _ if is_id => "{id}",
            _ if looks_secret(segment) => "{secret}",
            _ => segment,
        });
        is_id = WITH_IDS.contains(&segment);
    }
    label
}

/// The path of a request that was not let in, for the log, below the API's root as with all others: long segments may be
/// anything, an access token that was pasted in the wrong place as well.
pub(super) fn brief(path: &str) -> String {
    let path = mounted(path).map_or(path, |(below, _)| below);
    let shown = |segment: &str| {
        segment.len() <= 20
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
    };
    let segments: Vec<&str> =
        path.split('/').take(8).map(|segment| if shown(segment) { segment } else { "…" }).collect();
    segments.join("/")
}

/// Bytes of a path in the ledger and the log.
const LONGEST_LABEL: usize = 128;

#[cfg(test)]
mod tests {
    use http::{Method, Uri, Version};

    use super::{Mount, Own, Refusal, Route, brief, label, of};
    use crate::openrouter::dialect::Dialect;

    fn route(target: &str) -> Result<(String, Mount, bool, Dialect), Refusal> {
        let uri: Uri = target.parse().unwrap();
        of(&Method::POST, &uri, Version::HTTP_11, 16 << 10)
            .map(|Route { path, mount, inference, dialect, .. }| (path.to_owned(), mount, inference, dialect))
    }

    #[test]
    fn what_is_plain_at_once_would_pass_every_question_too() {
        for (mount, _) in super::MOUNTS {
            for (below, _) in super::INFERENCE {
                let path = format!("{mount}{below}");
                let uri: Uri = format!("{path}?id=gen-1").parse().unwrap();
                let plain = super::spelled_plainly(&Method::POST, uri.path(), uri.query()).unwrap();
                assert!(!path.contains(['%', '\\']) && !path.contains("//"));
                assert!(!super::is_devious(path.as_bytes()) && !super::is_management(below.as_bytes()));
                assert_eq!(super::own(&Method::POST, plain.mount, below, below.as_bytes()), None);
                assert_eq!(super::mounted(&path), Some((below, plain.mount)));
                let bound = super::resource::bound(below, uri.query());
                assert_eq!((plain.resource, plain.makes), (bound.resource, bound.makes), "{path}");
            }
        }
        for path in [
            "/v1/chat/completions/",
            "/v1/chat%2Fcompletions",
            "/v1//messages",
            "/v1/./messages",
            "/V1/messages",
        ] {
            assert_eq!(super::spelled_plainly(&Method::POST, path, None), None, "{path}");
        }
        assert_eq!(super::spelled_plainly(&Method::PUT, "/v1/messages", None), None);
    }

    #[test]
    fn both_mounts_lead_to_the_same_place() {
        for target in ["/api/v1/messages?beta=true", "/v1/messages?beta=true"] {
            assert_eq!(route(target), Ok(("/messages".to_owned(), Mount::V1, true, Dialect::Messages)));
        }
        assert_eq!(
            route("/api/alpha/decisions"),
            Ok(("/decisions".to_owned(), Mount::Alpha, true, Dialect::Chat))
        );
        assert_eq!(route("/api/beta/batches").unwrap().1, Mount::Beta);
    }

    #[test]
    fn other_percent_encoding_passes_verbatim() {
        assert_eq!(route("/v1/models/google%2Fgemma").unwrap().0, "/models/google%2Fgemma");
        assert_eq!(route("/v1/models/a%20b").unwrap().0, "/models/a%20b");
    }

    #[test]
    fn dots_are_found_at_any_depth_of_encoding() {
        for target in [
            "/api/v1/../keys",
            "/api/v1/models/..",
            "/api/v1/./models",
            "/api/v1/%2e%2e/keys",
            "/api/v1/%252e%252E/keys",
            "/api/v1/%25252e./keys",
            "/api/v1/models%2f..%2fkeys",
            "/api/v1/models/..;a/keys",
            "/api/v1/a%5cb",
            "/api/v1/a%255Cb",
            "/api/v1/%00",
            "/api/v1//models",
            "//api/v1/models",
            "/api/v1/models//",
        ] {
            assert!(matches!(route(target), Err(Refusal::BadRequest(_))), "{target}");
        }
    }

    #[test]
    fn an_escape_of_an_escape_of_an_escape_costs_no_more_than_as_many_of_their_own() {
        // Were each layer a pass over the rest, these would be 10^13 steps: hours on any machine, not moments.
        let nested = format!("%{}2e", "25".repeat(4 << 20));
        let (sender, decoded) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(super::decode_wholly(&nested)));
        let decoded = decoded.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(decoded.as_deref(), Ok(&b"."[..]));
    }

    #[test]
    fn what_only_management_keys_may_use_is_refused() {
        for target in [
            "/api/v1/keys",
            "/v1/keys/abc",
            "/v1/keys/",
            "/v1/KEYS",
            "/v1/%6beys",
            "/v1/%256beys",
            "/v1/keys;x=1",
            "/api/v1/auth/keys",
            "/api/v1/auth/keys/code",
            "/api/v1/activity",
            "/api/v1/credits",
            "/api/v1/credits/coinbase",
            "/api/v1/analytics/query",
            "/api/v1/generation/feedback",
            "/api/v1/oauth/token",
            "/api/alpha/keys",
            "/api/v1/%2fkeys",
        ] {
            assert_eq!(route(target), Err(Refusal::ManagementOnly), "{target}");
        }
        for target in ["/api/v1/key", "/api/v1/auth/key", "/v1/generation?id=1"] {
            assert!(route(target).is_ok(), "{target}");
        }
    }

    fn own(method: &Method, target: &str) -> Result<Option<Own>, Refusal> {
        of(method, &target.parse().unwrap(), Version::HTTP_11, 16 << 10).map(|route| route.own)
    }

    #[test]
    fn what_tells_of_one_account_is_answered_for_the_pool_however_it_is_spelled() {
        for target in [
            "/v1/key",
            "/api/v1/key?x=1",
            "/v1/auth/key",
            "/v1/%6bey",
            "/v1/KEY",
            "/v1/key/",
            "/api/beta/key",
        ] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(own(&method, target), Ok(Some(Own::Key)), "{target}");
            }
            assert_eq!(own(&Method::POST, target), Ok(None), "{target}");
        }
        for target in ["/v1/credits", "/api/v1/credits?x=1"] {
            assert_eq!(own(&Method::GET, target), Ok(Some(Own::Credits)), "{target}");
            assert_eq!(own(&Method::HEAD, target), Err(Refusal::ManagementOnly), "{target}");
            assert_eq!(own(&Method::POST, target), Err(Refusal::ManagementOnly), "{target}");
        }
        for target in
            ["/v1/credits/", "/v1/credit%73", "/v1/credits/coinbase", "/api/beta/credits", "/v1/keys"]
        {
            assert_eq!(own(&Method::GET, target), Err(Refusal::ManagementOnly), "{target}");
        }
        for target in ["/v1/keysmith", "/v1/key/x", "/v1/auth", "/v1/models/key"] {
            assert_eq!(own(&Method::GET, target), Ok(None), "{target}");
        }
    }

    #[test]
    fn resources_are_named_by_path_and_told_by_what_makes_them() {
        for (method, target, resource, makes) in [
            (Method::GET, "/v1/generation?id=gen-1", Some("generation:gen-1"), None),
            (Method::GET, "/api/v1/generation/content?id=gen-1", Some("generation:gen-1"), None),
            (Method::POST, "/v1/videos", None, Some("video")),
            (Method::GET, "/v1/videos/job-1", Some("video:job-1"), Some("video")),
            (Method::GET, "/v1/videos/models", None, None),
            (Method::DELETE, "/v1/files/or_file_1", Some("file:or_file_1"), None),
            (Method::GET, "/v1/files", None, None),
            (Method::POST, "/v1/files", None, Some("file")),
            (Method::POST, "/api/beta/batches", None, Some("batch")),
            (Method::GET, "/api/beta/batches/b1", Some("batch:b1"), None),
            (Method::POST, "/v1/presets/mine/messages", Some("preset:mine"), Some("preset")),
            (Method::GET, "/v1/presets/mine", Some("preset:mine"), None),
            (Method::POST, "/v1/chat/completions", None, None),
        ] {
            let uri: Uri = target.parse().unwrap();
            let route = of(&method, &uri, Version::HTTP_11, 16 << 10).unwrap();
            assert_eq!((route.resource.as_deref(), route.makes), (resource, makes), "{method} {target}");
        }
    }

    #[test]
    fn anything_else_is_outside() {
        for target in
            ["/", "/api", "/api/v1", "/api/v1/", "/v1", "/v2/models", "/api/v1x/models", "/%61pi/v1/models"]
        {
            assert_eq!(route(target), Err(Refusal::NoSuchRoute), "{target}");
        }
        let absolute: Uri = "http://openrouter.ai/api/v1/models".parse().unwrap();
        assert!(matches!(of(&Method::GET, &absolute, Version::HTTP_11, 99), Err(Refusal::BadRequest(_))));
        assert!(of(&Method::GET, &absolute, Version::HTTP_2, 99).is_ok());
        assert_eq!(of(&Method::TRACE, &absolute, Version::HTTP_2, 99), Err(Refusal::Method));
        assert_eq!(of(&Method::GET, &absolute, Version::HTTP_2, 5), Err(Refusal::UriTooLong));
    }

    #[test]
    fn what_is_long_in_a_refused_path_is_not_shown() {
        assert_eq!(brief("/api/v1/models/google/gemma-3:free"), "/models/google/gemma-3:free");
        assert_eq!(brief("/v1/models/a-token-of-somebodys-own/x"), "/models/…/x");
        assert_eq!(brief("/nowhere/v1"), "/nowhere/v1");
    }

    #[test]
    fn labels_leave_ids_and_secrets_out() {
        assert_eq!(label("/chat/completions"), "/chat/completions");
        assert_eq!(label("/videos/job-1"), "/videos/{id}");
        assert_eq!(label("/videos/job-1/content"), "/videos/{id}/content");
        assert_eq!(label("/models/a/b/endpoints"), "/models/a/b/endpoints");
        assert_eq!(label("/models/hmx_abc/x"), "/models/{secret}/x");
        assert_eq!(label(&format!("/models/{}/x", "a".repeat(200))), "/models/…");
    }
}
