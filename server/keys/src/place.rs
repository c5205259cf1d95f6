//! Files that are replaced as a whole, and what can be wrong with a file.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A file that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The disk said no.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others can read or write it.
    #[error("{} has mode {mode:03o}, so others may have read or changed it: `chmod 600` it, and think about what they may have seen", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not what this program wrote.
    #[error("{} is not usable: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong; never what is in it.
        what: String,
    },
}

pub(crate) fn failed(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> PlaceError {
    move |source| PlaceError::File { doing, path: path.to_owned(), source }
}

pub(crate) fn content(path: &Path, what: impl Into<String>) -> PlaceError {
    PlaceError::Content { path: path.to_owned(), what: what.into() }
}

/// Refuses a file that others can read or write.
pub(crate) fn check_private(path: &Path) -> Result<(), PlaceError> {
    let mode = std::fs::metadata(path).map_err(failed("read", path))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(PlaceError::Mode { path: path.to_owned(), mode }) }
}

/// Makes a new file of mode 0600, durable once its folder is synced.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<File, PlaceError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("make", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))?;
    Ok(file)
}

/// Puts a whole new content in place of the old one. A crash leaves the old one or the new one,
/// and perhaps a `.new` file, which the next replacing overwrites.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PlaceError> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("make", &new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
    std::fs::rename(&new, path).map_err(failed("replace", path))?;
    sync_folder_of(path)
}

/// Makes the names in a file's folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), PlaceError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))
}
