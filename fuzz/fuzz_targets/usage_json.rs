//! Of an answer that is JSON, the tap finds the cost where a parser finds it, and nowhere else.

#![no_main]

use hermux::openrouter::usage::UsageTap;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(answer @ Value::Object(_)) = serde_json::from_slice::<Value>(data) else { return };
    // Written again: names stand once, in their order, and without escapes that say nothing.
    let text = answer.to_string();
    let count = |usage: &Value| usage.get("prompt_tokens").and_then(Value::as_u64).filter(|&n| i64::try_from(n).is_ok());
    let places = [&answer["message"]["usage"], &answer["response"]["usage"], &answer["usage"]];
    let expected = places
        .iter()
        .filter(|usage| usage.is_object() && usage.to_string().len() <= 8_000 && usage.get("input_tokens").is_none())
        .filter_map(|usage| count(usage))
        .next_back();
    if places.iter().any(|usage| usage.get("input_tokens").is_some() || usage.to_string().len() > 8_000) {
        return;
    }
    for form in [text.clone(), format!("data: {text}\n\ndata: [DONE]\n\n")] {
        let mut tap = UsageTap::new();
        tap.feed(form.as_bytes());
        assert_eq!(tap.usage().prompt_tokens, expected, "{form}");
    }
});
