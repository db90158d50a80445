//! The end of a link.

use std::future::poll_fn;

use signalbox_protocol::{CloseReason, limits::FAREWELL};
use signalbox_relay::Outbox;
use tokio::time::Instant;

use super::transport::LinkError;

/// The end of a link, with its reason and its farewell.
pub(super) struct LinkEnd {
    pub(super) reason: CloseReason,
    /// For the client and the log. Never holds contents or tokens.
    pub(super) detail: String,
    /// Whether the transport still takes a farewell.
    pub(super) alive: bool,
    /// The deadline of the farewell.
    pub(super) farewell_by: Instant,
}

impl LinkEnd {
    pub(super) fn new(reason: CloseReason, detail: impl Into<String>) -> Self {
        let farewell_by = Instant::now() + FAREWELL;
        Self { reason, detail: detail.into(), alive: true, farewell_by }
    }

    /// An end that needs no more detail than its reason.
    pub(super) fn by(reason: CloseReason) -> Self {
        Self::new(reason, reason.hint())
    }

    /// The end of a link whose connection the relay closes. Waits until the outbox is closed.
    pub(super) async fn of_closed(outbox: &Outbox) -> Self {
        Self::by(poll_fn(|cx| outbox.poll_closed(cx)).await)
    }

    /// The same end of a transport that takes nothing any more.
    pub(super) fn dead(self) -> Self {
        Self { alive: false, ..self }
    }
}

impl From<LinkError> for LinkEnd {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Lost(detail) => Self::new(CloseReason::NetworkDisconnected, detail).dead(),
            // The reason is for the other members. The client needs no bye, but a transport with a
            // closing handshake still has to finish it.
            LinkError::Closed => Self::by(CloseReason::ClientDisconnected),
            LinkError::ClosedBadly(_) => {
                Self::new(CloseReason::NetworkDisconnected, error.to_string())
            }
            LinkError::Violation { reason, detail } => Self::new(reason, detail),
        }
    }
}
