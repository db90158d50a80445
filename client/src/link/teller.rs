//! Telling: what the gateway says, sorted into what the link needs to know and what the
//! application is told.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{ErrorCode, GatewayMessage, Text};
use tokio::sync::mpsc;

use super::{End, Kept, SharedOutbox};
use crate::{client::Shared, event::Event, order::Order};

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
}

impl Teller {
    /// Takes a message of the control stream. Those that end the link are not for here.
    pub(super) fn control(&mut self, message: GatewayMessage<'_>) {
        match message {
            GatewayMessage::Ticket(ticket) => self.keeping = Keeping::Kept(Kept::new(ticket)),
            GatewayMessage::Accepted { signals } => self.outbox.accepted(signals),
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
    pub(crate) async fn end(mut self, End { reason, message }: End) {
        self.order.tell(Event::SessionDisconnected { reason, message });
        self.tell().await;
    }
}
