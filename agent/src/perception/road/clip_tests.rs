//! The road eyes on a real clip: `../shared/data` beside the checkout, the models of
//! `../shared/models` and an ONNX Runtime. What is missing skips a test with one line.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use temoin_hw::{
    device::Camera,
    drive::VideoInput,
    sim::{Act, Script, SimCamera},
    video_file::{PictureSize, VideoFile},
};
use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{LanePosition, LeadVehicle, PrivateKind, Seen},
    samples::CameraId,
    time::MonoTime,
};

use super::*;
use crate::infer::InferError;

pub(super) fn shared(part: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(part);
    if !path.exists() {
        println!("skipped: ../shared/{part} is not beside the checkout");
    }
    path.exists().then_some(path)
}

/// The camera of the clip: lanes of 3.7 m tell its height, the crossing of their lines the
/// horizon, and its calibration upstream the focal length.
fn mount() -> CameraMount {
    CameraMount {
        mount_height_m: Some(1.25),
        horizon_y: Some(0.554),
        focal_px: Some(1157.0),
        ..CameraMount::default()
    }
}

pub(super) fn options() -> Option<RoadOptions> {
    let models = shared("models")?;
    match Runtime::load(&InferOptions::default()) {
        Ok(_) => {}
        Err(e @ InferError::NoLibrary) => {
            println!("skipped: {e}");
            return None;
        }
        Err(e) => panic!("{e}"),
    }
    Some(RoadOptions { models, mount: mount(), ..RoadOptions::default() })
}

/// Every picture of a video file at 1280x720, as the unit sees it.
fn pictures(file: PathBuf, fps: u32) -> impl Iterator<Item = Frame> {
    let input = VideoInput { file, start_s: 0.0, length_s: None, offset_s: 0.0, looped: false };
    let size = PictureSize { width: 1280, height: 720, fps };
    let mut camera = VideoFile::open(CameraId::Road, &input, size, MonoTime::ZERO).unwrap();
    std::iter::from_fn(move || camera.next_frame().unwrap())
}

fn road(sight: &Sight) -> RoadObservation {
    match sight.observation {
        Observation::Road(road) => road,
        Observation::Driver(_) => panic!("a driver on the road"),
    }
}

/// Processor time of this thread: what a shared machine's other work does not change.
fn thread_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[test]
fn a_motorway_is_seen() {
    let (Some(options), Some(file)) = (options(), shared("data/road_video/highway_white.mp4"))
    else {
        return;
    };
    temoin_media::limit_opencv_threads(1).unwrap();
    let mut eyes = RoadEyes::open(&options);
    assert!(eyes.health().iter().all(|h| h.state == State::Ok), "{:?}", eyes.health());
    let mut busy_s = 0.0;
    let mut seen = Vec::new();
    let mut plates = 0;
    for frame in pictures(file, 5) {
        let begin_s = thread_cpu_s();
        let sight = eyes.observe(&frame);
        busy_s += thread_cpu_s() - begin_s;
        let others = sight.others.as_ref().unwrap();
        plates += others.iter().filter(|o| o.kind == PrivateKind::Plate).count();
        for o in others {
            let a = o.area;
            let inside = a.x >= 0.0 && a.y >= 0.0 && a.x + a.w <= 1.001 && a.y + a.h <= 1.001;
            assert!(inside && a.w > 0.0 && a.h > 0.0, "{a:?}");
        }
        let seen_here = road(&sight);
        println!(
            "{:5.2} s  {}  {}",
            seen_here.at.as_secs_f64(),
            lane_line(&seen_here),
            lead_line(&seen_here)
        );
        seen.push(seen_here);
    }
    let looks = seen.len();
    println!("{:.1} ms of processor time a look", busy_s * 1e3 / looks as f64);
    for (stage, ms) in eyes.times().all_ms() {
        println!("{stage}: {ms:.1} ms of processor time");
    }
    assert!(looks > 40, "{looks}");

    // The right line is solid, the left one dashed; he keeps to the middle. Lanes of 3.7 m.
    let lanes: Vec<&LanePosition> = seen.iter().filter_map(|s| s.lane.known()).collect();
    assert!(lanes.len() * 100 >= looks * 90, "{} of {looks}", lanes.len());
    for lane in &lanes {
        assert!((3.4..4.0).contains(&lane.width_m), "{lane:?}");
        assert!(lane.offset_m.abs() < 0.6, "{lane:?}");
    }
    // One vehicle is ahead in the own lane, about 80 to 110 m away; the detector sees it in about
    // half of the pictures. Nobody is nearer.
    let ahead: Vec<&LeadVehicle> =
        seen.iter().filter_map(|s| s.lead.known().and_then(Option::as_ref)).collect();
    println!("ahead in {} of {looks}, {plates} plates and bands", ahead.len());
    assert!(!ahead.is_empty());
    for lead in &ahead {
        assert!((60.0..150.0).contains(&lead.distance_m), "{lead:?}");
        assert!(lead.error_m > 2.0 && lead.error_m < 0.3 * lead.distance_m, "{lead:?}");
    }
}

fn lane_line(seen: &RoadObservation) -> String {
    match &seen.lane {
        Seen::Known { value, confidence } => {
            format!("lane {:+.2} of {:.2} m ({confidence:.2})", value.offset_m, value.width_m)
        }
        Seen::Unknown(why) => format!("lane {why:?}"),
    }
}

fn lead_line(seen: &RoadObservation) -> String {
    match &seen.lead {
        Seen::Known { value: Some(lead), confidence } => {
            format!("ahead {:.1} ± {:.1} m ({confidence:.2})", lead.distance_m, lead.error_m)
        }
        Seen::Known { value: None, confidence } => format!("free ({confidence:.2})"),
        Seen::Unknown(why) => format!("ahead {why:?}"),
    }
}

/// The same picture, changed.
fn changed(frame: &Frame, change: impl Fn(I420Picture) -> I420Picture) -> Frame {
    let picture = change(I420Picture::from_frame(frame.clone()).unwrap());
    picture.into_frame(frame.camera, frame.at)
}

/// Each pixel's luma, changed by a straight line.
fn dimmed(mut picture: I420Picture, factor: f64, plus: f64) -> I420Picture {
    for p in picture.planes_mut().y.iter_mut() {
        let luma = f64::from(*p) * factor + plus;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let luma = luma.clamp(16.0, 235.0) as u8;
        *p = luma;
    }
    picture
}

/// As through a lens out of focus: reduced to this width, and enlarged again.
fn defocused(picture: &I420Picture, width: u32) -> I420Picture {
    let small = picture.view().resize(width, (width * 9 / 16) & !1).unwrap();
    small.view().resize(1280, 720).unwrap()
}

#[test]
fn a_picture_that_shows_nothing_does_not_show_a_free_road() {
    let (Some(options), Some(file)) = (options(), shared("data/road_video/highway_white.mp4"))
    else {
        return;
    };
    type Change = fn(I420Picture) -> I420Picture;
    let changes: [(&str, Change, bool); 7] = [
        ("as it is", |p| p, true),
        ("half the light", |p| dimmed(p, 0.5, 8.0), true),
        ("a tenth of the light", |p| dimmed(p, 0.1, 14.0), false),
        ("fog", |p| dimmed(defocused(&p, 64), 0.15, 150.0), false),
        ("out of focus", |p| defocused(&p, 32), false),
        ("glare", |p| dimmed(p, 1.0, 200.0), false),
        ("covered", |p| dimmed(p, 0.0, 60.0), false),
    ];
    for (name, change, seen) in changes {
        let mut eyes = RoadEyes::open(&options);
        let (mut free, mut lanes, mut looks) = (0, 0, 0);
        for frame in pictures(file.clone(), 5).take(12) {
            let road = road(&eyes.observe(&changed(&frame, change)));
            free += u32::from(road.lead.known() == Some(&None));
            lanes += u32::from(road.lane.known().is_some());
            looks += 1;
        }
        println!("{name}: free in {free}, lane in {lanes} of {looks}");
        if seen {
            assert!(lanes >= looks - 3, "{name}: {lanes} of {looks}");
        } else {
            assert_eq!(free, 0, "{name}");
        }
    }
}

#[test]
fn strange_frames_do_no_harm_to_networks() {
    let Some(options) = options() else { return };
    let mut eyes = RoadEyes::open(&options);
    for (name, frame) in super::drawn_tests::strange_frames() {
        let seen = road(&eyes.observe(&frame));
        assert!(seen.lane.known().is_none(), "{name}: {seen:?}");
        assert!(!matches!(seen.lead.known(), Some(Some(_))), "{name}: {seen:?}");
    }
    assert!(eyes.health().iter().all(|h| h.state == State::Ok), "{:?}", eyes.health());
}

/// A drawing has what no clip here has: a distance that is known.
#[test]
fn the_car_of_a_drawn_drive_is_as_far_as_it_was_drawn() {
    let Some(options) = options() else { return };
    let mount = CameraMount {
        mount_height_m: Some(1.4),
        horizon_y: Some(300.0 / 720.0),
        focal_px: Some(1000.0),
        front_offset_m: 0.0,
        bonnet_y: 0.9,
        ..CameraMount::default()
    };
    // It brakes, and comes as near as 12 m.
    let brake = Act::Accelerate { from_s: 8.0, to_s: 10.0, mps2: -5.0 };
    let script = Arc::new(Script::new(18.0, 22.0, vec![brake]));
    let size = PictureSize { width: 1280, height: 720, fps: 5 };
    let mut camera = SimCamera::new(CameraId::Road, Arc::clone(&script), size, MonoTime::ZERO);
    let mut eyes = RoadEyes::open(&RoadOptions { mount, ..options });
    let (mut known, mut within, mut looks, mut lanes) = (0_u32, 0_u32, 0_u32, 0_u32);
    while let Some(frame) = camera.next_frame().unwrap() {
        let truth = script.road_observation(frame.at, MonoTime::ZERO);
        let truth_m = truth.lead.known().copied().flatten().unwrap().distance_m;
        let seen = road(&eyes.observe(&frame));
        looks += 1;
        lanes += u32::from(seen.lane.known().is_some());
        if let Some(Some(lead)) = seen.lead.known() {
            known += 1;
            let off_m = (lead.distance_m - truth_m).abs();
            within += u32::from(off_m <= 2.0 * lead.error_m);
        }
        if looks % 10 == 0 {
            println!("{truth_m:5.1} m: {}  {}", lead_line(&seen), lane_line(&seen));
        }
    }
    println!("ahead in {known} of {looks}, {within} within two errors, lane in {lanes}");
    assert!(known * 10 >= looks * 9, "{known} of {looks}");
    assert!(within * 10 >= known * 9, "{within} of {known}");
    assert!(lanes * 10 >= looks * 8, "{lanes} of {looks}");
}
