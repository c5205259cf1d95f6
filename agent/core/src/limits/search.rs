//! Roads near a place, and which roads go on from where one ends. Keeps the last decoded tiles.
//!
//! INVARIANT: two ways meet only where they share a node of the map: a bridge and the road beneath it
//! never do. Memory is bounded: so many tiles, and so many edges of a walk.

use super::{
    format::{LimitsError, Map, ReadAt},
    grid::{Plane, Point, TILE, TileKey, turn_deg},
    road::Ways,
    stop::Stops,
    tile::Tile,
};

/// Decoded tiles that are kept: those around the vehicle and those it just left.
const KEPT_TILES: usize = 16;
/// What leads elsewhere for less than this is the shape of a junction, m: nobody turns into it. Own choice.
const SHORT_M: f64 = 8.0;
/// Most edges that one walk visits.
const MOST_VISITED: usize = 64;

/// Which edge, of which tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId {
    /// The tile.
    pub tile: TileKey,
    /// Its number within the tile.
    pub edge: usize,
}

/// An edge and the direction in which it is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Directed {
    /// The edge.
    pub id: EdgeId,
    /// Along its own order.
    pub forward: bool,
}

impl Directed {
    /// The other way.
    pub const fn reversed(self) -> Self {
        Self { id: self.id, forward: !self.forward }
    }
}

/// Where a road is nearest to a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Which road.
    pub id: EdgeId,
    /// The way's number in OpenStreetMap.
    pub way: i64,
    /// Its profile.
    pub profile: u32,
    /// Metres from the place.
    pub distance_m: f64,
    /// Metres from the edge's first point.
    pub along_m: f64,
    /// Metres of the whole edge.
    pub length_m: f64,
    /// Where the edge's own order leads there, degrees clockwise from north.
    pub bearing_deg: f64,
}

/// What one edge is, without its points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EdgeEnds {
    /// The way's number in OpenStreetMap.
    pub way: i64,
    /// Its profile.
    pub profile: u32,
    /// Metres of the whole edge.
    pub length_m: f64,
    /// First and last point, each with whether the way is cut there.
    pub ends: [(Point, bool); 2],
    /// Where its own order leads at the first and the last point, degrees clockwise from north.
    pub bearings_deg: [f64; 2],
}

impl EdgeEnds {
    /// Where it leads at its beginning and its end, driven in this direction.
    fn driven_deg(&self, forward: bool) -> (f64, f64) {
        let [first, last] = self.bearings_deg;
        if forward { (first, last) } else { (last + 180.0, first + 180.0) }
    }
}

/// A directed edge that a walk came to, and how far its beginning is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// The edge.
    pub at: Directed,
    /// Metres from where the walk began to the edge's beginning.
    pub start_m: f64,
    /// All that one turns at the nodes on the way there, degrees.
    pub turned_deg: f64,
}

/// A walk's end that goes on.
#[derive(Clone, Copy, Debug)]
struct Open {
    reached: Reached,
    /// What was turned before the edge, and where the way led: it may be too short to be turned into.
    before_deg: (f64, f64),
}

#[derive(Clone, Debug)]
struct Slot {
    key: TileKey,
    used: u64,
    tile: Tile,
    /// Ends of edges, sorted: the point, edge number, whether it is the edge's last point. Made when
    /// first asked for.
    ends: Vec<(Point, usize, bool)>,
}

/// The map, and its tiles that were last of use.
#[derive(Clone, Debug)]
pub struct Tiles<R> {
    map: Map<R>,
    slots: Vec<Slot>,
    clock: u64,
}

impl<R: ReadAt> Tiles<R> {
    /// With nothing decoded yet.
    pub const fn new(map: Map<R>) -> Self {
        Self { map, slots: Vec::new(), clock: 0 }
    }

    /// The map itself.
    pub const fn map(&self) -> &Map<R> {
        &self.map
    }

    /// The decoded tile; an empty one where the map has none.
    fn slot(&mut self, key: TileKey) -> Result<&mut Slot, LimitsError> {
        self.clock += 1;
        let clock = self.clock;
        let at = match self.slots.iter().position(|s| s.key == key) {
            Some(at) => at,
            None => {
                let tile = self.map.tile(key)?.unwrap_or_default();
                let slot = Slot { key, used: clock, tile, ends: Vec::new() };
                if self.slots.len() < KEPT_TILES {
                    self.slots.push(slot);
                    self.slots.len() - 1
                } else {
                    let oldest = self.slots.iter().enumerate().min_by_key(|(_, s)| s.used);
                    let at = oldest.map_or(0, |(at, _)| at);
                    if let Some(old) = self.slots.get_mut(at) {
                        *old = slot;
                    }
                    at
                }
            }
        };
        let lost = LimitsError::TooLarge("tiles in memory");
        let slot = self.slots.get_mut(at).ok_or(lost)?;
        slot.used = clock;
        Ok(slot)
    }

    /// Roads within `radius_m` of a place, each once, where it is nearest; in the file's order.
    ///
    /// # Errors
    /// Where the file is damaged there or cannot be read: what cannot be seen may be the right road.
    pub fn near(&mut self, p: Point, radius_m: f64, to: &mut Vec<Near>) -> Result<(), LimitsError> {
        to.clear();
        let plane = Plane::at(p);
        let (dx, dy) = (
            super::grid::rounded((radius_m / plane.x_m).min(f64::from(TILE))),
            super::grid::rounded((radius_m / plane.y_m).min(f64::from(TILE))),
        );
        let (low, high) = (Point { x: p.x - dx, y: p.y - dy }, Point { x: p.x + dx, y: p.y + dy });
        for row in low.y.div_euclid(TILE)..=high.y.div_euclid(TILE) {
            for column in low.x.div_euclid(TILE)..=high.x.div_euclid(TILE) {
                let key = TileKey::at(column, row);
                let tile = &self.slot(key)?.tile;
                for (number, edge) in tile.edges.iter().enumerate() {
                    let (a, b) = edge.bounds;
                    if a.x > high.x || b.x < low.x || a.y > high.y || b.y < low.y {
                        continue;
                    }
                    let id = EdgeId { tile: key, edge: number };
                    let nearest = nearest(tile.points(edge), p, &plane);
                    if let Some((distance_m, along_m, length_m, bearing_deg)) =
                        nearest.filter(|n| n.0 <= radius_m)
                    {
                        let (way, profile) = (edge.way, edge.profile);
                        to.push(Near {
                            id,
                            way,
                            profile,
                            distance_m,
                            along_m,
                            length_m,
                            bearing_deg,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// An edge's ends; nothing where there is no such edge.
    ///
    /// # Errors
    /// As [`Self::near`].
    pub fn ends(&mut self, id: EdgeId, plane: &Plane) -> Result<Option<EdgeEnds>, LimitsError> {
        let tile = &self.slot(id.tile)?.tile;
        let Some(edge) = tile.edges.get(id.edge) else { return Ok(None) };
        let points = tile.points(edge);
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(None) };
        let length_m = points.windows(2).map(|w| span_m(plane, w)).sum();
        Ok(Some(EdgeEnds {
            way: edge.way,
            profile: edge.profile,
            length_m,
            ends: [(*first, edge.start_cut), (*last, edge.end_cut)],
            bearings_deg: [
                points.first_chunk().map_or(0.0, |[a, b]| bearing_deg(plane, *a, *b)),
                points.last_chunk().map_or(0.0, |[a, b]| bearing_deg(plane, *a, *b)),
            ],
        }))
    }

    /// Metres from where the direction driven begins to each stop line that holds for it, the first
    /// first.
    ///
    /// # Errors
    /// As [`Self::near`].
    pub fn stop_lines(
        &mut self,
        at: Directed,
        plane: &Plane,
        to: &mut Vec<f64>,
    ) -> Result<(), LimitsError> {
        to.clear();
        let tile = &self.slot(at.id.tile)?.tile;
        let Some(edge) = tile.edges.get(at.id.edge) else { return Ok(()) };
        let holds = |s: Stops| if at.forward { s.forward } else { s.backward };
        let lines: Vec<usize> =
            tile.lines(edge).iter().filter(|l| holds(l.stops)).map(|l| l.point).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let mut length_m = 0.0;
        for (n, pair) in tile.points(edge).windows(2).enumerate() {
            if lines.contains(&n) {
                to.push(length_m);
            }
            length_m += span_m(plane, pair);
        }
        let last = tile.points(edge).len().saturating_sub(1);
        if lines.contains(&last) {
            to.push(length_m);
        }
        if !at.forward {
            to.reverse();
            to.iter_mut().for_each(|m| *m = length_m - *m);
        }
        Ok(())
    }

    /// Which edges may be driven on from the end of `from`, but for back where it came from.
    ///
    /// # Errors
    /// As [`Self::near`].
    pub fn onward(
        &mut self,
        from: Directed,
        plane: &Plane,
        to: &mut Vec<Directed>,
    ) -> Result<(), LimitsError> {
        to.clear();
        let Some(edge) = self.ends(from.id, plane)? else { return Ok(()) };
        let [first, last] = edge.ends;
        let (node, cut) = if from.forward { last } else { first };
        let sides = |v: i32| {
            let n = v.div_euclid(TILE);
            (n - i32::from(v.rem_euclid(TILE) == 0))..=n
        };
        for row in sides(node.y) {
            for column in sides(node.x) {
                let key = TileKey::at(column, row);
                let slot = self.slot(key)?;
                slot.sort_ends();
                let first = slot.ends.partition_point(|e| e.0 < node);
                for (_, number, is_last) in slot.ends.iter().skip(first).take_while(|e| e.0 == node)
                {
                    let at =
                        Directed { id: EdgeId { tile: key, edge: *number }, forward: !is_last };
                    let Some(other) = slot.tile.edges.get(*number) else { continue };
                    let other_cut = if *is_last { other.end_cut } else { other.start_cut };
                    // A cut end goes on in the same way only; a node joins whatever has it.
                    let joined = cut == other_cut && (!cut || other.way == edge.way);
                    if joined && at != from.reversed() {
                        to.push(at);
                    }
                }
            }
        }
        let map = &self.map;
        let slots = &self.slots;
        to.retain(|at| {
            let slot = slots.iter().find(|s| s.key == at.id.tile);
            let edge = slot.and_then(|s| s.tile.edges.get(at.id.edge));
            edge.and_then(|e| map.profile(e.profile)).is_some_and(|p| may_drive(p.ways, at.forward))
        });
        to.sort_unstable();
        to.dedup();
        Ok(())
    }

    /// Every directed edge that begins within `within_m` of a place `along_m` down `from`.
    ///
    /// # Errors
    /// As [`Self::near`].
    pub fn reach(
        &mut self,
        from: Directed,
        along_m: f64,
        within_m: f64,
        plane: &Plane,
        to: &mut Vec<Reached>,
    ) -> Result<(), LimitsError> {
        to.clear();
        let Some(edge) = self.ends(from.id, plane)? else { return Ok(()) };
        let reached = Reached { at: from, start_m: -along_m.min(edge.length_m), turned_deg: 0.0 };
        let mut open = vec![Open { reached, before_deg: (0.0, 0.0) }];
        let mut next = Vec::new();
        while let Some(Open { reached, before_deg }) = nearest_open(&mut open) {
            let Some(edge) = self.ends(reached.at.id, plane)? else { continue };
            let start_m = reached.start_m + edge.length_m;
            if start_m > within_m || to.len() >= MOST_VISITED {
                continue;
            }
            let short = edge.length_m < SHORT_M && reached.at != from;
            let (_, ends_deg) = edge.driven_deg(reached.at.forward);
            let before_deg = if short { before_deg } else { (reached.turned_deg, ends_deg) };
            self.onward(reached.at, plane, &mut next)?;
            for at in &next {
                let Some(edge) = self.ends(at.id, plane)? else { continue };
                let (begins_deg, _) = edge.driven_deg(at.forward);
                let turned_deg = before_deg.0 + turn_deg(before_deg.1, begins_deg);
                let reached = Reached { at: *at, start_m, turned_deg };
                match to.iter_mut().find(|r| r.at == *at) {
                    Some(r) if r.start_m <= start_m => {}
                    Some(r) => *r = reached,
                    None => {
                        to.push(reached);
                        open.push(Open { reached, before_deg });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Slot {
    fn sort_ends(&mut self) {
        if !self.ends.is_empty() {
            return;
        }
        for (number, edge) in self.tile.edges.iter().enumerate() {
            let points = self.tile.points(edge);
            if let (Some(first), Some(last)) = (points.first(), points.last()) {
                self.ends.push((*first, number, false));
                self.ends.push((*last, number, true));
            }
        }
        self.ends.sort_unstable();
    }
}

/// Whether a road may be driven in this direction.
pub const fn may_drive(ways: Ways, forward: bool) -> bool {
    match ways {
        Ways::Both => true,
        Ways::Forward => forward,
        Ways::Backward => !forward,
    }
}

fn nearest_open(open: &mut Vec<Open>) -> Option<Open> {
    let (at, _) = open
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.reached.start_m.total_cmp(&b.reached.start_m))?;
    Some(open.swap_remove(at))
}

/// Where one looks from `a` to `b`, degrees clockwise from north.
fn bearing_deg(plane: &Plane, a: Point, b: Point) -> f64 {
    let (x, y) = plane.step(a, b);
    x.atan2(y).to_degrees().rem_euclid(360.0)
}

fn span_m(plane: &Plane, pair: &[Point]) -> f64 {
    match pair {
        [a, b] => plane.distance_m(*a, *b),
        _ => 0.0,
    }
}

/// Distance, metres from the first point, length and bearing where the line is nearest.
fn nearest(points: &[Point], p: Point, plane: &Plane) -> Option<(f64, f64, f64, f64)> {
    let mut best: Option<(f64, f64, (f64, f64))> = None;
    let mut length_m = 0.0;
    for pair in points.windows(2) {
        let [a, b] = pair else { continue };
        let (ex, ey) = plane.step(*a, *b);
        let (px, py) = plane.step(*a, p);
        let square = ex * ex + ey * ey;
        let t = if square > 0.0 { ((px * ex + py * ey) / square).clamp(0.0, 1.0) } else { 0.0 };
        let (rx, ry) = (px - t * ex, py - t * ey);
        let d2 = rx * rx + ry * ry;
        let len = square.sqrt();
        if best.is_none_or(|(other, ..)| d2 < other) && square > 0.0 {
            best = Some((d2, length_m + t * len, (ex, ey)));
        }
        length_m += len;
    }
    let (d2, along_m, (ex, ey)) = best?;
    Some((d2.sqrt(), along_m, length_m, ex.atan2(ey).to_degrees().rem_euclid(360.0)))
}
