//! Log lines: to stderr, as text or JSON, coloured only for a terminal that wants it.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Config, LogFormat};

/// The target of the one line that tells when requests are served; it is shown whatever else is not.
pub const READY: &str = "hermux::ready";

/// Sends the log lines that `config` asks for to stderr, from now on and for the whole process.
/// Fails where that was done before.
pub fn start(config: &Config) -> Result<(), TryInitError> {
    // An empty NO_COLOR counts as none (no-color.org).
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let layer = fmt::layer().with_writer(io::stderr);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
        LogFormat::Text => {
            layer.with_target(false).with_ansi(io::stderr().is_terminal() && !no_color).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(config.log.clone().with_target(READY, LevelFilter::INFO)))
        .try_init()
}
