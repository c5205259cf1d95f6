//! Blurring for those who may not see: what is under it cannot be brought back.
//!
//! The area is reduced to a few cells (the mean of each) and drawn again from those, smoothly. A
//! plain Gaussian blur could be undone in part; the means of a handful of cells cannot. The cells
//! lie on a grid of the whole picture: an area that trembles from picture to picture has the same
//! cells in each, so that many pictures tell no more than one.
//!
//! INVARIANT: the result depends on nothing but the cells' means, luma and chroma alike.

use opencv::{
    core::{Mat, MatTraitConst, Rect, Size},
    imgproc,
};
use temoin_proto::perception::PictureBox;

use crate::{
    frame::{I420Picture, PictureError},
    rounding::{cv, round_i32},
};

/// Cells along the longer side of a face or a number plate, at most: far below the 16 or so pixels
/// at which people begin to recognise someone they know, and less than a plate has characters.
const CELLS_AREA: i32 = 6;
/// Cells along the longer side of a whole picture: shows that something moves, not what.
const CELLS_PICTURE: i32 = 20;
/// How far the blur reaches beyond the face that was found, in parts of its size on each side:
/// hair, ears, chin, and what the head moves between two detections.
const MARGIN: f32 = 0.3;

/// Blurs a face and what is around it. A box that lies outside of the picture changes nothing.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn blur_face(picture: &mut I420Picture, face: &PictureBox) -> Result<(), PictureError> {
    let area = PictureBox {
        x: face.x - face.w * MARGIN,
        y: face.y - face.h * MARGIN,
        w: face.w * (1.0 + 2.0 * MARGIN),
        h: face.h * (1.0 + 2.0 * MARGIN),
    };
    blur_area(picture, &area)
}

/// Blurs just this area, up to the next cells' edges. What lies outside of the picture is left
/// away.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn blur_area(picture: &mut I420Picture, area: &PictureBox) -> Result<(), PictureError> {
    match Part::of(picture, area, Rounding::Outwards) {
        Some(part) => blur(picture, part, CELLS_AREA),
        None => Ok(()),
    }
}

/// Blurs the whole picture.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn blur_picture(picture: &mut I420Picture) -> Result<(), PictureError> {
    blur_all_but(picture, None)
}

/// Blurs the whole picture but for the box `keep`, so coarsely that it only shows that something
/// moves.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn blur_all_but(
    picture: &mut I420Picture,
    keep: Option<&PictureBox>,
) -> Result<(), PictureError> {
    let keep = keep.and_then(|keep| Part::of(picture, keep, Rounding::Inwards));
    let mut kept = Vec::new();
    if let Some(keep) = keep {
        for (n, (w, h, plane)) in picture.plane_list().into_iter().enumerate() {
            let plane = Mat::new_rows_cols_with_bytes::<u8>(cv(h), cv(w), plane)?;
            kept.push(Mat::roi(&plane, keep.in_plane(n))?.try_clone()?);
        }
    }
    let all =
        Part { left: 0, top: 0, right: cv(picture.width() / 2), bottom: cv(picture.height() / 2) };
    blur(picture, all, CELLS_PICTURE)?;
    if let Some(keep) = keep {
        for (n, ((w, h, plane), kept)) in picture.plane_list().into_iter().zip(&kept).enumerate() {
            let mut plane = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(h), cv(w), plane)?;
            kept.copy_to(&mut Mat::roi_mut(&mut plane, keep.in_plane(n))?)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Outwards,
    Inwards,
}

/// A part of a picture in whole chroma pixels, within it and not empty: luma and chroma then cover
/// the same.
#[derive(Clone, Copy)]
struct Part {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Part {
    fn of(picture: &I420Picture, area: &PictureBox, rounding: Rounding) -> Option<Self> {
        let (w, h) = (f64::from(picture.width() / 2), f64::from(picture.height() / 2));
        let [low, high]: [fn(f64) -> f64; 2] = match rounding {
            Rounding::Outwards => [f64::floor, f64::ceil],
            Rounding::Inwards => [f64::ceil, f64::floor],
        };
        let low = |from: f32, all: f64| round_i32(low(f64::from(from) * all).clamp(0.0, all));
        let high = |to: f32, all: f64| round_i32(high(f64::from(to) * all).clamp(0.0, all));
        let part = Self {
            left: low(area.x, w),
            top: low(area.y, h),
            right: high(area.x + area.w, w),
            bottom: high(area.y + area.h, h),
        };
        (part.left < part.right && part.top < part.bottom).then_some(part)
    }

    /// The same where all edges lie on a grid of this step, but for the picture's own edges.
    fn snapped(self, step: i32, picture: &I420Picture) -> Self {
        let up = |x: i32, all: u32| ((x + step - 1) / step * step).min(cv(all / 2));
        Self {
            left: self.left / step * step,
            top: self.top / step * step,
            right: up(self.right, picture.width()),
            bottom: up(self.bottom, picture.height()),
        }
    }

    /// This part of luma (plane 0) or chroma.
    const fn in_plane(self, n: usize) -> Rect {
        let double = if n == 0 { 2 } else { 1 };
        let (width, height) = (self.right - self.left, self.bottom - self.top);
        Rect {
            x: self.left * double,
            y: self.top * double,
            width: width * double,
            height: height * double,
        }
    }
}

/// Reduces a part to at most `cells` cells along its longer side.
fn blur(picture: &mut I420Picture, part: Part, cells: i32) -> Result<(), PictureError> {
    let longer = (part.right - part.left).max(part.bottom - part.top);
    let mut step = 1;
    while step * cells < longer {
        step *= 2;
    }
    let part = part.snapped(step, picture);
    let count = |from: i32, to: i32| ((to - from + step - 1) / step).max(1);
    let small = Size::new(count(part.left, part.right), count(part.top, part.bottom));
    for (n, (w, h, plane)) in picture.plane_list().into_iter().enumerate() {
        let area = part.in_plane(n);
        let mut plane = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(h), cv(w), plane)?;
        let mut pixels = Mat::roi_mut(&mut plane, area)?;
        let mut means = Mat::default();
        imgproc::resize(&pixels, &mut means, small, 0.0, 0.0, imgproc::INTER_AREA)?;
        imgproc::resize(&means, &mut pixels, area.size(), 0.0, 0.0, imgproc::INTER_LINEAR)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::moving;

    const FACE: PictureBox = PictureBox { x: 0.4, y: 0.3, w: 0.2, h: 0.4 };

    /// Luma difference between neighbours in a row, at most, within columns `x`.
    fn steepest(picture: &I420Picture, x: std::ops::Range<usize>, y: usize) -> u8 {
        let row = &picture.view().luma()[y * picture.width() as usize..];
        row[x].windows(2).map(|p| p[0].abs_diff(p[1])).max().unwrap()
    }

    #[test]
    fn a_face_goes_and_the_rest_stays() {
        let sharp = moving(640, 360, 3);
        let mut blurred = sharp.clone();
        blur_face(&mut blurred, &FACE).unwrap();
        assert!(steepest(&sharp, 260..380, 180) > 20);
        assert!(steepest(&blurred, 260..380, 180) < 6);
        assert_eq!(blurred.view().luma()[..640 * 40], sharp.view().luma()[..640 * 40]);
        assert_eq!(steepest(&blurred, 0..200, 180), steepest(&sharp, 0..200, 180));
    }

    #[test]
    fn only_the_means_of_cells_survive() {
        // Two faces that differ in every pixel but in no cell's mean look the same afterwards.
        let flat = |flip: bool| {
            let mut picture = I420Picture::black(640, 360).unwrap();
            let planes = picture.planes_mut();
            for (y, row) in planes.y.chunks_exact_mut(640).enumerate() {
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = if ((x + y) % 2 == 0) == flip { 60 } else { 180 };
                }
            }
            picture
        };
        let (mut a, mut b) = (flat(true), flat(false));
        blur_picture(&mut a).unwrap();
        blur_picture(&mut b).unwrap();
        let worst = a.data().iter().zip(b.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 2, "{worst}");
    }

    #[test]
    fn a_trembling_area_has_the_same_cells() {
        // Two areas a few pixels apart: where both blur, they show the same.
        let sharp = moving(1280, 720, 3);
        let blurred = |dx: f32| {
            let mut picture = sharp.clone();
            blur_area(&mut picture, &PictureBox { x: FACE.x + dx, ..FACE }).unwrap();
            picture
        };
        let (a, b) = (blurred(0.0), blurred(0.004));
        let inside = 1280 * 360 + 540..1280 * 360 + 740;
        assert_eq!(a.data()[inside.clone()], b.data()[inside.clone()]);
        assert_ne!(a.data()[inside.clone()], sharp.data()[inside]);
    }

    #[test]
    fn a_plate_loses_its_characters() {
        // Strokes of 3 pixels on a plate of 80 x 18.
        let mut picture = I420Picture::black(1280, 720).unwrap();
        for row in picture.planes_mut().y.chunks_exact_mut(1280).skip(500).take(18) {
            for (x, pixel) in row[600..680].iter_mut().enumerate() {
                *pixel = if x / 3 % 2 == 0 { 40 } else { 220 };
            }
        }
        let plate = PictureBox { x: 600.0 / 1280.0, y: 500.0 / 720.0, w: 80.0 / 1280.0, h: 0.025 };
        assert!(steepest(&picture, 600..680, 509) > 150);
        blur_area(&mut picture, &plate).unwrap();
        assert!(steepest(&picture, 600..680, 509) < 20);
    }

    #[test]
    fn all_but_the_driver_is_blurred() {
        let sharp = moving(640, 360, 3);
        let mut blurred = sharp.clone();
        let seat = PictureBox { x: 0.5, y: 0.0, w: 0.5, h: 1.0 };
        blur_all_but(&mut blurred, Some(&seat)).unwrap();
        for y in [0, 180, 359] {
            let right = 640 * y + 320..640 * y + 640;
            assert_eq!(blurred.view().luma()[right.clone()], sharp.view().luma()[right], "{y}");
            assert!(steepest(&blurred, 0..320, y) < 6, "{y}");
        }
        let mut all = sharp.clone();
        blur_all_but(&mut all, None).unwrap();
        assert!(steepest(&all, 0..640, 180) < 6);
        for odd in [
            PictureBox { x: f32::NAN, ..seat },
            PictureBox { w: -1.0, ..seat },
            PictureBox { x: 2.0, ..seat },
        ] {
            let mut picture = sharp.clone();
            blur_all_but(&mut picture, Some(&odd)).unwrap();
            assert!(picture == all, "{odd:?}");
        }
    }

    #[test]
    fn odd_boxes_are_harmless() {
        for face in [
            PictureBox { x: -3.0, y: 0.2, w: 0.1, h: 0.1 },
            PictureBox { x: 0.9, y: 0.9, w: 9.0, h: 9.0 },
            PictureBox { x: f32::NAN, y: 0.0, w: 0.5, h: 0.5 },
            PictureBox { x: 0.5, y: 0.5, w: -0.5, h: 0.1 },
            PictureBox { x: 0.5, y: 0.5, w: f32::INFINITY, h: 1e-9 },
        ] {
            blur_face(&mut moving(64, 36, 0), &face).unwrap();
        }
        blur_picture(&mut I420Picture::black(2, 2).unwrap()).unwrap();
    }
}
