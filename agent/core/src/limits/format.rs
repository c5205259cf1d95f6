//! The limits file: one file, little-endian, laid out to be read in place.
//!
//! ```text
//! header    104 bytes: magic, version, where the parts are, what they are, their checksums
//! profiles  what ways' tags say, each once
//! index     12 bytes a tile, by key: key, offset in the tiles, CRC-32 of the tile
//! tiles     see `tile`
//! ```
//! Opening reads all but the tiles. A look-up copies one page of the index and the tile out of the
//! file: what is checked is then what is decoded, whatever becomes of a file that is memory-mapped. In
//! RAM stay the profiles and one key for each page of the index.
//!
//! INVARIANT: bytes whose checksum is wrong are never believed: the limit is unknown there.

use std::sync::Arc;

use super::{
    country::Code,
    grid::TileKey,
    profile_code::{self, Cursor},
    road::Profile,
    tile::Tile,
};

const MAGIC: &[u8; 8] = b"TEMOINSL";
/// Of this file format.
pub const VERSION: u32 = 2;
const HEADER_LEN: usize = 104;
const ENTRY_LEN: usize = 12;
/// Index entries that are read at once.
const PAGE: usize = 256;
/// Most bytes of profiles: tens of thousands of different roads.
const MAX_PROFILES_LEN: u64 = 16 << 20;
/// Most tiles: a tenth of all land.
const MAX_TILES: u64 = 20_000_000;
/// Most bytes of a tile. The densest towns have some tens of kilobytes.
const MAX_TILE_LEN: u64 = 4 << 20;

/// Why a limits file cannot be used, or not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Something else.
    #[error("not a limits file: make one with `temoin-agent limits build`")]
    Foreign,
    /// Of another version.
    #[error("a limits file of version {0}, not {VERSION}: build it anew")]
    Version(u32),
    /// Bytes are wrong or missing.
    #[error("the limits file is damaged: {what} at byte {offset}: copy or build it anew")]
    Damaged {
        /// Which part.
        what: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// The system refused.
    #[error("cannot read the limits file at byte {offset}: {why}")]
    Read {
        /// Where.
        offset: u64,
        /// What the system said.
        why: String,
    },
    /// It would be larger than its numbers can say.
    #[error("too many roads for one limits file: {0}: build smaller regions")]
    TooLarge(&'static str),
}

const fn damaged(what: &'static str, offset: u64) -> LimitsError {
    LimitsError::Damaged { what, offset }
}

/// Bytes that can be read at any place: a file, or bytes in memory.
pub trait ReadAt {
    /// How many there are.
    fn length(&self) -> u64;

    /// Fills `to` from `offset` on.
    ///
    /// # Errors
    /// What the system said, or that these bytes are not there.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String>;
}

impl ReadAt for &[u8] {
    fn length(&self) -> u64 {
        u64::try_from(self.len()).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String> {
        let from = usize::try_from(offset).ok();
        let range = from.and_then(|f| Some(f..f.checked_add(to.len())?));
        match range.and_then(|r| self.get(r)) {
            Some(bytes) => {
                to.copy_from_slice(bytes);
                Ok(())
            }
            None => Err("beyond the end".to_owned()),
        }
    }
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> u64 {
        self.as_slice().length()
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String> {
        self.as_slice().read_at(offset, to)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Box<R> {
    fn length(&self) -> u64 {
        (**self).length()
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String> {
        (**self).read_at(offset, to)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Arc<R> {
    fn length(&self) -> u64 {
        (**self).length()
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String> {
        (**self).read_at(offset, to)
    }
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The country whose rules stand where the map has no number.
    pub country: Option<Code>,
    /// The map's own time, seconds since 1970; 0 where it does not tell.
    pub map_unix_s: u64,
    /// Metres of road in it.
    pub road_m: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let b = bytes.get(at..).and_then(|b| b.first_chunk::<4>());
    b.map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let b = bytes.get(at..).and_then(|b| b.first_chunk::<8>());
    b.map_or(0, |b| u64::from_le_bytes(*b))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Everything of a file before its tiles, which follow it in the order given here.
///
/// # Errors
/// Where the tiles are too many or too large.
pub fn head<'a>(
    about: &About,
    profiles: &[Profile],
    tiles: impl Iterator<Item = (TileKey, &'a [u8])>,
) -> Result<Vec<u8>, LimitsError> {
    let mut profile_bytes = Vec::new();
    profile_code::put_varint(&mut profile_bytes, u64::try_from(profiles.len()).unwrap_or(0));
    for profile in profiles {
        profile_code::put(&mut profile_bytes, profile);
    }
    if length(&profile_bytes) > MAX_PROFILES_LEN {
        return Err(LimitsError::TooLarge("kinds of roads"));
    }
    let (mut index, mut offset) = (Vec::new(), 0_u64);
    for (key, bytes) in tiles {
        if length(bytes) > MAX_TILE_LEN {
            return Err(LimitsError::TooLarge("one tile"));
        }
        let at = u32::try_from(offset).map_err(|_| LimitsError::TooLarge("all tiles"))?;
        for number in [key.number(), at, crc32fast::hash(bytes)] {
            index.extend_from_slice(&number.to_le_bytes());
        }
        offset += length(bytes);
    }
    let tiles = index.len() / ENTRY_LEN;
    if u64::try_from(tiles).unwrap_or(u64::MAX) > MAX_TILES || u32::try_from(offset).is_err() {
        return Err(LimitsError::TooLarge("tiles"));
    }
    let profiles_at = u64::try_from(HEADER_LEN).unwrap_or(0);
    let index_at = profiles_at + length(&profile_bytes);
    let tiles_at = index_at + length(&index);

    let mut out = Vec::with_capacity(HEADER_LEN + profile_bytes.len() + index.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&u32::try_from(HEADER_LEN).unwrap_or(0).to_le_bytes());
    let numbers = [
        profiles_at,
        length(&profile_bytes),
        index_at,
        length(&index),
        tiles_at,
        offset,
        about.road_m,
        about.map_unix_s,
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&about.country.map_or([0; 2], Code::bytes));
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&crc32fast::hash(&profile_bytes).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out.extend_from_slice(&profile_bytes);
    out.extend_from_slice(&index);
    Ok(out)
}

/// A limits file that was opened and whose head was checked.
#[derive(Clone, Debug)]
pub struct Map<R> {
    bytes: R,
    about: About,
    profiles: Vec<Profile>,
    /// First key of each page of the index.
    pages: Vec<u32>,
    index_at: u64,
    tiles_at: u64,
    tiles_len: u64,
    tiles: usize,
}

impl<R: ReadAt> Map<R> {
    /// Reads and checks all but the tiles.
    ///
    /// # Errors
    /// Where this is no limits file, or it is of another version, damaged or cannot be read.
    pub fn open(bytes: R) -> Result<Self, LimitsError> {
        let mut header = [0; HEADER_LEN];
        if bytes.length() < length(&header) {
            return Err(LimitsError::Foreign);
        }
        read(&bytes, 0, &mut header)?;
        if !header.starts_with(MAGIC) {
            return Err(LimitsError::Foreign);
        }
        let version = u32_at(&header, 8);
        if version != VERSION {
            return Err(LimitsError::Version(version));
        }
        let summed = header.get(..HEADER_LEN - 4).map(crc32fast::hash);
        if summed != Some(u32_at(&header, HEADER_LEN - 4)) {
            return Err(damaged("the header's checksum", 0));
        }
        let part = |at: usize| (u64_at(&header, at), u64_at(&header, at + 8));
        let ((profiles_at, profiles_len), (index_at, index_len), (tiles_at, tiles_len)) =
            (part(16), part(32), part(48));
        let whole = [(profiles_at, profiles_len), (index_at, index_len), (tiles_at, tiles_len)]
            .iter()
            .try_fold(
                length(&header),
                |at, (from, len)| {
                    if *from == at { at.checked_add(*len) } else { None }
                },
            );
        if whole != Some(bytes.length()) {
            return Err(damaged("its length is not what the header says", bytes.length()));
        }
        let entry_len = u64::try_from(ENTRY_LEN).unwrap_or(1);
        if profiles_len > MAX_PROFILES_LEN
            || index_len % entry_len != 0
            || index_len / entry_len > MAX_TILES
            || u32::try_from(tiles_len).is_err()
        {
            return Err(damaged("the header's lengths", 16));
        }
        let profiles = read_profiles(&bytes, profiles_at, profiles_len, u32_at(&header, 92))?;
        let mut map = Self {
            bytes,
            about: About {
                country: header
                    .get(80..82)
                    .and_then(|c| std::str::from_utf8(c).ok())
                    .and_then(Code::parse),
                map_unix_s: u64_at(&header, 72),
                road_m: u64_at(&header, 64),
            },
            profiles,
            pages: Vec::new(),
            index_at,
            tiles_at,
            tiles_len,
            tiles: usize::try_from(index_len / entry_len).unwrap_or(0),
        };
        map.check_index(u32_at(&header, 96))?;
        Ok(map)
    }

    fn check_index(&mut self, crc: u32) -> Result<(), LimitsError> {
        let mut hasher = crc32fast::Hasher::new();
        let mut last: Option<(u32, u32)> = None;
        for page in 0..self.tiles.div_ceil(PAGE) {
            let entries = self.page(page, PAGE)?;
            hasher.update(&entries);
            for (n, entry) in entries.chunks_exact(ENTRY_LEN).enumerate() {
                let (key, offset) = (u32_at(entry, 0), u32_at(entry, 4));
                let sorted = match last {
                    None => offset == 0,
                    Some((k, o)) => k < key && o <= offset,
                };
                if !sorted
                    || u64::from(offset) > self.tiles_len
                    || TileKey::from_number(key).is_none()
                {
                    return Err(damaged("the index", self.index_at));
                }
                last = Some((key, offset));
                if n == 0 {
                    self.pages.push(key);
                }
            }
        }
        if hasher.finalize() != crc {
            return Err(damaged("the index's checksum", self.index_at));
        }
        Ok(())
    }

    /// Entries from the beginning of a page on, as many as there are.
    fn page(&self, page: usize, most: usize) -> Result<Vec<u8>, LimitsError> {
        let first = page * PAGE;
        let count = self.tiles.saturating_sub(first).min(most);
        let mut entries = vec![0; count * ENTRY_LEN];
        let at = self.index_at + u64::try_from(first * ENTRY_LEN).unwrap_or(u64::MAX / 2);
        read(&self.bytes, at, &mut entries)?;
        Ok(entries)
    }

    /// What the file says of itself.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// Bytes of the whole file.
    pub fn length(&self) -> u64 {
        self.bytes.length()
    }

    /// How many tiles have roads.
    pub const fn tiles(&self) -> usize {
        self.tiles
    }

    /// A profile by its number.
    pub fn profile(&self, number: u32) -> Option<&Profile> {
        self.profiles.get(usize::try_from(number).ok()?)
    }

    /// Keys of all tiles, in order.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn keys(&self) -> Result<Vec<TileKey>, LimitsError> {
        let mut keys = Vec::with_capacity(self.tiles);
        for page in 0..self.pages.len() {
            let entries = self.page(page, PAGE)?;
            let numbers = entries.chunks_exact(ENTRY_LEN).map(|e| u32_at(e, 0));
            keys.extend(numbers.filter_map(TileKey::from_number));
        }
        Ok(keys)
    }

    /// A tile; nothing where no road is in it.
    ///
    /// # Errors
    /// Where the file is damaged there or cannot be read.
    pub fn tile(&self, key: TileKey) -> Result<Option<Tile>, LimitsError> {
        let number = key.number();
        let Some(page) = self.pages.partition_point(|first| *first <= number).checked_sub(1) else {
            return Ok(None);
        };
        // One entry more: its offset is the end of the tile before it.
        let entries = self.page(page, PAGE + 1)?;
        let (entries, _) = entries.as_chunks::<ENTRY_LEN>();
        let Ok(at) = entries.binary_search_by_key(&number, |e| u32_at(e, 0)) else {
            return Ok(None);
        };
        let Some(entry) = entries.get(at) else { return Ok(None) };
        let start = u64::from(u32_at(entry, 4));
        let end = entries.get(at + 1).map_or(self.tiles_len, |next| u64::from(u32_at(next, 4)));
        let offset = self.tiles_at + start;
        let len = end.checked_sub(start).filter(|len| *len <= MAX_TILE_LEN);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let mut bytes = vec![0; len.ok_or(damaged("a tile's length", offset))?];
        read(&self.bytes, offset, &mut bytes)?;
        if crc32fast::hash(&bytes) != u32_at(entry, 8) {
            return Err(damaged("a tile's checksum", offset));
        }
        match Tile::read(key, &bytes, self.profiles.len()) {
            Some(tile) => Ok(Some(tile)),
            None => Err(damaged("a tile", offset)),
        }
    }
}

fn read<R: ReadAt>(bytes: &R, offset: u64, to: &mut [u8]) -> Result<(), LimitsError> {
    bytes.read_at(offset, to).map_err(|why| LimitsError::Read { offset, why })
}

fn read_profiles<R: ReadAt>(
    bytes: &R,
    at: u64,
    len: u64,
    crc: u32,
) -> Result<Vec<Profile>, LimitsError> {
    let wrong = damaged("the profiles", at);
    let mut raw = vec![0; usize::try_from(len).unwrap_or(0)];
    read(bytes, at, &mut raw)?;
    if crc32fast::hash(&raw) != crc {
        return Err(damaged("the profiles' checksum", at));
    }
    let mut from = Cursor(&raw);
    let count = from.varint().filter(|n| *n <= len).ok_or_else(|| wrong.clone())?;
    let profiles: Option<Vec<Profile>> = (0..count).map(|_| profile_code::get(&mut from)).collect();
    match profiles {
        Some(profiles) if from.0.is_empty() => Ok(profiles),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        grid::Point,
        road,
        tile::{self, Piece},
    };

    fn file() -> (Vec<u8>, Vec<TileKey>) {
        let profile = road::read(&[("highway", "primary"), ("maxspeed", "50")], None).unwrap();
        let keys: Vec<TileKey> =
            (0..600).map(|n| TileKey::at(18_000 + n % 30, 13_000 + n / 30)).collect();
        let tiles: Vec<(TileKey, Vec<u8>)> = keys
            .iter()
            .map(|key| {
                let c = key.corner();
                let edge = vec![c, Point { x: c.x + 7, y: c.y + 9 }];
                let piece = Piece {
                    way: 1,
                    profile: 0,
                    start_cut: false,
                    end_cut: false,
                    edges: vec![edge],
                    stops: Vec::new(),
                };
                let mut bytes = Vec::new();
                tile::put(&mut bytes, *key, 0, &piece);
                (*key, bytes)
            })
            .collect();
        let about = About { country: Code::parse("RO"), map_unix_s: 5, road_m: 1000 };
        let mut bytes =
            head(&about, &[profile], tiles.iter().map(|(k, b)| (*k, b.as_slice()))).unwrap();
        for (_, tile) in &tiles {
            bytes.extend_from_slice(tile);
        }
        (bytes, keys)
    }

    #[test]
    fn every_tile_is_found() {
        let (bytes, keys) = file();
        let map = Map::open(bytes.as_slice()).unwrap();
        assert_eq!(map.about().country, Code::parse("RO"));
        assert_eq!((map.about().road_m, map.tiles()), (1000, 600));
        assert_eq!(map.keys().unwrap(), keys);
        for key in keys {
            let tile = map.tile(key).unwrap().unwrap();
            assert_eq!(tile.points(&tile.edges[0])[0], key.corner());
        }
        for (column, row) in [(0, 0), (18_030, 13_000), (36_000, 18_000)] {
            assert_eq!(map.tile(TileKey::at(column, row)), Ok(None));
        }
    }

    #[test]
    fn damage_is_never_believed() {
        let (bytes, keys) = file();
        for cut in [0, 7, 103, 104, 200, bytes.len() - 1] {
            assert!(Map::open(&bytes[..cut]).is_err(), "{cut}");
        }
        // Any one bit wrong is found at the opening or in the tile where it is.
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let refused = match Map::open(changed.as_slice()) {
                Err(e) => !e.to_string().is_empty(),
                Ok(map) => keys.iter().any(|k| map.tile(*k).is_err()),
            };
            assert!(refused, "byte {at}");
        }
        for other in [VERSION - 1, VERSION + 1] {
            let mut bytes = bytes.clone();
            bytes[8] = u8::try_from(other).unwrap();
            let refused = Map::open(bytes.as_slice()).map(drop).unwrap_err();
            assert_eq!(refused, LimitsError::Version(other));
            assert!(refused.to_string().contains("build it anew"));
        }
        assert_eq!(Map::open(&b"PNG"[..]).err(), Some(LimitsError::Foreign));
    }
}
