//! Models as requests and catalogues name them, for access tokens that may use some of them only.

use std::borrow::Cow;

use super::json::{Scanner, Text};

/// The fields of a request in which people and models speak, or that describe what they say: none of them names a model to
/// be run.
const SAID: [&[u8]; 14] = [
    b"messages",
    b"input",
    b"prompt",
    b"system",
    b"instructions",
    b"query",
    b"documents",
    b"metadata",
    b"trace",
    b"response_format",
    b"text",
    b"suffix",
    b"stop",
    b"function",
];

/// The same in a tool: the form of what it is called with.
const SCHEMA: [&[u8]; 2] = [b"function", b"input_schema"];

/// How deep a request is read, and how many models it may name.
const DEEPEST: usize = 16;
const MOST: usize = 256;

/// Each model that the JSON body of a request may run: in `model` and `models`, as a `preset` (`@preset/…`), and in whatever
/// fields of that kind its plugins and tools have (`OpenRouter` docs, Model Fallbacks, Presets, Auto Router and Server Tools
/// pages). Of a field given twice both count. A model that a preset is put behind, `a/b@preset/c`, is two.
///
/// None where `body` is not all of a JSON object, so that nothing is certain; empty where it names no model.
#[must_use]
pub fn models_of(body: &[u8]) -> Option<Vec<String>> {
    let mut models = Vec::new();
    let mut scanner = Scanner::new(body);
    scanner.object(|scanner, name| match name {
        name if SAID.contains(&name) => scanner.skip(),
        name => named(scanner, name, &mut models, DEEPEST),
    })?;
    // Something behind it is no JSON, or another object.
    scanner.peek().is_none().then_some(models)
}

/// Takes the value of the field `name` with the models that are named in it.
fn named(scanner: &mut Scanner<'_>, name: &[u8], models: &mut Vec<String>, depth: usize) -> Option<()> {
    let is_model = [&b"model"[..], b"models"].iter().any(|word| ends_with_word(name, word));
    match scanner.peek()? {
        b'"' if name == b"preset" => {
            let slug = scanner.string()?.decode()?;
            push(models, format!("@preset/{slug}"))
        }
        b'"' if is_model => add(scanner.string()?, models),
        b'[' => scanner.array(|scanner| match scanner.peek()? {
            b'"' if is_model => add(scanner.string()?, models),
            _ => named(scanner, b"", models, depth.checked_sub(1)?),
        }),
        b'{' => {
            let depth = depth.checked_sub(1)?;
            scanner.object(|scanner, name| match name {
                name if SCHEMA.contains(&name) => scanner.skip(),
                name => named(scanner, name, models, depth),
            })
        }
        _ => scanner.skip(),
    }
}

/// Whether `name` is `word`, or `some_word`.
fn ends_with_word(name: &[u8], word: &[u8]) -> bool {
    name.strip_suffix(word).is_some_and(|before| before.is_empty() || before.ends_with(b"_"))
}

fn add(text: Text<'_>, models: &mut Vec<String>) -> Option<()> {
    let text = text.decode()?;
    let (model, preset) = text.split_at(text.find("@preset/").unwrap_or(text.len()));
    for part in [model, preset] {
        if !part.is_empty() {
            push(models, part.to_owned())?;
        }
    }
    Some(())
}

fn push(models: &mut Vec<String>, model: String) -> Option<()> {
    (models.len() < MOST).then(|| models.push(model))
}

/// What a path of the catalogue shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Many models: their JSON list can be taken apart by [`only`].
    List,
    /// The one of this name.
    Model(String),
    /// How many there are.
    Count,
}

/// What of the models a GET of `path` shows, such as `/models/openai/gpt-4o/endpoints`, below the API's mount and spelled
/// plainly; none where it shows none (`OpenRouter` API reference, Models and Endpoints).
#[must_use]
pub fn shown(path: &str) -> Option<Shows> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let Some(at) = segments.iter().position(|segment| matches!(*segment, "models" | "model")) else {
        return (segments.first() == Some(&"endpoints")).then_some(Shows::List);
    };
    match &segments[at + 1..] {
        [] | ["user"] => Some(Shows::List),
        ["count"] => Some(Shows::Count),
        [model] => Some(Shows::Model((*model).to_owned())),
        [author, slug, ..] => Some(Shows::Model(format!("{author}/{slug}"))),
    }
}

/// The fields that name a list's models, the first that is there counts.
const NAMES: [&[u8]; 3] = [b"model_id", b"id", b"slug"];

/// `list`, a JSON object with models in `data` or `models`, without those that `may` leaves out; all else byte for byte. None
/// where it is not understood: then it may show anything.
#[must_use]
pub fn only(list: &[u8], may: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(list.len());
    let (mut copied, mut is_list) = (0, false);
    let mut scanner = Scanner::new(list);
    scanner.object(|scanner, field| {
        if field != b"data" && field != b"models" {
            return scanner.skip();
        }
        is_list = true;
        scanner.eat(b'[')?;
        kept.extend_from_slice(&list[copied..scanner.at()]);
        let mut is_first = true;
        while scanner.peek()? != b']' {
            let model = scanner.value()?;
            if may(&name_of(model)?) {
                kept.extend_from_slice(if is_first { b"" } else { b"," });
                kept.extend_from_slice(model);
                is_first = false;
            }
            if scanner.peek()? != b']' {
                scanner.eat(b',')?;
                // Only another one may follow.
                (scanner.peek()? == b'{').then_some(())?;
            }
        }
        copied = scanner.at();
        scanner.eat(b']')
    })?;
    if !is_list || scanner.peek().is_some() {
        return None;
    }
    kept.extend_from_slice(&list[copied..]);
    Some(kept)
}

/// What the model in a list is called.
fn name_of(model: &[u8]) -> Option<Cow<'_, str>> {
    let mut names = [None; NAMES.len()];
    Scanner::new(model).object(|scanner, field| match NAMES.iter().position(|name| *name == field) {
        Some(at) => scanner.text(&mut names[at]),
        None => scanner.skip(),
    })?;
    names.into_iter().flatten().next()?.decode()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Shows, models_of, only, shown};

    #[test]
    fn every_model_that_a_request_may_run_is_found() {
        for (body, models) in [
            (r#"{"model":"a/b"}"#, vec!["a/b"]),
            (r#"{"model":"a/b","models":["c/d","e/f:free"],"messages":[]}"#, vec!["a/b", "c/d", "e/f:free"]),
            (r#"{"model":"a/b","model":"c/d"}"#, vec!["a/b", "c/d"]),
            (r#"{"mod\u0065l":"\u0061/b"}"#, vec!["a/b"]),
            (r#"{"model":"a/b@preset/mine","preset":"other"}"#, vec!["a/b", "@preset/mine", "@preset/other"]),
            (r#"{"model":"@preset/mine"}"#, vec!["@preset/mine"]),
            (
                r#"{"model":"openrouter/auto","plugins":[{"id":"auto-router","allowed_models":["a/*"]},
                    {"id":"fusion","model":"c/d","analysis_models":["e/f"]}]}"#,
                vec!["openrouter/auto", "a/*", "c/d", "e/f"],
            ),
            (
                r#"{"model":"a/b","tools":[{"type":"openrouter:subagent","parameters":{"model":"c/d"}}]}"#,
                vec!["a/b", "c/d"],
            ),
            (r#"{"model":"a/b","fallbacks":[{"model":"c/d"}]}"#, vec!["a/b", "c/d"]),
            (r#"{"messages":[{"role":"user","content":"\"model\":\"x/y\""}],"model":null}"#, vec![]),
            ("{}", vec![]),
        ] {
            assert_eq!(models_of(body.as_bytes()).unwrap(), models, "{body}");
        }
    }

    #[test]
    fn what_is_said_and_how_a_tool_is_called_names_no_model() {
        let body = json!({
            "model": "a/b",
            "messages": [{"role": "user", "content": [{"type": "text", "model": "x/y"}]}],
            "input": [{"model": "x/y"}],
            "metadata": {"model": "x/y"},
            "tools": [
                {"type": "function", "function": {"parameters": {"examples": [{"model": "x/y"}]}}},
                {"name": "buy", "input_schema": {"properties": {"model": {"const": "x/y"}}, "model": "x/y"}},
                {"type": "function", "name": "f", "parameters": {"properties": {"model": {"type": "string"}}}},
            ],
        });
        assert_eq!(models_of(body.to_string().as_bytes()).unwrap(), ["a/b"]);
    }

    #[test]
    fn what_is_not_all_of_an_object_tells_nothing_for_certain() {
        let deep = format!(r#"{{"a":{}"model":"x"{}}}"#, r#"{"b":"#.repeat(20), "}".repeat(20));
        let many = format!(r#"{{"models":[{}"x"]}}"#, r#""x","#.repeat(300));
        for body in [
            "",
            "[]",
            r#""model""#,
            r#"{"model":"a/b""#,
            r#"{"model":"a/b"} {"model":"c/d"}"#,
            "\u{feff}{}",
            "--boundary\r\n",
            r#"{"model":"\ud800"}"#,
            &deep,
            &many,
        ] {
            assert_eq!(models_of(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn paths_show_a_list_one_model_or_none() {
        let model = |name: &str| Some(Shows::Model(name.to_owned()));
        for (path, shows) in [
            ("/models", Some(Shows::List)),
            ("/providers/acme/models", Some(Shows::List)),
            ("/models/user", Some(Shows::List)),
            ("/embeddings/models", Some(Shows::List)),
            ("/endpoints/zdr", Some(Shows::List)),
            ("/models/count", Some(Shows::Count)),
            ("/models/openai/gpt-4o/endpoints", model("openai/gpt-4o")),
            ("/model/openai/gpt-4o", model("openai/gpt-4o")),
            ("/images/models/a/b/endpoints", model("a/b")),
            ("/models/gpt-4o", model("gpt-4o")),
            ("/providers", None),
            ("/generation", None),
            ("/", None),
        ] {
            assert_eq!(shown(path), shows, "{path}");
        }
    }

    #[test]
    fn a_list_keeps_what_may_be_used_and_all_else_byte_for_byte() {
        for (list, kept) in [
            (
                r#"{"data":[{"id":"a/1"},{"id":"b/1"},{"id":"a/2"}]}"#,
                r#"{"data":[{"id":"a/1"},{"id":"a/2"}]}"#,
            ),
            (
                "{ \"x\": 1.50, \"data\" : [ {\"id\" : \"b/1\"} , {\"name\":\"n\", \"id\":\"a\\/1\" } ], \"y\": null }\n",
                "{ \"x\": 1.50, \"data\" : [{\"name\":\"n\", \"id\":\"a\\/1\" }], \"y\": null }\n",
            ),
            (
                r#"{"models":[{"slug":"a/1"}],"data":[{"id":"b/1"}]}"#,
                r#"{"models":[{"slug":"a/1"}],"data":[]}"#,
            ),
            (r#"{"data":[{"name":"a/1","id":"x","model_id":"b/1"}]}"#, r#"{"data":[]}"#),
            (r#"{"data":[]}"#, r#"{"data":[]}"#),
        ] {
            let found = only(list.as_bytes(), |model| model.starts_with("a/"));
            assert_eq!(found.map(|kept| String::from_utf8(kept).unwrap()).as_deref(), Some(kept), "{list}");
        }
    }

    #[test]
    fn what_is_no_list_of_models_shows_nothing() {
        for odd in [
            "",
            "[]",
            "{}",
            r#"{"data":{"count":7}}"#,
            r#"{"data":["a/1"]}"#,
            r#"{"data":[{"name":"a/1"}]}"#,
            r#"{"data":[{"id":7}]}"#,
            r#"{"data":[{"id":"a/1"}"#,
            r#"{"data":[{"id":"a/1"},]}"#,
            r#"{"data":[]}{"data":[{"id":"b/1"}]}"#,
            "<rss></rss>",
        ] {
            assert_eq!(only(odd.as_bytes(), |_| true), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_may_not_be_used(ids in prop::collection::vec("[ab]/[a-z\"\\\\é]{0,3}", 0..8), pretty: bool) {
            let list = json!({"object": "list", "data": ids.iter().map(|id| json!({"id": id, "n": [1, {}]})).collect::<Vec<_>>()});
            let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) };
            let kept = only(text.unwrap().as_bytes(), |id| id.starts_with("a/")).unwrap();
            let kept: Value = serde_json::from_slice(&kept).unwrap();
            let left: Vec<_> = kept["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
            let wanted: Vec<_> = ids.iter().filter(|id| id.starts_with("a/")).collect();
            prop_assert_eq!(left, wanted);
        }

        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\model1a"[..]), 0..60)) {
            let _ = models_of(&bytes);
            let _ = only(&bytes, |_| true);
        }
    }
}
