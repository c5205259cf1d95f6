//! The log as a folder of C2SP tlog-tiles, which any static file server can offer and any monitor
//! or witness can read: `checkpoint`, `tile/<level>/<n>` with the hashes, `tile/entries/<n>` with
//! the leaves, each leaf after its length in two bytes, big endian.
//!
//! Nothing in the log depends on these files. They can be deleted and written again at any time.
//! Each export goes on from the size that the folder's own checkpoint signs: whole tiles are written
//! once, the partial ones at the end each time the log grew, and the partial ones of a tile go when
//! it is whole. INVARIANT: `checkpoint` is replaced last, once the tiles are synced, so that it never
//! signs tiles that are not there. What a crash leaves: tiles beyond the checkpoint, perhaps torn,
//! which nobody asks for and the next export replaces, and files ending in `.new`, which nobody
//! reads.
//!
//! A server of static files must say `text/plain; charset=utf-8` for `checkpoint` and let nobody
//! keep it; all the rest is `application/octet-stream` and never changes.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tlog_tiles::Tile;

use crate::{
    checkpoint::Checkpoint,
    files::{self, CHECKPOINT, FileError},
    log::{AccessLog, LogError},
    record::Record,
    tree::{CHUNK, CHUNK_HEIGHT},
};

/// Writes the log up to its present head into `folder` and returns that head.
///
/// # Errors
/// [`LogError`] where the log cannot be read or `folder` cannot be written.
pub fn export(log: &AccessLog, folder: &Path) -> Result<Checkpoint, LogError> {
    let head = log.checkpoint();
    let before = exported(log, folder, &head)?;
    if before == Some(head.size()) {
        return Ok(head);
    }
    fs::create_dir_all(folder).map_err(|e| FileError::new("make", folder, e))?;
    let old_size = before.unwrap_or_default();
    for tile in Tile::new_tiles(CHUNK_HEIGHT, old_size, head.size()) {
        // Where the last export left a partial one.
        let had_partial = before.is_none()
            || tile.level_index() == old_size >> (CHUNK_HEIGHT * (tile.level() + 1));
        if tile.level() > 0 {
            put(folder, &tile, &log.upper_tile(&tile)?, had_partial)?;
            continue;
        }
        let mut records = log.records(tile.level_index())?;
        records.truncate(usize::try_from(tile.width()).unwrap_or(usize::MAX));
        let hashes: Vec<u8> = records.iter().flat_map(|record| record.hash.0).collect();
        put(folder, &tile, &hashes, had_partial)?;
        let mut bundle = tile;
        bundle.set_is_data();
        put(folder, &bundle, &bundle_of(&records), had_partial)?;
    }
    // One sync for all tiles, be it one or a hundred thousand.
    File::open(folder)
        .and_then(|handle| Ok(rustix::fs::syncfs(handle)?))
        .map_err(|e| FileError::new("sync", folder, e))?;
    files::replace(&folder.join(CHECKPOINT), head.note().as_bytes())?;
    Ok(head)
}

/// One file of the published log, by its path behind `tile/` (`0/x001/067.p/8`, `entries/000`), made
/// from the log as it is asked for. None where the path names no tile, or one that is not there yet.
/// What is answered for a path never changes.
///
/// # Errors
/// [`LogError`] where the log cannot be read.
pub fn tile(log: &AccessLog, path: &str) -> Result<Option<Vec<u8>>, LogError> {
    let Some(tile) = parse(path) else { return Ok(None) };
    // How many entries must be there.
    let (first, width) = (u128::from(tile.level_index()) * u128::from(CHUNK), tile.width());
    let needs = (first + u128::from(width)) << (CHUNK_HEIGHT * tile.level());
    if needs > u128::from(log.len()) {
        return Ok(None);
    }
    if tile.level() > 0 {
        return Ok(Some(log.upper_tile(&tile)?));
    }
    let mut records = log.records(tile.level_index())?;
    records.truncate(usize::try_from(width).unwrap_or(usize::MAX));
    Ok(Some(match tile.is_data() {
        true => bundle_of(&records),
        false => records.iter().flat_map(|record| record.hash.0).collect(),
    }))
}

/// The tile of a path behind `tile/`; there is one spelling of each.
fn parse(path: &str) -> Option<Tile> {
    let (kind, rest) = path.split_once('/')?;
    let is_data = kind == "entries";
    // Six levels have more entries than a log can.
    let level = if is_data { 0 } else { kind.parse().ok().filter(|level| *level < 6)? };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|w| (1..256).contains(w))?),
        None => (rest, 256),
    };
    let mut index = 0_u64;
    for part in number.split('/') {
        let digits = part.strip_prefix('x').unwrap_or(part);
        let digits: u64 = digits.parse().ok().filter(|_| digits.len() == 3)?;
        index = index.checked_mul(1000)?.checked_add(digits)?;
    }
    let tile = Tile::new(CHUNK_HEIGHT, level, index, width, is_data);
    (path_of(&tile) == Path::new("tile").join(path)).then_some(tile)
}

/// The size up to which `folder` has this log's tiles; none where it has none that can be built on.
fn exported(log: &AccessLog, folder: &Path, head: &Checkpoint) -> Result<Option<u64>, LogError> {
    let path = folder.join(CHECKPOINT);
    let note = match files::read_short(&path) {
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => return Ok(None),
        note => note?,
    };
    match Checkpoint::parse(&note, log.public_key()) {
        Ok(old) if old.size() <= head.size() && log.root(old.size())? == old.root() => {
            Ok(Some(old.size()))
        }
        Ok(_) | Err(_) => Ok(None),
    }
}

fn bundle_of(records: &[Record]) -> Vec<u8> {
    let mut bundle = Vec::new();
    for record in records {
        // MAX_LEAF_LEN keeps a leaf far below this.
        let len = u16::try_from(record.leaf.len()).unwrap_or(u16::MAX);
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(&record.leaf);
    }
    bundle
}

/// Writes one tile, and removes the partial ones of one that became whole.
fn put(folder: &Path, tile: &Tile, bytes: &[u8], had_partial: bool) -> Result<(), FileError> {
    let path = folder.join(path_of(tile));
    let mut new: OsString = path.as_os_str().to_owned();
    new.push(".new");
    let written = match fs::write(&new, bytes) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&new, bytes))
        }
        written => written,
    };
    written
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|e| FileError::new("write", &path, e))?;
    if u64::from(tile.width()) == CHUNK && had_partial {
        let mut partial = path.into_os_string();
        partial.push(".p");
        match fs::remove_dir_all(&partial) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", partial, e));
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

#[cfg(test)]
mod tests {
    use tlog_tiles::{HashReader as _, TileHashReader, TileReader, tlog};

    use super::*;
    use crate::{
        checkpoint::LogKey,
        leaf::{Action, Leaf},
        tree::leaf_hash,
        verify,
    };

    /// Reads the exported folder as a monitor would.
    struct Monitor<'a>(&'a Path);

    impl TileReader for Monitor<'_> {
        fn height(&self) -> u8 {
            CHUNK_HEIGHT
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
                    fs::read(public.join(path_of(&Tile::new(CHUNK_HEIGHT, 0, n, width, true))))
                        .unwrap();
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

    /// A log and its tiles, of so many entries.
    fn exported_log(entries: i64) -> (tempfile::TempDir, AccessLog, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::create(&folder.path().join("log"), "test/log").unwrap();
        log.append_all((0..entries).map(|at| Leaf::new(at, Action::VIEW)).collect()).unwrap();
        let public = folder.path().join("public");
        export(&log, &public).unwrap();
        (folder, log, public)
    }

    /// All files with their contents, in order.
    fn files_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(next) = open.pop() {
            for inside in fs::read_dir(next).unwrap() {
                let path = inside.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    files.push((path.strip_prefix(folder).unwrap().to_owned(), {
                        fs::read(&path).unwrap()
                    }));
                }
            }
        }
        files.sort();
        files
    }

    /// The examples of the specification (C2SP tlog-tiles, partial tiles): 256 and 70,000 entries.
    #[test]
    fn the_published_examples_of_trees() {
        let (_folder, _log, public) = exported_log(256);
        let names: Vec<PathBuf> = files_of(&public).into_iter().map(|(path, _)| path).collect();
        let want = ["checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000"];
        assert_eq!(names, want.map(PathBuf::from));

        let (_folder, log, public) = exported_log(70_000);
        let names: Vec<String> =
            files_of(&public).iter().map(|(path, _)| path.display().to_string()).collect();
        let of = |start: &str, partial: bool| {
            let same = |n: &&String| n.starts_with(start) && n.contains(".p/") == partial;
            names.iter().filter(same).map(String::as_str).collect::<Vec<_>>()
        };
        assert_eq!(of("tile/0/", false).len(), 273);
        assert_eq!(of("tile/0/", true), ["tile/0/273.p/112"]);
        assert_eq!(of("tile/entries/", false).len(), 273);
        assert_eq!(of("tile/entries/", true), ["tile/entries/273.p/112"]);
        assert_eq!(of("tile/1/", false), ["tile/1/000"]);
        assert_eq!(of("tile/1/", true), ["tile/1/001.p/17"]);
        assert_eq!(of("tile/2/", false), [""; 0]);
        assert_eq!(of("tile/2/", true), ["tile/2/000.p/1"]);
        assert_eq!(names.len(), 2 * 274 + 2 + 1 + 1, "{names:?}");
        assert_eq!(fs::read(public.join("tile/0/000")).unwrap().len(), 8192);
        verify::verify_tiles(&public, log.public_key(), &[]).unwrap();
    }

    #[test]
    fn an_export_goes_on_where_the_last_one_ended() {
        let (folder, log, public) = exported_log(600);
        let grow = |count: i64| {
            let leaves = (0..count).map(|at| Leaf::new(at, Action::EXPORT)).collect();
            log.append_all(leaves).unwrap();
        };
        // What is whole is neither written again nor looked at.
        let gone = [public.join("tile/0/000"), public.join("tile/entries/001")];
        for path in &gone {
            fs::remove_file(path).unwrap();
        }
        // What a crash leaves beyond the checkpoint.
        fs::write(public.join("tile/0/002"), "torn").unwrap();
        for (count, partial) in [(1, Some(89)), (0, Some(89)), (166, Some(255)), (1, None)] {
            grow(count);
            export(&log, &public).unwrap();
            for kind in ["0", "entries"] {
                let tile = public.join(format!("tile/{kind}/002"));
                match partial {
                    Some(width) => {
                        assert!(tile.with_extension("p").join(width.to_string()).exists());
                    }
                    None => {
                        assert!(tile.exists() && !tile.with_extension("p").exists());
                    }
                }
            }
            assert!(!gone.iter().any(|path| path.exists()));
        }
        // A folder that is not this log's, or not there, is written as a whole.
        let fresh = folder.path().join("fresh");
        export(&log, &fresh).unwrap();
        fs::remove_file(public.join(CHECKPOINT)).unwrap();
        export(&log, &public).unwrap();
        // Partial tiles of earlier checkpoints may still be asked for, and stay.
        for (name, bytes) in files_of(&fresh) {
            assert!(fs::read(public.join(&name)).unwrap() == bytes, "{name:?}");
        }
        // Of the same log, as if it had been put back and gone on in another way.
        let key = fs::read_to_string(folder.path().join("log").join(files::KEY)).unwrap();
        let other_past = LogKey::decode(key.trim_end()).unwrap().sign(600, leaf_hash(b"x"));
        fs::write(fresh.join(CHECKPOINT), other_past.unwrap().note()).unwrap();
        fs::remove_file(fresh.join("tile/0/000")).unwrap();
        export(&log, &fresh).unwrap();
        assert!(fresh.join("tile/0/000").exists());
        let (_other_folder, other, other_public) = exported_log(700);
        assert_eq!(export(&log, &other_public).unwrap().size(), 768);
        verify::verify_tiles(&other_public, log.public_key(), &[]).unwrap();
        assert!(verify::verify_tiles(&other_public, other.public_key(), &[]).is_err());
    }

    /// Somebody has the folder that is offered.
    #[test]
    fn any_change_of_the_tiles_is_found() {
        let (_folder, log, public) = exported_log(259);
        let key = log.public_key();
        let head = verify::verify_tiles(&public, key, &[]).unwrap().checkpoint;
        assert_eq!(head, log.checkpoint());
        for (name, good) in files_of(&public) {
            let path = public.join(&name);
            for at in (0..good.len()).filter(|at| at % 331 == 0 || at + 3 > good.len()) {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                fs::write(&path, &bad).unwrap();
                assert!(verify::verify_tiles(&public, key, &[]).is_err(), "{name:?} {at}");
                fs::write(&path, &good[..at]).unwrap();
                assert!(verify::verify_tiles(&public, key, &[]).is_err(), "{name:?} cut to {at}");
            }
            if name != Path::new(CHECKPOINT) {
                fs::write(&path, [&good[..], &good[..32]].concat()).unwrap();
                assert!(verify::verify_tiles(&public, key, &[]).is_err(), "{name:?} longer");
            }
            fs::remove_file(&path).unwrap();
            assert!(verify::verify_tiles(&public, key, &[]).is_err(), "{name:?} gone");
            fs::write(&path, &good).unwrap();
        }
        verify::verify_tiles(&public, key, &[]).unwrap();
    }

    /// Entries are swapped, dropped, doubled: in the bundle and in the hash tile alike.
    #[test]
    fn other_entries_under_the_head_are_found() {
        let (_folder, log, public) = exported_log(5);
        let records = log.records(0).unwrap();
        let with = |order: &[usize]| {
            let records: Vec<Record> = order.iter().map(|i| records[*i].clone()).collect();
            let hashes: Vec<u8> = records.iter().flat_map(|record| record.hash.0).collect();
            fs::write(public.join("tile/entries/000.p/5"), bundle_of(&records)).unwrap();
            fs::write(public.join("tile/0/000.p/5"), hashes).unwrap();
            verify::verify_tiles(&public, log.public_key(), &[])
        };
        with(&[0, 1, 2, 3, 4]).unwrap();
        for order in [[0, 1, 3, 2, 4], [1, 0, 2, 3, 4], [0, 1, 2, 3, 3], [0, 0, 1, 2, 3]] {
            let error = with(&order).unwrap_err();
            assert!(matches!(error, verify::VerifyError::Root { from: 0, last: 4 }), "{error}");
        }
        let error = with(&[0, 1, 2, 3]).unwrap_err();
        assert!(matches!(error, verify::VerifyError::Entry { index: 4, .. }), "{error}");
    }

    #[test]
    fn tiles_put_back_to_an_older_state_or_forked_are_found_with_a_kept_head() {
        let (_folder, log, public) = exported_log(300);
        let old = log.checkpoint();
        let copy = files_of(&public);
        log.append(Leaf::new(1, Action::VIEW)).unwrap();
        let kept = [old, export(&log, &public).unwrap()];
        verify::verify_tiles(&public, log.public_key(), &kept).unwrap();
        for (name, bytes) in copy {
            fs::write(public.join(name), bytes).unwrap();
        }
        let error = verify::verify_tiles(&public, log.public_key(), &kept).unwrap_err();
        assert!(matches!(error, verify::VerifyError::Rollback { signed: 300, kept: 301 }));
    }

    /// A client that fetched the checkpoint before the tile became whole.
    #[test]
    fn a_whole_tile_stands_in_for_a_partial_one_that_is_gone() {
        let (_folder, log, public) = exported_log(200);
        let old = fs::read(public.join(CHECKPOINT)).unwrap();
        log.append_all((0..100).map(|at| Leaf::new(at, Action::VIEW)).collect()).unwrap();
        export(&log, &public).unwrap();
        fs::write(public.join(CHECKPOINT), old).unwrap();
        let verified = verify::verify_tiles(&public, log.public_key(), &[]).unwrap();
        assert_eq!(verified.checkpoint.size(), 200);
    }

    /// The last two are examples of the specification (C2SP tlog-tiles) and of its paths' origin.
    #[test]
    fn paths() {
        for (tile, path) in [
            (Tile::new(8, 0, 0, 256, false), "tile/0/000"),
            (Tile::new(8, 0, 999, 256, true), "tile/entries/999"),
            (Tile::new(8, 0, 1000, 256, false), "tile/0/x001/000"),
            (Tile::new(8, 0, 1067, 255, true), "tile/entries/x001/067.p/255"),
            (Tile::new(8, 63, 0, 1, false), "tile/63/000.p/1"),
            (Tile::new(8, 1, 1_234_067, 8, false), "tile/1/x001/x234/067.p/8"),
            (Tile::new(8, 0, 123_456_789, 256, false), "tile/0/x123/x456/789"),
        ] {
            assert_eq!(path_of(&tile), Path::new(path));
        }
    }
}
