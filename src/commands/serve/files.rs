//! `tokens.csv` and `allow.txt` while the server runs: loaded at start, put in force when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::access::{self, Access};
use crate::keys::Key;
use crate::keys::file as key_file;
use crate::proxy::Shared;
use crate::watch::FileWatch;

/// The operator's two files. A broken or deleted one leaves the last good set in force.
pub(super) struct Files {
    tokens: (PathBuf, FileWatch),
    /// None when access tokens are not asked.
    allow: Option<(PathBuf, FileWatch)>,
    /// Who else wants the keys of a changed file.
    listeners: Vec<UnboundedSender<Vec<Key>>>,
}

impl Files {
    /// Begins to watch, so that a change between loading and serving is not missed.
    pub(super) fn new(tokens: &Path, allow: Option<&Path>) -> Self {
        let watched = |path: &Path| (path.to_owned(), FileWatch::new(path));
        Self { tokens: watched(tokens), allow: allow.map(watched), listeners: Vec::new() }
    }

    /// The keys each time the file was read again.
    pub(super) fn reloads(&mut self) -> UnboundedReceiver<Vec<Key>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.push(sender);
        receiver
    }

    pub(super) fn load_keys(&self) -> anyhow::Result<Vec<Key>> {
        let loaded = key_file::load(&self.tokens.0)?;
        warn_all(&loaded.warnings);
        Ok(loaded.keys)
    }

    pub(super) fn load_access(&self) -> anyhow::Result<Access> {
        let Some((path, _)) = &self.allow else { return Ok(Access::default()) };
        let loaded = access::file::load(path)?;
        warn_all(&loaded.warnings);
        Ok(loaded.access)
    }

    /// Reads what changed since the last look.
    pub(super) fn reload_changed(&mut self, shared: &Shared) {
        if self.tokens.1.changed() {
            self.reload_keys(shared);
        }
        if self.allow.as_mut().is_some_and(|(_, watch)| watch.changed()) {
            self.reload_access(shared);
        }
    }

    /// Reads both, changed or not.
    pub(super) fn reload_all(&mut self, shared: &Shared) {
        self.reload_keys(shared);
        self.reload_access(shared);
    }

    fn reload_keys(&self, shared: &Shared) {
        match self.load_keys() {
            Ok(keys) => {
                let count = keys.len();
                for listener in &self.listeners {
                    // Nobody listens any more once the stop has begun.
                    let _ = listener.send(keys.clone());
                }
                shared.keys.reload(keys);
                tracing::info!("reloaded the keys, {count} in all: {}", self.tokens.0.display());
            }
            Err(error) => tracing::error!("the last good keys stay in force: {error:#}"),
        }
    }

    fn reload_access(&self, shared: &Shared) {
        let Some((path, _)) = &self.allow else { return };
        match self.load_access() {
            Ok(access) => {
                let count = access.len();
                shared.access.store(Arc::new(access));
                tracing::info!("reloaded the access tokens, {count} in all: {}", path.display());
            }
            Err(error) => tracing::error!("the last good access tokens stay in force: {error:#}"),
        }
    }
}

fn warn_all(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
