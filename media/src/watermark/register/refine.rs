//! Direct alignment: the map is moved until the leak, without local mean and contrast, lies on the
//! original. Every pixel with a gradient takes part, so dark and flat pictures with few features are
//! aligned as well; pixels that differ too much (captions, stickers, glare) lose their say.
//!
//! INVARIANT: the map that comes out is as good as the one that went in, by the likeness at the
//! level, or it is that one.

use std::rc::Rc;

use opencv::{
    core::{self, Mat},
    prelude::*,
};

use super::{
    Gray, RegisterError,
    homography::Homography,
    plane::{LeakFrame, Level, Plane, normalised, scaled},
    real,
};

/// Blocks of a picture along a side: each gives its own points, so that one busy corner does not
/// decide alone.
const BLOCKS: usize = 12;
/// Most points of a block.
const POINTS: usize = 28;
/// Steps at a level at most.
const STEPS: usize = 8;
/// A step that moves no corner by more than this ends the search at a level, its pixels.
const STILL_PX: f64 = 0.02;
/// After a move of less than this another warp would not be better, the level's pixels.
const ENOUGH_PX: f64 = 0.1;
/// Differences beyond so many deviations do not count (Tukey's biweight has 95 % efficiency there).
const TUKEY: f32 = 4.685;
/// Keeps what the picture does not tell where it is, part of the mean of the diagonal.
const DAMPING: f64 = 1e-4;
/// Steps of a correction that frames share.
const SHARED_STEPS: usize = 5;
/// Least part of the picture that has to be seen.
pub(super) const LEAST_SEEN: f64 = 0.05;

/// A pixel to align by.
#[derive(Clone, Copy)]
struct Anchor {
    x: f64,
    y: f64,
    value: f32,
    /// The gradient along each of the map's eight parameters.
    slope: [f64; 8],
}

/// A frame of the original at a level.
pub(super) struct Template {
    pub(super) plane: Plane,
    anchors: Vec<Anchor>,
    level: Level,
    /// The working size.
    size: (u32, u32),
}

impl Template {
    /// Of a picture of the working size.
    pub(super) fn new(gray: &Gray, level: &Level) -> Result<Self, RegisterError> {
        let plane = normalised(&scaled(gray, level.size)?, None)?;
        let anchors = anchors_of(&plane, level);
        Ok(Self { plane, anchors, level: *level, size: (gray.width, gray.height) })
    }

    /// A better map, and how alike the leak is under it.
    fn refine(
        &self,
        leak: &LeakFrame,
        map: &Homography,
        rounds: usize,
        prior: Option<&Prior>,
    ) -> Result<(Homography, f64), RegisterError> {
        let mut seen = leak.plane_at(map, &self.level)?;
        let mut best = (*map, self.plane.likeness(&seen, LEAST_SEEN));
        let back = (1.0 / self.level.scale.0, 1.0 / self.level.scale.1);
        for _ in 0..rounds {
            let Some(step) = self.step_towards(&seen, &best.0, prior)? else { break };
            let moved = best.0.after(&step.rescaled(back, back));
            if moved.corners(self.size).is_none() {
                break;
            }
            seen = leak.plane_at(&moved, &self.level)?;
            let alike = self.plane.likeness(&seen, LEAST_SEEN);
            if alike <= best.1 {
                break;
            }
            let change = Homography::IDENTITY.distance(&step, self.level.size);
            best = (moved, alike);
            if change < ENOUGH_PX {
                break;
            }
        }
        Ok(best)
    }

    /// The move of the template's pixels that makes `seen` like it; `None` where it shows too little.
    fn step_towards(
        &self,
        seen: &Plane,
        map: &Homography,
        prior: Option<&Prior>,
    ) -> Result<Option<Homography>, RegisterError> {
        // How far the map already is from where it began, in the level's pixels.
        let since = prior.and_then(|prior| {
            let moved = prior.begin.inverse()?.after(map);
            Some((moved.rescaled(self.level.scale, self.level.scale), prior.bend))
        });
        let mut step = Homography::IDENTITY;
        for _ in 0..STEPS {
            let Some(mut sums) = self.sums(seen, &step) else { return Ok(None) };
            if let Some((since, bend)) = &since {
                sums.hold(&parameters(&since.after(&step), &self.level), *bend);
            }
            let Some(delta) = sums.solve()? else { return Ok(None) };
            let moved = step.after(&in_pixels(&delta, &self.level));
            let change = moved.distance(&step, self.level.size);
            let most = 0.25 * f64::from(self.level.size.0);
            let far = moved.distance(&Homography::IDENTITY, self.level.size) > most;
            if !change.is_finite() || far {
                return Ok(None);
            }
            step = moved;
            if change < STILL_PX {
                break;
            }
        }
        Ok(Some(step))
    }

    /// What this frame says about a move of the template's pixels, after `step`.
    fn sums(&self, seen: &Plane, step: &Homography) -> Option<Sums> {
        let mut errors = Vec::with_capacity(self.anchors.len());
        for anchor in &self.anchors {
            let value = step.apply((anchor.x, anchor.y)).and_then(|(x, y)| seen.sample(x, y));
            if let Some(value) = value {
                errors.push((anchor, value - anchor.value));
            }
        }
        let enough = errors.len() >= 60 && errors.len() * 12 >= self.anchors.len();
        enough.then(|| Sums::of(&errors))
    }
}

/// Where a map began, and how far the screen may have bent since: turning, moving and growing are
/// free, because hands do that; stretching, shearing and slanting are not.
struct Prior {
    begin: Homography,
    /// The deviation, part of half of the longer side.
    bend: f64,
}

/// One correction of the original's pixels for all of these maps: the screen stands still and so do
/// its errors, and what one frame does not show another does. `None` where they show too little, or
/// would not be more alike.
pub(super) fn shared(
    frames: &[(Rc<Template>, LeakFrame, Homography)],
) -> Result<Option<Homography>, RegisterError> {
    let (mut all, mut best) = (Homography::IDENTITY, (None, f64::NEG_INFINITY));
    for _ in 0..=SHARED_STEPS {
        let (mut sums, mut level, mut alike) = (Sums::default(), None, 0.0);
        for (template, leak, map) in frames {
            let seen = leak.plane_at(&map.after(&all), &template.level)?;
            alike += template.plane.likeness(&seen, LEAST_SEEN);
            if let Some(more) = template.sums(&seen, &Homography::IDENTITY) {
                sums.add(&more);
                level = Some(template.level);
            }
        }
        if alike <= best.1 {
            break;
        }
        best = (Some(all), alike);
        let (Some(level), Some(delta)) = (level, sums.solve()?) else { break };
        let back = (1.0 / level.scale.0, 1.0 / level.scale.1);
        let step = in_pixels(&delta, &level);
        let change = step.distance(&Homography::IDENTITY, level.size);
        if !change.is_finite() || change > 0.1 * f64::from(level.size.0) {
            break;
        }
        all = all.after(&step.rescaled(back, back));
    }
    Ok(best.0)
}

/// The pixels with the largest gradients of each block.
fn anchors_of(plane: &Plane, level: &Level) -> Vec<Anchor> {
    let width = plane.width;
    let height = plane.values.len() / width.max(1);
    let (cx, cy) = (real(width) / 2.0 - 0.5, real(height) / 2.0 - 0.5);
    let unit = unit_of(level);
    let mut blocks: Vec<Vec<(f32, Anchor)>> = vec![Vec::new(); BLOCKS * BLOCKS];
    let at = |column: usize, row: usize| plane.values.get(row * width + column).copied();
    for row in 1..height.saturating_sub(1) {
        for column in 1..width.saturating_sub(1) {
            let (Some(l), Some(r), Some(u), Some(d), Some(value)) = (
                at(column - 1, row),
                at(column + 1, row),
                at(column, row - 1),
                at(column, row + 1),
                at(column, row),
            ) else {
                continue;
            };
            let (gx, gy) = ((r - l) / 2.0, (d - u) / 2.0);
            let strength = gx * gx + gy * gy;
            if strength < 1e-3 {
                continue;
            }
            let (x, y) = (real(column), real(row));
            let (a, b) = ((x - cx) / unit, (y - cy) / unit);
            let (gx, gy) = (f64::from(gx) * unit, f64::from(gy) * unit);
            let along = gx * a + gy * b;
            let slope = [gx * a, gx * b, gx, gy * a, gy * b, gy, -along * a, -along * b];
            let block = row * BLOCKS / height * BLOCKS + column * BLOCKS / width;
            if let Some(block) = blocks.get_mut(block) {
                block.push((strength, Anchor { x, y, value, slope }));
            }
        }
    }
    let mut out = Vec::new();
    for mut block in blocks {
        if block.len() > POINTS {
            block.select_nth_unstable_by(POINTS, |a, b| b.0.total_cmp(&a.0));
            block.truncate(POINTS);
        }
        out.extend(block.into_iter().map(|(_, anchor)| anchor));
    }
    out
}

/// Half of the longer side: places are -1 to 1 in it, which keeps the equations well balanced.
fn unit_of(level: &Level) -> f64 {
    f64::from(level.size.0.max(level.size.1)) / 2.0
}

/// The parameters as a map between pixels of the level.
fn in_pixels(delta: &[f64; 8], level: &Level) -> Homography {
    let [a, b, c, d, e, f, g, h] = *delta;
    let unit = unit_of(level);
    let (cx, cy) = (f64::from(level.size.0) / 2.0 - 0.5, f64::from(level.size.1) / 2.0 - 0.5);
    let to = Homography([1.0 / unit, 0.0, -cx / unit, 0.0, 1.0 / unit, -cy / unit, 0.0, 0.0, 1.0]);
    let back = Homography([unit, 0.0, cx, 0.0, unit, cy, 0.0, 0.0, 1.0]);
    back.after(&Homography([1.0 + a, b, c, d, 1.0 + e, f, g, h, 1.0]).after(&to))
}

/// A deviation that outliers do not change: from the median of the sizes.
fn deviation(errors: &[(&Anchor, f32)]) -> f32 {
    let mut sizes: Vec<f32> = errors.iter().map(|(_, error)| error.abs()).collect();
    let middle = sizes.len() / 2;
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f32::total_cmp);
    (*median * 1.4826).max(0.05)
}

/// The parameters of a map between pixels of the level.
fn parameters(map: &Homography, level: &Level) -> [f64; 8] {
    let unit = unit_of(level);
    let (cx, cy) = (f64::from(level.size.0) / 2.0 - 0.5, f64::from(level.size.1) / 2.0 - 0.5);
    let to = Homography([1.0 / unit, 0.0, -cx / unit, 0.0, 1.0 / unit, -cy / unit, 0.0, 0.0, 1.0]);
    let back = Homography([unit, 0.0, cx, 0.0, unit, cy, 0.0, 0.0, 1.0]);
    let [a, b, c, d, e, f, g, h, _] = to.after(&map.after(&back)).0;
    [a - 1.0, b, c, d, e - 1.0, f, g, h]
}

/// Sums of weighted least squares, each difference in deviations.
#[derive(Default)]
struct Sums {
    normal: [[f64; 8]; 8],
    right: [f64; 8],
}

impl Sums {
    fn of(errors: &[(&Anchor, f32)]) -> Self {
        let scale = deviation(errors);
        let variance = f64::from(scale * scale);
        let mut sums = Self::default();
        for (anchor, error) in errors {
            let part = error / (TUKEY * scale);
            if part.abs() >= 1.0 {
                continue;
            }
            let weight = f64::from((1.0 - part * part).powi(2)) / variance;
            let error = f64::from(*error);
            let rows = sums.normal.iter_mut().zip(&anchor.slope).zip(&mut sums.right);
            for ((row, slope), right) in rows {
                let weighted = weight * slope;
                for (cell, other) in row.iter_mut().zip(&anchor.slope) {
                    *cell += weighted * other;
                }
                *right -= weighted * error;
            }
        }
        sums
    }

    fn add(&mut self, other: &Self) {
        for (row, more) in self.normal.iter_mut().zip(&other.normal) {
            for (cell, more) in row.iter_mut().zip(more) {
                *cell += more;
            }
        }
        for (cell, more) in self.right.iter_mut().zip(&other.right) {
            *cell += more;
        }
    }

    /// Pulls what is no turn, move or growth towards nothing; `now` is how far it is.
    fn hold(&mut self, now: &[f64; 8], bend: f64) {
        const HELD: [[f64; 8]; 4] = [
            [1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        ];
        let weight = 1.0 / (bend * bend);
        for held in &HELD {
            let amount: f64 = held.iter().zip(now).map(|(h, n)| h * n).sum();
            for ((row, h), right) in self.normal.iter_mut().zip(held).zip(&mut self.right) {
                for (cell, other) in row.iter_mut().zip(held) {
                    *cell += weight * h * other;
                }
                *right -= weight * h * amount;
            }
        }
    }

    /// The step that they ask for.
    fn solve(&self) -> Result<Option<[f64; 8]>, RegisterError> {
        let mut normal = self.normal;
        let trace: f64 = normal.iter().enumerate().filter_map(|(n, row)| row.get(n)).sum();
        if !(trace.is_finite() && trace > 0.0) {
            return Ok(None);
        }
        for (n, row) in normal.iter_mut().enumerate() {
            if let Some(cell) = row.get_mut(n) {
                *cell += DAMPING * trace / 8.0;
            }
        }
        let left = Mat::from_slice_2d(&normal)?;
        let right = Mat::from_slice_2d(&self.right.map(|v| [v]))?;
        let mut out = Mat::default();
        if !core::solve(&left, &right, &mut out, core::DECOMP_CHOLESKY)? {
            return Ok(None);
        }
        let values: Option<[f64; 8]> = out.data_typed::<f64>()?.try_into().ok();
        Ok(values.filter(|values| values.iter().all(|v| v.is_finite())))
    }
}

/// Through all levels, the smallest first. `templates` are of one frame, the largest first.
pub(super) fn refine_through(
    templates: &[&Template],
    leak: &LeakFrame,
    map: &Homography,
    bend: Option<f64>,
) -> Result<(Homography, f64), RegisterError> {
    let mut best = (*map, 0.0);
    let prior = bend.map(|bend| Prior { begin: *map, bend });
    for template in templates.iter().rev() {
        best = template.refine(leak, &best.0, 3, prior.as_ref())?;
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::super::test_warps::{scene, warp};
    use super::*;

    #[test]
    fn small_moves_are_undone() {
        let picture = scene(0, 320, 240);
        let level = Level::halves((320, 240), 60);
        let to = [(3.0, -2.0), (322.0, 4.0), (317.0, 243.0), (-4.0, 236.0)];
        let truth =
            Homography::of_corners(super::super::homography::corners_of((320, 240)), to).unwrap();
        let leak = LeakFrame::new(&warp(&picture, &truth, (320, 240))).unwrap();
        let templates: Vec<_> = level.iter().map(|l| Template::new(&picture, l).unwrap()).collect();
        let all: Vec<_> = templates.iter().collect();
        let (found, alike) = refine_through(&all, &leak, &Homography::IDENTITY, None).unwrap();
        let off = found.distance(&truth, (320, 240));
        assert!(off < 0.25 && alike > 0.9, "{off} px, {alike}");
    }
}
