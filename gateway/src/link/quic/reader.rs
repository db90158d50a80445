//! The receiving half of a QUIC or WebTransport link: the control stream and the client's stream of signals.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
};

use quinn::{ReadError, RecvStream, ZeroRttAccepted};
use signalbox_protocol::{
    ClientMessage, ClientStream, binary,
    frame::{FrameBuffer, FrameError},
    limits::CLIENT_FRAME_BYTES,
};
use signalbox_webtransport::{PeerStream, SESSION_GONE};
use tokio::time::timeout;

use super::{CLOSE_REASON, connection_error, session_error};
use crate::{
    link::transport::{Incoming, LinkError, Reader},
    metrics::TransportMetrics,
};

/// Bytes read from a stream at once. A datagram brings fewer.
const CHUNK: usize = 4096;

/// The receiving half of a QUIC or WebTransport link.
pub(crate) struct QuicReader {
    connection: quinn::Connection,
    /// The WebTransport session to which the streams belong, if any.
    session: Option<Box<signalbox_webtransport::Incoming>>,
    /// Completes with the handshake. Until then, the client's bytes may be a replay by an attacker
    /// that captured them.
    handshake: Option<ZeroRttAccepted>,
    control: ClientFrames,
    /// Whether the client has ended the control stream. Earlier signals may still be in flight.
    control_ended: bool,
    signals: Option<Signals>,
    /// Whether the first message has been taken. Until then only the control stream is read.
    greeted: bool,
    /// Whether the client may have sent its first message before the handshake was complete.
    is_early: bool,
    metrics: Arc<TransportMetrics>,
}

/// The client's stream of signals.
struct Signals {
    frames: ClientFrames,
    /// Whether the header has been read.
    opened: bool,
    /// Whether it has ended, after a whole frame.
    finished: bool,
}

/// The stream that has a message.
enum MessageSource {
    Control,
    Signals,
}

impl Reader for QuicReader {
    const OVERTAKES: bool = true;

    async fn next(&mut self) -> Result<Incoming<'_>, LinkError> {
        if self.greeted {
            confirmed(&self.connection, &mut self.handshake).await?;
        }
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(StreamError::Link(error)) => return Err(error),
            Err(StreamError::Ended(error)) => {
                return Err(self.end_of_session().await.unwrap_or(error));
            }
        };
        match ready {
            None => Ok(Incoming::Closed),
            Some(MessageSource::Control) => {
                self.greeted = true;
                let frame = self.control.buffer.next_frame().map_err(frame_error)?;
                let message = decode(frame.unwrap_or_default())?;
                // A ticket is valid once, so a resume cannot be replayed. Everything else could be.
                if !matches!(message, Some(ClientMessage::Resume(_))) {
                    confirmed(&self.connection, &mut self.handshake).await?;
                }
                match message {
                    Some(ClientMessage::Signal(_)) => {
                        Err(LinkError::protocol("a signal on the control stream"))
                    }
                    message => Ok(message.map_or(Incoming::Unknown, Incoming::Message)),
                }
            }
            Some(MessageSource::Signals) => {
                let Some(signals) = &mut self.signals else {
                    return Err(LinkError::protocol("a signal before its stream"));
                };
                let frame = signals.frames.buffer.next_frame().map_err(frame_error)?;
                match decode(frame.unwrap_or_default())? {
                    Some(message @ ClientMessage::Signal(_)) => Ok(Incoming::Message(message)),
                    None => Ok(Incoming::Unknown),
                    Some(_) => Err(LinkError::protocol("not a signal on the stream of signals")),
                }
            }
        }
    }

    fn is_early(&self) -> bool {
        self.is_early
    }

    async fn closed(&mut self) {
        if let Some(session) = &mut self.session {
            drop(session.closed().await);
        }
        // A browser whose connection ends together with its session does not see why the session ended.
        drop(self.connection.closed().await);
    }
}

impl QuicReader {
    pub(super) fn new(
        connection: quinn::Connection,
        handshake: ZeroRttAccepted,
        control: RecvStream,
        session: Option<Box<signalbox_webtransport::Incoming>>,
        is_early: bool,
        metrics: Arc<TransportMetrics>,
    ) -> Self {
        Self {
            connection,
            session,
            handshake: Some(handshake),
            control: ClientFrames::new(control),
            control_ended: false,
            signals: None,
            greeted: false,
            is_early,
            metrics,
        }
    }

    /// Waits until a stream has a whole message. `None`, once, if the client has ended the control
    /// stream. Cancel safe.
    async fn ready(&mut self) -> Result<Option<MessageSource>, StreamError> {
        loop {
            // Signals first: a message on the control stream may end the link, and signals that the
            // client sent earlier come before it.
            if let Some(signals) = &mut self.signals
                && signals.frames.buffer.is_ready()
            {
                if signals.opened {
                    return Ok(Some(MessageSource::Signals));
                }
                signals.open()?;
                continue;
            }
            if self.control.buffer.is_ready() {
                return Ok(Some(MessageSource::Control));
            }
            if !self.greeted {
                if !self.control.fill(&self.metrics).await? {
                    return Ok(None);
                }
                continue;
            }
            let control = async {
                if self.control_ended {
                    pending().await
                } else {
                    self.control.fill(&self.metrics).await
                }
            };
            let signals = async {
                match &mut self.signals {
                    Some(signals) if !signals.finished => {
                        signals.finished = !signals.frames.fill(&self.metrics).await?;
                        if signals.finished && !signals.opened {
                            let error = LinkError::protocol("a stream without a header");
                            return Err(StreamError::Link(error));
                        }
                        Ok(())
                    }
                    _ => pending().await,
                }
            };
            let is_raw = self.session.is_none();
            // A session keeps its state on the heap: this future is the memory of an idle link.
            let session = poll_fn(|cx| match &mut self.session {
                Some(session) => session.poll_next(cx),
                None => Poll::Pending,
            });
            let opened = tokio::select! {
                result = signals => {
                    result?;
                    continue;
                }
                more = control => {
                    if !more? {
                        self.control_ended = true;
                        return Ok(None);
                    }
                    continue;
                }
                stream = self.connection.accept_uni(), if is_raw => {
                    PeerStream::Uni(stream.map_err(connection_error)?)
                }
                stream = self.connection.accept_bi(), if is_raw => {
                    let (send, recv) = stream.map_err(connection_error)?;
                    PeerStream::Bidi(send, recv)
                }
                stream = session => stream.map_err(session_error)?,
            };
            match opened {
                PeerStream::Uni(stream) if self.signals.is_none() => {
                    let frames = ClientFrames::new(stream);
                    self.signals = Some(Signals { frames, opened: false, finished: false });
                }
                PeerStream::Uni(_) => {
                    return Err(LinkError::protocol("a second stream of signals").into());
                }
                PeerStream::Bidi(..) => {
                    return Err(LinkError::protocol("a second bidirectional stream").into());
                }
            }
        }
    }

    /// The reason for which a session ends after its streams. `None` if it does not end in time, or
    /// there is none.
    async fn end_of_session(&mut self) -> Option<LinkError> {
        let session = self.session.as_mut()?;
        Box::pin(timeout(CLOSE_REASON, session.closed())).await.map(session_error).ok()
    }
}

impl Signals {
    /// Reads the header.
    fn open(&mut self) -> Result<(), LinkError> {
        let frame = self.frames.buffer.next_frame().map_err(frame_error)?;
        match binary::decode(frame.unwrap_or_default()) {
            Ok(Some(ClientStream::Signals {})) => {
                self.opened = true;
                Ok(())
            }
            Ok(None) => Err(LinkError::protocol("a stream of a kind that clients must not open")),
            Err(error) => Err(LinkError::protocol(error.to_string())),
        }
    }
}

/// The error for a stream from which no message can be read.
enum StreamError {
    /// The stream ended without a FIN. If its session ends too, the session's reason counts.
    Ended(LinkError),
    /// The client broke the protocol, or the link has ended.
    Link(LinkError),
}

impl From<LinkError> for StreamError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The frames of one stream.
struct ClientFrames {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl ClientFrames {
    fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::new(CLIENT_FRAME_BYTES) }
    }

    /// Reads more bytes into the buffer. `false` at the end of the stream. Cancel safe.
    async fn fill(&mut self, metrics: &TransportMetrics) -> Result<bool, StreamError> {
        self.buffer.shrink();
        let error = match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                metrics.received(chunk.bytes.len());
                self.buffer.push(&chunk.bytes);
                return Ok(true);
            }
            Ok(None) => {
                self.buffer.finish().map_err(frame_error)?;
                return Ok(false);
            }
            Err(ReadError::Reset(SESSION_GONE)) => {
                LinkError::Lost("the session has ended".to_owned())
            }
            Err(ReadError::Reset(_)) => LinkError::protocol("a stream was reset"),
            Err(ReadError::ConnectionLost(error)) => connection_error(error),
            Err(error) => LinkError::Lost(error.to_string()),
        };
        Err(StreamError::Ended(error))
    }
}

/// Waits for the end of the handshake.
async fn confirmed(
    connection: &quinn::Connection,
    handshake: &mut Option<ZeroRttAccepted>,
) -> Result<(), LinkError> {
    if let Some(end) = handshake {
        // Its result has no meaning on the server's side.
        end.await;
        *handshake = None;
        if let Some(error) = connection.close_reason() {
            return Err(connection_error(error));
        }
    }
    Ok(())
}

fn decode(frame: &[u8]) -> Result<Option<ClientMessage<'_>>, LinkError> {
    binary::decode(frame).map_err(|error| LinkError::protocol(error.to_string()))
}

fn frame_error(error: FrameError) -> LinkError {
    match error {
        FrameError::TooLarge { .. } => LinkError::too_large(error.to_string()),
        FrameError::Length | FrameError::Truncated => LinkError::protocol(error.to_string()),
    }
}
