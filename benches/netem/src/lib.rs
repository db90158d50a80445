//! An emulated bad network for tests and benchmarks.
//!
//! A [`LinkModel`] describes one direction of a link: delay, jitter, loss, reordering, a rate and a
//! queue. Two back ends apply it:
//!
//! - [`namespace`] (Linux, root): two hosts made of network namespaces, joined by TUN devices.
//!   Every protocol goes over the link, TCP included.
//! - [`proxy`]: sockets in user space, for UDP and TCP. It needs no privileges.
//!
//! [`SimulatedLink`] is the model itself, without I/O and without a clock.
//!
//! All random decisions come from a seed, so that a run can be repeated.

#[cfg(feature = "flags")]
mod impairment;
mod link;
mod loss;
mod model;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod proxy;
mod random;
#[cfg(feature = "flags")]
mod units;

#[cfg(feature = "flags")]
pub use impairment::Impairment;
pub use link::{DroppedPacket, LinkCounts, SimulatedLink};
pub use loss::{GilbertElliott, LossModel};
pub use model::{Direction, LinkModel};
