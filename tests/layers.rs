//! The arrows between the modules: who may name whom. The table here is the truth.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module and the modules it may name; `None` means all of them. An import runs only downwards.
const ARROWS: &[(&str, Option<&[&str]>)] = &[
    ("secret", Some(&[])),
    ("clock", Some(&[])),
    ("textfile", Some(&[])),
    ("http1", Some(&[])),
    ("access", Some(FILES)),
    ("keys", Some(FILES)),
    ("ledger", Some(GROUND)),
    ("openrouter", Some(GROUND)),
    ("upstream", Some(&["http1", "secret", "clock"])),
    ("proxy", Some(&["access", "keys", "openrouter", "upstream", "ledger", "http1", "secret", "clock"])),
    ("server", Some(&["http1", "clock"])),
    ("simulator", Some(&["openrouter", "clock", "server"])),
    ("control", Some(&["keys", "ledger", "clock"])),
    ("metrics", Some(&["keys", "ledger", "clock"])),
    ("config", Some(&["secret"])),
    ("logging", Some(&["config"])),
    ("watch", Some(&["secret"])),
    ("cli", Some(&[])),
    ("commands", None),
    ("main", Some(&["cli", "commands"])),
    ("lib", Some(&[])),
];

/// What the leaves stand on; they never name each other.
const GROUND: &[&str] = &["secret", "clock"];

/// The same for those that keep a file of the operator's.
const FILES: &[&str] = &["secret", "clock", "textfile"];

/// The source files below `folder`, each with the module it belongs to.
fn sources(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(folder).expect("it lies in the folder").with_extension("");
                let module = inside.iter().next().expect("it has a name").to_string_lossy().into_owned();
                found.push((module, path));
            }
        }
    }
    found
}

/// The source without comments, strings and characters: what is left names modules only where code does.
fn code_of(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[length..];
    }
    code
}

/// The length of the string literal at the beginning of `source`.
fn string(source: &str) -> usize {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    source.len()
}

/// The length of the raw string literal at the beginning of `source`, where one stands there.
fn raw_string(source: &str) -> Option<usize> {
    let quoted = source.strip_prefix('r')?;
    let hashes = quoted.len() - quoted.trim_start_matches('#').len();
    let inside = quoted[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close)?;
    Some(1 + hashes + 1 + end + close.len())
}

/// The modules that `code` names: what follows `crate::` (for the binary, `hermux::`), braces opened.
fn named(code: &str, root: &str) -> BTreeSet<String> {
    let prefix = format!("{root}::");
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(&prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let after = code[at + prefix.len()..].trim_start();
        match after.strip_prefix('{') {
            Some(group) => names.extend(first_names(group)),
            None => names.extend(identifier(after)),
        }
    }
    names
}

/// The first name of each path in a group such as `{a::b, c::{d, e}}`, behind its opening brace.
fn first_names(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut at_start) = (Vec::new(), 0_usize, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                names.extend(identifier(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// A sentence for each arrow of `source` that the table does not have.
fn broken(module: &str, source: &str, file: &str) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{file}: the module `{module}` is new: say in tests/layers.rs whom it may name"
        )];
    };
    let Some(allowed) = allowed else { return Vec::new() };
    let root = if module == "main" { "hermux" } else { "crate" };
    let is_module = |name: &String| ARROWS.iter().any(|(known, _)| known == name);
    let code = code_of(source);
    let names = named(&code, root).into_iter().chain(named(&code, "super"));
    names
        // Macros and items of the crate's root are nobody's.
        .filter(|name| is_module(name) && name != module && !allowed.contains(&name.as_str()))
        .map(|name| {
            let whom =
                if allowed.is_empty() { "nobody".to_owned() } else { format!("only {}", allowed.join(", ")) };
            format!("{file}: `{module}` names `{name}`, but it may name {whom}")
        })
        .collect()
}

#[test]
fn imports_run_only_downwards() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = sources(&folder);
    assert!(sources.len() > 10, "the sources were found: {}", sources.len());
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|(module, path)| {
            let source = fs::read_to_string(path).expect("a source is text");
            let file = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display().to_string();
            broken(module, &source, &file)
        })
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn modules_stand_in_the_order_in_which_they_may_name_each_other() {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("it is text");
    let order: Vec<&str> =
        source.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(order.contains(&"proxy"), "{order:?}");
    for (at, module) in order.iter().enumerate() {
        let allowed = ARROWS.iter().find(|(name, _)| name == module).and_then(|(_, allowed)| *allowed);
        for name in allowed.unwrap_or_default() {
            let stands = order.iter().position(|other| other == name);
            assert!(
                stands.is_none_or(|stands| stands < at),
                "src/lib.rs: `{name}` belongs before `{module}`"
            );
        }
    }
}

#[test]
fn a_broken_arrow_is_found_however_it_is_written() {
    for (module, source) in [
        ("keys", "use crate::ledger::Ledger;"),
        ("keys", "pub(crate) use crate::ledger;"),
        ("keys", "use crate::{clock::Time, ledger::{Ledger, Usage}};"),
        ("keys", "use crate::{\n    clock::Time,\n    ledger,\n};"),
        ("keys", "fn f() { crate::ledger::open(); }"),
        ("keys", "fn f(x: &crate::ledger::Entry) {}"),
        ("keys", "fn f() { let s = \"{\"; crate::ledger::open(); }"),
        ("keys", "fn f() { let s = '\"'; crate::ledger::open(); }"),
        ("keys", "fn f() { let s = r#\"a \" b\"#; crate::ledger::open(); }"),
        ("keys", "use super::super::ledger::Ledger;"),
        ("keys", "use super::ledger;"),
        ("openrouter", "#[cfg(test)] mod tests { use crate::proxy::Proxy; }"),
        ("secret", "use crate::clock::Time;"),
        ("server", "use crate::secret::Secret;"),
        ("cli", "use crate::config::Config;"),
        ("proxy", "use crate::config::Config;"),
        ("simulator", "use crate::keys::Key;"),
        ("main", "use hermux::proxy::Proxy;"),
    ] {
        let found = broken(module, source, "src/made-up.rs");
        assert_eq!(found.len(), 1, "{module}: {source}: {found:?}");
        assert!(found[0].contains(&format!("`{module}` names `")), "{found:?}");
    }
    let new = broken("helpers", "", "src/helpers.rs");
    assert!(new[0].contains("`helpers` is new"), "{new:?}");
}

#[test]
fn what_is_allowed_or_only_talked_about_is_no_broken_arrow() {
    for (module, source) in [
        ("keys", "use crate::clock::Time;\nuse crate::secret::Secret;\nuse crate::keys::pool::KeyPool;"),
        ("keys", "// the ledger (crate::ledger) is not for us"),
        ("keys", "/// See [`crate::ledger::Ledger`].\nfn f() {}"),
        ("keys", "/* crate::ledger::Ledger */"),
        ("keys", "const S: &str = \"crate::ledger::Ledger\";"),
        ("keys", "const S: &str = r\"crate::ledger::Ledger\";"),
        ("keys", "use mycrate::ledger::Ledger;"),
        ("keys", "crate::some_macro!();"),
        ("proxy", "use crate::{access::Access, keys::{Key, pool::KeyPool}, ledger::Ledger};"),
        ("commands", "use crate::proxy::Proxy;\nuse crate::server::serve;"),
        ("main", "use hermux::cli;\nuse hermux::commands;"),
    ] {
        assert_eq!(broken(module, source, "src/made-up.rs"), Vec::<String>::new(), "{source}");
    }
}
