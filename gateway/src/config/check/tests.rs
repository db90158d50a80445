//! Every mistake that a gateway would not start with, one by one and together.

use super::*;
use crate::config::{Limits, Links, OwnLimits, Process, Resume, Webhook};

const SECRET: &str = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";

/// Made with: openssl genrsa 1024 | openssl rsa -pubout
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDqk6D/gbnJrtb0Tx9+Ga6FEmJ9\n\
cc2q2bAOnDXAYYrkR5zHMGbndOcASRkZVg+UOX64ZQEHpn3qKo56tpB+RmnYddX+\n\
4/Zt+I99EiJ3g+ZBONo6L1RGHL3caW+ysS+rUFUzJOxdZ+yj7cZQkpBNPkevh5AK\n\
ZwbEovUmJxeJNTM2HQIDAQAB\n\
-----END PUBLIC KEY-----\n";

fn project(key: &str) -> ProjectEntry {
    ProjectEntry::with_secret(key.parse().unwrap(), "secret")
}

/// Whose public keys these are.
fn application(keys: &[&str]) -> ProjectEntry {
    let public_keys = keys.iter().map(ToString::to_string).collect();
    ProjectEntry { secrets: vec![], public_keys, ..project("1") }
}

fn hook(url: &str, secret: &str) -> ProjectEntry {
    let webhook = Some(Webhook { url: url.into(), secret: secret.into() });
    ProjectEntry { webhook, ..project("1") }
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
    assert_eq!(config.problems(), []);
    (config, dir)
}

fn application_of_its_own() -> ProjectEntry {
    let key = signalbox_certs::ApplicationKey::generate().unwrap();
    ProjectEntry { key: "2".parse().unwrap(), ..application(&[&key.public_pem]) }
}

type Change = fn(&mut Config);

/// What is changed, and the setting and a part of the text that must be said, and nothing else.
const CASES: &[(Change, &str, &str)] = &[
    (|it| it.links.hello_timeout_ms = 0, "links.hello_timeout_ms", "milliseconds from 1 to"),
    (|it| it.links.hello_timeout_ms = u64::MAX, "links.hello_timeout_ms", "to 3600000"),
    (|it| it.links.http_keep_alive_ms = 999, "links.http_keep_alive_ms", "from 1000 to"),
    (|it| it.links.idle_timeout_ms = 10, "links.idle_timeout_ms", "is 10, but must be"),
    (|it| it.links.idle_timeout_ms = u32::MAX, "links.idle_timeout_ms", "to 86400000"),
    (|it| it.links.drain_ms = u64::MAX, "links.drain_ms", "to 86400000"),
    (|it| it.links.drain_notice_ms = u64::MAX, "links.drain_notice_ms", "milliseconds"),
    (|it| it.links.drain_spread_ms = u64::MAX, "links.drain_spread_ms", "milliseconds"),
    (|it| it.resume.window_ms = u32::MAX, "resume.window_ms", "0 means not at all"),
    (|it| it.process.threads = 0, "process.threads", "from 1 to 1024"),
    (|it| it.process.threads = 1 << 40, "process.threads", "from 1 to 1024"),
    (|it| it.limits.handshakes = 0, "limits.handshakes", "from 1 to 1000000"),
    (|it| it.limits.handshakes = 1 << 61, "limits.handshakes", "from 1 to 1000000"),
    (|it| it.limits.server_connections = 1 << 61, "limits.server_connections", "to 1000000"),
    (|it| it.limits.connections_per_session = 0, "limits.connections_per_session", "at least 1"),
    (|it| it.limits.outbox_bytes = 1, "limits.outbox_bytes", "bytes, at least 65536"),
    (|it| it.limits.streams_per_link = 0, "limits.streams_per_link", "at least 1"),
    (|it| it.tls.certificate = None, "tls.certificate", "is not set"),
    (|it| it.tls.key = None, "tls.key", "is not set"),
    (|it| it.tls.certificate = Some("no/such.pem".into()), "tls.certificate", "does not exist"),
    (|it| it.tls.key = Some("no/such.pem".into()), "tls.key", "no/such.pem does not exist"),
    (|it| it.resume.state_file = Some("not/there/state".into()), "resume.state_file", "not exist"),
    (|it| it.resume.state_file = Some("/".into()), "resume.state_file", "names no file"),
    (|it| it.resume.state_file = Some("/tmp".into()), "resume.state_file", "is a directory"),
    // In which nobody can make a file, not even root.
    (|it| it.resume.state_file = Some("/proc/state".into()), "resume.state_file", "can write no"),
    (|it| it.process.pid_file = Some("/proc/pid".into()), "process.pid_file", "can write no file"),
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
    (|it| it.projects[0] = application(&["/dev/null"]), "projects.0.public_keys.0", "is no PEM"),
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
];

#[test]
fn each_mistake_is_named_alone() {
    let (good, _dir) = good();
    for (change, setting, part) in CASES {
        let mut config = good.clone();
        change(&mut config);
        match config.problems().as_slice() {
            [problem] => {
                assert_eq!(problem.setting, *setting, "{problem}");
                assert!(problem.problem.contains(part), "{setting}: {problem}");
                for jargon in ["`", "u32", "u64", "usize"] {
                    assert!(!problem.problem.contains(jargon), "{problem}");
                }
            }
            problems => panic!("{setting}: {problems:#?}"),
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut projects = vec![project("1"), project("1"), hook("ftp://a", "hush")];
    projects.push(ProjectEntry {
        limits: OwnLimits { connections: Some(0), sessions: Some(0), ..OwnLimits::default() },
        ..application(&["no/such/file", "-----BEGIN"])
    });
    let config = Config {
        projects,
        limits: Limits { outbox_frames: 0, ..Limits::default() },
        links: Links { allowed_origins: vec!["a".into(), "b".into()], ..Links::default() },
        resume: Resume { state_file: Some("no/such/file".into()), ..Resume::default() },
        process: Process { threads: 0, ..Process::default() },
        ..Config::default()
    };
    let problems = config.problems();
    let mut settings: Vec<_> = problems.iter().map(|problem| problem.setting.as_str()).collect();
    settings.sort_unstable();
    assert_eq!(
        settings,
        [
            "limits.outbox_frames",
            "links.allowed_origins.0",
            "links.allowed_origins.1",
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
    let problems = config.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].setting, "tls.key");
    assert!(problems[0].problem.contains("does not belong"), "{problems:?}");
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
fn origins_that_no_browser_sends_are_refused() {
    for origin in [
        "*",
        "null",
        "https://app.example.com",
        "HTTPS://App.Example.Com",
        "http://localhost:3000",
        "https://[::1]:8443",
        "https://[::1]",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ] {
        assert_eq!(check_origin(origin), Ok(()), "{origin}");
    }
    for (origin, part) in [
        ("", "no scheme"),
        ("app.example.com", "no scheme"),
        ("//app.example.com", "no scheme"),
        ("://app.example.com", "no scheme"),
        ("https://app.example.com/", "write \"https://app.example.com\""),
        ("https://app.example.com/app", "has a path"),
        ("https://app.example.com/app/", "has a path"),
        ("https://app.example.com?x", "has a path"),
        ("https://*.example.com", "has a * in it"),
        ("https://*", "has a * in it"),
        ("https://", "no host"),
        ("https:///", "has a path"),
        ("https://me@example.com", "user's name"),
        ("https://app.example.com:443", "write \"https://app.example.com\""),
        ("http://localhost:80", "write \"http://localhost\""),
        ("https://app.example.com:port", "port"),
        ("https://app.example.com:99999", "port"),
        ("https://app.example.com ", "character"),
        ("https://b\u{fc}cher.example", "xn--"),
    ] {
        let said = check_origin(origin).unwrap_err();
        assert!(said.contains(part), "{origin:?}: {said}");
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let mut entry = ProjectEntry::with_secret("1".parse().unwrap(), "hush");
    entry.webhook = Some(Webhook { url: "https://example.com".into(), secret: SECRET.into() });
    let config = Config { projects: vec![entry], ..Config::default() };
    let shown = format!("{config:?} {:?} {:?}", config.projects(), config.projects[0].webhook);
    assert!(!shown.contains("hush") && !shown.contains("aHVz"), "{shown}");
}
