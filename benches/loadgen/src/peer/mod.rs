//! Other systems that carry messages from one to many, measured in the same run as Signalbox.
//!
//! The benchmark starts each of them itself, in a process of its own, with TLS and a certificate of
//! the same generated authority. Settings differ from the defaults only where the reason is given
//! beside the start. Its target is a topic to which all clients subscribe, the sender included, and
//! one more topic for each client alone.
//!
//! ```text
//! nats        nats-server, its text protocol
//! mosquitto   mosquitto, MQTT 3.1.1 with QoS 0
//! node        systems on node: modules, and our scripts in benches/peers
//! nodes       several nodes of Socket.IO, with Redis between them
//! socket_io   Socket.IO 4 on its WebSocket transport
//! requests    requests and replies over a nats-server
//! plain       uWebSockets.js and ws: WebSockets without a protocol on them
//! ```

mod mosquitto;
pub(crate) mod nats;
mod node;
pub mod nodes;
mod plain;
pub mod requests;
mod socket_io;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    process::{Command, Output},
};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;

use crate::{
    client::{ClientProtocol, stream::StreamDialer},
    process::{Process, ProcessDir},
    target::Target,
};

/// The system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    /// nats-server.
    Nats,
    /// mosquitto, MQTT 3.1.1 with QoS 0.
    Mosquitto,
    /// Socket.IO 4 on node, WebSocket transport.
    SocketIo,
    /// uWebSockets.js, on node.
    Uws,
    /// ws on node, which writes to each client in turn.
    Ws,
}

/// An installed system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    kind: PeerKind,
    version: String,
}

impl Peer {
    /// Looks for it on this machine.
    pub fn find(kind: PeerKind) -> anyhow::Result<Self> {
        let version = match kind {
            PeerKind::Nats => nats::version(),
            PeerKind::Mosquitto => mosquitto::version(),
            PeerKind::SocketIo => node::SOCKET_IO.version(),
            PeerKind::Uws => node::UWS.version(),
            PeerKind::Ws => node::WS.version(),
        };
        Ok(Self { kind, version: version? })
    }

    /// For tables.
    pub fn title(&self) -> String {
        let name = match self.kind {
            PeerKind::Nats => "nats-server",
            PeerKind::Mosquitto => "mosquitto",
            PeerKind::SocketIo => node::SOCKET_IO.name,
            PeerKind::Uws => node::UWS.name,
            PeerKind::Ws => node::WS.name,
        };
        format!("{name} {}, TLS", self.version)
    }

    /// Starts it and waits until it listens.
    pub async fn start(&self, directory: &ProcessDir<'_>) -> anyhow::Result<RunningPeer> {
        let (process, address) = match self.kind {
            PeerKind::Nats => nats::start(directory).await,
            PeerKind::Mosquitto => mosquitto::start(directory).await,
            PeerKind::SocketIo => node::SOCKET_IO.start(directory).await,
            PeerKind::Uws => node::UWS.start(directory).await,
            PeerKind::Ws => node::WS.start(directory).await,
        }?;
        let mut dialer = directory.dialer(address)?;
        if self.kind == PeerKind::Nats {
            dialer = dialer.after_a_line();
        }
        Ok(RunningPeer { kind: self.kind, process, address, dialer })
    }
}

/// A running system. Dropping it ends it.
pub struct RunningPeer {
    kind: PeerKind,
    process: Process,
    address: SocketAddr,
    dialer: StreamDialer,
}

impl RunningPeer {
    /// Its one target: each measurement starts a process of its own.
    pub fn target(&self) -> Target {
        let (kind, host) = (self.kind, self.address.to_string());
        let protocols = move |number| -> Box<dyn ClientProtocol> {
            match kind {
                PeerKind::Nats => Box::new(nats::NatsProtocol::new(number)),
                PeerKind::Mosquitto => Box::new(mosquitto::MqttProtocol::new(number)),
                PeerKind::SocketIo => Box::new(socket_io::SocketIoProtocol::new(&host, number)),
                PeerKind::Uws | PeerKind::Ws => Box::new(plain::PlainProtocol::new(&host, number)),
            }
        };
        Target::Stream { dialer: self.dialer.clone(), protocols: Box::new(protocols) }
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it: unlike a gateway, it has no clients to say goodbye to.
    pub fn stop(self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

/// Runs a program that may be in a directory only root has in its PATH (on Debian).
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<(String, Output)> {
    for path in [program.to_owned(), format!("/usr/sbin/{program}")] {
        match Command::new(&path).args(arguments).output() {
            Ok(output) => return Ok((path, output)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot run {program}")),
        }
    }
    Err(anyhow!("{program} is not installed"))
}
