//! Keys that a gateway must find again after a restart.
//!
//! A client whose gateway has crashed learns of it from the answer to its next packet, a stateless
//! reset (RFC 9000 §10.3), but only if the gateway that came up in its place can make the reset
//! that the one before has promised. The same goes for address validation tokens and for the state
//! file. All of these keys are derived from one secret that outlives the process ([`crate::secret`]).

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{hkdf, hmac};
use quinn::{EndpointConfig, ServerConfig};
use signalbox_quic::HashedConnectionIdGenerator;

/// The least time between two resets. quinn's 20 ms would let ten thousand clients of a crashed
/// gateway wait for minutes; an attacker gains nothing, as a reset is shorter than what it answers.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// What is derived from the secret.
pub(crate) struct Keys(hkdf::Prk);

impl Keys {
    /// The keys of whoever has this secret.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"signalbox quic keys").extract(secret))
    }

    /// For resets, and for connection ids that are recognised as our own.
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let reset = hmac::Key::new(hmac::HMAC_SHA256, &self.derive::<32>(b"stateless reset"));
        let ids = u64::from_le_bytes(self.derive(b"connection ids"));
        let mut config = EndpointConfig::new(Arc::new(reset));
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)))
            .min_reset_interval(RESET_INTERVAL);
        config
    }

    /// For tokens that prove an address.
    pub(crate) fn tokens(&self, config: &mut ServerConfig) {
        let key = self.derive::<32>(b"address validation tokens");
        config.token_key(Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key)));
    }

    /// For the proof that a state file is our own.
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
        // HKDF makes up to 255 hashes of output; these are far shorter.
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
