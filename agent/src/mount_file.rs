//! How the unit sits, kept over a restart: `DATA/mount.json`, replaced durably.
//!
//! INVARIANT: it only ever saves the unit a few minutes of learning. A file that is missing or
//! damaged is as if nothing had been learned; a crash leaves the old one.

use std::path::{Path, PathBuf};

use temoin_agent_core::motion::mount::LearnedMount;

use crate::durable::{self, FileError};

/// Where it lies in a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("mount.json")
}

/// Reads it.
///
/// # Errors
/// Where the file is there and cannot be read or understood.
pub fn load(path: &Path) -> Result<Option<LearnedMount>, FileError> {
    durable::read_json(path)
}

/// Makes it durable.
///
/// # Errors
/// [`FileError`]; the old one stays.
pub fn store(path: &Path, mount: &LearnedMount) -> Result<(), FileError> {
    durable::replace_json(path, mount)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_learned_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert_eq!(load(&path).unwrap(), None);
        let mount = LearnedMount { up: [0.0, 0.6, 0.8], forward: [1.0, 0.0, 0.0], sigma_deg: 2.5 };
        store(&path, &mount).unwrap();
        assert_eq!(load(&path).unwrap(), Some(mount));
        fs::write(&path, "[]").unwrap();
        let said = load(&path).unwrap_err().to_string();
        assert!(said.contains("mount.json"), "{said}");
    }
}
