//! What the pool tells of itself.

use super::*;

#[test]
fn the_earliest_return_is_that_of_the_keys_that_could_serve() {
    let keys = vec![key("a"), key("b"), key_with("c", |terms| terms.models = Box::new(["x/*".into()]))];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    let _ = bench(&pool, "a", Class::Paid, Rest::Cap(Some(noon(HOUR))), NOON);
    let _ = bench(&pool, "b", Class::Paid, Rest::InFlight(Some(noon(30 * SECOND))), NOON);
    let tried = Tried::default();
    let c = name("c");
    let need = Need { model: "x/1", bind: Bind::Only(&c), ..ask(Class::Paid, &tried) };
    pool.lease(&need, NOON).unwrap().bench(Rest::Unidentified(None), NOON);
    // The key that comes back first serves other models.
    for _ in 0..2 {
        let (until, why) = held(&pool, Class::Paid, NOON);
        assert_eq!(until, Some(noon(30 * SECOND)));
        assert_eq!(why, [(Why::InFlight, 1), (Why::Cap, 1), (Why::Models, 1)]);
    }
    let need = Need { bind: Bind::Free, ..need };
    assert_eq!(pool.lease(&need, NOON).unwrap_err().until, Some(noon(10 * SECOND)));
    let _ = bench_again(&pool);
    assert_eq!(held(&pool, Class::Paid, NOON).0, Some(noon(30 * SECOND)), "what changed is looked at anew");
}

/// Ends the rest of `b` and rests it anew.
fn bench_again(pool: &KeyPool) -> bool {
    assert_eq!(pool.reset(Some("b"), NOON), Some(1));
    bench(pool, "b", Class::Paid, Rest::InFlight(Some(noon(30 * SECOND))), NOON)
}

#[test]
fn of_what_holds_a_key_the_longest_is_told() {
    let pool = pool(&["a"]);
    let lease = lend(&pool, Class::Free, NOON);
    let _ = bench(&pool, "a", Class::Free, Rest::FreeDay { until: None, limit: None }, NOON);
    lease.bench(Rest::Cap(Some(noon(HOUR))), NOON);
    assert_eq!(held(&pool, Class::Free, NOON), (Some(MIDNIGHT), vec![(Why::FreeDay, 1)]));
    assert_eq!(held(&pool, Class::Paid, NOON), (Some(noon(HOUR)), vec![(Why::Cap, 1)]));
    let rests = pool.state(NOON).keys.remove(0).rests;
    let rests: Vec<_> = rests.iter().map(|rest| (rest.what.as_str(), rest.why.as_str())).collect();
    assert_eq!(rests, [("all", "cap"), ("free", "free_day")]);
}

#[test]
fn a_forecast_is_what_the_windows_leave() {
    let pool = pool(&["a", "b", "c"]);
    let tried = Tried::default();
    let forecast = |later: i64| pool.forecast(&ask(Class::Free, &tried), NOON, noon(later));
    for key in ["a", "b"] {
        pool.learn(&name(key), &owned_by("x"), pool.question(&name(key), NOON), NOON);
    }
    assert_eq!(forecast(SECOND), 40);
    let _ = lend_many(&pool, Class::Free, 10, NOON);
    assert_eq!((forecast(MINUTE), forecast(MINUTE + 1)), (30, 70));
    let _ = lend_many(&pool, Class::Free, 30, NOON);
    assert_eq!((forecast(MINUTE), forecast(2 * MINUTE), forecast(150 * SECOND)), (0, 40, 80));
    pool.learn(
        &name("c"),
        &Told { free_limit: Some(23), ..Told::default() },
        pool.question(&name("c"), NOON),
        NOON,
    );
    assert_eq!(forecast(10 * MINUTE), 180 + 3);
    let _ = bench(&pool, "a", Class::Paid, Rest::Cap(None), NOON);
    let _ = bench(&pool, "b", Class::Paid, Rest::Cap(Some(noon(5 * MINUTE + 1))), NOON);
    assert_eq!(forecast(5 * MINUTE), 3, "the keys of the one rest, the other has three left today");
    assert_eq!(forecast(2 * HOUR), 115 * 20 + 3, "an account is back with the first of its keys");
    assert_eq!(pool.forecast(&ask(Class::Paid, &tried), NOON, noon(1)), u64::MAX);
}

#[test]
fn a_forecast_knows_the_operators_limits_and_whom_a_request_needs() {
    let keys = vec![
        key_with("a", |terms| terms.daily_requests = Some(10)),
        key_with("b", |terms| terms.daily_requests = Some(100)),
        key_with("c", |terms| terms.enabled = false),
    ];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    let (mut tried, a) = (Tried::default(), name("a"));
    drop(lend_key(&pool, "a", Class::Paid, NOON));
    assert_eq!(pool.forecast(&ask(Class::Paid, &tried), NOON, MIDNIGHT), 109);
    assert_eq!(pool.forecast(&ask(Class::Paid, &tried), NOON, Time(MIDNIGHT.0 + 1)), 219);
    let need = Need { bind: Bind::Only(&a), ..ask(Class::Paid, &tried) };
    assert_eq!(pool.forecast(&need, NOON, MIDNIGHT), 9);
    tried.key(&lend_key(&pool, "b", Class::Paid, NOON));
    assert_eq!(pool.forecast(&ask(Class::Paid, &tried), NOON, MIDNIGHT), 9);
}

#[test]
fn an_explanation_has_the_places_and_the_reasons() {
    let keys = vec![
        key("a"),
        key("b"),
        key_with("c", |terms| terms.enabled = false),
        key_with("d", |terms| terms.models = Box::new(["x/*".into()])),
        key("e"),
    ];
    let used = HashMap::from([("a".into(), free_today(2)), ("b".into(), free_today(1))]);
    let pool = KeyPool::resume(keys, &used, NOON);
    let _ = bench(&pool, "e", Class::Paid, Rest::InFlight(None), NOON);
    let told = |bind| {
        let tried = Tried::default();
        let verdicts = pool.explain(&Need { bind, ..ask(Class::Paid, &tried) }, NOON);
        verdicts.into_iter().map(|verdict| (verdict.place, verdict.why)).collect::<Vec<_>>()
    };
    let rest = [(None, Some(Why::Disabled)), (None, Some(Why::Models)), (None, Some(Why::InFlight))];
    assert_eq!(told(Bind::Free)[..2], [(Some(2), None), (Some(1), None)]);
    assert_eq!(told(Bind::Free)[2..], rest);
    let a = name("a");
    assert_eq!(told(Bind::Prefer(&a))[..2], [(Some(1), None), (Some(2), None)]);
    assert_eq!(told(Bind::Only(&a))[..2], [(Some(1), None), (None, Some(Why::Bound))]);
}

#[test]
fn a_state_tells_no_account_id_and_no_secret() {
    let pool = pool(&["a", "b"]);
    pool.learn(&name("a"), &owned_by("user_secret"), pool.question(&name("a"), NOON), NOON);
    let shown = format!("{:?}", pool.state(NOON));
    assert!(shown.contains("account 1") && !shown.contains("user_") && !shown.contains("sk-or"), "{shown}");
    assert_eq!(pool.state(NOON).keys[1].account, None);
}

#[test]
fn a_glance_tells_what_the_state_tells_of_ends() {
    let pool = pool(&["a", "b", "c", "d"]);
    drop(lend_key(&pool, "a", Class::Paid, NOON));
    let _ = bench(&pool, "b", Class::Paid, Rest::Cap(None), NOON);
    let _ = bench(&pool, "c", Class::Free, Rest::NoCredits, NOON);
    let _ = bench(&pool, "d", Class::Paid, Rest::Refused, NOON);
    let glances = pool.glance(noon(SECOND));
    let told: Vec<_> =
        glances.iter().map(|key| (key.name.as_str(), key.used_today, key.rests.clone())).collect();
    assert_eq!(
        told,
        [
            ("a", 1, vec![]),
            ("b", 1, vec![(Why::CapForGood, Some(noon(HOUR)))]),
            ("c", 1, vec![(Why::NoCredits, Some(noon(HOUR)))]),
            ("d", 1, vec![(Why::Refused, Some(noon(15 * MINUTE)))]),
        ]
    );
}
