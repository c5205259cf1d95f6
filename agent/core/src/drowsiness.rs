//! Microsleep and sleep: eyes seen closed for 1 s and 3 s (Euro NCAP 2026).
//!
//! 'Not seen is not closed': hidden eyes, an unsure reading, a head turned away or bent down (the
//! lids then cover an open eye) are unknown; unknown for longer than 0.3 s ends the closure, and
//! no gap counts in it. An opening of more than 0.1 s ends it too, so that fluttering lids do not
//! add up.
//!
//! One closure gives at most one event of each kind: a microsleep that goes on becomes a sleep.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    perception::{EyelidOpening, Seen},
    time::MonoTime,
};

use crate::{
    config::{DrowsinessConfig, KMH_TO_MPS, secs},
    head_zone::RelativePose,
    seen_timer::{Elapsed, Reading, SeenTimer},
};

/// One misread picture at 10 Hz and more. Own choice.
const OPEN_TOLERANCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    Open,
    Unknown,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Drowsiness {
    config: DrowsinessConfig,
    timer: SeenTimer<Rest>,
    /// The closure that was reported, and how far.
    said: Option<(MonoTime, EventKind)>,
}

impl Drowsiness {
    /// Awake.
    pub fn new(config: &DrowsinessConfig) -> Self {
        let gap = secs(config.gap_s);
        Self { config: config.clone(), timer: SeenTimer::new(gap, gap), said: None }
    }

    /// Takes the eyelids of one picture, the head pose with it and the speed then.
    pub fn step(
        &mut self,
        at: MonoTime,
        eyelids: &Seen<EyelidOpening>,
        head: Option<&RelativePose>,
        speed_mps: Option<f64>,
    ) -> Option<Event> {
        if speed_mps.is_some_and(|v| v < self.config.min_speed_kmh * KMH_TO_MPS) {
            self.timer.clear();
            return None;
        }
        let reading = speed_mps.map_or(self.unknown(), |_| self.reading(eyelids, head));
        let elapsed = self.timer.step(at, reading)?;
        let kind = if elapsed.seen_for >= secs(self.config.sleep_s) {
            EventKind::Sleep
        } else if elapsed.seen_for >= secs(self.config.microsleep_s) {
            EventKind::Microsleep
        } else {
            return None;
        };
        if self.said == Some((elapsed.start, kind)) {
            return None;
        }
        self.said = Some((elapsed.start, kind));
        Some(self.event(at, kind, &elapsed, speed_mps.unwrap_or_default()))
    }

    fn unknown(&self) -> Reading<Rest> {
        Reading::Rest { state: Rest::Unknown, tolerance: secs(self.config.gap_s) }
    }

    fn reading(&self, eyelids: &Seen<EyelidOpening>, head: Option<&RelativePose>) -> Reading<Rest> {
        let c = &self.config;
        let away = head.is_some_and(|head| {
            head.pitch_deg < c.head_down_deg || head.yaw_deg.abs() > c.head_turned_deg
        });
        match *eyelids {
            Seen::Known { value: EyelidOpening(opening), confidence }
                if !away && opening >= 0.0 && f64::from(confidence) >= c.min_confidence =>
            {
                if f64::from(opening) < c.closed_below {
                    Reading::Active(confidence)
                } else {
                    Reading::Rest { state: Rest::Open, tolerance: OPEN_TOLERANCE }
                }
            }
            Seen::Known { .. } | Seen::Unknown(_) => self.unknown(),
        }
    }

    fn event(&self, at: MonoTime, kind: EventKind, elapsed: &Elapsed, speed_mps: f64) -> Event {
        let sleep = kind == EventKind::Sleep;
        Event {
            kind,
            start: elapsed.start,
            end: at,
            severity: if sleep { Severity::High } else { Severity::Medium },
            confidence: elapsed.confidence.clamp(0.0, 1.0),
            rule: if sleep { "sleep/1" } else { "microsleep/1" },
            numbers: vec![
                Number::new("closed", elapsed.seen_for.as_secs_f64(), "s"),
                Number::new(
                    "threshold",
                    if sleep { self.config.sleep_s } else { self.config.microsleep_s },
                    "s",
                ),
                Number::new("speed", speed_mps / KMH_TO_MPS, "km/h"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::perception::NotSeen;

    use super::*;

    const CLOSED: Seen<EyelidOpening> = Seen::Known { value: EyelidOpening(0.05), confidence: 0.9 };
    const OPEN: Seen<EyelidOpening> = Seen::Known { value: EyelidOpening(0.24), confidence: 0.9 };
    const HIDDEN: Seen<EyelidOpening> = Seen::Unknown(NotSeen::EyesUnclear);

    /// Events of 8 s at 10 Hz as (kind, second).
    fn run(
        eyelids: impl Fn(f64) -> Seen<EyelidOpening>,
        head: Option<RelativePose>,
        kmh: Option<f64>,
    ) -> Vec<(EventKind, f64)> {
        let mut drowsiness = Drowsiness::new(&DrowsinessConfig::default());
        (0..80_u32)
            .map(|n| f64::from(n) / 10.0)
            .filter_map(|s| {
                let at = MonoTime::from_secs_f64(s);
                let speed = kmh.map(|v| v * KMH_TO_MPS);
                drowsiness.step(at, &eyelids(s), head.as_ref(), speed).map(|e| (e.kind, s))
            })
            .collect()
    }

    fn pose(yaw_deg: f64, pitch_deg: f64) -> Option<RelativePose> {
        Some(RelativePose { yaw_deg, pitch_deg, confidence: 0.9 })
    }

    #[test]
    fn one_closure_is_one_microsleep_and_one_sleep() {
        let expected = vec![(EventKind::Microsleep, 1.0), (EventKind::Sleep, 3.0)];
        for head in [None, pose(0.0, 0.0), pose(30.0, -15.0)] {
            assert_eq!(run(|_| CLOSED, head, Some(60.0)), expected, "{head:?}");
        }
        let blink = |s: f64| if s < 0.9 { CLOSED } else { OPEN };
        assert_eq!(run(blink, None, Some(60.0)), []);
    }

    #[test]
    fn not_seen_is_not_closed() {
        let unsure = Seen::Known { value: EyelidOpening(0.0), confidence: 0.1 };
        let nonsense = Seen::Known { value: EyelidOpening(f32::NAN), confidence: 0.9 };
        for eyelids in [HIDDEN, unsure, nonsense, OPEN] {
            assert_eq!(run(|_| eyelids, None, Some(60.0)), [], "{eyelids:?}");
            let then = |s: f64| if s < 0.8 { CLOSED } else { eyelids };
            assert_eq!(run(then, None, Some(60.0)), [], "{eyelids:?}");
        }
    }

    #[test]
    fn lids_over_a_lowered_gaze_are_not_closed_eyes() {
        for head in [pose(0.0, -30.0), pose(60.0, 0.0)] {
            assert_eq!(run(|_| CLOSED, head, Some(60.0)), [], "{head:?}");
        }
    }

    #[test]
    fn parked_or_unknown_speed_is_no_sleep() {
        for kmh in [None, Some(0.0), Some(9.9)] {
            assert_eq!(run(|_| CLOSED, None, kmh), [], "{kmh:?}");
        }
    }

    #[test]
    fn fluttering_lids_do_not_add_up() {
        // 0.2 s closed, 0.2 s open.
        let flutter = |s: f64| if (s * 10.0).rem_euclid(4.0) < 1.5 { CLOSED } else { OPEN };
        assert_eq!(run(flutter, None, Some(60.0)), []);
    }
}
