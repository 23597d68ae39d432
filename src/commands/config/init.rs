//! `hermux config init`: a config.toml that explains itself; with a person there, also the first key and access token.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::template;
use crate::access;
use crate::access::file::{Form, New};
use crate::cli::ConfigInitArgs;
use crate::clock::Clock;
use crate::commands::{Usage, interactive, keys};
use crate::config::origin::Resolved;
use crate::config::{Address, Config, Errors, Surroundings};
use crate::keys::KeyName;
use crate::secret::Secret;
use crate::textfile::{self, TextError};

/// What the first key and the first caller are called.
const FIRST: &str = "first";

/// Writes config.toml, and goes on as far as there is somebody to ask.
pub(super) fn run(
    args: &ConfigInitArgs,
    flags: &[(&str, String)],
    around: &Surroundings,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    // What is to be written must not have to be there already, and what is to be replaced need not be good.
    let (config_flag, flags): (Vec<_>, Vec<_>) =
        flags.iter().cloned().partition(|(name, _)| *name == "config");
    let path = wanted(&config_flag, around)?;
    write(&path, &to_keep(&path, &flags, around), args.force)?;
    writeln!(told, "wrote {}", path.display())?;

    let mut flags = flags;
    flags.push(("config", path.display().to_string()));
    let Resolved { mut config, values, wrong, .. } = Config::trace(&flags, around);
    if !wrong.is_empty() {
        return Err(Errors(wrong).into());
    }
    for value in values.iter().filter(|value| value.from.is_none()) {
        let file = match value.setting.name {
            "tokens" => &mut config.tokens,
            "allow" => &mut config.allow,
            _ => continue,
        };
        // Files that nobody named and that stand nowhere yet go where hermux finds them from everywhere.
        if !around.working_dir.join(&*file).exists() {
            *file = path.with_file_name(file.file_name().unwrap_or_default());
        }
    }
    let config_word = config_flag.first().map_or(String::new(), |(_, path)| format!(" --config {path}"));
    if !interactive() {
        writeln!(
            told,
            "hint: next, `hermux{config_word} keys add NAME`, `hermux{config_word} allow gen NAME`, `hermux{config_word} config check`, \
             `hermux{config_word} serve`"
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let has_key = first_key(&config, clock, told)?;
    let token = first_access_token(&config, told)?;
    next(&config, &config_word, has_key, token.as_ref(), out)?;
    Ok(ExitCode::SUCCESS)
}

/// Where config.toml is to stand.
fn wanted(flag: &[(&str, String)], around: &Surroundings) -> anyhow::Result<PathBuf> {
    let named = flag.first().map(|(_, path)| PathBuf::from(path));
    let variable = || {
        let (_, path) =
            around.variables.iter().find(|(name, value)| name == "HERMUX_CONFIG" && !value.is_empty())?;
        Some(PathBuf::from(path))
    };
    let user = || around.config_dir.as_ref().map(|folder| folder.join("config.toml"));
    let path = named.or_else(variable).or_else(user);
    path.ok_or_else(|| {
        Usage("no home to put config.toml into\nhint: name a place with --config".into()).into()
    })
}

/// What config.toml has to say from the beginning: places that were typed, and those of the other files where nobody would
/// look for them.
fn to_keep(path: &Path, flags: &[(&str, String)], around: &Surroundings) -> Vec<(&'static str, String)> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let elsewhere = absolute(path).parent() != around.config_dir.as_deref().map(absolute).as_deref();
    let keep = |name, file: Option<&str>| {
        let typed = flags.iter().find(|(flag, _)| *flag == name).map(|(_, place)| absolute(Path::new(place)));
        let typed = typed.map(|place| place.display().to_string());
        Some((name, typed.or_else(|| file.filter(|_| elsewhere).map(str::to_owned))?))
    };
    let places =
        [keep("tokens", Some("tokens.csv")), keep("allow", Some("allow.txt")), keep("data_dir", None)];
    places.into_iter().flatten().collect()
}

fn write(path: &Path, keep: &[(&str, String)], force: bool) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), fs::create_dir_all);
    made.map_err(|cause| TextError::Unwritable { path: path.to_owned(), cause })
        .map_err(|error| unwritable(&error))?;
    textfile::edit(path, |old| match old {
        Some(_) if !force => Err(Refused::There(path.to_owned())),
        _ => Ok(Zeroizing::new(template::config_toml(keep))),
    })
    .map_err(|refused| match refused {
        Refused::There(path) => {
            Usage(format!("it is there already: {}\nhint: --force replaces it", path.display())).into()
        }
        Refused::Text(error) => unwritable(&error),
    })
}

fn unwritable(error: &TextError) -> anyhow::Error {
    Usage(error.to_string()).into()
}

enum Refused {
    There(PathBuf),
    Text(TextError),
}

impl From<TextError> for Refused {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

/// Asks for a key where there is none yet; tells whether there is one now.
fn first_key(config: &Config, clock: &Clock, told: &mut dyn Write) -> anyhow::Result<bool> {
    let path = &config.tokens;
    if keys::are_there(config)? {
        writeln!(told, "there are keys already: {}", path.display())?;
        return Ok(true);
    }
    let prompt = "OpenRouter key, from https://openrouter.ai/settings/keys (not shown; nothing skips it)";
    let answer = dialoguer::Password::new().with_prompt(prompt).allow_empty_password(true).interact();
    let answer = Zeroizing::new(answer.context("can't ask for the key")?);
    if answer.trim().is_empty() {
        return Ok(false);
    }
    let key = Secret::new(answer.trim().to_owned());
    let name = KeyName::parse(FIRST).map_err(|why| Usage(why.to_string()))?;
    // Whatever is wrong with the key, the rest of the setup is not.
    if let Err(error) = keys::add_first(&name, &key, config, clock, told) {
        writeln!(told, "warning: {error}")?;
        return Ok(false);
    }
    Ok(true)
}

/// Makes an access token where there is none yet.
fn first_access_token(config: &Config, told: &mut dyn Write) -> anyhow::Result<Option<Secret>> {
    let path = &config.allow;
    match access::file::load(path) {
        Ok(loaded) if !loaded.access.is_empty() => {
            writeln!(told, "there are access tokens already: {}", path.display())?;
            return Ok(None);
        }
        Ok(_) | Err(access::file::FileError::Missing(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let token = access::generate();
    let terms = access::Terms::default();
    let new = New { token: &token, form: Form::Hashed, name: Some(FIRST), terms: &terms };
    access::file::append(path, &[new])?;
    writeln!(
        told,
        "made an access token for the caller `{FIRST}` in {}; it is shown this once",
        path.display()
    )?;
    Ok(Some(token))
}

/// What to type now, to paste.
fn next(
    config: &Config,
    config_word: &str,
    has_key: bool,
    token: Option<&Secret>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "\nStart hermux:\n")?;
    if !has_key {
        writeln!(out, "hermux{config_word} keys add {FIRST}")?;
    }
    // An address that stands for every network is reached at this machine's own.
    let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
    let (socket, at) = match &config.address {
        Address::Unix(path) => (format!(" --unix-socket {}", path.display()), "localhost".to_owned()),
        Address::Ip(address) => {
            let host = match *address {
                address if !address.is_unspecified() => address,
                address if address.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
                _ => Ipv6Addr::LOCALHOST.into(),
            };
            (String::new(), SocketAddr::new(host, config.port).to_string())
        }
    };
    let token = token.map_or("$ACCESS_TOKEN", Secret::expose);
    writeln!(
        out,
        "hermux{config_word} serve

and in another terminal:

curl -N{socket} {scheme}://{at}/api/v1/chat/completions \\
  -H \"Authorization: Bearer {token}\" -H 'Content-Type: application/json' \\
  -d '{{\"model\":\"openai/gpt-4o-mini\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"
    )?;
    out.flush()?;
    Ok(())
}
