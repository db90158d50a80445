//! A link over QUIC, receiving half: the control stream and the client's one stream of signals.
//! The sending half, with a stream per sender, is in `senders.rs`.

mod chunks;
mod lane;
mod senders;
mod watch;

use std::time::Duration;

use quinn::{ConnectionError, ReadError, RecvStream, ZeroRttAccepted};
use signalbox_protocol::{
    ClientMessage, ClientStream, CloseReason, binary,
    frame::{FrameBuffer, FrameError},
    limits::CLIENT_FRAME_BYTES,
};

use super::{Incoming, LinkError, Reader};
pub(crate) use chunks::SEND_WINDOW;
pub(crate) use senders::QuicWriter;

/// Bytes taken from a stream at once; a datagram brings less.
const CHUNK: usize = 4096;

/// Bytes that a client may send before they are read, on all streams together: some longest frames
/// on one stream, and a little more.
pub(crate) const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Makes the halves of a link from a connection, its handshake, which may not be over, and its
/// control stream. With `keep_alive`, a packet is sent as often as that.
pub(crate) fn halves(
    (connection, handshake): (quinn::Connection, ZeroRttAccepted),
    (send, recv): (quinn::SendStream, RecvStream),
    max_streams: usize,
    keep_alive: Option<Duration>,
) -> (QuicReader, QuicWriter) {
    let reader = QuicReader {
        connection: connection.clone(),
        handshake: Some(handshake),
        control: ClientFrames::new(recv),
        control_ended: false,
        signals: None,
        greeted: false,
    };
    (reader, QuicWriter::new(connection, send, max_streams, keep_alive))
}

/// The receiving half.
pub(crate) struct QuicReader {
    connection: quinn::Connection,
    /// Done when the handshake is; until then the client may be somebody who plays again what he
    /// has captured.
    handshake: Option<ZeroRttAccepted>,
    control: ClientFrames,
    /// Whether the client has ended the control stream. Signals that it sent before may still be
    /// on their way.
    control_ended: bool,
    signals: Option<Signals>,
    /// Whether the first message has been taken. Until then only the control stream is read.
    greeted: bool,
}

/// The client's stream of signals.
struct Signals {
    frames: ClientFrames,
    /// Whether the header has been read.
    opened: bool,
    /// Whether it has ended, after a whole frame: the client sends no more.
    finished: bool,
}

/// Which stream has a message ready.
enum Source {
    Control,
    Signals,
}

impl Reader for QuicReader {
    const OVERTAKES: bool = true;

    async fn next(&mut self) -> Result<Incoming<'_>, LinkError> {
        if self.greeted {
            confirmed(&self.connection, &mut self.handshake).await?;
        }
        match self.ready().await? {
            None => Ok(Incoming::Closed),
            Some(Source::Control) => {
                self.greeted = true;
                let frame = self.control.buffer.next_frame().map_err(frame_error)?;
                let message = decode(frame.unwrap_or_default())?;
                // A ticket is good once, so coming back cannot be played again; all else could.
                if !matches!(message, Some(ClientMessage::Resume(_))) {
                    confirmed(&self.connection, &mut self.handshake).await?;
                }
                match message {
                    Some(ClientMessage::Signal(_)) => {
                        Err(LinkError::protocol("signals have a stream of their own"))
                    }
                    message => Ok(message.map_or(Incoming::Unknown, Incoming::Message)),
                }
            }
            Some(Source::Signals) => {
                let Some(signals) = &mut self.signals else {
                    return Err(LinkError::protocol("no stream of signals"));
                };
                let frame = signals.frames.buffer.next_frame().map_err(frame_error)?;
                match decode(frame.unwrap_or_default())? {
                    Some(message @ ClientMessage::Signal(_)) => Ok(Incoming::Message(message)),
                    None => Ok(Incoming::Unknown),
                    Some(_) => Err(LinkError::protocol("only signals go on their stream")),
                }
            }
        }
    }

    async fn closed(&mut self) {
        self.connection.closed().await;
    }
}

impl QuicReader {
    /// Waits until a stream has a whole message; `None`, once, if the client has ended the control
    /// stream. May be dropped at any await.
    async fn ready(&mut self) -> Result<Option<Source>, LinkError> {
        loop {
            // The signals first: what the client says on the control stream may end the link,
            // and it means the signals that it has sent before.
            if let Some(signals) = &mut self.signals
                && signals.frames.buffer.is_ready()
            {
                if signals.opened {
                    return Ok(Some(Source::Signals));
                }
                signals.open()?;
                continue;
            }
            if self.control.buffer.is_ready() {
                return Ok(Some(Source::Control));
            }
            if !self.greeted {
                if !self.control.fill().await? {
                    return Ok(None);
                }
                continue;
            }
            let control = async {
                if self.control_ended {
                    std::future::pending().await
                } else {
                    self.control.fill().await
                }
            };
            let signals = async {
                match &mut self.signals {
                    Some(signals) if !signals.finished => {
                        signals.finished = !signals.frames.fill().await?;
                        if signals.finished && !signals.opened {
                            return Err(LinkError::protocol("a stream without a header"));
                        }
                        Ok(())
                    }
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                result = signals => result?,
                more = control => if !more? {
                    self.control_ended = true;
                    return Ok(None);
                },
                stream = self.connection.accept_uni() => {
                    let stream = stream.map_err(connection_error)?;
                    if self.signals.is_some() {
                        return Err(LinkError::protocol("a second stream of signals"));
                    }
                    let frames = ClientFrames::new(stream);
                    self.signals = Some(Signals { frames, opened: false, finished: false });
                }
                stream = self.connection.accept_bi() => {
                    stream.map_err(connection_error)?;
                    return Err(LinkError::protocol("a second bidirectional stream"));
                }
            }
        }
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
            Ok(None) => Err(LinkError::protocol("a stream of a kind that clients do not open")),
            Err(error) => Err(LinkError::protocol(error.to_string())),
        }
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

    /// Reads more into the buffer; `false` at the end of the stream. May be dropped at its await.
    async fn fill(&mut self) -> Result<bool, LinkError> {
        self.buffer.shrink();
        match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                self.buffer.push(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => {
                self.buffer.finish().map_err(frame_error)?;
                Ok(false)
            }
            Err(ReadError::Reset(_)) => Err(LinkError::protocol("a stream was reset")),
            Err(ReadError::ConnectionLost(error)) => Err(connection_error(error)),
            Err(error) => Err(LinkError::Lost(error.to_string())),
        }
    }
}

/// Waits for the end of the handshake.
async fn confirmed(
    connection: &quinn::Connection,
    handshake: &mut Option<ZeroRttAccepted>,
) -> Result<(), LinkError> {
    if let Some(end) = handshake {
        // What it yields says nothing on this side.
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

/// Whose doing the end of the connection was. A client's own word is taken only for a goodbye;
/// it cannot make the others believe that somebody else disconnected it.
pub(crate) fn connection_error(error: ConnectionError) -> LinkError {
    let goodbye = quinn::VarInt::from(CloseReason::ClientDisconnected.quic_code());
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == goodbye => {
            LinkError::Closed
        }
        error => LinkError::Lost(error.to_string()),
    }
}
