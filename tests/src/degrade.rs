//! Pictures made worse, on purpose and by a known amount: what perception must call *not seen*.
//!
//! Pure functions on I420 pictures; places are pixels of the picture. Nothing here is random: noise
//! comes from a seed.

use std::f32::consts::PI;

use temoin_media::frame::{I420Picture, PictureError, PlanesMut};

/// A place in a picture, pixels from the top left.
pub type Place = [f32; 2];

/// Black in video range.
const BLACK: f32 = 16.0;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, which is wanted here"
)]
fn level(x: f32) -> u8 {
    x.round() as u8
}

fn width(picture: &I420Picture) -> usize {
    usize::try_from(picture.width()).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "sides of a picture are at most 4096")]
const fn coordinate(n: usize) -> f32 {
    n as f32
}

/// Changes each luma value by its place.
fn each_luma(picture: &mut I420Picture, mut change: impl FnMut(Place, f32) -> f32) {
    let width = width(picture);
    for (y, row) in picture.planes_mut().y.chunks_exact_mut(width).enumerate() {
        for (x, p) in row.iter_mut().enumerate() {
            *p = level(change([coordinate(x), coordinate(y)], f32::from(*p)));
        }
    }
}

/// Pulls the colour at places towards none, by 0 to 1.
fn each_colour(picture: &mut I420Picture, mut fade: impl FnMut(Place) -> f32) {
    let width = width(picture) / 2;
    let PlanesMut { u, v, .. } = picture.planes_mut();
    for plane in [u, v] {
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                let keep = 1.0 - fade([2.0 * coordinate(x), 2.0 * coordinate(y)]).clamp(0.0, 1.0);
                *p = level(128.0 + (f32::from(*p) - 128.0) * keep);
            }
        }
    }
}

/// Numbers without a pattern: 64-bit, xorshift.
struct Noise(u64);

impl Noise {
    /// About normal, with deviation 1: the sum of 12 even ones.
    fn next(&mut self) -> f32 {
        let sum: u16 = (0..12)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                u16::from(self.0.to_le_bytes()[3])
            })
            .sum();
        (f32::from(sum) - 1530.0) / 256.0
    }
}

/// As much light as `light` (0 to 1) leaves, with the noise of a sensor: of the light itself and
/// of reading it. `amplified` brings the brightness back, and the noise with it.
#[must_use]
pub fn darken(mut picture: I420Picture, light: f32, amplified: bool, seed: u64) -> I420Picture {
    let mut noise = Noise(seed | 1);
    each_luma(&mut picture, |_, p| {
        let left = (p - BLACK).max(0.0) * light;
        let seen = (left + noise.next() * (0.5 * left + 4.0).sqrt()).max(0.0);
        BLACK + if amplified { seen / light.max(0.01) } else { seen }
    });
    if !amplified {
        each_colour(&mut picture, |_| 1.0 - light);
    }
    picture
}

/// A blot of light: `strength` levels at its middle, a bell of this radius.
#[must_use]
pub fn glare(mut picture: I420Picture, at: Place, radius_px: f32, strength: f32) -> I420Picture {
    let bell = |[x, y]: Place| {
        let (dx, dy) = ((x - at[0]) / radius_px, (y - at[1]) / radius_px);
        strength * (-0.5 * (dx * dx + dy * dy)).exp()
    };
    each_luma(&mut picture, |place, p| p + bell(place));
    each_colour(&mut picture, |place| bell(place) / 200.0);
    picture
}

/// Distance of a place from a line between two.
fn off_line([x, y]: Place, from: Place, to: Place) -> f32 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let along = ((x - from[0]) * dx + (y - from[1]) * dy) / (dx * dx + dy * dy).max(1.0);
    let along = along.clamp(0.0, 1.0);
    (x - from[0] - along * dx).hypot(y - from[1] - along * dy)
}

/// The line through both eyes, reaching over them by this many eye distances.
pub fn across_eyes([right, left]: [Place; 2], over: f32) -> [Place; 2] {
    let (dx, dy) = ((left[0] - right[0]) * over, (left[1] - right[1]) * over);
    [[right[0] - dx, right[1] - dy], [left[0] + dx, left[1] + dy]]
}

/// A bar of one colour from place to place.
#[must_use]
pub fn bar(
    mut picture: I420Picture,
    [from, to]: [Place; 2],
    thickness_px: f32,
    luma: u8,
) -> I420Picture {
    let on = |place| off_line(place, from, to) <= thickness_px / 2.0;
    each_luma(&mut picture, |place, p| if on(place) { f32::from(luma) } else { p });
    each_colour(&mut picture, |place| if on(place) { 0.7 } else { 0.0 });
    picture
}

/// Sunglasses: two dark ovals, a bridge, and the sky in each lens. `dark` is 0 to 1.
#[must_use]
pub fn sunglasses(mut picture: I420Picture, eyes: [Place; 2], dark: f32) -> I420Picture {
    let [right, left] = eyes;
    let (dx, dy) = (left[0] - right[0], left[1] - right[1]);
    let apart = dx.hypot(dy).max(1.0);
    let (cos, sin) = (dx / apart, dy / apart);
    let in_oval = |[x, y]: Place, middle: Place, half: [f32; 2]| {
        let (x, y) = (x - middle[0], y - middle[1]);
        let (along, across) = (x * cos + y * sin, y * cos - x * sin);
        (along / half[0] / apart).powi(2) + (across / half[1] / apart).powi(2) <= 1.0
    };
    let sky = |middle: Place| [middle[0] - 0.12 * apart, middle[1] - 0.1 * apart];
    let shade = |place: Place| {
        if [right, left].iter().any(|eye| in_oval(place, sky(*eye), [0.1, 0.05])) {
            Some(120.0)
        } else if [right, left].iter().any(|eye| in_oval(place, *eye, [0.42, 0.32]))
            || off_line(place, right, left) <= 0.04 * apart
        {
            Some(26.0)
        } else {
            None
        }
    };
    each_luma(&mut picture, |place, p| shade(place).map_or(p, |s| p + (s - p) * dark));
    each_colour(&mut picture, |place| if shade(place).is_some() { dark } else { 0.0 });
    picture
}

/// All to the right of `x_px` hidden behind something of one colour.
#[must_use]
pub fn half(mut picture: I420Picture, x_px: f32, luma: u8) -> I420Picture {
    each_luma(&mut picture, |[x, _], p| if x >= x_px { f32::from(luma) } else { p });
    each_colour(&mut picture, |[x, _]| if x >= x_px { 1.0 } else { 0.0 });
    picture
}

/// Without colour, as an infrared camera gives it.
#[must_use]
pub fn grey(mut picture: I420Picture) -> I420Picture {
    each_colour(&mut picture, |_| 1.0);
    picture
}

/// Left becomes right.
#[must_use]
pub fn mirror(mut picture: I420Picture) -> I420Picture {
    let width = width(&picture);
    let PlanesMut { y, u, v } = picture.planes_mut();
    for (plane, width) in [(y, width), (u, width / 2), (v, width / 2)] {
        plane.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    picture
}

/// The planes with their widths and how many luma pixels one of theirs is wide.
fn planes(picture: &mut I420Picture) -> [(&mut [u8], usize, f32); 3] {
    let width = width(picture);
    let PlanesMut { y, u, v } = picture.planes_mut();
    [(y, width, 1.0), (u, width / 2, 2.0), (v, width / 2, 2.0)]
}

/// The pixel of a plane at a place, its edge repeated.
fn pixel(plane: &[u8], width: usize, x: f32, y: f32) -> f32 {
    let height = plane.len() / width.max(1);
    let clamp = |v: f32, n: usize| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "float casts saturate, which is wanted here"
        )]
        let v = v.round() as usize;
        v.min(n.saturating_sub(1))
    };
    plane.get(clamp(y, height) * width + clamp(x, width)).copied().map_or(0.0, f32::from)
}

/// Turned clockwise about a place.
#[must_use]
pub fn rotate(mut picture: I420Picture, about: Place, degrees: f32) -> I420Picture {
    let (sin, cos) = degrees.to_radians().sin_cos();
    for (plane, width, pixels) in planes(&mut picture) {
        let from = plane.to_vec();
        let about = about.map(|c| c / pixels);
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                let (dx, dy) = (coordinate(x) - about[0], coordinate(y) - about[1]);
                let (sx, sy) = (about[0] + dx * cos + dy * sin, about[1] + dy * cos - dx * sin);
                *p = level(pixel(&from, width, sx, sy));
            }
        }
    }
    picture
}

/// Smeared by a motion of so many pixels in this direction (0 is sideways, 90 up and down).
#[must_use]
pub fn motion_blur(mut picture: I420Picture, length_px: f32, degrees: f32) -> I420Picture {
    let (sin, cos) = degrees.to_radians().sin_cos();
    for (plane, width, pixels) in planes(&mut picture) {
        let from = plane.to_vec();
        let length = length_px / pixels;
        let steps = length.max(1.0).ceil();
        let places: Vec<f32> = std::iter::successors(Some(0.0_f32), |n| Some(n + 1.0))
            .take_while(|n| *n <= steps)
            .map(|n| (n / steps - 0.5) * length)
            .collect();
        let n = places.iter().map(|_| 1.0).sum::<f32>();
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                let (x, y) = (coordinate(x), coordinate(y));
                let sum: f32 =
                    places.iter().map(|d| pixel(&from, width, x + d * cos, y + d * sin)).sum();
                *p = level(sum / n);
            }
        }
    }
    picture
}

/// Out of focus: a bell of this deviation.
#[must_use]
pub fn gaussian_blur(mut picture: I420Picture, sigma_px: f32) -> I420Picture {
    for (plane, width, pixels) in planes(&mut picture) {
        let sigma = (sigma_px / pixels).max(0.1);
        let mut bell: Vec<f32> = std::iter::successors(Some(0.0_f32), |n| Some(n + 1.0))
            .take_while(|n| *n <= (3.0 * sigma).ceil())
            .map(|n| (-0.5 * (n / sigma).powi(2)).exp())
            .collect();
        let all = 2.0 * bell.iter().sum::<f32>() - 1.0;
        bell.iter_mut().for_each(|w| *w /= all);
        for sideways in [true, false] {
            let from = plane.to_vec();
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                for (x, p) in row.iter_mut().enumerate() {
                    let (x, y) = (coordinate(x), coordinate(y));
                    let at = |d: f32| {
                        if sideways {
                            pixel(&from, width, x + d, y)
                        } else {
                            pixel(&from, width, x, y + d)
                        }
                    };
                    let sum: f32 = (bell.iter().enumerate())
                        .map(|(d, w)| match d {
                            0 => w * at(0.0),
                            d => w * (at(coordinate(d)) + at(-coordinate(d))),
                        })
                        .sum();
                    *p = level(sum);
                }
            }
        }
    }
    picture
}

/// The quantisation of JPEG's luma at quality 50 (Annex K.1 of ITU T.81).
const QUANTA: [[f32; 8]; 8] = [
    [16.0, 11.0, 10.0, 16.0, 24.0, 40.0, 51.0, 61.0],
    [12.0, 12.0, 14.0, 19.0, 26.0, 58.0, 60.0, 55.0],
    [14.0, 13.0, 16.0, 24.0, 40.0, 57.0, 69.0, 56.0],
    [14.0, 17.0, 22.0, 29.0, 51.0, 87.0, 80.0, 62.0],
    [18.0, 22.0, 37.0, 56.0, 68.0, 109.0, 103.0, 77.0],
    [24.0, 35.0, 55.0, 64.0, 81.0, 104.0, 113.0, 92.0],
    [49.0, 64.0, 78.0, 87.0, 103.0, 121.0, 120.0, 101.0],
    [72.0, 92.0, 95.0, 98.0, 112.0, 100.0, 103.0, 99.0],
];

/// Compressed as JPEG would, `times` as coarse as at quality 50: 1 is mild, 10 is quality 5.
#[must_use]
pub fn compress(mut picture: I420Picture, times: f32) -> I420Picture {
    let mut waves = [[0.0_f32; 8]; 8];
    for (k, wave) in waves.iter_mut().enumerate() {
        let scale = if k == 0 { 0.125_f32.sqrt() } else { 0.5 };
        for (n, w) in wave.iter_mut().enumerate() {
            *w = scale * (PI / 8.0 * (coordinate(n) + 0.5) * coordinate(k)).cos();
        }
    }
    for (plane, width, _) in planes(&mut picture) {
        for band in plane.chunks_exact_mut(8 * width) {
            for left in (0..width / 8).map(|n| 8 * n) {
                let mut block = [[0.0_f32; 8]; 8];
                for (row, from) in block.iter_mut().zip(band.chunks_exact(width)) {
                    for (p, from) in row.iter_mut().zip(from.iter().skip(left)) {
                        *p = f32::from(*from) - 128.0;
                    }
                }
                let mut coded = transformed(&waves, &block, false);
                for (c, q) in coded.iter_mut().flatten().zip(QUANTA.iter().flatten()) {
                    let q = (q * times).max(1.0);
                    *c = (*c / q).round() * q;
                }
                let back = transformed(&waves, &coded, true);
                for (row, to) in back.iter().zip(band.chunks_exact_mut(width)) {
                    for (p, to) in row.iter().zip(to.iter_mut().skip(left)) {
                        *to = level(p + 128.0);
                    }
                }
            }
        }
    }
    picture
}

/// The cosine transform of a block, or the way back.
fn transformed(waves: &[[f32; 8]; 8], block: &[[f32; 8]; 8], back: bool) -> [[f32; 8]; 8] {
    let wave = |k: usize, n: usize| {
        let (k, n) = if back { (n, k) } else { (k, n) };
        waves.get(k).and_then(|w| w.get(n)).copied().unwrap_or(0.0)
    };
    let mut rows = [[0.0_f32; 8]; 8];
    for (to, from) in rows.iter_mut().zip(block) {
        for (k, t) in to.iter_mut().enumerate() {
            *t = from.iter().enumerate().map(|(n, p)| wave(k, n) * p).sum();
        }
    }
    let mut out = [[0.0_f32; 8]; 8];
    for (k, to) in out.iter_mut().enumerate() {
        for (n, row) in rows.iter().enumerate() {
            let w = wave(k, n);
            to.iter_mut().zip(row).for_each(|(t, r)| *t += w * r);
        }
    }
    out
}

/// From picture `at` on, the same one again and again.
pub fn freeze(pictures: &mut [I420Picture], at: usize) {
    if let Some((frozen, rest)) = pictures.get_mut(at..).and_then(<[_]>::split_first_mut) {
        rest.iter_mut().for_each(|p| p.clone_from(frozen));
    }
}

/// Two pictures of one size side by side, each cut at a quarter on both sides: two people in a
/// cab.
///
/// # Errors
/// [`PictureError::Size`] where they have not one size whose quarter is even.
pub fn side_by_side(a: &I420Picture, b: &I420Picture) -> Result<I420Picture, PictureError> {
    let mut out = I420Picture::black(a.width(), a.height())?;
    let wrong = PictureError::Size { width: b.width(), height: b.height() };
    if (a.width(), a.height()) != (b.width(), b.height()) || !a.width().is_multiple_of(8) {
        return Err(wrong);
    }
    let (mut a, mut b) = (a.clone(), b.clone());
    let sources = planes(&mut a).into_iter().zip(planes(&mut b));
    for ((to, width, _), ((a, ..), (b, ..))) in planes(&mut out).into_iter().zip(sources) {
        let rows = to.chunks_exact_mut(width).zip(a.chunks_exact(width).zip(b.chunks_exact(width)));
        for (to, (a, b)) in rows {
            let (left, right) = to.split_at_mut(width / 2);
            let middle = |row: &[u8]| row.iter().skip(width / 4).copied().collect::<Vec<_>>();
            left.iter_mut().zip(middle(a)).for_each(|(t, p)| *t = p);
            right.iter_mut().zip(middle(b)).for_each(|(t, p)| *t = p);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Luma rises to the right and down, with a fine pattern; some colour.
    fn scene() -> I420Picture {
        let mut picture = I420Picture::black(96, 64).unwrap();
        each_luma(&mut picture, |[x, y], _| 60.0 + x + 0.5 * y + 20.0 * ((x + y) % 2.0));
        picture.planes_mut().u.fill(90);
        picture
    }

    fn stats(picture: &I420Picture) -> (f32, f32) {
        let s = picture.view().luma_stats();
        (s.mean, s.deviation)
    }

    /// Mean step from one pixel to the next in a row.
    fn detail(picture: &I420Picture) -> f32 {
        let luma = picture.view().luma();
        let steps = luma.array_windows().map(|[a, b]| f32::from(a.abs_diff(*b)));
        steps.sum::<f32>() / luma.len() as f32
    }

    #[test]
    fn each_does_what_it_says_and_more_of_it_with_more_strength() {
        let at = [48.0, 32.0];
        let eyes = [[36.0, 30.0], [60.0, 34.0]];
        let (mean, deviation) = stats(&scene());
        let dark = |light| darken(scene(), light, false, 7);
        assert!(stats(&dark(0.5)).0 < mean * 0.7 && stats(&dark(0.1)).0 < stats(&dark(0.5)).0);
        assert!(detail(&darken(scene(), 0.05, true, 7)) > 1.5 * detail(&scene()), "noise grows");
        assert_eq!(dark(0.2), dark(0.2), "the same seed, the same noise");
        let lit = |strength| stats(&glare(scene(), at, 12.0, strength)).0;
        assert!(lit(100.0) > mean + 1.0 && lit(300.0) > lit(100.0));
        let barred = bar(scene(), across_eyes(eyes, 0.5), 8.0, 16);
        assert_eq!(barred.view().luma()[32 * 96 + 48], 16);
        assert_eq!(barred.view().luma()[5 * 96 + 48], scene().view().luma()[5 * 96 + 48]);
        let shaded = |dark| f32::from(sunglasses(scene(), eyes, dark).view().luma()[30 * 96 + 36]);
        assert!(shaded(1.0) < 30.0 && shaded(0.5) > shaded(1.0));
        let soft = |sigma| detail(&gaussian_blur(scene(), sigma));
        assert!(soft(1.0) < 0.7 * detail(&scene()) && soft(3.0) < soft(1.0) + 0.1);
        assert!(detail(&motion_blur(scene(), 9.0, 0.0)) < 0.7 * detail(&scene()));
        assert!(detail(&compress(scene(), 12.0)) < 0.7 * detail(&scene()));
        assert!((stats(&compress(scene(), 1.0)).1 - deviation).abs() < 3.0);
        assert!(
            half(scene(), 48.0, 40).view().luma()[96 * 10 + 49..96 * 11].iter().all(|p| *p == 40)
        );
        assert!(grey(scene()).data()[96 * 64..].iter().all(|p| *p == 128));
    }

    #[test]
    fn what_is_turned_can_be_turned_back() {
        assert_eq!(mirror(mirror(scene())), scene());
        assert_eq!(rotate(scene(), [48.0, 32.0], 0.0), scene());
        let turned = rotate(rotate(scene(), [48.0, 32.0], 180.0), [48.0, 32.0], 180.0);
        let same = turned.data().iter().zip(scene().into_vec()).filter(|(a, b)| *a == b).count();
        assert!(same * 100 > 90 * turned.data().len(), "{same}");
        // Clockwise by 90°: what was to the right is below.
        let lower = rotate(scene(), [48.0, 32.0], 90.0);
        assert!(lower.view().luma()[60 * 96 + 48] > lower.view().luma()[4 * 96 + 48] + 30);
    }

    #[test]
    fn pictures_freeze_and_stand_beside_each_other() {
        let mut pictures: Vec<_> = (0..4).map(|n| darken(scene(), 1.0, false, n)).collect();
        let (first, second) = (pictures[0].clone(), pictures[1].clone());
        freeze(&mut pictures, 1);
        assert_eq!(pictures[0], first);
        assert!(pictures[1..].iter().all(|p| *p == second));
        freeze(&mut pictures, 9);

        let beside = side_by_side(&scene(), &half(scene(), 0.0, 40)).unwrap();
        assert_eq!(beside.view().luma()[0], scene().view().luma()[24]);
        assert!(beside.view().luma()[48..96].iter().all(|p| *p == 40));
        assert!(side_by_side(&scene(), &I420Picture::black(64, 64).unwrap()).is_err());
    }
}
