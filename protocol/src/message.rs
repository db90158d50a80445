//! The messages of a link, in both directions.
//!
//! The same types are written as postcard ([`crate::binary`]) and as JSON ([`crate::json`]).
//! On the postcard wire a variant is its position: **variants are only ever appended**, and a
//! message never gains a field. What a peer does not know it skips.
//!
//! On a WebSocket, [`ClientMessage`] travels one way and [`GatewayMessage`] the other.
//! On QUIC the same two on the control stream, except that the client's signals have a stream of
//! their own (opened by [`ClientStream`]), and so has each sender towards the client (opened by
//! [`GatewayStream`], then [`SenderMessage`]s).

mod streams;

use serde::{Deserialize, Serialize};

pub use self::streams::{ClientStream, GatewayStream, SenderMessage, SequencedSignal};

use crate::{
    CloseReason, ConnectionId, DisconnectReason, ErrorCode, Features, Sender, SessionId, Signal,
    Text,
};

/// A message that has a place on the wire.
///
/// `NAMES` are the variants in the order of their numbers; what lies beyond is unknown, not wrong.
pub trait Message<'a>: Serialize + Deserialize<'a> {
    /// JSON names of the variants, by number.
    const NAMES: &'static [&'static str];
}

/// A client's rights, from its token: the vendor's four roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May receive. (Whether it may also send is a setting of the gateway.)
    Subscriber,
    /// May send and receive.
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
    /// All of them on the control stream, the sender named in each, as on a WebSocket.
    Single,
}

/// A connection as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionInfo {
    /// Its id, unique for ever.
    pub id: ConnectionId,
    /// Time of its creation, in Unix milliseconds by the gateway's clock.
    pub created_at: u64,
    /// Connection data from its token; at most 4096 bytes, possibly empty.
    pub data: String,
}

/// From a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientMessage<'a> {
    /// Tag 0. First, exactly once.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// Tag 1. Send a signal. The n-th `signal` of a connection has the sequence number n, from 1,
    /// whether it is accepted or refused.
    #[serde(borrow)]
    Signal(SendSignal<'a>),
    /// Tag 2. Disconnect another connection. Moderators only.
    ForceDisconnect {
        /// Whom.
        id: ConnectionId,
    },
    /// Tag 3. The client leaves on purpose. Nothing of it follows.
    Goodbye {
        /// Number of signals that the client has sent in all. The gateway reads that many before it
        /// lets the connection go, as on QUIC this message can overtake them.
        #[serde(default)]
        signals: u64,
    },
    /// Tag 4. The client has stored the ticket of the last `resumed`. The ticket with which it
    /// resumed is void from then on.
    TicketStored {},
    /// Tag 5. First in place of `hello`: another link for a connection that can be resumed.
    #[serde(borrow)]
    Resume(Resume<'a>),
    /// Tag 6. More cursors, after a `resume` or `cursors` with `more`.
    Cursors {
        /// At most [`CURSORS`](crate::limits::CURSORS).
        cursors: Vec<Cursor>,
        /// Whether another `cursors` follows.
        #[serde(default)]
        more: bool,
    },
}

impl<'a> Message<'a> for ClientMessage<'a> {
    const NAMES: &'static [&'static str] =
        &["hello", "signal", "forceDisconnect", "goodbye", "ticketStored", "resume", "cursors"];
}

/// The first message of a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello<'a> {
    /// The token, as minted by the project's server; it also names the session.
    #[serde(borrow)]
    pub token: Text<'a>,
    /// The features that the client wants, for its connection on all its links.
    #[serde(default)]
    pub features: Features,
    /// Stream layout of the signals to a QUIC client. On a WebSocket there is one stream regardless.
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
    /// The last ticket that the client was given.
    #[serde(borrow)]
    pub ticket: Text<'a>,
    /// Number of this attempt: greater than in every earlier `resume` with the same ticket, from 1.
    /// The gateway accepts an attempt only if its number is greater than that of the last attempt
    /// it accepted, so one that the client has given up cannot take the connection from a later one.
    pub attempt: u32,
    /// Stream layout of the signals to a QUIC client on this link.
    #[serde(default)]
    pub streams: Streams,
    /// Number of `connectionCreated` and `connectionDestroyed` that the client has read in all, over all
    /// its links since `welcome`; 0 without the feature `presence`. They are counted at the
    /// gateway that holds the connection.
    pub events: u64,
    /// The last signal that the client has of each sender; senders of whom it has none are left
    /// out. At most [`CURSORS`](crate::limits::CURSORS).
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
    /// Sequence number of the last signal that the client has; it has all before it, too.
    pub seq: u64,
}

/// A signal on its way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendSignal<'a> {
    /// The one connection it is for, or none: everyone in the session, the sender included.
    #[serde(default)]
    pub to: Option<ConnectionId>,
    /// At most 128 bytes of `A-Z a-z 0-9 - _ ~`.
    #[serde(default, rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// At most 8192 bytes.
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

/// From the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GatewayMessage<'a> {
    /// Tag 0. The answer to a good hello: the connection exists.
    Welcome(Welcome),
    /// Tag 1. Connections that were there before, oldest first; as many messages as it takes to name
    /// all that `welcome` counted, before any other event.
    Present {
        /// At least one.
        connections: Vec<ConnectionInfo>,
    },
    /// Tag 2. A connection joined. Comes before its first signal.
    ConnectionCreated(ConnectionInfo),
    /// Tag 3. A connection left. Comes after its last signal, where all is on one stream.
    ConnectionDestroyed {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: DisconnectReason,
        /// Sequence number of the last signal of that connection which this client was sent on
        /// a stream of its own; 0 if none. A client holds the event back until it has that one.
        #[serde(rename = "lastSeq")]
        last_seq: u64,
    },
    /// Tag 4. A signal, where all senders share one stream.
    #[serde(borrow)]
    Signal(ReceivedSignal<'a>),
    /// Tag 5. Something the client sent was refused; the link stays.
    Error {
        /// Sequence number of the signal that was refused, if it was a signal.
        signal: Option<u64>,
        /// Why.
        code: ErrorCode,
        /// The same for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
    /// Tag 6. The link ends; nothing follows on this stream.
    Bye {
        /// Why.
        reason: CloseReason,
        /// The same for people.
        #[serde(borrow)]
        message: Text<'a>,
        /// Number of streams that the gateway has opened on this link. A client that has read
        /// so many to their end has missed nothing. 0 where all is on one stream.
        #[serde(default)]
        streams: u64,
    },
    /// Tag 7. The connection can be resumed with this ticket if its link is lost. Sent once with
    /// the feature `resume`, after the last `present`.
    Ticket(Ticket<'a>),
    /// Tag 8. The connection goes on on this link: the answer to a good `resume`, after the `gap`s if
    /// there are any. What the client missed follows, in order, and then what is new.
    Resumed {
        /// In place of the one that was used.
        #[serde(borrow)]
        ticket: Ticket<'a>,
        /// Number of the client's signals that the gateway has taken, over all links. Those after it
        /// were lost on the way; the client sends them again.
        signals: u64,
        /// Number of missed signals and presence events that follow.
        missed: u64,
    },
    /// Tag 9. Signals that were for this client are lost. Never said unless it is, or may be, so.
    Gap {
        /// Of whom, and which.
        lost: Vec<Lost>,
        /// Whether more is lost: presence events, and signals of connections that are gone. All
        /// who are there are then named by `present` messages, `present` connections in all.
        presence: bool,
        /// Number of connections in those messages.
        #[serde(default)]
        present: u32,
    },
    /// Tag 10. The gateway has taken so many of the client's signals, over all links: each is with
    /// everyone it was for, or an `error` said why not. Only with the feature `resume`.
    Accepted {
        /// Number of signals.
        signals: u64,
    },
    /// Tag 11. The gateway is going down, and ends this link soon; until then all goes on. A
    /// client that goes before that, and not by a goodbye, chooses the moment.
    GoAway {
        /// Milliseconds until the gateway closes the link.
        #[serde(rename = "withinMs")]
        within_ms: u32,
    },
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
    ];
}

/// The secret with which a client resumes its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket<'a> {
    /// A secret, good once and for this connection only. Opaque: at most 512 bytes of
    /// `A-Z a-z 0-9 - _`.
    #[serde(borrow)]
    pub ticket: Text<'a>,
    /// For how many milliseconds the connection is kept when its link is lost.
    pub window_ms: u32,
}

/// Signals of one sender that a client will never get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The sender.
    pub from: Sender,
    /// The last one that the client has.
    pub after: u64,
    /// The last one that is lost; between the two some were for this client.
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
    /// The gateway's limits that concern the client.
    pub limits: Limits,
    /// The features that the gateway grants, of those that the client listed.
    pub features: Features,
    /// Number of other members that `present` will name; 0 without the feature `presence`.
    pub present: u32,
}

/// The gateway's limits, so that a client can keep to them rather than run into them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Longest signal type, in bytes.
    pub type_bytes: u32,
    /// Longest signal data, in bytes.
    pub data_bytes: u32,
    /// Signals per second that this connection may send on average; 0 means no limit.
    pub signals_per_second: u32,
    /// After how many milliseconds of silence the gateway takes the link for lost.
    pub idle_timeout_ms: u32,
}

/// A signal on its way to a client, where all senders share one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedSignal<'a> {
    /// The sender.
    pub from: Sender,
    /// The sender's sequence number: rising, with holes where a signal was for somebody else.
    pub seq: u64,
    /// The signal's type.
    #[serde(rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// The signal's data.
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
}
