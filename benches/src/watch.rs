//! Shows drives and single clips to perception, the detectors and the policy; nothing is recorded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use temoin_agent::perception::Perception;
use temoin_agent_core::{
    config::CoreConfig,
    drive::{Command as Decided, Drive as Core, Input as Seen},
    policy::PrivacyState,
    road::{distance::Horizon, scene::Placed},
};
use temoin_hw::{
    Drive, Replay, ReplayItem, ReplayOptions,
    drive::VideoInput,
    pace::{Speed, StopToken},
    replay,
    video_file::PictureSize,
};
use temoin_proto::{
    events::EventKind,
    perception::{DriverObservation, NotSeen, Observation, RoadObservation, Seen as Sees, Sight},
    samples::{CameraId, Frame, Signal, VehicleSpeed},
    time::MonoTime,
};

use crate::{cpu, input::Looks, piped::Piped};

/// Cabin pictures that are looked at in a second, as the unit does.
pub const CABIN_HZ: f64 = 10.0;
/// Road pictures that are looked at in a second, as the unit does.
pub const ROAD_HZ: f64 = 5.0;
/// Of a clip without a vehicle's signals: a speed at which every rule holds, and none of speeding.
pub(crate) const CLIP_SPEED_MPS: f64 = 90.0 / 3.6;
/// What a video file is called.
const VIDEOS: [&str; 7] = ["mp4", "mkv", "mov", "avi", "webm", "gif", "m4v"];

/// What came out of a drive. Times are seconds of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Alerts in the cab, when.
    pub alerts_s: Vec<f64>,
    /// Flagged events: kind and begin.
    pub events: Vec<(EventKind, f64)>,
    /// What was seen.
    pub sights: Vec<Sight>,
    /// Processor time of each look, milliseconds, of the thread that looked.
    pub look_ms: Vec<f64>,
    /// Mean processor time of each stage of a look, where it is known.
    pub stage_ms: Vec<(&'static str, f64)>,
    /// When the pictures were taken, also of those that were not looked at.
    pub pictures_at: Vec<MonoTime>,
    /// What was followed on the road, one after each look.
    pub road_looks: Vec<RoadLook>,
    /// Length.
    pub length_s: f64,
}

/// What the road eyes believe after one look.
#[derive(Clone, Debug)]
pub struct RoadLook {
    /// The picture's time.
    pub at: MonoTime,
    /// Vehicles, wherever they drive.
    pub vehicles: Vec<Placed>,
    /// The horizon of this picture.
    pub horizon: Option<Horizon>,
    /// Whether many pictures agree on the horizon.
    pub settled: bool,
}

impl Outcome {
    /// What was seen of the driver.
    pub fn drivers(&self) -> Vec<DriverObservation> {
        self.sights.iter().filter_map(|s| s.driver().copied()).collect()
    }

    /// What was seen of the road.
    pub fn roads(&self) -> Vec<RoadObservation> {
        let road = |sight: &Sight| match sight.observation {
            Observation::Road(seen) => Some(seen),
            Observation::Driver(_) => None,
        };
        self.sights.iter().filter_map(road).collect()
    }

    /// How many events of these kinds were flagged.
    pub fn count(&self, kinds: &[EventKind]) -> usize {
        self.events.iter().filter(|(kind, _)| kinds.contains(kind)).count()
    }

    fn take(&mut self, decided: &mut Vec<Decided>) {
        for command in decided.drain(..) {
            match command {
                Decided::Alert(alert) => self.alerts_s.push(seconds(alert.at)),
                Decided::Flag { event, .. } => self.events.push((event.kind, seconds(event.start))),
                Decided::Cut(_) | Decided::Lamp(_) | Decided::Health(_) => {}
            }
        }
    }
}

/// Seconds of a drive.
pub fn seconds(at: MonoTime) -> f64 {
    at.secs_from(replay::ZERO)
}

/// Sees what is in a picture.
pub type Eyes<'a> = &'a mut dyn FnMut(&Frame) -> Sight;

/// Runs a drive through perception, the detectors and the policy.
///
/// # Errors
/// Where the recording cannot be read.
pub fn run(drive: Replay, rules: CoreConfig, eyes: Eyes<'_>) -> Result<Outcome> {
    run_at(drive.map(|item| Ok(item?)), rules, None, eyes)
}

/// At full speed an item's own time is the time at which it comes.
fn run_at(
    drive: impl Iterator<Item = Result<ReplayItem>>,
    rules: CoreConfig,
    speed_mps: Option<f64>,
    eyes: Eyes<'_>,
) -> Result<Outcome> {
    let mut core = Core::new(rules, PrivacyState::Recording);
    let mut cabin = Looks::new(CameraId::Cabin, CABIN_HZ);
    let mut road = Looks::new(CameraId::Road, ROAD_HZ);
    let (mut outcome, mut decided) = (Outcome::default(), Vec::new());
    for item in drive {
        let item = item?;
        outcome.length_s = outcome.length_s.max(seconds(item.at()));
        let now = item.at();
        match item {
            ReplayItem::Signal(signal) => core.step(now, Seen::Signal(signal), &mut decided),
            ReplayItem::Frame(frame) => {
                outcome.pictures_at.push(frame.at);
                if let Some(mps) = speed_mps {
                    let speed = Signal::Speed(VehicleSpeed { at: frame.at, mps });
                    core.step(now, Seen::Signal(speed), &mut decided);
                }
                if cabin.due(&frame) || road.due(&frame) {
                    let began_s = cpu::of_this_thread();
                    let sight = eyes(&frame);
                    outcome.look_ms.push((cpu::of_this_thread() - began_s) * 1e3);
                    let seen = match sight.observation {
                        Observation::Driver(seen) => Seen::Driver(seen),
                        Observation::Road(seen) => Seen::Road(seen),
                    };
                    outcome.sights.push(sight);
                    core.step(now, seen, &mut decided);
                }
            }
        }
        outcome.take(&mut decided);
    }
    Ok(outcome)
}

/// Opens a drive at full speed.
///
/// # Errors
/// Where a recording cannot be used.
pub fn open(drive: &Drive) -> Result<Replay> {
    let options =
        ReplayOptions { speed: Speed::Max, size: PictureSize::default(), stop: StopToken::new() };
    Ok(Replay::open(drive, &options)?)
}

/// A video file of one camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// The file.
    pub file: PathBuf,
    /// Its name without folder and ending; the labels' name too.
    pub name: String,
    /// Which camera it stands for.
    pub camera: CameraId,
}

/// The video files in a folder, in the order of their names; none where there is no such folder.
///
/// # Errors
/// Where the folder cannot be read.
pub fn clips(folder: &Path, camera: CameraId) -> Result<Vec<Clip>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut clips = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = entry?.path();
        let ending = file.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        let name = file.file_stem().and_then(|n| n.to_str()).map(str::to_owned);
        if let (Some(ending), Some(name)) = (ending, name)
            && VIDEOS.contains(&ending.as_str())
        {
            clips.push(Clip { file, name, camera });
        }
    }
    clips.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(clips)
}

/// What comes of a clip, one after the other.
pub type Items = Box<dyn Iterator<Item = Result<ReplayItem>>>;

/// A clip's pictures one after the other, and a line where they had to come through ffmpeg: what
/// GStreamer cannot play to its end. That is known only there, so a clip is decoded twice.
///
/// # Errors
/// Where neither can read it.
pub fn played(clip: &Clip) -> Result<(Items, Option<String>)> {
    let video = Some(VideoInput { file: clip.file.clone(), ..VideoInput::default() });
    let drive = Drive { name: clip.name.clone(), repeat: 1, ..Drive::default() };
    let drive = match clip.camera {
        CameraId::Cabin => Drive { cabin: video, ..drive },
        CameraId::Road => Drive { road: video, ..drive },
    };
    let items = |drive| anyhow::Ok(open(drive)?.map(|item| anyhow::Ok(item?)));
    match items(&drive).and_then(|mut items| items.try_for_each(|item| item.map(drop))) {
        Ok(()) => Ok((Box::new(items(&drive)?), None)),
        Err(why) => {
            let mut piped = Piped::open(&clip.file, clip.camera, PictureSize::default())?;
            let items = std::iter::from_fn(move || piped.next_frame().transpose())
                .map(|frame| frame.map(ReplayItem::Frame));
            Ok((Box::new(items), Some(format!("read by ffmpeg: {why:#}"))))
        }
    }
}

/// Pictures of a clip, so many a second, at most so many.
///
/// # Errors
/// Where it cannot be read.
pub fn pictures(clip: &Clip, hz: f64, at_most: usize) -> Result<Vec<Frame>> {
    let (mut due, mut pictures) = (Looks::new(clip.camera, hz), Vec::new());
    for item in played(clip)?.0 {
        match item? {
            ReplayItem::Frame(frame) if due.due(&frame) => pictures.push(frame),
            ReplayItem::Frame(_) | ReplayItem::Signal(_) => {}
        }
        if pictures.len() == at_most {
            break;
        }
    }
    Ok(pictures)
}

/// Shows a clip as if its vehicle went at a steady 90 km/h. The second part is a line about how it
/// was read, where that was not the usual way.
///
/// # Errors
/// Where it cannot be read.
pub fn watch(clip: &Clip, perception: &mut dyn Perception) -> Result<(Outcome, Option<String>)> {
    let (items, how) = played(clip)?;
    let outcome = steady(items, perception).with_context(|| how.clone().unwrap_or_default())?;
    Ok((outcome, how))
}

fn steady(
    clip: impl Iterator<Item = Result<ReplayItem>>,
    perception: &mut dyn Perception,
) -> Result<Outcome> {
    let rules = CoreConfig::for_recordings();
    run_at(clip, rules, Some(CLIP_SPEED_MPS), &mut |frame| perception.observe(frame))
}

/// What the detectors and the policy make of the same sights over and over, for this long, at a steady
/// 90 km/h. Perception does not look again.
pub fn looped(once: &Outcome, for_s: f64) -> Outcome {
    let period = Duration::from_secs_f64(once.length_s + 1.0 / CABIN_HZ);
    let mut core = Core::new(CoreConfig::for_recordings(), PrivacyState::Recording);
    let (mut outcome, mut decided) = (Outcome::default(), Vec::new());
    let mut shift = Duration::ZERO;
    while shift.as_secs_f64() < for_s && !once.sights.is_empty() {
        for sight in &once.sights {
            let at = sight.at() + shift;
            outcome.length_s = seconds(at);
            let speed = Signal::Speed(VehicleSpeed { at, mps: CLIP_SPEED_MPS });
            core.step(at, Seen::Signal(speed), &mut decided);
            let seen = match sight.observation {
                Observation::Driver(seen) => Seen::Driver(DriverObservation { at, ..seen }),
                Observation::Road(seen) => Seen::Road(RoadObservation { at, ..seen }),
            };
            core.step(at, seen, &mut decided);
            outcome.take(&mut decided);
        }
        shift += period;
    }
    outcome
}

/// How often something was not seen, for each reason, in words: `blurred 3, no_face 12`.
pub fn reasons<'a, T: 'a>(seen: impl Iterator<Item = &'a Sees<T>>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for value in seen {
        match value {
            Sees::Known { .. } => {}
            Sees::Unknown(why) => *counts.entry(word(*why)).or_default() += 1,
        }
    }
    let words: Vec<String> = counts.iter().map(|(why, n)| format!("{why} {n}")).collect();
    if words.is_empty() { "never".to_owned() } else { words.join(", ") }
}

/// A reason in the words of the wire.
pub fn word(why: NotSeen) -> String {
    serde_json::to_value(why)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_else(|| format!("{why:?}"))
}

#[cfg(test)]
mod tests {
    use temoin_proto::perception::{EyelidOpening, HeadPose, PerEye};

    use super::*;

    #[test]
    fn only_videos_are_clips() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.MP4", "a.gif", "notes.txt", "labels.csv"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("more")).unwrap();
        let found = clips(folder.path(), CameraId::Road).unwrap();
        let names: Vec<_> = found.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(clips(&folder.path().join("none"), CameraId::Road).unwrap(), []);
    }

    #[test]
    fn reasons_are_counted_in_the_words_of_the_wire() {
        let seen = [
            Sees::Unknown(NotSeen::NoFace),
            Sees::Known { value: 1, confidence: 1.0 },
            Sees::Unknown(NotSeen::BadLight),
            Sees::Unknown(NotSeen::NoFace),
        ];
        assert_eq!(reasons(seen.iter()), "bad_light 1, no_face 2");
        assert_eq!(reasons(seen.get(1..2).unwrap_or_default().iter()), "never");
    }

    #[test]
    fn a_loop_goes_on_where_the_clip_ended() {
        let ahead = HeadPose { yaw_deg: 0.0, pitch_deg: 0.0, roll_deg: 0.0 };
        let outcome = |opening: f32| {
            let known = Sees::Known { value: EyelidOpening(opening), confidence: 0.9 };
            let sight = |n: u64| {
                let at = replay::ZERO + Duration::from_millis(100 * n);
                let seen = DriverObservation {
                    head: Sees::Known { value: ahead, confidence: 0.9 },
                    eyelids: known,
                    eyes: PerEye { right: known, left: known },
                    ..DriverObservation::unseen(at, NotSeen::NoFace)
                };
                Sight { observation: Observation::Driver(seen), others: Ok(vec![]) }
            };
            // Half a second: too short for any rule.
            let sights: Vec<Sight> = (0..6).map(sight).collect();
            Outcome { sights, length_s: 0.5, ..Outcome::default() }
        };
        let closed = looped(&outcome(0.02), 6.0);
        assert!(closed.count(&[EventKind::Sleep, EventKind::Microsleep]) > 0, "{closed:?}");
        assert!((5.9..6.6).contains(&closed.length_s), "{}", closed.length_s);
        assert_eq!(looped(&outcome(0.3), 6.0).events, []);
        assert_eq!(looped(&Outcome::default(), 6.0).length_s, 0.0);
    }
}
