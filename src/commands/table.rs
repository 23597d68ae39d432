//! Tables as hermux prints them: without lines; as wide as their content, but no wider than the terminal.

use comfy_table::{ContentArrangement, Table, presets};

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

/// Folds the cells of `table` where it would be wider than the terminal; in a file and a pipe lines stay whole.
pub(super) fn fit(table: &mut Table) {
    fit_into(table, terminal::width());
}

/// The same for a terminal of so many columns, if it is one.
pub(super) fn fit_into(table: &mut Table, width: Option<u16>) {
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
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
