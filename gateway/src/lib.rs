//! The Signalbox gateway: clients over QUIC and WebSocket, in the same sessions.
//!
//! ```text
//! Gateway ─ bind → run(shutdown, at_once) → drain
//!   listen/                         accept, TLS, HTTP; hands over links and requests
//!   link/                           where every link begins, authenticates and ends
//!     link/quic.rs, link/websocket.rs   the two halves of a link, per transport
//!   rest/                           what servers may ask for
//!   webhook/                        what servers are told
//!   project.rs                      who may join, or ask for, what
//!   signalbox_relay                 what goes to whom (no I/O; see its own documentation)
//! ```
//!
//! Start reading at [`Gateway`], then `link/mod.rs`.

mod admission;
mod clock;
mod config;
mod context;
mod drain;
mod error;
mod expiry;
mod file;
mod gateway;
mod handles;
mod keys;
mod lifecycle;
mod link;
mod listen;
mod project;
mod rest;
mod secret;
mod services;
mod state_file;
pub mod supervise;
mod webhook;

pub use config::{
    AuthConfig, Config, DrainConfig, LimitsConfig, ListenConfig, Problem, ProblemKind,
    ProcessConfig, ProjectConfig, ProjectLimitOverrides, ResumeConfig, TimeoutsConfig, TlsConfig,
    WebhookConfig, accepted, default_file,
};
pub use error::BindError;
pub use gateway::{Addresses, Gateway};
pub use handles::{ProjectsHandle, StatsHandle};
pub use project::{Project, Projects};
pub use secret::SecretError;
pub use supervise::RunError;
