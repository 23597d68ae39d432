//! Asks `GET /key` about the keys, in the background: what `OpenRouter` tells of their accounts, limits and ends.
//!
//! Nothing waits for it, and everything works without it: what it would tell is then learned from answers.

pub(in crate::commands) mod check;
mod schedule;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::check::Check;
use self::schedule::Schedule;
use crate::commands::ask::{Asker, Said, told};
use crate::keys::need::Question;
use crate::keys::{Key, KeyName};
use crate::proxy::Shared;

/// How many questions may be open at once.
const OPEN: usize = 4;

/// The least and the most time between two questions, milliseconds: at most 5 a second.
const BETWEEN_MS: std::ops::RangeInclusive<u64> = 200..=300;

/// How long the first question waits at most, milliseconds, so that processes started together ask apart.
const FIRST_MS: u64 = 500;

/// How often the pool is looked at for keys that came into use or to rest.
const LOOK: Duration = Duration::from_secs(15);

/// After how many failures in a row questions become rare, and how long apart they get at most.
const FAILURES: u32 = 4;
const RARELY: Duration = Duration::from_secs(60);

/// After how long without any answer a person is told.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// What is needed to ask.
pub(super) struct Poll {
    keys: Vec<Key>,
    /// The keys of a changed file.
    reloads: UnboundedReceiver<Vec<Key>>,
    asker: Asker,
    data_dir: PathBuf,
}

impl Poll {
    /// Prepares to ask; asks nothing yet.
    pub(super) fn new(
        asker: Asker,
        keys: Vec<Key>,
        reloads: UnboundedReceiver<Vec<Key>>,
        data_dir: PathBuf,
    ) -> Self {
        Self { keys, reloads, asker, data_dir }
    }

    /// Asks for as long as it is polled itself.
    pub(super) async fn run(mut self, shared: Arc<Shared>) {
        let now = || shared.clock.now();
        let check = Check::new(std::mem::take(&mut self.data_dir), &shared);
        let mut schedule = Schedule::default();
        schedule.replace(self.keys);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = JoinSet::new();
        let mut luck = Luck::default();
        // The next question may be asked from `free` on; the next turn is when there may be one.
        let mut free = Instant::now() + Duration::from_millis(rand::random_range(0..=FIRST_MS));
        let mut turn = free;
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => {
                    schedule.look(shared.keys.glance(now()));
                    turn = free;
                }
                Some(keys) = self.reloads.recv() => {
                    schedule.replace(keys);
                    turn = free;
                }
                Some(done) = open.join_next() => {
                    turn = free;
                    let Ok(Asked { key, question, said }) = done else { continue };
                    luck.note(said.as_ref().err());
                    if !schedule.has(&key) {
                        // Its row is gone, or has another secret by now, of which this says nothing.
                        continue;
                    }
                    let name = key.name();
                    match said {
                        Ok(said) => {
                            schedule.answered(name, now());
                            if let Said::Info(info) = &said {
                                check.told(&shared, &key, info);
                            }
                            take_over(&shared, name, said, question);
                        }
                        Err(problem) => {
                            schedule.failed(name, now());
                            tracing::debug!(key = %name, "GET /key told nothing: {problem}");
                        }
                    }
                }
                () = sleep_until(turn), if open.len() < OPEN => {
                    let now = now();
                    if let Some(key) = schedule.next(now) {
                        free = Instant::now() + luck.pause();
                        turn = free;
                        let question = shared.keys.question(key.name(), now);
                        open.spawn(ask(self.asker.clone(), key, question));
                    } else {
                        let pause = schedule.first().map_or(LOOK, |first| first.since(now).min(LOOK));
                        turn = Instant::now() + pause;
                    }
                }
            }
        }
    }
}

/// What became of a question.
struct Asked {
    key: Key,
    question: Question,
    said: Result<Said, String>,
}

async fn ask(asker: Asker, key: Key, question: Question) -> Asked {
    let said = asker.ask(&key, question.asked).await;
    Asked { key, question, said }
}

fn take_over(shared: &Shared, name: &KeyName, said: Said, question: Question) {
    let now = shared.clock.now();
    match said {
        Said::Info(info) => {
            tracing::debug!(key = %name, "GET /key told its limits");
            shared.keys.learn(name, &told(&info, question.asked), question, now);
        }
        Said::Refused => {
            tracing::debug!(key = %name, "GET /key refused it");
            shared.keys.learn_refused(name, now);
        }
    }
    shared.remember();
}

/// How it went lately.
#[derive(Debug, Default)]
struct Luck {
    /// Failures in a row, and since when.
    failures: u32,
    since: Option<Instant>,
    has_warned: bool,
}

impl Luck {
    fn note(&mut self, problem: Option<&String>) {
        let Some(problem) = problem else {
            *self = Self::default();
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SILENCE && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                "GET /key has told nothing for {} minutes, so limits and accounts are learned from answers alone \
                 (--no-poll stops asking): {problem}",
                SILENCE.as_secs() / 60,
            );
        }
    }

    /// How long to wait until the next question.
    fn pause(&self) -> Duration {
        let usual = Duration::from_millis(rand::random_range(BETWEEN_MS));
        match self.failures.checked_sub(FAILURES) {
            None => usual,
            Some(more) => usual.max(Duration::from_secs(1 << more.min(16)).min(RARELY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FAILURES, Luck, RARELY};

    #[test]
    fn questions_are_200_ms_apart_and_rare_while_none_is_answered() {
        let problem = "no route".to_owned();
        let mut luck = Luck::default();
        for _ in 0..FAILURES {
            assert!((200..=300).contains(&luck.pause().as_millis()));
            luck.note(Some(&problem));
        }
        assert_eq!(luck.pause(), Duration::from_secs(1));
        (0..1_000).for_each(|_| luck.note(Some(&problem)));
        assert_eq!(luck.pause(), RARELY);
        luck.note(None);
        assert!(luck.pause() <= Duration::from_millis(300));
    }
}
