//! Hosts made of network namespaces, and the cable between them.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// Length of a network's prefix: room for two hosts, and more addresses for one of them.
pub(super) const PREFIX: u32 = 29;

/// Two hosts and a cable. Everything is gone when this is dropped.
pub(super) struct Network {
    pub(super) gateway: Host,
    pub(super) clients: Host,
}

pub(super) struct Host {
    pub(super) name: String,
    /// Its end of the cable.
    pub(super) device: String,
    pub(super) address: String,
}

impl Network {
    /// None, and a word about it, where the system lets nobody make hosts.
    pub(super) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let host = |end: u32| Host {
            name: format!("sb{id}-{number}-{end}"),
            device: format!("sb{}n{number}e{end}", id % 100_000),
            // A network of documentation (RFC 5737) each, so that tests do not meet.
            address: format!("192.0.2.{}", 8 * (number % 32) + end),
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
            let address = format!("{}/{PREFIX}", host.address);
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
    pub(super) fn pull(&self, seconds: u32) -> Command {
        let Host { name, device, .. } = &self.clients;
        let mut command = Command::new("sh");
        let set = format!("ip -n {name} link set {device}");
        let address = &self.clients.address;
        let address = format!("ip -n {name} addr replace {address}/{PREFIX} dev {device}");
        command.args(["-c", &format!("{set} down && sleep {seconds} && {set} up && {address}")]);
        command
    }

    /// Blocks what the clients send over this protocol (`udp` or `tcp`), and nothing else.
    pub(super) fn block(&self, protocol: &str) -> Command {
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
    pub(super) fn runs(&self, command: &Command) -> Command {
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
