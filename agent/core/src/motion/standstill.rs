//! A parked van, by its stillness: GNSS may tell 130 km/h of it, the accelerometer may not.
//!
//! Mean and variance of the specific force over a second, all axes together. A van that
//! drives shakes by 0.3 m/s² and more on the best road; an engine that idles may shake as much, and
//! then nothing is said.
//!
//! INVARIANT: without samples it is not known to stand.

use std::time::Duration;

use glam::DVec3;
use temoin_proto::{samples::ImuSample, time::MonoTime};

/// The means reach back about this long.
const MEAN_S: f64 = 1.0;
/// Standing shakes less than this, m/s². Sensors' own noise is 0.02 to 0.05; the recorded car that
/// drives shakes by 0.6. Own choice: validate.
const MAX_SHAKE_MPS2: f64 = 0.15;
/// And turns less than this, rad/s: a bias of the gyroscope is in it.
const MAX_TURN_RAD_S: f64 = 0.03;
/// For so long.
const STANDS_AFTER: Duration = Duration::from_secs(3);
/// A gap in the samples begins it anew.
const MAX_GAP: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Standstill {
    last: Option<MonoTime>,
    mean: DVec3,
    variance: f64,
    still_since: Option<MonoTime>,
}

impl Standstill {
    /// Takes a sample; numbers that are none end the stillness.
    pub fn on_imu(&mut self, s: &ImuSample) {
        let force = DVec3::from(s.accel_mps2);
        let turn = s.gyro_rad_s.map(|g| DVec3::from(g).length());
        let gap = self.last.map(|last| s.at.since(last)).filter(|gap| *gap <= MAX_GAP);
        self.last = Some(s.at);
        let Some(gap) = gap.filter(|_| force.is_finite()) else {
            // What is no number is no mean to begin with: the next sample begins it.
            *self = if force.is_finite() {
                Self { last: self.last, mean: force, ..Self::default() }
            } else {
                Self::default()
            };
            return;
        };
        let weight = 1.0 - (-gap.as_secs_f64() / MEAN_S).exp();
        let off = force - self.mean;
        self.mean += weight * off;
        self.variance = (1.0 - weight) * (self.variance + weight * off.length_squared());
        // Comparisons with NaN are false.
        let still = self.variance <= MAX_SHAKE_MPS2 * MAX_SHAKE_MPS2
            && turn.is_none_or(|t| t <= MAX_TURN_RAD_S);
        self.still_since = if still { self.still_since.or(Some(s.at)) } else { None };
    }

    /// Whether the unit has been still for a while at `at`.
    pub fn stands(&self, at: MonoTime) -> bool {
        let fresh = self.last.is_some_and(|last| at.since(last) <= MAX_GAP);
        fresh && self.still_since.is_some_and(|since| at.since(since) >= STANDS_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(shake: impl Fn(f64) -> f64, turn: f64) -> Standstill {
        along([0.0, 0.0, 1.0], shake, turn)
    }

    fn along(axis: [f64; 3], shake: impl Fn(f64) -> f64, turn: f64) -> Standstill {
        let mut standstill = Standstill::default();
        for n in 0..500_u32 {
            let s = f64::from(n) / 100.0;
            standstill.on_imu(&ImuSample {
                at: MonoTime::from_secs_f64(s),
                accel_mps2: (DVec3::new(1.0, 0.0, 9.7) + DVec3::from(axis) * shake(s)).to_array(),
                gyro_rad_s: Some([0.0, turn, 0.0]),
            });
        }
        standstill
    }

    #[test]
    fn parked_is_still_and_driving_is_not() {
        let end = MonoTime::from_secs_f64(5.0);
        let sine = |amplitude: f64| move |s: f64| amplitude * (s * 75.0).sin();
        assert!(run(sine(0.05), 0.01).stands(end));
        for axis in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] {
            assert!(!along(axis, sine(0.5), 0.01).stands(end), "shakes along {axis:?}");
        }
        assert!(!run(sine(0.05), 0.1).stands(end), "turns");
        let stops = |s: f64| if s < 4.0 { 0.6 * (s * 75.0).sin() } else { 0.0 };
        assert!(!run(stops, 0.0).stands(end), "not for long");
        assert!(!run(sine(0.0), 0.0).stands(MonoTime::from_secs_f64(6.0)), "no samples any more");
        assert!(!run(|_| f64::NAN, 0.0).stands(end));
    }

    /// Whether it stands at the last of so many seconds; what shakes it, by seconds; none: no
    /// sample.
    fn stands_after(end_s: f64, turns: bool, shake: impl Fn(f64) -> Option<f64>) -> bool {
        let mut standstill = Standstill::default();
        let at = |n: u32| MonoTime::from_secs_f64(f64::from(n) / 100.0);
        let last = (0..).take_while(|n| f64::from(*n) / 100.0 <= end_s).inspect(|n| {
            let Some(x) = shake(f64::from(*n) / 100.0) else { return };
            let gyro_rad_s = turns.then_some([0.0; 3]);
            standstill.on_imu(&ImuSample { at: at(*n), accel_mps2: [x, 0.0, 9.8], gyro_rad_s });
        });
        let last = last.last().unwrap();
        standstill.stands(at(last))
    }

    #[test]
    fn a_while_of_stillness_without_a_break() {
        let quiet = |s: f64| Some(0.05 * (s * 75.0).sin());
        assert!(stands_after(3.5, true, quiet) && stands_after(3.5, false, quiet));
        assert!(!stands_after(2.5, true, quiet), "not for long");
        let stops = |s: f64| Some(if s < 4.0 { 0.6 * (s * 75.0).sin() } else { 0.0 });
        for (end_s, stands) in [(7.0, false), (11.0, true)] {
            assert_eq!(stands_after(end_s, true, stops), stands, "stopped at 4 s, {end_s}");
        }
        assert!(!stands_after(9.0, true, |s| Some(0.35 * (s * 75.0).sin())), "a good road");
        assert!(!stands_after(9.0, true, |s| Some(0.5 * (s * 6.3).sin())), "it sways");
        let gap = |s: f64| quiet(s).filter(|_| !(3.5..4.2).contains(&s));
        let no_number = |s: f64| Some(if s == 4.0 { f64::NAN } else { 0.0 });
        for (end_s, stands) in [(5.0, false), (8.0, true)] {
            assert_eq!(stands_after(end_s, true, gap), stands, "a gap, {end_s}");
            assert_eq!(stands_after(end_s, true, no_number), stands, "no number, {end_s}");
        }
    }
}
