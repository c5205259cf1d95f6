//! How far two clips of the same pictures are from each other: what a mark changes, and what it costs a
//! coder.

use anyhow::Result;
use temoin_media::frame::I420Picture;

use crate::attacks::{Clip, clip::Coding};

/// The qualities at which coders are compared (JVT common test conditions).
const QUALITIES: [u32; 4] = [22, 27, 32, 37];
/// Rates at which two curves are compared.
const STEPS: u32 = 500;
/// Side of the windows of SSIM and their distance, pixels, and its constants (Wang et al. 2004).
const WINDOW: usize = 8;
const STRIDE: usize = 4;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// The mean square of what differs in luma, grey levels.
pub(super) fn mse(a: &I420Picture, b: &I420Picture) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, b) in a.view().luma().iter().zip(b.view().luma()) {
        sum += f64::from(a.abs_diff(*b)).powi(2);
        n += 1.0;
    }
    sum / n
}

/// PSNR of a mean square.
pub(super) fn decibels(mse: f64) -> f64 {
    10.0 * (255.0_f64.powi(2) / mse).log10()
}

/// Structural similarity of luma, the mean over all windows; 1 is the same.
pub(super) fn ssim(a: &I420Picture, b: &I420Picture) -> f64 {
    let width = usize::try_from(a.width()).unwrap_or(usize::MAX);
    let rows = |picture: &'_ I420Picture| -> Vec<Vec<f64>> {
        let view = picture.view();
        view.luma()
            .chunks_exact(width)
            .map(|row| row.iter().map(|y| f64::from(*y)).collect())
            .collect()
    };
    let (a, b) = (rows(a), rows(b));
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, b) in a.windows(WINDOW).zip(b.windows(WINDOW)).step_by(STRIDE) {
        for left in (0..=width.saturating_sub(WINDOW)).step_by(STRIDE) {
            let pixels = a.iter().zip(b).flat_map(|(a, b)| {
                let part = left..left + WINDOW;
                let of = |row: &'_ [f64]| row.get(part.clone()).unwrap_or_default().to_vec();
                of(a).into_iter().zip(of(b))
            });
            sum += window(pixels);
            n += 1.0;
        }
    }
    sum / n
}

fn window(pixels: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut n, mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in pixels {
        n += 1.0;
        a += x;
        b += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    let (a, b) = (a / n, b / n);
    let (var_a, var_b, both) = (aa / n - a * a, bb / n - b * b, ab / n - a * b);
    (2.0 * a * b + C1) * (2.0 * both + C2) / ((a * a + b * b + C1) * (var_a + var_b + C2))
}

/// What so many bytes are for this clip, kbit/s.
pub(super) fn rate_kbit(bytes: u64, of: &Clip) -> f64 {
    bytes as f64 * 8.0 / 1000.0 / of.end_s()
}

/// How many decibels coding loses by the mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// Each against what was given to the coder: what the mark's own bits cost.
    pub(super) own_db: f64,
    /// Both against the original: the mark's change counts as an error too.
    pub(super) original_db: f64,
}

/// How well the portal's coder does at each rate: PSNR by the logarithm of the rate in kbit/s, a cubic
/// through four points.
pub(super) struct Curve {
    /// The rate falling.
    points: [(f64, f64); 4],
}

impl Curve {
    /// Of `input`, compared with `with` after coding.
    pub(super) fn of(input: &Clip, with: &Clip) -> Result<Self> {
        let mut points = [(0.0, 0.0); 4];
        for (point, quality) in points.iter_mut().zip(QUALITIES) {
            let (coded, bytes) = input.coded_with_size(&Coding::portal(quality))?;
            let pairs = coded.pictures.iter().zip(&with.pictures);
            let errors: Vec<f64> = pairs.map(|((_, a), (_, b))| mse(a, b)).collect();
            let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
            *point = (rate_kbit(bytes, input).log10(), decibels(mean));
        }
        Ok(Self { points })
    }

    /// PSNR where the logarithm of the rate is this.
    pub(super) fn decibels_at(&self, log_kbit: f64) -> f64 {
        let through = |(at, decibels): &(f64, f64)| {
            let others = self.points.iter().map(|(other, _)| other).filter(|other| *other != at);
            others.map(|other| (log_kbit - other) / (at - other)).product::<f64>() * decibels
        };
        self.points.iter().map(through).sum()
    }

    /// How many decibels this one is above the other in the mean, over the rates that both have
    /// (Bjontegaard, VCEG-M33, 2001).
    pub(super) fn above(&self, other: &Self) -> f64 {
        let [(high, _), .., (low, _)] = self.points;
        let [(other_high, _), .., (other_low, _)] = other.points;
        let (low, high) = (low.max(other_low), high.min(other_high));
        let differences = (0..STEPS).map(|step| {
            let at = low + (high - low) * (f64::from(step) + 0.5) / f64::from(STEPS);
            self.decibels_at(at) - other.decibels_at(at)
        });
        differences.sum::<f64>() / f64::from(STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    #[test]
    fn the_same_is_the_same_and_a_shift_is_not() {
        let clip = street(64, 48, 2, 10.0);
        let (a, b) = (&clip.pictures[0].1, &clip.pictures[1].1);
        assert!((ssim(a, a) - 1.0).abs() < 1e-9);
        assert!(ssim(a, b) < 0.99);
        assert!(decibels(mse(a, b)) < 60.0);
        let mut brighter = a.clone();
        for y in brighter.planes_mut().y {
            *y = y.saturating_add(1);
        }
        assert!((decibels(mse(a, &brighter)) - 48.13).abs() < 0.2);
    }

    #[test]
    fn a_curve_goes_through_its_points_and_differences_are_means() {
        let curve = |lift: f64| Curve {
            points: [(3.5, 44.0 + lift), (3.2, 41.0), (2.9, 37.5), (2.6, 33.0 - lift)],
        };
        let one = curve(0.0);
        for (at, decibels) in one.points {
            assert!((one.decibels_at(at) - decibels).abs() < 1e-9);
        }
        // A cubic through points of a line is that line.
        let line = Curve { points: [(3.0, 40.0), (2.5, 35.0), (2.0, 30.0), (1.5, 25.0)] };
        assert!((line.decibels_at(2.2) - 32.0).abs() < 1e-9);
        let shifted = Curve { points: [(3.1, 42.0), (2.6, 37.0), (2.1, 32.0), (1.6, 27.0)] };
        assert!((shifted.above(&line) - 1.0).abs() < 1e-9, "a decibel at each rate of both");
        assert!(one.above(&one).abs() < 1e-9);
        assert!(curve(0.6).above(&one).abs() < 0.1, "better here, worse there");
    }
}
