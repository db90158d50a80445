//! The benchmark on an emulated network. It needs root, and says aloud where it has to do without.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's panic is its answer")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use signalbox_netem::{LinkModel, namespace::Network};

/// No test waits for longer than this for anything that is to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Packets need a moment to come to the link.
fn until(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen");
        thread::yield_now();
    }
}

/// What the benchmark starts on its emulated network ends with it, even if it is killed.
#[test]
fn nothing_outlives_a_benchmark_that_is_killed() {
    if let Err(error) = Network::start(LinkModel::default(), LinkModel::default(), 1) {
        let note = format!("note: nothing was tested over an emulated network: {error:#}\n");
        // Past the capture of test output, which would hide it.
        let _ = std::io::stderr().write_all(note.as_bytes());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (program, pid) = (dir.path().join("gateway"), dir.path().join("pid"));
    // Says who it is, never that it is ready, and stays.
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
    assert_ne!(there, fs::read_link("/proc/self/ns/net").unwrap(), "it is on a host of its own");
    benchmark.kill().unwrap();
    benchmark.wait().unwrap();
    until(|| fs::read_link(&namespace).is_err());
}
