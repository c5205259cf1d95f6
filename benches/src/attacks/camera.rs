//! Where the phone is and how it shakes.
//!
//! Places on the filmed picture are given in parts of it, 0 to 1 across (u) and down (v); places on the
//! phone's sensor in its pixels.

use std::f64::consts::TAU;

use super::{light::narrow, random::Random};

/// Focal length of a phone's main camera as parts of the sensor's longer side: 26 mm on a film of
/// 36 mm, and video uses about 87 % of the sensor's width (room for its stabiliser).
const FOCAL: f64 = 26.0 / 36.0 / 0.87;
/// Slowest and fastest movement of a hand, Hz: sway of the arm to physiological tremor, which lies
/// at 8 to 12 Hz.
const HAND_HZ: (f64, f64) = (0.15, 14.0);
const TREMOR_HZ: (f64, f64) = (8.0, 12.0);
/// Tremor moves a held camera by about a fifth of what sway at 1 Hz does.
const TREMOR: f64 = 0.2;
const WAVES: u32 = 28;

/// A 3 x 3 matrix, rows.
pub(super) type Matrix = [[f64; 3]; 3];

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let [b0, b1, b2] = b;
    a.map(|[x, y, z]| {
        let mut row = [0.0; 3];
        for (to, ((p, q), r)) in row.iter_mut().zip(b0.iter().zip(b1).zip(b2)) {
            *to = x * p + y * q + z * r;
        }
        row
    })
}

/// The inverse up to a factor, which is all that a homography needs.
pub(super) fn inverse([[a, b, c], [d, e, f], [g, h, i]]: Matrix) -> Matrix {
    [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
}

/// A place through a homography.
pub(super) fn through([a, b, c]: &Matrix, x: f64, y: f64) -> (f64, f64) {
    let dot = |[p, q, r]: &[f64; 3]| p * x + q * y + r;
    let w = dot(c);
    (dot(a) / w, dot(b) / w)
}

/// A homography for places counted from a middle, quick enough for each pixel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick([[f32; 3]; 3]);

impl Quick {
    pub(super) fn new(map: &Matrix, (middle_x, middle_y): (f64, f64)) -> Self {
        let shift = [[1.0, 0.0, middle_x], [0.0, 1.0, middle_y], [0.0, 0.0, 1.0]];
        let moved = product(map, &shift);
        // A factor is free: make the last number 1, so that single precision does.
        let [_, _, [_, _, last]] = moved;
        Self(moved.map(|row| row.map(|c| narrow(c / last))))
    }

    pub(super) fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let [[a, b, c], [d, e, f], [g, h, i]] = self.0;
        let scale = 1.0 / (g * x + h * y + i);
        ((a * x + b * y + c) * scale, (d * x + e * y + f) * scale)
    }
}

/// Where the phone stands in front of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Turned to the side, degrees.
    pub yaw_deg: f32,
    /// Looking up or down, degrees.
    pub pitch_deg: f32,
    /// Held askew, degrees.
    pub roll_deg: f32,
    /// How much of the phone's picture the filmed picture fills, on the side where it fills more; above 1
    /// it does not fit.
    pub fill: f32,
    /// The picture's middle from that of the phone's picture, parts of its sides.
    pub off: [f32; 2],
    /// Barrel (negative) or pillow distortion that the phone leaves, parts of the half diagonal.
    pub distortion: f32,
}

impl Pose {
    /// Straight in front, filling the phone's picture.
    pub const STRAIGHT: Self = Self {
        yaw_deg: 0.0,
        pitch_deg: 0.0,
        roll_deg: 0.0,
        fill: 1.0,
        off: [0.0, 0.0],
        distortion: 0.0,
    };

    /// From the picture's parts to the phone's pixels, without distortion, for a picture of this shape
    /// (width by height) and a phone's picture of this size.
    pub(super) fn homography(&self, shape: f64, (width, height): (u32, u32)) -> Matrix {
        let turn = |deg: f32| f64::from(deg).to_radians().sin_cos();
        let ((sx, cx), (sy, cy)) = (turn(self.pitch_deg), turn(self.yaw_deg));
        let (sz, cz) = turn(self.roll_deg);
        let pitch = [[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]];
        let yaw = [[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]];
        let roll = [[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]];
        let turned = product(&roll, &product(&yaw, &pitch));
        let (width, height) = (f64::from(width), f64::from(height));
        let focal = FOCAL * width.max(height);
        // The picture is 1 high; as far away as it fills the wanted part.
        let distance = focal * (shape / width).max(1.0 / height) / f64::from(self.fill);
        let mut plane = turned.map(|[x, y, _]| [shape * x, y, -(shape * x + y) / 2.0]);
        let [_, _, [_, _, z]] = &mut plane;
        *z += distance;
        let [off_x, off_y] = self.off.map(f64::from);
        let middle = (width * (0.5 + off_x), height * (0.5 + off_y));
        let lens = [[focal, 0.0, middle.0], [0.0, focal, middle.1], [0.0, 0.0, 1.0]];
        product(&lens, &plane)
    }

    /// Angle between the phone's axis and the straight view, degrees.
    pub fn tilt_deg(&self) -> f32 {
        let cosine = |deg: f32| deg.to_radians().cos();
        (cosine(self.yaw_deg) * cosine(self.pitch_deg)).acos().to_degrees()
    }
}

/// One movement of a hand over time: many waves whose size falls with their frequency, and tremor.
#[derive(Debug, Clone)]
pub(super) struct Sway(Vec<(f64, f64, f64)>);

impl Sway {
    /// A movement with this root mean square.
    pub(super) fn new(random: &mut Random, rms: f32) -> Self {
        let mut waves = Vec::new();
        for n in 0..WAVES {
            let part = (f64::from(n) + f64::from(random.part())) / f64::from(WAVES);
            let hertz = HAND_HZ.0 * (HAND_HZ.1 / HAND_HZ.0).powf(part);
            // Each wave stands for the same part of an octave: power falls with the square.
            let tremor = (TREMOR_HZ.0..TREMOR_HZ.1).contains(&hertz);
            let size = 1.0 / hertz + if tremor { TREMOR } else { 0.0 };
            waves.push((hertz, size, TAU * f64::from(random.part())));
        }
        let power: f64 = waves.iter().map(|(_, size, _)| size * size / 2.0).sum();
        let scale = f64::from(rms) / power.sqrt();
        for (_, size, _) in &mut waves {
            *size *= scale;
        }
        Self(waves)
    }

    pub(super) fn at(&self, at_s: f64) -> f32 {
        narrow(
            self.0
                .iter()
                .map(|(hertz, size, phase)| size * (TAU * hertz * at_s + phase).sin())
                .sum(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_on_it_fills_the_picture() {
        let map = Pose::STRAIGHT.homography(16.0 / 9.0, (1920, 1080));
        for (u, v, x, y) in
            [(0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 1920.0, 0.0), (0.5, 1.0, 960.0, 1080.0)]
        {
            let (to_x, to_y) = through(&map, u, v);
            assert!((to_x - x).abs() < 1e-6 && (to_y - y).abs() < 1e-6, "{u} {v}: {to_x} {to_y}");
            let (back_u, back_v) = through(&inverse(map), x, y);
            assert!((back_u - u).abs() < 1e-9 && (back_v - v).abs() < 1e-9);
            let quick = Quick::new(&inverse(map), (960.0, 540.0));
            let (quick_u, quick_v) = quick.at(narrow(x - 960.0), narrow(y - 540.0));
            assert!((f64::from(quick_u) - u).abs() < 1e-5 && (f64::from(quick_v) - v).abs() < 1e-5);
        }
    }

    #[test]
    fn from_the_side_the_far_edge_is_shorter() {
        let pose = Pose { yaw_deg: 25.0, fill: 0.6, ..Pose::STRAIGHT };
        assert!((pose.tilt_deg() - 25.0).abs() < 0.01);
        let map = pose.homography(16.0 / 9.0, (1920, 1080));
        let tall = |u| (through(&map, u, 1.0).1 - through(&map, u, 0.0).1).abs();
        let ratio = tall(0.0) / tall(1.0);
        assert!((1.1..1.6).contains(&ratio) || (1.1..1.6).contains(&(1.0 / ratio)), "{ratio}");
    }

    #[test]
    fn a_hand_moves_as_far_as_asked_and_mostly_slowly() {
        let sway = Sway::new(&mut Random::of(3, "hand"), 5.0);
        let steps: Vec<f32> = (0..4000_u32).map(|n| sway.at(f64::from(n) * 0.01)).collect();
        let rms = |of: &mut dyn Iterator<Item = f32>| {
            let (sum, n) =
                of.fold((0.0, 0.0_f32), |(sum, n): (f32, f32), x| (sum + x * x, n + 1.0));
            (sum / n).sqrt()
        };
        let moved = rms(&mut steps.iter().copied());
        assert!((3.0..7.0).contains(&moved), "{moved}");
        // From one picture of a phone to the next, 1/30 s, it moves by a small part of that.
        let jumped = rms(&mut steps.windows(4).map(|w| w[3] - w[0]));
        assert!(jumped < 0.45 * moved && jumped > 0.02 * moved, "{jumped} of {moved}");
    }
}
