//! Clients as people use them, through hermux: `async-openai`, and the official SDKs of `OpenAI` and Anthropic.

mod support;

use std::env;
use std::io::{Write, stderr};
use std::path::Path;
use std::process::Command;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use futures_util::StreamExt;
use support::{Exchange, Hermux, PATIENCE, TOKEN, Upstream, samples};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// An upstream that answers each route of the SDKs. The models `acme/cut…` break in the middle of their answer.
fn openrouter(mut exchange: Exchange) {
    let body = exchange.text();
    let asked: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let (stream, whole) = match exchange.head.target().split('?').next() {
        Some("/api/v1/models") => return exchange.json(200, samples::MODELS),
        Some("/api/v1/embeddings") => return exchange.json(200, samples::EMBEDDINGS),
        Some("/api/v1/chat/completions") => (samples::CHAT_STREAM, samples::CHAT),
        Some("/api/v1/messages") => (samples::MESSAGES_STREAM, samples::MESSAGE),
        Some("/api/v1/responses") => (samples::RESPONSES_STREAM, samples::RESPONSE),
        _ => return exchange.json(404, r#"{"error":{"code":404,"message":"Not Found"}}"#),
    };
    if asked["stream"] != true {
        return exchange.json(200, whole);
    }
    let up_to = match asked["model"].as_str() {
        Some("acme/cut") => boundary_before_the_end(stream),
        Some("acme/cut-inside") => boundary_before_the_end(stream).map(|at| at + 12),
        _ => None,
    };
    exchange.begin_stream();
    for piece in stream.as_bytes()[..up_to.unwrap_or(stream.len())].chunks(50) {
        exchange.wire.send_chunk(piece);
    }
    if up_to.is_none() {
        exchange.wire.send_last_chunk();
        exchange.keep();
    }
}

/// Behind the second event from the end, so that the last ones are missing.
fn boundary_before_the_end(stream: &str) -> Option<usize> {
    stream.rmatch_indices("\n\n").nth(2).map(|(at, _)| at + 2)
}

/// Runs `test` with a client of hermux.
fn with_client<F: Future<Output = ()>>(test: impl FnOnce(Client<OpenAIConfig>) -> F) {
    let upstream = Upstream::answering(openrouter);
    let hermux = Hermux::start(&upstream);
    let base = format!("http://{}/api/v1", hermux.address());
    // The client's own reqwest wants TLS to be chosen even where it is not used; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::with_config(OpenAIConfig::new().with_api_base(base).with_api_key(TOKEN));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async { timeout(PATIENCE, test(client)).await.expect("hermux answers in time") });
}

fn chat(model: &str, stream: bool) -> CreateChatCompletionRequest {
    let message =
        ChatCompletionRequestUserMessageArgs::default().content("hi").build().expect("a valid message");
    CreateChatCompletionRequestArgs::default()
        .model(model)
        .messages([message.into()])
        .stream(stream)
        .build()
        .expect("a valid request")
}

#[test]
fn async_openai_chats() {
    with_client(|client| async move {
        let answer = client.chat().create(chat("acme/small", false)).await.unwrap();
        assert_eq!(answer.choices[0].message.content.as_deref(), Some("Hello there."));
        assert_eq!(answer.usage.unwrap().total_tokens, 13);
    });
}

#[test]
fn async_openai_streams() {
    with_client(|client| async move {
        let mut stream = client.chat().create_stream(chat("acme/small", true)).await.unwrap();
        let (mut text, mut usage) = (String::new(), None);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.unwrap();
            text.extend(chunk.choices.iter().filter_map(|choice| choice.delta.content.clone()));
            usage = chunk.usage.or(usage);
        }
        assert_eq!(text, "Hello there.");
        assert_eq!(usage.unwrap().completion_tokens, 4);
    });
}

#[test]
fn async_openai_notices_a_cut() {
    for model in ["acme/cut", "acme/cut-inside"] {
        with_client(|client| async move {
            let mut stream = client.chat().create_stream(chat(model, true)).await.unwrap();
            let mut failed = false;
            while let Some(chunk) = stream.next().await {
                failed |= chunk.is_err();
                if failed {
                    break;
                }
            }
            assert!(failed, "{model} looks complete");
        });
    }
}

#[test]
fn async_openai_lists_models_and_embeds() {
    with_client(|client| async move {
        let models = client.models().list().await.unwrap();
        assert_eq!(models.data[0].id, "acme/small");
        let request = CreateEmbeddingRequestArgs::default().model("acme/embed").input("hi").build().unwrap();
        let answer = client.embeddings().create(request).await.unwrap();
        assert_eq!(answer.data[0].embedding, [0.25, -0.5, 0.125]);
    });
}

#[test]
fn the_official_sdks_chat_stream_and_notice_cuts() {
    let Some(python) = env::var_os("HERMUX_TEST_PYTHON") else {
        // Straight to stderr, so that it is seen also when the test passes.
        writeln!(stderr(), "skipped the SDKs of OpenAI and Anthropic: HERMUX_TEST_PYTHON is not set").ok();
        return;
    };
    let upstream = Upstream::answering(openrouter);
    let hermux = Hermux::start(&upstream);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/drive.py");
    let output = Command::new(python)
        .arg(script)
        .env_clear()
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SDK_ORIGIN", format!("http://{}", hermux.address()))
        .env("SDK_TOKEN", TOKEN)
        .output()
        .expect("HERMUX_TEST_PYTHON names an interpreter");
    let said = format!("{}{}", support::show(&output.stdout), support::show(&output.stderr));
    assert!(output.status.success(), "{}", said.replace(TOKEN, "(the access token)"));
}
