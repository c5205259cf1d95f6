//! The composition of the cabin's parts, with networks that tests make up.

use temoin_agent_core::config::DriverSide;
use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{FaceCover, HeadPose, PhoneUse, PictureBox},
    samples::{CameraId, PixelFormat},
    time::MonoTime,
};

use super::*;
use crate::{
    infer::InferError,
    perception::{
        DriverSeat,
        model::fake::Always,
        seat_on,
        yunet::{INPUT_SIDE, STRIDES},
    },
};

/// YuNet that sees the same faces (score, middle and side, pixels of its input) in each picture.
struct SeesFaces(Vec<(f32, [f32; 2], f32)>);

impl Model for SeesFaces {
    fn run(&mut self, _: &[f32], outputs: &[&str]) -> Result<Vec<Vec<f32>>, InferError> {
        let of = |stride: u16, what: &str| {
            let columns = usize::from(INPUT_SIDE / stride);
            let per_cell = match what {
                "bbox" => 4,
                "kps" => 10,
                _ => 1,
            };
            let mut numbers = vec![0.0; columns * columns * per_cell];
            for (score, [x, y], side) in self.0.iter().filter(|_| stride == 8) {
                let s = f32::from(stride);
                let place = |middle: f32| (0..columns).rfind(|n| *n as f32 <= middle / s).unwrap();
                let (column, row) = (place(*x), place(*y));
                let cell = row * columns + column;
                let (dx, dy) = (x / s - column as f32, y / s - row as f32);
                let eyes = [-0.17, -0.1, 0.17, -0.1, 0.0, 0.06, -0.12, 0.24, 0.12, 0.24];
                match what {
                    "cls" => numbers[cell] = score * score,
                    "obj" => numbers[cell] = 1.0,
                    "bbox" => numbers[4 * cell..4 * cell + 4].copy_from_slice(&[
                        dx,
                        dy,
                        (0.7 * side / s).ln(),
                        (side / s).ln(),
                    ]),
                    _ => {
                        for (n, e) in eyes.iter().enumerate() {
                            let middle = if n % 2 == 0 { dx } else { dy };
                            numbers[10 * cell + n] = middle + e * side / s;
                        }
                    }
                }
            }
            numbers
        };
        Ok(outputs
            .iter()
            .map(|name| {
                let (what, stride) = name.split_once('_').unwrap();
                of(STRIDES.into_iter().find(|s| s.to_string() == stride).unwrap(), what)
            })
            .collect())
    }
}

/// Networks of the pack and the project's own, all made up.
fn eyes(faces: Vec<(f32, [f32; 2], f32)>, own: OwnNetworks) -> CabinEyes {
    let pose = || Box::new(Always(vec![("output", vec![-5.0, -3.0, 1.0])]));
    let finder = Finder::Yunet(Yunet::new(Box::new(SeesFaces(faces))));
    CabinEyes {
        faces: Faces::new(finder, DriverSeat::default()),
        face_state: own.face,
        head: Some(HeadPoseNetworks::new([pose(), pose()])),
        eyes: Eyelids::new(None, own.eye),
        phone: Phone::of(own.phone, None),
        source: Source::Pack("made up".to_owned()),
        fault: None,
        times: StageTimes::default(),
        points: Vec::new(),
    }
}

fn face_net(face: f32, covered: f32) -> FaceState {
    FaceState::new(Box::new(Always(face_state::tests::numbers(face, covered))))
}

fn eye_net(opening: f32, seen: f32) -> EyeState {
    let given = vec![("opening", vec![opening]), ("seen", vec![seen]), ("iris", vec![0.1, 0.0])];
    EyeState::new(Box::new(Always(given)))
}

fn own(face: (f32, f32), eye: (f32, f32)) -> OwnNetworks {
    let phone = Box::new(Always(vec![("phone", vec![0.05, 0.9, 0.05])]));
    OwnNetworks {
        eye: Some(eye_net(eye.0, eye.1)),
        face: Some(face_net(face.0, face.1)),
        phone: Some(phone),
    }
}

/// A picture with texture enough for an eye anywhere.
fn frame(width: u32, height: u32, at_ms: u64) -> Frame {
    let mut seed = 1_u32;
    let luma = (0..width * height).map(|n| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Blotches of some pixels, which are no noise.
        let (x, y) = (n % width / 3, n / width / 3);
        let blotch = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)) >> 16;
        u8::try_from(60 + blotch % 120 + (seed >> 30)).unwrap()
    });
    let mut data: Vec<u8> = luma.collect();
    data.resize(data.len() * 3 / 2, 128);
    let picture = I420Picture::from_vec(width, height, data).unwrap();
    picture.into_frame(CameraId::Cabin, MonoTime::from_ns(at_ms * 1_000_000))
}

const ONE_FACE: (f32, [f32; 2], f32) = (0.9, [160.0, 100.0], 90.0);

#[test]
fn every_part_says_its_own() {
    let mut cabin = eyes(vec![ONE_FACE], own((0.95, 0.05), (0.2, 0.9)));
    let sight = cabin.observe(&frame(320, 240, 0));
    let seen = sight.driver().unwrap();
    let head = HeadPose { yaw_deg: 5.0, pitch_deg: -3.0, roll_deg: -1.0 };
    assert_eq!(seen.head.known(), Some(&head), "the pack's pose");
    for eye in [seen.eyelids, seen.eyes.right, seen.eyes.left] {
        let Seen::Known { value, confidence } = eye else { panic!("{eye:?}") };
        assert!((value.0 - 0.2).abs() < 1e-6 && confidence > 0.5, "{eye:?}");
    }
    // The left eye is mirrored: both irises lie to the right in their cut-outs, so that the eyes
    // squint, and nothing is known of where they point, or little.
    let Seen::Known { confidence, .. } = seen.gaze else { return };
    assert!(confidence < 0.3, "{:?}", seen.gaze);
    assert!(seen.mouth.known().is_some_and(|m| (m.0 - 0.3).abs() < 1e-6));
    assert_eq!(seen.cover.known(), Some(&FaceCover::Free));
    assert_eq!(seen.phone.known(), Some(&PhoneUse::AtEar));
    assert_eq!(sight.others, Ok(vec![]));
    assert_eq!(cabin.times().looks(), 1);
    assert!(cabin.health().iter().all(|h| h.state == State::Ok), "{:?}", cabin.health());
}

#[test]
fn doubt_of_one_part_is_doubt_of_what_hangs_on_it() {
    let observe = |own| {
        let mut cabin = eyes(vec![ONE_FACE], own);
        *cabin.observe(&frame(320, 240, 0)).driver().unwrap()
    };
    let unknown = |why| {
        let eye = Seen::Unknown(why);
        (eye, PerEye { right: eye, left: eye })
    };
    for (name, own, why) in [
        ("hidden eyes", own((0.95, 0.05), (0.02, 0.2)), NotSeen::EyesUnclear),
        ("hidden eyes of a covered face", own((0.95, 0.9), (0.02, 0.2)), NotSeen::Covered),
        ("no face", own((0.1, 0.5), (0.02, 0.9)), NotSeen::FaceUnclear),
        ("no number", own((0.95, 0.05), (f32::NAN, 0.9)), NotSeen::ModelFailed),
        ("no network", OwnNetworks::default(), NotSeen::NoModel),
        (
            "covered, and no network of the eye",
            OwnNetworks { eye: None, ..own((0.95, 0.9), (0.0, 0.0)) },
            NotSeen::NoModel,
        ),
    ] {
        let seen = observe(own);
        let (both, each) = unknown(why);
        assert_eq!((seen.eyelids, seen.eyes), (both, each), "{name}");
        assert_eq!(seen.gaze.known(), None, "{name}");
    }
    let covered = observe(own((0.95, 0.9), (0.2, 0.9)));
    assert_eq!(covered.cover, Seen::Unknown(NotSeen::FaceUnclear), "what counts can be seen");
    assert!(covered.eyelids.known().is_some(), "over the mouth: the eyes can be seen");
    let hidden = observe(own((0.95, 0.9), (0.2, 0.2)));
    assert_eq!(hidden.cover.known(), Some(&FaceCover::Covered), "over the eyes");
    assert_eq!(covered.mouth, Seen::Unknown(NotSeen::Covered));
    let Seen::Known { confidence, .. } = covered.head else { panic!("{covered:?}") };
    assert!(confidence < 0.5, "{confidence}");
}

#[test]
fn everybody_but_the_driver_is_of_the_others() {
    let driver = (0.9, [200.0, 100.0], 90.0);
    let beside = (0.85, [60.0, 100.0], 80.0);
    let doubtful = (0.35, [110.0, 40.0], 16.0);
    let faces = vec![driver, beside, doubtful, (0.2, [280.0, 40.0], 16.0)];
    let mut cabin = eyes(faces, OwnNetworks::default());
    // Square, so that the whole picture is as large as what YuNet sees.
    let sight = cabin.observe(&frame(320, 320, 0));
    let others = sight.others.clone().unwrap();
    let middle = |b: &PictureBox| (320.0 * (b.x + b.w / 2.0), 320.0 * (b.y + b.h / 2.0));
    let mut middles: Vec<_> = others.iter().map(|o| middle(&o.area)).collect();
    middles.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(middles.len(), 2, "{middles:?}");
    for ((x, y), want) in middles.iter().zip([beside.1, doubtful.1]) {
        assert!((x - want[0]).abs() < 1.0 && (y - want[1]).abs() < 1.0, "{middles:?}");
    }
    let seen = sight.driver().unwrap().face.known().copied().unwrap();
    assert!((middle(&seen).0 - 200.0).abs() < 2.0, "{seen:?}");
}

#[test]
fn who_does_not_sit_in_the_drivers_seat_is_not_the_driver() {
    // One person at the right of the picture: the driver where the wheel is on the left.
    let right = vec![(0.9, [250.0, 160.0], 80.0)];
    for (seat, want) in [
        (seat_on(DriverSide::Left), true),
        (DriverSeat::default(), true),
        (seat_on(DriverSide::Right), false),
    ] {
        let mut cabin = eyes(right.clone(), OwnNetworks::default());
        let yunet = Yunet::new(Box::new(SeesFaces(right.clone())));
        cabin.faces = Faces::new(Finder::Yunet(yunet), seat);
        let sight = cabin.observe(&frame(320, 320, 0));
        let is_driver = sight.driver().unwrap().face.known().is_some();
        assert_eq!(is_driver, want, "{seat:?}");
        if !want {
            assert_eq!(sight.others.unwrap().len(), 1, "a passenger is one of the others");
        }
    }
}

#[test]
fn frames_of_any_shape_are_looked_at_or_refused() {
    let mut cabin = eyes(vec![ONE_FACE], own((0.95, 0.05), (0.2, 0.9)));
    let good = frame(320, 240, 0);
    let bytes = |n: usize| bytes::Bytes::from(vec![90; n]);
    for (name, frame, looked_at) in [
        ("good", good.clone(), true),
        ("4K", frame(3840, 2160, 0), true),
        ("portrait", frame(720, 1280, 0), true),
        ("a strip", frame(1280, 2, 0), true),
        ("tiny", frame(2, 2, 0), true),
        ("no size", Frame { width: 0, height: 0, data: bytes(0), ..good.clone() }, false),
        ("odd", Frame { width: 321, height: 241, data: bytes(116_041), ..good.clone() }, false),
        ("too large", Frame { width: 8192, height: 2, data: bytes(24_576), ..good.clone() }, false),
        ("cut off", Frame { data: good.data.slice(..5000), ..good.clone() }, false),
        ("too long", Frame { data: bytes(200_000), ..good.clone() }, false),
        ("another format", Frame { format: PixelFormat::Nv12, ..good.clone() }, true),
        ("gray", Frame { format: PixelFormat::Gray8, data: bytes(76_800), ..good.clone() }, true),
        ("wrong for its format", Frame { format: PixelFormat::Yuyv, ..good.clone() }, false),
    ] {
        let sight = cabin.observe(&frame);
        let failed = sight == Sight::unseen(CameraId::Cabin, frame.at, NotSeen::ModelFailed);
        assert_eq!(!failed, looked_at, "{name}: {sight:?}");
        let fault = cabin.health().iter().any(|h| h.state == State::Failed);
        assert_eq!(!fault, looked_at, "{name}");
    }
}

#[test]
fn numbers_that_are_none_and_outputs_that_are_missing_are_not_seen() {
    let nan = |n: usize| vec![f32::NAN; n];
    let nothing_found = Always(vec![
        ("cls_8", nan(1600)),
        ("obj_8", nan(1600)),
        ("bbox_8", nan(6400)),
        ("kps_8", nan(16000)),
        ("cls_16", nan(400)),
        ("obj_16", nan(400)),
        ("bbox_16", nan(1600)),
        ("kps_16", nan(4000)),
        ("cls_32", nan(100)),
        ("obj_32", nan(100)),
        ("bbox_32", nan(400)),
        ("kps_32", nan(1000)),
    ]);
    let mut cabin = eyes(vec![], OwnNetworks::default());
    cabin.faces =
        Faces::new(Finder::Yunet(Yunet::new(Box::new(nothing_found))), DriverSeat::default());
    let good = frame(320, 240, 0);
    let seen = *cabin.observe(&good).driver().unwrap();
    assert_eq!(seen.face, Seen::Unknown(NotSeen::NoFace));
    assert_eq!(seen.head, Seen::Unknown(NotSeen::NoFace));
    assert_eq!(seen.eyelids, Seen::Unknown(NotSeen::NoModel), "no network sees eyes here");

    let mut cabin = eyes(vec![ONE_FACE], OwnNetworks::default());
    cabin.head = Some(HeadPoseNetworks::new([
        Box::new(Always(vec![("output", nan(3))])),
        Box::new(Always(vec![("output", nan(3))])),
    ]));
    let seen = *cabin.observe(&good).driver().unwrap();
    assert_eq!(seen.head, Seen::Unknown(NotSeen::FaceUnclear));
    assert!(seen.face.known().is_some());

    // A model with other outputs: a fault, told once in device health, and gone with the next.
    let mut cabin = eyes(vec![ONE_FACE], OwnNetworks::default());
    cabin.face_state = Some(FaceState::new(Box::new(Always(vec![]))));
    let sight = cabin.observe(&good);
    assert_eq!(sight, Sight::unseen(CameraId::Cabin, good.at, NotSeen::ModelFailed));
    assert!(cabin.health().iter().all(|h| h.text.contains("no output `pose`")));
    cabin.face_state = None;
    assert!(cabin.observe(&good).driver().unwrap().face.known().is_some());
}
