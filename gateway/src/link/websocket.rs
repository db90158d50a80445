//! Links over WebSocket (RFC 6455): one ordered stream in each direction, one message per frame.
//!
//! Both halves share the socket. They run in one task and only poll it, so its lock is never
//! contended and never held across an await.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use parking_lot::Mutex;
use signalbox_protocol::{ClientMessage, CloseReason, Codec, GatewayMessage, binary, frame, json};
use signalbox_relay::{Outbox, Outgoing};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::transport::{Incoming, LinkError, Reader, Writer};

/// Bytes read at once from the decrypted stream. The buffer is allocated when a connection begins,
/// so an idle connection pays for it (twice, as a hello is longer), and it is zeroed before each
/// read. A usual signal fits; for a longer one it grows. A larger buffer would save no system calls,
/// as TLS reads 4 KiB from the socket in any case.
const READ_BUFFER: usize = 512;

/// Bytes gathered before the socket is written without waiting for the flush.
const WRITE_BUFFER: usize = 16 * 1024;

/// Bound of the write buffer: the size above and one message of the greatest length.
const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// The message limit and buffer sizes of a socket with this codec.
pub(crate) fn config(codec: Codec) -> WebSocketConfig {
    let max = codec.client_message_bytes();
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

/// Makes the halves of a link from a socket after its HTTP upgrade.
pub(crate) fn halves<S>(
    socket: WebSocketStream<S>,
    codec: Codec,
    idle_timeout: Duration,
) -> (WebSocketReader<S>, WebSocketWriter<S>) {
    let socket = Arc::new(Socket { stream: Mutex::new(socket), received: AtomicBool::new(true) });
    let reader = WebSocketReader { socket: socket.clone(), codec, last: None, failed: false };
    let writer = WebSocketWriter {
        socket,
        codec,
        queue: VecDeque::new(),
        unflushed: Unflushed::default(),
        progressed: false,
        ping_every: idle_timeout / PINGS,
    };
    (reader, writer)
}

/// Pings per idle timeout. A link is lost when this many in a row were not answered.
const PINGS: u32 = 3;

struct Socket<S> {
    stream: Mutex<WebSocketStream<S>>,
    /// Whether anything has been received since the last ping.
    received: AtomicBool,
}

/// The receiving half.
pub(crate) struct WebSocketReader<S> {
    socket: Arc<Socket<S>>,
    codec: Codec,
    /// The message that was yielded last, from which the caller borrows.
    last: Option<Message>,
    /// Whether the client violated RFC 6455. What follows cannot be parsed.
    failed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Reader for WebSocketReader<S> {
    const OVERTAKES: bool = false;

    async fn next(&mut self) -> Result<Incoming<'_>, LinkError> {
        loop {
            self.last = None;
            let next = poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_next(cx)).await;
            self.socket.received.store(true, Ordering::Relaxed);
            match next {
                None => {
                    return Err(LinkError::Lost("the connection ended without a close".into()));
                }
                Some(Err(error)) => {
                    self.failed = true;
                    return Err(error_of(error));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    return match frame.map(|frame| frame.code) {
                        // A browser sends no code if the page gave none, and 1001 when it leaves.
                        None | Some(CloseCode::Normal | CloseCode::Away) => Ok(Incoming::Closed),
                        Some(code) => Err(LinkError::ClosedBadly(code.into())),
                    };
                }
                Some(Ok(message)) => {
                    self.last = Some(message);
                    break;
                }
            }
        }
        match (&self.last, self.codec) {
            (Some(Message::Binary(bytes)), Codec::Postcard) => {
                decoded(binary::decode(bytes).map_err(|error| error.to_string()))
            }
            (Some(Message::Text(text)), Codec::Json) => {
                decoded(json::decode(text.as_str()).map_err(|error| error.to_string()))
            }
            _ => Err(LinkError::protocol("text or binary message does not match the subprotocol")),
        }
    }

    async fn closed(&mut self) {
        // Until the client has answered the close frame. Then the server ends TCP (RFC 6455 §7.1.1).
        let next = || poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_next(cx));
        loop {
            match next().await {
                None if self.failed => break,
                None => return,
                Some(Ok(_)) => {}
                Some(Err(_)) => break,
            }
        }
        // After a protocol error the remaining bytes are noise, but they must be read: closing a
        // socket with unread bytes resets it, and the client may lose the farewell.
        let mut sink = [0; 1024];
        let mut read = |cx: &mut Context<'_>| {
            let mut buffer = ReadBuf::new(&mut sink);
            let mut stream = self.socket.stream.lock();
            ready!(Pin::new(stream.get_mut()).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok::<_, std::io::Error>(buffer.filled().len()))
        };
        while matches!(poll_fn(&mut read).await, Ok(1..)) {}
    }
}

fn decoded(message: Result<Option<ClientMessage<'_>>, String>) -> Result<Incoming<'_>, LinkError> {
    match message {
        Ok(Some(message)) => Ok(Incoming::Message(message)),
        Ok(None) => Ok(Incoming::Unknown),
        Err(error) => Err(LinkError::protocol(error)),
    }
}

/// Maps an error of the socket to the party at fault.
fn error_of(error: tungstenite::Error) -> LinkError {
    use tungstenite::error::ProtocolError;
    match error {
        tungstenite::Error::Capacity(error) => LinkError::too_large(error.to_string()),
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            LinkError::Lost("the connection ended without a close".into())
        }
        tungstenite::Error::Protocol(error) => LinkError::protocol(error.to_string()),
        tungstenite::Error::Utf8(error) => LinkError::protocol(error),
        other => LinkError::Lost(other.to_string()),
    }
}

/// The part that has been fed to the socket and not flushed.
#[derive(Default)]
struct Unflushed {
    dirty: bool,
    /// Frames and bytes by the outbox's count.
    frames: usize,
    bytes: usize,
}

/// The sending half.
pub(crate) struct WebSocketWriter<S> {
    socket: Arc<Socket<S>>,
    codec: Codec,
    /// Frames from the outbox that have not been fed to the socket.
    queue: VecDeque<Outgoing>,
    unflushed: Unflushed,
    /// Whether the socket has accepted a frame since the last ping was due. It accepts no more than
    /// its buffer holds until TCP makes progress.
    progressed: bool,
    ping_every: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer for WebSocketWriter<S> {
    async fn send(&mut self, message: &GatewayMessage<'_>) -> Result<(), LinkError> {
        self.feed(self.encode(message)).await?;
        self.flush().await
    }

    async fn pump(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        let mut pings = tokio::time::interval(self.ping_every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut silent = 0;
        loop {
            // A blocked write must not hide that the client is gone.
            tokio::select! {
                result = self.write(outbox) => return result,
                _ = pings.tick() => {
                    let received = self.socket.received.swap(false, Ordering::Relaxed);
                    // A client that reads, if slowly, is alive even if it sends nothing.
                    let progressing = std::mem::take(&mut self.progressed) && !self.is_flushed();
                    silent = if received || progressing { 0 } else { silent + 1 };
                    if silent >= PINGS {
                        return Err(LinkError::Lost("nothing received within the idle timeout".into()));
                    }
                    // Otherwise the unsent bytes serve as the probe.
                    if self.is_flushed() {
                        self.feed(Message::Ping(Bytes::new())).await?;
                        self.unflushed.dirty = true;
                    }
                }
            }
        }
    }

    async fn finish(
        &mut self,
        reason: CloseReason,
        message: &str,
        _: Instant,
    ) -> Result<(), LinkError> {
        let message = message.into();
        self.send(&GatewayMessage::Bye { reason, message, streams: 0 }).await?;
        let code = CloseCode::from(reason.websocket_code());
        self.feed(Message::Close(Some(CloseFrame { code, reason: reason.name().into() }))).await?;
        self.flush().await
    }

    fn abort(&mut self, _reason: CloseReason) {
        // The socket closes when both halves are dropped, which happens next.
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketWriter<S> {
    fn is_flushed(&self) -> bool {
        self.queue.is_empty() && !self.unflushed.dirty
    }

    /// Writes what the outbox yields until it is closed. Cancel safe: frames stay in the queue until
    /// the socket has accepted them.
    async fn write(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        loop {
            // Everything that is queued leaves in one flush: under load this fills whole segments,
            // and an idle link sends at once.
            while !self.queue.is_empty() {
                self.ready().await?;
                let Some(outgoing) = self.queue.pop_front() else { break };
                self.progressed = true;
                self.unflushed.dirty = true;
                self.unflushed.frames += 1;
                self.unflushed.bytes += outgoing.cost();
                if let Some(message) = self.message(outgoing) {
                    self.start(message)?;
                }
            }
            if self.unflushed.dirty {
                self.flush().await?;
                let Unflushed { frames, bytes, .. } = std::mem::take(&mut self.unflushed);
                outbox.written(frames, bytes);
            }
            let taken = poll_fn(|cx| outbox.poll_take(cx, &mut self.queue)).await;
            if let Err(reason) = taken {
                return Ok(reason);
            }
        }
    }

    fn encode(&self, message: &GatewayMessage<'_>) -> Message {
        match self.codec {
            Codec::Postcard => Message::Binary(binary::encode(message).into()),
            Codec::Json => Message::text(json::encode(message)),
        }
    }

    fn message(&self, outgoing: Outgoing) -> Option<Message> {
        let frame = match outgoing {
            Outgoing::Frame(frame) => frame,
            Outgoing::Accepted { signals } => {
                return Some(self.encode(&GatewayMessage::Accepted { signals }));
            }
            Outgoing::GoAway { within_ms } => {
                return Some(self.encode(&GatewayMessage::GoAway { within_ms }));
            }
            Outgoing::Heartbeat => return Some(self.encode(&GatewayMessage::Heartbeat {})),
            // Made for links with a stream per sender only.
            Outgoing::Signal { .. } | Outgoing::Destroyed { .. } => return None,
        };
        match self.codec {
            Codec::Postcard => Some(Message::Binary(frame.slice_ref(frame::message_of(&frame)))),
            // The relay encoded it from strings, so it is UTF-8.
            Codec::Json => Utf8Bytes::try_from(frame).ok().map(Message::Text),
        }
    }

    /// Queues a message on the socket; waits only if the socket's buffer is full.
    async fn feed(&self, message: Message) -> Result<(), LinkError> {
        self.ready().await?;
        self.start(message)
    }

    async fn ready(&self) -> Result<(), LinkError> {
        poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_ready(cx))
            .await
            .map_err(error_of)
    }

    /// Queues a message on a socket that is ready for one.
    fn start(&self, message: Message) -> Result<(), LinkError> {
        Pin::new(&mut *self.socket.stream.lock()).start_send(message).map_err(error_of)
    }

    async fn flush(&self) -> Result<(), LinkError> {
        poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_flush(cx))
            .await
            .map_err(error_of)
    }
}
