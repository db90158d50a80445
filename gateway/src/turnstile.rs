//! The turnstile of strangers: one of them works at a time, and all other tasks run in between.
//!
//! A handshake or a request costs the gateway up to half a millisecond. The runtime polls all tasks
//! that are ready in turn, so without this, members would wait for as many handshakes as strangers
//! begin at the same time.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::supervise::isolated;

/// Where strangers wait for their turns.
#[derive(Debug, Default)]
pub(crate) struct Turnstile(Mutex<Queues>);

/// Each stranger is in them at most once, so admission permits bound them.
#[derive(Debug, Default)]
struct Queues {
    /// Clients with known addresses, which come first.
    known: VecDeque<Arc<Turn>>,
    strangers: VecDeque<Arc<Turn>>,
    /// Whether a task grants turns. It ends when nobody waits.
    is_granting: bool,
}

/// One stranger's turn.
#[derive(Debug, Default)]
struct Turn {
    granted: AtomicBool,
    task: AtomicWaker,
}

impl Turnstile {
    /// Polls `work` in its turns only, while `waits` says so.
    pub(crate) fn pass<F, W>(self: &Arc<Self>, is_known: bool, waits: W, work: F) -> Turned<F, W>
    where
        F: Future + Unpin,
        W: Fn() -> bool + Unpin,
    {
        let turnstile = self.clone();
        Turned { turnstile, is_known, waits, turn: Arc::default(), is_queued: false, work }
    }

    fn enter(self: &Arc<Self>, is_known: bool, turn: Arc<Turn>) {
        let mut queues = self.0.lock();
        let queue = if is_known { &mut queues.known } else { &mut queues.strangers };
        queue.push_back(turn);
        if !std::mem::replace(&mut queues.is_granting, true) {
            tokio::spawn(isolated("turnstile", grant(self.clone())));
        }
    }

    /// The next in the queues.
    fn next(&self) -> Option<Arc<Turn>> {
        let mut queues = self.0.lock();
        let next = queues.known.pop_front().or_else(|| queues.strangers.pop_front());
        queues.is_granting = next.is_some();
        next
    }
}

/// Grants turns until nobody waits, one each time that all other tasks have run.
async fn grant(turnstile: Arc<Turnstile>) {
    while let Some(turn) = turnstile.next() {
        turn.granted.store(true, Ordering::Release);
        turn.task.wake();
        yield_now().await;
    }
}

/// Work of a stranger: see [`Turnstile::pass`].
pub(crate) struct Turned<F, W> {
    turnstile: Arc<Turnstile>,
    is_known: bool,
    waits: W,
    turn: Arc<Turn>,
    is_queued: bool,
    work: F,
}

impl<F: Future + Unpin, W: Fn() -> bool + Unpin> Future for Turned<F, W> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { turnstile, is_known, waits, turn, is_queued, work } = &mut *self;
        if waits() {
            // Registered first, so that no grant is missed.
            turn.task.register(cx.waker());
            if !turn.granted.swap(false, Ordering::Acquire) {
                if !std::mem::replace(is_queued, true) {
                    turnstile.enter(*is_known, turn.clone());
                }
                return Poll::Pending;
            }
            *is_queued = false;
        }
        Pin::new(work).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    /// Work that is always ready, and counts its turns.
    fn busy(count: &Arc<AtomicUsize>) -> impl Future<Output = ()> + Unpin + Send + use<> {
        let count = count.clone();
        poll_fn(move |cx| {
            count.fetch_add(1, Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[tokio::test]
    async fn others_run_between_two_strangers() {
        let (turnstile, turns) = (Arc::new(Turnstile::default()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..50 {
            tokio::spawn(turnstile.pass(false, || true, busy(&turns)));
        }
        for passes in 0..1000 {
            assert!(turns.load(Relaxed) <= passes + 1, "{passes}");
            yield_now().await;
        }
        assert!(turns.load(Relaxed) > 400, "and strangers are not kept waiting either");
    }

    #[tokio::test]
    async fn known_addresses_come_first() {
        let (turnstile, strangers) =
            (Arc::new(Turnstile::default()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..50 {
            tokio::spawn(turnstile.pass(false, || true, busy(&strangers)));
        }
        while strangers.load(Relaxed) < 10 {
            yield_now().await;
        }
        let before = strangers.load(Relaxed);
        turnstile.pass(true, || true, std::future::ready(())).await;
        assert!(strangers.load(Relaxed) <= before + 2);
    }

    #[tokio::test]
    async fn work_that_need_not_wait_is_polled_at_once() {
        let turnstile = Arc::new(Turnstile::default());
        turnstile.pass(false, || false, std::future::ready(())).await;
    }

    #[tokio::test]
    async fn a_stranger_that_leaves_keeps_nobody_waiting() {
        let turnstile = Arc::new(Turnstile::default());
        let never = Arc::new(AtomicUsize::new(0));
        let mut leaves = turnstile.pass(false, || true, busy(&never));
        assert!(futures_util::poll!(&mut leaves).is_pending());
        drop(leaves);
        turnstile.pass(false, || true, std::future::ready(())).await;
        assert_eq!(never.load(Relaxed), 0);
    }
}
