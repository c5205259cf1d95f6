//! The witness's folder.
//!
//! | file | what | when it changes |
//! |---|---|---|
//! | `lock` | held by the one that serves | never |
//! | `key` | the private key, mode 0600 | never |
//! | `public-key` | the public key, for those who rely on this witness | never |
//! | `logs/<n>/public-key` | the key of a log; `<n>` is a hash of its origin | never |
//! | `logs/<n>/checkpoint` | the newest head that was cosigned | replaced as a whole |
//! | `logs/<n>/checkpoint.new` | the next one | left by a crash; overwritten |
//! | `logs/<n>/conflict` | a head of the same size with other entries: proof of two histories | written once |
//!
//! Order of a cosignature: write `checkpoint.new`, sync it, rename it, sync the folder, sign. What a
//! crash leaves: the old head or the new one, each whole. The new one may be there although its
//! cosignature never left; that is the harmless side.
//!
//! INVARIANT: the files are the truth. Nothing is remembered between two requests.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use rustix::fs::FlockOperation;
use temoin_access_log::{
    LogPublicKey, WitnessKey, WitnessPublicKey,
    checkpoint::{CheckpointError, KeyError},
    files::{FileError, read_if_there, replace, sync_folder, write_synced},
};

const KEY: &str = "key";
const PUBLIC_KEY: &str = "public-key";
const LOCK: &str = "lock";
const LOGS: &str = "logs";
const CHECKPOINT: &str = "checkpoint";
const NEW_CHECKPOINT: &str = "checkpoint.new";
const CONFLICT: &str = "conflict";

/// Why the witness cannot work. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is something where a witness should be made.
    #[error("cannot make a witness in `{0}`: it is not an empty folder")]
    Exists(PathBuf),
    /// Another process serves from this folder.
    #[error("another temoin-witness serves from `{0}`: stop it, or use another folder")]
    Locked(PathBuf),
    /// Others can read the private key.
    #[error("the key `{path}` has mode {mode:o} and can be read by others: run chmod 600 on it")]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key is none.
    #[error("the key `{path}` cannot be used: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The log is known with another key.
    #[error("the log `{0}` is known with another key: a log that changed its key is another log")]
    OtherKey(String),
    /// The kept head is none of this log: the folder was damaged.
    #[error(
        "the kept checkpoint `{path}` is damaged: {source}; without it this witness cannot know what it signed, so it signs nothing more for this log"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// The head could not be signed.
    #[error("cannot cosign: {0}")]
    Sign(#[from] CheckpointError),
}

pub(crate) fn failed(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> WitnessError {
    let path = path.into();
    move |source| FileError::new(doing, path, source).into()
}

/// What the witness asks of the disk for the head of one log, and nothing else, so that a test can
/// fail each operation.
pub(crate) trait Heads: Send + Sync {
    /// The kept head of the log in this folder; none where none was cosigned.
    fn read(&self, folder: &Path) -> Result<Option<Vec<u8>>, WitnessError>;
    /// Writes the next head beside the kept one and syncs it.
    fn write_new(&self, folder: &Path, note: &[u8]) -> Result<(), WitnessError>;
    /// Puts it in place of the kept one.
    fn rename_new(&self, folder: &Path) -> Result<(), WitnessError>;
    /// Makes the renaming survive a power cut.
    fn sync_folder(&self, folder: &Path) -> Result<(), WitnessError>;
}

/// The real disk.
#[derive(Debug)]
pub(crate) struct OsHeads;

impl Heads for OsHeads {
    fn read(&self, folder: &Path) -> Result<Option<Vec<u8>>, WitnessError> {
        Ok(read_if_there(&folder.join(CHECKPOINT))?)
    }

    fn write_new(&self, folder: &Path, note: &[u8]) -> Result<(), WitnessError> {
        Ok(write_synced(&folder.join(NEW_CHECKPOINT), note, 0o644)?)
    }

    fn rename_new(&self, folder: &Path) -> Result<(), WitnessError> {
        let to = folder.join(CHECKPOINT);
        fs::rename(folder.join(NEW_CHECKPOINT), &to).map_err(failed("replace", to))
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), WitnessError> {
        Ok(sync_folder(folder)?)
    }
}

fn make_folder(path: &Path) -> Result<(), WitnessError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

/// A log's folder: the hash of its origin, which may have any characters.
fn log_folder(folder: &Path, origin: &str) -> PathBuf {
    let hash = hex::encode(digest(&SHA256, origin.as_bytes()));
    folder.join(LOGS).join(hash.get(..32).unwrap_or(&hash))
}

/// Makes the folder of a witness with a key of its own, and says its public key.
///
/// # Errors
/// [`WitnessError::Exists`] unless the folder is missing or empty; [`WitnessError::Key`] for a bad
/// name.
pub fn init(folder: &Path, name: &str) -> Result<WitnessPublicKey, WitnessError> {
    let taken = match fs::read_dir(folder) {
        Ok(mut inside) => inside.next().is_some(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => true,
        Err(e) => return Err(failed("read", folder)(e)),
    };
    if taken {
        return Err(WitnessError::Exists(folder.to_owned()));
    }
    let path = folder.join(KEY);
    let (key, encoded) =
        WitnessKey::generate(name).map_err(|source| WitnessError::Key { path, source })?;
    make_folder(&folder.join(LOGS))?;
    write_synced(&folder.join(LOCK), b"", 0o600)?;
    let public = format!("{}\n", key.public());
    write_synced(&folder.join(PUBLIC_KEY), public.as_bytes(), 0o644)?;
    // Last: without it nothing is served.
    write_synced(&folder.join(KEY), format!("{encoded}\n").as_bytes(), 0o600)?;
    sync_folder(folder)?;
    Ok(key.public().clone())
}

/// Lets the witness cosign the heads of the log with this key, also while it serves.
///
/// # Errors
/// [`WitnessError::OtherKey`] where the log is known with another key.
pub fn add_log(folder: &Path, key: &LogPublicKey) -> Result<(), WitnessError> {
    if !folder.join(KEY).exists() {
        let missing = io::Error::new(io::ErrorKind::NotFound, "it is no witness's folder");
        return Err(failed("use", folder)(missing));
    }
    let log = log_folder(folder, key.name());
    match read_log_key(&log)? {
        Some(known) if known == *key => return Ok(()),
        Some(_) => return Err(WitnessError::OtherKey(key.name().to_owned())),
        None => {}
    }
    make_folder(&log)?;
    replace(&log.join(PUBLIC_KEY), format!("{key}\n").as_bytes())?;
    Ok(sync_folder(&folder.join(LOGS))?)
}

fn read_log_key(log: &Path) -> Result<Option<LogPublicKey>, WitnessError> {
    let path = log.join(PUBLIC_KEY);
    let Some(text) = read_if_there(&path)? else { return Ok(None) };
    let key = String::from_utf8_lossy(&text).trim_end().parse();
    key.map(Some).map_err(|source| WitnessError::Key { path, source })
}

/// The open folder of a witness.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) key: WitnessKey,
    _lock: File,
}

impl Folder {
    /// Takes the lock and reads the key.
    pub(crate) fn open(path: &Path) -> Result<Self, WitnessError> {
        let lock = OpenOptions::new()
            .write(true)
            .open(path.join(LOCK))
            .map_err(failed("open", path.join(LOCK)))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(WitnessError::Locked(path.to_owned()));
            }
            Err(e) => return Err(failed("lock", path.join(LOCK))(e.into())),
        }
        let file = path.join(KEY);
        let mode = fs::metadata(&file).map_err(failed("read", &file))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(WitnessError::KeyMode { path: file, mode: mode & 0o7777 });
        }
        let text = read_if_there(&file)?.unwrap_or_default();
        let key = WitnessKey::decode(String::from_utf8_lossy(&text).trim_end())
            .map_err(|source| WitnessError::Key { path: file, source })?;
        Ok(Self { path: path.to_owned(), key, _lock: lock })
    }

    /// The folder and key of the log with this origin; none where it was not added.
    pub(crate) fn log(
        &self,
        origin: &str,
    ) -> Result<Option<(PathBuf, LogPublicKey)>, WitnessError> {
        let log = log_folder(&self.path, origin);
        let key = read_log_key(&log)?.filter(|key| key.name() == origin);
        Ok(key.map(|key| (log, key)))
    }
}

/// Where a log's kept head is, for messages.
pub(crate) fn head_path(log: &Path) -> PathBuf {
    log.join(CHECKPOINT)
}

/// Keeps the first head that proves two histories. Evidence is worth a try, not a failure.
pub(crate) fn keep_conflict(log: &Path, note: &str) {
    let path = log.join(CONFLICT);
    if !path.exists()
        && let Err(error) = write_synced(&path, note.as_bytes(), 0o644)
    {
        tracing::error!(%error, "a checkpoint that proves two histories could not be kept");
    }
}
