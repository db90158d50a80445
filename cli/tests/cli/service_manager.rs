//! A gateway under a service manager: what it sends to the socket that systemd reads.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::{Gateway, Process, TIMEOUT};

/// The socket of a service manager.
struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    fn bind(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket, path }
    }

    fn next(&self) -> String {
        let mut message = [0; 1000];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The next message that has this line.
    fn with(&self, line: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|it| it == line) {
                return message;
            }
        }
    }
}

/// The value of a line of a message.
fn value<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name}: {message}"))
}

fn monotonic_micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

fn serve(dir: &Path, socket: &Path, environment: &[(&str, &str)]) -> Gateway {
    let mut command = Gateway::serve_command(&dir.join("dev"), "json");
    command.env("NOTIFY_SOCKET", socket).envs(environment.iter().copied());
    let mut process = Process::start(&mut command);
    let announcement = process.event();
    Gateway { process, announcement, _dir: tempfile::tempdir().unwrap() }
}

#[test]
fn the_service_manager_follows_the_life_of_a_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let notified = NotifySocket::bind(dir.path());
    let settings = [
        ("WATCHDOG_USEC", "300000"),
        ("SIGNALBOX_DRAIN__READINESS_DELAY_MS", "200"),
        ("SIGNALBOX_DRAIN__TIMEOUT_MS", "100000"),
    ];
    let gateway = serve(dir.path(), &notified.path, &settings);
    let ready = notified.with("READY=1");
    assert_eq!(value(&ready, "STATUS"), "Serving: connections=0 sessions=0");
    let member = gateway.join_json("wss");
    while value(&notified.with("WATCHDOG=1"), "STATUS") != "Serving: connections=1 sessions=1" {}

    let asked = monotonic_micros();
    gateway.process.signal("-HUP");
    let reloading = notified.with("RELOADING=1");
    let at: i64 = value(&reloading, "MONOTONIC_USEC").parse().unwrap();
    assert!((asked..=monotonic_micros()).contains(&at), "{asked} {at}");
    notified.with("READY=1");

    gateway.process.terminate();
    let stopping = notified.with("STOPPING=1");
    assert!(value(&stopping, "STATUS").starts_with("Draining: "), "{stopping}");
    assert_eq!(value(&stopping, "EXTEND_TIMEOUT_USEC"), "110200000");
    notified.with("WATCHDOG=1");
    assert!(gateway.process.succeeds());
    drop(member);
}

#[test]
fn a_gateway_serves_although_its_service_manager_does_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let notified = NotifySocket::bind(dir.path());
    // Fills the queue of the socket.
    let full = UnixDatagram::unbound().unwrap();
    full.connect(&notified.path).unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send(b"STATUS=").is_ok() {}
    let gateway = serve(dir.path(), &notified.path, &[("WATCHDOG_USEC", "100000")]);
    let mut member = gateway.join_json("wss");
    member.type_line("hello");
    gateway.process.terminate();
    assert!(gateway.process.succeeds());

    // It is gone, as if it had crashed.
    drop(notified);
    let mut gateway = serve(dir.path(), &dir.path().join("notify"), &[]);
    let log = gateway.process.stderr();
    gateway.process.terminate();
    assert!(gateway.process.succeeds());
    let log = log.join().unwrap();
    assert_eq!(log.matches("service manager not notified").count(), 1, "{log}");
}

/// A sign of life every third of the watchdog's time.
#[test]
fn the_watchdog_is_fed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let notified = NotifySocket::bind(dir.path());
    let watchdog = Duration::from_secs(3);
    let _gateway = serve(dir.path(), &notified.path, &[("WATCHDOG_USEC", "3000000")]);
    notified.socket.set_read_timeout(Some(watchdog)).unwrap();
    for _ in 0..4 {
        notified.with("WATCHDOG=1");
    }
}
