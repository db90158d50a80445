//! The relay: who is in which session, and what goes to whom.
//!
//! Everything that Signalbox promises about signals is decided here, and nothing here can break
//! the promise by waiting: the crate opens no socket, spawns no task, reads no clock and awaits
//! nothing. A link (the gateway's business) calls [`Connection::signal`] from its reading half;
//! the relay pushes the signal, encoded once for each encoding in use, into the [`Outbox`] of
//! every receiver; the receivers' links drain their outboxes whenever they can write.
//!
//! ```text
//! Relay ── directory of sessions; what each project uses, counted
//!   └─ Session ── members in one lock, taken for the length of one push per receiver
//!        └─ member: ConnectionInfo, Outbox (bounded; overflow ends the member, nobody else)
//! ```
//!
//! A [`Connection`] is a membership, not a link: it owns the sequence numbers and the outbox, so
//! that a later link can take over where a lost one stopped ([`Relay::resume`]), if the client asked
//! for that ([`Connection::keep`]).

mod backlog;
mod connection;
mod dismissed;
mod encode;
mod frozen;
mod kept;
mod member;
mod missed;
mod observer;
mod outbox;
mod project;
mod rate;
mod refusals;
mod relay;
mod resume;
mod server;
mod session;

pub use connection::{Connection, Refused, SignalError};
pub use encode::Encoding;
pub use frozen::{Frozen, Unusable};
pub use kept::Secret;
pub use observer::Observer;
pub use outbox::{Outbox, Outgoing};
pub use project::ProjectLimits;
pub use refusals::Refusal;
pub use relay::{Join, JoinError, Joined, Relay, Settings, Stats};
pub use resume::{Away, Comeback, ResumeError, Resumed};
pub use server::{Listed, Recipients};
