//! The manual: one page a command, of what its help says, and `hermux(5)` for the files.

use std::collections::BTreeMap;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use hermux::cli::{ATTRIBUTES, COLUMNS, explained};
use hermux::config::SETTINGS;

/// The day of the last change of substance; the day of the build would make each build's pages differ.
const DATE: &str = "2026-11-22";
const SOURCE: &str = concat!("hermux ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "hermux manual";

/// Sections that a help text can have, by the line that it begins them with, in the order of a manual page.
const SECTIONS: &[(&str, &str)] = &[
    ("Exit codes:", "EXIT STATUS"),
    ("Log level:", "LOG LEVEL"),
    ("Colors:", "COLORS"),
    ("Files:", "FILES"),
    ("Examples:", "EXAMPLES"),
];

/// Every page by file name.
pub(crate) fn all() -> BTreeMap<String, Vec<u8>> {
    let mut command = hermux::cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = BTreeMap::new();
    let root = sections(&after_help(&command));
    let exit =
        root.iter().find(|(name, _)| *name == "EXIT STATUS").expect("the main help has exit codes").1.clone();
    page(&command, "hermux", None, &exit, &mut pages);
    pages.insert("hermux.5".to_owned(), files());
    pages
}

/// One page for `command`, called `name`, and for each of its subcommands.
fn page(
    command: &Command,
    name: &str,
    above: Option<&str>,
    exit: &str,
    pages: &mut BTreeMap<String, Vec<u8>>,
) {
    for sub in command.get_subcommands() {
        page(sub, &format!("{name}-{}", sub.get_name()), Some(name), exit, pages);
    }
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    let done = (|| {
        title(name, "1").to_writer(&mut text)?;
        man.render_name_section(&mut text)?;
        let mut synopsis = Roff::new();
        synopsis.control("SH", ["SYNOPSIS"]);
        // All the flags in one line would be no help; they follow below.
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ");
        let spoken = name.replace('-', " ");
        synopsis.text([bold(spoken.as_str()), roman(usage.strip_prefix(&spoken).unwrap_or(&usage))]);
        synopsis.to_writer(&mut text)?;
        man.render_description_section(&mut text)?;
        let mut parts = sections(&after_help(command));
        let mut more = Roff::new();
        if parts.first().is_some_and(|(section, _)| section.is_empty()) {
            more.control("PP", []);
            literal(&mut more, &parts.remove(0).1);
        }
        more.to_writer(&mut text)?;
        man.render_options_section(&mut text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        if !parts.iter().any(|(section, _)| *section == "EXIT STATUS") {
            parts.push(("EXIT STATUS", exit.to_owned()));
        }
        let mut rest = Roff::new();
        for (_, section) in SECTIONS {
            for (_, body) in parts.iter().filter(|(other, _)| other == section) {
                rest.control("SH", [*section]);
                literal(&mut rest, body);
            }
        }
        rest.control("SH", ["SEE ALSO"]);
        let subs = command.get_subcommands().map(|sub| format!("{name}-{}", sub.get_name()));
        see(&mut rest, above.map(str::to_owned).into_iter().chain(subs).collect(), &["hermux(5)"]);
        rest.to_writer(&mut text)
    })();
    done.expect("a write to memory does not fail");
    pages.insert(format!("{name}.1"), tidy(&text));
}

fn title(name: &str, section: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", [name.to_uppercase().as_str(), section, DATE, SOURCE, MANUAL]);
    roff
}

fn after_help(command: &Command) -> String {
    let help = command.get_after_long_help().or_else(|| command.get_after_help());
    help.map(ToString::to_string).unwrap_or_default()
}

/// The parts of a help text by section; what comes before the first has no name.
fn sections(help: &str) -> Vec<(&'static str, String)> {
    let mut parts: Vec<(&str, String)> = Vec::new();
    for line in help.lines() {
        let begun = SECTIONS.iter().find(|(first, _)| line.starts_with(first));
        match begun {
            Some((first, section)) => parts.push((section, line[first.len()..].trim().to_owned())),
            None if parts.is_empty() => parts.push(("", line.to_owned())),
            None => {
                let (_, body) = parts.last_mut().expect("there is one");
                body.extend(["\n", line]);
            }
        }
    }
    for (_, body) in &mut parts {
        *body = body.trim_matches('\n').to_owned();
    }
    parts.retain(|(_, body)| !body.is_empty());
    parts
}

/// Lines as they are, since they were laid out by hand; text that is not indented is filled.
fn literal(roff: &mut Roff, body: &str) {
    for (number, block) in body.split("\n\n").enumerate() {
        let indented = block.lines().all(|line| line.starts_with("  "));
        if number > 0 {
            roff.control("PP", []);
        }
        if indented {
            roff.control("nf", []);
        }
        for line in block.lines() {
            roff.text([roman(if indented { &line[2..] } else { line })]);
        }
        if indented {
            roff.control("fi", []);
        }
    }
}

fn see(roff: &mut Roff, pages: Vec<String>, others: &[&str]) {
    let pages = pages.into_iter().map(|page| format!("{page}(1)"));
    let all: Vec<String> = pages.chain(others.iter().map(|other| (*other).to_owned())).collect();
    for (number, page) in all.iter().enumerate() {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        let comma = if number + 1 < all.len() { "," } else { "" };
        roff.text([bold(name), roman(format!("({section}{comma}"))]);
    }
}

/// Without blanks at the end of lines, which lint counts as faults, and without clap's repeated preambles.
fn tidy(text: &[u8]) -> Vec<u8> {
    const PREAMBLE: [&str; 2] = [r".ie \n(.g .ds Aq \(aq", r".el .ds Aq '"];
    let text = str::from_utf8(text).expect("a page is text");
    let body = text.lines().filter(|line| !PREAMBLE.contains(line)).map(str::trim_end);
    let mut lines: Vec<&str> = PREAMBLE.into_iter().chain(body).collect();
    // A paragraph at the beginning of a section is none.
    lines.dedup_by(|line, before| *line == ".PP" && (before.starts_with(".SH") || *before == ".PP"));
    // clap_mangen breaks a line in three ways at once.
    (lines.join("\n") + "\n").replace("\n.br\n\n.br\n", "\n.sp\n").into_bytes()
}

/// `hermux(5)`: config.toml by the table of settings and what the flags say of them, tokens.csv and allow.txt by their tables.
fn files() -> Vec<u8> {
    let mut roff = title("hermux", "5");
    roff.control("SH", ["NAME"]);
    roff.text([roman("hermux - config.toml, tokens.csv and allow.txt, the files of hermux")]);
    roff.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut roff,
        &[
            "Three text files in UTF-8. Two hold secrets and should be readable by their owner alone (mode 0600), as the \
             commands that write them make them; config.toml holds none.",
            "A running server reads tokens.csv and allow.txt again within a second of a change, and goes on with the last \
             good version where the new one is not good. config.toml is read at the start.",
            "What is wrong is told with file, line and cure; \"hermux config check\" tells it without starting anything.",
        ],
    );
    config_toml(&mut roff);
    tokens_csv(&mut roff);
    allow_txt(&mut roff);
    roff.control("SH", ["FILES"]);
    for (path, meaning) in [
        ("~/.config/hermux/", "The user's configuration directory on Linux; $XDG_CONFIG_HOME moves it."),
        (
            "~/.local/share/hermux/",
            "The user's data directory on Linux, with the ledger; $XDG_DATA_HOME moves it.",
        ),
        ("/etc/hermux/", "The configuration of the service that packages install."),
    ] {
        roff.control("TP", []);
        roff.text([italic(path)]);
        roff.text([roman(meaning)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let pages = ["hermux", "hermux-config", "hermux-keys", "hermux-allow", "hermux-serve"].map(str::to_owned);
    see(&mut roff, pages.into(), &[]);
    tidy(roff.to_roff().as_bytes())
}

fn config_toml(roff: &mut Roff) {
    roff.control("SH", ["CONFIG.TOML"]);
    paragraphs(
        roff,
        &[
            "Looked for in the user's configuration directory; --config or HERMUX_CONFIG names another. It need not be \
             there. A flag wins over the variable, the variable over the file, the file over the default; an unknown key, \
             or a value that can't be right, is an error, also where a stronger layer hides it. Paths are relative to the \
             file.",
            "\"hermux config init\" writes one in which every key is explained, \"hermux config show\" tells what is in \
             force and where it stands.",
            "Durations are 30 (seconds), 30s, 5m, 1h30m or 7d; sizes 65536, 64KiB or 32MiB.",
        ],
    );
    example(roff, "address = \"127.0.0.1\"\nport = 3333\ntokens = \"tokens.csv\"\ngrace = \"2m\"");
    roff.control("PP", []);
    roff.text([roman("The keys, each with the flag and the variable of the same meaning:")]);
    let command = hermux::cli::command();
    let serve = command.find_subcommand("serve").expect("there is one");
    let flags: Vec<&Arg> = command.get_arguments().chain(serve.get_arguments()).collect();
    for setting in SETTINGS {
        let flag = flags.iter().find(|flag| flag.get_id() == setting.name);
        roff.control("TP", []);
        let (about, default) = match flag {
            Some(flag) => {
                let (about, default) = explained(flag);
                (format!("{about}. {}, {}", setting.flag(), setting.variable()), default)
            }
            None => (format!("{}.", setting.about), Some(setting.default.to_owned())),
        };
        let default =
            default.or_else(|| Some(setting.default.to_owned()).filter(|default| !default.is_empty()));
        let default = default.map_or(String::new(), |default| format!(" (default: {default})"));
        roff.text([bold(setting.name), roman(default)]);
        roff.text([roman(about)]);
    }
}

fn tokens_csv(roff: &mut Roff) {
    roff.control("SH", ["TOKENS.CSV"]);
    paragraphs(
        roff,
        &[
            "The OpenRouter keys: CSV with a header, commas between the columns, the columns in any order. Looked for in \
             the working directory, then in the user's configuration directory; --tokens names another. The column name \
             holds what the key is called, 1 to 128 printable ASCII characters, which callers see in X-TOKEN-NAME; the \
             column token holds the key. Columns that are not known here are kept and passed over.",
        ],
    );
    example(
        roff,
        "name,token,daily_cost,models\nann,sk-or-v1-...,,\nteam-red,sk-or-v1-...,2.50,openai/*;*:free",
    );
    roff.control("PP", []);
    roff.text([roman("These columns need not be there, and an empty field is as good as none:")]);
    entries(roff, COLUMNS);
}

fn allow_txt(roff: &mut Roff) {
    roff.control("SH", ["ALLOW.TXT"]);
    paragraphs(
        roff,
        &[
            "The access tokens, one a line. Looked for in the working directory, then in the user's configuration \
             directory; --allow names another. Empty lines and those that begin with # are passed over.",
            "A line is an access token, or \"sha256:\" and the 64 hex digits of its SHA-256, then attributes, then a comment \
             behind a blank and a #. Without attributes the comment is the caller's name.",
        ],
    );
    example(
        roff,
        "hmx_... # ann\nsha256:... name=ci expires=2027-01-31 models=openai/*,*:free rpm=60  # the build server",
    );
    roff.control("PP", []);
    roff.text([roman("The attributes; a value with blanks stands in double quotes:")]);
    entries(roff, ATTRIBUTES);
}

fn entries(roff: &mut Roff, entries: &[(&str, &str)]) {
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
}

fn paragraphs(roff: &mut Roff, texts: &[&str]) {
    for text in texts {
        roff.control("PP", []);
        roff.text([roman(*text)]);
    }
}

fn example(roff: &mut Roff, lines: &str) {
    roff.control("PP", []);
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}
