//! Traffic that the demo makes itself, a line for each request, so that a person sees limits and outages pass.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::secret::Secret;
use crate::simulator::{Simulator, errors};

/// What is asked for, and what goes wrong meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The models in turn.
    pub(super) models: &'static [&'static str],
    /// Between two requests.
    pub(super) every: Duration,
    /// The model that is down at times.
    pub(super) outage: Option<Outage>,
}

/// A model that is down at times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) model: &'static str,
    /// When it is down for the first time.
    pub(super) after: Duration,
    /// How long it is down.
    pub(super) span: Duration,
    /// From the beginning of one outage to that of the next.
    pub(super) again: Duration,
}

/// Makes requests as `plan` says until it is dropped; ends only when nobody reads its lines any more.
pub(super) async fn run(
    plan: Plan,
    address: SocketAddr,
    access_token: &Secret,
    simulator: &Simulator,
    out: &mut dyn Write,
) -> io::Result<()> {
    let since = Instant::now();
    let caller = Arc::new(Caller { address, access_token: access_token.clone() });
    let mut ticks = interval(plan.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    let mut models = plan.models.iter().cycle();
    let mut next_turn = plan.outage.map(|outage| (since + outage.after, true));
    writeln!(out, "{:>6}  {:<6}  {:<5}  {:<8}  {:<7}  model", "time", "status", "key", "attempts", "waited")?;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let Some(model) = models.next() else { return Ok(()) };
                let caller = Arc::clone(&caller);
                under_way.spawn(async move { (*model, caller.ask(model).await) });
            }
            Some(Ok((model, seen))) = under_way.join_next() => {
                write!(out, "{}  ", clock(since.elapsed()))?;
                match seen {
                    Ok(seen) => seen.line(model, out)?,
                    Err(error) => writeln!(out, "no answer from the proxy: {error}")?,
                }
            }
            () = until(next_turn.map(|(at, _)| at)) => {
                if let (Some(outage), Some((at, begins))) = (plan.outage, next_turn) {
                    let Outage { model, span, again, .. } = outage;
                    let now = clock(since.elapsed());
                    if begins {
                        simulator.fail_model(model, span, errors::provider_error("the provider"));
                        writeln!(out, "{now}  -- {model} is down for {} s --", span.as_secs())?;
                    } else {
                        writeln!(out, "{now}  -- {model} is up again --")?;
                    }
                    next_turn = Some((at + if begins { span } else { again.saturating_sub(span) }, !begins));
                }
            }
        }
        out.flush()?;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Minutes and seconds: `1:05`.
fn clock(since: Duration) -> String {
    let seconds = since.as_secs();
    format!("{:>3}:{:02}", seconds / 60, seconds % 60)
}

struct Caller {
    address: SocketAddr,
    access_token: Secret,
}

/// What a caller sees of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: String,
    key: Option<String>,
    attempts: Option<String>,
    retry_after: Option<String>,
    waited: Duration,
}

impl Caller {
    async fn ask(&self, model: &str) -> io::Result<Seen> {
        let since = Instant::now();
        let mut socket = TcpStream::connect(self.address).await?;
        let body = format!(
            r#"{{"model":"{model}","max_tokens":64,"messages":[{{"role":"user","content":"hello"}}]}}"#
        );
        let request = format!(
            "POST /api/v1/chat/completions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.access_token.expose(),
            body.len()
        );
        socket.write_all(request.as_bytes()).await?;
        let (mut bytes, mut waited) = (Vec::new(), None);
        while socket.read_buf(&mut bytes).await? > 0 {
            waited.get_or_insert_with(|| since.elapsed());
        }
        Seen::read(&bytes, waited.unwrap_or_default())
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

impl Seen {
    /// Reads the head of an answer.
    fn read(answer: &[u8], waited: Duration) -> Option<Self> {
        let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&answer[..end]).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.to_owned();
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let value = |name: &str| {
            let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| (*value).to_owned())
        };
        Some(Self {
            status,
            key: value("x-token-name"),
            attempts: value("x-hermux-attempts"),
            retry_after: value("retry-after"),
            waited,
        })
    }

    fn line(&self, model: &str, out: &mut dyn Write) -> io::Result<()> {
        let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let waited = format!("{:.1} s", self.waited.as_secs_f32());
        let (key, attempts) = (or_dash(&self.key), or_dash(&self.attempts));
        write!(out, "{:<6}  {key:<5}  {attempts:<8}  {waited:<7}  {model}", self.status)?;
        if let Some(seconds) = &self.retry_after {
            write!(out, ", retry after {seconds} s")?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Seen, clock};

    #[test]
    fn a_line_tells_status_key_attempts_and_wait() {
        let answer = b"HTTP/1.1 200 OK\r\nX-Token-Name: ann\r\nx-hermux-attempts: 2\r\n\r\n{}";
        let mut line = Vec::new();
        Seen::read(answer, Duration::from_millis(1_250)).unwrap().line("a/b", &mut line).unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), "200     ann    2         1.2 s    a/b\n");
        let refused = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 17\r\n\r\n";
        let mut line = Vec::new();
        Seen::read(refused, Duration::ZERO).unwrap().line("a/b", &mut line).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "429     -      -         0.0 s    a/b, retry after 17 s\n"
        );
        assert_eq!(Seen::read(b"HTTP/1.1 200", Duration::ZERO), None);
    }

    #[test]
    fn time_is_told_in_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_secs(65)), "  1:05");
    }
}
