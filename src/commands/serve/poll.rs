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
use super::ask::Asker;
use crate::clock::Time;
use crate::keys::need::Told;
use crate::keys::{Key, KeyName};
use crate::openrouter::account::{KeyInfo, Period};
use crate::openrouter::fault::{self, Kind};
use crate::proxy::Shared;

/// How many questions may be open at once.
const OPEN: usize = 4;

/// The least and the most time between two questions, milliseconds: at most 5 a second.
const BETWEEN_MS: std::ops::RangeInclusive<u64> = 200..=300;

/// How long the first question waits at most, milliseconds, so that processes started together ask apart.
const FIRST_MS: u64 = 500;

/// The longest id of an account that is believed, bytes; `user_…` has about 32.
const LONGEST_ID: usize = 128;

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
                    let Ok(Asked { key, at, said }) = done else { continue };
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
                            take_over(&shared, name, said, at);
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
                        open.spawn(ask(self.asker.clone(), key, now));
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
    /// When it was asked.
    at: Time,
    said: Result<Said, String>,
}

/// What an answer says.
#[derive(Debug)]
pub(in crate::commands) enum Said {
    Info(Box<KeyInfo>),
    /// The key is refused.
    Refused,
}

async fn ask(asker: Asker, key: Key, at: Time) -> Asked {
    let said = about(&asker, &key, at).await;
    Asked { key, at, said }
}

/// Asks about one key; the error says why that told nothing, without any secret.
pub(in crate::commands) async fn about(asker: &Asker, key: &Key, now: Time) -> Result<Said, String> {
    let answer = asker.get("/key", key).await?;
    if answer.status.is_success() {
        let info = KeyInfo::parse(&answer.body).ok_or_else(|| "an answer that tells of no key".to_owned())?;
        return Ok(Said::Info(Box::new(info)));
    }
    match fault::classify(answer.status, &answer.headers, &answer.body, now).map(|fault| fault.kind) {
        Some(Kind::KeyRefused) => Ok(Said::Refused),
        Some(kind) => Err(format!("status {}, {kind}", answer.status.as_u16())),
        None => Err(format!("status {}", answer.status.as_u16())),
    }
}

fn take_over(shared: &Shared, name: &KeyName, said: Said, at: Time) {
    let now = shared.clock.now();
    match said {
        Said::Info(info) => {
            tracing::debug!(key = %name, "GET /key told its limits");
            shared.keys.learn(name, &told(&info, at), at, now);
        }
        Said::Refused => {
            tracing::debug!(key = %name, "GET /key refused it");
            shared.keys.learn_refused(name, now);
        }
    }
    shared.remember();
}

/// What an answer of `GET /key`, asked at `at`, means for the pool.
fn told(info: &KeyInfo, at: Time) -> Told {
    // Answers before `limit_remaining` was there tell the cap and what was spent.
    let spent = match info.limit_reset {
        None => info.usage,
        Some(Period::Daily) => info.usage_daily,
        Some(Period::Weekly) => info.usage_weekly,
        Some(Period::Monthly) => info.usage_monthly,
    };
    let left = info.limit_remaining.or_else(|| Some(info.limit?.saturating_sub(spent?)));
    let free = info.free_model_daily_requests.unwrap_or_default();
    Told {
        account: info.account_id().filter(|id| id.len() <= LONGEST_ID).map(Into::into),
        cap_left: left,
        cap_resets: left.and(info.limit_reset).map(|period| period.end(at)),
        expires: info.expires_at,
        free_tier: info.is_free_tier,
        free_used: free.used.or_else(|| Some(free.limit?.saturating_sub(free.remaining?))),
        free_limit: free.limit,
        management: info.is_management_key == Some(true),
    }
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

    use super::{FAILURES, Luck, RARELY, told};
    use crate::clock::Time;
    use crate::keys::need::Told;
    use crate::openrouter::account::KeyInfo;

    /// 2026-11-22T12:00:00Z, a Sunday.
    const NOON: Time = Time(1_795_348_800_000);

    fn told_by(data: &str) -> Told {
        let info = KeyInfo::parse(format!(r#"{{"data":{data}}}"#).as_bytes()).expect("an answer");
        told(&info, NOON)
    }

    #[test]
    fn an_answer_becomes_what_the_pool_wants_to_know() {
        let all = told_by(
            r#"{"limit":100,"limit_remaining":74.5,"limit_reset":"weekly","usage":25.5,"is_free_tier":true,
                "is_management_key":true,"free_model_daily_requests":{"used":12,"limit":50,"remaining":38},
                "creator_user_id":"user_1","organization_id":"org_1","expires_at":"2027-01-01T00:00:00Z"}"#,
        );
        let expected = Told {
            account: Some("org_1".into()),
            cap_left: Some(74_500_000_000),
            cap_resets: Some(Time(NOON.0 + 12 * 3_600_000)),
            expires: Some(Time(1_798_761_600_000)),
            free_tier: Some(true),
            free_used: Some(12),
            free_limit: Some(50),
            management: true,
        };
        assert_eq!(all, expected);
        assert_eq!(told_by("{}"), Told::default());
    }

    #[test]
    fn what_is_left_is_worked_out_where_the_answer_does_not_say() {
        let left = |data| told_by(data).cap_left;
        assert_eq!(left(r#"{"limit":10,"usage":4}"#), Some(6_000_000_000));
        assert_eq!(
            left(r#"{"limit":10,"limit_reset":"daily","usage":400,"usage_daily":1}"#),
            Some(9_000_000_000)
        );
        assert_eq!(left(r#"{"limit":10,"limit_reset":"monthly","usage":400}"#), None);
        assert_eq!(left(r#"{"limit":null,"limit_remaining":null,"usage":400}"#), None);
        // A period without a cap is none that ends.
        assert_eq!(told_by(r#"{"limit":null,"limit_reset":"daily"}"#).cap_resets, None);
        let free = told_by(r#"{"free_model_daily_requests":{"limit":50,"remaining":38}}"#);
        assert_eq!((free.free_used, free.free_limit), (Some(12), Some(50)));
    }

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
