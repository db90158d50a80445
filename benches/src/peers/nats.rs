//! nats-server, and as much of its protocol as a light client needs
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use std::{borrow::Cow, net::SocketAddr};

use anyhow::{Context as _, bail, ensure};

use super::run;
use crate::{
    place::Place,
    process::Process,
    wire::{Address, Heard, Joining, Speech},
};

/// Longer than any line of a server, whose INFO is the longest.
const MAX_LINE: usize = 16 * 1024;

pub(super) fn version() -> anyhow::Result<String> {
    let (_, output) = run("nats-server", &["--version"])
        .context("to set nats beside Signalbox, install it: apt install nats-server")?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(said.rsplit_once(": v").map_or(said.clone(), |(_, version)| version.to_owned()))
}

/// With its defaults.
pub(super) async fn start(place: &Place<'_>) -> anyhow::Result<(Process, SocketAddr)> {
    let (program, _) = run("nats-server", &["--version"])?;
    let (certificate, key) = place.certificate();
    let mut command = place.command(program);
    // Port -1 is any.
    command.args(["--addr", "127.0.0.1", "--port", "-1", "--tls", "--tlscert"]).arg(certificate);
    command.arg("--tlskey").arg(key);
    let mut process = place.spawn("nats-server", &mut command)?;
    let address = process.logged(listening).await?;
    Ok((process, address.parse()?))
}

fn listening(log: &str) -> Option<String> {
    let (before, _) = log.split_once("Server is ready")?;
    let (_, address) = before.split_once("Listening for client connections on ")?;
    Some(address.lines().next()?.to_owned())
}

/// What a client says, after the server's first line and the handshake of TLS.
pub(super) struct NatsSpeech {
    number: u32,
}

impl NatsSpeech {
    pub(super) fn new(number: u32) -> Self {
        Self { number }
    }
}

impl Speech for NatsSpeech {
    fn greeting(&mut self) -> Vec<u8> {
        let number = self.number;
        format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\"echo\":true,\
             \"protocol\":1,\"lang\":\"signalbox-bench\",\"version\":\"{}\"}}\r\n\
             SUB all 1\r\nSUB one.{number} 2\r\nPING\r\n",
            env!("CARGO_PKG_VERSION")
        )
        .into_bytes()
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<Joining> {
        let Some((line, end)) = line(bytes)? else { return Ok(Joining::Incomplete) };
        // What was said before the ping is done when it is answered.
        if line == "PONG" {
            return Ok(Joining::Joined(end));
        }
        Ok(Joining::Continue(end, operation(line)?.unwrap_or_default()))
    }

    fn address(&self) -> Address {
        Address::Number(self.number)
    }

    fn say(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let length = data.len();
        let head = match to {
            Some(Address::Number(number)) => format!("PUB one.{number} {length}\r\n"),
            _ => format!("PUB all {length}\r\n"),
        };
        for part in [&head, data, "\r\n"] {
            out.extend(part.as_bytes());
        }
    }

    fn hear<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Heard<'a>> {
        let Some((line, end)) = line(bytes)? else { return Ok(Heard::Incomplete) };
        let Some(message) = line.strip_prefix("MSG ") else {
            return Ok(match operation(line)? {
                None => Heard::Nothing(end),
                Some(answer) => Heard::Answer(end, answer),
            });
        };
        let length: Option<usize> = message.rsplit(' ').next().and_then(|it| it.parse().ok());
        let data_end = length.and_then(|length| end.checked_add(length));
        let whole = data_end.and_then(|data_end| Some((data_end, data_end.checked_add(2)?)));
        let (data_end, whole) =
            whole.with_context(|| format!("nats-server sent a message without length: {line}"))?;
        let (Some(data), Some(after)) = (bytes.get(end..data_end), bytes.get(data_end..whole))
        else {
            return Ok(Heard::Incomplete);
        };
        ensure!(after == b"\r\n", "a message of nats-server is longer than it says");
        Ok(Heard::Signal(whole, Cow::Borrowed(std::str::from_utf8(data)?)))
    }
}

/// The answer to what is no message, if it wants one.
fn operation(line: &str) -> anyhow::Result<Option<Vec<u8>>> {
    match line.split(' ').next().unwrap_or_default() {
        "PING" => Ok(Some(b"PONG\r\n".to_vec())),
        "PONG" | "INFO" | "+OK" => Ok(None),
        _ => bail!("nats-server said {line}"),
    }
}

/// The first line without its end, and how long it is with that.
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
        let mut speech = NatsSpeech::new(7);
        let greeting = String::from_utf8(speech.greeting()).unwrap();
        assert!(greeting.ends_with("SUB all 1\r\nSUB one.7 2\r\nPING\r\n"), "{greeting}");
        assert_eq!(speech.join(b"PON").unwrap(), Joining::Incomplete);
        assert_eq!(speech.join(b"INFO {}\r\nPONG").unwrap(), Joining::Continue(9, Vec::new()));
        let answer = b"PONG\r\n".to_vec();
        assert_eq!(speech.join(b"PING\r\n").unwrap(), Joining::Continue(6, answer));
        assert_eq!(speech.join(b"PONG\r\nMSG").unwrap(), Joining::Joined(6));
        let error = speech.join(b"-ERR 'Authorization Violation'\r\n").unwrap_err().to_string();
        assert!(error.contains("Authorization"), "{error}");
    }

    #[test]
    fn what_is_said_has_its_length() {
        let (speech, mut out) = (NatsSpeech::new(0), Vec::new());
        speech.say(None, "hello", &mut out);
        speech.say(Some(Address::Number(3)), "you", &mut out);
        assert_eq!(out, b"PUB all 5\r\nhello\r\nPUB one.3 3\r\nyou\r\n");
    }

    #[test]
    fn a_message_is_heard_when_it_is_whole() {
        let speech = NatsSpeech::new(0);
        let bytes = b"MSG all 1 5\r\nhello\r\n";
        for end in 0..bytes.len() {
            assert_eq!(speech.hear(&bytes[..end]).unwrap(), Heard::Incomplete, "{end}");
        }
        assert_eq!(speech.hear(bytes).unwrap(), Heard::Signal(bytes.len(), "hello".into()));
        let reply = b"MSG all 1 inbox 2\r\nhi\r\nMSG";
        assert_eq!(speech.hear(reply).unwrap(), Heard::Signal(23, "hi".into()));
        assert_eq!(speech.hear(b"+OK\r\n").unwrap(), Heard::Nothing(5));
        assert_eq!(speech.hear(b"PING\r\n").unwrap(), Heard::Answer(6, b"PONG\r\n".to_vec()));
    }

    #[test]
    fn what_is_malformed_is_an_error() {
        let speech = NatsSpeech::new(0);
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
            speech.hear(bytes).unwrap_err();
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
