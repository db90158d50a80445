//! Raw links of the vendor's browser SDK: its frames, valid and invalid.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use signalbox_opentok::frame::{Frame, FrameKind};
use signalbox_protocol::{ConnectionId, SessionId};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use uuid::Uuid;

use super::tls_stream;
use crate::{World, within_timeout};

/// The prefix of the SDK's paths in tests.
pub const PREFIX: &str = "/opentok";

/// The end of a WebSocket that was never closed by a close frame.
const NO_CODE: u16 = 1006;

/// What a page keeps while its links come and go.
#[derive(Clone)]
pub struct Page {
    /// The gateway.
    pub address: SocketAddr,
    /// The session.
    pub session: SessionId,
    /// The connection id that it has chosen.
    pub id: ConnectionId,
    /// The secret in the URL of its WebSocket.
    pub socket_id: String,
    /// Opens the session.
    pub token: String,
}

impl Page {
    /// A page with this token, which has not connected yet.
    pub fn new(world: &World, token: String) -> Self {
        Self {
            address: world.addresses().tcp,
            session: world.session().clone(),
            id: ConnectionId::from_bytes(Uuid::new_v4().into_bytes()),
            socket_id: Uuid::new_v4().to_string(),
            token,
        }
    }

    /// The same page as another connection, at the same URL.
    #[must_use]
    pub fn named(self, other: &Self) -> Self {
        Self { id: other.id, socket_id: other.socket_id.clone(), ..self }
    }

    /// The path and query of its WebSocket, for its first link or to resume.
    pub fn path(&self, resumes: bool) -> String {
        let Self { session, id, socket_id, .. } = self;
        let reconnect = if resumes { "&reconnect=true" } else { "" };
        format!("{PREFIX}/signalbox/rumor/{session}/{id}?socketId={socket_id}{reconnect}")
    }

    /// Opens its first WebSocket.
    pub async fn connect(&self) -> OpenTokLink {
        OpenTokLink::open(self.address, &self.path(false), &[]).await.unwrap()
    }

    /// Opens a WebSocket with which it resumes.
    pub async fn resume(&self) -> OpenTokLink {
        OpenTokLink::open(self.address, &self.path(true), &[]).await.unwrap()
    }

    /// Joins the session, as the SDK does: three frames at once, then a confirmation of the greeting.
    pub async fn join(&self) -> OpenTokLink {
        let mut link = self.connect().await;
        let id = self.id.to_string();
        link.send(frame(3, &[("uniqueId", &id), ("TRANSACTION-ID", "connect")], "")).await;
        link.send(self.create("create")).await;
        assert_eq!(link.answer("create").await, ("200".to_owned(), None));
        link.confirm_next("g.1").await;
        link
    }

    /// The request to join.
    pub fn create(&self, transaction: &str) -> Vec<u8> {
        let uri = format!("connection/{}", self.id);
        self.request_with(transaction, &[("X-TB-TOKEN-AUTH", &self.token)], "create", &uri, "{}")
    }

    /// The request to send a signal to all.
    pub fn signal(&self, transaction: &str, data: &str) -> Vec<u8> {
        let content = serde_json::json!({ "data": data }).to_string();
        self.request(transaction, "signal", "signal/x", &content)
    }

    /// A request. `uri` follows that of the session.
    pub fn request(&self, transaction: &str, method: &str, uri: &str, content: &str) -> Vec<u8> {
        self.request_with(transaction, &[], method, uri, content)
    }

    fn request_with(
        &self,
        transaction: &str,
        headers: &[(&str, &str)],
        method: &str,
        uri: &str,
        content: &str,
    ) -> Vec<u8> {
        let uri = format!("/v2/partner/1/session/{}/{uri}", self.session);
        let body = format!(r#"{{"method":"{method}","uri":"{uri}","content":{content}}}"#);
        let id = self.id.to_string();
        let own = [("TRANSACTION-ID", transaction), ("X-TB-FROM-ADDRESS", &*id)];
        frame(2, &[&own[..], headers].concat(), &body)
    }
}

/// A WebSocket with the frames of the SDK.
pub struct OpenTokLink {
    /// The socket.
    pub socket: WebSocketStream<TlsStream<TcpStream>>,
}

/// A frame of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its kind.
    pub kind: FrameKind,
    /// Its transaction id, empty if there is none.
    pub transaction: String,
    /// The status of an answer, empty if there is none.
    pub status: String,
    /// Its body.
    pub body: String,
}

impl Received {
    /// The method and, of a signal, the data, or else the reason.
    pub fn meaning(&self) -> (String, String) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let detail = [&body["content"]["data"], &body["reason"]].map(text).concat();
        (text(&body["method"]), detail)
    }
}

impl OpenTokLink {
    /// The opening handshake on a path, with further headers.
    ///
    /// # Errors
    /// The gateway has refused it.
    pub async fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let handshake = tokio_tungstenite::client_async(request, tls_stream(address).await);
        let (socket, _) = within_timeout("a WebSocket handshake", handshake).await?;
        Ok(Self { socket })
    }

    /// Sends a frame, or what should be one.
    pub async fn send(&mut self, frame: Vec<u8>) {
        self.write(Message::Binary(frame.into())).await;
    }

    /// Sends any WebSocket message.
    pub async fn write(&mut self, message: Message) {
        // The gateway may have closed the link already, which is often the purpose.
        let _ = self.socket.send(message).await;
    }

    /// The next frame of any kind; the code of the close if there is none.
    async fn next(&mut self) -> Result<Received, u16> {
        loop {
            match within_timeout("a frame", self.socket.next()).await {
                Some(Ok(Message::Binary(bytes))) => {
                    let frame = Frame::decode(&bytes).unwrap();
                    let header = |name| frame.header(name).unwrap().unwrap_or_default().to_owned();
                    return Ok(Received {
                        kind: frame.kind,
                        transaction: header("TRANSACTION-ID"),
                        status: header("STATUS"),
                        body: frame.body.to_owned(),
                    });
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(close))) => {
                    return Err(close.map_or(NO_CODE, |close| close.code.into()));
                }
                Some(Ok(other)) => panic!("not a frame: {other:?}"),
                None | Some(Err(_)) => return Err(NO_CODE),
            }
        }
    }

    /// The next frame that this accepts. Others are skipped.
    pub async fn find(&mut self, accepts: impl Fn(&Received) -> bool) -> Received {
        loop {
            let frame = self.next().await.expect("the link is open");
            if accepts(&frame) {
                return frame;
            }
        }
    }

    /// The status of the answer to a request, and the reason of a refusal.
    pub async fn answer(&mut self, transaction: &str) -> (String, Option<String>) {
        let is_answer =
            |it: &Received| it.kind == FrameKind::Status && it.transaction == transaction;
        let Received { status, body, .. } = self.find(is_answer).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        (status, body["reason"].as_str().map(str::to_owned))
    }

    /// The next answer, to any request.
    pub async fn next_answer(&mut self) -> Received {
        self.find(|it| it.kind == FrameKind::Status).await
    }

    /// The link, once a request has been answered; the code of the close if that comes first.
    pub async fn answered_or_ended(mut self, transaction: &str) -> Result<Self, u16> {
        loop {
            let frame = self.next().await?;
            if frame.kind == FrameKind::Status && frame.transaction == transaction {
                return Ok(self);
            }
        }
    }

    /// The data of the next signal.
    pub async fn hear(&mut self) -> String {
        let is_signal = |it: &Received| it.kind == FrameKind::Message && it.meaning().0 == "signal";
        self.find(is_signal).await.meaning().1
    }

    /// Waits for a message with this transaction id, and confirms it.
    pub async fn confirm_next(&mut self, transaction: &str) {
        self.find(|it| it.transaction == transaction).await;
        self.send(frame(9, &[("TRANSACTION-ID", transaction)], "")).await;
    }

    /// The end of the link: the reason for which its own connection was deleted, or a request was
    /// refused, if that was the last word; and the close code.
    pub async fn end(mut self) -> (Option<String>, u16) {
        let mut reason = None;
        loop {
            match self.next().await {
                Ok(frame) => {
                    // The ends of others have transaction ids.
                    let is_own = frame.transaction.is_empty() && !frame.body.is_empty();
                    if is_own || frame.kind == FrameKind::Status {
                        reason = Some(frame.meaning().1).filter(|reason| !reason.is_empty());
                    }
                }
                Err(code) => return (reason, code),
            }
        }
    }
}

/// A frame without addresses.
pub fn frame(kind: u8, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut rest = vec![0, 0, kind, 0, u8::try_from(headers.len()).unwrap()];
    for text in headers.iter().flat_map(|(name, value)| [*name, *value]) {
        rest.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        rest.extend(text.bytes());
    }
    rest.extend(body.bytes());
    let length = u32::try_from(rest.len()).unwrap().to_be_bytes();
    [&length[..], &rest].concat()
}
