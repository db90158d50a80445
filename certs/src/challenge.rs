//! Answers to the challenge `tls-alpn-01` of ACME (RFC 8737): the certificate authority connects to
//! the TCP port with an ALPN protocol of its own, and expects a self-signed certificate for the
//! domain that contains a digest.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{server::ClientHello, sign::CertifiedKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::provider;

/// The ALPN protocol of the challenge. A connection that has negotiated it carries nothing.
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Length of the digest in a challenge, in bytes.
const DIGEST_BYTES: usize = 32;

/// The certificates of pending challenges, by domain. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges(Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>);

impl Challenges {
    /// Answers a challenge until the result is dropped.
    pub(crate) fn answer(
        &self,
        domain: &str,
        digest: &[u8],
    ) -> Result<ChallengeAnswer, ChallengeError> {
        let certified = Arc::new(certified(domain, digest)?);
        let domain = domain.to_ascii_lowercase();
        self.0.lock().insert(domain.clone(), certified);
        Ok(ChallengeAnswer { challenges: self.clone(), domain })
    }

    /// The certificate for a handshake that validates a challenge. `None` within if none is pending
    /// for its server name; then the handshake fails.
    pub(crate) fn resolve(&self, hello: &ClientHello<'_>) -> Option<Option<Arc<CertifiedKey>>> {
        // Another client may offer the protocol beside its own, and gets the usual certificate.
        let mut offered = hello.alpn()?;
        if offered.next() != Some(ACME_TLS_ALPN) || offered.next().is_some() {
            return None;
        }
        let domain = hello.server_name().map(str::to_ascii_lowercase);
        Some(domain.and_then(|domain| self.0.lock().get(&domain).cloned()))
    }
}

/// A challenge that is answered until this is dropped.
#[derive(Debug)]
pub struct ChallengeAnswer {
    challenges: Challenges,
    domain: String,
}

impl Drop for ChallengeAnswer {
    fn drop(&mut self) {
        self.challenges.0.lock().remove(&self.domain);
    }
}

/// The error for a certificate that could not be made for a challenge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The digest has another length.
    #[error("the digest of a challenge must have {DIGEST_BYTES} bytes")]
    Digest,
    /// The domain is no name, or the key could not be generated.
    #[error("the certificate for the challenge could not be made")]
    Generate(#[from] rcgen::Error),
    /// The crypto provider does not accept the key.
    #[error("the key for the challenge cannot be used")]
    Key(#[from] rustls::Error),
}

/// RFC 8737 §3.
fn certified(domain: &str, digest: &[u8]) -> Result<CertifiedKey, ChallengeError> {
    if digest.len() != DIGEST_BYTES {
        return Err(ChallengeError::Digest);
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let private = provider().key_provider.load_private_key(private)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], private))
}
