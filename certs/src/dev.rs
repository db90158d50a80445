//! The development authority: certificates for a local gateway, issued on first use and kept. The
//! authority is valid for years, for clients that trust a root (the SDKs). Its leaf is valid for
//! days, for browsers, which pin it by its hash and accept at most 14 days for that.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier as _};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;

use crate::{
    files::{self, Access},
    pem::{LoadError, load},
    provider,
    resolver::sha256,
    roots_from_pem,
};

/// Ten years: long enough never to expire under a developer, since nothing renews it.
const AUTHORITY_VALIDITY: Duration = Duration::from_hours(3650 * 24);

/// With [`SKEW`] this stays below the 14 days of the W3C WebTransport specification, "custom
/// certificate requirements", beyond which browsers refuse to pin.
const LEAF_VALIDITY: Duration = Duration::from_hours(13 * 24);

/// A leaf with less than this left is replaced, so that a gateway started on a Friday still has a
/// valid one on Monday.
const LEAF_RENEWAL: Duration = Duration::from_hours(3 * 24);

/// Time by which the start of the validity is backdated, for clients whose clocks are behind.
const SKEW: Duration = Duration::from_hours(1);

/// Names in the leaf. A change replaces leaves that lack a name; the authority's
/// [name constraints](authority_params) must allow it.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The error for a development authority that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// The folder could not be created or locked.
    #[error(
        "cannot use the folder {dir} for development certificates: name one that this process may write to"
    )]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be read for a reason that says nothing about its contents.
    #[error("cannot read {path}: check that this process may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(
        "cannot write {path}: check that this process may write there and the disk is not full"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A file of the authority is damaged, missing without the other, or not of this authority.
    ///
    /// It is never replaced silently: clients trust the old authority and would reject the new one
    /// for no visible reason.
    #[error(
        "the development authority's {path} cannot be used: delete the folder {dir} to start again, then have clients trust the new ca.pem"
    )]
    Damaged {
        /// The file of the authority.
        path: PathBuf,
        /// The folder to delete.
        dir: PathBuf,
        /// The fault in the file.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The clock is before 1970 or after the last year that a certificate can name.
    #[error("the clock is out of range for certificates: set the system's time and start again")]
    Clock,
    /// A key or a certificate could not be generated.
    #[error("cannot make a development certificate: configure a certificate and key of your own")]
    Issue(#[source] rcgen::Error),
}

/// A development authority and the leaf it issued, on disk in one folder.
///
/// The folder holds `ca.pem`, which clients may be told to trust; `leaf.pem` (the leaf, then the
/// authority) and `leaf.key`, which a gateway presents; and `ca.key`. All keys are ECDSA P-256,
/// the kind that browsers accept for pinned certificates. The authority is confined by
/// name constraints (RFC 5280 §4.2.1.10) to `localhost`, `127.0.0.1` and `::1`, so that a stolen
/// `ca.key` is of no use against other servers, even where `ca.pem` was installed system-wide.
#[derive(Clone, Debug)]
pub struct DevAuthority {
    paths: Paths,
    ca_pem: String,
    leaf_sha256: [u8; 32],
}

impl DevAuthority {
    /// Opens the authority in `dir` as of `now`, and creates missing files.
    ///
    /// The folder (mode 0700) and the authority (valid for ten years) are created once and kept.
    /// The leaf is valid for 13 days; it is replaced, with a new key, when fewer than 3 days are
    /// left or when it cannot be used with this authority. Private keys have mode 0600. Several
    /// processes may open the same folder at once: all but one wait.
    ///
    /// # Errors
    /// [`DevError`]: the folder is not accessible, the authority's files are damaged, or `now` is
    /// outside of the years that a certificate can name.
    pub fn open(dir: &Path, now: SystemTime) -> Result<Self, DevError> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| DevError::Clock)?;
        let paths = Paths::new(dir);
        let folder_error = |source| DevError::Folder { dir: dir.to_owned(), source };
        files::create_private_dir(dir).map_err(folder_error)?;
        let _lock = files::lock(dir).map_err(folder_error)?;

        if !exists(&paths.ca_pem)? && !exists(&paths.ca_key)? {
            make_authority(&paths, now)?;
        }
        let authority = Authority::load(&paths)?;
        let leaf_sha256 = match authority.kept_leaf(&paths, now) {
            Some(leaf_sha256) => leaf_sha256,
            None => authority.issue_leaf(&paths, now)?,
        };
        Ok(Self { ca_pem: authority.pem, leaf_sha256, paths })
    }

    /// The path of the authority's certificate (`ca.pem`).
    pub fn ca_pem_path(&self) -> &Path {
        &self.paths.ca_pem
    }

    /// The authority's certificate as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The path of the chain to present: the leaf, then the authority (`leaf.pem`).
    pub fn certificate_path(&self) -> &Path {
        &self.paths.leaf_pem
    }

    /// The path of the leaf's private key (`leaf.key`).
    pub fn key_path(&self) -> &Path {
        &self.paths.leaf_key
    }

    /// The SHA-256 of the leaf's DER encoding: the `value` of a browser's
    /// `serverCertificateHashes` (W3C WebTransport), with `algorithm` `sha-256`.
    pub fn leaf_sha256(&self) -> [u8; 32] {
        self.leaf_sha256
    }
}

#[derive(Clone, Debug)]
struct Paths {
    dir: PathBuf,
    ca_pem: PathBuf,
    ca_key: PathBuf,
    leaf_pem: PathBuf,
    leaf_key: PathBuf,
}

impl Paths {
    fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ca_pem: dir.join("ca.pem"),
            ca_key: dir.join("ca.key"),
            leaf_pem: dir.join("leaf.pem"),
            leaf_key: dir.join("leaf.key"),
        }
    }

    fn damaged(
        &self,
        path: &Path,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DevError {
        DevError::Damaged { path: path.to_owned(), dir: self.dir.clone(), source: source.into() }
    }
}

/// The authority, for issuing and verifying leaves. Times are since 1970.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Authority {
    fn load(paths: &Paths) -> Result<Self, DevError> {
        let Paths { ca_pem, ca_key, .. } = paths;
        // The same checks as for what a gateway serves: both are intact and belong together.
        load(ca_pem, ca_key).map_err(|error| match error {
            LoadError::Unreadable { path, source } => DevError::Read { path, source },
            LoadError::Missing { ref path }
            | LoadError::NoCertificate { ref path, .. }
            | LoadError::NoKey { ref path, .. }
            | LoadError::DamagedPem { ref path, .. }
            | LoadError::DamagedCertificate { ref path, .. }
            | LoadError::UnsupportedKey { ref path, .. }
            | LoadError::Mismatch { key: ref path, .. } => paths.damaged(&path.clone(), error),
        })?;

        let pem = read(ca_pem)?;
        let roots = roots_from_pem(pem.as_bytes()).map_err(|error| paths.damaged(ca_pem, error))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| paths.damaged(ca_pem, error))?;
        let key =
            KeyPair::from_pem(&read(ca_key)?).map_err(|error| paths.damaged(ca_key, error))?;
        Ok(Self { pem, issuer: Issuer::new(authority_params(), key), verifier })
    }

    /// The hash of the leaf on disk, unless it must be replaced.
    fn kept_leaf(&self, paths: &Paths, now: Duration) -> Option<[u8; 32]> {
        let certified = load(&paths.leaf_pem, &paths.leaf_key).ok()?;
        let leaf = certified.end_entity_cert().ok()?;
        self.verify(leaf, now).ok()?;
        self.verify(leaf, now + LEAF_RENEWAL).ok()?;
        Some(sha256(leaf))
    }

    /// Issues a leaf with a new key, and returns its hash.
    fn issue_leaf(&self, paths: &Paths, now: Duration) -> Result<[u8; 32], DevError> {
        let mut params =
            CertificateParams::new(NAMES.map(String::from)).map_err(DevError::Issue)?;
        params.distinguished_name = common_name("Signalbox development gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date(now.saturating_sub(SKEW))?;
        params.not_after = date(now + LEAF_VALIDITY)?;

        let key = KeyPair::generate().map_err(DevError::Issue)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(DevError::Issue)?;
        // The issuer's name comes from this program and not from ca.pem. If another authority's
        // certificate and key are in its place, only this check notices.
        self.verify(leaf.der(), now).map_err(|error| paths.damaged(&paths.ca_pem, error))?;

        // The key first: a gateway that watches the certificate then finds the new key in place.
        write(&paths.leaf_key, &key.serialize_pem(), Access::Private)?;
        let chain = leaf.pem() + &self.pem;
        write(&paths.leaf_pem, &chain, Access::Public)?;
        tracing::info!(leaf = %paths.leaf_pem.display(), "issued a development certificate");
        Ok(sha256(leaf.der()))
    }

    /// Verifies that a client which trusts this authority would accept `leaf` at a time, for every
    /// name.
    ///
    /// With a time in the future it also tells whether the leaf is valid for long enough. It is the
    /// verifier of every handshake, so the two cannot disagree.
    fn verify(&self, leaf: &CertificateDer<'_>, at: Duration) -> Result<(), rustls::Error> {
        let at = UnixTime::since_unix_epoch(at);
        for name in NAMES {
            let name =
                ServerName::try_from(name).map_err(|_| rustls::Error::UnsupportedNameType)?;
            self.verifier.verify_server_cert(leaf, &[], &name, &[], at)?;
        }
        Ok(())
    }
}

fn make_authority(paths: &Paths, now: Duration) -> Result<(), DevError> {
    let mut params = authority_params();
    params.not_before = date(now.saturating_sub(SKEW))?;
    params.not_after = date(now + AUTHORITY_VALIDITY)?;
    let key = KeyPair::generate().map_err(DevError::Issue)?;
    let certificate = params.self_signed(&key).map_err(DevError::Issue)?;

    write(&paths.ca_key, &key.serialize_pem(), Access::Private)?;
    write(&paths.ca_pem, &certificate.pem(), Access::Public)?;
    tracing::info!(authority = %paths.ca_pem.display(), "made a development authority");
    Ok(())
}

/// The authority's parameters except its validity. The name and key usages must never change: a
/// loaded authority issues with these, not with those in its certificate.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("Signalbox development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::LOCALHOST.octets(), 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
                Ipv6Addr::LOCALHOST.octets(),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn date(since_1970: Duration) -> Result<OffsetDateTime, DevError> {
    i64::try_from(since_1970.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(DevError::Clock)
}

fn exists(path: &Path) -> Result<bool, DevError> {
    path.try_exists().map_err(|source| DevError::Read { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<String, DevError> {
    fs::read_to_string(path).map_err(|source| DevError::Read { path: path.to_owned(), source })
}

fn write(path: &Path, contents: &str, access: Access) -> Result<(), DevError> {
    files::replace(path, contents.as_bytes(), access)
        .map_err(|source| DevError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
