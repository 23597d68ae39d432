//! Which key is lent.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::clock::Day;

fn lend_paid(pool: &KeyPool, count: usize, now: Time) -> HashMap<String, usize> {
    lend_many(pool, Class::Paid, count, now)
}

#[test]
fn equal_requests_spread_evenly() {
    for class in Class::ALL {
        let pool = KeyPool::resume(keys(&["a", "b", "c", "d"]), &HashMap::new(), NOON);
        let mut by_name: HashMap<String, usize> = HashMap::new();
        for minute in 0..20 {
            for (name, count) in lend_many(&pool, class, 20, noon(minute * MINUTE)) {
                *by_name.entry(name).or_default() += count;
            }
        }
        assert!(by_name.len() == 4 && by_name.values().all(|&count| count == 100), "{by_name:?}");
    }
}

#[test]
fn the_key_used_least_today_comes_first() {
    let pool = pool_used(&["a", "b"], &[("a", 3)]);
    assert_eq!(lend_paid(&pool, 3, NOON), HashMap::from([("b".to_owned(), 3)]));
    assert_eq!(lend_paid(&pool, 2, NOON).len(), 2);
}

#[test]
fn of_keys_used_alike_the_one_with_fewer_in_flight_comes_first() {
    for _ in 0..32 {
        let pool = pool(&["a", "b"]);
        let held = lend(&pool, Class::Paid, NOON);
        let other = lend(&pool, Class::Paid, NOON);
        let free = other.key().name().clone();
        drop(other);
        assert_eq!(lend(&pool, Class::Paid, NOON).key().name(), &free);
        drop(held);
    }
}

#[test]
fn a_tie_is_settled_by_chance() {
    let first = || lend(&pool(&["a", "b"]), Class::Paid, NOON).key().name().to_string();
    assert_eq!((0..200).map(|_| first()).collect::<HashSet<_>>().len(), 2);
}

#[test]
fn a_new_day_starts_from_zero() {
    let pool = pool_used(&["a", "b"], &[("a", 500)]);
    assert_eq!(lend_paid(&pool, 1, NOON)["b"], 1);
    assert_eq!(lend_paid(&pool, 10, MIDNIGHT)["a"], 5);
}

#[test]
fn threads_that_come_in_late_turn_no_day_back() {
    let pool = pool(&["a", "b"]);
    assert_eq!(lend_paid(&pool, 4, MIDNIGHT)["a"], 2);
    let late = Time(MIDNIGHT.0 - 1);
    assert_eq!(lend_paid(&pool, 2, late).len(), 2);
    assert_eq!(pool.state(MIDNIGHT).keys[0].used_today, 3);
}

#[test]
fn a_second_attempt_counts() {
    let pool = pool(&["a", "b"]);
    let lease = lend(&pool, Class::Paid, NOON);
    let twice = lease.key().name().to_string();
    lease.count_again(NOON);
    drop(lease);
    let by_name = lend_paid(&pool, 2, NOON);
    assert!(!by_name.contains_key(&twice) || by_name[&twice] < 2, "{by_name:?}");
    assert_eq!(pool.state(NOON).keys.iter().map(|key| key.used_today).sum::<u64>(), 4);
}

#[test]
fn a_reload_keeps_counts_and_leases() {
    let pool = pool(&["a", "b"]);
    let held = lend(&pool, Class::Paid, NOON);
    let held_name = held.key().name().to_string();
    let other = if held_name == "a" { "b" } else { "a" };
    pool.reload(vec![key(other)]);
    assert_eq!(pool.len(), 1);
    assert_eq!(lend_paid(&pool, 3, NOON), HashMap::from([(other.to_owned(), 3)]));
    drop(held);
    pool.reload(keys(&["a", "b", "c"]));
    // 1 use of the first, 3 of the other, none of the new one.
    assert_eq!(lend_paid(&pool, 1, NOON), HashMap::from([("c".to_owned(), 1)]));
    let by_name = lend_paid(&pool, 4, NOON);
    assert_eq!(by_name.get(other), None, "{by_name:?}");
}

#[test]
fn an_empty_pool_lends_nothing() {
    for pool in [KeyPool::new(Vec::new(), &HashMap::new(), Day(0)), pool(&[])] {
        assert_eq!(held(&pool, Class::Paid, NOON), (None, Vec::new()));
        assert!(pool.is_empty());
    }
}

#[test]
fn a_key_of_twice_the_weight_is_lent_twice_as_often() {
    let keys = vec![key("a"), key_with("b", |terms| terms.weight = 2_000)];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    assert_eq!(lend_paid(&pool, 300, NOON), HashMap::from([("a".to_owned(), 100), ("b".to_owned(), 200)]));
}

#[test]
fn a_key_is_lent_for_the_models_it_may_serve() {
    let only = |patterns: &[&str]| {
        let patterns: Box<[Box<str>]> = patterns.iter().map(|&pattern| pattern.into()).collect();
        move |terms: &mut Terms| terms.models = patterns
    };
    let keys = vec![key_with("a", only(&["x/*"])), key_with("b", only(&["y/*", "*:free"]))];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    let tried = Tried::default();
    let who = |model| {
        let need = Need { model, ..ask(Class::Paid, &tried) };
        pool.lease(&need, NOON).map(|lease| lease.key().name().to_string())
    };
    assert!((0..10).all(|_| who("x/1").unwrap() == "a"));
    assert!((0..10).all(|_| who("x/1:free").unwrap() == "b" || who("y/2").unwrap() == "b"));
    for _ in 0..2 {
        assert_eq!(who("z/3"), Err(Exhausted::for_good(vec![(Why::Models, 2)])));
    }
    assert_eq!(lend_many(&pool, Class::Other, 20, NOON).len(), 2, "what runs no model is anybody's");
}

#[test]
fn a_key_of_some_models_serves_what_can_run_no_other() {
    let keys = || vec![key_with("a", |terms| terms.models = Box::new(["x/*".into()]))];
    let pool = KeyPool::resume(keys(), &HashMap::new(), NOON);
    assert!(pool.is_restricted());
    let tried = Tried::default();
    let some = |models: &[&str]| models.iter().map(|&model| model.to_owned()).collect::<Vec<_>>();
    for (model, others, serves) in [
        ("x/1", some(&[]), true),
        ("x/1", some(&["x/2"]), true),
        ("", some(&["x/2", "x/3"]), true),
        ("x/1", some(&["y/2"]), false),
        ("", some(&["x/1", "y/2"]), false),
        ("y/1", some(&["x/2"]), false),
        ("", some(&[]), false),
    ] {
        // Twice, since the pool remembers why none could serve.
        for _ in 0..2 {
            let need = Need { model, runs: Runs::Named(&others), ..ask(Class::Paid, &tried) };
            assert_eq!(pool.lease(&need, NOON).is_ok(), serves, "{model} {others:?}");
            assert_eq!(pool.forecast(&need, NOON, noon(SECOND)) > 0, serves, "{model} {others:?}");
        }
    }
    let lends = |runs| pool.lease(&Need { runs, ..ask(Class::Other, &tried) }, NOON).is_ok();
    assert!(lends(Runs::Nothing) && !lends(Runs::Unseen) && lends(Runs::Nothing));
    pool.reload(vec![key("a")]);
    assert!(!pool.is_restricted() && lends(Runs::Unseen));
}

#[test]
fn what_a_request_tried_it_is_not_given_again() {
    let pool = pool(&["a", "b", "c"]);
    pool.learn(&name("a"), &owned_by("x"), pool.question(&name("a"), NOON), NOON);
    pool.learn(&name("b"), &owned_by("x"), pool.question(&name("b"), NOON), NOON);
    let mut tried = Tried::default();
    tried.account(&lend_key(&pool, "a", Class::Paid, NOON));
    for _ in 0..10 {
        assert_eq!(pool.lease(&ask(Class::Paid, &tried), NOON).unwrap().key().name().as_str(), "c");
    }
    tried.key(&lend_key(&pool, "c", Class::Paid, NOON));
    let exhausted = pool.lease(&ask(Class::Paid, &tried), NOON).unwrap_err();
    assert_eq!(exhausted, Exhausted::for_good(vec![(Why::Tried, 3)]));
}

#[test]
fn a_conversation_stays_with_its_key_else_its_account_else_goes_to_any() {
    let pool = pool(&["a", "b", "c"]);
    pool.learn(&name("a"), &owned_by("x"), pool.question(&name("a"), NOON), NOON);
    pool.learn(&name("b"), &owned_by("x"), pool.question(&name("b"), NOON), NOON);
    let (tried, a) = (Tried::default(), name("a"));
    let need = Need { bind: Bind::Prefer(&a), ..ask(Class::Paid, &tried) };
    let who = || pool.lease(&need, NOON).unwrap().key().name().to_string();
    assert!((0..10).all(|_| who() == "a"));
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    assert!((0..10).all(|_| who() == "b"));
    let _ = bench(&pool, "b", Class::Paid, Rest::NoCredits, NOON);
    assert_eq!(who(), "c");
}

#[test]
fn a_resource_goes_to_its_key_else_its_account_else_to_none() {
    let pool = pool(&["a", "b", "c"]);
    pool.learn(&name("a"), &owned_by("x"), pool.question(&name("a"), NOON), NOON);
    pool.learn(&name("b"), &owned_by("x"), pool.question(&name("b"), NOON), NOON);
    let (tried, a, stranger) = (Tried::default(), name("a"), name("z"));
    let need = Need { bind: Bind::Only(&a), ..ask(Class::Other, &tried) };
    let who = || pool.lease(&need, NOON).map(|lease| lease.key().name().to_string());
    assert!((0..10).all(|_| who().unwrap() == "a"));
    pool.reload(keys(&["b", "c"]));
    assert!((0..10).all(|_| who().unwrap() == "b"), "a key that left the file still names its account");
    let _ = bench(&pool, "b", Class::Other, Rest::Cap(Some(noon(HOUR))), NOON);
    let why = vec![(Why::Cap, 1), (Why::Bound, 1)];
    assert_eq!(who(), Err(Exhausted { until: Some(noon(HOUR)), back: Some(noon(HOUR)), why }));
    let need = Need { bind: Bind::Only(&stranger), ..need };
    let why = vec![(Why::Bound, 2)];
    assert_eq!(pool.lease(&need, NOON).unwrap_err(), Exhausted::for_good(why));
}

#[test]
fn a_caller_that_is_confined_to_keys_gets_the_least_used_of_them_and_no_other() {
    let pool = pool_used(&["a", "b", "c"], &[("b", 2), ("c", 1)]);
    let names =
        |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<std::sync::Arc<[Box<str>]>>();
    let (tried, few, lost) = (Tried::default(), names(&["b", "c", "lost"]), names(&["lost"]));
    let need = Need { keys: Some(&few), ..ask(Class::Paid, &tried) };
    let who = |need: &Need<'_>| pool.lease(need, NOON).unwrap().key().name().to_string();
    assert_eq!(who(&need), "c");
    let (a, b) = (name("a"), name("b"));
    assert!((0..5).all(|_| who(&Need { bind: Bind::Prefer(&a), ..need }) != "a"));
    assert_eq!(who(&Need { bind: Bind::Prefer(&b), ..need }), "b");
    let bound = pool.lease(&Need { bind: Bind::Only(&a), ..need }, NOON).unwrap_err();
    assert_eq!(bound, Exhausted::for_good(vec![(Why::Bound, 2), (Why::Caller, 1)]));

    let _ = bench(&pool, "b", Class::Paid, Rest::Cap(Some(noon(HOUR))), NOON);
    let _ = bench(&pool, "c", Class::Paid, Rest::Refused, NOON);
    let why = vec![(Why::Cap, 1), (Why::Refused, 1), (Why::Caller, 1)];
    let (held, until) = (pool.lease(&need, NOON).unwrap_err(), Some(noon(15 * MINUTE)));
    assert_eq!(held, Exhausted { until, back: Some(noon(HOUR)), why }, "a probe is no return");
    assert_eq!((pool.forecast(&need, NOON, noon(MINUTE)), who(&ask(Class::Paid, &tried))), (0, "a".into()));
    let why = vec![(Why::Caller, 3)];
    let need = Need { keys: Some(&lost), ..need };
    assert_eq!(pool.lease(&need, NOON).unwrap_err(), Exhausted::for_good(why));
}

#[test]
fn what_the_operator_bounds_stays_within_its_bounds() {
    let keys = vec![
        key_with("off", |terms| terms.enabled = false),
        key_with("few", |terms| terms.daily_requests = Some(3)),
        key_with("cheap", |terms| terms.daily_cost = Some(1_000)),
    ];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    for _ in 0..4 {
        lend_key(&pool, "cheap", Class::Paid, NOON).spent(250, NOON);
    }
    assert_eq!(lend_many(&pool, Class::Paid, 3, NOON)["few"], 3);
    let (until, why) = held(&pool, Class::Free, NOON);
    assert_eq!(until, Some(MIDNIGHT));
    assert_eq!(why, [(Why::DailyRequests, 1), (Why::DailyCost, 1), (Why::Disabled, 1)]);
    assert_eq!(lend_many(&pool, Class::Paid, 6, MIDNIGHT).len(), 2);
    assert_eq!(pool.state(MIDNIGHT).keys[2].cost_today, 0);
}
