//! Help texts and errors.

use crate::{Gateway, run, stdout};

#[test]
fn errors_name_the_next_step() {
    let failure = |arguments: &[&str], part: &str| {
        let output = run(arguments);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{arguments:?}: {said}");
    };
    failure(&["serve"], "serve --dev");
    failure(&["serve", "--config", "no/such.toml"], "no/such.toml");
    failure(&["join", "quic://localhost"], "--token");
    failure(&["join", "http://localhost", "--token", "x"], "quic://HOST");
    failure(&["join", "wss://127.0.0.1:1", "--token", "x"], "cannot reach the gateway");
    failure(&["join", "quic://localhost", "--token", "x", "--ca", "no.pem"], "no.pem");
    failure(&["token", "--key", "a b", "--secret", "s", "--session", "x"], "project key");

    let gateway = Gateway::start();
    let (quic, tcp) = (gateway.text("/quic"), gateway.text("/https"));
    let dir = tempfile::tempdir().unwrap();
    let dev_dir = dir.path().to_str().unwrap();
    let dev = ["serve", "--dev", "--dev-dir", dev_dir];
    failure(&[&dev[..], &["--quic", quic, "--tcp", "127.0.0.1:0"]].concat(), "another program");
    failure(&[&dev[..], &["--quic", "127.0.0.1:0", "--tcp", tcp]].concat(), "another program");
    drop(gateway.process);
}

#[test]
fn every_help_has_an_example() {
    let help = |command: &[&str]| stdout(&run(&[command, &["--help"]].concat()));
    let overview = help(&[]);
    let (_, commands) = overview.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    // Further lines of a description are indented more.
    let entries = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let names: Vec<_> = entries
        .filter(|entry| !entry.starts_with(' '))
        .filter_map(|entry| entry.split_whitespace().next())
        .collect();
    assert!(names.len() > 8, "{overview}");
    for name in names {
        match name {
            "help" => {}
            "project" | "session" => assert!(help(&[name, "new"]).contains("Example"), "{name}"),
            "token" => {
                assert!(help(&[name]).contains("Example"), "{name}");
                assert!(help(&[name, "check"]).contains("Example"), "{name} check");
            }
            "cluster" => assert!(help(&[name, "status"]).contains("Example"), "{name}"),
            name => assert!(help(&[name]).contains("Example"), "{name}"),
        }
    }
    assert!(stdout(&run(&["completions", "bash"])).contains("signalbox"));
}
