//! The sending half of a QUIC or WebTransport link: the control stream, and the streams of the senders.
//!
//! Bytes of one sender that are lost or blocked must not delay those of another. So the writer never
//! awaits one stream while it could write to another: every stream has its own queue
//! ([`StreamQueue`]), and one `poll` serves all streams that accept bytes.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use quinn::{SendStream, VarInt};
use signalbox_protocol::{CloseReason, GatewayMessage, frame};
use signalbox_quic::{DriverTurns, WakeInTurn};
use signalbox_relay::{LinkTurns, Outbox, Outgoing};
use signalbox_webtransport::{Closer, SessionId};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    CLOSE_REASON,
    chunks::Chunks,
    close_code,
    sender_streams::SenderStreams,
    stream_queue::{QueuedFrame, StreamQueue, WrittenCount},
    watch::watch,
};
use crate::{
    link::transport::{LinkError, Writer},
    link_rtt::LinkRtt,
    metrics::{TransportMetrics, WatchedLink},
};

/// The part of the farewell that is reserved for closing a session, as a page learns no reason from the
/// end of a connection. The session's streams must accept queued frames and the bye before that.
const SESSION_CLOSE: Duration = Duration::from_millis(500);

/// Time for a browser to close the session after a bye. Closing it from here makes the browser discard
/// what the page has not read.
const CLOSED_BY_CLIENT: Duration = Duration::from_millis(250);

/// The sending half of a WebTransport session.
pub(super) struct WriterSession {
    pub(super) id: SessionId,
    pub(super) closer: Closer,
}

/// A link that processes packets in the turns of its session.
struct PacketTurns(LinkTurns);

impl WakeInTurn for PacketTurns {
    fn must_wait(&self) -> bool {
        self.0.are_needed()
    }

    fn wake(&self, task: Waker) {
        self.0.wake(task);
    }
}

/// Where a link is counted.
pub(super) struct LinkCounts {
    pub(super) transport: Arc<TransportMetrics>,
    pub(super) _watched: WatchedLink,
}

/// The sending half of a QUIC or WebTransport link.
pub(crate) struct QuicWriter {
    connection: quinn::Connection,
    turns: DriverTurns,
    /// The WebTransport session to which the streams belong, if any.
    session: Option<Box<WriterSession>>,
    /// The interval of keep-alives for a client that needs them more often than others.
    keep_alive: Option<Duration>,
    chunks: Chunks,
    control: StreamQueue,
    senders: SenderStreams,
    /// Frames taken from the outbox and not yet dispatched. Empty between polls.
    queue: VecDeque<Outgoing>,
    counts: LinkCounts,
}

impl Writer for QuicWriter {
    async fn send(&mut self, message: &GatewayMessage<'_>) -> Result<(), LinkError> {
        self.control.push(QueuedFrame::own(frame::encode(message)));
        self.chunks.reset();
        let Self { control, connection, chunks, .. } = self;
        let mut written = WrittenCount::default();
        poll_fn(|cx| control.poll_write(cx, connection, chunks, &mut written)).await
    }

    fn take_turns(&mut self, turns: LinkTurns) {
        self.turns.set(Box::new(PacketTurns(turns)));
    }

    async fn pump(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        let result = poll_fn(|cx| self.poll_pump(cx, outbox)).await;
        // The client has stopped a stream. If it is closing the session, the reading half yields the
        // reason before this wait ends.
        if self.session.is_some() && matches!(result, Err(LinkError::Violation { .. })) {
            Box::pin(sleep(CLOSE_REASON)).await;
        }
        result
    }

    fn messages_by(&self, farewell_by: Instant) -> Instant {
        // On raw QUIC they may take the whole farewell, as the client learns the reason when the
        // connection is closed.
        if self.session.is_some() { farewell_by - SESSION_CLOSE } else { farewell_by }
    }

    async fn finish(
        &mut self,
        reason: CloseReason,
        message: &str,
        farewell_by: Instant,
    ) -> Result<(), LinkError> {
        let (message, streams) = (message.into(), self.senders.opened() as u64);
        let bye = GatewayMessage::Bye { reason, message, streams };
        let bye = timeout_at(self.messages_by(farewell_by), self.send(&bye)).await;
        let bye =
            bye.unwrap_or_else(|_| Err(LinkError::Lost("the client does not read".to_owned())));
        let reset_code = self.code(CloseReason::InternalError);
        // A client would take the reset of its control stream for the loss of the link.
        if bye.is_ok() {
            self.control.finish(reset_code);
        }
        // A reset frees the part of the connection's window that unread signals fill. The close of
        // the session needs room in that window.
        self.senders.finish(reset_code);
        if let Some(session) = &mut self.session {
            let closed = Box::pin(timeout(CLOSED_BY_CLIENT, self.connection.closed()));
            // The reason is in the session's end as well, in case the client has stopped the stream.
            if bye.is_err() || closed.await.is_err() {
                let code = reason.quic_code();
                // A failure here needs no handling: the session has ended.
                let _ = Box::pin(session.closer.close(code, reason.name())).await;
            }
        }
        bye
    }

    fn watch(&self) -> impl Future<Output = LinkError> + Send + use<> {
        let is_session = self.session.is_some();
        watch(self.connection.clone(), self.control.stopped(), self.keep_alive, is_session)
    }

    fn rtt(&self) -> LinkRtt {
        LinkRtt::Quic(self.connection.clone())
    }

    fn abort(&mut self, reason: CloseReason) {
        self.connection.close(self.code(reason), reason.name().as_bytes());
    }
}

impl QuicWriter {
    pub(super) fn new(
        connection: quinn::Connection,
        control: SendStream,
        turns: DriverTurns,
        max_streams: usize,
        keep_alive: Option<Duration>,
        session: Option<Box<WriterSession>>,
        counts: LinkCounts,
    ) -> Self {
        let prefix = session.as_ref().map(|session| session.id);
        Self {
            connection,
            turns,
            session,
            keep_alive,
            chunks: Chunks::default(),
            control: StreamQueue::new(control),
            senders: SenderStreams::new(max_streams, prefix),
            queue: VecDeque::new(),
            counts,
        }
    }

    /// The code with which the connection is closed or a stream is reset.
    fn code(&self, reason: CloseReason) -> VarInt {
        close_code(reason, self.session.is_some())
    }

    fn poll_pump(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
    ) -> Poll<Result<CloseReason, LinkError>> {
        let mut written = WrittenCount::default();
        let closed = loop {
            let mut queue = std::mem::take(&mut self.queue);
            let taken = outbox.poll_take(cx, &mut queue);
            for outgoing in queue.drain(..) {
                self.dispatch(outgoing, &mut written);
            }
            self.queue = queue;
            match taken {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(reason)) => break Some(reason),
                Poll::Pending => break None,
            }
        };
        let result = self.poll_streams(cx, &mut written);
        if written.frames > 0 {
            let measured = outbox.written(written.frames, written.bytes);
            self.counts.transport.written(written.frames, written.bytes, measured);
        }
        match (result, closed) {
            (Err(error), _) => Poll::Ready(Err(error)),
            (Ok(true), Some(reason)) => Poll::Ready(Ok(reason)),
            (Ok(_), _) => Poll::Pending,
        }
    }

    /// Queues a frame on its stream.
    fn dispatch(&mut self, outgoing: Outgoing, written: &mut WrittenCount) {
        let cost = outgoing.cost();
        let message = match outgoing {
            Outgoing::Signal { from, seq, frame } => {
                return self.senders.push(from, seq, QueuedFrame::counted(frame, cost));
            }
            Outgoing::Frame(frame) => {
                return self.control.push(QueuedFrame::counted(frame, cost));
            }
            Outgoing::Accepted { signals } => GatewayMessage::Accepted { signals },
            Outgoing::GoAway { within_ms } => GatewayMessage::GoAway { within_ms },
            Outgoing::Heartbeat => GatewayMessage::Heartbeat {},
            Outgoing::Destroyed { id, reason, announce } => {
                let last_seq = self.senders.end(id);
                if !announce {
                    return written.add(cost);
                }
                GatewayMessage::ConnectionDestroyed { id, reason, last_seq }
            }
        };
        self.control.push(QueuedFrame::counted(frame::encode(&message).into(), cost));
    }

    /// Writes as much as the streams accept. Returns whether everything has been written.
    fn poll_streams(
        &mut self,
        cx: &mut Context<'_>,
        written: &mut WrittenCount,
    ) -> Result<bool, LinkError> {
        let Self { connection, chunks, control, senders, .. } = self;
        let control = control.poll_write(cx, connection, chunks, written)?;
        let senders = senders.poll_write(cx, connection, chunks, written)?;
        Ok(control.is_ready() && senders.is_ready())
    }
}
