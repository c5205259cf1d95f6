//! Whether the cut-out of an eye can be judged at all, from its luma alone. Pure.
//!
//! A network that draws lids draws them into anything: into a bar, a blot of light, a lens of
//! dark glass, and often it draws them closed. So the picture must first show that it can hold an
//! eye: it is lit, it is sharp in both directions, it stands out of its noise, and it has the
//! texture of skin and lashes instead of flat paint or a straight band.
//!
//! Each limit lies between 1,012 photographed eyes, open and closed, of which nearly all must
//! pass, and eyes of two videos and four photographs that were blurred, darkened, blinded and
//! barred step by step. Figures at each limit: the first percentile of photographed closed eyes,
//! and the worst that read as closed while the eye was open.

use temoin_proto::perception::NotSeen;

use crate::perception::tensors::light_is_bad;
use temoin_media::frame::LumaStats;

/// Side of the cut-out, pixels.
pub(crate) const SIDE: usize = 64;

/// Strength of edges (root mean square of the Laplacian) over deviation. 0.16 on closed eyes;
/// 0.08 where a blur of 2 to 5 pixels has changed the opening.
const MIN_SHARPNESS: f32 = 0.1;
/// The same of second differences along the eye, and across it. 0.07 and 0.10 on closed eyes;
/// 0.04 where the camera moved: a lid that is smeared sideways is drawn closed.
const MIN_SHARPNESS_ALONG: f32 = 0.055;
/// See [`MIN_SHARPNESS_ALONG`].
const MIN_SHARPNESS_ACROSS: f32 = 0.055;
/// Contrast of the middle over the noise. 12 on closed eyes (median 57); 10 where a dark picture
/// was amplified eight times.
const MIN_SIGNAL: f32 = 7.0;
/// Contrast over noise from which noise takes no confidence.
const SURE_SIGNAL: f32 = 14.0;
/// Share of the middle without any texture. 0.38 on the 99th percentile of closed eyes (median
/// 0.01); 0.25 to 1 on bars, 0.7 to 1 on dark lenses and blots of light.
const MAX_FLAT: f32 = 0.45;
/// Three neighbouring rows in the middle that vary less than this, against the whole, are one
/// straight band from side to side. 0.16 on closed eyes; 0 to 0.13 on bars.
const MIN_ROW_VARIATION: f32 = 0.13;
/// Share of pixels that are white or black: nothing can be seen in them.
const MAX_CLIPPED: f32 = 0.35;

/// What the cut-out of one eye shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EyeClarity {
    light: LumaStats,
    clipped: f32,
    sharpness: f32,
    along: f32,
    across: f32,
    signal: f32,
    flat: f32,
    row_variation: f32,
}

impl EyeClarity {
    /// Measures a cut-out of [`SIDE`] x [`SIDE`] luma, upright with the eyes. `light` is its own.
    pub(crate) fn of(luma: &[u8], light: LumaStats) -> Self {
        let deviation = light.deviation.max(0.1);
        let curves = curves(luma);
        let middle = middle(luma);
        let noise = noise(luma).max(0.3);
        Self {
            light,
            clipped: share(luma.iter(), |p| !(17..=245).contains(p)),
            sharpness: curves.all / deviation,
            along: curves.along / deviation,
            across: curves.across / deviation,
            signal: contrast(&middle) / noise,
            flat: flat(&middle),
            row_variation: row_variation(luma) / deviation,
        }
    }

    /// How far it can be trusted, 0 to 1; the reason where it cannot.
    pub(crate) fn trust(&self) -> Result<f32, NotSeen> {
        if light_is_bad(self.light) || self.clipped > MAX_CLIPPED {
            Err(NotSeen::BadLight)
        } else if self.flat > MAX_FLAT || self.row_variation < MIN_ROW_VARIATION {
            Err(NotSeen::EyesUnclear)
        } else if self.sharpness < MIN_SHARPNESS
            || self.along < MIN_SHARPNESS_ALONG
            || self.across < MIN_SHARPNESS_ACROSS
        {
            Err(NotSeen::Blurred)
        } else if self.signal < MIN_SIGNAL {
            Err(NotSeen::BadLight)
        } else {
            // What is only just sharp enough is only just believed; at twice the limit it is.
            let sharp = [
                self.sharpness / MIN_SHARPNESS,
                self.along / MIN_SHARPNESS_ALONG,
                self.across / MIN_SHARPNESS_ACROSS,
            ];
            let sharp = sharp.into_iter().fold(2.0, f32::min) - 1.0;
            Ok((self.signal / SURE_SIGNAL).min(sharp).min(1.0))
        }
    }
}

/// Rows of the cut-out.
fn rows(luma: &[u8]) -> impl Iterator<Item = &[u8; SIDE]> + Clone {
    luma.as_chunks::<SIDE>().0.iter()
}

fn share<'a>(pixels: impl Iterator<Item = &'a u8>, is: impl Fn(&u8) -> bool) -> f32 {
    let (n, hits) = pixels.fold((0_u16, 0_u16), |(n, hits), p| (n + 1, hits + u16::from(is(p))));
    f32::from(hits) / f32::from(n.max(1))
}

/// Root mean squares of the second differences.
struct Curves {
    all: f32,
    along: f32,
    across: f32,
}

fn curves(luma: &[u8]) -> Curves {
    let (mut all, mut along, mut across, mut n) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    let triples = rows(luma).zip(rows(luma).skip(1)).zip(rows(luma).skip(2));
    for ((above, here), below) in triples {
        let neighbours = above.iter().skip(1).zip(below.iter().skip(1));
        for ([left, here, right], (above, below)) in here.array_windows().zip(neighbours) {
            let here = 2.0 * f32::from(*here);
            let x = here - f32::from(*left) - f32::from(*right);
            let y = here - f32::from(*above) - f32::from(*below);
            along += x * x;
            across += y * y;
            all += (x + y) * (x + y);
            n += 1.0;
        }
    }
    let root = |sum: f32| (sum / n.max(1.0)).sqrt();
    Curves { all: root(all), along: root(along), across: root(across) }
}

/// Standard deviation of the noise, by the mask of Immerkaer (*Fast Noise Variance Estimation*,
/// 1996), which straight edges do not move.
fn noise(luma: &[u8]) -> f32 {
    let (mut sum, mut n) = (0.0_f32, 0.0_f32);
    let triples = rows(luma).zip(rows(luma).skip(1)).zip(rows(luma).skip(2));
    for ((above, here), below) in triples {
        let windows = above.array_windows().zip(here.array_windows()).zip(below.array_windows());
        for (([a, b, c], [d, e, f]), [g, h, i]) in windows {
            let [a, b, c, d, e, f, g, h, i] = [a, b, c, d, e, f, g, h, i].map(|p| f32::from(*p));
            sum += (a - 2.0 * b + c - 2.0 * d + 4.0 * e - 2.0 * f + g - 2.0 * h + i).abs();
            n += 1.0;
        }
    }
    std::f32::consts::FRAC_PI_2.sqrt() / 6.0 * sum / n.max(1.0)
}

/// The middle, where the eye is: 27 x 15 pixels. An eye is 18 to 28 wide.
fn middle(luma: &[u8]) -> Vec<[u8; 27]> {
    let rows = rows(luma).skip(25).take(15);
    rows.filter_map(|row| row.get(19..)?.first_chunk().copied()).collect()
}

/// Between its 5th and 95th percentile.
fn contrast(middle: &[[u8; 27]]) -> f32 {
    let mut sorted = middle.as_flattened().to_vec();
    sorted.sort_unstable();
    let at = |part: usize| sorted.get(sorted.len() * part / 100).copied().unwrap_or(0);
    f32::from(at(95).saturating_sub(at(5)))
}

/// Share of pixels whose neighbours are all within two levels.
fn flat(middle: &[[u8; 27]]) -> f32 {
    let (mut hits, mut n) = (0.0_f32, 0.0_f32);
    for [above, here, below] in middle.array_windows() {
        let windows = above.array_windows().zip(here.array_windows()).zip(below.array_windows());
        for ((a, b), c) in windows {
            let nine: [&[u8; 3]; 3] = [a, b, c];
            let (low, high) = nine
                .iter()
                .flat_map(|row| row.iter())
                .fold((u8::MAX, 0), |(low, high), p| (low.min(*p), high.max(*p)));
            n += 1.0;
            hits += if high - low <= 2 { 1.0 } else { 0.0 };
        }
    }
    hits / n.max(1.0)
}

/// Of any three neighbouring rows around the middle, the largest deviation along a row; of those
/// the smallest.
fn row_variation(luma: &[u8]) -> f32 {
    let deviation = |row: &[u8; SIDE]| {
        let n = 64.0_f32;
        let sum: f32 = row.iter().map(|p| f32::from(*p)).sum();
        let squares: f32 = row.iter().map(|p| f32::from(*p) * f32::from(*p)).sum();
        (squares / n - (sum / n) * (sum / n)).max(0.0).sqrt()
    };
    let rows: Vec<f32> = rows(luma).skip(20).take(25).map(deviation).collect();
    let threes =
        rows.array_windows().map(|three: &[f32; 3]| three.iter().fold(0.0, |a: f32, b| a.max(*b)));
    threes.fold(f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;

    /// Skin with a shading and some texture, and a dark almond with a white rim: an eye.
    fn eye(noise: u32) -> Vec<u8> {
        let mut seed = 7_u32;
        let mut out = Vec::new();
        for y in 0..64_i32 {
            for x in 0..64_i32 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let random = i32::try_from((seed >> 16) % (2 * noise + 1)).unwrap()
                    - i32::try_from(noise).unwrap();
                let (dx, dy) = (x - 32, y - 32);
                let level = if dx * dx + dy * dy < 26 {
                    30
                } else if dx * dx + 5 * dy * dy < 150 {
                    190
                } else {
                    50 + x / 2 + (y * 5 + x * 3) % 7 + 2 * y
                };
                out.push(u8::try_from((level + random).clamp(0, 255)).unwrap());
            }
        }
        out
    }

    fn trust(luma: Vec<u8>) -> Result<f32, NotSeen> {
        let mut data = luma;
        data.resize(64 * 96, 128);
        let picture = I420Picture::from_vec(64, 64, data).unwrap();
        EyeClarity::of(picture.view().luma(), picture.view().luma_stats()).trust()
    }

    fn edited(mut edit: impl FnMut(usize, usize, u8) -> u8) -> Vec<u8> {
        eye(2).into_iter().enumerate().map(|(n, p)| edit(n % 64, n / 64, p)).collect()
    }

    /// Each pixel the mean of its neighbours within these distances.
    fn smeared(from: &[u8], dx: i64, dy: i64) -> Vec<u8> {
        let at = |x: i64, y: i64| {
            u32::from(from[usize::try_from(y.clamp(0, 63) * 64 + x.clamp(0, 63)).unwrap()])
        };
        let n = u32::try_from((2 * dx + 1) * (2 * dy + 1)).unwrap();
        let mean = |x: i64, y: i64| {
            let sum: u32 = (-dx..=dx).flat_map(|i| (-dy..=dy).map(move |j| at(x + i, y + j))).sum();
            u8::try_from(sum / n).unwrap()
        };
        (0..64 * 64).map(|n| mean(n % 64, n / 64)).collect()
    }

    #[test]
    fn an_eye_is_clear_and_what_is_over_it_is_not() {
        assert!(trust(eye(2)).unwrap() > 0.99);
        // As a motion that is not quite even.
        let twice = |dx, dy| smeared(&smeared(&eye(0), dx, dy), dx, dy);
        for (name, luma, want) in
            [
                ("black", vec![16; 64 * 64], NotSeen::BadLight),
                ("dark", edited(|_, _, p| p / 8), NotSeen::BadLight),
                ("blinded", edited(|_, _, p| p.saturating_add(150)), NotSeen::BadLight),
                (
                    "a bar",
                    edited(|_, y, p| if (26..38).contains(&y) { 20 } else { p }),
                    NotSeen::EyesUnclear,
                ),
                (
                    "a bar of skin",
                    edited(|_, y, p| if (24..40).contains(&y) { 130 } else { p }),
                    NotSeen::EyesUnclear,
                ),
                (
                    "a dark lens",
                    edited(|x, y, p| {
                        if x.abs_diff(32).pow(2) + y.abs_diff(32).pow(2) < 400 { 25 } else { p }
                    }),
                    NotSeen::EyesUnclear,
                ),
                ("smeared along", twice(7, 0), NotSeen::Blurred),
                ("smeared across", twice(0, 7), NotSeen::Blurred),
                ("out of focus", twice(5, 5), NotSeen::Blurred),
                ("noise", eye(90), NotSeen::BadLight),
            ]
        {
            assert_eq!(trust(luma), Err(want), "{name}");
        }
        let some = trust(eye(22)).unwrap();
        assert!((0.4..1.0).contains(&some), "noise lowers the trust: {some}");
    }

    #[test]
    fn a_cut_out_of_another_size_is_not_trusted() {
        let light = LumaStats { mean: 100.0, deviation: 30.0 };
        for luma in [vec![], vec![100; 63], vec![100; 64 * 2]] {
            assert!(EyeClarity::of(&luma, light).trust().is_err(), "{}", luma.len());
        }
    }
}
