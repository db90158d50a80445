//! Entries of a session's history.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, ConnectionInfo, DisconnectReason, Sender};

use crate::encoding::Encoding;

/// The receivers of a signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Audience {
    All,
    One(ConnectionId),
    Only(Arc<HashSet<ConnectionId>>),
    Except(Arc<HashSet<ConnectionId>>),
}

impl Audience {
    pub(crate) fn includes(&self, id: ConnectionId) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == id,
            Self::Only(ids) => ids.contains(&id),
            Self::Except(ids) => !ids.contains(&id),
        }
    }
}

/// A signal or a presence event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum LogEntry {
    /// A signal, in one of the encodings that its receivers use.
    Signal { from: Sender, seq: u64, audience: Audience, encoding: Encoding, frame: Bytes },
    /// The presence event with this number: a connection was created.
    Created { number: u64, info: Arc<ConnectionInfo> },
    /// The presence event with this number: a connection was destroyed.
    Destroyed { number: u64, id: ConnectionId, reason: DisconnectReason },
    /// An entry of another gateway's history that this gateway has elsewhere, or does not need.
    Elsewhere,
}

impl LogEntry {
    pub(crate) fn is_presence(&self) -> bool {
        matches!(self, Self::Created { .. } | Self::Destroyed { .. })
    }

    /// Bytes on the heap, apart from the entry itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Signal {
                audience: Audience::Only(ids) | Audience::Except(ids), frame, ..
            } => frame.len() + ids.len() * std::mem::size_of::<ConnectionId>(),
            Self::Signal { frame, .. } => frame.len(),
            Self::Created { info, .. } => info.data.len(),
            Self::Destroyed { .. } | Self::Elsewhere => 0,
        }
    }
}
