//! Certificates are replaced every few weeks while connections live for days, so a gateway must
//! take up a new one without restarting. QUIC and TCP resolve from the same place, so they never
//! present different certificates.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::pem::{LoadError, load};

/// The certificate that all listeners present, replaceable while they run.
///
/// Cloning is cheap and every clone sees a [`reload`](Self::reload). A handshake that has begun
/// finishes with the certificate it began with; links that exist are not touched.
#[derive(Clone, Debug)]
pub struct Certificates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cert: PathBuf,
    key: PathBuf,
    /// Read by every handshake, which therefore must not wait for a reload.
    current: ArcSwap<CertifiedKey>,
    /// What the files looked like when they were last tried. Held while loading, so that two
    /// reloads at once cannot leave the older certificate in place.
    tried: Mutex<Stamps>,
}

impl Certificates {
    /// Loads the chain in `cert` and the private key in `key`, and remembers the paths.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub fn load(cert: PathBuf, key: PathBuf) -> Result<Self, LoadError> {
        // Taken before reading: a file that changes meanwhile then counts as changed.
        let tried = Stamps::of(&cert, &key);
        let certified = load(&cert, &key)?;
        Ok(Self {
            shared: Arc::new(Shared {
                cert,
                key,
                current: ArcSwap::from_pointee(certified),
                tried: Mutex::new(tried),
            }),
        })
    }

    /// Reads both files again and presents the new certificate in handshakes from now on.
    ///
    /// The outcome is logged here, success as info and failure as a warning with the cause, so
    /// callers have nothing to add. Blocks while two small files are read.
    ///
    /// # Errors
    ///
    /// As [`load`]. The certificate that was in use stays in use.
    pub fn reload(&self) -> Result<(), LoadError> {
        let Shared { cert, key, current, tried } = &*self.shared;
        let mut tried = tried.lock();
        *tried = Stamps::of(cert, key);
        match load(cert, key) {
            Ok(certified) => {
                current.store(Arc::new(certified));
                tracing::info!(cert = %cert.display(), "presenting the reloaded certificate");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    cause = error.source().map(tracing::field::display),
                    "cannot reload the certificate; still presenting the one before"
                );
                Err(error)
            }
        }
    }

    /// Whether either file looks different from when it was last tried, successfully or not.
    ///
    /// Looks are the modification time and the length, so this is cheap enough to poll. Because a
    /// failed [`reload`](Self::reload) counts as tried, a damaged file is reported once and not
    /// on every poll. When a certificate and its key are replaced one after the other, the reload
    /// between the two fails, and the second change is seen by the next poll.
    #[must_use]
    pub fn changed_on_disk(&self) -> bool {
        let Shared { cert, key, tried, .. } = &*self.shared;
        let tried = tried.lock();
        *tried != Stamps::of(cert, key)
    }
}

impl ResolvesServerCert for Certificates {
    /// The same certificate whatever name the client asks for: a gateway has one name.
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shared.current.load_full())
    }
}

/// What both files look like from outside.
#[derive(Debug, PartialEq, Eq)]
struct Stamps {
    cert: Option<Stamp>,
    key: Option<Stamp>,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    /// `None` where the file system keeps no modification times.
    modified: Option<SystemTime>,
    length: u64,
}

impl Stamps {
    fn of(cert: &Path, key: &Path) -> Self {
        Self { cert: Stamp::of(cert), key: Stamp::of(key) }
    }
}

impl Stamp {
    /// `None` for a file that is missing or hidden, which is a look too. Links are followed,
    /// since orchestrators and ACME clients publish certificates by moving a link.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::time::Duration;

    use rcgen::generate_simple_self_signed;

    use super::*;

    /// A folder in which every write happens a second after the one before, whatever the clock
    /// and the file system's resolution make of it.
    struct World {
        dir: tempfile::TempDir,
        clock: SystemTime,
    }

    impl World {
        fn new() -> Self {
            let mut world =
                Self { dir: tempfile::tempdir().unwrap(), clock: SystemTime::UNIX_EPOCH };
            world.renew();
            world
        }

        fn cert(&self) -> PathBuf {
            self.dir.path().join("cert.pem")
        }

        fn key(&self) -> PathBuf {
            self.dir.path().join("key.pem")
        }

        fn load(&self) -> Certificates {
            Certificates::load(self.cert(), self.key()).unwrap()
        }

        fn write(&mut self, path: &Path, contents: &str) {
            self.clock += Duration::from_secs(1);
            fs::write(path, contents).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(self.clock).unwrap();
        }

        /// Replaces both files, and returns the DER of the new certificate.
        fn renew(&mut self) -> Vec<u8> {
            let issued = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            self.write(&self.cert(), &issued.cert.pem());
            self.write(&self.key(), &issued.signing_key.serialize_pem());
            issued.cert.der().to_vec()
        }
    }

    fn presented(certificates: &Certificates) -> Vec<u8> {
        certificates.shared.current.load().cert.first().unwrap().to_vec()
    }

    #[test]
    fn reload_swaps_for_every_clone() {
        let mut world = World::new();
        let certificates = world.load();
        let clone = certificates.clone();

        let renewed = world.renew();
        assert_ne!(presented(&clone), renewed);
        certificates.reload().unwrap();
        assert_eq!(presented(&clone), renewed);
    }

    #[test]
    fn a_failed_reload_keeps_the_certificate() {
        let mut world = World::new();
        let certificates = world.load();
        let before = presented(&certificates);

        let (key, other) = (world.key(), rcgen::KeyPair::generate().unwrap());
        world.write(&key, &other.serialize_pem());
        let error = certificates.reload().unwrap_err();
        assert!(matches!(error, LoadError::Mismatch { .. }), "{error:?}");
        assert_eq!(presented(&certificates), before);

        fs::remove_file(world.cert()).unwrap();
        certificates.reload().unwrap_err();
        assert_eq!(presented(&certificates), before);

        let renewed = world.renew();
        certificates.reload().unwrap();
        assert_eq!(presented(&certificates), renewed);
    }

    #[test]
    fn a_change_is_reported_until_it_is_tried() {
        let mut world = World::new();
        let certificates = world.load();
        assert!(!certificates.changed_on_disk());

        world.renew();
        assert!(certificates.changed_on_disk());
        assert!(certificates.changed_on_disk(), "looking is not trying");
        certificates.reload().unwrap();
        assert!(!certificates.changed_on_disk());
    }

    #[test]
    fn a_damaged_file_is_reported_once() {
        let mut world = World::new();
        let certificates = world.load();

        world.write(&world.cert(), "not a certificate");
        assert!(certificates.changed_on_disk());
        certificates.reload().unwrap_err();
        assert!(!certificates.changed_on_disk());

        fs::remove_file(world.key()).unwrap();
        assert!(certificates.changed_on_disk());
        certificates.reload().unwrap_err();
        assert!(!certificates.changed_on_disk());

        world.renew();
        assert!(certificates.changed_on_disk());
        certificates.reload().unwrap();
    }

    #[test]
    fn the_key_alone_is_watched_too() {
        let mut world = World::new();
        let certificates = world.load();
        let (key, contents) = (world.key(), fs::read_to_string(world.key()).unwrap());
        world.write(&key, &contents);
        assert!(certificates.changed_on_disk());
    }
}
