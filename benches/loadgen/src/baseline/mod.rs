//! Baselines: echoes without a relay, the least that a signal can cost on this machine.
//!
//! Client, metronome and payload are the same as in every measurement, and the echo is a process of
//! its own. A signal between two clients takes two hops and the turns of three processes; an echo
//! takes two hops as well, but saves the second client. The difference between an echo over TLS and
//! a signal over WebSocket is the cost of relaying.

mod echo;

use std::{net::SocketAddr, process::Stdio, sync::Arc};

use anyhow::Context as _;
use clap::ValueEnum;
use rustls_pki_types::ServerName;
use tokio_rustls::rustls::ClientConfig;

pub use echo::EchoWorker;

use crate::{
    client::{
        echo::{EchoProtocol, EchoTarget},
        stream::StreamDialer,
    },
    process::{Process, ProcessDir},
    target::Target,
};

/// The ALPN of an echo over QUIC.
const ALPN: &[u8] = b"echo";

/// The carrier of an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BaselineKind {
    /// UDP datagrams.
    Udp,
    /// A stream in plaintext.
    Tcp,
    /// A stream over TLS.
    Tls,
    /// A stream of QUIC, by quinn with its defaults.
    Quic,
}

impl BaselineKind {
    /// All.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Quic];

    /// For tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Udp => "baseline: UDP echo",
            Self::Tcp => "baseline: TCP echo",
            Self::Tls => "baseline: TLS echo",
            Self::Quic => "baseline: quinn echo on a stream",
        }
    }

    /// Starts an echo: this program with a hidden command.
    pub async fn start(self, directory: &ProcessDir<'_>) -> anyhow::Result<RunningBaseline> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let (certificate, key) = directory.certificate();
        let mut command = directory.command(program);
        command.arg("echo-worker").arg("--over").arg(self.name());
        command.arg("--certificate").arg(certificate).arg("--key").arg(key).stdout(Stdio::piped());
        let mut process = directory.spawn("the echo", &mut command)?;
        let line = process.first_line().await?;
        let address = line.trim().parse();
        let address = address.with_context(|| format!("the echo printed {line:?}"))?;
        Ok(RunningBaseline { baseline: self, process, address, tls: directory.tls()? })
    }

    /// On the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A running echo. Dropping it ends it.
pub struct RunningBaseline {
    baseline: BaselineKind,
    process: Process,
    address: SocketAddr,
    tls: ClientConfig,
}

impl RunningBaseline {
    /// A target for one client.
    pub fn target(&self) -> Target {
        let (address, mut tls) = (self.address, self.tls.clone());
        let dialer = |tls: Option<ClientConfig>| {
            StreamDialer::new(address, ServerName::from(address.ip()), tls.map(Arc::new))
        };
        let dialer = match self.baseline {
            BaselineKind::Udp => return Target::Echo(EchoTarget::Udp(address)),
            BaselineKind::Quic => {
                tls.alpn_protocols = vec![ALPN.to_vec()];
                return Target::Echo(EchoTarget::Quic(address, Box::new(tls)));
            }
            BaselineKind::Tcp => dialer(None),
            BaselineKind::Tls => dialer(Some(tls)),
        };
        Target::Stream { dialer, protocols: Box::new(|_| Box::new(EchoProtocol)) }
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it.
    pub fn stop(self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use tokio::sync::mpsc;

    use super::*;
    use crate::{client::Arrived, payload};

    /// Sends twice to an echo in this process, and receives both.
    async fn check(baseline: BaselineKind) {
        let dir = tempfile::tempdir().unwrap();
        let directory =
            ProcessDir::new(dir.path().join("echo"), &dir.path().join("dev"), None).unwrap();
        let (certificate, key) = directory.certificate();
        let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
        let (address, serving) =
            EchoWorker { over: baseline, certificate, key }.bind().await.unwrap();
        tokio::spawn(serving);
        // The echo has no process, so any other will do.
        let log = dir.path().join("log");
        let mut command = std::process::Command::new("cat");
        let process = Process::spawn("cat", command.stdout(Stdio::null()), log).unwrap();
        let running = RunningBaseline { baseline, process, address, tls: directory.tls().unwrap() };
        let client = running.target().join(0).await.unwrap();
        let (heard, mut hearing) = mpsc::channel(16);
        let on_message =
            Arc::new(move |message: Arrived<'_>| Ok(heard.try_send(message.signal()?.to_owned())?));
        tokio::spawn(client.receiver.run(on_message));
        let data = [payload::encode(1), payload::encode(2)];
        for data in &data {
            client.sender.send(None, data).unwrap();
        }
        for data in data {
            let next = tokio::time::timeout(Duration::from_secs(60), hearing.recv()).await;
            assert_eq!(next.unwrap(), Some(data));
        }
    }

    #[tokio::test]
    async fn udp() {
        check(BaselineKind::Udp).await;
    }

    #[tokio::test]
    async fn tcp() {
        check(BaselineKind::Tcp).await;
    }

    #[tokio::test]
    async fn tls() {
        check(BaselineKind::Tls).await;
    }

    #[tokio::test]
    async fn quic() {
        check(BaselineKind::Quic).await;
    }
}
