//! What a request for inference says, in any of the dialects, and the text that answers it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::scenario::Model;

/// The form in which an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/chat/completions`.
    Chat,
    /// `/completions`.
    Completions,
    /// `/responses`.
    Responses,
    /// `/messages`.
    Messages,
    /// `/embeddings`.
    Embeddings,
}

impl Dialect {
    /// The dialect of a path below `/api/v1`.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/chat/completions" => Self::Chat,
            "/completions" => Self::Completions,
            "/responses" => Self::Responses,
            "/messages" => Self::Messages,
            "/embeddings" => Self::Embeddings,
            _ => return None,
        })
    }
}

/// A request for inference.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    /// All texts it holds, in order.
    pub(super) texts: Vec<String>,
}

impl Asked {
    /// Reads a body; nothing where it is not a JSON object.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let fields = body.as_object()?;
        let number = |names: &[&str]| names.iter().find_map(|name| fields.get(*name).and_then(Value::as_u64));
        let mut texts = Vec::new();
        for name in ["system", "instructions", "messages", "prompt", "input"] {
            if let Some(value) = fields.get(name) {
                collect(value, &mut texts);
            }
        }
        Some(Self {
            model: fields.get("model").and_then(Value::as_str).map(str::to_owned),
            stream: fields.get("stream").and_then(Value::as_bool).unwrap_or(false),
            max_tokens: number(&["max_tokens", "max_completion_tokens", "max_output_tokens"]),
            texts,
        })
    }

    /// Tokens read: one for every four bytes of text begun.
    pub(super) fn prompt_tokens(&self) -> u64 {
        self.texts.iter().map(|text| tokens_of(text)).sum()
    }

    /// The answer, token by token: `You said: ` and the last text, drawn out to what `model` says, broken off at
    /// `max_tokens`; and why it ends.
    pub(super) fn answer(&self, model: &Model) -> (Vec<String>, &'static str) {
        let said = format!("You said: {}", self.texts.last().map_or("nothing", String::as_str));
        let mut tokens: Vec<String> = said.split_inclusive(char::is_whitespace).map(str::to_owned).collect();
        if let Some(wanted) = model.answer_tokens {
            let filler = FILLER.iter().cycle().map(|word| format!(" {word}"));
            tokens.extend(filler.take(wanted.saturating_sub(tokens.len())));
        }
        let most = self.max_tokens.unwrap_or(u64::MAX).clamp(1, model.max_output);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let finish = if tokens.len() > most { "length" } else { "stop" };
        tokens.truncate(most);
        (tokens, finish)
    }
}

/// How many tokens `text` is.
pub(super) fn tokens_of(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

const FILLER: [&str; 12] =
    ["and", "since", "a", "look-alike", "has", "no", "thoughts", "of", "its", "own,", "it", "repeats:"];

/// All texts within a prompt, whatever its form: a string, parts, messages.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(fields) => {
            for name in ["text", "content"] {
                if let Some(value) = fields.get(name) {
                    collect(value, texts);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The vector that stands for `text`: eight numbers from its SHA-256, exact in binary.
pub(super) fn embedding(text: &str) -> String {
    let digest = Sha256::digest(text);
    let numbers: Vec<String> =
        digest.iter().take(8).map(|byte| (f64::from(*byte) / 128.0 - 1.0).to_string()).collect();
    format!("[{}]", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::{Asked, embedding};
    use crate::simulator::scenario::Model;

    fn model() -> Model {
        Model::new("a/b", "P", 1, 1)
    }

    #[test]
    fn texts_are_found_in_every_dialect() {
        let bodies = [
            r#"{"messages":[{"role":"system","content":"be"},{"role":"user","content":"hi you"}]}"#,
            r#"{"system":"be","messages":[{"role":"user","content":[{"type":"text","text":"hi you"}]}]}"#,
            r#"{"instructions":"be","input":[{"content":[{"type":"input_text","text":"hi you"}]}]}"#,
            r#"{"prompt":["be","hi you"]}"#,
        ];
        for body in bodies {
            let asked = Asked::read(body.as_bytes()).unwrap();
            assert_eq!(asked.texts, ["be", "hi you"]);
            assert_eq!(asked.prompt_tokens(), 3);
            assert_eq!(asked.answer(&model()).0.concat(), "You said: hi you");
        }
        assert!(Asked::read(b"[1]").is_none() && Asked::read(b"nonsense").is_none());
    }

    #[test]
    fn answers_are_as_long_as_they_should_be() {
        let asked = Asked::read(br#"{"input":"a b","max_output_tokens":3}"#).unwrap();
        let (tokens, finish) = asked.answer(&model());
        assert_eq!((tokens.concat().as_str(), finish), ("You said: a ", "length"));
        let asked = Asked::read(br#"{"input":"a"}"#).unwrap();
        let drawn_out = Model { answer_tokens: Some(40), ..model() };
        assert_eq!(asked.answer(&drawn_out).0.len(), 40);
    }

    #[test]
    fn embeddings_tell_texts_apart() {
        assert_ne!(embedding("a"), embedding("b"));
        assert_eq!(serde_json::from_str::<Vec<f64>>(&embedding("a")).unwrap().len(), 8);
    }
}
