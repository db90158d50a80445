//! Reasons for which a token or credential is rejected.

use signalbox_protocol::{CloseReason, limits};

/// The fault of a client token: its bearer's, or that of the server that created it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`limits::TOKEN_BYTES`].
    #[error("the token has more than {max} bytes", max = limits::TOKEN_BYTES)]
    TooLong,
    /// Not a token with the claims of a client token.
    #[error("not a client token: {0}")]
    Malformed(&'static str),
    /// A legacy token, which this gateway is configured to reject.
    #[error("tokens of the form T1== are not accepted here (setting auth.legacy_t1_tokens)")]
    T1,
    /// No project with the issuer's key is configured.
    #[error("the token's issuer is not a project of this gateway")]
    UnknownProject,
    /// Not signed with a key of its project, by that key's algorithm.
    #[error("the token's signature is invalid")]
    Signature,
    /// The session belongs to a project other than the one that signed.
    #[error("the token's session belongs to another project")]
    WrongProject,
    /// Expired, leeway included.
    #[error("the token has expired")]
    Expired,
    /// Valid for longer than [`MAX_LIFETIME`](crate::MAX_LIFETIME).
    #[error("the token is valid for more than 30 days (exp minus iat)")]
    TooLongLived,
    /// Issued, or not valid before, a time in the future.
    #[error(
        "the token is not valid yet (iat or nbf is in the future); check the clock of the server \
         that created it"
    )]
    NotYet,
}

impl TokenError {
    /// The names of all of them.
    pub const NAMES: &[&str] = &[
        "tooLong",
        "malformed",
        "legacyT1",
        "unknownProject",
        "signature",
        "wrongProject",
        "expired",
        "tooLongLived",
        "notYet",
    ];

    /// The name, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong => "tooLong",
            Self::Malformed(_) => "malformed",
            Self::T1 => "legacyT1",
            Self::UnknownProject => "unknownProject",
            Self::Signature => "signature",
            Self::WrongProject => "wrongProject",
            Self::Expired => "expired",
            Self::TooLongLived => "tooLongLived",
            Self::NotYet => "notYet",
        }
    }

    /// The reason that is sent to the client.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::TooLong
            | Self::TooLongLived
            | Self::Malformed(_)
            | Self::T1
            | Self::UnknownProject
            | Self::Signature => CloseReason::InvalidToken,
            Self::WrongProject => CloseReason::WrongProject,
            Self::Expired | Self::NotYet => CloseReason::TokenExpired,
        }
    }
}

/// The fault of a server's credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// No project with the issuer's key is configured.
    #[error("the credential's issuer is not a project of this gateway")]
    UnknownProject,
    /// Any other fault.
    #[error("{0}")]
    Unauthorized(&'static str),
}

impl From<TokenError> for CredentialError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::UnknownProject => Self::UnknownProject,
            TokenError::Signature => Self::Unauthorized(
                "the signature is invalid: is it made with the project's secret (HS256) or private \
                 key (RS256)?",
            ),
            TokenError::Malformed(fault) => Self::Unauthorized(fault),
            _ => Self::Unauthorized("not a credential"),
        }
    }
}
