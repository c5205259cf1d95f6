//! The newest head of the access log that this process has seen, on disk, so that a log that is put
//! back or forked is refused after a restart as before.
//!
//! One file of three slots, each with its number, the count of tombstones, the signed note and a
//! SHA-256 over all of it. The good slot with the greatest number counts. One slot survives a power
//! cut, one is being synced, one is written: nobody waits for the disk, and a cut at any moment
//! leaves a good slot.
//!
//! INVARIANT: [`Seen::advance`] returns when the head survives the end of this process. A power cut
//! may take what was not synced yet, one or two syncs of the disk long ([`Seen::begin_sync`]): the
//! service then believes a somewhat older head, and a log that goes on from it. A file with no good
//! slot is refused, never made anew: an empty memory would believe any history.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::digest::{SHA256, digest};
use temoin_access_log::{Checkpoint, LogPublicKey, checkpoint::MAX_CHECKPOINT_LEN, tree::Tree};

use crate::{
    place::{self, PlaceError, content, failed},
    rules::Head,
};

/// Room for the longest checkpoint and the rest.
const SLOT_LEN: usize = MAX_CHECKPOINT_LEN + 4096;
const SLOTS: [usize; 3] = [0, 1, 2];
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

/// Which slot, and the number of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    index: usize,
    number: u64,
}

/// The open file.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    file: Arc<File>,
    slot: Slot,
    head: Head,
    /// Survives a power cut; not written.
    durable: Place,
    /// Is being synced; not written.
    syncing: Option<Place>,
    /// Where the next write goes.
    free: usize,
    /// After a failed write or sync nothing is known of the file.
    broken: bool,
}

/// A sync that is to be done, without the lock on the file's owner.
#[derive(Debug)]
pub struct Sync {
    file: Arc<File>,
    place: Place,
}

impl Sync {
    /// Waits for the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn run(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
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
        bytes.resize(SLOTS.len() * SLOT_LEN, 0);
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
        let (index, slot) = bytes
            .chunks(SLOT_LEN)
            .take(SLOTS.len())
            .enumerate()
            .filter_map(|(index, slot)| Some((index, Slot::from_bytes(slot)?)))
            .max_by_key(|(_, slot)| slot.number)
            .ok_or_else(|| content(path, "all copies are damaged: restore it from a backup"))?;
        let head = if slot.note.is_empty() {
            empty()
        } else {
            let head = Checkpoint::parse(&slot.note, key).map_err(|e| {
                content(path, format!("it is of another log than the configuration names: {e}"))
            })?;
            Head::from(&head)
        };
        // What the process before wrote and did not sync.
        file.sync_data().map_err(failed("sync", path))?;
        let durable = Place { index, number: slot.number };
        let mut seen = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            slot,
            head,
            durable,
            syncing: None,
            free: index,
            broken: false,
        };
        seen.choose_free();
        Ok(seen)
    }

    fn choose_free(&mut self) {
        let taken =
            |index| index == self.durable.index || self.syncing.is_some_and(|s| s.index == index);
        // Three slots, of which two are taken at most.
        self.free = SLOTS.into_iter().find(|index| !taken(*index)).unwrap_or(self.free);
    }

    /// The sync that is due now: where something was written and no other is under way. Whoever
    /// takes it runs it and says how it went ([`Seen::end_sync`]).
    pub fn begin_sync(&mut self) -> Option<Sync> {
        let written = Place { index: self.free, number: self.slot.number };
        if self.broken || self.syncing.is_some() || written.number <= self.durable.number {
            return None;
        }
        self.syncing = Some(written);
        self.choose_free();
        Some(Sync { file: Arc::clone(&self.file), place: written })
    }

    /// A sync has ended.
    ///
    /// # Errors
    /// [`PlaceError::File`] where it failed: then nothing is kept any more until the file is opened
    /// anew.
    pub fn end_sync(&mut self, sync: &Sync, done: std::io::Result<()>) -> Result<(), PlaceError> {
        self.syncing = None;
        match done {
            Ok(()) => {
                self.is_durable(sync.place);
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                Err(failed("sync", &self.path)(error))
            }
        }
    }

    fn is_durable(&mut self, place: Place) {
        if place.number > self.durable.number {
            self.durable = place;
        }
        if self.free == self.durable.index {
            self.choose_free();
        }
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

    /// Keeps a newer head, over the end of this process. The caller has checked that it continues this one.
    ///
    /// # Errors
    /// [`PlaceError::File`]: then nothing is kept any more until the file is opened anew.
    pub fn advance(&mut self, head: &Checkpoint) -> Result<(), PlaceError> {
        let note = head.note().as_bytes().to_vec();
        self.write(Slot { number: self.slot.number + 1, tombstones: self.slot.tombstones, note })?;
        self.head = Head::from(head);
        Ok(())
    }

    /// Keeps the count of tombstones, over a power cut.
    ///
    /// # Errors
    /// As [`Seen::advance`].
    pub fn count_tombstones(&mut self, tombstones: u64) -> Result<(), PlaceError> {
        if tombstones == self.slot.tombstones {
            return Ok(());
        }
        let note = self.slot.note.clone();
        self.write(Slot { number: self.slot.number + 1, tombstones, note })?;
        let written = Place { index: self.free, number: self.slot.number };
        if let Err(error) = self.file.sync_data() {
            self.broken = true;
            return Err(failed("sync", &self.path)(error));
        }
        self.is_durable(written);
        Ok(())
    }

    fn write(&mut self, slot: Slot) -> Result<(), PlaceError> {
        if self.broken {
            return Err(content(&self.path, "a write failed before: start the service again"));
        }
        self.broken = true;
        let at = self.free as u64 * SLOT_LEN as u64;
        self.file.write_all_at(&slot.to_bytes(), at).map_err(failed("write", &self.path))?;
        self.broken = false;
        self.slot = slot;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;
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

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Advance,
        Count,
        Begin,
        End,
        Restart,
    }

    static HEADS: OnceLock<(LogKey, Vec<Checkpoint>)> = OnceLock::new();

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// A power cut at any moment, with what was not synced lost, written or torn, in any mixture:
        /// the file opens, with no older head than was durable and none that was never seen.
        #[test]
        fn a_power_cut_leaves_what_was_synced(
            steps in prop::collection::vec(
                prop::sample::select(vec![
                    Step::Advance, Step::Advance, Step::Advance, Step::Begin, Step::Begin,
                    Step::End, Step::End, Step::Count, Step::Restart,
                ]),
                1..40,
            ),
            cut in prop::collection::vec((0..3_u8, 0..600_usize), 3),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("head");
            let (key, heads) = HEADS.get_or_init(|| heads(40));
            Seen::create(&path).unwrap();
            let open = || Seen::open(&path, key.public()).unwrap();
            let (mut seen, mut next) = (open(), heads.iter());
            // What the disk holds whatever happens, and the entries and tombstones in it.
            let now = |seen: &Seen| (std::fs::read(&path).unwrap(), (seen.head().size, seen.tombstones()));
            let mut safe = now(&seen);
            let mut running = None;
            for step in steps {
                match step {
                    Step::Advance => seen.advance(next.next().unwrap()).unwrap(),
                    Step::Count => {
                        seen.count_tombstones(seen.tombstones() + 1).unwrap();
                        safe = now(&seen);
                    }
                    Step::Begin => {
                        if let Some(sync) = seen.begin_sync() {
                            prop_assert!(running.is_none(), "one after the other");
                            running = Some((sync, now(&seen)));
                        }
                    }
                    Step::End => {
                        if let Some((sync, then)) = running.take() {
                            seen.end_sync(&sync, Ok(())).unwrap();
                            if then.1 > safe.1 {
                                safe = then;
                            }
                        }
                    }
                    Step::Restart => {
                        running = None;
                        seen = open();
                        safe = now(&seen);
                    }
                }
            }
            let (written, newest) = now(&seen);
            let mut disk = safe.0.clone();
            for (slot, (how, torn)) in cut.into_iter().enumerate() {
                let all = slot * SLOT_LEN..(slot + 1) * SLOT_LEN;
                let kept = match how {
                    0 => 0,
                    1 => SLOT_LEN,
                    _ => torn,
                };
                disk[all.clone()][..kept].copy_from_slice(&written[all][..kept]);
            }
            std::fs::write(&path, disk).unwrap();
            let after = open();
            let left = (after.head().size, after.tombstones());
            prop_assert!((safe.1..=newest).contains(&left), "{:?} of {:?} to {newest:?}", left, safe.1);
        }
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
        std::fs::write(&path, vec![0; SLOTS.len() * SLOT_LEN]).unwrap();
        assert!(Seen::open(&path, key.public()).is_err(), "an empty memory is refused");
        std::fs::write(&path, b"").unwrap();
        assert!(Seen::open(&path, key.public()).is_err());
    }
}
