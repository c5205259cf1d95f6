//! The witness is killed at each step, or the disk fails there, 'and not persisted' and 'but
//! persisted', and the power keeps or loses what was not synced. Then somebody who holds the log's key
//! asks for a signature under another history.
//!
//! What must hold each time: no two heads of different histories were ever cosigned, and an honest log
//! gets its signature once the disk works.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use temoin_access_log::{LogKey, files::FileError};

use super::{tests::*, *};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Write,
    Rename,
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    NotPersisted,
    Half,
    Persisted,
}

/// What is on the disk after a power cut: what is sure, and what may or may not be there.
#[derive(Clone, Debug, Default)]
struct State {
    /// What a reader finds now.
    seen: Option<Vec<u8>>,
    /// What a power cut cannot take away.
    sure: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
    fault: Option<(Step, Kind)>,
}

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn step(&self, step: Step, does: impl FnOnce(&mut State, bool)) -> Result<(), WitnessError> {
        let mut state = self.0.lock().unwrap();
        let kind = state.fault.take_if(|(at, _)| *at == step).map(|(_, kind)| kind);
        match kind {
            None => does(&mut state, false),
            Some(Kind::Persisted) => does(&mut state, false),
            Some(Kind::Half) => does(&mut state, true),
            Some(Kind::NotPersisted) => {}
        }
        match kind {
            None => Ok(()),
            Some(_) => {
                let disk = io::Error::other("the disk");
                Err(FileError::new("write", PathBuf::new(), disk).into())
            }
        }
    }

    /// The power goes; what was not synced is there afterwards, or it is not.
    fn cut_power(&self, keeps: bool) {
        let mut state = self.0.lock().unwrap();
        if !keeps {
            state.seen = state.sure.clone();
            state.new = None;
        }
        state.sure = state.seen.clone();
    }
}

impl Heads for Disk {
    fn read(&self, _: &Path) -> Result<Option<Vec<u8>>, WitnessError> {
        Ok(self.0.lock().unwrap().seen.clone())
    }

    fn write_new(&self, _: &Path, note: &[u8]) -> Result<(), WitnessError> {
        self.step(Step::Write, |state, half| {
            state.new = Some(note[..if half { note.len() / 2 } else { note.len() }].to_vec());
        })
    }

    fn rename_new(&self, _: &Path) -> Result<(), WitnessError> {
        // A renaming is done or not.
        self.step(Step::Rename, |state, half| {
            if !half {
                state.seen = state.new.take();
            }
        })
    }

    fn sync_folder(&self, _: &Path) -> Result<(), WitnessError> {
        self.step(Step::Sync, |state, half| {
            if !half {
                state.sure = state.seen.clone();
            }
        })
    }
}

type Entries = &'static [&'static str];

/// Asks for a signature with every old size that could be right.
fn ask(witness: &Witness, key: &LogKey, entries: Entries, signed: &mut Vec<Entries>) -> bool {
    (0..=entries.len() as u64).any(|old| {
        let good = witness.add_checkpoint(&request(key, old, entries), 1).is_ok();
        if good {
            signed.push(entries);
        }
        good
    })
}

#[test]
fn no_crash_makes_it_sign_two_histories() {
    const BASE: Entries = &["a", "b"];
    const NEXT: Entries = &["a", "b", "c"];
    const LAST: Entries = &["a", "b", "c", "d"];
    const FORKS: [Entries; 3] = [&["a", "b", "X"], &["a", "b", "X", "d"], &["a", "X", "c", "d"]];
    let mut stories = 0;
    for step in [Step::Write, Step::Rename, Step::Sync] {
        for kind in [Kind::NotPersisted, Kind::Half, Kind::Persisted] {
            // No cut at all: the program goes on behind the failure.
            for cut in [None, Some(true), Some(false)] {
                for fork_first in [true, false] {
                    let story = format!("{step:?} {kind:?} {cut:?} {fork_first}");
                    let dir = tempfile::tempdir().unwrap();
                    let folder = dir.path().join("w");
                    store::init(&folder, "council.example/w1").unwrap();
                    let key = LogKey::generate(LOG).unwrap().0;
                    store::add_log(&folder, key.public()).unwrap();
                    let disk = Disk::default();
                    let open = || Witness::with(&folder, Box::new(disk.clone())).unwrap();
                    let mut signed = Vec::new();
                    let mut witness = open();
                    assert!(ask(&witness, &key, BASE, &mut signed));
                    disk.0.lock().unwrap().fault = Some((step, kind));
                    let body = request(&key, 2, NEXT);
                    assert!(witness.add_checkpoint(&body, 1).is_err(), "{story}: the disk failed");
                    if let Some(keeps) = cut {
                        drop(witness);
                        disk.cut_power(keeps);
                        witness = open();
                    }
                    let honest = |signed: &mut Vec<Entries>| {
                        ask(&witness, &key, NEXT, signed) && ask(&witness, &key, LAST, signed)
                    };
                    let went_on = if fork_first { false } else { honest(&mut signed) };
                    for fork in FORKS {
                        ask(&witness, &key, fork, &mut signed);
                    }
                    let went_on = went_on || honest(&mut signed);
                    for a in &signed {
                        for b in &signed {
                            let same = a.iter().zip(*b).all(|(a, b)| a == b);
                            assert!(same, "{story}: both {a:?} and {b:?} are cosigned");
                        }
                    }
                    // A fork that came first, where nothing was kept, is a history like another.
                    assert!(went_on || signed.len() > 1, "{story}: {signed:?}");
                    stories += 1;
                }
            }
        }
    }
    assert_eq!(stories, 3 * 3 * 3 * 2);
}

/// The same steps on the real disk: what each leaves, opened again.
#[test]
fn what_a_kill_leaves_on_the_real_disk() {
    for step in [Step::Write, Step::Rename] {
        let (dir, witness, key) = witness();
        witness.add_checkpoint(&request(&key, 0, &["a", "b"]), 1).unwrap();
        let logs = dir.path().join("witness/logs");
        let log = std::fs::read_dir(logs).unwrap().next().unwrap().unwrap().path();
        let tree = tree_of(&["a", "b", "c"]);
        let note = key.sign(3, tree.root().unwrap()).unwrap().note().to_owned();
        OsHeads.write_new(&log, note.as_bytes()).unwrap();
        if step == Step::Rename {
            OsHeads.rename_new(&log).unwrap();
        }
        drop(witness);
        let witness = Witness::open(&dir.path().join("witness")).unwrap();
        let fork = witness.add_checkpoint(&request(&key, 3, &["a", "b", "X"]), 1).unwrap_err();
        let old = if step == Step::Rename { 3 } else { 2 };
        let size = format!("size {old}");
        let refused = matches!(fork, Refusal::Fork { .. } | Refusal::Size { .. });
        assert!(refused && fork.to_string().contains(&size), "{fork}");
        witness.add_checkpoint(&request(&key, old, &["a", "b", "c"]), 1).unwrap();
        witness.add_checkpoint(&request(&key, 3, &["a", "b", "c", "d"]), 1).unwrap();
    }
}
