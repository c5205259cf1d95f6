//! From pictures to a clip's coded pictures, through the whole loop: what waits, what is blurred
//! and what is wiped. Perception is a fake one in the loop, so each run is the same.

use std::sync::mpsc::channel;

use temoin_hw::{clock::ReplayClock, device::Logged};
use temoin_media::{
    frame::I420Picture,
    h264::{AccessUnit, Decoder},
};
use temoin_proto::{
    events::EventKind,
    perception::{DriverObservation, NotSeen, PictureBox, PrivateArea, PrivateKind},
    samples::ButtonPress,
    sealed::TrackName,
};

use super::*;
use crate::perception::{HealthStatement, Perception};

#[path = "pipeline_review_tests.rs"]
mod review;

const FPS: u64 = 15;
const SIZE: (u32, u32) = (320, 192);
/// Where the passenger is, and where nobody ever is.
const PASSENGER: (usize, usize) = (220, 60);
const NOBODY: (usize, usize) = (60, 60);

/// Sees a passenger from some picture on, and nothing at all from another one on.
struct Fake {
    appears: MonoTime,
    fails: MonoTime,
}

impl Perception for Fake {
    fn observe(&mut self, frame: &Frame) -> Sight {
        let at = frame.at;
        let area = PictureBox { x: 0.6, y: 0.2, w: 0.2, h: 0.4 };
        let others = if at >= self.fails {
            Err(NotSeen::ModelFailed)
        } else if at >= self.appears {
            Ok(vec![PrivateArea { kind: PrivateKind::Face, area }])
        } else {
            Ok(Vec::new())
        };
        let seen = DriverObservation::unseen(at, NotSeen::NoFace);
        Sight { observation: Observation::Driver(seen), others }
    }

    fn health(&self) -> Vec<HealthStatement> {
        Vec::new()
    }
}

fn ms(ms: u64) -> MonoTime {
    MonoTime::from_ns(ms * 1_000_000)
}

fn picture_at(n: u64) -> MonoTime {
    ms(n * 1000 / FPS)
}

/// A picture of stripes that a blur destroys.
fn frame(at: MonoTime) -> Frame {
    let mut picture = I420Picture::black(SIZE.0, SIZE.1).unwrap();
    for row in picture.planes_mut().y.chunks_exact_mut(SIZE.0 as usize) {
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = if x % 8 < 4 { 40 } else { 200 };
        }
    }
    picture.into_frame(CameraId::Cabin, at)
}

/// Whether the stripes are still there around a point.
fn sharp(picture: &I420Picture, (x, y): (usize, usize)) -> bool {
    let width = SIZE.0 as usize;
    let row = &picture.data()[width * y + x..width * y + x + 24];
    row.iter().max().unwrap() - row.iter().min().unwrap() > 80
}

struct Run {
    pipeline: Pipeline,
    clock: Arc<ReplayClock>,
    jobs: Receiver<SealJob>,
}

impl Run {
    fn new(perception: Option<Fake>) -> Self {
        Self::with(perception, BlurConfig::default())
    }

    fn with(perception: Option<Fake>, blur: BlurConfig) -> Self {
        let zero = WallTime { unix_ms: 1_700_000_000_000, uncertainty_ms: 5 };
        let clock = Arc::new(ReplayClock::new(MonoTime::ZERO, zero));
        let (seal, jobs) = channel();
        let (results, _) = tokio::sync::mpsc::unbounded_channel();
        let eyes = perception.map(|fake| (CameraId::Cabin, Eyes::in_loop(Box::new(fake), 5.0)));
        let parts = Parts {
            rules: CoreConfig::for_recordings(),
            privacy: PrivacyState::Recording,
            encoder: EncoderConfig::new(SIZE.0, SIZE.1, 15),
            label: "van-12".to_owned(),
            mark: MarkKey::from_bytes([4; 32]),
            eyes: eyes.into_iter().collect(),
            blur,
            seat: DriverSeat::default(),
            clock: clock.clone(),
            lamp: Box::new(Logged::default()),
            speaker: Box::new(Logged::default()),
            seal,
            results,
            privacy_told: watch::channel("recording").0,
            driven_told: watch::channel(Driven::default()).0,
            under_way_told: watch::channel(None).0,
            orders: None,
            mount: None,
            mount_file: None,
            limits: None,
            health: Arc::new(HealthBoard::default()),
            rounds: Rounds::default(),
            backlog: Backlog::default(),
            waits: Box::new(|| false),
            power_off: None,
            time: None,
        };
        Self { pipeline: Pipeline::new(parts), clock, jobs }
    }

    fn give(&mut self, item: Captured, at: MonoTime) {
        self.clock.advance(at);
        self.pipeline.take(item);
        self.pipeline.settle();
    }

    /// Gives the pictures of these numbers.
    fn pictures(&mut self, numbers: std::ops::Range<u64>) {
        for at in numbers.map(picture_at) {
            self.give(Captured::Frame(frame(at), Instant::now()), at);
        }
    }

    /// The driver presses the button: what there is becomes a clip.
    fn button(&mut self, at: MonoTime) {
        self.give(Captured::Signal(Signal::Button(ButtonPress { at })), at);
    }

    fn order(&mut self, order: Order, at: MonoTime) {
        self.give(Captured::Order(CommandId::new(), order), at);
    }

    /// The pictures of the cabin camera of every clip that was cut, decoded.
    fn clips(&mut self) -> Vec<Vec<(MonoTime, I420Picture)>> {
        let jobs = self.jobs.try_iter();
        let clips = jobs.filter_map(|job| match job {
            SealJob::Clip(clip) => Some(decoded(&clip, Video::Shown(CameraId::Cabin))),
            SealJob::SoFar(_) | SealJob::Event(_) => None,
        });
        clips.collect()
    }
}

fn decoded(job: &ClipJob, video: Video) -> Vec<(MonoTime, I420Picture)> {
    let Some(track) = job.cut.tracks.iter().find(|t| t.video == video) else {
        return Vec::new();
    };
    let mut decoder = Decoder::new(&job.streams[&video], 1).unwrap();
    for unit in track.gops.iter().flat_map(|gop| gop.units()) {
        let unit = AccessUnit { at: unit.at, key: unit.key, data: unit.data.clone() };
        decoder.push(unit).unwrap();
    }
    decoder.end().unwrap();
    let pictures = std::iter::from_fn(|| decoder.next_last().unwrap());
    pictures.map(|p| (p.at, p.picture)).collect()
}

#[test]
fn a_clip_ends_with_the_pictures_that_waited() {
    // Nothing looks, so that each picture waits for all of the lookahead.
    let mut run = Run::new(None);
    run.pictures(0..30);
    run.button(picture_at(29));
    assert!(run.pipeline.recorder.deadline().is_some(), "some wait");
    run.pipeline.end();
    let clips = run.clips();
    let times: Vec<_> = clips[0].iter().map(|(at, _)| *at).collect();
    assert_eq!(times, (0..30).map(picture_at).collect::<Vec<_>>());
    assert!(clips[0].iter().all(|(_, picture)| !sharp(picture, NOBODY)), "nothing looked");
}

#[test]
fn a_face_is_blurred_from_its_first_picture_on_and_a_failure_blurs_all() {
    // The first look that can see him is at 800 ms; he may be there since the look before.
    let (appears, fails) = (ms(700), ms(1500));
    let mut run = Run::new(Some(Fake { appears, fails }));
    run.pictures(0..60);
    run.button(picture_at(59));
    run.pipeline.end();
    let pictures = run.clips().remove(0);
    assert_eq!(pictures.len(), 60);
    // The last look that saw something, and then the hold of one second.
    let blind_from = ms(1400 + 1000);
    for (at, picture) in &pictures {
        assert!(*at < appears || !sharp(picture, PASSENGER), "a face in the clear at {at}");
        assert!(*at <= blind_from + Duration::from_millis(70) || !sharp(picture, NOBODY), "{at}");
        if *at <= ms(1400) {
            assert!(sharp(picture, NOBODY), "blurred without need at {at}");
        }
    }
    assert!(sharp(&pictures[0].1, PASSENGER), "nobody is there yet");
    assert!(!sharp(&pictures[59].1, NOBODY));
}

#[test]
fn a_change_of_the_privacy_state_wipes_what_waits_and_what_was_seen() {
    let mut run = Run::new(Some(Fake { appears: ms(u64::from(u32::MAX)), fails: ms(1500) }));
    run.pictures(0..23);
    // Between two looks, so that pictures wait.
    assert!(run.pipeline.recorder.deadline().is_some());
    run.order(Order::Record(false), picture_at(23));
    assert_eq!(run.pipeline.recorder.deadline(), None, "nothing waits");
    run.pictures(24..26);
    assert_eq!(run.pipeline.recorder.deadline(), None, "nothing is recorded");
    run.order(Order::Record(true), picture_at(26));
    run.pictures(27..32);
    run.button(picture_at(31));
    run.pipeline.end();
    let clips = run.clips();
    assert_eq!(clips.len(), 1, "nothing was flagged before");
    let times: Vec<_> = clips[0].iter().map(|(at, _)| *at).collect();
    assert_eq!(times, (27..32).map(picture_at).collect::<Vec<_>>());
    // The look of before would still hold.
    assert!(clips[0].iter().all(|(_, picture)| !sharp(picture, NOBODY)), "a look was remembered");
}

#[test]
fn what_was_flagged_before_the_change_keeps_the_pictures_that_waited() {
    let mut run = Run::new(None);
    run.pictures(0..20);
    run.button(picture_at(19));
    run.order(Order::Record(false), picture_at(20));
    let clips = run.clips();
    assert_eq!(clips.len(), 1);
    assert_eq!(clips[0].len(), 20);
}

/// The one clip that was cut.
fn the_clip(run: &Run) -> Box<ClipJob> {
    let jobs = run.jobs.try_iter();
    let mut clips = jobs.filter_map(|job| match job {
        SealJob::Clip(clip) => Some(clip),
        SealJob::SoFar(_) | SealJob::Event(_) => None,
    });
    clips.next().unwrap()
}

#[test]
fn an_unblurred_video_is_kept_only_where_it_is_ordered() {
    let (appears, fails) = (MonoTime::ZERO, ms(u64::from(u32::MAX)));
    for keep_unblurred in [false, true] {
        let blur = BlurConfig { keep_unblurred, ..BlurConfig::default() };
        let mut run = Run::with(Some(Fake { appears, fails }), blur);
        let said = run.pipeline.parts.health.state("privacy.unblurred");
        assert_eq!(said, keep_unblurred.then_some(State::Degraded));
        run.pictures(0..30);
        run.button(picture_at(29));
        run.pipeline.end();
        let job = the_clip(&run);
        let shown = decoded(&job, Video::Shown(CameraId::Cabin));
        assert_eq!(shown.len(), 30);
        assert!(shown.iter().all(|(_, picture)| !sharp(picture, PASSENGER)));
        let unblurred = decoded(&job, Video::Unblurred(CameraId::Cabin));
        assert_eq!(unblurred.len(), if keep_unblurred { 30 } else { 0 });
        assert!(unblurred.iter().all(|(_, picture)| sharp(picture, PASSENGER)));

        let file = crate::clip_file::write(&job.cut, &job.streams, &job.others_blurred, &job.mark)
            .unwrap();
        let tracks: Vec<_> = file.tracks.iter().map(|t| (t.name, t.others_blurred)).collect();
        let mut expected = vec![(TrackName::Cabin, Some(true))];
        if keep_unblurred {
            expected.push((TrackName::CabinUnblurred, Some(false)));
        }
        expected.push((TrackName::Signals, None));
        assert_eq!(tracks, expected);
    }
}

#[test]
fn every_clip_carries_the_mark_of_its_unit_and_its_time() {
    use prost::Message as _;
    use temoin_media::watermark::{
        Grid,
        detect::{Evidence, Finished},
        residual::{Luma, residual_of_itself},
    };

    let mut run = Run::new(None);
    run.pictures(0..60);
    run.button(picture_at(59));
    run.pipeline.end();
    let job = the_clip(&run);
    let file =
        crate::clip_file::write(&job.cut, &job.streams, &job.others_blurred, &job.mark).unwrap();
    let signals = file.tracks.iter().find(|track| track.name == TrackName::Signals).unwrap();
    let told = temoin_proto::wire::ClipSignals::decode(signals.bytes.as_slice()).unwrap();
    let told = told.unit_mark.unwrap();
    assert_eq!(told.key.as_ref(), run.pipeline.parts.mark.as_bytes());
    assert_eq!(MonoTime::from_ns(told.begin_ns), file.origin);

    // Nobody has the unmarked pictures any more: what a picture differs in from itself, smoothed.
    let evidence = |later: Duration| -> Finished {
        let grid = Grid::of(SIZE.0, SIZE.1);
        let mut evidence = Evidence::new(grid);
        for (at, picture) in decoded(&job, Video::Shown(CameraId::Cabin)) {
            let luma: Vec<f32> = picture.view().luma().iter().map(|y| f32::from(*y)).collect();
            let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
            let seen = vec![true; luma.len()];
            let luma = Luma { width, height, luma: &luma };
            let left = residual_of_itself(grid, luma, &seen).unwrap();
            evidence.add(at.since(MonoTime::ZERO) + later, &left);
        }
        evidence.finish()
    };
    let z = |evidence: &Finished, key: u8| {
        evidence.z(&MarkKey::from_bytes([key; 32]).signs(TrackName::Cabin))
    };
    let there = evidence(Duration::ZERO);
    assert!(z(&there, 4) > 10.0, "{}", z(&there, 4));
    for other in 5..100 {
        assert!(z(&there, other) < 5.0, "another unit, or another run: {}", z(&there, other));
    }
    let another_time = evidence(Duration::from_secs(30));
    assert!(z(&another_time, 4) < 5.0, "another clip: {}", z(&another_time, 4));
}

#[test]
fn there_is_no_unblurred_video_beside_one_that_is_not_blurred() {
    let blur = BlurConfig { keep_unblurred: true, cabin_others: false, ..BlurConfig::default() };
    let mut run = Run::with(None, blur);
    run.pictures(0..20);
    run.button(picture_at(19));
    run.pipeline.end();
    let job = the_clip(&run);
    assert_eq!(job.cut.tracks.len(), 1);
    assert_eq!(job.others_blurred.get(&Video::Shown(CameraId::Cabin)), Some(&false));
}

/// From an extract to the event's record: a van comes to a crossing at 36 km/h, its street's stop line
/// 8 m before it.
#[test]
fn a_stop_sign_of_the_map_is_rolled_through() {
    use temoin_proto::samples::{GnssFix, VehicleSpeed};

    use crate::{
        config::LimitsConfig,
        limits::{
            build,
            pbf_writer::{Extract, Packed},
        },
    };

    const M_PER_DEG: f64 = 111_195.0 * 0.714_1;
    let folder = tempfile::tempdir().unwrap();
    let (extract, file) = (folder.path().join("town.osm.pbf"), folder.path().join("limits"));
    let lon = |m: f64| 26.1 + m / M_PER_DEG;
    for (sign, east, halts, want) in [
        ("highway=stop", true, false, 1),
        ("highway=stop|direction=forward", true, false, 1),
        // He stops.
        ("highway=stop", true, true, 0),
        // Not for him.
        ("highway=stop|direction=backward", true, false, 0),
        ("highway=stop", false, false, 0),
        ("highway=give_way", true, false, 0),
    ] {
        let town = Extract::default()
            .node(1, 44.43, lon(0.0))
            .tagged(2, 44.43, lon(292.0), sign)
            .node(3, 44.43, lon(300.0))
            .node(4, 44.43, lon(600.0))
            .node(5, 44.427, lon(300.0))
            .node(6, 44.433, lon(300.0))
            .way(7, "highway=residential|maxspeed=50", &[1, 2, 3, 4])
            .way(8, "highway=primary|maxspeed=50", &[5, 3, 6]);
        std::fs::write(&extract, town.bytes(Packed::Zlib, true)).unwrap();
        build::build(&extract, None, &file).unwrap();
        let mut run = Run::new(None);
        let config = LimitsConfig { file: Some(file.clone()), ..LimitsConfig::default() };
        run.pipeline.parts.limits = LimitWatch::open(&config, &run.pipeline.parts.health);
        assert!(run.pipeline.parts.limits.is_some());
        let (mut m, mut n) = (0.0_f64, 0_u64);
        while m < 600.0 {
            let at = ms(1000 + n * 100);
            // Brakes by 2 m/s² to walking pace at 288 m, and goes on.
            let mps = if halts { (1.0 + 4.0 * (m - 288.0).abs()).sqrt().min(10.0) } else { 10.0 };
            if n.is_multiple_of(10) {
                let (way_m, course_deg) = if east { (m, 90.0) } else { (600.0 - m, 270.0) };
                let fix = GnssFix {
                    speed_mps: Some(mps),
                    course_deg: Some(course_deg),
                    position_error_m: Some(3.0),
                    ..GnssFix::new(at, 44.43, lon(way_m))
                };
                run.give(Captured::Signal(Signal::Gnss(fix)), at);
            }
            run.give(Captured::Signal(Signal::Speed(VehicleSpeed { at, mps })), at);
            m += mps * 0.1;
            n += 1;
        }
        run.pipeline.end();
        let rolled = run.jobs.try_iter().filter(|job| match job {
            SealJob::Event(record) => record.kind == EventKind::RollingStop,
            SealJob::SoFar(_) | SealJob::Clip(_) => false,
        });
        assert_eq!(rolled.count(), want, "{sign} {east} {halts}");
    }
}

#[test]
fn a_round_is_counted_while_nothing_comes_and_nothing_is_due() {
    let mut run = Run::new(None);
    let at = picture_at(5);
    run.give(Captured::Signal(Signal::Button(ButtonPress { at })), at);
    let due = run.pipeline.wait_limit().unwrap();
    assert!(due > IDLE * 3, "the saved clip's end is due only in {due:?}");
    let rounds = run.pipeline.parts.rounds.clone();
    let (end, from) = std::sync::mpsc::sync_channel(1);
    let watched = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(20);
        while rounds.counted() < 3 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let counted = rounds.counted();
        end.send(Captured::End).unwrap();
        counted
    });
    run.pipeline.run(&from, MonoTime::ZERO);
    assert!(watched.join().unwrap() >= 3, "a watchdog would not have been fed");
}
