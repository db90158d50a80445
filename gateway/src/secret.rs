//! The secret behind all keys that must survive a restart ([`crate::keys`]).
//!
//! A certificate is often renewed together with its key. A gateway with a state file therefore has
//! a secret of its own, in a key file beside the state file, so that the next process recognises
//! what this one has signed, even with another certificate. With ACME, the key file is in its
//! storage. Otherwise the TLS key is the secret, as nothing else outlives the process.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::file;

/// Length of the secret in bytes.
const SECRET_BYTES: usize = 32;

/// The error for a secret that cannot be read or created. The operator can fix the cause.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the key file {path}")]
    Read {
        /// The key file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file does not exist and cannot be created.
    #[error("cannot create the key file {path}: may this user write to its directory?")]
    Create {
        /// The key file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file can be read or written by other users.
    #[error(
        "other users may read or write the key file {path}: run chmod 600 on it, or remove it to get a new one"
    )]
    InsecurePermissions {
        /// The key file.
        path: PathBuf,
    },
    /// The file does not hold a secret.
    #[error("the key file {path} does not hold {SECRET_BYTES} bytes: remove it to get a new one")]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
}

/// Loads the secret from the key file beside this file. Creates it at the first start.
///
/// # Errors
/// [`SecretError`].
pub(crate) fn load_or_create(state_file: &Path) -> Result<Vec<u8>, SecretError> {
    let path = file::with_suffix(state_file, ".key");
    match read(&path) {
        Err(SecretError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(&path).map_err(|source| SecretError::Create { path, source })
        }
        result => result,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |source| SecretError::Read { path: path.into(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() != SECRET_BYTES as u64 {
        return Err(SecretError::Damaged { path: path.into() });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(SecretError::InsecurePermissions { path: path.into() });
    }
    fs::read(path).map_err(failed)
}

fn create(path: &Path) -> io::Result<Vec<u8>> {
    let mut secret = vec![0; SECRET_BYTES];
    getrandom::fill(&mut secret)?;
    file::replace(path, &[&secret])?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_secret_is_created_once_and_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state_file = dir.path().join("state");
        let secret = load_or_create(&state_file).unwrap();
        assert_eq!(secret.len(), SECRET_BYTES);
        assert_ne!(secret, [0; SECRET_BYTES]);
        assert_eq!(load_or_create(&state_file).unwrap(), secret);
        let path = dir.path().join("state.key");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        assert_ne!(load_or_create(&state_file).unwrap(), secret);
    }

    #[test]
    fn an_invalid_key_file_is_an_error_and_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state_file = dir.path().join("state");
        load_or_create(&state_file).unwrap();
        let path = dir.path().join("state.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            load_or_create(&state_file),
            Err(SecretError::InsecurePermissions { .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for bytes in [&b""[..], b"short"] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(load_or_create(&state_file), Err(SecretError::Damaged { .. })));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        let nowhere = dir.path().join("missing/state");
        assert!(matches!(load_or_create(&nowhere), Err(SecretError::Create { .. })));
    }
}
