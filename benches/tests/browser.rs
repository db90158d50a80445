//! The benchmark of a browser, in a real one. Needs Chromium, node, and the gateway beside the
//! benchmark's program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its answer")]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde_json::Value;
use signalbox_loadgen::browser::PageRequirements;
use signalbox_test_harness::{Requirement, run, trials};

fn main() -> ExitCode {
    let chromium = Requirement { name: "chromium", unavailable };
    run(
        trials![chromium; signals_are_measured_in_a_page, a_gateway_that_refuses_the_page_is_an_error],
    )
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_signalbox-bench"))
}

fn gateway() -> PathBuf {
    program().with_file_name("signalbox")
}

fn unavailable() -> Option<String> {
    if let Err(error) = PageRequirements::find() {
        return Some(format!("{error:#}"));
    }
    (!gateway().is_file()).then(|| "needs the gateway: cargo build -p signalbox".to_owned())
}

/// The shortest measurement on the loopback, which needs no root.
fn browser() -> Command {
    let mut command = Command::new(program());
    command
        .args(["browser", "--rtt", "0ms", "--loss", "0%", "--senders", "3", "--rate", "10"])
        .args(["--seconds", "1", "--warm-up", "0.5", "--repeat", "1", "--json"]);
    command
}

/// Every signal after the warm-up is counted, for each kind of clients.
fn signals_are_measured_in_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("report.html");
    let output = browser().arg("--report").arg(&page).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["browser"]["version"].as_str().unwrap().starts_with("Chrom"), "{report}");
    let rows = report["browser"]["rows"].as_array().unwrap();
    let kinds: Vec<_> = rows.iter().map(|it| it["clients"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["quic", "page-webtransport", "page-websocket"]);
    for row in rows {
        let round = &row["rounds"][0];
        assert_eq!(round["signals"], 30, "{row}");
        assert!(round["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert!(std::fs::read_to_string(page).unwrap().contains("browser, WebTransport"));
}

/// The page's own error is shown.
fn a_gateway_that_refuses_the_page_is_an_error() {
    // Clients outside of browsers have no origin, so those of the Rust SDK are accepted.
    let output = browser()
        .env("SIGNALBOX_AUTH__ALLOWED_ORIGINS", r#"["https://example.com"]"#)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("in the page: "), "{error}");
}
