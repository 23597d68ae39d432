//! Tells the kind of a fault: by `limit_source`, `availability`, the message's beginning, else the status.

use super::super::account::Period;
use super::said::{ErrorSaid, Field, Said};
use super::{Budget, Kind, Resets};

/// The status that an error inside a 200 names, as a number.
pub(super) fn status_named(said: &Said) -> Option<u16> {
    let error = said.error();
    status_of_number(&error.code).or_else(|| status_of_number(&error.http_status))
}

/// The status that an error inside a 200 means by its words; 500 where it says nothing.
pub(super) fn status_meant(said: &Said) -> u16 {
    let silent = || if said.error().says("Rate limit exceeded") { 429 } else { 500 };
    said.words().find_map(status_of_word).unwrap_or_else(silent)
}

fn status_of_number(field: &Field) -> Option<u16> {
    field.whole().and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status))
}

/// The status that a word stands for: `error_type`, Anthropic's `error.type`, the Responses dialect's
/// `error.code` (`OpenRouter` docs, Errors page).
fn status_of_word(word: &str) -> Option<u16> {
    Some(match word {
        "authentication" | "authentication_error" | "invalid_api_key" => 401,
        "payment_required" | "billing_error" => 402,
        "permission_denied" | "permission_error" => 403,
        "not_found" | "not_found_error" | "image_not_found" => 404,
        "precondition_failed" => 412,
        "payload_too_large" | "request_too_large" => 413,
        "unprocessable" => 422,
        "rate_limit_exceeded" | "rate_limit_error" => 429,
        "server" | "server_error" | "api_error" | "unmapped" => 500,
        "provider_unavailable" => 502,
        "provider_overloaded" => 503,
        "timeout" | "timeout_error" => 504,
        "overloaded_error" => 529,
        "context_length_exceeded"
        | "max_tokens_exceeded"
        | "token_limit_exceeded"
        | "string_too_long"
        | "invalid_request"
        | "invalid_request_error"
        | "invalid_prompt"
        | "content_policy_violation"
        | "image_content_policy_violation"
        | "refusal"
        | "invalid_image"
        | "image_too_large"
        | "image_too_small"
        | "unsupported_image_format"
        | "image_download_failed" => 400,
        _ => return None,
    })
}

/// Whose limit an error tells of: `metadata.limit_source`.
///
/// Documented for 402 (`OpenRouter` docs, Limits page), seen live for 429. Unknown ones that begin with
/// `openrouter_` are `OpenRouter`'s own; all others are a provider's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Untold,
    Own,
    Provider,
}

impl Source {
    fn of(error: &ErrorSaid) -> Self {
        match error.limit_source.text() {
            None => Self::Untold,
            Some(source) if source.starts_with("openrouter_") => Self::Own,
            Some(_) => Self::Provider,
        }
    }
}

/// What an error of this status is; the surest signs first.
pub(super) fn kind(status: u16, said: &Said) -> Kind {
    let error = said.error();
    let source = Source::of(error);
    let provider = match source {
        Source::Untold => said.cites_provider(),
        Source::Own => false,
        Source::Provider => true,
    };
    by_source(error)
        .or_else(|| by_availability(status, error))
        // A provider's text may look like OpenRouter's own.
        .or_else(|| if source == Source::Provider { None } else { by_message(error) })
        .unwrap_or_else(|| by_status(status, provider, said))
}

/// Whether more than its status tells what the error is.
pub(super) fn identified(said: &Said) -> bool {
    let error = said.error();
    by_source(error).is_some() || by_message(error).is_some()
}

fn by_source(error: &ErrorSaid) -> Option<Kind> {
    Some(match error.limit_source.text()? {
        "openrouter_free_tier_per_minute" => Kind::FreePerMinute { limit: None },
        "openrouter_free_tier_daily" => Kind::FreePerDay { limit: None },
        "openrouter_in_flight_budget" => Kind::InFlight,
        "openrouter_key_limit" => too_dear(error).unwrap_or_else(|| Kind::KeyCap(resets(error))),
        // It stands also where credits are left, but too few for this request.
        "openrouter_credits" => by_message(error).unwrap_or(Kind::NoCredits),
        _ => return None,
    })
}

/// `OpenRouter` docs, Errors page, "Model availability errors". Of codes yet to come `retryable` tells enough.
fn by_availability(status: u16, error: &ErrorSaid) -> Option<Kind> {
    let code = error.availability.text()?;
    Some(match code {
        "capacity_exhausted" => Kind::ProviderBusy,
        "temporarily_unavailable" => Kind::ProviderDown,
        _ if error.retryable.is_true() && status == 429 => Kind::ProviderBusy,
        _ if error.retryable.is_true() => Kind::ProviderDown,
        "region_restricted" => Kind::Blocked,
        "privacy_restricted" => Kind::DataPolicy,
        "model_not_found"
        | "no_endpoints"
        | "model_deprecated"
        | "model_unavailable_upstream"
        | "constraint_filtered"
        | "free_variant_ended" => Kind::UnknownModel,
        "wrong_endpoint" => Kind::BadRequest,
        _ => return None,
    })
}

/// Messages that only `OpenRouter` itself writes, and that say enough whatever the status; all seen live.
fn by_message(error: &ErrorSaid) -> Option<Kind> {
    if error.says("Rate limit exceeded: free-models-per-min") {
        return Some(Kind::FreePerMinute { limit: None });
    }
    if error.says("Rate limit exceeded: free-models-per-day") {
        return Some(Kind::FreePerDay { limit: None });
    }
    if error.says("Key limit exceeded") {
        return Some(Kind::KeyCap(resets(error)));
    }
    if error.reason.text() == Some("in_flight_budget_exhausted")
        || error.says("This request would exceed your available credits given your current in-flight")
    {
        return Some(Kind::InFlight);
    }
    if error.says("Insufficient credits") {
        return Some(Kind::NoCredits);
    }
    too_dear(error)
}

/// Tells what a request was too dear for. A key or an account that cannot afford a single token is spent.
fn too_dear(error: &ErrorSaid) -> Option<Kind> {
    let message = error.message.text().unwrap_or_default();
    let dear = error.reason.text() == Some("weight_exceeds_budget")
        || message.starts_with("This request requires more credits")
        || message.starts_with("Prompt tokens limit exceeded");
    if !dear {
        return None;
    }
    let spent = message.split_once("can only afford ").is_some_and(|(_, rest)| {
        let number = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|digit| digit == b'0')
    });
    // The wording is one; what to raise stands at its end.
    let key = error.limit_source.text() == Some("openrouter_key_limit")
        || message.contains("openrouter.ai/settings/keys");
    Some(match (spent, key) {
        (true, true) => Kind::KeyCap(resets(error)),
        (true, false) => Kind::NoCredits,
        (false, true) => Kind::TooDear(Budget::Key),
        (false, false) => Kind::TooDear(Budget::Account),
    })
}

/// `Key limit exceeded (daily limit)`, or `create a key with a higher daily limit`.
fn resets(error: &ErrorSaid) -> Resets {
    let message = error.message.text().unwrap_or_default();
    [
        ("daily limit", Resets::Every(Period::Daily)),
        ("weekly limit", Resets::Every(Period::Weekly)),
        ("monthly limit", Resets::Every(Period::Monthly)),
        ("total limit", Resets::Never),
    ]
    .into_iter()
    .find_map(|(words, resets)| message.contains(words).then_some(resets))
    .unwrap_or(Resets::Untold)
}

/// What is left to tell by the status and its own messages.
fn by_status(status: u16, provider: bool, said: &Said) -> Kind {
    let error = said.error();
    let message = error.message.text().unwrap_or_default();
    let any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match status {
        401 | 403 if message.starts_with("Only ") && any(&["management key", "provisioning key"]) => {
            Kind::ManagementOnly
        }
        401 | 403 if any(&["anagement key", "rovisioning key"]) => Kind::ManagementKey,
        401 | 402 if provider => Kind::ProviderRefused,
        401 => Kind::KeyRefused,
        402 => Kind::NoCredits,
        403 if blocked(error) || any(&["requires moderation", "input was flagged", "Request blocked"]) => {
            Kind::Blocked
        }
        403 if provider => Kind::ProviderRefused,
        403 => Kind::Forbidden,
        404 if any(&["data policy"]) => Kind::DataPolicy,
        404 if any(&["No endpoints", "No allowed providers"]) => Kind::UnknownModel,
        400 if any(&["is not a valid model ID"]) => Kind::UnknownModel,
        400 if said.words().any(|word| word.ends_with("content_policy_violation") || word == "refusal") => {
            Kind::Blocked
        }
        429 if provider => Kind::ProviderBusy,
        429 => Kind::Unidentified,
        408 | 500.. => Kind::ProviderDown,
        _ => Kind::BadRequest,
    }
}

/// What moderation, a guardrail (both `OpenRouter` docs, Errors page) or a provider's regions (seen live) leave
/// in `metadata`.
fn blocked(error: &ErrorSaid) -> bool {
    error.reasons.is_there()
        || error.flagged_input.is_there()
        || error.patterns.is_there()
        || error.raw.text().is_some_and(|raw| raw.contains("unsupported_country_region_territory"))
}
