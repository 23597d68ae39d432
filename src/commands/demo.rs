//! `hermux demo`: the proxy in front of a look-alike of `OpenRouter`, with sample keys, in a temporary directory.

mod traffic;

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tracing::level_filters::LevelFilter;

use self::traffic::{Outage, Plan};
use super::serve;
use crate::access;
use crate::cli::{DemoArgs, DemoScenario};
use crate::clock::Clock;
use crate::config::{Address, Config, UpstreamUrl};
use crate::keys;
use crate::keys::KeyName;
use crate::secret::Secret;
use crate::simulator::{Account, Key, Model, Pace, Scenario, Simulator};

const KEYS: [&str; 3] = ["ann", "ben", "cay"];
/// Where the proxy listens when nobody says otherwise.
const PORT: u16 = 3333;
/// Long enough to see that an answer is a stream.
const ANSWER_TOKENS: usize = 40;
const TOKENS_PER_SECOND: u32 = 20;
/// Nobody waits long for the end of a demo.
const GRACE: Duration = Duration::from_secs(2);

const FREE: &str = "deepseek/deepseek-chat:free";
const PAID: &str = "openai/gpt-4o-mini";
const OTHER: &str = "deepseek/deepseek-chat";

/// Lets the log show a line for each request, whatever else it shows; where the demo makes the requests itself,
/// it shows their lines.
pub(super) fn show_requests(args: &DemoArgs, config: &mut Config) {
    if args.scenario == DemoScenario::Calm {
        config.log = std::mem::take(&mut config.log).with_target("hermux::request", LevelFilter::DEBUG);
    }
}

/// Runs until Ctrl-C.
pub(super) fn run(args: &DemoArgs, config: Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let stop = Stop::install()?;
    let home = tempfile::Builder::new()
        .prefix("hermux-demo-")
        .tempdir()
        .context("could not make a temporary directory")?;
    let scenario = scenario(args.scenario);
    let access_token = access::generate();
    let config = Config { port: port(args, out)?, ..prepare(config, home.path(), &scenario, &access_token)? };
    let simulator = Simulator::start(scenario).context("could not start the look-alike")?;
    let upstream = UpstreamUrl { port: simulator.address().port(), ..config.upstream.clone() };
    let running = serve::start(&Config { upstream, ..config }, Clock::system())?;

    let address = running.address().context("the demo does not listen")?;
    let url = format!("http://{address}/api/v1");
    // Whoever closed the pipe does not want to see it, but everything is to be cleaned up all the same.
    let told = explain(out, &url, &access_token, home.path()).and_then(|()| {
        let ended = if let Some(plan) = plan(args.scenario, out)? {
            stop.wait(traffic::run(plan, address, &access_token, &simulator, out))
        } else {
            invite(out, &url, &access_token)?;
            stop.wait(std::future::pending())
        };
        ended.unwrap_or(Ok(()))
    });

    running.stop()?;
    drop(simulator);
    let path = home.path().display().to_string();
    home.close().with_context(|| format!("could not remove the temporary directory: {path}"))?;
    told.context("could not show how to use the demo")?;
    Ok(ExitCode::SUCCESS)
}

/// Sample keys, and models that take their time, or accounts and models that `shown` is about.
fn scenario(shown: DemoScenario) -> Scenario {
    // Nobody looks at them.
    let sample = Scenario { keep_attempts: 1, keep_body: 0, ..Scenario::with_keys(&KEYS) };
    let brisk = Pace { head: Duration::from_millis(200), ..Pace::default() };
    match shown {
        DemoScenario::Calm => {
            let slow = |model| Model { answer_tokens: Some(ANSWER_TOKENS), ..model };
            let first_token = Duration::from_millis(300);
            Scenario {
                models: Model::samples().into_iter().map(slow).collect(),
                pace: Pace { first_token, ..Pace::tokens_per_second(TOKENS_PER_SECOND) },
                ..sample
            }
        }
        DemoScenario::Limits => {
            // Less than OpenRouter grants, so that the limits are met, and by one account after the other.
            let limited = |(name, free_per_minute): (&str, u32)| Account {
                free_per_minute,
                ..Account::new(name).key(Key::new(name))
            };
            let accounts = KEYS.into_iter().zip([5, 9, 13]).map(limited).collect();
            Scenario { accounts, pace: brisk, ..sample }
        }
        DemoScenario::Outage => Scenario { pace: brisk, ..sample },
    }
}

/// The traffic that shows `scenario`, where the demo makes it itself, and a word on what there is to see.
fn plan(scenario: DemoScenario, out: &mut dyn Write) -> io::Result<Option<Plan>> {
    let plan = match scenario {
        DemoScenario::Calm => return Ok(None),
        DemoScenario::Limits => {
            writeln!(
                out,
                "\
Two free requests and a paid one every three seconds, while the accounts allow 5, 9 and 13 free ones
a minute. Watch keys take over for each other, then free requests wait for the next whole minute
while paid ones go on. Ctrl-C ends the demo.
"
            )?;
            Plan { models: &[FREE, FREE, PAID], every: Duration::from_secs(1), outage: None }
        }
        DemoScenario::Outage => {
            writeln!(
                out,
                "\
Two requests a second, for two models in turn. One of them is down for 20 s of each minute: watch its
requests wait for it, few of them tried in vain, while the other model serves as if nothing were. Ctrl-C ends
the demo.
"
            )?;
            let outage = Outage {
                model: PAID,
                after: Duration::from_secs(5),
                span: Duration::from_secs(20),
                again: Duration::from_secs(60),
            };
            Plan { models: &[PAID, OTHER], every: Duration::from_millis(500), outage: Some(outage) }
        }
    };
    out.flush()?;
    Ok(Some(plan))
}

/// Writes the files a proxy needs into `home`, and turns `config` towards them.
fn prepare(
    config: Config,
    home: &Path,
    scenario: &Scenario,
    access_token: &Secret,
) -> anyhow::Result<Config> {
    let config = Config {
        tokens: home.join("tokens.csv"),
        allow: home.join("allow.txt"),
        data_dir: home.join("data"),
        address: Address::Ip(Ipv4Addr::LOCALHOST.into()),
        tls_cert: None,
        tls_key: None,
        upstream: UpstreamUrl {
            tls: false,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: 0,
            base: "/api".to_owned(),
        },
        upstream_proxy: None,
        ca_file: None,
        no_auth: false,
        grace: GRACE,
        ..config
    };
    for key in scenario.keys() {
        keys::file::add(&config.tokens, &KeyName::parse(&key.name)?, &Secret::new(key.secret.clone()))?;
    }
    let (form, terms) = (access::file::Form::Hashed, access::Terms::default());
    let new = access::file::New { token: access_token, form, name: Some("demo"), terms: &terms };
    access::file::append(&config.allow, &[new])?;
    Ok(config)
}

/// The port that was asked for, else the usual one, else any.
fn port(args: &DemoArgs, out: &mut dyn Write) -> anyhow::Result<u16> {
    if let Some(port) = args.port {
        return Ok(port);
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            writeln!(out, "port {PORT} is taken, so the demo picked a free one")?;
            Ok(0)
        }
        // Any other trouble is told by the proxy, with its cure.
        _ => Ok(PORT),
    }
}

fn explain(out: &mut dyn Write, url: &str, access_token: &Secret, home: &Path) -> io::Result<()> {
    writeln!(
        out,
        "\
hermux in front of a look-alike of OpenRouter, with the sample keys {}

  URL           {url}
  access token  {}
  data          {} (removed at the end)
",
        KEYS.join(", "),
        access_token.expose(),
        home.display()
    )
}

/// A request to paste.
fn invite(out: &mut dyn Write, url: &str, access_token: &Secret) -> io::Result<()> {
    let token = access_token.expose();
    let body =
        r#"{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    writeln!(
        out,
        "\
Paste this into another terminal, more than once:

curl -N {url}/chat/completions \\
  -H 'Authorization: Bearer {token}' \\
  -H 'Content-Type: application/json' \\
  -d '{body}'

Each request shows a line here. Ctrl-C ends the demo.
"
    )?;
    out.flush()
}

/// The signals that end a demo; caught from the start, so that none leaves the temporary directory behind.
struct Stop {
    runtime: tokio::runtime::Runtime,
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

impl Stop {
    fn install() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the signal loop")?;
        #[cfg(unix)]
        let signals = {
            use tokio::signal::unix::{SignalKind, signal};
            let _inside = runtime.enter();
            let install = |kind| signal(kind).context("could not install signal handlers");
            [
                install(SignalKind::interrupt())?,
                install(SignalKind::terminate())?,
                install(SignalKind::hangup())?,
            ]
        };
        Ok(Self {
            runtime,
            #[cfg(unix)]
            signals,
        })
    }

    /// Does `meanwhile` until a signal comes; what came of it, where it ended before that.
    #[cfg(unix)]
    fn wait<T>(self, meanwhile: impl Future<Output = T>) -> Option<T> {
        let [mut interrupt, mut terminate, mut hangup] = self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                done = meanwhile => Some(done),
                _ = interrupt.recv() => None,
                _ = terminate.recv() => None,
                _ = hangup.recv() => None,
            }
        })
    }

    /// The same; without a handler there is nothing to wait for, and the demo ends.
    #[cfg(not(unix))]
    fn wait<T>(self, meanwhile: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            tokio::select! {
                done = meanwhile => Some(done),
                _ = tokio::signal::ctrl_c() => None,
            }
        })
    }
}
