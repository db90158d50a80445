//! Typing at a terminal: a line editor, above which events are printed.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{Config, Editor, ExternalPrinter, error::ReadlineError, history::MemHistory};
use tokio::sync::mpsc;

const PROMPT: &str = "> ";

/// Typed lines that may wait to be sent.
const QUEUE: usize = 16;

/// What is typed, and what puts the terminal back in order.
pub(super) struct Typing {
    lines: mpsc::Receiver<io::Result<String>>,
    _terminal: Terminal,
}

/// Prints above the line that is being typed.
pub(super) type Above = Box<dyn FnMut(String) -> io::Result<()> + Send>;

/// Starts to read lines with an editor; none where there is no terminal that can have one.
pub(super) fn open() -> Option<(Typing, Above)> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    let terminal = Terminal { modes: tcgetattr(io::stdin()).ok()? };
    let config = Config::builder()
        .auto_add_history(true)
        // Each pasted line is a line.
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
    Some((Typing { lines, _terminal: terminal }, Box::new(above)))
}

impl Typing {
    /// The next line; none when its user wants to leave.
    pub(super) async fn next(&mut self) -> io::Result<Option<String>> {
        self.lines.recv().await.transpose()
    }
}

/// Puts the terminal back in order when it is dropped: the thread that reads a line cannot be
/// cancelled, so it may be in the middle of one when the process ends.
struct Terminal {
    modes: Termios,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The prompt, and what was typed after it, is gone.
        let _ = io::stdout().write_all(b"\r\x1b[K");
        let _ = io::stdout().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.modes);
    }
}
