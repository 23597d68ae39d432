//! Reads what `GET /key` and `GET /credits` tell about a key and its account.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::clock::Time;

use super::money::nano_dollars;

/// What `GET /key` tells about the key that asked (`OpenRouter` API reference, "Get current API key").
///
/// Answers of 2025 hold a handful of these fields, and any of them may be absent, null or odd: then it is
/// none, and the others stay. Amounts are nano-dollars (1e-9 USD), exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key's masked label, such as `sk-or-v1-au7...890`.
    pub label: Option<String>,
    /// The key's spending cap; none where it has none.
    pub limit: Option<i64>,
    /// What is left of [`limit`](Self::limit) until it resets; may be below zero.
    pub limit_remaining: Option<i64>,
    /// How often [`limit`](Self::limit) resets; none where it never does.
    pub limit_reset: Option<Period>,
    /// Whether what the account's own provider keys spend counts against [`limit`](Self::limit).
    pub include_byok_in_limit: Option<bool>,
    /// Spent by this key in all.
    pub usage: Option<i64>,
    /// Spent in the current UTC day.
    pub usage_daily: Option<i64>,
    /// Spent in the current UTC week, which begins on Monday.
    pub usage_weekly: Option<i64>,
    /// Spent in the current UTC month.
    pub usage_monthly: Option<i64>,
    /// Whether the account never bought credits.
    pub is_free_tier: Option<bool>,
    /// Whether the key manages keys and so serves no inference; once called a provisioning key.
    pub is_management_key: Option<bool>,
    /// The account's requests to free models today; they reset at 00:00 UTC.
    pub free_model_daily_requests: Option<FreeRequests>,
    /// Who made the key.
    pub creator_user_id: Option<String>,
    /// The organization that owns the key, where one does.
    pub organization_id: Option<String>,
    /// The workspace the key lives in.
    pub workspace_id: Option<String>,
    /// When the key ends.
    pub expires_at: Option<Time>,
}

impl KeyInfo {
    /// Reads the body of a `GET /key` answer; none where it holds no object `data`.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let fields = Fields::data(body)?;
        Some(Self {
            label: fields.text("label"),
            limit: fields.amount("limit"),
            limit_remaining: fields.amount("limit_remaining"),
            limit_reset: fields.text("limit_reset").as_deref().and_then(Period::named),
            include_byok_in_limit: fields.flag("include_byok_in_limit"),
            usage: fields.amount("usage"),
            usage_daily: fields.amount("usage_daily"),
            usage_weekly: fields.amount("usage_weekly"),
            usage_monthly: fields.amount("usage_monthly"),
            is_free_tier: fields.flag("is_free_tier"),
            is_management_key: fields.flag("is_management_key").or(fields.flag("is_provisioning_key")),
            free_model_daily_requests: fields.object("free_model_daily_requests").map(|fields| {
                FreeRequests {
                    used: fields.count("used"),
                    limit: fields.count("limit"),
                    remaining: fields.count("remaining"),
                }
            }),
            creator_user_id: fields.text("creator_user_id"),
            organization_id: fields.text("organization_id"),
            workspace_id: fields.text("workspace_id"),
            expires_at: fields.time("expires_at"),
        })
    }

    /// What the keys of one account have in common: its organization, else the user who made them.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        self.organization_id.as_deref().or(self.creator_user_id.as_deref())
    }
}

/// An account's requests to its free models in the current UTC day. Requests that were refused count too, so
/// `used` may exceed `limit` (seen live).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeRequests {
    /// How many there were.
    pub used: Option<u64>,
    /// How many there may be.
    pub limit: Option<u64>,
    /// How many are left; zero also where the answer counts below it.
    pub remaining: Option<u64>,
}

/// What `GET /credits` tells about an account (`OpenRouter` API reference, "Get remaining credits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credits {
    /// Credits bought in all, nano-dollars.
    pub total: i64,
    /// Credits used in all, nano-dollars.
    pub used: i64,
}

impl Credits {
    /// Reads the body of a `GET /credits` answer; none where one of its two amounts is missing.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let fields = Fields::data(body)?;
        Some(Self { total: fields.amount("total_credits")?, used: fields.amount("total_usage")? })
    }

    /// What is left, nano-dollars; below zero where the account owes.
    #[must_use]
    pub fn balance(self) -> i64 {
        self.total.saturating_sub(self.used)
    }
}

/// How often a key's cap resets; all in UTC (`OpenRouter` docs, Limits page).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// At midnight.
    Daily,
    /// At the midnight that begins a Monday.
    Weekly,
    /// At the midnight that begins a month.
    Monthly,
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

impl Period {
    /// The period that `limit_reset` names.
    fn named(name: &str) -> Option<Self> {
        let all = [Self::Daily, Self::Weekly, Self::Monthly];
        all.into_iter().find(|period| name.eq_ignore_ascii_case(period.name()))
    }

    /// As `limit_reset` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// When the period that `now` lies in began; never after `now`.
    #[must_use]
    pub fn start(self, now: Time) -> Time {
        match self {
            Self::Daily => Time(self.end(now).0.saturating_sub(DAY_MS)),
            Self::Weekly => Time(self.end(now).0.saturating_sub(7 * DAY_MS)),
            Self::Monthly => this_month(now).unwrap_or(Time(now.0.saturating_sub(31 * DAY_MS))),
        }
    }

    /// When the period that `now` lies in ends; always after `now`.
    #[must_use]
    pub fn end(self, now: Time) -> Time {
        match self {
            Self::Daily => next_multiple(now, DAY_MS, 0),
            // 1970 began on a Thursday.
            Self::Weekly => next_multiple(now, 7 * DAY_MS, -3 * DAY_MS),
            // Outside the calendar's years no month is known, and none will be asked for.
            Self::Monthly => next_month(now).unwrap_or(Time(now.0.saturating_add(31 * DAY_MS))),
        }
    }
}

/// When the minute that `now` lies in ends.
pub(super) fn end_of_minute(now: Time) -> Time {
    next_multiple(now, MINUTE_MS, 0)
}

/// The first moment after `now` that lies a whole number of `every` after `from`, all milliseconds.
fn next_multiple(now: Time, every: i64, from: i64) -> Time {
    Time(now.0.saturating_add(every - now.0.saturating_sub(from).rem_euclid(every)))
}

fn this_month(now: Time) -> Option<Time> {
    let today = jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned(TimeZone::UTC).date();
    let first = today.first_of_month().to_zoned(TimeZone::UTC).ok()?;
    Some(Time(first.timestamp().as_millisecond()))
}

fn next_month(now: Time) -> Option<Time> {
    let today = jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned(TimeZone::UTC).date();
    let first = today.last_of_month().tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Time(first.timestamp().as_millisecond()))
}

/// The fields of one object, each read on its own, so that an odd one spoils no other.
pub(super) struct Fields<'a>(HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The object `data`, which every one of these answers is wrapped in.
    pub(super) fn data(body: &'a [u8]) -> Option<Self> {
        Self(serde_json::from_slice(body).ok()?).object("data")
    }

    fn object(&self, name: &str) -> Option<Fields<'a>> {
        let raw: &'a RawValue = self.0.get(name)?;
        serde_json::from_str(raw.get()).ok().map(Fields)
    }

    /// A text that says something.
    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.0.get(name)?.get()).ok().filter(|text: &String| !text.trim().is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    pub(super) fn amount(&self, name: &str) -> Option<i64> {
        nano_dollars(self.0.get(name)?.get())
    }

    pub(super) fn count(&self, name: &str) -> Option<u64> {
        let count: i64 = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        Some(u64::try_from(count).unwrap_or(0))
    }

    fn time(&self, name: &str) -> Option<Time> {
        self.text(name)?.parse().ok().map(|at: jiff::Timestamp| Time(at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Credits, FreeRequests, KeyInfo, Period, end_of_minute};
    use crate::clock::Time;

    /// An answer of `GET /key` with every field.
    const NOW: &str = r#"{"data":{"label":"sk-or-v1-au7...890","limit":100,"limit_remaining":74.5,"limit_reset":"monthly",
        "include_byok_in_limit":false,"usage":25.5,"usage_daily":0.1,"usage_weekly":1.14e-4,"usage_monthly":25.5,
        "byok_usage":17.38,"byok_usage_daily":17.38,"byok_usage_weekly":17.38,"byok_usage_monthly":17.38,
        "is_free_tier":false,"is_management_key":false,"is_provisioning_key":false,
        "free_model_daily_requests":{"used":12,"limit":50,"remaining":38},
        "creator_user_id":"user_2dHFtVWx2n56w6HkM0000000000","organization_id":"org_1","workspace_id":"ws_1",
        "budgets":[{"scope":"workspace","limit_usd":5}],"effective_budget":null,"allowed_data_regions":[],
        "expires_at":"2027-12-31T23:59:59Z",
        "rate_limit":{"requests":-1,"interval":"10s","note":"This field is deprecated and safe to ignore."}}}"#;
    /// What it said in 2025.
    const OLD: &str = r#"{"data":{"label":"sk-or-v1-0fa...240","limit":null,"usage":0.65017511,"limit_remaining":null,
        "is_free_tier":false,"rate_limit":{"requests":40,"interval":"10s"}}}"#;

    fn time(text: &str) -> Time {
        Time(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    #[test]
    fn every_field_of_an_answer_is_read() {
        let info = KeyInfo::parse(NOW.as_bytes()).expect("an answer");
        assert_eq!(
            info,
            KeyInfo {
                label: Some("sk-or-v1-au7...890".to_owned()),
                limit: Some(100_000_000_000),
                limit_remaining: Some(74_500_000_000),
                limit_reset: Some(Period::Monthly),
                include_byok_in_limit: Some(false),
                usage: Some(25_500_000_000),
                usage_daily: Some(100_000_000),
                usage_weekly: Some(114_000),
                usage_monthly: Some(25_500_000_000),
                is_free_tier: Some(false),
                is_management_key: Some(false),
                free_model_daily_requests: Some(FreeRequests {
                    used: Some(12),
                    limit: Some(50),
                    remaining: Some(38)
                }),
                creator_user_id: Some("user_2dHFtVWx2n56w6HkM0000000000".to_owned()),
                organization_id: Some("org_1".to_owned()),
                workspace_id: Some("ws_1".to_owned()),
                expires_at: Some(time("2027-12-31T23:59:59Z")),
            }
        );
    }

    #[test]
    fn an_answer_of_2025_is_read() {
        assert_eq!(
            KeyInfo::parse(OLD.as_bytes()).expect("an answer"),
            KeyInfo {
                label: Some("sk-or-v1-0fa...240".to_owned()),
                usage: Some(650_175_110),
                is_free_tier: Some(false),
                ..KeyInfo::default()
            }
        );
    }

    #[test]
    fn an_odd_field_spoils_no_other() {
        let body = r#"{"data":{"label":7,"limit":"many","limit_remaining":-0.25,"limit_reset":"yearly","usage":[1],
            "is_free_tier":"no","is_provisioning_key":true,"is_management_key":null,
            "free_model_daily_requests":{"used":1060,"limit":null,"remaining":-60,"more":{}},
            "creator_user_id":"","organization_id":{},"expires_at":"never","usage_daily":"0.5"}}"#;
        assert_eq!(
            KeyInfo::parse(body.as_bytes()).expect("an answer"),
            KeyInfo {
                limit_remaining: Some(-250_000_000),
                usage_daily: Some(500_000_000),
                is_management_key: Some(true),
                free_model_daily_requests: Some(FreeRequests {
                    used: Some(1_060),
                    limit: None,
                    remaining: Some(0)
                }),
                ..KeyInfo::default()
            }
        );
    }

    #[test]
    fn what_is_no_answer_tells_nothing() {
        for body in
            ["", "null", "[]", "{}", r#"{"data":null}"#, r#"{"data":[]}"#, r#"{"data":{"label":"#, "<html>"]
        {
            assert_eq!(KeyInfo::parse(body.as_bytes()), None, "{body}");
            assert_eq!(Credits::parse(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn an_organizations_keys_are_one_account_and_else_a_users() {
        let of = |organization: Option<&str>, user: Option<&str>| {
            let info = KeyInfo {
                organization_id: organization.map(str::to_owned),
                creator_user_id: user.map(str::to_owned),
                ..KeyInfo::default()
            };
            info.account_id().map(str::to_owned)
        };
        assert_eq!(of(Some("org_1"), Some("user_1")).as_deref(), Some("org_1"));
        assert_eq!(of(None, Some("user_1")).as_deref(), Some("user_1"));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn credits_are_exact() {
        let credits =
            Credits::parse(br#"{"data":{"total_credits":100.5,"total_usage":25.75}}"#).expect("credits");
        assert_eq!(credits, Credits { total: 100_500_000_000, used: 25_750_000_000 });
        assert_eq!(credits.balance(), 74_750_000_000);
        let owing = Credits::parse(br#"{"data":{"total_usage":0.3,"total_credits":0}}"#).expect("credits");
        assert_eq!(owing.balance(), -300_000_000);
        assert_eq!(Credits::parse(br#"{"data":{"total_credits":1}}"#), None);
    }

    #[test]
    fn periods_end_at_utc_midnights() {
        for (period, now, end) in [
            (Period::Daily, "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Period::Daily, "2026-11-22T23:59:59.999Z", "2026-11-23T00:00:00Z"),
            // A Sunday, and the Monday after it.
            (Period::Weekly, "2026-11-22T12:00:00Z", "2026-11-23T00:00:00Z"),
            (Period::Weekly, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Period::Weekly, "1969-12-28T23:00:00Z", "1969-12-29T00:00:00Z"),
            (Period::Monthly, "2026-11-22T12:00:00Z", "2026-12-01T00:00:00Z"),
            (Period::Monthly, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            (Period::Monthly, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ] {
            assert_eq!(period.end(time(now)), time(end), "{period:?} {now}");
        }
        assert_eq!(end_of_minute(time("2026-11-22T12:00:00Z")), time("2026-11-22T12:01:00Z"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(body in prop::collection::vec(any::<u8>(), 0..200), now: i64) {
            let _ = (KeyInfo::parse(&body), Credits::parse(&body));
            for period in [Period::Daily, Period::Weekly, Period::Monthly] {
                prop_assert!(period.end(Time(now)) > Time(now) || now > i64::MAX - 40 * super::DAY_MS);
            }
        }

        #[test]
        fn a_field_of_any_json_spoils_no_other(
            name in prop::sample::select(&["limit", "limit_reset", "usage", "is_free_tier", "expires_at",
                "free_model_daily_requests", "organization_id", "unknown"][..]),
            odd in prop::sample::select(&["null", "{}", "[]", "\"\"", "-1", "1e999", "true", "\"x\"", "[[{}]]"][..]),
        ) {
            let body = format!(r#"{{"data":{{"{name}":{odd},"label":"sk-or-v1-a...b","usage_daily":0.5}}}}"#);
            let info = KeyInfo::parse(body.as_bytes()).expect("an answer");
            prop_assert_eq!(info.label.as_deref(), Some("sk-or-v1-a...b"));
            prop_assert_eq!(info.usage_daily, Some(500_000_000));
        }
    }
}
