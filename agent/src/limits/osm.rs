//! The messages inside an OpenStreetMap PBF file, as far as roads need them. Fields that are not named
//! are skipped by the decoder. Source: the OpenStreetMap wiki, PBF Format.
//!
//! Written out here and decoded by `prost`, which the unit has anyway: the crates that read PBF files
//! bring a second protobuf library each, and none of them is safe on broken files (sums of deltas
//! overflow, a blob that is cut in its length field ends the file without an error).

/// Before each blob.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BlobHeader {
    /// `OSMHeader` or `OSMData`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Bytes of the blob.
    #[prost(int32, tag = "3")]
    pub datasize: i32,
}

/// A block, as it is stored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Blob {
    /// The block itself.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub raw: Option<Vec<u8>>,
    /// Bytes of the block.
    #[prost(int32, optional, tag = "2")]
    pub raw_size: Option<i32>,
    /// The block in zlib's format.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub zlib_data: Option<Vec<u8>>,
}

/// The first block.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderBlock {
    /// What a reader must know.
    #[prost(string, repeated, tag = "4")]
    pub required_features: Vec<String>,
    /// Time of the data, seconds since 1970.
    #[prost(int64, optional, tag = "32")]
    pub osmosis_replication_timestamp: Option<i64>,
}

/// A block of data.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PrimitiveBlock {
    /// Its words.
    #[prost(message, optional, tag = "1")]
    pub stringtable: Option<StringTable>,
    /// Its things.
    #[prost(message, repeated, tag = "2")]
    pub groups: Vec<PrimitiveGroup>,
    /// Nanodegrees of a unit; 100 unless named.
    #[prost(int32, optional, tag = "17")]
    pub granularity: Option<i32>,
    /// Nanodegrees.
    #[prost(int64, optional, tag = "19")]
    pub lat_offset: Option<i64>,
    /// Nanodegrees.
    #[prost(int64, optional, tag = "20")]
    pub lon_offset: Option<i64>,
}

/// Words, by number.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StringTable {
    /// UTF-8, it should be.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub s: Vec<Vec<u8>>,
}

/// Things of one kind.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PrimitiveGroup {
    /// Nodes one by one.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    /// Nodes in columns.
    #[prost(message, optional, tag = "2")]
    pub dense: Option<DenseNodes>,
    /// Ways.
    #[prost(message, repeated, tag = "3")]
    pub ways: Vec<Way>,
}

/// A node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Node {
    /// Its number.
    #[prost(sint64, tag = "1")]
    pub id: i64,
    /// In units of the block.
    #[prost(sint64, tag = "8")]
    pub lat: i64,
    /// In units of the block.
    #[prost(sint64, tag = "9")]
    pub lon: i64,
    /// Words of its keys.
    #[prost(uint32, repeated, tag = "2")]
    pub keys: Vec<u32>,
    /// Words of its values.
    #[prost(uint32, repeated, tag = "3")]
    pub vals: Vec<u32>,
}

/// Nodes, each as the difference from the one before.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DenseNodes {
    /// Numbers.
    #[prost(sint64, repeated, tag = "1")]
    pub id: Vec<i64>,
    /// In units of the block.
    #[prost(sint64, repeated, tag = "8")]
    pub lat: Vec<i64>,
    /// In units of the block.
    #[prost(sint64, repeated, tag = "9")]
    pub lon: Vec<i64>,
    /// Per node the words of key, value, key, value, and then 0; nothing where no node has a tag.
    #[prost(int32, repeated, tag = "10")]
    pub keys_vals: Vec<i32>,
}

/// A way.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Way {
    /// Its number.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Words of its keys.
    #[prost(uint32, repeated, tag = "2")]
    pub keys: Vec<u32>,
    /// Words of its values.
    #[prost(uint32, repeated, tag = "3")]
    pub vals: Vec<u32>,
    /// Its nodes, each as the difference from the one before.
    #[prost(sint64, repeated, tag = "8")]
    pub refs: Vec<i64>,
}
