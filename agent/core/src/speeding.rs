//! Speeding against a known limit: over it by more than max(5 km/h, 10 %), voice after 20 s,
//! event after 30 s (Netradyne's 20/30 s; Lightfoot's +12 %).
//!
//! Any sample at or below the margin begins anew, in the driver's favour. After an event the speed
//! must stay below for 10 s before there can be another: hovering at the margin is one event.
//!
//! INVARIANT: without a known limit or a known speed no timer runs.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{KMH_TO_MPS, SpeedingConfig, secs},
    vehicle_state::Speed,
};

/// The rule's name in events.
pub const RULE: &str = "speeding/1";

/// A limit that applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedLimit {
    /// Kilometres an hour.
    pub kmh: f64,
    /// Whether being over it is flagged, or only told in the cab.
    pub flags: bool,
}

/// What speeding asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum SpeedingStep {
    /// Say it in the cab.
    Voice,
    /// It is an event.
    Event(Event),
}

#[derive(Clone, Copy, Debug)]
struct Over {
    since: MonoTime,
    peak_mps: f64,
    voiced: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Within,
    Over(Over),
    Said { below_since: Option<MonoTime> },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Speeding {
    config: SpeedingConfig,
    limit: Option<SpeedLimit>,
    /// Two speeds further apart than this leave the time between them unknown.
    max_interval: Duration,
    last: Option<MonoTime>,
    phase: Phase,
}

impl Speeding {
    /// Within the limit. `max_interval` is how long a speed stays believable.
    pub fn new(config: &SpeedingConfig, limit: Option<SpeedLimit>, max_interval: Duration) -> Self {
        Self { config: config.clone(), limit, max_interval, last: None, phase: Phase::Within }
    }

    /// Another limit applies from now on; None: unknown. What was counted against the old one is
    /// forgotten.
    pub const fn set_limit(&mut self, limit: Option<SpeedLimit>) {
        self.limit = limit;
        self.phase = Phase::Within;
    }

    /// Takes the speed at `at`, or that it is not known.
    pub fn step(&mut self, at: MonoTime, speed: Option<&Speed>) -> Option<SpeedingStep> {
        let gap = self.last.is_some_and(|last| at.since(last) > self.max_interval);
        self.last = Some(at);
        let known = speed.zip(self.limit).filter(|_| !gap);
        let Some((speed, limit)) = known else {
            self.phase = match self.phase {
                Phase::Within | Phase::Over(_) => Phase::Within,
                Phase::Said { .. } => Phase::Said { below_since: None },
            };
            return None;
        };
        let limit_mps = limit.kmh * KMH_TO_MPS;
        let margin_mps = (self.config.margin_kmh * KMH_TO_MPS)
            .max(limit_mps * self.config.margin_percent / 100.0);
        let over = speed.mps > limit_mps + margin_mps;
        let (phase, step) = match self.phase {
            Phase::Said { below_since } => {
                let below_since = (!over).then(|| below_since.unwrap_or(at));
                let rearmed =
                    below_since.is_some_and(|since| at.since(since) >= secs(self.config.rearm_s));
                (if rearmed { Phase::Within } else { Phase::Said { below_since } }, None)
            }
            Phase::Within | Phase::Over(_) if !over => (Phase::Within, None),
            Phase::Within => {
                (Phase::Over(Over { since: at, peak_mps: speed.mps, voiced: false }), None)
            }
            Phase::Over(mut o) => {
                o.peak_mps = o.peak_mps.max(speed.mps);
                let over_for = at.since(o.since);
                if limit.flags && over_for >= secs(self.config.event_after_s) {
                    let event = event(at, &o, limit_mps, margin_mps);
                    (Phase::Said { below_since: None }, Some(SpeedingStep::Event(event)))
                } else if !o.voiced && over_for >= secs(self.config.voice_after_s) {
                    o.voiced = true;
                    (Phase::Over(o), Some(SpeedingStep::Voice))
                } else {
                    (Phase::Over(o), None)
                }
            }
        };
        self.phase = phase;
        step
    }
}

/// Severity: medium from 20 % over the limit, high from 40 %. Own choice.
fn event(at: MonoTime, over: &Over, limit_mps: f64, margin_mps: f64) -> Event {
    let ratio = over.peak_mps / limit_mps;
    Event {
        kind: EventKind::Speeding,
        start: over.since,
        end: at,
        severity: if ratio >= 1.4 {
            Severity::High
        } else if ratio >= 1.2 {
            Severity::Medium
        } else {
            Severity::Low
        },
        confidence: 0.9,
        rule: RULE,
        numbers: vec![
            Number::new("peak", over.peak_mps / KMH_TO_MPS, "km/h"),
            Number::new("limit", limit_mps / KMH_TO_MPS, "km/h"),
            Number::new("threshold", (limit_mps + margin_mps) / KMH_TO_MPS, "km/h"),
            Number::new("duration", at.since(over.since).as_secs_f64(), "s"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vehicle_state::SpeedSource;

    const fn flags(kmh: f64) -> SpeedLimit {
        SpeedLimit { kmh, flags: true }
    }

    /// (second, is an event) over 100 s at `hz`.
    fn run(hz: u32, limit_kmh: Option<f64>, kmh: impl Fn(f64) -> Option<f64>) -> Vec<(f64, bool)> {
        let mut speeding =
            Speeding::new(&SpeedingConfig::default(), limit_kmh.map(flags), secs(2.0));
        (0..hz * 100)
            .filter_map(|n| {
                let s = f64::from(n) / f64::from(hz);
                let at = MonoTime::from_secs_f64(s);
                let speed = kmh(s).map(|v| Speed {
                    at,
                    mps: v * KMH_TO_MPS,
                    sigma_mps: 0.1,
                    source: SpeedSource::Bus,
                });
                let step = speeding.step(at, speed.as_ref())?;
                Some((s, matches!(step, SpeedingStep::Event(_))))
            })
            .collect()
    }

    #[test]
    fn voice_then_event_then_silence() {
        for hz in [1, 10, 50] {
            assert_eq!(run(hz, Some(80.0), |_| Some(95.0)), [(20.0, false), (30.0, true)], "{hz}");
        }
    }

    #[test]
    fn margins() {
        for (limit, kmh, said) in
            [(30.0, 35.0, false), (30.0, 35.1, true), (100.0, 109.9, false), (100.0, 110.1, true)]
        {
            assert_eq!(!run(10, Some(limit), |_| Some(kmh)).is_empty(), said, "{kmh} at {limit}");
        }
    }

    #[test]
    fn unknown_is_never_speeding() {
        assert_eq!(run(10, None, |_| Some(250.0)), []);
        assert_eq!(run(10, Some(50.0), |_| None), []);
        // Unknown for a moment every 15 s: never known to last 20 s.
        assert_eq!(run(10, Some(50.0), |s| (s % 15.0 > 0.5).then_some(90.0)), []);
        // One speed in three seconds leaves the time between unknown.
        let mut speeding = Speeding::new(&SpeedingConfig::default(), Some(flags(50.0)), secs(2.0));
        for s in 0..60_u32 {
            let at = MonoTime::from_secs_f64(f64::from(s) * 3.0);
            let speed = Speed { at, mps: 40.0, sigma_mps: 0.1, source: SpeedSource::Gnss };
            assert_eq!(speeding.step(at, Some(&speed)), None);
        }
    }

    #[test]
    fn hovering_at_the_margin_is_one_event() {
        let hover = |s: f64| Some(if s > 31.0 && s % 8.0 < 4.0 { 87.0 } else { 90.0 });
        assert_eq!(run(10, Some(80.0), hover).iter().filter(|e| e.1).count(), 1);
    }

    #[test]
    fn a_limit_that_only_the_countrys_rule_says_flags_nothing() {
        let limit = SpeedLimit { kmh: 50.0, flags: false };
        let mut speeding = Speeding::new(&SpeedingConfig::default(), Some(limit), secs(2.0));
        let said: Vec<_> = (0..600_u32)
            .filter_map(|n| {
                let at = MonoTime::from_secs_f64(f64::from(n) / 10.0);
                let source = SpeedSource::Bus;
                speeding.step(at, Some(&Speed { at, mps: 25.0, sigma_mps: 0.1, source }))
            })
            .collect();
        assert_eq!(said, [SpeedingStep::Voice]);
    }

    #[test]
    fn another_limit_begins_anew() {
        for (second, flagged_s) in [(None, 30), (Some(25), 55)] {
            let mut speeding =
                Speeding::new(&SpeedingConfig::default(), Some(flags(50.0)), secs(2.0));
            let first = (0..100_u32).find(|s| {
                let at = MonoTime::from_secs_f64(f64::from(*s));
                if second == Some(*s) {
                    speeding.set_limit(Some(flags(60.0)));
                }
                let speed = Speed { at, mps: 25.0, sigma_mps: 0.1, source: SpeedSource::Bus };
                matches!(speeding.step(at, Some(&speed)), Some(SpeedingStep::Event(_)))
            });
            assert_eq!(first, Some(flagged_s), "{second:?}");
        }
    }

    #[test]
    fn what_is_unknown_after_an_event_does_not_bring_another() {
        // Over all the while; not known for a moment.
        let lost = |s: f64| (!(32.0..34.0).contains(&s)).then_some(90.0);
        // Within for 6 s, not known for a moment, within for 6 s.
        let within = |s: f64| match s {
            s if (32.0..38.0).contains(&s) || (39.0..45.0).contains(&s) => Some(50.0),
            s if (38.0..39.0).contains(&s) => None,
            _ => Some(90.0),
        };
        for speed in [&lost as &dyn Fn(f64) -> Option<f64>, &within] {
            assert_eq!(run(10, Some(50.0), speed), [(20.0, false), (30.0, true)]);
        }
    }

    #[test]
    fn the_fastest_says_how_bad_it_is() {
        for (kmh, severity) in
            [(119.0, Severity::Low), (121.0, Severity::Medium), (141.0, Severity::High)]
        {
            let mut speeding =
                Speeding::new(&SpeedingConfig::default(), Some(flags(100.0)), secs(2.0));
            let event = (0..40_u32).find_map(|s| {
                let at = MonoTime::from_secs_f64(f64::from(s));
                let mps = if s == 10 { kmh } else { 112.0 } * KMH_TO_MPS;
                let speed = Speed { at, mps, sigma_mps: 0.1, source: SpeedSource::Bus };
                match speeding.step(at, Some(&speed)) {
                    Some(SpeedingStep::Event(event)) => Some(event),
                    Some(SpeedingStep::Voice) | None => None,
                }
            });
            let event = event.unwrap();
            assert_eq!(event.severity, severity, "{kmh}");
            assert!((event.numbers[0].value - kmh).abs() < 1e-9, "{event:?}");
        }
    }
}
