//! Attacks on the file itself, picture by picture: a video tape, a denoiser, a sharpener as networks for
//! upscaling sharpen, and pictures made up between others.
//!
//! Strengths are those that the tools apply to be seen, not those that hurt a mark most: own choice
//! where nothing else is said.

use anyhow::Result;
use temoin_media::frame::I420Picture;

use super::{
    clip::{Clip, time},
    grey::{Grey, join, signed, split},
    light::{index, narrow, whole},
    random::{Noise, Random},
};

/// Changes each picture of a clip.
fn each(clip: &Clip, mut change: impl FnMut([Grey; 3]) -> [Grey; 3]) -> Result<Clip> {
    let mut pictures = Vec::with_capacity(clip.pictures.len());
    for (at, picture) in &clip.pictures {
        pictures.push((*at, join(&change(split(picture)))?));
    }
    Ok(Clip { pictures })
}

/// Cycles over a picture's width that VHS keeps at half of their contrast: 3 MHz of luma and 0.4 MHz of
/// colour over a line of 52 µs.
const TAPE_LUMA: f32 = 3e6 * 52e-6;
const TAPE_COLOUR: f32 = 0.4e6 * 52e-6;

/// Copied to a VHS tape and back: soft, with smeared and late colours, lines that tremble, noise, and a
/// torn lower edge.
pub(super) fn tape(clip: &Clip, seed: u64) -> Result<Clip> {
    let mut noise = Noise::new(Random::of(seed, "tape"));
    each(clip, |planes| {
        let mut n = 0;
        planes.map(|plane| {
            let colour = n > 0;
            n += 1;
            let width = plane.width as f32;
            let cycles = if colour { TAPE_COLOUR } else { TAPE_LUMA };
            // A Gaussian keeps half of the contrast at 0.187 / deviation cycles a pixel.
            let soft = plane.blurred_across(0.187 * width / cycles);
            let torn = signed(plane.height() - plane.height() / 50);
            let (trembles, entry) = (noise.entry(), noise.entry());
            // Time base: deviation of half a pixel in 720; colour comes 4 of them late.
            let late = if colour { 4.0 } else { 0.0 };
            let grain = if colour { 5.0 } else { 3.0 };
            soft.of(|x, y| {
                let own = noise.at(trembles + y.unsigned_abs());
                let tear = if y >= torn { 12.0 + 6.0 * own } else { 0.0 };
                let shift = (0.5 * own + late + tear) * width / 720.0;
                let value = soft.between(x as f32 - shift, y);
                let at = entry + y.unsigned_abs() * plane.width + x.unsigned_abs();
                value + grain * noise.at(at)
            })
        })
    })
}

/// Denoised in time and space, as a strong setting of the usual filters does: what changes by less than
/// `levels` from one picture to the next is taken for noise.
pub(super) fn denoised(clip: &Clip) -> Result<Clip> {
    let levels = 8.0_f32;
    let mut before: Option<[Grey; 3]> = None;
    each(clip, |mut planes| {
        if let Some(before) = &before {
            for (plane, before) in planes.iter_mut().zip(before) {
                for (value, old) in plane.values.iter_mut().zip(&before.values) {
                    let kept = 0.75 * (-((*value - old) / levels).powi(2)).exp();
                    *value += (old - *value) * kept;
                }
            }
        }
        before = Some(planes.clone());
        let [luma, blue, red] = planes;
        [luma.flattened(levels), blue, red]
    })
}

/// Sharpened as networks for upscaling do: texture becomes flat and edges become steep without a halo
/// (a shock filter), then the picture is half as large again.
pub(super) fn sharpened(clip: &Clip) -> Result<Clip> {
    let steep = |plane: &Grey| {
        plane.of(|x, y| {
            let own = plane.at(x, y);
            let sides = [(-1, 0), (1, 0), (0, -1), (0, 1)].map(|(dx, dy)| plane.at(x + dx, y + dy));
            let low = sides.iter().fold(own, |m, v| m.min(*v));
            let high = sides.iter().fold(own, |m, v| m.max(*v));
            let bends = sides.iter().sum::<f32>() - 4.0 * own;
            // Towards the nearer side of the edge, and never over it.
            let step = 0.35 * (high - low).min(40.0) * (bends / 3.0).clamp(-1.0, 1.0);
            (own - step).clamp(low, high)
        })
    };
    let sharp = each(clip, |[luma, blue, red]| [steep(&steep(&luma.flattened(6.0))), blue, red])?;
    let (width, height) = sharp.size()?;
    let larger = |side: u32| (side / 2 * 3 / 2 * 2).min(4096);
    let mut pictures = Vec::with_capacity(sharp.pictures.len());
    for (at, picture) in sharp.pictures {
        pictures.push((at, picture.view().resize(larger(width), larger(height))?));
    }
    Ok(Clip { pictures })
}

/// Side of a block whose movement is looked for, and how far, pixels.
const BLOCK: usize = 16;
const FAR: isize = 8;

/// At 60 pictures a second, all but few of them made up between two others along their movement.
pub(super) fn interpolated(clip: &Clip) -> Result<Clip> {
    let rate = 60.0;
    let mut pictures = Vec::new();
    let mut n = 0_u32;
    for pair in clip.pictures.windows(2) {
        let [(from, before), (to, after)] = pair else { continue };
        let (from_s, to_s) = (from.as_secs_f64(), to.as_secs_f64());
        let (old, new) = (split(before), split(after));
        let moves = moves(&old, &new);
        while f64::from(n) / rate < to_s {
            let at_s = f64::from(n) / rate;
            let part = narrow((at_s - from_s) / (to_s - from_s)).clamp(0.0, 1.0);
            pictures.push((time(at_s), between(&old, &new, &moves, part)?));
            n += 1;
        }
    }
    if pictures.is_empty() {
        return Ok(clip.clone());
    }
    Ok(Clip { pictures })
}

/// Half of the movement from one picture to the next, of each block, row by row.
fn moves([old, ..]: &[Grey; 3], [new, ..]: &[Grey; 3]) -> Vec<(isize, isize)> {
    let (across, down) = (old.width.div_ceil(BLOCK), old.height().div_ceil(BLOCK));
    let mut moves = Vec::with_capacity(across * down);
    for n in 0..across * down {
        let (left, top) = (signed(n % across * BLOCK), signed(n / across * BLOCK));
        let cost = |(dx, dy): (isize, isize)| {
            let mut sum = 0.5 * (dx.abs() + dy.abs()) as f32;
            for y in (top..top + signed(BLOCK)).step_by(2) {
                for x in (left..left + signed(BLOCK)).step_by(2) {
                    sum += (old.at(x - dx, y - dy) - new.at(x + dx, y + dy)).abs();
                }
            }
            sum
        };
        // Three steps: far, nearer, near.
        let (mut best, mut least) = ((0, 0), cost((0, 0)));
        let mut step = FAR / 2;
        while step > 0 {
            let (x, y) = best;
            for (dx, dy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
                let tried = (x + dx * step, y + dy * step);
                let cost = cost(tried);
                if cost < least {
                    (best, least) = (tried, cost);
                }
            }
            step /= 2;
        }
        moves.push(best);
    }
    moves
}

/// A picture at this part of the way.
fn between(
    old: &[Grey; 3],
    new: &[Grey; 3],
    moves: &[(isize, isize)],
    part: f32,
) -> Result<I420Picture> {
    let across = old.first().map_or(1, |luma| luma.width.div_ceil(BLOCK));
    let plane = |old: &Grey, new: &Grey, step: usize| {
        let block = BLOCK / step;
        let scaled = |half: isize, by: f32| {
            let moved = 2.0 * half as f32 * by / step as f32;
            let size = signed(index(whole(f64::from(moved.abs()))));
            if moved < 0.0 { -size } else { size }
        };
        old.of(|x, y| {
            let n = y.unsigned_abs() / block * across + x.unsigned_abs() / block;
            let (dx, dy) = moves.get(n).copied().unwrap_or((0, 0));
            let past = old.at(x - scaled(dx, part), y - scaled(dy, part));
            let future = new.at(x + scaled(dx, 1.0 - part), y + scaled(dy, 1.0 - part));
            past + (future - past) * part
        })
    };
    let ([old_y, old_u, old_v], [new_y, new_u, new_v]) = (old, new);
    Ok(join(&[plane(old_y, new_y, 1), plane(old_u, new_u, 2), plane(old_v, new_v, 2)])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    /// Steepest change from a pixel to the next, over the upper rows.
    fn steepest(clip: &Clip) -> f32 {
        let (_, picture) = &clip.pictures[0];
        let luma = &picture.view().luma()[..(picture.width() * 20) as usize];
        let rows = luma.chunks_exact(picture.width() as usize);
        let pairs = rows.flat_map(|row| row.windows(2)).map(|w| w[0].abs_diff(w[1]));
        f32::from(pairs.max().unwrap())
    }

    #[test]
    fn a_tape_is_soft_trembles_and_follows_its_seed() {
        let clip = street(160, 90, 3, 25.0);
        let tape_of = |seed| tape(&clip, seed).unwrap();
        assert_eq!(tape_of(1), tape_of(1));
        assert_ne!(tape_of(1), tape_of(2));
        let colour = |clip: &Clip| split(&clip.pictures[0].1)[1].values[1000];
        assert!((colour(&tape_of(1)) - colour(&clip)).abs() < 25.0);
    }

    #[test]
    fn denoising_takes_noise_away() {
        let still = street(64, 36, 1, 25.0).pictures[0].1.clone();
        let mut random = Random::of(1, "noise");
        let mut noisy = |n: u32| {
            let mut planes = split(&still);
            planes[0].values.iter_mut().for_each(|v| *v += 3.0 * random.normal());
            (time(f64::from(n) * 0.04), join(&planes).unwrap())
        };
        let clip = Clip { pictures: (0..6).map(&mut noisy).collect() };
        let error = |clip: &Clip| {
            let pairs = clip.pictures[5].1.view().luma().iter().zip(still.view().luma());
            pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>()
        };
        let flat = Clip { pictures: vec![(time(0.0), still.clone()); 6] };
        let (noisy, clean) = (error(&clip), error(&denoised(&clip).unwrap()));
        // The texture of the picture is lost with the noise: compare with what that alone costs.
        assert!(clean - error(&denoised(&flat).unwrap()) < 0.5 * noisy, "{clean} of {noisy}");
    }

    #[test]
    fn sharpening_makes_edges_steep_and_the_picture_larger() {
        let blurred =
            each(&street(96, 48, 3, 25.0), |planes| planes.map(|p| p.blurred_across(2.0)));
        let blurred = blurred.unwrap();
        let sharp = sharpened(&blurred).unwrap();
        assert_eq!(sharp.size().unwrap(), (144, 72));
        // The larger picture alone would make edges less steep by a third.
        let (before, after) = (steepest(&blurred), steepest(&sharp));
        assert!(after * 1.5 > 1.3 * before, "{before} {after}");
    }

    #[test]
    fn between_two_pictures_things_are_half_way() {
        let bar = |at: usize| {
            let mut picture = I420Picture::black(96, 48).unwrap();
            for row in picture.planes_mut().y.chunks_exact_mut(96) {
                row[at..at + 8].fill(200);
            }
            picture
        };
        let clip = Clip { pictures: vec![(time(0.0), bar(40)), (time(1.0 / 30.0), bar(44))] };
        let smooth = interpolated(&clip).unwrap();
        smooth.check().unwrap();
        assert_eq!(smooth.pictures.len(), 2);
        let row = &smooth.pictures[1].1.view().luma()[96 * 20..96 * 21];
        assert!(row[42..50].iter().all(|p| *p > 150) && row[38] < 60 && row[54] < 60, "{row:?}");
    }
}
