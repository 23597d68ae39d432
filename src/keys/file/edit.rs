//! Edits of `tokens.csv`: each changes the fields it is about and leaves all else as it stands, byte for byte.

use std::path::Path;

use zeroize::Zeroizing;

use super::scan::written;
use super::table::{Row, Table, check_pair};
use super::{Column, FileError, KeyName, Problem};
use crate::secret::Secret;
use crate::textfile::{self, Text};

/// Appends a key, or a reference to one; makes the file, header included, where there is none.
///
/// What stands there stays as it is; columns other than `name` and `token` are left empty. A name, key or reference that
/// is there already is refused, and so is a file that [`list`](super::list) would not take.
pub fn add(path: &Path, name: &KeyName, key: &Secret) -> Result<(), FileError> {
    add_all(path, &[(name.clone(), key.clone())])
}

/// Appends `keys` as [`add`] does one; all of them or none.
pub fn add_all(path: &Path, keys: &[(KeyName, Secret)]) -> Result<(), FileError> {
    let unfit = |problem| FileError::Unfit { path: path.to_owned(), problem };
    for (name, key) in keys {
        check_pair(name, key.expose().trim()).map_err(unfit)?;
    }
    let none = Text::default();
    textfile::edit(path, |old| {
        let old = old.unwrap_or(&none);
        let table = parse(path, old)?;
        let header = ["name", "token"].map(str::to_owned);
        let columns = table.as_ref().map_or(&header[..], |table| &table.columns);
        let mut lines = Zeroizing::new(String::new());
        if table.is_none() {
            lines.push_str(&written(["name", "token"]));
        }
        for (name, key) in keys {
            if let Some(table) = &table {
                refuse_repeat(table, name, key).map_err(unfit)?;
            }
            if !lines.is_empty() {
                lines.push_str(old.line_end());
            }
            lines.push_str(&written(columns.iter().map(|column| match column.as_str() {
                "name" => name.as_str(),
                "token" => key.expose().trim(),
                _ => "",
            })));
        }
        let new = textfile::with_line(old, &lines);
        // What repeats among `keys` shows as it would in the file.
        Table::parse(new.trim_start_matches(textfile::BOM)).map_err(|wrong| unfit(wrong.problem))?;
        Ok(new)
    })
}

fn refuse_repeat(table: &Table<'_>, name: &KeyName, key: &Secret) -> Result<(), Problem> {
    for row in &table.rows {
        let (name, first) = (name.clone(), row.record.line);
        if row.name == name {
            return Err(Problem::NameTwice { name, first });
        }
        if row.record.fields[table.key_at].text == key.expose().trim() {
            let other = row.name.clone();
            return Err(Problem::KeyTwice { name, first, other });
        }
    }
    Ok(())
}

/// Removes the row of the key `name`.
pub fn remove(path: &Path, name: &KeyName) -> Result<(), FileError> {
    edit_row(path, name, |old, _, row| {
        let record = &row.record;
        Ok(old.with(&[(record.span.start..record.end, "")]))
    })
}

/// Gives the key `name` another name, which no other key may have.
pub fn rename(path: &Path, name: &KeyName, new: &KeyName) -> Result<(), FileError> {
    let unfit = |problem| FileError::Unfit { path: path.to_owned(), problem };
    edit_row(path, name, |old, table, row| {
        let taken = table.rows.iter().find(|other| other.name == *new && other.name != *name);
        if let Some(taken) = taken {
            return Err(unfit(Problem::NameTwice { name: new.clone(), first: taken.record.line }));
        }
        check_pair(new, "a key").map_err(unfit)?;
        let field = &row.record.fields[table.name_at];
        let mut put = written([new.as_str()]);
        // A quoted field stays one.
        if old.as_str()[field.span.clone()].starts_with('"') && !put.starts_with('"') {
            put = Zeroizing::new(format!("\"{}\"", *put));
        }
        Ok(old.with(&[(field.span.clone(), &put)]))
    })
}

/// Switches the key `name` on or off, in a new last column `enabled` where there is none; false where it was so already.
pub fn set_enabled(path: &Path, name: &KeyName, enabled: bool) -> Result<bool, FileError> {
    let mut changed = false;
    edit_row(path, name, |old, table, row| {
        changed = row.terms.enabled != enabled;
        if !changed {
            return Ok(old.with(&[]));
        }
        let (column, value) = (Column::Enabled.name(), if enabled { "true" } else { "false" });
        if let Some(place) = table.place(column) {
            return Ok(old.with(&[(row.record.fields[place].span.clone(), value)]));
        }
        let (column, value) = (format!(",{column}"), format!(",{value}"));
        let end_of = |at: usize| at..at;
        let mut edits = vec![(end_of(table.header.span.end), column.as_str())];
        edits.extend(table.rows.iter().map(|other| {
            let put = if other.name == *name { value.as_str() } else { "," };
            (end_of(other.record.span.end), put)
        }));
        Ok(old.with(&edits))
    })?;
    Ok(changed)
}

/// Replaces the text of `path` by what `change` makes of it and of the row of the key `name`.
fn edit_row(
    path: &Path,
    name: &KeyName,
    change: impl FnOnce(&Text, &Table<'_>, &Row<'_>) -> Result<Zeroizing<String>, FileError>,
) -> Result<(), FileError> {
    textfile::edit(path, |old| {
        let old = old.ok_or_else(|| FileError::Missing(path.to_owned()))?;
        let no_such_key = || FileError::NoSuchKey { path: path.to_owned(), name: name.clone() };
        let table = parse(path, old)?.ok_or_else(no_such_key)?;
        let row = table.rows.iter().find(|row| row.name == *name).ok_or_else(no_such_key)?;
        change(old, &table, row)
    })
}

fn parse<'a>(path: &Path, text: &'a Text) -> Result<Option<Table<'a>>, FileError> {
    Table::parse(text.as_str()).map_err(|wrong| wrong.in_file(path))
}
