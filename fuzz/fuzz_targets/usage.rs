//! Whatever passes, the tap on usage bears it, and finds the same however the bytes are cut.

#![no_main]

use hermux::openrouter::dialect::Dialect;
use hermux::openrouter::usage::UsageTap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte says where to cut the rest.
    let Some((&cut, body)) = data.split_first() else { return };
    for dialect in [Dialect::Chat, Dialect::Messages, Dialect::Responses] {
        let mut whole = UsageTap::new(dialect);
        whole.feed(body);
        let mut bytewise = UsageTap::new(dialect);
        body.chunks(1).for_each(|byte| bytewise.feed(byte));
        let mut pieces = UsageTap::new(dialect);
        body.chunks(usize::from(cut).max(1)).for_each(|piece| pieces.feed(piece));
        for other in [&bytewise, &pieces] {
            assert_eq!(whole.usage(), other.usage());
            assert_eq!(whole.generation(), other.generation());
        }
    }
});
