//! A hard hit: a peak of 2 g and more that changes the level speed by 6 km/h and more within
//! 0.15 s (own choice: validate).
//!
//! A pothole and a bump hit as hard, but upwards, and leave the level speed as it was; a slammed
//! door rings for hundredths of a second. A unit that falls from its mount is weightless before it
//! hits, so that nothing is said then. A hit on a van that is not known to drive could be a hand on the
//! unit: it counts only if the unit still sits as before 2 s later.
//!
//! INVARIANT: needs samples at 50 Hz and more: slower ones do not see a hit.

use std::{collections::VecDeque, time::Duration};

use glam::DVec3;
use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    samples::{ImuSample, STANDARD_GRAVITY_MPS2},
    time::MonoTime,
};

use crate::{
    config::{CollisionConfig, KMH_TO_MPS, secs},
    motion::free_fall::FreeFall,
};

/// The rule's name in events.
pub const RULE: &str = "collision/1";

/// Samples further apart than this do not see a hit.
const MAX_BETWEEN: Duration = Duration::from_millis(25);
/// After a fall, hits are those of the unit for so long.
const AFTER_FALL: Duration = Duration::from_secs(3);
/// How long a hit on a van that is not known to drive waits.
const SETTLES: Duration = Duration::from_secs(2);
/// A unit that was not touched shows gravity where it was before, to within this.
const SAME_DEG: f64 = 10.0;
/// One hit is one event: the next needs this much peace.
const REARM: Duration = Duration::from_secs(10);
/// Forces that are kept: more than the window at 1 kHz.
const MAX_KEPT: usize = 256;

/// A hit that goes on.
#[derive(Clone, Copy, Debug)]
struct Hit {
    began: MonoTime,
    seen: MonoTime,
    peak_g: f64,
    change_kmh: f64,
}

/// A hit that waits.
#[derive(Clone, Debug)]
struct Waiting {
    event: Event,
    up: DVec3,
    /// Mean force since.
    after: DVec3,
    samples: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Collision {
    config: CollisionConfig,
    /// Level forces of the last moments.
    level: VecDeque<(MonoTime, DVec3)>,
    last: Option<MonoTime>,
    fall: FreeFall,
    said: Option<MonoTime>,
    hit: Option<Hit>,
    waiting: Option<Waiting>,
}

impl Collision {
    /// Peace.
    pub fn new(config: &CollisionConfig) -> Self {
        Self {
            config: config.clone(),
            level: VecDeque::new(),
            last: None,
            fall: FreeFall::default(),
            said: None,
            hit: None,
            waiting: None,
        }
    }

    /// Takes a sample, the mean force of the last minutes (gravity; none while it is not known),
    /// both in the unit's axes, and the speed then.
    pub fn step(
        &mut self,
        s: &ImuSample,
        gravity: Option<[f64; 3]>,
        speed_mps: Option<f64>,
    ) -> Option<Event> {
        let (at, force) = (s.at, DVec3::from(s.accel_mps2));
        let follows = self.last.is_some_and(|last| at.since(last) <= MAX_BETWEEN);
        self.last = Some(at);
        self.fall.on_imu(s);
        let up = gravity.and_then(|g| DVec3::from(g).try_normalize());
        let Some(up) = up.filter(|_| follows && force.is_finite()) else {
            self.level.clear();
            self.hit = None;
            self.waiting = None;
            return None;
        };
        self.level.push_back((at, force.reject_from_normalized(up)));
        let window = secs(self.config.window_s);
        while self.level.len() > MAX_KEPT
            || self.level.get(1).is_some_and(|(t, _)| at.since(*t) >= window)
        {
            self.level.pop_front();
        }
        if let Some(settled) = self.settle(at, force) {
            return settled;
        }
        let calm = self.said.is_none_or(|said| at.since(said) >= REARM)
            && !self.fall.fell_within(at, AFTER_FALL);
        if !calm || self.waiting.is_some() {
            return None;
        }
        let hit = self.goes_on(at)?;
        let event = event(at, &hit, self.config.peak_g, speed_mps);
        if speed_mps.is_some_and(|v| v >= self.config.driving_kmh * KMH_TO_MPS) {
            self.said = Some(at);
            return Some(event);
        }
        self.waiting = Some(Waiting { event, up, after: DVec3::ZERO, samples: 0.0 });
        None
    }

    /// What waited, if its time has come: `Some(None)` where the unit was moved.
    fn settle(&mut self, at: MonoTime, force: DVec3) -> Option<Option<Event>> {
        let waiting = self.waiting.as_mut()?;
        let waited = at.since(waiting.event.end);
        // The second half: what rings has rung out.
        if waited * 2 >= SETTLES {
            waiting.after += force;
            waiting.samples += 1.0;
        }
        if waited < SETTLES {
            return None;
        }
        let Waiting { event, up, after, .. } = self.waiting.take()?;
        let same = after.angle_between(up).to_degrees() <= SAME_DEG
            && !self.fall.fell_within(at, AFTER_FALL);
        self.said = Some(at);
        Some(same.then_some(event))
    }

    /// Follows a hit for as long as it may grow; gives it when that is over.
    fn goes_on(&mut self, at: MonoTime) -> Option<Hit> {
        let (mut change, mut peak) = (DVec3::ZERO, 0.0_f64);
        for ((then, _), (now, level)) in self.level.iter().zip(self.level.iter().skip(1)) {
            change += *level * now.since(*then).as_secs_f64();
            peak = peak.max(level.length());
        }
        let (change_kmh, peak_g) = (change.length() / KMH_TO_MPS, peak / STANDARD_GRAVITY_MPS2);
        let hits = peak_g >= self.config.peak_g && change_kmh >= self.config.speed_change_kmh;
        let began = self.level.front().map_or(at, |(t, _)| *t);
        let hit = match self.hit {
            Some(hit) => Hit {
                peak_g: hit.peak_g.max(peak_g),
                change_kmh: hit.change_kmh.max(change_kmh),
                ..hit
            },
            None if hits => Hit { began, seen: at, peak_g, change_kmh },
            None => return None,
        };
        let over = at.since(hit.seen) >= secs(self.config.window_s);
        self.hit = (!over).then_some(hit);
        over.then_some(hit)
    }
}

fn event(at: MonoTime, hit: &Hit, threshold_g: f64, speed_mps: Option<f64>) -> Event {
    let mut numbers = vec![
        Number::new("peak", hit.peak_g, "g"),
        Number::new("threshold", threshold_g, "g"),
        Number::new("speed_change", hit.change_kmh, "km/h"),
    ];
    numbers.extend(speed_mps.map(|v| Number::new("speed", v / KMH_TO_MPS, "km/h")));
    Event {
        kind: EventKind::Collision,
        start: hit.began,
        end: at,
        // Change of speed is what injures; airbags fire from about 20 km/h. Own choice.
        severity: match hit.change_kmh {
            v if v >= 20.0 => Severity::High,
            v if v >= 10.0 => Severity::Medium,
            _ => Severity::Low,
        },
        confidence: if speed_mps.is_some() { 0.8 } else { 0.6 },
        rule: RULE,
        numbers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: [f64; 3] = [0.0, 0.0, STANDARD_GRAVITY_MPS2];

    /// Drives 30 s at 100 Hz; `force` adds to gravity, m/s², by seconds; none: no sample.
    fn events(
        speed_mps: Option<f64>,
        force: impl Fn(f64) -> Option<[f64; 3]>,
    ) -> Vec<(f64, Event)> {
        let mut collision = Collision::new(&CollisionConfig::default());
        let mut found = vec![];
        for n in 0..3000_u32 {
            let t_s = f64::from(n) / 100.0;
            let at = MonoTime::from_secs_f64(t_s);
            let Some([x, y, z]) = force(t_s) else { continue };
            let shake = 0.6 * (t_s * 75.0).sin();
            let accel_mps2 = [x + shake, y, UP[2] + z + shake];
            let s = ImuSample { at, accel_mps2, gyro_rad_s: None };
            found.extend(collision.step(&s, Some(UP), speed_mps).map(|e| (t_s, e)));
        }
        found
    }

    fn run(speed_mps: Option<f64>, force: impl Fn(f64) -> [f64; 3]) -> Vec<(f64, Severity)> {
        let found = events(speed_mps, |s| Some(force(s)));
        found.into_iter().map(|(s, event)| (s, event.severity)).collect()
    }

    fn pulse(from_s: f64, for_s: f64, size: [f64; 3]) -> impl Fn(f64) -> [f64; 3] {
        move |s| if (from_s..from_s + for_s).contains(&s) { size } else { [0.0; 3] }
    }

    #[test]
    fn hits_that_change_the_speed_are_collisions() {
        let g = STANDARD_GRAVITY_MPS2;
        for (name, hit, severity) in [
            ("from behind", pulse(5.0, 0.1, [3.0 * g, 0.0, 0.0]), Severity::Medium),
            ("from the side", pulse(5.0, 0.1, [0.0, -3.0 * g, 0.0]), Severity::Medium),
            ("into a wall", pulse(5.0, 0.12, [-8.0 * g, 0.0, 2.0 * g]), Severity::High),
        ] {
            let moving = run(Some(10.0), &hit);
            assert_eq!(moving.len(), 1, "{name}: {moving:?}");
            assert!(moving[0].0 < 5.35 && moving[0].1 >= severity, "{name}: {moving:?}");
            for speed in [Some(0.0), None] {
                let parked = run(speed, &hit);
                assert_eq!(parked.len(), 1, "{name}, parked: {parked:?}");
                assert!((7.0..7.45).contains(&parked[0].0), "{name}, parked: {parked:?}");
            }
        }
    }

    #[test]
    fn bumps_potholes_doors_and_drops_are_not() {
        let g = STANDARD_GRAVITY_MPS2;
        let bump = |s: f64| match s {
            s if (5.0..5.08).contains(&s) => [-0.8 * g, 0.0, 3.0 * g],
            s if (5.08..5.2).contains(&s) => [0.3 * g, 0.0, -0.9 * g],
            _ => [0.0; 3],
        };
        let pothole = pulse(5.0, 0.04, [-1.5 * g, 0.5 * g, 4.0 * g]);
        // A ring of 25 Hz that dies away.
        let door = |s: f64| {
            let t = (s - 5.0).max(0.0);
            let ring = if s >= 5.0 { 5.0 * g * (-t / 0.06).exp() * (t * 157.0).cos() } else { 0.0 };
            [0.3 * ring, ring, 0.4 * ring]
        };
        // 0.45 m down, then the floor; it comes to rest on its side.
        let drop = |s: f64| match s {
            s if (5.0..5.3).contains(&s) => [0.0, 0.0, -g],
            s if (5.3..5.33).contains(&s) => [6.0 * g, 3.0 * g, 8.0 * g],
            s if s >= 5.33 => [g, 0.0, -g],
            _ => [0.0; 3],
        };
        // Somebody takes it off its mount and turns it over.
        let hand = |s: f64| match s {
            s if (5.0..5.1).contains(&s) => [2.6 * g, 0.0, 0.0],
            s if s >= 5.1 => [0.0, g, -g],
            _ => [0.0; 3],
        };
        let braking = pulse(5.0, 2.0, [-0.9 * g, 0.0, 0.0]);
        // As much change of speed, and no blow.
        let kerb = pulse(5.0, 0.3, [-1.6 * g, 0.0, 0.5 * g]);
        // It is knocked askew.
        let (sin, cos) = 30.0_f64.to_radians().sin_cos();
        let askew = |s: f64| match s {
            s if (5.0..5.1).contains(&s) => [2.6 * g, 0.0, 0.0],
            s if s >= 5.1 => [0.0, sin * g, (cos - 1.0) * g],
            _ => [0.0; 3],
        };
        // It is knocked off, falls, and lies as it sat.
        let falls = |s: f64| match s {
            s if (5.0..5.1).contains(&s) => [2.6 * g, 0.0, 0.0],
            s if (5.5..5.8).contains(&s) => [0.0, 0.0, -g],
            _ => [0.0; 3],
        };
        for speed in [Some(15.0), Some(0.0), None] {
            assert_eq!(run(speed, bump), [], "bump {speed:?}");
            assert_eq!(run(speed, &pothole), [], "pothole {speed:?}");
            assert_eq!(run(speed, door), [], "door {speed:?}");
            assert_eq!(run(speed, drop), [], "drop {speed:?}");
            assert_eq!(run(speed, &braking), [], "braking {speed:?}");
            assert_eq!(run(speed, &kerb), [], "kerb {speed:?}");
        }
        for speed in [Some(0.0), None] {
            assert_eq!(run(speed, hand), [], "hand {speed:?}");
            assert_eq!(run(speed, askew), [], "askew {speed:?}");
            assert_eq!(run(speed, falls), [], "falls {speed:?}");
        }
    }

    #[test]
    fn slow_samples_and_an_unknown_up_see_nothing() {
        let mut collision = Collision::new(&CollisionConfig::default());
        for n in 0..200_u32 {
            let at = MonoTime::from_secs_f64(f64::from(n) / 20.0);
            let hit = if n == 100 { -80.0 } else { 0.0 };
            let s = ImuSample { at, accel_mps2: [hit, 0.0, 9.8], gyro_rad_s: None };
            assert_eq!(collision.step(&s, Some(UP), Some(10.0)), None);
        }
        for n in 0..2000_u32 {
            let at = MonoTime::from_secs_f64(20.0 + f64::from(n) / 100.0);
            let hit = if (100..115).contains(&n) { -80.0 } else { f64::from(n % 2) * f64::NAN };
            let s = ImuSample { at, accel_mps2: [hit, 0.0, 9.8], gyro_rad_s: None };
            assert_eq!(collision.step(&s, None, Some(10.0)), None);
        }
    }

    #[test]
    fn one_hit_is_one_event_and_the_next_is_another() {
        let g = STANDARD_GRAVITY_MPS2;
        let hits = |second_s: f64| {
            let (first, second) =
                (pulse(5.0, 0.1, [3.0 * g, 0.0, 0.0]), pulse(second_s, 0.1, [-3.0 * g, 0.0, 0.0]));
            move |s: f64| if s < 5.5 { first(s) } else { second(s) }
        };
        for speed in [Some(10.0), Some(0.0), None] {
            assert_eq!(run(speed, hits(9.0)).len(), 1, "{speed:?}");
            assert_eq!(run(speed, hits(20.0)).len(), 2, "{speed:?}");
        }
    }

    #[test]
    fn the_whole_hit_is_told_and_none_where_samples_are_missing() {
        let g = STANDARD_GRAVITY_MPS2;
        let grows = |s: f64| match s {
            s if (5.0..5.07).contains(&s) => Some([3.0 * g, 0.0, 0.0]),
            s if (5.07..5.1).contains(&s) => Some([6.0 * g, 0.0, 0.0]),
            _ => Some([0.0; 3]),
        };
        let found = events(Some(10.0), grows);
        let [(_, event)] = found.as_slice() else { panic!("{found:?}") };
        assert!((event.numbers[0].value - 6.0).abs() < 0.2, "{event:?}");
        // 3 km/h before the gap and 3 after: what was in between is not known.
        let hit = pulse(5.0, 0.1, [3.0 * g, 0.0, 0.0]);
        let gap = |s: f64| (!(5.035..5.065).contains(&s)).then(|| hit(s));
        assert_eq!(events(Some(10.0), gap), []);
    }
}
