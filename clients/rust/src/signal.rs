//! Building a signal.

use signalbox_protocol::{ConnectionId, Signal, message::SendSignal};
use tokio::sync::oneshot;

use crate::{client::Client, error::SendError};

/// A signal to be sent; made by [`Client::signal`]. Without a type and data it is a ping, without
/// an address it is for everyone in the session, the sender included.
#[must_use = "a signal is sent by `send` or `enqueue`"]
#[derive(Debug)]
pub struct SignalBuilder<'a> {
    client: &'a Client,
    to: Option<ConnectionId>,
    signal: Signal<'static>,
    retry: bool,
}

impl<'a> SignalBuilder<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, to: None, signal: Signal::default(), retry: true }
    }

    /// The type: at most 128 bytes of `A-Z a-z 0-9 - _ ~`.
    pub fn signal_type(mut self, signal_type: impl Into<String>) -> Self {
        self.signal.signal_type = Some(signal_type.into().into());
        self
    }

    /// The data: at most 8192 bytes.
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.signal.data = Some(data.into().into());
        self
    }

    /// Only for this connection.
    pub fn to(mut self, connection: ConnectionId) -> Self {
        self.to = Some(connection);
        self
    }

    /// Whether to send the signal again if the link is lost before the gateway has confirmed it
    /// (default: yes). A signal that is of use only now is better dropped: then it is not sent
    /// either while the client is away, [`send`](Self::send) fails with [`SendError::NotSent`],
    /// and one that was only enqueued is dropped without a word.
    pub fn retry_after_reconnect(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    /// Sends the signal and waits until the gateway has taken it: it is with everyone in the
    /// session that it was for, or waits for them. If the link is lost meanwhile, that may take
    /// until the client is back. Returns the signal's sequence number, which receivers see.
    ///
    /// It does not wait for the gateway if that does not confirm signals (it is an old one, or
    /// [`ConnectOptions::resume`](crate::ConnectOptions::resume) is off), nor if the application
    /// has left so many events unread that the confirmation cannot be read. A refusal then comes
    /// as [`Event::Refused`](crate::Event::Refused).
    ///
    /// # Errors
    /// [`SendError`]. With [`SendError::Disconnected`] and [`SendError::NotSent`] the gateway may
    /// have taken the signal all the same, and only its confirmation been lost. A refusal that is
    /// lost with the link is not said again: then this succeeds.
    pub async fn send(self) -> Result<u64, SendError> {
        self.signal.check()?;
        let (done, taken) = oneshot::channel();
        let signal = SendSignal::new(self.to, self.signal);
        self.client.enqueue(signal, self.retry, Some(done)).await?;
        taken.await.map_err(|_| SendError::Disconnected)?
    }

    /// Hands the signal to the link and does not wait for the gateway; for many signals one after
    /// the other. Waits while as many as may be are not confirmed yet. Returns the number of the
    /// signal among those that this client has sent in all, from 1, by which
    /// [`Event::Refused`](crate::Event::Refused) would name it.
    ///
    /// # Errors
    /// [`SendError`], and then nothing was sent. That it succeeded does not mean that anybody
    /// received the signal.
    pub async fn enqueue(self) -> Result<u64, SendError> {
        self.signal.check()?;
        let signal = SendSignal::new(self.to, self.signal);
        self.client.enqueue(signal, self.retry, None).await
    }
}
