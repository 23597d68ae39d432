//! `hermux config check`: what `serve` looks at before it opens its port, line by line, without changing anything.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::access;
use crate::clock::Clock;
use crate::commands::ask::connector;
use crate::commands::serve::listen;
use crate::commands::serve::tls::Tls;
use crate::commands::{Usage, exit_code, terminal};
use crate::config::origin::Resolved;
use crate::config::{Address, Config, Errors};
use crate::control::{About, client};
use crate::keys;
use crate::keys::reference::Commands;
use crate::ledger::OpenError;
use crate::ledger::query::{self, QueryError};

/// What a process holds that uses a data directory.
const LOCK: &str = "hermux.lock";

/// Looks, tells, and ends as `serve` would.
pub(super) fn run(resolved: Resolved, json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut checks = Checks::default();
    let Resolved { config, places, wrong, .. } = resolved;
    if wrong.is_empty() {
        let read = places.iter().find(|place| place.name == "config" && place.exists);
        let file = read.and_then(|place| place.path.as_ref());
        let said = file.map_or("no config.toml, so defaults, variables and flags".to_owned(), |path| {
            path.display().to_string()
        });
        checks.ok("config", said);
        for warning in &config.warnings {
            checks.odd("config", warning.clone());
        }
        all(&config, &mut checks);
    } else {
        // With half a configuration the other checks would look at other files than are meant.
        for problem in with_hints(&wrong) {
            checks.bad("config", &Errors(vec![problem]).into());
        }
    }
    if json {
        as_json(&checks, out)?;
    } else {
        as_lines(&checks, out)?;
    }
    out.flush()?;
    Ok(checks.code.into())
}

/// Everything behind the configuration itself.
fn all(config: &Config, checks: &mut Checks) {
    match keys::file::load(&config.tokens, Commands::allowed_if(config.allow_commands)) {
        Ok(loaded) => {
            let (count, path) = (loaded.keys.len(), config.tokens.display());
            checks.ok("tokens.csv", format!("{count} {}: {path}", if count == 1 { "key" } else { "keys" }));
            checks.all_odd("tokens.csv", loaded.warnings);
        }
        Err(error) => checks.bad("tokens.csv", &error.into()),
    }
    if config.no_auth {
        checks.ok("allow.txt", "not read, since no access token is asked for".to_owned());
    } else {
        match access::file::load(&config.allow) {
            Ok(loaded) => {
                let (count, path) = (loaded.access.len(), config.allow.display());
                let noun = if count == 1 { "access token" } else { "access tokens" };
                checks.ok("allow.txt", format!("{count} {noun}: {path}"));
                checks.all_odd("allow.txt", loaded.warnings);
            }
            Err(error) => checks.bad("allow.txt", &error.into()),
        }
    }
    match connector(config) {
        Ok(_) => checks.ok(
            "certificates",
            match &config.ca_file {
                Some(path) => format!("the system's and those of {}", path.display()),
                None => "the system's".to_owned(),
            },
        ),
        Err(error) => checks.bad("certificates", &error.into()),
    }
    if let Some((certificate, key)) = config.tls_cert.as_deref().zip(config.tls_key.as_deref()) {
        match Tls::load(certificate, key) {
            Ok(_) => checks.ok("tls", format!("{}, {}", certificate.display(), key.display())),
            Err(error) => checks.bad("tls", &error.into()),
        }
    }
    let server = match client::state(&config.data_dir) {
        Ok(found) => found.map(|(server, _)| server),
        Err(error) => {
            checks.odd("data", error.to_string());
            None
        }
    };
    data(&config.data_dir, server.as_ref(), checks);
    address(config, server.as_ref(), checks);
}

/// The data directory and the ledger in it; looked at without making anything.
fn data(directory: &Path, server: Option<&About>, checks: &mut Checks) {
    let shown = directory.display();
    // Where it is still to be made, what it would be made in has to allow it.
    let there = directory.ancestors().find(|folder| folder.exists());
    let there = there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(reason) = tempfile::Builder::new().prefix(".hermux-").tempfile_in(there) {
        checks.odd(
            "data",
            format!("use would be counted in memory only, since nothing can be written ({reason}): {shown}"),
        );
        return;
    }
    match query::keys_on(directory, Clock::system().now().day()) {
        Ok(_) => {}
        Err(error @ QueryError::Newer { .. }) => {
            return checks.bad("data", &Usage(error.to_string()).into());
        }
        // `serve` puts a corrupt one aside.
        Err(error) => checks.odd("data", format!("{error}; a new one would be begun")),
    }
    match server {
        Some(server) => {
            checks.ok("data", format!("in use by the running server, process {}: {shown}", server.pid));
        }
        None if is_locked(directory) => {
            let pid = fs::read_to_string(directory.join(LOCK)).ok().and_then(|pid| pid.trim().parse().ok());
            let in_use = OpenError::InUse { pid: pid.unwrap_or(0), directory: shown.to_string() };
            checks.bad("data", &in_use.into());
        }
        None if directory.exists() => checks.ok("data", shown.to_string()),
        None => checks.ok("data", format!("would be made: {shown}")),
    }
}

fn is_locked(directory: &Path) -> bool {
    File::open(directory.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Whether the port can be had; it is given back at once.
fn address(config: &Config, server: Option<&About>, checks: &mut Checks) {
    let ip = match &config.address {
        Address::Ip(ip) => *ip,
        // Opened, it might put a socket aside that another server is about to take.
        Address::Unix(path) => return checks.ok("address", format!("unix:{}", path.display())),
    };
    let at = SocketAddr::new(ip, config.port);
    match listen::bind(ip, config.port) {
        Ok(_) => checks.ok("address", at.to_string()),
        Err(_) if server.is_some_and(|server| server.address == at.to_string()) => {
            checks.ok("address", format!("the running server listens there: {at}"));
        }
        Err(error) => checks.bad("address", &error),
    }
}

/// The problems, each with the hint that stands on a line of its own.
fn with_hints(wrong: &[String]) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for line in wrong.iter().flat_map(|problem| problem.lines()) {
        match problems.last_mut() {
            Some(last) if line.starts_with("hint: ") => last.extend(["\n", line]),
            _ => problems.push(line.to_owned()),
        }
    }
    problems
}

#[derive(Debug, Default)]
struct Checks {
    lines: Vec<Check>,
    /// That of the first that is bad.
    code: u8,
}

#[derive(Debug, Serialize)]
struct Check {
    #[serde(rename = "check")]
    what: &'static str,
    state: &'static str,
    said: String,
    hint: Option<String>,
}

impl Checks {
    fn ok(&mut self, what: &'static str, said: String) {
        self.lines.push(Check { what, state: "ok", said, hint: None });
    }

    fn odd(&mut self, what: &'static str, said: String) {
        self.lines.push(Check { what, state: "odd", said, hint: None });
    }

    fn all_odd(&mut self, what: &'static str, said: Vec<String>) {
        for said in said {
            self.odd(what, said);
        }
    }

    fn bad(&mut self, what: &'static str, error: &anyhow::Error) {
        let text = format!("{error:#}");
        let (said, hint) = match text.split_once("\nhint: ") {
            Some((said, hint)) => (said.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        };
        if self.code == 0 {
            self.code = exit_code(error);
        }
        self.lines.push(Check { what, state: "bad", said, hint });
    }
}

fn as_lines(checks: &Checks, out: &mut dyn Write) -> std::io::Result<()> {
    for Check { what, state, said, hint } in &checks.lines {
        let padded = format!("{state:<3}");
        let state = match *state {
            "ok" => terminal::good(&padded),
            "odd" => terminal::odd(&padded),
            _ => terminal::bad(&padded),
        };
        writeln!(out, "{state}  {what:<12}  {said}")?;
        if let Some(hint) = hint {
            writeln!(out, "{:<17}  hint: {hint}", "")?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Shown<'a> {
    ok: bool,
    checks: &'a [Check],
}

fn as_json(checks: &Checks, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &Shown { ok: checks.code == 0, checks: &checks.lines })?;
    out.write_all(b"\n")
}
