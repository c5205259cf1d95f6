//! Writes small PBF files for tests: towns of streets, packed as an extract is.

use std::collections::BTreeMap;

use prost::Message as _;

use super::osm::{
    Blob, BlobHeader, DenseNodes, HeaderBlock, Node, PrimitiveBlock, PrimitiveGroup, StringTable,
    Way,
};

/// A town to be written.
#[derive(Clone, Default)]
pub(crate) struct Extract {
    nodes: Vec<(i64, i64, i64, String)>,
    ways: Vec<(i64, String, Vec<i64>)>,
}

/// How it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packed {
    Raw,
    Zlib,
}

impl Extract {
    /// A node, degrees.
    pub(crate) fn node(self, id: i64, lat_deg: f64, lon_deg: f64) -> Self {
        self.tagged(id, lat_deg, lon_deg, "")
    }

    /// A node with tags: `highway=stop|direction=forward`.
    pub(crate) fn tagged(mut self, id: i64, lat_deg: f64, lon_deg: f64, tags: &str) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "degrees")]
        let nano = |deg: f64| (deg * 1e7).round() as i64 * 100;
        self.nodes.push((id, nano(lat_deg), nano(lon_deg), tags.to_owned()));
        self
    }

    /// With another town.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.nodes.extend_from_slice(&other.nodes);
        self.ways.extend_from_slice(&other.ways);
        self
    }

    /// A way. Tags: `highway=primary|maxspeed=30 mph`.
    pub(crate) fn way(mut self, id: i64, tags: &str, refs: &[i64]) -> Self {
        self.ways.push((id, tags.to_owned(), refs.to_vec()));
        self
    }

    /// The file: header, nodes in columns (`dense`) or one by one, ways.
    pub(crate) fn bytes(&self, packed: Packed, dense: bool) -> Vec<u8> {
        let header = HeaderBlock {
            required_features: vec!["OsmSchema-V0.6".to_owned(), "DenseNodes".to_owned()],
            osmosis_replication_timestamp: Some(1_700_000_000),
        };
        let mut out = blob("OSMHeader", &header.encode_to_vec(), packed);
        out.extend(blob("OSMData", &self.nodes_block(dense).encode_to_vec(), packed));
        // A blob of a kind that readers must skip.
        out.extend(blob("Weather", b"sunny", packed));
        for ways in self.ways.chunks(3) {
            out.extend(blob("OSMData", &ways_block(ways).encode_to_vec(), packed));
        }
        out
    }

    fn nodes_block(&self, dense: bool) -> PrimitiveBlock {
        let (mut group, mut words) = (PrimitiveGroup::default(), Words::default());
        if dense {
            let (mut columns, mut last) = (DenseNodes::default(), (0, 0, 0));
            let tagged = self.nodes.iter().any(|(_, _, _, tags)| !tags.is_empty());
            for (id, lat, lon, tags) in &self.nodes {
                let now = (*id, lat / 100, lon / 100);
                columns.id.push(now.0 - last.0);
                columns.lat.push(now.1 - last.1);
                columns.lon.push(now.2 - last.2);
                last = now;
                if tagged {
                    for (key, value) in words.numbers(tags) {
                        columns.keys_vals.push(i32::try_from(key).unwrap());
                        columns.keys_vals.push(i32::try_from(value).unwrap());
                    }
                    columns.keys_vals.push(0);
                }
            }
            group.dense = Some(columns);
        } else {
            for (id, lat, lon, tags) in &self.nodes {
                let (keys, vals) = words.numbers(tags).into_iter().unzip();
                group.nodes.push(Node { id: *id, lat: lat / 100, lon: lon / 100, keys, vals });
            }
        }
        let stringtable = (words.table.len() > 1).then_some(StringTable { s: words.table });
        PrimitiveBlock { stringtable, groups: vec![group], ..PrimitiveBlock::default() }
    }
}

/// Words of a block, each once.
struct Words {
    known: BTreeMap<String, u32>,
    table: Vec<Vec<u8>>,
}

impl Default for Words {
    fn default() -> Self {
        // Number 0 is none.
        Self { known: BTreeMap::new(), table: vec![Vec::new()] }
    }
}

impl Words {
    fn number(&mut self, text: &str) -> u32 {
        *self.known.entry(text.to_owned()).or_insert_with(|| {
            self.table.push(text.as_bytes().to_vec());
            u32::try_from(self.table.len() - 1).unwrap()
        })
    }

    fn numbers(&mut self, tags: &str) -> Vec<(u32, u32)> {
        let tags = tags.split('|').filter_map(|t| t.split_once('='));
        tags.map(|(key, value)| (self.number(key), self.number(value))).collect()
    }
}

fn ways_block(ways: &[(i64, String, Vec<i64>)]) -> PrimitiveBlock {
    let mut words = Words::default();
    let mut group = PrimitiveGroup::default();
    for (id, tags, refs) in ways {
        let mut way = Way { id: *id, ..Way::default() };
        (way.keys, way.vals) = words.numbers(tags).into_iter().unzip();
        let mut last = 0;
        for id in refs {
            way.refs.push(id - last);
            last = *id;
        }
        group.ways.push(way);
    }
    PrimitiveBlock {
        stringtable: Some(StringTable { s: words.table }),
        groups: vec![group],
        ..PrimitiveBlock::default()
    }
}

/// One blob with its header.
pub(crate) fn blob(kind: &str, data: &[u8], packed: Packed) -> Vec<u8> {
    let blob = match packed {
        Packed::Raw => Blob { raw: Some(data.to_vec()), ..Blob::default() },
        Packed::Zlib => Blob {
            raw_size: Some(i32::try_from(data.len()).unwrap()),
            zlib_data: Some(miniz_oxide::deflate::compress_to_vec_zlib(data, 6)),
            ..Blob::default()
        },
    }
    .encode_to_vec();
    let header = BlobHeader { kind: kind.to_owned(), datasize: i32::try_from(blob.len()).unwrap() };
    let header = header.encode_to_vec();
    let mut out = u32::try_from(header.len()).unwrap().to_be_bytes().to_vec();
    out.extend(header);
    out.extend(blob);
    out
}
