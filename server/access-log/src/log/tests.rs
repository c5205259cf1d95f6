//! The log on a real disk.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::{
    files::CHUNKS,
    files::{CHECKPOINT, ENTRIES, KEY, NEW_CHECKPOINT},
    leaf::{Action, PersonSalt, Purpose},
    record::RecordReader,
    tree, verify,
};
use temoin_proto::ids::{UserId, ViewId};

const NAME: &str = "test/access-log";

fn view(at: i64) -> Leaf {
    let mut leaf = Leaf::new(at, Action::VIEW);
    leaf.clip = Some(ClipId::new());
    leaf.view = Some(ViewId::new());
    leaf.actor = Some(PersonSalt::from_bytes([1; 32]).tag(UserId::new()));
    leaf.purpose = Some(Purpose::TRIAGE);
    leaf
}

fn with_entries(count: i64) -> (tempfile::TempDir, Vec<Leaf>) {
    let folder = tempfile::tempdir().unwrap();
    let log = AccessLog::create(folder.path(), NAME).unwrap();
    let leaves: Vec<Leaf> = (0..count).map(view).collect();
    for leaf in &leaves {
        log.append(leaf.clone()).unwrap();
    }
    (folder, leaves)
}

/// A closed log of 600 entries: two whole chunks and a tail. `at` is the entry's number.
fn with_chunks() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = AccessLog::create(folder.path(), NAME).unwrap();
    for part in 0..3 {
        let indexes = log.append_all((part * 200..(part + 1) * 200).map(view).collect()).unwrap();
        let numbers: Vec<u64> = indexes.iter().map(LogIndex::get).collect();
        let first = u64::try_from(part).unwrap() * 200;
        assert_eq!(numbers, (first..first + 200).collect::<Vec<_>>());
        assert_eq!(indexes[7].leaf().at_unix_ms, part * 200 + 7);
    }
    assert!(log.append_all(Vec::new()).unwrap().is_empty());
    folder
}

fn stored_len(leaf: &Leaf) -> usize {
    usize::try_from(Record::new(leaf.to_bytes().unwrap()).stored_len()).unwrap()
}

/// Where the record of an entry begins.
fn place_of(entries: &[u8], index: u64) -> usize {
    let mut reader = RecordReader::new(entries).unwrap();
    let before: u64 = (0..index).map(|_| reader.next_record().unwrap().unwrap().stored_len()).sum();
    HEADER.len() + usize::try_from(before).unwrap()
}

fn leaves_of(log: &AccessLog) -> Vec<Leaf> {
    log.entries(0).unwrap().map(|entry| entry.unwrap().leaf).collect()
}

#[test]
fn entries_survive_and_can_be_proved() {
    let (folder, mut leaves) = with_entries(5);
    let log = AccessLog::open(folder.path()).unwrap();
    assert_eq!(leaves_of(&log), leaves);
    let old = log.checkpoint();
    leaves.push(view(5));
    let index = log.append(leaves[5].clone()).unwrap();
    assert_eq!((index.get(), log.len()), (5, 6));
    assert_eq!(leaves_of(&log), leaves);
    assert_eq!(log.entries(4).unwrap().count(), 2);
    assert_eq!(log.entries(6).unwrap().count() + log.entries(u64::MAX).unwrap().count(), 0);

    for (index, leaf) in (0..).zip(&leaves) {
        let proof = EntryProof::parse(&log.entry_proof(index).unwrap().to_text()).unwrap();
        assert_eq!(&proof.check(log.public_key()).unwrap().0, leaf);
    }
    let new = log.checkpoint();
    let path = log.consistency_proof(old.size(), new.size()).unwrap();
    tree::check_consistency(&path, old.size(), old.root(), new.size(), new.root()).unwrap();
    assert!(log.inclusion_proof(0, 7).is_err() && log.consistency_proof(0, 7).is_err());
    verify::verify_log(folder.path(), log.public_key(), &[old]).unwrap();
}

#[test]
fn an_index_opens_the_clip_of_its_entry_only() {
    let (folder, leaves) = with_entries(1);
    let log = AccessLog::open(folder.path()).unwrap();
    let clip = leaves[0].clip.unwrap();
    assert!(log.recall(0).unwrap().opens(clip));
    assert!(!log.recall(0).unwrap().opens(ClipId::new()));
    assert!(log.recall(1).is_err() && log.recall(u64::MAX).is_err());
    for (action, opens) in [
        (Action::VIEW, true),
        (Action::EXPORT, true),
        (Action::TRACE, true),
        (Action::VIEW_REFUSED, false),
        (Action::DELETE, false),
        (Action::SIGN_IN, false),
        ("views".parse().unwrap(), false),
    ] {
        let mut leaf = Leaf::new(0, action.clone());
        assert!(!log.append(leaf.clone()).unwrap().opens(clip), "{action} of no clip");
        leaf.clip = Some(clip);
        assert_eq!(log.append(leaf).unwrap().opens(clip), opens, "{action}");
    }
}

#[test]
fn one_writer_at_a_time() {
    let (folder, _) = with_entries(1);
    let log = AccessLog::open(folder.path()).unwrap();
    assert!(matches!(AccessLog::open(folder.path()), Err(LogError::Locked(_))));
    drop(log);
    AccessLog::open(folder.path()).unwrap();
}

#[test]
fn a_log_is_made_once_and_whole() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("access-log");
    // What a crash in the middle of making one leaves.
    fs::create_dir(outer.path().join(".access-log.new")).unwrap();
    fs::write(outer.path().join(".access-log.new/key"), "half").unwrap();
    assert!(matches!(AccessLog::open(&folder), Err(LogError::File(_))), "none is made by opening");
    drop(AccessLog::create(&folder, NAME).unwrap());
    assert!(matches!(AccessLog::create(&folder, NAME), Err(LogError::Exists(_))));
    assert!(matches!(AccessLog::create(&outer.path().join("b"), "a b"), Err(LogError::Key { .. })));
    assert_eq!(files::mode_of(&folder.join(KEY)).unwrap(), 0o600);
    assert_eq!(files::mode_of(&folder).unwrap(), 0o700);
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "nothing is left beside it");
    let file = outer.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(AccessLog::create(&file, NAME), Err(LogError::Exists(_))));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (folder, _) = with_entries(0);
    let key = folder.path().join(KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = AccessLog::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("mode 640"), "{error}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "nonsense").unwrap();
    assert!(matches!(AccessLog::open(folder.path()), Err(LogError::Key { .. })));
}

#[test]
fn concurrent_callers_each_get_their_own_index() {
    let (folder, _) = with_entries(0);
    let log = AccessLog::open(folder.path()).unwrap();
    let indexes = std::sync::Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..16_i64 {
            let (log, indexes) = (&log, &indexes);
            scope.spawn(move || {
                for n in 0..20 {
                    let index = log.append(view(thread * 100 + n)).unwrap();
                    assert_eq!(log.recall(index.get()).unwrap().leaf(), index.leaf());
                    assert!(indexes.lock().unwrap().insert(index.get()));
                }
            });
        }
    });
    assert_eq!(indexes.into_inner().unwrap(), (0..320).collect());
    drop(log);
    assert_eq!(AccessLog::open(folder.path()).unwrap().len(), 320);
}

/// The last record is cut at each of its bytes: under the head that is damage, beyond it the log
/// goes on without it.
#[test]
fn the_last_record_cut_at_every_byte() {
    let (folder, leaves) = with_entries(4);
    let path = |name| folder.path().join(name);
    let (entries, head) = (fs::read(path(ENTRIES)).unwrap(), fs::read(path(CHECKPOINT)).unwrap());
    let log = AccessLog::open(folder.path()).unwrap();
    let start = entries.len() - stored_len(&leaves[3]);
    let older = read_key(folder.path()).0.sign(3, log.root(3).unwrap()).unwrap();
    drop(log);
    for len in start..=entries.len() {
        // What the crash left may also be longer than what was written of it.
        let zeros = [0, 7, 500][len % 3];
        let whole = len == entries.len();
        let mut cut = entries[..len].to_vec();
        cut.resize(len + zeros, 0);

        fs::write(path(ENTRIES), &cut).unwrap();
        fs::write(path(CHECKPOINT), &head).unwrap();
        if !whole {
            let error = AccessLog::open(folder.path()).unwrap_err();
            assert!(matches!(error, LogError::Damaged { index: 3, .. }), "{len}: {error}");
            assert_eq!(fs::read(path(ENTRIES)).unwrap(), cut, "nothing is touched");
        }

        fs::write(path(CHECKPOINT), older.note()).unwrap();
        fs::write(path(NEW_CHECKPOINT), "left by the crash").unwrap();
        let log = AccessLog::open(folder.path()).unwrap();
        let kept = if whole { 4 } else { 3 };
        assert_eq!(leaves_of(&log), leaves[..kept], "{len}");
        let left = fs::metadata(path(ENTRIES)).unwrap().len();
        assert_eq!(left, (if whole { len } else { start }) as u64, "{len}: nothing is behind");
        let mut now = leaves[..kept].to_vec();
        now.push(view(9));
        log.append(now[kept].clone()).unwrap();
        drop(log);
        assert_eq!(leaves_of(&AccessLog::open(folder.path()).unwrap()), now, "{len}");
    }
}

fn read_key(folder: &Path) -> (LogKey, String) {
    let encoded = fs::read_to_string(folder.join(KEY)).unwrap();
    (LogKey::decode(encoded.trim_end()).unwrap(), encoded)
}

#[test]
fn damage_is_refused_with_its_place() {
    let (folder, _) = with_entries(4);
    let path = folder.path().join(ENTRIES);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        fs::write(&path, &bad).unwrap();
        let error = AccessLog::open(folder.path()).unwrap_err();
        assert!(matches!(error, LogError::Damaged { .. }), "{at}: {error}");
    }
    fs::write(&path, &good).unwrap();
    fs::write(folder.path().join(CHECKPOINT), "none").unwrap();
    assert!(matches!(AccessLog::open(folder.path()), Err(LogError::Checkpoint { .. })));
    fs::remove_file(folder.path().join(CHECKPOINT)).unwrap();
    assert!(matches!(AccessLog::open(folder.path()), Err(LogError::File(_))));
}

#[test]
fn an_entry_changed_under_an_open_log_is_not_shown() {
    let (folder, _) = with_entries(3);
    let log = AccessLog::open(folder.path()).unwrap();
    let path = folder.path().join(ENTRIES);
    let mut bytes = HEADER.to_vec();
    for at in 0..3 {
        Record::new(view(at).to_bytes().unwrap()).write_to(&mut bytes).unwrap();
    }
    fs::write(path, bytes).unwrap();
    for index in 0..3 {
        assert!(matches!(log.recall(index), Err(LogError::Damaged { index: 0, .. })), "{index}");
    }
    let mut entries = log.entries(0).unwrap();
    assert!(entries.next().unwrap().is_err());
    assert!(entries.next().is_none(), "ends after the first error");
}

#[test]
fn a_log_of_several_chunks_reads_and_proves_every_entry() {
    let folder = with_chunks();
    let log = AccessLog::open(folder.path()).unwrap();
    let all = leaves_of(&log);
    assert_eq!(all.len(), 600);
    for from in [0, 1, 255, 256, 257, 511, 512, 599, 600, 601] {
        let entries: Vec<Entry> = log.entries(from).unwrap().map(Result::unwrap).collect();
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.index).collect();
        assert_eq!(numbers, (from..600).collect::<Vec<_>>());
        assert!(entries.iter().all(|e| e.leaf == all[usize::try_from(e.index).unwrap()]));
    }
    let head = log.checkpoint();
    for index in [0, 1, 254, 255, 256, 300, 511, 512, 598, 599] {
        let leaf = tree::leaf_hash(&all[usize::try_from(index).unwrap()].to_bytes().unwrap());
        let proof = EntryProof::parse(&log.entry_proof(index).unwrap().to_text()).unwrap();
        proof.check(log.public_key()).unwrap();
        for size in [index + 1, 600] {
            let path = log.inclusion_proof(index, size).unwrap();
            let root = log.root(size).unwrap();
            tree::check_inclusion(&path, index, leaf, size, root).unwrap();
            let path = log.consistency_proof(size, 600).unwrap();
            tree::check_consistency(&path, size, root, 600, head.root()).unwrap();
        }
    }
    let mut at = Some(0);
    let mut checked = Vec::new();
    while let Some(entry) = at {
        checked.push(entry);
        at = log.check_chunk(entry).unwrap();
    }
    assert_eq!(checked, [0, 256, 512]);
    assert_eq!(log.check_chunk(600).unwrap(), None);
}

#[test]
fn damage_in_an_old_chunk_is_found_by_whoever_reads_it() {
    let folder = with_chunks();
    let path = folder.path().join(ENTRIES);
    let good = fs::read(&path).unwrap();
    let head = fs::read(folder.path().join(CHECKPOINT)).unwrap();
    for (index, at) in [(0, 0), (0, 36), (17, 4), (17, 50), (255, 0), (255, 60)] {
        let mut bad = good.clone();
        bad[place_of(&good, index) + at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let log = AccessLog::open(folder.path()).unwrap();
        let is_it = |e: LogError| matches!(e, LogError::Damaged { index: i, .. } if i == index);
        assert!(is_it(log.recall(index).unwrap_err()), "{index} {at}");
        assert!(is_it(log.recall(3).unwrap_err()), "nothing of its chunk is shown: {index} {at}");
        assert!(is_it(log.entry_proof(index).unwrap_err()), "{index} {at}");
        assert!(is_it(log.check_chunk(5).unwrap_err()), "{index} {at}");
        assert!(log.consistency_proof(100, 600).is_err());
        assert!(crate::tiles::export(&log, &folder.path().join("tiles")).is_err());
        for other in [256, 400, 599] {
            log.entry_proof(other).unwrap().check(log.public_key()).unwrap();
        }
        assert!(log.append(view(1)).is_ok());
        drop(log);
        let (key, _) = read_key(folder.path());
        let error = verify::verify_log(folder.path(), key.public(), &[]).unwrap_err();
        assert!(matches!(error, verify::VerifyError::Entry { index: i, .. } if i == index));
        fs::write(&path, &good).unwrap();
        fs::write(folder.path().join(CHECKPOINT), &head).unwrap();
    }
}

/// An entry and its hash are replaced, on a disk to which somebody has access.
#[test]
fn a_replaced_old_entry_is_not_shown() {
    let folder = with_chunks();
    let path = folder.path().join(ENTRIES);
    let good = fs::read(&path).unwrap();
    let log = AccessLog::open(folder.path()).unwrap();
    let mut leaf = log.recall(300).unwrap().leaf().clone();
    leaf.clip = Some(ClipId::new());
    let mut stored = Vec::new();
    Record::new(leaf.to_bytes().unwrap()).write_to(&mut stored).unwrap();
    let at = place_of(&good, 300);
    let mut bad = good.clone();
    bad[at..at + stored.len()].copy_from_slice(&stored);
    fs::write(&path, &bad).unwrap();
    for _ in 0..2 {
        let error = log.recall(300).unwrap_err();
        assert!(matches!(error, LogError::Replaced { first: 256, last: 511, .. }), "{error}");
    }
    drop(log);
    // The last whole chunk is read again when the log is opened.
    assert!(matches!(AccessLog::open(folder.path()), Err(LogError::Root { size: 600, .. })));
}

#[test]
fn damage_at_the_end_is_found_by_opening() {
    let folder = with_chunks();
    let path = folder.path().join(ENTRIES);
    let good = fs::read(&path).unwrap();
    for index in [256, 300, 511, 512, 599] {
        let mut bad = good.clone();
        bad[place_of(&good, index) + 50] ^= 1;
        fs::write(&path, &bad).unwrap();
        let error = AccessLog::open(folder.path()).unwrap_err();
        assert!(matches!(error, LogError::Damaged { index: i, .. } if i == index), "{error}");
    }
    for missing_from in [0, 1, 256, 400, 512, 599] {
        fs::write(&path, &good[..place_of(&good, missing_from)]).unwrap();
        let error = AccessLog::open(folder.path()).unwrap_err();
        let is_it = matches!(error, LogError::Damaged { index, .. } if index == missing_from);
        assert!(is_it, "{missing_from}: {error}");
    }
    for at in 0..HEADER.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(AccessLog::open(folder.path()).is_err(), "{at}");
    }
}

/// The log of an earlier version has no such file.
#[test]
fn a_missing_chunks_file_is_made() {
    let folder = with_chunks();
    let path = folder.path().join(CHUNKS);
    let good = fs::read(&path).unwrap();
    assert_eq!(good.len(), 96);
    fs::remove_file(&path).unwrap();
    let log = AccessLog::open(folder.path()).unwrap();
    assert_eq!((log.len(), fs::read(&path).unwrap()), (600, good));
    // It goes on growing where it was.
    log.append_all((0..200).map(view).collect()).unwrap();
    drop(log);
    assert_eq!(fs::read(&path).unwrap().len(), 144);
    assert_eq!(leaves_of(&AccessLog::open(folder.path()).unwrap()).len(), 800);
}

/// A head that is only in memory is as good as a published one.
#[test]
fn the_published_head_comes_later() {
    let (folder, _) = with_entries(0);
    let files = Box::new(OsFiles::open(folder.path()).unwrap());
    let an_hour = Duration::from_secs(3600);
    let log = AccessLog::start(files, read_key(folder.path()).0, an_hour).unwrap();
    log.append(view(0)).unwrap();
    let (shown, key) = (log.checkpoint(), log.public_key().clone());
    let published = || {
        let note = fs::read(folder.path().join(CHECKPOINT)).unwrap();
        Checkpoint::parse(&note, &key).unwrap()
    };
    assert_eq!((shown.size(), published().size()), (1, 0));
    drop(log);
    assert_eq!(published(), shown, "closing publishes");
}

/// What is moved away or replaced under an open log: nothing is acknowledged into the void.
#[test]
fn an_entry_in_a_file_that_is_not_the_logs_any_more_is_not_acknowledged() {
    for replaced in [false, true] {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("log");
        let log = AccessLog::create(&folder, NAME).unwrap();
        log.append(view(0)).unwrap();
        let moved = outer.path().join("moved");
        fs::rename(&folder, &moved).unwrap();
        if replaced {
            fs::create_dir(&folder).unwrap();
            fs::copy(moved.join(ENTRIES), folder.join(ENTRIES)).unwrap();
        }
        assert!(matches!(log.append(view(1)), Err(LogError::Poisoned(_))), "{replaced}");
        assert_eq!(log.len(), 1);
        drop(log);
        // The one that was refused may be there: an access that did not happen.
        let log = AccessLog::open(&moved).unwrap();
        assert_eq!(leaves_of(&log).len(), 2);
    }
}
