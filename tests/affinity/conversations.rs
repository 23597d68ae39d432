//! A conversation stays with the account that has it in its cache.

use std::collections::HashSet;

use hermux::simulator::Scenario;
use serde_json::{Value, json};

use crate::start;
use crate::support::{Hermux, Request};

const KEYS: [&str; 6] = ["ann", "ben", "cay", "dan", "eve", "fay"];

/// The key that serves the next turn, which is added to `messages` with its answer.
fn turn(hermux: &Hermux, messages: &mut Vec<Value>, more: &Value) -> String {
    let number = messages.len();
    messages.push(json!({"role": "user", "content": format!("question {number}")}));
    let mut body = json!({"model": "openai/gpt-4o-mini", "messages": messages});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = hermux.ask(&Request::post("/v1/chat/completions", &body.to_string()));
    assert_eq!(answer.status(), 200);
    messages.push(answer.json()["choices"][0]["message"].clone());
    answer.key_name().to_owned()
}

#[test]
fn twelve_conversations_of_eight_turns_each_stay_with_one_account_and_use_all() {
    let (_simulator, hermux) = start(Scenario::with_keys(&KEYS));
    let mut talks: Vec<_> =
        (0..12).map(|talk| vec![json!({"role": "system", "content": format!("talk {talk}")})]).collect();
    let mut keys = vec![HashSet::new(); 12];
    for _ in 0..8 {
        for (messages, keys) in talks.iter_mut().zip(&mut keys) {
            keys.insert(turn(&hermux, messages, &json!({})));
        }
    }
    assert!(keys.iter().all(|keys| keys.len() == 1), "{keys:?}");
    let used: HashSet<_> = keys.iter().flatten().collect();
    assert_eq!(used.len(), KEYS.len(), "first turns go to the least used");
}

#[test]
fn a_session_that_is_named_stays_whatever_is_said_in_it() {
    let (_simulator, hermux) = start(Scenario::with_keys(&KEYS));
    let session = json!({"session_id": "s1"});
    let keys: HashSet<_> = (0..6).map(|_| turn(&hermux, &mut Vec::new(), &session)).collect();
    assert_eq!(keys.len(), 1);
}

#[test]
fn single_questions_go_to_the_least_used_though_they_open_alike() {
    let (_simulator, hermux) = start(Scenario::with_keys(&KEYS));
    let keys: HashSet<_> = (0..6).map(|_| turn(&hermux, &mut Vec::new(), &json!({}))).collect();
    assert_eq!(keys.len(), 6);
}
