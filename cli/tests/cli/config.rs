//! Faults of a configuration: `config` and `serve` report the same ones, all at once.

use serde_json::{Value, json};

use crate::{run, signalbox};

const BAD: &str = "\
[limits]
pending_handshakes = 4611686018427387904
[[projects]]
key = \"1\"
secrets = [\"hush\"]
[[projects]]
key = \"1\"
secrets = [\"hush\"]
";

#[test]
fn config_and_serve_report_the_same_faults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, BAD).unwrap();
    let said = |command: &str| {
        let output = signalbox()
            .args([command, "--threads", "0", "--config"])
            .arg(&file)
            .env("SIGNALBOX_TIMEOUTS__IDLE_MS", "10")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (config, serve) = (said("config"), said("serve"));
    assert_eq!(config, serve);
    let path = file.display();
    for part in [
        format!("\n  {path}:2: limits.pending_handshakes is 4611686018427387904, but must be"),
        format!("\n  {path}:7: projects.1.key is the key of projects.0, too: 1"),
        "\n  SIGNALBOX_TIMEOUTS__IDLE_MS: timeouts.idle_ms is 10, but must be".into(),
        "\n  flag --threads: process.threads is 0, but must be".into(),
        "\n  tls.certificate is not set".into(),
        "\n  tls.key is not set".into(),
    ] {
        assert!(config.contains(&part), "{part}: {config}");
    }
    assert_eq!(config.lines().count(), 7, "{config}");
}

#[test]
fn problems_are_in_the_json_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, BAD).unwrap();
    let output = run(&["config", "--json", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = json["problems"].as_array().unwrap();
    let handshakes =
        problems.iter().find(|it| it["setting"] == "limits.pending_handshakes").unwrap();
    assert_eq!(handshakes["kind"], "outOfRange");
    assert_eq!(handshakes["source"], json!({ "file": { "path": file, "line": 2 } }));
    assert!(handshakes["message"].as_str().unwrap().contains("1000000"));
    let source = &json["projects.1.key"]["source"];
    assert_eq!(*source, json!({ "file": { "path": file, "line": 7 } }));
    assert_eq!(json["timeouts.idle_ms"]["source"], "default");
}

#[test]
fn the_log_is_not_turned_off_by_a_mistake() {
    for level in ["inof", "info,signalbox_gateway=debg", "inof,signalbox_gateway=debug"] {
        // Without it, this one fails for another reason.
        let mut command = signalbox();
        command.args(["send", "wss://127.0.0.1:1", "--token", "x"]).env("SIGNALBOX_LOG", level);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("SIGNALBOX_LOG")
                && said.contains("off, error, warn, info, debug or trace"),
            "{said}"
        );
    }
}

#[test]
fn the_default_file_is_a_configuration_that_only_lacks_a_certificate() {
    let output = run(&["config", "--default"]);
    assert!(output.status.success());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, output.stdout).unwrap();
    let output = run(&["config", "--json", "--config", file.to_str().unwrap()]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = json["problems"].as_array().unwrap();
    let settings: Vec<_> = problems.iter().map(|it| it["setting"].as_str().unwrap()).collect();
    assert_eq!(settings, ["tls.certificate", "tls.key"]);
    assert_eq!(json["timeouts.idle_ms"]["value"], 30_000);
}

#[test]
fn config_prints_the_source_of_each_value() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let toml = "[timeouts]\nidle_ms = 9000\n[[projects]]\nkey = \"1\"\nsecrets = [\"hush\"]\n";
    std::fs::write(&file, toml).unwrap();
    let output = signalbox()
        .args(["config", "--tcp", "127.0.0.1:9", "--config"])
        .arg(&file)
        .env("SIGNALBOX_LIMITS__OUTBOX_FRAMES", "77")
        .env("SIGNALBOX_NAME", "gw-1")
        .output()
        .unwrap();
    // A certificate is missing, but the rest is shown.
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stdout).unwrap();
    let line = |part: &str| said.lines().find(|line| line.starts_with(part)).unwrap_or_default();
    assert!(line("timeouts.idle_ms = 9000").contains("gateway.toml"), "{said}");
    assert!(
        line("limits.outbox_frames = 77").contains("SIGNALBOX_LIMITS__OUTBOX_FRAMES"),
        "{said}"
    );
    assert!(line("name = \"gw-1\"").contains("SIGNALBOX_NAME"), "{said}");
    assert!(line("listen.tcp = \"127.0.0.1:9\"").contains("flag"), "{said}");
    assert!(line("drain.timeout_ms = 10000").contains("default"), "{said}");
    assert!(!said.contains("hush"), "secrets are not shown");
}
