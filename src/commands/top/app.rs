//! What is on the screen, and what the keys do to it; knows no terminal.

use std::cmp::Reverse;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::control::live::Live;
use crate::control::{About, AskError};
use crate::keys::state::KeyState;

/// By what the keys are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// As in tokens.csv.
    #[default]
    File,
    Name,
    InFlight,
    Used,
    FreeLeft,
    Cost,
    Rests,
}

impl Sort {
    const ALL: [Self; 7] =
        [Self::File, Self::Name, Self::InFlight, Self::Used, Self::FreeLeft, Self::Cost, Self::Rests];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::File => "as in tokens.csv",
            Self::Name => "name",
            Self::InFlight => "in flight",
            Self::Used => "used today",
            Self::FreeLeft => "free left",
            Self::Cost => "cost",
            Self::Rests => "what rests",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// What a key press asks for beyond the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    Quit,
    /// To end the cooldowns of the key with this name.
    Reset(String),
}

/// The state of the screen.
#[expect(clippy::struct_excessive_bools, reason = "each is on or off by a key of its own")]
#[derive(Debug)]
pub(super) struct App {
    pub(super) server: About,
    pub(super) live: Live,
    /// Why the last question was not answered.
    pub(super) lost: Option<String>,
    pub(super) colored: bool,
    pub(super) paused: bool,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    pub(super) filter: String,
    /// Whether the keyboard writes into the filter.
    pub(super) typing: bool,
    pub(super) help: bool,
    /// What came of the last command.
    pub(super) said: Option<String>,
    /// The name of the chosen key; where it is gone, the first is meant.
    chosen: String,
}

impl App {
    pub(super) fn new(server: About, live: Live, colored: bool) -> Self {
        // Not whichever comes first, so that none is meant that was not seen.
        let chosen = live.state.pool.keys.first().map(|key| key.name.clone()).unwrap_or_default();
        Self {
            server,
            live,
            lost: None,
            colored,
            paused: false,
            sort: Sort::default(),
            reversed: false,
            filter: String::new(),
            typing: false,
            help: false,
            said: None,
            chosen,
        }
    }

    /// Takes over what the server says, unless the screen is to stand still.
    pub(super) fn take(&mut self, news: Result<Option<(About, Live)>, AskError>) {
        if self.paused {
            return;
        }
        match news {
            Ok(Some((server, live))) => {
                (self.server, self.live, self.lost) = (server, live, None);
            }
            Ok(None) => self.lost = Some("the server has ended; waiting for the next one".to_owned()),
            Err(error) => self.lost = Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// Takes in what came of ending the cooldowns of the key `name`.
    pub(super) fn take_reset(&mut self, name: &str, ended: Result<Option<usize>, AskError>) {
        self.said = Some(match ended {
            Ok(Some(0)) => format!("nothing rested: {name}"),
            Ok(Some(1)) => format!("ended the cooldowns of {name}"),
            Ok(Some(keys)) => format!("ended the cooldowns of {name} and its account: {keys} keys"),
            Ok(None) => format!("no such key, or no server: {name}"),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        });
    }

    /// The keys that the filter lets through, in the order that was asked for.
    pub(super) fn keys(&self) -> Vec<&KeyState> {
        let wanted = self.filter.to_lowercase();
        let is_in = |text: &str| text.to_lowercase().contains(&wanted);
        let mut keys: Vec<_> = self.live.state.pool.keys.iter().collect();
        keys.retain(|key| {
            is_in(&key.name)
                || key.account.as_deref().is_some_and(is_in)
                || key.rests.iter().any(|rest| is_in(&rest.why))
        });
        match self.sort {
            Sort::File => {}
            Sort::Name => keys.sort_by(|a, b| a.name.cmp(&b.name)),
            Sort::InFlight => keys.sort_by_key(|key| Reverse(key.in_flight)),
            Sort::Used => keys.sort_by_key(|key| Reverse(key.used_today)),
            // Where there is no limit most is left.
            Sort::FreeLeft => keys.sort_by_key(|key| {
                (key.free_day_left.unwrap_or(u64::MAX), key.free_minute_left.unwrap_or(u64::MAX))
            }),
            Sort::Cost => keys.sort_by_key(|key| Reverse(key.cost_today)),
            // What needs a person first, then what lasts longest.
            Sort::Rests => keys.sort_by_key(|key| {
                let last = key.rests.iter().map(|rest| rest.until_ms.unwrap_or(i64::MAX)).max();
                Reverse(last.unwrap_or(i64::MIN))
            }),
        }
        if self.reversed {
            keys.reverse();
        }
        keys
    }

    /// The place of the chosen key among [`keys`](Self::keys).
    pub(super) fn chosen(&self, keys: &[&KeyState]) -> Option<usize> {
        let place = keys.iter().position(|key| key.name == self.chosen).unwrap_or(0);
        (!keys.is_empty()).then_some(place)
    }

    fn choose(&mut self, step: isize) {
        let keys = self.keys();
        let Some(place) = self.chosen(&keys) else { return };
        let name = keys[place.saturating_add_signed(step).min(keys.len() - 1)].name.clone();
        self.chosen = name;
    }

    /// Does what a key asks for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wanted {
        self.said = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wanted::Quit } else { Wanted::Nothing };
        }
        if self.help {
            self.help = false;
            // What is pressed to be rid of the help does nothing else, but quit.
            return if key.code == KeyCode::Char('q') { Wanted::Quit } else { Wanted::Nothing };
        }
        if self.typing {
            self.type_filter(key.code);
            return Wanted::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Wanted::Quit,
            KeyCode::Esc if self.filter.is_empty() => return Wanted::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('S') => self.reversed = !self.reversed,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::PageUp => self.choose(-10),
            KeyCode::PageDown => self.choose(10),
            KeyCode::Home | KeyCode::Char('g') => self.choose(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.choose(isize::MAX),
            KeyCode::Char('r') => {
                let keys = self.keys();
                if let Some(place) = self.chosen(&keys) {
                    return Wanted::Reset(keys[place].name.clone());
                }
            }
            _ => {}
        }
        Wanted::Nothing
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }
}
