//! The URL of a WebSocket of the vendor's browser SDK: the connection that it names, and the secret
//! that proves it.
//!
//! The gateway itself has put the session and the connection into the URL, in its answer about the
//! session. The SDK adds `socketId`, a random id that stays the same as long as it wants to keep the
//! connection, and `reconnect=true` when it resumes. Only a digest of the secret is kept.

use aws_lc_rs::digest;
use signalbox_protocol::{ConnectionId, SessionId};
use signalbox_relay::TicketSecret;

/// Lengths that a socket id may have, in bytes. The SDK uses UUIDs, which have 36.
const SOCKET_ID_BYTES: std::ops::RangeInclusive<usize> = 32..=64;

/// The parts of a WebSocket's URL.
#[derive(Debug, Clone)]
pub(crate) struct SocketUrl {
    session: Option<SessionId>,
    connection: Option<ConnectionId>,
    /// Digest of the socket id. None if the client cannot resume.
    secret: Option<TicketSecret>,
    /// Whether the client resumes its connection.
    resumes: bool,
}

/// A client's claim to a connection.
#[derive(Debug, Clone)]
pub(crate) struct SocketClaim {
    pub(crate) session: SessionId,
    pub(crate) connection: ConnectionId,
    pub(crate) secret: TicketSecret,
}

impl SocketUrl {
    /// Reads the segments of the path, and the query. Malformed parts are left out: the client
    /// learns by a close code that it cannot resume, because it would repeat a failed upgrade
    /// without a pause.
    pub(crate) fn new(session: &str, connection: &str, query: &str) -> Self {
        let mut url = Self {
            session: session.parse().ok(),
            connection: connection.parse().ok(),
            secret: None,
            resumes: false,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "socketId" if SOCKET_ID_BYTES.contains(&value.len()) => {
                    url.secret = url.connection.map(|connection| digest_of(connection, &value));
                }
                "reconnect" => url.resumes = value == "true",
                _ => {}
            }
        }
        url
    }

    pub(crate) fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    /// Whether these are the session and the connection of the URL.
    pub(crate) fn names(&self, session: &str, connection: ConnectionId) -> bool {
        self.connection == Some(connection)
            && self.session.as_ref().is_some_and(|own| own.as_str() == session)
    }

    pub(crate) fn secret(&self) -> Option<TicketSecret> {
        self.secret
    }

    /// The connection that the URL names, with its secret.
    pub(crate) fn claim(&self) -> Option<SocketClaim> {
        let session = self.session.clone()?;
        Some(SocketClaim { session, connection: self.connection?, secret: self.secret? })
    }
}

/// The digest that the relay compares. It contains the connection, so that one socket id opens one
/// connection.
fn digest_of(connection: ConnectionId, socket: &str) -> TicketSecret {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"signalbox opentok socket");
    context.update(connection.as_bytes());
    context.update(socket.as_bytes());
    let mut secret = TicketSecret::default();
    // Both have 32 bytes.
    for (to, from) in secret.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str =
        "1_MX4xMjM0NTY3OH5-MTc5NTUwMzI4OTU3MH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg";
    const CONNECTION: &str = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";
    const SOCKET: &str = "socketId=6e7e8b4a-1c64-4d4c-93c5-06a4a4d9a001";

    fn claim(session: &str, connection: &str, query: &str) -> Option<TicketSecret> {
        SocketUrl::new(session, connection, query).claim().map(|claim| claim.secret)
    }

    #[test]
    fn a_secret_opens_one_connection() {
        let secret = claim(SESSION, CONNECTION, SOCKET).unwrap();
        let more = format!("attempt=1&{SOCKET}&reconnect=true&more");
        assert_eq!(claim(SESSION, CONNECTION, &more), Some(secret));
        assert!(SocketUrl::new(SESSION, CONNECTION, &more).resumes());
        let other = CONNECTION.replace('9', "8");
        assert_ne!(claim(SESSION, &other, SOCKET), Some(secret));
        assert_ne!(claim(SESSION, CONNECTION, &SOCKET.replace('4', "5")), Some(secret));
    }

    #[test]
    fn a_malformed_url_claims_nothing() {
        for (session, connection, query) in [
            (SESSION, CONNECTION, ""),
            (SESSION, CONNECTION, "socketId="),
            (SESSION, CONNECTION, "socketId=short"),
            (SESSION, CONNECTION, &*format!("socketId={}", "x".repeat(65))),
            (SESSION, "me", SOCKET),
            ("here", CONNECTION, SOCKET),
        ] {
            assert_eq!(claim(session, connection, query), None, "{session} {connection} {query}");
        }
    }
}
