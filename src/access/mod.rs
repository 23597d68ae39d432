//! Who may use hermux: the access tokens of `allow.txt`, the check of a request, and new tokens.

pub mod file;

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;

/// The named holder of an access token.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name beside the token in `allow.txt`, else the first 8 hex digits of its SHA-256.
    pub name: Arc<str>,
}

/// The access tokens in force: SHA-256 digest to caller, so that no plain token is kept and a look-up
/// tells nothing by its timing.
#[derive(Debug, Default)]
pub struct Access {
    callers: HashMap<[u8; 32], Arc<Caller>>,
}

/// A request that was let in: who it is from, and the credential it presented.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// The holder of the token.
    pub caller: &'a Arc<Caller>,
    /// The access token as it stood in the header, so that it can be kept from going upstream.
    pub token: &'a [u8],
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential at all.
    Missing,
    /// More than one, or an empty one.
    Ambiguous,
    /// Not in `allow.txt`.
    Unknown,
}

impl Access {
    /// Checks the credential of a request: `Authorization: Bearer T` (any case of the scheme),
    /// `Authorization: T`, or `x-api-key: T` where there is no Authorization.
    pub fn check<'a>(&'a self, headers: &'a HeaderMap) -> Result<Admitted<'a>, Denied> {
        let _ = (headers, &self.callers);
        Err(Denied::Missing)
    }

    /// How many access tokens are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.callers.len()
    }

    /// Whether nobody can be let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }
}
