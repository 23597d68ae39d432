//! The control socket: a running server tells its live state and ends cooldowns, to its own user alone.
//!
//! `control.sock` in the data directory (mode 0600) takes one line of JSON, an [`Ask`], and answers with one line, a [`Reply`].

#[cfg(not(unix))]
mod absent;
pub mod client;
pub mod live;
#[cfg(unix)]
mod socket;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::live::Live;
use crate::clock::{Clock, Time};
use crate::keys::need::{Bind, Class, Need, Tried};
use crate::keys::pool::KeyPool;
use crate::keys::state::{PoolState, Verdict};

#[cfg(not(unix))]
pub use self::absent::Control;
#[cfg(unix)]
pub use self::socket::Control;

/// The socket's name in the data directory.
pub const FILE: &str = "control.sock";

/// What a server can be asked: `{"ask":"state"}`, `{"ask":"live"}`, `{"ask":"reset","key":"ann"}`, `{"ask":"explain","model":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// For its state.
    State,
    /// For its state and what led there.
    Live,
    /// To end the cooldowns of one key and its account.
    Reset {
        /// The name of the key; null for all of them. It has to be said: what is left out is not taken for all.
        #[serde(deserialize_with = "Option::deserialize")]
        key: Option<String>,
    },
    /// Which keys would serve a model now.
    Explain {
        /// The model's name.
        model: String,
    },
}

/// The answer, with whose it is: `{"server":{…},"state":{…}}`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Who answers.
    pub server: About,
    /// What was asked for.
    #[serde(flatten)]
    pub answer: Answer,
}

/// A running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// When it started, milliseconds since 1970 (UTC).
    pub started_ms: i64,
    /// Where it listens.
    pub address: String,
    /// The file that its keys come from.
    pub tokens: PathBuf,
}

/// What was asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Its state.
    State(State),
    /// Its state and what led there.
    Live(Box<Live>),
    /// How many keys had a cooldown that was ended.
    Reset(usize),
    /// For each key in the file's order, whether it would be chosen.
    Explain(Vec<Verdict>),
    /// Why there is no answer; [`NO_SUCH_KEY`], or a text for people.
    Error(String),
}

/// The error of a reset that names a key which is not there.
pub const NO_SUCH_KEY: &str = "no such key";

/// A server at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Requests under way upstream.
    pub in_flight: u64,
    /// Requests that wait for a key.
    #[serde(default)]
    pub waiting: Waiting,
    /// Whether the ledger cannot be written, so that it lacks what was counted lately.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwritten: bool,
    /// The keys.
    #[serde(flatten)]
    pub pool: PoolState,
}

/// The waiting room at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// Requests that wait.
    pub requests: usize,
    /// The callers they come from.
    pub callers: usize,
}

/// What a server shows of itself.
pub struct View {
    /// Who it is.
    pub server: About,
    /// Its keys.
    pub keys: KeyPool,
    /// Its time.
    pub clock: Clock,
    /// Its waiting room, looked at when it is asked for.
    pub waiting: Box<dyn Fn() -> Waiting + Send + Sync>,
    /// Whether its ledger cannot be written, looked at when it is asked for.
    pub unwritten: Box<dyn Fn() -> bool + Send + Sync>,
    /// What there is to tell besides the state, looked at when it is asked for.
    pub live: Box<dyn Fn() -> Live + Send + Sync>,
    /// Has what changed in the pool remembered at once.
    pub remember: Box<dyn Fn() + Send + Sync>,
}

impl View {
    /// The answer to one line.
    #[cfg_attr(not(unix), allow(dead_code, reason = "nobody asks there"))]
    fn answer(&self, line: &[u8]) -> Reply {
        let answer = match serde_json::from_slice(line) {
            Ok(ask) => self.obey(ask),
            Err(error) => Answer::Error(format!("not understood: {error}")),
        };
        Reply { server: self.server.clone(), answer }
    }

    fn state(&self, now: Time) -> State {
        let pool = self.keys.state(now);
        let in_flight = pool.keys.iter().map(|key| u64::from(key.in_flight)).sum();
        State { in_flight, waiting: (self.waiting)(), unwritten: (self.unwritten)(), pool }
    }

    fn obey(&self, ask: Ask) -> Answer {
        let now = self.clock.now();
        match ask {
            Ask::State => Answer::State(self.state(now)),
            Ask::Live => {
                Answer::Live(Box::new(Live { now_ms: now.0, state: self.state(now), ..(self.live)() }))
            }
            Ask::Reset { key } => match self.keys.reset(key.as_deref(), now) {
                Some(ended) => {
                    (self.remember)();
                    let whose = key.as_deref().unwrap_or("all");
                    tracing::info!("cooldowns ended by `hermux keys reset`, of {ended} keys: {whose}");
                    Answer::Reset(ended)
                }
                None => Answer::Error(NO_SUCH_KEY.to_owned()),
            },
            Ask::Explain { model } => Answer::Explain(explain(&self.keys, &model, now)),
        }
    }
}

/// For each key of `keys`, whether a request for `model` would be given it now.
#[must_use]
pub fn explain(keys: &KeyPool, model: &str, now: Time) -> Vec<Verdict> {
    // `OpenRouter` docs, Limits page: ids that end in `:free` draw on the free quota.
    let class = if model.ends_with(":free") { Class::Free } else { Class::Paid };
    keys.explain(&Need { model, class, bind: Bind::Free, keys: None, tried: &Tried::default() }, now)
}

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It did not take the question, or did not answer in time.
    #[error("can't ask the running server ({reason}): {}{}", path.display(), cure(reason))]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Its answer is none that this hermux knows.
    #[error(
        "the running server's answer is not understood: {}\n\
         hint: it may be of another version; restart it",
        path.display()
    )]
    Garbled {
        /// The socket.
        path: PathBuf,
    },
    /// There is none.
    #[error(
        "no server runs with this data directory: {}\n\
         hint: start one with `hermux serve`, or name its directory with --data-dir",
        directory.display()
    )]
    NoServer {
        /// The data directory.
        directory: PathBuf,
    },
    /// It says why it does not answer.
    #[error("the running server does not answer: {0}")]
    Refused(String),
}

fn cure(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::PermissionDenied => "\nhint: run this as the user that the server runs as",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use super::live::{Failure, Live};
    use super::{About, Answer, Ask, NO_SUCH_KEY, View, Waiting};
    use crate::clock::{Clock, Time};
    use crate::keys::pool::KeyPool;

    const NOW: Time = Time(1_700_000_000_000);

    pub(super) fn view() -> View {
        let server = About {
            version: "1.2.3".to_owned(),
            pid: 7,
            started_ms: NOW.0,
            address: "127.0.0.1:3333".to_owned(),
            tokens: PathBuf::from("/keys/tokens.csv"),
        };
        View {
            server,
            keys: KeyPool::new(Vec::new(), &HashMap::new(), NOW.day()),
            clock: Clock::fixed(NOW),
            waiting: Box::new(|| Waiting { requests: 2, callers: 1 }),
            unwritten: Box::new(|| false),
            live: Box::new(|| Live { errors: vec![Failure::default()], ..Live::default() }),
            remember: Box::new(|| {}),
        }
    }

    fn answer(line: &str) -> String {
        serde_json::to_string(&view().answer(line.as_bytes())).unwrap()
    }

    const SERVER: &str = r#"{"server":{"version":"1.2.3","pid":7,"started_ms":1700000000000,"address":"127.0.0.1:3333","tokens":"/keys/tokens.csv"},"#;

    #[test]
    fn the_answers_have_their_exact_shape() {
        let cases = [
            (
                r#"{"ask":"state"}"#,
                r#""state":{"in_flight":0,"waiting":{"requests":2,"callers":1},"keys":[]}}"#,
            ),
            (
                r#"{"ask":"live"}"#,
                concat!(
                    r#""live":{"now_ms":1700000000000,"state":{"in_flight":0,"waiting":{"requests":2,"callers":1},"keys":[]},"#,
                    r#""counts":{"requests":0,"attempts":0,"failed":0,"prompt_tokens":0,"completion_tokens":0,"cost":0},"#,
                    r#""samples":[],"awaited":[],"callers":[],"#,
                    r#""errors":[{"at_ms":0,"key":null,"caller":null,"model":null,"what":"","status":null}]}}"#
                ),
            ),
            (r#"{"ask":"reset","key":null}"#, r#""reset":0}"#),
            (r#"{"ask":"explain","model":"a/b:free"}"#, r#""explain":[]}"#),
        ];
        for (ask, expected) in cases {
            assert_eq!(answer(ask), format!("{SERVER}{expected}"));
        }
    }

    #[test]
    fn a_reset_is_remembered_before_it_is_answered() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(9);
        let view = View { remember: Box::new(move || sender.send(()).unwrap()), ..view() };
        let _ = view.answer(br#"{"ask":"reset","key":null}"#);
        assert!(receiver.try_recv().is_ok());
        let _ = view.answer(br#"{"ask":"reset","key":"nobody"}"#);
        assert!(receiver.try_recv().is_err(), "there is nothing to remember");
    }

    #[test]
    fn what_is_not_understood_is_answered_with_an_error() {
        for line in [
            "",
            "nonsense",
            "[]",
            "\"state\"",
            r#"{"ask":"sing"}"#,
            r#"{"ask":"explain"}"#,
            r#"{"ask":"reset"}"#,
            r#"{"ask":"reset","keys":"ann"}"#,
            r#"{"ask":"reset","key":7}"#,
        ] {
            let said = answer(line);
            assert!(said.starts_with(&format!(r#"{SERVER}"error":"not understood: "#)), "{line}: {said}");
        }
    }

    #[test]
    fn an_answer_reads_as_it_was_written() {
        for line in
            [r#"{"ask":"state"}"#, r#"{"ask":"explain","model":"a/b"}"#, r#"{"ask":"reset","key":null}"#, "?"]
        {
            let text = answer(line);
            let read: super::Reply = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        let ask = Ask::Reset { key: Some("ann \"x\"".to_owned()) };
        assert_eq!(serde_json::from_str::<Ask>(&serde_json::to_string(&ask).unwrap()).unwrap(), ask);
        assert!(
            matches!(Answer::Error(NO_SUCH_KEY.to_owned()), Answer::Error(text) if text == "no such key")
        );
    }
}
