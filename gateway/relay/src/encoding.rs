//! Encodings of outgoing messages. A message is encoded at most once per encoding in use, and the
//! bytes are shared by all receivers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use signalbox_opentok::{Receipt, message as opentok_message};
use signalbox_protocol::{
    Codec, GatewayMessage, Sender, SenderMessage, SessionId, Signal, frame, json,
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
    /// Frames for the vendor's browser SDK, with JSON in them.
    OpenTok,
}

impl Encoding {
    /// The codec of these frames.
    pub const fn codec(self) -> Codec {
        match self {
            Self::PerSender | Self::Shared => Codec::Postcard,
            Self::Json | Self::OpenTok => Codec::Json,
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
    opentok: Option<Bytes>,
}

impl<'a> SignalEncodings<'a> {
    pub(crate) fn new(from: Sender, seq: u64, signal: Signal<'a>) -> Self {
        Self { from, seq, signal, per_sender: None, shared: None, json: None, opentok: None }
    }

    /// The sender and the sequence number.
    pub(crate) fn origin(&self) -> (Sender, u64) {
        (self.from.clone(), self.seq)
    }

    pub(crate) fn signal(&self) -> &Signal<'a> {
        &self.signal
    }

    /// The signal in an encoding of Signalbox that exists already, or else in the shortest.
    pub(crate) fn any(&mut self, session: &SessionId) -> (Encoding, Bytes) {
        let encoding = match (&self.per_sender, &self.shared, &self.json) {
            (None, Some(_), _) => Encoding::Shared,
            (None, None, Some(_)) => Encoding::Json,
            _ => Encoding::PerSender,
        };
        (encoding, self.get(encoding, session))
    }

    /// The signal in this encoding. Later calls return another reference to the same bytes.
    #[inline]
    pub(crate) fn get(&mut self, encoding: Encoding, session: &SessionId) -> Bytes {
        let known = match encoding {
            Encoding::PerSender => &self.per_sender,
            Encoding::Shared => &self.shared,
            Encoding::Json => &self.json,
            Encoding::OpenTok => &self.opentok,
        };
        match known {
            Some(bytes) => bytes.clone(),
            None => self.encode(encoding, session),
        }
    }

    /// Encodes the signal: once for each encoding, so apart from what runs for each receiver.
    #[cold]
    fn encode(&mut self, encoding: Encoding, session: &SessionId) -> Bytes {
        let Self { from, seq, signal, .. } = self;
        let named = || {
            GatewayMessage::Signal(ReceivedSignal {
                from: from.clone(),
                seq: *seq,
                signal_type: signal.signal_type.as_deref().map(Into::into),
                data: signal.data.as_deref().map(Into::into),
            })
        };
        let (slot, bytes) = match encoding {
            Encoding::PerSender => {
                let message = SenderMessage::Signal(SequencedSignal {
                    seq: *seq,
                    signal_type: signal.signal_type.as_deref().map(Into::into),
                    data: signal.data.as_deref().map(Into::into),
                });
                (&mut self.per_sender, frame::encode(&message))
            }
            Encoding::Shared => (&mut self.shared, frame::encode(&named())),
            Encoding::Json => (&mut self.json, json::encode(&named()).into()),
            Encoding::OpenTok => {
                (&mut self.opentok, opentok_message::signal(session, from, *seq, signal))
            }
        };
        slot.insert(bytes.into()).clone()
    }
}

/// The number of a presence event, by which clients of the vendor's SDK confirm it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EventNumber {
    /// The run of the gateway that has counted it.
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// An event and its encodings so far.
pub(crate) struct EventEncodings<'a> {
    message: GatewayMessage<'a>,
    number: EventNumber,
    binary: Option<Bytes>,
    json: Option<Bytes>,
    opentok: Option<Bytes>,
}

impl<'a> EventEncodings<'a> {
    /// A presence event.
    pub(crate) fn new(message: GatewayMessage<'a>, number: EventNumber) -> Self {
        Self { message, number, binary: None, json: None, opentok: None }
    }

    /// Any other event.
    pub(crate) fn other(message: GatewayMessage<'a>) -> Self {
        Self::new(message, EventNumber::default())
    }

    /// The event in this encoding; `None` if it has no form in it.
    pub(crate) fn get(&mut self, encoding: Encoding, session: &SessionId) -> Option<Bytes> {
        let message = &self.message;
        let bytes = match encoding {
            Encoding::PerSender | Encoding::Shared => {
                self.binary.get_or_insert_with(|| frame::encode(message).into())
            }
            Encoding::Json => self.json.get_or_insert_with(|| json::encode(message).into()),
            Encoding::OpenTok => match &self.opentok {
                Some(bytes) => bytes,
                None => self.opentok.insert(opentok(message, self.number, session)?.into()),
            },
        };
        Some(bytes.clone())
    }
}

fn opentok(
    message: &GatewayMessage<'_>,
    number: EventNumber,
    session: &SessionId,
) -> Option<Vec<u8>> {
    let EventNumber { epoch, number } = number;
    match message {
        GatewayMessage::ConnectionCreated(info) => {
            let receipt = Receipt::Created { epoch, number, id: info.id };
            // The permissions of others are not known to the SDK's users.
            Some(opentok_message::created(session, Some(&receipt), info, &[]))
        }
        GatewayMessage::ConnectionDestroyed { id, reason, .. } => {
            let receipt = Receipt::Destroyed { epoch, number, id: *id };
            Some(opentok_message::deleted(session, Some(&receipt), *id, *reason))
        }
        _ => None,
    }
}
