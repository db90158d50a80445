//! Tickets, by which clients resume their connections.
//!
//! A ticket names a connection and proves that it belongs to the client: an id, a secret and a
//! session id in base64. Only the secret is confidential, and the relay compares it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use signalbox_protocol::{ConnectionId, SessionId, limits::TICKET_BYTES};
use signalbox_relay::Secret;

/// The decoded contents of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TicketContents {
    pub(super) session: SessionId,
    pub(super) connection: ConnectionId,
    pub(super) secret: Secret,
}

/// The operating system's random generator failed.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub(super) struct RandomError(#[from] getrandom::Error);

/// Makes an unguessable secret.
pub(super) fn secret() -> Result<Secret, RandomError> {
    let mut secret = Secret::default();
    getrandom::fill(&mut secret)?;
    Ok(secret)
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
        TicketContents { session, connection, secret: secret().unwrap() }
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
