//! The one configuration: defaults, then the file, then the environment, then flags; resolved and checked once.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be set, resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// `tokens.csv`.
    pub tokens: PathBuf,
    /// `allow.txt`.
    pub allow: PathBuf,
    /// Where the ledger and the state live.
    pub data_dir: PathBuf,
    /// `-a/--address`.
    pub address: IpAddr,
    /// `-p/--port`; 0 picks one.
    pub port: u16,
    /// Where upstream is.
    pub upstream: UpstreamUrl,
    /// More roots to trust, as PEM.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy towards upstream: host and port.
    pub upstream_proxy: Option<(String, u16)>,
    /// Everybody is let in, on loopback only.
    pub no_auth: bool,
    /// Resolve, connect, TLS handshake.
    pub connect_timeout: Duration,
    /// From the request's last byte to the answer's head.
    pub first_byte_timeout: Duration,
    /// Between two bytes of an answer.
    pub idle_timeout: Duration,
    /// How long open streams may finish after a stop signal.
    pub grace: Duration,
    /// Worker threads.
    pub workers: usize,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// How long a kept-alive connection may idle.
    pub keep_alive_timeout: Duration,
    /// Between two bytes of a request's body.
    pub body_timeout: Duration,
    /// The largest header block of a request, bytes.
    pub max_header_bytes: usize,
    /// The longest URI of a request, bytes.
    pub max_uri_bytes: usize,
    /// Open connections of callers; `None` follows the file limit.
    pub max_connections: Option<usize>,
    /// How much of a request's body is kept so that it can be sent again, bytes.
    pub replay_bytes: usize,
    /// Log lines as text or JSON.
    pub log_format: LogFormat,
    /// 0 as usual, above more, below less.
    pub verbosity: i8,
}

/// Upstream's address: what stands before and in `/api/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// `https`.
    pub tls: bool,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port, the scheme's own where none was given.
    pub port: u16,
    /// What precedes `/v1/…` on upstream: `/api`. An origin without a path means the same.
    pub base: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
