//! A gateway whose log is not read or cannot be written keeps serving.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _, pipe},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Stdio,
    time::Instant,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::{Gateway, Process, TIMEOUT, run, signalbox, stdout};

/// Clients whose log lines would fill a pipe of 64 KiB several times.
const STRANGERS: usize = 1500;

/// A gateway with a state file and a configuration to reload, and two clients in a session.
struct Scene {
    gateway: Gateway,
    quic: Process,
    wss: Process,
    signals: usize,
    dir: tempfile::TempDir,
}

impl Scene {
    fn start(level: &str, log: impl Into<Stdio>) -> Self {
        Self::start_with(&[], level, log)
    }

    fn start_with(arguments: &[&str], level: &str, log: impl Into<Stdio>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        let state_file = dir.path().join("state");
        fs::write(&file, format!("[resume]\nstate_file = {state_file:?}\n")).unwrap();
        let mut command = Gateway::serve_command(&dir.path().join("dev"), "json");
        command.arg("--config").arg(&file).args(arguments).env("SIGNALBOX_LOG", level);
        let mut process = Process::start_with_log(&mut command, log.into());
        let announcement = process.event();
        let gateway = Gateway { process, announcement, _dir: tempfile::tempdir().unwrap() };
        let mut quic = gateway.join_json("quic");
        let wss = gateway.join_json("wss");
        assert_eq!(quic.event()["event"], "connectionCreated");
        Self { gateway, quic, wss, signals: 0, dir }
    }

    /// Asserts that a signal of one client reaches the other.
    fn signals_flow(&mut self) {
        self.signals += 1;
        let text = format!("signal {}", self.signals);
        self.quic.type_line(&text);
        self.wss.line_with(&text);
    }

    /// Connects clients without a valid token one after the other. Each is rejected in time.
    fn strangers_come(&mut self, number: usize) {
        for index in 0..number {
            stranger(self.gateway.text("/https"));
            if index % 100 == 0 {
                self.signals_flow();
            }
        }
        self.signals_flow();
    }

    /// Asserts that a project added to the configuration is accepted.
    fn projects_are_reloaded(&mut self) {
        let project = |key: &str, secret: &str| {
            format!("[[projects]]\nkey = {key:?}\nsecrets = [{secret:?}]\n")
        };
        let before =
            project(self.gateway.text("/project/key"), self.gateway.text("/project/secret"));
        let mut file =
            OpenOptions::new().append(true).open(self.dir.path().join("gateway.toml")).unwrap();
        // First an invalid one, which is logged.
        file.write_all(b"nonsense = 5\n").unwrap();
        self.gateway.process.signal("-HUP");
        self.signals_flow();
        let state_file = self.dir.path().join("state");
        let newcomer = project("newcomer", "a secret of the newcomer's");
        let text = format!("{before}{newcomer}[resume]\nstate_file = {state_file:?}\n");
        fs::write(self.dir.path().join("gateway.toml"), text).unwrap();
        self.gateway.process.signal("-HUP");
        let session = stdout(&run(&["session", "new", "--key", "newcomer"]));
        let secret = "a secret of the newcomer's";
        let token = ["token", "--key", "newcomer", "--secret", secret, "--session", &session];
        let token = stdout(&run(&token));
        let send = ["send", &self.gateway.url("wss"), "--ca", self.gateway.text("/ca")];
        let started = Instant::now();
        while !run(&[&send[..], &["--token", &token, "--data", "hello"]].concat()).status.success()
        {
            assert!(started.elapsed() < TIMEOUT, "the new project was never let in");
        }
    }

    /// Asserts that the gateway drains and writes its state file.
    fn drains(mut self) {
        let started = Instant::now();
        self.gateway.process.terminate();
        let status = self.gateway.process.child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(started.elapsed() < TIMEOUT, "it took {:?}", started.elapsed());
        assert!(self.dir.path().join("state").exists(), "there is no state file");
    }

    fn everything_works(mut self) {
        self.signals_flow();
        self.strangers_come(STRANGERS);
        self.projects_are_reloaded();
        self.drains();
    }
}

/// A TLS handshake with an invalid server name, about which the TLS library warns.
fn stranger(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&client_hello(b"no such name")).unwrap();
    // An alert, and the end.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("no answer: {error}"));
}

/// RFC 8446 §4.1.2, with the one extension of RFC 6066 §3.
fn client_hello(name: &[u8]) -> Vec<u8> {
    let with_length = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let names = with_length(&[&[0][..], &with_length(name)].concat());
    let extensions = with_length(&[&[0, 0][..], &with_length(&names)].concat());
    let random = [7; 32];
    // The finest log lists them all.
    let suites = with_length(&[0x13, 0x01].repeat(200));
    let hello = [&[3, 3][..], &random, &[0], &suites, &[1, 0], &extensions].concat();
    let handshake = [&[1, 0][..], &with_length(&hello)].concat();
    [&[22, 3, 1][..], &with_length(&handshake)].concat()
}

/// A file to which every write fails: "no space left on device".
fn full_disk() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_full_disk_under_the_log_costs_nothing() {
    Scene::start("info", full_disk()).everything_works();
    Scene::start("debug,rustls=warn", full_disk()).everything_works();
}

#[test]
fn a_closed_log_does_not_block_the_gateway() {
    for level in ["info", "debug,rustls=warn"] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        Scene::start(level, writer).everything_works();
    }
}

#[test]
fn an_unread_log_does_not_block_the_gateway() {
    for level in ["info", "info,rustls=warn", "debug,rustls=warn"] {
        // The reader stays open.
        let (_reader, writer) = pipe().unwrap();
        Scene::start(level, writer).everything_works();
    }
}

/// Lines that clients provoke are not logged by default, and limited if the operator enables them.
#[test]
fn clients_cannot_flood_the_log() {
    let log_of = |level: &str| {
        let (log, writer) = pipe().unwrap();
        let reading = std::thread::spawn(move || lines(log).collect::<Vec<_>>());
        let mut scene = Scene::start(level, writer);
        scene.strangers_come(80);
        scene.drains();
        reading.join().unwrap()
    };
    let count = |log: &[String], part: &str| log.iter().filter(|line| line.contains(part)).count();
    let log = log_of("info");
    assert_eq!(count(&log, "WARN"), 0, "{log:?}");
    let log = log_of("info,rustls=warn");
    assert_eq!(count(&log, "Illegal SNI"), 50, "{log:?}");
    let omitted = log.iter().find(|line| line.contains("log lines omitted")).unwrap();
    assert!(omitted.contains("lines=30 "), "{omitted}");
}

/// A file size limit that is lifted later, like a full disk with space again.
#[test]
fn after_a_full_disk_the_log_reports_the_dropped_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let mut scene = Scene::start_with(&["--log-json"], "debug,rustls=trace", log);
    let length = || fs::metadata(&path).unwrap().len();
    let pid = Pid::from_child(&scene.gateway.process.child);
    let before = length();
    scene.strangers_come(10);
    // The file has room for a few more lines, and a part of another one.
    let limit = length().max(before) + 1000;
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(limit), maximum: None }).unwrap();
    // More than the queue and the writer thread hold.
    scene.strangers_come(STRANGERS);
    assert_eq!(length(), limit);
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    let started = Instant::now();
    let notice = loop {
        let text = fs::read_to_string(&path).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("log lines dropped")) {
            break line.to_owned();
        }
        assert!(started.elapsed() < TIMEOUT, "it never said that lines are missing");
    };
    let notice: Value = serde_json::from_str(&notice).unwrap();
    assert!(notice["fields"]["lines"].as_u64().unwrap() > 100, "{notice}");
    scene.signals_flow();
    scene.drains();
    // No line is incomplete.
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["fields"]["message"] == "gateway stopped"),
        "the end is missing"
    );
}

/// With the limit in place the gateway shuts down cleanly.
#[test]
fn a_gateway_drains_while_its_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let mut scene = Scene::start("debug", log);
    let pid = Pid::from_child(&scene.gateway.process.child);
    // Room for the state, but not for the log.
    let limit = 64 * 1024;
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(limit), maximum: None }).unwrap();
    while fs::metadata(&path).unwrap().len() < limit {
        scene.strangers_come(100);
    }
    scene.drains();
}

/// Reads lines of a log until one contains `part`.
fn line_with(log: &mut impl Iterator<Item = String>, part: &str) -> String {
    log.find(|line| line.contains(part)).unwrap_or_else(|| panic!("it never said: {part}"))
}

fn lines(log: PipeReader) -> impl Iterator<Item = String> {
    BufReader::new(log).lines().map_while(Result::ok)
}

/// The gateway does not depend on the reader of its announcement.
#[test]
fn a_gateway_serves_without_a_reader_of_its_announcement() {
    let closed = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        writer.into()
    };
    let stopped = || {
        let (reader, mut writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[0; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        // It is not read during this test.
        std::mem::forget(reader);
        writer.into()
    };
    for out in [closed(), full_disk().into(), stopped()] {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer) = pipe().unwrap();
        let mut command = Gateway::serve_command(dir.path(), "text");
        let child = command.stdin(Stdio::null()).stdout::<Stdio>(out).stderr(writer).spawn();
        let (_, no_lines) = std::sync::mpsc::sync_channel(1);
        let mut process = Process { child: child.unwrap(), lines: no_lines };
        // The ends of the child.
        drop(command);
        let mut log = lines(log);
        line_with(&mut log, "announcement not written to standard output");
        let listening = line_with(&mut log, "listening for WebSocket");
        let address = listening.split(' ').find_map(|part| part.strip_prefix("address=")).unwrap();
        stranger(address);
        process.terminate();
        line_with(&mut log, "gateway stopped");
        assert!(process.child.wait().unwrap().success());
    }
}

/// The error of a gateway that does not start is text for people.
#[test]
fn a_gateway_that_cannot_start_reports_the_reason() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "[nonsense]\n").unwrap();
    let path: PathBuf = file.path().into();
    let output = signalbox().arg("serve").arg("--config").arg(path).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: ") && said.contains("nonsense"), "{said}");
}

#[test]
fn a_log_in_json_has_an_object_in_each_line() {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer) = pipe().unwrap();
    let mut command = Gateway::serve_command(dir.path(), "json");
    let mut process = Process::start_with_log(command.arg("--log-json"), writer.into());
    drop(command);
    process.event();
    process.terminate();
    let lines: Vec<Value> = lines(log).map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert!(process.succeeds());
    assert_eq!(lines.last().unwrap()["fields"]["message"], "gateway stopped");
}
