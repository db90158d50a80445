//! A bad network to order: two hosts and a link between them with delay, jitter, loss, reordering,
//! a rate and a queue, for UDP and TCP alike.
//!
//! The hosts are network namespaces, joined by TUN devices and threads of this process that carry
//! the packets (`link`); what becomes of a packet is a function of time and a seed (`way`). It
//! needs neither a module of the kernel nor any clearing up: all is gone with this process.
//!
//! ```no_run
//! # fn example(impairment: &signalbox_bench::emulation::Impairment) -> anyhow::Result<()> {
//! use signalbox_bench::emulation::Towards;
//!
//! let emulation = impairment.emulate()?;
//! let inside = emulation.gateway().enter()?;
//! // Processes that are started now are on the gateway's host, 127.0.0.1 in there.
//! drop(inside);
//! let inside = emulation.client().enter()?;
//! // Sockets that are made now reach it at the same address, over the link.
//! emulation.link().cut(Towards::Both, std::time::Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```

mod host;
mod impairment;
mod link;
pub(crate) mod random;
mod units;
mod way;

pub use host::{Host, Inside};
pub use impairment::Impairment;
pub use link::{Link, Towards};
pub use way::{Conditions, Counts, Dropped};

/// Two hosts and the link between them, until it is dropped.
#[derive(Debug)]
pub struct Emulation {
    gateway: Host,
    client: Host,
    link: Link,
    _pumps: link::Pumps,
}

impl Emulation {
    /// With a link that is like this each way. The same seed loses the same packets, counted from
    /// the first one on each way.
    ///
    /// # Errors
    /// If this system or user cannot have such a thing; the message says what to do.
    pub fn start(
        towards_client: Conditions,
        towards_gateway: Conditions,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let (gateway, gateway_end) = Host::gateway()?;
        let (client, client_end) = Host::client()?;
        let (link, pumps) =
            link::start(gateway_end, client_end, towards_client, towards_gateway, seed)?;
        Ok(Self { gateway, client, link, _pumps: pumps })
    }

    /// The gateway's host. What runs there reaches it without the link.
    pub fn gateway(&self) -> &Host {
        &self.gateway
    }

    /// The clients' host: 127.0.0.1 is the gateway's, at the other end of the link.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The link, to be watched and changed.
    pub fn link(&self) -> &Link {
        &self.link
    }
}
