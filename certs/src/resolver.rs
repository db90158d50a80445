//! Certificates that reload in place. They are replaced every few weeks while connections live for
//! days, so a gateway switches to a new one without a restart. QUIC and TCP share one resolver, so
//! they never present different certificates.

use std::{
    error::Error as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

#[cfg(feature = "acme")]
use crate::challenge::{ChallengeAnswer, ChallengeError, Challenges};
use crate::pem::{Files, LoadError};

/// The certificate that all listeners present, replaceable while they run.
///
/// Cloning is cheap, and a [`reload`](Self::reload) affects every clone. A handshake in progress
/// finishes with the certificate with which it began; existing connections are not affected.
#[derive(Clone, Debug)]
pub struct Certificates {
    files: Arc<CertificateFiles>,
}

#[derive(Debug)]
struct CertificateFiles {
    /// Read by every handshake; a handshake must not wait for a reload. None until the first
    /// certificate has been issued.
    current: ArcSwapOption<CertifiedKey>,
    /// Of a certificate by ACME.
    #[cfg(feature = "acme")]
    challenges: Option<Challenges>,
    /// Locked while loading, so that of two concurrent reloads the later one wins.
    source: Mutex<CertificateSource>,
}

/// The files of a certificate and its key.
#[derive(Debug)]
struct CertificateSource {
    cert: PathBuf,
    key: PathBuf,
    /// Hashes of the files at the last attempt to load them.
    tried: Stamps,
}

/// A certificate that has been read from its files and is not presented yet.
#[derive(Debug)]
pub struct LoadedCertificate {
    certified: CertifiedKey,
    source: CertificateSource,
}

impl LoadedCertificate {
    /// Reads the chain in `cert` and the private key in `key`. Blocks while two small files are read.
    ///
    /// # Errors
    /// As [`crate::load`].
    pub fn read(cert: PathBuf, key: PathBuf) -> Result<Self, LoadError> {
        let files = Files::read(&cert, &key);
        let tried = Stamps::of(&files);
        let certified = files.load()?;
        Ok(Self { certified, source: CertificateSource { cert, key, tried } })
    }
}

impl Certificates {
    /// Loads the chain in `cert` and the private key in `key`, and remembers the paths.
    ///
    /// # Errors
    /// As [`crate::load`].
    pub fn load(cert: PathBuf, key: PathBuf) -> Result<Self, LoadError> {
        let LoadedCertificate { certified, source } = LoadedCertificate::read(cert, key)?;
        Ok(Self {
            files: Arc::new(CertificateFiles {
                current: ArcSwapOption::from_pointee(certified),
                #[cfg(feature = "acme")]
                challenges: None,
                source: Mutex::new(source),
            }),
        })
    }

    /// Presents this certificate in handshakes from now on, and watches its files.
    pub fn present(&self, loaded: LoadedCertificate) {
        let LoadedCertificate { certified, source: new } = loaded;
        let mut source = self.files.source.lock();
        self.files.current.store(Some(Arc::new(certified)));
        tracing::info!(path = %new.cert.display(), "certificate reloaded");
        *source = new;
    }

    /// Loads the certificate that was issued by ACME and kept in `file` together with its key.
    ///
    /// Without it, as at the first start, handshakes fail until it has been issued and is
    /// [reloaded](Self::reload). The TCP port answers challenges.
    #[cfg(feature = "acme")]
    pub fn issued(file: PathBuf) -> Self {
        let files = Files::read(&file, &file);
        let tried = Stamps::of(&files);
        let certified = match files.load() {
            Ok(certified) => Some(certified),
            Err(LoadError::Missing { .. }) => None,
            Err(error) => {
                tracing::warn!(%error, "issued certificate not loaded; another one is needed");
                None
            }
        };
        let current = ArcSwapOption::from_pointee(certified);
        let challenges = Some(Challenges::default());
        let source = Mutex::new(CertificateSource { cert: file.clone(), key: file, tried });
        Self { files: Arc::new(CertificateFiles { current, challenges, source }) }
    }

    /// Answers the challenge of a certificate authority for this domain, until the result is
    /// dropped. `digest` is the SHA-256 of its key authorization.
    ///
    /// # Errors
    /// [`ChallengeError`] if the certificate of the answer could not be made.
    #[cfg(feature = "acme")]
    pub fn answer_challenge(
        &self,
        domain: &str,
        digest: &[u8],
    ) -> Result<ChallengeAnswer, ChallengeError> {
        self.files.challenges.clone().unwrap_or_default().answer(domain, digest)
    }

    /// Whether listeners answer challenges.
    #[cfg(feature = "acme")]
    pub(crate) fn answers_challenges(&self) -> bool {
        self.files.challenges.is_some()
    }

    /// Whether there is a certificate to present.
    pub fn is_loaded(&self) -> bool {
        self.files.current.load().is_some()
    }

    /// The domain names of the presented certificate.
    pub fn names(&self) -> Vec<String> {
        let current = self.files.current.load();
        let leaf = current.as_ref().and_then(|current| current.cert.first());
        leaf.and_then(|leaf| dns_names(leaf)).unwrap_or_default()
    }

    /// Reads both files again and presents the new certificate in handshakes from now on.
    ///
    /// The result is logged here: success at info, failure as a warning with its cause. Blocks
    /// while two small files are read.
    ///
    /// # Errors
    /// As [`crate::load`]. The certificate that was in use stays in use.
    pub fn reload(&self) -> Result<(), LoadError> {
        let current = &self.files.current;
        let mut source = self.files.source.lock();
        let CertificateSource { cert, key, tried } = &mut *source;
        let files = Files::read(cert, key);
        *tried = Stamps::of(&files);
        match files.load() {
            Ok(certified) => {
                current.store(Some(Arc::new(certified)));
                tracing::info!(path = %cert.display(), "certificate reloaded");
                Ok(())
            }
            // It has not been issued yet.
            Err(LoadError::Missing { .. }) if current.load().is_none() => Ok(()),
            Err(error) => {
                tracing::warn!(
                    %error,
                    cause = error.source().map(tracing::field::display),
                    "certificate reload failed; keeping the current certificate"
                );
                Err(error)
            }
        }
    }

    /// Whether the contents of either file differ from when it was last tried, successfully or not.
    ///
    /// It reads both small files, because a renewal may keep their length and time of modification;
    /// that is cheap enough for polling. A failed [`reload`](Self::reload) counts as an attempt, so
    /// a damaged file is reported once and not on every poll. If a certificate and its key are
    /// replaced one after the other, a reload between the two fails, and the next poll sees the
    /// second change.
    pub fn changed_on_disk(&self) -> bool {
        let source = self.files.source.lock();
        source.tried != Stamps::of(&Files::read(&source.cert, &source.key))
    }

    /// The file with the certificate chain.
    pub fn path(&self) -> PathBuf {
        self.files.source.lock().cert.clone()
    }

    /// The SHA-256 of the presented certificate's DER encoding, by which a browser can accept it.
    pub fn leaf_sha256(&self) -> Option<[u8; 32]> {
        self.files.current.load().as_ref()?.cert.first().map(|certificate| sha256(certificate))
    }

    /// The period in which every certificate of the presented chain is valid; `None` if the
    /// validity of one cannot be parsed, or there is no certificate yet.
    pub fn validity(&self) -> Option<Validity> {
        Validity::of_chain(&self.files.current.load().as_ref()?.cert)
    }
}

impl ResolvesServerCert for Certificates {
    /// The same certificate for every server name: a gateway has one.
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        #[cfg(feature = "acme")]
        if let Some(challenges) = &self.files.challenges
            && let Some(answer) = challenges.resolve(&client_hello)
        {
            return answer;
        }
        #[cfg(not(feature = "acme"))]
        let _ = client_hello;
        self.files.current.load_full()
    }
}

/// The subject alternative names that are domains.
fn dns_names(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    let domain = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    Some(names.iter().filter_map(domain).collect())
}

/// The SHA-256 of a certificate's DER encoding.
pub(crate) fn sha256(certificate: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, certificate).as_ref());
    hash
}

/// The validity period of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last.
    pub not_after: SystemTime,
}

impl Validity {
    /// The period in which every certificate of a chain is valid.
    pub(crate) fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let each = chain.iter().map(|certificate| Self::of(certificate));
        each.collect::<Option<Vec<_>>>()?.into_iter().reduce(|one, other| Self {
            not_before: one.not_before.max(other.not_before),
            not_after: one.not_after.min(other.not_after),
        })
    }

    fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let time = |seconds: i64| {
            let since = Duration::from_secs(seconds.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            if seconds < 0 { epoch.checked_sub(since) } else { epoch.checked_add(since) }
        };
        Some(Self {
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
        })
    }
}

/// Hashes of both files. Not their contents, so that the key is in memory once.
#[derive(Debug, PartialEq, Eq)]
struct Stamps {
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Stamps {
    fn of(files: &Files<'_>) -> Self {
        let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
        let (cert, key) = files.contents();
        Self { cert: cert.map(hash), key: key.map(hash) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        fs::{self, File},
        path::Path,
    };

    use rcgen::generate_simple_self_signed;

    use super::*;

    /// A folder in which all files have one time of change.
    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self { dir: tempfile::tempdir().unwrap() };
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

        fn write(&self, path: &Path, contents: &str) {
            fs::write(path, contents).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }

        /// Replaces both files, and returns the DER of the new certificate.
        fn renew(&self) -> Vec<u8> {
            let issued = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            self.write(&self.cert(), &issued.cert.pem());
            self.write(&self.key(), &issued.signing_key.serialize_pem());
            issued.cert.der().to_vec()
        }
    }

    fn presented(certificates: &Certificates) -> Vec<u8> {
        certificates.files.current.load_full().unwrap().cert.first().unwrap().to_vec()
    }

    #[test]
    fn reload_swaps_for_every_clone() {
        let world = World::new();
        let certificates = world.load();
        let clone = certificates.clone();

        let renewed = world.renew();
        assert_ne!(presented(&clone), renewed);
        certificates.reload().unwrap();
        assert_eq!(presented(&clone), renewed);
    }

    #[test]
    fn a_failed_reload_keeps_the_certificate() {
        let world = World::new();
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
        let world = World::new();
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
        let world = World::new();
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
        let world = World::new();
        let certificates = world.load();
        let contents = fs::read_to_string(world.key()).unwrap();
        world.write(&world.key(), &contents);
        assert!(!certificates.changed_on_disk(), "the same contents, written again");
        world.write(&world.key(), &format!("{contents}\n"));
        assert!(certificates.changed_on_disk());
    }

    #[test]
    fn a_renewal_with_the_same_time_and_length_is_noticed() {
        let world = World::new();
        let length = |path: &Path| fs::metadata(path).unwrap().len();
        let lengths = || (length(&world.cert()), length(&world.key()));
        for by_rename in [false, true] {
            let certificates = world.load();
            let before = lengths();
            // The length of a signature varies by a byte or two.
            let other = loop {
                let other = World::new();
                if (length(&other.cert()), length(&other.key())) == before {
                    break other;
                }
            };
            for (from, to) in [(other.cert(), world.cert()), (other.key(), world.key())] {
                if by_rename {
                    fs::rename(from, to).unwrap();
                } else {
                    world.write(&to, &fs::read_to_string(from).unwrap());
                }
                let modified = fs::metadata(world.cert()).unwrap().modified().unwrap();
                assert_eq!((modified, lengths()), (SystemTime::UNIX_EPOCH, before));
                assert!(certificates.changed_on_disk());
            }
            certificates.reload().unwrap();
            assert!(!certificates.changed_on_disk());
        }
    }

    #[test]
    fn a_chain_is_valid_while_all_of_it_is() {
        let day = |day| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * day);
        let issue = |from: u64, until: u64| {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
            params.not_before = day(from).into();
            params.not_after = day(until).into();
            let key = rcgen::KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let world = World::new();
        let ((leaf, key), (authority, _)) = (issue(100, 200), issue(50, 150));
        world.write(&world.cert(), &(leaf + &authority));
        world.write(&world.key(), &key);
        let validity = Validity { not_before: day(100), not_after: day(150) };
        assert_eq!(world.load().validity(), Some(validity));
    }
}
