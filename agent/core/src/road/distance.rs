//! How far a vehicle is, and how sure that is.
//!
//! Two cues, each linear in the inverse of the depth: how far the box's lower edge is below the
//! horizon (the wheels stand on the road), and how wide the box is (a car is about 1.8 m wide).
//! They are weighted by the inverse of their variances. An error of one pixel is the same step of
//! inverse depth everywhere, so the error in metres grows with the square of the distance
//! (Stein, Mano and Shashua, *Vision-based ACC with a single camera*, IEEE IV 2003).

use super::{camera::RoadCamera, tracks::VehicleKind};

/// Where the horizon is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    /// Its row, pixels.
    pub row_px: f64,
    /// One standard deviation of it, pixels.
    pub sigma_px: f64,
}

/// What of a vehicle's box can be measured. An edge that lies on the picture's edge, or on the own
/// bonnet, is not the vehicle's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cues {
    /// What it is.
    pub kind: VehicleKind,
    /// The lower edge of its box, pixels.
    pub bottom_px: Option<f64>,
    /// The width of its box, pixels.
    pub width_px: Option<f64>,
    /// One standard deviation of an edge of the box, pixels.
    pub edge_sigma_px: f64,
}

/// A distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// From the lens along the road to the vehicle's rear, metres.
    pub forward_m: f64,
    /// One standard deviation, metres.
    pub error_m: f64,
}

/// Nothing is said beyond, metres.
const FARTHEST_M: f64 = 250.0;

/// Width of a kind and one standard deviation of it, metres. Cars: 1.65 to 1.95 without mirrors.
/// COCO's trucks reach from pick-ups (2.0 m) to lorries (2.55 m, the European limit).
pub(super) const fn width_m(kind: VehicleKind) -> (f64, f64) {
    match kind {
        VehicleKind::Car => (1.8, 0.15),
        VehicleKind::Truck => (2.4, 0.25),
        VehicleKind::Bus => (2.5, 0.15),
        VehicleKind::Motorcycle => (0.8, 0.15),
        VehicleKind::Bicycle => (0.6, 0.12),
    }
}

/// Whether a box can be a vehicle that stands on the road: a painted dash that a detector took for
/// a car is far too small for where it lies. Where the ground says too little, anything can be.
pub fn stands_on_the_road(
    camera: &RoadCamera,
    horizon: Horizon,
    kind: VehicleKind,
    (width_px, height_px, bottom_px): (f64, f64, f64),
) -> bool {
    let below = bottom_px - horizon.row_px;
    if below < 4.0 * horizon.sigma_px {
        return true;
    }
    let metre_px = camera.focal_px * below / camera.depth_scale(horizon.row_px);
    let (width_m, height_m) = (width_px / metre_px, height_px / metre_px);
    // Half of what it should be at least, and no longer than a lorry with its trailer from the side.
    width_m >= 0.5 * self::width_m(kind).0 && width_m <= 20.0 && (0.5..=6.0).contains(&height_m)
}

/// One cue: inverse depth and its standard deviation, 1/m.
#[derive(Clone, Copy, Debug)]
struct Inverse {
    value: f64,
    sigma: f64,
}

/// How far a vehicle is; `None` where neither cue says it, or nothing finite comes out.
pub fn distance(camera: &RoadCamera, horizon: Horizon, cues: &Cues) -> Option<Distance> {
    let scale = camera.depth_scale(horizon.row_px);
    let ground = cues.bottom_px.map(|bottom| {
        let below = bottom - horizon.row_px;
        let value = below / scale;
        let pixels = cues.edge_sigma_px.hypot(horizon.sigma_px) / scale;
        Inverse { value, sigma: pixels.hypot(value * camera.height_error) }
    });
    let width = cues.width_px.map(|width| {
        let (real_m, real_sigma_m) = width_m(cues.kind);
        let value = width / (camera.focal_px * real_m);
        // Both edges err.
        let pixels = cues.edge_sigma_px * 2_f64.sqrt() / (camera.focal_px * real_m);
        Inverse { value, sigma: pixels.hypot(value * real_sigma_m / real_m) }
    });
    let inverse = match (ground, width) {
        (Some(a), Some(b)) => fuse(a, b),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return None,
    };
    // Both cues take the same focal length, so its error does not average out.
    let sigma = inverse.sigma.hypot(inverse.value * camera.focal_error);
    let depth_m = 1.0 / inverse.value;
    let forward_m = camera.forward_m(depth_m, horizon.row_px);
    // The slope of 1/x at the value itself: to the first order.
    let error_m = sigma * depth_m * depth_m;
    let sound = inverse.value > 0.0
        && forward_m > 0.0
        && forward_m <= FARTHEST_M
        && error_m.is_finite()
        && error_m > 0.0;
    sound.then_some(Distance { forward_m, error_m })
}

/// Where these vehicles say that the horizon is: one that is `W` metres wide stands its own width
/// times `h / W` below the horizon of a lens at the height `h`, whatever the focal length. `None`
/// where nobody says it.
pub fn horizon_of(camera: &RoadCamera, vehicles: &[Cues]) -> Option<Horizon> {
    let (mut rows, mut weights, mut surest_px) = (0.0, 0.0, f64::MAX);
    for cues in vehicles {
        let (Some(bottom), Some(width)) = (cues.bottom_px, cues.width_px) else { continue };
        let (real_m, real_sigma_m) = width_m(cues.kind);
        let heights = camera.mount_height_m / real_m;
        let below = width * heights;
        let edges = cues.edge_sigma_px * (2.0 * heights * heights + 1.0).sqrt();
        let sigma_px = edges.hypot(below * camera.height_error.hypot(real_sigma_m / real_m));
        let weight = sigma_px.powi(-2);
        rows += weight * (bottom - below);
        weights += weight;
        surest_px = surest_px.min(sigma_px);
    }
    let row_px = rows / weights;
    // The lens's height is the same for all, so many vehicles are no surer than the surest.
    row_px.is_finite().then_some(Horizon { row_px, sigma_px: surest_px })
}

/// The mean weighted by inverse variance. Where the cues disagree by more than their errors allow,
/// the road is no plane or the box no rear: the error is widened by as much.
fn fuse(a: Inverse, b: Inverse) -> Inverse {
    let (wa, wb) = (a.sigma.powi(-2), b.sigma.powi(-2));
    let apart = (a.value - b.value).abs() / a.sigma.hypot(b.sigma);
    Inverse {
        value: (a.value * wa + b.value * wb) / (wa + wb),
        sigma: (wa + wb).sqrt().recip() * (apart / 2.0).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::road::camera::tests::{camera, unmeasured};

    /// Numbers that look normally distributed, the same in each run.
    struct Normal(u64);

    impl Normal {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn next(&mut self) -> f64 {
            (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
        }
    }

    /// Vehicles of true width and place, seen with errors of the sizes that are said: how often
    /// the truth is within one and two of the errors that come out, and the mean error in parts.
    fn coverage(
        camera: &RoadCamera,
        (from_m, to_m): (f64, f64),
        kind: VehicleKind,
        with: (bool, bool),
    ) -> (f64, f64, f64) {
        let mut normal = Normal(7);
        let (mut one, mut two, mut all, mut parts) = (0.0, 0.0, 0.0, 0.0);
        let (mean_m, sigma_m) = width_m(kind);
        for _ in 0..4000 {
            let forward_m = from_m + (to_m - from_m) * normal.uniform();
            let true_horizon = 350.0 + 4.0 * normal.next();
            let taller = RoadCamera {
                mount_height_m: camera.mount_height_m * (1.0 + camera.height_error * normal.next()),
                focal_px: camera.focal_px * (1.0 + camera.focal_error * normal.next()).max(0.4),
                ..*camera
            };
            let width_m = mean_m + sigma_m * normal.next();
            let (left, bottom) = taller.pixel(forward_m, width_m / 2.0, 0.0, true_horizon);
            let (right, _) = taller.pixel(forward_m, -width_m / 2.0, 0.0, true_horizon);
            let edge = 1.5;
            let cues = Cues {
                kind,
                bottom_px: with.0.then_some(bottom + edge * normal.next()),
                width_px: with.1.then_some(right - left + edge * (normal.next() - normal.next())),
                edge_sigma_px: edge,
            };
            let horizon = Horizon { row_px: 350.0, sigma_px: 4.0 };
            let Some(said) = distance(camera, horizon, &cues) else { continue };
            let error = (said.forward_m - forward_m).abs();
            all += 1.0;
            one += f64::from(u8::from(error <= said.error_m));
            two += f64::from(u8::from(error <= 2.0 * said.error_m));
            parts += said.error_m / said.forward_m;
        }
        assert!(all > 3500.0, "{all}");
        (one / all, two / all, parts / all)
    }

    #[test]
    fn the_error_that_is_said_is_the_error_that_is_made() {
        use VehicleKind::{Bus, Car, Truck};
        for (from, to, kind, with) in [
            (5.0, 15.0, Car, (true, true)),
            (15.0, 40.0, Car, (true, true)),
            (40.0, 70.0, Car, (true, true)),
            (8.0, 30.0, Car, (true, false)),
            (8.0, 70.0, Car, (false, true)),
            (10.0, 60.0, Truck, (true, true)),
            (10.0, 60.0, Bus, (true, true)),
        ] {
            for (name, camera) in [("measured", camera()), ("unmeasured", unmeasured())] {
                let (one, two, parts) = coverage(&camera, (from, to), kind, with);
                println!(
                    "{name}, {kind:?} {from} to {to} m, {with:?}: {one:.3} {two:.3} {parts:.3}"
                );
                // 0.68 and 0.954 for a normal error; inverse depth makes it a little skew.
                assert!((0.60..0.80).contains(&one), "{name}, {kind:?} {from} to {to} m: {one}");
                assert!((0.92..0.99).contains(&two), "{name}, {kind:?} {from} to {to} m: {two}");
            }
        }
    }

    #[test]
    fn both_cues_are_better_than_one_and_the_error_grows_with_the_square() {
        let camera = camera();
        let horizon = Horizon { row_px: 350.0, sigma_px: 4.0 };
        let at = |forward_m: f64, with: (bool, bool)| {
            let (l, bottom) = camera.pixel(forward_m, 0.9, 0.0, 350.0);
            let (r, _) = camera.pixel(forward_m, -0.9, 0.0, 350.0);
            let cues = Cues {
                kind: VehicleKind::Car,
                bottom_px: with.0.then_some(bottom),
                width_px: with.1.then_some(r - l),
                edge_sigma_px: 1.5,
            };
            distance(&camera, horizon, &cues).unwrap()
        };
        for forward_m in [8.0, 20.0, 50.0] {
            let both = at(forward_m, (true, true));
            assert!((both.forward_m - forward_m).abs() < 0.02 * forward_m, "{both:?}");
            for with in [(true, false), (false, true)] {
                assert!(at(forward_m, with).error_m >= both.error_m, "{forward_m} {with:?}");
            }
        }
        let ratio = at(60.0, (true, false)).error_m / at(30.0, (true, false)).error_m;
        assert!((3.5..4.2).contains(&ratio), "{ratio}");
    }

    #[test]
    fn vehicles_tell_the_horizon_whatever_the_lens() {
        for (camera, row_px) in [(camera(), 350.0), (unmeasured(), 430.0)] {
            let wider = RoadCamera { focal_px: 0.7 * camera.focal_px, ..camera };
            let cues = |forward_m: f64| {
                let (left, bottom) = wider.pixel(forward_m, 0.9, 0.0, row_px);
                let (right, _) = wider.pixel(forward_m, -0.9, 0.0, row_px);
                Cues {
                    kind: VehicleKind::Car,
                    bottom_px: Some(bottom),
                    width_px: Some(right - left),
                    edge_sigma_px: 1.5,
                }
            };
            let all = [cues(60.0), cues(25.0), cues(12.0)];
            let told = horizon_of(&camera, &all).unwrap();
            assert!((told.row_px - row_px).abs() < told.sigma_px, "{told:?}");
            // The nearer ones add little: their size is hardly known.
            let far = horizon_of(&camera, &all[..1]).unwrap();
            assert!((told.sigma_px - far.sigma_px).abs() < 1e-9, "{told:?} {far:?}");
        }
        let cut = Cues {
            kind: VehicleKind::Car,
            bottom_px: None,
            width_px: Some(90.0),
            edge_sigma_px: 1.5,
        };
        assert_eq!(horizon_of(&camera(), &[cut]), None);
    }

    #[test]
    fn a_dash_on_the_road_is_no_car() {
        let camera = camera();
        let horizon = Horizon { row_px: 360.0, sigma_px: 4.0 };
        let at = |forward_m: f64, width_m: f64, height_m: f64| {
            let (_, bottom) = camera.pixel(forward_m, 0.0, 0.0, 360.0);
            let metre_px = camera.focal_px / forward_m;
            let size = (width_m * metre_px, height_m * metre_px, bottom);
            stands_on_the_road(&camera, horizon, VehicleKind::Car, size)
        };
        for (name, forward_m, width_m, height_m, want) in [
            ("a car", 30.0, 1.8, 1.5, true),
            ("a small one", 12.0, 1.5, 1.3, true),
            ("a van from the side", 15.0, 5.5, 2.4, true),
            ("a dash", 30.0, 0.35, 0.4, false),
            ("a wide dash", 20.0, 1.2, 0.3, false),
            ("a bridge", 30.0, 25.0, 5.0, false),
            ("so far away that nobody knows", 120.0, 0.4, 0.4, true),
        ] {
            assert_eq!(at(forward_m, width_m, height_m), want, "{name}");
        }
    }

    #[test]
    fn cues_that_disagree_widen_the_error() {
        let camera = camera();
        let horizon = Horizon { row_px: 350.0, sigma_px: 2.0 };
        let (_, bottom) = camera.pixel(20.0, 0.0, 0.0, 350.0);
        let width = |m: f64| 1.8 * camera.focal_px / m;
        let cues = |w| Cues {
            kind: VehicleKind::Car,
            bottom_px: Some(bottom),
            width_px: Some(w),
            edge_sigma_px: 1.5,
        };
        let agree = distance(&camera, horizon, &cues(width(20.0))).unwrap();
        let apart = distance(&camera, horizon, &cues(width(40.0))).unwrap();
        assert!(apart.error_m > 2.0 * agree.error_m, "{agree:?} {apart:?}");
        assert_eq!(
            distance(&camera, horizon, &Cues { bottom_px: None, width_px: None, ..cues(1.0) }),
            None
        );
    }

    proptest! {
        #[test]
        fn any_numbers_give_a_sound_distance_or_none(
            bottom in prop::option::of(prop::num::f64::ANY),
            width in prop::option::of(prop::num::f64::ANY),
            edge in prop::num::f64::ANY,
            row in prop::num::f64::ANY,
            sigma in prop::num::f64::ANY,
        ) {
            let cues = Cues {
                kind: VehicleKind::Car, bottom_px: bottom, width_px: width, edge_sigma_px: edge,
            };
            let horizon = Horizon { row_px: row, sigma_px: sigma };
            if let Some(d) = distance(&camera(), horizon, &cues) {
                prop_assert!(d.forward_m > 0.0 && d.forward_m <= FARTHEST_M);
                prop_assert!(d.error_m.is_finite() && d.error_m > 0.0);
            }
        }
    }
}
