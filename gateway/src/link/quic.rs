//! Links over QUIC: a control stream, a stream of the client's signals, and a stream per sender.

mod chunks;
mod reader;
mod sender_streams;
mod stream_queue;
mod watch;
mod writer;

use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt, ZeroRttAccepted};
use signalbox_protocol::CloseReason;

use self::{reader::QuicReader, writer::QuicWriter};
use super::transport::LinkError;
pub(crate) use chunks::SEND_WINDOW;

/// Bytes that a client may send before they are read, on all streams together: some frames of the
/// greatest length on one stream, and a little more.
pub(crate) const CONNECTION_WINDOW: u32 = 128 * 1024;

/// A connection whose client has opened its control stream.
pub(crate) struct OpenedConnection {
    pub(crate) connection: Connection,
    /// Completes with the handshake, which may still be running (0-RTT).
    pub(crate) handshake: ZeroRttAccepted,
    pub(crate) control: (SendStream, RecvStream),
}

/// Makes the halves of a link. With `keep_alive`, the client receives a packet at this interval.
pub(crate) fn halves(
    opened: OpenedConnection,
    max_streams: usize,
    keep_alive: Option<Duration>,
) -> (QuicReader, QuicWriter) {
    let OpenedConnection { connection, handshake, control: (send, recv) } = opened;
    let reader = QuicReader::new(connection.clone(), handshake, recv);
    (reader, QuicWriter::new(connection, send, max_streams, keep_alive))
}

/// Maps the end of the connection to the party at fault. A client's own code counts only if it is
/// that of a goodbye: it cannot make the others believe that a moderator disconnected it.
fn connection_error(error: ConnectionError) -> LinkError {
    let goodbye = VarInt::from(CloseReason::ClientDisconnected.quic_code());
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == goodbye => {
            LinkError::Closed
        }
        error => LinkError::Lost(error.to_string()),
    }
}
