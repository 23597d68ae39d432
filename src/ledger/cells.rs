//! The sums in the database: cells of hours, added up by day once their hour is over.

use std::sync::LazyLock;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Transaction};

use super::histogram::Histogram;
use super::sums::{Cell, FIGURES, Hour, Sum};

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

/// Adds a cell to `hours`, and to `days`.
static ADD_HOUR: LazyLock<String> = LazyLock::new(|| add_to("hours"));
static ADD_DAY: LazyLock<String> = LazyLock::new(|| add_to("days"));

fn add_to(table: &str) -> String {
    let values = ["?"; 5 + FIGURES.len() + 1].join(", ");
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

/// Adds `cells` to the sums of their hours, and to those of days where these have the hour already: it is before `rolled`.
pub(super) fn add_to_sums(
    transaction: &Transaction<'_>,
    rolled: Hour,
    mut cells: Vec<(Place, &Cell)>,
) -> Result<(), rusqlite::Error> {
    // Neighbours in the table one after another.
    cells.sort_unstable_by_key(|(place, _)| *place);
    for ((hour, names, status), cell) in cells {
        let numbers = |time: i64| [time, names[0], names[1], names[2], status.into()];
        add(transaction, &ADD_HOUR, numbers(hour.0), cell)?;
        if hour < rolled {
            add(transaction, &ADD_DAY, numbers(hour.day().0.into()), cell)?;
        }
    }
    Ok(())
}

fn add(
    transaction: &Transaction<'_>,
    sql: &str,
    place: [i64; 5],
    cell: &Cell,
) -> Result<(), rusqlite::Error> {
    let mut add = transaction.prepare_cached(sql)?;
    for (at, number) in place.into_iter().chain(cell.sum.figures()).enumerate() {
        add.raw_bind_parameter(at + 1, number)?;
    }
    let first_byte = (!cell.first_byte.is_empty()).then(|| cell.first_byte.encode());
    add.raw_bind_parameter(5 + FIGURES.len() + 1, first_byte)?;
    add.raw_execute().map(|_| ())
}

/// Adds up `hour`, which is over, in `days`.
pub(super) fn roll(transaction: &Transaction<'_>, hour: Hour) -> Result<(), rusqlite::Error> {
    transaction.prepare_cached(&ROLL)?.execute([hour.0])?;
    Ok(())
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
