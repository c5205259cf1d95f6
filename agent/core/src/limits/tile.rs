//! One tile: pieces of ways, each with its edges between junctions.
//!
//! ```text
//! piece: way id (signed, from the piece before) | profile
//!        start, 3 bytes: end is cut << 23 | start is cut << 22 | y * 2001 + x, within the tile
//!        per edge: steps << 2 | it has stop lines << 1 | another edge follows,
//!                  then x and y of each step (signed),
//!                  then per stop line: points since the last << 3 | against the way << 2
//!                                      | along the way << 1 | another one follows
//! ```
//! All other numbers are varints. A piece ends where its way ends or leaves the tile; there it is *cut*, and
//! goes on in the tile beside, at the same point.
//!
//! INVARIANT: every point of a decoded tile lies within it, every edge has two points or more, and every
//! stop line is one of its edge's points and for somebody who comes to it along the edge.

use std::ops::Range;

use super::{
    grid::{Point, TILE, TileKey},
    profile_code::{Cursor, put_signed, put_varint},
    stop::Stops,
};

/// Points along a tile's side.
const SIDE: i32 = TILE + 1;
/// Bits of a point within a tile.
const PLACE_BITS: u32 = 22;

/// A piece of a way within one tile, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The way's number in OpenStreetMap.
    pub way: i64,
    /// Which profile it has.
    pub profile: u32,
    /// Whether its start is where its way enters the tile.
    pub start_cut: bool,
    /// Whether its end is where its way leaves the tile.
    pub end_cut: bool,
    /// Its points, from junction to junction: each edge begins with the last point of the one before.
    pub edges: Vec<Vec<Point>>,
    /// Its stop lines, in the way's order.
    pub stops: Vec<PieceStop>,
}

/// A stop line of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceStop {
    /// On which of the piece's edges.
    pub edge: usize,
    /// At which of the edge's points.
    pub point: usize,
    /// For whom.
    pub stops: Stops,
}

/// Appends a piece. `last_way` is the way of the tile's piece before.
pub fn put(to: &mut Vec<u8>, key: TileKey, last_way: i64, piece: &Piece) {
    let Some(start) = piece.edges.first().and_then(|e| e.first()) else { return };
    let count = |n: usize| u64::try_from(n).unwrap_or(0);
    put_signed(to, piece.way.wrapping_sub(last_way));
    put_varint(to, u64::from(piece.profile));
    let corner = key.corner();
    let mut last = *start;
    let place = (last.y - corner.y) * SIDE + last.x - corner.x;
    let cuts = u32::from(piece.end_cut) << 1 | u32::from(piece.start_cut);
    let head = cuts << PLACE_BITS | place.unsigned_abs();
    to.extend(head.to_le_bytes().into_iter().take(3));
    for (n, edge) in piece.edges.iter().enumerate() {
        let more = u64::from(n + 1 < piece.edges.len());
        let mut lines = piece.stops.iter().filter(|s| s.edge == n).peekable();
        let has_lines = u64::from(lines.peek().is_some());
        put_varint(to, count(edge.len().saturating_sub(1)) << 2 | has_lines << 1 | more);
        for p in edge.iter().skip(1) {
            put_signed(to, i64::from(p.x - last.x));
            put_signed(to, i64::from(p.y - last.y));
            last = *p;
        }
        let mut point = 0;
        while let Some(line) = lines.next() {
            let bits = u64::from(line.stops.backward) << 2
                | u64::from(line.stops.forward) << 1
                | u64::from(lines.peek().is_some());
            put_varint(to, count(line.point.saturating_sub(point)) << 3 | bits);
            point = line.point;
        }
    }
}

/// A piece of road without a junction within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The way's number in OpenStreetMap.
    pub way: i64,
    /// Which profile it has.
    pub profile: u32,
    /// Which of the tile's points are its.
    points: Range<usize>,
    /// Which of the tile's stop lines are its.
    lines: Range<usize>,
    /// South-west and north-east corner.
    pub bounds: (Point, Point),
    /// Whether its first point is where the way enters the tile.
    pub start_cut: bool,
    /// Whether its last point is where the way leaves the tile.
    pub end_cut: bool,
}

/// A stop line of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// At which of the edge's points.
    pub point: usize,
    /// For whom.
    pub stops: Stops,
}

/// A decoded tile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tile {
    points: Vec<Point>,
    lines: Vec<Line>,
    /// Its edges.
    pub edges: Vec<Edge>,
}

impl Tile {
    /// The points of an edge of this tile.
    pub fn points(&self, edge: &Edge) -> &[Point] {
        self.points.get(edge.points.clone()).unwrap_or_default()
    }

    /// The stop lines of an edge of this tile, in its own order.
    pub fn lines(&self, edge: &Edge) -> &[Line] {
        self.lines.get(edge.lines.clone()).unwrap_or_default()
    }

    /// Reads a whole tile; nothing where these bytes are none. `profiles` is how many there are.
    pub fn read(key: TileKey, bytes: &[u8], profiles: usize) -> Option<Self> {
        let mut from = Cursor(bytes);
        // A point takes two bytes or more, an edge three.
        let mut tile = Self {
            points: Vec::with_capacity(bytes.len() / 2),
            lines: Vec::new(),
            edges: Vec::with_capacity(bytes.len() / 8),
        };
        let mut way = 0_i64;
        while !from.0.is_empty() {
            way = way.checked_add(from.signed()?)?;
            tile.piece(key, way, profiles, &mut from)?;
        }
        Some(tile)
    }

    fn piece(
        &mut self,
        key: TileKey,
        way: i64,
        profiles: usize,
        from: &mut Cursor<'_>,
    ) -> Option<()> {
        let profile = from.short()?;
        usize::try_from(profile).ok().filter(|p| *p < profiles)?;
        let head = u32::from_le_bytes([from.byte()?, from.byte()?, from.byte()?, 0]);
        let place = i64::from(head & ((1 << PLACE_BITS) - 1));
        let corner = key.corner();
        let within = |v: i64| (0..=i64::from(TILE)).contains(&v);
        let (mut x, mut y) = (place % i64::from(SIDE), place / i64::from(SIDE));
        let mut start_cut = head >> PLACE_BITS & 1 != 0;
        loop {
            let at = |x: i64, y: i64| {
                let (x, y) = (i32::try_from(x).ok()?, i32::try_from(y).ok()?);
                Some(Point { x: corner.x + x, y: corner.y + y })
            };
            let first = self.points.len();
            if !within(x) || !within(y) {
                return None;
            }
            let start = at(x, y)?;
            self.points.push(start);
            let mut bounds = (start, start);
            let steps = from.varint()?;
            let (steps, has_lines, more) = (steps >> 2, steps & 2 != 0, steps & 1 != 0);
            if steps == 0 {
                return None;
            }
            for _ in 0..steps {
                x = x.checked_add(from.signed()?)?;
                y = y.checked_add(from.signed()?)?;
                if !within(x) || !within(y) {
                    return None;
                }
                let p = at(x, y)?;
                bounds.0.x = bounds.0.x.min(p.x);
                bounds.0.y = bounds.0.y.min(p.y);
                bounds.1.x = bounds.1.x.max(p.x);
                bounds.1.y = bounds.1.y.max(p.y);
                self.points.push(p);
            }
            let first_line = self.lines.len();
            if has_lines {
                self.stop_lines(usize::try_from(steps).ok()?, from)?;
            }
            self.edges.push(Edge {
                way,
                profile,
                points: first..self.points.len(),
                lines: first_line..self.lines.len(),
                bounds,
                start_cut,
                end_cut: !more && head >> PLACE_BITS & 2 != 0,
            });
            if !more {
                return Some(());
            }
            start_cut = false;
        }
    }

    /// The stop lines of an edge whose last point is `last`.
    fn stop_lines(&mut self, last: usize, from: &mut Cursor<'_>) -> Option<()> {
        let mut before: Option<usize> = None;
        loop {
            let head = from.varint()?;
            let stops = Stops { forward: head & 2 != 0, backward: head & 4 != 0 };
            let point = before.unwrap_or(0).checked_add(usize::try_from(head >> 3).ok()?)?;
            let comes =
                stops.any() && (point > 0 || !stops.forward) && (point < last || !stops.backward);
            if !comes || point > last || before.is_some_and(|b| b >= point) {
                return None;
            }
            self.lines.push(Line { point, stops });
            before = Some(point);
            if head & 1 == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let point = (0..=TILE, 0..=TILE);
        let edge = prop::collection::vec(point, 1..5);
        let piece = (
            any::<i32>(),
            0..9_u32,
            any::<(bool, bool)>(),
            (0..=TILE, 0..=TILE),
            prop::collection::vec((edge, any::<[(bool, bool); 5]>()), 1..4),
        );
        prop::collection::vec(piece, 0..6).prop_map(|pieces| {
            let corner = TileKey::at(18_700, 13_800).corner();
            let at = |(x, y): (i32, i32)| Point { x: corner.x + x, y: corner.y + y };
            pieces
                .into_iter()
                .map(|(way, profile, (start_cut, end_cut), start, rest)| {
                    let mut last = at(start);
                    let mut stops = Vec::new();
                    let edges = rest
                        .into_iter()
                        .enumerate()
                        .map(|(n, (points, signs))| {
                            let points: Vec<Point> =
                                std::iter::once(last).chain(points.into_iter().map(at)).collect();
                            last = *points.last().unwrap();
                            for (point, (forward, backward)) in
                                signs.into_iter().enumerate().take(points.len())
                            {
                                let stops_here = Stops {
                                    forward: forward && point > 0,
                                    backward: backward && point + 1 < points.len(),
                                };
                                if stops_here.any() {
                                    stops.push(PieceStop { edge: n, point, stops: stops_here });
                                }
                            }
                            points
                        })
                        .collect();
                    Piece { way: i64::from(way), profile, start_cut, end_cut, edges, stops }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn pieces_survive(pieces in pieces(), cut in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>()) {
            let key = TileKey::at(18_700, 13_800);
            let (mut bytes, mut last) = (Vec::new(), 0);
            for piece in &pieces {
                put(&mut bytes, key, last, piece);
                last = piece.way;
            }
            let tile = Tile::read(key, &bytes, 9).unwrap();
            let mut edges = tile.edges.iter();
            for piece in &pieces {
                for (n, want) in piece.edges.iter().enumerate() {
                    let edge = edges.next().unwrap();
                    prop_assert_eq!((edge.way, edge.profile), (piece.way, piece.profile));
                    prop_assert_eq!(tile.points(edge), &want[..]);
                    let lines = piece.stops.iter().filter(|s| s.edge == n);
                    let lines: Vec<Line> =
                        lines.map(|s| Line { point: s.point, stops: s.stops }).collect();
                    prop_assert_eq!(tile.lines(edge), &lines[..]);
                    prop_assert_eq!(edge.start_cut, piece.start_cut && n == 0);
                    prop_assert_eq!(edge.end_cut, piece.end_cut && n + 1 == piece.edges.len());
                }
            }
            prop_assert!(edges.next().is_none());
            // Damaged bytes: an error or another tile, never a panic.
            if !bytes.is_empty() {
                Tile::read(key, &bytes[..cut.index(bytes.len())], 9);
                let mut changed = bytes.clone();
                changed[flip.0.index(bytes.len())] ^= flip.1;
                Tile::read(key, &changed, 9);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Tile::read(TileKey::at(1, 2), &bytes, 3);
        }
    }
}
