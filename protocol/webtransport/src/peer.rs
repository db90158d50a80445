//! Everything that the peer of an HTTP/3 connection opens: streams, by their type.

use std::task::{Context, Poll, ready};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quinn::{Connection, ConnectionError, ReadExactError, RecvStream, SendStream};
use tokio::io::AsyncReadExt;
use web_transport_proto::{
    ConnectError, ConnectRequest, Frame, Settings, SettingsError, StreamUni, VarInt,
};

use crate::{
    code::{BUFFERED_STREAM_REJECTED, H3_REQUEST_REJECTED, H3_STREAM_CREATION_ERROR},
    session_id::SessionId,
};

/// Something that the peer has opened.
pub(crate) enum Opened {
    /// Its settings have arrived.
    Settings(Result<Settings, SettingsError>),
    /// A request that is not a stream of a session.
    Request(Box<Result<ConnectRequest, ConnectError>>, SendStream, RecvStream),
    /// A unidirectional stream of a session.
    Uni(SessionId, RecvStream),
    /// A bidirectional stream of a session.
    Bidi(SessionId, SendStream, RecvStream),
}

/// The result of one step.
enum Step {
    AcceptedUni(RecvStream),
    AcceptedBidi(SendStream, RecvStream),
    Settings(Result<Settings, SettingsError>, RecvStream),
    Opened(Opened),
    /// A stream that HTTP/3 needs for as long as the connection lasts.
    Held(RecvStream),
    /// A stream that ended before its type was known, or of a type to be ignored.
    Ignored,
    Lost(ConnectionError),
}

/// The streams of the peer. Streams whose type has not arrived delay no others; their number is
/// bounded by the stream limits of the connection.
pub(crate) struct PeerStreams {
    connection: Connection,
    steps: FuturesUnordered<BoxFuture<'static, Step>>,
    /// Control and QPACK streams: closing one is a connection error (RFC 9114 §6.2.1, RFC 9204 §4.2).
    held: Vec<RecvStream>,
    lost: Option<ConnectionError>,
}

impl PeerStreams {
    pub(crate) fn new(connection: Connection) -> Self {
        let steps = FuturesUnordered::new();
        steps.push(accept_uni(connection.clone()));
        steps.push(accept_bidi(connection.clone()));
        Self { connection, steps, held: Vec::new(), lost: None }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next thing that the peer opens, or the end of the connection. Cancel safe.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Opened, ConnectionError>> {
        loop {
            if let Some(error) = &self.lost {
                return Poll::Ready(Err(error.clone()));
            }
            // Two futures wait for streams at any time, so the set is never empty.
            let Some(step) = ready!(self.steps.poll_next_unpin(cx)) else { return Poll::Pending };
            match step {
                Step::AcceptedUni(stream) => {
                    self.steps.push(uni_type(stream).boxed());
                    self.steps.push(accept_uni(self.connection.clone()));
                }
                Step::AcceptedBidi(send, recv) => {
                    self.steps.push(bidi_type(send, recv).boxed());
                    self.steps.push(accept_bidi(self.connection.clone()));
                }
                Step::Settings(settings, stream) => {
                    self.held.push(stream);
                    return Poll::Ready(Ok(Opened::Settings(settings)));
                }
                Step::Opened(opened) => return Poll::Ready(Ok(opened)),
                Step::Held(stream) => self.held.push(stream),
                Step::Ignored => {}
                Step::Lost(error) => self.lost = Some(error),
            }
        }
    }

    /// Resets a stream of a session that does not exist.
    pub(crate) fn reject(stream: Opened) {
        // Each call fails only if the stream has ended already.
        match stream {
            Opened::Settings(_) => {}
            Opened::Request(_, mut send, mut recv) => {
                let _ = (send.reset(H3_REQUEST_REJECTED), recv.stop(H3_REQUEST_REJECTED));
            }
            Opened::Uni(_, mut recv) => drop(recv.stop(BUFFERED_STREAM_REJECTED)),
            Opened::Bidi(_, mut send, mut recv) => {
                let _ = (send.reset(BUFFERED_STREAM_REJECTED), recv.stop(BUFFERED_STREAM_REJECTED));
            }
        }
    }
}

fn accept_uni(connection: Connection) -> BoxFuture<'static, Step> {
    async move { connection.accept_uni().await.map_or_else(Step::Lost, Step::AcceptedUni) }.boxed()
}

fn accept_bidi(connection: Connection) -> BoxFuture<'static, Step> {
    async move {
        let stream = connection.accept_bi().await;
        stream.map_or_else(Step::Lost, |(send, recv)| Step::AcceptedBidi(send, recv))
    }
    .boxed()
}

/// Reads the type of a unidirectional stream (RFC 9114 §6.2).
async fn uni_type(mut stream: RecvStream) -> Step {
    let Ok((kind, read)) = varint(&mut stream).await else { return Step::Ignored };
    match StreamUni(kind) {
        StreamUni::CONTROL => {
            let settings = Settings::read(&mut read.as_slice().chain(&mut stream)).await;
            Step::Settings(settings, stream)
        }
        StreamUni::QPACK_ENCODER | StreamUni::QPACK_DECODER => Step::Held(stream),
        StreamUni::WEBTRANSPORT => match varint(&mut stream).await {
            Ok((session, _)) => Step::Opened(Opened::Uni(SessionId::new(session), stream)),
            Err(_) => Step::Ignored,
        },
        _ => {
            // Fails only if the stream has ended already.
            let _ = stream.stop(H3_STREAM_CREATION_ERROR);
            Step::Ignored
        }
    }
}

/// Reads the first frame's type on a bidirectional stream: that of a session's stream, or the
/// beginning of a request.
async fn bidi_type(send: SendStream, mut recv: RecvStream) -> Step {
    let Ok((kind, read)) = varint(&mut recv).await else { return Step::Ignored };
    if Frame(kind) == Frame::WEBTRANSPORT {
        return match varint(&mut recv).await {
            Ok((session, _)) => Step::Opened(Opened::Bidi(SessionId::new(session), send, recv)),
            Err(_) => Step::Ignored,
        };
    }
    let request = ConnectRequest::read(&mut read.as_slice().chain(&mut recv)).await;
    Step::Opened(Opened::Request(Box::new(request), send, recv))
}

/// Reads a variable-length integer (RFC 9000 §16). Returns its bytes, too.
async fn varint(stream: &mut RecvStream) -> Result<(VarInt, Vec<u8>), ReadExactError> {
    let mut bytes = vec![0];
    stream.read_exact(&mut bytes).await?;
    // The two highest bits are the logarithm of the length.
    let len = 1 << (bytes.first().copied().unwrap_or_default() >> 6);
    bytes.resize(len, 0);
    if let Some(rest) = bytes.get_mut(1..) {
        stream.read_exact(rest).await?;
    }
    let value = VarInt::decode(&mut bytes.as_slice()).unwrap_or(VarInt::MAX);
    Ok((value, bytes))
}
