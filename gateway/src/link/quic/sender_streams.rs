//! One stream per sender, within the number of streams that the client grants.
//!
//! A sender's stream is opened with its first signal. When the client grants no more streams, the
//! stream that has been idle longest is given to the sender that needs one, and its own sender gets
//! another stream with its next signal. A message on the stream names the new sender and the last
//! signal on that sender's previous stream (`after`), which a client reads first, so the order of a
//! sender's signals survives the change of stream.
//!
//! Streams are never finished to make room: some browsers grant two, and some never grant new ones for
//! those that have ended.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use quinn::{Connection, ConnectionError, SendStream, VarInt};
use signalbox_protocol::{ConnectionId, GatewayStream, Sender, SenderMessage, frame};
use signalbox_webtransport::SessionId;

use super::{
    chunks::Chunks,
    connection_error,
    idle_order::IdleOrder,
    stream_queue::{QueuedFrame, StreamQueue, WrittenCount},
};
use crate::link::transport::LinkError;

/// A pending request to open a stream, which the client must grant.
type PendingStream = Pin<Box<dyn Future<Output = Result<SendStream, ConnectionError>> + Send>>;

/// The streams of all senders.
pub(super) struct SenderStreams {
    senders: HashMap<Sender, StreamedSender>,
    /// All streams that were opened, by their number. None is closed before the link ends.
    streams: Vec<SenderStream>,
    /// Streams with queued frames.
    busy: Vec<usize>,
    /// Streams that have a sender and nothing to write.
    idle: IdleOrder,
    /// Streams whose sender was destroyed.
    free: Vec<usize>,
    /// Senders that have frames and no stream, in the order of their first frame.
    waiting: VecDeque<Sender>,
    opening: Option<PendingStream>,
    /// The greatest number of streams.
    max_open: usize,
    /// The WebTransport session to which the streams belong, if any.
    session: Option<SessionId>,
}

/// A stream, and the sender that has it or had it last.
struct SenderStream {
    queue: StreamQueue,
    sender: Sender,
}

/// The state of one sender.
#[derive(Default)]
struct StreamedSender {
    stream: Option<usize>,
    /// Frames that wait for a stream.
    pending: VecDeque<QueuedFrame>,
    /// Sequence number of the latest signal.
    last_seq: u64,
    /// Sequence number of the latest signal on an earlier stream.
    after: u64,
    /// Whether the sender's connection was destroyed. Its stream is free when everything is written.
    gone: bool,
}

impl SenderStreams {
    pub(super) fn new(max_open: usize, session: Option<SessionId>) -> Self {
        Self {
            senders: HashMap::new(),
            streams: Vec::new(),
            busy: Vec::new(),
            idle: IdleOrder::default(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            opening: None,
            max_open,
            session,
        }
    }

    /// The number of streams that were opened.
    pub(super) fn opened(&self) -> usize {
        self.streams.len()
    }

    /// Queues a signal on its sender's stream.
    pub(super) fn push(&mut self, from: Sender, seq: u64, frame: QueuedFrame) {
        let state = self.senders.entry(from.clone()).or_default();
        state.last_seq = seq;
        match state.stream.and_then(|at| Some((at, self.streams.get_mut(at)?))) {
            Some((at, stream)) => {
                if stream.queue.is_idle() {
                    self.idle.remove(at);
                    self.busy.push(at);
                }
                stream.queue.push(frame);
            }
            None => {
                if state.pending.is_empty() {
                    self.waiting.push_back(from);
                }
                state.pending.push_back(frame);
            }
        }
    }

    /// Frees the stream of a destroyed connection after its last signal, whose number is returned.
    pub(super) fn end(&mut self, id: ConnectionId) -> u64 {
        let sender = Sender::Connection(id);
        let Some(state) = self.senders.get_mut(&sender) else {
            return 0;
        };
        let last_seq = state.last_seq;
        state.gone = true;
        let stream = state.stream.and_then(|at| Some((at, self.streams.get(at)?)));
        match stream {
            Some((at, stream)) if stream.queue.is_idle() => {
                self.idle.remove(at);
                self.free.push(at);
                self.senders.remove(&sender);
            }
            None if state.pending.is_empty() => drop(self.senders.remove(&sender)),
            _ => {}
        }
        last_seq
    }

    /// Ends all streams. Those with queued frames are reset with this code.
    pub(super) fn finish(&mut self, reset_code: VarInt) {
        for stream in &mut self.streams {
            stream.queue.finish(reset_code);
        }
    }

    /// Writes as much as the streams accept. Ready when everything has been written; otherwise the
    /// waker is registered with each stream that is blocked.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        chunks: &mut Chunks,
        written: &mut WrittenCount,
    ) -> Result<Poll<()>, LinkError> {
        loop {
            self.poll_assign(cx, connection)?;
            self.poll_busy(cx, connection, chunks, written)?;
            // A stream that has become idle may be needed by a sender without one.
            let has_unused = !self.free.is_empty() || self.idle.first().is_some();
            if self.waiting.is_empty() || !has_unused {
                break;
            }
        }
        let done = self.busy.is_empty() && self.waiting.is_empty();
        Ok(if done { Poll::Ready(()) } else { Poll::Pending })
    }

    fn poll_busy(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        chunks: &mut Chunks,
        written: &mut WrittenCount,
    ) -> Result<(), LinkError> {
        let mut index = 0;
        while let Some(&at) = self.busy.get(index) {
            let Some(SenderStream { queue, sender }) = self.streams.get_mut(at) else { break };
            match queue.poll_write(cx, connection, chunks, written) {
                Poll::Ready(result) => {
                    result?;
                    self.busy.swap_remove(index);
                    if self.senders.get(sender).is_some_and(|state| state.gone) {
                        self.senders.remove(sender);
                        self.free.push(at);
                    } else {
                        self.idle.push(at);
                    }
                }
                Poll::Pending => index += 1,
            }
        }
        Ok(())
    }

    /// Gives streams to waiting senders: free ones, new ones as far as the client grants them, or those
    /// that have been idle longest.
    fn poll_assign(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Result<(), LinkError> {
        while !self.waiting.is_empty() {
            if let Some(at) = self.free.pop() {
                self.assign(Assignment::Reused(at));
            } else if let Some(queue) = self.poll_open(cx, connection)? {
                self.assign(Assignment::Opened(queue));
            } else if let Some(at) = self.take_idlest() {
                self.assign(Assignment::Reused(at));
            } else {
                break;
            }
        }
        Ok(())
    }

    /// A new stream, if the client grants one at once; otherwise its grant wakes the task.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Result<Option<StreamQueue>, LinkError> {
        if self.opened() == self.max_open {
            return Ok(None);
        }
        let opening = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let Poll::Ready(stream) = opening.as_mut().poll(cx) else { return Ok(None) };
        self.opening = None;
        Ok(Some(StreamQueue::new(stream.map_err(connection_error)?)))
    }

    /// Gives a stream to the sender that has waited longest.
    fn assign(&mut self, assignment: Assignment) {
        let Some(sender) = self.waiting.pop_front() else { return };
        let Some(state) = self.senders.get_mut(&sender) else { return };
        let (from, after) = (sender.clone(), state.after);
        let (at, header) = match assignment {
            Assignment::Opened(queue) => {
                let mut header = self.session.map(SessionId::uni_prefix).unwrap_or_default();
                frame::encode_to(&GatewayStream::Sender { from, after }, &mut header);
                self.streams.push(SenderStream { queue, sender: sender.clone() });
                (self.streams.len() - 1, header)
            }
            Assignment::Reused(at) => (at, frame::encode(&SenderMessage::Sender { from, after })),
        };
        let Some(stream) = self.streams.get_mut(at) else { return };
        stream.sender = sender;
        stream.queue.push(QueuedFrame::own(header));
        stream.queue.append(&mut state.pending);
        state.stream = Some(at);
        self.busy.push(at);
    }

    /// Takes the stream that has been idle longest from its sender.
    fn take_idlest(&mut self) -> Option<usize> {
        let at = self.idle.first()?;
        self.idle.remove(at);
        let state = self.senders.get_mut(&self.streams.get(at)?.sender)?;
        state.after = state.last_seq;
        state.stream = None;
        Some(at)
    }
}

/// The stream that a sender gets.
enum Assignment {
    /// A new one.
    Opened(StreamQueue),
    /// One that another sender had before.
    Reused(usize),
}
