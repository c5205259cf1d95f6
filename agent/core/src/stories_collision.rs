//! Whole drives that end in a crash, or nearly, and what must come of them when the power, the bus or
//! the drive goes with it.

use temoin_proto::{events::EventKind::Collision, samples::Signal, time::MonoTime};

use crate::{
    clip::{ClipPlan, CutReason},
    config::CoreConfig,
    drive::{Command, Drive, Input},
    policy::PrivacyState,
    story::Story,
};

/// A hit of 4 g for 0.12 s at 20 s, which changes the speed by 17 km/h.
fn crash(kmh: f64) -> Story {
    let hit = |s: f64| if (20.0..20.12).contains(&s) { [-4.0, 0.0, 0.0] } else { [0.0; 3] };
    Story::at_kmh(kmh).shakes(hit).go(40.0)
}

fn at(s: f64) -> MonoTime {
    MonoTime::from_secs_f64(s)
}

/// Drives a story of which only this comes: what came of it, with the seconds at which it did.
fn drives(story: &Story, comes: impl Fn(f64, &Input) -> bool) -> (Drive, Vec<(f64, Command)>) {
    let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
    let (mut out, mut said) = (vec![], vec![]);
    for (now, input) in story.inputs().iter().filter(|(now, i)| comes(now.as_secs_f64(), i)) {
        drive.step(*now, input.clone(), &mut out);
        said.extend(out.drain(..).map(|c| (now.as_secs_f64(), c)));
    }
    (drive, said)
}

/// Seconds at which collisions were flagged, and how many of their clips were cut; nothing else was.
fn flagged(said: &[(f64, Command)]) -> (Vec<f64>, usize) {
    let (mut flags, mut cuts) = (vec![], 0);
    for (s, command) in said {
        match command {
            Command::Flag { event, clip, .. } => {
                assert_eq!(event.kind, Collision);
                assert!(matches!(clip, ClipPlan::Own(_)), "{clip:?}");
                flags.push(*s);
            }
            Command::Cut(_) => cuts += 1,
            Command::Alert(_) | Command::Lamp(_) | Command::Health(_) => {}
        }
    }
    (flags, cuts)
}

fn is_imu(input: &Input) -> bool {
    matches!(input, Input::Signal(Signal::Imu(_)))
}

#[test]
fn a_crash_that_takes_the_sensor_away_is_flagged_by_whatever_still_comes() {
    // The van drives, or stands; the last sample comes after so many seconds of the hit.
    for (kmh, within_s) in [(50.0, 0.5), (0.0, 5.5)] {
        let story = crash(kmh);
        for seen_s in [0.09, 0.13, 0.3] {
            let imu = |s: f64, i: &Input| !is_imu(i) || s < 20.0 + seen_s;
            for (name, others) in [
                ("all else", (|_: &Input| true) as fn(&Input) -> bool),
                ("the bus", |i: &Input| matches!(i, Input::Signal(_))),
                ("the cabin camera", |i: &Input| matches!(i, Input::Driver(_))),
                ("pictures", |i: &Input| matches!(i, Input::AccessUnit(_))),
            ] {
                let comes = |s: f64, i: &Input| imu(s, i) && (s < 20.2 || is_imu(i) || others(i));
                let (_, said) = drives(&story, comes);
                let (flags, _) = flagged(&said);
                let [flag] = flags.as_slice() else { panic!("{name}, {kmh}, {seen_s}: {flags:?}") };
                assert!(*flag <= 20.1 + within_s, "{name}, {kmh}, {seen_s}: {flag}");
            }
        }
    }
}

#[test]
fn a_crash_that_is_felt_late_is_seen_whole() {
    let felt = |late_s: f64| {
        let mut inputs: Vec<_> = crash(50.0).inputs().to_vec();
        for (now, input) in inputs.iter_mut().filter(|(_, input)| is_imu(input)) {
            *now = at(now.as_secs_f64() + late_s);
            assert!(is_imu(input));
        }
        inputs.sort_by_key(|(now, _)| *now);
        let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
        let mut out = vec![];
        for (now, input) in inputs {
            drive.step(now, input, &mut out);
        }
        let event = |c| match c {
            Command::Flag { event, .. } => Some(event),
            Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
        };
        out.into_iter().filter_map(event).collect::<Vec<_>>()
    };
    let prompt = felt(0.0);
    assert_eq!(prompt.len(), 1, "{prompt:?}");
    for late_s in [0.03, 0.1, 0.4, 1.0, 2.0] {
        let late = felt(late_s);
        let [event] = late.as_slice() else { panic!("{late_s}: {late:?}") };
        assert_eq!(
            (event.start, event.severity),
            (prompt[0].start, prompt[0].severity),
            "{late_s}"
        );
        assert!(event.numbers.iter().all(|n| n.name != "unseen"), "{late_s}: {event:?}");
    }
}

#[test]
fn a_crash_after_which_nothing_comes_is_flagged_by_the_clock() {
    for (kmh, within_s) in [(50.0, 0.5), (0.0, 5.5)] {
        let (mut drive, said) = drives(&crash(kmh), |s, _| s < 20.1);
        assert_eq!(flagged(&said), (vec![], 0));
        let (mut now_s, mut out, mut ticks) = (20.1, vec![], 0);
        while out.iter().all(|c| !matches!(c, Command::Flag { .. })) {
            let due = drive.next_deadline().unwrap().max(at(now_s));
            drive.tick(due, &mut out);
            (now_s, ticks) = (due.as_secs_f64() + 0.02, ticks + 1);
            assert!(ticks < 10, "it spins");
        }
        assert!(now_s <= 20.1 + within_s, "{kmh}: {now_s}");
        // Its clip follows, and nothing is due for ever.
        while let Some(due) = drive.next_deadline() {
            drive.tick(due.max(at(now_s)), &mut out);
            ticks += 1;
            assert!(ticks < 40, "it spins");
        }
        assert_eq!(out.iter().filter(|c| matches!(c, Command::Cut(_))).count(), 1);
    }
}

#[test]
fn a_crash_is_not_lost_when_the_drive_ends_or_the_driver_goes() {
    for kmh in [50.0, 0.0] {
        for cut_s in [20.1, 20.16, 21.0, 21.9] {
            for last in
                [Input::End, Input::NewDriver, Input::Privacy(PrivacyState::AiWithoutRecording)]
            {
                let (mut drive, mut said) = drives(&crash(kmh), |s, _| s < cut_s);
                let mut out = vec![];
                drive.step(at(cut_s), last.clone(), &mut out);
                said.extend(out.into_iter().map(|c| (cut_s, c)));
                let (flags, cuts) = flagged(&said);
                assert_eq!((flags.len(), cuts), (1, 1), "{kmh}, {cut_s}, {last:?}");
            }
        }
    }
    // Who is not recorded has no clip of it either.
    let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::AiWithoutRecording);
    let mut out = vec![];
    for (now, input) in crash(50.0).inputs().iter().filter(|(now, _)| *now < at(20.1)) {
        drive.step(*now, input.clone(), &mut out);
    }
    drive.step(at(20.1), Input::End, &mut out);
    assert!(out.iter().all(|c| !matches!(c, Command::Flag { .. } | Command::Cut(_))));
}

#[test]
fn what_there_is_of_all_clips_that_wait_reaches_the_last_picture() {
    // A clip that is cut long before; the button, whose clip goes on for half a minute; the crash.
    let hit = |s: f64| if (20.0..20.12).contains(&s) { [-4.0, 0.0, 0.0] } else { [0.0; 3] };
    let story = Story::at_kmh(50.0).shakes(hit).go(2.0).brakes(0.6).go(0.8).brakes(0.0).go(15.2);
    let (mut drive, _) = drives(&story.presses().go(3.0), |_, _| true);
    let so_far: Vec<_> = drive.so_far().collect();
    assert_eq!(so_far.iter().map(|cut| cut.local).collect::<Vec<_>>(), [1, 2]);
    for cut in so_far {
        assert_eq!((cut.reason, cut.tracks.len()), (CutReason::SoFar, 2));
        for track in &cut.tracks {
            let last = track.gops.last().map(|gop| gop.last());
            assert_eq!(last, Some(at(20.9)), "{track:?}");
        }
    }
    let mut out = vec![];
    drive.step(at(21.0), Input::End, &mut out);
    let cut = |c: &Command| if let Command::Cut(cut) = c { Some(cut.local) } else { None };
    assert_eq!(out.iter().filter_map(cut).collect::<Vec<_>>(), [1, 2], "whole all the same");
    assert_eq!(drive.so_far().count(), 0);
}

#[test]
fn a_crash_of_which_the_sensor_saw_too_little_is_borne_out_by_the_bus() {
    // It shakes for three samples, then it is gone; the bus tells what became of the speed.
    let lost = |s: f64, i: &Input| !is_imu(i) || s < 20.05;
    let story = |brakes_g: f64| {
        let felt_g = brakes_g - 2.5;
        let hit = move |s: f64| if s >= 20.0 { [felt_g, 0.0, 0.0] } else { [0.0; 3] };
        Story::at_kmh(60.0).shakes(hit).go(20.0).brakes(brakes_g).go(0.3).brakes(0.0).go(5.0)
    };
    let (_, said) = drives(&story(4.0), lost);
    assert_eq!(flagged(&said).0.len(), 1, "{:?}", flagged(&said));
    for brakes_g in [0.0, 0.9] {
        let (_, said) = drives(&story(brakes_g), lost);
        assert_eq!(flagged(&said).0, [0.0; 0], "{brakes_g}");
    }
}
