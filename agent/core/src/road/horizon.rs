//! The horizon and the direction of travel in the picture, settled over time from where the own
//! lane's lines meet, and checked by the vehicles on the road.
//!
//! One picture's lines can be wrong: a barrier, a shadow, a crack. So what counts is where the
//! readings of many seconds agree (their median, and how many lie near it), and a horizon that a
//! minority of readings tells is none.
//!
//! The check knows nothing of lines: a vehicle whose box is `w` wide and that is `W` metres wide
//! stands `w h / W` below the horizon of a lens `h` metres above the road, whatever the lens.
//! Where the vehicles say something else than the lines, the horizon is as unsure as they are
//! apart.
//!
//! INVARIANT: what is learned stays within [`HorizonLearner::reach_deg`] of what was configured,
//! and within [`MOST_ASIDE_DEG`] of the picture's middle: a wrong lane can mislead it by that much
//! and no more. INVARIANT: only what this drive's pictures show is learned; it is forgotten with
//! the process.

use std::collections::VecDeque;

use super::{camera::RoadCamera, distance::Horizon, vanishing::Meeting};

/// How far aside of the picture's middle the direction of travel may be, degrees.
pub const MOST_ASIDE_DEG: f64 = 5.0;
/// How far from the configured horizon it may go, in its standard deviations: 2.5 degrees where it
/// was measured. A camera that is further off was measured wrongly or has been turned.
const REACH: f64 = 2.5;
/// What is left after long learning: load and tyres, a road that is no plane, degrees. Own choice:
/// validate.
const LEARNED_DEG: f64 = 0.2;
/// Pitch by braking, acceleration and bumps around the learned one, degrees. Own choice: validate.
const MOVING_DEG: f64 = 0.35;
/// Readings of so many seconds settle a horizon. Own choice: validate.
const SETTLE_S: f64 = 3.0;
/// Readings are kept for so many seconds in which lines were seen.
const KEEP_S: f64 = 30.0;
/// And at most so many, whatever the rate.
const MOST_READINGS: usize = 256;
/// And so many of them at least.
const SETTLE_READINGS: usize = 3;
/// A reading this near to the median agrees with it, degrees: bumps of twice [`MOVING_DEG`].
const AGREE_DEG: f64 = 0.75;
/// So much of the time must agree. Own choice: half of it would be a coin.
const LEAST_AGREEING: f64 = 0.65;
/// Readings this far apart in time err on their own, seconds: longer than a bump.
const INDEPENDENT_S: f64 = 1.0;
/// A reading that knows less than this tells nothing, degrees.
const WORST_READING_DEG: f64 = 1.0;
/// The direction of travel before it was learned, and after, degrees: an installer's eye, and how
/// much a vehicle wanders in its lane.
const ASIDE_DEG: (f64, f64) = (2.0, 0.7);
/// One picture's lines, before others agreed with them, may be wrong by this, degrees. Own choice:
/// validate.
const UNSETTLED_DEG: f64 = 1.0;

/// What the lines of some pictures said.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The time it stands for.
    step_s: f64,
    /// Degrees below the configured horizon.
    offset_deg: f64,
    /// Degrees to the right of the picture's middle.
    aside_deg: f64,
}

/// What the vehicles of one picture said.
#[derive(Clone, Copy, Debug)]
struct Check {
    offset_deg: f64,
    sigma_deg: f64,
}

/// A horizon on which the readings agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled {
    /// Degrees below the configured horizon.
    pub offset_deg: f64,
    /// One standard deviation of the mean horizon, degrees; single pictures pitch around it.
    pub sigma_deg: f64,
    /// Degrees to the right of the picture's middle.
    pub aside_deg: f64,
}

/// What has been learned in this drive.
#[derive(Clone, Debug, Default)]
pub struct HorizonLearner {
    readings: VecDeque<Reading>,
    checks: VecDeque<Check>,
    settled: Option<Settled>,
}

impl HorizonLearner {
    /// How far from the configured horizon the learned one may be, degrees.
    pub fn reach_deg(camera: &RoadCamera) -> f64 {
        REACH * camera.horizon_sigma_deg
    }

    /// The horizon of a picture in which nothing else tells it.
    pub fn horizon(&self, camera: &RoadCamera) -> Horizon {
        let (offset_deg, sigma_deg) = match self.settled {
            Some(s) => (s.offset_deg, s.sigma_deg),
            // The place where the first readings were is the best to look at next.
            None => (self.median(|r| r.offset_deg).unwrap_or(0.0), camera.horizon_sigma_deg),
        };
        Horizon {
            row_px: camera.horizon_px + camera.px_of_deg(offset_deg),
            sigma_px: camera.px_of_deg(sigma_deg.hypot(MOVING_DEG)),
        }
    }

    /// How sure a horizon is that one picture's lines told.
    pub fn of_lines(&self, camera: &RoadCamera, lines: Horizon) -> Horizon {
        let doubt_deg = match self.settled {
            Some(s) => s.sigma_deg.min(UNSETTLED_DEG),
            None => camera.horizon_sigma_deg.min(UNSETTLED_DEG),
        };
        Horizon { sigma_px: lines.sigma_px.hypot(camera.px_of_deg(doubt_deg)), ..lines }
    }

    /// The column that the vehicle drives towards on a straight road, pixels, and one standard
    /// deviation of it, degrees.
    pub fn direction(&self, camera: &RoadCamera) -> (f64, f64) {
        let (aside_deg, sigma_deg) =
            self.settled.map_or((0.0, ASIDE_DEG.0), |s| (s.aside_deg, ASIDE_DEG.1));
        (camera.middle_px() + camera.px_of_deg(aside_deg), sigma_deg)
    }

    /// Where the readings agree; `None` as long as they do not, or are too few.
    pub const fn settled(&self) -> Option<Settled> {
        self.settled
    }

    /// Takes where the lines of some pictures meet.
    pub fn learn(&mut self, camera: &RoadCamera, lines: &Meeting) {
        let offset_deg = camera.deg_of_px(lines.horizon.row_px - camera.horizon_px);
        let aside_deg = camera.deg_of_px(lines.column_px - camera.middle_px());
        let sigma_deg = camera.deg_of_px(lines.horizon.sigma_px);
        let step_s = lines.span_s;
        let sound = offset_deg.is_finite() && aside_deg.is_finite();
        if !sound
            || sigma_deg.is_nan()
            || sigma_deg > WORST_READING_DEG
            || step_s.is_nan()
            || step_s <= 0.0
        {
            return;
        }
        self.readings.push_back(Reading { step_s, offset_deg, aside_deg });
        let seen_s = |all: &VecDeque<Reading>| all.iter().map(|r| r.step_s).sum::<f64>();
        while self.readings.len() > MOST_READINGS || seen_s(&self.readings) > KEEP_S {
            self.readings.pop_front();
        }
        self.settle(camera);
    }

    /// Takes where the vehicles of one picture say that the horizon is, from their widths.
    pub fn check(&mut self, camera: &RoadCamera, vehicles: Horizon) {
        let offset_deg = camera.deg_of_px(vehicles.row_px - camera.horizon_px);
        let sigma_deg = camera.deg_of_px(vehicles.sigma_px);
        if offset_deg.is_finite() && sigma_deg.is_finite() {
            self.checks.push_back(Check { offset_deg, sigma_deg });
            while self.checks.len() > MOST_READINGS {
                self.checks.pop_front();
            }
            self.settle(camera);
        }
    }

    fn settle(&mut self, camera: &RoadCamera) {
        self.settled = self.agreed(camera);
    }

    fn agreed(&self, camera: &RoadCamera) -> Option<Settled> {
        let seen_s: f64 = self.readings.iter().map(|r| r.step_s).sum();
        let median_deg = self.median(|r| r.offset_deg)?;
        let near =
            || self.readings.iter().filter(move |r| (r.offset_deg - median_deg).abs() <= AGREE_DEG);
        let near_s: f64 = near().map(|r| r.step_s).sum();
        if near_s < SETTLE_S || near().count() < SETTLE_READINGS || near_s < LEAST_AGREEING * seen_s
        {
            return None;
        }
        let mean =
            |of: &dyn Fn(&Reading) -> f64| near().map(|r| r.step_s * of(r)).sum::<f64>() / near_s;
        let mean_deg = mean(&|r| r.offset_deg);
        let spread_deg = mean(&|r| (r.offset_deg - mean_deg).powi(2)).sqrt();
        let reach_deg = Self::reach_deg(camera);
        let offset_deg = mean_deg.clamp(-reach_deg, reach_deg);
        let sigma_deg = LEARNED_DEG
            .hypot(spread_deg / (near_s / INDEPENDENT_S).sqrt())
            .hypot(mean_deg - offset_deg)
            .hypot(self.against_vehicles_deg(mean_deg));
        let aside_deg =
            self.median(|r| r.aside_deg).unwrap_or(0.0).clamp(-MOST_ASIDE_DEG, MOST_ASIDE_DEG);
        Some(Settled { offset_deg, sigma_deg, aside_deg })
    }

    /// How far the vehicles say that the horizon is from where the lines say, beyond what both
    /// allow.
    fn against_vehicles_deg(&self, lines_deg: f64) -> f64 {
        let Some(offset_deg) = median(self.checks.iter().map(|c| (c.offset_deg, 1.0))) else {
            return 0.0;
        };
        let sigma_deg = median(self.checks.iter().map(|c| (c.sigma_deg, 1.0))).unwrap_or(0.0);
        let allowed_deg = 2.0 * sigma_deg.hypot(LEARNED_DEG);
        ((offset_deg - lines_deg).abs() - allowed_deg).max(0.0)
    }

    fn median(&self, of: impl Fn(&Reading) -> f64) -> Option<f64> {
        median(self.readings.iter().map(|r| (of(r), r.step_s)))
    }
}

/// The value with as much weight below it as above.
fn median(weighted: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let mut all: Vec<(f64, f64)> = weighted.collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = all.iter().map(|(_, w)| w).sum::<f64>() / 2.0;
    let mut below = 0.0;
    all.iter()
        .find(|(_, w)| {
            below += w;
            below >= half
        })
        .map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::camera::tests::{camera, unmeasured};

    fn told(camera: &RoadCamera, deg: f64) -> Horizon {
        Horizon { row_px: camera.horizon_px + camera.px_of_deg(deg), sigma_px: 4.0 }
    }

    fn meeting(horizon: Horizon) -> Meeting {
        Meeting { horizon, column_px: 700.0, span_s: 1.4 }
    }

    /// A learner that was told these, one in 1.4 s.
    fn learned(camera: &RoadCamera, degrees: impl IntoIterator<Item = f64>) -> HorizonLearner {
        let mut learner = HorizonLearner::default();
        for deg in degrees {
            learner.learn(camera, &meeting(told(camera, deg)));
        }
        learner
    }

    #[test]
    fn it_settles_where_the_lines_are_and_stays_bounded() {
        for (name, camera, told_deg, want_deg) in [
            ("measured", camera(), 1.2, 1.2),
            ("measured, up", camera(), -2.0, -2.0),
            ("measured wrongly", camera(), 9.0, 2.5),
            ("unmeasured", unmeasured(), 2.6, 2.6),
            ("unmeasured, far up", unmeasured(), -4.5, -4.5),
            ("unmeasured, impossible", unmeasured(), 20.0, 7.5),
        ] {
            let before = HorizonLearner::default().horizon(&camera);
            let learner = learned(&camera, (0..60).map(|n| told_deg + 0.1 * f64::from(n % 3 - 1)));
            let after = learner.horizon(&camera);
            let want = camera.horizon_px + camera.px_of_deg(want_deg);
            assert!((after.row_px - want).abs() < 3.0, "{name}: {after:?}, want {want}");
            assert!((learner.direction(&camera).0 - 700.0).abs() < 2.0, "{name}");
            let bounded = (told_deg - want_deg).abs() > 0.1;
            assert_eq!(after.sigma_px < before.sigma_px, !bounded, "{name}: {after:?}");
        }
    }

    #[test]
    fn until_they_agree_nothing_is_settled() {
        let camera = unmeasured();
        let prior_px = HorizonLearner::default().horizon(&camera).sigma_px;
        let scattered = (0..60_u32).map(|n| f64::from(n * 37 % 60) / 6.0 - 5.0);
        for (name, learner) in [
            ("too few", learned(&camera, [2.5; 2])),
            ("they scatter", learned(&camera, scattered)),
            ("two camps", learned(&camera, (0..60).map(|n| f64::from(n % 2) * 3.0))),
            ("no numbers", learned(&camera, [f64::NAN; 60])),
        ] {
            assert_eq!(learner.settled(), None, "{name}");
            assert!((learner.horizon(&camera).sigma_px - prior_px).abs() < 1e-9, "{name}");
            let lines = learner.of_lines(&camera, told(&camera, 2.5));
            assert!(lines.sigma_px >= camera.px_of_deg(UNSETTLED_DEG), "{name}: {lines:?}");
        }
        // What knows too little teaches nothing, however often.
        let mut vague = HorizonLearner::default();
        for _ in 0..60 {
            vague.learn(&camera, &meeting(Horizon { sigma_px: 40.0, ..told(&camera, 2.0) }));
        }
        assert_eq!(vague.settled(), None);
    }

    #[test]
    fn strange_pictures_move_little_and_it_can_change_its_mind() {
        let camera = unmeasured();
        // One in five is far off.
        let strange = |n: u32| if n % 5 == 4 { -5.0 } else { 2.5 };
        let settled = learned(&camera, (0..60).map(strange)).settled().unwrap();
        assert!((settled.offset_deg - 2.5).abs() < 0.05, "{settled:?}");
        assert!(settled.sigma_deg < 0.3, "{settled:?}");
        // Wrong for some seconds, right ever after.
        let change = (0..40).map(|n| if n < 4 { -4.0 } else { 2.5 });
        let settled = learned(&camera, change).settled().unwrap();
        assert!((settled.offset_deg - 2.5).abs() < 0.05, "{settled:?}");
    }

    #[test]
    fn vehicles_that_say_something_else_make_it_unsure() {
        let camera = unmeasured();
        for (name, vehicles_deg, unsure) in
            [("agree", 2.2, false), ("nearly", 3.0, false), ("elsewhere", -1.0, true)]
        {
            let mut learner = learned(&camera, [2.5; 60]);
            let alone = learner.settled().unwrap().sigma_deg;
            for _ in 0..20 {
                let row = told(&camera, vehicles_deg);
                learner.check(&camera, Horizon { sigma_px: camera.px_of_deg(0.4), ..row });
            }
            let settled = learner.settled().unwrap();
            assert_eq!(settled.sigma_deg > alone + 1.0, unsure, "{name}: {settled:?}");
        }
    }
}
