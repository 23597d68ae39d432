//! The code blocks of `README.md`: each is run before a look-alike of `OpenRouter`, or stands here with the reason why not.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stderr};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hermux::simulator::{Scenario, Simulator};
use support::hermux::{secret, write_private};
use support::{Hermux, Request, Setup, TOKEN};

/// How a block is shown to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// bash runs it while `hermux serve` runs; programs that are not here have a stand-in in `tests/readme/stand-ins`.
    Shell,
    /// bash runs it where nothing runs yet, and it starts the server.
    Start,
    /// Python runs it where `HERMUX_TEST_PYTHON` names one that has this module.
    Python(&'static str),
    /// It is the `tokens.csv` or the `allow.txt` of a server that starts, with secrets in place of each `…`.
    Keys,
    Callers,
    /// It is Codex's configuration: what it names is asked as it says.
    Codex,
    /// `llm` reads it, where it is installed beside `HERMUX_TEST_PYTHON`.
    Llm,
    /// It is not run, and why.
    Not(&'static str),
}

/// Every block, by something that stands in it alone.
const BLOCKS: &[(&str, Proof)] = &[
    ("sh.rustup.rs", Proof::Not("it installs a compiler for the whole machine")),
    (
        "cargo run --release -- demo",
        Proof::Not("it builds a release and runs until Ctrl-C; tests/demo.rs plays it"),
    ),
    ("cargo test", Proof::Not("it would run itself")),
    ("hermux keys add team-red  ", Proof::Start),
    ("hermux stats  ", Proof::Shell),
    ("sudo systemctl enable", Proof::Not("it needs an init; packaging/try boots one and does the same")),
    ("from openai import", Proof::Python("openai")),
    ("from anthropic import", Proof::Python("anthropic")),
    ("from langchain_openai import", Proof::Python("langchain_openai")),
    ("import litellm", Proof::Python("litellm")),
    ("ANTHROPIC_AUTH_TOKEN=", Proof::Shell),
    ("[model_providers.hermux]", Proof::Codex),
    ("aider --model", Proof::Shell),
    ("api_key_name: hermux", Proof::Llm),
    ("docker run", Proof::Not("it fetches an image of more than a gigabyte")),
    ("X-HERMUX-Max-Wait", Proof::Shell),
    ("team-red,sk-or-v1-…", Proof::Keys),
    ("sha256:… name=laptop", Proof::Callers),
];

/// A fenced block.
#[derive(Debug)]
struct Block {
    language: String,
    line: usize,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md is in the repository")
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in readme.lines().enumerate() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                inside = true;
                blocks.push(Block { language: language.to_owned(), line: number + 1, text: String::new() });
            }
            (Some(_), true) => inside = false,
            (None, true) => writeln!(blocks.last_mut().unwrap().text, "{line}").unwrap(),
            (None, false) => {}
        }
    }
    assert!(!inside, "a block of README.md is never closed");
    blocks
}

/// The blocks that are proved in one of these ways.
fn to_prove(wanted: impl Fn(Proof) -> bool) -> Vec<(Block, Proof)> {
    let chosen = blocks(&readme()).into_iter().filter_map(|block| {
        let (_, proof) = BLOCKS.iter().find(|(mark, _)| block.text.contains(mark))?;
        wanted(*proof).then_some((block, *proof))
    });
    let chosen: Vec<_> = chosen.collect();
    assert!(!chosen.is_empty(), "there is no such block any more");
    chosen
}

#[test]
fn every_block_is_run_or_listed_with_a_reason() {
    let blocks = blocks(&readme());
    for block in &blocks {
        let proofs = BLOCKS.iter().filter(|(mark, _)| block.text.contains(mark)).count();
        let (line, text) = (block.line, &block.text);
        assert_eq!(
            proofs, 1,
            "README.md:{line}: BLOCKS in tests/readme/main.rs must name this block once:\n{text}"
        );
    }
    for (mark, proof) in BLOCKS {
        let named = blocks.iter().filter(|block| block.text.contains(mark));
        assert_eq!(named.count(), 1, "no block of README.md, or several, have `{mark}` ({proof:?})");
    }
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let readme = readme();
    let anchors: Vec<String> = readme
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect();
    for target in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if target.starts_with("https://") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        assert!(root().join(file).exists(), "README.md links to what is not there: {target}");
        assert!(!file.is_empty() || anchors.iter().any(|known| known == anchor), "no such heading: {target}");
    }
}

/// The text of each source file, with strings that go over several lines put together.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else {
            let source = fs::read_to_string(&path).unwrap();
            let mut lines = source.lines().peekable();
            while let Some(line) = lines.next() {
                match line.strip_suffix('\\') {
                    Some(begin) => {
                        text += begin;
                        if let Some(next) = lines.peek_mut() {
                            *next = next.trim_start();
                        }
                    }
                    None => writeln!(text, "{line}").unwrap(),
                }
            }
        }
    }
    text
}

#[test]
fn the_messages_of_the_troubleshooting_are_those_of_the_program() {
    let sources = sources(&root().join("src"));
    let readme = readme();
    let section = readme.split("\n## Troubleshooting\n").nth(1).expect("there is such a section");
    let section = section.split("\n## ").next().unwrap();
    // What stands there for any name, number or reason parts what is always the same.
    let mut plain = section.to_owned();
    for example in ["tokens.csv", "allow.txt", "…"] {
        plain = plain.replace(example, ":");
    }
    let mut found = 0;
    for row in plain.lines().filter(|line| line.starts_with("| ") || line.starts_with("- ")) {
        // The message stands before what to do; in the list, before the colon.
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let told = match cells.as_slice() {
            [row] => row.split("`: ").next().unwrap(),
            [.., told, _] => told,
            [] => continue,
        };
        for message in told.split('`').skip(1).step_by(2) {
            for piece in message.split(|c: char| c == ':' || c.is_ascii_digit()).map(str::trim) {
                if piece.len() > 12 {
                    found += 1;
                    assert!(sources.contains(piece), "no such message in src/: {piece}");
                }
            }
        }
    }
    assert!(found > 25, "only {found} pieces of messages were found in the tables");
}

/// A look-alike of `OpenRouter` and a server before it that has its keys.
fn started() -> (Simulator, Hermux) {
    let scenario = Scenario::with_keys(&["ann", "ben"]);
    let mut csv = "name,token\n".to_owned();
    for key in scenario.keys() {
        writeln!(csv, "{},{}", key.name, key.secret).unwrap();
    }
    let simulator = Simulator::start(scenario).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &csv);
    (simulator, setup.start())
}

/// The block as it would be pasted, with the server's address.
fn pasted(block: &Block, address: impl std::fmt::Display) -> String {
    block.text.replace("127.0.0.1:3333", &address.to_string())
}

/// `PATH` with the binary first, then the stand-ins.
fn path() -> OsString {
    let binary = Path::new(env!("CARGO_BIN_EXE_hermux")).parent().unwrap().to_owned();
    let system = env::var_os("PATH").unwrap_or_default();
    let stand_ins = root().join("tests/readme/stand-ins");
    env::join_paths([binary, stand_ins].into_iter().chain(env::split_paths(&system))).unwrap()
}

/// Runs `command` with `input`; what it printed, when it succeeds.
fn run(command: &mut Command, input: &str, what: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = support::show(&output.stdout);
    let said = format!("{printed}{}", support::show(&output.stderr)).replace(TOKEN, "(the access token)");
    assert!(output.status.success(), "{what} failed ({}):\n{said}", output.status);
    printed
}

/// bash in `directory`, in a clean environment.
fn bash(directory: &Path, script: &str, variables: &[(&str, &str)], what: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(directory).env_clear();
    command.env("PATH", path()).env("HOME", directory).envs(variables.iter().copied());
    run(&mut command, "", what)
}

#[test]
fn the_shell_blocks_run() {
    let (simulator, hermux) = started();
    let blocks = to_prove(|proof| proof == Proof::Shell);
    for (block, _) in &blocks {
        let what = format!("README.md:{}", block.line);
        let data = hermux.setup().data();
        let variables = [("ACCESS_TOKEN", TOKEN), ("HERMUX_DATA_DIR", data.to_str().unwrap())];
        let before = simulator.attempts().len();
        let printed = bash(hermux.setup().directory(), &pasted(block, hermux.address()), &variables, &what);
        assert_eq!(block.language, "sh", "{what}");
        assert_eq!(
            simulator.attempts().len(),
            before + 1,
            "{what} asked something else than once:\n{printed}"
        );
        let answered = printed.contains("data: ") || printed.to_lowercase().contains("x-token-name: ");
        assert!(answered, "{what} printed no answer:\n{printed}");
    }
}

/// A port that was free a moment ago; a block that starts a server has to know it before.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_block_that_starts_the_server_starts_it() {
    // The first command asks for a key at a terminal, which is not here: the wrapper gives it on standard input.
    const WRAPPER: &str = r#"
        hermux() { unset -f hermux; printf '%s\n' "$OPENROUTER_KEY" | hermux "$@" --stdin; }"#;
    let scenario = Scenario::with_keys(&["ann"]);
    let key = scenario.keys().next().unwrap().secret.clone();
    let simulator = Simulator::start(scenario).unwrap();
    for (block, _) in to_prove(|proof| proof == Proof::Start) {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port().to_string();
        let script = format!(
            r#"{WRAPPER}
            {}
            server=$!
            trap 'kill "$server" 2>/dev/null || true' EXIT
            until curl -fs "http://127.0.0.1:$HERMUX_PORT/ready"; do kill -0 "$server"; sleep 0.05; done
            curl -fsS "http://127.0.0.1:$HERMUX_PORT/api/v1/chat/completions" -D - -H "Authorization: Bearer $ACCESS_TOKEN" \
              -H 'Content-Type: application/json' -d '{{"model":"openai/gpt-4o-mini","messages":[{{"role":"user","content":"hi"}}]}}'
            kill "$server" && wait "$server""#,
            block.text
        );
        let upstream = simulator.url();
        let variables = [
            ("OPENROUTER_KEY", key.as_str()),
            ("HERMUX_UPSTREAM", &upstream),
            ("HERMUX_PORT", &port),
            ("HERMUX_DATA_DIR", "data"),
        ];
        let printed = bash(directory.path(), &script, &variables, &format!("README.md:{}", block.line));
        assert!(printed.to_lowercase().contains("x-token-name: team-red"), "{printed}");
    }
}

/// The interpreter that the caller of the tests names.
fn python() -> Option<PathBuf> {
    env::var_os("HERMUX_TEST_PYTHON").map(PathBuf::from)
}

/// Straight to stderr, so that it is seen also when the test passes.
fn skipped(what: &str, why: &str) {
    writeln!(stderr(), "skipped {what} of README.md: {why}").ok();
}

#[test]
fn the_python_blocks_run() {
    let Some(python) = python() else { return skipped("Python", "HERMUX_TEST_PYTHON is not set") };
    let (simulator, hermux) = started();
    for (block, proof) in to_prove(|proof| matches!(proof, Proof::Python(_))) {
        let Proof::Python(module) = proof else { unreachable!("the others were left out") };
        let mut command = Command::new(&python);
        command.env_clear().env("HOME", hermux.setup().directory()).env("PYTHONDONTWRITEBYTECODE", "1");
        // LiteLLM would fetch its price list otherwise.
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("ACCESS_TOKEN", TOKEN);
        let script =
            format!("import importlib.util, sys; sys.exit(importlib.util.find_spec({module:?}) is None)");
        if !Command::new(&python).args(["-c", &script]).status().expect("it names an interpreter").success() {
            skipped(module, "it is not installed (tests/readme/requirements.txt)");
            continue;
        }
        let before = simulator.attempts().len();
        let printed = run(command.arg("-"), &pasted(&block, hermux.address()), module);
        assert!(!printed.trim().is_empty(), "{module} printed no answer");
        assert_eq!(simulator.attempts().len(), before + 1, "{module} asked something else than once");
    }
}

#[test]
fn llm_reads_its_block() {
    let llm = python().map(|python| python.with_file_name("llm")).filter(|llm| llm.exists());
    let Some(llm) = llm else { return skipped("llm", "it is not installed beside HERMUX_TEST_PYTHON") };
    let (_simulator, hermux) = started();
    let directory = tempfile::tempdir().unwrap();
    for (block, _) in to_prove(|proof| proof == Proof::Llm) {
        fs::write(directory.path().join("extra-openai-models.yaml"), pasted(&block, hermux.address()))
            .unwrap();
        fs::write(directory.path().join("keys.json"), format!(r#"{{"hermux":"{TOKEN}"}}"#)).unwrap();
        let mut command = Command::new(&llm);
        command.args(["-m", "mini", "hello"]).env_clear().env("LLM_USER_PATH", directory.path());
        let printed = run(command.env("HOME", directory.path()), "", "llm");
        assert!(!printed.trim().is_empty(), "llm printed no answer");
    }
}

#[test]
fn codex_finds_the_responses_where_its_block_says() {
    let (_simulator, hermux) = started();
    for (block, _) in to_prove(|proof| proof == Proof::Codex) {
        let config: toml::Table = toml::from_str(&pasted(&block, hermux.address())).expect("it is TOML");
        let provider = &config["model_providers"][config["model_provider"].as_str().unwrap()];
        assert_eq!(provider["wire_api"].as_str(), Some("responses"));
        assert_eq!(provider["env_key"].as_str(), Some("ACCESS_TOKEN"));
        let origin = format!("http://{}", hermux.address());
        let base = provider["base_url"].as_str().unwrap().strip_prefix(&origin).expect("it is hermux's");
        let body = r#"{"model":"openai/gpt-4o-mini","input":"hi"}"#;
        assert_eq!(hermux.ask(&Request::post(&format!("{base}/responses"), body)).status(), 200);
    }
}

#[test]
fn the_sample_files_are_what_the_server_reads() {
    let mut number = 0;
    let mut filled = |text: &str, sample: &str, prefix: &str| {
        text.split(sample).map(str::to_owned).reduce(|before, after| {
            number += 1;
            format!("{before}{prefix}{}{after}", secret(number).trim_start_matches("sk-or-v1-"))
        })
    };
    let setup = Setup::url("http://127.0.0.1:9");
    for (block, proof) in to_prove(|proof| matches!(proof, Proof::Keys | Proof::Callers)) {
        match proof {
            Proof::Keys => {
                write_private(&setup.tokens(), &filled(&block.text, "sk-or-v1-…", "sk-or-v1-").unwrap());
            }
            _ => write_private(&setup.allow(), &filled(&block.text, "sha256:…", "sha256:").unwrap()),
        }
    }
    setup.start().wait_for_line("(2 keys, 3 access tokens");
}
