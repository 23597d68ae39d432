//! `allow.txt`: read strictly, added to and taken from under a lock.
//!
//! A line is `<token or sha256:…> name=… expires=… models=… rpm=… daily_requests=… daily_cost=… keys=…  # comment`, or a
//! token alone with its caller's name as a comment, `token # name`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::terms::{Attribute, Terms, quoted};
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

/// An access token as it stands in the file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The line, from 1.
    pub line: usize,
    /// What it is known by.
    pub digest: Digest,
    /// How it stands there.
    pub form: Form,
    /// The caller's name; without one, the first 8 hex digits of the token's SHA-256.
    pub caller: Arc<str>,
    /// What bounds it.
    pub terms: Terms,
}

/// How an access token stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Readable.
    Plain,
    /// As its SHA-256: `sha256:` and 64 hex digits.
    Hashed,
}

impl Form {
    /// The word for it: `plain` or `sha256`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hashed => "sha256",
        }
    }
}

/// An access token to be added.
#[derive(Debug)]
pub struct New<'a> {
    /// The token.
    pub token: &'a Secret,
    /// How it is to stand there.
    pub form: Form,
    /// The caller's name.
    pub name: Option<&'a str>,
    /// What is to bound it.
    pub terms: &'a Terms,
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
    /// Text behind the token that is neither attribute nor comment.
    #[error("text behind the access token that is no attribute")]
    Trailing,
    /// A `#` within the token or a value.
    #[error("a `#` without a blank before it")]
    Hash,
    /// A token that no header can carry.
    #[error("the access token has a character that can't stand in a header")]
    Token,
    /// `sha256:` with something else than a digest behind it.
    #[error("`sha256:` without 64 hex digits behind it")]
    Digest,
    /// A name that is too long or not printable.
    #[error("the caller's name is longer than 128 characters or not printable")]
    Name,
    /// An attribute that there is not, and the one that may have been meant.
    #[error("no such attribute{}", .0.map_or(String::new(), |near| format!("; did you mean {}", near.word())))]
    Unknown(Option<Attribute>),
    /// An attribute given twice.
    #[error("the attribute is given twice: {}", .0.word())]
    Repeated(Attribute),
    /// A value that does not belong there.
    #[error("the attribute's value can't be read: {}", .0.word())]
    Value(Attribute),
    /// A value with a quote that does not end, or that stands in its middle.
    #[error("a value's double quotes don't stand around all of it")]
    Quote,
}

impl Problem {
    fn hint(self) -> &'static str {
        match self {
            Self::Trailing => {
                "one access token a line, behind it attributes such as `name=ci rpm=60`, or its caller's name as `# name`"
            }
            Self::Hash => {
                "put a blank before `# comment`; an access token can't hold a `#`, a value can in double quotes"
            }
            Self::Token => "use printable ASCII; `hermux allow gen` makes a good one",
            Self::Digest => "`hermux allow gen` writes it; `printf %s TOKEN | sha256sum` tells it",
            Self::Name => "use 1 to 128 printable characters",
            Self::Unknown(_) => "there are name, expires, models, rpm, daily_requests, daily_cost and keys",
            Self::Repeated(_) => "keep one of the two",
            Self::Value(attribute) => attribute.hint(),
            Self::Quote => "write name=\"build server\", and \\\" for a quote within it",
        }
    }
}

/// Reads the access tokens of `path`.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let text = textfile::read(path)?.ok_or_else(|| FileError::Missing(path.to_owned()))?;
    let shown = path.display();
    let mut tokens = Vec::new();
    let mut warnings = Vec::new();
    let mut token_lines: HashMap<[u8; 32], usize> = HashMap::new();
    let mut name_lines = HashMap::new();
    if text.exposed {
        warnings.push(textfile::exposed_warning(path));
    }

    for line in lines(path, text.as_str()) {
        let line = line?;
        let number = line.number;
        if let Some(first) = token_lines.get(&line.digest.0) {
            warnings.push(format!("{shown}:{number}: the access token stands on line {first} already"));
            continue;
        }
        token_lines.insert(line.digest.0, number);
        if line.form == Form::Plain && line.token.len() < SHORTEST_SAFE {
            warnings.push(format!(
                "{shown}:{number}: an access token of fewer than {SHORTEST_SAFE} characters is easily guessed, \
                 and headers that contain it do not go upstream; `hermux allow gen` makes a better one"
            ));
        }
        if line.name.is_none() && line.has_comment {
            warnings.push(format!(
                "{shown}:{number}: the caller is not called as the comment says, since a line with attributes takes \
                 its name from name=…"
            ));
        }
        // Two tokens of one caller are how tokens are renewed; by mistake they would blur who used what.
        if let Some(name) = &line.name
            && let Some(first) = name_lines.insert(name.clone(), number)
        {
            warnings
                .push(format!("{shown}:{number}: line {first} has the same caller, counted as one: {name}"));
        }
        tokens.push((line.digest, line.caller(), line.terms));
    }
    let access = Access::new(tokens);
    if access.is_empty() {
        warnings.push(format!(
            "no access tokens in {shown}: every request is refused; `hermux allow gen` makes one"
        ));
    }
    Ok(Loaded { access, warnings })
}

/// Reads what stands in `path`, line by line.
pub fn entries(path: &Path) -> Result<Vec<Entry>, FileError> {
    let text = textfile::read(path)?.ok_or_else(|| FileError::Missing(path.to_owned()))?;
    lines(path, text.as_str()).map(|line| line.map(Line::into_entry)).collect()
}

/// Appends tokens, each with its caller's name and terms; makes the file where there is none. Returns the names of the
/// callers. What stands there stays as it is; a name that is taken is refused, and so is a file that [`load`] would not
/// take: then nothing is added.
pub fn append(path: &Path, new: &[New<'_>]) -> Result<Vec<String>, FileError> {
    let mut callers: Vec<String> = Vec::new();
    let mut added = Vec::new();
    for New { token, form, name, terms } in new {
        let token = token.expose().trim();
        let name =
            name.map(|name| caller_name(name).ok_or(Problem::Name)).transpose().map_err(FileError::Unfit)?;
        check_token(token).map_err(FileError::Unfit)?;
        let digest = Digest::of(token.as_bytes());
        callers.push(name.map_or_else(|| digest.short(), str::to_owned));
        let name =
            name.map(|name| format!(" {}={}", Attribute::Name.word(), quoted(name))).unwrap_or_default();
        let terms = Some(terms.text()).filter(|text| !text.is_empty()).map(|text| format!(" {text}"));
        let terms = terms.unwrap_or_default();
        added.push(Zeroizing::new(match form {
            // Put together at once: a text that grows leaves copies of the token behind.
            Form::Plain => [token, &name, &terms].concat(),
            Form::Hashed => format!("{HASHED}{digest}{name}{terms}"),
        }));
    }
    textfile::edit(path, |old| {
        if let Some(old) = old {
            for line in lines(path, old.as_str()) {
                let line = line?;
                if let Some(name) = callers.iter().find(|caller| line.name.as_ref() == Some(*caller)) {
                    let (path, name) = (path.to_owned(), name.clone());
                    return Err(FileError::NameTaken { path, line: line.number, name });
                }
            }
        }
        Ok(textfile::with_lines(old, added.iter().map(|line| line.as_str())))
    })?;
    Ok(callers)
}

/// Takes the lines of these tokens out of `path`, and leaves all else as it is, byte for byte. Returns how many lines it
/// took out. A file that [`load`] would not take is not changed.
pub fn remove(path: &Path, tokens: &[Digest]) -> Result<usize, FileError> {
    let mut removed = Vec::new();
    textfile::edit(path, |old| {
        let old = old.ok_or_else(|| FileError::Missing(path.to_owned()))?;
        for line in lines(path, old.as_str()) {
            let line = line?;
            if tokens.contains(&line.digest) {
                removed.push(line.number);
            }
        }
        Ok::<_, FileError>(textfile::without_lines(old, &removed))
    })?;
    Ok(removed.len())
}

/// What a hashed token begins with.
const HASHED: &str = "sha256:";

/// A line that holds a token.
struct Line<'a> {
    number: usize,
    token: &'a str,
    digest: Digest,
    form: Form,
    name: Option<String>,
    terms: Terms,
    has_comment: bool,
}

impl Line<'_> {
    fn caller(&self) -> Arc<str> {
        self.name.as_deref().map_or_else(|| self.digest.short().into(), Arc::from)
    }

    fn into_entry(self) -> Entry {
        let caller = self.caller();
        Entry { line: self.number, digest: self.digest, form: self.form, caller, terms: self.terms }
    }
}

fn lines<'a>(path: &'a Path, text: &'a str) -> impl Iterator<Item = Result<Line<'a>, FileError>> {
    text.lines().enumerate().filter_map(move |(before, line)| {
        let number = before + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let read = parse(number, line);
        Some(read.map_err(|problem| FileError::Line { path: path.to_owned(), line: number, problem }))
    })
}

/// `TOKEN attribute=value … # comment`, or `TOKEN # name`.
fn parse(number: usize, line: &str) -> Result<Line<'_>, Problem> {
    let (token, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    check_token(token)?;
    let (digest, form) = match token.strip_prefix(HASHED) {
        Some(hex) => (Digest::parse(hex).ok_or(Problem::Digest)?, Form::Hashed),
        None => (Digest::of(token.as_bytes()), Form::Plain),
    };
    let mut read =
        Line { number, token, digest, form, name: None, terms: Terms::default(), has_comment: false };
    let mut given = Vec::new();
    let mut rest = rest.trim_start();
    while !rest.is_empty() {
        if let Some(comment) = rest.strip_prefix('#') {
            let comment = comment.trim();
            if given.is_empty() && !comment.is_empty() {
                read.name = Some(caller_name(comment).ok_or(Problem::Name)?.to_owned());
            }
            read.has_comment = !comment.is_empty();
            break;
        }
        let (attribute, value, behind) = attribute(rest)?;
        if given.contains(&attribute) {
            return Err(Problem::Repeated(attribute));
        }
        given.push(attribute);
        match attribute {
            Attribute::Name => {
                let name = caller_name(&value).ok_or(Problem::Value(attribute))?;
                read.name = Some(name.to_owned());
            }
            _ if read.terms.set(attribute, &value) => {}
            _ => return Err(Problem::Value(attribute)),
        }
        rest = behind.trim_start();
    }
    Ok(read)
}

/// The attribute at the beginning of `text`, its value, and what follows it.
fn attribute(text: &str) -> Result<(Attribute, Cow<'_, str>, &str), Problem> {
    let end = text.find(['=', ' ', '\t', '"', '#']).unwrap_or(text.len());
    let Some(value) = text[end..].strip_prefix('=') else { return Err(Problem::Trailing) };
    let word = &text[..end];
    // Of what is unknown only what comes near is told: it may be a token.
    let attribute = Attribute::parse(word).ok_or_else(|| Problem::Unknown(Attribute::near(word)))?;
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([' ', '\t']).unwrap_or(value.len());
        let (value, behind) = value.split_at(end);
        return match value {
            _ if value.contains('"') => Err(Problem::Quote),
            _ if value.contains('#') => Err(Problem::Hash),
            _ => Ok((attribute, Cow::Borrowed(value), behind)),
        };
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                let behind = &quoted[at + 1..];
                let ends = behind.is_empty() || behind.starts_with([' ', '\t']);
                return if ends { Ok((attribute, Cow::Owned(value), behind)) } else { Err(Problem::Quote) };
            }
            '\\' => value.push(letters.next().ok_or(Problem::Quote)?.1),
            letter => value.push(letter),
        }
    }
    Err(Problem::Quote)
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

/// `name` without the blanks around it, where it can be a caller's: 1 to 128 characters, none of which controls a terminal
/// or breaks a line.
fn caller_name(name: &str) -> Option<&str> {
    let name = name.trim();
    let breaks = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    (matches!(name.chars().count(), 1..=128) && !name.contains(breaks)).then_some(name)
}
