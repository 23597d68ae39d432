//! Of an answer that is JSON, the tap finds the cost where a parser finds it, and nowhere else.

#![no_main]

use hermux::openrouter::dialect::Dialect;
use hermux::openrouter::usage::UsageTap;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(answer @ Value::Object(_)) = serde_json::from_slice::<Value>(data) else { return };
    // Written again: names stand once, in their order, and without escapes that say nothing.
    let text = answer.to_string();
    let count = |usage: &Value| usage.get("prompt_tokens").and_then(Value::as_u64).filter(|&n| i64::try_from(n).is_ok());
    for (dialect, holder) in
        [(Dialect::Chat, None), (Dialect::Messages, Some("message")), (Dialect::Responses, Some("response"))]
    {
        let places = [&answer["usage"], holder.map_or(&Value::Null, |holder| &answer[holder]["usage"])];
        // Names stand in their order here: `message` and `response` come before `usage`, whose figures win.
        let found = places.iter().filter(|usage| usage.is_object());
        if found.clone().any(|usage| usage.get("input_tokens").is_some() || usage.to_string().len() > 8_000) {
            continue;
        }
        let expected = found.clone().filter_map(|usage| count(usage)).next();
        for form in [text.clone(), format!("data: {text}\n\ndata: [DONE]\n\n")] {
            let mut tap = UsageTap::new(dialect);
            tap.feed(form.as_bytes());
            assert_eq!(tap.usage().prompt_tokens, expected, "{form}");
            let mut whole = UsageTap::new(dialect);
            whole.feed_whole(form.as_bytes());
            assert_eq!(whole.usage(), tap.usage(), "{form}");
        }
    }
});
