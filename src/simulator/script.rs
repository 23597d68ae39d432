//! The body of an answer as a list of pieces with pauses, and what faults make of such a list.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::fault::{After, Close};
use super::scenario::Pace;

/// The comment that keeps streams alive (`OpenRouter` docs, Streaming page).
pub(super) const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";
const BLANK: &str = "\n         ";

/// Some bytes of a body that go out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The pause before it.
    pub(super) wait: Duration,
    pub(super) bytes: Bytes,
    /// Whether it is an event of a stream.
    pub(super) event: bool,
    /// How many tokens of the answer it carries.
    pub(super) tokens: u64,
}

impl Piece {
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { wait: Duration::ZERO, bytes: bytes.into(), event: false, tokens: 0 }
    }

    pub(super) fn event(bytes: impl Into<Bytes>) -> Self {
        Self { event: true, ..Self::new(bytes) }
    }
}

/// What comes after the last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The proper end of a body.
    Clean,
    /// The end of the connection.
    Cut(Close),
    /// Nothing at all, until the other side leaves.
    Stall,
}

/// The whole body of an answer.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) pieces: VecDeque<Piece>,
    /// The length that the head announces; chunked where there is none.
    pub(super) length: Option<u64>,
    pub(super) end: End,
}

impl Script {
    /// A body of known length that goes out at once.
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = Some(body.len() as u64);
        let pieces = if body.is_empty() { VecDeque::new() } else { VecDeque::from([Piece::new(body)]) };
        Self { pieces, length, end: End::Clean }
    }

    /// A JSON body of `tokens` tokens: at once, or after blank lines while it is being made.
    pub(super) fn json(body: String, tokens: u64, pace: &Pace) -> Self {
        let tokens_left = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = pace.first_token + pace.token * tokens_left;
        let mut script = Self::whole(body);
        if !wait.is_zero() {
            script.length = None;
            script.pieces[0].wait = wait;
            script.keep_alive(pace.keep_alive, BLANK);
        }
        script
    }

    /// A stream: comment, events, at the pace given.
    pub(super) fn stream(events: Vec<Piece>, pace: &Pace) -> Self {
        let mut pieces = VecDeque::from(events);
        let mut wait = pace.first_token;
        for piece in pieces.iter_mut().filter(|piece| piece.tokens > 0) {
            piece.wait = wait;
            wait = pace.token;
        }
        pieces.push_front(Piece::new(COMMENT));
        let mut script = Self { pieces, length: None, end: End::Clean };
        script.keep_alive(pace.keep_alive, COMMENT);
        script
    }

    /// Breaks pauses longer than `every` up with signs of life.
    fn keep_alive(&mut self, every: Duration, sign: &'static str) {
        if every.is_zero() {
            return;
        }
        let mut alive = VecDeque::with_capacity(self.pieces.len());
        for mut piece in self.pieces.drain(..) {
            while piece.wait > every {
                piece.wait -= every;
                alive.push_back(Piece { wait: every, ..Piece::new(sign) });
            }
            alive.push_back(piece);
        }
        self.pieces = alive;
    }

    /// Keeps the beginning and ends as `end` says.
    pub(super) fn stop(&mut self, after: After, end: End) {
        match after {
            After::Events(count) => {
                let mut seen = 0;
                let past = |piece: &Piece| {
                    seen += usize::from(piece.event);
                    seen > count
                };
                if let Some(at) = self.pieces.iter().position(past) {
                    self.pieces.truncate(at);
                }
            }
            After::Bytes(count) => {
                let mut left = count;
                for piece in &mut self.pieces {
                    if piece.bytes.len() > left {
                        piece.bytes.truncate(left);
                        // Whoever got half of a token's event can't read it.
                        piece.tokens = 0;
                    }
                    left -= piece.bytes.len();
                }
                self.pieces.retain(|piece| !piece.bytes.is_empty());
            }
        }
        self.end = end;
        if end == End::Clean && self.length.is_some() {
            self.length = Some(self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum());
        }
    }

    /// Cuts it into pieces of at most `size` bytes.
    pub(super) fn split(&mut self, size: usize) {
        let size = size.max(1);
        let mut small = VecDeque::new();
        for mut piece in self.pieces.drain(..) {
            while piece.bytes.len() > size {
                let bytes = piece.bytes.split_to(size);
                small.push_back(Piece { wait: piece.wait, ..Piece::new(bytes) });
                piece.wait = Duration::ZERO;
            }
            small.push_back(piece);
        }
        self.pieces = small;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{COMMENT, End, Piece, Script};
    use crate::simulator::fault::{After, Close};
    use crate::simulator::scenario::Pace;

    fn text(script: &Script) -> String {
        script.pieces.iter().map(|piece| std::str::from_utf8(&piece.bytes).unwrap()).collect()
    }

    fn stream(pace: &Pace) -> Script {
        let token = |text: &'static str| Piece { tokens: 1, ..Piece::event(text) };
        Script::stream(vec![token("one\n\n"), token("two\n\n"), Piece::event("end\n\n")], pace)
    }

    #[test]
    fn a_cut_after_events_keeps_comments_and_whole_events() {
        let mut script = stream(&Pace::default());
        script.stop(After::Events(1), End::Cut(Close::Rst));
        assert_eq!(text(&script), format!("{COMMENT}one\n\n"));
        assert_eq!(script.end, End::Cut(Close::Rst));
        script.stop(After::Events(0), End::Stall);
        assert_eq!(text(&script), COMMENT);
    }

    #[test]
    fn a_cut_after_bytes_may_fall_inside_an_event() {
        let mut script = stream(&Pace::default());
        script.stop(After::Bytes(COMMENT.len() + 7), End::Cut(Close::Fin));
        assert_eq!(text(&script), format!("{COMMENT}one\n\ntw"));
        script.stop(After::Bytes(0), End::Cut(Close::Fin));
        assert!(script.pieces.is_empty());
    }

    #[test]
    fn a_cut_keeps_the_announced_length_and_a_clean_end_does_not() {
        let mut cut = Script::whole("0123456789");
        cut.stop(After::Bytes(4), End::Cut(Close::Fin));
        assert_eq!((text(&cut).as_str(), cut.length), ("0123", Some(10)));
        let mut clean = Script::whole("0123456789");
        clean.stop(After::Bytes(4), End::Clean);
        assert_eq!((text(&clean).as_str(), clean.length), ("0123", Some(4)));
    }

    #[test]
    fn split_changes_no_byte_and_no_count() {
        let mut script = stream(&Pace::default());
        let before = text(&script);
        script.split(3);
        assert_eq!(text(&script), before);
        assert!(script.pieces.iter().all(|piece| piece.bytes.len() <= 3));
        assert_eq!(script.pieces.iter().map(|piece| piece.tokens).sum::<u64>(), 2);
    }

    #[test]
    fn long_pauses_show_signs_of_life() {
        let ms = Duration::from_millis;
        let pace = Pace { first_token: ms(250), token: ms(10), keep_alive: ms(100), ..Pace::default() };
        let script = stream(&pace);
        assert_eq!(text(&script), format!("{COMMENT}{COMMENT}{COMMENT}one\n\ntwo\n\nend\n\n"));
        assert_eq!(script.pieces.iter().map(|piece| piece.wait).sum::<Duration>(), ms(260));
        let json = Script::json("{}".to_owned(), 1, &pace);
        assert_eq!(text(&json), "\n         \n         {}");
        assert_eq!(json.length, None);
        assert_eq!(Script::json("{}".to_owned(), 9, &Pace::default()).length, Some(2));
    }
}
