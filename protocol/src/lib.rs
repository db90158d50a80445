//! The Signalbox wire protocol, for both ends of a link.
//!
//! This crate contains everything that a client and a gateway must agree on, and nothing else:
//! messages, their encodings, their limits, and the close reasons of a link. The crate opens no
//! socket, spawns no task and reads no clock, so both ends (and clients in other languages, by the
//! vectors in `vectors/`) can be tested against it byte for byte.
//!
//! `docs/protocol.md` is the specification; this crate is its implementation. Read in this order:
//! [`message`] (messages), [`binary`] and [`json`] (encodings), [`frame`] (delimiting on a QUIC
//! stream), [`close`] (close reasons).

pub mod binary;
pub mod close;
mod codec;
pub mod error;
mod features;
pub mod frame;
pub mod id;
pub mod json;
pub mod limits;
pub mod message;
mod printable;
pub mod sender;
pub mod session_id;
pub mod signal;
mod text;
mod transport;

pub use close::{CloseReason, DisconnectReason};
pub use codec::Codec;
pub use error::ErrorCode;
pub use features::{Feature, Features};
pub use id::{ConnectionId, ProjectKey};
pub use message::{
    ClientMessage, ClientStream, ConnectionInfo, GatewayMessage, GatewayStream, Role,
    SenderMessage, Streams,
};
pub use printable::Printable;
pub use sender::{GatewayId, Sender};
pub use session_id::{MediaMode, SessionId};
pub use signal::Signal;
pub use text::Text;
pub use transport::Transport;

/// ALPN protocol id of Signalbox over QUIC (RFC 7301). A format that old peers could not read
/// gets a new number, and TLS selects the version by ALPN.
pub const ALPN: &[u8] = b"signalbox/1";

/// Default port of a gateway, UDP for QUIC and TCP for WebSockets and HTTP.
pub const DEFAULT_PORT: u16 = 4433;

/// Path at which clients connect: of WebSockets on the TCP port, and of WebTransport on the UDP port.
pub const CONNECT_PATH: &str = "/v1/connect";
