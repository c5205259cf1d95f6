//! Whether what is private in a picture lies under the parts that are blurred.

use std::collections::BTreeMap;

use temoin_proto::perception::PictureBox;

/// Less than this share under blur is a miss: a strip at the edge shows no face and no character.
pub const COVERED: f64 = 0.9;

/// Share of an area that lies under at least one of the others, 0 to 1.
pub fn covered(area: &PictureBox, by: &[PictureBox]) -> f64 {
    let (left, right) = (f64::from(area.x), f64::from(area.x) + f64::from(area.w));
    let (top, bottom) = (f64::from(area.y), f64::from(area.y) + f64::from(area.h));
    let whole = (right - left) * (bottom - top);
    if whole <= 0.0 {
        return 1.0;
    }
    let parts: Vec<[f64; 4]> = by
        .iter()
        .map(|b| {
            let (x, y) = (f64::from(b.x), f64::from(b.y));
            [
                x.max(left),
                (x + f64::from(b.w)).min(right),
                y.max(top),
                (y + f64::from(b.h)).min(bottom),
            ]
        })
        .filter(|[x0, x1, y0, y1]| x0 < x1 && y0 < y1)
        .collect();
    let edges = |from: usize| {
        let mut edges: Vec<f64> =
            parts.iter().flat_map(|p| p.iter().skip(from).take(2).copied()).collect();
        edges.sort_by(f64::total_cmp);
        edges
    };
    let (xs, ys) = (edges(0), edges(2));
    let mut under = 0.0;
    for (x0, x1) in xs.iter().zip(xs.iter().skip(1)) {
        for (y0, y1) in ys.iter().zip(ys.iter().skip(1)) {
            let (x, y) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0);
            if parts.iter().any(|[a, b, c, d]| (*a..*b).contains(&x) && (*c..*d).contains(&y)) {
                under += (x1 - x0) * (y1 - y0);
            }
        }
    }
    under / whole
}

/// Something private in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Private {
    /// Its name: the same as long as it is the same thing.
    pub name: String,
    /// Where it is.
    pub area: PictureBox,
}

/// Counts of what was left uncovered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Misses {
    /// Runs of pictures in which the same thing was uncovered: each is a flash.
    pub runs: usize,
    /// Private things in pictures, uncovered.
    pub missed: usize,
    /// Private things in pictures, in all.
    pub labelled: usize,
    /// Pictures with something private.
    pub pictures: usize,
    open: BTreeMap<String, bool>,
}

impl Misses {
    /// The next picture: what is private in it, and what is blurred.
    pub fn picture(&mut self, private: &[Private], blurred: &[PictureBox]) {
        self.pictures += usize::from(!private.is_empty());
        self.labelled += private.len();
        // What has no label in this picture was not looked at: its run goes on.
        for thing in private {
            let missed = covered(&thing.area, blurred) < COVERED;
            let open = self.open.entry(thing.name.clone()).or_default();
            self.runs += usize::from(missed && !*open);
            self.missed += usize::from(missed);
            *open = missed;
        }
    }

    /// Flashes in a minute of video in which something private was labelled, at this many pictures
    /// a second.
    pub fn per_min(&self, hz: f64) -> f64 {
        self.runs as f64 * 60.0 * hz / (self.pictures as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(x: f32, y: f32, w: f32, h: f32) -> PictureBox {
        PictureBox { x, y, w, h }
    }

    #[test]
    fn cover_is_the_area_under_any_of_them() {
        let face = area(0.2, 0.2, 0.4, 0.4);
        for (by, want) in [
            (vec![], 0.0),
            (vec![area(0.0, 0.0, 1.0, 1.0)], 1.0),
            (vec![area(0.2, 0.2, 0.2, 0.4)], 0.5),
            (vec![area(0.2, 0.2, 0.2, 0.4), area(0.4, 0.2, 0.2, 0.4)], 1.0),
            // What lies on top of each other counts once.
            (vec![area(0.2, 0.2, 0.2, 0.4), area(0.1, 0.1, 0.3, 0.5)], 0.5),
            (vec![area(0.7, 0.7, 0.2, 0.2)], 0.0),
        ] {
            assert!((covered(&face, &by) - want).abs() < 1e-5, "{by:?}");
        }
        assert!((covered(&area(0.5, 0.5, 0.0, 0.1), &[]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_flash_is_a_run_and_counts_once() {
        let plate = |name: &str| Private { name: name.to_owned(), area: area(0.4, 0.4, 0.1, 0.1) };
        let blur = [area(0.3, 0.3, 0.4, 0.4)];
        let mut misses = Misses::default();
        // One plate: covered, missed twice, covered, missed; another: missed once.
        for (private, blurred) in [
            (vec![plate("a")], &blur[..]),
            (vec![plate("a")], &[]),
            (vec![plate("a"), plate("b")], &[]),
            (vec![], &[]),
            (vec![plate("a"), plate("b")], &blur[..]),
            (vec![plate("a")], &[]),
        ] {
            misses.picture(&private, blurred);
        }
        assert_eq!((misses.runs, misses.missed, misses.labelled, misses.pictures), (3, 4, 7, 5));
        // 5 pictures at 5 Hz are 1 s.
        assert!((misses.per_min(5.0) - 180.0).abs() < 1e-9);
        assert!(Misses::default().per_min(5.0) < 1e-9);
    }
}
