//! Every error body that is documented or was seen live, whole and in parts, in each dialect.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::account::Period;
use super::{Another, Budget, Fault, Kind, Resets, Whose, classify, classify_event};
use crate::clock::Time;

mod properties;
mod until;

const MINUTE: Kind = Kind::FreePerMinute { limit: None };
const DAY: Kind = Kind::FreePerDay { limit: None };

/// An answer and what it means.
struct Case {
    status: u16,
    body: &'static str,
    kind: Kind,
    /// The kind when of the error only its status and message remain, as may be in Anthropic's shape.
    bare: Kind,
    /// Where the kind depends on more than status and message: on what, as JSON pointers.
    needs: &'static [&'static str],
}

impl Case {
    const fn new(status: u16, kind: Kind, body: &'static str) -> Self {
        Self { status, body, kind, bare: kind, needs: &[] }
    }

    const fn needs(self, bare: Kind, needs: &'static [&'static str]) -> Self {
        Self { bare, needs, ..self }
    }

    fn value(&self) -> Value {
        serde_json::from_str(self.body).expect("JSON")
    }

    fn classify(&self, body: &Value) -> Fault {
        fault(self.status, &HeaderMap::new(), &body.to_string())
    }
}

/// `OpenRouter` docs, Errors and Limits pages, and answers seen live.
const CASES: &[Case] = &[
    Case::new(
        429,
        Kind::FreePerMinute { limit: Some(20) },
        r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1786912200000"},"limit_source":"openrouter_free_tier_per_minute","provider_name":null}}}"#,
    ),
    Case::new(
        429,
        Kind::FreePerDay { limit: Some(50) },
        r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1761609600000"}}}}"#,
    ),
    Case::new(
        429,
        Kind::FreePerDay { limit: Some(1000) },
        r#"{"error":{"message":"Rate limit exceeded: free-models-per-day-high-balance. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"1000","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1790035200000"},"limit_source":"openrouter_free_tier_daily"}},"user_id":"user_x"}"#,
    ),
    Case::new(
        429,
        Kind::FreePerDay { limit: Some(200) },
        r#"{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"200","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1743292800000"},"provider_name":"Google AI Studio"}},"user_id":"user_XXXXXXXXXXXXXXXXXXXXXXXXX"}"#,
    ),
    Case::new(
        429,
        Kind::ProviderBusy,
        r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"deepseek/deepseek-v4-flash is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate your rate limits: https://openrouter.ai/settings/integrations","provider_name":"DigitalOcean","is_byok":false,"limit_source":"upstream_provider_shared_pool","remedy_hint":"Retry shortly, add your own provider key (https://openrouter.ai/settings/integrations), or route to another provider with provider routing: https://openrouter.ai/docs/features/provider-routing"}}}"#,
    ),
    Case::new(
        429,
        Kind::ProviderBusy,
        r#"{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded","provider_code":"rate_limited"}}}"#,
    )
    .needs(Kind::Unidentified, &["/error/metadata/provider_code"]),
    Case::new(
        429,
        Kind::Unidentified,
        r#"{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}}}"#,
    ),
    Case::new(
        429,
        Kind::ProviderBusy,
        r#"{"error":{"message":"All providers for anthropic/claude-sonnet-4.5 are at capacity. Retry after 40 seconds.","error_type":"rate_limit_exceeded","http_status":429,"availability":{"code":"capacity_exhausted","retryable":true,"retry_after":40,"requested_models":["anthropic/claude-sonnet-4.5"],"affected_providers":["anthropic","amazon-bedrock","google-vertex"],"fallback_models":["anthropic/claude-haiku-4.5"],"docs_url":"https://openrouter.ai/docs/errors#capacity_exhausted"},"metadata":{"previous_errors":[{"provider":"anthropic","code":"capacity_exhausted","status":429}]}}}"#,
    ),
    Case::new(
        402,
        Kind::NoCredits,
        r#"{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits","code":402,"metadata":{"limit_source":"openrouter_credits","remedy_hint":"Add credits at https://openrouter.ai/settings/credits, or lower max_tokens / prompt size to fit your remaining balance."}}}"#,
    ),
    Case::new(
        402,
        Kind::TooDear(Budget::Account),
        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 2666. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account","code":402,"metadata":{"provider_name":null}},"user_id":"user_x"}"#,
    ),
    Case::new(
        402,
        Kind::TooDear(Budget::Account),
        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 10. To increase, visit https://openrouter.ai/settings/credits and add more credits","code":402,"metadata":{"provider_name":null,"limit_source":"openrouter_credits","previous_errors":[{"code":402,"message":"Key limit exceeded (daily limit)","provider_name":"Google"}]}}}"#,
    ),
    Case::new(
        402,
        Kind::TooDear(Budget::Key),
        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 907. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit","code":402,"metadata":{"limit_source":"openrouter_key_limit"}}}"#,
    ),
    Case::new(
        402,
        Kind::TooDear(Budget::Key),
        r#"{"error":{"message":"Prompt tokens limit exceeded: 230799 > 91442. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit","code":402}}"#,
    ),
    Case::new(
        402,
        Kind::KeyCap(Resets::Every(Period::Monthly)),
        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 0. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit","code":402}}"#,
    ),
    Case::new(
        402,
        Kind::NoCredits,
        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 0. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account","code":402}}"#,
    ),
    Case::new(
        402,
        Kind::KeyCap(Resets::Untold),
        r#"{"error":{"message":"Payment required","code":402,"metadata":{"limit_source":"openrouter_key_limit"}}}"#,
    )
    .needs(Kind::NoCredits, &["/error/metadata/limit_source"]),
    Case::new(
        402,
        Kind::InFlight,
        r#"{"error":{"code":402,"message":"This request would exceed your available credits given your current in-flight requests. Retry after in-flight requests settle, or add credits.","metadata":{"reason":"in_flight_budget_exhausted","limit_source":"openrouter_in_flight_budget","remedy_hint":"Retry after your in-flight requests settle (see the Retry-After header). Adding credits at https://openrouter.ai/settings/credits raises your in-flight budget, up to a capped ceiling."}}}"#,
    ),
    Case::new(
        402,
        Kind::TooDear(Budget::Account),
        r#"{"error":{"code":402,"message":"Payment required","metadata":{"reason":"weight_exceeds_budget","limit_source":"openrouter_credits"}}}"#,
    )
    .needs(Kind::NoCredits, &["/error/metadata/reason"]),
    Case::new(
        402,
        Kind::ProviderRefused,
        r#"{"error":{"code":402,"message":"Provider returned error","metadata":{"raw":"insufficient balance","provider_name":"DeepSeek","is_byok":true}}}"#,
    ),
    Case::new(401, Kind::KeyRefused, r#"{"error":{"message":"User not found.","code":401}}"#),
    Case::new(401, Kind::KeyRefused, r#"{"error":{"message":"No auth credentials found","code":401}}"#),
    Case::new(401, Kind::KeyRefused, r#"{"error":{"code":401,"message":"Missing Authentication header"}}"#),
    Case::new(401, Kind::KeyRefused, r#"{"error":{"message":"No cookie auth credentials found","code":401}}"#),
    Case::new(
        401,
        Kind::ProviderRefused,
        r#"{"error":{"code":401,"message":"Provider returned error","metadata":{"raw":"{\"error\":\"invalid api key\"}","provider_name":"OpenAI","is_byok":true}}}"#,
    ),
    Case::new(
        403,
        Kind::ManagementOnly,
        r#"{"error":{"code":403,"message":"Only management keys can perform this operation"}}"#,
    ),
    Case::new(
        403,
        Kind::ManagementKey,
        r#"{"error":{"code":403,"message":"Management keys cannot be used for inference"}}"#,
    ),
    Case::new(
        403,
        Kind::KeyCap(Resets::Never),
        r#"{"error":{"message":"Key limit exceeded (total limit)","code":403}}"#,
    ),
    Case::new(
        403,
        Kind::KeyCap(Resets::Every(Period::Daily)),
        r#"{"error":{"message":"Key limit exceeded (daily limit). Manage it using https://openrouter.ai/settings/keys","code":403}}"#,
    ),
    Case::new(
        403,
        Kind::KeyCap(Resets::Every(Period::Weekly)),
        r#"{"error":{"message":"Key limit exceeded (weekly limit)","code":403}}"#,
    ),
    Case::new(
        403,
        Kind::KeyCap(Resets::Every(Period::Monthly)),
        r#"{"error":{"message":"Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys","code":403}}"#,
    ),
    Case::new(
        403,
        Kind::Blocked,
        r#"{"error":{"code":403,"message":"Forbidden","metadata":{"reasons":["violence"],"flagged_input":"...","provider_name":"OpenAI","model_slug":"openai/gpt-4o"}}}"#,
    )
    .needs(Kind::Forbidden, &["/error/metadata/reasons"]),
    Case::new(
        403,
        Kind::Blocked,
        r#"{"error":{"code":403,"message":"Request blocked: prompt injection patterns detected","metadata":{"patterns":["ignore all previous instructions"]}}}"#,
    ),
    Case::new(
        403,
        Kind::Blocked,
        r#"{"error":{"http_status":403,"message":"Not available in your region","availability":{"code":"region_restricted","retryable":false}}}"#,
    )
    .needs(Kind::Forbidden, &["/error/availability/code"]),
    Case::new(
        403,
        Kind::Blocked,
        r#"{"error":{"code":403,"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"code\":\"unsupported_country_region_territory\"}}","provider_name":"OpenAI"}}}"#,
    )
    .needs(Kind::ProviderRefused, &["/error/metadata/raw"]),
    Case::new(403, Kind::Forbidden, r#"{"error":{"code":403,"message":"Workspace budget exceeded"}}"#),
    Case::new(
        404,
        Kind::DataPolicy,
        r#"{"error":{"message":"No endpoints found matching your data policy. Enable prompt training here: https://openrouter.ai/settings/privacy","code":404}}"#,
    ),
    Case::new(
        404,
        Kind::DataPolicy,
        r#"{"error":{"message":"No endpoints available matching your guardrail restrictions and data policy. Configure: https://openrouter.ai/settings/privacy","code":404}}"#,
    ),
    Case::new(
        404,
        Kind::DataPolicy,
        r#"{"error":{"message":"No endpoints for openai/gpt-5.2 match your data policy (zero data retention). Adjust at https://openrouter.ai/settings/privacy.","error_type":"not_found","http_status":404,"availability":{"code":"privacy_restricted","retryable":false,"requested_models":["openai/gpt-5.2"],"excluded_by":["data_policy:zdr"]}}}"#,
    ),
    Case::new(
        404,
        Kind::UnknownModel,
        r#"{"error":{"message":"No endpoints found for acme/rocket-1.","code":404}}"#,
    ),
    Case::new(
        404,
        Kind::UnknownModel,
        r#"{"error":{"message":"No allowed providers are available for the selected model.","code":404}}"#,
    ),
    Case::new(
        404,
        Kind::UnknownModel,
        r#"{"error":{"message":"Quasar Alpha was a stealth model, revealed on April 14th as an early testing version of GPT-4.1.","error_type":"not_found","http_status":404,"availability":{"code":"model_deprecated","retryable":false,"requested_models":["openrouter/quasar-alpha"],"fallback_models":["openai/gpt-4.1"]}}}"#,
    )
    .needs(Kind::BadRequest, &["/error/availability/code"]),
    Case::new(
        400,
        Kind::UnknownModel,
        r#"{"error":{"message":"acme/fake-1.0 is not a valid model ID","error_type":"invalid_request","http_status":400,"availability":{"code":"model_not_found","retryable":false,"requested_models":["acme/fake-1.0"]}}}"#,
    ),
    Case::new(404, Kind::BadRequest, r#"{"error":{"code":404,"message":"Resource not found"}}"#),
    Case::new(400, Kind::BadRequest, r#"{"error":{"code":400,"message":"Invalid request parameters"}}"#),
    Case::new(413, Kind::BadRequest, r#"{"error":{"code":413,"message":"Request payload too large"}}"#),
    Case::new(422, Kind::BadRequest, r#"{"error":{"code":422,"message":"Unprocessable"}}"#),
    Case::new(
        408,
        Kind::ProviderDown,
        r#"{"error":{"code":408,"message":"Operation timed out. Please try again later."}}"#,
    ),
    Case::new(500, Kind::ProviderDown, r#"{"error":{"code":500,"message":"Internal Server Error"}}"#),
    Case::new(
        502,
        Kind::ProviderDown,
        r#"{"error":{"message":"Provider returned error","code":502,"metadata":{"raw":"{\n  \"error\": {\n    \"code\": 500}}","provider_name":"Google AI Studio","isDownstreamPipeClean":true,"isErrorUpstreamFault":true}},"user_id":"user_2s8cCd55e4z69e7xmlKZpzDxwV0"}"#,
    ),
    Case::new(
        502,
        Kind::ProviderDown,
        r#"{"error":{"code":502,"message":"Network connection lost.","metadata":{"error_type":"provider_unavailable"}}}"#,
    ),
    Case::new(
        503,
        Kind::ProviderDown,
        r#"{"error":{"code":503,"message":"Service temporarily unavailable"}}"#,
    ),
    Case::new(
        524,
        Kind::ProviderDown,
        r#"{"error":{"code":524,"message":"Request timed out. Please try again later."}}"#,
    ),
    Case::new(529, Kind::ProviderDown, r#"{"error":{"code":529,"message":"Provider returned error"}}"#),
];

/// Far from any reset of the cases, so that none of them is believed by chance.
const NOON: &str = "2026-11-22T12:00:30Z";

fn time(text: &str) -> Time {
    Time(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
}

fn fault(status: u16, headers: &HeaderMap, body: &str) -> Fault {
    let status = StatusCode::from_u16(status).expect("a status");
    classify(status, headers, body.as_bytes(), time(NOON)).expect("a fault")
}

fn event(data: &Value) -> Option<Fault> {
    classify_event(data.to_string().as_bytes(), time(NOON))
}

/// The kind without the limit it may tell.
fn plain(kind: Kind) -> Kind {
    match kind {
        Kind::FreePerMinute { .. } => MINUTE,
        Kind::FreePerDay { .. } => DAY,
        other => other,
    }
}

fn anthropic(status: u16, error: &Value, metadata: bool) -> Value {
    let kind = match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    };
    let mut body = json!({
        "type": "error", "request_id": null, "error": {"type": kind, "message": error["message"].clone()},
    });
    if metadata {
        for name in ["metadata", "availability"] {
            body["error"][name] = error[name].clone();
        }
    }
    body
}

/// All JSON pointers into `value`.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let inner_at = format!("{at}/{name}");
        pointers(inner, &inner_at, found);
        found.push(inner_at);
    }
}

fn without(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = value.pointer_mut(parent).expect("a parent").as_object_mut().expect("an object");
    assert!(parent.remove(name).is_some());
    value
}

#[test]
fn every_known_body_is_understood() {
    for case in CASES {
        let fault = case.classify(&case.value());
        assert_eq!(fault.kind, case.kind, "{}", case.body);
        assert_eq!(fault.status, case.status);
        assert_eq!(fault.user_id.as_deref(), case.value()["user_id"].as_str());
    }
}

#[test]
fn no_single_part_beside_the_message_is_needed() {
    for case in CASES {
        let value = case.value();
        let mut parts = Vec::new();
        pointers(&value, "", &mut parts);
        for part in parts {
            if part == "/error"
                || part == "/error/message"
                || case.needs.iter().any(|it| it.starts_with(&part))
            {
                continue;
            }
            let kind = case.classify(&without(&value, &part)).kind;
            assert_eq!(plain(kind), plain(case.kind), "without {part}: {}", case.body);
        }
    }
}

#[test]
fn a_known_body_is_understood_in_anthropics_shape_with_and_without_metadata() {
    for case in CASES {
        let error = &case.value()["error"];
        assert_eq!(case.classify(&anthropic(case.status, error, true)).kind, case.kind, "{}", case.body);
        let bare = case.classify(&anthropic(case.status, error, false)).kind;
        assert_eq!(plain(bare), plain(case.bare), "{}", case.body);
    }
}

#[test]
fn parts_that_are_added_change_nothing() {
    for case in CASES {
        let mut value = case.value();
        value["user_id"] = json!("user_y");
        value["openrouter_metadata"] = json!({"requested": "a/b", "error": {"code": 401}});
        if value["error"]["metadata"].is_null() {
            value["error"]["metadata"] = json!({});
        }
        value["error"]["metadata"]["previous_errors"] = json!([{"code": 401, "message": "Key limit exceeded (daily limit)", "limit_source": "openrouter_key_limit"}]);
        value["error"]["metadata"]["new"] = json!([[{}]]);
        let fault = case.classify(&value);
        assert_eq!(fault.kind, case.kind, "{}", case.body);
        assert_eq!(fault.user_id.as_deref(), Some("user_y"));
    }
}

#[test]
fn a_known_body_is_understood_inside_a_200_in_every_dialect() {
    for case in CASES {
        let value = case.value();
        let error = &value["error"];
        for shape in [
            value.clone(),
            json!({"id": "gen-1", "object": "chat.completion.chunk", "error": error,
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
            json!({"type": "error", "error": error}),
            json!({"type": "response.error", "error": error}),
            json!({"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": error}}),
        ] {
            let fault = event(&shape).expect("a fault");
            assert_eq!((fault.kind, fault.status), (case.kind, case.status), "{shape}");
        }
    }
}

#[test]
fn an_error_inside_a_200_may_name_its_status_in_words_alone() {
    for (data, status, kind) in [
        // OpenRouter docs, Errors page.
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Provider is temporarily overloaded","error_type":"provider_overloaded"}}"#,
            503,
            Kind::ProviderDown,
        ),
        (
            r#"{"type":"response.failed","response":{"id":"resp_abc123","status":"failed","error":{"code":"server_error","message":"Internal server error"},"error_type":"server"}}"#,
            500,
            Kind::ProviderDown,
        ),
        (
            r#"{"type":"response.error","error":{"code":"rate_limit_exceeded","message":"Rate limit exceeded"}}"#,
            429,
            Kind::Unidentified,
        ),
        (
            r#"{"id":"resp_abc123","status":"failed","error":{"code":"server_error","message":"Invalid credentials"},"error_type":"authentication"}"#,
            401,
            Kind::ProviderRefused,
        ),
        (
            r#"{"type":"error","error":{"code":"invalid_api_key","message":"Invalid API key provided"}}"#,
            401,
            Kind::ProviderRefused,
        ),
        (r#"{"type":"error","code":"server_error","message":"boom","param":null}"#, 500, Kind::ProviderDown),
        (
            r#"{"type":"error","error":{"type":"billing_error","message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits"}}"#,
            402,
            Kind::NoCredits,
        ),
        (
            r#"{"type":"error","error":{"type":"billing_error","message":"no money"}}"#,
            402,
            Kind::ProviderRefused,
        ),
        // A chunk names the provider that was chosen.
        (
            r#"{"id":"gen-abc123","object":"chat.completion.chunk","created":1234567890,"model":"openai/gpt-4o","provider":"OpenAI","error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            429,
            Kind::ProviderBusy,
        ),
        (r#"{"error":{"code":"429","message":"x"}}"#, 429, Kind::Unidentified),
        (r#"{"error":{"message":"Rate limit exceeded"}}"#, 429, Kind::Unidentified),
        (
            r#"{"error":{"message":"flagged","metadata":{"error_type":"content_policy_violation"}}}"#,
            400,
            Kind::Blocked,
        ),
        // Blank lines kept a slow answer alive.
        ("\n\n   \n{\"error\":{\"code\":502,\"message\":\"x\"}}", 502, Kind::ProviderDown),
        (r#"{"error":{}}"#, 500, Kind::ProviderDown),
        (r#"{"error":{"code":7}}"#, 500, Kind::ProviderDown),
    ] {
        let fault = classify_event(data.as_bytes(), time(NOON)).expect("a fault");
        assert_eq!((fault.status, fault.kind), (status, kind), "{data}");
    }
}

#[test]
fn an_answer_without_an_error_is_no_fault() {
    for data in [
        "",
        "[DONE]",
        "null",
        r#"{"id":"gen-1","choices":[{"delta":{"content":"an \"error\": {"}}]}"#,
        r#"{"id":"gen-1","choices":[],"error":null}"#,
        r#"{"id":"job","status":"failed","error":"no video"}"#,
        r#"{"type":"response.created","response":{"id":"resp_1","error":null,"status":"in_progress"}}"#,
        r#"{"type":"message_start","message":{"error":{"code":500}}}"#,
    ] {
        assert_eq!(classify_event(data.as_bytes(), time(NOON)), None, "{data}");
    }
    for status in [200, 202, 204, 301, 304] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(classify(status, &HeaderMap::new(), CASES[0].body.as_bytes(), time(NOON)), None);
    }
}

#[test]
fn what_is_not_openrouters_json_is_the_edges() {
    let page = "\n<!DOCTYPE html><html><title>openrouter.ai | 502: Bad gateway</title></html>";
    for (status, body, retry) in [
        (502, page, true),
        (520, page, true),
        (524, "error code: 524", true),
        (500, "", true),
        (502, " \n", true),
        (403, page, false),
        (429, "error code: 1015", false),
        (401, page, false),
        (404, page, false),
    ] {
        let fault = fault(status, &HeaderMap::new(), body);
        assert_eq!((fault.kind, fault.whose), (Kind::Edge, Whose::Edge), "{status} {body}");
        assert_eq!(fault.retry_same_route_once(), retry, "{status} {body}");
        assert_eq!(fault.another_key_helps(), Another::No);
    }
}

#[test]
fn without_a_body_the_status_tells() {
    for (status, kind) in [
        (400, Kind::BadRequest),
        (401, Kind::KeyRefused),
        (402, Kind::NoCredits),
        (403, Kind::Forbidden),
        (404, Kind::BadRequest),
        (408, Kind::ProviderDown),
        (429, Kind::Unidentified),
    ] {
        for body in ["", "{}", r#"{"error":null}"#, r#"{"error":"#, r#"{"error":"no"}"#] {
            assert_eq!(fault(status, &HeaderMap::new(), body).kind, kind, "{status} {body}");
        }
    }
}

#[test]
fn of_a_long_body_the_beginning_counts() {
    let raw = "x".repeat(80_000);
    let body = format!(
        r#"{{"error":{{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{{"raw":"{raw}","limit_source":"openrouter_key_limit"}}}}}}"#
    );
    assert_eq!(fault(429, &HeaderMap::new(), &body).kind, MINUTE);
    let late = format!(r#"{{"id":"{raw}","error":{{"code":429}}}}"#);
    assert_eq!(classify_event(late.as_bytes(), time(NOON)), None);
    let deep = format!(r#"{{"error":{{"code":429,"message":"Key limit exceeded","x":{}"#, "[".repeat(60_000));
    assert_eq!(fault(429, &HeaderMap::new(), &deep).kind, Kind::KeyCap(Resets::Untold));
}

#[test]
fn unknown_limit_sources_are_openrouters_own_by_their_name() {
    let kind = |source: &str| {
        let body = json!({"error": {"code": 429, "message": "slow down", "metadata": {"limit_source": source, "provider_name": "X"}}});
        fault(429, &HeaderMap::new(), &body.to_string()).kind
    };
    assert_eq!(kind("openrouter_new_limit"), Kind::Unidentified);
    assert_eq!(kind("upstream_provider_byok"), Kind::ProviderBusy);
    // A provider's words that look like OpenRouter's own.
    let body = r#"{"error":{"message":"Insufficient credits","code":402,"metadata":{"limit_source":"upstream_provider_byok"}}}"#;
    assert_eq!(fault(402, &HeaderMap::new(), body).kind, Kind::ProviderRefused);
}

#[test]
fn what_rests_and_who_helps_follows_from_the_kind() {
    use Another::{Account, Key, No};
    for (kind, whose, another, again) in [
        (Kind::KeyRefused, Whose::Key, Key, false),
        (Kind::ManagementKey, Whose::Key, Key, false),
        (Kind::KeyCap(Resets::Never), Whose::Key, Key, false),
        (Kind::NoCredits, Whose::Account, Account, false),
        (Kind::TooDear(Budget::Account), Whose::Request, Account, false),
        (Kind::TooDear(Budget::Key), Whose::Request, Key, false),
        (Kind::InFlight, Whose::Account, Account, false),
        (Kind::FreePerMinute { limit: Some(20) }, Whose::FreeModels, Account, false),
        (Kind::FreePerDay { limit: Some(50) }, Whose::FreeModels, Account, false),
        (Kind::ProviderBusy, Whose::Model, No, false),
        (Kind::ProviderDown, Whose::Model, No, true),
        (Kind::Blocked, Whose::Request, No, false),
        (Kind::Forbidden, Whose::Request, Account, false),
        (Kind::DataPolicy, Whose::Request, Account, false),
        (Kind::ManagementOnly, Whose::Request, No, false),
        (Kind::UnknownModel, Whose::Request, No, false),
        (Kind::BadRequest, Whose::Request, No, false),
        (Kind::Unidentified, Whose::Unknown, Key, false),
    ] {
        let case = CASES.iter().find(|case| case.kind == kind).expect("a case of each kind");
        let fault = case.classify(&case.value());
        assert_eq!(fault.whose, whose, "{kind:?}");
        assert_eq!(fault.another_key_helps(), another, "{kind:?}");
        assert_eq!(fault.retry_same_route_once(), again, "{kind:?}");
    }
}

#[test]
fn a_fault_of_the_accounts_own_provider_key_is_not_met_by_another_account() {
    for byok in [false, true] {
        let body = json!({"error": {"code": 429, "message": "Provider returned error", "metadata": {"is_byok": byok}}});
        let fault = fault(429, &HeaderMap::new(), &body.to_string());
        assert_eq!(fault.byok, byok);
        assert_eq!(fault.another_key_helps(), if byok { Another::Account } else { Another::No });
    }
}

#[test]
fn an_id_of_absurd_length_names_no_account() {
    let body = json!({"error": {"code": 500}, "user_id": "u".repeat(129)});
    assert_eq!(fault(500, &HeaderMap::new(), &body.to_string()).user_id, None);
}

#[test]
fn of_an_unknown_availability_code_retryable_tells_enough() {
    let kind = |status: u16, retryable: bool| {
        let availability = json!({"code": "new", "retryable": retryable});
        let body = json!({"error": {"http_status": status, "message": "x", "availability": availability}});
        fault(status, &HeaderMap::new(), &body.to_string()).kind
    };
    assert_eq!(kind(429, true), Kind::ProviderBusy);
    assert_eq!(kind(404, true), Kind::ProviderDown);
    assert_eq!(kind(404, false), Kind::BadRequest);
    assert_eq!(kind(429, false), Kind::Unidentified);
}
