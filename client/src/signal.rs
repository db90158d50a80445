//! Building a signal.

use signalbox_protocol::{ConnectionId, Signal, message::SendSignal};

use crate::{client::Client, error::SendError};

/// A signal to be sent; made by [`Client::signal`]. Without a type and data it is a ping, without
/// an address it is for everyone in the session, the sender included.
#[must_use = "a signal is sent by `send`"]
#[derive(Debug)]
pub struct SignalBuilder<'a> {
    client: &'a Client,
    to: Option<ConnectionId>,
    signal: Signal<'static>,
}

impl<'a> SignalBuilder<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, to: None, signal: Signal::default() }
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

    /// Hands the signal to the link; waits while the link has as much to send as it may hold.
    /// Returns the number of the signal among those that this client has sent, from 1, by which
    /// [`Event::Refused`](crate::Event::Refused) would name it.
    ///
    /// # Errors
    /// [`SendError`], and then nothing was sent. That it succeeded does not mean that anybody
    /// received the signal.
    pub async fn send(self) -> Result<u64, SendError> {
        self.signal.check()?;
        self.client.send(SendSignal::new(self.to, self.signal)).await
    }
}
