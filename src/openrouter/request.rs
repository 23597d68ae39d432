//! What a request asks for: its model, and whether it wants a stream.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The longest text, in bytes, that is taken for a model's name; the names of `OpenRouter` stay far below.
const LONGEST_MODEL: usize = 256;

/// What the JSON body of an inference request says; nothing where it is not JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `model`, as it stands in the body; at most 256 bytes, a longer text is no model's name.
    pub model: Option<String>,
    /// Whether it asks for a stream.
    pub stream: bool,
}

impl Wanted {
    /// Whether it asks for free models alone (`OpenRouter` docs, Limits page: ids that end in `:free`).
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.model.as_deref().is_some_and(|model| model.ends_with(":free"))
    }
}

/// Reads `body`, the whole body of a request.
///
/// Of a field given twice the last one counts, as for other JSON parsers. Of a body that breaks off or
/// goes wrong, what stands before that place counts.
#[must_use]
pub fn peek(body: &[u8]) -> Wanted {
    let mut wanted = Wanted::default();
    // An error leaves what was read before it, and a body that is wrong is upstream's to refuse.
    let _ = Fields(&mut wanted).deserialize(&mut serde_json::Deserializer::from_slice(body));
    wanted
}

/// Fills in the fields of the outermost object as they pass, so that an error behind them keeps them.
struct Fields<'a>(&'a mut Wanted);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "model" => self.0.model = text(map.next_value()?),
                "stream" => self.0.stream = map.next_value::<&RawValue>()?.get() == "true",
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a field, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok().filter(|text: &String| text.len() <= LONGEST_MODEL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Wanted, peek};

    fn wanted(model: &str, stream: bool) -> Wanted {
        Wanted { model: Some(model.to_owned()), stream }
    }

    #[test]
    fn model_and_stream_are_read_wherever_they_stand() {
        let body = br#"{"messages":[{"role":"user","content":"\"model\":\"no\", {[\u00e9"}],
            "stream" : true, "tools":[{"model":"nested","stream":false}], "model":"openai\/gpt-4o:free"}"#;
        assert_eq!(peek(body), wanted("openai/gpt-4o:free", true));
        assert_eq!(peek(br#"{"model":"a/b"}"#), wanted("a/b", false));
        assert_eq!(peek(br#"{"\u006dodel":"a/b","stream":false}"#), wanted("a/b", false));
    }

    #[test]
    fn of_a_field_given_twice_the_last_counts() {
        assert_eq!(peek(br#"{"model":"a","stream":true,"model":"b","stream":false}"#), wanted("b", false));
        assert_eq!(peek(br#"{"model":"a","model":7}"#), Wanted::default());
    }

    #[test]
    fn odd_bodies_say_nothing() {
        for body in
            [&b""[..], b"null", b"[]", b"\"model\"", b"{", b"--boundary\r\n", b"\xff\xfe{}", b"{\"a\":1}"]
        {
            assert_eq!(peek(body), Wanted::default(), "{body:?}");
        }
        assert_eq!(peek(br#"{"model":["a"],"stream":"true"}"#), Wanted::default());
        assert_eq!(peek(format!(r#"{{"model":"{}"}}"#, "m".repeat(257)).as_bytes()), Wanted::default());
    }

    #[test]
    fn what_stands_before_a_break_counts() {
        assert_eq!(
            peek(br#"{"model":"a/b","stream":true,"messages":[{"content":"brea"#),
            wanted("a/b", true)
        );
        assert_eq!(peek(b"{\"model\":\"a/b\",\"x\":\"\xff\"}"), wanted("a/b", false));
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(peek(format!(r#"{{"model":"a/b","x":{deep}"#).as_bytes()), wanted("a/b", false));
        assert_eq!(peek(format!(r#"{{"model":{deep}"#).as_bytes()), Wanted::default());
        assert_eq!(peek(deep.as_bytes()), Wanted::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = peek(&body);
        }

        #[test]
        fn any_model_is_read_as_json_reads_it(model in "\\PC{0,60}", stream: bool, before in "\\PC{0,60}") {
            let body = serde_json::json!({"aa": before, "model": model, "stream": stream, "z": [1, null]});
            prop_assert_eq!(peek(body.to_string().as_bytes()), wanted(&model, stream));
        }
    }
}
