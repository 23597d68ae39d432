//! The values of settings: raw text to durations, sizes, addresses; each error says what was wanted.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::{Address, LogFormat, UpstreamUrl};

/// `text` for an error, unless there may be a secret in it.
fn shown(text: &str) -> &str {
    if ["sk-or-", "hmx_", "@"].iter().any(|sign| text.contains(sign)) { "(not shown)" } else { text }
}

fn not_a<T>(what: &str, text: &str) -> Result<T, String> {
    Err(format!("{what}: {}", shown(text)))
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("an empty path".into()),
        text if text.contains("sk-or-") => Err("a key, where the path of a file belongs".into()),
        text if text.starts_with("hmx_") && text.len() > 40 => {
            Err("an access token, where the path of a file belongs".into())
        }
        text => Ok(text.into()),
    }
}

/// `127.0.0.1`, `localhost`, `::1`, `[::1]`, `unix:/run/hermux.sock`.
pub(super) fn address(text: &str) -> Result<Address, String> {
    if let Some(socket) = text.strip_prefix("unix:") {
        return path(socket).map(Address::Unix);
    }
    if text == "localhost" {
        return Ok(Address::Ip(Ipv4Addr::LOCALHOST.into()));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Address::Ip).or_else(|_| not_a("not an IP address, and not unix:PATH", text))
}

/// `127.0.0.1:9333`, `localhost:9333`, `[::1]:9333`.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
    local
        .as_deref()
        .unwrap_or(text)
        .parse()
        .or_else(|_| not_a("not an IP address and a port such as 127.0.0.1:9333", text))
}

/// `0660`, as `chmod` takes it.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => not_a("not a file mode such as 0660", text),
    }
}

/// Origins with commas between them, as browsers write them: `https://app.example`, `http://localhost:8080`; also `null`,
/// and `*` for all.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    let mut origins = Vec::new();
    for origin in text.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
        let origin = origin.to_ascii_lowercase();
        let is_origin = matches!(origin.as_str(), "*" | "null") || is_origin(&origin);
        if !is_origin {
            return not_a("not an origin such as https://app.example, without a path", &origin);
        }
        origins.push(without_usual_port(origin));
    }
    if origins.is_empty() { not_a("no origin", text) } else { Ok(origins) }
}

/// Whether it is a scheme, a host and perhaps a port (RFC 6454 section 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let of = |text: &str, others: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => {
            (&authority[..at], authority[at + 1..].parse::<u16>().is_ok())
        }
        _ => (authority, true),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => of(host, b".-_"),
    };
    of(scheme, b"+-.") && is_host && port
}

/// Browsers leave out the port that belongs to the scheme.
fn without_usual_port(origin: String) -> String {
    let usual = [("http://", ":80"), ("https://", ":443")];
    let usual = usual.into_iter().find(|(scheme, _)| origin.starts_with(scheme));
    match usual.and_then(|(_, port)| origin.strip_suffix(port)) {
        Some(bare) => bare.to_owned(),
        None => origin,
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().or_else(|_| not_a("not a port", text))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => not_a("neither true nor false", text),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => not_a("neither text nor json", text),
    }
}

pub(super) fn verbosity(text: &str) -> Result<i8, String> {
    text.parse().or_else(|_| not_a("not a small number", text))
}

pub(super) fn count(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => not_a(&format!("not a number from {least} to {most}"), text),
    }
}

/// `65536`, `64KiB`, `32MiB`, `1GiB`; also the decimal kB, MB and GB.
pub(super) fn size(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return not_a("not a size such as 65536, 64KiB or 32MiB", text),
    };
    let Ok(number) = number.parse::<usize>() else {
        return not_a("not a size such as 65536, 64KiB or 32MiB", text);
    };
    match number.checked_mul(unit) {
        Some(size) if (least..=most).contains(&size) => Ok(size),
        _ => not_a(&format!("not between {least} and {most} bytes"), text),
    }
}

/// `30` (seconds), `30s`, `5m`, `7d`, `500ms`, `1h30m`: up to a year.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let span = if bare { format!("{text}s").parse::<Span>() } else { text.parse::<Span>() };
    let length = span
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .and_then(|length: SignedDuration| Duration::try_from(length));
    match length {
        Ok(length) if length <= YEAR => Ok(length),
        Ok(_) => not_a("longer than a year", text),
        Err(_) => not_a("not a duration such as 30, 30s, 5m, 1h30m or 7d", text),
    }
}

/// A duration that something has to happen within, and so not zero.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => not_a("not more than zero", text),
        length => Ok(length),
    }
}

/// Scheme, host and port of `text`, and what follows them.
fn url(text: &str) -> Result<(String, String, Option<u16>, String), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return not_a("not a URL such as https://openrouter.ai/api/v1", text);
    };
    if rest.contains('@') {
        return Err("a URL with a user name or password in it".into());
    }
    if rest.contains(['?', '#']) {
        return not_a("a URL with a query or fragment", text);
    }
    let uri: Uri = text.parse().or_else(|_| not_a("not a URL", text))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = uri.host().unwrap_or_default();
    let port = match authority[host.len()..].strip_prefix(':') {
        None => None,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return not_a("a URL with a bad port", text),
            Ok(port) => Some(port),
        },
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(plain) {
        return not_a("a URL without a good host", text);
    }
    Ok((scheme.to_ascii_lowercase(), host, port, uri.path().to_owned()))
}

/// `https://openrouter.ai/api/v1`, the same without its path, or another path that ends in `/v1`.
pub(super) fn upstream(text: &str) -> Result<UpstreamUrl, String> {
    let (scheme, host, port, path) = url(text)?;
    let tls = match scheme.as_str() {
        "https" => true,
        "http" => false,
        _ => return not_a("neither http nor https", text),
    };
    let base = match path.strip_suffix('/').unwrap_or(&path) {
        "" => "/api",
        path => match path.strip_suffix("/v1") {
            Some(base) if !base.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) => base,
            _ => return not_a("a path that does not end in /v1", text),
        },
    };
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Ok(UpstreamUrl { tls, host, port, base: base.to_owned() })
}

/// `http://host:port`.
pub(super) fn proxy(text: &str) -> Result<(String, u16), String> {
    match url(text)? {
        (scheme, host, Some(port), path) if scheme == "http" && matches!(path.as_str(), "" | "/") => {
            Ok((host, port))
        }
        _ => not_a("not a proxy such as http://127.0.0.1:8080", text),
    }
}
