//! The config.toml that explains itself: every key with its default, all of them commented out.

use std::fmt::Write as _;

use crate::cli;
use crate::config::{SETTINGS, Setting};

const HEAD: &str = "\
# Configuration of hermux. `man 5 hermux` has it all, `hermux config show` what is in force.
#
# A line such as `#port = 3333` says the default: remove the `#` to change it.
# A flag wins over the variable, the variable over this file, this file over the default.
# Paths are relative to this file.
";

/// The text of the file; what is in `set` is not commented out but has this value.
pub(super) fn config_toml(set: &[(&str, String)]) -> String {
    let mut text = HEAD.to_owned();
    let mut heading = String::new();
    for explained in explained() {
        if explained.heading != heading {
            heading.clone_from(&explained.heading);
            let _ = write!(text, "\n# == {heading} ==\n");
        }
        text.push('\n');
        for line in folded(&explained.text, 97) {
            let _ = writeln!(text, "# {line}");
        }
        let setting = explained.setting;
        let _ = match set.iter().find(|(name, _)| *name == setting.name) {
            Some((name, value)) => writeln!(text, "{name} = {}", quoted(value)),
            None => writeln!(text, "#{} = {}", setting.name, default(&explained)),
        };
    }
    text
}

/// A setting and what its help says.
struct Explained {
    setting: &'static Setting,
    heading: String,
    /// Without its default where that is always the same.
    text: String,
    /// What its value is called: `FILE`.
    value: String,
}

/// Every setting in the order of the help, its headings together.
fn explained() -> Vec<Explained> {
    let command = cli::command();
    let serve = command.find_subcommand("serve");
    let mut all: Vec<Explained> = SETTINGS
        .iter()
        .map(|setting| {
            let flags = serve.into_iter().chain([&command]);
            let flag =
                flags.flat_map(clap::Command::get_arguments).find(|flag| flag.get_id() == setting.name);
            let heading = flag.and_then(clap::Arg::get_help_heading).unwrap_or("Serving").to_owned();
            let value = flag.and_then(|flag| Some(flag.get_value_names()?.first()?.to_string()));
            let text = match flag {
                Some(flag) => match cli::explained(flag) {
                    (text, Some(default)) if setting.default.is_empty() => {
                        format!("{text}. Default: {default}")
                    }
                    (text, _) => text,
                },
                None => setting.about.to_owned(),
            };
            Explained { setting, heading, text, value: value.unwrap_or_default() }
        })
        .collect();
    let mut headings: Vec<String> = Vec::new();
    for explained in &all {
        if !headings.contains(&explained.heading) {
            headings.push(explained.heading.clone());
        }
    }
    all.sort_by_key(|explained| headings.iter().position(|heading| *heading == explained.heading));
    all
}

/// The default as TOML, or what has to stand there where there is none that is always the same.
fn default(explained: &Explained) -> String {
    match explained.setting.default {
        "" => quoted(&explained.value),
        // A leading zero, as of a file mode, is no number to TOML.
        default if default.parse::<i64>().is_ok_and(|number| number.to_string() == default) => {
            default.to_owned()
        }
        default if default.parse::<bool>().is_ok() => default.to_owned(),
        default => quoted(default),
    }
}

/// A text as TOML writes it, which is as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `text` in lines of at most `width` letters.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::config_toml;
    use crate::config::{Config, SETTINGS, Surroundings};

    fn resolved(toml: &str) -> Config {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), toml).unwrap();
        let around = Surroundings { config_dir: Some(home.path().to_owned()), ..Surroundings::default() };
        Config::resolve(&[], &around).unwrap()
    }

    #[test]
    fn every_key_stands_there_once_and_as_it_is_nothing_is_set() {
        let text = config_toml(&[]);
        for setting in SETTINGS {
            let key = format!("#{} = ", setting.name);
            assert_eq!(text.lines().filter(|line| line.starts_with(&key)).count(), 1, "{key}");
        }
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        resolved(&text);
    }

    #[test]
    fn what_is_set_is_not_commented_out() {
        let text = config_toml(&[("tokens", "/a \"b\"/t.csv".to_owned())]);
        assert_eq!(resolved(&text).tokens.to_str(), Some("/a \"b\"/t.csv"));
        assert!(text.contains("\n#allow = "));
    }

    #[test]
    fn what_stands_there_are_the_defaults() {
        let placeholders = SETTINGS.iter().filter(|setting| setting.default.is_empty());
        let placeholders: Vec<_> = placeholders.map(|setting| format!("#{} = ", setting.name)).collect();
        let mut set = String::new();
        for line in config_toml(&[]).lines() {
            let key =
                line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            if let Some(key) = key
                && !placeholders.iter().any(|placeholder| line.starts_with(placeholder))
            {
                set.extend([key, "\n"]);
            }
        }
        assert!(set.lines().count() > 15, "{set}");
        assert_eq!(format!("{:?}", resolved(&set)), format!("{:?}", resolved("")));
    }
}
