//! What the column `token` may hold instead of a key: where the key is, `env:NAME`, `file:PATH` or `cmd:WORDS`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest key that is taken, bytes; those of `OpenRouter` have 73.
pub const LONGEST: usize = 4096;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a command is looked at that has said all and not ended.
const LOOK: Duration = Duration::from_millis(5);

/// The longest part of a command's complaint that is passed on, characters.
const COMPLAINT: usize = 200;

/// Whether `cmd:` may run commands; only `allow_commands = true` in `config.toml` lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// They run.
    Allowed,
    /// They are an error.
    Refused,
}

impl Commands {
    /// As `allow_commands` says.
    #[must_use]
    pub fn allowed_if(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Refused }
    }
}

/// What stands in the column `token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The key itself.
    Key(Secret),
    /// Where the key is.
    Reference(Reference),
}

/// Where a key is.
#[derive(Clone, PartialEq, Eq)]
pub enum Reference {
    /// In the environment variable of this name.
    Variable(Box<str>),
    /// In the file of this path, relative to that of `tokens.csv`.
    File(Box<str>),
    /// In the first line that the command of these words writes; no shell reads them.
    Command(Box<str>),
}

/// Why a reference gives no key; never tells a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// `env:` with something else than a name.
    #[error("`env:` is followed by no name of a variable")]
    NoVariable,
    /// `file:` without a path, or with a key for one.
    #[error("`file:` is followed by no path")]
    NoPath,
    /// `cmd:` without words.
    #[error("`cmd:` is followed by no command")]
    NoCommand,
    /// A quote of a command that is never closed.
    #[error("a quote in the command is never closed")]
    OpenQuote,
    /// No such variable, or an empty one.
    #[error("the variable is not set: {0}")]
    Unset(Box<str>),
    /// The file can't be read.
    #[error("the file can't be read ({cause}): {path}")]
    Unreadable {
        /// As it is written in `tokens.csv`.
        path: Box<str>,
        /// What the system says.
        cause: Box<str>,
    },
    /// Commands may not run.
    #[error("config.toml does not allow commands: {0}")]
    Refused(Reference),
    /// The command gave nothing.
    #[error("the command {how}: {command}")]
    Failed {
        /// The command.
        command: Reference,
        /// What it did.
        how: Box<str>,
    },
    /// What is there is no key.
    #[error("{what}: {place}")]
    NotAKey {
        /// The place.
        place: Reference,
        /// What is there.
        what: &'static str,
    },
}

impl ReferenceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoVariable => "write env:NAME, the name of a variable, and never a key",
            Self::NoPath => "write file:PATH, a path relative to tokens.csv or from the root",
            Self::NoCommand | Self::OpenQuote => {
                "write cmd: and words parted by blanks; words with blanks stand in '…' or \"…\""
            }
            Self::Unset(_) => "set the variable where hermux is started, or correct its name",
            Self::Unreadable { .. } => {
                "name a file that hermux's user can read, relative to tokens.csv or from the root"
            }
            Self::Refused(_) => "write `allow_commands = true` into config.toml, or keep the key elsewhere",
            Self::Failed { .. } => {
                "run the command by hand as hermux's user: it has 10 s to print the key in its first line"
            }
            Self::NotAKey { .. } => "let there be one key and nothing else",
        }
    }
}

impl Value {
    /// Reads a field of the column `token`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let reference = if let Some(name) = text.strip_prefix("env:") {
            Reference::Variable(variable(name.trim()).ok_or(ReferenceError::NoVariable)?)
        } else if let Some(path) = text.strip_prefix("file:") {
            let path = path.trim();
            if path.is_empty() || path.contains("sk-or-") {
                return Err(ReferenceError::NoPath);
            }
            Reference::File(path.into())
        } else if let Some(words) = text.strip_prefix("cmd:") {
            let split = split(words).ok_or(ReferenceError::OpenQuote)?;
            if split.first().is_none_or(String::is_empty) {
                return Err(ReferenceError::NoCommand);
            }
            Reference::Command(words.into())
        } else {
            return Ok(Self::Key(Secret::new(text.to_owned())));
        };
        Ok(Self::Reference(reference))
    }

    /// Where the key lives, as may be shown: `file`, which is `tokens.csv` itself, `env:NAME`, `file:PATH`, `cmd:pass …`.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Key(_) => "file".to_owned(),
            Self::Reference(reference) => reference.to_string(),
        }
    }

    /// As it stands in the column.
    #[must_use]
    pub fn written(&self) -> Secret {
        match self {
            Self::Key(key) => key.clone(),
            Self::Reference(Reference::Command(words)) => Secret::new(format!("cmd:{words}")),
            Self::Reference(reference) => Secret::new(reference.to_string()),
        }
    }

    /// The key. Paths are relative to `folder`; a command is waited for.
    pub fn resolve(&self, folder: &Path, commands: Commands) -> Result<Secret, ReferenceError> {
        match self {
            Self::Key(key) => Ok(key.clone()),
            Self::Reference(reference) => reference.resolve(folder, commands),
        }
    }
}

impl Reference {
    fn resolve(&self, folder: &Path, commands: Commands) -> Result<Secret, ReferenceError> {
        let not_a_key = |what| ReferenceError::NotAKey { place: self.clone(), what };
        let bytes = match self {
            Self::Variable(name) => {
                let value = std::env::var_os(&**name).filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| ReferenceError::Unset(name.clone()))?;
                Zeroizing::new(value.into_encoded_bytes())
            }
            Self::File(path) => contents(&folder.join(&**path)).map_err(|cause| {
                ReferenceError::Unreadable { path: path.clone(), cause: cause.to_string().into() }
            })?,
            Self::Command(_) if commands == Commands::Refused => {
                return Err(ReferenceError::Refused(self.clone()));
            }
            Self::Command(words) => {
                let mut said = output(&split(words).unwrap_or_default(), PATIENCE)
                    .map_err(|how| ReferenceError::Failed { command: self.clone(), how: how.into() })?;
                // Password stores keep notes below the password.
                let first = said.iter().position(|&byte| byte == b'\n').unwrap_or(said.len());
                said.truncate(first);
                said
            }
        };
        if bytes.len() > LONGEST {
            return Err(not_a_key("more than a key"));
        }
        let text = str::from_utf8(&bytes).map_err(|_| not_a_key("not text"))?.trim();
        if text.is_empty() {
            Err(not_a_key("empty"))
        } else if text.contains(['\n', '\r']) {
            Err(not_a_key("more than one line"))
        } else if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            Err(not_a_key("a key with a character that can't stand in a header"))
        } else {
            Ok(Secret::new(text.to_owned()))
        }
    }
}

/// Of a command the program alone: among its words there may be secrets.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Command(words) => {
                let words = split(words).unwrap_or_default();
                let program = words.first().filter(|program| !program.contains("sk-or-"));
                let program = program.map_or("…", String::as_str);
                write!(f, "cmd:{program}{}", if words.len() > 1 { " …" } else { "" })
            }
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name as shells know it; anything else may be a key by mistake.
fn variable(name: &str) -> Option<Box<str>> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(fine) && !name.as_bytes()[0].is_ascii_digit()).then(|| name.into())
}

/// The words of a command: parted by blanks, except between quotes of one kind; none where a quote stays open.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe would be waited for without end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    beginning(File::open(path)?)
}

/// As much of `input` as tells whether it is longer than [`LONGEST`].
fn beginning(input: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it at once: a buffer that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 2));
    input.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the command of `words` writes to its standard output; or what became of it instead.
fn output(words: &[String], patience: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let until = Instant::now() + patience;
    let (program, arguments) = words.split_first().ok_or("has no words")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| format!("can't be started ({cause})"))?;
    let said = child.stdout.take().map(drained);
    let complained = child.stderr.take().map(drained);
    let ended = end_of(&mut child, until);
    let left = || until.saturating_duration_since(Instant::now());
    let heard = |pipe: Option<Receiver<_>>| pipe?.recv_timeout(left()).ok();
    match ended {
        None => Err(format!("took longer than {} s", patience.as_secs_f32())),
        Some(Err(cause)) => Err(format!("can't be waited for ({cause})")),
        Some(Ok(status)) if !status.success() => {
            let complaint = heard(complained).map(|text| last_line(&text)).unwrap_or_default();
            Err(format!("failed ({status}{complaint})"))
        }
        Some(Ok(_)) => heard(said).ok_or_else(|| "ended and left its output open".to_owned()),
    }
}

/// Waits for the end of `child` and kills it where that does not come.
fn end_of(child: &mut Child, until: Instant) -> Option<io::Result<std::process::ExitStatus>> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            waited => {
                // Gone already, or not ours to end.
                let _ = child.kill().and_then(|()| child.wait());
                return waited.err().map(Err);
            }
        }
    }
}

/// The beginning of what comes from `pipe`, once it has ended; the rest is read too, so that its writer can end.
fn drained(mut pipe: impl Read + Send + 'static) -> Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let bytes = beginning(&mut pipe).unwrap_or_default();
        let _ = io::copy(&mut pipe, &mut io::sink());
        // Nobody waits any more for who took too long.
        let _ = sender.send(bytes);
    });
    receiver
}

/// What a command complained of last, unless that may be a secret.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) if !line.contains("sk-") => {
            format!(": {}", line.chars().filter(|c| !c.is_control()).take(COMPLAINT).collect::<String>())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::{Commands, Reference, ReferenceError, Value, output, split};

    fn resolve(text: &str, folder: &Path) -> Result<String, ReferenceError> {
        let value = Value::parse(text)?;
        value.resolve(folder, Commands::Allowed).map(|key| key.expose().to_owned())
    }

    fn here(text: &str) -> Result<String, String> {
        resolve(text, Path::new("/")).map_err(|why| why.to_string())
    }

    #[test]
    fn words_are_parted_by_blanks_and_kept_together_by_quotes() {
        for (text, expected) in [
            ("pass show openrouter", &["pass", "show", "openrouter"][..]),
            ("  a\t b  ", &["a", "b"]),
            ("a 'b c' \"d 'e\" f'g h'i ''", &["a", "b c", "d 'e", "fg hi", ""]),
            (r"C:\bin\x \n $HOME", &[r"C:\bin\x", r"\n", "$HOME"]),
            ("", &[]),
        ] {
            assert_eq!(split(text).expect("closed quotes"), expected, "{text}");
        }
        assert_eq!((split("a 'b"), split("a \"b'")), (None, None));
    }

    #[test]
    fn what_refers_to_nothing_is_told_without_what_stands_there() {
        for (text, problem) in [
            ("env:", ReferenceError::NoVariable),
            ("env:A B", ReferenceError::NoVariable),
            ("env:sk-or-v1-12", ReferenceError::NoVariable),
            ("env:1A", ReferenceError::NoVariable),
            ("file:", ReferenceError::NoPath),
            ("file:sk-or-v1-12", ReferenceError::NoPath),
            ("cmd: ", ReferenceError::NoCommand),
            ("cmd:''", ReferenceError::NoCommand),
            ("cmd:a 'b", ReferenceError::OpenQuote),
        ] {
            assert_eq!(Value::parse(text), Err(problem), "{text}");
        }
        let command = Value::parse("cmd:echo sk-or-v1-12").expect("a reference");
        assert_eq!(
            (command.place(), format!("{command:?}")),
            ("cmd:echo …".into(), "Reference(cmd:echo …)".into())
        );
        assert_eq!(Value::parse("cmd:sk-or-v1-12").expect("a reference").place(), "cmd:…");
        assert_eq!(Value::parse("sk-or-v1-12").expect("a key").place(), "file");
    }

    #[test]
    fn a_variable_is_read_where_it_is_set() {
        assert_eq!(here("env:CARGO_PKG_NAME"), Ok("hermux".into()));
        assert_eq!(here("env: HERMUX_NOT_SET"), Err("the variable is not set: HERMUX_NOT_SET".into()));
    }

    #[test]
    fn a_file_is_read_from_beside_tokens_csv_and_holds_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ann.key");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            resolve("file:ann.key", folder.path()).map_err(|why| why.to_string())
        };
        assert_eq!(read(" key\r\n"), Ok("key".into()));
        assert_eq!(here(&format!("file:{}", path.display())), Ok("key".into()));
        assert_eq!(read("\n"), Err("empty: file:ann.key".into()));
        assert_eq!(read("one\ntwo\n"), Err("more than one line: file:ann.key".into()));
        assert_eq!(read(&"k".repeat(4097)), Err("more than a key: file:ann.key".into()));
        assert!(read("kéy").is_err_and(|why| why.ends_with("can't stand in a header: file:ann.key")));
        assert!(
            here("file:/no/such").is_err_and(|why| why.starts_with("the file can't be read (No such file"))
        );
        assert!(here("file:/").is_err_and(|why| why.contains("not a regular file")));
    }

    #[cfg(unix)]
    #[test]
    fn a_command_gives_the_first_line_it_writes_and_no_shell_sees_it() {
        assert_eq!(here("cmd:printf '%s\\n%s' '$HOME;*' notes"), Ok("$HOME;*".into()));
        assert_eq!(here("cmd:true"), Err("empty: cmd:true".into()));
        let failed = here("cmd:sh -c 'echo no such entry >&2; exit 3'");
        assert_eq!(failed, Err("the command failed (exit status: 3: no such entry): cmd:sh …".into()));
        let failed = here("cmd:sh -c 'echo sk-or-v1-12 >&2; exit 3'");
        assert_eq!(failed, Err("the command failed (exit status: 3): cmd:sh …".into()));
        assert!(here("cmd:/no/such x").is_err_and(|why| why.starts_with("the command can't be started (")));
        assert!(here("cmd:head -c 100000 /dev/zero").is_err_and(|why| why.starts_with("more than a key")));
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_takes_too_long_is_killed() {
        let begin = Instant::now();
        let words = ["sleep".into(), "60".into()];
        let told = output(&words, Duration::from_millis(50)).expect_err("a command that takes too long");
        assert_eq!(told, "took longer than 0.05 s");
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn commands_run_only_where_they_are_allowed() {
        let command = Value::parse("cmd:printf key").expect("a reference");
        let refused = command.resolve(Path::new("/"), Commands::Refused);
        let Value::Reference(reference @ Reference::Command(_)) = command else { panic!("a command") };
        assert_eq!(refused, Err(ReferenceError::Refused(reference)));
    }
}
