//! Whether a head gets a cosignature.
//!
//! INVARIANT: reading the kept head, comparing, replacing it and signing are one step: no two
//! requests are between them at the same time.

#[cfg(test)]
mod fault_tests;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use temoin_access_log::{
    AddCheckpoint, Checkpoint, WitnessPublicKey,
    checkpoint::CheckpointError,
    tree::{Hash, Tree},
    witness_request::RequestError,
};

use crate::store::{self, Folder, Heads, OsHeads, WitnessError};

/// Why a head was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is none.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The head is signed by the log's key, but is none.
    #[error("not a checkpoint: {0}")]
    Checkpoint(CheckpointError),
    /// The log was not added here.
    #[error("this witness does not know the log `{0}`")]
    UnknownLog(String),
    /// The head is not signed by the log's key.
    #[error("{0}")]
    Signature(CheckpointError),
    /// The proof begins behind the head.
    #[error("the old size {old} is above the checkpoint's size {new}")]
    OldAboveNew {
        /// As asked.
        old: u64,
        /// As signed.
        new: u64,
    },
    /// The proof does not begin at the head that this witness cosigned last.
    #[error("the checkpoint that was cosigned last is of size {size}")]
    Size {
        /// Where a proof must begin.
        size: u64,
    },
    /// As many entries as the head that was cosigned last, but others: the log has two histories.
    #[error(
        "the log has two histories: a checkpoint of size {size} with other entries was cosigned"
    )]
    Fork {
        /// The size of both.
        size: u64,
    },
    /// The log did not only grow, or the proof is no proof of it.
    #[error("it is not proven that the log only grew since size {old}")]
    Proof {
        /// Where the proof begins.
        old: u64,
    },
    /// The witness itself.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

/// A witness that is ready to judge.
pub struct Witness {
    folder: Folder,
    heads: Box<dyn Heads>,
    one_at_a_time: Mutex<()>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Witness {
    /// Opens a witness's folder and locks it.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn open(folder: &Path) -> Result<Self, WitnessError> {
        Self::with(folder, Box::new(OsHeads))
    }

    fn with(folder: &Path, heads: Box<dyn Heads>) -> Result<Self, WitnessError> {
        Ok(Self { folder: Folder::open(folder)?, heads, one_at_a_time: Mutex::default() })
    }

    /// The key that checks its cosignatures.
    pub const fn public_key(&self) -> &WitnessPublicKey {
        self.folder.key.public()
    }

    /// Judges the body of a request, and answers the line of a cosignature as of this time. Blocks
    /// for two syncs of the disk.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn add_checkpoint(&self, body: &[u8], unix_s: u64) -> Result<String, Refusal> {
        let request = AddCheckpoint::parse(body)?;
        let unknown = || Refusal::UnknownLog(request.origin().chars().take(200).collect());
        let (log, key) = self.folder.log(request.origin())?.ok_or_else(unknown)?;
        let new = Checkpoint::parse(request.checkpoint.as_bytes(), &key).map_err(|e| match e {
            CheckpointError::Signature { .. } => Refusal::Signature(e),
            CheckpointError::TooLong(_)
            | CheckpointError::Note(_)
            | CheckpointError::Text
            | CheckpointError::Origin(_) => Refusal::Checkpoint(e),
        })?;
        if request.old > new.size() {
            return Err(Refusal::OldAboveNew { old: request.old, new: new.size() });
        }

        // What a panic in between leaves is what a crash leaves.
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match self.heads.read(&log)? {
            Some(note) => Some(Checkpoint::parse(&note, &key).map_err(|source| {
                WitnessError::Damaged { path: store::head_path(&log), source }
            })?),
            None => None,
        };
        let (size, root) = match &kept {
            Some(kept) => (kept.size(), kept.root()),
            None => (0, empty_root()),
        };
        if request.old != size {
            return Err(Refusal::Size { size });
        }
        if new.size() == size && new.root() != root {
            tracing::error!(
                log = key.name(),
                size,
                "the log has two histories: two checkpoints of this size, both signed by its key"
            );
            store::keep_conflict(&log, new.note());
            return Err(Refusal::Fork { size });
        }
        if let Err(error) = request.check(root, &new) {
            tracing::warn!(
                log = key.name(), old = size, new = new.size(), %error,
                "refused: it is not proven that the log only grew"
            );
            return Err(Refusal::Proof { old: size });
        }
        self.heads.write_new(&log, new.note().as_bytes())?;
        self.heads.rename_new(&log)?;
        self.heads.sync_folder(&log)?;
        Ok(self.folder.key.cosign(&new, unix_s).map_err(WitnessError::Sign)?)
    }
}

fn empty_root() -> Hash {
    // The hash of nothing; the root of an empty tree cannot fail.
    Tree::default().root().unwrap_or(Hash([0; 32]))
}

#[cfg(test)]
pub(crate) mod tests {
    use temoin_access_log::{LogKey, cosignature::add_cosignatures, tree::leaf_hash};

    use super::*;

    type Expected = fn(&Refusal) -> bool;

    pub(crate) const LOG: &str = "fleet.example/access-log";

    /// A log whose entries are these texts, in one chunk.
    pub(crate) fn tree_of(entries: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for entry in entries {
            tree.push(leaf_hash(entry.as_bytes())).unwrap();
        }
        tree
    }

    pub(crate) fn request(key: &LogKey, old: u64, entries: &[&str]) -> Vec<u8> {
        let tree = tree_of(entries);
        let proof = if old > tree.size() {
            Vec::new()
        } else {
            tree.with(&[]).consistency_proof(old, tree.size()).unwrap()
        };
        let checkpoint = key.sign(tree.size(), tree.root().unwrap()).unwrap().note().to_owned();
        AddCheckpoint { old, proof, checkpoint }.to_text().into_bytes()
    }

    pub(crate) fn witness() -> (tempfile::TempDir, Witness, LogKey) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("witness");
        store::init(&folder, "council.example/w1").unwrap();
        let (key, _) = LogKey::generate(LOG).unwrap();
        store::add_log(&folder, key.public()).unwrap();
        let witness = Witness::open(&folder).unwrap();
        (dir, witness, key)
    }

    #[test]
    fn a_log_that_only_grows_is_cosigned() {
        let (dir, witness, key) = witness();
        let mut old = 0;
        for entries in [&["a"][..], &["a", "b", "c"], &["a", "b", "c"], &["a", "b", "c", "d", "e"]]
        {
            let body = request(&key, old, entries);
            let line = witness.add_checkpoint(&body, 1000 + old).unwrap();
            let head = AddCheckpoint::parse(&body).unwrap().checkpoint;
            let head = Checkpoint::parse(head.as_bytes(), key.public()).unwrap();
            let public = witness.public_key().clone();
            let cosigned = add_cosignatures(&head, &line, std::slice::from_ref(&public)).unwrap();
            assert_eq!(public.cosigned_at(&cosigned), Some(1000 + old));
            old = head.size();
        }
        // The same after it was started again.
        drop(witness);
        let witness = Witness::open(&dir.path().join("witness")).unwrap();
        let refused = witness.add_checkpoint(&request(&key, 0, &["a"]), 1).unwrap_err();
        assert!(matches!(refused, Refusal::Size { size: 5 }), "{refused}");
        witness.add_checkpoint(&request(&key, 5, &["a", "b", "c", "d", "e", "f"]), 1).unwrap();
    }

    /// What somebody who holds the log's key may try, and what anybody may send.
    #[test]
    fn what_is_refused_and_how() {
        let (dir, witness, key) = witness();
        let entries = ["a", "b", "c", "d"];
        witness.add_checkpoint(&request(&key, 0, &entries), 1).unwrap();
        let longer = ["a", "b", "c", "d", "e"];
        let other_key = LogKey::generate(LOG).unwrap().0;
        let other_log = LogKey::generate("other.example/log").unwrap().0;
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        let good = text(&request(&key, 4, &longer));
        let cases: [(&str, Vec<u8>, Expected); 12] = [
            ("nonsense", b"old x".to_vec(), |r| matches!(r, Refusal::Request(_))),
            ("another log", request(&other_log, 4, &longer), |r| {
                matches!(r, Refusal::UnknownLog(_))
            }),
            ("another key", request(&other_key, 4, &longer), |r| {
                matches!(r, Refusal::Signature(_))
            }),
            ("a changed size", good.replace("\n5\n", "\n6\n").into(), |r| {
                matches!(r, Refusal::Signature(_))
            }),
            ("no note", b"old 4\n\nfleet.example/access-log\n".to_vec(), |r| {
                matches!(r, Refusal::Checkpoint(_))
            }),
            ("rolled back", request(&key, 2, &entries[..2]), |r| {
                matches!(r, Refusal::Size { size: 4 })
            }),
            ("rolled back, old above", request(&key, 4, &entries[..2]), |r| {
                matches!(r, Refusal::OldAboveNew { old: 4, new: 2 })
            }),
            ("from the start", request(&key, 0, &longer), |r| {
                matches!(r, Refusal::Size { size: 4 })
            }),
            ("forked, as long", request(&key, 4, &["a", "b", "c", "X"]), |r| {
                matches!(r, Refusal::Fork { size: 4 })
            }),
            ("forked, longer", request(&key, 4, &["a", "b", "X", "d", "e"]), |r| {
                matches!(r, Refusal::Proof { old: 4 })
            }),
            ("reordered", request(&key, 4, &["b", "a", "c", "d", "e"]), |r| {
                matches!(r, Refusal::Proof { old: 4 })
            }),
            ("one dropped", request(&key, 4, &["a", "b", "d", "e", "f"]), |r| {
                matches!(r, Refusal::Proof { old: 4 })
            }),
        ];
        for (what, body, expected) in cases {
            let refused = witness.add_checkpoint(&body, 1).unwrap_err();
            assert!(expected(&refused), "{what}: {refused:?}");
        }
        // A proof with a hash less, more or changed.
        let proof = AddCheckpoint::parse(good.as_bytes()).unwrap();
        for at in 0..=proof.proof.len() {
            let mut wrong = vec![proof.clone(); 2];
            wrong[0].proof.insert(at, leaf_hash(b"x"));
            match wrong[1].proof.get_mut(at) {
                Some(hash) => hash.0[at] ^= 1,
                None => drop(wrong[1].proof.pop()),
            }
            for wrong in wrong {
                let refused = witness.add_checkpoint(wrong.to_text().as_bytes(), 1).unwrap_err();
                assert!(matches!(refused, Refusal::Proof { old: 4 }), "{refused:?}");
            }
        }
        // None of it changed anything, and the fork was kept as evidence.
        witness.add_checkpoint(good.as_bytes(), 1).unwrap();
        let logs = dir.path().join("witness/logs");
        let log = std::fs::read_dir(logs).unwrap().next().unwrap().unwrap().path();
        let conflict = std::fs::read(log.join("conflict")).unwrap();
        assert_eq!(Checkpoint::parse(&conflict, key.public()).unwrap().size(), 4);
    }

    #[test]
    fn the_folder_is_one_witness_and_its_key_is_its_own() {
        let (dir, witness, key) = witness();
        let folder = dir.path().join("witness");
        assert!(matches!(Witness::open(&folder), Err(WitnessError::Locked(_))));
        assert!(matches!(store::init(&folder, "x"), Err(WitnessError::Exists(_))));
        store::add_log(&folder, key.public()).unwrap();
        let other = LogKey::generate(LOG).unwrap().0;
        let refused = store::add_log(&folder, other.public());
        assert!(matches!(refused, Err(WitnessError::OtherKey(_))));
        assert!(store::add_log(dir.path(), key.public()).is_err(), "not a witness's folder");
        drop(witness);
        use std::os::unix::fs::PermissionsExt as _;
        let file = folder.join("key");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Witness::open(&folder), Err(WitnessError::KeyMode { .. })));
    }

    /// A witness that does not know any more what it signed signs nothing.
    #[test]
    fn a_damaged_head_stops_it() {
        let (dir, witness, key) = witness();
        witness.add_checkpoint(&request(&key, 0, &["a", "b"]), 1).unwrap();
        let logs = dir.path().join("witness/logs");
        let head = std::fs::read_dir(logs).unwrap().next().unwrap().unwrap().path();
        let head = head.join("checkpoint");
        let good = std::fs::read(&head).unwrap();
        for bad in [Vec::new(), good[..good.len() - 2].to_vec()] {
            std::fs::write(&head, bad).unwrap();
            for old in [0, 2] {
                let refused = witness.add_checkpoint(&request(&key, old, &["a", "b", "c"]), 1);
                let refused = refused.unwrap_err();
                let damaged = matches!(refused, Refusal::Witness(WitnessError::Damaged { .. }));
                assert!(damaged, "{refused}");
            }
        }
    }

    /// Many at once: each head that is cosigned extends all that were cosigned before.
    #[test]
    fn requests_at_the_same_time() {
        let (_dir, witness, key) = witness();
        const ALL: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
        const FORKS: [&str; 8] = ["a", "b", "X", "d", "e", "f", "g", "h"];
        let cosigned = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for at in 0..64_usize {
                let (witness, key, cosigned) = (&witness, &key, &cosigned);
                scope.spawn(move || {
                    let entries = if at % 2 == 0 { &ALL } else { &FORKS };
                    let (old, new) = (at / 2 % 8, 1 + at / 16 % 8);
                    let body = request(key, old as u64, &entries[..new.max(old)]);
                    if witness.add_checkpoint(&body, 1).is_ok() {
                        cosigned.lock().unwrap().push(&entries[..new.max(old)]);
                    }
                });
            }
        });
        let cosigned = cosigned.into_inner().unwrap();
        assert!(!cosigned.is_empty());
        for a in &cosigned {
            for b in &cosigned {
                assert!(a.iter().zip(*b).all(|(a, b)| a == b), "{a:?} and {b:?}");
            }
        }
    }
}
