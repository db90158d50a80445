//! Client tokens and server credentials: verification for the gateway, minting for the command
//! line, tests and benchmarks.
//!
//! A project's server creates a *client token* and gives it to a client, which joins a session with
//! it ([`verify_client_token`]). Three forms are accepted, all as the vendor's server SDKs create
//! them: JWT (RFC 7519) signed with HS256 and the project's secret, JWT signed with RS256 and an
//! application's private key, and the legacy `T1==` form.
//!
//! A *credential* is a short-lived JWT that opens the REST API to a project's server
//! ([`verify_credential`]). Neither is accepted as the other.
//!
//! The configured kind of key determines the algorithm, never the token (RFC 8725 §3.1). No error
//! contains any part of a token.

mod claims;
mod client;
mod credential;
mod error;
mod jwt;
mod keys;
mod mint;
mod t1;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    client::{Grant, MAX_LIFETIME, verify_client_token},
    credential::{MAX_CREDENTIAL_LIFETIME, verify_credential},
    error::{CredentialError, TokenError},
    keys::{KeyStore, PublicKey, VerificationKeys},
    mint::{NewServerToken, NewToken, Signer},
};

/// Maximum difference between the clocks of a project's server and the gateway.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// The scope of a client token, in the vendor's words.
const SCOPE: &str = "session.connect";
