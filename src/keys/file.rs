//! `tokens.csv`: read strictly, rewritten atomically and under a lock, mode 0600.

mod edit;
mod scan;
mod table;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use self::table::Table;
use super::reference::{Commands, ReferenceError, Value};
use super::{Column, Key, KeyName, NameError, Terms};
use crate::textfile::{self, TextError};

pub use self::edit::{add, add_all, remove, rename, set_enabled};
pub use self::table::check_pair;

/// How many commands run at once to tell the keys of a file.
const AT_ONCE: usize = 8;

/// The keys of a file, in its order, and what was odd but not wrong.
#[derive(Debug)]
pub struct Loaded {
    /// At least one key.
    pub keys: Vec<Key>,
    /// Sentences for the log, each naming file and line; never a secret.
    pub warnings: Vec<String>,
}

/// Why `tokens.csv` cannot be used; the text names file, line and cure, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there.
    #[error("no such file: {}\nhint: `hermux keys add NAME` makes it, or name another with --tokens", .0.display())]
    Missing(PathBuf),
    /// The file holds no key.
    #[error("no keys in: {}\nhint: add one with `hermux keys add NAME`", .0.display())]
    Empty(PathBuf),
    /// A line that cannot be used.
    #[error("{}:{line}: {problem}\nhint: {}", path.display(), problem.hint())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A key to be changed that is not there.
    #[error("{}: no such key: {name}\nhint: `hermux keys list` shows their names", path.display())]
    NoSuchKey {
        /// The file.
        path: PathBuf,
        /// The name.
        name: KeyName,
    },
    /// A key to be added that cannot be one.
    #[error("{}: {problem}\nhint: {}", path.display(), problem.hint())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What speaks against it.
        problem: Problem,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// What is wrong with a line of `tokens.csv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The header lacks a column.
    #[error("the header has no column `{0}`")]
    NoColumn(&'static str),
    /// The header names a column twice.
    #[error("the header names a column twice: {0}")]
    ColumnTwice(&'static str),
    /// A row of another length than the header.
    #[error("{found} fields where the header names {wanted}")]
    FieldCount {
        /// In this row.
        found: usize,
        /// In the header.
        wanted: usize,
    },
    /// A quote that opens a field and is never closed.
    #[error("a quote is never closed")]
    OpenQuote,
    /// Text between a closing quote and the next comma.
    #[error("text behind a closing quote")]
    AfterQuote,
    /// No usable name.
    #[error("{0}")]
    Name(NameError),
    /// A key in the place of its name, which is told to callers.
    #[error("the name looks like a key")]
    NameIsKey,
    /// Two rows with one name.
    #[error("the name stands on line {first} already: {name}")]
    NameTwice {
        /// The name.
        name: KeyName,
        /// The line where it stands first.
        first: usize,
    },
    /// A row without a key.
    #[error("no key beside the name: {0}")]
    NoKey(KeyName),
    /// A reference that gives no key.
    #[error("no key for `{name}`: {why}")]
    Reference {
        /// The name of the key.
        name: KeyName,
        /// Why.
        why: ReferenceError,
    },
    /// An optional column with a value that does not belong there; not shown where it may be a key.
    #[error("this can't stand in the column `{}`: {}", column.name(), if shown.is_empty() { "(not shown)" } else { shown })]
    Term {
        /// The column.
        column: Column,
        /// The value, or nothing.
        shown: Box<str>,
    },
    /// A key that no header can carry.
    #[error("the key has a character that can't stand in a header: {0}")]
    BadKey(KeyName),
    /// Two rows with one key.
    #[error("the key of `{name}` is the same as that of line {first}: {other}")]
    KeyTwice {
        /// The name of the second.
        name: KeyName,
        /// The line where the key stands first.
        first: usize,
        /// The name of the first.
        other: KeyName,
    },
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoColumn(_) => "the first line reads `name,token`, and commas part the columns",
            Self::ColumnTwice(_) => "rename or remove one of the two columns",
            Self::FieldCount { .. } => "give each row as many fields as the header has, empty ones too",
            Self::OpenQuote => "close the quote, or write it twice where it belongs to the text",
            Self::AfterQuote => "end the field behind its closing quote; a quote inside one is written twice",
            Self::Name(_) => "give each key a name of 1 to 128 printable ASCII characters",
            Self::NameIsKey => "a name is public: give the key one of its own, and keep the key out of it",
            Self::NameTwice { .. } => "give each key a name of its own",
            Self::NoKey(_) => "put the key into the column `token`, or remove the row",
            Self::Term { column, .. } => column.hint(),
            Self::BadKey(_) => "copy the key once more from openrouter.ai",
            Self::Reference { why, .. } => why.hint(),
            Self::KeyTwice { .. } => "keep one of the two; a key listed twice adds nothing",
        }
    }
}

/// A problem and its line.
struct Wrong {
    line: usize,
    problem: Problem,
}

impl Wrong {
    fn in_file(self, path: &Path) -> FileError {
        FileError::Line { path: path.to_owned(), line: self.line, problem: self.problem }
    }
}

/// Whether `key` looks unlike the keys of `OpenRouter`, `sk-or-v1-` and 64 hex digits (`OpenRouter` docs,
/// Authentication page). Such a key may still be valid.
#[must_use]
pub fn is_odd(key: &Key) -> bool {
    let digits = key.expose().strip_prefix("sk-or-v1-");
    !digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The warning about the key of the row on `line` of `path`, where it is odd.
#[must_use]
pub fn odd_warning(path: &Path, line: usize, key: &Key) -> Option<String> {
    let (path, name) = (path.display(), key.name());
    is_odd(key).then(|| format!("{path}:{line}: the key is not `sk-or-v1-` and 64 hex digits: {name}"))
}

/// Reads the keys of `path`, each from where it lives.
pub fn load(path: &Path, commands: Commands) -> Result<Loaded, FileError> {
    let Listed { rows, mut warnings } = list(path)?;
    if rows.is_empty() {
        return Err(FileError::Empty(path.to_owned()));
    }
    let mut keys = Vec::with_capacity(rows.len());
    for (row, key) in rows.iter().zip(resolve(path, &rows, commands)) {
        let line = row.line;
        let key = key.map_err(|problem| Wrong { line, problem }.in_file(path))?;
        warnings.extend(odd_warning(path, line, &key));
        keys.push(key);
    }
    Ok(Loaded { keys, warnings })
}

/// The rows of a file, and what was odd but not wrong.
#[derive(Debug, Default)]
pub struct Listed {
    /// In the file's order; there may be none.
    pub rows: Vec<Row>,
    /// Sentences for a person, each naming the file; never a secret.
    pub warnings: Vec<String>,
}

/// One row, as it stands in the file.
#[derive(Clone, Debug)]
pub struct Row {
    /// The line, from 1.
    pub line: usize,
    /// The name of the key.
    pub name: KeyName,
    /// The key, or where it is.
    pub value: Value,
    /// What the operator lets it do.
    pub terms: Terms,
}

/// Reads the rows of `path` as strictly as [`load`], but follows no reference.
pub fn list(path: &Path) -> Result<Listed, FileError> {
    let text = textfile::read(path)?.ok_or_else(|| FileError::Missing(path.to_owned()))?;
    let warnings = text.exposed.then(|| textfile::exposed_warning(path)).into_iter().collect();
    Ok(Listed { rows: rows(path, text.as_str())?, warnings })
}

/// Reads the rows of `text`, which came from `path`.
pub fn rows(path: &Path, text: &str) -> Result<Vec<Row>, FileError> {
    let table = Table::parse(text).map_err(|wrong| wrong.in_file(path))?;
    let row = |row: table::Row<'_>| {
        let table::Row { name, value, terms, record } = row;
        Row { line: record.line, name, value, terms }
    };
    Ok(table.map(|table| table.rows).unwrap_or_default().into_iter().map(row).collect())
}

/// The keys of `rows`, which stand in the file `path`; or for each why there is none. Of two rows that turn out to have
/// the same key the second has none. Commands run side by side, each for 10 s at most.
#[must_use]
pub fn resolve(path: &Path, rows: &[Row], commands: Commands) -> Vec<Result<Key, Problem>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let follow = |row: &Row| row.value.resolve(folder, commands);
    let is_slow = |row: &&Row| matches!(row.value, Value::Reference(_)) && commands == Commands::Allowed;
    let mut slow = Vec::new();
    for some in rows.iter().filter(is_slow).collect::<Vec<_>>().chunks(AT_ONCE) {
        thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|row| scope.spawn(|| follow(row))).collect();
            slow.extend(
                running
                    .into_iter()
                    .map(|running| running.join().unwrap_or_else(|panic| resume_unwind(panic))),
            );
        });
    }
    let mut slow = slow.into_iter();
    let found = |row: &Row| if is_slow(&row) { slow.next() } else { None }.unwrap_or_else(|| follow(row));
    let secrets: Vec<_> = rows.iter().map(found).collect();

    let mut first: HashMap<&str, &Row> = HashMap::with_capacity(rows.len());
    let mut keys = Vec::with_capacity(rows.len());
    for (row, secret) in rows.iter().zip(&secrets) {
        let name = row.name.clone();
        keys.push(match secret {
            Err(why) => Err(Problem::Reference { name, why: why.clone() }),
            Ok(secret) => match first.entry(secret.expose()) {
                Entry::Occupied(first) => {
                    let Row { line, name: other, .. } = *first.get();
                    Err(Problem::KeyTwice { name, first: *line, other: other.clone() })
                }
                Entry::Vacant(place) => {
                    place.insert(row);
                    Ok(Key::new(name, secret).with_terms(row.terms.clone()))
                }
            },
        });
    }
    keys
}
