//! A client on one stream of bytes, over TCP or TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Client, Ear, Heard, Joining, Outgoing, READ, Speaker, Speech};

/// How long a client may take until it has joined.
const JOIN: Duration = Duration::from_secs(20);

/// What a server must do to be connected to.
#[derive(Clone)]
pub(crate) struct Dialer {
    address: SocketAddr,
    name: ServerName<'static>,
    /// None for plaintext.
    tls: Option<TlsConnector>,
    /// The server says a line before TLS begins.
    after_a_line: bool,
}

/// The longest line before TLS.
const MAX_LINE: usize = 16 * 1024;

/// What carries bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Dialer {
    /// To this address, over TLS if there is a configuration, with this name in the certificate.
    pub(crate) fn new(
        address: SocketAddr,
        name: ServerName<'static>,
        tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
    ) -> Self {
        Self { address, name, tls: tls.map(TlsConnector::from), after_a_line: false }
    }

    /// The same to a server that says a line in plaintext before TLS begins.
    pub(crate) fn after_a_line(self) -> Self {
        Self { after_a_line: true, ..self }
    }

    /// Connects and joins.
    ///
    /// # Errors
    /// If the server cannot be reached, does not want the client, or takes too long.
    pub(crate) async fn join(&self, speech: Box<dyn Speech>) -> anyhow::Result<Client> {
        join(self.connect(), speech).await
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let mut stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("cannot connect to {} over TCP", self.address))?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let mut line = Vec::new();
        while self.after_a_line && !line.ends_with(b"\n") {
            // Nothing comes after the line until we begin with TLS.
            let count = stream.read_buf(&mut line).await?;
            ensure!(count > 0 && line.len() < MAX_LINE, "the server does not say its first line");
        }
        let stream = tls.connect(self.name.clone(), stream).await;
        Ok(Box::new(stream.context("the TLS handshake failed")?))
    }
}

/// Joins on a stream that is being connected.
///
/// # Errors
/// As [`Dialer::join`].
pub(crate) async fn join(
    stream: impl Future<Output = anyhow::Result<Box<dyn Stream>>>,
    speech: Box<dyn Speech>,
) -> anyhow::Result<Client> {
    timeout(JOIN, async { joined(stream.await?, speech).await })
        .await
        .with_context(|| format!("a client could not join within {JOIN:?}"))?
}

async fn joined(
    mut stream: Box<dyn Stream>,
    mut speech: Box<dyn Speech>,
) -> anyhow::Result<Client> {
    stream.write_all(&speech.greeting()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    loop {
        match speech.join(&bytes)? {
            Joining::Incomplete => {
                if stream.read_buf(&mut bytes).await? == 0 {
                    bail!("the server hung up on a client that wanted to join");
                }
            }
            Joining::Continue(done, answer) => {
                bytes.drain(..done);
                stream.write_all(&answer).await?;
                stream.flush().await?;
            }
            Joining::Joined(done) => {
                bytes.drain(..done);
                break;
            }
        }
    }
    let speech: Arc<dyn Speech> = Arc::from(speech);
    let (reading, writing) = tokio::io::split(stream);
    let outgoing = Outgoing::new(writing);
    let saying = speech.clone();
    let speaker = Speaker {
        address: speech.address(),
        say: Arc::new(move |to, data, out| saying.say(to, data, out)),
        outgoing: outgoing.clone(),
    };
    let listener = Listener { reading, bytes, speech, outgoing };
    Ok(Client { speaker, listener: super::Listener::Stream(listener) })
}

/// The half that hears.
pub(crate) struct Listener {
    reading: ReadHalf<Box<dyn Stream>>,
    bytes: Vec<u8>,
    speech: Arc<dyn Speech>,
    outgoing: Outgoing,
}

impl Listener {
    pub(super) async fn run(mut self, ear: &Ear) -> anyhow::Result<()> {
        self.bytes.reserve(READ);
        loop {
            let mut done = 0;
            while let Some(rest @ [_, ..]) = self.bytes.get(done..) {
                match self.speech.hear(rest)? {
                    Heard::Incomplete => break,
                    Heard::Nothing(count) => done += count,
                    Heard::Signal(count, data) => {
                        done += count;
                        ear(&data);
                    }
                    Heard::Answer(count, answer) => {
                        done += count;
                        self.outgoing.write(|pending| pending.extend(answer))?;
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
