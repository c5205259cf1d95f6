//! An OpenStreetMap PBF file, block by block.
//!
//! INVARIANT: memory is bounded by one block, whose size the format bounds: 64 KiB for the header of a
//! blob, 32 MiB for a block, also once it is unpacked. Whatever the bytes are, there is an answer or an
//! error that says where.

use std::io::{self, Read, Seek, SeekFrom};

use prost::Message as _;
use temoin_agent_core::limits::profile_code::Cursor;

use super::osm::{Blob, BlobHeader, HeaderBlock, PrimitiveBlock, Way};

/// The format's own bounds.
const MAX_HEADER: usize = 64 << 10;
const MAX_BLOCK: usize = 32 << 20;
/// Writers put 8000 things and their words into a block. Empty ones take two bytes in the file and a
/// hundred in memory, so they are counted before they are decoded.
const MAX_THINGS: usize = 1_000_000;
const NANO_PER_DEG: i64 = 1_000_000_000;

/// What is wrong with a PBF file.
#[derive(Debug, thiserror::Error)]
pub enum PbfError {
    /// The system refused.
    #[error("byte {offset}: {why}")]
    Io {
        /// Where.
        offset: u64,
        /// What it said.
        why: io::Error,
    },
    /// The file ends too early.
    #[error("byte {offset}: the file ends within {what}: copy it anew")]
    Cut {
        /// Where the part begins.
        offset: u64,
        /// Which part.
        what: &'static str,
    },
    /// Bytes that the format does not have.
    #[error("the block at byte {offset}: {what}: is this an .osm.pbf file?")]
    Broken {
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file that this reader cannot read.
    #[error(
        "the file needs `{0}`, which is not supported: convert it with `osmium cat -o OUT.osm.pbf`"
    )]
    Feature(String),
}

/// A block and where it begins.
#[derive(Debug)]
pub enum Block {
    /// The first.
    Header(HeaderBlock),
    /// Nodes, ways, relations.
    Data(PrimitiveBlock),
}

/// Reads the blocks in their order.
#[derive(Debug)]
pub struct PbfReader<R> {
    from: R,
    offset: u64,
}

impl<R: Read + Seek> PbfReader<R> {
    /// From the beginning.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(mut from: R) -> Result<Self, PbfError> {
        from.seek(SeekFrom::Start(0)).map_err(|why| PbfError::Io { offset: 0, why })?;
        Ok(Self { from, offset: 0 })
    }

    /// Where the next block begins.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block that is a header or data, with where it begins; nothing at the end.
    ///
    /// # Errors
    /// Where the file is cut, broken, needs what this reader cannot do, or the system refuses.
    pub fn block(&mut self) -> Result<Option<(u64, Block)>, PbfError> {
        loop {
            let start = self.offset;
            let broken = |what: String| PbfError::Broken { offset: start, what };
            let Some(header) = self.blob_header()? else { return Ok(None) };
            let size = usize::try_from(header.datasize).ok().filter(|n| *n <= MAX_BLOCK);
            let size = size.ok_or_else(|| broken(format!("{} bytes long", header.datasize)))?;
            if !matches!(header.kind.as_str(), "OSMHeader" | "OSMData") {
                self.bytes(size, "a blob")?;
                continue;
            }
            let blob = Blob::decode(self.bytes(size, "a blob")?.as_slice())
                .map_err(|e| broken(e.to_string()))?;
            let data = unpacked(blob).map_err(broken)?;
            if header.kind == "OSMHeader" {
                let header =
                    HeaderBlock::decode(data.as_slice()).map_err(|e| broken(e.to_string()))?;
                let known = ["OsmSchema-V0.6", "DenseNodes"];
                let foreign =
                    header.required_features.iter().find(|f| !known.contains(&f.as_str()));
                if let Some(feature) = foreign {
                    return Err(PbfError::Feature(feature.clone()));
                }
                return Ok(Some((start, Block::Header(header))));
            }
            if things(&data).is_none_or(|n| n > MAX_THINGS) {
                return Err(broken("more things than a block can have".to_owned()));
            }
            let data =
                PrimitiveBlock::decode(data.as_slice()).map_err(|e| broken(e.to_string()))?;
            return Ok(Some((start, Block::Data(data))));
        }
    }

    fn blob_header(&mut self) -> Result<Option<BlobHeader>, PbfError> {
        let start = self.offset;
        let mut length = [0; 4];
        let got = self.fill(&mut length)?;
        if got == 0 {
            return Ok(None);
        }
        if got < length.len() {
            return Err(PbfError::Cut { offset: start, what: "the length of a blob's header" });
        }
        let broken = |what: String| PbfError::Broken { offset: start, what };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_HEADER {
            return Err(broken(format!("a header of {length} bytes")));
        }
        let bytes = self.bytes(length, "the header of a blob")?;
        BlobHeader::decode(bytes.as_slice()).map(Some).map_err(|e| broken(e.to_string()))
    }

    fn bytes(&mut self, length: usize, what: &'static str) -> Result<Vec<u8>, PbfError> {
        let start = self.offset;
        let mut bytes = vec![0; length];
        if self.fill(&mut bytes)? < length {
            return Err(PbfError::Cut { offset: start, what });
        }
        Ok(bytes)
    }

    /// Reads as much as there is; less than asked only at the end.
    fn fill(&mut self, to: &mut [u8]) -> Result<usize, PbfError> {
        let mut got = 0;
        while let Some(rest) = to.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(PbfError::Io { offset: self.offset, why }),
            }
        }
        self.offset += u64::try_from(got).unwrap_or(0);
        Ok(got)
    }
}

fn unpacked(blob: Blob) -> Result<Vec<u8>, String> {
    match (blob.raw, blob.zlib_data) {
        (Some(raw), _) => Ok(raw),
        (None, Some(packed)) => {
            let said = blob.raw_size.and_then(|n| usize::try_from(n).ok());
            let most = said.unwrap_or(MAX_BLOCK).min(MAX_BLOCK);
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&packed, most)
                .map_err(|e| format!("cannot be unpacked: {:?}", e.status))
        }
        (None, None) => Err("packed neither raw nor by zlib".to_owned()),
    }
}

/// Words, groups, nodes and ways of a block; nothing where it is no protobuf message.
fn things(block: &[u8]) -> Option<usize> {
    let mut count = 0;
    for_each_part(block, |field, part| match field {
        1 => for_each_part(part, |_, _| {
            count += 1;
            Some(())
        }),
        2 => {
            count += 1;
            for_each_part(part, |_, _| {
                count += 1;
                Some(())
            })
        }
        _ => Some(()),
    })?;
    Some(count)
}

/// Hands every field of a message that has a length to `each`.
fn for_each_part<'a>(
    message: &'a [u8],
    mut each: impl FnMut(u64, &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut from = Cursor(message);
    while !from.0.is_empty() {
        let key = from.varint()?;
        let length = match key & 7 {
            0 => {
                // Ten bytes of ones are -1, which is more than a cursor reads.
                let end = from.0.iter().take(10).position(|b| b & 0x80 == 0)?;
                from.0 = from.0.get(end + 1..)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(from.varint()?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (part, rest) = from.0.split_at_checked(length)?;
        from.0 = rest;
        if key & 7 == 2 {
            each(key >> 3, part)?;
        }
    }
    Some(())
}

/// What was wrong with a thing of a block, by which the block is broken.
pub type BlockResult<T> = Result<T, &'static str>;

impl PrimitiveBlock {
    /// Hands every node to `each`: number, latitude and longitude in nanodegrees, tags. A word that
    /// is no UTF-8 is left out with its tag.
    ///
    /// # Errors
    /// Where numbers are beyond all bounds, columns differ in length, or a word is missing.
    pub fn each_node(
        &self,
        mut each: impl FnMut(i64, i64, i64, &[(&str, &str)]),
    ) -> BlockResult<()> {
        const BEYOND: &str = "a number beyond all bounds";
        let granularity = i64::from(self.granularity.unwrap_or(100));
        let place = |units: i64, offset: Option<i64>, most: i64| {
            let nano = units.checked_mul(granularity)?.checked_add(offset.unwrap_or(0))?;
            (nano.abs() <= most * NANO_PER_DEG).then_some(nano)
        };
        let mut hand_out = |id: i64, lat: i64, lon: i64, tags: &[(&str, &str)]| {
            let lat = place(lat, self.lat_offset, 90).ok_or("a latitude beyond the poles")?;
            let lon = place(lon, self.lon_offset, 180).ok_or("a longitude beyond 180 degrees")?;
            each(id, lat, lon, tags);
            BlockResult::Ok(())
        };
        let mut tags = Vec::new();
        for group in &self.groups {
            for node in &group.nodes {
                self.words(&node.keys, &node.vals, &mut tags)?;
                hand_out(node.id, node.lat, node.lon, &tags)?;
            }
            let Some(dense) = &group.dense else { continue };
            if dense.id.len() != dense.lat.len() || dense.id.len() != dense.lon.len() {
                return Err("columns of nodes of different lengths");
            }
            let (mut id, mut lat, mut lon) = (0_i64, 0_i64, 0_i64);
            let mut words = dense.keys_vals.iter();
            for ((d_id, d_lat), d_lon) in dense.id.iter().zip(&dense.lat).zip(&dense.lon) {
                id = id.checked_add(*d_id).ok_or(BEYOND)?;
                lat = lat.checked_add(*d_lat).ok_or(BEYOND)?;
                lon = lon.checked_add(*d_lon).ok_or(BEYOND)?;
                tags.clear();
                while let Some(key) = words.next().filter(|key| **key != 0) {
                    let value = words.next().ok_or("a node with more keys than values")?;
                    tags.extend(self.tag(u32::try_from(*key), u32::try_from(*value))?);
                }
                hand_out(id, lat, lon, &tags)?;
            }
        }
        Ok(())
    }

    /// Every way.
    pub fn ways(&self) -> impl Iterator<Item = &Way> {
        self.groups.iter().flat_map(|g| &g.ways)
    }

    /// A way's tags. A word that is no UTF-8 is left out with its tag.
    ///
    /// # Errors
    /// Where a word is missing or keys and values are not as many.
    pub fn tags<'a>(&'a self, way: &Way, to: &mut Vec<(&'a str, &'a str)>) -> BlockResult<()> {
        self.words(&way.keys, &way.vals, to)
    }

    fn words<'a>(
        &'a self,
        keys: &[u32],
        vals: &[u32],
        to: &mut Vec<(&'a str, &'a str)>,
    ) -> BlockResult<()> {
        to.clear();
        if keys.len() != vals.len() {
            return Err("a thing with more keys than values, or fewer");
        }
        for (key, value) in keys.iter().zip(vals) {
            to.extend(self.tag(Ok::<_, ()>(*key), Ok::<_, ()>(*value))?);
        }
        Ok(())
    }

    /// A tag by its words; nothing where one is no UTF-8.
    fn tag<E>(
        &self,
        key: Result<u32, E>,
        value: Result<u32, E>,
    ) -> BlockResult<Option<(&str, &str)>> {
        let words = self.stringtable.as_ref().map_or(&[][..], |t| t.s.as_slice());
        let word = |n: Result<u32, E>| {
            let word = n.ok().and_then(|n| words.get(usize::try_from(n).ok()?));
            word.ok_or("a word that the block does not have")
        };
        let (key, value) = (std::str::from_utf8(word(key)?), std::str::from_utf8(word(value)?));
        Ok(key.ok().zip(value.ok()))
    }

    /// Whether it has nodes, and ways.
    pub fn holds(&self) -> (bool, bool) {
        let nodes = self.groups.iter().any(|g| g.dense.is_some() || !g.nodes.is_empty());
        (nodes, self.groups.iter().any(|g| !g.ways.is_empty()))
    }
}

impl Way {
    /// Hands the number of each of its nodes to `each`.
    ///
    /// # Errors
    /// Where a number is beyond all bounds.
    pub fn each_ref(&self, mut each: impl FnMut(i64)) -> BlockResult<()> {
        let mut id = 0_i64;
        for step in &self.refs {
            id = id.checked_add(*step).ok_or("a number beyond all bounds")?;
            each(id);
        }
        Ok(())
    }
}
