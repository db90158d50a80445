//! Links of Signalbox over WebSocket: one ordered stream in each direction, one message per frame.

mod messages;
mod pings;

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{ClientMessage, CloseReason, Codec, GatewayMessage, binary, frame, json};
use signalbox_relay::{Outbox, Outgoing};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

pub(super) use self::messages::{
    MessageForm, MessageReader, MessageWriter, Received, config_with, messages,
};
use super::transport::{Incoming, LinkError, Reader, Writer};
use crate::{link_rtt::LinkRtt, metrics::TransportMetrics};

/// The message limit and buffer sizes of a socket with this codec.
pub(crate) fn config(codec: Codec) -> WebSocketConfig {
    config_with(codec.client_message_bytes())
}

/// Makes the halves of a link from a socket after its HTTP upgrade.
pub(crate) fn halves<S>(
    socket: WebSocketStream<S>,
    codec: Codec,
    idle_timeout: Duration,
    metrics: &Arc<TransportMetrics>,
) -> (WebSocketReader<S>, WebSocketWriter<S>) {
    let (messages, writer) = messages(socket, codec, idle_timeout, metrics);
    (WebSocketReader { messages, codec }, WebSocketWriter(writer))
}

/// The receiving half.
pub(crate) struct WebSocketReader<S> {
    messages: MessageReader<S>,
    codec: Codec,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Reader for WebSocketReader<S> {
    const OVERTAKES: bool = false;

    async fn next(&mut self) -> Result<Incoming<'_>, LinkError> {
        match (self.messages.receive().await?, self.codec) {
            (Received::Message(Message::Binary(bytes)), Codec::Postcard) => {
                decoded(binary::decode(bytes).map_err(|error| error.to_string()))
            }
            (Received::Message(Message::Text(text)), Codec::Json) => {
                decoded(json::decode(text.as_str()).map_err(|error| error.to_string()))
            }
            (Received::Control, _) => Ok(Incoming::Control),
            (Received::Message(_), _) => {
                Err(LinkError::protocol("text or binary message does not match the subprotocol"))
            }
            // A browser sends no code if the page gave none, and 1001 when it leaves.
            (Received::Closed(None | Some(CloseCode::Normal | CloseCode::Away)), _) => {
                Ok(Incoming::Closed)
            }
            (Received::Closed(Some(code)), _) => Err(LinkError::ClosedBadly(code.into())),
        }
    }

    async fn closed(&mut self) {
        self.messages.closed().await;
    }
}

fn decoded(message: Result<Option<ClientMessage<'_>>, String>) -> Result<Incoming<'_>, LinkError> {
    match message {
        Ok(Some(message)) => Ok(Incoming::Message(message)),
        Ok(None) => Ok(Incoming::Unknown),
        Err(error) => Err(LinkError::protocol(error)),
    }
}

/// The sending half.
pub(crate) struct WebSocketWriter<S>(MessageWriter<S, Codec>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer for WebSocketWriter<S> {
    async fn send(&mut self, message: &GatewayMessage<'_>) -> Result<(), LinkError> {
        let message = encode(self.0.form, message);
        self.0.send(message).await
    }

    async fn pump(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        let mut pings =
            interval_at(Instant::now() + self.0.first_probe_after(), self.0.probe_every());
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            // A blocked write must not hide that the client is gone.
            tokio::select! {
                result = self.0.write(outbox) => return result,
                _ = pings.tick() => self.0.probe(&mut silent).await?,
            }
        }
    }

    async fn finish(
        &mut self,
        reason: CloseReason,
        message: &str,
        _: Instant,
    ) -> Result<(), LinkError> {
        let message = message.into();
        self.send(&GatewayMessage::Bye { reason, message, streams: 0 }).await?;
        let code = CloseCode::from(reason.websocket_code());
        let close = CloseFrame { code, reason: reason.name().into() };
        self.0.send(Message::Close(Some(close))).await
    }

    fn rtt(&self) -> LinkRtt {
        self.0.rtt()
    }

    fn abort(&mut self, _reason: CloseReason) {
        // The socket closes when both halves are dropped, which happens next.
    }
}

fn encode(codec: Codec, message: &GatewayMessage<'_>) -> Message {
    match codec {
        Codec::Postcard => Message::Binary(binary::encode(message).into()),
        Codec::Json => Message::text(json::encode(message)),
    }
}

impl MessageForm for Codec {
    fn message(&mut self, outgoing: Outgoing) -> Option<Message> {
        let frame = match outgoing {
            Outgoing::Frame(frame) => frame,
            Outgoing::Accepted { signals } => {
                return Some(encode(*self, &GatewayMessage::Accepted { signals }));
            }
            Outgoing::GoAway { within_ms } => {
                return Some(encode(*self, &GatewayMessage::GoAway { within_ms }));
            }
            Outgoing::Heartbeat => return Some(encode(*self, &GatewayMessage::Heartbeat {})),
            // Made for links with a stream per sender only.
            Outgoing::Signal { .. } | Outgoing::Destroyed { .. } => return None,
        };
        match self {
            Self::Postcard => Some(Message::Binary(frame.slice_ref(frame::message_of(&frame)))),
            // The relay encoded it from strings, so it is UTF-8.
            Self::Json => Utf8Bytes::try_from(frame).ok().map(Message::Text),
        }
    }
}
