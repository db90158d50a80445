//! Reading what a gateway sends over QUIC: the control stream and a stream for each sender.
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

use super::{ended, frame_error};
use tokio::time::Instant;

use crate::{
    link::{End, Teller},
    order::StreamKey,
};

/// Bytes taken from a stream at once.
const CHUNK: usize = 16 * 1024;

/// The reading half: the control stream and all senders' streams.
pub(super) struct Reading<'a> {
    connection: &'a Connection,
    control: GatewayFrames,
    /// Streams opened so far; the next one's key.
    opened: StreamKey,
    /// Streams that the gateway has opened, by its bye.
    expected: u64,
    /// Streams whose sender's signals must wait for something else to come first.
    parked: HashMap<StreamKey, SenderStream>,
}

/// A sender's stream.
struct SenderStream {
    key: StreamKey,
    frames: GatewayFrames,
    /// Whether the header has been read.
    known: bool,
}

/// Why nothing more can be read from a stream.
pub(super) enum Broken {
    /// The gateway gave the stream up.
    Reset,
    /// The link has ended, or the gateway broke the protocol.
    Link(End),
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Reset => Self::lost("the gateway gave the control stream up"),
            Broken::Link(end) => end,
        }
    }
}

/// Waits until a moment has passed; for ever without one.
async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// What reading from a sender's stream came to: more, its end, or a failure.
type Progress = (SenderStream, Result<bool, Broken>);

async fn read_more(mut stream: SenderStream) -> Progress {
    let result = stream.frames.fill().await;
    (stream, result)
}

impl<'a> Reading<'a> {
    pub(super) fn new(connection: &'a Connection, control: GatewayFrames) -> Self {
        Self { connection, control, opened: 0, expected: 0, parked: HashMap::new() }
    }

    pub(super) async fn run(mut self, teller: &mut Teller) -> End {
        let mut reads = FuturesUnordered::new();
        // What came in one packet with the welcome waits already.
        let mut end = self.control_frames(teller);
        let mut until = None;
        // After the connection has been closed, what had come before can still be read.
        let mut closed = false;
        loop {
            teller.tell().await;
            let free = |key: &StreamKey| !teller.order.is_held(*key);
            let free: Vec<_> = self.parked.keys().copied().filter(free).collect();
            for stream in free.iter().filter_map(|key| self.parked.remove(key)) {
                reads.push(read_more(stream));
            }
            // After a bye the streams may still bring signals, as many streams as it says.
            let until = match &end {
                None => None,
                Some(_) if reads.is_empty() && (closed || self.opened >= self.expected) => break,
                Some(_) => Some(*until.get_or_insert_with(|| Instant::now() + FAREWELL)),
            };
            let result = tokio::select! {
                more = self.control.fill(), if end.is_none() => match more {
                    Ok(true) => self.control_frames(teller),
                    Ok(false) => Some(End::protocol("the control stream ended")),
                    Err(broken) => Some(broken.into()),
                },
                stream = self.connection.accept_uni(), if !closed => {
                    match stream {
                        Ok(stream) => reads.push(read_more(self.accept(stream))),
                        // Why it was is for the control stream to tell.
                        Err(_) => closed = true,
                    }
                    None
                }
                Some(progress) = reads.next(), if !reads.is_empty() => {
                    self.progress(progress, teller, |stream| reads.push(read_more(stream)))
                }
                () = passed(until) => break,
                gone = teller.is_to_leave(), if end.is_none() => return gone,
            };
            // Whatever goes wrong after the end, its first reason stays.
            end = end.or(result);
        }
        end.unwrap_or_else(|| End::lost("reading ended"))
    }

    fn accept(&mut self, stream: RecvStream) -> SenderStream {
        let key = self.opened;
        self.opened += 1;
        SenderStream { key, frames: GatewayFrames::new(stream), known: false }
    }

    /// Takes what the control stream has brought.
    fn control_frames(&mut self, teller: &mut Teller) -> Option<End> {
        loop {
            let frame = match self.control.buffer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(frame_error(error)),
            };
            match binary::decode(frame) {
                Ok(Some(GatewayMessage::Bye { reason, message, streams })) => {
                    self.expected = streams;
                    return Some(End::new(reason, message.into_string()));
                }
                Ok(Some(message)) => teller.control(message),
                // A gateway may be newer than we are.
                Ok(None) => {}
                Err(error) => return Some(End::protocol(error.to_string())),
            }
        }
    }

    /// Takes what a sender's stream has brought, and reads on unless it must wait.
    fn progress(
        &mut self,
        (mut stream, result): Progress,
        teller: &mut Teller,
        read_on: impl FnOnce(SenderStream),
    ) -> Option<End> {
        match stream.take(teller) {
            Ok(true) => {}
            // A kind of stream that we do not know: dropping it tells the gateway to stop.
            Ok(false) => return None,
            Err(end) => return Some(end),
        }
        match result {
            Ok(false) => teller.order.end(stream.key, false),
            Ok(true) if teller.order.is_held(stream.key) => {
                self.parked.insert(stream.key, stream);
            }
            Ok(true) => read_on(stream),
            Err(Broken::Reset) => teller.order.end(stream.key, true),
            // What it would have brought may come yet, on another link.
            Err(Broken::Link(End { reason: CloseReason::NetworkDisconnected, .. })) => {}
            Err(Broken::Link(end)) => return Some(end),
        }
        None
    }
}

impl SenderStream {
    /// Hands all complete frames on. `false` if the stream is of a kind that we do not know.
    fn take(&mut self, teller: &mut Teller) -> Result<bool, End> {
        while let Some(frame) = self.frames.buffer.next_frame().map_err(frame_error)? {
            let malformed = |error: binary::DecodeError| End::protocol(error.to_string());
            if self.known {
                if let Some(SenderMessage::Signal(signal)) =
                    binary::decode(frame).map_err(malformed)?
                {
                    let seq = signal.seq;
                    let signal = Signal { signal_type: signal.signal_type, data: signal.data };
                    teller.order.signal(self.key, seq, signal.into_owned());
                }
            } else {
                match binary::decode(frame).map_err(malformed)? {
                    Some(GatewayStream::Sender { from, after }) => {
                        teller.order.open(self.key, from, after);
                        self.known = true;
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

    /// Reads more into the buffer; `false` at the end of the stream. May be dropped at its await.
    pub(super) async fn fill(&mut self) -> Result<bool, Broken> {
        self.buffer.shrink();
        match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                self.buffer.push(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => match self.buffer.finish() {
                Ok(()) => Ok(false),
                Err(error) => Err(Broken::Link(frame_error(error))),
            },
            Err(ReadError::ConnectionLost(error)) => Err(Broken::Link(ended(error))),
            Err(_) => Err(Broken::Reset),
        }
    }
}
