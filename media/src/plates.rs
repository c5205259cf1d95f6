//! Places in a vehicle's box that look like a number plate: many upright edges close together.
//!
//! It knows nothing of characters and finds lettering, grilles and lamps as well. That is the side
//! to err on: a grille that is blurred costs nothing, a plate that is not costs somebody's privacy.

use opencv::{
    core::{Mat, Rect, Size},
    prelude::*,
};
use temoin_proto::perception::PictureBox;

use crate::{
    frame::{I420View, PictureError},
    scaled_part::ScaledPart,
};

/// A plate is scaled to about this width before it is looked for, pixels.
const PLATE_WIDTH: i32 = 40;
/// Windows that are tried: one line of characters (520 x 112 mm) as far and as near as a box's
/// width can be wrong by, and two lines (about 340 x 200 mm).
const WINDOWS: [(i32, i32); 3] = [(40, 10), (30, 8), (28, 16)];
/// Mean step of luma from one pixel to the next within a plate. Own choice: validate.
const LEAST_EDGES: f64 = 11.0;
/// And at least this much more than in the whole box.
const MORE_THAN_BOX: f64 = 1.7;
/// At most so many places are told.
const MOST: usize = 3;

/// Places within `part` of the picture that look like a plate about `plate_px` wide, as parts of
/// the whole picture, the likeliest first; at most 3, and they do not overlap.
///
/// # Errors
/// [`PictureError::OpenCv`]; a part outside of the picture has none.
pub fn plate_like(
    picture: &I420View<'_>,
    part: &PictureBox,
    plate_px: f32,
) -> Result<Vec<PictureBox>, PictureError> {
    let scale = (f64::from(plate_px), f64::from(PLATE_WIDTH));
    let smallest = Size::new(PLATE_WIDTH, 20);
    let Some(part) = ScaledPart::cut(picture, part, scale, 2.0, smallest)? else {
        return Ok(Vec::new());
    };
    let size = part.luma.size()?;
    let edges = EdgeSums::of(&part.luma)?;
    let mean = edges.mean(0, 0, size.width - 1, size.height);
    let mut found: Vec<(f64, Rect)> = Vec::new();
    for (width, height) in WINDOWS {
        for y in (0..size.height - height).step_by(2) {
            for x in (0..size.width - 1 - width).step_by(2) {
                let inside = edges.mean(x, y, width, height);
                if inside >= LEAST_EDGES && inside >= mean * MORE_THAN_BOX {
                    found.push((inside, Rect::new(x, y, width, height)));
                }
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<Rect> = Vec::new();
    for (_, window) in found {
        if kept.iter().all(|k| (*k & window).empty()) {
            kept.push(window);
        }
        if kept.len() == MOST {
            break;
        }
    }
    Ok(kept.into_iter().map(|window| part.place(window)).collect())
}

/// Sums of the steps of luma from each pixel to the one on its right.
struct EdgeSums {
    sums: Vec<u32>,
    columns: usize,
}

impl EdgeSums {
    fn of(gray: &Mat) -> Result<Self, PictureError> {
        let width = usize::try_from(gray.cols()).unwrap_or(0);
        let pixels = gray.data_bytes()?;
        // One more row and column than steps, so that a window is four look-ups.
        let columns = width.max(1);
        let mut sums = vec![0_u32; columns];
        for row in pixels.chunks_exact(width.max(1)) {
            let mut sum = 0;
            let above = sums.len() - columns;
            sums.push(sums.get(above).copied().unwrap_or(0));
            for (n, pair) in row.windows(2).enumerate() {
                let step = match pair {
                    [a, b] => a.abs_diff(*b),
                    _ => 0,
                };
                sum += u32::from(step);
                let up = sums.get(above + n + 1).copied().unwrap_or(0);
                sums.push(up + sum);
            }
        }
        Ok(Self { sums, columns })
    }

    fn mean(&self, x: i32, y: i32, width: i32, height: i32) -> f64 {
        let at = |x: i32, y: i32| {
            let (x, y) = (usize::try_from(x).unwrap_or(0), usize::try_from(y).unwrap_or(0));
            self.sums.get(y * self.columns + x).copied().map_or(0.0, f64::from)
        };
        let sum = at(x + width, y + height) - at(x, y + height) - at(x + width, y) + at(x, y);
        sum / f64::from(width * height).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::I420Picture;

    const BOX: PictureBox = PictureBox { x: 0.25, y: 0.25, w: 0.5, h: 0.5 };

    /// The back of a car that fills [`BOX`], with a plate of 92 x 20 pixels where it is asked for.
    fn car(plate: Option<(usize, usize)>, contrast: u8) -> I420Picture {
        let mut picture = I420Picture::black(640, 480).unwrap();
        for (y, row) in picture.planes_mut().y.chunks_exact_mut(640).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                *p = if y < 200 { 60 } else { 110 };
                if let Some((left, top)) = plate
                    && (left..left + 92).contains(&x)
                    && (top..top + 20).contains(&y)
                {
                    // Characters: upright strokes 2 px wide every 6.
                    let stroke = (x - left) % 6 < 2 && (3..17).contains(&(y - top));
                    *p = if stroke { 190 - contrast } else { 190 };
                }
            }
        }
        picture
    }

    #[test]
    fn a_plate_is_found_where_it_is() {
        for (left, top) in [(274, 300), (200, 320), (360, 260)] {
            let picture = car(Some((left, top)), 130);
            let found = plate_like(&picture.view(), &BOX, 92.0).unwrap();
            assert!(!found.is_empty(), "{left} {top}");
            let first = found[0];
            let (x, y) = ((first.x + first.w / 2.0) * 640.0, (first.y + first.h / 2.0) * 480.0);
            assert!((x - left as f32 - 46.0).abs() < 35.0, "{left}: {first:?}");
            assert!((y - top as f32 - 10.0).abs() < 12.0, "{top}: {first:?}");
        }
    }

    #[test]
    fn a_plain_box_has_none_and_odd_ones_do_no_harm() {
        let plain = car(None, 0);
        assert!(plate_like(&plain.view(), &BOX, 92.0).unwrap().is_empty());
        let picture = car(Some((274, 300)), 130);
        for (part, px) in [
            (PictureBox { x: 2.0, ..BOX }, 92.0),
            (PictureBox { x: f32::NAN, y: f32::INFINITY, w: f32::NAN, h: -1.0 }, 92.0),
            (PictureBox { w: 0.01, h: 0.01, ..BOX }, 92.0),
            (BOX, 0.0),
            (BOX, f32::NAN),
            (BOX, -3.0),
            (BOX, 1e9),
        ] {
            drop(plate_like(&picture.view(), &part, px).unwrap());
        }
    }
}
