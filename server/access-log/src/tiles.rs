//! The log as a folder of C2SP tlog-tiles, which any static file server can offer and any monitor
//! or witness can read: `checkpoint`, `tile/<level>/<n>` with the hashes, `tile/entries/<n>` with
//! the leaves, each leaf after its length in two bytes, big endian.
//!
//! Nothing in the log depends on these files. They can be deleted and written again at any time,
//! so they are not synced. Whole tiles are written once; each export writes the partial ones at
//! the log's end. INVARIANT: `checkpoint` is replaced last, so that it never signs tiles that are
//! not there. What a crash leaves: perhaps a file ending in `.new`, which nobody reads.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use tlog_tiles::Tile;

use crate::{
    checkpoint::Checkpoint,
    files::{CHECKPOINT, FileError},
    log::{AccessLog, LogError},
};

/// Tile height of tlog-tiles: 256 hashes in a whole tile.
const HEIGHT: u8 = 8;
const WHOLE: u32 = 1 << HEIGHT;

/// Writes the log up to its present head into `folder` and returns that head.
///
/// # Errors
/// [`LogError`] where the log cannot be read or `folder` cannot be written.
pub fn export(log: &AccessLog, folder: &Path) -> Result<Checkpoint, LogError> {
    let head = log.checkpoint();
    for tile in Tile::new_tiles(HEIGHT, 0, head.size()) {
        let hashes = || Ok(log.with_tree(|tree| tree.tile(&tile))?);
        put(folder, &tile, hashes)?;
        if tile.level() == 0 {
            let mut bundle = tile;
            bundle.set_is_data();
            put(folder, &bundle, || entry_bundle(log, &tile))?;
        }
    }
    write(&folder.join(CHECKPOINT), head.note().as_bytes())?;
    Ok(head)
}

fn entry_bundle(log: &AccessLog, tile: &Tile) -> Result<Vec<u8>, LogError> {
    let mut bundle = Vec::new();
    let width = usize::try_from(tile.width()).unwrap_or(usize::MAX);
    for entry in log.entries(tile.level_index() << HEIGHT)?.take(width) {
        let leaf = entry?.leaf.to_bytes()?;
        // MAX_LEAF_LEN keeps a leaf far below this.
        let len = u16::try_from(leaf.len()).unwrap_or(u16::MAX);
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(&leaf);
    }
    Ok(bundle)
}

/// Writes one tile, unless it is a whole one that is there.
fn put(
    folder: &Path,
    tile: &Tile,
    content: impl FnOnce() -> Result<Vec<u8>, LogError>,
) -> Result<(), LogError> {
    let path = folder.join(path_of(tile));
    let whole = tile.width() == WHOLE;
    if whole && path.exists() {
        return Ok(());
    }
    write(&path, &content()?)?;
    if whole {
        let mut partial = path.into_os_string();
        partial.push(".p");
        match fs::remove_dir_all(&partial) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", partial, e).into());
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// `tile/0/x001/067.p/8`: as `tlog_tiles` writes it, less the height, which is fixed here.
fn path_of(tile: &Tile) -> PathBuf {
    let path = tile.path();
    let rest = path.strip_prefix("tile/8/").unwrap_or(&path);
    match rest.strip_prefix("data/") {
        Some(rest) => Path::new("tile/entries").join(rest),
        None => Path::new("tile").join(rest),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut new: OsString = path.as_os_str().to_owned();
    new.push(".new");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| FileError::new("make", parent, e))?;
    }
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|e| FileError::new("write", path, e))
}

#[cfg(test)]
mod tests {
    use tlog_tiles::{HashReader as _, TileHashReader, TileReader, tlog};

    use super::*;
    use crate::{
        leaf::{Action, Leaf},
        tree::leaf_hash,
    };

    /// Reads the exported folder as a monitor would.
    struct Monitor<'a>(&'a Path);

    impl TileReader for Monitor<'_> {
        fn height(&self) -> u8 {
            HEIGHT
        }

        fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
            Ok(tiles.iter().map(|tile| fs::read(self.0.join(path_of(tile))).unwrap()).collect())
        }

        fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
    }

    #[test]
    fn a_monitor_reads_what_was_exported() {
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::create(&folder.path().join("log"), "test/log").unwrap();
        let public = folder.path().join("public");
        let mut size = 0;
        for until in [0_i64, 3, 255, 256, 300, 520] {
            std::thread::scope(|scope| {
                for at in size..until {
                    let log = &log;
                    scope.spawn(move || log.append(Leaf::new(at, Action::VIEW)).unwrap());
                }
            });
            size = until;
            export(&log, &public).unwrap();
            let note = fs::read(public.join("checkpoint")).unwrap();
            let head = Checkpoint::parse(&note, log.public_key()).unwrap();
            assert_eq!(head.size(), u64::try_from(size).unwrap());
            if size == 0 {
                continue;
            }
            let monitor = Monitor(&public);
            let reader = TileHashReader::new(head.size(), head.root(), &monitor);
            for n in 0..head.size().div_ceil(256) {
                let width = u32::try_from((head.size() - n * 256).min(256)).unwrap();
                let bundle =
                    fs::read(public.join(path_of(&Tile::new(HEIGHT, 0, n, width, true)))).unwrap();
                let mut rest = bundle.as_slice();
                for i in n * 256..n * 256 + u64::from(width) {
                    let (len, tail) = rest.split_at(2);
                    let (leaf, tail) =
                        tail.split_at(u16::from_be_bytes(len.try_into().unwrap()).into());
                    rest = tail;
                    let hash = reader.read_hashes(&[tlog::stored_hash_index(0, i)]).unwrap();
                    assert_eq!(hash, [leaf_hash(leaf)], "entry {i} of {size}");
                }
                assert!(rest.is_empty());
            }
        }
        assert!(public.join("tile/0/000").exists() && public.join("tile/1/000.p/2").exists());
        assert!(!public.join("tile/entries/000.p").exists(), "partial tiles of a whole one go");
    }

    #[test]
    fn paths() {
        for (tile, path) in [
            (Tile::new(8, 0, 0, 256, false), "tile/0/000"),
            (Tile::new(8, 1, 1_234_067, 8, false), "tile/1/x001/x234/067.p/8"),
            (Tile::new(8, 0, 1067, 255, true), "tile/entries/x001/067.p/255"),
        ] {
            assert_eq!(path_of(&tile), Path::new(path));
        }
    }
}
