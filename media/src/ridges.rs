//! Bright stripes on the road, row by row: what painted markings look like from a vehicle.
//!
//! A pixel is on a ridge where the mean of a narrow window around it is brighter than windows on
//! both sides. The edge of a shadow is brighter on one side only and gives none
//! (McCall and Trivedi, *Video-based lane estimation and tracking for driver assistance*, IEEE
//! T-ITS 7(1), 2006, compares such filters).
//!
//! INVARIANT: every [`Ridge`] lies within the picture, and there are at most [`MOST_IN_A_ROW`] in
//! each row that was asked for.

use crate::{frame::I420View, rounding::index};

/// The strongest are kept; a road has fewer markings side by side.
pub const MOST_IN_A_ROW: usize = 16;

/// Half of the window in which a marking is, metres: lines are 0.10 to 0.30 m wide.
const CORE_M: f32 = 0.06;
/// The windows beside it begin and end here, metres from its middle.
const SIDE_M: (f32, f32) = (0.19, 0.5);
/// Least difference to both sides, luma: below, compression makes stripes of its own.
const LEAST: f32 = 9.0;
/// And at least this many deviations of the luma beside it. Gravel and grass are full of stripes.
const DEVIATIONS: f32 = 1.6;
/// And this part of the difference between the two sides.
const OF_STEP: f32 = 0.5;

/// A row to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RidgeRow {
    /// Which; the rows above and below it are averaged with it.
    pub y: u32,
    /// Pixels for a metre across the road, there.
    pub metre_px: f32,
}

/// A place on a bright stripe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ridge {
    /// Its middle, pixels.
    pub x_px: f32,
    /// Its row, pixels.
    pub y_px: f32,
    /// Luma above that of both sides.
    pub contrast: f32,
}

/// Sums from the left edge up to each column.
#[derive(Debug, Default)]
struct Sums {
    luma: Vec<u32>,
    squares: Vec<u64>,
}

/// Number of pixels, mean and deviation of a window.
#[derive(Clone, Copy)]
struct Window {
    mean: f32,
    deviation: f32,
}

impl Sums {
    /// Of three rows.
    fn fill(&mut self, rows: [&[u8]; 3]) {
        self.luma.clear();
        self.squares.clear();
        self.luma.push(0);
        self.squares.push(0);
        let (mut sum, mut square) = (0_u32, 0_u64);
        let [a, b, c] = rows;
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            let p = u32::from(*a) + u32::from(*b) + u32::from(*c);
            sum += p;
            square += u64::from(p * p);
            self.luma.push(sum);
            self.squares.push(square);
        }
    }

    /// Columns `from` to `to`, without `to`, in luma of one row.
    fn window(&self, from: usize, to: usize) -> Option<Window> {
        let (a, b) = (self.luma.get(from)?, self.luma.get(to)?);
        let (qa, qb) = (self.squares.get(from)?, self.squares.get(to)?);
        if to <= from {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "sums of a window of a row")]
        let (n, sum, square) = ((to - from) as f32, (b - a) as f32, (qb - qa) as f32);
        let mean = sum / n;
        let deviation = (square / n - mean * mean).max(0.0).sqrt();
        Some(Window { mean: mean / 3.0, deviation: deviation / 3.0 })
    }
}

/// The ridges of these rows. Rows that are not in the picture, or where a metre is less than
/// 6 pixels, have none.
pub fn ridges(picture: &I420View<'_>, rows: &[RidgeRow]) -> Vec<Ridge> {
    let width = index(picture.width());
    let all: Vec<&[u8]> = picture.luma().chunks_exact(width).collect();
    let (mut sums, mut found, mut strengths) = (Sums::default(), Vec::new(), Vec::new());
    for row in rows {
        let y = index(row.y);
        let near = |y: Option<usize>| y.and_then(|y| all.get(y)).copied();
        // Comparison with NaN is false.
        let fits = row.metre_px >= 6.0 && row.metre_px <= 2000.0;
        let (Some(middle), true) = (near(Some(y)), fits) else { continue };
        let (above, below) = (near(y.checked_sub(1)), near(Some(y + 1)));
        sums.fill([above.unwrap_or(middle), middle, below.unwrap_or(middle)]);
        row_ridges(&sums, width, row, &mut strengths, &mut found);
    }
    found
}

fn row_ridges(
    sums: &Sums,
    width: usize,
    row: &RidgeRow,
    strengths: &mut Vec<f32>,
    found: &mut Vec<Ridge>,
) {
    let core = pixels(row.metre_px * CORE_M);
    let near = pixels(row.metre_px * SIDE_M.0).max(core + 2);
    let far = pixels(row.metre_px * SIDE_M.1).max(near + 3);
    strengths.clear();
    strengths.resize(width, 0.0);
    for (x, strength) in strengths.iter_mut().enumerate().skip(far) {
        let left = sums.window(x - far, x - near);
        let right = sums.window(x + near + 1, x + far + 1);
        let middle = sums.window(x - core, x + core + 1);
        let (Some(left), Some(right), Some(middle)) = (left, right, middle) else { break };
        let contrast = middle.mean - left.mean.max(right.mean);
        let rough = left.deviation.max(right.deviation) * DEVIATIONS;
        let step = (left.mean - right.mean).abs() * OF_STEP;
        if contrast >= LEAST.max(rough).max(step) {
            *strength = contrast;
        }
    }
    let first = found.len();
    let mut x = 0;
    // Each run of pixels on a ridge is one stripe; its middle is the mean by strength.
    while x < width {
        let run = strengths.get(x..).unwrap_or_default().iter().take_while(|s| **s > 0.0).count();
        if run > 0 {
            let part = strengths.get(x..x + run).unwrap_or_default();
            let weight: f32 = part.iter().sum();
            #[expect(clippy::cast_precision_loss, reason = "columns of a picture")]
            let moment: f32 = part.iter().enumerate().map(|(n, s)| (x + n) as f32 * s).sum();
            let contrast = part.iter().copied().fold(0.0, f32::max);
            #[expect(clippy::cast_precision_loss, reason = "rows of a picture")]
            let y_px = row.y as f32 + 0.5;
            found.push(Ridge { x_px: moment / weight + 0.5, y_px, contrast });
        }
        x += run + 1;
    }
    if let Some(here) = found.get_mut(first..) {
        here.sort_by(|a, b| b.contrast.total_cmp(&a.contrast));
    }
    found.truncate(first + MOST_IN_A_ROW);
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and the value is bounded by the caller"
)]
fn pixels(x: f32) -> usize {
    x.round().clamp(0.0, 4096.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::I420Picture, test_pictures::moving};

    /// A road of luma 90 with what `paint` puts at each pixel.
    fn road(paint: impl Fn(usize, usize) -> Option<u8>) -> I420Picture {
        let mut picture = I420Picture::black(640, 64).unwrap();
        for (y, row) in picture.planes_mut().y.chunks_exact_mut(640).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                // Asphalt is a little rough.
                let rough = u8::try_from((x * 7 + y * 13) % 5).unwrap();
                *p = paint(x, y).unwrap_or(88 + rough);
            }
        }
        picture
    }

    fn at(picture: &I420Picture, metre_px: f32) -> Vec<Ridge> {
        ridges(&picture.view(), &[RidgeRow { y: 32, metre_px }])
    }

    #[test]
    fn a_stripe_is_found_where_it_is() {
        for (metre_px, width) in [(100.0, 10), (100.0, 15), (100.0, 30), (20.0, 3), (40.0, 5)] {
            let to = 300 + width;
            let found = at(&road(|x, _| (300..to).contains(&x).then_some(180)), metre_px);
            assert_eq!(found.len(), 1, "{width} px at {metre_px} px/m: {found:?}");
            let middle = 300.0 + width as f32 / 2.0;
            assert!((found[0].x_px - middle).abs() <= 1.0, "{width} px: {found:?}");
            assert!(found[0].contrast > 50.0);
        }
    }

    #[test]
    fn what_is_no_stripe_gives_none() {
        type Paint = fn(usize, usize) -> Option<u8>;
        let paints: [(&str, Paint); 5] = [
            ("plain road", |_, _| None),
            ("edge of a shadow", |x, _| (x > 300).then_some(30)),
            ("a dark crack", |x, _| (300..308).contains(&x).then_some(20)),
            ("a white van", |x, _| (200..500).contains(&x).then_some(200)),
            ("gravel", |x, y| Some(u8::try_from((x * x * 31 + y * 17 + x * 7) % 97).unwrap() + 60)),
        ];
        for (name, paint) in paints {
            let found = at(&road(paint), 100.0);
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }

    #[test]
    fn odd_rows_give_nothing_and_do_no_harm() {
        let picture = road(|x, _| (300..310).contains(&x).then_some(180));
        for (y, metre_px) in
            [(64, 100.0), (u32::MAX, 100.0), (0, f32::NAN), (0, 0.1), (0, 1e9), (0, -5.0)]
        {
            assert!(ridges(&picture.view(), &[RidgeRow { y, metre_px }]).is_empty(), "{y}");
        }
        assert_eq!(ridges(&picture.view(), &[RidgeRow { y: 63, metre_px: 100.0 }]).len(), 1);
        let busy = moving(640, 360, 3);
        let rows: Vec<RidgeRow> = (0..360).map(|y| RidgeRow { y, metre_px: 50.0 }).collect();
        let found = ridges(&busy.view(), &rows);
        assert!(found.len() <= 360 * MOST_IN_A_ROW);
        assert!(found.iter().all(|r| r.x_px >= 0.0 && r.x_px <= 640.0));
    }
}
