//! The road eyes on drawn roads, without any model: the lane, and what is no lane.

use std::path::PathBuf;

use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{LanePosition, Seen},
    samples::{CameraId, PixelFormat},
    time::MonoTime,
};

use super::*;

const SIZE: (u32, u32) = (640, 360);

/// A painted line.
#[derive(Clone, Copy)]
struct Paint {
    left_m: f64,
    half_m: f64,
    dash: Option<(f64, f64)>,
    luma: f64,
}

const fn solid(left_m: f64) -> Paint {
    Paint { left_m, half_m: 0.075, dash: None, luma: 185.0 }
}

const fn dashed(left_m: f64) -> Paint {
    Paint { dash: Some((6.0, 12.0)), ..solid(left_m) }
}

/// A road to draw.
#[derive(Clone)]
struct Road {
    lines: Vec<Paint>,
    asphalt: f64,
    /// Deviation of the luma.
    noise: f64,
    bend: f64,
    heading: f64,
    pitch_deg: f64,
    /// Darker from here to here, metres to the left, at all distances: along the road.
    shadow_m: Option<(f64, f64)>,
    /// Bands of shadow across the road, as trees throw them.
    trees: bool,
    /// Light of the whole picture: 1 is day.
    light: f64,
}

impl Default for Road {
    fn default() -> Self {
        Self {
            lines: vec![dashed(1.75), solid(-1.75)],
            asphalt: 95.0,
            noise: 3.0,
            bend: 0.0,
            heading: 0.0,
            pitch_deg: 0.0,
            shadow_m: None,
            trees: false,
            light: 1.0,
        }
    }
}

impl Road {
    fn luma(&self, camera: &RoadCamera, u: f64, v: f64, driven_m: f64) -> f64 {
        let horizon = camera.horizon_px + camera.px_of_deg(self.pitch_deg);
        let Some((forward_m, left_m)) = camera.ground(u, v, horizon) else { return 175.0 };
        let along_m = left_m - self.heading * forward_m - self.bend * forward_m * forward_m / 2.0;
        let place_m = forward_m + driven_m;
        let mut luma = if along_m.abs() > 8.0 { 70.0 } else { self.asphalt };
        let dark = |(from, to): (f64, f64)| (from..to).contains(&along_m);
        let dappled = self.trees && (place_m / 3.0 + along_m * 0.4).sin() > 0.2;
        for line in &self.lines {
            let on = line.dash.is_none_or(|(dash, cycle)| place_m.rem_euclid(cycle) < dash);
            if on && (along_m - line.left_m).abs() < line.half_m {
                luma = line.luma;
            }
        }
        if self.shadow_m.is_some_and(dark) || dappled { luma * 0.45 } else { luma }
    }

    fn draw(&self, n: u32) -> Frame {
        let camera = RoadCamera::new(&measured(), 1280, SIZE).unwrap();
        let mut picture = I420Picture::black(SIZE.0, SIZE.1).unwrap();
        let mut state = u64::from(n) * 7919 + 1;
        let driven_m = f64::from(n) * 5.0;
        for (y, row) in (0_u16..).zip(picture.planes_mut().y.chunks_exact_mut(640)) {
            for (x, p) in (0_u16..).zip(row.iter_mut()) {
                let mut noise = -1.0;
                for _ in 0..2 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    noise += (state >> 40) as f64 / f64::from(1 << 24);
                }
                // Half a pixel is the picture's own blur.
                let at = |dx| self.luma(&camera, f64::from(x) + dx, f64::from(y) + 0.5, driven_m);
                let luma = f64::midpoint(at(0.25), at(0.75)) + noise * 2.45 * self.noise;
                *p = quantised(luma * self.light + 16.0 * (1.0 - self.light));
            }
        }
        picture.into_frame(CameraId::Road, MonoTime::from_secs_f64(1.0 + 0.2 * f64::from(n)))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn quantised(luma: f64) -> u8 {
    luma.clamp(0.0, 255.0) as u8
}

/// The camera that the roads are drawn for.
fn measured() -> CameraMount {
    CameraMount {
        mount_height_m: Some(1.4),
        horizon_y: Some(0.5),
        hfov_deg: Some(60.0),
        ..CameraMount::default()
    }
}

fn blind() -> RoadEyes {
    RoadEyes::open(&RoadOptions {
        models: PathBuf::from("/nonexistent"),
        cascades: PathBuf::from("/nonexistent"),
        mount: measured(),
        ..RoadOptions::default()
    })
}

fn road(sight: &Sight) -> RoadObservation {
    match sight.observation {
        Observation::Road(road) => road,
        Observation::Driver(_) => panic!("a driver on the road"),
    }
}

fn lanes(drawn: &Road, looks: u32) -> Vec<Seen<LanePosition>> {
    let mut eyes = blind();
    (0..looks).map(|n| road(&eyes.observe(&drawn.draw(n))).lane).collect()
}

#[test]
fn the_lane_of_a_drawn_road_is_seen() {
    let road = Road::default;
    for (name, drawn, offset_m, width_m) in [
        ("plain", road(), 0.0, 3.5),
        (
            "to the left of the middle",
            Road { lines: vec![dashed(1.15), solid(-2.35)], ..road() },
            0.6,
            3.5,
        ),
        ("narrow, in works", Road { lines: vec![solid(1.3), solid(-1.3)], ..road() }, 0.0, 2.6),
        (
            "three lanes",
            Road { lines: vec![solid(5.35), dashed(1.75), dashed(-1.95), solid(-5.6)], ..road() },
            0.1,
            3.7,
        ),
        ("noise", Road { noise: 9.0, ..road() }, 0.0, 3.5),
        ("bend to the left", Road { bend: 0.0025, ..road() }, 0.0, 3.5),
        ("bend to the right", Road { bend: -0.0025, heading: 0.01, ..road() }, 0.0, 3.5),
        ("pitch", Road { pitch_deg: 0.8, ..road() }, 0.0, 3.5),
        ("at an angle", Road { heading: -0.03, ..road() }, 0.0, 3.5),
        ("shadow along the lane", Road { shadow_m: Some((-1.2, 0.6)), ..road() }, 0.0, 3.5),
        ("shadows of trees", Road { trees: true, ..road() }, 0.0, 3.5),
        ("half of the light", Road { light: 0.5, ..road() }, 0.0, 3.5),
    ] {
        let seen = lanes(&drawn, 6);
        let known: Vec<LanePosition> = seen.iter().filter_map(|l| l.known()).copied().collect();
        assert!(known.len() >= 4, "{name}: {seen:?}");
        for lane in &known {
            let off = (f64::from(lane.offset_m) - offset_m).abs();
            assert!(off < 0.2, "{name}: {lane:?}, want {offset_m}");
            let off = (f64::from(lane.width_m) - width_m).abs();
            assert!(off < 0.25, "{name}: {lane:?}, want {width_m}");
        }
    }
}

#[test]
fn what_is_no_lane_is_unknown() {
    let none = || Road { lines: vec![], ..Road::default() };
    for (name, drawn, why) in [
        ("no markings", none(), NotSeen::NoMarkings),
        ("no markings, much noise", Road { noise: 20.0, ..none() }, NotSeen::NoMarkings),
        ("edges of a shadow", Road { shadow_m: Some((-1.7, 1.7)), ..none() }, NotSeen::NoMarkings),
        ("shadows of trees", Road { trees: true, ..none() }, NotSeen::NoMarkings),
        ("one line", Road { lines: vec![solid(-1.75)], ..Road::default() }, NotSeen::NoMarkings),
        (
            "worn to nothing",
            Road {
                lines: vec![
                    Paint { luma: 99.0, ..solid(1.75) },
                    Paint { luma: 99.0, ..solid(-1.75) },
                ],
                ..Road::default()
            },
            NotSeen::NoMarkings,
        ),
        ("night", Road { light: 0.06, ..Road::default() }, NotSeen::BadLight),
    ] {
        for seen in lanes(&drawn, 5) {
            assert_eq!(seen, Seen::Unknown(why), "{name}");
        }
    }
}

#[test]
fn without_models_the_lane_is_seen_and_nothing_else() {
    let mut eyes = blind();
    let mut last = None;
    for n in 0..3 {
        let sight = eyes.observe(&Road::default().draw(n));
        assert_eq!(sight.others, Err(NotSeen::NoModel));
        let seen = road(&sight);
        assert_eq!(seen.lead, Seen::Unknown(NotSeen::NoModel));
        last = seen.lane.known().copied();
    }
    assert!(last.is_some());
    let states: Vec<(&str, State)> = eyes.health().iter().map(|h| (h.part, h.state)).collect();
    let want = [(VEHICLES, State::Failed), (LANE, State::Ok), (OTHERS, State::Failed)];
    assert_eq!(states, want);
    for said in eyes.health().iter().filter(|h| h.state == State::Failed) {
        assert!(said.text.contains("make models"), "{}", said.text);
    }
    let cascades = RoadOptions { models: PathBuf::from("/nonexistent"), ..RoadOptions::default() };
    if cascades.cascades.exists() {
        let mut eyes = RoadEyes::open(&cascades);
        // Painted lines have upright edges, too.
        let others = eyes.observe(&Road::default().draw(0)).others.unwrap();
        assert!(others.iter().all(|o| o.kind == PrivateKind::PossiblePlate), "{others:?}");
        assert_eq!(eyes.health()[2].state, State::Degraded);
    }
}

/// Frames that no camera should give.
pub(super) fn strange_frames() -> Vec<(&'static str, Frame)> {
    let whole = Road::default().draw(0);
    let sized = |width, height| {
        let picture = I420Picture::black(width, height).unwrap();
        picture.into_frame(CameraId::Road, whole.at)
    };
    let gray = |luma: u8| {
        let mut picture = I420Picture::black(640, 360).unwrap();
        picture.planes_mut().y.fill(luma);
        picture.into_frame(CameraId::Road, whole.at)
    };
    vec![
        ("cut off", Frame { data: whole.data.slice(..1000), ..whole.clone() }),
        ("empty", Frame { data: whole.data.slice(..0), width: 0, height: 0, ..whole.clone() }),
        ("odd", Frame { width: 639, height: 359, ..whole.clone() }),
        ("another format", Frame { format: PixelFormat::Yuyv, ..whole.clone() }),
        ("tiny", sized(2, 2)),
        ("narrow", sized(32, 1080)),
        ("4K", sized(3840, 2160)),
        ("portrait", sized(360, 640)),
        ("white", gray(255)),
        ("black", gray(0)),
    ]
}

#[test]
fn strange_frames_are_not_seen_and_do_no_harm() {
    let mut eyes = blind();
    for (name, frame) in strange_frames() {
        let seen = road(&eyes.observe(&frame));
        assert!(seen.lane.known().is_none() && seen.lead.known().is_none(), "{name}: {seen:?}");
    }
    assert!(eyes.observe(&Road::default().draw(1)).others.is_err());
    assert!(road(&eyes.observe(&Road::default().draw(2))).lane.known().is_some(), "it goes on");
}
