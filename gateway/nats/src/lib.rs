//! The bus of a cluster over NATS: carries the packets of [`Links`](signalbox_cluster::Links)
//! between gateways.
//!
//! ```text
//! Cluster ⇄ Bus ── Publisher ── packets of Links, one at a time; probes
//!            │  └─ Receiver ─── messages of both subscriptions; ticks
//!            └─ BusMonitor ──── the state, for operators
//! ```
//!
//! Only core NATS is used: messages may be lost, repeated or delayed. The channels of
//! `signalbox-cluster` repair that, so nothing here does. While NATS is not usable, packets stay in
//! `Links`, whose channels are bounded.
//!
//! Everyone who may publish to the subjects of a namespace is trusted.

#![forbid(unsafe_code)]

mod bus;
mod client;
mod error;
mod monitor;
mod options;
mod probe;
mod publisher;
mod receiver;
mod status;
mod subjects;
mod throttle;

pub use bus::Bus;
pub use error::NatsError;
pub use monitor::{BusClock, BusMonitor};
pub use options::{NatsCredentials, NatsOptions, NatsOptionsError, NatsTls};
pub use status::BusStatus;
