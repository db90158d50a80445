//! Links of the vendor's unmodified browser SDK, over the WebSocket protocol of `signalbox-opentok`.
//!
//! They differ from other links in what the two sides remember. The SDK chooses its connection id,
//! and comes back with nothing but the secret in the URL of its WebSocket, so the gateway keeps what
//! the client has confirmed and been answered. It expects an answer to each request. And it has no
//! word for most ends of a link, so the gateway chooses the close code by whether it may come back.

mod farewell;
mod reader;
mod requests;
mod wish;
mod writer;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};

use self::{
    reader::OpenTokReader,
    writer::{OpenTokForm, OpenTokWriter},
};
pub(super) use self::{
    requests::answer,
    wish::{ChosenConnection, wish},
};
use super::{
    socket_url::SocketUrl,
    transport::{Reader, Writer},
    websocket,
};
use crate::metrics::TransportMetrics;

/// Longest message of a client, in bytes: a signal of the greatest length whose JSON escapes each
/// byte, or a request with the longest token.
pub(crate) const CLIENT_MESSAGE_BYTES: usize = 64 * 1024;

/// The message limit and buffer sizes of a socket.
pub(crate) fn config() -> WebSocketConfig {
    websocket::config_with(CLIENT_MESSAGE_BYTES)
}

/// The transaction id of the request to join, until it has been answered. Both halves of a link share
/// it.
type PendingJoin = Arc<Mutex<Option<String>>>;

/// Makes the halves of a link from a socket after its HTTP upgrade.
pub(crate) fn halves<S: AsyncRead + AsyncWrite + Unpin + Send>(
    socket: WebSocketStream<S>,
    url: SocketUrl,
    idle_timeout: Duration,
    metrics: &Arc<TransportMetrics>,
) -> (impl Reader + use<S>, impl Writer + use<S>) {
    let (reader, writer) =
        websocket::messages(socket, OpenTokForm::default(), idle_timeout, metrics);
    let pending = PendingJoin::default();
    let writer = OpenTokWriter::new(writer, &url, pending.clone());
    (OpenTokReader::new(reader, url, pending), writer)
}
