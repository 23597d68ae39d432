//! What a key makes and its account keeps: videos, files, batches, presets.

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::answer::Reply;
use super::asked::Asked;
use super::books::{Generation, KeyId};
use super::errors::{self, Denial};
use super::fault::Canned;
use super::text::{fill, number, quoted};
use super::{State, catalogue, route};
use crate::clock::Time;

/// The tokens written that a video is charged for.
const VIDEO_TOKENS: u64 = 1_000;
const VIDEO: &[u8] = b"\0\0\0\x18ftypmp42 a video of the simulator";

/// All that was made, oldest first.
#[derive(Debug, Default)]
pub(super) struct Resources(Vec<Resource>);

#[derive(Debug)]
struct Resource {
    /// `videos`, `files`, `batches` or `presets`: the first part of its path.
    kind: &'static str,
    id: String,
    maker: KeyId,
    created: Time,
    body: Bytes,
    /// The generation that a video was charged as.
    generation: String,
}

/// The answer of a path that is about a resource; nothing for all others. `id` is a generation's, still unused.
pub(super) fn answer(
    state: &mut State,
    head: &Parts,
    path: &str,
    key: KeyId,
    body: &Bytes,
    id: &str,
    now: Time,
) -> Option<Result<Reply, Denial>> {
    if path == "/videos/models" {
        return None;
    }
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let first = parts.next()?;
    let kind = ["videos", "files", "batches", "presets"].into_iter().find(|kind| *kind == first)?;
    let (name, rest) = (parts.next(), parts.next());
    Some(match (&head.method, name, rest) {
        (&Method::POST, None, _) if kind != "presets" => make(state, kind, key, body, id, now),
        (&Method::POST, Some(slug), Some(_)) if kind == "presets" => {
            state.resources.0.push(Resource::new(kind, slug.to_owned(), key, body, String::new(), now));
            Ok(route::json(format!(r#"{{"data":{{"slug":{}}}}}"#, quoted(slug))))
        }
        (&Method::GET, None, _) => Ok(route::json(list(state, kind, key, now))),
        (&Method::GET, Some(name), rest) => show(state, kind, name, rest, key, now),
        (&Method::DELETE, Some(name), None) => remove(state, kind, name, key),
        _ => Err(errors::not_found()),
    })
}

/// The model that the preset `slug` of the account of `key` stands for.
pub(super) fn preset(state: &State, slug: &str, key: KeyId) -> Option<String> {
    let preset = find(state, "presets", slug, key)?;
    Asked::read(&preset.body)?.model
}

impl Resource {
    fn new(
        kind: &'static str,
        id: String,
        maker: KeyId,
        body: &Bytes,
        generation: String,
        now: Time,
    ) -> Self {
        Self { kind, id, maker, created: now, body: body.clone(), generation }
    }
}

fn find<'a>(state: &'a State, kind: &str, id: &str, asker: KeyId) -> Option<&'a Resource> {
    let known = |one: &&Resource| one.kind == kind && one.id == id && state.books.shares(one.maker, asker);
    state.resources.0.iter().rev().find(known)
}

fn make(
    state: &mut State,
    kind: &'static str,
    key: KeyId,
    body: &Bytes,
    id: &str,
    now: Time,
) -> Result<Reply, Denial> {
    let unique = id.rsplit('-').next().unwrap_or_default();
    let (status, name, mut generation) = match kind {
        "videos" => (202, format!("vgen-{unique}"), id.replacen("gen-", "gen-vid-", 1)),
        "files" => (200, format!("or_file_{unique}"), String::new()),
        _ => (202, format!("batch_{unique}"), String::new()),
    };
    if kind == "videos" {
        let asked = Asked::read(body).ok_or_else(|| errors::plain(400))?;
        let wanted = asked.model.unwrap_or_default();
        let model = state.models.iter().find(|model| model.id == wanted);
        let model = model.ok_or_else(|| errors::unknown_model(&wanted))?.clone();
        state.books.admit(key, &model, 0, VIDEO_TOKENS, now)?;
        let made = Generation::new(std::mem::take(&mut generation), model, 0, false, now);
        generation.clone_from(&made.id);
        state.books.open(key, made, &[], VIDEO_TOKENS);
        state.books.settle(&generation, VIDEO_TOKENS, false, now);
    }
    let made = Resource::new(kind, name, key, body, generation, now);
    // Of a video the body alone tells the generation.
    let reply = Reply::canned(Canned::json(status, describe(state, &made, key, now)));
    state.resources.0.push(made);
    Ok(reply)
}

fn show(
    state: &State,
    kind: &str,
    name: &str,
    rest: Option<&str>,
    key: KeyId,
    now: Time,
) -> Result<Reply, Denial> {
    let found = find(state, kind, name, key).ok_or_else(errors::no_such_resource)?;
    match (kind, rest) {
        (_, None) => Ok(route::json(describe(state, found, key, now))),
        ("videos", Some("content")) if is_done(state, found, now) => Ok(bytes("video/mp4", VIDEO.into())),
        ("files", Some("content")) => Ok(bytes("application/octet-stream", found.body.clone())),
        _ => Err(errors::not_found()),
    }
}

fn bytes(kind: &str, body: Bytes) -> Reply {
    Reply::canned(Canned { status: 200, headers: vec![("content-type".to_owned(), kind.to_owned())], body })
}

fn remove(state: &mut State, kind: &str, name: &str, key: KeyId) -> Result<Reply, Denial> {
    find(state, kind, name, key).ok_or_else(errors::no_such_resource)?;
    state.resources.0.retain(|one| one.kind != kind || one.id != name);
    Ok(route::json(format!(r#"{{"id":{},"deleted":true}}"#, quoted(name))))
}

fn list(state: &State, kind: &str, key: KeyId, now: Time) -> String {
    let own = state.resources.0.iter().filter(|one| one.kind == kind && state.books.shares(one.maker, key));
    let shown: Vec<String> = own.map(|one| describe(state, one, key, now)).collect();
    format!(r#"{{"data":[{}]}}"#, shown.join(","))
}

/// Whether a job is done: it takes as long as a generation takes to be known.
fn is_done(state: &State, one: &Resource, now: Time) -> bool {
    now.since(one.created) >= state.generation_delay
}

fn describe(state: &State, one: &Resource, key: KeyId, now: Time) -> String {
    let done = is_done(state, one, now);
    let status = if done { "completed" } else { "pending" };
    let template = match one.kind {
        "videos" if done => concat!(
            r#"{"id":$id,"polling_url":$url,"status":"$status","generation_id":$generation,"#,
            r#""unsigned_urls":[$content],"usage":{"cost":$cost,"is_byok":false}}"#,
        ),
        "videos" => r#"{"id":$id,"polling_url":$url,"status":"$status","generation_id":$generation}"#,
        "files" => concat!(
            r#"{"id":$id,"object":"file","filename":"upload","bytes":$bytes,"created_at":$created,"#,
            r#""purpose":"user_data"}"#,
        ),
        "batches" => r#"{"id":$id,"object":"batch","status":"$status","created_at":$created}"#,
        _ => r#"{"slug":$id,"created_at":$created}"#,
    };
    let url = format!("{}/api/v1/videos/{}", state.url_origin, one.id);
    let cost = state.books.generation(&one.generation, key, now).map_or(0, |generation| generation.cost);
    fill(
        template,
        &[
            ("id", &quoted(&one.id)),
            ("url", &quoted(&url)),
            ("content", &quoted(&format!("{url}/content?index=0"))),
            ("status", status),
            ("generation", &quoted(&one.generation)),
            ("cost", &number(cost)),
            ("bytes", &one.body.len().to_string()),
            ("created", &quoted(&catalogue::iso(one.created))),
        ],
    )
}
