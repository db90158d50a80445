//! Line editor at a terminal. Events are printed above it.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{Config, Editor, ExternalPrinter, error::ReadlineError, history::MemHistory};
use tokio::sync::mpsc;

const PROMPT: &str = "> ";

/// Typed lines queued for sending.
const QUEUE: usize = 16;

/// The typed lines. Dropping it restores the terminal.
pub(super) struct LineEditor {
    lines: mpsc::Receiver<io::Result<String>>,
    _modes: TerminalModes,
}

/// Prints a line above the one that is being typed.
pub(super) type Above = Box<dyn FnMut(String) -> io::Result<()> + Send>;

/// Starts a line editor. None if there is no terminal that supports one.
pub(super) fn open() -> Option<(LineEditor, Above)> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    let terminal = TerminalModes { modes: tcgetattr(io::stdin()).ok()? };
    let config = Config::builder()
        .auto_add_history(true)
        // Each pasted line counts as a typed line.
        .bracketed_paste(false)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::<(), _>::with_history(config, history).ok()?;
    let mut printer = editor.create_external_printer().ok()?;
    let (sender, lines) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        loop {
            let line = match editor.readline(PROMPT) {
                Ok(line) => Ok(line),
                Err(ReadlineError::Signal(_)) => continue,
                // ctrl-c and ctrl-d: dropping the sender is the end of input.
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return,
                Err(ReadlineError::Io(error)) => Err(error),
                Err(error) => Err(io::Error::other(error)),
            };
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    let above = move |line| printer.print(line + "\n").map_err(io::Error::other);
    Some((LineEditor { lines, _modes: terminal }, Box::new(above)))
}

impl LineEditor {
    /// The next line; none after ctrl-c or ctrl-d.
    pub(super) async fn next(&mut self) -> io::Result<Option<String>> {
        self.lines.recv().await.transpose()
    }
}

/// Restores the modes of the terminal when dropped. The thread that reads a line cannot be cancelled,
/// and may be in the middle of one when the process ends.
struct TerminalModes {
    modes: Termios,
}

impl Drop for TerminalModes {
    fn drop(&mut self) {
        // Clears the prompt and the unfinished line.
        let _ = io::stdout().write_all(b"\r\x1b[K");
        let _ = io::stdout().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.modes);
    }
}
