//! Whole messages on a WebSocket (RFC 6455), for each protocol that uses one.
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

use futures_util::{Sink, Stream};
use parking_lot::Mutex;
use signalbox_protocol::CloseReason;
use signalbox_relay::{Outbox, Outgoing};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::pings::Pings;
use crate::{link::transport::LinkError, link_rtt::LinkRtt, metrics::TransportMetrics};

/// Bytes read at once from the decrypted stream. The buffer is allocated when a connection begins,
/// so an idle connection pays for it (twice, as a hello is longer), and it is zeroed before each
/// read. A usual signal fits; for a longer one it grows. A larger buffer would save no system calls,
/// as TLS reads 4 KiB from the socket in any case.
const READ_BUFFER: usize = 512;

/// Bytes gathered before the socket is written without waiting for the flush.
const WRITE_BUFFER: usize = 16 * 1024;

/// Bound of the write buffer: the size above and one message of the greatest length.
const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// The buffer sizes of a socket whose client sends messages of at most `max` bytes.
pub(in crate::link) fn config_with(max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

/// Pings per idle timeout. A link is lost when this many in a row were not answered.
const PINGS: u32 = 3;

/// Time from the welcome to the first ping, so that the round trip of a link is known soon. The client
/// has read the welcome, and the radio of a phone is still on.
const FIRST_PING: Duration = Duration::from_secs(1);

/// Splits a socket into its halves.
pub(in crate::link) fn messages<S, F>(
    socket: WebSocketStream<S>,
    form: F,
    idle_timeout: Duration,
    metrics: &Arc<TransportMetrics>,
) -> (MessageReader<S>, MessageWriter<S, F>) {
    let socket = Arc::new(Socket {
        stream: Mutex::new(socket),
        received: AtomicBool::new(true),
        pings: Pings::default(),
    });
    let reader = MessageReader {
        socket: socket.clone(),
        last: None,
        failed: false,
        metrics: metrics.clone(),
    };
    let writer = MessageWriter {
        socket,
        form,
        queue: VecDeque::new(),
        unflushed: Unflushed::default(),
        progressed: false,
        ping_every: idle_timeout / PINGS,
        metrics: metrics.clone(),
    };
    (reader, writer)
}

struct Socket<S> {
    stream: Mutex<WebSocketStream<S>>,
    /// Whether anything has been received since the last ping.
    received: AtomicBool,
    pings: Pings,
}

/// The receiving half.
pub(in crate::link) struct MessageReader<S> {
    socket: Arc<Socket<S>>,
    /// The message that was yielded last, from which the caller borrows.
    last: Option<Message>,
    /// Whether the client violated RFC 6455. What follows cannot be parsed.
    failed: bool,
    metrics: Arc<TransportMetrics>,
}

/// An item of the receiving half.
pub(in crate::link) enum Received<'a> {
    /// A text or binary message.
    Message(&'a Message),
    /// A ping or pong, which has been answered. The caller counts them and lets other tasks run.
    Control,
    /// The client has closed the WebSocket, with this code if it gave one.
    Closed(Option<CloseCode>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageReader<S> {
    /// The next message.
    pub(in crate::link) async fn receive(&mut self) -> Result<Received<'_>, LinkError> {
        self.last = None;
        let next = poll_fn(|cx| Pin::new(&mut *self.socket.stream.lock()).poll_next(cx)).await;
        self.socket.received.store(true, Ordering::Relaxed);
        match next {
            None => Err(LinkError::Lost("the connection ended without a close".into())),
            Some(Err(error)) => {
                self.failed = true;
                Err(error_of(error))
            }
            Some(Ok(Message::Pong(contents))) => {
                self.socket.pings.answered(&contents, Instant::now());
                Ok(Received::Control)
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(Received::Control),
            Some(Ok(Message::Close(frame))) => Ok(Received::Closed(frame.map(|frame| frame.code))),
            Some(Ok(message)) => {
                self.metrics.received(message.len());
                Ok(Received::Message(self.last.insert(message)))
            }
        }
    }

    /// Waits until the client has closed the transport, and discards what it still sends.
    pub(in crate::link) async fn closed(&mut self) {
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

/// The form of the messages to a client.
pub(in crate::link) trait MessageForm {
    /// The WebSocket message for a message of the outbox, if there is one.
    fn message(&mut self, outgoing: Outgoing) -> Option<Message>;
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
pub(in crate::link) struct MessageWriter<S, F> {
    socket: Arc<Socket<S>>,
    pub(in crate::link) form: F,
    /// Frames from the outbox that have not been fed to the socket.
    queue: VecDeque<Outgoing>,
    unflushed: Unflushed,
    /// Whether the socket has accepted a frame since the last ping was due. It accepts no more than
    /// its buffer holds until TCP makes progress.
    progressed: bool,
    ping_every: Duration,
    metrics: Arc<TransportMetrics>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: MessageForm> MessageWriter<S, F> {
    /// The time between two [probes](Self::probe).
    pub(in crate::link) fn probe_every(&self) -> Duration {
        self.ping_every
    }

    /// The time from the welcome to the first [probe](Self::probe).
    pub(in crate::link) fn first_probe_after(&self) -> Duration {
        FIRST_PING.min(self.ping_every)
    }

    /// The round-trip time of the latest ping that was answered.
    pub(in crate::link) fn rtt(&self) -> LinkRtt {
        LinkRtt::Ping(self.socket.pings.rtt().clone())
    }

    /// Finds out whether the client is alive. `silent` counts the probes in a row that were not
    /// answered.
    pub(in crate::link) async fn probe(&mut self, silent: &mut u32) -> Result<(), LinkError> {
        let received = self.socket.received.swap(false, Ordering::Relaxed);
        // A client that reads, if slowly, is alive even if it sends nothing.
        let progressing = std::mem::take(&mut self.progressed) && !self.is_flushed();
        *silent = if received || progressing { 0 } else { *silent + 1 };
        if *silent >= PINGS {
            return Err(LinkError::Lost("nothing received within the idle timeout".into()));
        }
        // Otherwise the unsent bytes serve as the probe.
        if self.is_flushed() {
            let contents = self.socket.pings.sent(Instant::now());
            self.feed(Message::Ping(contents)).await?;
        }
        Ok(())
    }

    /// Whether everything has reached the kernel.
    pub(in crate::link) fn is_flushed(&self) -> bool {
        self.queue.is_empty() && !self.unflushed.dirty
    }

    /// Writes what the outbox yields until it is closed. Cancel safe: frames stay in the queue until
    /// the socket has accepted them.
    pub(in crate::link) async fn write(
        &mut self,
        outbox: &Outbox,
    ) -> Result<CloseReason, LinkError> {
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
                if let Some(message) = self.form.message(outgoing) {
                    self.start(message)?;
                }
            }
            if self.unflushed.dirty {
                self.flush().await?;
                let Unflushed { frames, bytes, .. } = std::mem::take(&mut self.unflushed);
                let measured = outbox.written(frames, bytes);
                self.metrics.written(frames, bytes, measured);
            }
            let taken = poll_fn(|cx| outbox.poll_take(cx, &mut self.queue)).await;
            if let Err(reason) = taken {
                return Ok(reason);
            }
        }
    }

    /// Queues a message on the socket, which [`MessageWriter::write`] flushes; waits only if the
    /// socket's buffer is full.
    pub(in crate::link) async fn feed(&mut self, message: Message) -> Result<(), LinkError> {
        self.ready().await?;
        self.start(message)?;
        self.unflushed.dirty = true;
        Ok(())
    }

    /// Sends a message before the outbox is written.
    pub(in crate::link) async fn send(&mut self, message: Message) -> Result<(), LinkError> {
        self.ready().await?;
        self.start(message)?;
        self.flush().await
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
