//! Whole drives, each with a name, and what must come of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use temoin_proto::{
    events::EventKind::{
        DriverSaved, Drowsiness, HarshAcceleration, HarshBraking, HarshCornering, LongDistraction,
        Microsleep, RepeatedDistraction, Sleep, Speeding,
    },
    perception::{
        DriverObservation, EyelidOpening, HeadPose, LeadVehicle, NotSeen, PictureBox,
        RoadObservation, Seen,
    },
    samples::{
        ButtonPress, CameraId, ControlSample, ControlState, Gear, GnssFix, ImuSample, Signal,
        TurnSignal, VehicleSpeed,
    },
    time::MonoTime,
};

use crate::{
    calibration::Calibrated,
    clip::{ClipPlan, CutReason},
    config::CoreConfig,
    drive::{Command, Drive, Health, Input, Lamp},
    gop_ring::AccessUnit,
    policy::{AlertKind, PrivacyState},
    story::{Story, Told},
    timebase::Source,
};

/// Nothing was said and nothing kept.
#[track_caller]
fn quiet(told: &Told) {
    assert_eq!((&told.alerts, &told.flags, told.cuts.len()), (&vec![], &vec![], 0));
}

#[track_caller]
fn near(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected} ± {within}");
}

#[test]
fn mirror_checks_on_a_motorway_make_no_event() {
    let mut story = Story::at_kmh(120.0);
    for _ in 0..40 {
        story = story.looks(32.0, -5.0).go(4.0).looks(-35.0, 3.0).go(4.0).looks_ahead().go(1.0);
        story = story.looks(-22.0, 8.0).go(1.0).looks(5.0, 25.0).go(4.0).looks_ahead().go(1.0);
    }
    quiet(&story.told());
}

#[test]
fn short_looks_at_the_dashboard_make_no_event() {
    let mut story = Story::at_kmh(90.0);
    for _ in 0..30 {
        story = story.looks(-10.0, -28.0).go(2.5).looks_ahead().go(2.2);
    }
    quiet(&story.told());
}

#[test]
fn a_face_lost_in_a_turn_is_unknown_not_distraction() {
    // Clearly on its way off the road when it is lost, for as long as you like.
    let turn = Story::at_kmh(110.0).go(5.0).looks(45.0, 0.0).go(0.2).looks(65.0, 0.0).go(0.2);
    quiet(&turn.face_lost().go(30.0).looks_ahead().go(5.0).told());
    // Seen for 2 s on either side of a gap of 1 s: neither is 3.5 s.
    let side = Story::at_kmh(110.0).go(5.0).looks(55.0, 0.0).go(2.0).face_lost().go(1.0);
    quiet(&side.looks(55.0, 0.0).go(2.0).looks_ahead().go(5.0).told());
}

#[test]
fn a_phone_on_the_lap_is_warned_then_flagged_with_its_clip() {
    let story = Story::at_kmh(100.0).go(20.0).looks(-5.0, -35.0).go(8.0).looks_ahead().go(20.0);
    let told = story.told();
    assert_eq!(told.alerts.len(), 1);
    assert_eq!(told.flagged(), [LongDistraction]);
    near(told.alerts[0].1, 23.5, 0.11);
    near(told.flags[0].1, 25.5, 0.11);
    let cut = &told.cuts[0];
    assert_eq!(cut.reason, CutReason::Covered);
    near(cut.window.from.as_secs_f64(), 10.0, 0.11);
    near(cut.window.to.as_secs_f64(), 30.5, 0.11);
    let cameras: Vec<_> = cut.tracks.iter().map(|t| t.video.camera()).collect();
    assert_eq!(cameras, CameraId::ALL);
    for track in &cut.tracks {
        assert_eq!(track.gops.first().map(|g| g.start().as_secs_f64()), Some(10.0));
        assert_eq!(track.gops.last().map(|g| g.start().as_secs_f64()), Some(30.0));
        assert_eq!(track.gops.len(), 21);
    }
    assert!((200..=206).contains(&cut.signals.speed.len()), "{}", cut.signals.speed.len());
    assert!((200..=206).contains(&cut.signals.motion.len()), "{}", cut.signals.motion.len());
    assert!(cut.signals.faces.iter().all(|f| f.face.is_some()));
}

#[test]
fn heeding_the_warning_makes_no_event() {
    let story = Story::at_kmh(100.0).go(5.0).looks(0.0, -35.0).go(5.0).looks_ahead().go(20.0);
    let told = story.told();
    assert_eq!((told.alerts.len(), told.flags.len(), told.cuts.len()), (1, 0, 0));
}

#[test]
fn in_town_it_takes_longer_and_in_a_queue_nothing_is_said() {
    for (kmh, alert) in [(45.0, Some(11.0)), (60.0, Some(8.5)), (15.0, None), (0.0, None)] {
        let told = Story::at_kmh(kmh).go(5.0).looks(60.0, 0.0).go(7.0).looks_ahead().go(1.0).told();
        let at = told.alerts.first().map(|a| a.1);
        assert_eq!(at.is_some(), alert.is_some(), "{kmh}");
        if let Some((at, alert)) = at.zip(alert) {
            near(at, alert, 0.11);
        }
    }
}

#[test]
fn sweeping_from_one_side_window_to_the_other_is_one_look_off_the_road() {
    let sweep = Story::at_kmh(100.0).perception_hz(20).go(5.0).looks(-56.0, -12.0).go(2.9);
    let sweep = sweep.looks(-30.0, -12.0).go(0.1).looks(0.0, -12.0).go(0.25);
    let sweep = sweep.looks(30.0, -3.0).go(0.1).looks(54.0, 7.0).go(3.5);
    let told = sweep.looks_ahead().go(10.0).told();
    assert_eq!(told.flagged(), [LongDistraction]);
    // The 0.45 s across count for nothing.
    near(told.alerts[0].1, 5.0 + 3.5 + 0.5, 0.11);
    // Resting on the road for half a second is looking at it.
    let rest = Story::at_kmh(100.0).go(5.0).looks(-56.0, 0.0).go(2.9).looks_ahead().go(0.5);
    quiet(&rest.looks(54.0, 0.0).go(2.9).looks_ahead().go(5.0).told());
}

#[test]
fn a_third_warning_in_ten_minutes_is_flagged() {
    let mut story = Story::at_kmh(100.0);
    for _ in 0..3 {
        story = story.go(60.0).looks(0.0, -35.0).go(4.2).looks_ahead();
    }
    let told = story.go(20.0).told();
    assert_eq!((told.alerts.len(), told.flagged()), (3, vec![LongDistraction]));
}

#[test]
fn a_camera_mounted_askew_is_learned() {
    // The camera sits 18° to the side and below: the road is at (18, 12).
    let ahead = |s: Story| s.looks(18.0, 12.0);
    let learn = ahead(Story::at_kmh(90.0)).go(62.0);
    let told = learn.looks(-5.0, 10.0).go(8.0).told();
    quiet(&told);
    let learned = Health::Calibration(Calibrated::NeutralPose { yaw_deg: 18.0, pitch_deg: 12.0 });
    assert_eq!(told.health, [learned, Health::Calibration(Calibrated::OpenLevel)]);
    // 26° below the learned road, though only 14° below the camera's axis.
    let told = ahead(Story::at_kmh(90.0)).go(62.0).looks(18.0, -14.0).go(7.0).told();
    assert_eq!(told.flagged(), [LongDistraction]);
}

#[test]
fn falling_asleep_is_said_and_flagged_twice() {
    let story = Story::at_kmh(90.0).go(12.0).eyelids(Some(0.05)).go(4.0).eyelids(Some(0.24));
    let told = story.go(20.0).told();
    assert_eq!(told.flagged(), [Microsleep, Sleep]);
    near(told.flags[0].1, 13.0, 0.11);
    near(told.flags[1].1, 15.0, 0.11);
    let alerts: Vec<_> = told.alerts.iter().map(|a| a.0).collect();
    assert_eq!(alerts, [AlertKind::Microsleep, AlertKind::Sleep]);
    assert_eq!(told.cuts.len(), 2);
}

#[test]
fn sunglasses_blinks_and_a_nap_in_the_yard_are_no_sleep() {
    quiet(&Story::at_kmh(90.0).eyelids(None).go(60.0).told());
    quiet(&Story::at_kmh(0.0).eyelids(Some(0.03)).go(60.0).told());
    let mut blinks = Story::at_kmh(90.0).perception_hz(15);
    for _ in 0..60 {
        blinks = blinks.eyelids(Some(0.04)).go(0.3).eyelids(Some(0.25)).go(0.5);
    }
    quiet(&blinks.told());
}

#[test]
fn braking_at_a_light_is_not_harsh() {
    let story = Story::at_kmh(60.0).go(10.0).brakes(0.28).go(8.0).go(20.0);
    quiet(&story.accelerates(0.2).go(6.0).accelerates(0.0).go(10.0).told());
}

#[test]
fn one_braking_is_one_event() {
    // Wavering about the limit, down to a stop, then a jolt back.
    let mut story = Story::at_kmh(110.0).go(15.0);
    for _ in 0..6 {
        story = story.brakes(0.55).go(0.6).brakes(0.2).go(0.2);
    }
    let told = story.brakes(0.5).go(4.0).brakes(0.0).go(20.0).told();
    assert_eq!(told.flagged(), [HarshBraking]);
    // 0.22 s for the filter to reach the limit and 0.3 s over it.
    near(told.flags[0].1, 15.52, 0.05);
    assert!(told.alerts.is_empty());
    assert_eq!(told.cuts.len(), 1);
}

#[test]
fn each_axis_is_its_own_event() {
    let story = Story::at_kmh(50.0).go(5.0).corners(-0.5).go(2.0).corners(0.0).go(5.0);
    let told = story.accelerates(0.45).go(2.0).accelerates(0.0).go(5.0).told();
    assert_eq!(told.flagged(), [HarshCornering, HarshAcceleration]);
}

#[test]
fn potholes_and_kerbs_are_not_harsh() {
    let mut story = Story::at_kmh(50.0).go(5.0);
    for _ in 0..10 {
        story = story.brakes(1.5).go(0.04).brakes(-1.5).go(0.04).brakes(0.0).go(1.0);
    }
    quiet(&story.told());
    quiet(&Story::at_kmh(8.0).go(3.0).corners(0.6).go(2.0).corners(0.0).go(3.0).told());
}

#[test]
fn without_a_speed_nothing_is_said() {
    let story = Story::at_kmh(120.0).config(|c| c.vehicle.speed_limit_kmh = Some(50.0)).bus(false);
    let story = story.looks(60.0, -30.0).go(20.0).eyelids(Some(0.0)).looks_ahead().go(20.0);
    quiet(&story.brakes(0.6).corners(0.6).go(5.0).told());
}

#[test]
fn speeding_is_told_then_flagged_and_an_unknown_limit_is_not() {
    let story = Story::at_kmh(70.0).go(50.0);
    quiet(&story.told());
    let told =
        Story::at_kmh(70.0).config(|c| c.vehicle.speed_limit_kmh = Some(50.0)).go(50.0).told();
    assert_eq!(told.alerts.iter().map(|a| a.0).collect::<Vec<_>>(), [AlertKind::Speeding]);
    near(told.alerts[0].1, 20.0, 0.06);
    assert_eq!(told.flagged(), [Speeding]);
    near(told.flags[0].1, 30.0, 0.06);
}

#[test]
fn the_button_saves_thirty_seconds_on_either_side() {
    let told = Story::at_kmh(50.0).go(60.0).presses().go(40.0).told();
    assert_eq!(told.flagged(), [DriverSaved]);
    let cut = &told.cuts[0];
    assert_eq!((cut.window.from.as_secs_f64(), cut.window.to.as_secs_f64()), (30.0, 90.0));
    assert_eq!(cut.reason, CutReason::Covered);
    let starts = cut.tracks[0].gops.iter().map(|g| g.start().as_secs_f64());
    assert_eq!((starts.clone().next(), starts.max_by(f64::total_cmp)), (Some(30.0), Some(90.0)));
}

#[test]
fn alerts_without_recording_keep_nothing() {
    let story = Story::at_kmh(100.0).privacy(PrivacyState::AiWithoutRecording).go(5.0).presses();
    let story =
        story.looks(60.0, 0.0).go(9.0).looks_ahead().brakes(0.6).go(3.0).brakes(0.0).go(9.0);
    let (drive, commands) = story.drive();
    let told = Told::from_commands(commands);
    assert_eq!((told.alerts.len(), told.flags.len(), told.cuts.len()), (1, 0, 0));
    assert_eq!(drive.ring_metrics(CameraId::Cabin).bytes, 0);
    quiet(&story.privacy(PrivacyState::Off).told());
}

#[test]
fn leaving_recording_cuts_what_there_is_and_wipes() {
    let story = Story::at_kmh(100.0).go(20.0).brakes(0.6).go(1.0).brakes(0.0);
    let story = story.chooses(PrivacyState::AiWithoutRecording).go(5.0);
    let (drive, commands) = story.drive();
    assert_eq!(drive.ring_metrics(CameraId::Road).gops, 0);
    let lamps: Vec<_> = commands
        .iter()
        .filter_map(|(_, c)| if let Command::Lamp(lamp) = c { Some(*lamp) } else { None })
        .collect();
    assert_eq!(lamps, [Lamp::Recording, Lamp::AlertsOnly]);
    let told = Told::from_commands(commands);
    assert_eq!(told.cuts.len(), 1);
    assert_eq!(told.cuts[0].reason, CutReason::PrivacyChanged);
    let last = told.cuts[0].tracks[0].gops.last().map(|g| g.last().as_secs_f64());
    assert_eq!(last, Some(20.9));
    // Recording again does not bring back what was before.
    let again = story.chooses(PrivacyState::Recording).presses().go(40.0).told();
    let first = again.cuts[1].tracks[0].gops.first().map(|g| g.start().as_secs_f64());
    assert_eq!(first, Some(26.0));
    assert!(again.cuts[1].signals.speed.iter().all(|s| s.at.as_secs_f64() >= 26.0));
}

#[test]
fn the_end_of_the_drive_cuts_what_there_is() {
    let told = Story::at_kmh(90.0).go(20.0).brakes(0.6).go(1.5).told();
    assert_eq!(told.cuts.len(), 1);
    assert_eq!(told.cuts[0].reason, CutReason::DriveEnded);
    assert_eq!(told.cuts[0].tracks[0].gops.last().map(|g| g.last().as_secs_f64()), Some(21.4));
}

#[test]
fn a_camera_that_stalls_delays_a_clip_only_to_its_deadline() {
    let story = Story::at_kmh(90.0).go(20.0).brakes(0.6).go(1.0).brakes(0.0);
    let told = story.cameras(&[CameraId::Road]).go(20.0).told();
    let cut = &told.cuts[0];
    assert_eq!(cut.reason, CutReason::Deadline);
    let last = |n: usize| cut.tracks[n].gops.last().map(|g| g.last().as_secs_f64());
    assert_eq!(last(0), Some(20.9));
    assert!(last(1) > Some(25.0));
}

#[test]
fn a_clip_without_pictures_is_cut_and_reported() {
    let told = Story::at_kmh(90.0).cameras(&[]).go(20.0).brakes(0.6).go(1.0).go(20.0).told();
    assert_eq!(told.cuts.len(), 1);
    assert!(told.cuts[0].tracks.is_empty() && !told.cuts[0].signals.speed.is_empty());
    assert!(told.health.contains(&Health::ClipEmpty { local: 0 }));
}

#[test]
fn a_silent_bus_is_device_health() {
    let story = Story::at_kmh(90.0).go(10.0).bus(false).go(10.0).bus(true).go(1.0);
    let told = story.told();
    assert_eq!(told.health, [Health::Silent(Source::Bus), Health::Back(Source::Bus)]);
}

#[test]
fn the_same_story_tells_the_same() {
    let story =
        Story::at_kmh(100.0).go(15.0).looks(0.0, -40.0).go(8.0).brakes(0.6).presses().go(9.0);
    assert_eq!(story.told(), story.told());
}

/// A drive of looks: (zone, seconds in it, seconds on the road after it).
fn looks(hz: u64, looks: &[(u8, f64, f64)]) -> Told {
    let mut story = Story::at_kmh(100.0).perception_hz(hz).go(2.0);
    for &(zone, off, road) in looks {
        story = match zone {
            0 => story.looks(0.0, -40.0),
            1 => story.looks(60.0, 0.0),
            2 => story.looks(30.0, 0.0),
            3 => story.looks_ahead().eyelids(Some(0.04)),
            _ => story.face_lost(),
        };
        story = story.go(off).looks_ahead().eyelids(Some(0.24)).go(road);
    }
    story.told()
}

fn look_strategy() -> impl Strategy<Value = Vec<(u8, f64, f64)>> {
    let off = prop::sample::select(vec![0.5, 1.5, 2.3, 4.3, 7.1, 9.0]);
    let road = prop::sample::select(vec![1.0, 2.7, 8.3]);
    prop::collection::vec((0_u8..5, off, road), 1..8)
}

fn input_strategy() -> impl Strategy<Value = (u64, Input)> {
    let number = || {
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -200.0..200.0, -3.0..3.0_f64, Just(0.0)]
    };
    let t = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
    let at = || 0_u64..200_000;
    let small = || prop_oneof![Just(f32::NAN), -90.0..90.0_f32, 0.0..1.0_f32];
    let seen = (small(), small(), any::<bool>());
    prop_oneof![
        (at(), at(), number()).prop_map(move |(now, at, mps)| {
            (now, Input::Signal(Signal::Speed(VehicleSpeed { at: t(at), mps })))
        }),
        (at(), prop::array::uniform3(number()), number()).prop_map(move |(now, accel_mps2, z)| {
            let gyro_rad_s = Some([0.0, z / 10.0, z]);
            (now, Input::Signal(Signal::Imu(ImuSample { at: t(now), accel_mps2, gyro_rad_s })))
        }),
        (at(), at(), number(), 0_u8..4).prop_map(move |(now, at, v, which)| {
            let state = match which {
                0 => ControlState::BeltFastened(v > 0.0),
                1 => ControlState::Gear(if v > 0.0 { Gear::Reverse } else { Gear::Forward }),
                2 => ControlState::TurnSignal(TurnSignal::Left),
                _ => ControlState::EngineRpm(v * 100.0),
            };
            (now, Input::Signal(Signal::Control(ControlSample { at: t(at), state })))
        }),
        (at(), small(), small()).prop_map(move |(now, distance_m, error_m)| {
            let area = PictureBox { x: 0.4, y: 0.4, w: 0.1, h: 0.1 };
            let lead = Some(LeadVehicle { area, distance_m, error_m });
            let lead = Seen::Known { value: lead, confidence: 0.9 };
            (
                now,
                Input::Road(RoadObservation {
                    lead,
                    ..RoadObservation::unseen(t(now), NotSeen::NoModel)
                }),
            )
        }),
        (at(), number(), prop::option::of(number())).prop_map(move |(now, lat_deg, speed_mps)| {
            let fix = GnssFix { speed_mps, ..GnssFix::new(t(now), lat_deg, 1.0) };
            (now, Input::Signal(Signal::Gnss(fix)))
        }),
        (at(), at()).prop_map(move |(now, at)| {
            (now, Input::Signal(Signal::Button(ButtonPress { at: t(at) })))
        }),
        (at(), seen).prop_map(move |(now, (v, confidence, known))| {
            let mut o = DriverObservation::unseen(t(now), NotSeen::NoFace);
            if known {
                o.face = Seen::Known { value: PictureBox { x: v, y: v, w: v, h: v }, confidence };
                o.head = Seen::Known {
                    value: HeadPose { yaw_deg: v, pitch_deg: v, roll_deg: v },
                    confidence,
                };
                o.eyelids = Seen::Known { value: EyelidOpening(v / 100.0), confidence };
            }
            (now, Input::Driver(o))
        }),
        (at(), any::<bool>(), 0_usize..100_000).prop_map(move |(now, key, bytes)| {
            let data = bytes::Bytes::from(vec![0; bytes]);
            (
                now,
                Input::AccessUnit(AccessUnit {
                    video: CameraId::Road.into(),
                    at: t(now),
                    key,
                    data,
                }),
            )
        }),
        (at(), 0_u8..3).prop_map(|(now, n)| {
            let privacy = match n {
                0 => PrivacyState::Off,
                1 => PrivacyState::AiWithoutRecording,
                _ => PrivacyState::Recording,
            };
            (now, Input::Privacy(privacy))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The rate of perception changes nothing but the time within a sample or two. What adds up
    /// over many looks or closures may come to lie on either side of its threshold.
    #[test]
    fn the_rate_of_perception_does_not_change_what_is_told(script in look_strategy()) {
        let slow = looks(5, &script);
        for hz in [10, 15] {
            let fast = looks(hz, &script);
            let sums = [RepeatedDistraction, Drowsiness];
            let flagged = |told: &Told| {
                told.flagged().into_iter().filter(|k| !sums.contains(k)).collect::<Vec<_>>()
            };
            prop_assert_eq!(flagged(&slow), flagged(&fast), "{} Hz", hz);
            let alerts = |told: &Told| {
                let sums = [AlertKind::RepeatedDistraction, AlertKind::Drowsiness];
                let alerts = told.alerts.iter().filter(|a| !sums.contains(&a.0));
                alerts.copied().collect::<Vec<_>>()
            };
            let (slow, fast) = (alerts(&slow), alerts(&fast));
            prop_assert_eq!(slow.len(), fast.len());
            for (a, b) in slow.iter().zip(&fast) {
                prop_assert!((a.1 - b.1).abs() <= 0.41 && a.0 == b.0, "{:?} {:?}", a, b);
            }
        }
    }

    /// Whatever is not seen says nothing.
    #[test]
    fn unknown_never_starts_a_timer(script in look_strategy()) {
        let unknown: Vec<_> = script.iter().map(|&(_, off, road)| (4, off, road)).collect();
        let told = looks(10, &unknown);
        prop_assert!(told.alerts.is_empty() && told.flags.is_empty());
    }

    /// No input panics; every own clip is cut exactly once; only recording flags.
    #[test]
    fn random_inputs_keep_the_invariants(
        mut inputs in prop::collection::vec(input_strategy(), 0..400),
        sorted in any::<bool>(),
    ) {
        if sorted {
            inputs.sort_by_key(|(now, _)| *now);
        }
        let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
        let (mut out, mut owed) = (Vec::new(), BTreeMap::new());
        let mut next_local = 0;
        inputs.push((300_000, Input::End));
        for (now, input) in inputs {
            let now = MonoTime::from_ns(now * 1_000_000);
            if drive.next_deadline().is_some_and(|d| d < now) {
                drive.tick(now, &mut out);
            }
            let recording = drive.privacy() == PrivacyState::Recording;
            drive.step(now, input, &mut out);
            for command in out.drain(..) {
                match command {
                    Command::Flag { local, event, clip } => {
                        prop_assert!(recording && event.start <= event.end);
                        prop_assert!((0.0..=1.0).contains(&event.confidence));
                        prop_assert_eq!(local, next_local);
                        next_local += 1;
                        if let ClipPlan::Own(_) = clip {
                            owed.insert(local, ());
                        }
                    }
                    Command::Cut(cut) => {
                        prop_assert_eq!(owed.remove(&cut.local), Some(()));
                    }
                    Command::Alert(_) | Command::Lamp(_) | Command::Health(_) => {}
                }
            }
        }
        prop_assert!(owed.is_empty());
        prop_assert_eq!(drive.next_deadline(), None);
    }
}
