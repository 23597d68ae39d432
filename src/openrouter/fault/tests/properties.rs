//! What holds for every answer, however odd.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::account::Period;
use super::super::{Fault, Kind, Whose, classify, classify_event};
use super::{CASES, NOON, fault, time};
use crate::clock::Time;

/// `value` as JSON text, the fields of each object in an order that `seed` gives.
fn shuffled(value: &Value, seed: u64) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| {
                let mut hasher = DefaultHasher::new();
                (seed, name).hash(&mut hasher);
                hasher.finish()
            });
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, inner)| format!("{}:{}", json!(name), shuffled(inner, seed)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}

/// Some parts of what a body may hold; the order of the draws makes the body.
fn any_body() -> impl Strategy<Value = Value> {
    let scalar = prop::sample::select(
        &[
            "null",
            "true",
            "429",
            "402",
            "-1",
            "1e999",
            "\"429\"",
            "\"1786912200000\"",
            "1795996800",
            "[]",
            "{}",
            "\"openrouter_credits\"",
            "\"openrouter_free_tier_daily\"",
            "\"openrouter_key_limit\"",
            "\"upstream\"",
            "\"Rate limit exceeded: free-models-per-min. \"",
            "\"Key limit exceeded (weekly limit)\"",
            "\"error\"",
            "\"capacity_exhausted\"",
            "\"rate_limit_exceeded\"",
            "\"response.failed\"",
            "\"X\"",
            "20",
        ][..],
    );
    let name = prop::sample::select(
        &[
            "error",
            "response",
            "metadata",
            "headers",
            "availability",
            "message",
            "code",
            "type",
            "http_status",
            "error_type",
            "limit_source",
            "reason",
            "provider_name",
            "provider_code",
            "provider",
            "is_byok",
            "raw",
            "X-RateLimit-Reset",
            "X-RateLimit-Limit",
            "Retry-After",
            "retry_after",
            "retryable",
            "user_id",
        ][..],
    );
    let leaf = scalar.prop_map(|text| serde_json::from_str(text).unwrap_or(Value::Null));
    let object = |inner| {
        prop::collection::hash_map(name.clone(), inner, 0..7)
            .prop_map(|fields: HashMap<_, Value>| json!(fields))
    };
    let level = |inner: BoxedStrategy<Value>| prop_oneof![2 => leaf.clone(), 1 => inner].boxed();
    let one = object(leaf.clone().boxed()).boxed();
    let two = object(level(one)).boxed();
    let three = object(level(two.clone())).boxed();
    // Most bodies have an error, which most draws would miss.
    let error = (three.clone(), two).prop_map(|(mut body, error)| {
        body["error"] = error;
        body
    });
    prop_oneof![three, error]
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let value = prop_oneof![
        "[ -~]{0,30}",
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        Just("Sun, 22 Nov 2026 12:01:00 GMT".to_owned()),
    ];
    let name = prop::sample::select(&["retry-after", "x-ratelimit-reset", "x-ratelimit-limit"][..]);
    prop::collection::vec((name, value), 0..3).prop_map(|pairs| {
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_str(&value).ok()?)))
            .collect()
    })
}

/// What holds for every fault at any time.
fn sound(fault: &Fault, now: Time) -> Result<(), TestCaseError> {
    if let Some(until) = fault.until {
        let second = Time(now.0.saturating_add(1_000));
        prop_assert!(until >= second, "{fault:?}");
        if !matches!(fault.kind, Kind::KeyCap(_)) {
            prop_assert!(until <= Period::Daily.end(now).max(second), "{fault:?}");
        }
    }
    prop_assert!(fault.status >= 400);
    prop_assert!(fault.whose != Whose::Request || fault.until.is_none());
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_borne(
        status in 400_u16..1_000, headers in any_headers(), body in prop::collection::vec(any::<u8>(), 0..200), now: i64,
    ) {
        let status = StatusCode::from_u16(status).expect("a status");
        sound(&classify(status, &headers, &body, Time(now)).expect("a fault"), Time(now))?;
        prop_assert_eq!(classify_event(&body, Time(now)), None);
    }

    #[test]
    fn any_body_is_borne_cut_anywhere(
        body in any_body(), status in 400_u16..600, headers in any_headers(), now in any::<i64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = body.to_string();
        let status = StatusCode::from_u16(status).expect("a status");
        for bytes in [text.as_bytes(), &text.as_bytes()[..cut.index(text.len())]] {
            sound(&classify(status, &headers, bytes, Time(now)).expect("a fault"), Time(now))?;
            if let Some(fault) = classify_event(bytes, Time(now)) {
                sound(&fault, Time(now))?;
            }
        }
    }

    #[test]
    fn the_order_of_fields_changes_nothing(
        body in any_body(), status in 400_u16..600, headers in any_headers(), seed: u64,
    ) {
        let now = time(NOON);
        let status = StatusCode::from_u16(status).expect("a status");
        let (one, other) = (body.to_string(), shuffled(&body, seed));
        prop_assert_eq!(
            classify(status, &headers, one.as_bytes(), now),
            classify(status, &headers, other.as_bytes(), now)
        );
        prop_assert_eq!(classify_event(one.as_bytes(), now), classify_event(other.as_bytes(), now));
    }

    #[test]
    fn the_order_of_fields_changes_no_known_body(case in 0..CASES.len(), seed: u64) {
        let case = &CASES[case];
        let body = shuffled(&case.value(), seed);
        prop_assert_eq!(fault(case.status, &HeaderMap::new(), &body), case.classify(&case.value()));
    }
}
