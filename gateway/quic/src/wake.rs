//! Per-branch wake gating for `select!`.
//!
//! `select!` polls all of its branches whenever one of them is woken. A task that writes would thus
//! look at each of its incoming streams for every message it writes, and take the connection's lock
//! several times. A gated branch is polled only when it was woken itself.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Polls `future` once, and then whenever it was woken.
pub fn when_woken<F: Future>(future: F) -> Gated<F> {
    poll_when_woken(1, future)
}

/// Like [`when_woken`], and up to `max_polls` times in a row if the future wakes itself.
pub fn poll_when_woken<F: Future>(max_polls: u32, future: F) -> Gated<F> {
    let gate = Arc::new(Gate { woken: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(gate.clone());
    Gated { future, max_polls, gate, waker }
}

/// A future that is polled only when it was woken: see [`when_woken`].
pub struct Gated<F> {
    future: F,
    max_polls: u32,
    gate: Arc<Gate>,
    waker: Waker,
}

/// Waker of a gated future.
struct Gate {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The first waker wakes the task; later ones know that the future will be polled.
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}

impl<F: Future + Unpin> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Registered first, so that no wake between the check and the return is lost.
        self.gate.task.register(cx.waker());
        let Self { future, max_polls, gate, waker } = &mut *self;
        for _ in 0..*max_polls {
            if !gate.woken.swap(false, Ordering::AcqRel) {
                break;
            }
            let result = Pin::new(&mut *future).poll(&mut Context::from_waker(waker));
            if result.is_ready() {
                return result;
            }
        }
        // If the future is still woken, so is the task.
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::poll_fn,
        pin::pin,
    };

    use super::*;

    #[test]
    fn a_future_is_polled_only_when_it_was_woken() {
        let (polls, inner) = (Cell::new(0), RefCell::new(None));
        let mut future = pin!(when_woken(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            *inner.borrow_mut() = Some(cx.waker().clone());
            if polls.get() < 3 { Poll::Pending } else { Poll::Ready(7) }
        })));
        let mut cx = Context::from_waker(Waker::noop());
        let wake = || inner.borrow().as_ref().unwrap().wake_by_ref();
        for _ in 0..3 {
            assert_eq!(future.as_mut().poll(&mut cx), Poll::Pending);
        }
        assert_eq!(polls.get(), 1);
        wake();
        wake();
        for _ in 0..3 {
            assert_eq!(future.as_mut().poll(&mut cx), Poll::Pending);
        }
        assert_eq!(polls.get(), 2);
        wake();
        assert_eq!(future.as_mut().poll(&mut cx), Poll::Ready(7));
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again_up_to_the_maximum() {
        let polls = Cell::new(0);
        let mut future = pin!(poll_when_woken(
            3,
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            })
        ));
        let task = Arc::new(Gate { woken: AtomicBool::new(false), task: AtomicWaker::new() });
        let waker = Waker::from(task.clone());
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        assert_eq!(polls.get(), 3);
        assert!(task.woken.load(Ordering::Relaxed), "it is to be polled again");
    }

    #[test]
    fn a_wake_reaches_the_task() {
        let task = Arc::new(Gate { woken: AtomicBool::new(false), task: AtomicWaker::new() });
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        let inner = RefCell::new(None::<Waker>);
        let mut future = pin!(when_woken(poll_fn(|cx| {
            *inner.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
        assert_eq!(future.as_mut().poll(&mut cx), Poll::Pending);
        assert!(!task.woken.load(Ordering::Relaxed));
        inner.borrow().as_ref().unwrap().wake_by_ref();
        assert!(task.woken.load(Ordering::Relaxed));
    }
}
