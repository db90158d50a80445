//! The identity of a client token: the part that a connection remembers, so that it can be found
//! when the token is revoked.

use std::time::Duration;

use aws_lc_rs::digest;
use signalbox_protocol::SessionId;
use signalbox_relay::{TokenIdDigest, TokenIdentity};

/// A token as its connection remembers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) session: &'a SessionId,
    /// Its connection data.
    pub(crate) data: &'a str,
    pub(crate) token: TokenIdentity,
}

/// The identity of a token. One without a time of issue counts as older than any revocation.
pub(crate) fn token_identity(id: Option<&str>, issued_at: Option<Duration>) -> TokenIdentity {
    let id = id.map(|id| short_digest(id.as_bytes()));
    TokenIdentity { id, issued_at: issued_at.unwrap_or_default().as_secs() }
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
