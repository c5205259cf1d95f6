//! What ignition, place, standstill and the driver do to what is recorded, through the whole loop.

use std::sync::atomic::{AtomicBool, Ordering};

use temoin_agent_core::config::{RecordingConfig, Zone, ZoneRule};
use temoin_hw::device::LampState;
use temoin_proto::samples::{GnssFix, ImuSample, STANDARD_GRAVITY_MPS2, VehicleSpeed};

use super::*;
use crate::machine::News;

/// A run whose lamp can be looked at.
fn with_lamp(recording: RecordingConfig) -> (Run, Logged<LampState>) {
    let mut run = Run::new(None);
    run.pipeline.recording = Recording::new(recording, PrivacyState::Recording);
    let lamp = Logged::default();
    run.pipeline.parts.lamp = Box::new(lamp.clone());
    (run, lamp)
}

impl Run {
    fn speed(&mut self, mps: f64, at: MonoTime) {
        self.give(Captured::Signal(Signal::Speed(VehicleSpeed { at, mps })), at);
    }

    fn machine(&mut self, news: News, at: MonoTime) {
        self.give(Captured::Machine(news), at);
    }

    /// Time passes, and nothing comes.
    fn wait(&mut self, at: MonoTime) {
        self.clock.advance(at);
        self.pipeline.encode_due(at);
        self.pipeline.drive.tick(at, &mut self.pipeline.commands);
        self.pipeline.settle();
    }
}

#[test]
fn a_vehicle_that_stands_is_not_recorded_and_one_that_drives_is() {
    let (mut run, lamp) = with_lamp(RecordingConfig::default());
    run.speed(0.0, ms(0));
    run.pictures(0..10);
    run.wait(ms(179_900));
    assert_eq!(run.pipeline.drive.privacy(), PrivacyState::Recording);
    assert_eq!(run.pipeline.recording.deadline(), Some(ms(180_000)), "the loop wakes then");
    run.wait(ms(180_000));
    assert_eq!(run.pipeline.drive.privacy(), PrivacyState::AiWithoutRecording);
    run.pictures(2710..2720);
    assert_eq!(run.pipeline.recorder.deadline(), None, "nothing waits to be encoded");
    run.button(picture_at(2720));
    run.speed(5.0, picture_at(2721));
    run.pictures(2722..2740);
    run.button(picture_at(2739));
    run.pipeline.end();
    let clips = run.clips();
    assert_eq!(clips.len(), 1, "what was pressed while it stood keeps nothing");
    assert_eq!(clips[0].first().unwrap().0, picture_at(2722));
    assert_eq!(lamp.told().last(), Some(&LampState::Recording));
    assert!(lamp.told().contains(&LampState::AlertsOnly));
}

#[test]
fn the_driver_stops_recording_and_what_was_saved_before_stays() {
    let (mut run, lamp) = with_lamp(RecordingConfig::default());
    run.pictures(0..20);
    run.button(picture_at(19));
    run.machine(News::Privacy, picture_at(20));
    assert_eq!(lamp.told().last(), Some(&LampState::AlertsOnly));
    assert_eq!(run.clips().len(), 1, "cut at once");
    run.pictures(21..40);
    run.button(picture_at(39));
    run.machine(News::Privacy, picture_at(40));
    assert_eq!(lamp.told().last(), Some(&LampState::Recording));
    assert_eq!(run.clips().len(), 0);
    // The fleet cannot take it back.
    run.machine(News::Privacy, picture_at(41));
    run.order(Order::Record(true), picture_at(42));
    assert_eq!(run.pipeline.drive.privacy(), PrivacyState::AiWithoutRecording);
}

#[test]
fn in_a_zone_that_wants_it_nothing_of_the_cabin_can_be_seen() {
    let zone = Zone {
        latitude_deg: 48.0,
        longitude_deg: 11.0,
        radius_m: 100.0,
        rule: ZoneRule::CabinHidden,
    };
    let config = RecordingConfig { zones: vec![zone], ..RecordingConfig::default() };
    // Others are looked for in every picture, so that without a zone it is clear.
    let blur = BlurConfig { cabin_others: false, keep_unblurred: true, ..BlurConfig::default() };
    let mut run = Run::with(None, blur);
    run.pipeline.recording = Recording::new(config, PrivacyState::Recording);
    let fix = |lat_deg, at| Captured::Signal(Signal::Gnss(GnssFix::new(at, lat_deg, 11.0)));
    run.pictures(0..15);
    run.give(fix(48.0, picture_at(15)), picture_at(15));
    run.pictures(15..30);
    // It is left after three seconds of fixes beyond it.
    run.give(fix(48.01, picture_at(30)), picture_at(30));
    run.pictures(30..75);
    run.give(fix(48.01, picture_at(75)), picture_at(75));
    run.pictures(75..90);
    run.button(picture_at(89));
    run.pipeline.end();
    let job = the_clip(&run);
    for video in Video::ALL.into_iter().filter(|video| job.streams.contains_key(video)) {
        for (at, picture) in decoded(&job, video) {
            let inside = (picture_at(15)..picture_at(75)).contains(&at);
            assert_eq!(sharp(&picture, NOBODY), !inside, "{video:?} at {at}");
        }
    }
    assert_eq!(decoded(&job, Video::Shown(CameraId::Cabin)).len(), 90);
}

#[test]
fn switched_off_it_cuts_uploads_and_asks_to_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("power-off");
    let (mut run, lamp) = with_lamp(RecordingConfig::default());
    let waits = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&waits);
    run.pipeline.parts.waits = Box::new(move || still.load(Ordering::SeqCst));
    run.pipeline.parts.power_off = Some(PowerSwitch::new(asked.clone()));
    run.machine(News::Ignition(Some(true)), ms(0));
    run.pictures(0..20);
    run.button(picture_at(19));
    run.machine(News::Ignition(Some(false)), picture_at(20));
    run.wait(ms(4400));
    assert_eq!(run.clips().len(), 1, "cut at once, not after its post-roll");
    assert_eq!(lamp.told().last(), Some(&LampState::Off));
    run.wait(ms(100_000));
    assert!(!asked.exists(), "something waits");
    waits.store(false, Ordering::SeqCst);
    run.wait(ms(101_000));
    assert!(asked.exists());
    run.machine(News::Ignition(Some(true)), ms(102_000));
    assert!(!asked.exists(), "taken back");
    assert_eq!(lamp.told().last(), Some(&LampState::Recording));
    assert_eq!(run.pipeline.parts.health.state("power"), Some(State::Ok));
}

#[test]
fn a_supply_that_fails_cuts_what_waits_and_recording_goes_on() {
    let (mut run, _) = with_lamp(RecordingConfig::default());
    run.machine(News::Supply(12.1), ms(0));
    run.pictures(0..20);
    run.button(picture_at(19));
    run.machine(News::Supply(8.5), picture_at(20));
    let clips = run.clips();
    assert_eq!(clips.len(), 1, "at once, not after its post-roll");
    assert_eq!(clips[0].last().unwrap().0, picture_at(19), "with the last picture");
    assert_eq!(run.pipeline.parts.health.state("supply"), Some(State::Degraded));
    run.pictures(21..40);
    run.machine(News::Supply(12.1), picture_at(40));
    assert_eq!(run.pipeline.parts.health.state("supply"), Some(State::Ok));
    run.button(picture_at(41));
    run.pipeline.end();
    assert_eq!(run.clips().len(), 1, "the next one is whole");
}

#[test]
fn a_unit_that_cannot_be_switched_off_says_so() {
    let (mut run, _) = with_lamp(RecordingConfig::default());
    run.pipeline.parts.power_off = Some(PowerSwitch::new("/proc/no/such/folder".into()));
    run.machine(News::Ignition(Some(false)), ms(0));
    run.wait(ms(4000));
    assert_eq!(run.pipeline.parts.health.state("power"), Some(State::Failed));
}

#[test]
fn the_lamp_says_that_no_camera_works() {
    let (mut run, lamp) = with_lamp(RecordingConfig::default());
    run.pictures(0..10);
    run.wait(ms(10_500));
    assert_eq!(lamp.told().last(), Some(&LampState::Recording), "not yet for so long");
    run.wait(ms(10_700));
    assert_eq!(lamp.told().last(), Some(&LampState::Fault));
    run.machine(News::Privacy, ms(10_800));
    assert_eq!(lamp.told().last(), Some(&LampState::Fault));
    run.pictures(200..201);
    assert_eq!(lamp.told().last(), Some(&LampState::AlertsOnly));
    // What is switched off is not broken.
    run.machine(News::Ignition(Some(false)), picture_at(201));
    run.wait(ms(60_000));
    assert_eq!(lamp.told().last(), Some(&LampState::Off));
}

#[test]
fn a_hot_machine_analyses_less_and_records_all() {
    let looks = |celsius: f64| {
        let (appears, fails) = (MonoTime::ZERO, ms(u64::from(u32::MAX)));
        let mut run = Run::new(Some(Fake { appears, fails }));
        let hottest = Hottest { zone: "cpu-thermal".to_owned(), celsius };
        run.machine(News::Heat(Some(hottest)), ms(0));
        // A step each half a minute: two.
        run.wait(ms(30_000));
        run.pictures(600..750);
        run.button(picture_at(749));
        run.pipeline.end();
        let pictures = run.clips().remove(0).len();
        (run.pipeline.metrics.report().observations, pictures)
    };
    assert_eq!(looks(60.0), (50, 150));
    assert_eq!(looks(95.0), (25, 150));
}

#[test]
fn with_a_crash_what_there_is_of_its_clip_is_sealed_before_the_rest() {
    let mut run = Run::new(None);
    // It drives at 50 km/h into something that changes its speed by 17 km/h, and silences the bus.
    for tick in 0..700 {
        let at = ms(tick * 10);
        let hit_g = if (500..512).contains(&tick) { -4.0 } else { 0.0 };
        let accel_mps2 = [hit_g * STANDARD_GRAVITY_MPS2, 0.0, STANDARD_GRAVITY_MPS2];
        let moved = ImuSample { at, accel_mps2, gyro_rad_s: None };
        run.give(Captured::Signal(Signal::Imu(moved)), at);
        if tick % 5 == 0 && tick < 500 {
            run.speed(13.9, at);
        }
        if tick % 10 == 0 {
            run.give(Captured::Frame(frame(at), Instant::now()), at);
        }
    }
    run.pipeline.end();
    let jobs: Vec<_> = run.jobs.try_iter().collect();
    let [SealJob::Event(crash), SealJob::SoFar(so_far), SealJob::SoFar(more), SealJob::Clip(clip)] =
        jobs.as_slice()
    else {
        panic!("{} jobs", jobs.len())
    };
    assert_eq!(crash.kind, EventKind::Collision);
    assert_eq!(crash.clip, Ok(so_far.clip));
    for job in [so_far, more] {
        assert_eq!((job.clip, job.event), (clip.clip, clip.event));
    }
    let last = |job: &ClipJob| decoded(job, Video::Shown(CameraId::Cabin)).last().unwrap().0;
    // The newest pictures still wait for their blur: half a second.
    assert!((ms(4600)..ms(5000)).contains(&last(so_far)), "{}", last(so_far));
    assert!((ms(5600)..ms(6000)).contains(&last(more)), "{}", last(more));
    assert_eq!(last(clip), ms(6900));
}
