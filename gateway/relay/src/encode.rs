//! Encoding once: a signal becomes bytes at most once for each encoding among its receivers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use signalbox_protocol::{
    Codec, GatewayMessage, Sender, SenderMessage, Signal, frame, json,
    message::{ReceivedSignal, SequencedSignal},
};

/// In which form a receiver's link wants its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Postcard frames; signals without their sender, as they go on a stream per sender.
    PerSender,
    /// Postcard frames; signals name their sender. (A WebSocket leaves the length prefix away.)
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

/// A signal and the forms that it has taken so far.
pub(crate) struct Encodings<'a> {
    from: Sender,
    seq: u64,
    signal: Signal<'a>,
    per_sender: Option<Bytes>,
    shared: Option<Bytes>,
    json: Option<Bytes>,
}

impl<'a> Encodings<'a> {
    pub(crate) fn new(from: Sender, seq: u64, signal: Signal<'a>) -> Self {
        Self { from, seq, signal, per_sender: None, shared: None, json: None }
    }

    /// Who sent it, and its number.
    pub(crate) fn origin(&self) -> (Sender, u64) {
        (self.from.clone(), self.seq)
    }

    /// The signal in a form that it has taken, or in the shortest.
    pub(crate) fn any(&mut self) -> (Encoding, Bytes) {
        let encoding = match (&self.per_sender, &self.shared, &self.json) {
            (None, Some(_), _) => Encoding::Shared,
            (None, None, Some(_)) => Encoding::Json,
            _ => Encoding::PerSender,
        };
        (encoding, self.get(encoding))
    }

    /// The signal in this form: encoded on the first call, a reference count on later ones.
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

/// An event and the forms that it has taken so far.
pub(crate) struct EventEncodings<'a> {
    message: GatewayMessage<'a>,
    binary: Option<Bytes>,
    json: Option<Bytes>,
}

impl<'a> EventEncodings<'a> {
    pub(crate) fn new(message: GatewayMessage<'a>) -> Self {
        Self { message, binary: None, json: None }
    }

    /// The event in this form.
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
