//! The link of a client, per transport: it reads into [`Order`] and writes what the [`Outbox`]
//! holds. It ends; what the client makes of that is decided in `session.rs`.

mod pace;
pub(crate) mod quic;
mod sending;
mod teller;
pub(crate) mod websocket;

use std::{sync::atomic::AtomicU32, time::Duration};

use signalbox_protocol::{
    CloseReason, ConnectionInfo, ErrorCode, GatewayMessage,
    message::{self, Welcome},
};

pub(crate) use self::{
    sending::{Sending, SharedOutbox},
    teller::{Keeping, Teller},
};
use crate::{error::ConnectError, event::Gap, opening::Opening};

/// A carrier that has been opened, and nothing said on it.
pub(crate) enum Dialled {
    Quic(quic::Dialled),
    WebSocket(Box<websocket::Dialled>),
}

impl Dialled {
    /// Says the first messages and takes the answer.
    pub(crate) async fn open(self, opening: Opening<'_>) -> Result<(Answer, Link), ConnectError> {
        match self {
            Self::Quic(dialled) => {
                let (answer, link) = dialled.open(opening).await?;
                Ok((answer, Link::Quic(Box::new(link))))
            }
            Self::WebSocket(dialled) => {
                let (answer, link) = dialled.open(opening).await?;
                Ok((answer, Link::WebSocket(Box::new(link))))
            }
        }
    }
}

/// A link on which the gateway has answered.
pub(crate) enum Link {
    Quic(Box<quic::QuicLink>),
    WebSocket(Box<websocket::WebSocketLink>),
}

impl Link {
    /// Carries the connection until the link ends.
    pub(crate) async fn run(self, teller: &mut Teller, sending: &mut Sending) -> End {
        match self {
            Self::Quic(link) => link.run(teller, sending).await,
            Self::WebSocket(link) => link.run(teller, sending).await,
        }
    }
}

/// What the gateway says to the first messages.
pub(crate) enum Answer {
    /// There is a new connection.
    Welcome(Welcome),
    /// The connection goes on.
    Resumed {
        kept: Kept,
        signals: u64,
        /// Which of those signals were refused.
        refused: Vec<Refused>,
        /// Signals and presence events that follow.
        missed: u64,
        /// What is lost.
        gap: Option<Gap>,
        /// Everyone else who is there, if presence is in the gap.
        present: Vec<ConnectionInfo>,
    },
}

/// A signal that the gateway refused.
pub(crate) struct Refused {
    pub(crate) signal: u64,
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

/// The answer, as it comes message by message.
#[derive(Default)]
pub(crate) struct Hearing {
    refused: Vec<Refused>,
    gap: Option<Gap>,
    present: Vec<ConnectionInfo>,
}

impl Hearing {
    /// Takes a message; with the last one the answer is complete.
    pub(crate) fn hear(
        &mut self,
        message: GatewayMessage<'_>,
    ) -> Result<Option<Answer>, ConnectError> {
        match message {
            GatewayMessage::Gap { lost, presence, .. } => {
                let gap = self.gap.get_or_insert_default();
                gap.lost.extend(lost);
                gap.presence |= presence;
            }
            GatewayMessage::Error { signal: Some(signal), code, message } => {
                let message = message.into_string();
                self.refused.push(Refused { signal, code, message });
            }
            GatewayMessage::Present { connections } => self.present.extend(connections),
            GatewayMessage::Welcome(welcome) => return Ok(Some(Answer::Welcome(welcome))),
            GatewayMessage::Resumed { ticket, signals, missed } => {
                let Self { refused, gap, present } = std::mem::take(self);
                let kept = Kept::new(ticket);
                return Ok(Some(Answer::Resumed { kept, signals, refused, missed, gap, present }));
            }
            GatewayMessage::Bye { reason, message, .. } => {
                return Err(ConnectError::Refused { reason, message: message.into_string() });
            }
            _ => return Err(ConnectError::Protocol("the gateway's answer is none".into())),
        }
        Ok(None)
    }
}

/// What lets the client come back.
pub(crate) struct Kept {
    pub(crate) ticket: String,
    /// How many attempts to resume have been made with the ticket.
    pub(crate) attempts: AtomicU32,
    /// How long it is good after a loss.
    pub(crate) window: Duration,
}

impl Kept {
    pub(crate) fn new(ticket: message::Ticket<'_>) -> Self {
        let window = Duration::from_millis(ticket.window_ms.into());
        Self { ticket: ticket.ticket.into_string(), attempts: AtomicU32::new(0), window }
    }
}

/// Why a link is over.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    pub(crate) message: String,
    /// The client has ended the link, as it was asked to, and means to come back.
    gone: bool,
}

impl End {
    pub(crate) fn new(reason: CloseReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), gone: false }
    }

    /// The client leaves the link, because the gateway is going down and asks it to.
    fn gone() -> Self {
        let message = "the gateway is going down and has asked its clients to go";
        Self { gone: true, ..Self::new(CloseReason::ShuttingDown, message) }
    }

    /// What the carrier is closed with. A goodbye would end a kept connection.
    fn closing_reason(&self) -> CloseReason {
        if self.gone { CloseReason::NetworkDisconnected } else { CloseReason::ClientDisconnected }
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::new(CloseReason::NetworkDisconnected, message)
    }

    /// The gateway sent what the protocol does not allow.
    fn protocol(message: impl Into<String>) -> Self {
        Self::new(CloseReason::ProtocolError, message)
    }
}
