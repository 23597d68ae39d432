//! `hermux config` from outside: which files and values are used and why, a first setup, and what `serve` would say.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

mod check;
mod init;
mod show;
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const KEY: &str = "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// An empty working directory and an empty home, with nothing of the environment of this process.
struct Place {
    here: TempDir,
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { here: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    /// The same with a key and an access token in the working directory.
    fn furnished() -> Self {
        let place = Self::new();
        place.write("tokens.csv", &format!("name,token\nann,{KEY}\n"));
        place.write("allow.txt", "hmx_0123456789abcdef0123456789abcdef # ci\n");
        place
    }

    fn variables(&self) -> [(&'static str, PathBuf); 3] {
        let home = self.home.path();
        [
            ("HOME", home.to_owned()),
            ("XDG_CONFIG_HOME", home.join("config")),
            ("XDG_DATA_HOME", home.join("data")),
        ]
    }

    /// `hermux` with these words, parted by blanks.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermux"));
        command.env_clear().envs(self.variables()).current_dir(self.here.path()).args(words.split(' '));
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.here.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        write_private(&self.path(name), text);
    }

    /// `config.toml` in the user's configuration directory.
    fn config_file(&self) -> PathBuf {
        self.home.path().join("config/hermux/config.toml")
    }

    fn write_config(&self, text: &str) {
        fs::create_dir_all(self.config_file().parent().unwrap()).unwrap();
        fs::write(self.config_file(), text).unwrap();
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn told(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}
