//! The socket of one connection: notes what arrives and whether it takes what is written, and closes so
//! that the last answer is not lost.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Stream;
use super::state::State;

/// The first bytes of an HTTP/2 connection (RFC 9113 section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Closing while unread input waits would make the kernel reset the connection and take the answer
/// from the peer; so what still comes is read and thrown away, this long and this many bytes at most.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 8 << 20;

/// What the first bytes of a connection say.
pub(super) struct Sniffed {
    /// The bytes themselves.
    pub(super) prefix: Bytes,
    /// Whether they are HTTP/2's preface.
    pub(super) is_h2: bool,
}

/// Reads until the protocol is known; `None` when the peer left before.
pub(super) async fn sniff(stream: &mut impl Stream) -> io::Result<Option<Sniffed>> {
    let mut start = [0; H2_PREFACE.len()];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut start[filled..]).await?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
        let is_h2 = start[..filled] == H2_PREFACE[..filled];
        if !is_h2 || filled == H2_PREFACE.len() {
            return Ok(Some(Sniffed { prefix: Bytes::copy_from_slice(&start[..filled]), is_h2 }));
        }
    }
}

/// The socket under HTTP.
#[derive(Debug)]
pub(super) struct Io<I: Stream> {
    stream: I,
    prefix: Bytes,
    state: Rc<State>,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<I: Stream> Io<I> {
    pub(super) fn new(stream: I, prefix: Bytes, state: Rc<State>) -> Self {
        Self { stream, prefix, state, lingering: None }
    }
}

impl<I: Stream> Drop for Io<I> {
    fn drop(&mut self) {
        if self.state.must_reset() {
            self.stream.break_off();
        }
    }
}

impl<I: Stream> AsyncRead for Io<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let has_prefix = !self.prefix.is_empty();
        if has_prefix {
            let length = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..length]);
            self.prefix.advance(length);
            if !self.prefix.is_empty() || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // An empty rest would still hold its memory.
            self.prefix = Bytes::new();
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.state.bytes_arrived();
        }
        // What stands behind the prefix comes along, for together they are mostly a whole head. Whatever else came
        // of that read, the prefix was read, and the next read tells.
        if has_prefix { Poll::Ready(Ok(())) } else { read }
    }
}

impl<I: Stream> AsyncWrite for Io<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.state.set_blocked(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.state.set_blocked(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What a stream took it may still hold, as TLS does: only then is a flush more than nothing.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() || self.state.is_blocked() {
            self.state.set_blocked(flushed.is_pending());
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let mut scratch = [0; 8 << 10];
        if this.lingering.is_none() && !this.state.may_have_unread() {
            // Something may have come behind the last request all the same.
            let mut buf = ReadBuf::new(&mut scratch);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buf);
            if !matches!(read, Poll::Ready(Ok(()))) || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        let (deadline, left) = this.lingering.get_or_insert_with(|| (Box::pin(sleep(LINGER)), LINGER_BYTES));
        loop {
            if *left == 0 || deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    *left = left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::Stream;
    use super::super::state::State;
    use super::{H2_PREFACE, Io, sniff};

    impl Stream for DuplexStream {
        fn break_off(&self) {}
    }

    /// What is read of a connection that brings these pieces one after the other, `room` bytes at most at once, and whether
    /// it is taken for HTTP/2.
    fn read(pieces: &[&[u8]], room: usize) -> Option<(Vec<u8>, bool)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut theirs, mut ours) = duplex(4096);
            let send = async {
                for piece in pieces {
                    theirs.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                drop(theirs);
            };
            let receive = async {
                let sniffed = sniff(&mut ours).await.unwrap()?;
                let mut io = Io::new(ours, sniffed.prefix, Rc::new(State::new(0, Rc::default())));
                let (mut all, mut piece) = (Vec::new(), vec![0; room]);
                loop {
                    let length = io.read(&mut piece).await.unwrap();
                    if length == 0 {
                        return Some((all, sniffed.is_h2));
                    }
                    all.extend_from_slice(&piece[..length]);
                }
            };
            tokio::join!(send, receive).1
        })
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_doubled_however_the_first_ones_come(
            of_preface in 0..=H2_PREFACE.len(), more in prop::collection::vec(any::<u8>(), 0..60),
            cuts in prop::collection::vec(0_usize..84, 0..6), room in 1_usize..64,
        ) {
            let sent = [&H2_PREFACE[..of_preface], &more].concat();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(sent.len())).collect();
            cuts.extend([0, sent.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|ends| &sent[ends[0]..ends[1]]).filter(|piece| !piece.is_empty()).collect();
            match read(&pieces, room) {
                Some((read, is_h2)) => {
                    prop_assert_eq!(&read, &sent);
                    prop_assert_eq!(is_h2, sent.starts_with(H2_PREFACE));
                }
                None => prop_assert!(H2_PREFACE.starts_with(&sent) && sent.len() < H2_PREFACE.len(), "it left before"),
            }
        }
    }
}
