//! Where in a picture many upright edges lie close together: all that there is to find a number
//! plate by where no network finds the vehicles.
//!
//! It finds lettering, lamps, wheels, railings and painted lines as well; asphalt, sky and
//! bodywork have none. So what it tells is where a plate *cannot be excluded*.
//!
//! INVARIANT: at most [`MOST`] parts are told; where there would be more, neighbours in a row of
//! cells become one.

use temoin_proto::perception::PictureBox;

use crate::{frame::I420View, rounding::index};

/// Cells across the picture, and down.
const CELLS: (usize, usize) = (20, 12);
/// A cell is judged by the part of it that has the most: a plate of 14 pixels fills two thirds of
/// such a part's width and half of its height in a picture of 1280x720.
const PARTS: (usize, usize) = (3, 9);
/// Mean step of luma to the neighbour. Characters of a plate that can be read differ from it by 30
/// and more, and a stroke has two edges in some 4 pixels; asphalt has 1 to 2, by compression and
/// noise. Own choice: validate.
const LEAST: u64 = 5;
/// Steps are taken over a pixel at this width, and over more in a larger picture.
const REFERENCE_WIDTH: usize = 1280;
/// What reaches over a cell's edge is too little to count there: parts reach so many cells further.
const MARGIN: f32 = 0.2;
/// Parts that are told at most: the blur takes 64 at once, faces among them.
pub const MOST: usize = 40;

/// Parts of the picture below the row `top_px` that have many upright edges.
pub fn upright_edges(picture: &I420View<'_>, top_px: f64) -> Vec<PictureBox> {
    let (width, height) = (index(picture.width()), index(picture.height()));
    let step = (width / REFERENCE_WIDTH).max(1);
    if width < CELLS.0 * PARTS.0 * 2 || height < CELLS.1 * PARTS.1 {
        return Vec::new();
    }
    let columns = CELLS.0 * PARTS.0;
    let mut flagged = vec![[false; CELLS.0]; CELLS.1];
    let rows: Vec<&[u8]> = picture.luma().chunks_exact(width).collect();
    for strip in 0..CELLS.1 * PARTS.1 {
        let (from, to) = part(height, CELLS.1 * PARTS.1, strip);
        #[expect(clippy::cast_precision_loss, reason = "a row of a picture")]
        let below = to as f64 > top_px;
        if !below {
            continue;
        }
        for column in 0..columns {
            let (left, right) = part(width, columns, column);
            let (mut sum, mut count) = (0_u64, 0_u64);
            for row in rows.get(from..to).unwrap_or_default() {
                let here = row.get(left..right).unwrap_or_default();
                let beside = row.get(left + step..).unwrap_or_default();
                for (a, b) in here.iter().zip(beside) {
                    sum += u64::from(a.abs_diff(*b));
                    count += 1;
                }
            }
            let cell =
                flagged.get_mut(strip / PARTS.1).and_then(|row| row.get_mut(column / PARTS.0));
            if let Some(cell) = cell {
                *cell |= count > 0 && sum >= LEAST * count;
            }
        }
    }
    (0..=CELLS.0)
        .map(|gap| runs(&flagged, gap))
        .find(|runs| runs.len() <= MOST)
        .unwrap_or_default()
        .into_iter()
        .map(|(y, from, to)| fractions(y, from, to))
        .collect()
}

/// Where the n-th of so many equal parts begins and ends.
const fn part(length: usize, parts: usize, n: usize) -> (usize, usize) {
    (length * n / parts, length * (n + 1) / parts)
}

/// Runs of flagged cells: their row, first cell and the one after the last; so many cells between
/// two of them still make one run.
fn runs(flagged: &[[bool; CELLS.0]], gap: usize) -> Vec<(usize, usize, usize)> {
    let mut all: Vec<(usize, usize, usize)> = Vec::new();
    for (y, row) in flagged.iter().enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, on)| **on) {
            match all.last_mut() {
                Some((last, _, to)) if *last == y && x <= *to + gap => *to = x + 1,
                _ => all.push((y, x, x + 1)),
            }
        }
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "some cells")]
fn fractions(y: usize, from: usize, to: usize) -> PictureBox {
    let (w, h) = (CELLS.0 as f32, CELLS.1 as f32);
    let (left, right) = ((from as f32 - MARGIN).max(0.0), (to as f32 + MARGIN).min(w));
    let (top, bottom) = ((y as f32 - MARGIN).max(0.0), (y as f32 + 1.0 + MARGIN).min(h));
    PictureBox { x: left / w, y: top / h, w: (right - left) / w, h: (bottom - top) / h }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::I420Picture;

    /// Asphalt with plates of these widths at these places, characters in 7ths of them.
    fn road(size: (u32, u32), plates: &[(usize, usize, usize)]) -> I420Picture {
        let mut picture = I420Picture::black(size.0, size.1).unwrap();
        let width = size.0 as usize;
        for (y, row) in picture.planes_mut().y.chunks_exact_mut(width).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                *p = 90 + u8::try_from((x * 7 + y * 13) % 4).unwrap();
                for (left, top, wide) in plates {
                    let (high, cell) = (wide / 4, (wide / 7).max(2));
                    if (*left..left + wide).contains(&x) && (*top..top + high).contains(&y) {
                        *p = if (x - left) % cell < cell / 2 { 60 } else { 130 };
                    }
                }
            }
        }
        picture
    }

    fn holds(parts: &[PictureBox], u: f32, v: f32) -> bool {
        parts.iter().any(|b| (b.x..b.x + b.w).contains(&u) && (b.y..b.y + b.h).contains(&v))
    }

    #[test]
    fn plates_are_in_what_is_told_and_plain_road_is_not() {
        for (size, wide) in
            [((1280, 720), 14), ((1280, 720), 30), ((1280, 720), 120), ((640, 360), 14)]
        {
            let (w, h) = (size.0 as usize, size.1 as usize);
            let at = [(w / 5, h * 3 / 5, wide), (w * 7 / 10, h * 4 / 5, wide)];
            let parts = upright_edges(&road(size, &at).view(), f64::from(size.1) / 2.0);
            for (left, top, wide) in at {
                let (u, v) = ((left + wide / 2) as f32 / w as f32, (top as f32 + 2.0) / h as f32);
                assert!(holds(&parts, u, v), "{size:?} {wide}: {parts:?}");
            }
            let area: f32 = parts.iter().map(|b| b.w * b.h).sum();
            assert!(area < 0.1, "{size:?} {wide}: {area}");
        }
        assert_eq!(upright_edges(&road((1280, 720), &[]).view(), 300.0), vec![]);
        let above = road((1280, 720), &[(500, 100, 60)]);
        assert_eq!(upright_edges(&above.view(), 360.0), vec![]);
    }

    #[test]
    fn a_picture_full_of_edges_is_told_in_few_parts() {
        let plates: Vec<(usize, usize, usize)> =
            (0..16).flat_map(|x| (0..9).map(move |y| (80 * x, 80 * y, 30))).collect();
        let parts = upright_edges(&road((1280, 720), &plates).view(), 0.0);
        assert!(!parts.is_empty() && parts.len() <= MOST, "{}", parts.len());
        for (left, top, wide) in plates {
            let (u, v) = ((left + wide / 2) as f32 / 1280.0, (top + 3) as f32 / 720.0);
            assert!(holds(&parts, u, v), "{left} {top}");
        }
        for (size, top_px) in [((2, 2), 0.0), ((32, 1080), 0.0), ((1280, 720), f64::NAN)] {
            let parts = upright_edges(&road(size, &[]).view(), top_px);
            assert!(parts.is_empty(), "{size:?}");
        }
    }
}
