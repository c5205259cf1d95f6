//! Traces of hard compression around an eye: steps between the blocks of 8 x 8 pixels that JPEG and
//! most video coders cut a picture into. Pure.
//!
//! A coder that must save keeps hardly more than the mean of each block, and what is left of an
//! open eye can look shut. The steps are looked for where the coder makes them, at every eighth
//! row and column of the camera's picture; where a picture was scaled after it was compressed they
//! lie elsewhere, and nothing is said.

use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::perception::NotSeen;

/// Side of a block, pixels.
const BLOCK: usize = 8;
/// Squares are looked at with as much around them: eyes of 20 pixels have too few edges of blocks.
const AROUND: f32 = 2.0;
/// Steps this many times as high at the edges of blocks as within take no confidence. Of 90
/// photographed and filmed eyes, 20 to 140 pixels apart: 0.8 to 1.4 as they are, 1.3 in the median
/// (99 of 100 below 1.9) at JPEG quality 50, 1.6 (2.3) at 25.
const FREE: f32 = 2.0;
/// Steps this many times as high take all of it: 2.2 (3.3) at quality 12, 3.1 (5.7) at 6, where some
/// open eyes looked shut; at quality 2.5, where more did, 99 of 100 are above 4.4.
const MAX_STEPS: f32 = 4.0;
/// Levels that flat blocks may differ by: rounding.
const ROUNDING: f32 = 0.3;

/// How far an eye in this square can be trusted, 0 to 1; the reason where it cannot.
pub(super) fn trust(picture: &I420View<'_>, square: Square) -> Result<f32, NotSeen> {
    let steps = steps(picture, Square { side: square.side * AROUND, ..square });
    if steps < MAX_STEPS {
        Ok(((MAX_STEPS - steps) / (MAX_STEPS - FREE)).min(1.0))
    } else {
        Err(NotSeen::Blurred)
    }
}

/// Mean step between neighbouring pixels across the edges of blocks, over that within blocks; 0
/// where too little lies in the picture. The square's turn is left out: it need not be exact.
fn steps(picture: &I420View<'_>, square: Square) -> f32 {
    let size = |side: u32| usize::try_from(side).unwrap_or(0);
    let (width, height) = (size(picture.width()), size(picture.height()));
    let (left, right) = span(square.x, square.side, width);
    let (top, bottom) = span(square.y, square.side, height);
    let rows: Vec<&[u8]> = picture
        .luma()
        .chunks_exact(width.max(1))
        .take(bottom)
        .skip(top)
        .filter_map(|row| row.get(left..right))
        .collect();
    let (mut edges, mut within) = (Mean::default(), Mean::default());
    let mut add = |place: usize, a: u8, b: u8| {
        let mean = if place.is_multiple_of(BLOCK) { &mut edges } else { &mut within };
        mean.add(a.abs_diff(b));
    };
    for row in &rows {
        for (x, [a, b]) in (left + 1..).zip(row.array_windows()) {
            add(x, *a, *b);
        }
    }
    for (y, [above, below]) in (top + 1..).zip(rows.array_windows()) {
        for (a, b) in above.iter().zip(*below) {
            add(y, *a, *b);
        }
    }
    edges.of() / (within.of() + ROUNDING)
}

#[derive(Default)]
struct Mean {
    sum: f32,
    count: f32,
}

impl Mean {
    fn add(&mut self, step: u8) {
        self.sum += f32::from(step);
        self.count += 1.0;
    }

    fn of(&self) -> f32 {
        self.sum / self.count.max(1.0)
    }
}

/// Pixels of a row or column of so many that lie within half a side of a place.
fn span(middle: f32, side: f32, pixels: usize) -> (usize, usize) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 0 and no number is 0, and too much is cut to the picture"
    )]
    let place = |at: f32| (at as usize).min(pixels);
    (place(middle - side / 2.0), place(middle + side / 2.0))
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;

    /// A picture of noise and shading; each block is brought this far, 0 to 1, towards its mean,
    /// with the blocks' edges so many pixels to the right of and below where a coder puts them.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "levels of luma")]
    fn coded(flattened: f32, shifted: usize) -> I420Picture {
        const SIDE: usize = 96;
        let mut seed = 3_u32;
        let mut luma = vec![0.0_f32; SIDE * SIDE];
        for (n, p) in luma.iter_mut().enumerate() {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y) = ((n % SIDE) as f32, (n / SIDE) as f32);
            *p = 110.0 + 40.0 * (x / 7.0).sin() * (y / 9.0).cos() + (seed >> 28) as f32;
        }
        let block_of = |place: usize| (place + BLOCK - shifted) / BLOCK;
        let block = |n: usize| (block_of(n % SIDE), block_of(n / SIDE));
        let mut means = std::collections::BTreeMap::<_, (f32, f32)>::new();
        for (n, p) in luma.iter().enumerate() {
            let mean = means.entry(block(n)).or_default();
            *mean = (mean.0 + p, mean.1 + 1.0);
        }
        let mut data: Vec<u8> = luma
            .iter()
            .enumerate()
            .map(|(n, p)| {
                let (sum, count) = means[&block(n)];
                (p + (sum / count - p) * flattened).round() as u8
            })
            .collect();
        data.resize(SIDE * SIDE * 3 / 2, 128);
        I420Picture::from_vec(96, 96, data).unwrap()
    }

    #[test]
    fn hard_compression_takes_the_trust() {
        let eye = Square::upright(50.0, 45.0, 35.0);
        for (name, picture, square, want) in [
            ("as it is", coded(0.0, 0), eye, Some((0.99, 1.0))),
            ("mild", coded(0.3, 0), eye, Some((0.99, 1.0))),
            ("hard", coded(0.6, 0), eye, Some((0.1, 0.99))),
            ("too hard", coded(0.95, 0), eye, None),
            ("scaled since", coded(0.95, 3), eye, Some((0.99, 1.0))),
            ("over the edge", coded(0.0, 0), Square::upright(0.0, 96.0, 60.0), Some((0.99, 1.0))),
            ("outside", coded(0.95, 0), Square::upright(500.0, -90.0, 35.0), Some((0.99, 1.0))),
            ("nowhere", coded(0.95, 0), Square::upright(f32::NAN, 9.0, 9.0), Some((0.99, 1.0))),
        ] {
            match (trust(&picture.view(), square), want) {
                (Ok(got), Some((low, high))) => {
                    assert!((low..=high).contains(&got), "{name}: {got}");
                }
                (got, want) => assert_eq!(got, want.map(|w| w.0).ok_or(NotSeen::Blurred), "{name}"),
            }
        }
    }
}
