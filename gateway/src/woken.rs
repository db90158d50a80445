//! A future that is polled when it was itself woken, and only then.
//!
//! `select!` polls all of its branches whenever one of them is woken. A link that writes would so
//! look at each of its incoming streams for every signal it is to write, which takes the
//! connection's lock several times.

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

/// Polls `future` the first time, and then whenever it was woken.
pub(crate) fn when_woken<F: Future>(future: F) -> WhenWoken<F> {
    while_woken(1, future)
}

/// The same, and up to so many times in a row if the future wakes itself.
pub(crate) fn while_woken<F: Future>(times: u32, future: F) -> WhenWoken<F> {
    let flag = Arc::new(Flag { woken: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(flag.clone());
    WhenWoken { future, times, flag, waker }
}

/// See [`when_woken`].
pub(crate) struct WhenWoken<F> {
    future: F,
    times: u32,
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who sets it wakes the task; who finds it set knows that it will be looked at.
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}

impl<F: Future + Unpin> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // First, so that no waking between the look and the wait is lost.
        self.flag.task.register(cx.waker());
        let Self { future, times, flag, waker } = &mut *self;
        for _ in 0..*times {
            if !flag.woken.swap(false, Ordering::AcqRel) {
                break;
            }
            let result = Pin::new(&mut *future).poll(&mut Context::from_waker(waker));
            if result.is_ready() {
                return result;
            }
        }
        // If it is still woken, so is the task.
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
    fn it_is_polled_when_it_was_woken_and_not_when_others_were() {
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
    fn what_wakes_itself_is_polled_again_so_many_times() {
        let polls = Cell::new(0);
        let mut future = pin!(while_woken(
            3,
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            })
        ));
        let task = Arc::new(Flag { woken: AtomicBool::new(false), task: AtomicWaker::new() });
        let waker = Waker::from(task.clone());
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        assert_eq!(polls.get(), 3);
        assert!(task.woken.load(Ordering::Relaxed), "it wants to go on");
    }

    #[test]
    fn waking_it_wakes_its_task() {
        let task = Arc::new(Flag { woken: AtomicBool::new(false), task: AtomicWaker::new() });
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
