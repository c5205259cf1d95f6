//! Where the road's lines meet, without believing anything but how the camera may be mounted.
//!
//! One solid line fits every horizon, and in one picture the dashes beside it are few among cracks
//! and shadows. But dashes that were seen one after the other fill a line. So the points of about
//! a second and a half are put together, and the horizon is where two lines stand out at once, one
//! on either side, as far apart as lines of a lane are.
//!
//! INVARIANT: nothing that was learned comes in here, so what comes out cannot confirm itself.

use temoin_proto::time::MonoTime;

use super::{
    camera::RoadCamera,
    distance::Horizon,
    lane::widths_m,
    lines::{
        BIN_M, Belief, Line, Lines, MarkPoint, Shared, WIDEST_M, histogram, peaks, refine, thinned,
    },
};

/// Points of so many seconds are put together: at 50 km/h a dash and its gap (18 m at the most)
/// have passed.
const WINDOW_S: f64 = 1.4;
/// Of so many pictures at least.
const LEAST_LOOKS: u32 = 4;
/// A longer gap begins again.
const GAP_S: f64 = 0.7;
/// Points that are kept at most.
const MOST_POINTS: usize = 4096;
/// Points that vote, about.
const VOTERS: f64 = 240.0;
/// Points that vote are nearer than this, metres.
const VOTE_M: f64 = 35.0;
/// Steps of the search, degrees of row and column.
const STEP_DEG: (f64, f64) = (0.4, 0.6);
/// How far it goes, in standard deviations of what was configured.
const SIGMAS: f64 = 1.9;
/// How far aside of the picture's middle the road may lead, degrees.
const ASIDE_DEG: f64 = 5.0;
/// Bends that are tried, 1/m: of 670 m and more.
const BENDS: [f64; 3] = [-0.0015, 0.0, 0.0015];
/// What a place holds is compared with those beside it, from the one so many bins away to the
/// other.
const BESIDE: (usize, usize) = (3, 9);
/// The lines of the own lane are this far from the lens at least, metres.
const BESIDE_M: f64 = 0.4;
/// A line holds so many standard deviations of counts more than other places do: over all that is
/// searched, chance alone reaches 4 in one of them. Own choice: validate.
const CHANCE: f64 = 5.0;

/// Rows, length and straightness of a line that counts: a kerb's shadow or a crack is shorter.
const LEAST_ROWS: usize = 12;
const LEAST_LONG_M: f64 = 8.0;
const MOST_SPREAD_M: f64 = 0.15;

/// Points of the last pictures.
#[derive(Clone, Debug, Default)]
pub struct Vanishing {
    points: Vec<MarkPoint>,
    begin: Option<MonoTime>,
    last: Option<MonoTime>,
    looks: u32,
}

/// Where the lines of some pictures meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meeting {
    /// The horizon, as these lines tell it.
    pub horizon: Horizon,
    /// The column that they run towards.
    pub column_px: f64,
    /// The time that these pictures stand for, seconds.
    pub span_s: f64,
}

impl Vanishing {
    /// Takes the markings of one picture; tells something once in a while, where two lines
    /// stand out.
    pub fn look(
        &mut self,
        now: MonoTime,
        camera: &RoadCamera,
        points: &[MarkPoint],
    ) -> Option<Meeting> {
        if self.last.is_some_and(|t| now.secs_from(t) > GAP_S || now <= t) {
            *self = Self::default();
        }
        let begin = *self.begin.get_or_insert(now);
        self.last = Some(now);
        self.looks += 1;
        let sound = |p: &&MarkPoint| p.u.is_finite() && p.v.is_finite() && p.weight > 0.0;
        let free = MOST_POINTS.saturating_sub(self.points.len());
        self.points.extend(points.iter().filter(sound).take(free));
        let span_s = now.secs_from(begin);
        if span_s < WINDOW_S || self.looks < LEAST_LOOKS {
            return None;
        }
        let mut points = std::mem::take(&mut self.points);
        *self = Self::default();
        // Row by row, as fits want them.
        points.sort_by(|a, b| a.v.total_cmp(&b.v));
        let lines = meet(camera, &points)?;
        let horizon = lines.horizon_alone?;
        Some(Meeting { horizon, column_px: lines.column_px, span_s })
    }
}

/// The lines of these points, whose horizon is searched as far as the camera's mount allows.
fn meet(camera: &RoadCamera, points: &[MarkPoint]) -> Option<Lines> {
    let voters = thinned(points, VOTERS);
    let reach_deg = SIGMAS * camera.horizon_sigma_deg;
    let mut best: Option<(f64, Shared)> = None;
    for row_deg in steps(reach_deg, STEP_DEG.0) {
        let row = camera.horizon_px + camera.px_of_deg(row_deg);
        for column_deg in steps(ASIDE_DEG, STEP_DEG.1) {
            let column = camera.middle_px() + camera.px_of_deg(column_deg);
            for bend in BENDS {
                let shared = Shared::at(camera, row, column, bend);
                let strength = strength(camera, &shared, &voters);
                if strength > best.map_or(0.0, |(s, _)| s) {
                    best = Some((strength, shared));
                }
            }
        }
    }
    let (_, shared) = best?;
    let belief = Belief {
        horizon: Horizon {
            row_px: camera.horizon_px,
            sigma_px: camera.px_of_deg(camera.horizon_sigma_deg),
        },
        column_px: (camera.middle_px(), camera.px_of_deg(ASIDE_DEG)),
        bend: (0.0, 0.002),
    };
    let places = peaks(&shared, points);
    let lines = refine(camera, &belief, points, shared, places)?;
    let clear = |l: &&Line| {
        l.rows >= LEAST_ROWS && l.far_m - l.near_m >= LEAST_LONG_M && l.spread_m <= MOST_SPREAD_M
    };
    let on_the_left = lines.lines.iter().filter(clear).any(|l| l.left_m >= BESIDE_M);
    let on_the_right = lines.lines.iter().filter(clear).any(|l| l.left_m <= -BESIDE_M);
    (on_the_left && on_the_right).then_some(lines)
}

/// From minus to plus this, in steps of about so much.
fn steps(reach_deg: f64, step_deg: f64) -> impl Iterator<Item = f64> {
    let n = (reach_deg / step_deg).ceil().clamp(1.0, 30.0);
    (0_u8..=60)
        .map(move |k| f64::from(k) - n)
        .take_while(move |k| *k <= n)
        .map(move |k| k / n * reach_deg)
}

/// How clearly two lines of one lane stand out: the product of what each holds beyond what lies
/// everywhere. 0 where one of them may be chance.
fn strength(camera: &RoadCamera, shared: &Shared, voters: &[&MarkPoint]) -> f64 {
    // As in [`super::lines`]: as many pixels at the picture's bottom for every horizon.
    let bottom_px = camera.bonnet_px.min(camera.height_px);
    let metre = |row: f64| camera.depth_scale(row) / (bottom_px - row).max(1.0);
    let bin_m = BIN_M * metre(shared.row) / metre(camera.horizon_px);
    let bins = histogram(shared, voters.iter().copied(), (VOTE_M, bin_m));
    let two: Vec<f64> = bins.iter().zip(bins.iter().skip(1)).map(|(a, b)| a + b).collect();
    let mut place_m = -WIDEST_M * bin_m / BIN_M;
    let mut lines: Vec<(f64, f64)> = Vec::new();
    for (n, weight) in two.iter().enumerate() {
        place_m += bin_m;
        let beside = |from: usize, to: usize| {
            let part = two.get(from..to.min(two.len())).unwrap_or_default();
            (part.iter().sum::<f64>(), part.iter().fold(0.0, |n: f64, _| n + 1.0))
        };
        let (left, right) = (n.saturating_sub(BESIDE.1), n + BESIDE.0);
        let (below, above) =
            (beside(left, (n + 1).saturating_sub(BESIDE.0)), beside(right, n + 1 + BESIDE.1));
        let usual = (below.0 + above.0) / (below.1 + above.1).max(1.0);
        if weight - usual >= CHANCE * usual.max(1.0).sqrt() {
            lines.push((place_m, weight - usual));
        }
    }
    let (narrow_m, wide_m) = widths_m(camera);
    let mut best = 0.0_f64;
    for (right_m, right) in lines.iter().filter(|(m, _)| *m <= -BESIDE_M) {
        for (left_m, left) in lines.iter().filter(|(m, _)| *m >= BESIDE_M) {
            if (narrow_m..=wide_m).contains(&(left_m - right_m)) {
                best = best.max(left * right);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::{
        camera::tests::{camera, unmeasured},
        lines::tests::{Painted, driven, points},
    };

    fn at(n: u32) -> MonoTime {
        MonoTime::from_secs_f64(5.0 + 0.2 * f64::from(n))
    }

    struct Noise(u64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// Points anywhere on the road, as gravel and shadows make them.
        fn clutter(&mut self, camera: &RoadCamera, count: u32) -> Vec<MarkPoint> {
            let below = camera.height_px - camera.horizon_px;
            (0..count)
                .map(|_| MarkPoint {
                    u: camera.width_px * self.uniform(),
                    v: camera.horizon_px + below * self.uniform(),
                    weight: 0.6,
                })
                .collect()
        }
    }

    /// All that is told in this many looks at lines that are driven along, and clutter.
    fn told(camera: &RoadCamera, tilt_deg: f64, lines: &[Painted], clutter: u32) -> Vec<Meeting> {
        let (mut vanishing, mut noise) = (Vanishing::default(), Noise(3));
        (0..40)
            .filter_map(|n| {
                let mut jitter = || 2.0 * noise.uniform() - 1.0;
                // Of a dashed line each picture shows another part.
                let seen_m = 5.0 * f64::from(n);
                let road = (tilt_deg, 0.01, 0.0005);
                let mut all = driven(camera, lines, (road, seen_m), &mut jitter);
                all.extend(noise.clutter(camera, clutter));
                vanishing.look(at(n), camera, &all)
            })
            .collect()
    }

    fn solid(left_m: f64) -> Painted {
        Painted { left_m, dashes: None }
    }

    #[test]
    fn lines_meet_at_the_horizon_wherever_it_is() {
        let dashed = Painted { left_m: 2.1, dashes: Some((4.0, 12.0)) };
        for (camera, tilt_deg) in [
            (unmeasured(), 0.0),
            (unmeasured(), 2.5),
            (unmeasured(), -4.0),
            (unmeasured(), 4.5),
            (camera(), 0.8),
            (camera(), -1.5),
        ] {
            let lines = [solid(-1.6), dashed, solid(5.6)];
            let meetings = told(&camera, tilt_deg, &lines, 60);
            assert!((4..=6).contains(&meetings.len()), "{tilt_deg}: {meetings:?}");
            for m in meetings {
                let off_deg = camera.deg_of_px(m.horizon.row_px - camera.horizon_px) - tilt_deg;
                assert!(off_deg.abs() < 0.35, "{tilt_deg}: {off_deg} {m:?}");
                assert!((1.4..2.0).contains(&m.span_s), "{m:?}");
            }
        }
    }

    #[test]
    fn where_no_two_lines_stand_out_nothing_is_told() {
        let camera = unmeasured();
        for (name, lines, clutter) in [
            ("nothing", vec![], 0),
            ("one line", vec![solid(-1.7)], 0),
            ("two on one side", vec![solid(-1.7), solid(-5.2)], 0),
            ("clutter", vec![], 120),
        ] {
            let meetings = told(&camera, 1.0, &lines, clutter);
            assert!(meetings.is_empty(), "{name}: {meetings:?}");
        }
    }

    #[test]
    fn a_gap_begins_again_and_strange_points_do_no_harm() {
        let camera = unmeasured();
        let mut vanishing = Vanishing::default();
        let all = points(&camera, &[solid(1.8), solid(-1.8)], (0.0, 0.0, 0.0), &mut || 0.0);
        for n in 0..40 {
            // Each second one is too late.
            let at = MonoTime::from_secs_f64(5.0 + f64::from(n));
            assert_eq!(vanishing.look(at, &camera, &all), None);
        }
        let strange = [
            MarkPoint { u: f64::NAN, v: 500.0, weight: 1.0 },
            MarkPoint { u: 500.0, v: f64::INFINITY, weight: 1.0 },
            MarkPoint { u: 1e300, v: -1e300, weight: 1.0 },
            MarkPoint { u: 500.0, v: 500.0, weight: f64::NAN },
        ];
        for n in 0..40 {
            if let Some(m) = vanishing.look(at(1000 + n), &camera, &strange) {
                assert!(m.horizon.row_px.is_finite() && m.column_px.is_finite(), "{m:?}");
            }
        }
    }
}
