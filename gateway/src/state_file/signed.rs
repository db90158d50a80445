//! The format of files with the state of a gateway.
//!
//! A reader of the state file has the tickets of all its connections, so only the owner may read it.
//! A forged file could create connections that never joined, so it is authenticated with a key that
//! is derived from the secret beside it ([`crate::secret`]).
//!
//! ```text
//! kind of file (16 bytes) · written at, Unix milliseconds (u64, little endian) · HMAC-SHA256 of the rest · contents
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::hmac;

use crate::{
    clock::{millis, unix_time},
    file,
};

const MAGIC_BYTES: usize = 16;
const SIGNATURE_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC_BYTES + size_of::<u64>() + SIGNATURE_BYTES;

/// The path of a file, its bound, and the key that authenticates it.
pub(super) struct SignedFile {
    /// The first bytes of a file of this kind.
    magic: &'static [u8; MAGIC_BYTES],
    path: PathBuf,
    max_bytes: usize,
    key: hmac::Key,
}

/// The content of the file.
pub(super) struct SavedState {
    pub(super) contents: Vec<u8>,
    /// Time since the file was written.
    pub(super) age: Duration,
}

/// The error for a state file that cannot be used. The operator can fix the cause.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateFileError {
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    #[error("other users could read or write it; its mode must stay 600")]
    InsecurePermissions,
    #[error("it is not a state file; it was left alone")]
    NotAStateFile,
    #[error("it is too long (for a state file, resume.state_file_max_bytes is the limit)")]
    TooLong,
    #[error("it is damaged, or was written with another key file")]
    BadSignature,
    #[error("it was written by another version")]
    OtherVersion,
}

impl SignedFile {
    /// A file with contents of at most `max_bytes`.
    pub(super) fn new(
        magic: &'static [u8; MAGIC_BYTES],
        path: PathBuf,
        max_bytes: usize,
        key: hmac::Key,
    ) -> Self {
        Self { magic, path, max_bytes, key }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Removes the file, if it is there.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// Reads the file and removes it, even if it cannot be used, but not if it is another kind of
    /// file. `None` if there is no file, or an empty one.
    pub(super) fn take(&self) -> Result<Option<SavedState>, StateFileError> {
        let file = match open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let state = self.read_open(&file);
        if matches!(state, Ok(None)) {
            return Ok(None);
        }
        if !matches!(state, Err(StateFileError::NotAStateFile)) {
            std::fs::remove_file(&self.path)?;
        }
        state
    }

    /// Reads the file. `None` if there is no file, or an empty one.
    pub(super) fn read(&self) -> Result<Option<SavedState>, StateFileError> {
        match open(&self.path) {
            Ok(file) => self.read_open(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_open(&self, mut file: &File) -> Result<Option<SavedState>, StateFileError> {
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            return Ok(None);
        }
        let mut magic = [0; MAGIC_BYTES];
        if file.read_exact(&mut magic).is_err() || magic != *self.magic {
            return Err(StateFileError::NotAStateFile);
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(StateFileError::InsecurePermissions);
        }
        let most = (HEADER_BYTES - MAGIC_BYTES).saturating_add(self.max_bytes);
        let mut rest = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut rest)?;
        if rest.len() > most {
            return Err(StateFileError::TooLong);
        }
        let bad = StateFileError::BadSignature;
        let Some((written_at, rest)) = rest.split_first_chunk() else { return Err(bad) };
        let Some((signature, contents)) = rest.split_first_chunk::<SIGNATURE_BYTES>() else {
            return Err(bad);
        };
        let signed = [self.magic, &written_at[..], contents].concat();
        hmac::verify(&self.key, &signed, signature).map_err(|_| bad)?;
        // If the clock was set back, the file counts as new.
        let written_at = Duration::from_millis(u64::from_le_bytes(*written_at));
        let age = unix_time().saturating_sub(written_at);
        Ok(Some(SavedState { contents: contents.to_vec(), age }))
    }

    /// Writes the whole file or nothing.
    pub(super) fn write(&self, contents: &[u8]) -> Result<(), StateFileError> {
        self.write_as_of(unix_time(), contents)
    }

    pub(super) fn write_as_of(&self, at: Duration, contents: &[u8]) -> Result<(), StateFileError> {
        match open(&self.path) {
            Ok(mut file) => {
                let mut magic = [0; MAGIC_BYTES];
                let foreign = file.read_exact(&mut magic).is_err() || magic != *self.magic;
                if foreign && file.metadata()?.len() > 0 {
                    return Err(StateFileError::NotAStateFile);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let at = millis(at).to_le_bytes();
        let signature = hmac::sign(&self.key, &[self.magic, &at[..], contents].concat());
        Ok(file::replace(&self.path, &[self.magic, &at, signature.as_ref(), contents])?)
    }
}

/// Opens a regular file. Opening a pipe would wait for its other end.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::keys::Keys;

    const MAGIC: &[u8; MAGIC_BYTES] = b"signalbox state\n";

    /// A temporary directory with a state file.
    struct Directory(tempfile::TempDir);

    impl Directory {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("state")
        }

        fn file(&self, secret: &[u8]) -> SignedFile {
            SignedFile::new(MAGIC, self.path(), 100, Keys::of(secret).state_file())
        }

        fn files(&self) -> usize {
            fs::read_dir(self.0.path()).unwrap().count()
        }
    }

    #[test]
    fn a_file_is_read_once_and_by_its_owner_alone() {
        let directory = Directory::new();
        let file = directory.file(b"secret");
        assert!(file.take().unwrap().is_none());
        fs::write(directory.0.path().join("state.tmp"), "half").unwrap();
        file.write(b"old").unwrap();
        file.write(b"relay").unwrap();
        assert_eq!(directory.files(), 1);
        assert_eq!(fs::metadata(directory.path()).unwrap().mode() & 0o777, 0o600);
        let state = file.take().unwrap().unwrap();
        assert_eq!(state.contents, b"relay");
        assert!(state.age < Duration::from_secs(60));
        assert_eq!(directory.files(), 0);
    }

    #[test]
    fn a_damaged_file_or_one_with_another_key_is_rejected_and_removed() {
        let directory = Directory::new();
        let file = directory.file(b"secret");
        file.write(b"relay").unwrap();
        let good = fs::read(directory.path()).unwrap();
        let rejected = |bytes: &[u8]| {
            fs::write(directory.path(), bytes).unwrap();
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(file.take(), Err(StateFileError::BadSignature)));
            assert_eq!(directory.files(), 0);
        };
        for end in MAGIC.len()..good.len() {
            rejected(&good[..end]);
        }
        for at in MAGIC.len()..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            rejected(&changed);
        }
        file.write(b"relay").unwrap();
        assert!(matches!(directory.file(b"other").take(), Err(StateFileError::BadSignature)));
    }

    #[test]
    fn a_file_that_others_may_read_is_rejected() {
        let directory = Directory::new();
        let file = directory.file(b"secret");
        file.write(b"relay").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.take(), Err(StateFileError::InsecurePermissions)));
        assert_eq!(directory.files(), 0);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let directory = Directory::new();
        directory.file(b"secret").write(&[0; 101]).unwrap();
        assert!(matches!(directory.file(b"secret").take(), Err(StateFileError::TooLong)));
        directory.file(b"secret").write(&[0; 100]).unwrap();
        assert!(directory.file(b"secret").take().unwrap().is_some());
    }

    #[test]
    fn another_file_is_left_alone() {
        let directory = Directory::new();
        let file = directory.file(b"secret");
        for other in ["short", "the only copy of a novel"] {
            fs::write(directory.path(), other).unwrap();
            assert!(matches!(file.take(), Err(StateFileError::NotAStateFile)));
            assert!(matches!(file.write(b"relay"), Err(StateFileError::NotAStateFile)));
            assert_eq!(fs::read_to_string(directory.path()).unwrap(), other);
            assert_eq!(directory.files(), 1);
        }
        // A pipe without a writer must not block.
        fs::remove_file(directory.path()).unwrap();
        let made = std::process::Command::new("mkfifo").arg(directory.path()).status().unwrap();
        assert!(made.success());
        assert!(file.take().is_err());
        assert!(file.write(b"relay").is_err());
        fs::remove_file(directory.path()).unwrap();
        fs::create_dir(directory.path()).unwrap();
        assert!(file.take().is_err());
        assert!(file.write(b"relay").is_err());
        assert_eq!(directory.files(), 1);
    }

    #[test]
    fn an_empty_file_counts_as_none_and_is_redirectoryd() {
        let directory = Directory::new();
        let file = directory.file(b"secret");
        fs::write(directory.path(), "").unwrap();
        assert!(file.take().unwrap().is_none());
        file.write(b"relay").unwrap();
        assert_eq!(file.take().unwrap().unwrap().contents, b"relay");
    }
}
