//! Encodings of outgoing messages. A message is encoded at most once per encoding in use, and the
//! bytes are shared by all receivers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use signalbox_protocol::{
    Codec, GatewayMessage, Sender, SenderMessage, Signal, frame, json,
    message::{ReceivedSignal, SequencedSignal},
};

/// Encoding of the frames in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Postcard frames. Signals do not name their sender, as each sender has a stream of its own.
    PerSender,
    /// Postcard frames. Signals name their sender. (A WebSocket omits the length prefix.)
    Shared,
    /// JSON text.
    Json,
}

impl Encoding {
    /// The codec of these frames.
    pub const fn codec(self) -> Codec {
        match self {
            Self::PerSender | Self::Shared => Codec::Postcard,
            Self::Json => Codec::Json,
        }
    }
}

/// A signal and its encodings so far.
pub(crate) struct SignalEncodings<'a> {
    from: Sender,
    seq: u64,
    signal: Signal<'a>,
    per_sender: Option<Bytes>,
    shared: Option<Bytes>,
    json: Option<Bytes>,
}

impl<'a> SignalEncodings<'a> {
    pub(crate) fn new(from: Sender, seq: u64, signal: Signal<'a>) -> Self {
        Self { from, seq, signal, per_sender: None, shared: None, json: None }
    }

    /// The sender and the sequence number.
    pub(crate) fn origin(&self) -> (Sender, u64) {
        (self.from.clone(), self.seq)
    }

    pub(crate) fn signal(&self) -> &Signal<'a> {
        &self.signal
    }

    /// The signal in an encoding that exists already, or else in the shortest.
    pub(crate) fn any(&mut self) -> (Encoding, Bytes) {
        let encoding = match (&self.per_sender, &self.shared, &self.json) {
            (None, Some(_), _) => Encoding::Shared,
            (None, None, Some(_)) => Encoding::Json,
            _ => Encoding::PerSender,
        };
        (encoding, self.get(encoding))
    }

    /// The signal in this encoding. Later calls return another reference to the same bytes.
    pub(crate) fn get(&mut self, encoding: Encoding) -> Bytes {
        let Self { from, seq, signal, .. } = self;
        let named = || {
            GatewayMessage::Signal(ReceivedSignal {
                from: from.clone(),
                seq: *seq,
                signal_type: signal.signal_type.as_deref().map(Into::into),
                data: signal.data.as_deref().map(Into::into),
            })
        };
        let bytes = match encoding {
            Encoding::PerSender => self.per_sender.get_or_insert_with(|| {
                let message = SenderMessage::Signal(SequencedSignal {
                    seq: *seq,
                    signal_type: signal.signal_type.as_deref().map(Into::into),
                    data: signal.data.as_deref().map(Into::into),
                });
                frame::encode(&message).into()
            }),
            Encoding::Shared => self.shared.get_or_insert_with(|| frame::encode(&named()).into()),
            Encoding::Json => self.json.get_or_insert_with(|| json::encode(&named()).into()),
        };
        bytes.clone()
    }
}

/// An event and its encodings so far.
pub(crate) struct EventEncodings<'a> {
    message: GatewayMessage<'a>,
    binary: Option<Bytes>,
    json: Option<Bytes>,
}

impl<'a> EventEncodings<'a> {
    pub(crate) fn new(message: GatewayMessage<'a>) -> Self {
        Self { message, binary: None, json: None }
    }

    /// The event in this encoding.
    pub(crate) fn get(&mut self, encoding: Encoding) -> Bytes {
        let message = &self.message;
        let bytes = match encoding {
            Encoding::PerSender | Encoding::Shared => {
                self.binary.get_or_insert_with(|| frame::encode(message).into())
            }
            Encoding::Json => self.json.get_or_insert_with(|| json::encode(message).into()),
        };
        bytes.clone()
    }
}
