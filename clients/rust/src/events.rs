//! The receiving half of a connection.

use tokio::sync::mpsc;

use crate::event::Event;

/// Events that may wait for the application. When they are not read, the client stops reading from
/// the network, and in the end the gateway disconnects it as a slow consumer.
pub(crate) const EVENT_QUEUE: usize = 1024;

/// The receiving half of a connection. If it is dropped, events are discarded.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

impl Events {
    pub(crate) fn new(events: mpsc::Receiver<Event>) -> Self {
        Self { events }
    }

    /// The next event; `None` after [`Event::SessionDisconnected`].
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, mut events| {
    /// use signalbox_client::{CloseReason, Event};
    ///
    /// client.disconnect().await;
    /// while let Some(event) = events.next().await {
    ///     if let Event::SessionDisconnected { reason, .. } = event {
    ///         assert_eq!(reason, CloseReason::ClientDisconnected);
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}
