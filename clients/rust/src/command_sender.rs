//! The sending end of a client's commands: numbers its signals, and builds them.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionId, Signal, message::SendSignal};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::SendError,
    send_queue::{ClientCommand, Completion, QueuedSignal},
};

/// Signals that may wait for the link before sending waits.
pub(crate) const COMMAND_QUEUE: usize = 256;

/// Queues commands for a client's task. Clones number the signals of one client.
#[derive(Debug, Clone)]
pub(crate) struct CommandSender {
    commands: mpsc::Sender<ClientCommand>,
    /// Signals sent so far. Locked while one is queued, so that numbers and queue agree.
    sent: Arc<Mutex<u64>>,
}

impl CommandSender {
    pub(crate) fn new() -> (Self, mpsc::Receiver<ClientCommand>) {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        (Self { commands, sent: Arc::default() }, receiver)
    }

    /// A ping to everyone in the session, to be made another signal.
    pub(crate) fn signal(&self) -> SignalBuilder<'_> {
        SignalBuilder { commands: self, to: None, signal: Signal::default(), retry: true }
    }

    /// Queues a command that is no signal.
    pub(crate) async fn send(&self, command: ClientCommand) -> Result<(), SendError> {
        self.commands.send(command).await.map_err(|_| SendError::Disconnected)
    }

    /// Queues a signal, and returns its number.
    async fn enqueue(
        &self,
        signal: SendSignal<'static>,
        retry: bool,
        completion: Option<Completion>,
    ) -> Result<u64, SendError> {
        let permit = self.commands.reserve().await.map_err(|_| SendError::Disconnected)?;
        let mut sent = self.sent.lock();
        *sent += 1;
        let number = *sent;
        permit.send(ClientCommand::Signal(QueuedSignal { number, signal, retry, completion }));
        Ok(number)
    }
}

/// A signal to be sent; made by [`Client::signal`](crate::Client::signal). With neither type nor data it is a ping.
/// Without an address it goes to everyone in the session, the sender included.
#[must_use = "a signal is sent by `send` or `enqueue`"]
#[derive(Debug)]
pub struct SignalBuilder<'a> {
    commands: &'a CommandSender,
    to: Option<ConnectionId>,
    signal: Signal<'static>,
    retry: bool,
}

impl SignalBuilder<'_> {
    /// The type: at most 128 bytes of `A-Z a-z 0-9 - . _ ~`.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// use signalbox_client::SendError;
    ///
    /// client.signal().signal_type("chat").send().await?;
    /// let rejected = client.signal().signal_type("a type with spaces").send().await;
    /// assert!(matches!(rejected, Err(SendError::Invalid(_))));
    /// # Ok(()) });
    /// ```
    pub fn signal_type(mut self, signal_type: impl Into<String>) -> Self {
        self.signal.signal_type = Some(signal_type.into().into());
        self
    }

    /// The data: at most 8192 bytes.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// client.signal().signal_type("offer").data("v=0 …").send().await?;
    /// # Ok(()) });
    /// ```
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.signal.data = Some(data.into().into());
        self
    }

    /// Sends to this connection only.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::in_session(async |session| {
    /// # use signalbox_client::{Event, Role};
    /// # let (alice, _events) = session.join(Role::Publisher).await?;
    /// # let (bob, mut bobs_events) = session.join(Role::Publisher).await?;
    /// alice.signal().to(bob.connection().id).data("just you").send().await?;
    /// # loop {
    /// #     if let Some(Event::Signal { from, .. }) = bobs_events.next().await {
    /// #         break Ok(assert_eq!(format!("{from:?}").contains(&alice.connection().id.to_string()), true));
    /// #     }
    /// # }
    /// # });
    /// ```
    pub fn to(mut self, connection: ConnectionId) -> Self {
        self.to = Some(connection);
        self
    }

    /// Whether to send the signal again if the link is lost before the gateway has confirmed it
    /// (default: yes). A signal that is only useful now should not be: then it is not sent while
    /// the client has no link either, [`send`](Self::send) fails with [`SendError::NotSent`], and
    /// a signal that was enqueued is dropped without notice.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// client.signal().signal_type("cursor").data("12,7").retry_after_reconnect(false).send().await?;
    /// # Ok(()) });
    /// ```
    pub fn retry_after_reconnect(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    /// Sends the signal and waits until the gateway has accepted it: it has been delivered to, or
    /// is queued for, every receiver. If the link is lost meanwhile, that may take until the client
    /// has reconnected. Returns the signal's sequence number, which receivers see.
    ///
    /// It does not wait for the gateway if
    /// [`ConnectOptions::resume`](crate::ConnectOptions::resume) is off, nor if the application has
    /// left so many events unread that the confirmation cannot be read. A rejection then comes as
    /// [`Event::Rejected`](crate::Event::Rejected).
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// use signalbox_client::{ConnectionId, ErrorCode, SendError};
    ///
    /// assert_eq!(client.signal().data("first").send().await?, 1);
    /// let nobody = ConnectionId::from_bytes([0; 16]);
    /// let rejected = client.signal().to(nobody).data("second").send().await;
    /// assert!(matches!(rejected, Err(SendError::Rejected { code: ErrorCode::NotFound, .. })));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`]. With [`SendError::Disconnected`] and [`SendError::NotSent`] the gateway may
    /// have accepted the signal and only the confirmation been lost. A rejection that is lost with
    /// the link and not repeated by the gateway counts as success.
    pub async fn send(self) -> Result<u64, SendError> {
        self.signal.check()?;
        let (completion, outcome) = oneshot::channel();
        let signal = SendSignal::new(self.to, self.signal);
        self.commands.enqueue(signal, self.retry, Some(completion)).await?;
        outcome.await.map_err(|_| SendError::Disconnected)?
    }

    /// Queues the signal and does not wait for the gateway; for many signals in a row. Waits while
    /// the limit of unconfirmed signals is reached. Returns the signal's number among all that this
    /// client has sent, from 1, by which [`Event::Rejected`](crate::Event::Rejected) names it.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// for line in ["one", "two", "three"] {
    ///     client.signal().data(line).enqueue().await?;
    /// }
    /// client.disconnect().await; // returns after the gateway has received all three
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`], and then nothing was sent. Success does not mean that the signal was
    /// received.
    pub async fn enqueue(self) -> Result<u64, SendError> {
        self.signal.check()?;
        let signal = SendSignal::new(self.to, self.signal);
        self.commands.enqueue(signal, self.retry, None).await
    }
}
