//! `tokens.csv`: read strictly, rewritten atomically and under a lock, mode 0600.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use zeroize::Zeroizing;

use super::{Column, Key, KeyName, NameError, Terms};
use crate::secret::Secret;
use crate::textfile::{self, TextError};

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
    fn hint(&self) -> &'static str {
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
            Self::KeyTwice { .. } => "keep one of the two; a key listed twice adds nothing",
        }
    }
}

/// Whether `key` looks unlike the keys of `OpenRouter`, `sk-or-v1-` and 64 hex digits (`OpenRouter` docs,
/// Authentication page). Such a key may still be valid.
#[must_use]
pub fn is_odd(key: &Secret) -> bool {
    let digits = key.expose().trim().strip_prefix("sk-or-v1-");
    !digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Reads the keys of `path`.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let text = textfile::read(path)?.ok_or_else(|| FileError::Missing(path.to_owned()))?;
    let table = Table::parse(text.as_str()).map_err(|wrong| wrong.in_file(path))?;
    let rows = table.map(|table| table.rows).unwrap_or_default();
    if rows.is_empty() {
        return Err(FileError::Empty(path.to_owned()));
    }

    let mut warnings = Vec::new();
    if text.exposed {
        warnings.push(textfile::exposed_warning(path));
    }
    let mut keys = Vec::with_capacity(rows.len());
    for Row { line, name, key, terms } in rows {
        if is_odd(&key) {
            let path = path.display();
            warnings.push(format!("{path}:{line}: the key is not `sk-or-v1-` and 64 hex digits: {name}"));
        }
        keys.push(Key::new(name, &key).with_terms(terms));
    }
    Ok(Loaded { keys, warnings })
}

/// Appends a key; makes the file, header included, where there is none.
///
/// What stands there stays as it is, byte for byte; columns other than `name` and `token` are left empty.
/// A name or a key that is there already is refused, and so is a file that [`load`] would not take.
pub fn add(path: &Path, name: &KeyName, secret: &Secret) -> Result<(), FileError> {
    let key = Secret::new(secret.expose().trim().to_owned());
    let unfit = |problem| FileError::Unfit { path: path.to_owned(), problem };
    check_pair(name, key.expose()).map_err(unfit)?;

    textfile::edit(path, |old| {
        let Some(old) = old.filter(|old| !old.as_str().trim().is_empty()) else {
            return Ok(Zeroizing::new(format!(
                "name,token\n{}\n",
                *row(["name", "token"].into_iter(), name, &key)
            )));
        };
        let Some(table) = Table::parse(old.as_str()).map_err(|wrong| wrong.in_file(path))? else {
            return Err(FileError::Empty(path.to_owned()));
        };
        for row in &table.rows {
            let (name, first) = (name.clone(), row.line);
            if row.name == name {
                return Err(unfit(Problem::NameTwice { name, first }));
            }
            if row.key == key {
                let other = row.name.clone();
                return Err(unfit(Problem::KeyTwice { name, first, other }));
            }
        }
        Ok(textfile::with_line(old, &row(table.columns.iter(), name, &key)))
    })
}

/// One row, without its line end.
fn row<'a>(columns: impl Iterator<Item = &'a str>, name: &KeyName, key: &Secret) -> Zeroizing<String> {
    let fields = columns.map(|column| match column {
        "name" => name.as_str(),
        "token" => key.expose(),
        _ => "",
    });
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).expect("a write to memory does not fail");
    let mut line = writer.into_inner().expect("a write to memory does not fail");
    line.pop(); // the line end
    Zeroizing::new(String::from_utf8(line).expect("the fields are text"))
}

/// What `tokens.csv` says, checked.
struct Table {
    /// The names of the columns, trimmed and in lower case.
    columns: StringRecord,
    rows: Vec<Row>,
}

struct Row {
    line: usize,
    name: KeyName,
    key: Secret,
    terms: Terms,
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

impl Table {
    /// `None` where there is not even a header.
    fn parse(text: &str) -> Result<Option<Self>, Wrong> {
        let text = without_blanks_around_quotes(text)?;
        let mut records = Records::of(&text);
        let Some((line, header)) = records.next() else { return Ok(None) };
        let columns: StringRecord = header.iter().map(str::to_ascii_lowercase).collect();
        let find = |name: &'static str| {
            let mut places = (0..columns.len()).filter(|&place| &columns[place] == name);
            match (places.next(), places.next()) {
                (place, None) => Ok(place),
                _ => Err(Wrong { line, problem: Problem::ColumnTwice(name) }),
            }
        };
        let place = |name| find(name)?.ok_or(Wrong { line, problem: Problem::NoColumn(name) });
        let (name_at, key_at) = (place("name")?, place("token")?);
        let mut terms_at = Vec::new();
        for column in Column::ALL {
            terms_at.extend(find(column.name())?.map(|place| (column, place)));
        }

        let mut rows: Vec<Row> = Vec::new();
        for (line, fields) in records {
            let wrong = |problem| Wrong { line, problem };
            if fields.len() != columns.len() {
                let (found, wanted) = (fields.len(), columns.len());
                return Err(wrong(Problem::FieldCount { found, wanted }));
            }
            let name = KeyName::parse(&fields[name_at]).map_err(|why| wrong(Problem::Name(why)))?;
            let key = Secret::new(fields[key_at].to_owned());
            check_pair(&name, key.expose()).map_err(wrong)?;
            let terms = read_terms(&fields, &terms_at).map_err(wrong)?;
            rows.push(Row { line, name, key, terms });
        }
        check_repeats(&rows)?;
        Ok(Some(Self { columns, rows }))
    }
}

fn check_pair(name: &KeyName, key: &str) -> Result<(), Problem> {
    match key {
        _ if name.as_str().contains("sk-or-") => Err(Problem::NameIsKey),
        "" => Err(Problem::NoKey(name.clone())),
        key if key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => Ok(()),
        _ => Err(Problem::BadKey(name.clone())),
    }
}

fn read_terms(fields: &StringRecord, places: &[(Column, usize)]) -> Result<Terms, Problem> {
    let mut terms = Terms::default();
    for &(column, place) in places {
        let text = &fields[place];
        if !text.is_empty() && !terms.set(column, text) {
            // A key that slipped into the wrong column is longer than any value that is nearly right.
            let shown = if text.len() > 40 || text.contains("sk-") { "" } else { text };
            return Err(Problem::Term { column, shown: shown.into() });
        }
    }
    Ok(terms)
}

fn check_repeats(rows: &[Row]) -> Result<(), Wrong> {
    let mut names = HashMap::with_capacity(rows.len());
    let mut keys = HashMap::with_capacity(rows.len());
    for row in rows {
        let (line, name) = (row.line, row.name.clone());
        if let Some(first) = names.insert(row.name.as_str(), line) {
            return Err(Wrong { line, problem: Problem::NameTwice { name, first } });
        }
        if let Some(first) = keys.insert(row.key.expose(), row) {
            let (first, other) = (first.line, first.name.clone());
            return Err(Wrong { line, problem: Problem::KeyTwice { name, first, other } });
        }
    }
    Ok(())
}

/// The records of a CSV text that are not blank, trimmed, each with the line it begins on.
struct Records<'a> {
    text: &'a str,
    reader: csv::Reader<&'a [u8]>,
    // Up to where lines were counted. csv's own count is that of the blank lines before a record.
    seen: usize,
    line: usize,
}

impl<'a> Records<'a> {
    fn of(text: &'a str) -> Self {
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        Self { text, reader, seen: 0, line: 1 }
    }

    fn line_of(&mut self, begin: u64) -> usize {
        let begin = usize::try_from(begin).unwrap_or(self.text.len());
        let bytes = self.text.as_bytes();
        let blank = bytes[begin..].iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += line_ends(&bytes[self.seen..begin + blank]);
        self.seen = begin + blank;
        self.line
    }
}

/// Counts `\n`, `\r\n` and a lone `\r`.
fn line_ends(bytes: &[u8]) -> usize {
    let ends =
        |(at, &byte): (usize, &u8)| byte == b'\n' || (byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    bytes.iter().enumerate().filter(|&end| ends(end)).count()
}

impl Iterator for Records<'_> {
    type Item = (usize, StringRecord);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut record = StringRecord::new();
            let more = self.reader.read_record(&mut record).expect("text in memory of rows of any length");
            if !more {
                return None;
            }
            record.trim();
            let line = self.line_of(record.position().map_or(0, csv::Position::byte));
            if record.iter().any(|field| !field.is_empty()) {
                return Some((line, record));
            }
        }
    }
}

/// The same text without the blanks between a comma and a quote, which CSV does not know as such; and the
/// check that every quote is closed, since csv would take the rest of the file for one field.
fn without_blanks_around_quotes(text: &str) -> Result<Cow<'_, str>, Wrong> {
    if !text.contains('"') {
        return Ok(Cow::Borrowed(text));
    }
    let wrong = |at: usize, problem| Wrong { line: 1 + line_ends(&text.as_bytes()[..at]), problem };
    let mut tidy = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let field = rest.trim_start_matches([' ', '\t']);
        if let Some(inside) = field.strip_prefix('"') {
            let at = text.len() - field.len();
            let length = quoted_length(inside).ok_or_else(|| wrong(at, Problem::OpenQuote))?;
            tidy.push_str(&field[..length + 2]);
            rest = field[length + 2..].trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with([',', '\r', '\n']) {
                return Err(wrong(text.len() - rest.len(), Problem::AfterQuote));
            }
        } else {
            let length = rest.find([',', '\r', '\n']).unwrap_or(rest.len());
            tidy.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        let mut separator = rest.chars();
        tidy.extend(separator.next());
        rest = separator.as_str();
    }
    Ok(Cow::Owned(tidy))
}

/// How much of `text` stands before the quote that closes it; two quotes in a row are one of the text.
fn quoted_length(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('"')?;
        if !text[at + 1..].starts_with('"') {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::{Problem, Table, quoted_length};
    use crate::keys::{Column, KeyName, Terms};

    fn rows(text: &str) -> Vec<(usize, String, String)> {
        let table =
            Table::parse(text).unwrap_or_else(|wrong| panic!("line {}: {}", wrong.line, wrong.problem));
        let rows = table.map(|table| table.rows).unwrap_or_default();
        rows.iter().map(|row| (row.line, row.name.to_string(), row.key.expose().to_owned())).collect()
    }

    fn wrong(text: &str) -> (usize, Problem) {
        let wrong = Table::parse(text).err().expect("a file that is wrong");
        (wrong.line, wrong.problem)
    }

    fn name(name: &str) -> KeyName {
        KeyName::parse(name).unwrap()
    }

    #[test]
    fn odd_but_fine_forms_read_alike() {
        for text in [
            "name,token\nann,k1\nbob,k2\n",
            "name,token\r\nann,k1\r\nbob,k2",
            "name,token\rann,k1\rbob,k2\r",
            "\"name\",\"token\"\n\"ann\",\"k1\"\n\"bob\",\"k2\"\n",
            " name , token \n  ann\t, k1 \n bob ,k2  \n",
            " \"name\" , \"token\"\n\t\"ann\" ,  \"k1\" \n\"bob\", \"k2\"\t\n",
            "Name,TOKEN\nann,k1\nbob,k2\n",
            "token,name\nk1,ann\nk2,bob\n",
            "name,note,token\nann,\"a, b\",k1\nbob,,k2\n",
        ] {
            let rows: Vec<_> = rows(text).into_iter().map(|(_, name, key)| (name, key)).collect();
            assert_eq!(rows, [("ann".into(), "k1".into()), ("bob".into(), "k2".into())], "{text:?}");
        }
    }

    #[test]
    fn blank_lines_are_passed_over_but_counted() {
        let text = "\n \nname,token\n\n\r\n,\nann,k1\n  \t\nbob,k2\n\n";
        assert_eq!(rows(text), [(7, "ann".into(), "k1".into()), (9, "bob".into(), "k2".into())]);
    }

    #[test]
    fn a_field_of_several_lines_does_not_spoil_the_count() {
        let text = "name,token,note\nann,k1,\"one\r\ntwo\n\nthree\"\nbob,k2,\"\"\n";
        assert_eq!(rows(text), [(2, "ann".into(), "k1".into()), (6, "bob".into(), "k2".into())]);
    }

    #[test]
    fn quotes_within_a_name_are_kept() {
        assert_eq!(rows("name,token\n\"\"\"ann\"\"\",k1\n"), [(2, "\"ann\"".into(), "k1".into())]);
        assert_eq!(rows("name,token\nann \"a\",k1\n"), [(2, "ann \"a\"".into(), "k1".into())]);
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number() {
        let cases = [
            ("name,key\nann,k1\n", 1, Problem::NoColumn("token")),
            ("\n\nkey,token\n", 3, Problem::NoColumn("name")),
            ("name;token\nann;k1\n", 1, Problem::NoColumn("name")),
            ("name,token,Name\nann,k1,x\n", 1, Problem::ColumnTwice("name")),
            ("name,token\nann,k1\nbob\n", 3, Problem::FieldCount { found: 1, wanted: 2 }),
            ("name,token\nann,k1,\n", 2, Problem::FieldCount { found: 3, wanted: 2 }),
            ("name,token\nann,\n", 2, Problem::NoKey(name("ann"))),
            ("name,token\nsk-or-v1-12,ann\n", 2, Problem::NameIsKey),
            ("name,token\nann,ключ\n", 2, Problem::BadKey(name("ann"))),
            ("name,token\nann,\"k\n1\"\n", 2, Problem::BadKey(name("ann"))),
            ("name,token\nann,k1\n\nann,k2\n", 4, Problem::NameTwice { name: name("ann"), first: 2 }),
            (
                "name,token\nann,k1\n\nbob, k1\n",
                4,
                Problem::KeyTwice { name: name("bob"), first: 2, other: name("ann") },
            ),
            ("name,token\nann,\"k1\nbob,k2\n", 2, Problem::OpenQuote),
            ("name,token,note\nann,k1,x\nbob,k2,\"x\ncat,k3,y\n", 3, Problem::OpenQuote),
            ("name,token\nann,\"k1\"x\n", 2, Problem::AfterQuote),
        ];
        for (text, line, problem) in cases {
            assert_eq!(wrong(text), (line, problem), "{text:?}");
        }
        for bad in ["", "a\tb", "müller", &"n".repeat(129)] {
            let (line, problem) = wrong(&format!("name,token\nann,k1\n{bad},k2\n"));
            assert!(line == 3 && matches!(problem, Problem::Name(_)), "{bad:?}: {line} {problem}");
        }
    }

    #[test]
    fn optional_columns_say_what_a_key_may_do() {
        let text = "daily_cost,name,Weight,token,models,note,enabled,daily_requests,account\n\
                    0.5,ann,2.5,k1,openai/*;*:free,hi,no,100,Team Red\n,bob,,k2,,,,,\n";
        let rows = Table::parse(text).ok().flatten().expect("a good file").rows;
        let full = Terms {
            account: Some("Team Red".into()),
            daily_requests: Some(100),
            daily_cost: Some(500_000_000),
            weight: 2_500,
            models: ["openai/*".into(), "*:free".into()].into(),
            enabled: false,
        };
        assert_eq!(rows[0].terms, full);
        assert_eq!(rows[1].terms, Terms::default(), "an empty field is as good as no column");
    }

    #[test]
    fn a_value_that_does_not_belong_into_its_column_is_told_unless_it_may_be_a_key() {
        let term = |column, shown: &str| Problem::Term { column, shown: shown.into() };
        let hidden = "sk-or-v1-geheim";
        let long = "g".repeat(41);
        for (column, value, shown) in [
            (Column::DailyRequests, "many", "many"),
            (Column::DailyCost, "$5", "$5"),
            (Column::Weight, "0", "0"),
            (Column::Models, "\"a,b\"", "a,b"),
            (Column::Enabled, "maybe", "maybe"),
            (Column::Account, hidden, ""),
            (Column::Enabled, hidden, ""),
            (Column::Weight, &long, ""),
        ] {
            let text = format!("name,token,{}\nann,k1,\nbob,k2,{value}\n", column.name());
            let (line, problem) = wrong(&text);
            assert_eq!((line, &problem), (3, &term(column, shown)), "{text}");
            assert!(!problem.to_string().ends_with(": ") && !problem.to_string().contains("geheim"));
        }
        assert_eq!(wrong("name,token,weight,Weight\nann,k,1,1\n"), (1, Problem::ColumnTwice("weight")));
    }

    #[test]
    fn two_quotes_in_a_row_do_not_close_a_field() {
        assert_eq!(quoted_length("ab\",c"), Some(2));
        assert_eq!(quoted_length("a\"\"b\""), Some(4));
        assert_eq!(quoted_length("\""), Some(0));
        assert_eq!(quoted_length("a\"\""), None);
    }
}
