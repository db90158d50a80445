//! A thread for proxies.

use std::io;

use tokio::runtime::Runtime;

use super::{Proxy, Targets};
use crate::LinkModel;

/// A thread that runs proxies, for benchmarks: the proxies use no time of the thread that measures.
#[derive(Debug)]
pub struct ProxyRuntime(Option<Runtime>);

impl ProxyRuntime {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(builder.worker_threads(1).enable_all().build()?)))
    }

    /// Starts a proxy on the thread, like [`Proxy::start_with_links`].
    ///
    /// # Errors
    /// If the system has no socket left.
    pub async fn proxy(
        &self,
        targets: Targets,
        to_client: LinkModel,
        to_server: LinkModel,
        seed: u64,
    ) -> io::Result<Proxy> {
        let starting = Proxy::start_with_links(targets, to_client, to_server, seed);
        match &self.0 {
            Some(runtime) => runtime.spawn(starting).await?,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for ProxyRuntime {
    fn drop(&mut self) {
        // To wait for the thread is not allowed where other tasks run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
