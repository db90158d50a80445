//! A minimal client on one stream of bytes, over TCP or TLS.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    Arrived, ClientProtocol, ClientReceiver, ClientSender, HandshakeReply, JOIN, MinimalClient,
    OnMessage, Received, WriteBuffer,
};

/// Room in the read buffer of a client under load.
const READ_BUFFER: usize = 64 * 1024;

/// The same of a client that receives next to nothing.
const IDLE_READ_BUFFER: usize = 4 * 1024;

/// The longest line before TLS.
const MAX_LINE: usize = 16 * 1024;

/// Connects clients to one server.
#[derive(Clone)]
pub struct StreamDialer {
    address: SocketAddr,
    name: ServerName<'static>,
    /// `None` for plaintext.
    tls: Option<TlsConnector>,
    /// The server sends a line before TLS begins.
    after_a_line: bool,
    read_buffer: usize,
}

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

impl StreamDialer {
    /// To this address, over TLS if there is a configuration, with this name in the certificate.
    pub fn new(
        address: SocketAddr,
        name: ServerName<'static>,
        tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
    ) -> Self {
        Self {
            address,
            name,
            tls: tls.map(TlsConnector::from),
            after_a_line: false,
            read_buffer: READ_BUFFER,
        }
    }

    /// With small buffers, for clients of which there are thousands.
    pub fn idle(self) -> Self {
        Self { read_buffer: IDLE_READ_BUFFER, ..self }
    }

    /// To a server that sends a line in plaintext before TLS begins.
    pub fn after_a_line(self) -> Self {
        Self { after_a_line: true, ..self }
    }

    /// Connects and joins.
    pub async fn join(&self, protocol: Box<dyn ClientProtocol>) -> anyhow::Result<MinimalClient> {
        join_within(self.connect(), protocol, self.read_buffer).await
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn ByteStream>> {
        let mut stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("cannot connect to {} over TCP", self.address))?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let mut line = Vec::new();
        while self.after_a_line && !line.ends_with(b"\n") {
            // The server sends nothing more until TLS begins.
            let count = stream.read_buf(&mut line).await?;
            ensure!(count > 0 && line.len() < MAX_LINE, "the server does not send its first line");
        }
        let stream = tls.connect(self.name.clone(), stream).await;
        Ok(Box::new(stream.context("the TLS handshake failed")?))
    }
}

/// Joins on a stream that is still connecting.
pub async fn join(
    stream: impl Future<Output = anyhow::Result<Box<dyn ByteStream>>>,
    protocol: Box<dyn ClientProtocol>,
) -> anyhow::Result<MinimalClient> {
    join_within(stream, protocol, READ_BUFFER).await
}

async fn join_within(
    stream: impl Future<Output = anyhow::Result<Box<dyn ByteStream>>>,
    protocol: Box<dyn ClientProtocol>,
    read_buffer: usize,
) -> anyhow::Result<MinimalClient> {
    timeout(JOIN, async { joined(stream.await?, protocol, read_buffer).await })
        .await
        .with_context(|| format!("a client could not join within {JOIN:?}"))?
}

async fn joined(
    mut stream: Box<dyn ByteStream>,
    mut protocol: Box<dyn ClientProtocol>,
    read_buffer: usize,
) -> anyhow::Result<MinimalClient> {
    stream.write_all(&protocol.opening()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    loop {
        match protocol.join(&bytes)? {
            HandshakeReply::Incomplete => {
                if stream.read_buf(&mut bytes).await? == 0 {
                    bail!("the server closed the connection of a joining client");
                }
            }
            HandshakeReply::Continue(done, answer) => {
                bytes.drain(..done);
                stream.write_all(&answer).await?;
                stream.flush().await?;
            }
            HandshakeReply::Joined(done, rest) => {
                bytes.drain(..done);
                stream.write_all(&rest).await?;
                stream.flush().await?;
                break;
            }
        }
    }
    let protocol: Arc<dyn ClientProtocol> = Arc::from(protocol);
    let (reading, writing) = tokio::io::split(stream);
    let buffer = WriteBuffer::new(writing);
    let encoding = protocol.clone();
    let sender = ClientSender {
        address: protocol.address(),
        encode: Arc::new(move |to, data, out| encoding.encode(to, data, out)),
        buffer: buffer.clone(),
    };
    let ticket = protocol.ticket();
    bytes.reserve(read_buffer);
    let receiver = ClientReceiver::Stream(StreamReceiver { reading, bytes, protocol, buffer });
    Ok(MinimalClient { sender, receiver, ticket })
}

/// The receiving half.
pub struct StreamReceiver {
    reading: ReadHalf<Box<dyn ByteStream>>,
    bytes: Vec<u8>,
    protocol: Arc<dyn ClientProtocol>,
    buffer: WriteBuffer,
}

impl StreamReceiver {
    pub(super) async fn run(mut self, on_message: &OnMessage) -> anyhow::Result<()> {
        loop {
            let mut done = 0;
            while let Some(rest @ [_, ..]) = self.bytes.get(done..) {
                match self.protocol.decode(rest)? {
                    Received::Incomplete => break,
                    Received::Ignored(count) => done += count,
                    Received::Signal(count, data) => {
                        done += count;
                        on_message(Arrived::Signal(&data))?;
                    }
                    Received::Confirmed(count, data, reply) => {
                        done += count;
                        on_message(Arrived::Signal(&data))?;
                        self.buffer.write(|pending| pending.extend(reply))?;
                    }
                    Received::Refused(count, why) => {
                        done += count;
                        on_message(Arrived::Refused(&why))?;
                    }
                    Received::Reply(count, reply) => {
                        done += count;
                        self.buffer.write(|pending| pending.extend(reply))?;
                    }
                }
            }
            self.bytes.drain(..done);
            if self.reading.read_buf(&mut self.bytes).await? == 0 {
                return Ok(());
            }
        }
    }
}
