//! The two halves of a link, as each transport implements them.

use std::future::{Future, pending};

use signalbox_opentok::{Action, Receipt, Refusal};
use signalbox_protocol::{ClientMessage, CloseReason, GatewayMessage};
use signalbox_relay::{LinkTurns, Outbox, TicketSecret};
use tokio::time::Instant;

use super::socket_url::SocketClaim;
use crate::link_rtt::LinkRtt;

/// The receiving half of a link.
pub(crate) trait Reader: Send {
    /// Whether a goodbye can arrive before signals that were sent earlier.
    const OVERTAKES: bool;

    /// The next message. Until the first one has been taken, the transport accepts no bytes except
    /// those of a hello.
    fn next(&mut self) -> impl Future<Output = Result<Incoming<'_>, LinkError>> + Send;

    /// Whether the first message may have come before the transport's handshake was complete (0-RTT).
    fn is_early(&self) -> bool {
        false
    }

    /// Waits until the client has closed the transport, and discards what it still sends.
    fn closed(&mut self) -> impl Future<Output = ()> + Send;
}

/// The sending half of a link.
pub(crate) trait Writer: Send {
    /// Sends one message before the outbox is pumped.
    fn send(
        &mut self,
        message: &GatewayMessage<'_>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Answers the request to join with this transaction id, together with the next welcome. For
    /// clients of the vendor's SDK.
    fn answer_join(&mut self, _transaction: &str) {}

    /// Before the outbox is pumped: where the link waits with its other work, if its session is large.
    fn take_turns(&mut self, _turns: LinkTurns) {}

    /// Writes what the outbox yields until the outbox has been closed and everything is written.
    /// Returns the reason for closing it. Cancel safe: it may be dropped at any await and called
    /// again.
    fn pump(
        &mut self,
        outbox: &Outbox,
    ) -> impl Future<Output = Result<CloseReason, LinkError>> + Send;

    /// The deadline of queued frames and of `bye`, within the farewell. Closing the transport may need
    /// the rest.
    fn messages_by(&self, farewell_by: Instant) -> Instant {
        farewell_by
    }

    /// Sends `bye`, and ends the transport in an orderly way.
    fn finish(
        &mut self,
        reason: CloseReason,
        message: &str,
        farewell_by: Instant,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Keeps the transport alive while nothing is written. Yields when the transport can no longer
    /// be used. It is polled beside [`Writer::pump`].
    fn watch(&self) -> impl Future<Output = LinkError> + Send + use<Self> {
        pending()
    }

    /// Where the round-trip time of the link is read.
    fn rtt(&self) -> LinkRtt;

    /// Ends the transport at once.
    fn abort(&mut self, reason: CloseReason);
}

/// A reader's next item.
pub(crate) enum Incoming<'a> {
    /// A message on the stream on which it belongs.
    Message(ClientMessage<'a>),
    /// A request, which is answered.
    Request(LinkRequest<'a>),
    /// The client has received a message.
    Receipt(Receipt),
    /// The client resumes with the URL of its WebSocket. Only the first item of a link; without a claim
    /// if the URL has none.
    Resume(Option<SocketClaim>),
    /// A message without effect.
    Nothing,
    /// A ping or pong of the transport, which has answered it.
    Control,
    /// A kind of message that this version does not know.
    Unknown,
    /// The client has closed the transport, cleanly and on purpose.
    Closed,
}

/// A request of a client of the vendor's SDK.
pub(crate) struct LinkRequest<'a> {
    /// Its transaction id.
    pub(crate) transaction: &'a str,
    /// The client's token, if it is there.
    pub(crate) token: Option<&'a str>,
    /// What is requested, or why it cannot be.
    pub(crate) action: Result<Action<'a>, Refusal>,
    /// The secret with which the client may resume.
    pub(crate) secret: Option<TicketSecret>,
}

/// The error for a transport that can no longer be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The network's fault: it broke or fell silent.
    #[error("link lost: {0}")]
    Lost(String),
    /// The client closed it on purpose.
    #[error("closed by the client")]
    Closed,
    /// The client closed it in an orderly way, but with the code of a fault.
    #[error("closed by the client with code {0}")]
    ClosedBadly(u16),
    /// The client broke the protocol. The gateway ends the link for this reason.
    #[error("{detail}")]
    Violation {
        /// The reason that the client is given.
        reason: CloseReason,
        /// The client's fault.
        detail: String,
    },
}

impl LinkError {
    pub(crate) fn protocol(detail: impl Into<String>) -> Self {
        Self::Violation { reason: CloseReason::ProtocolError, detail: detail.into() }
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::Violation { reason: CloseReason::FrameTooLarge, detail: detail.into() }
    }
}
