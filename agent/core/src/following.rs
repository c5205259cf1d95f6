//! Following too close: less than 0.7 s to the vehicle ahead, for 15 s, above 56 km/h (Motive).
//!
//! In the driver's favour the headway counts as short only where it is so with one standard
//! deviation added.
//!
//! INVARIANT: an episode is said only on a picture that saw the vehicle ahead at a known speed. A
//! picture that did not is a gap: it never counts, and ends the episode when it lasts.

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{FollowingConfig, KMH_TO_MPS, secs},
    headway::{Headway, RoadState},
    policy::Episode,
    seen_timer::{Reading, SeenTimer},
};

/// The rule's name in events.
pub const RULE: &str = "following_too_close/1";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    /// Further away, or nobody.
    Apart,
    Unknown,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Following {
    config: FollowingConfig,
    timer: SeenTimer<Rest>,
    began: Option<MonoTime>,
    shortest_s: f64,
}

impl Following {
    /// Nobody ahead.
    pub fn new(config: &FollowingConfig) -> Self {
        let gap = secs(config.gap_s);
        Self {
            config: config.clone(),
            timer: SeenTimer::new(gap, gap),
            began: None,
            shortest_s: f64::INFINITY,
        }
    }

    /// Takes what was made of a road picture and the speed then. Some while it was short for too
    /// long.
    pub fn step(&mut self, road: &RoadState, speed_mps: Option<f64>) -> Option<Episode> {
        let kmh = speed_mps.map(|v| v / KMH_TO_MPS);
        if kmh.is_some_and(|v| v < self.config.min_speed_kmh) {
            self.timer.clear();
            return None;
        }
        let rest = |state| Reading::Rest { state, tolerance: secs(self.config.gap_s) };
        let (reading, time_s) = match (road.headway, kmh) {
            (Headway::Behind { time_s, error_s, confidence, .. }, Some(_))
                if time_s + error_s < self.config.headway_s =>
            {
                (Reading::Active(confidence), time_s)
            }
            (Headway::Behind { .. } | Headway::Free, Some(_)) => (rest(Rest::Apart), f64::INFINITY),
            (Headway::Unknown(_), _) | (_, None) => (rest(Rest::Unknown), f64::INFINITY),
        };
        let elapsed = self.timer.step(road.at, reading)?;
        if self.began.replace(elapsed.start) != Some(elapsed.start) {
            self.shortest_s = f64::INFINITY;
        }
        self.shortest_s = self.shortest_s.min(time_s);
        if elapsed.seen_for < secs(self.config.after_s) {
            return None;
        }
        let event = Event {
            kind: EventKind::FollowingTooClose,
            start: elapsed.start,
            end: road.at,
            // Half of the allowed time is within anybody's reaction time (own choice).
            severity: if self.shortest_s < self.config.headway_s / 2.0 {
                Severity::High
            } else {
                Severity::Medium
            },
            confidence: elapsed.confidence.clamp(0.0, 1.0),
            rule: RULE,
            numbers: vec![
                Number::new("shortest", self.shortest_s, "s"),
                Number::new("kept", elapsed.seen_for.as_secs_f64(), "s"),
                Number::new("threshold", self.config.headway_s, "s"),
                Number::new("speed", kmh?, "km/h"),
            ],
        };
        Some(Episode { event, lasted: elapsed.seen_for })
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::perception::NotSeen;

    use super::*;
    use crate::headway::NoHeadway;

    /// Seconds of the first and number of all episodes told, of 40 s at 5 Hz.
    fn run(kmh: Option<f64>, headway: impl Fn(f64) -> Headway) -> Option<(f64, usize)> {
        let mut following = Following::new(&FollowingConfig::default());
        let told: Vec<f64> = (0..200_u32)
            .filter_map(|n| {
                let s = f64::from(n) / 5.0;
                let road = RoadState { at: MonoTime::from_secs_f64(s), headway: headway(s) };
                following.step(&road, kmh.map(|v| v * KMH_TO_MPS)).map(|_| s)
            })
            .collect();
        told.first().map(|first| (*first, told.len()))
    }

    /// Severities and what was told of the shortest time, of every picture that was told of.
    fn events(kmh: impl Fn(f64) -> f64, time_s: impl Fn(f64) -> f64) -> Vec<(f64, Severity, f64)> {
        let mut following = Following::new(&FollowingConfig::default());
        (0..300_u32)
            .filter_map(|n| {
                let s = f64::from(n) / 5.0;
                let headway = behind(time_s(s), 0.02);
                let road = RoadState { at: MonoTime::from_secs_f64(s), headway };
                let told = following.step(&road, Some(kmh(s) * KMH_TO_MPS))?;
                Some((s, told.event.severity, told.event.numbers[0].value))
            })
            .collect()
    }

    fn behind(time_s: f64, error_s: f64) -> Headway {
        Headway::Behind { distance_m: 15.0, time_s, error_s, confidence: 0.9 }
    }

    #[test]
    fn short_for_long_enough_and_fast_enough() {
        for (name, kmh, time_s, error_s, first) in [
            ("short", Some(90.0), 0.5, 0.1, Some(15.0)),
            ("just short", Some(57.0), 0.6, 0.05, Some(15.0)),
            ("not surely short", Some(90.0), 0.6, 0.15, None),
            ("far enough", Some(90.0), 0.8, 0.05, None),
            ("slow", Some(55.0), 0.5, 0.1, None),
            ("speed unknown", None, 0.5, 0.1, None),
        ] {
            let told = run(kmh, |_| behind(time_s, error_s));
            assert_eq!(told.map(|t| t.0), first, "{name}");
        }
    }

    #[test]
    fn what_is_not_seen_counts_for_nothing() {
        let unknown = Headway::Unknown(NoHeadway::NotSeen(NotSeen::BadLight));
        assert_eq!(run(Some(90.0), |_| unknown), None);
        // Lost for 3 s after 10 s: begins anew, at 13 s.
        let lost = |s: f64| if (10.0..13.0).contains(&s) { unknown } else { behind(0.5, 0.1) };
        assert_eq!(run(Some(90.0), lost).map(|t| t.0), Some(28.0));
        // A picture here and there is bridged and does not count.
        let flickers = |s: f64| if (s * 5.0) % 10.0 < 0.5 { unknown } else { behind(0.5, 0.1) };
        let first = run(Some(90.0), flickers).unwrap().0;
        assert!((17.0..20.0).contains(&first), "{first}");
        // Somebody cuts in every 10 s and falls behind again.
        let cut_in = |s: f64| if s % 10.0 < 4.0 { behind(0.5, 0.1) } else { Headway::Free };
        assert_eq!(run(Some(90.0), cut_in), None);
    }

    #[test]
    fn the_shortest_time_of_an_episode_says_how_bad_it_is() {
        let told = |time_s: &dyn Fn(f64) -> f64| events(|_| 90.0, time_s);
        for (time_s, severity) in [(0.36, Severity::Medium), (0.34, Severity::High)] {
            let told = told(&|_| time_s);
            assert!(told.iter().all(|t| t.1 == severity), "{time_s}: {told:?}");
        }
        // Comes near for a second, and falls back a little.
        let nears = |s: f64| if (5.0..6.0).contains(&s) { 0.3 } else { 0.6 };
        assert_eq!(told(&nears).first(), Some(&(15.0, Severity::High, 0.3)));
        // An episode of its own does not have the shortest time of the one before.
        let twice = |s: f64| match s {
            s if s < 20.0 => 0.3,
            s if s < 30.0 => 2.0,
            _ => 0.6,
        };
        assert_eq!(told(&twice).last().map(|t| (t.1, t.2)), Some((Severity::Medium, 0.6)));
    }

    #[test]
    fn a_slow_moment_and_a_missing_picture_begin_anew() {
        let slow = |s: f64| if (9.9..10.1).contains(&s) { 50.0 } else { 90.0 };
        let told = events(slow, |_| 0.5);
        assert_eq!(told.first().map(|t| t.0), Some(25.2));
        // No pictures at all for 2 s.
        let mut following = Following::new(&FollowingConfig::default());
        let first = (0..200_u32).map(|n| f64::from(n) / 5.0).find(|s| {
            let road = RoadState { at: MonoTime::from_secs_f64(*s), headway: behind(0.5, 0.02) };
            let seen = !(10.0..12.0).contains(s);
            seen && following.step(&road, Some(25.0)).is_some()
        });
        assert_eq!(first, Some(27.0));
    }
}
