//! Long distraction: the look off the road for longer than the speed allows.
//!
//! From EU 2023/2590 (ADDW) and Euro NCAP 2026: 3.5 s at 50 km/h and more, 6 s from 20 to
//! 50 km/h, nothing below 20. Road, mirrors and roof start no timer. A look that passes over
//! them on its way from one place off the road to another does not end an episode, one that
//! rests there for longer than 0.3 s does. Unknown stops the timer: a face lost in a far turn is
//! held for 0.3 s, never counted.
//!
//! INVARIANT: an episode is said only on a sample that saw the look off the road, at a known speed.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{AttentionConfig, KMH_TO_MPS, secs},
    gaze_zone::{GazeZone, Look},
    policy::Episode,
    seen_timer::{Reading, SeenTimer},
};

/// The rule's name in events.
pub const RULE: &str = "long_distraction/2";

/// Low below 50 km/h, high from 80. Own choice.
pub(crate) const fn severity_by_speed(kmh: f64) -> Severity {
    if kmh < 50.0 {
        Severity::Low
    } else if kmh < 80.0 {
        Severity::Medium
    } else {
        Severity::High
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    Road,
    Mirror,
    Roof,
    Unknown,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Attention {
    config: AttentionConfig,
    gap: Duration,
    timer: SeenTimer<Rest>,
    off_for: Duration,
}

impl Attention {
    /// Looking at the road.
    pub fn new(config: &AttentionConfig) -> Self {
        let gap = secs(config.gap_s);
        Self {
            config: config.clone(),
            gap,
            timer: SeenTimer::new(gap, secs(config.sweep_s)),
            off_for: Duration::ZERO,
        }
    }

    /// Takes a look at `at` with the speed then. Some as long as the look is too long.
    pub fn step(&mut self, at: MonoTime, look: &Look, speed_mps: Option<f64>) -> Option<Episode> {
        self.off_for = Duration::ZERO;
        if speed_mps.is_some_and(|v| v < self.config.slow_kmh * KMH_TO_MPS) {
            self.timer.clear();
            return None;
        }
        let rest = |state| Reading::Rest { state, tolerance: self.gap };
        let reading = match (look.zone, speed_mps) {
            (GazeZone::Unclear, _) | (_, None) => rest(Rest::Unknown),
            (GazeZone::Road, Some(_)) => rest(Rest::Road),
            (GazeZone::Mirror(_), Some(_)) => rest(Rest::Mirror),
            (GazeZone::Roof, Some(_)) => rest(Rest::Roof),
            (GazeZone::Down | GazeZone::Aside, Some(_)) => Reading::Active(look.confidence()),
        };
        let elapsed = self.timer.step(at, reading)?;
        self.off_for = elapsed.seen_for;
        let speed_mps = speed_mps?;
        let fast = speed_mps >= self.config.fast_kmh * KMH_TO_MPS;
        let allowed = secs(if fast { self.config.fast_after_s } else { self.config.slow_after_s });
        if elapsed.seen_for < allowed {
            return None;
        }
        let kmh = speed_mps / KMH_TO_MPS;
        let event = Event {
            kind: EventKind::LongDistraction,
            start: elapsed.start,
            end: at,
            severity: severity_by_speed(kmh),
            confidence: elapsed.confidence.clamp(0.0, 1.0),
            rule: RULE,
            numbers: vec![
                Number::new("off_road", elapsed.seen_for.as_secs_f64(), "s"),
                Number::new("threshold", allowed.as_secs_f64(), "s"),
                Number::new("speed", kmh, "km/h"),
            ],
        };
        Some(Episode { event, lasted: elapsed.seen_for })
    }

    /// Seen off the road for this long by now; zero where this very picture did not see it.
    pub const fn off_for(&self) -> Duration {
        self.off_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{calibration::RelativePose, gaze_zone::Mirror};

    const OFF: GazeZone = GazeZone::Down;

    fn look(zone: GazeZone) -> Look {
        let pose = RelativePose { yaw_deg: 0.0, pitch_deg: 0.0, confidence: 0.9 };
        Look { zone, direction: Some(pose), with_eyes: false }
    }

    /// Seconds until an episode, with `zone(s)` and `kmh(s)` at 10 Hz.
    fn said_after(zone: impl Fn(f64) -> GazeZone, kmh: impl Fn(f64) -> Option<f64>) -> Option<f64> {
        let mut attention = Attention::new(&AttentionConfig::default());
        (0..200_u32).map(|n| f64::from(n) / 10.0).find(|&s| {
            let speed = kmh(s).map(|v| v * KMH_TO_MPS);
            attention.step(MonoTime::from_secs_f64(s), &look(zone(s)), speed).is_some()
        })
    }

    #[test]
    fn allowed_time_depends_on_the_speed() {
        let off = |_| OFF;
        for (kmh, after) in [
            (Some(130.0), Some(3.5)),
            (Some(50.01), Some(3.5)),
            (Some(49.0), Some(6.0)),
            (Some(20.01), Some(6.0)),
            (Some(19.9), None),
            (Some(0.0), None),
            (None, None),
        ] {
            assert_eq!(said_after(off, |_| kmh), after, "{kmh:?}");
        }
        // Faster all at once: the time off the road counts from its start.
        assert_eq!(said_after(off, |s| Some(if s < 4.95 { 40.0 } else { 60.0 })), Some(5.0));
    }

    #[test]
    fn only_off_the_road_counts() {
        for zone in
            [GazeZone::Road, GazeZone::Mirror(Mirror::Left), GazeZone::Roof, GazeZone::Unclear]
        {
            assert_eq!(said_after(|_| zone, |_| Some(100.0)), None, "{zone:?}");
            let then = |s: f64| if s < 3.0 { OFF } else { zone };
            assert_eq!(said_after(then, |_| Some(100.0)), None, "{zone:?}");
        }
    }

    #[test]
    fn an_unknown_speed_stops_the_timer() {
        let off = |_| OFF;
        let lost = |s: f64| (!(2.0..2.5).contains(&s)).then_some(100.0);
        assert_eq!(said_after(off, lost), Some(6.0));
    }
}
