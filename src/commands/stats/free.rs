//! What is known of keys beside the ledger: their accounts, and how much of the free requests of a day those have used up.

use std::collections::HashMap;

use crate::clock::Time;
use crate::commands::keys;
use crate::config::Config;

/// The free requests of an account in this UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Free {
    /// Those used up.
    pub(super) used: u64,
    /// How many there are.
    pub(super) limit: u64,
}

impl Free {
    /// The share that is used up, in percent.
    pub(super) fn percent(self) -> u64 {
        self.used.saturating_mul(100).checked_div(self.limit).unwrap_or(100)
    }
}

/// What is known, by the name of the key.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The names of their accounts.
    pub(super) accounts: HashMap<String, String>,
    /// What their accounts have used up, by the names of keys and of accounts.
    by_key: HashMap<String, Free>,
    by_account: HashMap<String, Free>,
}

impl Known {
    /// Asks the running server, else the files.
    pub(super) fn find(config: &Config, now: Time) -> Self {
        let mut known = Self::default();
        for key in keys::states(config, now) {
            let free = key.free_day_limit.zip(key.free_day_left);
            let free = free.map(|(limit, left)| Free { used: limit.saturating_sub(left), limit });
            let account = key.account.clone().unwrap_or_else(|| key.name.clone());
            if let Some(free) = free {
                known.by_key.insert(key.name.clone(), free);
                known.by_account.insert(account.clone(), free);
            }
            known.accounts.insert(key.name, account);
        }
        known
    }

    pub(super) fn of_key(&self, name: &str) -> Option<Free> {
        self.by_key.get(name).copied()
    }

    pub(super) fn of_account(&self, name: &str) -> Option<Free> {
        self.by_account.get(name).copied()
    }
}
