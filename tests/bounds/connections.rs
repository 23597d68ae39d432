//! The bound on connections: at the bound new ones wait in the backlog, and nothing spins or crashes.

use std::time::Duration;

use crate::support::hermux::answer;
use crate::support::{Connection, Hermux, Request, Setup, Upstream, eventually, show};

/// A connection on which `/health` was answered, so that it is known to be accepted.
fn settled(hermux: &Hermux) -> Connection {
    let mut connection = hermux.send(&Request::get("/health"));
    assert_eq!(answer(&mut connection).status(), 200);
    connection
}

#[test]
fn at_the_bound_a_new_connection_waits_for_its_turn() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).flag("--max-connections", "4").flag("--workers", "2").start();
    for round in 0..3 {
        let mut held: Vec<_> = (0..4).map(|_| settled(&hermux)).collect();
        let mut waiting = hermux.send(&Request::get("/health"));
        let ticks = hermux.processor_ticks();
        assert_eq!(waiting.fill_within(Duration::from_millis(400)), None, "one too many was served");
        let spent = hermux.processor_ticks() - ticks;
        assert!(spent <= 10, "it spins while it waits: {spent} ticks of 10 ms in 400 ms");
        held.swap_remove(round).cut_fin();
        assert_eq!(answer(&mut waiting).status(), 200);
    }
}

#[test]
fn more_callers_than_files_are_served_one_after_the_other() {
    let upstream = Upstream::never_called();
    // Far fewer files than callers: without a bound, accepting fails and may spin.
    let hermux = Setup::new(&upstream).open_files(64).start();
    let mut callers: Vec<_> = (0..300).map(|_| hermux.send(&Request::get("/health"))).collect();
    // Each caller closes once it was served, which makes room for the next.
    eventually("all are served", || {
        callers.retain_mut(|caller| {
            if caller.fill_within(Duration::from_millis(1)).is_none() {
                return true;
            }
            assert!(caller.unread().starts_with(b"HTTP/1.1 200"), "{}", show(caller.unread()));
            false
        });
        callers.is_empty().then_some(())
    });
    assert!(hermux.running());
}

#[test]
fn it_rests_when_files_run_out() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).open_files(64).start();
    let idle: Vec<_> = (0..200).map(|_| hermux.connect()).collect();
    // All that can be accepted is accepted after the first of these; then there is nothing to do.
    let resting = eventually("no work while nobody says anything", || {
        let ticks = hermux.processor_ticks();
        std::thread::sleep(Duration::from_millis(300));
        (hermux.processor_ticks() - ticks <= 3).then_some(true)
    });
    assert!(resting && hermux.running());
    drop(idle);
    let mut next = hermux.send(&Request::get("/health"));
    assert_eq!(answer(&mut next).status(), 200);
}

#[test]
fn the_file_limit_is_raised_to_its_hard_value() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", hermux.pid())).expect("it runs on Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is such a limit");
    let values: Vec<&str> = line["Max open files".len()..].split_whitespace().collect();
    assert_eq!(values[0], values[1], "{line}");
}
