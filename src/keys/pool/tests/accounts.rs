//! Accounts, and the free quota that their keys share.

use super::*;
use crate::keys::need::Question;

/// Two keys of account `x` and one of nobody knows whom.
fn two_and_one() -> KeyPool {
    let pool = pool(&["a", "b", "c"]);
    for key in ["a", "b"] {
        pool.learn(&name(key), &owned_by("x"), pool.question(&name(key), NOON), NOON);
    }
    pool
}

#[test]
fn the_keys_of_one_account_share_its_minute() {
    let pool = two_and_one();
    let by_name = lend_many(&pool, Class::Free, 40, NOON);
    assert_eq!((by_name["a"] + by_name["b"], by_name["c"]), (20, 20));
    assert_eq!(held(&pool, Class::Free, noon(59 * SECOND)), (Some(noon(MINUTE)), vec![(Why::FreeMinute, 3)]));
    assert_eq!(lend_many(&pool, Class::Paid, 30, NOON).len(), 3, "what is paid for goes on");
}

#[test]
fn the_first_attempt_after_a_turn_goes_alone() {
    let pool = two_and_one();
    let _ = lend_many(&pool, Class::Free, 40, NOON);
    let now = noon(MINUTE);
    let of_c = lend_key(&pool, "c", Class::Free, now);
    let first = lend(&pool, Class::Free, now);
    assert_ne!(first.key().name().as_str(), "c");
    assert_eq!(held(&pool, Class::Free, now), (Some(noon(MINUTE + SECOND)), vec![(Why::Probing, 3)]));
    // A caller that leaves proves nothing, and holds nothing up.
    drop(of_c);
    assert_eq!(lend_many(&pool, Class::Free, 19, now)["c"], 19);
    first.answered(now);
    let by_name = lend_many(&pool, Class::Free, 19, now);
    assert_eq!(by_name.get("c"), None);
    assert_eq!(held(&pool, Class::Free, now).1, [(Why::FreeMinute, 3)]);
}

#[test]
fn a_first_attempt_whose_answer_takes_its_time_holds_nobody_up() {
    let pool = pool(&["a"]);
    let _ = lend_many(&pool, Class::Free, 20, NOON);
    let first = lend(&pool, Class::Free, noon(MINUTE));
    assert_eq!(held(&pool, Class::Free, noon(MINUTE + 3 * SECOND - 1)).1, [(Why::Probing, 1)]);
    assert_eq!(lend_many(&pool, Class::Free, 19, noon(MINUTE + 3 * SECOND))["a"], 19);
    first.answered(noon(MINUTE + 4 * SECOND));
    assert_eq!(held(&pool, Class::Free, noon(MINUTE + 4 * SECOND)).1, [(Why::FreeMinute, 1)]);
}

#[test]
fn a_turn_that_was_none_costs_one_attempt_at_a_time_ever_more_rarely() {
    let pool = pool(&["a"]);
    let rest = |until| Rest::FreeMinute { until: Some(until), limit: Some(20) };
    let _ = bench(&pool, "a", Class::Free, rest(noon(MINUTE)), NOON);
    // Its clock is seven seconds behind ours.
    let mut now = noon(MINUTE);
    for seconds in [1, 2, 4] {
        lend(&pool, Class::Free, now).bench(rest(noon(MINUTE)), now);
        let next = Time(now.0 + seconds * SECOND);
        assert_eq!(held(&pool, Class::Free, now).0, Some(next));
        now = next;
    }
    lend(&pool, Class::Free, now).answered(now);
    assert_eq!(lend_many(&pool, Class::Free, 5, now)["a"], 5);
}

/// An upstream that allows 20 free attempts in each minute of a clock so much ahead of ours.
struct Upstream {
    ahead: i64,
    minute: i64,
    used: usize,
    refused: usize,
}

impl Upstream {
    /// Answers what was sent, with the end of its minute in our time where it says so.
    fn answer(&mut self, lease: &Lease, now: Time, is_corrected: bool) {
        let there = now.0 + self.ahead;
        if there.div_euclid(MINUTE) != self.minute {
            (self.minute, self.used) = (there.div_euclid(MINUTE), 0);
        }
        self.used += 1;
        if self.used <= 20 {
            return lease.answered(now);
        }
        self.refused += 1;
        let end = (self.minute + 1) * MINUTE - if is_corrected { self.ahead } else { 0 };
        lease.bench(Rest::FreeMinute { until: Some(Time(end)), limit: Some(20) }, now);
    }
}

#[test]
fn a_clock_that_differs_costs_one_attempt_and_not_one_a_minute() {
    for (ahead, is_corrected, most) in [
        (-10, true, 1),
        (-7, true, 1),
        (-5, true, 1),
        (5, true, 1),
        (10, true, 1),
        (-7, false, 3),
        (-5, false, 3),
    ] {
        let pool = pool(&["a"]);
        let mut upstream = Upstream { ahead: ahead * SECOND, minute: 0, used: 0, refused: 0 };
        // Bursts, as many as may be lent, all sent before the first of them is answered; from late in a minute on.
        let mut served = 0;
        for tick in 0..1_200 {
            let now = noon(50 * SECOND + tick * SECOND / 2);
            let burst: Vec<_> = std::iter::from_fn(|| try_lend(&pool, Class::Free, now).ok()).collect();
            served += burst.len();
            for lease in burst {
                upstream.answer(&lease, now, is_corrected);
            }
        }
        assert!(upstream.refused <= most, "{ahead} {is_corrected}: {} refused", upstream.refused);
        assert!(served >= 200, "{served}");
    }
}

#[test]
fn a_limit_that_a_fault_tells_is_kept() {
    let pool = pool(&["a"]);
    let _ = bench(&pool, "a", Class::Free, Rest::FreeMinute { until: None, limit: Some(5) }, NOON);
    lend(&pool, Class::Free, noon(MINUTE)).answered(noon(MINUTE));
    assert_eq!(lend_many(&pool, Class::Free, 4, noon(MINUTE))["a"], 4);
    assert_eq!(held(&pool, Class::Free, noon(MINUTE)).0, Some(noon(2 * MINUTE)));
    let _ = bench(&pool, "a", Class::Free, Rest::FreeDay { until: None, limit: Some(0) }, noon(2 * MINUTE));
    lend(&pool, Class::Free, MIDNIGHT).answered(MIDNIGHT);
    assert_eq!(lend_many(&pool, Class::Free, 4, MIDNIGHT)["a"], 4, "a limit of none is no limit");
}

#[test]
fn a_days_free_requests_are_as_many_as_is_known() {
    let told = |told| {
        let pool = pool(&["a"]);
        pool.learn(&name("a"), &told, pool.question(&name("a"), NOON), NOON);
        pool.state(NOON).keys[0].free_day_left
    };
    for (told_of_it, left) in [
        (Told::default(), None),
        (Told { free_tier: Some(true), ..Told::default() }, Some(50)),
        (Told { free_tier: Some(false), ..Told::default() }, Some(1_000)),
        (Told { free_tier: Some(false), free_limit: Some(50), ..Told::default() }, Some(50)),
        (Told { free_limit: Some(50), free_used: Some(12), ..Told::default() }, Some(38)),
        (Told { free_limit: Some(50), free_used: Some(60), ..Told::default() }, Some(0)),
        (Told { free_used: Some(12), ..Told::default() }, None),
    ] {
        assert_eq!(told(told_of_it.clone()), left, "{told_of_it:?}");
    }
}

#[test]
fn a_day_used_up_comes_back_at_midnight() {
    let used = HashMap::from([("a".into(), free_today(49))]);
    let pool = KeyPool::resume(keys(&["a"]), &used, NOON);
    pool.learn(
        &name("a"),
        &Told { free_limit: Some(50), ..Told::default() },
        pool.question(&name("a"), NOON),
        NOON,
    );
    assert_eq!(pool.state(NOON).keys[0].free_day_left, Some(1));
    let lease = lend(&pool, Class::Free, NOON);
    lease.count_again(NOON);
    assert_eq!(held(&pool, Class::Free, NOON), (Some(MIDNIGHT), vec![(Why::FreeDay, 1)]));
    let first = lend(&pool, Class::Free, MIDNIGHT);
    assert_eq!(held(&pool, Class::Free, MIDNIGHT).1, [(Why::Probing, 1)]);
    first.answered(MIDNIGHT);
    assert_eq!(pool.state(MIDNIGHT).keys[0].free_day_left, Some(49));
}

#[test]
fn a_report_corrects_the_count_as_far_as_it_can_know() {
    let counted = |asked: i64, used: u64| {
        let pool = pool(&["a"]);
        let told = Told { free_limit: Some(100), free_used: Some(used), ..Told::default() };
        let _ = lend_many(&pool, Class::Free, 10, NOON);
        let _ = lend_many(&pool, Class::Free, 3, noon(60 * MINUTE));
        pool.learn(
            &name("a"),
            &told,
            pool.question(&name("a"), noon(asked)),
            noon(60 * MINUTE + 10 * SECOND),
        );
        100 - pool.state(noon(61 * MINUTE)).keys[0].free_day_left.unwrap()
    };
    assert_eq!(counted(60 * MINUTE + 5 * SECOND, 20), 20, "others used it too");
    assert_eq!(counted(60 * MINUTE - SECOND, 20), 23, "three were sent after the question");
    assert_eq!(counted(60 * MINUTE + 5 * SECOND, 2), 13, "it lags");
    assert_eq!(counted(60 * MINUTE - SECOND, 2), 5, "all it could count was long ago");
}

#[test]
fn what_a_report_told_of_all_keys_of_an_account_is_not_counted_again() {
    let pool = pool(&["a", "b"]);
    let later = noon(10 * MINUTE);
    let times =
        |key: &str, count: usize, now| (0..count).for_each(|_| drop(lend_key(&pool, key, Class::Free, now)));
    times("a", 10, later);
    times("b", 15, later);
    let told = |used| Told { free_limit: Some(50), free_used: Some(used), ..owned_by("x") };
    let asked = Time(later.0 + SECOND);
    pool.learn(&name("a"), &told(27), pool.question(&name("a"), asked), asked);
    let sent = Time(asked.0 + SECOND);
    times("b", 3, sent);
    // It lags, and the two turn out to be one account only now.
    pool.learn(&name("b"), &told(27), pool.question(&name("b"), sent), sent);
    assert_eq!(pool.state(sent).keys[1].free_day_left, Some(50 - 27 - 3));
}

#[test]
fn a_report_that_lags_leaves_what_two_keys_of_an_account_sent() {
    let pool = pool(&["a", "b"]);
    let _ = lend_many(&pool, Class::Free, 30, NOON);
    for key in ["a", "b"] {
        let told = Told { free_limit: Some(50), free_used: Some(2), ..owned_by("x") };
        pool.learn(&name(key), &told, pool.question(&name(key), noon(2 * SECOND)), noon(2 * SECOND));
    }
    assert_eq!(pool.state(noon(2 * SECOND)).keys[0].free_day_left, Some(20));
}

#[test]
fn a_report_just_after_midnight_may_be_of_yesterday() {
    let pool = pool(&["a"]);
    let told = |used| Told { free_limit: Some(50), free_used: Some(used), ..Told::default() };
    let (early, late) = (Time(MIDNIGHT.0 + 5 * SECOND), Time(MIDNIGHT.0 + 5 * MINUTE));
    pool.learn(&name("a"), &told(50), pool.question(&name("a"), early), early);
    assert_eq!(pool.state(early).keys[0].free_day_left, Some(50));
    pool.learn(&name("a"), &told(7), pool.question(&name("a"), late), late);
    assert_eq!(pool.state(late).keys[0].free_day_left, Some(43));
}

#[test]
fn a_report_just_after_a_restart_may_lag_behind_the_process_before() {
    let used = HashMap::from([("a".into(), free_today(12))]);
    let pool = KeyPool::resume(keys(&["a"]), &used, NOON);
    let told = |used| Told { free_limit: Some(50), free_used: Some(used), ..Told::default() };
    pool.learn(&name("a"), &told(3), pool.question(&name("a"), noon(SECOND)), noon(SECOND));
    assert_eq!(pool.state(noon(SECOND)).keys[0].free_day_left, Some(38));
    pool.learn(&name("a"), &told(3), pool.question(&name("a"), noon(15 * MINUTE)), noon(15 * MINUTE));
    assert_eq!(pool.state(noon(15 * MINUTE)).keys[0].free_day_left, Some(47));
}

#[test]
fn a_report_of_yesterday_says_nothing_of_today() {
    let pool = pool(&["a"]);
    let told = Told { free_limit: Some(50), free_used: Some(50), ..Told::default() };
    pool.learn(&name("a"), &told, pool.question(&name("a"), Time(MIDNIGHT.0 - 1)), MIDNIGHT);
    assert_eq!(pool.state(MIDNIGHT).keys[0].free_day_left, Some(50));
}

#[test]
fn counts_add_up_when_keys_turn_out_to_be_one_account() {
    let used = HashMap::from([("a".into(), free_today(20)), ("b".into(), free_today(7))]);
    let pool = KeyPool::resume(keys(&["a", "b"]), &used, NOON);
    pool.learn(
        &name("a"),
        &Told { free_limit: Some(50), ..owned_by("x") },
        pool.question(&name("a"), NOON),
        NOON,
    );
    assert_eq!(pool.state(NOON).keys[0].free_day_left, Some(30));
    let first = lend_key(&pool, "b", Class::Free, NOON);
    first.belongs_to("x", NOON);
    for key in pool.state(NOON).keys {
        assert_eq!((key.account.as_deref(), key.free_day_left), (Some("account 1"), Some(22)));
    }
    // It was a mistake: what GET /key tells weighs more.
    pool.learn(&name("b"), &owned_by("y"), pool.question(&name("b"), NOON), NOON);
    first.belongs_to("x", NOON);
    let state = pool.state(NOON);
    assert_eq!((state.keys[0].free_day_left, state.keys[1].free_day_left), (Some(30), None));
    assert_eq!(state.keys[1].account.as_deref(), Some("account 2"));
}

#[test]
fn a_probe_whose_key_turns_out_to_be_anothers_holds_nothing_up() {
    let pool = two_and_one();
    let _ = bench(&pool, "a", Class::Free, Rest::FreeMinute { until: None, limit: None }, NOON);
    let now = noon(MINUTE);
    let mut tried = Tried::default();
    tried.key(&lend_key(&pool, "c", Class::Free, now));
    let first = pool.lease(&ask(Class::Free, &tried), now).unwrap();
    assert_eq!(
        pool.lease(&ask(Class::Free, &tried), now).unwrap_err().why,
        [(Why::Probing, 2), (Why::Tried, 1)]
    );
    pool.learn(first.key().name(), &owned_by("y"), pool.question(first.key().name(), now), now);
    assert_eq!(lend_many(&pool, Class::Free, 6, now).len(), 3);
}

#[test]
fn the_column_outweighs_what_is_learned() {
    let of = |account: &str| {
        let account = account.into();
        move |terms: &mut Terms| terms.account = Some(account)
    };
    let keys = || vec![key_with("a", of("main")), key_with("b", of("main")), key("c")];
    let pool = KeyPool::resume(keys(), &HashMap::new(), NOON);
    for key in ["a", "c"] {
        pool.learn(&name(key), &owned_by("x"), pool.question(&name(key), NOON), NOON);
    }
    let accounts = |pool: &KeyPool| -> Vec<Option<String>> {
        pool.state(NOON).keys.into_iter().map(|key| key.account).collect()
    };
    let main = || Some("main".to_owned());
    assert_eq!(accounts(&pool), [main(), main(), Some("account 1".to_owned())]);
    let by_name = lend_many(&pool, Class::Free, 40, NOON);
    assert_eq!(by_name["a"] + by_name["b"], 20);
    // Without the column, what was learned counts.
    pool.reload(vec![key("a"), key("b"), key("c")]);
    assert_eq!(accounts(&pool), [Some("account 1".to_owned()), None, Some("account 1".to_owned())]);
}

#[test]
fn keys_of_one_account_are_told_of_once_when_no_more_join() {
    let pool = pool(&["ann", "bob", "cy", "dee"]);
    let learn = |key: &str, account: &str, now: Time| {
        let mut stock = pool.lock();
        let at = stock.by_name[&name(key)];
        stock.learn(at, &owned_by(account), Question { asked: now, spent: 0 }, now);
    };
    let told = |now: Time| {
        let mut stock = pool.lock();
        stock.tell_of_accounts(now);
        std::mem::take(&mut stock.warnings)
    };
    // One after the other, as they are asked about.
    for (after, key) in [(0, "ann"), (1, "cy"), (3, "bob")] {
        learn(key, "x", noon(after * SECOND));
        assert!(told(noon(after * SECOND)).is_empty());
    }
    assert!(told(noon(6 * SECOND - 1)).is_empty());
    let three = ["these 3 keys are one account: they add no free quota: ann, bob, cy"];
    assert_eq!(told(noon(6 * SECOND)), three);
    learn("ann", "x", noon(7 * SECOND));
    assert!(told(noon(MINUTE)).is_empty(), "once");
    learn("dee", "x", noon(MINUTE));
    learn("cy", "y", noon(MINUTE));
    assert!(told(noon(2 * MINUTE)).is_empty(), "no more than before");
    learn("cy", "x", noon(2 * MINUTE));
    // The clock was set back.
    assert_eq!(
        told(noon(-HOUR)),
        ["these 4 keys are one account: they add no free quota: ann, bob, cy, dee"]
    );
}
