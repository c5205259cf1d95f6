//! Idling: the engine runs and the vehicle stands for 5 minutes (California's limit for commercial
//! vehicles, 13 CCR 2485). No pictures are kept of it.
//!
//! INVARIANT: both must be known all the while: a bus that fell silent says nothing.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::config::{IdlingConfig, secs};

/// The rule's name in events.
pub const RULE: &str = "idling/1";

/// An engine that runs turns faster; a starter does not.
const RUNS_RPM: f64 = 350.0;
/// What is older is unknown.
const FRESH: Duration = Duration::from_secs(5);
/// Slower is standing: wheel sensors do not see less.
const STANDS_MPS: f64 = 0.3;

/// See the module.
#[derive(Clone, Debug)]
pub struct Idling {
    config: IdlingConfig,
    engine: Option<(MonoTime, f64)>,
    since: Option<MonoTime>,
    last: Option<MonoTime>,
    said: bool,
}

impl Idling {
    /// Nothing is known.
    pub fn new(config: &IdlingConfig) -> Self {
        Self { config: config.clone(), engine: None, since: None, last: None, said: false }
    }

    /// Takes the engine's speed.
    pub const fn on_engine(&mut self, at: MonoTime, rpm: f64) {
        self.engine = Some((at, rpm));
    }

    /// Takes the speed at `at`, or that it is not known.
    pub fn on_speed(&mut self, at: MonoTime, speed_mps: Option<f64>) -> Option<Event> {
        let gap = self.last.is_some_and(|last| at.since(last) > FRESH);
        self.last = Some(at);
        let runs =
            self.engine.is_some_and(|(seen, rpm)| rpm >= RUNS_RPM && at.since(seen) <= FRESH);
        let stands = speed_mps.is_some_and(|v| v <= STANDS_MPS);
        if !runs || !stands || gap {
            self.since = None;
            self.said = false;
            return None;
        }
        let since = *self.since.get_or_insert(at);
        if self.said || at.since(since) < secs(self.config.after_s) {
            return None;
        }
        self.said = true;
        Some(Event {
            kind: EventKind::Idling,
            start: since,
            end: at,
            severity: Severity::Low,
            confidence: 0.95,
            rule: RULE,
            numbers: vec![
                Number::new("idle", at.since(since).as_secs_f64() / 60.0, "min"),
                Number::new("threshold", self.config.after_s / 60.0, "min"),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at which it was said, of 20 min at 1 Hz.
    fn run(rpm: impl Fn(u32) -> Option<f64>, mps: impl Fn(u32) -> Option<f64>) -> Vec<u32> {
        let mut idling = Idling::new(&IdlingConfig::default());
        (0..1200_u32)
            .filter(|&s| {
                let at = MonoTime::from_secs_f64(f64::from(s));
                if let Some(rpm) = rpm(s) {
                    idling.on_engine(at, rpm);
                }
                idling.on_speed(at, mps(s)).is_some()
            })
            .collect()
    }

    #[test]
    fn a_running_engine_in_a_standing_van() {
        assert_eq!(run(|_| Some(800.0), |_| Some(0.0)), [300]);
        // A wheel sensor that trembles.
        assert_eq!(run(|_| Some(800.0), |_| Some(0.2)), [300]);
        // A stop, a drive, a stop.
        assert_eq!(run(|_| Some(800.0), |s| Some(f64::from(u8::from(s == 400)))), [300, 701]);
        for (name, rpm, mps) in [
            ("off", Some(0.0), Some(0.0)),
            ("a starter turns it", Some(250.0), Some(0.0)),
            ("drives", Some(1800.0), Some(10.0)),
            ("engine unknown", None, Some(0.0)),
            ("speed unknown", Some(800.0), None),
            ("no number", Some(f64::NAN), Some(0.0)),
        ] {
            assert_eq!(run(|_| rpm, |_| mps), [0; 0], "{name}");
        }
        // At lights.
        assert_eq!(run(|_| Some(800.0), |s| Some(if s % 120 < 90 { 0.0 } else { 9.0 })), [0; 0]);
        // The bus fell silent.
        assert_eq!(run(|s| (s < 200).then_some(800.0), |_| Some(0.0)), [0; 0]);
    }

    #[test]
    fn a_gap_in_the_speed_begins_anew() {
        for (gap_s, said) in [(4, 300), (8, 409)] {
            let mut idling = Idling::new(&IdlingConfig::default());
            let found: Vec<u32> = (0..600_u32)
                .filter(|&s| {
                    let at = MonoTime::from_secs_f64(f64::from(s));
                    idling.on_engine(at, 800.0);
                    let told = !(100..100 + gap_s).contains(&s);
                    told && idling.on_speed(at, Some(0.0)).is_some()
                })
                .collect();
            assert_eq!(found, [said], "{gap_s}");
        }
    }
}
