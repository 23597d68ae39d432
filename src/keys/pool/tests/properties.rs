//! Whatever happens in whatever order: the pool lends what a slow model of it allows, and never loses its footing.

use proptest::prelude::*;

use super::super::stock::Stock;
use super::model::{Model, made};
use super::*;

/// Something that happens; numbers choose among the leases or the keys there are.
#[derive(Clone, Debug)]
enum Event {
    Lease(Class),
    Again(usize),
    Answered(usize),
    Bench(usize, Rest),
    Spent(usize, i64),
    Back(usize),
    Pass(i64),
    Reset,
    Learn(usize, Told),
    Said(usize, &'static str),
    Reload(u8),
    Restart,
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![3 => Just(Class::Free), 2 => Just(Class::Paid), 1 => Just(Class::Other)]
}

/// A fault, told at any time of the first hour, and so with hints that lie ahead or behind.
fn rest() -> impl Strategy<Value = Rest> {
    let hint = || prop::option::of((0..120_i64).prop_map(|seconds| noon(seconds * SECOND)));
    prop_oneof![
        Just(Rest::Refused),
        hint().prop_map(Rest::Cap),
        Just(Rest::NoCredits),
        hint().prop_map(Rest::InFlight),
        hint().prop_map(|until| Rest::FreeMinute { until, limit: None }),
        hint().prop_map(|until| Rest::FreeDay { until, limit: None }),
        hint().prop_map(Rest::Unidentified),
    ]
}

/// What happens to leases and to the time.
fn traffic() -> impl Strategy<Value = Event> {
    let pass =
        prop::sample::select(&[0, 1, 999, 1_000, 7_000, 30_000, 60_000, 900_000, 3_600_000, 43_200_000][..]);
    prop_oneof![
        12 => class().prop_map(Event::Lease),
        1 => any::<usize>().prop_map(Event::Again),
        4 => any::<usize>().prop_map(Event::Answered),
        4 => (any::<usize>(), rest()).prop_map(|(lease, rest)| Event::Bench(lease, rest)),
        5 => any::<usize>().prop_map(Event::Back),
        6 => pass.prop_map(Event::Pass),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    let account = prop::option::of(prop::sample::select(&["x", "y"][..]));
    let count = || prop::option::of(0..30_u64);
    let moment = || prop::option::of((0..7_200_i64).prop_map(|seconds| noon(seconds * SECOND)));
    let money = prop::option::of(-5..100_i64);
    (account, count(), count(), moment(), moment(), money, any::<bool>()).prop_map(
        |(account, free_used, free_limit, expires, cap_resets, cap_left, free_tier)| Told {
            account: account.map(Box::from),
            cap_left,
            cap_resets,
            expires,
            free_tier: Some(free_tier),
            free_used,
            free_limit,
            management: false,
        },
    )
}

/// What happens to leases, to the time, and to what is known.
fn anything() -> impl Strategy<Value = Event> {
    prop_oneof![
        24 => traffic(),
        1 => Just(Event::Reset),
        4 => (0..5_usize, told()).prop_map(|(key, told)| Event::Learn(key, told)),
        3 => (any::<usize>(), prop::sample::select(&["x", "y", "z"][..])).prop_map(|(at, id)| Event::Said(at, id)),
        2 => (any::<usize>(), 1..60_i64).prop_map(|(lease, cost)| Event::Spent(lease, cost)),
        1 => any::<u8>().prop_map(Event::Reload),
        1 => Just(Event::Restart),
    ]
}

/// What a line says must be what the rules say, for each key and class.
fn assert_sound(pool: &KeyPool, now: Time) {
    let mut stock = pool.lock();
    let now = stock.tick(now);
    for at in 0..stock.slots.len() {
        let standings = |stock: &Stock| {
            Class::ALL.map(|class| stock.lines[class as usize].as_ref().map(|line| line.standing(at)))
        };
        let (told, was_quiet) = (standings(&stock), stock.slots[at].is_quiet);
        stock.refresh(at, now);
        // An expiry is seen when the key's turn comes.
        let is_expired = stock.slots[at].known.expires.is_some_and(|expires| expires <= now);
        assert!(told == standings(&stock) || is_expired, "{at}: {told:?}, not {:?}", standings(&stock));
        assert!(stock.slots[at].is_quiet || !was_quiet, "{at} has something to watch");
    }
    for (place, account) in stock.accounts.iter().enumerate() {
        assert!(account.keys.iter().all(|&at| stock.slots[at].account == place));
    }
    let owned: usize = stock.accounts.iter().map(|account| account.keys.len()).sum();
    assert_eq!(owned, stock.slots.len());
    for (id, &place) in &stock.by_id {
        assert_eq!(stock.accounts[place].id.as_ref(), Some(id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_pool_lends_what_the_model_allows(events in prop::collection::vec(traffic(), 1..150)) {
        let (pool, mut model) = (made(), Model::new());
        let mut now = NOON;
        let mut open: Vec<(usize, Lease)> = Vec::new();
        let mut leases = 0;
        for event in events {
            model.turn(now);
            match event {
                Event::Lease(class) => {
                    let allowed = model.may_serve(class, now);
                    match try_lend(&pool, class, now) {
                        Ok(lease) => {
                            let key = usize::from(lease.key().name().as_str().as_bytes()[1] - b'0');
                            let best = allowed.iter().map(|&key| model.rank(key)).min();
                            prop_assert!(allowed.contains(&key), "{} of {:?}", key, allowed);
                            prop_assert_eq!(Some(model.rank(key)), best);
                            model.lease(key, class, now);
                            open.push((leases, lease));
                            leases += 1;
                        }
                        Err(exhausted) => {
                            prop_assert_eq!(&allowed, &Vec::<usize>::new());
                            prop_assert_eq!(exhausted.until, model.first_back(class, now));
                            prop_assert!(exhausted.back.is_none() || exhausted.until <= exhausted.back);
                            prop_assert_eq!(exhausted.why.iter().map(|(_, count)| count).sum::<usize>(), 5);
                        }
                    }
                }
                Event::Pass(time) => now = Time(now.0 + time),
                Event::Again(at) | Event::Answered(at) | Event::Bench(at, _) | Event::Back(at)
                    if !open.is_empty() =>
                {
                    let at = at % open.len();
                    let (id, lease) = &open[at];
                    match event {
                        Event::Again(_) => {
                            lease.count_again(now);
                            model.again(*id, now);
                        }
                        Event::Answered(_) => {
                            lease.answered(now);
                            model.answered(*id, now);
                        }
                        Event::Bench(_, rest) => {
                            lease.bench(rest, now);
                            let is_outage = is_outage(&pool, model.class(*id), rest, now);
                            prop_assert_eq!(is_outage, model.bench(*id, rest, now));
                        }
                        _ => {
                            let (id, lease) = open.swap_remove(at);
                            drop(lease);
                            model.given_back(id);
                        }
                    }
                }
                _ => {}
            }
        }
        prop_assert!(pool.reset(None, now).is_some());
        model.turn(now);
        model.reset();
        for class in Class::ALL {
            prop_assert_eq!(try_lend(&pool, class, now).is_ok(), !model.may_serve(class, now).is_empty());
        }
    }

    #[test]
    fn whatever_is_learned_the_lines_are_sound(events in prop::collection::vec(anything(), 1..150)) {
        let all = ["k0", "k1", "k2", "k3", "k4"];
        let mut pool = pool(&all);
        let mut now = NOON;
        let mut facts: HashMap<(String, String), String> = HashMap::new();
        let mut open: Vec<Lease> = Vec::new();
        for event in events {
            match event {
                Event::Lease(class) => open.extend(try_lend(&pool, class, now)),
                Event::Pass(time) => now = Time(now.0 + time),
                Event::Reset => prop_assert!(pool.reset(None, now).is_some()),
                Event::Learn(key, told) => pool.learn(&name(all[key]), &told, pool.question(&name(all[key]), Time(now.0 - 500)), now),
                Event::Reload(which) => {
                    let is_in = |at: &usize| which & (1 << at) != 0;
                    let key = |at: usize| match which >> 6 {
                        0 => key_with(all[at], |terms| terms.account = Some("x".into())),
                        1 if at == 0 => Key::new(name("k0"), &Secret::new("sk-or-v1-other".to_owned())),
                        _ => key(all[at]),
                    };
                    pool.reload((0..all.len()).filter(is_in).map(key).collect());
                }
                Event::Restart => {
                    open.clear();
                    for fact in pool.take_facts() {
                        let place = (fact.kind.to_owned(), fact.id.to_string());
                        match fact.value {
                            Some(value) => facts.insert(place, value),
                            None => facts.remove(&place),
                        };
                    }
                    let kept = facts.iter().map(|((kind, id), value)| (kind.clone(), id.clone(), value.clone()));
                    pool = KeyPool::resume(keys(&all), &HashMap::new(), now);
                    pool.restore(&kept.collect::<Vec<_>>(), now);
                }
                Event::Again(at) | Event::Answered(at) | Event::Bench(at, _) | Event::Back(at)
                    | Event::Spent(at, _) | Event::Said(at, _) if !open.is_empty() =>
                {
                    let at = at % open.len();
                    match event {
                        Event::Again(_) => open[at].count_again(now),
                        Event::Answered(_) => open[at].answered(now),
                        Event::Bench(_, rest) => {
                            open[at].bench(rest, now);
                            let _ = is_outage(&pool, Class::Paid, rest, now);
                        }
                        Event::Spent(_, cost) => open[at].spent(cost, now),
                        Event::Said(_, id) => open[at].belongs_to(id, now),
                        _ => drop(open.swap_remove(at)),
                    }
                }
                _ => {}
            }
            assert_sound(&pool, now);
        }
        open.clear();
        assert_sound(&pool, now);
        for class in Class::ALL {
            if let Err(exhausted) = try_lend(&pool, class, now) {
                let waits = exhausted.why.iter().any(|(why, _)| *why == Why::Probing);
                prop_assert!(!waits, "everybody waits for nobody: {:?}", exhausted);
            }
            let forecast = pool.forecast(&ask(class, &Tried::default()), now, Time(now.0 + MINUTE));
            prop_assert!(forecast > 0 || try_lend(&pool, class, now).is_err());
        }
    }
}
