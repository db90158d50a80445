//! Tickets, by which clients resume their connections.
//!
//! A ticket names the gateway that issued it, the session and the connection, and carries a secret.
//! Any gateway can read the names, so it can tell where a ticket comes from before it can verify
//! it. Only the gateway that holds the connection can verify it: the relay compares a digest of
//! secret and issuer, so a ticket with a changed issuer is invalid. To clients a ticket is opaque.
//!
//! Layout, in base64url without padding: connection (16 bytes), secret (32), epoch (8, big endian),
//! length of the gateway's name (1), the name, session id (the rest).

use std::time::Duration;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use signalbox_protocol::{ConnectionId, SessionId, limits::TICKET_BYTES, message::Ticket};
use signalbox_relay::{Instance, ResumeOptions, TicketSecret};
use tracing::error;

use crate::services::Services;

/// The decoded contents of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TicketContents {
    /// The gateway that issued it, and its run.
    pub(super) issuer: Instance,
    pub(super) session: SessionId,
    pub(super) connection: ConnectionId,
    pub(super) secret: TicketSecret,
}

impl TicketContents {
    pub(super) fn encode(&self) -> String {
        let Self { issuer: Instance { gateway, epoch }, session, connection, secret } = self;
        // A gateway's name has at most 64 bytes.
        let length = [u8::try_from(gateway.as_str().len()).unwrap_or(u8::MAX)];
        let parts: [&[u8]; 6] = [
            connection.as_bytes(),
            secret,
            &epoch.to_be_bytes(),
            &length,
            gateway.as_str().as_bytes(),
            session.as_str().as_bytes(),
        ];
        BASE64.encode(parts.concat())
    }

    /// The secret that the relay compares.
    pub(super) fn verifier(&self) -> TicketSecret {
        verifier(&self.issuer, &self.secret)
    }

    /// The contents, if the text has the form of a ticket.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() > TICKET_BYTES {
            return None;
        }
        let bytes = BASE64.decode(text).ok()?;
        let (connection, rest) = bytes.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (gateway, session) = rest.split_at_checked(usize::from(*length))?;
        let gateway = std::str::from_utf8(gateway).ok()?.parse().ok()?;
        Some(Self {
            issuer: Instance { gateway, epoch: u64::from_be_bytes(*epoch) },
            session: std::str::from_utf8(session).ok()?.parse().ok()?,
            connection: ConnectionId::from_bytes(*connection),
            secret: *secret,
        })
    }
}

/// A digest of a ticket's secret and its issuer. It outlives a restart in the state file, as it
/// does not depend on the gateway that computes it.
fn verifier(issuer: &Instance, secret: &TicketSecret) -> TicketSecret {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(secret);
    context.update(&issuer.epoch.to_be_bytes());
    context.update(issuer.gateway.as_str().as_bytes());
    let mut verifier = TicketSecret::default();
    // Both have 32 bytes.
    for (to, from) in verifier.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    verifier
}

/// Makes an unguessable secret.
///
/// # Errors
/// The system's random generator failed, which is logged.
pub(super) fn new_secret() -> Result<TicketSecret, getrandom::Error> {
    let mut secret = TicketSecret::default();
    getrandom::fill(&mut secret)
        .inspect_err(|error| error!(%error, "ticket not created: no random numbers"))?;
    Ok(secret)
}

/// Makes the first ticket of a connection that is about to join: the message for the client, and
/// what the relay needs. `None` if resumption is not enabled for its project, or if the random
/// generator failed.
pub(super) fn first(
    services: &Services,
    session: &SessionId,
    connection: ConnectionId,
    token_until: Duration,
) -> Option<(Ticket<'static>, ResumeOptions)> {
    let window_ms = services.resume_window_ms(session.project());
    if window_ms == 0 {
        return None;
    }
    let secret = new_secret().ok()?;
    let issuer = services.instance().clone();
    let ticket = TicketContents { issuer, session: session.clone(), connection, secret };
    let window = Duration::from_millis(window_ms.into());
    let orphan_window = services.policy().timeouts.detection() + window;
    let options = ResumeOptions { secret: ticket.verifier(), token_until, orphan_window };
    Some((Ticket { ticket: ticket.encode().into(), window_ms }, options))
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
        let issuer = crate::instance::start("g".repeat(64).parse().unwrap());
        TicketContents { issuer, session, connection, secret: new_secret().unwrap() }
    }

    #[test]
    fn an_encoded_ticket_is_decoded() {
        let ticket = ticket();
        let text = ticket.encode();
        assert!(text.len() <= TICKET_BYTES);
        assert_eq!(TicketContents::decode(&text), Some(ticket));
    }

    #[test]
    fn the_issuer_is_part_of_what_is_verified() {
        let ticket = ticket();
        let mut of_another_run = ticket.clone();
        of_another_run.issuer.epoch ^= 1;
        let mut of_another_gateway = ticket.clone();
        of_another_gateway.issuer.gateway = "gw-1".parse().unwrap();
        let mut with_another_secret = ticket.clone();
        with_another_secret.secret[0] ^= 1;
        for other in [of_another_run, of_another_gateway, with_another_secret] {
            assert_ne!(other.verifier(), ticket.verifier());
        }
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
