//! The protocol of the vendor's browser SDK, as a page uses it: it confirms every message. Without
//! the reports that the SDK sends over HTTP, one for each signal that a page has sent.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use signalbox_opentok::frame::{Frame as OpenTokFrame, FrameKind};
use signalbox_protocol::ConnectionId;

use super::{
    Address, ClientProtocol, HandshakeReply, Received,
    websocket::{self, BINARY, Frame},
};

/// The prefix of `serve --dev`.
const PREFIX: &str = "/opentok";

/// The message with which the gateway ends its greeting.
const GREETING: &str = "g.1";

const TRANSACTION: &str = "TRANSACTION-ID";
const FROM: &str = "X-TB-FROM-ADDRESS";
const JOIN: &str = "00000000-0000-4000-8000-ffffffffffff";

/// Pages in the session of one token.
pub struct OpenTokPages {
    target: Arc<PagesTarget>,
    /// The id of the first connection. A page chooses its own, and none that was there before.
    first: u128,
    count: AtomicU64,
}

/// Where pages meet.
struct PagesTarget {
    host: String,
    session: String,
    token: String,
}

/// One page.
pub struct OpenTokProtocol {
    target: Arc<PagesTarget>,
    connection: ConnectionId,
    upgraded: bool,
    requests: AtomicU64,
}

/// The body of a message.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(default, borrow)]
    data: Cow<'a, str>,
}

impl OpenTokPages {
    /// Pages that join the session of a token at the gateway at `host`.
    ///
    /// # Errors
    /// The token is not a JWT that names a session.
    pub fn new(host: &str, token: String) -> anyhow::Result<Self> {
        let mut first = [0; 16];
        getrandom::fill(&mut first).context("no random numbers")?;
        let target = PagesTarget { host: host.to_owned(), session: session_of(&token)?, token };
        let first = u128::from_be_bytes(first);
        Ok(Self { target: Arc::new(target), first, count: AtomicU64::new(0) })
    }

    /// Another page.
    pub fn page(&self) -> OpenTokProtocol {
        // Relaxed, here and below: the numbers only have to differ.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let id = self.first.wrapping_add(number.into());
        OpenTokProtocol {
            target: self.target.clone(),
            connection: ConnectionId::from_bytes(id.to_be_bytes()),
            upgraded: false,
            requests: AtomicU64::new(0),
        }
    }
}

impl OpenTokProtocol {
    fn request(
        &self,
        transaction: &str,
        token: Option<&str>,
        method: &str,
        uri: &str,
        content: &str,
        out: &mut Vec<u8>,
    ) {
        let id = self.connection.to_string();
        let uri = format!("/v2/partner/1/session/{}/{uri}", self.target.session);
        let body = format!(r#"{{"method":"{method}","uri":"{uri}","content":{content}}}"#);
        let mut headers = vec![
            ("Content-Type", "application/x-raptor+v2"),
            (TRANSACTION, transaction),
            (FROM, &id),
        ];
        headers.extend(token.map(|token| ("X-TB-TOKEN-AUTH", token)));
        write(FrameKind::Message, "signalbox", &headers, &body, out);
    }

    /// The confirmation of a message.
    fn confirm(&self, frame: &OpenTokFrame<'_>) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(transaction) = frame.header(TRANSACTION)? else { return Ok(None) };
        let id = self.connection.to_string();
        let mut out = Vec::new();
        let headers = [(TRANSACTION, transaction), (FROM, &*id)];
        let from = frame.header(FROM)?.unwrap_or_default();
        write(FrameKind::Status, from, &headers, "", &mut out);
        Ok(Some(out))
    }

    fn first_requests(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let id = self.connection.to_string();
        let headers = [("uniqueId", &*id), (TRANSACTION, "connect")];
        write(FrameKind::Connect, "signalbox", &headers, "", &mut out);
        // As the other minimal clients, without presence.
        let content = r#"{"connectionEventsSuppressed":true}"#;
        let uri = format!("connection/{id}");
        self.request(JOIN, Some(&self.target.token), "create", &uri, content, &mut out);
        out
    }
}

impl ClientProtocol for OpenTokProtocol {
    fn opening(&mut self) -> Vec<u8> {
        let PagesTarget { host, session, .. } = &*self.target;
        let id = self.connection;
        let path = format!("{PREFIX}/signalbox/rumor/{session}/{id}?socketId={id}");
        websocket::upgrade(host, &path, None)
    }

    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply> {
        if !self.upgraded {
            let Some(head) = websocket::upgraded(bytes)? else {
                return Ok(HandshakeReply::Incomplete);
            };
            self.upgraded = true;
            return Ok(HandshakeReply::Continue(head, self.first_requests()));
        }
        let (count, message) = match websocket::read(bytes)? {
            Frame::Incomplete => return Ok(HandshakeReply::Incomplete),
            Frame::Control(count, reply) => {
                return Ok(HandshakeReply::Continue(count, reply.unwrap_or_default()));
            }
            Frame::Message(count, message) => (count, message),
        };
        let frame = OpenTokFrame::decode(message)?;
        if let Some(status) = frame.header("STATUS")? {
            ensure!(status == "200", "the gateway refused a join: {status} {}", frame.body);
        }
        let reply = self.confirm(&frame)?.filter(|_| frame.kind == FrameKind::Message);
        let reply = reply.unwrap_or_default();
        if frame.header(TRANSACTION)? == Some(GREETING) {
            Ok(HandshakeReply::Joined(count, reply))
        } else {
            Ok(HandshakeReply::Continue(count, reply))
        }
    }

    fn address(&self) -> Address {
        Address::Connection(self.connection)
    }

    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let transaction = format!("00000000-0000-4000-8000-{number:012x}");
        let uri = match to {
            Some(Address::Connection(id)) => format!("connection/{id}/signal/{transaction}"),
            _ => format!("signal/{transaction}"),
        };
        let content = serde_json::json!({ "data": data }).to_string();
        self.request(&transaction, None, "signal", &uri, &content, out);
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        let (count, message) = match websocket::read(bytes)? {
            Frame::Incomplete => return Ok(Received::Incomplete),
            Frame::Control(count, None) => return Ok(Received::Ignored(count)),
            Frame::Control(count, Some(reply)) => return Ok(Received::Reply(count, reply)),
            Frame::Message(count, message) => (count, message),
        };
        let frame = OpenTokFrame::decode(message)?;
        match frame.kind {
            FrameKind::Message => {
                let body: Body<'_> = serde_json::from_str(frame.body)?;
                let reply = self.confirm(&frame)?.unwrap_or_default();
                if body.method == "signal" {
                    Ok(Received::Confirmed(count, body.content.data, reply))
                } else {
                    Ok(Received::Reply(count, reply))
                }
            }
            FrameKind::Status => match frame.header("STATUS")? {
                Some("200") | None => Ok(Received::Ignored(count)),
                Some(status) => Ok(Received::Refused(count, format!("{status} {}", frame.body))),
            },
            _ => Ok(Received::Ignored(count)),
        }
    }
}

/// Appends a frame in a message of a WebSocket.
fn write(kind: FrameKind, address: &str, headers: &[(&str, &str)], body: &str, out: &mut Vec<u8>) {
    let mut frame = vec![0, 0, 0, 0, 0, 0, kind.number(), 1];
    let text = |text: &str, frame: &mut Vec<u8>| {
        // All of them are far shorter.
        frame.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        frame.extend(text.as_bytes());
    };
    text(address, &mut frame);
    frame.push(u8::try_from(headers.len()).unwrap_or(u8::MAX));
    for (name, value) in headers {
        text(name, &mut frame);
        text(value, &mut frame);
    }
    frame.extend(body.as_bytes());
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
    frame.splice(..4, length);
    websocket::write(BINARY, &frame, out);
}

/// The session that a token names.
fn session_of(token: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Claims {
        session_id: String,
    }
    let claims = token.split('.').nth(1).context("the token is not a JWT")?;
    let Ok(claims) = BASE64_URL_SAFE_NO_PAD.decode(claims) else { bail!("the token is no JWT") };
    let claims: Claims = serde_json::from_slice(&claims).context("the token has no session")?;
    Ok(claims.session_id)
}

#[cfg(test)]
mod tests {
    use signalbox_opentok::{ClientFrame, message};
    use signalbox_protocol::{SessionId, Signal};

    use super::*;

    const SESSION: &str =
        "1_MX4xMjM0NTY3OH5-MTc5NTUwMzI4OTU3MH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg";

    fn page() -> OpenTokProtocol {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"session_id":"{SESSION}"}}"#));
        OpenTokPages::new("host", format!("h.{claims}.s")).unwrap().page()
    }

    /// A short message as the gateway sends it.
    fn sent(frame: &[u8]) -> Vec<u8> {
        let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
        [&[0x82, 126], &length[..], frame].concat()
    }

    #[test]
    fn signals_are_confirmed_and_refusals_are_told() {
        let page = page();
        let session: SessionId = SESSION.parse().unwrap();
        let from = ConnectionId::from_bytes([1; 16]).into();
        let signal = Signal::new(None::<&str>, Some("a \"quoted\" text"));
        let bytes = sent(&message::signal(&session, &from, 7, &signal));
        let Received::Confirmed(count, data, reply) = page.decode(&bytes).unwrap() else {
            panic!("not a signal")
        };
        assert_eq!((count, &*data), (bytes.len(), "a \"quoted\" text"));
        // Masked with "mask", after a head of four bytes and the mask.
        let reply: Vec<u8> =
            reply[8..].iter().zip(b"mask".iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let transaction = "01010101-0101-0101-0101-010101010101.7";
        let expected = ClientFrame::Confirmation {
            transaction,
            address: "01010101-0101-0101-0101-010101010101",
        };
        assert_eq!(ClientFrame::decode(&reply).unwrap(), expected);
        let refused = sent(&message::refused(
            "t",
            413,
            "too long, as every byte of this text says, which is more than a hundred and twenty-six",
        ));
        assert!(
            matches!(page.decode(&refused).unwrap(), Received::Refused(_, why) if why.contains("413"))
        );
    }
}
