//! The protocol of our scripts on uWebSockets.js and ws: the recipient, then text.

use std::borrow::Cow;

use anyhow::bail;

use crate::client::{
    Address, ClientProtocol, HandshakeReply, Received,
    websocket::{self, Frame, TEXT},
};

/// One client.
pub(crate) struct PlainProtocol {
    host: String,
    number: u32,
}

impl PlainProtocol {
    pub(crate) fn new(host: &str, number: u32) -> Self {
        Self { host: host.to_owned(), number }
    }
}

impl ClientProtocol for PlainProtocol {
    fn opening(&mut self) -> Vec<u8> {
        websocket::upgrade(&self.host, &format!("/{}", self.number), None)
    }

    /// Both subscribe a client when they accept it.
    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        Ok(websocket::upgraded(bytes)?
            .map_or(HandshakeReply::Incomplete, |head| HandshakeReply::Joined(head, Vec::new())))
    }

    fn address(&self) -> Address {
        Address::Number(self.number)
    }

    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let message = match to {
            Some(Address::Number(number)) => format!("{number} {data}"),
            _ => format!("* {data}"),
        };
        websocket::write(TEXT, message.as_bytes(), out);
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => Received::Incomplete,
            Frame::Control(count, None) => Received::Ignored(count),
            Frame::Control(count, Some(reply)) => Received::Reply(count, reply),
            Frame::Message(count, message) => match std::str::from_utf8(message) {
                Ok(data) => Received::Signal(count, Cow::Borrowed(data)),
                Err(_) => bail!("a message is no text"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_itself_and_is_in_when_accepted() {
        let mut protocol = PlainProtocol::new("localhost:1", 7);
        assert!(protocol.opening().starts_with(b"GET /7 HTTP/1.1\r\nHost: localhost:1\r\n"));
        let consent = b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81";
        assert_eq!(protocol.join(&consent[..9]).unwrap(), HandshakeReply::Incomplete);
        assert_eq!(
            protocol.join(consent).unwrap(),
            HandshakeReply::Joined(consent.len() - 1, Vec::new())
        );
        protocol.join(b"HTTP/1.1 500 No\r\n\r\n").unwrap_err();
    }

    #[test]
    fn the_recipient_comes_first() {
        let (protocol, mut out, mut expected) = (PlainProtocol::new("", 0), Vec::new(), Vec::new());
        protocol.encode(None, "hello", &mut out);
        protocol.encode(Some(Address::Number(3)), "you", &mut out);
        websocket::write(TEXT, b"* hello", &mut expected);
        websocket::write(TEXT, b"3 you", &mut expected);
        assert_eq!(out, expected);
    }

    #[test]
    fn text_is_decoded_when_it_is_whole() {
        let protocol = PlainProtocol::new("", 0);
        let bytes = b"\x81\x05hello";
        for end in 0..bytes.len() {
            assert_eq!(protocol.decode(&bytes[..end]).unwrap(), Received::Incomplete);
        }
        assert_eq!(protocol.decode(bytes).unwrap(), Received::Signal(7, "hello".into()));
        assert!(matches!(protocol.decode(&[0x89, 0]).unwrap(), Received::Reply(2, _)));
        protocol.decode(&[0x81, 1, 0xff]).unwrap_err();
    }
}
