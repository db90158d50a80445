//! Requests without a credential at a rate, from a worker process: sending them must not delay the
//! measuring thread.
//!
//! For each line of input, the worker reports its progress.
//!
//! The requests are written by [`crate::http`], as in the REST scenario, and not by an HTTP
//! library: on two cores the flood competes with the gateway for processor time, so every
//! microsecond of a request is in the figures of the control and of the flood alike.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::ensure;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    task::JoinSet,
};

use super::WorkerProcess;
use crate::{
    clock::{nanos, now_ns},
    http::{HttpEndpoint, HttpResponse},
    machine,
    output::line,
    target::gateway::Gateway,
};

/// Connections are opened over this time, not at once. The gateway closes each after five seconds,
/// so that their renewals are spread out too.
const RAMP: Duration = Duration::from_secs(1);

/// Timeout of a report. The worker does not report while it opens connections.
const REPORT: Duration = Duration::from_secs(10);

/// The worker's hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct FloodWorker {
    /// The gateway's address, as it announces it.
    #[arg(long)]
    to: String,
    /// The file of its authority.
    #[arg(long)]
    ca: PathBuf,
    /// Path of the requests.
    #[arg(long)]
    path: String,
    /// Requests per second.
    #[arg(long)]
    rate: u32,
    /// Connections at a time.
    #[arg(long)]
    connections: u32,
    /// A new connection for each request.
    #[arg(long)]
    fresh: bool,
}

/// Progress of the worker.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct FloodProgress {
    /// The time by the clock.
    pub at_ns: u64,
    /// Requests that were refused as they should be.
    pub answered: u64,
    /// TLS handshakes for them.
    pub connected: u64,
    /// Processor time of the worker so far.
    pub cpu_ns: u64,
}

impl FloodWorker {
    /// Sends requests until standard input ends.
    pub async fn run(&self) -> anyhow::Result<()> {
        let server = HttpEndpoint::new(&self.to, &std::fs::read(&self.ca)?)?;
        let request: Arc<[u8]> = server.post(&self.path, None, r#"{"data":"flood"}"#).into();
        let progress = Arc::new(Mutex::new(FloodProgress::default()));
        let start_ns = now_ns();
        let mut senders = JoinSet::new();
        for index in 0..self.connections {
            let sender = FloodConnection {
                server: server.clone(),
                request: request.clone(),
                first_ns: start_ns + self.first_ns(index),
                interval_ns: self.interval_ns(),
                fresh: self.fresh,
                progress: progress.clone(),
            };
            senders.spawn(sender.run());
        }
        let reporting = async {
            tokio::time::sleep(RAMP).await;
            let mut asked = BufReader::new(tokio::io::stdin()).lines();
            while asked.next_line().await?.is_some() {
                let cpu_ns = nanos(machine::cpu_time(std::process::id())?);
                let now = FloodProgress { at_ns: now_ns(), cpu_ns, ..*progress.lock() };
                line(serde_json::to_string(&now)?)?;
            }
            Ok(())
        };
        tokio::select! {
            result = reporting => result,
            // They end only with an error.
            Some(failed) = senders.join_next() => failed?,
        }
    }

    /// Time between two requests of a connection.
    fn interval_ns(&self) -> u64 {
        nanos(Duration::from_secs(1)) * u64::from(self.connections) / u64::from(self.rate)
    }

    /// Time of a connection's first request. All connections take turns.
    fn first_ns(&self, index: u32) -> u64 {
        let spread = |time_ns: u64| time_ns * u64::from(index) / u64::from(self.connections);
        spread(nanos(RAMP)) + spread(self.interval_ns())
    }
}

/// One connection, or one at a time.
struct FloodConnection {
    server: HttpEndpoint,
    request: Arc<[u8]>,
    first_ns: u64,
    interval_ns: u64,
    fresh: bool,
    progress: Arc<Mutex<FloodProgress>>,
}

impl FloodConnection {
    /// Sends each request when it is due, and overdue ones at once.
    async fn run(self) -> anyhow::Result<()> {
        let mut connection = None;
        let mut due_ns = self.first_ns;
        loop {
            let early_ns = due_ns.saturating_sub(now_ns());
            if early_ns > 0 {
                tokio::time::sleep(Duration::from_nanos(early_ns)).await;
            }
            due_ns += self.interval_ns;
            let mut open = match connection.take() {
                Some(open) => open,
                None => {
                    let open = self.server.connect().await?;
                    self.progress.lock().connected += 1;
                    open
                }
            };
            let response = open.exchange(&self.request).await?;
            check(&response)?;
            self.progress.lock().answered += 1;
            if !self.fresh && !response.closes {
                connection = Some(open);
            }
        }
    }
}

/// A request without a credential must be refused, with a JSON body.
fn check(response: &HttpResponse) -> anyhow::Result<()> {
    let is_json = response.is_json && serde_json::from_str::<IgnoredAny>(&response.body).is_ok();
    ensure!(
        response.status == 403 && is_json,
        "a request without a credential was answered with {response:?} instead of 403 and JSON"
    );
    Ok(())
}

/// The worker, seen from the measuring process. Dropping it ends it.
pub struct FloodGenerator(WorkerProcess);

impl FloodGenerator {
    /// Starts a worker and waits until all its connections are open.
    pub async fn start(
        gateway: &Gateway,
        rate: u32,
        connections: u32,
        fresh: bool,
    ) -> anyhow::Result<Self> {
        let ca = gateway.ca().to_string_lossy().into_owned();
        let path = gateway.signal_path(&gateway.session()?);
        let (rate, connections) = (rate.to_string(), connections.to_string());
        let mut arguments = vec!["--to", gateway.https(), "--ca", &ca, "--path", &path];
        arguments.extend(["--rate", &rate, "--connections", &connections]);
        arguments.extend(fresh.then_some("--fresh"));
        let mut flood = Self(WorkerProcess::start("flood-worker", arguments)?);
        flood.progress().await?;
        Ok(flood)
    }

    /// `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// Asks for its progress.
    pub async fn progress(&mut self) -> anyhow::Result<FloodProgress> {
        self.0.send(&()).await?;
        self.0.receive(REPORT).await
    }

    /// Ends the worker.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns() {
        let flooder = FloodWorker {
            to: String::new(),
            ca: PathBuf::new(),
            path: String::new(),
            rate: 10_000,
            connections: 50,
            fresh: false,
        };
        assert_eq!(flooder.interval_ns(), 5_000_000);
        // One joins every 20 ms, and sends 100 µs after the one before.
        assert_eq!(flooder.first_ns(0), 0);
        assert_eq!(flooder.first_ns(1), 20_100_000);
        assert_eq!(flooder.first_ns(49), 49 * 20_100_000);
    }

    #[test]
    fn only_a_refusal_in_json_is_an_response() {
        let response = |status, is_json, body: &str| HttpResponse {
            status,
            is_json,
            closes: false,
            body: body.into(),
        };
        check(&response(403, true, r#"{"code":-1}"#)).unwrap();
        for wrong in [
            response(204, true, r#"{"code":-1}"#),
            response(403, false, r#"{"code":-1}"#),
            response(403, true, ""),
            response(503, true, "{}"),
        ] {
            check(&wrong).unwrap_err();
        }
    }
}
