//! Reads what a gateway sends over QUIC: the control stream, and streams that each carry one sender at a
//! time.
//!
//! They are read as they become readable, never one after the other, so that bytes which are
//! late for one sender do not hold up the rest.

use std::collections::HashMap;

use futures_util::{StreamExt, stream::FuturesUnordered};
use quinn::{Connection, ReadError, RecvStream};
use signalbox_protocol::{
    CloseReason, GatewayMessage, GatewayStream, SenderMessage, Signal, binary,
    frame::FrameBuffer,
    limits::{FAREWELL, GATEWAY_FRAME_BYTES},
};

use signalbox_webtransport::{Incoming, PeerStream};
use tokio::time::Instant;

use super::{ended, frame_error, session_ended};
use crate::{
    link::{Disconnection, EventDispatcher},
    order::StreamKey,
};

/// Bytes taken from a stream at once.
const CHUNK: usize = 16 * 1024;

/// The reading half: the control stream and all senders' streams.
pub(super) struct IncomingStreams<'a> {
    connection: &'a Connection,
    /// The streams of a WebTransport session. Without one, streams are the connection's.
    session: Option<Incoming>,
    control: GatewayFrames,
    /// Streams opened so far; the next one's key.
    opened: StreamKey,
    /// Number of streams that the gateway has opened, according to its bye.
    expected: u64,
    /// Streams whose signals must wait for something else to arrive first.
    parked: HashMap<StreamKey, IncomingSenderStream>,
}

/// A stream of the gateway.
struct IncomingSenderStream {
    key: StreamKey,
    frames: GatewayFrames,
    /// Whether the header has been read.
    has_header: bool,
}

/// The cause of the end of reading from a stream.
pub(super) enum ReadFailure {
    /// The gateway reset the stream.
    Reset,
    /// The link has ended, or the gateway broke the protocol.
    Link(Disconnection),
}

impl From<ReadFailure> for Disconnection {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Reset => Self::lost("the gateway reset the control stream"),
            ReadFailure::Link(end) => end,
        }
    }
}

/// Waits until a deadline; for ever without one.
async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The next stream of the gateway. The error has a reason only if a WebTransport session has ended.
async fn next_stream(
    connection: &Connection,
    session: &mut Option<Incoming>,
) -> Result<RecvStream, Option<Disconnection>> {
    let Some(session) = session else {
        return connection.accept_uni().await.map_err(|_| None);
    };
    loop {
        match session.next().await {
            Ok(PeerStream::Uni(stream)) => return Ok(stream),
            // The client grants none.
            Ok(PeerStream::Bidi(..)) => {}
            Err(end) => return Err(Some(session_ended(end))),
        }
    }
}

/// The result of reading from a sender's stream: more, its end, or a failure.
type ReadResult = (IncomingSenderStream, Result<bool, ReadFailure>);

async fn read_more(mut stream: IncomingSenderStream) -> ReadResult {
    // A stream that had to wait may have frames left.
    let result =
        if stream.frames.buffer.is_ready() { Ok(true) } else { stream.frames.fill().await };
    (stream, result)
}

impl<'a> IncomingStreams<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        session: Option<Incoming>,
        control: GatewayFrames,
    ) -> Self {
        Self { connection, session, control, opened: 0, expected: 0, parked: HashMap::new() }
    }

    pub(super) async fn run(mut self, dispatcher: &mut EventDispatcher) -> Disconnection {
        let mut reads = FuturesUnordered::new();
        // Messages that came in the same packet as the welcome are in the buffer already.
        let mut end = self.control_frames(dispatcher);
        let mut until = None;
        // After the connection has been closed, bytes that arrived before can still be read.
        let mut closed = false;
        loop {
            dispatcher.deliver().await;
            let free = |key: &StreamKey| !dispatcher.order.is_held(*key);
            let free: Vec<_> = self.parked.keys().copied().filter(free).collect();
            for stream in free.iter().filter_map(|key| self.parked.remove(key)) {
                reads.push(read_more(stream));
            }
            // After a bye, signals may still arrive on as many streams as it announced.
            let until = match &end {
                None => None,
                Some(_) if reads.is_empty() && (closed || self.opened >= self.expected) => break,
                Some(_) => Some(*until.get_or_insert_with(|| Instant::now() + FAREWELL)),
            };
            let result = tokio::select! {
                more = self.control.fill(), if end.is_none() => match more {
                    Ok(true) => self.control_frames(dispatcher),
                    Ok(false) => Some(Disconnection::protocol("the control stream ended")),
                    Err(failure) => Some(failure.into()),
                },
                stream = next_stream(self.connection, &mut self.session), if !closed => {
                    match stream {
                        Ok(stream) => {
                            reads.push(read_more(self.accept(stream)));
                            None
                        }
                        // The control stream yields the reason, unless only the session was closed.
                        Err(end) => {
                            closed = true;
                            end
                        }
                    }
                }
                Some(progress) = reads.next(), if !reads.is_empty() => {
                    self.progress(progress, dispatcher, |stream| reads.push(read_more(stream)))
                }
                () = sleep_until(until) => break,
                left = dispatcher.leave_requested(), if end.is_none() => return left,
            };
            // The first reason stays.
            end = end.or(result);
        }
        end.unwrap_or_else(|| Disconnection::lost("reading ended"))
    }

    fn accept(&mut self, stream: RecvStream) -> IncomingSenderStream {
        let key = self.opened;
        self.opened += 1;
        IncomingSenderStream { key, frames: GatewayFrames::new(stream), has_header: false }
    }

    /// Handles the messages in the control stream's buffer.
    fn control_frames(&mut self, dispatcher: &mut EventDispatcher) -> Option<Disconnection> {
        loop {
            let frame = match self.control.buffer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(frame_error(error)),
            };
            match binary::decode(frame) {
                Ok(Some(GatewayMessage::Bye { reason, message, streams })) => {
                    self.expected = streams;
                    return Some(Disconnection::new(reason, message.into_string()));
                }
                Ok(Some(message)) => {
                    if let Err(violation) = dispatcher.control(message) {
                        return Some(violation.into());
                    }
                }
                // A newer gateway may send messages that this client does not know.
                Ok(None) => {}
                Err(error) => return Some(Disconnection::protocol(error.to_string())),
            }
        }
    }

    /// Handles the frames of a sender's stream, and reads on unless the stream must wait.
    fn progress(
        &mut self,
        (mut stream, result): ReadResult,
        dispatcher: &mut EventDispatcher,
        read_on: impl FnOnce(IncomingSenderStream),
    ) -> Option<Disconnection> {
        match stream.take(dispatcher) {
            Ok(true) => {}
            // An unknown kind of stream: dropping it tells the gateway to stop sending.
            Ok(false) => return None,
            Err(end) => return Some(end),
        }
        match result {
            Ok(false) => dispatcher.order.end(stream.key, false),
            Ok(true) if dispatcher.order.is_held(stream.key) => {
                self.parked.insert(stream.key, stream);
            }
            Ok(true) => read_on(stream),
            Err(ReadFailure::Reset) => dispatcher.order.end(stream.key, true),
            // The rest may still arrive on another link.
            Err(ReadFailure::Link(Disconnection {
                reason: CloseReason::NetworkDisconnected,
                ..
            })) => {}
            Err(ReadFailure::Link(end)) => return Some(end),
        }
        None
    }
}

impl IncomingSenderStream {
    /// Passes complete frames to the order, as long as it need not hold them. `false` if the stream is of an unknown kind.
    fn take(&mut self, dispatcher: &mut EventDispatcher) -> Result<bool, Disconnection> {
        while !dispatcher.order.is_held(self.key)
            && let Some(frame) = self.frames.buffer.next_frame().map_err(frame_error)?
        {
            let malformed = |error: binary::BinaryError| Disconnection::protocol(error.to_string());
            if self.has_header {
                match binary::decode(frame).map_err(malformed)? {
                    Some(SenderMessage::Signal(signal)) => {
                        let seq = signal.seq;
                        let signal = Signal { signal_type: signal.signal_type, data: signal.data };
                        dispatcher.order.signal(self.key, seq, signal.into_owned());
                    }
                    Some(SenderMessage::Sender { from, after }) => {
                        dispatcher.order.open(self.key, from, after);
                    }
                    None => {}
                }
            } else {
                match binary::decode(frame).map_err(malformed)? {
                    Some(GatewayStream::Sender { from, after }) => {
                        dispatcher.order.open(self.key, from, after);
                        self.has_header = true;
                    }
                    None => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

/// The frames of one stream.
pub(super) struct GatewayFrames {
    stream: RecvStream,
    pub(super) buffer: FrameBuffer,
}

impl GatewayFrames {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::new(GATEWAY_FRAME_BYTES) }
    }

    /// Reads more into the buffer; `false` at the end of the stream. Cancel-safe.
    pub(super) async fn fill(&mut self) -> Result<bool, ReadFailure> {
        self.buffer.shrink();
        match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                self.buffer.push(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => match self.buffer.finish() {
                Ok(()) => Ok(false),
                Err(error) => Err(ReadFailure::Link(frame_error(error))),
            },
            Err(ReadError::ConnectionLost(error)) => Err(ReadFailure::Link(ended(error))),
            Err(_) => Err(ReadFailure::Reset),
        }
    }
}
