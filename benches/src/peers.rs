//! Other systems that carry messages from one to many, set beside Signalbox in the same run.
//!
//! The benchmark starts each of them itself, in a process of its own, near its defaults, with TLS
//! and a certificate of the same made-up authority. What differs from its defaults, and why, is
//! said where it is started. Each has a room: a topic to which all clients subscribe, the sender
//! included, and beside it one topic for each client alone.
//!
//! ```text
//! nats        nats-server, its text protocol
//! mosquitto   mosquitto, MQTT 3.1.1 with QoS 0
//! node        what runs on node: its modules, and our scripts in benches/peers
//! socket_io   Socket.IO 4 on its WebSocket transport
//! plain       uWebSockets.js and ws: WebSockets without a protocol on them
//! ```

mod mosquitto;
mod nats;
mod node;
mod plain;
mod socket_io;
#[cfg(test)]
mod tests;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    process::{Command, Output},
};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;

use crate::{
    place::Place,
    process::Process,
    room::Room,
    wire::{Speech, stream::Dialer},
};

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
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

/// A system that is installed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    kind: Kind,
    version: String,
}

impl Peer {
    /// Looks for it.
    ///
    /// # Errors
    /// If it is not installed; says how to install it.
    pub(crate) fn find(kind: Kind) -> anyhow::Result<Self> {
        let version = match kind {
            Kind::Nats => nats::version(),
            Kind::Mosquitto => mosquitto::version(),
            Kind::SocketIo => node::SOCKET_IO.version(),
            Kind::Uws => node::UWS.version(),
            Kind::Ws => node::WS.version(),
        };
        Ok(Self { kind, version: version? })
    }

    /// For tables.
    pub(crate) fn title(&self) -> String {
        let name = match self.kind {
            Kind::Nats => "nats-server",
            Kind::Mosquitto => "mosquitto",
            Kind::SocketIo => node::SOCKET_IO.name,
            Kind::Uws => node::UWS.name,
            Kind::Ws => node::WS.name,
        };
        format!("{name} {}, TLS", self.version)
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&self, place: &Place<'_>) -> anyhow::Result<RunningPeer> {
        let (process, address) = match self.kind {
            Kind::Nats => nats::start(place).await,
            Kind::Mosquitto => mosquitto::start(place).await,
            Kind::SocketIo => node::SOCKET_IO.start(place).await,
            Kind::Uws => node::UWS.start(place).await,
            Kind::Ws => node::WS.start(place).await,
        }?;
        let mut dialer = place.dialer(address)?;
        if self.kind == Kind::Nats {
            dialer = dialer.after_a_line();
        }
        Ok(RunningPeer { kind: self.kind, process, address, dialer })
    }
}

/// A running system. Dropping it ends it.
pub(crate) struct RunningPeer {
    kind: Kind,
    process: Process,
    address: SocketAddr,
    dialer: Dialer,
}

impl RunningPeer {
    /// Its room. It has one; each measurement has a process of its own.
    pub(crate) fn room(&self) -> Room {
        let (kind, host) = (self.kind, self.address.to_string());
        let speeches = move |number| -> Box<dyn Speech> {
            match kind {
                Kind::Nats => Box::new(nats::NatsSpeech::new(number)),
                Kind::Mosquitto => Box::new(mosquitto::MqttSpeech::new(number)),
                Kind::SocketIo => Box::new(socket_io::SocketIoSpeech::new(&host, number)),
                Kind::Uws | Kind::Ws => Box::new(plain::PlainSpeech::new(&host, number)),
            }
        };
        Room::Stream { dialer: self.dialer.clone(), speeches: Box::new(speeches) }
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it without notice: unlike a gateway, it has nobody to say goodbye to.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

/// Runs a program that Debian puts where only root looks for it.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<(String, Output)> {
    for path in [program.to_owned(), format!("/usr/sbin/{program}")] {
        match Command::new(&path).args(arguments).output() {
            Ok(output) => return Ok((path, output)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot run {program}")),
        }
    }
    Err(anyhow!("there is no {program}"))
}
