//! A part of a gateway fails: the gateway continues without it, or shuts down cleanly with an error.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _, pipe},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, getrlimit, pidfd_getfd, pidfd_open, prlimit,
};
use socket2::{SockRef, Type};

use crate::{Gateway, Process, TIMEOUT};

/// A gateway with a state file, and the lines of its log.
struct Scene {
    gateway: Gateway,
    log: mpsc::Receiver<String>,
    logged: Vec<String>,
    dir: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer) = pipe().unwrap();
        let mut command = Gateway::serve_command(&dir.path().join("dev"), "json");
        command.env("SIGNALBOX_RESUME__STATE_FILE", dir.path().join("state"));
        let mut process = Process::start_with_log(&mut command, writer.into());
        drop(command);
        let (sender, lines) = mpsc::sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let announcement = process.event();
        let gateway = Gateway { process, announcement, _dir: tempfile::tempdir().unwrap() };
        Self { gateway, log: lines, logged: Vec::new(), dir }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.gateway.process.child)
    }

    /// A duplicate of the gateway's socket of this type and port.
    fn socket(&self, kind: Type, address: &str) -> OwnedFd {
        let address: SocketAddr = address.parse().unwrap();
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let numbers =
            files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap());
        let sockets = numbers.filter_map(|number| {
            let file = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok()?;
            let socket = SockRef::from(&file);
            let is_it = socket.r#type().ok()? == kind
                && socket.local_addr().ok()?.as_socket()? == address
                && socket.peer_addr().is_err();
            is_it.then_some(file)
        });
        let sockets: Vec<_> = sockets.collect();
        let [socket] = <[_; 1]>::try_from(sockets).unwrap();
        socket
    }

    /// Whether a line has come within `time` that contains `part`.
    fn says(&mut self, part: &str, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else { return false };
            self.logged.push(line);
            if self.logged.last().unwrap().contains(part) {
                return true;
            }
        }
    }

    /// The gateway shuts down cleanly, logs the reason, and exits with an error.
    fn ends_with(mut self, error: &str) {
        let status = self.gateway.process.child.wait().unwrap();
        assert!(self.says("gateway stopped", TIMEOUT), "{:?}", self.logged);
        assert!(self.says(&format!("error: {error}"), TIMEOUT), "{:?}", self.logged);
        assert_eq!(status.code(), Some(1));
        assert!(self.dir.path().join("state").exists(), "those who were there cannot come back");
    }
}

#[test]
fn a_gateway_whose_tcp_listener_fails_shuts_down_cleanly() {
    let scene = Scene::start();
    let mut client = scene.gateway.join_json("quic");
    let socket = scene.socket(Type::STREAM, scene.gateway.text("/https"));
    SockRef::from(&socket).shutdown(std::net::Shutdown::Read).unwrap();
    client.line_with("sessionReconnecting");
    scene.ends_with("the TCP listener has failed");
}

/// Without free file descriptors existing clients are not affected, and the log has one line about it.
#[test]
fn an_outage_is_logged_when_it_begins_and_when_it_is_over() {
    let mut scene = Scene::start();
    let mut quic = scene.gateway.join_json("quic");
    let mut wss = scene.gateway.join_json("wss");
    let before = getrlimit(Resource::Nofile);
    let limit = |current| {
        let limit = Rlimit { current, maximum: before.maximum };
        prlimit(Some(scene.pid()), Resource::Nofile, limit).unwrap();
    };
    limit(Some(3));
    let address = scene.gateway.text("/https").to_owned();
    let mut waiting = TcpStream::connect(&address).unwrap();
    waiting.write_all(b"no TLS at all").unwrap();
    waiting.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    waiting.read(&mut [0]).expect_err("it is not accepted, for a second");
    quic.type_line("still here");
    wss.line_with("still here");

    limit(before.current);
    waiting.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert!(waiting.read_to_end(&mut Vec::new()).is_ok(), "it is accepted");
    assert!(scene.says("accepting again", TIMEOUT), "{:?}", scene.logged);
    let over = scene.logged.last().unwrap();
    let failures = over.split(' ').find_map(|part| part.strip_prefix("failures=")).unwrap();
    assert!(failures.parse::<u32>().unwrap() >= 5, "{over}");
    let began = scene.logged.iter().filter(|line| line.contains("cannot accept; pausing"));
    assert_eq!(began.count(), 1, "{:?}", scene.logged);
}

/// A write beyond the file size limit raises SIGXFSZ, which ends a process by default.
#[test]
fn a_state_file_over_the_limit_of_file_sizes_is_an_error_and_the_drain_goes_on() {
    let mut scene = Scene::start();
    let mut client = scene.gateway.join_json("quic");
    let none = Rlimit { current: Some(0), maximum: None };
    prlimit(Some(scene.pid()), Resource::Fsize, none).unwrap();
    scene.gateway.process.terminate();
    client.line_with("sessionReconnecting");
    assert!(scene.says("File too large", TIMEOUT), "{:?}", scene.logged);
    assert!(scene.says("gateway stopped", TIMEOUT), "{:?}", scene.logged);
    assert!(scene.gateway.process.child.wait().unwrap().success());
    let left = fs::read_dir(scene.dir.path()).unwrap();
    let mut left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["dev", "state.key"], "a part of a state file is there");
}
