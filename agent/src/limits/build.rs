//! From an OpenStreetMap extract to the limits file, in three passes: which nodes roads have, where
//! those are and what stands there, and the roads.
//!
//! INVARIANT: memory is bounded by the roads' nodes (some 30 bytes each at the most, and no more than
//! [`MAX_REFS`]) and the file that is written; for a country the size of France some 3 GB. A build
//! belongs on a workstation or a server, not on a unit.
//!
//! A crash leaves `OUT.new`, which the next build replaces.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use temoin_agent_core::limits::{
    LimitsError,
    build::Builder,
    country::Code,
    cut::Node,
    format::About,
    grid::Point,
    road::{self, Profile},
    stop::{self, LeftOut, Meeting, Sign, WayNode},
};

use super::pbf::{Block, PbfError, PbfReader};
use crate::durable::{self, FileError};

/// Most nodes of roads: Europe has some 600 million.
pub const MAX_REFS: usize = 1_000_000_000;
/// Nanodegrees in a degree.
const NANO: f64 = 1e-9;
/// Where nothing is known of a node's place.
const NOWHERE: Point = Point { x: i32::MIN, y: i32::MIN };

/// Why no file was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The extract is broken.
    #[error("`{}`: {what}", path.display())]
    Extract {
        /// Of which file.
        path: PathBuf,
        /// What is wrong.
        what: PbfError,
    },
    /// There is no road in it.
    #[error("`{}`: no road for motor vehicles is in it", .0.display())]
    NoRoad(PathBuf),
    /// It has more than this program takes.
    #[error("`{}`: more than {MAX_REFS} nodes of roads: cut it into regions", .0.display())]
    TooLarge(PathBuf),
    /// The result does not fit into one file.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The result cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Built {
    /// Metres of road.
    pub road_m: f64,
    /// Ways that are roads.
    pub ways: u64,
    /// Ways whose limit is a number of their own, in at least one direction.
    pub explicit: u64,
    /// Ways whose limit is the country's rule.
    pub implicit: u64,
    /// Roads of which some nodes are not in the extract: its edge.
    pub at_the_edge: u64,
    /// Stops of the map on these roads that are stop lines in the file.
    pub stops: u64,
    /// Stops of the map that are not, by reason.
    pub stops_left_out: BTreeMap<LeftOut, u64>,
    /// Time of the map, seconds since 1970; 0 where it does not tell.
    pub map_unix_s: u64,
    /// Bytes that were written.
    pub bytes: u64,
}

impl Built {
    /// Bytes of the file for each kilometre of road.
    pub fn bytes_per_road_km(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a file's length")]
        let bytes = self.bytes as f64;
        if self.road_m > 0.0 { bytes / (self.road_m / 1000.0) } else { 0.0 }
    }
}

/// Builds `out` from the extract. `country` is whose rules stand where the map has no number.
///
/// # Errors
/// See [`BuildError`]; `out` is then as it was before.
pub fn build(extract: &Path, country: Option<Code>, out: &Path) -> Result<Built, BuildError> {
    let from = File::open(extract).map_err(FileError::new("open", extract))?;
    let unfinished = {
        let mut name = out.as_os_str().to_owned();
        name.push(".new");
        PathBuf::from(name)
    };
    let mut writer = None;
    let result = import(BufReader::with_capacity(1 << 20, from), extract, country, |part| {
        if writer.is_none() {
            let file = File::create(&unfinished).map_err(FileError::new("create", &unfinished))?;
            writer = Some(BufWriter::new(file));
        }
        let Some(writer) = &mut writer else { return Ok(()) };
        Ok(writer.write_all(part).map_err(FileError::new("write", &unfinished))?)
    });
    let finished = result.and_then(|built| {
        if let Some(writer) = writer {
            let file = writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .map_err(FileError::new("write", &unfinished))?;
            file.sync_all().map_err(FileError::new("fsync", &unfinished))?;
        }
        rename(&unfinished, out)?;
        Ok(built)
    });
    if finished.is_err() {
        // What is left may not be there at all; the error that is told is the one that counts.
        drop(fs::remove_file(&unfinished));
    }
    finished
}

/// [`durable::rename`] also where the paths name no folder.
fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::new("rename", from))?;
    match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => durable::sync_folder(folder),
        _ => durable::sync_folder(Path::new(".")),
    }
}

/// Reads the extract and hands the file to `write`, part by part. `path` is for errors.
///
/// # Errors
/// See [`BuildError`].
pub fn import<R: Read + Seek>(
    from: R,
    path: &Path,
    country: Option<Code>,
    mut write: impl FnMut(&[u8]) -> Result<(), BuildError>,
) -> Result<Built, BuildError> {
    let mut import = Import { path, country, from, map_unix_s: 0 };
    let mut refs = import.refs()?;
    refs.all.sort_unstable();
    refs.begins.sort_unstable();
    refs.ends.sort_unstable();
    let mut nodes = Nodes::default();
    for same in refs.all.chunk_by(|a, b| a == b) {
        let Some(id) = same.first() else { continue };
        // Most nodes are of one road: what begins and ends there does not count.
        let meeting = match same.len() {
            0 | 1 => Meeting::Alone,
            uses => Meeting::of(uses, count_of(&refs.begins, *id), count_of(&refs.ends, *id)),
        };
        nodes.ids.push(*id);
        nodes.meetings.push(meeting);
    }
    drop(refs);
    if nodes.ids.is_empty() {
        return Err(BuildError::NoRoad(path.to_owned()));
    }
    import.places(&mut nodes)?;
    let (builder, mut built) = import.roads(&nodes)?;
    built.road_m = builder.road_m();
    built.map_unix_s = import.map_unix_s;
    if built.road_m <= 0.0 {
        return Err(BuildError::NoRoad(path.to_owned()));
    }
    let about = About { country, map_unix_s: import.map_unix_s, road_m: 0 };
    let mut bytes = 0_u64;
    builder.finish::<BuildError>(about, |part| {
        bytes += u64::try_from(part.len()).unwrap_or(0);
        write(part)
    })?;
    built.bytes = bytes;
    Ok(built)
}

/// Nodes that roads name.
#[derive(Default)]
struct Refs {
    /// As often as they are named.
    all: Vec<i64>,
    /// The first of each road.
    begins: Vec<i64>,
    /// The last of each road.
    ends: Vec<i64>,
}

/// How often a sorted list has it.
fn count_of(sorted: &[i64], id: i64) -> usize {
    let from = sorted.partition_point(|other| *other < id);
    sorted.iter().skip(from).take_while(|other| **other == id).count()
}

/// Nodes of roads, by their number; all lists but the last are as long.
#[derive(Default)]
struct Nodes {
    ids: Vec<i64>,
    meetings: Vec<Meeting>,
    places: Vec<Point>,
    /// Where something stands.
    signs: BTreeMap<usize, Sign>,
}

impl Nodes {
    /// Which one has this number, and what is known of it; nothing where its place is not.
    fn get(&self, id: i64) -> Option<(usize, WayNode)> {
        let n = self.ids.binary_search(&id).ok()?;
        let at = *self.places.get(n).filter(|p| **p != NOWHERE)?;
        let sign = self.signs.get(&n).copied();
        Some((n, WayNode { at, meeting: *self.meetings.get(n)?, sign }))
    }
}

struct Import<'a, R> {
    path: &'a Path,
    country: Option<Code>,
    from: R,
    map_unix_s: u64,
}

impl<R: Read + Seek> Import<'_, R> {
    /// Hands every block of data to `each`, from the beginning of the file.
    fn each_block(
        &mut self,
        mut each: impl FnMut(&super::osm::PrimitiveBlock) -> Result<(), Stop>,
    ) -> Result<(), BuildError> {
        let path = self.path;
        let wrong = |what| BuildError::Extract { path: path.to_owned(), what };
        let mut reader = PbfReader::new(&mut self.from).map_err(wrong)?;
        let mut first = true;
        while let Some((offset, block)) = reader.block().map_err(wrong)? {
            match block {
                Block::Header(header) => {
                    let seconds = header.osmosis_replication_timestamp.unwrap_or(0);
                    self.map_unix_s = u64::try_from(seconds).unwrap_or(0);
                }
                Block::Data(_) if first => {
                    let what = "data before the header".to_owned();
                    return Err(wrong(PbfError::Broken { offset, what }));
                }
                Block::Data(data) => match each(&data) {
                    Ok(()) => {}
                    Err(Stop::Broken(what)) => {
                        let what = what.to_owned();
                        return Err(wrong(PbfError::Broken { offset, what }));
                    }
                    Err(Stop::TooLarge) => return Err(BuildError::TooLarge(path.to_owned())),
                },
            }
            first = false;
        }
        Ok(())
    }

    /// First pass: the nodes of all roads.
    fn refs(&mut self) -> Result<Refs, BuildError> {
        let country = self.country;
        let mut refs = Refs::default();
        self.each_block(|block| {
            let mut tags = Vec::new();
            for way in block.ways() {
                block.tags(way, &mut tags)?;
                if road::read(&tags, country).is_some() {
                    let first = refs.all.len();
                    way.each_ref(|id| refs.all.push(id))?;
                    refs.begins.extend(refs.all.get(first));
                    refs.ends.extend(refs.all.last().filter(|_| refs.all.len() > first));
                }
            }
            if refs.all.len() > MAX_REFS { Err(Stop::TooLarge) } else { Ok(()) }
        })?;
        Ok(refs)
    }

    /// Second pass: where these nodes are, and what stands there.
    fn places(&mut self, nodes: &mut Nodes) -> Result<(), BuildError> {
        nodes.places = vec![NOWHERE; nodes.ids.len()];
        self.each_block(|block| {
            block.each_node(|id, lat_nano, lon_nano, tags| {
                let Ok(n) = nodes.ids.binary_search(&id) else { return };
                #[expect(clippy::cast_precision_loss, reason = "180e9 at the most")]
                let (lat, lon) = (lat_nano as f64 * NANO, lon_nano as f64 * NANO);
                if let (Some(place), Some(p)) = (nodes.places.get_mut(n), Point::from_deg(lat, lon))
                {
                    *place = p;
                }
                if let Some(sign) = stop::read(tags) {
                    nodes.signs.insert(n, sign);
                }
            })?;
            Ok(())
        })
    }

    /// Third pass: the roads.
    fn roads(&mut self, nodes: &Nodes) -> Result<(Builder, Built), BuildError> {
        let (mut builder, mut built) = (Builder::default(), Built::default());
        let mut stops = StopCount::default();
        let country = self.country;
        self.each_block(|block| {
            let mut tags = Vec::new();
            for way in block.ways() {
                block.tags(way, &mut tags)?;
                let Some(profile) = road::read(&tags, country) else { continue };
                // A road goes on behind nodes that are not in the extract, as another piece.
                let mut pieces: Vec<Vec<(usize, WayNode)>> = vec![Vec::new()];
                let mut missing = false;
                way.each_ref(|id| match (nodes.get(id), pieces.last_mut()) {
                    (Some(node), Some(piece)) => piece.push(node),
                    (None, _) | (_, None) => {
                        missing = true;
                        pieces.push(Vec::new());
                    }
                })?;
                count(&mut built, &profile, missing);
                for piece in pieces.iter().filter(|p| p.len() > 1) {
                    builder.way(way.id, &profile, &stops.resolved(&profile, piece));
                }
            }
            Ok(())
        })?;
        for outcome in stops.by_node.into_values() {
            match outcome {
                Ok(()) => built.stops += 1,
                Err(why) => *built.stops_left_out.entry(why).or_default() += 1,
            }
        }
        Ok((builder, built))
    }
}

/// What became of each stop, by its node: several roads may have it.
#[derive(Default)]
struct StopCount {
    by_node: BTreeMap<usize, Result<(), LeftOut>>,
}

impl StopCount {
    /// The nodes of a piece of road with whom they stop.
    fn resolved(&mut self, profile: &Profile, piece: &[(usize, WayNode)]) -> Vec<Node> {
        let nodes: Vec<WayNode> = piece.iter().map(|(_, node)| *node).collect();
        let stops = piece.iter().enumerate().map(|(at, (n, node))| {
            let stops = match stop::resolve(profile.ways, &nodes, at) {
                Ok(stops) => {
                    if stops.any() {
                        self.by_node.insert(*n, Ok(()));
                    }
                    stops
                }
                Err(why) => {
                    self.by_node.entry(*n).or_insert(Err(why));
                    stop::Stops::NONE
                }
            };
            Node { at: node.at, shared: node.meeting != Meeting::Alone, stops }
        });
        stops.collect()
    }
}

fn count(built: &mut Built, profile: &Profile, missing: bool) {
    use temoin_agent_core::limits::tags::Value;
    built.ways += 1;
    built.at_the_edge += u64::from(missing);
    let known = [&profile.forward, &profile.backward]
        .into_iter()
        .find(|rule| !matches!(rule.base, Value::Unknown(_)));
    match known {
        Some(rule) if rule.implicit => built.implicit += 1,
        Some(_) => built.explicit += 1,
        None => {}
    }
}

/// Why a block ends a pass.
enum Stop {
    Broken(&'static str),
    TooLarge,
}

impl From<&'static str> for Stop {
    fn from(what: &'static str) -> Self {
        Self::Broken(what)
    }
}
