//! What is told of vehicles and lanes whose place is known.

use super::*;
use crate::road::{
    camera::tests::{camera, unmeasured},
    lines::tests::{Painted, points},
    tracks::PixelBox,
};

fn at(s: f64) -> MonoTime {
    MonoTime::from_secs_f64(5.0 + s)
}

fn vehicle(kind: VehicleKind, forward_m: f64, left_m: f64) -> Detection {
    let camera = camera();
    let half_m = if kind == VehicleKind::Car { 0.9 } else { 1.2 };
    let (left, bottom) = camera.pixel(forward_m, left_m + half_m, 0.0, camera.horizon_px);
    let (right, top) = camera.pixel(forward_m, left_m - half_m, 1.5, camera.horizon_px);
    Detection { kind, score: 0.8, area: PixelBox { left, top, right, bottom }, step_px: 3.0 }
}

fn look(
    scene: &mut Scene,
    t_s: f64,
    light: Result<(), NotSeen>,
    vehicles: Result<&[Detection], NotSeen>,
    marks: &[MarkPoint],
) -> RoadObservation {
    let found = Findings { at: at(t_s), light, ahead: Ok(()), vehicles, marks };
    scene.look(&camera(), &found)
}

/// The last of five looks at the same.
fn settled(vehicles: &[Detection], marks: &[MarkPoint]) -> RoadObservation {
    let mut scene = Scene::default();
    let looks = (0..5).map(|n| look(&mut scene, 0.2 * f64::from(n), Ok(()), Ok(vehicles), marks));
    looks.last().unwrap()
}

fn marks(lines: &[f64], bend: f64) -> Vec<MarkPoint> {
    let lines: Vec<Painted> =
        lines.iter().map(|left_m| Painted { left_m: *left_m, dashes: None }).collect();
    points(&camera(), &lines, (0.0, 0.0, bend), &mut || 0.0)
}

#[test]
fn the_vehicle_ahead_is_the_nearest_in_the_own_path() {
    use VehicleKind::{Car, Truck};
    for (name, vehicles, want_m) in [
        ("free", vec![], None),
        ("one", vec![vehicle(Car, 30.0, 0.0)], Some(28.5)),
        (
            "the nearer of two",
            vec![vehicle(Car, 45.0, 0.2), vehicle(Truck, 18.0, -0.2)],
            Some(16.5),
        ),
        ("beside", vec![vehicle(Car, 20.0, 3.5), vehicle(Car, 12.0, -3.5)], None),
        ("beside and ahead", vec![vehicle(Car, 20.0, 3.5), vehicle(Car, 40.0, 0.5)], Some(38.5)),
    ] {
        let seen = settled(&vehicles, &marks(&[1.75, -1.75], 0.0));
        let lead = seen.lead.known().unwrap_or_else(|| panic!("{name}: {seen:?}"));
        match (lead, want_m) {
            (Some(lead), Some(want)) => {
                assert!((lead.distance_m - want).abs() < 0.1 * want, "{name}: {lead:?}");
                assert!(lead.error_m > 0.0 && lead.error_m < 0.3 * want, "{name}: {lead:?}");
            }
            (None, None) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn without_a_lane_only_who_is_near_is_surely_ahead() {
    use VehicleKind::Car;
    for (name, vehicles, want) in [
        ("near", vec![vehicle(Car, 15.0, 0.0)], Ok(true)),
        ("beside", vec![vehicle(Car, 15.0, 3.6)], Ok(false)),
        ("far", vec![vehicle(Car, 70.0, 0.0)], Err(NotSeen::NoMarkings)),
        ("on the line", vec![vehicle(Car, 20.0, 1.8)], Err(NotSeen::NoMarkings)),
        (
            "two of which one is",
            vec![vehicle(Car, 50.0, 1.6), vehicle(Car, 50.0, -1.6)],
            Err(NotSeen::NoMarkings),
        ),
        ("near, and far", vec![vehicle(Car, 15.0, 0.0), vehicle(Car, 60.0, 1.5)], Ok(true)),
    ] {
        let seen = settled(&vehicles, &[]);
        assert_eq!(seen.lane, Seen::Unknown(NotSeen::NoMarkings), "{name}");
        match (seen.lead, want) {
            (Seen::Known { value, .. }, Ok(want)) => {
                assert_eq!(value.is_some(), want, "{name}");
            }
            (Seen::Unknown(why), Err(want)) => assert_eq!(why, want, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn below_is_nearly_the_normal_distribution() {
    for (sigmas, want) in [(-3.0, 0.001), (-1.0, 0.159), (0.0, 0.5), (0.5, 0.691), (2.0, 0.977)] {
        assert!((below(sigmas * 0.4 + 7.0, 7.0, 0.4) - want).abs() < 0.012, "{sigmas}");
    }
}

/// A whole drive as a camera sees it that nobody measured, and that looks this many degrees
/// further up than was thought: its horizon is lower in the picture.
#[test]
fn a_mount_that_nobody_measured_settles_and_says_how_sure_it_is() {
    let guessed = unmeasured();
    for tilt_deg in [2.6, 0.0, -3.0] {
        let horizon_px = guessed.horizon_px + guessed.px_of_deg(tilt_deg);
        let truth = RoadCamera { horizon_px, mount_height_m: 1.28, ..guessed };
        let lines = [1.75, -1.75, 5.25].map(|left_m| Painted { left_m, dashes: None });
        let points = points(&truth, &lines, (0.0, 0.0, 0.0), &mut || 0.0);
        let car = |forward_m: f64, left_m: f64| Detection {
            area: {
                let (left, bottom) = truth.pixel(forward_m, left_m + 0.9, 0.0, horizon_px);
                let (right, top) = truth.pixel(forward_m, left_m - 0.9, 1.5, horizon_px);
                PixelBox { left, top, right, bottom }
            },
            ..vehicle(VehicleKind::Car, 30.0, 0.0)
        };
        let vehicles = [car(45.0, 0.1), car(25.0, 3.5), car(60.0, 3.6)];
        let mut scene = Scene::default();
        for n in 0..60 {
            let found = Findings {
                at: at(0.2 * f64::from(n)),
                light: Ok(()),
                ahead: Ok(()),
                vehicles: Ok(&vehicles),
                marks: &points,
            };
            let seen = scene.look(&guessed, &found);
            // From the first look on: who is ahead is right or unknown, and so is how far.
            if let Seen::Known { value, .. } = seen.lead {
                let lead = value.unwrap_or_else(|| panic!("{tilt_deg}: look {n}: free"));
                let off_m = f64::from(lead.distance_m) + guessed.front_offset_m - 45.0;
                let error_m = f64::from(lead.error_m);
                assert!(off_m.abs() <= 2.0 * error_m, "{tilt_deg}: look {n}: {lead:?}");
                assert!(error_m > 0.15 * 45.0, "{tilt_deg}: look {n}: {lead:?}");
            }
            for (placed, truth_m) in scene.placed().iter().zip([45.0, 25.0, 60.0]) {
                let off_m = placed.distance.forward_m - truth_m;
                let told = placed.distance;
                assert!(off_m.abs() <= 2.0 * told.error_m, "{tilt_deg}: look {n}: {told:?}");
            }
        }
        assert_eq!(scene.placed().len(), 3);
        let settled = scene.settled().unwrap_or_else(|| panic!("{tilt_deg}"));
        assert!((settled.offset_deg - tilt_deg).abs() < 0.3, "{tilt_deg}: {settled:?}");
        assert!(settled.sigma_deg < 0.5, "{tilt_deg}: {settled:?}");
    }
}

#[test]
fn in_a_bend_the_lane_says_who_is_ahead() {
    // At 40 m the lane has gone 2.4 m to the left.
    let bend = 0.003;
    let ahead = vehicle(VehicleKind::Car, 40.0, bend * 40.0 * 40.0 / 2.0);
    let beside = vehicle(VehicleKind::Car, 40.0, bend * 40.0 * 40.0 / 2.0 - 3.5);
    let lane = marks(&[1.75, -1.75], bend);
    assert!(settled(&[ahead], &lane).lead.known().unwrap().is_some());
    assert_eq!(*settled(&[beside], &lane).lead.known().unwrap(), None);
    // Without it nobody knows where the road goes.
    assert_eq!(settled(&[ahead], &[]).lead, Seen::Unknown(NotSeen::NoMarkings));
}

#[test]
fn a_free_road_is_told_only_of_a_road_that_was_seen() {
    let lane = marks(&[1.75, -1.75], 0.0);
    for (name, light, vehicles, lead, lane_seen) in [
        ("dark", Err(NotSeen::BadLight), Ok(&[][..]), NotSeen::BadLight, false),
        ("no model", Ok(()), Err(NotSeen::NoModel), NotSeen::NoModel, true),
        ("model failed", Ok(()), Err(NotSeen::ModelFailed), NotSeen::ModelFailed, true),
    ] {
        let mut scene = Scene::default();
        for n in 0..3 {
            let seen = look(&mut scene, 0.2 * f64::from(n), light, vehicles, &lane);
            assert_eq!(seen.lead, Seen::Unknown(lead), "{name}");
            assert_eq!(seen.lane.known().is_some(), lane_seen && n > 0, "{name}");
        }
    }
    // Fog: who is seen is seen, but nobody seen says nothing.
    let fog = |vehicles| Findings {
        at: at(0.0),
        light: Ok(()),
        ahead: Err(NotSeen::Blurred),
        vehicles: Ok(vehicles),
        marks: &[],
    };
    let nobody = Scene::default().look(&camera(), &fog(&[]));
    assert_eq!(nobody.lead, Seen::Unknown(NotSeen::Blurred));
    let car = [vehicle(VehicleKind::Car, 25.0, 0.0)];
    let somebody = Scene::default().look(&camera(), &fog(&car));
    assert!(somebody.lead.known().unwrap().is_some());
    // Too far for a distance that is worth something, and too near for any.
    let far = settled(&[vehicle(VehicleKind::Car, 230.0, 0.0)], &[]);
    assert_eq!(far.lead, Seen::Unknown(NotSeen::TooFar));
    let huge = PixelBox { left: 0.0, top: 10.0, right: 1280.0, bottom: 720.0 };
    let near = Detection { kind: VehicleKind::Truck, score: 0.9, area: huge, step_px: 3.0 };
    assert_eq!(settled(&[near], &[]).lead, Seen::Unknown(NotSeen::Covered));
}

#[test]
fn a_missed_look_does_not_free_the_road() {
    let mut scene = Scene::default();
    let car = [vehicle(VehicleKind::Car, 25.0, 0.0)];
    for n in 0..12 {
        let seen = if n % 3 == 2 { &car[..0] } else { &car[..] };
        let road = look(&mut scene, 0.2 * f64::from(n), Ok(()), Ok(seen), &[]);
        assert!(road.lead.known().unwrap().is_some(), "look {n}");
    }
    let mut later = None;
    for n in 12..20 {
        later = Some(look(&mut scene, 0.2 * f64::from(n), Ok(()), Ok(&[]), &[]));
    }
    assert_eq!(later.unwrap().lead.known(), Some(&None));
}

#[test]
fn a_guess_that_was_seen_once_is_nobody_yet() {
    let mut scene = Scene::default();
    let guess = [Detection { score: 0.35, ..vehicle(VehicleKind::Car, 25.0, 0.0) }];
    let first = look(&mut scene, 0.0, Ok(()), Ok(&guess), &[]);
    assert_eq!(first.lead.known(), Some(&None));
    let second = look(&mut scene, 0.2, Ok(()), Ok(&guess), &[]);
    assert!(second.lead.known().unwrap().is_some());
}
