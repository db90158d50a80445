//! A client's link over WebSocket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use signalbox_protocol::{
    ClientMessage, CloseReason, GatewayMessage, SUBPROTOCOL_JSON, SUBPROTOCOL_POSTCARD, binary,
    json,
    limits::{GATEWAY_FRAME_BYTES, GATEWAY_JSON_BYTES},
    message::Welcome,
};
use tokio::{net::TcpStream, sync::mpsc, time::MissedTickBehavior};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use tokio_util::either::Either;
use tracing::debug;

use super::{BATCH, Driver, End, FAREWELL, Teller};
use crate::{
    client::Command,
    connector::{ConnectOptions, tls_config},
    error::ConnectError,
    target::{Scheme, Target},
};

/// Bytes read from the socket at once; allocated for every connection.
const READ_BUFFER: usize = 16 * 1024;

type Socket = WebSocketStream<Either<TlsStream<TcpStream>, TcpStream>>;

/// A connection whose hello was accepted.
pub(crate) struct WebSocketLink {
    socket: Socket,
    encoding: Encoding,
    idle_timeout: Duration,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Postcard,
    Json,
}

impl Encoding {
    fn subprotocol(self) -> &'static str {
        match self {
            Self::Postcard => SUBPROTOCOL_POSTCARD,
            Self::Json => SUBPROTOCOL_JSON,
        }
    }

    fn config(self) -> WebSocketConfig {
        let max = match self {
            Self::Postcard => GATEWAY_FRAME_BYTES,
            Self::Json => GATEWAY_JSON_BYTES,
        };
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(max))
            .max_frame_size(Some(max))
    }

    fn encode(self, message: &ClientMessage<'_>) -> Message {
        match self {
            Self::Postcard => Message::Binary(binary::encode(message).into()),
            Self::Json => Message::text(json::encode(message)),
        }
    }

    /// The gateway's message in a frame; none if it is of no known kind or carries none.
    fn decode(self, message: &Message) -> Result<Option<GatewayMessage<'_>>, End> {
        match (self, message) {
            (Self::Postcard, Message::Binary(bytes)) => {
                binary::decode(bytes).map_err(|error| End::protocol(error.to_string()))
            }
            (Self::Json, Message::Text(text)) => {
                json::decode(text.as_str()).map_err(|error| End::protocol(error.to_string()))
            }
            (_, Message::Binary(_) | Message::Text(_)) => {
                Err(End::protocol("a message of the other subprotocol"))
            }
            _ => Ok(None),
        }
    }
}

/// Connects to one address and says hello.
pub(crate) async fn connect(
    roots: Arc<RootCertStore>,
    target: &Target,
    address: SocketAddr,
    options: &ConnectOptions,
) -> Result<(Welcome, WebSocketLink), ConnectError> {
    let unreachable = |detail: String| ConnectError::Unreachable {
        address: format!("{} ({address}, TCP)", target.address()),
        detail,
    };
    let io = |error: std::io::Error| unreachable(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let (scheme, stream) = match target.scheme {
        Scheme::Ws => ("ws", Either::Right(stream)),
        Scheme::Wss | Scheme::Quic => {
            let name = ServerName::try_from(target.host.clone())
                .map_err(|error| ConnectError::Url(error.to_string()))?;
            let tls = TlsConnector::from(Arc::new(tls_config(roots, b"http/1.1")));
            ("wss", Either::Left(tls.connect(name, stream).await.map_err(io)?))
        }
    };
    let encoding = if options.postcard { Encoding::Postcard } else { Encoding::Json };
    let mut request = format!("{scheme}://{}{}", target.address(), target.path)
        .into_client_request()
        .map_err(|error| ConnectError::Url(error.to_string()))?;
    let offered = HeaderValue::from_static(encoding.subprotocol());
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
    let (mut socket, _) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(encoding.config()))
            .await
            .map_err(|error| unreachable(handshake_detail(error)))?;

    let hello = encoding.encode(&options.hello());
    socket.send(hello).await.map_err(|error| unreachable(error.to_string()))?;
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(unreachable(error.to_string())),
            None => return Err(unreachable("no answer to the hello".into())),
        };
        match encoding.decode(&message) {
            Ok(Some(GatewayMessage::Welcome(welcome))) => {
                let idle_timeout = Duration::from_millis(welcome.limits.idle_timeout_ms.into());
                return Ok((welcome, WebSocketLink { socket, encoding, idle_timeout }));
            }
            Ok(Some(GatewayMessage::Bye { reason, message, .. })) => {
                let message = message.into_string();
                // Answers the gateway's close.
                let rest = async { while let Some(Ok(_)) = socket.next().await {} };
                let _ = tokio::time::timeout(FAREWELL, rest).await;
                return Err(ConnectError::Refused { reason, message });
            }
            Ok(Some(_)) => {
                return Err(ConnectError::Protocol("the answer to the hello is no welcome".into()));
            }
            Ok(None) => {}
            Err(End { message, .. }) => return Err(ConnectError::Protocol(message)),
        }
    }
}

/// An HTTP answer says more in its body than in its status.
fn handshake_detail(error: tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            format!("HTTP {}: {}", response.status(), String::from_utf8_lossy(body).trim())
        }
        error => error.to_string(),
    }
}

/// Carries a connection to its end.
pub(crate) async fn run(link: WebSocketLink, driver: Driver) {
    let WebSocketLink { socket, encoding, idle_timeout } = link;
    let (mut teller, commands) = driver.split();
    let (sink, mut stream) = socket.split();
    let end = {
        let reading = read(&mut stream, encoding, idle_timeout, &mut teller);
        let writing = async {
            if let Err(error) = write(sink, encoding, commands).await {
                // The reading half learns of it, too, and better.
                debug!(%error, "writing failed");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = reading => end,
            () = writing => End::lost("writing ended"),
        }
    };
    teller.end(end).await;
}

/// Writes commands until a goodbye, which is also said when all clients have been dropped.
async fn write(
    mut sink: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    encoding: Encoding,
    mut commands: mpsc::Receiver<Command>,
) -> Result<(), tungstenite::Error> {
    let mut sent = 0;
    let mut batch = Vec::new();
    loop {
        let mut goodbye = commands.recv_many(&mut batch, BATCH).await == 0;
        for command in batch.drain(..) {
            let message = match command {
                Command::Signal(signal) => {
                    sent += 1;
                    ClientMessage::Signal(signal)
                }
                Command::ForceDisconnect(id) => ClientMessage::ForceDisconnect { id },
                Command::Goodbye => {
                    goodbye = true;
                    break;
                }
            };
            sink.feed(encoding.encode(&message)).await?;
        }
        if goodbye {
            sink.feed(encoding.encode(&ClientMessage::Goodbye { signals: sent })).await?;
        }
        sink.flush().await?;
        if goodbye {
            return Ok(());
        }
    }
}

async fn read(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    encoding: Encoding,
    idle_timeout: Duration,
    teller: &mut Teller,
) -> End {
    // The gateway pings three times as often. A timer that runs by itself costs less than one
    // that is set anew with every message.
    let mut watch = tokio::time::interval(idle_timeout.max(Duration::from_secs(1)));
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    watch.reset();
    let mut heard = true;
    loop {
        teller.tell().await;
        let message = tokio::select! {
            message = stream.next() => message,
            _ = watch.tick() => {
                if !std::mem::take(&mut heard) {
                    return End::lost("nothing came within the idle timeout");
                }
                continue;
            }
        };
        heard = true;
        let message = match message {
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map_or(CloseReason::NetworkDisconnected, |frame| {
                    CloseReason::from_websocket_code(frame.code.into())
                });
                return End::new(reason, reason.hint());
            }
            Some(Ok(message)) => message,
            Some(Err(error)) => return End::lost(error.to_string()),
            None => return End::lost("the connection ended without a close"),
        };
        match encoding.decode(&message) {
            Ok(Some(GatewayMessage::Bye { reason, message, .. })) => {
                let end = End::new(reason, message.into_string());
                // Answers the gateway's close.
                let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                let _ = tokio::time::timeout(FAREWELL, rest).await;
                return end;
            }
            Ok(Some(message)) => teller.order.control(message),
            // A gateway may be newer than we are; pings are answered below us.
            Ok(None) => {}
            Err(end) => return end,
        }
    }
}
