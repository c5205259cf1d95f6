//! Attributes of devices: files of one value each, in a folder for each device.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folders whose names begin so, in the order of their numbers.
pub(crate) fn subfolders(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let number = |path: &PathBuf| -> Option<u32> {
        path.file_name()?.to_str()?.strip_prefix(begin)?.parse().ok()
    };
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.retain(|path| number(path).is_some());
    found.sort_by_key(number);
    found
}

/// What an attribute says.
///
/// # Errors
/// The system's own.
pub(crate) fn value(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}
