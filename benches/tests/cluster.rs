//! Clusters of gateways, with tiny numbers: signals between gateways, and the kill of one. Needs
//! nats-server, and the gateway beside the benchmark's program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its answer")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use serde_json::Value;
use signalbox_loadgen::peer::{Peer, PeerKind, nodes::SocketIoNodes};
use signalbox_test_harness::{Requirement, run, trials};

fn main() -> ExitCode {
    let gateways = Requirement { name: "peers", unavailable };
    let nodes = Requirement { name: "peers", unavailable: nodes_unavailable };
    let mut all = trials![
        gateways;
        signals_between_gateways,
        clients_of_a_killed_gateway,
        an_interrupted_measurement_ends_its_gateways,
    ];
    all.extend(trials![nodes; signals_between_nodes_of_socket_io]);
    run(all)
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_signalbox-bench"))
}

fn unavailable() -> Option<String> {
    if let Err(error) = Peer::find(PeerKind::Nats) {
        return Some(format!("{error:#}"));
    }
    let gateway = program().with_file_name("signalbox");
    (!gateway.is_file()).then(|| "needs the gateway: cargo build -p signalbox".to_owned())
}

fn nodes_unavailable() -> Option<String> {
    unavailable().or_else(|| SocketIoNodes::find(2, 2).err().map(|error| format!("{error:#}")))
}

/// The rows of a scenario.
fn measure(scenario: &str, flags: &[&str]) -> Vec<Value> {
    let output = Command::new(program())
        .args([scenario, "--repeat", "1", "--json"])
        .args(flags)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report[scenario]["rows"].as_array().unwrap().clone()
}

const CLUSTER: [&str; 12] = [
    "--seconds",
    "0.5",
    "--warm-up",
    "0.1",
    "--rate",
    "20",
    "--members",
    "6",
    "--deliveries",
    "120",
    "--gateways",
    "1,3",
];

/// Every signal is counted, and each process has its figure.
fn signals_between_gateways() {
    let rows = measure("cluster", &CLUSTER);
    let rounds: Vec<_> = rows.iter().map(|row| &row["rounds"][0]).collect();
    let processes = |it: &&Value| it["processes_us_per_delivery"].as_array().unwrap().len();
    let (single, mesh) = (10, 60);
    // Requests; one and two of two gateways over QUIC and WebSocket; one and three gateways.
    let deliveries: Vec<_> = rounds.iter().map(|it| it["deliveries"].as_u64().unwrap()).collect();
    assert_eq!(deliveries, [single, single, single, single, single, mesh, mesh, mesh, mesh]);
    let processes: Vec<_> = rounds.iter().map(processes).collect();
    assert_eq!(processes, [2, 3, 3, 3, 3, 2, 4, 2, 4]);
}

fn signals_between_nodes_of_socket_io() {
    let flags = [&CLUSTER[..], &["--transport", "wss", "--compare-with-socket-io"]].concat();
    let rows = measure("cluster", &flags);
    let nodes = |it: &&Value| it["transport"].as_str().unwrap().starts_with("Socket.IO");
    let nodes: Vec<_> = rows.iter().filter(nodes).collect();
    assert_eq!(nodes.len(), 4);
    assert_eq!(nodes[1]["rounds"][0]["deliveries"], 10, "{}", nodes[1]);
    assert_eq!(nodes[3]["rounds"][0]["deliveries"], 60, "{}", nodes[3]);
}

/// All clients resume or are announced as gone, and nothing is lost.
fn clients_of_a_killed_gateway() {
    let rows = measure("failover", &["--connections", "15", "--idle", "1", "--rate", "60"]);
    assert_eq!(rows.len(), 4);
    for row in rows {
        let round = &row["rounds"][0];
        let count = |name: &str| round[name].as_array().unwrap().len();
        // The others of both sessions are told of each client that cannot be resumed.
        let expected = if row["clients"] == "resumable" { (15, 0) } else { (0, 30) };
        assert_eq!((count("each_ms"), count("destroyed_ms")), expected, "{row}");
        assert!(round["signals"].as_u64().unwrap() > 100, "{row}");
        for fault in ["not_resumed", "presence", "not_once", "silent", "duplicates"] {
            assert_eq!(round[fault], 0, "{fault}: {row}");
        }
    }
}

/// The processes that this one has started.
fn children(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
    let children = tasks.map(|task| of(task.unwrap()).unwrap_or_default());
    children.collect::<String>().split_whitespace().map(str::to_owned).collect()
}

fn an_interrupted_measurement_ends_its_gateways() {
    let mut bench = Command::new(program());
    // Its clients need the idle timeout to notice, half a minute.
    bench.args(["failover", "--transport", "quic", "--connections", "10"]);
    let mut bench = bench.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(bench.stderr.take().unwrap()).lines();
    assert!(progress.any(|line| line.unwrap().contains("0 of 10 clients are back")));
    // One gateway has been killed.
    let mut started = children(bench.id());
    assert_eq!(started.len(), 3, "two gateways and nats-server");
    let id = bench.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    bench.wait().unwrap();
    started.retain(|pid| Path::new("/proc").join(pid).exists());
    assert_eq!(started, [""; 0], "processes that the benchmark has left behind");
}
