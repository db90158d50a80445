//! A minimal client of Signalbox over QUIC or WebTransport.

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
    ALPN, CONNECT_PATH, ClientStream, CloseReason, GatewayStream, SenderMessage, Streams, binary,
    frame, frame::FrameBuffer, limits::GATEWAY_FRAME_BYTES,
};
use signalbox_webtransport::{PeerStream, Session, SessionId, to_http3};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;
use url::Url;

use super::{
    Address, Arrived, ClientReceiver, ClientSender, JOIN, MinimalClient, OnMessage, WriteBuffer,
    signalbox::{Entered, Entry, heard, signal},
};

/// As the SDK's.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SENDER_STREAMS: u32 = 128;
const INITIAL_RTT: Duration = Duration::from_millis(100);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// All windows of a client that receives next to nothing.
const IDLE_WINDOW: u32 = 16 * 1024;

const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;

/// Sockets of a dialer for clients under load, which take them in turn. On one common socket the
/// gateway could batch packets for many clients at once, which it cannot when clients are on
/// different machines; with one socket each, the sockets would cost the generator as much as the
/// signals.
const SOCKETS: usize = 16;

/// The gateway's own streams in HTTP/3, as for the SDK.
const HTTP3_STREAMS: u32 = 3;

/// The protocol on a QUIC connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuicProtocol {
    /// Streams of the connection.
    Raw,
    /// The same streams in a WebTransport session.
    WebTransport,
}

impl QuicProtocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Raw => ALPN,
            Self::WebTransport => signalbox_webtransport::ALPN,
        }
    }
}

/// The purpose of a dialer's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To send and receive at a rate.
    Load(Streams),
    /// To stay connected, as one of thousands: one socket for all, small windows, keep-alives.
    /// Closing such a client is a lost network to the gateway, not a goodbye: a client that gives
    /// up on an answer and tries again has not left.
    Idle,
}

impl Purpose {
    fn streams(self) -> Streams {
        match self {
            Self::Load(streams) => streams,
            Self::Idle => Streams::Single,
        }
    }

    fn close_reason(self) -> CloseReason {
        match self {
            Self::Load(_) => CloseReason::ClientDisconnected,
            Self::Idle => CloseReason::NetworkDisconnected,
        }
    }

    fn sockets(self) -> usize {
        match self {
            Self::Load(_) => SOCKETS,
            Self::Idle => 1,
        }
    }

    fn transport(self, protocol: QuicProtocol) -> TransportConfig {
        let mut transport = TransportConfig::default();
        let senders = if self.streams() == Streams::PerSender { SENDER_STREAMS } else { 0 };
        let (own, datagrams) = match protocol {
            QuicProtocol::Raw => (0, None),
            // A server demands datagrams. There is room for a byte, and none are sent.
            QuicProtocol::WebTransport => (HTTP3_STREAMS, Some(1)),
        };
        transport
            .max_concurrent_bidi_streams(0u32.into())
            .max_concurrent_uni_streams((senders + own).into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(CONNECTION_WINDOW.into())
            .datagram_receive_buffer_size(datagrams)
            .initial_rtt(INITIAL_RTT);
        if self == Self::Idle {
            transport
                .stream_receive_window(IDLE_WINDOW.into())
                .receive_window(IDLE_WINDOW.into())
                .send_window(IDLE_WINDOW.into())
                .keep_alive_interval(Some(KEEP_ALIVE));
        }
        transport
    }
}

/// Connects clients to one gateway.
pub struct QuicDialer {
    endpoints: Vec<Endpoint>,
    next: AtomicUsize,
    config: quinn::ClientConfig,
    address: SocketAddr,
    name: String,
    protocol: QuicProtocol,
    purpose: Purpose,
}

impl QuicDialer {
    /// To this address, with this name in the certificate.
    pub fn new(
        address: SocketAddr,
        name: &str,
        mut tls: tokio_rustls::rustls::ClientConfig,
        protocol: QuicProtocol,
        purpose: Purpose,
    ) -> anyhow::Result<Self> {
        tls.alpn_protocols = vec![protocol.alpn().to_vec()];
        let crypto = QuicClientConfig::try_from(tls)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(purpose.transport(protocol)));
        let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let unspecified = unspecified.parse()?;
        let endpoint = || {
            let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
            anyhow::Ok(Endpoint::new(config, None, socket(unspecified)?, runtime)?)
        };
        let endpoints = (0..purpose.sockets()).map(|_| endpoint()).collect::<Result<_, _>>()?;
        let (next, name) = (AtomicUsize::new(0), name.to_owned());
        Ok(Self { endpoints, next, config, address, name, protocol, purpose })
    }

    /// Connects a client and enters a session.
    pub async fn join(&self, entry: &Entry) -> anyhow::Result<MinimalClient> {
        timeout(JOIN, self.connect(entry))
            .await
            .with_context(|| format!("a client could not join within {JOIN:?}"))?
    }

    async fn connect(&self, entry: &Entry) -> anyhow::Result<MinimalClient> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len().max(1);
        let endpoint = self.endpoints.get(turn).context("a dialer without sockets")?;
        let connecting = endpoint.connect_with(self.config.clone(), self.address, &self.name)?;
        let connection = connecting
            .await
            .with_context(|| format!("cannot connect to {} over QUIC", self.address))?;
        let session = match self.protocol {
            QuicProtocol::Raw => None,
            QuicProtocol::WebTransport => {
                let url = session_url(&self.name, self.address)?;
                let session = signalbox_webtransport::connect(&connection, url).await;
                Some(Box::new(session.context("cannot open a WebTransport session")?))
            }
        };
        let (control, reading) = connection.open_bi().await?;
        let frames = FrameReader { stream: reading, buffer: FrameBuffer::new(GATEWAY_FRAME_BYTES) };
        // From here on, dropping it closes the connection with its own reason.
        let reason = self.purpose.close_reason();
        let mut receiver = QuicReceiver { connection, session, frames, control, reason };
        let id = receiver.session.as_ref().map(|session| session.id);
        let mut bytes = id.map(SessionId::bidi_prefix).unwrap_or_default();
        for message in entry.opening(self.purpose.streams()) {
            frame::encode_to(&message, &mut bytes);
        }
        receiver.control.write_all(&bytes).await?;
        let mut entered = Entered::default();
        loop {
            let message = receiver.frames.next().await?.context("the gateway ended its stream")?;
            let message = binary::decode(message).context("the gateway's message is malformed")?;
            let done = message.map(|it| entry.read(it, &mut entered)).transpose()?;
            if done == Some(true) {
                break;
            }
        }
        if let Some(message) = entry.after() {
            receiver.control.write_all(&frame::encode(&message)).await?;
        }
        let buffer = match self.purpose {
            Purpose::Load(_) => {
                let mut signals = receiver.connection.open_uni().await?;
                let mut bytes = id.map(SessionId::uni_prefix).unwrap_or_default();
                frame::encode_to(&ClientStream::Signals {}, &mut bytes);
                signals.write_all(&bytes).await?;
                WriteBuffer::new(signals)
            }
            Purpose::Idle => WriteBuffer::new(tokio::io::sink()),
        };
        let sender = ClientSender {
            address: entered.connection.map_or(Address::Number(0), Address::Connection),
            encode: Arc::new(|to, data, out| frame::encode_to(&signal(to, data), out)),
            buffer,
        };
        let receiver = ClientReceiver::Quic(receiver);
        Ok(MinimalClient { sender, receiver, ticket: entered.ticket })
    }
}

/// The URL of the WebTransport session at a gateway.
fn session_url(name: &str, address: SocketAddr) -> anyhow::Result<Url> {
    let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    Ok(Url::parse(&format!("https://{host}:{}{CONNECT_PATH}", address.port()))?)
}

/// With large buffers: packets must not be lost while the thread is busy.
fn socket(local: SocketAddr) -> anyhow::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    // The system may grant less, which costs only retransmissions.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// The receiving half.
pub struct QuicReceiver {
    connection: quinn::Connection,
    /// The WebTransport session of the streams, if there is one.
    session: Option<Box<Session>>,
    frames: FrameReader,
    /// Ending it would be a goodbye.
    control: quinn::SendStream,
    reason: CloseReason,
}

impl Drop for QuicReceiver {
    fn drop(&mut self) {
        let code = self.reason.quic_code();
        let code = if self.session.is_some() { to_http3(code) } else { code.into() };
        self.connection.close(code, b"");
    }
}

impl QuicReceiver {
    pub(super) async fn run(mut self, on_message: OnMessage) -> anyhow::Result<()> {
        let mut senders = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = next_stream(&self.connection, &mut self.session) => {
                    senders.push(receive(stream?, on_message.clone()));
                }
                Some(ended) = senders.next() => ended?,
                message = self.frames.next() => {
                    let Some(message) = message? else { bail!("the gateway ended its stream") };
                    let message = binary::decode(message).context("a malformed message")?;
                    match message.map(heard).transpose()?.flatten() {
                        Some(Ok(data)) => on_message(Arrived::Signal(&data))?,
                        Some(Err(why)) => on_message(Arrived::Refused(&why))?,
                        None => {}
                    }
                }
            }
        }
    }
}

/// The next stream of the gateway. Cancel-safe.
async fn next_stream(
    connection: &quinn::Connection,
    session: &mut Option<Box<Session>>,
) -> anyhow::Result<RecvStream> {
    let Some(session) = session else { return Ok(connection.accept_uni().await?) };
    match session.incoming.next().await? {
        PeerStream::Uni(stream) => Ok(stream),
        PeerStream::Bidi(..) => bail!("the gateway opened a stream that it may not"),
    }
}

/// Receives the signals of one sender.
async fn receive(stream: RecvStream, on_message: OnMessage) -> anyhow::Result<()> {
    let mut frames = FrameReader { stream, buffer: FrameBuffer::new(GATEWAY_FRAME_BYTES) };
    let header = frames.next().await?.context("a stream without a header")?;
    let _: Option<GatewayStream> = binary::decode(header).context("a malformed header")?;
    while let Some(message) = frames.next().await? {
        match binary::decode(message).context("a malformed signal")? {
            Some(SenderMessage::Signal(signal)) => {
                let data = signal.data.context("a signal without data, which nobody sent")?;
                on_message(Arrived::Signal(&data))?;
            }
            Some(SenderMessage::Sender { .. }) => {}
            None => bail!("an unknown message on a sender's stream"),
        }
    }
    Ok(())
}

/// The frames of one stream.
struct FrameReader {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl FrameReader {
    /// The next message; `None` at the end. Cancel-safe.
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
