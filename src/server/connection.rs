//! One connection: tells HTTP/1 from HTTP/2, serves it, and obeys orders to finish or to end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::Delivered;
use super::io::{Io, Sniffed, sniff};
use super::{Limits, Ticker};

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Nothing.
    Serve,
    /// End after the open requests.
    Finish,
    /// End now.
    Cut,
}

/// What the server knows of one connection. Times are ticks of the worker's sweeper.
#[derive(Debug)]
pub(crate) struct State {
    id: u64,
    ticker: Rc<Ticker>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    in_flight: Cell<u32>,
    /// When bytes arrived, or the connection opened, that are not yet a whole head.
    head_since: Cell<Option<u64>>,
    idle_since: Cell<u64>,
    is_h2: Cell<bool>,
    /// The last request had a body, of which the service may have left something unread.
    had_body: Cell<bool>,
    /// The end of an answer is told by closing, so a cut must not look like one.
    ends_by_closing: Cell<bool>,
    /// An answer was broken off.
    broke: Cell<bool>,
    blocked: Cell<bool>,
    /// Bodies that wait for the socket: one on HTTP/1, any number of streams on HTTP/2.
    flush_wakers: RefCell<Vec<Waker>>,
}

impl State {
    pub(crate) fn new(id: u64, ticker: Rc<Ticker>) -> Self {
        let now = ticker.now();
        Self {
            id,
            ticker,
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            in_flight: Cell::new(0),
            head_since: Cell::new(Some(now)),
            idle_since: Cell::new(now),
            is_h2: Cell::new(false),
            had_body: Cell::new(false),
            ends_by_closing: Cell::new(false),
            broke: Cell::new(false),
            blocked: Cell::new(false),
            flush_wakers: RefCell::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn order(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Since when a request's head is incomplete, where that is so. On HTTP/2 bytes may be pings, so
    /// there the idle time alone counts.
    pub(crate) fn slow_since(&self) -> Option<u64> {
        if self.is_h2.get() || self.in_flight.get() > 0 { None } else { self.head_since.get() }
    }

    /// Since when there is no request, where that is so.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        (self.in_flight.get() == 0).then(|| self.idle_since.get())
    }

    pub(super) fn bytes_arrived(&self) {
        // While an answer is still being flushed, what arrives is pipelined and waits its turn.
        if self.in_flight.get() == 0 && !self.blocked.get() && self.head_since.get().is_none() {
            self.head_since.set(Some(self.ticker.now()));
        }
    }

    pub(super) fn may_have_unread(&self) -> bool {
        self.had_body.get()
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.set(blocked);
        if !blocked {
            // A caller that still takes the tail of its last answer is not idle. On HTTP/2 the server's own
            // frames, pings say, would pass for that.
            if !self.is_h2.get() && self.in_flight.get() == 0 {
                self.idle_since.set(self.ticker.now());
            }
            self.flush_wakers.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whether everything given to the socket so far has gone; else `cx` is woken when some has.
    pub(super) fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.blocked.get() {
            let mut wakers = self.flush_wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    pub(super) fn answer_broke(&self) {
        self.broke.set(true);
    }

    /// Whether it was told to finish, has nothing left to send, and yet stays: hyper waits for an HTTP/2
    /// peer to acknowledge, for ever if need be.
    pub(crate) fn outstays(&self) -> bool {
        self.order.get() == Order::Finish && self.in_flight.get() == 0 && !self.blocked.get()
    }

    fn request_began(&self, request: &Request<Incoming>) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.head_since.set(None);
        self.had_body.set(!request.body().is_end_stream());
        self.ends_by_closing.set(request.version() == Version::HTTP_10);
    }

    fn request_ended(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.idle_since.set(self.ticker.now());
    }

    fn poll_order(&self, cx: &Context<'_>, seen: Order) -> Poll<Order> {
        let order = self.order.get();
        if order > seen {
            return Poll::Ready(order);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Counts a request as open until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Rc<State>);

impl InFlight {
    pub(super) fn state(&self) -> &State {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// Serves one connection to its end.
pub(crate) async fn run<S, B>(mut stream: TcpStream, service: S, limits: &Limits, state: &Rc<State>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let sniffed = {
        let mut sniffing = pin!(sniff(&mut stream));
        poll_fn(|cx| {
            if let Poll::Ready(sniffed) = sniffing.as_mut().poll(cx) {
                return Poll::Ready(sniffed);
            }
            state.poll_order(cx, Order::Serve).map(|_| Ok(None))
        })
        .await
    };
    let Ok(Some(Sniffed { prefix, is_h2 })) = sniffed else { return };
    state.is_h2.set(is_h2);
    let io = TokioIo::new(Io::new(stream, prefix, Rc::clone(state)));
    let counted = Counted { service, state: Rc::clone(state) };
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

/// The service, with its requests counted and its bodies delivered before they break.
struct Counted<S> {
    service: S,
    state: Rc<State>,
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
        CountedFuture { answer: Box::pin(self.service.call(request)), in_flight }
    }
}

/// A request until its answer's head is here. Boxed inside, so that a stream under way does not carry it:
/// hyper keeps the room of this type as long as the connection.
struct CountedFuture<F> {
    answer: Pin<Box<F>>,
    in_flight: Option<InFlight>,
}

impl<F, B> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Delivered<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.answer.as_mut().poll(cx));
        let in_flight = self.in_flight.take();
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

/// Whether a cut on this connection has to be a reset, because closing would look like an end.
pub(super) fn must_reset(state: &State) -> bool {
    state.ends_by_closing.get() && (state.in_flight.get() > 0 || state.broke.get() || state.blocked.get())
}
