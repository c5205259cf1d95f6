//! The limits file and the fleet's corrections on the unit's disk.
//!
//! The limits file is mapped, and the kernel copies out of the map ([`MappedFile`]): a failing disk or
//! a file that somebody cuts is an error of the look-up, not the end of the recording.

use std::{fs, path::Path};

use temoin_agent_core::limits::{
    LimitsError, Map, Overrides, ReadAt,
    overrides::{OverridesError, OverridesFile},
};
use temoin_hw::mapped_file::{MappedError, MappedFile};

use crate::durable::FileError;

/// Longest file of corrections, bytes.
const MAX_OVERRIDES_LEN: u64 = 4 << 20;

/// An opened limits file.
#[derive(Debug)]
pub struct MapFile(MappedFile);

/// Why a file of limits or corrections cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be opened, or is no file.
    #[error(transparent)]
    Mapped(#[from] MappedError),
    /// It is no limits file, or damaged.
    #[error("`{path}`: {what}")]
    Limits {
        /// Which file.
        path: String,
        /// What is wrong.
        what: LimitsError,
    },
    /// It is no file of corrections.
    #[error("`{path}`: {why}")]
    Overrides {
        /// Which file.
        path: String,
        /// What is wrong, with the line where TOML says so.
        why: String,
    },
}

impl MapFile {
    /// Opens and checks a limits file, all but its tiles.
    ///
    /// # Errors
    /// Where it cannot be read, is none, or is damaged.
    pub fn open(path: &Path) -> Result<Map<Self>, OpenError> {
        Map::open(Self(MappedFile::open(path)?))
            .map_err(|what| OpenError::Limits { path: path.display().to_string(), what })
    }
}

impl ReadAt for MapFile {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String> {
        self.0.read_at(offset, to).map_err(|e| e.to_string())
    }
}

/// Reads and checks the fleet's corrections.
///
/// # Errors
/// Where the file cannot be read or has mistakes; all of them are named.
pub fn read_overrides(path: &Path) -> Result<Overrides, OpenError> {
    let wrong = |why: String| OpenError::Overrides { path: path.display().to_string(), why };
    let length = fs::metadata(path).map_err(FileError::new("read", path))?.len();
    if length > MAX_OVERRIDES_LEN {
        return Err(wrong(format!("{length} bytes: at most {MAX_OVERRIDES_LEN}")));
    }
    let text = fs::read_to_string(path).map_err(FileError::new("read", path))?;
    let file: OverridesFile = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    Overrides::check(&file).map_err(|e: OverridesError| wrong(e.to_string()))
}
