//! Answers of a model in the five dialects, as JSON and as streams, in the forms that `OpenRouter` sends.

use super::asked::{Asked, Dialect, embedding};
use super::books::cost;
use super::errors::Denial;
use super::scenario::Model;
use super::script::Piece;
use super::text::{fill, number, quoted};

/// An answer of a model, before it is put into a dialect.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) model: Model,
    pub(super) prompt_tokens: u64,
    /// Those of them that were warm.
    pub(super) cached_tokens: u64,
    pub(super) tokens: Vec<String>,
    pub(super) finish: &'static str,
    /// Whether a chat stream's usage stands on the chunk with `finish_reason`.
    pub(super) usage_with_finish: bool,
}

const USAGE: &str = concat!(
    r#"{"prompt_tokens":$in,"completion_tokens":$out,"total_tokens":$total,"#,
    r#""prompt_tokens_details":{"cached_tokens":$cached,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"#,
    r#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0},"#,
    r#""cost":$cost,"is_byok":false,"cost_details":{"upstream_inference_cost":null}}"#,
);
const RESPONSES_USAGE: &str = concat!(
    r#"{"input_tokens":$in,"input_tokens_details":{"cached_tokens":$cached,"cache_write_tokens":0},"#,
    r#""output_tokens":$out,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":$total,"#,
    r#""cost":$cost,"is_byok":false,"cost_details":{"upstream_inference_cost":$cost,"#,
    r#""upstream_inference_input_cost":$cost_in,"upstream_inference_output_cost":$cost_out}}"#,
);
const MESSAGES_USAGE: &str = concat!(
    r#"{"input_tokens":$cold,"output_tokens":$out,"cache_creation_input_tokens":0,"#,
    r#""cache_read_input_tokens":$cached,"cost":$cost,"is_byok":false,"#,
    r#""cost_details":{"upstream_inference_cost":$cost}}"#,
);
const RESPONSE: &str = concat!(
    r#"{"id":$id,"object":"response","created_at":$created,"model":$model,"status":"$status","#,
    r#""error":null,"incomplete_details":$incomplete,"output":$output,"usage":$usage}"#,
);
const OUTPUT: &str = concat!(
    r#"{"type":"message","id":"msg_0","status":"$status","role":"assistant","#,
    r#""content":[{"type":"output_text","text":$text,"annotations":[]}]}"#,
);

impl Said {
    pub(super) fn written(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// Fills a template with what all dialects share, and with `more`.
    fn fill(&self, template: &str, more: &[(&str, &str)]) -> String {
        let (model, prompt, written) = (&self.model, self.prompt_tokens, self.written());
        let id = quoted(&self.id);
        let created = self.created.to_string();
        let name = quoted(&model.id);
        let provider = quoted(&model.provider);
        let (count_in, count_out) = (prompt.to_string(), written.to_string());
        let total = (prompt + written).to_string();
        let cached = self.cached_tokens;
        let (count_cached, cold) = (cached.to_string(), prompt.saturating_sub(cached).to_string());
        let cost_all = number(cost(model, prompt, cached, written));
        let (cost_in, cost_out) =
            (number(cost(model, prompt, cached, 0)), number(cost(model, 0, 0, written)));
        let shared = [
            ("id", id.as_str()),
            ("created", &created),
            ("model", &name),
            ("provider", &provider),
            ("in", &count_in),
            ("cached", &count_cached),
            // In Anthropic's dialect what was warm is counted apart.
            ("cold", &cold),
            ("out", &count_out),
            ("total", &total),
            ("cost", &cost_all),
            ("cost_in", &cost_in),
            ("cost_out", &cost_out),
            ("finish", self.finish),
        ];
        fill(template, &[more, &shared].concat())
    }

    fn stop_reason(&self) -> &'static str {
        if self.finish == "length" { "max_tokens" } else { "end_turn" }
    }

    /// The answer as one JSON body. `asked` is what embeddings are made of.
    pub(super) fn json(&self, dialect: Dialect, asked: &Asked) -> String {
        let text = quoted(&self.tokens.concat());
        let text = ("text", text.as_str());
        match dialect {
            Dialect::Chat => self.fill(
                concat!(
                    r#"{"id":$id,"provider":$provider,"model":$model,"object":"chat.completion","#,
                    r#""created":$created,"choices":[{"logprobs":null,"finish_reason":"$finish","#,
                    r#""native_finish_reason":"$finish","index":0,"message":{"role":"assistant","#,
                    r#""content":$text,"refusal":null,"reasoning":null}}],"usage":$usage}"#,
                ),
                &[text, ("usage", &self.fill(USAGE, &[]))],
            ),
            Dialect::Completions => self.fill(
                concat!(
                    r#"{"id":$id,"provider":$provider,"model":$model,"object":"text_completion","#,
                    r#""created":$created,"choices":[{"logprobs":null,"finish_reason":"$finish","#,
                    r#""native_finish_reason":"$finish","index":0,"text":$text,"reasoning":null}],"#,
                    r#""usage":$usage}"#,
                ),
                &[text, ("usage", &self.fill(USAGE, &[]))],
            ),
            Dialect::Responses => self.response(),
            Dialect::Messages => self.fill(
                concat!(
                    r#"{"id":$id,"type":"message","role":"assistant","model":$model,"#,
                    r#""content":[{"type":"text","text":$text,"citations":null}],"stop_reason":"$reason","#,
                    r#""stop_sequence":null,"usage":$usage}"#,
                ),
                &[text, ("reason", self.stop_reason()), ("usage", &self.fill(MESSAGES_USAGE, &[]))],
            ),
            Dialect::Embeddings => {
                let vectors: Vec<String> = asked
                    .texts
                    .iter()
                    .enumerate()
                    .map(|(index, text)| {
                        let vector = embedding(text);
                        format!(r#"{{"object":"embedding","embedding":{vector},"index":{index}}}"#)
                    })
                    .collect();
                self.fill(
                    concat!(
                        r#"{"object":"list","data":[$vectors],"model":$model,"#,
                        r#""usage":{"prompt_tokens":$in,"total_tokens":$in,"cost":$cost},"id":$id}"#,
                    ),
                    &[("vectors", &vectors.join(","))],
                )
            }
        }
    }

    /// The answer as the events of a stream, without pauses and comments.
    pub(super) fn events(&self, dialect: Dialect) -> Vec<Piece> {
        match dialect {
            Dialect::Messages => self.messages_events(),
            Dialect::Responses => self.responses_events(),
            Dialect::Completions => self.chunks(
                "text_completion",
                r#"{"index":0,"text":$text,"finish_reason":$why,"native_finish_reason":$why,"logprobs":null}"#,
            ),
            Dialect::Chat | Dialect::Embeddings => self.chunks(
                "chat.completion.chunk",
                concat!(
                    r#"{"index":0,"delta":{"role":"assistant","content":$text},"finish_reason":$why,"#,
                    r#""native_finish_reason":$why,"logprobs":null}"#,
                ),
            ),
        }
    }

    fn chunks(&self, object: &str, choice: &str) -> Vec<Piece> {
        let chunk = |choices: &str, usage: &str| {
            self.fill(
                concat!(
                    r#"data: {"id":$id,"provider":$provider,"model":$model,"object":"$object","#,
                    r#""created":$created,"choices":[$choices]$usage}"#,
                    "\n\n",
                ),
                &[("object", object), ("choices", choices), ("usage", usage)],
            )
        };
        let choice = |text: &str, why: &str| fill(choice, &[("text", &quoted(text)), ("why", why)]);
        let mut events: Vec<Piece> = self
            .tokens
            .iter()
            .map(|token| Piece { tokens: 1, ..Piece::event(chunk(&choice(token, "null"), "")) })
            .collect();
        let last = choice("", &quoted(self.finish));
        let usage = format!(r#","usage":{}"#, self.fill(USAGE, &[]));
        if self.usage_with_finish {
            events.push(Piece::event(chunk(&last, &usage)));
        } else {
            events.push(Piece::event(chunk(&last, "")));
            events.push(Piece::event(chunk("", &usage)));
        }
        events.push(Piece::event("data: [DONE]\n\n"));
        events
    }

    fn messages_events(&self) -> Vec<Piece> {
        let event = |name: &str, data: &str, more: &[(&str, &str)]| {
            let data = self.fill(data, more);
            Piece::event(format!("event: {name}\ndata: {{\"type\":\"{name}\"{data}}}\n\n"))
        };
        let start = concat!(
            r#","message":{"id":$id,"type":"message","role":"assistant","model":$model,"content":[],"#,
            r#""stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":$cold,"output_tokens":0}}"#,
        );
        let mut events = vec![
            event("message_start", start, &[]),
            event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#, &[]),
            event("ping", "", &[]),
        ];
        let delta = r#","index":0,"delta":{"type":"text_delta","text":$text}"#;
        events.extend(self.tokens.iter().map(|token| Piece {
            tokens: 1,
            ..event("content_block_delta", delta, &[("text", &quoted(token))])
        }));
        events.push(event("content_block_stop", r#","index":0"#, &[]));
        events.push(event(
            "message_delta",
            r#","delta":{"stop_reason":"$reason","stop_sequence":null},"usage":$usage"#,
            &[("reason", self.stop_reason()), ("usage", &self.fill(MESSAGES_USAGE, &[]))],
        ));
        events.push(event("message_stop", "", &[]));
        events
    }

    fn response(&self) -> String {
        let (status, incomplete) = if self.finish == "length" {
            ("incomplete", r#"{"reason":"max_output_tokens"}"#)
        } else {
            ("completed", "null")
        };
        let output = self.output("completed", &self.tokens.concat());
        let usage = self.fill(RESPONSES_USAGE, &[]);
        let output = format!("[{output}]");
        let values = [("status", status), ("incomplete", incomplete), ("output", &output), ("usage", &usage)];
        self.fill(RESPONSE, &values)
    }

    fn output(&self, status: &str, text: &str) -> String {
        self.fill(OUTPUT, &[("status", status), ("text", &quoted(text))])
    }

    fn responses_events(&self) -> Vec<Piece> {
        let mut sequence = 0;
        let mut event = |name: &str, data: &str| {
            let piece = Piece::event(format!(
                "event: {name}\ndata: {{\"type\":\"{name}\",{data},\"sequence_number\":{sequence}}}\n\n"
            ));
            sequence += 1;
            piece
        };
        let begun = [("status", "in_progress"), ("incomplete", "null"), ("output", "[]"), ("usage", "null")];
        let begun = format!(r#""response":{}"#, self.fill(RESPONSE, &begun));
        let text = self.tokens.concat();
        let part = |text: &str| {
            let text = quoted(text);
            fill(
                concat!(
                    r#""item_id":"msg_0","output_index":0,"content_index":0,"#,
                    r#""part":{"type":"output_text","text":$text,"annotations":[]}"#,
                ),
                &[("text", &text)],
            )
        };
        let item =
            r#"{"type":"message","id":"msg_0","status":"in_progress","role":"assistant","content":[]}"#;
        let mut events = vec![
            event("response.created", &begun),
            event("response.in_progress", &begun),
            event("response.output_item.added", &format!(r#""output_index":0,"item":{item}"#)),
            event("response.content_part.added", &part("")),
        ];
        let place = r#""item_id":"msg_0","output_index":0,"content_index":0"#;
        events.extend(self.tokens.iter().map(|token| {
            let data = format!(r#"{place},"delta":{},"logprobs":[]"#, quoted(token));
            Piece { tokens: 1, ..event("response.output_text.delta", &data) }
        }));
        let whole = format!(r#"{place},"text":{},"logprobs":[]"#, quoted(&text));
        events.push(event("response.output_text.done", &whole));
        events.push(event("response.content_part.done", &part(&text)));
        let item = self.output("completed", &text);
        events.push(event("response.output_item.done", &format!(r#""output_index":0,"item":{item}"#)));
        let last = if self.finish == "length" { "response.incomplete" } else { "response.completed" };
        events.push(event(last, &format!(r#""response":{}"#, self.response())));
        events.push(Piece::event("data: [DONE]\n\n"));
        events
    }

    /// The only event of a stream that is refused inside a success.
    pub(super) fn refusal_event(dialect: Dialect, denial: &Denial) -> Piece {
        Piece::event(match dialect {
            Dialect::Messages => format!("event: error\ndata: {}\n\n", denial.anthropic_body(None)),
            Dialect::Responses => format!("event: error\ndata: {}\n\n", responses_error(denial)),
            Dialect::Chat | Dialect::Completions | Dialect::Embeddings => {
                format!("data: {}\n\n", denial.body())
            }
        })
    }

    /// The event that tells of an error in the middle of a stream (`OpenRouter` docs, Streaming page).
    pub(super) fn error_event(&self, dialect: Dialect, denial: &Denial) -> Piece {
        Piece::event(match dialect {
            Dialect::Messages => {
                format!("event: error\ndata: {}\n\n", denial.anthropic_body(Some(&self.id)))
            }
            Dialect::Responses => {
                format!("event: error\ndata: {}\n\n", responses_error(denial))
            }
            Dialect::Chat | Dialect::Completions | Dialect::Embeddings => self.fill(
                concat!(
                    r#"data: {"id":$id,"object":"chat.completion.chunk","created":$created,"model":$model,"#,
                    r#""provider":$provider,"error":$error,"choices":[{"index":0,"delta":{"content":""},"#,
                    r#""finish_reason":"error"}]}"#,
                    "\n\n",
                ),
                &[("error", &denial.error())],
            ),
        })
    }
}

fn responses_error(denial: &Denial) -> String {
    let (status, message) = (quoted(&denial.status.to_string()), quoted(&denial.message));
    format!(r#"{{"type":"error","code":{status},"message":{message},"param":null}}"#)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::Said;
    use crate::simulator::asked::{Asked, Dialect};
    use crate::simulator::errors;
    use crate::simulator::scenario::Model;

    const ALL: [Dialect; 5] =
        [Dialect::Chat, Dialect::Completions, Dialect::Responses, Dialect::Messages, Dialect::Embeddings];

    fn said() -> Said {
        Said {
            id: "gen-1-a".to_owned(),
            created: 1,
            model: Model::new("a/b", "P", 150, 600),
            prompt_tokens: 7,
            cached_tokens: 0,
            tokens: vec!["You ".to_owned(), "$model \"\n".to_owned()],
            finish: "stop",
            usage_with_finish: false,
        }
    }

    fn data(event: &[u8]) -> Option<Value> {
        let text = std::str::from_utf8(event).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        (line != "[DONE]").then(|| serde_json::from_str(line).unwrap())
    }

    #[test]
    fn every_body_and_every_event_is_json() {
        let asked = Asked { texts: vec!["x".to_owned()], ..Asked::default() };
        for dialect in ALL {
            serde_json::from_str::<Value>(&said().json(dialect, &asked)).unwrap();
            for event in said().events(dialect) {
                assert!(event.bytes.ends_with(b"\n\n"));
                data(&event.bytes);
            }
            data(&said().error_event(dialect, &errors::unavailable()).bytes).unwrap();
        }
    }

    #[test]
    fn the_pieces_of_a_stream_add_up_to_the_text() {
        let paths = [
            (Dialect::Chat, "/choices/0/delta/content"),
            (Dialect::Completions, "/choices/0/text"),
            (Dialect::Messages, "/delta/text"),
            (Dialect::Responses, "/delta"),
        ];
        for (dialect, path) in paths {
            let events = said().events(dialect);
            let values = events.iter().filter_map(|event| data(&event.bytes));
            let texts = values.filter_map(|value| value.pointer(path)?.as_str().map(str::to_owned));
            assert_eq!(texts.collect::<String>(), "You $model \"\n", "{dialect:?}");
            assert_eq!(events.iter().map(|event| event.tokens).sum::<u64>(), 2);
        }
    }

    #[test]
    fn usage_tells_tokens_and_cost_to_the_nano_dollar() {
        let usages = [
            (Dialect::Chat, "/usage"),
            (Dialect::Completions, "/usage"),
            (Dialect::Messages, "/usage"),
            (Dialect::Responses, "/response/usage"),
        ];
        for (dialect, path) in usages {
            let events = said().events(dialect);
            let values = events.iter().filter_map(|event| data(&event.bytes));
            let last = values.filter_map(|value| value.pointer(path).cloned()).last().unwrap();
            assert_eq!(last["cost"].to_string(), "2.25e-6", "{dialect:?}");
        }
    }
}
