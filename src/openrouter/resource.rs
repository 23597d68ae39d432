//! Which resources of an account a request names and an answer makes: files, videos, batches, containers, presets.
//!
//! An id is told as `kind:id`, such as `file:or_file_…`, so that those of two kinds never meet.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::json::{Scanner, Text};

/// The kind of the ids of a collection whose members belong to the account that made them (`OpenRouter` API reference: files,
/// batches and containers live in the workspace of the key; videos, presets, vault and interns are the account's).
fn kind_of(collection: &str) -> Option<&'static str> {
    Some(match collection {
        "videos" => "video",
        "files" => "file",
        "batches" => "batch",
        "containers" => "container",
        "presets" => "preset",
        "interns" => "intern",
        "vault" => "vault",
        _ => return None,
    })
}

/// The longest id, bytes; `OpenRouter`'s stay far below.
const LONGEST_ID: usize = 256;

/// How many ids of one request or answer count.
const MOST_IDS: usize = 16;

/// What a path below the API's mount says of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The resource it asks for.
    pub resource: Option<Cow<'a, str>>,
    /// The kind of what a POST to it makes, or of what it tells the state of.
    pub makes: Option<&'static str>,
}

/// Reads `path`, such as `/videos/job-1/content`, and the query behind it.
#[must_use]
pub fn bound<'a>(path: &'a str, query: Option<&'a str>) -> Bound<'a> {
    let mut segments = path.split('/').skip(1);
    let first = segments.next().unwrap_or_default();
    if first == "generation" {
        let id = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("id=")));
        return Bound { resource: id.and_then(|id| named("generation", id)).map(Cow::Owned), makes: None };
    }
    let Some(kind) = kind_of(first) else {
        return Bound::default();
    };
    match segments.next().filter(|id| !id.is_empty()) {
        None => Bound { resource: None, makes: Some(kind) },
        // The catalogue of models that make videos.
        Some("models") if kind == "video" => Bound::default(),
        // A POST below a preset's name makes the preset, or a version of it (`OpenRouter` docs, Presets page).
        Some(id) => Bound {
            resource: named(kind, id).map(Cow::Owned),
            makes: Some(kind).filter(|kind| matches!(*kind, "preset" | "video")),
        },
    }
}

/// The resources that the body of a request names wherever they stand in it, and the preset in the name of its
/// model.
#[must_use]
pub fn named_in(body: &[u8], model: Option<&str>) -> Vec<String> {
    static FILE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"or_file_"));
    static FIELDS: LazyLock<[(Finder<'static>, &'static str); 4]> = LazyLock::new(|| {
        [
            ("\"previous_job_id\"", "video"),
            ("\"container_id\"", "container"),
            ("\"container\"", "container"),
            ("\"preset\"", "preset"),
        ]
        .map(|(field, kind)| (Finder::new(field.as_bytes()), kind))
    });
    let mut found = Vec::new();
    if let Some((_, slug)) = model.and_then(|model| model.split_once("@preset/")) {
        add(&mut found, "preset", slug);
    }
    // Inside a text a quote is escaped, so what begins with a bare one is a value or a name.
    for at in FILE.find_iter(body).take(MOST_IDS) {
        if let Some(id) = Scanner::from(body, at).string().and_then(Text::decode) {
            add(&mut found, "file", &id);
        }
    }
    for (field, kind) in &*FIELDS {
        for at in field.find_iter(body).take(MOST_IDS) {
            if let Some(id) = field_id(Scanner::from(body, at)) {
                add(&mut found, kind, &id);
            }
        }
    }
    found
}

/// The id in a field: its value, or the `id` of the object that is its value.
fn field_id(mut scanner: Scanner<'_>) -> Option<Cow<'_, str>> {
    scanner.string()?;
    scanner.eat(b':')?;
    if scanner.peek()? != b'{' {
        return scanner.string().and_then(Text::decode);
    }
    let mut id = None;
    // Of an object that breaks off, what stands before that counts.
    let _ = scanner.object(|scanner, name| {
        match name {
            b"id" => scanner.text(&mut id)?,
            _ => scanner.skip()?,
        }
        Some(())
    });
    id.and_then(Text::decode)
}

/// The resources that the JSON answer to a POST tells of, the one it made, of `kind`, first. The answer is an
/// object, or has one in `data`.
#[must_use]
pub fn made(kind: &str, body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let _ = Scanner::new(body).object(|scanner, name| {
        if name == b"data" && scanner.peek()? == b'{' {
            return scanner.object(|scanner, name| field(&mut found, kind, scanner, name));
        }
        field(&mut found, kind, scanner, name)
    });
    found
}

fn field(found: &mut Vec<String>, kind: &str, scanner: &mut Scanner<'_>, name: &[u8]) -> Option<()> {
    let kind = match name {
        b"id" => kind,
        b"slug" if kind == "preset" => kind,
        b"generation_id" => "generation",
        b"file_id" | b"input_file_id" | b"output_file_id" | b"error_file_id" => "file",
        b"container_id" => "container",
        _ => return scanner.skip(),
    };
    let mut id = None;
    scanner.text(&mut id)?;
    if let Some(id) = id.and_then(Text::decode) {
        add(found, kind, &id);
    }
    Some(())
}

fn add(found: &mut Vec<String>, kind: &str, id: &str) {
    if let Some(id) = named(kind, id).filter(|id| found.len() < MOST_IDS && !found.contains(id)) {
        found.push(id);
    }
}

fn named(kind: &str, id: &str) -> Option<String> {
    let is_fine = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_fine.then(|| format!("{kind}:{id}"))
}

/// Where the addresses stand that a caller is to follow with its credentials: the values of `polling_url` and
/// the items of `unsigned_urls`, quotes included (`OpenRouter` docs, Video Generation page).
#[must_use]
pub fn credentialed_urls(body: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for name in ["\"polling_url\"", "\"unsigned_urls\""] {
        for at in memchr::memmem::find_iter(body, name.as_bytes()).take(MOST_IDS) {
            let mut scanner = Scanner::from(body, at);
            // What is read before a break counts.
            let _ = (|| {
                scanner.string()?;
                scanner.eat(b':')?;
                if scanner.peek()? == b'[' {
                    return scanner.array(|scanner| url(&mut found, scanner));
                }
                url(&mut found, &mut scanner)
            })();
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

fn url(found: &mut Vec<Range<usize>>, scanner: &mut Scanner<'_>) -> Option<()> {
    let is_text = scanner.peek()? == b'"';
    let start = scanner.at();
    scanner.skip()?;
    if is_text {
        found.push(start..scanner.at());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{bound, credentialed_urls, made, named_in};

    #[test]
    fn paths_name_what_belongs_to_an_account() {
        for (path, query, resource, makes) in [
            ("/generation", Some("id=gen-1-a"), Some("generation:gen-1-a"), None),
            ("/generation", Some("x=1&id=gen-1&id=gen-2"), Some("generation:gen-1"), None),
            ("/generation/content", Some("id=gen-1"), Some("generation:gen-1"), None),
            ("/generation", Some("id="), None, None),
            ("/generation", None, None, None),
            ("/videos", None, None, Some("video")),
            ("/videos/", None, None, Some("video")),
            ("/videos/job-1", None, Some("video:job-1"), Some("video")),
            ("/videos/job-1/content", Some("index=0"), Some("video:job-1"), Some("video")),
            ("/videos/models", None, None, None),
            ("/files", None, None, Some("file")),
            ("/files/or_file_1", None, Some("file:or_file_1"), None),
            ("/files/or_file_1/content", None, Some("file:or_file_1"), None),
            ("/batches", None, None, Some("batch")),
            ("/batches/b1", None, Some("batch:b1"), None),
            ("/containers/c1/files/f1/promote", None, Some("container:c1"), None),
            ("/presets/mine/versions/2", None, Some("preset:mine"), Some("preset")),
            ("/presets/mine/chat/completions", None, Some("preset:mine"), Some("preset")),
            ("/vault/v1", None, Some("vault:v1"), None),
            ("/models/files/x", None, None, None),
            ("/filesystem/x", None, None, None),
            ("/chat/completions", Some("id=gen-1"), None, None),
        ] {
            let bound = bound(path, query);
            assert_eq!((bound.resource.as_deref(), bound.makes), (resource, makes), "{path} {query:?}");
        }
    }

    #[test]
    fn bodies_name_files_jobs_containers_and_presets() {
        let body = json!({
            "model": "@preset/mine",
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "not this: \"or_file_no\" nor {\"container_id\":\"no\"}"},
                {"type": "file", "file": {"file_id": "or_file_1"}},
                {"type": "file", "file": {"file_id": "or_file_1"}},
            ]}],
            "previous_job_id": "job-1",
            "container": {"skills": [], "id": "cntr_1"},
            "tools": [{"type": "shell", "environment": {"container_id": "cntr_2"}}],
        });
        let mut found = named_in(body.to_string().as_bytes(), Some("@preset/mine"));
        found.sort();
        assert_eq!(
            found,
            ["container:cntr_1", "container:cntr_2", "file:or_file_1", "preset:mine", "video:job-1"]
        );
        assert_eq!(
            named_in(br#"{"container": "cntr_3"}"#, Some("a/b@preset/x")),
            ["preset:x", "container:cntr_3"]
        );
        for nothing in [&b""[..], b"{\"container\":null}", b"\"or_file_", b"{\"preset\":", b"\"container\""] {
            assert_eq!(named_in(nothing, Some("a/b")), [""; 0], "{nothing:?}");
        }
    }

    #[test]
    fn answers_tell_what_they_made() {
        for (kind, body, ids) in [
            (
                "video",
                r#"{"id":"job-1","polling_url":"/api/v1/videos/job-1","status":"pending","generation_id":"gen-vid-1"}"#,
                &["video:job-1", "generation:gen-vid-1"][..],
            ),
            ("file", r#"{"id":"or_file_1","filename":"a \"id\":\"b\""}"#, &["file:or_file_1"]),
            ("file", r#"{"data":{"id":"or_file_1"}}"#, &["file:or_file_1"]),
            (
                "batch",
                r#"{"id":"b1","input_file_id":"or_file_2","output_file_id":null}"#,
                &["batch:b1", "file:or_file_2"],
            ),
            ("preset", r#"{"data":{"id":"uuid","slug":"mine"}}"#, &["preset:uuid", "preset:mine"]),
            ("file", r#"{"id":7,"data":[{"id":"x"}],"nested":{"id":"y"}}"#, &[]),
            ("file", r#"{"id":"a b"}"#, &[]),
            ("file", r#"{"id":"or_file_1","cut"#, &["file:or_file_1"]),
            ("file", "", &[]),
            ("file", "[]", &[]),
        ] {
            assert_eq!(made(kind, body.as_bytes()), ids, "{body}");
        }
        assert!(made("file", format!(r#"{{"id":"{}"}}"#, "x".repeat(300)).as_bytes()).is_empty());
    }

    #[test]
    fn the_addresses_that_need_credentials_are_found() {
        let body = r#"{"polling_url" : "/a","urls":["/signed"],"data":{"unsigned_urls":["/b", null,"/c\"" ]},"x":"\"polling_url\":\"no\""}"#;
        let found: Vec<&str> =
            credentialed_urls(body.as_bytes()).into_iter().map(|range| &body[range]).collect();
        assert_eq!(found, [r#""/a""#, r#""/b""#, r#""/c\"""#]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(body in "[\\[\\]{}\":, ]{0,12}(\"(container|preset|polling_url|unsigned_urls|id|data)\"[\\[{\": ]{0,3}){0,3}") {
            let _ = (named_in(body.as_bytes(), None), made("file", body.as_bytes()));
            for range in credentialed_urls(body.as_bytes()) {
                prop_assert!(body.as_bytes()[range.start] == b'"' && body.as_bytes()[range.end - 1] == b'"');
            }
        }
    }
}
