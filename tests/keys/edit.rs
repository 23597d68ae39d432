//! `remove`, `rename`, `enable` and `disable`: what is edited, what stays, and what a kill leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use hermux::keys::KeyName;
use hermux::keys::file::{add, list, remove, rename, set_enabled};
use hermux::secret::Secret;
use proptest::prelude::*;

use crate::support::hermux::write_private;
use crate::{NOWHERE, alone, command, csv, keys, left_behind, secret, text};

#[test]
fn each_edit_does_what_it_says() {
    let setup = alone(NOWHERE, &csv(&["ann", "ben"]));
    let (ann, ben) = (secret("ann"), secret("ben"));
    let path = setup.tokens().display().to_string();
    for (arguments, told, after) in [
        (
            &["rename", "ann", "eve"][..],
            "renamed `ann` to `eve` in",
            format!("name,token\neve,{ann}\nben,{ben}\n"),
        ),
        (
            &["disable", "ben"],
            "disabled `ben` in",
            format!("name,token,enabled\neve,{ann},\nben,{ben},false\n"),
        ),
        (
            &["disable", "ben"],
            "`ben` is disabled already in",
            format!("name,token,enabled\neve,{ann},\nben,{ben},false\n"),
        ),
        (&["enable", "ben"], "enabled `ben` in", format!("name,token,enabled\neve,{ann},\nben,{ben},true\n")),
        (&["remove", "eve", "--yes"], "removed `eve` from", format!("name,token,enabled\nben,{ben},true\n")),
        (&["remove", "ben", "-y"], "removed `ben` from", "name,token,enabled\n".to_owned()),
    ] {
        let done = keys(&setup, arguments);
        assert_eq!(done, (0, String::new(), format!("{told} {path}\n")), "{arguments:?}");
        assert_eq!(text(&setup), after, "{arguments:?}");
    }
    assert_eq!(left_behind(&setup), [""; 0]);
}

#[test]
fn what_cannot_be_done_changes_nothing_and_exits_with_2() {
    let before = csv(&["ann", "ben"]);
    let setup = alone(NOWHERE, &before);
    let path = setup.tokens().display().to_string();
    let no_such = format!("error: {path}: no such key: eve\nhint: `hermux keys list` shows their names\n");
    for (arguments, told) in [
        (&["remove", "eve"][..], no_such.as_str()),
        (&["rename", "eve", "eva"], &no_such),
        (&["disable", "eve"], &no_such),
        (&["enable", "eve"], &no_such),
        (&["rename", "ann", "ben"], "the name stands on line 3 already: ben\nhint: "),
        (&["rename", "ann", "sk-or-v1-12"], "the name looks like a key\nhint: "),
        (&["rename", "ann", ""], "the name is empty"),
        (&["remove", "ann"], "error: no terminal to ask: remove `"),
    ] {
        let (code, _, said) = keys(&setup, arguments);
        assert!(code == 2 && said.contains(told), "{arguments:?}: {code} {said}");
        assert_eq!(text(&setup), before);
    }
    write_private(&setup.tokens(), "name,token\nann\n");
    let (code, _, said) = keys(&setup, &["disable", "ann"]);
    assert!(code == 2 && said.starts_with(&format!("error: {path}:2: 1 fields where")), "{said}");
}

#[test]
fn a_link_to_a_file_that_is_not_there_yet_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("kept")).unwrap();
    let link = folder.path().join("tokens.csv");
    std::os::unix::fs::symlink("kept/real.csv", &link).unwrap();
    add(&link, &KeyName::parse("ann").unwrap(), &Secret::new("k1".to_owned())).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let made = folder.path().join("kept/real.csv");
    assert_eq!(fs::read_to_string(&made).unwrap(), "name,token\nann,k1\n");
    assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A file as a person may keep it: byte order mark, CRLF, comments, blank lines, quotes, other columns.
const KEPT: &str = "\u{feff}# ours, \"all\" of them\r\n Note ,\"NAME\", token,weight\r\n\r\n\
    \"a \"\"1\"\"\r\nb\",ann,k1,2\r\n,,,\r\n#x, \" ben ,\"k2\" ,\r\n x , \"ben\" ,\"k2\",  \r\nlast,cay,k3,";

#[test]
fn all_that_is_not_edited_stays_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.csv");
    let name = |name: &str| KeyName::parse(name).unwrap();
    let after = |edit: &dyn Fn()| {
        write_private(&path, KEPT);
        edit();
        fs::read_to_string(&path).unwrap()
    };
    let done = after(&|| rename(&path, &name("ben"), &name("eve")).unwrap());
    assert_eq!(done, KEPT.replace(" \"ben\" ", " \"eve\" "));
    let done = after(&|| rename(&path, &name("ann"), &name("a, \"b\"")).unwrap());
    assert_eq!(done, KEPT.replace("b\",ann,", "b\",\"a, \"\"b\"\"\","));
    let done = after(&|| remove(&path, &name("ann")).unwrap());
    assert_eq!(done, KEPT.replace("\"a \"\"1\"\"\r\nb\",ann,k1,2\r\n", ""));
    let done = after(&|| remove(&path, &name("cay")).unwrap());
    assert_eq!(done, KEPT.replace("last,cay,k3,", ""));
    let done = after(&|| assert!(set_enabled(&path, &name("ben"), false).unwrap()));
    let wanted = KEPT.replace(",weight\r", ",weight,enabled\r").replace(",ann,k1,2\r", ",ann,k1,2,\r");
    assert_eq!(done, wanted.replace("\"k2\",  \r", "\"k2\",  ,false\r") + ",");
    let done = after(&|| add(&path, &name("#dot"), &Secret::new("k4".into())).unwrap());
    assert_eq!(done, format!("{KEPT}\r\n,\"#dot\",k4,\r\n"));
    assert_eq!(list(&path).unwrap().rows.len(), 4);
    // And a field that is there is replaced alone.
    write_private(&path, "enabled,name,token\r no ,ann,k1\r");
    assert!(set_enabled(&path, &name("ann"), true).unwrap());
    assert!(!set_enabled(&path, &name("ann"), true).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "enabled,name,token\r true ,ann,k1\r");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any edit the other rows say what they said.
    #[test]
    fn an_edit_leaves_the_other_rows(
        notes in prop::collection::vec(("[ -~\n\u{e4}#]{0,12}", any::<bool>(), "[ \t]{0,2}"), 1..8),
        crlf: bool, bom: bool, comments: bool, last_end: bool, chosen: prop::sample::Index,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut lines = vec!["note,name,token".to_owned()];
        for (at, (note, quoted, blanks)) in notes.iter().enumerate() {
            let note = format!("\"{}\"", note.replace('"', "\"\""));
            let name = if *quoted { format!("\"n{at}\"") } else { format!("n{at}") };
            lines.push(format!("{blanks}{note}{blanks},{name}{blanks},k{at}{blanks}"));
            if comments {
                lines.push(format!("{blanks}# \"{at},"));
            }
        }
        let text = [if bom { "\u{feff}" } else { "" }, &lines.join(end), if last_end { end } else { "" }].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.csv");
        let chosen = chosen.index(notes.len());
        let name = KeyName::parse(&format!("n{chosen}")).unwrap();
        let shown = || -> Vec<_> {
            let rows = list(&path).unwrap().rows.into_iter();
            rows.map(|row| (row.name.to_string(), row.value.written().expose().to_owned(), row.terms.enabled)).collect()
        };
        for edit in 0..3 {
            write_private(&path, &text);
            let mut wanted = shown();
            match edit {
                0 => {
                    remove(&path, &name).unwrap();
                    wanted.remove(chosen);
                }
                1 => {
                    rename(&path, &name, &KeyName::parse("#new, \"one\"").unwrap()).unwrap();
                    wanted[chosen].0 = "#new, \"one\"".to_owned();
                }
                _ => {
                    prop_assert!(set_enabled(&path, &name, false).unwrap());
                    wanted[chosen].2 = false;
                }
            }
            prop_assert_eq!(shown(), wanted);
        }
    }
}

#[test]
fn a_kill_at_any_instant_leaves_the_old_file_or_the_new_one() {
    let setup = alone(NOWHERE, "");
    let row = |n| format!("other {n},sk-or-v1-{n:064x},\"x\"\r\n");
    let rows = (0..500).map(row).collect::<Vec<_>>().concat();
    let file = |name: &str| format!("name,token,note\r\n{rows}{name},k,\r\n");
    write_private(&setup.tokens(), &file("edit-0"));

    // How long an edit takes here, so that the kills fall all over it.
    let begin = Instant::now();
    assert_eq!(keys(&setup, &["rename", "edit-0", "edit-1"]).0, 0);
    let (whole, mut name) = (begin.elapsed(), "edit-1".to_owned());
    let mut done = 0;
    for number in 0..200_u32 {
        let new = format!("edit-{}", number + 2);
        let mut child = command(&setup, &["rename", &name, &new])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each fortieth is let be, so that an edit after a kill is seen to work too.
        if number % 40 == 39 {
            assert!(child.wait().unwrap().success());
        } else {
            thread::sleep(whole * (number % 40) / 30);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let found = text(&setup);
        if found == file(&new) {
            name = new;
            done += 1;
        } else {
            assert!(found == file(&name), "edit {number} left neither the old file nor the new one");
        }
        let mode = fs::metadata(setup.tokens()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(left_behind(&setup).len() <= 2, "one lock and one draft: {:?}", left_behind(&setup));
    }
    assert!((5..200).contains(&done), "{done} of 200 edits were done");
    assert_eq!(left_behind(&setup), [""; 0], "the last edit swept up");
}

#[test]
fn of_a_hundred_edits_at_once_none_is_lost() {
    let rows = (0..70).map(|n| format!("key{n},sk-or-v1-{n:064x}\r\n")).collect::<Vec<_>>().concat();
    let setup = alone(NOWHERE, &format!("name,token\r\n{rows}"));
    let edits: Vec<Vec<String>> = (0..100)
        .map(|n| match n {
            0..20 => vec!["remove".to_owned(), format!("key{n}"), "--yes".to_owned()],
            20..45 => vec!["rename".to_owned(), format!("key{n}"), format!("new{n}")],
            45..70 => vec!["disable".to_owned(), format!("key{n}")],
            _ => vec!["add".to_owned(), format!("key{n}"), "--stdin".to_owned(), "--no-check".to_owned()],
        })
        .collect();
    let running: Vec<_> = (0..100)
        .map(|n| {
            let arguments: Vec<&str> = edits[n].iter().map(String::as_str).collect();
            let mut command = command(&setup, &arguments);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let input = format!("sk-or-v1-{n:064x}\n");
            let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
            child
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut found: Vec<_> = list(&setup.tokens()).unwrap().rows;
    found.sort_by_key(|row| row.value.written().expose().to_owned());
    let found: Vec<_> = found.iter().map(|row| (row.name.to_string(), row.terms.enabled)).collect();
    let wanted: Vec<_> = (20..100)
        .map(|n| (format!("{}{n}", if n < 45 { "new" } else { "key" }), !(45..70).contains(&n)))
        .collect();
    assert_eq!(found, wanted);
    assert!(!text(&setup).replace("\r\n", "").contains(['\r', '\n']), "the line ends stay");
    assert_eq!(left_behind(&setup), [""; 0]);
}

#[test]
fn a_file_that_is_mounted_by_itself_is_told_of_and_left() {
    let setup = alone(NOWHERE, &csv(&["ann"]));
    let mounted = setup.directory().join("mounted.csv");
    fs::rename(setup.tokens(), &mounted).unwrap();
    fs::write(setup.tokens(), "").unwrap();
    let script =
        "mount --bind mounted.csv tokens.csv || exit 77; exec \"$0\" keys disable ann --tokens tokens.csv";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_hermux")])
        .current_dir(setup.directory())
        .output();
    let Some(output) = output.ok().filter(|output| matches!(output.status.code(), Some(0 | 2))) else {
        println!("passed over, since nothing can be mounted here");
        return;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    let wanted =
        "error: can't replace tokens.csv, since it is mounted as a single file; nothing was changed\nhint: ";
    assert!(told.starts_with(wanted), "{told}");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(mounted).unwrap(), csv(&["ann"]));
    assert_eq!(left_behind(&setup), [""; 0]);
}

#[test]
fn a_disabled_key_is_not_lent_by_the_server_until_it_is_enabled() {
    let (simulator, setup) = crate::place(hermux::simulator::Scenario::default(), &csv(&["ann", "ben"]));
    let hermux = setup.start();
    let body = r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let request = crate::support::Request::post("/api/v1/chat/completions", body);
    let served = || (0..4).map(|_| hermux.ask(&request).key_name().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(hermux.setup(), &["disable", "ann"]).0, 0);
    crate::support::eventually("the server takes the edit over", || {
        served().iter().all(|name| name == "ben").then_some(())
    });
    assert_eq!(keys(hermux.setup(), &["enable", "ann"]).0, 0);
    crate::support::eventually("the server takes the edit over", || {
        served().iter().any(|name| name == "ann").then_some(())
    });
    assert!(simulator.wasted().is_empty());
}
