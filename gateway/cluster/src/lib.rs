//! Several gateways as one: leases, channels, and the sessions that they share.
//!
//! The crate decides, and does no I/O: the caller passes time and the messages of the bus in, and
//! takes messages for the bus out. It knows nothing of NATS.
//!
//! ```text
//! Cluster ── heartbeats and leases; opening of sessions; barriers
//!   ├─ Relay ── members, signals and histories of the sessions
//!   └─ Links ── one Channel to each other gateway: in order, each message once
//! ```
//!
//! Everything that a gateway sends to another one travels on one channel. So an update, a request
//! and an answer keep their order, and "the peer has answered" implies "its earlier updates have been
//! applied".

#![forbid(unsafe_code)]

mod barrier;
mod channel;
mod cluster;
mod handover;
mod handovers;
mod links;
mod message;
mod opening;
mod receive;
mod shared_state;
mod status;
mod waiting;

pub use barrier::{BarrierId, BarrierTimeout};
pub use cluster::{Cluster, HEARTBEAT_INTERVAL, LEASE};
pub use links::{Address, BusPacket, Links};
pub use message::BusMessageError;
pub use shared_state::SharedState;
pub use status::{ClusterStatus, PeerStatus};
