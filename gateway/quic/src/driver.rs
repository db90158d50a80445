//! A connection's driver, run in the task of its application.
//!
//! quinn drives each connection in a task of its own, which puts written data into packets and hands
//! received data to the application. So every message would wake two tasks in turn. With a
//! thousand receivers, first all applications would run and then all connections, each with its
//! memory evicted from the caches. Here one task does both.
//!
//! [`Driven`] gates its two halves like [`wake`](crate::wake) gates the branches of a `select!`, but
//! with one flag more: a half that wakes the other while both are being polled does not wake the
//! task, because the other is polled next.
//!
//! Packets of a thousand clients wake a thousand drivers, and all other tasks would wait for them. So
//! the application may decide when its task is woken for its driver's work ([`WakeInTurn`]).

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;

use crate::supervise::{Supervise, Task};

/// Polls of each half in a row before other tasks get their turn.
const MAX_POLLS: u32 = 4;

/// The work of one connection: the task that quinn would have spawned. A driver that is dropped
/// before its work is done continues in a task of its own, because a connection has packets to send
/// after its application has ended.
pub struct Driver {
    work: Option<Task>,
    supervisor: Arc<dyn Supervise>,
    task: Arc<SharedTask>,
}

impl Driver {
    pub(crate) fn new(work: Option<Task>, supervisor: Arc<dyn Supervise>) -> Self {
        Self { work, supervisor, task: Arc::default() }
    }

    /// For the application that it will run [with](Self::with).
    pub fn turns(&self) -> DriverTurns {
        DriverTurns(self.task.clone())
    }

    /// Whether quinn has left work to this driver and the work is not done.
    #[cfg(test)]
    pub(crate) fn has_work(&self) -> bool {
        self.work.is_some()
    }

    /// Runs the driver and `application` as one future, which ends with the application.
    pub fn with<F: Future + Unpin>(self, application: F) -> Driven<F> {
        let (drive, run) = (Half::new(&self.task, true), Half::new(&self.task, false));
        Driven { driver: self, application, drive, run }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        // Taken out, so that work which panics is gone and not polled again.
        if let Some(mut work) = self.work.take()
            && work.as_mut().poll(cx).is_pending()
        {
            self.work = Some(work);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Without a runtime there is no socket to send with.
        if let Some((work, runtime)) = self.work.take().zip(Handle::try_current().ok()) {
            runtime.spawn(self.supervisor.connection_task(work));
        }
    }
}

/// A driver and its application as one future: see [`Driver::with`].
pub struct Driven<F> {
    driver: Driver,
    application: F,
    drive: (Arc<Half>, Waker),
    run: (Arc<Half>, Waker),
}

impl<F> Driven<F> {
    /// The driver, for another application.
    pub fn into_driver(mut self) -> Driver {
        Driver::new(self.driver.work.take(), self.driver.supervisor.clone())
    }
}

impl<F: Future + Unpin> Future for Driven<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { driver, application, drive, run } = &mut *self;
        let task = &drive.0.task;
        task.waker.register(cx.waker());
        for _ in 0..MAX_POLLS {
            task.running.store(true, SeqCst);
            if drive.0.woken.swap(false, SeqCst) {
                driver.poll(&mut Context::from_waker(&drive.1));
            }
            if run.0.woken.swap(false, SeqCst) {
                let result = Pin::new(&mut *application).poll(&mut Context::from_waker(&run.1));
                if result.is_ready() {
                    return result;
                }
            }
            // Cleared before the check, so that a later wake of a half wakes the task.
            task.running.store(false, SeqCst);
            if !drive.0.woken.load(SeqCst) && !run.0.woken.load(SeqCst) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Decides when tasks are woken for the work of their drivers.
pub trait WakeInTurn: Send + Sync {
    /// Whether the task must wait for a turn now.
    fn must_wait(&self) -> bool;

    /// Wakes a task in its turn. It has no other waker here.
    fn wake(&self, task: Waker);
}

/// Where an application says that its task is to wait for turns: see [`Driver::turns`].
pub struct DriverTurns(Arc<SharedTask>);

impl DriverTurns {
    /// From now on, work of the driver wakes the task in its turn. The first call counts.
    pub fn set(&self, turns: Box<dyn WakeInTurn>) {
        let _ = self.0.turns.set(turns);
    }
}

/// The task that runs both halves.
#[derive(Default)]
struct SharedTask {
    waker: AtomicWaker,
    /// Set while the task is certain to check both halves again before it sleeps.
    running: AtomicBool,
    turns: OnceLock<Box<dyn WakeInTurn>>,
    /// Whether a waker of the task waits for its turn.
    waits_for_turn: AtomicBool,
}

impl SharedTask {
    /// Wakes the task in its turn, if it has to wait for one.
    fn wake_for_driver(self: &Arc<Self>) {
        match self.turns.get().filter(|turns| turns.must_wait()) {
            None => self.waker.wake(),
            Some(turns) => {
                if !self.waits_for_turn.swap(true, SeqCst) {
                    turns.wake(self.clone().into());
                }
            }
        }
    }
}

/// The task's turn.
impl Wake for SharedTask {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Cleared first, so that a half that is woken later does not count on this turn.
        self.waits_for_turn.store(false, SeqCst);
        self.waker.wake();
    }
}

/// The waker of one half.
struct Half {
    woken: AtomicBool,
    is_driver: bool,
    task: Arc<SharedTask>,
}

impl Half {
    fn new(task: &Arc<SharedTask>, is_driver: bool) -> (Arc<Self>, Waker) {
        let half = Arc::new(Self { woken: AtomicBool::new(true), is_driver, task: task.clone() });
        (half.clone(), half.into())
    }
}

impl Wake for Half {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, SeqCst) || self.task.running.load(SeqCst) {
            return;
        }
        if self.is_driver {
            self.task.wake_for_driver();
        } else {
            self.task.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures_util::FutureExt as _;
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

    /// Work that answers each request: `told` asks, `done` answers.
    #[derive(Default)]
    struct Job {
        told: Notify,
        done: Notify,
    }

    struct Unsupervised;

    impl Supervise for Unsupervised {
        fn endpoint_task(&self, task: Task) -> Task {
            task
        }

        fn connection_task(&self, task: Task) -> Task {
            task
        }
    }

    fn driver(work: Task) -> Driver {
        Driver::new(Some(work), Arc::new(Unsupervised))
    }

    impl Job {
        fn driver(self: &Arc<Self>) -> Driver {
            let job = self.clone();
            driver(Box::pin(async move {
                loop {
                    job.told.notified().await;
                    job.done.notify_one();
                }
            }))
        }
    }

    #[test]
    fn work_that_one_half_leaves_to_the_other_is_done_without_waking_the_task() {
        let job = Arc::new(Job::default());
        let application = {
            let job = job.clone();
            async move {
                job.told.notify_one();
                job.done.notified().await;
                7
            }
        };
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut driven = job.driver().with(Box::pin(application));
        let result = Pin::new(&mut driven).poll(&mut Context::from_waker(&waker));
        assert_eq!(result, Poll::Ready(7));
        assert_eq!(count.0.load(SeqCst), 0);
    }

    #[test]
    fn each_half_wakes_the_sleeping_task() {
        let job = Arc::new(Job::default());
        let end = Arc::new(Notify::new());
        let application = {
            let end = end.clone();
            async move { end.notified().await }
        };
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut driven = job.driver().with(Box::pin(application));
        assert_eq!(Pin::new(&mut driven).poll(&mut cx), Poll::Pending);
        assert_eq!(count.0.load(SeqCst), 0);
        job.told.notify_one();
        assert_eq!(count.0.load(SeqCst), 1);
        assert_eq!(Pin::new(&mut driven).poll(&mut cx), Poll::Pending);
        end.notify_one();
        assert_eq!(count.0.load(SeqCst), 2);
        assert_eq!(Pin::new(&mut driven).poll(&mut cx), Poll::Ready(()));
    }

    /// Turns that a test grants.
    #[derive(Clone, Default)]
    struct Queue(Arc<parking_lot::Mutex<Vec<Waker>>>);

    impl WakeInTurn for Queue {
        fn must_wait(&self) -> bool {
            true
        }

        fn wake(&self, task: Waker) {
            self.0.lock().push(task);
        }
    }

    #[test]
    fn work_of_the_driver_wakes_the_task_in_its_turn() {
        let job = Arc::new(Job::default());
        let (end, queue) = (Arc::new(Notify::new()), Queue::default());
        let application = {
            let end = end.clone();
            async move {
                loop {
                    end.notified().await;
                }
            }
        };
        let driver = job.driver();
        driver.turns().set(Box::new(queue.clone()));
        let mut driven = driver.with(Box::pin(application));
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut poll = || assert!(Pin::new(&mut driven).poll(&mut cx).is_pending());
        poll();
        let is_done = || job.done.notified().now_or_never().is_some();
        job.told.notify_one();
        assert_eq!((count.0.load(SeqCst), queue.0.lock().len()), (0, 1));
        // The application does not wait. Work of the driver is done with its own.
        end.notify_one();
        assert_eq!(count.0.load(SeqCst), 1);
        poll();
        assert!(is_done());
        // The link waits once at most.
        job.told.notify_one();
        assert_eq!((count.0.load(SeqCst), queue.0.lock().len()), (1, 1));
        queue.0.lock().remove(0).wake();
        assert_eq!(count.0.load(SeqCst), 2);
        poll();
        assert!(is_done());
        // And again.
        job.told.notify_one();
        assert_eq!((count.0.load(SeqCst), queue.0.lock().len()), (2, 1));
    }

    #[test]
    fn a_busy_half_yields_to_other_tasks() {
        let work = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut driven = driver(Box::pin(work)).with(std::future::pending::<()>());
        let result = Pin::new(&mut driven).poll(&mut Context::from_waker(&waker));
        assert_eq!(result, Poll::Pending);
        assert_eq!(count.0.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn no_wake_from_another_thread_is_lost() {
        let job = Arc::new(Job::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let driven = tokio::spawn(job.driver().with(stopped));
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
    async fn a_dropped_driver_continues_in_a_task_of_its_own() {
        let job = Arc::new(Job::default());
        job.driver().with(std::future::ready(())).await;
        job.told.notify_one();
        let done = tokio::time::timeout(Duration::from_secs(10), job.done.notified());
        done.await.expect("the driver continues");
    }
}
