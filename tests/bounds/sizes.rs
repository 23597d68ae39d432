//! The header block and the URI: what fits passes, what does not is refused by its own status.

use crate::support::hermux::{Answer, answer};
use crate::support::wire::Got;
use crate::support::{End, Exchange, Hermux, Request, Setup, Upstream, samples};

/// Sends a request that may be refused before all of it was read.
fn ask(hermux: &Hermux, request: &Request) -> Result<Answer, Got> {
    let mut connection = hermux.connect();
    connection.try_send(request.bytes()).ok();
    let head = connection.try_head()?;
    Ok(Answer { head, body: Vec::new(), end: End::Complete })
}

fn models(exchange: Exchange) {
    exchange.json(200, samples::MODELS);
}

#[test]
fn a_header_block_beyond_64_kib_is_refused() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let with = |bytes: usize| Request::get("/v1/models").header("X-Large", &"x".repeat(bytes));
    assert_eq!(ask(&hermux, &with(60 * 1024)).unwrap().status(), 200);
    let mut connection = hermux.connect();
    connection.try_send(with(66 * 1024).bytes()).ok();
    let refused = answer(&mut connection);
    assert_eq!(refused.status(), 431);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], 431);
    assert!(error["message"].as_str().unwrap().starts_with("hermux: the head of the request is too large"));
    assert_eq!(ask(&hermux, &with(300 * 1024)).unwrap().status(), 431);
    // The same in many small ones.
    let many = (0..2_000).fold(Request::get("/v1/models"), |request, number| {
        request.header(&format!("X-{number}"), "0123456789012345678901234567890")
    });
    assert_eq!(ask(&hermux, &many).unwrap().status(), 431);
    assert_eq!(ask(&hermux, &with(10)).unwrap().status(), 200, "it goes on");
}

#[test]
fn a_uri_beyond_16_kib_is_refused() {
    let upstream = Upstream::answering(models);
    let hermux = Hermux::start(&upstream);
    let with = |bytes: usize| Request::get(&format!("/v1/models?q={}", "x".repeat(bytes)));
    assert_eq!(ask(&hermux, &with(15 * 1024)).unwrap().status(), 200);
    assert_eq!(ask(&hermux, &with(17 * 1024)).unwrap().status(), 414);
    assert_eq!(ask(&hermux, &with(50 * 1024)).unwrap().status(), 414);
}

#[test]
fn both_bounds_can_be_set() {
    let upstream = Upstream::answering(models);
    let hermux =
        Setup::new(&upstream).flag("--max-header-size", "16KiB").flag("--max-uri-size", "1024").start();
    assert_eq!(
        ask(&hermux, &Request::get("/v1/models").header("X", &"x".repeat(17_000))).unwrap().status(),
        431
    );
    assert_eq!(
        ask(&hermux, &Request::get(&format!("/v1/models?{}", "x".repeat(1_024)))).unwrap().status(),
        414
    );
    assert_eq!(
        ask(&hermux, &Request::get(&format!("/v1/models?{}", "x".repeat(900)))).unwrap().status(),
        200
    );
}

#[test]
fn a_refused_size_never_leaves() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    ask(&hermux, &Request::get("/v1/models").header("X", &"x".repeat(70_000))).ok();
    ask(&hermux, &Request::get(&format!("/v1/models?{}", "x".repeat(20_000)))).ok();
    let mut connection = hermux.connect();
    connection.send(Request::get("/health").bytes());
    assert_eq!(answer(&mut connection).status(), 200);
}
