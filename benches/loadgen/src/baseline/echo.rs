//! The worker process that sends everything back.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};

use anyhow::Context as _;
use quinn::{Endpoint, ServerConfig, crypto::rustls::QuicServerConfig};
use signalbox_certs::Certificates;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_rustls::TlsAcceptor;

use super::{ALPN, BaselineKind};
use crate::{client::stream::ByteStream, output::line};

/// Any port of the loopback.
const ANY: &str = "127.0.0.1:0";

/// Bytes sent back at a time.
const CHUNK: usize = 16 * 1024;

/// Serves until an error.
type Serving = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// The worker's hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct EchoWorker {
    /// The carrier.
    #[arg(long)]
    pub(crate) over: BaselineKind,
    /// Its certificate (PEM).
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    /// The certificate's key.
    #[arg(long)]
    pub(crate) key: PathBuf,
}

impl EchoWorker {
    /// Prints its address, and sends everything back until it is killed.
    pub async fn run(&self) -> anyhow::Result<()> {
        let (address, serving) = self.bind().await?;
        line(address)?;
        serving.await
    }

    /// Listens.
    pub(crate) async fn bind(&self) -> anyhow::Result<(SocketAddr, Serving)> {
        let certificates = Certificates::load(self.certificate.clone(), self.key.clone())?;
        match self.over {
            BaselineKind::Udp => {
                let socket = UdpSocket::bind(ANY).await?;
                Ok((socket.local_addr()?, Box::pin(datagrams(socket))))
            }
            BaselineKind::Tcp => {
                let listener = TcpListener::bind(ANY).await?;
                Ok((listener.local_addr()?, Box::pin(streams(listener, None))))
            }
            BaselineKind::Tls => {
                let tls = TlsAcceptor::from(Arc::new(signalbox_certs::tcp_server(&certificates)));
                let listener = TcpListener::bind(ANY).await?;
                Ok((listener.local_addr()?, Box::pin(streams(listener, Some(tls)))))
            }
            BaselineKind::Quic => {
                let tls = signalbox_certs::quic_server(&certificates, &[ALPN]);
                let crypto = QuicServerConfig::try_from(tls)?;
                let config = ServerConfig::with_crypto(Arc::new(crypto));
                let endpoint = Endpoint::server(config, ANY.parse()?)?;
                Ok((endpoint.local_addr()?, Box::pin(connections(endpoint))))
            }
        }
    }
}

async fn datagrams(socket: UdpSocket) -> anyhow::Result<()> {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(buffer.get(..count).unwrap_or_default(), from).await?;
    }
}

async fn streams(listener: TcpListener, tls: Option<TlsAcceptor>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let tls = tls.clone();
        tokio::spawn(async move { echo(encrypted(stream, tls).await?).await });
    }
}

async fn encrypted(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
) -> anyhow::Result<Box<dyn ByteStream>> {
    Ok(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.accept(stream).await?),
    })
}

async fn connections(endpoint: Endpoint) -> anyhow::Result<()> {
    loop {
        let incoming = endpoint.accept().await.context("the endpoint is closed")?;
        tokio::spawn(async move {
            let (sending, receiving) = incoming.await?.accept_bi().await?;
            echo(Box::new(tokio::io::join(receiving, sending))).await
        });
    }
}

/// Errors are reported by the client.
async fn echo(mut stream: Box<dyn ByteStream>) -> anyhow::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(buffer.get(..count).unwrap_or_default()).await?;
        stream.flush().await?;
    }
}
