//! Tables as hermux prints them: without lines; as wide as their content, but no wider than the terminal.

use comfy_table::{ContentArrangement, Table, presets};

use super::terminal;

/// An empty table below `header`.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(header);
    table
}

/// Folds the cells of `table` where it would be wider than the terminal; in a file and a pipe lines stay whole.
pub(super) fn fit(table: &mut Table) {
    if let Some(width) = terminal::width() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
}

/// The lines of `table`.
pub(super) fn lines(mut table: Table) -> String {
    fit(&mut table);
    // Each cell has a blank before it, and those of the first column are not wanted.
    let bare = |line: &str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned();
    table.lines().fold(String::new(), |text, line| text + &bare(&line) + "\n")
}
