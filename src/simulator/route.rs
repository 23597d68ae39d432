//! Which answer a path gets: inference, the catalogue, the key's own affairs, management, nothing.

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::answer::Reply;
use super::asked::{Asked, Dialect};
use super::body::Charge;
use super::books::{Generation, KeyId};
use super::catalogue;
use super::dialect::Said;
use super::errors::{self, Denial};
use super::fault::Canned;
use super::record::credential;
use super::resource;
use super::scenario::Quirk;
use super::script::Script;
use super::{Shared, State};
use crate::clock::Time;

/// What needs a management key (`OpenRouter` docs, Management API keys page).
const MANAGEMENT: [&str; 12] = [
    "/credits",
    "/activity",
    "/analytics",
    "/keys",
    "/byok",
    "/guardrails",
    "/workspaces",
    "/organization",
    "/observability",
    "/scim",
    "/external-users",
    "/private-endpoints",
];

/// The part of a path behind `/api/v1`.
pub(super) fn below_api(path: &str) -> Option<&str> {
    path.strip_prefix("/api/v1").filter(|rest| rest.starts_with('/'))
}

/// The answer when nothing goes wrong.
pub(super) fn answer(shared: &Shared, head: &Parts, body: &Bytes) -> Reply {
    let path = below_api(head.uri.path()).unwrap_or_default();
    let dialect = Dialect::of(path).filter(|_| head.method == Method::POST);
    let id = shared.next_generation();
    shared.with(|state, now| {
        let inside = state.quirks.contains(&Quirk::DenialsInside);
        let reply = match (dialect, asker(state, head, path, now)) {
            (_, Err(denial)) => Err(denial),
            (Some(dialect), Ok(Some(key))) => match inference(state, dialect, key, body, id.clone(), now) {
                Err(denial) if inside && denial.cause.is_some() && streams(body) => {
                    Ok(Reply::denial_inside(&denial, Some(dialect), true, id))
                }
                reply => reply,
            },
            (None, Ok(key)) => {
                match key.and_then(|key| resource::answer(state, head, path, key, body, &id, now)) {
                    Some(reply) => reply,
                    None => other(state, head, path, key, now).map(json),
                }
            }
            (Some(_), Ok(None)) => Err(errors::missing_authentication()),
        };
        reply.unwrap_or_else(|denial| Reply::denial(&denial, dialect))
    })
}

fn streams(body: &[u8]) -> bool {
    Asked::read(body).is_some_and(|asked| asked.stream)
}

pub(super) fn json(body: String) -> Reply {
    Reply::canned(Canned::json(200, body))
}

/// Who asks; nobody on public paths without a credential.
fn asker(state: &State, head: &Parts, path: &str, now: Time) -> Result<Option<KeyId>, Denial> {
    match credential(&head.headers) {
        None if head.method != Method::POST && is_public(path) => Ok(None),
        None => Err(errors::missing_authentication()),
        Some(secret) if !secret.starts_with("sk-or-v1-") => Err(errors::no_credentials()),
        // A bad key is refused on public paths too, where none at all would do.
        Some(secret) => state.books.find(secret, now).map(Some).ok_or_else(errors::user_not_found),
    }
}

fn is_public(path: &str) -> bool {
    matches!(path, "/models" | "/models/count" | "/embeddings/models" | "/providers")
        || endpoints_of(path).is_some()
}

/// `author/slug` in `/models/{author}/{slug}/endpoints`.
fn endpoints_of(path: &str) -> Option<String> {
    let id = path.strip_prefix("/models/")?.strip_suffix("/endpoints")?;
    Some(id.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%3a", ":"))
}

fn other(
    state: &mut State,
    head: &Parts,
    path: &str,
    key: Option<KeyId>,
    now: Time,
) -> Result<String, Denial> {
    let managed = MANAGEMENT
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let may_manage = key.is_some_and(|id| state.books.key(id).management);
    if managed && !may_manage && !(path == "/credits" && state.open_credits) {
        return Err(errors::management_only());
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(errors::not_found());
    }
    if let Some(id) = endpoints_of(path) {
        let model = state.models.iter().find(|model| model.id == id);
        return model.map(catalogue::endpoints).ok_or_else(errors::not_found);
    }
    match (path, key) {
        ("/models" | "/models/user", _) => Ok(catalogue::models(&state.models)),
        ("/embeddings/models", _) => {
            let models: Vec<_> = state.models.iter().filter(|model| model.embedding).cloned().collect();
            Ok(catalogue::models(&models))
        }
        ("/models/count", _) => Ok(format!(r#"{{"data":{{"count":{}}}}}"#, state.models.len())),
        ("/providers", _) => Ok(r#"{"data":[]}"#.to_owned()),
        ("/key" | "/auth/key", Some(key)) => {
            Ok(catalogue::key(&mut state.books, key, state.quirks.contains(&Quirk::ShortKey), now))
        }
        ("/credits", Some(key)) => Ok(catalogue::credits(&state.books, key)),
        ("/generation", Some(key)) => generation(state, head, key, now),
        _ if managed => Ok(r#"{"data":[]}"#.to_owned()),
        _ => Err(errors::not_found()),
    }
}

fn generation(state: &State, head: &Parts, key: KeyId, now: Time) -> Result<String, Denial> {
    let query = head.uri.query().unwrap_or_default();
    let id = query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap_or_default();
    let delay = i64::try_from(state.generation_delay.as_millis()).unwrap_or(i64::MAX);
    let found = state.books.generation(id, key, Time(now.0.saturating_sub(delay)));
    found.map(catalogue::generation).ok_or_else(errors::no_such_resource)
}

fn inference(
    state: &mut State,
    dialect: Dialect,
    key: KeyId,
    body: &[u8],
    id: String,
    now: Time,
) -> Result<Reply, Denial> {
    if state.books.key(key).management {
        return Err(Denial::new(403, "Management keys cannot be used for inference"));
    }
    let asked = Asked::read(body).ok_or_else(|| errors::plain(400))?;
    let preset = asked.model.as_deref().and_then(|name| name.strip_prefix("@preset/"));
    let named = match preset {
        Some(slug) => Some(resource::preset(state, slug, key).ok_or_else(|| errors::no_endpoints(slug))?),
        None => asked.model.clone(),
    };
    let model = match &named {
        // The account's default model.
        None => state.models.first(),
        Some(name) => state.models.iter().find(|model| model.id == *name),
    };
    let unknown = || errors::unknown_model(asked.model.as_deref().unwrap_or_default());
    let model = model.ok_or_else(unknown)?.clone();
    let prompt = asked.prompt_tokens();
    let most = asked.max_tokens.unwrap_or(model.max_output).min(model.max_output);
    state.books.admit(key, &model, prompt, most, now)?;

    let (tokens, finish) = match dialect {
        Dialect::Embeddings => (Vec::new(), "stop"),
        _ => asked.answer(&model),
    };
    let streamed = asked.stream && dialect != Dialect::Embeddings;
    let charge = Charge { id: id.clone(), streamed, planned: tokens.len() as u64, written: 0 };
    let mut generation = Generation::new(id.clone(), model.clone(), prompt, streamed, now);
    generation.finish = finish;
    state.books.open(key, generation, &asked.texts, most);

    let said = Said {
        id: id.clone(),
        created: now.0.div_euclid(1_000),
        model,
        prompt_tokens: prompt,
        cached_tokens: state.books.cached(&id),
        tokens,
        finish,
        usage_with_finish: state.usage_with_finish,
    };
    let (kind, script) = if streamed {
        ("text/event-stream", Script::stream(said.events(dialect), &state.pace))
    } else {
        ("application/json", Script::json(said.json(dialect, &asked), said.written(), &state.pace))
    };
    let mut headers = vec![("content-type".to_owned(), kind.to_owned()), ("x-generation-id".to_owned(), id)];
    if streamed {
        headers.push(("cache-control".to_owned(), "no-cache".to_owned()));
    }
    Ok(Reply { status: 200, headers, script, said: Some(said), charge: Some(charge), cause: None })
}
