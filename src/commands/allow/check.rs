//! `hermux allow check`: which line of `allow.txt` an access token is, and whether it lets anybody in.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::list::moment;
use crate::access::file;
use crate::access::{Digest, looks_mistyped};
use crate::clock::Time;
use crate::secret::Secret;

/// Says what becomes of a request with `token`.
pub(super) fn run(token: &Secret, path: &Path, now: Time, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let token = token.expose().as_bytes();
    let digest = Digest::of(token);
    let entries = file::entries(path)?;
    // Of two lines the first counts.
    let Some(entry) = entries.iter().find(|entry| entry.digest == digest) else {
        if looks_mistyped(token) {
            writeln!(
                out,
                "mistyped: its checksum is wrong, so that it is no access token of hermux's making"
            )?;
        } else {
            writeln!(out, "unknown: it stands on no line of {}", path.display())?;
        }
        return Ok(ExitCode::FAILURE);
    };
    let place = format!("{}:{}: {}", path.display(), entry.line, entry.caller);
    if entry.terms.has_expired(now) {
        let since = entry.terms.expires.map_or_else(String::new, moment);
        writeln!(out, "expired: {place} (on {since})")?;
        return Ok(ExitCode::FAILURE);
    }
    let terms = entry.terms.text();
    let terms = if terms.is_empty() { "without limits" } else { &terms };
    writeln!(out, "valid: {place} ({terms})")?;
    Ok(ExitCode::SUCCESS)
}
