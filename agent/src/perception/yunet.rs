//! YuNet's numbers into faces: decoding and suppression of doubles. Pure.
//!
//! The network looks at three grids, with cells of 8, 16 and 32 pixels, and says for each cell
//! whether a face is there, how its box lies to the cell's corner, and where five points are
//! (Wu et al., *YuNet: A Tiny Millisecond-level Face Detector*, 2023).
//!
//! INVARIANT: every number of a [`Face`] is finite and its sides are above 0, whatever the network
//! gives.

use temoin_proto::perception::PictureBox;

/// Width and height of the network's input, pixels.
pub const INPUT_SIDE: u16 = 320;

/// The cells' sides, pixels.
pub const STRIDES: [u16; 3] = [8, 16, 32];

/// A face below this score is none. On filmed faces the score is 0.88 to 0.94 at any turn of the
/// head that still shows an eye, and patterns stay below 0.5.
pub const MIN_SCORE: f32 = 0.6;

/// Of two boxes that overlap by more (intersection over union), the one with less score goes.
pub const MAX_IOU: f32 = 0.45;

/// Candidates that are compared; far more than any cab has faces.
const MAX_CANDIDATES: usize = 256;

/// What the network says of one grid, row by row; `n` cells in all.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// Side of a cell, pixels.
    pub stride: u16,
    /// Whether it is a face, `n` numbers.
    pub cls: &'a [f32],
    /// Whether it is anything, `n` numbers.
    pub obj: &'a [f32],
    /// Boxes, `4 * n` numbers.
    pub bbox: &'a [f32],
    /// Points, `10 * n` numbers.
    pub kps: &'a [f32],
}

/// A face, in pixels of the picture that was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// 0 to 1.
    pub score: f32,
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
    /// The person's right eye, left eye, nose, right and left corner of the mouth: x and y each.
    pub points: [[f32; 2]; 5],
}

impl Face {
    /// Its middle.
    pub const fn middle(&self) -> [f32; 2] {
        [self.x + self.w / 2.0, self.y + self.h / 2.0]
    }

    /// Its longer side.
    pub const fn side(&self) -> f32 {
        self.w.max(self.h)
    }

    /// Its area.
    pub const fn area(&self) -> f32 {
        self.w * self.h
    }

    /// Intersection over union of the two boxes, 0 to 1.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        let both = w.max(0.0) * h.max(0.0);
        both / (self.area() + other.area() - both)
    }

    /// How much of this box lies within another, 0 to 1.
    pub(crate) fn share_within(&self, other: &Self) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0) / self.area()
    }

    /// The same face where every pixel is `scale` pixels wide and the origin is at `(x, y)`.
    #[must_use]
    pub fn placed(&self, scale: f32, [x, y]: [f32; 2]) -> Self {
        Self {
            score: self.score,
            x: self.x * scale + x,
            y: self.y * scale + y,
            w: self.w * scale,
            h: self.h * scale,
            points: self.points.map(|[px, py]| [px * scale + x, py * scale + y]),
        }
    }

    /// The part of the box that is inside a picture of this size, 0 to 1.
    pub fn visible(&self, (width, height): (f32, f32)) -> f32 {
        let w = (self.x + self.w).min(width) - self.x.max(0.0);
        let h = (self.y + self.h).min(height) - self.y.max(0.0);
        w.max(0.0) * h.max(0.0) / self.area()
    }

    /// The box as fractions of a picture of this size, cut at its edges.
    pub fn fractions(&self, (width, height): (f32, f32)) -> PictureBox {
        let part = |from: f32, to: f32, all: f32| {
            let (from, to) = ((from / all).clamp(0.0, 1.0), (to / all).clamp(0.0, 1.0));
            (from, to - from)
        };
        let (x, w) = part(self.x, self.x + self.w, width);
        let (y, h) = part(self.y, self.y + self.h, height);
        PictureBox { x, y, w, h }
    }

    fn is_sound(&self) -> bool {
        let numbers = [self.x, self.y, self.w, self.h];
        numbers.iter().chain(self.points.as_flattened()).all(|n| n.is_finite())
            && self.w > 0.0
            && self.h > 0.0
            && self.area().is_finite()
            && self.area() > 0.0
    }
}

/// The faces of a square picture of [`INPUT_SIDE`], the surest first, at least [`MIN_SCORE`] sure
/// and without doubles.
pub fn faces(grids: &[Grid<'_>]) -> Vec<Face> {
    faces_above(grids, MIN_SCORE)
}

/// As [`faces`], at least `min_score` sure: where a face that is none costs little.
pub fn faces_above(grids: &[Grid<'_>], min_score: f32) -> Vec<Face> {
    let mut found: Vec<Face> = grids.iter().flat_map(|g| candidates(g, min_score)).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_CANDIDATES);
    without_doubles(found)
}

/// Of faces in the order of their scores, those that no surer one overlaps.
pub(crate) fn without_doubles(found: Vec<Face>) -> Vec<Face> {
    let mut kept: Vec<Face> = Vec::new();
    for face in found {
        if kept.iter().all(|k| k.iou(&face) <= MAX_IOU) {
            kept.push(face);
        }
    }
    kept
}

/// The cells of one grid that are sure enough.
fn candidates<'a>(grid: &Grid<'a>, min_score: f32) -> impl Iterator<Item = Face> + use<'a> {
    let stride = f32::from(grid.stride);
    let columns = usize::from((INPUT_SIDE / grid.stride.max(1)).max(1));
    let boxes = grid.bbox.as_chunks::<4>().0.iter().zip(grid.kps.as_chunks::<10>().0);
    let cells = grid.cls.iter().zip(grid.obj).zip(boxes).enumerate();
    cells.filter_map(move |(cell, ((cls, obj), (&[dx, dy, log_w, log_h], kps)))| {
        let score = (cls.clamp(0.0, 1.0) * obj.clamp(0.0, 1.0)).sqrt();
        // NaN is not sure either.
        if score.is_nan() || score < min_score {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a grid has at most 40 rows of 40")]
        let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
        let (w, h) = (log_w.exp() * stride, log_h.exp() * stride);
        let mut points = [[0.0; 2]; 5];
        for (point, [x, y]) in points.iter_mut().zip(kps.as_chunks::<2>().0) {
            *point = [(column + x) * stride, (row + y) * stride];
        }
        let face = Face {
            score,
            x: (column + dx) * stride - w / 2.0,
            y: (row + dy) * stride - h / 2.0,
            w,
            h,
            points,
        };
        face.is_sound().then_some(face)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A grid of 32-pixel cells with the given cells set: cell, score, then dx, dy, log w, log h.
    fn grid(cells: &[(usize, f32, [f32; 4])]) -> [Vec<f32>; 4] {
        let n = 100;
        let mut out = [vec![0.0; n], vec![0.0; n], vec![0.0; 4 * n], vec![0.0; 10 * n]];
        for (cell, score, numbers) in cells {
            out[0][*cell] = score * score;
            out[1][*cell] = 1.0;
            out[2][4 * cell..4 * cell + 4].copy_from_slice(numbers);
            for (n, x) in out[3][10 * cell..10 * cell + 10].iter_mut().enumerate() {
                *x = n as f32 / 10.0;
            }
        }
        out
    }

    fn decode([cls, obj, bbox, kps]: &[Vec<f32>; 4]) -> Vec<Face> {
        faces(&[Grid { stride: 32, cls, obj, bbox, kps }])
    }

    #[test]
    fn a_cell_becomes_a_face() {
        // Row 2, column 3 of 10: the corner is at (96, 64).
        let found = decode(&grid(&[(23, 0.9, [0.5, 0.25, 2_f32.ln(), 3_f32.ln()])]));
        assert_eq!(found.len(), 1);
        let face = found[0];
        let want = [0.9, 96.0 + 16.0 - 32.0, 64.0 + 8.0 - 48.0, 64.0, 96.0];
        for (got, want) in [face.score, face.x, face.y, face.w, face.h].into_iter().zip(want) {
            assert!((got - want).abs() < 1e-3, "{face:?}");
        }
        assert_eq!(face.points[0], [96.0, 64.0 + 3.2]);
        assert_eq!(face.points[4], [96.0 + 0.8 * 32.0, 64.0 + 0.9 * 32.0]);
    }

    #[test]
    fn doubles_and_doubts_go() {
        let size = 3_f32.ln();
        for (name, cells, want) in [
            ("none", vec![], vec![]),
            ("not sure enough", vec![(5, 0.59, [0.0, 0.0, size, size])], vec![]),
            (
                "beside each other",
                vec![(22, 0.8, [0.0, 0.0, size, size]), (27, 0.9, [0.0, 0.0, size, size])],
                vec![0.9, 0.8],
            ),
            (
                "on each other",
                vec![(22, 0.8, [0.0, 0.0, size, size]), (23, 0.9, [-0.7, 0.0, size, size])],
                vec![0.9],
            ),
            (
                "not a number",
                vec![(1, f32::NAN, [0.0; 4]), (2, 0.9, [f32::NAN, 0.0, 0.0, 0.0])],
                vec![],
            ),
            ("endless", vec![(1, 0.9, [0.0, 0.0, 200.0, 200.0])], vec![]),
        ] {
            let scores: Vec<f32> =
                decode(&grid(&cells)).iter().map(|f| (f.score * 100.0).round() / 100.0).collect();
            assert_eq!(scores, want, "{name}");
        }
    }

    #[test]
    fn boxes_are_placed_cut_and_compared() {
        let face =
            Face { score: 0.9, x: -10.0, y: 20.0, w: 40.0, h: 20.0, points: [[1.0, 2.0]; 5] };
        let picture = (80.0, 80.0);
        assert_eq!(face.visible(picture), 0.75);
        assert_eq!(face.fractions(picture), PictureBox { x: 0.0, y: 0.25, w: 0.375, h: 0.25 });
        let placed = face.placed(2.0, [100.0, 50.0]);
        assert_eq!((placed.x, placed.y, placed.w, placed.h), (80.0, 90.0, 80.0, 40.0));
        assert_eq!(placed.points[0], [102.0, 54.0]);
        assert_eq!(face.iou(&face), 1.0);
        assert_eq!(face.iou(&placed), 0.0);
    }

    proptest! {
        #[test]
        fn whatever_the_network_says_faces_are_sound(
            numbers in proptest::collection::vec(any::<f32>(), 0..2000),
            lengths in proptest::array::uniform4(0..2000_usize),
            stride in 0..400_u16,
        ) {
            let part = |n: usize| numbers.get(..n.min(numbers.len())).unwrap_or_default();
            let [cls, obj, bbox, kps] = lengths.map(part);
            let grid = Grid { stride, cls, obj, bbox, kps };
            for face in faces(&[grid, grid]) {
                prop_assert!(face.is_sound() && (MIN_SCORE..=1.0).contains(&face.score));
                let b = face.fractions((1280.0, 720.0));
                prop_assert!([b.x, b.y, b.w, b.h].iter().all(|n| (0.0..=1.0).contains(n)));
            }
        }
    }
}
