//! Printing: results on standard output, progress and warnings on standard error.

use std::io::{self, Write};

use signalbox_protocol::Printable;

/// Prints a result on standard output.
pub fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints progress or a warning on standard error, perhaps in several lines. Control characters
/// from a target or another system are escaped.
pub fn note(text: impl std::fmt::Display) {
    for line in text.to_string().lines() {
        let _ = writeln!(io::stderr(), "{}", Printable(line));
    }
}
