//! One connection: tells HTTP/1 from HTTP/2, serves it, and obeys orders to finish or to end.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::TokioIo;

use super::body::Delivered;
use super::io::{Io, Sniffed, sniff};
use super::state::{InFlight, Order, State};
use super::{Limits, Stream};

/// Serves one connection to its end.
pub(crate) async fn run<O, I, S, B>(
    opening: O,
    service: S,
    places: Rc<Places<S::Future>>,
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
    let io = TokioIo::new(Io::new(stream, prefix, Rc::clone(state)));
    let counted = Counted { service, state: Rc::clone(state), places };
    if is_h2 {
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
        let connection = http1::Builder::new()
            .writev(false)
            .max_header_size(limits.max_header_bytes)
            // Room for the head and for what comes behind it in one read; a longer head is refused above.
            .max_buf_size(limits.max_header_bytes.saturating_add(16 << 10))
            .serve_connection(io, counted);
        let mut connection = pin!(connection);
        let mut obeyed = None;
        poll_fn(|cx| poll_connection(connection.as_mut(), state, &mut obeyed, cx)).await;
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
trait Connection: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, B> Connection for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B> Connection for http2::Connection<I, S, LocalExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
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

/// The service, with its requests counted and its bodies delivered before they break.
struct Counted<S: Service<Request<Incoming>>> {
    service: S,
    state: Rc<State>,
    places: Rc<Places<S::Future>>,
}

impl<S, B> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Delivered<B>>;
    type Error = Infallible;
    type Future = CountedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.state.request_began(&request);
        let in_flight = Some(InFlight(Rc::clone(&self.state)));
        let answer = Some(self.places.put(self.service.call(request)));
        CountedFuture { answer, in_flight, places: Rc::clone(&self.places) }
    }
}

/// A request until its answer's head is here. Apart on the heap, so that a stream under way does not carry it:
/// hyper keeps the room of this type as long as the connection.
struct CountedFuture<F> {
    /// None once it is answered.
    answer: Option<Place<F>>,
    in_flight: Option<InFlight>,
    places: Rc<Places<F>>,
}

impl<F, B> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Delivered<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let future = this.answer.as_mut().and_then(|place| place.as_mut().as_pin_mut());
        let answer = std::task::ready!(future.expect("a request is polled until it is answered").poll(cx));
        if let Some(place) = this.answer.take() {
            this.places.take_back(place);
        }
        let in_flight = this.in_flight.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| Delivered::new(body, in_flight))))
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
