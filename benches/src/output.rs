//! Printing: results on standard output, progress and warnings on standard error.

use std::io::{self, Write};

use signalbox_protocol::Printable;

/// Prints a result on standard output.
///
/// # Errors
/// When nobody reads it any more.
pub fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints progress or a warning on standard error. It may have several lines; what else a target or
/// another system said in it does not act on the terminal.
pub fn note(text: impl std::fmt::Display) {
    for line in text.to_string().lines() {
        let _ = writeln!(io::stderr(), "{}", Printable(line));
    }
}
