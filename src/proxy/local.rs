//! Whether a request names this machine: without access tokens, a web page that rebinds its name to
//! 127.0.0.1 must not get through.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::request::Parts;

use super::cors::Cors;

/// Host (or `:authority`) and, where given, Origin name the loopback; the origin may also be one that `cors` lists.
pub(super) fn is_local(parts: &Parts, cors: Option<&Cors>) -> bool {
    let host = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => single(&parts.headers, &HOST),
    };
    host.is_some_and(names_loopback)
        && (origin_is_local(&parts.headers) || cors.is_some_and(|cors| cors.lists(&parts.headers)))
}

fn origin_is_local(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    single(headers, &ORIGIN)
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")))
        .is_some_and(names_loopback)
}

fn single<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn names_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, after)) if after.is_empty() || is_port(after) => host,
            _ => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return false,
            None => authority,
        },
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(after: &str) -> bool {
    after.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::names_loopback;

    #[test]
    fn only_names_of_the_loopback_are_local() {
        for local in ["localhost", "LocalHost:3333", "127.0.0.1:80", "127.9.9.9", "[::1]:3333", "[::1]"] {
            assert!(names_loopback(local), "{local}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "[::1",
            "a@localhost",
            "[::2]",
            "localhost:80:80",
        ] {
            assert!(!names_loopback(other), "{other}");
        }
    }
}
