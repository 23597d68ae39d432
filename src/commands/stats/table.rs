//! `hermux stats` for people: a table as wide as the terminal, with totals and each group's share as a bar.

use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table};

use super::free::Free;
use super::lines::name;
use super::{Found, asked, clean, decimals, dollars};
use crate::commands::table;
use crate::ledger::query::{Figures, Group, Value};

/// What stands where nothing is known.
const NOTHING: &str = "-";

/// How many characters the longest bar has.
const BAR: u64 = 8;

/// The longest name that a terminal shows whole, characters.
const LONGEST: usize = 40;

/// One column: a cell for each group, then that of the total.
struct Column {
    header: &'static str,
    cells: Vec<(String, Look)>,
    is_number: bool,
    /// The higher, the sooner it is left out; 0 stays.
    rank: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Plain,
    Odd,
    Bad,
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(text, _)| text.chars().count());
        cells.fold(self.header.chars().count(), usize::max)
    }
}

/// The table, in so many columns of a terminal where that is one; in a file lines stay whole.
pub(super) fn table(found: &Found, width: Option<usize>, colored: bool) -> String {
    let (columns, left_out) = chosen(columns(found, width.is_some()), width);
    let mut table = table::bare();
    table.set_header(columns.iter().map(|column| Cell::new(column.header)));
    for row in 0..=found.groups.len() {
        table.add_row(columns.iter().enumerate().map(|(at, column)| {
            let (text, look) = &column.cells[row];
            let cell = Cell::new(text);
            match look {
                Look::Bad => cell.fg(Color::Red),
                Look::Odd => cell.fg(Color::Yellow),
                // The blank before the first column is taken away as it is.
                Look::Plain if row == found.groups.len() && at > 0 => cell.add_attribute(Attribute::Bold),
                Look::Plain => cell,
            }
        }));
    }
    for (column, shown) in table.column_iter_mut().zip(&columns) {
        if shown.is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if colored {
        table.enforce_styling();
    }
    let mut text = text(table, width);
    if let Some(note) = without_cost(found.queued, found.total.unsettled) {
        text.push('\n');
        for line in table::folded(&note, width.unwrap_or(usize::MAX)) {
            text.extend([&line, "\n"]);
        }
    }
    if !left_out.is_empty() {
        let note = format!("not shown, since the terminal is too narrow: {}", left_out.join(", "));
        text.push('\n');
        for line in table::folded(&note, width.unwrap_or(usize::MAX)) {
            text.extend([&line, "\n"]);
        }
    }
    text
}

/// What the costs lack: attempts that wait for theirs, and those whose is never known.
fn without_cost(queued: u64, unsettled: u64) -> Option<String> {
    let attempts = |number: u64| match number {
        1 => "1 attempt".to_owned(),
        _ => format!("{} attempts", count(number)),
    };
    let said = match (queued, unsettled) {
        (0, 0) => return None,
        (0, _) => format!("of {}, which is never known", attempts(unsettled)),
        (_, 0) => format!("of {}, which is asked for", attempts(queued)),
        _ => format!(
            "of {}, which is asked for, and of {}, which is never known",
            attempts(queued),
            attempts(unsettled)
        ),
    };
    Some(format!("without the cost {said}"))
}

fn text(mut table: Table, width: Option<usize>) -> String {
    // The blanks before the first column and behind the last are not shown.
    table::fit_into(&mut table, width.and_then(|width| u16::try_from(width + 2).ok()));
    table::bare_lines(&table)
}

/// The columns that fit side by side, those worth most first, and the headers of the others.
fn chosen(columns: Vec<Column>, width: Option<usize>) -> (Vec<Column>, Vec<&'static str>) {
    let Some(width) = width else { return (columns, Vec::new()) };
    let mut order: Vec<_> = (0..columns.len()).collect();
    order.sort_by_key(|&at| columns[at].rank);
    let mut used = 0;
    let mut fits = vec![false; columns.len()];
    for at in order {
        let wanted = used + columns[at].width() + if used == 0 { 0 } else { 2 };
        if columns[at].rank == 0 || wanted <= width {
            (fits[at], used) = (true, wanted);
        }
    }
    let left_out = columns.iter().zip(&fits).filter(|(_, fits)| !**fits).map(|(column, _)| column.header);
    let left_out = left_out.collect();
    (columns.into_iter().zip(fits).filter_map(|(column, fits)| fits.then_some(column)).collect(), left_out)
}

fn columns(found: &Found, is_terminal: bool) -> Vec<Column> {
    let by = &found.asked.by;
    let mut columns: Vec<Column> = by
        .iter()
        .enumerate()
        .map(|(at, by)| {
            let mut cells: Vec<_> =
                found.groups.iter().map(|group| plain(shown(&group.is[at], is_terminal))).collect();
            cells.push(plain(if at == 0 { "total".to_owned() } else { String::new() }));
            Column { header: name(*by), cells, is_number: false, rank: 0 }
        })
        .collect();
    let rows = || found.groups.iter().map(|group| &group.figures).chain([&found.total]);
    let mut add = |header, rank, cell: &dyn Fn(&Figures) -> (String, Look)| {
        columns.push(Column { header, cells: rows().map(cell).collect(), is_number: true, rank });
    };
    // As many decimals as the finest cost needs, in every row: exact, and the points stand below each other.
    let finest = rows().map(|figures| decimals(figures.cost)).fold(2, usize::max);
    let wait = |percent| {
        move |of: &Figures| plain(of.first_byte.percentile(percent).map_or(NOTHING.to_owned(), duration))
    };
    add("requests", 0, &|of| plain(count(of.requests)));
    add("attempts", 3, &|of| plain(count(of.attempts)));
    add("errors", 2, &|of| (count(of.errors), if of.errors > 0 { Look::Bad } else { Look::Plain }));
    add("waits", 11, &|of| plain(count(of.waits)));
    add("prompt", 4, &|of| plain(count(of.prompt_tokens)));
    add("completion", 5, &|of| plain(count(of.completion_tokens)));
    add("cached", 10, &|of| plain(count(of.cached_tokens)));
    add("cost USD", 1, &|of| plain(dollars(of.cost, finest)));
    add("TTFB p50", 7, &wait(50));
    add("TTFB p95", 8, &wait(95));
    if found.has_quota(by) {
        let cell = |group: &Group| found.free(by, group).map_or_else(|| plain(NOTHING.to_owned()), quota);
        let mut cells: Vec<_> = found.groups.iter().map(cell).collect();
        // Keys share quotas, so they do not add up.
        cells.push(plain(String::new()));
        columns.push(Column { header: "free quota", cells, is_number: true, rank: 6 });
    }
    if found.groups.len() > 1 {
        columns.extend(shares(found));
    }
    columns
}

/// Each group's share, of the cost where there is one, as a bar and in percent.
fn shares(found: &Found) -> Option<Column> {
    let of_cost = found.total.cost > 0;
    let part = |of: &Figures| if of_cost { u64::try_from(of.cost).unwrap_or(0) } else { of.requests };
    let total = part(&found.total);
    if total == 0 {
        return None;
    }
    let most = found.groups.iter().map(|group| part(&group.figures)).max().unwrap_or(0).max(1);
    let share = |group: &Group| {
        let part = u128::from(part(&group.figures));
        // The longest bar is that of the largest part.
        let eighths = u64::try_from((part * u128::from(8 * BAR)).div_ceil(most.into())).unwrap_or(0);
        plain(format!("{} {:>4}", bar(eighths), percent(part, total.into())))
    };
    let mut cells: Vec<_> = found.groups.iter().map(share).collect();
    cells.push(plain(String::new()));
    let header = if of_cost { "share of cost" } else { "share of requests" };
    Some(Column { header, cells, is_number: false, rank: 9 })
}

/// What `part` of `total` is, never nothing or all where it is not that.
fn percent(part: u128, total: u128) -> String {
    match (part * 200 + total) / (2 * total) {
        0 if part > 0 => "<1%".to_owned(),
        100 if part < total => ">99%".to_owned(),
        percent => format!("{percent}%"),
    }
}

/// So many eighths of characters, in the place of the longest bar.
fn bar(eighths: u64) -> String {
    const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let full = eighths.min(8 * BAR) / 8;
    let mut bar: String = (0..full).map(|_| '█').collect();
    if full < BAR && !eighths.is_multiple_of(8) {
        bar.push(PARTS[usize::try_from(eighths % 8 - 1).unwrap_or(0)]);
    }
    while (bar.chars().count() as u64) < BAR {
        bar.push(' ');
    }
    bar
}

fn plain(text: String) -> (String, Look) {
    (text, Look::Plain)
}

fn quota(free: Free) -> (String, Look) {
    let look = match free.percent() {
        100.. => Look::Bad,
        80.. => Look::Odd,
        _ => Look::Plain,
    };
    (format!("{}%", free.percent()), look)
}

fn shown(value: &Value, is_terminal: bool) -> String {
    match value {
        Value::Name(name) if name.is_empty() => NOTHING.to_owned(),
        Value::Name(name) => {
            let mut name = clean(name);
            if is_terminal && let Some((end, _)) = name.char_indices().nth(LONGEST) {
                name.truncate(end);
                name.pop();
                name.push('…');
            }
            name
        }
        Value::Day(day) => day.to_string(),
        Value::Hour(hour) => asked::minute(*hour),
        Value::Status(status) => status.map_or(NOTHING.to_owned(), |status| status.to_string()),
    }
}

/// `1,234,567`.
fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `820 ms`, from ten seconds on `12.3 s`.
fn duration(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ ..10_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bar, count, duration, percent};

    #[test]
    fn numbers_are_easy_to_read() {
        let counts = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in counts {
            assert_eq!(count(number), text);
        }
        let percents = [(0, "0%"), (1, "<1%"), (15, "2%"), (500, "50%"), (999, ">99%"), (1_000, "100%")];
        for (part, text) in percents {
            assert_eq!(percent(part, 1_000), text);
        }
        assert_eq!(duration(Duration::from_millis(820)), "820 ms");
        assert_eq!(duration(Duration::from_millis(12_340)), "12.3 s");
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_and_always_as_wide() {
        for (eighths, text) in
            [(0, "        "), (1, "▏       "), (8, "█       "), (63, "███████▉"), (64, "████████")]
        {
            assert_eq!(bar(eighths), text);
        }
    }
}
