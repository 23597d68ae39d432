//! `hermux allow gen`: new access tokens, printed once and appended to `allow.txt`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use zeroize::Zeroizing;

use crate::access::file::{self, Form, New};
use crate::access::{Attribute, Terms};
use crate::cli::AllowGenArgs;
use crate::clock::Time;
use crate::commands::Usage;
use crate::keys::file as key_file;
use crate::secret::Secret;

/// Makes access tokens, appends them to the file at `path` and prints them.
pub(super) fn run(
    args: &AllowGenArgs,
    path: &Path,
    tokens: &Path,
    now: Time,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let terms = terms(args, now)?;
    warn_of_keys(&terms, tokens, told)?;
    let made: Vec<Secret> = (0..args.count).map(|_| crate::access::generate()).collect();
    let names: Vec<Option<String>> = (1..=args.count)
        .map(|number| {
            args.name
                .as_ref()
                .map(|name| if args.count == 1 { name.clone() } else { format!("{name}-{number}") })
        })
        .collect();
    let form = if args.plain { Form::Plain } else { Form::Hashed };
    let new: Vec<New<'_>> = made
        .iter()
        .zip(&names)
        .map(|(token, name)| New { token, form, name: name.as_deref(), terms: &terms })
        .collect();
    let callers = file::append(path, &new)?;

    match &callers[..] {
        [caller] => {
            writeln!(
                told,
                "appended to {} for the caller `{caller}`; it is shown this once:",
                path.display()
            )?;
        }
        callers => writeln!(
            told,
            "appended to {} for the callers `{}`; they are shown this once:",
            path.display(),
            callers.join("`, `")
        )?,
    }
    let mut text = Zeroizing::new(String::with_capacity(64 * made.len()));
    for token in &made {
        text.push_str(token.expose());
        text.push('\n');
    }
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).with_context(|| {
        format!(
            "what was made could not be written to standard output\n\
             hint: take it back with `hermux allow revoke`, and make it again: {}",
            callers.join(", ")
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The bounds that were typed.
fn terms(args: &AllowGenArgs, now: Time) -> Result<Terms, Usage> {
    let mut terms = Terms::default();
    for (attribute, flag, text) in [
        (Attribute::Expires, "--expires", &args.expires),
        (Attribute::Models, "--models", &args.models),
        (Attribute::Rpm, "--rpm", &args.rpm),
        (Attribute::DailyRequests, "--daily-requests", &args.daily_requests),
        (Attribute::DailyCost, "--daily-cost", &args.daily_cost),
        (Attribute::Keys, "--keys", &args.keys),
    ] {
        let Some(text) = text.as_deref().map(str::trim) else { continue };
        if terms.set(attribute, text) {
            continue;
        }
        let Some(expires) = ends(text, now).filter(|_| attribute == Attribute::Expires) else {
            let or = if attribute == Attribute::Expires {
                ", or how long from now, such as 30d or 12h"
            } else {
                ""
            };
            return Err(Usage(format!("{flag}: the value can't be read\nhint: {}{or}", attribute.hint())));
        };
        terms.expires = Some(expires);
    }
    if terms.has_expired(now) {
        return Err(Usage("--expires: the time is over already\nhint: choose one that lies ahead".into()));
    }
    Ok(terms)
}

/// The end of a duration such as `30d` that begins now, to the second; up to a hundred years.
fn ends(text: &str, now: Time) -> Option<Time> {
    const MOST: i64 = 100 * 366 * 86_400;
    let span: Span = text.parse().ok()?;
    let length: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let seconds = (1..=MOST).contains(&length.as_secs()).then_some(length.as_secs())?;
    Some(Time((now.0.div_euclid(1000) + seconds) * 1000))
}

/// Says so when a token is confined to a key that there is not (yet).
fn warn_of_keys(terms: &Terms, tokens: &Path, told: &mut dyn Write) -> anyhow::Result<()> {
    let (Some(names), Ok(listed)) = (&terms.keys, key_file::list(tokens)) else { return Ok(()) };
    for name in names.iter().filter(|name| listed.rows.iter().all(|row| row.name.as_str() != &***name)) {
        writeln!(told, "warning: no such key in {}: {name}", tokens.display())?;
    }
    Ok(())
}
