//! The log on a disk that fails: each operation in turn fails 'and not persisted', 'half' and 'but
//! persisted', the power goes with some or none of what was not synced, the log is opened again,
//! and the disk fails once more while it recovers.
//!
//! What must hold each time: no acknowledged entry is lost or changed, no head that anybody could
//! have seen is contradicted, and nothing is acknowledged between the failure and the reopening.

use std::sync::{Condvar, Mutex};

use super::*;
use crate::tree::leaf_hash;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    NotPersisted,
    Half,
    ButPersisted,
}

/// What is left of unsynced data when the power goes.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Nothing,
    Everything,
    /// The first half of what was written.
    Front,
    /// The second half, with zeros before it: pages reach the disk in any order.
    Back,
}

/// One file: what programs see, and what the disk has.
#[derive(Clone, Debug, Default)]
struct SimFile {
    seen: Vec<u8>,
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

    fn power_cut(&mut self, keep: Keep) {
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
struct Disk {
    entries: SimFile,
    new_checkpoint: SimFile,
    /// The heads that the name `checkpoint` stood for since the folder was last synced; the first
    /// is the one on disk.
    checkpoints: Vec<Vec<u8>>,
    /// Every head that could be seen under that name.
    seen_heads: Vec<Vec<u8>>,
    operations: usize,
    fail: Option<(usize, Fault)>,
    syncs: usize,
    /// Set: the next sync of the entries waits until it is cleared.
    gate: bool,
    at_gate: bool,
}

#[derive(Clone, Debug)]
struct SimDisk(Arc<(Mutex<Disk>, Condvar)>);

impl SimDisk {
    fn new(key: &LogKey) -> Self {
        let head =
            key.sign(0, Tree::default().root(0).unwrap()).unwrap().note().as_bytes().to_vec();
        let entries =
            SimFile { seen: HEADER.to_vec(), on_disk: HEADER.to_vec(), dirty: Vec::new() };
        let disk = Disk {
            entries,
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

    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.0.lock().unwrap())
    }

    /// Fails the operation after this many more.
    fn fail_after(&self, more: usize, fault: Fault) {
        self.with(|disk| disk.fail = Some((disk.operations + more, fault)));
    }

    fn power_cut(&self, keep: Keep, keep_rename: bool) {
        self.with(|disk| {
            disk.entries.power_cut(keep);
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
        self.with(|disk| {
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
        })
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

fn leaf(at: usize) -> Leaf {
    Leaf::new(i64::try_from(at).unwrap(), Action::VIEW)
}

struct Story {
    disk: SimDisk,
    encoded: String,
    name: String,
    acknowledged: Vec<(u64, Leaf)>,
    appended: usize,
}

impl Story {
    fn new(name: String) -> Self {
        let (key, encoded) = LogKey::generate("test/log").unwrap();
        Self { disk: SimDisk::new(&key), encoded, name, acknowledged: Vec::new(), appended: 0 }
    }

    fn open(&self) -> Result<AccessLog, LogError> {
        AccessLog::start(Box::new(self.disk.clone()), LogKey::decode(&self.encoded).unwrap())
    }

    /// Appends until this many more were tried; returns true where one failed.
    fn append(&mut self, log: &AccessLog, count: usize) -> bool {
        let mut failed = false;
        for _ in 0..count {
            let leaf = leaf(self.appended);
            self.appended += 1;
            match log.append(leaf.clone()) {
                Ok(index) => {
                    assert!(!failed, "{}: acknowledged after a failure", self.name);
                    self.acknowledged.push((index.get(), leaf));
                }
                Err(LogError::Poisoned(_)) => failed = true,
                Err(e) => panic!("{}: {e}", self.name),
            }
        }
        assert_eq!(failed, log.poisoned().is_some(), "{}", self.name);
        failed
    }

    /// Takes the power away, and checks that the head on the disk signs all that was acknowledged:
    /// only then is a bad record beyond it known to be a torn one.
    fn power_cut(&self, keep: Keep, keep_rename: bool) {
        self.disk.power_cut(keep, keep_rename);
        let head = self.disk.checkpoint().unwrap();
        let key = LogKey::decode(&self.encoded).unwrap();
        let signed = Checkpoint::parse(&head, key.public()).unwrap().size();
        for (index, _) in &self.acknowledged {
            assert!(*index < signed, "{}: entry {index} is not under the head", self.name);
        }
    }

    /// The process ends, and perhaps the machine.
    fn crash(&self, (keep, rename): (Option<Keep>, bool)) {
        match keep {
            Some(keep) => self.power_cut(keep, rename),
            None => self.disk.with(|disk| disk.fail = None),
        }
    }

    /// Checks what must always hold of an open log.
    fn check(&self, log: &AccessLog) {
        let name = &self.name;
        let all: Vec<Leaf> = log.entries(0).unwrap().map(|entry| entry.unwrap().leaf).collect();
        for (index, leaf) in &self.acknowledged {
            let found = all.get(usize::try_from(*index).unwrap());
            assert_eq!(found, Some(leaf), "{name}: acknowledged entry {index}");
        }
        let mut tree = Tree::default();
        for leaf in &all {
            tree.push(leaf_hash(&leaf.to_bytes().unwrap())).unwrap();
        }
        for head in self.disk.with(|disk| disk.seen_heads.clone()) {
            let head = Checkpoint::parse(&head, log.public_key())
                .unwrap_or_else(|e| panic!("{name}: a broken head was to be seen: {e}"));
            if log.poisoned().is_some() && head.size() > log.len() {
                // On the disk already, though the log does not know: opening it anew must.
                continue;
            }
            assert_eq!(
                tree.root(head.size()).ok(),
                Some(head.root()),
                "{name}: fork at {}",
                head.size()
            );
        }
    }
}

const FAULTS: [Fault; 3] = [Fault::NotPersisted, Fault::Half, Fault::ButPersisted];
/// Of these, those that differ for what is left after a second failure.
const SECOND_CUTS: [(Option<Keep>, bool); 3] =
    [(None, true), (Some(Keep::Nothing), false), (Some(Keep::Back), true)];
const CUTS: [(Option<Keep>, bool); 9] = [
    // The process ends, the machine goes on.
    (None, true),
    (Some(Keep::Nothing), false),
    (Some(Keep::Nothing), true),
    (Some(Keep::Everything), false),
    (Some(Keep::Everything), true),
    (Some(Keep::Front), false),
    (Some(Keep::Front), true),
    (Some(Keep::Back), false),
    (Some(Keep::Back), true),
];

/// A commit has five operations: write, sync, new head, rename, sync of the folder.
#[test]
fn every_write_failing_in_every_way() {
    for turn in 0..10 {
        for fault in FAULTS {
            for cut in CUTS {
                let mut story = Story::new(format!("{turn} {fault:?} {cut:?}"));
                let log = story.open().unwrap();
                assert!(!story.append(&log, 2));
                story.disk.fail_after(turn, fault);
                assert!(story.append(&log, 3), "{}: nothing failed", story.name);
                story.check(&log);
                drop(log);
                story.crash(cut);

                let log = story.open().unwrap_or_else(|e| panic!("{}: {e}", story.name));
                story.check(&log);
                assert!(!story.append(&log, 2));
                story.check(&log);
                drop(log);
                // Nothing that the log showed may hang on what was not synced.
                story.power_cut(Keep::Nothing, false);
                story.check(&story.open().unwrap());
            }
        }
    }
}

/// The power goes while entries wait to be synced, and the disk fails again in the recovery.
#[test]
fn recovery_failing_in_every_way() {
    for turn in 0..5 {
        for cut in CUTS {
            for (again, fault) in (0..8).flat_map(|again| FAULTS.map(|fault| (again, fault))) {
                for second_cut in SECOND_CUTS {
                    let name = format!("{turn} {cut:?}, then {again} {fault:?} {second_cut:?}");
                    let mut story = Story::new(name);
                    let log = story.open().unwrap();
                    story.append(&log, 1);
                    story.disk.fail_after(turn, Fault::Half);
                    story.append(&log, 1);
                    drop(log);
                    story.crash(cut);

                    story.disk.fail_after(again, fault);
                    if let Ok(log) = story.open() {
                        story.append(&log, 1);
                        story.check(&log);
                    }
                    story.crash(second_cut);
                    let log = story.open().unwrap_or_else(|e| panic!("{}: {e}", story.name));
                    story.check(&log);
                    assert!(!story.append(&log, 1));
                    drop(log);
                    story.power_cut(Keep::Nothing, false);
                    story.check(&story.open().unwrap());
                }
            }
        }
    }
}

/// After a failed sync the system shows pages that are not on the disk and calls them clean. Only
/// writing them again brings them there.
#[test]
fn entries_kept_after_a_failed_sync_are_written_again() {
    let mut story = Story::new("failed sync".to_owned());
    let log = story.open().unwrap();
    story.append(&log, 1);
    story.disk.fail_after(1, Fault::NotPersisted);
    assert!(story.append(&log, 1));
    drop(log);
    story.disk.with(|disk| disk.fail = None);
    let log = story.open().unwrap();
    assert_eq!(log.len(), 2, "whole, so it is kept");
    drop(log);
    story.power_cut(Keep::Nothing, false);
    assert_eq!(story.open().unwrap().len(), 2, "and signed only once it is on the disk");
}

/// The process ends between renaming the head and syncing the folder. Whoever opens the log sees
/// the new head, and may act on its entries.
#[test]
fn a_head_that_is_found_is_synced_before_it_is_believed() {
    let mut story = Story::new("renamed, not synced".to_owned());
    let log = story.open().unwrap();
    story.append(&log, 1);
    story.disk.fail_after(4, Fault::NotPersisted);
    assert!(story.append(&log, 1));
    drop(log);
    story.crash((None, true));
    let log = story.open().unwrap();
    let index = log.recall(1).unwrap();
    story.acknowledged.push((index.get(), index.leaf().clone()));
    drop(log);
    story.power_cut(Keep::Nothing, false);
    story.check(&story.open().unwrap());
}

/// All that wait while the disk syncs go into the next commit together.
#[test]
fn callers_that_wait_share_a_sync() {
    let story = Story::new("group commit".to_owned());
    let log = story.open().unwrap();
    story.disk.with(|disk| disk.gate = true);
    let send = |at: usize| {
        let (reply, answer) = mpsc::sync_channel(1);
        let record = Record::new(leaf(at).to_bytes().unwrap());
        log.jobs.as_ref().unwrap().send(Job { record, reply }).unwrap();
        answer
    };
    let first = send(0);
    let (lock, changed) = &*story.disk.0;
    drop(changed.wait_while(lock.lock().unwrap(), |disk| !disk.at_gate).unwrap());
    let rest: Vec<_> = (1..=100).map(send).collect();
    assert!(first.try_recv().is_err() && rest.iter().all(|answer| answer.try_recv().is_err()));
    assert_eq!(log.len(), 0, "nothing is to be seen before it is durable");
    story.disk.with(|disk| disk.gate = false);
    changed.notify_all();
    assert_eq!(first.recv().unwrap().unwrap(), 0);
    for (index, answer) in (1..).zip(rest) {
        assert_eq!(answer.recv().unwrap().unwrap(), index);
    }
    assert_eq!(story.disk.with(|disk| disk.syncs), 2);
    story.check(&log);
}
