//! The check of a whole log from its files and its public key, for people who do not trust the
//! server that wrote them. Takes no lock and changes nothing, also while the server runs.
//!
//! INVARIANT: the root is computed here with ring's SHA-256 and a few lines of RFC 6962, not with
//! the code that wrote the log.
//!
//! A log alone cannot show that it was put back to an older state, or that a second history was
//! signed with its key. Checkpoints kept elsewhere (a witness, a works council, last month's copy)
//! show both: pass them in `kept`.

use std::{
    fs::{self, File},
    io,
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

/// Checks every entry of the log in `folder` against its signed head, and the head against each of
/// the `kept` checkpoints of this log.
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
    let mut kept: Vec<&Checkpoint> = kept.iter().collect();
    kept.sort_by_key(|checkpoint| checkpoint.size());
    if let Some(longest) = kept.last().filter(|longest| longest.size() > head.size()) {
        return Err(VerifyError::Rollback { signed: head.size(), kept: longest.size() });
    }

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

    let mut peaks = Peaks::default();
    let mut end = HEADER.len() as u64;
    let mut unknown_entries = 0;
    // Sizes of the kept checkpoints whose roots are right, and of the first that is not.
    let mut agreed = 0;
    let mut disagreed = None;
    let mut kept = kept.into_iter().peekable();
    loop {
        while let Some(old) = kept.next_if(|old| old.size() == peaks.size) {
            if peaks.root() != old.root().0 {
                disagreed.get_or_insert(old.size());
            } else if disagreed.is_none() {
                agreed = old.size();
            }
        }
        let index = peaks.size;
        if index == head.size() {
            break;
        }
        let wrong = |reason: String| VerifyError::Entry { index, reason };
        let record = reader
            .next_record()
            .map_err(|e| wrong(e.to_string()))?
            .ok_or(VerifyError::Missing { have: index, signed: head.size() })?;
        match Leaf::from_bytes(&record.leaf) {
            Ok(_) => {}
            Err(LeafError::Version(_)) => unknown_entries += 1,
            Err(e) => return Err(wrong(e.to_string())),
        }
        end += record.stored_len();
        peaks.push(&record.leaf);
    }
    if peaks.root() != head.root().0 {
        return Err(VerifyError::Root { from: agreed, last: head.size().saturating_sub(1) });
    }
    // The entries are those of the head, so a kept checkpoint that disagrees signs others.
    if let Some(kept) = disagreed {
        return Err(VerifyError::Fork { kept });
    }
    let unsigned_bytes = file_len.saturating_sub(end);
    Ok(Verified { checkpoint: head, unknown_entries, unsigned_bytes })
}

/// The roots of the whole subtrees from left to right: all that RFC 6962 needs to go on.
#[derive(Default)]
struct Peaks {
    /// Height and root.
    peaks: Vec<(u32, [u8; 32])>,
    size: u64,
}

impl Peaks {
    fn push(&mut self, leaf: &[u8]) {
        let (mut height, mut root) = (0, sha256(&[&[0], leaf]));
        while let Some((_, left)) = self.peaks.pop_if(|(h, _)| *h == height) {
            root = sha256(&[&[1], &left, &root]);
            height += 1;
        }
        self.peaks.push((height, root));
        self.size += 1;
    }

    fn root(&self) -> [u8; 32] {
        let mut from_right = self.peaks.iter().rev().map(|(_, root)| *root);
        match from_right.next() {
            None => sha256(&[]),
            Some(last) => from_right.fold(last, |right, left| sha256(&[&[1], &left, &right])),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        leaf::Action,
        log::AccessLog,
        record::Record,
        tree::{Tree, leaf_hash},
    };

    #[test]
    fn both_ways_to_the_root_agree() {
        let (mut tree, mut peaks) = (Tree::default(), Peaks::default());
        for i in 0_u32..600 {
            assert_eq!(peaks.root(), tree.root(u64::from(i)).unwrap().0, "{i}");
            tree.push(leaf_hash(&i.to_be_bytes())).unwrap();
            peaks.push(&i.to_be_bytes());
        }
    }

    struct Fixture {
        folder: tempfile::TempDir,
        key: LogPublicKey,
        heads: Vec<Checkpoint>,
    }

    fn leaf(at: i64) -> Leaf {
        let mut leaf = Leaf::new(at, Action::VIEW);
        leaf.clip = Some(temoin_proto::ids::ClipId::from_bytes([9; 16]));
        leaf
    }

    /// A closed log of five entries with the head after each.
    fn five() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::create(folder.path(), "test/log").unwrap();
        let mut heads = vec![log.checkpoint()];
        for at in 0..5 {
            log.append(leaf(at)).unwrap();
            heads.push(log.checkpoint());
        }
        let key = log.public_key().clone();
        Fixture { folder, key, heads }
    }

    impl Fixture {
        fn verify(&self) -> Result<Verified, VerifyError> {
            verify_log(self.folder.path(), &self.key, &self.heads)
        }

        fn entries(&self) -> Vec<u8> {
            fs::read(self.folder.path().join(ENTRIES)).unwrap()
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            fs::write(self.folder.path().join(name), bytes).unwrap();
        }
    }

    #[test]
    fn a_whole_log() {
        let log = five();
        let verified = log.verify().unwrap();
        assert_eq!(verified.checkpoint, log.heads[5]);
        assert_eq!((verified.unknown_entries, verified.unsigned_bytes), (0, 0));
        assert_eq!(read_public_key(log.folder.path()).unwrap(), log.key);
    }

    /// One bit of each byte; the error names the entry that the byte is in.
    #[test]
    fn any_flipped_byte_is_found_in_its_entry() {
        let log = five();
        let good = log.entries();
        let record_len = (good.len() - HEADER.len()) / 5;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            log.put(ENTRIES, &bad);
            let error = verify_log(log.folder.path(), &log.key, &[]).unwrap_err();
            match at.checked_sub(HEADER.len()) {
                None => assert!(matches!(error, VerifyError::Header(_)), "{at}: {error}"),
                Some(at) => {
                    let entry = (at / record_len) as u64;
                    assert!(
                        matches!(error, VerifyError::Entry { index, .. } if index == entry),
                        "{at} is in {entry}: {error}"
                    );
                }
            }
        }
        for len in 0..good.len() {
            log.put(ENTRIES, &good[..len]);
            assert!(log.verify().is_err(), "cut to {len}");
        }
    }

    #[test]
    fn bytes_beyond_the_head_are_counted_and_not_believed() {
        let log = five();
        let mut entries = log.entries();
        entries.extend_from_slice(b"torn");
        log.put(ENTRIES, &entries);
        assert_eq!(log.verify().unwrap().unsigned_bytes, 4);
    }

    /// Somebody with access to the disk, but not to the key, replaces an entry and its hash.
    #[test]
    fn a_replaced_entry_is_bracketed_by_kept_checkpoints() {
        let log = five();
        let mut entries = HEADER.to_vec();
        for at in 0..5 {
            let at = if at == 3 { 99 } else { at };
            Record::new(leaf(at).to_bytes().unwrap()).write_to(&mut entries).unwrap();
        }
        log.put(ENTRIES, &entries);
        let found =
            |kept: &[Checkpoint]| verify_log(log.folder.path(), &log.key, kept).unwrap_err();
        assert!(matches!(found(&[]), VerifyError::Root { from: 0, last: 4 }));
        assert!(matches!(found(&log.heads), VerifyError::Root { from: 3, last: 4 }));
    }

    /// Somebody with the disk: puts the whole folder back to an older state.
    #[test]
    fn a_rollback_needs_a_kept_checkpoint_to_be_seen() {
        let log = five();
        let entries = log.entries();
        let record_len = (entries.len() - HEADER.len()) / 5;
        log.put(ENTRIES, &entries[..HEADER.len() + 3 * record_len]);
        log.put(CHECKPOINT, log.heads[3].note().as_bytes());
        assert!(verify_log(log.folder.path(), &log.key, &log.heads[..4]).is_ok());
        assert!(matches!(log.verify(), Err(VerifyError::Rollback { signed: 3, kept: 5 })));
    }

    /// Somebody with disk and key: signs a second history.
    #[test]
    fn a_second_history_is_a_fork() {
        let log = five();
        let entries = log.entries();
        let record_len = (entries.len() - HEADER.len()) / 5;
        log.put(ENTRIES, &entries[..HEADER.len() + 3 * record_len]);
        log.put(CHECKPOINT, log.heads[3].note().as_bytes());
        let again = AccessLog::open(log.folder.path()).unwrap();
        for at in 100..104 {
            again.append(leaf(at)).unwrap();
        }
        assert!(verify_log(log.folder.path(), &log.key, &log.heads[..4]).is_ok());
        assert!(matches!(log.verify(), Err(VerifyError::Fork { kept: 4 })));
    }

    #[test]
    fn another_key_and_a_changed_head_are_refused() {
        let log = five();
        let other = five();
        let error = verify_log(log.folder.path(), &other.key, &[]).unwrap_err();
        assert!(matches!(error, VerifyError::Checkpoint(_)), "{error}");
        log.put(CHECKPOINT, log.heads[5].note().replace("\n5\n", "\n4\n").as_bytes());
        assert!(matches!(log.verify(), Err(VerifyError::Checkpoint(_))));
        log.put(CHECKPOINT, &[b'x'; 100_000]);
        assert!(matches!(log.verify(), Err(VerifyError::Checkpoint(_))));
    }
}
