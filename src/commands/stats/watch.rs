//! `hermux stats --watch`: the table again and again, in the same place of the terminal.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::commands::{Usage, table, terminal};

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
        out.write_all(format!("{clear}{}", placed(&frame, columns, lines)).as_bytes())?;
        out.flush()?;
        clear = "";
        thread::sleep(Duration::from_secs(seconds.into()));
    }
}

/// `frame` over what stood there before; as much of it as there are lines, of which the last stays for what comes then.
fn placed(frame: &str, columns: usize, lines: usize) -> String {
    let mut text = String::from(HOME);
    let room = lines.saturating_sub(1).max(1);
    // A line that the terminal breaks takes the place of another. Tables, which alone have colors, fit.
    let frame: Vec<String> = frame
        .lines()
        .flat_map(
            |line| if width(line) > columns { table::folded(line, columns) } else { vec![line.to_owned()] },
        )
        .collect();
    let all = frame.len();
    // The total and what stands below it are worth more than any group.
    let tail = frame.iter().rev().position(|line| line.starts_with("total")).unwrap_or(0) + 1;
    let cut = (all > room).then(|| room.saturating_sub(tail + 1));
    for (at, line) in frame.iter().enumerate() {
        match cut {
            Some(cut) if at == cut => text.extend(["…", CLEAR_LINE, "\n"]),
            Some(cut) if at > cut && at + tail < all => {}
            // Behind the last column, what clears the line would take its last letter.
            _ if width(line) == columns => text.extend([line, "\n"]),
            _ => text.extend([line, CLEAR_LINE, "\n"]),
        }
    }
    text + CLEAR_REST
}

/// How many characters of a line are seen.
fn width(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().map_or(0, |text| text.chars().count());
    let behind = |part: &str| part.split_once('m').map_or(0, |(_, text)| text.chars().count());
    parts.fold(first, |width, part| width + behind(part))
}

#[cfg(test)]
mod tests {
    use super::placed;

    #[test]
    fn each_line_takes_the_place_of_the_one_before_and_the_last_is_always_there() {
        assert_eq!(placed("a\nb\n", 80, 24), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(
            placed("a\nb\nc\nd\ntotal\n", 80, 5),
            "\x1b[Ha\x1b[K\nb\x1b[K\n…\x1b[K\ntotal\x1b[K\n\x1b[J"
        );
    }

    #[test]
    fn a_line_that_is_broken_counts_as_the_lines_that_it_takes() {
        assert_eq!(
            placed("a\nb\ntotal\nnot shown: abc\n", 10, 6),
            "\x1b[Ha\x1b[K\nb\x1b[K\ntotal\x1b[K\nnot shown:\nabc\x1b[K\n\x1b[J"
        );
        let colored = "\x1b[31mtotal\x1b[0m";
        assert_eq!(placed(colored, 5, 6), format!("\x1b[H{colored}\n\x1b[J"), "as wide as the terminal");
        assert_eq!(
            placed("a\nb\nc\ntotal\nnot shown: abc\n", 10, 6),
            "\x1b[Ha\x1b[K\n…\x1b[K\ntotal\x1b[K\nnot shown:\nabc\x1b[K\n\x1b[J"
        );
    }
}
