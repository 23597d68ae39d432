//! What of the pool outlives the process, in compact JSON.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::Key;
use super::super::quota::{Cooldown, Window};
use super::super::state::Fact;
use super::account::{Account, AccountId};
use super::slot::Slot;
use super::stock::{Changed, Stock};
use crate::clock::{Day, Time};

/// The form that is written, and the only one that is read.
const FORM: u8 = 1;

/// How many facts are written down in one go, about 1 ms.
const AT_ONCE: usize = 256;

const COLUMN: &str = "column:";
const LEARNED: &str = "id:";

/// A cooldown: its end (milliseconds since 1970), how often it was doubled, whether an attempt ends it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rest(i64, u8, bool);

/// What was left of a key's cap, what the key had spent that day, and which day, counted from 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Left(i64, i64, i32);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KeyFact {
    form: u8,
    /// The beginning of the key's SHA-256: what is known of one key is not true of the next one of its name.
    of: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    management: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Rest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cap: Option<Rest>,
    #[serde(default, skip_serializing_if = "is_empty")]
    unidentified: [Option<Rest>; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<Left>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resets: Option<i64>,
    /// The UTC day, counted from 1970, and how many free requests of it were sent with the row's secrets before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<(i32, u64)>,
    /// Its account, where nothing names that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<AccountFact>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct AccountFact {
    form: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minute: Option<WindowFact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day: Option<WindowFact>,
    /// The UTC day, counted from 1970, and how many more free requests it had than were sent from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    more: Option<(i32, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_credits: Option<Rest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_credits_free: Option<Rest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_flight: Option<Rest>,
}

/// What was told of a window: its size, its size while none is told, and until when it is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WindowFact(Option<u64>, Option<u64>, Option<i64>);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn is_empty(rests: &[Option<Rest>; 3]) -> bool {
    rests.iter().all(Option::is_none)
}

impl From<Cooldown> for Rest {
    fn from(cooldown: Cooldown) -> Self {
        Self(cooldown.until.0, cooldown.step, cooldown.alone)
    }
}

impl Rest {
    fn cooldown(self, now: Time) -> Cooldown {
        let Self(until, step, alone) = self;
        // Since when does not matter any more: only faults of the same moment are compared.
        Cooldown { since: Time(i64::MIN / 2).min(now), until: Time(until), step, alone, probe: None }
    }
}

impl WindowFact {
    fn of(window: &Window, assumed: Option<u64>) -> Option<Self> {
        let told = (window.told, window.assumed.filter(|_| window.assumed != assumed));
        let fact = Self(told.0, told.1, window.rest.map(|rest| rest.0));
        (fact != Self(None, None, None)).then_some(fact)
    }

    fn recall(self, window: &mut Window) {
        window.told = self.0.or(window.told);
        window.assumed = self.1.or(window.assumed);
        window.rest = self.2.map(Time).or(window.rest);
    }
}

impl AccountId {
    /// The id of its facts.
    pub(super) fn text(&self) -> Box<str> {
        match self {
            Self::Column(name) => format!("{COLUMN}{name}").into(),
            Self::Learned(id) => format!("{LEARNED}{id}").into(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let column = text.strip_prefix(COLUMN).map(|name| Self::Column(name.into()));
        column.or_else(|| text.strip_prefix(LEARNED).map(|id| Self::Learned(id.into())))
    }
}

/// The beginning of the SHA-256 of a key, which tells nothing of it.
fn digest(key: &Key) -> Box<str> {
    use std::fmt::Write;
    Sha256::digest(key.expose().as_bytes())[..8]
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
        .into()
}

impl Account {
    /// What there is to remember; `sent` is how many free requests its keys sent today.
    fn fact(&self, sent: u64, now: Time) -> Option<AccountFact> {
        let used = self.day.covers(now).then(|| self.day.used(now));
        let more = used.map_or(0, |used| used.cast_signed().saturating_sub(sent.cast_signed()));
        let fact = AccountFact {
            form: FORM,
            minute: WindowFact::of(&self.minute, Window::minute().assumed),
            day: WindowFact::of(&self.day, None),
            more: (more != 0).then(|| (now.day().0, more)),
            no_credits: self.no_credits.map(Rest::from),
            no_credits_free: self.no_credits_free.map(Rest::from),
            in_flight: self.in_flight.map(Rest::from),
        };
        let is_empty = fact.minute.is_none()
            && fact.day.is_none()
            && fact.more.is_none()
            && fact.no_credits.is_none()
            && fact.no_credits_free.is_none()
            && fact.in_flight.is_none();
        (!is_empty).then_some(fact)
    }

    fn recall(&mut self, fact: &AccountFact, now: Time) {
        if fact.form != FORM {
            return;
        }
        if let Some(minute) = fact.minute {
            minute.recall(&mut self.minute);
        }
        if let Some(day) = fact.day {
            day.recall(&mut self.day);
        }
        let rest = |fact: Option<Rest>| fact.map(|rest| rest.cooldown(now));
        self.no_credits = rest(fact.no_credits).or(self.no_credits);
        self.no_credits_free = rest(fact.no_credits_free).or(self.no_credits_free);
        self.in_flight = rest(fact.in_flight).or(self.in_flight);
    }

    /// Corrects what its keys sent today by what was told of it.
    fn correct(&mut self, fact: &AccountFact, now: Time) {
        if let Some((day, more)) = fact.more
            && Day(day) == now.day()
        {
            self.day.correct(self.day.used(now).saturating_add_signed(more), now);
            self.reported = Some(now);
        }
    }
}

impl Slot {
    fn fact(&self, own: Option<AccountFact>, today: Day) -> Option<KeyFact> {
        let known = &self.known;
        let fact = KeyFact {
            form: FORM,
            of: digest(&self.key),
            told: known.told.clone(),
            said: known.said.clone(),
            expires: known.expires.map(|expires| expires.0),
            management: known.management,
            refused: known.refused.map(Rest::from),
            cap: known.cap.map(Rest::from),
            unidentified: known.unidentified.map(|rest| rest.map(Rest::from)),
            left: known.cap_left.map(|left| Left(left, self.cost, today.0)),
            resets: known.cap_resets.map(|resets| resets.0),
            before: (self.free_before > 0).then_some((today.0, self.free_before)),
            own,
        };
        let is_empty = fact.told.is_none()
            && fact.said.is_none()
            && fact.expires.is_none()
            && !fact.management
            && fact.refused.is_none()
            && fact.cap.is_none()
            && is_empty(&fact.unidentified)
            && fact.left.is_none()
            && fact.before.is_none()
            && fact.own.is_none();
        (!is_empty).then_some(fact)
    }

    fn recall(&mut self, fact: &KeyFact, today: Day, now: Time) {
        let rest = |fact: Option<Rest>| fact.map(|rest| rest.cooldown(now));
        let known = &mut self.known;
        known.told.clone_from(&fact.told);
        known.said.clone_from(&fact.said);
        known.expires = fact.expires.map(Time);
        known.management = fact.management;
        known.refused = rest(fact.refused);
        known.cap = rest(fact.cap);
        known.unidentified = fact.unidentified.map(rest);
        known.cap_resets = fact.resets.map(Time);
        if let Some(Left(left, spent, day)) = fact.left {
            // What was spent since then was spent today, save at a day's turn.
            // The last of it may be known to this and not to the ledger.
            let since = if Day(day) == today { self.cost.saturating_sub(spent).max(0) } else { self.cost };
            known.cap_left = Some(left.saturating_sub(since));
            if self.cap_left(now).is_some_and(|left| left <= 0) && self.known.cap.is_none() {
                self.cap_spent(None, now);
            }
        }
    }
}

impl Stock {
    /// What changed since the last call, as much of it as takes no time worth the name.
    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        // An account may be there again under an id that was gone.
        self.changed.sort_by_key(|changed| !matches!(changed, Changed::Gone(_)));
        let rest = self.changed.split_off(self.changed.len().min(AT_ONCE));
        let changed = std::mem::replace(&mut self.changed, rest);
        changed.into_iter().filter_map(|changed| self.fact(changed)).collect()
    }

    fn fact(&mut self, changed: Changed) -> Option<Fact> {
        Some(match changed {
            Changed::Gone(fact) => fact,
            Changed::Key(at) => {
                let slot = &mut self.slots[at];
                slot.changed = false;
                let account = &self.accounts[slot.account];
                let own = account.id.is_none().then(|| account.fact(slot.free, self.now)).flatten();
                let value = slot.fact(own, self.day).and_then(|fact| serde_json::to_string(&fact).ok());
                Fact { kind: "key", id: slot.key.name().as_str().into(), value }
            }
            Changed::Account(place) => {
                let account = &mut self.accounts[place];
                account.changed = false;
                // One that turned out to be another has none any more.
                let id = account.id.as_ref()?.text();
                let sent = account.keys.iter().map(|&at| self.slots[at].free).sum();
                let value = account.fact(sent, self.now).and_then(|fact| serde_json::to_string(&fact).ok());
                Fact { kind: "account", id, value }
            }
        })
    }

    /// Takes over what was remembered.
    pub(super) fn restore(&mut self, facts: &[(String, String, String)], now: Time) {
        let mut accounts = Vec::new();
        for (_, id, value) in facts.iter().filter(|(kind, ..)| kind == "account") {
            let Some(id) = AccountId::parse(id) else { continue };
            let Ok(fact) = serde_json::from_str::<AccountFact>(value) else { continue };
            let place = match self.by_id.get(&id) {
                Some(&place) => place,
                None => self.new_account(Some(id.clone())),
            };
            self.accounts[place].recall(&fact, now);
            accounts.push((id, fact));
        }
        for (_, name, value) in facts.iter().filter(|(kind, ..)| kind == "key") {
            let Ok(fact) = serde_json::from_str::<KeyFact>(value) else { continue };
            match super::super::KeyName::parse(name).ok().and_then(|name| self.by_name.get(&name).copied()) {
                Some(at) => {
                    self.recall(at, fact, now);
                    self.gather(at, now);
                }
                None => {
                    self.unclaimed.insert(name.as_str().into(), fact);
                }
            }
        }
        for (id, fact) in accounts {
            // Its keys are together now, and so is what they sent.
            if let Some(&place) = self.by_id.get(&id) {
                self.accounts[place].correct(&fact, now);
            }
        }
        for account in 0..self.accounts.len() {
            self.warn_of(account, now);
            self.came_back |= self.refresh_account(account, now);
        }
    }

    /// Takes over what was remembered of a key, where its row still has the same.
    pub(super) fn recall(&mut self, at: usize, fact: KeyFact, now: Time) {
        let today = self.day;
        let slot = &mut self.slots[at];
        if fact.form != FORM || fact.of != digest(&slot.key) {
            return;
        }
        slot.recall(&fact, today, now);
        let account = &mut self.accounts[slot.account];
        if let Some((day, before)) = fact.before
            && Day(day) == today
        {
            let before = before.min(slot.free);
            (slot.free, slot.free_before) = (slot.free - before, before);
            account.day.correct(account.day.used(now).saturating_sub(before), now);
        }
        if let Some(own) = fact.own.filter(|_| account.id.is_none()) {
            account.recall(&own, now);
            account.correct(&own, now);
        }
    }
}
