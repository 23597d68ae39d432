//! The screen of a fixed state, and what the keys do to it.

use std::path::PathBuf;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Wanted};
use super::view::draw;
use crate::control::live::{Awaited, Failure, Live, Sample};
use crate::control::{About, State, Waiting};
use crate::keys::state::{KeyState, PoolState, RestState};
use crate::ledger::observe::Counts;

/// 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000_000;

fn about() -> About {
    About {
        version: "1.2.3".to_owned(),
        pid: 77,
        started_ms: NOW - 7_500_000,
        address: "127.0.0.1:3333".to_owned(),
        tokens: PathBuf::from("/keys/tokens.csv"),
    }
}

fn key(name: &str, used_today: u64, rests: Vec<RestState>) -> KeyState {
    KeyState { name: name.to_owned(), used_today, rests, ..KeyState::default() }
}

fn rest(what: &str, why: &str, until_ms: Option<i64>) -> RestState {
    RestState { what: what.to_owned(), why: why.to_owned(), until_ms }
}

fn live() -> Live {
    let ann = KeyState {
        in_flight: 3,
        account: Some("account 1".to_owned()),
        free_minute_left: Some(8),
        free_day_left: Some(38),
        cap_left: Some(2_500_000_000),
        cost_today: 114_000,
        ..key("ann", 12, Vec::new())
    };
    let ben = key("ben", 100, vec![rest("free", "free_day", Some(NOW + 6_400_000))]);
    let cay = key("cay", 0, vec![rest("all", "refused", None)]);
    let state = State {
        in_flight: 3,
        waiting: Waiting { requests: 2, callers: 1 },
        unwritten: false,
        pool: PoolState { keys: vec![ann, ben, cay] },
    };
    let sample = |step: i64| {
        let requests = u64::try_from(step).unwrap() * 10;
        Sample { at_ms: NOW - 120_000 + step * 10_000, requests, tokens: requests * 1000 }
    };
    Live {
        now_ms: NOW,
        state,
        counts: Counts {
            requests: 130,
            attempts: 140,
            failed: 10,
            prompt_tokens: 100_000,
            completion_tokens: 40_000,
            cost: 1_500_000_000,
        },
        samples: (0..12).map(sample).collect(),
        awaited: vec![Awaited { model: "a/b:free".to_owned(), waiting: 2, until_ms: Some(NOW + 40_000) }],
        callers: vec![("ci".to_owned(), 2)],
        errors: vec![
            Failure {
                at_ms: NOW - 60_000,
                what: "no key".to_owned(),
                status: Some(503),
                ..Failure::default()
            },
            Failure {
                at_ms: NOW - 5_000,
                key: Some("ben".to_owned()),
                caller: Some("ci".to_owned()),
                model: Some("a/b\u{1b}[2J".to_owned()),
                what: "free requests of this day used up".to_owned(),
                status: Some(429),
            },
        ],
    }
}

fn app() -> App {
    App::new(about(), live(), false)
}

fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame)).unwrap();
    terminal.backend().to_string()
}

fn press(app: &mut App, keys: &str) -> Wanted {
    let codes = keys.chars().map(|letter| match letter {
        '\n' => KeyCode::Enter,
        '\u{1b}' => KeyCode::Esc,
        '<' => KeyCode::Backspace,
        '^' => KeyCode::Up,
        'v' => KeyCode::Down,
        letter => KeyCode::Char(letter),
    });
    codes.map(|code| app.press(KeyEvent::new(code, KeyModifiers::NONE))).last().unwrap()
}

fn names(app: &App) -> Vec<&str> {
    app.keys().iter().map(|key| key.name.as_str()).collect()
}

#[test]
fn the_screen_of_a_fixed_state_is_as_it_was_looked_over() {
    insta::assert_snapshot!("top-120x30", screen(&app(), 120, 30));
    insta::assert_snapshot!("top-80x24", screen(&app(), 80, 24));
    let mut helping = app();
    press(&mut helping, "?");
    insta::assert_snapshot!("top-help", screen(&helping, 80, 24));
}

#[test]
fn what_rests_and_until_when_is_seen_at_every_usual_width() {
    let mut app = app();
    let keys = &mut app.live.state.pool.keys;
    keys.truncate(1);
    for at in 0..3 {
        let name = format!("key-{at:02}-long-name-of-a-team");
        keys.push(key(&name, 1_000, vec![rest("free", "free_day", Some(NOW + 6_400_000))]));
    }
    for width in [60, 80, 100, 140] {
        let screen = screen(&app, width, 30);
        let row = screen.lines().find(|line| line.contains("key-00-")).unwrap();
        assert!(row.contains("free until 00:00 UTC"), "{screen}");
        assert!(row.contains("key-00-long-name-of-a-team") || row.contains("…"), "{screen}");
        assert!(screen.contains(" 22:13:20 UTC"), "{screen}");
        insta::assert_snapshot!(format!("top-long-names-{width}"), screen);
    }
    // A column in which nothing stands is not there.
    app.live.state.pool.keys.remove(0);
    assert!(!screen(&app, 200, 30).contains("cap left USD"));
}

#[test]
fn no_size_is_too_small() {
    let mut app = app();
    app.help = true;
    for (width, height) in [(1, 1), (3, 2), (10, 5), (40, 8), (20, 30), (300, 3)] {
        screen(&app, width, height);
    }
}

#[test]
fn nothing_of_a_name_moves_the_cursor() {
    assert!(!screen(&app(), 200, 30).contains('\u{1b}'));
}

#[test]
fn keys_are_sorted_and_turned_round() {
    let mut app = app();
    for (order, wanted) in [
        ("s", ["ann", "ben", "cay"]),
        ("s", ["ann", "ben", "cay"]),
        ("s", ["ben", "ann", "cay"]),
        ("s", ["ann", "ben", "cay"]),
        ("s", ["ann", "ben", "cay"]),
        ("s", ["cay", "ben", "ann"]),
        ("S", ["ann", "ben", "cay"]),
    ] {
        press(&mut app, order);
        assert_eq!(names(&app), wanted, "{}", app.sort.word());
    }
}

#[test]
fn the_filter_takes_names_accounts_and_reasons() {
    let mut app = app();
    for (typed, wanted) in [("/EN\n", &["ben"][..]), ("/<<account\n", &["ann"]), ("\u{1b}/refu", &["cay"])] {
        press(&mut app, typed);
        assert_eq!(names(&app), wanted, "{typed:?}");
    }
    assert_eq!(press(&mut app, "q"), Wanted::Nothing, "it belongs to the text");
    press(&mut app, "\u{1b}");
    assert_eq!(names(&app).len(), 3);
}

#[test]
fn the_chosen_key_stays_chosen_whatever_the_order() {
    let mut app = app();
    press(&mut app, "v");
    assert_eq!(press(&mut app, "r"), Wanted::Reset("ben".to_owned()));
    press(&mut app, "sss");
    assert_eq!(press(&mut app, "r"), Wanted::Reset("ben".to_owned()));
    assert_eq!(press(&mut app, "^^^r"), Wanted::Reset("ben".to_owned()), "it is the first now");
    assert_eq!(press(&mut app, "vvvvr"), Wanted::Reset("cay".to_owned()));
    press(&mut app, "/nobody\n");
    assert_eq!(press(&mut app, "r"), Wanted::Nothing);
}

#[test]
fn while_it_is_paused_nothing_moves_and_a_lost_server_is_told_after_it() {
    let mut app = app();
    press(&mut app, " ");
    app.take(Ok(None));
    assert!(app.lost.is_none() && screen(&app, 120, 30).contains(" paused "));
    press(&mut app, " ");
    app.take(Ok(None));
    assert!(screen(&app, 120, 30).contains("the server has ended"));
    app.take(Ok(Some((about(), live()))));
    assert!(app.lost.is_none());
}

#[test]
fn what_came_of_a_reset_is_told_until_the_next_key() {
    let mut app = app();
    for (ended, told) in [
        (Some(0), "nothing rested: ben"),
        (Some(2), "ended the cooldowns of ben and its account: 2 keys"),
        (None, "no such key, or no server: ben"),
    ] {
        app.take_reset("ben", Ok(ended));
        assert!(screen(&app, 120, 30).contains(told), "{told}");
    }
    press(&mut app, "v");
    assert!(!screen(&app, 120, 30).contains("no such key"));
}

#[test]
fn q_escape_and_control_c_quit() {
    assert_eq!(press(&mut app(), "q"), Wanted::Quit);
    assert_eq!(press(&mut app(), "\u{1b}"), Wanted::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app().press(control_c), Wanted::Quit);
    let mut typing = app();
    press(&mut typing, "/");
    assert_eq!(typing.press(control_c), Wanted::Quit);
}
