//! Messages of the bus, and of the channels on it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, ProjectKey, SessionId};
use signalbox_relay::{Instance, ProjectUse, SessionUpdate, stable_hash};

/// Version of the messages: their first byte. A gateway ignores other versions.
const VERSION: u8 = 1;

/// Room for an update with a small signal.
const UPDATE_BYTES: usize = 256;

/// A message on the bus.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum BusMessage<'a> {
    /// To all gateways, at intervals: the sender is alive.
    Heartbeat {
        from: Instance,
        links: Vec<LinkStatus>,
        /// Projects that use a considerable part of a limit on the sender.
        usage: Vec<(ProjectKey, ProjectUse)>,
    },
    /// To one gateway: fragments of the channel to it.
    Data {
        from: Instance,
        /// Epoch of the receiver.
        to: u64,
        incarnation: u64,
        /// Number of the first fragment.
        first: u64,
        #[serde(borrow)]
        fragments: Vec<Fragment<'a>>,
    },
    /// To one gateway: fragments from a number on have not arrived.
    Missing { from: Instance, to: u64, incarnation: u64, expected: u64 },
    /// To all gateways: the sender shuts down.
    Goodbye { from: Instance },
}

/// A piece of a message on a channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fragment<'a> {
    /// Whether the message ends with it.
    pub(crate) last: bool,
    #[serde(borrow)]
    pub(crate) bytes: &'a [u8],
}

/// The channels between the sender of a heartbeat and one other gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LinkStatus {
    pub(crate) peer: Instance,
    /// The channel to the peer, and the number of its next fragment.
    pub(crate) sending: (u64, u64),
    /// The channel from the peer, and the number of the fragment that is expected next.
    pub(crate) receiving: (u64, u64),
}

/// A message on a channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ChannelMessage<'a> {
    /// The first message of a channel: hashes of the sessions that the sender has open. There are
    /// further ones unless `last`.
    Sessions { hashes: Vec<u64>, last: bool },
    /// The sender opens a session, and asks for the receiver's part.
    Open { session: SessionId },
    /// The sender does not have a session of the receiver open. It remembers connections of the
    /// session that were destroyed.
    Absent { session: SessionId, destroyed: Vec<ConnectionId> },
    /// An update of a session. It follows the message.
    Update { session: Cow<'a, SessionId> },
    /// The sender asks for the history of a session.
    HistoryRequest { session: SessionId },
    /// The history of a session.
    History {
        session: SessionId,
        #[serde(borrow)]
        history: &'a [u8],
    },
    /// The sender asks for a `Reached`, which follows everything that the receiver has sent before.
    Barrier { id: u64 },
    /// The answer to a `Barrier`.
    Reached { id: u64 },
    /// The sender shuts down, and asks the receiver to open a session that no other gateway has.
    Adopt { session: SessionId },
    /// The answer to an `Adopt`: the session is open, or cannot be opened.
    Adopted { session: SessionId },
    /// The sender has lost a gateway. A receiver that has lost it, too, answers.
    Lost { gateway: Instance },
    /// The answer to a `Lost`, after the sender's parts of all sessions with connections of the lost
    /// gateway.
    LostToo { gateway: Instance },
    /// A message of the sender's shared state.
    State {
        #[serde(borrow)]
        message: &'a [u8],
    },
    /// Connections that were disconnected by a moderator or a server. It precedes the answer to an
    /// `Open`, so that a client that resumes learns why it cannot.
    Evicted {
        #[serde(borrow)]
        tickets: &'a [u8],
    },
}

/// A message of the bus is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusMessageError {
    /// It has another version: the gateways run different releases.
    #[error("message of version {0}; this gateway reads version {VERSION}")]
    Version(u8),
    /// It is not a message.
    #[error("malformed message")]
    Malformed,
}

impl BusMessage<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Serialization into memory cannot fail for these types.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }
}

impl<'a> BusMessage<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, BusMessageError> {
        match bytes.split_first() {
            Some((&VERSION, message)) => {
                postcard::from_bytes(message).map_err(|_| BusMessageError::Malformed)
            }
            Some((version, _)) => Err(BusMessageError::Version(*version)),
            None => Err(BusMessageError::Malformed),
        }
    }
}

/// The message with an update, encoded once for all receivers.
pub(crate) fn encode_update(session: &SessionId, update: &SessionUpdate<'_>) -> bytes::Bytes {
    let message = ChannelMessage::Update { session: Cow::Borrowed(session) };
    let encoded = postcard::to_extend(&message, Vec::with_capacity(UPDATE_BYTES));
    // Serialization into memory cannot fail for these types.
    encoded.and_then(|encoded| postcard::to_extend(update, encoded)).unwrap_or_default().into()
}

impl ChannelMessage<'_> {
    pub(crate) fn encode(&self) -> bytes::Bytes {
        // Serialization into memory cannot fail for these types.
        postcard::to_stdvec(self).unwrap_or_default().into()
    }
}

/// A hash of a session id, equal on all gateways. A collision costs a superfluous message.
pub(crate) fn hash(session: &SessionId) -> u64 {
    stable_hash(session.as_str().as_bytes())
}
