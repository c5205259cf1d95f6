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
        // Comparisons with NaN are false.
        if !follows || DVec3::from(s.accel_mps2).length() > WEIGHTLESS_MPS2 {
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
