//! The command line as a person or a program uses it: real processes, real ports.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod bench;
mod certificates;
mod chaos;
mod config;
mod connecting;
mod drain;
mod failures;
mod leaving;
mod logging;
mod projects;
mod restart;
mod slow_consumers;
mod state_file;
#[path = "../support/mod.rs"]
mod support;
mod talking_clients;
mod terminal;
mod untrusted_text;

use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
    sync::mpsc,
};

use serde_json::Value;

use self::support::{Process, TIMEOUT, signalbox, stdout};

/// The command as an interactive shell starts it. Tests that run in the background inherit ignored
/// signals, which the command would leave ignored.
fn with_default_signals(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT,TERM,HUP").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

fn run(arguments: &[&str]) -> Output {
    signalbox().args(arguments).output().unwrap()
}

/// A gateway by `serve --dev`.
struct Gateway {
    process: Process,
    announcement: Value,
    _dir: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Self::serve_command(dir.path(), "json");
        let mut process = Process::start(command.envs(environment.iter().copied()));
        let announcement = process.event();
        Self { process, announcement, _dir: dir }
    }

    fn serve(dir: &Path, announce: &str) -> Process {
        Process::start(&mut Self::serve_command(dir, announce))
    }

    fn serve_command(dir: &Path, announce: &str) -> Command {
        let mut command = signalbox();
        command
            .args(["serve", "--dev", "--quic", "127.0.0.1:0", "--tcp", "127.0.0.1:0"])
            .args(["--announce", announce, "--dev-dir"])
            .arg(dir)
            // Where the profile for --dev goes.
            .env("XDG_RUNTIME_DIR", dir);
        command
    }

    fn text(&self, path: &str) -> &str {
        self.announcement.pointer(path).and_then(Value::as_str).unwrap()
    }

    /// How much memory it has.
    fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn url(&self, scheme: &str) -> String {
        let place = if scheme == "quic" { "/quic" } else { "/https" };
        format!("{scheme}://{}", self.text(place))
    }

    fn command(&self, name: &str, scheme: &str, role: &str) -> Command {
        let mut command = signalbox();
        let token = self.text(&format!("/tokens/{role}"));
        command.args([name, &self.url(scheme), "--ca", self.text("/ca"), "--token", token]);
        command
    }

    fn join(&self, scheme: &str, role: &str) -> Process {
        Process::start(&mut self.command("join", scheme, role))
    }

    fn join_json(&self, scheme: &str) -> Process {
        let mut process = Process::start(self.command("join", scheme, "publisher").arg("--json"));
        assert_eq!(process.event()["event"], "sessionConnected");
        process
    }
}

#[test]
fn two_clients_exchange_signals() {
    let gateway = Gateway::start();
    let mut alice = gateway.join("quic", "publisher");
    let alice_id = alice.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
    let mut bob = gateway.join("wss", "moderator");
    let bob_id = bob.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
    assert!(bob.line().contains(&format!("{alice_id} is here role=publisher")));
    assert!(alice.line().contains(&format!("{bob_id} is here role=moderator")));

    alice.type_line("hello, everyone");
    assert_eq!(alice.line(), "you: hello, everyone");
    assert_eq!(bob.line(), format!("{alice_id}: hello, everyone"));
    bob.type_line(&format!("/to {alice_id} hello, you"));
    assert_eq!(alice.line(), format!("{bob_id}: hello, you"));
    bob.type_line("/type chat with a type");
    assert_eq!(bob.line(), "you [chat]: with a type");
    assert_eq!(alice.line(), format!("{bob_id} [chat]: with a type"));
    alice.type_line("/ping");
    assert_eq!(alice.line(), "you (ping)");
    assert_eq!(bob.line(), format!("{alice_id} (ping)"));
    // Mistakes are said and change nothing.
    alice.type_line("/to nobody x");
    alice.type_line("/what");
    alice.type_line("still here");
    assert_eq!(bob.line(), format!("{alice_id}: still here"));
    alice.type_line("/quit");
    assert_eq!(bob.line(), format!("* {alice_id} left: clientDisconnected"));
    assert!(alice.line_with("* session ended").contains("clientDisconnected"));
    assert!(alice.succeeds());

    let mut carol = gateway.join("quic", "publisher");
    let carol_id = carol.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
    bob.line_with("is here");
    bob.type_line(&format!("/kick {carol_id}"));
    assert!(carol.line_with("* session ended").contains("forceDisconnected"));
    assert!(!carol.succeeds(), "being thrown out is no success");
    assert_eq!(bob.line(), format!("* {carol_id} left: forceDisconnected"));
    // SIGTERM is a goodbye, too.
    bob.terminate();
    assert!(bob.line_with("* session ended").contains("clientDisconnected"));
    assert!(bob.succeeds());
}

/// A process that is killed says nothing; the others learn of it when the idle time has passed, and
/// then the time in which it could have come back.
#[test]
fn a_client_that_is_killed_is_network_disconnected() {
    let gateway = Gateway::start_with(&[
        ("SIGNALBOX_TIMEOUTS__IDLE_MS", "1500"),
        ("SIGNALBOX_RESUME__WINDOW_MS", "500"),
    ]);
    let mut watcher = gateway.join_json("quic");
    for scheme in ["quic", "wss"] {
        let mut doomed = gateway.join_json(scheme);
        let id = watcher.event()["connection"]["id"].clone();
        // SIGKILL: nothing of it runs any more.
        doomed.child.kill().unwrap();
        let event = watcher.event();
        assert_eq!(event["event"], "connectionDestroyed");
        assert_eq!((&event["id"], &event["reason"]), (&id, &"networkDisconnected".into()));
    }
}

/// Whoever does not read is ended, and what waited for it did not fill the gateway's memory.
#[test]
fn slow_consumers_do_not_fill_the_memory() {
    use signalbox_client::{CloseReason, ConnectOptions, Connector, Event};

    let gateway = Gateway::start();
    let pem = std::fs::read(gateway.text("/ca")).unwrap();
    let talk = async {
        let join = async |scheme: &str| {
            let options =
                ConnectOptions::new(gateway.url(scheme), gateway.text("/tokens/publisher"));
            // Whoever is ended is to stay so.
            let options = options.presence(false).resume(false).rejoin(false);
            Connector::with_roots_pem(&pem).unwrap().connect(&options).await.unwrap()
        };
        let (speaker, mut heard) = join("quic").await;
        let (_deaf_quic, mut never_heard) = join("quic").await;
        let (_deaf_wss, mut never_heard_either) = join("wss").await;
        let before = gateway.resident_kib();
        let mut said_kib = 0;
        // Far more than the outboxes, the carriers' windows and the clients' queues hold.
        while said_kib < 200 * 1024 {
            speaker.signal().data("d".repeat(8192)).enqueue().await.unwrap();
            said_kib += 8;
            while !matches!(heard.next().await.unwrap(), Event::Signal { .. }) {}
        }
        let grown = gateway.resident_kib().saturating_sub(before);
        assert!(grown < 32 * 1024, "{grown} KiB more after {said_kib} KiB were said");
        for events in [&mut never_heard, &mut never_heard_either] {
            let reason = loop {
                if let Event::SessionDisconnected { reason, .. } = events.next().await.unwrap() {
                    break reason;
                }
            };
            // A TCP that is full cannot carry the reason.
            let known = [CloseReason::SlowConsumer, CloseReason::NetworkDisconnected];
            assert!(known.contains(&reason), "{reason}");
        }
    };
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { tokio::time::timeout(TIMEOUT * 3, talk).await })
        .unwrap();
}

/// This repository's own history, or whatever of it a shallow clone has.
#[test]
fn piped_lines_arrive_complete_and_in_order_on_both_transports() {
    let gateway = Gateway::start();
    let mut listeners = [gateway.join_json("quic"), gateway.join_json("wss")];
    let log = Command::new("git").args(["log", "--format=%s"]).output().unwrap();
    let history = String::from_utf8(log.stdout).unwrap();
    // Repeated, so that it is also more than fits the window of the sender.
    let lines: Vec<&str> =
        history.lines().cycle().take(history.lines().count().max(1000)).collect();
    assert!(!lines.is_empty(), "the tests run inside the repository");
    for scheme in ["quic", "wss"] {
        let mut command = gateway.command("send", scheme, "publisher");
        let mut send = Process::start(command.args(["--type", "line", "--stdin"]));
        let mut input = send.child.stdin.take().unwrap();
        let text = lines.join("\n");
        let feeding = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        for listener in &mut listeners {
            let mut heard = Vec::new();
            while heard.len() < lines.len() {
                let event = listener.event();
                if event["event"] == "signal" {
                    assert_eq!(event["type"], "line");
                    assert_eq!(event["seq"], heard.len() as u64 + 1);
                    heard.push(event["data"].as_str().unwrap().to_owned());
                }
            }
            assert_eq!(heard, lines);
        }
        feeding.join().unwrap();
        assert!(send.succeeds());
    }
}

#[test]
fn one_signal_is_sent_to_one_or_all() {
    let gateway = Gateway::start();
    let mut listener = Process::start(gateway.command("join", "wss", "subscriber").args([
        "--json",
        "--websocket-json",
        "--no-presence",
    ]));
    let me = listener.event()["connection"]["id"].as_str().unwrap().to_owned();
    let send = |arguments: &[&str]| {
        gateway.command("send", "quic", "publisher").args(arguments).output().unwrap()
    };
    assert!(send(&["--type", "chat", "--data", "to all"]).status.success());
    let event = listener.event();
    assert_eq!((&event["type"], &event["data"]), (&"chat".into(), &"to all".into()));
    assert!(send(&["--data", "to you", "--to", &me]).status.success());
    assert_eq!(listener.event()["data"], "to you");
    assert!(send(&[]).status.success(), "a ping");
    let event = listener.event();
    assert_eq!((&event["type"], &event["data"]), (&Value::Null, &Value::Null));

    let failure = |output: Output, part: &str| {
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{said}");
    };
    let nobody = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";
    failure(send(&["--to", nobody, "--data", "x"]), "notFound");
    failure(send(&["--to", "bob", "--data", "x"]), "connection id");
    failure(send(&["--type", "a b"]), "signal type may hold only");
    failure(send(&["--data", &"x".repeat(8193)]), "8193 bytes");
    let subscriber = gateway.command("send", "quic", "subscriber").args(["--data", "x"]).output();
    failure(subscriber.unwrap(), "forbidden");
}

#[test]
fn minted_tokens_and_sessions_are_accepted() {
    let gateway = Gateway::start();
    let (key, secret) = (gateway.text("/project/key"), gateway.text("/project/secret"));
    let session = stdout(&run(&["session", "new", "--key", key]));
    let token = stdout(&run(&[
        "token",
        "--key",
        key,
        "--secret",
        secret,
        "--session",
        &session,
        "--role",
        "moderator",
        "--data",
        "name=alice",
        "--expires-in",
        "1m",
    ]));
    let mut command = signalbox();
    command
        .args(["join", &gateway.url("quic"), "--ca", gateway.text("/ca"), "--json"])
        .env("SIGNALBOX_TOKEN", &token);
    let mut alice = Process::start(&mut command);
    let event = alice.event();
    assert_eq!(event["session"], Value::from(session.clone()));
    assert_eq!(event["connection"]["data"], "name=alice");

    let json = stdout(&run(&["session", "new", "--key", key, "--location", "10.1.2.3", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["session"].as_str().unwrap().starts_with("1_"));
    let other = run(&["token", "--key", "1", "--secret", "s", "--session", &session]);
    assert!(!other.status.success());
    assert!(String::from_utf8(other.stderr).unwrap().contains("belongs to project"));

    // Longer than the gateway accepts: said here, and not only when a client is refused.
    let base = ["token", "--key", key, "--secret", secret, "--expires-in"];
    for (lifetime, of) in [("30d 1s", ["--session", &session]), ("25h", ["--server", "--json"])] {
        let refused = run(&[&base[..], &[lifetime], &of].concat());
        assert!(!refused.status.success());
        assert!(String::from_utf8(refused.stderr).unwrap().contains("longer than a gateway"));
    }
    for (lifetime, part) in [("3600", "time unit needed"), ("500ms", "less than a second")] {
        let refused = run(&[&base[..], &[lifetime, "--session", &session]].concat());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(part), "{lifetime}: {said}");
    }
}

#[test]
fn the_dev_environment_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Gateway::serve(dir.path(), "text");
    let session = first.line_with("Session").split_whitespace().last().unwrap().to_owned();
    first.terminate();
    assert!(first.succeeds(), "SIGTERM ends it well");
    let mut second = Gateway::serve(dir.path(), "json");
    let announcement = second.event();
    assert_eq!(announcement["session"], Value::from(session));
    second.terminate();
    // Its end of the pipe closes without another line.
    let rest = second.lines.recv_timeout(TIMEOUT);
    assert_eq!(rest, Err(mpsc::RecvTimeoutError::Disconnected), "exactly one line");
    assert!(second.succeeds());
}

#[test]
fn errors_name_the_next_step() {
    let failure = |arguments: &[&str], part: &str| {
        let output = run(arguments);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{arguments:?}: {said}");
    };
    failure(&["serve"], "serve --dev");
    failure(&["serve", "--config", "no/such.toml"], "no/such.toml");
    failure(&["join", "quic://localhost"], "--token");
    failure(&["join", "http://localhost", "--token", "x"], "quic://HOST");
    failure(&["join", "wss://127.0.0.1:1", "--token", "x"], "cannot reach the gateway");
    failure(&["join", "quic://localhost", "--token", "x", "--ca", "no.pem"], "no.pem");
    failure(&["token", "--key", "a b", "--secret", "s", "--session", "x"], "project key");

    let gateway = Gateway::start();
    let (quic, tcp) = (gateway.text("/quic"), gateway.text("/https"));
    let dir = tempfile::tempdir().unwrap();
    let dev_dir = dir.path().to_str().unwrap();
    let dev = ["serve", "--dev", "--dev-dir", dev_dir];
    failure(&[&dev[..], &["--quic", quic, "--tcp", "127.0.0.1:0"]].concat(), "another program");
    failure(&[&dev[..], &["--quic", "127.0.0.1:0", "--tcp", tcp]].concat(), "another program");
    drop(gateway.process);
}

#[test]
fn config_prints_the_source_of_each_value() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let toml = "[timeouts]\nidle_ms = 9000\n[[projects]]\nkey = \"1\"\nsecrets = [\"hush\"]\n";
    std::fs::write(&file, toml).unwrap();
    let output = signalbox()
        .args(["config", "--tcp", "127.0.0.1:9", "--config"])
        .arg(&file)
        .env("SIGNALBOX_LIMITS__OUTBOX_FRAMES", "77")
        .env("SIGNALBOX_NAME", "gw-1")
        .output()
        .unwrap();
    // A certificate is missing, but the rest is shown.
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let line = |part: &str| said.lines().find(|line| line.starts_with(part)).unwrap_or_default();
    assert!(line("timeouts.idle_ms = 9000").contains("gateway.toml"), "{said}");
    assert!(
        line("limits.outbox_frames = 77").contains("SIGNALBOX_LIMITS__OUTBOX_FRAMES"),
        "{said}"
    );
    assert!(line("name = \"gw-1\"").contains("SIGNALBOX_NAME"), "{said}");
    assert!(line("listen.tcp = \"127.0.0.1:9\"").contains("flag"), "{said}");
    assert!(line("drain.timeout_ms = 10000").contains("default"), "{said}");
    assert!(!said.contains("hush"), "secrets are not shown");
}

#[test]
fn every_help_has_an_example() {
    for command in ["serve", "join", "send", "token", "config", "completions"] {
        let help = stdout(&run(&[command, "--help"]));
        assert!(help.contains("Example"), "{command}");
    }
    assert!(stdout(&run(&["session", "new", "--help"])).contains("Example"));
    assert!(stdout(&run(&["completions", "bash"])).contains("signalbox"));
}
