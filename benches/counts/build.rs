//! Passes the compiler's version to the program: another compiler generates other instructions.

use std::{
    env,
    io::{self, Write as _},
    process::Command,
};

fn main() -> io::Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let version = Command::new(rustc).arg("--version").output()?.stdout;
    let version = String::from_utf8_lossy(&version);
    writeln!(io::stdout(), "cargo::rerun-if-changed=build.rs")?;
    writeln!(io::stdout(), "cargo::rustc-env=COMPILER={}", version.trim())
}
