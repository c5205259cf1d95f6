//! Blurring for those who may not see: what is under it cannot be brought back.
//!
//! The area is reduced to a few cells (the mean of each) and drawn again from those, smoothly. A
//! plain Gaussian blur could be undone in part; the means of a handful of cells cannot.
//!
//! INVARIANT: the result depends on nothing but the cells' means, luma and chroma alike.

use opencv::{
    core::{Mat, Rect, Size},
    imgproc,
};
use temoin_proto::perception::PictureBox;

use crate::{
    frame::{I420Picture, PictureError},
    rounding::{cv, round_i32},
};

/// Cells along the longer side of a face: far below the 16 or so pixels at which people begin to
/// recognise someone they know.
const CELLS_FACE: i32 = 6;
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
    blur(picture, &area, CELLS_FACE)
}

/// Blurs the whole picture.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn blur_picture(picture: &mut I420Picture) -> Result<(), PictureError> {
    blur(picture, &PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }, CELLS_PICTURE)
}

fn blur(picture: &mut I420Picture, area: &PictureBox, cells: i32) -> Result<(), PictureError> {
    // In chroma pixels, outwards, so that luma and chroma cover the same.
    let (w, h) = (f64::from(picture.width() / 2), f64::from(picture.height() / 2));
    let left = round_i32((f64::from(area.x) * w).floor().clamp(0.0, w));
    let top = round_i32((f64::from(area.y) * h).floor().clamp(0.0, h));
    let right = round_i32((f64::from(area.x + area.w) * w).ceil().clamp(0.0, w));
    let bottom = round_i32((f64::from(area.y + area.h) * h).ceil().clamp(0.0, h));
    let (width, height) = (right - left, bottom - top);
    if width < 1 || height < 1 {
        return Ok(());
    }
    let longer = width.max(height);
    let small = Size::new((width * cells / longer).max(1), (height * cells / longer).max(1));
    for (n, (w, h, plane)) in picture.plane_list().into_iter().enumerate() {
        let double = if n == 0 { 2 } else { 1 };
        let area = Rect::new(left * double, top * double, width * double, height * double);
        let mut plane = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(h), cv(w), plane)?;
        let mut part = Mat::roi_mut(&mut plane, area)?;
        let mut means = Mat::default();
        imgproc::resize(&part, &mut means, small, 0.0, 0.0, imgproc::INTER_AREA)?;
        imgproc::resize(&means, &mut part, area.size(), 0.0, 0.0, imgproc::INTER_LINEAR)?;
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
