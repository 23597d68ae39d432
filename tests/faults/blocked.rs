//! Streams that are cut while their connection takes nothing: each of them ends, once it takes something again.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::h2::H2;
use crate::support::{Setup, Upstream, eventually};

/// Whether anything is read, and who waits for that.
#[derive(Debug, Default)]
struct Gate {
    is_shut: bool,
    waiting: Option<Waker>,
}

/// A socket from which nothing is read while its gate is shut.
struct Gated {
    socket: TcpStream,
    gate: Arc<Mutex<Gate>>,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut gate = self.gate.lock().expect("nobody panics with it");
        if gate.is_shut {
            gate.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(gate);
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[test]
fn every_h2_stream_that_was_cut_while_the_socket_was_blocked_ends() {
    const BEGIN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let (gate, address) = (Arc::new(Mutex::new(Gate::default())), hermux.address());
    let shared = Arc::clone(&gate);
    // Nothing but the socket holds anything back.
    let mut client = h2::client::Builder::new();
    client.initial_window_size((1 << 31) - 1).initial_connection_window_size((1 << 31) - 1);
    let mut h2 = H2::over_as(&client, async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        Gated { socket: socket.connect(address).await.unwrap(), gate: shared }
    });
    let mut begin = || {
        let mut asked = h2.send("GET", "/v1/files/1/content", None);
        let mut exchange = upstream.next();
        exchange.wire.send(BEGIN);
        assert_eq!(asked.head().unwrap().status(), 200);
        (asked, exchange)
    };
    let mut cut: Vec<_> = (0..3).map(|_| begin()).collect();
    let (mut flood, mut flooding) = begin();

    gate.lock().unwrap().is_shut = true;
    flooding.wire.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    while flooding.wire.try_send(&chunk).is_ok() {}
    let mut streams = Vec::new();
    for (asked, exchange) in cut.drain(..) {
        exchange.wire.cut_fin();
        streams.push(asked);
    }
    eventually("all three are known to be cut", || {
        let lines = hermux.lines();
        let broke = lines.iter().filter(|line| line.contains("an answer broke off")).count();
        (broke == streams.len()).then_some(())
    });

    let waiting = {
        let mut gate = gate.lock().unwrap();
        gate.is_shut = false;
        gate.waiting.take()
    };
    waiting.expect("it was to be read").wake();
    for stream in &mut streams {
        let ended = stream.data();
        assert!(matches!(ended, Some(Err(_))), "a cut must not look like an end: {ended:?}");
    }
    // What was not cut goes on.
    assert!(flood.data().is_some_and(|data| data.is_ok()));
}
