//! Leaks with a known truth for the tests: a screen that is filmed, roughly.

use std::time::Duration;

use opencv::{
    core::{self, Mat, Scalar, Size},
    imgproc,
    prelude::*,
};

use super::{
    Gray,
    homography::{Homography, corners_of},
    narrow,
};
use crate::rounding::{cv, index, round_u32};

/// Numbers that look random, the same each time.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    /// 0 to 1.
    pub(super) fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The nearest whole number, from 0.
fn whole(x: f64) -> usize {
    index(round_u32(x))
}

fn byte(x: f64) -> u8 {
    u8::try_from(round_u32(x).min(255)).unwrap()
}

/// Soft blobs and boxes, some of which move; dark and flat in between. Seeds below 100 share no blob.
pub(super) fn moving_scene(seed: u64, width: u32, height: u32, at_s: f64) -> Gray {
    let (w, h) = (f64::from(width), f64::from(height));
    let mut dice = Dice::new(seed + 77);
    let mut luma = vec![0_f32; index(width) * index(height)];
    for (n, v) in luma.iter_mut().enumerate() {
        *v = 40.0 + 20.0 * (n % index(width)) as f32 / width as f32;
    }
    for n in 0..60 {
        let (x, y) = (dice.roll() * w, dice.roll() * h);
        let (a, b) = ((0.01 + 0.06 * dice.roll()) * w, (0.01 + 0.06 * dice.roll()) * h);
        let gray = narrow(dice.roll() * 120.0 - 45.0);
        let (vx, vy) = (dice.roll() * 2.0 - 1.0, dice.roll() * 2.0 - 1.0);
        let by = if n % 5 == 0 { (at_s * 0.7 + f64::from(n)).sin() * 0.15 * w } else { 0.0 };
        let (x, y) = (x + vx * by, y + vy * by);
        for row in whole(y - b)..whole(y + b).min(index(height)) {
            for column in whole(x - a)..whole(x + a).min(index(width)) {
                let (dx, dy) = ((column as f64 - x) / a, (row as f64 - y) / b);
                let inside = n % 2 == 0 || dx * dx + dy * dy < 1.0;
                if inside {
                    luma[row * index(width) + column] +=
                        gray * (0.6 + 0.4 * narrow((dx * 3.0).sin()));
                }
            }
        }
    }
    let luma = luma.iter().map(|v| byte(f64::from(*v))).collect();
    Gray { width, height, luma, at: Duration::from_secs_f64(at_s) }
}

pub(super) fn scene(seed: u64, width: u32, height: u32) -> Gray {
    moving_scene(seed, width, height, 0.0)
}

/// The picture seen in another, black around it.
pub(super) fn warp(gray: &Gray, map: &Homography, to: (u32, u32)) -> Gray {
    let from =
        Mat::new_rows_cols_with_bytes::<u8>(cv(gray.height), cv(gray.width), &gray.luma).unwrap();
    // Twice the size, then averaged: a camera's pixel sees an area.
    let double = Homography::scaling(2.0, 2.0).after(map);
    let matrix = Mat::new_rows_cols_with_data(3, 3, &double.0).unwrap();
    let mut large = Mat::default();
    imgproc::warp_perspective(
        &from,
        &mut large,
        &matrix,
        Size::new(cv(to.0) * 2, cv(to.1) * 2),
        imgproc::INTER_CUBIC,
        core::BORDER_CONSTANT,
        Scalar::all(8.0),
    )
    .unwrap();
    let mut out = Mat::default();
    imgproc::resize(&large, &mut out, Size::new(cv(to.0), cv(to.1)), 0.0, 0.0, imgproc::INTER_AREA)
        .unwrap();
    Gray { width: to.0, height: to.1, luma: out.data_typed::<u8>().unwrap().to_vec(), at: gray.at }
}

/// How a leak was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filming {
    pub(super) seed: u64,
    /// Part of the frame's width or height that the screen fills at most; above 1 is cropped.
    pub(super) fill: f64,
    /// How far each corner is off a rectangle, part of the screen's width.
    pub(super) slant: f64,
    /// Shake of the hand, pixels.
    pub(super) shake_px: f64,
    pub(super) mirrored: bool,
    pub(super) begin_s: f64,
    pub(super) length_s: f64,
    pub(super) speed: f64,
    pub(super) fps: f64,
    pub(super) blur_px: f64,
    pub(super) gamma: f64,
    pub(super) gain: f64,
    pub(super) noise: f64,
    pub(super) moire: f64,
    pub(super) sticker: bool,
    pub(super) size: (u32, u32),
}

/// The truth for each frame: which of the original's, and the map.
pub(super) struct Truth {
    pub(super) frame: usize,
    pub(super) map: Homography,
}

/// Films the frames.
pub(super) fn film(original: &[Gray], how: &Filming) -> (Vec<Gray>, Vec<Truth>) {
    let mut dice = Dice::new(how.seed + 1000);
    let size = (original[0].width, original[0].height);
    let (w, h) = (f64::from(size.0), f64::from(size.1));
    let (lw, lh) = (f64::from(how.size.0), f64::from(how.size.1));
    let zoom = how.fill * (lw / w).min(lh / h);
    let slants: Vec<(f64, f64)> = (0..4)
        .map(|_| {
            (
                (dice.roll() * 2.0 - 1.0) * how.slant * w * zoom,
                (dice.roll() * 2.0 - 1.0) * how.slant * w * zoom,
            )
        })
        .collect();
    let off = ((dice.roll() - 0.5) * 0.1 * lw, (dice.roll() - 0.5) * 0.1 * lh);
    let phases: Vec<f64> = (0..4).map(|_| dice.roll() * std::f64::consts::TAU).collect();
    let (mut leak, mut truths) = (Vec::new(), Vec::new());
    let count = whole(how.length_s * how.fps);
    for n in 0..count {
        let at_s = n as f64 / how.fps;
        let shown_s = how.begin_s + how.speed * at_s;
        let frame =
            original.partition_point(|f| f.at.as_secs_f64() <= shown_s + 1e-9).saturating_sub(1);
        let mut to = corners_of(size).map(|(x, y)| {
            ((x - w / 2.0) * zoom + lw / 2.0 + off.0, (y - h / 2.0) * zoom + lh / 2.0 + off.1)
        });
        let shake = (
            how.shake_px
                * ((at_s * 5.0 + phases[0]).sin()
                    + 0.5 * (at_s * 13.0 + phases[1]).sin()
                    + 0.3 * (dice.roll() - 0.5)),
            how.shake_px
                * ((at_s * 4.0 + phases[2]).sin()
                    + 0.5 * (at_s * 11.0 + phases[3]).sin()
                    + 0.3 * (dice.roll() - 0.5)),
        );
        for (corner, slant) in to.iter_mut().zip(&slants) {
            *corner = (corner.0 + slant.0 + shake.0, corner.1 + slant.1 + shake.1);
        }
        if how.mirrored {
            to = to.map(|(x, y)| (lw - 1.0 - x, y));
        }
        let map = Homography::of_corners(corners_of(size), to).unwrap();
        let mut gray = warp(&original[frame], &map, how.size);
        if how.blur_px > 0.0 {
            let from =
                Mat::new_rows_cols_with_bytes::<u8>(cv(gray.height), cv(gray.width), &gray.luma)
                    .unwrap();
            let mut out = Mat::default();
            imgproc::gaussian_blur_def(&from, &mut out, Size::new(0, 0), how.blur_px).unwrap();
            gray.luma = out.data_typed::<u8>().unwrap().to_vec();
        }
        let flicker = 1.0 + 0.1 * (at_s * 40.0).sin();
        for (i, v) in gray.luma.iter_mut().enumerate() {
            let (x, y) = ((i % index(how.size.0)) as f64, (i / index(how.size.0)) as f64);
            let moire = how.moire * (x * 0.9 + 0.3 * y + at_s).sin() * (y * 0.7 - 0.2 * x).sin();
            let noise = how.noise * (dice.roll() + dice.roll() - 1.0) * 2.4;
            let bent = (f64::from(*v) / 255.0).powf(how.gamma) * 255.0 * how.gain * flicker;
            *v = byte(bent + 12.0 + moire + noise);
            let sticker = x > 0.55 * lw && x < 0.72 * lw && y > 0.4 * lh && y < 0.62 * lh;
            let caption = y > 0.8 * lh && y < 0.87 * lh && x > 0.2 * lw && x < 0.8 * lw;
            if how.sticker && (sticker || caption) {
                *v = if (whole(x / 6.0) + whole(y / 9.0)).is_multiple_of(3) { 20 } else { 235 };
            }
        }
        gray.at = Duration::from_secs_f64(at_s);
        leak.push(gray);
        truths.push(Truth { frame, map });
    }
    (leak, truths)
}
