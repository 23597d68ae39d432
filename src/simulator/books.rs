//! The simulator's own books: accounts, keys, quota windows, and what every key used, to the nano-dollar.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::asked::tokens_of;
use super::errors::{self, Cause, Denial};
use super::scenario::{Account, Key, Model, Quirk, Reset, Scenario};
use crate::clock::{Day, Time};

const MINUTE_MS: i64 = 60_000;

/// What `Retry-After` says while requests in flight hold the credits.
const IN_FLIGHT_SECONDS: u64 = 1;

/// How long a conversation stays warm after its last turn (`OpenRouter` docs, Prompt caching page).
const WARM: Duration = Duration::from_secs(600);

/// What a key used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key's name.
    pub key: String,
    /// Requests for inference that were let in.
    pub requests: u64,
    /// Requests for inference that were refused for want of quota or credits.
    pub refused: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Those of them that were read from a warm cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// The cost, nano-dollars.
    pub cost: i64,
}

/// One answer of a model.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) id: String,
    account: usize,
    key: usize,
    pub(super) model: Model,
    pub(super) created: Time,
    pub(super) streamed: bool,
    pub(super) prompt_tokens: u64,
    /// Those of them that the account's last turn made warm.
    pub(super) cached_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cost: i64,
    /// What its whole answer may cost, held until it is settled.
    reserved: i64,
    /// The prompt it leaves warm.
    prompt: u64,
    pub(super) finish: &'static str,
    pub(super) cancelled: bool,
    /// When it was settled.
    pub(super) ended: Option<Time>,
}

/// Where a key stands in the books: its account and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyId {
    account: usize,
    key: usize,
}

#[derive(Debug)]
struct AccountBook {
    account: Account,
    keys: Vec<KeyBook>,
    used: i64,
    day: Day,
    free_today: u32,
    minute: i64,
    free_this_minute: u32,
    /// When the latest requests to free models were counted, as far back as `GET /key` lags.
    counted: VecDeque<Time>,
    /// What open generations may cost together, nano-dollars.
    reserved: i64,
    /// Prompts that are warm, by model and hash: their tokens, and when they were last read.
    warm: HashMap<(String, u64), (u64, Time)>,
}

#[derive(Debug)]
struct KeyBook {
    usage: KeyUsage,
    // The number of the current day, week and month, and what was spent in each.
    spent: [(i64, i64); 3],
}

/// The books.
#[derive(Debug)]
pub(super) struct Books {
    accounts: Vec<AccountBook>,
    generations: HashMap<String, Generation>,
    key_lag: Duration,
    quirks: Vec<Quirk>,
}

impl Books {
    pub(super) fn new(scenario: &Scenario, now: Time) -> Self {
        let open = |account: Account| AccountBook {
            keys: account.keys.iter().map(KeyBook::new).collect(),
            used: 0,
            day: now.day(),
            free_today: account.free_used,
            minute: now.0.div_euclid(MINUTE_MS),
            free_this_minute: 0,
            counted: VecDeque::new(),
            reserved: 0,
            warm: HashMap::new(),
            account,
        };
        Self {
            accounts: scenario.accounts.iter().cloned().map(open).collect(),
            generations: HashMap::new(),
            key_lag: scenario.key_lag,
            quirks: scenario.quirks.clone(),
        }
    }

    /// The key with this secret, where it is one that may still ask.
    pub(super) fn find(&self, secret: &str, now: Time) -> Option<KeyId> {
        let (id, key) = self.keys().find(|(_, key)| key.secret == secret)?;
        let expired = key.expires.is_some_and(|end| end <= now);
        (!key.disabled && !expired).then_some(id)
    }

    /// The name of the key with this secret and the id of its account, whatever their state.
    pub(super) fn name(&self, secret: &str) -> Option<(&str, &str)> {
        let (id, key) = self.keys().find(|(_, key)| key.secret == secret)?;
        Some((key.name.as_str(), self.account(id).id.as_str()))
    }

    fn keys(&self) -> impl Iterator<Item = (KeyId, &Key)> {
        self.accounts.iter().enumerate().flat_map(|(account, book)| {
            let keys = book.account.keys.iter().enumerate();
            keys.map(move |(key, value)| (KeyId { account, key }, value))
        })
    }

    pub(super) fn key(&self, id: KeyId) -> &Key {
        &self.accounts[id.account].account.keys[id.key]
    }

    pub(super) fn account(&self, id: KeyId) -> &Account {
        &self.accounts[id.account].account
    }

    /// Changes the account that owns the key `name`; its list of keys must keep its length and order.
    pub(super) fn change_account(&mut self, name: &str, change: impl FnOnce(&mut Account)) {
        let owner =
            self.accounts.iter_mut().find(|book| book.account.keys.iter().any(|key| key.name == name));
        if let Some(book) = owner {
            change(&mut book.account);
        }
    }

    /// Counts a request for `model` by `id` and says whether it may go on. A refused one counts against the
    /// windows of free models as well, as on the real thing.
    pub(super) fn admit(
        &mut self,
        id: KeyId,
        model: &Model,
        prompt: u64,
        output: u64,
        now: Time,
    ) -> Result<(), Denial> {
        let book = &mut self.accounts[id.account];
        book.turn(now);
        let mut verdict = book.allows(id.key, model, prompt, output, now);
        if let Err(denial) = &mut verdict
            && denial.cause == Some(Cause::Cap)
            && self.quirks.contains(&Quirk::CapsAre402)
        {
            *denial = errors::key_limit_402("total").user(&book.account.id);
        }
        let usage = &mut book.keys[id.key].usage;
        match verdict {
            Ok(()) => usage.requests += 1,
            Err(_) => usage.refused += 1,
        }
        verdict
    }

    /// Opens a generation from the prompt `texts`, of which at most `output` tokens will be written; nothing of it
    /// is charged before it is settled.
    pub(super) fn open(&mut self, id: KeyId, mut generation: Generation, texts: &[String], output: u64) {
        let book = &mut self.accounts[id.account];
        (generation.account, generation.key) = (id.account, id.key);
        (generation.prompt, generation.cached_tokens) =
            book.read(&generation.model, texts, generation.created);
        generation.reserved = cost(&generation.model, generation.prompt_tokens, 0, output);
        book.reserved += generation.reserved;
        self.generations.insert(generation.id.clone(), generation);
    }

    /// How many tokens of a generation's prompt are read from a warm cache.
    pub(super) fn cached(&self, id: &str) -> u64 {
        self.generations.get(id).map_or(0, |generation| generation.cached_tokens)
    }

    /// Forgets a generation of which nothing came, and that nobody pays.
    pub(super) fn abandon(&mut self, id: &str) {
        if let Some(generation) = self.generations.remove(id) {
            self.accounts[generation.account].reserved -= generation.reserved;
        }
    }

    /// Ends a generation and charges it: `completion` tokens were written.
    pub(super) fn settle(&mut self, id: &str, completion: u64, cancelled: bool, now: Time) {
        let Some(generation) = self.generations.get_mut(id).filter(|generation| generation.ended.is_none())
        else {
            return;
        };
        generation.completion_tokens = completion;
        let (prompt, cached) = (generation.prompt_tokens, generation.cached_tokens);
        generation.cost = cost(&generation.model, prompt, cached, completion);
        generation.cancelled = cancelled;
        generation.ended = Some(now);
        let book = &mut self.accounts[generation.account];
        book.used += generation.cost;
        book.reserved -= generation.reserved;
        if generation.model.cached_price.is_some() {
            book.warm.insert((generation.model.id.clone(), generation.prompt), (prompt, now));
        }
        book.keys[generation.key].charge(generation, now);
    }

    /// A generation that the account of `asker` made and that was settled before `settled_by`.
    pub(super) fn generation(&self, id: &str, asker: KeyId, settled_by: Time) -> Option<&Generation> {
        let generation = self.generations.get(id)?;
        let ready = generation.ended.is_some_and(|ended| ended <= settled_by);
        let owner = KeyId { account: generation.account, key: generation.key };
        (self.shares(owner, asker) && ready).then_some(generation)
    }

    /// Whether what the key `owner` made is known to the key `asker`.
    pub(super) fn shares(&self, owner: KeyId, asker: KeyId) -> bool {
        owner == asker || (owner.account == asker.account && !self.quirks.contains(&Quirk::OwnedByKey))
    }

    /// What every key used, in the scenario's order.
    pub(super) fn usage(&self) -> Vec<KeyUsage> {
        self.accounts.iter().flat_map(|book| book.keys.iter().map(|key| key.usage.clone())).collect()
    }

    /// Credits bought and used by the account of `id`, nano-dollars.
    pub(super) fn credits(&self, id: KeyId) -> (i64, i64) {
        let book = &self.accounts[id.account];
        (book.account.credits, book.used)
    }

    /// Spent by the key `id` in all, today, this week, this month, nano-dollars.
    pub(super) fn spent(&self, id: KeyId, now: Time) -> [i64; 4] {
        let key = &self.accounts[id.account].keys[id.key];
        let [day, week, month] = [0, 1, 2].map(|span| key.spent_in(span, now));
        [key.usage.cost, day, week, month]
    }

    /// Requests to free models told of today and allowed a day, for the account of `id`.
    pub(super) fn free_today(&mut self, id: KeyId, now: Time) -> (u32, u32) {
        let lag = self.key_lag;
        let book = &mut self.accounts[id.account];
        book.turn(now);
        book.counted.retain(|at| now.since(*at) < lag);
        let untold = u32::try_from(book.counted.len()).unwrap_or(u32::MAX);
        (book.free_today.saturating_sub(untold), book.account.daily_free())
    }
}

impl AccountBook {
    /// Opens new windows where the old ones have ended.
    fn turn(&mut self, now: Time) {
        if self.day != now.day() {
            (self.day, self.free_today) = (now.day(), 0);
            self.counted.clear();
        }
        let minute = now.0.div_euclid(MINUTE_MS);
        if self.minute != minute {
            (self.minute, self.free_this_minute) = (minute, 0);
        }
    }

    /// The hash of the prompt `texts`, and how many of its tokens are warm: those of the longest beginning that
    /// was a prompt of its own.
    fn read(&self, model: &Model, texts: &[String], now: Time) -> (u64, u64) {
        let (mut hasher, mut cached) = (DefaultHasher::new(), 0);
        for text in texts {
            text.hash(&mut hasher);
            let known = self.warm.get(&(model.id.clone(), hasher.finish()));
            if let Some((tokens, _)) = known.filter(|(_, last)| now.since(*last) < WARM) {
                cached = *tokens;
            }
        }
        let all = texts.iter().map(|text| tokens_of(text)).sum();
        (hasher.finish(), if model.cached_price.is_some() { cached.min(all) } else { 0 })
    }

    fn allows(
        &mut self,
        key: usize,
        model: &Model,
        prompt: u64,
        output: u64,
        now: Time,
    ) -> Result<(), Denial> {
        let user = |denial: Denial| denial.user(&self.account.id);
        let balance = self.account.credits - self.used;
        if balance < 0 || (balance == 0 && !model.is_free()) {
            return Err(user(errors::no_credits()));
        }
        let rules = &self.account.keys[key];
        if let Some(limit) = rules.limit {
            let (spent, which) = match rules.limit_reset {
                None => (self.keys[key].usage.cost, "total"),
                Some(Reset::Daily) => (self.keys[key].spent_in(0, now), "daily"),
                Some(Reset::Weekly) => (self.keys[key].spent_in(1, now), "weekly"),
                Some(Reset::Monthly) => (self.keys[key].spent_in(2, now), "monthly"),
            };
            if spent >= limit {
                return Err(user(errors::key_limit(which)));
            }
        }
        if model.is_free() {
            self.free_today += 1;
            self.free_this_minute += 1;
            self.counted.push_back(now);
            let (daily, per_minute) = (self.account.daily_free(), self.account.free_per_minute);
            if self.free_today > daily {
                let body =
                    if daily >= 1000 { errors::free_per_day_high_balance } else { errors::free_per_day };
                return Err(user(body(daily, self.day.next().start())));
            }
            if self.free_this_minute > per_minute {
                let reset = Time((self.minute + 1) * MINUTE_MS);
                return Err(user(errors::free_per_minute(per_minute, reset)));
            }
            return Ok(());
        }
        let left = balance - cost(model, prompt, 0, 0);
        let affordable = u64::try_from(left.div_euclid(model.completion_price.max(1))).unwrap_or(0);
        if model.completion_price > 0 && affordable < output {
            return Err(user(errors::too_dear(output, affordable)));
        }
        if let Some(budget) = self.account.in_flight_budget {
            let weight = cost(model, prompt, 0, output);
            if weight > budget {
                return Err(user(errors::weight_exceeds_budget()));
            }
            if self.reserved + weight > budget {
                return Err(user(errors::in_flight_budget(IN_FLIGHT_SECONDS)));
            }
        }
        Ok(())
    }
}

impl KeyBook {
    fn new(key: &Key) -> Self {
        Self { usage: KeyUsage { key: key.name.clone(), ..KeyUsage::default() }, spent: [(0, 0); 3] }
    }

    fn charge(&mut self, generation: &Generation, now: Time) {
        self.usage.prompt_tokens += generation.prompt_tokens;
        self.usage.cached_tokens += generation.cached_tokens;
        self.usage.completion_tokens += generation.completion_tokens;
        self.usage.cost += generation.cost;
        for ((number, spent), current) in self.spent.iter_mut().zip(spans(now)) {
            if *number != current {
                (*number, *spent) = (current, 0);
            }
            *spent += generation.cost;
        }
    }

    fn spent_in(&self, span: usize, now: Time) -> i64 {
        let (number, spent) = self.spent[span];
        if number == spans(now)[span] { spent } else { 0 }
    }
}

impl Generation {
    /// A generation that has just begun; who made it is written down by [`Books::open`].
    pub(super) fn new(id: String, model: Model, prompt: u64, streamed: bool, created: Time) -> Self {
        Self {
            id,
            account: 0,
            key: 0,
            model,
            created,
            streamed,
            prompt_tokens: prompt,
            cached_tokens: 0,
            completion_tokens: 0,
            cost: 0,
            reserved: 0,
            prompt: 0,
            finish: "stop",
            cancelled: false,
            ended: None,
        }
    }
}

/// The price of so many tokens, of which `cached` tokens of the prompt are warm, nano-dollars.
pub(super) fn cost(model: &Model, prompt: u64, cached: u64, completion: u64) -> i64 {
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    tokens(prompt.saturating_sub(cached))
        .saturating_mul(model.prompt_price)
        .saturating_add(tokens(cached).saturating_mul(model.cached_price.unwrap_or(model.prompt_price)))
        .saturating_add(tokens(completion).saturating_mul(model.completion_price))
}

/// The numbers of the UTC day, week (from Monday) and month that `now` lies in.
fn spans(now: Time) -> [i64; 3] {
    let day = i64::from(now.day().0);
    // 1970-01-01 was a Thursday.
    let week = (day + 3).div_euclid(7);
    let month = jiff::Timestamp::from_millisecond(now.0).map_or(0, |at| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        i64::from(date.year()) * 12 + i64::from(date.month())
    });
    [day, week, month]
}

#[cfg(test)]
mod tests {
    use super::{Books, Generation, cost};
    use crate::clock::Time;
    use std::time::Duration;

    use crate::simulator::scenario::{Account, Key, Model, Reset, Scenario};

    // 2025-10-27T12:00:00Z, a Monday.
    const NOON: Time = Time(1_761_566_400_000);

    fn free() -> Model {
        Model::new("a/b:free", "P", 0, 0)
    }

    fn paid() -> Model {
        Model::new("a/b", "P", 1_000, 2_000)
    }

    fn books(account: Account) -> Books {
        books_of(vec![account])
    }

    fn books_of(accounts: Vec<Account>) -> Books {
        Books::new(&Scenario { accounts, ..Scenario::default() }, NOON)
    }

    fn status(books: &mut Books, key: &Key, model: &Model, now: Time) -> u16 {
        let id = books.find(&key.secret, now).unwrap();
        books.admit(id, model, 10, 10, now).map_or_else(|denial| denial.status, |()| 200)
    }

    fn spend(books: &mut Books, key: &Key, completion: u64, now: Time) {
        let id = books.find(&key.secret, now).unwrap();
        books.open(id, Generation::new("gen-1".into(), paid(), 10, true, now), &[], 0);
        books.settle("gen-1", completion, false, now);
    }

    #[test]
    fn keys_of_one_account_share_its_free_minute() {
        let (a, b) = (Key::new("a"), Key::new("b"));
        let mut books = books(Account::new("x").key(a.clone()).key(b.clone()));
        for _ in 0..10 {
            assert_eq!(status(&mut books, &a, &free(), NOON), 200);
            assert_eq!(status(&mut books, &b, &free(), NOON), 200);
        }
        assert_eq!(status(&mut books, &b, &free(), Time(NOON.0 + 59_999)), 429);
        assert_eq!(status(&mut books, &b, &paid(), NOON), 200);
        assert_eq!(status(&mut books, &a, &free(), Time(NOON.0 + 60_000)), 200);
    }

    #[test]
    fn refused_requests_count_against_the_day() {
        let key = Key::new("a");
        let mut account = Account::new("x").key(key.clone());
        (account.free_per_minute, account.free_per_day) = (1, Some(3));
        let mut books = books(account);
        let id = books.find(&key.secret, NOON).unwrap();
        for expected in [200, 429, 429, 429] {
            assert_eq!(status(&mut books, &key, &free(), NOON), expected);
        }
        assert_eq!(books.free_today(id, NOON), (4, 3));
        let denial = books.admit(id, &free(), 1, 1, NOON).unwrap_err();
        assert!(denial.message.contains("free-models-per-day."), "{denial:?}");
        assert_eq!(status(&mut books, &key, &free(), NOON.day().next().start()), 200);
    }

    #[test]
    fn a_daily_cap_starts_afresh_at_midnight() {
        let key = Key::new("a").limit(1_000, Some(Reset::Daily));
        let mut books = books(Account::new("x").key(key.clone()));
        assert_eq!(status(&mut books, &key, &paid(), NOON), 200);
        spend(&mut books, &key, 5, NOON);
        assert_eq!(status(&mut books, &key, &free(), NOON), 403);
        assert_eq!(status(&mut books, &key, &paid(), NOON.day().next().start()), 200);
    }

    #[test]
    fn credits_run_out_to_the_nano_dollar() {
        let key = Key::new("a");
        let mut books = books(Account::new("x").key(key.clone()).credits(20_000 + 10_000));
        assert_eq!(status(&mut books, &key, &paid(), NOON), 200);
        spend(&mut books, &key, 10, NOON);
        assert_eq!(books.usage()[0].cost, cost(&paid(), 10, 0, 10));
        assert_eq!(status(&mut books, &key, &paid(), NOON), 402);
        assert_eq!(status(&mut books, &key, &free(), NOON), 200);
    }

    #[test]
    fn a_request_too_dear_says_what_can_be_afforded() {
        let key = Key::new("a");
        let mut books = books(Account::new("x").key(key.clone()).credits(20_000));
        let id = books.find(&key.secret, NOON).unwrap();
        let denial = books.admit(id, &paid(), 10, 6, NOON).unwrap_err();
        assert!(denial.message.contains("up to 6 tokens, but can only afford 5."), "{denial:?}");
        assert!(books.admit(id, &paid(), 10, 5, NOON).is_ok());
    }

    #[test]
    fn a_generation_belongs_to_its_account_and_is_charged_once() {
        let (a, b) = (Key::new("a"), Key::new("b"));
        let mut books = books_of(vec![Account::new("x").key(a.clone()), Account::new("y").key(b.clone())]);
        spend(&mut books, &a, 5, NOON);
        books.settle("gen-1", 9, true, NOON);
        assert_eq!(books.usage()[0].completion_tokens, 5);
        let (own, other) = (books.find(&a.secret, NOON).unwrap(), books.find(&b.secret, NOON).unwrap());
        assert!(books.generation("gen-1", own, NOON).is_some());
        assert!(books.generation("gen-1", own, Time(NOON.0 - 1)).is_none());
        assert!(books.generation("gen-1", other, NOON).is_none());
    }

    #[test]
    fn disabled_and_expired_keys_are_unknown() {
        let mut key = Key::new("a");
        key.expires = Some(NOON);
        let mut off = Key::new("b");
        off.disabled = true;
        let books = books(Account::new("x").key(key.clone()).key(off.clone()));
        assert!(books.find(&key.secret, Time(NOON.0 - 1)).is_some());
        assert!(books.find(&key.secret, NOON).is_none());
        assert!(books.find(&off.secret, NOON).is_none());
        assert_eq!(books.name(&off.secret), Some(("b", "user_x")));
    }

    #[test]
    fn below_zero_free_models_are_refused_too() {
        let key = Key::new("a");
        let mut books = books(Account::new("x").key(key.clone()).credits(-1));
        assert_eq!(status(&mut books, &key, &free(), NOON), 402);
        assert_eq!(status(&mut books, &key, &paid(), NOON), 402);
    }

    #[test]
    fn what_is_in_flight_holds_the_budget_until_it_is_settled() {
        let key = Key::new("a");
        let mut account = Account::new("x").key(key.clone());
        // A request of 10 tokens read and 10 written weighs 30,000.
        account.in_flight_budget = Some(50_000);
        let mut books = books(account);
        let id = books.find(&key.secret, NOON).unwrap();
        let open = |books: &mut Books| {
            books.open(id, Generation::new("gen-1".into(), paid(), 10, true, NOON), &[], 10);
        };
        open(&mut books);
        let denial = books.admit(id, &paid(), 10, 10, NOON).unwrap_err();
        assert!(denial.status == 402 && denial.headers[0].0 == "retry-after", "{denial:?}");
        assert_eq!(status(&mut books, &key, &free(), NOON), 200);
        books.settle("gen-1", 1, false, NOON);
        assert_eq!(status(&mut books, &key, &paid(), NOON), 200);
        let denial = books.admit(id, &paid(), 10, 30, NOON).unwrap_err();
        assert!(denial.metadata.unwrap().contains("weight_exceeds_budget"));
    }

    #[test]
    fn a_turn_is_warm_for_the_account_that_had_the_one_before() {
        let (a, b) = (Key::new("a"), Key::new("b"));
        let mut books = books_of(vec![Account::new("x").key(a.clone()), Account::new("y").key(b.clone())]);
        let model = Model { cached_price: Some(100), ..paid() };
        let texts = ["be kind to all".to_owned(), "hello".to_owned(), "said".to_owned(), "more".to_owned()];
        let mut turn = |name: &str, key: &Key, length: usize, now: Time| {
            let id = books.find(&key.secret, now).unwrap();
            let prompt = [4, 6, 7, 8][length - 1];
            let generation = Generation::new(name.to_owned(), model.clone(), prompt, false, now);
            books.open(id, generation, &texts[..length], 0);
            let cached = books.cached(name);
            books.settle(name, 0, false, now);
            (cached, books.usage().iter().map(|usage| usage.cost).sum::<i64>())
        };
        assert_eq!(turn("1", &a, 2, NOON), (0, 6_000));
        let later = Time(NOON.0 + 599_000);
        assert_eq!(turn("2", &b, 4, later).0, 0);
        assert_eq!(turn("3", &a, 4, later), (6, 6_000 + 8_000 + 600 + 2_000));
        assert_eq!(turn("4", &a, 4, Time(later.0 + 600_000)).0, 0);
    }

    #[test]
    fn the_count_of_today_lags() {
        let key = Key::new("a");
        let accounts = vec![Account::new("x").key(key.clone())];
        let key_lag = Duration::from_secs(5);
        let mut books = Books::new(&Scenario { accounts, key_lag, ..Scenario::default() }, NOON);
        let id = books.find(&key.secret, NOON).unwrap();
        assert_eq!(status(&mut books, &key, &free(), NOON), 200);
        assert_eq!(books.free_today(id, Time(NOON.0 + 4_999)), (0, 1000));
        assert_eq!(books.free_today(id, Time(NOON.0 + 5_000)), (1, 1000));
    }
}
