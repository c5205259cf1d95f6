//! The newest head of the access log that this process has seen, durable, so that a log that is
//! put back or forked is refused after a restart as before.
//!
//! One file of two slots that are written by turns, each with its number, the count of tombstones,
//! the signed note and a SHA-256 over all of it. The slot with the greater number counts. A crash
//! in a write damages the slot that did not count yet, which was never answered from.
//!
//! INVARIANT: [`Seen::advance`] returns when the head survives a power cut. A file with no good slot
//! is refused, never made anew: an empty memory would believe any history.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use temoin_access_log::{Checkpoint, LogPublicKey, checkpoint::MAX_CHECKPOINT_LEN, tree::Tree};

use crate::{
    place::{self, PlaceError, content, failed},
    rules::Head,
};

/// Room for the longest checkpoint and the rest.
const SLOT_LEN: usize = MAX_CHECKPOINT_LEN + 4096;
const DIGEST_LEN: usize = 32;
const FIXED_LEN: usize = DIGEST_LEN + 8 + 8 + 4;

/// What one slot says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    number: u64,
    tombstones: u64,
    /// The signed note; empty before the first.
    note: Vec<u8>,
}

impl Slot {
    fn to_bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.note.len()).unwrap_or(u32::MAX);
        let inside = [
            self.number.to_be_bytes().as_slice(),
            &self.tombstones.to_be_bytes(),
            &len.to_be_bytes(),
            &self.note,
        ]
        .concat();
        [digest(&SHA256, &inside).as_ref(), &inside].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sum, inside) = bytes.split_first_chunk::<DIGEST_LEN>()?;
        let (number, rest) = inside.split_first_chunk()?;
        let (tombstones, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let note = rest.get(..len)?;
        let whole = inside.get(..FIXED_LEN - DIGEST_LEN + len)?;
        (digest(&SHA256, whole).as_ref() == sum).then(|| Self {
            number: u64::from_be_bytes(*number),
            tombstones: u64::from_be_bytes(*tombstones),
            note: note.to_vec(),
        })
    }
}

/// The open file.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    file: File,
    slot: Slot,
    head: Head,
    /// After a failed write nothing is known of the slot that was written.
    broken: bool,
}

fn at(number: u64) -> u64 {
    (number % 2) * SLOT_LEN as u64
}

fn empty() -> Head {
    // The tree without entries always has a root.
    Head { size: 0, root: Tree::default().root().unwrap_or_default() }
}

impl Seen {
    /// Makes a file that has seen nothing: any log with the pinned key continues it.
    ///
    /// # Errors
    /// [`PlaceError::File`], also where there is one already.
    pub fn create(path: &Path) -> Result<(), PlaceError> {
        let mut bytes = Slot { number: 0, tombstones: 0, note: Vec::new() }.to_bytes();
        bytes.resize(2 * SLOT_LEN, 0);
        place::create(path, &bytes).map(drop)
    }

    /// Opens the file; the head in it must be of the log with this key.
    ///
    /// # Errors
    /// [`PlaceError::File`], [`PlaceError::Content`].
    pub fn open(path: &Path, key: &LogPublicKey) -> Result<Self, PlaceError> {
        place::check_private(path)?;
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
        let bytes = std::fs::read(path).map_err(failed("read", path))?;
        let slot = bytes
            .chunks(SLOT_LEN)
            .filter_map(Slot::from_bytes)
            .max_by_key(|slot| slot.number)
            .ok_or_else(|| content(path, "both copies are damaged: restore it from a backup"))?;
        let head = if slot.note.is_empty() {
            empty()
        } else {
            let head = Checkpoint::parse(&slot.note, key).map_err(|e| {
                content(path, format!("it is of another log than the configuration names: {e}"))
            })?;
            Head::from(&head)
        };
        Ok(Self { path: path.to_owned(), file, slot, head, broken: false })
    }

    /// The newest head.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Its signed note; empty before the first.
    pub fn note(&self) -> &[u8] {
        &self.slot.note
    }

    /// How many tombstones there were at the last writing.
    pub const fn tombstones(&self) -> u64 {
        self.slot.tombstones
    }

    /// Keeps a newer head, durably. The caller has checked that it continues this one.
    ///
    /// # Errors
    /// [`PlaceError::File`]: then nothing is kept any more until the file is opened anew.
    pub fn advance(&mut self, head: &Checkpoint) -> Result<(), PlaceError> {
        let note = head.note().as_bytes().to_vec();
        self.write(Slot { number: self.slot.number + 1, tombstones: self.slot.tombstones, note })?;
        self.head = Head::from(head);
        Ok(())
    }

    /// Keeps the count of tombstones, durably.
    ///
    /// # Errors
    /// As [`Seen::advance`].
    pub fn count_tombstones(&mut self, tombstones: u64) -> Result<(), PlaceError> {
        if tombstones == self.slot.tombstones {
            return Ok(());
        }
        let note = self.slot.note.clone();
        self.write(Slot { number: self.slot.number + 1, tombstones, note })
    }

    fn write(&mut self, slot: Slot) -> Result<(), PlaceError> {
        if self.broken {
            return Err(content(&self.path, "a write failed before: start the service again"));
        }
        self.broken = true;
        self.file
            .write_all_at(&slot.to_bytes(), at(slot.number))
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))?;
        self.broken = false;
        self.slot = slot;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use temoin_access_log::{LogKey, tree::leaf_hash};

    use super::*;

    fn heads(count: u64) -> (LogKey, Vec<Checkpoint>) {
        let (key, _) = LogKey::generate("fleet.example/log").unwrap();
        let heads =
            (1..=count).map(|n| key.sign(n, leaf_hash(&n.to_be_bytes())).unwrap()).collect();
        (key, heads)
    }

    #[test]
    fn remembers_the_newest_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        let (key, heads) = heads(5);
        Seen::create(&path).unwrap();
        assert!(Seen::create(&path).is_err());
        assert_eq!(Seen::open(&path, key.public()).unwrap().head().size, 0);
        for head in &heads {
            let mut seen = Seen::open(&path, key.public()).unwrap();
            seen.advance(head).unwrap();
            seen.count_tombstones(head.size() * 10).unwrap();
            drop(seen);
            let again = Seen::open(&path, key.public()).unwrap();
            assert_eq!((again.head(), again.tombstones()), (Head::from(head), head.size() * 10));
            assert_eq!(again.note(), head.note().as_bytes());
        }
        let (other, _) = LogKey::generate("fleet.example/log").unwrap();
        let error = Seen::open(&path, other.public()).unwrap_err().to_string();
        assert!(error.contains("another log"), "{error}");
    }

    /// A crash in any write: the slot before counts, or the new one.
    #[test]
    fn a_torn_write_leaves_the_head_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        let (key, heads) = heads(3);
        Seen::create(&path).unwrap();
        for (n, head) in heads.iter().enumerate() {
            let before = std::fs::read(&path).unwrap();
            Seen::open(&path, key.public()).unwrap().advance(head).unwrap();
            let after = std::fs::read(&path).unwrap();
            let from = before.iter().zip(&after).position(|(a, b)| a != b).unwrap();
            let to = before.len()
                - before.iter().rev().zip(after.iter().rev()).position(|(a, b)| a != b).unwrap();
            for cut in (from..to).step_by(13) {
                let torn = [&after[..cut], &before[cut..]].concat();
                std::fs::write(&path, torn).unwrap();
                let size = Seen::open(&path, key.public()).unwrap().head().size;
                assert_eq!(size, n as u64, "head {n} cut at {cut}");
            }
            std::fs::write(&path, &after).unwrap();
        }
        std::fs::write(&path, vec![0; 2 * SLOT_LEN]).unwrap();
        assert!(Seen::open(&path, key.public()).is_err(), "an empty memory is refused");
        std::fs::write(&path, b"").unwrap();
        assert!(Seen::open(&path, key.public()).is_err());
    }
}
