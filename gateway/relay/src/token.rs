//! The identity of a client token, by which a connection can be found when the token is revoked.

use serde::{Deserialize, Serialize};

/// A digest of a token's id.
pub type TokenIdDigest = [u8; 16];

/// The identity of the token with which a connection joined. The relay stores it and does not
/// interpret it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenIdentity {
    /// Digest of the token's id. None if it has none.
    pub id: Option<TokenIdDigest>,
    /// When the token was issued, in seconds since 1970. 0 if it does not say so.
    pub issued_at: u64,
}
