//! The seat belt: an alert when it was off for 50 s of driving, an event 10 s later (Surfsight).
//!
//! INVARIANT: time counts only while the bus says that the belt is off and the speed is known to be
//! above the limit. A bus that fell silent says nothing. Fastening it, or standing, ends the count;
//! after an event only fastening it allows another.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::config::{KMH_TO_MPS, SeatBeltConfig, secs};

/// The rule's name in events.
pub const RULE: &str = "seat_belt/1";

/// A bus repeats the belt's state about once a second; what is older is unknown.
const FRESH: Duration = Duration::from_secs(5);
/// Speeds further apart leave the time between them unknown.
const MAX_BETWEEN: Duration = Duration::from_secs(2);

/// What the belt asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum SeatBeltStep {
    /// Say it in the cab.
    Voice,
    /// It is an event.
    Event(Event),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SeatBelt {
    config: SeatBeltConfig,
    fastened: Option<(MonoTime, bool)>,
    last: Option<MonoTime>,
    began: Option<MonoTime>,
    driven: Duration,
    voiced: bool,
    said: bool,
}

impl SeatBelt {
    /// Nothing is known of it.
    pub fn new(config: &SeatBeltConfig) -> Self {
        Self {
            config: config.clone(),
            fastened: None,
            last: None,
            began: None,
            driven: Duration::ZERO,
            voiced: false,
            said: false,
        }
    }

    /// Takes what the bus says.
    pub fn on_belt(&mut self, at: MonoTime, fastened: bool) {
        self.fastened = Some((at, fastened));
        if fastened {
            self.said = false;
            self.begin_anew();
        }
    }

    /// Takes the speed at `at`, or that it is not known.
    pub fn on_speed(&mut self, at: MonoTime, speed_mps: Option<f64>) -> Option<SeatBeltStep> {
        let passed = self.last.map(|last| at.since(last)).filter(|p| *p <= MAX_BETWEEN);
        self.last = Some(at);
        let off =
            self.fastened.is_some_and(|(seen, fastened)| !fastened && at.since(seen) <= FRESH);
        match speed_mps {
            Some(mps) if mps < self.config.min_speed_kmh * KMH_TO_MPS => {
                self.begin_anew();
                return None;
            }
            Some(_) if off => {}
            // Unknown: what was counted stays and does not grow.
            Some(_) | None => return None,
        }
        self.driven += passed.unwrap_or_default();
        let began = *self.began.get_or_insert(at);
        let alert = secs(self.config.alert_after_s);
        if self.said {
            None
        } else if self.driven >= alert + secs(self.config.event_after_alert_s) {
            self.said = true;
            Some(SeatBeltStep::Event(self.event(began, at, speed_mps?)))
        } else if self.driven >= alert && !self.voiced {
            self.voiced = true;
            Some(SeatBeltStep::Voice)
        } else {
            None
        }
    }

    const fn begin_anew(&mut self) {
        self.began = None;
        self.driven = Duration::ZERO;
        self.voiced = false;
    }

    fn event(&self, start: MonoTime, at: MonoTime, speed_mps: f64) -> Event {
        let kmh = speed_mps / KMH_TO_MPS;
        let threshold_s = self.config.alert_after_s + self.config.event_after_alert_s;
        Event {
            kind: EventKind::SeatBelt,
            start,
            end: at,
            // Own choice.
            severity: if kmh >= 50.0 { Severity::High } else { Severity::Medium },
            confidence: 0.95,
            rule: RULE,
            numbers: vec![
                Number::new("unbelted", self.driven.as_secs_f64(), "s"),
                Number::new("threshold", threshold_s, "s"),
                Number::new("speed", kmh, "km/h"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was asked for in 200 s, with the second; the belt is told once a second at most.
    fn steps(
        belt: impl Fn(f64) -> Option<bool>,
        kmh: impl Fn(f64) -> Option<f64>,
    ) -> Vec<(f64, SeatBeltStep)> {
        let mut seat_belt = SeatBelt::new(&SeatBeltConfig::default());
        (0..2000_u32)
            .filter_map(|n| {
                let s = f64::from(n) / 10.0;
                let at = MonoTime::from_secs_f64(s);
                if let Some(fastened) = belt(s).filter(|_| n % 10 == 0) {
                    seat_belt.on_belt(at, fastened);
                }
                Some((s, seat_belt.on_speed(at, kmh(s).map(|v| v * KMH_TO_MPS))?))
            })
            .collect()
    }

    /// (second, is an event).
    fn run(
        belt: impl Fn(f64) -> Option<bool>,
        kmh: impl Fn(f64) -> Option<f64>,
    ) -> Vec<(f64, bool)> {
        let event = |step| matches!(step, SeatBeltStep::Event(_));
        steps(belt, kmh).into_iter().map(|(s, step)| (s, event(step))).collect()
    }

    #[test]
    fn alert_then_event_then_silence() {
        assert_eq!(run(|_| Some(false), |_| Some(40.0)), [(50.0, false), (60.0, true)]);
        assert_eq!(run(|s| Some(s > 55.0), |_| Some(40.0)), [(50.0, false)]);
        // Fastened, and off again.
        let again = run(|s| Some((70.0..75.0).contains(&s)), |_| Some(40.0));
        assert_eq!(again.iter().filter(|e| e.1).count(), 2, "{again:?}");
    }

    #[test]
    fn standing_fastened_or_unknown_is_nothing() {
        assert_eq!(run(|_| Some(true), |_| Some(40.0)), []);
        assert_eq!(run(|_| None, |_| Some(40.0)), []);
        assert_eq!(run(|_| Some(false), |_| Some(5.0)), []);
        assert_eq!(run(|_| Some(false), |_| None), []);
        // From stop to stop: less than 50 s each.
        assert_eq!(run(|_| Some(false), |s| Some(if s % 45.0 < 5.0 { 0.0 } else { 40.0 })), []);
        // The bus fell silent after 30 s.
        assert_eq!(run(|s| (s < 30.0).then_some(false), |_| Some(40.0)), []);
    }

    #[test]
    fn fastening_and_standing_begin_anew() {
        // 40 s without it, a moment with it, 40 s without.
        let short = |s: f64| Some((40.0..42.0).contains(&s) || s > 82.0);
        assert_eq!(run(short, |_| Some(40.0)), []);
        // After a stop it is said again, and the event is of the second drive.
        let stop = |s: f64| Some(if (55.0..60.0).contains(&s) { 0.0 } else { 40.0 });
        let said = steps(|_| Some(false), stop);
        assert_eq!(said.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [50.0, 109.9, 119.9]);
        let SeatBeltStep::Event(event) = &said[2].1 else { panic!("{said:?}") };
        assert_eq!(event.start, MonoTime::from_secs_f64(60.0));
    }

    #[test]
    fn a_slow_bus_is_believed_and_a_missing_speed_does_not_count() {
        let slow = |s: f64| (s % 4.0 == 0.0).then_some(false);
        assert_eq!(run(slow, |_| Some(40.0)), [(50.0, false), (60.0, true)]);
        // A speed every 3 s leaves all the time between unknown.
        let mut seat_belt = SeatBelt::new(&SeatBeltConfig::default());
        for n in 0..100_u32 {
            let at = MonoTime::from_secs_f64(f64::from(n) * 3.0);
            seat_belt.on_belt(at, false);
            assert_eq!(seat_belt.on_speed(at, Some(12.0)), None);
        }
    }

    #[test]
    fn faster_is_worse() {
        for (kmh, severity) in [(49.0, Severity::Medium), (51.0, Severity::High)] {
            let said = steps(|_| Some(false), |_| Some(kmh));
            let SeatBeltStep::Event(event) = &said[1].1 else { panic!("{said:?}") };
            assert_eq!(event.severity, severity, "{kmh}");
        }
    }
}
