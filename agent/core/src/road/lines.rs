//! Lines that run side by side on the road, fitted to points of markings in the picture.
//!
//! A line `left` metres to the left that follows a bend of the curvature `bend` (1/m, positive to
//! the left) crosses the row that is `below` pixels below the horizon at the column
//!
//! ```text
//! u = column - left · focal · below / scale - bend · focal · scale / (2 below)
//! ```
//!
//! All lines of a road share horizon, column and bend; each has its own place. So lines that are
//! seen on both sides tell the camera's pitch in this very picture, and a place in metres does not
//! depend on an exact horizon.
//!
//! First a vote over a coarse grid of the shared numbers, sharpest histogram of places wins; then
//! a robust least-squares fit.

use super::{camera::RoadCamera, distance::Horizon};

/// A point of a marking, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarkPoint {
    /// Column.
    pub u: f64,
    /// Row.
    pub v: f64,
    /// 0 to 1: how clear it is.
    pub weight: f64,
}

/// What is believed before this picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// The horizon.
    pub horizon: Horizon,
    /// The column that the road runs towards, pixels, and one standard deviation of it.
    pub column_px: (f64, f64),
    /// The bend, 1/m, and one standard deviation of it.
    pub bend: (f64, f64),
}

/// A line along the road.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Where it passes the lens: metres to the left of it.
    pub left_m: f64,
    /// In how many rows of the picture it was seen.
    pub rows: usize,
    /// From where it was seen, metres along the axis.
    pub near_m: f64,
    /// To where it was seen, metres along the axis.
    pub far_m: f64,
    /// How far its points lie from it, metres, in the mean of squares.
    pub spread_m: f64,
}

/// The lines of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// The horizon, as these lines and what was believed tell it.
    pub horizon: Horizon,
    /// The horizon as these lines alone tell it; `None` where they tell nothing.
    pub horizon_alone: Option<Horizon>,
    /// The column that the road runs towards.
    pub column_px: f64,
    /// The bend, 1/m, positive to the left.
    pub bend: f64,
    /// Variances and covariance of column and bend: column, both, bend.
    pub shape: [f64; 3],
    /// From left to right.
    pub lines: Vec<Line>,
}

impl Lines {
    /// How far to the left of the lens's own path along the road a point is, which is `depth_m`
    /// deep and in this column.
    pub fn left_m(&self, camera: &RoadCamera, u: f64, depth_m: f64) -> f64 {
        let shared = Shared {
            row: self.horizon.row_px,
            column: self.column_px,
            bend: self.bend,
            scale: camera.depth_scale(self.horizon.row_px),
            focal: camera.focal_px,
        };
        shared.left_m(u, shared.scale / depth_m)
    }

    /// One standard deviation of [`Self::left_m`] for something whose depth is told to within
    /// `depth_sigma_m`: the lines' own, and what a bend may change ahead of what was seen.
    pub fn left_sigma_m(
        &self,
        camera: &RoadCamera,
        u: f64,
        (depth_m, depth_sigma_m): (f64, f64),
    ) -> f64 {
        let [column, both, bend] = self.shape;
        let (by_column, by_bend) = (depth_m / camera.focal_px, -depth_m * depth_m / 2.0);
        let squares = column * by_column * by_column
            + 2.0 * both * by_column * by_bend
            + bend * by_bend * by_bend;
        let slope = (self.column_px - u) / camera.focal_px - self.bend * depth_m;
        let transition_m = depth_m.powi(3) / 6.0 * BEND_CHANGE;
        squares.max(0.0).sqrt().hypot(slope * depth_sigma_m).hypot(transition_m)
    }
}

/// How fast a bend begins, 1/m per metre, one standard deviation: half of what a clothoid of 300 m
/// does, the tightest of a motorway (RAA 2008). Own choice: validate.
const BEND_CHANGE: f64 = 0.5 / (300.0 * 300.0);

/// Points further away say too little of a line's place, metres.
const FARTHEST_M: f64 = 60.0;
/// Points that vote are nearer than this, metres, so that a bend matters less.
const VOTE_M: f64 = 40.0;
/// Points that vote, about.
const VOTERS: f64 = 160.0;
/// Steps of the vote: degrees of horizon and column, and of the bend, 1/m.
const STEP_DEG: f64 = 0.65;
const STEP_BEND: f64 = 0.0012;
/// Places of lines, metres to each side.
pub(super) const WIDEST_M: f64 = 7.0;
/// Width of the histogram's bins, metres.
pub(super) const BIN_M: f64 = 0.2;
const BINS: usize = 70;
/// Lines that are fitted at once.
const MOST_LINES: usize = 6;
/// Lines are further apart than this, metres: a double line is one.
const APART_M: f64 = 0.7;
/// Points further from their line count for none, metres: in the first round, and in the last.
const GATE_M: (f64, f64) = (0.45, 0.2);
const ROUNDS: u8 = 7;
/// One standard deviation of a point: pixels, and metres across.
const POINT: (f64, f64) = (0.8, 0.03);
/// A road is no plane: the horizon of one picture is not told better than this, degrees. Measured:
/// distances of one vehicle on a motorway scatter as if it were so.
const LEAST_DEG: f64 = 0.12;
/// Points of one stripe err together: their number tells more than they do.
const TOGETHER: f64 = 3.0;

/// What all lines share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    pub(super) row: f64,
    column: f64,
    bend: f64,
    scale: f64,
    focal: f64,
}

impl Shared {
    pub(super) fn at(camera: &RoadCamera, row: f64, column: f64, bend: f64) -> Self {
        Self { row, column, bend, scale: camera.depth_scale(row), focal: camera.focal_px }
    }

    /// The place of the line through a point that is so far below the horizon.
    fn left_m(&self, u: f64, below: f64) -> f64 {
        let bent = self.bend * self.focal * self.scale / (2.0 * below);
        (self.column - u - bent) * self.scale / (self.focal * below)
    }

    fn depth_m(&self, v: f64) -> f64 {
        self.scale / (v - self.row)
    }
}

/// The lines that these points are on; `None` where no number comes out. Lines of one or two
/// points are among them: what is enough is for the caller to say.
pub fn fit(camera: &RoadCamera, belief: &Belief, points: &[MarkPoint]) -> Option<Lines> {
    let points: Vec<MarkPoint> = points
        .iter()
        .filter(|p| p.u.is_finite() && p.v.is_finite() && p.weight > 0.0 && p.weight <= 1.0)
        .copied()
        .collect();
    let shared = vote(camera, belief, &points)?;
    let places = peaks(&shared, &points);
    refine(camera, belief, &points, shared, places)
}

/// About so many of the points. They come row by row, so each n-th could always be of the same
/// line: steps of the golden ratio fall in with no period.
pub(super) fn thinned(points: &[MarkPoint], about: f64) -> Vec<&MarkPoint> {
    #[expect(clippy::cast_precision_loss, reason = "some thousand points")]
    let part = about / points.len().max(1) as f64;
    let mut turn = 0.0_f64;
    points
        .iter()
        .filter(|_| {
            turn = (turn + 0.618_033_988_75).fract();
            turn < part
        })
        .collect()
}

/// The shared numbers that make the sharpest histogram of places.
fn vote(camera: &RoadCamera, belief: &Belief, points: &[MarkPoint]) -> Option<Shared> {
    let voters = thinned(points, VOTERS);
    let all: f64 = voters.iter().map(|p| p.weight).sum();
    if voters.is_empty() {
        return None;
    }
    let spread = |(middle, sigma): (f64, f64), step: f64| {
        // From -1.75 to 1.75 standard deviations, in about these steps.
        let n = (1.75 * sigma / step).ceil().clamp(1.0, 8.0);
        (0_u8..=16).map(move |k| f64::from(k) - n).take_while(move |k| *k <= n).map(move |k| {
            let off = 1.75 * k / n;
            (middle + sigma * off, off * off)
        })
    };
    let rows = (belief.horizon.row_px, belief.horizon.sigma_px);
    let steps = (camera.px_of_deg(STEP_DEG), camera.px_of_deg(STEP_DEG), STEP_BEND);
    // A bin is as many pixels wide at the picture's bottom for every horizon: in metres all places
    // lie the closer together the higher the horizon is taken, and the highest would win.
    let metre_at_bottom = |row: f64| {
        let below = (camera.bonnet_px.min(camera.height_px) - row).max(1.0);
        camera.depth_scale(row) / below
    };
    let nominal = metre_at_bottom(belief.horizon.row_px);
    let mut best: Option<(f64, Shared)> = None;
    for (row, row_off) in spread(rows, steps.0) {
        for (bend, bend_off) in spread(belief.bend, steps.2) {
            for (column, column_off) in spread(belief.column_px, steps.1) {
                let shared = Shared::at(camera, row, column, bend);
                let bin_m = BIN_M * metre_at_bottom(row) / nominal;
                let sharp = histogram(&shared, voters.iter().copied(), (VOTE_M, bin_m));
                let squares: f64 = sharp.iter().map(|b| b * b).sum();
                let doubt = 0.03 * (row_off + bend_off + column_off);
                let score = squares / (all * all) * (1.0 - doubt);
                if score > best.map_or(0.0, |(s, _)| s) {
                    best = Some((score, shared));
                }
            }
        }
    }
    best.map(|(_, shared)| shared)
}

/// Weight of the points at each place, each point shared between the two nearest bins.
pub(super) fn histogram<'a>(
    shared: &Shared,
    points: impl Iterator<Item = &'a MarkPoint>,
    (farthest_m, bin_m): (f64, f64),
) -> [f64; BINS] {
    let mut bins = [0.0; BINS];
    for p in points {
        let below = p.v - shared.row;
        if below < 1.0 || shared.scale / below > farthest_m {
            continue;
        }
        let place = shared.left_m(p.u, below) / bin_m + WIDEST_M / BIN_M - 0.5;
        if !(0.0..1e3).contains(&place) {
            continue;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1000, as was just checked"
        )]
        let bin = place as usize;
        let part = place.fract();
        for (bin, part) in [(bin, 1.0 - part), (bin + 1, part)] {
            if let Some(sum) = bins.get_mut(bin) {
                *sum += p.weight * part;
            }
        }
    }
    bins
}

/// Places with more weight than their neighbours, the heaviest first.
pub(super) fn peaks(shared: &Shared, points: &[MarkPoint]) -> Vec<f64> {
    let bins = histogram(shared, points.iter(), (FARTHEST_M, BIN_M));
    let mut heights: Vec<(f64, f64)> = Vec::new();
    let mut place = -WIDEST_M + BIN_M;
    for three in bins.windows(3) {
        place += BIN_M;
        let [a, b, c] = *three else { continue };
        if b >= a && b >= c && b > 0.0 {
            let sum = a + b + c;
            heights.push((sum, place - BIN_M / 2.0 + (c - a) / sum * BIN_M));
        }
    }
    heights.sort_by(|a, b| b.0.total_cmp(&a.0));
    let highest = heights.first().map_or(0.0, |h| h.0);
    let mut places: Vec<f64> = Vec::new();
    for (height, place) in heights {
        let free = places.iter().all(|p| (p - place).abs() >= APART_M);
        if height >= 2.0 && height >= 0.08 * highest && free && places.len() < MOST_LINES {
            places.push(place);
        }
    }
    places
}

/// Sums of one line in the normal equations.
#[derive(Clone, Copy, Debug, Default)]
struct LineSums {
    own: f64,
    cross: [f64; 3],
    residual: f64,
}

/// Robust least squares over what is shared and the place of each line, which is eliminated line
/// by line (Schur complement): what is left to solve has three unknowns.
pub(super) fn refine(
    camera: &RoadCamera,
    belief: &Belief,
    points: &[MarkPoint],
    mut shared: Shared,
    mut places: Vec<f64>,
) -> Option<Lines> {
    let mut sigma_px = belief.horizon.sigma_px;
    let mut shape = [0.0; 3];
    for round in 0..ROUNDS {
        let part = f64::from(round) / f64::from(ROUNDS - 1);
        let gate_m = GATE_M.0 + (GATE_M.1 - GATE_M.0) * part;
        let priors = [
            (belief.horizon.row_px - shared.row, belief.horizon.sigma_px),
            (belief.column_px.0 - shared.column, belief.column_px.1),
            (belief.bend.0 - shared.bend, belief.bend.1),
        ];
        let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
        for (n, (off, sigma)) in priors.into_iter().enumerate() {
            let weight = 1.0 / (sigma * sigma);
            if let (Some(cell), Some(side)) =
                (matrix.get_mut(n).and_then(|row| row.get_mut(n)), right.get_mut(n))
            {
                *cell += weight;
                *side += weight * off;
            }
        }
        let mut sums = vec![LineSums::default(); places.len()];
        for p in points {
            let below = p.v - shared.row;
            if below < 1.0 || shared.scale / below > FARTHEST_M {
                continue;
            }
            let metre_px = shared.focal * below / shared.scale;
            let at_m = shared.left_m(p.u, below);
            let near = |a: &(usize, &f64)| (at_m - a.1).abs();
            let nearest = places.iter().enumerate().min_by(|a, b| near(a).total_cmp(&near(b)));
            let Some((n, place)) = nearest else { break };
            let off_m = at_m - place;
            // Further away the grid's error is larger.
            let gate_m = gate_m.max(2.0 / metre_px);
            let reach = off_m / gate_m;
            if reach.is_nan() || reach.abs() >= 1.0 {
                continue;
            }
            let sigma = POINT.0.hypot(POINT.1 * metre_px);
            let robust = (1.0 - reach * reach).powi(2);
            let weight = p.weight * robust / (sigma * sigma * TOGETHER);
            // `off_m` is positive to the left, the column grows to the right.
            let residual = -off_m * metre_px;
            let bent = shared.focal * shared.scale / (2.0 * below);
            let slopes =
                [place * shared.focal / shared.scale - shared.bend * bent / below, 1.0, -bent];
            let own = -metre_px;
            let Some(line) = sums.get_mut(n) else { continue };
            line.own += weight * own * own;
            line.residual += weight * own * residual;
            for (cross, slope) in line.cross.iter_mut().zip(slopes) {
                *cross += weight * own * slope;
            }
            for ((row, side), a) in matrix.iter_mut().zip(&mut right).zip(slopes) {
                *side += weight * a * residual;
                for (cell, b) in row.iter_mut().zip(slopes) {
                    *cell += weight * a * b;
                }
            }
        }
        for line in sums.iter().filter(|l| l.own > 0.0) {
            for ((row, side), a) in matrix.iter_mut().zip(&mut right).zip(line.cross) {
                *side -= a * line.residual / line.own;
                for (cell, b) in row.iter_mut().zip(line.cross) {
                    *cell -= a * b / line.own;
                }
            }
        }
        let inverse = inverse(&matrix)?;
        let step = inverse.map(|row| row.iter().zip(right).map(|(a, b)| a * b).sum::<f64>());
        let [row, column, bend] = step;
        // A step of twice the belief's own width is a fit that runs away.
        let row = row.clamp(-2.0 * belief.horizon.sigma_px, 2.0 * belief.horizon.sigma_px);
        shared = Shared::at(camera, shared.row + row, shared.column + column, shared.bend + bend);
        for (place, line) in places.iter_mut().zip(&sums) {
            if line.own > 0.0 {
                let dot: f64 = line.cross.iter().zip(step).map(|(a, b)| a * b).sum();
                *place += (line.residual - dot) / line.own;
            }
        }
        sigma_px = inverse[0][0].sqrt();
        shape = [inverse[1][1], inverse[1][2], inverse[2][2]];
    }
    let mut lines: Vec<Line> =
        places.iter().filter_map(|place| line(&shared, points, *place)).collect();
    lines.sort_by(|a, b| b.left_m.total_cmp(&a.left_m));
    let fitted = Horizon { row_px: shared.row, sigma_px };
    let wider =
        |h: Horizon| Horizon { sigma_px: h.sigma_px.hypot(camera.px_of_deg(LEAST_DEG)), ..h };
    let horizon = wider(fitted);
    let horizon_alone = without(fitted, belief.horizon).map(wider);
    let [a, b, c] = shape;
    let sound = [shared.row, shared.column, shared.bend, horizon.sigma_px, a, b, c];
    sound.iter().all(|x| x.is_finite()).then_some(Lines {
        horizon,
        horizon_alone,
        column_px: shared.column,
        bend: shared.bend,
        shape,
        lines,
    })
}

/// What was added to a belief: of independent Gaussians the inverse variances add up.
fn without(fitted: Horizon, belief: Horizon) -> Option<Horizon> {
    let (all, before) = (fitted.sigma_px.powi(-2), belief.sigma_px.powi(-2));
    let own = all - before;
    // Less than the belief itself knew is mostly the belief.
    if own.is_nan() || own < before {
        return None;
    }
    let row_px = (fitted.row_px * all - belief.row_px * before) / own;
    Some(Horizon { row_px, sigma_px: own.sqrt().recip() })
}

/// What of the points is on a line.
fn line(shared: &Shared, points: &[MarkPoint], left_m: f64) -> Option<Line> {
    let mut line = Line { left_m, rows: 0, near_m: f64::MAX, far_m: 0.0, spread_m: 0.0 };
    let mut last = f64::NAN;
    let (mut squares, mut weights) = (0.0, 0.0);
    for p in points {
        let below = p.v - shared.row;
        let depth_m = shared.depth_m(p.v);
        if below < 1.0 || depth_m > FARTHEST_M {
            continue;
        }
        let off_m = shared.left_m(p.u, below) - left_m;
        if off_m.is_nan() || off_m.abs() > GATE_M.1.max(2.0 * shared.scale / (shared.focal * below))
        {
            continue;
        }
        // Points come row by row.
        if p.v.to_bits() != last.to_bits() {
            line.rows += 1;
            last = p.v;
        }
        line.near_m = line.near_m.min(depth_m);
        line.far_m = line.far_m.max(depth_m);
        squares += p.weight * off_m * off_m;
        weights += p.weight;
    }
    line.spread_m = (squares / weights).sqrt();
    (left_m.is_finite() && line.spread_m.is_finite() && line.rows > 0).then_some(line)
}

/// The inverse of a symmetric matrix; `None` where there is none.
fn inverse(m: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let minor = |a: f64, b: f64, c: f64, d: f64| a * d - b * c;
    let (c00, c01, c02) = (
        minor(m[1][1], m[1][2], m[2][1], m[2][2]),
        minor(m[1][2], m[1][0], m[2][2], m[2][0]),
        minor(m[1][0], m[1][1], m[2][0], m[2][1]),
    );
    let determinant = m[0][0] * c00 + m[0][1] * c01 + m[0][2] * c02;
    if !determinant.is_normal() {
        return None;
    }
    let d = 1.0 / determinant;
    let c11 = minor(m[0][0], m[0][2], m[2][0], m[2][2]);
    let c12 = minor(m[0][1], m[0][0], m[2][1], m[2][0]);
    let c22 = minor(m[0][0], m[0][1], m[1][0], m[1][1]);
    Some([[c00 * d, c01 * d, c02 * d], [c01 * d, c11 * d, c12 * d], [c02 * d, c12 * d, c22 * d]])
}

#[cfg(test)]
#[path = "lines_tests.rs"]
pub(crate) mod tests;
