//! Leaks for tests: pictures as a phone shows them that films a monitor, made from a clip's pictures;
//! recordings beside the checkout, and scenes that are drawn.
#![expect(clippy::cast_possible_truncation, reason = "a test's own small numbers")]

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use opencv::{
    core::{BORDER_REPLICATE, Mat, Point2f, Scalar, Size, Vector},
    imgproc,
    prelude::*,
};

use crate::{frame::I420Picture, rounding::cv};

/// Numbers that look random and are the same in every run (xorshift64*).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n
    }

    pub(super) fn within(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * (self.bits() % 65536) as f32 / 65536.0
    }
}

/// A picture of a clip and when it was taken.
pub(super) type Taken = (u32, I420Picture);

/// How a leak was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filming {
    pub(super) name: &'static str,
    /// The part of the phone's picture that the screen fills, on the side that it fills most.
    pub(super) fill: f32,
    pub(super) tilt_deg: f32,
    pub(super) roll_deg: f32,
    pub(super) blur_px: f64,
    /// Size of the moiré and of the noise, grey levels.
    pub(super) moire: f32,
    pub(super) noise: f32,
    pub(super) mirrored: bool,
    /// Only the middle third of the width, as an upright picture.
    pub(super) third: bool,
    /// The phone lies, whatever the clip does, so that an upright clip fills little.
    pub(super) lying: bool,
}

pub(super) const PLAIN: Filming = Filming {
    name: "re-encoded",
    fill: 1.0,
    tilt_deg: 0.0,
    roll_deg: 0.0,
    blur_px: 0.4,
    moire: 0.0,
    noise: 2.0,
    mirrored: false,
    third: false,
    lying: false,
};
pub(super) const MILD: Filming = Filming {
    name: "mild",
    fill: 0.95,
    tilt_deg: 5.0,
    roll_deg: 2.0,
    blur_px: 0.7,
    moire: 4.0,
    noise: 3.0,
    ..PLAIN
};
pub(super) const MEDIUM: Filming = Filming {
    name: "medium",
    fill: 0.8,
    tilt_deg: 14.0,
    roll_deg: 5.0,
    blur_px: 1.1,
    moire: 8.0,
    noise: 5.0,
    ..PLAIN
};
pub(super) const HARD: Filming = Filming {
    name: "hard",
    fill: 0.65,
    tilt_deg: 25.0,
    roll_deg: 9.0,
    blur_px: 1.4,
    moire: 11.0,
    noise: 7.0,
    ..PLAIN
};
pub(super) const FILMINGS: [Filming; 9] = [
    PLAIN,
    MILD,
    MEDIUM,
    HARD,
    Filming { name: "half of the picture", fill: 0.5, lying: true, tilt_deg: 8.0, ..MILD },
    Filming { name: "a third of the width", third: true, ..MILD },
    Filming { name: "mirrored", mirrored: true, tilt_deg: 8.0, ..MILD },
    Filming { name: "turned by 20 degrees", roll_deg: 20.0, fill: 0.85, ..MILD },
    Filming { name: "extreme", fill: 0.5, tilt_deg: 33.0, roll_deg: 12.0, blur_px: 1.6, ..HARD },
];

/// A clip's pictures from `from_ms` on for `length_ms`, of which one is made each `every_ms`.
pub(super) fn leak(
    clip: &[Taken],
    (from_ms, length_ms, every_ms): (u32, u32, u32),
    filming: Filming,
    room: &I420Picture,
    seed: u64,
) -> Vec<Taken> {
    let mut dice = Dice(seed * 7919 + 17);
    dice.bits();
    let (w, h) = (clip[0].1.width(), clip[0].1.height());
    // A third of the picture: of a clip that lies, of its width; of an upright one, of its middle.
    let (x0, y0, part_w, part_h) = match (filming.third, w > h) {
        (false, _) => (0, 0, w, h),
        (true, true) => (w / 3, 0, w / 3, h),
        (true, false) => (w / 6, h / 5, w * 2 / 3, h / 2),
    };
    let lies = filming.lying || part_w > part_h;
    let (out_w, out_h) = if lies { (854, 480) } else { (480, 854) };
    let roll = filming.roll_deg * if dice.below(2) == 0 { 1.0 } else { -1.0 };
    let around = dice.within(0.0, std::f32::consts::TAU);
    let (gamma, contrast) = (dice.within(0.75, 1.35), dice.within(0.7, 1.15));
    let (wave, across) = (dice.within(3.0, 30.0), dice.within(0.0, std::f32::consts::PI));
    let glare = (dice.within(0.0, out_w as f32), dice.within(0.0, out_h as f32));
    let mut behind = room.view().resize(out_w, out_h).unwrap();
    let behind = mat(&mut behind);
    let mut out = Vec::new();
    for n in 0..length_ms / every_ms {
        let at = from_ms + n * every_ms;
        let (_, picture) = clip.iter().rev().find(|(t, _)| *t <= at).unwrap_or(&clip[0]);
        let mut picture = picture.clone();
        let source = mat(&mut picture);
        let sway = (dice.within(-2.0, 2.0), dice.within(-2.0, 2.0));
        // The screen's corners as the phone sees them.
        let aspect = part_w as f32 / part_h as f32;
        let half = (aspect.max(1.0), (1.0 / aspect).max(1.0));
        let tilt = filming.tilt_deg.to_radians();
        let seen = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(|(x, y)| {
            let (x, y) = (x * half.0 / half.0.max(half.1), y * half.1 / half.0.max(half.1));
            let (along, aside) =
                (x * around.cos() + y * around.sin(), y * around.cos() - x * around.sin());
            let depth = 1.0 + along * tilt.sin() / 3.2;
            let along = along * tilt.cos() / depth;
            let aside = aside / depth;
            let (x, y) = (
                along * around.cos() - aside * around.sin(),
                along * around.sin() + aside * around.cos(),
            );
            let (sin, cos) = roll.to_radians().sin_cos();
            (x * cos - y * sin, x * sin + y * cos)
        });
        let reach = |f: fn(&(f32, f32)) -> f32| seen.iter().map(|p| f(p).abs()).fold(0.0, f32::max);
        let scale = filming.fill
            * (out_w as f32 / 2.0 / reach(|p| p.0)).min(out_h as f32 / 2.0 / reach(|p| p.1));
        let to: Vector<Point2f> = seen
            .iter()
            .map(|(x, y)| {
                let x = if filming.mirrored { -x } else { *x };
                Point2f::new(
                    out_w as f32 / 2.0 + x * scale + sway.0,
                    out_h as f32 / 2.0 + y * scale + sway.1,
                )
            })
            .collect();
        let (l, t) = (x0 as f32, y0 as f32);
        let (r, b) = (l + part_w as f32, t + part_h as f32);
        let from: Vector<Point2f> =
            [(l, t), (r, t), (r, b), (l, b)].iter().map(|(x, y)| Point2f::new(*x, *y)).collect();
        let lie = imgproc::get_perspective_transform_def(&from, &to).unwrap();
        let size = Size::new(cv(out_w), cv(out_h));
        let warp = |from: &Mat, how: i32| {
            let mut out = Mat::default();
            imgproc::warp_perspective(from, &mut out, &lie, size, how, 0, Scalar::default())
                .unwrap();
            out
        };
        // Smooth first where it gets smaller, as a lens does.
        let smaller = (f64::from(part_w) / f64::from(scale) / 2.0
            * f64::from(half.0 / half.0.max(half.1)))
        .max(1.0);
        let mut smooth = Mat::default();
        let blur = |from: &Mat, to: &mut Mat, sigma: f64| {
            imgproc::gaussian_blur(from, to, Size::new(0, 0), sigma, 0.0, BORDER_REPLICATE)
                .unwrap();
        };
        blur(&source, &mut smooth, 0.4 * smaller.min(4.0));
        let mut mask =
            Mat::new_rows_cols_with_default(source.rows(), source.cols(), 0, Scalar::default())
                .unwrap();
        imgproc::rectangle(
            &mut mask,
            opencv::core::Rect::new(cv(x0), cv(y0), cv(part_w), cv(part_h)),
            Scalar::all(255.0),
            -1,
            8,
            0,
        )
        .unwrap();
        let (screen, mask) =
            (warp(&smooth, imgproc::INTER_LINEAR), warp(&mask, imgproc::INTER_NEAREST));
        let mut filmed = behind.clone();
        screen.copy_to_masked(&mut filmed, &mask).unwrap();
        let mut soft = Mat::default();
        blur(&filmed, &mut soft, filming.blur_px);
        let mut luma = soft.data_bytes().unwrap().to_vec();
        let flicker = dice.within(-4.0, 4.0);
        for (i, pixel) in luma.iter_mut().enumerate() {
            let (x, y) = ((i % out_w as usize) as f32, (i / out_w as usize) as f32);
            let mut value = 255.0 * (f32::from(*pixel) / 255.0).powf(gamma);
            value = 128.0 + (value - 128.0) * contrast + flicker;
            value += filming.moire
                * (std::f32::consts::TAU * (x * across.cos() + y * across.sin()) / wave).sin();
            if filming.tilt_deg > 0.0 {
                let far =
                    ((x - glare.0).powi(2) + (y - glare.1).powi(2)) / (0.12 * out_w as f32).powi(2);
                value += 60.0 * (-far / 2.0).exp();
            }
            value += filming.noise * (dice.within(-1.0, 1.0) + dice.within(-1.0, 1.0));
            *pixel = value.clamp(0.0, 255.0) as u8;
        }
        caption(&mut luma, out_w as usize, out_h as usize);
        luma.resize((out_w * out_h * 3 / 2) as usize, 128);
        out.push((n * every_ms, I420Picture::from_vec(out_w, out_h, luma).unwrap()));
    }
    out
}

/// A band with something like letters.
fn caption(luma: &mut [u8], width: usize, height: usize) {
    for y in height * 84 / 100..height * 92 / 100 {
        for x in width / 10..width * 9 / 10 {
            let ink = (x / 7 * 31 + y / 9 * 17) % 5 < 2 && x % 14 > 4;
            luma[y * width + x] = if ink { 240 } else { 20 };
        }
    }
}

fn mat(picture: &mut I420Picture) -> Mat {
    let (w, h) = (cv(picture.width()), cv(picture.height()));
    let luma = picture.view().luma().to_vec();
    Mat::new_rows_cols_with_bytes::<u8>(h, w, &luma).unwrap().try_clone().unwrap()
}

/// Through the site's encoder, at about `kbit_s` for 25 pictures a second.
pub(super) fn reencoded(leak: Vec<Taken>, kbit_s: u32) -> Vec<Taken> {
    let (w, h) = (leak[0].1.width(), leak[0].1.height());
    let size = format!("{w}x{h}");
    let rate = format!("{}k", kbit_s * 8 / 25);
    let run = |args: &[&str], input: Vec<u8>| {
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-threads", "1"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let mut out = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        writer.join().unwrap();
        child.wait().unwrap();
        out
    };
    let raw: Vec<u8> = leak.iter().flat_map(|(_, picture)| picture.data().to_vec()).collect();
    let coded = run(
        &[
            "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", "8", "-i", "-", "-c:v",
            "libx264", "-preset", "veryfast", "-b:v", &rate, "-f", "matroska", "-",
        ],
        raw,
    );
    let back = run(&["-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"], coded);
    let pictures = back.chunks_exact((w * h * 3 / 2) as usize);
    assert_eq!(pictures.len(), leak.len(), "ffmpeg gave other pictures back");
    let pictures = pictures.map(|data| I420Picture::from_vec(w, h, data.to_vec()).unwrap());
    leak.iter().map(|(at, _)| *at).zip(pictures).collect()
}

/// A recording's pictures, 8 a second, where it and ffmpeg are there.
pub(super) fn recording(name: &str) -> Option<Vec<Taken>> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(name);
    let size = if name.contains("highway") { (640, 360) } else { (360, 640) };
    let scale = format!("fps=8,scale={}:{}:force_original_aspect_ratio=disable", size.0, size.1);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-vf", &scale, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
        .output();
    let data = made.ok().filter(|made| path.exists() && made.status.success())?.stdout;
    let length = (size.0 * size.1 * 3 / 2) as usize;
    let pictures = data.chunks_exact(length).map(<[u8]>::to_vec);
    let pictures = pictures.map(|data| I420Picture::from_vec(size.0, size.1, data).unwrap());
    Some((0..).step_by(125).zip(pictures).collect())
}

/// A drawn scene, a picture each 375 ms: clouds of grey at three sizes, and boxes that move over them.
pub(super) fn drawn(seed: u64, length_ms: u32) -> Vec<Taken> {
    let mut dice = Dice(seed * 104_729 + 3);
    dice.bits();
    let (w, h) = (640_usize, 360_usize);
    let mut still = vec![110.0_f32; w * h];
    for (cell, strength) in [(90, 60.0), (34, 45.0), (13, 25.0)] {
        let across = w / cell + 2;
        let knots: Vec<f32> =
            (0..across * (h / cell + 2)).map(|_| dice.within(-1.0, 1.0)).collect();
        for (i, value) in still.iter_mut().enumerate() {
            let (x, y) = (i % w, i / w);
            let (fx, fy) = ((x % cell) as f32 / cell as f32, (y % cell) as f32 / cell as f32);
            let at = y / cell * across + x / cell;
            let top = knots[at] * (1.0 - fx) + knots[at + 1] * fx;
            let bottom = knots[at + across] * (1.0 - fx) + knots[at + across + 1] * fx;
            *value += strength * (top * (1.0 - fy) + bottom * fy);
        }
    }
    let still: Vec<u8> = still.iter().map(|value| value.clamp(5.0, 250.0) as u8).collect();
    let boxes: Vec<[usize; 5]> = (0..12)
        .map(|_| {
            let sides = (12 + dice.below(60), 12 + dice.below(60));
            [dice.below(w), dice.below(h - 80), sides.0, sides.1, 30 + dice.below(190)]
        })
        .collect();
    (0..length_ms.div_ceil(375))
        .map(|n| {
            let mut picture = I420Picture::black(640, 360).unwrap();
            let luma = picture.planes_mut().y;
            luma.copy_from_slice(&still);
            for [x, y, wide, high, grey] in boxes.iter().copied() {
                let x = (x + wide * n as usize / 2) % w;
                for row in luma.chunks_exact_mut(w).skip(y).take(high) {
                    row.iter_mut().skip(x).take(wide).for_each(|pixel| *pixel = grey as u8);
                }
            }
            (n * 375, picture)
        })
        .collect()
}
