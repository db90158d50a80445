//! `serve --dev --chaos`: the guarantees of the protocol hold with injected faults.

use std::{
    io::{BufRead, BufReader},
    sync::mpsc,
    time::Instant,
};

use crate::{Gateway, Process, TIMEOUT, run, talking_clients::TalkingClients};

/// Starts a gateway with injected faults, and reads its log.
fn chaotic(spec: &str, idle_timeout_ms: &str) -> (Gateway, mpsc::Receiver<String>) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Gateway::serve_command(dir.path(), "json");
    command.args(["--chaos", spec]).env("SIGNALBOX_TIMEOUTS__IDLE_MS", idle_timeout_ms);
    let mut process = Process::start(&mut command);
    // A full channel blocks the reader of the log, and then the gateway: the test fails by its timeout.
    let (sender, log) = mpsc::sync_channel(100_000);
    let stderr = process.child.stderr.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let announcement = process.event();
    (Gateway { process, announcement, _dir: dir }, log)
}

#[test]
fn through_chaos_nothing_is_lost_and_nothing_comes_twice() {
    const CLIENTS: usize = 4;
    let (gateway, log) = chaotic("cut=4s,delay=20ms,drop=0.03,seed=7", "1500");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut talking_clients =
        runtime.block_on(TalkingClients::join_with_patience(&gateway, CLIENTS));
    // Until links of both transports have been cut often, and packets have been lost.
    let began = Instant::now();
    let mut acts = Vec::new();
    let done = |acts: &[String]| {
        let count = |parts: [&str; 2]| {
            acts.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
        };
        count(["link cut", "quic"]) >= 4
            && count(["link cut", "tcp"]) >= 4
            && count(["datagram dropped", "to gateway"]) >= 10
            && count(["datagram dropped", "to client"]) >= 10
            && count(["link stalled", ""]) >= 2
    };
    while !done(&acts) {
        runtime.block_on(talking_clients.hear_each_other());
        acts.extend(log.try_iter());
        assert!(began.elapsed() < 6 * TIMEOUT, "too little chaos:\n{}", acts.join("\n"));
    }
    let seen = runtime.block_on(talking_clients.leave());
    let mut returns = 0;
    for client in &seen {
        // In particular no gap, and no number of a sender missing or repeated.
        assert_eq!(client.wrong, [""; 0]);
        assert_eq!(client.rejoined, 0, "{:?}", client.left);
        assert_eq!(client.heard.len(), CLIENTS);
        returns += client.resumed;
    }
    assert!(returns >= 8, "{returns}");
}

#[test]
fn chaos_is_announced_with_the_gateways_own_addresses() {
    let (gateway, _log) = chaotic("cut=0,delay=0,drop=0.25,seed=7", "5000");
    assert_eq!(gateway.text("/chaos/spec"), "cut=0ms,delay=0ms,drop=0.25,seed=7");
    assert_ne!(gateway.text("/chaos/quic"), gateway.text("/quic"));
    let url = format!("https://{}/readyz", gateway.text("/chaos/https"));
    let curl = ["--silent", "--show-error", "--fail", "--cacert", gateway.text("/ca"), &url];
    let output = std::process::Command::new("curl").args(curl).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let dir = tempfile::tempdir().unwrap();
    let mut command = Gateway::serve_command(dir.path(), "text");
    let mut process = Process::start(command.arg("--chaos"));
    process.line_with("CHAOS");
    process.line_with("--chaos cut=20000ms,delay=100ms,drop=0.02,seed=");
}

#[test]
fn chaos_is_for_development_only_and_its_mistakes_are_named() {
    for (arguments, part) in [
        (&["serve", "--chaos"][..], "--dev"),
        (&["serve", "--dev", "--chaos", "cut=10"], "cut=10s"),
    ] {
        let output = run(arguments);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{said}");
    }
}
