//! `GET /generation?id=` finds the account that made it, also where nobody remembers which that was.

use hermux::simulator::Scenario;

use crate::support::hermux::{Answer, write_private};
use crate::support::{Hermux, Request};
use crate::{askers, rows, start, with_keys};

const KEYS: [&str; 6] = ["ann", "ben", "cay", "dan", "eve", "fay"];
const CHAT: &str = r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;

/// The id of a generation and the key that made it.
fn generate(hermux: &Hermux) -> (String, String) {
    let answer = hermux.ask(&Request::post("/v1/chat/completions", CHAT));
    assert_eq!(answer.status(), 200);
    let id = answer.head.header("x-generation-id").expect("every answer tells its generation");
    (id.to_owned(), answer.key_name().to_owned())
}

fn look_up(hermux: &Hermux, id: &str) -> Answer {
    hermux.ask(&Request::get(&format!("/v1/generation?id={id}")))
}

#[test]
fn sixty_look_ups_of_sixty_go_straight_to_the_account_that_made_them() {
    let (simulator, hermux) = start(Scenario::with_keys(&KEYS));
    let made: Vec<_> = (0..60).map(|_| generate(&hermux)).collect();
    for (id, key) in &made {
        let found = look_up(&hermux, id);
        assert_eq!((found.status(), found.key_name()), (200, key.as_str()));
        assert_eq!(found.json()["data"]["id"], **id);
    }
    assert_eq!(askers(&simulator, "/api/v1/generation").len(), 60);
}

#[test]
fn accounts_are_asked_in_turn_for_a_generation_nobody_remembers() {
    let scenario = Scenario::with_keys(&KEYS);
    let rows = rows(&scenario);
    let (simulator, hermux) = start(scenario);
    let made: Vec<_> = (0..6).map(|_| generate(&hermux)).collect();
    let stranger = with_keys(&simulator, &rows);
    for (id, key) in &made {
        let before = askers(&simulator, "/api/v1/generation").len();
        let found = look_up(&stranger, id);
        assert_eq!((found.status(), found.key_name()), (200, key.as_str()));
        let asked = askers(&simulator, "/api/v1/generation").split_off(before);
        assert_eq!(asked.last(), Some(key));
        assert_eq!(asked.iter().filter(|asker| *asker == key).count(), 1, "{asked:?}");
    }
}

#[test]
fn who_was_found_by_asking_around_is_remembered() {
    let scenario = Scenario::with_keys(&KEYS);
    let rows = rows(&scenario);
    let (simulator, hermux) = start(scenario);
    let (id, key) = generate(&hermux);
    let stranger = with_keys(&simulator, &rows);
    assert_eq!(look_up(&stranger, &id).status(), 200);
    let before = askers(&simulator, "/api/v1/generation").len();
    for _ in 0..5 {
        assert_eq!(look_up(&stranger, &id).key_name(), key);
    }
    assert_eq!(askers(&simulator, "/api/v1/generation").len() - before, 5);
}

#[test]
fn what_a_key_made_whose_row_is_gone_is_asked_of_all() {
    let scenario = Scenario::with_keys(&KEYS);
    let rows = rows(&scenario);
    let (_simulator, hermux) = start(scenario);
    let (id, key) = generate(&hermux);
    hermux.stats_when("the attempt is written", |sum| sum.attempts == 1);
    // It has another name now.
    let renamed = rows.replace(&format!("{key},"), "anew,");
    let hermux = {
        write_private(&hermux.setup().tokens(), &format!("name,token\n{renamed}"));
        hermux.stop_and_restart()
    };
    for _ in 0..2 {
        let found = look_up(&hermux, &id);
        assert_eq!((found.status(), found.key_name()), (200, "anew"));
    }
}
