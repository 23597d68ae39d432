//! Every flag and subcommand; no logic. Values are taken as raw text: the configuration reads them.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "these comments are the help texts, and a terminal shows backticks"
)]

mod help;

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

#[cfg(feature = "tui")]
use self::help::TOP;
use self::help::{
    ALLOW, ALLOW_CHECK, ALLOW_GEN, ALLOW_LIST, ALLOW_REVOKE, COMPLETIONS, CONFIG, CONFIG_CHECK, CONFIG_INIT,
    CONFIG_PATH, CONFIG_SHOW, DEMO, EXAMPLES, FILES, KEYS, KEYS_ADD, KEYS_CHECK, KEYS_DISABLE, KEYS_ENABLE,
    KEYS_EXPLAIN, KEYS_LIST, KEYS_REMOVE, KEYS_RENAME, KEYS_RESET, SERVE, STATS,
};

/// The columns of tokens.csv besides `name` and `token`, and what they mean.
pub const COLUMNS: &[(&str, &str)] = &[
    ("account", "the account of the key, where hermux is to know better than OpenRouter tells"),
    ("daily_requests", "how many attempts it may serve in a UTC day"),
    ("daily_cost", "how many US dollars it may spend in a UTC day, such as 0.25"),
    ("weight", "2 is lent twice as often as 1"),
    ("models", "patterns of what it may serve, such as openai/*;*:free"),
    ("enabled", "false rests it"),
];

/// The attributes behind an access token in allow.txt, and what they mean.
pub const ATTRIBUTES: &[(&str, &str)] = &[
    ("name", "what the caller is called, in logs and in the ledger"),
    ("expires", "the last day (UTC), such as 2027-01-31, or a moment, 2027-01-31T18:00:00Z"),
    ("models", "patterns of the models that may be used, such as openai/*,*:free"),
    ("rpm", "how many requests a minute may have"),
    ("daily_requests", "how many requests a UTC day may have"),
    ("daily_cost", "how many US dollars a UTC day may cost, such as 0.25"),
    ("keys", "the names of the keys that may serve it, such as ann,bob"),
];

const WAITING: &str = "Waiting";
const UPSTREAM: &str = "Upstream";
const BOUNDS: &str = "Bounds";
const GLOBAL: &str = "Files and logs";

/// The commands as `hermux help` groups them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Serve", &["serve", "demo"]),
    ("Keys and access tokens", &["keys", "allow"]),
    ("See what happens", &["stats", "top"]),
    ("Set up", &["config", "completions", "help"]),
];

/// The whole command line, for whatever is generated from it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses what was typed; shows help, or what is wrong with it, and ends the process where there is nothing to do.
#[must_use]
pub fn parse() -> Cli {
    let typed: Vec<OsString> = std::env::args_os().collect();
    // Said before anything could repeat it.
    if typed.iter().skip(1).any(|word| word.to_str().is_some_and(is_secret)) {
        let problem = "a key or an access token was typed as an argument, where other processes can see it\n\
                       hint: it is asked for, or read from standard input; consider this one as no longer secret\n";
        grouped(command()).error(ErrorKind::UnknownArgument, problem).exit();
    }
    let mut command = grouped(command()).color(color_typed(&typed));
    let matches = command.try_get_matches_from_mut(typed).unwrap_or_else(|error| error.exit());
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// The same command, its help with the subcommands in groups, which clap does not know.
fn grouped(mut command: clap::Command) -> clap::Command {
    command.build();
    let styles = command.get_styles().clone();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut template = format!(
        "{{about-with-newline}}\n{header}Usage:{header:#} {literal}hermux{literal:#} [OPTIONS] <COMMAND>\n"
    );
    for (heading, names) in GROUPS {
        let _ = writeln!(template, "\n{header}{heading}:{header:#}");
        for sub in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(template, "  {literal}{:<11}{literal:#}  {about}", sub.get_name());
        }
    }
    template.push_str("\n{all-args}{after-help}");
    command
        .help_template(template)
        .override_usage("hermux [OPTIONS] <COMMAND>")
        .mut_subcommands(|sub| sub.hide(true))
}

/// What the help of `flag` says, and the default that it names, for where neither stands among flags.
#[must_use]
pub fn explained(flag: &clap::Arg) -> (String, Option<String>) {
    let mut help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    let mut take = |sign: &str| {
        let begin = help.find(sign)?;
        let end = begin + help[begin..].find(']')?;
        let inside = help[begin + sign.len()..end].to_owned();
        help.replace_range(begin..=end, "");
        Some(inside)
    };
    take("[env: ");
    let default = take("[default: ");
    (help.trim_end().to_owned(), default)
}

/// Whether `word`, or what follows its `=`, is as long as a key or an access token and begins as they do.
fn is_secret(word: &str) -> bool {
    let word = word.rsplit('=').next().unwrap_or(word);
    word.len() > 40
        && (word.starts_with("sk-or-") || word.starts_with("hmx_"))
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// What follows `--color`, since help is shown before anything is parsed.
fn color_typed(typed: &[OsString]) -> ColorChoice {
    let mut words = typed.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let when = if word == "--color" { words.next() } else { word.strip_prefix("--color=") };
        if let Some(choice) = when.and_then(|when| when.parse().ok()) {
            return choice;
        }
    }
    ColorChoice::Auto
}

/// A multiplexing streaming proxy for OpenRouter, and the toolkit around it.
///
/// hermux stands between applications and OpenRouter: one URL and your own access tokens in front, a pool of
/// OpenRouter keys behind. Each request gets the key that was used least today.
#[derive(Debug, Parser)]
#[command(name = "hermux", version, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", files()))]
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
    #[command(subcommand, arg_required_else_help = true, after_help = KEYS)]
    Keys(KeysCommand),
    /// Manage the access tokens in allow.txt
    #[command(subcommand, arg_required_else_help = true, after_help = ALLOW)]
    Allow(AllowCommand),
    /// Show requests, tokens, cost and latency by key, model, caller or time
    #[command(after_help = STATS)]
    Stats(StatsArgs),
    /// Watch a running server live: keys, what rests, requests, errors, who waits
    #[cfg(feature = "tui")]
    #[command(after_help = TOP)]
    Top,
    /// Set hermux up, and see what it goes by
    #[command(subcommand, arg_required_else_help = true, after_help = CONFIG)]
    Config(ConfigCommand),
    /// Print what a shell needs to complete hermux's commands
    #[command(after_help = COMPLETIONS)]
    Completions(CompletionsArgs),
}

/// [`FILES`] with the columns.
fn files() -> String {
    let columns = COLUMNS.iter().fold(String::new(), |mut text, (name, meaning)| {
        let _ = writeln!(text, "    {name:<15} {meaning}");
        text
    });
    FILES.replace("{columns}", &columns)
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
    /// When there are colors
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
}

/// `hermux serve`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct ServeArgs {
    /// The IP address to listen on, or unix:PATH for a Unix socket [default: 127.0.0.1] [env: HERMUX_ADDRESS]
    ///
    /// Where the service manager hands over sockets (LISTEN_FDS, as systemd does), they are listened on, and neither
    /// address nor port is used.
    #[arg(short, long, value_name = "IP|unix:PATH")]
    pub address: Option<String>,
    /// The port to listen on; 0 picks one; a Unix socket has none [default: 3333] [env: HERMUX_PORT]
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<String>,
    /// Who may connect to the Unix socket, as chmod takes it [default: 0600] [env: HERMUX_SOCKET_MODE]
    #[arg(long, value_name = "MODE", hide_short_help = true)]
    pub socket_mode: Option<String>,
    /// Speak TLS with callers: the certificate, its chain behind it, as PEM; read again when it changes
    /// [env: HERMUX_TLS_CERT]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub tls_cert: Option<String>,
    /// The private key of that certificate, as PEM, not encrypted [env: HERMUX_TLS_KEY]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub tls_key: Option<String>,
    /// Let web pages of this origin use hermux, such as https://app.example, or * for all; may be repeated, or be a list
    /// with commas [env: HERMUX_CORS]
    #[arg(long, value_name = "ORIGIN")]
    pub cors: Vec<String>,
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
    /// Tell metrics to Prometheus at this address, such as 127.0.0.1:9333, below /metrics [env: HERMUX_METRICS]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<String>,
    /// Log a line for each request: caller, key, model, status, times, tokens and cost [env: HERMUX_ACCESS_LOG=true]
    #[arg(long)]
    pub access_log: bool,
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
    /// Ask OpenRouter about keys: whether they are valid, what is left, who shares an account
    #[command(after_help = KEYS_CHECK)]
    Check(KeysCheckArgs),
    /// Say for each key whether it would be chosen for a model now, and why
    #[command(after_help = KEYS_EXPLAIN)]
    Explain(KeysExplainArgs),
    /// Remove a key from tokens.csv
    #[command(after_help = KEYS_REMOVE)]
    Remove(KeysRemoveArgs),
    /// Give a key another name
    #[command(after_help = KEYS_RENAME)]
    Rename(KeysRenameArgs),
    /// Let a key serve again that was disabled in tokens.csv
    #[command(after_help = KEYS_ENABLE)]
    Enable(KeysNameArgs),
    /// Keep a key from serving
    #[command(after_help = KEYS_DISABLE)]
    Disable(KeysNameArgs),
    /// End the cooldowns of a key and its account
    #[command(after_help = KEYS_RESET)]
    Reset(KeysResetArgs),
}

/// `hermux keys add`.
#[derive(Debug, Args)]
pub struct KeysAddArgs {
    /// What the key is to be called; X-TOKEN-NAME tells it to callers [default: asked for on a terminal]
    pub name: Option<String>,
    /// Read the key from standard input
    #[arg(long, requires = "name")]
    pub stdin: bool,
    /// Add the keys of a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "stdin"], value_hint = clap::ValueHint::FilePath)]
    pub from_file: Option<String>,
    /// Add the keys of all variables whose names begin so: PREFIX_ANN=sk-or-… adds `ann`
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["name", "stdin", "from_file"])]
    pub from_env: Option<String>,
    /// Write without asking OpenRouter about it
    #[arg(long)]
    pub no_check: bool,
    /// How long OpenRouter may take to answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: String,
}

/// `hermux keys check`.
#[derive(Clone, Debug, Args)]
pub struct KeysCheckArgs {
    /// The names of keys [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How long OpenRouter may take to answer for each
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `hermux keys remove`.
#[derive(Clone, Debug, Args)]
pub struct KeysRemoveArgs {
    /// The name of the key
    pub name: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `hermux keys rename`.
#[derive(Clone, Debug, Args)]
pub struct KeysRenameArgs {
    /// The name of the key
    pub name: String,
    /// What it is to be called
    pub new: String,
}

/// `hermux keys enable` and `disable`.
#[derive(Clone, Debug, Args)]
pub struct KeysNameArgs {
    /// The name of the key
    pub name: String,
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
    /// Make a random access token, print it once and append its SHA-256 to allow.txt
    #[command(after_help = ALLOW_GEN)]
    Gen(AllowGenArgs),
    /// Show each access token's caller, limits, use today and end; never the token
    #[command(after_help = ALLOW_LIST)]
    List(AllowListArgs),
    /// Remove a caller's access tokens from allow.txt
    #[command(after_help = ALLOW_REVOKE)]
    Revoke(AllowRevokeArgs),
    /// Say which line of allow.txt an access token is, and whether it is valid
    #[command(after_help = ALLOW_CHECK)]
    Check,
}

/// `hermux allow gen`.
#[derive(Debug, Args)]
pub struct AllowGenArgs {
    /// What its caller is to be called [default: the first digits of the token's SHA-256]
    pub name: Option<String>,
    /// How many to make; the callers are then called NAME-1, NAME-2 and on
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub count: u16,
    /// Store it readable instead of its SHA-256
    #[arg(long)]
    pub plain: bool,
    /// How long it is valid, such as 30d or 12h, or its last day (UTC), such as 2026-12-31
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Patterns of the models it may use, such as 'openai/*,*:free'
    #[arg(long, value_name = "PATTERNS")]
    pub models: Option<String>,
    /// How many requests of models it may make within any minute
    #[arg(long, value_name = "NUMBER")]
    pub rpm: Option<String>,
    /// How many requests of models it may make in a UTC day
    #[arg(long, value_name = "NUMBER")]
    pub daily_requests: Option<String>,
    /// How many US dollars it may spend in a UTC day, such as 0.25; overrun by no more than what is under way
    #[arg(long, value_name = "USD")]
    pub daily_cost: Option<String>,
    /// Which keys of tokens.csv may serve it, such as ann,bob
    #[arg(long, value_name = "NAMES")]
    pub keys: Option<String>,
}

/// `hermux allow list`.
#[derive(Clone, Debug, Args)]
pub struct AllowListArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `hermux allow revoke`.
#[derive(Clone, Debug, Args)]
pub struct AllowRevokeArgs {
    /// The caller's name, or the id of one access token
    pub name: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `hermux stats`.
#[derive(Clone, Debug, Default, Args)]
pub struct StatsArgs {
    /// Group by these, the first above all; a list with commas, or repeated [default: key]
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub by: Vec<StatsBy>,
    /// Only what left from then on [default: today; with --until from the beginning]
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only what left until then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only these keys; may be repeated
    #[arg(long, value_name = "NAME")]
    pub key: Vec<String>,
    /// Only these models; may be repeated
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Only these callers; may be repeated
    #[arg(long, value_name = "NAME")]
    pub caller: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Print CSV, a line for each group
    #[arg(long, conflicts_with_all = ["json", "reconcile"])]
    pub csv: bool,
    /// Show it anew every so many seconds, in place, until Ctrl-C [default: 2]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        conflicts_with_all = ["json", "csv", "reconcile"],
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub watch: Option<u32>,
    /// Compare with what GET /key tells of each key: equal, missed here, or spent outside hermux
    #[arg(long, conflicts_with_all = ["by", "since", "until", "key", "model", "caller"])]
    pub reconcile: bool,
}

/// What `hermux stats` groups by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsBy {
    /// The key
    Key,
    /// The model that was asked for
    Model,
    /// The caller
    Caller,
    /// The day (UTC)
    Day,
    /// The hour (UTC)
    Hour,
    /// The status of the answer
    Status,
    /// The account of the key
    Account,
}

/// `hermux config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show which files are used, and why
    #[command(after_help = CONFIG_PATH)]
    Path(ConfigPathArgs),
    /// Show every value and where it stands
    #[command(after_help = CONFIG_SHOW)]
    Show(Box<ConfigShowArgs>),
    /// Write a config.toml that explains every key; on a terminal also ask for the first key and make an access token
    #[command(after_help = CONFIG_INIT)]
    Init(ConfigInitArgs),
    /// Check everything that `hermux serve` would check before it opens its port
    #[command(after_help = CONFIG_CHECK)]
    Check(Box<ConfigCheckArgs>),
}

/// `hermux config path`.
#[derive(Clone, Debug, Args)]
pub struct ConfigPathArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `hermux config show`.
#[derive(Debug, Args)]
#[command(mut_args(|arg| if arg.get_id() == "json" { arg } else { arg.hide(true) }))]
pub struct ConfigShowArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Those of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// `hermux config init`.
#[derive(Clone, Debug, Args)]
pub struct ConfigInitArgs {
    /// Replace a config.toml that is there
    #[arg(long)]
    pub force: bool,
}

/// `hermux config check`.
#[derive(Debug, Args)]
#[command(mut_args(|arg| if arg.get_id() == "json" { arg } else { arg.hide(true) }))]
pub struct ConfigCheckArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Those of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// `hermux completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// Which one
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// PowerShell
    #[value(alias = "pwsh")]
    Powershell,
    /// elvish
    Elvish,
    /// nushell
    #[value(alias = "nu")]
    Nushell,
}

impl Cli {
    /// What was typed, as pairs of setting and raw text.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut typed = self.global.settings();
        match &self.command {
            Command::Serve(args) => typed.extend(args.settings()),
            Command::Config(ConfigCommand::Show(args)) => typed.extend(args.serve.settings()),
            Command::Config(ConfigCommand::Check(args)) => typed.extend(args.serve.settings()),
            _ => {}
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
            ("socket_mode", &self.socket_mode),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("cors", &(!self.cors.is_empty()).then(|| self.cors.join(","))),
            ("no_auth", &self.no_auth.then(|| "true".to_owned())),
            ("no_affinity", &self.no_affinity.then(|| "true".to_owned())),
            ("no_poll", &self.no_poll.then(|| "true".to_owned())),
            ("keep_entries", &self.keep_entries),
            ("metrics", &self.metrics),
            ("access_log", &self.access_log.then(|| "true".to_owned())),
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
