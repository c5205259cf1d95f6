//! Vans in small towns: what must be said, and what must never be.

use proptest::prelude::*;
use temoin_proto::{samples::GnssFix, time::MonoTime};

use super::{
    LimitSource, LimitState, Overrides, UnknownReason,
    grid::Point,
    overrides::OverridesFile,
    towns::{Town, Trip, deg, kmh, reasons, share},
};

/// A motorway and, 18 m beside it, a road of 50 that it never meets within 2 km.
fn motorway_beside_road() -> Town {
    Town::default()
        .road("highway=motorway maxspeed=130", &[(0.0, 0.0), (3000.0, 0.0)])
        .road("highway=tertiary maxspeed=50", &[(0.0, 18.0), (3000.0, 18.0)])
        .road("railway=rail maxspeed=160", &[(0.0, -12.0), (3000.0, -12.0)])
}

#[test]
fn a_road_is_recognised_and_its_limit_said() {
    let town = Town::default()
        .road("highway=primary maxspeed=70", &[(0.0, 0.0), (1000.0, 0.0)])
        .road("highway=primary maxspeed=50", &[(1000.0, 0.0), (2000.0, 0.0)]);
    for (hz, reverse) in [(1.0, false), (5.0, false), (10.0, false), (1.0, true), (0.5, false)] {
        let mut line = vec![(0.0, 0.0), (2000.0, 0.0)];
        if reverse {
            line.reverse();
        }
        let (first, then) = if reverse { (50.0, 70.0) } else { (70.0, 50.0) };
        let said = Trip { hz, ..Trip::along(&line, 20.0) }.drive(&mut town.limits(""));
        assert!(share(&said, 120.0..940.0, first) > 0.99, "{hz} {reverse}: {said:?}");
        assert!(share(&said, 1100.0..1990.0, then) > 0.99, "{hz} {reverse}: {said:?}");
    }
}

#[test]
fn the_parallel_road_is_never_taken() {
    let town = motorway_beside_road();
    let line = [(0.0, 0.0), (3000.0, 0.0)];
    let clean = Trip::along(&line, 30.0).drive(&mut town.limits(""));
    assert!(share(&clean, 400.0..3000.0, 130.0) > 0.99, "{clean:?}");
    // The error leads right onto the other road for 15 s.
    let bias = |t: f64| if (40.0..55.0).contains(&t) { (0.0, 18.0) } else { (0.0, 0.0) };
    let said = Trip { bias, ..Trip::along(&line, 30.0) }.drive(&mut town.limits(""));
    assert_eq!(kmh(&said), [130.0], "{said:?}");
    // And on the other road the motorway is not taken.
    let slow = [(0.0, 18.0), (3000.0, 18.0)];
    let bias = |t: f64| if (80.0..95.0).contains(&t) { (0.0, -18.0) } else { (0.0, 0.0) };
    let said = Trip { bias, ..Trip::along(&slow, 15.0) }.drive(&mut town.limits(""));
    assert_eq!(kmh(&said), [50.0], "{said:?}");
}

#[test]
fn the_bridge_above_is_never_taken() {
    let town = Town::default()
        .road("highway=primary maxspeed=70", &[(0.0, 0.0), (500.0, 0.0), (1000.0, 0.0)])
        // Crosses at a small angle, with a node right above the other's.
        .storey(
            "highway=motorway maxspeed=130 bridge=yes",
            &[(-500.0, -200.0), (500.0, 0.0), (1500.0, 200.0)],
            1,
        )
        .storey("highway=secondary maxspeed=30 bridge=yes", &[(700.0, -300.0), (700.0, 300.0)], 2);
    for seed in 1..20 {
        let trip = Trip { noise_m: 3.0, seed, ..Trip::along(&[(0.0, 0.0), (1000.0, 0.0)], 18.0) };
        let said = trip.drive(&mut town.limits(""));
        assert_eq!(kmh(&said), [70.0], "{seed}: {said:?}");
        let over =
            Trip { noise_m: 3.0, seed, ..Trip::along(&[(-500.0, -200.0), (1500.0, 200.0)], 30.0) };
        let said = over.drive(&mut town.limits(""));
        assert_eq!(kmh(&said), [130.0], "{seed}: {said:?}");
    }
}

#[test]
fn an_exit_is_followed() {
    let town = Town::default()
        .road("highway=motorway maxspeed=130", &[(0.0, 0.0), (1000.0, 0.0), (4000.0, 0.0)])
        .road(
            "highway=motorway_link oneway=yes maxspeed=60",
            &[(1000.0, 0.0), (1200.0, -12.0), (1400.0, -60.0), (2500.0, -700.0)],
        );
    let off = [(0.0, 0.0), (1000.0, 0.0), (1200.0, -12.0), (1400.0, -60.0), (2500.0, -700.0)];
    let said = Trip::along(&off, 25.0).drive(&mut town.limits(""));
    assert!(share(&said, 400.0..950.0, 130.0) > 0.99, "{said:?}");
    assert!(share(&said, 1700.0..2300.0, 60.0) > 0.99, "{said:?}");
    assert!(share(&said, 1500.0..2300.0, 130.0) == 0.0, "{said:?}");
    let on = Trip::along(&[(0.0, 0.0), (4000.0, 0.0)], 30.0).drive(&mut town.limits(""));
    assert_eq!(kmh(&on), [130.0], "{on:?}");
    assert!(share(&on, 1700.0..3900.0, 130.0) > 0.99, "{on:?}");
}

#[test]
fn a_roundabout_is_driven_through() {
    let ring: Vec<(f64, f64)> = (0..=12)
        .map(|n| {
            let a = f64::from(n % 12) * 30.0_f64.to_radians();
            (500.0 + 20.0 * a.sin(), 20.0 * a.cos())
        })
        .rev()
        .collect();
    let (east, west) = (ring[9], ring[3]);
    let town = Town::default()
        .road("highway=secondary maxspeed=70", &[(0.0, 0.0), west])
        .road("highway=secondary junction=roundabout maxspeed=30", &ring)
        .road("highway=secondary maxspeed=50", &[east, (1200.0, 0.0)]);
    let half: Vec<(f64, f64)> = [
        (0.0, 0.0),
        (480.0, 0.0),
        (485.0, -13.0),
        (500.0, -20.0),
        (515.0, -13.0),
        (520.0, 0.0),
        (1200.0, 0.0),
    ]
    .to_vec();
    let said = Trip::along(&half, 10.0).drive(&mut town.limits(""));
    assert!(share(&said, 100.0..440.0, 70.0) > 0.99, "{said:?}");
    assert!(share(&said, 650.0..1200.0, 50.0) > 0.99, "{said:?}");
}

#[test]
fn a_tunnel_holds_the_limit_only_while_there_is_one_way() {
    let tunnel = |fork: bool| {
        let town = Town::default()
            .road("highway=trunk maxspeed=100", &[(0.0, 0.0), (500.0, 0.0)])
            .road(
                "highway=trunk maxspeed=80 tunnel=yes",
                &[(500.0, 0.0), (1500.0, 0.0), (6000.0, 0.0)],
            )
            .road("highway=trunk maxspeed=100", &[(6000.0, 0.0), (7000.0, 0.0)]);
        if fork {
            town.road("highway=trunk maxspeed=60 tunnel=yes", &[(1500.0, 0.0), (2500.0, 500.0)])
        } else {
            town
        }
    };
    let trip = Trip { blind: 22.0..400.0, ..Trip::along(&[(0.0, 0.0), (7000.0, 0.0)], 20.0) };
    let said = trip.drive(&mut tunnel(false).limits(""));
    assert!(share(&said, 100.0..480.0, 100.0) > 0.99, "{said:?}");
    assert!(share(&said, 520.0..3300.0, 80.0) > 0.98, "{said:?}");
    assert_eq!(kmh(&said[180..]), [0.0_f64; 0], "bounded: {said:?}");
    let said = trip.drive(&mut tunnel(true).limits(""));
    assert!(share(&said, 520.0..1450.0, 80.0) > 0.98, "{said:?}");
    assert!(kmh(&said.iter().filter(|s| s.0 > 1550.0).copied().collect::<Vec<_>>()).is_empty());
    // Without a speed nobody knows how far it is by now.
    let mut limits = tunnel(false).limits("");
    Trip::along(&[(0.0, 0.0), (400.0, 0.0)], 20.0).drive(&mut limits);
    let at = MonoTime::from_secs_f64(130.0);
    assert_eq!(limits.without_fix(at, None, None), LimitState::Unknown(UnknownReason::NoFix));
}

#[test]
fn unknown_is_unknown() {
    let town = Town::default()
        .road("highway=primary", &[(0.0, 0.0), (1000.0, 0.0)])
        .road("highway=secondary maxspeed=signals", &[(0.0, 500.0), (1000.0, 500.0)])
        .road("highway=motorway", &[(0.0, 1000.0), (1000.0, 1000.0)])
        .road("highway=living_street", &[(0.0, 1500.0), (1000.0, 1500.0)]);
    for (country, y, reason, limit) in [
        ("DE", 0.0, Some(UnknownReason::NotTagged), vec![]),
        ("DE", 500.0, Some(UnknownReason::Variable), vec![]),
        ("DE", 1000.0, None, vec![]),
        ("FR", 1000.0, None, vec![130.0]),
        ("", 1000.0, Some(UnknownReason::NotTagged), vec![]),
        ("RO", 1500.0, None, vec![20.0]),
        ("DE", 250.0, Some(UnknownReason::OffRoad), vec![]),
    ] {
        let said = Trip::along(&[(0.0, y), (1000.0, y)], 15.0).drive(&mut town.limits(country));
        assert_eq!(kmh(&said), limit, "{country} {y}: {said:?}");
        let late = said.iter().skip(10).copied().collect::<Vec<_>>();
        assert_eq!(reasons(&late), Vec::from_iter(reason), "{country} {y}: {said:?}");
        for (_, state) in &late {
            if let LimitState::Known(limit) = state {
                assert_eq!(limit.source, LimitSource::Implicit);
            }
        }
    }
    let mut limits = town.limits("DE");
    let at = MonoTime::from_secs_f64(1.0);
    assert_eq!(limits.without_fix(at, Some(20.0), None), LimitState::Unknown(UnknownReason::NoFix));
}

#[test]
fn bad_fixes_say_nothing() {
    let town = motorway_beside_road();
    let mut limits = town.limits("");
    let said = Trip::along(&[(0.0, 0.0), (900.0, 0.0)], 30.0).drive(&mut limits);
    assert_eq!(said.last().unwrap().1.kmh(), Some(130.0));
    let (lat, lon) = deg(930.0, 18.0);
    let late = MonoTime::from_secs_f64(131.0);
    for (lat, lon, error_m) in [
        (f64::NAN, lon, 4.0),
        (lat, f64::INFINITY, 4.0),
        (91.0, lon, 4.0),
        (lat, lon, f64::NAN),
        (lat, lon, -1.0),
        (lat, lon, 500.0),
    ] {
        let mut fix = GnssFix::new(late, lat, lon);
        fix.speed_mps = Some(30.0);
        fix.course_deg = Some(90.0);
        fix.position_error_m = Some(error_m);
        let state = limits.on_fix(&fix, None);
        assert!(state.kmh().is_none_or(|v| v == 130.0), "{lat} {lon} {error_m}: {state:?}");
    }
    // A fix elsewhere: not on the way that was driven.
    let (lat, lon) = deg(2500.0, 18.0);
    let mut fix = GnssFix::new(MonoTime::from_secs_f64(132.0), lat, lon);
    fix.speed_mps = Some(30.0);
    fix.course_deg = Some(90.0);
    assert_eq!(limits.on_fix(&fix, None).kmh(), None);
}

#[test]
fn a_standing_van_learns_nothing_from_a_wandering_receiver() {
    let town = motorway_beside_road();
    let mut limits = town.limits("");
    Trip::along(&[(0.0, 18.0), (900.0, 18.0)], 15.0).drive(&mut limits);
    for n in 0..600 {
        let (lat, lon) = deg(900.0, if n % 100 < 50 { 0.0 } else { 10.0 });
        let mut fix = GnssFix::new(MonoTime::from_secs_f64(161.0 + f64::from(n)), lat, lon);
        fix.speed_mps = Some(0.1);
        assert!(limits.on_fix(&fix, None).kmh().is_none_or(|v| v == 50.0), "{n}");
    }
}

#[test]
fn corrections_win() {
    let town = motorway_beside_road();
    let (lat, lon) = deg(1500.0, 19.0);
    let place = format!("lat_deg = {lat}\nlon_deg = {lon}\nheading_deg = 90\nkmh = 40");
    let cases = [
        ("way = 2\nkmh = 30", vec![30.0]),
        ("way = 2\ndirection = \"backward\"\nkmh = 30", vec![50.0]),
        ("way = 2\nunknown = true", vec![]),
        ("way = 1\nkmh = 30", vec![50.0]),
        (place.as_str(), vec![40.0]),
    ];
    for (text, want) in cases {
        let text = format!("version = 1\n[[limit]]\n{text}\n");
        let file: OverridesFile = toml::from_str(&text).unwrap();
        let overrides = Overrides::check(&file).unwrap();
        let mut limits = town.with("", &overrides);
        assert!(limits.corrections_nowhere().is_empty(), "{text}");
        let said = Trip::along(&[(0.0, 18.0), (2000.0, 18.0)], 15.0).drive(&mut limits);
        assert_eq!(kmh(&said), want, "{text}");
    }
}

#[test]
fn damage_is_unknown() {
    let town = motorway_beside_road();
    let mut bytes = town.bytes("");
    for byte in bytes.iter_mut().rev().take(40) {
        *byte ^= 0x55;
    }
    let map = super::Map::open(bytes).unwrap();
    let mut limits =
        super::SpeedLimits::new(map, &Overrides::default(), super::Vehicle::default()).unwrap();
    let said = Trip::along(&[(0.0, 0.0), (3000.0, 0.0)], 30.0).drive(&mut limits);
    assert!(reasons(&said).contains(&UnknownReason::MapDamaged), "{said:?}");
    let shown = limits.show(Point::from_deg(0.0, 0.0).unwrap(), 50.0, None, None).unwrap();
    assert!(shown.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any fixes at all: no panic, and only limits that the map has.
    #[test]
    fn any_fixes(fixes in prop::collection::vec((0.0_f64..60.0, -100.0_f64..3100.0, -60.0_f64..60.0, -5.0_f64..200.0, any::<f64>(), 0.0_f64..60.0), 0..60)) {
        let mut limits = motorway_beside_road().limits("");
        for (t, x, y, speed, course, error) in fixes {
            let (lat, lon) = deg(x, y);
            let mut fix = GnssFix::new(MonoTime::from_secs_f64(t), lat, lon);
            (fix.speed_mps, fix.course_deg, fix.position_error_m) = (Some(speed), Some(course), Some(error));
            let state = limits.on_fix(&fix, None);
            prop_assert!(state.kmh().is_none_or(|v| v == 130.0 || v == 50.0));
        }
    }
}
