//! Repeated distraction: many short looks off the road, 10 s in all within 30 s, with no look at
//! the road of 2 s between them (Euro NCAP, visual attention time sharing).
//!
//! A look long enough to be a long distraction counts there and not here: no second of a look
//! makes two events. Mirrors and the roof neither count nor begin the count anew. Where the look
//! was not seen for 2 s it may have been at the road, so that too begins the count anew.
//!
//! INVARIANT: time counts only between two consecutive pictures that both saw the look off the
//! road, at a known speed of 20 km/h and more; an episode is said only on such a picture.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    events::{Event, EventKind, Number},
    time::MonoTime,
};

use crate::{
    attention::severity_by_speed,
    config::{AttentionConfig, KMH_TO_MPS, secs},
    gaze_zone::{GazeZone, Look},
    policy::Episode,
    seen_timer::ROUNDING,
};

/// The rule's name in events.
pub const RULE: &str = "repeated_distraction/1";

#[derive(Clone, Copy, Debug)]
struct Glance {
    start: MonoTime,
    last: MonoTime,
    seen_for: Duration,
    /// It is a long distraction.
    long: bool,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    start: MonoTime,
    off_for: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RepeatedDistraction {
    config: AttentionConfig,
    glances: VecDeque<Glance>,
    last: Option<(MonoTime, bool)>,
    /// Since when the look may have been at the road.
    rest_since: Option<MonoTime>,
    burst: Option<Burst>,
}

impl RepeatedDistraction {
    /// Looking at the road.
    pub fn new(config: &AttentionConfig) -> Self {
        Self {
            config: config.clone(),
            glances: VecDeque::new(),
            last: None,
            rest_since: None,
            burst: None,
        }
    }

    /// Takes a look at `at`, whether it is a long distraction by now, and the speed then. Some
    /// while it is too much and goes on.
    pub fn step(
        &mut self,
        at: MonoTime,
        look: &Look,
        long: bool,
        speed_mps: Option<f64>,
    ) -> Option<Episode> {
        if speed_mps.is_some_and(|v| v < self.config.slow_kmh * KMH_TO_MPS) {
            *self = Self::new(&self.config);
            return None;
        }
        let zone = if speed_mps.is_some() { look.zone } else { GazeZone::Unclear };
        let off = zone.is_off_road();
        let gap = secs(self.config.gap_s) + ROUNDING;
        let before = self.last.replace((at, off));
        let silent = before.filter(|(last, _)| at.since(*last) > gap);
        if let Some((last, _)) = silent {
            self.rest_since.get_or_insert(last);
        }
        if self
            .rest_since
            .is_some_and(|since| at.since(since) >= secs(self.config.repeated_reset_s))
        {
            self.glances.clear();
            self.burst = None;
        }
        match zone {
            GazeZone::Road | GazeZone::Unclear => {
                self.rest_since.get_or_insert(at);
            }
            GazeZone::Mirror(_) | GazeZone::Roof | GazeZone::Down | GazeZone::Aside => {
                self.rest_since = None;
            }
        }
        let speed_mps = speed_mps.filter(|_| off)?;
        let step = before.filter(|(last, was_off)| *was_off && at.since(*last) <= gap);
        self.count(at, step.map_or(Duration::ZERO, |(last, _)| at.since(last)), gap, long);
        self.episode(at, look.confidence(), speed_mps)
    }

    fn count(&mut self, at: MonoTime, step: Duration, gap: Duration, long: bool) {
        match self.glances.back_mut().filter(|glance| at.since(glance.last) <= gap) {
            Some(glance) => {
                glance.last = at;
                glance.seen_for += step;
                glance.long |= long;
            }
            None => self.glances.push_back(Glance {
                start: at,
                last: at,
                seen_for: Duration::ZERO,
                long,
            }),
        }
        if let Some(burst) = &mut self.burst {
            burst.off_for += step;
        }
        let from = at.saturating_sub(secs(self.config.repeated_within_s));
        while self.glances.front().is_some_and(|glance| glance.last < from) {
            self.glances.pop_front();
        }
    }

    fn episode(&mut self, at: MonoTime, confidence: f32, speed_mps: f64) -> Option<Episode> {
        let from = at.saturating_sub(secs(self.config.repeated_within_s));
        let counted = || self.glances.iter().filter(|glance| !glance.long);
        let off_for: Duration =
            counted().map(|glance| glance.seen_for.min(glance.last.since(from))).sum();
        let (glances, start) = (counted().count(), counted().next().map(|glance| glance.start));
        if self.burst.is_none() {
            // A single look is a long distraction or none.
            let enough = off_for >= secs(self.config.repeated_off_s) && glances > 1;
            let start = start.filter(|_| enough)?;
            self.burst = Some(Burst { start, off_for });
        }
        let burst = self.burst?;
        let kmh = speed_mps / KMH_TO_MPS;
        let numbers = vec![
            Number::new("off_road", burst.off_for.as_secs_f64(), "s"),
            Number::new("threshold", self.config.repeated_off_s, "s"),
            Number::new("window", self.config.repeated_within_s, "s"),
            Number::new("glances", f64::from(u32::try_from(glances).unwrap_or(u32::MAX)), ""),
            Number::new("speed", kmh, "km/h"),
        ];
        let event = Event {
            kind: EventKind::RepeatedDistraction,
            start: burst.start,
            end: at,
            severity: severity_by_speed(kmh),
            confidence,
            rule: RULE,
            numbers,
        };
        Some(Episode { event, lasted: burst.off_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::RelativePose;

    fn look(zone: GazeZone) -> Look {
        let pose = RelativePose { yaw_deg: 0.0, pitch_deg: 0.0, confidence: 0.9 };
        Look { zone, direction: Some(pose), with_eyes: true }
    }

    /// Second of the first episode at 10 Hz and 90 km/h: one letter for 0.5 s of road, mirror,
    /// down or unclear.
    fn said(script: &str) -> Option<f64> {
        let mut repeated = RepeatedDistraction::new(&AttentionConfig::default());
        let zones = script.chars().flat_map(|c| {
            let zone = match c {
                'd' => GazeZone::Down,
                'm' => GazeZone::Mirror(crate::gaze_zone::Mirror::Left),
                '?' => GazeZone::Unclear,
                _ => GazeZone::Road,
            };
            [zone; 5]
        });
        (0_u32..).zip(zones).find_map(|(n, zone)| {
            let s = f64::from(n) / 10.0;
            let at = MonoTime::from_secs_f64(s);
            repeated.step(at, &look(zone), false, Some(25.0)).map(|_| s)
        })
    }

    #[test]
    fn ten_seconds_in_thirty() {
        for (looks, times, expected) in [
            // 2.4 s seen of each look of 2.5 s; 10 s are full in the fifth.
            ("dddddrr", 8, true),
            ("dddddmm", 8, true),
            ("dddddr?r", 8, true),
            // 2 s at the road, or unseen, begin anew.
            ("dddddrrrr", 20, false),
            ("ddddd????", 20, false),
            ("dddddrr??", 20, false),
            // 1 s in 2.5 is 12 s in 30; in 3.5, 8.
            ("ddrrr", 20, true),
            ("ddmmmrr", 20, false),
        ] {
            assert_eq!(said(&looks.repeat(times)).is_some(), expected, "{looks}");
        }
        // A single look is none, however long.
        assert_eq!(said(&"d".repeat(60)), None);
    }

    #[test]
    fn slow_or_at_an_unknown_speed_nothing_counts() {
        for speed in [None, Some(5.0)] {
            let mut repeated = RepeatedDistraction::new(&AttentionConfig::default());
            for n in 0..600_u32 {
                let off = n % 30 < 20;
                let zone = if off { GazeZone::Aside } else { GazeZone::Road };
                let at = MonoTime::from_secs_f64(f64::from(n) / 10.0);
                assert_eq!(repeated.step(at, &look(zone), false, speed), None);
            }
        }
    }

    #[test]
    fn a_long_distraction_does_not_count_again() {
        let mut repeated = RepeatedDistraction::new(&AttentionConfig::default());
        for n in 0..600_u32 {
            let s = f64::from(n) / 10.0;
            let in_look = s % 6.0;
            let zone = if in_look < 5.0 { GazeZone::Down } else { GazeZone::Road };
            let long = (3.5..5.0).contains(&in_look);
            let at = MonoTime::from_secs_f64(s);
            let said = repeated.step(at, &look(zone), long, Some(25.0));
            assert_eq!(said, None, "{s}");
        }
    }
}
