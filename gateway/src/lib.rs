//! The Signalbox gateway: clients over QUIC and WebSocket, in the same sessions.
//!
//! ```text
//! Gateway ─ bind → run(shutdown, at_once) → drain
//!   listen/                         accept, TLS, HTTP; hands over links and requests
//!   link/                           where every link begins, authenticates and ends
//!     link/quic.rs, link/websocket.rs   the two halves of a link, per transport
//!   rest/                           what servers may ask for
//!   webhook/                        what servers are told
//!   token/, project.rs              who may join, or ask for, what
//!   signalbox_relay                 what goes to whom (no I/O; see its own documentation)
//! ```
//!
//! Start reading at [`Gateway`], then `link/mod.rs`.

mod config;
mod drain;
mod expiry;
mod file;
mod gateway;
mod keys;
mod link;
mod listen;
mod project;
mod rest;
mod secret;
mod state_file;
pub mod supervise;
pub mod token;
mod webhook;
mod woken;

pub use config::{
    Config, Limits, Links, Listen, OwnLimits, Problem, Process, ProjectEntry, Resume, Tls, Webhook,
    accepted,
};
pub use gateway::{Addresses, BindError, Gateway, LiveProjects, Monitor};
pub use project::{Project, Projects};
pub use secret::SecretError;
pub use supervise::RunError;
