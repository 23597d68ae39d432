//! Asks upstream on hermux's own account, off the request path: about keys (`GET /key`), and what answers cost.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Url};
use tokio::task::JoinSet;

use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::keys::Key;
use crate::keys::need::Told;
use crate::openrouter::account::{KeyInfo, Period};
use crate::openrouter::fault::{self, Kind};
use crate::upstream::{Connector, Origin, SetupError};

/// How many of [`ask_all`]'s questions are open at once.
const OPEN: usize = 8;

/// How long an answer may take in all, where nobody says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The most of an answer that is read, bytes.
const LONGEST: usize = 64 << 10;

/// The longest id of an account that is believed, bytes; `user_…` has about 32.
const LONGEST_ID: usize = 128;

/// What an answer says.
#[derive(Debug)]
pub(super) enum Said {
    Info(Box<KeyInfo>),
    /// The key is refused.
    Refused,
}

impl Said {
    /// Why a key of which this was said at `now` serves nothing, if so.
    pub(super) fn unfit(&self, now: Time) -> Option<&'static str> {
        match self {
            Self::Refused => Some("OpenRouter refuses it: it is mistyped, disabled, expired or deleted"),
            Self::Info(info) if info.is_management_key == Some(true) => {
                Some("it is a management key, which serves no requests")
            }
            Self::Info(info) if info.expires_at.is_some_and(|end| end <= now) => Some("it has expired"),
            Self::Info(_) => None,
        }
    }
}

/// Asks about all of `keys` side by side, each for `patience` at most, and waits for the answers; the error of one says
/// why it told nothing. `seen` is told how many have come.
pub(super) fn ask_all(
    config: &Config,
    keys: &[Key],
    patience: Duration,
    clock: &Clock,
    mut seen: impl FnMut(usize),
) -> anyhow::Result<Vec<Result<Said, String>>> {
    let connector = connector(config)?;
    let asker = Asker::new(config, &connector, patience)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut said: Vec<_> = keys.iter().map(|_| Err("the question was never asked".to_owned())).collect();
        let (mut left, mut open, mut count) = (keys.iter().cloned().enumerate(), JoinSet::new(), 0);
        loop {
            while open.len() < OPEN
                && let Some((at, key)) = left.next()
            {
                let (asker, now) = (asker.clone(), clock.now());
                open.spawn(async move { (at, asker.ask(&key, now).await) });
            }
            let Some(done) = open.join_next().await else { return Ok(said) };
            let (at, answer) = done?;
            said[at] = answer;
            count += 1;
            seen(count);
        }
    })
}

/// Prepares to reach the upstream of `config`; what is wrong with the CA file names where that file is named.
pub(super) fn connector(config: &Config) -> Result<Connector, SetupError> {
    Connector::new(upstream_settings(config)).map_err(|error| match &config.ca_file {
        Some(path) if error.0.contains(&format!(": {}\n", path.display())) => {
            SetupError(format!("{}: {error}", config.ca_file_source))
        }
        _ => error,
    })
}

/// Where upstream is and how long it may take, as `config` says.
fn upstream_settings(config: &Config) -> crate::upstream::Settings {
    let upstream = &config.upstream;
    crate::upstream::Settings {
        origin: Origin { tls: upstream.tls, host: upstream.host.clone(), port: upstream.port },
        connect_timeout: config.connect_timeout,
        first_byte_timeout: config.first_byte_timeout,
        idle_timeout: config.idle_timeout,
        ca_file: config.ca_file.clone(),
        proxy: config.upstream_proxy.clone().map(|(host, port)| Origin { tls: false, host, port }),
    }
}

/// Asks upstream, and nobody else: no redirect is followed, and no variable names a proxy.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    client: Client,
    /// Up to `/v1`.
    url: Arc<str>,
}

impl Asker {
    /// Prepares to ask the upstream of `connector`, which is that of `config`; an answer may take `patience` in all.
    pub(super) fn new(config: &Config, connector: &Connector, patience: Duration) -> anyhow::Result<Self> {
        let in_url = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let upstream = &config.upstream;
        let scheme = if upstream.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}:{}{}/v1", in_url(&upstream.host), upstream.port, upstream.base);
        Url::parse(&url).with_context(|| format!("not a URL: {url}"))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(connector.tls_config()?)
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(config.connect_timeout.min(patience))
            .timeout(patience)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("hermux/", env!("CARGO_PKG_VERSION")));
        if let Some((host, port)) = &config.upstream_proxy {
            builder = builder.proxy(Proxy::all(format!("http://{}:{port}", in_url(host)))?);
        }
        Ok(Self { client: builder.build()?, url: url.into() })
    }

    /// Asks for `path` below `/v1`, query included, with `key`; the error says why there is no answer, without any secret.
    pub(super) async fn get(&self, path: &str, key: &Key) -> Result<Answer, String> {
        let mut bearer = HeaderValue::from_str(key.authorization())
            .map_err(|_| "the key cannot stand in a header".to_owned())?;
        bearer.set_sensitive(true);
        let asked = self.client.get(format!("{}{path}", self.url)).header(AUTHORIZATION, bearer);
        let mut answer = asked.send().await.map_err(described)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(described)? {
            if body.len() + chunk.len() > LONGEST {
                return Err("an answer too long".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: answer.status(), headers: std::mem::take(answer.headers_mut()), body })
    }

    /// Asks about one key, `GET /key`; the error says why that told nothing, without any secret.
    pub(super) async fn ask(&self, key: &Key, now: Time) -> Result<Said, String> {
        let Answer { status, headers, body } = self.get("/key", key).await?;
        if status.is_success() {
            let info = KeyInfo::parse(&body).ok_or_else(|| "an answer that tells of no key".to_owned())?;
            return Ok(Said::Info(Box::new(info)));
        }
        match fault::classify(status, &headers, &body, now).map(|fault| fault.kind) {
            Some(Kind::KeyRefused) => Ok(Said::Refused),
            Some(kind) => Err(format!("status {}, {kind}", status.as_u16())),
            None => Err(format!("status {}", status.as_u16())),
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// An error and its causes, without the URL that every question has.
fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let _ = write!(text, ": {next}");
        cause = next.source();
    }
    text
}

/// What an answer of `GET /key`, asked at `at`, means for the pool.
pub(super) fn told(info: &KeyInfo, at: Time) -> Told {
    // Answers before `limit_remaining` was there tell the cap and what was spent.
    let spent = match info.limit_reset {
        None => info.usage,
        Some(Period::Daily) => info.usage_daily,
        Some(Period::Weekly) => info.usage_weekly,
        Some(Period::Monthly) => info.usage_monthly,
    };
    let left = info.limit_remaining.or_else(|| Some(info.limit?.saturating_sub(spent?)));
    let free = info.free_model_daily_requests.unwrap_or_default();
    Told {
        account: info.account_id().filter(|id| id.len() <= LONGEST_ID).map(Into::into),
        cap_left: left,
        cap_resets: left.and(info.limit_reset).map(|period| period.end(at)),
        expires: info.expires_at,
        free_tier: info.is_free_tier,
        free_used: free.used.or_else(|| Some(free.limit?.saturating_sub(free.remaining?))),
        free_limit: free.limit,
        management: info.is_management_key == Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::clock::Time;
    use crate::keys::need::Told;
    use crate::openrouter::account::KeyInfo;

    /// 2026-11-22T12:00:00Z, a Sunday.
    const NOON: Time = Time(1_795_348_800_000);

    fn told_by(data: &str) -> Told {
        let info = KeyInfo::parse(format!(r#"{{"data":{data}}}"#).as_bytes()).expect("an answer");
        told(&info, NOON)
    }

    #[test]
    fn an_answer_becomes_what_the_pool_wants_to_know() {
        let all = told_by(
            r#"{"limit":100,"limit_remaining":74.5,"limit_reset":"weekly","usage":25.5,"is_free_tier":true,
                "is_management_key":true,"free_model_daily_requests":{"used":12,"limit":50,"remaining":38},
                "creator_user_id":"user_1","organization_id":"org_1","expires_at":"2027-01-01T00:00:00Z"}"#,
        );
        let expected = Told {
            account: Some("org_1".into()),
            cap_left: Some(74_500_000_000),
            cap_resets: Some(Time(NOON.0 + 12 * 3_600_000)),
            expires: Some(Time(1_798_761_600_000)),
            free_tier: Some(true),
            free_used: Some(12),
            free_limit: Some(50),
            management: true,
        };
        assert_eq!(all, expected);
        assert_eq!(told_by("{}"), Told::default());
    }

    #[test]
    fn what_is_left_is_worked_out_where_the_answer_does_not_say() {
        let left = |data| told_by(data).cap_left;
        assert_eq!(left(r#"{"limit":10,"usage":4}"#), Some(6_000_000_000));
        assert_eq!(
            left(r#"{"limit":10,"limit_reset":"daily","usage":400,"usage_daily":1}"#),
            Some(9_000_000_000)
        );
        assert_eq!(left(r#"{"limit":10,"limit_reset":"monthly","usage":400}"#), None);
        assert_eq!(left(r#"{"limit":null,"limit_remaining":null,"usage":400}"#), None);
        // A period without a cap is none that ends.
        assert_eq!(told_by(r#"{"limit":null,"limit_reset":"daily"}"#).cap_resets, None);
        let free = told_by(r#"{"free_model_daily_requests":{"limit":50,"remaining":38}}"#);
        assert_eq!((free.free_used, free.free_limit), (Some(12), Some(50)));
    }
}
