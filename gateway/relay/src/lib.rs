//! The relay core: sessions, their members, and the delivery of signals and presence events.
//!
//! The relay makes every decision about delivery, and it cannot block: the crate opens no socket,
//! spawns no task, reads no clock and has no `async fn`. The reading half of a link (in the gateway
//! crate) calls [`Connection::signal`]. The relay pushes the signal into the [`Outbox`] of every
//! receiver, encoded once per [`Encoding`] in use. Each receiver's link drains its outbox when it
//! can write.
//!
//! ```text
//! Relay ── facade
//!   └─ Directory ── sessions by id; usage of each project
//!        └─ Session ── one lock, held for one push per receiver
//!             ├─ Roster ── members: ConnectionInfo, role, link with a bounded Outbox
//!             └─ History ── recent signals and presence events, for detached members
//! ```
//!
//! A [`Connection`] is a membership, not a link. It owns the sequence numbers and the outbox, so
//! that a new link can continue where a lost one stopped ([`Relay::resume`]), if the client asked
//! for that when it joined ([`Join::resume`]).

mod backplane;
mod census;
mod cluster;
mod connection;
mod context;
mod detached;
mod directory;
mod disconnect;
mod encoding;
mod error;
mod evicted;
mod instance;
mod join;
mod link_turns;
mod listed_session;
mod listing;
mod member_count;
mod observer;
mod outbox;
mod outgoing;
mod project;
mod rate;
mod receipts;
mod recipients;
mod rejections;
mod relay;
mod resume;
mod seat;
mod session;
mod settings;
mod shared_counter;
mod snapshot;
mod stable_hash;
mod summary;
mod token;
mod turns;
mod update;
mod usage;
mod users;

pub use backplane::Backplane;
pub use census::Census;
pub use cluster::{Applied, ClusterSummary, Hold};
pub use connection::Connection;
pub use detached::Detached;
pub use encoding::Encoding;
pub use error::{JoinError, RejectionReason, RestoreError, ResumeError, SignalError};
pub use instance::Instance;
pub use join::{Join, ResumeOptions};
pub use link_turns::LinkTurns;
pub use listed_session::ListedSession;
pub use listing::{ConnectionPage, ListedConnection, OutboxStatus, SessionSize};
pub use member_count::{MemberCount, SessionCount};
pub use observer::Observer;
pub use outbox::Outbox;
pub use outgoing::Outgoing;
pub use receipts::{Answer, KnownPosition};
pub use recipients::Recipients;
pub use rejections::Rejection;
pub use relay::{Joined, Relay, Stats};
pub use resume::{ResumeRequest, Resumed, TicketSecret};
pub use session::SignalCost;
pub use settings::{ProjectLimits, Settings};
pub use shared_counter::SharedCounter;
pub use snapshot::Snapshot;
pub use stable_hash::stable_hash;
pub use summary::ConnectionSummary;
pub use token::{TokenIdDigest, TokenIdentity};
pub use update::SessionUpdate;
pub use usage::ProjectUse;
