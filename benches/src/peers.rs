//! Another kind of mark, to compare the forensic one with under the same attacks: the blind 'DwtDct' mark
//! that image generators use (the `invisible-watermark` package), written anew from its description.
//!
//! A plane goes through one step of the Haar transform; its coarse part is cut into blocks of 4 x 4; in
//! the cosine transform of each block the largest coefficient but the mean is moved to a quarter or to
//! three quarters of a quantisation step, which is one bit. The payload is repeated over the picture.
//! The reader knows nothing but the step and the payload's length.
//!
//! It gets what it can get: [`read`] scales the leak back to the size that was marked, tries it mirrored
//! too, and takes the vote of all blocks of all pictures. What it cannot do without the original is undo
//! a perspective.

use anyhow::Result;
use temoin_media::frame::I420Picture;

use crate::attacks::Clip;

/// Bits of a payload.
pub const BITS: u32 = 64;
/// The package's own quantisation step.
const STEP: f32 = 36.0;
/// Side of a block of the coarse part.
const SIDE: usize = 4;
/// Ways in which a leak is tried: as it is, and mirrored.
const TRIES: u32 = 2;

/// Which plane carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Luma: survives most, and is seen.
    Luma,
    /// Blue difference, as in the package.
    Blue,
}

impl Plane {
    /// Its bytes and its width.
    fn of(self, picture: &mut I420Picture) -> (&mut [u8], usize) {
        let width = usize::try_from(picture.width()).unwrap_or(usize::MAX);
        let planes = picture.planes_mut();
        match self {
            Self::Luma => (planes.y, width),
            Self::Blue => (planes.u, width / 2),
        }
    }
}

/// Coefficients of a block, row by row.
type Block = [[f32; SIDE]; SIDE];

/// The orthonormal cosine transform's matrix.
fn cosines() -> Block {
    let mut matrix = [[0.0; SIDE]; SIDE];
    for (k, row) in matrix.iter_mut().enumerate() {
        let scale = if k == 0 { 0.5 } else { std::f32::consts::FRAC_1_SQRT_2 };
        for (n, c) in row.iter_mut().enumerate() {
            let angle = std::f32::consts::PI * (2 * n + 1) as f32 * k as f32 / (2 * SIDE) as f32;
            *c = scale * angle.cos();
        }
    }
    matrix
}

fn transposed(block: &Block) -> Block {
    let mut out = [[0.0; SIDE]; SIDE];
    for (y, row) in block.iter().enumerate() {
        for (to, value) in out.iter_mut().zip(row) {
            if let Some(to) = to.get_mut(y) {
                *to = *value;
            }
        }
    }
    out
}

fn product(a: &Block, b: &Block) -> Block {
    let columns = transposed(b);
    a.map(|row| columns.map(|column| row.iter().zip(column).map(|(p, q)| p * q).sum()))
}

/// The largest coefficient but the mean: where it is and what it is.
fn largest(block: &Block) -> (usize, f32) {
    let mut best = (1, 0.0_f32);
    for (n, value) in block.as_flattened().iter().enumerate().skip(1) {
        if value.abs() > best.1.abs() {
            best = (n, *value);
        }
    }
    best
}

/// Walks over the blocks of a plane: `change` gets the transform of the coarse part of each, and how
/// many came before; where it gives a block back, the pixels follow.
fn blocks(plane: &mut [u8], width: usize, mut change: impl FnMut(u32, &Block) -> Option<Block>) {
    let reach = 2 * SIDE;
    let (across, down) = (width / reach, plane.len() / width.max(1) / reach);
    let (matrix, back) = (cosines(), transposed(&cosines()));
    for (number, n) in (0..).zip(0..across * down) {
        let first = n / across * reach * width + n % across * reach;
        let mut coarse = [[0.0; SIDE]; SIDE];
        for (k, value) in coarse.as_flattened_mut().iter_mut().enumerate() {
            let at = first + k / SIDE * 2 * width + k % SIDE * 2;
            let four = [at, at + 1, at + width, at + width + 1];
            let sum: u32 = four.iter().map(|n| plane.get(*n).copied().map_or(0, u32::from)).sum();
            *value = sum as f32 / 2.0;
        }
        let transform = product(&product(&matrix, &coarse), &back);
        if let Some(changed) = change(number, &transform) {
            let after = product(&product(&back, &changed), &matrix);
            let pairs = after.as_flattened().iter().zip(coarse.as_flattened()).enumerate();
            for (k, (after, before)) in pairs {
                let at = first + k / SIDE * 2 * width + k % SIDE * 2;
                for n in [at, at + 1, at + width, at + width + 1] {
                    if let Some(pixel) = plane.get_mut(n) {
                        *pixel = level(f32::from(*pixel) + (after - before) / 2.0);
                    }
                }
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "float casts saturate")]
const fn level(x: f32) -> u8 {
    (x + 0.5) as u8
}

const fn bit(payload: u64, block: u32) -> bool {
    (payload >> (block % BITS)) & 1 == 1
}

/// Marks a picture.
pub fn embed(picture: &mut I420Picture, plane: Plane, payload: u64) {
    let (bytes, width) = plane.of(picture);
    blocks(bytes, width, |number, transform| {
        let (n, value) = largest(transform);
        let part = if bit(payload, number) { 0.75 } else { 0.25 };
        let mut changed = *transform;
        if let Some(to) = changed.as_flattened_mut().get_mut(n) {
            *to = ((value.abs() / STEP).floor() + part) * STEP * value.signum();
        }
        Some(changed)
    });
}

/// What was read of a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The payload, from the leak as it is.
    pub straight: u64,
    /// The payload, from the leak mirrored.
    pub mirrored: u64,
}

/// Reads a leak of pictures that were marked at `size`.
///
/// # Errors
/// Where a picture cannot be scaled.
pub fn read(leak: &Clip, size: (u32, u32), plane: Plane) -> Result<Reading> {
    let mut votes = [[0_i64; 64]; 2];
    for (_, picture) in &leak.pictures {
        let mut picture = picture.view().resize(size.0, size.1)?;
        for votes in &mut votes {
            let (bytes, width) = plane.of(&mut picture);
            blocks(bytes, width, |number, transform| {
                let (_, value) = largest(transform);
                let set = (value.abs() / STEP).fract() > 0.5;
                let place = usize::try_from(number % BITS).unwrap_or_default();
                if let Some(vote) = votes.get_mut(place) {
                    *vote += if set { 1 } else { -1 };
                }
                None
            });
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
    }
    let payload = |votes: &[i64; 64]| {
        votes.iter().rev().fold(0_u64, |payload, vote| payload << 1 | u64::from(*vote > 0))
    };
    let [straight, mirrored] = &votes;
    Ok(Reading { straight: payload(straight), mirrored: payload(mirrored) })
}

impl Reading {
    /// Part of the payload's bits that are wrong, in the better of both tries: 0.5 is chance.
    pub fn bit_errors(self, payload: u64) -> f64 {
        f64::from(self.wrong_bits(payload)) / f64::from(BITS)
    }

    fn wrong_bits(self, payload: u64) -> u32 {
        let wrong = |read: u64| (read ^ payload).count_ones();
        wrong(self.straight).min(wrong(self.mirrored))
    }

    /// Whether this payload is found, where chance alone may say so of a payload that was never embedded
    /// with at most this probability.
    pub fn finds(self, payload: u64, false_alarms: f64) -> bool {
        most_wrong_bits(false_alarms).is_some_and(|most| self.wrong_bits(payload) <= most)
    }
}

/// So many bits may be wrong: with fair coins for bits (binomial, both tries counted) fewer are as rare
/// as `false_alarms` says. `None` where not even all bits right is rare enough.
pub fn most_wrong_bits(false_alarms: f64) -> Option<u32> {
    let (mut ways, mut sum, mut most) = (1.0, 0.0, None);
    for wrong in 0..=BITS {
        sum += ways;
        if f64::from(TRIES) * sum * 0.5_f64.powi(64) > false_alarms {
            break;
        }
        most = Some(wrong);
        ways *= f64::from(BITS - wrong) / f64::from(wrong + 1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::{random::Random, site::Edit, test_clips::street};

    const PAYLOAD: u64 = 0x5eed_cafe_0123_4567;

    fn marked(plane: Plane) -> Clip {
        let mut clip = street(320, 180, 3, 25.0);
        for (_, picture) in &mut clip.pictures {
            embed(picture, plane, PAYLOAD);
        }
        clip
    }

    #[test]
    fn a_mark_is_read_back_without_attack_also_mirrored() {
        for plane in [Plane::Luma, Plane::Blue] {
            let clip = marked(plane);
            let reading = read(&clip, (320, 180), plane).unwrap();
            assert_eq!(reading.straight, PAYLOAD, "{plane:?}");
            assert!(reading.finds(PAYLOAD, 1e-9) && reading.bit_errors(PAYLOAD) < 1e-9);
            let edit = Edit { mirror: true, ..Edit::none(700) };
            let mirror = |(at, p): &(_, I420Picture)| (*at, edit.picture(p, 0.0).unwrap());
            let mirrored = Clip { pictures: clip.pictures.iter().map(mirror).collect() };
            assert_eq!(read(&mirrored, (320, 180), plane).unwrap().mirrored, PAYLOAD);
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let clip = street(320, 180, 2, 25.0);
        let mut random = Random::of(1, "payloads");
        for plane in [Plane::Luma, Plane::Blue] {
            let reading = read(&clip, (320, 180), plane).unwrap();
            assert!((0..1000).all(|_| !reading.finds(random.bits(), 1e-9)));
        }
    }

    #[test]
    fn the_bound_is_that_of_the_binomial() {
        // Of 64 fair coins at most 7 wrong: 7.0e8 of 2^64, so 7.5e-11 in both tries; 8: 5.6e-10, 9: 3.5e-9.
        for (bound, want) in [(1e-9, Some(8)), (1e-10, Some(7)), (1e-18, Some(0)), (1e-20, None)] {
            assert_eq!(most_wrong_bits(bound), want, "{bound}");
        }
        let reading = Reading { straight: PAYLOAD ^ 0xff, mirrored: 0 };
        assert!(reading.finds(PAYLOAD, 1e-9) && !reading.finds(PAYLOAD, 1e-10));
    }

    #[test]
    fn the_cosine_transform_has_an_inverse() {
        let matrix = cosines();
        let unit = product(&matrix, &transposed(&matrix));
        for (n, value) in unit.as_flattened().iter().enumerate() {
            let want = if n % (SIDE + 1) == 0 { 1.0 } else { 0.0 };
            assert!((value - want).abs() < 1e-5);
        }
    }
}
