//! `signalbox bench` becomes another program, or says how to get it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

/// The program alone in a folder, with nothing in the PATH.
fn alone(dir: &tempfile::TempDir) -> (PathBuf, Command) {
    let own = dir.path().join("signalbox");
    fs::copy(env!("CARGO_BIN_EXE_signalbox"), &own).unwrap();
    let mut command = Command::new(&own);
    command.env("PATH", "");
    (own, command)
}

#[test]
fn without_the_benchmark_the_next_step_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let output = alone(&dir).1.args(["bench", "latency"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cargo build --release -p signalbox-bench"), "{said}");
}

#[test]
fn the_benchmark_beside_it_is_given_all_words_and_this_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let (own, mut command) = alone(&dir);
    let beside = dir.path().join("signalbox-bench");
    fs::write(&beside, "#!/bin/sh\necho \"$SIGNALBOX_BENCH_GATEWAY $*\"\nexit 7\n").unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
    let output = command.args(["bench", "fanout", "--help", "-x", "--", "y"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), format!("{} fanout --help -x -- y", own.display()));
    assert_eq!(output.status.code(), Some(7));
}
