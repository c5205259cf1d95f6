//! 'Eyes not found' is never 'eyes closed': real pictures of open eyes, made worse in every way of
//! `temoin_tests::degrade`, are looked at by the unit's perception. In a published field trial
//! 39 % of false drowsiness alerts came from that confusion.
//!
//! Uses the videos and photographs of `../shared/data` beside the checkout, the models and an ONNX
//! Runtime; what is missing skips a test with one line.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; the lints spare only the functions that are marked as one"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use temoin_agent::perception::{CabinEyes, DriverSeat, Perception, PerceptionOptions, seat_on};
use temoin_agent_core::config::DriverSide;
use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{DriverObservation, EyelidOpening, NotSeen, PhoneUse, PictureBox, Seen},
    samples::{CameraId, Frame},
    time::MonoTime,
};
use temoin_tests::{
    degrade::{self, Place},
    worse::{Hides, Way, ways},
};

/// `drowsiness.closed_below` and `.min_confidence`, `microsleep_s` and `gap_s` of the unit.
const CLOSED_BELOW: f32 = 0.13;
const MIN_CONFIDENCE: f32 = 0.3;
const MICROSLEEP: Duration = Duration::from_secs(1);
const GAP: Duration = Duration::from_millis(300);

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;

fn shared(part: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(part);
    if !path.exists() {
        println!("skipped: ../shared/{part} is not beside the checkout");
    }
    path.exists().then_some(path)
}

fn cabin(seat: DriverSeat) -> Option<CabinEyes> {
    let options =
        PerceptionOptions { models: shared("models")?, seat, ..PerceptionOptions::default() };
    match CabinEyes::open(&options) {
        Ok(eyes) => Some(eyes),
        Err(e) => {
            println!("skipped: {e}");
            None
        }
    }
}

/// The pictures of a recording with their times, through the program ffmpeg.
fn video(part: &str, fps: u32) -> Option<Vec<(MonoTime, I420Picture)>> {
    let pictures = through_ffmpeg(&shared(part)?, &format!("fps={fps},"))?;
    let period_ns = 1_000_000_000 / u64::from(fps);
    assert!(!pictures.is_empty(), "ffmpeg cannot read {part}");
    Some((0..).map(|n| MonoTime::from_ns(n * period_ns)).zip(pictures).collect())
}

/// Photographs, each a recording of one picture.
fn photographs() -> Option<Vec<Vec<(MonoTime, I420Picture)>>> {
    let folder = shared("data/faces68")?;
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "jpg"));
    files.sort();
    let hold = |file: &PathBuf| Some(vec![(MonoTime::ZERO, through_ffmpeg(file, "")?.pop()?)]);
    files.iter().map(hold).collect()
}

fn through_ffmpeg(file: &Path, first: &str) -> Option<Vec<I420Picture>> {
    let fit = format!(
        "{first}scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=decrease:\
         force_divisible_by=2,pad={WIDTH}:{HEIGHT}:-1:-1"
    );
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(file);
    ffmpeg.args(["-vf", &fit, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]);
    let Ok(output) = ffmpeg.stderr(Stdio::inherit()).output() else {
        println!("skipped: the program ffmpeg is not installed");
        return None;
    };
    let bytes = usize::try_from(WIDTH * HEIGHT * 3 / 2).unwrap();
    let pictures = output.stdout.chunks_exact(bytes);
    Some(pictures.map(|p| I420Picture::from_vec(WIDTH, HEIGHT, p.to_vec()).unwrap()).collect())
}

fn observe(eyes: &mut CabinEyes, at: MonoTime, picture: I420Picture) -> DriverObservation {
    let frame: Frame = picture.into_frame(CameraId::Cabin, at);
    *eyes.observe(&frame).driver().unwrap()
}

/// Where the eyes of a face from the front lie in its box: 0.10 of its height above the middle,
/// a third of its height apart.
fn eyes_of(face: &PictureBox) -> [Place; 2] {
    let (w, h) = (WIDTH as f32, HEIGHT as f32);
    let (x, y) = ((face.x + face.w / 2.0) * w, (face.y + face.h / 2.0) * h);
    let side = (face.h * h).max(face.w * w);
    let (dx, up) = (side / 6.0, 0.10 * side);
    [[x - dx, y - up], [x + dx, y - up]]
}

/// How long the longest closure is that a run of observations makes, by the unit's own rule: gaps
/// end it after 0.3 s and count in none.
fn longest_closure(seen: &[DriverObservation]) -> Duration {
    let (mut longest, mut run, mut last_closed, mut last) =
        (Duration::ZERO, Duration::ZERO, None::<MonoTime>, None::<MonoTime>);
    for s in seen {
        if is_closed(s) {
            run = match last_closed {
                Some(at) if s.at.since(at) <= GAP => {
                    // Only the time between two that both saw it counts.
                    if last == Some(at) { run + s.at.since(at) } else { run }
                }
                _ => Duration::ZERO,
            };
            last_closed = Some(s.at);
            longest = longest.max(run);
        }
        last = Some(s.at);
    }
    longest
}

fn is_closed(seen: &DriverObservation) -> bool {
    matches!(seen.eyelids, Seen::Known { value: EyelidOpening(o), confidence }
        if o < CLOSED_BELOW && confidence >= MIN_CONFIDENCE)
}

/// What one way of being worse made of all recordings.
#[derive(Clone, Debug, Default)]
struct Outcome {
    pictures: usize,
    open: usize,
    closed: usize,
    reasons: Vec<(NotSeen, usize)>,
    longest: Duration,
}

/// One recording, and what is seen of it unspoilt.
struct Recording {
    pictures: Vec<(MonoTime, I420Picture)>,
    clean: Vec<DriverObservation>,
}

/// Looks at every picture, worse, of which the clean one was seen with open eyes or not at all.
/// One pair of eyes for all, for loading them is dear: `minute` moves each recording to a time at
/// which the ones before it are forgotten.
fn look(eyes: &mut CabinEyes, way: &Way, all: &[Recording], minute: &mut u64) -> Outcome {
    let mut outcome = Outcome::default();
    for Recording { pictures, clean } in all {
        *minute += 1;
        let mut place = [[WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0]; 2];
        let mut seen = Vec::new();
        for ((n, (at, picture)), clean) in (0_u64..).zip(pictures).zip(clean) {
            if let Some(face) = clean.face.known() {
                place = eyes_of(face);
            }
            let at = MonoTime::from_ns(at.as_ns() + *minute * 60_000_000_000);
            seen.push(observe(eyes, at, (way.apply)(picture.clone(), place, n * 7919 + 1)));
        }
        for (seen, clean) in seen.iter().zip(clean) {
            // A blink of the clean one is no mistake of the worse one.
            if clean.eyelids.known().is_some_and(|o| o.0 >= 0.15) {
                outcome.pictures += 1;
                outcome.closed += usize::from(is_closed(seen));
                match seen.eyelids {
                    Seen::Known { .. } => outcome.open += usize::from(!is_closed(seen)),
                    Seen::Unknown(why) => {
                        match outcome.reasons.iter_mut().find(|(r, _)| *r == why) {
                            Some((_, n)) => *n += 1,
                            None => outcome.reasons.push((why, 1)),
                        }
                    }
                }
            }
        }
        // A photograph is one picture: it counts among the single ones, and makes no run.
        outcome.longest = outcome.longest.max(longest_closure(&seen));
    }
    outcome
}

fn built_in() -> Option<CabinEyes> {
    match CabinEyes::without_pack(&PerceptionOptions::default(), "a test".to_owned()) {
        Ok(eyes) => Some(eyes),
        Err(e) => {
            println!("skipped: {e}");
            None
        }
    }
}

/// The pack's eyes, or what is built in.
type Open = fn() -> Option<CabinEyes>;

#[test]
fn open_eyes_are_never_closed_for_being_hard_to_see() {
    let mut recordings: Vec<Vec<(MonoTime, I420Picture)>> = [
        // He looks ahead and to his left: long enough for a closure of a second.
        video("data/driver_video/head_turns.mp4", 5).map(|p| p[..12].to_vec()),
        video("data/driver_video/head_pose_male.gif", 4).map(|p| p[..10].to_vec()),
    ]
    .into_iter()
    .flatten()
    .collect();
    recordings.extend(photographs().unwrap_or_default());
    let with_pack: Open = || cabin(DriverSeat::default());
    let Some(mut eyes) = with_pack() else { return };
    let mut all = Vec::new();
    for (minute, pictures) in (0_u64..).zip(recordings) {
        let later = |at: MonoTime| MonoTime::from_ns(at.as_ns() + minute * 60_000_000_000);
        let seen = |(at, p): &(MonoTime, I420Picture)| observe(&mut eyes, later(*at), p.clone());
        all.push(Recording { clean: pictures.iter().map(seen).collect(), pictures });
    }
    temoin_media::limit_opencv_threads(1).unwrap();

    let ways = ways();
    let sources: [(&str, Open); 2] = [("pack", with_pack), ("built in", built_in)];
    let outcomes: Vec<Vec<Outcome>> = std::thread::scope(|scope| {
        let workers: Vec<_> = sources
            .into_iter()
            .map(|(_, open)| {
                let (ways, all) = (&ways, &all);
                scope.spawn(move || {
                    let Some(mut eyes) = open() else { return Vec::new() };
                    let mut minute = 0;
                    ways.iter().map(|way| look(&mut eyes, way, all, &mut minute)).collect()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let mut bad = Vec::new();
    for ((source, _), outcomes) in sources.iter().zip(&outcomes) {
        let (mut pictures, mut closed) = (0, 0);
        for (Way { name, hides, .. }, o) in ways.iter().zip(outcomes) {
            println!(
                "{source}: {name}: of {} {} open, {} closed, longest {:?}, not seen {:?}",
                o.pictures, o.open, o.closed, o.longest, o.reasons
            );
            pictures += o.pictures;
            closed += o.closed;
            if o.longest >= MICROSLEEP {
                bad.push(format!("{source}: {name}: closed for {:?}", o.longest));
            }
            if *hides == Hides::Eyes && o.open * 10 > o.pictures {
                bad.push(format!("{source}: {name}: {} of {} open", o.open, o.pictures));
            }
        }
        println!("{source}: {closed} of {pictures} pictures of open eyes read as closed");
        assert!(outcomes.is_empty() || pictures > 300, "{source}: {pictures}");
        // Single pictures make no event; they must stay rare.
        if closed * 100 > pictures {
            bad.push(format!("{source}: {closed} of {pictures} closed"));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Median of the differences, and how many there are.
fn median(mut all: Vec<f32>) -> (f32, usize) {
    all.sort_by(f32::total_cmp);
    (all.get(all.len() / 2).copied().unwrap_or(f32::NAN), all.len())
}

#[test]
fn grey_and_mirrored_pictures_say_the_same() {
    let Some(pictures) = video("data/driver_video/head_turns.mp4", 5) else { return };
    type Change = fn(I420Picture) -> I420Picture;
    let all = [("grey", degrade::grey as Change, 1.0), ("mirror", degrade::mirror, -1.0)];
    let (Some(mut clean), true) = (cabin(DriverSeat::default()), !pictures.is_empty()) else {
        return;
    };
    let clean: Vec<_> =
        pictures.iter().map(|(at, p)| observe(&mut clean, *at, p.clone())).collect();
    for (name, change, sign) in all {
        let mut eyes = cabin(DriverSeat::default()).unwrap();
        let seen: Vec<_> =
            pictures.iter().map(|(at, p)| observe(&mut eyes, *at, change(p.clone()))).collect();
        let both = || clean.iter().zip(&seen);
        let heads = both().filter_map(|(a, b)| Some((a.head.known()?, b.head.known()?)));
        let yaw = heads.clone().map(|(a, b)| (a.yaw_deg - sign * b.yaw_deg).abs()).collect();
        let pitch = heads.clone().map(|(a, b)| (a.pitch_deg - b.pitch_deg).abs()).collect();
        let roll = heads.map(|(a, b)| (a.roll_deg - sign * b.roll_deg).abs()).collect();
        let lids = both()
            .filter_map(|(a, b)| Some((a.eyelids.known()?.0 - b.eyelids.known()?.0).abs()))
            .collect();
        let gaze = both()
            .filter_map(|(a, b)| {
                Some((a.gaze.known()?.yaw_deg - sign * b.gaze.known()?.yaw_deg).abs())
            })
            .collect();
        let faces =
            |all: &[DriverObservation]| all.iter().filter(|o| o.face.known().is_some()).count();
        let lids_seen =
            |all: &[DriverObservation]| all.iter().filter(|o| o.eyelids.known().is_some()).count();
        let found = [faces(&clean), faces(&seen), lids_seen(&clean), lids_seen(&seen)];
        let [yaw, pitch, roll, lids, gaze] = [yaw, pitch, roll, lids, gaze].map(median);
        println!(
            "{name}: faces and lids {found:?}; medians of the difference: yaw {yaw:?}, \
             pitch {pitch:?}, roll {roll:?}, lids {lids:?}, gaze {gaze:?}"
        );
        assert!(found[1] * 100 >= found[0] * 97, "{name}: faces {found:?}");
        assert!(found[3] * 100 >= found[2] * 85, "{name}: lids {found:?}");
        assert!(yaw.0 < 4.0 && pitch.0 < 4.0 && roll.0 < 4.0, "{name}: pose");
        assert!(lids.0 < 0.03, "{name}: lids");
        assert!(gaze.0 < 6.0, "{name}: gaze");
        // A whole sweep to both sides, so that a lost sign would show.
        let furthest = seen.iter().filter_map(|o| o.head.known()).map(|h| h.yaw_deg);
        let (low, high) = furthest.fold((0.0_f32, 0.0_f32), |(l, h), y| (l.min(y), h.max(y)));
        assert!(low < -35.0 && high > 35.0, "{name}: {low} to {high}");
    }
}

/// How much of a face an area covers, 0 to 1.
fn share_hidden(face: &PictureBox, area: &PictureBox) -> f32 {
    let w = (face.x + face.w).min(area.x + area.w) - face.x.max(area.x);
    let h = (face.y + face.h).min(area.y + area.h) - face.y.max(area.y);
    w.max(0.0) * h.max(0.0) / (face.w * face.h)
}

#[test]
fn a_passenger_is_never_the_driver() {
    let (Some(one), Some(two)) = (
        video("data/driver_video/head_turns.mp4", 5),
        video("data/driver_video/head_pose_male.gif", 5),
    ) else {
        return;
    };
    // Two people side by side, each in a half of the picture; the driver sits right or left.
    for (side, driver_right) in [(DriverSide::Left, true), (DriverSide::Right, false)] {
        let Some(mut eyes) = cabin(seat_on(side)) else { return };
        let (mut looks, mut drivers, mut wrong, mut passengers) = (0, 0, 0, 0);
        for ((at, a), (_, b)) in one.iter().zip(two.iter().cycle()).take(40) {
            let picture = degrade::side_by_side(a, b).unwrap();
            let sight = eyes.observe(&picture.into_frame(CameraId::Cabin, *at));
            let right = |b: &PictureBox| b.x + b.w / 2.0 > 0.5;
            looks += 1;
            let driver = sight.driver().unwrap().face.known().copied();
            if let Some(face) = &driver {
                drivers += 1;
                wrong += usize::from(right(face) != driver_right);
            }
            let others = sight.others.unwrap();
            passengers += usize::from(others.iter().any(|o| right(&o.area) != driver_right));
            // The driver's face is not blurred; a patch of hair that is taken for a face may be.
            if let Some(face) = driver {
                let hidden: f32 = others.iter().map(|o| share_hidden(&face, &o.area)).sum();
                assert!(hidden < 0.2, "{side:?}: {hidden} of the driver's face is blurred");
            }
        }
        println!("{side:?}: driver in {drivers} of {looks}, passenger in {passengers}");
        assert_eq!(wrong, 0, "{side:?}");
        assert!(drivers * 100 >= looks * 95, "{side:?}: {drivers} of {looks}");
        assert!(passengers * 100 >= looks * 90, "{side:?}: {passengers} of {looks}");
    }
}

#[test]
fn a_face_that_comes_and_goes_is_not_held() {
    let Some(pictures) = video("data/driver_video/head_turns.mp4", 5) else { return };
    let Some(mut eyes) = cabin(DriverSeat::default()) else { return };
    let black = I420Picture::black(WIDTH, HEIGHT).unwrap();
    let mut last = None;
    for (n, (at, picture)) in pictures.iter().take(12).enumerate() {
        let dark = n % 4 == 3;
        let picture = if dark { black.clone() } else { picture.clone() };
        let seen = observe(&mut eyes, *at, picture);
        if dark {
            assert_eq!(seen.face, Seen::Unknown(NotSeen::BadLight));
            assert_eq!(seen.eyelids, Seen::Unknown(NotSeen::BadLight));
        } else {
            assert!(seen.face.known().is_some(), "{n}: {seen:?}");
        }
        last = Some(seen);
    }
    assert!(last.is_some());
}

#[test]
fn who_holds_no_phone_has_none() {
    let Some(pictures) = video("data/driver_video/head_pose_male.gif", 4) else { return };
    for (name, eyes) in [("pack", cabin(DriverSeat::default())), ("built in", built_in())] {
        let Some(mut eyes) = eyes else { continue };
        let seen = pictures.iter().map(|(at, p)| observe(&mut eyes, *at, p.clone()).phone);
        let said: Vec<PhoneUse> = seen.filter_map(|phone| phone.known().copied()).collect();
        println!("{name}: no phone said in {} of {}", said.len(), pictures.len());
        assert!(said.iter().all(|phone| *phone == PhoneUse::None), "{name}: {said:?}");
    }
}
