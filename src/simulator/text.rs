//! Putting bodies together: templates that look like what goes out, and money as `OpenRouter` writes it.

/// Fills `$name` in `template` with what stands beside `name`; unknown names stay as they are.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        let name = &rest[at + 1..];
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(name.len());
        match values.iter().find(|(known, _)| *known == &name[..end]) {
            Some((_, value)) => filled.push_str(value),
            None => filled.push_str(&rest[at..=at + end]),
        }
        rest = &name[end..];
    }
    filled.push_str(rest);
    filled
}

/// `text` as a JSON string, quotes included.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `nano` nano-dollars as a plain decimal of dollars: `0.00000015`.
pub(super) fn decimal(nano: i64) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let (whole, part) = (nano.unsigned_abs() / 1_000_000_000, nano.unsigned_abs() % 1_000_000_000);
    let text = format!("{sign}{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `nano` nano-dollars as a JSON number of dollars, written as JavaScript does: `1.5e-7` below a millionth.
pub(super) fn number(nano: i64) -> String {
    if nano == 0 || nano.unsigned_abs() >= 1_000 {
        return decimal(nano);
    }
    let sign = if nano < 0 { "-" } else { "" };
    let digits = nano.unsigned_abs().to_string();
    let exponent = 10 - digits.len();
    let (first, rest) = digits.split_at(1);
    match rest.trim_end_matches('0') {
        "" => format!("{sign}{first}e-{exponent}"),
        rest => format!("{sign}{first}.{rest}e-{exponent}"),
    }
}

/// The JSON of `value`, or `null`.
pub(super) fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{decimal, fill, number, quoted};

    #[test]
    fn templates_are_filled_once() {
        let filled = fill(r#"{"a":$a,"b":"$b_c"} $$ $none"#, &[("a", "$b_c"), ("b_c", "x")]);
        assert_eq!(filled, r#"{"a":$b_c,"b":"x"} $$ $none"#);
    }

    #[test]
    fn quotes_and_line_ends_are_escaped() {
        assert_eq!(quoted("a\"\n\u{e4}"), "\"a\\\"\\n\u{e4}\"");
    }

    #[test]
    fn money_is_written_as_javascript_writes_it() {
        let cases = [(0, "0"), (1, "1e-9"), (150, "1.5e-7"), (999, "9.99e-7"), (1_000, "0.000001")];
        for (nano, text) in cases {
            assert_eq!(number(nano), text);
        }
        assert_eq!(number(114_000), "0.000114");
        assert_eq!(number(-2_500_000_000), "-2.5");
        assert_eq!(number(25_000_000_000), "25");
        assert_eq!(decimal(150), "0.00000015");
    }
}
