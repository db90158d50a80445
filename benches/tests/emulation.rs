//! The benchmark on an emulated network. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's panic is its answer")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use signalbox_netem::namespace;
use signalbox_test_harness::{Requirement, run, trials};

fn main() -> ExitCode {
    let network = Requirement { name: "network", unavailable: namespace::unavailable };
    run(trials![network; nothing_outlives_a_benchmark_that_is_killed])
}

/// The longest wait of a test for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for another process.
fn until(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "timed out");
        thread::yield_now();
    }
}

/// Processes that the benchmark starts on its emulated network end with it, even if it is killed.
fn nothing_outlives_a_benchmark_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (program, pid) = (dir.path().join("gateway"), dir.path().join("pid"));
    // Writes its process id, never announces that it is ready, and stays.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = serve ] || exit 0\necho $$ >{0}.new; mv {0}.new {0}\nexec sleep 600\n",
        pid.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut benchmark = Command::new(env!("CARGO_BIN_EXE_signalbox-bench"))
        .args(["latency", "--rtt", "40ms", "--gateway"])
        .arg(&program)
        .spawn()
        .unwrap();
    until(|| pid.exists());
    let namespace =
        PathBuf::from(format!("/proc/{}/ns/net", fs::read_to_string(&pid).unwrap().trim()));
    let there = fs::read_link(&namespace).unwrap();
    assert_ne!(there, fs::read_link("/proc/self/ns/net").unwrap(), "it runs on another host");
    benchmark.kill().unwrap();
    benchmark.wait().unwrap();
    until(|| fs::read_link(&namespace).is_err());
}
