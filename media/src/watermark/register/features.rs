//! Features of a picture and how those of two belong together: SIFT on evened-out contrast, so that
//! dark corners have some, compared as RootSIFT with a ratio test, both ways.

use opencv::{
    calib3d,
    core::{KeyPoint, Mat, Point2f, Ptr, Size, Vector},
    features2d::SIFT,
    imgproc,
    prelude::*,
};

use super::{
    Gray, RegisterError,
    homography::{Homography, Point},
    plane::scaled,
};
use crate::rounding::{index, round_u32};

/// SIFT's own threshold is 0.04; dark cabins have few features above that. Own choice: validate.
const CONTRAST: f64 = 0.015;
/// SIFT's own.
const EDGE: f64 = 10.0;
/// How far the contrast of a tile is raised at most. Own choice: validate.
const CLAHE_LIMIT: f64 = 4.0;
/// Features are looked for at most at this shorter side, pixels: more is slow, and filmed pictures
/// hold no more.
const SHORT_SIDE: f64 = 480.0;
/// Of both squared distances: 0.85 of the distance (Lowe has 0.8; outliers are sorted out below).
const RATIO: f64 = 0.72;
/// A descriptor's length as whole numbers.
const UNIT: f32 = 256.0;
/// Matches are outliers beyond this, pixels of the leak: the original may be some frames off.
const OUTLIER_PX: f64 = 3.0;
/// Fewer matches give no map.
pub(super) const LEAST_MATCHES: usize = 8;

/// Blocks of a picture along a side that take turns: a caption or a sticker has more and stronger
/// features than all of a filmed screen.
const BLOCKS: usize = 8;
/// So many times the features that are wanted are looked for, to choose from.
const CHOICE: i32 = 4;

/// What SIFT found.
pub(super) struct Features {
    places: Vec<Point>,
    rows: Vec<[i16; 128]>,
}

/// Finds them.
pub(super) struct Finder {
    sift: Ptr<SIFT>,
    clahe: Ptr<imgproc::CLAHE>,
    most: usize,
}

impl Finder {
    /// At most so many features of a picture.
    pub(super) fn new(most: i32) -> Result<Self, RegisterError> {
        let sift = SIFT::create(most.saturating_mul(CHOICE), 3, CONTRAST, EDGE, 1.6)?;
        let clahe = imgproc::create_clahe(CLAHE_LIMIT, Size::new(8, 8))?;
        Ok(Self { sift, clahe, most: usize::try_from(most).unwrap_or(0) })
    }

    /// The features of a picture, in its pixels.
    pub(super) fn find(&mut self, gray: &Gray) -> Result<Features, RegisterError> {
        let shrink = (SHORT_SIDE / f64::from(gray.width.min(gray.height))).min(1.0);
        let side = |of: u32| round_u32(f64::from(of) * shrink).max(1);
        let to = (side(gray.width), side(gray.height));
        let mut even = Mat::default();
        self.clahe.apply(&scaled(gray, to)?, &mut even)?;
        let (mut points, mut rows) = (Vector::<KeyPoint>::new(), Mat::default());
        self.sift.detect_def(&even, &mut points)?;
        let mut points = spread(&points, to, self.most);
        self.sift.compute(&even, &mut points, &mut rows)?;
        let (kx, ky) =
            (f64::from(gray.width) / f64::from(to.0), f64::from(gray.height) / f64::from(to.1));
        let mut found = Features { places: Vec::new(), rows: Vec::new() };
        if points.is_empty() {
            return Ok(found);
        }
        let all = rows.data_typed::<f32>()?;
        for (point, row) in points.iter().zip(all.as_chunks::<128>().0) {
            let sum: f32 = row.iter().sum::<f32>().max(1e-6);
            found.rows.push(row.map(|v| whole((v / sum).max(0.0).sqrt() * UNIT)));
            let (x, y) = (f64::from(point.pt().x), f64::from(point.pt().y));
            found.places.push(((x + 0.5) * kx - 0.5, (y + 0.5) * ky - 0.5));
        }
        Ok(found)
    }
}

/// At most so many of them: the strongest of each block, then the second of each, and so on.
fn spread(all: &Vector<KeyPoint>, size: (u32, u32), most: usize) -> Vector<KeyPoint> {
    let mut points = all.to_vec();
    points.sort_by(|a, b| b.response().total_cmp(&a.response()));
    let mut taken = [0_usize; BLOCKS * BLOCKS];
    let block = |x: f32, side: u32| {
        let part = f64::from(x) / f64::from(side.max(1)) * super::real(BLOCKS);
        index(round_u32((part - 0.5).max(0.0))).min(BLOCKS - 1)
    };
    let mut ranked: Vec<(usize, KeyPoint)> = Vec::with_capacity(points.len());
    for point in points {
        let at = block(point.pt().y, size.1) * BLOCKS + block(point.pt().x, size.0);
        if let Some(taken) = taken.get_mut(at) {
            ranked.push((*taken, point));
            *taken += 1;
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(most).map(|(_, point)| point).collect()
}

/// A part of a descriptor; at most 256.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate")]
fn whole(x: f32) -> i16 {
    x.round() as i16
}

/// At most 128 * 256^2, so it never wraps; that it may lets the compiler take eight at a time.
fn product_of(a: &[i16; 128], b: &[i16; 128]) -> i32 {
    let products = a.iter().zip(b).map(|(p, q)| i32::from(*p).wrapping_mul(i32::from(*q)));
    products.fold(0, i32::wrapping_add)
}

/// Pairs of places, of the first and of the second.
pub(super) fn matches(a: &Features, b: &Features) -> Vec<(Point, Point)> {
    // Best and second best product, and whose, for each of both.
    let mut of_b = vec![(i32::MIN, usize::MAX); b.rows.len()];
    let mut of_a = Vec::with_capacity(a.rows.len());
    for (n, row) in a.rows.iter().enumerate() {
        let (mut best, mut second, mut whose) = (i32::MIN, i32::MIN, usize::MAX);
        for ((m, other), back) in b.rows.iter().enumerate().zip(&mut of_b) {
            let product = product_of(row, other);
            if product > best {
                (second, best, whose) = (best, product, m);
            } else if product > second {
                second = product;
            }
            if product > back.0 {
                *back = (product, n);
            }
        }
        of_a.push((best, second, whose));
    }
    let square = f64::from(UNIT) * f64::from(UNIT);
    let apart = |product: i32| (square - f64::from(product)).max(0.0);
    let mut out = Vec::new();
    for (n, (best, second, whose)) in of_a.into_iter().enumerate() {
        let mutual = of_b.get(whose).is_some_and(|back| back.1 == n);
        let clear = second == i32::MIN || apart(best) < RATIO * apart(second);
        if let (true, true, Some(p), Some(q)) =
            (mutual, clear, a.places.get(n), b.places.get(whose))
        {
            out.push((*p, *q));
        }
    }
    out
}

/// The map that most pairs agree on, and how many do.
pub(super) fn map_of(
    pairs: &[(Point, Point)],
) -> Result<Option<(Homography, usize)>, RegisterError> {
    if pairs.len() < LEAST_MATCHES {
        return Ok(None);
    }
    let points = |of: &dyn Fn(&(Point, Point)) -> Point| -> Vector<Point2f> {
        pairs
            .iter()
            .map(|pair| {
                let (x, y) = of(pair);
                Point2f::new(super::narrow(x), super::narrow(y))
            })
            .collect()
    };
    let mut inliers = Mat::default();
    let found = calib3d::find_homography_ext(
        &points(&|pair| pair.0),
        &points(&|pair| pair.1),
        calib3d::USAC_MAGSAC,
        OUTLIER_PX,
        &mut inliers,
        3000,
        0.999,
    );
    // It also fails where all places lie on a line.
    let Ok(found) = found else { return Ok(None) };
    if found.empty() || inliers.empty() {
        return Ok(None);
    }
    let count = inliers.data_typed::<u8>()?.iter().filter(|v| **v != 0).count();
    Ok(Homography::of_mat(&found).filter(|_| count + 2 >= LEAST_MATCHES).map(|map| (map, count)))
}

#[cfg(test)]
mod tests {
    use super::super::test_warps::{Dice, scene};
    use super::*;

    #[test]
    fn a_caption_leaves_room_for_the_rest() {
        let mut gray = scene(5, 320, 240);
        let mut dice = Dice::new(9);
        let blocks: Vec<bool> = (0..64 * 8).map(|_| dice.roll() < 0.5).collect();
        for (n, luma) in gray.luma.iter_mut().enumerate() {
            let (x, y) = (n % 320, n / 320);
            if let Some(row) = y.checked_sub(200) {
                *luma = if blocks[row / 5 * 64 + x / 5] { 235 } else { 20 };
            }
        }
        let found = Finder::new(120).unwrap().find(&gray).unwrap();
        let above = found.places.iter().filter(|(_, y)| *y < 195.0).count();
        assert_eq!(found.places.len(), 120);
        assert!(above > 60, "{above} of {} are not of the caption", found.places.len());
    }
}
