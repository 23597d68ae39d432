//! An HTTP/2 client with prior knowledge, driven step by step from a test's own thread.

use std::future::Future;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{PATIENCE, TOKEN};

/// A connection. It stays alive in a thread of its own, so that a test may wait elsewhere meanwhile.
pub(crate) struct H2 {
    handle: Handle,
    send: SendRequest<Bytes>,
    _stop: oneshot::Sender<()>,
}

impl H2 {
    /// Connects and speaks HTTP/2 from the first byte.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(async move {
            tokio::net::TcpStream::connect(address).await.expect("the address takes connections")
        })
    }

    /// The same over what `connect` brings.
    pub(crate) fn over<S>(connect: impl Future<Output = S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::over_as(&h2::client::Builder::new(), connect)
    }

    /// The same as `client` says.
    pub(crate) fn over_as<S>(client: &h2::client::Builder, connect: impl Future<Output = S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || runtime.block_on(stopped));
        let send = wait(&handle, async {
            let (send, connection) = client.handshake(connect.await).await.expect("the server speaks HTTP/2");
            tokio::spawn(connection);
            send
        });
        Self { handle, send, _stop: stop }
    }

    /// Sends a request with the access token.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: Option<&str>) -> H2Exchange {
        let mut exchange = self.begin(method, path, body.is_none());
        if let Some(body) = body {
            exchange
                .upload
                .send_data(Bytes::copy_from_slice(body.as_bytes()), true)
                .expect("the stream takes it");
        }
        exchange
    }

    /// Sends the beginning of an upload that does not end.
    pub(crate) fn begin_upload(&mut self, path: &str, begun: &[u8]) -> H2Exchange {
        let mut exchange = self.begin("POST", path, false);
        exchange.upload.send_data(Bytes::copy_from_slice(begun), false).expect("the stream takes it");
        exchange
    }

    fn begin(&mut self, method: &str, path: &str, end: bool) -> H2Exchange {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("te", "trailers")
            .body(())
            .expect("a valid request");
        let mut ready = self.send.clone();
        let (answer, upload) = wait(&self.handle, async move {
            std::future::poll_fn(|context| ready.poll_ready(context))
                .await
                .expect("the connection takes requests");
            ready.send_request(request, end).expect("the connection takes requests")
        });
        H2Exchange { handle: self.handle.clone(), upload, state: State::Waiting(answer) }
    }
}

enum State {
    Waiting(ResponseFuture),
    Reading(RecvStream),
}

/// One request and its answer. Dropping it resets the stream.
pub(crate) struct H2Exchange {
    handle: Handle,
    upload: SendStream<Bytes>,
    state: State,
}

impl H2Exchange {
    /// The answer's head.
    pub(crate) fn head(&mut self) -> Result<http::Response<()>, h2::Error> {
        let State::Waiting(answer) = &mut self.state else { panic!("the head was read already") };
        let (head, body) = wait(&self.handle, answer)?.into_parts();
        self.state = State::Reading(body);
        Ok(http::Response::from_parts(head, ()))
    }

    /// The next data frame of the body; `None` at a clean end.
    pub(crate) fn data(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let State::Reading(body) = &mut self.state else { panic!("the head was not read yet") };
        let data = wait(&self.handle, body.data());
        if let Some(Ok(data)) = &data {
            body.flow_control().release_capacity(data.len()).expect("it was received");
        }
        data
    }

    /// The rest of the body, which must end cleanly.
    pub(crate) fn whole(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(data) = self.data() {
            bytes.extend(data.expect("the stream ends cleanly"));
        }
        bytes
    }

    /// The trailers behind the body.
    pub(crate) fn trailers(&mut self) -> Option<http::HeaderMap> {
        let State::Reading(body) = &mut self.state else { panic!("the head was not read yet") };
        wait(&self.handle, body.trailers()).expect("the stream ends cleanly")
    }

    /// Resets the stream: the caller wants no more of it.
    pub(crate) fn cancel(mut self) {
        self.upload.send_reset(h2::Reason::CANCEL);
    }
}

fn wait<F: Future>(handle: &Handle, future: F) -> F::Output {
    handle.block_on(async { timeout(PATIENCE, future).await.expect("the server goes on in time") })
}
