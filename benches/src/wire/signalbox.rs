//! What the clients of Signalbox say on a WebSocket, in both encodings.

use std::borrow::Cow;

use anyhow::{Context as _, bail};
use signalbox_protocol::{
    ClientMessage, Codec, ConnectionId, GatewayMessage, Signal, Streams, WEBSOCKET_PATH, binary,
    json,
    message::{Hello, SendSignal},
};

use super::{
    Address, Heard, Joining, Speech,
    websocket::{self, BINARY, Frame, TEXT},
};

/// What the benchmark's clients call themselves.
pub(crate) const AGENT: &str = concat!("signalbox-bench/", env!("CARGO_PKG_VERSION"));

/// One client.
pub(crate) struct WebSocketSpeech {
    host: String,
    token: String,
    json: bool,
    upgraded: bool,
    own: Option<ConnectionId>,
}

/// The hello of every light client. Presence would make joining a crowd costly, and no other
/// system has it.
pub(crate) fn hello(token: &str, streams: Streams) -> ClientMessage<'_> {
    let agent = Some(AGENT.into());
    ClientMessage::Hello(Hello { token: token.into(), presence: false, streams, agent })
}

/// A signal with this data.
pub(super) fn signal(to: Option<Address>, data: &str) -> ClientMessage<'_> {
    let to = match to {
        Some(Address::Connection(id)) => Some(id),
        _ => None,
    };
    let signal = Signal { signal_type: None, data: Some(data.into()) };
    ClientMessage::Signal(SendSignal::new(to, signal))
}

/// What a message of the gateway means to a client that is in its session: a signal's data, if
/// it is one.
///
/// # Errors
/// If something has been refused, or the gateway ends the link.
pub(super) fn data_of(message: GatewayMessage<'_>) -> anyhow::Result<Option<Cow<'_, str>>> {
    match message {
        GatewayMessage::Signal(signal) => {
            let data = signal.data.context("a signal without data, which nobody sent")?;
            Ok(Some(data.into()))
        }
        GatewayMessage::Error { code, message, .. } => {
            bail!("the gateway refused a signal ({code:?}): {message}")
        }
        GatewayMessage::Bye { reason, message, .. } => {
            bail!("the gateway ended a link ({reason}): {message}")
        }
        _ => Ok(None),
    }
}

impl WebSocketSpeech {
    /// Joins the session of a token.
    pub(crate) fn new(host: &str, token: &str, json: bool) -> Self {
        let (host, token) = (host.to_owned(), token.to_owned());
        Self { host, token, json, upgraded: false, own: None }
    }

    fn write(&self, message: &ClientMessage<'_>, out: &mut Vec<u8>) {
        if self.json {
            websocket::write(TEXT, json::encode(message).as_bytes(), out);
        } else {
            websocket::write(BINARY, &binary::encode(message), out);
        }
    }

    fn read<'a>(&self, message: &'a [u8]) -> anyhow::Result<Option<GatewayMessage<'a>>> {
        if self.json {
            let text = std::str::from_utf8(message).context("JSON that is no text")?;
            json::decode(text).context("the gateway's message is malformed")
        } else {
            binary::decode(message).context("the gateway's message is malformed")
        }
    }
}

impl Speech for WebSocketSpeech {
    fn greeting(&mut self) -> Vec<u8> {
        let subprotocol = if self.json { Codec::Json } else { Codec::Postcard }.subprotocol();
        websocket::upgrade(&self.host, WEBSOCKET_PATH, Some(subprotocol))
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<Joining> {
        if !self.upgraded {
            let Some(head) = websocket::upgraded(bytes)? else { return Ok(Joining::Incomplete) };
            self.upgraded = true;
            let mut answer = Vec::new();
            self.write(&hello(&self.token, Streams::Single), &mut answer);
            return Ok(Joining::Continue(head, answer));
        }
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => Joining::Incomplete,
            Frame::Control(count, answer) => Joining::Continue(count, answer.unwrap_or_default()),
            Frame::Message(count, message) => match self.read(message)? {
                Some(GatewayMessage::Welcome(welcome)) => {
                    self.own = Some(welcome.connection.id);
                    Joining::Joined(count)
                }
                Some(message) => {
                    data_of(message)?;
                    Joining::Continue(count, Vec::new())
                }
                None => Joining::Continue(count, Vec::new()),
            },
        })
    }

    fn address(&self) -> Address {
        self.own.map_or(Address::Number(0), Address::Connection)
    }

    fn say(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        self.write(&signal(to, data), out);
    }

    fn hear<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Heard<'a>> {
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => Heard::Incomplete,
            Frame::Control(count, None) => Heard::Nothing(count),
            Frame::Control(count, Some(answer)) => Heard::Answer(count, answer),
            Frame::Message(count, message) => match self.read(message)?.map(data_of).transpose()? {
                Some(Some(data)) => Heard::Signal(count, data),
                _ => Heard::Nothing(count),
            },
        })
    }
}
