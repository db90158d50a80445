//! The outbox: what waits for one receiver, bounded in frames and in bytes.
//!
//! The relay pushes and never waits; the receiver's link takes everything that waits at once, and
//! says when it has been written. What the link holds but could not write yet still counts
//! against the bound, so that a link's own queues need no second one.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;
use signalbox_protocol::{CloseReason, ConnectionId, DisconnectReason, Sender};

/// Something on its way to a receiver, in the receiver's encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A signal. `frame` is shared with the other receivers of the same encoding.
    Signal {
        /// The sender; none for servers.
        from: Sender,
        /// The sender's sequence number.
        seq: u64,
        /// The encoded signal.
        frame: Bytes,
    },
    /// Any other message, complete.
    Event(Bytes),
    /// A connection is gone. For receivers with a stream per sender, as only their link knows
    /// what it has sent on that stream; the others get an [`Outgoing::Event`].
    Destroyed {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: DisconnectReason,
        /// Whether the receiver is told. If not, only the sender's stream ends.
        announce: bool,
    },
    /// So many of the receiver's own signals have been taken.
    Accepted {
        /// How many.
        signals: u64,
    },
    /// The gateway is going down, and ends the link.
    GoAway {
        /// In how many milliseconds.
        within_ms: u32,
    },
}

impl Outgoing {
    /// Bytes it counts as: those of its frame, or what a frame that the link makes will take.
    pub fn cost(&self) -> usize {
        match self {
            Self::Signal { frame, .. } | Self::Event(frame) => frame.len(),
            Self::Destroyed { .. } | Self::Accepted { .. } | Self::GoAway { .. } => 32,
        }
    }
}

/// The bounded queue between the relay and one receiver's link. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_frames: usize,
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    /// Frames and bytes pushed and not yet reported as written.
    frames: usize,
    bytes: usize,
    /// How many of the receiver's signals have been taken, if that has not been said yet. It is
    /// said with the next that is taken: once for many.
    accepted: Option<u64>,
    /// In how many milliseconds the link is ended, if that is to be said.
    go_away: Option<u32>,
    ended: Option<CloseReason>,
    taker: Option<Waker>,
    bell: Option<Waker>,
}

/// Frames for which a buffer may keep its memory, however rarely they come.
const KEEP_FRAMES: usize = 32;

/// The outbox holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl State {
    /// Adds what was noted, which has no bound of its own. Rare beside signals.
    #[cold]
    fn add_noted(&mut self, outgoing: Outgoing) {
        self.frames += 1;
        self.bytes += outgoing.cost();
        self.queue.push_back(outgoing);
    }
}

impl Outbox {
    pub(crate) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self(Arc::new(Shared { max_frames, max_bytes, state: Mutex::default() }))
    }

    /// Adds to what waits. On an outbox that has ended it does nothing: nobody will read it.
    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), Full> {
        let mut state = self.0.state.lock();
        if state.ended.is_some() {
            return Ok(());
        }
        let cost = outgoing.cost();
        if state.frames >= self.0.max_frames || state.bytes + cost > self.0.max_bytes {
            return Err(Full);
        }
        state.frames += 1;
        state.bytes += cost;
        state.queue.push_back(outgoing);
        if let Some(waker) = state.taker.take() {
            drop(state);
            waker.wake();
        }
        Ok(())
    }

    /// Has the receiver told that so many of its signals have been taken.
    pub(crate) fn accept(&self, signals: u64) {
        self.note(|state| state.accepted = Some(signals));
    }

    /// Has the receiver told that its link will be ended in so many milliseconds. For once the
    /// link's own word; it takes no room that somebody else could need.
    pub fn go_away(&self, within_ms: u32) {
        self.note(|state| state.go_away = Some(within_ms));
    }

    fn note(&self, note: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        if state.ended.is_some() {
            return;
        }
        note(&mut state);
        if let Some(waker) = state.taker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Ends the outbox: nothing more goes in, and the link hears `reason`, at once by
    /// [`Outbox::poll_ended`] and in turn by [`Outbox::poll_take`]. What waits may still be
    /// taken, unless the receiver is too slow to take it. The first reason stays.
    pub(crate) fn end(&self, reason: CloseReason) {
        let mut state = self.0.state.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(reason);
        if reason == CloseReason::SlowConsumer {
            state.queue = VecDeque::new();
            (state.accepted, state.go_away) = (None, None);
        }
        let (taker, bell) = (state.taker.take(), state.bell.take());
        drop(state);
        for waker in [taker, bell].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Takes all that waits, in order, by appending it to `into`.
    ///
    /// # Errors
    /// The reason for the end, once the outbox has ended and nothing waits any more.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Outgoing>,
    ) -> Poll<Result<(), CloseReason>> {
        let mut state = self.0.state.lock();
        if let Some(signals) = state.accepted.take() {
            state.add_noted(Outgoing::Accepted { signals });
        }
        if let Some(within_ms) = state.go_away.take() {
            state.add_noted(Outgoing::GoAway { within_ms });
        }
        if state.queue.is_empty() {
            if let Some(reason) = state.ended {
                return Poll::Ready(Err(reason));
            }
            register(&mut state.taker, cx);
            return Poll::Pending;
        }
        if into.is_empty() {
            // The usual case costs no copy, and the two buffers take turns. One that a burst has
            // made much larger than it now needs to be goes.
            if into.capacity() > KEEP_FRAMES.max(8 * state.queue.len()) {
                *into = VecDeque::new();
            }
            std::mem::swap(&mut state.queue, into);
        } else {
            into.append(&mut state.queue);
        }
        Poll::Ready(Ok(()))
    }

    /// Reports that `frames` with `bytes` in all (as by [`Outgoing::cost`]) have been written.
    pub fn written(&self, frames: usize, bytes: usize) {
        let mut state = self.0.state.lock();
        state.frames = state.frames.saturating_sub(frames);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// The bell: ready as soon as the outbox has ended, whatever still waits. A link whose writing
    /// half hangs hears it all the same.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut state = self.0.state.lock();
        match state.ended {
            Some(reason) => Poll::Ready(reason),
            None => {
                register(&mut state.bell, cx);
                Poll::Pending
            }
        }
    }

    /// Frames and bytes that wait or are not yet reported as written.
    pub fn load(&self) -> (usize, usize) {
        let state = self.0.state.lock();
        (state.frames, state.bytes)
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        slot => *slot = Some(cx.waker().clone()),
    }
}
