//! As much of Socket.IO 4 (protocol 5, on Engine.IO 4) as a minimal client needs on a WebSocket
//! (<https://socket.io/docs/v4/socket-io-protocol/>).

use std::borrow::Cow;

use anyhow::{Context as _, bail};

use crate::client::{
    Address, ClientProtocol, HandshakeReply, Received,
    websocket::{self, Frame, TEXT},
};

/// The WebSocket transport of Engine.IO from the start, without an upgrade from polling.
const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// The first character of an Engine.IO packet is its type. A message contains a packet of Socket.IO,
/// whose first character is its type in turn.
const OPEN: &str = "0";
const PING: &str = "2";
const PONG: &str = "3";
const CONNECT: &str = "40";
const EVENT: &str = "42";

/// One client.
pub(crate) struct SocketIoProtocol {
    host: String,
    number: u32,
    upgraded: bool,
}

/// A packet of the server.
enum Packet<'a> {
    Open,
    Connected,
    Ping,
    Signal(&'a str),
}

impl SocketIoProtocol {
    pub(crate) fn new(host: &str, number: u32) -> Self {
        Self { host: host.to_owned(), number, upgraded: false }
    }
}

impl ClientProtocol for SocketIoProtocol {
    fn opening(&mut self) -> Vec<u8> {
        websocket::upgrade(&self.host, PATH, None)
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        if !self.upgraded {
            let Some(head) = websocket::upgraded(bytes)? else {
                return Ok(HandshakeReply::Incomplete);
            };
            self.upgraded = true;
            return Ok(HandshakeReply::Continue(head, Vec::new()));
        }
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => HandshakeReply::Incomplete,
            Frame::Control(count, reply) => {
                HandshakeReply::Continue(count, reply.unwrap_or_default())
            }
            Frame::Message(count, message) => match packet(message)? {
                Packet::Open => {
                    let connect = format!("{CONNECT}{{\"number\":{}}}", self.number);
                    HandshakeReply::Continue(count, text(&connect))
                }
                Packet::Ping => HandshakeReply::Continue(count, text(PONG)),
                Packet::Connected => HandshakeReply::Joined(count, Vec::new()),
                Packet::Signal(_) => bail!("Socket.IO sent a signal to who is not in"),
            },
        })
    }

    fn address(&self) -> Address {
        Address::Number(self.number)
    }

    /// The data contains no character that JSON would have to escape.
    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let event = match to {
            Some(Address::Number(number)) => format!("{EVENT}[\"one\",{number},\"{data}\"]"),
            _ => format!("{EVENT}[\"all\",\"{data}\"]"),
        };
        websocket::write(TEXT, event.as_bytes(), out);
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => Received::Incomplete,
            Frame::Control(count, None) => Received::Ignored(count),
            Frame::Control(count, Some(reply)) => Received::Reply(count, reply),
            Frame::Message(count, message) => match packet(message)? {
                Packet::Signal(data) => Received::Signal(count, Cow::Borrowed(data)),
                Packet::Ping => Received::Reply(count, text(PONG)),
                Packet::Open | Packet::Connected => Received::Ignored(count),
            },
        })
    }
}

fn text(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    websocket::write(TEXT, message.as_bytes(), &mut out);
    out
}

fn packet(message: &[u8]) -> anyhow::Result<Packet<'_>> {
    let message = std::str::from_utf8(message).context("a packet of Socket.IO is no text")?;
    if let Some(event) = message.strip_prefix(EVENT) {
        let event: (&str, &str) = serde_json::from_str(event).with_context(|| {
            format!("Socket.IO sent an event that the benchmark did not send: {event}")
        })?;
        return Ok(Packet::Signal(event.1));
    }
    if message == PING {
        return Ok(Packet::Ping);
    }
    if message.starts_with(CONNECT) {
        return Ok(Packet::Connected);
    }
    if message.starts_with(OPEN) {
        return Ok(Packet::Open);
    }
    bail!("Socket.IO sent {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server would send it.
    fn frame(message: &str) -> Vec<u8> {
        [&[0x81, message.len() as u8], message.as_bytes()].concat()
    }

    #[test]
    fn a_client_joins_in_three_steps() {
        let mut protocol = SocketIoProtocol::new("localhost:1", 7);
        assert!(protocol.opening().starts_with(b"GET /socket.io/?EIO=4&transport=websocket HTTP"));
        let consent = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let next = HandshakeReply::Continue(consent.len(), Vec::new());
        assert_eq!(protocol.join(consent).unwrap(), next);
        let open = frame(r#"0{"sid":"x"}"#);
        assert_eq!(protocol.join(&open[..5]).unwrap(), HandshakeReply::Incomplete);
        let connect = text(r#"40{"number":7}"#);
        assert_eq!(protocol.join(&open).unwrap(), HandshakeReply::Continue(open.len(), connect));
        let connected = frame(r#"40{"sid":"y"}"#);
        assert_eq!(
            protocol.join(&connected).unwrap(),
            HandshakeReply::Joined(connected.len(), Vec::new())
        );
        let refused = protocol.join(&frame(r#"44{"message":"no"}"#)).unwrap_err().to_string();
        assert!(refused.contains("no"), "{refused}");
    }

    #[test]
    fn a_message_is_an_event() {
        let (protocol, mut out) = (SocketIoProtocol::new("", 0), Vec::new());
        protocol.encode(None, "hello", &mut out);
        protocol.encode(Some(Address::Number(3)), "you", &mut out);
        let expected = [text(r#"42["all","hello"]"#), text(r#"42["one",3,"you"]"#)].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn events_are_decoded_and_pings_are_answered() {
        let protocol = SocketIoProtocol::new("", 0);
        let event = frame(r#"42["signal","hello"]"#);
        for end in 0..event.len() {
            assert_eq!(protocol.decode(&event[..end]).unwrap(), Received::Incomplete);
        }
        assert_eq!(protocol.decode(&event).unwrap(), Received::Signal(event.len(), "hello".into()));
        assert_eq!(protocol.decode(&frame("2")).unwrap(), Received::Reply(3, text("3")));
        for wrong in ["41", "42[]", r#"42["signal",1]"#, ""] {
            protocol.decode(&frame(wrong)).unwrap_err();
        }
    }
}
