//! What is measured side by side: Signalbox by every transport, running here or elsewhere, other
//! systems, and echoes without a relay.

use std::{fs, path::PathBuf, str::FromStr};

use anyhow::{Context as _, ensure};
use serde::{Serialize, Serializer};
use signalbox_netem::namespace::Network;

use crate::{
    floors::{Floor, RunningFloor},
    gateway::{Gateway, Launcher},
    peers::{Kind, Peer, RunningPeer},
    process::Process,
    room::Room,
    transport::Transport,
};

/// A system and a way to be connected to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// A gateway that is started for the measurement.
    Signalbox(Transport),
    /// A gateway that runs already.
    Target(Target),
    /// Another system, started for the measurement.
    Peer(Peer),
    /// An echo, which has one client.
    Floor(Floor),
}

impl System {
    /// For tables.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Signalbox(transport) => transport.title().to_owned(),
            Self::Target(target) => target.url(),
            Self::Peer(peer) => peer.title(),
            Self::Floor(floor) => floor.title().to_owned(),
        }
    }

    /// Clients that it has, where a room of others would have so many.
    pub(crate) fn connections(&self, connections: usize) -> usize {
        if matches!(self, Self::Floor(_)) { 1 } else { connections }
    }

    /// Starts it, with clients on the emulated network if there is one.
    pub(crate) async fn start(
        &self,
        launcher: &Launcher,
        emulation: Option<&Network>,
    ) -> anyhow::Result<Running> {
        match self {
            Self::Signalbox(transport) => {
                let plaintext = [("SIGNALBOX_TLS__PLAINTEXT_TCP", "true")];
                let settings = if transport.is_encrypted() { &[][..] } else { &plaintext[..] };
                let gateway = launcher.start_in(emulation, settings).await?;
                Ok(Running::Gateway(Box::new(gateway), *transport))
            }
            Self::Target(target) => {
                ensure!(emulation.is_none(), "a --target cannot be behind an emulated link");
                Ok(Running::Target(target.clone()))
            }
            Self::Peer(peer) => {
                Ok(Running::Peer(Box::new(peer.start(&launcher.place(emulation)?).await?)))
            }
            Self::Floor(floor) => {
                Ok(Running::Floor(Box::new(floor.start(&launcher.place(emulation)?).await?)))
            }
        }
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Signalbox(transport) => transport.serialize(serializer),
            Self::Target(_) | Self::Peer(_) | Self::Floor(_) => {
                serializer.serialize_str(&self.title())
            }
        }
    }
}

/// A system that runs.
pub(crate) enum Running {
    Gateway(Box<Gateway>, Transport),
    Target(Target),
    Peer(Box<RunningPeer>),
    Floor(Box<RunningFloor>),
}

impl Running {
    /// A new place to meet; at a target, the session of its token.
    pub(crate) async fn room(&self) -> anyhow::Result<Room> {
        match self {
            Self::Gateway(gateway, transport) => gateway.room(*transport),
            Self::Target(target) => target.room().await,
            Self::Peer(peer) => Ok(peer.room()),
            Self::Floor(floor) => Ok(floor.room()),
        }
    }

    /// Its process, if it is ours.
    pub(crate) fn process(&self) -> Option<&Process> {
        match self {
            Self::Gateway(gateway, _) => Some(gateway.process()),
            Self::Target(_) => None,
            Self::Peer(peer) => Some(peer.process()),
            Self::Floor(floor) => Some(floor.process()),
        }
    }

    /// Ends it, if it is ours.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Gateway(gateway, _) => gateway.stop().await,
            Self::Target(_) => Ok(()),
            Self::Peer(peer) => peer.stop(),
            Self::Floor(floor) => floor.stop(),
        }
    }
}

/// Which systems to set side by side.
#[derive(Debug, Clone, clap::Args)]
pub struct Systems {
    /// Transports of a gateway that is started for each measurement.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,wss",
        conflicts_with = "target"
    )]
    pub transport: Vec<Transport>,
    /// Measure a gateway that runs already, instead: quic://, wss:// or ws://HOST:PORT. May be
    /// given several times.
    #[arg(long, value_name = "URL", requires = "token")]
    pub target: Vec<String>,
    /// Opens the session at the target in which the clients meet: a publisher's or a moderator's.
    #[arg(long, value_name = "TOKEN", env = "SIGNALBOX_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The authority that signed the target's certificate (PEM). [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "target")]
    pub ca: Option<PathBuf>,
    /// Measure these other systems, too, which must be installed: each is started for each
    /// measurement, near its defaults, over TLS.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub against: Vec<Kind>,
}

impl Systems {
    /// All of them.
    ///
    /// # Errors
    /// If a URL is none of ours, or another system is not installed.
    pub(crate) fn all(&self) -> anyhow::Result<Vec<System>> {
        let peers = self.against.iter().map(|kind| Ok(System::Peer(Peer::find(*kind)?)));
        let mut all = self.signalbox()?;
        all.extend(peers.collect::<anyhow::Result<Vec<_>>>()?);
        Ok(all)
    }

    /// What is measured instead of a gateway of our own, if anything is.
    pub fn elsewhere(&self) -> Option<String> {
        (!self.target.is_empty()).then(|| format!("a gateway at {}", self.target.join(", ")))
    }

    fn signalbox(&self) -> anyhow::Result<Vec<System>> {
        if self.target.is_empty() {
            return Ok(self.transport.iter().copied().map(System::Signalbox).collect());
        }
        let token = self.token.as_deref().context("a --target needs a --token")?;
        let target = |url: &String| {
            let Url { transport, host } = url.parse()?;
            let (token, ca) = (token.to_owned(), self.ca.clone());
            Ok(System::Target(Target { transport, host, token, ca }))
        };
        self.target.iter().map(target).collect()
    }
}

/// A gateway that runs already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    transport: Transport,
    /// With its port.
    host: String,
    token: String,
    ca: Option<PathBuf>,
}

impl Target {
    fn url(&self) -> String {
        format!("{}://{}", self.transport.scheme(), self.host)
    }

    async fn room(&self) -> anyhow::Result<Room> {
        let Self { transport, host, token, ca } = self;
        let mut addresses = tokio::net::lookup_host(host.as_str())
            .await
            .with_context(|| format!("there is no address for {host}"))?;
        let address =
            addresses.next().with_context(|| format!("there is no address for {host}"))?;
        let roots = match ca {
            Some(ca) => {
                let pem = fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
                signalbox_certs::roots_from_pem(&pem)?
            }
            None => signalbox_certs::native_roots().store,
        };
        Room::signalbox(*transport, address, host, roots, token.clone())
    }
}

/// What a URL says.
struct Url {
    transport: Transport,
    host: String,
}

impl FromStr for Url {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{url:?} is no quic://, wss:// or ws://HOST:PORT");
        let (scheme, host) = url.split_once("://").with_context(wrong)?;
        let transport = match scheme {
            "quic" => Transport::Quic,
            "wss" => Transport::Wss,
            "ws" => Transport::Ws,
            _ => return Err(anyhow::anyhow!(wrong())),
        };
        let host = host.trim_end_matches('/').to_owned();
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        port.with_context(wrong)?;
        Ok(Self { transport, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_transport_a_host_and_a_port() {
        for (url, transport, host) in [
            ("quic://localhost:1/", Transport::Quic, "localhost:1"),
            ("wss://[::1]:8443", Transport::Wss, "[::1]:8443"),
            ("ws://example.com:80", Transport::Ws, "example.com:80"),
        ] {
            let parsed: Url = url.parse().unwrap();
            assert_eq!((parsed.transport, parsed.host.as_str()), (transport, host));
        }
        for url in ["localhost:1", "http://localhost:1", "quic://localhost", "wss://host:port"] {
            let error = url.parse::<Url>().err().unwrap().to_string();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }
}
