//! Walks over JSON as it stands: one pass, no values built, no recursion, nothing copied.
//!
//! It is lenient: what it lets pass may still be wrong, and is upstream's to refuse. Each step is none where
//! the bytes end or go wrong.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// By byte, whether a number or a word ends before it.
const ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    let mut rest: &[u8] = b",}] \t\r\n\"{[";
    while let [byte, others @ ..] = rest {
        ends[*byte as usize] = true;
        rest = others;
    }
    ends
};

/// A place in a JSON text, moving forward only.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A JSON string as it stands, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a [u8],
    /// Whether a backslash stands in it.
    is_escaped: bool,
}

impl<'a> Text<'a> {
    /// The bytes it stands for; none where its escapes are odd.
    pub(super) fn plain(self) -> Option<Cow<'a, [u8]>> {
        if !self.is_escaped {
            return Some(Cow::Borrowed(self.raw));
        }
        let quoted = [b"\"", self.raw, b"\""].concat();
        let text: String = serde_json::from_slice(&quoted).ok()?;
        Some(Cow::Owned(text.into_bytes()))
    }

    /// What it says; none where that is not UTF-8.
    pub(super) fn decode(self) -> Option<Cow<'a, str>> {
        Some(match self.plain()? {
            Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
        })
    }
}

impl<'a> Scanner<'a> {
    /// At the beginning of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The same bytes from `at` on.
    pub(super) fn from(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where it stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not blank; it is not taken.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Takes `byte`, which has to come next.
    pub(super) fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Takes a string.
    pub(super) fn string(&mut self) -> Option<Text<'a>> {
        self.eat(b'"')?;
        let start = self.at;
        let rest = &self.bytes[start..];
        let first = quote_or_backslash(rest)?;
        self.at = start + first;
        if rest[first] == b'"' {
            self.at += 1;
            return Some(Text { raw: &rest[..first], is_escaped: false });
        }
        loop {
            let quote = self.at + memchr(b'"', self.bytes.get(self.at..)?)?;
            self.at = quote + 1;
            // Looked at once for each quote, and no quote stands among them: linear in all.
            let slashes = self.bytes[start..quote].iter().rev().take_while(|&&byte| byte == b'\\').count();
            if slashes % 2 == 0 {
                return Some(Text { raw: &self.bytes[start..quote], is_escaped: true });
            }
        }
    }

    /// Takes any value; `into` is then the string that it was, or none.
    pub(super) fn text(&mut self, into: &mut Option<Text<'a>>) -> Option<()> {
        *into = None;
        if self.peek()? == b'"' {
            *into = Some(self.string()?);
            return Some(());
        }
        self.skip()
    }

    /// Takes any value and gives it as it stands.
    pub(super) fn value(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Some(&self.bytes[start..self.at])
    }

    /// Takes any value, however deep.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.skip_nested()?,
            _ => {
                let rest = &self.bytes[self.at..];
                let length = rest.iter().position(|&byte| ENDS[usize::from(byte)]).unwrap_or(rest.len());
                if length == 0 {
                    return None;
                }
                self.at += length;
            }
        }
        Some(())
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Takes an object; `field` gets each name and has to take its value.
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.sequence(b'{', b'}', |scanner| {
            let name = scanner.string()?.plain()?;
            scanner.eat(b':')?;
            field(scanner, &name)
        })
    }

    /// Takes an array; `item` has to take each value.
    pub(super) fn array(&mut self, item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.sequence(b'[', b']', item)
    }

    fn sequence(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.eat(open)?;
        if self.peek()? == close {
            return self.eat(close);
        }
        loop {
            item(self)?;
            if self.peek()? == close {
                return self.eat(close);
            }
            self.eat(b',')?;
        }
    }
}

/// Where the first quote or backslash stands. Most strings are names, which end before a search over many bytes at once has
/// begun: so the first bytes are looked at eight by eight.
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const NEAR: usize = 32;
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest high bit that is left stands in the first byte that was zero.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while at < NEAR
        && let Some(chunk) = bytes[at..].first_chunk()
    {
        let word = u64::from_le_bytes(*chunk);
        let found = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += chunk.len();
    }
    Some(at + memchr2(b'"', b'\\', &bytes[at..])?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::Scanner;

    #[test]
    fn a_string_ends_at_its_own_quote() {
        for (json, raw) in [
            (r#""""#, ""),
            (r#""a""#, "a"),
            (r#""\"" "#, r#"\""#),
            (r#""\\" "#, r"\\"),
            (r#""\\\"x" "#, r#"\\\"x"#),
        ] {
            assert_eq!(
                Scanner::new(json.as_bytes()).string().map(|text| text.raw),
                Some(raw.as_bytes()),
                "{json}"
            );
        }
        for cut in ["", "\"", "\"a", r#""a\"#, r#""a\""#, r#""\\\""#] {
            assert_eq!(Scanner::new(cut.as_bytes()).string(), None, "{cut}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(Scanner::new(deep.as_bytes()).skip(), None);
        assert_eq!(Scanner::new((deep + &"]".repeat(1_000_000)).as_bytes()).skip(), Some(()));
        assert_eq!(Scanner::new(b"]").skip(), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}|[\"\\\\]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[a-c\"\\\\]{0,3}", inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_first_quote_or_backslash_is_found_wherever_it_stands(
            before in prop::collection::vec(any::<u8>().prop_filter("neither", |byte| !b"\"\\".contains(byte)), 0..80),
            mark in prop::sample::select(&b"\"\\"[..]), after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            prop_assert_eq!(super::quote_or_backslash(&before), None);
            let all = [&before[..], &[mark], &after].concat();
            prop_assert_eq!(super::quote_or_backslash(&all), Some(before.len()));
        }

        #[test]
        fn a_value_is_taken_whole_and_no_more(value in json(), pretty: bool, rest in "[,\\]} ]{0,3}") {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            // Of numbers and words only what ends them tells where they end.
            let all = format!("{text},{rest}");
            let mut scanner = Scanner::new(all.as_bytes());
            prop_assert_eq!(scanner.value(), Some(text.as_bytes()));
            prop_assert_eq!(scanner.at(), text.len());
        }

        #[test]
        fn fields_are_given_as_they_stand(value in json()) {
            let Value::Object(fields) = &value else { return Ok(()) };
            let text = value.to_string();
            let mut seen = Vec::new();
            let end = Scanner::new(text.as_bytes()).object(|scanner, name| {
                let value: Value = serde_json::from_slice(scanner.value()?).unwrap();
                seen.push((String::from_utf8(name.to_vec()).unwrap(), value));
                Some(())
            });
            prop_assert_eq!(end, Some(()));
            prop_assert_eq!(seen, fields.clone().into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\ 1a"[..]), 0..40)) {
            let mut scanner = Scanner::new(&bytes);
            let _ = scanner.skip();
            prop_assert!(scanner.at() <= bytes.len());
            let _ = Scanner::new(&bytes).object(|scanner, _| scanner.array(Scanner::skip));
        }
    }
}
