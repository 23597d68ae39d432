//! `hermux stats --watch`: the table again and again, in the same place of the terminal.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::commands::{Usage, terminal};

/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// To the end of the line, and of the screen, nothing.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Shows what `frame` gives for so many columns every `seconds`, until the process ends or its terminal is gone.
pub(super) fn run(
    seconds: u32,
    out: &mut dyn Write,
    mut frame: impl FnMut(usize) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let refused = || {
        Usage(
            "--watch goes with a terminal only\nhint: leave it out, or ask again and again for --json"
                .to_owned(),
        )
    };
    terminal::size().ok_or_else(refused)?;
    let mut clear = "\x1b[2J";
    loop {
        let (columns, lines) = terminal::size().ok_or_else(refused)?;
        let frame = frame(columns)?;
        out.write_all(format!("{clear}{}", placed(&frame, lines)).as_bytes())?;
        out.flush()?;
        clear = "";
        thread::sleep(Duration::from_secs(seconds.into()));
    }
}

/// `frame` over what stood there before; as much of it as there are lines, of which the last stays for what comes then.
fn placed(frame: &str, lines: usize) -> String {
    let mut text = String::from(HOME);
    let room = lines.saturating_sub(1).max(1);
    let all = frame.lines().count();
    // The total and what stands below it are worth more than any group.
    let tail = frame.lines().rev().position(|line| line.starts_with("total")).unwrap_or(0) + 1;
    let cut = (all > room).then(|| room.saturating_sub(tail + 1));
    for (at, line) in frame.lines().enumerate() {
        match cut {
            Some(cut) if at == cut => text.extend(["…", CLEAR_LINE, "\n"]),
            Some(cut) if at > cut && at + tail < all => {}
            _ => text.extend([line, CLEAR_LINE, "\n"]),
        }
    }
    text + CLEAR_REST
}

#[cfg(test)]
mod tests {
    use super::placed;

    #[test]
    fn each_line_takes_the_place_of_the_one_before_and_the_last_is_always_there() {
        assert_eq!(placed("a\nb\n", 24), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(placed("a\nb\nc\nd\ntotal\n", 5), "\x1b[Ha\x1b[K\nb\x1b[K\n…\x1b[K\ntotal\x1b[K\n\x1b[J");
    }
}
