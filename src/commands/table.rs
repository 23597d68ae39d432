//! Tables as hermux prints them: without lines; as wide as their content, but no wider than the terminal.

use comfy_table::{Column, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::terminal;

/// An empty table below `header`.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = bare();
    table.set_header(header);
    table
}

/// The same without a header.
pub(super) fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table
}

/// The longest word that is kept whole in a table, letters.
const WHOLE: usize = 20;

/// Folds the cells of `table` where it would be wider than the terminal, between words as long as that goes; in a file
/// and a pipe lines stay whole.
pub(super) fn fit(table: &mut Table) {
    fit_into(table, terminal::width());
}

/// The same for a terminal of so many columns, if it is one.
pub(super) fn fit_into(table: &mut Table, width: Option<u16>) {
    let Some(width) = width else { return };
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    let whole = table.column_iter().zip(table.column_max_content_widths());
    let whole = whole.map(|(column, content)| content.saturating_add(column.padding_width()));
    if whole.fold(0, u16::saturating_add) <= width {
        // A lower bound would have a column shrink to it, also where there is room.
        return;
    }
    let mut longest = vec![0; table.column_count()];
    for row in table.header().into_iter().chain(table.row_iter()) {
        for (longest, cell) in longest.iter_mut().zip(row.cell_iter()) {
            let content = cell.content();
            let words = content.split_whitespace().map(|word| word.chars().count());
            *longest = words.max().unwrap_or(0).min(WHOLE).max(*longest);
        }
    }
    let least = |(column, longest): (&Column, usize)| {
        u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(column.padding_width())
    };
    let least: Vec<_> = table.column_iter().zip(longest).map(least).collect();
    // Where not even the words have room they are broken, rather than the lines.
    if least.iter().copied().fold(0, u16::saturating_add) > width {
        return;
    }
    for (column, least) in table.column_iter_mut().zip(least) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
}

/// `text`, a line, as lines of at most `width` characters, broken between words where that goes.
pub(super) fn folded(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for (at, word) in text.split(' ').enumerate() {
        let mut left = word.chars().count();
        let blank = usize::from(at > 0);
        if used + blank + left > width && used > 0 {
            lines.push(String::new());
            used = 0;
        } else if blank > 0 {
            lines.last_mut().expect("there is always one").push(' ');
            used += 1;
        }
        let mut letters = word.chars();
        loop {
            let part: String = letters.by_ref().take(width - used).collect();
            lines.last_mut().expect("there is always one").push_str(&part);
            if left <= width - used {
                used += left;
                break;
            }
            left -= width - used;
            lines.push(String::new());
            used = 0;
        }
    }
    lines
}

/// How wide `table` is where nothing is folded.
pub(super) fn width(table: &Table) -> usize {
    let whole = table.column_iter().zip(table.column_max_content_widths());
    whole.map(|(column, content)| usize::from(content.saturating_add(column.padding_width()))).sum()
}

/// The lines of `table`.
pub(super) fn lines(mut table: Table) -> String {
    fit(&mut table);
    bare_lines(&table)
}

/// The lines of `table` as it is.
pub(super) fn bare_lines(table: &Table) -> String {
    // Each cell has a blank before it, and those of the first column are not wanted.
    let bare = |line: &str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned();
    table.lines().fold(String::new(), |text, line| text + &bare(&line) + "\n")
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn a_line_is_folded_between_words_and_only_what_is_too_long_within() {
        for (text, width, lines) in [
            ("", 4, &[""][..]),
            ("a bc def", 8, &["a bc def"]),
            ("a bc def", 7, &["a bc", "def"]),
            ("not shown: free quota", 16, &["not shown: free", "quota"]),
            ("a longest", 4, &["a", "long", "est"]),
            ("longest a", 4, &["long", "est", "a"]),
            ("ab", 0, &["a", "b"]),
        ] {
            assert_eq!(folded(text, width), lines, "{text:?} in {width}");
        }
    }
}
