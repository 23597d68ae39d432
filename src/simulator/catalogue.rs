//! Answers that come from no model: the models, a key, credits, a generation.

use super::books::{Books, Generation, KeyId};
use super::scenario::{Key, Model, Reset};
use super::text::{decimal, fill, number, or_null, quoted};
use crate::clock::Time;

/// `GET /models`: the public list (`OpenRouter` docs, Models page).
pub(super) fn models(models: &[Model]) -> String {
    let models: Vec<String> = models.iter().map(model).collect();
    format!(r#"{{"data":[{}]}}"#, models.join(","))
}

fn model(model: &Model) -> String {
    let output = if model.embedding { "embeddings" } else { "text" };
    fill(
        concat!(
            r#"{"id":$id,"canonical_slug":$id,"hugging_face_id":"","name":$id,"created":1692901234,"#,
            r#""description":"A model of the simulator.","context_length":$context,"#,
            r#""architecture":{"modality":"text->$output","input_modalities":["text"],"#,
            r#""output_modalities":["$output"],"tokenizer":"Other","instruct_type":null},"#,
            r#""pricing":{"prompt":"$price_in","completion":"$price_out","request":"0","image":"0"},"#,
            r#""top_provider":{"context_length":$context,"max_completion_tokens":$most,"#,
            r#""is_moderated":false},"per_request_limits":null,"#,
            r#""supported_parameters":["max_tokens","temperature","top_p","stop"]}"#,
        ),
        &[
            ("id", &quoted(&model.id)),
            ("context", &model.context.to_string()),
            ("most", &model.max_output.to_string()),
            ("output", output),
            ("price_in", &decimal(model.prompt_price)),
            ("price_out", &decimal(model.completion_price)),
        ],
    )
}

/// `GET /models/{author}/{slug}/endpoints`.
pub(super) fn endpoints(model: &Model) -> String {
    fill(
        concat!(
            r#"{"data":{"id":$id,"name":$id,"created":1692901234,"description":"A model of the simulator.","#,
            r#""architecture":{"modality":"text->text","input_modalities":["text"],"#,
            r#""output_modalities":["text"],"tokenizer":"Other","instruct_type":null},"#,
            r#""endpoints":[{"name":$name,"context_length":$context,"#,
            r#""pricing":{"prompt":"$price_in","completion":"$price_out","request":"0","image":"0"},"#,
            r#""provider_name":$provider,"tag":$provider,"quantization":null,"#,
            r#""max_completion_tokens":$most,"max_prompt_tokens":null,"#,
            r#""supported_parameters":["max_tokens","temperature","top_p","stop"],"status":0,"#,
            r#""uptime_last_30m":100}]}}"#,
        ),
        &[
            ("id", &quoted(&model.id)),
            ("name", &quoted(&format!("{} | {}", model.provider, model.id))),
            ("context", &model.context.to_string()),
            ("most", &model.max_output.to_string()),
            ("provider", &quoted(&model.provider)),
            ("price_in", &decimal(model.prompt_price)),
            ("price_out", &decimal(model.completion_price)),
        ],
    )
}

/// `GET /key` (`OpenRouter`'s `OpenAPI` document, `getCurrentKey`).
///
/// The `short` form is that of 2025 (captures in the tests of public clients).
pub(super) fn key(books: &mut Books, id: KeyId, short: bool, now: Time) -> String {
    let [all, day, week, month] = books.spent(id, now);
    let (used, limit) = books.free_today(id, now);
    let (account, key) = (books.account(id), books.key(id));
    let left = key.limit.map(|limit| {
        limit
            - match key.limit_reset {
                None => all,
                Some(Reset::Daily) => day,
                Some(Reset::Weekly) => week,
                Some(Reset::Monthly) => month,
            }
    });
    let reset = key.limit_reset.map(|reset| match reset {
        Reset::Daily => quoted("daily"),
        Reset::Weekly => quoted("weekly"),
        Reset::Monthly => quoted("monthly"),
    });
    let template = if short {
        concat!(
            r#"{"data":{"label":$label,"limit":$limit,"usage":$usage,"limit_remaining":$left,"#,
            r#""is_free_tier":$unpaid,"rate_limit":{"requests":10,"interval":"10s"}}}"#,
        )
    } else {
        concat!(
            r#"{"data":{"label":$label,"limit":$limit,"limit_reset":$reset,"limit_remaining":$left,"#,
            r#""include_byok_in_limit":false,"usage":$usage,"usage_daily":$daily,"usage_weekly":$weekly,"#,
            r#""usage_monthly":$monthly,"byok_usage":0,"byok_usage_daily":0,"byok_usage_weekly":0,"#,
            r#""byok_usage_monthly":0,"is_free_tier":$unpaid,"is_management_key":$management,"#,
            r#""is_provisioning_key":$management,"#,
            r#""free_model_daily_requests":{"used":$free_used,"limit":$free_limit,"remaining":$free_left},"#,
            r#""creator_user_id":$user,"organization_id":$organization,"workspace_id":null,"#,
            r#""budgets":[],"effective_budget":null,"allowed_data_regions":["global"],"#,
            r#""expires_at":$expires,"rate_limit":{"requests":-1,"interval":"10s","#,
            r#""note":"This field is deprecated and safe to ignore."}}}"#,
        )
    };
    fill(
        template,
        &[
            ("label", &quoted(&label(key))),
            ("limit", &or_null(key.limit.map(number))),
            ("reset", &or_null(reset)),
            ("left", &or_null(left.map(|left| number(left.max(0))))),
            ("usage", &number(all)),
            ("daily", &number(day)),
            ("weekly", &number(week)),
            ("monthly", &number(month)),
            ("unpaid", &(account.credits <= 0).to_string()),
            ("management", &key.management.to_string()),
            ("free_used", &used.to_string()),
            ("free_limit", &limit.to_string()),
            ("free_left", &limit.saturating_sub(used).to_string()),
            ("user", &quoted(&account.id)),
            ("organization", &or_null(account.organization.as_deref().map(quoted))),
            ("expires", &or_null(key.expires.map(|end| quoted(&iso(end))))),
        ],
    )
}

/// A key as it may be shown: `sk-or-v1-abc...890`.
fn label(key: &Key) -> String {
    let end = key.secret.len().saturating_sub(3);
    format!("{}...{}", key.secret.get(..12).unwrap_or_default(), key.secret.get(end..).unwrap_or_default())
}

/// `GET /credits`.
pub(super) fn credits(books: &Books, id: KeyId) -> String {
    let (bought, used) = books.credits(id);
    format!(r#"{{"data":{{"total_credits":{},"total_usage":{}}}}}"#, number(bought), number(used))
}

/// `GET /generation?id=…`.
pub(super) fn generation(generation: &Generation) -> String {
    let lasted = generation.ended.map_or(0, |ended| ended.since(generation.created).as_millis());
    fill(
        concat!(
            r#"{"data":{"id":$id,"upstream_id":null,"total_cost":$cost,"cache_discount":null,"#,
            r#""upstream_inference_cost":0,"provider_name":$provider,"model":$model,"app_id":null,"#,
            r#""created_at":$created,"streamed":$streamed,"cancelled":$cancelled,"latency":$lasted,"#,
            r#""moderation_latency":null,"generation_time":$lasted,"finish_reason":$finish,"#,
            r#""native_finish_reason":$finish,"tokens_prompt":$in,"tokens_completion":$out,"#,
            r#""native_tokens_prompt":$in,"native_tokens_completion":$out,"native_tokens_reasoning":0,"#,
            r#""native_tokens_cached":$cached,"num_search_results":null,"origin":"","http_referer":null,"#,
            r#""usage":$cost,"is_byok":false,"api_type":"completions"}}"#,
        ),
        &[
            ("id", &quoted(&generation.id)),
            ("cost", &number(generation.cost)),
            ("provider", &quoted(&generation.model.provider)),
            ("model", &quoted(&generation.model.id)),
            ("created", &quoted(&iso(generation.created))),
            ("streamed", &generation.streamed.to_string()),
            ("cancelled", &generation.cancelled.to_string()),
            ("lasted", &lasted.to_string()),
            ("finish", &quoted(generation.finish)),
            ("in", &generation.prompt_tokens.to_string()),
            ("cached", &generation.cached_tokens.to_string()),
            ("out", &generation.completion_tokens.to_string()),
        ],
    )
}

pub(super) fn iso(at: Time) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}
