//! `Secret`: text that is never printed and is wiped from memory when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text, such as an `OpenRouter` key or an access token.
///
/// It has no `Display`, its `Debug` says `(redacted)`, and its memory is overwritten on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that has to send or store it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing_of_it() {
        let secret = Secret::new("sk-or-v1-abc".to_owned());
        assert_eq!(format!("{secret:?}"), "(redacted)");
        assert_eq!(secret.expose(), "sk-or-v1-abc");
    }
}
