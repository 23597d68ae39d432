//! `hermux allow`: the access tokens in `allow.txt`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::access::file;
use crate::cli::AllowGenArgs;

/// Makes an access token, appends it to the file at `path` and prints it.
pub(super) fn generate(
    args: &AllowGenArgs,
    path: &Path,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let token = file::generate();
    let caller = file::append(path, args.name.as_deref(), &token)?;
    writeln!(told, "appended to {} for the caller `{caller}`; it is shown this once:", path.display())?;
    writeln!(out, "{}", token.expose()).and_then(|()| out.flush()).with_context(|| {
        format!(
            "the access token could not be written to standard output\n\
             hint: remove the line of `{caller}` from {}, and make another one",
            path.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
