//! nats-server, and as much of its protocol as a minimal client needs
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use std::{borrow::Cow, net::SocketAddr, path::Path};

use anyhow::{Context as _, bail, ensure};

use super::run;
use crate::{
    client::{Address, ClientProtocol, HandshakeReply, Received},
    process::{Process, ProcessDir},
};

/// Longer than a server's longest line, INFO.
const MAX_LINE: usize = 16 * 1024;

pub(crate) fn version() -> anyhow::Result<String> {
    let (_, output) = run("nats-server", &["--version"])
        .context("to compare with nats, install it: apt install nats-server")?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(said.rsplit_once(": v").map_or(said.clone(), |(_, version)| version.to_owned()))
}

/// Starts it with its defaults.
pub(crate) async fn start(directory: &ProcessDir<'_>) -> anyhow::Result<(Process, SocketAddr)> {
    let (certificate, key) = directory.certificate();
    let tls = ["--tls".as_ref(), "--tlscert".as_ref(), certificate, "--tlskey".as_ref(), key];
    start_with(directory, &tls).await
}

/// Starts it in plaintext, as the bus of a cluster on one machine.
pub(crate) async fn start_plain(
    directory: &ProcessDir<'_>,
) -> anyhow::Result<(Process, SocketAddr)> {
    start_with(directory, &[]).await
}

async fn start_with(
    directory: &ProcessDir<'_>,
    arguments: &[&Path],
) -> anyhow::Result<(Process, SocketAddr)> {
    let (program, _) = run("nats-server", &["--version"])?;
    let mut command = directory.command(program);
    // Port -1 is any.
    command.args(["--addr", "127.0.0.1", "--port", "-1"]).args(arguments);
    let mut process = directory.spawn("nats-server", &mut command)?;
    let address = process.logged(listening).await?;
    Ok((process, address.parse()?))
}

fn listening(log: &str) -> Option<String> {
    let (before, _) = log.split_once("Server is ready")?;
    let (_, address) = before.split_once("Listening for client connections on ")?;
    Some(address.lines().next()?.to_owned())
}

/// The protocol of a client, after the server's first line and the TLS handshake.
pub(crate) struct NatsProtocol {
    number: u32,
}

impl NatsProtocol {
    pub(crate) fn new(number: u32) -> Self {
        Self { number }
    }
}

impl ClientProtocol for NatsProtocol {
    fn opening(&mut self) -> Vec<u8> {
        let number = self.number;
        format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"echo\":true,\
             \"protocol\":1,\"lang\":\"signalbox-bench\",\"version\":\"{}\"}}\r\n\
             SUB all 1\r\nSUB one.{number} 2\r\nPING\r\n",
            env!("CARGO_PKG_VERSION")
        )
        .into_bytes()
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        let Some((line, end)) = line(bytes)? else { return Ok(HandshakeReply::Incomplete) };
        // The ping is answered when everything before it is done.
        if line == "PONG" {
            return Ok(HandshakeReply::Joined(end, Vec::new()));
        }
        Ok(HandshakeReply::Continue(end, operation(line)?.unwrap_or_default()))
    }

    fn address(&self) -> Address {
        Address::Number(self.number)
    }

    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let length = data.len();
        let head = match to {
            Some(Address::Number(number)) => format!("PUB one.{number} {length}\r\n"),
            _ => format!("PUB all {length}\r\n"),
        };
        for part in [&head, data, "\r\n"] {
            out.extend(part.as_bytes());
        }
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        let Some((line, end)) = line(bytes)? else { return Ok(Received::Incomplete) };
        let Some(message) = line.strip_prefix("MSG ") else {
            return Ok(match operation(line)? {
                None => Received::Ignored(end),
                Some(reply) => Received::Reply(end, reply),
            });
        };
        let length: Option<usize> = message.rsplit(' ').next().and_then(|it| it.parse().ok());
        let data_end = length.and_then(|length| end.checked_add(length));
        let whole = data_end.and_then(|data_end| Some((data_end, data_end.checked_add(2)?)));
        let (data_end, whole) =
            whole.with_context(|| format!("nats-server sent a message without length: {line}"))?;
        let (Some(data), Some(after)) = (bytes.get(end..data_end), bytes.get(data_end..whole))
        else {
            return Ok(Received::Incomplete);
        };
        ensure!(after == b"\r\n", "a message of nats-server is longer than it says");
        Ok(Received::Signal(whole, Cow::Borrowed(std::str::from_utf8(data)?)))
    }
}

/// The reply to an operation other than a message, if it needs one.
fn operation(line: &str) -> anyhow::Result<Option<Vec<u8>>> {
    match line.split(' ').next().unwrap_or_default() {
        "PING" => Ok(Some(b"PONG\r\n".to_vec())),
        "PONG" | "INFO" | "+OK" => Ok(None),
        _ => bail!("nats-server sent {line}"),
    }
}

/// The first line without its end, and its length with that.
fn line(bytes: &[u8]) -> anyhow::Result<Option<(&str, usize)>> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        ensure!(bytes.len() < MAX_LINE, "a line of nats-server does not end");
        return Ok(None);
    };
    let line = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    Ok(Some((line.strip_suffix('\r').context("a line of nats-server has no end")?, end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_joins_when_its_ping_is_answered() {
        let mut protocol = NatsProtocol::new(7);
        let opening = String::from_utf8(protocol.opening()).unwrap();
        assert!(opening.ends_with("SUB all 1\r\nSUB one.7 2\r\nPING\r\n"), "{opening}");
        assert_eq!(protocol.join(b"PON").unwrap(), HandshakeReply::Incomplete);
        assert_eq!(
            protocol.join(b"INFO {}\r\nPONG").unwrap(),
            HandshakeReply::Continue(9, Vec::new())
        );
        let reply = b"PONG\r\n".to_vec();
        assert_eq!(protocol.join(b"PING\r\n").unwrap(), HandshakeReply::Continue(6, reply));
        assert_eq!(protocol.join(b"PONG\r\nMSG").unwrap(), HandshakeReply::Joined(6, Vec::new()));
        let error = protocol.join(b"-ERR 'Authorization Violation'\r\n").unwrap_err().to_string();
        assert!(error.contains("Authorization"), "{error}");
    }

    #[test]
    fn a_message_has_its_length() {
        let (protocol, mut out) = (NatsProtocol::new(0), Vec::new());
        protocol.encode(None, "hello", &mut out);
        protocol.encode(Some(Address::Number(3)), "you", &mut out);
        assert_eq!(out, b"PUB all 5\r\nhello\r\nPUB one.3 3\r\nyou\r\n");
    }

    #[test]
    fn a_message_is_decoded_when_it_is_whole() {
        let protocol = NatsProtocol::new(0);
        let bytes = b"MSG all 1 5\r\nhello\r\n";
        for end in 0..bytes.len() {
            assert_eq!(protocol.decode(&bytes[..end]).unwrap(), Received::Incomplete, "{end}");
        }
        assert_eq!(protocol.decode(bytes).unwrap(), Received::Signal(bytes.len(), "hello".into()));
        let reply = b"MSG all 1 inbox 2\r\nhi\r\nMSG";
        assert_eq!(protocol.decode(reply).unwrap(), Received::Signal(23, "hi".into()));
        assert_eq!(protocol.decode(b"+OK\r\n").unwrap(), Received::Ignored(5));
        assert_eq!(protocol.decode(b"PING\r\n").unwrap(), Received::Reply(6, b"PONG\r\n".to_vec()));
    }

    #[test]
    fn malformed_messages_are_errors() {
        let protocol = NatsProtocol::new(0);
        for bytes in [
            &b"-ERR 'Slow Consumer'\r\n"[..],
            b"MSG all 1 x\r\n",
            b"MSG all 1 18446744073709551615\r\n",
            b"MSG all 1 2\r\nhello\r\n",
            b"PING\n",
            b"\xff\r\n",
            b"what\r\n",
            &[b'x'; MAX_LINE],
        ] {
            protocol.decode(bytes).unwrap_err();
        }
    }

    #[test]
    fn the_log_says_where_it_listens() {
        let log = "[INF] Listening for client connections on 127.0.0.1:4222\n[INF] TLS required\n";
        assert_eq!(listening(log), None);
        let log = format!("{log}[INF] Server is ready\n");
        assert_eq!(listening(&log).as_deref(), Some("127.0.0.1:4222"));
    }
}
