//! The identity of a client token: the part that a connection remembers, so that it can be found
//! when the token is revoked.

use std::time::Duration;

use aws_lc_rs::digest;
use signalbox_relay::{TokenIdDigest, TokenIdentity};

/// The identity of a token with which a client joins at `now` (Unix time).
///
/// The clock of the server that issued it may be ahead, but it was issued before now. A token
/// without a time of issue counts as older than any revocation.
pub(crate) fn token_identity(
    id: Option<&str>,
    issued_at: Option<Duration>,
    now: Duration,
) -> TokenIdentity {
    let issued_at = issued_at.unwrap_or_default().min(now).as_secs();
    TokenIdentity { id: id.map(|id| short_digest(id.as_bytes())), issued_at }
}

/// The first half of a SHA-256 digest.
pub(super) fn short_digest(bytes: &[u8]) -> TokenIdDigest {
    let mut short = TokenIdDigest::default();
    let whole = digest::digest(&digest::SHA256, bytes);
    for (to, from) in short.iter_mut().zip(whole.as_ref()) {
        *to = *from;
    }
    short
}
