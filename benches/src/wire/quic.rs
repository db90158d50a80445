//! A client of Signalbox over QUIC.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use quinn::{
    Endpoint, EndpointConfig, RecvStream, TokioRuntime, TransportConfig,
    crypto::rustls::QuicClientConfig,
};
use signalbox_protocol::{
    ALPN, ClientStream, CloseReason, GatewayMessage, GatewayStream, SenderMessage, Streams, binary,
    frame, frame::FrameBuffer, limits::GATEWAY_FRAME_BYTES,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::{
    Address, Client, Ear, Outgoing, Speaker,
    signalbox::{data_of, hello, signal},
};

/// How long a client may take until it has joined.
const JOIN: Duration = Duration::from_secs(20);

/// As the SDK's.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SENDER_STREAMS: u32 = 128;
const INITIAL_RTT: Duration = Duration::from_millis(100);
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;

/// Sockets of a dialer. Its clients take them in turn. Had they all the same one, the gateway could
/// send for many at once, as it cannot where clients are not on one machine; with one each, the
/// sockets would cost the generator as much as the signals.
const SOCKETS: usize = 16;

/// Connects to one gateway.
pub(crate) struct Dialer {
    endpoints: Vec<Endpoint>,
    next: AtomicUsize,
    config: quinn::ClientConfig,
    address: SocketAddr,
    name: String,
    streams: Streams,
}

impl Dialer {
    /// To this address, with this name in the certificate.
    pub(crate) fn new(
        address: SocketAddr,
        name: &str,
        mut tls: tokio_rustls::rustls::ClientConfig,
        streams: Streams,
    ) -> anyhow::Result<Self> {
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicClientConfig::try_from(tls)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(streams)));
        let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let unspecified = unspecified.parse()?;
        let endpoint = || {
            let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
            anyhow::Ok(Endpoint::new(config, None, socket(unspecified)?, runtime)?)
        };
        let endpoints = (0..SOCKETS).map(|_| endpoint()).collect::<Result<_, _>>()?;
        let next = AtomicUsize::new(0);
        Ok(Self { endpoints, next, config, address, name: name.to_owned(), streams })
    }

    /// Connects and joins the session of a token.
    pub(crate) async fn join(&self, token: &str) -> anyhow::Result<Client> {
        timeout(JOIN, self.joined(token))
            .await
            .with_context(|| format!("a client could not join within {JOIN:?}"))?
    }

    async fn joined(&self, token: &str) -> anyhow::Result<Client> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % SOCKETS;
        let endpoint = self.endpoints.get(turn).context("a dialer without sockets")?;
        let connecting = endpoint.connect_with(self.config.clone(), self.address, &self.name)?;
        let connection = connecting
            .await
            .with_context(|| format!("cannot connect to {} over QUIC", self.address))?;
        let (mut control, reading) = connection.open_bi().await?;
        control.write_all(&frame::encode(&hello(token, self.streams))).await?;
        let mut frames = Frames { stream: reading, buffer: FrameBuffer::new(GATEWAY_FRAME_BYTES) };
        let own = loop {
            let message = frames.next().await?.context("the gateway ended its stream")?;
            match binary::decode(message).context("the gateway's message is malformed")? {
                Some(GatewayMessage::Welcome(welcome)) => break welcome.connection.id,
                Some(message) => {
                    data_of(message)?;
                }
                None => {}
            }
        };
        let mut signals = connection.open_uni().await?;
        signals.write_all(&frame::encode(&ClientStream::Signals {})).await?;
        let speaker = Speaker {
            address: Address::Connection(own),
            say: Arc::new(|to, data, out| frame::encode_to(&signal(to, data), out)),
            outgoing: Outgoing::new(signals),
        };
        let listener = Listener { connection, control: frames, _said: control };
        Ok(Client { speaker, listener: super::Listener::Quic(listener) })
    }
}

/// It must not lose what comes in while the thread is busy.
pub(crate) fn socket(local: SocketAddr) -> anyhow::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    // The system may grant less, which costs only retransmissions.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn transport(streams: Streams) -> TransportConfig {
    let senders = if streams == Streams::PerSender { SENDER_STREAMS } else { 0 };
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(senders.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT);
    transport
}

/// The half that hears. Dropping it is a goodbye.
pub(crate) struct Listener {
    connection: quinn::Connection,
    control: Frames,
    /// Ending it would be a goodbye.
    _said: quinn::SendStream,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.connection.close(CloseReason::ClientDisconnected.quic_code().into(), b"");
    }
}

impl Listener {
    pub(super) async fn run(mut self, ear: Ear) -> anyhow::Result<()> {
        let mut senders = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = self.connection.accept_uni() => senders.push(hear(stream?, ear.clone())),
                Some(ended) = senders.next() => ended?,
                message = self.control.next() => {
                    let Some(message) = message? else { bail!("the gateway ended its stream") };
                    let message = binary::decode(message).context("a malformed message")?;
                    if let Some(Some(data)) = message.map(data_of).transpose()? {
                        ear(&data);
                    }
                }
            }
        }
    }
}

/// Hears one sender.
async fn hear(stream: RecvStream, ear: Ear) -> anyhow::Result<()> {
    let mut frames = Frames { stream, buffer: FrameBuffer::new(GATEWAY_FRAME_BYTES) };
    let header = frames.next().await?.context("a stream without a header")?;
    let _: Option<GatewayStream> = binary::decode(header).context("a malformed header")?;
    while let Some(message) = frames.next().await? {
        match binary::decode(message).context("a malformed signal")? {
            Some(SenderMessage::Signal(signal)) => {
                let data = signal.data.context("a signal without data, which nobody sent")?;
                ear(&data);
            }
            None => bail!("a message that is no signal on a sender's stream"),
        }
    }
    Ok(())
}

/// The frames of one stream.
struct Frames {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl Frames {
    /// The next message; none at the end. May be dropped at its await.
    async fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        while !self.buffer.is_ready() {
            match self.stream.read_chunk(CHUNK, true).await? {
                Some(chunk) => self.buffer.push(&chunk.bytes),
                None => return Ok(None),
            }
        }
        Ok(self.buffer.next_frame()?)
    }
}
