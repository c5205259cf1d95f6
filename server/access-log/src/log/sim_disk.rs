//! A disk in memory that fails when it is told to, and from which the power can be taken.

use std::{
    io::{self, Read},
    path::Path,
    sync::{Arc, Condvar, Mutex},
};

use crate::{
    checkpoint::LogKey,
    chunks::SavedChunk,
    files::{FileError, LogFiles},
    leaf::Leaf,
    record::{HEADER, Record},
    tree::Tree,
};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    NotPersisted,
    Half,
    ButPersisted,
}

/// What is left of unsynced data when the power goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    Nothing,
    Everything,
    /// The first half of what was written.
    Front,
    /// The second half, with zeros before it: pages reach the disk in any order.
    Back,
}

/// One file: what programs see, and what the disk has.
#[derive(Clone, Debug, Default)]
pub(super) struct SimFile {
    pub(super) seen: Vec<u8>,
    on_disk: Vec<u8>,
    /// Written and not synced.
    dirty: Vec<(usize, usize)>,
}

impl SimFile {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[at..end].copy_from_slice(bytes);
        self.dirty.push((at, end));
    }

    fn flush(&mut self, part: impl Fn(usize, usize) -> (usize, usize)) {
        self.on_disk.resize(self.seen.len(), 0);
        for (from, to) in std::mem::take(&mut self.dirty) {
            let (from, to) = part(from, to.min(self.seen.len()).max(from));
            let to = to.min(self.seen.len());
            if from < to {
                self.on_disk[from..to].copy_from_slice(&self.seen[from..to]);
            }
        }
    }

    pub(super) fn power_cut(&mut self, keep: Keep) {
        match keep {
            Keep::Nothing => {}
            Keep::Everything => self.flush(|from, to| (from, to)),
            Keep::Front => self.flush(|from, to| (from, from + (to - from) / 2)),
            Keep::Back => self.flush(|from, to| (from + (to - from) / 2, to)),
        }
        self.seen.clone_from(&self.on_disk);
        self.dirty.clear();
    }
}

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) entries: SimFile,
    pub(super) chunks: SimFile,
    pub(super) new_checkpoint: SimFile,
    /// The heads that the name `checkpoint` stood for since the folder was last synced; the first
    /// is the one on disk.
    pub(super) checkpoints: Vec<Vec<u8>>,
    /// Every head that could be seen under that name.
    pub(super) seen_heads: Vec<Vec<u8>>,
    pub(super) operations: usize,
    pub(super) fail: Option<(usize, Fault)>,
    pub(super) syncs: usize,
    /// Set: the next sync of the entries waits until it is cleared.
    pub(super) gate: bool,
    pub(super) at_gate: bool,
}

#[derive(Clone, Debug)]
pub(super) struct SimDisk(pub(super) Arc<(Mutex<Disk>, Condvar)>);

impl SimDisk {
    /// A log of these entries that was closed properly.
    pub(super) fn new(key: &LogKey, base: &[Leaf]) -> Self {
        let (mut tree, mut entries, mut chunks) = (Tree::default(), HEADER.to_vec(), Vec::new());
        for record in base.iter().map(|leaf| Record::new(leaf.to_bytes().unwrap())) {
            record.write_to(&mut entries).unwrap();
            if tree.push(record.hash).unwrap() {
                let index = tree.whole_chunks() - 1;
                let root = tree.chunk_root(index).unwrap();
                SavedChunk { end: entries.len() as u64, root }.write_to(index, &mut chunks);
            }
        }
        let head =
            key.sign(base.len() as u64, tree.root().unwrap()).unwrap().note().as_bytes().to_vec();
        let file =
            |bytes: Vec<u8>| SimFile { seen: bytes.clone(), on_disk: bytes, dirty: Vec::new() };
        let disk = Disk {
            entries: file(entries),
            chunks: file(chunks),
            new_checkpoint: SimFile::default(),
            checkpoints: vec![head.clone()],
            seen_heads: vec![head],
            operations: 0,
            fail: None,
            syncs: 0,
            gate: false,
            at_gate: false,
        };
        Self(Arc::new((Mutex::new(disk), Condvar::new())))
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.0.lock().unwrap())
    }

    /// Fails the operation after this many more.
    pub(super) fn fail_after(&self, more: usize, fault: Fault) {
        self.with(|disk| disk.fail = Some((disk.operations + more, fault)));
    }

    pub(super) fn power_cut(&self, keep: Keep, keep_rename: bool) {
        self.with(|disk| {
            disk.entries.power_cut(keep);
            disk.chunks.power_cut(keep);
            disk.new_checkpoint.power_cut(keep);
            let kept = if keep_rename { disk.checkpoints.pop() } else { None };
            let kept = kept.unwrap_or_else(|| disk.checkpoints[0].clone());
            disk.checkpoints = vec![kept];
            disk.fail = None;
        });
    }

    /// Does one operation, unless it is its turn to fail.
    fn operation(
        &self,
        name: &'static str,
        whole: impl FnOnce(&mut Disk),
        half: impl FnOnce(&mut Disk),
    ) -> Result<(), FileError> {
        let done = self.with(|disk| {
            let turn = disk.operations;
            disk.operations += 1;
            let failed = || Err(FileError::new(name, "simulated", io::Error::other("test")));
            match disk.fail.filter(|(at, _)| *at == turn) {
                None => {
                    whole(disk);
                    Ok(())
                }
                Some((_, Fault::ButPersisted)) => {
                    whole(disk);
                    failed()
                }
                Some((_, Fault::Half)) => {
                    half(disk);
                    failed()
                }
                Some((_, Fault::NotPersisted)) => {
                    // A failed sync leaves the pages clean and not on disk: the next sync of the
                    // same pages succeeds and does nothing.
                    if name == "sync" {
                        disk.entries.dirty.clear();
                    }
                    failed()
                }
            }
        });
        self.0.1.notify_all();
        done
    }
}

impl LogFiles for SimDisk {
    fn folder(&self) -> &Path {
        Path::new("simulated")
    }

    fn entries_from(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, FileError> {
        let at = usize::try_from(offset).unwrap();
        Ok(Box::new(io::Cursor::new(self.with(|disk| disk.entries.seen[at..].to_vec()))))
    }

    fn write_entries(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let at = usize::try_from(offset).unwrap();
        self.operation(
            "write",
            |disk| disk.entries.write(at, bytes),
            |disk| disk.entries.write(at, &bytes[..bytes.len() / 2]),
        )
    }

    fn truncate_entries(&self, len: u64) -> Result<(), FileError> {
        let len = usize::try_from(len).unwrap();
        self.operation("cut", |disk| disk.entries.seen.truncate(len), |_| {})
    }

    fn sync_entries(&self) -> Result<(), FileError> {
        let (lock, gate) = &*self.0;
        let mut disk = lock.lock().unwrap();
        disk.syncs += 1;
        disk.at_gate = disk.gate;
        gate.notify_all();
        drop(gate.wait_while(disk, |disk| disk.gate).unwrap());
        self.operation(
            "sync",
            |disk| disk.entries.flush(|from, to| (from, to)),
            |disk| disk.entries.flush(|from, to| (from, from + (to - from) / 2)),
        )
    }

    fn chunks(&self, len: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = self.with(|disk| disk.chunks.seen.clone());
        bytes.truncate(usize::try_from(len).unwrap());
        Ok(bytes)
    }

    fn write_chunks(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let at = usize::try_from(offset).unwrap();
        self.operation(
            "write",
            |disk| disk.chunks.write(at, bytes),
            |disk| disk.chunks.write(at, &bytes[..bytes.len() / 2]),
        )
    }

    fn checkpoint(&self) -> Result<Vec<u8>, FileError> {
        Ok(self.with(|disk| disk.checkpoints.last().unwrap().clone()))
    }

    fn write_new_checkpoint(&self, note: &[u8]) -> Result<(), FileError> {
        self.operation(
            "write",
            |disk| {
                disk.new_checkpoint =
                    SimFile { seen: note.to_vec(), on_disk: note.to_vec(), dirty: Vec::new() }
            },
            |disk| {
                let half = note[..note.len() / 2].to_vec();
                disk.new_checkpoint =
                    SimFile { seen: half.clone(), on_disk: half, dirty: Vec::new() };
            },
        )
    }

    fn rename_new_checkpoint(&self) -> Result<(), FileError> {
        self.operation(
            "rename",
            |disk| {
                let head = disk.new_checkpoint.seen.clone();
                disk.seen_heads.push(head.clone());
                disk.checkpoints.push(head);
            },
            |_| {},
        )
    }

    fn sync_folder(&self) -> Result<(), FileError> {
        self.operation(
            "sync the folder",
            |disk| {
                let last = disk.checkpoints.pop().unwrap();
                disk.checkpoints = vec![last];
            },
            |_| {},
        )
    }
}
