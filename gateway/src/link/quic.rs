//! Links over QUIC and WebTransport: a control stream, a stream of the client's signals, and a stream
//! per sender. In a WebTransport session the same streams have a prefix, and codes are mapped.

mod chunks;
mod idle_order;
mod reader;
mod sender_streams;
mod stream_queue;
mod watch;
mod writer;

use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt, ZeroRttAccepted};
use signalbox_protocol::{CloseReason, Transport};
use signalbox_quic::DriverTurns;
use signalbox_webtransport::{Session, SessionEnd, to_http3};

use self::{
    reader::QuicReader,
    writer::{LinkCounts, QuicWriter, WriterSession},
};
use super::transport::LinkError;
use crate::metrics::Metrics;
pub(crate) use chunks::SEND_WINDOW;

/// Bytes that a client may send before they are read, on all streams together: some frames of the
/// greatest length on one stream, and a little more.
pub(crate) const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Time for a client to close its session after it has reset or stopped streams. Firefox does so with
/// all streams of a session, and sends the close after that.
const CLOSE_REASON: Duration = Duration::from_secs(1);

/// A connection whose client has opened its control stream.
pub(crate) struct OpenedConnection {
    pub(crate) connection: Connection,
    /// Completes with the handshake, which may still be running (0-RTT).
    pub(crate) handshake: ZeroRttAccepted,
    pub(crate) control: (SendStream, RecvStream),
    /// The WebTransport session to which the streams belong, if any.
    pub(crate) session: Option<Session>,
}

/// Makes the halves of a link. With `keep_alive`, the client receives a packet at this interval.
pub(crate) fn halves(
    opened: OpenedConnection,
    turns: DriverTurns,
    max_streams: usize,
    keep_alive: Option<Duration>,
    is_early: bool,
    metrics: &Metrics,
) -> (QuicReader, QuicWriter) {
    let OpenedConnection { connection, handshake, control: (send, recv), session } = opened;
    let (incoming, session) = match session {
        Some(Session { id, incoming, closer }) => {
            (Some(Box::new(incoming)), Some(Box::new(WriterSession { id, closer })))
        }
        None => (None, None),
    };
    let transport = if session.is_some() { Transport::WebTransport } else { Transport::Quic };
    let counts = metrics.transport(transport);
    let reader =
        QuicReader::new(connection.clone(), handshake, recv, incoming, is_early, counts.clone());
    let watched = metrics.quic_links.watch(connection.clone(), transport);
    let counts = LinkCounts { transport: counts.clone(), _watched: watched };
    (reader, QuicWriter::new(connection, send, turns, max_streams, keep_alive, session, counts))
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

/// Maps the end of a WebTransport session in the same way. A goodbye has the same code there.
fn session_error(end: SessionEnd) -> LinkError {
    match end {
        SessionEnd::Closed { code, .. } if code == CloseReason::ClientDisconnected.quic_code() => {
            LinkError::Closed
        }
        SessionEnd::Lost(error) => connection_error(error),
        SessionEnd::Capsule(detail) => LinkError::protocol(detail),
        end @ SessionEnd::Closed { .. } => LinkError::Lost(end.to_string()),
    }
}

/// The code with which a connection is closed, or a stream of it reset.
pub(crate) fn close_code(reason: CloseReason, is_webtransport: bool) -> VarInt {
    let code = reason.quic_code();
    if is_webtransport { to_http3(code) } else { code.into() }
}
