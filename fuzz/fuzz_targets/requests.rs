//! Whatever a connection brings, and in whatever pieces, our server bears it, ends with it, and serves nothing that hyper's
//! would not.

#![no_main]

#[path = "../../tests/server/script.rs"]
mod script;
#[path = "../../tests/server/seen.rs"]
mod seen;

use libfuzzer_sys::fuzz_target;
use seen::{are_alike, hypers, judge, ours};

fuzz_target!(|data: &[u8]| {
    // The first byte says how many pieces there are besides the last, the next ones how long each is.
    let Some((&count, data)) = data.split_first() else { return };
    let Some((sizes, stream)) = data.split_at_checked(usize::from(count % 8)) else { return };
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for &size in sizes {
        let (piece, behind) = rest.split_at(usize::from(size).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces.push(rest.to_vec());
    let talk = ours(pieces, usize::MAX);
    // hyper's server for HTTP/1 knows nothing of HTTP/2.
    if stream.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return;
    }
    let whole = ours(vec![stream.to_vec()], usize::MAX);
    assert!(are_alike(&talk, &whole), "{}: {talk:?} but {whole:?}", stream.escape_ascii());
    if let Err(why) = judge(stream, &talk, &hypers(vec![stream.to_vec()])) {
        panic!("{}: {why}", stream.escape_ascii());
    }
});
