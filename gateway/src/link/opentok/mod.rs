//! Links of the vendor's unmodified browser SDK, over the WebSocket protocol of `signalbox-opentok`.
//!
//! They differ from other links in three ways. The SDK chooses its connection id, and resumes with
//! nothing but the secret in the URL of its WebSocket, so the gateway keeps its confirmations and the
//! answers to it. It expects an answer to each request. And it distinguishes two kinds of close codes
//! only: those after which it resumes, and those after which its session ends.

mod farewell;
mod join_request;
mod reader;
mod requests;
mod writer;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};

pub(super) use self::{
    join_request::{ChosenConnection, read_join_request},
    requests::answer,
};
use self::{
    reader::OpenTokReader,
    writer::{OpenTokForm, OpenTokWriter},
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

/// Time for which a client that would try again without a pause waits for an answer.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(500);

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
