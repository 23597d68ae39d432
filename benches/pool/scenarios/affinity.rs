//! Conversations that stay with their account, and generations found again after a kill.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hermux::simulator::{Key, Model, Scenario, Simulator};
use serde_json::{Value, json};

use super::Size;
use crate::caller::{Answer, Ask};
use crate::report::Report;
use crate::rig::{Rig, token_of};

const CONVERSATIONS: usize = 12;
const TURNS: usize = 8;
const KEYS: [&str; 6] = ["ann", "ben", "cay", "dee", "eve", "fay"];
const LOOKED_UP: usize = 60;
const MODEL: &str = "anthropic/claude-sonnet-4.5";

fn scenario() -> Scenario {
    // A warm token costs a tenth, as with Anthropic's models.
    let model = Model { cached_price: Some(300), ..Model::new(MODEL, "Anthropic", 3_000, 15_000) };
    let generation_delay = Duration::from_millis(50);
    Scenario { models: vec![model], generation_delay, ..Scenario::with_keys(&KEYS) }
}

pub(super) fn affinity(_: Size) -> io::Result<Report> {
    // What it costs with one account per conversation, without a proxy.
    let alone = Simulator::start(scenario())?;
    converse(alone.address(), |conversation| Key::new(KEYS[conversation % KEYS.len()]).secret);
    let mut rig = Rig::start(scenario(), &[])?;
    let answers = converse(rig.address(), |conversation| token_of(conversation % 4));

    let cost = |simulator: &Simulator| simulator.usage().iter().map(|usage| usage.cost).sum::<i64>();
    let (least, paid) = (cost(&alone), cost(&rig.simulator));
    let by_key = rig.upstream_by_key();

    // Ownership survives, also a kill; what happened longer ago than a moment is remembered.
    std::thread::sleep(Duration::from_millis(300));
    rig.kill_and_restart()?;
    let ids: Vec<_> = answers.iter().filter_map(|answer| answer.header("x-generation-id")).collect();
    // Every eighth is left out, then the first of the others, so that all conversations and turns occur.
    let asked = ids.iter().enumerate().filter(|(at, _)| at % 8 != 7).map(|(_, id)| id).take(LOOKED_UP);
    let looked_up: Vec<Answer> =
        asked.map(|id| rig.ask(0, &Ask::get(&format!("/api/v1/generation?id={id}")))).collect();
    let found = looked_up.iter().filter(|answer| answer.served()).count();
    let whole = CONVERSATIONS * TURNS;
    Ok(Report::of(whole + LOOKED_UP, answers.iter().chain(&looked_up))
        .seen(&rig)
        .all_served()
        .bar(
            paid * 100 <= least * 102,
            format!("cost within 2 % of one account per conversation: {paid} of {least} nano-dollars"),
        )
        .bar(found == LOOKED_UP, format!("generations found: {found} of {LOOKED_UP}"))
        .bar(by_key.len() == KEYS.len(), format!("all keys were used: {}", crate::report::listed(&by_key))))
}

/// All conversations side by side, each turn by turn with what was said before.
fn converse(address: SocketAddr, token: impl Fn(usize) -> String + Sync) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let token = &token;
        let threads: Vec<_> = (0..CONVERSATIONS)
            .map(|conversation| scope.spawn(move || turns(address, &token(conversation), conversation)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

fn turns(address: SocketAddr, token: &str, conversation: usize) -> Vec<Answer> {
    let system = format!("You are number {conversation}. {}", "Be brief and kind. ".repeat(200));
    let mut messages = vec![json!({ "role": "system", "content": system })];
    let mut answers = Vec::new();
    for turn in 0..TURNS {
        messages.push(json!({ "role": "user", "content": format!("this is turn {turn}") }));
        let answer = Ask::messages(MODEL, &messages).send(address, token);
        let said: Value = answer.json()["choices"][0]["message"]["content"].clone();
        messages.push(json!({ "role": "assistant", "content": said }));
        answers.push(answer);
    }
    answers
}
