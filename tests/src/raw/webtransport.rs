//! A raw WebTransport link. Its streams are those of a QUIC link, behind a prefix.

use std::net::SocketAddr;

use signalbox_protocol::{CONNECT_PATH, ClientMessage, CloseReason};
use signalbox_webtransport::{Session, SessionEnd};
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
