//! `hermux keys add`: one more key in `tokens.csv`.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use zeroize::Zeroizing;

use crate::cli::KeysAddArgs;
use crate::commands::{Usage, interactive};
use crate::keys::KeyName;
use crate::keys::file;
use crate::secret::Secret;

/// Far more than a key has, in bytes.
const MOST: u64 = 4096;

/// Asks for a key, or reads it from standard input, and adds it to the file at `path`.
pub(super) fn run(args: &KeysAddArgs, path: &Path, told: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let name = KeyName::parse(&args.name).map_err(|why| Usage(why.to_string()))?;
    let key = if args.stdin { from_stdin(io::stdin().lock())? } else { asked(&name)? };
    file::add(path, &name, &key)?;
    if file::is_odd(&key) {
        writeln!(told, "warning: the key is not `sk-or-v1-` and 64 hex digits; is it one of OpenRouter's")?;
    }
    writeln!(told, "added `{name}` to {}", path.display())?;
    Ok(ExitCode::SUCCESS)
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
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST)? + 1));
    input.take(MOST + 1).read_to_end(&mut text).context("can't read the key from standard input")?;
    let text = str::from_utf8(&text).map_err(|_| Usage("the key on standard input is not text".into()))?;
    one_key(text)
}

fn one_key(text: &str) -> anyhow::Result<Secret> {
    let key = text.trim();
    let problem = if key.is_empty() {
        "no key was given"
    } else if u64::try_from(key.len())? > MOST {
        "the key is too long to be one"
    } else if key.contains(['\n', '\r']) {
        "more than one line was given, where one key belongs"
    } else {
        return Ok(Secret::new(key.to_owned()));
    };
    Err(Usage(problem.into()).into())
}
