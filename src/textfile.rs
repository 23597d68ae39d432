//! The operator's text files: read as UTF-8, and edited under a lock, atomically, mode 0600.
//!
//! `tokens.csv` and `allow.txt` both stand on this; neither needs to know of the other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a file cannot be read or written; the text names the file, and the line where there is one.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file is there, but reading it failed.
    #[error("can't read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A byte that is not text.
    #[error("{}:{line}: {what}\nhint: save the file as plain UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        what: &'static str,
    },
    /// The file is a mount of its own, which nothing can take the place of.
    #[error("can't replace {}, since it is mounted as a single file; nothing was changed\nhint: mount the directory it \
             lies in instead, or edit it where it is mounted from", path.display())]
    Mounted {
        /// The file.
        path: PathBuf,
    },
    /// The new version could not be put in place; the old one still stands.
    #[error("can't write {}: {cause}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// The text of a file, wiped from memory when dropped.
#[derive(Debug, Default)]
pub struct Text {
    bytes: Zeroizing<Vec<u8>>,
    /// Whether others than its owner may read the file.
    pub exposed: bool,
}

/// The byte order mark that some editors put before a text.
pub const BOM: &str = "\u{feff}";

impl Text {
    /// The text without the byte order mark that some editors put before it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.whole();
        text.strip_prefix(BOM).unwrap_or(text)
    }

    /// What ends its lines.
    #[must_use]
    pub fn line_end(&self) -> &'static str {
        line_end(self.whole())
    }

    /// The whole file with `changes`, each a span of [`as_str`](Self::as_str) and what is to stand there; in order, not
    /// overlapping. All else stays byte for byte.
    #[must_use]
    pub fn with(&self, changes: &[(Range<usize>, &str)]) -> Zeroizing<String> {
        let (text, whole) = (self.as_str(), self.whole());
        let more: usize = changes.iter().map(|(_, new)| new.len()).sum();
        let mut new = Zeroizing::new(String::with_capacity(whole.len() + more));
        new.push_str(&whole[..whole.len() - text.len()]);
        let mut from = 0;
        for (span, put) in changes {
            new.push_str(&text[from..span.start]);
            new.push_str(put);
            from = span.end;
        }
        new.push_str(&text[from..]);
        new
    }

    fn whole(&self) -> &str {
        str::from_utf8(&self.bytes).expect("read() took text only")
    }
}

/// Reads the text of `path`; `None` when there is no such file.
pub fn read(path: &Path) -> Result<Option<Text>, TextError> {
    let unreadable = |cause| TextError::Unreadable { path: path.to_owned(), cause };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(cause)),
    };
    let about = file.metadata().map_err(unreadable)?;
    // Room for all of it at once: a buffer that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1));
    io::Read::read_to_end(&mut file, &mut bytes).map_err(unreadable)?;

    let bad = match str::from_utf8(&bytes) {
        Ok(_) => bytes.iter().position(|&byte| byte == 0).map(|at| (at, "a NUL byte")),
        Err(error) => Some((error.valid_up_to(), "not UTF-8")),
    };
    if let Some((at, what)) = bad {
        let line = 1 + memchr::memchr_iter(b'\n', &bytes[..at]).count();
        return Err(TextError::NotText { path: path.to_owned(), line, what });
    }
    Ok(Some(Text { bytes, exposed: exposed(&about) }))
}

/// The warning for a file that others than its owner may read.
#[must_use]
pub fn exposed_warning(path: &Path) -> String {
    let path = path.display();
    format!("others can read the secrets in {path}; `chmod 600 {path}` keeps them out")
}

/// Replaces the text of `path` by what `change` makes of it (`None`: there is no such file).
///
/// One process edits at a time, readers see the old text or the new one and never half of it, and
/// the new one is on disk when this returns, whatever ends the process meanwhile. Mode and owner stay; a new file has
/// mode 0600. A text that stays as it was is not written.
pub fn edit<E: From<TextError>>(
    path: &Path,
    change: impl FnOnce(Option<&Text>) -> Result<Zeroizing<String>, E>,
) -> Result<(), E> {
    let unwritable = |cause| TextError::Unwritable { path: path.to_owned(), cause };
    // What a link points to is edited, not the link; also where nothing stands there yet.
    let pointed_to = || fs::read_link(path).map(|target| folder(path).join(target));
    let target = fs::canonicalize(path).or_else(|_| pointed_to()).unwrap_or_else(|_| path.to_owned());
    let _lock = Lock::take(&target).map_err(unwritable)?;
    sweep(&target);
    let old = read(&target)?;
    let new = change(old.as_ref())?;
    if old.is_some_and(|old| old.whole() == *new) {
        return Ok(());
    }
    replace(&target, new.as_bytes()).map_err(|cause| match cause.kind() {
        io::ErrorKind::ResourceBusy => TextError::Mounted { path: path.to_owned() },
        _ => unwritable(cause),
    })?;
    Ok(())
}

/// `text` with `line` behind it, as the file writes its lines: same line ends, a missing last one added.
#[must_use]
pub fn with_line(text: &Text, line: &str) -> Zeroizing<String> {
    let text = text.whole();
    let end = line_end(text);
    let mut new = Zeroizing::new(String::with_capacity(text.len() + line.len() + 2 * end.len()));
    new.push_str(text);
    if !text.trim_start_matches(BOM).is_empty() && !text.ends_with(['\n', '\r']) {
        new.push_str(end);
    }
    new.push_str(line);
    new.push_str(end);
    new
}

/// `text`, or an empty file, with `lines` behind it, one after the other as [`with_line`] adds one.
#[must_use]
pub fn with_lines<'a>(text: Option<&Text>, lines: impl Iterator<Item = &'a str>) -> Zeroizing<String> {
    let end = text.map_or("\n", |text| line_end(text.whole()));
    let mut added = Zeroizing::new(String::new());
    for line in lines {
        // Room for it first: a buffer that grows leaves copies of secrets behind.
        let mut longer = Zeroizing::new(String::with_capacity(added.len() + line.len() + end.len()));
        longer.push_str(&added);
        longer.push_str(if added.is_empty() { "" } else { end });
        longer.push_str(line);
        added = longer;
    }
    text.map_or_else(|| Zeroizing::new([added.as_str(), end].concat()), |text| with_line(text, &added))
}

/// `text` without the lines of these numbers, from 1, each with its own end; all else stays byte for byte.
#[must_use]
pub fn without_lines(text: &Text, numbers: &[usize]) -> Zeroizing<String> {
    let whole = text.whole();
    let mut new = Zeroizing::new(String::with_capacity(whole.len()));
    // The mark that some editors put first belongs to no line.
    new.push_str(if whole.starts_with(BOM) { BOM } else { "" });
    let kept = text
        .as_str()
        .split_inclusive('\n')
        .enumerate()
        .filter(|(before, _)| !numbers.contains(&(before + 1)));
    kept.for_each(|(_, line)| new.push_str(line));
    new
}

fn line_end(text: &str) -> &'static str {
    match text.find(['\r', '\n']) {
        Some(at) if text[at..].starts_with("\r\n") => "\r\n",
        Some(at) if text[at..].starts_with('\r') => "\r",
        _ => "\n",
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the new versions of `path` are called before they take its place.
fn draft_prefix(path: &Path) -> Option<String> {
    Some(format!(".{}.new-", path.file_name()?.to_string_lossy()))
}

/// Removes the drafts of those who were killed while they held the lock: there are secrets in them.
fn sweep(path: &Path) {
    let Some(prefix) = draft_prefix(path) else { return };
    for entry in fs::read_dir(folder(path)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // What can't be removed does no harm to this edit.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let prefix = draft_prefix(path).ok_or(io::ErrorKind::IsADirectory)?;
    let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder(path))?;
    file.write_all(text)?;
    match fs::metadata(path) {
        Ok(old) => keep_owner_and_mode(file.as_file(), &old)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {} // tempfile makes its files with mode 0600
        Err(error) => return Err(error),
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    #[cfg(unix)] // elsewhere a directory can't be opened as a file
    File::open(folder(path))?.sync_all()?;
    Ok(())
}

#[cfg(unix)]
fn keep_owner_and_mode(new: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let fresh = new.metadata()?;
    // Root who edits the file of a service must not take it away from the service.
    if (fresh.uid(), fresh.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    // A group may have been let in on purpose, everybody hardly.
    let is_for_all = old.permissions().mode() & 0o007 != 0;
    new.set_permissions(if is_for_all { fs::Permissions::from_mode(0o600) } else { old.permissions() })
}

#[cfg(not(unix))]
fn keep_owner_and_mode(new: &File, old: &fs::Metadata) -> io::Result<()> {
    new.set_permissions(old.permissions())
}

#[cfg(unix)]
fn exposed(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.permissions().mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn exposed(_: &fs::Metadata) -> bool {
    false
}

/// Holds `.NAME.lock` beside a file while it is edited. The file itself can't be the lock: each edit
/// replaces it.
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    fn take(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let lock = folder(path).join(format!(".{}.lock", name.to_string_lossy()));
        loop {
            let file = private().create(true).truncate(false).write(true).open(&lock)?;
            file.lock()?;
            let held = Self { path: lock.clone(), file };
            if held.in_place() {
                return Ok(held);
            }
        }
    }

    /// Whether the locked file is the one that stands there now: who held the lock before has removed his.
    #[cfg(unix)]
    fn in_place(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let id = |about: io::Result<fs::Metadata>| about.ok().map(|about| (about.dev(), about.ino()));
        id(self.file.metadata()) == id(fs::metadata(&self.path))
    }

    #[cfg(not(unix))]
    fn in_place(&self) -> bool {
        true
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only where in_place() can tell; a lock that was lost removes nothing that another one holds.
        if cfg!(unix) && self.in_place() {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

fn private() -> fs::OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = fs::OpenOptions::new();
        options.mode(0o600);
        options
    }
    #[cfg(not(unix))]
    fs::OpenOptions::new()
}
