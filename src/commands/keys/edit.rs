//! `hermux keys remove`, `rename`, `enable` and `disable`: edits of one row of `tokens.csv`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::{KeysNameArgs, KeysRemoveArgs, KeysRenameArgs};
use crate::commands::{Usage, agreed};
use crate::keys::KeyName;
use crate::keys::file::{self, FileError};

/// Removes a key, once a person agreed.
pub(super) fn remove(args: &KeysRemoveArgs, path: &Path, told: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let name = parse(&args.name)?;
    // Nobody is asked about a key that is not there.
    if !file::list(path)?.rows.iter().any(|row| row.name == name) {
        return Err(FileError::NoSuchKey { path: path.to_owned(), name }.into());
    }
    if !args.yes && !agreed(&format!("remove `{name}` from {}?", path.display()))? {
        writeln!(told, "nothing was removed")?;
        return Ok(ExitCode::FAILURE);
    }
    file::remove(path, &name)?;
    writeln!(told, "removed `{name}` from {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a key another name.
pub(super) fn rename(args: &KeysRenameArgs, path: &Path, told: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (old, new) = (parse(&args.name)?, parse(&args.new)?);
    file::rename(path, &old, &new)?;
    writeln!(told, "renamed `{old}` to `{new}` in {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Switches a key on or off.
pub(super) fn enable(
    args: &KeysNameArgs,
    enabled: bool,
    path: &Path,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let name = parse(&args.name)?;
    let state = if enabled { "enabled" } else { "disabled" };
    if file::set_enabled(path, &name, enabled)? {
        writeln!(told, "{state} `{name}` in {}", path.display())?;
    } else {
        writeln!(told, "`{name}` is {state} already in {}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A name as it was typed.
pub(super) fn parse(name: &str) -> Result<KeyName, Usage> {
    KeyName::parse(name).map_err(|why| Usage(why.to_string()))
}
