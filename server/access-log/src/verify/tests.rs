//! The check of a log in its folder.

use super::*;
use crate::{
    leaf::Action,
    log::AccessLog,
    record::Record,
    tree::{Tree, leaf_hash as tree_leaf_hash},
};

#[test]
fn both_ways_to_the_root_agree() {
    let (mut tree, mut peaks) = (Tree::default(), Peaks::default());
    for i in 0_u32..600 {
        assert_eq!(peaks.root(), tree.root().unwrap().0, "{i}");
        tree.push(tree_leaf_hash(&i.to_be_bytes())).unwrap();
        peaks.push(leaf_hash(&i.to_be_bytes()));
    }
}

/// The same published roots that the tree of the log is tested with.
#[test]
fn published_roots() {
    use crate::tree::tests::{LEAVES, ROOTS};
    let mut peaks = Peaks::default();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(hex::encode(peaks.root()), *root, "{size}");
        if let Some(leaf) = LEAVES.get(size) {
            peaks.push(leaf_hash(&hex::decode(leaf).unwrap()));
        }
    }
    let node = "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb";
    assert_eq!(hex::encode(sha256(&[&[1], b"N123", b"N456"])), node);
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
    let found = |kept: &[Checkpoint]| verify_log(log.folder.path(), &log.key, kept).unwrap_err();
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
    drop(again);
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
