//! A bad network to order: two hosts and a link between them with delay, jitter, loss, reordering,
//! a rate and a queue, for UDP and TCP alike.
//!
//! The hosts are network namespaces, joined by TUN devices and threads of this process that carry
//! the packets (`link`); what becomes of a packet is a function of time and a seed (`way`). It
//! needs neither a module of the kernel nor any clearing up: all is gone with this process.
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
//! // Processes that are started now are on the server's host, 127.0.0.1 in there.
//! drop(entered);
//! let entered = network.client().enter()?;
//! // Sockets that are made now reach it at the same address, over the link.
//! network.link().cut(Direction::Both, Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```

mod control;
mod host;

use rustix::time::{ClockId, Timespec, clock_gettime};

pub use self::{
    control::LinkControl,
    host::{EnteredHost, Host},
};
use crate::{LinkModel, link::SECOND};

/// Two hosts and the link between them, until it is dropped.
#[derive(Debug)]
pub struct Network {
    server: Host,
    client: Host,
    link: LinkControl,
    _pumps: control::Pumps,
}

impl Network {
    /// With a link that is like this each way. The same seed loses the same packets, counted from
    /// the first one on each way.
    ///
    /// # Errors
    /// If this system or user cannot have such a thing; the message says what to do.
    pub fn start(to_client: LinkModel, to_server: LinkModel, seed: u64) -> anyhow::Result<Self> {
        let (server, server_end) = Host::server()?;
        let (client, client_end) = Host::client()?;
        let (link, pumps) = control::start(server_end, client_end, to_client, to_server, seed)?;
        Ok(Self { server, client, link, _pumps: pumps })
    }

    /// The server's host. What runs there reaches it without the link.
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// The clients' host: 127.0.0.1 is the server's, at the other end of the link.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The link, to be watched and changed.
    pub fn link(&self) -> &LinkControl {
        &self.link
    }
}

/// Nanoseconds of the machine's monotonic clock.
fn now_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative for this clock.
    tv_sec.unsigned_abs() * SECOND + tv_nsec.unsigned_abs()
}
