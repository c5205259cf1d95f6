//! A picture's words: those that a unit keeps, and those that a leak's picture is searched under.
//!
//! Both find points by SIFT on luma whose contrast was evened out. A unit keeps few of them, the
//! strongest of each part of the picture, so that a crop leaves some. A leak's picture gives many:
//! the screen may fill only a part of it. They are described upright, as the unit does, and turned by
//! some angles and mirrored, as the leak may be.

use opencv::{
    core::{KeyPoint, Mat, Size, Vector},
    features2d::SIFT,
    imgproc,
    prelude::*,
};

use super::{
    FingerprintError, Look, Shape, WORDS_A_LOOK, Word,
    describe::{LENGTH, PROBES, key, mirrored, probes, root},
};
use crate::{
    frame::{I420View, PictureError, resize_plane},
    rounding::{cv, index, round_u32},
};

/// Short side of the picture that a unit looks at, pixels: points that are smaller than this shows
/// do not come through filming.
const UNIT_SIDE: f64 = 180.0;
/// The same for a leak, whose screen may fill only half of the picture.
const LEAK_SIDE: f64 = 480.0;
/// No long side is longer than so many short ones.
const LONGEST: f64 = 4.0;
/// A picture with a shorter side has no points worth keeping.
const LEAST_SIDE: u32 = 32;
/// Points that are searched for, of a leak's picture.
const LEAK_POINTS: usize = 500;
/// Points that SIFT may give before they are chosen from: noise is full of them.
const MOST_POINTS: i32 = 3000;
/// A unit's picture is cut into so many parts along its long and short side, and each gives at most
/// [`A_PART`] words.
const PARTS: (f32, f32) = (4.0, 3.0);
const A_PART: usize = 3;
/// SIFT's thresholds: low contrast, as the words are chosen by strength afterwards, and edges
/// rather than nothing.
const CONTRAST: f64 = 0.01;
const EDGE: f64 = 20.0;
/// How far a leak may be turned beside not at all, degrees. Upright descriptors bear 10° to either
/// side.
pub(super) const TURNS_DEG: [f32; 3] = [0.0, -20.0, 20.0];
/// The ways in which a leak is searched: turns, then turns of the mirrored picture.
pub(super) const WAYS: usize = 2 * TURNS_DEG.len();

/// A point of a picture.
struct Point {
    keypoint: KeyPoint,
    /// Parts of the picture's width and height.
    x: f32,
    y: f32,
}

/// A picture, made small and even.
struct Small {
    luma: Mat,
    sift: opencv::core::Ptr<SIFT>,
    width: f32,
    height: f32,
}

impl Small {
    /// None where it is too small to say anything.
    fn new(picture: &I420View<'_>, side: f64) -> Result<Option<Self>, PictureError> {
        let (w, h) = (picture.width(), picture.height());
        let (short, long) = (f64::from(w.min(h)), f64::from(w.max(h)));
        let scale = (side / short).min(side * LONGEST / long).min(1.0);
        let sides = (round_u32(f64::from(w) * scale), round_u32(f64::from(h) * scale));
        if sides.0.min(sides.1) < LEAST_SIDE {
            return Ok(None);
        }
        let mut data = vec![0; index(sides.0) * index(sides.1)];
        let to = (sides.0, sides.1, data.as_mut_slice());
        resize_plane((w, h, picture.luma()), to, imgproc::INTER_AREA)?;
        let gray = Mat::new_rows_cols_with_bytes::<u8>(cv(sides.1), cv(sides.0), &data)?;
        let mut luma = Mat::default();
        imgproc::create_clahe(2.0, Size::new(8, 8))?.apply(&gray, &mut luma)?;
        #[expect(clippy::cast_precision_loss, reason = "sides of a picture")]
        let (width, height) = (sides.0 as f32, sides.1 as f32);
        let sift = SIFT::create(MOST_POINTS, 3, CONTRAST, EDGE, 1.6)?;
        Ok(Some(Self { luma, sift, width, height }))
    }

    /// Its points, the strongest first, each once.
    fn points(&mut self) -> Result<Vec<Point>, PictureError> {
        let mut found = Vector::<KeyPoint>::new();
        self.sift.detect_def(&self.luma, &mut found)?;
        let mut all: Vec<KeyPoint> = found.iter().collect();
        all.sort_by(|a, b| {
            let place = |k: &KeyPoint| (k.pt().x, k.pt().y);
            let ((ax, ay), (bx, by)) = (place(a), place(b));
            b.response().total_cmp(&a.response()).then(ax.total_cmp(&bx)).then(ay.total_cmp(&by))
        });
        // SIFT gives a point once for each of its directions, which are not used here.
        all.dedup_by(|a, b| {
            let (p, q) = (a.pt(), b.pt());
            p.x.to_bits() == q.x.to_bits() && p.y.to_bits() == q.y.to_bits()
        });
        let (width, height) = (self.width, self.height);
        Ok(all
            .into_iter()
            .map(|keypoint| {
                let at = keypoint.pt();
                Point { keypoint, x: at.x / width, y: at.y / height }
            })
            .collect())
    }

    /// The points' descriptors, all turned by so many degrees.
    fn described(
        &mut self,
        points: &[Point],
        turn_deg: f32,
    ) -> Result<Vec<Option<[f32; LENGTH]>>, PictureError> {
        let mut keypoints: Vector<KeyPoint> = points
            .iter()
            .map(|point| {
                let mut keypoint = point.keypoint.clone();
                keypoint.set_angle(turn_deg.rem_euclid(360.0));
                keypoint
            })
            .collect();
        let mut descriptors = Mat::default();
        self.sift.compute(&self.luma, &mut keypoints, &mut descriptors)?;
        let mut out = Vec::with_capacity(points.len());
        // SIFT leaves out none of the points it is given; were it so, none would be right.
        let same = keypoints.len() == points.len();
        for row in 0..descriptors.rows() {
            out.push(root(descriptors.at_row::<f32>(row)?).filter(|_| same));
        }
        out.resize(points.len(), None);
        Ok(out)
    }
}

/// Looks at a picture as a unit does, `at_ms` after the clip's beginning. A picture that shows
/// nothing has no words.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn look(picture: &I420View<'_>, at_ms: u32) -> Result<Look, PictureError> {
    let Some(mut small) = Small::new(picture, UNIT_SIDE)? else {
        return Ok(Look { at_ms, words: Vec::new() });
    };
    let points = chosen(small.points()?, small.width > small.height);
    let words = small.described(&points, 0.0)?.into_iter().zip(&points);
    let words = words
        .filter_map(|(descriptor, point)| Some(Word::new(key(&descriptor?), point.x, point.y)))
        .collect();
    Ok(Look { at_ms, words })
}

/// The strongest, but only some of each part of the picture, and no two of one size at one place.
fn chosen(points: Vec<Point>, wide: bool) -> Vec<Point> {
    let (across, down) = if wide { PARTS } else { (PARTS.1, PARTS.0) };
    let mut kept: Vec<(Point, (u8, u8))> = Vec::new();
    for point in points {
        let part = (part_of(point.x, across), part_of(point.y, down));
        let full = kept.iter().filter(|(_, other)| *other == part).count() >= A_PART;
        if full || kept.iter().any(|(other, _)| same_thing(&other.keypoint, &point.keypoint)) {
            continue;
        }
        kept.push((point, part));
        if kept.len() == WORDS_A_LOOK {
            break;
        }
    }
    kept.into_iter().map(|(point, _)| point).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 3; float casts saturate"
)]
fn part_of(place: f32, parts: f32) -> u8 {
    (place * parts).clamp(0.0, parts - 1.0) as u8
}

fn same_thing(a: &KeyPoint, b: &KeyPoint) -> bool {
    let (small, large) = (a.size().min(b.size()), a.size().max(b.size()));
    let (dx, dy) = (a.pt().x - b.pt().x, a.pt().y - b.pt().y);
    large < 1.6 * small && dx * dx + dy * dy < 0.125 * small * small
}

/// What a leak's picture is searched under.
#[derive(Debug, Clone)]
pub struct QueryLook {
    /// Since the leak's beginning.
    pub(super) at_ms: u32,
    /// Width and height, the shorter one 1.
    pub(super) sides: (f32, f32),
    pub(super) points: Vec<QueryPoint>,
}

/// A point of a leak's picture.
#[derive(Debug, Clone)]
pub(super) struct QueryPoint {
    /// In short sides of the picture.
    pub(super) x: f32,
    pub(super) y: f32,
    /// For each way the likeliest words.
    pub(super) keys: [[u32; PROBES]; WAYS],
}

/// Looks at a leak's picture, `at_ms` after the leak's beginning.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn query_look(picture: &I420View<'_>, at_ms: u32) -> Result<QueryLook, PictureError> {
    let shape = Shape::of(picture.width(), picture.height());
    let sides = shape.as_ref().map_or((1.0, 1.0), |shape| shape.sides());
    let empty = QueryLook { at_ms, sides, points: Vec::new() };
    let (Some(mut small), Ok(_)) = (Small::new(picture, LEAK_SIDE)?, shape) else {
        return Ok(empty);
    };
    let mut points = small.points()?;
    points.truncate(LEAK_POINTS);
    let mut ways = Vec::with_capacity(TURNS_DEG.len());
    for turn_deg in TURNS_DEG {
        ways.push(small.described(&points, turn_deg)?);
    }
    let described = |n: usize| {
        let mut keys = [[0; PROBES]; WAYS];
        let (plain, flipped) = keys.split_at_mut(TURNS_DEG.len());
        for ((plain, flipped), way) in plain.iter_mut().zip(flipped).zip(&ways) {
            let descriptor = way.get(n)?.as_ref()?;
            *plain = probes(descriptor);
            *flipped = probes(&mirrored(descriptor));
        }
        Some(keys)
    };
    let points = points.iter().enumerate().filter_map(|(n, point)| {
        Some(QueryPoint { x: point.x * sides.0, y: point.y * sides.1, keys: described(n)? })
    });
    Ok(QueryLook { points: points.collect(), ..empty })
}

/// A fingerprint's shape for pictures of this size.
///
/// # Errors
/// Those of [`Shape::of`].
pub fn shape_of(picture: &I420View<'_>) -> Result<Shape, FingerprintError> {
    Shape::of(picture.width(), picture.height())
}
