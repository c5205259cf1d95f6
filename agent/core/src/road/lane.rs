//! The own lane: which two of the road's lines it lies between, over time.
//!
//! INVARIANT: a lane is told only where this picture shows it: what was seen before smooths and
//! checks, and lends the width where one of the lines is hidden, for 3 seconds at
//! most.
//! INVARIANT: one picture alone tells no lane: two in a row must agree.

use temoin_proto::time::MonoTime;

use super::{
    camera::RoadCamera,
    distance::Horizon,
    lines::{self, Belief, Line, Lines, MarkPoint},
};

/// Narrowest and widest lane, metres: 2.5 m in works on motorways to 3.75 m and some play
/// (RAA 2008: 3.25 to 3.75 m).
pub const WIDTH_M: (f64, f64) = (2.5, 4.5);
/// The same, as they look where the lens is higher or lower than was thought.
pub(super) fn widths_m(camera: &RoadCamera) -> (f64, f64) {
    (WIDTH_M.0 * (1.0 - camera.height_error), WIDTH_M.1 * (1.0 + camera.height_error))
}

/// What a lane's width is likely to be, metres, before one was seen.
const USUAL_M: f64 = 3.5;
/// How long a width holds for a lane of which one line is hidden.
const WIDTH_S: f64 = 3.0;
/// Longer without a lane: begin again.
const FORGET_S: f64 = 1.0;
/// Time constant of the place in the lane. Own choice: validate.
const OFFSET_S: f64 = 0.25;
/// Time constant of the width. Own choice: validate.
const WIDTH_TAU_S: f64 = 2.0;
/// The vehicle moves sideways by less than this, m/s: a fast lane change takes 3 s for 3.5 m.
const FASTEST_MPS: f64 = 1.8;
/// And a place is measured to within this, metres.
const AGREE_M: f64 = 0.35;

/// The own lane in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnLane {
    /// All that the road's lines tell.
    pub lines: Lines,
    /// Middle of the vehicle against the middle of the lane, metres, positive to the left;
    /// smoothed.
    pub offset_m: f64,
    /// Width, metres; smoothed.
    pub width_m: f64,
    /// The middle of the lane in this picture, metres to the left of the lens.
    pub middle_left_m: f64,
    /// Whether both lines were seen.
    pub both: bool,
    /// 0 to 1.
    pub confidence: f64,
}

/// What one picture says.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    offset_m: f64,
    width_m: f64,
    both: bool,
    confidence: f64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: MonoTime,
    /// When both lines were seen last.
    width_at: MonoTime,
    offset_m: f64,
    width_m: f64,
    column_px: f64,
    bend: f64,
}

/// The own lane over time.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneTracker {
    known: Option<Known>,
    /// A lane that the next picture must confirm.
    pending: Option<(MonoTime, Candidate)>,
}

impl LaneTracker {
    /// Takes the markings of one picture; `horizon` and `direction_px` are what is believed of the
    /// camera.
    pub fn look(
        &mut self,
        now: MonoTime,
        camera: &RoadCamera,
        (horizon, direction_px): (Horizon, f64),
        points: &[MarkPoint],
    ) -> Option<OwnLane> {
        if self.known.is_some_and(|k| now.secs_from(k.at) > FORGET_S) {
            self.known = None;
        }
        let belief = match self.known {
            Some(known) => Belief {
                horizon,
                column_px: (known.column_px, camera.px_of_deg(1.2)),
                bend: (known.bend, 0.001),
            },
            None => Belief {
                horizon,
                column_px: (direction_px, camera.px_of_deg(3.0)),
                bend: (0.0, 0.002),
            },
        };
        let lines = lines::fit(camera, &belief, points)?;
        let seen = self.candidate(now, camera, &lines)?;
        let known = self.confirm(now, &seen)?;
        self.known = Some(Known { column_px: lines.column_px, bend: lines.bend, ..known });
        Some(OwnLane {
            middle_left_m: -camera.side_offset_m - seen.offset_m,
            offset_m: known.offset_m,
            width_m: known.width_m,
            both: seen.both,
            confidence: seen.confidence,
            lines,
        })
    }

    /// The two lines, or the one, that the own lane is at.
    fn candidate(&self, now: MonoTime, camera: &RoadCamera, all: &Lines) -> Option<Candidate> {
        let usable: Vec<&Line> = all.lines.iter().filter(|l| is_usable(l)).collect();
        let usual_m = self.known.map_or(USUAL_M, |k| k.width_m);
        let offset_m = |middle_left_m: f64| -camera.side_offset_m - middle_left_m;
        let (narrow_m, wide_m) = widths_m(camera);
        let mut best: Option<(f64, Candidate)> = None;
        for left in &usable {
            for right in &usable {
                let width_m = left.left_m - right.left_m;
                let middle_m = f64::midpoint(left.left_m, right.left_m);
                let rows = rows(left) + rows(right);
                let long = left.far_m - left.near_m >= 6.0 || right.far_m - right.near_m >= 6.0;
                let own = offset_m(middle_m).abs() <= width_m / 2.0 + 0.2;
                let wide = (narrow_m..=wide_m).contains(&width_m);
                if !(own && wide && long && rows >= 14.0) {
                    continue;
                }
                let score = rows - 20.0 * (width_m - usual_m).abs();
                let spread_m = left.spread_m.max(right.spread_m);
                let confidence = (rows / 40.0).min(1.0) * (1.0 - spread_m / 0.3).clamp(0.3, 0.95);
                if best.as_ref().is_none_or(|(s, _)| score > *s) {
                    let offset_m = offset_m(middle_m);
                    best = Some((score, Candidate { offset_m, width_m, both: true, confidence }));
                }
            }
        }
        best.map(|(_, both)| both).or_else(|| self.one_line(now, camera, &usable))
    }

    /// With one line, where the other was seen a moment ago.
    fn one_line(&self, now: MonoTime, camera: &RoadCamera, usable: &[&Line]) -> Option<Candidate> {
        let known = self.known.filter(|k| now.secs_from(k.width_at) <= WIDTH_S)?;
        let mut best: Option<(f64, Candidate)> = None;
        for line in usable.iter().filter(|l| l.far_m - l.near_m >= 6.0) {
            for side in [-0.5, 0.5] {
                let middle_m = line.left_m + side * known.width_m;
                let offset_m = -camera.side_offset_m - middle_m;
                let off_m = (offset_m - known.offset_m).abs();
                if off_m <= AGREE_M && best.as_ref().is_none_or(|(o, _)| off_m < *o) {
                    let confidence = 0.5 * (rows(line) / 30.0).min(1.0);
                    let width_m = known.width_m;
                    best = Some((off_m, Candidate { offset_m, width_m, both: false, confidence }));
                }
            }
        }
        best.map(|(_, one)| one)
    }

    /// Takes what agrees with the picture before, smoothed.
    fn confirm(&mut self, now: MonoTime, seen: &Candidate) -> Option<Known> {
        if let Some(mut known) = self.known {
            let dt_s = now.secs_from(known.at).max(0.0);
            let reach_m = AGREE_M + FASTEST_MPS * dt_s;
            // Over a line: the vehicle is now in the lane beside.
            let lanes = ((seen.offset_m - known.offset_m) / known.width_m).round().clamp(-1.0, 1.0);
            let from_m = known.offset_m + lanes * known.width_m;
            let width_agrees = (seen.width_m - known.width_m).abs() <= 0.6;
            if (seen.offset_m - from_m).abs() <= reach_m && width_agrees {
                let follow = |tau_s: f64| 1.0 - (-dt_s / tau_s).exp();
                known.offset_m = from_m + (seen.offset_m - from_m) * follow(OFFSET_S);
                if seen.both {
                    known.width_m += (seen.width_m - known.width_m) * follow(WIDTH_TAU_S);
                    known.width_at = now;
                }
                known.at = now;
                self.pending = None;
                return Some(known);
            }
        }
        let before = self.pending.replace((now, *seen)).filter(|(at, before)| {
            let dt_s = now.secs_from(*at);
            dt_s <= FORGET_S
                && dt_s > 0.0
                && (before.offset_m - seen.offset_m).abs() <= AGREE_M
                && (before.width_m - seen.width_m).abs() <= 0.4
        });
        before.filter(|_| seen.both).map(|_| Known {
            at: now,
            width_at: now,
            offset_m: seen.offset_m,
            width_m: seen.width_m,
            column_px: 0.0,
            bend: 0.0,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows of a picture")]
const fn rows(line: &Line) -> f64 {
    line.rows as f64
}

/// Long and straight enough for a marking, and near enough for its place to be sure.
fn is_usable(line: &Line) -> bool {
    line.rows >= 6
        && line.far_m - line.near_m >= 2.5
        && line.near_m <= 25.0
        && line.spread_m <= 0.15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::{
        camera::tests::camera,
        horizon::HorizonLearner,
        lines::tests::{Painted, points},
    };

    fn at(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(5.0 + s)
    }

    /// A road with a solid line on the right and a dashed one on the left of a vehicle that is
    /// `offset_m` to the left of its lane's middle.
    fn road(offset_m: f64, width_m: f64) -> Vec<Painted> {
        vec![
            Painted { left_m: width_m / 2.0 - offset_m, dashes: Some((6.0, 12.0)) },
            Painted { left_m: -width_m / 2.0 - offset_m, dashes: None },
        ]
    }

    struct Drive {
        tracker: LaneTracker,
        learner: HorizonLearner,
        n: u32,
    }

    impl Drive {
        fn new() -> Self {
            Self { tracker: LaneTracker::default(), learner: HorizonLearner::default(), n: 0 }
        }

        fn look(&mut self, t_s: f64, lines: &[Painted], road: (f64, f64, f64)) -> Option<OwnLane> {
            let camera = camera();
            let mut noise = || {
                self.n += 1;
                f64::from(self.n * 37 % 11) / 6.0 - 0.8
            };
            let points = points(&camera, lines, road, &mut noise);
            let believed = (self.learner.horizon(&camera), self.learner.direction(&camera).0);
            self.tracker.look(at(t_s), &camera, believed, &points)
        }
    }

    #[test]
    fn the_place_in_the_lane_is_right_and_needs_two_pictures() {
        for (offset_m, width_m, geometry) in [
            (0.0, 3.5, (0.0, 0.0, 0.0)),
            (0.6, 3.75, (0.5, 0.01, 0.0)),
            (-0.8, 3.0, (-0.5, -0.01, 0.002)),
            (0.2, 2.75, (0.8, 0.02, -0.002)),
        ] {
            let mut drive = Drive::new();
            let lines = road(offset_m, width_m);
            assert_eq!(drive.look(0.0, &lines, geometry), None);
            for n in 1..6 {
                let lane = drive.look(0.2 * f64::from(n), &lines, geometry).unwrap();
                assert!((lane.offset_m - offset_m).abs() < 0.12, "{offset_m}: {lane:?}");
                assert!((lane.width_m - width_m).abs() < 0.15, "{width_m}: {lane:?}");
                assert!(lane.both && lane.confidence > 0.5, "{lane:?}");
            }
        }
    }

    #[test]
    fn a_drift_is_followed_over_the_line() {
        let mut drive = Drive::new();
        let mut told = Vec::new();
        for n in 0..40 {
            let t_s = 0.2 * f64::from(n);
            // 0.6 m/s to the left, from the middle over the line into the lane beside.
            let offset_m = (0.6 * (t_s - 1.0)).max(0.0);
            let in_lane_m = if offset_m > 1.75 { offset_m - 3.5 } else { offset_m };
            let mut lines = road(in_lane_m, 3.5);
            lines.push(Painted { left_m: 5.25 - in_lane_m, dashes: None });
            lines.push(Painted { left_m: -5.25 - in_lane_m, dashes: None });
            if let Some(lane) = drive.look(t_s, &lines, (0.0, 0.0, 0.0)) {
                told.push(lane.offset_m - in_lane_m);
            }
        }
        assert!(told.len() >= 38, "{}", told.len());
        let near = told.iter().filter(|off| off.abs() < 0.3).count();
        // On the line itself it may be in either lane.
        assert!(near + 3 >= told.len(), "{told:?}");
    }

    #[test]
    fn what_is_no_lane_is_none() {
        let line = |left_m| Painted { left_m, dashes: None };
        for (name, lines) in [
            ("nothing", vec![]),
            ("one line", vec![line(1.8)]),
            ("too narrow", vec![line(0.9), line(-0.9)]),
            ("too wide", vec![line(2.6), line(-2.6)]),
            ("a lane that is not ours", vec![line(6.0), line(2.6)]),
            (
                "specks",
                vec![
                    Painted { left_m: 1.8, dashes: Some((0.3, 50.0)) },
                    Painted { left_m: -1.8, dashes: Some((0.3, 50.0)) },
                ],
            ),
        ] {
            let mut drive = Drive::new();
            for n in 0..5 {
                let lane = drive.look(0.2 * f64::from(n), &lines, (0.0, 0.0, 0.0));
                assert_eq!(lane, None, "{name}");
            }
        }
    }

    #[test]
    fn a_hidden_line_is_lent_for_a_while_only() {
        let mut drive = Drive::new();
        let lines = road(0.3, 3.5);
        let mut last_one = 0.0;
        for n in 0..40 {
            let t_s = 0.2 * f64::from(n);
            let seen = if t_s < 2.0 { &lines[..] } else { &lines[1..] };
            if let Some(lane) = drive.look(t_s, seen, (0.0, 0.0, 0.0)) {
                assert!((lane.offset_m - 0.3).abs() < 0.15, "{t_s}: {lane:?}");
                assert_eq!(lane.both, t_s < 2.0, "{t_s}");
                last_one = t_s;
            }
        }
        assert!((4.0..5.2).contains(&last_one), "{last_one}");
    }
}
