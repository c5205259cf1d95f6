use glam::{DQuat, EulerRot};
use proptest::prelude::*;

use super::*;

/// A drive through a town; the speed is told at 5 Hz.
fn town(
    learner: &mut MountLearner,
    unit: DQuat,
    from_s: u32,
    to_s: u32,
) -> Vec<(f64, MountChange)> {
    town_told(learner, unit, from_s, to_s, 10, 1.0)
}

/// A drive through a town in vehicle axes at 50 Hz, with hills, camber and shaking; every so many
/// samples so many times the speed is told.
fn town_told(
    learner: &mut MountLearner,
    unit: DQuat,
    from_s: u32,
    to_s: u32,
    every: u32,
    times: f64,
) -> Vec<(f64, MountChange)> {
    let mut changes = vec![];
    for n in from_s * 50..to_s * 50 {
        let s = f64::from(n) / 50.0;
        let at = MonoTime::from_secs_f64(s);
        let mps = 8.0 + 4.0 * (s / 7.0).sin() + 2.0 * (s / 3.1).sin();
        let gained = 4.0 / 7.0 * (s / 7.0).cos() + 2.0 / 3.1 * (s / 3.1).cos();
        let rate = 0.15 * (s / 11.0).sin() * (s / 4.3).cos();
        let hill = 0.5 * (s / 37.0).sin();
        let shake = 0.6 * (s * 75.0).sin();
        let force = DVec3::new(gained + hill + shake, mps * rate + 0.2 + shake, 9.8 + shake);
        let turn = DVec3::new(0.0, 0.0, rate);
        learner.on_imu(&ImuSample {
            at,
            accel_mps2: (unit * force).to_array(),
            gyro_rad_s: Some((unit * turn).to_array()),
        });
        if n % every == 0 {
            changes.extend(learner.on_speed(at, times * mps).map(|change| (s, change)));
        }
    }
    changes
}

/// How far the learned axes are off, degrees: up and forward.
fn off_deg(learned: &LearnedMount, unit: DQuat) -> (f64, f64) {
    let off = |learned: [f64; 3], axis: DVec3| {
        DVec3::from(learned).angle_between(unit * axis).to_degrees()
    };
    (off(learned.up, DVec3::Z), off(learned.forward, DVec3::X))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_mounting_is_found_within_minutes(
        yaw in -3.1_f64..3.1, pitch in -1.5_f64..1.5, roll in -3.1_f64..3.1,
    ) {
        let unit = DQuat::from_euler(EulerRot::ZYX, yaw, pitch, roll);
        let mut learner = MountLearner::new(&MountConfig::default(), None);
        let changes = town(&mut learner, unit, 0, 240);
        prop_assert_eq!(changes.len(), 1, "{:?}", changes);
        prop_assert!(changes[0].0 < 180.0 && changes[0].1 == MountChange::Aligned, "{:?}", changes);
        let learned = learner.learned().unwrap();
        let (up, forward) = off_deg(&learned, unit);
        prop_assert!(up < 4.0 && forward < 5.0, "{up} {forward} {learned:?}");
        // The same axes as of a unit that is not turned: no axis is special.
        let mut straight = MountLearner::new(&MountConfig::default(), None);
        town(&mut straight, DQuat::IDENTITY, 0, 240);
        let (a, b) = (learner.axes().unwrap(), straight.axes().unwrap());
        let felt = DVec3::new(1.0, 2.0, 9.0);
        let (a, b) = (a.vehicle((unit * felt).to_array()), b.vehicle(felt.to_array()));
        for (a, b) in a.iter().zip(b) {
            prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn nothing_that_comes_in_panics(
        samples in proptest::collection::vec(
            (proptest::array::uniform3(proptest::num::f64::ANY), proptest::num::f64::ANY), 0..200),
    ) {
        let mut learner = MountLearner::new(&MountConfig::default(), None);
        for (n, (force, mps)) in (0_u32..).zip(samples) {
            let at = MonoTime::from_secs_f64(f64::from(n) / 5.0);
            learner.on_imu(&ImuSample { at, accel_mps2: force, gyro_rad_s: Some(force) });
            learner.on_speed(at, mps);
        }
        if let Some(learned) = learner.learned() {
            prop_assert!(learned.up.iter().chain(&learned.forward).all(|x| x.is_finite()));
        }
    }
}

#[test]
fn a_unit_that_is_turned_is_noticed_and_learned_anew() {
    let before = DQuat::from_euler(EulerRot::ZYX, 0.4, 0.2, 1.0);
    for (name, after) in [
        ("knocked down", DQuat::from_euler(EulerRot::ZYX, 0.4, 1.0, 1.0)),
        ("turned to the side", before * DQuat::from_rotation_z(0.9)),
    ] {
        let mut learner = MountLearner::new(&MountConfig::default(), None);
        town(&mut learner, before, 0, 300);
        let changes = town(&mut learner, after, 300, 900);
        let kinds: Vec<_> = changes.iter().map(|c| c.1).collect();
        assert_eq!(kinds.first(), Some(&MountChange::Turned), "{name}: {changes:?}");
        assert_eq!(kinds.last(), Some(&MountChange::Aligned), "{name}: {changes:?}");
        // A third of a town's time is steady enough to say where up is.
        assert!(changes[0].0 < 600.0, "{name}: {changes:?}");
        let (up, forward) = off_deg(&learner.learned().unwrap(), after);
        assert!(up < 5.0 && forward < 6.0, "{name}: {up} {forward}");
    }
}

#[test]
fn an_installer_who_errs_is_corrected() {
    let config = MountConfig { aligned: true, ..MountConfig::default() };
    let unit = DQuat::from_rotation_z(1.5);
    let mut learner = MountLearner::new(&config, None);
    assert!(learner.axes().is_some());
    let changes = town(&mut learner, unit, 0, 600);
    assert_eq!(changes.first().map(|c| c.1), Some(MountChange::Turned), "{changes:?}");
    let (_, forward) = off_deg(&learner.learned().unwrap(), unit);
    assert!(forward < 5.0, "{forward}");
}

#[test]
fn what_was_learned_is_known_at_the_next_start() {
    let unit = DQuat::from_euler(EulerRot::ZYX, 2.0, -0.3, 0.7);
    let mut learner = MountLearner::new(&MountConfig::default(), None);
    town(&mut learner, unit, 0, 300);
    let learned = learner.learned().unwrap();
    let next = MountLearner::new(&MountConfig::default(), Some(learned));
    let (up, forward) = off_deg(&next.learned().unwrap(), unit);
    assert!(up < 5.0 && forward < 5.0, "{up} {forward}");
    // Nonsense from the disk is as if nothing was learned.
    for bad in [
        LearnedMount { up: [0.0; 3], ..learned },
        LearnedMount { forward: learned.up, ..learned },
        LearnedMount { up: [f64::NAN, 0.0, 1.0], ..learned },
    ] {
        assert_eq!(MountLearner::new(&MountConfig::default(), Some(bad)).learned(), None);
    }
}

#[test]
fn standing_and_straight_steady_driving_teach_no_forward() {
    let mut learner = MountLearner::new(&MountConfig::default(), None);
    for n in 0..30_000_u32 {
        let s = f64::from(n) / 50.0;
        let at = MonoTime::from_secs_f64(s);
        let shake = 0.6 * (s * 75.0).sin() + 0.3 * (s * 13.0).sin();
        let accel_mps2 = [0.3 + shake, 0.1 - shake / 2.0, 9.8 + shake];
        learner.on_imu(&ImuSample { at, accel_mps2, gyro_rad_s: Some([0.001, 0.0, 0.002]) });
        if n % 10 == 0 {
            assert_eq!(learner.on_speed(at, 25.0), None);
        }
    }
    assert_eq!(learner.learned(), None);
}

#[test]
fn forward_is_known_once_it_is_sure() {
    for (yaw, pitch) in [(0.0, 0.0), (2.0, 0.5), (-1.0, -0.7)] {
        let unit = DQuat::from_euler(EulerRot::ZYX, yaw, pitch, 0.3);
        // Surer than by default, which a town makes it at once.
        let config = MountConfig { aligned_within_deg: 1.5, ..MountConfig::default() };
        let mut learner = MountLearner::new(&config, None);
        let known_s = (0..240).find(|s| {
            town(&mut learner, unit, *s, *s + 1).iter().any(|c| c.1 == MountChange::Aligned)
        });
        assert!(known_s.is_some_and(|s| s >= 20), "{known_s:?}");
        let learned = learner.learned().unwrap();
        assert!(learned.sigma_deg <= config.aligned_within_deg, "{learned:?}");
        assert!(off_deg(&learned, unit).1 < 3.0 * learned.sigma_deg, "{learned:?}");
    }
}

#[test]
fn speeds_that_do_not_fit_what_is_felt_teach_nothing() {
    for (name, every, times, learns) in [
        ("as it is", 10, 1.0, true),
        ("miles as kilometres", 10, 0.62, true),
        ("four times too fast", 10, 4.0, false),
        ("a quarter", 10, 0.25, false),
        ("a speed every 4 s", 200, 1.0, false),
    ] {
        let mut learner = MountLearner::new(&MountConfig::default(), None);
        town_told(&mut learner, DQuat::IDENTITY, 0, 400, every, times);
        assert_eq!(learner.learned().is_some(), learns, "{name}");
    }
}

#[test]
fn steep_ramps_that_are_left_again_are_no_turned_unit() {
    let config = MountConfig { aligned: true, ..MountConfig::default() };
    let mut learner = MountLearner::new(&config, None);
    let mut drives = |s: u32, seconds: u32, tilt_deg: f64| {
        let (sin, cos) = tilt_deg.to_radians().sin_cos();
        let changes: Vec<_> = (s * 50..(s + seconds) * 50)
            .filter_map(|n| {
                let at = MonoTime::from_secs_f64(f64::from(n) / 50.0);
                let accel_mps2 = [9.8 * sin, 0.0, 9.8 * cos];
                learner.on_imu(&ImuSample { at, accel_mps2, gyro_rad_s: Some([0.0; 3]) });
                if n % 10 == 0 { learner.on_speed(at, 5.0) } else { None }
            })
            .collect();
        changes
    };
    for round in 0..6_u32 {
        assert_eq!(drives(round * 160, 120, 0.0), [], "{round}");
        assert_eq!(drives(round * 160 + 120, 40, 30.0), [], "{round}");
    }
    assert_eq!(drives(960, 120, 30.0), [MountChange::Turned], "it stays so");
}
