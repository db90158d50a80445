//! A network that really fails: gateway and clients on hosts of their own, made of network
//! namespaces, and a cable between them that is pulled.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::{Process, signalbox, stdout};

/// Two hosts and a cable. Everything is gone when this is dropped.
struct Network {
    gateway: Host,
    clients: Host,
}

struct Host {
    name: String,
    /// Its end of the cable.
    device: String,
    address: String,
}

impl Network {
    /// None, and a word about it, where the system lets nobody make hosts.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let host = |end: u32| Host {
            name: format!("sb{id}-{number}-{end}"),
            device: format!("sb{}n{number}e{end}", id % 100_000),
            // A network of documentation (RFC 5737) each, so that tests do not meet.
            address: format!("192.0.2.{}", 4 * (number % 60) + end),
        };
        let network = Self { gateway: host(1), clients: host(2) };
        let (gateway, clients) = (&network.gateway, &network.clients);
        let made = ip(&["netns", "add", &gateway.name]) && ip(&["netns", "add", &clients.name]);
        if !made {
            let note = "note: this system lets us make no network namespaces (root can), so \
                        nothing was tested over a network that fails\n";
            // Past the capture of test output, which would hide it.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes());
            return None;
        }
        assert!(ip(&[
            "link",
            "add",
            &gateway.device,
            "netns",
            &gateway.name,
            "type",
            "veth",
            "peer",
            "name",
            &clients.device,
            "netns",
            &clients.name,
        ]));
        for host in [gateway, clients] {
            let address = format!("{}/30", host.address);
            assert!(ip(&["-n", &host.name, "addr", "add", &address, "dev", &host.device]));
            assert!(ip(&["-n", &host.name, "link", "set", &host.device, "up"]));
            assert!(ip(&["-n", &host.name, "link", "set", "lo", "up"]));
            // The gateway's certificate is for localhost.
            let etc = PathBuf::from("/etc/netns").join(&host.name);
            fs::create_dir_all(&etc).unwrap();
            fs::write(etc.join("hosts"), format!("{} localhost\n", gateway.address)).unwrap();
        }
        Some(network)
    }

    /// Pulls the cable, for so many seconds.
    fn pull(&self, seconds: u32) -> Command {
        let Host { name, device, .. } = &self.clients;
        let mut command = Command::new("sh");
        let set = format!("ip -n {name} link set {device}");
        let address = format!("ip -n {name} addr replace {}/30 dev {device}", self.clients.address);
        command.args(["-c", &format!("{set} down && sleep {seconds} && {set} up && {address}")]);
        command
    }

    /// Blocks what the clients send over this protocol (`udp` or `tcp`), and nothing else.
    fn block(&self, protocol: &str) -> Command {
        let mut command = Command::new("sh");
        let rule = format!("ip -n {} rule", self.clients.name);
        // Until now the other one may have been blocked.
        let flush = format!("{rule} flush && {rule} add pref 32766 lookup main");
        let block = format!("{rule} add pref 1 ipproto {protocol} dport 4433 blackhole");
        command.args(["-c", &format!("{flush} && {block}")]);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in [&self.gateway, &self.clients] {
            let _ = ip(&["netns", "del", &host.name]);
            let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(&host.name));
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Host {
    /// The same command, on this host.
    fn runs(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.name]).arg(command.get_program());
        there.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }
}

/// A gateway on its host, that takes a silent link for lost after a second and a half.
struct Scene {
    network: Network,
    _gateway: Process,
    announcement: Value,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new(window_ms: &str) -> Option<Self> {
        let network = Network::new()?;
        let dir = tempfile::tempdir().unwrap();
        let mut serve = signalbox();
        serve
            .args(["serve", "--dev", "--announce", "json", "--dev-dir"])
            .arg(dir.path())
            .args(["--quic", "0.0.0.0:4433", "--tcp", "0.0.0.0:4433"])
            .env("SIGNALBOX_LINKS__IDLE_TIMEOUT_MS", "1500")
            .env("SIGNALBOX_RESUME__WINDOW_MS", window_ms);
        let mut gateway = Process::start(&mut network.gateway.runs(&serve));
        let announcement = gateway.event();
        Some(Self { network, _gateway: gateway, announcement, _dir: dir })
    }

    /// A client's command, by the first of these ways or the second.
    fn command(&self, name: &str, links: &[&str]) -> Command {
        let url = |scheme: &&str| format!("{scheme}://localhost:4433");
        let text = |path: &str| self.announcement.pointer(path).unwrap().as_str().unwrap();
        let mut command = signalbox();
        command.arg(name).args(links.first().map(url));
        if let Some(fallback) = links.get(1).map(url) {
            command.args(["--fallback", &fallback]);
        }
        command.args(["--ca", text("/ca"), "--token", text("/tokens/publisher")]);
        command
    }

    /// Somebody beside the gateway, whose network never fails, in the session.
    fn bystander(&self) -> Process {
        joined(self.network.gateway.runs(self.command("join", &["quic"]).arg("--json")))
    }
}

fn joined(mut command: Command) -> Process {
    let mut process = Process::start(&mut command);
    assert_eq!(process.event()["event"], "sessionConnected");
    process
}

/// Follows `join --json` and keeps count of every sender's lines.
#[derive(Default)]
struct Heard {
    /// The last line of each sender, by the name in its lines.
    lines: BTreeMap<String, u32>,
    /// Everything that was no signal.
    others: Vec<Value>,
}

impl Heard {
    fn follow(&mut self, process: &mut Process, until: impl Fn(&Self) -> bool) {
        while !until(self) {
            let event = process.event();
            if event["event"] != "signal" {
                self.others.push(event);
                continue;
            }
            let (name, number) = event["data"].as_str().unwrap().split_once(' ').unwrap();
            let last = self.lines.entry(name.to_owned()).or_default();
            assert_eq!(
                number.parse::<u32>().unwrap(),
                *last + 1,
                "{name}: none lost, none twice, in order"
            );
            *last += 1;
        }
    }

    fn all_at(&self, line: u32, senders: usize) -> bool {
        self.lines.len() == senders && self.lines.values().all(|last| *last >= line)
    }

    /// Events of this kind.
    fn events(&self, kind: &str) -> usize {
        self.others.iter().filter(|event| event["event"] == kind).count()
    }
}

const SENDERS: usize = 20;
const LINES: u32 = 60;

/// Twenty clients send and one listens, by these ways to the gateway, while their network fails.
fn nothing_is_lost(links: &[&str], failures: impl Fn(&Network) -> Vec<Command>) {
    let Some(scene) = Scene::new("30000") else { return };
    let mut bystander = scene.bystander();
    let here = &scene.network.clients;
    let mut listener = joined(here.runs(scene.command("join", links).arg("--json")));
    let mut senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let mut send = scene.command("send", links);
            Process::start(&mut here.runs(send.args(["--stdin", "--rate", "10"])))
        })
        .collect();
    for line in 1..=LINES {
        for (index, sender) in senders.iter_mut().enumerate() {
            sender.type_line(&format!("sender{index} {line}"));
        }
    }
    let (mut beside, mut far) = (Heard::default(), Heard::default());
    let failures = failures(&scene.network);
    let count = failures.len();
    for (number, mut failure) in (1..).zip(failures) {
        // Everyone has been heard since the last one.
        far.follow(&mut listener, |heard| heard.all_at(number * 10, SENDERS));
        assert!(failure.status().unwrap().success());
    }
    beside.follow(&mut bystander, |heard| heard.all_at(LINES, SENDERS));
    far.follow(&mut listener, |heard| heard.all_at(LINES, SENDERS));
    assert_eq!(beside.events("connectionDestroyed"), 0, "nobody noticed");
    assert_eq!(beside.events("connectionCreated"), SENDERS + 1);
    assert_eq!(far.events("gap") + far.events("sessionRejoined"), 0);
    assert_eq!(far.events("sessionReconnected"), count, "it really failed");
    for sender in senders {
        assert!(sender.succeeds());
    }
}

#[test]
fn nothing_is_lost_over_quic_when_the_cable_is_pulled() {
    nothing_is_lost(&["quic"], |network| vec![network.pull(5)]);
}

#[test]
fn nothing_is_lost_over_websocket_when_the_cable_is_pulled() {
    nothing_is_lost(&["wss"], |network| vec![network.pull(5)]);
}

#[test]
fn nothing_is_lost_when_the_transport_has_to_change() {
    // From QUIC to WebSocket, and back.
    let blocks = |network: &Network| vec![network.block("udp"), network.block("tcp")];
    nothing_is_lost(&["quic", "wss"], blocks);
}

#[test]
fn who_is_away_for_too_long_is_gone_once_and_told_so() {
    for scheme in ["quic", "wss"] {
        let Some(scene) = Scene::new("2000") else { return };
        let mut bystander = scene.bystander();
        let here = &scene.network.clients;
        let mut client = joined(here.runs(scene.command("join", &[scheme]).arg("--json")));
        assert_eq!(bystander.event()["event"], "connectionCreated");
        assert_eq!(client.event()["event"], "connectionCreated");
        assert!(scene.network.pull(8).status().unwrap().success());
        let destroyed = bystander.event();
        assert_eq!(destroyed["event"], "connectionDestroyed");
        assert_eq!(destroyed["reason"], "networkDisconnected");
        assert_eq!(client.event()["event"], "sessionReconnecting");
        let rejoined = client.event();
        assert_eq!(rejoined["event"], "sessionRejoined", "{rejoined}");
        let created = bystander.event();
        assert_eq!(created["event"], "connectionCreated");
        assert_eq!(created["connection"]["id"], rejoined["connection"]["id"]);
    }
}

#[test]
fn the_hosts_of_a_test_are_gone_after_it() {
    let Some(network) = Network::new() else { return };
    let name = network.gateway.name.clone();
    let list = || stdout(&Command::new("ip").args(["netns", "list"]).output().unwrap());
    assert!(list().contains(&name));
    drop(network);
    assert!(!list().contains(&name));
}
