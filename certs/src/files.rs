//! Writing the development authority's files: each appears whole or not at all, and a key is never
//! readable by others, not even between its creation and a change of its mode.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// The permissions of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Readable by the owner only: mode 0600. Other systems than Unix use the folder's permissions.
    Private,
    /// Readable as the umask allows.
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
/// Otherwise tests and gateways that start at the same time would each create an authority, and
/// leave the certificate of one beside the key of another.
pub(crate) fn lock(dir: &Path) -> io::Result<File> {
    let file = File::create(dir.join(".lock"))?;
    file.lock()?;
    Ok(file)
}

/// Writes a temporary file and renames it to `path`, so that readers see old or new contents.
///
/// The caller holds the [`lock`], so an existing temporary file is left over from a crash.
pub(crate) fn replace(path: &Path, contents: &[u8], access: Access) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);

    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The mode applies to new files only; `create_new` ensures that this is one.
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
