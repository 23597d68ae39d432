//! `tokens.csv`, `allow.txt` and the certificate while the server runs: loaded at start, put in force when they change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::recall;
use super::tls::{InForce, Tls};
use crate::access::{self, Access};
use crate::keys::file::{self as key_file, FileError, Loaded};
use crate::keys::pool::KeyPool;
use crate::keys::reference::Commands;
use crate::keys::{Key, KeyName};
use crate::proxy::Shared;
use crate::watch::FileWatch;

/// The operator's files. A broken or deleted one leaves the last good set in force.
pub(super) struct Files {
    tokens: (PathBuf, FileWatch),
    commands: Commands,
    /// None when access tokens are not asked.
    allow: Option<(PathBuf, FileWatch)>,
    /// None when callers speak plain HTTP.
    tls: Option<Tls>,
    /// Who else wants the keys of a changed file.
    listeners: Vec<UnboundedSender<Vec<Key>>>,
    /// The keys that are being read again, and whether the file changed meanwhile.
    reading: Option<oneshot::Receiver<Result<Loaded, FileError>>>,
    is_stale: bool,
}

impl Files {
    /// Begins to watch, so that a change between loading and serving is not missed.
    pub(super) fn new(tokens: &Path, commands: Commands, allow: Option<&Path>) -> Self {
        let watched = |path: &Path| (path.to_owned(), FileWatch::new(path));
        let (tokens, allow) = (watched(tokens), allow.map(watched));
        Self { tokens, commands, allow, tls: None, listeners: Vec::new(), reading: None, is_stale: false }
    }

    /// The keys each time the file was read again.
    pub(super) fn reloads(&mut self) -> UnboundedReceiver<Vec<Key>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.push(sender);
        receiver
    }

    pub(super) fn load_keys(&self) -> anyhow::Result<Vec<Key>> {
        let loaded = key_file::load(&self.tokens.0, self.commands)?;
        warn_all(&loaded.warnings);
        Ok(loaded.keys)
    }

    pub(super) fn load_access(&self) -> anyhow::Result<Access> {
        let Some((path, _)) = &self.allow else { return Ok(Access::default()) };
        let loaded = access::file::load(path)?;
        warn_all(&loaded.warnings);
        Ok(loaded.access)
    }

    /// The certificate and its key, from now on watched as well.
    pub(super) fn load_tls(&mut self, certificate: &Path, key: &Path) -> anyhow::Result<InForce> {
        Ok(self.tls.insert(Tls::load(certificate, key)?).in_force())
    }

    /// Reads what changed since the last look; keys are put in force by [`read_keys`](Self::read_keys).
    pub(super) fn reload_changed(&mut self, shared: &Shared) {
        if self.tokens.1.changed() {
            self.reload_keys();
        }
        if self.allow.as_mut().is_some_and(|(_, watch)| watch.changed()) {
            self.reload_access(shared);
        }
        if let Some(tls) = &mut self.tls {
            tls.reload_changed();
        }
    }

    /// Reads all, changed or not.
    pub(super) fn reload_all(&mut self, shared: &Shared) {
        self.reload_keys();
        self.reload_access(shared);
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Begins to read the keys in a thread of its own: a command that tells one may take seconds, and nobody waits for
    /// that thread when the server stops.
    fn reload_keys(&mut self) {
        if self.reading.is_some() {
            self.is_stale = true;
            return;
        }
        let (sender, receiver) = oneshot::channel();
        let (path, commands) = (self.tokens.0.clone(), self.commands);
        let reading = std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            // Nobody takes them any more once the stop has begun.
            let _ = sender.send(key_file::load(&path, commands));
        });
        match reading {
            Ok(_) => self.reading = Some(receiver),
            Err(error) => tracing::error!("the last good keys stay in force: can't start a thread: {error}"),
        }
    }

    /// Waits for the keys that are being read; without end where none are. May be dropped and called again.
    pub(super) async fn read_keys(&mut self) -> Option<Result<Loaded, FileError>> {
        match &mut self.reading {
            Some(reading) => reading.await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Puts the keys in force that were read. True where they are the file's last; else it is read once more.
    pub(super) fn put_in_force(&mut self, read: Option<Result<Loaded, FileError>>, shared: &Shared) -> bool {
        self.reading = None;
        match read {
            Some(Ok(Loaded { keys, warnings })) => {
                warn_all(&warnings);
                let count = keys.len();
                for listener in &self.listeners {
                    // Nobody listens any more once the stop has begun.
                    let _ = listener.send(keys.clone());
                }
                shared.keys.reload(keys);
                tracing::info!("reloaded the keys, {count} in all: {}", self.tokens.0.display());
            }
            Some(Err(error)) => tracing::error!("the last good keys stay in force: {error:#}"),
            None => tracing::error!("the last good keys stay in force: reading the new ones panicked"),
        }
        let is_last = !std::mem::take(&mut self.is_stale);
        if !is_last {
            self.reload_keys();
        }
        is_last
    }

    fn reload_access(&self, shared: &Shared) {
        let Some((path, _)) = &self.allow else { return };
        match self.load_access() {
            Ok(mut access) => {
                let count = access.len();
                recall::callers(
                    &mut access,
                    Some(&*shared.access.load()),
                    &shared.ledger,
                    shared.clock.now(),
                );
                warn_of_keys(&access, &shared.keys, path);
                shared.access.store(Arc::new(access));
                tracing::info!("reloaded the access tokens, {count} in all: {}", path.display());
            }
            Err(error) => tracing::error!("the last good access tokens stay in force: {error:#}"),
        }
    }
}

/// Warns of access tokens that are confined to keys that there are not.
pub(super) fn warn_of_keys(access: &Access, keys: &KeyPool, path: &Path) {
    let unknown = |name: &&str| KeyName::parse(name).map_or(true, |name| !keys.has_account_of(&name));
    for name in access.keys().filter(unknown).collect::<BTreeSet<_>>() {
        tracing::warn!("{}: no such key, so that it serves no caller: {name}", path.display());
    }
}

fn warn_all(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
