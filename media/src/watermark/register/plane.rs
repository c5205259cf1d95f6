//! Pictures to compare: luma without the local mean and contrast, so that exposure, gamma, flicker
//! and glare fall out and edges and texture remain.

use opencv::{
    core::{self, Mat, Point as CvPoint, Scalar, Size},
    imgproc,
    prelude::*,
};

use super::{Gray, RegisterError, homography::Homography};
use crate::rounding::{cv, index};

/// The window of the local mean is this part of the shorter side: larger than an eye, smaller than a
/// glare or a band of flicker. Own choice: validate.
const WINDOW: f64 = 0.14;
/// Deviations that are less than this part of the whole picture's count as noise. Own choice: validate.
const NOISE_PART: f32 = 0.15;
/// And so do those of less luma, whatever the picture: what compression makes.
const NOISE_LUMA: f32 = 1.5;
/// A place is known where at least this part of the window around it is.
const LEAST_KNOWN: f32 = 0.4;

/// The size of a picture, and its scale against the working size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    /// Width and height, pixels.
    pub(super) size: (u32, u32),
    /// Its pixels for one of the working size, across and down.
    pub(super) scale: (f64, f64),
}

impl Level {
    /// The working size and its halves down to the last whose shorter side has `least` pixels.
    pub(super) fn halves(size: (u32, u32), least: u32) -> Vec<Self> {
        let mut levels = vec![Self { size, scale: (1.0, 1.0) }];
        let mut last = size;
        while last.0.min(last.1) / 2 >= least.max(1) {
            last = (last.0 / 2, last.1 / 2);
            let part = |now: u32, whole: u32| f64::from(now) / f64::from(whole);
            levels.push(Self { size: last, scale: (part(last.0, size.0), part(last.1, size.1)) });
        }
        levels
    }

    /// Its pixels.
    pub(super) fn area(&self) -> usize {
        index(self.size.0) * index(self.size.1)
    }
}

/// Luma without local mean and contrast, mean square 1 over what is known.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    /// Pixels across.
    pub(super) width: usize,
    /// Row by row; 0 where nothing is known.
    pub(super) values: Vec<f32>,
    /// Where something is known.
    pub(super) known: Vec<bool>,
}

impl Plane {
    /// The value between four pixels, if all are known.
    pub(super) fn sample(&self, x: f64, y: f64) -> Option<f32> {
        if !(x >= 0.0 && y >= 0.0) {
            return None;
        }
        let (column, row) = (floor(x), floor(y));
        let at = row.checked_mul(self.width)?.checked_add(column)?;
        if column + 1 >= self.width {
            return None;
        }
        let values = self.values.get(at..at + 2)?;
        let known = self.known.get(at..at + 2)?;
        let values_below = self.values.get(at + self.width..at + self.width + 2)?;
        let known_below = self.known.get(at + self.width..at + self.width + 2)?;
        let ([a, b], [c, d]) = (values, values_below) else { return None };
        if !(known.iter().all(|k| *k) && known_below.iter().all(|k| *k)) {
            return None;
        }
        let (fx, fy) = (super::narrow(x.fract()), super::narrow(y.fract()));
        Some((a + (b - a) * fx) * (1.0 - fy) + (c + (d - c) * fx) * fy)
    }

    /// How alike two are, -1 to 1, where both are known; 0 where that is less than `least` of them.
    pub(super) fn likeness(&self, other: &Self, least: f64) -> f64 {
        let (mut ab, mut aa, mut bb, mut count) = (0.0_f32, 0.0_f32, 0.0_f32, 0_u32);
        let known = self.known.iter().zip(&other.known).map(|(a, b)| *a && *b);
        for ((a, b), known) in self.values.iter().zip(&other.values).zip(known) {
            let weight = f32::from(u8::from(known));
            ab += weight * a * b;
            aa += weight * a * a;
            bb += weight * b * b;
            count = count.wrapping_add(u32::from(known));
        }
        let enough = f64::from(count) >= least * super::real(self.values.len());
        if enough && aa > 0.0 && bb > 0.0 { f64::from(ab / (aa * bb).sqrt()) } else { 0.0 }
    }

    /// As bytes: 128 is the local mean, 32 a deviation; 0 where nothing is known.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let byte = |value: f32| {
            let shifted = crate::rounding::round_u32(f64::from(value) * 32.0 + 128.0);
            u8::try_from(shifted.clamp(1, 255)).unwrap_or(u8::MAX)
        };
        self.values.iter().zip(&self.known).map(|(v, k)| if *k { byte(*v) } else { 0 }).collect()
    }
}

/// The whole part of what is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and the caller looks whether the place is there"
)]
fn floor(x: f64) -> usize {
    x as usize
}

/// A picture of the size of a level, by averaging.
pub(super) fn scaled(gray: &Gray, to: (u32, u32)) -> Result<Mat, RegisterError> {
    let from = Mat::new_rows_cols_with_bytes::<u8>(cv(gray.height), cv(gray.width), &gray.luma)?;
    let mut out = Mat::default();
    let size = Size::new(cv(to.0), cv(to.1));
    imgproc::resize(&from, &mut out, size, 0.0, 0.0, imgproc::INTER_AREA)?;
    Ok(out)
}

/// The luma of `from` that lies where the map takes the pixels of a picture of this size, and where
/// it lies inside of `from`.
pub(super) fn warped(
    from: &Mat,
    map: &Homography,
    size: (u32, u32),
) -> Result<(Mat, Vec<bool>), RegisterError> {
    let matrix = Mat::new_rows_cols_with_data(3, 3, &map.0)?;
    let mut out = Mat::default();
    imgproc::warp_perspective(
        from,
        &mut out,
        &matrix,
        Size::new(cv(size.0), cv(size.1)),
        imgproc::INTER_LINEAR | imgproc::WARP_INVERSE_MAP,
        core::BORDER_REPLICATE,
        Scalar::default(),
    )?;
    let (right, bottom) = (f64::from(from.cols()) - 0.5, f64::from(from.rows()) - 0.5);
    let [a, b, c, d, e, f, g, h, i] = map.0;
    let mut known = Vec::with_capacity(index(size.0) * index(size.1));
    for row in 0..size.1 {
        let y = f64::from(row);
        let (x0, y0, w0) = (b * y + c, e * y + f, h * y + i);
        known.extend((0..size.0).map(|column| {
            let x = f64::from(column);
            let (px, py, w) = (a * x + x0, d * x + y0, g * x + w0);
            w > 1e-9 && px >= -0.5 * w && py >= -0.5 * w && px <= right * w && py <= bottom * w
        }));
    }
    Ok((out, known))
}

/// Takes the local mean and contrast away.
pub(super) fn normalised(luma: &Mat, known: Option<&[bool]>) -> Result<Plane, RegisterError> {
    let mut soft = Mat::default();
    let anchor = CvPoint::new(-1, -1);
    imgproc::box_filter(
        luma,
        &mut soft,
        core::CV_32F,
        Size::new(3, 3),
        anchor,
        true,
        core::BORDER_REPLICATE,
    )?;
    let values: Vec<f32> = soft.data_typed::<f32>()?.to_vec();
    let width = index(u32::try_from(luma.cols()).unwrap_or(0));
    let mask: Vec<f32> = match known {
        Some(known) => known.iter().map(|k| f32::from(u8::from(*k))).collect(),
        None => vec![1.0; values.len()],
    };
    let inside: f32 = mask.iter().sum();
    if inside < 16.0 || mask.len() != values.len() {
        let known = vec![false; values.len()];
        return Ok(Plane { width, values: vec![0.0; values.len()], known });
    }
    let mean = values.iter().zip(&mask).map(|(v, m)| v * m).sum::<f32>() / inside;
    // Around 0, so that squares stay exact.
    let centred: Vec<f32> = values.iter().zip(&mask).map(|(v, m)| (v - mean) * m).collect();
    let squares: Vec<f32> = centred.iter().map(|v| v * v).collect();
    let spread = (squares.iter().sum::<f32>() / inside).sqrt();
    let noise = (NOISE_PART * spread).max(NOISE_LUMA).powi(2);
    let short = f64::from(luma.cols().min(luma.rows()));
    let window = crate::rounding::round_i32(short * WINDOW / 2.0).max(2) * 2 + 1;
    let rows = luma.rows();
    let sums = |of: &[f32]| -> Result<Mat, RegisterError> {
        let from = Mat::new_rows_cols_with_data(rows, luma.cols(), of)?;
        let mut out = Mat::default();
        let size = Size::new(window, window);
        imgproc::box_filter(
            &from,
            &mut out,
            core::CV_32F,
            size,
            anchor,
            true,
            core::BORDER_CONSTANT,
        )?;
        Ok(out)
    };
    let (of_values, of_squares, of_mask) = (sums(&centred)?, sums(&squares)?, sums(&mask)?);
    let mut out = Vec::with_capacity(values.len());
    let mut out_known = Vec::with_capacity(values.len());
    let windows = of_values
        .data_typed::<f32>()?
        .iter()
        .zip(of_squares.data_typed::<f32>()?)
        .zip(of_mask.data_typed::<f32>()?);
    let mut energy = 0.0_f32;
    let mut count = 0.0_f32;
    for ((value, mask), ((sum, square), part)) in centred.iter().zip(&mask).zip(windows) {
        // Corners of a picture have a quarter of the window.
        let good = *mask > 0.5 && *part > LEAST_KNOWN * 0.5;
        let normal = if good {
            let mean = sum / part;
            let variance = (square / part - mean * mean).max(0.0);
            (value - mean) / (variance + noise).sqrt()
        } else {
            0.0
        };
        energy += normal * normal;
        count += f32::from(u8::from(good));
        out.push(normal);
        out_known.push(good);
    }
    let scale = if energy > 0.0 { (count / energy).sqrt() } else { 0.0 };
    for value in &mut out {
        *value *= scale;
    }
    Ok(Plane { width, values: out, known: out_known })
}

/// A leak's frame and its halves, so that a warp to a small picture skips no pixel.
pub(super) struct LeakFrame {
    levels: Vec<(Mat, f64)>,
    size: (u32, u32),
}

impl LeakFrame {
    /// Of a checked picture.
    pub(super) fn new(gray: &Gray) -> Result<Self, RegisterError> {
        let size = (gray.width, gray.height);
        let mut levels = Vec::new();
        for level in Level::halves(size, 24).iter().take(5) {
            levels.push((scaled(gray, level.size)?, level.scale.0));
        }
        Ok(Self { levels, size })
    }

    /// Width and height, pixels.
    pub(super) const fn size(&self) -> (u32, u32) {
        self.size
    }

    /// The leak's luma in the geometry of the original at a level; the map is that of the working
    /// sizes.
    pub(super) fn luma_at(
        &self,
        map: &Homography,
        level: &Level,
    ) -> Result<(Mat, Vec<bool>), RegisterError> {
        let here = map.rescaled(level.scale, (1.0, 1.0));
        let zoom = here.zoom(level.size);
        // The smallest that still has a pixel and a half for each that is asked for.
        let fits = |(_, scale): &&(Mat, f64)| zoom * scale >= 1.5;
        let chosen = self.levels.iter().rev().find(fits).or_else(|| self.levels.first());
        let (luma, _) = chosen.ok_or(RegisterError::NoFrames)?;
        let part = |now: i32, whole: u32| f64::from(now) / f64::from(whole);
        let to = (part(luma.cols(), self.size.0), part(luma.rows(), self.size.1));
        warped(luma, &map.rescaled(level.scale, to), level.size)
    }

    /// The same without local mean and contrast.
    pub(super) fn plane_at(&self, map: &Homography, level: &Level) -> Result<Plane, RegisterError> {
        let (luma, known) = self.luma_at(map, level)?;
        normalised(&luma, Some(&known))
    }
}
