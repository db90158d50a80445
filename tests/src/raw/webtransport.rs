//! A raw WebTransport link. Its streams are those of a QUIC link, behind a prefix.

use std::net::SocketAddr;

use signalbox_protocol::{CONNECT_PATH, ClientMessage, CloseReason};
use signalbox_webtransport::{PeerStream, Session, SessionEnd};
use url::Url;

use super::{Quic, dial, hello};
use crate::within_timeout;

/// A WebTransport session with its control stream.
pub struct WebTransport {
    /// The control stream and the connection.
    pub link: Quic,
    session: Session,
}

impl WebTransport {
    /// Connects, sends hello and reads the welcome.
    pub async fn join(address: SocketAddr, token: &str) -> Self {
        Self::join_as(address, quinn::TransportConfig::default(), &hello(token)).await
    }

    /// The same, with transport parameters and a hello of its own.
    pub async fn join_as(
        address: SocketAddr,
        transport: quinn::TransportConfig,
        hello: &ClientMessage<'_>,
    ) -> Self {
        let (endpoint, connection) = dial(address, signalbox_webtransport::ALPN, transport).await;
        let url = Url::parse(&format!("https://localhost{CONNECT_PATH}")).unwrap();
        let session = signalbox_webtransport::connect(&connection, url);
        let session = within_timeout("a session", session).await.unwrap();
        let mut link = Quic::open(endpoint, connection).await;
        link.write(&session.id.bidi_prefix()).await;
        link.say(hello).await;
        assert!(link.hear().await.starts_with("Welcome"));
        Self { link, session }
    }

    /// Closes the session with a reason, as a browser does for its page. The reason for which the
    /// gateway then ends the link.
    pub async fn close(&mut self, reason: CloseReason) -> CloseReason {
        let close = self.session.closer.close(reason.quic_code(), reason.name());
        within_timeout("the close of the session", close).await.unwrap();
        let closed = self.link.connection.closed();
        match SessionEnd::from(within_timeout("the end of the connection", closed).await) {
            SessionEnd::Closed { code, .. } => CloseReason::from_quic_code(code.into()),
            end => panic!("not ended by the gateway: {end}"),
        }
    }

    /// The next stream that the gateway opens.
    pub async fn accept(&mut self) -> quinn::RecvStream {
        match within_timeout("a stream", self.session.incoming.next()).await {
            Ok(PeerStream::Uni(stream)) => stream,
            other => panic!("not a stream of a sender: {other:?}"),
        }
    }

    /// Waits until the gateway's link has handled everything that was sent before.
    pub async fn is_handled(&self) {
        /// RFC 9114 §7.2.8: a type that the receiver must ignore.
        const RESERVED_TYPE: u8 = 0x21;
        let mut stream = self.link.connection.open_uni().await.unwrap();
        stream.write_all(&[RESERVED_TYPE]).await.unwrap();
        let stopped = within_timeout("the rejection of a stream", stream.stopped()).await;
        assert!(matches!(stopped, Ok(Some(_))), "{stopped:?}");
    }

    /// Waits for the end of the session, and reads no stream. The reason in its code, and whether
    /// the connection had ended as well.
    pub async fn session_end(&mut self) -> (CloseReason, bool) {
        let end = async {
            // Dropped, a stream would be stopped, and its bytes would make room for others.
            let mut unread = Vec::new();
            loop {
                match self.session.incoming.next().await {
                    Ok(stream) => unread.push(stream),
                    Err(end) => return end,
                }
            }
        };
        let end = within_timeout("the end of the session", end).await;
        let connection_ended = self.link.connection.close_reason().is_some();
        let SessionEnd::Closed { code, .. } = end else {
            panic!("not ended by the gateway: {end}");
        };
        (CloseReason::from_quic_code(code.into()), connection_ended)
    }

    /// The end of the link: the reason of the bye, if there is one, and of the session.
    pub async fn end(mut self) -> (Option<CloseReason>, CloseReason) {
        (self.link.bye().await, self.session_end().await.0)
    }
}
