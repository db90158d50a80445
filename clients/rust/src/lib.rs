//! The Signalbox Rust SDK: join a session over QUIC, WebTransport or WebSocket, send and receive
//! signals.
//!
//! ```no_run
//! use signalbox_client::{Client, Event};
//!
//! # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::connect("quic://signal.example.com", token).await?;
//! client.signal().signal_type("chat").data("hello, everyone").send().await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::ConnectionCreated(connection) => println!("{} joined", connection.id),
//!         Event::Signal { from, data, .. } => println!("{from:?}: {}", data.unwrap_or_default()),
//!         Event::SessionDisconnected { reason, .. } => println!("ended: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `quic://`, `https://` (WebTransport), `wss://` and `ws://` (plaintext) differ in how they behave on a bad network and in
//! nothing else. Over each of them, a connection's `ConnectionCreated` comes before its first
//! signal and its `ConnectionDestroyed` after its last, and the signals of one sender come in the
//! order in which it sent them.
//!
//! A client whose link is lost reconnects by itself and resumes the same connection: the others
//! notice nothing, and each signal arrives once. [`Event::SessionReconnecting`] and
//! [`Event::SessionReconnected`] report it, and what is lost if the gateway could not keep all of
//! it. If the connection can no longer be resumed, the client joins again as another connection
//! ([`Event::SessionRejoined`]). See [`ConnectOptions::resume`] and [`ConnectOptions::rejoin`].
//!
//! The crate's `examples/` show a chat, moderation, several URLs and gateways, resuming, signals
//! from a server over REST, a gateway of one's own certificate authority, and a gateway inside the
//! same process.

mod backoff;
mod client;
mod command_sender;
mod connector;
mod dial;
mod endpoints;
mod error;
mod event;
mod events;
mod gateway_list;
mod gateway_url;
mod link;
mod opening;
mod options;
mod order;
mod race;
mod reconnect;
mod send_queue;
mod session_view;
mod ticket;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod vectors;

pub use backoff::Backoff;
pub use client::Client;
pub use command_sender::SignalBuilder;
pub use connector::Connector;
pub use error::{ConnectError, SendError, UnreachableCause};
pub use event::{Event, Gap};
pub use events::Events;
pub use gateway_list::GatewayUrls;
pub use options::ConnectOptions;
pub use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, ErrorCode, GatewayId, Printable,
    Role, Sender, SessionId, Streams,
    message::{Limits, Lost},
};
