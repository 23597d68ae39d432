//! CSV as people and spreadsheets write it: the records of a text, each field with the place where it stands.
//!
//! The places are what edits need, so that all that is not edited stays byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use super::{Problem, Wrong};

/// A record that is not blank.
pub(super) struct Record<'a> {
    /// The line it begins on, from 1.
    pub(super) line: usize,
    /// Where it stands, without its line end.
    pub(super) span: Range<usize>,
    /// Where its line end ends.
    pub(super) end: usize,
    pub(super) fields: Vec<Field<'a>>,
}

pub(super) struct Field<'a> {
    /// Where it stands, quotes included, blanks around it not.
    pub(super) span: Range<usize>,
    /// What it says, trimmed.
    pub(super) text: Cow<'a, str>,
}

/// The records of a text. Blank lines, lines of commas alone, and lines that begin with `#` are passed over.
pub(super) struct Records<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Records<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    fn record(&mut self) -> Result<Record<'a>, Wrong> {
        let (text, line, start) = (self.text, self.line, self.at);
        let mut fields = Vec::new();
        loop {
            let field = self.field()?;
            fields.push(field);
            if !text[self.at..].starts_with(',') {
                break;
            }
            self.at += 1;
        }
        let span = start..self.at;
        self.end_line(start);
        Ok(Record { line, span, end: self.at, fields })
    }

    /// Goes on to what ends the field that begins here.
    fn field(&mut self) -> Result<Field<'a>, Wrong> {
        let text = self.text;
        self.pass_blanks();
        let start = self.at;
        let Some(inside) = text[start..].strip_prefix('"') else {
            let raw = text[start..].split([',', '\r', '\n']).next().unwrap_or_default();
            self.at += raw.len();
            return Ok(Field { span: start..start + raw.trim_end().len(), text: raw.trim().into() });
        };
        let length = quoted_length(inside).ok_or_else(|| self.wrong(start, Problem::OpenQuote))?;
        let end = start + length + 2;
        self.at = end;
        self.pass_blanks();
        if !text[self.at..].is_empty() && !text[self.at..].starts_with([',', '\r', '\n']) {
            return Err(self.wrong(self.at, Problem::AfterQuote));
        }
        let said = inside[..length].trim();
        let said = if said.contains('"') { said.replace("\"\"", "\"").into() } else { said.into() };
        Ok(Field { span: start..end, text: said })
    }

    fn pass_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Goes on behind the line end that stands here, and counts the lines since `start`.
    fn end_line(&mut self, start: usize) {
        let rest = &self.text[self.at..];
        self.at += match rest.as_bytes() {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        self.line += line_ends(&self.text[start..self.at]);
    }

    fn wrong(&self, at: usize, problem: Problem) -> Wrong {
        Wrong { line: 1 + line_ends(&self.text[..at]), problem }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            if rest.trim_start_matches([' ', '\t']).starts_with('#') {
                let start = self.at;
                self.at += rest.find(['\r', '\n']).unwrap_or(rest.len());
                self.end_line(start);
                continue;
            }
            let record = self.record();
            if record.is_err() {
                self.at = self.text.len();
            }
            if record.as_ref().map_or(true, |record| record.fields.iter().any(|field| !field.text.is_empty()))
            {
                return Some(record);
            }
        }
        None
    }
}

/// Counts `\n`, `\r\n` and a lone `\r`.
fn line_ends(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends =
        |(at, &byte): (usize, &u8)| byte == b'\n' || (byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    bytes.iter().enumerate().filter(|&end| ends(end)).count()
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

/// One record as CSV, without its line end; a first field that begins with `#` is quoted, so that it is no comment.
pub(super) fn written<'a>(fields: impl IntoIterator<Item = &'a str>) -> zeroize::Zeroizing<String> {
    let mut writer = csv::WriterBuilder::new().comment(Some(b'#')).from_writer(Vec::new());
    writer.write_record(fields).expect("a write to memory does not fail");
    let mut line = writer.into_inner().expect("a write to memory does not fail");
    line.pop(); // the line end
    zeroize::Zeroizing::new(String::from_utf8(line).expect("the fields are text"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Records, quoted_length, written};

    fn fields(text: &str) -> Vec<Vec<String>> {
        let records = Records::of(text).map(|record| record.ok().expect("good CSV").fields);
        records.map(|fields| fields.into_iter().map(|field| field.text.into_owned()).collect()).collect()
    }

    #[test]
    fn two_quotes_in_a_row_do_not_close_a_field() {
        assert_eq!(quoted_length("ab\",c"), Some(2));
        assert_eq!(quoted_length("a\"\"b\""), Some(4));
        assert_eq!(quoted_length("\""), Some(0));
        assert_eq!(quoted_length("a\"\""), None);
    }

    #[test]
    fn each_field_stands_where_it_is_said_to_stand() {
        let text = "a, \"b \"\"c\" ,d \r\n\r\n# \"e, f\n\"\n\",,g";
        let records: Vec<_> = Records::of(text).map(|record| record.ok().expect("good CSV")).collect();
        let places = |at: usize| records[at].fields.iter().map(|field| &text[field.span.clone()]);
        assert_eq!(places(0).collect::<Vec<_>>(), ["a", "\"b \"\"c\"", "d"]);
        assert_eq!(places(1).collect::<Vec<_>>(), ["\"\n\"", "", "g"]);
        assert_eq!(records[0].fields[1].text, "b \"c");
        assert_eq!(&text[records[0].span.clone()], "a, \"b \"\"c\" ,d ");
        assert_eq!((records[0].end, records[0].line, records[1].line), (16, 1, 4));
    }

    #[test]
    fn a_record_that_looks_like_a_comment_is_written_so_that_it_is_none() {
        assert_eq!(*written(["#1", "x"]), "\"#1\",x");
        assert_eq!(fields("#1,x\n \t# y\n\"#1\",x\n"), [["#1", "x"]]);
    }

    proptest! {
        /// Where the csv crate reads the same form, it reads the same.
        #[test]
        fn what_is_read_is_what_the_csv_crate_reads(
            rows in prop::collection::vec(prop::collection::vec("[a#,\"\r\n]{0,4}", 1..4), 0..6),
            crlf: bool,
        ) {
            let mut writer = csv::WriterBuilder::new()
                .flexible(true)
                .comment(Some(b'#'))
                .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
                .from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).expect("a write to memory");
            }
            let text = String::from_utf8(writer.into_inner().expect("a write to memory")).expect("text");
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .trim(csv::Trim::All)
                .comment(Some(b'#'))
                .from_reader(text.as_bytes());
            let wanted: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.expect("good CSV").iter().map(str::to_owned).collect::<Vec<_>>())
                .filter(|fields| fields.iter().any(|field| !field.is_empty()))
                .collect();
            prop_assert_eq!(fields(&text), wanted);
        }
    }
}
