//! Merging of sources, and the texts of faults.

use super::*;

fn resolve(toml: &str) -> anyhow::Result<Config> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, toml)?;
    Sources { config: Some(file), ..Sources::default() }.resolve(&Config::default())
}

#[test]
fn the_file_overrides_the_defaults() {
    let config = resolve("[timeouts]\nidle_ms = 9000\n").unwrap();
    assert_eq!(config.timeouts.idle_ms, 9000);
    assert_eq!(config.timeouts.hello_ms, Config::default().timeouts.hello_ms);
}

#[test]
fn flags_override_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "[listen]\nquic = \"127.0.0.1:1\"\ntcp = \"127.0.0.1:2\"").unwrap();
    let quic = Some("127.0.0.1:9".parse().unwrap());
    let sources = Sources { config: Some(file), quic, ..Sources::default() };
    let config = sources.resolve(&Config::default()).unwrap();
    assert_eq!(config.listen.quic.port(), 9);
    assert_eq!(config.listen.tcp.port(), 2);
}

#[test]
fn the_name_comes_from_file_or_flag_and_has_an_alphabet() {
    assert_eq!(Config::default().name.as_str(), "gateway");
    assert_eq!(resolve("name = \"gw-1\"").unwrap().name.as_str(), "gw-1");
    let name = Some("gw-2".parse().unwrap());
    let config = Sources { name, ..Sources::default() }.resolve(&Config::default()).unwrap();
    assert_eq!(config.name.as_str(), "gw-2");
    let error = resolve("name = \"gw 1\"").unwrap_err().to_string();
    assert!(error.contains("gateway.toml:1: name must be 1 to 64 letters"), "{error}");
}

#[test]
fn unknown_names_are_errors() {
    for (toml, part) in [
        ("[timeouts]\nidle = 9\n", "timeouts.idle "),
        ("[timeout]\n", "timeout "),
        ("[timeouts]\nidle_ms = \"soon\"\n", "idle_ms"),
        ("[timeouts\n", "gateway.toml:1: "),
    ] {
        let error = resolve(toml).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let missing = Sources { config: Some("no/such/file".into()), ..Sources::default() };
    let error = format!("{:#}", missing.resolve(&Config::default()).unwrap_err());
    assert!(error.contains("no/such/file"), "{error}");
}

#[test]
fn errors_never_quote_possible_secrets() {
    for (toml, part) in [
        ("[[projects]]\nkey = \"1\"\nsecrets = \"HUSH\"", "projects.0.secrets"),
        ("[[projects]]\nkey = \"1\"\nsecrets = [\"HUSH", "gateway.toml:3: "),
        (
            "[[projects]]\nkey = \"1\"\nsecrets = [\"HUSH\"]\nsecrets = [\"HUSH\"]",
            "gateway.toml:4: ",
        ),
        ("[[projects]]\nkey = \"1\"\nwebhook = \"HUSH\"", "projects.0.webhook"),
        ("[[projects]]\nkey = \"1\"\nsecrets = [[\"HUSH\"]]", "projects.0.secrets"),
        ("projects = \"HUSH\"", "projects"),
    ] {
        let error = format!("{:#}", resolve(toml).unwrap_err());
        assert!(!error.contains("HUSH"), "{error}");
        assert!(error.contains(part) && error.contains("gateway.toml"), "{error}");
    }
}

/// The faults of a file, line by line.
fn faults(toml: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, toml).unwrap();
    let sources = Sources { config: Some(file), ..Sources::default() };
    let error = sources.check(&Config::default()).unwrap_err().to_string();
    let path = format!("{}/", dir.path().display());
    error.lines().skip(1).map(|line| line.trim_start().replace(&path, "")).collect()
}

#[test]
fn every_fault_of_a_file_is_reported_with_line_setting_unit_and_bounds() {
    let toml = "\
[listen]
quic = \"here\"
tcp = 4433
[tls]
plaintext_tcp = \"yes\"
certificate = \"no/such.pem\"
key = 7
[limits]
pending_handshakes = -1
outbox_bytes = \"1 MiB\"
signals_per_second_per_connection = 4294967296
streams_per_client = 1.5
[timeouts]
idle = 9
idle_ms = 10
hello_ms = \"soon\"
[auth]
allowed_origins = [\"https://a.example\", \"b.example\", 3]
[resume]
window_ms = true
[link]
x = 1
[[projects]]
secrets = \"HUSH\"
[[projects]]
key = \"not a key\"
secrets = [\"HUSH\", 5]
webhook = { url = 5 }
[[projects]]
key = \"1\"
secrets = [\"HUSH\"]
limits = { connections = 0 }
[[projects]]
key = \"1\"
public_keys = [\"no/such.pub.pem\"]
";
    let said = faults(toml);
    let expected = [
        "gateway.toml:2: listen.quic must be an IP address and a port",
        "gateway.toml:3: listen.tcp must be an IP address and a port",
        "gateway.toml:5: tls.plaintext_tcp must be true or false",
        "gateway.toml:6: tls.certificate cannot be used: no/such.pem does not exist",
        "gateway.toml:7: tls.key must be the path of a file",
        "gateway.toml:9: limits.pending_handshakes must be a whole number of clients from 1 to 1000000",
        "gateway.toml:10: limits.outbox_bytes must be a whole number of bytes, at least 65536",
        "gateway.toml:11: limits.signals_per_second_per_connection must be a whole number of signals from 0 to",
        "gateway.toml:12: limits.streams_per_client must be a whole number of streams, at least 1",
        "gateway.toml:14: timeouts.idle is not a setting; the settings here are hello_ms,",
        "gateway.toml:15: timeouts.idle_ms is 10, but must be a whole number of milliseconds",
        "gateway.toml:16: timeouts.hello_ms must be a whole number of milliseconds from 1 to",
        "gateway.toml:18: auth.allowed_origins.1 has no scheme",
        "gateway.toml:18: auth.allowed_origins.2 must be an origin",
        "gateway.toml:20: resume.window_ms must be a whole number of milliseconds",
        "gateway.toml:21: link is not a setting; the settings here are name, listen, proxy, tls,",
        "gateway.toml:23: projects.0.key is not set: it must be 1 to 64 letters",
        "gateway.toml:24: projects.0.secrets must be a list of texts",
        "gateway.toml:26: projects.1.key must be 1 to 64 letters",
        "gateway.toml:27: projects.1.secrets.1 must be a text",
        "gateway.toml:28: projects.1.webhook.secret is not set",
        "gateway.toml:28: projects.1.webhook.url must be a URL",
        "gateway.toml:32: projects.2.limits.connections is 0, but must be",
        "gateway.toml:34: projects.3.key is the key of projects.2, too: 1",
        "gateway.toml:35: projects.3.public_keys.0 cannot be read: no/such.pub.pem",
    ];
    let unsaid: Vec<_> =
        expected.iter().filter(|it| !said.iter().any(|line| line.starts_with(*it))).collect();
    assert!(unsaid.is_empty(), "{unsaid:#?} in {said:#?}");
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    let all = said.join("\n");
    for jargon in ["`", "u32", "u64", "usize", "struct", "HUSH"] {
        assert!(!all.contains(jargon), "{jargon}: {all}");
    }
}

#[test]
fn every_line_that_is_not_toml_is_reported() {
    let said = faults("[timeouts]\nhello_ms = soon\nidle_ms = 1\nidle_ms = 2\n[x\n");
    for line in [
        "gateway.toml:2: is not valid TOML",
        "gateway.toml:4: is not valid TOML",
        "gateway.toml:5:",
    ] {
        assert!(said.iter().any(|it| it.starts_with(line)), "{line}: {said:#?}");
    }
    assert!(!said.join("").contains('`'), "{said:#?}");
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark_and_must_be_text() {
    assert_eq!(resolve("\u{feff}[timeouts]\r\nidle_ms = 9000\r\n").unwrap().timeouts.idle_ms, 9000);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, b"[timeouts]\nx = \"\xff\"\n").unwrap();
    let sources = Sources { config: Some(file), ..Sources::default() };
    let error = sources.resolve(&Config::default()).unwrap_err().to_string();
    assert!(error.contains("gateway.toml:2: is not UTF-8 text"), "{error}");
}

#[test]
fn sources_of_flags_and_lists_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let toml = "[[projects]]\nkey = \"1\"\nsecrets = [\"a\"]\n[[projects]]\nkey = \"2\"\nsecrets = [\"b\"]\n";
    std::fs::write(&file, toml).unwrap();
    let sources = Sources {
        config: Some(file.clone()),
        threads: Some(0),
        pid_file: Some("pid".into()),
        ..Sources::default()
    };
    let read = sources.read(&Config::default()).unwrap();
    let mut from = std::collections::BTreeMap::new();
    flatten("", read.value(), &mut |key, _, tag| {
        from.insert(key.to_owned(), read.source_of(tag, key).to_string());
    });
    let file = file.display().to_string();
    assert_eq!(from["projects.0.key"], format!("{file}:2"));
    assert_eq!(from["projects.1.key"], format!("{file}:5"));
    assert_eq!(from["projects.1.secrets"], format!("{file}:6"));
    assert_eq!(from["process.threads"], "flag --threads");
    assert_eq!(from["process.pid_file"], "flag --pid-file");
    assert_eq!(from["drain.timeout_ms"], "default");
    let (_, invalid) = read.check();
    let threads = "\n  flag --threads: process.threads is 0";
    assert!(invalid.to_string().contains(threads), "{invalid}");
}

#[test]
fn a_name_that_is_twice_in_a_variable_is_a_fault() {
    let fault = |value| super::sources::repeated("projects", value).map(|it| it.to_string());
    let twice = Some("SIGNALBOX_PROJECTS: projects is set more than once".to_owned());
    assert_eq!(fault(r#"[{key="1",secrets=["HUSH"],secrets=["b"]}]"#), twice);
    assert_eq!(fault(r#"[{key="1",webhook={url="a",url="b"}}]"#), twice);
    for good in [r#"[{key="1",secrets=["a"]},{key="2",secrets=["a"]}]"#, "9000", "no TOML", ""] {
        assert_eq!(fault(good), None, "{good}");
    }
}
