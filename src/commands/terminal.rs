//! What is known of the terminal: how wide it is, and whether there are to be colors; found out once, at the start.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use dialoguer::console::Term;

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

/// No terminal at all is what tests see.
static NONE: Terminal = Terminal { width: None, color_out: false, color_err: false };

#[derive(Debug)]
struct Terminal {
    width: Option<u16>,
    color_out: bool,
    color_err: bool,
}

/// Looks at the terminal, for as long as the process lives.
pub(super) fn look(choice: ColorChoice) {
    let _ = TERMINAL.set(Terminal {
        width: Term::stdout().size_checked().map(|(_, width)| width).filter(|_| io::stdout().is_terminal()),
        color_out: colored(choice, io::stdout().is_terminal(), variable),
        color_err: colored(choice, io::stderr().is_terminal(), variable),
    });
}

fn seen() -> &'static Terminal {
    TERMINAL.get().unwrap_or(&NONE)
}

/// How many columns standard output has; `None` where it is no terminal.
pub(super) fn width() -> Option<u16> {
    seen().width
}

/// How many columns and lines standard output has now; `None` where it is no terminal, or one that only prints on.
pub(super) fn size() -> Option<(usize, usize)> {
    let (lines, columns) = Term::stdout().size_checked().filter(|_| io::stdout().is_terminal())?;
    let moves = variable("TERM").is_some_and(|term| term != "dumb");
    moves.then_some((columns.into(), lines.into()))
}

/// Whether standard output is to have colors.
pub(super) fn colors_on_stdout() -> bool {
    seen().color_out
}

/// Whether standard error is to have colors.
pub(super) fn colors_on_stderr() -> bool {
    seen().color_err
}

/// `text` on standard output, in green.
pub(super) fn good(text: &str) -> String {
    painted(text, AnsiColor::Green, seen().color_out)
}

/// `text` on standard output, in yellow.
pub(super) fn odd(text: &str) -> String {
    painted(text, AnsiColor::Yellow, seen().color_out)
}

/// `text` on standard output, in red.
pub(super) fn bad(text: &str) -> String {
    painted(text, AnsiColor::Red, seen().color_out)
}

/// `text` on standard error, in red.
pub(super) fn error(text: &str) -> String {
    painted(text, AnsiColor::Red, seen().color_err)
}

fn painted(text: &str, color: AnsiColor, colored: bool) -> String {
    if colored {
        let style = Style::new().bold().fg_color(Some(color.into()));
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// A variable that is set to something: an empty `NO_COLOR` counts as none (no-color.org).
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

/// As clap decides it for its help.
fn colored(choice: ColorChoice, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, value| variable(name).is_some_and(|found: String| found == value);
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if variable("NO_COLOR").is_some() => false,
        ColorChoice::Auto if variable("CLICOLOR_FORCE").is_some_and(|force| force != "0") => true,
        ColorChoice::Auto => is_terminal && !is("CLICOLOR", "0") && !is("TERM", "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use clap::ColorChoice::{Always, Auto, Never};

    use super::colored;

    #[test]
    fn the_flag_wins_over_the_variables_and_they_over_the_terminal() {
        let cases: &[(_, _, &[(&str, &str)], _)] = &[
            (Auto, true, &[], true),
            (Auto, false, &[], false),
            (Auto, true, &[("NO_COLOR", "1")], false),
            (Auto, true, &[("CLICOLOR", "0")], false),
            (Auto, true, &[("TERM", "dumb")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (Always, false, &[("NO_COLOR", "1")], true),
            (Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ];
        for (choice, is_terminal, variables, wanted) in cases {
            let variable = |name: &str| {
                variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(colored(*choice, *is_terminal, variable), *wanted, "{choice} {variables:?}");
        }
    }
}
