//! Harsh braking, acceleration and cornering from the filtered IMU.
//!
//! Limits by weight class from GPS Insight's fleet thresholds guide (see
//! [`crate::config::HarshConfig`]): over the limit for 0.3 s, begun at 10 km/h or more. The event
//! is said at that moment, so its peak is the peak so far; the clip's signals hold the rest.
//!
//! One manoeuvre is one event: the next needs 1 s below 0.7 of the limit first.
//!
//! INVARIANT: with the speed or the motion unknown nothing begins and nothing goes on.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    samples::STANDARD_GRAVITY_MPS2,
    time::MonoTime,
};

use crate::{
    config::{HarshConfig, KMH_TO_MPS, VehicleClass, secs},
    vehicle_state::Motion,
};

#[derive(Clone, Copy, Debug)]
enum Phase {
    Calm,
    Over {
        since: MonoTime,
        peak_mps2: f64,
        begun_mps: f64,
    },
    /// Said; calm again once below the release for long enough.
    Said {
        below_since: Option<MonoTime>,
    },
}

#[derive(Clone, Debug)]
struct Axis {
    kind: EventKind,
    rule: &'static str,
    limit_mps2: f64,
    phase: Phase,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct HarshMotion {
    hold: Duration,
    rearm: Duration,
    release: f64,
    min_mps: f64,
    axes: [Axis; 3],
}

impl HarshMotion {
    /// Calm.
    pub fn new(config: &HarshConfig, class: VehicleClass) -> Self {
        let [braking, acceleration, cornering] = config.limits_mps2(class);
        let axis = |kind, rule, limit_mps2| Axis { kind, rule, limit_mps2, phase: Phase::Calm };
        Self {
            hold: secs(config.hold_s),
            rearm: secs(config.rearm_s),
            release: config.release,
            min_mps: config.min_speed_kmh * KMH_TO_MPS,
            axes: [
                axis(EventKind::HarshBraking, "harsh_braking/1", braking),
                axis(EventKind::HarshAcceleration, "harsh_acceleration/1", acceleration),
                axis(EventKind::HarshCornering, "harsh_cornering/1", cornering),
            ],
        }
    }

    /// The motion is not known: what was going on is not known to go on.
    pub fn unknown(&mut self) {
        for axis in &mut self.axes {
            match axis.phase {
                Phase::Calm | Phase::Over { .. } => axis.phase = Phase::Calm,
                Phase::Said { .. } => axis.phase = Phase::Said { below_since: None },
            }
        }
    }

    /// Takes the motion at one sample with the speed then.
    pub fn step(&mut self, motion: &Motion, speed_mps: Option<f64>, out: &mut Vec<Event>) {
        let values =
            [-motion.longitudinal_mps2, motion.longitudinal_mps2, motion.lateral_mps2.abs()];
        let at = motion.at;
        for (axis, value) in self.axes.iter_mut().zip(values) {
            let over = value >= axis.limit_mps2;
            axis.phase = match (axis.phase, speed_mps) {
                (Phase::Said { below_since }, _) => {
                    let below = value < self.release * axis.limit_mps2;
                    let below_since = below.then(|| below_since.unwrap_or(at));
                    if below_since.is_some_and(|since| at.since(since) >= self.rearm) {
                        Phase::Calm
                    } else {
                        Phase::Said { below_since }
                    }
                }
                (Phase::Calm | Phase::Over { .. }, None) => Phase::Calm,
                (Phase::Calm, Some(mps)) if over && mps >= self.min_mps => {
                    Phase::Over { since: at, peak_mps2: value, begun_mps: mps }
                }
                (Phase::Over { since, peak_mps2, begun_mps }, Some(_)) if over => {
                    Phase::Over { since, peak_mps2: peak_mps2.max(value), begun_mps }
                }
                (Phase::Calm | Phase::Over { .. }, Some(_)) => Phase::Calm,
            };
            if let Phase::Over { since, peak_mps2, begun_mps } = axis.phase
                && at.since(since) >= self.hold
            {
                out.push(axis.event(since, at, peak_mps2, begun_mps));
                axis.phase = Phase::Said { below_since: None };
            }
        }
    }
}

impl Axis {
    /// Severity: medium from 1.25 times the limit, high from 1.5. Own choice.
    fn event(&self, start: MonoTime, at: MonoTime, peak_mps2: f64, begun_mps: f64) -> Event {
        let ratio = peak_mps2 / self.limit_mps2;
        Event {
            kind: self.kind,
            start,
            end: at,
            severity: if ratio >= 1.5 {
                Severity::High
            } else if ratio >= 1.25 {
                Severity::Medium
            } else {
                Severity::Low
            },
            // The further over the limit, the less a tilted mounting or a slope can explain it.
            confidence: if ratio >= 1.25 { 0.9 } else { 0.7 },
            rule: self.rule,
            numbers: vec![
                Number::new("peak", peak_mps2 / STANDARD_GRAVITY_MPS2, "g"),
                Number::new("threshold", self.limit_mps2 / STANDARD_GRAVITY_MPS2, "g"),
                Number::new("speed", begun_mps / KMH_TO_MPS, "km/h"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events at 50 Hz over 20 s of (longitudinal g, lateral g, km/h).
    fn run(drive: impl Fn(f64) -> (f64, f64, Option<f64>)) -> Vec<(EventKind, f64, Severity)> {
        let mut harsh = HarshMotion::new(&HarshConfig::default(), VehicleClass::Van);
        let mut out = Vec::new();
        for n in 0..1000_u32 {
            let s = f64::from(n) / 50.0;
            let (x, y, kmh) = drive(s);
            let motion = Motion {
                at: MonoTime::from_secs_f64(s),
                longitudinal_mps2: x * STANDARD_GRAVITY_MPS2,
                lateral_mps2: y * STANDARD_GRAVITY_MPS2,
                yaw_rate_rad_s: None,
            };
            harsh.step(&motion, kmh.map(|v| v * KMH_TO_MPS), &mut out);
        }
        out.into_iter().map(|e| (e.kind, e.end.as_secs_f64(), e.severity)).collect()
    }

    fn between(from: f64, to: f64, s: f64, v: f64) -> f64 {
        if (from..to).contains(&s) { v } else { 0.0 }
    }

    #[test]
    fn limits_and_severities() {
        use EventKind::{HarshAcceleration, HarshBraking, HarshCornering};
        let fast = Some(50.0);
        for (x, y, expected) in [
            (-0.35, 0.0, None),
            (-0.37, 0.0, Some((HarshBraking, Severity::Low))),
            (-0.47, 0.0, Some((HarshBraking, Severity::Medium))),
            (-0.60, 0.0, Some((HarshBraking, Severity::High))),
            (0.34, 0.0, None),
            (0.36, 0.0, Some((HarshAcceleration, Severity::Low))),
            (0.0, 0.36, Some((HarshCornering, Severity::Low))),
            (0.0, -0.36, Some((HarshCornering, Severity::Low))),
            (0.0, 0.34, None),
        ] {
            let events = run(|s| (between(5.0, 7.0, s, x), between(5.0, 7.0, s, y), fast));
            let got: Vec<_> =
                events.iter().map(|&(kind, at, severity)| (kind, at, severity)).collect();
            assert_eq!(got, expected.map(|(k, s)| (k, 5.3, s)).into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn short_slow_or_unknown_is_nothing() {
        let braking = |from, to, s| between(from, to, s, -0.6);
        assert_eq!(run(|s| (braking(5.0, 5.28, s), 0.0, Some(50.0))), []);
        assert_eq!(run(|s| (braking(5.0, 7.0, s), 0.0, Some(9.0))), []);
        assert_eq!(run(|s| (braking(5.0, 7.0, s), 0.0, None)), []);
        // Known again in the middle: counted from there.
        let found = run(|s| (braking(5.0, 7.0, s), 0.0, (s > 5.99).then_some(50.0)));
        assert_eq!(found.first().map(|e| e.1), Some(6.3));
        // Lost in the middle: what was before does not count.
        let lost = |s: f64| (!(5.2..5.4).contains(&s)).then_some(50.0);
        assert_eq!(run(|s| (braking(5.0, 5.6, s), 0.0, lost(s))), []);
        // Begun fast and ended slow is braking.
        assert_eq!(
            run(|s| (braking(5.0, 7.0, s), 0.0, Some(if s < 5.1 { 12.0 } else { 5.0 }))).len(),
            1
        );
    }

    #[test]
    fn one_manoeuvre_is_one_event() {
        // Pumps at 2 Hz for 4 s; then 1.5 s of peace; then again.
        let pump = |s: f64| match s {
            s if (5.0..9.0).contains(&s) || (10.5..12.0).contains(&s) => {
                if s.rem_euclid(0.5) < 0.4 { -0.5 } else { -0.1 }
            }
            _ => 0.0,
        };
        let at: Vec<_> = run(|s| (pump(s), 0.0, Some(60.0))).into_iter().map(|e| e.1).collect();
        assert_eq!(at, [5.3, 10.8]);
    }

    #[test]
    fn a_manoeuvre_is_over_after_a_second_well_below_the_limit() {
        // Over from 5 s to 6 s and from `again_s` to 9 s; so much in between.
        for (name, between_g, again_s, events) in [
            ("peace", 0.0, 7.5, 2),
            ("short peace", 0.0, 6.6, 1),
            ("nearly over all the while", -0.3, 7.5, 1),
        ] {
            let brakes = |s: f64| match s {
                s if (5.0..6.0).contains(&s) || (again_s..9.0).contains(&s) => -0.5,
                s if (6.0..again_s).contains(&s) => between_g,
                _ => 0.0,
            };
            assert_eq!(run(|s| (brakes(s), 0.0, Some(60.0))).len(), events, "{name}");
        }
    }

    #[test]
    fn an_event_tells_the_peak_and_the_speed_at_its_beginning() {
        for (g, confidence) in [(0.38, 0.7), (0.5, 0.9)] {
            let mut harsh = HarshMotion::new(&HarshConfig::default(), VehicleClass::Van);
            let mut out = Vec::new();
            for n in 0..30_u32 {
                let s = f64::from(n) / 50.0;
                // The most is felt in the middle.
                let felt_g = if n == 8 { g } else { 0.37 };
                let motion = Motion {
                    at: MonoTime::from_secs_f64(s),
                    longitudinal_mps2: -felt_g * STANDARD_GRAVITY_MPS2,
                    lateral_mps2: 0.0,
                    yaw_rate_rad_s: None,
                };
                harsh.step(&motion, Some(20.0 - s), &mut out);
            }
            let [event] = out.as_slice() else { panic!("{out:?}") };
            assert_eq!(event.confidence, confidence, "{g}");
            let number = |n: usize| event.numbers[n].value;
            assert!((number(0) - g).abs() < 1e-9 && (number(2) - 72.0).abs() < 1e-9, "{event:?}");
        }
    }

    #[test]
    fn what_was_before_an_unknown_moment_does_not_go_on() {
        // Unknown at this second; braking from 5 s to 5.5 s, and until 8 s.
        for (unknown_s, until_s, expected) in
            [(5.2, 5.45, vec![]), (5.2, 8.0, vec![5.5]), (6.0, 8.0, vec![5.3])]
        {
            let mut harsh = HarshMotion::new(&HarshConfig::default(), VehicleClass::Van);
            let mut out = Vec::new();
            for n in 0..500_u32 {
                let s = f64::from(n) / 50.0;
                if s == unknown_s {
                    harsh.unknown();
                }
                let motion = Motion {
                    at: MonoTime::from_secs_f64(s),
                    longitudinal_mps2: between(5.0, until_s, s, -5.0),
                    lateral_mps2: 0.0,
                    yaw_rate_rad_s: None,
                };
                harsh.step(&motion, Some(20.0), &mut out);
            }
            let ends: Vec<_> = out.iter().map(|e| e.end.as_secs_f64()).collect();
            assert_eq!(ends, expected, "{unknown_s} {until_s}");
        }
    }
}
