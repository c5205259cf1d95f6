//! Pictures as light: linear red, green and blue, as a monitor gives it and a sensor takes it.
//!
//! INVARIANT: a [`Light`] has `width * height` pixels, row by row. Values are parts of the monitor's
//! white, may be above 1, and are never negative.

use temoin_media::frame::{I420Picture, PictureError};

/// Exponent between a signal and light: sRGB's, without its short straight part near black.
const GAMMA: f32 = 2.2;
/// Steps of the tables between light and signal.
const STEPS: usize = 4096;

/// The nearest whole number, at least 0; saturates.
#[expect(clippy::cast_possible_truncation, reason = "rounded, and float casts saturate")]
pub(super) const fn whole(x: f64) -> u32 {
    x.round() as u32
}

/// The whole part as an index, at least 0; saturates.
#[expect(clippy::cast_possible_truncation, reason = "cut on purpose, and float casts saturate")]
pub(super) const fn floor(x: f32) -> usize {
    x as usize
}

/// A grey level; saturates.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate")]
pub(super) const fn level(x: f32) -> u8 {
    (x + 0.5) as u8
}

/// In single precision.
#[expect(clippy::cast_possible_truncation, reason = "pixels need no more digits")]
pub(super) const fn narrow(x: f64) -> f32 {
    x as f32
}

/// A count of pixels as an index.
pub(super) fn index(x: u32) -> usize {
    usize::try_from(x).unwrap_or(usize::MAX)
}

/// An even side of a picture, 2 to 4096.
pub(super) fn even(side: f64) -> u32 {
    (whole(side / 2.0) * 2).clamp(2, 4096)
}

/// One pixel's light.
pub(super) type Rgb = [f32; 3];

/// A function over 0 to 1, in a table.
pub(super) struct Table(Vec<f32>);

impl Table {
    pub(super) fn of(f: impl Fn(f32) -> f32) -> Self {
        Self((0..=STEPS).map(|n| f(n as f32 / STEPS as f32)).collect())
    }

    /// Its value; at the ends outside of 0 to 1.
    pub(super) fn at(&self, x: f32) -> f32 {
        let n = floor(x.clamp(0.0, 1.0) * STEPS as f32 + 0.5);
        self.0.get(n).copied().unwrap_or_default()
    }
}

/// A picture as light.
#[derive(Clone)]
pub(super) struct Light {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<Rgb>,
}

impl Light {
    pub(super) fn black(width: usize, height: usize) -> Self {
        Self { width, height, rgb: vec![[0.0; 3]; width * height] }
    }

    /// What a monitor shows of a picture (BT.709, limited range, as players take H.264 to be).
    pub(super) fn shown(picture: &I420Picture, to_light: &Table) -> Self {
        let (width, height) = (index(picture.width()), index(picture.height()));
        let half = width / 2;
        let (luma, chroma) = picture.data().split_at(width * height);
        let (blue, red) = chroma.split_at(chroma.len() / 2);
        let mut rgb = Vec::with_capacity(width * height);
        let chroma_rows = blue.chunks_exact(half).zip(red.chunks_exact(half));
        for (rows, (blue, red)) in luma.chunks_exact(width * 2).zip(chroma_rows) {
            for row in rows.chunks_exact(width) {
                let pairs = row.as_chunks::<2>().0.iter().zip(blue.iter().zip(red));
                for (pair, (u, v)) in pairs {
                    let (u, v) = ((f32::from(*u) - 128.0) / 224.0, (f32::from(*v) - 128.0) / 224.0);
                    for y in pair {
                        let y = (f32::from(*y) - 16.0) / 219.0;
                        let signal =
                            [y + 1.574_8 * v, y - 0.187_3 * u - 0.468_1 * v, y + 1.855_6 * u];
                        rgb.push(signal.map(|s| to_light.at(s)));
                    }
                }
            }
        }
        Self { width, height, rgb }
    }

    /// Bilinear, at a place given in parts of the picture; the edge goes on outside.
    pub(super) fn at(&self, u: f32, v: f32) -> Rgb {
        let x = (u * self.width as f32 - 0.5).clamp(0.0, self.width as f32 - 1.001);
        let y = (v * self.height as f32 - 0.5).clamp(0.0, self.height as f32 - 1.001);
        let (left, top) = (floor(x), floor(y));
        let (right, low) = (x - left as f32, y - top as f32);
        let n = top * self.width + left;
        let pair = |n: usize| {
            let two = self.rgb.get(n..n + 2).and_then(|two| two.first_chunk::<2>());
            two.copied().unwrap_or_default()
        };
        let ([a, b], [c, d]) = (pair(n), pair(n + self.width));
        let mut out = [0.0; 3];
        for (out, ((a, b), (c, d))) in out.iter_mut().zip(a.iter().zip(&b).zip(c.iter().zip(&d))) {
            let upper = a + (b - a) * right;
            *out = upper + (c + (d - c) * right - upper) * low;
        }
        out
    }

    /// Blurred by a lens: Gaussian of this deviation, pixels, for each row and then each column.
    pub(super) fn blurred(self, deviation_px: f32) -> Self {
        let kernel = kernel(deviation_px);
        if kernel.len() < 2 {
            return self;
        }
        let (width, height) = (self.width, self.height);
        let mut across = Self::black(width, height);
        for (row, to) in self.rgb.chunks_exact(width).zip(across.rgb.chunks_exact_mut(width)) {
            add(to, row, kernel.first().copied().unwrap_or(1.0));
            for (n, weight) in kernel.iter().enumerate().skip(1).filter(|(n, _)| *n < width) {
                let (head, tail) = (row.get(..width - n), row.get(n..));
                add(to.get_mut(n..).unwrap_or_default(), head.unwrap_or_default(), *weight);
                add(to, tail.unwrap_or_default(), *weight);
                // The edge goes on.
                let (first, last) = (row.get(..1), row.get(width - 1..));
                let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
                to.iter_mut().take(n).for_each(|to| add(std::slice::from_mut(to), first, *weight));
                let end = to.iter_mut().rev().take(n);
                end.for_each(|to| add(std::slice::from_mut(to), last, *weight));
            }
        }
        let mut out = Self::black(width, height);
        let rows: Vec<&[Rgb]> = across.rgb.chunks_exact(width).collect();
        for (y, to) in out.rgb.chunks_exact_mut(width).enumerate() {
            for (n, weight) in kernel.iter().enumerate() {
                let near = [y.saturating_sub(n), (y + n).min(height - 1)];
                for row in near.iter().take(if n == 0 { 1 } else { 2 }) {
                    add(to, rows.get(*row).copied().unwrap_or_default(), *weight);
                }
            }
        }
        out
    }
}

/// The right half of a Gaussian with its middle, of sum 1 when mirrored.
fn kernel(deviation_px: f32) -> Vec<f32> {
    if deviation_px < 0.15 {
        return vec![1.0];
    }
    let reach = floor(deviation_px * 3.0) + 1;
    let of = |n: usize| (-(n as f32 / deviation_px).powi(2) / 2.0).exp();
    let half: Vec<f32> = (0..=reach).map(of).collect();
    let sum = 2.0 * half.iter().sum::<f32>() - 1.0;
    half.iter().map(|k| k / sum).collect()
}

fn add(to: &mut [Rgb], from: &[Rgb], weight: f32) {
    // Flat, so that the compiler makes vector code of it.
    for (to, from) in to.as_flattened_mut().iter_mut().zip(from.as_flattened()) {
        *to += from * weight;
    }
}

/// From a signal to light.
pub(super) fn to_light() -> Table {
    Table::of(|signal| signal.powf(GAMMA))
}

/// From the square root of light to a signal, with a phone's contrast curve: `contrast` 0 is none,
/// 1 a full S.
pub(super) fn to_signal(contrast: f32) -> Table {
    Table::of(|root| {
        let signal = root.powf(2.0 / GAMMA);
        signal + contrast * (signal * signal * (3.0 - 2.0 * signal) - signal)
    })
}

/// A picture of light that a sensor took, through the phone's curve.
///
/// # Errors
/// Where its sides are not those of a picture.
pub(super) fn picture(
    light: &Light,
    to_signal: &Table,
    mut each: impl FnMut(usize, usize, Rgb) -> Rgb,
) -> Result<I420Picture, PictureError> {
    let (width, height) = (light.width, light.height);
    let (half, luma) = (width / 2, width * height);
    let mut data = vec![0; luma * 3 / 2];
    let (y_plane, chroma) = data.split_at_mut(luma);
    let (u_plane, v_plane) = chroma.split_at_mut(chroma.len() / 2);
    let mut sums = vec![(0.0_f32, 0.0_f32); half];
    for (y, (row, to)) in
        light.rgb.chunks_exact(width).zip(y_plane.chunks_exact_mut(width)).enumerate()
    {
        for (x, (rgb, to)) in row.iter().zip(to).enumerate() {
            let [r, g, b] = each(x, y, *rgb).map(|c| to_signal.at(c.max(0.0).sqrt()));
            let luma = 0.212_6 * r + 0.715_2 * g + 0.072_2 * b;
            *to = level(16.0 + 219.0 * luma);
            if let Some((u, v)) = sums.get_mut(x / 2) {
                *u += (b - luma) / 1.855_6;
                *v += (r - luma) / 1.574_8;
            }
        }
        if y % 2 == 1 {
            let at = y / 2 * half;
            let to = u_plane.iter_mut().zip(v_plane.iter_mut()).skip(at);
            for ((u, v), sum) in to.zip(&mut sums) {
                *u = level(128.0 + 56.0 * sum.0);
                *v = level(128.0 + 56.0 * sum.1);
                *sum = (0.0, 0.0);
            }
        }
    }
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    I420Picture::from_vec(side(width), side(height), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    #[test]
    fn light_and_back_is_the_same_picture() {
        let clip = street(64, 32, 1, 25.0);
        let before = &clip.pictures[0].1;
        let light = Light::shown(before, &to_light());
        let after = picture(&light, &to_signal(0.0), |_, _, rgb| rgb).unwrap();
        for (a, b) in before.data().iter().zip(after.data()).take(64 * 32) {
            assert!(a.abs_diff(*b) <= 2, "{a} {b}");
        }
    }

    #[test]
    fn a_lens_spreads_light_and_loses_none() {
        let mut light = Light::black(31, 31);
        light.rgb[31 * 15 + 15] = [1.0; 3];
        let blurred = light.blurred(1.5);
        let sum: f32 = blurred.rgb.iter().map(|[r, ..]| r).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
        // A Gaussian's peak is 1 / (2 pi s²), a little more as pixels have a size.
        let peak = blurred.rgb[31 * 15 + 15][0];
        assert!((peak - 0.0707).abs() < 0.003, "{peak}");
        let flat = Light { width: 9, height: 5, rgb: vec![[0.5; 3]; 45] }.blurred(2.0);
        assert!(flat.rgb.iter().flatten().all(|c| (c - 0.5).abs() < 1e-4));
    }

    #[test]
    fn sampling_is_exact_at_pixels_and_half_way() {
        let rgb = vec![[0.0; 3], [1.0; 3], [0.0; 3], [1.0; 3]];
        let light = Light { width: 2, height: 2, rgb };
        for (u, want) in [(0.25, 0.0), (0.5, 0.5), (0.75, 1.0), (-3.0, 0.0)] {
            assert!((light.at(u, 0.5)[0] - want).abs() < 2e-3, "{u}");
        }
    }
}
