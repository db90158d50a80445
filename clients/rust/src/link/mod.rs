//! A client's link, per transport. It reads into the [`Order`](crate::order::Order) and writes the
//! messages of the [`SendQueue`](crate::send_queue::SendQueue) until it ends; `reconnect.rs`
//! decides what follows.

mod dispatcher;
mod outgoing;
mod pacer;
pub(crate) mod quic;
pub(crate) mod websocket;

use signalbox_protocol::{
    CloseReason, ConnectionInfo, ErrorCode, GatewayMessage, message::Welcome,
};

pub(crate) use self::{
    dispatcher::EventDispatcher,
    outgoing::{OutgoingMessages, SharedSendQueue},
};
use crate::{
    error::ConnectError, event::Gap, opening::Opening, order::ProtocolViolation,
    ticket::ResumeTicket,
};

/// A transport connection that has been established, before the gateway has answered an opening.
pub(crate) enum PendingLink {
    Quic(Box<quic::PendingQuicLink>),
    WebSocket(Box<websocket::PendingWebSocketLink>),
}

impl PendingLink {
    /// Sends the opening and receives the gateway's reply.
    pub(crate) async fn open(
        self,
        opening: Opening<'_>,
    ) -> Result<(HandshakeReply, Link), ConnectError> {
        match self {
            Self::Quic(pending) => {
                let (reply, link) = pending.open(opening).await?;
                Ok((reply, Link::Quic(Box::new(link))))
            }
            Self::WebSocket(pending) => {
                let (reply, link) = pending.open(opening).await?;
                Ok((reply, Link::WebSocket(Box::new(link))))
            }
        }
    }
}

/// A link on which the gateway has accepted the client.
pub(crate) enum Link {
    Quic(Box<quic::QuicLink>),
    WebSocket(Box<websocket::WebSocketLink>),
}

impl Link {
    /// Carries the connection until the link ends.
    pub(crate) async fn run(
        self,
        dispatcher: &mut EventDispatcher,
        outgoing: &mut OutgoingMessages,
    ) -> Disconnection {
        match self {
            Self::Quic(link) => link.run(dispatcher, outgoing).await,
            Self::WebSocket(link) => link.run(dispatcher, outgoing).await,
        }
    }
}

/// The gateway's reply to an opening.
pub(crate) enum HandshakeReply {
    /// The client has joined as a new connection.
    Welcome(Welcome),
    /// The connection continues.
    Resumed {
        ticket: ResumeTicket,
        /// Number of the client's signals that the gateway has accepted.
        signals: u64,
        /// Rejected signals among them.
        rejected: Vec<RejectedSignal>,
        /// Signals and presence events that follow.
        missed: u64,
        gap: Option<Gap>,
        /// All other connections in the session, if the gap includes presence.
        present: Vec<ConnectionInfo>,
    },
}

/// A signal that the gateway rejected.
pub(crate) struct RejectedSignal {
    pub(crate) signal: u64,
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

/// Assembles the gateway's reply from its messages.
#[derive(Default)]
pub(crate) struct ReplyAssembler {
    rejected: Vec<RejectedSignal>,
    gap: Option<Gap>,
    present: Vec<ConnectionInfo>,
}

impl ReplyAssembler {
    /// Takes a message; the last one completes the reply.
    pub(crate) fn push(
        &mut self,
        message: GatewayMessage<'_>,
    ) -> Result<Option<HandshakeReply>, ConnectError> {
        match message {
            GatewayMessage::Gap { lost, presence, .. } => {
                let gap = self.gap.get_or_insert_default();
                gap.lost.extend(lost);
                gap.presence |= presence;
            }
            GatewayMessage::Error { signal: Some(signal), code, message } => {
                let message = message.into_string();
                self.rejected.push(RejectedSignal { signal, code, message });
            }
            GatewayMessage::Present { connections } => self.present.extend(connections),
            GatewayMessage::Welcome(welcome) => return Ok(Some(HandshakeReply::Welcome(welcome))),
            GatewayMessage::Resumed { ticket, signals, missed } => {
                let Self { rejected, gap, present } = std::mem::take(self);
                let ticket = ResumeTicket::new(ticket);
                let reply =
                    HandshakeReply::Resumed { ticket, signals, rejected, missed, gap, present };
                return Ok(Some(reply));
            }
            GatewayMessage::Bye { reason, message, .. } => {
                return Err(ConnectError::Refused { reason, message: message.into_string() });
            }
            _ => {
                let detail = "unexpected message during the handshake";
                return Err(ConnectError::Protocol(detail.into()));
            }
        }
        Ok(None)
    }
}

/// The end of a link, with its cause.
#[derive(Debug)]
pub(crate) struct Disconnection {
    pub(crate) reason: CloseReason,
    pub(crate) message: String,
    /// The client has left the link at the gateway's request and will resume.
    leaving: bool,
}

impl Disconnection {
    pub(crate) fn new(reason: CloseReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), leaving: false }
    }

    /// The client leaves the link because the gateway, which shuts down, asked it to.
    fn leaving() -> Self {
        let message = "the gateway is shutting down and asked its clients to reconnect";
        Self { leaving: true, ..Self::new(CloseReason::ShuttingDown, message) }
    }

    /// The reason with which the transport is closed. A goodbye would end a resumable connection.
    fn closing_reason(&self) -> CloseReason {
        if self.leaving {
            CloseReason::NetworkDisconnected
        } else {
            CloseReason::ClientDisconnected
        }
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::new(CloseReason::NetworkDisconnected, message)
    }

    /// The gateway violated the protocol.
    fn protocol(message: impl Into<String>) -> Self {
        Self::new(CloseReason::ProtocolError, message)
    }
}

impl From<ProtocolViolation> for Disconnection {
    fn from(ProtocolViolation(message): ProtocolViolation) -> Self {
        Self::protocol(message)
    }
}
