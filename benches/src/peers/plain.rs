//! What clients say to our scripts on uWebSockets.js and ws: text, after whom it is for.

use std::borrow::Cow;

use anyhow::bail;

use crate::wire::{
    Address, Heard, Joining, Speech,
    websocket::{self, Frame, TEXT},
};

/// One client.
pub(super) struct PlainSpeech {
    host: String,
    number: u32,
}

impl PlainSpeech {
    pub(super) fn new(host: &str, number: u32) -> Self {
        Self { host: host.to_owned(), number }
    }
}

impl Speech for PlainSpeech {
    fn greeting(&mut self) -> Vec<u8> {
        websocket::upgrade(&self.host, &format!("/{}", self.number), None)
    }

    /// Both subscribe a client in the same breath in which they accept it.
    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<Joining> {
        Ok(websocket::upgraded(bytes)?.map_or(Joining::Incomplete, Joining::Joined))
    }

    fn address(&self) -> Address {
        Address::Number(self.number)
    }

    fn say(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let message = match to {
            Some(Address::Number(number)) => format!("{number} {data}"),
            _ => format!("* {data}"),
        };
        websocket::write(TEXT, message.as_bytes(), out);
    }

    fn hear<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Heard<'a>> {
        Ok(match websocket::read(bytes)? {
            Frame::Incomplete => Heard::Incomplete,
            Frame::Control(count, None) => Heard::Nothing(count),
            Frame::Control(count, Some(answer)) => Heard::Answer(count, answer),
            Frame::Message(count, message) => match std::str::from_utf8(message) {
                Ok(data) => Heard::Signal(count, Cow::Borrowed(data)),
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
        let mut speech = PlainSpeech::new("localhost:1", 7);
        assert!(speech.greeting().starts_with(b"GET /7 HTTP/1.1\r\nHost: localhost:1\r\n"));
        let consent = b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81";
        assert_eq!(speech.join(&consent[..9]).unwrap(), Joining::Incomplete);
        assert_eq!(speech.join(consent).unwrap(), Joining::Joined(consent.len() - 1));
        speech.join(b"HTTP/1.1 500 No\r\n\r\n").unwrap_err();
    }

    #[test]
    fn whom_it_is_for_comes_first() {
        let (speech, mut out, mut expected) = (PlainSpeech::new("", 0), Vec::new(), Vec::new());
        speech.say(None, "hello", &mut out);
        speech.say(Some(Address::Number(3)), "you", &mut out);
        websocket::write(TEXT, b"* hello", &mut expected);
        websocket::write(TEXT, b"3 you", &mut expected);
        assert_eq!(out, expected);
    }

    #[test]
    fn text_is_heard_when_it_is_whole() {
        let speech = PlainSpeech::new("", 0);
        let bytes = b"\x81\x05hello";
        for end in 0..bytes.len() {
            assert_eq!(speech.hear(&bytes[..end]).unwrap(), Heard::Incomplete);
        }
        assert_eq!(speech.hear(bytes).unwrap(), Heard::Signal(7, "hello".into()));
        assert!(matches!(speech.hear(&[0x89, 0]).unwrap(), Heard::Answer(2, _)));
        speech.hear(&[0x81, 1, 0xff]).unwrap_err();
    }
}
