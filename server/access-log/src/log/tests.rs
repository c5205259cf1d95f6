//! The log on a real disk.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::{
    files::{CHECKPOINT, ENTRIES, KEY, NEW_CHECKPOINT},
    leaf::{PersonSalt, Purpose},
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
    let start = usize::try_from(log.shared.read().offsets[3]).unwrap();
    drop(log);
    let older = {
        let (key, _) = read_key(folder.path());
        let mut tree = Tree::default();
        for leaf in &leaves[..3] {
            tree.push(tree::leaf_hash(&leaf.to_bytes().unwrap())).unwrap();
        }
        key.sign(3, tree.root(3).unwrap()).unwrap()
    };
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
    assert!(matches!(log.recall(1), Err(LogError::Damaged { index: 1, .. })));
    let mut entries = log.entries(0).unwrap();
    assert!(entries.next().unwrap().is_err());
    assert!(entries.next().is_none(), "ends after the first error");
}
