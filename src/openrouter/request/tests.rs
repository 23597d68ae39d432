use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Around, Wanted, peek, read};

/// Model and stream, which is what most of these ask for.
fn wanted(body: &[u8]) -> (Option<String>, bool) {
    let Wanted { model, stream, .. } = peek(body);
    (model, stream)
}

fn said(model: &str, stream: bool) -> (Option<String>, bool) {
    (Some(model.to_owned()), stream)
}

#[test]
fn model_and_stream_are_read_wherever_they_stand() {
    let body = br#"{"messages":[{"role":"user","content":"\"model\":\"no\", {[\u00e9"}],
        "stream" : true, "tools":[{"model":"nested","stream":false}], "model":"openai\/gpt-4o:free"}"#;
    assert_eq!(wanted(body), said("openai/gpt-4o:free", true));
    assert_eq!(wanted(br#"{"model":"a/b"}"#), said("a/b", false));
    assert_eq!(wanted(br#"{"\u006dodel":"a/b","stream":false}"#), said("a/b", false));
}

#[test]
fn of_a_field_given_twice_the_last_counts() {
    assert_eq!(wanted(br#"{"model":"a","stream":true,"model":"b","stream":false}"#), said("b", false));
    assert_eq!(peek(br#"{"model":"a","model":7}"#), Wanted::default());
    let talk = |first: &str, last: &str| format!(r#"{{"messages":{first},"messages":{last}}}"#);
    let one = r#"[{"role":"user","content":"a"}]"#;
    let two = r#"[{"role":"user","content":"b"},{"role":"user","content":"c"}]"#;
    assert_eq!(peek(talk(two, one).as_bytes()), peek(talk(one, one).as_bytes()));
}

#[test]
fn odd_bodies_say_nothing() {
    for body in [&b""[..], b"null", b"[]", b"\"model\"", b"{", b"--boundary\r\n", b"\xff\xfe{}", b"{\"a\":1}"]
    {
        assert_eq!(peek(body), Wanted::default(), "{body:?}");
    }
    assert_eq!(peek(br#"{"model":["a"],"stream":"true"}"#), Wanted::default());
    assert_eq!(peek(format!(r#"{{"model":"{}"}}"#, "m".repeat(257)).as_bytes()), Wanted::default());
    for odd in
        [r#""messages":7"#, r#""messages":{}"#, r#""input":null"#, r#""models":"a""#, r#""messages":[7]"#]
    {
        let body = format!(r#"{{{odd},"model":"a/b"}}"#);
        assert_eq!(
            peek(body.as_bytes()),
            Wanted { model: Some("a/b".to_owned()), ..Wanted::default() },
            "{odd}"
        );
    }
}

#[test]
fn what_stands_before_a_break_counts() {
    let broken = br#"{"model":"a/b","stream":true,"messages":[{"content":"brea"#;
    assert_eq!(wanted(broken), said("a/b", true));
    assert_eq!(wanted(b"{\"model\":\"a/b\",\"x\":\"\xff\"}"), said("a/b", false));
    let talk = r#"{"model":"a/b","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},"#;
    let whole = format!(r#"{talk}{{"role":"user","content":"more"}}]}}"#);
    assert_eq!(peek(talk.as_bytes()).conversation, peek(whole.as_bytes()).conversation);
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = "[".repeat(1_000_000);
    for name in ["x", "messages", "system", "models", "input"] {
        assert_eq!(wanted(format!(r#"{{"model":"a/b","{name}":{deep}"#).as_bytes()), said("a/b", false));
    }
    assert_eq!(peek(format!(r#"{{"model":{deep}"#).as_bytes()), Wanted::default());
    assert_eq!(peek(deep.as_bytes()), Wanted::default());
}

#[test]
fn a_request_is_free_when_all_its_models_are() {
    for (body, free) in [
        (json!({"model": "a/b:free"}), true),
        (json!({"model": "a/b"}), false),
        (json!({}), false),
        (json!({"model": "a/b:free", "models": ["c/d:free"]}), true),
        (json!({"model": "a/b:free", "models": ["c/d:free", "e/f"]}), false),
        (json!({"model": "a/b:free", "models": ["e/f", "c/d:free"]}), false),
        (json!({"model": "a/b", "models": ["c/d:free"]}), false),
        (json!({"models": ["c/d:free"]}), true),
        (json!({"model": "openrouter/free"}), true),
        (json!({"model": "openrouter/free", "models": ["c/d:free", "openrouter/free"]}), true),
        (json!({"model": "openrouter/free", "models": ["openrouter/auto"]}), false),
        (json!({"model": "openrouter/free-not"}), false),
        (json!({"model": "a/b:free", "models": []}), true),
        (json!({"model": "a/b:free", "models": null}), true),
        (json!({"model": "a/b:free", "models": [7]}), false),
        (json!({"model": "a/b:free:online"}), false),
    ] {
        assert_eq!(peek(body.to_string().as_bytes()).free, free, "{body}");
    }
}

/// A conversation of so many turns in each of the three dialects.
fn dialects(system: &str, first: &str, turns: usize) -> [Value; 3] {
    let mut messages = vec![json!({"role": "user", "content": first})];
    for turn in 1..turns {
        messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
        messages.push(json!({"role": "user", "content": format!("question {turn}")}));
    }
    let mut chat = vec![json!({"role": "system", "content": system})];
    chat.extend(messages.iter().cloned());
    [
        json!({"model": "a/b", "messages": chat}),
        json!({"model": "a/b", "system": system, "messages": messages}),
        json!({"model": "a/b", "instructions": system, "input": messages}),
    ]
}

fn conversation(body: &Value) -> u64 {
    peek(body.to_string().as_bytes()).conversation.expect("a conversation")
}

fn continues(body: &Value) -> bool {
    peek(body.to_string().as_bytes()).continues
}

#[test]
fn the_turns_of_a_conversation_are_one_and_others_are_not() {
    for dialect in 0..3 {
        let turn = |turns| dialects("be brief", "what is hermux?", turns)[dialect].clone();
        let first = turn(1);
        assert!(!continues(&first), "{first}");
        for turns in 2..5 {
            let later = turn(turns);
            assert!(continues(&later), "{later}");
            assert_eq!(conversation(&later), conversation(&first), "{later}");
        }
        for other in [dialects("be long", "what is hermux?", 2), dialects("be brief", "what is nginx?", 2)] {
            assert_ne!(conversation(&other[dialect]), conversation(&first));
        }
        let mut model = turn(2);
        model["model"] = "a/c".into();
        assert_ne!(conversation(&model), conversation(&first));
    }
}

#[test]
fn a_text_alone_is_the_same_as_in_a_list_and_cache_marks_do_not_count() {
    let with = |content: Value| json!({"model": "a/b", "messages": [{"role": "user", "content": content}]});
    let plain = conversation(&with(json!("hi")));
    for same in [
        json!([{"type": "text", "text": "hi"}]),
        json!([{"type": "input_text", "text": "hi"}]),
        json!([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
        json!(["hi"]),
    ] {
        assert_eq!(conversation(&with(same.clone())), plain, "{same}");
    }
    for other in [
        json!([{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:a"}}]),
        json!([{"type": "text", "text": "hi"}, {"type": "text", "text": "hi"}]),
        json!([]),
        json!(null),
    ] {
        assert_ne!(conversation(&with(other.clone())), plain, "{other}");
    }
}

#[test]
fn a_line_that_differs_in_every_request_does_not_count() {
    let with = |system: Value| json!({"model": "a/b", "system": system, "messages": [{"role": "user", "content": "u"}]});
    let nonce = |nonce: &str| format!("x-anthropic-billing-header: cc_version=2.1.37.0d9; cch={nonce};");
    let blocks =
        |it: &str| with(json!([{"type": "text", "text": nonce(it)}, {"type": "text", "text": "you are"}]));
    let text = |it: &str| with(json!(format!("{}\nyou are", nonce(it))));
    assert_eq!(conversation(&blocks("fa690")), conversation(&blocks("36ee5")));
    assert_eq!(conversation(&text("fa690")), conversation(&text("36ee5")));
    assert_eq!(conversation(&blocks("fa690")), conversation(&with(json!("you are"))));
}

#[test]
fn a_conversation_that_is_named_needs_no_earlier_turn() {
    let body = |named: Value| {
        let mut body = json!({"model": "a/b", "messages": [{"role": "user", "content": "u"}]});
        body.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
        body
    };
    let session = body(json!({"session_id": "s1"}));
    assert!(continues(&session));
    assert_eq!(conversation(&session), conversation(&json!({"session_id": "s1", "model": "c/d"})));
    assert_ne!(conversation(&session), conversation(&body(json!({"session_id": "s2"}))));
    assert_ne!(conversation(&session), conversation(&body(json!({"prompt_cache_key": "s1"}))));
    assert_eq!(
        conversation(&session),
        conversation(&body(json!({"session_id": "s1", "prompt_cache_key": "k"})))
    );
    let key = body(json!({"prompt_cache_key": "k"}));
    assert!(continues(&key));
    assert_eq!(conversation(&key), conversation(&json!({"prompt_cache_key": "k", "model": "a/b"})));
    // What names nothing does not count.
    for nothing in [json!({"session_id": ""}), json!({"session_id": null, "prompt_cache_key": 7})] {
        assert_eq!(conversation(&body(nothing.clone())), conversation(&body(json!({}))), "{nothing}");
        assert!(!continues(&body(nothing)));
    }
}

#[test]
fn the_header_names_a_session_unless_the_body_does() {
    let ask = |body: &[u8], session| read(body, &Around { session, ..Around::default() });
    let by_header = ask(b"{}", Some(b"s1"));
    assert!(by_header.continues && by_header.conversation.is_some());
    assert_eq!(by_header.conversation, ask(br#"{"session_id":"s1"}"#, None).conversation);
    assert_eq!(by_header.conversation, ask(br#"{"session_id":"s1"}"#, Some(b"s2")).conversation);
    assert_eq!(ask(b"{}", Some(b"")), Wanted::default());
    assert_eq!(ask(b"no JSON", Some(b"s1")).conversation, by_header.conversation);
}

#[test]
fn the_conversations_of_two_callers_are_two() {
    let body = br#"{"session_id":"s1"}"#;
    let of = |caller| read(body, &Around { caller, session: None }).conversation;
    assert_ne!(of("ann"), of("ben"));
    assert_eq!(of("ann"), of("ann"));
}

#[test]
fn who_speaks_first_decides_whether_there_was_an_earlier_turn() {
    for (messages, goes_on) in [
        (json!([{"role": "user", "content": "a"}]), false),
        (json!([{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}]), false),
        (json!([{"role": "assistant", "content": "a"}]), true),
        (json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]), true),
        (json!([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]), false),
        (json!([{"content": "a", "role": "user"}, {"type": "function_call", "name": "f"}]), true),
    ] {
        let body = json!({"model": "a/b", "messages": messages});
        assert_eq!(continues(&body), goes_on, "{body}");
    }
    assert!(!continues(&json!({"model": "a/b", "input": "a"})));
    assert_eq!(
        conversation(&json!({"model": "a/b", "input": "a"})),
        conversation(&json!({"model": "a/b", "input": [{"role": "user", "content": "a"}]}))
    );
}

#[test]
fn long_texts_are_told_apart_by_beginning_end_and_length() {
    let with = |text: String| conversation(&json!({"messages": [{"role": "user", "content": text}]}));
    let long = "x".repeat(100_000);
    assert_eq!(with(long.clone()), with(long.clone()));
    for other in [format!("y{}", &long[1..]), format!("{}y", &long[1..]), format!("{long}x")] {
        assert_ne!(with(long.clone()), with(other));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_borne(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = peek(&body);
    }

    #[test]
    fn any_model_is_read_as_json_reads_it(model in "\\PC{0,60}", stream: bool, before in "\\PC{0,60}") {
        let body = json!({"aa": before, "model": model, "stream": stream, "z": [1, null]});
        prop_assert_eq!(wanted(body.to_string().as_bytes()), said(&model, stream));
    }

    #[test]
    fn layout_and_what_stands_around_do_not_matter(
        system in "\\PC{0,40}", first in "\\PC{1,40}", turns in 1_usize..4, noise in "\\PC{0,20}",
    ) {
        for mut body in dialects(&system, &first, turns) {
            let plain = peek(body.to_string().as_bytes());
            prop_assert_eq!(plain.continues, turns > 1);
            prop_assert_eq!(&peek(serde_json::to_string_pretty(&body).unwrap().as_bytes()), &plain);
            body["aaa"] = json!({"messages": [noise.clone()], "system": noise});
            body["temperature"] = json!(0.5);
            prop_assert_eq!(&peek(body.to_string().as_bytes()), &plain);
        }
    }

    #[test]
    fn a_body_cut_anywhere_says_no_more_than_the_whole(turns in 1_usize..4, cut in 0_usize..400) {
        for body in dialects("be brief", "hi", turns) {
            let text = body.to_string();
            let whole = peek(text.as_bytes());
            let part = peek(&text.as_bytes()[..cut.min(text.len())]);
            prop_assert!(!part.continues || whole.continues);
            prop_assert!(part.model.is_none() || part.model == whole.model);
        }
    }
}
