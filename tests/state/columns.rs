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

const CHAT: &str = "/v1/chat/completions";
/// What may run other models than those of `a/`, or can't be told not to.
const OTHERS: [(&str, &str); 9] = [
    (CHAT, r#"{"models":["b/y"]}"#),
    (CHAT, r#"{"models":["a/x","b/y"]}"#),
    (CHAT, r#"{"model":"a/x","models":["b/y"]}"#),
    (CHAT, r#"{"model":"b/y","model":"a/x"}"#),
    (CHAT, r#"{"model":"a/x","plugins":[{"id":"fusion","model":"b/y"}]}"#),
    (CHAT, r#"{"messages":[]}"#),
    ("/v1/messages", "no JSON"),
    ("/v1/batches", r#"{"model":"b/y","requests":[]}"#),
    ("/v1/chat/completions/", r#"{"model":"b/y"}"#),
];

#[test]
fn a_key_of_some_models_is_lent_for_nothing_that_may_run_others() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::CHAT));
    let setup = Setup::new(&upstream);
    let rows = |other: &str| format!("name,token,models\nsome,{},a/*\n{other}", secret(1));
    write_private(&setup.tokens(), &rows(""));
    let hermux = setup.start();
    let ask =
        |path: &str, body: &str| hermux.ask(&Request::post(path, body).header("X-HERMUX-Max-Wait", "0"));
    for (path, body) in OTHERS {
        let refused = ask(path, body);
        assert_eq!(refused.status(), 403, "{path} {body}");
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains("not meant for this model"));
    }
    assert_eq!(upstream.requests(), 0);
    for (path, body) in [
        (CHAT, r#"{"model":"a/x"}"#),
        (CHAT, r#"{"models":["a/x","a/y"]}"#),
        (CHAT, r#"{"model":"a/x","models":["a/y"],"messages":[{"role":"user","content":"model"}]}"#),
        ("/v1/messages/count_tokens", r#"{"model":"b/y"}"#),
        ("/v1/files", "{}"),
    ] {
        assert_eq!(ask(path, body).key_name(), "some", "{path} {body}");
    }
    assert_eq!(hermux.ask(&Request::get("/v1/models")).key_name(), "some", "it runs no model");
    write_private(&hermux.setup().tokens(), &rows(&format!("any,{},\n", secret(2))));
    hermux.wait_for_line("reloaded the keys, 2 in all");
    for (path, body) in OTHERS {
        assert_eq!(ask(path, body).key_name(), "any", "{path} {body}");
    }
}
