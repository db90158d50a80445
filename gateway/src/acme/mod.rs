//! A certificate by ACME (RFC 8555): it is ordered when there is none, or when names have changed,
//! and renewed when a third of its life is left. Until another one has been issued, the current one
//! is kept.
//!
//! The authority validates each domain by a TLS handshake with the TCP port (`tls-alpn-01`,
//! RFC 8737), so no other port is needed. The issued certificate is a file like one of an operator:
//! QUIC and TCP present it, and metrics and warnings are about it.

mod account;
mod directory_client;
mod error;
mod order;
mod storage;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use signalbox_certs::{Certificates, Validity};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use self::error::AcmeError;
pub(crate) use self::storage::AcmeStorage;
use crate::{backoff::RetryDelays, config::AcmeConfig, error_chain::with_causes};

/// Time for one order, validation included.
const ORDER: Duration = Duration::from_secs(300);

/// The part of a certificate's life that is left when it is renewed.
const RENEWAL_PART: u32 = 3;

/// The longest sleep before the certificate is looked at again: clocks are set, and machines sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// The first and the longest delay after a failure that time may repair: of the network, of the
/// authority, of the disk.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// The same after the authority has refused the order. Let's Encrypt allows five failed validations
/// of a name in an hour, and one more every twelve minutes.
const FIRST_REFUSAL_DELAY: Duration = Duration::from_secs(60);
const LONGEST_REFUSAL_DELAY: Duration = Duration::from_secs(6 * 3600);

/// Keeps a certificate from an authority. Clones share its state.
#[derive(Clone)]
pub(crate) struct Acme(Arc<AcmeState>);

struct AcmeState {
    config: AcmeConfig,
    storage: AcmeStorage,
    certificates: Certificates,
    /// The last failure, while there is no certificate.
    failure: Mutex<Option<String>>,
}

impl Acme {
    pub(crate) fn new(
        config: &AcmeConfig,
        storage: AcmeStorage,
        certificates: Certificates,
    ) -> Self {
        let (config, failure) = (config.clone(), Mutex::default());
        Self(Arc::new(AcmeState { config, storage, certificates, failure }))
    }

    /// Whether there is a certificate to present; the error says why not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        if self.0.certificates.is_loaded() {
            return Ok(());
        }
        let failure = self.0.failure.lock();
        let why = failure.as_deref().unwrap_or("it has been ordered");
        Err(format!("no certificate yet: {why}"))
    }

    /// Orders and renews for ever.
    pub(crate) async fn run(&self) {
        let Self(state) = self;
        let mut faults = RetryDelays::new(FIRST_DELAY, LONGEST_DELAY);
        let mut refusals = RetryDelays::new(FIRST_REFUSAL_DELAY, LONGEST_REFUSAL_DELAY);
        loop {
            let wait = state.wait(SystemTime::now());
            if !wait.is_zero() {
                sleep(wait.min(LONGEST_SLEEP)).await;
                continue;
            }
            let domains = state.config.domains.join(",");
            info!(domains, directory = state.config.directory, "certificate ordered");
            let issued = timeout(ORDER, state.issue()).await.unwrap_or(Err(AcmeError::Timeout));
            let Err(error) = issued else {
                *state.failure.lock() = None;
                faults.reset();
                refusals.reset();
                info!(domains, "certificate issued");
                // A certificate that is due at once must not be ordered at once.
                sleep(FIRST_DELAY).await;
                continue;
            };
            let delays = if error.is_refusal() { &mut refusals } else { &mut faults };
            let delay = jittered(delays.advance());
            let (fault, text) = (error.fault().as_str(), with_causes(&error).to_string());
            let consequence = if state.certificates.is_loaded() {
                "keeping the current one"
            } else {
                "clients cannot connect"
            };
            warn!(error = %text, fault, retry_in = ?delay, "certificate not issued; {consequence}");
            *state.failure.lock() = Some(text);
            sleep(delay).await;
        }
    }
}

impl AcmeState {
    /// Time until a certificate must be ordered.
    fn wait(&self, now: SystemTime) -> Duration {
        let lower = |name: &String| name.to_ascii_lowercase();
        let wanted: BTreeSet<_> = self.config.domains.iter().map(lower).collect();
        let issued: BTreeSet<_> = self.certificates.names().iter().map(lower).collect();
        if wanted != issued {
            return Duration::ZERO;
        }
        self.certificates.validity().map_or(Duration::ZERO, |it| until_renewal(it, now))
    }
}

/// Time until a third of the life is left.
fn until_renewal(validity: Validity, now: SystemTime) -> Duration {
    let Validity { not_before, not_after } = validity;
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let renewal = not_after - life / RENEWAL_PART;
    renewal.duration_since(now).unwrap_or_default()
}

/// A delay that is up to a half longer, so that gateways that have failed together come back apart.
fn jittered(delay: Duration) -> Duration {
    // Without random numbers there is no jitter.
    let random = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    delay + delay.mul_f64(random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * day);
        let days = |days: u64| Duration::from_hours(24 * days);
        let validity = Validity { not_before: day(100), not_after: day(190) };
        assert_eq!(until_renewal(validity, day(100)), days(60));
        assert_eq!(until_renewal(validity, day(159)), days(1));
        assert_eq!(until_renewal(validity, day(160)), Duration::ZERO);
        assert_eq!(until_renewal(validity, day(200)), Duration::ZERO);
        // Six days, as of certificates for short periods.
        let short = Validity { not_before: day(100), not_after: day(106) };
        assert_eq!(until_renewal(short, day(103)), days(1));
    }

    #[test]
    fn jitter_adds_up_to_a_half() {
        for _ in 0..100 {
            let delay = jittered(FIRST_DELAY);
            assert!((FIRST_DELAY..=FIRST_DELAY * 3 / 2).contains(&delay), "{delay:?}");
        }
        assert_ne!(jittered(LONGEST_DELAY), jittered(LONGEST_DELAY));
    }
}
