//! The durable store: one writer, group commit, recovery.
//!
//! Appending blocks its caller until the entry is durable (an async server calls it on a blocking
//! thread). One writer thread takes all entries that wait, so that they share their syncs; readers
//! never wait for the disk of the writer.
//!
//! # What a crash leaves, and what opening makes of it
//! The order of a commit is: records, sync, signed head beside the old one, sync, rename, sync of
//! the folder, answer. So the head on disk never signs what is not durable, and whoever got an
//! answer is under the head on disk.
//!
//! | found | what it was | what becomes of it |
//! |---|---|---|
//! | a bad or missing record under the head | damage, never a crash | refused, with the entry's number |
//! | a root that is not the signed one | damage or fraud | refused |
//! | whole records beyond the head | written, not acknowledged | kept and signed: a head over them may have been seen |
//! | a torn record beyond the head | cut off by the crash | cut: its sync did not end, so nothing signs it |
//! | `checkpoint.new` | a commit that did not end | overwritten by the next one |
//!
//! Records that are kept are written and synced again before they are signed: after a failed sync
//! the system may hold pages as clean that never reached the disk.
//!
//! INVARIANT: after any failed write or sync the log takes no more entries until it is opened anew,
//! and whoever waited gets an error, not an index. Such an entry may still be found in the log
//! later. That is the harmless side: an access that did not happen, never one that is missing.
//!
//! What cannot be seen from inside: a folder put back to an older state as a whole. That takes an
//! older checkpoint kept elsewhere, see [`crate::verify`].

#[cfg(test)]
mod fault_tests;
mod recovery;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::JoinHandle,
};

use temoin_proto::ids::ClipId;

use crate::{
    checkpoint::{Checkpoint, CheckpointError, KeyError, LogKey, LogPublicKey},
    files::{self, FileError, LogFiles, OpenError, OsFiles},
    leaf::{Action, Leaf, LeafError},
    proof::EntryProof,
    record::{HEADER, Record, RecordError, RecordReader},
    tree::{Hash, Tree, TreeError},
};

/// Most entries in one commit.
const MAX_BATCH: usize = 512;
/// Most entries that wait for the writer before `append` blocks on handing over.
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

    /// True where the entry says that this clip was opened or exported. The entry of one clip, of a
    /// refusal or of a sign-in opens no other clip.
    pub fn opens(&self, clip: ClipId) -> bool {
        self.leaf.clip == Some(clip)
            && (self.leaf.action == Action::VIEW || self.leaf.action == Action::EXPORT)
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// What readers see. INVARIANT: `tree` and `offsets` hold at least the entries that `checkpoint`
/// signs; what they hold beyond is not durable yet and is shown to nobody.
struct Committed {
    tree: Tree,
    /// Where each record begins in the entries file.
    offsets: Vec<u64>,
    checkpoint: Checkpoint,
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

    fn damaged(&self, index: u64, reason: impl ToString) -> LogError {
        let folder = self.files.folder().to_owned();
        LogError::Damaged { folder, index, reason: reason.to_string() }
    }
}

struct Job {
    record: Record,
    reply: SyncSender<Result<u64, LogError>>,
}

/// An open access log. Share it by reference or [`Arc`]; dropping it ends the writer and frees the
/// lock.
pub struct AccessLog {
    shared: Arc<Shared>,
    public: LogPublicKey,
    jobs: Option<SyncSender<Job>>,
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
            .sign(0, Tree::default().root(0)?)
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

    /// Opens a log for writing: takes its lock, checks every entry against the signed head, and
    /// repairs what a crash left (see the head of this file).
    ///
    /// # Errors
    /// [`LogError::Locked`] where it is open elsewhere; [`LogError::Damaged`] and
    /// [`LogError::Root`] where an acknowledged entry is not as it was; others by their names.
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
        Self::start(Box::new(files), key)
    }

    /// Recovers the log in these files and starts its writer.
    pub(crate) fn start(files: Box<dyn LogFiles>, key: LogKey) -> Result<Self, LogError> {
        let (committed, end) = recovery::recover(files.as_ref(), &key)?;
        let shared =
            Arc::new(Shared { files, committed: RwLock::new(committed), poison: OnceLock::new() });
        let public = key.public().clone();
        let (jobs, queue) = mpsc::sync_channel(QUEUE_LEN);
        let writer = Writer { shared: Arc::clone(&shared), key, end };
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|e| FileError::new("start the writer of", shared.files.folder(), e))?;
        Ok(Self { shared, public, jobs: Some(jobs), writer: Some(writer) })
    }

    /// Appends an entry and returns when it is durable. Blocks for about three syncs of the disk;
    /// callers that wait at the same time share them.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] where this or an earlier write failed: the entry is then not
    /// acknowledged, and must not be acted on. [`LogError::Leaf`].
    pub fn append(&self, leaf: Leaf) -> Result<LogIndex, LogError> {
        let record = Record::new(leaf.to_bytes()?);
        let (reply, answer) = mpsc::sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or(LogError::Stopped)?;
        jobs.send(Job { record, reply }).map_err(|_| LogError::Stopped)?;
        let index = answer.recv().map_err(|_| LogError::Stopped)??;
        Ok(LogIndex { index, leaf })
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

    /// The durable entries from this number on, oldest first, as of now.
    ///
    /// # Errors
    /// [`LogError::File`]; reading an entry may fail with [`LogError::Damaged`].
    pub fn entries(&self, from: u64) -> Result<Entries<'_>, LogError> {
        let (offset, end) = {
            let committed = self.shared.read();
            let offset = usize::try_from(from).ok().and_then(|i| committed.offsets.get(i).copied());
            (offset, committed.checkpoint.size())
        };
        // Where `from` is beyond the log, nothing is read.
        let reader = self.shared.files.entries_from(offset.unwrap_or_default())?;
        Ok(Entries {
            shared: &self.shared,
            reader: RecordReader::at_record(reader),
            next: from,
            end,
        })
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
    /// [`LogError::Tree`] unless `index < size <= len()`.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        let committed = self.shared.read();
        within(size, &committed)?;
        Ok(committed.tree.inclusion_proof(index, size)?)
    }

    /// The proof that the log of `old` entries is a prefix of the log of `new`.
    ///
    /// # Errors
    /// [`LogError::Tree`] unless `old <= new <= len()`.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        let committed = self.shared.read();
        within(new, &committed)?;
        Ok(committed.tree.consistency_proof(old, new)?)
    }

    /// An entry with all that is needed to check it offline, under the present head.
    ///
    /// # Errors
    /// As [`AccessLog::recall`].
    pub fn entry_proof(&self, index: u64) -> Result<EntryProof, LogError> {
        let leaf = self.recall(index)?.leaf.to_bytes()?;
        let committed = self.shared.read();
        let path = committed.tree.inclusion_proof(index, committed.checkpoint.size())?;
        Ok(EntryProof { index, leaf, path, checkpoint: committed.checkpoint.note().to_owned() })
    }

    /// Lends the tree to [`crate::tiles`], which asks for nothing beyond a head it has.
    pub(crate) fn with_tree<T>(&self, f: impl FnOnce(&Tree) -> T) -> T {
        f(&self.shared.read().tree)
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

fn within(size: u64, committed: &Committed) -> Result<(), TreeError> {
    let have = committed.checkpoint.size();
    if size <= have {
        Ok(())
    } else {
        Err(TreeError::Range { asked: format!("size {size}"), size: have })
    }
}

/// One entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's number, from 0.
    pub index: u64,
    /// What was logged.
    pub leaf: Leaf,
}

/// Reads entries in order; ends after the first error.
pub struct Entries<'a> {
    shared: &'a Shared,
    reader: RecordReader<Box<dyn Read + Send + 'a>>,
    next: u64,
    end: u64,
}

impl Entries<'_> {
    fn read(&mut self, index: u64) -> Result<Entry, LogError> {
        let record = self
            .reader
            .next_record()
            .map_err(|e| self.shared.damaged(index, e))?
            .ok_or_else(|| self.shared.damaged(index, RecordError::Cut))?;
        if self.shared.read().tree.leaf(index)? != record.hash {
            return Err(self.shared.damaged(index, "it was replaced since the log was opened"));
        }
        Ok(Entry { index, leaf: Leaf::from_bytes(&record.leaf)? })
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.end {
            return None;
        }
        let entry = self.read(index);
        self.next = if entry.is_ok() { index + 1 } else { self.end };
        Some(entry)
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("next", &self.next)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

struct Writer {
    shared: Arc<Shared>,
    key: LogKey,
    /// Length of the entries file.
    end: u64,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut batch = vec![first];
            batch.extend(queue.try_iter().take(MAX_BATCH - 1));
            let done = match self.shared.poison.get() {
                Some(reason) => Err(Arc::clone(reason)),
                None => self.commit(&batch).map_err(|e| {
                    Arc::clone(self.shared.poison.get_or_init(|| Arc::from(e.to_string())))
                }),
            };
            let answers = batch.into_iter().enumerate().map(|(i, job)| {
                let answer = match &done {
                    Ok(first) => Ok(first + i as u64),
                    Err(reason) => Err(LogError::Poisoned(Arc::clone(reason))),
                };
                (job.reply, answer)
            });
            for (reply, answer) in answers {
                // The caller waits as long as the channel lives, so this does not fail.
                drop(reply.send(answer));
            }
        }
    }

    /// Makes all of them durable and returns the number of the first.
    fn commit(&mut self, batch: &[Job]) -> Result<u64, LogError> {
        let files = self.shared.files.as_ref();
        let first = self.shared.read().tree.size();
        let mut bytes = Vec::new();
        for (job, index) in batch.iter().zip(first..) {
            job.record.write_to(&mut bytes).map_err(|e| self.shared.damaged(index, e))?;
        }
        files.write_entries(self.end, &bytes)?;
        files.sync_entries()?;

        let (size, root) = {
            let mut committed = self.shared.write();
            let mut offset = self.end;
            for job in batch {
                committed.tree.push(job.record.hash)?;
                committed.offsets.push(offset);
                offset += job.record.stored_len();
            }
            let size = committed.tree.size();
            (size, committed.tree.root(size)?)
        };
        let head = self
            .key
            .sign(size, root)
            .map_err(|source| LogError::Checkpoint { folder: files.folder().to_owned(), source })?;
        recovery::publish(files, &head)?;
        self.shared.write().checkpoint = head;
        self.end += bytes.len() as u64;
        Ok(first)
    }
}
