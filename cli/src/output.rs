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
        let text = format!("error: {}", with_causes(error));
        text.lines().for_each(note);
    }
}

/// An error and its causes. Some libraries put the cause into the text of the error as well.
fn with_causes(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .reduce(
            |text, cause| {
                if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
            },
        )
        .unwrap_or_default()
}

/// Prints a note of one line on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    logging::write_line(Printable(text));
}

/// The exit code of a command that succeeded or failed.
pub(crate) fn code(succeeded: bool) -> ExitCode {
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_not_repeated() {
        let error = anyhow::anyhow!("refused").context("IO error: refused").context("no server");
        assert_eq!(with_causes(&error), "no server: IO error: refused");
    }
}
