//! Files of ACME: the account, and the certificate with its key. Only their owner can read them, and
//! they are replaced atomically. Each directory of an authority has a folder of its own, so that a
//! change from a test authority to a real one begins without account and certificate.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use instant_acme::AccountCredentials;

use super::error::AcmeError;
use crate::{config::AcmeConfig, file};

/// The files for one directory of an authority.
#[derive(Debug, Clone)]
pub(crate) struct AcmeStorage(PathBuf);

impl AcmeStorage {
    /// `None` if ACME is not enabled.
    pub(crate) fn of(config: &AcmeConfig) -> Option<Self> {
        let storage = config.storage.as_ref().filter(|_| config.is_enabled())?;
        let url = config.directory.trim_start_matches("https://");
        let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '.' || it == '-';
        let folder: String = url.chars().map(|it| if is_plain(it) { it } else { '_' }).collect();
        Some(Self(storage.join(folder)))
    }

    /// The file with the certificate chain and its key.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    /// The file beside which the secret of the gateway's keys is kept ([`crate::secret`]).
    pub(crate) fn secret(&self) -> PathBuf {
        self.0.join("gateway")
    }

    fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// Creates the folder, if it is not there.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// The account, if there is one.
    pub(super) fn load_account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let path = self.account();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AcmeError::Storage { path, source }),
        };
        let account = serde_json::from_slice(&text);
        account.map(Some).map_err(|source| AcmeError::DamagedAccount { path, source })
    }

    pub(super) fn keep_account(&self, account: &AccountCredentials) -> Result<(), AcmeError> {
        let path = self.account();
        match serde_json::to_vec(account) {
            Ok(json) => self.replace(path, &[&json]),
            Err(source) => Err(AcmeError::DamagedAccount { path, source }),
        }
    }

    pub(super) fn keep_certificate(&self, chain: &str, key: &str) -> Result<(), AcmeError> {
        self.replace(self.certificate(), &[key.as_bytes(), chain.as_bytes()])
    }

    fn replace(&self, path: PathBuf, parts: &[&[u8]]) -> Result<(), AcmeError> {
        let replaced = self.create().and_then(|()| file::replace(Path::new(&path), parts));
        replaced.map_err(|source| AcmeError::Storage { path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn files_belong_to_their_owner_and_to_one_authority() {
        let dir = tempfile::tempdir().unwrap();
        let of = |directory: &str| {
            let (storage, directory) = (Some(dir.path().join("acme")), directory.to_owned());
            let domains = vec!["a.example".to_owned()];
            let config = AcmeConfig { domains, storage, directory, ..AcmeConfig::default() };
            AcmeStorage::of(&config).unwrap()
        };
        let (real, test) =
            (of("https://ca.example:14000/dir/../a"), of("https://test.ca.example/dir"));
        assert!(real.0.ends_with("acme/ca.example_14000_dir_.._a"), "{real:?}");
        real.keep_certificate("chain", "key\n").unwrap();
        assert_eq!(fs::read_to_string(real.certificate()).unwrap(), "key\nchain");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&real.certificate()), mode(&real.0)), (0o600, 0o700));
        assert!(!test.certificate().exists());
        assert!(real.load_account().unwrap().is_none());
        fs::write(real.account(), "{").unwrap();
        assert!(matches!(real.load_account(), Err(AcmeError::DamagedAccount { .. })));
        assert!(AcmeStorage::of(&AcmeConfig::default()).is_none());
    }
}
