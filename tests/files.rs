//! `tokens.csv` and `allow.txt` as they lie on disk: read, added to, kept from others.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says so by its panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use hermux::access::{Access, Digest, Terms, file as allow, generate};
use hermux::keys::KeyName;
use hermux::keys::file as tokens;
use hermux::keys::reference::Commands;
use hermux::secret::Secret;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    #[cfg(unix)]
    set_mode(&path, 0o600);
    path
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn name(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

/// A key of the usual form.
fn key(number: usize) -> Secret {
    Secret::new(format!("sk-or-v1-{number:064x}"))
}

fn load(path: &Path) -> Result<tokens::Loaded, tokens::FileError> {
    tokens::load(path, Commands::Refused)
}

fn pairs(path: &Path) -> Vec<(String, String)> {
    let keys = load(path).unwrap().keys;
    keys.iter().map(|key| (key.name().to_string(), key.expose().to_owned())).collect()
}

/// The only things in the folder are the files named: neither locks nor half-written files stay behind.
fn assert_holds_only(folder: &TempDir, names: &[&str]) {
    let mut found: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

mod tokens_csv {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_fine() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", format!("\u{feff}name,token\nann,{}\n", key(1).expose()));
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.keys.len(), 1);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    #[test]
    fn a_missing_file_and_an_empty_one_say_what_to_do() {
        let folder = folder();
        let path = folder.path().join("tokens.csv");
        let told = load(&path).unwrap_err().to_string();
        assert!(told.starts_with(&format!("no such file: {}\nhint: ", path.display())), "{told}");
        for text in ["", "\n", "\u{feff}", "name,token\n", "name,token"] {
            let path = file(&folder, "tokens.csv", text);
            let told = load(&path).unwrap_err().to_string();
            assert_eq!(
                told,
                format!("no keys in: {}\nhint: add one with `hermux keys add NAME`", path.display())
            );
        }
    }

    #[test]
    fn an_error_tells_file_line_and_cure_and_no_secret() {
        let folder = folder();
        let secret = "sk-or-v1-geheim";
        for (text, line) in [
            (format!("name,token\n,{secret}\n"), 2),
            (format!("name,token\nann,{secret}\n\nann,{secret}2\n"), 4),
            (format!("name,token\nann,{secret}\nbob,{secret}\n"), 3),
            (format!("name,token\nann,{secret},x\n"), 2),
            (format!("name,token\n{secret}\n"), 2),
            (format!("name,token\nann,\"{secret}\n"), 2),
            (format!("name,token\nann,{secret}ü\n"), 2),
            (format!("ann,{secret}\n"), 1),
            (format!("name,token\nann,{secret}\0\n"), 2),
        ] {
            let path = file(&folder, "tokens.csv", &text);
            let told = load(&path).unwrap_err().to_string();
            assert!(told.starts_with(&format!("{}:{line}: ", path.display())), "{told}");
            assert!(told.contains("\nhint: ") && !told.contains("geheim"), "{told}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_told_with_their_line() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", b"name,token\nann,k1\nb\xffb,k2\n");
        let told = load(&path).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{}:3: not UTF-8\nhint: ", path.display())), "{told}");
        let utf16: Vec<u8> = "\u{feff}name,token\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(load(&file(&folder, "tokens.csv", utf16)).unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn a_folder_in_its_place_is_an_error_and_not_a_missing_file() {
        let folder = folder();
        let told = load(folder.path()).unwrap_err().to_string();
        assert!(told.starts_with("can't read "), "{told}");
    }

    #[test]
    fn a_key_of_odd_form_is_a_warning_that_names_the_key_and_not_its_value() {
        let folder = folder();
        let odd = [
            "sk-or-v1-12",
            "geheim",
            "sk-or-v1-zz34567890123456789012345678901234567890123456789012345678901234",
        ];
        for odd in odd {
            let path =
                file(&folder, "tokens.csv", format!("name,token\nann,{}\nbob,{odd}\n", key(1).expose()));
            let loaded = load(&path).unwrap();
            assert_eq!(loaded.keys.len(), 2);
            let wanted = format!("{}:3: the key is not `sk-or-v1-` and 64 hex digits: bob", path.display());
            assert_eq!(loaded.warnings, [wanted]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_a_warning() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", format!("name,token\nann,{}\n", key(1).expose()));
        for (others, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true)]
        {
            set_mode(&path, others);
            let warnings = load(&path).unwrap().warnings;
            assert_eq!(warnings.iter().any(|told| told.contains("others can read")), warned, "{others:o}");
        }
    }

    #[test]
    fn a_hundred_thousand_rows_are_read() {
        let folder = folder();
        let rows: Vec<_> = (0..100_000).map(|n| format!("key {n},{}", key(n).expose())).collect();
        let path = file(&folder, "tokens.csv", format!("name,token\n{}\n", rows.join("\n")));
        let begin = std::time::Instant::now();
        let loaded = load(&path).unwrap();
        println!("100,000 rows in {:?}", begin.elapsed());
        assert_eq!(loaded.keys.len(), 100_000);
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn the_first_key_makes_the_file_for_its_owner_alone() {
        let folder = folder();
        let path = folder.path().join("tokens.csv");
        tokens::add(&path, &name("ann"), &key(1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("name,token\nann,{}\n", key(1).expose()));
        #[cfg(unix)]
        assert_eq!(mode(&path), 0o600);
        assert_holds_only(&folder, &["tokens.csv"]);
    }

    #[test]
    fn an_empty_file_gets_its_header_with_the_first_key() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", "\n");
        tokens::add(&path, &name("ann"), &key(1)).unwrap();
        assert_eq!(pairs(&path), [("ann".into(), key(1).expose().into())]);
    }

    #[test]
    fn what_stands_there_stays_byte_for_byte() {
        let folder = folder();
        let key = key(9);
        let key = key.expose();
        for (old, added) in [
            ("name,token\nann,k1\n", format!("bob,{key}\n")),
            ("name,token\nann,k1", format!("\nbob,{key}\n")),
            ("\u{feff}name,token\r\nann,k1\r\n", format!("bob,{key}\r\n")),
            ("name,token\r\nann,k1", format!("\r\nbob,{key}\r\n")),
            ("token,name\nk1,ann\n", format!("{key},bob\n")),
            (" \"Note\" ,token, weight,NAME\n\"x, \"\"y\n\",k1,,ann\n\n", format!(",{key},,bob\n")),
            ("name,token", format!("\nbob,{key}\n")),
        ] {
            let path = file(&folder, "tokens.csv", old);
            tokens::add(&path, &name("bob"), &Secret::new(format!(" {key}\n"))).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{old}{added}"));
            assert_eq!(pairs(&path).last().unwrap(), &("bob".to_owned(), key.to_owned()));
        }
    }

    #[test]
    fn a_repeated_name_or_key_is_refused_and_changes_nothing() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", format!("name,token\n\nann,{}\n", key(1).expose()));
        let old = fs::read(&path).unwrap();
        let told = tokens::add(&path, &name("ann"), &key(2)).unwrap_err().to_string();
        assert!(told.contains("the name stands on line 3 already: ann\nhint: "), "{told}");
        let told = tokens::add(&path, &name("bob"), &key(1)).unwrap_err().to_string();
        assert!(
            told.contains("the same as that of line 3: ann\nhint: ") && !told.contains("sk-or"),
            "{told}"
        );
        for bad in ["", " ", "sk\nor", "ключ"] {
            assert!(tokens::add(&path, &name("bob"), &Secret::new(bad.into())).is_err(), "{bad:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), old);
        assert_holds_only(&folder, &["tokens.csv"]);
    }

    #[test]
    fn a_broken_file_is_not_added_to() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", "name,token\nann\n");
        let told = tokens::add(&path, &name("bob"), &key(1)).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{}:2: ", path.display())), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "name,token\nann\n");
    }

    #[cfg(unix)]
    #[test]
    fn an_edit_shuts_everybody_else_out() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", format!("name,token\nann,{}\n", key(1).expose()));
        for open in [0o644, 0o604, 0o666] {
            set_mode(&path, open);
            tokens::rename(&path, &name("ann"), &name("ben")).unwrap();
            tokens::rename(&path, &name("ben"), &name("ann")).unwrap();
            assert_eq!(mode(&path), 0o600);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_mode_stays_and_a_link_stays_a_link() {
        let folder = folder();
        let path = file(&folder, "real.csv", format!("name,token\nann,{}\n", key(1).expose()));
        set_mode(&path, 0o640);
        let link = folder.path().join("tokens.csv");
        std::os::unix::fs::symlink("real.csv", &link).unwrap();
        tokens::add(&link, &name("bob"), &key(2)).unwrap();
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(pairs(&path).len(), 2);
    }

    #[test]
    fn many_who_add_at_once_lose_nothing() {
        let folder = folder();
        let path = folder.path().join("tokens.csv");
        thread::scope(|scope| {
            for n in 0..24 {
                let path = &path;
                scope.spawn(move || tokens::add(path, &name(&format!("key {n}")), &key(n)).unwrap());
            }
        });
        let mut found = pairs(&path);
        found.sort();
        let mut wanted: Vec<_> = (0..24).map(|n| (format!("key {n}"), key(n).expose().to_owned())).collect();
        wanted.sort();
        assert_eq!(found, wanted);
        assert_holds_only(&folder, &["tokens.csv"]);
    }

    #[test]
    fn a_reader_never_sees_half_a_file() {
        let folder = folder();
        let path = file(&folder, "tokens.csv", format!("name,token\nfirst,{}\n", key(999).expose()));
        thread::scope(|scope| {
            let adding = scope.spawn(|| {
                for n in 0..50 {
                    tokens::add(&path, &name(&format!("key {n}")), &key(n)).unwrap();
                }
            });
            let mut seen = 1;
            while !adding.is_finished() {
                let now = load(&path).unwrap().keys.len();
                assert!(now >= seen);
                seen = now;
            }
        });
        assert_eq!(load(&path).unwrap().keys.len(), 51);
    }

    /// A field as a spreadsheet or a careful person may write it.
    fn written(field: &str, quoted: bool, blanks: &str) -> String {
        if quoted || field.contains([',', '"', '\n', '\r']) || field.starts_with('#') {
            format!("{blanks}\"{}\"{blanks}", field.replace('"', "\"\""))
        } else {
            format!("{blanks}{field}{blanks}")
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_written_is_read(
            rows in prop::collection::btree_map(
                "[!-~]([ -~]{0,20}[!-~])?",
                ("[!-~]{1,40}", "[ -~\u{e4}\u{4e2d}\n\t]{0,20}", any::<bool>(), "[ \t]{0,2}"), 1..12),
            end in prop::sample::select(vec!["\n", "\r\n"]),
            (bom, last_end, notes_first) in (any::<bool>(), any::<bool>(), any::<bool>()),
        ) {
            // A key is unique by its number; the rest of it is anything.
            let rows: Vec<_> = rows.into_iter().enumerate()
                .map(|(n, (name, (key, note, quoted, blanks)))| (name, format!("{key}{n}-{n}"), note, quoted, blanks))
                .collect();
            let mut lines = vec![if notes_first { "note,name,token" } else { "name,token,note" }.to_owned()];
            for (name, key, note, quoted, blanks) in &rows {
                let [name, key, note] = [name, key, note].map(|field| written(field, *quoted, blanks));
                lines.push(if notes_first { format!("{note},{name},{key}") } else { format!("{name},{key},{note}") });
            }
            let mut text = if bom { "\u{feff}".to_owned() } else { String::new() };
            text.push_str(&lines.join(end));
            if last_end {
                text.push_str(end);
            }

            let folder = folder();
            let path = file(&folder, "tokens.csv", &text);
            let wanted: Vec<_> = rows.iter().map(|(name, key, ..)| (name.clone(), key.clone())).collect();
            prop_assume!(wanted.iter().map(|(_, key)| key).collect::<std::collections::HashSet<_>>().len() == wanted.len());
            prop_assert_eq!(pairs(&path), wanted.clone());

            // And what is added is read too, with everything else as it was.
            prop_assume!(wanted.iter().all(|(name, _)| name != "\"new\", one"));
            tokens::add(&path, &name("\"new\", one"), &Secret::new("a\"key,".into())).unwrap();
            prop_assert!(fs::read_to_string(&path).unwrap().starts_with(&text));
            let mut both = wanted;
            both.push(("\"new\", one".into(), "a\"key,".into()));
            prop_assert_eq!(pairs(&path), both);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[name,tok\" \r\n]{0,80}") {
            let folder = folder();
            let _ = load(&file(&folder, "tokens.csv", bytes));
            let _ = load(&file(&folder, "tokens.csv", format!("name,token\n{text}")));
        }
    }
}

mod allow_txt {
    use super::*;

    /// Whom `token` lets in.
    fn caller(access: &Access, token: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        access.check(&headers).ok().map(|admitted| admitted.caller.name.to_string())
    }

    #[test]
    fn a_line_is_a_token_with_or_without_a_name() {
        let folder = folder();
        let text = "\u{feff}# whole-line comment\r\n\r\nhmx_one_and_more # ci\r\n  hmx_two_and_more\t#  build server  \r\nabcdefghijklmnop\r\n  # x\r\nhmx_three_and_more #\n";
        let loaded = allow::load(&file(&folder, "allow.txt", text)).unwrap();
        assert_eq!(loaded.access.len(), 4);
        assert_eq!(caller(&loaded.access, "hmx_one_and_more").as_deref(), Some("ci"));
        assert_eq!(caller(&loaded.access, "hmx_two_and_more").as_deref(), Some("build server"));
        assert_eq!(caller(&loaded.access, "abcdefghijklmnop").as_deref(), Some("f39dac6c"));
        assert_eq!(caller(&loaded.access, "hmx_three_and_more").unwrap().len(), 8);
        for no_token in ["#", "# whole-line comment", "ci", "x"] {
            assert_eq!(caller(&loaded.access, no_token), None);
        }
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    #[test]
    fn other_text_behind_a_token_is_an_error_with_its_line() {
        let folder = folder();
        let long = format!("hmx_geheim # {}", "n".repeat(129));
        for bad in [
            "hmx_geheim ci",
            "Bearer hmx_geheim",
            "hmx_geheim, # ci x,y z # \u{7}",
            "hmx_geheim#ci",
            "hmx_gehe\u{fc}im",
            &long,
        ] {
            let path = file(&folder, "allow.txt", format!("\nabc\n{bad}\n"));
            let told = allow::load(&path).unwrap_err().to_string();
            assert!(told.starts_with(&format!("{}:3: ", path.display())), "{told}");
            assert!(told.contains("\nhint: ") && !told.contains("geheim"), "{told}");
        }
        for bytes in [b"abc\n\xff\n".as_slice(), b"abc\nx\0y\n"] {
            let told = allow::load(&file(&folder, "allow.txt", bytes)).unwrap_err().to_string();
            assert!(told.contains("allow.txt:2: "), "{told}");
        }
    }

    #[test]
    fn a_repeated_token_is_a_warning_and_its_first_name_counts() {
        let folder = folder();
        let path = file(&folder, "allow.txt", "hmx_geheim_and_more # ci\n\nhmx_geheim_and_more # other\n");
        let loaded = allow::load(&path).unwrap();
        assert_eq!(caller(&loaded.access, "hmx_geheim_and_more").as_deref(), Some("ci"));
        let wanted = format!("{}:3: the access token stands on line 1 already", path.display());
        assert_eq!(loaded.warnings, [wanted]);
    }

    #[test]
    fn a_short_token_is_a_warning_that_does_not_show_it() {
        let folder = folder();
        let path = file(&folder, "allow.txt", "abcdefghijklmnop\ngeheim\n");
        let loaded = allow::load(&path).unwrap();
        assert_eq!(loaded.access.len(), 2);
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].starts_with(&format!("{}:2: ", path.display())), "{:?}", loaded.warnings);
        assert!(!loaded.warnings[0].contains("geheim"), "{:?}", loaded.warnings);
    }

    #[test]
    fn two_tokens_of_one_name_both_count_with_a_warning() {
        let folder = folder();
        let path = file(&folder, "allow.txt", "old_token_of_the_ci # ci\nnew_token_of_the_ci # ci\n");
        let loaded = allow::load(&path).unwrap();
        assert_eq!(loaded.access.len(), 2);
        let wanted = format!("{}:2: line 1 has the same caller, counted as one: ci", path.display());
        assert_eq!(loaded.warnings, [wanted]);
    }

    #[test]
    fn a_missing_file_says_what_to_do_and_an_empty_one_refuses_everyone_with_a_warning() {
        let folder = folder();
        let path = folder.path().join("allow.txt");
        let told = allow::load(&path).unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("no such file: {}\nhint: `hermux allow gen` ", path.display())),
            "{told}"
        );
        for text in ["", "\n\n", "# nobody\n"] {
            let loaded = allow::load(&file(&folder, "allow.txt", text)).unwrap();
            assert!(loaded.access.is_empty());
            assert_eq!(loaded.warnings.len(), 1);
            assert!(loaded.warnings[0].contains("every request is refused"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_a_warning() {
        let folder = folder();
        let path = file(&folder, "allow.txt", "abcdefghijklmnop\n");
        set_mode(&path, 0o604);
        let warnings = allow::load(&path).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("chmod 600"), "{warnings:?}");
    }

    /// A line as `hermux allow gen --plain` adds it.
    fn append(path: &Path, name: Option<&str>, token: &Secret) -> Result<String, allow::FileError> {
        append_with(path, name, token, allow::Form::Plain, &Terms::default())
    }

    fn append_with(
        path: &Path,
        name: Option<&str>,
        token: &Secret,
        form: allow::Form,
        terms: &Terms,
    ) -> Result<String, allow::FileError> {
        allow::append(path, &[allow::New { token, form, name, terms }]).map(|mut callers| callers.remove(0))
    }

    #[test]
    fn new_tokens_are_long_and_differ() {
        let tokens: std::collections::HashSet<_> = (0..50).map(|_| generate().expose().to_owned()).collect();
        assert_eq!(tokens.len(), 50);
        for token in tokens {
            let random = token.strip_prefix("hmx_").unwrap();
            assert!(random.len() == 49 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn an_appended_token_lets_its_caller_in_and_all_else_stays() {
        let folder = folder();
        for form in [allow::Form::Plain, allow::Form::Hashed] {
            for old in ["", "# ours\nabc # x\n", "abc # x", "\u{feff}abc\r\n", "abc\r\n\r\nx"] {
                let path = file(&folder, "allow.txt", old);
                let token = generate();
                assert_eq!(append_with(&path, Some(" ci "), &token, form, &Terms::default()).unwrap(), "ci");
                let new = fs::read_to_string(&path).unwrap();
                assert!(new.starts_with(old));
                assert_eq!(new.contains(token.expose()), form == allow::Form::Plain);
                let loaded = allow::load(&path).unwrap();
                assert_eq!(caller(&loaded.access, token.expose()).as_deref(), Some("ci"));
                assert_eq!(caller(&loaded.access, "abc").is_some(), old.contains("abc"));
            }
        }
    }

    #[test]
    fn the_first_token_makes_the_file_for_its_owner_alone() {
        let folder = folder();
        let path = folder.path().join("allow.txt");
        let token = Secret::new("abc".into());
        assert_eq!(append(&path, None, &token).unwrap(), "ba7816bf");
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc\n");
        #[cfg(unix)]
        assert_eq!(mode(&path), 0o600);
        assert_holds_only(&folder, &["allow.txt"]);
    }

    #[test]
    fn a_name_that_is_taken_or_unfit_is_refused_and_changes_nothing() {
        let folder = folder();
        let path = file(&folder, "allow.txt", "abc\nold # ci\n");
        let told = append(&path, Some("ci"), &generate()).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{}:2: the name is taken: ci\nhint: ", path.display())), "{told}");
        for bad in ["", " ", "a\nb", "a\u{202e}b", &"ü".repeat(129)] {
            assert!(append(&path, Some(bad), &generate()).is_err(), "{bad:?}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc\nold # ci\n");
    }

    #[test]
    fn many_who_append_at_once_lose_nothing() {
        let folder = folder();
        let path = folder.path().join("allow.txt");
        thread::scope(|scope| {
            for n in 0..24 {
                let path = &path;
                scope.spawn(move || append(path, Some(&format!("caller {n}")), &generate()).unwrap());
            }
        });
        let loaded = allow::load(&path).unwrap();
        assert_eq!((loaded.access.len(), loaded.warnings.len()), (24, 0));
    }

    /// What stands in a file with this one line.
    fn entry(line: &str) -> Result<allow::Entry, String> {
        let folder = folder();
        let path = file(&folder, "allow.txt", format!("{line}\n"));
        let entries = allow::entries(&path).map_err(|error| error.to_string())?;
        Ok(entries.into_iter().next().unwrap())
    }

    #[test]
    fn attributes_stand_in_any_order_with_a_comment_behind_them() {
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let line =
            "  rpm=60\tname=\"build \\\"server\\\" #1\" keys=ann,bob models=a/*,*:free # expires=never";
        let read = entry(&format!("{digest}{line}")).unwrap();
        assert_eq!((&*read.caller, read.form, read.line), ("build \"server\" #1", allow::Form::Hashed, 1));
        assert_eq!(read.terms.text(), "models=a/*,*:free rpm=60 keys=ann,bob");
        let plain = entry("abc expires=2026-12-31 daily_cost=0.5 daily_requests=7").unwrap();
        assert_eq!((&*plain.caller, plain.form), ("ba7816bf", allow::Form::Plain));
        assert_eq!(plain.terms.text(), "expires=2027-01-01T00:00:00Z daily_requests=7 daily_cost=0.5");
        assert_eq!(plain.digest, read.digest);
        // Text of the old form that looks like attributes is a name still.
        assert_eq!(&*entry("abc # rpm=60").unwrap().caller, "rpm=60");
        assert_eq!(&*entry(&format!("{digest} # ci")).unwrap().caller, "ci");
        assert_eq!(&*entry("name=ci-and-other-letters").unwrap().caller, "59bb6c18");
    }

    #[test]
    fn a_line_that_can_not_be_read_says_why_and_shows_no_value() {
        for (line, told) in [
            ("hmx_geheim rpm", "text behind the access token that is no attribute"),
            ("hmx_geheim rpm =5", "text behind the access token that is no attribute"),
            ("hmx_geheim rpn=5", "no such attribute; did you mean rpm"),
            ("hmx_geheim geheim=5", "no such attribute\n"),
            ("hmx_geheim rpm=5 name=a rpm=6", "the attribute is given twice: rpm"),
            ("hmx_geheim rpm=geheim", "the attribute's value can't be read: rpm"),
            ("hmx_geheim rpm=", "the attribute's value can't be read: rpm"),
            ("hmx_geheim name=", "the attribute's value can't be read: name"),
            ("hmx_geheim models=", "the attribute's value can't be read: models"),
            ("hmx_geheim keys=ann,,bob", "the attribute's value can't be read: keys"),
            ("hmx_geheim expires=31.12.2026", "the attribute's value can't be read: expires"),
            ("hmx_geheim daily_cost=0", "the attribute's value can't be read: daily_cost"),
            ("hmx_geheim name=\"geheim", "a value's double quotes don't stand around all of it"),
            ("hmx_geheim name=\"a\"b", "a value's double quotes don't stand around all of it"),
            ("hmx_geheim name=a\"b\"", "a value's double quotes don't stand around all of it"),
            ("hmx_geheim name=a#b", "a `#` without a blank before it"),
            ("sha256:geheim", "`sha256:` without 64 hex digits behind it"),
        ] {
            let error = entry(line).unwrap_err();
            assert!(error.contains(&format!("allow.txt:1: {told}")), "{line}: {error}");
            assert!(error.contains("\nhint: ") && !error.contains("geheim"), "{line}: {error}");
        }
    }

    #[test]
    fn a_comment_behind_attributes_is_no_name_which_is_warned_of() {
        let folder = folder();
        let path = file(
            &folder,
            "allow.txt",
            "abcdefghijklmnop rpm=5 # ci\nqrstuvwxyzabcdef name=ci rpm=5 # ours\n",
        );
        let loaded = allow::load(&path).unwrap();
        assert_eq!(caller(&loaded.access, "abcdefghijklmnop").as_deref(), Some("f39dac6c"));
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].contains("allow.txt:1: ") && loaded.warnings[0].contains("name="));
    }

    #[test]
    fn a_token_and_its_digest_are_the_same() {
        let folder = folder();
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let path = file(&folder, "allow.txt", format!("{digest} name=ci\nabc # other\n"));
        let loaded = allow::load(&path).unwrap();
        assert_eq!(caller(&loaded.access, "abc").as_deref(), Some("ci"));
        assert_eq!(caller(&loaded.access, digest), None, "the digest itself opens nothing");
        assert_eq!(
            loaded.warnings,
            [format!("{}:2: the access token stands on line 1 already", path.display())]
        );
    }

    #[test]
    fn what_is_removed_takes_its_line_and_nothing_else_with_it() {
        let folder = folder();
        for (old, new) in [
            ("# ours\n\nabc # x\n  def\t# y\n", "# ours\n\n  def\t# y\n"),
            ("\u{feff}abc\r\nother # y\r\n", "\u{feff}other # y\r\n"),
            ("other # y\nabc", "other # y\n"),
            (
                "abc rpm=5 # x\nsha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nz",
                "z",
            ),
            ("z", "z"),
        ] {
            let path = file(&folder, "allow.txt", old);
            let removed = allow::remove(&path, &[Digest::of(b"abc")]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), new, "{old:?}");
            assert_eq!(removed, old.lines().count() - new.lines().count(), "{old:?}");
            assert_holds_only(&folder, &["allow.txt"]);
        }
        let path = file(&folder, "allow.txt", "abc\nx y\n");
        assert!(allow::remove(&path, &[Digest::of(b"abc")]).is_err(), "a broken file is not changed");
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc\nx y\n");
    }

    #[test]
    fn many_who_add_and_remove_at_once_lose_nothing() {
        let folder = folder();
        let path = file(&folder, "allow.txt", "# ours\n");
        thread::scope(|scope| {
            for n in 0..50 {
                let path = &path;
                scope.spawn(move || {
                    let token = generate();
                    append(path, Some(&format!("caller {n}")), &token).unwrap();
                    if n % 2 == 0 {
                        assert_eq!(allow::remove(path, &[Digest::of(token.expose().as_bytes())]).unwrap(), 1);
                    }
                });
            }
        });
        assert_eq!(allow::entries(&path).unwrap().len(), 25);
        assert!(fs::read_to_string(&path).unwrap().starts_with("# ours\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_again(
            name in "[!-~]([ -~]{0,20}[!-~])?",
            (rpm, cost) in (prop::option::of(1_u32..=100_000), prop::option::of(1_i64..=i64::MAX)),
            keys in prop::collection::vec("[!-+\\-~]([ -+\\--~]{0,8}[!-+\\--~])?", 0..3),
        ) {
            prop_assume!(keys.iter().all(|key| !key.contains(',') && !key.contains("sk-or-")));
            let keys = (!keys.is_empty()).then(|| keys.iter().map(|key| key.as_str().into()).collect());
            let terms = Terms { rpm, daily_cost: cost, keys, ..Terms::default() };
            let folder = folder();
            let path = folder.path().join("allow.txt");
            append_with(&path, Some(&name), &generate(), allow::Form::Hashed, &terms).unwrap();
            let read = allow::entries(&path).unwrap().remove(0);
            prop_assert_eq!((&*read.caller, &read.terms), (name.as_str(), &terms));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[abc#=\" \\\\\t\n,;:names256rpm]{0,80}") {
            let folder = folder();
            let _ = allow::load(&file(&folder, "allow.txt", text));
        }
    }
}
