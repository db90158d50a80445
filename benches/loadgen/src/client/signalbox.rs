//! Signalbox's messages as minimal clients use them, and its protocol on a WebSocket.

use std::borrow::Cow;

use anyhow::{Context as _, bail};
use signalbox_protocol::{
    CONNECT_PATH, ClientMessage, CloseReason, Codec, ConnectionId, Feature, Features,
    GatewayMessage, Signal, Streams, Text, binary, json,
    message::{Hello, Resume, SendSignal},
};

use super::{
    Address, ClientProtocol, HandshakeReply, Received,
    websocket::{self, BINARY, Frame, TEXT},
};

/// The benchmark's clients to the gateway.
pub const AGENT: &str = concat!("signalbox-bench/", env!("CARGO_PKG_VERSION"));

/// A client's way to enter a session.
#[derive(Debug, Clone)]
pub enum Entry {
    /// As a new connection. Without presence: it would make joining a large session costly, and no
    /// other system has it.
    Join {
        /// Opens the session.
        token: String,
        /// Ask for a ticket with which the connection can be resumed.
        resumable: bool,
    },
    /// As the connection of a ticket.
    Resume {
        /// The last ticket.
        ticket: String,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
}

/// The gateway ended a link.
#[derive(Debug, thiserror::Error)]
#[error("the gateway ended a link ({reason}): {message}")]
pub struct LinkEnded {
    /// The close reason.
    pub reason: CloseReason,
    /// For people.
    pub message: String,
}

/// The answer that completes an entry.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub(super) connection: Option<ConnectionId>,
    pub(super) ticket: Option<String>,
}

impl Entry {
    /// The first messages.
    pub(super) fn opening(&self, streams: Streams) -> Vec<ClientMessage<'_>> {
        let agent = Some(AGENT.into());
        match self {
            Self::Join { token, resumable } => {
                let token = token.as_str().into();
                let features = Features::NONE.with(Feature::Resume, *resumable);
                vec![ClientMessage::Hello(Hello { token, features, streams, agent })]
            }
            Self::Resume { ticket, attempt } => vec![ClientMessage::Resume(Resume {
                ticket: Text::from(ticket.as_str()),
                attempt: *attempt,
                streams,
                events: 0,
                accepted: 0,
                cursors: Vec::new(),
                more: false,
                agent,
            })],
        }
    }

    /// The message to send once entered: a resumed connection has a new ticket.
    pub(super) fn after(&self) -> Option<ClientMessage<'static>> {
        matches!(self, Self::Resume { .. }).then_some(ClientMessage::TicketStored {})
    }

    /// Reads a message of the gateway; `true` when the entry is complete.
    pub(super) fn read(
        &self,
        message: GatewayMessage<'_>,
        entered: &mut Entered,
    ) -> anyhow::Result<bool> {
        Ok(match message {
            GatewayMessage::Welcome(welcome) => {
                entered.connection = Some(welcome.connection.id);
                matches!(self, Self::Join { resumable: false, .. })
            }
            GatewayMessage::Ticket(ticket) | GatewayMessage::Resumed { ticket, .. } => {
                entered.ticket = Some(ticket.ticket.into_string());
                true
            }
            message => match heard(message)? {
                Some(Ok(_)) | None => false,
                Some(Err(why)) => bail!("the gateway refused an entry: {why}"),
            },
        })
    }
}

/// A signal with this data.
pub(super) fn signal(to: Option<Address>, data: &str) -> ClientMessage<'_> {
    let to = match to {
        Some(Address::Connection(id)) => Some(id),
        _ => None,
    };
    let signal = Signal { signal_type: None, data: Some(data.into()) };
    ClientMessage::Signal(SendSignal::new(to, signal))
}

/// The data of a message of the gateway if it is a signal, or the reason if it refuses one.
pub(super) fn heard(
    message: GatewayMessage<'_>,
) -> anyhow::Result<Option<Result<Cow<'_, str>, String>>> {
    match message {
        GatewayMessage::Signal(signal) => {
            let data = signal.data.context("a signal without data, which nobody sent")?;
            Ok(Some(Ok(data.into())))
        }
        GatewayMessage::Error { code, message, .. } => {
            Ok(Some(Err(format!("{code:?}: {message}"))))
        }
        GatewayMessage::Bye { reason, message, .. } => {
            Err(LinkEnded { reason, message: message.to_string() }.into())
        }
        _ => Ok(None),
    }
}

/// One client on a WebSocket.
pub struct SignalboxProtocol {
    host: String,
    codec: Codec,
    entry: Entry,
    upgraded: bool,
    entered: Entered,
}

impl SignalboxProtocol {
    /// Enters a session of the gateway at `host`.
    pub fn new(host: &str, codec: Codec, entry: Entry) -> Self {
        let host = host.to_owned();
        Self { host, codec, entry, upgraded: false, entered: Entered::default() }
    }

    fn write(&self, message: &ClientMessage<'_>, out: &mut Vec<u8>) {
        match self.codec {
            Codec::Json => websocket::write(TEXT, json::encode(message).as_bytes(), out),
            Codec::Postcard => websocket::write(BINARY, &binary::encode(message), out),
        }
    }

    fn read<'a>(&self, message: &'a [u8]) -> anyhow::Result<Option<GatewayMessage<'a>>> {
        match self.codec {
            Codec::Json => {
                let text = std::str::from_utf8(message).context("JSON that is not text")?;
                json::decode(text).context("the gateway's message is malformed")
            }
            Codec::Postcard => {
                binary::decode(message).context("the gateway's message is malformed")
            }
        }
    }

    fn bytes<'a>(&self, messages: impl IntoIterator<Item = ClientMessage<'a>>) -> Vec<u8> {
        let mut out = Vec::new();
        messages.into_iter().for_each(|it| self.write(&it, &mut out));
        out
    }
}

impl ClientProtocol for SignalboxProtocol {
    fn opening(&mut self) -> Vec<u8> {
        websocket::upgrade(&self.host, CONNECT_PATH, Some(self.codec.subprotocol()))
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        if !self.upgraded {
            let Some(head) = websocket::upgraded(bytes)? else {
                return Ok(HandshakeReply::Incomplete);
            };
            self.upgraded = true;
            let opening = self.bytes(self.entry.opening(Streams::Single));
            return Ok(HandshakeReply::Continue(head, opening));
        }
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => HandshakeReply::Incomplete,
            Frame::Control(count, reply) => {
                HandshakeReply::Continue(count, reply.unwrap_or_default())
            }
            Frame::Message(count, message) => {
                let message = self.read(message)?;
                let done = message.map(|it| self.entry.read(it, &mut self.entered)).transpose()?;
                if done == Some(true) {
                    HandshakeReply::Joined(count, self.bytes(self.entry.after()))
                } else {
                    HandshakeReply::Continue(count, Vec::new())
                }
            }
        })
    }

    fn address(&self) -> Address {
        self.entered.connection.map_or(Address::Number(0), Address::Connection)
    }

    fn ticket(&self) -> Option<String> {
        self.entered.ticket.clone()
    }

    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        self.write(&signal(to, data), out);
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => Received::Incomplete,
            Frame::Control(count, None) => Received::Ignored(count),
            Frame::Control(count, Some(reply)) => Received::Reply(count, reply),
            Frame::Message(count, message) => match self.read(message)?.map(heard).transpose()? {
                Some(Some(Ok(data))) => Received::Signal(count, data),
                Some(Some(Err(why))) => Received::Refused(count, why),
                _ => Received::Ignored(count),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::message::Ticket;

    use super::*;

    /// Reads one message with an entry.
    fn read(entry: &Entry, message: GatewayMessage<'_>) -> anyhow::Result<(bool, Option<String>)> {
        let mut entered = Entered::default();
        Ok((entry.read(message, &mut entered)?, entered.ticket))
    }

    #[test]
    fn a_resumable_entry_ends_with_a_ticket_or_a_refusal() {
        let join = Entry::Join { token: "T".into(), resumable: true };
        let resume = Entry::Resume { ticket: "abc".into(), attempt: 1 };
        let ticket = || Ticket { ticket: "abc".into(), window_ms: 1 };
        let abc = || (true, Some("abc".to_owned()));
        assert_eq!(read(&join, GatewayMessage::Ticket(ticket())).unwrap(), abc());
        let resumed = GatewayMessage::Resumed { ticket: ticket(), signals: 0, missed: 0 };
        assert_eq!(read(&resume, resumed).unwrap(), abc());
        let accepted = GatewayMessage::Accepted { signals: 1 };
        assert_eq!(read(&join, accepted).unwrap(), (false, None));
        let reason = CloseReason::InvalidTicket;
        let bye = GatewayMessage::Bye { reason, message: "".into(), streams: 0 };
        let error = read(&resume, bye).unwrap_err();
        assert_eq!(error.downcast_ref::<LinkEnded>().unwrap().reason, reason);
    }
}
