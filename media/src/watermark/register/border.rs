//! Where the screen could be in the leak, told without features: as the whole picture, or as a
//! rectangle that stands out. These are guesses; the direct alignment tells which of them is right.

use opencv::{
    core::{self, Mat, Point as CvPoint, Scalar, Size, Vector},
    imgproc,
    prelude::*,
};

use super::{
    Gray, RegisterError,
    homography::{Homography, Point, area_of, corners_of},
    plane::scaled,
};
use crate::rounding::round_u32;

/// Borders are looked for at this shorter side, pixels.
const SHORT_SIDE: f64 = 240.0;
/// Least part of the leak that a screen takes.
const LEAST_PART: f64 = 0.08;
/// Most rectangles.
const MOST: usize = 4;

/// Maps from the original to this frame of the leak, mirrored ones too.
pub(super) fn guesses(gray: &Gray, size: (u32, u32)) -> Result<Vec<Homography>, RegisterError> {
    let leak = (gray.width, gray.height);
    let mut quads = vec![corners_of(leak)];
    let (w, h) = (f64::from(leak.0), f64::from(leak.1));
    let (across, down) = (w / f64::from(size.0), h / f64::from(size.1));
    // With bars, or cut off, where the formats differ.
    if (across / down - 1.0).abs() > 0.02 {
        for zoom in [across.min(down), across.max(down)] {
            let (a, b) = (f64::from(size.0) * zoom / 2.0, f64::from(size.1) * zoom / 2.0);
            let (x, y) = (w / 2.0 - 0.5, h / 2.0 - 0.5);
            quads.push([(x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b)]);
        }
    }
    quads.extend(rectangles(gray)?);
    let mut out = Vec::new();
    for [a, b, c, d] in quads {
        for to in [[a, b, c, d], [b, a, d, c]] {
            let map = Homography::of_corners(corners_of(size), to);
            out.extend(map.ok().filter(|map| map.is_plausible(size, leak)));
        }
    }
    Ok(out)
}

/// Rectangles that stand out, seen slanting, the largest first.
fn rectangles(gray: &Gray) -> Result<Vec<[Point; 4]>, RegisterError> {
    let shrink = (SHORT_SIDE / f64::from(gray.width.min(gray.height))).min(1.0);
    let side = |of: u32| round_u32(f64::from(of) * shrink).max(1);
    let small = scaled(gray, (side(gray.width), side(gray.height)))?;
    let mut soft = Mat::default();
    imgproc::gaussian_blur_def(&small, &mut soft, Size::new(5, 5), 0.0)?;
    let kernel = Mat::ones(5, 5, core::CV_8U)?.to_mat()?;
    let anchor = CvPoint::new(-1, -1);
    let mut found: Vec<[Point; 4]> = Vec::new();
    let whole = f64::from(small.cols()) * f64::from(small.rows());
    for way in 0..3 {
        let mut bits = Mat::default();
        match way {
            0 => {
                imgproc::threshold(&soft, &mut bits, 0.0, 255.0, imgproc::THRESH_OTSU)?;
            }
            1 => {
                imgproc::threshold(&soft, &mut bits, 24.0, 255.0, imgproc::THRESH_BINARY)?;
            }
            _ => imgproc::canny_def(&soft, &mut bits, 20.0, 60.0)?,
        }
        let mut closed = Mat::default();
        imgproc::morphology_ex(
            &bits,
            &mut closed,
            imgproc::MORPH_CLOSE,
            &kernel,
            anchor,
            2,
            core::BORDER_CONSTANT,
            Scalar::default(),
        )?;
        let mut outlines = Vector::<Vector<CvPoint>>::new();
        imgproc::find_contours_def(
            &closed,
            &mut outlines,
            imgproc::RETR_EXTERNAL,
            imgproc::CHAIN_APPROX_SIMPLE,
        )?;
        for outline in &outlines {
            if imgproc::contour_area_def(&outline)? < LEAST_PART * whole {
                continue;
            }
            let (mut hull, mut corners) = (Vector::<CvPoint>::new(), Vector::<CvPoint>::new());
            imgproc::convex_hull_def(&outline, &mut hull)?;
            let round = imgproc::arc_length(&hull, true)?;
            imgproc::approx_poly_dp(&hull, &mut corners, 0.03 * round, true)?;
            let places: Vec<Point> = corners
                .iter()
                .map(|p| {
                    ((f64::from(p.x) + 0.5) / shrink - 0.5, (f64::from(p.y) + 0.5) / shrink - 0.5)
                })
                .collect();
            if let Ok(corners) = <[Point; 4]>::try_from(places) {
                found.push(clockwise(corners));
            }
        }
    }
    found.sort_by(|a, b| area_of(b).total_cmp(&area_of(a)));
    found.truncate(MOST);
    Ok(found)
}

/// From the top left.
fn clockwise(mut corners: [Point; 4]) -> [Point; 4] {
    if area_of(&corners) < 0.0 {
        corners.reverse();
    }
    let first =
        corners.iter().enumerate().min_by(|(_, a), (_, b)| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
    let first = first.map_or(0, |(n, _)| n);
    corners.rotate_left(first);
    corners
}

#[cfg(test)]
mod tests {
    use super::super::test_warps::{scene, warp};
    use super::*;

    #[test]
    fn a_screen_in_a_dark_room_is_seen() {
        let size = (320, 180);
        let to = [(90.0, 60.0), (300.0, 75.0), (290.0, 190.0), (95.0, 200.0)];
        let truth = Homography::of_corners(corners_of(size), to).unwrap();
        let leak = warp(&scene(3, 320, 180), &truth, (360, 260));
        let maps = guesses(&leak, size).unwrap();
        let nearest =
            maps.iter().map(|map| map.distance(&truth, size)).fold(f64::INFINITY, f64::min);
        assert!(nearest < 6.0, "{nearest}");
    }
}
