//! Tickets, by which clients resume their connections.
//!
//! A ticket names a connection and proves that it belongs to the client: an id, a secret and a
//! session id in base64. Only the secret is confidential, and the relay compares it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use signalbox_protocol::{
    ConnectionId, ErrorCode, GatewayMessage, SessionId, limits::TICKET_BYTES, message::Ticket,
};
use signalbox_relay::{Connection, Secret};
use tracing::error;

use crate::{clock::unix_time, services::Services};

/// The decoded contents of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TicketContents {
    pub(super) session: SessionId,
    pub(super) connection: ConnectionId,
    pub(super) secret: Secret,
}

impl TicketContents {
    pub(super) fn encode(&self) -> String {
        let Self { session, connection, secret } = self;
        BASE64.encode([connection.as_bytes(), &secret[..], session.as_str().as_bytes()].concat())
    }

    /// The contents, if the text has the form of a ticket.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() > TICKET_BYTES {
            return None;
        }
        let bytes = BASE64.decode(text).ok()?;
        let (connection, rest) = bytes.split_first_chunk()?;
        let (secret, session) = rest.split_first_chunk()?;
        Some(Self {
            session: std::str::from_utf8(session).ok()?.parse().ok()?,
            connection: ConnectionId::from_bytes(*connection),
            secret: *secret,
        })
    }
}

/// Makes an unguessable secret.
///
/// # Errors
/// The system's random generator failed, which is logged.
pub(super) fn new_secret() -> Result<Secret, getrandom::Error> {
    let mut secret = Secret::default();
    getrandom::fill(&mut secret)
        .inspect_err(|error| error!(%error, "ticket not created: no random numbers"))?;
    Ok(secret)
}

/// Answers a client that asks for a resumable connection: with a ticket, or with the reason why there
/// is none.
pub(super) fn issue(services: &Services, connection: &Connection, expires_in: Duration) {
    let unsupported = |why: &str| connection.tell_error(None, ErrorCode::Unsupported, why);
    let window_ms = services.resume_window_ms(connection.session_id().project());
    if window_ms == 0 {
        return unsupported("resumption is not enabled for this project");
    }
    let Ok(secret) = new_secret() else {
        return unsupported("the gateway cannot make a ticket");
    };
    if connection.keep(secret, unix_time() + expires_in) {
        let session = connection.session_id().clone();
        let ticket = TicketContents { session, connection: connection.id(), secret }.encode();
        connection.tell(GatewayMessage::Ticket(Ticket { ticket: ticket.into(), window_ms }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signalbox_protocol::MediaMode;

    use super::*;

    fn ticket() -> TicketContents {
        let key = "29f760f8-7ce1-46c9-ade3-f2dedee4ed5f".parse().unwrap();
        let location = Some([255, 255, 255, 255].into());
        let session = SessionId::mint(&key, MediaMode::Routed, location, u64::MAX, [7; 24]);
        let connection = ConnectionId::from_bytes([1; 16]);
        TicketContents { session, connection, secret: new_secret().unwrap() }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let ticket = ticket();
        let text = ticket.encode();
        assert!(text.len() <= TICKET_BYTES);
        assert_eq!(TicketContents::decode(&text), Some(ticket));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,600}") {
            let _ = TicketContents::decode(&text);
        }

        #[test]
        fn a_changed_ticket_is_another_or_none(at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
            let good = ticket();
            let mut text = good.encode();
            let at = at.index(text.len());
            let before = text.clone();
            text.replace_range(at..=at, &with);
            prop_assume!(text != before);
            prop_assert_ne!(TicketContents::decode(&text), Some(good));
        }
    }
}
