//! The messages of a link, in both directions.
//!
//! The same types are written as postcard ([`crate::binary`]) and as JSON ([`crate::json`]).
//! On the postcard wire a variant is its position: **variants are only ever appended**, and a
//! message never gains a field. A peer skips messages that it does not know.
//!
//! On a WebSocket, a client sends [`ClientMessage`]s and the gateway [`GatewayMessage`]s. On QUIC
//! both travel on the control stream, with two exceptions. The client's signals have a separate
//! stream, which begins with [`ClientStream`]. Each sender has a stream to the client, which begins
//! with [`GatewayStream`] and continues with [`SenderMessage`]s.

mod client;
mod gateway;
mod streams;

use serde::{Deserialize, Serialize};

pub use self::{
    client::{ClientMessage, Cursor, Hello, Resume, SendSignal},
    gateway::{GatewayMessage, Limits, Lost, ReceivedSignal, Ticket, Welcome},
    streams::{ClientStream, GatewayStream, SenderMessage, SequencedSignal},
};

use crate::ConnectionId;

/// A message that has a place on the wire.
///
/// `NAMES` are the variants in the order of their numbers. A greater number is unknown, not an
/// error.
pub trait Message<'a>: Serialize + Deserialize<'a> {
    /// JSON names of the variants, by number.
    const NAMES: &'static [&'static str];
}

/// A client's rights, from its token: the vendor's four roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May receive signals. (A setting of the gateway can allow it to send as well.)
    Subscriber,
    /// May send and receive signals.
    Publisher,
    /// May also disconnect others.
    Moderator,
    /// May neither send nor receive signals; it is only present.
    PublisherOnly,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] =
        [Self::Subscriber, Self::Publisher, Self::Moderator, Self::PublisherOnly];

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The name, as in tokens and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Publisher => "publisher",
            Self::Moderator => "moderator",
            Self::PublisherOnly => "publisheronly",
        }
    }
}

/// Stream layout of the signals to a QUIC client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Streams {
    /// A unidirectional stream for each sender, so that a lost packet delays only the senders
    /// whose bytes were in it.
    #[default]
    PerSender,
    /// All signals on the control stream, each with its sender, as on a WebSocket.
    Single,
}

/// A connection as the other members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionInfo {
    /// Its id, which is never reused.
    pub id: ConnectionId,
    /// Time of its creation, in Unix milliseconds by the gateway's clock.
    pub created_at: u64,
    /// Connection data from its token; at most 4096 bytes, possibly empty.
    pub data: String,
}
