//! Answers as `OpenRouter` gives them (its docs: Streaming; Usage accounting; Errors), in the three dialects.

/// A chat completion of 9 and 4 tokens.
pub(crate) const CHAT: &str = concat!(
    r#"{"id":"gen-1700000000-abcdefghijklmnopqrst","object":"chat.completion","created":1700000000,"#,
    r#""model":"acme/small","provider":"Acme","choices":[{"index":0,"finish_reason":"stop","native_finish_reason":"stop","#,
    r#""logprobs":null,"message":{"role":"assistant","content":"Hello there.","refusal":null}}],"#,
    r#""usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"cost":0.000021}}"#,
);

/// A streamed chat completion of 9 and 4 tokens, with the comments that keep a connection alive.
pub(crate) const CHAT_STREAM: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    r#"data: {"id":"gen-1700000000-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1700000000,"#,
    r#""model":"acme/small","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}"#,
    "\n\n: OPENROUTER PROCESSING\n\n",
    r#"data: {"id":"gen-1700000000-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1700000000,"#,
    r#""model":"acme/small","choices":[{"index":0,"delta":{"content":" there."},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"id":"gen-1700000000-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1700000000,"#,
    r#""model":"acme/small","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"cost":0.000021}}"#,
    "\n\ndata: [DONE]\n\n",
);

/// A streamed Anthropic message: `event:` lines belong to their `data:` lines.
pub(crate) const MESSAGES_STREAM: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"gen-1700000000-m","type":"message","role":"assistant","content":[],"#,
    r#""model":"acme/small","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":0}}}"#,
    "\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_start\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello there."}}"#,
    "\n\nevent: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\nevent: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"#,
    r#""usage":{"input_tokens":9,"output_tokens":4,"cost":0.000021}}"#,
    "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// An Anthropic message that is not streamed.
pub(crate) const MESSAGE: &str = concat!(
    r#"{"id":"gen-1700000000-m","type":"message","role":"assistant","model":"acme/small","#,
    r#""content":[{"type":"text","text":"Hello there."}],"stop_reason":"end_turn","stop_sequence":null,"#,
    r#""usage":{"input_tokens":9,"output_tokens":4,"cost":0.000021}}"#,
);

/// An answer of the Responses API that is not streamed.
pub(crate) const RESPONSE: &str = concat!(
    r#"{"id":"gen-1700000000-r","object":"response","created_at":1700000000,"status":"completed","model":"acme/small","#,
    r#""output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","#,
    r#""content":[{"type":"output_text","text":"Hello there.","annotations":[]}]}],"#,
    r#""parallel_tool_calls":true,"tool_choice":"auto","tools":[],"usage":{"input_tokens":9,"output_tokens":4,"#,
    r#""total_tokens":13,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":0},"#,
    r#""cost":0.000021}}"#,
);

/// A streamed answer of the Responses API.
pub(crate) const RESPONSES_STREAM: &str = concat!(
    "event: response.created\n",
    r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"gen-1700000000-r","object":"response","#,
    r#""created_at":1700000000,"status":"in_progress","model":"acme/small","output":[],"usage":null,"#,
    r#""parallel_tool_calls":true,"tool_choice":"auto","tools":[]}}"#,
    "\n\nevent: response.output_text.delta\n",
    r#"data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","output_index":0,"#,
    r#""content_index":0,"delta":"Hello there.","logprobs":[]}"#,
    "\n\nevent: response.completed\n",
    r#"data: {"type":"response.completed","sequence_number":2,"response":{"id":"gen-1700000000-r","object":"response","#,
    r#""created_at":1700000000,"status":"completed","model":"acme/small","output":[{"type":"message","id":"msg_1","#,
    r#""role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello there.","annotations":[]}]}],"#,
    r#""parallel_tool_calls":true,"tool_choice":"auto","tools":[],"usage":{"input_tokens":9,"output_tokens":4,"#,
    r#""total_tokens":13,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":0}}}}"#,
    "\n\ndata: [DONE]\n\n",
);

/// The catalogue of models, with one entry.
pub(crate) const MODELS: &str = concat!(
    r#"{"object":"list","data":[{"id":"acme/small","object":"model","created":1700000000,"owned_by":"acme","#,
    r#""name":"Acme: Small","context_length":8192,"pricing":{"prompt":"0.000001","completion":"0.000003"}}]}"#,
);

/// An embedding.
pub(crate) const EMBEDDINGS: &str = concat!(
    r#"{"object":"list","model":"acme/embed","data":[{"object":"embedding","index":0,"embedding":[0.25,-0.5,0.125]}],"#,
    r#""usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.000001}}"#,
);
