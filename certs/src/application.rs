//! Key pairs of applications, which are projects whose servers sign tokens with a private key (RS256)
//! and whose gateway holds only the public key.

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

/// An application's new key pair.
pub struct ApplicationKey {
    /// The private key for the project's servers, PKCS#8 as PEM.
    pub private_pem: String,
    /// The public key for the gateway's configuration, SubjectPublicKeyInfo as PEM.
    pub public_pem: String,
}

impl ApplicationKey {
    /// Generates a pair of 2048 bits, which takes most of a second.
    ///
    /// # Errors
    /// If the random generator of the operating system fails.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        Ok(Self { private_pem: pair.serialize_pem(), public_pem: pair.public_key_pem() })
    }
}
