//! Finds `usage` in an answer as its bytes pass: JSON and SSE, bounded, never failing.

/// What an answer says was used; nothing where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: Option<u64>,
    /// Tokens written, reasoning included.
    pub completion_tokens: Option<u64>,
    /// Of the tokens written, those of reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Of the tokens read, those from a provider's cache.
    pub cached_tokens: Option<u64>,
    /// The cost in nano-dollars (1e-9 USD), rounded half up from the decimal that stood there.
    pub cost: Option<i64>,
}

/// Watches one answer's body.
#[derive(Debug, Default)]
pub struct UsageTap {}

impl UsageTap {
    /// A tap that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next bytes of the body, however they were cut.
    pub fn feed(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// What was found so far; the last `usage` wins.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// `id` of the answer's first object (`gen-…`), where it was seen within the first 4 KiB.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        None
    }
}
