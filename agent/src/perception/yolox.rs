//! YOLOX's numbers into boxes of persons, vehicles and phones: decoding and suppression of
//! doubles. Pure.
//!
//! The network looks at three grids, with cells of 8, 16 and 32 pixels, and says for each cell how
//! a box lies to the cell's corner, whether anything is there, and which of COCO's 80 kinds it is
//! (Ge et al., *YOLOX: Exceeding YOLO Series in 2021*, arXiv 2107.08430).
//!
//! INVARIANT: every number of a [`Found`] is finite and its sides are above 0, whatever the network
//! gives; there are at most [`MAX_FOUND`] of them.

use temoin_proto::perception::PictureBox;

use crate::{
    infer::InferError,
    perception::{model::Model, tensors::bgr_planes},
};
use temoin_media::bgr::BgrPicture;

/// Width and height of the network's input, pixels.
pub const INPUT_SIDE: u16 = 416;

/// The gray around a letter-boxed picture: the one that the network was trained with.
pub const PAD: u8 = 114;

/// The name of the network's output.
pub(crate) const OUTPUT: &str = "output";

/// The cells' sides, pixels.
const STRIDES: [u16; 3] = [8, 16, 32];

/// Numbers for each cell: a box, whether it is anything, 80 kinds.
const NUMBERS: usize = 85;

/// Of two boxes of kin that overlap by more (intersection over union), the one with less score
/// goes. 0.45 is the value of the network's own demonstration.
const MAX_IOU: f32 = 0.45;

/// Candidates that are compared, the surest first.
const MAX_CANDIDATES: usize = 256;

/// Things that are told of one picture; far more than anything here can use.
pub const MAX_FOUND: usize = 64;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A person.
    Person,
    /// A bicycle.
    Bicycle,
    /// A car, and most vans.
    Car,
    /// A motorcycle.
    Motorcycle,
    /// A bus.
    Bus,
    /// A truck, and pick-ups.
    Truck,
    /// A phone.
    Phone,
}

impl Kind {
    /// COCO's number of each kind.
    const ALL: [(Self, usize); 7] = [
        (Self::Person, 0),
        (Self::Bicycle, 1),
        (Self::Car, 2),
        (Self::Motorcycle, 3),
        (Self::Bus, 5),
        (Self::Truck, 7),
        (Self::Phone, 67),
    ];

    /// Kinds that stand for each other where the network is in doubt: a van is a car, a truck or
    /// a bus from one picture to the next, and is one thing all the same.
    const fn kin(self) -> u8 {
        match self {
            Self::Person => 0,
            Self::Bicycle | Self::Motorcycle => 1,
            Self::Car | Self::Bus | Self::Truck => 2,
            Self::Phone => 3,
        }
    }
}

/// A thing, in pixels of the picture that was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// What.
    pub kind: Kind,
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
}

impl Found {
    /// The same thing where every pixel is `scale` pixels wide and the origin is at `(x, y)`.
    #[must_use]
    pub fn placed(&self, scale: f32, [x, y]: [f32; 2]) -> Self {
        Self {
            x: self.x * scale + x,
            y: self.y * scale + y,
            w: self.w * scale,
            h: self.h * scale,
            ..*self
        }
    }

    /// Cut at the edges of a picture of this size; `None` where less than a pixel is left.
    #[must_use]
    pub fn clipped(&self, (width, height): (f32, f32)) -> Option<Self> {
        let (x, y) = (self.x.max(0.0), self.y.max(0.0));
        let w = (self.x + self.w).min(width) - x;
        let h = (self.y + self.h).min(height) - y;
        (w >= 1.0 && h >= 1.0).then_some(Self { x, y, w, h, ..*self })
    }

    /// The box as fractions of a picture of this size.
    pub fn fractions(&self, (width, height): (f32, f32)) -> PictureBox {
        PictureBox { x: self.x / width, y: self.y / height, w: self.w / width, h: self.h / height }
    }

    /// Intersection over union of the two boxes, 0 to 1.
    pub fn iou(&self, other: &Self) -> f32 {
        let both = self.overlap(other);
        both / (self.w * self.h + other.w * other.h - both)
    }

    fn overlap(&self, other: &Self) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0)
    }

    /// Whether it can be a thing in a picture of [`INPUT_SIDE`].
    fn is_sound(&self) -> bool {
        let side = f32::from(INPUT_SIDE);
        let touches = self.x < side && self.y < side && self.x + self.w > 0.0;
        // Comparisons with NaN are false.
        touches
            && self.y + self.h > 0.0
            && self.w >= 1.0
            && self.h >= 1.0
            && self.w <= 2.0 * side
            && self.h <= 2.0 * side
            && self.x >= -2.0 * side
            && self.y >= -2.0 * side
    }
}

/// Runs the network on a letter-boxed or cut picture of [`INPUT_SIDE`]; boxes are in its pixels.
/// `input` is kept between calls only to save its memory.
///
/// # Errors
/// Those of [`Model::run`], also for a picture of another size.
pub(crate) fn look(
    network: &mut dyn Model,
    picture: &BgrPicture,
    input: &mut Vec<f32>,
    kinds: &[Kind],
    min_score: f32,
) -> Result<Vec<Found>, InferError> {
    bgr_planes(picture, 0.0, 1.0, input);
    let given = network.run(input, &[OUTPUT])?;
    Ok(found(given.first().map(Vec::as_slice).unwrap_or_default(), kinds, min_score))
}

/// The things of these kinds in a square picture of [`INPUT_SIDE`], the surest first, at least
/// `min_score` sure and without doubles. `output` holds 85 numbers for each cell, row by row, the
/// finest grid first; cells that are missing are not seen.
pub fn found(output: &[f32], kinds: &[Kind], min_score: f32) -> Vec<Found> {
    let wanted: Vec<(Kind, usize)> =
        Kind::ALL.into_iter().filter(|(kind, _)| kinds.contains(kind)).collect();
    let mut candidates: Vec<Found> = cells()
        .zip(output.as_chunks::<NUMBERS>().0)
        .filter_map(|(cell, numbers)| candidate(cell, numbers, &wanted, min_score))
        .collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    without_doubles(candidates)
}

/// The surest of boxes that show the same thing; the input is sorted, the surest first.
pub fn without_doubles(candidates: Vec<Found>) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for one in candidates {
        let same = |k: &Found| k.kind.kin() == one.kind.kin() && k.iou(&one) > MAX_IOU;
        if !kept.iter().any(same) {
            kept.push(one);
        }
        if kept.len() == MAX_FOUND {
            break;
        }
    }
    kept
}

/// Column, row and side of each cell.
fn cells() -> impl Iterator<Item = [f32; 3]> {
    STRIDES.into_iter().flat_map(|stride| {
        let n = INPUT_SIDE / stride;
        let side = f32::from(stride);
        (0..n).flat_map(move |row| (0..n).map(move |c| [f32::from(c), f32::from(row), side]))
    })
}

fn candidate(
    [column, row, stride]: [f32; 3],
    numbers: &[f32; NUMBERS],
    wanted: &[(Kind, usize)],
    min_score: f32,
) -> Option<Found> {
    let [dx, dy, log_w, log_h, object, kinds @ ..] = numbers;
    let object = object.clamp(0.0, 1.0);
    // Most cells end here. NaN is not sure either.
    if object.is_nan() || object < min_score {
        return None;
    }
    let score = |n: &usize| kinds.get(*n).map_or(0.0, |k| k.clamp(0.0, 1.0) * object);
    let scored = wanted.iter().map(|(kind, n)| (*kind, score(n))).filter(|(_, s)| !s.is_nan());
    let (kind, score) = scored.max_by(|a, b| a.1.total_cmp(&b.1))?;
    if score < min_score {
        return None;
    }
    let (w, h) = (log_w.exp() * stride, log_h.exp() * stride);
    let x = (column + dx) * stride - w / 2.0;
    let y = (row + dy) * stride - h / 2.0;
    let found = Found { kind, score, x, y, w, h };
    found.is_sound().then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CELLS: usize = 3549;
    const ALL: [Kind; 7] = [
        Kind::Person,
        Kind::Bicycle,
        Kind::Car,
        Kind::Motorcycle,
        Kind::Bus,
        Kind::Truck,
        Kind::Phone,
    ];

    /// An output with the given cells set: cell, box numbers, object, COCO's kind and its score.
    fn output(cells: &[(usize, [f32; 4], f32, usize, f32)]) -> Vec<f32> {
        let mut out = vec![0.0; CELLS * NUMBERS];
        for (cell, numbers, object, kind, score) in cells {
            let at = cell * NUMBERS;
            out[at..at + 4].copy_from_slice(numbers);
            out[at + 4] = *object;
            out[at + 5 + kind] = *score;
        }
        out
    }

    #[test]
    fn there_are_as_many_cells_as_the_network_gives() {
        assert_eq!(cells().count(), CELLS);
    }

    #[test]
    fn a_cell_of_each_grid_becomes_a_box() {
        let grids = [(0, 8.0, 52), (52 * 52, 16.0, 26), (52 * 52 + 26 * 26, 32.0, 13)];
        for (first, stride, columns) in grids {
            // Row 2, column 3.
            let cell = first + 2 * columns + 3;
            let numbers = [0.5, 0.25, 2_f32.ln(), 3_f32.ln()];
            let found = found(&output(&[(cell, numbers, 0.9, 2, 0.8)]), &ALL, 0.3);
            assert_eq!(found.len(), 1);
            let f = found[0];
            assert_eq!(f.kind, Kind::Car);
            let want = [0.72, 2.5 * stride, 0.75 * stride, 2.0 * stride, 3.0 * stride];
            for (got, want) in [f.score, f.x, f.y, f.w, f.h].into_iter().zip(want) {
                assert!((got - want).abs() < 1e-3, "{f:?}");
            }
        }
    }

    #[test]
    fn doubles_doubts_and_other_kinds_go() {
        let size = [0.0, 0.0, 4_f32.ln(), 4_f32.ln()];
        for (name, cells, want) in [
            ("none", vec![], vec![]),
            ("not sure enough", vec![(500, size, 0.5, 2, 0.5)], vec![]),
            ("another kind", vec![(500, size, 0.9, 16, 0.9)], vec![]),
            (
                "a car and a truck on each other are one",
                vec![(500, size, 0.9, 2, 0.9), (501, size, 0.8, 7, 0.9)],
                vec![Kind::Car],
            ),
            (
                "a person on a bicycle are two",
                vec![(500, size, 0.9, 0, 0.9), (500 + 1, size, 0.8, 1, 0.9)],
                vec![Kind::Person, Kind::Bicycle],
            ),
            (
                "beside each other",
                vec![(500, size, 0.9, 2, 0.9), (508, size, 0.8, 2, 0.9)],
                vec![Kind::Car, Kind::Car],
            ),
            ("a phone", vec![(3500, size, 0.9, 67, 0.9)], vec![Kind::Phone]),
            (
                "not a number",
                vec![
                    (500, size, f32::NAN, 2, 0.9),
                    (600, size, 0.9, 2, f32::NAN),
                    (700, [f32::NAN, 0.0, 0.0, 0.0], 0.9, 2, 0.9),
                    (800, [0.0, 0.0, f32::INFINITY, 0.0], 0.9, 2, 0.9),
                ],
                vec![],
            ),
            ("endless", vec![(500, [0.0, 0.0, 60.0, 60.0], 0.9, 2, 0.9)], vec![]),
            ("far outside", vec![(500, [900.0, 0.0, 1.0, 1.0], 0.9, 2, 0.9)], vec![]),
        ] {
            let kinds: Vec<Kind> =
                found(&output(&cells), &ALL, 0.3).iter().map(|f| f.kind).collect();
            assert_eq!(kinds, want, "{name}");
        }
    }

    #[test]
    fn only_what_is_asked_for() {
        let size = [0.0, 0.0, 4_f32.ln(), 4_f32.ln()];
        let out = output(&[(500, size, 0.9, 2, 0.9), (3500, size, 0.9, 67, 0.9)]);
        let phones = found(&out, &[Kind::Phone], 0.3);
        assert_eq!(phones.len(), 1);
        assert_eq!(phones[0].kind, Kind::Phone);
        assert!(found(&out, &[], 0.3).is_empty());
    }

    #[test]
    fn a_box_finds_its_place_and_is_cut() {
        let f = Found { kind: Kind::Car, score: 0.9, x: 10.0, y: 20.0, w: 30.0, h: 40.0 };
        let placed = f.placed(2.0, [100.0, 0.0]);
        assert_eq!([placed.x, placed.y, placed.w, placed.h], [120.0, 40.0, 60.0, 80.0]);
        let cut = placed.clipped((150.0, 100.0)).unwrap();
        assert_eq!([cut.x, cut.y, cut.w, cut.h], [120.0, 40.0, 30.0, 60.0]);
        assert_eq!(placed.clipped((120.5, 100.0)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_numbers_give_sound_boxes(
            seeds in prop::collection::vec(
                (0_usize..CELLS, prop::array::uniform4(prop::num::f32::ANY), prop::num::f32::ANY,
                 0_usize..80, prop::num::f32::ANY), 0..400),
            cut in 0_usize..CELLS * NUMBERS,
        ) {
            let mut out = output(&seeds);
            out.truncate(cut);
            let found = found(&out, &ALL, 0.1);
            prop_assert!(found.len() <= MAX_FOUND);
            for f in &found {
                prop_assert!([f.x, f.y, f.w, f.h].iter().all(|n| n.is_finite()), "{f:?}");
                prop_assert!(f.w > 0.0 && f.h > 0.0 && (0.1..=1.0).contains(&f.score), "{f:?}");
            }
            for (n, a) in found.iter().enumerate() {
                for b in &found[n + 1..] {
                    prop_assert!(a.kind.kin() != b.kind.kin() || a.iou(b) <= MAX_IOU);
                }
            }
        }
    }
}
