//! Memory that a worker's connections read into, one piece behind the other, so that what was read is passed on as it lies.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of one chunk of memory. It stays as long as any piece of it, so that a small piece may hold so much.
const CHUNK: usize = 32 << 10;

/// With less room than this the next chunk is begun, bytes.
const LEAST: usize = 4 << 10;

/// Where a worker's connections read into. It stays on its thread.
#[derive(Debug, Default)]
pub(crate) struct Intake(RefCell<BytesMut>);

impl Intake {
    /// Reads once; nothing in it means that the reader is at its end.
    pub(crate) fn poll_read<R>(&self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<Bytes>>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        let mut chunk = self.0.borrow_mut();
        if chunk.capacity() < LEAST {
            *chunk = BytesMut::with_capacity(CHUNK);
        }
        ready!(pin!(reader.read_buf(&mut *chunk)).poll(cx))?;
        Poll::Ready(Ok(chunk.split().freeze()))
    }
}

/// The same data where it may lie for long: in memory of its own, unless it is a good part of its chunk.
pub(crate) fn alone(data: Bytes) -> Bytes {
    if data.len() < CHUNK / 2 { Bytes::copy_from_slice(&data) } else { data }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;

    use super::{CHUNK, Intake, LEAST, alone};

    #[test]
    fn what_lies_alone_holds_at_most_twice_itself() {
        for (length, copied) in [(0, true), (1, true), (CHUNK / 2 - 1, true), (CHUNK / 2, false)] {
            let chunk = Bytes::from(vec![7; CHUNK]);
            let piece = alone(chunk.slice(..length));
            assert_eq!(piece, chunk[..length]);
            assert_eq!(chunk.try_into_mut().is_ok(), copied, "{length} bytes");
        }
    }

    #[test]
    fn pieces_are_what_was_read_whatever_became_of_the_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let intake = Intake::default();
            let all: Vec<u8> = (0..3 * CHUNK).map(|n| n.to_le_bytes()[1]).collect();
            let mut kept = Vec::new();
            let mut reader = &all[..];
            loop {
                let piece = poll_fn(|cx| intake.poll_read(cx, &mut reader)).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                assert!(piece.len() <= CHUNK);
                kept.push(piece);
            }
            assert_eq!(kept.concat(), all);
            // Small ones share a chunk.
            let mut places = Vec::new();
            for _ in 0..(CHUNK - LEAST) / 100 {
                let piece = poll_fn(|cx| intake.poll_read(cx, &mut &all[..100])).await.unwrap();
                places.push(piece.as_ptr().addr());
            }
            assert!(places.windows(2).filter(|two| two[1].wrapping_sub(two[0]) != 100).count() <= 1);
        });
    }
}
