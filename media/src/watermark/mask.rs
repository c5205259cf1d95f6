//! How much the eye lets pass, for each block of 8x8 pixels: little on a flat dark wall, more where it
//! is bright, much more on texture, which hides it.

use std::time::Duration;

use crate::rounding::index;

/// Side of a block, pixels: also the distance of the nodes that the mark is computed at.
pub(super) const BLOCK: usize = 8;
/// Rows of a block that are looked at: every other one tells as much.
const ROW_STEP: usize = 2;
/// What passes on a flat black area, grey levels.
const FLAT: f32 = 0.45;
/// More for each grey level of brightness: what is seen is a change in proportion (Weber).
const BY_LUMA: f32 = 0.004;
/// More for each grey level that neighbouring pixels differ by on average.
const BY_TEXTURE: f32 = 0.3;
/// Texture beyond this hides no more, grey levels.
const MOST_TEXTURE: f32 = 12.0;
/// How quickly the mask follows the picture: a mask that jumps would itself be seen.
const FOLLOWS_IN: Duration = Duration::from_millis(300);

/// The mask of a stream of pictures of one size.
pub(super) struct Mask {
    width: usize,
    height: usize,
    across: usize,
    down: usize,
    /// In grey levels, row by row, smoothed over time.
    levels: Vec<f32>,
    last: Option<Duration>,
    texture: Vec<f32>,
    /// The least texture of three blocks side by side, and their sum.
    least: Vec<f32>,
    sum: Vec<f32>,
    now: Vec<f32>,
    luma_sums: Vec<u16>,
    texture_sums: Vec<u16>,
}

impl Mask {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let (width, height) = (index(width), index(height));
        let (across, down) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        let blocks = across * down;
        Self {
            width,
            height,
            across,
            down,
            levels: vec![0.0; blocks],
            last: None,
            texture: vec![0.0; blocks],
            least: vec![0.0; blocks],
            sum: vec![0.0; blocks],
            now: vec![0.0; blocks],
            luma_sums: vec![0; width],
            texture_sums: vec![0; width],
        }
    }

    /// Blocks across and down.
    pub(super) const fn size(&self) -> (usize, usize) {
        (self.across, self.down)
    }

    /// The mask at this picture, grey levels for each block, row by row.
    pub(super) fn follow(&mut self, luma: &[u8], at: Duration) -> &[f32] {
        self.measure(luma);
        self.hide_behind_texture();
        // A recording that jumps back begins anew.
        let passed = self.last.and_then(|last| at.checked_sub(last));
        let part = match passed {
            Some(passed) => -(-passed.as_secs_f32() / FOLLOWS_IN.as_secs_f32()).exp_m1(),
            None => 1.0,
        };
        self.last = Some(at);
        for (level, now) in self.levels.iter_mut().zip(&self.now) {
            *level += (now - *level) * part;
        }
        &self.levels
    }

    /// Texture, and into `now` what brightness alone lets pass, of each block.
    fn measure(&mut self, luma: &[u8]) {
        let rows: Vec<&[u8]> = luma.chunks_exact(self.width).take(self.height).collect();
        let mut texture = self.texture.iter_mut();
        let mut now = self.now.iter_mut();
        for block in rows.chunks(BLOCK) {
            self.luma_sums.fill(0);
            self.texture_sums.fill(0);
            let mut looked = 0_u8;
            for pair in block.chunks(ROW_STEP) {
                let Some(row) = pair.first() else { continue };
                let below = pair.get(1).unwrap_or(row);
                looked += 1;
                let right = row.get(1..).unwrap_or_default();
                for (sum, y) in self.luma_sums.iter_mut().zip(*row) {
                    // At most four rows of bytes: nothing wraps, and a check costs more than the sum.
                    *sum = sum.wrapping_add(u16::from(*y));
                }
                let pixels = row.iter().zip(right).zip(*below);
                for (sum, ((y, right), below)) in self.texture_sums.iter_mut().zip(pixels) {
                    let differences =
                        u16::from(y.abs_diff(*right)).wrapping_add(u16::from(y.abs_diff(*below)));
                    *sum = sum.wrapping_add(differences);
                }
            }
            let pairs = self.luma_sums.chunks(BLOCK).zip(self.texture_sums.chunks(BLOCK));
            for (luma, differences) in pairs {
                let mean = |sums: &[u16]| {
                    let sum: u32 = sums.iter().map(|s| u32::from(*s)).sum();
                    ratio(sum, sums.len() * usize::from(looked))
                };
                if let (Some(texture), Some(now)) = (texture.next(), now.next()) {
                    // Two neighbours were compared with.
                    *texture = mean(differences) / 2.0;
                    *now = FLAT + BY_LUMA * mean(luma);
                }
            }
        }
    }

    /// Adds what texture hides. An edge hides nothing on the flat side of it: half of the least of
    /// the nine around counts, and half of their mean.
    fn hide_behind_texture(&mut self) {
        let across = self.across;
        for (row, (least, sum)) in self
            .texture
            .chunks_exact(across)
            .zip(self.least.chunks_exact_mut(across).zip(self.sum.chunks_exact_mut(across)))
        {
            of_three(row, least, f32::min);
            of_three(row, sum, |a, b| a + b);
        }
        for (y, now) in self.now.chunks_exact_mut(across).enumerate() {
            // At the edges the outer row counts twice, as the outer column does.
            let rows = [y.saturating_sub(1), y, (y + 1).min(self.down - 1)];
            let [above, here, below] = rows.map(|y| {
                let at = y * across..(y + 1) * across;
                let of = |values: &'_ [f32]| values.get(at.clone()).unwrap_or_default().to_vec();
                (of(&self.least), of(&self.sum))
            });
            let least = above.0.iter().zip(&here.0).zip(&below.0);
            let sum = above.1.iter().zip(&here.1).zip(&below.1);
            for ((now, ((a, b), c)), ((d, e), f)) in now.iter_mut().zip(least).zip(sum) {
                let hides = 0.5 * (a.min(*b).min(*c) + (d + e + f) / 9.0);
                *now += BY_TEXTURE * hides.clamp(0.0, MOST_TEXTURE);
            }
        }
    }
}

/// Each value with both neighbours, the outer ones with themselves.
fn of_three(row: &[f32], out: &mut [f32], join: impl Fn(f32, f32) -> f32) {
    for (out, triple) in out.iter_mut().skip(1).zip(row.windows(3)) {
        if let &[a, b, c] = triple {
            *out = join(join(a, b), c);
        }
    }
    let ends = |values: &[f32]| Some((*values.first()?, *values.get(1).or(values.first())?));
    let back: Vec<f32> = row.iter().rev().take(2).copied().collect();
    if let (Some(out), Some((outer, next))) = (out.first_mut(), ends(row)) {
        *out = join(join(outer, outer), next);
    }
    if let (Some(out), Some((outer, next))) = (out.last_mut(), ends(&back)) {
        *out = join(join(next, outer), outer);
    }
}

/// Of two counts that are far below what single precision holds.
#[expect(clippy::cast_precision_loss, reason = "sums of one block")]
const fn ratio(sum: u32, of: usize) -> f32 {
    sum as f32 / of as f32
}
