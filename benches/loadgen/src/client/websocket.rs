//! As much of WebSocket (RFC 6455) as a minimal client needs: the upgrade, whole messages in one
//! frame each, and pings.

use anyhow::{Context as _, bail, ensure};

/// Opcode of a text message.
pub const TEXT: u8 = 1;
/// Opcode of a binary message.
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Set in a frame that is a whole message.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Any four bytes will do: neither program is a browser (RFC 6455 §10.3 is about proxies that a web
/// page could attack).
const MASK: [u8; 4] = *b"mask";

/// A request for an upgrade. Any key will do: the client does not check the response against it.
pub fn upgrade(host: &str, path: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let subprotocol = subprotocol.map(|it| format!("Sec-WebSocket-Protocol: {it}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2lnbmFsYm94LWJlbmNoIQ==\r\n{}\r\n",
        subprotocol.unwrap_or_default()
    )
    .into_bytes()
}

/// Length of the server's response, if it is complete.
pub fn upgraded(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 101"), "no WebSocket: {status}");
    Ok(Some(end + 4))
}

/// Appends a message of a client.
pub fn write(opcode: u8, message: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match message.len() {
        len @ 0..126 => out.push(MASKED | len as u8),
        len @ 126..0x1_0000 => {
            out.push(MASKED | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(MASKED | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The first frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A message, text or binary, and the length of its frame.
    Message(usize, &'a [u8]),
    /// Another frame: its length, and the reply that it needs.
    Control(usize, Option<Vec<u8>>),
}

/// Reads the first frame.
pub fn read(bytes: &[u8]) -> anyhow::Result<Frame<'_>> {
    let (Some(first), Some(second)) = (bytes.first(), bytes.get(1)) else {
        return Ok(Frame::Incomplete);
    };
    ensure!(second & MASKED == 0, "a server's frame is masked");
    ensure!(first & FIN != 0, "a message comes in pieces, which is not understood");
    let (head, len): (usize, usize) = match second {
        126 => {
            let Some(len) = bytes.get(2..4) else { return Ok(Frame::Incomplete) };
            (4, usize::from(u16::from_be_bytes(len.try_into()?)))
        }
        127 => {
            let Some(len) = bytes.get(2..10) else { return Ok(Frame::Incomplete) };
            (10, usize::try_from(u64::from_be_bytes(len.try_into()?))?)
        }
        len => (2, usize::from(*len)),
    };
    let end = head.checked_add(len).context("a frame is too long")?;
    let Some(message) = bytes.get(head..end) else {
        return Ok(Frame::Incomplete);
    };
    match first & 0x0f {
        TEXT | BINARY => Ok(Frame::Message(end, message)),
        PING => {
            let mut pong = Vec::new();
            write(PONG, message, &mut pong);
            Ok(Frame::Control(end, Some(pong)))
        }
        PONG => Ok(Frame::Control(end, None)),
        CLOSE => {
            let code = message.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
            let reason = String::from_utf8_lossy(message.get(2..).unwrap_or_default());
            bail!("the server closed a connection with code {code} ({reason})")
        }
        opcode => bail!("a frame has the unknown opcode {opcode}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server would send it.
    fn unmasked(opcode: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FIN | opcode];
        match message.len() {
            len @ 0..126 => bytes.push(len as u8),
            len @ 126..0x1_0000 => {
                bytes.push(126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(message);
        bytes
    }

    #[test]
    fn messages_of_all_lengths_are_read_when_they_are_whole() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let message = vec![7; len];
            let bytes = unmasked(BINARY, &message);
            for end in [0, 1, 2, 3, bytes.len() - 1] {
                if end < bytes.len() {
                    assert_eq!(read(&bytes[..end]).unwrap(), Frame::Incomplete);
                }
            }
            assert_eq!(read(&bytes).unwrap(), Frame::Message(bytes.len(), &message));
        }
    }

    #[test]
    fn a_client_masks_its_messages() {
        let mut out = Vec::new();
        write(TEXT, b"abcde", &mut out);
        let expected = [b'a' ^ b'm', b'b' ^ b'a', b'c' ^ b's', b'd' ^ b'k', b'e' ^ b'm'];
        assert_eq!(out, [&[0x81, 0x85][..], b"mask", &expected].concat());
    }

    #[test]
    fn a_ping_is_answered_and_a_close_is_an_error() {
        let ping = unmasked(PING, b"x");
        let pong = [&[0x8a, 0x81][..], b"mask", &[b'x' ^ b'm']].concat();
        assert_eq!(read(&ping).unwrap(), Frame::Control(3, Some(pong)));
        let error = read(&unmasked(CLOSE, b"\x0f\xa0why")).unwrap_err().to_string();
        assert!(error.contains("4000") && error.contains("why"), "{error}");
        read(&[0x02, 0x00]).unwrap_err();
        read(&[0x82, 0x80, 1, 2, 3, 4]).unwrap_err();
    }

    #[test]
    fn the_upgrade_ends_with_an_empty_line() {
        let yes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81";
        assert_eq!(upgraded(yes).unwrap(), Some(yes.len() - 1));
        assert_eq!(upgraded(&yes[..20]).unwrap(), None);
        let error = upgraded(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().to_string();
        assert!(error.contains("404"), "{error}");
    }
}
