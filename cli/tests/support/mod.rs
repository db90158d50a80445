//! The program under test as a process; for all test targets of this crate.
#![allow(dead_code, reason = "each test target uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

/// The longest wait of a test for something that must happen.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The program under test.
pub(crate) fn signalbox() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    command.env_remove("SIGNALBOX_TOKEN").env_remove("SIGNALBOX_SECRET");
    command
}

/// A child process whose standard output is read line by line. It is killed at the end of its test.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts a command. Its standard error is kept for failures.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with_log(command, Stdio::piped())
    }

    /// Starts a command with its standard error elsewhere.
    pub(crate) fn start_with_log(command: &mut Command, log: Stdio) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (sender, lines) = mpsc::sync_channel(100_000);
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line of output.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(line) => line,
            Err(error) => {
                let _ = self.child.kill();
                let mut log_text = String::new();
                if let Some(mut log) = self.child.stderr.take() {
                    let _ = log.read_to_string(&mut log_text);
                }
                panic!("no line of output ({error}); standard error: {log_text}")
            }
        }
    }

    /// The next line that contains `part`.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The next line of output, as JSON.
    pub(crate) fn event(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Writes a line to standard input.
    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal, in the form of an option of `kill`.
    pub(crate) fn signal(&self, signal: &str) {
        // The id of a child that has not been waited for is its own.
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Reads standard error until it is closed.
    pub(crate) fn stderr(&mut self) -> std::thread::JoinHandle<String> {
        let mut stderr = self.child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut log_text = Vec::new();
            stderr.read_to_end(&mut log_text).unwrap();
            String::from_utf8(log_text).unwrap()
        })
    }

    /// Waits for the exit; `true` if it was a success.
    pub(crate) fn succeeds(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The standard output of a command, which must have succeeded.
pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim_end().to_owned()
}
