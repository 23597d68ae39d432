//! The waiting room with keys and a clock that a test turns.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Blocked, Full, GaveUp, Granted, Keys, ROOM_FOR_ALL, ROOM_FOR_CALLER, Room};
use crate::clock::{Clock, Time};
use crate::keys::breaker::{Admission, Breakers};
use crate::keys::need::{Bind, Class, Exhausted, Need, Runs, Tried, Why};

const START: Time = Time(1_700_000_000_000);
const MODEL: &str = "maker/model:free";
const MINUTE: Duration = Duration::from_secs(60);

/// A pool that lends as often as a test says.
#[derive(Clone, Default)]
struct Pool(Arc<PoolInner>);

#[derive(Default)]
struct PoolInner {
    books: Mutex<Books>,
    returned: Notify,
}

struct Books {
    /// How many leases there are to be had.
    stock: usize,
    /// How often it was asked in vain.
    refused: usize,
    until: Option<Time>,
    forecast: u64,
    /// Models that no key may serve for now.
    closed: HashSet<String>,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            stock: 0,
            refused: 0,
            until: Some(START.after(MINUTE / 2)),
            forecast: u64::MAX,
            closed: HashSet::new(),
        }
    }
}

#[derive(Debug)]
struct PoolLease(Pool);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

impl Keys for Pool {
    type Lease = PoolLease;

    fn lease(&self, need: &Need<'_>, _now: Time) -> Result<PoolLease, Exhausted> {
        let mut books = self.0.books.lock().unwrap();
        if books.stock == 0 || books.closed.contains(need.model) {
            books.refused += 1;
            let why = if books.until.is_some() { Why::FreeMinute } else { Why::Refused };
            return Err(Exhausted { until: books.until, back: books.until, why: vec![(why, 1)] });
        }
        books.stock -= 1;
        Ok(PoolLease(self.clone()))
    }

    fn forecast(&self, _need: &Need<'_>, _now: Time, _until: Time) -> u64 {
        self.0.books.lock().unwrap().forecast
    }

    fn returned(&self) -> &Notify {
        &self.0.returned
    }

    fn unused(lease: PoolLease) {
        lease.0.0.books.lock().unwrap().stock += 1;
    }
}

/// A room, what it waits for, and who was served in which order.
struct World {
    room: Room<Pool>,
    pool: Pool,
    breakers: Breakers,
    clock: Clock,
    served: Arc<Mutex<Vec<(String, usize)>>>,
}

type Waits = JoinHandle<Result<(), GaveUp>>;

impl World {
    fn new() -> Self {
        let (pool, breakers, clock) = (Pool::default(), Breakers::default(), Clock::fixed(START));
        let room = Room::new(pool.clone(), breakers.clone(), clock.clone());
        Self { room, pool, breakers, clock, served: Arc::default() }
    }

    fn enter(
        &self,
        caller: &str,
        model: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<Granted<PoolLease>, GaveUp>> + use<> {
        let (room, now) = (self.room.clone(), self.clock.now());
        let (caller, model) = (Arc::<str>::from(caller), model.to_owned());
        async move {
            let tried = Tried::default();
            let need = Need {
                model: &model,
                runs: Runs::Named(&[]),
                class: Class::Free,
                bind: Bind::Free,
                keys: None,
                tried: &tried,
            };
            room.enter(&caller, &need, &mut patience.clone(), now).await
        }
    }

    /// A request that enters now and is noted down when it is served; its lease is used up.
    fn request_for(&self, model: &str, caller: &str, number: usize, patience: Duration) -> Waits {
        let mut entering = Box::pin(self.enter(caller, model, patience));
        let (served, caller) = (Arc::clone(&self.served), caller.to_owned());
        let note = move |result: Result<Granted<PoolLease>, GaveUp>| {
            result.map(|granted| {
                served.lock().unwrap().push((caller, number));
                if let Some(probe) = granted.probe {
                    probe.answered();
                }
            })
        };
        // It takes its place before the next one comes.
        match poll(&mut entering) {
            Poll::Ready(result) => {
                let result = note(result);
                tokio::spawn(async { result })
            }
            Poll::Pending => tokio::spawn(async move { note(entering.await) }),
        }
    }

    fn request(&self, caller: &str, number: usize) -> Waits {
        self.request_for(MODEL, caller, number, MINUTE)
    }

    fn requests(&self, caller: &str, count: usize) -> Vec<Waits> {
        (0..count).map(|number| self.request(caller, number)).collect()
    }

    /// So many keys come back, and the pool says so.
    async fn returns(&self, count: usize) {
        self.restock(count);
        self.pool.0.returned.notify_waiters();
        settle().await;
    }

    /// So many keys come back, and nobody is told.
    fn restock(&self, count: usize) {
        self.pool.0.books.lock().unwrap().stock += count;
    }

    fn books(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.pool.0.books.lock().unwrap());
    }

    /// Both clocks go on.
    async fn pass(&self, time: Duration) {
        let step = Duration::from_millis(10);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.clock.set(self.clock.now().after(step));
            tokio::time::advance(step).await;
            settle().await;
        }
    }

    fn served(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut *self.served.lock().unwrap())
    }

    /// Takes the model down.
    fn take_down(&self, model: &str) {
        while let Admission::Go(probe) = self.breakers.admit(model, self.clock.now()) {
            probe.unwrap().failed(None, self.clock.now());
        }
    }
}

/// Polls once; nobody is woken by it.
fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets every task run that can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn who(served: &[(&str, usize)]) -> Vec<(String, usize)> {
    served.iter().map(|&(caller, number)| (caller.to_owned(), number)).collect()
}

fn numbers(count: usize, caller: &str) -> Vec<(String, usize)> {
    (0..count).map(|number| (caller.to_owned(), number)).collect()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_keys_are_there() {
    let world = World::new();
    world.restock(1);
    world.request_for(MODEL, "ann", 0, Duration::ZERO).await.unwrap().unwrap();
    assert!(world.room.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_without_patience_is_refused_at_once() {
    let world = World::new();
    let result = world.request_for(MODEL, "ann", 0, Duration::ZERO).await.unwrap();
    let Err(GaveUp::TooLate(why)) = result else { panic!("{result:?}") };
    assert_eq!(why.until(), Some(START.after(MINUTE / 2)));
    assert!(world.room.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_when_the_window_turns() {
    let world = World::new();
    let waits = world.requests("ann", 3);
    world.pass(Duration::from_millis(29_990)).await;
    assert_eq!(world.served(), []);
    world.restock(2);
    world.books(|books| books.until = Some(START.after(MINUTE)));
    world.pass(Duration::from_millis(20)).await;
    assert_eq!(world.served(), numbers(2, "ann"));
    assert_eq!(world.room.state().waiting, 1);
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn patience_grows_shorter_by_the_wait() {
    let world = World::new();
    let (room, tried, caller) = (world.room.clone(), Tried::default(), Arc::<str>::from("ann"));
    let need = Need {
        model: MODEL,
        runs: Runs::Named(&[]),
        class: Class::Free,
        bind: Bind::Free,
        keys: None,
        tried: &tried,
    };
    let mut patience = MINUTE;
    let (result, ()) = tokio::join!(room.enter(&caller, &need, &mut patience, START), async {
        world.pass(Duration::from_secs(20)).await;
        world.returns(1).await;
    });
    result.unwrap();
    assert_eq!(patience, Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let world = World::new();
    let waits = world.request_for(MODEL, "ann", 0, Duration::from_secs(31));
    world.books(|books| books.until = Some(START.after(Duration::from_millis(30_995))));
    world.pass(Duration::from_secs(32)).await;
    let result = waits.await.unwrap();
    assert!(matches!(result, Err(GaveUp::Patience(_))), "{result:?}");
    assert!(world.room.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_returns_too_late_is_not_waited_for() {
    let world = World::new();
    let result = world.request_for(MODEL, "ann", 0, MINUTE / 3).await.unwrap();
    assert!(matches!(result, Err(GaveUp::TooLate(Blocked::Keys(_)))), "{result:?}");
    // Nor any longer, once that is known.
    let waits = world.request("ann", 0);
    let tomorrow = START.after(Duration::from_secs(86_400));
    world.books(|books| books.until = Some(tomorrow));
    world.pass(Duration::from_secs(2)).await;
    let result = waits.await.unwrap();
    assert!(matches!(&result, Err(GaveUp::TooLate(why)) if why.until() == Some(tomorrow)), "{result:?}");
    assert!(world.room.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_person_is_not_waited_for() {
    let world = World::new();
    let waits = world.request("ann", 0);
    world.books(|books| books.until = None);
    world.pass(Duration::from_secs(2)).await;
    let result = waits.await.unwrap();
    assert!(matches!(&result, Err(GaveUp::TooLate(why)) if why.until().is_none()), "{result:?}");
    let result = world.request("ann", 0).await.unwrap();
    assert!(matches!(&result, Err(GaveUp::TooLate(why)) if why.until().is_none()), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn each_callers_requests_are_served_in_order() {
    let world = World::new();
    let waits = world.requests("ann", 10);
    for _ in 0..5 {
        world.returns(2).await;
    }
    assert_eq!(world.served(), numbers(10, "ann"));
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn many_waiting_of_one_caller_delay_anothers_by_a_turn_at_most() {
    let world = World::new();
    let many = world.requests("ann", 100);
    let single = world.request("bob", 0);
    world.returns(1).await;
    world.returns(1).await;
    assert_eq!(world.served(), who(&[("ann", 0), ("bob", 0)]));
    // Free models share their quota, so that this holds for another model as well.
    let other = world.request_for("other/model:free", "bob", 1, MINUTE);
    world.returns(2).await;
    assert_eq!(world.served(), who(&[("ann", 1), ("bob", 1)]));
    drop((many, single, other));
}

#[tokio::test(start_paused = true)]
async fn all_that_the_pool_gives_is_handed_out_at_once() {
    let world = World::new();
    let waits = (world.requests("ann", 40), world.requests("bob", 40));
    world.returns(50).await;
    let served = world.served();
    assert_eq!(served.len(), 50);
    assert_eq!(served.iter().filter(|(caller, _)| caller == "bob").count(), 25);
    assert_eq!(world.room.state().waiting, 30);
    assert_eq!(world.room.state().callers["bob"], 15);
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn the_room_is_bounded_for_each_and_for_all() {
    let world = World::new();
    let mut waits = world.requests("ann", ROOM_FOR_CALLER);
    let result = world.request("ann", ROOM_FOR_CALLER).await.unwrap();
    assert!(matches!(result, Err(GaveUp::Full(Full::OfCaller, _))), "{result:?}");
    for caller in 1..ROOM_FOR_ALL / ROOM_FOR_CALLER {
        waits.extend(world.requests(&format!("caller {caller}"), ROOM_FOR_CALLER));
    }
    assert_eq!(world.room.state().waiting, ROOM_FOR_ALL);
    let result = world.request("bob", 0).await.unwrap();
    assert!(matches!(result, Err(GaveUp::Full(Full::OfAll, _))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_served_in_time_is_refused_at_once() {
    let world = World::new();
    world.books(|books| books.forecast = 5);
    let mut waits = world.requests("ann", 5);
    let result = world.request("ann", 5).await.unwrap();
    assert!(matches!(result, Err(GaveUp::TooLate(_))), "{result:?}");
    // Another's first comes after one of hers, its second after two, and its third would be the sixth.
    waits.extend(world.requests("bob", 2));
    let result = world.request("bob", 2).await.unwrap();
    assert!(matches!(result, Err(GaveUp::TooLate(_))), "{result:?}");
    assert_eq!(world.room.state().waiting, 7);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_does_not_overtake() {
    let world = World::new();
    let first = world.request("ann", 0);
    // A key is back, but the one who waits has not heard of it.
    world.restock(1);
    let second = world.request("bob", 0);
    assert_eq!(world.served(), []);
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.served(), who(&[("ann", 0)]));
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_gives_its_place_up() {
    let world = World::new();
    let mut waits = world.requests("ann", 3);
    settle().await;
    // The first drives; another has to take over.
    waits.remove(0).abort();
    settle().await;
    assert_eq!(world.room.state().waiting, 2);
    world.returns(1).await;
    assert_eq!(world.served(), who(&[("ann", 1)]));
    waits.remove(1).abort();
    settle().await;
    assert!(world.room.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_handed_to_one_who_left_goes_to_the_next() {
    let world = World::new();
    let mut first = Box::pin(world.enter("ann", MODEL, MINUTE));
    let mut second = Box::pin(world.enter("bob", MODEL, MINUTE));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    let third = world.request("cat", 0);
    world.restock(2);
    // The first looks for all, and the second is handed a lease that it never fetches.
    assert!(matches!(poll(&mut first), Poll::Pending | Poll::Ready(Ok(_))));
    world.pool.0.returned.notify_waiters();
    let Poll::Ready(Ok(_granted)) = poll(&mut first) else { panic!("not served") };
    assert_eq!(world.pool.0.books.lock().unwrap().stock, 0);
    // The third, who drives now, has looked in vain.
    settle().await;
    assert_eq!(world.served(), []);
    drop(second);
    settle().await;
    assert_eq!(world.served(), who(&[("cat", 0)]));
    assert!(world.room.is_empty());
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed_within_a_second() {
    let world = World::new();
    let waits = world.requests("ann", 2);
    world.pass(Duration::from_secs(3)).await;
    // Turned on: the window has turned, though nobody has slept so long.
    world.clock.set(world.clock.now().after(Duration::from_secs(3600)));
    world.restock(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(world.served(), who(&[("ann", 0)]));
    // Turned back.
    world.clock.set(START);
    world.restock(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(world.served(), who(&[("ann", 1)]));
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn those_who_sleep_ask_the_pool_once_a_second() {
    let world = World::new();
    let waits = world.requests("ann", 100);
    settle().await;
    world.books(|books| books.refused = 0);
    world.pass(Duration::from_secs(10)).await;
    let refused = world.pool.0.books.lock().unwrap().refused;
    assert!((9..=11).contains(&refused), "{refused}");
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_held_holds_no_other() {
    let world = World::new();
    world.books(|books| _ = books.closed.insert("closed/model".to_owned()));
    let held = world.request_for("closed/model", "ann", 0, MINUTE);
    let waits = world.request("ann", 1);
    world.returns(1).await;
    assert_eq!(world.served(), who(&[("ann", 1)]));
    // Nor one that arrives.
    world.restock(1);
    let arrives = world.request("bob", 0);
    assert_eq!(world.served(), who(&[("bob", 0)]));
    drop((held, waits, arrives));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_model_that_is_down_is_served_when_a_probe_answers() {
    let world = World::new();
    world.take_down(MODEL);
    world.restock(100);
    // Whatever the forecast of keys is.
    world.books(|books| books.forecast = 0);
    let waits = world.requests("ann", 30);
    let other = world.request_for("other/model", "ann", 99, MINUTE);
    world.pass(Duration::from_millis(1990)).await;
    assert_eq!(world.served(), who(&[("ann", 99)]));
    world.pass(Duration::from_millis(20)).await;
    assert_eq!(world.served(), numbers(30, "ann"));
    for waits in waits {
        waits.await.unwrap().unwrap();
    }
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn one_probe_leaves_at_a_time() {
    let world = World::new();
    world.take_down(MODEL);
    world.restock(100);
    let mut waits: Vec<_> = (0..5).map(|_| Box::pin(world.enter("ann", MODEL, MINUTE))).collect();
    assert!(waits.iter_mut().all(|waits| poll(waits).is_pending()));
    world.clock.set(START.after(Duration::from_secs(2)));
    tokio::time::advance(Duration::from_secs(2)).await;
    let mut out: Vec<_> = waits.iter_mut().map(poll).filter(Poll::is_ready).collect();
    assert_eq!(out.len(), 1);
    // A failed one is followed by the next in time.
    let Some(Poll::Ready(Ok(Granted { probe: Some(probe), .. }))) = out.pop() else { panic!("{out:?}") };
    probe.failed(None, world.clock.now());
    let mut waits = waits.split_off(1);
    assert!(waits.iter_mut().all(|waits| poll(waits).is_pending()));
    world.clock.set(START.after(Duration::from_secs(6)));
    tokio::time::advance(Duration::from_secs(4)).await;
    let out: Vec<_> = waits.iter_mut().map(poll).filter(Poll::is_ready).collect();
    assert_eq!(out.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_down_refuses_those_without_patience() {
    let world = World::new();
    world.take_down(MODEL);
    world.restock(1);
    let result = world.request_for(MODEL, "ann", 0, Duration::ZERO).await.unwrap();
    let until = START.after(Duration::from_secs(2));
    assert_eq!(result, Err(GaveUp::TooLate(Blocked::Model(until))));
    assert_eq!(world.pool.0.books.lock().unwrap().stock, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_of_a_model_refuses_nobody() {
    let world = World::new();
    world.restock(100);
    let mut out = Vec::new();
    for _ in 0..8 {
        out.push(world.enter("ann", MODEL, MINUTE).await.unwrap());
    }
    let mut patient = Box::pin(world.enter("ann", MODEL, MINUTE));
    assert!(poll(&mut patient).is_pending());
    // Who has less patience than that lasts goes at once.
    out.push(world.enter("bob", MODEL, Duration::from_secs(1)).await.unwrap());
    out.push(world.enter("bob", MODEL, Duration::ZERO).await.unwrap());
    // An answer makes room.
    let Granted { probe: Some(probe), .. } = out.pop().unwrap() else { panic!("not watched") };
    drop(out.pop());
    assert!(poll(&mut patient).is_pending());
    probe.answered();
    drop(out.pop());
    assert!(poll(&mut patient).is_ready());
}

#[test]
fn requests_of_many_threads_are_all_served() {
    let world = World::new();
    // Known models are not held.
    prove(&world.breakers);
    world.restock(3);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let caller = format!("caller {thread}");
                runtime.block_on(futures_util::future::join_all((0..90).map(|number| {
                    let entering = world.enter(&caller, MODEL, MINUTE);
                    async move {
                        if number % 3 == 0 {
                            // Some leave at any moment, also with a lease in their hands.
                            let short = Duration::from_micros(number * 20);
                            _ = tokio::time::timeout(short, entering)
                                .await
                                .map(|granted| back(world, granted));
                            return;
                        }
                        let granted = entering.await;
                        tokio::task::yield_now().await;
                        back(world, granted);
                    }
                })));
            });
        }
    });
    assert!(world.room.is_empty());
    assert_eq!(world.pool.0.books.lock().unwrap().stock, 3);
}

/// Gives a lease back and says so.
fn back(world: &World, granted: Result<Granted<PoolLease>, GaveUp>) {
    drop(granted.unwrap());
    world.restock(1);
    world.pool.0.returned.notify_one();
}

fn prove(breakers: &Breakers) {
    while let Admission::Go(Some(probe)) = breakers.admit(MODEL, START) {
        probe.answered();
    }
}
