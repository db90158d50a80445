//! Revocation of client tokens by a project's server.

mod identity;

pub(crate) use self::identity::token_identity;
