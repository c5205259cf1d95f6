//! A file on the unit's disk, memory-mapped and read-only, that cannot end the process.
//!
//! Whoever follows a pointer into a map is killed (SIGBUS) where the disk fails or the file was cut:
//! on a unit that is the recorder. So nobody does here. The kernel copies out of the map into the
//! caller's buffer (`process_vm_readv` on this very process) and meets the page faults on its side,
//! where one that cannot be served is an error (EFAULT). Asking first whether the pages are there
//! (`MADV_POPULATE_READ`) would not do: they can be taken away again before they are read, and a
//! lock on them (`mlock2`) does not hold them against a cut.
//!
//! INVARIANT: no reference and no read of this program ever reaches into the map. It has no
//! `Deref`, nothing is undefined when another process changes the file, and the bytes whose
//! checksum a caller proves are the bytes that it goes on with.
//!
//! INVARIANT: what the map does not give whole, a positioned read of the same place gives, or says
//! why it cannot. Where a file cannot be mapped, or the kernel does not copy (an old sandbox
//! forbids it), this is found out at opening and all is read that way.
//!
//! A crash leaves nothing behind.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use memmap2::{MmapOptions, MmapRaw};

/// Why a file cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum MappedError {
    /// The system refused to open it.
    #[error("cannot open `{path}`: {why}")]
    Open {
        /// Which file.
        path: String,
        /// What the system said.
        why: io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("`{path}` is {what}, not a file: name a file")]
    NotAFile {
        /// Which one.
        path: String,
        /// What it is instead.
        what: &'static str,
    },
    /// It never had these bytes.
    #[error("bytes {offset} to {end} are beyond the end: the file has {length} bytes")]
    Beyond {
        /// The first byte that was asked for.
        offset: u64,
        /// The first byte after them.
        end: u64,
        /// The file's length at opening, bytes.
        length: u64,
    },
    /// It had them when it was opened.
    #[error("the file was cut from {length} bytes while in use: put it back whole")]
    Cut {
        /// The file's length at opening, bytes.
        length: u64,
    },
    /// The system cannot read them.
    #[error("the system cannot read byte {offset}: {why}")]
    Read {
        /// The first byte that was asked for.
        offset: u64,
        /// What the system said.
        why: io::Error,
    },
}

/// A regular file, opened for reading, of the length that it had then.
///
/// One that is replaced by renaming another onto its name stays what it was until it is opened anew.
/// One that is written in place gives old or new bytes or both: who reads it needs checksums.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    length: u64,
    map: Option<MmapRaw>,
}

impl MappedFile {
    /// Opens and maps a file. Does not wait for whoever may write into a pipe of that name.
    ///
    /// # Errors
    /// Where the system refuses to open it, or it is no regular file.
    pub fn open(path: &Path) -> Result<Self, MappedError> {
        let mut it = Self::unmapped(path)?;
        let map = it.map().and_then(|map| {
            let mut first = [0];
            copy(&map, 0, &mut first)?;
            Ok(map)
        });
        match map {
            Ok(map) => it.map = Some(map),
            // There is nothing to map.
            Err(_) if it.length == 0 => {}
            Err(why) => {
                let path = path.display();
                tracing::info!("`{path}` is read at places, for it cannot be mapped: {why}");
            }
        }
        Ok(it)
    }

    fn unmapped(path: &Path) -> Result<Self, MappedError> {
        let name = || path.display().to_string();
        let open = |why| MappedError::Open { path: name(), why };
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(open)?;
        let about = file.metadata().map_err(open)?;
        if !about.is_file() {
            let what = if about.is_dir() { "a folder" } else { "a pipe or a device" };
            return Err(MappedError::NotAFile { path: name(), what });
        }
        Ok(Self { file, length: about.len(), map: None })
    }

    fn map(&self) -> io::Result<MmapRaw> {
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        // Shared, but read-only by map and by file: the same to the kernel as a private one.
        MmapOptions::new().len(length).map_raw_read_only(&self.file)
    }

    /// Its length when it was opened, bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether it is mapped; if not, it is read at places.
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Fills `to` with the bytes from `offset` on. After an error `to` holds anything.
    ///
    /// # Errors
    /// Where the file has no such bytes or has them no more, or the system cannot read them.
    pub fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), MappedError> {
        let length = self.length;
        let end = u64::try_from(to.len()).ok().and_then(|len| offset.checked_add(len));
        let end = end.unwrap_or(u64::MAX);
        if end > length {
            return Err(MappedError::Beyond { offset, end, length });
        }
        let mapped = self.map.as_ref().is_some_and(|map| copy(map, offset, to).is_ok());
        // The last page of a file that was cut goes on with zeros, without a fault: so the length is
        // looked at, and only after the copy, for then the bytes were there before.
        if mapped && self.file.metadata().is_ok_and(|now| now.len() >= end) {
            return Ok(());
        }
        self.file.read_exact_at(to, offset).map_err(|why| {
            if why.kind() == io::ErrorKind::UnexpectedEof {
                MappedError::Cut { length }
            } else {
                MappedError::Read { offset, why }
            }
        })
    }
}

/// Has the kernel copy `to.len()` bytes out of the map, all of them or an error.
///
/// It finds the pages of this process as it would those of another (which a process may always do
/// to itself), so that a page that cannot be had ends the copy and not the process.
fn copy(map: &MmapRaw, offset: u64, to: &mut [u8]) -> io::Result<()> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let offset = usize::try_from(offset).map_err(io::Error::other)?;
    let len = to.len();
    if offset.checked_add(len).is_none_or(|end| end > map.len()) {
        return Err(short());
    }
    let this_process = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let into = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: len };
    let from = libc::iovec { iov_base: map.as_mut_ptr().wrapping_add(offset).cast(), iov_len: len };
    // SAFETY: the kernel writes at most `into.iov_len` bytes at `into.iov_base`, which `to` lends for
    // longer than the call. It only reads at `from`, and checks each address itself.
    #[expect(unsafe_code, reason = "only the kernel can read a map and survive what is missing")]
    let copied = unsafe { libc::process_vm_readv(this_process, &into, 1, &from, 1, 0) };
    match usize::try_from(copied) {
        Ok(copied) if copied == len => Ok(()),
        Ok(_) => Err(short()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
