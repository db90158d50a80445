//! mosquitto, and as much of MQTT 3.1.1 as a minimal client needs
//! (<https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html>).

use std::{
    borrow::Cow,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, bail, ensure};

use super::run;
use crate::{
    client::{Address, ClientProtocol, HandshakeReply, Received},
    process::{Process, ProcessDir},
};

/// Packets, with their flags (MQTT 3.1.1, 2.2).
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

/// The kind of a packet in its first byte.
const KIND: u8 = 0xf0;

/// The topic of all clients.
const ALL: &str = "all";

pub(crate) fn version() -> anyhow::Result<String> {
    let (_, output) = run("mosquitto", &["-h"])
        .context("to compare with mosquitto, install it: apt install mosquitto")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let first = said.lines().next().unwrap_or_default();
    Ok(first.trim_start_matches("mosquitto version ").to_owned())
}

/// Three settings differ from the defaults. Nagle's algorithm is off, as in every other system here
/// (with it, some messages wait 40 ms for an acknowledgement). Connections are not logged, as in
/// every other system. The queue of a client is as long as a gateway's before messages are dropped,
/// instead of 1000. It keeps its user, who may read the key.
pub(crate) async fn start(directory: &ProcessDir<'_>) -> anyhow::Result<(Process, SocketAddr)> {
    let (program, _) = run("mosquitto", &["-h"])?;
    let port = directory.free_port()?;
    let (certificate, key) = directory.certificate();
    let (certificate, key) = (certificate.display(), key.display());
    let config = format!(
        "user root\nset_tcp_nodelay true\nconnection_messages false\nmax_queued_messages 4096\n\
         listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {certificate}\nkeyfile {key}\n"
    );
    let config = directory.write("mosquitto.conf", &config)?;
    let mut command = directory.command(program);
    command.arg("-c").arg(config);
    let mut process = directory.spawn("mosquitto", &mut command)?;
    process.logged(|log| log.contains(" running\n").then_some(())).await?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// The protocol of a client.
pub(crate) struct MqttProtocol {
    number: u32,
}

impl MqttProtocol {
    pub(crate) fn new(number: u32) -> Self {
        Self { number }
    }
}

impl ClientProtocol for MqttProtocol {
    fn opening(&mut self) -> Vec<u8> {
        // Version 4 is 3.1.1; flag 2 is a clean session; no keep-alive; the server gives an id.
        let mut out = Vec::new();
        packet(CONNECT, &[&string("MQTT"), &[4, 2, 0, 0], &string("")], &mut out);
        out
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        let Some((first, body, end)) = read(bytes)? else { return Ok(HandshakeReply::Incomplete) };
        match (first, body) {
            (CONNACK, [_, 0]) => {
                let mut answer = Vec::new();
                // Packet 1, both with QoS 0.
                let (all, one) = (string(ALL), string(&topic(self.number)));
                packet(SUBSCRIBE, &[&[0, 1], &all, &[0], &one, &[0]], &mut answer);
                Ok(HandshakeReply::Continue(end, answer))
            }
            (SUBACK, [0, 1, 0, 0]) => Ok(HandshakeReply::Joined(end, Vec::new())),
            _ => bail!("mosquitto refuses a client (packet {first:#04x}, {body:?})"),
        }
    }

    fn address(&self) -> Address {
        Address::Number(self.number)
    }

    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let topic = match to {
            Some(Address::Number(number)) => Cow::Owned(topic(number)),
            _ => Cow::Borrowed(ALL),
        };
        packet(PUBLISH, &[&string(&topic), data.as_bytes()], out);
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        let Some((first, body, end)) = read(bytes)? else { return Ok(Received::Incomplete) };
        ensure!(first & KIND == PUBLISH, "mosquitto sent the packet {first:#04x}");
        let (length, rest) = body.split_first_chunk().context("a message without a topic")?;
        let length = usize::from(u16::from_be_bytes(*length));
        let data = rest.get(length..).context("the topic is longer than its message")?;
        Ok(Received::Signal(end, Cow::Borrowed(std::str::from_utf8(data)?)))
    }
}

/// The topic of one client alone.
fn topic(number: u32) -> String {
    format!("one/{number}")
}

/// A string after its length. Ours are short.
fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Appends a packet.
fn packet(first: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(first);
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    // Seven bits at a time; the eighth is set if more follow.
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    for part in parts {
        out.extend(*part);
    }
}

/// The first packet: its first byte, the bytes after its length, and its whole length.
fn read(bytes: &[u8]) -> anyhow::Result<Option<(u8, &[u8], usize)>> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for (index, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 2;
            let body = bytes.get(start..start + length);
            return Ok(body.map(|body| (*first, body, start + length)));
        }
    }
    ensure!(rest.len() < 4, "the length of a packet does not end");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_connects_and_subscribes() {
        let mut protocol = MqttProtocol::new(7);
        assert_eq!(protocol.opening(), b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00");
        assert_eq!(protocol.join(&[0x20, 2, 0]).unwrap(), HandshakeReply::Incomplete);
        let subscribe = b"\x82\x10\x00\x01\x00\x03all\x00\x00\x05one/7\x00".to_vec();
        assert_eq!(
            protocol.join(&[0x20, 2, 0, 0]).unwrap(),
            HandshakeReply::Continue(4, subscribe)
        );
        assert_eq!(
            protocol.join(&[0x90, 4, 0, 1, 0, 0, 0x30]).unwrap(),
            HandshakeReply::Joined(6, Vec::new())
        );
        // Not authorized; a subscription that failed.
        protocol.join(&[0x20, 2, 0, 5]).unwrap_err();
        protocol.join(&[0x90, 4, 0, 1, 0, 0x80]).unwrap_err();
    }

    #[test]
    fn a_message_has_a_topic() {
        let (protocol, mut out) = (MqttProtocol::new(0), Vec::new());
        protocol.encode(None, "hello", &mut out);
        protocol.encode(Some(Address::Number(3)), "you", &mut out);
        assert_eq!(out, b"\x30\x0a\x00\x03allhello\x30\x0a\x00\x05one/3you");
    }

    #[test]
    fn messages_of_all_lengths_are_decoded_when_they_are_whole() {
        let protocol = MqttProtocol::new(0);
        // With its topic a message of 122 needs one byte for its length; of 123, two.
        for length in [0, 122, 123, 16_378, 16_379] {
            let (data, mut bytes) = ("x".repeat(length), Vec::new());
            protocol.encode(None, &data, &mut bytes);
            for end in [0, 1, 2, 3, bytes.len() - 1] {
                assert_eq!(protocol.decode(&bytes[..end]).unwrap(), Received::Incomplete, "{end}");
            }
            let heard = Received::Signal(bytes.len(), data.as_str().into());
            bytes.push(PUBLISH);
            assert_eq!(protocol.decode(&bytes).unwrap(), heard);
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        let protocol = MqttProtocol::new(0);
        for bytes in [
            &[0xd0, 0][..],
            &[0x30, 1, 0],
            &[0x30, 3, 0, 9, b'x'],
            &[0x30, 4, 0, 1, b'x', 0xff],
            &[0x30, 0x80, 0x80, 0x80, 0x80, 1],
        ] {
            protocol.decode(bytes).unwrap_err();
        }
    }
}
