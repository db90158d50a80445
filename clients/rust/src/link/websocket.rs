//! A client's link over WebSocket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use signalbox_protocol::{
    ClientMessage, CloseReason, Codec, GatewayMessage, binary, json, limits::FAREWELL,
};
use tokio::{net::TcpStream, time::MissedTickBehavior};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use tokio_util::either::Either;
use tracing::debug;

use super::{Disconnection, EventDispatcher, HandshakeReply, OutgoingMessages, ReplyAssembler};
use crate::{
    endpoints::Endpoints,
    error::{ConnectError, UnreachableCause as Cause},
    gateway_url::{GatewayUrl, Scheme},
    opening::Opening,
};

/// Bytes read from the socket at once; allocated for every connection.
const READ_BUFFER: usize = 16 * 1024;

type Socket = WebSocketStream<Either<TlsStream<TcpStream>, TcpStream>>;

/// A WebSocket before the gateway has answered the opening.
pub(crate) struct PendingWebSocketLink {
    socket: Socket,
    codec: Codec,
    /// For errors.
    address: String,
}

/// A WebSocket on which the gateway has accepted the client.
pub(crate) struct WebSocketLink {
    socket: Socket,
    codec: Codec,
}

fn config(codec: Codec) -> WebSocketConfig {
    let max = codec.gateway_message_bytes();
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

fn encode(codec: Codec, message: &ClientMessage<'_>) -> Message {
    match codec {
        Codec::Postcard => Message::Binary(binary::encode(message).into()),
        Codec::Json => Message::text(json::encode(message)),
    }
}

/// The gateway's message in a frame; `None` for unknown messages and control frames.
fn decode(codec: Codec, message: &Message) -> Result<Option<GatewayMessage<'_>>, Disconnection> {
    match (codec, message) {
        (Codec::Postcard, Message::Binary(bytes)) => {
            binary::decode(bytes).map_err(|error| Disconnection::protocol(error.to_string()))
        }
        (Codec::Json, Message::Text(text)) => {
            json::decode(text.as_str()).map_err(|error| Disconnection::protocol(error.to_string()))
        }
        (_, Message::Binary(_) | Message::Text(_)) => {
            Err(Disconnection::protocol("a message of another subprotocol"))
        }
        _ => Ok(None),
    }
}

/// Connects to one address, with postcard or with JSON.
pub(crate) async fn dial(
    endpoints: &Endpoints,
    roots: Arc<RootCertStore>,
    target: &GatewayUrl,
    address: SocketAddr,
    postcard: bool,
) -> Result<PendingWebSocketLink, ConnectError> {
    let name = format!("{} ({address}, TCP)", target.address());
    let unreachable = |cause, detail: String| {
        let address = name.clone();
        ConnectError::Unreachable { address, cause, detail }
    };
    let io = |error: std::io::Error| unreachable(Cause::of_io(&error), error.to_string());
    let stream = endpoints.connect_tcp(address).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let (scheme, stream) = match target.scheme {
        Scheme::Ws => ("ws", Either::Right(stream)),
        Scheme::Wss | Scheme::Quic | Scheme::Https => {
            let name = ServerName::try_from(target.host.clone())
                .map_err(|error| ConnectError::Url(error.to_string()))?;
            let tls = TlsConnector::from(Arc::new(signalbox_certs::client(roots, &[b"http/1.1"])));
            ("wss", Either::Left(tls.connect(name, stream).await.map_err(io)?))
        }
    };
    let codec = if postcard { Codec::Postcard } else { Codec::Json };
    let mut request = format!("{scheme}://{}{}", target.address(), target.path)
        .into_client_request()
        .map_err(|error| ConnectError::Url(error.to_string()))?;
    let offered = HeaderValue::from_static(codec.subprotocol());
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
    let (socket, _) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(config(codec)))
            .await
            .map_err(|error| {
                let answered = matches!(error, tungstenite::Error::Http(_));
                let plain = target.scheme == Scheme::Ws;
                let cause = if plain && !answered { Cause::NotHttp } else { Cause::Other };
                unreachable(cause, handshake_detail(error))
            })?;
    Ok(PendingWebSocketLink { socket, codec, address: name })
}

impl PendingWebSocketLink {
    /// Sends the opening and receives the reply.
    pub(super) async fn open(
        self,
        opening: Opening<'_>,
    ) -> Result<(HandshakeReply, WebSocketLink), ConnectError> {
        let Self { mut socket, codec, address } = self;
        let unreachable = |detail: String| {
            let cause = Cause::Other;
            ConnectError::Unreachable { address, cause, detail }
        };
        let mut sent = Ok(());
        for message in opening.messages() {
            sent = sent.and(socket.feed(encode(codec, &message)).await);
        }
        if let Err(error) = sent.and(socket.flush().await) {
            return Err(unreachable(error.to_string()));
        }
        let mut assembler = ReplyAssembler::default();
        loop {
            let message = match socket.next().await {
                Some(Ok(Message::Close(frame))) => {
                    let Disconnection { reason, message, .. } = closed(frame);
                    return Err(match reason {
                        // 1000 without a bye: something on the way has closed the connection.
                        CloseReason::NetworkDisconnected | CloseReason::ClientDisconnected => {
                            unreachable(message)
                        }
                        reason => ConnectError::Refused { reason, message },
                    });
                }
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(unreachable(error.to_string())),
                None => return Err(unreachable("the gateway did not answer".into())),
            };
            let message = match decode(codec, &message) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(Disconnection { message, .. }) => return Err(ConnectError::Protocol(message)),
            };
            match assembler.push(message) {
                Ok(None) => {}
                Ok(Some(reply)) => return Ok((reply, WebSocketLink { socket, codec })),
                Err(error) => {
                    // Completes the closing handshake.
                    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
                    let _ = tokio::time::timeout(FAREWELL, rest).await;
                    return Err(error);
                }
            }
        }
    }
}

/// The reason of a close frame.
fn closed(frame: Option<CloseFrame>) -> Disconnection {
    let reason = frame.map_or(CloseReason::NetworkDisconnected, |frame| {
        CloseReason::from_websocket_code(frame.code.into())
    });
    Disconnection::new(reason, reason.hint())
}

/// The text of a failed upgrade. The body of an HTTP response says more than its status.
fn handshake_detail(error: tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            format!("HTTP {}: {}", response.status(), String::from_utf8_lossy(body).trim())
        }
        error => error.to_string(),
    }
}

impl WebSocketLink {
    /// Carries the connection until the link ends.
    pub(super) async fn run(
        self,
        dispatcher: &mut EventDispatcher,
        outgoing: &mut OutgoingMessages,
    ) -> Disconnection {
        let Self { socket, codec } = self;
        let (mut sink, mut stream) = socket.split();
        let end = {
            let reading = read(&mut stream, codec, dispatcher);
            let writing = async {
                if let Err(error) = write(&mut sink, codec, outgoing).await {
                    // The reading half fails, too, and knows the reason.
                    debug!(%error, "write failed");
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                end = reading => end,
                () = writing => Disconnection::lost("writing ended"),
            }
        };
        if end.leaving {
            let reason = end.closing_reason();
            let code = reason.websocket_code().into();
            let close = CloseFrame { code, reason: reason.name().into() };
            let _ = tokio::time::timeout(FAREWELL, sink.send(Message::Close(Some(close)))).await;
        }
        end
    }
}

/// Writes outgoing messages up to a goodbye.
async fn write(
    mut sink: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    codec: Codec,
    outgoing: &mut OutgoingMessages,
) -> Result<(), tungstenite::Error> {
    let mut batch = Vec::new();
    loop {
        let more = outgoing.next(|message| batch.push(encode(codec, &message))).await;
        for message in batch.drain(..) {
            sink.feed(message).await?;
        }
        sink.flush().await?;
        if !more {
            return Ok(());
        }
    }
}

async fn read(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    codec: Codec,
    dispatcher: &mut EventDispatcher,
) -> Disconnection {
    // The gateway pings at this interval. A timer that runs by itself costs less than one that is
    // reset by every message.
    let idle_timeout = dispatcher.idle_timeout().max(Duration::from_secs(1));
    let mut watch = tokio::time::interval(idle_timeout / 3);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    watch.reset();
    // Ticks since the last message.
    let mut silent = 0;
    loop {
        dispatcher.deliver().await;
        let message = tokio::select! {
            message = stream.next() => message,
            _ = watch.tick() => {
                silent += 1;
                // The first tick may have come right after the message.
                if silent > 3 {
                    return Disconnection::lost("nothing arrived within the idle timeout");
                }
                continue;
            }
            left = dispatcher.leave_requested() => return left,
        };
        silent = 0;
        let message = match message {
            Some(Ok(Message::Close(frame))) => return closed(frame),
            Some(Ok(message)) => message,
            Some(Err(error)) => return Disconnection::lost(error.to_string()),
            None => return Disconnection::lost("the connection ended without a close"),
        };
        match decode(codec, &message) {
            Ok(Some(GatewayMessage::Bye { reason, message, .. })) => {
                let end = Disconnection::new(reason, message.into_string());
                // Completes the closing handshake.
                let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                let _ = tokio::time::timeout(FAREWELL, rest).await;
                return end;
            }
            Ok(Some(message)) => {
                if let Err(violation) = dispatcher.control(message) {
                    return violation.into();
                }
            }
            // A newer gateway may send messages that this client does not know; tungstenite
            // answers pings.
            Ok(None) => {}
            Err(end) => return end,
        }
    }
}
