//! A link over WebSocket (RFC 6455): one ordered stream each way, one message a frame.
//!
//! Both halves share the socket. They live in one task and only ever poll it, so the lock around
//! it is never contended and never held across an await.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
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
use signalbox_protocol::{
    ClientMessage, CloseReason, Codec, GatewayMessage, Streams, binary, frame, json,
};
use signalbox_relay::{Encoding, Outbox, Outgoing};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::MissedTickBehavior,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{Incoming, LinkError, Reader, Writer};

/// Bytes that are taken at once from what TLS has decrypted. Allocated for every connection at its
/// start, so it is what an idle one costs (twice that, as a hello is longer), and filled with zeros
/// before each read. A signal of usual size fits; a longer one gets what it needs. More would save
/// no system calls: TLS reads 4 KiB from the socket whatever this is.
const READ_BUFFER: usize = 512;

/// Bytes that are gathered before the socket is written to without waiting for the flush.
const WRITE_BUFFER: usize = 16 * 1024;

/// Bytes that the write buffer may reach at all: the above and one longest message.
const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// Limits and buffers for a socket with this codec.
pub(crate) fn config(codec: Codec) -> WebSocketConfig {
    let max = codec.client_message_bytes();
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

/// Makes the halves of a link from a socket whose HTTP upgrade is done.
pub(crate) fn halves<S>(
    socket: WebSocketStream<S>,
    codec: Codec,
    idle_timeout: Duration,
) -> (WebSocketReader<S>, WebSocketWriter<S>) {
    let socket = Arc::new(Socket { stream: Mutex::new(socket), heard: AtomicBool::new(true) });
    let reader = WebSocketReader { socket: socket.clone(), codec, last: None, failed: false };
    let writer = WebSocketWriter {
        socket,
        codec,
        queue: VecDeque::new(),
        unflushed: Unflushed::default(),
        moved: false,
        ping_every: idle_timeout / PINGS,
    };
    (reader, writer)
}

/// Pings per idle timeout. A link is lost when as many in a row brought nothing back.
const PINGS: u32 = 3;

struct Socket<S> {
    stream: Mutex<WebSocketStream<S>>,
    /// Whether anything has come since the last ping.
    heard: AtomicBool,
}

/// The receiving half.
pub(crate) struct WebSocketReader<S> {
    socket: Arc<Socket<S>>,
    codec: Codec,
    /// The message that was handed out last, as it is borrowed from.
    last: Option<Message>,
    /// The client has broken the rules of WebSocket; what follows cannot be understood.
    failed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Reader for WebSocketReader<S> {
    const OVERTAKES: bool = false;

    async fn next(&mut self) -> Result<Incoming<'_>, LinkError> {
        loop {
            self.last = None;
            let next = poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_next(cx)).await;
            self.socket.heard.store(true, Ordering::Relaxed);
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
            _ => Err(LinkError::protocol("text and binary messages go with their subprotocol")),
        }
    }

    async fn closed(&mut self) {
        // Until the client has answered our close. Then it is for us to end TCP (RFC 6455 §7.1.1).
        let next = || poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_next(cx));
        loop {
            match next().await {
                None if self.failed => break,
                None => return,
                Some(Ok(_)) => {}
                Some(Err(_)) => break,
            }
        }
        // After a fault of the protocol the rest is noise, but it must be taken all the same: a
        // socket that is closed with unread bytes resets, and the farewell may be lost with it.
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

/// Whose fault an error of the socket is.
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

/// What has been fed to the socket and not flushed.
#[derive(Default)]
struct Unflushed {
    dirty: bool,
    /// Frames and bytes, as the outbox counts them.
    frames: usize,
    bytes: usize,
}

/// The sending half.
pub(crate) struct WebSocketWriter<S> {
    socket: Arc<Socket<S>>,
    codec: Codec,
    /// Taken from the outbox and not yet fed to the socket.
    queue: VecDeque<Outgoing>,
    unflushed: Unflushed,
    /// Whether the socket has taken anything from the queue since the last ping was due. It takes
    /// no more than its buffer holds before the carrier does.
    moved: bool,
    ping_every: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer for WebSocketWriter<S> {
    fn accept(&mut self, _presence: bool, streams: Streams) -> Encoding {
        self.encoding(streams)
    }

    fn encoding(&self, _streams: Streams) -> Encoding {
        match self.codec {
            Codec::Postcard => Encoding::Shared,
            Codec::Json => Encoding::Json,
        }
    }

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
            // A write that hangs must not keep us from noticing that nobody is there.
            tokio::select! {
                result = self.write(outbox) => return result,
                _ = pings.tick() => {
                    let heard = self.socket.heard.swap(false, Ordering::Relaxed);
                    // Who takes what we write, though slowly, is there, even if it says nothing.
                    let moving = std::mem::take(&mut self.moved) && !self.is_flushed();
                    silent = if heard || moving { 0 } else { silent + 1 };
                    if silent >= PINGS {
                        return Err(LinkError::Lost("nothing came within the idle timeout".into()));
                    }
                    // With something else on its way, that will be answered (by TCP) or not.
                    if self.is_flushed() {
                        self.feed(Message::Ping(Bytes::new())).await?;
                        self.unflushed.dirty = true;
                    }
                }
            }
        }
    }

    async fn finish(&mut self, reason: CloseReason) -> Result<(), LinkError> {
        let code = CloseCode::from(reason.websocket_code());
        self.feed(Message::Close(Some(CloseFrame { code, reason: reason.name().into() }))).await?;
        self.flush().await
    }

    fn watch(&self) -> impl Future<Output = LinkError> + Send + use<S> {
        std::future::pending()
    }

    fn streams(&self) -> u64 {
        0
    }

    fn abort(&mut self, _reason: CloseReason) {
        // The socket closes when both halves are dropped, which is next.
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketWriter<S> {
    fn is_flushed(&self) -> bool {
        self.queue.is_empty() && !self.unflushed.dirty
    }

    /// Writes what the outbox brings until it has ended. May be dropped at any await: what has
    /// been taken stays in the queue until the socket has it.
    async fn write(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        loop {
            // Everything that waits goes out in one flush: under load it fills whole segments,
            // and when idle nothing waits for company.
            while !self.queue.is_empty() {
                self.ready().await?;
                let Some(outgoing) = self.queue.pop_front() else { break };
                self.moved = true;
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
            Outgoing::Signal { frame, .. } | Outgoing::Event(frame) => frame,
            Outgoing::Accepted { signals } => {
                return Some(self.encode(&GatewayMessage::Accepted { signals }));
            }
            Outgoing::GoAway { within_ms } => {
                return Some(self.encode(&GatewayMessage::GoAway { within_ms }));
            }
            // Only those with a stream per sender get this one.
            Outgoing::Destroyed { .. } => return None,
        };
        match self.codec {
            Codec::Postcard => Some(Message::Binary(frame.slice_ref(frame::message_of(&frame)))),
            // The relay made it from strings, so it is UTF-8.
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
