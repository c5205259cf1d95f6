//! What the log asks of the disk, and nothing else: a trait, so that a test can fail each operation,
//! and the real ones.
//!
//! | file | what | when it changes |
//! |---|---|---|
//! | `lock` | held by the one writer | never |
//! | `key` | the private key, mode 0600 | never |
//! | `public-key` | the public key | never |
//! | `entries` | the records (see [`crate::record`]) | grows |
//! | `checkpoint` | the signed head | replaced as a whole |
//! | `checkpoint.new` | the next one | left by a crash; overwritten |
//! | `cosigned` | the newest cosigned head; the server's, not the log's | replaced as a whole |
//! | `chunks` | where chunks of entries are (`src/chunks.rs`) | grows; derived |
//!
//! INVARIANT: an operation that reports success has done all of it. One that reports an error may
//! have done all, some or nothing of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::checkpoint::MAX_CHECKPOINT_LEN;

/// The records.
pub const ENTRIES: &str = "entries";
/// The signed head.
pub const CHECKPOINT: &str = "checkpoint";
/// The private key.
pub const KEY: &str = "key";
/// The public key.
pub const PUBLIC_KEY: &str = "public-key";
/// The newest head with the cosignatures of its witnesses, for whoever keeps it beside the log; the
/// log itself does not look at it.
pub const COSIGNED: &str = "cosigned";
pub(crate) const CHUNKS: &str = "chunks";
pub(crate) const NEW_CHECKPOINT: &str = "checkpoint.new";
pub(crate) const LOCK: &str = "lock";

/// The disk said no.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{path}`: {source}")]
pub struct FileError {
    /// What was tried: `read`, `write`, ...
    pub doing: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// What was tried, on which file, and what the system said.
    pub fn new(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { doing, path: path.into(), source }
    }
}

/// The files of an open log.
pub(crate) trait LogFiles: Send + Sync + 'static {
    /// Where the log is, for messages.
    fn folder(&self) -> &Path;
    /// Reads the entries file from this byte on.
    fn entries_from(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, FileError>;
    /// Writes into the entries file at this byte.
    fn write_entries(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError>;
    /// Cuts the entries file to this length.
    fn truncate_entries(&self, len: u64) -> Result<(), FileError>;
    /// Makes what was written into the entries file, and its length, survive a power cut, and sees to
    /// it that the file is still the log's.
    fn sync_entries(&self) -> Result<(), FileError>;
    /// The first `len` bytes of the chunks file, fewer where it is shorter.
    fn chunks(&self, len: u64) -> Result<Vec<u8>, FileError>;
    /// Writes into the chunks file at this byte. It is never synced.
    fn write_chunks(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError>;
    /// The signed head.
    fn checkpoint(&self) -> Result<Vec<u8>, FileError>;
    /// Writes the next signed head beside the present one and makes it survive a power cut.
    fn write_new_checkpoint(&self, note: &[u8]) -> Result<(), FileError>;
    /// Puts the next signed head in place of the present one.
    fn rename_new_checkpoint(&self) -> Result<(), FileError>;
    /// Makes the renaming survive a power cut.
    fn sync_folder(&self) -> Result<(), FileError>;
}

/// The files of a log in a folder. Holds the lock: there is one for a log at any time.
#[derive(Debug)]
pub(crate) struct OsFiles {
    folder: PathBuf,
    folder_handle: File,
    entries: File,
    chunks: File,
    _lock: File,
}

/// Why the files could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("locked")]
    Locked,
}

impl OsFiles {
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(|e| FileError::new("open", &path, e))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Locked),
            Err(e) => return Err(FileError::new("lock", &path, e.into()).into()),
        }
        let path = folder.join(ENTRIES);
        let entries = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| FileError::new("open", &path, e))?;
        let path = folder.join(CHUNKS);
        let chunks = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(|e| FileError::new("open", &path, e))?;
        let folder_handle = File::open(folder).map_err(|e| FileError::new("open", folder, e))?;
        Ok(Self { folder: folder.to_owned(), folder_handle, entries, chunks, _lock: lock })
    }

    fn entries_error(&self, doing: &'static str) -> impl Fn(io::Error) -> FileError {
        let path = self.folder.join(ENTRIES);
        move |e| FileError::new(doing, &path, e)
    }
}

impl LogFiles for OsFiles {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn entries_from(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, FileError> {
        // A handle of its own: readers do not share a position with each other or the writer.
        let mut file = File::open(self.folder.join(ENTRIES)).map_err(self.entries_error("open"))?;
        file.seek(SeekFrom::Start(offset)).map_err(self.entries_error("read"))?;
        Ok(Box::new(io::BufReader::with_capacity(64 * 1024, file)))
    }

    fn write_entries(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.entries.write_all_at(bytes, offset).map_err(self.entries_error("write"))
    }

    fn truncate_entries(&self, len: u64) -> Result<(), FileError> {
        self.entries.set_len(len).map_err(self.entries_error("cut"))
    }

    fn sync_entries(&self) -> Result<(), FileError> {
        // fdatasync also makes the new length durable.
        self.entries.sync_data().map_err(self.entries_error("sync"))?;
        // Durable is what is found again: not in a file that was moved away or replaced meanwhile.
        let place = |m: fs::Metadata| (m.dev(), m.ino());
        let named = fs::metadata(self.folder.join(ENTRIES)).map_err(self.entries_error("find"))?;
        let open = self.entries.metadata().map_err(self.entries_error("find"))?;
        if place(named) == place(open) {
            Ok(())
        } else {
            Err(self.entries_error("find")(io::Error::other("another file has its name")))
        }
    }

    fn chunks(&self, len: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        (&self.chunks)
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.chunks).take(len).read_to_end(&mut bytes))
            .map_err(|e| FileError::new("read", self.folder.join(CHUNKS), e))?;
        Ok(bytes)
    }

    fn write_chunks(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.chunks
            .write_all_at(bytes, offset)
            .map_err(|e| FileError::new("write", self.folder.join(CHUNKS), e))
    }

    fn checkpoint(&self) -> Result<Vec<u8>, FileError> {
        read_short(&self.folder.join(CHECKPOINT))
    }

    fn write_new_checkpoint(&self, note: &[u8]) -> Result<(), FileError> {
        write_synced(&self.folder.join(NEW_CHECKPOINT), note, 0o644)
    }

    fn rename_new_checkpoint(&self) -> Result<(), FileError> {
        let (from, to) = (self.folder.join(NEW_CHECKPOINT), self.folder.join(CHECKPOINT));
        fs::rename(&from, &to).map_err(|e| FileError::new("replace", to, e))
    }

    fn sync_folder(&self) -> Result<(), FileError> {
        self.folder_handle.sync_all().map_err(|e| FileError::new("sync", &self.folder, e))
    }
}

/// Reads a short file; none where there is none.
///
/// # Errors
/// [`FileError`].
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read_short(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Replaces a short file as a whole, and makes that survive a power cut: written beside it as
/// `NAME.new`, synced, renamed, the folder synced.
///
/// # Errors
/// [`FileError`]: then the file is the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    write_synced(Path::new(&new), bytes, 0o644)?;
    fs::rename(&new, path).map_err(|e| FileError::new("replace", path, e))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Reads a file that must be short.
pub(crate) fn read_short(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_CHECKPOINT_LEN as u64 + 1).read_to_end(&mut bytes))
        .map_err(|e| FileError::new("read", path, e))?;
    Ok(bytes)
}

/// Writes and syncs a whole file; its name is durable only once the folder is synced too.
///
/// # Errors
/// [`FileError`].
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|e| FileError::new("write", path, e))
}

/// Syncs a folder.
///
/// # Errors
/// [`FileError`].
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| FileError::new("sync", path, e))
}

/// The permission bits of a file.
pub(crate) fn mode_of(path: &Path) -> Result<u32, FileError> {
    let meta = fs::metadata(path).map_err(|e| FileError::new("read", path, e))?;
    Ok(meta.permissions().mode() & 0o7777)
}
