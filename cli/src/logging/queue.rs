//! Bounded, lossy queue of log lines, and the thread that writes them.
//!
//! Adding a line takes a lock for as long as a copy takes; it never waits for the output. If the output takes no
//! more (a pipe that is not read, a full disk, a closed pipe), the queue fills up and then loses lines. The
//! thread tries again until the output works, writes what waits, and after it one line that says how many
//! lines are missing there.

use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use super::throttle;

/// Bytes that may wait, about 5000 lines. As many again may be in the hands of the thread.
const MAX_BYTES: usize = 1024 * 1024;

/// Pause after a write that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The form of the lines.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Text,
    Json,
}

/// The queue.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to write, or the process is about to end.
    filled: Condvar,
    /// Everything has been written, or given up.
    idle: Condvar,
    form: Form,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room after those in `lines`.
    dropped: u64,
    /// The thread has taken lines that it has not written yet.
    writing: bool,
    /// The process is about to end: what cannot be written at once is given up.
    closing: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

impl Queue {
    pub(super) fn new(form: Form) -> Self {
        let (state, filled, idle) = Default::default();
        Self { state, filled, idle, form }
    }

    /// Starts the thread that writes.
    pub(super) fn start_writing(
        &'static self,
        mut output: impl Write + Send + 'static,
    ) -> io::Result<()> {
        let write = move || {
            // Without this thread the log would end in silence.
            while catch_unwind(AssertUnwindSafe(|| self.write_to(&mut output))).is_err() {}
        };
        thread::Builder::new().name("log".into()).spawn(write).map(drop)
    }

    /// Adds a line, with its end. After one has been dropped all are, until the thread has taken
    /// those before them: so it is known where in the log they are missing.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.dropped > 0 || state.lines.len() + line.len() > MAX_BYTES {
            state.dropped += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Has the thread look again when its next report is due.
    pub(super) fn wake(&self) {
        // Under the lock, as the thread may be between its look and its wait.
        let _state = self.state.lock();
        self.filled.notify_one();
    }

    /// Waits until all lines have been written, but no longer than `timeout`, and not for an output
    /// that fails.
    pub(super) fn close(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        throttle::report(Instant::now() + throttle::WINDOW);
        let mut state = self.state.lock();
        state.closing = true;
        self.filled.notify_one();
        while state.writing || !state.is_empty() {
            if self.idle.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    fn write_to(&self, output: &mut impl Write) {
        loop {
            let (lines, dropped) = self.take();
            self.write(output, &lines);
            if dropped > 0 {
                self.write(output, self.notice(dropped).as_bytes());
            }
        }
    }

    /// Takes everything that waits, when there is something.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut state = self.state.lock();
        state.writing = false;
        loop {
            if !state.is_empty() {
                state.writing = true;
                return (std::mem::take(&mut state.lines), std::mem::take(&mut state.dropped));
            }
            self.idle.notify_all();
            match throttle::next_report() {
                None => self.filled.wait(&mut state),
                Some(due) if due > Instant::now() => {
                    self.filled.wait_until(&mut state, due);
                }
                // Its lines come back here, through `push`.
                Some(due) => MutexGuard::unlocked(&mut state, || throttle::report(due)),
            }
        }
    }

    /// Writes all of it, however long the output fails; unless the process is about to end.
    fn write(&self, output: &mut impl Write, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match output.write(bytes) {
                Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    let retry_at = Instant::now() + RETRY_PAUSE;
                    let mut state = self.state.lock();
                    while !state.closing {
                        if self.filled.wait_until(&mut state, retry_at).timed_out() {
                            break;
                        }
                    }
                    if state.closing {
                        return;
                    }
                }
            }
        }
    }

    /// The line that says how many lines are missing.
    fn notice(&self, dropped: u64) -> String {
        let mut time = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let message = "log lines dropped: the log was not written fast enough";
        match self.form {
            Form::Text => format!("{time}  WARN {message} lines={dropped}\n"),
            Form::Json => {
                let fields = serde_json::json!({ "message": message, "lines": dropped });
                let line = serde_json::json!({
                    "timestamp": time, "level": "WARN", "fields": fields, "target": module_path!(),
                });
                format!("{line}\n")
            }
        }
    }
}

/// An event is written to it in one piece.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
