//! `signalbox drain`: clients leave at spread times and come back after the restart.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;
use signalbox_client::CloseReason;

use crate::{Gateway, Process, TIMEOUT, run, signalbox, talking_clients::TalkingClients};

/// A gateway with its dev environment and its PID file in `dir`, optionally on the ports of an earlier one.
pub(crate) fn serve(
    dir: &Path,
    ports: Option<(&str, &str)>,
    environment: &[(&str, &str)],
) -> Gateway {
    let (quic, tcp) = ports.unwrap_or(("127.0.0.1:0", "127.0.0.1:0"));
    let mut command = signalbox();
    command.args(["serve", "--dev", "--announce", "json", "--quic", quic, "--tcp", tcp]);
    command.arg("--dev-dir").arg(dir.join("dev"));
    command.arg("--pid-file").arg(dir.join("pid"));
    let mut process = Process::start(command.envs(environment.iter().copied()));
    let announcement = process.event();
    Gateway { process, announcement, _dir: tempfile::tempdir().unwrap() }
}

fn drain(pid_file: &Path, arguments: &[&str]) -> Output {
    let mut command = signalbox();
    command.args(["drain", "--pid-file"]).arg(pid_file).args(arguments).output().unwrap()
}

/// The status of `/readyz`; 0 without an answer.
fn readiness(gateway: &Gateway) -> u16 {
    let url = format!("https://{}/readyz", gateway.text("/https"));
    let arguments = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"];
    let output =
        Command::new("curl").args(arguments).args(["--cacert", gateway.text("/ca"), &url]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().parse().unwrap()
}

#[test]
fn thirty_talking_clients_go_one_after_the_other_and_are_all_back_after_a_restart() {
    const CLIENTS: usize = 30;
    const SPREAD: Duration = Duration::from_secs(4);
    let dir = tempfile::tempdir().unwrap();
    let settings =
        [("SIGNALBOX_DRAIN__READINESS_DELAY_MS", "1000"), ("SIGNALBOX_DRAIN__SPREAD_MS", "4000")];
    let mut gateway = serve(dir.path(), None, &settings);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut talking_clients = runtime.block_on(TalkingClients::join(&gateway, CLIENTS));

    assert_eq!(readiness(&gateway), 200);
    gateway.process.terminate();
    let started = Instant::now();
    while readiness(&gateway) != 503 {
        assert!(started.elapsed() < TIMEOUT, "it never said so");
    }
    let said_so = Instant::now();
    assert!(gateway.process.child.wait().unwrap().success());
    let ports = (gateway.text("/quic").to_owned(), gateway.text("/https").to_owned());
    drop(gateway);
    let _successor = serve(dir.path(), Some((&ports.0, &ports.1)), &settings);
    runtime.block_on(talking_clients.hear_each_other());

    let seen = runtime.block_on(talking_clients.leave());
    let mut left = Vec::new();
    for client in &seen {
        assert_eq!(client.wrong, [""; 0]);
        assert_eq!(client.rejoined, 1, "{:?}", client.left);
        let [(at, reason)] = client.left[..] else { panic!("{:?}", client.left) };
        assert_eq!(reason, CloseReason::ShuttingDown);
        left.push(at);
    }
    left.sort();
    assert!(said_so < left[0], "first it is not ready, then they go");
    // Each leaves at half to three quarters of its time, which is at least a quarter of the whole.
    let took = left[CLIENTS - 1] - left[0];
    assert!(took > SPREAD / 4, "{took:?}");
    let crowd = left.windows(CLIENTS / 2).map(|half| half[half.len() - 1] - half[0]).min();
    assert!(crowd > Some(SPREAD / 10), "half of them went within {crowd:?}");
}

#[test]
fn a_gateway_is_drained_by_its_pid_file() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    // Clients that have left are not waited for, though they could resume for longer than this.
    let gateway = serve(dir.path(), None, &[("SIGNALBOX_DRAIN__TIMEOUT_MS", "60000")]);
    let mut member = gateway.join_json("quic");
    let output = drain(&pid_file, &["--json", "--timeout", "15s"]);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["event"], "draining");
    assert_eq!(lines[0]["pid"], gateway.process.child.id());
    assert_eq!(lines.last().unwrap()["event"], "ended");
    assert!(member.line_with("session").contains("sessionReconnecting"));
    assert!(gateway.process.succeeds());
    assert!(!pid_file.exists());

    // Text output, without clients: the gateway exits at once.
    let gateway = serve(dir.path(), None, &[("SIGNALBOX_DRAIN__SPREAD_MS", "8000")]);
    let started = Instant::now();
    let output = drain(&pid_file, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(String::from_utf8_lossy(&output.stdout).contains(" exited after "), "{output:?}");
    assert!(gateway.process.succeeds());
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("SIGNALBOX_DRAIN__READINESS_DELAY_MS", "60000"),
        ("SIGNALBOX_DRAIN__TIMEOUT_MS", "60000"),
        ("SIGNALBOX_DRAIN__SPREAD_MS", "60000"),
    ];
    let gateway = serve(dir.path(), None, &settings);
    let mut member = gateway.join_json("wss");
    let output = drain(&dir.path().join("pid"), &["--timeout", "1s"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("keeps draining"), "{said}");
    let started = Instant::now();
    gateway.process.signal("-INT");
    assert!(member.line_with("session").contains("shuttingDown"));
    assert!(gateway.process.succeeds());
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
}

#[test]
fn only_a_gateway_is_drained() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let check = |content: Option<String>, part: &str| {
        if let Some(content) = content {
            std::fs::write(&pid_file, content).unwrap();
        }
        let output = drain(&pid_file, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{part}: {said}");
    };
    check(None, "cannot read the PID file");
    check(Some(String::new()), "is not a PID file");
    check(Some("-1".into()), "is not a PID file");
    check(Some("0".into()), "no process 0");
    // The id of an exited process is not reused for a while.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    check(Some(format!("{}\n", ended.id())), "left behind by a gateway that crashed");
    // Other programs, one of them with the argument `serve`.
    std::fs::write(dir.path().join("serve"), "while read line; do echo \"$line\"; done").unwrap();
    let mut script = Command::new("sh");
    let mut others = [&mut Command::new("cat"), script.arg("serve").current_dir(dir.path())];
    let mut others = others.each_mut().map(|command| Process::start(command));
    for other in &mut others {
        check(Some(format!("{}\n", other.child.id())), "was not signalled");
        other.type_line("still here");
        assert_eq!(other.line(), "still here");
    }
    // Another command of this program is no gateway, either.
    let gateway = Gateway::start();
    let member = gateway.join_json("quic");
    check(Some(member.child.id().to_string()), "was not signalled");
    let by_id = run(&["drain", "--pid", &gateway.process.child.id().to_string()]);
    assert!(by_id.status.success(), "{by_id:?}");
    let again = run(&["drain", "--pid", &others[0].child.id().to_string(), "--pid-file", "x"]);
    assert!(!again.status.success(), "one of the two");
    let neither = run(&["drain"]);
    assert!(String::from_utf8_lossy(&neither.stderr).contains("--pid-file"), "{neither:?}");
}
