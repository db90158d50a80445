//! A gateway and its clients on two hosts of an emulated network.

use std::{collections::BTreeMap, process::Command, sync::Arc};

use serde_json::Value;
use signalbox_netem::{
    LinkModel,
    namespace::{Host, Network},
};

use crate::support::{Process, signalbox};

/// The gateway's port for QUIC and TCP.
const PORT: u16 = 4433;

/// Clients in the session, besides the bystander.
pub(crate) const SENDERS: usize = 20;

/// A gateway on the server's host. It detects a silent link after a second and a half.
pub(crate) struct Scene {
    pub(crate) network: Arc<Network>,
    pub(crate) announcement: Value,
    _gateway: Process,
    _dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// A scene with settings of the gateway in its environment.
    pub(crate) fn with(environment: &[(&str, &str)]) -> Self {
        let network = Network::start(LinkModel::default(), LinkModel::default(), 1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{PORT}");
        let mut serve = signalbox();
        serve
            .args(["serve", "--dev", "--announce", "json", "--dev-dir"])
            .arg(dir.path())
            .args(["--quic", &address, "--tcp", &address])
            .env("XDG_RUNTIME_DIR", dir.path())
            .env("SIGNALBOX_TIMEOUTS__IDLE_MS", "1500")
            .envs(environment.iter().copied());
        let mut gateway = start(network.server(), &mut serve);
        let announcement = gateway.event();
        Self { network: Arc::new(network), announcement, _gateway: gateway, _dir: dir }
    }

    /// A string in the gateway's announcement.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.announcement.pointer(path).unwrap().as_str().unwrap()
    }

    /// A client's command. It uses the first of these transports that works.
    pub(crate) fn command(&self, name: &str, schemes: &[&str]) -> Command {
        let url = |scheme: &&str| format!("{scheme}://localhost:{PORT}");
        let mut command = signalbox();
        command.arg(name).args(schemes.iter().map(url));
        command.args(["--ca", self.text("/ca"), "--token", self.text("/tokens/publisher")]);
        command
    }

    /// Joins the session from the clients' host.
    pub(crate) fn join(&self, schemes: &[&str]) -> Process {
        joined(self.network.client(), self.command("join", schemes))
    }

    /// Joins the session from the gateway's host, whose network never fails.
    pub(crate) fn bystander(&self) -> Process {
        joined(self.network.server(), self.command("join", &["quic"]))
    }

    /// Blocks everything that the clients send over this protocol (`udp` or `tcp`), and nothing
    /// else.
    pub(crate) fn block(&self, protocol: &str) {
        let rules = format!(
            "rule flush\nrule add pref 32766 lookup main\n\
             rule add pref 1 ipproto {protocol} dport {PORT} blackhole\n"
        );
        self.network.client().ip(&rules).unwrap();
    }
}

/// Starts a command on a host.
pub(crate) fn start(host: &Host, command: &mut Command) -> Process {
    let _entered = host.enter().unwrap();
    Process::start(command)
}

fn joined(host: &Host, mut join: Command) -> Process {
    let mut process = start(host, join.arg("--json"));
    assert_eq!(process.event()["event"], "sessionConnected");
    process
}

/// The output of `join --json`. Signals must be numbered lines of named senders.
#[derive(Default)]
pub(crate) struct Received {
    /// The number of the last line of each sender.
    lines: BTreeMap<String, u32>,
    /// Everything that was not a signal.
    pub(crate) others: Vec<Value>,
    /// Whether lines may be repeated.
    pub(crate) may_repeat: bool,
}

impl Received {
    /// Reads until the condition holds. No line may be missing, repeated or out of order.
    pub(crate) fn read_until(&mut self, process: &mut Process, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let event = process.event();
            if event["event"] != "signal" {
                self.others.push(event);
                continue;
            }
            let (name, number) = event["data"].as_str().unwrap().split_once(' ').unwrap();
            let last = self.lines.entry(name.to_owned()).or_default();
            let number: u32 = number.parse().unwrap();
            if !self.may_repeat || number > *last {
                assert_eq!(number, *last + 1, "{name}: none lost, none twice, in order");
                *last = number;
            }
        }
    }

    /// Whether this line of every sender has been received.
    pub(crate) fn all_at(&self, line: u32) -> bool {
        self.lines.len() == SENDERS && self.lines.values().all(|last| *last >= line)
    }

    /// The number of events of a kind.
    pub(crate) fn events(&self, kind: &str) -> usize {
        self.others.iter().filter(|event| event["event"] == kind).count()
    }
}
