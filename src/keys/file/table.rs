//! What `tokens.csv` says, checked line by line.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::reference::Value;
use super::super::{Column, KeyName, Terms};
use super::scan::{Record, Records};
use super::{Problem, Wrong};

/// The rows of a text, and where its columns are.
pub(super) struct Table<'a> {
    pub(super) header: Record<'a>,
    /// The names of the columns, in lower case.
    pub(super) columns: Vec<String>,
    pub(super) name_at: usize,
    pub(super) key_at: usize,
    pub(super) rows: Vec<Row<'a>>,
}

pub(super) struct Row<'a> {
    pub(super) name: KeyName,
    pub(super) value: Value,
    pub(super) terms: Terms,
    pub(super) record: Record<'a>,
}

impl<'a> Table<'a> {
    /// `None` where there is not even a header.
    pub(super) fn parse(text: &'a str) -> Result<Option<Self>, Wrong> {
        let mut records = Records::of(text);
        let Some(header) = records.next().transpose()? else { return Ok(None) };
        let columns: Vec<_> = header.fields.iter().map(|field| field.text.to_ascii_lowercase()).collect();
        let find = |name: &'static str| {
            let mut places = (0..columns.len()).filter(|&place| columns[place] == name);
            match (places.next(), places.next()) {
                (place, None) => Ok(place),
                _ => Err(Wrong { line: header.line, problem: Problem::ColumnTwice(name) }),
            }
        };
        let place = |name| find(name)?.ok_or(Wrong { line: header.line, problem: Problem::NoColumn(name) });
        let (name_at, key_at) = (place("name")?, place("token")?);
        let mut terms_at = Vec::new();
        for column in Column::ALL {
            terms_at.extend(find(column.name())?.map(|place| (column, place)));
        }

        let mut table = Self { header, columns, name_at, key_at, rows: Vec::new() };
        for record in records {
            let record = record?;
            let (line, fields) = (record.line, &record.fields);
            let wrong = |problem| Wrong { line, problem };
            if fields.len() != table.columns.len() {
                let (found, wanted) = (fields.len(), table.columns.len());
                return Err(wrong(Problem::FieldCount { found, wanted }));
            }
            let name = KeyName::parse(&fields[name_at].text).map_err(|why| wrong(Problem::Name(why)))?;
            let value = check_pair(&name, &fields[key_at].text).map_err(wrong)?;
            let terms = read_terms(&record, &terms_at).map_err(wrong)?;
            table.rows.push(Row { name, value, terms, record });
        }
        check_repeats(&table.rows, key_at)?;
        Ok(Some(table))
    }

    /// Where the column `name` is, where there is one.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// What the column `token` says, where it and the name can be what they stand for.
pub fn check_pair(name: &KeyName, token: &str) -> Result<Value, Problem> {
    match token {
        _ if name.as_str().contains("sk-or-") => Err(Problem::NameIsKey),
        "" => Err(Problem::NoKey(name.clone())),
        token => match Value::parse(token) {
            Ok(Value::Key(_)) if !token.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => {
                Err(Problem::BadKey(name.clone()))
            }
            Ok(value) => Ok(value),
            Err(why) => Err(Problem::Reference { name: name.clone(), why }),
        },
    }
}

fn read_terms(record: &Record<'_>, places: &[(Column, usize)]) -> Result<Terms, Problem> {
    let mut terms = Terms::default();
    for &(column, place) in places {
        let text = &*record.fields[place].text;
        if !text.is_empty() && !terms.set(column, text) {
            // A key that slipped into the wrong column is longer than any value that is nearly right.
            let shown = if text.len() > 40 || text.contains("sk-") { "" } else { text };
            return Err(Problem::Term { column, shown: shown.into() });
        }
    }
    Ok(terms)
}

fn check_repeats(rows: &[Row<'_>], key_at: usize) -> Result<(), Wrong> {
    let mut names = HashMap::with_capacity(rows.len());
    let mut keys: HashMap<&Cow<'_, str>, &Row<'_>> = HashMap::with_capacity(rows.len());
    for row in rows {
        let (line, name) = (row.record.line, row.name.clone());
        if let Some(first) = names.insert(row.name.as_str(), line) {
            return Err(Wrong { line, problem: Problem::NameTwice { name, first } });
        }
        if let Some(first) = keys.insert(&row.record.fields[key_at].text, row) {
            let (first, other) = (first.record.line, first.name.clone());
            return Err(Wrong { line, problem: Problem::KeyTwice { name, first, other } });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Problem, Row, Table};
    use crate::keys::reference::{ReferenceError, Value};
    use crate::keys::{Column, KeyName, Terms};

    fn rows(text: &str) -> Vec<(usize, String, String)> {
        let table =
            Table::parse(text).unwrap_or_else(|wrong| panic!("line {}: {}", wrong.line, wrong.problem));
        let rows = table.map(|table| table.rows).unwrap_or_default();
        let shown = |row: &Row<'_>| match &row.value {
            Value::Key(key) => (row.record.line, row.name.to_string(), key.expose().to_owned()),
            Value::Reference(reference) => (row.record.line, row.name.to_string(), reference.to_string()),
        };
        rows.iter().map(shown).collect()
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
            "# my keys, \"all\nname,token\n#cay,k3\nann,k1\n  # x\nbob,k2\n#",
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
            (
                "name,token\nann,env:A B\n",
                2,
                Problem::Reference { name: name("ann"), why: ReferenceError::NoVariable },
            ),
            (
                "name,token\nann,env:A\nbob,env:A\n",
                3,
                Problem::KeyTwice { name: name("bob"), first: 2, other: name("ann") },
            ),
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
}
