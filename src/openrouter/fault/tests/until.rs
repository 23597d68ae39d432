//! Until when a fault lasts: by every hint, in every form, and without any.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::super::Kind;
use super::{CASES, NOON, classify, classify_event, fault, time};
use crate::clock::Time;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| ((*name).parse().expect("a name"), value.parse().expect("a value")))
        .collect()
}

/// `until` of a body with these headers, at this time.
fn until(status: u16, now: &str, pairs: &[(&'static str, &str)], body: &str) -> Option<Time> {
    let status = StatusCode::from_u16(status).expect("a status");
    classify(status, &headers(pairs), body.as_bytes(), time(now)).expect("a fault").until
}

#[test]
fn resets_that_were_seen_live_are_believed() {
    for (case, now, end) in [
        (&CASES[0], "2026-08-16T20:29:30Z", "2026-08-16T20:30:00Z"),
        (&CASES[1], "2025-10-27T05:00:00Z", "2025-10-28T00:00:00Z"),
        (&CASES[2], "2026-09-21T05:00:00Z", "2026-09-22T00:00:00Z"),
        (&CASES[3], "2025-03-29T05:00:00Z", "2025-03-30T00:00:00Z"),
    ] {
        assert_eq!(until(429, now, &[], case.body), Some(time(end)), "{}", case.body);
        let inside = classify_event(case.body.as_bytes(), time(now)).expect("a fault");
        assert_eq!(inside.until, Some(time(end)), "{}", case.body);
    }
    assert_eq!(until(429, NOON, &[], CASES[7].body), Some(time("2026-11-22T12:01:10Z")));
}

/// A body whose kind has no reset of its own, with these headers in its metadata.
fn body_with(headers: &str) -> String {
    format!(r#"{{"error":{{"code":429,"message":"x","metadata":{{"headers":{headers}}}}}}}"#)
}

#[test]
fn a_reset_may_be_milliseconds_seconds_or_a_wait() {
    let end = Some(time("2026-11-22T12:00:50Z"));
    for reset in [
        "\"1795348850000\"",
        "1795348850000",
        "1795348850",
        "\"1795348850\"",
        "20",
        "\" 20 \"",
        "20.0",
        "2e1",
    ] {
        let body = body_with(&format!(r#"{{"X-RateLimit-Reset":{reset}}}"#));
        assert_eq!(until(429, NOON, &[], &body), end, "{reset}");
    }
    for reset in ["null", "[]", "{}", "-5", "\"soon\"", "\"NaN\"", "\"inf\"", "true", "1e300"] {
        let body = body_with(&format!(r#"{{"X-RateLimit-Reset":{reset}}}"#));
        assert_eq!(until(429, NOON, &[], &body), None, "{reset}");
    }
}

#[test]
fn header_names_stand_in_any_case() {
    for name in ["X-RateLimit-Reset", "x-ratelimit-reset", "X-RATELIMIT-RESET", "retry-after", "Retry-After"]
    {
        let body = body_with(&format!(r#"{{"{name}":"20"}}"#));
        assert_eq!(until(429, NOON, &[], &body), Some(time("2026-11-22T12:00:50Z")), "{name}");
    }
}

#[test]
fn hints_are_believed_in_order() {
    let metadata = r#"{"X-RateLimit-Reset":"10","Retry-After":"20"}"#;
    let head = [("x-ratelimit-reset", "30"), ("retry-after", "40")];
    let body = |headers: &str| {
        format!(r#"{{"error":{{"metadata":{{"headers":{headers}}},"availability":{{"retry_after":50}}}}}}"#)
    };
    let wait = |pairs: &[(&'static str, &str)], headers: &str| {
        until(429, NOON, pairs, &body(headers)).map(|at| at.since(time(NOON)).as_secs())
    };
    assert_eq!(wait(&head, metadata), Some(10));
    assert_eq!(wait(&head, r#"{"Retry-After":"20"}"#), Some(20));
    assert_eq!(wait(&head, "{}"), Some(30));
    assert_eq!(wait(&head[1..], "null"), Some(40));
    assert_eq!(wait(&[], "null"), Some(50));
    // One that cannot be believed gives way to the next.
    assert_eq!(wait(&head, r#"{"X-RateLimit-Reset":"1795996800000","Retry-After":"20"}"#), Some(20));
}

#[test]
fn a_used_up_window_ended_at_no_time_that_is_long_past() {
    let body = |window: &str, reset: &str| {
        json!({"error": {"code": 429, "message": format!("Rate limit exceeded: free-models-per-{window}"),
            "metadata": {"headers": {"X-RateLimit-Reset": reset}}}})
        .to_string()
    };
    // NOON is 12:00:30.
    for (window, reset, end) in [
        // Long past, so it is another's or a mistake.
        ("day", "1761609600000", "2026-11-23T00:00:00Z"),
        ("min", "1761609600000", "2026-11-22T12:01:00Z"),
        ("day", "1795348810000", "2026-11-23T00:00:00Z"),
        ("min", "1795348816000", "2026-11-22T12:00:31Z"),
        ("day", "1795348829000", "2026-11-22T12:00:31Z"),
        ("min", "1795348860000", "2026-11-22T12:01:00Z"),
    ] {
        let body = body(window, reset);
        assert_eq!(until(429, NOON, &[], &body), Some(time(end)), "{body}");
        assert_eq!(classify_event(body.as_bytes(), time(NOON)).expect("a fault").until, Some(time(end)));
    }
}

#[test]
fn retry_after_may_be_a_date() {
    let date = |text: &str| until(503, NOON, &[("retry-after", text)], r#"{"error":{"code":503}}"#);
    assert_eq!(date("Sun, 22 Nov 2026 12:01:00 GMT"), Some(time("2026-11-22T12:01:00Z")));
    assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(time("2026-11-22T12:00:31Z")));
    assert_eq!(date("tomorrow"), None);
    assert_eq!(date(""), None);
}

#[test]
fn without_a_hint_the_kind_implies_the_end() {
    let message = |text: &str| json!({"error": {"message": text}}).to_string();
    for (status, text, end) in [
        (429, "Rate limit exceeded: free-models-per-min. ", Some("2026-11-22T12:01:00Z")),
        (429, "Rate limit exceeded: free-models-per-day", Some("2026-11-23T00:00:00Z")),
        (403, "Key limit exceeded (daily limit)", Some("2026-11-23T00:00:00Z")),
        (403, "Key limit exceeded (weekly limit)", Some("2026-11-23T00:00:00Z")),
        (403, "Key limit exceeded (monthly limit)", Some("2026-12-01T00:00:00Z")),
        (403, "Key limit exceeded (total limit)", None),
        (403, "Key limit exceeded", None),
        (402, "Insufficient credits", None),
        (401, "User not found.", None),
        (503, "Service temporarily unavailable", None),
    ] {
        assert_eq!(until(status, NOON, &[], &message(text)), end.map(time), "{text}");
    }
    // Only the answer knows how long requests in flight take.
    let held = CASES.iter().find(|case| case.kind == Kind::InFlight).expect("a case");
    assert_eq!(until(402, NOON, &[("retry-after", "7")], held.body), Some(time("2026-11-22T12:00:37Z")));
}

#[test]
fn a_rest_is_never_shorter_than_a_second() {
    let second = Some(time("2026-11-22T12:00:31Z"));
    assert_eq!(until(429, NOON, &[], &body_with(r#"{"Retry-After":0}"#)), second);
    // Resets that just passed.
    for (case, now, end) in [
        (&CASES[0], "2026-08-16T20:30:00.500Z", "2026-08-16T20:30:01.500Z"),
        (&CASES[1], "2025-10-28T00:00:02Z", "2025-10-28T00:00:03Z"),
    ] {
        assert_eq!(until(429, now, &[], case.body), Some(time(end)), "{}", case.body);
    }
    let late = "2026-11-22T12:00:59.900Z";
    let body = r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. "}}"#;
    assert_eq!(until(429, late, &[], body), Some(time("2026-11-22T12:01:00.900Z")));
}

#[test]
fn beyond_the_next_utc_midnight_only_caps_are_believed() {
    let head = [("x-ratelimit-reset", "1795996800000")];
    let message = |text: &str| json!({"error": {"message": text}}).to_string();
    let at = |status, text| until(status, NOON, &head, &message(text));
    assert_eq!(at(403, "Key limit exceeded (monthly limit)"), Some(Time(1_795_996_800_000)));
    assert_eq!(at(403, "Key limit exceeded (total limit)"), Some(Time(1_795_996_800_000)));
    assert_eq!(at(429, "Rate limit exceeded: free-models-per-day"), Some(time("2026-11-23T00:00:00Z")));
    assert_eq!(at(429, "Rate limit exceeded: free-models-per-min"), Some(time("2026-11-22T12:01:00Z")));
    assert_eq!(at(429, "Rate limit exceeded"), None);
    // A person ends these, or nobody needs to: no hint is for them.
    for (status, text) in [(401, "User not found."), (402, "Insufficient credits"), (400, "no")] {
        assert_eq!(until(status, NOON, &[("retry-after", "5")], &message(text)), None, "{text}");
    }
}

#[test]
fn the_limit_is_read_from_the_head_too() {
    let body = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day"}}"#;
    for (value, limit) in
        [("50", Some(50)), (" 1000", Some(1000)), ("-1", None), ("many", None), ("5000000000", None)]
    {
        let fault = fault(429, &headers(&[("x-ratelimit-limit", value)]), body);
        assert_eq!(fault.kind, Kind::FreePerDay { limit }, "{value}");
    }
}

#[test]
fn a_clock_that_differs_is_corrected_by_the_answers_date() {
    let minute = CASES[0].body.replace("1786912200000", "1795348860000");
    let day = CASES[1].body.replace("1761609600000", "1795392000000");
    let bare = r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. "}}"#;
    let wait = r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","metadata":{"headers":{"Retry-After":9}}}}"#;
    // Our time, what upstream calls it, the body, and the end by our clock.
    for (now, date, body, end) in [
        // Within what may only seem so.
        ("12:00:30", "12:00:30", &*minute, "22T12:01:00Z"),
        ("12:00:32", "12:00:30", &minute, "22T12:01:00Z"),
        ("12:00:30", "12:00:32", &minute, "22T12:01:00Z"),
        // Its clock is behind: the window we take for over lasts.
        ("12:01:00", "12:00:53", &minute, "22T12:01:07Z"),
        ("12:01:00", "12:00:50", bare, "22T12:01:10Z"),
        // Its clock is ahead.
        ("12:00:23", "12:00:30", &minute, "22T12:00:53Z"),
        ("11:59:58", "12:00:08", bare, "22T12:00:50Z"),
        ("11:00:30", "12:00:30", &minute, "22T11:01:00Z"),
        // Around midnight, which is not beyond the day by its clock.
        ("23:59:58", "23:59:50", &day, "23T00:00:08Z"),
        ("23:59:30", "23:59:37", &day, "22T23:59:53Z"),
        // A wait is one by any clock.
        ("12:00:30", "12:00:20", wait, "22T12:00:39Z"),
        ("12:00:20", "12:00:30", wait, "22T12:00:29Z"),
    ] {
        let date = format!("Sun, 22 Nov 2026 {date} GMT");
        let told = until(429, &format!("2026-11-22T{now}Z"), &[("date", &date)], body);
        assert_eq!(told, Some(time(&format!("2026-11-{end}"))), "{now} {date} {body}");
    }
    // These are no clock's.
    for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "soon", ""] {
        let told = until(429, "2026-11-22T12:00:30Z", &[("date", date)], &minute);
        assert_eq!(told, Some(time("2026-11-22T12:01:00Z")), "{date}");
    }
}
