//! Messages from a client.

use serde::{Deserialize, Serialize};

use super::{Message, Streams};
use crate::{ConnectionId, Features, Sender, Signal, Text};

/// A message from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientMessage<'a> {
    /// Tag 0. The first message of a new connection, sent exactly once.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// Tag 1. Send a signal. The n-th `signal` of a connection has the sequence number n, from 1,
    /// whether it is accepted or refused.
    #[serde(borrow)]
    Signal(SendSignal<'a>),
    /// Tag 2. Disconnect another connection. Moderators only.
    ForceDisconnect {
        /// The connection to disconnect.
        id: ConnectionId,
    },
    /// Tag 3. The client leaves the session. It sends nothing more.
    Goodbye {
        /// Number of signals that the client has sent in all. The gateway reads that many before it
        /// ends the connection, because on QUIC this message can overtake them.
        #[serde(default)]
        signals: u64,
    },
    /// Tag 4. The client has stored the ticket of the last `resumed`. The ticket with which it
    /// resumed is void from then on.
    TicketStored {},
    /// Tag 5. The first message in place of `hello`: another link for a resumable connection.
    #[serde(borrow)]
    Resume(Resume<'a>),
    /// Tag 6. More cursors, after a `resume` or `cursors` with `more`.
    Cursors {
        /// Cursors, at most [`CURSORS`](crate::limits::CURSORS).
        cursors: Vec<Cursor>,
        /// Whether another `cursors` follows.
        #[serde(default)]
        more: bool,
    },
    /// Tag 7. A question whether the link is alive, which the gateway answers with its own
    /// `heartbeat`. Web pages need it: they do not see the pings of a WebSocket or of QUIC.
    Heartbeat {},
}

impl<'a> Message<'a> for ClientMessage<'a> {
    const NAMES: &'static [&'static str] = &[
        "hello",
        "signal",
        "forceDisconnect",
        "goodbye",
        "ticketStored",
        "resume",
        "cursors",
        "heartbeat",
    ];
}

/// The first message of a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello<'a> {
    /// The token, created by the project's server. It also names the session.
    #[serde(borrow)]
    pub token: Text<'a>,
    /// The features that the client requests, for its connection on all its links.
    #[serde(default)]
    pub features: Features,
    /// Stream layout of the signals to a QUIC client. On a WebSocket there is one stream
    /// regardless.
    #[serde(default)]
    pub streams: Streams,
    /// The client's name and version, for the operator's logs; at most 64 bytes.
    #[serde(default, borrow)]
    pub agent: Option<Text<'a>>,
}

/// The first message of a link that resumes a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume<'a> {
    /// The latest ticket that the client has received.
    #[serde(borrow)]
    pub ticket: Text<'a>,
    /// Number of this attempt: greater than in every earlier `resume` with the same ticket, from 1.
    /// The gateway accepts an attempt only if its number is greater than that of the last attempt
    /// it accepted, so an abandoned attempt cannot take the connection from a later one.
    pub attempt: u32,
    /// Stream layout of the signals to a QUIC client on this link.
    #[serde(default)]
    pub streams: Streams,
    /// Number of `connectionCreated` and `connectionDestroyed` that the client has read in all,
    /// over all its links since `welcome`; 0 without the feature `presence`. They are counted at
    /// the gateway that holds the connection.
    pub events: u64,
    /// Number of the client's own signals that a gateway has confirmed to it, over all its links:
    /// the greatest number in `accepted` and `resumed.signals`, 0 if none.
    #[serde(default)]
    pub accepted: u64,
    /// The last signal that the client has received of each sender, without senders of which it has
    /// received none. At most [`CURSORS`](crate::limits::CURSORS).
    #[serde(default)]
    pub cursors: Vec<Cursor>,
    /// Whether a `cursors` follows with more of them.
    #[serde(default)]
    pub more: bool,
    /// The client's name and version, for the operator's logs; at most 64 bytes.
    #[serde(default, borrow)]
    pub agent: Option<Text<'a>>,
}

/// The last signal that a client has received from one sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// The sender.
    pub from: Sender,
    /// Sequence number of the last signal that the client has received. It has all earlier ones.
    pub seq: u64,
}

/// A signal on its way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendSignal<'a> {
    /// The connection that receives it. `None`: all members of the session, including the sender.
    #[serde(default)]
    pub to: Option<ConnectionId>,
    /// The signal's type: at most 128 bytes of `A-Z a-z 0-9 - . _ ~`.
    #[serde(default, rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// The signal's data: at most 8192 bytes.
    #[serde(default, borrow)]
    pub data: Option<Text<'a>>,
}

impl<'a> SendSignal<'a> {
    /// Sends `signal` to one connection, or to all.
    pub fn new(to: Option<ConnectionId>, signal: Signal<'a>) -> Self {
        Self { to, signal_type: signal.signal_type, data: signal.data }
    }

    /// The signal without its address.
    pub fn into_signal(self) -> Signal<'a> {
        Signal { signal_type: self.signal_type, data: self.data }
    }
}
