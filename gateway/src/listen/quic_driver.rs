//! A QUIC connection's inner workings, run in the task of its link.
//!
//! quinn does a connection's work in a task of its own: what a link writes, that task puts into
//! packets, and what arrives, it hands to the link. So every signal would wake two tasks in turn,
//! and of a thousand receivers first all links would run and then all connections, each finding
//! its memory gone from the processor's caches. Here one task does both.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;

use crate::supervise;

/// How often in a row each of the two may go on before other tasks have their turn.
const TURNS: u32 = 4;

/// The work of one connection. If dropped before it is done, it goes on in a task of its own: a
/// connection has packets to send after its end.
pub(super) struct Driver(Option<Work>);

/// What quinn would spawn.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Driver {
    pub(super) fn new(work: Work) -> Self {
        Self(Some(work))
    }

    /// Until `life` is over, the two are one future.
    pub(super) fn beside<F: Future + Unpin>(self, life: F) -> Driven<F> {
        let task = Arc::new(Task::default());
        let (drive, live) = (Part::new(&task), Part::new(&task));
        Driven { driver: self, life, task, drive, live }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        // Taken out, so that work which panics is gone, and not polled once more.
        if let Some(mut work) = self.0.take()
            && work.as_mut().poll(cx).is_pending()
        {
            self.0 = Some(work);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Without a runtime there is nothing left to send by.
        if let Some((work, runtime)) = self.0.take().zip(Handle::try_current().ok()) {
            runtime.spawn(supervise::isolated("QUIC connection after its link", work));
        }
    }
}

/// See [`Driver::beside`].
pub(super) struct Driven<F> {
    driver: Driver,
    life: F,
    task: Arc<Task>,
    drive: (Arc<Part>, Waker),
    live: (Arc<Part>, Waker),
}

impl<F> Driven<F> {
    /// The driver, for another life.
    pub(super) fn into_driver(mut self) -> Driver {
        Driver(mem::take(&mut self.driver.0))
    }
}

impl<F: Future + Unpin> Future for Driven<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { driver, life, task, drive, live } = &mut *self;
        task.waker.register(cx.waker());
        for _ in 0..TURNS {
            task.running.store(true, SeqCst);
            if drive.0.woken.swap(false, SeqCst) {
                driver.poll(&mut Context::from_waker(&drive.1));
            }
            if live.0.woken.swap(false, SeqCst) {
                let result = Pin::new(&mut *life).poll(&mut Context::from_waker(&live.1));
                if result.is_ready() {
                    return result;
                }
            }
            // Before the look: who wakes one of them after it finds nobody running.
            task.running.store(false, SeqCst);
            if !drive.0.woken.load(SeqCst) && !live.0.woken.load(SeqCst) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The task that runs both.
#[derive(Default)]
struct Task {
    waker: AtomicWaker,
    /// It will look at both again before it sleeps.
    running: AtomicBool,
}

/// One of the two.
struct Part {
    woken: AtomicBool,
    task: Arc<Task>,
}

impl Part {
    fn new(task: &Arc<Task>) -> (Arc<Self>, Waker) {
        let part = Arc::new(Self { woken: AtomicBool::new(true), task: task.clone() });
        (part.clone(), part.into())
    }
}

impl Wake for Part {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, SeqCst) && !self.task.running.load(SeqCst) {
            self.task.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::sync::{Notify, oneshot};

    use super::*;

    /// A waker that counts.
    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Work that does something when it is told to, and what it was told and did.
    #[derive(Default)]
    struct Job {
        told: Notify,
        done: Notify,
    }

    impl Job {
        fn driver(self: &Arc<Self>) -> Driver {
            let job = self.clone();
            Driver::new(Box::pin(async move {
                loop {
                    job.told.notified().await;
                    job.done.notify_one();
                }
            }))
        }
    }

    #[test]
    fn what_one_leaves_for_the_other_is_done_in_the_same_turn_and_wakes_nobody() {
        let job = Arc::new(Job::default());
        let life = {
            let job = job.clone();
            async move {
                job.told.notify_one();
                job.done.notified().await;
                7
            }
        };
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut driven = job.driver().beside(Box::pin(life));
        let result = Pin::new(&mut driven).poll(&mut Context::from_waker(&waker));
        assert_eq!(result, Poll::Ready(7));
        assert_eq!(count.0.load(SeqCst), 0);
    }

    #[test]
    fn each_wakes_the_task_while_it_sleeps() {
        let job = Arc::new(Job::default());
        let end = Arc::new(Notify::new());
        let life = {
            let end = end.clone();
            async move { end.notified().await }
        };
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut driven = job.driver().beside(Box::pin(life));
        assert_eq!(Pin::new(&mut driven).poll(&mut cx), Poll::Pending);
        assert_eq!(count.0.load(SeqCst), 0);
        job.told.notify_one();
        assert_eq!(count.0.load(SeqCst), 1);
        assert_eq!(Pin::new(&mut driven).poll(&mut cx), Poll::Pending);
        end.notify_one();
        assert_eq!(count.0.load(SeqCst), 2);
        assert_eq!(Pin::new(&mut driven).poll(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn who_always_wants_to_go_on_lets_others_have_their_turn() {
        let work = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut driven = Driver::new(Box::pin(work)).beside(std::future::pending::<()>());
        let result = Pin::new(&mut driven).poll(&mut Context::from_waker(&waker));
        assert_eq!(result, Poll::Pending);
        assert_eq!(count.0.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn no_wake_from_another_thread_is_lost() {
        let job = Arc::new(Job::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let driven = tokio::spawn(job.driver().beside(stopped));
        let other = {
            let job = job.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..20_000 {
                        job.told.notify_one();
                        job.done.notified().await;
                    }
                });
            })
        };
        while !other.is_finished() {
            tokio::task::yield_now().await;
        }
        other.join().unwrap();
        stop.send(()).unwrap();
        driven.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn it_goes_on_without_the_life_it_was_beside() {
        let job = Arc::new(Job::default());
        job.driver().beside(std::future::ready(())).await;
        job.told.notify_one();
        let done = tokio::time::timeout(Duration::from_secs(10), job.done.notified());
        done.await.expect("the driver goes on");
    }
}
