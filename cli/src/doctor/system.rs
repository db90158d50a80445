//! The machine: descriptors, UDP, clock and memory.

use std::{path::Path, time::Duration};

use rustix::process::{Resource, getrlimit};
use signalbox_gateway::{Config, UdpGrants, udp_grants};
use tokio::{process::Command, time::timeout};

use super::finding::Finding;
use crate::clock::unix_time;

/// Descriptors beside those of WebSockets: listeners, files, HTTP connections.
const OTHER_DESCRIPTORS: u64 = 2048;

/// Time for the answer about the clock.
const CLOCK: Duration = Duration::from_secs(3);

/// A time before the first version, in seconds since 1970: only a clock that was never set shows it.
const PAST: u64 = 1_700_000_000;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![descriptors(config)];
    match udp_grants() {
        Ok(grants) => findings.extend([buffers(grants), gso(grants)]),
        Err(error) => {
            let text = format!("there can be no UDP socket: {error}");
            findings.push(Finding::fail(
                "udp",
                text,
                "allow sockets of the families AF_INET and AF_INET6",
            ));
        }
    }
    findings.push(memory(config.limits.memory_bytes, memory_bytes()));
    findings
}

fn descriptors(config: &Config) -> Finding {
    let wanted = config.limits.connections as u64 + OTHER_DESCRIPTORS;
    let running = config.process.pid_file.as_deref().and_then(limit_of_gateway);
    let (of, limit) = match running {
        Some(limit) => ("the running gateway", limit),
        None => ("this shell", getrlimit(Resource::Nofile).current),
    };
    let next = format!(
        "raise it to {wanted} (ulimit -n, LimitNOFILE of the service), or lower limits.connections"
    );
    match limit {
        Some(limit) if limit < wanted => {
            let connections = config.limits.connections;
            let text = format!(
                "{of} may open {limit} files, and limits.connections allows {connections} WebSockets"
            );
            Finding::warn("descriptors", text, next)
        }
        Some(limit) => Finding::ok("descriptors", format!("{of} may open {limit} files")),
        None => Finding::ok("descriptors", format!("{of} may open any number of files")),
    }
}

/// The limit of the gateway that a pid file names, if it runs. Inside is none if there is no limit.
fn limit_of_gateway(pid_file: &Path) -> Option<Option<u64>> {
    let pid: u32 = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some(line.split_whitespace().next()?.parse().ok())
}

fn buffers(grants: UdpGrants) -> Finding {
    let UdpGrants { wanted, receive, send, .. } = grants;
    let kib = |bytes: usize| bytes / 1024;
    if receive >= wanted && send >= wanted {
        return Finding::ok("udp buffers", format!("{} KiB in each direction", kib(wanted)));
    }
    let text = format!(
        "the system grants {} KiB to receive and {} KiB to send, of {} KiB; bursts of packets are lost",
        kib(receive),
        kib(send),
        kib(wanted)
    );
    let next = format!("sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}");
    Finding::warn("udp buffers", text, next)
}

fn gso(grants: UdpGrants) -> Finding {
    match grants.gso_segments {
        0 | 1 => Finding::warn(
            "gso",
            "the kernel sends one UDP packet for each system call, which costs CPU",
            "use Linux 4.18 or newer, and a sandbox that passes the option UDP_SEGMENT",
        ),
        packets => Finding::ok("gso", format!("{packets} packets for each system call")),
    }
}

/// Whether the clock is set by NTP, as far as the system says.
pub(super) async fn clock() -> Finding {
    if unix_time().as_secs() < PAST {
        let next = "set it; tokens and certificates are compared with it";
        return Finding::fail("clock", "it shows a time in the past", next);
    }
    let asking = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    match timeout(CLOCK, asking).await {
        Ok(Ok(said)) => synchronized(String::from_utf8_lossy(&said.stdout).trim()),
        _ => synchronized(""),
    }
}

fn synchronized(said: &str) -> Finding {
    match said {
        "yes" => Finding::ok("clock", "it is synchronized"),
        "no" => Finding::warn(
            "clock",
            "it is not synchronized, and tokens are compared with it, with 60 s of leeway",
            "run systemd-timesyncd or chrony: timedatectl set-ntp true",
        ),
        _ => Finding::warn(
            "clock",
            "the system does not say whether it is synchronized",
            "compare it with another clock; in a container it is that of the host",
        ),
    }
}

fn memory(limit: u64, available: Option<u64>) -> Finding {
    let Some(available) = available else {
        let next = "set limits.memory_bytes to two thirds of it";
        return Finding::warn("memory", "the system does not say how much there is", next);
    };
    let (mib, advised) = (available >> 20, available / 3 * 2);
    let next = format!("set limits.memory_bytes to about {advised}, two thirds of it");
    if limit == 0 {
        let text = format!(
            "there are {mib} MiB, and limits.memory_bytes is not set: when they are used up, the \
             kernel ends the gateway with all its clients"
        );
        Finding::warn("memory", text, next)
    } else if limit > available {
        let text = format!("limits.memory_bytes is more than the {mib} MiB that there are");
        Finding::fail("memory", text, next)
    } else if limit > available / 10 * 9 {
        let text = format!("limits.memory_bytes leaves little of {mib} MiB for the rest");
        Finding::warn("memory", text, next)
    } else {
        let text = format!("new clients are refused at {} of {mib} MiB", limit >> 20);
        Finding::ok("memory", text)
    }
}

/// Memory of the machine, or of the container.
fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let machine = kib * 1024;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    // "max" is no number.
    let container = container.and_then(|text| text.trim().parse().ok());
    Some(container.map_or(machine, |container: u64| container.min(machine)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn findings_of_the_machine_follow_from_its_figures() {
        let grants =
            |receive, gso_segments| UdpGrants { wanted: 4096, receive, send: 4096, gso_segments };
        assert_eq!(buffers(grants(4096, 1)).level, Level::Ok);
        let small = buffers(grants(2048, 1));
        assert_eq!(small.level, Level::Warn);
        assert!(small.next.unwrap().contains("net.core.rmem_max=4096"));
        assert_eq!(gso(grants(1, 64)).level, Level::Ok);
        assert_eq!(gso(grants(1, 1)).level, Level::Warn);
        let gib = 1 << 30;
        for (limit, available, level) in [
            (0, Some(gib), Level::Warn),
            (gib / 3 * 2, Some(gib), Level::Ok),
            (gib / 100 * 95, Some(gib), Level::Warn),
            (2 * gib, Some(gib), Level::Fail),
            (1, None, Level::Warn),
        ] {
            assert_eq!(memory(limit, available).level, level, "{limit} of {available:?}");
        }
        for (said, level) in [("yes", Level::Ok), ("no", Level::Warn), ("", Level::Warn)] {
            assert_eq!(synchronized(said).level, level);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_of_this_machine_can_be_read() {
        assert!(memory_bytes().unwrap() > 1 << 20);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        let own = getrlimit(Resource::Nofile).current;
        assert_eq!(limit_of_gateway(&file), Some(own));
    }
}
