//! Files of the development authority appear whole or not at all, and keys are never readable by
//! others, not even for the moment between creating and restricting a file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only the owner: mode 0600. Elsewhere than on Unix, whoever may read the folder.
    Private,
    /// Whoever the umask allows.
    Public,
}

/// Creates `dir` and its missing parents with mode 0700, or leaves it as it is.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

/// Waits until no other process holds `dir`, and holds it until the file is dropped.
///
/// Tests and gateways that start at once would otherwise each make an authority, and leave the
/// certificate of one beside the key of another.
pub(crate) fn lock(dir: &Path) -> io::Result<File> {
    let file = File::create(dir.join(".lock"))?;
    file.lock()?;
    Ok(file)
}

/// Writes `path` by way of a file beside it, so that readers see the old contents or the new.
///
/// The caller holds the [`lock`], so the name beside it is free or left over from a crash.
pub(crate) fn replace(path: &Path, contents: &[u8], access: Access) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);

    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` also makes sure that the mode is applied: it is ignored for existing files.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Private {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(beside)?;
    file.write_all(contents)?;
    // Without this, a power failure may leave the new name on an empty file.
    file.sync_all()?;
    fs::rename(beside, path)
}
