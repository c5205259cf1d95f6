//! Stories of what is watched of the driver, and what must hold whatever perception says.

use proptest::prelude::*;
use temoin_proto::{
    events::EventKind::{
        self, Drowsiness, LongDistraction, Microsleep, PhoneInHand, RepeatedDistraction, Sleep,
        Unresponsive,
    },
    perception::{
        DriverObservation, EyeDirection, EyelidOpening, FaceCover, HeadPose, MouthOpening, NotSeen,
        PerEye, PhoneUse, Seen,
    },
    time::MonoTime,
};

use crate::{
    calibration::Calibrated,
    clip::CutReason,
    config::CoreConfig,
    drive::{Command, Health},
    driver::{DriverState, DriverWatch},
    gaze_zone::{GazeZone, Mirror},
    headway::Headway,
    lids::Lids,
    policy::{AlertKind, Finding, PrivacyState},
    story::{Story, Told},
};

#[track_caller]
fn quiet(story: &Story) {
    let told = story.told();
    assert_eq!((&told.alerts, &told.flags, told.cuts.len()), (&vec![], &vec![], 0));
}

#[track_caller]
fn near(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected} ± {within}");
}

fn alerts(told: &Told) -> Vec<AlertKind> {
    told.alerts.iter().map(|a| a.0).collect()
}

fn state(story: &Story) -> DriverState {
    story.drive().0.driver_state().unwrap()
}

/// A driver with eyes this open when open, and this when closed, 70 s into the drive.
fn learned(open: f32) -> Story {
    Story::at_kmh(90.0).eyelids(Some(open)).go(70.0)
}

#[test]
fn narrow_eyes_are_open() {
    for level in [0.18, 0.16, 0.15] {
        quiet(&learned(level).go(60.0));
    }
    // And asleep when they shut.
    let told = learned(0.16).eyelids(Some(0.05)).go(2.0).eyelids(Some(0.16)).go(20.0).told();
    assert_eq!(told.flagged(), [Microsleep]);
    // Looking down a little with them is not.
    let down = learned(0.16).looks(0.0, -14.0).eyelids(Some(0.07)).go(3.0);
    quiet(&down.looks_ahead().eyelids(Some(0.16)).go(10.0));
}

#[test]
fn wide_eyes_half_shut_do_not_hide_sleep() {
    // Shut, these measure what is open for others.
    let told = learned(0.36).eyelids(Some(0.15)).go(2.0).eyelids(Some(0.36)).go(20.0).told();
    assert_eq!(told.flagged(), [Microsleep]);
    quiet(&learned(0.24).eyelids(Some(0.15)).go(2.0).eyelids(Some(0.24)).go(20.0));
}

#[test]
fn what_was_learned_is_forgotten_with_the_driver_and_the_privacy_state() {
    let known = learned(0.36).go(1.0);
    assert_eq!(state(&known).calibration.open_level, Some(f64::from(0.36_f32)));
    assert!(state(&known).calibration.neutral_pose_learned);
    for changed in [
        known.clone().new_driver(),
        known.clone().chooses(PrivacyState::AiWithoutRecording),
        known.clone().chooses(PrivacyState::Off).chooses(PrivacyState::Recording),
    ] {
        assert_eq!(changed.drive().0.driver_state(), None);
        let after = state(&changed.go(1.0));
        assert_eq!(after.calibration.open_level, None);
        assert!(!after.calibration.neutral_pose_learned && after.perclos.is_none());
    }
}

#[test]
fn nothing_of_one_driver_gets_into_a_clip_of_the_next() {
    let story = Story::at_kmh(90.0).go(20.0).brakes(0.6).go(1.0).brakes(0.0).new_driver();
    let told = story.go(2.0).presses().go(40.0).told();
    assert_eq!(told.cuts[0].reason, CutReason::DriverChanged);
    let last = told.cuts[0].tracks[0].gops.last().map(|g| g.last().as_secs_f64());
    assert_eq!(last, Some(20.9));
    let first = told.cuts[1].tracks[0].gops.first().map(|g| g.start().as_secs_f64());
    assert_eq!(first, Some(21.0));
    assert!(told.cuts[1].signals.speed.iter().all(|s| s.at.as_secs_f64() >= 21.0));
}

#[test]
fn a_driver_who_does_not_wake_is_said_three_times() {
    let told = Story::at_kmh(90.0).go(12.0).eyelids(Some(0.05)).go(7.0).told();
    assert_eq!(told.flagged(), [Microsleep, Sleep, Unresponsive]);
    for (flag, at) in told.flags.iter().zip([13.0, 15.0, 18.0]) {
        near(flag.1, at, 0.11);
    }
    assert_eq!(alerts(&told), [AlertKind::Microsleep, AlertKind::Sleep, AlertKind::Unresponsive]);
}

#[test]
fn a_head_fallen_with_the_eyes_lost_is_not_seen() {
    let asleep = Story::at_kmh(90.0).go(12.0).eyelids(Some(0.05)).go(3.5);
    // On the chest, or out of the picture.
    for story in [asleep.clone().looks(0.0, -45.0).go(2.5), asleep.face_lost().go(20.0)] {
        assert_eq!(story.told().flagged(), [Microsleep, Sleep]);
    }
}

#[test]
fn a_wink_and_a_hidden_eye_are_no_closure_but_one_seen_eye_suffices() {
    let awake = Story::at_kmh(90.0).go(5.0);
    quiet(&awake.clone().each_eye(Some(0.04), Some(0.24)).go(5.0));
    quiet(&awake.clone().each_eye(Some(0.24), None).go(30.0));
    let told = awake.each_eye(Some(0.05), None).go(1.5).eyelids(Some(0.24)).go(20.0).told();
    assert_eq!(told.flagged(), [Microsleep]);
}

/// Closed for `closed_s` in every `period_s`.
fn drooping(mut story: Story, times: u32, closed_s: f64, period_s: f64) -> Story {
    for _ in 0..times {
        story = story.eyelids(Some(0.05)).go(closed_s).eyelids(Some(0.24)).go(period_s - closed_s);
    }
    story
}

#[test]
fn eyes_closed_for_a_sixth_of_a_minute_are_drowsiness() {
    for hz in [5, 10, 20] {
        let story = Story::at_kmh(90.0).perception_hz(hz);
        // 0.8 s each: no microsleep.
        let told = drooping(story, 20, 0.8, 4.0).told();
        assert_eq!(told.flagged(), [Drowsiness], "{hz} Hz");
        assert_eq!(alerts(&told), [AlertKind::Drowsiness]);
        assert!((60.0..64.0).contains(&told.alerts[0].1), "{:?}", told.alerts);
    }
    quiet(&drooping(Story::at_kmh(90.0), 20, 0.8, 7.0));
    // Thirty blinks a minute.
    quiet(&drooping(Story::at_kmh(90.0), 100, 0.3, 2.0));
}

#[test]
fn a_minute_of_eyes_must_be_seen_for_drowsiness() {
    let mut story = Story::at_kmh(90.0);
    for _ in 0..40 {
        // Seen for 2 s in 8: closed for nearly half of them.
        story = story.eyelids(Some(0.24)).go(1.1).eyelids(Some(0.05)).go(0.9);
        story = story.eyelids(None).go(6.0);
    }
    quiet(&story);
    assert_eq!(state(&story).perclos, None);
}

#[test]
fn yawns_alone_are_no_event_and_are_told_with_drowsiness() {
    let mut story = Story::at_kmh(90.0).mouth(0.05);
    for _ in 0..3 {
        story = story.go(8.0).mouth(0.8).go(4.0).mouth(0.05);
    }
    quiet(&story);
    let (_, commands) = drooping(story, 20, 0.8, 4.0).drive();
    let numbers = commands.into_iter().find_map(|(_, command)| match command {
        Command::Flag { event, .. } => Some(event.numbers),
        Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
    });
    let yawns = numbers.unwrap().into_iter().find(|n| n.name == "yawns").unwrap();
    near(yawns.value, 3.0, 0.0);
}

#[test]
fn eyes_down_at_a_phone_in_the_lap_with_the_head_straight() {
    let lap = Story::at_kmh(100.0).go(20.0).looks(0.0, -3.0).gazes(Some((2.0, -36.0)));
    let told = lap.clone().eyelids(Some(0.17)).go(8.0).gazes(None).go(20.0).told();
    assert_eq!(told.flagged(), [LongDistraction]);
    near(told.alerts[0].1, 23.5, 0.11);
    // Lids lowered as far as this are neither closed nor open.
    let told = lap.eyelids(Some(0.11)).go(8.0).gazes(None).eyelids(Some(0.24)).go(20.0).told();
    assert_eq!(told.flagged(), [LongDistraction]);
}

#[test]
fn a_head_turned_with_the_eyes_on_the_road_is_no_distraction() {
    let turned = Story::at_kmh(100.0).go(5.0).looks(48.0, 0.0).gazes(Some((-42.0, 0.0)));
    assert_eq!(state(&turned.clone().go(1.0)).look.zone, GazeZone::Road);
    quiet(&turned.clone().go(20.0));
    // Without the eyes it is judged by the head.
    let told = turned.gazes(None).go(8.0).looks_ahead().go(20.0).told();
    assert_eq!(told.flagged(), [LongDistraction]);
}

#[test]
fn a_shut_eye_looks_nowhere() {
    // Whatever is measured on its lid.
    let shut = Story::at_kmh(100.0).go(5.0).eyelids(Some(0.04)).gazes(Some((0.0, -45.0))).go(5.0);
    let told = shut.gazes(None).eyelids(Some(0.24)).go(20.0).told();
    assert_eq!(alerts(&told), [AlertKind::Microsleep, AlertKind::Sleep]);
}

#[test]
fn an_unsure_gaze_is_none() {
    let story = Story::at_kmh(100.0).go(5.0).confidence(0.45).gazes(Some((0.0, -40.0)));
    quiet(&story.go(20.0));
}

#[test]
fn many_short_looks_are_warned_of_then_flagged() {
    let mut story = Story::at_kmh(90.0).go(10.0);
    for _ in 0..8 {
        story = story.looks(-10.0, -28.0).go(2.5).looks_ahead().go(1.0);
    }
    let told = story.go(20.0).told();
    assert_eq!(alerts(&told), [AlertKind::RepeatedDistraction]);
    assert_eq!(told.flagged(), [RepeatedDistraction]);
    // 2.4 s seen of each look: 10 s early in the fifth, 2 s more at its end.
    near(told.alerts[0].1, 24.4, 0.2);
    near(told.flags[0].1, 26.4, 0.2);
    // In a queue nothing is said.
    let mut queue = Story::at_kmh(15.0).go(10.0);
    for _ in 0..8 {
        queue = queue.looks(-10.0, -28.0).go(2.5).looks_ahead().go(1.0);
    }
    quiet(&queue);
}

#[test]
fn a_phone_is_warned_of_then_flagged() {
    let story = Story::at_kmh(50.0).go(10.0).phone(Some(PhoneUse::AtEar));
    let told = story.clone().go(3.5).phone(Some(PhoneUse::None)).go(20.0).told();
    assert_eq!((alerts(&told), told.flagged()), (vec![AlertKind::Phone], vec![]));
    near(told.alerts[0].1, 12.0, 0.11);
    // The face need not be seen.
    let told = story.face_lost().go(6.0).phone(None).go(20.0).told();
    assert_eq!(told.flagged(), [PhoneInHand]);
    near(told.flags[0].1, 14.0, 0.11);
    // Parked, in a queue, or not surely seen.
    for (kmh, confidence) in [(0.0, 0.9), (8.0, 0.9), (50.0, 0.4)] {
        let story = Story::at_kmh(kmh).confidence(confidence).phone(Some(PhoneUse::InHand));
        quiet(&story.go(30.0));
    }
}

#[test]
fn a_hand_over_the_face_stops_every_timer() {
    // Whatever is read under the hand.
    let hand = Story::at_kmh(100.0).go(5.0).covered(true).eyelids(Some(0.03)).mouth(0.9);
    quiet(&hand.looks(0.0, -50.0).gazes(Some((0.0, -40.0))).go(60.0));
}

#[test]
fn the_state_can_be_read() {
    let story = Story::at_kmh(90.0).gazes(Some((0.0, 0.0))).go(70.0).looks(-26.0, 2.0);
    let story = story.gazes(Some((-12.0, 0.0))).go(1.0).sees_ahead(50.0);
    let now = state(&story);
    assert_eq!(now.look.zone, GazeZone::Mirror(Mirror::Interior));
    assert!(now.look.with_eyes && now.lids == Lids::Open);
    near(now.calibration.closed_below, 0.123, 0.001);
    near(now.perclos.unwrap().percent, 0.0, 0.0);
    let blinked = state(&story.eyelids(Some(0.05)).go(0.2).eyelids(Some(0.24)).go(0.5));
    assert_eq!(blinked.shuts.blinks, 1);
    let (drive, commands) = Story::at_kmh(90.0).go(1.0).sees_ahead(50.0).drive();
    let Headway::Behind { time_s, .. } = drive.road_state().unwrap().headway else {
        panic!("{:?}", drive.road_state());
    };
    near(time_s, 2.0, 0.01);
    assert!(Told::from_commands(commands).health.is_empty());
}

#[test]
fn what_was_learned_is_said_once_to_device_health() {
    let told = learned(0.25).go(200.0).told();
    let pose = Calibrated::NeutralPose { yaw_deg: 0.0, pitch_deg: 0.0 };
    assert_eq!(
        told.health,
        [Health::Calibration(pose), Health::Calibration(Calibrated::OpenLevel)]
    );
    let told = learned(0.6).told();
    assert!(told.health.contains(&Health::Calibration(Calibrated::OpenLevelImplausible)));
}

/// Anything that a float can be.
fn float() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::NEG_INFINITY),
        Just(f32::MAX),
        -200.0..200.0_f32,
        0.0..0.5_f32,
    ]
}

fn seen<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
    confidence: impl Strategy<Value = f32> + 'static,
) -> BoxedStrategy<Seen<T>> {
    (value, confidence).prop_map(|(value, confidence)| Seen::Known { value, confidence }).boxed()
}

fn unknown<T: Clone + std::fmt::Debug + 'static>() -> BoxedStrategy<Seen<T>> {
    prop::sample::select(vec![NotSeen::NoFace, NotSeen::EyesUnclear, NotSeen::Blurred])
        .prop_map(Seen::Unknown)
        .boxed()
}

/// Below every threshold, or no number.
fn unsure() -> BoxedStrategy<f32> {
    prop_oneof![0.0..0.29_f32, Just(f32::NAN), Just(-1.0), Just(f32::NEG_INFINITY)].boxed()
}

fn head(angle: impl Strategy<Value = f32>) -> impl Strategy<Value = HeadPose> {
    (angle, -5.0..5.0_f32).prop_map(|(a, b)| HeadPose { yaw_deg: a, pitch_deg: b, roll_deg: a })
}

fn eyes(angle: impl Strategy<Value = f32>) -> impl Strategy<Value = EyeDirection> {
    (angle, -5.0..5.0_f32).prop_map(|(a, b)| EyeDirection { yaw_deg: a, pitch_deg: b })
}

fn any_phone() -> impl Strategy<Value = PhoneUse> {
    prop::sample::select(vec![PhoneUse::None, PhoneUse::AtEar, PhoneUse::InHand])
}

type Fields = (
    Seen<HeadPose>,
    [Seen<EyelidOpening>; 3],
    Seen<EyeDirection>,
    Seen<f32>,
    Seen<PhoneUse>,
    Seen<FaceCover>,
);

/// Milliseconds since the one before, and what it says.
fn observation(
    (head, [right, left, eyelids], gaze, mouth, phone, cover): Fields,
) -> DriverObservation {
    let mouth = match mouth {
        Seen::Known { value, confidence } => Seen::Known { value: MouthOpening(value), confidence },
        Seen::Unknown(why) => Seen::Unknown(why),
    };
    DriverObservation {
        head,
        eyelids,
        eyes: PerEye { right, left },
        gaze,
        mouth,
        phone,
        cover,
        ..DriverObservation::unseen(MonoTime::ZERO, NotSeen::NoFace)
    }
}

/// Unseen, unsure, or plainly in order; or a covered face of which anything is read.
fn innocent() -> impl Strategy<Value = DriverObservation> {
    let eye = || {
        prop_oneof![
            unknown(),
            seen(float().prop_map(EyelidOpening), unsure()),
            seen((0.18..0.45_f32).prop_map(EyelidOpening), Just(0.9)),
        ]
    };
    let free = (
        prop_oneof![unknown(), seen(head(float()), unsure()), seen(head(-5.0..5.0_f32), Just(0.9))],
        [eye(), eye(), eye()],
        prop_oneof![unknown(), seen(eyes(float()), unsure()), seen(eyes(-5.0..5.0_f32), Just(0.9))],
        prop_oneof![unknown(), seen(float(), Just(0.9))],
        prop_oneof![unknown(), seen(any_phone(), unsure()), seen(Just(PhoneUse::None), Just(0.9))],
        prop_oneof![unknown(), seen(Just(FaceCover::Free), Just(0.9))],
    );
    let eye = || seen((0.0..0.5_f32).prop_map(EyelidOpening), Just(0.9));
    let covered = (
        seen(head(float()), Just(0.9)),
        [eye(), eye(), eye()],
        seen(eyes(float()), Just(0.9)),
        seen(float(), Just(0.9)),
        unknown(),
        seen(Just(FaceCover::Covered), Just(0.9)),
    );
    prop_oneof![4 => free.prop_map(observation), 1 => covered.prop_map(observation)]
}

/// Anything at all.
fn anything() -> impl Strategy<Value = DriverObservation> {
    let eye = || prop_oneof![unknown(), seen(float().prop_map(EyelidOpening), float())];
    let sure_eye = || seen((0.0..0.3_f32).prop_map(EyelidOpening), Just(0.9));
    let cover = prop::sample::select(vec![FaceCover::Free, FaceCover::Covered]);
    (
        prop_oneof![
            unknown(),
            seen(head(float()), float()),
            seen(head(-60.0..60.0_f32), Just(1.0))
        ],
        prop_oneof![[eye(), eye(), eye()], [sure_eye(), sure_eye(), sure_eye()]],
        prop_oneof![unknown(), seen(eyes(float()), float())],
        prop_oneof![unknown(), seen(float(), float())],
        prop_oneof![unknown(), seen(any_phone(), float())],
        prop_oneof![unknown(), seen(cover, float())],
    )
        .prop_map(observation)
}

/// Runs of one observation each: (observation, pictures, milliseconds between them).
fn script(
    one: impl Strategy<Value = DriverObservation>,
) -> impl Strategy<Value = Vec<(DriverObservation, u64, u64)>> {
    let step_ms = prop::sample::select(vec![33_u64, 100, 100, 100, 200, 290, 1000]);
    prop::collection::vec((one, 1_u64..80, step_ms), 1..40)
}

/// All that is found, at this speed.
fn watch(
    script: &[(DriverObservation, u64, u64)],
    speed_mps: Option<f64>,
) -> (Vec<Finding>, DriverWatch) {
    let mut watch = DriverWatch::new(&CoreConfig::default());
    let (mut at_ms, mut found) = (0, Vec::new());
    for (seen, pictures, step_ms) in script {
        for _ in 0..*pictures {
            at_ms += step_ms;
            let seen = DriverObservation { at: MonoTime::from_ns(at_ms * 1_000_000), ..*seen };
            found.extend(watch.step(&seen, speed_mps).findings);
        }
    }
    (found, watch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Unseen and unsure readings, however long and however mixed with open eyes on the road, are
    /// never a closure, drowsiness, a phone or a distraction.
    #[test]
    fn not_seen_is_never_did_wrong(script in script(innocent())) {
        let (found, watch) = watch(&script, Some(25.0));
        prop_assert!(found.is_empty(), "{:?}", found);
        let state = watch.state().unwrap();
        prop_assert!(state.closed_for.is_zero() && state.off_road_for.is_zero());
        prop_assert!(state.phone_for.is_zero());
        prop_assert!(state.perclos.is_none_or(|p| p.percent <= 0.0), "{:?}", state.perclos);
    }

    /// No number is too odd, no time counts twice, and nothing is said without a speed.
    #[test]
    fn whatever_perception_says_is_harmless(script in script(anything())) {
        let (found, watched) = watch(&script, Some(25.0));
        for finding in found {
            let event = match finding {
                Finding::Event(event) => event,
                Finding::Attention(episode) => episode.event,
                Finding::Voice(_) | Finding::Button(_) => panic!("of the vehicle"),
            };
            prop_assert!(event.start <= event.end);
            prop_assert!((0.0..=1.0).contains(&event.confidence), "{event:?}");
            let length_s = event.end.since(event.start).as_secs_f64() + 1e-6;
            for number in &event.numbers {
                prop_assert!(number.value.is_finite() && number.value >= 0.0, "{event:?}");
                if ["closed", "held", "off_road", "seen", "at_ear"].contains(&number.name.as_str()) {
                    prop_assert!(number.value <= length_s + 1.0, "{event:?}");
                    let exact = event.kind != EventKind::Drowsiness;
                    prop_assert!(!exact || number.value <= length_s, "{event:?}");
                }
            }
        }
        let calibration = watched.state().unwrap().calibration;
        prop_assert!((0.07..=0.17).contains(&calibration.closed_below));
        let (found, _) = watch(&script, None);
        prop_assert!(found.is_empty(), "{:?}", found);
    }
}
