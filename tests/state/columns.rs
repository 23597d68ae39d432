//! The optional columns of `tokens.csv`, as the program takes them.

use crate::support::hermux::{secret, write_private};
use crate::support::{Request, Setup, Upstream, samples};

#[test]
fn a_value_that_does_not_belong_ends_the_start_with_line_and_cure() {
    let setup = Setup::url("http://127.0.0.1:9/api/v1");
    for (column, value, hint) in [
        ("daily_requests", "lots", "hint: write how many"),
        ("daily_cost", "5$", "hint: write US dollars"),
        ("weight", "0", "hint: write a number from 0.001"),
        ("models", "\"a,b\"", "hint: write patterns"),
        ("enabled", "perhaps", "hint: write true or false"),
        ("account", &secret(7), "hint: give the keys of one account"),
    ] {
        let rows = format!("name,token,{column}\nkey-1,{},\nkey-2,{},{value}\n", secret(1), secret(2));
        write_private(&setup.tokens(), &rows);
        let (status, said) = setup.start_in_vain();
        assert_eq!(status.code(), Some(2), "{column}");
        let place = format!("{}:3: this can't stand in the column `{column}`: ", setup.tokens().display());
        assert!(said.contains(&place) && said.contains(hint), "{said}");
    }
}

#[test]
fn a_reload_with_a_bad_column_leaves_the_last_good_keys_in_force() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::CHAT));
    let hermux = Setup::new(&upstream).start();
    let bad = format!("name,token,weight,team\nkey-9,{},heavy,red\n", secret(9));
    write_private(&hermux.setup().tokens(), &bad);
    hermux.wait_for_line("the last good keys stay in force: ");
    assert_eq!(hermux.ask(&Request::chat(false)).key_name(), "key-1");
    write_private(&hermux.setup().tokens(), &bad.replace("heavy", "1.5"));
    hermux.wait_for_line("reloaded the keys, 1 in all");
    assert_eq!(hermux.ask(&Request::chat(false)).key_name(), "key-9");
}
