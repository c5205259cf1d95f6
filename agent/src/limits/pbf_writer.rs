//! Writes small PBF files for tests: towns of streets, packed as an extract is.

use std::collections::BTreeMap;

use prost::Message as _;

use super::osm::{
    Blob, BlobHeader, DenseNodes, HeaderBlock, Node, PrimitiveBlock, PrimitiveGroup, StringTable,
    Way,
};

/// A town to be written.
#[derive(Clone, Default)]
pub(super) struct Extract {
    nodes: Vec<(i64, i64, i64)>,
    ways: Vec<(i64, String, Vec<i64>)>,
}

/// How it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    Raw,
    Zlib,
}

impl Extract {
    /// A node, degrees.
    pub(super) fn node(mut self, id: i64, lat_deg: f64, lon_deg: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "degrees")]
        let nano = |deg: f64| (deg * 1e7).round() as i64 * 100;
        self.nodes.push((id, nano(lat_deg), nano(lon_deg)));
        self
    }

    /// A way. Tags: `highway=primary|maxspeed=30 mph`.
    pub(super) fn way(mut self, id: i64, tags: &str, refs: &[i64]) -> Self {
        self.ways.push((id, tags.to_owned(), refs.to_vec()));
        self
    }

    /// The file: header, nodes in columns (`dense`) or one by one, ways.
    pub(super) fn bytes(&self, packed: Packed, dense: bool) -> Vec<u8> {
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
        let mut group = PrimitiveGroup::default();
        if dense {
            let (mut columns, mut last) = (DenseNodes::default(), (0, 0, 0));
            for (id, lat, lon) in &self.nodes {
                let now = (*id, lat / 100, lon / 100);
                columns.id.push(now.0 - last.0);
                columns.lat.push(now.1 - last.1);
                columns.lon.push(now.2 - last.2);
                last = now;
            }
            group.dense = Some(columns);
        } else {
            let nodes = self.nodes.iter();
            group.nodes = nodes
                .map(|(id, lat, lon)| Node { id: *id, lat: lat / 100, lon: lon / 100 })
                .collect();
        }
        PrimitiveBlock { groups: vec![group], ..PrimitiveBlock::default() }
    }
}

fn ways_block(ways: &[(i64, String, Vec<i64>)]) -> PrimitiveBlock {
    let mut words: BTreeMap<String, u32> = BTreeMap::new();
    let mut table = vec![Vec::new()];
    let mut number = |text: &str| {
        *words.entry(text.to_owned()).or_insert_with(|| {
            table.push(text.as_bytes().to_vec());
            u32::try_from(table.len() - 1).unwrap()
        })
    };
    let mut group = PrimitiveGroup::default();
    for (id, tags, refs) in ways {
        let mut way = Way { id: *id, ..Way::default() };
        for (key, value) in tags.split('|').filter_map(|t| t.split_once('=')) {
            way.keys.push(number(key));
            way.vals.push(number(value));
        }
        let mut last = 0;
        for id in refs {
            way.refs.push(id - last);
            last = *id;
        }
        group.ways.push(way);
    }
    PrimitiveBlock {
        stringtable: Some(StringTable { s: table }),
        groups: vec![group],
        ..PrimitiveBlock::default()
    }
}

/// One blob with its header.
pub(super) fn blob(kind: &str, data: &[u8], packed: Packed) -> Vec<u8> {
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
