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

    /// What is felt of a van that lies at so many degrees at a second, and drove until then; seconds
    /// at which it was said, of 60. No force: no sample.
    fn said(drove_until_s: f64, felt: impl Fn(f64) -> Option<[f64; 3]>) -> Vec<f64> {
        let mut rollover = Rollover::new(&RolloverConfig::default());
        let mut found = vec![];
        for n in 0..6000_u32 {
            let t_s = f64::from(n) / 100.0;
            let Some(accel_mps2) = felt(t_s) else { continue };
            let s = ImuSample { at: MonoTime::from_secs_f64(t_s), accel_mps2, gyro_rad_s: None };
            let speed = if t_s < drove_until_s { 15.0 } else { 0.0 };
            found.extend(rollover.step(&s, Some(UP), Some(speed)).map(|_| t_s));
        }
        found
    }

    /// Gravity of a van that lies at so many degrees on its left side.
    fn lies(degrees: f64) -> [f64; 3] {
        let angle = degrees.to_radians();
        [0.0, 9.8 * angle.sin(), 9.8 * angle.cos()]
    }

    /// Rolls over its left side at 20 s, by so many degrees in a second.
    fn rolls(degrees: f64, t_s: f64) -> [f64; 3] {
        lies((t_s - 20.0).clamp(0.0, 1.0) * degrees)
    }

    #[test]
    fn a_van_that_lies_has_rolled_over() {
        for degrees in [90.0, 180.0] {
            let found = said(21.0, |t_s| Some(rolls(degrees, t_s)));
            assert_eq!(found.len(), 1, "{degrees}: {found:?}");
            assert!((21.0..23.0).contains(&found[0]), "{degrees}: {found:?}");
        }
        assert_eq!(said(21.0, |t_s| Some(rolls(45.0, t_s))), [0.0; 0], "a slope");
        let moment = |t_s| Some(if t_s > 21.2 { UP } else { rolls(90.0, t_s) });
        assert_eq!(said(21.0, moment), [0.0; 0], "for a moment");
        // Its engine still runs and shakes it.
        let shaken = |t_s: f64| {
            let [x, y, z] = rolls(90.0, t_s);
            Some([x, y, z + if t_s > 21.0 { 8.0 * (t_s * 75.0).sin() } else { 0.0 }])
        };
        assert_eq!(said(21.0, shaken).len(), 1, "shaken");
        // One sample that is no number is not the end of it.
        let no_number = |t_s: f64| Some(if t_s == 15.0 { [f64::NAN; 3] } else { rolls(90.0, t_s) });
        assert_eq!(said(21.0, no_number).len(), 1, "no number");
    }

    #[test]
    fn only_a_van_that_drove_a_moment_ago_rolls_over() {
        // 6.5: a moment ago when it lay down, and no more when it was said.
        for (drove_until_s, times) in [(0.0, 0), (2.0, 0), (6.5, 1), (15.0, 1), (21.0, 1)] {
            let found = said(drove_until_s, |t_s| Some(rolls(90.0, t_s)));
            assert_eq!(found.len(), times, "{drove_until_s}: {found:?}");
        }
    }

    #[test]
    fn one_rollover_is_one_event() {
        for (name, between_deg, times) in [("rocks on its side", 45.0, 1), ("set up", 0.0, 2)] {
            let found = said(31.0, |t_s| {
                Some(match t_s {
                    t_s if t_s < 20.0 => UP,
                    t_s if (24.0..28.0).contains(&t_s) => lies(between_deg),
                    _ => lies(90.0),
                })
            });
            assert_eq!(found.len(), times, "{name}: {found:?}");
        }
    }

    #[test]
    fn it_must_lie_all_the_while_and_be_felt() {
        // Over for 0.7 s, again and again.
        let tips = |t_s: f64| {
            let over = (20.0..30.0).contains(&t_s) && t_s.rem_euclid(2.0) < 0.7;
            Some(lies(if over { 120.0 } else { 0.0 }))
        };
        assert_eq!(said(21.0, tips), [0.0; 0], "tips");
        // No samples in between.
        let gap = |t_s: f64| match t_s {
            t_s if (21.0..23.0).contains(&t_s) => None,
            t_s if !(20.3..23.8).contains(&t_s) => Some(UP),
            _ => Some(lies(90.0)),
        };
        assert_eq!(said(21.0, gap), [0.0; 0], "a gap");
        // What is no gravity shows no up.
        for mps2 in [4.5, 25.0] {
            let pushed = |t_s| Some(if t_s < 20.0 { UP } else { [0.0, mps2, 0.0] });
            assert_eq!(said(21.0, pushed), [0.0; 0], "{mps2}");
        }
        assert_eq!(said(60.0, |_| Some([0.0, 9.0, 9.8])), [0.0; 0], "hard cornering");
    }
}
