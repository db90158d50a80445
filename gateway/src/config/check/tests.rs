//! Every fault with which a gateway does not start, one by one and all together.

use std::collections::BTreeSet;

use super::*;
use crate::{
    Gateway, Projects,
    config::{
        AcmeConfig, AuthConfig, ConnectWebhookConfig, LimitsConfig, ProcessConfig, ProjectConfig,
        ResumeConfig, WebhookConfig,
    },
};

const SECRET: &str = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";

/// Made with: openssl genrsa 1024 | openssl rsa -pubout
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDqk6D/gbnJrtb0Tx9+Ga6FEmJ9\n\
cc2q2bAOnDXAYYrkR5zHMGbndOcASRkZVg+UOX64ZQEHpn3qKo56tpB+RmnYddX+\n\
4/Zt+I99EiJ3g+ZBONo6L1RGHL3caW+ysS+rUFUzJOxdZ+yj7cZQkpBNPkevh5AK\n\
ZwbEovUmJxeJNTM2HQIDAQAB\n\
-----END PUBLIC KEY-----\n";

fn project(key: &str) -> ProjectConfig {
    ProjectConfig::with_secret(key.parse().unwrap(), "secret")
}

/// A project with these public keys.
fn application(keys: &[&str]) -> ProjectConfig {
    let public_keys = keys.iter().map(ToString::to_string).collect();
    ProjectConfig { secrets: vec![], public_keys, ..project("1") }
}

fn hook(url: &str, secret: &str) -> ProjectConfig {
    let webhook = Some(WebhookConfig { url: url.into(), secret: secret.into() });
    ProjectConfig { webhook, ..project("1") }
}

/// A project with a changed connect webhook.
fn asks(change: fn(&mut ConnectWebhookConfig)) -> ProjectConfig {
    let mut webhook = ConnectWebhookConfig::new("http://a", SECRET);
    change(&mut webhook);
    ProjectConfig { connect_webhook: Some(webhook), ..project("1") }
}

/// A configuration with which a gateway starts, and its directory.
fn good() -> (Config, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let authority =
        signalbox_certs::DevAuthority::open(dir.path(), std::time::SystemTime::now()).unwrap();
    let mut config = Config::default();
    config.tls.certificate = Some(authority.certificate_path().to_owned());
    config.tls.key = Some(authority.key_path().to_owned());
    config.projects = vec![project("1"), application_of_its_own()];
    assert_eq!(Gateway::check(&config), []);
    (config, dir)
}

fn application_of_its_own() -> ProjectConfig {
    let key = signalbox_certs::ApplicationKey::generate().unwrap();
    ProjectConfig { key: "2".parse().unwrap(), ..application(&[&key.public_pem]) }
}

/// A certificate by ACME instead of files, with a change.
fn acme(config: &mut Config, change: impl FnOnce(&mut AcmeConfig)) {
    (config.tls.certificate, config.tls.key) = (None, None);
    config.tls.acme = AcmeConfig {
        domains: vec!["signal.example.com".into()],
        terms_of_service_agreed: true,
        storage: Some("/tmp/not-there-yet".into()),
        ..AcmeConfig::default()
    };
    change(&mut config.tls.acme);
}

type Change = fn(&mut Config);

/// A change, the only setting that must be reported then, and a part of its text.
const CASES: &[(Change, &str, &str)] = &[
    (|it| it.timeouts.hello_ms = 0, "timeouts.hello_ms", "milliseconds from 1 to"),
    (|it| it.timeouts.hello_ms = u64::MAX, "timeouts.hello_ms", "to 3600000"),
    (|it| it.timeouts.http_keep_alive_ms = 999, "timeouts.http_keep_alive_ms", "from 1000 to"),
    (|it| it.timeouts.idle_ms = 10, "timeouts.idle_ms", "is 10, but must be"),
    (|it| it.timeouts.idle_ms = u32::MAX, "timeouts.idle_ms", "to 86400000"),
    (|it| it.drain.timeout_ms = u64::MAX, "drain.timeout_ms", "to 86400000"),
    (|it| it.drain.readiness_delay_ms = u64::MAX, "drain.readiness_delay_ms", "milliseconds"),
    (|it| it.drain.spread_ms = u64::MAX, "drain.spread_ms", "milliseconds"),
    (|it| it.resume.gateways = vec!["a".into()], "resume.gateways.0", "none of the schemes"),
    (
        |it| it.resume.gateways = vec!["quic://a".into(); 17],
        "resume.gateways",
        "17 URLs, more than",
    ),
    (|it| it.resume.window_ms = u32::MAX, "resume.window_ms", "0 means not at all"),
    (
        |it| it.ops.listen = Some(([0, 0, 0, 0], 9).into()),
        "ops.listen",
        "set ops.token or ops.token_file",
    ),
    (|it| it.ops.token = Some("short".to_owned().into()), "ops.token", "must be 16 to 512 visible"),
    (
        |it| it.ops.token = Some("sixteen characters".to_owned().into()),
        "ops.token",
        "without spaces",
    ),
    (
        |it| it.ops.token_file = Some("/nowhere/token".into()),
        "ops.token_file",
        "cannot be read: /nowhere/token",
    ),
    (
        |it| {
            it.ops.token = Some("0123456789abcdef".to_owned().into());
            it.ops.token_file = Some("/nowhere/token".into());
        },
        "ops.token",
        "remove one",
    ),
    (|it| it.tracing.endpoint = Some("127.0.0.1:4318".into()), "tracing.endpoint", "must be a URL"),
    (
        |it| it.tracing.endpoint = Some("grpc://a:4317".into()),
        "tracing.endpoint",
        "begins with https:// or",
    ),
    (|it| it.tracing.sample_one_in = 0, "tracing.sample_one_in", "from 1 to 1000000"),
    (|it| it.process.threads = 0, "process.threads", "from 1 to 1024"),
    (|it| it.process.threads = 1 << 40, "process.threads", "from 1 to 1024"),
    (|it| it.limits.pending_handshakes = 0, "limits.pending_handshakes", "from 1 to 1000000"),
    (|it| it.limits.pending_handshakes = 1 << 61, "limits.pending_handshakes", "from 1 to 1000000"),
    (
        |it| it.limits.http_keep_alive_connections = 1 << 61,
        "limits.http_keep_alive_connections",
        "to 1000000",
    ),
    (|it| it.limits.connections_per_session = 0, "limits.connections_per_session", "at least 1"),
    (|it| it.limits.outbox_bytes = 1, "limits.outbox_bytes", "bytes, at least 65536"),
    (|it| it.limits.streams_per_client = 0, "limits.streams_per_client", "at least 1"),
    (|it| it.tls.certificate = None, "tls.certificate", "is not set"),
    (|it| it.tls.key = None, "tls.key", "is not set"),
    (|it| it.tls.certificate = Some("no/such.pem".into()), "tls.certificate", "does not exist"),
    (|it| it.tls.key = Some("no/such.pem".into()), "tls.key", "no/such.pem does not exist"),
    (
        |it| acme(it, |acme| acme.terms_of_service_agreed = false),
        "tls.acme.terms_of_service_agreed",
        "must be true",
    ),
    (|it| acme(it, |acme| acme.storage = None), "tls.acme.storage", "is not set"),
    (
        |it| acme(it, |acme| acme.storage = Some("/proc/acme".into())),
        "tls.acme.storage",
        "cannot create",
    ),
    (
        |it| acme(it, |acme| acme.directory = "http://ca.example/".into()),
        "tls.acme.directory",
        "begins with https://",
    ),
    (
        |it| acme(it, |acme| acme.directory = "https://".into()),
        "tls.acme.directory",
        "names a host",
    ),
    (
        |it| acme(it, |acme| acme.domains = vec!["*.a.example".into()]),
        "tls.acme.domains.0",
        "is a wildcard",
    ),
    (
        |it| acme(it, |acme| acme.domains.push("192.0.2.1".into())),
        "tls.acme.domains.1",
        "is an IP address",
    ),
    (
        |it| acme(it, |acme| acme.domains.push("a..example".into())),
        "tls.acme.domains.1",
        "is not a domain name",
    ),
    (
        |it| acme(it, |acme| acme.domains = vec!["a.example".into(); 101]),
        "tls.acme.domains",
        "more than 100",
    ),
    (
        |it| acme(it, |acme| acme.contact = vec!["ops".into()]),
        "tls.acme.contact.0",
        "is not an e-mail address",
    ),
    (
        |it| acme(it, |acme| acme.ca = Some("no/such.pem".into())),
        "tls.acme.ca",
        "cannot be read: no/such.pem",
    ),
    (
        |it| {
            acme(it, |_| {});
            it.tls.plaintext_tcp = true;
        },
        "tls.plaintext_tcp",
        "must be false with tls.acme",
    ),
    (|it| it.resume.state_file = Some("not/there/state".into()), "resume.state_file", "not exist"),
    (|it| it.resume.state_file = Some("/".into()), "resume.state_file", "does not name a file"),
    (|it| it.resume.state_file = Some("/tmp".into()), "resume.state_file", "is a directory"),
    // In which nobody can make a file, not even root.
    (|it| it.resume.state_file = Some("/proc/state".into()), "resume.state_file", "cannot create"),
    (
        |it| it.process.pid_file = Some("/proc/pid".into()),
        "process.pid_file",
        "cannot create files",
    ),
    (|it| it.process.pid_file = Some("not/there/pid".into()), "process.pid_file", "not exist"),
    (|it| it.projects.push(project("1")), "projects.2.key", "is the key of projects.0, too: 1"),
    (|it| it.projects[0].secrets.clear(), "projects.0", "has no secret and no public key"),
    (|it| it.projects[0].secrets = vec![String::new()], "projects.0", "has no secret"),
    (|it| it.projects[1].secrets.push("x".into()), "projects.1", "only one kind"),
    (
        |it| it.projects[0].limits.connections = Some(0),
        "projects.0.limits.connections",
        "is 0, but must be a whole number of connections, at least 1",
    ),
    (
        |it| it.projects[0].limits.resume_window_ms = Some(u32::MAX),
        "projects.0.limits.resume_window_ms",
        "milliseconds",
    ),
    (
        |it| it.projects[0] = application(&["no/such.pem"]),
        "projects.0.public_keys.0",
        "cannot be read: no/such.pem",
    ),
    (|it| it.projects[0] = application(&["-----BEGIN"]), "projects.0.public_keys.0", "PEM"),
    (|it| it.projects[0] = application(&["/dev/null"]), "projects.0.public_keys.0", "is not PEM"),
    (|it| it.projects[0] = application(&[RSA_1024]), "projects.0.public_keys.0", "of 1024 bits"),
    (
        |it| {
            it.projects[0] =
                application(&["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]);
        },
        "projects.0.public_keys.0",
        "is a private key",
    ),
    (|it| it.projects[0] = hook("ftp://a", SECRET), "projects.0.webhook.url", "https://"),
    (|it| it.projects[0] = hook("/hook", SECRET), "projects.0.webhook.url", "https://"),
    (|it| it.projects[0] = hook("http://", SECRET), "projects.0.webhook.url", "https://"),
    (|it| it.projects[0] = hook("http://me:pw@a", SECRET), "projects.0.webhook.url", "password"),
    (|it| it.projects[0] = hook("http://a", "hush"), "projects.0.webhook.secret", "whsec_"),
    (|it| it.projects[0] = hook("http://a", "whsec_aHVzaA=="), "projects.0.webhook.secret", "24"),
    (
        |it| it.projects[0] = asks(|it| it.url = "ftp://a".into()),
        "projects.0.connect_webhook.url",
        "https://",
    ),
    (
        |it| it.projects[0] = asks(|it| it.timeout_ms = 4001),
        "projects.0.connect_webhook.timeout_ms",
        "milliseconds from 1 to 4000",
    ),
    (
        |it| it.projects[0] = asks(|it| it.max_waiting = 0),
        "projects.0.connect_webhook.max_waiting",
        "clients from 1 to",
    ),
];

#[test]
fn each_fault_is_reported_alone() {
    let (good, _dir) = good();
    for (change, setting, part) in CASES {
        let mut config = good.clone();
        change(&mut config);
        match Gateway::check(&config).as_slice() {
            [problem] => {
                assert_eq!(problem.setting, *setting, "{problem}");
                assert!(problem.kind.to_string().contains(part), "{setting}: {problem}");
                for jargon in ["`", "u32", "u64", "usize"] {
                    assert!(!problem.kind.to_string().contains(jargon), "{problem}");
                }
            }
            problems => panic!("{setting}: {problems:#?}"),
        }
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let mut projects = vec![project("1"), project("1"), hook("ftp://a", "hush")];
    projects.push(ProjectConfig {
        limits: ProjectLimitOverrides {
            connections: Some(0),
            sessions: Some(0),
            ..ProjectLimitOverrides::default()
        },
        ..application(&["no/such/file", "-----BEGIN"])
    });
    let config = Config {
        projects,
        limits: LimitsConfig { outbox_frames: 0, ..LimitsConfig::default() },
        auth: AuthConfig { allowed_origins: vec!["a".into(), "b".into()], ..AuthConfig::default() },
        resume: ResumeConfig { state_file: Some("no/such/file".into()), ..ResumeConfig::default() },
        process: ProcessConfig { threads: 0, ..ProcessConfig::default() },
        ..Config::default()
    };
    let problems = Gateway::check(&config);
    let mut settings: Vec<_> = problems.iter().map(|problem| problem.setting.as_str()).collect();
    settings.sort_unstable();
    assert_eq!(
        settings,
        [
            "auth.allowed_origins.0",
            "auth.allowed_origins.1",
            "limits.outbox_frames",
            "process.threads",
            "projects.1.key",
            "projects.2.key",
            "projects.2.webhook.secret",
            "projects.2.webhook.url",
            "projects.3.key",
            "projects.3.limits.connections",
            "projects.3.limits.sessions",
            "projects.3.public_keys.0",
            "projects.3.public_keys.1",
            "resume.state_file",
            "tls.certificate",
            "tls.key",
        ]
    );
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_named() {
    let ((mut config, _dir), (other, _other_dir)) = (good(), good());
    config.tls.key = other.tls.key;
    let problems = Gateway::check(&config);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].setting, "tls.key");
    assert!(problems[0].kind.to_string().contains("does not belong"), "{problems:?}");
}

#[test]
fn files_that_can_be_made_are_fine_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    for file in [Path::new("state"), &dir.path().join("state")] {
        assert_eq!(check_directory(file), Ok(()));
    }
    std::fs::write(dir.path().join("state.try"), "of one that was killed").unwrap();
    assert_eq!(check_directory(&dir.path().join("state")), Ok(()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(!Path::new("state.try").exists());
}

#[test]
fn secrets_are_not_in_debug_output() {
    let mut entry = ProjectConfig::with_secret("1".parse().unwrap(), "hush");
    entry.webhook =
        Some(WebhookConfig { url: "https://example.com".into(), secret: SECRET.into() });
    entry.connect_webhook = Some(ConnectWebhookConfig::new("https://example.com", SECRET));
    let config = Config { projects: vec![entry], ..Config::default() };
    let ProjectConfig { webhook, connect_webhook, .. } = &config.projects[0];
    let projects = Projects::from_config(&config);
    let shown = format!("{config:?} {projects:?} {webhook:?} {connect_webhook:?}");
    assert!(!shown.contains("hush") && !shown.contains("aHVz"), "{shown}");
}

/// The names of all settings that have a value.
fn names(path: &str, value: &serde_json::Value, found: &mut BTreeSet<String>) {
    if !path.is_empty() {
        found.insert(path.to_owned());
    }
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        serde_json::Value::Object(entries) => {
            entries.iter().for_each(|(name, value)| names(&join(name), value, found));
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| names(&join("0"), item, found));
        }
        _ => {}
    }
}

#[test]
fn the_accepted_values_of_every_setting_are_described() {
    let mut config = Config::default();
    config.projects.push(ProjectConfig {
        public_keys: vec!["key.pem".into()],
        limits: ProjectLimitOverrides {
            connections: Some(1),
            connections_per_user: Some(1),
            sessions: Some(1),
            signals_per_second: Some(1),
            resume_window_ms: Some(1),
        },
        webhook: Some(WebhookConfig { url: "x".into(), secret: "x".into() }),
        connect_webhook: Some(ConnectWebhookConfig::new("x", "x")),
        ..project("1")
    });
    let mut found = BTreeSet::new();
    names("", &serde_json::to_value(&config).unwrap(), &mut found);
    assert!(found.len() > 50, "{found:?}");
    let without: Vec<_> = found.iter().filter(|name| accepted(name).is_none()).collect();
    assert_eq!(without, Vec::<&String>::new());
    let webhook = accepted("projects.0.webhook").unwrap();
    assert_eq!(webhook, "a table that begins with [projects.webhook]");
    for name in ["", "limits.0", "timeouts.soon", "projects.key", "auth.allowed_origins.0.x"] {
        assert_eq!(accepted(name), None, "{name}");
    }
}

#[test]
fn the_defaults_are_within_their_bounds() {
    let problems = Config::default().check();
    assert!(
        problems.iter().all(|it| matches!(it.kind, ProblemKind::Missing { .. })),
        "{problems:?}"
    );
}

#[test]
fn a_certificate_comes_from_files_or_from_acme() {
    let (mut config, _dir) = good();
    let files = config.tls.clone();
    acme(&mut config, |_| {});
    assert_eq!(Gateway::check(&config), []);
    (config.tls.certificate, config.tls.key) = (files.certificate, files.key);
    let problems = Gateway::check(&config);
    let settings: Vec<_> = problems.iter().map(|it| it.setting.as_str()).collect();
    assert_eq!(settings, ["tls.certificate", "tls.key"], "{problems:?}");
    assert!(problems[0].to_string().contains("are both set: remove one"), "{problems:?}");
}
