//! Opens connections: resolves, tries the addresses, goes through a proxy, shakes hands.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::conn::Io;
use super::{Connector, Origin, SendError, SetupError, tls};
use crate::http1::MAX_HEADERS;

/// How long addresses are used without asking again.
const ADDRESS_LIFE: Duration = Duration::from_secs(10);
/// How long a name that did not resolve is not asked for again: those who waited for the same answer share it.
const FAILURE_LIFE: Duration = Duration::from_secs(1);
/// How long an address has to itself before the next one is tried beside it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// Bytes of a proxy's answer to CONNECT.
const MAX_PROXY_HEAD: usize = 16 * 1024;

/// The addresses of a name, or why there are none.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

type Ask = dyn Fn(&str, u16) -> Resolving + Send + Sync;

/// Finds the addresses of a host, shared by all workers.
pub(super) struct Resolver {
    ask: Box<Ask>,
    known: Mutex<Option<Known>>,
}

struct Known {
    addresses: Option<Arc<[SocketAddr]>>,
    until: Instant,
}

impl Resolver {
    pub(super) fn system() -> Self {
        Self::new(|host, port| {
            let host = host.to_owned();
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        })
    }

    pub(super) fn new(ask: impl Fn(&str, u16) -> Resolving + Send + Sync + 'static) -> Self {
        Self { ask: Box::new(ask), known: Mutex::new(None) }
    }

    /// The addresses in the order in which to try them. While one asks, the others wait for its answer.
    async fn resolve(&self, host: &str, port: u16) -> Option<Arc<[SocketAddr]>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Arc::new([SocketAddr::new(ip, port)]));
        }
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.addresses.clone();
        }
        let found = (self.ask)(host, port).await.ok().filter(|found| !found.is_empty());
        let addresses: Option<Arc<[SocketAddr]>> = found.map(|found| alternate(found).into());
        let life = if addresses.is_some() { ADDRESS_LIFE } else { FAILURE_LIFE };
        *known = Some(Known { addresses: addresses.clone(), until: Instant::now() + life });
        addresses
    }

    /// Asks anew next time, unless somebody is asking already.
    fn forget(&self) {
        if let Ok(mut known) = self.known.try_lock() {
            *known = None;
        }
    }
}

/// Lets the two families take turns, the first address's own first (RFC 8305, section 4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == six_first);
    let mut second = second.into_iter();
    let mut turns = Vec::with_capacity(first.len() + second.len());
    for address in first {
        turns.push(address);
        turns.extend(second.next());
    }
    turns.extend(second);
    turns
}

/// What TLS with the origin needs.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(origin: &Origin, ca_file: Option<&std::path::Path>) -> Result<Self, SetupError> {
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| SetupError(format!("TLS needs a host name or an IP address: {}", origin.host)))?;
        Ok(Self { config: tls::client_config(ca_file)?, name })
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }
}

/// Opens a connection to the origin, within the connect timeout.
pub(super) async fn dial(connector: &Connector) -> Result<Io, SendError> {
    timeout(connector.settings.connect_timeout, open(connector))
        .await
        .unwrap_or(Err(SendError::ConnectTimeout))
}

async fn open(connector: &Connector) -> Result<Io, SendError> {
    let origin = &connector.settings.origin;
    let proxy = connector.settings.proxy.as_ref();
    let via = |what: &str, direct| if proxy.is_some() { SendError::Proxy(what.to_owned()) } else { direct };

    let hop = proxy.unwrap_or(origin);
    let addresses = connector.resolver.resolve(&hop.host, hop.port).await;
    let addresses = addresses.ok_or_else(|| via("its name could not be resolved", SendError::Resolve))?;
    let Ok(mut stream) = race(&addresses).await else {
        connector.resolver.forget();
        return Err(via("it refused the connection", SendError::Connect));
    };
    // Requests and answers are written whole; waiting to fill packets would only delay them.
    stream.set_nodelay(true).map_err(|_| SendError::Connect)?;
    if proxy.is_some() {
        tunnel(&mut stream, origin).await.map_err(SendError::Proxy)?;
    }
    match &connector.tls {
        None => Ok(Io::Plain(stream)),
        Some(tls) => TlsConnector::from(Arc::clone(&tls.config))
            .connect(tls.name.clone(), stream)
            .await
            .map(|stream| Io::Tls(Box::new(stream)))
            .map_err(|error| SendError::Tls(tls_fault(&error))),
    }
}

fn tls_fault(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(fault) => fault.to_string(),
        None => "the connection ended during the handshake".to_owned(),
    }
}

/// The first connection that any of the addresses takes: they are tried in order, the next one when the one
/// before failed or took its time.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut racing: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>> = Vec::new();
    let mut stagger = std::pin::pin!(sleep(STAGGER));
    let mut fault = io::Error::from(io::ErrorKind::AddrNotAvailable);
    poll_fn(|cx| {
        loop {
            let mut at = 0;
            let mut failed = false;
            while at < racing.len() {
                match racing[at].as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        fault = error;
                        failed = true;
                        drop(racing.remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if !failed && !racing.is_empty() && stagger.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(&address) => {
                    racing.push(Box::pin(TcpStream::connect(address)));
                    stagger.as_mut().reset(Instant::now() + STAGGER);
                }
                None if racing.is_empty() => {
                    return Poll::Ready(Err(std::mem::replace(&mut fault, io::ErrorKind::Other.into())));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

/// Asks the proxy at the other end of `stream` for a tunnel to `origin` (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut TcpStream, origin: &Origin) -> Result<(), String> {
    let cut = |_| "it closed the connection".to_owned();
    let target = origin.authority_with_port();
    let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(cut)?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await.map_err(cut)? == 0 {
            return Err("it closed the connection".to_owned());
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut slots);
        match response.parse(&answer) {
            Ok(httparse::Status::Complete(used)) => {
                return match response.code {
                    // Behind the tunnel nobody speaks before we do.
                    Some(200..=299) if used == answer.len() => Ok(()),
                    Some(200..=299) => Err("it sent more than an answer".to_owned()),
                    code => Err(format!("it answered with status {}", code.unwrap_or_default())),
                };
            }
            Ok(httparse::Status::Partial) if answer.len() < MAX_PROXY_HEAD => {}
            _ => return Err("its answer is not valid HTTP".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::alternate;

    #[test]
    fn families_take_turns() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
        let found = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"]);
        let turns = parse(&["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"]);
        assert_eq!(alternate(found), turns);
        let one = parse(&["127.0.0.1:1", "127.0.0.2:1"]);
        assert_eq!(alternate(one.clone()), one);
    }
}
