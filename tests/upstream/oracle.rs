//! hyper as the oracle: what its server sends and reads is what the client reads and sends.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use hermux::upstream::{Connection, Head, Outgoing};
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::net::TcpListener;

use crate::script::{Feed, feed, read, run, settings, upstream};

/// One exchange: what is sent in which pieces, both ways, with or without a known length.
#[derive(Clone, Debug)]
struct Exchange {
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
    up_length: bool,
    down_length: bool,
    trailer: bool,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let pieces = || {
        let size = prop_oneof![8 => 0_usize..50, 2 => 50_usize..20_000, 1 => 20_000_usize..90_000];
        prop::collection::vec(
            (size, any::<u8>())
                .prop_map(|(size, seed)| (0..size).map(|n| n.to_le_bytes()[0] ^ seed).collect()),
            0..6,
        )
    };
    (pieces(), pieces(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(up, down, up_length, down_length, trailer)| Exchange { up, down, up_length, down_length, trailer },
    )
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])
}

/// A body of pieces, each of which comes when it is asked for.
fn pieces(pieces: Vec<Vec<u8>>, trailer: bool) -> Feed {
    let (feeder, body) = feed();
    tokio::task::spawn_local(async move {
        for piece in pieces {
            feeder.data(piece).await;
        }
        if trailer {
            feeder.trailers(trailers()).await;
        }
    });
    body
}

async fn serve(listener: TcpListener, exchanges: Rc<Vec<Exchange>>) {
    let (stream, _) = listener.accept().await.unwrap();
    let next = std::cell::Cell::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let exchange = exchanges[next.replace(next.get() + 1)].clone();
        async move {
            let collected = request.into_body().collect().await.unwrap();
            let sent_trailer = collected.trailers().is_some_and(|trailers| trailers["x-sum"] == "7");
            assert_eq!(sent_trailer, exchange.trailer && !exchange.up_length);
            assert!(collected.to_bytes() == exchange.up.concat());
            let mut answer = Response::builder();
            if exchange.down_length {
                answer = answer.header("content-length", exchange.down.concat().len());
            } else if exchange.trailer {
                answer = answer.header("trailer", "x-sum");
            }
            let body = pieces(exchange.down, exchange.trailer && !exchange.down_length);
            let body = body.map_frame(|frame: Frame<Bytes>| frame).map_err(|()| std::fmt::Error);
            Ok::<_, Infallible>(answer.body(body).unwrap())
        }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn hyper_and_the_client_understand_each_other(
        exchanges in prop::collection::vec(exchange(), 1..4),
    ) {
        run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let upstream = upstream(settings(listener.local_addr().unwrap()));
            let exchanges = Rc::new(exchanges);
            let server = tokio::task::spawn_local(serve(listener, Rc::clone(&exchanges)));
            for exchange in exchanges.iter() {
                let length = exchange.up_length.then(|| exchange.up.concat().len() as u64);
                let body = pieces(exchange.up.clone(), exchange.trailer && !exchange.up_length);
                let body = if exchange.up.len() == 1 && exchange.up_length {
                    Outgoing::Full(exchange.up[0].clone().into())
                } else {
                    Outgoing::Stream(body, length)
                };
                // hyper sends trailers to those who say that they take them.
                let headers = [(&b"te"[..], &b"trailers"[..])].into_iter();
                let head = Head { method: &Method::POST, target: "/x", headers };
                let answer = upstream.send(head, body, Connection::Any).await.unwrap();
                let (data, got, error) = read(answer.body).await;
                assert!(error.is_none(), "{error:?}");
                assert!(data == exchange.down.concat());
                let trailer = exchange.trailer && !exchange.down_length;
                assert_eq!(got.is_some_and(|got| got["x-sum"] == "7"), trailer);
                assert_eq!(upstream.idle_connections(), 1);
            }
            // Only now the one connection of all the exchanges ends.
            drop(upstream);
            server.await.unwrap();
        });
    }
}
