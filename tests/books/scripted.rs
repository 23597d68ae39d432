//! What the simulator does not play: speech, streams that name their generation in the body alone, and questions in a row.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Exchange, Request, Setup, Upstream, eventually};
use crate::{by_key, number};

const KEY: &str = r#"{"data":{"label":"x","usage":0}}"#;

/// What a generation was billed: seven nano-dollars.
const BILL: &str = r#"{"data":{"total_cost":0.000000007,"native_tokens_prompt":3}}"#;

/// Answers speech, of a generation that the head alone names.
fn speak(mut exchange: Exchange, id: &str) {
    exchange.body();
    exchange.wire.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\nx-generation-id: {id}\r\ncontent-length: 5\r\n\r\nsound"
    ));
    exchange.keep();
}

fn speech() -> Request {
    Request::post("/v1/audio/speech", r#"{"model":"acme/voice","input":"hello","voice":"ann"}"#)
}

#[test]
fn speech_pays_what_was_billed() {
    let upstream =
        Upstream::answering(|exchange| match exchange.head.target().split('?').collect::<Vec<_>>()[..] {
            ["/api/v1/audio/speech"] => speak(exchange, "gen-speech-1"),
            ["/api/v1/generation", "id=gen-speech-1"] => exchange.json(200, BILL),
            _ => exchange.json(200, KEY),
        });
    let hermux = Setup::new(&upstream).polling().start();
    let answer = hermux.ask(&speech());
    assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"sound"[..]));
    let data = hermux.setup().data();
    eventually("it is settled", || {
        let figures = by_key(&data).remove("key-1")?;
        (figures.cost == 7 && figures.prompt_tokens == 3).then_some(())
    });
    assert_eq!(number(&data, "SELECT count(*) FROM entries WHERE settled = 1"), 1);
}

/// Questions that wait for their answers.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opens: Condvar,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(waiting, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.opens.wait_while(open, |open| !*open).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opens.notify_all();
    }
}

#[test]
fn two_costs_at_once_are_asked_for_and_no_more() {
    const ALL: usize = 6;
    let gate = Arc::new(Gate::default());
    let (passing, made) = (Arc::clone(&gate), AtomicUsize::new(0));
    let upstream = Upstream::answering(move |exchange| match exchange.head.target() {
        "/api/v1/audio/speech" => {
            speak(exchange, &format!("gen-{}", made.fetch_add(1, Ordering::SeqCst)));
        }
        target if target.starts_with("/api/v1/generation?") => {
            passing.pass();
            exchange.json(200, BILL);
        }
        _ => exchange.json(200, KEY),
    });
    let hermux = Setup::new(&upstream).polling().start();
    for _ in 0..ALL {
        assert_eq!(hermux.ask(&speech()).status(), 200);
    }
    let data = hermux.setup().data();
    eventually("all wait for their costs", || {
        let waiting = number(&data, "SELECT count(*) FROM settling") == i64::try_from(ALL).unwrap();
        (waiting && gate.waiting.load(Ordering::SeqCst) == 2).then_some(())
    });
    // Past the time at which all of them are due.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(gate.waiting.load(Ordering::SeqCst), 2);
    gate.open();
    eventually("all are settled", || {
        (by_key(&data)["key-1"].cost == 7 * i64::try_from(ALL).unwrap()).then_some(())
    });
    assert_eq!(gate.most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_generation_that_only_the_body_tells_is_on_disk_while_the_stream_is_open() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let asked = Request::post("/v1/chat/completions", r#"{"model":"acme/slow","stream":true,"messages":[]}"#);
    let (mut connection, mut exchange) = hermux.open(&asked, &upstream);
    exchange.begin_stream();
    exchange
        .wire
        .send_chunk(b"data: {\"id\":\"gen-body-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    assert_eq!(connection.answer().status(), 200);
    connection.bytes_at_least(1);
    let data = hermux.setup().data();
    let open = "SELECT count(*) FROM entries WHERE outcome IS NULL AND generation = 'gen-body-1'";
    eventually("its generation is on disk", || (number(&data, open) == 1).then_some(()));
    hermux.signal("KILL");
    hermux.wait();
    assert_eq!(number(&data, open), 1);
}
