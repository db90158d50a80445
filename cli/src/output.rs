//! Output: results on standard output, everything else on standard error.
//!
//! Any text for people may contain text of a peer, so all of it is escaped here, where it leaves the
//! process. Line ends are escaped only if the text must be one line.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use signalbox_protocol::Printable;

use crate::logging;

/// Prints own text or JSON on standard output and flushes it, for the reader of a pipe. Fails if the
/// reader is gone.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints an error with its causes on standard error. It may have several lines.
pub(crate) fn error(error: &anyhow::Error) {
    // A closed pipe is no error: `| head` has read enough.
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
    };
    if !error.chain().any(broken_pipe) {
        let text = format!("error: {error:#}");
        text.lines().for_each(note);
    }
}

/// Prints a note of one line on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    logging::write_line(Printable(text));
}

/// The exit code of a command that succeeded or failed.
pub(crate) fn code(succeeded: bool) -> ExitCode {
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
