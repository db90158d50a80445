//! Printing: results on standard output, everything else on standard error.
//!
//! What a peer sent may be in any text for people, so all of it is escaped here, too, where it
//! leaves the process; line ends only where the text is one line.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use signalbox_protocol::Printable;

use crate::logging;

/// Prints text of our own, or JSON, on standard output, at once, so that a reader at the other end of a pipe has
/// it. Fails when there is no such reader any more.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints an error with its causes on standard error. It may have several lines.
pub(crate) fn error(error: &anyhow::Error) {
    // A closed pipe is how `| head` says that it has seen enough.
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
    };
    if !error.chain().any(broken_pipe) {
        let text = format!("error: {error:#}");
        text.lines().for_each(note);
    }
}

/// Prints a remark of one line on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    logging::write_line(Printable(text));
}

/// The exit code of a command that worked, or did not.
pub(crate) fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
