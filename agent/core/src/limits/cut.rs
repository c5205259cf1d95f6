//! From a way of the map to the pieces of the file: thinned, cut at tiles, split at junctions.
//!
//! INVARIANT: nodes that ways share stay exactly where they are, in every way that has them.

use super::{
    grid::{Plane, Point, TILE, TileKey},
    tile::Piece,
};

/// A point may be left out where the line passes it no further away than this, m. Half of what the
/// units lose anyway would be noise; a metre is nothing beside a receiver's error. Own choice.
pub const THIN_M: f64 = 1.0;

/// A point of a way and whether another way has it too.
pub type Node = (Point, bool);

/// Metres of the line, and its pieces by tile. Points that coincide are one.
pub fn pieces(way: i64, profile: u32, nodes: &[Node]) -> (f64, Vec<(TileKey, Piece)>) {
    let Some((first, _)) = nodes.first() else { return (0.0, Vec::new()) };
    let plane = Plane::at(*first);
    let thin = thinned(nodes, &plane);
    let mut out: Vec<(TileKey, Piece)> = Vec::new();
    let mut length_m = 0.0;
    let mut at: Option<Node> = None;
    for next in thin {
        let Some(from) = at.replace(next) else { continue };
        let mut start = from;
        for stop in stops(from.0, next) {
            if stop.0 == start.0 {
                start.1 |= stop.1;
                continue;
            }
            length_m += plane.distance_m(start.0, stop.0);
            push(&mut out, way, profile, start, stop);
            start = stop;
        }
        // Coinciding points: what one is, both are.
        at = Some((next.0, next.1 || (start.0 == next.0 && start.1)));
    }
    (length_m, out)
}

/// Appends one straight line that lies within one tile.
fn push(out: &mut Vec<(TileKey, Piece)>, way: i64, profile: u32, start: Node, stop: Node) {
    let middle = |a: i32, b: i32| (a + b).div_euclid(2 * TILE);
    let key = TileKey::at(middle(start.0.x, stop.0.x), middle(start.0.y, stop.0.y));
    match out.last_mut() {
        Some((last, piece)) if *last == key => {
            let edge = piece.edges.last_mut();
            match edge {
                Some(edge) if !start.1 => edge.push(stop.0),
                _ => piece.edges.push(vec![start.0, stop.0]),
            }
        }
        other => {
            // A junction on the border joins like any other; else the way itself goes on.
            let start_cut = other.is_some() && !start.1;
            if let Some((_, piece)) = other {
                piece.end_cut = start_cut;
            }
            let edges = vec![vec![start.0, stop.0]];
            out.push((key, Piece { way, profile, start_cut, end_cut: false, edges }));
        }
    }
}

/// Where the line from `a` crosses borders of tiles, in order, and then `b`.
fn stops(a: Point, b: Node) -> Vec<Node> {
    let mut crossings: Vec<(f64, Point)> = Vec::new();
    let along = |from: i32, to: i32, t: f64| {
        super::grid::rounded(f64::from(from) + (f64::from(to) - f64::from(from)) * t)
    };
    for (from, to, is_x) in [(a.x, b.0.x, true), (a.y, b.0.y, false)] {
        let (low, high) = (from.min(to), from.max(to));
        for line in low.div_euclid(TILE) + 1..=high.div_euclid(TILE) {
            let border = line * TILE;
            if border >= high {
                break;
            }
            let t = f64::from(border - from) / f64::from(to - from);
            let p = if is_x {
                Point { x: border, y: along(a.y, b.0.y, t) }
            } else {
                Point { x: along(a.x, b.0.x, t), y: border }
            };
            crossings.push((t, p));
        }
    }
    crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
    crossings.into_iter().map(|(_, p)| (p, false)).chain(std::iter::once(b)).collect()
}

/// Douglas and Peucker between junctions.
fn thinned(nodes: &[Node], plane: &Plane) -> Vec<Node> {
    let mut keep = vec![false; nodes.len()];
    let mut from = 0;
    for (n, (_, junction)) in nodes.iter().enumerate() {
        if *junction || n + 1 == nodes.len() {
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
        let (Some((a, _)), Some((b, _))) = (nodes.get(from), nodes.get(to)) else { continue };
        if let Some(k) = keep.get_mut(to) {
            *k = true;
        }
        let inner = nodes.iter().enumerate().take(to).skip(from + 1);
        let furthest = inner
            .map(|(n, (p, _))| (n, off_line_m(plane, *a, *b, *p)))
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
            steps in prop::collection::vec((-3000_i32..3000, -3000_i32..3000, any::<bool>()), 1..12),
        ) {
            let mut at = Point { x: 37_000_123, y: 27_800_456 };
            let mut nodes = vec![(at, false)];
            for (x, y, junction) in steps {
                at = Point { x: at.x + x, y: at.y + y };
                nodes.push((at, junction));
            }
            let (length_m, pieces) = pieces(7, 0, &nodes);
            let plane = Plane::at(nodes[0].0);
            let direct: f64 = nodes.windows(2).map(|w| plane.distance_m(w[0].0, w[1].0)).sum();
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
            for (p, junction) in &nodes {
                prop_assert!(!junction || line.contains(p) || line.is_empty());
            }
            // An edge has no junction within.
            for edge in pieces.iter().flat_map(|(_, p)| &p.edges) {
                for inner in &edge[1..edge.len() - 1] {
                    prop_assert!(!nodes.contains(&(*inner, true)));
                }
            }
        }
    }
}
