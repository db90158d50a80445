//! The event dispatcher: sorts the gateway's messages into what the link needs and what the
//! application receives, and delivers events to it.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{
    GatewayMessage, Text,
    message::{Limits, Welcome},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Disconnection, SharedSendQueue};
use crate::{
    backoff::jitter,
    event::Event,
    order::{Order, ProtocolViolation, ResumePosition},
    session_view::SessionView,
    ticket::ResumeTicket,
};

/// Delivers events to the application, in order.
pub(crate) struct EventDispatcher {
    pub(crate) order: Order,
    /// The ticket for resuming, once the gateway has sent it.
    pub(crate) ticket: Option<ResumeTicket>,
    send_queue: Arc<SharedSendQueue>,
    events: mpsc::Sender<Event>,
    view: Arc<SessionView>,
    /// Time at which the client leaves its link, if the gateway has asked it to leave.
    leave_at: Option<Instant>,
}

impl EventDispatcher {
    pub(crate) fn new(
        order: Order,
        send_queue: Arc<SharedSendQueue>,
        events: mpsc::Sender<Event>,
        view: Arc<SessionView>,
    ) -> Self {
        Self { order, ticket: None, send_queue, events, view, leave_at: None }
    }

    /// Takes a message of the control stream that does not end the link.
    pub(crate) fn control(&mut self, message: GatewayMessage<'_>) -> Result<(), ProtocolViolation> {
        match message {
            GatewayMessage::Ticket(ticket) => self.ticket = Some(ResumeTicket::new(ticket)),
            GatewayMessage::Accepted { signals } => self.send_queue.accepted(signals),
            GatewayMessage::GoAway { within_ms } => {
                // Not at once, as all clients are asked at once; and the last quarter is for the
                // time that the request took to arrive.
                let quarter = Duration::from_millis(within_ms.into()) / 4;
                self.leave_at = Some(Instant::now() + 2 * quarter + jitter(quarter));
            }
            GatewayMessage::Error { signal: Some(signal), code, message } => {
                let rejected = self.send_queue.rejected(signal, code, message.into_string());
                if let Some(event) = rejected {
                    self.order.emit(event);
                }
            }
            GatewayMessage::Error { signal: None, code, message } => {
                let message = Text::into_string(message);
                self.order.emit(Event::Rejected { signal: None, code, message });
            }
            message => return self.order.control(message),
        }
        Ok(())
    }

    /// The link is lost. Returns the position to resume from; `None` if it is not certain.
    pub(crate) fn link_lost(&mut self) -> Option<ResumePosition> {
        self.order.link_lost(self.send_queue.accepted_signals())
    }

    /// Waits until the client should leave its link, as the gateway has asked. A client without a
    /// ticket stays until the gateway ends the link: leaving would only lose signals in flight.
    pub(super) async fn leave_requested(&self) -> Disconnection {
        match (self.leave_at, &self.ticket) {
            (Some(at), Some(_)) => tokio::time::sleep_until(at).await,
            _ => std::future::pending().await,
        }
        Disconnection::leaving()
    }

    /// Takes the time at which the client was to leave its link.
    pub(crate) fn take_leave_at(&mut self) -> Option<Instant> {
        self.leave_at.take()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.view.limits()
    }

    /// The client has joined again as another connection.
    pub(crate) fn rejoined(&mut self, welcome: &Welcome) {
        self.order.rejoin(welcome);
        self.view.welcomed_again(welcome);
    }

    /// Maximum time in which the gateway detects a lost link: its idle timeout, and a third more
    /// for the interval of its WebSocket pings.
    pub(crate) fn loss_detection_time(&self) -> Duration {
        self.idle_timeout() * 4 / 3
    }

    /// Duration of silence after which the link counts as lost.
    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.limits().idle_timeout_ms.into())
    }

    /// The next event in order. The client's view of the session changes with it.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.order.next_event()?;
        self.view.apply(&event);
        Some(event)
    }

    /// Delivers all events that are due. Waits for an application that is behind.
    pub(crate) async fn deliver(&mut self) {
        while let Some(event) = self.next_event() {
            // If the application has dropped its end, events are discarded.
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.send_queue.set_stalled(true);
                let _ = self.events.send(event).await;
                self.send_queue.set_stalled(false);
            }
        }
    }

    /// Delivers the last event.
    pub(crate) async fn finish(mut self, Disconnection { reason, message, .. }: Disconnection) {
        self.order.emit(Event::SessionDisconnected { reason, message });
        self.deliver().await;
    }
}
