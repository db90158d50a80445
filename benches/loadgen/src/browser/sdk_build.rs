//! The TypeScript SDK as modules for pages, compiled from its sources.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::output::note;

/// The SDK in the checkout from which the benchmark was built.
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/typescript");

/// The sources, and the means to compile them.
#[derive(Debug)]
pub(super) struct SdkSource;

impl SdkSource {
    /// Looks for them on this machine.
    pub(super) fn find() -> anyhow::Result<Self> {
        ensure!(
            Path::new(DIR).join("tsconfig.json").is_file(),
            "to measure a browser, run the benchmark from a checkout: {DIR} is not there"
        );
        let found = |program| Command::new(program).arg("--version").output();
        for program in ["node", "npm"] {
            found(program).with_context(|| {
                format!(
                    "to measure a browser, install {program}, which compiles the TypeScript SDK: \
                     apt install nodejs npm"
                )
            })?;
        }
        Ok(Self)
    }

    /// Compiles them into a new directory; the one of the SDK's own build stays as it is.
    pub(super) fn compile(&self) -> anyhow::Result<TempDir> {
        let compiler = Path::new(DIR).join("node_modules/.bin/tsc");
        if !compiler.is_file() {
            note("npm ci: the compiler of the TypeScript SDK");
            let arguments = ["--prefix", DIR, "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
            run("npm ci", Command::new("npm").args(arguments))?;
        }
        let out = tempfile::Builder::new().prefix("signalbox-bench-sdk-").tempdir()?;
        let mut command = Command::new(compiler);
        command.args(["-p", DIR, "--declaration", "false", "--outDir"]).arg(out.path());
        run("tsc", &mut command)?;
        Ok(out)
    }
}

fn run(name: &str, command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {name} in {DIR}"))?;
    ensure!(
        output.status.success(),
        "{name} in {DIR} failed, so there is no TypeScript SDK for the page:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
