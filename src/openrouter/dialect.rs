//! The three forms in which applications speak, and how each says that something went wrong.

use bytes::Bytes;
use serde_json::{Value, json};

/// In whose form an inference route speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `OpenAI`'s chat completions and everything else that has no form of its own.
    Chat,
    /// Anthropic's Messages.
    Messages,
    /// `OpenAI`'s Responses.
    Responses,
}

/// What is known of the stream that an error ends; what is not known stays empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream<'a> {
    /// The generation's id, `gen-…`.
    pub id: &'a str,
    /// The model asked for.
    pub model: &'a str,
    /// Now, seconds since 1970-01-01T00:00:00Z.
    pub created: i64,
}

/// An error as the body of an answer with the status `code`: `OpenRouter`'s envelope
/// (`OpenRouter` docs, Errors and Debugging), for [`Dialect::Messages`] Anthropic's.
#[must_use]
pub fn error_body(dialect: Dialect, code: u16, message: &str) -> Bytes {
    let body = match dialect {
        Dialect::Messages => anthropic(code, message),
        Dialect::Chat | Dialect::Responses => json!({"error": {"code": code, "message": message}}),
    };
    body.to_string().into()
}

/// An error as the last event of a stream whose status, 200, has gone out already
/// (`OpenRouter` docs, Streaming: errors after tokens were sent).
#[must_use]
pub fn error_event(dialect: Dialect, code: u16, message: &str, stream: &Stream<'_>) -> Bytes {
    let (event, data) = match dialect {
        Dialect::Chat => (
            "",
            json!({
                "id": stream.id,
                "object": "chat.completion.chunk",
                "created": stream.created,
                "model": stream.model,
                "error": {"code": code, "message": message},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            }),
        ),
        Dialect::Messages => ("event: error\n", anthropic(code, message)),
        // `OpenAI`'s own form has code and message beside the type, and its libraries let it pass as one more event;
        // they raise on a top-level `error`.
        Dialect::Responses => (
            "event: error\n",
            json!({
                "type": "error",
                "code": kind(code),
                "message": message,
                "param": null,
                "sequence_number": 0,
                "error": {"code": kind(code), "message": message},
            }),
        ),
    };
    format!("{event}data: {data}\n\n").into()
}

fn anthropic(code: u16, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind(code), "message": message}})
}

/// Anthropic's word for a status (Anthropic docs, Errors; `OpenRouter` API reference, Messages).
fn kind(code: u16) -> &'static str {
    match code {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 | 524 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Dialect, Stream, error_body, error_event};

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).expect("JSON")
    }

    /// The event's name and its data; fails where it is not one whole event.
    fn event(dialect: Dialect) -> (Option<String>, Value) {
        let stream = Stream { id: "gen-1", model: "openai/gpt-4o", created: 1_234_567_890 };
        let bytes = error_event(dialect, 502, "upstream closed \"the\"\nconnection", &stream);
        let text = std::str::from_utf8(&bytes).expect("UTF-8").strip_suffix("\n\n").expect("a blank line");
        let mut name = None;
        let mut data = None;
        for line in text.lines() {
            match line.split_once(": ").expect("a field") {
                ("event", value) => name = Some(value.to_owned()),
                ("data", value) => assert!(data.replace(parsed(value.as_bytes())).is_none(), "data twice"),
                other => panic!("{other:?}"),
            }
        }
        (name, data.expect("data"))
    }

    #[test]
    fn a_refusal_has_openrouters_envelope_or_anthropics() {
        let plain = json!({"error": {"code": 401, "message": "no access token"}});
        assert_eq!(parsed(&error_body(Dialect::Chat, 401, "no access token")), plain);
        assert_eq!(parsed(&error_body(Dialect::Responses, 401, "no access token")), plain);
        assert_eq!(
            parsed(&error_body(Dialect::Messages, 401, "no access token")),
            json!({"type": "error", "error": {"type": "authentication_error", "message": "no access token"}})
        );
    }

    #[test]
    fn anthropics_kind_follows_the_status() {
        for (code, kind) in [
            (400, "invalid_request_error"),
            (402, "billing_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (429, "rate_limit_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            assert_eq!(parsed(&error_body(Dialect::Messages, code, ""))["error"]["type"], kind, "{code}");
        }
    }

    #[test]
    fn an_error_ends_a_chat_stream_as_openrouters_own_do() {
        assert_eq!(
            event(Dialect::Chat),
            (
                None,
                json!({
                    "id": "gen-1", "object": "chat.completion.chunk", "created": 1_234_567_890,
                    "model": "openai/gpt-4o",
                    "error": {"code": 502, "message": "upstream closed \"the\"\nconnection"},
                    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                })
            )
        );
    }

    #[test]
    fn an_error_ends_a_messages_stream_in_anthropics_form() {
        let message = "upstream closed \"the\"\nconnection";
        let data = json!({"type": "error", "error": {"type": "api_error", "message": message}});
        assert_eq!(event(Dialect::Messages), (Some("error".to_owned()), data));
    }

    #[test]
    fn an_error_ends_a_responses_stream_with_a_top_level_error() {
        let (name, data) = event(Dialect::Responses);
        assert_eq!(name.as_deref(), Some("error"));
        assert_eq!(data["type"], "error");
        assert_eq!(data["error"]["message"], data["message"]);
        assert_eq!(data["code"], "api_error");
    }
}
