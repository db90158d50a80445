//! Bounded, lossy queue of log lines, and the thread that writes them.
//!
//! Adding a line holds a lock for the time of a copy, and never waits for the output. If the output is
//! blocked or fails (a pipe that is not read, a full disk, a closed pipe), the queue fills up and then drops
//! lines. The thread retries until the output works, writes the queued lines, and after them a line with the
//! number of dropped ones.

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

/// Bytes in the queue, about 5000 lines. The thread may hold as many again.
const MAX_BYTES: usize = 1024 * 1024;

/// Pause after a failed write.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The format of lines.
#[derive(Debug, Clone, Copy)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// The queue.
pub(super) struct LogQueue {
    state: Mutex<LogBuffer>,
    /// Signalled when there is something to write, or the process is about to end.
    filled: Condvar,
    /// Signalled when everything has been written or given up.
    idle: Condvar,
    format: LogFormat,
}

#[derive(Default)]
struct LogBuffer {
    lines: Vec<u8>,
    /// Lines dropped after those in `lines`.
    dropped: u64,
    /// The thread holds lines that it has not written yet.
    writing: bool,
    /// The process is about to end: lines that cannot be written at once are given up.
    closing: bool,
}

impl LogBuffer {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

impl LogQueue {
    pub(super) fn new(format: LogFormat) -> Self {
        let (state, filled, idle) = Default::default();
        Self { state, filled, idle, format }
    }

    /// Starts the thread that writes.
    pub(super) fn start_writing(
        &'static self,
        mut output: impl Write + Send + 'static,
    ) -> io::Result<()> {
        let write = move || {
            // Restarted after a panic, or the log would end silently.
            while catch_unwind(AssertUnwindSafe(|| self.write_to(&mut output))).is_err() {}
        };
        thread::Builder::new().name("log".into()).spawn(write).map(drop)
    }

    /// Adds a line with its line end. After a dropped line, all further ones are dropped until the thread
    /// has taken the lines before them, so that the report is written at the right place of the log.
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

    /// Makes the thread check again when the next report is due.
    pub(super) fn wake(&self) {
        // Under the lock, as the thread may be between its check and its wait.
        let _state = self.state.lock();
        self.filled.notify_one();
    }

    /// Waits until all lines have been written, at most for `timeout`, and not for an output that fails.
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

    /// Waits for lines and takes all of them.
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
                // The lines of the report are added by `push`.
                Some(due) => MutexGuard::unlocked(&mut state, || throttle::report(due)),
            }
        }
    }

    /// Writes all bytes, and retries while the output fails, unless the process is about to end.
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

    /// The line with the number of dropped lines.
    fn notice(&self, dropped: u64) -> String {
        let mut time = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let message = "log lines dropped: the log is written too slowly";
        match self.format {
            LogFormat::Text => format!("{time}  WARN {message} lines={dropped}\n"),
            LogFormat::Json => {
                let fields = serde_json::json!({ "message": message, "lines": dropped });
                let line = serde_json::json!({
                    "timestamp": time, "level": "WARN", "fields": fields, "target": module_path!(),
                });
                format!("{line}\n")
            }
        }
    }
}

/// Each event is written by a single call.
impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
