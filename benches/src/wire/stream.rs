//! A client on one stream of bytes, over TCP or TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
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
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Dialer {
    /// To this address, over TLS if there is a configuration, with this name in the certificate.
    pub(crate) fn new(
        address: SocketAddr,
        name: ServerName<'static>,
        tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
    ) -> Self {
        Self { address, name, tls: tls.map(TlsConnector::from) }
    }

    /// Connects and joins.
    ///
    /// # Errors
    /// If the server cannot be reached, does not want the client, or takes too long.
    pub(crate) async fn join(&self, speech: Box<dyn Speech>) -> anyhow::Result<Client> {
        timeout(JOIN, self.joined(speech))
            .await
            .with_context(|| format!("a client could not join within {JOIN:?}"))?
    }

    async fn joined(&self, mut speech: Box<dyn Speech>) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("cannot connect to {} over TCP", self.address))?;
        stream.set_nodelay(true)?;
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let stream = tls.connect(self.name.clone(), stream).await;
                Box::new(stream.context("the TLS handshake failed")?)
            }
        };
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
