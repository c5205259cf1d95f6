//! The check of a log from its published tiles alone, as a monitor has them: the entries, and that
//! each hash tile holds their hashes, so that whoever computes proofs from hash tiles computes right
//! ones.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{Check, Peaks, Verified, VerifyError};
use crate::{
    checkpoint::{Checkpoint, LogPublicKey, MAX_CHECKPOINT_LEN},
    files::{CHECKPOINT, FileError},
};

/// How wide a whole tile is.
const WIDTH: u64 = 256;
/// No tile is longer, bytes: that many leaves of the greatest length with their lengths.
const MAX_TILE_LEN: u64 = WIDTH * (2 + crate::leaf::MAX_LEAF_LEN as u64);

/// Where a published log is read from: a folder, or an address.
pub trait Published {
    /// Where this file of it is, for messages.
    fn place(&self, name: &str) -> PathBuf;

    /// The bytes of `checkpoint` or `tile/...`, as far as one more than `limit`; none where there is
    /// no such file.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read.
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FileError>;
}

impl Published for Path {
    fn place(&self, name: &str) -> PathBuf {
        self.join(name)
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|f| f.take(limit + 1).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(FileError::new("read", path, e)),
        }
    }
}

fn missing(source: &(impl Published + ?Sized), name: &str) -> FileError {
    FileError::new("read", source.place(name), io::ErrorKind::NotFound.into())
}

/// The head of a published log, checked with its key.
///
/// # Errors
/// [`VerifyError::File`], [`VerifyError::Checkpoint`].
pub fn published_head(
    source: &(impl Published + ?Sized),
    key: &LogPublicKey,
) -> Result<Checkpoint, VerifyError> {
    let note = source.read(CHECKPOINT, MAX_CHECKPOINT_LEN as u64)?;
    let note = note.ok_or_else(|| missing(source, CHECKPOINT))?;
    Ok(Checkpoint::parse(&note, key)?)
}

/// Checks every entry and every hash of the tiles in `folder` (C2SP tlog-tiles) against their
/// checkpoint, and that against each of the `kept` checkpoints of this log.
///
/// # Errors
/// [`VerifyError`] says what is wrong, and with which entry or tile.
pub fn verify_tiles(
    folder: &Path,
    key: &LogPublicKey,
    kept: &[Checkpoint],
) -> Result<Verified, VerifyError> {
    // The head first: the tiles may grow meanwhile.
    let head = published_head(folder, key)?;
    verify_published(folder, &head, kept)
}

/// The same for tiles from anywhere, under a head that was read before: see [`published_head`].
///
/// # Errors
/// [`VerifyError`] says what is wrong, and with which entry or tile.
pub fn verify_published<S: Published + ?Sized>(
    source: &S,
    head: &Checkpoint,
    kept: &[Checkpoint],
) -> Result<Verified, VerifyError> {
    let mut check = Check::new(head, kept)?;
    let mut levels = Levels { source, pending: Vec::new() };
    while let Some(first) = check.next() {
        let number = first / WIDTH;
        let width = (head.size() - first).min(WIDTH);
        let bundle = read(source, "entries", number, width)?;
        let mut rest = bundle.bytes.as_slice();
        for index in first..first + width {
            let cut = || VerifyError::Entry {
                index,
                reason: format!("its bundle `{}` ends before it", bundle.path.display()),
            };
            let (len, tail) = rest.split_first_chunk().ok_or_else(cut)?;
            let (leaf, tail) =
                tail.split_at_checked(u16::from_be_bytes(*len).into()).ok_or_else(cut)?;
            rest = tail;
            let hash = check.push(leaf)?;
            levels.push(0, hash)?;
        }
        if bundle.exact && !rest.is_empty() {
            return Err(VerifyError::Tile(bundle.path));
        }
    }
    levels.finish()?;
    let unknown_entries = check.finish()?;
    Ok(Verified { checkpoint: head.clone(), unknown_entries, unsigned_bytes: 0 })
}

/// The hashes that the tile which is being filled must have, on each level.
struct Levels<'a, S: ?Sized> {
    source: &'a S,
    pending: Vec<Pending>,
}

#[derive(Default)]
struct Pending {
    number: u64,
    hashes: Vec<u8>,
    peaks: Peaks,
}

impl<S: Published + ?Sized> Levels<'_, S> {
    fn push(&mut self, level: usize, hash: [u8; 32]) -> Result<(), VerifyError> {
        if self.pending.len() == level {
            self.pending.push(Pending::default());
        }
        let Some(pending) = self.pending.get_mut(level) else { return Ok(()) };
        pending.hashes.extend_from_slice(&hash);
        pending.peaks.push(hash);
        if pending.peaks.size < WIDTH {
            return Ok(());
        }
        let root = pending.peaks.root();
        let number = pending.number + 1;
        let full = std::mem::replace(pending, Pending { number, ..Pending::default() });
        compare(self.source, level, &full)?;
        self.push(level + 1, root)
    }

    /// Compares the partial tiles.
    fn finish(&self) -> Result<(), VerifyError> {
        let partial = |(_, pending): &(usize, &Pending)| pending.peaks.size > 0;
        let mut levels = self.pending.iter().enumerate().filter(partial);
        levels.try_for_each(|(level, pending)| compare(self.source, level, pending))
    }
}

fn compare<S: Published + ?Sized>(
    source: &S,
    level: usize,
    want: &Pending,
) -> Result<(), VerifyError> {
    let tile = read(source, &level.to_string(), want.number, want.peaks.size)?;
    let (same, more) = match tile.bytes.split_at_checked(want.hashes.len()) {
        Some((same, more)) => (same == want.hashes, !more.is_empty()),
        None => (false, false),
    };
    if same && !(more && tile.exact) { Ok(()) } else { Err(VerifyError::Tile(tile.path)) }
}

struct Tile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// False where a whole tile was read in place of a partial one.
    exact: bool,
}

/// Reads a tile, or in place of a partial one the whole one that replaced it.
fn read<S: Published + ?Sized>(
    source: &S,
    kind: &str,
    number: u64,
    width: u64,
) -> Result<Tile, FileError> {
    let asked = name(kind, number, width);
    if let Some(bytes) = source.read(&asked, MAX_TILE_LEN)? {
        return Ok(Tile { path: source.place(&asked), bytes, exact: true });
    }
    let whole = name(kind, number, WIDTH);
    if width < WIDTH
        && let Some(bytes) = source.read(&whole, MAX_TILE_LEN)?
    {
        return Ok(Tile { path: source.place(&whole), bytes, exact: false });
    }
    Err(missing(source, &asked))
}

/// `tile/0/x001/067.p/8`
fn name(kind: &str, number: u64, width: u64) -> String {
    let mut digits = format!("{:03}", number % 1000);
    let mut left = number / 1000;
    while left > 0 {
        digits = format!("x{:03}/{digits}", left % 1000);
        left /= 1000;
    }
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{kind}/{digits}{partial}")
}
