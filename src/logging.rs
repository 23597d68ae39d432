//! Log lines: to stderr, as text, with colors or without, or as JSON.

use std::io;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Config, LogFormat};

/// The target of the one line that tells when requests are served; it is shown whatever else is not.
pub const READY: &str = "hermux::ready";

/// Sends the log lines that `config` asks for to stderr, with `colors` where they are text, from now on and for the whole process.
/// Fails where that was done before.
pub fn start(config: &Config, colors: bool) -> Result<(), TryInitError> {
    let layer = fmt::layer().with_writer(io::stderr);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
        LogFormat::Text => layer.with_target(false).with_ansi(colors).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(config.log.clone().with_target(READY, LevelFilter::INFO)))
        .try_init()
}
