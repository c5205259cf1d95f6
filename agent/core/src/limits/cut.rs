//! From a way of the map to the pieces of the file: thinned, cut at tiles, split at junctions.
//!
//! INVARIANT: nodes that ways share, and stop lines, stay exactly where they are.

use super::{
    grid::{Plane, Point, TILE, TileKey},
    stop::Stops,
    tile::{Piece, PieceStop},
};

/// A point may be left out where the line passes it no further away than this, m. Half of what the
/// units lose anyway would be noise; a metre is nothing beside a receiver's error. Own choice.
pub const THIN_M: f64 = 1.0;

/// A point of a way.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Where.
    pub at: Point,
    /// Whether another way has it too, or this one again.
    pub shared: bool,
    /// Who must stop here.
    pub stops: Stops,
}

/// Metres of the line, and its pieces by tile. Points that coincide are one.
pub fn pieces(way: i64, profile: u32, nodes: &[Node]) -> (f64, Vec<(TileKey, Piece)>) {
    let Some(first) = nodes.first() else { return (0.0, Vec::new()) };
    let plane = Plane::at(first.at);
    let thin = thinned(nodes, &plane);
    let mut out: Vec<(TileKey, Piece)> = Vec::new();
    let mut length_m = 0.0;
    let mut at: Option<Node> = None;
    for next in thin {
        let Some(from) = at.replace(next) else { continue };
        let mut start = from;
        for end in ends(from.at, next) {
            if end.at == start.at {
                // Points that coincide: what one is, both are.
                start.shared |= end.shared;
                start.stops = start.stops.or(end.stops);
                if end.stops.forward
                    && let Some((_, piece)) = out.last_mut()
                {
                    stop_at_end(piece, Stops { forward: true, backward: false });
                }
                continue;
            }
            length_m += plane.distance_m(start.at, end.at);
            push(&mut out, way, profile, start, end);
            start = end;
        }
        at = Some(start);
    }
    (length_m, out)
}

/// Appends one straight line that lies within one tile.
fn push(out: &mut Vec<(TileKey, Piece)>, way: i64, profile: u32, start: Node, end: Node) {
    let middle = |a: i32, b: i32| (a + b).div_euclid(2 * TILE);
    let key = TileKey::at(middle(start.at.x, end.at.x), middle(start.at.y, end.at.y));
    match out.last_mut() {
        Some((last, piece)) if *last == key => {
            if start.shared {
                piece.edges.push(vec![start.at]);
            }
        }
        other => {
            // A junction on the border joins like any other; else the way itself goes on.
            let start_cut = other.is_some() && !start.shared;
            if let Some((_, piece)) = other {
                piece.end_cut = start_cut;
            }
            let (edges, stops) = (vec![vec![start.at]], Vec::new());
            out.push((key, Piece { way, profile, start_cut, end_cut: false, edges, stops }));
        }
    }
    if let Some((_, piece)) = out.last_mut() {
        // Who comes along the way stops at the end of a line, who comes against it at its start.
        stop_at_end(piece, Stops { forward: false, ..start.stops });
        if let Some(edge) = piece.edges.last_mut() {
            edge.push(end.at);
        }
        stop_at_end(piece, Stops { backward: false, ..end.stops });
    }
}

/// Marks the last point so far.
fn stop_at_end(piece: &mut Piece, stops: Stops) {
    if !stops.any() {
        return;
    }
    let Some(edge) = piece.edges.len().checked_sub(1) else { return };
    let Some(point) = piece.edges.last().and_then(|e| e.len().checked_sub(1)) else { return };
    match piece.stops.last_mut() {
        Some(last) if (last.edge, last.point) == (edge, point) => last.stops = last.stops.or(stops),
        Some(_) | None => piece.stops.push(PieceStop { edge, point, stops }),
    }
}

/// Where the line from `a` crosses borders of tiles, in order, and then `b`.
fn ends(a: Point, b: Node) -> Vec<Node> {
    let mut crossings: Vec<(f64, Point)> = Vec::new();
    let along = |from: i32, to: i32, t: f64| {
        super::grid::rounded(f64::from(from) + (f64::from(to) - f64::from(from)) * t)
    };
    for (from, to, is_x) in [(a.x, b.at.x, true), (a.y, b.at.y, false)] {
        let (low, high) = (from.min(to), from.max(to));
        for line in low.div_euclid(TILE) + 1..=high.div_euclid(TILE) {
            let border = line * TILE;
            if border >= high {
                break;
            }
            let t = f64::from(border - from) / f64::from(to - from);
            let p = if is_x {
                Point { x: border, y: along(a.y, b.at.y, t) }
            } else {
                Point { x: along(a.x, b.at.x, t), y: border }
            };
            crossings.push((t, p));
        }
    }
    crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
    let between =
        crossings.into_iter().map(|(_, at)| Node { at, shared: false, stops: Stops::NONE });
    between.chain(std::iter::once(b)).collect()
}

/// Douglas and Peucker between junctions and stop lines.
fn thinned(nodes: &[Node], plane: &Plane) -> Vec<Node> {
    let mut keep = vec![false; nodes.len()];
    let mut from = 0;
    for (n, node) in nodes.iter().enumerate() {
        if node.shared || node.stops.any() || n + 1 == nodes.len() {
            mark(nodes, from, n, plane, &mut keep);
            from = n;
        }
    }
    if let Some(first) = keep.first_mut() {
        *first = true;
    }
    nodes.iter().zip(keep).filter(|(_, keep)| *keep).map(|(n, _)| *n).collect()
}

fn mark(nodes: &[Node], from: usize, to: usize, plane: &Plane, keep: &mut [bool]) {
    let mut open = vec![(from, to)];
    while let Some((from, to)) = open.pop() {
        let (Some(a), Some(b)) = (nodes.get(from), nodes.get(to)) else { continue };
        if let Some(k) = keep.get_mut(to) {
            *k = true;
        }
        let inner = nodes.iter().enumerate().take(to).skip(from + 1);
        let furthest = inner
            .map(|(n, p)| (n, off_line_m(plane, a.at, b.at, p.at)))
            .max_by(|x, y| x.1.total_cmp(&y.1));
        if let Some((n, off_m)) = furthest
            && off_m > THIN_M
        {
            open.push((from, n));
            open.push((n, to));
        }
    }
}

fn off_line_m(plane: &Plane, a: Point, b: Point, p: Point) -> f64 {
    let ((ex, ey), (px, py)) = (plane.step(a, b), plane.step(a, p));
    let square = ex * ex + ey * ey;
    let t = if square > 0.0 { ((px * ex + py * ey) / square).clamp(0.0, 1.0) } else { 0.0 };
    (px - t * ex).hypot(py - t * ey)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Pieces lie in their tiles, follow each other, and keep junctions and length.
        #[test]
        fn pieces_are_the_way(
            steps in prop::collection::vec((-3000_i32..3000, -3000_i32..3000, any::<[bool; 3]>()), 1..12),
        ) {
            let mut at = Point { x: 37_000_123, y: 27_800_456 };
            let mut nodes = vec![Node { at, shared: false, stops: Stops::NONE }];
            for (x, y, [shared, forward, backward]) in steps {
                at = Point { x: at.x + x, y: at.y + y };
                nodes.push(Node { at, shared, stops: Stops { forward, backward } });
            }
            // Nobody comes against the way from behind its end.
            nodes.last_mut().unwrap().stops.backward = false;
            let (length_m, pieces) = pieces(7, 0, &nodes);
            let plane = Plane::at(nodes[0].at);
            let direct: f64 = nodes.windows(2).map(|w| plane.distance_m(w[0].at, w[1].at)).sum();
            prop_assert!((length_m - direct).abs() <= direct * 0.01 + 40.0, "{length_m} {direct}");
            let mut line: Vec<Point> = Vec::new();
            for (n, (key, piece)) in pieces.iter().enumerate() {
                let c = key.corner();
                for edge in &piece.edges {
                    prop_assert!(edge.len() >= 2);
                    for p in edge {
                        prop_assert!((0..=TILE).contains(&(p.x - c.x)) && (0..=TILE).contains(&(p.y - c.y)));
                    }
                    prop_assert!(line.last().is_none_or(|l| *l == edge[0]));
                    line.extend(&edge[usize::from(!line.is_empty())..]);
                }
                prop_assert_eq!(piece.start_cut, n > 0 && pieces[n - 1].1.end_cut);
            }
            for node in &nodes {
                prop_assert!(!node.shared || line.contains(&node.at) || line.is_empty());
            }
            // Every stop line is where it was, once for each direction, in the way's order.
            let places = |of: fn(Stops) -> bool| -> Vec<Point> {
                let all = pieces.iter().flat_map(|(_, p)| p.stops.iter().map(move |s| (p, s)));
                all.filter(|(_, s)| of(s.stops)).map(|(p, s)| p.edges[s.edge][s.point]).collect()
            };
            let want = |of: fn(Stops) -> bool| -> Vec<Point> {
                nodes.iter().filter(|n| of(n.stops)).map(|n| n.at).collect()
            };
            let coincide = nodes.windows(2).any(|w| w[0].at == w[1].at);
            if !coincide {
                prop_assert_eq!(places(|s| s.forward), want(|s| s.forward));
                prop_assert_eq!(places(|s| s.backward), want(|s| s.backward));
            }
            for stop in pieces.iter().flat_map(|(_, p)| p.stops.iter().map(move |s| (s, &p.edges))) {
                // A line that lies at an edge's start is for who leaves it there, at its end likewise.
                let (s, edges) = stop;
                prop_assert!(s.point > 0 || !s.stops.forward);
                prop_assert!(s.point + 1 < edges[s.edge].len() || !s.stops.backward);
            }
            // An edge has no junction within.
            for edge in pieces.iter().flat_map(|(_, p)| &p.edges) {
                for inner in &edge[1..edge.len() - 1] {
                    prop_assert!(!nodes.iter().any(|n| n.at == *inner && n.shared));
                }
            }
        }
    }
}
