//! `hermux stats`: what the ledger says of today.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::StatsArgs;
use crate::clock::Clock;

/// Prints the use of each key today.
pub(super) fn run(
    args: &StatsArgs,
    data_dir: &Path,
    clock: &Clock,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let _ = (args, data_dir, clock, out);
    anyhow::bail!("not built yet: stats")
}
