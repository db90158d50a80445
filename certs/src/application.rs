//! Key pairs of applications: projects whose servers sign with a private key (RS256), and whose
//! gateway has only the public one.

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

/// An application's new key pair.
pub struct ApplicationKey {
    /// The private key for the project's servers, PKCS#8 as PEM.
    pub private_pem: String,
    /// The public key for the gateway's configuration, SubjectPublicKeyInfo as PEM.
    pub public_pem: String,
}

impl ApplicationKey {
    /// Makes a pair of 2048 bits, which takes a good part of a second.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        Ok(Self { private_pem: pair.serialize_pem(), public_pem: pair.public_key_pem() })
    }
}
