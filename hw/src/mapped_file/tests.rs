use std::{
    env, fs,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

/// The smallest page of a kernel that units run; larger ones are multiples of it.
const PAGE: usize = 4096;
const CHILD: &str = "TEMOIN_MAPPED_FILE_CHILD";

/// No two pages alike, and no zeros.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * 7 + n / PAGE * 13) % 251).unwrap() + 1).collect()
}

fn file_of(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Both ways of reading one file.
fn both(path: &Path) -> [MappedFile; 2] {
    let both = [MappedFile::open(path).unwrap(), MappedFile::unmapped(path).unwrap()];
    assert!(!both[1].is_mapped());
    both
}

fn read(file: &MappedFile, offset: usize, len: usize) -> Result<Vec<u8>, MappedError> {
    let mut to = vec![0; len];
    file.read_at(offset as u64, &mut to).map(|()| to)
}

/// Runs the test of this name again as a process of its own, which a signal may end.
fn survives(name: &str, body: fn()) {
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let name = format!("mapped_file::tests::{name}");
    let out = Command::new(env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.signal(), None, "ended by a signal: {said}");
    assert!(out.status.success(), "{said}");
    assert!(said.contains("1 passed"), "not run: {said}");
}

#[test]
fn what_is_read_is_what_is_in_the_file_around_every_page_edge() {
    let want = bytes(3 * PAGE + 5);
    let (_folder, path) = file_of(&want);
    let files = both(&path);
    assert!(files[0].is_mapped(), "this machine lets no process copy out of its own maps");
    assert_eq!(files[0].length(), want.len() as u64);
    for edge in [0, PAGE, 2 * PAGE, 3 * PAGE, want.len()] {
        for offset in edge.saturating_sub(9)..(edge + 9).min(want.len()) {
            for len in [0, 1, 2, 3, 8, 17, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 3] {
                if offset + len > want.len() {
                    continue;
                }
                for file in &files {
                    let got = read(file, offset, len).unwrap();
                    assert!(got == want[offset..offset + len], "{len} bytes at {offset}");
                }
                // By the map itself, not by what stands in for it.
                let mut to = vec![0; len];
                copy(files[0].map.as_ref().unwrap(), offset as u64, &mut to).unwrap();
                assert!(to == want[offset..offset + len], "{len} bytes at {offset}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_range_of_any_file_is_its_bytes_or_beyond_its_end(
        len in 0_usize..4 * PAGE,
        ranges in prop::collection::vec((0_usize..5 * PAGE, 0_usize..5 * PAGE), 1..40),
    ) {
        let (_folder, path) = file_of(&bytes(len));
        let want = fs::read(&path).unwrap();
        for file in both(&path) {
            for &(offset, many) in &ranges {
                match (read(&file, offset, many), want.get(offset..offset + many)) {
                    (Ok(got), Some(want)) => prop_assert!(got == want, "{many} at {offset}"),
                    (Err(MappedError::Beyond { .. }), None) => {}
                    (got, want) => prop_assert!(false, "{got:?} for {:?}", want.map(<[u8]>::len)),
                }
            }
        }
    }
}

#[test]
fn beyond_the_end_is_an_error_that_says_so() {
    let (_folder, path) = file_of(&bytes(10));
    for file in both(&path) {
        for (offset, len) in [(10, 1), (9, 2), (11, 0), (u64::MAX, 1), (u64::MAX - 1, 9)] {
            let said = file.read_at(offset, &mut vec![0; len]).unwrap_err();
            assert!(matches!(said, MappedError::Beyond { length: 10, .. }), "{said:?}");
            assert!(said.to_string().contains("the file has 10 bytes"), "{said}");
        }
        assert_eq!(read(&file, 10, 0).unwrap().len(), 0);
    }
}

#[test]
fn an_empty_file_has_nothing_to_read() {
    let (_folder, path) = file_of(&[]);
    for file in both(&path) {
        assert_eq!((file.length(), file.is_mapped()), (0, false));
        assert_eq!(read(&file, 0, 0).unwrap().len(), 0);
        assert!(matches!(read(&file, 0, 1), Err(MappedError::Beyond { length: 0, .. })));
    }
}

#[test]
fn what_is_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let missing = folder.path().join("missing");
    for (path, want) in [
        (folder.path(), "is a folder"),
        // Nobody writes into it: this must not wait for somebody.
        (pipe.as_path(), "is a pipe or a device"),
        (Path::new("/dev/null"), "is a pipe or a device"),
        (missing.as_path(), "cannot open"),
    ] {
        let said = MappedFile::open(path).unwrap_err().to_string();
        assert!(said.contains(want) && said.contains(path.to_str().unwrap()), "{said}");
    }
}

#[test]
fn what_the_map_does_not_give_is_read_at_its_place() {
    let want = bytes(3 * PAGE);
    let (_folder, path) = file_of(&want);
    let mut file = MappedFile::unmapped(&path).unwrap();
    file.map = Some(MmapOptions::new().len(PAGE).map_raw_read_only(&file.file).unwrap());
    for (offset, len) in [(0, PAGE), (PAGE - 1, 2), (PAGE, PAGE), (0, want.len())] {
        assert!(read(&file, offset, len).unwrap() == want[offset..offset + len], "{offset}");
    }
}

#[test]
fn a_file_replaced_by_renaming_stays_what_it_was() {
    let want = bytes(2 * PAGE);
    let (folder, path) = file_of(&want);
    let file = MappedFile::open(&path).unwrap();
    let other = folder.path().join("other");
    fs::write(&other, b"short").unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(read(&file, 0, want.len()).unwrap() == want);
    assert_eq!(MappedFile::open(&path).unwrap().length(), 5);
}

#[test]
fn a_file_cut_while_mapped_is_an_error_and_no_signal() {
    survives("a_file_cut_while_mapped_is_an_error_and_no_signal", || {
        let want = bytes(4 * PAGE);
        let keep = PAGE + 100;
        for touched in [false, true] {
            let (_folder, path) = file_of(&want);
            for file in both(&path) {
                fs::write(&path, &want).unwrap();
                if touched {
                    assert!(read(&file, 0, want.len()).unwrap() == want);
                }
                OpenOptions::new().write(true).open(&path).unwrap().set_len(keep as u64).unwrap();
                // Whole pages that are gone, the rest of the last one, across the cut, and all.
                for (offset, len) in [(3 * PAGE, 9), (keep, 1), (keep - 1, 2), (0, want.len())] {
                    let got = read(&file, offset, len);
                    assert!(
                        matches!(got, Err(MappedError::Cut { length }) if length == 4 * PAGE as u64),
                        "{len} bytes at {offset}: {got:?}"
                    );
                }
                assert!(read(&file, 0, keep).unwrap() == want[..keep]);
                // What the kernel could copy in part is not taken for the whole.
                if let Some(map) = &file.map {
                    copy(map, PAGE as u64, &mut [0; 2 * PAGE]).unwrap_err();
                }
            }
        }
    });
}

/// However the cut falls between the steps of a read.
#[test]
fn a_file_cut_again_and_again_while_it_is_read_ends_nobody() {
    survives("a_file_cut_again_and_again_while_it_is_read_ends_nobody", || {
        let len = 16 * PAGE;
        let (_folder, path) = file_of(&bytes(len));
        let file = MappedFile::open(&path).unwrap();
        assert!(file.is_mapped());
        let done = AtomicBool::new(false);
        let (mut whole, mut cut) = (0, 0);
        thread::scope(|s| {
            s.spawn(|| {
                let cutter = OpenOptions::new().write(true).open(&path).unwrap();
                while !done.load(Ordering::Relaxed) {
                    cutter.set_len(1).unwrap();
                    cutter.set_len(len as u64).unwrap();
                }
            });
            while whole < 500 || cut < 500 {
                match read(&file, PAGE, len - PAGE) {
                    Ok(_) => whole += 1,
                    Err(MappedError::Cut { .. }) => cut += 1,
                    Err(e) => panic!("{e}"),
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}
