//! What this machine can do at best: one hop there and back without a relay, over each carrier.
//!
//! The same clients, metronome and payload as everywhere, and an echo in a process of its own. A
//! signal between two clients takes two hops by way of a gateway and three processes' turns; an
//! echo takes as many hops, but saves the second client. What lies between an echo over TLS and a
//! signal over WebSocket is what relaying costs.

mod echo;

use std::{
    net::SocketAddr,
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll, ready},
};

use anyhow::Context as _;
use clap::ValueEnum;
use quinn::{Endpoint, crypto::rustls::QuicClientConfig};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UdpSocket,
};
use tokio_rustls::rustls::ClientConfig;

pub use echo::Echo;

use crate::{
    payload,
    place::Place,
    process::Process,
    room::Room,
    wire::{
        Address, Client, Heard, Joining, Speech,
        stream::{self, Dialer, Stream},
    },
};

/// Of an echo over QUIC.
const ALPN: &[u8] = b"echo";

/// An echo over one carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Floor {
    /// Datagrams.
    Udp,
    /// A stream in plaintext.
    Tcp,
    /// A stream over TLS.
    Tls,
    /// A stream of QUIC, by quinn with its defaults.
    Quic,
}

impl Floor {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Quic];

    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Udp => "floor: UDP echo",
            Self::Tcp => "floor: TCP echo",
            Self::Tls => "floor: TLS echo",
            Self::Quic => "floor: quinn echo on a stream",
        }
    }

    /// Starts an echo, which is this program with a hidden command.
    pub(crate) async fn start(self, place: &Place<'_>) -> anyhow::Result<RunningFloor> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let (certificate, key) = place.certificate();
        let mut command = place.command(program);
        command.arg("echo").arg("--over").arg(self.name());
        command.arg("--certificate").arg(certificate).arg("--key").arg(key).stdout(Stdio::piped());
        let mut process = place.spawn("the echo", &mut command)?;
        let line = process.first_line().await?;
        let address = line.trim().parse();
        let address = address.with_context(|| format!("the echo said {line:?}"))?;
        Ok(RunningFloor { floor: self, process, address, tls: place.tls()? })
    }

    /// On the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A running echo. Dropping it ends it.
pub(crate) struct RunningFloor {
    floor: Floor,
    process: Process,
    address: SocketAddr,
    tls: ClientConfig,
}

impl RunningFloor {
    /// A room for one.
    pub(crate) fn room(&self) -> Room {
        let (address, mut tls) = (self.address, self.tls.clone());
        let dialer = |tls: Option<ClientConfig>| {
            Dialer::new(address, ServerName::from(address.ip()), tls.map(Arc::new))
        };
        let dialer = match self.floor {
            Floor::Udp => return Room::Floor(Echoes::Udp(address)),
            Floor::Quic => {
                tls.alpn_protocols = vec![ALPN.to_vec()];
                return Room::Floor(Echoes::Quic(address, Box::new(tls)));
            }
            Floor::Tcp => dialer(None),
            Floor::Tls => dialer(Some(tls)),
        };
        Room::Stream { dialer, speeches: Box::new(|_| Box::new(Fixed)) }
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it without notice.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

/// Ways to an echo that other systems do not take.
pub(crate) enum Echoes {
    Udp(SocketAddr),
    Quic(SocketAddr, Box<ClientConfig>),
}

impl Echoes {
    /// Connects a client.
    pub(crate) async fn join(&self) -> anyhow::Result<Client> {
        stream::join(self.connect(), Box::new(Fixed)).await
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        match self {
            Self::Udp(address) => {
                let socket = UdpSocket::bind("0.0.0.0:0").await?;
                socket.connect(address).await?;
                // Or the first one would wait until somebody tries again.
                socket.writable().await?;
                Ok(Box::new(Datagrams(socket)))
            }
            Self::Quic(address, tls) => {
                let crypto = QuicClientConfig::try_from(ClientConfig::clone(tls))?;
                let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
                endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
                let name = address.ip().to_string();
                let connection = endpoint.connect(*address, &name)?.await;
                let connection = connection.context("cannot connect to the echo over QUIC")?;
                // They keep the connection, which keeps the endpoint.
                let (said, heard) = connection.open_bi().await?;
                Ok(Box::new(tokio::io::join(heard, said)))
            }
        }
    }
}

/// Datagrams as if they were a stream: each write is one, and what is read is one.
struct Datagrams(UdpSocket);

impl AsyncRead for Datagrams {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.poll_recv(cx, buffer)
    }
}

impl AsyncWrite for Datagrams {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(ready!(self.0.poll_send(cx, bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Data and nothing else: all of it has the same length.
struct Fixed;

impl Speech for Fixed {
    fn greeting(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn join(&mut self, _: &[u8]) -> anyhow::Result<Joining> {
        Ok(Joining::Joined(0))
    }

    fn address(&self) -> Address {
        Address::Number(0)
    }

    fn say(&self, _: Option<Address>, data: &str, out: &mut Vec<u8>) {
        out.extend(data.as_bytes());
    }

    fn hear<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Heard<'a>> {
        Ok(match bytes.get(..payload::BYTES) {
            None => Heard::Incomplete,
            Some(data) => Heard::Signal(data.len(), std::str::from_utf8(data)?.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use tokio::sync::mpsc;

    use super::*;

    /// Says two things to an echo that runs in this process, and hears them.
    async fn check(floor: Floor) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("echo"), &dir.path().join("dev"), None).unwrap();
        let (certificate, key) = place.certificate();
        let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
        let (address, serving) = Echo { over: floor, certificate, key }.bind().await.unwrap();
        tokio::spawn(serving);
        // A process that is none of the echo's, as there is none.
        let log = dir.path().join("log");
        let mut command = std::process::Command::new("cat");
        let process = Process::spawn("cat", command.stdout(Stdio::null()), log).unwrap();
        let running = RunningFloor { floor, process, address, tls: place.tls().unwrap() };
        let client = running.room().join(0).await.unwrap();
        let (heard, mut hearing) = mpsc::channel(16);
        let ear = Arc::new(move |data: &str| heard.try_send(data.to_owned()).unwrap());
        tokio::spawn(client.listener.run(ear));
        let data = [payload::encode(1), payload::encode(2)];
        for data in &data {
            client.speaker.say(None, data).unwrap();
        }
        for data in data {
            let next = tokio::time::timeout(Duration::from_secs(60), hearing.recv()).await;
            assert_eq!(next.unwrap(), Some(data));
        }
    }

    #[tokio::test]
    async fn udp() {
        check(Floor::Udp).await;
    }

    #[tokio::test]
    async fn tcp() {
        check(Floor::Tcp).await;
    }

    #[tokio::test]
    async fn tls() {
        check(Floor::Tls).await;
    }

    #[tokio::test]
    async fn quic() {
        check(Floor::Quic).await;
    }

    #[test]
    fn messages_have_one_length() {
        let data = payload::encode(7);
        let bytes = [data.as_bytes(), b"0"].concat();
        assert_eq!(Fixed.hear(&bytes).unwrap(), Heard::Signal(payload::BYTES, data.into()));
        assert_eq!(Fixed.hear(&bytes[..payload::BYTES - 1]).unwrap(), Heard::Incomplete);
        Fixed.hear(&[0xff; payload::BYTES]).unwrap_err();
    }
}
