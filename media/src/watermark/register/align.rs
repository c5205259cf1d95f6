//! A leak's frame in the geometry of the original.
//!
//! After the homography there are still bends: a phone's lens, its rolling shutter. They are smooth,
//! so one displacement for each large window takes them out, without bending the mark away, whose
//! cells are smaller than the windows.

use std::time::Duration;

use opencv::{
    core::{self, Mat, Point, Scalar, Size},
    imgproc,
    prelude::*,
};

use super::{
    FrameMap, Gray, Reference, RegisterError, check_picture,
    homography::Homography,
    plane::{LeakFrame, Level, Plane, normalised},
};
use crate::rounding::{cv, index, round_i32};

/// The window of one displacement, part of the shorter side.
const WINDOW: f64 = 0.22;
/// No displacement is longer, pixels: what is left after a homography that fits.
const MOST_PX: f32 = 3.0;
/// Mean square gradient below which a window's displacement is drawn to nothing.
const FLAT: f32 = 0.004;
/// Displacements are improved so many times.
const ROUNDS: usize = 2;

/// The leak's frame in the original's geometry, of the working size.
#[derive(Clone, PartialEq)]
pub struct Aligned {
    /// The original's time that it shows.
    pub at: Duration,
    /// Row by row.
    pub luma: Vec<f32>,
    /// `false` where the leak shows nothing of the original.
    pub valid: Vec<bool>,
}

impl std::fmt::Debug for Aligned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aligned({} pixels at {:?})", self.luma.len(), self.at)
    }
}

/// Brings a frame of the leak into the original's geometry.
///
/// # Errors
/// [`RegisterError::Picture`] for a picture that cannot be worked on, [`RegisterError::Degenerate`]
/// for a map that is none.
pub fn align(reference: &Reference, leak: &Gray, map: &FrameMap) -> Result<Aligned, RegisterError> {
    check_picture(map.leak, leak)?;
    let homography = Homography(map.homography);
    if homography.corners(reference.size).is_none() || homography.inverse().is_none() {
        return Err(RegisterError::Degenerate);
    }
    let level = Level { size: reference.size, scale: (1.0, 1.0) };
    let (bytes, valid) = LeakFrame::new(leak)?.luma_at(&homography, &level)?;
    let mut luma = Mat::default();
    bytes.convert_to(&mut luma, core::CV_32F, 1.0, 0.0)?;
    let (w, h) = (cv(reference.size.0), cv(reference.size.1));
    let original = reference.at(map.at);
    let original = Mat::new_rows_cols_with_data(h, w, &original)?.try_clone()?;
    let target = normalised(&original, None)?;
    let mut bend = Bend::none(reference.size)?;
    for _ in 0..ROUNDS {
        let bent = bend.of(&luma)?;
        let seen = normalised(&bent, Some(&valid))?;
        bend.improve(&target, &seen)?;
    }
    let best = bend.of(&luma)?;
    // A bend that makes it no better is none.
    let alike = |mat: &Mat| -> Result<f64, RegisterError> {
        Ok(target.likeness(&normalised(mat, Some(&valid))?, super::refine::LEAST_SEEN))
    };
    let out = if alike(&best)? > alike(&luma)? { best } else { luma };
    Ok(Aligned { at: map.at, luma: out.data_typed::<f32>()?.to_vec(), valid })
}

/// A displacement for each pixel.
struct Bend {
    size: (u32, u32),
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Bend {
    fn none(size: (u32, u32)) -> Result<Self, RegisterError> {
        let area = index(size.0) * index(size.1);
        Ok(Self { size, x: vec![0.0; area], y: vec![0.0; area] })
    }

    /// The picture, bent.
    fn of(&self, luma: &Mat) -> Result<Mat, RegisterError> {
        let (w, h) = (cv(self.size.0), cv(self.size.1));
        let places = || {
            let (width, height) = self.size;
            (0..height).flat_map(move |y| (0..width).map(move |x| (f64::from(x), f64::from(y))))
        };
        let xs: Vec<f32> = places().zip(&self.x).map(|((x, _), d)| super::narrow(x) + d).collect();
        let ys: Vec<f32> = places().zip(&self.y).map(|((_, y), d)| super::narrow(y) + d).collect();
        let mut out = Mat::default();
        imgproc::remap(
            luma,
            &mut out,
            &Mat::new_rows_cols_with_data(h, w, &xs)?,
            &Mat::new_rows_cols_with_data(h, w, &ys)?,
            imgproc::INTER_LINEAR,
            core::BORDER_REPLICATE,
            Scalar::default(),
        )?;
        Ok(out)
    }

    /// One step of least squares in each window (Lucas and Kanade).
    fn improve(&mut self, target: &Plane, seen: &Plane) -> Result<(), RegisterError> {
        let (w, h) = (cv(self.size.0), cv(self.size.1));
        let plane = Mat::new_rows_cols_with_data(h, w, &target.values)?;
        let (mut gx, mut gy) = (Mat::default(), Mat::default());
        for (to, dx, dy) in [(&mut gx, 1, 0), (&mut gy, 0, 1)] {
            imgproc::sobel(
                &plane,
                to,
                core::CV_32F,
                dx,
                dy,
                3,
                0.125,
                0.0,
                core::BORDER_REPLICATE,
            )?;
        }
        let short = f64::from(self.size.0.min(self.size.1));
        let side = round_i32(short * WINDOW / 2.0).max(2) * 2 + 1;
        // Twice a box is close to a bell: no edges in the bend.
        let mean = |of: &[f32]| -> Result<Vec<f32>, RegisterError> {
            let mut last = Mat::new_rows_cols_with_data(h, w, of)?.try_clone()?;
            for _ in 0..2 {
                let mut out = Mat::default();
                let (size, anchor) = (Size::new(side, side), Point::new(-1, -1));
                imgproc::box_filter(
                    &last,
                    &mut out,
                    core::CV_32F,
                    size,
                    anchor,
                    true,
                    core::BORDER_REFLECT,
                )?;
                last = out;
            }
            Ok(last.data_typed::<f32>()?.to_vec())
        };
        let mut products: [Vec<f32>; 5] =
            std::array::from_fn(|_| Vec::with_capacity(target.values.len()));
        let pixels = gx
            .data_typed::<f32>()?
            .iter()
            .zip(gy.data_typed::<f32>()?)
            .zip(target.values.iter().zip(&seen.values))
            .zip(&seen.known);
        for (((gx, gy), (want, have)), known) in pixels {
            let error = have - want;
            // What differs by more than a deviation and a half is something else.
            let weight = if *known { 1.0 / (1.0 + (error / 0.7).powi(2)).powi(2) } else { 0.0 };
            let [xx, xy, yy, xe, ye] = &mut products;
            xx.push(weight * gx * gx);
            xy.push(weight * gx * gy);
            yy.push(weight * gy * gy);
            xe.push(weight * gx * error);
            ye.push(weight * gy * error);
        }
        let [xx, xy, yy, xe, ye] = products;
        let (xx, xy, yy, xe, ye) = (mean(&xx)?, mean(&xy)?, mean(&yy)?, mean(&xe)?, mean(&ye)?);
        let sums = xx.iter().zip(&xy).zip(&yy).zip(xe.iter().zip(&ye));
        for ((((xx, xy), yy), (xe, ye)), (x, y)) in sums.zip(self.x.iter_mut().zip(&mut self.y)) {
            let (a, c) = (xx + FLAT, yy + FLAT);
            let det = (a * c - xy * xy).max(FLAT * FLAT);
            *x = (*x - (c * xe - xy * ye) / det).clamp(-MOST_PX, MOST_PX);
            *y = (*y - (a * ye - xy * xe) / det).clamp(-MOST_PX, MOST_PX);
        }
        Ok(())
    }
}
