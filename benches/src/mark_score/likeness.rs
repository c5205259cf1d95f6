//! How far two clips of the same pictures are from each other: what a mark changes, and what it costs a
//! coder.

use anyhow::Result;
use temoin_media::frame::I420Picture;

use crate::attacks::{
    Clip,
    clip::{Coding, Rate},
};

/// x264's qualities between which the rates that are asked for lie.
const QUALITIES: [u32; 7] = [14, 18, 22, 26, 30, 34, 38];
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

/// How many decibels coding loses by the mark at one rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// Each against what was given to the coder: what the mark's own bits cost.
    pub(super) own_db: f64,
    /// Both against the original: the mark's change counts as an error too.
    pub(super) original_db: f64,
}

/// How well a coder does at each rate: PSNR by the logarithm of the rate.
pub(super) struct Curve {
    /// Rate in kbit/s and PSNR, the rate falling.
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Of `input`, compared with `with` after coding.
    pub(super) fn of(input: &Clip, with: &Clip) -> Result<Self> {
        let mut points = Vec::new();
        for quality in QUALITIES {
            let coding =
                Coding { rate: Rate::Quality(quality), shorter_side: None, ..Coding::site(0) };
            let (coded, bytes) = input.coded_with_size(&coding)?;
            let pairs = coded.pictures.iter().zip(&with.pictures);
            let errors: Vec<f64> = pairs.map(|((_, a), (_, b))| mse(a, b)).collect();
            let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
            points.push((rate_kbit(bytes, input), decibels(mean)));
        }
        Ok(Self { points })
    }

    /// PSNR at this rate, between the two nearest; none outside of what was coded.
    pub(super) fn decibels_at(&self, kbit: f64) -> Option<f64> {
        self.points.windows(2).find_map(|pair| {
            let &[(high, better), (low, worse)] = pair else { return None };
            let part = (kbit.ln() - low.ln()) / (high.ln() - low.ln());
            (0.0..=1.0).contains(&part).then_some(worse + (better - worse) * part)
        })
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
    fn a_curve_is_read_between_its_points() {
        let curve = Curve { points: vec![(1000.0, 40.0), (250.0, 34.0)] };
        assert!((curve.decibels_at(500.0).unwrap() - 37.0).abs() < 1e-9);
        assert_eq!(curve.decibels_at(1001.0), None);
        assert_eq!(curve.decibels_at(249.0), None);
    }
}
