//! Two hosts made of network namespaces and the emulated link between them. Linux, root.
//!
//! Every protocol goes over the link, TCP included. Each host has a TUN device ([`Host`]), and two
//! threads of this process forward packets between the devices ([`LinkControl`]). It needs no
//! kernel module, and the kernel removes everything when this process ends, even if it is killed.
//!
//! ```no_run
//! # fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//!
//! use signalbox_netem::{Direction, LinkModel, namespace::Network};
//!
//! let slow = LinkModel { delay: Duration::from_millis(20), ..LinkModel::default() };
//! let network = Network::start(slow, slow, 1)?;
//! let entered = network.server().enter()?;
//! // Processes started here run on the server's host and can listen on 127.0.0.1.
//! drop(entered);
//! let entered = network.client().enter()?;
//! // Sockets opened here reach the server at 127.0.0.1, over the link.
//! drop(entered);
//! network.link().cut(Direction::Both, Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```

mod forwarding;
mod host;

use std::{net::Ipv4Addr, time::Duration};

use rustix::time::{ClockId, Timespec, clock_gettime};

pub use self::{
    forwarding::LinkControl,
    host::{EnteredHost, Host},
};
use crate::{LinkModel, link::SECOND_NS};

/// Two hosts and the link between them, until it is dropped.
#[derive(Debug)]
pub struct Network {
    server: Host,
    client: Host,
    link: LinkControl,
    _threads: forwarding::Threads,
}

impl Network {
    /// Starts a network with a model for each direction. The same seed loses the same packets,
    /// counted from the first of each direction.
    ///
    /// # Errors
    /// If this system or user cannot create one; the message says what is needed. See
    /// [`unavailable`].
    pub fn start(to_client: LinkModel, to_server: LinkModel, seed: u64) -> anyhow::Result<Self> {
        let (server, server_device) = Host::server()?;
        let (client, client_device) = Host::client()?;
        let (link, threads) =
            forwarding::start(server_device, client_device, to_client, to_server, seed)?;
        Ok(Self { server, client, link, _threads: threads })
    }

    /// The server's host. Processes on it reach each other without the link.
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// The client's host. There 127.0.0.1 is the server's host, at the other end of the link.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The link, for counts and changes.
    pub fn link(&self) -> &LinkControl {
        &self.link
    }

    /// Takes the client's network interface down, and up again after this time, during which the
    /// calling thread is blocked. Unlike [`LinkControl::cut`], the client's system knows.
    ///
    /// # Errors
    /// If `ip` fails.
    #[expect(clippy::disallowed_methods, reason = "the caller asks for a blocked thread")]
    pub fn unplug_client(&self, duration: Duration) -> anyhow::Result<()> {
        self.client.set_interface(false)?;
        std::thread::sleep(duration);
        self.client.set_interface(true)
    }

    /// Gives the client's host another address on the link, as if it had moved to another network.
    /// It must be from 192.0.2.2 to 192.0.2.6.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn move_client(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        self.client.set_address(address)
    }
}

/// The reason that this system or user cannot create a network; `None` if it can. For tests that
/// cannot run everywhere.
pub fn unavailable() -> Option<String> {
    let perfect = LinkModel::default();
    Network::start(perfect, perfect, 1).err().map(|error| format!("{error:#}"))
}

/// Nanoseconds of the system's monotonic clock.
fn now_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative for this clock.
    tv_sec.unsigned_abs() * SECOND_NS + tv_nsec.unsigned_abs()
}
