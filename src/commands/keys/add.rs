//! `hermux keys add`: one more key in `tokens.csv`, after a look at what `OpenRouter` says of it.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use zeroize::Zeroizing;

use super::{Files, edit, known, many, words};
use crate::cli::KeysAddArgs;
use crate::clock::Clock;
use crate::commands::ask::{Said, ask_all};
use crate::commands::{Usage, asked_line, interactive};
use crate::config::Config;
use crate::keys::file::{self, FileError, Problem, Row};
use crate::keys::reference::{Commands, LONGEST};
use crate::keys::{Key, KeyName, Terms};
use crate::secret::Secret;

/// The warning about a key that does not look like one.
pub(super) const ODD: &str = "the key is not `sk-or-v1-` and 64 hex digits; is it one of OpenRouter's";

/// Asks for a key, or reads it from standard input, and adds it to the file; or adds many.
pub(super) fn run(
    args: &KeysAddArgs,
    files: Files<'_>,
    config: &Config,
    clock: &Clock,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let patience = patience(&args.timeout)?;
    let check = (!args.no_check).then_some(patience);
    if let Some(found) = many::found(args)? {
        return many::add(found, check, files, config, clock, told);
    }
    let rows = known::rows(files.tokens)?;
    let name = match &args.name {
        Some(name) => edit::parse(name)?,
        None => asked_name()?,
    };
    let path = files.tokens;
    let unfit = |problem| FileError::Unfit { path: path.to_owned(), problem };
    // Nobody is asked for a key, with the key itself on the screen.
    if name.as_str().contains("sk-or-") {
        return Err(unfit(Problem::NameIsKey).into());
    }
    if let Some(row) = rows.iter().find(|row| row.name == name) {
        return Err(unfit(Problem::NameTwice { name, first: row.line }).into());
    }
    let token = if args.stdin { from_stdin(io::stdin().lock())? } else { asked(&name)? };
    put(&name, &token, check, (rows, files), config, clock, told)
}

/// Adds one key to `rows`, those of the file, after `OpenRouter` was asked about it for so long as `check` says.
pub(super) fn put(
    name: &KeyName,
    token: &Secret,
    check: Option<Duration>,
    (rows, files): (Vec<Row>, Files<'_>),
    config: &Config,
    clock: &Clock,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let path = files.tokens;
    let unfit = |problem| FileError::Unfit { path: path.to_owned(), problem };
    let key = Newcomers::new(rows, files).key(name, token).map_err(unfit)?;
    if file::is_odd(&key) {
        writeln!(told, "warning: {ODD}")?;
    }
    if let Some(patience) = check {
        let said =
            ask_all(config, &[key], patience, clock, |_| ())?.pop().context("one question was asked")?;
        match said {
            Err(why) => writeln!(told, "warning: OpenRouter could not be asked about the key: {why}")?,
            Ok(said) => match (said.unfit(clock.now()), said) {
                (Some(why), said) => {
                    let cure = match said {
                        Said::Refused => {
                            "copy the key once more from openrouter.ai; --no-check adds it unasked"
                        }
                        Said::Info(_) => "make another API key at https://openrouter.ai/settings/keys",
                    };
                    return Err(anyhow!("not added: `{name}`, since {why}\nhint: {cure}"));
                }
                (None, Said::Info(info)) => {
                    writeln!(told, "OpenRouter knows it: {}", words::about(&info, clock.now()))?;
                }
                (None, Said::Refused) => {}
            },
        }
    }
    file::add(path, name, token)?;
    writeln!(told, "added `{name}` to {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

/// What `--timeout` says.
pub(super) fn patience(text: &str) -> Result<Duration, Usage> {
    crate::config::wait(text).map_err(|problem| Usage(format!("--timeout: {problem}")))
}

/// Those that are to be added, compared with those that are there and with each other. No command of a row that is
/// there already runs for that.
pub(super) struct Newcomers<'a> {
    rows: Vec<Row>,
    keys: Vec<(Secret, usize)>,
    files: Files<'a>,
}

impl<'a> Newcomers<'a> {
    pub(super) fn new(rows: Vec<Row>, files: Files<'a>) -> Self {
        let known = file::resolve(files.tokens, &rows, Commands::Refused);
        let secret =
            |(at, key): (usize, Result<Key, Problem>)| Some((Secret::new(key.ok()?.expose().to_owned()), at));
        let keys = known.into_iter().enumerate().filter_map(secret).collect();
        Self { rows, keys, files }
    }

    /// The key of a row that is to be added, or why it can't be; rows that were added so stand on line 0.
    pub(super) fn key(&mut self, name: &KeyName, token: &Secret) -> Result<Key, Problem> {
        let value = file::check_pair(name, token.expose())?;
        if let Some(row) = self.rows.iter().find(|row| row.name == *name) {
            return Err(Problem::NameTwice { name: name.clone(), first: row.line });
        }
        let row = Row { line: 0, name: name.clone(), value, terms: Terms::default() };
        let Files { tokens, commands, .. } = self.files;
        let key = file::resolve(tokens, std::slice::from_ref(&row), commands).pop().expect("a key a row")?;
        let secret = Secret::new(key.expose().to_owned());
        if let Some((_, at)) = self.keys.iter().find(|(other, _)| *other == secret) {
            let Row { line, name: other, .. } = &self.rows[*at];
            return Err(Problem::KeyTwice { name: name.clone(), first: *line, other: other.clone() });
        }
        self.keys.push((secret, self.rows.len()));
        self.rows.push(row);
        Ok(key)
    }
}

fn asked_name() -> anyhow::Result<KeyName> {
    if !interactive() {
        let problem =
            "no name was given, and there is no terminal to ask for one\nhint: hermux keys add NAME --stdin";
        return Err(Usage(problem.into()).into());
    }
    Ok(edit::parse(&asked_line("Name of the key")?)?)
}

fn asked(name: &KeyName) -> anyhow::Result<Secret> {
    if !interactive() {
        return Err(Usage(
            "no terminal to ask for the key\nhint: give it on standard input, with --stdin".into(),
        )
        .into());
    }
    // An end of input reads as an empty answer: to insist on one would ask for ever.
    let prompt = format!("OpenRouter key for {name} (not shown)");
    let answer = dialoguer::Password::new().with_prompt(prompt).allow_empty_password(true).interact();
    one_key(&Zeroizing::new(answer.context("can't ask for the key")?))
}

fn from_stdin(input: impl Read) -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let most = u64::try_from(LONGEST + 1)?;
    input.take(most).read_to_end(&mut text).context("can't read the key from standard input")?;
    let text = str::from_utf8(&text).map_err(|_| Usage("the key on standard input is not text".into()))?;
    one_key(text)
}

fn one_key(text: &str) -> anyhow::Result<Secret> {
    let key = text.trim();
    let problem = if key.is_empty() {
        "no key was given"
    } else if text.len() > LONGEST {
        "the key is too long to be one"
    } else if key.contains(['\n', '\r']) {
        "more than one line was given, where one key belongs"
    } else {
        return Ok(Secret::new(key.to_owned()));
    };
    Err(Usage(problem.into()).into())
}
