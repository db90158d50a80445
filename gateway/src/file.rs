//! Files that only their owner may read, and that are replaced atomically.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Appends a suffix to the file name of a path.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Replaces the content of a file by these parts, one after another, with mode 0600. A reader sees
/// the old content or the new content, even after a crash.
///
/// # Errors
/// The system's error. The old content is then still there.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "it is not the path of a file");
    let (Some(directory), Some(name)) = (temporary.parent(), temporary.file_name()) else {
        return Err(invalid());
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    // A process that was killed may have left one. The name is fixed so that there is never more
    // than that one.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = tempfile::Builder::new()
        .prefix(name)
        .rand_bytes(0)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
