//! Walks the members of a small JSON object as they stand in the text, without building anything.

use memchr::memchr2;

/// Hands each member of the object that begins `json` to `each`, name and value as they stand there; the length of the
/// object. None where it is cut, or where anything in it is out of the ordinary, such as an escape: that is for a full
/// parser, and members before that place were handed over already.
///
/// It is not strict: what it walks through may still be no JSON.
pub(super) fn members<'a>(json: &'a [u8], mut each: impl FnMut(&'a str, &'a str)) -> Option<usize> {
    let mut walk = Walk { json, at: 0 };
    walk.expect(b'{')?;
    if walk.peek()? == b'}' {
        return Some(walk.at + 1);
    }
    loop {
        let name = walk.text()?;
        walk.expect(b':')?;
        let value = walk.value()?;
        each(str::from_utf8(name).ok()?, str::from_utf8(value).ok()?);
        match walk.peek()? {
            b',' => walk.at += 1,
            b'}' => return Some(walk.at + 1),
            _ => return None,
        }
    }
}

struct Walk<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// The next byte that is no blank, without going past it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.json.get(self.at) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// What stands between the quotes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = &self.json[self.at..];
        let length = memchr2(b'"', b'\\', rest).filter(|&end| rest[end] == b'"')?;
        self.at += length + 1;
        Some(&rest[..length])
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.peek()?;
        let from = self.at;
        match first {
            b'"' => drop(self.text()?),
            b'{' | b'[' => {
                let mut depth = 0_u32;
                loop {
                    match self.json.get(self.at)? {
                        b'"' => {
                            self.text()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            _ => {
                let rest = &self.json[from..];
                let end = |byte: &u8| matches!(byte, b',' | b'}' | b' ' | b'\n' | b'\t' | b'\r');
                let length = rest.iter().position(end)?;
                self.at += length;
                if length == 0 {
                    return None;
                }
            }
        }
        Some(&self.json[from..self.at])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::members;

    fn walk(json: &str) -> Option<(Vec<(&str, &str)>, usize)> {
        let mut seen = Vec::new();
        let length = members(json.as_bytes(), |name, value| seen.push((name, value)))?;
        Some((seen, length))
    }

    #[test]
    fn members_stand_as_they_were_written() {
        let json = "{ \"a\" : 1.50 ,\"b\":\"x, }\",\n\"c\":{\"d\":[1,{\"e\":\"}\"}]},\"f\":null}, and more";
        let (seen, length) = walk(json).unwrap();
        assert_eq!(
            seen,
            [("a", "1.50"), ("b", "\"x, }\""), ("c", "{\"d\":[1,{\"e\":\"}\"}]}"), ("f", "null")]
        );
        assert_eq!(&json[length..], ", and more");
        assert_eq!(walk("{ }x"), Some((vec![], 3)));
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_others() {
        for json in ["", "[]", "{\"a\":\"\\n\"}", "{\"a\\u0062\":1}", "{\"a\" 1}", "{\"a\":,}", "{a:1}"] {
            assert_eq!(walk(json), None, "{json}");
        }
        let whole = "{\"a\":{\"b\":[1,\"c\"]},\"d\":2}";
        for end in 0..whole.len() {
            assert_eq!(walk(&whole[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn it_sees_what_a_parser_sees(
            members in prop::collection::vec(("[a-z]{1,4}", 0_u8..6, any::<i32>(), "[ -!#-\\[\\]-~]{0,6}"), 0..8),
            blanks in "[ \n\t]{0,2}",
        ) {
            let text = members.iter().map(|(name, kind, number, text)| {
                let value = match kind {
                    0 => number.to_string(),
                    1 => format!("\"{text}\""),
                    2 => "null".to_owned(),
                    3 => format!("[{number},{{\"{text}\":[]}}]"),
                    4 => format!("{{\"{text}\":{{}}}}"),
                    _ => "-1.5e3".to_owned(),
                };
                format!("\"{name}\"{blanks}:{blanks}{value}{blanks}")
            }).collect::<Vec<_>>().join(",");
            let json = format!("{{{blanks}{text}}}");
            let (seen, length) = walk(&json).expect("it is ordinary");
            prop_assert_eq!(length, json.len());
            let mut object = serde_json::Map::new();
            for (name, value) in seen {
                object.insert(name.to_owned(), serde_json::from_str(value).unwrap());
            }
            prop_assert_eq!(Value::Object(object), serde_json::from_str::<Value>(&json).unwrap());
        }
    }
}
