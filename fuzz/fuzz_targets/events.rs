//! Whatever a stream holds, its reader bears it, and judges the same however the bytes are cut.

#![no_main]

use hermux::openrouter::dialect::Dialect;
use hermux::openrouter::sse::Events;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, body)) = data.split_first() else { return };
    for dialect in [Dialect::Chat, Dialect::Messages, Dialect::Responses] {
        let verdict = |size: usize| {
            let mut events = Events::new(dialect);
            body.chunks(size).for_each(|piece| events.feed(piece));
            (events.is_cut(), events.has_failed(), events.at_event_boundary())
        };
        let whole = verdict(body.len().max(1));
        assert_eq!(whole, verdict(1));
        assert_eq!(whole, verdict(usize::from(cut).max(1)));
    }
});
