//! The horizon and the direction of travel in the picture, learned slowly from where the own lane's
//! lines meet.
//!
//! INVARIANT: what is learned stays within [`MOST_DEG`] of what was configured, and within
//! [`MOST_ASIDE_DEG`] of the picture's middle: a wrong lane can mislead it by that much and no more.

use temoin_proto::time::MonoTime;

use super::{camera::RoadCamera, distance::Horizon};

/// How far from the configured horizon it may go, degrees. A camera that is further off was
/// measured wrongly or has been turned.
pub const MOST_DEG: f64 = 2.5;
/// How far aside of the picture's middle the direction of travel may be, degrees.
pub const MOST_ASIDE_DEG: f64 = 5.0;
/// One standard deviation of what an installer measures, degrees. Own choice: validate.
const CONFIGURED_DEG: f64 = 1.0;
/// What is left after long learning: load and tyres, degrees. Own choice: validate.
const LEARNED_DEG: f64 = 0.15;
/// Pitch by braking, acceleration and bumps around the learned one, degrees. Own choice: validate.
const MOVING_DEG: f64 = 0.35;
/// Time constant of learning: seconds in which lines were seen.
const LEARN_S: f64 = 20.0;
/// A longer gap counts as this.
const LONGEST_STEP_S: f64 = 1.0;

/// What has been learned in this drive.
#[derive(Clone, Copy, Debug, Default)]
pub struct HorizonLearner {
    /// Degrees below the configured horizon.
    offset_deg: f64,
    /// Degrees to the right of the picture's middle.
    aside_deg: f64,
    seen_s: f64,
    last: Option<MonoTime>,
}

impl HorizonLearner {
    /// The horizon of a picture in which nothing else tells it.
    pub fn horizon(&self, camera: &RoadCamera) -> Horizon {
        let sigma_deg = self.learned_sigma_deg().hypot(MOVING_DEG);
        Horizon {
            row_px: camera.horizon_px + camera.px_of_deg(self.offset_deg),
            sigma_px: camera.px_of_deg(sigma_deg),
        }
    }

    /// The column that the vehicle drives towards on a straight road, pixels.
    pub fn direction_px(&self, camera: &RoadCamera) -> f64 {
        camera.middle_px() + camera.px_of_deg(self.aside_deg)
    }

    /// Takes where the lines of a well seen lane meet: its row, and its column.
    pub fn learn(&mut self, now: MonoTime, camera: &RoadCamera, lines: Horizon, column_px: f64) {
        let degrees = |px: f64| (px / camera.focal_px).atan().to_degrees();
        let offset_deg = degrees(lines.row_px - camera.horizon_px);
        let aside_deg = degrees(column_px - camera.middle_px());
        let dt_s = self.last.map_or(0.0, |t| now.secs_from(t)).clamp(0.0, LONGEST_STEP_S);
        self.last = Some(now);
        let sigma_deg = degrees(lines.sigma_px);
        // A fit that knows less than what was configured teaches nothing.
        if !(offset_deg.is_finite() && aside_deg.is_finite() && sigma_deg < CONFIGURED_DEG) {
            return;
        }
        self.seen_s += dt_s;
        // At first by the mean of all, later by the time constant.
        let part = (dt_s / self.seen_s.clamp(1.0, LEARN_S)).min(0.5);
        // One strange picture counts for half a degree at most.
        let step = (offset_deg - self.offset_deg).clamp(-0.5, 0.5);
        self.offset_deg = (self.offset_deg + step * part).clamp(-MOST_DEG, MOST_DEG);
        let step = (aside_deg - self.aside_deg).clamp(-1.0, 1.0);
        self.aside_deg = (self.aside_deg + step * part).clamp(-MOST_ASIDE_DEG, MOST_ASIDE_DEG);
    }

    fn learned_sigma_deg(&self) -> f64 {
        let left = (-self.seen_s / LEARN_S).exp();
        LEARNED_DEG.hypot(CONFIGURED_DEG * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::camera::tests::camera;

    #[test]
    fn it_learns_slowly_stays_bounded_and_gets_surer() {
        for (told_deg, want_deg) in [(1.2, 1.2), (-2.0, -2.0), (9.0, MOST_DEG), (f64::NAN, 0.0)] {
            let camera = camera();
            let mut learner = HorizonLearner::default();
            let before = learner.horizon(&camera);
            let lines =
                Horizon { row_px: camera.horizon_px + camera.px_of_deg(told_deg), sigma_px: 4.0 };
            for n in 0..900 {
                learner.learn(MonoTime::from_secs_f64(f64::from(n) * 0.2), &camera, lines, 700.0);
            }
            let after = learner.horizon(&camera);
            let want = camera.horizon_px + camera.px_of_deg(want_deg);
            assert!((after.row_px - want).abs() < 2.0, "{told_deg}: {after:?}, want {want}");
            let column = if told_deg.is_finite() { 700.0 } else { 640.0 };
            assert!((learner.direction_px(&camera) - column).abs() < 2.0, "{told_deg}");
            assert_eq!(after.sigma_px < before.sigma_px, told_deg.is_finite(), "{told_deg}");
        }
    }

    #[test]
    fn one_strange_picture_moves_little() {
        let camera = camera();
        let mut learner = HorizonLearner::default();
        let good = Horizon { row_px: camera.horizon_px, sigma_px: 4.0 };
        for n in 0..100 {
            learner.learn(MonoTime::from_secs_f64(f64::from(n) * 0.2), &camera, good, 640.0);
        }
        let strange = Horizon { row_px: camera.horizon_px + 200.0, sigma_px: 4.0 };
        learner.learn(MonoTime::from_secs_f64(20.0), &camera, strange, 100.0);
        assert!((learner.horizon(&camera).row_px - camera.horizon_px).abs() < 0.5);
    }
}
