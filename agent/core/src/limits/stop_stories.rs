//! Vans that come to stop signs of small towns: when that is rolling through one, and when it is not.
//! The map, the matcher, the fused speed and the detector together.

use proptest::prelude::*;
use temoin_proto::{
    events::EventKind,
    samples::{GnssFix, Signal, VehicleSpeed},
    time::MonoTime,
};

use super::{
    grid::Point,
    towns::{Dice, Town, Trip, deg},
};
use crate::{
    config::CoreConfig,
    drive::{Command, Drive, Input},
    policy::PrivacyState,
};

const STOP: &str = "highway=stop";
const SIDE: &str = "highway=residential maxspeed=50";
const MAIN: &str = "highway=primary maxspeed=50";

/// A side street that comes from the west, ends on a main road at 300 m, and has a stop line 8 m before.
fn side_street() -> Town {
    Town::default()
        .road(SIDE, &[(0.0, 0.0), (292.0, 0.0), (300.0, 0.0)])
        .road(MAIN, &[(300.0, -500.0), (300.0, 0.0), (300.0, 500.0)])
        .sign(STOP, (292.0, 0.0))
}

/// Along the side street, then to the right.
const TURNS: [(f64, f64); 3] = [(0.0, 0.0), (300.0, 0.0), (300.0, -400.0)];

/// A drive along a line, braking and gaining speed by 2 m/s².
struct Van {
    trip: Trip,
    kmh: f64,
    /// At so many metres: how slow, km/h, and for how many seconds.
    slow: Vec<(f64, f64, f64)>,
    bus: bool,
}

impl Van {
    fn along(line: &[(f64, f64)], kmh: f64) -> Self {
        Self { trip: Trip::along(line, 0.0), kmh, slow: Vec::new(), bus: true }
    }

    fn slows(mut self, at_m: f64, kmh: f64, seconds: f64) -> Self {
        self.slow.push((at_m, kmh, seconds));
        self
    }

    fn fixes(mut self, hz: f64, noise_m: f64, seed: u64) -> Self {
        (self.trip.hz, self.trip.noise_m, self.trip.seed) = (hz, noise_m, seed);
        self
    }

    fn without_bus(mut self) -> Self {
        self.bus = false;
        self
    }

    fn mps(&self, m: f64) -> f64 {
        let near = |(at_m, kmh, _): &(f64, f64, f64)| {
            ((kmh / 3.6).powi(2) + 4.0 * (m - at_m).abs()).sqrt()
        };
        self.slow.iter().map(near).fold(self.kmh / 3.6, f64::min).max(0.2)
    }

    /// How often it is said to have rolled through a stop.
    fn rolls(&self, town: &Town) -> usize {
        let mut limits = town.limits("");
        let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
        let mut out = Vec::new();
        let line = &self.trip.line;
        let whole_m: f64 = line.windows(2).map(|w| (w[1].0 - w[0].0).hypot(w[1].1 - w[0].1)).sum();
        let mut dice = Dice(self.trip.seed);
        let keep = (-1.0 / self.trip.hz / 20.0_f64).exp();
        let mut error = [dice.normal() * self.trip.noise_m, dice.normal() * self.trip.noise_m];
        let (mut m, mut waits, mut next_fix_s) = (0.0, vec![false; self.slow.len()], 0.0);
        let (mut t, mut until) = (0.0, 0.0);
        while m < whole_m {
            let at = MonoTime::from_secs_f64(100.0 + t);
            for ((at_m, _, seconds), waits) in self.slow.iter().zip(&mut waits) {
                if m >= *at_m && !*waits {
                    *waits = true;
                    until = t + seconds;
                }
            }
            let mps = if t < until { 0.0 } else { self.mps(m) };
            let mut signals = Vec::new();
            if self.bus {
                signals.push(Signal::Speed(VehicleSpeed { at, mps }));
            }
            if t >= next_fix_s {
                next_fix_s += 1.0 / self.trip.hz;
                for e in &mut error {
                    *e = *e * keep + dice.normal() * (1.0 - keep * keep).sqrt() * self.trip.noise_m;
                }
                let (x, y, course) = self.trip.at(m);
                let (bx, by) = (self.trip.bias)(t);
                let (lat, lon) = deg(x + error[0] + bx, y + error[1] + by);
                signals.push(Signal::Gnss(GnssFix {
                    speed_mps: Some(mps),
                    course_deg: Some((course + dice.normal() * 1.5).rem_euclid(360.0)),
                    position_error_m: Some(self.trip.error_m),
                    ..GnssFix::new(at, lat, lon)
                }));
            }
            for signal in signals {
                if let Signal::Gnss(fix) = &signal {
                    limits.on_fix(fix, None);
                    if let Some(line) = limits.stop_line() {
                        drive.step(at, Input::StopLine(line.at, line.line_m), &mut out);
                    }
                }
                drive.step(at, Input::Signal(signal), &mut out);
            }
            m += mps * 0.1;
            t += 0.1;
        }
        let flagged = out.iter().filter_map(|c| match c {
            Command::Flag { event, .. } => Some(event.kind),
            Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
        });
        flagged.filter(|kind| *kind == EventKind::RollingStop).count()
    }
}

#[test]
fn who_rolls_through_and_who_stops() {
    let town = side_street();
    let van = || Van::along(&TURNS, 45.0);
    for (name, van, want) in [
        ("does not slow down", van(), 1),
        ("slows down to turn", van().slows(298.0, 18.0, 0.0), 1),
        ("slows down at the line", van().slows(291.0, 12.0, 0.0).slows(298.0, 20.0, 0.0), 1),
        ("stops at the line", van().slows(290.0, 0.0, 2.0), 0),
        ("stops past the line, to see", van().slows(297.0, 0.0, 1.0), 0),
        ("nearly stops", van().slows(291.0, 5.0, 0.0), 0),
        ("in a queue", van().slows(275.0, 0.0, 30.0).slows(284.0, 3.0, 40.0), 0),
        ("in a queue, and then rolls", van().slows(277.0, 0.0, 10.0).slows(295.0, 20.0, 0.0), 0),
        ("stopped much earlier", van().slows(200.0, 0.0, 10.0).slows(298.0, 20.0, 0.0), 1),
        ("stops long after", van().slows(298.0, 20.0, 0.0).slows(400.0, 0.0, 5.0), 1),
    ] {
        assert_eq!(van.rolls(&town), want, "{name}");
        let quick = van.fixes(5.0, 0.0, 1);
        assert_eq!(quick.rolls(&town), want, "{name}, 5 fixes a second");
        assert_eq!(quick.without_bus().rolls(&town), want, "{name}, by the receiver alone");
    }
}

#[test]
fn only_for_whom_the_stop_is() {
    let town = side_street();
    // From the main road into the side street: past the same line from behind.
    let back = [(300.0, -400.0), (300.0, 0.0), (0.0, 0.0)];
    assert_eq!(Van::along(&back, 30.0).rolls(&town), 0);
    // Along the main road, past the junction.
    assert_eq!(Van::along(&[(300.0, -400.0), (300.0, 400.0)], 50.0).rolls(&town), 0);
    // Said for the other direction.
    let other = Town::default()
        .road(SIDE, &[(0.0, 0.0), (200.0, 0.0), (300.0, 0.0)])
        .road(MAIN, &[(300.0, -500.0), (300.0, 0.0), (300.0, 500.0)])
        .sign("highway=stop direction=backward", (200.0, 0.0));
    assert_eq!(Van::along(&TURNS, 45.0).rolls(&other), 0);
    assert_eq!(Van::along(&back, 30.0).rolls(&other), 1);
    // No line: a junction without a sign, one that must only give way.
    for sign in ["highway=give_way", "highway=crossing", "traffic_sign=stop"] {
        let none = Town::default()
            .road(SIDE, &[(0.0, 0.0), (292.0, 0.0), (300.0, 0.0)])
            .road(MAIN, &[(300.0, -500.0), (300.0, 0.0), (300.0, 500.0)])
            .sign(sign, (292.0, 0.0));
        assert_eq!(Van::along(&TURNS, 45.0).rolls(&none), 0, "{sign}");
    }
}

#[test]
fn the_road_beside_has_the_stop() {
    for beside_m in [9.0, 14.0, 20.0] {
        // Straight on over a junction; the access road beside must stop there.
        let town = Town::default()
            .road(MAIN, &[(0.0, 0.0), (400.0, 0.0), (800.0, 0.0)])
            .road(SIDE, &[(0.0, beside_m), (392.0, beside_m), (400.0, beside_m)])
            .road(SIDE, &[(400.0, 0.0), (400.0, beside_m), (400.0, 200.0)])
            .sign(STOP, (392.0, beside_m));
        for seed in 1..16 {
            let on_main = Van::along(&[(0.0, 0.0), (800.0, 0.0)], 50.0).fixes(1.0, 3.0, seed);
            assert_eq!(on_main.rolls(&town), 0, "{beside_m} {seed}");
        }
        // The receiver errs towards that road all the way, so that it is the likelier one.
        let mut on_main = Van::along(&[(0.0, 0.0), (800.0, 0.0)], 50.0);
        on_main.trip.bias = |_| (0.0, 6.0);
        assert_eq!(on_main.rolls(&town), 0, "{beside_m}");
    }
}

#[test]
fn the_road_beneath_the_bridge_has_the_stop() {
    let town = |angle_m: f64| {
        side_street().storey(
            "highway=secondary maxspeed=50 bridge=yes",
            &[(0.0, -angle_m), (290.0, 0.0), (580.0, angle_m)],
            1,
        )
    };
    for angle_m in [290.0, 100.0, 50.0] {
        for seed in 1..12 {
            let line = [(0.0, -angle_m), (580.0, angle_m)];
            let over = Van::along(&line, 50.0).fixes(1.0, 3.0, seed);
            assert_eq!(over.rolls(&town(angle_m)), 0, "{angle_m} {seed}");
        }
    }
}

#[test]
fn a_line_at_the_end_of_a_short_way() {
    // The street goes on under another number 20 m before the junction, as where a lane begins.
    let town = |sign: &str, meets: f64| {
        Town::default()
            .road(SIDE, &[(0.0, 0.0), (meets, 0.0)])
            .road(SIDE, &[(meets, 0.0), (294.0, 0.0), (300.0, 0.0)])
            .road(MAIN, &[(300.0, -500.0), (300.0, 0.0), (300.0, 500.0)])
            .sign(sign, (294.0, 0.0))
    };
    let stops = || Van::along(&TURNS, 40.0).slows(292.0, 0.0, 2.0);
    let rolls = || Van::along(&TURNS, 40.0).slows(298.0, 18.0, 0.0);
    for (sign, meets) in [(STOP, 270.0), (STOP, 260.0), ("highway=stop direction=forward", 290.0)] {
        let town = town(sign, meets);
        assert_eq!((stops().rolls(&town), rolls().rolls(&town)), (0, 1), "{sign} {meets}");
    }
}

/// Before a fork nobody knows by which road the van will go.
#[test]
fn a_line_behind_a_fork_is_not_known() {
    let town = Town::default()
        .road(SIDE, &[(0.0, 0.0), (250.0, 0.0), (292.0, 0.0), (300.0, 0.0)])
        .road(MAIN, &[(300.0, -500.0), (300.0, 0.0), (300.0, 500.0)])
        .road(SIDE, &[(250.0, 0.0), (250.0, -80.0)])
        .sign(STOP, (292.0, 0.0));
    let mut limits = town.limits("");
    for (m, heading_deg, want) in [
        (225.0, 90.0, None),
        (245.0, 90.0, None),
        (255.0, 90.0, Some(37.0)),
        (290.0, 90.0, Some(2.0)),
        (295.0, 90.0, None),
        (255.0, 270.0, None),
    ] {
        let (lat, lon) = deg(m, 0.5);
        let p = Point::from_deg(lat, lon).unwrap();
        let shown = limits.show(p, 2.0, Some(heading_deg), None).unwrap();
        let line_m = shown[0].stop_line_m.map(f64::round);
        assert_eq!(line_m, want, "{m} {heading_deg}");
    }
    assert_eq!(Van::along(&TURNS, 40.0).rolls(&town), 1);
}

#[test]
fn all_who_enter_must_stop() {
    let town = Town::default()
        .road(SIDE, &[(0.0, 0.0), (300.0, 0.0), (600.0, 0.0)])
        .road(SIDE, &[(300.0, -300.0), (300.0, 0.0), (300.0, 300.0)])
        .sign("highway=stop stop=all", (300.0, 0.0));
    for line in [
        [(0.0, 0.0), (300.0, 0.0), (600.0, 0.0)],
        [(600.0, 0.0), (300.0, 0.0), (0.0, 0.0)],
        [(300.0, -300.0), (300.0, 0.0), (600.0, 0.0)],
        [(300.0, 300.0), (300.0, 0.0), (300.0, -300.0)],
    ] {
        assert_eq!(Van::along(&line, 40.0).rolls(&town), 1, "{line:?}");
        // The real line is some metres before the node.
        assert_eq!(Van::along(&line, 40.0).slows(291.0, 0.0, 1.0).rolls(&town), 0, "{line:?}");
    }
}

#[test]
fn who_never_comes_to_the_line() {
    let town = side_street();
    // Turns round before it, within 5 m or within 11 m.
    for before_m in [60.0, 30.0, 12.0, 4.0, 1.0] {
        for radius_m in [2.5, 5.5] {
            let turn_m = 292.0 - before_m - radius_m;
            let half = (0..=8).map(|n| {
                let a = f64::from(n) * 22.5_f64.to_radians();
                (turn_m + radius_m * a.sin(), radius_m * (1.0 - a.cos()))
            });
            let mut line = vec![(0.0, 0.0)];
            line.extend(half);
            line.push((0.0, 2.0 * radius_m));
            for (kmh, hz) in [(0.0, 1.0), (10.0, 1.0), (16.0, 1.0), (10.0, 5.0), (16.0, 5.0)] {
                for seed in 1..5 {
                    let van = Van::along(&line, 40.0).slows(turn_m + 6.0, kmh, 0.0);
                    let van = van.fixes(hz, 2.0, seed);
                    assert_eq!(van.rolls(&town), 0, "{before_m} {radius_m} {kmh} {hz} {seed}");
                }
            }
        }
    }
    // Turns off before it, into a yard that the map has, or that it has not.
    for before_m in [30.0, 12.0, 6.0] {
        let yard_m = 292.0 - before_m;
        let mapped = Town::default()
            .road(SIDE, &[(0.0, 0.0), (yard_m, 0.0), (292.0, 0.0), (300.0, 0.0)])
            .road(MAIN, &[(300.0, -500.0), (300.0, 0.0), (300.0, 500.0)])
            .road("highway=service", &[(yard_m, 0.0), (yard_m, 80.0)])
            .sign("highway=stop direction=forward", (292.0, 0.0));
        assert_eq!(Van::along(&TURNS, 40.0).fixes(5.0, 0.0, 1).rolls(&mapped), 1, "{before_m}");
        for seed in 1..8 {
            let line = [(0.0, 0.0), (yard_m, 0.0), (yard_m, 80.0)];
            for (kmh, hz) in [(12.0, 1.0), (20.0, 1.0), (30.0, 1.0), (20.0, 5.0)] {
                let van = Van::along(&line, 40.0).slows(yard_m, kmh, 0.0).fixes(hz, 2.0, seed);
                assert_eq!(van.rolls(&mapped), 0, "{before_m} {kmh} {hz} {seed}");
                assert_eq!(van.rolls(&town), 0, "{before_m} {kmh} {hz} {seed}, not on the map");
            }
        }
    }
}

#[test]
fn a_wrong_position_is_no_event() {
    let town = side_street();
    let rolls = || Van::along(&TURNS, 45.0);
    assert_eq!(rolls().rolls(&town), 1);
    // The receiver itself says that it does not know.
    for error_m in [8.0, 15.0, 60.0] {
        let mut van = rolls();
        van.trip.error_m = error_m;
        assert_eq!(van.rolls(&town), 0, "{error_m}");
    }
    // It says so of none, and is on the main road 60 m further: a jump.
    let biases: [fn(f64) -> (f64, f64); 3] = [
        |t| if (20.0..27.0).contains(&t) { (60.0, 0.0) } else { (0.0, 0.0) },
        |t| if (20.0..27.0).contains(&t) { (0.0, 45.0) } else { (0.0, 0.0) },
        |t| if t > 20.0 { (-40.0, 30.0) } else { (0.0, 0.0) },
    ];
    for (n, bias) in biases.into_iter().enumerate() {
        // It stops as it must.
        let mut van = rolls().slows(290.0, 0.0, 2.0);
        van.trip.bias = bias;
        assert_eq!(van.rolls(&town), 0, "{n}");
    }
    // It is 12 m ahead, or behind, all the way.
    for bias in [|_| (12.0, 0.0), |_| (-12.0, 0.0)] as [fn(f64) -> (f64, f64); 2] {
        let mut van = rolls().slows(290.0, 0.0, 2.0);
        van.trip.bias = bias;
        assert_eq!(van.rolls(&town), 0);
    }
    // Along the main road, and for some seconds it seems to be on the side street.
    for east_m in [-60.0, -40.0, -20.0, -10.0] {
        let mut van = Van::along(&[(300.0, -400.0), (300.0, 400.0)], 50.0);
        van.trip.bias = match east_m {
            -60.0 => |t| if (25.0..32.0).contains(&t) { (-60.0, 0.0) } else { (0.0, 0.0) },
            -40.0 => |t| if (25.0..32.0).contains(&t) { (-40.0, 0.0) } else { (0.0, 0.0) },
            -20.0 => |t| if (25.0..32.0).contains(&t) { (-20.0, 0.0) } else { (0.0, 0.0) },
            _ => |t| if (25.0..32.0).contains(&t) { (-10.0, 0.0) } else { (0.0, 0.0) },
        };
        assert_eq!(van.rolls(&town), 0, "{east_m}");
    }
}

/// The receiver wanders by 5 m: who stops is never flagged, and most who roll through are.
#[test]
fn a_receiver_that_wanders() {
    let town = side_street();
    let mut found = 0;
    for seed in 1..=60 {
        let stops = Van::along(&TURNS, 45.0).slows(290.0, 0.0, 2.0).fixes(1.0, 5.0, seed);
        assert_eq!(stops.rolls(&town), 0, "{seed}");
        let rolls = Van::along(&TURNS, 45.0).slows(298.0, 20.0, 0.0).fixes(1.0, 5.0, seed);
        found += rolls.rolls(&town);
    }
    assert!(found >= 45, "{found} of 60");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Whatever the receiver's wandering and its rate: who was slow at the line is not flagged, and
    /// nobody is twice.
    #[test]
    fn who_was_slow_is_not_flagged(
        seed in any::<u64>(),
        noise_m in 0.0_f64..6.0,
        hz in 0.7_f64..8.0,
        kmh in 25.0_f64..60.0,
        slow_kmh in 0.0_f64..7.0,
        at_m in 284.0_f64..296.0,
        bus in any::<bool>(),
    ) {
        let van = || Van { bus, ..Van::along(&TURNS, kmh).fixes(hz, noise_m, seed) };
        prop_assert_eq!(van().slows(at_m, slow_kmh, 0.0).rolls(&side_street()), 0);
        prop_assert!(van().slows(298.0, 18.0, 0.0).rolls(&side_street()) <= 1);
    }

    /// Passing by the junction on the main road, or turning into the side street: never.
    #[test]
    fn who_need_not_stop_is_not_flagged(
        seed in any::<u64>(),
        noise_m in 0.0_f64..6.0,
        hz in 0.7_f64..8.0,
        kmh in 20.0_f64..60.0,
    ) {
        let past = [(300.0, -400.0), (300.0, 400.0)];
        prop_assert_eq!(Van::along(&past, kmh).fixes(hz, noise_m, seed).rolls(&side_street()), 0);
        let into = [(300.0, -400.0), (300.0, 0.0), (0.0, 0.0)];
        let van = Van::along(&into, kmh).slows(400.0, 20.0, 0.0).fixes(hz, noise_m, seed);
        prop_assert_eq!(van.rolls(&side_street()), 0);
    }
}
