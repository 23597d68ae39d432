//! The simulator against raw HTTP and a real client: whether it is a look-alike, before a proxy stands in between.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use futures_util::StreamExt as _;
use hermux::clock::{Clock, Time};
use hermux::simulator::{
    Account, After, Cause, Class, Close, Fault, Key, Model, Outcome, Pace, Quirk, Scenario, Simulator, Step,
    Then, errors,
};
use serde_json::Value;

/// For waits that end by an event; only a failing test sees it pass.
const PATIENCE: Duration = Duration::from_secs(10);
const CHAT: &str = "/api/v1/chat/completions";
const HELLO: &str = r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hello there"}]}"#;
const HELLO_STREAM: &str =
    r#"{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello there"}]}"#;
// "hello there" is three tokens read; "You said: hello there" is four written.
const HELLO_COST: i64 = 3 * 150 + 4 * 600;

fn start(scenario: Scenario) -> Simulator {
    Simulator::start(scenario).unwrap()
}

fn faulty(fault: Fault) -> Simulator {
    start(Scenario::default().fault(fault))
}

fn secret(name: &str) -> String {
    Key::new(name).secret
}

/// An answer as it came, and how the connection ended behind it.
struct Answer {
    head: String,
    body: Vec<u8>,
    end: Result<(), ErrorKind>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The body without its chunks' framing; an error where the last chunk is missing.
    fn content(&self) -> Result<String, String> {
        if self.header("transfer-encoding").is_none() {
            let length: usize = self.header("content-length").unwrap().parse().unwrap();
            let text = String::from_utf8(self.body.clone()).unwrap();
            return if text.len() == length { Ok(text) } else { Err(text) };
        }
        let (mut rest, mut text) = (self.body.as_slice(), String::new());
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
            if size == 0 {
                return Ok(text);
            }
            text.push_str(std::str::from_utf8(&rest[at + 2..at + 2 + size]).unwrap());
            rest = &rest[at + 2 + size + 2..];
        }
        Err(text)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.content().unwrap()).unwrap()
    }
}

fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = if method == "POST" { format!("content-length: {}\r\n", body.len()) } else { String::new() };
    format!("{method} {target} HTTP/1.1\r\nhost: x\r\n{headers}{length}\r\n{body}")
}

fn bearer(name: &str) -> String {
    format!("authorization: Bearer {}\r\n", secret(name))
}

fn connect(simulator: &Simulator) -> TcpStream {
    let stream = TcpStream::connect(simulator.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads to the end of the connection.
fn read_answer(mut stream: TcpStream) -> Answer {
    let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut some) {
            Ok(0) => break Ok(()),
            Ok(count) => bytes.extend_from_slice(&some[..count]),
            Err(error) => break Err(error.kind()),
        }
    };
    let at = bytes.windows(4).position(|part| part == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let body = bytes.split_off(at);
    Answer { head: String::from_utf8_lossy(&bytes).into_owned(), body, end }
}

/// One request on a connection of its own.
fn ask(simulator: &Simulator, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connect(simulator);
    let headers = format!("connection: close\r\n{headers}");
    stream.write_all(request(method, target, &headers, body).as_bytes()).unwrap();
    read_answer(stream)
}

fn post(simulator: &Simulator, path: &str, body: &str) -> Answer {
    ask(simulator, "POST", path, &bearer("ann"), body)
}

fn get(simulator: &Simulator, target: &str) -> Answer {
    ask(simulator, "GET", target, &bearer("ann"), "")
}

/// Reads from `stream` until what has come contains `text`.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let so_far = String::from_utf8_lossy(&bytes).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        let count = stream.read(&mut some).unwrap();
        assert_ne!(count, 0, "the connection ended before {text:?}: {so_far}");
        bytes.extend_from_slice(&some[..count]);
    }
}

// The forms of answers.

#[test]
fn a_chat_answer_has_openrouters_form() {
    let simulator = start(Scenario { clock: Clock::fixed(Time(1_763_800_000_000)), ..Scenario::default() });
    let answer = post(&simulator, CHAT, HELLO);
    let id = answer.header("x-generation-id").unwrap();
    let expected = r#"{"id":"ID","provider":"OpenAI","model":"openai/gpt-4o-mini","object":"chat.completion","created":1763800000,"choices":[{"logprobs":null,"finish_reason":"stop","native_finish_reason":"stop","index":0,"message":{"role":"assistant","content":"You said: hello there","refusal":null,"reasoning":null}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0},"cost":0.00000285,"is_byok":false,"cost_details":{"upstream_inference_cost":null}}}"#;
    assert_eq!(answer.content().unwrap(), expected.replace("ID", id));
    assert_eq!(answer.status(), 200);
    assert!(id.starts_with("gen-1763800000-") && id.len() == "gen-1763800000-".len() + 20, "{id}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("date"), Some("Sat, 22 Nov 2025 08:26:40 GMT"));
    assert!(answer.header("set-cookie").is_some() && answer.header("cf-ray").is_some());
}

#[test]
fn a_chat_stream_has_openrouters_form() {
    let simulator = start(Scenario { clock: Clock::fixed(Time(1_763_800_000_000)), ..Scenario::default() });
    let answer = post(&simulator, CHAT, HELLO_STREAM);
    let id = answer.header("x-generation-id").unwrap();
    let chunk = |choices: &str, usage: &str| {
        format!(
            r#"data: {{"id":"{id}","provider":"OpenAI","model":"openai/gpt-4o-mini","object":"chat.completion.chunk","created":1763800000,"choices":[{choices}]{usage}}}"#
        ) + "\n\n"
    };
    let choice = |text: &str, why: &str| {
        chunk(
            &format!(
                r#"{{"index":0,"delta":{{"role":"assistant","content":"{text}"}},"finish_reason":{why},"native_finish_reason":{why},"logprobs":null}}"#
            ),
            "",
        )
    };
    let mut expected = ": OPENROUTER PROCESSING\n\n".to_owned();
    for token in ["You ", "said: ", "hello ", "there"] {
        expected += &choice(token, "null");
    }
    expected += &choice("", r#""stop""#);
    expected += &chunk(
        "",
        r#","usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0},"cost":0.00000285,"is_byok":false,"cost_details":{"upstream_inference_cost":null}}"#,
    );
    expected += "data: [DONE]\n\n";
    assert_eq!(answer.content().unwrap(), expected);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
}

#[test]
fn usage_may_stand_on_the_chunk_that_finishes() {
    let simulator = start(Scenario { usage_with_finish: true, ..Scenario::default() });
    let content = post(&simulator, CHAT, HELLO_STREAM).content().unwrap();
    let with_usage = content.lines().find(|line| line.contains(r#""usage""#)).unwrap();
    assert!(with_usage.contains(r#""finish_reason":"stop""#), "{with_usage}");
    assert_eq!(content.matches("data: ").count(), 4 + 1 + 1);
}

fn event_names(content: &str) -> Vec<&str> {
    let mut names: Vec<_> = content.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    names.dedup();
    names
}

#[test]
fn a_messages_stream_has_anthropics_events_and_openrouters_cost() {
    let simulator = start(Scenario::default());
    let body = r#"{"model":"anthropic/claude-sonnet-4.5","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hello there"}]}"#;
    let content = post(&simulator, "/api/v1/messages", body).content().unwrap();
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(event_names(&content), expected);
    assert!(
        content.starts_with(
            ": OPENROUTER PROCESSING\n\nevent: message_start\ndata: {\"type\":\"message_start\""
        )
    );
    let usage = r#""usage":{"input_tokens":3,"output_tokens":4,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cost":0.000069,"is_byok":false,"cost_details":{"upstream_inference_cost":0.000069}}"#;
    assert!(content.contains(usage), "{content}");
    assert!(content.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

#[test]
fn a_responses_stream_ends_with_usage_and_done() {
    let simulator = start(Scenario::default());
    let body = r#"{"model":"openai/gpt-4o-mini","input":"hello there","stream":true}"#;
    let content = post(&simulator, "/api/v1/responses", body).content().unwrap();
    let names = event_names(&content);
    assert_eq!((names[0], names[names.len() - 1]), ("response.created", "response.completed"));
    let last = content
        .lines()
        .rfind(|line| line.contains("response.completed") && line.starts_with("data"))
        .unwrap();
    let last: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(last["response"]["usage"]["output_tokens"], 4);
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "You said: hello there");
    assert!(content.ends_with("data: [DONE]\n\n"));
}

#[test]
fn every_dialect_answers_in_json() {
    let simulator = start(Scenario::default());
    let texts = [
        ("/completions", r#"{"model":"openai/gpt-4o-mini","prompt":"hi"}"#, "/choices/0/text"),
        ("/responses", r#"{"model":"openai/gpt-4o-mini","input":"hi"}"#, "/output/0/content/0/text"),
        (
            "/messages",
            r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#,
            "/content/0/text",
        ),
    ];
    for (path, body, text) in texts {
        let answer = post(&simulator, &format!("/api/v1{path}"), body).json();
        assert_eq!(answer.pointer(text).unwrap(), "You said: hi", "{path}");
        assert!(answer["usage"]["cost"].is_number(), "{path}");
    }
}

#[test]
fn a_slow_json_answer_begins_with_blank_lines() {
    let pace = Pace {
        first_token: Duration::from_millis(60),
        keep_alive: Duration::from_millis(20),
        ..Pace::default()
    };
    let simulator = start(Scenario { pace, ..Scenario::default() });
    let answer = post(&simulator, CHAT, HELLO);
    let content = answer.content().unwrap();
    assert!(content.starts_with("\n         \n         {"), "{content:?}");
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "You said: hello there");
}

#[test]
fn a_stream_keeps_its_pace() {
    let pace = Pace { token: Duration::from_millis(20), ..Pace::default() };
    let simulator = start(Scenario { pace, ..Scenario::default() });
    let before = Instant::now();
    assert!(post(&simulator, CHAT, HELLO_STREAM).content().unwrap().ends_with("data: [DONE]\n\n"));
    // Four tokens, three pauses.
    assert!(before.elapsed() >= Duration::from_millis(60));
}

#[test]
fn answers_may_be_large() {
    let long = Model { answer_tokens: Some(200_000), max_output: 1 << 20, ..Model::new("a/long", "A", 0, 0) };
    let simulator = start(Scenario { models: vec![long], ..Scenario::default() });
    let body = r#"{"model":"a/long","messages":[{"role":"user","content":"hi"}]}"#;
    let answer = post(&simulator, CHAT, body);
    assert!(answer.content().unwrap().len() > 1_000_000);
    assert_eq!(answer.json()["usage"]["completion_tokens"], 200_000);
}

// Keys, books, the catalogue.

#[test]
fn keys_are_told_apart_as_openrouter_does() {
    let simulator = start(Scenario::default());
    let cases = [
        ("", r#"{"error":{"message":"Missing Authentication header","code":401}}"#),
        (
            "authorization: Bearer nonsense\r\n",
            r#"{"error":{"message":"No auth credentials found","code":401}}"#,
        ),
        ("authorization: Bearer sk-or-v1-0\r\n", r#"{"error":{"message":"User not found.","code":401}}"#),
    ];
    for (headers, body) in cases {
        let answer = ask(&simulator, "POST", CHAT, headers, HELLO);
        assert_eq!((answer.status(), answer.content().unwrap().as_str()), (401, body));
    }
    let anthropic = ask(&simulator, "POST", "/api/v1/messages", "", HELLO).json();
    assert_eq!(anthropic["type"], "error");
    assert_eq!(anthropic["error"]["type"], "authentication_error");
    let by_x_api_key = format!("x-api-key: {}\r\n", secret("ben"));
    assert_eq!(ask(&simulator, "POST", CHAT, &by_x_api_key, HELLO).status(), 200);
    assert_eq!(simulator.attempts().last().unwrap().key.as_deref(), Some("ben"));
}

#[test]
fn the_catalogue_is_public_but_not_for_bad_keys() {
    let simulator = start(Scenario::default());
    let models = ask(&simulator, "GET", "/api/v1/models?limit=9", "", "").json();
    assert_eq!(models["data"][0]["id"], "openai/gpt-4o-mini");
    assert_eq!(models["data"][0]["pricing"]["prompt"], "0.00000015");
    let bad = ask(&simulator, "GET", "/api/v1/models", "authorization: Bearer sk-or-v1-0\r\n", "");
    assert_eq!(bad.status(), 401);
    let endpoints = get(&simulator, "/api/v1/models/openai%2Fgpt-4o-mini/endpoints").json();
    assert_eq!(endpoints["data"]["endpoints"][0]["provider_name"], "OpenAI");
    assert_eq!(ask(&simulator, "GET", "/api/v1/models/user", "", "").status(), 401);
}

#[test]
fn what_is_not_there_is_refused_in_openrouters_words() {
    let simulator = start(Scenario::default());
    let unknown = post(&simulator, CHAT, r#"{"model":"acme/fake-1.0","messages":[]}"#);
    assert_eq!(
        (unknown.status(), &unknown.json()["error"]["message"]),
        (400, &"acme/fake-1.0 is not a valid model ID".into())
    );
    let missing = get(&simulator, "/api/v1/nothing");
    assert_eq!((missing.status(), &missing.json()["error"]["code"]), (404, &404.into()));
    for target in ["/api/v1/keys", "/api/v1/credits", "/api/v1/keys/abc", "/api/v1/activity?date=x"] {
        let refused = get(&simulator, target);
        assert_eq!(refused.status(), 403, "{target}");
        assert_eq!(refused.json()["error"]["message"], "Only management keys can perform this operation");
    }
    assert_eq!(get(&simulator, "/models").status(), 404);
}

#[test]
fn the_books_add_up() {
    let simulator = start(Scenario::default());
    let first = post(&simulator, CHAT, HELLO).json();
    post(&simulator, CHAT, HELLO_STREAM).content().unwrap();
    let usage = &simulator.usage()[0];
    assert_eq!((usage.key.as_str(), usage.requests, usage.refused), ("ann", 2, 0));
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cost), (6, 8, 2 * HELLO_COST));
    assert_eq!(simulator.usage()[1].requests, 0);

    let key = get(&simulator, "/api/v1/key").json();
    assert_eq!(key["data"]["usage"].to_string(), "5.7e-6");
    assert_eq!(key["data"]["limit"], Value::Null);
    assert_eq!(get(&simulator, "/api/v1/auth/key").json(), key);

    let id = first["id"].as_str().unwrap();
    let generation = get(&simulator, &format!("/api/v1/generation?id={id}")).json();
    assert_eq!(generation["data"]["total_cost"], first["usage"]["cost"]);
    assert_eq!(generation["data"]["tokens_completion"], 4);
    let other = ask(&simulator, "GET", &format!("/api/v1/generation?id={id}"), &bearer("ben"), "");
    assert_eq!(other.content().unwrap(), r#"{"error":{"message":"Resource not found","code":404}}"#);
}

#[test]
fn a_generation_is_not_known_at_once() {
    let clock = Clock::fixed(Time(1_763_800_000_000));
    let delay = Duration::from_millis(500);
    let simulator = start(Scenario { clock: clock.clone(), generation_delay: delay, ..Scenario::default() });
    let answer = post(&simulator, CHAT, HELLO);
    let target = format!("/api/v1/generation?id={}", answer.header("x-generation-id").unwrap());
    assert_eq!(get(&simulator, &target).status(), 404);
    clock.set(clock.now().after(delay));
    assert_eq!(get(&simulator, &target).status(), 200);
}

#[test]
fn free_models_are_limited_by_account_and_minute() {
    let clock = Clock::fixed(Time(1_763_800_000_000));
    let account = Account::new("one").key(Key::new("ann")).key(Key::new("ben"));
    let simulator = start(Scenario { accounts: vec![account], clock: clock.clone(), ..Scenario::default() });
    let body = r#"{"model":"deepseek/deepseek-chat:free","messages":[]}"#;
    for turn in 0..20 {
        let name = if turn % 2 == 0 { "ann" } else { "ben" };
        assert_eq!(ask(&simulator, "POST", CHAT, &bearer(name), body).status(), 200);
    }
    let refused = post(&simulator, CHAT, body);
    let expected = r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1763800020000"},"limit_source":"openrouter_free_tier_per_minute","provider_name":null}},"user_id":"user_one"}"#;
    assert_eq!((refused.status(), refused.content().unwrap().as_str()), (429, expected));
    assert_eq!(refused.header("x-ratelimit-reset"), Some("1763800020000"));
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
    simulator.set_clock_offset(20_000);
    assert_eq!(post(&simulator, CHAT, body).status(), 200);
}

#[test]
fn keys_and_accounts_change_while_it_runs() {
    let simulator = start(Scenario::default());
    simulator.change_key("ann", |key| key.disabled = true);
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 401);
    simulator.change_key("ann", |key| (key.disabled, key.limit) = (false, Some(0)));
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 403);
    simulator.change_key("ann", |key| key.limit = None);
    simulator.change_account("ann", |account| account.credits = 0);
    let refused = post(&simulator, CHAT, HELLO).json();
    assert_eq!(refused["error"]["metadata"]["limit_source"], "openrouter_credits");
    assert_eq!(simulator.usage()[0].refused, 2);
}

// What it saw.

#[test]
fn attempts_tell_what_arrived() {
    let simulator = start(Scenario { keep_body: 4, ..Scenario::default() });
    let headers = format!("{}x-title: mine\r\n", bearer("cay"));
    ask(&simulator, "POST", "/api/v1/chat/completions?a=%2F&b", &headers, HELLO_STREAM);
    let attempts = simulator.attempts();
    let attempt = &attempts[0];
    assert_eq!(attempt.target, "/api/v1/chat/completions?a=%2F&b");
    assert_eq!((attempt.path(), attempt.key.as_deref()), (CHAT, Some("cay")));
    assert_eq!(attempt.credential(), Some(secret("cay").as_str()));
    assert_eq!(attempt.headers["x-title"], "mine");
    assert_eq!(
        (attempt.body.as_ref(), attempt.body_len),
        (&HELLO_STREAM.as_bytes()[..4], HELLO_STREAM.len() as u64)
    );
    assert!(attempt.body_complete && attempt.stream);
    assert_eq!(attempt.model.as_deref(), Some("openai/gpt-4o-mini"));
    assert_eq!((attempt.status, attempt.outcome), (Some(200), Some(Outcome::Completed)));
    assert!(!format!("{attempt:?}").contains("sk-or"));
}

#[test]
fn a_body_that_breaks_off_is_never_complete() {
    let simulator = start(Scenario::default());
    let mut stream = connect(&simulator);
    let whole = request("POST", CHAT, &bearer("ann"), HELLO);
    stream.write_all(&whole.as_bytes()[..whole.len() - 10]).unwrap();
    let arrived = HELLO.len() as u64 - 10;
    assert!(simulator.wait_for(|attempts| attempts.iter().any(|it| it.body_len == arrived), PATIENCE));
    drop(stream);
    assert!(simulator.wait_for(|attempts| attempts[0].outcome == Some(Outcome::CallerLeft), PATIENCE));
    assert!(!simulator.attempts()[0].body_complete);
    assert_eq!(simulator.usage()[0].requests, 0);
}

#[test]
fn a_caller_who_leaves_a_stream_pays_for_what_was_written() {
    let long = Model { answer_tokens: Some(1_000), ..Model::new("a/long", "A", 1_000, 1_000) };
    let pace = Pace { token: Duration::from_millis(5), ..Pace::default() };
    let simulator = start(Scenario { models: vec![long], pace, ..Scenario::default() });
    let mut stream = connect(&simulator);
    let body = r#"{"model":"a/long","stream":true,"max_tokens":1000,"messages":[]}"#;
    stream.write_all(request("POST", CHAT, &bearer("ann"), body).as_bytes()).unwrap();
    read_until(&mut stream, "said: ");
    drop(stream);
    assert!(simulator.wait_for(|attempts| attempts[0].outcome == Some(Outcome::CallerLeft), PATIENCE));
    let usage = &simulator.usage()[0];
    assert!((2..1_000).contains(&usage.completion_tokens), "{usage:?}");
    assert_eq!(usage.cost, i64::try_from(usage.completion_tokens).unwrap() * 1_000);
    let attempt = &simulator.attempts()[0];
    assert!(attempt.ended.unwrap() > attempt.answered.unwrap());
}

#[test]
fn a_caller_who_leaves_before_the_head_is_noticed() {
    let simulator = faulty(Fault::new(Then::Stall));
    let mut stream = connect(&simulator);
    stream.write_all(request("POST", CHAT, &bearer("ann"), HELLO).as_bytes()).unwrap();
    assert!(simulator.wait_for(|attempts| attempts.first().is_some_and(|it| it.body_complete), PATIENCE));
    drop(stream);
    assert!(simulator.wait_for(|attempts| attempts[0].outcome == Some(Outcome::CallerLeft), PATIENCE));
    assert_eq!(simulator.attempts()[0].status, None);
}

#[test]
fn connections_are_kept_alive_and_counted() {
    let simulator = start(Scenario::default());
    let mut stream = connect(&simulator);
    for _ in 0..2 {
        stream.write_all(request("POST", CHAT, &bearer("ann"), HELLO).as_bytes()).unwrap();
        read_until(&mut stream, "upstream_inference_cost\":null}}}");
    }
    let attempts = simulator.attempts();
    assert_eq!((attempts[0].connection, attempts[1].connection), (0, 0));
    assert_eq!((attempts[0].nth_on_connection, attempts[1].nth_on_connection), (1, 2));
    assert_eq!(simulator.connections(), 1);
    simulator.drop_connections(Close::Fin);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

// Faults.

#[test]
fn a_cut_by_fin_shows_every_byte_before_it_and_no_end() {
    let simulator = faulty(Fault::new(Then::Cut(After::Events(2), Close::Fin)));
    let answer = post(&simulator, CHAT, HELLO_STREAM);
    let text = answer.content().unwrap_err();
    assert_eq!(text.matches("data: ").count(), 2);
    assert!(text.contains(r#""content":"said: ""#) && text.ends_with("\n\n"), "{text}");
    assert_eq!(answer.end, Ok(()));
    assert!(simulator.wait_for(|attempts| attempts[0].outcome == Some(Outcome::Cut), PATIENCE));
    assert_eq!(simulator.usage()[0].completion_tokens, 2);
}

#[test]
fn a_cut_by_rst_is_a_reset() {
    let simulator = faulty(Fault::new(Then::Cut(After::Bytes(40), Close::Rst)));
    for body in [HELLO, HELLO_STREAM] {
        let answer = post(&simulator, CHAT, body);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.end, Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_json_answer_cut_short_keeps_the_length_it_announced() {
    let simulator = faulty(Fault::new(Then::Cut(After::Bytes(10), Close::Fin)));
    let answer = post(&simulator, CHAT, HELLO);
    assert_eq!(answer.content().unwrap_err(), r#"{"id":"gen"#);
    assert!(answer.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
}

#[test]
fn a_stream_may_end_cleanly_without_its_last_event() {
    let simulator = faulty(Fault::new(Then::EndAfter(After::Events(1))));
    let content = post(&simulator, CHAT, HELLO_STREAM).content().unwrap();
    assert!(!content.contains("[DONE]") && content.contains("You "), "{content}");
    assert!(simulator.wait_for(|attempts| attempts[0].outcome == Some(Outcome::Completed), PATIENCE));
}

#[test]
fn a_stream_may_fall_silent() {
    let simulator = faulty(Fault::new(Then::StallAfter(After::Events(1))));
    let mut stream = connect(&simulator);
    stream.write_all(request("POST", CHAT, &bearer("ann"), HELLO_STREAM).as_bytes()).unwrap();
    read_until(&mut stream, "You ");
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // What is left of the chunk's framing, then nothing.
    let silent = loop {
        match stream.read(&mut [0; 64]) {
            Ok(count) => assert_ne!(count, 0),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(silent, ErrorKind::WouldBlock);
    assert_eq!(simulator.attempts()[0].outcome, None);
}

#[test]
fn errors_may_stand_inside_a_success() {
    let inside = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429}}"#;
    let simulator = faulty(Fault::new(Then::ErrorInside(inside.to_owned())));
    let stream = post(&simulator, CHAT, HELLO_STREAM);
    assert_eq!(stream.content().unwrap(), format!(": OPENROUTER PROCESSING\n\ndata: {inside}\n\n"));
    let json = post(&simulator, CHAT, HELLO);
    assert_eq!((json.status(), json.content().unwrap().as_str()), (200, inside));
    assert_eq!(simulator.usage()[0].requests, 0);
}

#[test]
fn a_stream_may_break_off_with_an_error_event() {
    let simulator = faulty(Fault::new(Then::ErrorAfter(After::Events(1), errors::provider_error("OpenAI"))));
    let content = post(&simulator, CHAT, HELLO_STREAM).content().unwrap();
    let last = content.trim_end().lines().last().unwrap().strip_prefix("data: ").unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["code"], 502);
    assert_eq!(last["choices"][0]["finish_reason"], "error");
}

#[test]
fn the_bare_connection_is_at_hand() {
    let steps = vec![
        Step::Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none ".into()),
        Step::Wait(Duration::from_millis(10)),
        Step::Send("piece".into()),
        Step::Close(Close::Fin),
    ];
    let simulator = faulty(Fault::new(Then::Wire(steps)).once());
    assert_eq!(post(&simulator, CHAT, HELLO).content().unwrap(), "one piece");
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
    simulator.add_fault(Fault::new(Then::garbage("SSH-2.0-OpenSSH\r\n")).once());
    assert_eq!(post(&simulator, CHAT, HELLO).head, "SSH-2.0-OpenSSH\r\n");
    simulator.add_fault(Fault::new(Then::close(Close::Fin)).once());
    let nothing = post(&simulator, CHAT, HELLO);
    assert_eq!((nothing.head.as_str(), nothing.end), ("", Ok(())));
    simulator.add_fault(Fault::new(Then::close(Close::Rst)).once());
    assert_eq!(post(&simulator, CHAT, HELLO).end, Err(ErrorKind::ConnectionReset));
    let outcomes: Vec<_> = simulator.attempts().iter().map(|attempt| attempt.outcome.unwrap()).collect();
    let mut expected = [Outcome::Cut; 5];
    expected[1] = Outcome::Completed;
    assert_eq!(outcomes, expected);
}

#[test]
fn only_a_reused_connection_may_fail() {
    let simulator = faulty(Fault::new(Then::close(Close::Fin)).on_reused_connection());
    let mut stream = connect(&simulator);
    let bytes = request("POST", CHAT, &bearer("ann"), HELLO);
    stream.write_all(bytes.as_bytes()).unwrap();
    read_until(&mut stream, "upstream_inference_cost\":null}}}");
    stream.write_all(bytes.as_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
}

#[test]
fn faults_hit_whom_they_are_meant_for() {
    let fault = Fault::new(Then::Deny(errors::unavailable()))
        .with_key("ann")
        .on_model("openai/gpt-4o-mini")
        .on_path("/chat/completions")
        .matching(|attempt| attempt.method == "POST")
        .after(1)
        .times(2);
    let simulator = faulty(fault);
    let statuses: Vec<_> = (0..4).map(|_| post(&simulator, CHAT, HELLO).status()).collect();
    assert_eq!(statuses, [200, 503, 503, 200]);
    simulator.add_fault(Fault::new(Then::answer(502, "{}")).with_key("ben"));
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
    assert_eq!(ask(&simulator, "POST", CHAT, &bearer("ben"), HELLO).status(), 502);
    simulator.clear_faults();
    assert_eq!(ask(&simulator, "POST", CHAT, &bearer("ben"), HELLO).status(), 200);
}

#[test]
fn an_answer_may_come_before_the_body() {
    let simulator = faulty(Fault::new(Then::Deny(errors::user_not_found())).before_body());
    let mut stream = connect(&simulator);
    let whole = request("POST", CHAT, &bearer("ann"), HELLO);
    stream.write_all(&whole.as_bytes()[..whole.len() - HELLO.len()]).unwrap();
    read_until(&mut stream, "User not found.");
    assert!(!simulator.attempts()[0].body_complete);
}

#[test]
fn pieces_and_headers_can_be_shaped() {
    let fault = Fault::new(Then::Split(1)).and(Then::Header("x-token-name".into(), "evil".into()));
    let simulator = faulty(fault);
    let answer = post(&simulator, CHAT, HELLO_STREAM);
    assert!(answer.content().unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!(answer.header("x-token-name"), Some("evil"));
    assert!(answer.body.starts_with(b"1\r\n:\r\n1\r\n \r\n1\r\nO\r\n"));
}

#[test]
fn a_delay_comes_before_the_head() {
    let simulator = faulty(Fault::new(Then::DelayHead(Duration::from_millis(30))));
    let before = Instant::now();
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
    assert!(before.elapsed() >= Duration::from_millis(30));
}

#[test]
fn stopping_ends_open_streams_and_frees_the_port() {
    let simulator = faulty(Fault::new(Then::StallAfter(After::Events(1))));
    let mut stream = connect(&simulator);
    stream.write_all(request("POST", CHAT, &bearer("ann"), HELLO_STREAM).as_bytes()).unwrap();
    read_until(&mut stream, "You ");
    let address = simulator.address();
    drop(simulator);
    assert!(TcpStream::connect(address).is_err());
    assert!(read_answer(stream).end.is_ok());
}

#[test]
fn it_speaks_tls_and_cuts_there_too() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = certified.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scenario = Scenario::default().fault(Fault::new(Then::Cut(After::Events(1), Close::Fin)).after(1));
    let simulator = Simulator::start_on(scenario, listener, Some(Arc::new(server))).unwrap();
    assert!(simulator.url().starts_with("https://localhost:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    let exchange = || {
        let name = "localhost".try_into().unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, connect(&simulator));
        let headers = format!("connection: close\r\n{}", bearer("ann"));
        stream.write_all(request("POST", CHAT, &headers, HELLO_STREAM).as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).map_err(|error| error.kind());
        (String::from_utf8(bytes).unwrap(), end)
    };
    let (whole, end) = exchange();
    assert!(whole.ends_with("0\r\n\r\n") && end.is_ok(), "{end:?}");
    let (cut, end) = exchange();
    assert!(cut.contains("You ") && !cut.ends_with("0\r\n\r\n"));
    assert_eq!(end, Err(ErrorKind::UnexpectedEof));
}

// A real client.

fn openai(simulator: &Simulator) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new().with_api_base(simulator.url()).with_api_key(secret("ann"));
    // The client's own reqwest wants TLS to be chosen even where it is not used; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::with_config(config)
}

fn hello() -> CreateChatCompletionRequest {
    let message = ChatCompletionRequestUserMessageArgs::default().content("hello there").build().unwrap();
    CreateChatCompletionRequestArgs::default()
        .model("openai/gpt-4o-mini")
        .messages([message.into()])
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_real_client_chats() {
    let simulator = start(Scenario::default());
    let answer = openai(&simulator).chat().create(hello()).await.unwrap();
    assert_eq!(answer.choices[0].message.content.as_deref(), Some("You said: hello there"));
    assert_eq!(answer.usage.unwrap().total_tokens, 7);
}

#[tokio::test]
async fn a_real_client_streams() {
    let simulator = start(Scenario::default());
    let request = CreateChatCompletionRequest { stream: Some(true), ..hello() };
    let mut stream = openai(&simulator).chat().create_stream(request).await.unwrap();
    let (mut text, mut usage) = (String::new(), None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        text.extend(chunk.choices.iter().filter_map(|choice| choice.delta.content.as_deref()));
        usage = chunk.usage.or(usage);
    }
    assert_eq!(text, "You said: hello there");
    assert_eq!(usage.unwrap().completion_tokens, 4);
}

#[tokio::test]
async fn a_real_client_lists_models() {
    let simulator = start(Scenario::default());
    // OpenRouter's models have no `object` and no `owned_by`, which the client's own types ask for.
    let models: Value = openai(&simulator).models().list_byot().await.unwrap();
    assert_eq!(models["data"].as_array().unwrap().len(), Model::samples().len());
}

#[tokio::test]
async fn a_real_client_makes_embeddings() {
    let simulator = start(Scenario::default());
    let request = CreateEmbeddingRequestArgs::default()
        .model("openai/text-embedding-3-small")
        .input(["one", "two"])
        .build()
        .unwrap();
    let answer = openai(&simulator).embeddings().create(request).await.unwrap();
    assert_eq!(answer.data.len(), 2);
    assert_ne!(answer.data[0].embedding, answer.data[1].embedding);
    assert_eq!(simulator.usage()[0].cost, 2 * 20);
}

// What the pool has to live with.

const FREE: &str =
    r#"{"model":"deepseek/deepseek-chat:free","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;

#[test]
fn a_model_is_down_for_a_span_of_its_clock_while_quota_is_counted() {
    let clock = Clock::fixed(Time(1_763_800_000_000));
    let simulator = start(Scenario { clock: clock.clone(), ..Scenario::default() });
    simulator.fail_model("deepseek/deepseek-chat:free", Duration::from_secs(20), errors::provider_error("P"));
    assert_eq!(post(&simulator, CHAT, FREE).status(), 502);
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
    let key = get(&simulator, "/api/v1/key").json();
    assert_eq!(key["data"]["free_model_daily_requests"]["used"], 1);
    clock.set(Time(1_763_800_020_000));
    assert_eq!(post(&simulator, CHAT, FREE).status(), 200);
}

#[test]
fn an_outage_is_whole_however_few_attempts_are_remembered() {
    let pace = Pace { head: Duration::from_millis(300), ..Pace::default() };
    let simulator = start(Scenario { keep_attempts: 1, pace, ..Scenario::default() });
    simulator.fail_model("deepseek/deepseek-chat:free", Duration::from_secs(60), errors::provider_error("P"));
    let mut overtaken = connect(&simulator);
    let headers = format!("connection: close\r\n{}", bearer("ann"));
    overtaken.write_all(request("POST", CHAT, &headers, FREE).as_bytes()).unwrap();
    assert!(simulator.wait_for(|attempts| attempts.iter().any(|attempt| attempt.body_complete), PATIENCE));
    assert_eq!(post(&simulator, CHAT, HELLO).status(), 200);
    assert_eq!(read_answer(overtaken).status(), 502);
    post(&simulator, CHAT, HELLO);
    assert_eq!(simulator.attempts().len(), 1, "what is answered is forgotten");
}

#[test]
fn a_share_of_answers_fails_by_chance() {
    let fault = Fault::new(Then::Deny(errors::unavailable())).of_the_provider().of_a_thousand(100, 3);
    let simulator = faulty(fault);
    let failed = (0..200).filter(|_| post(&simulator, CHAT, HELLO).status() == 503).count();
    assert!((8..=35).contains(&failed), "{failed}");
}

#[test]
fn a_stream_may_be_refused_inside_a_success() {
    let account = Account { free_per_minute: 0, ..Account::new("one").key(Key::new("ann")) };
    let scenario = Scenario { accounts: vec![account], ..Scenario::default() };
    let simulator = start(scenario.quirk(Quirk::DenialsInside));
    let answer = post(&simulator, CHAT, FREE);
    assert_eq!(answer.status(), 200);
    let content = answer.content().unwrap();
    assert!(content.starts_with(": OPENROUTER PROCESSING\n\ndata: {\"error\":{"), "{content}");
    assert!(content.contains("free-models-per-min"), "{content}");
    assert_eq!(simulator.attempts()[0].cause, Some(Cause::FreeMinute));
    // What is not a stream is refused with its status.
    assert_eq!(post(&simulator, CHAT, &FREE.replace("true", "false")).status(), 429);
}

#[test]
fn a_warm_turn_costs_less_on_the_account_that_had_the_last_one() {
    let model = Model { cached_price: Some(15), ..Model::new("a/b", "P", 150, 600) };
    let simulator = start(Scenario { models: vec![model], ..Scenario::default() });
    let system = "x".repeat(4_000);
    let turn = |more: &str| {
        format!(
            r#"{{"model":"a/b","messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"one"}}{more}]}}"#
        )
    };
    let second = turn(r#",{"role":"assistant","content":"two"},{"role":"user","content":"three"}"#);
    post(&simulator, CHAT, &turn(""));
    let warm = post(&simulator, CHAT, &second).json();
    assert_eq!(warm["usage"]["prompt_tokens_details"]["cached_tokens"], 1_001);
    let cold = ask(&simulator, "POST", CHAT, &bearer("ben"), &second).json();
    assert_eq!(cold["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let cost = |answer: &Value| answer["usage"]["cost"].as_f64().unwrap();
    assert!(cost(&warm) * 5.0 < cost(&cold), "{warm} {cold}");
}

#[test]
fn get_key_may_tell_as_little_as_in_2025() {
    let simulator = start(Scenario::default().quirk(Quirk::ShortKey));
    let key = get(&simulator, "/api/v1/auth/key").json();
    let mut fields: Vec<&String> = key["data"].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["is_free_tier", "label", "limit", "limit_remaining", "rate_limit", "usage"]);
}

#[test]
fn a_spent_cap_may_be_a_402() {
    let account = Account::new("one").key(Key::new("ann").limit(0, None));
    let scenario = Scenario { accounts: vec![account], ..Scenario::default() };
    assert_eq!(post(&start(scenario.clone()), CHAT, HELLO).status(), 403);
    let answer = post(&start(scenario.quirk(Quirk::CapsAre402)), CHAT, HELLO);
    assert_eq!(answer.status(), 402);
    assert_eq!(answer.json()["error"]["metadata"]["limit_source"], "openrouter_key_limit");
}

#[test]
fn resources_are_known_to_their_account_alone() {
    let accounts = vec![
        Account::new("one").key(Key::new("ann")).key(Key::new("ben")),
        Account::new("two").key(Key::new("cay")),
    ];
    let scenario = Scenario { accounts, ..Scenario::default() };
    let simulator = start(scenario.clone());
    let video = post(&simulator, "/api/v1/videos", r#"{"model":"openai/gpt-4o-mini","prompt":"a cat"}"#);
    assert_eq!(video.status(), 202);
    assert_eq!(video.header("x-generation-id"), None, "the body alone tells it");
    let video = video.json();
    let generation = video["generation_id"].as_str().unwrap().to_owned();
    assert!(generation.starts_with("gen-vid-"), "{generation}");
    let url =
        video["polling_url"].as_str().unwrap().strip_prefix("https://openrouter.ai").unwrap().to_owned();
    let file = post(&simulator, "/api/v1/files", "some bytes").json();
    let file = format!("/api/v1/files/{}/content", file["id"].as_str().unwrap());
    let content = format!("{url}/content?index=0");
    for target in [&url, &content, &file, &format!("/api/v1/generation?id={generation}")] {
        for (name, expected) in [("ann", 200), ("ben", 200), ("cay", 404)] {
            let answer = ask(&simulator, "GET", target, &bearer(name), "");
            assert_eq!(answer.status(), expected, "{name} {target}");
        }
    }
    let removed = ask(&simulator, "DELETE", file.trim_end_matches("/content"), &bearer("cay"), "");
    assert_eq!(removed.status(), 404);

    let relative = Scenario { url_origin: String::new(), ..scenario }.quirk(Quirk::OwnedByKey);
    let simulator = start(relative);
    let video =
        post(&simulator, "/api/v1/videos", r#"{"model":"openai/gpt-4o-mini","prompt":"a cat"}"#).json();
    let url = video["polling_url"].as_str().unwrap();
    assert!(url.starts_with("/api/v1/videos/"), "{url}");
    assert_eq!(get(&simulator, url).status(), 200);
    assert_eq!(ask(&simulator, "GET", url, &bearer("ben"), "").status(), 404);
}

#[test]
fn a_preset_stands_for_its_model_on_its_account_alone() {
    let simulator = start(Scenario::default());
    assert_eq!(post(&simulator, "/api/v1/presets/mine/chat/completions", HELLO).status(), 200);
    let with = HELLO.replace("openai/gpt-4o-mini", "@preset/mine");
    assert_eq!(post(&simulator, CHAT, &with).json()["model"], "openai/gpt-4o-mini");
    assert_eq!(ask(&simulator, "POST", CHAT, &bearer("ben"), &with).status(), 404);
}

#[test]
fn attempts_that_could_have_been_spared_are_told() {
    let mut one = Account::new("one").key(Key::new("ann")).key(Key::new("ben"));
    one.free_per_minute = 1;
    let mut off = Key::new("cay");
    off.disabled = true;
    let accounts = vec![one, Account::new("two").key(off)];
    let clock = Clock::fixed(Time(1_763_800_000_000));
    let simulator = start(Scenario { accounts, clock: clock.clone(), ..Scenario::default() });
    let as_key = |name: &str, body: &str| ask(&simulator, "POST", CHAT, &bearer(name), body).status();
    assert_eq!([as_key("ann", FREE), as_key("ann", FREE), as_key("cay", HELLO)], [200, 429, 401]);
    assert!(simulator.wasted().is_empty());
    assert_eq!([as_key("ben", FREE), as_key("ben", HELLO), as_key("cay", FREE)], [429, 200, 401]);
    let wasted = simulator.wasted();
    assert_eq!(wasted.len(), 2, "{wasted:?}");
    clock.set(Time(1_763_800_060_000));
    assert_eq!([as_key("ann", FREE), as_key("ann", FREE)], [200, 429]);
    assert_eq!(simulator.wasted().len(), 2);
    let counts = simulator.count(|attempt| (attempt.account.clone(), attempt.class, attempt.status));
    assert_eq!(counts[&(Some("user_one".to_owned()), Class::Free, Some(429))], 3);
}

#[test]
fn the_date_follows_its_clock_and_offset() {
    let scenario = Scenario {
        clock: Clock::fixed(Time(1_763_800_000_000)),
        clock_offset_ms: 90_000,
        ..Scenario::default()
    };
    let simulator = start(scenario);
    let date = |simulator: &Simulator| get(simulator, "/api/v1/key").header("date").unwrap().to_owned();
    assert_eq!(date(&simulator), "Sat, 22 Nov 2025 08:28:10 GMT");
    simulator.set_clock_offset(-10_000);
    assert_eq!(date(&simulator), "Sat, 22 Nov 2025 08:26:30 GMT");
}
