//! `allow.txt`: read strictly, appended to under a lock, and new access tokens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::{Access, Digest};
use crate::secret::Secret;
use crate::textfile::{self, TextError};

/// The access tokens of a file, and what was odd but not wrong.
#[derive(Debug)]
pub struct Loaded {
    /// Who is let in; nobody where the file holds no token.
    pub access: Access,
    /// Sentences for the log, each naming the file, and the line where there is one; never a token.
    pub warnings: Vec<String>,
}

/// Why `allow.txt` cannot be used; the text names file, line and cure, never a token.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there.
    #[error("no such file: {}\nhint: `hermux allow gen` makes it, or name another with --allow", .0.display())]
    Missing(PathBuf),
    /// A line that cannot be used.
    #[error("{}:{line}: {problem}\nhint: {}", path.display(), problem.hint())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A caller to be added that has no usable name.
    #[error("{0}\nhint: {hint}", hint = .0.hint())]
    Unfit(Problem),
    /// A caller to be added whose name is taken.
    #[error("{}:{line}: the name is taken: {name}\nhint: choose another name", path.display())]
    NameTaken {
        /// The file.
        path: PathBuf,
        /// The line where the name stands.
        line: usize,
        /// The name.
        name: String,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// What is wrong with a line of `allow.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Text behind the token that is no comment.
    #[error("text behind the access token")]
    Trailing,
    /// A `#` within the token.
    #[error("a `#` in the access token")]
    Hash,
    /// A token that no header can carry.
    #[error("the access token has a character that can't stand in a header")]
    Token,
    /// A name that is too long or not printable ASCII.
    #[error("the caller's name is longer than 128 characters or not printable ASCII")]
    Name,
}

impl Problem {
    fn hint(self) -> &'static str {
        match self {
            Self::Trailing => "one access token a line, its caller's name behind it as `# name`",
            Self::Hash => "put a blank before `# name`; the access token itself can't hold a `#`",
            Self::Token => "use printable ASCII; `hermux allow gen` makes a good one",
            Self::Name => "use 1 to 128 printable ASCII characters",
        }
    }
}

/// Reads the access tokens of `path`.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let text = textfile::read(path)?.ok_or_else(|| FileError::Missing(path.to_owned()))?;
    let shown = path.display();
    let mut access = Access::default();
    let mut warnings = Vec::new();
    let mut token_lines = HashMap::new();
    let mut name_lines = HashMap::new();
    if text.exposed {
        warnings.push(textfile::exposed_warning(path));
    }

    for line in lines(path, text.as_str()) {
        let Line { number, token, name } = line?;
        if let Some(first) = token_lines.get(token) {
            warnings.push(format!("{shown}:{number}: the access token stands on line {first} already"));
            continue;
        }
        token_lines.insert(token, number);
        if token.len() < SHORTEST_SAFE {
            warnings.push(format!(
                "{shown}:{number}: an access token of fewer than {SHORTEST_SAFE} characters is easily guessed, \
                 and headers that contain it do not go upstream; `hermux allow gen` makes a better one"
            ));
        }
        access.insert(token, name);
        // Two tokens of one caller are how tokens are renewed; by mistake they would blur who used what.
        if let Some(name) = name
            && let Some(first) = name_lines.insert(name, number)
        {
            warnings
                .push(format!("{shown}:{number}: line {first} has the same caller, counted as one: {name}"));
        }
    }
    if access.is_empty() {
        warnings.push(format!(
            "no access tokens in {shown}: every request is refused; `hermux allow gen` makes one"
        ));
    }
    Ok(Loaded { access, warnings })
}

/// A new access token: `hmx_` and 43 letters and digits, 256 bits from the system's generator.
///
/// # Panics
///
/// When the system has no random numbers to give: nothing safe can be made then.
#[must_use]
pub fn generate() -> Secret {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const PREFIX: &str = "hmx_";
    const LENGTH: usize = PREFIX.len() + 43; // 62^43 > 2^256
    let mut token = String::with_capacity(LENGTH);
    token.push_str(PREFIX);
    let mut bytes = Zeroizing::new([0; 64]);
    while token.len() < LENGTH {
        SysRng.try_fill_bytes(&mut *bytes).expect("the system gives random numbers");
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first digits.
        let digits =
            bytes.iter().filter(|&&byte| byte < 248).map(|&byte| char::from(DIGITS[usize::from(byte % 62)]));
        token.extend(digits.take(LENGTH - token.len()));
    }
    Secret::new(token)
}

/// Appends `token`, with `name` behind it where there is one; makes the file where there is none. Returns
/// the name of the caller. What stands there stays as it is; a name that is taken is refused, and so is a
/// file that [`load`] would not take.
pub fn append(path: &Path, name: Option<&str>, token: &Secret) -> Result<String, FileError> {
    let token = token.expose().trim();
    let name = name.map(|name| caller_name(name).map_err(FileError::Unfit)).transpose()?;
    check_token(token).map_err(FileError::Unfit)?;
    let caller = name.map_or_else(|| Digest::of(token.as_bytes()).short(), str::to_owned);
    let mut entry = Zeroizing::new(token.to_owned());
    if let Some(name) = name {
        entry.push_str(" # ");
        entry.push_str(name);
    }

    textfile::edit(path, |old| {
        let Some(old) = old else {
            entry.push('\n');
            return Ok(entry);
        };
        for line in lines(path, old.as_str()) {
            let line = line?;
            if line.name == Some(&caller) {
                let (path, name) = (path.to_owned(), caller.clone());
                return Err(FileError::NameTaken { path, line: line.number, name });
            }
        }
        Ok(textfile::with_line(old, &entry))
    })?;
    Ok(caller)
}

/// A line that holds a token.
struct Line<'a> {
    number: usize,
    token: &'a str,
    name: Option<&'a str>,
}

fn lines<'a>(path: &'a Path, text: &'a str) -> impl Iterator<Item = Result<Line<'a>, FileError>> {
    text.lines().enumerate().filter_map(move |(before, line)| {
        let number = before + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let read = parse(line).map(|(token, name)| Line { number, token, name });
        Some(read.map_err(|problem| FileError::Line { path: path.to_owned(), line: number, problem }))
    })
}

/// `TOKEN` or `TOKEN # name`.
fn parse(line: &str) -> Result<(&str, Option<&str>), Problem> {
    let (token, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    check_token(token)?;
    match rest.trim_start() {
        "" => Ok((token, None)),
        rest => match rest.strip_prefix('#').ok_or(Problem::Trailing)?.trim() {
            "" => Ok((token, None)),
            name => Ok((token, Some(caller_name(name)?))),
        },
    }
}

/// Below this an access token is warned of, characters.
const SHORTEST_SAFE: usize = 16;

fn check_token(token: &str) -> Result<(), Problem> {
    if token.contains('#') {
        return Err(Problem::Hash);
    }
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::Token);
    }
    Ok(())
}

/// `name` without the blanks around it, where it can be a caller's: 1 to 128 printable ASCII characters.
fn caller_name(name: &str) -> Result<&str, Problem> {
    let name = name.trim();
    let printable = |byte| byte == b' ' || u8::is_ascii_graphic(&byte);
    if matches!(name.len(), 1..=128) && name.bytes().all(printable) { Ok(name) } else { Err(Problem::Name) }
}
