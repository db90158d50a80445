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

mod streams;

use serde::{Deserialize, Serialize};

pub use self::streams::{ClientStream, GatewayStream, SenderMessage, SequencedSignal};

use crate::{
    CloseReason, ConnectionId, DisconnectReason, ErrorCode, Features, Sender, SessionId, Signal,
    Text,
};

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
    /// The signal's type: at most 128 bytes of `A-Z a-z 0-9 - _ ~`.
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

/// A message from the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GatewayMessage<'a> {
    /// Tag 0. The answer to a valid hello: the connection exists.
    Welcome(Welcome),
    /// Tag 1. The connections that were in the session before, oldest first, in as many messages as
    /// needed for the number in `welcome`, before any other event.
    Present {
        /// The connections, at least one.
        connections: Vec<ConnectionInfo>,
    },
    /// Tag 2. A connection has joined. Sent before its first signal.
    ConnectionCreated(ConnectionInfo),
    /// Tag 3. A connection has ended. Sent after its last signal, where all senders share one
    /// stream.
    ConnectionDestroyed {
        /// The connection.
        id: ConnectionId,
        /// The reason that members receive.
        reason: DisconnectReason,
        /// Sequence number of the last signal of that connection that was sent to this client on a
        /// sender's stream; 0 if none. A client holds the event until it has surfaced that signal.
        #[serde(rename = "lastSeq")]
        last_seq: u64,
    },
    /// Tag 4. A signal, where all senders share one stream.
    #[serde(borrow)]
    Signal(ReceivedSignal<'a>),
    /// Tag 5. A message of the client was rejected. The link continues.
    Error {
        /// Sequence number of the rejected signal, if it was a signal.
        signal: Option<u64>,
        /// The error code.
        code: ErrorCode,
        /// A description for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
    /// Tag 6. The link ends; nothing follows on this stream.
    Bye {
        /// The close reason.
        reason: CloseReason,
        /// A description for people.
        #[serde(borrow)]
        message: Text<'a>,
        /// Number of streams that the gateway has opened on this link. A client that has read that
        /// many to their end has received everything. 0 where all senders share one stream.
        #[serde(default)]
        streams: u64,
    },
    /// Tag 7. The connection can be resumed with this ticket if its link is lost. Sent once with
    /// the feature `resume`, after the last `present`.
    Ticket(Ticket<'a>),
    /// Tag 8. The connection continues on this link: the answer to a valid `resume`, after any
    /// `gap`s. The replay follows, in order, and then new messages.
    Resumed {
        /// Replaces the ticket that was used.
        #[serde(borrow)]
        ticket: Ticket<'a>,
        /// Number of the client's signals that the gateway has taken, over all links. Later ones
        /// were lost, and the client sends them again.
        signals: u64,
        /// Number of signals and presence events in the replay.
        missed: u64,
    },
    /// Tag 9. Signals for this client are lost, or may be.
    Gap {
        /// The lost signals, by sender.
        lost: Vec<Lost>,
        /// Whether presence events, and signals of connections that have ended, are or may be lost.
        /// `present` messages with all other members follow, `present` connections in all.
        presence: bool,
        /// Number of connections in those messages.
        #[serde(default)]
        present: u32,
    },
    /// Tag 10. The gateway has taken this number of the client's signals, over all links: each is
    /// in the queue of every receiver, or was rejected with an `error`. Only with the feature
    /// `resume`.
    Accepted {
        /// Number of signals.
        signals: u64,
    },
    /// Tag 11. The gateway is shutting down and ends this link soon. Until then the link works as
    /// before. A client may leave earlier, at a time of its choice, without a goodbye.
    GoAway {
        /// Milliseconds until the gateway closes the link.
        #[serde(rename = "withinMs")]
        within_ms: u32,
    },
    /// Tag 12. The answer to every `heartbeat` that the gateway has read since the last one. It comes
    /// after everything that was queued for the client before.
    Heartbeat {},
}

impl<'a> Message<'a> for GatewayMessage<'a> {
    const NAMES: &'static [&'static str] = &[
        "welcome",
        "present",
        "connectionCreated",
        "connectionDestroyed",
        "signal",
        "error",
        "bye",
        "ticket",
        "resumed",
        "gap",
        "accepted",
        "goAway",
        "heartbeat",
    ];
}

/// The secret with which a client resumes its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket<'a> {
    /// A secret, valid once and for this connection only. Opaque: at most 512 bytes of
    /// `A-Z a-z 0-9 - _`.
    #[serde(borrow)]
    pub ticket: Text<'a>,
    /// The resume window, in milliseconds from the loss of the link.
    pub window_ms: u32,
}

/// Signals of one sender that a client will never receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The sender.
    pub from: Sender,
    /// Number of the last signal that the client has received; 0 if none.
    pub after: u64,
    /// Number of the last lost signal. Some of the signals between the two were for this client.
    pub until: u64,
}

/// The answer to a valid `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The client's own connection.
    pub connection: ConnectionInfo,
    /// The session that it joined.
    pub session: SessionId,
    /// Its role.
    pub role: Role,
    /// The gateway's limits for the client.
    pub limits: Limits,
    /// The features that the gateway grants, of those that the client requested.
    pub features: Features,
    /// Number of other members that `present` will name; 0 without the feature `presence`.
    pub present: u32,
}

/// The gateway's limits, with which a client can avoid errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Longest signal type, in bytes.
    pub type_bytes: u32,
    /// Longest signal data, in bytes.
    pub data_bytes: u32,
    /// Signals per second that this connection may send on average; 0 means no limit.
    pub signals_per_second: u32,
    /// Milliseconds of silence after which the gateway considers the link lost.
    pub idle_timeout_ms: u32,
}

/// A signal on its way to a client, where all senders share one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedSignal<'a> {
    /// The sender.
    pub from: Sender,
    /// The sender's sequence number. It increases, and skips signals that this client did not get.
    pub seq: u64,
    /// The signal's type.
    #[serde(rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// The signal's data.
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
}
