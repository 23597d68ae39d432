//! What hermux answers for the whole pool where one key's answer would tell of its account alone: `/key`, `/credits`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use serde_json::json;
use tokio::time::timeout;

use super::Shared;
use super::headers::{Marks, for_caller, for_upstream, redact};
use super::refusal::Refusal;
use super::tap::ProxyBody;
use crate::access::allowance::Allowance;
use crate::clock::Time;
use crate::keys::need::{Bind, Class, Need, Runs, Tried};
use crate::keys::pool::Lease;
use crate::keys::state::{KeyState, PoolState};
use crate::ledger::{OpenEntry, Opening, Outcome, Previous};
use crate::openrouter::account::Credits;
use crate::upstream::{Answer, Connection, Head, Outgoing, SendError, Upstream};

/// How many accounts are asked for their credits.
const MOST_ASKED: u32 = 16;

/// How long each of them may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer about credits, bytes; the real ones have a few dozen.
const MOST_READ: usize = 64 << 10;

/// The answer of `GET /key` for the pool, in `OpenRouter`'s form (API reference, "Get current API key").
///
/// What belongs to an account is counted once for all its keys; what is unlimited or not known is null. Keys that
/// serve nothing until a person does something don't count. The four amounts of `usage` are all that of today, the
/// only day whose spending is at hand; `limit` is what is left of the keys' caps with what was spent today.
///
/// To a caller with an `allowance` it tells of its own keys alone, and of its own use where that is bounded: then `limit` is
/// its `daily_cost`, `usage` what it spent, the free requests of a day are its `daily_requests`, and no more is left or lasts
/// longer than it may use.
pub(super) fn key_answer(pool: &PoolState, allowance: Option<&Allowance>, now: Time) -> Response<ProxyBody> {
    let terms = allowance.map(|allowance| &allowance.terms);
    let names = terms.and_then(|terms| terms.keys.as_deref());
    let its: Vec<&KeyState> = pool
        .keys
        .iter()
        .filter(|key| names.is_none_or(|names| names.iter().any(|name| **name == *key.name)))
        .collect();
    let live: Vec<&KeyState> = its.iter().copied().filter(|key| !waits_for_a_person(key)).collect();
    let mut free = BTreeMap::new();
    for key in &live {
        // A key whose account is not known counts as one of its own.
        let account = key.account.as_ref().map_or((false, &key.name), |account| (true, account));
        let (left, limit) = free.entry(account).or_insert((None, None));
        *left = left.or(key.free_day_left);
        *limit = limit.or(key.free_day_limit);
    }
    let all_of = |amounts: Vec<Option<u64>>| {
        let amounts = amounts.into_iter().collect::<Option<Vec<_>>>().filter(|amounts| !amounts.is_empty());
        amounts.map(|amounts| amounts.into_iter().fold(0, u64::saturating_add))
    };
    let free_limit = all_of(free.values().map(|(_, limit)| *limit).collect());
    let free_left = all_of(free.values().map(|(left, _)| *left).collect());
    let spent = sum(live.iter().map(|key| key.cost_today));
    let cap_left = live.iter().map(|key| key.cap_left.map(|left| left.max(0))).collect::<Option<Vec<_>>>();
    let cap_left = cap_left.filter(|left| !left.is_empty()).map(|left| sum(left.into_iter()));
    let limit = cap_left.map(|left| left.saturating_add(spent));
    let used = allowance.and_then(|allowance| allowance.used(now)).unwrap_or_default();
    let (limit, cap_left, spent, reset) = match terms.and_then(|terms| terms.daily_cost) {
        Some(most) => {
            let left = most.saturating_sub(used.cost).max(0);
            (Some(most), Some(cap_left.map_or(left, |cap| cap.min(left))), used.cost, Some("daily"))
        }
        None => (limit, cap_left, spent, None),
    };
    let free_used = free_limit.zip(free_left).map(|(limit, left)| limit.saturating_sub(left));
    let (free_limit, free_left, free_used) = match terms.and_then(|terms| terms.daily_requests) {
        Some(most) => {
            let left = most.saturating_sub(used.requests);
            (Some(most), Some(free_left.map_or(left, |free| free.min(left))), Some(used.requests))
        }
        None => (free_limit, free_left, free_used),
    };
    let usage = usd(spent);
    let expires = live.iter().map(|key| key.expires_ms).collect::<Option<Vec<_>>>();
    let expires = expires.and_then(|ends| ends.into_iter().max());
    let own_end = terms.and_then(|terms| terms.expires).map(|end| end.0);
    let expires = expires.into_iter().chain(own_end).min();
    let count = its.len();
    let body = json!({"data": {
        "label": format!("hermux ({count} key{})", if count == 1 { "" } else { "s" }),
        "limit": limit.map(usd),
        "limit_remaining": cap_left.map(usd),
        "limit_reset": reset,
        "include_byok_in_limit": false,
        "usage": usage, "usage_daily": usage, "usage_weekly": usage, "usage_monthly": usage,
        "byok_usage": 0, "byok_usage_daily": 0, "byok_usage_weekly": 0, "byok_usage_monthly": 0,
        "is_free_tier": !live.is_empty() && live.iter().all(|key| key.free_tier == Some(true)),
        "is_management_key": false,
        "is_provisioning_key": false,
        "free_model_daily_requests": {
            "used": free_used,
            "limit": free_limit,
            "remaining": free_left,
        },
        "creator_user_id": null, "organization_id": null, "workspace_id": null,
        "budgets": [], "effective_budget": null, "allowed_data_regions": [],
        "expires_at": expires.and_then(|end| jiff::Timestamp::from_millisecond(end).ok()).map(|end| end.to_string()),
        "rate_limit": {
            "requests": -1,
            "interval": "10s",
            "note": "This field is deprecated and safe to ignore.",
        },
    }});
    json_answer(StatusCode::OK, body.to_string().into())
}

fn waits_for_a_person(key: &KeyState) -> bool {
    key.rests.iter().any(|rest| rest.what == "all" && rest.until_ms.is_none())
}

fn sum(amounts: impl Iterator<Item = i64>) -> i64 {
    amounts.fold(0, i64::saturating_add)
}

/// Nano-dollars as USD.
#[expect(clippy::cast_precision_loss, reason = "exact up to nine million dollars, and near enough beyond")]
fn usd(nano: i64) -> f64 {
    nano as f64 / 1e9
}

fn json_answer(status: StatusCode, body: Bytes) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answers of the accounts about their credits, as they come.
#[derive(Debug, Default)]
struct Gathered {
    sum: Option<Credits>,
    /// The first refusal, else the first other answer that told no credits.
    other: Option<Response<ProxyBody>>,
}

impl Gathered {
    fn add(
        &mut self,
        (lease, number): (&Lease, u32),
        status: StatusCode,
        mut headers: HeaderMap,
        body: &[u8],
    ) {
        if status == StatusCode::OK
            && let Some(credits) = Credits::parse(body)
        {
            let sum = self.sum.get_or_insert(Credits { total: 0, used: 0 });
            sum.total = sum.total.saturating_add(credits.total);
            sum.used = sum.used.saturating_add(credits.used);
            return;
        }
        // Of the key, which the caller must not take for its own.
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::PAYMENT_REQUIRED {
            return;
        }
        let has_refusal = self.other.as_ref().is_some_and(|other| other.status() == StatusCode::FORBIDDEN);
        if has_refusal || (self.other.is_some() && status != StatusCode::FORBIDDEN) {
            return;
        }
        for_caller(&mut headers, lease.key(), number);
        let mut body = body.to_vec();
        redact(&mut body, lease.key().expose().as_bytes());
        headers.remove(http::header::CONTENT_LENGTH);
        let mut response = Response::new(ProxyBody::from(Bytes::from(body)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.other = Some(response);
    }

    /// The sum where any account told its credits, else what the first of them said instead.
    fn answer(self) -> Option<Response<ProxyBody>> {
        let Some(Credits { total, used }) = self.sum else { return self.other };
        let body = json!({"data": {"total_credits": usd(total), "total_usage": usd(used)}});
        Some(json_answer(StatusCode::OK, body.to_string().into()))
    }
}

/// What `GET /credits` says to a caller with a budget of its own: that budget, and what it spent of it today.
pub(super) fn budget_answer(most: i64, allowance: &Allowance, now: Time) -> Response<ProxyBody> {
    let spent = allowance.used(now).unwrap_or_default().cost;
    let body = json!({"data": {"total_credits": usd(most), "total_usage": usd(spent)}});
    json_answer(StatusCode::OK, body.to_string().into())
}

/// Answers `GET /credits` with the sum over at most 16 accounts, each asked with one of its keys; where none tells,
/// with what the first of them said, which for keys that manage nothing is a 403 (`OpenRouter` API reference, "Get
/// remaining credits").
pub(super) async fn credits(
    shared: &Shared,
    upstream: &Upstream,
    asked: &Asked<'_>,
) -> Result<Response<ProxyBody>, Refusal> {
    let mut gathered = Gathered::default();
    let mut failure = if shared.keys.is_empty() {
        Refusal::Exhausted { after: None, why: Vec::new() }
    } else {
        Refusal::ManagementOnly
    };
    let mut tried = Tried::default();
    let mut names = HashSet::new();
    let request = shared.ledger.next_request();
    let mut previous: Option<Previous> = None;
    for number in 1..=MOST_ASKED {
        let (model, runs, class) = ("", Runs::Nothing, Class::Other);
        let need = Need { model, runs, class, bind: Bind::Free, keys: asked.keys, tried: &tried };
        let Ok(lease) = shared.keys.lease(&need, shared.clock.now()) else { break };
        // A key that was asked is not asked again, whatever the pool knows of accounts.
        if !names.insert(lease.key().name().clone()) {
            break;
        }
        let at = shared.clock.now();
        let mut entry = shared.ledger.entry(Opening {
            request,
            number,
            at,
            inference: false,
            waited: Duration::ZERO,
            previous: previous.take(),
            caller: Arc::clone(&asked.caller),
            key: lease.key().name().shared(),
            model: Arc::from(""),
            path: Arc::from("/credits"),
        });
        let answered = timeout(PATIENCE, ask(upstream, asked, &lease, &mut entry)).await;
        let status = entry.report.status;
        previous = Some(Previous { key: lease.key().name().shared(), at, status });
        let went_well = matches!(&answered, Ok(Ok((status, ..))) if status.as_u16() < 400);
        entry.finish(if went_well { Outcome::Complete } else { Outcome::Failed });
        tried.account(&lease);
        match answered {
            Ok(Ok((status, headers, body))) => gathered.add((&lease, number), status, headers, &body),
            Ok(Err(refusal)) => failure = refusal,
            Err(_) => failure = too_late(),
        }
    }
    gathered.answer().ok_or(failure)
}

/// A request for credits as the caller made it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) caller: Arc<str>,
    pub(super) access_token: &'a [u8],
    pub(super) headers: &'a HeaderMap,
    /// The names of the keys that it may use; none for any.
    pub(super) keys: Option<&'a Arc<[Box<str>]>>,
    /// Path and query on upstream.
    pub(super) target: &'a str,
}

async fn ask(
    upstream: &Upstream,
    asked: &Asked<'_>,
    lease: &Lease,
    entry: &mut OpenEntry,
) -> Result<(StatusCode, HeaderMap, Bytes), Refusal> {
    let names_others = Marks::of(asked.headers).names_others;
    let headers = || for_upstream(asked.headers, names_others, asked.access_token, lease.key(), true);
    let send = |connection| {
        let head = Head { method: &Method::GET, target: asked.target, headers: headers() };
        upstream.send(head, Outgoing::<Empty<Bytes>>::Empty, connection)
    };
    let answer = match send(Connection::Any).await {
        Err(SendError::Stale) => send(Connection::Fresh).await,
        answer => answer,
    };
    let Answer { status, mut headers, mut body } = answer.map_err(|error| Refusal::from(&error))?;
    entry.report.status = Some(status.as_u16());
    let mut read = BytesMut::new();
    // What is too long or breaks off is no answer about credits.
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        entry.report.bytes += data.len() as u64;
        if read.len() + data.len() > MOST_READ {
            read.clear();
            break;
        }
        read.extend_from_slice(&data);
    }
    if headers.remove(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        read.clear();
    }
    Ok((status, headers, read.freeze()))
}

fn too_late() -> Refusal {
    Refusal::Upstream { timeout: true, message: "upstream did not answer in time".to_owned() }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::{Gathered, key_answer};
    use crate::access::allowance::Allowance;
    use crate::clock::Time;
    use crate::keys::need::{Bind, Class, Need, Runs, Tried};
    use crate::keys::pool::{KeyPool, Lease};
    use crate::keys::state::{KeyState, PoolState, RestState};
    use crate::keys::{Key, KeyName};
    use crate::proxy::tap::ProxyBody;
    use crate::secret::Secret;

    fn read(response: http::Response<ProxyBody>) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8(body.to_vec()).unwrap()))
    }

    fn answer(keys: Vec<KeyState>) -> Value {
        read(key_answer(&PoolState { keys }, None, Time(0)))["data"].take()
    }

    fn key(name: &str, account: Option<&str>) -> KeyState {
        KeyState { name: name.to_owned(), account: account.map(str::to_owned), ..KeyState::default() }
    }

    #[test]
    fn what_an_account_has_is_counted_once_and_what_a_key_has_for_each() {
        let with = |name: &str, account: Option<&str>, free: u64, cap: i64| KeyState {
            free_day_left: Some(free),
            free_day_limit: Some(50),
            cap_left: Some(cap),
            cost_today: 100_000_000,
            free_tier: Some(true),
            ..key(name, account)
        };
        let data = answer(vec![
            with("a", Some("one"), 38, 1_500_000_000),
            with("b", Some("one"), 38, 250_000_000),
            with("c", Some("two"), 4, 0),
            with("d", None, 50, -5),
            with("e", None, 50, 0),
        ]);
        assert_eq!(data["label"], "hermux (5 keys)");
        let free = json!({"used": 12 + 46, "limit": 4 * 50, "remaining": 38 + 4 + 50 + 50});
        assert_eq!(data["free_model_daily_requests"], free);
        assert_eq!(data["limit_remaining"], json!(1.75));
        assert_eq!(data["usage"], json!(0.5));
        assert_eq!(data["limit"], json!(2.25));
        assert_eq!(data["is_free_tier"], true);
    }

    #[test]
    fn what_is_unlimited_or_not_known_is_null() {
        let data = answer(vec![KeyState { cap_left: Some(1), ..key("a", None) }, key("b", None)]);
        for field in ["limit", "limit_remaining", "expires_at", "creator_user_id", "organization_id"] {
            assert_eq!(data[field], Value::Null, "{field}");
        }
        assert_eq!(
            data["free_model_daily_requests"],
            json!({"used": null, "limit": null, "remaining": null})
        );
        assert_eq!(data["is_free_tier"], false);
        assert_eq!(answer(Vec::new())["limit_remaining"], Value::Null);
    }

    #[test]
    fn a_key_that_needs_a_person_adds_nothing() {
        let refused = RestState { what: "all".to_owned(), why: "refused".to_owned(), until_ms: None };
        let data = answer(vec![
            KeyState { cap_left: Some(1_000_000_000), free_day_left: Some(3), ..key("a", None) },
            KeyState { rests: vec![refused], free_day_left: Some(50), ..key("b", None) },
        ]);
        assert_eq!(data["limit_remaining"], json!(1.0));
        assert_eq!(data["free_model_daily_requests"]["remaining"], 3);
        assert_eq!(data["label"], "hermux (2 keys)");
    }

    #[test]
    fn a_bounded_caller_is_told_of_its_own_keys_and_of_what_it_may_still_use() {
        let terms =
            [("keys", "a,c"), ("daily_cost", "0.5"), ("daily_requests", "7"), ("expires", "2026-12-31")];
        let allowance = |given: &[(&str, &str)]| {
            let mut line = String::from("token-of-ann-1234567 name=ann");
            for (name, value) in given {
                line.extend([" ", name, "=", value]);
            }
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("allow.txt"), line).unwrap();
            let access = crate::access::file::load(&folder.path().join("allow.txt")).unwrap().access;
            let mut headers = HeaderMap::new();
            headers.insert("x-api-key", "token-of-ann-1234567".parse().unwrap());
            access.check(&headers).unwrap().caller.allowance.clone().unwrap()
        };
        let with = |name: &str, cap: Option<i64>, free: u64| KeyState {
            free_day_left: Some(free),
            cap_left: cap,
            cost_today: 100_000_000,
            ..key(name, None)
        };
        let pool =
            || PoolState { keys: vec![with("a", Some(1), 5), with("b", None, 50), with("c", Some(2), 9)] };
        let answer =
            |allowance: &Allowance| read(key_answer(&pool(), Some(allowance), Time(0)))["data"].take();

        let of_keys = answer(&allowance(&terms[..1]));
        assert_eq!(of_keys["label"], "hermux (2 keys)");
        assert_eq!(of_keys["free_model_daily_requests"]["remaining"], 14);
        assert_eq!(of_keys["limit_remaining"], json!(3e-9));
        assert_eq!((&of_keys["usage"], &of_keys["limit_reset"]), (&json!(0.2), &Value::Null));

        let bounded = allowance(&terms[1..]);
        bounded.take(Time(0)).unwrap();
        bounded.spend(200_000_000, Time(0));
        let bounded = answer(&bounded);
        assert_eq!((&bounded["limit"], &bounded["limit_remaining"]), (&json!(0.5), &json!(0.3)));
        assert_eq!((&bounded["usage"], &bounded["limit_reset"]), (&json!(0.2), &json!("daily")));
        assert_eq!(bounded["free_model_daily_requests"], json!({"used": 1, "limit": 7, "remaining": 6}));
        assert_eq!(bounded["expires_at"], "2027-01-01T00:00:00Z");
    }

    #[test]
    fn no_name_and_no_account_is_told() {
        let text = json!(answer(vec![key("secret-name", Some("account-7"))])).to_string();
        assert!(!text.contains("secret-name") && !text.contains("account-7"), "{text}");
    }

    #[test]
    fn the_pool_ends_with_its_last_key() {
        let ends = |at| KeyState { expires_ms: Some(at), ..key("a", None) };
        assert_eq!(answer(vec![ends(1_000), ends(0)])["expires_at"], "1970-01-01T00:00:01Z");
    }

    fn lease() -> Lease {
        let key = Key::new(KeyName::parse("ann").unwrap(), &Secret::new("sk-or-v1-secret".to_owned()));
        let pool = KeyPool::new(vec![key], &std::collections::HashMap::new(), Time(0).day());
        let tried = Tried::default();
        let (model, runs, class) = ("", Runs::Nothing, Class::Other);
        let need = Need { model, runs, class, bind: Bind::Free, keys: None, tried: &tried };
        pool.lease(&need, Time(0)).unwrap()
    }

    fn gather(answers: &[(u16, &str)]) -> Option<(u16, Value)> {
        let mut gathered = Gathered::default();
        for (status, body) in answers {
            let status = StatusCode::from_u16(*status).unwrap();
            gathered.add((&lease(), 1), status, HeaderMap::new(), body.as_bytes());
        }
        gathered.answer().map(|response| (response.status().as_u16(), read(response)))
    }

    #[test]
    fn credits_are_summed_over_those_who_tell() {
        let told = |total: &str, used: &str| {
            format!(r#"{{"data":{{"total_credits":{total},"total_usage":{used}}}}}"#)
        };
        let (one, two) = (told("100.5", "25.75"), told("0.1", "0.2"));
        assert_eq!(
            gather(&[(403, "no"), (200, &one), (500, ""), (200, &two)]),
            Some((200, json!({"data": {"total_credits": 100.6, "total_usage": 25.95}})))
        );
    }

    #[test]
    fn where_nobody_tells_the_first_refusal_is_passed_on_without_the_key() {
        let refusal = |text: &str| Value::String(text.to_owned());
        assert_eq!(
            gather(&[(500, "x"), (403, "first sk-or-v1-secret"), (403, "second")]),
            Some((403, refusal("first ***************")))
        );
        assert_eq!(gather(&[(401, "y"), (502, "x"), (402, "z")]), Some((502, refusal("x"))));
        assert_eq!(gather(&[(401, "y"), (402, "z")]), None, "of the key, not of the caller");
        assert_eq!(gather(&[(200, "{}")]), Some((200, json!({}))));
        assert_eq!(gather(&[]), None);
    }
}
