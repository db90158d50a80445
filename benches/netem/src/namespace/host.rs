//! A host for processes and threads: a network namespace with a TUN device.
//!
//! The namespace has no name and exists as long as its file descriptor or a process in it. The
//! device exists as long as its own descriptor.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    marker::PhantomData,
    net::Ipv4Addr,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The name of the device on both hosts.
const DEVICE: &str = "wire";

/// Packets that may wait for the thread that forwards them.
const DEVICE_QUEUE: usize = 10_000;

/// The network namespace of the thread that reads it.
const CURRENT_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// The ends of the link, in a network that is reserved for documentation (RFC 5737).
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Addresses from .1 to .6.
const PREFIX: u32 = 29;

const PRIVILEGES: &str = "network emulation needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN";

/// A host at one end of an emulated link.
#[derive(Debug)]
pub struct Host {
    namespace: File,
    address: Mutex<Ipv4Addr>,
    /// Commands of `ip` that route 127.0.0.1 to the other host, for the client's address.
    route: fn(Ipv4Addr) -> String,
}

impl Host {
    /// The server's host, and its end of the link.
    pub(super) fn server() -> anyhow::Result<(Self, SyncDevice)> {
        Self::create(SERVER, "", |_| String::new())
    }

    /// The client's host, and its end of the link. Its own 127.0.0.1 is the server's, because a
    /// server under test listens there and has a certificate for it. Without ::1, nothing that
    /// tries both addresses of `localhost` waits for an answer that cannot come.
    pub(super) fn client() -> anyhow::Result<(Self, SyncDevice)> {
        let no_loopback = "addr del 127.0.0.1/8 dev lo\naddr del ::1/128 dev lo\n";
        Self::create(CLIENT, no_loopback, |address| {
            format!("route replace 127.0.0.1 dev {DEVICE} src {address}\n")
        })
    }

    /// A thread creates the namespace, so that the calling thread never leaves its own.
    fn create(
        address: Ipv4Addr,
        commands: &str,
        route: fn(Ipv4Addr) -> String,
    ) -> anyhow::Result<(Self, SyncDevice)> {
        let create = || create_namespace(&format!("{commands}{}", configure(address, route)));
        let created = std::thread::scope(|scope| scope.spawn(create).join());
        let (namespace, device) = created
            .unwrap_or_else(|_| bail!("the thread that creates a network namespace panicked"))?;
        Ok((Self { namespace, address: Mutex::new(address), route }, device))
    }

    /// Moves the calling thread to this host until the returned value is dropped. Sockets that it
    /// opens and processes and threads that it starts meanwhile stay on the host.
    ///
    /// A thread that runs a tokio runtime moves with all tasks that it polls; the worker threads of
    /// a runtime move by `on_thread_start`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn enter(&self) -> io::Result<EnteredHost> {
        let previous = File::open(CURRENT_NAMESPACE)?;
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(EnteredHost { previous, _thread: PhantomData })
    }

    /// Runs commands of `ip(8)` on this host, one a line. The link's device is called `wire`.
    ///
    /// # Errors
    /// If `ip` is missing or a command fails.
    pub fn ip(&self, commands: &str) -> anyhow::Result<()> {
        let _entered = self.enter()?;
        ip(commands)
    }

    pub(super) fn set_interface(&self, up: bool) -> anyhow::Result<()> {
        if !up {
            return self.ip(&format!("link set {DEVICE} down\n"));
        }
        // The system has removed the route together with the interface.
        let address = *self.address.lock();
        self.ip(&format!("link set {DEVICE} up\n{}", (self.route)(address)))
    }

    pub(super) fn set_address(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        let mut current = self.address.lock();
        let remove = format!("addr del {current}/{PREFIX} dev {DEVICE}\n");
        self.ip(&format!("{remove}{}", configure(address, self.route)))?;
        *current = address;
        Ok(())
    }
}

/// The calling thread is on a host; dropping this moves it back.
#[derive(Debug)]
#[must_use = "dropping this leaves the host"]
pub struct EnteredHost {
    previous: File,
    /// Belongs to one thread and must not be sent to another.
    _thread: PhantomData<*const ()>,
}

impl Drop for EnteredHost {
    fn drop(&mut self) {
        // The thread comes from there, so it may go back. If it could not, nothing could be done.
        let _ = move_into_link_name_space(self.previous.as_fd(), Some(LinkNameSpaceType::Network));
    }
}

fn configure(address: Ipv4Addr, route: fn(Ipv4Addr) -> String) -> String {
    format!("addr add {address}/{PREFIX} dev {DEVICE}\nlink set {DEVICE} up\n{}", route(address))
}

/// Creates a namespace and its device and configures them by commands of `ip`.
fn create_namespace(commands: &str) -> anyhow::Result<(File, SyncDevice)> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe because of what threads may share; a network namespace \
                  is shared on request only"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET).map_err(io::Error::from).context(PRIVILEGES)?;
    let namespace =
        File::open(CURRENT_NAMESPACE).context("cannot open the new network namespace")?;
    let device = DeviceBuilder::new().name(DEVICE).inherit_enable_state().build_sync().context(
        "cannot create a TUN device: /dev/net/tun must exist (in a container: --device \
         /dev/net/tun) and this process must be allowed to use it",
    )?;
    device.set_nonblocking(true)?;
    // The link's queue drops bursts and counts them; the device's must not.
    let queue = format!("link set {DEVICE} txqueuelen {DEVICE_QUEUE}\n");
    // The loopback device comes up with 127.0.0.1. Without addrgenmode the system would send IPv6
    // packets over the link by itself.
    ip(&format!("link set lo up\nlink set {DEVICE} addrgenmode none\n{queue}{commands}"))?;
    let setting = format!("/proc/sys/net/ipv4/conf/{DEVICE}/route_localnet");
    fs::write(&setting, "1").with_context(|| format!("cannot write {setting}"))?;
    Ok((namespace, device))
}

/// Runs commands of `ip` in the calling thread's namespace.
fn ip(commands: &str) -> anyhow::Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip, which configures the emulated network: install iproute2")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(commands.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip could not configure the network: {}", error.trim());
    Ok(())
}
