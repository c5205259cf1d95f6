//! Files that are there, whole, after a power cut.
//!
//! The order is always: write a temporary file, fsync it, rename it, fsync the folder. A crash
//! before the rename leaves a temporary file that the next start discards; a crash after it leaves
//! the whole file. `rename` alone is not durable: the folder's fsync makes it so.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Serialize, de::DeserializeOwned};

/// A file operation that failed, with its path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{}`: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub what: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// Says what failed on which path.
    pub fn new(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }

    /// Whether the disk has no room left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Writes a new file with these bytes and fsyncs it. Nobody but the owner can read it. The entry
/// in its folder is durable only after [`sync_folder`].
///
/// # Errors
/// Where the file exists already or the system refuses.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(FileError::new("create", path))?;
    file.write_all(bytes).map_err(FileError::new("write", path))?;
    file.sync_all().map_err(FileError::new("fsync", path))
}

/// Makes the entries of a folder durable.
///
/// # Errors
/// Where the system refuses.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::new("fsync the folder", path))
}

/// Renames within one file system and makes both folders durable.
///
/// # Errors
/// Where the system refuses.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::new("rename", from))?;
    sync_parents(from, to)
}

fn sync_parents(from: &Path, to: &Path) -> Result<(), FileError> {
    let (source, target) = (from.parent(), to.parent());
    if let Some(folder) = target {
        sync_folder(folder)?;
    }
    if let Some(folder) = source.filter(|s| Some(*s) != target) {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Moves a folder to where there is none, or one that it replaces; that one is at `from` then, or
/// removed. A crash leaves one of the two there, whole.
///
/// # Errors
/// Where the system refuses, as a file system does that cannot exchange two folders: what was there stays.
pub fn put_folder(from: &Path, to: &Path) -> Result<(), FileError> {
    if !to.exists() {
        return rename(from, to);
    }
    renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)
        .map_err(|e| FileError::new("exchange", to)(e.into()))?;
    sync_parents(from, to)
}

/// Reads a file that [`replace_json`] wrote; none where there is no file.
///
/// # Errors
/// Where it cannot be read or understood.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| FileError::new("understand", path)(io::Error::other(e))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", path)(e)),
    }
}

/// [`replace`] with a value as JSON.
///
/// # Errors
/// As [`replace`].
pub fn replace_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|e| FileError::new("write", path)(io::Error::other(e)))?;
    replace(path, &json)
}

/// Writes or replaces a file atomically and durably.
///
/// # Errors
/// Where the system refuses; the old content, if any, is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::new("remove", &temporary)(e));
        }
        _ => {}
    }
    write_new(&temporary, bytes)?;
    rename(&temporary, path)
}

/// Makes a folder, and those above it, readable by the owner only; an existing one is left as it is.
///
/// # Errors
/// Where the system refuses.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(FileError::new("make the folder", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        // What an earlier crash left behind.
        fs::write(dir.path().join("a.tmp"), b"half").unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_the_path() {
        let missing = Path::new("/nonexistent/folder/file");
        let error = write_new(missing, b"").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/folder/file"), "{error}");
    }
}
