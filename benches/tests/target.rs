//! A gateway that runs already: it is measured over each transport; if it cannot be, the error says
//! why, and nothing else is needed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its answer")]

mod gateway;

use std::{net::TcpListener, process::Command};

use serde_json::Value;

/// The error of a measurement of a target at this address. There is no gateway to start.
fn error(url: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_signalbox-bench"))
        .args(["latency", "--target", url, "--token", "T", "--seconds", "0.1", "--repeat", "1"])
        .args(["--gateway", "no/such/gateway"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_target_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = error(&format!("wss://{address}"));
    assert!(error.contains(&format!("cannot connect to {address}")), "{error}");
}

#[test]
fn a_target_that_hangs_up_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // After the request has arrived, so that the end is not a reset.
        let mut head = [0; 1];
        std::io::Read::read_exact(&mut &stream, &mut head).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let error = error(&format!("ws://{address}"));
    assert!(error.contains("client 0") || error.contains("client 1"), "{error}");
    server.join().unwrap();
}

#[test]
fn a_target_that_speaks_something_else_is_an_error() {
    let error = error("http://localhost:1");
    assert!(error.contains("HOST:PORT"), "{error}");
}

#[test]
fn a_target_is_measured_over_each_transport() {
    for scheme in ["quic", "https", "wss"] {
        let dir = tempfile::tempdir().unwrap();
        let (url, token) = gateway::start(dir.path(), scheme);
        let output = Command::new(env!("CARGO_BIN_EXE_signalbox-bench"))
            .args(["fanout", "--receivers", "3", "--deliveries", "300", "--json"])
            .args(["--seconds", "0.3", "--warm-up", "0", "--repeat", "1", "--target", &url])
            .args(["--token", &token, "--ca"])
            .arg(dir.path().join("ca.pem"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = &report["fanout"]["rows"][0];
        assert_eq!(row["transport"], url.as_str());
        assert_eq!(row["rounds"][0]["deliveries"], 90, "{row}");
    }
}
