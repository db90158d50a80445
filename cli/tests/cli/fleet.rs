//! `serve --dev --gateways`: a nats-server and several gateways as child processes.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{Process, TIMEOUT, gateway::with_default_signals, signalbox};

/// The command, with ports that the system chooses.
fn fleet(dir: &Path) -> Command {
    let mut command = signalbox();
    command
        .args(["serve", "--dev", "--gateways", "2", "--announce", "json", "--dev-dir"])
        .arg(dir)
        .env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0")
        .env("SIGNALBOX_LISTEN__TCP", "127.0.0.1:0")
        .env("XDG_RUNTIME_DIR", dir);
    with_default_signals(&command)
}

/// The process ids of the children: NATS first, then the gateways.
fn children(announcement: &Value) -> Vec<u64> {
    let gateways = announcement["gateways"].as_array().unwrap().iter();
    let gateways = gateways.map(|gateway| &gateway["pid"]);
    std::iter::once(&announcement["natsPid"])
        .chain(gateways)
        .map(|it| it.as_u64().unwrap())
        .collect()
}

/// Waits until a process has ended. A killed parent leaves it to the system to reap it.
fn ended(pid: u64) {
    let deadline = std::time::Instant::now() + TIMEOUT;
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    while state().is_ok_and(|it| !it.rsplit(')').next().unwrap().starts_with(" Z")) {
        assert!(std::time::Instant::now() < deadline, "process {pid} is left");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_survives_one_gateway_and_ctrl_c_ends_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&mut fleet(dir.path()));
    let announcement = process.event();
    let children = children(&announcement);
    let name = |at: usize| announcement["gateways"][at]["name"].as_str().unwrap();
    // The session is on both, so it outlives one of them.
    let [mut other, mut client] = [1, 0].map(|at| {
        let mut join = signalbox();
        join.args(["join", "--dev", "--json", "--gateway", name(at)]);
        let mut client = Process::start(join.env("XDG_RUNTIME_DIR", dir.path()));
        assert_eq!(client.event()["event"], "sessionConnected");
        client
    });
    client.type_line("resumable");
    client.line_with("resumable");
    let kill = |signal: &str, pid: u64| {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    };
    kill("-9", children[1]);
    client.line_with("sessionReconnected");
    client.type_line("still here");
    other.line_with("still here");
    let name = name(0);

    process.signal("-INT");
    let log = process.stderr();
    assert!(process.succeeds());
    children.into_iter().for_each(ended);
    let log = log.join().unwrap();
    assert!(log.contains(&format!("{name} (process ")) && log.contains("signal: 9"), "{log}");
    assert!(log.contains(&format!("{name} | ")), "its log has its name: {log}");
    assert!(!dir.path().join("signalbox/dev.json").exists());
}

#[test]
fn children_end_when_their_parent_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&mut fleet(dir.path()));
    let children = children(&process.event());
    assert_eq!(children.len(), 3);
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    children.into_iter().for_each(ended);
}
