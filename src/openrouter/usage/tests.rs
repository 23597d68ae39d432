//! What the tap finds in answers of each dialect, however they are cut, and what it must not find.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Usage, UsageTap, cost};
use crate::openrouter::dialect::Dialect;

const CHAT: &str = r#"data: {"id":"gen-1757000000-AbCdEfGhIjKlMnOpQrSt","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":300,"total_tokens":420,"prompt_tokens_details":{"cached_tokens":17,"cache_write_tokens":0,"audio_tokens":80,"video_tokens":0},"completion_tokens_details":{"reasoning_tokens":31,"audio_tokens":260},"cost":0.0007,"is_byok":false,"cost_details":{"upstream_inference_cost":null}}}

data: [DONE]

"#;
const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":0}}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":22,"output_tokens":7,"cache_read_input_tokens":null,"cost":1.14e-4,"is_byok":false,"cost_details":{"upstream_inference_cost":0.000114}}}

"#;
const RESPONSES: &str = r#"event: response.created
data: {"type":"response.created","response":{"id":"gen-2","usage":null}}

event: response.completed
data: {"type":"response.completed","response":{"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":30,"cost":"0.000000001"}}}

data: [DONE]

"#;

fn used(
    prompt: u64,
    completion: u64,
    reasoning: Option<u64>,
    cached: Option<u64>,
    cost: Option<i64>,
) -> Usage {
    Usage {
        prompt_tokens: Some(prompt),
        completion_tokens: Some(completion),
        reasoning_tokens: reasoning,
        cached_tokens: cached,
        cost,
        ..Usage::default()
    }
}

/// The dialect in which a body that says `message` or `response` at its beginning has its `usage` there.
fn dialect_of(body: &[u8]) -> Dialect {
    let says = |name: &str| body.windows(name.len()).any(|window| window == name.as_bytes());
    match () {
        () if says("\"message\":{") => Dialect::Messages,
        () if says("\"response\":{") => Dialect::Responses,
        () => Dialect::Chat,
    }
}

fn tapped(slices: &[&[u8]]) -> UsageTap {
    let mut tap = UsageTap::new(dialect_of(&slices.concat()));
    for slice in slices {
        tap.feed(slice);
    }
    tap
}

/// What a body tells, which is the same when it comes whole.
fn usage_of(body: &str) -> Usage {
    let usage = tapped(&[body.as_bytes()]).usage();
    assert_eq!(whole(body).usage(), usage, "{body}");
    usage
}

fn whole(body: &str) -> UsageTap {
    let mut tap = UsageTap::new(dialect_of(body.as_bytes()));
    tap.feed_whole(body.as_bytes());
    tap
}

#[test]
fn each_dialects_usage_is_found_however_the_stream_is_cut() {
    for (stream, usage, id) in [
        (
            CHAT,
            Usage { cache_write_tokens: Some(0), ..used(120, 300, Some(31), Some(17), Some(700_000)) },
            Some("gen-1757000000-AbCdEfGhIjKlMnOpQrSt"),
        ),
        (MESSAGES, used(22, 7, None, Some(3), Some(114_000)), None),
        (RESPONSES, used(10, 20, Some(5), Some(4), Some(1)), Some("gen-2")),
    ] {
        let bytes = stream.as_bytes();
        for first in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(first);
            let tap = tapped(&[head, tail]);
            assert_eq!((tap.usage(), tap.generation()), (usage.clone(), id), "cut at {first}");
        }
        let tap = tapped(&bytes.chunks(1).collect::<Vec<_>>());
        assert_eq!((tap.usage(), tap.generation()), (usage, id));
    }
}

#[test]
fn a_json_answer_with_leading_blank_lines_is_read() {
    let body = "\n\n   \n{ \"id\" : \"gen-3\",\n \"usage\" : \n { \"prompt_tokens\" : 1, \"completion_tokens\" : 2 }\n}";
    let tap = tapped(&[body.as_bytes()]);
    assert_eq!(tap.usage(), used(1, 2, None, None, None));
    assert_eq!(tap.generation(), Some("gen-3"));
}

#[test]
fn the_last_usage_wins_field_by_field() {
    let body = r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.1}} {"usage":null}
        {"usage":{"prompt_tokens":2,"completion_tokens":null,"cost":null}}"#;
    assert_eq!(usage_of(body), used(2, 1, None, None, Some(100_000_000)));
}

#[test]
fn a_field_of_another_type_spoils_no_other() {
    let body = r#"{"usage":{"prompt_tokens":"many","prompt_tokens":[1],"completion_tokens":5,"total_tokens":{},
        "prompt_tokens_details":7,"completion_tokens_details":{"reasoning_tokens":-1},"cached_tokens":1e3,"cost":true}}"#;
    assert_eq!(usage_of(body), Usage { completion_tokens: Some(5), ..Usage::default() });
}

#[test]
fn text_that_speaks_of_usage_is_not_usage() {
    for body in [
        r#"{"content":"\"usage\":{\"prompt_tokens\":9}"}"#,
        r#"{"a":"usage","prompt_tokens":9}"#,
        r#"["usage",{"prompt_tokens":9}]"#,
        r#"{"usage":25.5,"data":{"prompt_tokens":9}}"#,
        r#"{"usage":[{"prompt_tokens":9}]}"#,
        r#"{"usages":{"prompt_tokens":9}}"#,
    ] {
        assert_eq!(usage_of(body), Usage::default(), "{body}");
    }
}

#[test]
fn usage_deeper_than_an_answers_own_is_part_of_what_was_answered() {
    for body in [
        r#"{"choices":[{"message":{"role":"assistant","usage":{"prompt_tokens":9}}}]}"#,
        r#"{"content":[{"type":"tool_use","input":{"usage":{"prompt_tokens":9,"cost":1}}}]}"#,
        r#"{"output":[{"type":"function_call","arguments":{"response":{"usage":{"cost":1}}}}]}"#,
        r#"{"message":[{"usage":{"cost":1}}]}"#,
        r#"{"message":"x","other":{"usage":{"cost":1}}}"#,
        r#"{"response":{"output":{"usage":{"cost":1}}}}"#,
        r#"{"message":{"a":{}},"b":{"usage":{"cost":1}}}"#,
        r#"{"data":{"usage":{"cost":1}}}"#,
    ] {
        for text in [
            body.to_owned(),
            format!("event: x\ndata: {body}\n\n: \"usage\":{{\"cost\":1}}\n\nusage: {body}\n\n"),
        ] {
            assert_eq!(usage_of(&text), Usage::default(), "{text}");
            let tap = tapped(&text.as_bytes().chunks(1).collect::<Vec<_>>());
            assert_eq!(tap.usage(), Usage::default(), "{text}");
        }
    }
    let after =
        r#"{"choices":[{"usage":{"cost":1}}],"message":{"usage":{"input_tokens":3}},"usage":{"cost":0.5}}"#;
    assert_eq!(
        usage_of(after),
        Usage { prompt_tokens: Some(3), cost: Some(500_000_000), ..Usage::default() }
    );
}

/// Answers of each kind as the API reference and captures show them, cut to what tells of usage.
const ANSWERS: [(&str, &str, Usage); 13] = {
    const NONE: Usage = Usage {
        prompt_tokens: None,
        completion_tokens: None,
        reasoning_tokens: None,
        cached_tokens: None,
        cache_write_tokens: None,
        cost: None,
        upstream_cost: None,
    };
    [
        (
            "a completion with its own provider key",
            r#"{"id":"gen-1","choices":[{"text":"{\"usage\":1}"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"cost":0.00001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.0002}}}"#,
            Usage {
                prompt_tokens: Some(5),
                completion_tokens: Some(2),
                cost: Some(10_000),
                upstream_cost: Some(200_000),
                ..NONE
            },
        ),
        (
            "one whose details repeat the cost",
            r#"{"usage":{"cost_details":{"upstream_inference_cost":0.0002},"cost":0.0002,"is_byok":false}}"#,
            Usage { cost: Some(200_000), ..NONE },
        ),
        (
            "messages at once",
            r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":50,"output_tokens":3,"cost":0.001}}"#,
            Usage {
                prompt_tokens: Some(12),
                completion_tokens: Some(3),
                cached_tokens: Some(50),
                cache_write_tokens: Some(100),
                cost: Some(1_000_000),
                ..NONE
            },
        ),
        (
            "responses at once",
            r#"{"id":"resp_1","object":"response","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},"output_tokens":6,"output_tokens_details":{"reasoning_tokens":5},"cost":0.002}}"#,
            Usage {
                prompt_tokens: Some(9),
                completion_tokens: Some(6),
                reasoning_tokens: Some(5),
                cached_tokens: Some(4),
                cache_write_tokens: Some(2),
                cost: Some(2_000_000),
                ..NONE
            },
        ),
        (
            "responses that stop early",
            "data: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\ndata: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"cost\":0.5}}}\n\ndata: [DONE]\n\n",
            Usage { prompt_tokens: Some(1), completion_tokens: Some(2), cost: Some(500_000_000), ..NONE },
        ),
        (
            "embeddings",
            r#"{"object":"list","data":[{"object":"embedding","embedding":[0.1,-2e-3],"index":0}],"usage":{"prompt_tokens":8,"total_tokens":8,"cost":0.00000016}}"#,
            Usage { prompt_tokens: Some(8), cost: Some(160), ..NONE },
        ),
        (
            "rerank",
            r#"{"id":"gen-r","results":[{"index":0,"relevance_score":0.9}],"usage":{"search_units":1,"cost":0.002}}"#,
            Usage { cost: Some(2_000_000), ..NONE },
        ),
        (
            "images at once",
            r#"{"created":1,"data":[{"b64_json":"InVzYWdlIjp7"}],"usage":{"prompt_tokens":10,"completion_tokens":4160,"total_tokens":4170,"cost":0.04}}"#,
            Usage { prompt_tokens: Some(10), completion_tokens: Some(4_160), cost: Some(40_000_000), ..NONE },
        ),
        (
            "images as a stream",
            "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"x\",\"usage\":{\"input_tokens\":10,\"output_tokens\":20,\"cost\":0.04}}\n\n",
            Usage { prompt_tokens: Some(10), completion_tokens: Some(20), cost: Some(40_000_000), ..NONE },
        ),
        (
            "a transcription",
            r#"{"text":"\"usage\":{\"cost\":9}","usage":{"seconds":9.2,"total_tokens":113,"input_tokens":83,"output_tokens":30,"cost":0.000508}}"#,
            Usage { prompt_tokens: Some(83), completion_tokens: Some(30), cost: Some(508_000), ..NONE },
        ),
        (
            "a finished video",
            r#"{"id":"job-abc123","status":"completed","unsigned_urls":["https://x/1"],"usage":{"cost":0.5,"is_byok":false}}"#,
            Usage { cost: Some(500_000_000), ..NONE },
        ),
        (
            "one from the response cache",
            r#"{"id":"gen-c","choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"cost":0}}"#,
            Usage { prompt_tokens: Some(0), completion_tokens: Some(0), cost: Some(0), ..NONE },
        ),
        (
            "several chunks with usage, CRLF and comments between them",
            ": OPENROUTER PROCESSING\r\n\r\ndata: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":0.1}}\r\n\r\ndata:{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"cost\":0.2}}\r\n\r\ndata: [DONE]\r\n\r\n",
            Usage { prompt_tokens: Some(1), completion_tokens: Some(2), cost: Some(200_000_000), ..NONE },
        ),
    ]
};

#[test]
fn every_kind_of_answer_is_read_however_it_is_cut() {
    for (what, body, usage) in ANSWERS {
        for at in 0..=body.len() {
            let (head, tail) = body.as_bytes().split_at(at);
            assert_eq!(tapped(&[head, tail]).usage(), usage, "{what} cut at {at}");
        }
        assert_eq!(tapped(&body.as_bytes().chunks(1).collect::<Vec<_>>()).usage(), usage, "{what}");
        let late = format!("\n \n\n{body}");
        assert_eq!(usage_of(&late), usage, "{what} behind blank lines");
        assert_eq!(usage_of(body), usage, "{what} whole");
    }
}

#[test]
fn a_line_of_a_gibibyte_takes_no_more_memory_than_a_short_one() {
    for (before, filler, after) in [
        (
            &b"data: {\"choices\":[{\"delta\":{\"content\":\""[..],
            b'x',
            &b"\"}}],\"usage\":{\"cost\":0.5}}\n\n"[..],
        ),
        (b"{\"usage\":{\"a\":\"", b'x', b"\"},\"usage\":{\"cost\":0.5}}"),
        (b"{\"data\":[", b'1', b"],\"usage\":{\"cost\":0.5}}"),
        (b"data: ", b'{', b"\ndata: {\"usage\":{\"cost\":0.5}}\n\n"),
    ] {
        let mut tap = UsageTap::new(Dialect::Chat);
        tap.feed(before);
        let slice = vec![filler; 1 << 20];
        // Braces are taken one by one.
        for _ in 0..if filler == b'{' { 16 } else { 1 << 10 } {
            tap.feed(&slice);
            let held =
                if let super::At::Object { object, .. } = &tap.walk.at { object.bytes.capacity() } else { 0 };
            assert!(held <= 16 << 10, "{held}");
        }
        tap.feed(after);
        assert_eq!(tap.usage().cost, Some(500_000_000));
    }
}

#[test]
fn a_name_that_only_ends_like_usage_is_another_name() {
    for body in
        [r#"{"\"usage":{"cost":1}}"#, r#"{"a":1,"x\\\"usage":{"cost":1}}"#, r#"{"a":"usage","b":{"cost":1}}"#]
    {
        assert_eq!(usage_of(body), Usage::default(), "{body}");
    }
    assert_eq!(usage_of(r#"{"a":"\\" , "usage" : {"cost":1} }"#).cost, Some(1_000_000_000));
}

#[test]
fn braces_and_quotes_in_strings_do_not_end_the_object() {
    let body = r#"{"usage":{"note":"}\"}{\\","prompt_tokens":1,"completion_tokens":2}}"#;
    assert_eq!(usage_of(body), used(1, 2, None, None, None));
}

#[test]
fn an_endless_object_is_given_up_and_the_search_goes_on() {
    let mut tap = UsageTap::new(Dialect::Chat);
    tap.feed(b"{\"usage\":{\"a\":\"");
    for _ in 0..1_000 {
        tap.feed(&[b'x'; 1_000]);
    }
    tap.feed(b"\"}} {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");
    assert_eq!(tap.usage(), used(1, 2, None, None, None));
}

#[test]
fn each_dialect_has_its_own_place_for_usage_and_no_other() {
    let at = |place: &str| format!(r#"{{"{place}":{{"usage":{{"cost":50}}}}}}"#);
    for (dialect, place) in
        [(Dialect::Chat, None), (Dialect::Messages, Some("message")), (Dialect::Responses, Some("response"))]
    {
        for other in ["message", "response", "choices", "delta"] {
            for body in [at(other), format!("data: {}\n\n", at(other))] {
                let mut tap = UsageTap::new(dialect);
                tap.feed(body.as_bytes());
                let cost = (Some(other) == place).then_some(50_000_000_000);
                assert_eq!(tap.usage().cost, cost, "{dialect:?} {body}");
            }
        }
        let mut tap = UsageTap::new(dialect);
        tap.feed(
            br#"[{"usage":{"cost":50}},{"message":{"usage":{"cost":50}},"response":{"usage":{"cost":50}}}]"#,
        );
        assert_eq!(tap.usage().cost, None, "{dialect:?}");
    }
}

#[test]
fn an_idle_tap_is_small() {
    assert!(size_of::<UsageTap>() <= 192, "{}", size_of::<UsageTap>());
}

#[test]
fn the_id_is_looked_for_in_the_first_bytes_only() {
    let late = format!("{}{}", " ".repeat(4_096), r#"{"id":"gen-late"}"#);
    assert_eq!(tapped(&[late.as_bytes()]).generation(), None);
    assert_eq!(tapped(&[br#"{"id":"chatcmpl-1","x":{"id":"gen-inner"}}"#]).generation(), Some("gen-inner"));
    assert_eq!(tapped(&[br#"{"idle":"gen-no","id":"gen no","id":7}"#]).generation(), None);
    let mut without = UsageTap::without_generation(Dialect::Chat);
    without.feed(CHAT.as_bytes());
    assert_eq!(without.generation(), None);
    let job =
        br#"{"id":"gen-no-job","generation":"generation_id","generation_id":"gen-vid-1","status":"pending"}"#;
    for end in 0..job.len() {
        let mut of_job = UsageTap::of_job(Dialect::Chat);
        of_job.feed(&job[..end]);
        of_job.feed(&job[end..]);
        assert_eq!(of_job.generation(), Some("gen-vid-1"), "cut at {end}");
    }
    assert_eq!(without.usage().prompt_tokens, Some(120));
}

#[test]
fn a_cost_is_neither_negative_nor_absurd() {
    for (text, nanos) in [
        ("0.0007", Some(700_000)),
        ("1000000", Some(1_000_000_000_000_000)),
        ("1000000.000000001", None),
        ("-0.1", None),
        ("null", None),
    ] {
        assert_eq!(cost(text.as_bytes()), nanos, "{text}");
    }
}

/// Objects in which `usage` stands where it counts and where it does not.
fn answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0_u32..9).prop_map(Value::from),
        prop::sample::select(&["usage", "\"usage\":{", "\\", "}"][..]).prop_map(Value::from),
        Just(json!({"prompt_tokens": 7, "cost": 0.5, "cost_details": {"upstream_inference_cost": 1}})),
    ];
    let names = || prop::sample::select(&["usage", "message", "response", "a", "id"][..]);
    let object = move |value: BoxedStrategy<Value>| {
        prop::collection::vec((names(), value), 0..4).prop_map(|fields| {
            Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        })
    };
    let any = leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from), object(inner.boxed())]
    });
    object(any.boxed())
}

/// What an answer is made of, and what it is not.
const PIECES: &[&[u8]] = &[
    b"\"usage\"",
    b":",
    b" ",
    b"{",
    b"}",
    b"\"",
    b"\\",
    b"\"prompt_tokens\"",
    b"7",
    b",",
    b"null",
    b"\"us",
    b"\n",
    b"\"id\":\"gen-",
    b"a",
    b"\xff",
    b"\"cost\":",
    b"1e-3",
];

#[test]
fn an_error_of_the_answer_itself_is_found_however_it_was_cut() {
    let json = r#"{"id":"gen-1","a":[{"error":{"x":1}}],"text":"\"error\":{","error":{"code":402,"m":"}\"","d":{}},"usage":{"cost":1}}"#;
    for at in 0..=json.len() {
        let mut tap = UsageTap::new(Dialect::Chat);
        tap.feed(&json.as_bytes()[..at]);
        tap.feed(&json.as_bytes()[at..]);
        assert_eq!(tap.error().unwrap(), br#"{"error":{"code":402,"m":"}\"","d":{}}}"#, "cut at {at}");
        assert_eq!(tap.usage().cost, Some(1_000_000_000));
    }
    for good in [
        r#"{"id":"gen-1","error":null,"response":{"error":{"code":1}}}"#,
        r#"[{"error":{"code":1}}]"#,
        "data: {\"id\":1,\"usage\":{},\"error\":{\"code\":1}}\n\n",
    ] {
        for dialect in [Dialect::Chat, Dialect::Responses] {
            let mut tap = UsageTap::new(dialect);
            good.as_bytes().chunks(7).for_each(|piece| tap.feed(piece));
            assert_eq!(tap.error(), None, "{good}");
        }
    }
}

proptest! {
    #[test]
    fn any_usage_is_found_in_any_cut(
        prompt: u32, completion: u32, cached in prop::option::of(any::<u32>()),
        before in "\\PC{0,40}", after in "\\PC{0,40}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let body = serde_json::json!({
            "id": before.clone(),
            "choices": [{"delta": {"content": before}}],
            "usage": {"note": after, "prompt_tokens": prompt, "completion_tokens": completion,
                "prompt_tokens_details": {"cached_tokens": cached}},
        });
        let text = format!("data: {body}\n\ndata: [DONE]\n\n");
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.sort_unstable();
        let mut tap = UsageTap::new(Dialect::Chat);
        let mut from = 0;
        for to in at.into_iter().chain([text.len()]) {
            tap.feed(&text.as_bytes()[from..to]);
            from = to;
        }
        let expected = used(prompt.into(), completion.into(), None, cached.map(u64::from), None);
        prop_assert_eq!(tap.usage(), expected);
    }

    #[test]
    fn a_body_that_comes_whole_is_read_as_if_it_was_cut(body in answer(), pretty: bool) {
        let text =
            if pretty { serde_json::to_string_pretty(&body).unwrap() } else { serde_json::to_string(&body).unwrap() };
        let cut = tapped(&text.as_bytes().chunks(3).collect::<Vec<_>>());
        let whole = whole(&text);
        prop_assert_eq!(whole.usage(), cut.usage());
        prop_assert_eq!(whole.generation(), cut.generation());
    }

    #[test]
    fn any_bytes_are_borne_and_cuts_change_nothing(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
    ) {
        let whole = pieces.concat();
        let once = tapped(&[&whole]);
        let byte_by_byte = tapped(&whole.chunks(1).collect::<Vec<_>>());
        prop_assert_eq!(once.usage(), byte_by_byte.usage());
        prop_assert_eq!(once.generation(), byte_by_byte.generation());
        let by_pieces = tapped(&pieces);
        prop_assert_eq!(once.usage(), by_pieces.usage());
    }
}
