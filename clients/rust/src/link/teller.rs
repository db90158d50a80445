//! Telling: what the gateway says, sorted into what the link needs to know and what the
//! application is told.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{ErrorCode, GatewayMessage, Text};
use tokio::{sync::mpsc, time::Instant};

use super::{End, Kept, SharedOutbox};
use crate::{backoff::part_of, client::Shared, event::Event, order::Order};

/// Whether the gateway keeps the connection if its link is lost.
pub(crate) enum Keeping {
    /// It does not, or is not asked to.
    No,
    /// It has been asked.
    Asked,
    /// It does.
    Kept(Kept),
}

/// Tells the application what happens, in order.
pub(crate) struct Teller {
    pub(crate) order: Order,
    pub(crate) keeping: Keeping,
    pub(crate) outbox: Arc<SharedOutbox>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) shared: Arc<Shared>,
    /// When the client leaves its link, if the gateway has asked it to.
    pub(crate) leaves_at: Option<Instant>,
}

impl Teller {
    /// Takes a message of the control stream. Those that end the link are not for here.
    pub(crate) fn control(&mut self, message: GatewayMessage<'_>) {
        match message {
            GatewayMessage::Ticket(ticket) => self.keeping = Keeping::Kept(Kept::new(ticket)),
            GatewayMessage::Accepted { signals } => self.outbox.accepted(signals),
            GatewayMessage::GoAway { within_ms } => {
                // Not at once, as all are asked at once; and the last quarter is for the way there.
                let quarter = Duration::from_millis(within_ms.into()) / 4;
                self.leaves_at = Some(Instant::now() + 2 * quarter + part_of(quarter));
            }
            // The answer to `keep` of a gateway that does not know it, or does not do it.
            GatewayMessage::Error { signal: None, code: ErrorCode::Unsupported, .. }
                if matches!(self.keeping, Keeping::Asked) =>
            {
                self.keeping = Keeping::No;
                self.outbox.unconfirmed();
            }
            GatewayMessage::Error { signal: Some(signal), code, message } => {
                if let Some(event) = self.outbox.refused(signal, code, message.into_string()) {
                    self.order.tell(event);
                }
            }
            GatewayMessage::Error { signal: None, code, message } => {
                let message = Text::into_string(message);
                self.order.tell(Event::Refused { signal: None, code, message });
            }
            message => self.order.control(message),
        }
    }

    /// Waits until the client is to leave its link. One whose connection would be lost with it stays
    /// until it is ended: it would only miss what is still on its way.
    pub(super) async fn is_to_leave(&self) -> End {
        match (self.leaves_at, &self.keeping) {
            (Some(at), Keeping::Kept(_)) => tokio::time::sleep_until(at).await,
            _ => std::future::pending().await,
        }
        End::gone()
    }

    /// How long the gateway may take to notice that a link is lost: its idle timeout, and a third for
    /// the checks of a WebSocket.
    pub(crate) fn noticed_within(&self) -> Duration {
        self.idle_timeout() * 4 / 3
    }

    /// After how long a silence the link is to be taken for lost.
    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.shared.limits().idle_timeout_ms.into())
    }

    /// Tells all that can be told now. Waits for an application that is behind.
    pub(crate) async fn tell(&mut self) {
        while let Some(event) = self.order.next_event() {
            self.shared.note(&event);
            // If nobody listens any more, events go nowhere.
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.outbox.stall(true);
                let _ = self.events.send(event).await;
                self.outbox.stall(false);
            }
        }
    }

    /// The last event.
    pub(crate) async fn end(mut self, End { reason, message, .. }: End) {
        self.order.tell(Event::SessionDisconnected { reason, message });
        self.tell().await;
    }
}
