//! Light clients: links that say the first messages, take the answer, and are then only held. For
//! crowds that would be too much for the SDK's clients in one process.
//!
//! Each makes a full TLS handshake, and asks for small windows, as it is sent nothing.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use quinn::{
    Endpoint, EndpointConfig, TokioRuntime, TransportConfig, crypto::rustls::QuicClientConfig,
};
use rustls_pki_types::ServerName;
use signalbox_protocol::{
    ALPN, ClientMessage, CloseReason, Codec, GatewayMessage, Streams, Text, WEBSOCKET_PATH, binary,
    frame, frame::FrameBuffer, limits::GATEWAY_FRAME_BYTES, message::Resume,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use crate::wire::{
    quic::socket,
    signalbox::{AGENT, hello},
};

/// Bytes that may wait unread for one client, which is sent hardly anything.
const WINDOW: u32 = 16 * 1024;

/// Buffers of a WebSocket.
const BUFFER: usize = 4 * 1024;

/// As often as the SDK's clients.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where the UDP socket is: gateways announce addresses of this machine.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// First guess of the round trip, as in the SDK.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Opens links to one gateway over one carrier.
pub(crate) struct Dialer {
    address: SocketAddr,
    carrier: Carrier,
}

enum Carrier {
    Quic { endpoint: Endpoint, config: Box<quinn::ClientConfig> },
    WebSocket { tls: TlsConnector },
}

/// A link that has been opened and not lost yet.
pub(crate) enum Link {
    Quic(QuicLink),
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

/// It never says goodbye: a client that gives up on an answer and tries again has not left.
pub(crate) struct QuicLink {
    connection: quinn::Connection,
    control: quinn::SendStream,
    incoming: quinn::RecvStream,
    buffer: FrameBuffer,
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        // Otherwise quinn would close it with code 0, which is a goodbye.
        self.connection.close(CloseReason::NetworkDisconnected.quic_code().into(), b"");
    }
}

/// Why a client is not in its session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The gateway does not want it.
    #[error("refused: {0}")]
    Refused(CloseReason),
    /// Perhaps it will another time.
    #[error(transparent)]
    Lost(#[from] anyhow::Error),
}

impl Dialer {
    /// To an address as gateways announce it, with a certificate of this authority (PEM).
    pub(crate) fn new(quic: bool, address: &str, ca: &[u8]) -> anyhow::Result<Self> {
        let address: SocketAddr =
            address.parse().with_context(|| format!("{address:?} is no IP address and port"))?;
        let roots = signalbox_certs::roots_from_pem(ca)?;
        let carrier = if quic {
            let crypto = QuicClientConfig::try_from(signalbox_certs::client(roots, &[ALPN]))?;
            let mut config = Box::new(quinn::ClientConfig::new(Arc::new(crypto)));
            config.transport_config(Arc::new(transport()));
            let runtime = Arc::new(TokioRuntime);
            let endpoint = Endpoint::new(EndpointConfig::default(), None, socket(LOCAL)?, runtime)?;
            Carrier::Quic { endpoint, config }
        } else {
            let tls = signalbox_certs::client(roots, &[b"http/1.1"]);
            Carrier::WebSocket { tls: TlsConnector::from(Arc::new(tls)) }
        };
        Ok(Self { address, carrier })
    }

    /// Joins a session, asking to be kept; the link and the ticket.
    pub(crate) async fn join(&self, token: &str) -> Result<(Link, String), Failure> {
        let mut link = self.open().await?;
        link.say(&[hello(token, Streams::Single), ClientMessage::Keep {}]).await?;
        let ticket = link.ticket().await?;
        Ok((link, ticket))
    }

    /// Comes back to the connection of a ticket, in its n-th attempt; the link and the next ticket.
    pub(crate) async fn resume(
        &self,
        ticket: &str,
        attempt: u32,
    ) -> Result<(Link, String), Failure> {
        let resume = ClientMessage::Resume(Resume {
            ticket: Text::from(ticket),
            attempt,
            streams: Streams::Single,
            events: 0,
            cursors: Vec::new(),
            more: false,
            agent: Some(AGENT.into()),
        });
        let mut link = self.open().await?;
        link.say(&[resume]).await?;
        let ticket = link.ticket().await?;
        link.say(&[ClientMessage::Keep {}]).await?;
        Ok((link, ticket))
    }

    async fn open(&self) -> anyhow::Result<Link> {
        match &self.carrier {
            Carrier::Quic { endpoint, config } => {
                let name = self.address.ip().to_string();
                let config = config.as_ref().clone();
                let connection = endpoint.connect_with(config, self.address, &name)?.await?;
                let (control, incoming) = connection.open_bi().await?;
                let buffer = FrameBuffer::new(GATEWAY_FRAME_BYTES);
                Ok(Link::Quic(QuicLink { connection, control, incoming, buffer }))
            }
            Carrier::WebSocket { tls } => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                let stream = tls.connect(ServerName::from(self.address.ip()), stream).await?;
                let url = format!("wss://{}{WEBSOCKET_PATH}", self.address);
                let mut request = url.into_client_request()?;
                let offered = HeaderValue::from_static(Codec::Postcard.subprotocol());
                request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
                let config = WebSocketConfig::default().read_buffer_size(BUFFER);
                let opened =
                    tokio_tungstenite::client_async_with_config(request, stream, Some(config));
                Ok(Link::WebSocket(Box::new(opened.await?.0)))
            }
        }
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(WINDOW.into())
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

impl Link {
    async fn say(&mut self, messages: &[ClientMessage<'_>]) -> anyhow::Result<()> {
        match self {
            Self::Quic(QuicLink { control, .. }) => {
                let mut bytes = Vec::new();
                for message in messages {
                    frame::encode_to(message, &mut bytes);
                }
                control.write_all(&bytes).await?;
            }
            Self::WebSocket(socket) => {
                for message in messages {
                    socket.feed(Message::Binary(binary::encode(message).into())).await?;
                }
                socket.flush().await?;
            }
        }
        Ok(())
    }

    /// Reads on to the ticket of a new or an old connection.
    async fn ticket(&mut self) -> Result<String, Failure> {
        loop {
            let ticket = match self {
                Self::Quic(QuicLink { incoming, buffer, .. }) => {
                    while !buffer.is_ready() {
                        let chunk = incoming.read_chunk(BUFFER, true).await;
                        let chunk = chunk.context("the link ended before the answer")?;
                        buffer.push(&chunk.context("the gateway ended its stream")?.bytes);
                    }
                    let frame = buffer.next_frame().context("no frame")?.unwrap_or_default();
                    answer(frame)?
                }
                Self::WebSocket(socket) => {
                    let message = socket.next().await.context("the gateway hung up")?;
                    match message.context("the link ended before the answer")? {
                        Message::Binary(bytes) => answer(&bytes)?,
                        _ => None,
                    }
                }
            };
            if let Some(ticket) = ticket {
                return Ok(ticket);
            }
        }
    }

    /// Keeps it open for as long as it lasts.
    pub(crate) async fn hold(self) -> anyhow::Result<()> {
        match self {
            Self::Quic(link) => {
                bail!("a link of the crowd ended: {}", link.connection.closed().await)
            }
            Self::WebSocket(mut socket) => {
                while let Some(message) = socket.next().await {
                    message.context("a link of the crowd ended")?;
                }
                bail!("a link of the crowd ended")
            }
        }
    }
}

/// The ticket in a message, if there is one.
fn answer(message: &[u8]) -> Result<Option<String>, Failure> {
    let message = binary::decode(message).context("the gateway's message is malformed")?;
    match message {
        Some(GatewayMessage::Ticket(ticket) | GatewayMessage::Resumed { ticket, .. }) => {
            Ok(Some(ticket.ticket.into_string()))
        }
        Some(GatewayMessage::Bye { reason, .. }) => Err(Failure::Refused(reason)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::message::Ticket;

    use super::*;

    #[test]
    fn the_answer_is_a_ticket_or_a_refusal() {
        let ticket = || Ticket { ticket: "abc".into(), window_ms: 1 };
        let said = |message: GatewayMessage<'_>| answer(&binary::encode(&message));
        assert_eq!(said(GatewayMessage::Ticket(ticket())).unwrap().as_deref(), Some("abc"));
        let resumed = GatewayMessage::Resumed { ticket: ticket(), signals: 0, missed: 0 };
        assert_eq!(said(resumed).unwrap().as_deref(), Some("abc"));
        assert_eq!(said(GatewayMessage::Accepted { signals: 1 }).unwrap(), None);
        let reason = CloseReason::InvalidTicket;
        let bye = GatewayMessage::Bye { reason, message: "".into(), streams: 0 };
        assert!(matches!(said(bye), Err(Failure::Refused(CloseReason::InvalidTicket))));
    }
}
