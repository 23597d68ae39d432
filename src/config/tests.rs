//! Tests of the configuration: layers, sources of bad values, places.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::Level;

use super::{Address, Config, Errors, LogFormat, SETTINGS, Surroundings, UpstreamUrl, value};

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Surroundings { variables, ..Surroundings::default() }
}

fn resolve(flags: &[(&str, &str)], around: &Surroundings) -> Result<Config, Errors> {
    let flags: Vec<_> = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    Config::resolve(&flags, around)
}

fn flags(flags: &[(&str, &str)]) -> Result<Config, Errors> {
    resolve(flags, &around(&[]))
}

fn problems(config: Result<Config, Errors>) -> String {
    config.expect_err("a bad configuration").to_string()
}

/// A home with `config.toml`.
fn home(toml: &str) -> (tempfile::TempDir, Surroundings) {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("config.toml"), toml).unwrap();
    let around = Surroundings {
        config_dir: Some(home.path().to_owned()),
        working_dir: home.path().join("elsewhere"),
        ..Surroundings::default()
    };
    (home, around)
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = flags(&[]).unwrap();
    assert_eq!(config.tokens, Path::new("tokens.csv"));
    assert_eq!(config.allow, Path::new("allow.txt"));
    assert_eq!((config.address.to_string().as_str(), config.port), ("127.0.0.1", 3333));
    let upstream = UpstreamUrl { tls: true, host: "openrouter.ai".into(), port: 443, base: "/api".into() };
    assert_eq!(config.upstream, upstream);
    assert_eq!((config.ca_file, config.upstream_proxy, config.no_auth), (None, None, false));
    let waits = [
        (config.connect_timeout, 10),
        (config.first_byte_timeout, 600),
        (config.idle_timeout, 300),
        (config.max_wait, 60),
        (config.commit_after, 1),
        (config.grace, 30),
        (config.header_timeout, 15),
        (config.keep_alive_timeout, 120),
        (config.body_timeout, 60),
    ];
    assert!(waits.iter().all(|(wait, seconds)| *wait == Duration::from_secs(*seconds)), "{waits:?}");
    assert_eq!((config.max_header_bytes, config.max_uri_bytes), (65_536, 16_384));
    assert_eq!((config.max_connections, config.replay_bytes), (None, 33_554_432));
    assert_eq!(config.replay_total, 268_435_456);
    assert!(!config.no_affinity && !config.no_poll);
    assert!((1..=4).contains(&config.workers));
    assert_eq!((config.log_format, config.verbosity), (LogFormat::Text, 0));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_flag_wins_over_the_variable_over_the_file_over_the_default() {
    let (_home, mut around) = home("port = 1\ngrace = \"1s\"\nidle_timeout = 1");
    assert_eq!(resolve(&[], &around).unwrap().port, 1);
    around.variables = vec![("HERMUX_PORT".into(), "2".into()), ("HERMUX_GRACE".into(), "2s".into())];
    let config = resolve(&[("port", "3")], &around).unwrap();
    assert_eq!(config.port, 3);
    assert_eq!(config.grace, Duration::from_secs(2));
    assert_eq!(config.idle_timeout, Duration::from_secs(1));
    assert_eq!(config.connect_timeout, Duration::from_secs(10));
}

#[test]
fn every_setting_can_be_a_flag_a_variable_and_a_key() {
    for setting in SETTINGS {
        let good = match setting.name {
            "tokens" | "allow" | "data_dir" | "ca_file" => "some/path",
            "upstream_proxy" => "http://127.0.0.1:8080",
            "workers" | "max_connections" => "2",
            "cors" => "https://app.example",
            "metrics" => "127.0.0.1:9333",
            // One is nothing without the other.
            "tls_cert" | "tls_key" => continue,
            _ => setting.default,
        };
        let (_home, in_file) = home(&format!("{} = \"{good}\"", setting.name));
        let flag = flags(&[(setting.name, good)]);
        let variable = resolve(&[], &around(&[(&setting.variable(), good)]));
        for (result, is_fine) in
            [(flag, true), (variable, !setting.in_file_alone()), (resolve(&[], &in_file), true)]
        {
            assert_eq!(result.is_ok(), is_fine, "{}: {result:?}", setting.name);
        }
    }
}

#[test]
fn commands_are_allowed_by_the_file_alone() {
    assert!(!flags(&[]).unwrap().allow_commands);
    assert!(resolve(&[], &home("allow_commands = true").1).unwrap().allow_commands);
    let told = problems(resolve(&[], &around(&[("HERMUX_ALLOW_COMMANDS", "true")])));
    assert_eq!(
        told,
        "HERMUX_ALLOW_COMMANDS: only config.toml can say this\nhint: write allow_commands into it"
    );
}

#[test]
fn a_bad_value_names_its_source() {
    assert_eq!(problems(flags(&[("port", "99999")])), "--port: not a port: 99999");
    assert_eq!(problems(resolve(&[], &around(&[("HERMUX_PORT", "x")]))), "HERMUX_PORT: not a port: x");
    let (home, around) = home("# mine\n\nport = 99999");
    let file = home.path().join("config.toml");
    assert_eq!(problems(resolve(&[], &around)), format!("{}:3: port: not a port: 99999", file.display()));
    assert_eq!(
        problems(flags(&[("first_byte_timeout", "soon")])),
        "--first-byte-timeout: not a duration such as 30, 30s, 5m, 1h30m or 7d: soon"
    );
}

#[test]
fn all_bad_values_are_told_at_once_also_those_that_a_stronger_layer_hides() {
    let (_home, mut around) = home("grace = \"x\"\nworkers = []\nlog_format = \"xml\"");
    around.variables = vec![("HERMUX_PORT".into(), "x".into())];
    let told = problems(resolve(&[("port", "1"), ("address", "example.org")], &around));
    assert_eq!(told.lines().count(), 5, "{told}");
    for part in
        [":1: grace: ", ":2: workers: ", ":3: log_format: ", "HERMUX_PORT: ", "--address: not an IP address"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn an_unknown_key_is_an_error_with_a_near_match() {
    let (home, around) = home("first-byte-timeout = 3\ncolour = \"red\"\n[serve]\nport = 1");
    let file = home.path().join("config.toml");
    let file = file.display();
    assert_eq!(
        problems(resolve(&[], &around)),
        format!(
            "{file}:1: no such key: first-byte-timeout\nhint: did you mean first_byte_timeout\n\
             {file}:2: no such key: colour\n{file}:3: no such key: serve"
        )
    );
}

#[test]
fn a_file_that_is_not_toml_names_the_line() {
    let (_home, around) = home("port = 1\n\nport = = 2\n");
    let told = problems(resolve(&[], &around));
    assert!(told.contains("config.toml:3: "), "{told}");
}

#[test]
fn byte_order_mark_and_windows_line_ends_are_fine_in_the_file() {
    let (_home, around) = home("\u{feff}port = 1\r\ngrace = 5\r\n");
    let config = resolve(&[], &around).unwrap();
    assert_eq!((config.port, config.grace), (1, Duration::from_secs(5)));
}

#[test]
fn a_named_file_must_be_there_and_the_users_own_need_not() {
    assert_eq!(problems(flags(&[("config", "/nowhere/c.toml")])), "--config: no such file: /nowhere/c.toml");
    let told = problems(resolve(&[], &around(&[("HERMUX_CONFIG", "/nowhere/c.toml")])));
    assert_eq!(told, "HERMUX_CONFIG: no such file: /nowhere/c.toml");
    let around = Surroundings { config_dir: Some("/nowhere".into()), ..Surroundings::default() };
    assert!(resolve(&[], &around).is_ok());
}

#[test]
fn a_named_file_is_read_in_place_of_the_users_own() {
    let (home, mut around) = home("port = 1");
    let named = home.path().join("named.toml");
    fs::write(&named, "port = 2").unwrap();
    assert_eq!(resolve(&[("config", named.to_str().unwrap())], &around).unwrap().port, 2);
    around.variables = vec![("HERMUX_CONFIG".into(), named.into())];
    assert_eq!(resolve(&[], &around).unwrap().port, 2);
}

#[test]
fn a_path_in_the_file_is_relative_to_the_file() {
    let (home, around) = home("tokens = \"keys.csv\"\nallow = \"/etc/allow.txt\"");
    let config = resolve(&[], &around).unwrap();
    assert_eq!(config.tokens, home.path().join("keys.csv"));
    assert_eq!(config.allow, Path::new("/etc/allow.txt"));
    assert_eq!(resolve(&[("tokens", "keys.csv")], &around).unwrap().tokens, Path::new("keys.csv"));
}

#[test]
fn files_are_looked_for_here_then_in_the_configuration_directory() {
    let here = tempfile::tempdir().unwrap();
    let there = tempfile::tempdir().unwrap();
    let around = Surroundings {
        config_dir: Some(there.path().to_owned()),
        working_dir: here.path().to_owned(),
        ..Surroundings::default()
    };
    let places = || {
        let config = resolve(&[], &around).unwrap();
        (config.tokens, config.allow)
    };
    // Nowhere: a new one is made here.
    assert_eq!(places(), (PathBuf::from("tokens.csv"), PathBuf::from("allow.txt")));
    // One there: the other belongs beside it.
    fs::write(there.path().join("tokens.csv"), "").unwrap();
    assert_eq!(places(), (there.path().join("tokens.csv"), there.path().join("allow.txt")));
    // Here wins.
    fs::write(here.path().join("allow.txt"), "").unwrap();
    assert_eq!(places(), (there.path().join("tokens.csv"), PathBuf::from("allow.txt")));
    fs::write(here.path().join("tokens.csv"), "").unwrap();
    assert_eq!(places(), (PathBuf::from("tokens.csv"), PathBuf::from("allow.txt")));
}

#[test]
fn the_data_directory_is_the_users_unless_named() {
    let around = Surroundings { data_dir: Some("/home/ann/data".into()), ..Surroundings::default() };
    assert_eq!(resolve(&[], &around).unwrap().data_dir, Path::new("/home/ann/data"));
    assert_eq!(resolve(&[("data_dir", "d")], &around).unwrap().data_dir, Path::new("d"));
    assert_eq!(flags(&[]).unwrap().data_dir, Path::new(".hermux"));
}

#[test]
fn durations_are_read_in_every_form() {
    let forms = [
        ("30", 30_000),
        ("30s", 30_000),
        ("5m", 300_000),
        ("7d", 604_800_000),
        ("500ms", 500),
        ("1h30m", 5_400_000),
        ("2h", 7_200_000),
        ("0", 0),
    ];
    for (text, milliseconds) in forms {
        assert_eq!(value::duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in
        ["", "s", "-5s", "5s ago", "1mo", "1y", "999d", "5 parsecs", "99999999999999999999", "1e3", "NaN"]
    {
        assert!(value::duration(text).is_err(), "{text}");
    }
    assert!(value::wait("0").is_err());
}

#[test]
fn sizes_are_read_in_every_form() {
    for (text, bytes) in [
        ("65536", 65_536),
        ("64KiB", 65_536),
        ("32MiB", 33_554_432),
        ("1GiB", 1 << 30),
        ("9kB", 9_000),
        ("7B", 7),
    ] {
        assert_eq!(value::size(text, 0, 1 << 30), Ok(bytes), "{text}");
    }
    for text in ["", "KiB", "64K", "-1", "1.5MiB", "2GiB", "99999999999999999999", "99999999999999999GiB"] {
        assert!(value::size(text, 0, 1 << 30).is_err(), "{text}");
    }
    assert_eq!(value::size("1", 8192, 9000), Err("not between 8192 and 9000 bytes: 1".into()));
}

#[test]
fn an_address_is_an_ip_address() {
    for (text, address) in
        [("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("::1", "::1"), ("[::]", "::")]
    {
        assert_eq!(value::address(text).unwrap().to_string(), address);
    }
    for text in ["", "example.org", "127.0.0.1:80", "[127.0.0.1", "1.2.3"] {
        assert!(value::address(text).is_err(), "{text}");
    }
}

#[test]
fn upstream_is_an_origin_or_a_path_that_ends_in_v1() {
    let url =
        |tls, host: &str, port, base: &str| UpstreamUrl { tls, host: host.into(), port, base: base.into() };
    let good = [
        ("https://openrouter.ai/api/v1", url(true, "openrouter.ai", 443, "/api")),
        ("https://openrouter.ai/api/v1/", url(true, "openrouter.ai", 443, "/api")),
        ("https://OpenRouter.ai", url(true, "openrouter.ai", 443, "/api")),
        ("HTTPS://eu.openrouter.ai/", url(true, "eu.openrouter.ai", 443, "/api")),
        ("http://127.0.0.1:8080/v1", url(false, "127.0.0.1", 8080, "")),
        ("http://localhost:8080/a/b/v1", url(false, "localhost", 8080, "/a/b")),
        ("http://[::1]:99", url(false, "::1", 99, "/api")),
        ("http://127.0.0.1", url(false, "127.0.0.1", 80, "/api")),
    ];
    for (text, wanted) in good {
        assert_eq!(value::upstream(text), Ok(wanted), "{text}");
    }
    for text in [
        "",
        "openrouter.ai",
        "openrouter.ai/api/v1",
        "ftp://openrouter.ai",
        "https://",
        "https:///api/v1",
        "https://openrouter.ai/api",
        "https://openrouter.ai/api/v1/chat",
        "https://openrouter.ai/api//v1",
        "https://openrouter.ai/../v1",
        "https://openrouter.ai/api/v1?x=1",
        "https://openrouter.ai/api/v1#x",
        "https://openrouter.ai:0",
        "https://openrouter.ai:99999",
        "https://openrouter.ai:",
        "https://open router.ai",
    ] {
        assert!(value::upstream(text).is_err(), "{text}");
    }
}

#[test]
fn a_password_or_key_in_a_bad_value_is_not_repeated() {
    for (name, text) in [
        ("upstream", "https://ann:secret@openrouter.ai/api/v1"),
        ("upstream", "ann:secret@openrouter.ai"),
        ("upstream_proxy", "http://ann:secret@127.0.0.1:8080"),
        ("tokens", "sk-or-v1-secret"),
        ("allow", "hmx_secretsecretsecretsecretsecretsecretsecret"),
        ("port", "sk-or-v1-secret"),
        ("address", "hmx_secret"),
    ] {
        let told = problems(flags(&[(name, text)]));
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn plain_http_beyond_loopback_is_a_warning() {
    let warnings = |url| flags(&[("upstream", url)]).unwrap().warnings;
    assert_eq!(warnings("http://example.org").len(), 1);
    for fine in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://example.org"] {
        assert!(warnings(fine).is_empty(), "{fine}");
    }
}

#[test]
fn a_proxy_is_a_plain_origin_with_a_port() {
    assert_eq!(value::proxy("http://proxy.lan:3128"), Ok(("proxy.lan".into(), 3128)));
    assert_eq!(value::proxy("http://[::1]:3128/"), Ok(("::1".into(), 3128)));
    for text in ["proxy:3128", "http://proxy", "https://proxy:1", "socks5://proxy:1", "http://proxy:1/x"] {
        assert!(value::proxy(text).is_err(), "{text}");
    }
}

#[test]
fn an_address_may_be_a_unix_socket() {
    let socket = |path: &str| Address::Unix(PathBuf::from(path));
    assert_eq!(value::address("unix:/run/hermux.sock"), Ok(socket("/run/hermux.sock")));
    assert_eq!(value::address("unix:here.sock"), Ok(socket("here.sock")));
    assert!(value::address("unix:").is_err());
    assert!(flags(&[("no_auth", "true"), ("address", "unix:a")]).unwrap().no_auth, "its mode guards it");
    // In config.toml it is relative to that file, as other paths are.
    let (home, around) = home("address = \"unix:a.sock\"");
    let config = resolve(&[], &around).unwrap();
    assert_eq!(config.address, Address::Unix(home.path().join("a.sock")));
}

#[test]
fn a_mode_is_octal() {
    for (text, mode) in [("0600", 0o600), ("660", 0o660), ("0o666", 0o666), ("0", 0)] {
        assert_eq!(value::mode(text), Ok(mode), "{text}");
    }
    for text in ["", "rw", "8", "1777", "-1", "0x10"] {
        assert!(value::mode(text).is_err(), "{text}");
    }
}

#[test]
fn origins_are_as_browsers_write_them() {
    for (text, origins) in [
        ("https://app.example", &["https://app.example"][..]),
        ("HTTPS://App.Example:443", &["https://app.example"]),
        ("http://localhost:5173 , http://[::1]:80", &["http://localhost:5173", "http://[::1]"]),
        (
            "https://a.example:80,chrome-extension://abcdef",
            &["https://a.example:80", "chrome-extension://abcdef"],
        ),
        ("null,*", &["null", "*"]),
    ] {
        assert_eq!(value::origins(text).unwrap(), origins);
    }
    for text in [
        "",
        ",",
        "app.example",
        "https://",
        "https://a.example/",
        "https://a.example/page",
        "https://a@b.example",
        "https://a.example:port",
        "https://*.example",
        "https://a.example:",
        "http://[::1",
        "https://a b",
    ] {
        assert!(value::origins(text).is_err(), "{text}");
    }
}

#[test]
fn any_origin_and_no_access_tokens_do_not_go_together() {
    for origins in ["*", "null", "https://app.example,*"] {
        let told = problems(flags(&[("no_auth", "true"), ("cors", origins)]));
        assert!(told.starts_with("--no-auth: only with a list of origins"), "{told}");
    }
    assert!(flags(&[("no_auth", "true"), ("cors", "https://app.example")]).is_ok());
    assert!(flags(&[("cors", "*")]).is_ok());
}

#[test]
fn tls_takes_both_of_its_files() {
    let told = problems(flags(&[("tls_cert", "cert.pem")]));
    assert!(told.starts_with("--tls-cert: ") && told.ends_with("--tls-key"), "{told}");
    let told = problems(flags(&[("tls_key", "key.pem")]));
    assert!(told.starts_with("--tls-key: ") && told.ends_with("--tls-cert"), "{told}");
    let pair = |config: Config| config.tls_cert.zip(config.tls_key).unwrap();
    let both = flags(&[("tls_cert", "cert.pem"), ("tls_key", "key.pem")]).unwrap();
    assert_eq!(pair(both), ("cert.pem".into(), "key.pem".into()));
    let (home, mut around) = home("tls_cert = \"cert.pem\"");
    around.variables.push(("HERMUX_TLS_KEY".into(), "key.pem".into()));
    assert_eq!(pair(resolve(&[], &around).unwrap()), (home.path().join("cert.pem"), "key.pem".into()));
}

#[test]
fn no_auth_is_refused_beyond_loopback() {
    for address in ["127.0.0.1", "127.9.9.9", "localhost", "::1", "::ffff:127.0.0.1"] {
        assert!(flags(&[("no_auth", "true"), ("address", address)]).unwrap().no_auth);
    }
    for address in ["0.0.0.0", "::", "192.168.0.1", "::ffff:8.8.8.8"] {
        let told = problems(flags(&[("no_auth", "true"), ("address", address)]));
        assert!(
            told.starts_with("--no-auth: only with a loopback address, not with that of --address: "),
            "{told}"
        );
    }
    let variables = around(&[("HERMUX_NO_AUTH", "1"), ("HERMUX_ADDRESS", "0.0.0.0")]);
    let told = problems(resolve(&[], &variables));
    assert!(
        told.starts_with("HERMUX_NO_AUTH: only with a loopback address, not with that of HERMUX_ADDRESS"),
        "{told}"
    );
}

#[test]
fn an_empty_variable_is_none() {
    assert_eq!(resolve(&[], &around(&[("HERMUX_PORT", ""), ("HERMUX_LOG", "")])).unwrap().port, 3333);
}

#[test]
fn a_misspelt_variable_is_a_warning_and_a_strange_one_nothing() {
    let config = resolve(&[], &around(&[("HERMUX_PROT", "1"), ("HERMUX_SERVICE_HOST", "10.0.0.1")])).unwrap();
    assert_eq!(config.warnings, ["no such variable: HERMUX_PROT; did you mean HERMUX_PORT"]);
}

#[test]
fn the_link_of_a_kubernetes_service_is_not_taken_for_a_port() {
    let config = resolve(&[], &around(&[("HERMUX_PORT", "tcp://10.0.0.1:3333")])).unwrap();
    assert_eq!((config.port, config.warnings.len()), (3333, 1));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_names_itself() {
    use std::os::unix::ffi::OsStringExt;
    let mut around = around(&[]);
    around.variables.push(("HERMUX_PORT".into(), std::ffi::OsString::from_vec(vec![0xff])));
    assert_eq!(problems(resolve(&[], &around)), "HERMUX_PORT: not UTF-8");
}

#[test]
fn the_log_level_is_that_of_hermux_log_else_rust_log_else_the_flags() {
    let shows = |config: &Config, level| config.log.would_enable("hermux::proxy", &level);
    let both = around(&[("HERMUX_LOG", "warn"), ("RUST_LOG", "trace")]);
    let config = resolve(&[("verbosity", "2")], &both).unwrap();
    assert!(shows(&config, Level::WARN) && !shows(&config, Level::INFO));
    let config = resolve(&[], &around(&[("RUST_LOG", "info,hermux=debug")])).unwrap();
    assert!(shows(&config, Level::DEBUG) && !shows(&config, Level::TRACE));
    for (verbosity, lowest) in [
        ("-2", Level::ERROR),
        ("-1", Level::WARN),
        ("0", Level::INFO),
        ("1", Level::DEBUG),
        ("2", Level::TRACE),
    ] {
        let config = flags(&[("verbosity", verbosity)]).unwrap();
        assert!(shows(&config, lowest), "{verbosity}");
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert_eq!(shows(&config, level), level <= lowest, "{verbosity} {level}");
        }
    }
}

#[test]
fn a_bad_log_filter_names_its_source() {
    for text in ["loud", "hermux=loud", "info,x=y=z"] {
        let told = problems(resolve(&[], &around(&[("HERMUX_LOG", text)])));
        assert!(told.starts_with(&format!("HERMUX_LOG: not a log filter: {text}\nhint: ")), "{told}");
    }
    let told = problems(resolve(&[], &around(&[("RUST_LOG", "hermux=loud")])));
    assert!(told.starts_with("RUST_LOG: not a log filter: hermux=loud"), "{told}");
    assert!(resolve(&[], &around(&[("RUST_LOG", "another_program")])).is_ok());
}
