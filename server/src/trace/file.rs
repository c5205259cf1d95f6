//! A file that leaked, held in memory: it shows what may be nobody's business, so it touches no disk.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
};

use ring::digest::{Context, SHA256};
use rustix::fs::{MemfdFlags, memfd_create};

/// Longest file that is taken, bytes. A minute of a phone at 30 Mbit/s has 225 MB.
pub const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// More than [`MAX_FILE`].
    #[error("The file is longer than {} MB: cut out the part that shows the recording.", MAX_FILE >> 20)]
    TooLong,
    /// Nothing at all.
    #[error("No file was sent, or an empty one. Go back and choose it.")]
    Empty,
    /// Memory is short.
    #[error("the file cannot be held in memory: {0}")]
    Memory(#[from] io::Error),
}

impl From<FileError> for crate::error::AppError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::TooLong | FileError::Empty => Self::Invalid(error.to_string()),
            FileError::Memory(_) => Self::Internal(error.to_string()),
        }
    }
}

/// A file on its way in.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    sum: Sum,
    len: u64,
}

struct Sum(Context);

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sum")
    }
}

impl Incoming {
    /// Nothing yet.
    ///
    /// # Errors
    /// [`FileError::Memory`].
    pub fn new() -> Result<Self, FileError> {
        let file = memfd_create("temoin-leak", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
        Ok(Self { file: file.into(), sum: Sum(Context::new(&SHA256)), len: 0 })
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.len += bytes.len() as u64;
        if self.len > MAX_FILE {
            return Err(FileError::TooLong);
        }
        self.sum.0.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }

    /// All of it is here.
    ///
    /// # Errors
    /// [`FileError::Empty`].
    pub fn finish(self) -> Result<LeakFile, FileError> {
        if self.len == 0 {
            return Err(FileError::Empty);
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.sum.0.finish().as_ref());
        Ok(LeakFile { file: self.file, sha256, len: self.len })
    }
}

/// A file that leaked.
#[derive(Debug)]
pub struct LeakFile {
    file: File,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its length, bytes.
    pub len: u64,
}

impl LeakFile {
    /// For a program to read from its beginning, one after the other.
    pub(super) fn to_read(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_came_in_pieces_is_read_whole_and_again() {
        let mut incoming = Incoming::new().unwrap();
        incoming.push(b"ab").unwrap();
        incoming.push(b"c").unwrap();
        let file = incoming.finish().unwrap();
        assert_eq!(file.len, 3);
        assert_eq!(
            hex::encode(file.sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        for _ in 0..2 {
            let mut read = String::new();
            file.to_read().unwrap().read_to_string(&mut read).unwrap();
            assert_eq!(read, "abc");
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(matches!(Incoming::new().unwrap().finish(), Err(FileError::Empty)));
        let mut incoming = Incoming::new().unwrap();
        incoming.len = MAX_FILE - 1;
        incoming.push(b"a").unwrap();
        assert!(matches!(incoming.push(b"b"), Err(FileError::TooLong)));
    }
}
