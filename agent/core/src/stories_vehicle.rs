//! Whole drives of the vehicle, each with a name, and what must come of them.

use std::sync::OnceLock;

use proptest::prelude::*;
use temoin_proto::{
    events::{
        Event,
        EventKind::{FollowingTooClose, HarshBraking, HarshCornering, Idling, SeatBelt},
    },
    samples::{ControlSample, ControlState, GnssFix, ImuSample, Signal, VehicleSpeed},
    time::MonoTime,
};

use crate::{
    clip::ClipPlan,
    drive::{Command, Drive, Input},
    policy::{AlertKind, PrivacyState},
    story::Story,
};

/// Pushes on the sensor that leave the van as it was, g by seconds.
fn shaken(from_s: f64, g: impl Fn(f64) -> [f64; 3] + 'static) -> Story {
    Story::at_kmh(60.0).shakes(move |s| if s >= from_s { g(s - from_s) } else { [0.0; 3] })
}

#[test]
fn what_shakes_the_sensor_alone_is_no_manoeuvre() {
    let still = |from: f64, to: f64, s: f64, g: [f64; 3]| {
        if (from..to).contains(&s) { g } else { [0.0; 3] }
    };
    for (name, story) in [
        (
            "a speed bump",
            shaken(20.0, move |s| match s {
                s if s < 0.15 => [-0.9, 0.1, 1.5],
                s if s < 0.5 => [-0.5, 0.0, -0.6],
                s if s < 0.9 => [0.45, 0.0, 0.4],
                _ => [0.0; 3],
            }),
        ),
        ("a pothole", shaken(20.0, move |s| still(0.0, 0.05, s, [-1.8, 0.8, 3.0]))),
        (
            "a slammed door",
            shaken(20.0, |s| {
                let ring = 3.0 * (-s / 0.08).exp() * (s * 160.0).cos();
                [0.3 * ring, ring, 0.5 * ring]
            }),
        ),
        ("a unit that sags in its mount", shaken(20.0, |_| [-0.5, 0.3, -0.1])),
        ("a hand on the unit", shaken(20.0, move |s| still(0.0, 1.5, s, [-0.7, -0.5, 0.2]))),
        (
            "a unit that drops",
            shaken(20.0, |s| match s {
                s if s < 0.3 => [0.0, 0.0, -1.0],
                s if s < 0.34 => [4.0, 3.0, 7.0],
                _ => [0.9, 0.4, -0.8],
            }),
        ),
    ] {
        // The van rolls out all the while: a little is lost, and far less than is felt.
        let told = story.go(15.0).brakes(0.04).go(25.0).told();
        assert_eq!(told.flagged(), [], "{name}");
    }
}

#[test]
fn braking_on_a_slope_is_measured_against_the_slope() {
    // 12 % down: gravity pulls forward; braking lightly is no harsh braking, and a harsh one is.
    let slope = |_: f64| [0.12, 0.0, 0.0];
    let light = Story::at_kmh(70.0).shakes(slope).go(20.0).brakes(0.28).go(3.0).brakes(0.0);
    assert_eq!(light.go(10.0).told().flagged(), []);
    let hard = Story::at_kmh(70.0).shakes(slope).go(20.0).brakes(0.45).go(3.0).brakes(0.0);
    assert_eq!(hard.go(10.0).told().flagged(), [HarshBraking]);
}

#[test]
fn a_curve_at_speed_is_no_braking() {
    let curve = Story::at_kmh(70.0).go(10.0).corners(0.45).go(3.0).corners(0.0).go(10.0);
    assert_eq!(curve.told().flagged(), [HarshCornering]);
}

#[test]
fn without_a_bus_the_receivers_speed_bears_braking_out() {
    let story = Story::at_kmh(80.0).bus(false).gnss_hz(1).go(20.0).brakes(0.5).go(2.0);
    let told = story.brakes(0.0).go(10.0).told();
    assert_eq!(told.flagged(), [HarshBraking]);
    // Said when the next fixes are there.
    assert!(told.flags[0].1 < 23.5, "{:?}", told.flags);
    let shaken = shaken(20.0, |s| if s < 2.0 { [-0.5, 0.0, 0.0] } else { [0.0; 3] });
    assert_eq!(shaken.bus(false).gnss_hz(1).go(40.0).told().flagged(), []);
    // No speed at all: unknown.
    let blind = Story::at_kmh(80.0).bus(false).go(20.0).brakes(0.5).go(2.0).brakes(0.0).go(10.0);
    assert_eq!(blind.told().flagged(), []);
}

#[test]
fn too_close_is_warned_of_then_flagged() {
    let near = |story: Story, seconds: u32| {
        (0..seconds * 5).fold(story, |story, _| story.sees_ahead(11.0).go(0.2))
    };
    let told = near(Story::at_kmh(100.0).go(2.0), 25).told();
    assert_eq!(told.flagged(), [FollowingTooClose]);
    assert_eq!(told.alerts.iter().map(|a| a.0).collect::<Vec<_>>(), [AlertKind::Following]);
    let heeded = near(Story::at_kmh(100.0).go(2.0), 16).go(20.0).told();
    assert_eq!((heeded.flagged(), heeded.alerts.len()), (vec![], 1));
    assert_eq!(near(Story::at_kmh(50.0).go(2.0), 30).told().alerts, []);
}

#[test]
fn belt_and_idling_by_the_bus() {
    let at = |s: f64| MonoTime::from_secs_f64(s);
    let run = |kmh: f64, state: ControlState| {
        let mut drive =
            Drive::new(crate::config::CoreConfig::for_recordings(), PrivacyState::Recording);
        let (mut out, mut said) = (vec![], vec![]);
        for n in 0..4000_u32 {
            let s = f64::from(n) / 10.0;
            let speed = VehicleSpeed { at: at(s), mps: kmh / 3.6 };
            drive.step(at(s), Input::Signal(Signal::Speed(speed)), &mut out);
            let control = ControlSample { at: at(s), state };
            drive.step(at(s), Input::Signal(Signal::Control(control)), &mut out);
            // From the future: cannot be believed, and must not stay fresh for ever.
            let future = ControlSample { at: at(1e6), state: ControlState::BeltFastened(false) };
            drive.step(at(s), Input::Signal(Signal::Control(future)), &mut out);
            said.extend(out.drain(..).filter_map(|c| match c {
                Command::Flag { event, clip, .. } => {
                    Some((event.kind, s.round(), clip == ClipPlan::None))
                }
                Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
            }));
        }
        said
    };
    assert_eq!(run(40.0, ControlState::BeltFastened(false)), [(SeatBelt, 60.0, false)]);
    assert_eq!(run(40.0, ControlState::BeltFastened(true)), []);
    assert_eq!(run(0.0, ControlState::EngineRpm(780.0)), [(Idling, 300.0, true)]);
    assert_eq!(run(40.0, ControlState::EngineRpm(2000.0)), []);
}

/// Ways in which a source goes wrong, by a number.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// 0 bus, 1 GNSS, 2 IMU.
    source: u8,
    /// 0 late, 1 doubled, 2 lost, 3 its clock jumps ahead, 4 back.
    kind: u8,
    from_s: f64,
    for_s: f64,
    by_s: f64,
}

impl Trouble {
    fn meets(&self, now_s: f64, signal: &Signal) -> bool {
        let source = match signal {
            Signal::Speed(_) => 0,
            Signal::Gnss(_) => 1,
            Signal::Imu(_) => 2,
            Signal::Wheels(_) | Signal::Control(_) | Signal::Button(_) => return false,
        };
        source == self.source && (self.from_s..self.from_s + self.for_s).contains(&now_s)
    }
}

/// The same signal at another time of its own clock.
fn shifted(signal: Signal, by_s: f64) -> Signal {
    let moved = |at: MonoTime| MonoTime::from_secs_f64((at.as_secs_f64() + by_s).max(0.0));
    match signal {
        Signal::Speed(s) => Signal::Speed(VehicleSpeed { at: moved(s.at), ..s }),
        Signal::Gnss(s) => Signal::Gnss(GnssFix { at: moved(s.at), ..s }),
        Signal::Imu(s) => Signal::Imu(ImuSample { at: moved(s.at), ..s }),
        Signal::Wheels(_) | Signal::Control(_) | Signal::Button(_) => signal,
    }
}

/// Town driving, up to 0.2 g, as a van with this many fixes a second tells of it.
fn town(gnss_hz: u64) -> Vec<(MonoTime, Signal)> {
    let mut story = Story::at_kmh(30.0).gnss_hz(gnss_hz).cameras(&[]);
    for _ in 0..6 {
        story = story.go(2.0).accelerates(0.15).go(3.0).accelerates(0.0).corners(0.2).go(2.0);
        story = story.corners(-0.2).go(2.0).corners(0.0).brakes(0.2).go(2.25).brakes(0.0);
    }
    signals(&story)
}

/// What a story's sensors tell.
fn signals(story: &Story) -> Vec<(MonoTime, Signal)> {
    let signal = |(now, input): &(MonoTime, Input)| match input {
        Input::Signal(signal) => Some((*now, *signal)),
        Input::Driver(_)
        | Input::Road(_)
        | Input::Camera(_)
        | Input::StopLine(..)
        | Input::AccessUnit(_)
        | Input::Privacy(_)
        | Input::NewDriver
        | Input::SupplyFails
        | Input::End => None,
    };
    story.inputs().iter().filter_map(signal).collect()
}

/// What is flagged of signals that meet these troubles on their way.
fn flagged(signals: &[(MonoTime, Signal)], troubles: &[Trouble]) -> Vec<Event> {
    let mut queue: Vec<(MonoTime, Input)> = Vec::new();
    for (now, signal) in signals {
        let (mut arrives, mut copies) = (*now, 1);
        let met = troubles.iter().filter(|t| t.meets(now.as_secs_f64(), signal));
        let mut signal = *signal;
        for trouble in met {
            match trouble.kind {
                0 => arrives = arrives + crate::config::secs(trouble.by_s.min(2.0)),
                1 => copies += 1,
                2 => copies = 0,
                3 => signal = shifted(signal, trouble.by_s),
                _ => signal = shifted(signal, -trouble.by_s),
            }
        }
        queue.extend((0..copies).map(|_| (arrives, Input::Signal(signal))));
    }
    queue.sort_by_key(|(arrives, _)| *arrives);
    let mut drive =
        Drive::new(crate::config::CoreConfig::for_recordings(), PrivacyState::Recording);
    let mut out = Vec::new();
    for (arrives, input) in queue {
        drive.step(arrives, input, &mut out);
    }
    events(out)
}

fn events(commands: Vec<Command>) -> Vec<Event> {
    let event = |c| match c {
        Command::Flag { event, .. } => Some(event),
        Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
    };
    commands.into_iter().filter_map(event).collect()
}

#[test]
fn a_clock_that_lies_teaches_no_grade() {
    let ahead = 3;
    let back = 4;
    for (name, gnss_hz, troubles) in [
        ("a bus behind", 1, vec![trouble(0, back, [12.6, 31.8], 1.737)]),
        (
            "a bus behind, before the accelerometer is late",
            5,
            vec![trouble(2, 0, [53.9, 70.2], 2.0), trouble(0, back, [46.6, 54.3], 1.933)],
        ),
        (
            "a bus a little behind",
            5,
            vec![trouble(0, back, [40.4, 60.3], 0.486), trouble(2, 2, [32.0, 43.0], 1.0)],
        ),
        ("a bus ahead", 1, vec![trouble(0, ahead, [26.6, 42.8], 0.936)]),
        ("a receiver ahead", 1, vec![trouble(1, ahead, [53.6, 65.8], 0.973)]),
        (
            "an accelerometer ahead",
            1,
            vec![trouble(2, ahead, [35.7, 53.6], 1.327), trouble(2, ahead, [42.3, 61.2], 0.872)],
        ),
    ] {
        assert_eq!(flagged(towns(gnss_hz), &troubles), [], "{name}");
    }
}

#[test]
fn what_waits_in_a_queue_is_not_doubtful() {
    // A replay at full speed is ahead of who takes it by what the queue holds, now more, now less.
    let story = Story::at_kmh(80.0).gnss_hz(1).cameras(&[]).go(20.0).brakes(0.5).go(2.0);
    let mut queued = signals(&story.brakes(0.0).go(15.0));
    for (now, signal) in &mut queued {
        let ahead_s = 3.0 * (now.as_secs_f64() / 2.0).fract();
        *now = signal.at() + crate::config::secs(ahead_s);
    }
    let mut drive =
        Drive::new(crate::config::CoreConfig::for_recordings(), PrivacyState::Recording);
    let mut out = Vec::new();
    for (now, signal) in queued {
        drive.step(now, Input::Signal(signal), &mut out);
    }
    let kinds: Vec<_> = events(out).iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [HarshBraking]);
}

/// A trouble of one source.
fn trouble(source: u8, kind: u8, [from_s, to_s]: [f64; 2], by_s: f64) -> Trouble {
    Trouble { source, kind, from_s, for_s: to_s - from_s, by_s }
}

#[test]
fn braking_is_found_whatever_one_source_does() {
    const ALWAYS: [f64; 2] = [0.0, 100.0];
    let mut cases = vec![("none", vec![])];
    let mut case = |name, source, kind, when, by_s| {
        cases.push((name, vec![trouble(source, kind, when, by_s)]));
    };
    for source in [0, 1] {
        case("lost for good", source, 2, ALWAYS, 1.0);
        case("lost before", source, 2, [0.0, 15.0], 1.0);
        case("lost after", source, 2, [26.0, 100.0], 1.0);
        for by_s in [0.2, 0.4, 0.7, 1.1, 1.6, 1.9, 3.0, 20.0] {
            for kind in [3, 4] {
                case("its clock lies for good", source, kind, ALWAYS, by_s);
                case("its clock jumped and stays", source, kind, [5.0, 100.0], by_s);
            }
        }
    }
    for source in [0, 1, 2] {
        for by_s in [0.1, 0.3, 0.6, 1.0, 1.5, 2.0] {
            case("late", source, 0, ALWAYS, by_s);
        }
        case("doubled", source, 1, ALWAYS, 1.0);
        for by_s in [0.2, 0.4, 0.7, 1.1, 1.6, 1.9, 3.0, 20.0] {
            for kind in [3, 4] {
                case("its clock jumped long before", source, kind, [5.0, 12.0], by_s);
                case("and long after", source, kind, [30.0, 35.0], by_s);
            }
        }
    }
    for gnss_hz in [1, 5] {
        let story = Story::at_kmh(80.0).gnss_hz(gnss_hz).cameras(&[]).go(20.0).brakes(0.5).go(2.0);
        let signals = signals(&story.brakes(0.0).go(15.0));
        for (name, troubles) in &cases {
            let found: Vec<_> = flagged(&signals, troubles);
            let [event] = found.as_slice() else { panic!("{name} {troubles:?}: {found:?}") };
            assert_eq!(event.kind, HarshBraking, "{name} {troubles:?}");
            let began_s = event.start.as_secs_f64();
            assert!((20.0..20.6).contains(&began_s), "{name} {troubles:?}: {began_s}");
        }
    }
}

fn any_troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let trouble = (0_u8..3, 0_u8..5, 0.0..60.0_f64, 0.1..20.0_f64, 0.05..30.0_f64).prop_map(
        |(source, kind, from_s, for_s, by_s)| Trouble { source, kind, from_s, for_s, by_s },
    );
    prop::collection::vec(trouble, 0..6)
}

/// Both town drives, by the fixes a second; made once, for they are the same in every case.
fn towns(gnss_hz: u64) -> &'static [(MonoTime, Signal)] {
    static SLOW: OnceLock<Vec<(MonoTime, Signal)>> = OnceLock::new();
    static FAST: OnceLock<Vec<(MonoTime, Signal)>> = OnceLock::new();
    let made = if gnss_hz == 1 { &SLOW } else { &FAST };
    made.get_or_init(|| town(gnss_hz))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Town driving, up to 0.2 g: whatever happens to the signals on their way, it makes no event.
    #[test]
    fn signals_that_go_wrong_make_no_event(
        troubles in any_troubles(),
        gnss_hz in prop_oneof![Just(1_u64), Just(5)],
    ) {
        let flagged = flagged(towns(gnss_hz), &troubles);
        prop_assert!(flagged.is_empty(), "{flagged:?}");
    }

    /// The same of clocks that lie by a little, which is harder, for it shows least; while one source
    /// is right. Where all are late or lie by the same, nothing tells that from a queue.
    #[test]
    fn clocks_that_lie_a_little_make_no_event(
        troubles in any_troubles(),
        gnss_hz in prop_oneof![Just(1_u64), Just(5)],
        right in 0_u8..3,
    ) {
        let little = |t: Trouble| {
            let by_s = if t.kind >= 3 { t.by_s / 10.0 } else { t.by_s };
            Trouble { by_s, ..t }
        };
        let wrong = troubles.into_iter().filter(|t| t.source != right);
        let troubles: Vec<_> = wrong.map(little).collect();
        let flagged = flagged(towns(gnss_hz), &troubles);
        prop_assert!(flagged.is_empty(), "{flagged:?}");
    }
}
