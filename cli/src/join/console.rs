//! Where `join` prints: standard output and standard error, written by a thread of their own, so
//! that a reader that stops reading cannot keep the client from leaving its session.

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

use super::editor::Above;
use crate::output;

/// Lines that may wait to be written. When a reader is too slow for more, events are not read
/// either, and in the end the gateway disconnects the client as a slow consumer.
const QUEUE: usize = 256;

/// How long the last lines may take.
pub(super) const LAST_LINES: Duration = Duration::from_secs(1);

/// A line that is not seen: up, and down again by its end.
const NOTHING: &str = "\x1b[A";

/// The printing end. Clones print to the same place.
#[derive(Clone)]
pub(super) struct Console {
    lines: mpsc::Sender<Printed>,
}

enum Printed {
    /// A line for standard output.
    Line(String),
    /// A line for standard error.
    Note(String),
}

/// The end of the thread that writes.
pub(super) struct Writing {
    /// None once it has been taken.
    result: Option<oneshot::Receiver<io::Result<()>>>,
    reader_gone: oneshot::Receiver<()>,
}

/// Starts the thread that writes. With a line editor it writes above the line that is being typed.
pub(super) fn open(mut above: Option<Above>) -> (Console, Writing) {
    let notes_above = io::stderr().is_terminal();
    let (lines, mut queue) = mpsc::channel(QUEUE);
    let (ended, result) = oneshot::channel();
    std::thread::spawn(move || {
        let mut write = || {
            while let Some(printed) = queue.blocking_recv() {
                match (printed, &mut above) {
                    (Printed::Line(line), Some(above)) => above(line)?,
                    (Printed::Note(note), Some(above)) if notes_above => {
                        above(Printable(note).to_string())?;
                    }
                    (Printed::Line(line), None) => output::line(line)?,
                    (Printed::Note(note), _) => output::note(note),
                }
            }
            // The editor's thread prints, and takes a line only when it has printed the one before.
            for _ in 0..2 {
                if let Some(above) = &mut above {
                    above(NOTHING.into())?;
                }
            }
            Ok(())
        };
        let _ = ended.send(write());
    });
    (Console { lines }, Writing { result: Some(result), reader_gone: watch_reader() })
}

impl Console {
    /// Prints a line on standard output. If nothing can be written any more it is lost, and
    /// [`Writing::ended`] says why.
    pub(super) async fn line(&self, text: impl Display) {
        let _ = self.lines.send(Printed::Line(text.to_string())).await;
    }

    /// Prints a remark on standard error, likewise.
    pub(super) async fn note(&self, text: impl Display) {
        let _ = self.lines.send(Printed::Note(text.to_string())).await;
    }
}

impl Writing {
    /// Waits until nothing can be written any more, and says why.
    pub(super) async fn ended(&mut self) -> io::Error {
        let Some(result) = &mut self.result else { return std::future::pending().await };
        tokio::select! {
            result = result => {
                self.result = None;
                match result {
                    Ok(Err(error)) => error,
                    _ => io::Error::other("the thread that writes has ended"),
                }
            }
            Ok(()) = &mut self.reader_gone => io::ErrorKind::BrokenPipe.into(),
        }
    }

    /// Waits until the last lines are written, but not for a reader that does not read. All
    /// consoles must have been dropped.
    pub(super) async fn finish(self) {
        if let Some(result) = self.result {
            let _ = tokio::time::timeout(LAST_LINES, result).await;
        }
    }
}

/// Waits on a thread of its own until nobody can read standard output any more: the other end of a
/// pipe is closed, or a terminal is gone. Without this a client would learn of it only when it has
/// something to print.
fn watch_reader() -> oneshot::Receiver<()> {
    let (gone, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let out = io::stdout();
        loop {
            // Errors are reported whether they are asked for or not. A file never has any.
            let mut watched = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut watched, None) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => break,
                // Then it is noticed when something is printed.
                Err(_) => return,
            }
        }
        let _ = gone.send(());
    });
    receiver
}
