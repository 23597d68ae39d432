//! What is made in a data directory: for its owner alone, where the system knows such a thing.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::path::Path;

/// Tells one file from another that came into its place; the first number is the device, where there are such.
pub(super) type Identity = (u64, u64);

#[cfg(unix)]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// A file that is open can't be replaced there, so its time of creation will do.
#[cfg(windows)]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::windows::fs::MetadataExt;
    fs::metadata(path).map(|file| (0, file.creation_time()))
}

/// Makes files of mode 0600. Windows has its users' own directories closed to others.
pub(super) fn private_file() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut, reason = "there is no mode to set"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes directories of mode 0700, with those above.
pub(super) fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true);
    builder
}
