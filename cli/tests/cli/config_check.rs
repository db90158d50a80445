//! `config check`: faults with their places, and differences from a file or a running gateway.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::{configured::Configured, signalbox};

fn check(file: &Path, arguments: &[&str]) -> Output {
    signalbox().args(["config", "check"]).arg(file).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

/// A copy of the gateway's configuration, with more at its end.
fn copy(gateway: &Configured, more: &str) -> PathBuf {
    let text = fs::read_to_string(&gateway.file).unwrap();
    let copy = gateway.dir.path().join("copy.toml");
    fs::write(&copy, text + more).unwrap();
    copy
}

#[test]
fn faults_have_a_place_and_a_missing_file_another_exit_code_than_a_mistake() {
    let gateway = Configured::start();
    let good = check(&gateway.file, &[]);
    assert_eq!((good.status.code(), &*said(&good)), (Some(0), "valid\n"));
    let bad = copy(&gateway, "[limits]\noutbox_bytes = 1\n[resume]\nstate_file = \"no/such\"\n");
    let lines = fs::read_to_string(&bad).unwrap().lines().count();
    let checked = check(&bad, &[]);
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
    let place = format!("copy.toml:{}: limits.outbox_bytes is 1, but must be", lines - 2);
    assert!(said(&checked).contains(&place), "{place}: {checked:?}");
    let json = check(&bad, &["--json"]);
    assert_eq!(json.status.code(), Some(78));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["valid"], &json["changes"]), (&false.into(), &Value::Array(vec![])));
    assert_eq!(json["problems"].as_array().unwrap().len(), 2, "{json}");

    let unmounted = copy(&gateway, "[resume]\nstate_file = \"no/such\"\n");
    for command in ["config", "serve"] {
        let output = signalbox().args([command, "--config"]).arg(&unmounted).output();
        assert_eq!(output.unwrap().status.code(), Some(1), "{command}");
    }
    assert_eq!(check(&unmounted, &[]).status.code(), Some(1));
}

#[test]
fn differences_from_a_file_and_from_a_running_gateway_are_the_same() {
    let gateway = Configured::start();
    let url = format!("http://{}", gateway.announcement["ops"].as_str().unwrap());
    let file = gateway.file.to_str().unwrap();
    let addresses: [(&str, &str); 3] = [
        ("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0"),
        ("SIGNALBOX_LISTEN__TCP", "127.0.0.1:0"),
        ("SIGNALBOX_OPS__LISTEN", "127.0.0.1:0"),
    ];
    let against = |checked: &Path, other: &str| {
        let mut command = signalbox();
        command.args(["config", "check"]).arg(checked).args(["--against", other]);
        command.envs(addresses).output().unwrap()
    };
    let same = against(&gateway.file, &url);
    assert_eq!((same.status.code(), &*said(&same)), (Some(0), "valid; nothing differs\n"));
    let reloadable = copy(&gateway, "[limits]\nconnections = 7\n");
    for other in [&*url, file] {
        let differs = against(&reloadable, other);
        assert_eq!(differs.status.code(), Some(0), "{differs:?}");
        let line = "  limits.connections: 250000 → 7 (at once)\n";
        assert!(said(&differs).ends_with(line), "{differs:?}");
    }
    let more = "secrets = [\"HUSH\"]\nkey = \"2\"\n[process]\nthreads = 2\n";
    let restart = copy(&gateway, &format!("[[projects]]\n{more}"));
    for other in [&*url, file] {
        let differs = against(&restart, other);
        assert_eq!(differs.status.code(), Some(3), "{differs:?}");
        let text = said(&differs);
        assert!(text.contains("3 settings differ, of which 1 needs a restart"), "{text}");
        assert!(text.contains("  process.threads: 1 → 2 (after a restart)"), "{text}");
        assert!(text.contains("  projects.2.key: not set → \"2\" (at once)"), "{text}");
        assert!(!text.contains("HUSH"), "{text}");
    }
    let nobody = against(&restart, "http://127.0.0.1:1");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(said(&nobody).contains("nothing listens there"), "{nobody:?}");
}
