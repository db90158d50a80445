//! Printing: results on standard output, progress and warnings on standard error.

use std::io::{self, Write};

/// Prints a result on standard output.
///
/// # Errors
/// When nobody reads it any more.
pub fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints progress or a warning on standard error.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
