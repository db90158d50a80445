//! Messages on QUIC streams other than the control stream: stream headers, and the signals on a
//! sender's stream.

use serde::{Deserialize, Serialize};

use super::Message;
use crate::{Sender, Text};

/// First frame of a unidirectional stream that a client opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientStream {
    /// Tag 0. The client's outgoing signals:
    /// [`ClientMessage::Signal`](super::ClientMessage::Signal)s follow. One per connection.
    Signals {},
}

impl Message<'_> for ClientStream {
    const NAMES: &'static [&'static str] = &["signals"];
}

/// First frame of a unidirectional stream that a gateway opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GatewayStream {
    /// Tag 0. Signals of this sender, until a [`SenderMessage::Sender`] names another one.
    Sender {
        /// The sender.
        from: Sender,
        /// Sequence number of the last signal on this sender's previous stream, 0 if there was
        /// none. A client surfaces that signal before anything on this stream.
        after: u64,
    },
}

impl Message<'_> for GatewayStream {
    const NAMES: &'static [&'static str] = &["sender"];
}

/// A message on a sender's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SenderMessage<'a> {
    /// Tag 0. A signal of the stream's sender.
    #[serde(borrow)]
    Signal(SequencedSignal<'a>),
    /// Tag 1. The stream has another sender from here on, as if a stream had ended and a new one had
    /// begun: a gateway needs only a few streams for many senders, and no new grants of streams.
    Sender {
        /// The sender.
        from: Sender,
        /// As in [`GatewayStream::Sender`].
        after: u64,
    },
}

impl<'a> Message<'a> for SenderMessage<'a> {
    const NAMES: &'static [&'static str] = &["signal", "sender"];
}

/// A signal whose sender is known from the stream it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SequencedSignal<'a> {
    /// The sender's sequence number.
    pub seq: u64,
    /// The signal's type.
    #[serde(rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// The signal's data.
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
}
