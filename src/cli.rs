//! Every flag and subcommand; no logic. Values are taken as raw text: the configuration reads them.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "these comments are the help texts, and a terminal shows backticks"
)]

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  hermux demo                      see it work, without a key
  hermux keys add ann              put an OpenRouter key into tokens.csv
  hermux allow gen ci              make an access token for the caller `ci`
  hermux serve                     then use http://127.0.0.1:3333/api/v1

Exit codes: 0 done, 1 the thing asked about is not well, 2 usage or configuration,
3 could not find out.";

const FILES: &str = "\
Files:
  tokens.csv and allow.txt are looked for in the working directory, then in the user's
  configuration directory (on Linux ~/.config/hermux). Where neither directory has one, a new
  one is made beside the other of the two files, else in the working directory.

  tokens.csv has the columns name and token and may have these; an empty field is as good as none:
    account         the account of the key, where hermux is to know better than OpenRouter tells
    daily_requests  how many attempts it may serve in a UTC day
    daily_cost      how many US dollars it may spend in a UTC day, such as 0.25
    weight          2 is lent twice as often as 1
    models          patterns of what it may serve, such as openai/*;*:free
    enabled         false rests it

  config.toml in the configuration directory has a key for each flag, and there is a variable
  for each: `first_byte_timeout = \"5m\"` is HERMUX_FIRST_BYTE_TIMEOUT=5m is
  --first-byte-timeout 5m. A flag wins over the variable, the variable over the file, the file
  over the default. Paths in config.toml are relative to it.

Log level:
  HERMUX_LOG, else RUST_LOG (debug, or by module: info,hermux=debug), else -v and -q.";

const SERVE: &str = "\
Durations are 30 (seconds), 30s, 5m, 1h30m or 7d; sizes 65536, 64KiB or 32MiB.

Examples:
  hermux serve
  hermux serve --port 8080 --tokens ~/keys/tokens.csv
  hermux serve --address 0.0.0.0 --grace 2m --log-format json
  hermux serve --no-auth           on this machine alone, without access tokens";

const DEMO: &str = "\
Examples:
  hermux demo
  hermux demo --scenario limits    see rate limits met and got round, live
  hermux demo --scenario outage    see a model fail and come back";

const KEYS_ADD: &str = "\
The key is asked for without being shown, or read from standard input; it is never taken as
an argument, where other processes could see it.

Examples:
  hermux keys add ann
  pass show openrouter | hermux keys add ann --stdin";

const KEYS_LIST: &str = "\
Shows what the running server knows, else what tokens.csv and the ledger say.

The JSON object has `server` (null where none runs: version, pid, started, address, tokens,
in_flight, waiting) and `keys`, each with name, key (masked), account (a name of hermux's own,
the same for the keys of one account), state (ok, resting, disabled), used_today (attempts),
in_flight, free_minute_left, free_day_left, cap_left_usd, cost_today_usd, expires and
rests: what (free, paid, other, all), why (a word), reason (a sentence) and until.
What is not known, not limited or not to end by itself is null; times are RFC 3339, UTC.

Examples:
  hermux keys list
  hermux keys list --json | jq -r '.keys[] | select(.state != \"ok\") | .name'";

const KEYS_EXPLAIN: &str = "\
The JSON object has `model` and `keys`, each with name, place (in the order of choice, from 1;
null where it can't serve), why (a word), reason (a sentence) and until.

Exit codes: 0 some key would serve, 1 none would, 3 could not find out.

Examples:
  hermux keys explain openai/gpt-4o-mini
  hermux keys explain meta-llama/llama-3.3-70b-instruct:free";

const KEYS_RESET: &str = "\
The running server takes it over at once; where none runs, the next one does. What OpenRouter
still refuses rests again after the first request that meets it.

Examples:
  hermux keys reset ann
  hermux keys reset --all";

const ALLOW_GEN: &str = "\
The token is printed once, alone on standard output, and appended to allow.txt; where it went
is told on standard error.

Examples:
  hermux allow gen
  hermux allow gen ci | pbcopy";

const STATS: &str = "\
Examples:
  hermux stats
  hermux stats --json | jq '.keys[] | {name, cost_usd}'";

const WAITING: &str = "Waiting";
const UPSTREAM: &str = "Upstream";
const BOUNDS: &str = "Bounds";
const GLOBAL: &str = "Files and logs";

/// The whole command line, for parsing and for whatever is generated from it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// A multiplexing streaming proxy for OpenRouter, and the toolkit around it.
///
/// hermux stands between applications and OpenRouter: one URL and your own access tokens in front, a pool of
/// OpenRouter keys behind. Each request gets the key that was used least today.
#[derive(Debug, Parser)]
#[command(name = "hermux", version, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{FILES}"))]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests with the keys of tokens.csv
    #[command(after_help = SERVE)]
    Serve(Box<ServeArgs>),
    /// Show how it works: a proxy before a look-alike of OpenRouter, with sample keys
    ///
    /// Everything runs on this machine and in a temporary directory that is removed at the end. Prints a `curl`
    /// line to paste, then a line for each request served. Ctrl-C ends it.
    #[command(after_help = DEMO)]
    Demo(DemoArgs),
    /// Manage the OpenRouter keys in tokens.csv
    #[command(subcommand, arg_required_else_help = true)]
    Keys(KeysCommand),
    /// Manage the access tokens in allow.txt
    #[command(subcommand, arg_required_else_help = true)]
    Allow(AllowCommand),
    /// Show requests, attempts, tokens and cost of each key today (UTC)
    #[command(after_help = STATS)]
    Stats(StatsArgs),
}

/// What applies to every command.
#[derive(Debug, Args)]
#[command(next_help_heading = GLOBAL)]
pub struct GlobalArgs {
    /// The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    #[arg(short, long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub tokens: Option<String>,
    /// The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub allow: Option<String>,
    /// Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data_dir: Option<String>,
    /// The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<String>,
    /// Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,
    /// Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// `hermux serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The IP address to listen on [default: 127.0.0.1] [env: HERMUX_ADDRESS]
    #[arg(short, long, value_name = "IP")]
    pub address: Option<String>,
    /// The port to listen on; 0 picks one [default: 3333] [env: HERMUX_PORT]
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<String>,
    /// Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]
    #[arg(long)]
    pub no_auth: bool,
    /// Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]
    #[arg(long)]
    pub no_affinity: bool,
    /// Ask OpenRouter nothing on hermux's own account; else GET /key tells limits and accounts of the keys, and
    /// GET /generation costs that answers did not [env: HERMUX_NO_POLL=true]
    #[arg(long)]
    pub no_poll: bool,
    /// How long the ledger keeps its entries; the sums by hour stay for ever [default: 90d] [env: HERMUX_KEEP_ENTRIES]
    #[arg(long, value_name = "DURATION")]
    pub keep_entries: Option<String>,
    /// How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]
    #[arg(long, value_name = "DURATION")]
    pub grace: Option<String>,
    /// Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<String>,

    /// OpenRouter, or what stands in for it; an origin without a path means /api/v1
    /// [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]
    #[arg(long, value_name = "URL", help_heading = UPSTREAM, value_hint = clap::ValueHint::Url)]
    pub upstream: Option<String>,
    /// An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed
    /// [env: HERMUX_UPSTREAM_PROXY]
    #[arg(long, value_name = "URL", help_heading = UPSTREAM, value_hint = clap::ValueHint::Url, hide_short_help = true)]
    pub upstream_proxy: Option<String>,
    /// More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system's
    /// [env: HERMUX_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = UPSTREAM, value_hint = clap::ValueHint::FilePath)]
    pub ca_file: Option<String>,

    /// For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]
    #[arg(long, value_name = "DURATION", help_heading = WAITING)]
    pub connect_timeout: Option<String>,
    /// From the end of a request to the head of upstream's answer [default: 600s]
    /// [env: HERMUX_FIRST_BYTE_TIMEOUT]
    #[arg(long, value_name = "DURATION", help_heading = WAITING)]
    pub first_byte_timeout: Option<String>,
    /// Between two bytes of upstream's answer; its whole time has no limit [default: 300s]
    /// [env: HERMUX_IDLE_TIMEOUT]
    #[arg(long, value_name = "DURATION", help_heading = WAITING)]
    pub idle_timeout: Option<String>,

    /// How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s]
    /// [env: HERMUX_MAX_WAIT]
    #[arg(long, value_name = "DURATION", help_heading = WAITING)]
    pub max_wait: Option<String>,
    /// How long an answer is held back while only comments came, since another key may still serve it
    /// [default: 1s] [env: HERMUX_COMMIT_AFTER]
    #[arg(long, value_name = "DURATION", help_heading = WAITING, hide_short_help = true)]
    pub commit_after: Option<String>,

    /// For the head of a caller's request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]
    #[arg(long, value_name = "DURATION", help_heading = BOUNDS, hide_short_help = true)]
    pub header_timeout: Option<String>,
    /// For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]
    #[arg(long, value_name = "DURATION", help_heading = BOUNDS, hide_short_help = true)]
    pub keep_alive_timeout: Option<String>,
    /// Between two bytes of a request's body [default: 60s] [env: HERMUX_BODY_TIMEOUT]
    #[arg(long, value_name = "DURATION", help_heading = BOUNDS, hide_short_help = true)]
    pub body_timeout: Option<String>,
    /// The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]
    #[arg(long, value_name = "SIZE", help_heading = BOUNDS, hide_short_help = true)]
    pub max_header_size: Option<String>,
    /// The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]
    #[arg(long, value_name = "SIZE", help_heading = BOUNDS, hide_short_help = true)]
    pub max_uri_size: Option<String>,
    /// Open connections of callers; further ones wait [default: by the file limit]
    /// [env: HERMUX_MAX_CONNECTIONS]
    #[arg(long, value_name = "NUMBER", help_heading = BOUNDS, hide_short_help = true)]
    pub max_connections: Option<String>,
    /// How much of a request's body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]
    #[arg(long, value_name = "SIZE", help_heading = BOUNDS, hide_short_help = true)]
    pub replay_size: Option<String>,
    /// The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]
    #[arg(long, value_name = "SIZE", help_heading = BOUNDS, hide_short_help = true)]
    pub replay_total: Option<String>,
}

/// `hermux demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// The port of the proxy; 0 picks one [default: 3333, another one where that is taken]
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,
    /// What there is to see; all but `calm` make requests themselves and print a line for each
    #[arg(short, long, value_name = "NAME", value_enum, default_value_t)]
    pub scenario: DemoScenario,
}

/// What `hermux demo` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DemoScenario {
    /// All goes well, and the requests are yours
    #[default]
    Calm,
    /// Free models meet their limits: keys take over for each other, and requests wait for the next minute
    Limits,
    /// A model is down for 20 s: its requests wait for it, those for another model are served
    Outage,
}

/// `hermux keys …`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Add a key to tokens.csv
    #[command(after_help = KEYS_ADD)]
    Add(KeysAddArgs),
    /// Show each key's account, use today, what is left, and what rests until when and why
    #[command(after_help = KEYS_LIST)]
    List(KeysListArgs),
    /// Say for each key whether it would be chosen for a model now, and why
    #[command(after_help = KEYS_EXPLAIN)]
    Explain(KeysExplainArgs),
    /// End the cooldowns of a key and its account
    #[command(after_help = KEYS_RESET)]
    Reset(KeysResetArgs),
}

/// `hermux keys add`.
#[derive(Debug, Args)]
pub struct KeysAddArgs {
    /// What the key is to be called; X-TOKEN-NAME tells it to callers
    pub name: String,
    /// Read the key from standard input
    #[arg(long)]
    pub stdin: bool,
}

/// `hermux keys list`.
#[derive(Clone, Debug, Args)]
pub struct KeysListArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `hermux keys explain`.
#[derive(Clone, Debug, Args)]
pub struct KeysExplainArgs {
    /// The model, as a request names it
    pub model: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `hermux keys reset`.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct KeysResetArgs {
    /// The name of the key
    pub name: Option<String>,
    /// All keys
    #[arg(long)]
    pub all: bool,
}

/// `hermux allow …`.
#[derive(Debug, Subcommand)]
pub enum AllowCommand {
    /// Make a random access token, print it once and append it to allow.txt
    #[command(after_help = ALLOW_GEN)]
    Gen(AllowGenArgs),
}

/// `hermux allow gen`.
#[derive(Debug, Args)]
pub struct AllowGenArgs {
    /// What its caller is to be called [default: the first digits of the token's SHA-256]
    pub name: Option<String>,
}

/// `hermux stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Compare with what GET /key tells of each key: equal, missed here, or spent outside hermux
    #[arg(long)]
    pub reconcile: bool,
}

impl Cli {
    /// What was typed, as pairs of setting and raw text.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut typed = self.global.settings();
        if let Command::Serve(args) = &self.command {
            typed.extend(args.settings());
        }
        typed
    }
}

impl GlobalArgs {
    fn settings(&self) -> Vec<(&'static str, String)> {
        let verbosity = i16::from(self.verbose) - i16::from(self.quiet);
        let verbosity = (verbosity != 0).then(|| verbosity.clamp(-9, 9).to_string());
        given([
            ("tokens", &self.tokens),
            ("allow", &self.allow),
            ("data_dir", &self.data_dir),
            ("config", &self.config),
            ("verbosity", &verbosity),
            ("log_format", &self.log_format),
        ])
    }
}

impl ServeArgs {
    fn settings(&self) -> Vec<(&'static str, String)> {
        given([
            ("address", &self.address),
            ("port", &self.port),
            ("no_auth", &self.no_auth.then(|| "true".to_owned())),
            ("no_affinity", &self.no_affinity.then(|| "true".to_owned())),
            ("no_poll", &self.no_poll.then(|| "true".to_owned())),
            ("keep_entries", &self.keep_entries),
            ("grace", &self.grace),
            ("workers", &self.workers),
            ("upstream", &self.upstream),
            ("upstream_proxy", &self.upstream_proxy),
            ("ca_file", &self.ca_file),
            ("connect_timeout", &self.connect_timeout),
            ("first_byte_timeout", &self.first_byte_timeout),
            ("idle_timeout", &self.idle_timeout),
            ("max_wait", &self.max_wait),
            ("commit_after", &self.commit_after),
            ("header_timeout", &self.header_timeout),
            ("keep_alive_timeout", &self.keep_alive_timeout),
            ("body_timeout", &self.body_timeout),
            ("max_header_size", &self.max_header_size),
            ("max_uri_size", &self.max_uri_size),
            ("max_connections", &self.max_connections),
            ("replay_size", &self.replay_size),
            ("replay_total", &self.replay_total),
        ])
    }
}

fn given<const N: usize>(typed: [(&'static str, &Option<String>); N]) -> Vec<(&'static str, String)> {
    typed.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect()
}
