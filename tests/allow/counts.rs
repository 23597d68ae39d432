//! `rpm`, `daily_requests` and `daily_cost`: exact under concurrency, told with a time, and counted for what was sent alone.

use std::thread;

use super::support::hermux::{answer, write_private};
use super::support::{Connection, Hermux, Request, Setup, TOKEN, Upstream, samples};
use super::{bounded, chat, of, said};

/// How many of 200 requests at once are let in; the others are refused with a time of at most so many seconds.
fn let_in_of_200(hermux: &Hermux, longest: u64) -> usize {
    let address = hermux.address();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let ask = || {
            let mut connection = Connection::open(address);
            connection.send(Request::chat(false).bytes());
            let answer = answer(&mut connection);
            if answer.status() == 429 {
                let after: u64 = answer.head.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=longest).contains(&after), "{after}");
                assert_eq!(answer.json()["error"]["code"], 429);
            }
            answer.status()
        };
        let threads: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn two_hundred_at_once_at_a_rate_of_a_hundred_are_exactly_a_hundred() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "rpm=100").flag("--workers", "4").start();
    assert_eq!(let_in_of_200(&hermux, 60), 100);
    assert_eq!(upstream.requests(), 100);
}

#[test]
fn two_hundred_at_once_of_a_hundred_a_day_are_exactly_a_hundred_over_all_tokens_of_the_caller() {
    let upstream = Upstream::answering(chat);
    let setup = bounded(&upstream, "daily_requests=100");
    let other = "hx-another-access-token-0123456789";
    let lines = format!("{TOKEN} name=tester daily_requests=100\n{other} name=tester\n");
    write_private(&setup.allow(), &lines);
    let hermux = setup.flag("--workers", "4").start();
    let by_other = Request::chat(false).without("authorization").header("x-api-key", other);
    for _ in 0..10 {
        assert_eq!(hermux.ask(&by_other).status(), 200);
    }
    assert_eq!(let_in_of_200(&hermux, 86_400), 90, "the other token's requests are the caller's");
    assert_eq!(hermux.ask(&by_other).status(), 200, "whose own line has no bound");
    assert_eq!(upstream.requests(), 101);
}

#[test]
fn a_budget_is_overrun_by_what_is_in_flight_and_by_nothing_else() {
    let upstream = Upstream::start();
    // Each answer costs 0.000021.
    let hermux = bounded(&upstream, "daily_cost=0.00005").start();
    let mut open: Vec<_> = (0..4).map(|_| hermux.open(&Request::chat(true), &upstream)).collect();
    for (connection, exchange) in &mut open {
        exchange.begin_stream();
        exchange.wire.send_chunk(samples::CHAT_STREAM);
        exchange.wire.send_last_chunk();
        assert_eq!(answer(connection).status(), 200);
    }
    let refused = hermux.ask(&Request::chat(true));
    assert_eq!(refused.status(), 429);
    assert!(said(&refused).contains("dollars of this UTC day (daily_cost)"), "{}", said(&refused));
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn a_budget_lets_in_until_it_is_spent() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "daily_cost=0.00005").start();
    let statuses: Vec<u16> = (0..5).map(|_| hermux.ask(&Request::chat(false)).status()).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let credits = hermux.ask(&Request::get("/v1/credits")).json();
    assert_eq!(credits["data"]["total_credits"], 0.000_05);
    assert_eq!(credits["data"]["total_usage"], 0.000_063);
    let key = hermux.ask(&Request::get("/v1/key")).json();
    assert_eq!((&key["data"]["limit"], &key["data"]["limit_remaining"]), (&0.000_05.into(), &0.0.into()));
}

#[test]
fn a_refusal_speaks_the_dialect_of_its_route() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::MESSAGE));
    let hermux = bounded(&upstream, "rpm=1").start();
    let body = r#"{"model":"acme/small","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = Request::post("/v1/messages", body);
    assert_eq!(hermux.ask(&request).status(), 200);
    let refused = hermux.ask(&request);
    assert_eq!((refused.status(), &refused.json()["type"]), (429, &"error".into()));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    let refused = hermux.ask(&Request::post("/v1/responses", body));
    assert_eq!((refused.status(), &refused.json()["error"]["code"]), (429, &429.into()));
}

#[test]
fn a_request_over_the_limit_costs_no_byte_of_its_body() {
    let upstream = Upstream::answering(chat);
    let hermux = bounded(&upstream, "rpm=1").start();
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
    let upload = Request::new("POST", "/v1/chat/completions").header("Content-Length", "1000000000");
    let mut connection = hermux.connect();
    connection.send(upload.head());
    assert_eq!(connection.answer().status(), 429);
}

#[test]
fn neither_the_catalogue_nor_what_is_refused_counts() {
    let upstream = Upstream::answering(chat);
    let setup = bounded(&upstream, "rpm=2 daily_requests=2 models=acme/*,other/*");
    write_private(
        &setup.tokens(),
        &format!("name,token,models\nann,{},acme/*\n", super::support::hermux::secret(1)),
    );
    let hermux = setup.start();
    for _ in 0..3 {
        assert_eq!(hermux.ask(&Request::get("/v1/providers")).status(), 200);
        assert_eq!(hermux.ask(&of("evil/large")).status(), 403, "not for this caller");
        assert_eq!(hermux.ask(&of("other/large")).status(), 403, "for which there is no key");
        assert_eq!(hermux.ask(&Request::post("/v1/batches", "{}")).status(), 403);
    }
    let statuses: Vec<u16> = (0..3).map(|_| hermux.ask(&Request::chat(false)).status()).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_request_counts_although_its_caller_left_before_the_answer() {
    let upstream = Upstream::start();
    let hermux = bounded(&upstream, "daily_requests=1").start();
    let (connection, exchange) = hermux.open(&Request::chat(false), &upstream);
    connection.cut_reset();
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 429);
    drop(exchange);
}

#[test]
fn a_caller_without_bounds_is_not_held_by_those_of_another() {
    let upstream = Upstream::answering(chat);
    let setup = Setup::new(&upstream);
    let free = "hx-another-access-token-0123456789";
    write_private(&setup.allow(), &format!("{TOKEN} name=tester rpm=1\n{free} name=free\n"));
    let hermux = setup.start();
    let by_free = Request::chat(false).without("authorization").header("x-api-key", free);
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 429);
    assert!((0..5).all(|_| hermux.ask(&by_free).status() == 200));
}
