//! What somebody who holds the server, its disk and the log's key may do to a log, and that
//! `temoin-verify`, the program, finds each: any byte of the published log changed, entries dropped,
//! reordered, put back, and two people shown two histories.
#![expect(clippy::unwrap_used, reason = "what cannot be set up is a failure")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use temoin_access_log::{AccessLog, Action, Leaf, tiles};

struct Published {
    folder: tempfile::TempDir,
    key: String,
}

fn leaf(at: i64) -> Leaf {
    Leaf::new(1_790_000_000_000 + at, Action::VIEW)
}

impl Published {
    /// A log of these entries, published.
    fn of(entries: impl IntoIterator<Item = i64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::create(&folder.path().join("log"), "fleet.example/log").unwrap();
        log.append_all(entries.into_iter().map(leaf).collect()).unwrap();
        let key = log.public_key().to_string();
        tiles::export(&log, &folder.path().join("public")).unwrap();
        Self { folder, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same key, with another history: what only the operator can do.
    fn forked(&self, entries: impl IntoIterator<Item = i64>) -> PathBuf {
        let (log, fork) = (self.path("log"), self.path("fork"));
        drop(fs::remove_dir_all(&fork));
        drop(fs::remove_dir_all(self.path("fork-public")));
        drop(AccessLog::create(&fork, "fleet.example/log").unwrap());
        for name in ["key", "public-key"] {
            fs::copy(log.join(name), fork.join(name)).unwrap();
        }
        let key = fs::read_to_string(fork.join("key")).unwrap();
        let key = temoin_access_log::LogKey::decode(key.trim_end()).unwrap();
        let empty = temoin_access_log::tree::Tree::default().root().unwrap();
        fs::write(fork.join("checkpoint"), key.sign(0, empty).unwrap().note()).unwrap();
        let log = AccessLog::open(&fork).unwrap();
        log.append_all(entries.into_iter().map(leaf).collect()).unwrap();
        tiles::export(&log, &self.path("fork-public")).unwrap();
        self.path("fork-public")
    }

    fn verify(&self, arguments: &[&Path]) -> (Option<i32>, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_temoin-verify"))
            .args(arguments)
            .args(["--key", &self.key])
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8(said).unwrap())
    }
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for inside in fs::read_dir(folder).unwrap() {
        let path = inside.unwrap().path();
        if path.is_dir() {
            found.extend(files_of(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_good_log_is_good() {
    let log = Published::of(0..300);
    let kept = log.path("kept");
    let (code, said) = log.verify(&[&log.path("public"), Path::new("--save"), &kept]);
    assert!(code == Some(0) && said.contains("size 300"), "{said}");
    let (code, said) = log.verify(&[&log.path("public"), Path::new("--since"), &kept]);
    assert!(code == Some(0) && said.contains("only grew"), "{said}");
    // What is not there was not checked, or is gone: never good.
    let (code, _) = log.verify(&[&log.path("nowhere")]);
    assert_eq!(code, Some(1));
    let (code, said) = log.verify(&[Path::new("http://127.0.0.1:9/log")]);
    assert!(code == Some(2) && said.contains("127.0.0.1:9"), "{said}");
}

/// In every file, at its ends and in between; each dropped, each cut.
#[test]
fn a_changed_byte_anywhere_is_found() {
    let log = Published::of(0..300);
    for path in files_of(&log.path("public")) {
        let good = fs::read(&path).unwrap();
        let last = good.len() - 1;
        for at in [0, 1, last / 3, last / 2, last - 1, last] {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, bad).unwrap();
            let (code, said) = log.verify(&[&log.path("public")]);
            assert!(code == Some(1) && said.contains("WRONG"), "{} {at}: {said}", path.display());
        }
        fs::write(&path, &good[..last]).unwrap();
        assert_eq!(log.verify(&[&log.path("public")]).0, Some(1), "{} cut", path.display());
        fs::remove_file(&path).unwrap();
        assert_eq!(log.verify(&[&log.path("public")]).0, Some(1), "{} gone", path.display());
        fs::write(&path, good).unwrap();
    }
    assert_eq!(log.verify(&[&log.path("public")]).0, Some(0));
}

/// Two histories with the same key, each good by itself: dropped, reordered, replaced, put back.
#[test]
fn another_history_is_found_by_who_kept_a_head() {
    let log = Published::of(0..20);
    let mine = log.path("public").join("checkpoint");
    let without = (0..20).filter(|at| *at != 7);
    let swapped = (0..20).map(|at| {
        if at == 3 {
            4
        } else if at == 4 {
            3
        } else {
            at
        }
    });
    let replaced = (0..20).map(|at| if at == 19 { 99 } else { at });
    let cases: [(&str, Vec<i64>, &str); 6] = [
        ("an entry dropped", without.clone().collect(), "cut"),
        ("an entry dropped, and gone on", without.chain(20..25).collect(), "two histories"),
        ("two entries swapped", swapped.collect(), "two histories"),
        ("an entry replaced", replaced.collect(), "two histories"),
        ("put back", (0..12).collect(), "cut"),
        ("begun anew", (100..140).collect(), "two histories"),
    ];
    for (what, entries, word) in cases {
        let other = log.forked(entries);
        assert_eq!(log.verify(&[&other]).0, Some(0), "{what}: good by itself");
        let (code, said) = log.verify(&[&other, Path::new("--since"), &mine]);
        assert!(code == Some(1) && said.contains(word), "{what}: {said}");
        // Two people with two heads, one of whom reads the log.
        let theirs = other.join("checkpoint");
        let consistency = Path::new("consistency");
        let (code, said) = log.verify(&[consistency, &mine, &theirs, Path::new("--log"), &other]);
        assert_eq!(code, Some(1), "{what}: {said}");
    }
    let grown = log.forked(0..30);
    assert_eq!(log.verify(&[&grown, Path::new("--since"), &mine]).0, Some(0));
}

#[test]
fn two_people_with_two_heads_need_no_server() {
    let log = Published::of(0..20);
    let other = log.forked((0..19).chain([99]));
    let heads = [log.path("public").join("checkpoint"), other.join("checkpoint")];
    let (code, said) = log.verify(&[Path::new("consistency"), &heads[0], &heads[1]]);
    assert!(code == Some(1) && said.contains("two histories"), "{said}");
    let (code, said) = log.verify(&[Path::new("consistency"), &heads[0], &heads[0]]);
    assert!(code == Some(0) && said.contains("same 20"), "{said}");
}

#[test]
fn the_proof_of_an_entry() {
    let log = Published::of(0..20);
    let open = AccessLog::open(&log.path("log")).unwrap();
    let text = open.entry_proof(7).unwrap().to_text();
    let file = log.path("proof");
    fs::write(&file, &text).unwrap();
    let inclusion = Path::new("inclusion");
    let (code, said) = log.verify(&[inclusion, &file]);
    assert!(code == Some(0) && said.contains("entry 7 is in the log of 20"), "{said}");
    for at in (0..text.len()).step_by(37) {
        let mut bad = text.clone().into_bytes();
        bad[at] ^= 1;
        fs::write(&file, bad).unwrap();
        assert_eq!(log.verify(&[inclusion, &file]).0, Some(1), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bit_of_any_file(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        use std::sync::LazyLock;
        static LOG: LazyLock<Published> = LazyLock::new(|| Published::of(0..300));
        let key = LOG.key.parse().unwrap();
        let files = files_of(&LOG.path("public"));
        let path = &files[file.index(files.len())];
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        bad[at.index(good.len())] ^= 1 << bit;
        fs::write(path, bad).unwrap();
        let found = temoin_access_log::verify::verify_tiles(&LOG.path("public"), &key, &[]);
        fs::write(path, good).unwrap();
        prop_assert!(found.is_err(), "{}", path.display());
    }
}
