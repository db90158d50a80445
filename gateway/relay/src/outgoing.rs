//! Outgoing messages: the items of an outbox.

use bytes::Bytes;
use signalbox_protocol::{ConnectionId, DisconnectReason, Sender};

use crate::encoding::Encoding;

/// A message to a receiver, in the receiver's encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A signal to a receiver with a stream per sender, whose link finds the stream.
    Signal {
        /// The sender.
        from: Sender,
        /// The sender's sequence number.
        seq: u64,
        /// The encoded signal, shared by all receivers with this encoding.
        frame: Bytes,
    },
    /// Any other message, encoded. For receivers without a stream per sender also a signal, which
    /// names its sender.
    Frame(Bytes),
    /// A connection was destroyed. Used for receivers with a stream per sender, as only their link
    /// knows the last signal on that stream. All other receivers get an [`Outgoing::Frame`].
    Destroyed {
        /// The connection.
        id: ConnectionId,
        /// Why it was destroyed.
        reason: DisconnectReason,
        /// Whether the receiver gets the event. If not, its link only frees the sender's stream.
        announce: bool,
    },
    /// Confirmation of the receiver's own signals.
    Accepted {
        /// Signals that the relay has processed.
        signals: u64,
    },
    /// The gateway is about to close the link.
    GoAway {
        /// Time until then, in milliseconds.
        within_ms: u32,
    },
    /// The answer to the receiver's heartbeat.
    Heartbeat,
}

impl Outgoing {
    /// A signal in this encoding.
    pub(crate) fn signal(from: &Sender, seq: u64, encoding: Encoding, frame: Bytes) -> Self {
        match encoding {
            Encoding::PerSender => Self::Signal { from: from.clone(), seq, frame },
            Encoding::Shared | Encoding::Json | Encoding::OpenTok => Self::Frame(frame),
        }
    }

    /// Bytes that count against the outbox: the frame, or an upper bound if the link encodes it.
    pub fn cost(&self) -> usize {
        match self {
            Self::Signal { frame, .. } | Self::Frame(frame) => frame.len(),
            Self::Destroyed { .. }
            | Self::Accepted { .. }
            | Self::GoAway { .. }
            | Self::Heartbeat => 32,
        }
    }
}
