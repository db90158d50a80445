//! The outbox: a queue of outgoing messages for one receiver, bounded in frames and bytes.
//!
//! The relay pushes and never waits. The receiver's link takes the whole queue at once and reports
//! what it has written. Messages that the link has taken but not written still count against the
//! bound, so that the queues inside a link need no bound of their own.

mod notices;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::CloseReason;

use self::notices::Notices;
use crate::{listing::OutboxStatus, outgoing::Outgoing};

/// The bounded queue between the relay and one receiver's link. Cloning returns another handle.
#[derive(Debug, Clone)]
pub struct Outbox(Arc<OutboxInner>);

#[derive(Debug)]
struct OutboxInner {
    max_frames: usize,
    max_bytes: usize,
    state: Mutex<OutboxState>,
}

#[derive(Debug, Default)]
struct OutboxState {
    queue: VecDeque<Outgoing>,
    /// Frames and bytes pushed and not yet reported as written.
    frames: usize,
    bytes: usize,
    /// Frames that have been reported as written.
    written: u64,
    notices: Notices,
    probe: Option<LatencyProbe>,
    closed: Option<CloseReason>,
    /// Wakes the link when there is something to take.
    reader_waker: Option<Waker>,
    /// Whether the link is in the list of those that are to be woken in turn.
    waits_for_turn: bool,
    /// Wakes the link when the outbox is closed.
    close_waker: Option<Waker>,
}

/// A frame whose latency is measured.
#[derive(Debug)]
struct LatencyProbe {
    /// Frames that have to be written until it is written, itself included.
    frames: usize,
    /// When the relay accepted its signal.
    accepted: Duration,
}

/// Number of frames up to which a buffer keeps its memory, even if it is rarely filled.
const KEEP_FRAMES: usize = 32;

/// The outbox has reached one of its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutboxFull;

impl OutboxInner {
    /// Appends a message, unless the outbox is closed.
    fn append(&self, state: &mut OutboxState, outgoing: Outgoing) -> Result<(), OutboxFull> {
        if state.closed.is_some() {
            return Ok(());
        }
        let cost = outgoing.cost();
        if state.frames >= self.max_frames || state.bytes + cost > self.max_bytes {
            return Err(OutboxFull);
        }
        state.frames += 1;
        state.bytes += cost;
        state.queue.push_back(outgoing);
        Ok(())
    }
}

impl OutboxState {
    /// Moves the notices into the queue, past its bounds. Rare compared to signals.
    #[cold]
    fn queue_notices(&mut self) {
        for outgoing in self.notices.take() {
            self.frames += 1;
            self.bytes += outgoing.cost();
            self.queue.push_back(outgoing);
        }
    }
}

impl Outbox {
    pub(crate) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self(Arc::new(OutboxInner { max_frames, max_bytes, state: Mutex::default() }))
    }

    /// Appends a message. Has no effect on a closed outbox.
    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), OutboxFull> {
        let mut state = self.0.state.lock();
        self.0.append(&mut state, outgoing)?;
        if let Some(waker) = state.reader_waker.take() {
            drop(state);
            waker.wake();
        }
        Ok(())
    }

    /// Appends a message without waking the link. Returns whether the caller must put the link in
    /// the list of those that are to be [woken](Outbox::wake) in turn.
    pub(crate) fn push_quietly(&self, outgoing: Outgoing) -> Result<bool, OutboxFull> {
        let mut state = self.0.state.lock();
        self.0.append(&mut state, outgoing)?;
        let enters = state.reader_waker.is_some() && !state.waits_for_turn;
        state.waits_for_turn |= enters;
        Ok(enters)
    }

    /// Wakes the link, which leaves the list. Returns the bytes that it has to write; `None` if it
    /// was woken in the meantime.
    pub(crate) fn wake(&self) -> Option<usize> {
        let mut state = self.0.state.lock();
        state.waits_for_turn = false;
        if state.queue.is_empty() {
            return None;
        }
        let (waker, bytes) = (state.reader_waker.take()?, state.bytes);
        drop(state);
        waker.wake();
        Some(bytes)
    }

    /// Sends a notice that this many signals of the receiver have been processed.
    pub(crate) fn notify_accepted(&self, signals: u64) {
        self.notify(|notices| notices.accepted(signals));
    }

    /// Sends a notice that the gateway closes the link in this many milliseconds. A notice cannot
    /// overflow the outbox.
    pub fn go_away(&self, within_ms: u32) {
        self.notify(|notices| notices.go_away(within_ms));
    }

    /// Answers a heartbeat of the receiver; several become one answer. It cannot overflow the outbox.
    pub fn heartbeat(&self) {
        self.notify(Notices::heartbeat);
    }

    fn notify(&self, set: impl FnOnce(&mut Notices)) {
        let mut state = self.0.state.lock();
        if state.closed.is_some() {
            return;
        }
        set(&mut state.notices);
        if let Some(waker) = state.reader_waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Closes the outbox. The link learns the reason at once from [`Outbox::poll_closed`], and after
    /// the queue from [`Outbox::poll_take`]. The queue can still be taken, except by a slow
    /// consumer. The first reason stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.0.state.lock();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some(reason);
        if reason == CloseReason::SlowConsumer {
            state.queue = VecDeque::new();
            state.notices.clear();
        }
        let wakers = [state.reader_waker.take(), state.close_waker.take()];
        drop(state);
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Appends the whole queue to `into`, in order.
    ///
    /// # Errors
    /// The close reason, once the outbox has been closed and the queue is empty.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Outgoing>,
    ) -> Poll<Result<(), CloseReason>> {
        let mut state = self.0.state.lock();
        if !state.notices.is_empty() {
            state.queue_notices();
        }
        if state.queue.is_empty() {
            if let Some(reason) = state.closed {
                return Poll::Ready(Err(reason));
            }
            register(&mut state.reader_waker, cx);
            return Poll::Pending;
        }
        if into.is_empty() {
            // Usually the two buffers are swapped and nothing is copied. A buffer that a burst has
            // made far too large is freed.
            if into.capacity() > KEEP_FRAMES.max(8 * state.queue.len()) {
                *into = VecDeque::new();
            }
            std::mem::swap(&mut state.queue, into);
        } else {
            into.append(&mut state.queue);
        }
        Poll::Ready(Ok(()))
    }

    /// Measures the time until the next frame that is pushed is written, unless another one is being
    /// measured. `accepted` is when its signal was accepted. The mark comes before the push, as the
    /// link may write the frame at once.
    pub(crate) fn measure_next(&self, accepted: Duration) {
        let mut state = self.0.state.lock();
        if state.probe.is_none() {
            state.probe = Some(LatencyProbe { frames: state.frames + 1, accepted });
        }
    }

    /// Reports that `frames` frames of `bytes` bytes in all ([`Outgoing::cost`]) have been written.
    /// Returns when a signal among them was accepted, if its latency is measured.
    pub fn written(&self, frames: usize, bytes: usize) -> Option<Duration> {
        let mut state = self.0.state.lock();
        state.frames = state.frames.saturating_sub(frames);
        state.bytes = state.bytes.saturating_sub(bytes);
        state.written += frames as u64;
        let probe = state.probe.as_mut()?;
        probe.frames = probe.frames.saturating_sub(frames);
        if probe.frames > 0 {
            return None;
        }
        state.probe.take().map(|probe| probe.accepted)
    }

    /// The close notification: ready as soon as the outbox is closed, even if messages still wait.
    /// It reaches a link whose writing half is blocked.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut state = self.0.state.lock();
        match state.closed {
            Some(reason) => Poll::Ready(reason),
            None => {
                register(&mut state.close_waker, cx);
                Poll::Pending
            }
        }
    }

    /// Frames and bytes that have not been reported as written.
    pub fn load(&self) -> (usize, usize) {
        let state = self.0.state.lock();
        (state.frames, state.bytes)
    }

    /// Numbers of the frames that have been written, and of those that wait.
    pub(crate) fn status(&self) -> OutboxStatus {
        let OutboxState { written, frames, bytes, .. } = *self.0.state.lock();
        OutboxStatus { written, frames, bytes }
    }

    /// The part of its bounds that is in use: the larger one of frames and bytes.
    pub(crate) fn fill(&self) -> f64 {
        let (frames, bytes) = self.load();
        let part = |used: usize, max: usize| used as f64 / max.max(1) as f64;
        part(frames, self.0.max_frames).max(part(bytes, self.0.max_bytes))
    }
}

pub(crate) fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        slot => *slot = Some(cx.waker().clone()),
    }
}
