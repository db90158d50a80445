//! Verification keys of projects.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use signalbox_protocol::ProjectKey;

/// Keys that verify the signatures of one project. The kind determines the algorithm. Every key of
/// a project is valid, so that one can be replaced without downtime.
pub enum VerificationKeys {
    /// Shared secrets: HS256, and HMAC-SHA1 for legacy tokens.
    Secrets(Vec<String>),
    /// Public keys of an application: RS256.
    Public(Vec<PublicKey>),
}

/// An RSA public key.
pub struct PublicKey(pub(crate) DecodingKey);

impl PublicKey {
    /// Reads a public key in PEM (PKCS#8 or PKCS#1).
    ///
    /// # Errors
    /// The text of the cryptography library, if `pem` is not an RSA public key.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let key = DecodingKey::from_rsa_pem(pem.as_bytes());
        key.map(Self).map_err(|error| error.to_string())
    }
}

/// Lookup of the keys of a project.
pub trait KeyStore {
    /// The project with this key, as a token names it, and its verification keys; `None` if there
    /// is no such project.
    fn find(&self, project: &str) -> Option<(&ProjectKey, &VerificationKeys)>;
}

impl KeyStore for HashMap<String, (ProjectKey, VerificationKeys)> {
    fn find(&self, project: &str) -> Option<(&ProjectKey, &VerificationKeys)> {
        self.get(project).map(|(key, keys)| (key, keys))
    }
}
