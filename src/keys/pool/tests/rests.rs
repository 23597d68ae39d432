//! What rests after a fault, for whom, and until when.

use super::*;

#[test]
fn exactly_that_rests_exactly_that_long() {
    use Class::{Free, Other, Paid};
    let end = Some(noon(40 * SECOND));
    // What is told of, on which class, what rests because of it, and how long.
    let table: &[(Rest, Class, &[Class], Why, i64)] = &[
        (Rest::Refused, Paid, &[Free, Paid, Other], Why::Refused, 15 * MINUTE),
        (Rest::Cap(end), Free, &[Free, Paid, Other], Why::Cap, 40 * SECOND),
        (Rest::Cap(None), Paid, &[Free, Paid, Other], Why::CapForGood, HOUR),
        (Rest::NoCredits, Paid, &[Paid], Why::NoCredits, HOUR),
        (Rest::NoCredits, Free, &[Free, Paid], Why::NoCredits, HOUR),
        (Rest::InFlight(None), Paid, &[Paid], Why::InFlight, 2 * SECOND),
        (Rest::InFlight(end), Paid, &[Paid], Why::InFlight, 40 * SECOND),
        (Rest::FreeMinute { until: None, limit: None }, Free, &[Free], Why::FreeMinute, MINUTE),
        (Rest::FreeMinute { until: end, limit: Some(20) }, Free, &[Free], Why::FreeMinute, 40 * SECOND),
        (Rest::FreeDay { until: None, limit: Some(50) }, Free, &[Free], Why::FreeDay, 12 * HOUR),
        (Rest::FreeDay { until: end, limit: None }, Free, &[Free], Why::FreeDay, 40 * SECOND),
        (Rest::Unidentified(None), Free, &[Free], Why::Unidentified, 10 * SECOND),
        (Rest::Unidentified(end), Paid, &[Paid], Why::Unidentified, 40 * SECOND),
        (Rest::Unidentified(Some(noon(-5))), Other, &[Other], Why::Unidentified, SECOND),
        (Rest::Cap(Some(noon(-5))), Paid, &[Free, Paid, Other], Why::Cap, SECOND),
        (Rest::FreeDay { until: Some(NOON), limit: None }, Free, &[Free], Why::FreeDay, SECOND),
    ];
    for &(rest, class, resting, why, length) in table {
        let pool = pool(&["a"]);
        assert!(!bench(&pool, "a", class, rest, NOON));
        for class in Class::ALL {
            let told = try_lend(&pool, class, noon(length - 1)).map(drop).map_err(|no| (no.until, no.why));
            let rests = Err((Some(noon(length)), vec![(why, 1)]));
            let wanted = if resting.contains(&class) { rests } else { Ok(()) };
            assert_eq!(told, wanted, "{rest:?} {class:?}");
        }
        for class in Class::ALL {
            lend(&pool, class, noon(length)).answered(noon(length));
        }
    }
}

#[test]
fn a_refused_key_is_tried_by_one_attempt_after_ever_longer_times() {
    let pool = pool(&["a"]);
    let mut now = NOON;
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, now);
    for minutes in [15, 30, 60, 120, 240, 480, 960, 1_440, 1_440] {
        let due = Time(now.0 + minutes * MINUTE);
        assert_eq!(held(&pool, Class::Paid, now), (Some(due), vec![(Why::Refused, 1)]));
        let probe = lend(&pool, Class::Paid, due);
        let soon = Some(Time(due.0 + SECOND));
        assert_eq!(held(&pool, Class::Other, due), (soon, vec![(Why::Probing, 1)]));
        probe.bench(Rest::Refused, due);
        now = due;
    }
    let due = Time(now.0 + 24 * HOUR);
    drop(lend(&pool, Class::Paid, due));
    lend(&pool, Class::Paid, due).answered(due);
    assert_eq!(lend_many(&pool, Class::Paid, 3, due)["a"], 3);
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, due);
    assert_eq!(held(&pool, Class::Paid, due).0, Some(Time(due.0 + 15 * MINUTE)), "it begins anew");
}

#[test]
fn a_refused_key_is_tried_again_when_its_row_was_edited() {
    let edited = || vec![key_with("a", |terms| terms.weight = 2_000), key("b")];
    let steps: [&dyn Fn(&KeyPool); 2] = [&|pool| pool.reload(edited()), &|pool| {
        pool.reload(keys(&["b"]));
        pool.reload(keys(&["a", "b"]));
    }];
    for edit in steps {
        let pool = pool(&["a", "b"]);
        let refused =
            |pool: &KeyPool| pool.state(NOON).keys[0].rests.iter().any(|rest| rest.why == "refused");
        let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
        pool.reload(keys(&["a", "b"]));
        assert!(refused(&pool), "another row was edited, or none");
        let _ = pool.take_facts();
        edit(&pool);
        assert!(!refused(&pool));
        assert!(!pool.take_facts().is_empty(), "that is remembered");
    }
}

#[test]
fn the_same_fault_of_attempts_side_by_side_is_one() {
    for (rest, length) in [(Rest::Refused, 15 * MINUTE), (Rest::Unidentified(None), 10 * SECOND)] {
        let pool = pool(&["a"]);
        let leases = [(); 3].map(|()| lend(&pool, Class::Paid, NOON));
        for lease in leases {
            lease.bench(rest, NOON);
        }
        assert_eq!(held(&pool, Class::Paid, NOON).0, Some(noon(length)));
    }
}

#[test]
fn another_secret_in_the_row_is_another_key() {
    let pool = pool(&["a"]);
    let old = lend(&pool, Class::Paid, NOON);
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    pool.reload(keys(&["a"]));
    assert_eq!(held(&pool, Class::Paid, NOON).1, [(Why::Refused, 1)], "the row is the same");
    pool.reload(vec![Key::new(name("a"), &Secret::new("sk-or-v1-other".to_owned()))]);
    old.bench(Rest::Refused, NOON);
    assert_eq!(lend_many(&pool, Class::Paid, 2, NOON)["a"], 2, "what the old one meets rests nothing");
    assert_eq!(pool.state(NOON).keys[0].used_today, 4);
}

#[test]
fn an_account_without_credits_is_asked_again_by_one_attempt() {
    let pool = pool(&["a", "b"]);
    for key in ["a", "b"] {
        pool.learn(&name(key), &owned_by("x"), pool.question(&name(key), NOON), NOON);
    }
    let _ = bench(&pool, "a", Class::Free, Rest::NoCredits, NOON);
    let due = noon(HOUR);
    let probe = lend(&pool, Class::Paid, due);
    assert_eq!(held(&pool, Class::Paid, due).1, [(Why::Probing, 2)]);
    probe.bench(Rest::NoCredits, due);
    assert_eq!(held(&pool, Class::Paid, due).0, Some(noon(2 * HOUR)));
    lend(&pool, Class::Paid, noon(2 * HOUR)).answered(noon(2 * HOUR));
    assert_eq!(lend_many(&pool, Class::Paid, 4, noon(2 * HOUR)).len(), 2);
    assert_eq!(lend_many(&pool, Class::Free, 4, noon(2 * HOUR)).len(), 2, "whoever pays has credits");
}

#[test]
fn an_unidentified_fault_rests_one_key_ever_longer_until_it_answers() {
    let pool = pool(&["a", "b"]);
    let mut now = NOON;
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        assert!(!bench(&pool, "a", Class::Paid, Rest::Unidentified(None), now));
        let rest = pool.state(now).keys[0].rests[0].clone();
        assert_eq!(rest.until_ms, Some(now.0 + seconds * SECOND));
        assert_eq!((rest.what.as_str(), rest.why.as_str()), ("paid", "unidentified"));
        now = Time(now.0 + seconds * SECOND);
    }
    lend_key(&pool, "a", Class::Paid, now).answered(now);
    assert!(!bench(&pool, "a", Class::Paid, Rest::Unidentified(None), now));
    assert_eq!(pool.state(now).keys[0].rests[0].until_ms, Some(now.0 + 10 * SECOND));
}

#[test]
fn the_same_unidentified_fault_of_all_keys_is_an_outage() {
    let pool = pool(&["a", "b", "c"]);
    let _ = bench(&pool, "c", Class::Paid, Rest::Refused, NOON);
    assert!(!bench(&pool, "a", Class::Paid, Rest::Unidentified(None), NOON));
    assert!(bench(&pool, "b", Class::Paid, Rest::Unidentified(None), noon(9 * SECOND)));
    assert_eq!(lend_many(&pool, Class::Paid, 4, noon(9 * SECOND)).len(), 2, "none rests for it");

    // One key that met it before is no outage together with one that meets it later.
    assert!(!bench(&pool, "a", Class::Paid, Rest::Unidentified(Some(noon(HOUR))), noon(10 * SECOND)));
    assert!(!bench(&pool, "b", Class::Paid, Rest::Unidentified(None), noon(21 * SECOND)));
    // Nor is one key alone.
    let alone = super::pool(&["a"]);
    assert!(!bench(&alone, "a", Class::Paid, Rest::Unidentified(None), NOON));
}

#[test]
fn keys_that_may_not_serve_a_request_say_nothing_of_an_outage() {
    let keys = || vec![key("a"), key("b"), key_with("c", |terms| terms.models = Box::new(["z/*".into()]))];
    let pool = KeyPool::resume(keys(), &HashMap::new(), NOON);
    assert!(!bench(&pool, "a", Class::Paid, Rest::Unidentified(None), NOON));
    assert!(
        bench(&pool, "b", Class::Paid, Rest::Unidentified(None), NOON),
        "the idle one serves other models"
    );
    assert_eq!(lend_many(&pool, Class::Paid, 9, NOON).len(), 2, "none rests for it");

    let pool = KeyPool::resume(keys(), &HashMap::new(), NOON);
    let (tried, of_caller) = (Tried::default(), Arc::from([Box::from("a"), Box::from("b")]));
    for (at, is_outage) in [("a", false), ("b", true)] {
        lend_key(&pool, at, Class::Paid, NOON).bench(Rest::Unidentified(None), NOON);
        let need = Need { model: "z/1", keys: Some(&of_caller), ..ask(Class::Paid, &tried) };
        assert_eq!(pool.is_outage(&need, NOON), is_outage, "the idle one is not for this caller");
    }
    // For whoever may have it, it is none while it is idle.
    let pool = KeyPool::resume(keys(), &HashMap::new(), NOON);
    for at in ["a", "b"] {
        lend_key(&pool, at, Class::Paid, NOON).bench(Rest::Unidentified(None), NOON);
        assert!(!pool.is_outage(&Need { model: "z/1", ..ask(Class::Paid, &tried) }, NOON));
    }
    // Nor what one account alone met, where the request has to have it.
    let owner = name("a");
    assert!(!pool.is_outage(&Need { bind: Bind::Only(&owner), ..ask(Class::Paid, &tried) }, NOON));
}

#[test]
fn a_cap_is_spent_by_what_is_spent() {
    let pool = pool(&["a", "b"]);
    let told = Told { cap_left: Some(1_000), cap_resets: Some(noon(HOUR)), ..Told::default() };
    // 300 are spent while the question is on its way.
    lend_key(&pool, "a", Class::Paid, NOON).spent(400, noon(-MINUTE));
    let question = pool.question(&name("a"), NOON);
    lend_key(&pool, "a", Class::Paid, NOON).spent(300, noon(2 * SECOND));
    pool.learn(&name("a"), &told, question, noon(3 * SECOND));
    assert_eq!(pool.state(NOON).keys[0].cap_left, Some(700));
    lend_key(&pool, "a", Class::Paid, NOON).spent(650, noon(4 * SECOND));
    assert_eq!(lend_key(&pool, "a", Class::Paid, NOON).key().name().as_str(), "a");
    lend_key(&pool, "a", Class::Paid, NOON).spent(50, noon(5 * SECOND));
    assert!(!lend_many(&pool, Class::Paid, 9, noon(5 * SECOND)).contains_key("a"));
    assert_eq!(lend_many(&pool, Class::Paid, 12, noon(HOUR))["a"], 12 - lend_many_of_b(&pool));
    assert_eq!(pool.state(noon(HOUR)).keys[0].cap_left, None, "nobody told what it is now");

    let told = Told { cap_left: Some(0), ..Told::default() };
    pool.learn(&name("a"), &told, pool.question(&name("a"), noon(HOUR)), noon(HOUR));
    assert_eq!(pool.state(noon(HOUR)).keys[0].rests[0].until_ms, Some(noon(2 * HOUR).0));
    let told = Told { cap_left: Some(5), ..Told::default() };
    pool.learn(&name("a"), &told, pool.question(&name("a"), noon(HOUR)), noon(HOUR));
    assert!(pool.state(noon(HOUR)).keys[0].rests.is_empty());
}

/// How many of the last requests the key `b` served; it had served nine before.
fn lend_many_of_b(pool: &KeyPool) -> usize {
    usize::try_from(pool.state(noon(HOUR)).keys[1].used_today).unwrap() - 9
}

#[test]
fn a_key_that_get_key_refused_again_is_not_tried() {
    let pool = pool(&["a"]);
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    pool.learn_refused(&name("a"), noon(10 * MINUTE));
    assert_eq!(held(&pool, Class::Paid, noon(10 * MINUTE)).0, Some(noon(15 * MINUTE)), "no news");
    let asked = noon(15 * MINUTE - 2 * SECOND);
    pool.learn_refused(&name("a"), asked);
    assert_eq!(held(&pool, Class::Paid, noon(15 * MINUTE)).0, Some(Time(asked.0 + 30 * MINUTE)));
}

#[test]
fn a_cap_that_was_just_told_to_be_spent_is_not_tried() {
    let pool = pool(&["a"]);
    let _ = bench(&pool, "a", Class::Paid, Rest::Cap(None), NOON);
    let spent = Told { cap_left: Some(0), ..Told::default() };
    let asked = noon(HOUR - 2 * SECOND);
    pool.learn(&name("a"), &spent, pool.question(&name("a"), asked), asked);
    assert_eq!(
        held(&pool, Class::Paid, noon(HOUR)),
        (Some(Time(asked.0 + HOUR)), vec![(Why::CapForGood, 1)])
    );
}

#[test]
fn what_get_key_tells_rests_a_key_or_ends_its_rest() {
    let pool = pool(&["a"]);
    let learn = |told: &Told, now| pool.learn(&name("a"), told, pool.question(&name("a"), now), now);
    learn(&Told { expires: Some(noon(MINUTE)), ..Told::default() }, NOON);
    assert_eq!(lend_many(&pool, Class::Paid, 2, noon(MINUTE - 1))["a"], 2);
    assert_eq!(held(&pool, Class::Paid, noon(MINUTE)), (None, vec![(Why::Expired, 1)]));
    learn(&Told { management: true, ..Told::default() }, noon(MINUTE));
    assert_eq!(held(&pool, Class::Free, noon(MINUTE)), (None, vec![(Why::Management, 1)]));
    learn(&Told::default(), noon(MINUTE));
    pool.learn_refused(&name("a"), noon(MINUTE));
    assert_eq!(held(&pool, Class::Paid, noon(MINUTE)).1, [(Why::Refused, 1)]);
    learn(&Told::default(), noon(MINUTE));
    assert_eq!(lend_many(&pool, Class::Paid, 2, noon(MINUTE))["a"], 2);

    // What was asked before a fault knows nothing of it.
    let told = Told { cap_left: Some(9), ..Told::default() };
    for (rest, why) in [(Rest::Refused, Why::Refused), (Rest::Cap(None), Why::CapForGood)] {
        let _ = bench(&pool, "a", Class::Paid, rest, noon(2 * MINUTE));
        pool.learn(&name("a"), &told, pool.question(&name("a"), noon(2 * MINUTE - 1)), noon(2 * MINUTE));
        assert_eq!(held(&pool, Class::Paid, noon(2 * MINUTE)).1, [(why, 1)]);
        pool.learn(&name("a"), &told, pool.question(&name("a"), noon(2 * MINUTE)), noon(2 * MINUTE));
    }
}

#[test]
fn a_reset_ends_cooldowns_and_leaves_counts_and_the_operators_limits() {
    let keys = vec![key("a"), key("b"), key_with("c", |terms| terms.daily_requests = Some(0))];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
    let _ = bench(&pool, "b", Class::Free, Rest::FreeDay { until: None, limit: Some(2) }, NOON);
    assert_eq!(pool.reset(Some("nobody"), NOON), None);
    assert_eq!(pool.reset(Some("c"), NOON), Some(0));
    assert_eq!(pool.reset(Some("b"), NOON), Some(1));
    assert_eq!(lend_many(&pool, Class::Free, 1, NOON)["b"], 1, "one of two is left");
    let why = held(&pool, Class::Free, NOON).1;
    assert_eq!(why, [(Why::FreeDay, 1), (Why::Refused, 1), (Why::DailyRequests, 1)]);
    assert_eq!(pool.reset(None, NOON), Some(1));
    assert_eq!(lend_many(&pool, Class::Free, 3, NOON)["a"], 3);
}

#[tokio::test]
async fn whoever_waits_is_roused_by_what_comes_back_early() {
    let pool = pool(&["a"]);
    let events: [(&str, &dyn Fn()); 4] = [
        ("reset", &|| assert_eq!(pool.reset(Some("a"), NOON), Some(1))),
        ("learn", &|| pool.learn(&name("a"), &Told::default(), pool.question(&name("a"), NOON), NOON)),
        ("reload", &|| pool.reload(keys(&["a", "b"]))),
        ("probe", &|| {
            let due = noon(15 * MINUTE);
            let probe = lend_key(&pool, "a", Class::Paid, due);
            probe.answered(due);
        }),
    ];
    for (event, bring_back) in events {
        let _ = bench(&pool, "a", Class::Paid, Rest::Refused, NOON);
        let returned = pool.returned().notified();
        let again = pool.returned().notified();
        bring_back();
        returned.await;
        again.await;
        let _ = pool.reset(None, NOON);
        assert_eq!(lend_many(&pool, Class::Paid, 1, NOON).len(), 1, "{event}");
    }
}

#[test]
fn a_lease_that_was_not_used_is_not_counted() {
    let pool = pool(&["a"]);
    for _ in 0..30 {
        // The 20 of a minute would be used up.
        lend(&pool, Class::Free, NOON).unused();
    }
    assert_eq!(pool.state(NOON).keys[0].used_today, 0);
    let mut leases: Vec<_> = (0..20).map(|_| lend(&pool, Class::Free, NOON)).collect();
    assert!(try_lend(&pool, Class::Free, NOON).is_err());
    leases.remove(0).unused();
    assert!(try_lend(&pool, Class::Free, NOON).is_ok());
}
