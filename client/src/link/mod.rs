//! The link of a client, per transport: a task that reads into [`Order`] and writes commands.

pub(crate) mod quic;
pub(crate) mod websocket;

use std::time::Duration;

use signalbox_protocol::CloseReason;
use tokio::sync::mpsc;

use crate::{
    client::{Command, Presence},
    event::Event,
    order::Order,
};

/// How long the end of a link may take once it has been announced; the gateway waits as long.
const FAREWELL: Duration = Duration::from_secs(1);

/// Commands taken from the queue at once, to be written together.
const BATCH: usize = 64;

/// What a link works for: the application's two ends.
pub(crate) struct Driver {
    pub(crate) order: Order,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) presence: Presence,
}

impl Driver {
    /// Separates what the two halves of a link need.
    fn split(self) -> (Teller, mpsc::Receiver<Command>) {
        let Self { order, commands, events, presence } = self;
        (Teller { order, events, presence }, commands)
    }
}

/// Tells the application what happens, in order.
pub(crate) struct Teller {
    order: Order,
    events: mpsc::Sender<Event>,
    presence: Presence,
}

impl Teller {
    /// Tells all that can be told now. Waits for an application that is behind.
    async fn tell(&mut self) {
        while let Some(event) = self.order.next_event() {
            match &event {
                Event::ConnectionCreated(info) => {
                    self.presence.lock().insert(info.id, info.clone());
                }
                Event::ConnectionDestroyed { id, .. } => {
                    self.presence.lock().remove(id);
                }
                _ => {}
            }
            // If nobody listens any more, events go nowhere.
            let _ = self.events.send(event).await;
        }
    }

    /// The last event.
    async fn end(mut self, End { reason, message }: End) {
        self.tell().await;
        let _ = self.events.send(Event::SessionDisconnected { reason, message }).await;
    }
}

/// Why a link is over.
#[derive(Debug)]
pub(crate) struct End {
    reason: CloseReason,
    message: String,
}

impl End {
    fn new(reason: CloseReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn lost(message: impl Into<String>) -> Self {
        Self::new(CloseReason::NetworkDisconnected, message)
    }

    /// The gateway sent what the protocol does not allow.
    fn protocol(message: impl Into<String>) -> Self {
        Self::new(CloseReason::ProtocolError, message)
    }
}
