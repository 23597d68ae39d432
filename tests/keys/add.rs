//! `keys add`: what `OpenRouter` says of a key decides, one key and many.

use hermux::simulator::{Account, Attempt, Fault, Key, Reset, Scenario, Then};

use crate::{KEYS, NOWHERE, alone, csv, keys, keys_with, place, secret, text};

fn added(name: &str, setup: &crate::support::Setup) -> String {
    format!("added `{name}` to {}\n", setup.tokens().display())
}

#[test]
fn a_key_is_looked_at_before_it_is_written() {
    let mut scenario = Scenario::default();
    scenario.accounts[0] = Account::new("ann").key(Key::new("ann").limit(5_000_000_000, Some(Reset::Daily)));
    let (simulator, setup) = place(scenario, &csv(&["ben"]));
    let (code, out, told) = keys_with(&setup, &["add", "ann", "--stdin"], &secret("ann"));
    assert_eq!((code, out.as_str()), (0, ""));
    let (digits, key) = ("sk-or-v1-".len(), secret("ann"));
    let label = format!("{}...{}", &key[..digits + 3], &key[key.len() - 3..]);
    let said = format!(
        "OpenRouter knows it: label {label}, tier paid, limit 5.00 USD daily, 5.00 USD left, account user_ann\n"
    );
    assert_eq!(told, said + &added("ann", &setup));
    assert_eq!(text(&setup), csv(&["ben", "ann"]));
    let asked = simulator.attempts();
    assert_eq!(asked.iter().map(Attempt::path).collect::<Vec<_>>(), ["/api/v1/key"]);
}

#[test]
fn a_key_that_openrouter_refuses_or_that_manages_keys_is_not_added() {
    let mut scenario = Scenario::default();
    scenario.accounts[0].keys[0].disabled = true;
    scenario.accounts[1].keys[0].management = true;
    let (_simulator, setup) = place(scenario, &csv(&["cay"]));
    for (name, why, cure) in [
        (
            "ann",
            "OpenRouter refuses it: it is mistyped, disabled, expired or deleted",
            "copy the key once more",
        ),
        // To write it all the same would be of no use.
        ("ben", "it is a management key, which serves no requests", "make another API key"),
    ] {
        let (code, _, told) = keys_with(&setup, &["add", name, "--stdin"], &secret(name));
        assert_eq!(code, 1);
        assert!(
            told.starts_with(&format!("error: not added: `{name}`, since {why}\nhint: {cure}")),
            "{told}"
        );
        assert_eq!(text(&setup), csv(&["cay"]));
    }
    let (code, _, told) = keys_with(&setup, &["add", "ann", "--stdin", "--no-check"], &secret("ann"));
    assert_eq!((code, told), (0, added("ann", &setup)));
}

#[test]
fn without_a_network_a_key_is_added_with_a_warning() {
    let setup = alone(NOWHERE, &csv(&["ben"]));
    let (code, _, told) = keys_with(&setup, &["add", "ann", "--stdin"], &secret("ann"));
    assert_eq!(code, 0);
    assert!(told.starts_with("warning: OpenRouter could not be asked about the key: "), "{told}");
    assert!(told.ends_with(&added("ann", &setup)), "{told}");
    assert_eq!(text(&setup), csv(&["ben", "ann"]));
}

#[test]
fn an_answer_that_does_not_come_is_a_warning_once_the_time_is_over() {
    let stalled = Scenario::default().fault(Fault::new(Then::Stall).on_path("/api/v1/key"));
    let (_simulator, setup) = place(stalled, &csv(&["ben"]));
    let (code, _, told) = keys_with(&setup, &["add", "ann", "--stdin", "--timeout", "100ms"], &secret("ann"));
    assert!(code == 0 && told.starts_with("warning: OpenRouter could not be asked"), "{code} {told}");
    let (code, _, told) = keys_with(&setup, &["add", "dot", "--stdin", "--timeout", "soon"], "k");
    assert!(code == 2 && told.starts_with("error: --timeout: not a duration"), "{told}");
}

#[test]
fn a_name_or_key_that_is_there_is_refused_before_anybody_is_asked() {
    let (simulator, setup) = place(Scenario::default(), "");
    let setup = setup.variable("THE_KEY", &secret("ann"));
    crate::write_private(&setup.tokens(), "name,token\n\nann,env:THE_KEY\n");
    for (name, key, told) in [
        ("ann", secret("ben"), "the name stands on line 3 already: ann\nhint: "),
        ("ben", secret("ann"), "the key of `ben` is the same as that of line 3: ann\nhint: "),
        ("ben", "env:THE_KEY".to_owned(), "the key of `ben` is the same as that of line 3: ann\nhint: "),
    ] {
        let (code, _, said) = keys_with(&setup, &["add", name, "--stdin"], &key);
        assert!(code == 2 && said.contains(told), "{code} {said}");
    }
    assert!(simulator.attempts().is_empty());
}

#[test]
fn a_reference_is_written_as_one_and_followed_for_the_check() {
    let (_simulator, setup) = place(Scenario::default(), "");
    let setup = setup.variable("THE_KEY", &secret("ann"));
    let (code, _, told) = keys_with(&setup, &["add", "ann", "--stdin"], "env:THE_KEY\n");
    assert!(code == 0 && told.contains("account user_ann"), "{told}");
    assert_eq!(text(&setup), "name,token\nann,env:THE_KEY\n");
    let (code, _, told) = keys_with(&setup, &["add", "ben", "--stdin"], "env:OTHER\n");
    assert_eq!(code, 2);
    assert!(
        told.contains("no key for `ben`: the variable is not set: OTHER\nhint: set the variable"),
        "{told}"
    );
}

#[test]
fn without_a_terminal_a_missing_name_is_told() {
    let setup = alone(NOWHERE, "");
    let (code, _, told) = keys(&setup, &["add"]);
    assert_eq!(code, 2);
    assert!(
        told.starts_with("error: no name was given, and there is no terminal to ask for one\nhint: "),
        "{told}"
    );
    assert_eq!(keys_with(&setup, &["add", "--stdin"], &secret("ann")).0, 2);
}

#[test]
fn many_are_added_from_a_file_and_those_that_cannot_be_are_told() {
    let mut scenario = Scenario::with_keys(&["ann", "ben", "cay", "dot", "eve"]);
    scenario.accounts[1].keys[0].disabled = true;
    let (_simulator, setup) = place(scenario, &csv(&["dot"]));
    let [ann, ben, cay, dot, eve] = ["ann", "ben", "cay", "dot", "eve"].map(secret);
    let lines = format!(
        "# ours\nann={ann}\nexport ben='{ben}'\n\n{cay}\nsame={dot}\ndot={eve}\ntwice={ann}\n{eve}\n"
    );
    crate::write_private(&setup.directory().join("keys.txt"), &lines);
    let (code, out, told) = keys(&setup, &["add", "--from-file", "keys.txt"]);
    assert_eq!((code, out.as_str()), (1, ""), "{told}");
    assert_eq!(text(&setup), format!("name,token\ndot,{dot}\nann,{ann}\nkey-1,{cay}\nkey-2,{eve}\n"));
    for line in [
        "not added: `same`, since the key of `same` is the same as that of line 2: dot\n",
        "not added: `dot`, since the name stands on line 2 already: dot\n",
        "not added: `ben`, since OpenRouter refuses it: it is mistyped, disabled, expired or deleted\n",
        "not added: `twice`, since it is the same key as `ann`\n",
        "OpenRouter knows `key-1`: label sk-or-v1-",
        &format!("added 3 of 7 keys to {}\n", setup.tokens().display()),
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn a_csv_file_standard_input_and_variables_give_many_keys_too() {
    let (_simulator, setup) = place(Scenario::default(), "");
    let setup = KEYS.iter().fold(setup, |setup, name| {
        setup.variable(&format!("MY_KEYS_{}", name.to_uppercase()), &secret(name))
    });
    let (code, _, told) = keys(&setup, &["add", "--from-env", "MY_KEYS"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(text(&setup), csv(&KEYS));

    crate::write_private(&setup.tokens(), "");
    let (code, _, told) = keys_with(&setup, &["add", "--from-file", "-", "--no-check"], &csv(&KEYS));
    assert_eq!((code, told), (0, format!("added 3 of 3 keys to {}\n", setup.tokens().display())));
    assert_eq!(text(&setup), csv(&KEYS));

    for (arguments, problem) in [
        (["add", "--from-env", "NOBODYS"], "error: no keys in: variables that begin with NOBODYS_\n"),
        (["add", "--from-file", "none.txt"], "error: no such file: none.txt\n"),
    ] {
        let (code, _, told) = keys(&setup, &arguments);
        assert_eq!((code, told.as_str()), (2, problem));
    }
}
