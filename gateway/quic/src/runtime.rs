//! The runtime of one endpoint: tokio, with batched sending (`gso_socket.rs`), drivers handed to the
//! accepting caller (`driver.rs`), and a receiving task that is not starved.
//!
//! quinn's receiving task takes packets from the socket for 50 µs and then waits until all other
//! tasks have had their turn. When a thousand clients are being sent data, that takes several
//! milliseconds, in which more packets arrive than are taken. Nearly all of them are
//! acknowledgements. They delay the few packets with data by as much as the socket's buffer holds:
//! 200 ms and more.

use std::{
    fmt,
    future::Future,
    io,
    net::UdpSocket,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use quinn::{
    AsyncTimer, AsyncUdpSocket, Connecting, ConnectionError, Incoming, Runtime, TokioRuntime,
};

use crate::{
    driver::Driver,
    gso_socket::GsoSocket,
    supervise::{Supervise, Task},
    wake::poll_when_woken,
};

/// Polls of the receiving task in a row: 1.6 ms. In a flood, other tasks wait that long.
const MAX_POLLS: u32 = 32;

/// The runtime of one endpoint. Connections are accepted with [`EndpointRuntime::accept`] only.
pub struct EndpointRuntime {
    supervisor: Arc<dyn Supervise>,
    /// Whether quinn has spawned its first task, which receives for the endpoint.
    receives: AtomicBool,
    /// The driver that quinn has spawned for the connection being accepted.
    driver: Mutex<Option<Task>>,
    /// Held while a connection is accepted, so that drivers are not mixed up.
    accepting: Mutex<()>,
}

impl EndpointRuntime {
    /// A runtime whose tasks are wrapped by `supervisor`. One runtime serves one endpoint.
    pub fn new(supervisor: Arc<dyn Supervise>) -> Self {
        let (receives, driver, accepting) = Default::default();
        Self { supervisor, receives, driver, accepting }
    }

    /// Accepts a connection. The caller must run its driver.
    ///
    /// # Errors
    /// As [`Incoming::accept`].
    pub fn accept(&self, incoming: Incoming) -> Result<(Connecting, Driver), ConnectionError> {
        let _one = self.accepting.lock();
        let connecting = incoming.accept()?;
        // quinn has spawned it during the call.
        let work = self.driver.lock().take();
        Ok((connecting, Driver::new(work, self.supervisor.clone())))
    }
}

impl fmt::Debug for EndpointRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointRuntime").finish_non_exhaustive()
    }
}

impl Runtime for EndpointRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        if self.receives.swap(true, Ordering::Relaxed) {
            *self.driver.lock() = Some(future);
        } else {
            let receiving = Box::pin(poll_when_woken(MAX_POLLS, future));
            TokioRuntime.spawn(self.supervisor.endpoint_task(receiving));
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let (socket, flusher) = GsoSocket::new(TokioRuntime.wrap_udp_socket(socket)?);
        TokioRuntime.spawn(self.supervisor.endpoint_task(Box::pin(flusher)));
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicU32, task::Poll};

    use super::*;

    struct Unsupervised;

    impl Supervise for Unsupervised {
        fn endpoint_task(&self, task: Task) -> Task {
            task
        }

        fn connection_task(&self, task: Task) -> Task {
            task
        }
    }

    fn runtime() -> EndpointRuntime {
        EndpointRuntime::new(Arc::new(Unsupervised))
    }

    /// A task that wakes itself whenever it is polled, and the number of polls.
    fn eager() -> (Arc<AtomicU32>, Pin<Box<dyn Future<Output = ()> + Send>>) {
        let polls = Arc::new(AtomicU32::new(0));
        let counted = polls.clone();
        let task = poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        (polls, Box::pin(task))
    }

    #[tokio::test]
    async fn only_the_receiving_task_is_polled_repeatedly() {
        let runtime = runtime();
        let ((receiving, first), (other, second)) = (eager(), eager());
        runtime.spawn(first);
        tokio::spawn(second);
        while other.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        let (receiving, other) = (receiving.load(Ordering::Relaxed), other.load(Ordering::Relaxed));
        assert!(receiving >= (other - 1) * MAX_POLLS, "{receiving} and {other}");
    }

    #[tokio::test]
    async fn later_tasks_are_left_to_the_accepting_caller() {
        let runtime = runtime();
        runtime.spawn(eager().1);
        let (polls, driving) = eager();
        runtime.spawn(driving);
        tokio::task::yield_now().await;
        assert_eq!(polls.load(Ordering::Relaxed), 0);
        assert!(runtime.driver.lock().is_some());
    }
}
