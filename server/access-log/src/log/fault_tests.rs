//! The log on a disk that fails: each operation in turn fails 'and not persisted', 'half' and 'but
//! persisted', the power goes with some or none of what was not synced, the log is opened again,
//! and the disk fails once more while it recovers.
//!
//! What must hold each time: no acknowledged entry is lost or changed, no head that anybody could
//! have seen is contradicted, and nothing is acknowledged between the failure and the reopening.
//!
//! All of it with the head published before each answer, and with the head published only when the
//! log is closed; from an empty log, and where the entry whose commit fails makes a chunk whole.

use std::ops::Range;

use super::{
    sim_disk::{Disk, Fault, Keep, SimDisk},
    *,
};
use crate::{chunks, leaf::Action, tree::WholeTree, tree::leaf_hash};

/// The head is published before each answer.
const AT_ONCE: Duration = Duration::ZERO;
/// The head is published when the log is closed.
const AT_THE_END: Duration = Duration::from_secs(3600);

fn leaf(at: usize) -> Leaf {
    Leaf::new(i64::try_from(at).unwrap(), Action::VIEW)
}

struct Story {
    disk: SimDisk,
    encoded: String,
    name: String,
    publish_after: Duration,
    acknowledged: Vec<(u64, Leaf)>,
    /// All that the log ever showed.
    heads: Vec<Checkpoint>,
    appended: usize,
}

impl Story {
    fn new(name: String, base: usize, publish_after: Duration) -> Self {
        let (key, encoded) = LogKey::generate("test/log").unwrap();
        let leaves: Vec<Leaf> = (0..base).map(leaf).collect();
        Self {
            disk: SimDisk::new(&key, &leaves),
            encoded,
            name: format!("{name}, {base} entries, published after {publish_after:?}"),
            publish_after,
            acknowledged: (0..).zip(leaves).collect(),
            heads: Vec::new(),
            appended: base,
        }
    }

    fn open(&mut self) -> Result<AccessLog, LogError> {
        let key = LogKey::decode(&self.encoded).unwrap();
        let log = AccessLog::start(Box::new(self.disk.clone()), key, self.publish_after)?;
        self.heads.push(log.checkpoint());
        Ok(log)
    }

    /// Closes the log; with the head published at the end, as a process does that is killed.
    fn close_unpublished(&self, log: AccessLog) {
        if self.publish_after == AT_THE_END {
            self.disk.fail_after(0, Fault::NotPersisted);
        }
        drop(log);
        self.disk.with(|disk| disk.fail = None);
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
                    self.heads.push(log.checkpoint());
                }
                Err(LogError::Poisoned(_)) => failed = true,
                Err(e) => panic!("{}: {e}", self.name),
            }
        }
        assert_eq!(failed, log.poisoned().is_some(), "{}", self.name);
        failed
    }

    /// Takes the power away, and checks that the head on the disk signs all that was acknowledged,
    /// where it must.
    fn power_cut(&self, keep: Keep, keep_rename: bool) {
        self.disk.power_cut(keep, keep_rename);
        let head = self.disk.checkpoint().unwrap();
        let key = LogKey::decode(&self.encoded).unwrap();
        let signed = Checkpoint::parse(&head, key.public()).unwrap().size();
        if self.publish_after != AT_ONCE {
            return;
        }
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
        let tree = WholeTree::of(all.iter().map(|leaf| leaf_hash(&leaf.to_bytes().unwrap())));
        let on_disk = self.disk.with(|disk| disk.seen_heads.clone());
        let on_disk = on_disk.iter().map(|head| {
            Checkpoint::parse(head, log.public_key())
                .unwrap_or_else(|e| panic!("{name}: a broken head was to be seen: {e}"))
        });
        for head in on_disk {
            if log.poisoned().is_some() && head.size() > log.len() {
                // On the disk already, though the log does not know: opening it anew must.
                continue;
            }
            self.agrees(&tree, &head);
        }
        for head in &self.heads {
            self.agrees(&tree, head);
        }
    }

    fn agrees(&self, tree: &WholeTree, head: &Checkpoint) {
        let root = tree.root(head.size()).ok();
        assert_eq!(root, Some(head.root()), "{}: fork at {}", self.name, head.size());
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

const MODES: [Duration; 2] = [AT_ONCE, AT_THE_END];

/// A commit has two operations: write, sync. A publishing has three: new head, rename, sync of the
/// folder; and before them the writing of a chunk, where the second of these entries made one whole.
#[test]
fn every_write_failing_in_every_way() {
    for (publish_after, base) in MODES.into_iter().flat_map(|mode| [(mode, 0), (mode, 252)]) {
        for turn in 0..11 {
            for fault in FAULTS {
                for cut in CUTS {
                    let name = format!("{turn} {fault:?} {cut:?}");
                    one_failing(&mut Story::new(name, base, publish_after), turn, fault, cut);
                }
            }
        }
    }
}

fn one_failing(story: &mut Story, turn: usize, fault: Fault, cut: (Option<Keep>, bool)) {
    let log = story.open().unwrap();
    assert!(!story.append(&log, 2));
    story.disk.fail_after(turn, fault);
    let in_commit = story.append(&log, 3);
    assert_eq!(in_commit, story.publish_after == AT_ONCE || turn < 6, "{}", story.name);
    story.check(&log);
    drop(log);
    story.crash(cut);

    let log = story.open().unwrap_or_else(|e| panic!("{}: {e}", story.name));
    story.check(&log);
    assert!(!story.append(&log, 2));
    story.check(&log);
    story.close_unpublished(log);
    // Nothing that the log showed may hang on what was not synced.
    story.power_cut(Keep::Nothing, false);
    let log = story.open().unwrap_or_else(|e| panic!("{}: {e}", story.name));
    story.check(&log);
}

/// The power goes while entries wait to be synced, and the disk fails again in the recovery.
#[test]
fn recovery_failing_in_every_way() {
    for publish_after in MODES {
        let turns = if publish_after == AT_ONCE { 0..5 } else { 0..2 };
        recovery_failing(0, publish_after, turns, &CUTS);
    }
}

/// The same where the entry makes a chunk whole; from the sync on, which is where it differs.
#[test]
fn recovery_of_a_chunk_failing_in_every_way() {
    recovery_failing(254, AT_ONCE, 1..4, &SECOND_CUTS);
    recovery_failing(254, AT_THE_END, 1..2, &SECOND_CUTS);
}

fn recovery_failing(
    base: usize,
    publish_after: Duration,
    turns: Range<usize>,
    cuts: &[(Option<Keep>, bool)],
) {
    for turn in turns {
        for cut in cuts {
            for (again, fault) in (0..9).flat_map(|again| FAULTS.map(|fault| (again, fault))) {
                for second_cut in SECOND_CUTS {
                    let name = format!("{turn} {cut:?}, then {again} {fault:?} {second_cut:?}");
                    let mut story = Story::new(name, base, publish_after);
                    let log = story.open().unwrap();
                    story.append(&log, 1);
                    story.disk.fail_after(turn, Fault::Half);
                    story.append(&log, 1);
                    drop(log);
                    story.crash(*cut);

                    story.disk.fail_after(again, fault);
                    if let Ok(log) = story.open() {
                        story.append(&log, 1);
                        story.check(&log);
                    }
                    story.crash(second_cut);
                    let log = story.open().unwrap_or_else(|e| panic!("{}: {e}", story.name));
                    story.check(&log);
                    assert!(!story.append(&log, 1));
                    story.close_unpublished(log);
                    story.power_cut(Keep::Nothing, false);
                    let log = story.open().unwrap_or_else(|e| panic!("{}: {e}", story.name));
                    story.check(&log);
                }
            }
        }
    }
}

/// Entries are acknowledged, heads over them are shown, and the head on disk knows nothing of it.
#[test]
fn what_was_acknowledged_survives_before_its_head_is_published() {
    for cut in CUTS {
        for base in [0, 253] {
            let mut story = Story::new(format!("{cut:?}"), base, AT_THE_END);
            let log = story.open().unwrap();
            assert!(!story.append(&log, 3));
            // One more, which is cut off.
            story.disk.fail_after(1, Fault::Half);
            assert!(story.append(&log, 1));
            drop(log);
            let published = story.disk.with(|disk| disk.seen_heads.len());
            assert_eq!(published, 1, "{}", story.name);
            story.crash(cut);
            let log = story.open().unwrap();
            assert!(log.len() >= base as u64 + 3);
            story.check(&log);
        }
    }
}

/// The head is published when its time has come, whether or not another entry comes.
#[test]
fn a_head_is_published_in_time() {
    let mut story = Story::new("in time".to_owned(), 0, Duration::from_millis(1));
    let log = story.open().unwrap();
    story.append(&log, 1);
    let key = log.public_key().clone();
    let (lock, changed) = &*story.disk.0;
    let published =
        |disk: &mut Disk| Checkpoint::parse(disk.checkpoints.last().unwrap(), &key).unwrap().size();
    let limit = Duration::from_secs(20);
    let (_disk, waited) = changed
        .wait_timeout_while(lock.lock().unwrap(), limit, |disk| published(disk) < 1)
        .unwrap();
    assert!(!waited.timed_out());
}

/// The chunks file is lost, cut, zeroed or belongs to another history: nothing hangs on it.
#[test]
fn chunks_that_cannot_be_believed_are_made_again() {
    let base = 3 * 256 + 10;
    let mut story = Story::new("chunks".to_owned(), base, AT_ONCE);
    let log = story.open().unwrap();
    story.append(&log, 1);
    drop(log);
    let good = story.disk.with(|disk| disk.chunks.seen.clone());
    assert_eq!(chunks::read(&good).len(), 3);
    let mut forged = Vec::new();
    for (index, mut chunk) in (0..).zip(chunks::read(&good)) {
        chunk.root.0[0] ^= u8::from(index == 1);
        chunk.write_to(index, &mut forged);
    }
    let mut moved = Vec::new();
    for (index, mut chunk) in (0..).zip(chunks::read(&good)) {
        chunk.end += u64::from(index == 1);
        chunk.write_to(index, &mut moved);
    }
    for (name, bad) in [
        ("none", Vec::new()),
        ("one", good[..48].to_vec()),
        ("torn", good[..100].to_vec()),
        ("zeros", vec![0; 144]),
        ("zeros behind", [&good[..48], &[0; 96]].concat()),
        ("longer", [&good[..], &good[..48]].concat()),
        ("another root", forged),
        ("another place", moved),
    ] {
        story.disk.with(|disk| disk.chunks.seen = bad);
        let log = story.open().unwrap_or_else(|e| panic!("{name}: {e}"));
        story.check(&log);
        drop(log);
        let now = story.disk.with(|disk| disk.chunks.seen.clone());
        assert_eq!(now[..144], good, "{name}");
    }
}

/// After a failed sync the system shows pages that are not on the disk and calls them clean. Only
/// writing them again brings them there.
#[test]
fn entries_kept_after_a_failed_sync_are_written_again() {
    let mut story = Story::new("failed sync".to_owned(), 0, AT_ONCE);
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
    let mut story = Story::new("renamed, not synced".to_owned(), 0, AT_ONCE);
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
    let log = story.open().unwrap();
    story.check(&log);
}

/// All that wait while the disk syncs go into the next commit together.
#[test]
fn callers_that_wait_share_a_sync() {
    let mut story = Story::new("group commit".to_owned(), 0, AT_ONCE);
    let log = story.open().unwrap();
    story.disk.with(|disk| disk.gate = true);
    let send = |at: usize| {
        let (reply, answer) = mpsc::sync_channel(1);
        let record = Record::new(leaf(at).to_bytes().unwrap());
        log.jobs.as_ref().unwrap().send(writer::Job { records: vec![record], reply }).unwrap();
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
