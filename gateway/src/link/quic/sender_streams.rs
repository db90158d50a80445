//! One stream per sender, within the number of streams that the client grants.
//!
//! A sender's stream is opened with its first signal. When the client grants no more streams, the
//! stream that has been idle longest is finished, and its sender gets another one with its next
//! signal. The header of that stream names the last signal of the previous one (`after`), which a
//! client reads first, so the order of the sender's signals survives the change of stream.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use quinn::{Connection, ConnectionError, SendStream};
use signalbox_protocol::{ConnectionId, GatewayStream, Sender, frame};

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
    /// Senders with a stream, and the greatest number of them.
    open: Vec<Sender>,
    max_open: usize,
    /// All streams that were ever opened.
    opened: u64,
    /// Streams that were finished to make room which the client has not granted yet.
    evicted: usize,
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
    /// Whether the sender's connection was destroyed. Its stream ends when everything is written.
    gone: bool,
}

impl SenderStreams {
    pub(super) fn new(max_open: usize) -> Self {
        Self {
            senders: HashMap::new(),
            busy: Vec::new(),
            waiting: VecDeque::new(),
            opening: None,
            open: Vec::new(),
            max_open,
            opened: 0,
            evicted: 0,
            tick: 0,
        }
    }

    /// The number of streams that were ever opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
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

    /// Ends the stream of a destroyed connection after its last signal, whose number is returned.
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

    /// Ends all streams.
    pub(super) fn finish(&mut self) {
        for state in self.senders.values_mut() {
            if let Some(stream) = &mut state.stream {
                stream.finish();
            }
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
            self.poll_open(cx, connection)?;
            self.poll_busy(cx, connection, chunks, written)?;
            // A stream that has become idle may have to make room for a sender without one.
            if !self.evict() {
                break;
            }
        }
        let done = self.busy.is_empty() && self.waiting.is_empty();
        Ok(if done { Poll::Ready(()) } else { Poll::Pending })
    }

    fn remove(&mut self, sender: &Sender) {
        if let Some(SenderStream { stream: Some(mut stream), .. }) = self.senders.remove(sender) {
            stream.finish();
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

    /// Opens streams for waiting senders, as far as the client grants them.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Result<(), LinkError> {
        while self.open.len() < self.max_open && !self.waiting.is_empty() {
            let opening = self.opening.get_or_insert_with(|| {
                let connection = connection.clone();
                Box::pin(async move { connection.open_uni().await })
            });
            let Poll::Ready(stream) = opening.as_mut().poll(cx) else {
                return Ok(());
            };
            self.opening = None;
            let Some(sender) = self.waiting.pop_front() else { return Ok(()) };
            self.open.push(sender.clone());
            self.opened += 1;
            self.evicted = self.evicted.saturating_sub(1);
            let mut stream = StreamQueue::new(stream.map_err(connection_error)?);
            if let Some(state) = self.senders.get_mut(&sender) {
                let header = GatewayStream::Sender { from: sender.clone(), after: state.after };
                stream.push(QueuedFrame::own(frame::encode(&header)));
                stream.append(&mut state.pending);
                state.stream = Some(stream);
                self.busy.push(sender);
            }
        }
        Ok(())
    }

    /// Makes room for waiting senders by finishing the streams that have been idle longest. Returns
    /// whether another stream can be opened at once. Room that the client must grant first wakes
    /// the task through `opening`.
    fn evict(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        if self.opening.is_none() {
            // A destroyed sender may have left its stream, and room.
            return self.open.len() < self.max_open || self.finish_idlest();
        }
        // QUIC stacks grant new streams only when a good part of the old ones has ended (quinn: an
        // eighth), so finishing one for one could wait for ever. Half suffices for all known stacks,
        // and reopening a stream costs some twenty bytes.
        let half = (self.open.len() + self.evicted).div_ceil(2);
        while self.evicted < self.waiting.len().max(half) && self.finish_idlest() {
            self.evicted += 1;
        }
        false
    }

    /// Finishes the idle stream of the least recently active sender, if there is an idle one.
    fn finish_idlest(&mut self) -> bool {
        let idle_since = |(at, sender): (usize, &Sender)| {
            let state = self.senders.get(sender)?;
            let idle = state.stream.as_ref().is_some_and(StreamQueue::is_idle);
            idle.then_some((state.last_active, at))
        };
        let Some((_, at)) = self.open.iter().enumerate().filter_map(idle_since).min() else {
            return false;
        };
        let sender = self.open.swap_remove(at);
        if let Some(state) = self.senders.get_mut(&sender) {
            state.after = state.last_seq;
            if let Some(mut stream) = state.stream.take() {
                stream.finish();
            }
        }
        true
    }
}
