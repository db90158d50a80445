//! `signalbox bench` runs the benchmark program, or explains how to build it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Creates a program in a child process. A file that this process writes would be inherited by children of
/// other tests, and a program that is open for writing cannot be executed (ETXTBSY).
fn make(script: &str, program: &Path) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).arg(program).arg(env!("CARGO_BIN_EXE_signalbox"));
    assert!(shell.status().unwrap().success());
}

/// The program alone in a directory, with an empty PATH.
fn alone(dir: &tempfile::TempDir) -> (PathBuf, Command) {
    let own = dir.path().join("signalbox");
    make("cp \"$2\" \"$1\"", &own);
    let mut command = Command::new(&own);
    command.env("PATH", "");
    (own, command)
}

#[test]
fn a_missing_benchmark_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let output = alone(&dir).1.args(["bench", "latency"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cargo build --release -p signalbox -p signalbox-bench"), "{said}");
    for help in [&["bench", "--help"][..], &["bench", "-h"], &["bench"]] {
        let output = alone(&dir).1.args(help).output().unwrap();
        assert!(output.status.success(), "{help:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("latency") && said.contains("cargo build"), "{said}");
    }
}

#[test]
fn the_benchmark_beside_it_is_given_all_words_and_this_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let (own, mut command) = alone(&dir);
    let script = r#"cat > "$1" << 'END'
#!/bin/sh
echo "$SIGNALBOX_BENCH_GATEWAY $*"
exit 7
END
chmod +x "$1""#;
    make(script, &dir.path().join("signalbox-bench"));
    let output = command.args(["bench", "fanout", "--help", "-x", "--", "y"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), format!("{} fanout --help -x -- y", own.display()));
    assert_eq!(output.status.code(), Some(7));
}
