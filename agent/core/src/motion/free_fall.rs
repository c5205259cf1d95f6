//! A unit that falls from its mount: it is weightless, and what it feels after is its own.
//!
//! INVARIANT: nothing without samples: a gap ends the fall.

use std::time::Duration;

use glam::DVec3;
use temoin_proto::{samples::ImuSample, time::MonoTime};

/// Less force than this is free fall, m/s². Half of gravity is felt by no wheel for long.
const WEIGHTLESS_MPS2: f64 = 4.0;
/// So long in free fall is a drop of 4 cm. Own choice: a wheel over a crest takes less.
const FALLS_FOR: Duration = Duration::from_millis(90);
/// Samples further apart do not see a fall.
const MAX_BETWEEN: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreeFall {
    last: Option<MonoTime>,
    since: Option<MonoTime>,
    fell: Option<MonoTime>,
}

impl FreeFall {
    /// Takes a sample.
    pub fn on_imu(&mut self, s: &ImuSample) {
        let follows = self.last.is_some_and(|last| s.at.since(last) <= MAX_BETWEEN);
        self.last = Some(s.at);
        // Comparisons with NaN are false: what is no number is no fall.
        let weightless = DVec3::from(s.accel_mps2).length() <= WEIGHTLESS_MPS2;
        if !follows || !weightless {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(s.at);
        if s.at.since(since) >= FALLS_FOR {
            self.fell = Some(s.at);
        }
    }

    /// Whether the unit fell within the last `within` before `at`.
    pub fn fell_within(&self, at: MonoTime, within: Duration) -> bool {
        self.fell.is_some_and(|fell| at.since(fell) < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_weightless_for_long_enough_falls() {
        for (name, hz, mps2, for_s, fell) in [
            ("rests", 100, 9.8, 2.0, false),
            ("falls", 100, 0.5, 0.13, true),
            ("turns while it falls", 100, 3.0, 0.13, true),
            ("a wheel over a crest", 100, 0.5, 0.07, false),
            ("a long crest", 100, 5.0, 1.0, false),
            ("samples too far apart", 10, 0.5, 1.0, false),
            ("no number", 100, f64::NAN, 1.0, false),
        ] {
            let mut fall = FreeFall::default();
            for n in 0..5 * hz {
                let s = f64::from(n) / f64::from(hz);
                let at = MonoTime::from_secs_f64(s);
                let up = if (2.0..2.0 + for_s).contains(&s) { mps2 } else { 9.8 };
                fall.on_imu(&ImuSample { at, accel_mps2: [0.0, 0.0, up], gyro_rad_s: None });
            }
            let fell_within = |s| fall.fell_within(MonoTime::from_secs_f64(5.0), secs(s));
            assert_eq!(fell_within(3.0), fell, "{name}");
            assert!(!fell_within(1.0), "{name}: it fell before");
        }
    }

    #[test]
    fn two_short_moments_are_no_fall() {
        let mut fall = FreeFall::default();
        for n in 0..100_u32 {
            let at = MonoTime::from_secs_f64(f64::from(n) / 100.0);
            let up = if (40..46).contains(&n) || (50..56).contains(&n) { 0.5 } else { 9.8 };
            fall.on_imu(&ImuSample { at, accel_mps2: [0.0, 0.0, up], gyro_rad_s: None });
        }
        assert!(!fall.fell_within(MonoTime::from_secs_f64(1.0), secs(1.0)));
    }

    fn secs(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }
}
