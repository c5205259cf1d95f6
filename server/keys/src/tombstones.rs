//! Clips whose keys are never given out again.
//!
//! One file that only grows: a header, then 48 bytes for each clip: its id (16), the number of the
//! log entry that deleted it (8, big endian), when (8, milliseconds since 1970), and a check (16):
//! the first half of SHA-256 over the check before and these 32 bytes. So a record that was
//! changed, dropped or put elsewhere is found.
//!
//! A crash leaves the records that were answered, and perhaps one that is cut off or not whole: it
//! was never answered and is cut. What a chain cannot show, whole records cut off at the end, shows
//! by the count that [`crate::seen`] keeps.
//!
//! INVARIANT: [`Tombstones::add`] returns when the record survives a power cut.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use temoin_proto::ids::ClipId;

use crate::place::{self, PlaceError, content, failed};

const HEADER: &[u8; 16] = b"temoin tombs v1\n";
const BODY_LEN: usize = 32;
const CHECK_LEN: usize = 16;
const RECORD_LEN: usize = BODY_LEN + CHECK_LEN;

type Check = [u8; CHECK_LEN];

fn check(before: &Check, body: &[u8; BODY_LEN]) -> Check {
    let mut context = Context::new(&SHA256);
    context.update(before);
    context.update(body);
    let mut check = [0; CHECK_LEN];
    for (to, from) in check.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    check
}

#[derive(Debug, Default)]
struct Records {
    clips: HashSet<ClipId>,
    last: Check,
}

/// The whole records of a file, and whether there is something behind them that is none.
fn read(path: &Path, counted: u64) -> Result<(Records, bool), PlaceError> {
    let bytes = std::fs::read(path).map_err(failed("read", path))?;
    let rest =
        bytes.strip_prefix(HEADER).ok_or_else(|| content(path, "not a file of tombstones"))?;
    let mut read = Records::default();
    let (records, rest) = rest.as_chunks::<RECORD_LEN>();
    let mut torn = !rest.is_empty();
    for (n, record) in records.iter().enumerate() {
        let Some((body, stored)) = record.split_first_chunk() else { break };
        let good = check(&read.last, body);
        if good != stored {
            // Only the last one can be a write that a crash cut off.
            if n + 1 < records.len() || torn {
                return Err(content(path, format!("record {n} is damaged")));
            }
            torn = true;
            break;
        }
        read.last = good;
        let (id, _) = body.split_first_chunk().unwrap_or((&[0; 16], &[]));
        read.clips.insert(ClipId::from_bytes(*id));
    }
    let whole = read.clips.len() as u64;
    if whole < counted {
        let what = format!(
            "it has {whole} records, but {counted} were written: put this file back from the \
             newest backup"
        );
        return Err(content(path, what));
    }
    Ok((read, torn))
}

/// The open file.
#[derive(Debug)]
pub struct Tombstones {
    path: PathBuf,
    file: File,
    records: Records,
    /// After a failed write nothing is known of the file's end.
    broken: bool,
}

impl Tombstones {
    /// Makes an empty file.
    ///
    /// # Errors
    /// [`PlaceError::File`], also where there is one already.
    pub fn create(path: &Path) -> Result<(), PlaceError> {
        place::create(path, HEADER).map(drop)
    }

    /// Opens the file, which must hold at least `counted` clips.
    ///
    /// # Errors
    /// [`PlaceError::File`]; [`PlaceError::Content`] where it is damaged or records are missing.
    pub fn open(path: &Path, counted: u64) -> Result<Self, PlaceError> {
        place::check_private(path)?;
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
        let (records, torn) = read(path, counted)?;
        if torn {
            let end = HEADER.len() + records.clips.len() * RECORD_LEN;
            file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(failed("cut", path))?;
        }
        Ok(Self { path: path.to_owned(), file, records, broken: false })
    }

    /// Looks whether [`Tombstones::open`] would take the file, and changes nothing. Gives the count.
    ///
    /// # Errors
    /// As [`Tombstones::open`].
    pub fn check(path: &Path, counted: u64) -> Result<u64, PlaceError> {
        place::check_private(path)?;
        Ok(read(path, counted)?.0.clips.len() as u64)
    }

    /// How many clips.
    pub fn len(&self) -> u64 {
        self.records.clips.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.clips.is_empty()
    }

    /// Whether the clip is one of them.
    pub fn contains(&self, clip: ClipId) -> bool {
        self.records.clips.contains(&clip)
    }

    /// Adds a clip, durably. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`PlaceError::File`]: then nothing more is added until the file is opened anew.
    pub fn add(&mut self, clip: ClipId, entry: u64, now_ms: i64) -> Result<(), PlaceError> {
        if self.records.clips.contains(&clip) {
            return Ok(());
        }
        if self.broken {
            return Err(content(&self.path, "a write failed before: start the service again"));
        }
        let mut body = [0; BODY_LEN];
        let fields =
            clip.as_bytes().iter().chain(&entry.to_be_bytes()).copied().collect::<Vec<_>>();
        for (to, from) in body.iter_mut().zip(fields.into_iter().chain(now_ms.to_be_bytes())) {
            *to = from;
        }
        let next = check(&self.records.last, &body);
        let at = HEADER.len() as u64 + self.len() * RECORD_LEN as u64;
        self.broken = true;
        self.file
            .write_all_at(&[body.as_slice(), &next].concat(), at)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))?;
        self.broken = false;
        self.records.last = next;
        self.records.clips.insert(clip);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(n: u8) -> ClipId {
        ClipId::from_bytes([n; 16])
    }

    fn three() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tombstones");
        Tombstones::create(&path).unwrap();
        let mut stones = Tombstones::open(&path, 0).unwrap();
        for n in 1..=3 {
            stones.add(clip(n), n.into(), 1000).unwrap();
            stones.add(clip(n), 99, 2000).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn they_stay() {
        let (_dir, path) = three();
        assert!(Tombstones::create(&path).is_err());
        let stones = Tombstones::open(&path, 3).unwrap();
        assert_eq!(stones.len(), 3);
        assert!(stones.contains(clip(2)) && !stones.contains(clip(4)));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (16 + 3 * RECORD_LEN) as u64);
    }

    #[test]
    fn what_a_crash_cut_off_is_cut_and_written_again() {
        let (_dir, path) = three();
        let bytes = std::fs::read(&path).unwrap();
        for len in 16 + 2 * RECORD_LEN..bytes.len() {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert!(Tombstones::open(&path, 3).is_err(), "{len}: it was answered");
            assert_eq!(Tombstones::check(&path, 2).unwrap(), 2);
            assert_eq!(
                std::fs::metadata(&path).unwrap().len(),
                len as u64,
                "a look changes nothing"
            );
            let mut stones = Tombstones::open(&path, 2).unwrap();
            assert_eq!(stones.len(), 2, "{len}");
            stones.add(clip(3), 3, 1000).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "{len}");
        }
        // Its length was there, its bytes were not.
        let mut torn = bytes.clone();
        torn[16 + 2 * RECORD_LEN + 5..].fill(0);
        std::fs::write(&path, &torn).unwrap();
        assert!(Tombstones::open(&path, 3).is_err());
        assert_eq!(Tombstones::open(&path, 2).unwrap().len(), 2);
    }

    #[test]
    fn any_changed_byte_of_what_was_answered_is_found() {
        let (_dir, path) = three();
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            std::fs::write(&path, &changed).unwrap();
            assert!(Tombstones::open(&path, 3).is_err(), "byte {at}");
        }
        let mut dropped = bytes.clone();
        dropped.drain(16 + RECORD_LEN..16 + 2 * RECORD_LEN);
        dropped.extend_from_slice(&bytes[bytes.len() - RECORD_LEN..]);
        std::fs::write(&path, dropped).unwrap();
        assert!(Tombstones::open(&path, 0).is_err(), "one was replaced");
    }
}
