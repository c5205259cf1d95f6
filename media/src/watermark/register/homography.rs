//! Homographies between the original and a leak: 3 x 3 matrices, row by row, that take pixels of one
//! picture to pixels of another. The middle of the first pixel is (0, 0).

use opencv::{calib3d, core::Point2f, core::Vector};

use super::{RegisterError, narrow};

/// A place in a picture, pixels.
pub(super) type Point = (f64, f64);

/// A side of the leak's picture of the screen is at most so much longer than the opposite one: a
/// screen that is seen under 50 degrees from its own width away. Own choice: validate.
const MOST_TAPER: f64 = 2.6;
/// The shape of the screen in the leak differs from the original's by at most this factor: stretching
/// to another format (4:3 to 16:9 is 1.33) and a slanting view together. Own choice: validate.
const MOST_STRETCH: f64 = 2.4;
/// Parts of the leak's area that the whole original may take: a small screen in the corner, and a
/// crop to a twentieth.
const AREAS: (f64, f64) = (0.02, 20.0);

/// A plane seen in another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Homography(pub(super) [f64; 9]);

impl Homography {
    /// Nothing moves.
    pub(super) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// Where this place comes to lie; `None` on or behind the horizon.
    pub(super) fn apply(&self, (x, y): Point) -> Option<Point> {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let w = g * x + h * y + i;
        let inside = w > 1e-9;
        inside.then(|| ((a * x + b * y + c) / w, (d * x + e * y + f) / w))
    }

    /// First `inner`, then this.
    pub(super) fn after(&self, inner: &Self) -> Self {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let [j, k, l, m, n, o, p, q, r] = inner.0;
        Self([
            a * j + b * m + c * p,
            a * k + b * n + c * q,
            a * l + b * o + c * r,
            d * j + e * m + f * p,
            d * k + e * n + f * q,
            d * l + e * o + f * r,
            g * j + h * m + i * p,
            g * k + h * n + i * q,
            g * l + h * o + i * r,
        ])
        .unit()
    }

    /// The way back, where there is one.
    pub(super) fn inverse(&self) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
        (det.is_finite() && det.abs() > 1e-12).then(|| {
            Self([
                (e * i - f * h) / det,
                (c * h - b * i) / det,
                (b * f - c * e) / det,
                (f * g - d * i) / det,
                (a * i - c * g) / det,
                (c * d - a * f) / det,
                (d * h - e * g) / det,
                (b * g - a * h) / det,
                (a * e - b * d) / det,
            ])
            .unit()
        })
    }

    /// The same with a last entry of 1.
    fn unit(self) -> Self {
        let last = self.0[8];
        if last.abs() < 1e-12 { self } else { Self(self.0.map(|v| v / last)) }
    }

    /// From pixels of a picture to those of the same picture scaled by these factors.
    pub(super) fn scaling(x: f64, y: f64) -> Self {
        Self([x, 0.0, (x - 1.0) / 2.0, 0.0, y, (y - 1.0) / 2.0, 0.0, 0.0, 1.0])
    }

    /// The same map between pictures that were scaled: `from` is the scaling of the picture that it
    /// starts in, `to` that of the one it leads to.
    pub(super) fn rescaled(&self, from: (f64, f64), to: (f64, f64)) -> Self {
        let back = Self::scaling(1.0 / from.0, 1.0 / from.1);
        Self::scaling(to.0, to.1).after(self).after(&back)
    }

    /// The map that takes four places to four others.
    pub(super) fn of_corners(from: [Point; 4], to: [Point; 4]) -> Result<Self, RegisterError> {
        let points = |of: [Point; 4]| -> Vector<Point2f> {
            of.into_iter().map(|(x, y)| Point2f::new(narrow(x), narrow(y))).collect()
        };
        let found = calib3d::find_homography_ext(
            &points(from),
            &points(to),
            0,
            3.0,
            &mut opencv::core::no_array(),
            100,
            0.99,
        )?;
        Self::of_mat(&found).ok_or(RegisterError::Degenerate)
    }

    /// A matrix of OpenCV's, if it is one.
    pub(super) fn of_mat(mat: &opencv::core::Mat) -> Option<Self> {
        use opencv::prelude::MatTraitConstManual as _;
        let values: [f64; 9] = mat.data_typed::<f64>().ok()?.try_into().ok()?;
        values.iter().all(|v| v.is_finite()).then(|| Self(values).unit())
    }

    /// Where the corners of a picture of this size lie.
    pub(super) fn corners(&self, size: (u32, u32)) -> Option<[Point; 4]> {
        let [a, b, c, d] = corners_of(size);
        Some([self.apply(a)?, self.apply(b)?, self.apply(c)?, self.apply(d)?])
    }

    /// How many pixels of the leak one of the original takes along a side, in the middle.
    pub(super) fn zoom(&self, size: (u32, u32)) -> f64 {
        let (x, y) = (f64::from(size.0) / 2.0, f64::from(size.1) / 2.0);
        let ends = [self.apply((x, y)), self.apply((x + 1.0, y)), self.apply((x, y + 1.0))];
        let [Some(o), Some(a), Some(b)] = ends else { return 1.0 };
        let area = (a.0 - o.0) * (b.1 - o.1) - (a.1 - o.1) * (b.0 - o.0);
        area.abs().sqrt()
    }

    /// Whether left and right are exchanged.
    pub(super) fn is_mirrored(&self, size: (u32, u32)) -> bool {
        self.corners(size).is_some_and(|corners| area_of(&corners) < 0.0)
    }

    /// Whether a screen of this size can be seen so in a picture of that size.
    pub(super) fn is_plausible(&self, size: (u32, u32), leak: (u32, u32)) -> bool {
        let Some(corners) = self.corners(size) else { return false };
        let area = area_of(&corners);
        let part = area.abs() / (f64::from(leak.0) * f64::from(leak.1));
        if !(part >= AREAS.0 && part <= AREAS.1 && is_convex(&corners, area)) {
            return false;
        }
        let [a, b, c, d] = corners;
        let (top, right, bottom, left) =
            (distance(a, b), distance(b, c), distance(c, d), distance(d, a));
        let within = |ratio: f64, most: f64| ratio <= most && ratio >= 1.0 / most;
        let shape = f64::from(size.0) / f64::from(size.1);
        within(top / bottom, MOST_TAPER)
            && within(left / right, MOST_TAPER)
            && within((top + bottom) / (left + right) / shape, MOST_STRETCH)
            && overlaps(&corners, leak)
    }

    /// The mean distance of the corners from where the other puts them, pixels.
    pub(super) fn distance(&self, other: &Self, size: (u32, u32)) -> f64 {
        match (self.corners(size), other.corners(size)) {
            (Some(a), Some(b)) => {
                a.iter().zip(&b).map(|(a, b)| distance(*a, *b)).sum::<f64>() / 4.0
            }
            _ => f64::INFINITY,
        }
    }
}

/// The middles of the corner pixels, clockwise from the top left.
pub(super) fn corners_of(size: (u32, u32)) -> [Point; 4] {
    let (right, bottom) = (f64::from(size.0) - 1.0, f64::from(size.1) - 1.0);
    [(0.0, 0.0), (right, 0.0), (right, bottom), (0.0, bottom)]
}

/// Signed: negative where they run anticlockwise on the screen.
pub(super) fn area_of(corners: &[Point; 4]) -> f64 {
    let [a, b, c, d] = *corners;
    let cross = |p: Point, q: Point| p.0 * q.1 - p.1 * q.0;
    (cross(a, b) + cross(b, c) + cross(c, d) + cross(d, a)) / 2.0
}

fn distance(a: Point, b: Point) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

fn is_convex(corners: &[Point; 4], area: f64) -> bool {
    let [a, b, c, d] = *corners;
    let turn = |p: Point, q: Point, r: Point| (q.0 - p.0) * (r.1 - q.1) - (q.1 - p.1) * (r.0 - q.0);
    [turn(a, b, c), turn(b, c, d), turn(c, d, a), turn(d, a, b)]
        .iter()
        .all(|turn| turn * area.signum() > 0.0)
}

/// Whether their middle, or the leak's, is in the other.
fn overlaps(corners: &[Point; 4], leak: (u32, u32)) -> bool {
    let (w, h) = (f64::from(leak.0), f64::from(leak.1));
    let left = corners.iter().map(|c| c.0).fold(f64::INFINITY, f64::min);
    let right = corners.iter().map(|c| c.0).fold(f64::NEG_INFINITY, f64::max);
    let top = corners.iter().map(|c| c.1).fold(f64::INFINITY, f64::min);
    let bottom = corners.iter().map(|c| c.1).fold(f64::NEG_INFINITY, f64::max);
    let (across, down) = (right.min(w) - left.max(0.0), bottom.min(h) - top.max(0.0));
    across > 0.1 * w.min(right - left) && down > 0.1 * h.min(bottom - top)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (640, 360);

    fn slanting() -> Homography {
        let to = [(100.0, 50.0), (520.0, 80.0), (500.0, 300.0), (120.0, 330.0)];
        Homography::of_corners(corners_of(SIZE), to).unwrap()
    }

    #[test]
    fn there_and_back() {
        let map = slanting();
        let back = map.inverse().unwrap();
        for place in [(0.0, 0.0), (320.0, 180.0), (639.0, 10.0)] {
            let (x, y) = back.apply(map.apply(place).unwrap()).unwrap();
            assert!((x - place.0).abs() < 1e-6 && (y - place.1).abs() < 1e-6, "{x} {y}");
        }
        let at = map.apply((639.0, 0.0)).unwrap();
        assert!((at.0 - 520.0).abs() < 1e-3 && (at.1 - 80.0).abs() < 1e-3, "{at:?}");
        assert!(map.distance(&map.after(&back).after(&map), SIZE) < 1e-6);
        assert!(Homography([0.0; 9]).inverse().is_none());
    }

    #[test]
    fn scaled_pictures_have_the_scaled_map() {
        let map = slanting().rescaled((0.5, 0.5), (2.0, 2.0));
        // The middle of pixel 319.5 of the whole is that of pixel 159.5 of the half.
        let half = map.apply((159.5, 89.5)).unwrap();
        let whole = slanting().apply((319.5, 179.5)).unwrap();
        assert!((half.0 - (whole.0 * 2.0 + 0.5)).abs() < 1e-6, "{half:?} {whole:?}");
    }

    #[test]
    fn what_no_screen_looks_like_is_told() {
        let corners = [
            ("as it is", [(0.0, 0.0), (639.0, 0.0), (639.0, 359.0), (0.0, 359.0)], true),
            ("mirrored", [(639.0, 0.0), (0.0, 0.0), (0.0, 359.0), (639.0, 359.0)], true),
            ("crossed", [(0.0, 0.0), (639.0, 359.0), (639.0, 0.0), (0.0, 359.0)], false),
            ("tiny", [(0.0, 0.0), (40.0, 0.0), (40.0, 20.0), (0.0, 20.0)], false),
            ("tapering", [(300.0, 0.0), (340.0, 0.0), (639.0, 359.0), (0.0, 359.0)], false),
            ("thin", [(0.0, 0.0), (639.0, 0.0), (639.0, 90.0), (0.0, 90.0)], false),
            ("elsewhere", [(700.0, 0.0), (1339.0, 0.0), (1339.0, 359.0), (700.0, 359.0)], false),
        ];
        for (name, to, good) in corners {
            let map = Homography::of_corners(corners_of(SIZE), to).unwrap();
            assert_eq!(map.is_plausible(SIZE, SIZE), good, "{name}");
            assert_eq!(map.is_mirrored(SIZE), name == "mirrored", "{name}");
        }
        assert!(!Homography([f64::NAN; 9]).is_plausible(SIZE, SIZE));
    }
}
