//! What configurations come to, and what is said of bad ones.

use super::*;

fn resolve(toml: &str) -> anyhow::Result<Config> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, toml)?;
    Sources { config: Some(file), ..Sources::default() }.resolve(&Config::default())
}

#[test]
fn the_file_overrides_the_defaults() {
    let config = resolve("[links]\nidle_timeout_ms = 9000\n").unwrap();
    assert_eq!(config.links.idle_timeout_ms, 9000);
    assert_eq!(config.links.hello_timeout_ms, Config::default().links.hello_timeout_ms);
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
fn what_is_not_known_is_an_error_that_names_it() {
    for (toml, part) in [
        ("[links]\nidle_timeout = 9\n", "idle_timeout"),
        ("[link]\n", "link"),
        ("[links]\nidle_timeout_ms = \"soon\"\n", "idle_timeout_ms"),
        ("[links\n", "gateway.toml:1: "),
    ] {
        let error = resolve(toml).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let missing = Sources { config: Some("no/such/file".into()), ..Sources::default() };
    let error = format!("{:#}", missing.resolve(&Config::default()).unwrap_err());
    assert!(error.contains("no/such/file"), "{error}");
}

#[test]
fn errors_never_quote_what_may_be_a_secret() {
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

/// All that is said of a file, line by line.
fn said(toml: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, toml).unwrap();
    let sources = Sources { config: Some(file), ..Sources::default() };
    let error = sources.check(&Config::default()).unwrap_err().to_string();
    let path = format!("{}/", dir.path().display());
    error.lines().skip(1).map(|line| line.trim_start().replace(&path, "")).collect()
}

#[test]
fn every_mistake_of_a_file_is_said_with_line_setting_unit_and_form() {
    let toml = "\
[listen]
quic = \"here\"
tcp = 4433
[tls]
plaintext_tcp = \"yes\"
certificate = \"no/such.pem\"
key = 7
[limits]
handshakes = -1
outbox_bytes = \"1 MiB\"
signals_per_second = 4294967296
streams_per_link = 1.5
[links]
idle_timeout = 9
idle_timeout_ms = 10
hello_timeout_ms = \"soon\"
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
    let said = said(toml);
    let expected = [
        "gateway.toml:2: listen.quic must be an IP address and a port",
        "gateway.toml:3: listen.tcp must be an IP address and a port",
        "gateway.toml:5: tls.plaintext_tcp must be true or false",
        "gateway.toml:6: tls.certificate cannot be used: no/such.pem does not exist",
        "gateway.toml:7: tls.key must be the path of a file",
        "gateway.toml:9: limits.handshakes must be a whole number of clients from 1 to 1000000",
        "gateway.toml:10: limits.outbox_bytes must be a whole number of bytes, at least 65536",
        "gateway.toml:11: limits.signals_per_second must be a whole number of signals from 0 to",
        "gateway.toml:12: limits.streams_per_link must be a whole number of streams, at least 1",
        "gateway.toml:14: links.idle_timeout is no setting; there are hello_timeout_ms,",
        "gateway.toml:15: links.idle_timeout_ms is 10, but must be a whole number of milliseconds",
        "gateway.toml:16: links.hello_timeout_ms must be a whole number of milliseconds from 1 to",
        "gateway.toml:17: links.allowed_origins.1 has no scheme",
        "gateway.toml:17: links.allowed_origins.2 must be an origin",
        "gateway.toml:19: resume.window_ms must be a whole number of milliseconds",
        "gateway.toml:20: link is no setting; there are name, listen, tls,",
        "gateway.toml:22: projects.0.key is not set; it must be 1 to 64 letters",
        "gateway.toml:23: projects.0.secrets must be a list of texts",
        "gateway.toml:25: projects.1.key must be 1 to 64 letters",
        "gateway.toml:26: projects.1.secrets.1 must be a text",
        "gateway.toml:27: projects.1.webhook.secret is not set",
        "gateway.toml:27: projects.1.webhook.url must be a URL",
        "gateway.toml:31: projects.2.limits.connections is 0, but must be",
        "gateway.toml:33: projects.3.key is the key of projects.2, too: 1",
        "gateway.toml:34: projects.3.public_keys.0 cannot be read: no/such.pub.pem",
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
fn every_line_that_is_no_toml_is_said() {
    let said =
        said("[links]\nhello_timeout_ms = soon\nidle_timeout_ms = 1\nidle_timeout_ms = 2\n[x\n");
    for line in ["gateway.toml:2: is no TOML", "gateway.toml:4: is no TOML", "gateway.toml:5:"] {
        assert!(said.iter().any(|it| it.starts_with(line)), "{line}: {said:#?}");
    }
    assert!(!said.join("").contains('`'), "{said:#?}");
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark_and_must_be_text() {
    assert_eq!(
        resolve("\u{feff}[links]\r\nidle_timeout_ms = 9000\r\n").unwrap().links.idle_timeout_ms,
        9000
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, b"[links]\nx = \"\xff\"\n").unwrap();
    let sources = Sources { config: Some(file), ..Sources::default() };
    let error = sources.resolve(&Config::default()).unwrap_err().to_string();
    assert!(error.contains("gateway.toml:2: is no UTF-8 text"), "{error}");
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
    flatten("", &read.value, &mut |key, _, tag| {
        from.insert(key.to_owned(), read.source_of(tag, key));
    });
    let file = file.display().to_string();
    assert_eq!(from["projects.0.key"], file);
    assert_eq!(from["projects.1.key"], file);
    assert_eq!(from["projects.1.secrets"], file);
    assert_eq!(from["process.threads"], "flag --threads");
    assert_eq!(from["process.pid_file"], "flag --pid-file");
    assert_eq!(from["links.drain_ms"], "default");
    let (config, _) = read.extract();
    let mistakes = read.locate(config.problems());
    let threads = mistakes.iter().find(|it| it.setting.as_deref() == Some("process.threads"));
    assert!(threads.unwrap().to_string().starts_with("flag --threads: process.threads is 0"));
}

#[test]
fn a_variable_that_says_one_thing_twice_is_a_mistake() {
    let mistake = |value| super::sources::said_twice("projects", value).map(|it| it.to_string());
    let twice = Some("SIGNALBOX_PROJECTS: projects must not say the same name twice".to_owned());
    assert_eq!(mistake(r#"[{key="1",secrets=["HUSH"],secrets=["b"]}]"#), twice);
    assert_eq!(mistake(r#"[{key="1",webhook={url="a",url="b"}}]"#), twice);
    for good in [r#"[{key="1",secrets=["a"]},{key="2",secrets=["a"]}]"#, "9000", "no TOML", ""] {
        assert_eq!(mistake(good), None, "{good}");
    }
}
