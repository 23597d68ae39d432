//! The keys of the pool: what a key is, the file they stand in, and the choice among them.

pub mod affinity;
pub mod breaker;
pub mod file;
pub mod need;
pub mod pool;
mod quota;
pub mod reference;
pub mod state;
mod terms;

use std::borrow::Borrow;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use http::HeaderValue;

use crate::secret::Secret;

pub use self::terms::{Column, Terms};

/// The public name of a key: 1 to 128 printable ASCII characters, so that it can stand in a header.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

/// Why a text cannot be the name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("the name is empty")]
    Empty,
    /// More than 128 characters.
    #[error("the name is longer than 128 characters")]
    TooLong,
    /// Something that cannot stand in a header.
    #[error("the name has a character that can't stand in a header; use printable ASCII")]
    NotPrintable,
}

impl KeyName {
    /// Checks and takes over `name`; blanks around it are not part of it.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > 128 {
            return Err(NameError::TooLong);
        }
        if !name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(NameError::NotPrintable);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, for those who keep it.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Borrow<str> for KeyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const BEARER: &str = "Bearer ";

/// An `OpenRouter` API key: a public name and a secret.
#[derive(Clone, Debug)]
pub struct Key {
    name: KeyName,
    // Made once, so that an answer only has to share it.
    header_value: HeaderValue,
    // Kept as the value of the Authorization header, so that a request only has to copy it.
    authorization: Secret,
    terms: Terms,
}

impl Key {
    /// Puts a key together; blanks around the secret are not part of it.
    ///
    /// # Panics
    ///
    /// Never: a [`KeyName`] can always stand in a header.
    #[must_use]
    pub fn new(name: KeyName, secret: &Secret) -> Self {
        let header_value = HeaderValue::from_str(name.as_str()).expect("a name is printable ASCII");
        // What is needed to share it comes with the first copy: now, so that all of a key lies together.
        drop(header_value.clone());
        Self {
            name,
            header_value,
            authorization: Secret::new(format!("{BEARER}{}", secret.expose().trim())),
            terms: Terms::default(),
        }
    }

    /// The same key with what the operator lets it do.
    #[must_use]
    pub fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    /// What the operator lets it do.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The public name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The public name as the value of a header.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.header_value.clone()
    }

    /// Fetches what it is made of into the processor's caches.
    fn look_at_itself(&self) {
        black_box((self.name.0.len(), self.header_value.len(), self.authorization.expose().len()));
    }

    /// Fetches its texts into the processor's caches.
    fn look_at_texts(&self) {
        let ends = |text: &[u8]| (text.first().copied(), text.last().copied());
        black_box(ends(self.name.0.as_bytes()));
        black_box(ends(self.header_value.as_bytes()));
        black_box(ends(self.authorization.expose().as_bytes()));
    }

    /// The key itself, `sk-or-v1-…`.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.authorization.expose()[BEARER.len()..]
    }

    /// `Bearer sk-or-v1-…`, the value of the Authorization header.
    #[must_use]
    pub fn authorization(&self) -> &str {
        self.authorization.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyName, NameError};
    use crate::secret::Secret;

    #[test]
    fn a_name_can_always_stand_in_a_header() {
        for good in ["a", "team red", "x~!@#", &"n".repeat(128)] {
            assert!(http::HeaderValue::from_str(KeyName::parse(good).unwrap().as_str()).is_ok());
        }
        assert_eq!(KeyName::parse("  "), Err(NameError::Empty));
        assert_eq!(KeyName::parse("a\tb"), Err(NameError::NotPrintable));
        assert_eq!(KeyName::parse("müller"), Err(NameError::NotPrintable));
        assert_eq!(KeyName::parse(&"n".repeat(129)), Err(NameError::TooLong));
    }

    #[test]
    fn debug_of_a_key_shows_its_name_alone() {
        let key = Key::new(KeyName::parse("ann").unwrap(), &Secret::new(" sk-or-v1-1 ".into()));
        assert_eq!(key.expose(), "sk-or-v1-1");
        assert_eq!(key.authorization(), "Bearer sk-or-v1-1");
        let shown = format!("{key:?}");
        assert!(shown.contains("ann") && !shown.contains("sk-or"), "{shown}");
    }
}
