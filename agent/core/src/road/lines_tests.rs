//! Lines that were painted, and what is fitted to their points.

use proptest::prelude::*;

use super::*;
use crate::road::camera::tests::camera;

/// A painted line of a road that is drawn as points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painted {
    pub(crate) left_m: f64,
    /// Length of a dash and of a dash with its gap, metres; `None`: solid.
    pub(crate) dashes: Option<(f64, f64)>,
}

/// Points of lines as the camera sees them row by row, `heading` rad to the right of the road.
pub(crate) fn points(
    camera: &RoadCamera,
    lines: &[Painted],
    road: (f64, f64, f64),
    noise: &mut impl FnMut() -> f64,
) -> Vec<MarkPoint> {
    driven(camera, lines, (road, 3.0), noise)
}

/// The same after so many metres.
pub(crate) fn driven(
    camera: &RoadCamera,
    lines: &[Painted],
    ((pitch_deg, heading, bend), driven_m): ((f64, f64, f64), f64),
    noise: &mut impl FnMut() -> f64,
) -> Vec<MarkPoint> {
    let horizon = camera.horizon_px + camera.px_of_deg(pitch_deg);
    let mut all = Vec::new();
    for n in 0..70 {
        let v = 390.5 + 4.5 * f64::from(n);
        let Some((forward_m, _)) = camera.ground(640.0, v, horizon) else { continue };
        for line in lines {
            let on = line.dashes.is_none_or(|(dash, cycle)| (forward_m + driven_m) % cycle < dash);
            let aside_m = line.left_m + heading * forward_m + bend * forward_m * forward_m / 2.0;
            let (u, _) = camera.pixel(forward_m, aside_m, 0.0, horizon);
            if on && (0.0..1280.0).contains(&u) {
                all.push(MarkPoint { u: u + noise(), v, weight: 0.9 });
            }
        }
    }
    all
}

pub(crate) fn belief(camera: &RoadCamera) -> Belief {
    Belief {
        horizon: Horizon { row_px: camera.horizon_px, sigma_px: camera.px_of_deg(1.0) },
        column_px: (camera.middle_px(), camera.px_of_deg(3.0)),
        bend: (0.0, 0.002),
    }
}

const SOLID: Painted = Painted { left_m: 1.9, dashes: None };

#[test]
fn lines_are_where_they_were_painted() {
    let camera = camera();
    let dashed = |left_m| Painted { left_m, dashes: Some((6.0, 18.0)) };
    for (name, lines, road) in [
        ("straight", vec![SOLID, Painted { left_m: -1.7, ..SOLID }], (0.0, 0.0, 0.0)),
        ("pitched", vec![SOLID, Painted { left_m: -1.7, ..SOLID }], (1.0, 0.0, 0.0)),
        ("at an angle", vec![SOLID, Painted { left_m: -1.7, ..SOLID }], (-0.7, 0.05, 0.0)),
        ("bend to the left", vec![SOLID, Painted { left_m: -1.7, ..SOLID }], (0.3, 0.0, 0.003)),
        ("bend to the right", vec![SOLID, dashed(-1.7)], (0.0, 0.02, -0.003)),
        ("dashed", vec![dashed(1.9), dashed(-1.7)], (0.5, 0.01, 0.001)),
        ("three lanes", vec![SOLID, dashed(-1.7), dashed(5.4)], (0.5, 0.0, 0.0)),
    ] {
        let mut n = 0_u32;
        let mut noise = || {
            n += 1;
            f64::from(n * 37 % 11) / 5.0 - 1.0
        };
        let points = points(&camera, &lines, road, &mut noise);
        let fitted = fit(&camera, &belief(&camera), &points).unwrap();
        for line in &lines {
            let found = fitted.lines.iter().find(|l| (l.left_m - line.left_m).abs() < 0.15);
            assert!(found.is_some(), "{name}: {} is missing in {fitted:?}", line.left_m);
        }
        let horizon = camera.horizon_px + camera.px_of_deg(road.0);
        let off = fitted.horizon.row_px - horizon;
        assert!(off.abs() < 3.5 * fitted.horizon.sigma_px + 2.0, "{name}: {off} {fitted:?}");
        assert!((fitted.bend - road.2).abs() < 8e-4, "{name}: {fitted:?}");
    }
}

#[test]
fn nothing_and_noise() {
    let camera = camera();
    assert_eq!(fit(&camera, &belief(&camera), &[]), None);
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let points: Vec<MarkPoint> = (0..200)
        .map(|n| MarkPoint { u: 1280.0 * uniform(), v: 400.0 + f64::from(n / 3 * 4), weight: 0.5 })
        .collect();
    let fitted = fit(&camera, &belief(&camera), &points).unwrap();
    // Some line always goes through noise, but few rows agree with it.
    assert!(fitted.lines.iter().all(|l| l.rows < 20), "{fitted:?}");
}

#[test]
fn thinned_points_are_of_every_line() {
    for lines in [2_u32, 3, 4, 6] {
        let all: Vec<MarkPoint> = (0..900)
            .map(|n| MarkPoint { u: f64::from(n % lines), v: f64::from(n / lines), weight: 1.0 })
            .collect();
        let some = thinned(&all, 160.0);
        assert!((150..170).contains(&some.len()), "{}", some.len());
        for line in 0..lines {
            let of = some.iter().filter(|p| (p.u - f64::from(line)).abs() < 0.1).count();
            let even = some.len() / lines as usize;
            assert!(of * 10 >= even * 8 && of * 10 <= even * 12, "{lines}: {of} of {even}");
        }
    }
    let few = [MarkPoint { u: 0.0, v: 0.0, weight: 1.0 }];
    assert_eq!((thinned(&few, 160.0).len(), thinned(&[], 160.0).len()), (1, 0));
}

#[test]
fn an_inverse_is_one() {
    let m = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]];
    let i = inverse(&m).unwrap();
    for (r, row) in m.iter().enumerate() {
        // It is symmetric, so its rows are its columns.
        for (c, column) in i.iter().enumerate() {
            let product: f64 = row.iter().zip(column).map(|(a, b)| a * b).sum();
            assert!((product - f64::from(u8::from(r == c))).abs() < 1e-12);
        }
    }
    assert_eq!(inverse(&[[0.0; 3]; 3]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_points_give_finite_lines_or_none(
        points in prop::collection::vec(
            (prop_oneof![prop::num::f64::ANY, 0.0..1280.0], prop_oneof![prop::num::f64::ANY, 300.0..720.0],
             prop_oneof![prop::num::f64::ANY, 0.0..1.0]), 0..80),
    ) {
        let camera = camera();
        let points: Vec<MarkPoint> =
            points.into_iter().map(|(u, v, weight)| MarkPoint { u, v, weight }).collect();
        if let Some(lines) = fit(&camera, &belief(&camera), &points) {
            prop_assert!(lines.horizon.row_px.is_finite() && lines.bend.is_finite());
            for l in &lines.lines {
                prop_assert!(l.left_m.is_finite() && l.spread_m.is_finite(), "{l:?}");
            }
        }
    }
}
