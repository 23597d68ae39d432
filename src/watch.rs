//! Tells when `tokens.csv` or `allow.txt` changed.
//!
//! Asking the file system each second sees what notification services miss: a file replaced by rename, a
//! bind mount, a link that points elsewhere, a file on NFS.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Metadata};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

/// How many looks after a change also compare the content. File systems that round times (to 2 s at worst)
/// show two edits in a row as one.
const CLOSE_LOOKS: u8 = 3;

/// Watches one file; meant to be asked once a second.
///
/// Make it before the file is first read, so that no edit falls between the two.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    stamp: Option<Stamp>,
    content: Option<u64>,
    close_looks: u8,
}

impl FileWatch {
    /// Remembers how `path` is now; it need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: Stamp::of(path),
            content: content(path),
            close_looks: CLOSE_LOOKS,
        }
    }

    /// The watched file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file changed, vanished or came back since the last call (or since the watch was made).
    /// A touched file counts as changed, and so does one whose mode changed, since it may be readable now.
    pub fn changed(&mut self) -> bool {
        let stamp = Stamp::of(&self.path);
        if stamp != self.stamp {
            self.stamp = stamp;
            self.content = content(&self.path);
            self.close_looks = CLOSE_LOOKS;
            return true;
        }
        if self.close_looks == 0 {
            return false;
        }
        self.close_looks -= 1;
        let content = content(&self.path);
        let changed = content != self.content;
        if changed {
            self.content = content;
            self.close_looks = CLOSE_LOOKS;
        }
        changed
    }
}

/// What the file system says of a file, following links.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    /// Device, inode, and the time of the last change to either content or mode, where there are such.
    identity: Option<(u64, u64, i64, i64)>,
    modified: Option<SystemTime>,
    length: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self { identity: identity(&about), modified: about.modified().ok(), length: about.len() })
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
fn identity(about: &Metadata) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((about.dev(), about.ino(), about.ctime(), about.ctime_nsec()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64, i64, i64)> {
    None
}

fn content(path: &Path) -> Option<u64> {
    // What can be read only once is left to its reader.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    Zeroizing::new(fs::read(path).ok()?).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;

    use super::{CLOSE_LOOKS, FileWatch};

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allow.txt");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn an_untouched_file_never_changes() {
        let (_folder, path) = file("one");
        let mut watch = FileWatch::new(&path);
        for _ in 0..2 * CLOSE_LOOKS {
            assert!(!watch.changed());
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let (_folder, path) = file("one");
        let mut watch = FileWatch::new(&path);
        fs::write(&path, "more text").unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
    }

    #[test]
    fn a_file_replaced_by_rename_is_noticed_though_size_and_time_are_equal() {
        let (folder, path) = file("one");
        let mut watch = FileWatch::new(&path);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let new = folder.path().join("new");
        fs::write(&new, "two").unwrap();
        File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
    }

    #[test]
    fn an_edit_of_equal_size_within_one_tick_of_the_file_system_is_noticed() {
        let (_folder, path) = file("one");
        let mut watch = FileWatch::new(&path);
        fs::write(&path, "two").unwrap();
        // As a file system that rounds times would show it.
        watch.stamp = super::Stamp::of(&path);
        assert!(watch.changed());
        assert!(!watch.changed());
    }

    #[test]
    fn deletion_and_return_are_changes() {
        let (_folder, path) = file("one");
        let mut watch = FileWatch::new(&path);
        fs::remove_file(&path).unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
        fs::write(&path, "one").unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_points_elsewhere_is_a_change() {
        let (folder, path) = file("one");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut watch = FileWatch::new(&link);
        let (_other, elsewhere) = file("two");
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        assert!(watch.changed());
    }
}
