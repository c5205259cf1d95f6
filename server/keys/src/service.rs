//! One request to one answer. A tombstone is durable before the answer; the newest head outlives this
//! process before the answer and a power cut a moment later, since views wait for it
//! ([`crate::seen`]).
//!
//! | in the folder | what |
//! |---|---|
//! | `keyring` | the private keys, sealed |
//! | `head` | the newest head of the log, see [`crate::seen`] |
//! | `tombstones` | destroyed clips, see [`crate::tombstones`] |
//! | `fork` | the two signed heads, where the log ever showed two histories; else absent |
//! | `lock` | held by the one service |
//!
//! INVARIANT: a clip's key is given out only under the rules of [`crate::rules`], for an entry that
//! was proven under the pinned key and a head that continues all heads seen before.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
};

use temoin_access_log::{Checkpoint, Hash, Leaf, LogPublicKey};
use temoin_proto::{
    ids::{ClipId, ViewId},
    manifest::WrappedKey,
    sealed::SealedError,
};

use crate::{
    keyring::{Keyring, KeyringError, PlaceError},
    message::{Answer, LogProof, MAX_MARKS, Refusal, Request, SeenHead, WitnessedHead},
    place::{self, content, failed},
    rules::{self, Consistency, Follows, Head, Limits, Witnesses},
    seen::Seen,
    tombstones::Tombstones,
};

/// What time it is, milliseconds since 1970. Tests have their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The rules of one installation.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The log's key, pinned.
    pub log_key: LogPublicKey,
    /// How old an entry may be.
    pub limits: Limits,
    /// Whose cosignature is needed, if anybody's.
    pub witnesses: Option<Witnesses>,
}

struct Memory {
    seen: Seen,
    tombstones: Tombstones,
    /// When a witness last cosigned a head of this history, seconds since 1970, as far as was
    /// shown since the start.
    cosigned_s: Option<u64>,
    /// The service ends: what is written is synced, and no more.
    ending: bool,
}

/// The memory, and what tells that some of it is to be synced.
struct Shared {
    memory: Mutex<Memory>,
    written: Condvar,
}

impl Shared {
    // A panic while a lock was held leaves nothing half: each file marks itself broken before it
    // is written, and the keyring is replaced in one step.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs the newest head, one sync after the other, until the service ends.
    fn sync_heads(&self) {
        let mut memory = self.memory();
        loop {
            if let Some(sync) = memory.seen.begin_sync() {
                drop(memory);
                let done = sync.run();
                memory = self.memory();
                if let Err(error) = memory.seen.end_sync(&sync, done) {
                    tracing::error!(%error, "no clip is opened until the service is started again");
                }
            } else if memory.ending {
                return;
            } else {
                memory = self.written.wait(memory).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// An entry that is proven to be in the log, under a head that is not placed yet.
struct Proven {
    index: u64,
    leaf: Leaf,
    head: Checkpoint,
    from: u64,
    hashes: Vec<Hash>,
}

/// The running service.
pub struct Service {
    folder: PathBuf,
    terms: Terms,
    keyring: RwLock<Keyring>,
    shared: Arc<Shared>,
    syncing: Option<JoinHandle<()>>,
    clock: Clock,
    /// Held as long as the service runs.
    _lock: File,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.memory().ending = true;
        self.shared.written.notify_all();
        if let Some(thread) = self.syncing.take() {
            // A panic in it has been reported, and there is nothing left to sync for.
            drop(thread.join());
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn lock(path: &Path) -> Result<File, PlaceError> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed("open", path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(content(path, "another temoin-keys runs on this folder: stop it"))
        }
        Err(e) => Err(failed("lock", path)(e.into())),
    }
}

impl Service {
    /// Makes the memory of a service that has seen nothing.
    ///
    /// # Errors
    /// [`PlaceError`], also where there is one already.
    pub fn create(folder: &Path) -> Result<(), PlaceError> {
        Seen::create(&folder.join("head"))?;
        Tombstones::create(&folder.join("tombstones"))?;
        place::sync_folder_of(&folder.join("head"))
    }

    /// Locks the folder and opens what is in it.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn open(
        folder: &Path,
        keyring: Keyring,
        terms: Terms,
        clock: Clock,
    ) -> Result<Self, PlaceError> {
        let lock = lock(&folder.join("lock"))?;
        let seen = Seen::open(&folder.join("head"), &terms.log_key)?;
        let tombstones = Tombstones::open(&folder.join("tombstones"), seen.tombstones())?;
        let memory = Memory { seen, tombstones, cosigned_s: None, ending: false };
        let shared = Arc::new(Shared { memory: Mutex::new(memory), written: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let syncing = std::thread::Builder::new()
            .name("head sync".to_owned())
            .spawn(move || of_thread.sync_heads())
            .map_err(failed("start a thread for", folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            terms,
            keyring: RwLock::new(keyring),
            shared,
            syncing: Some(syncing),
            clock,
            _lock: lock,
        })
    }

    /// Takes a keyring that was read anew, after a rotation.
    pub fn replace_keyring(&self, keyring: Keyring) {
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = keyring;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory()
    }

    fn keyring<T>(
        &self,
        f: impl FnOnce(&Keyring) -> Result<T, KeyringError>,
    ) -> Result<T, Refusal> {
        let keyring = self.keyring.read().unwrap_or_else(PoisonError::into_inner);
        f(&keyring).map_err(|error| match error {
            KeyringError::Unknown(id) => Refusal::UnknownKey { id },
            KeyringError::Sealed(SealedError::Random) | KeyringError::Random => Refusal::Broken,
            KeyringError::Sealed(_) => Refusal::DoesNotOpen,
            KeyringError::Place(_)
            | KeyringError::Guard(_)
            | KeyringError::Current(_)
            | KeyringError::Full => Refusal::Broken,
        })
    }

    /// Answers a request. Blocks for a sync of the disk where a key is destroyed.
    pub fn handle(&self, request: Request) -> Answer {
        let asked = match &request {
            Request::Public => "public",
            Request::Head => "head",
            Request::Unwrap { .. } => "unwrap",
            Request::Marks { .. } => "marks",
            Request::Destroy { .. } => "destroy",
            Request::Rewrap { .. } => "rewrap",
            Request::Witnessed(_) => "witnessed",
        };
        match self.answer(request) {
            Ok(answer) => answer,
            Err(why) => {
                match &why {
                    Refusal::Forked | Refusal::RolledBack { .. } | Refusal::Broken => {
                        tracing::error!(asked, "refused: {why}");
                    }
                    // The server asks again by itself, or shows what it has.
                    Refusal::HeadMoved { .. } | Refusal::Unwitnessed => {
                        tracing::debug!(asked, "refused: {why}");
                    }
                    Refusal::Malformed
                    | Refusal::NotProven
                    | Refusal::NotLogged
                    | Refusal::Stale
                    | Refusal::Destroyed
                    | Refusal::UnknownKey { .. }
                    | Refusal::DoesNotOpen => tracing::warn!(asked, "refused: {why}"),
                }
                Answer::Refused(why)
            }
        }
    }

    fn answer(&self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Public => Ok(Answer::Public(self.keyring(|ring| Ok(ring.public()))?)),
            Request::Head => Ok(Answer::Head(self.seen())),
            Request::Unwrap { clip, wrapped, proof } => self.unwrap(clip, &wrapped.into(), &proof),
            Request::Marks { clip, views, proof } => self.marks(clip, &views, &proof),
            Request::Destroy { clip, proof } => self.destroy(clip, &proof),
            Request::Rewrap { clip, wrapped } => {
                if self.memory().tombstones.contains(clip) {
                    return Err(Refusal::Destroyed);
                }
                let wrapped = WrappedKey::from(wrapped);
                let anew = self.keyring(|ring| ring.rewrap(clip, &wrapped))?;
                Ok(Answer::Rewrapped(anew.into()))
            }
            Request::Witnessed(head) => self.witnessed(&head),
        }
    }

    fn seen(&self) -> SeenHead {
        let memory = self.memory();
        SeenHead {
            size: memory.seen.head().size,
            destroyed: memory.tombstones.len(),
            fork_seen: self.folder.join("fork").exists(),
        }
    }

    fn unwrap(
        &self,
        clip: ClipId,
        wrapped: &WrappedKey,
        proof: &LogProof,
    ) -> Result<Answer, Refusal> {
        let proven = self.prove(proof)?;
        let now_ms = (self.clock)();
        rules::opens(&proven.leaf, clip, now_ms, self.terms.limits)?;
        self.may_open(clip, &proven, now_ms)?;
        let view = proven.leaf.view;
        self.keyring(|ring| {
            let key = ring.unwrap(clip, wrapped)?;
            Ok(Answer::Unwrapped { key, mark: view.map(|view| ring.mark(view)) })
        })
    }

    fn marks(&self, clip: ClipId, views: &[ViewId], proof: &LogProof) -> Result<Answer, Refusal> {
        if views.len() > MAX_MARKS {
            return Err(Refusal::Malformed);
        }
        let proven = self.prove(proof)?;
        let now_ms = (self.clock)();
        rules::traces(&proven.leaf, clip, now_ms, self.terms.limits)?;
        self.may_open(clip, &proven, now_ms)?;
        self.keyring(|ring| Ok(Answer::Marks(views.iter().map(|view| ring.mark(*view)).collect())))
    }

    /// Whether anything of this clip is given out now, for an entry that says so.
    fn may_open(&self, clip: ClipId, proven: &Proven, now_ms: i64) -> Result<(), Refusal> {
        let mut memory = self.memory();
        if memory.tombstones.contains(clip) {
            return Err(Refusal::Destroyed);
        }
        self.place(&mut memory, proven)?;
        match &self.terms.witnesses {
            Some(witnesses) => witnesses.are_fresh(memory.cosigned_s, now_ms),
            None => Ok(()),
        }
    }

    fn destroy(&self, clip: ClipId, proof: &LogProof) -> Result<Answer, Refusal> {
        let proven = self.prove(proof)?;
        rules::deletes(&proven.leaf, clip)?;
        let mut memory = self.memory();
        self.place(&mut memory, &proven)?;
        let Memory { seen, tombstones, .. } = &mut *memory;
        tombstones.add(clip, proven.index, (self.clock)()).map_err(|e| broken(&e))?;
        // After the record: a crash between the two leaves more records than were counted.
        seen.count_tombstones(tombstones.len()).map_err(|e| broken(&e))?;
        tracing::info!(entry = proven.index, "a clip's key is destroyed");
        Ok(Answer::Destroyed)
    }

    fn witnessed(&self, shown: &WitnessedHead) -> Result<Answer, Refusal> {
        // Without a rule nobody's word is waited for.
        let Some(witnesses) = &self.terms.witnesses else { return Ok(Answer::Witnessed) };
        let hashes = shown.hashes().map_err(|_| Refusal::Malformed)?;
        let head = Checkpoint::parse(shown.checkpoint.as_bytes(), &self.terms.log_key)
            .map_err(|_| Refusal::NotProven)?;
        let at_s = witnesses.cosigned_at(&head)?;
        let mut memory = self.memory();
        let seen = memory.seen.head();
        let consistency = Consistency { from: shown.from, hashes: &hashes };
        let placed = rules::is_of_one_history(seen, Head::from(&head), consistency);
        self.keep(&mut memory, &head, placed)?;
        memory.cosigned_s = memory.cosigned_s.max(Some(at_s));
        Ok(Answer::Witnessed)
    }

    /// Checks the entry against the pinned key, and nothing else yet.
    fn prove(&self, proof: &LogProof) -> Result<Proven, Refusal> {
        let (entry, hashes) = proof.parse().map_err(|_| Refusal::Malformed)?;
        let (leaf, head) = entry.check(&self.terms.log_key).map_err(|_| Refusal::NotProven)?;
        Ok(Proven { index: entry.index, leaf, head, from: proof.from, hashes })
    }

    /// Places the entry's head behind all heads seen before, and keeps it.
    fn place(&self, memory: &mut Memory, proven: &Proven) -> Result<(), Refusal> {
        let seen = memory.seen.head();
        let consistency = Consistency { from: proven.from, hashes: &proven.hashes };
        let placed = rules::follows(seen, Head::from(&proven.head), consistency);
        self.keep(memory, &proven.head, placed)
    }

    /// Keeps a head that is the newest one now, or the evidence of a fork.
    fn keep(
        &self,
        memory: &mut Memory,
        head: &Checkpoint,
        placed: Result<Follows, Refusal>,
    ) -> Result<(), Refusal> {
        match placed {
            Ok(Follows::Same) => Ok(()),
            Ok(Follows::Newer) => {
                memory.seen.advance(head).map_err(|e| broken(&e))?;
                self.shared.written.notify_all();
                Ok(())
            }
            Err(why) => {
                if why == Refusal::Forked {
                    self.keep_evidence(memory.seen.note(), head);
                }
                Err(why)
            }
        }
    }

    /// Two signed heads that cannot both be true say to anybody that the log was forked. The first
    /// pair is kept.
    fn keep_evidence(&self, seen: &[u8], head: &Checkpoint) {
        let path = self.folder.join("fork");
        if path.exists() {
            return;
        }
        let both = [seen, b"\n", head.note().as_bytes()].concat();
        if let Err(error) = place::replace(&path, &both) {
            tracing::error!(%error, "the evidence of a fork could not be kept");
        }
    }
}

fn broken(error: &PlaceError) -> Refusal {
    tracing::error!(%error, "the key service's own disk failed");
    Refusal::Broken
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
