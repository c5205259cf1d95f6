use proptest::prelude::*;

use super::*;
use crate::{motion::speed_filter::SpeedSource, timebase::Timing};

const UP: [f64; 3] = [0.0, 0.0, STANDARD_GRAVITY_MPS2];

/// Drives 30 s at 100 Hz; `force` adds to gravity, m/s², by seconds; none: no sample.
fn events(speed_mps: Option<f64>, force: impl Fn(f64) -> Option<[f64; 3]>) -> Vec<(f64, Event)> {
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
    // 3 km/h before the gap and 3 after: what was in between is not known, and the rest is enough.
    let hit = pulse(5.0, 0.1, [3.0 * g, 0.0, 0.0]);
    let gap = |s: f64| (!(5.035..5.065).contains(&s)).then(|| hit(s));
    let found = events(Some(10.0), gap);
    let [(_, event)] = found.as_slice() else { panic!("{found:?}") };
    assert!(event.confidence < 0.7, "{event:?}");
    let unseen = event.numbers.iter().find(|n| n.name == "unseen").unwrap();
    assert!((unseen.value - 0.04).abs() < 1e-6, "{event:?}");
    // Of less it is not known what it was.
    let gap = |s: f64| (!(5.025..5.075).contains(&s)).then(|| hit(s));
    assert_eq!(events(Some(10.0), gap), []);
}

/// What happens to a van and to the sensor in it.
#[derive(Clone, Copy)]
struct Scene<'a> {
    /// What adds to gravity, m/s², by seconds; 5 s is when it happens.
    force: &'a dyn Fn(f64) -> [f64; 3],
    /// The van's speed, as the detector knows it and as the bus tells it; none: no bus.
    mps: &'a dyn Fn(f64) -> Option<f64>,
    hz: u32,
    /// Between these seconds no sample comes.
    gaps: &'a [(f64, f64)],
    /// What comes instead of a sample.
    broken: &'a dyn Fn(f64) -> Option<[f64; 3]>,
    ends_s: f64,
}

const WHOLE: Scene<'static> = Scene {
    force: &|_| [0.0; 3],
    mps: &|_| None,
    hz: 100,
    gaps: &[],
    broken: &|_| None,
    ends_s: 14.0,
};

impl Scene<'_> {
    /// What is said, and at which second.
    fn told(&self) -> Vec<(f64, Event)> {
        let mut collision = Collision::new(&CollisionConfig::default());
        let mut found = vec![];
        for ms in (0..).step_by(10).take_while(|ms| f64::from(*ms) / 1000.0 < self.ends_s) {
            let s = f64::from(ms) / 1000.0;
            let at = MonoTime::from_secs_f64(s);
            let mps = (self.mps)(s);
            if ms % 50 == 0 {
                // Some signal or other comes all the while.
                let said = match mps {
                    Some(mps) => collision.on_speed(&Measured {
                        at,
                        mps,
                        sigma_mps: 0.2,
                        source: SpeedSource::Bus,
                        timing: Timing::Steady,
                    }),
                    None => collision.look(at),
                };
                found.extend(said.map(|e| (s, e)));
            }
            let lost = self.gaps.iter().any(|(from, to)| (*from..*to).contains(&s));
            if lost || ms % (1000 / self.hz) != 0 {
                continue;
            }
            let [x, y, z] = (self.force)(s);
            let shake = 0.6 * (s * 75.0).sin();
            let felt = [x + shake, y, UP[2] + z + shake];
            let accel_mps2 = (self.broken)(s).unwrap_or(felt);
            let sample = ImuSample { at, accel_mps2, gyro_rad_s: None };
            found.extend(collision.step(&sample, Some(UP), mps).map(|e| (s, e)));
        }
        found.extend(collision.end().map(|e| (self.ends_s, e)));
        found
    }
}

/// So many m/s until 5 s, and so much more after a hit of 0.1 s.
fn speeds(mps: f64, change_mps: f64) -> impl Fn(f64) -> Option<f64> {
    move |s| Some((mps + change_mps * ((s - 5.0) / 0.1).clamp(0.0, 1.0)).max(0.0))
}

const G: f64 = STANDARD_GRAVITY_MPS2;

#[test]
fn a_gap_after_the_peak_loses_no_hit() {
    for (name, size, for_s, seen_s) in [
        ("from behind", [3.0 * G, 0.0, 0.0], 0.1, 0.08),
        ("from the side", [0.0, -3.0 * G, 0.0], 0.1, 0.08),
        ("into a wall", [-8.0 * G, 0.0, 2.0 * G], 0.12, 0.05),
    ] {
        let hit = pulse(5.0, for_s, size);
        for (speed, hz) in [(Some(10.0), 100), (Some(0.0), 100), (None, 100), (Some(10.0), 50)] {
            let mps = move |_: f64| speed;
            for gap in (0..250_u32).step_by(7) {
                let from_s = 5.0 + seen_s + f64::from(gap) / 100.0;
                for lost_s in [0.03, 0.06, 0.2, 0.5, 2.0, 4.0, 100.0] {
                    let gaps = [(from_s, from_s + lost_s)];
                    let scene = Scene { force: &hit, mps: &mps, hz, gaps: &gaps, ..WHOLE };
                    let found = scene.told();
                    let why = format!("{name} at {speed:?}, {hz} Hz, {gaps:?}: {found:?}");
                    let [(said_s, event)] = found.as_slice() else { panic!("{why}") };
                    let latest_s = if speed == Some(10.0) { 5.6 } else { 10.6 };
                    assert!(*said_s <= latest_s, "{why}");
                    let unseen = event.numbers.iter().any(|n| n.name == "unseen");
                    // What was lost before it was said shows, and only that.
                    let edge = (-0.01..0.16).contains(&(said_s - from_s));
                    assert!(edge || unseen == (from_s + 0.025 < *said_s), "{why}");
                    let whole = if speed.is_some() { 0.75 } else { 0.55 };
                    assert_eq!(unseen, event.confidence < whole, "{why}");
                }
            }
        }
    }
}

#[test]
fn a_gap_that_swallows_a_part_of_the_pulse_loses_no_hit_that_the_speed_bears_out() {
    let hit = pulse(5.0, 0.1, [-4.0 * G, 0.0, 0.0]);
    let mps = speeds(12.0, -4.0 * G * 0.1);
    for from in 0..30_u32 {
        let from_s = 4.85 + f64::from(from) / 100.0;
        for lost_s in [0.03, 0.05, 0.06] {
            let gaps = [(from_s, from_s + lost_s)];
            let found = Scene { force: &hit, mps: &mps, gaps: &gaps, ..WHOLE }.told();
            assert_eq!(found.len(), 1, "{gaps:?}: {found:?}");
            assert!(found[0].0 < 5.5, "{gaps:?}: {found:?}");
        }
        // The power goes in the middle of it, and three samples were seen.
        if from_s >= 5.025 {
            let gaps = [(from_s, 100.0)];
            let found = Scene { force: &hit, mps: &mps, gaps: &gaps, ..WHOLE }.told();
            assert_eq!(found.len(), 1, "{gaps:?}: {found:?}");
            assert!(found[0].0 < 7.5, "{gaps:?}: {found:?}");
        }
    }
    // What a brake does to the speed bears nothing out.
    let brakes = |s: f64| Some((15.0 - 0.9 * G * (s - 4.5).max(0.0)).max(0.0));
    let gaps = [(5.025, 5.085)];
    let found = Scene { force: &hit, mps: &brakes, gaps: &gaps, ..WHOLE }.told();
    assert_eq!(found, []);
}

/// 0.45 m down, then the floor; it comes to rest on its side.
fn drops(s: f64) -> [f64; 3] {
    match s {
        s if (5.0..5.3).contains(&s) => [0.0, 0.0, -G],
        s if (5.3..5.33).contains(&s) => [6.0 * G, 3.0 * G, 8.0 * G],
        s if s >= 5.33 => [G, 0.0, -G],
        _ => [0.0; 3],
    }
}

/// A door rings at 25 Hz with so many g.
fn rings(g: f64, s: f64) -> [f64; 3] {
    let t = (s - 5.0).max(0.0);
    let ring = if s >= 5.0 { g * G * (-t / 0.06).exp() * (t * 157.0).cos() } else { 0.0 };
    [0.3 * ring, ring, 0.4 * ring]
}

fn door(s: f64) -> [f64; 3] {
    rings(5.0, s)
}

fn slam(s: f64) -> [f64; 3] {
    rings(9.0, s)
}

/// A unit swings in its mount at 8 Hz.
fn swings(s: f64) -> [f64; 3] {
    let t = (s - 5.0).max(0.0);
    let swing = if s >= 5.0 { 4.2 * G * (-t / 0.3).exp() * (t * 50.0).cos() } else { 0.0 };
    [swing, 0.2 * swing, 0.0]
}

fn pothole(s: f64) -> [f64; 3] {
    pulse(5.0, 0.04, [-1.5 * G, 0.5 * G, 4.0 * G])(s)
}

fn bump(s: f64) -> [f64; 3] {
    match s {
        s if (5.0..5.08).contains(&s) => [-0.8 * G, 0.0, 3.0 * G],
        s if (5.08..5.2).contains(&s) => [0.3 * G, 0.0, -0.9 * G],
        _ => [0.0; 3],
    }
}

fn brakes(s: f64) -> [f64; 3] {
    pulse(5.0, 1.5, [-0.9 * G, 0.0, 0.0])(s)
}

/// Somebody takes it off its mount and turns it over.
fn hand(s: f64) -> [f64; 3] {
    match s {
        s if (5.0..5.1).contains(&s) => [2.6 * G, 0.0, 0.0],
        s if s >= 5.1 => [0.0, G, -G],
        _ => [0.0; 3],
    }
}

#[test]
fn what_is_no_collision_is_none_with_a_gap_anywhere() {
    type Case<'a> = (&'a str, &'a dyn Fn(f64) -> [f64; 3], &'a [Option<f64>]);
    let (parked, all) = ([Some(0.0), None], [Some(15.0), Some(0.0), None]);
    let cases: [Case<'_>; 8] = [
        ("a drop", &drops, &all),
        ("a door", &door, &all),
        ("a door that is slammed hard", &slam, &all),
        ("a unit that swings", &swings, &all),
        ("a pothole", &pothole, &all),
        ("a bump", &bump, &all),
        ("braking", &brakes, &all),
        ("a hand", &hand, &parked),
    ];
    for (name, force, at) in cases {
        for speed in at {
            let mps = |s: f64| {
                let braked =
                    if name == "braking" { 0.9 * G * (s - 5.0).clamp(0.0, 1.5) } else { 0.0 };
                speed.map(|v| (v - braked).max(0.0))
            };
            for hz in [50, 100] {
                for from in (0..80_u32).step_by(3) {
                    let from_s = 4.7 + f64::from(from) / 100.0;
                    for lost_s in [0.03, 0.06, 0.2, 0.3, 0.6, 2.0, 100.0] {
                        // Taken away for good before anything shows a hand, it is a hit like another.
                        if name == "a hand" && lost_s > 3.0 && from_s < 5.7 {
                            continue;
                        }
                        let gaps = [(from_s, from_s + lost_s)];
                        let scene = Scene { force, mps: &mps, hz, gaps: &gaps, ..WHOLE };
                        assert_eq!(scene.told(), [], "{name} at {speed:?}, {hz} Hz, {gaps:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_sensor_that_flickers_hits_nobody() {
    let flickers: Vec<_> =
        (0..20_u32).map(|n| 3.0 + f64::from(n) * 0.3).map(|s| (s, s + 0.1)).collect();
    let within = |from_s: f64, to_s: f64, s: f64| (from_s - 1e-6..to_s - 1e-6).contains(&s);
    let spike = |at: f64| move |s: f64| within(at, at + 0.02, s).then_some([150.0, -100.0, 9.8]);
    let garbage =
        |for_s: f64, felt: [f64; 3]| move |s: f64| within(5.0, 5.0 + for_s, s).then_some(felt);
    let noise = |s: f64| {
        let n = |f: f64| 150.0 * (s * f).sin();
        within(5.0, 5.2, s).then(|| [n(3171.0), n(5417.0), n(7907.0)])
    };
    type Case<'a> = (&'a str, Vec<(f64, f64)>, &'a dyn Fn(f64) -> Option<[f64; 3]>);
    let reset = vec![(4.5, 5.0)];
    let each = |s: f64| spike(3.0 + ((s - 3.0) / 0.3).floor() * 0.3 + 0.1)(s);
    let long = [0.04, 0.1, 0.2, 0.5].map(|for_s| garbage(for_s, [156.9, 120.0, -156.9]));
    let mut cases: Vec<Case<'_>> = vec![
        ("it flickers", flickers.clone(), &|_| None),
        ("a spike after each", flickers, &each),
        ("noise after a reset", reset.clone(), &noise),
    ];
    let zeros = garbage(0.3, [0.0; 3]);
    let nan = garbage(0.3, [f64::NAN; 3]);
    let huge = garbage(0.3, [1e6, 0.0, 0.0]);
    cases.push(("zeros after a reset", reset.clone(), &zeros));
    cases.push(("no numbers after a reset", reset.clone(), &nan));
    cases.push(("no forces after a reset", reset.clone(), &huge));
    cases.push(("no forces at all", vec![], &huge));
    for garbage in &long {
        cases.push(("full scale after a reset", reset.clone(), garbage));
    }
    let (before, after, alone) = (spike(4.48), spike(5.0), spike(5.0));
    cases.push(("a spike before a gap", reset.clone(), &before));
    cases.push(("a spike after a gap", reset.clone(), &after));
    cases.push(("a spike", vec![], &alone));
    let both = |s: f64| before(s).or_else(|| garbage(0.2, [156.9, 120.0, -156.9])(s));
    cases.push(("a spike, a gap, and garbage", reset, &both));
    for (name, gaps, broken) in &cases {
        for (speed, hz) in [(Some(15.0), 100), (Some(0.0), 100), (None, 100), (Some(15.0), 50)] {
            let mps = |_: f64| speed;
            let scene = Scene { mps: &mps, hz, gaps, broken, ..WHOLE };
            assert_eq!(scene.told(), [], "{name} at {speed:?}, {hz} Hz");
        }
    }
    // And it is no excuse: the next hit is found, and so is one into the middle of the zeros.
    let hit = pulse(8.0, 0.1, [-4.0 * G, 0.0, 0.0]);
    let mps = |_: f64| Some(15.0);
    for (name, gaps, broken) in &cases {
        let flickers = gaps.len() > 1;
        let found = Scene { force: &hit, mps: &mps, gaps, broken, ..WHOLE }.told();
        assert!(flickers || found.len() == 1, "{name}: {found:?}");
    }
    let zeros = |s: f64| (s >= 8.09).then_some([0.0; 3]);
    for speed in [Some(15.0), Some(0.0), None] {
        let mps = |_: f64| speed;
        let found = Scene { force: &hit, mps: &mps, broken: &zeros, ..WHOLE }.told();
        assert_eq!(found.len(), 1, "{speed:?}: {found:?}");
    }
}

#[test]
fn what_may_have_been_nothing_hides_no_hit() {
    // A spike that breaks off waits for a speed; a second later it is a crash.
    let spike = |s: f64| (4.995..5.025).contains(&s).then_some([150.0, 0.0, 9.8]);
    let hit = pulse(6.0, 0.1, [3.0 * G, 0.0, 0.0]);
    for speed in [Some(10.0), Some(0.0), None] {
        let mps = |_: f64| speed;
        let gaps = [(5.015, 5.2)];
        let scene = Scene { force: &hit, mps: &mps, gaps: &gaps, broken: &spike, ..WHOLE };
        let found = scene.told();
        assert_eq!(found.len(), 1, "{speed:?}: {found:?}");
        assert!(found[0].1.start > MonoTime::from_secs_f64(5.5), "{speed:?}: {found:?}");
    }
}

#[test]
fn the_end_of_the_drive_ends_no_hit() {
    let hit = pulse(5.0, 0.1, [3.0 * G, 0.0, 0.0]);
    for speed in [Some(10.0), Some(0.0), None] {
        let mps = |_: f64| speed;
        for ends_s in [5.09, 5.11, 5.3, 6.0, 7.0, 7.4] {
            let found = Scene { force: &hit, mps: &mps, ends_s, ..WHOLE }.told();
            assert_eq!(found.len(), 1, "{speed:?} {ends_s}: {found:?}");
        }
        // A unit that was seen to be moved was taken off.
        if speed != Some(10.0) {
            let found = Scene { force: &hand, mps: &mps, ends_s: 6.5, ..WHOLE }.told();
            assert_eq!(found, [], "{speed:?}");
        }
        for force in [&drops as &dyn Fn(f64) -> [f64; 3], &door, &pothole, &bump] {
            for end in 0..60_u32 {
                let ends_s = 5.0 + f64::from(end) / 100.0;
                let found = Scene { force, mps: &mps, ends_s, ..WHOLE }.told();
                assert_eq!(found, [], "{speed:?} {ends_s}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Gaps and all, what is no collision is none, and what is one and was seen is one.
    #[test]
    fn gaps_make_no_collision_and_lose_none(
        gaps in prop::collection::vec((2.0..9.0_f64, 0.02..3.0_f64), 0..5),
        speed in prop_oneof![Just(Some(15.0)), Just(Some(0.0)), Just(None)],
        hz in prop_oneof![Just(50_u32), Just(100)],
    ) {
        let gaps: Vec<_> = gaps.into_iter().map(|(from, lost)| (from, from + lost)).collect();
        let mps = |_: f64| speed;
        for (name, force) in [
            ("a drop", &drops as &dyn Fn(f64) -> [f64; 3]),
            ("a door", &door),
            ("a pothole", &pothole),
            ("a bump", &bump),
            ("braking", &brakes),
        ] {
            let found = Scene { force, mps: &mps, hz, gaps: &gaps, ..WHOLE }.told();
            prop_assert!(found.is_empty(), "{name}: {found:?}");
        }
        let hit = pulse(5.0, 0.1, [-3.5 * G, 0.0, 0.0]);
        let seen = gaps.iter().all(|(from, to)| *to < 4.75 || *from > 5.09);
        let found = Scene { force: &hit, mps: &mps, hz, gaps: &gaps, ..WHOLE }.told();
        prop_assert!(found.len() <= 1, "{found:?}");
        prop_assert!(!seen || found.len() == 1, "{found:?}");
    }
}
