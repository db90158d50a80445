//! A link over QUIC, sending half: the control stream, and one stream for each sender.
//!
//! The promise is that a sender whose bytes are lost or blocked holds up nobody else. So nothing
//! here awaits one stream while another could be written: every stream has a queue of its own
//! ([`Lane`]), and one `poll` serves all that can move.
//!
//! A sender's stream is opened with its first signal. When the client grants no more streams,
//! the stream that has been idle longest is finished, and its sender gets another one when it
//! speaks again. The header of that one names the last signal of the one before (`after`), which
//! a client reads first; so the order of the sender's signals survives the change of stream.

use std::{
    collections::{HashMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use quinn::{ConnectionError, SendStream};
use signalbox_protocol::{
    CloseReason, ConnectionId, GatewayMessage, GatewayStream, Sender, Streams, frame,
};
use signalbox_relay::{Encoding, Outbox, Outgoing};

use super::{
    chunks::Chunks,
    connection_error,
    lane::{Lane, Written},
    watch::watch,
};
use crate::link::{LinkError, Writer};

/// A request for another stream, waiting for the client to grant one.
type Opening = Pin<Box<dyn Future<Output = Result<SendStream, ConnectionError>> + Send>>;

/// The sending half.
pub(crate) struct QuicWriter {
    connection: quinn::Connection,
    /// How often the client is to hear something, if more often than all others.
    keep_alive: Option<Duration>,
    chunks: Chunks,
    control: Lane,
    senders: HashMap<Sender, State>,
    /// Senders whose lane has something to write.
    busy: Vec<Sender>,
    /// Senders that have something to write and no stream, first come first served.
    waiting: VecDeque<Sender>,
    opening: Option<Opening>,
    /// Senders with a stream, and how many there may be.
    open: Vec<Sender>,
    max_open: usize,
    /// Streams opened so far, those that have ended included.
    opened: u64,
    /// Streams finished to make room, whose room has not come yet.
    evicted: usize,
    /// Counts signals; orders senders by when they last spoke.
    tick: u64,
    presence: bool,
    streams: Streams,
    /// Taken from the outbox and not yet given to a lane. Empty between polls.
    queue: VecDeque<Outgoing>,
}

/// What a link knows of one sender.
#[derive(Default)]
struct State {
    lane: Option<Lane>,
    /// What waits for a stream to be opened.
    pending: VecDeque<Bytes>,
    /// Sequence number of the last signal given to a lane or to `pending`.
    last_seq: u64,
    /// Sequence number of the last signal of the streams before this one.
    after: u64,
    last_spoke: u64,
    /// The sender's connection is gone: the stream ends once all is written.
    gone: bool,
}

impl Writer for QuicWriter {
    fn accept(&mut self, presence: bool, streams: Streams) -> Encoding {
        self.presence = presence;
        self.streams = streams;
        self.encoding(streams)
    }

    fn encoding(&self, streams: Streams) -> Encoding {
        match streams {
            Streams::PerSender => Encoding::PerSender,
            Streams::Single => Encoding::Shared,
        }
    }

    async fn send(&mut self, message: &GatewayMessage<'_>) -> Result<(), LinkError> {
        self.control.push_own(frame::encode(message));
        self.chunks.free();
        let Self { control, connection, chunks, .. } = self;
        poll_fn(|cx| control.poll_write(cx, connection, chunks, &mut Written::default())).await
    }

    async fn pump(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        poll_fn(|cx| self.poll_pump(cx, outbox)).await
    }

    async fn finish(&mut self, _reason: CloseReason) -> Result<(), LinkError> {
        self.control.finish();
        for state in self.senders.values_mut() {
            if let Some(lane) = &mut state.lane {
                lane.finish();
            }
        }
        Ok(())
    }

    fn watch(&self) -> impl Future<Output = LinkError> + Send + use<> {
        watch(self.connection.clone(), self.control.stopped(), self.keep_alive)
    }

    fn streams(&self) -> u64 {
        self.opened
    }

    fn abort(&mut self, reason: CloseReason) {
        self.connection.close(reason.quic_code().into(), reason.name().as_bytes());
    }
}

impl QuicWriter {
    pub(super) fn new(
        connection: quinn::Connection,
        control: SendStream,
        max_open: usize,
        keep_alive: Option<Duration>,
    ) -> Self {
        Self {
            connection,
            keep_alive,
            chunks: Chunks::default(),
            control: Lane::new(control),
            senders: HashMap::new(),
            busy: Vec::new(),
            waiting: VecDeque::new(),
            opening: None,
            open: Vec::new(),
            max_open,
            opened: 0,
            evicted: 0,
            tick: 0,
            presence: true,
            streams: Streams::PerSender,
            queue: VecDeque::new(),
        }
    }

    fn poll_pump(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
    ) -> Poll<Result<CloseReason, LinkError>> {
        let mut written = Written::default();
        let ended = loop {
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
            outbox.written(written.frames, written.bytes);
        }
        match (result, ended) {
            (Err(error), _) => Poll::Ready(Err(error)),
            (Ok(true), Some(reason)) => Poll::Ready(Ok(reason)),
            (Ok(_), _) => Poll::Pending,
        }
    }

    /// Gives a frame to the stream that it belongs on.
    fn dispatch(&mut self, outgoing: Outgoing, written: &mut Written) {
        let cost = outgoing.cost();
        match (outgoing, self.streams) {
            (Outgoing::Event(frame), _) | (Outgoing::Signal { frame, .. }, Streams::Single) => {
                self.control.push(frame, cost);
            }
            (Outgoing::Signal { from, seq, frame }, Streams::PerSender) => {
                self.tick += 1;
                let state = self.senders.entry(from.clone()).or_default();
                state.last_seq = seq;
                state.last_spoke = self.tick;
                match &mut state.lane {
                    Some(lane) => {
                        if lane.is_idle() {
                            self.busy.push(from);
                        }
                        lane.push(frame, cost);
                    }
                    None => {
                        if state.pending.is_empty() {
                            self.waiting.push_back(from);
                        }
                        state.pending.push_back(frame);
                    }
                }
            }
            (Outgoing::Accepted { signals }, _) => {
                let message = GatewayMessage::Accepted { signals };
                self.control.push(frame::encode(&message).into(), cost);
            }
            (Outgoing::GoAway { within_ms }, _) => {
                let message = GatewayMessage::GoAway { within_ms };
                self.control.push(frame::encode(&message).into(), cost);
            }
            (Outgoing::Destroyed { id, reason }, _) => {
                let last_seq = self.dismiss(id);
                if self.presence {
                    let message = GatewayMessage::ConnectionDestroyed { id, reason, last_seq };
                    self.control.push(frame::encode(&message).into(), cost);
                } else {
                    written.frames += 1;
                    written.bytes += cost;
                }
            }
        }
    }

    /// A sender's connection is gone: its stream ends with its last signal. Returns which.
    fn dismiss(&mut self, id: ConnectionId) -> u64 {
        let sender = Sender::Connection(id);
        let Some(state) = self.senders.get_mut(&sender) else {
            return 0;
        };
        let last_seq = state.last_seq;
        state.gone = true;
        if state.pending.is_empty() && state.lane.as_ref().is_none_or(Lane::is_idle) {
            self.forget(&sender);
        }
        last_seq
    }

    /// Ends the stream of a sender that will not speak again.
    fn forget(&mut self, sender: &Sender) {
        if let Some(State { lane: Some(mut lane), .. }) = self.senders.remove(sender) {
            lane.finish();
            self.open.retain(|open| open != sender);
        }
    }

    /// Writes whatever can be written. `true` if nothing waits any more.
    fn poll_streams(
        &mut self,
        cx: &mut Context<'_>,
        written: &mut Written,
    ) -> Result<bool, LinkError> {
        let control = self.control.poll_write(cx, &self.connection, &mut self.chunks, written)?;
        loop {
            self.poll_open(cx)?;
            self.poll_busy(cx, written)?;
            // A lane that has fallen idle may have to make room for a sender without one.
            if !self.evict() {
                break;
            }
        }
        Ok(control.is_ready() && self.busy.is_empty() && self.waiting.is_empty())
    }

    /// Writes to the senders' streams; those that are still busy then have their waker set.
    fn poll_busy(&mut self, cx: &mut Context<'_>, written: &mut Written) -> Result<(), LinkError> {
        let mut index = 0;
        while let Some(sender) = self.busy.get(index) {
            let Some(state) = self.senders.get_mut(sender) else {
                self.busy.swap_remove(index);
                continue;
            };
            let done = match &mut state.lane {
                Some(lane) => lane.poll_write(cx, &self.connection, &mut self.chunks, written),
                None => Poll::Ready(Ok(())),
            };
            match done {
                Poll::Ready(result) => {
                    result?;
                    let gone = state.gone;
                    let sender = self.busy.swap_remove(index);
                    if gone {
                        self.forget(&sender);
                    }
                }
                Poll::Pending => index += 1,
            }
        }
        Ok(())
    }

    /// Opens streams for those who wait, as far as the client grants them.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        while self.open.len() < self.max_open && !self.waiting.is_empty() {
            let opening = self.opening.get_or_insert_with(|| {
                let connection = self.connection.clone();
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
            let mut lane = Lane::new(stream.map_err(connection_error)?);
            if let Some(state) = self.senders.get_mut(&sender) {
                let header = GatewayStream::Sender { from: sender.clone(), after: state.after };
                lane.push_own(frame::encode(&header));
                for frame in state.pending.drain(..) {
                    let cost = frame.len();
                    lane.push(frame, cost);
                }
                state.lane = Some(lane);
                self.busy.push(sender);
            }
        }
        Ok(())
    }

    /// Makes room for senders that wait for a stream, by finishing those that have been idle
    /// longest. `true` if opening can go on at once; room that the client has to grant comes by
    /// the waker of `opening`.
    fn evict(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        if self.opening.is_none() {
            // There may be room already, as a sender that is gone has left its stream.
            return self.open.len() < self.max_open || self.finish_idlest();
        }
        // QUIC stacks announce new streams only when a good part of the old ones has ended
        // (quinn: an eighth), so one for one could wait for ever. Half is enough for all that we
        // know, and a stream that is opened anew costs some twenty bytes.
        let half = (self.open.len() + self.evicted).div_ceil(2);
        while self.evicted < self.waiting.len().max(half) && self.finish_idlest() {
            self.evicted += 1;
        }
        false
    }

    /// Finishes the idle stream whose sender has been quiet longest, if there is one.
    fn finish_idlest(&mut self) -> bool {
        let idle_since = |(at, sender): (usize, &Sender)| {
            let state = self.senders.get(sender)?;
            let idle = state.lane.as_ref().is_some_and(Lane::is_idle);
            idle.then_some((state.last_spoke, at))
        };
        let Some((_, at)) = self.open.iter().enumerate().filter_map(idle_since).min() else {
            return false;
        };
        let sender = self.open.swap_remove(at);
        if let Some(state) = self.senders.get_mut(&sender) {
            state.after = state.last_seq;
            if let Some(mut lane) = state.lane.take() {
                lane.finish();
            }
        }
        true
    }
}
