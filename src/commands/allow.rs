//! `hermux allow`: the access tokens in `allow.txt`.

mod check;
mod generate;
mod list;
mod revoke;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use zeroize::Zeroizing;

use crate::cli::AllowCommand;
use crate::clock::Clock;
use crate::commands::{Usage, interactive};
use crate::config::Config;
use crate::secret::Secret;

/// Far more than an access token has, in bytes.
const MOST: u64 = 4096;

/// Does what was typed behind `hermux allow`.
pub(super) fn run(
    command: &AllowCommand,
    config: &Config,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let path = &config.allow;
    match command {
        AllowCommand::Gen(args) => generate::run(args, path, &config.tokens, clock.now(), out, told),
        AllowCommand::List(args) => list::run(args, path, &config.data_dir, clock.now(), out),
        AllowCommand::Revoke(args) => revoke::run(args, path, told),
        AllowCommand::Check => check::run(&given()?, path, clock.now(), out),
    }
}

/// An access token: asked for without being shown, or the one line on standard input where that is no terminal.
fn given() -> anyhow::Result<Secret> {
    use std::io::IsTerminal as _;
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST)? + 1));
    if interactive() {
        // An end of input reads as an empty answer: to insist on one would ask for ever.
        let prompt =
            dialoguer::Password::new().with_prompt("access token (not shown)").allow_empty_password(true);
        let answer = Zeroizing::new(prompt.interact().context("can't ask for the access token")?);
        text.extend_from_slice(answer.as_bytes());
    } else if io::stdin().is_terminal() {
        return Err(
            Usage("no terminal to ask for the access token\nhint: give it on standard input".into()).into()
        );
    } else {
        let read = io::stdin().lock().take(MOST + 1).read_to_end(&mut text);
        read.context("can't read the access token from standard input")?;
    }
    let token = str::from_utf8(&text).map_err(|_| Usage("the access token is not text".into()))?.trim();
    let problem = match token {
        "" => "no access token was given",
        token if token.len() > 4096 => "the access token is too long to be one",
        token if token.contains(['\n', '\r']) => {
            "more than one line was given, where one access token belongs"
        }
        token => return Ok(Secret::new(token.to_owned())),
    };
    Err(Usage(problem.into()).into())
}
