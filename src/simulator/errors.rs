//! `OpenRouter`'s error answers, word for word as its documentation and public reports show them.

use super::fault::Canned;
use super::text::{fill, or_null, quoted};
use crate::clock::Time;

/// An error answer, before it is known in which dialect it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status, also `error.code`.
    pub status: u16,
    /// `error.message`.
    pub message: String,
    /// `error.metadata`, as JSON.
    pub metadata: Option<String>,
    /// Headers of the answer.
    pub headers: Vec<(String, String)>,
    /// `user_id` beside `error`: the account.
    pub user: Option<String>,
    /// What of the key or its account it tells, for the records; it does not travel.
    pub cause: Option<Cause>,
}

/// What an error tells of a key or its account, so that the next request could have known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The key is refused: 401.
    Key,
    /// The key's cap is spent.
    Cap,
    /// The account has no credits.
    Credits,
    /// The account's credits don't pay for this request.
    TooDear,
    /// The account's requests in flight hold its credits.
    InFlight,
    /// The account's requests to free models in this minute are used up.
    FreeMinute,
    /// The account's requests to free models in this UTC day are used up.
    FreeDay,
}

impl Denial {
    /// An error with nothing but its message.
    #[must_use]
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), metadata: None, headers: Vec::new(), user: None, cause: None }
    }

    /// The same with `error.metadata`, as JSON.
    #[must_use]
    pub fn metadata(mut self, json: impl Into<String>) -> Self {
        self.metadata = Some(json.into());
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with the account named beside the error.
    #[must_use]
    pub fn user(mut self, account: &str) -> Self {
        self.user = Some(account.to_owned());
        self
    }

    fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The value of `error` in the chat dialect.
    pub(super) fn error(&self) -> String {
        let status = self.status.to_string();
        let message = quoted(&self.message);
        let metadata =
            self.metadata.as_ref().map(|json| format!(r#","metadata":{json}"#)).unwrap_or_default();
        fill(
            r#"{"message":$message,"code":$code$metadata}"#,
            &[("message", &message), ("code", &status), ("metadata", &metadata)],
        )
    }

    /// The body in the chat dialect, which all but `/messages` share.
    #[must_use]
    pub fn body(&self) -> String {
        let user = self.user.as_ref().map(|user| format!(r#","user_id":{}"#, quoted(user)));
        format!(r#"{{"error":{}{}}}"#, self.error(), user.unwrap_or_default())
    }

    /// The body in the dialect of `/messages` (`OpenRouter`'s `OpenAPI` document, `MessagesErrorResponse`).
    #[must_use]
    pub fn anthropic_body(&self, generation: Option<&str>) -> String {
        let kind = match self.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 | 529 => "overloaded_error",
            400..500 => "invalid_request_error",
            _ => "api_error",
        };
        fill(
            r#"{"type":"error","error":{"type":"$kind","message":$message},"request_id":$request}"#,
            &[
                ("kind", kind),
                ("message", &quoted(&self.message)),
                ("request", &or_null(generation.map(quoted))),
            ],
        )
    }

    /// The whole answer.
    #[must_use]
    pub fn answer(&self, anthropic: bool) -> Canned {
        let body = if anthropic { self.anthropic_body(None) } else { self.body() };
        let mut answer = Canned::json(self.status, body);
        answer.headers.extend(self.headers.iter().cloned());
        answer
    }
}

/// 401: an unknown, deleted or expired key.
#[must_use]
pub fn user_not_found() -> Denial {
    Denial::new(401, "User not found.").cause(Cause::Key)
}

/// 401: nothing was sent (`OpenAPI` document, `UnauthorizedResponse`).
#[must_use]
pub fn missing_authentication() -> Denial {
    Denial::new(401, "Missing Authentication header")
}

/// 401: what was sent is no key.
#[must_use]
pub fn no_credentials() -> Denial {
    Denial::new(401, "No auth credentials found")
}

/// 401: no bearer came, in the words that look for a browser's session.
#[must_use]
pub fn no_cookie() -> Denial {
    Denial::new(401, "No cookie auth credentials found")
}

/// 404: no such path.
#[must_use]
pub fn not_found() -> Denial {
    Denial::new(404, "Not Found")
}

/// 404: no such generation, or another account's.
#[must_use]
pub fn no_such_resource() -> Denial {
    Denial::new(404, "Resource not found")
}

/// 400: no such model.
#[must_use]
pub fn unknown_model(model: &str) -> Denial {
    Denial::new(400, format!("{model} is not a valid model ID"))
}

/// 403: an ordinary key at an endpoint of management keys.
#[must_use]
pub fn management_only() -> Denial {
    Denial::new(403, "Only management keys can perform this operation")
}

/// 403: the key's own cap is spent; `which` is `total`, `daily`, `weekly` or `monthly`.
#[must_use]
pub fn key_limit(which: &str) -> Denial {
    Denial::new(403, format!("Key limit exceeded ({which} limit)")).cause(Cause::Cap)
}

/// 402: the same as newer documentation files it (docs, Limits page).
#[must_use]
pub fn key_limit_402(which: &str) -> Denial {
    Denial::new(
        402,
        format!("Key limit exceeded ({which} limit). Manage it using https://openrouter.ai/settings/keys"),
    )
    .metadata(r#"{"limit_source":"openrouter_key_limit"}"#)
    .cause(Cause::Cap)
}

/// 402: what is left of the key's cap pays for `affordable` tokens, not for `wanted`.
#[must_use]
pub fn too_dear_for_key(wanted: u64, affordable: u64) -> Denial {
    Denial::new(
        402,
        format!(
            "This request requires more credits, or fewer max_tokens. You requested up to {wanted} tokens, \
             but can only afford {affordable}. To increase, visit https://openrouter.ai/settings/keys and \
             create a key with a higher monthly limit"
        ),
    )
    .cause(Cause::TooDear)
}

/// 402: the account has no credits left.
#[must_use]
pub fn no_credits() -> Denial {
    Denial::new(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits")
        .metadata(concat!(
            r#"{"limit_source":"openrouter_credits","remedy_hint":"Add credits at "#,
            r"https://openrouter.ai/settings/credits, or lower max_tokens / prompt size to fit your ",
            r#"remaining balance."}"#,
        ))
        .cause(Cause::Credits)
}

/// 402: the credits left don't pay for `wanted` tokens, but for `affordable`.
#[must_use]
pub fn too_dear(wanted: u64, affordable: u64) -> Denial {
    Denial::new(
        402,
        format!(
            "This request requires more credits, or fewer max_tokens. You requested up to {wanted} tokens, \
             but can only afford {affordable}. To increase, visit https://openrouter.ai/settings/credits and \
             upgrade to a paid account"
        ),
    )
    .metadata(r#"{"provider_name":null}"#)
    .cause(Cause::TooDear)
}

/// 402: what is in flight holds the credits; `retry_after` in seconds.
#[must_use]
pub fn in_flight_budget(retry_after: u64) -> Denial {
    Denial::new(
        402,
        "This request would exceed your available credits given your current in-flight requests. Retry after \
         in-flight requests settle, or add credits.",
    )
    .metadata(concat!(
        r#"{"reason":"in_flight_budget_exhausted","limit_source":"openrouter_in_flight_budget","#,
        r#""remedy_hint":"Retry after your in-flight requests settle (see the Retry-After header). Adding "#,
        r"credits at https://openrouter.ai/settings/credits raises your in-flight budget, up to a capped ",
        r#"ceiling."}"#,
    ))
    .header("retry-after", retry_after.to_string())
    .cause(Cause::InFlight)
}

/// 402: this request alone is larger than what may be in flight (docs, Limits page).
#[must_use]
pub fn weight_exceeds_budget() -> Denial {
    Denial::new(402, "This request would exceed your available credits. Add credits, or lower max_tokens.")
        .metadata(r#"{"reason":"weight_exceeds_budget","limit_source":"openrouter_credits"}"#)
        .cause(Cause::TooDear)
}

fn free_limit(message: &str, limit: u32, reset: Time, more: &str) -> Denial {
    let (limit, reset) = (limit.to_string(), reset.0.to_string());
    let metadata = fill(
        concat!(
            r#"{"headers":{"X-RateLimit-Limit":"$limit","X-RateLimit-Remaining":"0","#,
            r#""X-RateLimit-Reset":"$reset"}$more}"#,
        ),
        &[("limit", &limit), ("reset", &reset), ("more", more)],
    );
    Denial::new(429, message)
        .metadata(metadata)
        .header("x-ratelimit-limit", limit)
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", reset)
}

/// 429: the account's free models this minute; `reset` ends it.
#[must_use]
pub fn free_per_minute(limit: u32, reset: Time) -> Denial {
    let more = r#","limit_source":"openrouter_free_tier_per_minute","provider_name":null"#;
    free_limit("Rate limit exceeded: free-models-per-min. ", limit, reset, more).cause(Cause::FreeMinute)
}

/// 429: the account's free models today, below ten dollars of credits; `reset` is the next UTC midnight.
#[must_use]
pub fn free_per_day(limit: u32, reset: Time) -> Denial {
    let message =
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day";
    free_limit(message, limit, reset, "").cause(Cause::FreeDay)
}

/// 429: the account's free models today, with ten dollars of credits or more.
#[must_use]
pub fn free_per_day_high_balance(limit: u32, reset: Time) -> Denial {
    let more = r#","limit_source":"openrouter_free_tier_daily""#;
    free_limit("Rate limit exceeded: free-models-per-day-high-balance. ", limit, reset, more)
        .cause(Cause::FreeDay)
}

/// 429: the provider's limit, whoever asks.
#[must_use]
pub fn provider_rate_limited(model: &str, provider: &str) -> Denial {
    let raw = format!(
        "{model} is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate \
         your rate limits: https://openrouter.ai/settings/integrations"
    );
    let metadata = fill(
        concat!(
            r#"{"raw":$raw,"provider_name":$provider,"is_byok":false,"#,
            r#""limit_source":"upstream_provider_shared_pool","remedy_hint":"Retry shortly, add your own "#,
            r"provider key (https://openrouter.ai/settings/integrations), or route to another provider with ",
            r#"provider routing: https://openrouter.ai/docs/features/provider-routing"}"#,
        ),
        &[("raw", &quoted(&raw)), ("provider", &quoted(provider))],
    );
    Denial::new(429, "Provider returned error").metadata(metadata)
}

/// 429 in the documented short form, which says nothing of whose limit it is (docs, Errors page).
#[must_use]
pub fn rate_limited() -> Denial {
    Denial::new(429, "Rate limit exceeded")
        .metadata(r#"{"error_type":"rate_limit_exceeded","provider_code":"rate_limited"}"#)
}

/// 403: moderation of the input (docs, Errors page).
#[must_use]
pub fn flagged(model: &str, provider: &str) -> Denial {
    let metadata = fill(
        concat!(
            r#"{"reasons":["violence"],"flagged_input":"the flagged part","provider_name":$provider,"#,
            r#""model_slug":$model}"#,
        ),
        &[("provider", &quoted(provider)), ("model", &quoted(model))],
    );
    Denial::new(403, "Your chosen model requires moderation and your input was flagged").metadata(metadata)
}

/// 403: a guardrail (docs, Guardrails page).
#[must_use]
pub fn blocked() -> Denial {
    Denial::new(403, "Request blocked: prompt injection patterns detected")
        .metadata(r#"{"patterns":["ignore all previous instructions"]}"#)
}

/// 403: the provider serves no callers from this region.
#[must_use]
pub fn region_refused(provider: &str) -> Denial {
    let metadata = fill(
        concat!(
            r#"{"raw":"{\"error\":{\"code\":\"unsupported_country_region_territory\",\"message\":"#,
            r#"\"Country, region, or territory not supported\"}}","provider_name":$provider}"#,
        ),
        &[("provider", &quoted(provider))],
    );
    Denial::new(403, "Provider returned error").metadata(metadata)
}

/// 404: the account's privacy settings leave no provider.
#[must_use]
pub fn data_policy() -> Denial {
    Denial::new(
        404,
        "No endpoints available matching your guardrail restrictions and data policy. Configure: \
         https://openrouter.ai/settings/privacy",
    )
}

/// 404: nobody serves the model.
#[must_use]
pub fn no_endpoints(model: &str) -> Denial {
    Denial::new(404, format!("No endpoints found for {model}."))
}

/// 502: the connection to the provider broke.
#[must_use]
pub fn connection_lost() -> Denial {
    Denial::new(502, "Network connection lost.").metadata(r#"{"error_type":"provider_unavailable"}"#)
}

/// 500, 408, 504, 524 or 529 in the words of `OpenRouter`'s `OpenAPI` document.
#[must_use]
pub fn plain(status: u16) -> Denial {
    let message = match status {
        400 => "Invalid request parameters",
        408 => "Operation timed out. Please try again later.",
        413 => "Request payload too large",
        500 => "Internal Server Error",
        503 => "Service temporarily unavailable",
        504 | 524 => "Request timed out. Please try again later.",
        _ => "Provider returned error",
    };
    Denial::new(status, message)
}

/// 502: the provider answered with an error.
#[must_use]
pub fn provider_error(provider: &str) -> Denial {
    let metadata = fill(
        concat!(
            r#"{"raw":"{\n  \"error\": {\n    \"code\": 500\n  }\n}","provider_name":$provider,"#,
            r#""isDownstreamPipeClean":true,"isErrorUpstreamFault":true}"#,
        ),
        &[("provider", &quoted(provider))],
    );
    Denial::new(502, "Provider returned error").metadata(metadata)
}

/// 503.
#[must_use]
pub fn unavailable() -> Denial {
    plain(503)
}

/// 429 of all providers of a model at once, which has `http_status` in place of `code` (docs, Errors page).
#[must_use]
pub fn at_capacity(model: &str, retry_after: u64) -> Canned {
    let (quoted_model, seconds) = (quoted(model), retry_after.to_string());
    let message =
        quoted(&format!("All providers for {model} are at capacity. Retry after {seconds} seconds."));
    let body = fill(
        concat!(
            r#"{"error":{"message":$message,"error_type":"rate_limit_exceeded","http_status":429,"#,
            r#""availability":{"code":"capacity_exhausted","retryable":true,"retry_after":$seconds,"#,
            r#""requested_models":[$model],"affected_providers":["anthropic","amazon-bedrock","#,
            r#""google-vertex"],"fallback_models":["anthropic/claude-haiku-4.5"],"#,
            r#""docs_url":"https://openrouter.ai/docs/errors#capacity_exhausted"},"metadata":"#,
            r#"{"previous_errors":[{"provider":"anthropic","code":"capacity_exhausted","status":429}]}}}"#,
        ),
        &[("message", &message), ("seconds", &seconds), ("model", &quoted_model)],
    );
    let mut answer = Canned::json(429, body);
    answer.headers.push(("retry-after".to_owned(), seconds));
    answer
}

/// 503 of a model without a working provider, with `availability` (docs, Errors page).
#[must_use]
pub fn temporarily_unavailable(model: &str, retry_after: u64) -> Canned {
    let body = fill(
        concat!(
            r#"{"error":{"message":"No provider can serve this model now.","http_status":503,"#,
            r#""availability":{"code":"temporarily_unavailable","retryable":true,"retry_after":$seconds,"#,
            r#""requested_models":[$model]}}}"#,
        ),
        &[("seconds", &retry_after.to_string()), ("model", &quoted(model))],
    );
    let mut answer = Canned::json(503, body);
    answer.headers.push(("retry-after".to_owned(), retry_after.to_string()));
    answer
}

/// An error page of the edge: HTML under any status.
#[must_use]
pub fn edge_page(status: u16) -> Canned {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>openrouter.ai | {status}</title></head>\n\
         <body><h1>Error {status}</h1></body></html>\n"
    );
    Canned {
        status,
        headers: vec![("content-type".to_owned(), "text/html; charset=UTF-8".to_owned())],
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        at_capacity, blocked, connection_lost, flagged, free_per_day, free_per_day_high_balance,
        free_per_minute, in_flight_budget, key_limit, key_limit_402, no_credits, provider_rate_limited,
        rate_limited, region_refused, temporarily_unavailable, too_dear, too_dear_for_key, user_not_found,
        weight_exceeds_budget,
    };
    use crate::clock::Time;

    #[test]
    fn the_bodies_are_openrouters_own() {
        let bodies = [
            user_not_found().body(),
            key_limit("daily").body(),
            free_per_minute(20, Time(1_786_912_200_000)).body(),
            free_per_day(50, Time(1_761_609_600_000)).body(),
            free_per_day_high_balance(1000, Time(1_790_035_200_000)).user("user_x").body(),
        ];
        let expected = [
            r#"{"error":{"message":"User not found.","code":401}}"#,
            r#"{"error":{"message":"Key limit exceeded (daily limit)","code":403}}"#,
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1786912200000"},"limit_source":"openrouter_free_tier_per_minute","provider_name":null}}}"#,
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1761609600000"}}}}"#,
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-day-high-balance. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"1000","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1790035200000"},"limit_source":"openrouter_free_tier_daily"}},"user_id":"user_x"}"#,
        ];
        for (body, expected) in bodies.iter().zip(expected) {
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn every_body_is_json() {
        let denials = [
            no_credits(),
            too_dear(64_000, 2_666),
            too_dear_for_key(64_000, 2_666),
            in_flight_budget(3),
            weight_exceeds_budget(),
            key_limit_402("daily"),
            rate_limited(),
            flagged("a/b", "P"),
            blocked(),
            region_refused("P"),
            connection_lost(),
        ];
        for denial in denials.iter().chain(&[provider_rate_limited("a/b", "DigitalOcean")]) {
            let body: serde_json::Value = serde_json::from_str(&denial.body()).unwrap();
            assert_eq!(body["error"]["code"], denial.status);
            let anthropic: serde_json::Value = serde_json::from_str(&denial.anthropic_body(None)).unwrap();
            assert_eq!(anthropic["error"]["message"], denial.message);
        }
        let body: serde_json::Value = serde_json::from_slice(&at_capacity("a/b", 40).body).unwrap();
        assert_eq!(body["error"]["availability"]["retry_after"], 40);
        let body: serde_json::Value =
            serde_json::from_slice(&temporarily_unavailable("a/b", 7).body).unwrap();
        assert_eq!(body["error"]["availability"]["retry_after"], 7);
    }
}
