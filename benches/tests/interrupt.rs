//! An interrupted run shows its finished rounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its answer")]

mod gateway;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use serde_json::Value;

#[test]
fn finished_rounds_are_shown_when_a_run_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let (url, token) = gateway::start(dir.path(), "wss");
    let page = dir.path().join("page.html");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_signalbox-bench"));
    bench
        .args(["latency", "--target", &url, "--token", &token, "--ca"])
        .arg(dir.path().join("ca.pem"));
    bench.args(["--seconds", "0.3", "--warm-up", "0.1", "--repeat", "1000", "--json", "--report"]);
    bench.arg(&page).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut bench = bench.spawn().unwrap();
    let mut progress = BufReader::new(bench.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("latency 2/1000") {
        line.clear();
        assert_ne!(progress.read_line(&mut line).unwrap(), 0, "it ended by itself");
    }
    let id = bench.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // Keeps reading, or it would block.
    let rest = std::thread::spawn(move || std::io::read_to_string(progress).unwrap());
    let mut output = String::new();
    bench.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(130));
    assert!(rest.join().unwrap().contains("interrupted"));
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["interrupted"], true);
    let rounds = report["latency"]["rows"][0]["rounds"].as_array().unwrap().len();
    assert!((2..1000).contains(&rounds), "{rounds}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("the run was interrupted"), "the page says so, too");
    assert!(page.contains("The gateway was running already") && !page.contains("loopback"));
}
