//! The Signalbox gateway: clients over QUIC and WebSocket, in the same sessions.
//!
//! ```text
//! Gateway ─ bind → run(shutdown) → drain
//!   listen/quic.rs, listen/tcp.rs   accept, TLS, HTTP; each hands over a link
//!   link/                           where every link begins, authenticates and ends
//!     link/quic.rs, link/websocket.rs   the two halves of a link, per transport
//!   token.rs, project.rs            who may join what
//!   signalbox_relay                 what goes to whom (no I/O; see its own documentation)
//! ```
//!
//! Start reading at [`Gateway`], then `link/mod.rs`.

mod config;
mod gateway;
mod link;
mod listen;
mod project;
pub mod token;

pub use config::{Config, DEFAULT_PORT, Limits, Links, Listen, ProjectEntry, Tls};
pub use gateway::{Addresses, BindError, Gateway, Monitor};
pub use project::{Project, Projects};
