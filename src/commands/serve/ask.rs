//! Asks upstream on hermux's own account: short questions with one key, off the request path.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Url};

use crate::config::Config;
use crate::keys::Key;
use crate::upstream::Connector;

/// How long an answer may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most of an answer that is read, bytes.
const LONGEST: usize = 64 << 10;

/// Asks upstream, and nobody else: no redirect is followed, and no variable names a proxy.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Asker {
    client: Client,
    /// Up to `/v1`.
    url: Arc<str>,
}

impl Asker {
    /// Prepares to ask the upstream of `connector`, which is that of `config`; asks nothing yet.
    pub(in crate::commands) fn new(config: &Config, connector: &Connector) -> anyhow::Result<Self> {
        let in_url = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let upstream = &config.upstream;
        let scheme = if upstream.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}:{}{}/v1", in_url(&upstream.host), upstream.port, upstream.base);
        Url::parse(&url).with_context(|| format!("not a URL: {url}"))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(connector.tls_config()?)
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(config.connect_timeout.min(PATIENCE))
            .timeout(PATIENCE)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("hermux/", env!("CARGO_PKG_VERSION")));
        if let Some((host, port)) = &config.upstream_proxy {
            builder = builder.proxy(Proxy::all(format!("http://{}:{port}", in_url(host)))?);
        }
        Ok(Self { client: builder.build()?, url: url.into() })
    }

    /// Asks for `path` below `/v1`, query included, with `key`; the error says why there is no answer, without any secret.
    pub(in crate::commands) async fn get(&self, path: &str, key: &Key) -> Result<Answer, String> {
        let mut bearer = HeaderValue::from_str(key.authorization())
            .map_err(|_| "the key cannot stand in a header".to_owned())?;
        bearer.set_sensitive(true);
        let asked = self.client.get(format!("{}{path}", self.url)).header(AUTHORIZATION, bearer);
        let mut answer = asked.send().await.map_err(|error| described(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| described(&error))? {
            if body.len() + chunk.len() > LONGEST {
                return Err("an answer too long".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: answer.status(), headers: std::mem::take(answer.headers_mut()), body })
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(in crate::commands) struct Answer {
    pub(in crate::commands) status: StatusCode,
    pub(in crate::commands) headers: HeaderMap,
    pub(in crate::commands) body: Vec<u8>,
}

/// An error and its causes.
fn described(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let _ = write!(text, ": {next}");
        cause = next.source();
    }
    text
}
