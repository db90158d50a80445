//! Client commands leave their session before they exit.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{Gateway, Process, TIMEOUT, with_default_signals};

/// A client that observes the connections of the others.
struct Watcher(Process);

impl Watcher {
    fn of(gateway: &Gateway) -> Self {
        Self(gateway.join_json("quic"))
    }

    fn sees_a_connection(&mut self) {
        assert_eq!(self.0.event()["event"], "connectionCreated");
    }

    /// Asserts that a connection has left with a goodbye. A lost connection would stay detached for longer
    /// than a test waits.
    fn sees_a_goodbye(&mut self, way_out: &str) {
        let event = self.0.event();
        let (event, reason) = (&event["event"], &event["reason"]);
        let expected: (Value, Value) = ("connectionDestroyed".into(), "clientDisconnected".into());
        assert_eq!((event, reason), (&expected.0, &expected.1), "{way_out}");
    }
}

fn kill(signal: &str, child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// Kills the child at the end of a test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `join`, and waits until the others have seen it.
fn start(command: &mut Command, watcher: &mut Watcher) -> Ended {
    let child = Ended(command.spawn().unwrap());
    watcher.sees_a_connection();
    child
}

#[test]
fn a_stop_signal_makes_the_client_leave() {
    let gateway = Gateway::start();
    let mut watcher = Watcher::of(&gateway);
    for scheme in ["quic", "wss"] {
        for signal in ["-INT", "-TERM", "-HUP"] {
            let mut command = with_default_signals(&gateway.command("join", scheme, "publisher"));
            let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut join = start(command, &mut watcher);
            // The others see it before it knows itself that it has joined.
            let mut output = BufReader::new(join.0.stdout.take().unwrap());
            output.read_line(&mut String::new()).unwrap();
            kill(signal, &join.0);
            watcher.sees_a_goodbye(signal);
            assert!(join.0.wait().unwrap().success(), "{signal}");

            // `send` waits for a line.
            let mut command = with_default_signals(&gateway.command("send", scheme, "publisher"));
            let mut send = start(command.arg("--stdin").stdin(Stdio::piped()), &mut watcher);
            writeln!(send.0.stdin.as_mut().unwrap(), "joined").unwrap();
            assert_eq!(watcher.0.event()["event"], "signal");
            kill(signal, &send.0);
            watcher.sees_a_goodbye(signal);
            assert!(!send.0.wait().unwrap().success(), "not everything was sent");
        }
    }
}

#[test]
fn a_closed_output_makes_the_client_leave() {
    let gateway = Gateway::start();
    let mut watcher = Watcher::of(&gateway);
    let mut command = gateway.command("join", "quic", "publisher");
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut join = start(command, &mut watcher);
    let mut output = BufReader::new(join.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    // Like `head -1`. No event follows whose printing could fail.
    drop(output);
    watcher.sees_a_goodbye("closed output");
    let _ = join.0.wait().unwrap();
    let said = std::io::read_to_string(join.0.stderr.take().unwrap()).unwrap();
    assert_eq!(said, "", "that is how a reader says that it has seen enough");
}

#[test]
fn an_error_makes_the_client_leave() {
    let gateway = Gateway::start();
    let mut watcher = Watcher::of(&gateway);
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    let cases = [
        ("a full disk", null(), File::create("/dev/full").unwrap(), "No space left"),
        // A directory cannot be read.
        (
            "a folder as input",
            OwnedFd::from(File::open("/").unwrap()),
            File::create("/dev/null").unwrap(),
            "cannot read standard input",
        ),
    ];
    for (way_out, input, output, message) in cases {
        let mut command = gateway.command("join", "wss", "publisher");
        let command = command.stdin(input).stdout(output).stderr(Stdio::piped());
        let mut join = start(command, &mut watcher);
        watcher.sees_a_goodbye(way_out);
        assert!(!join.0.wait().unwrap().success(), "{way_out}");
        let said = std::io::read_to_string(join.0.stderr.take().unwrap()).unwrap();
        assert!(said.contains(message), "{way_out}: {said}");
    }
}

#[test]
fn a_stalled_output_does_not_block_leaving() {
    let gateway = Gateway::start();
    let mut watcher = Watcher::of(&gateway);
    let mut command = gateway.command("join", "quic", "publisher");
    let mut join = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()), &mut watcher);
    let mut send = gateway.command("send", "quic", "publisher");
    let mut send = start(send.arg("--stdin").stdin(Stdio::piped()), &mut watcher);
    let mut lines = send.0.stdin.take().unwrap();
    for _ in 0..40 {
        writeln!(lines, "{}", "x".repeat(8000)).unwrap();
    }
    drop(lines);
    // A pipe holds 64 KiB, of which the rest of a page may stay unused.
    let output = join.0.stdout.as_ref().unwrap();
    let deadline = std::time::Instant::now() + TIMEOUT;
    while rustix::io::ioctl_fionread(output).unwrap() < 56 * 1024 {
        assert!(std::time::Instant::now() < deadline, "the pipe does not fill");
        std::thread::yield_now();
    }
    kill("-TERM", &join.0);
    // Both leave; `send` after it has sent all.
    for _ in 0..2 {
        let event = watcher.0.line_with("connectionDestroyed");
        assert!(event.contains("clientDisconnected"), "{event}");
    }
    assert!(join.0.wait().unwrap().success());
}

#[test]
fn the_end_of_piped_input_does_not_end_the_client() {
    let gateway = Gateway::start();
    let mut command = gateway.command("join", "quic", "publisher");
    let mut listener = Process::start(command.arg("--json").stdin(Stdio::piped()));
    assert_eq!(listener.event()["event"], "sessionConnected");
    listener.type_line("the last line");
    drop(listener.child.stdin.take());
    assert_eq!(listener.event()["data"], "the last line");
    let mut send = gateway.command("send", "quic", "publisher");
    assert!(send.args(["--data", "later"]).status().unwrap().success());
    while listener.event()["data"] != "later" {}
}

/// `nohup` starts programs like this.
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let gateway = Gateway::start();
    let join = gateway.command("join", "quic", "publisher");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(join.get_program());
    command.args(join.get_args()).arg("--json");
    let mut listener = Process::start(&mut command);
    assert_eq!(listener.event()["event"], "sessionConnected");
    listener.signal("-HUP");
    listener.type_line("still here");
    assert_eq!(listener.event()["data"], "still here");
}

#[test]
fn invalid_lines_are_reported_and_skipped() {
    let gateway = Gateway::start();
    let mut watcher = Watcher::of(&gateway);
    let good = ["first", "fourth", "sixth"];
    let long = "x".repeat(100_000);
    let input = [b"first\nse\xffcond\n".as_slice(), long.as_bytes(), b"\nfourth\n"].concat();
    let input = [&input[..], "y".repeat(8193).as_bytes(), b"\nsixth"].concat();
    for name in ["send", "join"] {
        let mut command = gateway.command(name, "quic", "publisher");
        if name == "send" {
            command.arg("--stdin");
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = start(command, &mut watcher);
        child.0.stdin.take().unwrap().write_all(&input).unwrap();
        for text in good {
            assert_eq!(watcher.0.event()["data"], text, "{name}");
        }
        if name == "join" {
            kill("-TERM", &child.0);
        }
        watcher.sees_a_goodbye(name);
        assert_eq!(child.0.wait().unwrap().success(), name == "join", "{name}");
        let said = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
        let lines: Vec<_> = said.lines().collect();
        for (line, part) in lines.iter().zip(["line 2: not UTF-8", "line 3: longer", "line 5: "]) {
            assert!(line.starts_with(part), "{name}: {said}");
        }
        assert_eq!(lines.len(), 3, "{name}: {said}");
    }
}

#[test]
fn a_line_without_end_is_not_kept() {
    let gateway = Gateway::start();
    let mut watcher = Watcher::of(&gateway);
    for name in ["send", "join"] {
        let mut command = gateway.command(name, "quic", "publisher");
        if name == "send" {
            command.arg("--stdin");
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = start(command, &mut watcher);
        let mut input = child.0.stdin.take().unwrap();
        let part = vec![b'x'; 1 << 20];
        for _ in 0..128 {
            input.write_all(&part).unwrap();
        }
        input.write_all(b"\nafter\n").unwrap();
        assert_eq!(watcher.0.event()["data"], "after", "{name}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 96 * 1024, "{name}: {peak} KiB");
        kill("-TERM", &child.0);
        watcher.sees_a_goodbye(name);
    }
}

#[test]
fn a_rate_has_a_limit() {
    let gateway = Gateway::start();
    let send = |rate: &str| {
        let mut command = gateway.command("send", "quic", "publisher");
        command.args(["--stdin", "--rate", rate]).stdin(Stdio::null()).output().unwrap()
    };
    for rate in ["0", "1000001", "2000000000"] {
        let output = send(rate);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{rate}: {said}");
        assert!(said.contains("1000000"), "{rate}: {said}");
    }
    assert!(send("1000000").status.success());
}
