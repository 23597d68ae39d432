//! One connection: tells HTTP/1 from HTTP/2, serves it, and obeys orders to finish or to end.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::TokioIo;

use super::body::Delivered;
use super::h1::Http1;
use super::incoming::Incoming;
use super::io::{Io, Sniffed, sniff};
use super::state::{InFlight, Order, State};
use super::wire::Buffers;
use super::{Limits, Stream};

/// Serves one connection to its end.
pub(crate) async fn run<O, I, S, B>(
    opening: O,
    service: S,
    places: Rc<Places<S::Future>>,
    buffers: Rc<Buffers>,
    limits: &Limits,
    state: &Rc<State>,
) where
    O: Future<Output = std::io::Result<I>>,
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let opened = {
        let mut opening = pin!(open(opening));
        poll_fn(|cx| {
            if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                return Poll::Ready(opened);
            }
            state.poll_order(cx, Order::Serve).map(|_| None)
        })
        .await
    };
    let Some((stream, Sniffed { prefix, is_h2 })) = opened else { return };
    state.is_h2.set(is_h2);
    let counted = Counted { service, state: Rc::clone(state), places };
    if is_h2 {
        let io = TokioIo::new(Io::new(stream, prefix, Rc::clone(state)));
        let connection = http2::Builder::new(LocalExecutor)
            .max_concurrent_streams(limits.max_h2_streams)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(64 << 10)
            .max_pending_accept_reset_streams(20)
            .serve_connection(io, counted);
        // Boxed, so that HTTP/1 connections do not carry its size.
        let mut connection = Box::pin(connection);
        let mut obeyed = None;
        poll_fn(|cx| poll_connection(connection.as_mut(), state, &mut obeyed, cx)).await;
    } else {
        let io = Io::new(stream, prefix, Rc::clone(state));
        let mut connection = Http1::new(io, buffers, counted, limits.max_header_bytes);
        let mut obeyed = None;
        poll_fn(|cx| poll_connection(Pin::new(&mut connection), state, &mut obeyed, cx)).await;
    }
}

/// Waits until HTTP can be spoken and which of it is known; `None` when that does not come to be.
async fn open<I: Stream>(opening: impl Future<Output = std::io::Result<I>>) -> Option<(I, Sniffed)> {
    let opened = async {
        let mut stream = opening.await?;
        let sniffed = sniff(&mut stream).await?;
        Ok::<_, std::io::Error>(sniffed.map(|sniffed| (stream, sniffed)))
    };
    opened
        .await
        .inspect_err(|error| tracing::debug!("a caller's connection did not open: {error}"))
        .ok()
        .flatten()
}

/// A connection of either protocol.
pub(super) trait Connection: Future<Output = Result<(), Self::Fault>> {
    type Fault: fmt::Display;

    /// Has it end after the requests that it is at.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, B> Connection for http2::Connection<I, S, LocalExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Fault = hyper::Error;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Obeys what the connection was told since, then goes on serving it.
fn poll_connection<C: Connection>(
    mut connection: Pin<&mut C>,
    state: &State,
    obeyed: &mut Option<Order>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // What was read before the first order is served, whatever was ordered meanwhile.
    if obeyed.is_none() {
        *obeyed = Some(Order::Serve);
        if poll_on(connection.as_mut(), cx).is_ready() {
            return Poll::Ready(());
        }
    }
    while let Poll::Ready(order) = state.poll_order(cx, obeyed.unwrap_or(Order::Serve)) {
        if order == Order::Cut {
            return Poll::Ready(());
        }
        *obeyed = Some(order);
        connection.as_mut().finish();
    }
    poll_on(connection, cx)
}

fn poll_on<C: Connection>(connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<()> {
    connection.poll(cx).map(|ended| {
        if let Err(error) = ended {
            tracing::debug!("a caller's connection ended: {error}");
        }
    })
}

/// A future's room on the heap, which serves one request after the other.
type Place<F> = Pin<Box<Option<F>>>;

/// Places that a worker's requests left and others take, so that a request costs no allocation of that size.
pub(crate) struct Places<F>(RefCell<Vec<Place<F>>>);

impl<F> Places<F> {
    /// So many stay at most.
    const MOST: usize = 64;

    /// Puts `future` into a place.
    fn put(&self, future: F) -> Place<F> {
        match self.0.borrow_mut().pop() {
            Some(mut place) => {
                place.set(Some(future));
                place
            }
            None => Box::pin(Some(future)),
        }
    }

    /// Takes back a place of which the future is over.
    fn take_back(&self, mut place: Place<F>) {
        place.set(None);
        let mut places = self.0.borrow_mut();
        if places.len() < Self::MOST {
            places.push(place);
        }
    }
}

impl<F> Default for Places<F> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

/// The service, with its requests counted.
pub(super) struct Counted<S: Service<Request<Incoming>>> {
    service: S,
    state: Rc<State>,
    places: Rc<Places<S::Future>>,
}

impl<S: Service<Request<Incoming>>> Counted<S> {
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Has the service answer a request, of whose beginning the state knows.
    pub(super) fn answer(&self, request: Request<Incoming>) -> Answering<S::Future> {
        let in_flight = Some(InFlight(Rc::clone(&self.state)));
        let place = Some(self.places.put(self.service.call(request)));
        Answering { place, in_flight, places: Rc::clone(&self.places) }
    }
}

/// A request until its answer's head is here. Apart on the heap, so that a stream under way does not carry it.
pub(super) struct Answering<F> {
    /// None once it is answered.
    place: Option<Place<F>>,
    in_flight: Option<InFlight>,
    places: Rc<Places<F>>,
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = (Response<B>, InFlight);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let future = this.place.as_mut().and_then(|place| place.as_mut().as_pin_mut());
        let Ok(answer) = ready!(future.expect("a request is polled until it is answered").poll(cx));
        if let Some(place) = this.place.take() {
            this.places.take_back(place);
        }
        Poll::Ready((answer, this.in_flight.take().expect("it is answered once")))
    }
}

/// For HTTP/2: bodies are delivered before they break.
impl<S, B> Service<Request<hyper::body::Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Delivered<B>>;
    type Error = Infallible;
    type Future = Delivering<S::Future>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let body = request.body();
        self.state.request_began(!body.is_end_stream(), request.version());
        Delivering(self.answer(request.map(Incoming::stream)))
    }
}

/// The same on HTTP/2.
pub(super) struct Delivering<F>(Answering<F>);

impl<F, B> Future for Delivering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Delivered<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, in_flight) = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(Ok(answer.map(|body| Delivered::new(body, in_flight))))
    }
}

/// Runs HTTP/2 streams on this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}
