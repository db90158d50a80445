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
    stream_queue::{QueuedFrame, StreamQueue, WrittenCount},
};
use crate::link::transport::LinkError;

/// A pending request to open a stream, which the client must grant.
type PendingStream = Pin<Box<dyn Future<Output = Result<SendStream, ConnectionError>> + Send>>;

/// The streams of all senders.
pub(super) struct SenderStreams {
    senders: HashMap<Sender, SenderStream>,
    /// Senders whose stream has queued frames.
    busy: Vec<Sender>,
    /// Senders that have frames and no stream, in the order of their first frame.
    waiting: VecDeque<Sender>,
    opening: Option<PendingStream>,
    /// Senders with a stream.
    open: Vec<Sender>,
    /// Streams whose sender was destroyed.
    free: Vec<StreamQueue>,
    /// The greatest number of streams.
    max_open: usize,
    /// The WebTransport session to which the streams belong, if any.
    session: Option<SessionId>,
    /// Counts signals, to order senders by their latest one.
    tick: u64,
}

/// The state of one sender.
#[derive(Default)]
struct SenderStream {
    stream: Option<StreamQueue>,
    /// Frames that wait for a stream.
    pending: VecDeque<QueuedFrame>,
    /// Sequence number of the latest signal.
    last_seq: u64,
    /// Sequence number of the latest signal on an earlier stream.
    after: u64,
    /// The tick of the latest signal.
    last_active: u64,
    /// Whether the sender's connection was destroyed. Its stream is free when everything is written.
    gone: bool,
}

impl SenderStreams {
    pub(super) fn new(max_open: usize, session: Option<SessionId>) -> Self {
        Self {
            senders: HashMap::new(),
            busy: Vec::new(),
            waiting: VecDeque::new(),
            opening: None,
            open: Vec::new(),
            free: Vec::new(),
            max_open,
            session,
            tick: 0,
        }
    }

    /// The number of streams that were opened. None is closed before the link ends.
    pub(super) fn opened(&self) -> usize {
        self.open.len() + self.free.len()
    }

    /// Queues a signal on its sender's stream.
    pub(super) fn push(&mut self, from: Sender, seq: u64, frame: QueuedFrame) {
        self.tick += 1;
        let state = self.senders.entry(from.clone()).or_default();
        state.last_seq = seq;
        state.last_active = self.tick;
        match &mut state.stream {
            Some(stream) => {
                if stream.is_idle() {
                    self.busy.push(from);
                }
                stream.push(frame);
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
        if state.pending.is_empty() && state.stream.as_ref().is_none_or(StreamQueue::is_idle) {
            self.remove(&sender);
        }
        last_seq
    }

    /// Ends all streams. Those with queued frames are reset with this code.
    pub(super) fn finish(&mut self, reset_code: VarInt) {
        let streams = self.senders.values_mut().filter_map(|state| state.stream.as_mut());
        for stream in streams.chain(&mut self.free) {
            stream.finish(reset_code);
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
            if self.waiting.is_empty() || !self.has_unused_stream() {
                break;
            }
        }
        let done = self.busy.is_empty() && self.waiting.is_empty();
        Ok(if done { Poll::Ready(()) } else { Poll::Pending })
    }

    fn remove(&mut self, sender: &Sender) {
        if let Some(SenderStream { stream: Some(stream), .. }) = self.senders.remove(sender) {
            self.free.push(stream);
            self.open.retain(|open| open != sender);
        }
    }

    fn poll_busy(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        chunks: &mut Chunks,
        written: &mut WrittenCount,
    ) -> Result<(), LinkError> {
        let mut index = 0;
        while let Some(sender) = self.busy.get(index) {
            let Some(state) = self.senders.get_mut(sender) else {
                self.busy.swap_remove(index);
                continue;
            };
            let done = match &mut state.stream {
                Some(stream) => stream.poll_write(cx, connection, chunks, written),
                None => Poll::Ready(Ok(())),
            };
            match done {
                Poll::Ready(result) => {
                    result?;
                    let gone = state.gone;
                    let sender = self.busy.swap_remove(index);
                    if gone {
                        self.remove(&sender);
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
            if let Some(stream) = self.free.pop() {
                self.assign(stream, Assignment::Reused);
            } else if let Some(stream) = self.poll_open(cx, connection)? {
                self.assign(stream, Assignment::Opened);
            } else if let Some(stream) = self.take_idlest() {
                self.assign(stream, Assignment::Reused);
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
    fn assign(&mut self, mut stream: StreamQueue, assignment: Assignment) {
        let Some(from) = self.waiting.pop_front() else { return };
        let Some(state) = self.senders.get_mut(&from) else { return };
        let (sender, after) = (from.clone(), state.after);
        let header = match assignment {
            Assignment::Opened => {
                let mut header = self.session.map(SessionId::uni_prefix).unwrap_or_default();
                frame::encode_to(&GatewayStream::Sender { from: sender, after }, &mut header);
                header
            }
            Assignment::Reused => frame::encode(&SenderMessage::Sender { from: sender, after }),
        };
        stream.push(QueuedFrame::own(header));
        stream.append(&mut state.pending);
        state.stream = Some(stream);
        self.open.push(from.clone());
        self.busy.push(from);
    }

    fn has_unused_stream(&self) -> bool {
        !self.free.is_empty() || self.open.iter().any(|sender| self.idle_since(sender).is_some())
    }

    /// The tick since which a sender's stream has had nothing to write.
    fn idle_since(&self, sender: &Sender) -> Option<u64> {
        let state = self.senders.get(sender)?;
        state.stream.as_ref().is_some_and(StreamQueue::is_idle).then_some(state.last_active)
    }

    /// Takes the idle stream of the least recently active sender.
    fn take_idlest(&mut self) -> Option<StreamQueue> {
        let idle = self.open.iter().enumerate();
        let idle = idle.filter_map(|(at, sender)| Some((self.idle_since(sender)?, at)));
        let (_, idlest) = idle.min()?;
        let sender = self.open.swap_remove(idlest);
        let state = self.senders.get_mut(&sender)?;
        state.after = state.last_seq;
        state.stream.take()
    }
}

/// The way in which a sender has got its stream.
enum Assignment {
    /// The stream is new.
    Opened,
    /// Another sender had it before.
    Reused,
}
