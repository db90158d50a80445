//! A network that really fails: gateway and clients on hosts of their own, made of network
//! namespaces, and a cable between them that is pulled, or clients that move.

mod absent;
mod hosts;
mod moving;

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use self::hosts::Network;
use crate::{Process, signalbox, stdout};

/// A gateway on its host, that takes a silent link for lost after a second and a half.
struct Scene {
    network: Network,
    _gateway: Process,
    announcement: Value,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Option<Self> {
        Self::with(&[])
    }

    fn with(environment: &[(&str, &str)]) -> Option<Self> {
        let network = Network::new()?;
        let dir = tempfile::tempdir().unwrap();
        let mut serve = signalbox();
        serve
            .args(["serve", "--dev", "--announce", "json", "--dev-dir"])
            .arg(dir.path())
            .args(["--quic", "0.0.0.0:4433", "--tcp", "0.0.0.0:4433"])
            .env("SIGNALBOX_LINKS__IDLE_TIMEOUT_MS", "1500")
            .envs(environment.iter().copied());
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
    /// Lines may come a second time.
    may_repeat: bool,
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
            let number: u32 = number.parse().unwrap();
            if !self.may_repeat || number > *last {
                assert_eq!(number, *last + 1, "{name}: none lost, none twice, in order");
                *last = number;
            }
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
    let Some(scene) = Scene::new() else { return };
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
        let Some(scene) = Scene::with(&[("SIGNALBOX_RESUME__WINDOW_MS", "2000")]) else { return };
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
