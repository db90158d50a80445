//! A host of its own for a process or a thread: a network namespace and a TUN device in it.
//!
//! The namespace has no name: it is there as long as its file descriptor, or a process in it. The
//! device is there as long as its own descriptor. So the kernel clears both away when this process
//! ends, however it ends.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    marker::PhantomData,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

/// What the device is called on either host.
const DEVICE: &str = "wire";

/// Packets that may wait for the thread that carries them.
const DEVICE_QUEUE: usize = 10_000;

/// The namespace of the thread that reads it.
const OWN: &str = "/proc/thread-self/ns/net";

/// Ends of the link (RFC 5737: for documentation, so that nobody has them for other purposes).
const SERVER: &str = "192.0.2.1";
const CLIENT: &str = "192.0.2.2";

const PRIVILEGES: &str = "a network can be emulated by root only (or with CAP_SYS_ADMIN and \
                          CAP_NET_ADMIN): run it with sudo";

/// A host at one end of an emulated link.
#[derive(Debug)]
pub struct Host {
    namespace: File,
}

impl Host {
    /// The server's host, with its end of the link.
    pub(super) fn server() -> anyhow::Result<(Self, SyncDevice)> {
        make(&format!("addr add {SERVER}/30 dev {DEVICE}\nlink set {DEVICE} up\n"))
    }

    /// The clients' host, with its end of the link. There 127.0.0.1 is the server's host: that is
    /// where a server listens and what its certificate is for, so neither it nor a scenario has
    /// to know of other addresses.
    pub(super) fn client() -> anyhow::Result<(Self, SyncDevice)> {
        make(&format!(
            "addr add {CLIENT}/30 dev {DEVICE}\nlink set {DEVICE} up\n\
             addr del 127.0.0.1/8 dev lo\nroute add 127.0.0.1 dev {DEVICE} src {CLIENT}\n"
        ))
    }

    /// Moves this thread to the host, until the value that it returns is dropped. Sockets that are
    /// made meanwhile, and processes and threads that are started, stay there for good.
    ///
    /// A thread that runs a tokio runtime moves with all tasks that it polls; the threads of a
    /// runtime with several move by `on_thread_start`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn enter(&self) -> io::Result<EnteredHost> {
        let before = File::open(OWN)?;
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(EnteredHost { before, _thread: PhantomData })
    }
}

/// This thread is on a host; dropping this brings it back to where it was.
#[derive(Debug)]
#[must_use = "dropping this leaves the host"]
pub struct EnteredHost {
    before: File,
    /// It is about one thread and must not go to another.
    _thread: PhantomData<*const ()>,
}

impl Drop for EnteredHost {
    fn drop(&mut self) {
        // It came from there, so it may go back; and if it could not, nothing could be done here.
        let _ = move_into_link_name_space(self.before.as_fd(), Some(LinkNameSpaceType::Network));
    }
}

/// A thread makes the namespace and leaves it to us.
fn make(addresses: &str) -> anyhow::Result<(Host, SyncDevice)> {
    let made = std::thread::scope(|scope| scope.spawn(|| inside_a_new_one(addresses)).join());
    made.unwrap_or_else(|_| bail!("the thread that makes a network namespace panicked"))
}

fn inside_a_new_one(addresses: &str) -> anyhow::Result<(Host, SyncDevice)> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe because of what threads may share; nobody shares a \
                  network namespace without being asked"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET).map_err(io::Error::from).context(PRIVILEGES)?;
    let namespace = File::open(OWN).context("cannot open the new network namespace")?;
    let device = DeviceBuilder::new().name(DEVICE).inherit_enable_state().build_sync().context(
        "cannot make a TUN device: /dev/net/tun must be there (in a container: --device \
             /dev/net/tun) and this process must be allowed to use it",
    )?;
    device.set_nonblocking(true)?;
    // Bursts are for the link's queue to drop, where they are counted, and not for the device's.
    let queue = format!("link set {DEVICE} txqueuelen {DEVICE_QUEUE}\n");
    // The loopback device comes up with 127.0.0.1. Without addrgenmode the system would talk IPv6
    // over the link by itself.
    ip(&format!("link set lo up\nlink set {DEVICE} addrgenmode none\n{queue}{addresses}"))?;
    let setting = format!("/proc/sys/net/ipv4/conf/{DEVICE}/route_localnet");
    fs::write(&setting, "1").with_context(|| format!("cannot write {setting}"))?;
    Ok((Host { namespace }, device))
}

/// Runs commands of `ip`, one a line.
fn ip(commands: &str) -> anyhow::Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip, which sets up the emulated network: install iproute2")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(commands.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip could not set up the emulated network: {}", said.trim());
    Ok(())
}
