//! What outlives the process.

use super::*;

/// What a store would hold after these facts.
#[derive(Default)]
struct Store(HashMap<(String, String), String>);

impl Store {
    fn keep(&mut self, pool: &KeyPool) {
        for fact in std::iter::from_fn(|| Some(pool.take_facts()).filter(|facts| !facts.is_empty())).flatten()
        {
            let place = (fact.kind.to_owned(), fact.id.to_string());
            match fact.value {
                Some(value) => self.0.insert(place, value),
                None => self.0.remove(&place),
            };
        }
    }

    fn facts(&self) -> Vec<(String, String, String)> {
        self.0.iter().map(|((kind, id), value)| (kind.clone(), id.clone(), value.clone())).collect()
    }
}

/// The same pool in a new process, which knows from the ledger what was used.
fn restarted(pool: &KeyPool, store: &Store, keys: Vec<Key>, now: Time) -> KeyPool {
    let used = {
        let stock = pool.lock();
        let of = |slot: &super::super::slot::Slot| Used {
            attempts: slot.used,
            // It knows names, and not which secret they stood for.
            free_today: slot.free + slot.free_before,
            free_minute: 0,
            cost: slot.cost,
        };
        stock.slots.iter().map(|slot| (slot.key.name().as_str().into(), of(slot))).collect()
    };
    let pool = KeyPool::resume(keys, &used, now);
    pool.restore(&store.facts(), now);
    pool
}

#[test]
fn what_rests_and_what_is_known_survives_a_restart() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let pool = pool(&names);
    let mut store = Store::default();
    let told = Told { free_limit: Some(50), free_used: Some(30), ..owned_by("x") };
    pool.learn(&name("a"), &told, pool.question(&name("a"), NOON), NOON);
    lend_key(&pool, "b", Class::Free, NOON).belongs_to("x", NOON);
    let _ = bench(&pool, "c", Class::Paid, Rest::Refused, NOON);
    let _ = bench(&pool, "d", Class::Paid, Rest::Unidentified(None), NOON);
    let _ = bench(&pool, "d", Class::Free, Rest::NoCredits, NOON);
    let cap = Told { cap_left: Some(1_000), expires: Some(MIDNIGHT), ..Told::default() };
    pool.learn(&name("e"), &cap, pool.question(&name("e"), NOON), NOON);
    store.keep(&pool);
    lend_key(&pool, "e", Class::Paid, NOON).spent(300, NOON);
    let _ = bench(&pool, "f", Class::Free, Rest::FreeDay { until: None, limit: Some(50) }, NOON);
    let _ = bench(&pool, "f", Class::Paid, Rest::Cap(Some(noon(3 * HOUR))), NOON);
    pool.learn(
        &name("g"),
        &Told { management: true, ..Told::default() },
        pool.question(&name("g"), NOON),
        NOON,
    );
    store.keep(&pool);
    drop(lend_key(&pool, "a", Class::Free, NOON));
    assert!(pool.take_facts().is_empty(), "the ledger knows what was lent");

    let again = restarted(&pool, &store, keys(&names), noon(SECOND));
    let (before, after) = (pool.state(noon(SECOND)), again.state(noon(SECOND)));
    assert_eq!(after.keys[0].free_day_left, Some(50 - 30 - 2));
    assert_eq!(after.keys[4].cap_left, Some(700));
    for (before, mut after) in before.keys.into_iter().zip(after.keys) {
        // In this test nobody counts the minute.
        after.free_minute_left = before.free_minute_left;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
    let due = noon(15 * MINUTE);
    lend_key(&again, "c", Class::Paid, due).bench(Rest::Refused, due);
    let rest = again.state(due).keys[2].rests[0].clone();
    assert_eq!(rest.until_ms, Some(due.0 + 30 * MINUTE), "doublings too");
}

#[test]
fn a_minute_is_counted_on_after_a_restart() {
    let used = Used { attempts: 90, free_today: 90, free_minute: 15, cost: 0 };
    let pool = KeyPool::resume(keys(&["a", "b"]), &HashMap::from([("a".into(), used)]), NOON);
    pool.learn(&name("a"), &owned_by("x"), pool.question(&name("a"), NOON), NOON);
    pool.learn(&name("b"), &owned_by("x"), pool.question(&name("b"), NOON), NOON);
    assert_eq!(pool.state(NOON).keys[1].free_minute_left, Some(5));
}

#[test]
fn a_count_that_was_corrected_downwards_stays_so() {
    let pool = pool(&["a", "b"]);
    let _ = lend_many(&pool, Class::Free, 30, NOON);
    for key in ["a", "b"] {
        let told = Told { free_limit: Some(50), free_used: Some(10), ..owned_by("x") };
        pool.learn(&name(key), &told, pool.question(&name(key), noon(10 * MINUTE)), noon(10 * MINUTE));
    }
    assert_eq!(pool.state(noon(10 * MINUTE)).keys[0].free_day_left, Some(40));
    let mut store = Store::default();
    store.keep(&pool);
    let again = restarted(&pool, &store, keys(&["a", "b"]), noon(11 * MINUTE));
    assert_eq!(again.state(noon(11 * MINUTE)).keys[0].free_day_left, Some(40));
}

#[test]
fn a_changed_row_is_another_key_after_a_restart_too() {
    let pool = pool(&["a"]);
    let mut store = Store::default();
    pool.learn(&name("a"), &owned_by("x"), pool.question(&name("a"), NOON), NOON);
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    store.keep(&pool);
    let other = Key::new(name("a"), &Secret::new("sk-or-v1-other".to_owned()));
    let again = restarted(&pool, &store, vec![other], NOON);
    assert_eq!(lend_many(&again, Class::Paid, 1, NOON)["a"], 1);
    assert_eq!(again.state(NOON).keys[0].account, None);
    // A key that comes back later is known as well.
    let again = restarted(&pool, &store, keys(&["b"]), NOON);
    again.reload(keys(&["a", "b"]));
    assert_eq!(again.state(NOON).keys[0].rests[0].why, "refused");
}

#[test]
fn what_is_well_again_is_forgotten() {
    let pool = pool(&["a"]);
    let mut store = Store::default();
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    let _ = bench_free(&pool);
    store.keep(&pool);
    assert_eq!(store.0.len(), 1, "{:?}", store.0);
    let _ = pool.reset(None, NOON);
    store.keep(&pool);
    assert!(store.0.is_empty(), "{:?}", store.0);

    lend(&pool, Class::Paid, NOON).belongs_to("u", NOON);
    let _ = bench_free(&pool);
    store.keep(&pool);
    assert!(store.0.contains_key(&("account".to_owned(), "id:u".to_owned())));
    pool.learn(&name("a"), &owned_by("o"), pool.question(&name("a"), NOON), NOON);
    store.keep(&pool);
    let mut ids: Vec<_> = store.0.keys().map(|(_, id)| id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a", "id:o"]);
}

/// Rests the account of `a` after an hour's refusal is over, or at once.
fn bench_free(pool: &KeyPool) -> bool {
    let _ = pool.reset(Some("a"), NOON);
    bench(pool, "a", Class::Paid, Rest::NoCredits, NOON)
}

#[test]
fn facts_tell_no_secret_and_unknown_ones_are_borne() {
    let pool = pool(&["a"]);
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    let facts = pool.take_facts();
    assert_eq!(facts.len(), 1);
    let value = facts[0].value.clone().unwrap();
    assert!(!value.contains("sk-or"), "{value}");
    let odd = [
        ("key", "a", "{}"),
        ("key", "a", "nonsense"),
        ("key", "", &value),
        ("key", "a", &value.replace("\"form\":1", "\"form\":9")),
        ("account", "id:x", "[]"),
        ("account", "whom", "{\"form\":1}"),
        ("else", "a", &value),
    ];
    let again = super::pool(&["a"]);
    let odd: Vec<_> =
        odd.iter().map(|(kind, id, value)| ((*kind).into(), (*id).into(), (*value).into())).collect();
    again.restore(&odd, NOON);
    assert_eq!(lend_many(&again, Class::Paid, 1, NOON)["a"], 1);
    assert!(again.take_facts().is_empty());
}

#[test]
fn many_facts_are_told_in_several_calls_and_none_is_lost() {
    let names: Vec<String> = (0..1_000).map(|number| format!("key{number}")).collect();
    let pool = pool(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        pool.learn_refused(&super::name(name), NOON);
    }
    assert!(pool.take_facts().len() < 500);
    let mut store = Store::default();
    store.keep(&pool);
    assert!(store.0.len() > 500 && pool.take_facts().is_empty());
}

#[test]
fn what_another_secret_of_the_row_sent_is_not_counted_again_after_a_restart() {
    let pool = pool(&["a", "b"]);
    for key in ["a", "b"] {
        pool.learn(
            &name(key),
            &Told { free_limit: Some(50), ..owned_by("x") },
            pool.question(&name(key), NOON),
            NOON,
        );
    }
    for _ in 0..7 {
        drop(lend_key(&pool, "a", Class::Free, NOON));
    }
    let other = || vec![Key::new(name("a"), &Secret::new("sk-or-v1-other".to_owned())), key("b")];
    pool.reload(other());
    pool.learn(
        &name("a"),
        &Told { free_limit: Some(50), ..owned_by("y") },
        pool.question(&name("a"), NOON),
        NOON,
    );
    for _ in 0..3 {
        drop(lend_key(&pool, "a", Class::Free, NOON));
    }
    let left = |pool: &KeyPool| [0, 1].map(|at| pool.state(NOON).keys[at].free_day_left);
    assert_eq!(left(&pool), [Some(47), Some(43)]);
    let mut store = Store::default();
    store.keep(&pool);
    assert_eq!(left(&restarted(&pool, &store, other(), NOON)), [Some(47), Some(43)]);
}

#[test]
fn a_cap_is_not_more_because_the_ledger_lost_the_last_of_it() {
    let pool = pool(&["a"]);
    pool.learn(
        &name("a"),
        &Told { cap_left: Some(1_000), ..Told::default() },
        pool.question(&name("a"), NOON),
        NOON,
    );
    lend(&pool, Class::Paid, NOON).spent(300, NOON);
    pool.learn(
        &name("a"),
        &Told { cap_left: Some(700), ..Told::default() },
        pool.question(&name("a"), NOON),
        NOON,
    );
    let mut store = Store::default();
    store.keep(&pool);
    let left = pool.state(NOON).keys[0].cap_left;
    let again = KeyPool::resume(keys(&["a"]), &HashMap::new(), NOON);
    again.restore(&store.facts(), NOON);
    assert_eq!(again.state(NOON).keys[0].cap_left, left);
}

#[test]
fn a_key_that_comes_back_after_a_restart_has_todays_use() {
    let used = HashMap::from([("a".into(), free_today(9)), ("b".into(), free_today(4))]);
    let back = |at| {
        let pool = KeyPool::resume(keys(&["a"]), &used, NOON);
        let _ = try_lend(&pool, Class::Paid, at);
        pool.reload(keys(&["a", "b"]));
        pool.learn(
            &name("b"),
            &Told { free_limit: Some(50), ..Told::default() },
            pool.question(&name("b"), at),
            at,
        );
        let key = pool.state(at).keys[1].clone();
        (key.used_today, key.free_day_left)
    };
    assert_eq!(back(noon(SECOND)), (4, Some(46)));
    assert_eq!(back(MIDNIGHT), (0, Some(50)));
}
