//! `hermux demo`: the proxy before a look-alike of `OpenRouter`.

use std::process::ExitCode;

use crate::cli::DemoArgs;
use crate::config::Config;

/// Runs until Ctrl-C.
pub(super) fn run(args: &DemoArgs, config: Config) -> anyhow::Result<ExitCode> {
    let _ = args;
    drop(config);
    anyhow::bail!("not built yet: demo")
}
