//! Supervision of the tasks of an endpoint.

use std::{future::Future, pin::Pin};

/// A task, ready to be spawned.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Supervision of tasks. Each method wraps a task so that the application notices its panic.
pub trait Supervise: Send + Sync + 'static {
    /// Wraps a task without which the endpoint does not work: receiving, or flushing the socket.
    fn endpoint_task(&self, task: Task) -> Task;

    /// Wraps the work of one connection that has outlived its application.
    fn connection_task(&self, task: Task) -> Task;
}
