//! Keys that survive a restart, derived from one secret ([`crate::secret`]).
//!
//! A client whose gateway has crashed detects that by the answer to its next packet, a stateless
//! reset (RFC 9000 §10.3), but only if the next process can make the reset that the previous one has
//! promised. Address validation tokens and the state file must be recognised by the next process too.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{hkdf, hmac};
use quinn::{EndpointConfig, ServerConfig};
use signalbox_quic::HashedConnectionIdGenerator;

/// The shortest time between two resets. With quinn's 20 ms, ten thousand clients of a crashed
/// gateway would wait for minutes. An attacker gains nothing, as a reset is shorter than the packet
/// that it answers.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// Derives keys from the secret.
pub(crate) struct Keys(hkdf::Prk);

impl Keys {
    /// The keys of the gateway with this secret.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"signalbox quic keys").extract(secret))
    }

    /// Keys of stateless resets, and of connection ids that are recognised as the gateway's own.
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let reset = hmac::Key::new(hmac::HMAC_SHA256, &self.derive::<32>(b"stateless reset"));
        let ids = u64::from_le_bytes(self.derive(b"connection ids"));
        let mut config = EndpointConfig::new(Arc::new(reset));
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)))
            .min_reset_interval(RESET_INTERVAL);
        config
    }

    /// Key of address validation tokens.
    pub(crate) fn tokens(&self, config: &mut ServerConfig) {
        let key = self.derive::<32>(b"address validation tokens");
        config.token_key(Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key)));
    }

    /// Key that authenticates the state file.
    pub(crate) fn state_file(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive::<32>(b"state file"))
    }

    fn derive<const N: usize>(&self, label: &[u8]) -> [u8; N] {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut key = [0; N];
        let label = [label];
        // HKDF yields up to 255 hashes. These keys are far shorter.
        if let Ok(okm) = self.0.expand(&label, Length(N)) {
            let _ = okm.fill(&mut key);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_makes_the_same_keys_and_another_makes_others() {
        let key = |secret: &[u8], label: &[u8]| Keys::of(secret).derive::<32>(label);
        assert_eq!(key(b"secret", b"a"), key(b"secret", b"a"));
        assert_ne!(key(b"secret", b"a"), key(b"secret", b"b"));
        assert_ne!(key(b"secret", b"a"), key(b"other", b"a"));
        assert_ne!(key(b"secret", b"a"), [0; 32]);
    }
}
