//! `hermux allow revoke`: takes the access tokens of a caller out of `allow.txt`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::access::Digest;
use crate::access::file::{self, Entry};
use crate::cli::AllowRevokeArgs;
use crate::commands::{Usage, agreed};

/// Removes the lines of the caller, or of the one token with these first digits, from the file at `path`.
pub(super) fn run(args: &AllowRevokeArgs, path: &Path, told: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let entries = file::entries(path)?;
    let name = args.name.trim();
    let of_caller: Vec<&Entry> = entries.iter().filter(|entry| *entry.caller == *name).collect();
    let found = if of_caller.is_empty() {
        entries.iter().filter(|entry| entry.digest.short() == name).collect()
    } else {
        of_caller
    };
    if found.is_empty() {
        let problem = format!("{}: no such caller: {name}", path.display());
        return Err(Usage(format!("{problem}\nhint: `hermux allow list` shows the names and ids")).into());
    }
    // A token that stands there again under another name would still let in.
    let tokens: Vec<Digest> = found.iter().map(|entry| entry.digest).collect();
    let found: Vec<&Entry> = entries.iter().filter(|entry| tokens.contains(&entry.digest)).collect();
    let lines: Vec<String> = found.iter().map(|entry| entry.line.to_string()).collect();
    let (lines, word) = (lines.join(", "), if found.len() == 1 { "line" } else { "lines" });
    let question = format!("revoke `{name}`, {word} {lines} of {}?", path.display());
    if !args.yes && !agreed(&question)? {
        writeln!(told, "nothing was revoked")?;
        return Ok(ExitCode::FAILURE);
    }
    // Of what was shown: what was added meanwhile stays.
    let removed = file::remove(path, &tokens)?;
    let lines = if removed == 1 { "line" } else { "lines" };
    writeln!(told, "revoked `{name}`: {removed} {lines} removed from {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}
