//! The metrics' own listener: `GET /metrics`, apart from the port of callers.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Metrics;

/// How many connections are served at once; the next ones wait in the backlog.
const CONNECTIONS: usize = 16;

/// How long a head may take to come, and a connection may idle.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest life of a connection; Prometheus opens another one.
const LIFE: Duration = Duration::from_secs(600);

const CLASSIC: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Tells metrics to whoever asks.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Tells `metrics` to those who connect to `listener`.
    #[must_use]
    pub fn new(listener: TcpListener, metrics: Arc<Metrics>) -> Self {
        Self { listener, metrics }
    }

    /// Serves until it is dropped. Has to be run by a tokio runtime.
    pub async fn serve(self) {
        let Self { listener, metrics } = self;
        let listener =
            listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!("metrics can't be told: {error}");
                return;
            }
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let metrics = Arc::clone(&metrics);
                        let service = service_fn(move |request| {
                            let answer = answer(&metrics, &request);
                            async { Ok::<_, Infallible>(answer) }
                        });
                        let serving = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(PATIENCE)
                            .serve_connection(TokioIo::new(stream), service);
                        connections.spawn(timeout(LIFE, serving));
                    }
                    // Out of files, most likely: some will be given back.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

fn answer<B>(metrics: &Metrics, request: &Request<B>) -> Response<Full<Bytes>> {
    let is_asked = request.method() == Method::GET || request.method() == Method::HEAD;
    let (status, form, text) = match request.uri().path() {
        "/metrics" if is_asked => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
            (StatusCode::OK, if open { OPEN } else { CLASSIC }, metrics.text(open))
        }
        "/metrics" => (StatusCode::METHOD_NOT_ALLOWED, CLASSIC, "hermux: GET it\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, CLASSIC, "hermux: metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, form);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
