//! Raw links: bytes on real transports, for clients that break the protocol.

pub mod opentok;
mod webtransport;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::{SinkExt, StreamExt};
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use signalbox_protocol::{
    ALPN, ClientMessage, ClientStream, CloseReason, Codec, Feature, GatewayMessage, Streams,
    binary, frame,
    frame::FrameBuffer,
    json,
    limits::GATEWAY_FRAME_BYTES,
    message::{Hello, Resume},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, http::header::SEC_WEBSOCKET_PROTOCOL},
};

pub use self::webtransport::WebTransport;
use crate::{authority, within_timeout};

/// A hello with this token, without features.
pub fn hello(token: &str) -> ClientMessage<'_> {
    hello_with(token, &[])
}

/// A hello with this token that asks for these features.
pub fn hello_with<'a>(token: &'a str, features: &[Feature]) -> ClientMessage<'a> {
    ClientMessage::Hello(Hello {
        token: token.into(),
        features: features.iter().copied().collect(),
        streams: Streams::PerSender,
        agent: None,
    })
}

/// The first attempt to resume with this ticket, by a client that has received nothing.
pub fn resume(ticket: &str) -> ClientMessage<'_> {
    resume_again(ticket, 1)
}

/// The same, as the attempt with this number.
pub fn resume_again(ticket: &str, attempt: u32) -> ClientMessage<'_> {
    ClientMessage::Resume(Resume {
        ticket: ticket.into(),
        attempt,
        streams: Streams::Single,
        events: 0,
        accepted: 0,
        cursors: vec![],
        more: false,
        agent: None,
    })
}

/// The ticket in a message's debug text.
pub fn ticket_in(message: &str) -> String {
    let (_, rest) = message.split_once("ticket: \"").unwrap_or_else(|| panic!("{message}"));
    rest.split('"').next().unwrap().to_owned()
}

/// A signal to all with this data.
pub fn signal(data: &str) -> ClientMessage<'_> {
    let signal = signalbox_protocol::Signal::new(None::<&str>, Some(data));
    ClientMessage::Signal(signalbox_protocol::message::SendSignal::new(None, signal))
}

fn tls(alpn: &[u8]) -> rustls::ClientConfig {
    tls_trusting(authority().ca_pem().as_bytes(), alpn)
}

fn tls_trusting(pem: &[u8], alpn: &[u8]) -> rustls::ClientConfig {
    signalbox_certs::client(signalbox_certs::roots_from_pem(pem).unwrap(), &[alpn])
}

/// A new connection, without streams.
async fn dial(
    address: SocketAddr,
    alpn: &[u8],
    transport: quinn::TransportConfig,
) -> (quinn::Endpoint, quinn::Connection) {
    let crypto = QuicClientConfig::try_from(tls(alpn)).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
    let connection = within_timeout("a QUIC handshake", connecting).await.unwrap();
    (endpoint, connection)
}

/// A QUIC connection without streams, from another address of the loopback.
pub async fn dial_from(
    source: IpAddr,
    address: SocketAddr,
) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    let crypto = QuicClientConfig::try_from(tls(ALPN)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client(SocketAddr::new(source, 0)).unwrap();
    let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
    Ok((endpoint, within_timeout("a QUIC handshake", connecting).await?))
}

/// The certificate that a QUIC client which trusts `pem` is shown for this name.
pub async fn served_leaf(address: SocketAddr, name: &str, pem: &[u8]) -> CertificateDer<'static> {
    let crypto = QuicClientConfig::try_from(tls_trusting(pem, ALPN)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, address, name).unwrap();
    let connection = within_timeout("a QUIC handshake", connecting).await.unwrap();
    let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'_>>>().unwrap();
    chain.first().unwrap().clone().into_owned()
}

/// The same over TCP.
pub async fn served_leaf_over_tcp(
    address: SocketAddr,
    name: &str,
    pem: &[u8],
) -> CertificateDer<'static> {
    let connector = TlsConnector::from(Arc::new(tls_trusting(pem, b"http/1.1")));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = within_timeout("a TLS handshake", connector.connect(name, stream)).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain.first().unwrap().clone().into_owned()
}

/// A client with a TLS session of the gateway.
pub struct Known(quinn::ClientConfig);

impl Known {
    /// Obtains a TLS session, for one connection with early data.
    pub async fn to(address: SocketAddr, token: &str) -> Self {
        let mut tls = tls(ALPN);
        tls.resumption = rustls::client::Resumption::in_memory_sessions(8);
        tls.enable_early_data = true;
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let known = Self(quinn::ClientConfig::new(Arc::new(crypto)));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(known.0.clone(), address, "localhost").unwrap();
        let connection = within_timeout("a QUIC handshake", connecting).await.unwrap();
        let (control, incoming) = connection.open_bi().await.unwrap();
        let buffer = FrameBuffer::new(GATEWAY_FRAME_BYTES);
        let mut link = Quic { connection, control, incoming, buffer, endpoint };
        // The ticket of the session comes before the welcome.
        link.say(&hello(token)).await;
        assert!(link.hear().await.starts_with("Welcome"));
        link.say(&ClientMessage::Goodbye { signals: 0 }).await;
        link.end().await;
        known
    }
}

/// A QUIC connection with its control stream, before the hello.
pub struct Quic {
    /// The connection.
    pub connection: quinn::Connection,
    /// The control stream, towards the gateway.
    pub control: quinn::SendStream,
    /// The control stream, towards the client.
    pub incoming: quinn::RecvStream,
    buffer: FrameBuffer,
    /// The endpoint, to be moved to another address.
    pub endpoint: quinn::Endpoint,
}

impl Quic {
    /// Connects and opens the control stream, which the gateway does not see before something is
    /// written to it.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, 100).await
    }

    /// The same, granting the gateway this many streams.
    pub async fn connect_with(address: SocketAddr, streams: u32) -> Self {
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_uni_streams(streams.into());
        Self::connect_as(address, transport).await
    }

    /// The same, with transport parameters of its own.
    pub async fn connect_as(address: SocketAddr, transport: quinn::TransportConfig) -> Self {
        let (endpoint, connection) = dial(address, ALPN, transport).await;
        Self::open(endpoint, connection).await
    }

    /// Opens the control stream.
    async fn open(endpoint: quinn::Endpoint, connection: quinn::Connection) -> Self {
        let (control, incoming) = connection.open_bi().await.unwrap();
        let buffer = FrameBuffer::new(GATEWAY_FRAME_BYTES);
        Self { connection, control, incoming, buffer, endpoint }
    }

    /// Connects with the first packet, as a client that the gateway knows can. On a runtime with one
    /// thread, what is written next leaves as early data. With more, the handshake may be faster.
    pub async fn connect_early(known: &Known, address: SocketAddr) -> Self {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(known.0.clone(), address, "localhost").unwrap();
        let (connection, _) = connecting.into_0rtt().expect("the gateway is known");
        let (control, incoming) = connection.open_bi().await.unwrap();
        let buffer = FrameBuffer::new(GATEWAY_FRAME_BYTES);
        Self { connection, control, incoming, buffer, endpoint }
    }

    /// Connects, sends hello and reads the welcome.
    pub async fn join(address: SocketAddr, token: &str) -> Self {
        let mut link = Self::connect(address).await;
        link.say(&hello(token)).await;
        assert!(link.hear().await.starts_with("Welcome"));
        link
    }

    /// Writes bytes on the control stream.
    pub async fn write(&mut self, bytes: &[u8]) {
        // The gateway may have closed the link already, which is often the purpose.
        let _ = self.control.write_all(bytes).await;
    }

    /// Writes a message on the control stream.
    pub async fn say(&mut self, message: &ClientMessage<'_>) {
        self.write(&frame::encode(message)).await;
    }

    /// Opens a stream of signals with its header.
    pub async fn signals(&self) -> quinn::SendStream {
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(&frame::encode(&ClientStream::Signals {})).await.unwrap();
        stream
    }

    /// The next message on the control stream, as debug text.
    pub async fn hear(&mut self) -> String {
        let message = async {
            while !self.buffer.is_ready() {
                let chunk = self.incoming.read_chunk(4096, true).await.unwrap().expect("a message");
                self.buffer.push(&chunk.bytes);
            }
            let frame = self.buffer.next_frame().unwrap().unwrap();
            format!("{:?}", binary::decode::<GatewayMessage<'_>>(frame).unwrap().unwrap())
        };
        within_timeout("a message", message).await
    }

    /// Reads the control stream to its end. The reason of the bye, if there is one.
    async fn bye(&mut self) -> Option<CloseReason> {
        let mut bye = None;
        let last_words = async {
            loop {
                while !self.buffer.is_ready() {
                    match self.incoming.read_chunk(4096, true).await {
                        Ok(Some(chunk)) => self.buffer.push(&chunk.bytes),
                        _ => return,
                    }
                }
                let frame = self.buffer.next_frame().unwrap().unwrap();
                if let Some(GatewayMessage::Bye { reason, .. }) = binary::decode(frame).unwrap() {
                    bye = Some(reason);
                }
            }
        };
        within_timeout("the end of the control stream", last_words).await;
        bye
    }

    /// The end of the link: the reason of the bye, if there is one, and of the close.
    pub async fn end(mut self) -> (Option<CloseReason>, CloseReason) {
        let bye = self.bye().await;
        let close =
            match within_timeout("the end of the connection", self.connection.closed()).await {
                quinn::ConnectionError::ApplicationClosed(close) => {
                    CloseReason::from_quic_code(close.error_code.into_inner())
                }
                other => panic!("not ended by the gateway: {other}"),
            };
        (bye, close)
    }
}

/// A WebSocket, before the hello.
pub struct WebSocket<S = TlsStream<TcpStream>> {
    /// The socket.
    pub socket: WebSocketStream<S>,
    json: bool,
}

impl WebSocket {
    /// Connects with a subprotocol.
    pub async fn connect(address: SocketAddr, json: bool) -> Self {
        let subprotocol = if json { Codec::Json } else { Codec::Postcard }.subprotocol();
        let socket = Self::handshake(address, Some(subprotocol), &[]).await.unwrap();
        Self { socket, json }
    }

    /// Tries the opening handshake with this subprotocol and further headers.
    pub async fn handshake(
        address: SocketAddr,
        subprotocol: Option<&'static str>,
        headers: &[(&'static str, &'static str)],
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, tungstenite::Error> {
        handshake_on(tls_stream(address).await, subprotocol, headers).await
    }

    /// Connects, sends hello and reads the welcome.
    pub async fn join(address: SocketAddr, json: bool, token: &str) -> Self {
        Self::join_with(address, json, &hello(token)).await
    }

    /// The same with the feature `resume`. The ticket comes next.
    pub async fn join_resumable(address: SocketAddr, json: bool, token: &str) -> Self {
        Self::join_with(address, json, &hello_with(token, &[Feature::Resume])).await
    }

    async fn join_with(address: SocketAddr, json: bool, hello: &ClientMessage<'_>) -> Self {
        let mut link = Self::connect(address, json).await;
        link.say(hello).await;
        assert!(link.hear().await.starts_with("Welcome"));
        link
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The opening handshake on a stream that is there, for JSON.
    pub async fn on(stream: S) -> Self {
        Self::on_with(stream, &[]).await
    }

    /// The same with further headers.
    pub async fn on_with(stream: S, headers: &[(&'static str, &'static str)]) -> Self {
        let subprotocol = Some(Codec::Json.subprotocol());
        let socket = handshake_on(stream, subprotocol, headers).await.unwrap();
        Self { socket, json: true }
    }

    /// Sends any WebSocket message.
    pub async fn write(&mut self, message: Message) {
        // The gateway may have closed the link already, which is often the purpose.
        let _ = self.socket.send(message).await;
    }

    /// Sends a message of the protocol.
    pub async fn say(&mut self, message: &ClientMessage<'_>) {
        let message = if self.json {
            Message::text(json::encode(message))
        } else {
            Message::Binary(binary::encode(message).into())
        };
        self.write(message).await;
    }

    /// The next message, as debug text.
    pub async fn hear(&mut self) -> String {
        loop {
            match within_timeout("a message", self.socket.next()).await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    return format!("{:?}", decode(&message));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    /// The end of the link: the reason of the bye, if there is one, and of the close (none if the transport
    /// just ends).
    pub async fn end(mut self) -> (Option<CloseReason>, Option<CloseReason>) {
        let (mut bye, mut close) = (None, None);
        // All of it: pings alone must not keep a test waiting.
        let last_words = async {
            while let Some(Ok(message)) = self.socket.next().await {
                match message {
                    Message::Close(frame) => {
                        close =
                            frame.map(|frame| CloseReason::from_websocket_code(frame.code.into()));
                    }
                    Message::Text(_) | Message::Binary(_) => {
                        if let GatewayMessage::Bye { reason, .. } = decode(&message) {
                            bye = Some(reason);
                        }
                    }
                    _ => {}
                }
            }
        };
        within_timeout("the end of the link", last_words).await;
        (bye, close)
    }
}

async fn handshake_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    subprotocol: Option<&'static str>,
    headers: &[(&'static str, &'static str)],
) -> Result<WebSocketStream<S>, tungstenite::Error> {
    let mut request = "wss://localhost/v1/connect".into_client_request().unwrap();
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol.parse().unwrap());
    }
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let handshake = tokio_tungstenite::client_async(request, stream);
    Ok(within_timeout("a WebSocket handshake", handshake).await?.0)
}

/// A TLS connection to the gateway's TCP port.
pub async fn tls_stream(address: SocketAddr) -> TlsStream<TcpStream> {
    try_tls_on(TcpStream::connect(address).await.unwrap()).await.unwrap()
}

/// The same from another address of the loopback. An error if the gateway refuses it.
pub async fn try_tls_stream_from(
    source: IpAddr,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    try_tls_on(try_tcp_stream_from(source, address).await?).await
}

/// A TCP connection from another address of the loopback.
pub async fn tcp_stream_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    try_tcp_stream_from(source, address).await.unwrap()
}

async fn try_tcp_stream_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    within_timeout("a TCP connection", socket.connect(address)).await
}

/// TLS on a TCP connection that is there. An error if the gateway refuses it.
pub async fn try_tls_on(stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(tls(b"http/1.1")));
    let name = ServerName::try_from("localhost").unwrap();
    within_timeout("a TLS handshake", connector.connect(name, stream)).await
}

fn decode(message: &Message) -> GatewayMessage<'_> {
    match message {
        Message::Text(text) => json::decode(text.as_str()).unwrap().unwrap(),
        Message::Binary(bytes) => binary::decode(bytes).unwrap().unwrap(),
        other => panic!("not a message: {other:?}"),
    }
}
