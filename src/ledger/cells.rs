//! The sums in the database: cells of hours, added up by day and by one dimension alone once their hour is over.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Transaction};

use super::histogram::Histogram;
use super::sums::{Cell, FIGURES, Hour, Sum};

/// What cells of one time are told apart by. The place of each, from 1 on, is its number in `marginals`, where 0 is all of
/// an hour together.
pub(super) const DIMENSIONS: [&str; 4] = ["key", "caller", "model", "status"];

/// Where a cell stands: its hour, the ids of key, caller and model, and the status.
pub(super) type Place = (Hour, [i64; 3], u16);

/// Adds a row to the sum that is there.
static ADD: LazyLock<String> = LazyLock::new(|| {
    let added = FIGURES.map(|figure| format!("{figure} = {figure} + excluded.{figure}"));
    format!(
        "ON CONFLICT DO UPDATE SET {}, first_byte = add_histograms(first_byte, excluded.first_byte)",
        added.join(", ")
    )
});

/// Adds a cell to `hours`, to `days` and to `marginals`.
static ADD_HOUR: LazyLock<String> = LazyLock::new(|| add_to("hours", 1 + DIMENSIONS.len()));
static ADD_DAY: LazyLock<String> = LazyLock::new(|| add_to("days", 1 + DIMENSIONS.len()));
static ADD_MARGINAL: LazyLock<String> = LazyLock::new(|| add_to("marginals", 3));

/// Adds to a table whose primary key has so many columns.
fn add_to(table: &str, columns: usize) -> String {
    let values = vec!["?"; columns + FIGURES.len() + 1].join(", ");
    format!("INSERT INTO {table} VALUES ({values}) {}", *ADD)
}

/// Adds the cells of an hour to those of its day.
static ROLL: LazyLock<String> = LazyLock::new(|| {
    let figures = FIGURES.join(", ");
    format!(
        "INSERT INTO days SELECT hour / 24, key, caller, model, status, {figures}, first_byte
         FROM hours WHERE hour = ?1 {}",
        *ADD
    )
});

/// The cells of an hour.
static CELLS: LazyLock<String> = LazyLock::new(|| {
    let (dimensions, figures) = (DIMENSIONS.join(", "), FIGURES.join(", "));
    format!("SELECT {dimensions}, first_byte, {figures} FROM hours WHERE hour = ?1")
});

/// Adds `cells` to the sums of their hours, and to those of days and `marginals` where these have the hour already: it is
/// before `rolled`.
pub(super) fn add_to_sums(
    transaction: &Transaction<'_>,
    rolled: Hour,
    mut cells: Vec<(Place, &Cell)>,
) -> Result<(), rusqlite::Error> {
    // Neighbours in the table one after another.
    cells.sort_unstable_by_key(|(place, _)| *place);
    let mut late = Marginals::default();
    for (place, cell) in cells {
        let (hour, names, status) = place;
        let numbers = |time: i64| [time, names[0], names[1], names[2], status.into()];
        add(transaction, &ADD_HOUR, numbers(hour.0), cell)?;
        if hour < rolled {
            add(transaction, &ADD_DAY, numbers(hour.day().0.into()), cell)?;
            late.add(place, cell);
        }
    }
    late.write(transaction)
}

fn add<const COLUMNS: usize>(
    transaction: &Transaction<'_>,
    sql: &str,
    place: [i64; COLUMNS],
    cell: &Cell,
) -> Result<(), rusqlite::Error> {
    let mut add = transaction.prepare_cached(sql)?;
    for (at, number) in place.into_iter().chain(cell.sum.figures()).enumerate() {
        add.raw_bind_parameter(at + 1, number)?;
    }
    let first_byte = (!cell.first_byte.is_empty()).then(|| cell.first_byte.encode());
    add.raw_bind_parameter(COLUMNS + FIGURES.len() + 1, first_byte)?;
    add.raw_execute().map(|_| ())
}

/// Adds up `hour`, which is over, in `days` and `marginals`.
pub(super) fn roll(transaction: &Transaction<'_>, hour: Hour) -> Result<(), rusqlite::Error> {
    transaction.prepare_cached(&ROLL)?.execute([hour.0])?;
    Marginals::of(transaction, hour)?.write(transaction)
}

/// Adds up in `marginals` the hours that an earlier form has in `days` alone.
pub(super) fn fill_marginals(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let mut find =
        transaction.prepare("SELECT DISTINCT hour FROM hours WHERE hour < (SELECT rolled FROM state)")?;
    let hours = find.query_map([], |row| row.get(0).map(Hour))?;
    for hour in hours.collect::<Result<Vec<_>, _>>()? {
        Marginals::of(transaction, hour)?.write(transaction)?;
    }
    Ok(())
}

/// What is to be added to `marginals`, by its primary key: dimension, hour and id.
#[derive(Default)]
struct Marginals(BTreeMap<(i64, Hour, i64), Cell>);

impl Marginals {
    /// Those of a whole hour.
    fn of(transaction: &Transaction<'_>, hour: Hour) -> Result<Self, rusqlite::Error> {
        let mut marginals = Self::default();
        let mut statement = transaction.prepare_cached(&CELLS)?;
        let mut rows = statement.query([hour.0])?;
        while let Some(row) = rows.next()? {
            let mut cell = Cell { sum: sum_of(row, DIMENSIONS.len() + 1)?, first_byte: Histogram::default() };
            if let Some(bytes) = row.get_ref(DIMENSIONS.len())?.as_blob_or_null()? {
                cell.first_byte.merge_encoded(bytes);
            }
            marginals.add((hour, [row.get(0)?, row.get(1)?, row.get(2)?], row.get(3)?), &cell);
        }
        Ok(marginals)
    }

    fn add(&mut self, (hour, [key, caller, model], status): Place, cell: &Cell) {
        for (dimension, id) in (0..).zip([0, key, caller, model, status.into()]) {
            *self.0.entry((dimension, hour, id)).or_default() += cell;
        }
    }

    fn write(self, transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
        for ((dimension, hour, id), cell) in self.0.iter().filter(|(_, cell)| !cell.is_empty()) {
            add(transaction, &ADD_MARGINAL, [*dimension, hour.0, *id], cell)?;
        }
        Ok(())
    }
}

/// The sum that stands in a row from column `from` on, in the order of [`FIGURES`].
pub(super) fn sum_of(row: &Row<'_>, from: usize) -> Result<Sum, rusqlite::Error> {
    let mut figures = [0; FIGURES.len()];
    for (at, figure) in figures.iter_mut().enumerate() {
        *figure = row.get(from + at)?;
    }
    Ok(Sum::of_figures(figures))
}

/// What SQL needs to add up what sums count beside numbers.
pub(super) fn add_functions(connection: &Connection) -> Result<(), rusqlite::Error> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("add_histograms", 2, flags, |context: &Context<'_>| {
        let blob = |at| match context.get_raw(at) {
            ValueRef::Blob(bytes) => bytes,
            _ => &[],
        };
        let (left, right) = (blob(0), blob(1));
        let mut sum = Histogram::default();
        sum.merge_encoded(left);
        sum.merge_encoded(right);
        Ok((!sum.is_empty()).then(|| sum.encode()))
    })
}
