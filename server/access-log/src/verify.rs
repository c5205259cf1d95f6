//! The check of a whole log, from its folder or from its published tiles, and its public key, for
//! people who do not trust the server that wrote them. Takes no lock and changes nothing, also while
//! the server runs. Entries are read one behind the other: the memory that it needs does not grow
//! with the log.
//!
//! INVARIANT: the root is computed here with ring's SHA-256 and a few lines of RFC 6962, not with
//! the code that wrote the log.
//!
//! A log alone cannot show that it was put back to an older state, or that a second history was
//! signed with its key. Checkpoints kept elsewhere (a witness, a works council, last month's copy)
//! show both: pass them in `kept`.

#[cfg(test)]
mod tests;
mod tiles;

pub use tiles::{Published, published_head, verify_published, verify_tiles};

use std::{
    fs::{self, File},
    io, iter,
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, KeyError, LogPublicKey},
    files::{self, CHECKPOINT, ENTRIES, FileError, PUBLIC_KEY},
    leaf::{Leaf, LeafError},
    record::{HEADER, RecordError, RecordReader},
};

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The public key in the folder is none.
    #[error("the public key `{path}` cannot be used: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The head is not signed by the log.
    #[error("the checkpoint is not of this log: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The entries file is none.
    #[error("`{0}` is not an entries file: its first line is wrong")]
    Header(PathBuf),
    /// An entry is not as it was written.
    #[error("entry {index} is wrong: {reason}")]
    Entry {
        /// The entry's number, from 0.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// A published tile does not hold the hashes of the published entries.
    #[error("the tile `{0}` does not have the hashes of its entries")]
    Tile(PathBuf),
    /// Entries are missing at the end.
    #[error("entry {have} is missing, and all after it: the checkpoint signs {signed} entries")]
    Missing {
        /// How many there are.
        have: u64,
        /// How many were signed.
        signed: u64,
    },
    /// The entries are whole, but not those that were signed.
    #[error(
        "the entries are not those that were signed: at least one of entries {from} to {last} was \
         replaced together with its hash"
    )]
    Root {
        /// The first entry that can be wrong: all before it are under a kept checkpoint.
        from: u64,
        /// The last entry that can be wrong.
        last: u64,
    },
    /// The log is shorter than it once was.
    #[error("the log was cut: it has {signed} entries, but a kept checkpoint signs {kept}")]
    Rollback {
        /// How many entries the log's head signs.
        signed: u64,
        /// How many the kept checkpoint signs.
        kept: u64,
    },
    /// Two heads, both signed by the log, that disagree.
    #[error(
        "the log has two histories: a kept checkpoint over {kept} entries signs others, and both signatures are good"
    )]
    Fork {
        /// How many entries the kept checkpoint signs.
        kept: u64,
    },
}

/// What was found in a log that is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The head that was checked.
    pub checkpoint: Checkpoint,
    /// Entries of a later version, whose place was checked but whose fields were not.
    pub unknown_entries: u64,
    /// Bytes beyond the head: a commit that was going on, or that a crash left.
    pub unsigned_bytes: u64,
}

/// The public key that lies in a log's folder. It says who signed, not that it is the right log:
/// compare it with a copy that came another way.
///
/// # Errors
/// [`VerifyError::File`] and [`VerifyError::Key`].
pub fn read_public_key(folder: &Path) -> Result<LogPublicKey, VerifyError> {
    let path = folder.join(PUBLIC_KEY);
    let text = files::read_short(&path)?;
    String::from_utf8_lossy(&text)
        .trim_end()
        .parse()
        .map_err(|source| VerifyError::Key { path, source })
}

/// Checks every entry of the log in `folder` against its published head, and the head against each
/// of the `kept` checkpoints of this log.
///
/// # Errors
/// [`VerifyError`] says what is wrong, and with which entry.
pub fn verify_log(
    folder: &Path,
    key: &LogPublicKey,
    kept: &[Checkpoint],
) -> Result<Verified, VerifyError> {
    // The head first: the entries may grow meanwhile, and it only signs what is already there.
    let head = Checkpoint::parse(&files::read_short(&folder.join(CHECKPOINT))?, key)?;
    let mut check = Check::new(&head, kept)?;

    let path = folder.join(ENTRIES);
    let file_len = fs::metadata(&path).map_err(|e| FileError::new("read", &path, e))?.len();
    let file = File::open(&path).map_err(|e| FileError::new("open", &path, e))?;
    let mut reader =
        RecordReader::new(io::BufReader::with_capacity(1 << 16, file)).map_err(|e| match e {
            RecordError::Io(e) => FileError::new("read", &path, e).into(),
            RecordError::Header | RecordError::Cut | RecordError::Length(_) | RecordError::Hash => {
                VerifyError::Header(path.clone())
            }
        })?;
    let mut end = HEADER.len() as u64;
    while let Some(index) = check.next() {
        let record = reader
            .next_record()
            .map_err(|e| VerifyError::Entry { index, reason: e.to_string() })?
            .ok_or(VerifyError::Missing { have: index, signed: head.size() })?;
        end += record.stored_len();
        check.push(&record.leaf)?;
    }
    let unknown_entries = check.finish()?;
    let unsigned_bytes = file_len.saturating_sub(end);
    Ok(Verified { checkpoint: head, unknown_entries, unsigned_bytes })
}

/// A check that is going on: of the entries, one behind the other.
struct Check<'a> {
    head: &'a Checkpoint,
    kept: iter::Peekable<std::vec::IntoIter<&'a Checkpoint>>,
    peaks: Peaks,
    unknown_entries: u64,
    /// Sizes of the kept checkpoints whose roots are right, and of the first that is not.
    agreed: u64,
    disagreed: Option<u64>,
}

impl<'a> Check<'a> {
    fn new(head: &'a Checkpoint, kept: &'a [Checkpoint]) -> Result<Self, VerifyError> {
        let mut kept: Vec<&Checkpoint> = kept.iter().collect();
        kept.sort_by_key(|checkpoint| checkpoint.size());
        if let Some(longest) = kept.last().filter(|longest| longest.size() > head.size()) {
            return Err(VerifyError::Rollback { signed: head.size(), kept: longest.size() });
        }
        let mut check = Self {
            head,
            kept: kept.into_iter().peekable(),
            peaks: Peaks::default(),
            unknown_entries: 0,
            agreed: 0,
            disagreed: None,
        };
        check.compare_kept();
        Ok(check)
    }

    /// The number of the entry that comes next; none where the head signs no more.
    fn next(&self) -> Option<u64> {
        Some(self.peaks.size).filter(|index| *index < self.head.size())
    }

    /// Takes the next entry and returns its hash.
    fn push(&mut self, leaf: &[u8]) -> Result<[u8; 32], VerifyError> {
        match Leaf::from_bytes(leaf) {
            Ok(_) => {}
            Err(LeafError::Version(_)) => self.unknown_entries += 1,
            Err(e) => {
                return Err(VerifyError::Entry { index: self.peaks.size, reason: e.to_string() });
            }
        }
        let hash = leaf_hash(leaf);
        self.peaks.push(hash);
        self.compare_kept();
        Ok(hash)
    }

    fn compare_kept(&mut self) {
        while let Some(old) = self.kept.next_if(|old| old.size() == self.peaks.size) {
            if self.peaks.root() != old.root().0 {
                self.disagreed.get_or_insert(old.size());
            } else if self.disagreed.is_none() {
                self.agreed = old.size();
            }
        }
    }

    /// Compares the root. Returns how many entries were of a later version.
    fn finish(self) -> Result<u64, VerifyError> {
        if self.peaks.root() != self.head.root().0 {
            let last = self.head.size().saturating_sub(1);
            return Err(VerifyError::Root { from: self.agreed, last });
        }
        // The entries are those of the head, so a kept checkpoint that disagrees signs others.
        match self.disagreed {
            Some(kept) => Err(VerifyError::Fork { kept }),
            None => Ok(self.unknown_entries),
        }
    }
}

/// The roots of the whole subtrees from left to right: all that RFC 6962 needs to go on.
#[derive(Default)]
struct Peaks {
    /// Height and root.
    peaks: Vec<(u32, [u8; 32])>,
    size: u64,
}

impl Peaks {
    fn push(&mut self, leaf: [u8; 32]) {
        let (mut height, mut root) = (0, leaf);
        while let Some((_, left)) = self.peaks.pop_if(|(h, _)| *h == height) {
            root = node_hash(&left, &root);
            height += 1;
        }
        self.peaks.push((height, root));
        self.size += 1;
    }

    fn root(&self) -> [u8; 32] {
        let mut from_right = self.peaks.iter().rev().map(|(_, root)| *root);
        match from_right.next() {
            None => sha256(&[]),
            Some(last) => from_right.fold(last, |right, left| node_hash(&left, &right)),
        }
    }
}

fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    sha256(&[&[0], leaf])
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[1], left, right])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}
