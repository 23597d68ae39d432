//! `tokens.csv`: read strictly, rewritten atomically and under a lock, mode 0600.

use std::path::{Path, PathBuf};

use super::{Key, KeyName};
use crate::secret::Secret;

/// The keys of a file, in its order, and what was odd but not wrong.
#[derive(Debug)]
pub struct Loaded {
    /// At least one key.
    pub keys: Vec<Key>,
    /// Sentences for the log, each naming file and line; never a secret.
    pub warnings: Vec<String>,
}

/// Why `tokens.csv` cannot be used; the text names file, line and cure, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there.
    #[error("no such file: {}", .0.display())]
    Missing(PathBuf),
}

/// Reads the keys of `path`.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    Err(FileError::Missing(path.to_owned()))
}

/// Appends a key; makes the file, header included, where there is none.
pub fn add(path: &Path, name: &KeyName, secret: &Secret) -> Result<(), FileError> {
    let _ = (name, secret);
    Err(FileError::Missing(path.to_owned()))
}
