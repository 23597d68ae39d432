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
