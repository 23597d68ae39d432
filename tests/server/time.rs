//! The time of a request's head beside an answer that is still on its way out, by a clock that stands still while anything goes
//! on.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hermux::server::{Incoming, Limits, Phase, Stream, serve};
use http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::script::One;

/// The time for a head.
const HEAD: Duration = Duration::from_secs(1);

/// Far more than the pipe takes, and less than the server holds of an answer.
const ANSWER: usize = 20 << 10;

/// What the pipe takes until somebody reads, bytes.
const PIPE: usize = 1 << 10;

struct Pipe(DuplexStream);

impl Stream for Pipe {
    fn break_off(&self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Runs `client` against a server that answers each request with [`ANSWER`] bytes.
fn with_server<F: Future<Output = ()>>(client: impl FnOnce(DuplexStream) -> F) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (near, far) = duplex(PIPE);
        let (_phase, phase) = watch::channel(Phase::Run);
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; ANSWER]))))
        });
        let limits = Limits { header_timeout: HEAD, ..Limits::default() };
        let server = serve(One(Some(Pipe(far))), Arc::new(Semaphore::new(1)), service, limits, phase);
        tokio::select! {
            () = server => panic!("the server ended by itself"),
            () = client(near) => {}
        }
    });
}

/// Reads one answer.
async fn answer(connection: &mut DuplexStream) {
    let mut read = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n")
            && read.len() >= end + 4 + ANSWER
        {
            assert_eq!(read.len(), end + 4 + ANSWER, "more came than was asked for");
            return;
        }
        let count = connection.read_buf(&mut read).await.unwrap();
        assert_ne!(count, 0, "it was cut after {} bytes", read.len());
    }
}

/// How long the server keeps a connection on which nothing more comes.
async fn kept_for(connection: &mut DuplexStream) -> Duration {
    let since = Instant::now();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    since.elapsed()
}

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn a_head_that_begins_while_an_answer_is_flushed_is_not_late_before_that_has_gone() {
    with_server(async |mut connection| {
        connection.write_all(ASKED).await.unwrap();
        // The answer fills the pipe, and nobody reads.
        sleep(HEAD / 10).await;
        connection.write_all(&ASKED[..8]).await.unwrap();
        sleep(HEAD * 10).await;
        answer(&mut connection).await;
        connection.write_all(&ASKED[8..]).await.unwrap();
        answer(&mut connection).await;
    });
}

#[test]
fn a_head_that_goes_on_after_the_flush_has_its_time_and_no_more() {
    with_server(async |mut connection| {
        connection.write_all(ASKED).await.unwrap();
        sleep(HEAD / 10).await;
        connection.write_all(&ASKED[..8]).await.unwrap();
        sleep(HEAD * 10).await;
        answer(&mut connection).await;
        connection.write_all(&ASKED[8..9]).await.unwrap();
        let kept = kept_for(&mut connection).await;
        assert!(kept >= HEAD && kept < HEAD * 2, "{kept:?}");
    });
}

#[test]
fn a_head_that_began_during_a_flush_and_does_not_go_on_has_its_time_from_then() {
    with_server(async |mut connection| {
        connection.write_all(ASKED).await.unwrap();
        sleep(HEAD / 10).await;
        connection.write_all(&ASKED[..8]).await.unwrap();
        sleep(HEAD * 10).await;
        answer(&mut connection).await;
        let kept = kept_for(&mut connection).await;
        assert!(kept >= HEAD && kept < HEAD * 2, "{kept:?}");
    });
}
