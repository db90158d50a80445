//! The Signalbox wire protocol, for both ends of a link.
//!
//! Everything that a client and a gateway must agree on is here and nothing else: what the
//! messages are, how they become bytes, how long they may be, and in which words a link ends.
//! The crate opens no socket, spawns no task and reads no clock, so both ends (and clients in
//! other languages, by the vectors in `vectors/`) can be tested against it byte for byte.
//!
//! `docs/protocol.md` is the specification; this crate is its implementation. Read in this order:
//! [`message`] (what is said), [`binary`] and [`json`] (how it is written), [`frame`] (how it is
//! delimited on a QUIC stream), [`close`] (how it ends).

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

/// ALPN protocol id of Signalbox over QUIC (RFC 7301). A wire that old peers could not read gets
/// a new number; both ends then choose by ALPN, as TLS does for them.
pub const ALPN: &[u8] = b"signalbox/1";

/// Default port of a gateway, UDP for QUIC and TCP for WebSockets and HTTP.
pub const DEFAULT_PORT: u16 = 4433;

/// Path of the WebSocket endpoint on the gateway's TCP port.
pub const WEBSOCKET_PATH: &str = "/v1/connect";
