//! The vehicle on its side or roof: gravity points more than 60 degrees away from where it was, for
//! a second (own choice: validate. No road and no manoeuvre does that for so long: 1 g to the side
//! makes 45 degrees).
//!
//! INVARIANT: only a vehicle that drove a moment ago rolls over; a unit that was taken off its mount
//! in a parked van, or fell from it, was turned, which is device health.

use std::time::Duration;

use glam::DVec3;
use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    samples::ImuSample,
    time::MonoTime,
};

use crate::{
    config::{KMH_TO_MPS, RolloverConfig, secs},
    motion::free_fall::FreeFall,
};

/// The rule's name in events.
pub const RULE: &str = "rollover/1";

/// Gravity is the mean of about this long.
const MEAN_S: f64 = 0.3;
/// Samples further apart begin it anew.
const MAX_GAP: Duration = Duration::from_millis(500);
/// It must have driven within so long.
const DROVE_WITHIN: Duration = Duration::from_secs(15);
/// After a fall the unit lies anyhow, until its new position is learned or it is put back.
const AFTER_FALL: Duration = Duration::from_secs(3600);
/// Forces of these sizes are gravity, m/s².
const GRAVITY: std::ops::RangeInclusive<f64> = 5.0..=15.0;

/// See the module.
#[derive(Clone, Debug)]
pub struct Rollover {
    config: RolloverConfig,
    last: Option<MonoTime>,
    mean: DVec3,
    fall: FreeFall,
    drove: Option<MonoTime>,
    over_since: Option<MonoTime>,
    said: bool,
}

impl Rollover {
    /// Upright.
    pub fn new(config: &RolloverConfig) -> Self {
        Self {
            config: config.clone(),
            last: None,
            mean: DVec3::ZERO,
            fall: FreeFall::default(),
            drove: None,
            over_since: None,
            said: false,
        }
    }

    /// Takes a sample, the mean force of the last minutes, both in the unit's axes, and the speed.
    pub fn step(
        &mut self,
        s: &ImuSample,
        gravity: Option<[f64; 3]>,
        speed_mps: Option<f64>,
    ) -> Option<Event> {
        let (at, force) = (s.at, DVec3::from(s.accel_mps2));
        self.fall.on_imu(s);
        if speed_mps.is_some_and(|v| v >= self.config.min_speed_kmh * KMH_TO_MPS) {
            self.drove = Some(at);
        }
        let gap = self.last.map(|last| at.since(last)).filter(|gap| *gap <= MAX_GAP);
        self.last = Some(at);
        let up = gravity.and_then(|g| DVec3::from(g).try_normalize());
        let (Some(gap), Some(up), true) = (gap, up, force.is_finite()) else {
            self.mean = if force.is_finite() { force } else { DVec3::ZERO };
            self.over_since = None;
            return None;
        };
        self.mean += (force - self.mean) * (1.0 - (-gap.as_secs_f64() / MEAN_S).exp());
        let angle_deg = self.mean.angle_between(up).to_degrees();
        let over = GRAVITY.contains(&self.mean.length()) && angle_deg >= self.config.angle_deg;
        if !over {
            self.over_since = None;
            self.said &= angle_deg >= self.config.angle_deg / 2.0;
            return None;
        }
        let since = *self.over_since.get_or_insert(at);
        let drove = self.drove.is_some_and(|drove| since.since(drove) <= DROVE_WITHIN);
        // Weightless, it fell from its mount.
        let fell = self.fall.fell_within(at, AFTER_FALL);
        if self.said || !drove || fell || at.since(since) < secs(self.config.hold_s) {
            return None;
        }
        self.said = true;
        Some(Event {
            kind: EventKind::Rollover,
            start: since,
            end: at,
            severity: Severity::High,
            confidence: 0.7,
            rule: RULE,
            numbers: vec![
                Number::new("angle", angle_deg, "°"),
                Number::new("threshold", self.config.angle_deg, "°"),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: [f64; 3] = [0.0, 0.0, 9.8];

    /// Rolls over its left side at 10 s, by so many degrees in a second; drove until then or not.
    fn run(degrees: f64, drove: bool, for_s: f64) -> Vec<f64> {
        let mut rollover = Rollover::new(&RolloverConfig::default());
        let mut found = vec![];
        for n in 0..3000_u32 {
            let t_s = f64::from(n) / 100.0;
            let angle = ((t_s - 10.0).clamp(0.0, 1.0) * degrees).to_radians();
            let angle = if t_s > 11.0 + for_s { 0.0 } else { angle };
            let accel_mps2 = [0.0, 9.8 * angle.sin(), 9.8 * angle.cos()];
            let s = ImuSample { at: MonoTime::from_secs_f64(t_s), accel_mps2, gyro_rad_s: None };
            let speed = if drove && t_s < 11.0 { 15.0 } else { 0.0 };
            found.extend(rollover.step(&s, Some(UP), Some(speed)).map(|_| t_s));
        }
        found
    }

    #[test]
    fn a_van_that_lies_has_rolled_over() {
        for degrees in [90.0, 180.0] {
            let found = run(degrees, true, 60.0);
            assert_eq!(found.len(), 1, "{degrees}: {found:?}");
            assert!((11.0..13.0).contains(&found[0]), "{degrees}: {found:?}");
        }
        assert_eq!(run(45.0, true, 60.0), [0.0; 0], "a slope");
        assert_eq!(run(90.0, false, 60.0), [0.0; 0], "a unit taken off its mount");
        assert_eq!(run(90.0, true, 0.2), [0.0; 0], "for a moment");
    }

    #[test]
    fn hard_cornering_is_none() {
        let mut rollover = Rollover::new(&RolloverConfig::default());
        for n in 0..1000_u32 {
            let at = MonoTime::from_secs_f64(f64::from(n) / 100.0);
            let s = ImuSample { at, accel_mps2: [0.0, 9.0, 9.8], gyro_rad_s: None };
            assert_eq!(rollover.step(&s, Some(UP), Some(20.0)), None);
        }
    }
}
