//! The events that followers receive, and their form: a line of JSON.

use bytes::Bytes;
use serde::Serialize;
use signalbox_protocol::{
    CloseReason, ConnectionId, DisconnectReason, SessionId, Signal, Text, Transport,
    limits::TYPE_BYTES,
};

use crate::clock::{millis, unix_time};

/// An event of a connection or a session.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum TailEvent<'a> {
    /// The connection was created.
    Joined { role: &'static str, transport: &'static str, agent: Option<&'a str> },
    /// Its link was lost, and its client may resume.
    Detached { reason: &'static str },
    /// Its client has resumed on another link. It receives this many messages that it missed.
    Resumed { transport: &'static str, missed: u64 },
    /// A client that resumes is told of a gap: up to this many signals for it, or presence events.
    Gap { signals: u64, presence: bool },
    /// The connection was destroyed.
    Left { reason: DisconnectReason },
    /// A signal was delivered.
    Signal {
        /// Its number among the sender's signals; none for servers.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// Time for which its sender is not read, as it is over a limit of bytes or deliveries.
        #[serde(skip_serializing_if = "Option::is_none")]
        wait_ms: Option<u64>,
        #[serde(flatten)]
        signal: TailedSignal,
    },
    /// A signal was rejected, for the reason that its sender is told: over a rate, for example.
    Rejected {
        code: &'static str,
        #[serde(flatten)]
        signal: TailedSignal,
    },
}

/// A signal without its data, unless contents may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TailedSignal {
    /// The only receiver; none if it went to all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<ConnectionId>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    signal_type: Option<String>,
    /// Bytes of type and data.
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl TailedSignal {
    pub(super) fn of(signal: &Signal<'_>, to: Option<ConnectionId>, contents: bool) -> Self {
        let text = |text: &Option<Text<'_>>| text.as_deref().map(str::to_owned);
        // A rejected one may be longer than is allowed.
        let short = |text: String| text.chars().take(TYPE_BYTES).collect();
        Self {
            to,
            signal_type: text(&signal.signal_type).map(short),
            bytes: signal.bytes(),
            data: text(&signal.data).filter(|_| contents),
        }
    }
}

/// An event with its place and time.
#[derive(Debug, Serialize)]
pub(super) struct TailLine<'a> {
    /// Milliseconds since 1970.
    time: u64,
    #[serde(flatten)]
    event: TailEvent<'a>,
    pub(super) session: &'a SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection: Option<ConnectionId>,
}

impl<'a> TailLine<'a> {
    pub(super) fn new(
        session: &'a SessionId,
        connection: Option<ConnectionId>,
        event: TailEvent<'a>,
    ) -> Self {
        Self { time: millis(unix_time()), event, session, connection }
    }

    /// The signal of the event, if it has one.
    pub(super) fn signal(&self) -> Option<&TailedSignal> {
        match &self.event {
            TailEvent::Signal { signal, .. } | TailEvent::Rejected { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// The line, with the data of its signal only if `contents`.
    pub(super) fn json(&self, contents: bool) -> Bytes {
        // Strings and numbers always serialise.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = value.as_object_mut().filter(|_| !contents) {
            object.remove("data");
        }
        format!("{value}\n").into()
    }
}

/// The line of a follower that has lost events.
pub(super) fn lost(events: u64) -> Bytes {
    format!("{{\"time\":{},\"event\":\"lost\",\"events\":{events}}}\n", millis(unix_time())).into()
}

impl TailEvent<'_> {
    /// The loss of a link, for this reason.
    pub(crate) fn detached(reason: CloseReason) -> Self {
        Self::Detached { reason: reason.name() }
    }

    /// A client's return on a link of this transport.
    pub(crate) fn resumed(transport: Transport, missed: u64) -> Self {
        Self::Resumed { transport: transport.as_str(), missed }
    }
}
