//! Output of `join`: a thread writes standard output and standard error, so that a reader that stops
//! reading cannot keep the client from leaving its session.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use signalbox_client::Printable;
use tokio::sync::{mpsc, oneshot};

use super::line_editor::Above;
use crate::output;

/// Lines queued for writing. With a full queue no events are read either, and the gateway finally
/// disconnects the client as a slow consumer.
const QUEUE: usize = 256;

/// Time for writing the last lines.
pub(super) const LAST_LINES: Duration = Duration::from_secs(1);

/// An invisible line: one up, and down again by its line end.
const INVISIBLE: &str = "\x1b[A";

/// The sending half. Clones print to the same output.
#[derive(Clone)]
pub(super) struct Console {
    lines: mpsc::Sender<ConsoleLine>,
}

enum ConsoleLine {
    /// A line for standard output.
    Line(String),
    /// A line for standard error.
    Note(String),
}

/// The handle of the thread that writes.
pub(super) struct ConsoleWriter {
    /// None once it has been taken.
    result: Option<oneshot::Receiver<io::Result<()>>>,
    reader_gone: oneshot::Receiver<()>,
}

/// Starts the thread that writes. With a line editor it prints above the line that is being typed.
pub(super) fn open(mut above: Option<Above>) -> (Console, ConsoleWriter) {
    let notes_above = io::stderr().is_terminal();
    let (lines, mut queue) = mpsc::channel(QUEUE);
    let (ended, result) = oneshot::channel();
    std::thread::spawn(move || {
        let mut write = || {
            while let Some(printed) = queue.blocking_recv() {
                match (printed, &mut above) {
                    (ConsoleLine::Line(line), Some(above)) => above(line)?,
                    (ConsoleLine::Note(note), Some(above)) if notes_above => {
                        above(Printable(note).to_string())?;
                    }
                    (ConsoleLine::Line(line), None) => output::line(line)?,
                    (ConsoleLine::Note(note), _) => output::note(note),
                }
            }
            // The thread of the editor prints, and takes a line only after it has printed the previous one.
            for _ in 0..2 {
                if let Some(above) = &mut above {
                    above(INVISIBLE.into())?;
                }
            }
            Ok(())
        };
        let _ = ended.send(write());
    });
    (Console { lines }, ConsoleWriter { result: Some(result), reader_gone: watch_reader() })
}

impl Console {
    /// Prints a line on standard output. After a failed write it is lost, and
    /// [`ConsoleWriter::ended`] returns the error.
    pub(super) async fn line(&self, text: impl Display) {
        let _ = self.lines.send(ConsoleLine::Line(text.to_string())).await;
    }

    /// Prints a note on standard error, likewise.
    pub(super) async fn note(&self, text: impl Display) {
        let _ = self.lines.send(ConsoleLine::Note(text.to_string())).await;
    }
}

impl ConsoleWriter {
    /// Waits until a write fails or the reader is gone, and returns the error.
    pub(super) async fn ended(&mut self) -> io::Error {
        let Some(result) = &mut self.result else { return std::future::pending().await };
        tokio::select! {
            result = result => {
                self.result = None;
                match result {
                    Ok(Err(error)) => error,
                    _ => io::Error::other("the output thread has ended"),
                }
            }
            Ok(()) = &mut self.reader_gone => io::ErrorKind::BrokenPipe.into(),
        }
    }

    /// Waits until the last lines are written, for a limited time. All consoles must have been dropped.
    pub(super) async fn finish(self) {
        if let Some(result) = self.result {
            let _ = tokio::time::timeout(LAST_LINES, result).await;
        }
    }
}

/// Waits on a thread until standard output has no reader any more: the other end of a pipe is closed, or
/// the terminal is gone. Otherwise a client would notice only when it prints.
fn watch_reader() -> oneshot::Receiver<()> {
    let (gone, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let out = io::stdout();
        loop {
            // `poll` always reports errors. A file never has any.
            let mut watched = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut watched, None) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => break,
                // The next write will notice it.
                Err(_) => return,
            }
        }
        let _ = gone.send(());
    });
    receiver
}
