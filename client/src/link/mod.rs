//! The link of a client, per transport: it reads into [`Order`] and writes what the [`Outbox`]
//! holds. It ends; what the client makes of that is decided in `session.rs`.

pub(crate) mod quic;
mod sending;
mod teller;
pub(crate) mod websocket;

use std::time::Duration;

use signalbox_protocol::{
    ClientMessage, CloseReason, GatewayMessage,
    message::{self, Welcome},
};

pub(crate) use self::{
    sending::{Sending, SharedOutbox},
    teller::{Keeping, Teller},
};
use crate::error::ConnectError;

/// How long the end of a link may take once it has been announced; the gateway waits as long.
const FAREWELL: Duration = Duration::from_secs(1);

/// A carrier that has been opened, and nothing said on it.
pub(crate) enum Dialled {
    Quic(quic::Dialled),
    WebSocket(Box<websocket::Dialled>),
}

impl Dialled {
    /// Says the first messages and takes the answer.
    pub(crate) async fn open(
        self,
        opening: &[ClientMessage<'_>],
    ) -> Result<(Answer, Link), ConnectError> {
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

/// What the gateway says to the first message.
pub(crate) enum Answer {
    /// There is a new connection.
    Welcome(Welcome),
    /// The connection goes on.
    Resumed { kept: Kept, signals: u64 },
}

impl Answer {
    fn new(message: Option<GatewayMessage<'_>>) -> Result<Self, ConnectError> {
        match message {
            Some(GatewayMessage::Welcome(welcome)) => Ok(Self::Welcome(welcome)),
            Some(GatewayMessage::Resumed { ticket, signals }) => {
                Ok(Self::Resumed { kept: Kept::new(ticket), signals })
            }
            Some(GatewayMessage::Bye { reason, message, .. }) => {
                Err(ConnectError::Refused { reason, message: message.into_string() })
            }
            _ => Err(ConnectError::Protocol("the gateway's first message is no answer".into())),
        }
    }
}

/// What lets the client come back.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) ticket: String,
    /// How long it is good after a loss.
    pub(crate) window: Duration,
}

impl Kept {
    fn new(ticket: message::Ticket<'_>) -> Self {
        let window = Duration::from_millis(ticket.window_ms.into());
        Self { ticket: ticket.ticket.into_string(), window }
    }
}

/// Why a link is over.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    pub(crate) message: String,
}

impl End {
    pub(crate) fn new(reason: CloseReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::new(CloseReason::NetworkDisconnected, message)
    }

    /// The gateway sent what the protocol does not allow.
    fn protocol(message: impl Into<String>) -> Self {
        Self::new(CloseReason::ProtocolError, message)
    }
}
