//! The durable store: one writer, group commit, recovery.
//!
//! Appending blocks its caller until the entry is durable (an async server calls it on a blocking
//! thread). One writer thread takes all entries that wait, so that they share their one sync; readers
//! never wait for the disk of the writer. In memory are 72 bytes for each 256 entries.
//!
//! # What a crash leaves, and what opening makes of it
//! The order of a commit is: records, sync, signed head in memory, answer. The head is published,
//! which is to say written beside the old one, synced, renamed, and the folder synced, at the latest
//! [`PUBLISH_AFTER`] behind the first entry that it lacks: those are three syncs that no viewer has
//! to wait for. So a head never signs what is not durable, on disk or off it; whoever got an answer
//! has a whole record on disk, under the published head or right behind it; and every record in
//! front of one that was acknowledged is whole.
//!
//! | found | what it was | what becomes of it |
//! |---|---|---|
//! | a bad or missing record under the head | damage, never a crash | refused, with the entry's number |
//! | a root that is not the signed one | damage or fraud | refused |
//! | whole records beyond the head | written, perhaps acknowledged and signed | kept, signed and published |
//! | a torn record beyond the head | cut off by the crash | cut: its sync did not end, so nobody has seen it |
//! | `checkpoint.new` | a publishing that did not end | overwritten by the next one |
//! | `chunks` short, missing, wrong | derived and never synced | made again from the entries |
//!
//! Records that are kept are written and synced again before they are signed: after a failed sync
//! the system may hold pages as clean that never reached the disk. They are the same bytes in the
//! same place.
//!
//! INVARIANT: after any failed write or sync the log takes no more entries until it is opened anew,
//! and whoever waited gets an error, not an index. Such an entry may still be found in the log
//! later. That is the harmless side: an access that did not happen, never one that is missing. Where it
//! is the head that cannot be published, the next entry is the first that is refused.
//!
//! # Old entries
//! Opening checks the records behind the last whole chunk and all chunks' roots against the signed
//! root, not every old record: a large log opens as quickly as a small one. A damaged old record is
//! found by whoever reads its chunk (each record is hashed again and the chunk compared with its
//! root), by [`AccessLog::check_chunk`], which the server can call in its idle time, and by
//! [`crate::verify`].
//!
//! # What cannot be seen from inside
//! - A folder put back to an older state as a whole. That takes an older checkpoint kept elsewhere,
//!   see [`crate::verify`].
//! - A disk that loses acknowledged records within [`PUBLISH_AFTER`] of their sync, with a crash in
//!   the same moment: they look like a torn tail.

#[cfg(test)]
mod fault_tests;
mod read;
mod recovery;
#[cfg(test)]
mod sim_disk;
#[cfg(test)]
mod tests;
mod writer;

pub use read::{Entries, Entry};

use std::{
    fmt, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
    time::Duration,
};

use temoin_proto::ids::ClipId;

use crate::{
    checkpoint::{Checkpoint, CheckpointError, KeyError, LogKey, LogPublicKey},
    chunks::SavedChunk,
    files::{self, FileError, LogFiles, OpenError, OsFiles},
    leaf::{Leaf, LeafError},
    proof::EntryProof,
    record::{HEADER, Record, RecordError},
    tree::{CHUNK, Chunk, Hash, Tree, TreeError},
};

/// How far the published head may be behind, which is on disk for whoever does not ask the server.
/// Own choice: publishing takes about three syncs, beside which others' syncs are slower; once in two
/// seconds few viewers notice.
pub const PUBLISH_AFTER: Duration = Duration::from_secs(2);
/// Most callers that wait for the writer before `append` blocks on handing over.
const QUEUE_LEN: usize = 1024;

/// Why the log could not do something.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process, or another part of this one, has the log open.
    #[error("the access log `{0}` is in use: stop the program that has it open")]
    Locked(PathBuf),
    /// There is something where a log should be made.
    #[error("cannot make an access log in `{0}`: it is not an empty folder")]
    Exists(PathBuf),
    /// Others can read the private key.
    #[error("the key `{path}` has mode {mode:o} and can be read by others: run chmod 600 on it")]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key is none.
    #[error("the key `{path}` cannot be used: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The signed head is none of this log.
    #[error("the checkpoint in `{folder}` cannot be used: {source}")]
    Checkpoint {
        /// The log's folder.
        folder: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// An acknowledged entry is damaged or missing.
    #[error(
        "entry {index} of the access log `{folder}` is damaged: {reason}; restore the folder from a backup"
    )]
    Damaged {
        /// The log's folder.
        folder: PathBuf,
        /// The entry's number, from 0.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// Entries are whole, but not those that were signed.
    #[error(
        "at least one of entries {first} to {last} of the access log `{folder}` was replaced together with its hash; restore the folder from a backup"
    )]
    Replaced {
        /// The log's folder.
        folder: PathBuf,
        /// The first entry that can be wrong.
        first: u64,
        /// The last entry that can be wrong.
        last: u64,
    },
    /// The entries are whole, but not those that were signed.
    #[error("the first {size} entries of the access log `{folder}` are not those that were signed")]
    Root {
        /// The log's folder.
        folder: PathBuf,
        /// How many entries the checkpoint signs.
        size: u64,
    },
    /// An entry that cannot be stored or read.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// Beyond the log, or a fault of the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A write failed, now or before.
    #[error(
        "the access log takes no entries since a write failed ({0}): put the disk right and open the log again"
    )]
    Poisoned(Arc<str>),
    /// The writer is gone.
    #[error("the access log's writer has stopped: open the log again")]
    Stopped,
}

/// Proof that an entry is durable in the log. Only [`AccessLog`] makes one, so that a function
/// that asks for it cannot be called without an entry.
#[derive(Debug)]
pub struct LogIndex {
    index: u64,
    leaf: Leaf,
}

impl LogIndex {
    /// The entry's number, from 0.
    pub const fn get(&self) -> u64 {
        self.index
    }

    /// What was logged.
    pub const fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// True where the entry says that this clip was opened, exported or compared with a leak. The
    /// entry of one clip, of a refusal or of a sign-in opens no other clip.
    pub fn opens(&self, clip: ClipId) -> bool {
        self.leaf.clip == Some(clip) && self.leaf.action.opens()
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// What readers see. INVARIANT: all that `tree` holds is durable, and `checkpoint` signs it or its
/// beginning. `ends` has an item for each whole chunk of `tree`.
struct Committed {
    tree: Tree,
    /// Where each whole chunk ends in the entries file.
    ends: Vec<u64>,
    checkpoint: Checkpoint,
}

impl Committed {
    /// The whole chunks from this number on, as the chunks file has them.
    fn saved_from(&self, first: u64) -> Vec<SavedChunk> {
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        let ends = (first..).zip(self.ends.iter().skip(skip));
        ends.filter_map(|(index, &end)| {
            Some(SavedChunk { end, root: self.tree.chunk_root(index)? })
        })
        .collect()
    }
}

struct Shared {
    files: Box<dyn LogFiles>,
    committed: RwLock<Committed>,
    poison: OnceLock<Arc<str>>,
}

impl Shared {
    // A panic while the lock was held cannot leave a wrong view: the checkpoint bounds what is
    // read, and it is replaced in one step.
    fn read(&self) -> RwLockReadGuard<'_, Committed> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Committed> {
        self.committed.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open access log. Share it by reference or [`Arc`]; dropping it ends the writer and frees the
/// lock.
pub struct AccessLog {
    shared: Arc<Shared>,
    public: LogPublicKey,
    jobs: Option<SyncSender<writer::Job>>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("folder", &self.shared.files.folder())
            .finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Makes an empty log with a fresh key, and opens it. The folder appears as a whole or not at
    /// all: it is filled beside its place, as `.NAME.new`, and renamed. `name` is the log's origin,
    /// such as `fleet.example/access-log`.
    ///
    /// # Errors
    /// [`LogError::Exists`] unless the folder is missing or empty; [`LogError::Key`] for a bad
    /// name; [`LogError::File`].
    pub fn create(folder: &Path, name: &str) -> Result<Self, LogError> {
        let taken = match fs::read_dir(folder) {
            Ok(mut inside) => inside.next().is_some(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => true,
            Err(e) => return Err(FileError::new("read", folder, e).into()),
        };
        let Some(last) = folder.file_name().filter(|_| !taken) else {
            return Err(LogError::Exists(folder.to_owned()));
        };
        let (key, encoded) = LogKey::generate(name)
            .map_err(|source| LogError::Key { path: folder.join(files::KEY), source })?;
        let head = key
            .sign(0, Tree::default().root()?)
            .map_err(|source| LogError::Checkpoint { folder: folder.to_owned(), source })?;

        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let new = parent.join(format!(".{}.new", last.to_string_lossy()));
        match fs::remove_dir_all(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", new, e).into());
            }
            Ok(()) | Err(_) => {}
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&new)
            .map_err(|e| FileError::new("make", &new, e))?;
        files::write_synced(&new.join(files::LOCK), b"", 0o600)?;
        files::write_synced(&new.join(files::KEY), format!("{encoded}\n").as_bytes(), 0o600)?;
        let public = format!("{}\n", key.public());
        files::write_synced(&new.join(files::PUBLIC_KEY), public.as_bytes(), 0o644)?;
        files::write_synced(&new.join(files::ENTRIES), HEADER, 0o644)?;
        files::write_synced(&new.join(files::CHECKPOINT), head.note().as_bytes(), 0o644)?;
        files::sync_folder(&new)?;
        fs::rename(&new, folder).map_err(|e| FileError::new("make", folder, e))?;
        files::sync_folder(parent)?;
        Self::open(folder)
    }

    /// Opens a log for writing: takes its lock, checks its tree against the signed head and its last
    /// entries against the tree, and repairs what a crash left (see the head of this file). Where
    /// `chunks` is missing or wrong, every entry is read.
    ///
    /// # Errors
    /// [`LogError::Locked`] where it is open elsewhere; [`LogError::Damaged`] and
    /// [`LogError::Root`] where an acknowledged entry is found not to be as it was; others by their
    /// names.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let files = OsFiles::open(folder).map_err(|e| match e {
            OpenError::Locked => LogError::Locked(folder.to_owned()),
            OpenError::File(e) => LogError::File(e),
        })?;
        let path = folder.join(files::KEY);
        let mode = files::mode_of(&path)?;
        if mode & 0o077 != 0 {
            return Err(LogError::KeyMode { path, mode });
        }
        let encoded = files::read_short(&path)?;
        let key = LogKey::decode(String::from_utf8_lossy(&encoded).trim_end())
            .map_err(|source| LogError::Key { path, source })?;
        Self::start(Box::new(files), key, PUBLISH_AFTER)
    }

    /// Recovers the log in these files and starts its writer.
    pub(crate) fn start(
        files: Box<dyn LogFiles>,
        key: LogKey,
        publish_after: Duration,
    ) -> Result<Self, LogError> {
        let (committed, end) = recovery::recover(files.as_ref(), &key)?;
        let shared =
            Arc::new(Shared { files, committed: RwLock::new(committed), poison: OnceLock::new() });
        let public = key.public().clone();
        let (jobs, queue) = mpsc::sync_channel(QUEUE_LEN);
        let writer = writer::Writer::new(Arc::clone(&shared), key, end, publish_after)?;
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|e| FileError::new("start the writer of", shared.files.folder(), e))?;
        Ok(Self { shared, public, jobs: Some(jobs), writer: Some(writer) })
    }

    /// Appends an entry and returns when it is durable. Blocks for about one sync of the disk;
    /// callers that wait at the same time share it.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] where this or an earlier write failed: the entry is then not
    /// acknowledged, and must not be acted on. [`LogError::Leaf`].
    pub fn append(&self, leaf: Leaf) -> Result<LogIndex, LogError> {
        self.append_all(vec![leaf])?.pop().ok_or(LogError::Stopped)
    }

    /// Appends entries, one behind the other, with one sync, and returns when all are durable.
    ///
    /// # Errors
    /// As [`AccessLog::append`]: then none of them is acknowledged.
    pub fn append_all(&self, leaves: Vec<Leaf>) -> Result<Vec<LogIndex>, LogError> {
        let records = leaves
            .iter()
            .map(|leaf| Ok(Record::new(leaf.to_bytes()?)))
            .collect::<Result<Vec<_>, LeafError>>()?;
        let (reply, answer) = mpsc::sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or(LogError::Stopped)?;
        jobs.send(writer::Job { records, reply }).map_err(|_| LogError::Stopped)?;
        let first = answer.recv().map_err(|_| LogError::Stopped)??;
        Ok((first..).zip(leaves).map(|(index, leaf)| LogIndex { index, leaf }).collect())
    }

    /// How many entries are durable.
    pub fn len(&self) -> u64 {
        self.shared.read().checkpoint.size()
    }

    /// True where there is no entry yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The signed head over all durable entries.
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.read().checkpoint.clone()
    }

    /// The key that checks this log.
    pub const fn public_key(&self) -> &LogPublicKey {
        &self.public
    }

    /// Why the log takes no more entries, where that is so. For the server's health page.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.shared.poison.get().cloned()
    }

    /// The durable entries from this number on, oldest first, as of now. Each is checked against the
    /// tree when it is read.
    ///
    /// # Errors
    /// None; reading an entry may fail with [`LogError::Damaged`], [`LogError::Replaced`] or
    /// [`LogError::File`].
    pub fn entries(&self, from: u64) -> Result<Entries<'_>, LogError> {
        Ok(Entries::new(&self.shared, from, self.len()))
    }

    /// Reads the chunk of 256 entries that this entry is in and checks it against the tree. Returns
    /// the first entry behind the chunk, to go on with; none at the end of the log. To be called for
    /// one chunk after the other where there is time, so that damage to old entries is found early.
    ///
    /// # Errors
    /// [`LogError::Damaged`], [`LogError::Replaced`], [`LogError::File`].
    pub fn check_chunk(&self, entry: u64) -> Result<Option<u64>, LogError> {
        let chunk = entry / CHUNK;
        if entry >= self.len() {
            return Ok(None);
        }
        self.shared.records(chunk)?;
        Ok(Some((chunk + 1) * CHUNK).filter(|next| *next < self.len()))
    }

    /// The proof that an entry with this number is durable, from the log itself: for a view that
    /// goes on over several requests.
    ///
    /// # Errors
    /// [`LogError::Tree`] where there is no such entry; [`LogError::Damaged`]; [`LogError::File`].
    pub fn recall(&self, index: u64) -> Result<LogIndex, LogError> {
        match self.entries(index)?.next() {
            Some(entry) => entry.map(|Entry { index, leaf }| LogIndex { index, leaf }),
            None => {
                Err(TreeError::Range { asked: format!("entry {index}"), size: self.len() }.into())
            }
        }
    }

    /// The audit path of an entry in the tree of the first `size` entries.
    ///
    /// # Errors
    /// [`LogError::Tree`] unless `index < size <= len()`; as [`AccessLog::recall`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.within(size)?;
        let chunks = self.shared.chunks_of(&[index, size])?;
        Ok(self.shared.read().tree.with(&chunks).inclusion_proof(index, size)?)
    }

    /// The proof that the log of `old` entries is a prefix of the log of `new`.
    ///
    /// # Errors
    /// [`LogError::Tree`] unless `old <= new <= len()`; as [`AccessLog::recall`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        self.within(new)?;
        let chunks = self.shared.chunks_of(&[old, new])?;
        Ok(self.shared.read().tree.with(&chunks).consistency_proof(old, new)?)
    }

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// [`LogError::Tree`] unless `size <= len()`; as [`AccessLog::recall`].
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        self.within(size)?;
        let chunks = self.shared.chunks_of(&[size])?;
        Ok(self.shared.read().tree.with(&chunks).root(size)?)
    }

    /// An entry with all that is needed to check it offline, under the present head.
    ///
    /// # Errors
    /// As [`AccessLog::recall`].
    pub fn entry_proof(&self, index: u64) -> Result<EntryProof, LogError> {
        self.entry_proof_under(index, &self.checkpoint())
    }

    /// The same under an earlier head of this log, such as one that was cosigned.
    ///
    /// # Errors
    /// As [`AccessLog::recall`].
    pub fn entry_proof_under(&self, index: u64, head: &Checkpoint) -> Result<EntryProof, LogError> {
        let size = head.size();
        self.within(size)?;
        if index >= size {
            return Err(TreeError::Range { asked: format!("entry {index}"), size }.into());
        }
        let records = self.shared.records(index / CHUNK)?;
        let mut chunks = self.shared.chunks_of(&[size])?;
        chunks.push(Chunk::new(index / CHUNK, records.iter().map(|r| r.hash).collect()));
        let path = self.shared.read().tree.with(&chunks).inclusion_proof(index, size)?;
        let inside = usize::try_from(index % CHUNK).unwrap_or(usize::MAX);
        let leaf = records.into_iter().nth(inside).map(|record| record.leaf);
        let leaf = leaf.ok_or_else(|| self.shared.damaged(index, RecordError::Cut))?;
        Ok(EntryProof { index, leaf, path, checkpoint: head.note().to_owned() })
    }

    fn within(&self, size: u64) -> Result<(), TreeError> {
        let have = self.len();
        if size <= have {
            Ok(())
        } else {
            Err(TreeError::Range { asked: format!("size {size}"), size: have })
        }
    }

    /// The entries of a chunk, checked, for [`crate::tiles`].
    pub(crate) fn records(&self, chunk: u64) -> Result<Vec<Record>, LogError> {
        self.shared.records(chunk)
    }

    /// A tile above level 0, for [`crate::tiles`], which asks for none beyond a head it has.
    pub(crate) fn upper_tile(&self, tile: &tlog_tiles::Tile) -> Result<Vec<u8>, LogError> {
        Ok(self.shared.read().tree.with(&[]).tile(tile)?)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Closing the queue ends the writer after what it has taken.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to say: its callers got `Stopped`.
            drop(writer.join());
        }
    }
}
