//! Puts a mark in, picture by picture, while they are encoded.
//!
//! The mark is computed at one node for each block of 8x8 pixels and laid between the nodes in fixed
//! point. What is less than a grey level is rounded with an ordered dither that does not move, so that a
//! slope becomes no staircase.
//!
//! The dither has half the range that would keep every slope exactly. A coder does not keep it anyway, and
//! its error is paid for at good qualities: the whole range costs 0.2 dB more where the picture is at
//! 45 dB, and no range leaves contours on slopes that are dark and have no noise. Scores of
//! filmed copies were the same with the whole range and with none, but for the hardest filming.

use std::time::Duration;

use temoin_proto::{
    mark::{MarkKey, Signs},
    sealed::TrackName,
};

use super::{
    grid::{Grid, blend_at},
    mask::{BLOCK, Mask},
};
use crate::frame::I420Picture;

/// The mark changes a picture by at most this mean square, grey levels: 44.1 dB, a decibel above
/// what is asked for. Busy pictures, where the mask alone would let more pass, are held to it.
const MOST_MSE: f32 = 2.5;
/// The field's unit is this part of a grey level.
const UNIT: f32 = 64.0;
/// Bits of [`UNIT`].
const UNIT_BITS: u32 = 6;
/// The part of the variance at the nodes that is left between them (measured on random signs).
const BETWEEN_NODES: f32 = 0.9;

/// An 8x8 ordered dither (Bayer), 0 to 63: the whole range of [`UNIT`].
const DITHER: [[i16; BLOCK]; BLOCK] = [
    [0, 32, 8, 40, 2, 34, 10, 42],
    [48, 16, 56, 24, 50, 18, 58, 26],
    [12, 44, 4, 36, 14, 46, 6, 38],
    [60, 28, 52, 20, 62, 30, 54, 22],
    [3, 35, 11, 43, 1, 33, 9, 41],
    [51, 19, 59, 27, 49, 17, 57, 25],
    [15, 47, 7, 39, 13, 45, 5, 37],
    [63, 31, 55, 23, 61, 29, 53, 21],
];

/// Where a node lies between cells, for interpolation by a cubic (Catmull-Rom): four cells and how
/// much each counts.
type Taps = [(usize, f32); 4];

/// Puts the mark of one key into the pictures of one track, all of one size, in order of time.
pub struct Embedder {
    grid: Grid,
    signs: Signs,
    across: Vec<Taps>,
    down: Vec<Taps>,
    mask: Mask,
    /// The signs of two slots at the nodes.
    patterns: [Option<Pattern>; 2],
    /// The change at each node, in units, row by row with one more node at each side.
    field: Vec<i16>,
    /// Two rows of nodes, laid out over the picture's width with half a block more at each side.
    laid: [Vec<i16>; 2],
    /// [`DITHER`] at half its range, over the whole width.
    dither: [Vec<i16>; BLOCK],
    width: usize,
}

struct Pattern {
    slot: u32,
    at_nodes: Vec<f32>,
}

impl std::fmt::Debug for Embedder {
    // Never the signs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("grid", &self.grid).finish_non_exhaustive()
    }
}

impl Embedder {
    /// For pictures of this size.
    pub fn new(key: &MarkKey, track: TrackName, width: u32, height: u32) -> Self {
        let grid = Grid::of(width, height);
        let mask = Mask::new(width, height);
        let (across, down) = mask.size();
        let width_px = crate::rounding::index(width);
        Self {
            grid,
            signs: key.signs(track),
            across: (0..across).map(|n| taps(n, width, grid.cols())).collect(),
            down: (0..down).map(|n| taps(n, height, grid.rows())).collect(),
            mask,
            patterns: [None, None],
            field: vec![0; (across + 2) * (down + 2)],
            laid: [vec![0; BLOCK * (across + 1)], vec![0; BLOCK * (across + 1)]],
            dither: DITHER
                .map(|row| row.map(half_range).into_iter().cycle().take(width_px).collect()),
            width: width_px,
        }
    }

    /// Marks a picture. `at` is its time in the recording.
    pub fn mark(&mut self, picture: &mut I420Picture, at: Duration) {
        let luma = picture.planes_mut().y;
        self.make_field(luma, at);
        self.lay(luma);
    }

    /// Makes sure that the pattern of this slot is there, in place of one that is not wanted.
    fn have(&mut self, slot: u32, keep: u32) {
        let is = |pattern: &Option<Pattern>, slot| pattern.as_ref().is_some_and(|p| p.slot == slot);
        if self.patterns.iter().any(|pattern| is(pattern, slot)) {
            return;
        }
        let at_nodes =
            at_nodes(&self.grid.signs(&self.signs, slot), self.grid, &self.across, &self.down);
        let [first, second] = &mut self.patterns;
        let free = if is(first, keep) { second } else { first };
        *free = Some(Pattern { slot, at_nodes });
    }

    fn make_field(&mut self, luma: &[u8], at: Duration) {
        let blend = blend_at(at);
        self.have(blend.from, blend.to);
        self.have(blend.to, blend.from);
        let of = |slot| self.patterns.iter().flatten().find(|pattern| pattern.slot == slot);
        let (Some(from), Some(to)) = (of(blend.from), of(blend.to)) else { return };
        let levels = self.mask.follow(luma, at);
        let change =
            |((level, from), to): ((&f32, &f32), &f32)| level * (from + (to - from) * blend.part);
        let nodes = || levels.iter().zip(&from.at_nodes).zip(&to.at_nodes).map(change);
        let (mut squares, mut n) = (0.0, 0.0);
        for change in nodes() {
            squares += change * change;
            n += 1.0;
        }
        let mse = BETWEEN_NODES * squares / n;
        let scale = UNIT * (MOST_MSE / mse).sqrt().min(1.0);
        // Row by row into the middle of the field, its first and last node once more at each side.
        let row_len = self.across.len() + 2;
        let mut changes = nodes();
        for row in self.field.chunks_exact_mut(row_len).skip(1).take(self.down.len()) {
            let middle = row.get_mut(1..=self.across.len()).unwrap_or_default();
            for (node, change) in middle.iter_mut().zip(&mut changes) {
                *node = fixed(change * scale);
            }
            if let [first, second, .., before, last] = row {
                *first = *second;
                *last = *before;
            } else if let [first, only, last] = row {
                (*first, *last) = (*only, *only);
            }
        }
        let last = self.field.len() - row_len;
        self.field.copy_within(row_len..2 * row_len, 0);
        self.field.copy_within(last - row_len..last, last);
    }

    fn lay(&mut self, luma: &mut [u8]) {
        let row_len = self.across.len() + 2;
        let mut nodes = self.field.chunks_exact(row_len);
        let [upper, lower] = &mut self.laid;
        if let Some(first) = nodes.next() {
            lay_across(first, upper);
        }
        // The first half block lies between the first row of nodes and its copy above.
        let mut rows = luma.chunks_exact_mut(self.width).peekable();
        let mut skip = BLOCK / 2;
        for next in nodes {
            lay_across(next, lower);
            for (weights, dither) in WEIGHTS.iter().zip(&self.dither).skip(skip) {
                let Some(row) = rows.next() else { return };
                change_row(row, upper, lower, *weights, dither);
            }
            skip = 0;
            std::mem::swap(upper, lower);
        }
    }
}

/// The weights of a node along one side.
fn taps(node: usize, side: u32, cells: usize) -> Taps {
    let position = (f64::from(u32::try_from(node * BLOCK + BLOCK / 2).unwrap_or(u32::MAX))
        / f64::from(side))
        * f64::from(u32::try_from(cells).unwrap_or(u32::MAX))
        - 0.5;
    let base = crate::rounding::round_i32(position.floor());
    let x = narrow(position - position.floor());
    let (x2, x3) = (x * x, x * x * x);
    let weights = [
        -0.5 * x + x2 - 0.5 * x3,
        1.0 - 2.5 * x2 + 1.5 * x3,
        0.5 * x + 2.0 * x2 - 1.5 * x3,
        -0.5 * x2 + 0.5 * x3,
    ];
    let cell = |offset: i32| {
        usize::try_from((base + offset).max(0)).unwrap_or(0).min(cells.saturating_sub(1))
    };
    let [a, b, c, d] = weights;
    [(cell(-1), a), (cell(0), b), (cell(1), c), (cell(2), d)]
}

/// The signs of a slot, interpolated at the nodes.
fn at_nodes(signs: &[f32], grid: Grid, across: &[Taps], down: &[Taps]) -> Vec<f32> {
    let weigh = |values: &[f32], taps: &Taps| -> f32 {
        taps.iter().map(|(cell, weight)| weight * values.get(*cell).copied().unwrap_or(0.0)).sum()
    };
    let rows: Vec<Vec<f32>> = signs
        .chunks_exact(grid.cols())
        .map(|row| across.iter().map(|taps| weigh(row, taps)).collect())
        .collect();
    let mut nodes = Vec::with_capacity(across.len() * down.len());
    for taps in down {
        for x in 0..across.len() {
            nodes.push(
                taps.iter()
                    .map(|(cell, weight)| {
                        weight * rows.get(*cell).and_then(|row| row.get(x)).copied().unwrap_or(0.0)
                    })
                    .sum(),
            );
        }
    }
    nodes
}

/// How much the node before and the node after count at each place between them, in 16ths.
const WEIGHTS: [(i16, i16); BLOCK] =
    [(15, 1), (13, 3), (11, 5), (9, 7), (7, 9), (5, 11), (3, 13), (1, 15)];

/// Lays a row of nodes out: eight places between each node and the next.
fn lay_across(nodes: &[i16], out: &mut [i16]) {
    for (pair, out) in nodes.windows(2).zip(out.as_chunks_mut::<BLOCK>().0) {
        let &[before, after] = pair else { continue };
        for (value, (b, a)) in out.iter_mut().zip(WEIGHTS) {
            *value = before.wrapping_mul(b).wrapping_add(after.wrapping_mul(a)) >> 4;
        }
    }
}

/// Changes a row of the picture by what lies between two laid rows. One plain loop over slices: the
/// compiler makes vectors of it.
fn change_row(row: &mut [u8], upper: &[i16], lower: &[i16], (b, a): (i16, i16), dither: &[i16]) {
    let skip = BLOCK / 2;
    let (upper, lower) =
        (upper.get(skip..).unwrap_or_default(), lower.get(skip..).unwrap_or_default());
    for (((y, upper), lower), dither) in row.iter_mut().zip(upper).zip(lower).zip(dither) {
        // Nothing wraps: a node is at most 1000 units. A check would cost more than the sum.
        let value = upper.wrapping_mul(b).wrapping_add(lower.wrapping_mul(a)) >> 4;
        let change = value.wrapping_add(*dither) >> UNIT_BITS;
        let changed = i16::from(*y).wrapping_add(change).clamp(0, 255);
        // Within a byte, as it was clamped.
        *y = changed.to_le_bytes()[0];
    }
}

/// The same step in a dither of half the range, with the same middle.
const fn half_range(step: i16) -> i16 {
    16 + step / 2
}

/// A change in units; far less than what an `i16` holds.
#[expect(clippy::cast_possible_truncation, reason = "a few grey levels in 64ths")]
fn fixed(units: f32) -> i16 {
    units.round().clamp(-1000.0, 1000.0) as i16
}

/// A part of 1 in single precision.
#[expect(clippy::cast_possible_truncation, reason = "a part of 1 needs no more digits")]
const fn narrow(part: f64) -> f32 {
    part as f32
}

#[cfg(test)]
#[path = "embed_tests.rs"]
mod tests;
