//! Requests and replies over a nats-server in plaintext: as many hops as a signal has from one
//! gateway to another.

use std::{net::SocketAddr, process::Stdio};

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use rustls_pki_types::ServerName;

use super::nats::{self, NatsProtocol};
use crate::{
    client::{Address, ClientProtocol, HandshakeReply, Received, stream::StreamDialer},
    output::line,
    process::{Process, ProcessDir},
    target::Target,
};

/// The subject of requests.
const SUBJECT: &str = "request";

/// A running nats-server, and a process that replies. Dropping it ends it.
pub struct NatsRequests {
    responder: Process,
    nats: Process,
    address: SocketAddr,
}

impl NatsRequests {
    /// For tables.
    pub fn title() -> anyhow::Result<String> {
        Ok(format!("nats-server {}: request and reply, plaintext", nats::version()?))
    }

    /// Starts both, and waits until the responder has subscribed.
    pub async fn start(directory: &ProcessDir<'_>) -> anyhow::Result<Self> {
        let (nats, address) = nats::start_plain(directory).await?;
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = directory.command(program);
        command.args(["responder-worker", "--nats", &address.to_string()]).stdout(Stdio::piped());
        let log = directory.path().join("responder.log");
        let mut responder = Process::spawn("the responder", &mut command, log)?;
        let ready = responder.first_line().await?;
        ensure!(ready.trim() == SUBJECT, "the responder printed {ready:?}");
        Ok(Self { responder, nats, address })
    }

    /// A target for one client, which receives a reply to each of its signals.
    pub fn target(&self) -> Target {
        let dialer = StreamDialer::new(self.address, ServerName::from(self.address.ip()), None);
        let protocols = |number| -> Box<dyn ClientProtocol> {
            Box::new(RequestProtocol { nats: NatsProtocol::new(number), number })
        };
        Target::Stream { dialer, protocols: Box::new(protocols) }
    }

    /// The processes: the responder, and then the nats-server.
    pub fn processes(&self) -> Vec<&Process> {
        vec![&self.responder, &self.nats]
    }

    /// Kills them.
    pub fn stop(self) -> anyhow::Result<()> {
        self.responder.kill()?;
        self.nats.kill()
    }
}

/// A client that sends requests with its own subject for the replies.
struct RequestProtocol {
    nats: NatsProtocol,
    number: u32,
}

impl ClientProtocol for RequestProtocol {
    fn opening(&mut self) -> Vec<u8> {
        self.nats.opening()
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        self.nats.join(bytes)
    }

    fn address(&self) -> Address {
        self.nats.address()
    }

    fn encode(&self, _: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let (number, length) = (self.number, data.len());
        out.extend(format!("PUB {SUBJECT} one.{number} {length}\r\n{data}\r\n").into_bytes());
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        self.nats.decode(bytes)
    }
}

/// The hidden command of the responder.
#[derive(Debug, Clone, clap::Args)]
pub struct ResponderWorker {
    /// The address of the nats-server.
    #[arg(long)]
    nats: SocketAddr,
}

impl ResponderWorker {
    /// Replies with the data of each request until it is killed.
    pub async fn run(&self) -> anyhow::Result<()> {
        let client = async_nats::connect(format!("nats://{}", self.nats)).await;
        let client = client.context("cannot connect to the nats-server")?;
        let mut requests = client.subscribe(SUBJECT).await?;
        client.flush().await?;
        line(SUBJECT)?;
        while let Some(request) = requests.next().await {
            let reply = request.reply.context("a request without a subject for the reply")?;
            client.publish(reply, request.payload).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_subject_of_the_reply() {
        let (protocol, mut out) =
            (RequestProtocol { nats: NatsProtocol::new(3), number: 3 }, Vec::new());
        protocol.encode(None, "hello", &mut out);
        assert_eq!(out, b"PUB request one.3 5\r\nhello\r\n");
    }
}
