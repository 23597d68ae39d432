//! The one configuration: defaults, then the file, then the environment, then flags; resolved and checked once.

mod layers;
pub mod origin;
mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};

use layers::{Entry, Source};
use origin::{Place, Resolved};

pub use layers::Surroundings;
pub(crate) use value::wait;

/// Everything that can be set, resolved.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// `tokens.csv`.
    pub tokens: PathBuf,
    /// `allow.txt`.
    pub allow: PathBuf,
    /// Where the ledger and the state live.
    pub data_dir: PathBuf,
    /// `-a/--address`.
    pub address: Address,
    /// `-p/--port`; 0 picks one.
    pub port: u16,
    /// The mode of a Unix socket.
    pub socket_mode: u32,
    /// The certificate that callers are shown, its chain behind it, as PEM; comes with `tls_key` or not at all.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as PEM.
    pub tls_key: Option<PathBuf>,
    /// The origins whose pages may use hermux, as browsers write them; `*` stands for all of them.
    pub cors: Vec<String>,
    /// Where upstream is.
    pub upstream: UpstreamUrl,
    /// More roots to trust, as PEM.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy towards upstream: host and port.
    pub upstream_proxy: Option<(String, u16)>,
    /// Everybody is let in, on loopback only.
    pub no_auth: bool,
    /// A conversation need not stay with its account.
    pub no_affinity: bool,
    /// hermux asks upstream nothing on its own account.
    pub no_poll: bool,
    /// Where Prometheus may ask for metrics; none where nobody may.
    pub metrics: Option<SocketAddr>,
    /// Whether a line is logged for each request.
    pub access_log: bool,
    /// `cmd:` in `tokens.csv` may run commands; `config.toml` alone can say so.
    pub allow_commands: bool,
    /// How long the ledger keeps entries; sums stay for ever.
    pub keep_entries: Duration,
    /// Resolve, connect, TLS handshake.
    pub connect_timeout: Duration,
    /// From the request's last byte to the answer's head.
    pub first_byte_timeout: Duration,
    /// Between two bytes of an answer.
    pub idle_timeout: Duration,
    /// How long a request may wait for a key that rests; zero never waits.
    pub max_wait: Duration,
    /// How long an answer is held back while nothing but comments and blank lines came of its body.
    pub commit_after: Duration,
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
    /// The same over all requests, bytes.
    pub replay_total: usize,
    /// Log lines as text or JSON.
    pub log_format: LogFormat,
    /// 0 as usual, above more, below less.
    pub verbosity: i8,
    /// Which log lines are written: `HERMUX_LOG`, else `RUST_LOG`, else by `verbosity`.
    pub log: Targets,
    /// What is odd but not wrong, for the log.
    pub warnings: Vec<String>,
    /// Where the value of `ca_file` stands, for who finds something wrong in that file.
    pub ca_file_source: String,
}

/// Where callers are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At an IP address.
    Ip(IpAddr),
    /// On the Unix socket with this path.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Upstream's address: what stands before and in `/api/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// One thing that can be set. The name gives it its flag, its variable and its key in `config.toml`.
#[derive(Debug)]
pub struct Setting {
    /// `first_byte_timeout`: the key.
    pub name: &'static str,
    /// The default as one would write it, or empty where there is none that is always the same.
    pub default: &'static str,
    /// What it is for, where no flag of this name says so.
    pub about: &'static str,
    /// Whether the value is a path, which in `config.toml` is relative to that file.
    is_path: bool,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    /// Whether `config.toml` alone can set it: who may start hermux need not be who decides about it.
    #[must_use]
    pub fn in_file_alone(&self) -> bool {
        self.name == "allow_commands"
    }

    /// `--first-byte-timeout`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// `HERMUX_FIRST_BYTE_TIMEOUT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", layers::PREFIX, self.name.to_ascii_uppercase())
    }
}

/// `name default parser => field`, one line a setting.
macro_rules! settings {
    (@is_path path) => { true };
    (@is_path $parser:ident) => { false };
    ($($(#[doc = $about:literal])* $name:ident $default:literal $parser:ident $(($($bound:expr),+))? => $field:ident;)+) => {
        &[$(Setting {
            name: stringify!($name),
            default: $default,
            about: concat!($($about,)* "").trim_ascii(),
            is_path: settings!(@is_path $parser),
            set: |config, text| {
                config.$field = value::$parser(text $(, $($bound),+)?)?.into();
                Ok(())
            },
        }),+]
    };
}

/// Every setting.
pub const SETTINGS: &[Setting] = settings! {
    tokens             ""                              path => tokens;
    allow              ""                              path => allow;
    data_dir           ""                              path => data_dir;
    address            "127.0.0.1"                     address => address;
    port               "3333"                          port => port;
    socket_mode        "0600"                          mode => socket_mode;
    tls_cert           ""                              path => tls_cert;
    tls_key            ""                              path => tls_key;
    cors               ""                              origins => cors;
    upstream           "https://openrouter.ai/api/v1"  upstream => upstream;
    upstream_proxy     ""                              proxy => upstream_proxy;
    ca_file            ""                              path => ca_file;
    no_auth            "false"                         switch => no_auth;
    no_affinity        "false"                         switch => no_affinity;
    no_poll            "false"                         switch => no_poll;
    metrics            ""                              socket_address => metrics;
    access_log         "false"                         switch => access_log;
    /// Whether `cmd:` in tokens.csv may run commands; this file alone can say so
    allow_commands     "false"                         switch => allow_commands;
    keep_entries       "90d"                           wait => keep_entries;
    connect_timeout    "10s"                           wait => connect_timeout;
    first_byte_timeout "600s"                          wait => first_byte_timeout;
    idle_timeout       "300s"                          wait => idle_timeout;
    max_wait           "60s"                           duration => max_wait;
    commit_after       "1s"                            duration => commit_after;
    grace              "30s"                           duration => grace;
    workers            ""                              count(1, 1024) => workers;
    header_timeout     "15s"                           wait => header_timeout;
    keep_alive_timeout "120s"                          wait => keep_alive_timeout;
    body_timeout       "60s"                           wait => body_timeout;
    // `Uri` holds no target longer than 65,534 bytes.
    max_header_size    "64KiB"                         size(8 << 10, 16 << 20) => max_header_bytes;
    max_uri_size       "16KiB"                         size(256, 65_534) => max_uri_bytes;
    max_connections    ""                              count(1, 10_000_000) => max_connections;
    replay_size        "32MiB"                         size(0, 1 << 30) => replay_bytes;
    replay_total       "256MiB"                        size(0, 1 << 40) => replay_total;
    log_format         "text"                          log_format => log_format;
    /// How much is logged: 0 as usual, 1 more, 2 every detail, -1 less, -2 errors alone
    verbosity          "0"                             verbosity => verbosity;
};

/// Everything that is wrong with the configuration, each with its source. Printed one a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Errors(pub Vec<String>);

impl Config {
    /// Resolves what was typed (`flags`: setting and raw text, also `config` for the file) with the
    /// variables, `config.toml` and the defaults of this process.
    pub fn load(flags: &[(&str, String)]) -> Result<Self, Errors> {
        Self::resolve(flags, &Surroundings::of_process())
    }

    /// The same with surroundings of the caller's choice.
    pub fn resolve(flags: &[(&str, String)], around: &Surroundings) -> Result<Self, Errors> {
        let Resolved { config, wrong, .. } = Self::trace(flags, around);
        if wrong.is_empty() { Ok(config) } else { Err(Errors(wrong)) }
    }

    /// The same with where each value stands, also where something is wrong; what is wrong is left at a weaker layer's value.
    #[must_use]
    pub fn trace(flags: &[(&str, String)], around: &Surroundings) -> Resolved {
        let mut config = Self::unset();
        let mut wrong = Vec::new();
        let entries = layers::entries(flags, around, &mut config.warnings, &mut wrong);
        for entry in &entries {
            if let Err(problem) = (entry.setting.set)(&mut config, &entry.text) {
                wrong.push(format!("{}: {problem}", entry.source));
            }
        }
        match layers::log_filter(around) {
            Ok(filter) => config.log = filter.unwrap_or_else(|| by_verbosity(config.verbosity)),
            Err(problem) => wrong.push(problem),
        }
        let mut places = vec![Place::of_config_file(flags, around)];
        config.find_places(around, &mut places);
        config.ca_file_source = source(&entries, "ca_file").to_string();
        config.check_no_auth(&entries, &mut wrong);
        config.check_tls(&entries, &mut wrong);
        if !config.upstream.tls && !is_loopback(&config.upstream.host) {
            let host = &config.upstream.host;
            config
                .warnings
                .push(format!("keys travel without encryption, since upstream is plain http: {host}"));
        }
        Resolved::new(config, entries, places, wrong)
    }

    /// A configuration before any layer; the defaults are a layer of their own.
    fn unset() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            tokens: PathBuf::new(),
            allow: PathBuf::new(),
            data_dir: PathBuf::new(),
            address: Address::Ip(Ipv4Addr::LOCALHOST.into()),
            port: 0,
            socket_mode: 0,
            tls_cert: None,
            tls_key: None,
            cors: Vec::new(),
            upstream: UpstreamUrl::default(),
            ca_file: None,
            upstream_proxy: None,
            no_auth: false,
            no_affinity: false,
            no_poll: false,
            metrics: None,
            access_log: false,
            allow_commands: false,
            keep_entries: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            first_byte_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            max_wait: Duration::ZERO,
            commit_after: Duration::ZERO,
            grace: Duration::ZERO,
            workers: cores.min(4),
            header_timeout: Duration::ZERO,
            keep_alive_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            max_header_bytes: 0,
            max_uri_bytes: 0,
            max_connections: None,
            replay_bytes: 0,
            replay_total: 0,
            log_format: LogFormat::Text,
            verbosity: 0,
            log: Targets::new(),
            warnings: Vec::new(),
            ca_file_source: String::new(),
        }
    }

    /// Fills the places that nobody named. A file that stands nowhere yet belongs beside the other one,
    /// else into the working directory.
    fn find_places(&mut self, around: &Surroundings, places: &mut Vec<Place>) {
        let find = |name: &str| {
            let here = PathBuf::from(name);
            let there = around.config_dir.as_ref().map(|folder| folder.join(name));
            match there {
                _ if around.working_dir.join(name).exists() => Some((here, "found in the working directory")),
                Some(there) if there.exists() => Some((there, "found in the user's configuration directory")),
                _ => None,
            }
        };
        let unnamed = |path: &Path| path.as_os_str().is_empty();
        let tokens = unnamed(&self.tokens).then(|| find("tokens.csv"));
        let allow = unnamed(&self.allow).then(|| find("allow.txt"));
        let beside = |other: &Option<Option<(PathBuf, &str)>>, name: &str, why| match other {
            Some(Some((other, _))) => (other.with_file_name(name), why),
            _ => (PathBuf::from(name), "in the working directory, where it would be made"),
        };
        let mut why = [None; 3];
        if let Some(found) = &tokens {
            let found = found.clone();
            let (path, found) = found
                .unwrap_or_else(|| beside(&allow, "tokens.csv", "beside allow.txt, where it would be made"));
            (self.tokens, why[0]) = (path, Some(found));
        }
        if let Some(found) = &allow {
            let found = found.clone();
            let (path, found) = found
                .unwrap_or_else(|| beside(&tokens, "allow.txt", "beside tokens.csv, where it would be made"));
            (self.allow, why[1]) = (path, Some(found));
        }
        if unnamed(&self.data_dir) {
            // A service may have no home at all.
            let user = around.data_dir.clone();
            let (path, found) = match user {
                Some(user) => (user, "the user's data directory"),
                None => (PathBuf::from(".hermux"), "in the working directory, since there is no home"),
            };
            (self.data_dir, why[2]) = (path, Some(found));
        }
        let found = [("tokens", &self.tokens), ("allow", &self.allow), ("data_dir", &self.data_dir)];
        for ((name, path), why) in found.into_iter().zip(why) {
            places.push(Place::new(name, path, around, why.map(str::to_owned)));
        }
    }

    fn check_no_auth(&self, entries: &[Entry], wrong: &mut Vec<String>) {
        if !self.no_auth {
            return;
        }
        if !self.address.is_local() {
            wrong.push(format!(
                "{}: only with a loopback address, not with that of {}: {}\nhint: `hermux allow gen` makes an access token",
                source(entries, "no_auth"),
                source(entries, "address"),
                self.address
            ));
        }
        // Any page can have the origin `null`.
        if let Some(any) = self.cors.iter().find(|origin| matches!(origin.as_str(), "*" | "null")) {
            wrong.push(format!(
                "{}: only with a list of origins, since any page could use the keys, not with that of {}: {any}\n\
                 hint: list the origins, or `hermux allow gen` makes an access token",
                source(entries, "no_auth"),
                source(entries, "cors"),
            ));
        }
    }

    fn check_tls(&self, entries: &[Entry], wrong: &mut Vec<String>) {
        let (given, missing) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("tls_cert", "--tls-key"),
            (None, Some(_)) => ("tls_key", "--tls-cert"),
            _ => return,
        };
        wrong.push(format!(
            "{}: TLS takes a certificate and its private key, and one is not given: {missing}",
            source(entries, given)
        ));
    }
}

/// Where the value in force of the setting `name` stands.
fn source<'a>(entries: &'a [Entry], name: &str) -> &'a Source {
    let last = entries.iter().rev().find(|entry| entry.setting.name == name);
    last.map_or(&Source::Default, |entry| &entry.source)
}

/// 0 tells of hermux what an operator wants to know and of its libraries what goes wrong.
fn by_verbosity(verbosity: i8) -> Targets {
    let level = match verbosity {
        ..=-3 => LevelFilter::OFF,
        -2 => LevelFilter::ERROR,
        -1 => LevelFilter::WARN,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    let libraries = if verbosity >= 3 { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_target("hermux", level).with_default(libraries)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
