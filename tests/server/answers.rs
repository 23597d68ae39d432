//! What the server writes: the same answer however its body is cut, and never whole where the body broke.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hermux::server::Incoming;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::service::service_fn;
use proptest::prelude::*;
use proptest::sample::select;

use crate::script::{Said, ours};
use crate::strict::{Answer, End, answer};

/// What comes next of an answer's body.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    /// Nothing yet.
    Wait,
    Trailers,
    Break,
}

/// How the service tells the length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Not,
    /// By the body itself.
    Hint,
    /// By a header.
    Header,
}

/// A request and the answer to it.
#[derive(Clone, Debug)]
struct Exchange {
    is_head: bool,
    minor: u8,
    /// Whether the caller would go on, and says so where it has to.
    stays: bool,
    status: u16,
    steps: Vec<Step>,
    told: Told,
    /// The length that is told.
    length: usize,
    /// Whether the body knows that it is at its end before it is asked.
    knows_end: bool,
}

impl Exchange {
    fn data(&self) -> Vec<u8> {
        data(&self.steps)
    }

    fn request(&self) -> String {
        let method = if self.is_head { "HEAD" } else { "GET" };
        let connection = match (self.minor, self.stays) {
            (0, true) => "connection: keep-alive\r\n",
            (1, false) => "connection: close\r\n",
            _ => "",
        };
        format!("{method} / HTTP/1.{}\r\n{connection}\r\n", self.minor)
    }

    fn answer(&self) -> Response<Planned> {
        let mut answer = Response::builder().status(self.status).header("x-kept", "1");
        if self.told == Told::Header {
            answer = answer.header("content-length", self.length);
        }
        let left = (self.told == Told::Hint).then_some(self.length as u64);
        answer.body(Planned { steps: self.steps.clone().into(), left, knows_end: self.knows_end }).unwrap()
    }

    /// Whether the answer has no body, whatever the service gives.
    fn is_bodiless(&self) -> bool {
        self.is_head || matches!(self.status, 204 | 304)
    }

    /// Whether only the end of the connection can tell the end of the body.
    fn ends_by_close(&self) -> bool {
        self.minor == 0 && self.told == Told::Not && !self.is_bodiless()
    }

    /// The length that the answer's head is to tell.
    fn length(&self) -> Option<usize> {
        match (self.status, self.told) {
            (204, _) | (304, Told::Hint) | (_, Told::Not) => None,
            // An empty body may stand for one that is left out.
            (_, Told::Hint) if self.is_head && self.length == 0 => None,
            _ => Some(self.length),
        }
    }
}

fn data(steps: &[Step]) -> Vec<u8> {
    let pieces =
        steps.iter().filter_map(|step| if let Step::Data(data) = step { Some(&data[..]) } else { None });
    pieces.collect::<Vec<_>>().concat()
}

/// A body that comes by these steps.
struct Planned {
    steps: VecDeque<Step>,
    left: Option<u64>,
    knows_end: bool,
}

impl Body for Planned {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data.into())))
            }
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Trailers) => Some(Ok(Frame::trailers(trailers()))),
            Some(Step::Break) => Some(Err(Error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Of these only the first is for trailers to tell.
fn trailers() -> HeaderMap {
    [("x-sum", "7"), ("content-length", "3"), ("transfer-encoding", "chunked"), ("trailer", "x")]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// Has the server answer these, all of them asked for at once.
fn run(exchanges: &[Exchange], room: usize) -> Said {
    let asked: String = exchanges.iter().map(Exchange::request).collect();
    let (next, exchanges) = (Cell::new(0), exchanges.to_vec());
    let shared = Rc::new((next, exchanges));
    let service = service_fn(move |_: Request<Incoming>| {
        let (next, exchanges) = &*shared;
        let answer = exchanges[next.replace(next.get() + 1)].answer();
        async { Ok::<_, Infallible>(answer) }
    });
    ours(vec![asked.into_bytes()], room, service)
}

/// Pieces of a body: empty ones, small ones, some about as large as what is written at once, and far larger ones.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size =
        prop_oneof![1 => Just(0), 8 => 1_usize..50, 2 => 16_100_usize..16_500, 1 => 16_500_usize..70_000];
    let piece = (size, any::<u8>())
        .prop_map(|(size, seed)| Step::Data((0..size).map(|n| n.to_le_bytes()[0] ^ seed).collect()));
    prop::collection::vec(prop_oneof![4 => piece, 1 => Just(Step::Wait)], 0..8)
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let status = select(vec![200, 200, 200, 404, 204, 304]);
    let told = select(vec![Told::Not, Told::Hint, Told::Header]);
    let kind = (prop::bool::weighted(0.2), 0_u8..2, prop::bool::weighted(0.8), status);
    (kind, steps(), told, any::<bool>(), any::<bool>()).prop_map(
        |((is_head, minor, stays, status), mut steps, told, has_trailers, knows_end)| {
            if has_trailers {
                steps.push(Step::Trailers);
            }
            let length = data(&steps).len();
            Exchange { is_head, minor, stays, status, steps, told, length, knows_end }
        },
    )
}

fn room() -> impl Strategy<Value = usize> {
    select(vec![usize::MAX, 5_000, 100])
}

/// Checks what the head of an answer says besides its framing.
fn check(answer: &Answer, exchange: &Exchange, stays: bool) {
    assert_eq!((answer.minor, answer.status), (exchange.minor, exchange.status));
    assert_eq!(answer.one("x-kept"), Some("1"));
    assert!(answer.one("date").is_some());
    let connection = match (exchange.minor, stays) {
        (0, true) => Some("keep-alive"),
        (1, false) => Some("close"),
        _ => None,
    };
    assert_eq!(answer.one("connection"), connection);
    assert_eq!(answer.one("content-length"), exchange.length().map(|length| length.to_string()).as_deref());
}

/// Checks whole answers to these, up to the one that ends the connection. Returns whether one does.
fn check_whole(exchanges: &[Exchange], input: &mut &[u8]) -> bool {
    for exchange in exchanges {
        let stays = exchange.stays && !exchange.ends_by_close();
        let answer = answer(input, exchange.is_head);
        check(&answer, exchange, stays);
        if exchange.is_bodiless() {
            assert!(answer.body.is_empty());
        } else {
            assert!(
                answer.body == exchange.data(),
                "{} of {} bytes",
                answer.body.len(),
                exchange.data().len()
            );
        }
        assert_eq!(answer.end, if exchange.ends_by_close() { End::Close } else { End::Whole });
        let is_chunked = answer.one("transfer-encoding").is_some();
        assert_eq!(is_chunked, exchange.minor == 1 && exchange.told == Told::Not && !exchange.is_bodiless());
        let has_trailers = is_chunked && exchange.steps.iter().any(|step| matches!(step, Step::Trailers));
        assert_eq!(
            answer.trailers,
            if has_trailers { vec![("x-sum".to_owned(), "7".to_owned())] } else { Vec::new() }
        );
        if !stays {
            return true;
        }
    }
    false
}

/// How a body breaks that is told or not.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Error,
    /// It ends so many bytes early.
    Short(usize),
    /// Its last piece is longer than what is left of the length.
    Long,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Error), (1_usize..100).prop_map(Fault::Short), Just(Fault::Long)]
}

/// Has the exchange break, and says what data it delivers before.
fn broken(exchange: &mut Exchange, fault: Fault) -> Vec<u8> {
    (exchange.is_head, exchange.status) = (false, 200);
    exchange.steps.retain(|step| !matches!(step, Step::Trailers));
    let data = exchange.data();
    exchange.length = data.len() + 1;
    match fault {
        Fault::Short(bytes) if exchange.told != Told::Not => exchange.length = data.len() + bytes,
        Fault::Long if exchange.told != Told::Not => exchange.steps.push(Step::Data(b"too long".to_vec())),
        _ => exchange.steps.push(Step::Break),
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_answer_is_the_same_however_its_body_is_cut(
        exchanges in prop::collection::vec(exchange(), 1..5), room in room(),
    ) {
        let said = run(&exchanges, room);
        let input = &mut &said.bytes[..];
        check_whole(&exchanges, input);
        prop_assert!(input.is_empty(), "{}", input.escape_ascii());
        prop_assert!(!said.is_broken_off);
    }

    #[test]
    fn a_body_that_breaks_is_cut_behind_all_of_its_data_and_nothing_follows(
        before in prop::collection::vec(exchange(), 0..3), mut exchange in exchange(), fault in fault(),
        behind in exchange(), room in room(),
    ) {
        let data = broken(&mut exchange, fault);
        let all = [&before[..], &[exchange.clone(), behind]].concat();
        let said = run(&all, room);
        let input = &mut &said.bytes[..];
        if !check_whole(&before, input) {
            let answer = answer(input, false);
            check(&answer, &exchange, exchange.stays && !exchange.ends_by_close());
            prop_assert!(answer.body == data, "{} of {} bytes", answer.body.len(), data.len());
            let is_old = exchange.ends_by_close();
            prop_assert_eq!(answer.end, if is_old { End::Close } else { End::Cut });
            // Where closing would pass for the end of the body, it has to look otherwise.
            prop_assert!(said.is_broken_off || !is_old);
            prop_assert!(said.is_shut || exchange.minor == 0);
        }
        prop_assert!(input.is_empty(), "{}", input.escape_ascii());
    }
}

#[test]
fn a_body_is_not_asked_for_what_stands_behind_its_length() {
    for (behind, told) in [(Step::Break, Told::Hint), (Step::Data(b"more".to_vec()), Told::Header)] {
        let steps = vec![Step::Data(b"hello".to_vec()), behind];
        let exchange = Exchange {
            is_head: false,
            minor: 1,
            stays: true,
            status: 200,
            steps,
            told,
            length: 5,
            knows_end: false,
        };
        let said = run(&[exchange.clone(), exchange], usize::MAX);
        let input = &mut &said.bytes[..];
        for _ in 0..2 {
            let answer = answer(input, false);
            assert_eq!((&answer.body[..], answer.end), (&b"hello"[..], End::Whole));
        }
        assert!(input.is_empty());
    }
}
