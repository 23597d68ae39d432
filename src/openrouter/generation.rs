//! Reads what `GET /generation` tells about one answer of a model: what it was billed.

use super::account::Fields;
use super::usage::Usage;

/// What one generation was billed (`OpenRouter` API reference, "Get request & usage metadata for a generation"): tokens as the
/// model counts them, as in answers. None where the body tells no cost.
#[must_use]
pub fn billed(body: &[u8]) -> Option<Usage> {
    let fields = Fields::data(body)?;
    let charged = |amount: i64| (amount >= 0).then_some(amount);
    let cost = fields.amount("total_cost").or_else(|| fields.amount("usage")).and_then(charged)?;
    let is_byok = fields.flag("is_byok") == Some(true);
    Some(Usage {
        prompt_tokens: fields.count("native_tokens_prompt").or_else(|| fields.count("tokens_prompt")),
        completion_tokens: fields
            .count("native_tokens_completion")
            .or_else(|| fields.count("tokens_completion")),
        reasoning_tokens: fields.count("native_tokens_reasoning"),
        cached_tokens: fields.count("native_tokens_cached"),
        cache_write_tokens: None,
        cost: Some(cost),
        upstream_cost: fields.amount("upstream_inference_cost").filter(|_| is_byok).and_then(charged),
    })
}

#[cfg(test)]
mod tests {
    use super::{Usage, billed};

    /// The example of the API reference, without what says nothing of the bill.
    const EXAMPLE: &str = r#"{"data":{"id":"gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG","total_cost":0.0015,"cache_discount":0.0002,
        "upstream_inference_cost":0.0012,"cancelled":false,"tokens_prompt":11,"tokens_completion":26,
        "native_tokens_prompt":10,"native_tokens_completion":25,"native_tokens_reasoning":5,"native_tokens_cached":3,
        "usage":0.0015,"is_byok":false}}"#;

    #[test]
    fn what_was_billed_is_read_to_the_nano_dollar() {
        let expected = Usage {
            prompt_tokens: Some(10),
            completion_tokens: Some(25),
            reasoning_tokens: Some(5),
            cached_tokens: Some(3),
            cost: Some(1_500_000),
            ..Usage::default()
        };
        assert_eq!(billed(EXAMPLE.as_bytes()), Some(expected.clone()));
        let byok = EXAMPLE.replace("\"is_byok\":false", "\"is_byok\":true");
        assert_eq!(
            billed(byok.as_bytes()),
            Some(Usage { upstream_cost: Some(1_200_000), ..expected }),
            "what the provider took stands apart"
        );
    }

    #[test]
    fn what_tells_no_cost_tells_nothing() {
        for body in [
            "",
            "{}",
            r#"{"error":{"code":404,"message":"Resource not found"}}"#,
            r#"{"data":{"tokens_prompt":1}}"#,
            r#"{"data":{"total_cost":null,"usage":-1}}"#,
        ] {
            assert_eq!(billed(body.as_bytes()), None, "{body}");
        }
        let free = billed(br#"{"data":{"total_cost":0,"tokens_prompt":4}}"#).expect("a bill");
        assert_eq!((free.cost, free.prompt_tokens, free.completion_tokens), (Some(0), Some(4), None));
    }
}
