//! Requests without a credential, as many as are wanted, from a process of their own: sending them
//! must not delay the thread that measures.
//!
//! For each line that comes in, the child says how far it is.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::ensure;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    task::JoinSet,
};

use crate::{
    clock::{nanos, now_ns},
    gateway::Gateway,
    helper::Helper,
    http::{Answer, Server},
    output::line,
    procfs,
};

/// Connections are opened over this time, not at once. The gateway closes each when it has lasted
/// five seconds, so that their renewals are spread out, too.
const RAMP: Duration = Duration::from_secs(1);

/// How long the child may take to say how far it is: while it still opens connections, it does not.
const ANSWER: Duration = Duration::from_secs(10);

/// What the child does; the hidden command of the same name.
#[derive(Debug, Clone, clap::Args)]
pub struct Flooder {
    /// The gateway's address, as it announces it.
    #[arg(long)]
    pub(crate) to: String,
    /// The file of its authority.
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// What to ask for.
    #[arg(long)]
    pub(crate) path: String,
    /// Requests per second.
    #[arg(long)]
    pub(crate) rate: u32,
    /// Connections at a time.
    #[arg(long)]
    pub(crate) connections: u32,
    /// A new connection for each request.
    #[arg(long)]
    pub(crate) fresh: bool,
}

/// How far the child is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) at_ns: u64,
    /// Requests that were refused as they should be.
    pub(crate) answered: u64,
    /// TLS handshakes for them.
    pub(crate) connected: u64,
    pub(crate) cpu_ns: u64,
}

impl Flooder {
    /// Sends requests until standard input ends.
    ///
    /// # Errors
    /// If an answer is anything but a refusal with a JSON body.
    pub async fn run(&self) -> anyhow::Result<()> {
        let server = Server::new(&self.to, &std::fs::read(&self.ca)?)?;
        let request: Arc<[u8]> = server.post(&self.path, None, r#"{"data":"flood"}"#).into();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let start_ns = now_ns();
        let mut senders = JoinSet::new();
        for index in 0..self.connections {
            let sender = Sender {
                server: server.clone(),
                request: request.clone(),
                first_ns: start_ns + self.first_ns(index),
                interval_ns: self.interval_ns(),
                fresh: self.fresh,
                progress: progress.clone(),
            };
            senders.spawn(sender.run());
        }
        let telling = async {
            tokio::time::sleep(RAMP).await;
            let mut asked = BufReader::new(tokio::io::stdin()).lines();
            while asked.next_line().await?.is_some() {
                let cpu_ns = nanos(procfs::cpu_time(std::process::id())?);
                let now = Progress { at_ns: now_ns(), cpu_ns, ..*progress.lock() };
                line(serde_json::to_string(&now)?)?;
            }
            Ok(())
        };
        tokio::select! {
            result = telling => result,
            // They end only with an error.
            Some(failed) = senders.join_next() => failed?,
        }
    }

    /// From one request of a connection to its next.
    fn interval_ns(&self) -> u64 {
        nanos(Duration::from_secs(1)) * u64::from(self.connections) / u64::from(self.rate)
    }

    /// When a connection sends its first request. All of them take turns.
    fn first_ns(&self, index: u32) -> u64 {
        let spread = |time_ns: u64| time_ns * u64::from(index) / u64::from(self.connections);
        spread(nanos(RAMP)) + spread(self.interval_ns())
    }
}

/// One connection, or one at a time.
struct Sender {
    server: Server,
    request: Arc<[u8]>,
    first_ns: u64,
    interval_ns: u64,
    fresh: bool,
    progress: Arc<Mutex<Progress>>,
}

impl Sender {
    /// Sends whenever a request is due, and at once what has become due meanwhile.
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
            let answer = open.exchange(&self.request).await?;
            check(&answer)?;
            self.progress.lock().answered += 1;
            if !self.fresh && !answer.closes {
                connection = Some(open);
            }
        }
    }
}

/// Whoever shows no credential is refused, in words that a program understands.
fn check(answer: &Answer) -> anyhow::Result<()> {
    let is_json = answer.is_json && serde_json::from_str::<IgnoredAny>(&answer.body).is_ok();
    ensure!(
        answer.status == 403 && is_json,
        "a request without a credential was answered with {answer:?} instead of 403 and JSON"
    );
    Ok(())
}

/// The child, seen from the process that measures. Dropping it ends it.
pub(crate) struct Flood(Helper);

impl Flood {
    /// Starts it and waits until all its connections are there.
    pub(crate) async fn start(
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
        let mut flood = Self(Helper::start("flooder", arguments)?);
        flood.progress().await?;
        Ok(flood)
    }

    /// None once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    pub(crate) async fn progress(&mut self) -> anyhow::Result<Progress> {
        self.0.tell(&()).await?;
        self.0.answer(ANSWER).await
    }

    /// Ends it; what it has to complain of is an error here, too.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns() {
        let flooder = Flooder {
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
    fn only_a_refusal_in_json_is_an_answer() {
        let answer = |status, is_json, body: &str| Answer {
            status,
            is_json,
            closes: false,
            body: body.into(),
        };
        check(&answer(403, true, r#"{"code":-1}"#)).unwrap();
        for wrong in [
            answer(204, true, r#"{"code":-1}"#),
            answer(403, false, r#"{"code":-1}"#),
            answer(403, true, ""),
            answer(503, true, "{}"),
        ] {
            check(&wrong).unwrap_err();
        }
    }
}
