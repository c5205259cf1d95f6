//! Rolling through a stop: past a known stop line without having been slower than 8 km/h within
//! 20 m of it (own choice: validate; the distance covers a position's error and a queue).
//!
//! INVARIANT: without a known line, a known way to it and a known speed all the way nothing is said.
//! In the driver's favour the slowest speed counts with two standard deviations taken off.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{KMH_TO_MPS, RollingStopConfig},
    vehicle_state::Speed,
};

/// The rule's name in events.
pub const RULE: &str = "rolling_stop/1";

/// Speeds further apart leave the time between them unknown.
const MAX_BETWEEN: Duration = Duration::from_secs(2);

/// Near a line.
#[derive(Clone, Copy, Debug)]
struct Near {
    since: MonoTime,
    last: MonoTime,
    slowest_mps: f64,
    /// Slowest with two deviations taken off.
    surely_mps: f64,
    passed: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RollingStop {
    config: RollingStopConfig,
    near: Option<Near>,
}

impl RollingStop {
    /// No line is near.
    pub fn new(config: &RollingStopConfig) -> Self {
        Self { config: config.clone(), near: None }
    }

    /// Takes the way to the next stop line, metres along the road, negative once it is passed; none
    /// where no line is known ahead or just behind. And the speed then.
    pub fn step(
        &mut self,
        at: MonoTime,
        line_m: Option<f64>,
        speed: Option<&Speed>,
    ) -> Option<Event> {
        let reach_m = self.config.reach_m;
        let (Some(line_m), Some(speed)) = (line_m.filter(|m| m.abs() <= reach_m), speed) else {
            return self.near.take().and_then(|near| self.left(at, line_m, &near));
        };
        let surely_mps = (speed.mps - 2.0 * speed.sigma_mps).max(0.0);
        let near = match self.near.filter(|near| at.since(near.last) <= MAX_BETWEEN) {
            Some(near) => Near {
                last: at,
                slowest_mps: near.slowest_mps.min(speed.mps),
                surely_mps: near.surely_mps.min(surely_mps),
                passed: near.passed || line_m < 0.0,
                ..near
            },
            // Seen first behind the line: what was before is not known.
            None if line_m < 0.0 => return None,
            None => Near { since: at, last: at, slowest_mps: speed.mps, surely_mps, passed: false },
        };
        self.near = Some(near);
        None
    }

    /// The line is left behind, or not known any more.
    fn left(&self, at: MonoTime, line_m: Option<f64>, near: &Near) -> Option<Event> {
        let behind = line_m.is_none_or(|m| m < 0.0);
        let known = near.passed && behind && at.since(near.last) <= MAX_BETWEEN;
        let limit_mps = self.config.slowest_kmh * KMH_TO_MPS;
        if !known || near.surely_mps <= limit_mps {
            return None;
        }
        Some(Event {
            kind: EventKind::RollingStop,
            start: near.since,
            end: near.last,
            // Own choice.
            severity: match near.slowest_mps / KMH_TO_MPS {
                v if v >= 30.0 => Severity::High,
                v if v >= 15.0 => Severity::Medium,
                _ => Severity::Low,
            },
            // A position's error may put the van on the wrong road.
            confidence: 0.7,
            rule: RULE,
            numbers: vec![
                Number::new("slowest", near.slowest_mps / KMH_TO_MPS, "km/h"),
                Number::new("threshold", self.config.slowest_kmh, "km/h"),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vehicle_state::SpeedSource;

    /// Events on a way of 120 m with a line at 60 m; `kmh` by metres, at 10 Hz.
    fn run(kmh: impl Fn(f64) -> Option<f64>, line: impl Fn(f64) -> Option<f64>) -> Vec<Severity> {
        let mut rule = RollingStop::new(&RollingStopConfig::default());
        let (mut m, mut found) = (0.0, vec![]);
        for n in 0..4000_u32 {
            let at = MonoTime::from_secs_f64(f64::from(n) / 10.0);
            let mps = kmh(m).map(|v| v * KMH_TO_MPS);
            let speed = mps.map(|mps| Speed { at, mps, sigma_mps: 0.2, source: SpeedSource::Bus });
            found.extend(rule.step(at, line(m), speed.as_ref()).map(|e| e.severity));
            m += mps.unwrap_or(8.0).max(0.5) / 10.0;
            if m > 120.0 {
                break;
            }
        }
        found
    }

    fn line(m: f64) -> Option<f64> {
        Some(60.0 - m)
    }

    #[test]
    fn who_does_not_slow_down_rolls_through() {
        assert_eq!(run(|_| Some(40.0), line), [Severity::High]);
        assert_eq!(
            run(|m| Some(if (50.0..60.0).contains(&m) { 12.0 } else { 40.0 }), line),
            [Severity::Low]
        );
        let stops = |m: f64| Some(if (55.0..58.0).contains(&m) { 0.0 } else { 30.0 });
        assert_eq!(run(stops, line), []);
        // In the queue before it, or just past it to see.
        assert_eq!(run(|m| Some(if (42.0..44.0).contains(&m) { 2.0 } else { 30.0 }), line), []);
        assert_eq!(run(|m| Some(if (63.0..66.0).contains(&m) { 3.0 } else { 30.0 }), line), []);
        // Nearly: within the speed's error.
        assert_eq!(run(|m| Some(if (55.0..60.0).contains(&m) { 8.5 } else { 30.0 }), line), []);
    }

    #[test]
    fn unknown_is_nothing() {
        assert_eq!(run(|_| Some(40.0), |_| None), []);
        assert_eq!(run(|_| None, line), []);
        assert_eq!(run(|m| (!(50.0..70.0).contains(&m)).then_some(40.0), line), []);
        // The line is known only once it is behind.
        assert_eq!(run(|_| Some(40.0), |m| line(m).filter(|l| *l < 0.0)), []);
        // It is left by another road before it is reached.
        assert_eq!(run(|_| Some(40.0), |m| line(m).filter(|l| *l > 10.0)), []);
    }

    #[test]
    fn what_was_far_off_or_not_followed_is_not_known() {
        // A stop 36 m before the line is none at it.
        let early = |m: f64| Some(if (20.0..24.0).contains(&m) { 1.0 } else { 30.0 });
        assert_eq!(run(early, line), [Severity::High]);
        // The position jumps back to before the line: it may not have been passed.
        let back = |m: f64| if m < 61.0 { line(m) } else { Some(150.0 - m) };
        assert_eq!(run(|_| Some(30.0), back), []);
        // At 20 km/h, followed but for these metres: 2 s take 11 m.
        for (name, missing, found) in [
            ("all the way", 0.0..0.0, 1),
            ("nearly", 55.0..65.0, 1),
            ("not over the line", 50.0..70.0, 0),
            ("not after it", 65.0..100.0, 0),
        ] {
            let mut rule = RollingStop::new(&RollingStopConfig::default());
            let mps = 20.0 * KMH_TO_MPS;
            let events: Vec<_> = (0..240_u32)
                .filter_map(|n| {
                    let (s, m) = (f64::from(n) / 10.0, f64::from(n) / 10.0 * mps);
                    let at = MonoTime::from_secs_f64(s);
                    let speed = Speed { at, mps, sigma_mps: 0.2, source: SpeedSource::Bus };
                    let followed = !missing.contains(&m);
                    followed.then(|| rule.step(at, line(m), Some(&speed)))?
                })
                .collect();
            assert_eq!(events.len(), found, "{name}: {events:?}");
        }
    }
}
