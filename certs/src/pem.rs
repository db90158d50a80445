//! Loading certificates and keys from PEM files. Operators configure wrong files, last year's keys
//! and mistyped paths, so every error names the file, what is wrong with it, and what to do.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    Error as TlsError, InconsistentKeys,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};

use crate::{diagnosis, provider};

/// The error for a certificate and key that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no file at the path.
    #[error("{path} does not exist: correct the configured path or put the file there")]
    Missing {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The file exists but the operating system refused to read it.
    #[error("cannot read {path}: check that it is a file that this process may read")]
    Unreadable {
        /// The file that could not be read.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file has no `CERTIFICATE` section.
    #[error("{path} {why}")]
    NoCertificate {
        /// The file without a certificate.
        path: PathBuf,
        /// The actual contents of the file, and the remedy.
        why: String,
    },
    /// The file has no private key section that can be used.
    #[error("{path} {why}")]
    NoKey {
        /// The file without a key.
        path: PathBuf,
        /// The actual contents of the file, and the remedy.
        why: String,
    },
    /// The file is not intact PEM.
    #[error("{path} {why}")]
    DamagedPem {
        /// The damaged file.
        path: PathBuf,
        /// The fault, and the remedy.
        why: String,
    },
    /// The PEM is intact, but the first certificate in it cannot be used.
    #[error("the first certificate in {path} {why}")]
    DamagedCertificate {
        /// The file with the certificate.
        path: PathBuf,
        /// The fault, and the remedy.
        why: String,
        /// The error of rustls.
        #[source]
        source: TlsError,
    },
    /// The key is damaged or of a kind that TLS with this provider cannot sign with.
    #[error("the key in {path} {why}")]
    UnsupportedKey {
        /// The file with the key.
        path: PathBuf,
        /// The fault, and the remedy.
        why: String,
        /// The error of the crypto provider.
        #[source]
        source: TlsError,
    },
    /// Both files are valid, but the certificate was issued for another key.
    #[error(
        "the key in {key} does not belong to the certificate in {cert}: configure the two that were issued together"
    )]
    Mismatch {
        /// The file with the certificate.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
}

/// Loads a certificate chain and the private key that belongs to its first certificate.
///
/// `cert` holds the chain as PEM (RFC 7468), the server's own certificate first, as RFC 8446
/// §4.4.2 requires. `key` holds one unencrypted private key as PEM: PKCS#8, PKCS#1 or SEC1.
/// The two may be the same file, since each read skips the sections of the other kind.
///
/// Trust and expiry are not checked: they depend on the client.
///
/// # Errors
/// Each variant of [`LoadError`] names the file and what to do.
pub fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, LoadError> {
    Files::read(cert, key).load()
}

/// All reasons for which [`load`] would fail, each with whether the key's file is at fault.
pub fn problems(cert: &Path, key: &Path) -> Vec<(LoadError, bool)> {
    let files = Files::read(cert, key);
    match (files.chain(), files.private_key()) {
        (Ok(chain), Ok(private)) => match files.pair(chain, private) {
            Ok(_) => Vec::new(),
            Err(error) => {
                let of_key = matches!(error, LoadError::Mismatch { .. });
                vec![(error, of_key)]
            }
        },
        (chain, private) => {
            let of_chain = chain.err().map(|error| (error, false));
            of_chain.into_iter().chain(private.err().map(|error| (error, true))).collect()
        }
    }
}

/// The largest file that is read, in bytes; chains have some thousand.
const MAX_BYTES: u64 = 1024 * 1024;

/// The contents of both files, read once.
pub(crate) struct Files<'a> {
    paths: (&'a Path, &'a Path),
    contents: (io::Result<Vec<u8>>, io::Result<Vec<u8>>),
}

impl<'a> Files<'a> {
    /// Reads a certificate's file and its key's.
    pub(crate) fn read(cert: &'a Path, key: &'a Path) -> Self {
        Self { paths: (cert, key), contents: (read(cert), read(key)) }
    }

    /// The contents; `None` for a file that could not be read.
    pub(crate) fn contents(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        (self.contents.0.as_deref().ok(), self.contents.1.as_deref().ok())
    }

    /// See [`load`].
    pub(crate) fn load(&self) -> Result<CertifiedKey, LoadError> {
        self.pair(self.chain()?, self.private_key()?)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, LoadError> {
        let path = self.paths.0;
        let pem = text(path, &self.contents.0)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match chain {
            Ok(chain) if chain.is_empty() => {
                let why = diagnosis::no_certificate(pem, path);
                Err(LoadError::NoCertificate { path: path.to_owned(), why })
            }
            Ok(chain) => Ok(chain),
            Err(error) => {
                let why = diagnosis::damaged(pem, path, &error);
                Err(LoadError::DamagedPem { path: path.to_owned(), why })
            }
        }
    }

    fn private_key(&self) -> Result<Arc<dyn SigningKey>, LoadError> {
        let path = self.paths.1;
        let pem = text(path, &self.contents.1)?;
        let private = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            // A key in the older encrypted format looks damaged to the parser.
            _ if diagnosis::is_encrypted(pem) => {
                LoadError::NoKey { path: path.to_owned(), why: diagnosis::no_key(pem, path) }
            }
            PemError::NoItemsFound => {
                LoadError::NoKey { path: path.to_owned(), why: diagnosis::no_key(pem, path) }
            }
            error => {
                let why = diagnosis::damaged(pem, path, &error);
                LoadError::DamagedPem { path: path.to_owned(), why }
            }
        })?;
        let why = diagnosis::unusable_key(&private);
        provider()
            .key_provider
            .load_private_key(private)
            .map_err(|source| LoadError::UnsupportedKey { path: path.to_owned(), why, source })
    }

    fn pair(
        &self,
        chain: Vec<CertificateDer<'static>>,
        private: Arc<dyn SigningKey>,
    ) -> Result<CertifiedKey, LoadError> {
        let (cert, key) = self.paths;
        let certified = CertifiedKey::new(chain, private);
        match certified.keys_match() {
            Ok(()) => Ok(certified),
            Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(LoadError::Mismatch { cert: cert.to_owned(), key: key.to_owned() })
            }
            Err(source) => {
                let why = certified
                    .cert
                    .first()
                    .map_or_else(String::new, |der| diagnosis::unusable_certificate(der));
                Err(LoadError::DamagedCertificate { path: cert.to_owned(), why, source })
            }
        }
    }
}

/// Reads a file up to the limit.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(contents)
}

/// The contents without the byte order mark that some editors put first.
fn text<'a>(path: &Path, contents: &'a io::Result<Vec<u8>>) -> Result<&'a [u8], LoadError> {
    match contents {
        Ok(contents) => Ok(contents.strip_prefix("\u{feff}".as_bytes()).unwrap_or(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(LoadError::Missing { path: path.to_owned() })
        }
        Err(error) => {
            let source = io::Error::new(error.kind(), error.to_string());
            Err(LoadError::Unreadable { path: path.to_owned(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use rcgen::{KeyPair, generate_simple_self_signed};

    use super::*;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self { dir: tempfile::tempdir().unwrap() };
            let issued = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            world.write("cert.pem", &issued.cert.pem());
            world.write("key.pem", &issued.signing_key.serialize_pem());
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn write(&self, name: &str, contents: &str) {
            fs::write(self.path(name), contents).unwrap();
        }

        fn load(&self) -> Result<CertifiedKey, LoadError> {
            load(&self.path("cert.pem"), &self.path("key.pem"))
        }

        /// Loads, and checks that the message names the file.
        fn refusal(&self, names: &str) -> LoadError {
            let error = self.load().unwrap_err();
            let message = error.to_string();
            assert!(message.contains(names), "{message}");
            error
        }
    }

    #[test]
    fn loads_what_was_issued_together() {
        let loaded = World::new().load().unwrap();
        assert_eq!(loaded.cert.len(), 1);
    }

    #[test]
    fn one_file_may_hold_both() {
        let world = World::new();
        let both = [world.path("key.pem"), world.path("cert.pem")]
            .map(|path| fs::read_to_string(path).unwrap())
            .concat();
        world.write("both.pem", &both);
        load(&world.path("both.pem"), &world.path("both.pem")).unwrap();
    }

    #[test]
    fn missing_files_are_named() {
        let world = World::new();
        fs::remove_file(world.path("key.pem")).unwrap();
        assert!(matches!(world.refusal("key.pem"), LoadError::Missing { .. }));
        fs::remove_file(world.path("cert.pem")).unwrap();
        assert!(matches!(world.refusal("cert.pem"), LoadError::Missing { .. }));
    }

    #[test]
    fn a_folder_is_not_a_missing_file() {
        let world = World::new();
        fs::remove_file(world.path("cert.pem")).unwrap();
        fs::create_dir(world.path("cert.pem")).unwrap();
        let error = world.refusal("cert.pem");
        assert!(matches!(error, LoadError::Unreadable { .. }), "{error:?}");
    }

    #[test]
    fn files_without_the_right_section_are_named() {
        let world = World::new();
        let key = fs::read_to_string(world.path("key.pem")).unwrap();
        let cert = fs::read_to_string(world.path("cert.pem")).unwrap();

        world.write("key.pem", &cert);
        assert!(matches!(world.refusal("key.pem"), LoadError::NoKey { .. }));

        world.write("cert.pem", &key);
        assert!(matches!(world.refusal("cert.pem"), LoadError::NoCertificate { .. }));
    }

    #[test]
    fn truncated_files_are_named() {
        for name in ["cert.pem", "key.pem"] {
            let world = World::new();
            let whole = fs::read_to_string(world.path(name)).unwrap();
            world.write(name, whole.split_at(whole.len() / 2).0);
            let error = world.refusal(name);
            assert!(matches!(error, LoadError::DamagedPem { .. }), "{error:?}");
        }
    }

    #[test]
    fn contents_that_are_not_what_the_label_says_are_refused() {
        let world = World::new();
        world.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        assert!(matches!(world.refusal("key.pem"), LoadError::UnsupportedKey { .. }));

        let world = World::new();
        world.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(matches!(world.refusal("cert.pem"), LoadError::DamagedCertificate { .. }));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let world = World::new();
        world.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
        let error = world.refusal("key.pem");
        assert!(matches!(error, LoadError::Mismatch { .. }), "{error:?}");
    }
}
