//! Perception on real pictures: `../shared/data` beside the checkout, the models of
//! `../shared/models` and an ONNX Runtime. What is missing skips a test with one line.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use temoin_agent_core::config::DrowsinessConfig;
use temoin_hw::{
    device::Camera,
    drive::VideoInput,
    video_file::{PictureSize, VideoFile},
};
use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{
        DriverObservation, EyelidOpening, FaceCover, HeadPose, PhoneUse, PictureBox, Seen,
    },
    samples::CameraId,
    time::MonoTime,
};

use super::*;
use crate::{
    infer::{InferOptions, Runtime},
    model_pack::{ModelPack, ModelRole},
    perception::eyelids::EyeCrops,
};

fn shared(part: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(part);
    if !path.exists() {
        println!("skipped: ../shared/{part} is not beside the checkout");
    }
    path.exists().then_some(path)
}

fn runtime() -> Option<Runtime> {
    match Runtime::load(&InferOptions::default()) {
        Ok(runtime) => Some(runtime),
        Err(e @ InferError::NoLibrary) => {
            println!("skipped: {e}");
            None
        }
        // A library that is there and does not load is a fault, not a reason to skip.
        Err(e) => panic!("{e}"),
    }
}

fn options() -> Option<PerceptionOptions> {
    let models = shared("models")?;
    runtime()?;
    Some(PerceptionOptions { models, ..PerceptionOptions::default() })
}

/// Every picture of a video file at 1280x720, with black bars, as the unit sees it.
fn pictures(file: PathBuf, fps: u32) -> impl Iterator<Item = Frame> {
    let input = VideoInput { file, start_s: 0.0, length_s: None, offset_s: 0.0, looped: false };
    let size = PictureSize { width: 1280, height: 720, fps };
    let mut camera = VideoFile::open(CameraId::Cabin, &input, size, MonoTime::ZERO).unwrap();
    std::iter::from_fn(move || camera.next_frame().unwrap())
}

/// Processor time of this thread: what a shared machine's other work does not change.
fn thread_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// One line for each picture: what was seen.
fn line(seen: &DriverObservation) -> String {
    let face = match seen.face {
        Seen::Known { value: PictureBox { x, y, w, h }, confidence } => {
            format!("face {confidence:.2} at {x:.2},{y:.2} {w:.2}x{h:.2}")
        }
        Seen::Unknown(why) => format!("face {why:?}"),
    };
    let head = match seen.head {
        Seen::Known { value: HeadPose { yaw_deg, pitch_deg, roll_deg }, confidence } => {
            format!(
                "yaw {yaw_deg:+5.0} pitch {pitch_deg:+5.0} roll {roll_deg:+5.0} ({confidence:.2})"
            )
        }
        Seen::Unknown(why) => format!("head {why:?}"),
    };
    let lids = match seen.eyelids {
        Seen::Known { value: EyelidOpening(o), confidence } => {
            format!("lids {o:.3} ({confidence:.2})")
        }
        Seen::Unknown(why) => format!("lids {why:?}"),
    };
    format!("{:6.2} s  {face}  {head}  {lids}", seen.at.as_secs_f64())
}

fn print_times(eyes: &CabinEyes) {
    for (stage, ms) in eyes.times().all_ms() {
        println!("  {stage}: {ms:.2} ms");
    }
}

#[test]
fn head_turns_are_seen_with_the_right_signs() {
    let (Some(options), Some(file)) = (options(), shared("data/driver_video/head_turns.mp4"))
    else {
        return;
    };
    temoin_media::limit_opencv_threads(1).unwrap();
    let mut networks = CabinEyes::open(&options).unwrap();
    assert!(networks.health()[..3].iter().all(|h| h.state == State::Ok), "{:?}", networks.health());
    let mut busy_s = 0.0;
    let seen: Vec<_> = pictures(file, 15)
        .map(|frame| {
            let begin_s = thread_cpu_s();
            let seen = *networks.observe(&frame).driver().unwrap();
            busy_s += thread_cpu_s() - begin_s;
            seen
        })
        .collect();
    println!("{:.1} ms of processor time a picture", busy_s * 1e3 / seen.len() as f64);
    print_times(&networks);
    for (n, seen) in seen.iter().enumerate() {
        if n % 5 == 0 {
            println!("{}", line(seen));
        }
    }
    assert!(seen.len() > 200, "{}", seen.len());

    let yaw = |s: &DriverObservation| s.head.known().map(|h| h.yaw_deg);
    let pitch = |s: &DriverObservation| s.head.known().map(|h| h.pitch_deg);
    let roll = |s: &DriverObservation| s.head.known().map(|h| h.roll_deg);
    // What a person sees in the clip, by its own seconds: the driver's left is the picture's right.
    type Angle<'a> = (&'a str, f64, f64, &'a dyn Fn(&DriverObservation) -> Option<f32>, f32, f32);
    let looks: [Angle<'_>; 9] = [
        ("ahead", 0.0, 0.6, &yaw, -8.0, 8.0),
        ("ahead", 0.0, 2.5, &pitch, -10.0, 10.0),
        ("up", 4.9, 5.6, &pitch, 20.0, 50.0),
        ("down", 7.1, 8.0, &pitch, -50.0, -25.0),
        ("left", 8.6, 9.5, &yaw, 35.0, 75.0),
        ("right", 10.3, 11.1, &yaw, -75.0, -35.0),
        ("left and down", 12.1, 12.6, &yaw, 25.0, 60.0),
        ("right and down", 13.7, 14.3, &yaw, -60.0, -25.0),
        ("head to the right shoulder while turned left", 8.6, 9.5, &roll, -20.0, 0.0),
    ];
    for (name, from, to, angle, low, high) in looks {
        let values: Vec<f32> = seen
            .iter()
            .filter(|s| (from..to).contains(&s.at.as_secs_f64()))
            .filter_map(angle)
            .collect();
        assert!(values.len() >= 5, "{name}: {} angles", values.len());
        let right = values.iter().filter(|a| (low..=high).contains(*a)).count();
        assert!(right * 10 >= values.len() * 9, "{name}: {values:?}");
    }

    let faces = seen.iter().filter(|s| s.face.known().is_some()).count();
    assert!(faces * 100 >= seen.len() * 98, "{faces} of {}", seen.len());
    // He never closes his eyes for long; lids that point down are not 'closed'.
    let openings: Vec<f32> = seen.iter().filter_map(|s| s.eyelids.known()).map(|o| o.0).collect();
    let closed = openings.iter().filter(|o| **o < 0.08).count();
    println!("{} of {} with lids, {closed} below 0.08", openings.len(), seen.len());
    assert!(openings.len() * 2 > seen.len(), "{} of {}", openings.len(), seen.len());
    assert!(closed * 100 <= openings.len() * 3, "{closed} of {}", openings.len());
    let ahead: Vec<f32> = seen
        .iter()
        .filter(|s| s.at.as_secs_f64() < 2.5)
        .filter_map(|s| s.eyelids.known())
        .map(|o| o.0)
        .collect();
    let mean = ahead.iter().sum::<f32>() / ahead.len() as f32;
    let count = |of: &dyn Fn(&DriverObservation) -> bool| seen.iter().filter(|s| of(s)).count();
    let wide = count(&|s| s.mouth.known().is_some_and(|m| m.0 > 0.5));
    let covered = count(&|s| s.cover.known() == Some(&FaceCover::Covered));
    let phones = count(&|s| s.phone.known().is_some_and(|p| *p != PhoneUse::None));
    println!("mouth above 0.5: {wide}, covered: {covered}, phones: {phones} of {}", seen.len());
    assert!(wide * 100 <= seen.len() * 3 && covered * 100 <= seen.len() * 3 && phones == 0);
    assert!((0.2..0.27).contains(&mean), "open eyes: {mean}");
}

/// All pictures of a folder in I420, through the ffmpeg program.
fn crops(folder: &Path) -> Option<Vec<I420Picture>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-f", "image2", "-pattern_type", "glob", "-i"]);
    ffmpeg.arg(folder.join("*.jpg"));
    ffmpeg.args(["-vf", "scale=224:224", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]);
    let Ok(output) = ffmpeg.stderr(Stdio::inherit()).output() else {
        println!("skipped: the program ffmpeg is not installed");
        return None;
    };
    let pictures = output.stdout.chunks_exact(224 * 224 * 3 / 2);
    Some(pictures.map(|p| I420Picture::from_vec(224, 224, p.to_vec()).unwrap()).collect())
}

#[test]
fn open_and_closed_eyes_come_apart() {
    let (Some(options), Some(eyes)) = (options(), shared("data/eyes")) else { return };
    let limit = DrowsinessConfig::default().closed_below;
    let (pack, own) = (EyeCrops::open(&options), EyeCrops::without_pack(&options));
    for (name, network) in [("pack", pack), ("own", own)] {
        let mut network = network.unwrap();
        let mut measure = |folder: &str| -> Option<(usize, Vec<f64>)> {
            let crops = crops(&eyes.join(folder))?;
            let seen = crops.iter().map(|c| network.observe(&c.view()).unwrap());
            let seen = seen.filter_map(|s| s.known().map(|o| f64::from(o.0))).collect();
            Some((crops.len(), seen))
        };
        let (Some((all_open, open)), Some((all_closed, closed))) =
            (measure("Open"), measure("Closed"))
        else {
            return;
        };
        assert!(all_open > 400 && all_closed > 400, "{all_open} {all_closed}");
        for (all, measured) in [(all_open, open.len()), (all_closed, closed.len())] {
            assert!(measured * 100 >= all * 85, "{name}: {measured} of {all} measured");
        }
        let share = |of: &[f64], is: &dyn Fn(f64) -> bool| {
            of.iter().filter(|o| is(**o)).count() as f64 / of.len() as f64
        };
        let wrong = share(&open, &|o| o < limit);
        let found = share(&closed, &|o| o < limit);
        let auc = open.iter().map(|o| share(&closed, &|c| c < *o)).sum::<f64>() / open.len() as f64;
        println!("{name}: AUC {auc:.4}; open read closed {wrong:.4}, closed found {found:.4}");
        assert!(auc > 0.99 && wrong < 0.02 && found > 0.95, "{name}: {auc} {wrong} {found}");
    }
}

/// A labelled picture of `head_turns.mp4`: seconds, kind of yaw, yaw and pitch in degrees.
type Label = (f64, String, f32, f32);

fn labelled_turns() -> Vec<Label> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/labels/head_turns.csv");
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().filter(|l| !l.starts_with('#')).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.split(',').collect();
        let number = |n: usize| cells[n].parse::<f32>().unwrap();
        (f64::from(number(0)), cells[5].to_owned(), number(6), number(7))
    })
    .collect()
}

#[test]
fn what_is_built_in_sees_a_turning_head() {
    let Some(file) = shared("data/driver_video/head_turns.mp4") else { return };
    let options = PerceptionOptions::default();
    let mut cascades = match CabinEyes::without_pack(&options, "a test".to_owned()) {
        Ok(cascades) => cascades,
        Err(e) => return println!("skipped: {e}"),
    };
    let mut busy_s = 0.0;
    let seen: Vec<_> = pictures(file, 10)
        .map(|frame| {
            let begin_s = thread_cpu_s();
            let seen = *cascades.observe(&frame).driver().unwrap();
            busy_s += thread_cpu_s() - begin_s;
            println!("{}", line(&seen));
            seen
        })
        .collect();
    println!("{:.1} ms of processor time a picture", busy_s * 1e3 / seen.len() as f64);
    print_times(&cascades);
    let known = |from: f64, to: f64| {
        let part = seen.iter().filter(|s| (from..to).contains(&s.at.as_secs_f64()));
        let faces: Vec<bool> = part.map(|s| s.face.known().is_some()).collect();
        (faces.iter().filter(|f| **f).count(), faces.len())
    };
    println!("faces ahead {:?}, in all {:?}", known(0.0, 3.0), known(0.0, 17.0));
    let (faces, all) = known(0.0, 3.0);
    assert!(all >= 24 && faces * 10 >= all * 9, "{faces} of {all}");
    if runtime().is_none() {
        return;
    }
    let (faces, all) = known(0.0, 17.0);
    assert!(faces * 100 >= all * 85, "{faces} of {all}");

    // Each labelled turn with what was seen then: far to a side, far down, up.
    let turns = labelled_turns();
    let at = |s: &DriverObservation| {
        let near = |t: &&Label| (t.0 - s.at.as_secs_f64()).abs() < 0.06;
        turns.iter().find(near)
    };
    let poses = || seen.iter().filter_map(|s| Some((at(s)?, s.head.known()?)));
    type Turn<'a> = (&'a str, &'a dyn Fn(&Label) -> bool);
    let kinds: [Turn<'_>; 5] = [
        ("far to the left", &|t| t.1 == "far_left"),
        ("far to the right", &|t| t.1 == "far_right"),
        ("up", &|t| t.3 >= 24.0),
        ("down", &|t| t.3 <= -26.0 && t.2.abs() < 10.0),
        ("ahead", &|t| t.1 == "ahead" && t.3.abs() <= 8.0),
    ];
    let mean = |kind: &dyn Fn(&Label) -> bool| {
        let of: Vec<_> = poses().filter(|(t, _)| kind(t)).map(|(_, h)| h).collect();
        let n = of.len() as f32;
        let yaw = of.iter().map(|h| h.yaw_deg).sum::<f32>() / n;
        (of.len(), yaw, of.iter().map(|h| h.pitch_deg).sum::<f32>() / n)
    };
    let [left, right, up, down, ahead] = kinds.map(|(name, kind)| {
        let mean = mean(kind);
        println!("{name}: {} poses, mean yaw {:.0}, pitch {:.0}", mean.0, mean.1, mean.2);
        mean
    });
    assert!(left.0 >= 8 && right.0 >= 8 && down.0 >= 5 && ahead.0 >= 15);
    assert!(left.1 > 15.0 && right.1 < -15.0 && ahead.1.abs() < 10.0);
    assert!(down.2 < ahead.2 - 8.0 && (up.0 < 3 || up.2 > ahead.2 + 5.0));
    let wrong = |t: &Label, h: &HeadPose| {
        t.1 == "far_left" && h.yaw_deg < -5.0 || t.1 == "far_right" && h.yaw_deg > 5.0
    };
    assert_eq!(poses().filter(|(t, h)| wrong(t, h)).count(), 0, "to the wrong side");

    let share = |what: &str, of: &dyn Fn(&DriverObservation) -> bool| {
        let n = seen.iter().filter(|s| of(s)).count();
        println!("{what}: {n} of {}", seen.len());
        n * 100 / seen.len()
    };
    let wide = share("a mouth above 0.5", &|s| s.mouth.known().is_some_and(|m| m.0 > 0.5));
    let covered = share("covered", &|s| s.cover.known() == Some(&FaceCover::Covered));
    let phone = share("phones", &|s| s.phone.known().is_some_and(|p| *p != PhoneUse::None));
    share("eyes seen", &|s| s.eyelids.known().is_some());
    let closed = share("closed", &|s| s.eyelids.known().is_some_and(|o| o.0 < 0.1));
    assert!(wide <= 3 && covered <= 3 && phone == 0, "{wide} % {covered} % {phone} %");
    assert!(closed <= 3, "{closed} % closed");
}

/// Prints milliseconds for each model; asserts nothing, because machines differ.
#[test]
fn models_are_timed() {
    let (Some(models), Some(runtime)) = (shared("models"), runtime()) else { return };
    let pack = ModelPack::open(&models).unwrap();
    let roles = [
        ModelRole::FaceDetector,
        ModelRole::HeadPose1x1,
        ModelRole::HeadPoseVar,
        ModelRole::EyeLandmarks,
    ];
    for role in roles {
        let model = pack.get(role).unwrap();
        let mut network = runtime.network(model).unwrap();
        let input = vec![0.5; model.entry().input.len()];
        let mut times: Vec<f64> = (0..40)
            .map(|_| {
                let begin = Instant::now();
                let outputs = network.run(&input).unwrap();
                assert!(!outputs.get(&model.entry().outputs[0].name).unwrap().is_empty());
                begin.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{}: {:.2} ms (median of 40)", model.entry().file, times[20]);
    }
}

#[test]
fn a_dark_or_empty_picture_is_unknown_and_bad_frames_are_faults() {
    let Some(options) = options() else { return };
    let mut networks = CabinEyes::open(&options).unwrap();
    let at = MonoTime::from_secs_f64(1.0);
    let black = I420Picture::black(1280, 720).unwrap().into_frame(CameraId::Cabin, at);
    let reasons = |seen: &DriverObservation| {
        let (Seen::Unknown(face), Seen::Unknown(head), Seen::Unknown(lids)) =
            (seen.face, seen.head, seen.eyelids)
        else {
            return None;
        };
        (face == head && head == lids).then_some(face)
    };
    assert_eq!(reasons(networks.observe(&black).driver().unwrap()), Some(NotSeen::BadLight));
    let slope = (0..1280 * 720).map(|n| u8::try_from(n % 1280 / 6 + 20).unwrap());
    let slope = slope.chain(std::iter::repeat_n(128, 1280 * 720 / 2)).collect();
    let empty = I420Picture::from_vec(1280, 720, slope).unwrap().into_frame(CameraId::Cabin, at);
    assert_eq!(reasons(networks.observe(&empty).driver().unwrap()), Some(NotSeen::NoFace));

    let broken = Frame { data: black.data.slice(..1000), ..black.clone() };
    assert_eq!(
        *networks.observe(&broken).driver().unwrap(),
        DriverObservation::unseen(at, NotSeen::ModelFailed)
    );
    assert!(networks.health().iter().all(|h| h.state == State::Failed));
    networks.observe(&empty);
    assert!(networks.health().iter().all(|h| h.state != State::Failed), "a fault passes");
}

#[test]
fn a_pack_without_every_model_is_filled_up_by_what_is_built_in() {
    let (Some(all), Some(options)) = (shared("models"), options()) else { return };
    for (present, want) in [
        (vec!["yunet_n_320_320.onnx"], [State::Ok, State::Degraded, State::Degraded]),
        (
            vec![
                "yunet_n_320_320.onnx",
                "fsanet-1x1-iter-688590.onnx",
                "fsanet-var-iter-688590.onnx",
            ],
            [State::Ok, State::Ok, State::Degraded],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for file in &present {
            std::fs::copy(all.join(file), dir.path().join(file)).unwrap();
        }
        let options = PerceptionOptions { models: dir.path().to_owned(), ..options.clone() };
        let networks = CabinEyes::open(&options).unwrap();
        let states: Vec<State> = networks.health().iter().map(|h| h.state).collect();
        assert_eq!(states[..3], want, "{present:?}");
    }
}

#[test]
fn numbers_for_the_nets_keep_their_places() {
    let picture = I420Picture::from_vec(2, 2, vec![81, 81, 81, 81, 90, 240]).unwrap();
    let bgr = picture.view().to_bgr(2, 2).unwrap();
    let mut out = Vec::new();
    tensors::bgr_planes(&bgr, 127.5, 128.0, &mut out);
    // A pure red in BT.601: blue and green low, red high.
    assert!(out[..8].iter().all(|n| *n < -0.9) && out[8..].iter().all(|n| *n > 0.9), "{out:?}");
    tensors::rgb_pixels(&bgr, &mut out);
    assert!(out.chunks(3).all(|p| p[0] > 0.95 && p[1] < 0.05 && p[2] < 0.05), "{out:?}");
}
