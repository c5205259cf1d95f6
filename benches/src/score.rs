//! What perception and the detectors get right on drives whose truth is known, and how often they
//! speak up on drives where nothing is known to have happened.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use temoin_agent_core::config::CoreConfig;
use temoin_hw::{
    Replay, ReplayOptions,
    drive::{Axes, Drive, SignalFormat, SignalInput},
    pace::{Speed, StopToken},
    replay,
    sim::{Script, ScriptedEvent},
    video_file::PictureSize,
};
use temoin_proto::{
    events::EventKind,
    perception::{DriverObservation, NotSeen, Observation, Sight},
    samples::CameraId,
};

use crate::watch::{self, Outcome};

/// A begin that is off by more is another event.
const TOLERANCE_S: f64 = 0.5;

/// The scripted drive, with what perception would say of it.
///
/// # Errors
/// Where it cannot be made.
pub fn scripted(script: Script) -> Result<Outcome> {
    let options = ReplayOptions {
        speed: Speed::Max,
        // Nobody looks at these pictures.
        size: PictureSize { width: 160, height: 90, fps: 15 },
        stop: StopToken::new(),
    };
    let mut rules = CoreConfig::for_recordings();
    rules.vehicle.speed_limit_kmh = Some(script.limit_mps() * 3.6);
    let drive = Replay::simulated(script, &options)?;
    let script = drive.script().context("a simulated drive without a script")?;
    watch::run(drive, rules, &mut |frame| match frame.camera {
        CameraId::Cabin => Sight {
            observation: Observation::Driver(script.observation(frame.at, replay::ZERO)),
            others: Ok(Vec::new()),
        },
        CameraId::Road => Sight::unseen(CameraId::Road, frame.at, NotSeen::NoModel),
    })
}

/// Events against the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of those that were to be flagged, so many were.
    pub found: usize,
    /// And so many were not.
    pub missed: usize,
    /// Flagged where the truth has nothing.
    pub false_events: usize,
}

/// Compares flagged events with what was to come out.
pub fn tally(truth: &[ScriptedEvent], events: &[(EventKind, f64)]) -> Tally {
    let near = |t: &ScriptedEvent, at: f64| (t.from_s - at).abs() <= TOLERANCE_S;
    let same = |t: &ScriptedEvent, kind: EventKind| {
        // A sleep begins as a microsleep.
        t.kind == kind || (t.kind == EventKind::Sleep && kind == EventKind::Microsleep)
    };
    let wanted: Vec<_> = truth.iter().filter(|t| t.flagged).collect();
    let found = wanted
        .iter()
        .filter(|t| events.iter().any(|(kind, at)| *kind == t.kind && near(t, *at)))
        .count();
    let known =
        |(kind, at): &(EventKind, f64)| truth.iter().any(|t| same(t, *kind) && near(t, *at));
    Tally {
        found,
        missed: wanted.len() - found,
        false_events: events.iter().filter(|e| !known(e)).count(),
    }
}

/// How many of the observations satisfy this, as a share.
pub fn share(seen: &[DriverObservation], what: impl Fn(&DriverObservation) -> bool) -> f64 {
    seen.iter().filter(|o| what(o)).count() as f64 / seen.len().max(1) as f64
}

/// A drive without anybody to see.
///
/// # Errors
/// Where the recording cannot be read.
pub fn blind(drive: &Drive) -> Result<Outcome> {
    watch::run(watch::open(drive)?, CoreConfig::for_recordings(), &mut |frame| {
        Sight::unseen(frame.camera, frame.at, NotSeen::NoModel)
    })
}

/// The whole of a real car's log of 342 s: speed and both accelerations.
pub fn cloudpose(data: &Path) -> Drive {
    let columns = [
        ("Seconds", "t_s"),
        ("Speed (MPH)", "speed_mph"),
        ("Lateral Gs", "accel_y_g"),
        ("Acceleration Gs", "accel_x_g"),
    ];
    let file = data.join("telemetry/cloudpose/car.csv");
    Drive {
        name: "cloudpose".to_owned(),
        repeat: 1,
        signals: vec![SignalInput {
            columns: columns
                .iter()
                .map(|(theirs, ours)| ((*theirs).to_owned(), (*ours).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            axes: Axes::parse(&["x", "-y", "-z"]).unwrap_or_default(),
            ..SignalInput::whole(file, SignalFormat::Csv)
        }],
        ..Drive::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripted_drive_is_what_its_truth_says() {
        let script = Script::demo();
        let truth = script.truth();
        let outcome = scripted(script).unwrap();
        let tally = tally(&truth, &outcome.events);
        assert_eq!((tally.missed, tally.false_events), (0, 0), "{outcome:?}");
        assert!(tally.found >= 4, "{tally:?}");
        assert!((outcome.length_s - 75.0).abs() < 0.2, "{}", outcome.length_s);
    }

    #[test]
    fn missed_and_invented_events_are_counted() {
        let truth = Script::demo().truth();
        let flagged: Vec<_> =
            truth.iter().filter(|t| t.flagged).map(|t| (t.kind, t.from_s)).collect();
        let all = tally(&truth, &flagged);
        assert_eq!(all, Tally { found: flagged.len(), missed: 0, false_events: 0 });
        let late: Vec<_> = flagged.iter().map(|(kind, at)| (*kind, at + 0.6)).collect();
        let none = Tally { found: 0, missed: flagged.len(), false_events: flagged.len() };
        assert_eq!(tally(&truth, &late), none);
    }
}
